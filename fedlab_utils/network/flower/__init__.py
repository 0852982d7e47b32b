"""Flower carries the messages: SuperLink and SuperNodes, a ServerApp and a ClientApp, and no logic of their own.

Coordinator and hospitals are those of the room; a request travels as one Message with one byte string. What is trained,
refused, charged and added is decided where it always is, and a Flower App is one file that names two modules.

Written for Flower 1.41 (the extra ``network`` of this package), whose flags change from release to release. These
commands ran, all on one machine. ``ca.crt``, ``server.crt`` and ``server.key`` are those of a certificate authority of
one's own, whose server certificate names the machine (``DNS:`` or ``IP:``); each hospital makes its key by itself::

    ssh-keygen -t ecdsa -b 384 -N "" -f north.node

The coordinator's machine. SuperLink is what SuperNodes dial; nothing is installed at run time, and no hospital opens a
port::

    flower-superlink --ssl-certfile server.crt --ssl-keyfile server.key --ssl-ca-certfile ca.crt \\
        --enable-supernode-auth --database link.db --disable-runtime-dependency-installation \\
        --host 0.0.0.0 --port 9091

In ``~/.flwr/config.toml``, for the commands ``flwr ...``::

    [superlink.course]
    address = "127.0.0.1:9091"
    root-certificates = "/absolute/path/ca.crt"

Each hospital sends its public key, and the coordinator registers it; what is printed, ``node-id``, is the hospital's
number from then on, which nobody else can have::

    flwr supernode register north.node.pub course --name North --format json

Each hospital stands up its part in a process of its own, which stays until the model has come::

    python course.py hospital plan.toml --table north.csv --name North --flower

and beside it the SuperNode that brings messages to it::

    flower-supernode --superlink coordinator.example:9091 --root-certificates ca.crt \\
        --auth-supernode-private-key north.node --node-config 'folder="/absolute/path/North/book"' \\
        --host 127.0.0.1 --port 9094

And the training, from a folder that `app.write_app` has written (agreement, numbers of the nodes, where models go)::

    flwr run app course

A SuperNode whose key is not registered ends at once, with exit code 305. One that is started again in the middle of a
round gets the question again and answers with the same bytes. A coordinator that was stopped goes on from its folder
with another ``flwr run``.
"""

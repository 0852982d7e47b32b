"""Flower's own processes for tests and benchmarks: SuperLink with certificates, SuperNodes with keys.

Whatever ends the process that started them ends them, too: the pipe that is their standard input is then cut.
"""

import datetime
import ipaddress
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.network.nursery import Nursery

# A program of Python in a session of its own, which ends with whoever started it, and with it all that it has started.
_WATCHED = """
import os, runpy, signal, sys, threading
def end_with_parent():
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)
threading.Thread(target=end_with_parent, daemon=True).start()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# In the place of a program that Flower starts: it tells the nursery, in one piece, under which name with what.
_CALL = """#!/bin/sh
printf '%s\\t' "${{0##*/}}" "$@" '
' > '{calls}'
"""


def watched(script, arguments, **about):
    """Start a script of Python that ends with this process."""
    command = [sys.executable, "-c", _WATCHED, str(script), *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, **about)


def free_ports(n):
    several = [socket.socket() for _ in range(n)]
    for one in several:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in several]
    for one in several:
        one.close()
    return found


def write(place, key):
    pem = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    place.write_bytes(key.private_bytes(*pem))


def certificates(folder):
    """A certificate authority, and a certificate of the machine where SuperLink runs."""
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    keys = {name: ec.generate_private_key(ec.SECP384R1()) for name in ("ca", "server")}
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    for name, key in keys.items():
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(now - day).not_valid_after(now + day)
        made = made.add_extension(x509.BasicConstraints(name == "ca", None), True)
        if name == "server":
            here = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            made = made.add_extension(x509.SubjectAlternativeName(here), False)
        signed = made.sign(keys["ca"], hashes.SHA256())
        (folder / f"{name}.crt").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        write(folder / f"{name}.key", key)


class Machines:
    """SuperLink and SuperNodes as processes, each with its log.

    Parameters
    ----------
    root
        A folder for all that they write.
    names
        Of the nodes.
    forked
        Whether what Flower starts anew (a process for each message, and more) is forked from one process that has
        loaded it, which saves most of the processor time; elsewhere than on Windows.
    link
        Where nodes dial SuperLink, if not at its own port.
    """

    def __init__(self, root, names, *, forked=False, link=None):
        self.root, self.names, self.running, self.nodes = root, names, {}, {}
        self.port, *ports = free_ports(len(names) + 2)
        self.link = self.port if link is None else link
        self.ports = dict(zip([*names, "Stranger"], ports, strict=True))
        home = root / "home"
        home.mkdir(parents=True)
        certificates(root)
        connection = f'address = "127.0.0.1:{self.port}"\nroot-certificates = "{(root / "ca.crt").as_posix()}"\n'
        (home / "config.toml").write_text(f'[superlink]\ndefault = "course"\n\n[superlink.course]\n{connection}')
        scripts = Path(find_spec("flwr").origin).parent.parent / "bin"  # of a folder given to pip as --target
        paths = [str(p) for p in (scripts, Path(sys.executable).parent) if p.is_dir()]
        self.env = os.environ | {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
        self.env |= {"PATH": os.pathsep.join([*paths, os.environ["PATH"]])}
        self.env |= {"FLWR_DISABLE_UPDATE_CHECK": "1", "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self._number, self.nursery = itertools.count(), self._nursery() if forked else None

    def _nursery(self):
        """One process that has loaded Flower; what Flower starts by its name is asked for there."""
        programs = {e.name: e.value for e in distribution("flwr").entry_points.select(group="console_scripts")}
        places, calls = self.root / "programs", self.root / "calls"
        places.mkdir()
        os.mkfifo(calls)
        for name in programs:
            (places / name).write_text(_CALL.format(calls=calls))
            (places / name).chmod(0o700)
        self.env["PATH"] = os.pathsep.join([str(places), self.env["PATH"]])
        both_ends = os.open(calls, os.O_RDWR)  # or the first to have called would be the last
        nursery = Nursery(programs, environment=self.env)

        def heed():
            with open(both_ends) as asked:
                for line in asked:
                    name, *arguments = line.strip("\t\n").split("\t")
                    if not name:
                        return
                    nursery.program(name, arguments, self.root, self.root / "apps.log")

        self._heeds = threading.Thread(target=heed, daemon=True)
        self._heeds.start()
        return nursery

    def begin(self, name, arguments, log):
        """A program of Flower's that runs until it has ended, or this process has."""
        if self.nursery is not None:
            return self.nursery.program(name, arguments, self.root, log)
        script = shutil.which(name, path=self.env["PATH"])
        with open(log, "ab") as out:
            return watched(script, arguments, stdout=out, stderr=out, cwd=self.root, env=self.env)

    def start(self, what, name, *arguments):
        self.running[what] = self.begin(name, arguments, self.root / f"{what}.log")

    def run(self, *arguments, timeout=120):
        """What `flwr` prints, once it has ended."""
        log = self.root / f"flwr-{next(self._number)}.log"
        done = self.begin("flwr", arguments, log)
        code = done.wait(timeout)
        _let_go(done)
        assert code == 0, (arguments, log.read_text(errors="replace"))
        return log.read_text(errors="replace")

    def start_superlink(self):
        about = dict(certfile="server.crt", keyfile="server.key")
        tls = [f for name, file in (*about.items(), ("ca-certfile", "ca.crt")) for f in (f"--ssl-{name}", file)]
        more = ["--enable-supernode-auth", "--disable-runtime-dependency-installation", "--database", "link.db"]
        self.start("superlink", "flower-superlink", *tls, *more, "--host", "127.0.0.1", "--port", self.port)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.3)
        raise AssertionError(self.log("superlink"))

    def key(self, name):
        """A node's key; its public half is registered, unless it is a stranger's."""
        key = ec.generate_private_key(ec.SECP384R1())
        ssh = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
        (self.root / f"{name}.node").write_bytes(key.private_bytes(*ssh))
        public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        (self.root / f"{name}.pub").write_bytes(public)

    def register(self, name):
        told = self.run("supernode", "register", f"{name}.pub", "course", "--name", name, "--format", "json")
        self.nodes[name] = int(json.loads(told)["node-id"])

    def start_node(self, name, folder):
        who = ["--auth-supernode-private-key", f"{name}.node", "--root-certificates", "ca.crt"]
        who += ["--superlink", f"127.0.0.1:{self.link}", "--host", "127.0.0.1", "--port", self.ports[name]]
        about = ["--node-config", f'folder="{folder.as_posix()}"']
        self.start(name, "flower-supernode", *who, *about)

    def end(self, what):
        process = self.running.pop(what)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        _let_go(process)

    def close(self):
        """End all."""
        for what in list(self.running):
            self.end(what)
        if self.nursery is not None:
            if self._heeds.is_alive():  # or nobody reads, and to open would never end
                with open(self.root / "calls", "w") as calls:
                    calls.write("\n")
                self._heeds.join(10)
            self.nursery.end()

    def log(self, what):
        return (self.root / f"{what}.log").read_text(errors="replace")[-3000:]


def _let_go(process):
    """End what a program that has ended has left behind; a child of the nursery's leaves that to the nursery."""
    if process.stdin:
        process.stdin.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def machines_for(root, names, **about):
    """SuperLink runs, and the nodes' keys are registered; a stranger has one, too, that nobody has registered."""
    made = Machines(root, names, **about)
    try:
        made.start_superlink()
        for name in (*names, "Stranger"):
            made.key(name)
        with ThreadPoolExecutor() as several:
            list(several.map(made.register, names))
        yield made
    finally:
        made.close()

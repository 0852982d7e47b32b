"""A hospital's ClientApp: it hands what came in at the door of the hospital's part, and what comes out back."""

from __future__ import annotations

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedlab_utils.network.door import ask
from fedlab_utils.network.flower.carrier import packed, unpacked

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One request; ``folder`` of the node's configuration is that of the hospital's part."""
    answer = ask(str(context.node_config["folder"]), unpacked(message.content))
    return Message(packed(answer), reply_to=message)

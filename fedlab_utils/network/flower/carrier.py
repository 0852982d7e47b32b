"""Flower as a carrier: each request is a Message with one record of one byte string, and so is each answer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from logging import getLogger

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

RECORD, BYTES = "fedlab", "bytes"
_EVERY = 0.5  # seconds between two looks; each costs SuperLink more than its share of a round


def packed(data: bytes) -> RecordDict:
    """Bytes as Flower carries them."""
    return RecordDict({RECORD: ConfigRecord({BYTES: data})})


def unpacked(content: RecordDict) -> bytes:
    """The inverse of `packed`; nothing where there is something else."""
    record = content.config_records.get(RECORD)
    found = None if record is None else record.get(BYTES)
    return found if isinstance(found, bytes) else b""


class GridCarrier:
    """Brings requests to the SuperNodes of a grid.

    Who is at the other end follows from the node's number, which SuperLink ties to the public key that was registered;
    a hospital's word for its own name is not enough.

    Parameters
    ----------
    grid
        Of the ServerApp.
    nodes
        The number of each hospital's node, as ``flwr supernode list`` shows it.
    """

    def __init__(self, grid: Grid, nodes: Mapping[str, int]) -> None:
        self.grid, self.nodes = grid, dict(nodes)

    def ask(self, requests: Mapping[str, bytes], deadline: float) -> dict[str, bytes]:
        """See `carriers.Carrier`. A node that is not there yet is waited for, as long as the deadline lasts."""
        end, waiting, sent, found = time.monotonic() + deadline, dict(requests), {}, {}
        while (waiting or sent) and time.monotonic() < end:
            there = set(self.grid.get_node_ids()) if waiting else set()
            ready = [name for name in waiting if self.nodes.get(name) in there]
            left = max(end - time.monotonic(), 1.0)
            if ready:
                messages = [Message(packed(waiting.pop(n)), self.nodes[n], "train", ttl=left) for n in ready]
                sent |= {key: name for key, name in zip(self.grid.push_messages(messages), ready, strict=True) if key}
            for answer in self.grid.pull_messages(list(sent)) if sent else ():
                name = sent.pop(answer.metadata.reply_to_message_id, None)
                if name is None:
                    continue
                if answer.has_error():  # its node went, or could not; who is asked again answers the same
                    getLogger("flwr").warning("%s: %s", name, answer.error.reason)
                    waiting[name] = requests[name]
                elif answer.metadata.src_node_id == self.nodes[name]:
                    found[name] = unpacked(answer.content)
            time.sleep(_EVERY)
        return found

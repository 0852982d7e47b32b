"""A round that can be tampered with, and what the tests of this folder share."""

from dataclasses import replace

import numpy as np
from scipy import stats

from fedlab_utils.secagg import SERVER, Client, Server, Setup, register
from fedlab_utils.secagg.in_process import CLIENT_STAGES

STAGES = CLIENT_STAGES


SETUP = Setup(5, 4, words=6, bits=32)


def words_for(setup, seed=0):
    return np.random.default_rng(seed).integers(0, 2**setup.bits, (setup.n, setup.words), dtype=setup.dtype)


class Round:
    """A round in which everything that is handed over goes through `wire(hop, receiver, messages)` first."""

    def __init__(self, setup=SETUP, wire=None, members=None):
        self.setup, self.wire = setup, wire or (lambda hop, receiver, sent: sent)
        keys, registry = members or register(setup.n)
        self.clients = [Client(u, setup, signing_key=keys[u], registry=registry) for u in range(setup.n)]
        self.server = Server(setup, registry=registry)
        self.log = {}  # what was sent, before the wire: (hop, receiver) -> messages

    def hand(self, hop, receiver, sent):
        self.log[hop, receiver] = list(sent)
        return self.wire(hop, receiver, list(sent))

    def up(self, stage, sent):
        return self.hand(f"{stage} to server", SERVER, sent)

    def down(self, stage, boxes):
        return {u: self.hand(f"{stage} to client", u, box) for u, box in boxes.items()}

    def until_masked(self):
        """To where the server has everybody's masked words."""
        boxes = self.down("advertise", self.server.keys(self.up("advertise", [c.advertise() for c in self.clients])))
        letters = [letter for c in self.clients for letter in c.share(boxes[c.number])]
        boxes = self.down("share", self.server.forward(self.up("share", letters)))
        words = words_for(self.setup)
        return self.up("mask", [c.mask(boxes[c.number], words[c.number]) for c in self.clients])

    def play(self):
        """The sum."""
        lists = self.server.survivors(self.until_masked())
        boxes = self.down("survivors", {u: [message] for u, message in lists.items()})
        if self.setup.malicious:
            signed = self.up("check", [c.check(boxes[c.number][0]) for c in self.clients])
            boxes = self.down("check", self.server.signatures(signed))
        return self.server.total(self.up("unmask", [c.unmask(boxes[c.number]) for c in self.clients]))


def p_uniform(words):
    """Chi-square test that all 256 bytes are alike."""
    return stats.chisquare(np.bincount(words.view(np.uint8), minlength=256)).pvalue


def flip(message, at):
    body = bytearray(message.body)
    body[at] ^= 1
    return replace(message, body=bytes(body))

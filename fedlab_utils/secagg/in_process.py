"""A whole round of the protocol in one process, and its traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedlab_utils._arguments import one_of, whole
from fedlab_utils.secagg.messages import (
    ENTRY,
    HEADER,
    KEYS,
    LETTER,
    SERVER,
    STAGES,
    Message,
    Setup,
    TooFewError,
    checked_setup,
    register,
    tail,
)
from fedlab_utils.secagg.protocol import Client
from fedlab_utils.secagg.server import Server

CLIENT_STAGES = tuple(stage for stage in STAGES if stage != "survivors")
WHAT = {  # in words, what messages of a stage are
    "advertise": "public keys",
    "share": "encrypted shares",
    "mask": "masked update",
    "survivors": "survivors",
    "check": "signature",
    "unmask": "shares",
}


@dataclass(frozen=True)
class Parcel:
    """Messages that one end hands to the other in one go; what clients write to their peers goes by the server."""

    sender: int
    receiver: int
    messages: tuple[Message, ...]

    @property
    def what(self) -> str:
        """What is in it, in words."""
        what = WHAT[self.messages[0].stage]
        return "signatures" if what == "signature" and self.sender == SERVER else what

    def __len__(self) -> int:
        return sum(len(message) for message in self.messages)


@dataclass(frozen=True)
class Outcome:
    """What a round gave: the sum, whose words are in it, and all that travelled."""

    total: np.ndarray
    survivors: tuple[int, ...]
    parcels: tuple[Parcel, ...]

    @property
    def messages(self) -> tuple[Message, ...]:
        """Each message that the server got or wrote, once, in order."""
        return tuple(m for p in self.parcels for m in p.messages if p.receiver == SERVER or m.sender == SERVER)


def run(inputs: np.ndarray, setup: Setup, *, drop: dict[int, str] | None = None) -> Outcome:
    """One round with an honest server, everybody in this process.

    Parameters
    ----------
    inputs
        ``[n, words]``, unsigned whole numbers of ``setup.dtype``.
    setup
        What everybody knows.
    drop
        At which stage a client falls silent, for good: ``{2: "mask"}``. Stages are ``"advertise"``, ``"share"``,
        ``"mask"``, ``"check"`` and ``"unmask"``; words that were masked and sent are in the sum.

    Returns
    -------
    Outcome
        The sum ``[words]``, modulo ``2**setup.bits``, and all that travelled.

    Raises
    ------
    ValueError
        If `inputs` has another shape, or `drop` names a client or stage that does not exist.
    TooFewError
        If fewer than ``setup.threshold`` clients are left at any stage; its `parcels` are what travelled until then.
    """
    drop = _asked_for(inputs, setup, drop)
    keys, registry = {}, None
    if setup.malicious:
        keys, registry = register(setup.n)
        registry = {u: _Remembering(key) for u, key in registry.items()}
    clients = {u: Client(u, setup, signing_key=keys.get(u), registry=registry) for u in range(setup.n)}
    server, parcels = Server(setup, registry=registry), []

    def hand(stage: str, boxes: dict[int, list[Message]], act) -> list[Message]:
        """The server hands out its answers; those who still speak act on them."""
        parcels.extend(Parcel(SERVER, u, tuple(box)) for u, box in boxes.items() if box)
        speaking = [u for u in boxes if u not in drop or CLIENT_STAGES.index(stage) < CLIENT_STAGES.index(drop[u])]
        said = {u: act(clients[u], boxes[u]) for u in speaking}
        parcels.extend(Parcel(u, SERVER, tuple(messages)) for u, messages in said.items())
        return [message for messages in said.values() for message in messages]

    try:
        sent = hand("advertise", {u: [] for u in clients}, lambda client, box: [client.advertise()])
        sent = hand("share", server.keys(sent), lambda client, box: client.share(box))
        sent = hand("mask", server.forward(sent), lambda client, box: [client.mask(box, inputs[client.number])])
        survivors = {u: [message] for u, message in server.survivors(sent).items()}
        if setup.malicious:
            sent = hand("check", survivors, lambda client, box: [client.check(box[0])])
            sent = hand("unmask", server.signatures(sent), lambda client, box: [client.unmask(box)])
        else:
            sent = hand("unmask", survivors, lambda client, box: [client.unmask(box)])
        return Outcome(server.total(sent), tuple(sorted(survivors)), tuple(parcels))
    except TooFewError as stopped:
        stopped.parcels = tuple(parcels)
        raise


def _asked_for(inputs: np.ndarray, setup: Setup, drop: dict[int, str] | None) -> dict[int, str]:
    """What `run` was told of dropouts, once that and its inputs fit the setup."""
    checked_setup(setup)
    if not isinstance(inputs, np.ndarray) or inputs.shape != (setup.n, setup.words) or inputs.dtype != setup.dtype:
        got = f"{inputs.dtype} {inputs.shape}" if isinstance(inputs, np.ndarray) else type(inputs).__name__
        raise ValueError(f"inputs must be {setup.n} rows of {setup.words} words, {setup.dtype.name}; got {got}.")
    drop = {} if drop is None else drop
    if not isinstance(drop, Mapping):
        raise ValueError(f"drop must be a dict from clients to stages, such as {{2: 'mask'}}; got {drop!r}.")
    for u, stage in drop.items():
        one_of("drop", stage, CLIENT_STAGES)
        if whole("drop", u, 0) >= setup.n:
            raise ValueError(f"drop must name clients from 0 to {setup.n - 1}; got {u}.")
    return drop


class _Remembering:
    """A public key that verifies each signature once: all clients are in this process, and each would do the same."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self._verified: set[tuple[bytes, bytes]] = set()

    def verify(self, signature: bytes, data: bytes) -> None:
        if (signature, data) not in self._verified:
            self._key.verify(signature, data)
            self._verified.add((signature, data))


def traffic(n: int, words: int, bits: int, *, malicious: bool = True, neighbours: int | None = None) -> dict[str, int]:
    """Bytes of a round in which nobody drops out.

    Parameters
    ----------
    n, words, bits, malicious
        See `Setup`.
    neighbours
        None for a mask with everybody. A number k extrapolates to a sparse graph, where each client has k neighbours
        to share masks and secrets with, and hears of nobody else (Bell et al., CCS 2020, eprint 2020/704, where k
        grows with the logarithm of n).

    Returns
    -------
    dict
        ``"client sends"``, ``"client receives"``, ``"server handles"`` (both, of all clients), and for comparison
        ``"plain update"``, the words alone.

    Raises
    ------
    ValueError
        If `neighbours` is not below `n`, or the other numbers do not fit.
    """
    if neighbours is not None and whole("neighbours", neighbours) >= whole("n", n, 2):
        raise ValueError(f"neighbours must be below n = {n}; got {neighbours}.")
    circle = n if neighbours is None else neighbours + 1
    each = sizes(Setup(circle, circle, words, bits, malicious=malicious), circle)
    sends = sum(n_bytes for _, to_server, n_bytes in each if to_server)
    receives = sum(n_bytes for _, to_server, n_bytes in each if not to_server)
    return {
        "client sends": sends,
        "client receives": receives,
        "server handles": n * (sends + receives),
        "plain update": words * bits // 8,
    }


def sizes(setup: Setup, left: int) -> list[tuple[str, bool, int]]:
    """Parcels of one client in their order: what, whether to the server, bytes; `left` clients send masked words."""
    n, signed = setup.n, HEADER.size + tail(setup)
    found = [
        ("public keys", True, signed + KEYS),
        ("public keys", False, n * (signed + KEYS)),
        ("encrypted shares", True, (n - 1) * (HEADER.size + LETTER)),
        ("encrypted shares", False, (n - 1) * (HEADER.size + LETTER)),
        ("masked update", True, signed + setup.words * setup.bits // 8),
        ("survivors", False, HEADER.size + 2 * left),
    ]
    if setup.malicious:
        found += [("signature", True, signed), ("signatures", False, left * signed)]
    return [*found, ("shares", True, signed + n * ENTRY.size)]

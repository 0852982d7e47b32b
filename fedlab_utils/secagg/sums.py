"""Secure aggregation: the server learns the sum of the hospitals' updates, and none of the updates.

The protocol itself, `Client` and `Server`, is in `secagg.protocol`; here are a whole round of it, its traffic,
and `SecureSum`, which plugs into ``federated.train(aggregator=...)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedlab_utils._arguments import one_of, uploads, whole
from fedlab_utils.federated import Aggregator
from fedlab_utils.secagg.grid import Grid, decode, encode
from fedlab_utils.secagg.messages import (
    ENTRY,
    HEADER,
    KEYS,
    LETTER,
    SERVER,
    STAGES,
    Message,
    Setup,
    default_threshold,
    enough,
    register,
    tail,
)
from fedlab_utils.secagg.protocol import Client, Server

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
    ProtocolError
        If fewer than ``setup.threshold`` clients are left at any stage.
    """
    drop = drop or {}
    if np.shape(inputs) != (setup.n, setup.words):
        raise ValueError(f"inputs must be {setup.n} rows of {setup.words} words; got {np.shape(inputs)}.")
    for u, stage in drop.items():
        one_of("drop", stage, CLIENT_STAGES)
        if whole("drop", u, 0) >= setup.n:
            raise ValueError(f"drop must name clients from 0 to {setup.n - 1}; got {u}.")
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


class _Remembering:
    """A public key that verifies each signature once: all clients are in this process, and each would do the same."""

    def __init__(self, key: Ed25519PublicKey) -> None:
        self._key = key
        self._verified: set[tuple[bytes, bytes]] = set()

    def verify(self, signature: bytes, data: bytes) -> None:
        if (signature, data) not in self._verified:
            self._key.verify(signature, data)
            self._verified.add((signature, data))


@dataclass(frozen=True)
class SecureSum(Aggregator):
    """An aggregator that sees only masked updates: ``federated.train(..., aggregator=SecureSum())``.

    Each hospital puts its update on a grid (`grid.encode`), multiplied by its rows, with the rows as one more
    word; the server learns the sum of both, so the mean, and not the rows of one hospital. A hospital that is not
    alive falls silent when masked words are due. Everybody learns who takes part, and of two hospitals each can
    subtract its own update from the sum.

    Parameters
    ----------
    threshold
        See `Setup`; None is `default_threshold`.
    bits
        Of a word: 8, 16, 32 or 64.
    limit
        Largest size of a number in an update.
    max_rows
        Most rows that all hospitals have together; None is the next power of two.
    malicious, colluding
        See `Setup`.

    Raises
    ------
    ValueError
        If an argument does not fit; some only show with the number of hospitals, before anything is trained.
    """

    threshold: int | None = None
    bits: int = 32
    limit: float = 4.0
    max_rows: int | None = None
    malicious: bool = True
    colluding: int = 0
    sees: ClassVar[str] = "sum of updates of each round"
    shows_participants: ClassVar[bool] = True

    def __post_init__(self) -> None:
        Grid(self.limit, self.bits, 1 if self.max_rows is None else self.max_rows)
        whole("colluding", self.colluding, 0)

    def grid_step(self, n: int, rows: int) -> float:
        """Distance of two levels for n hospitals with so many rows; refuses what cannot work for them.

        Raises
        ------
        ValueError
            If there are fewer than two hospitals, or threshold or grid do not fit them.
        """
        if n < 2:
            raise ValueError("participation must leave two hospitals or more in a round: a sum of one is its update.")
        self._setup(n, 1)
        return self._grid(rows).step

    def aggregate(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """The weighted mean of the updates of those alive, by the protocol.

        Parameters
        ----------
        updates
            ``[n, d]``, from ``-limit`` to ``limit``.
        weights
            Rows of each hospital, ``[n]``.
        alive
            Who is still there, true or false, ``[n]``.
        rng
            Coins of the rounding, and of nothing else: keys come from the operating system.

        Returns
        -------
        mean, messages
            The mean ``[d]``; and of each message sender, receiver, what it is, bytes, values: what one end handed to
            the other in one go. Values are words for a masked update, else bytes.

        Raises
        ------
        ValueError
            If an update goes beyond the limit, or shapes do not fit.
        ProtocolError
            If fewer than the threshold are alive.
        """
        words, grid, setup, alive = self._prepared(updates, weights, alive, rng)
        outcome = run(words, setup, drop={u: "mask" for u in range(setup.n) if not alive[u]})
        sent = [(*_ends(p.sender, p.receiver), p.what, len(p), _values(p, setup)) for p in outcome.parcels]
        return decode(outcome.total, grid)[0], sent

    def quick(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """What `aggregate` returns, bit for bit, without keys and masks; the messages have sizes but no values."""
        words, grid, setup, alive = self._prepared(updates, weights, alive, rng)
        left = np.flatnonzero(alive).tolist()
        enough(left, setup, "sent masked words")
        total = words[left].sum(axis=0, dtype=words.dtype)
        sent = []
        for what, to_server, n_bytes in _sizes(setup, len(left)):
            early = what in ("public keys", "encrypted shares")
            for u in range(setup.n) if early else left:
                ends = (u, SERVER) if to_server else (SERVER, u)
                sent.append((*_ends(*ends), what, n_bytes, None))
        return decode(total, grid)[0], sent

    def _prepared(self, updates, weights, alive, rng) -> tuple[np.ndarray, Grid, Setup, np.ndarray]:
        """Every hospital's words, the grid they are on, what everybody knows, and who is there."""
        updates, weights, alive = uploads(updates, weights, alive)
        setup, grid = self._setup(len(updates), updates.shape[1] + 1), self._grid(weights.sum())
        return np.stack([encode(*one, grid, rng) for one in zip(updates, weights, strict=True)]), grid, setup, alive

    def _setup(self, n: int, words: int) -> Setup:
        threshold = default_threshold(n) if self.threshold is None else self.threshold
        return Setup(n, threshold, words, self.bits, malicious=self.malicious, colluding=self.colluding)

    def _grid(self, rows: float) -> Grid:
        most = self.max_rows
        if most is None:
            most = 2 ** int(rows - 1).bit_length()
            if rows < 2**self.bits:
                most = min(most, 2**self.bits - 1)
        if rows > most:
            raise ValueError(f"max_rows must be at least all rows together, {rows:g}; got {most}.")
        return Grid(self.limit, self.bits, most)


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
    if neighbours is not None and whole("neighbours", neighbours) >= n:
        raise ValueError(f"neighbours must be below n = {n}; got {neighbours}.")
    circle = n if neighbours is None else neighbours + 1
    sizes = _sizes(Setup(circle, circle, words, bits, malicious=malicious), circle)
    sends = sum(n_bytes for _, to_server, n_bytes in sizes if to_server)
    receives = sum(n_bytes for _, to_server, n_bytes in sizes if not to_server)
    return {
        "client sends": sends,
        "client receives": receives,
        "server handles": n * (sends + receives),
        "plain update": words * bits // 8,
    }


def _sizes(setup: Setup, left: int) -> list[tuple[str, bool, int]]:
    """Parcels of one client in their order: what, whether to the server, bytes; `left` clients send masked words."""
    n, signed = setup.n, HEADER.size + tail(setup)
    sizes = [
        ("public keys", True, signed + KEYS),
        ("public keys", False, n * (signed + KEYS)),
        ("encrypted shares", True, (n - 1) * (HEADER.size + LETTER)),
        ("encrypted shares", False, (n - 1) * (HEADER.size + LETTER)),
        ("masked update", True, signed + setup.words * setup.bits // 8),
        ("survivors", False, HEADER.size + 2 * left),
    ]
    if setup.malicious:
        sizes += [("signature", True, signed), ("signatures", False, left * signed)]
    return [*sizes, ("shares", True, signed + n * ENTRY.size)]


def _ends(*numbers: int) -> tuple[int | str, ...]:
    return tuple("server" if u == SERVER else u for u in numbers)


def _values(parcel: Parcel, setup: Setup) -> np.ndarray:
    """Masked words, or the bytes."""
    if parcel.what == "masked update":
        return np.frombuffer(parcel.messages[0].body, dtype=setup.dtype, count=setup.words)
    return np.frombuffer(b"".join(message.body for message in parcel.messages), dtype=np.uint8)

"""Secure aggregation as an aggregator: `SecureSum`, which plugs into ``federated.train(aggregator=...)``.

The protocol itself is in `secagg.protocol` (`Client`) and `secagg.server` (`Server`), a whole round of it in
`secagg.in_process`.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from fedlab_utils._arguments import draws, flag, number, uploads, whole
from fedlab_utils.federated.aggregators import Aggregator, Round
from fedlab_utils.secagg.grid import Grid, decode, encode
from fedlab_utils.secagg.in_process import WHAT, Parcel, run, sizes
from fedlab_utils.secagg.messages import (
    SERVER,
    Setup,
    TooFewError,
    checked_fingerprint,
    default_threshold,
    enough,
    fingerprint,
)

# Measured with limit = 4 on the course's four data sets: with 64 steps the mean AUC of five seeds stays within .002 of
# that without a grid, with 16 it falls by up to .006 (and by .02 for single seeds), with 1 trainings run away.
LEAST_STEPS = 60


class MaskedSum(Aggregator):
    """What every sum by the protocol has in common, whatever the words stand for: to be subclassed.

    A subclass is a frozen dataclass with `threshold`, `bits`, `malicious`, `colluding`, `round` and `model` (see
    `Setup`) that says how updates become words (`_prepared`) and what the sum of words means (`_decoded`).
    """

    shows_participants: ClassVar[bool] = True
    masked: ClassVar[str] = "masked update"  # what a hospital's words are called where messages are written down

    def needs(self, n: int) -> int:
        """The threshold for n hospitals."""
        return default_threshold(n) if self.threshold is None else self.threshold

    def in_round(self, this: Round, run: int) -> MaskedSum:
        """The same for one round: its number, and the model that all were sent, are part of all that is signed."""
        own = copy(self)
        vars(own).update(round=this.number, model=fingerprint(this.model[run].numpy(), this.number))
        return own

    def aggregate(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """The weighted mean of the updates of those alive, by the protocol.

        Parameters
        ----------
        updates
            ``[n, d]``, from ``-largest`` to ``largest``.
        weights
            Rows of each hospital, ``[n]``.
        alive
            Who is still there, true or false, ``[n]``.
        rng
            Coins of the rounding, and of nothing else: keys come from the operating system, and noise has sources of
            its own.

        Returns
        -------
        mean, messages
            The mean ``[d]``; and of each message sender, receiver, what it is, bytes, values: what one end handed to
            the other in one go. Values are words for a masked update, else bytes.

        Raises
        ------
        ValueError
            If an update is too large, or shapes do not fit.
        TooFewError
            If fewer than the threshold are alive; its `messages` are those sent until then.
        """
        words, grid, setup, alive = self._prepared(updates, weights, alive, rng)

        def posted(parcels: tuple[Parcel, ...]) -> list[tuple]:
            return [(*_ends(p.sender, p.receiver), self._named(p.what), len(p), _values(p, setup)) for p in parcels]

        try:
            outcome = run(words, setup, drop={u: "mask" for u in range(setup.n) if not alive[u]})
        except TooFewError as stopped:
            stopped.messages = posted(stopped.parcels)
            raise
        return self._decoded(outcome.total, grid, len(outcome.survivors)), posted(outcome.parcels)

    def quick(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """What `aggregate` returns, bit for bit, without keys and masks; the messages have sizes but no values."""
        words, grid, setup, alive = self._prepared(updates, weights, alive, rng)
        left = np.flatnonzero(alive).tolist()
        sent = []
        for what, to_server, n_bytes in sizes(setup, len(left)):
            early = what in ("public keys", "encrypted shares")
            for u in range(setup.n) if early else left:
                ends = (u, SERVER) if to_server else (SERVER, u)
                sent.append((*_ends(*ends), self._named(what), n_bytes, None))
            if what == WHAT["mask"]:
                try:
                    enough(left, setup, "sent masked words")
                except TooFewError as stopped:
                    stopped.messages = sent
                    raise
        return self._decoded(words[left].sum(axis=0, dtype=words.dtype), grid, len(left)), sent

    def _prepared(self, updates, weights, alive, rng) -> tuple[np.ndarray, Any, Setup, np.ndarray]:
        """Every hospital's words, the grid they are on, what everybody knows, and who is there."""
        raise NotImplementedError

    def _decoded(self, total: np.ndarray, grid: Any, left: int) -> np.ndarray:
        """The mean, from the sum of the words of those `left`."""
        raise NotImplementedError

    def _setup(self, n: int, words: int, share: float = 0.0) -> Setup:
        how = dict(round=self.round, malicious=self.malicious, colluding=self.colluding, model=self.model)
        return Setup(n, self.needs(n), words, self.bits, **how, share=share)

    def _named(self, what: str) -> str:
        return self.masked if what == WHAT["mask"] else what

    def _check_protocol(self) -> None:
        """Refuse what does not fit whatever the number of hospitals."""
        if self.threshold is not None:
            whole("threshold", self.threshold)
        flag("malicious", self.malicious)
        whole("colluding", self.colluding, 0)
        whole("round", self.round, 0)
        checked_fingerprint(self.model)

    def _several(self, n: int) -> int:
        """Two hospitals or more."""
        if whole("n", n) < 2:
            raise ValueError("participation must leave two hospitals or more in a round: a sum of one is its update.")
        return n


@dataclass(frozen=True)
class SecureSum(MaskedSum):
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
        Largest size of a number in an update. Steps of the grid are in proportion to it.
    max_rows
        Most rows that all hospitals have together; None is the next power of two.
    malicious, colluding
        See `Setup`.
    round, model
        See `Setup`. A training sets both itself, anew in each round.

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
    round: int = field(default=0, repr=False)
    model: bytes = field(default=b"", repr=False)
    sees: ClassVar[str] = "sum of updates of each round"

    def __post_init__(self) -> None:
        Grid(self.limit, self.bits, 1 if self.max_rows is None else self.max_rows)
        self._check_protocol()

    @property
    def largest(self) -> float:
        """`limit`, as the seam calls it."""
        return self.limit

    def grid_step(self, n: int, rows: int) -> float:
        """Distance of two levels for n hospitals with so many rows; refuses what cannot work for them.

        Raises
        ------
        ValueError
            If there are fewer than two hospitals, or threshold or grid do not fit them.
        """
        self._setup(self._several(n), 1)
        return self._grid(number("rows", rows)).step

    def _prepared(self, updates, weights, alive, rng) -> tuple[np.ndarray, Grid, Setup, np.ndarray]:
        """Every hospital's words, the grid they are on, what everybody knows, and who is there."""
        draws("rng", rng)
        updates, weights, alive = uploads(updates, weights, alive, nobody=True)
        if not np.abs(updates).max() <= self.limit:
            raise ValueError(
                f"updates must be finite and within limit = {self.limit:g} of 0, and one is not: give SecureSum a "
                "larger limit (and bits enough to keep its grid fine), or train with a smaller lr."
            )
        setup, grid = self._setup(len(updates), updates.shape[1] + 1), self._grid(weights.sum())
        return np.stack([encode(*one, grid, rng) for one in zip(updates, weights, strict=True)]), grid, setup, alive

    def _decoded(self, total: np.ndarray, grid: Grid, left: int) -> np.ndarray:
        return decode(total, grid)[0]

    def _grid(self, rows: float) -> Grid:
        most = self.max_rows
        if most is None:
            most = 2 ** int(rows - 1).bit_length()
            if rows < 2**self.bits:
                most = min(most, 2**self.bits - 1)
        if rows > most:
            raise ValueError(f"max_rows must be at least all rows together, {rows:g}; got {most}.")
        grid = Grid(self.limit, self.bits, most)
        if grid.levels < LEAST_STEPS:
            raise ValueError(
                f"bits={self.bits} leaves {grid.levels} steps of {grid.step:.2g} from -limit to limit = {self.limit:g} "
                f"beside {most} rows, and sums need {LEAST_STEPS}: give more bits, or a smaller max_rows if there are "
                "fewer rows."
            )
        return grid


def _ends(*numbers: int) -> tuple[int | str, ...]:
    return tuple("server" if u == SERVER else u for u in numbers)


def _values(parcel: Parcel, setup: Setup) -> np.ndarray:
    """Masked words, or the bytes."""
    if parcel.what == WHAT["mask"]:
        return np.frombuffer(parcel.messages[0].body, dtype=setup.dtype, count=setup.words)
    return np.frombuffer(b"".join(message.body for message in parcel.messages), dtype=np.uint8)

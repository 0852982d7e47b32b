"""Sums over hospitals, each of them a release: in the open or masked, exact or with the noise of a promise.

Whoever learns from sums asks `Releases` for them and never sees a row. Four ways lead to a total:

==================  ==========================================  ====================================================
                    no aggregator                               ``secagg.SecureSum()`` or ``secagg.PrivateSum()``
==================  ==========================================  ====================================================
no promise          the server sees every hospital's sums       the server sees their total, exactly
`RecordDP`          each hospital adds all the noise itself     each adds a share; nobody ever holds an exact total
==================  ==========================================  ====================================================
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fedlab_utils.data.hospitals import Federation
from fedlab_utils.fleet.randomness import SUMS_NOISE, beneath, generator, noise_generator
from fedlab_utils.privacy import Ledger, Mechanism, RecordDP
from fedlab_utils.privacy.accounting import calibrated, noise_for
from fedlab_utils.privacy.mechanisms import composed, has_pld
from fedlab_utils.secagg.in_process import Parcel, run
from fedlab_utils.secagg.messages import Setup
from fedlab_utils.secagg.noise import signed
from fedlab_utils.secagg.private import HOSPITALS, SumLayout, private_sum
from fedlab_utils.secagg.sums import MaskedSum

_GUESS = 1.1  # RDP asks for about so many times the noise of PLD: where the search for it begins


@dataclass(frozen=True)
class Sum:
    """One release: what is added up, and how far one record can move it.

    Attributes
    ----------
    what
        In words.
    size
        How many numbers.
    share
        Of the budget, as a share of 1 / noise^2; the shares of all releases add up to 1.
    cells
        For counts: one record changes at most so many numbers, each by one.
    sensitivity
        For other numbers: one record changes a hospital's vector by at most this length.
    largest
        How much one record adds to a number at most.
    step
        Of which all numbers are whole multiples, so that no sum of them is ever rounded.
    """

    what: str
    size: int
    share: float
    cells: int | None = None
    sensitivity: float | None = None
    largest: float = 1.0
    step: float = 1.0

    @property
    def length(self) -> float:
        """How far one record can move the vector, by length."""
        return math.sqrt(self.cells) if self.cells else self.sensitivity


@dataclass
class Releases:
    """All sums of one training, one after another: asked for with `total`, written down in `ledger` and `transcript`.

    Attributes
    ----------
    federation, promise, aggregator, seed, model
        Whose rows, what is promised, through what they travel; where noise and coins of a demonstration start.
    viewer
        Whom a budget is kept for where noise comes in shares, as in `private_sum`.
    drop
        Who falls silent when, as in `secagg.run`.
    ledger, transcript
        What has been released, and who sent what to whom: sender, receiver, what,
        messages, bytes.
    """

    federation: Federation
    promise: RecordDP | None
    aggregator: MaskedSum | None
    seed: int = 0
    model: int = 0
    viewer: str = HOSPITALS
    drop: Mapping[int, str] | None = None
    ledger: Ledger = field(default_factory=Ledger)
    transcript: list[tuple] = field(default_factory=list)
    _multiplier: float | None = None

    def __post_init__(self) -> None:
        self.names = [h.name for h in self.federation.hospitals]
        self.rows = [len(h.train) for h in self.federation.hospitals]

    def plan(self, sums: Sequence[Sum]) -> None:
        """Settle the noise of all releases, before the first of them: the budget asked for is the budget spent.

        Raises
        ------
        ValueError
            If the budget or the words of the protocol do not fit the sums.
        """
        if self.promise is None:
            return
        if not self._masked or self.promise.epsilon is None:
            # Gaussian releases compose to one whose 1 / noise^2 is the sum of theirs.
            self._multiplier = self.promise.noise(sampling=1.0, steps=1)
        else:
            self._multiplier = self._calibrated(sums)
        for one in sums:
            self.mechanisms(one)  # refuses what does not fit into words

    def total(self, one: Sum, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        """The sum of the hospitals' vectors ``[hospitals, size]``, and the standard deviation of its noise."""
        if self.promise is None:
            total = self._masked_exactly(one, vectors) if self._masked else self._in_the_open(one, vectors)
            return total, 0.0
        return self._in_shares(one, vectors) if self._masked else self._each_noisy(one, vectors)

    def sent_back(self, what: str, size: int) -> None:
        """Write down what the server sent to all hospitals."""
        self.transcript.append(("server", "every hospital", what, 1, 8 * size))

    def mechanisms(self, one: Sum) -> dict[str, Mechanism]:
        """What a release costs, by viewer."""
        return self._mechanisms(one, self._multiplier)

    @property
    def _masked(self) -> bool:
        return self.aggregator is not None

    @property
    def _about(self) -> dict:
        """What is the same for all mechanisms: of the largest hospital, since every one is bounded by that."""
        records = self.federation.rows_a_patient or 1
        return dict(delta=self.promise.delta, unit=self.promise.unit, secret=self.promise.secure, records=records)

    def _mechanisms(self, one: Sum, multiplier: float) -> dict[str, Mechanism]:
        noise = multiplier / math.sqrt(one.share)
        if not self._masked:
            return {"server": Mechanism(noise, units=max(self.rows), **self._about)}
        return self._layout(one).mechanisms(noise, units=max(self.rows), **self._about)

    def _setup(self, size: int) -> Setup:
        a = self.aggregator
        how = dict(malicious=a.malicious, colluding=a.colluding)
        return Setup(len(self.names), a.needs(len(self.names)), size, a.bits, **how)

    def _layout(self, one: Sum) -> SumLayout:
        about = (self.promise, one.cells, one.sensitivity, self._limit(one), "skellam", self.viewer)
        return SumLayout(self._setup(one.size), *about)

    def _limit(self, one: Sum) -> float:
        """The largest size of a number of one hospital, whose rows are public."""
        return one.largest * max(self.rows)

    def _calibrated(self, sums: Sequence[Sum]) -> float:
        """The least noise multiplier with which all releases together keep the budget."""
        promise = self.promise

        def spend(multiplier: float) -> float:
            every = [self._mechanisms(one, multiplier)[self.viewer] for one in sums]
            return composed(every, promise.delta, "pld" if has_pld(every) else "rdp")

        exact = all(one.cells for one in sums)
        start = noise_for(promise.epsilon, delta=promise.delta) * (1 if exact else _GUESS)
        found = calibrated(spend, promise.epsilon, start)
        if found is None:
            raise ValueError(f"epsilon={promise.epsilon:g} is out of reach with this aggregator; try a larger delta.")
        return found

    def _in_the_open(self, one: Sum, vectors: np.ndarray) -> np.ndarray:
        for name in self.names:
            self.transcript.append((name, "server", one.what, 1, 8 * one.size))
            self.ledger = self.ledger.add(one.what, hospital=name, viewer="server", detail=f"{one.size} numbers")
        return vectors.sum(0)

    def _each_noisy(self, one: Sum, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        total = np.zeros(one.size)
        for h, (name, exact) in enumerate(zip(self.names, vectors, strict=True)):
            total += self.noisy(one, h, exact)
            self.transcript.append((name, "server", f"noisy {one.what}", 1, 8 * one.size))
            mechanism = replace(self.mechanisms(one)["server"], units=self.rows[h])
            about = dict(hospital=name, viewer="server", detail=f"{one.size} numbers", mechanism=mechanism)
            self.ledger = self.ledger.add(f"noisy {one.what}", **about)
        return total, self._noise(one) * math.sqrt(len(self.names))

    def noisy(self, one: Sum, hospital: int, exact: np.ndarray) -> np.ndarray:
        """What one hospital sends, with all the noise on it that its patients need."""
        # The same draws at two sizes would give the exact numbers away, even in a demonstration.
        own = (self.seed, self.model, hospital, SUMS_NOISE, beneath(np.r_[exact, self._noise(one)]))
        rng = noise_generator() if self.promise.secure else generator(*own)
        return exact + rng.normal(0.0, self._noise(one), one.size)

    def _noise(self, one: Sum) -> float:
        """Standard deviation of the noise that one hospital adds by itself."""
        return self._multiplier / math.sqrt(one.share) * one.length

    def _masked_exactly(self, one: Sum, vectors: np.ndarray) -> np.ndarray:
        """The exact sum, in whole steps."""
        setup = self._setup(one.size)
        if one.largest * sum(self.rows) / one.step >= 2.0 ** (setup.bits - 1):
            raise ValueError(f"bits={setup.bits} of the aggregator leave no room for {one.what}: give more bits.")
        words = np.round(vectors / one.step).astype(np.int64).astype(setup.dtype)
        outcome = run(words, setup, drop=dict(self.drop or {}))
        self._posted(outcome.parcels, f"masked {one.what}")
        about = dict(hospital=", ".join(self.names), viewer="server", detail=f"{one.size} numbers, summed")
        self.ledger = self.ledger.add(one.what, **about)
        return signed(outcome.total) * one.step

    def _in_shares(self, one: Sum, vectors: np.ndarray) -> tuple[np.ndarray, float]:
        promise = replace(self.promise, epsilon=None, noise_multiplier=self._multiplier / math.sqrt(one.share))
        a = self.aggregator
        how = dict(bits=a.bits, malicious=a.malicious, colluding=a.colluding, threshold=a.needs(len(self.names)))
        about = dict(cells=one.cells, sensitivity=one.sensitivity, limit=self._limit(one), viewer=self.viewer)
        own = int(generator(self.seed, self.model, SUMS_NOISE).integers(2**31))  # another one for each model
        units = dict(units=max(self.rows), records=self.federation.rows_a_patient or 1)
        found = private_sum(vectors, promise=promise, **about, **how, **units, drop=dict(self.drop or {}), seed=own)
        self._posted(found.outcome.parcels, f"masked noisy {one.what}")
        self.ledger = self.ledger + found.ledger(self.names, f"noisy {one.what}")
        return found.total, found.sd

    def _posted(self, parcels: Sequence[Parcel], masked: str) -> None:
        for p in parcels:
            ends = (self.names[u] if u < len(self.names) else "server" for u in (p.sender, p.receiver))
            self.transcript.append((*ends, masked if p.what == "masked update" else p.what, 1, len(p)))

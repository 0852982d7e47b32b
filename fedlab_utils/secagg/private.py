"""Private sums: hospitals add noise in shares to the words that are masked, so that nobody ever holds an exact sum.

`private_sum` adds up one vector of each hospital, `PrivateSum` the updates of a training under `HospitalDP`. The total
that comes out is a noisy one, and all that the protocol shows besides is public: who took part, and who survived. A
word that wraps around, once in 10^12, costs accuracy and never privacy; so nothing is clamped once it is noisy, and no
noisy word is refused for its size, which would tell.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import ClassVar

import numpy as np

from fedlab_utils._arguments import draws, number, numbers, one_of, uploads, whole
from fedlab_utils.federated.aggregators import Inside, Round
from fedlab_utils.fleet.randomness import NOISE_SHARES, ROUNDING, beneath, generator, noise_generator
from fedlab_utils.privacy import HospitalDP, Ledger, Mechanism, RecordDP
from fedlab_utils.privacy.accounting import calibrated, composed, merged, noise_for
from fedlab_utils.secagg.grid import checked_bits
from fedlab_utils.secagg.in_process import Outcome, run
from fedlab_utils.secagg.messages import Setup, default_threshold
from fedlab_utils.secagg.noise import (
    HEADROOM,
    HOSPITALS,
    LARGEST_SD,
    VIEWERS,
    Sampler,
    Scale,
    discrete_gaussian,
    honest,
    scaled,
    signed,
    skellam,
)
from fedlab_utils.secagg.sums import MaskedSum

NOISES = "skellam", "discrete gaussian"
_RDP = 1.1  # RDP asks for about so many times the noise of PLD: where the search for it begins


@dataclass(frozen=True, eq=False)
class PrivateTotal:
    """A noisy sum, and what it costs.

    Attributes
    ----------
    total
        ``[d]``: whole numbers for counts, else in the units of the vectors.
    sd
        Standard deviation of the noise in it, in the same units. It is public, as everybody knows how many survived.
    mechanisms
        What was spent, by viewer: of the server, and of every hospital, which knows its own share of the noise.
    setup, outcome
        Of the protocol.
    """

    total: np.ndarray
    sd: float
    mechanisms: Mapping[str, Mechanism]
    setup: Setup
    outcome: Outcome

    def ledger(self, hospitals: Sequence[str], what: str = "noisy sum") -> Ledger:
        """An entry for each viewer and each of these hospitals, all of them views of one release."""
        entries, numbers = Ledger(), f"{len(self.total)} numbers"
        for name in hospitals:
            one = object()
            for viewer, mechanism in self.mechanisms.items():
                about = dict(what=what, hospital=name, viewer=viewer, detail=numbers)
                entries = entries.add(**about, mechanism=mechanism, release=one)
        return entries


def private_sum(
    vectors: np.ndarray,
    *,
    promise: RecordDP | HospitalDP,
    cells: int | None = None,
    sensitivity: float | None = None,
    limit: float | None = None,
    noise: str = "skellam",
    viewer: str = HOSPITALS,
    threshold: int | None = None,
    colluding: int = 0,
    bits: int = 32,
    malicious: bool = True,
    drop: dict[int, str] | None = None,
    units: int | None = None,
    records: int = 1,
    seed: int = 0,
) -> PrivateTotal:
    """The sum of one vector of each hospital, by the protocol, with the noise of a promise inside.

    The promise is to one patient record, which the vector of one hospital counts once (`RecordDP`), or to the whole
    vector of one hospital (`HospitalDP`): nobody can tell much better than before whether it was there or blank.

    Parameters
    ----------
    vectors
        ``[n, d]``, those of n hospitals.
    promise
        Its budget, or its noise multiplier: standard deviation of the noise in units of the largest change.
    cells
        For counts, which need no rounding, and only for records: one record changes at most so many numbers, each by
        one. Then the loss is computed exactly (PLD).
    sensitivity
        For other numbers: one record changes a hospital's vector by at most this length. Numbers are rounded by coins,
        and what that adds to a change is counted. With `HospitalDP` it is the length to which vectors are clipped.
        The loss is bounded by RDP.
    limit
        Largest size of a number of one hospital; a larger one is cut off before noise comes to it. By default all
        that a word has room for (counts), or `sensitivity` with `HospitalDP`.
    noise
        ``"skellam"``, or for counts ``"discrete gaussian"``, which is drawn with whole numbers alone.
    viewer
        Whom the budget is kept for: ``"every hospital"``, where they get the sum too and know their own share of the
        noise, or ``"server"``, where nobody else does.
    threshold, colluding, bits, malicious
        As in `Setup`; None is `default_threshold`. Shares of noise are scaled for the fewest honest ones that a sum
        can have, whoever survives.
    drop
        Who falls silent when, as in `run`.
    units, records
        How many records (or hospitals) there are, if that is public; the most records of one patient.
    seed
        Of noise and coins if the promise is not secure. They depend on the vectors as well, so that other vectors meet
        other noise.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is drawn.
    TooFewError
        If fewer than the threshold are left.
    """
    vectors = _checked(vectors, promise, cells, sensitivity, limit, noise, viewer, units)
    n, d = vectors.shape
    how = dict(bits=checked_bits(bits), malicious=malicious, colluding=colluding)
    plain = Setup(n, default_threshold(n) if threshold is None else threshold, d, **how)
    one = SumLayout(plain, promise, cells, sensitivity, limit, noise, viewer)
    multiplier = _enough(promise, lambda z: Mechanism(event=one.event(z), delta=promise.delta).epsilon, bool(cells))
    scale = one.scale(multiplier)
    setup = Setup(n, plain.threshold, d, **how, share=scale.share)
    sources = _sources(promise.secure, seed, n, (vectors, setup.context, noise))
    words = np.stack([one.words(v, scale, *own) for v, own in zip(vectors, sources, strict=True)])
    outcome = run(words, setup, drop=drop)
    total = signed(outcome.total)
    mechanisms = one.mechanisms(multiplier, units=units, records=whole("records", records))
    sd = math.sqrt(scale.share * len(outcome.survivors)) * scale.step
    return PrivateTotal(total if cells else total * scale.step, sd, mechanisms, setup, outcome)


def _checked(vectors, promise, cells, sensitivity, limit, noise, viewer, units) -> np.ndarray:
    """The vectors, once they and all else fit together."""
    vectors = numbers("vectors", vectors, only_finite=True)
    if vectors.ndim != 2 or not vectors.size or len(vectors) < 2:
        raise ValueError(f"vectors must be [n, d], one row for each of two hospitals or more; got {vectors.shape}.")
    if not isinstance(promise, RecordDP | HospitalDP):
        raise ValueError(f"promise must be privacy.RecordDP(...) or privacy.HospitalDP(...); got {promise!r}.")
    if (cells is None) == (sensitivity is None):
        raise ValueError(
            f"Give either cells or sensitivity, one of them; got cells={cells}, sensitivity={sensitivity}."
        )
    one_of("noise", noise, NOISES)
    one_of("viewer", viewer, VIEWERS)
    if limit is not None and not number("limit", limit):
        raise ValueError("limit must be above 0; got 0.")
    if units is not None and promise.delta * whole("units", units) >= 1:
        raise ValueError(f"delta must be below 1/{units}, one over the number of units; got {promise.delta:g}.")
    if cells is None:
        if not number("sensitivity", sensitivity):
            raise ValueError("sensitivity must be above 0; got 0.")
        if noise != NOISES[0]:
            raise ValueError(f"noise must be {NOISES[0]!r} where numbers are rounded (sensitivity); got {noise!r}.")
        if limit is None and isinstance(promise, RecordDP):
            raise ValueError("limit must be given with sensitivity: the largest size of a number of one hospital.")
        return vectors
    whole("cells", cells)
    if isinstance(promise, HospitalDP):
        raise ValueError("cells must not be given with HospitalDP: a hospital changes counts by more than one.")
    if (vectors % 1).any():
        raise ValueError("vectors must hold whole numbers with cells; give sensitivity for others.")
    return vectors


@dataclass(frozen=True)
class SumLayout:
    """How vectors become words for one promise: steps, noise and what it costs, by the noise multiplier.

    The attributes are those of `private_sum`; `setup` needs no share of noise.
    """

    setup: Setup
    promise: RecordDP | HospitalDP
    cells: int | None
    sensitivity: float | None
    limit: float | None
    noise: str
    viewer: str

    def scale(self, multiplier: float) -> Scale:
        """Steps and shares of noise."""
        members = honest(self.setup, self.viewer)
        if self.cells:
            share = multiplier**2 * self.cells / members
            if share > LARGEST_SD**2:
                raise ValueError(f"cells={self.cells} need more noise than can be drawn: give a larger epsilon.")
            if self._most(share) < (self.limit or 1):
                raise ValueError(f"bits={self.setup.bits} leave no room for counts beside the noise: give more bits.")
            return Scale(1.0, share)
        words = dict(n=self.setup.n, members=members, bits=self.setup.bits, widen=math.sqrt(self.setup.words))
        return scaled(multiplier, self.sensitivity, largest=self._limit, **words)

    def event(self, multiplier: float):
        """What the sum costs the viewer that the budget is kept for, as an event of dp-accounting."""
        # Late, since dp-accounting takes a while to load.
        from fedlab_utils.privacy.events import DiscreteGaussianDpEvent, SkellamDpEvent

        scale, members = self.scale(multiplier), honest(self.setup, self.viewer)
        if self.cells:
            kind = SkellamDpEvent if self.noise == NOISES[0] else DiscreteGaussianDpEvent
            return kind(scale.share, members, math.sqrt(self.cells), float(self.cells), self.cells)
        d = self.setup.words
        return SkellamDpEvent(scale.share, members, *_lengths(self.sensitivity / scale.step + math.sqrt(d), d))

    def mechanisms(self, multiplier: float, **about) -> dict[str, Mechanism]:
        """What the sum costs, by viewer; `about` is what else a `Mechanism` says of units."""
        p, event = self.promise, self.event(multiplier)
        by_viewer = {who: event.among(honest(self.setup, who)) for who in VIEWERS}
        about |= dict(delta=p.delta, unit=p.unit, secret=p.secure)
        return {who: Mechanism(seen.noise_multiplier, event=seen, **about) for who, seen in by_viewer.items()}

    def words(self, vector: np.ndarray, scale: Scale, rng: np.random.Generator, draw: dict[str, Sampler]) -> np.ndarray:
        """What one hospital masks: clipped, on whole steps, and noisy."""
        if self.cells:
            most = self._most(scale.share) if self.limit is None else math.floor(self.limit)
            steps = vector.clip(-most, most)
        else:
            if isinstance(self.promise, HospitalDP):
                vector = vector * min(1.0, self.sensitivity / max(np.linalg.norm(vector), 1e-300))
            steps = np.floor(vector.clip(-self._limit, self._limit) / scale.step + rng.random(len(vector)))
        return (steps.astype(np.int64) + draw[self.noise](scale.share, len(vector))).astype(self.setup.dtype)

    @property
    def _limit(self) -> float:
        return self.sensitivity if self.limit is None else self.limit

    def _most(self, share: float) -> int:
        """The largest count of one hospital that a word has room for."""
        n, room = self.setup.n, 2 ** (self.setup.bits - 1) - 1
        return math.floor((room - HEADROOM * math.sqrt(n * share)) / n)


def _lengths(l2: float, d: int) -> tuple[float, float]:
    """The L2 length of a change of whole numbers, and the most that its L1 length can be."""
    return l2, min(math.sqrt(d) * l2, l2**2)


def _enough(promise: RecordDP | HospitalDP, spend: Callable[[float], float], exact: bool) -> float:
    """The noise multiplier of a promise, or the least that keeps its budget."""
    if promise.epsilon is None:
        if not promise.noise_multiplier:
            raise ValueError("noise_multiplier must be above 0 for a private sum; got 0.")
        spend(promise.noise_multiplier)  # refuses what does not fit into words
        return promise.noise_multiplier
    start = noise_for(promise.epsilon, delta=promise.delta) * (1 if exact else _RDP)
    found = calibrated(spend, promise.epsilon, start)
    if found is None:
        raise ValueError(f"epsilon={promise.epsilon:g} is out of reach at delta={promise.delta:g}; try a larger delta.")
    return found


def _sources(secure: bool, seed: int, n: int, about: tuple) -> list[tuple[np.random.Generator, dict[str, Sampler]]]:
    """For each hospital coins of its rounding, and samplers of its noise."""
    whole("seed", seed, 0)
    apart = beneath(about[0], about=about[1:])
    found = []
    for u in range(n):
        coins, rng = (
            noise_generator() if secure else generator(seed, u, stream, apart) for stream in (ROUNDING, NOISE_SHARES)
        )
        exact = None if secure else random.Random(int(rng.integers(2**63)))
        samplers = {NOISES[0]: partial(skellam, rng=rng), NOISES[1]: partial(_rounded_up, rng=exact)}
        found.append((coins, samplers))
    return found


def _rounded_up(variance: float, size: int, rng: random.Random | None) -> np.ndarray:
    """Discrete Gaussian noise of the next whole variance: more noise, and much shorter fractions."""
    return discrete_gaussian(math.ceil(variance), size, rng)


@dataclass(frozen=True)
class PrivateSum(MaskedSum):
    """An aggregator under which hospitals add the noise of `HospitalDP` inside the masked sum.

    Each hospital rounds its clipped update to whole steps by coins, adds its share of Skellam noise, and masks that.
    The server learns the noisy sum and adds none: so the promise holds against the server too, and against hospitals,
    each of which knows its own share. Shares are scaled for the fewest honest ones that a sum can have. All hospitals
    count alike; how many are in a sum is public, as everybody is told who survived.

    Parameters
    ----------
    threshold, bits, malicious, colluding, round, model
        As in `SecureSum`.
    """

    threshold: int | None = None
    bits: int = 32
    malicious: bool = True
    colluding: int = 0
    round: int = field(default=0, repr=False)
    model: bytes = field(default=b"", repr=False)
    inside: Inside | None = field(default=None, repr=False)  # of one round: its noise, of the hospitals in it
    sees: ClassVar[str] = "noisy sum of updates of each round"
    masked: ClassVar[str] = "masked noisy update"
    adds_noise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        checked_bits(self.bits)
        self._check_protocol()

    def grid_step(self, n: int, rows: int) -> float:
        """0, since the step follows from the promise; refuses numbers of hospitals that cannot work.

        Raises
        ------
        ValueError
            If there are fewer than two hospitals, or the threshold does not fit them.
        """
        self._setup(self._several(n), 1)
        return 0.0

    def noise_inside(self, sizes, d, promise, steps, *, sampling=1.0, largest=None, beside=()) -> Inside:
        from fedlab_utils.privacy.events import SkellamDpEvent

        # A whole update is clipped shorter than the norm, to leave room for its rounding; a record's share of one is
        # rounded with all others, so there the noise has to pay for it.
        by_record, setups = isinstance(promise, RecordDP), {n: self._setup(n, d) for n in sizes}
        clip = promise.max_grad_norm if by_record else promise.max_update_norm
        plain = Inside(0.0, clip, 0.0, {}, largest=largest, widen=math.sqrt(d) if by_record else 0.0)

        def events(multiplier: float) -> dict[str, SkellamDpEvent]:
            # Of rounds of several sizes the worst of everything: it costs at least what each of them does.
            scales = {n: self._scale(setup, replace(plain, noise_multiplier=multiplier)) for n, setup in setups.items()}
            least = min(scales[n].share * honest(setup) for n, setup in setups.items())
            found = {}
            for viewer in VIEWERS:
                members = min(honest(setup, viewer) for setup in setups.values())
                more = min(honest(setup, viewer) / honest(setup) for setup in setups.values())
                lengths = _lengths(math.sqrt(least) / multiplier, d)
                found[viewer] = SkellamDpEvent(least * more / members, members, *lengths, 0, sampling)
            return found

        def spend(multiplier: float) -> float:
            return composed(merged(((events(multiplier)[HOSPITALS], steps), *beside)), promise.delta, "rdp")

        multiplier = _enough(promise, spend, exact=False)
        plain = replace(plain, noise_multiplier=multiplier, events=events(multiplier))
        return replace(plain, step=max(self._scale(setup, plain).step for setup in setups.values()))

    def in_round(self, this: Round, run: int) -> PrivateSum:
        own = super().in_round(this, run)
        members = np.sort(np.concatenate([this.here.members[run], this.silent.members[run]]))
        noise = this.inside[run]
        vars(own).update(inside=replace(noise, sources=[noise.sources[h] for h in members]))
        return own

    def _scale(self, setup: Setup, inside: Inside) -> Scale:
        about = dict(n=setup.n, members=honest(setup), bits=self.bits, widen=inside.widen)
        largest = inside.max_norm if inside.largest is None else inside.largest
        return scaled(inside.noise_multiplier, inside.max_norm, largest=largest, **about)

    def _prepared(self, updates, weights, alive, rng) -> tuple[np.ndarray, Scale, Setup, np.ndarray]:
        if self.inside is None:
            raise ValueError("PrivateSum works in federated.train with HospitalDP; for other sums see private_sum.")
        draws("rng", rng)
        updates, weights, alive = uploads(updates, weights, alive, nobody=True)
        if (weights != 1).any():
            raise ValueError(f"weights must be 1 for each hospital in a private sum; got {weights.tolist()}.")
        n, d = updates.shape
        scale, largest = self._scale(self._setup(n, d), self.inside), self.inside.largest
        updates = updates if largest is None else updates.clip(-largest, largest)
        steps = np.floor(updates / scale.step + rng.random(updates.shape)).astype(np.int64)
        noise = np.stack([skellam(scale.share, d, source) for source in self.inside.sources])
        setup = self._setup(n, d, scale.share)
        return (steps + noise).astype(setup.dtype), scale, setup, alive

    def _decoded(self, total: np.ndarray, grid: Scale, left: int) -> np.ndarray:
        return signed(total) * grid.step / left

"""A noisy release as the ledger knows it: how much noise, how often, and whom it protects."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fedlab_utils._arguments import flag, number, text, whole
from fedlab_utils.privacy import accounting
from fedlab_utils.privacy.accounting import Events

NOT_PRIVATE, PRIVATE = "not private", "differential privacy"
DEMONSTRATION = "demonstration of differential privacy: noise from a seed"
FOLLOWS = "follows from the noisy updates"  # computed from them alone, so it costs nothing more
PATIENT, HOSPITAL = "patient record", "hospital"
PRESENT_OR_BLANK = "one present or blank"


@dataclass(frozen=True)
class Mechanism:
    """A noisy release, repeated `steps` times.

    Attributes
    ----------
    noise_multiplier
        Standard deviation of the Gaussian noise in units of the clip norm (more than that norm, no unit can add).
    sampling
        Probability q with which each unit takes part in a step, by its own coin flip; 1 is no sampling.
    steps
        Steps that really ran, over all rounds.
    delta
        Probability with which the promise may fail.
    unit
        What it protects: "patient record" or "hospital".
    units
        How many of them there are, which counts as public; None if it is not known.
    relation
        Which data sets are neighbours. "One present or blank": the number of units is public (rates, noise and divisors
        follow from it), and the place of one unit holds its record or a blank that adds nothing (Kairouz et al.,
        arXiv:2103.00039, Definition 1.1; often called zero-out).
    secret
        Whether the noise came from the operating system's randomness. Noise from a seed can be computed again: that is
        a demonstration and no promise.
    event
        Instead of the Gaussian mechanism, any event of dp-accounting, such as ``LaplaceDpEvent(2.0)``.
    records
        How many records one patient has at most, where the unit is a record; see `Ledger.epsilon_of_patients`.

    Raises
    ------
    ValueError
        If a number is out of its range, in one sentence.
    """

    noise_multiplier: float = 0.0
    sampling: float = 1.0
    steps: int = 1
    delta: float = 1e-5
    unit: str = PATIENT
    units: int | None = None
    relation: str = PRESENT_OR_BLANK
    secret: bool = False
    event: object = None
    records: int = 1

    def __post_init__(self) -> None:
        number("noise_multiplier", self.noise_multiplier)
        accounting.checked_rate(self.sampling)
        accounting.checked_delta(self.delta)
        whole("steps", self.steps, 0)
        whole("records", self.records)
        if self.units is not None:
            whole("units", self.units)
        for name in ("unit", "relation"):
            text(name, getattr(self, name))
        flag("secret", self.secret)
        if self.event is not None:
            accounting.checked_event(self.event)

    def events(self) -> Events:
        """The event of dp-accounting and its count; nothing if no step ran."""
        event = accounting.gaussian(self.noise_multiplier, self.sampling) if self.event is None else self.event
        return ((event, self.steps),) if self.steps else ()

    @property
    def name(self) -> str:
        """Such as "Gaussian, Poisson-sampled"."""
        if self.event is not None:
            return getattr(self.event, "name", type(self.event).__name__.removesuffix("DpEvent"))
        return "Gaussian" if self.sampling == 1 else "Gaussian, Poisson-sampled"

    @property
    def honest(self) -> int | None:
        """With how many honest members the promise is kept, where noise comes in shares of them; None elsewhere."""
        return getattr(self.event, "honest", None)

    def among(self, honest: int) -> Mechanism:
        """The same where so many are honest, with noise in shares."""
        return replace(self, event=self.event.among(honest))

    @property
    def guarantee(self) -> str:
        """Whether it is a promise, a demonstration of one, or, without noise, not private."""
        if self.event is None and not self.noise_multiplier:
            return NOT_PRIVATE
        return PRIVATE if self.secret else DEMONSTRATION

    @property
    def epsilon(self) -> float:
        """What these steps spend by themselves; infinite without noise, and where it is more than 1,000."""
        return composed([self], self.delta, "rdp" if self.event and not has_pld([self]) else "pld")


def composed(mechanisms: Iterable[Mechanism], delta: float, method: str) -> float:
    """Epsilon of several releases about the same patient."""
    mechanisms = [m for m in mechanisms if m.steps]
    if any(m.event is None and not m.noise_multiplier for m in mechanisms):
        return math.inf
    # All in one composition: adding epsilons would be looser, and their deltas would have to be added too.
    events = accounting.merged(tuple(pair for m in mechanisms for pair in m.events()))
    return accounting.composed(events, delta, method)


def has_pld(mechanisms: Iterable[Mechanism]) -> bool:
    """Whether dp-accounting has a privacy loss distribution for all of them; it has one for the Gaussian."""
    events = [m.event for m in mechanisms if m.event is not None]
    return not events or accounting.has_pld(events)

"""What has been released about patients, with which promise, and what it adds up to: the ledger."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from fedlab_utils.privacy import accounting
from fedlab_utils.privacy.accounting import Events

NOT_PRIVATE, PRIVATE = "not private", "differential privacy"
FOLLOWS = "follows from the noisy updates"  # computed from them alone, so it costs nothing more
PATIENT, HOSPITAL = "patient record", "hospital"
ADD_OR_REMOVE = "add or remove one"


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
        Which data sets are neighbours.
    secret
        Whether the noise came from the operating system's randomness. Noise from a seed can be computed again.
    event
        Instead of the Gaussian mechanism, any event of dp-accounting, such as ``LaplaceDpEvent(2.0)``.
    """

    noise_multiplier: float = 0.0
    sampling: float = 1.0
    steps: int = 1
    delta: float = 1e-5
    unit: str = PATIENT
    units: int | None = None
    relation: str = ADD_OR_REMOVE
    secret: bool = False
    event: object = None

    def events(self) -> Events:
        """The event of dp-accounting and its count; nothing if no step ran."""
        event = accounting.gaussian(self.noise_multiplier, self.sampling) if self.event is None else self.event
        return ((event, self.steps),) if self.steps else ()

    @property
    def name(self) -> str:
        """Such as "Gaussian, Poisson-sampled"."""
        if self.event is not None:
            return type(self.event).__name__.removesuffix("DpEvent")
        return "Gaussian" if self.sampling == 1 else "Gaussian, Poisson-sampled"

    @property
    def guarantee(self) -> str:
        """ "differential privacy", or "not private" without noise."""
        return PRIVATE if self.event is not None or self.noise_multiplier else NOT_PRIVATE

    @property
    def epsilon(self) -> float:
        """What these steps spend by themselves; infinite without noise."""
        return _composed([self], self.delta, "rdp" if self.event and not _has_pld([self]) else "pld")


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes
    ----------
    what
        What left the hospital, such as "column sums".
    hospital
        Whose patients it is about.
    viewer
        Who sees it: "server", a hospital, or "outsider".
    guarantee
        What is promised; "not private" is the honest word for no promise.
    detail
        Which columns, how many numbers, in which run.
    mechanism
        The noise behind a promise of differential privacy; None elsewhere.
    dealing
        A number that tells one dealing of patients to hospitals from another; None if it is not known. It depends
        on the patients, so it is not shown.
    """

    what: str
    hospital: str
    viewer: str
    guarantee: str = NOT_PRIVATE
    detail: str = ""
    mechanism: Mechanism | None = None
    dealing: int | None = field(default=None, repr=False)


_COLUMNS = ["what", "hospital", "viewer", "guarantee", "detail"]


@dataclass(frozen=True)
class Ledger:
    """All releases so far, oldest first. Nothing is ever taken out, and nothing resets.

    A ledger does not change: `add` and ``+`` return a longer one, so that a training run can continue the ledger of
    its data without writing into it.

    Within a hospital releases compose: their privacy loss distributions are composed, epsilons are never added.
    Hospitals are taken to have different patients, so that over hospitals the largest epsilon counts. What has no
    promise (`unprotected`) has no epsilon: it is listed, and left out of `epsilon`, which therefore speaks of the
    noisy releases alone.
    """

    entries: tuple[Entry, ...] = ()

    def add(
        self,
        what: str,
        *,
        hospital: str,
        viewer: str,
        guarantee: str = NOT_PRIVATE,
        detail: str = "",
        mechanism: Mechanism | None = None,
        dealing: int | None = None,
    ) -> Ledger:
        """A new ledger with one more entry; use what it returns, as this one stays as it is.

        Parameters
        ----------
        what, hospital, viewer, detail, mechanism, dealing
            As in `Entry`.
        guarantee
            As in `Entry`; a mechanism brings its own.
        """
        if mechanism is not None:
            guarantee = mechanism.guarantee
        return Ledger((*self.entries, Entry(what, hospital, viewer, guarantee, detail, mechanism, dealing)))

    def __add__(self, other: Ledger) -> Ledger:
        """The releases of both; one that is in both (the very same, not a second one like it) counts once."""
        known = {id(e) for e in self.entries}
        return Ledger((*self.entries, *(e for e in other.entries if id(e) not in known)))

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def private(self) -> Ledger:
        """The releases with differential privacy."""
        return Ledger(tuple(e for e in self.entries if e.mechanism and e.guarantee != NOT_PRIVATE))

    @property
    def unprotected(self) -> Ledger:
        """The releases without any promise."""
        return Ledger(tuple(e for e in self.entries if e.guarantee == NOT_PRIVATE))

    @property
    def method(self) -> str:
        """How `epsilon` composes: "PLD" where every release has a privacy loss distribution, "RDP" otherwise."""
        # One method for all releases: a loss distribution and a Renyi bound do not compose with each other.
        return "PLD" if _has_pld(e.mechanism for e in self.private.entries) else "RDP"

    def epsilon(self, delta: float | None = None, *, hospitals: Sequence[str] | None = None) -> float:
        """What all noisy releases together spend, for the patient (or the hospital) with the largest share.

        Parameters
        ----------
        delta
            That of the releases, if they have one in common.
        hospitals
            A patient's hospitals: who was in two of them pays for both. Without it, everybody was in one.

        Returns
        -------
        float
            0 if nothing noisy was released.

        Raises
        ------
        ValueError
            If the releases protect different units, or mean different neighbours: such promises do not compose. Or if
            their deltas differ and none is given, or `hospitals` names one that is not in the ledger.
        """
        self._check_alike()
        entries, delta, method = self.private.entries, self._delta(delta), self.method.lower()
        if hospitals is not None:
            if unknown := set(hospitals) - {e.hospital for e in self.entries}:
                raise ValueError(f"hospitals must be names in this ledger; {min(unknown)!r} is none.")
            return _composed([e.mechanism for e in entries if e.hospital in hospitals], delta, method)
        dealings: dict[tuple, dict[str, list[Mechanism]]] = {}  # each kind of release has a worst hospital of its own
        for e in entries:
            dealings.setdefault((e.dealing, e.what), {}).setdefault(e.hospital, []).append(e.mechanism)
        if len({e.dealing for e in entries} - {None}) > 1:  # nobody knows who was where: at least as bad as each
            worst = [_dominating(list(by_hospital.values())) for by_hospital in dealings.values()]
            return _composed(worst, delta, method)
        groups: dict[str, list[Mechanism]] = {}
        for e in entries:
            groups.setdefault(e.hospital, []).append(e.mechanism)
        # Disjoint patients: one patient more changes one hospital's releases, so the worst hospital bounds them all.
        return max((_composed(m, delta, method) for m in groups.values()), default=0.0)

    def spent(self, delta: float | None = None) -> pd.DataFrame:
        """A row for each hospital with noisy releases: what they spend together, and what else was released.

        Returns
        -------
        DataFrame
            hospital, epsilon, delta, unit, relation, steps, releases (noisy ones), unprotected (releases without
            a promise that name this hospital), method.
        """
        delta, method = self._delta(delta), self.method
        rows = []
        for name in dict.fromkeys(e.hospital for e in self.private.entries):
            own = [e.mechanism for e in self.private.entries if e.hospital == name]
            bare = sum(name in e.hospital.split(", ") for e in self.unprotected.entries)
            rows.append(
                dict(hospital=name, epsilon=self.epsilon(delta, hospitals=[name]), delta=delta, unit=own[0].unit)
                | dict(relation=own[0].relation, steps=sum(m.steps for m in own), releases=len(own))
                | dict(unprotected=bare, method=method)
            )
        columns = "hospital epsilon delta unit relation steps releases unprotected method".split()
        return pd.DataFrame(rows, columns=columns)

    def table(self) -> pd.DataFrame:
        """One row a release: what, hospital, viewer, guarantee, detail; and more columns if any is noisy.

        The epsilon in a row is that of this release alone.
        """
        table = pd.DataFrame([[getattr(e, c) for c in _COLUMNS] for e in self.entries], columns=_COLUMNS)
        noisy = [e.mechanism for e in self.entries]
        if not any(noisy):
            return table
        alone = [m.epsilon if m else math.inf for m in noisy]
        table["guarantee"] = [
            f"epsilon {spent:.3g}, delta {m.delta:g} for one {m.unit}" if m and spent < math.inf else e.guarantee
            for e, m, spent in zip(self.entries, noisy, alone, strict=True)
        ]
        table["mechanism"] = [m.name if m else "" for m in noisy]
        table["epsilon"] = [math.nan if e.guarantee == FOLLOWS else s for e, s in zip(self.entries, alone, strict=True)]
        for column in ("delta", "steps", "sampling", "noise_multiplier"):
            table[column] = [getattr(m, column) if m else math.nan for m in noisy]
        table["steps"] = table["steps"].astype("Int64")
        for column in ("unit", "relation"):
            table[column] = [getattr(m, column) if m else "" for m in noisy]
        return table

    def check(self) -> list[str]:
        """What a careful reader would ask about this ledger, a sentence each; empty if there is nothing to ask."""
        found, noisy = [], self.private.entries
        for e in noisy:
            m = e.mechanism
            if m.units and m.delta * m.units >= 1:
                found.append(
                    f"{e.what} of {e.hospital}: delta {m.delta:g} is not below 1/{m.units}, one over the number of "
                    f"units ({m.unit}s); was it taken from a number of batches?"
                )
        if known := sum(not e.mechanism.secret for e in noisy):
            found.append(
                f"The noise of {known} releases comes from a seed: who knows the seed can take the noise off again, "
                "so these promises hold only where nobody does (secure=True for real use)."
            )
        if bare := self.unprotected.entries:
            kinds = ", ".join(dict.fromkeys(e.what for e in bare))
            found.append(f"{len(bare)} releases carry no promise at all and are in no epsilon: {kinds}.")
        for name in ("unit", "relation"):
            kinds = sorted({getattr(e.mechanism, name) for e in noisy})
            if len(kinds) > 1:
                found.append(f"The releases have more than one {name} ({' and '.join(kinds)}): they do not compose.")
        return found

    def _check_alike(self) -> None:
        for name in ("unit", "relation"):
            kinds = sorted({getattr(e.mechanism, name) for e in self.private.entries})
            if len(kinds) > 1:
                raise ValueError(
                    f"The releases have more than one {name} ({' and '.join(kinds)}): they do not compose."
                )
        if kinds and kinds != [ADD_OR_REMOVE]:
            raise ValueError(f"The ledger composes releases whose relation is {ADD_OR_REMOVE!r}; got {kinds[0]!r}.")

    def _delta(self, delta: float | None) -> float:
        if delta is not None:
            return accounting.checked_delta(delta)
        # An epsilon means something only beside its delta, so no delta is picked silently where releases differ.
        own = sorted({e.mechanism.delta for e in self.private.entries})
        if len(own) > 1:
            raise ValueError(f"The releases have different deltas ({', '.join(f'{d:g}' for d in own)}); give delta.")
        return own[0] if own else 1e-5


def _composed(mechanisms: Iterable[Mechanism], delta: float, method: str) -> float:
    """Epsilon of several releases about the same patient."""
    mechanisms = [m for m in mechanisms if m.steps]
    if any(m.event is None and not m.noise_multiplier for m in mechanisms):
        return math.inf
    # All in one composition: adding epsilons would be looser, and their deltas would have to be added too.
    events = accounting.merged(tuple(pair for m in mechanisms for pair in m.events()))
    return accounting.composed(events, delta, method)


def _has_pld(mechanisms: Iterable[Mechanism]) -> bool:
    """Whether dp-accounting has a privacy loss distribution for all of them; it has one for the Gaussian."""
    events = [m.event for m in mechanisms if m.event is not None]
    return not events or accounting.has_pld(events)


def _dominating(hospitals: list[list[Mechanism]]) -> Mechanism:
    """One mechanism that reveals at least as much as any of these hospitals' own: all the worst numbers at once."""
    every = [m for own in hospitals for m in own]
    if any(m.event is not None for m in every):
        raise ValueError("Hospitals were dealt out differently in these runs; only Gaussian noise composes over that.")
    # Epsilon falls with the noise and rises with rate and steps, so the worst of each is an upper bound.
    noise, rate = min(m.noise_multiplier for m in every), max(m.sampling for m in every)
    return Mechanism(noise, rate, max(sum(m.steps for m in own) for own in hospitals))

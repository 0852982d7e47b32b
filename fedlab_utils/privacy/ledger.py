"""What has been released about patients, with which promise, and what it adds up to: the ledger."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pandas as pd

from fedlab_utils._arguments import one_of, text
from fedlab_utils.privacy import accounting
from fedlab_utils.privacy.mechanisms import DEMONSTRATION as DEMONSTRATION
from fedlab_utils.privacy.mechanisms import FOLLOWS as FOLLOWS
from fedlab_utils.privacy.mechanisms import HOSPITAL as HOSPITAL
from fedlab_utils.privacy.mechanisms import NOT_PRIVATE as NOT_PRIVATE
from fedlab_utils.privacy.mechanisms import PATIENT as PATIENT
from fedlab_utils.privacy.mechanisms import PRESENT_OR_BLANK as PRESENT_OR_BLANK
from fedlab_utils.privacy.mechanisms import PRIVATE as PRIVATE
from fedlab_utils.privacy.mechanisms import Mechanism as Mechanism
from fedlab_utils.privacy.mechanisms import composed, has_pld


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
        What is promised; "not private" is the honest word for no promise, and what is computed from noisy releases
        alone "follows" from them. Any other word needs a mechanism that stands behind it.
    detail
        Which columns, how many numbers, in which run.
    mechanism
        The noise behind a promise of differential privacy; None elsewhere.
    dealing
        A number that tells one dealing of patients to hospitals from another; None if it is not known. It depends
        on the patients, so it is not shown.
    release
        What several entries have in common that are one noisy release in the eyes of several viewers: the most telling
        of them counts, once. None if nobody else sees it.
    """

    what: str
    hospital: str
    viewer: str
    guarantee: str = NOT_PRIVATE
    detail: str = ""
    mechanism: Mechanism | None = None
    dealing: int | None = field(default=None, repr=False)
    release: object = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name in ("what", "hospital", "viewer"):
            text(name, getattr(self, name))
        if self.mechanism is not None and not isinstance(self.mechanism, Mechanism):
            raise ValueError(f"mechanism must be a privacy.Mechanism, or None; got {self.mechanism!r}.")
        if self.mechanism is None:
            one_of("guarantee", self.guarantee, (NOT_PRIVATE, FOLLOWS))
        else:
            one_of("guarantee", self.guarantee, (self.mechanism.guarantee,))


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
        release: object = None,
    ) -> Ledger:
        """A new ledger with one more entry; use what it returns, as this one stays as it is.

        Parameters
        ----------
        what, hospital, viewer, detail, mechanism, dealing, release
            As in `Entry`.
        guarantee
            As in `Entry`; a mechanism brings its own.
        """
        guarantee = getattr(mechanism, "guarantee", guarantee)
        new = Entry(what, hospital, viewer, guarantee, detail, mechanism, dealing, release)
        return Ledger((*self.entries, new))

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
    def _counted(self) -> tuple[Entry, ...]:
        """The noisy releases, each once: of one that several viewers see, what the most telling view costs."""
        found: dict[tuple, Entry] = {}
        for place, e in enumerate(self.private.entries):
            key = (place,) if e.release is None else (None, id(e.release))
            if key not in found or e.mechanism.epsilon > found[key].mechanism.epsilon:
                found[key] = e
        return tuple(found.values())

    @property
    def method(self) -> str:
        """How `epsilon` composes: "PLD" where every release has a privacy loss distribution, "RDP" otherwise."""
        # One method for all releases: a loss distribution and a Renyi bound do not compose with each other.
        return "PLD" if has_pld(e.mechanism for e in self.private.entries) else "RDP"

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
        entries, delta, method = self._counted, self._delta(delta), self.method.lower()
        if hospitals is not None:
            if isinstance(hospitals, str) or not len(hospitals):
                raise ValueError(f"hospitals must be a list of one or more names, such as ['A']; got {hospitals!r}.")
            if unknown := set(hospitals) - {e.hospital for e in self.entries}:
                raise ValueError(f"hospitals must be names in this ledger; {min(unknown)!r} is none.")
            return composed([e.mechanism for e in entries if e.hospital in hospitals], delta, method)
        dealings: dict[tuple, dict[str, list[Mechanism]]] = {}  # each kind of release has a worst hospital of its own
        for e in entries:
            dealings.setdefault((e.dealing, e.what), {}).setdefault(e.hospital, []).append(e.mechanism)
        if len({e.dealing for e in entries} - {None}) > 1:  # nobody knows who was where: at least as bad as each
            worst = [m for by_hospital in dealings.values() for m in _dominating(list(by_hospital.values()))]
            return composed(worst, delta, method)
        groups: dict[str, list[Mechanism]] = {}
        for e in entries:
            groups.setdefault(e.hospital, []).append(e.mechanism)
        # Disjoint patients: one blank record changes one hospital's releases, so the worst hospital bounds them all.
        return max((composed(m, delta, method) for m in groups.values()), default=0.0)

    def epsilon_of_patients(self, delta: float | None = None) -> float:
        """What all noisy releases together spend for a patient with as many records as anybody has, at most.

        Taking away k records one by one gives k epsilon at ``delta (1 + e^epsilon + ... + e^((k - 1) epsilon))``; the
        delta for one record is made so small that this is the one asked for. Infinite if none is small enough.
        """
        most, delta = max((e.mechanism.records for e in self.private.entries), default=1), self._delta(delta)
        own, spent = delta, self.epsilon(delta)
        for _ in range(50):
            if most * spent > accounting.NO_PROMISE:
                return math.inf
            before, own = own, delta / sum(math.exp(k * spent) for k in range(most))
            spent = self.epsilon(max(own, 1e-300))
            if own >= before * 0.98:
                break
        return most * (self.epsilon(0.95 * own) if most > 1 else spent)  # the last small step, on the safe side

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
        counted = self._counted
        for name in dict.fromkeys(e.hospital for e in counted):
            own = [e.mechanism for e in counted if e.hospital == name]
            bare = sum(name in e.hospital.split(", ") for e in self.unprotected.entries)
            rows.append(
                dict(hospital=name, epsilon=self.epsilon(delta, hospitals=[name]), delta=delta, unit=own[0].unit)
                | dict(relation=own[0].relation, steps=sum(m.steps for m in own), releases=len(own))
                | dict(unprotected=bare, method=method)
            )
        columns = "hospital epsilon delta unit relation steps releases unprotected method".split()
        return pd.DataFrame(rows, columns=columns)

    def slope(self, delta: float | None = None) -> pd.DataFrame:
        """What all noisy releases would spend if fewer were honest than their noise in shares was scaled for.

        Returns
        -------
        DataFrame
            honest, from the number that the noise was scaled for down to 1, and epsilon; no row without such noise.
        """
        most = max((e.mechanism.honest or 0 for e in self._counted), default=0)
        rows = []
        for honest in range(most, 0, -1):
            shared = [(e, e.mechanism.honest) for e in self._counted]
            thin = [e if not h else replace(e, mechanism=e.mechanism.among(min(h, honest))) for e, h in shared]
            rows.append((honest, Ledger(tuple(thin)).epsilon(delta)))
        return pd.DataFrame(rows, columns=["honest", "epsilon"])

    def table(self) -> pd.DataFrame:
        """One row a release: what, hospital, viewer, guarantee, detail; and more columns if any is noisy.

        The epsilon in a row is that of this release alone.
        """
        table = pd.DataFrame([[getattr(e, c) for c in _COLUMNS] for e in self.entries], columns=_COLUMNS)
        noisy = [e.mechanism for e in self.entries]
        if not any(noisy):
            return table
        alone = [m.epsilon if m else math.inf for m in noisy]
        table["guarantee"] = [_in_words(e, spent) for e, spent in zip(self.entries, alone, strict=True)]
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
                f"{known} releases are demonstrations: their noise comes from a seed, and who knows it can take the "
                "noise off again. For real use leave secure=True."
            )
        if most := max((e.mechanism.records for e in noisy), default=1) - 1:
            found.append(
                f"A patient has up to {most + 1} records, and the promise is made to one of them: for a patient "
                f"epsilon is up to {self.epsilon_of_patients():.3g}."
            )
        if empty := sum(e.mechanism.epsilon == math.inf for e in noisy):
            found.append(f"{empty} releases have so little noise that epsilon is more than 1,000: no promise at all.")
        if bare := self.unprotected.entries:
            kinds = ", ".join(dict.fromkeys(e.what for e in bare))
            found.append(f"{len(bare)} releases carry no promise at all and are in no epsilon: {kinds}.")
        found += self._about_shares()
        for name in ("unit", "relation"):
            kinds = sorted({getattr(e.mechanism, name) for e in noisy})
            if len(kinds) > 1:
                found.append(f"The releases have more than one {name} ({' and '.join(kinds)}): they do not compose.")
        return found

    def _about_shares(self) -> list[str]:
        """What noise in shares rests on, and what it costs that not all of it has a loss distribution."""
        try:
            slope = self.slope()
        except ValueError:  # what does not compose has sentences of its own
            return []
        if slope.empty:
            return []
        (most, kept), *less = slope.itertuples(index=False)
        thin = ", ".join(f"{epsilon:.3g} with {honest}" for honest, epsilon in less)
        found = [
            f"Noise comes in shares of hospitals, scaled for {most} honest ones in the sum, with whom epsilon is "
            f"{kept:.3g}{'; it would be ' + thin if thin else ''}."
        ]
        if self.method == "RDP":
            price = accounting.price_of_rdp(kept, self._delta(None))
            found.append(
                f"All is composed by RDP, for want of a loss distribution: {price:.0%} more than PLD would say of as "
                "much Gaussian noise."
            )
        return found

    def _check_alike(self) -> None:
        for name in ("unit", "relation"):
            kinds = sorted({getattr(e.mechanism, name) for e in self.private.entries})
            if len(kinds) > 1:
                raise ValueError(
                    f"The releases have more than one {name} ({' and '.join(kinds)}): they do not compose."
                )
        if kinds and kinds != [PRESENT_OR_BLANK]:
            raise ValueError(f"The ledger composes releases whose relation is {PRESENT_OR_BLANK!r}; got {kinds[0]!r}.")

    def _delta(self, delta: float | None) -> float:
        if delta is not None:
            return accounting.checked_delta(delta)
        # An epsilon means something only beside its delta, so no delta is picked silently where releases differ.
        own = sorted({e.mechanism.delta for e in self.private.entries})
        if len(own) > 1:
            raise ValueError(f"The releases have different deltas ({', '.join(f'{d:g}' for d in own)}); give delta.")
        return own[0] if own else 1e-5


def _in_words(entry: Entry, spent: float) -> str:
    """What the table says about one release."""
    m = entry.mechanism
    if m is None or entry.guarantee == NOT_PRIVATE:
        return entry.guarantee
    if spent == math.inf:
        return f"no promise: epsilon is more than {accounting.NO_PROMISE:,.0f}"
    seeded = "" if m.secret else " (demonstration)"
    return f"epsilon {spent:.3g}, delta {m.delta:g} for one {m.unit}{seeded}"


def _dominating(hospitals: list[list[Mechanism]]) -> list[Mechanism]:
    """What reveals at least as much as any of these hospitals' own, wherever a patient was: the worst of each number.

    Other noise than Gaussian has no worst number. It composes where it is the same in all hospitals, release by
    release, as noise in shares is.
    """
    every = [m for own in hospitals for m in own]
    if any(m.event is not None for m in every):
        alike = list(zip(*hospitals, strict=False))
        if len(every) != len(alike) * len(hospitals) or any(len({m.event for m in one}) > 1 for one in alike):
            raise ValueError(
                "Hospitals were dealt out differently in these runs; only Gaussian noise, or noise that all of them "
                "share, composes over that."
            )
        return [max(one, key=lambda m: m.steps) for one in alike]
    # Epsilon falls with the noise and rises with rate and steps, so the worst of each is an upper bound.
    noise, rate = min(m.noise_multiplier for m in every), max(m.sampling for m in every)
    return [Mechanism(noise, rate, max(sum(m.steps for m in own) for own in hospitals))]

"""What the ledger of a system says, in sentences for somebody who has never seen one.

Nothing here takes the settings' word for a promise: what was promised is read off what was released. What nobody
declared counts as seen by everybody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from fedlab_utils.data import sentences
from fedlab_utils.federated.diary import TESTED
from fedlab_utils.privacy import Ledger
from fedlab_utils.privacy.ledger import DEMONSTRATION, FOLLOWS, HOSPITAL, PATIENT, PRESENT_OR_BLANK, Entry

NO_PROMISE = "no promise"
_VAST = 20  # epsilon: one guess in half a billion, and no number that a person can use
_SAID_ELSEWHERE = "are demonstrations", "carry no promise", "A patient has up to", "do not compose"
_MOST_REMARKS = 5
_SERVER = "server"
_HOLDS = "holds", "all that is seen is made of noisy releases"


class Kind(Enum):
    """How much of a promise there is."""

    NOTHING = "nothing was released"
    NONE = "no noise, no promise"
    DEMONSTRATION = "noise from a seed"
    UNDONE = "noise, and beside it releases without noise that everybody gets"
    RECIPIENTS = "a promise against all but the server"
    ALL = "a promise against all"


@dataclass(frozen=True)
class Account:
    """A ledger, read for a report.

    Attributes
    ----------
    one, everything
        Of one run, and of all runs that were displayed.
    runs
        How many those are.
    early
        What was released before training began, by name: totals of these go on to everybody, in scaled features or in
        an invented table.
    """

    one: Ledger
    everything: Ledger
    runs: int
    early: frozenset[str]

    @property
    def bare(self) -> dict[str, list[str]]:
        """What carries no promise, test scores apart, by who sees it: "everybody" or "server"."""
        found: dict[str, list[str]] = {"everybody": [], _SERVER: []}
        for e in self.everything.unprotected.entries:
            if e.what == TESTED:
                continue
            who = _SERVER if e.viewer == _SERVER and e.what not in self.early else "everybody"
            if e.what not in found[who]:
                found[who].append(e.what)
        return found

    @property
    def kind(self) -> Kind:
        """How much of a promise there is, read off everything that was displayed."""
        noisy = self.everything.private.entries
        if not noisy:
            released = any(e.what != TESTED for e in self.everything.entries)
            return Kind.NONE if released else Kind.NOTHING
        if any(e.guarantee == DEMONSTRATION for e in noisy):
            return Kind.DEMONSTRATION
        bare = self.bare
        if bare["everybody"] or any(math.isinf(e) for e in _spent(self.everything).values()):
            return Kind.UNDONE
        return Kind.RECIPIENTS if bare[_SERVER] else Kind.ALL

    def sentence(self) -> str:
        """The promise in one sentence."""
        kind, noisy = self.kind, self.everything.private
        if kind is Kind.NOTHING:
            return "Nothing about patients has been released yet, and so nothing is promised."
        if kind is Kind.NONE:
            return (
                "There is no promise: what left the hospitals carries no noise, and there is no limit to what it "
                "tells about a patient."
            )
        if kind is Kind.DEMONSTRATION:
            return (
                "There is no promise: this is a demonstration, whose noise came from a seed, and who knows the seed "
                "can take the noise off again."
            )
        if kind is Kind.UNDONE:
            bare = ", ".join(self.bare["everybody"])
            why = f"these went out without any: {bare}" if bare else "it is too small to count (epsilon above 1,000)"
            return f"There is no promise as a whole: noise was added, but {why}."
        against = "whoever gets the results, and the server too" if kind is Kind.ALL else "whoever gets the models"
        but = "" if kind is Kind.ALL else ", but not against the server"
        spent = _spent(self.everything)
        each = " and ".join(f"epsilon {_up(e)} for one {unit}" for unit, e in spent.items() if not math.isnan(e))
        if not each or any(map(math.isnan, spent.values())):
            return f"Each release keeps a promise against {against}{but}; they do not add up to one number (see below)."
        delta = " and ".join(f"{d:g}" for d in sorted({e.mechanism.delta for e in noisy.entries}))
        many = f"after {counted(self.runs, 'run')}" if self.runs > 1 else "after this run"
        return f"Against {against}{but}, the promise {many} is {each}, delta {delta}."

    def numbers(self) -> list[tuple[str, str, str, str]]:
        """For each unit: its name, epsilon of this run, epsilon of everything displayed, and delta."""
        one, everything = _spent(self.one), _spent(self.everything)
        rows = []
        for unit, total in everything.items():
            deltas = sorted({e.mechanism.delta for e in self.everything.private.entries if e.mechanism.unit == unit})
            rows.append((unit, _words(one.get(unit, 0.0)), _words(total), " and ".join(f"{d:g}" for d in deltas)))
        return rows

    def odds(self) -> list[str]:
        """What epsilon means for one guess, a sentence for each unit."""
        found = []
        for unit, spent in _spent(self.everything).items():
            if not spent < _VAST:
                found.append(f"An epsilon of this size says next to nothing about what one {unit} can change.")
                continue
            sure = 1 / (1 + math.exp(-spent))
            sure = f"{math.ceil(sure * 1000) / 10:g}%" if sure <= 0.999 else "more than 99.9%"
            found.append(
                f"In other words: nothing that anybody sees becomes more than {_times(spent)} times as likely or as "
                f"unlikely by one {unit} (delta aside). Somebody who thought it as likely as not that it was used can "
                f"be {sure} sure afterwards, at most."
            )
        return found

    def against(self) -> list[tuple[str, str, str]]:
        """For each viewer: who, whether the promise holds, and why not."""
        kind, bare = self.kind, self.bare
        if kind in (Kind.NOTHING, Kind.NONE, Kind.DEMONSTRATION):
            why = {
                Kind.NOTHING: "nothing has been released",
                Kind.NONE: "nothing carries noise",
                Kind.DEMONSTRATION: "the noise came from a seed",
            }[kind]
            told = dict.fromkeys(("everybody", _SERVER), (NO_PROMISE, why))
        else:
            small = "the noise is too small" if kind is Kind.UNDONE else ""
            common = ", ".join(bare["everybody"])
            by_server = ", ".join([*bare["everybody"], *bare[_SERVER]])
            told = {
                "everybody": (NO_PROMISE, _seen(common, small)) if kind is Kind.UNDONE else _HOLDS,
                _SERVER: (NO_PROMISE, _seen(by_server, small)) if kind is not Kind.ALL else _HOLDS,
            }
        rows = [
            ("whoever gets the finished model or an invented table", *told["everybody"]),
            ("the other hospitals", *told["everybody"]),
            ("the server", *told[_SERVER]),
            ("readers of this page", NO_PROMISE, "it shows scores of patients without noise"),
            ("a patient's own hospital", NO_PROMISE, "it holds the records"),
        ]
        return rows

    def releases(self) -> list[tuple[str, str, str, str]]:
        """One run's releases, those of one kind together: what, about whose patients, seen by whom, promise."""
        groups: dict[tuple[str, str, str], list[Entry]] = {}
        for e in self.one.entries:
            groups.setdefault((e.what, e.viewer, e.guarantee), []).append(e)
        rows = []
        for (what, viewer, guarantee), own in groups.items():
            names = {name for e in own for name in e.hospital.split(", ")}
            rows.append((what, counted(len(names), "hospital"), viewer, _promised(guarantee, own)))
        return rows

    def remarks(self) -> list[str]:
        """What limits the promise, as this ledger has it."""
        found = []
        try:
            known = [s for s in self.everything.check() if not any(words in s for words in _SAID_ELSEWHERE)]
        except ValueError:
            known = []
        found += known[:_MOST_REMARKS]
        if len(known) > _MOST_REMARKS:
            found.append(f"And {len(known) - _MOST_REMARKS} more like these.")
        if {e.guarantee for e in self.everything.entries} & {FOLLOWS}:
            found.append("What is computed from noisy releases alone follows from them and costs nothing more.")
        units = {e.mechanism.unit for e in self.everything.private.entries}
        if len(units) > 1:
            found.append(f"Promises for {listed(sorted(units))} do not compose: each number is about its own releases.")
        if any(math.isnan(e) for e in _spent(self.everything).values()):
            found.append("Where no number stands the releases do not compose: take it that nothing is promised.")
        if HOSPITAL in units:
            found.append("A promise for one hospital is about all of its patients' rows at once.")
        return found + self._several_records(PATIENT in units)

    def _several_records(self, by_record: bool) -> list[str]:
        """A record's promise is not that of somebody who has several."""
        if not by_record:
            return []
        own = Ledger(tuple(e for e in self.everything.private.entries if e.mechanism.unit == PATIENT))
        most = max(e.mechanism.records for e in own.entries)
        told = "A patient with several records is protected less than one with a single record"
        if most > 1:
            try:
                return [f"{told}: here up to {most} records belong to one, whose epsilon is {_words(_of_all(own))}."]
            except ValueError:
                pass
        return [
            f"{told}: with two records epsilon about doubles and delta grows by more than that, and so on; and who was "
            "treated in two hospitals pays for both."
        ]


def _of_all(ledger: Ledger) -> float:
    return ledger.epsilon_of_patients()


def _spent(ledger: Ledger) -> dict[str, float]:
    """Epsilon by unit; not a number where releases do not compose."""
    found = {}
    for unit in dict.fromkeys(e.mechanism.unit for e in ledger.private.entries):
        own = [e for e in ledger.private.entries if e.mechanism.unit == unit]
        try:
            found[unit] = Ledger(tuple(own)).epsilon(max(e.mechanism.delta for e in own))
        except ValueError:
            found[unit] = math.nan
    return found


def _promised(guarantee: str, own: Sequence[Entry]) -> str:
    if own[0].mechanism is None:
        return "follows from noisy ones" if guarantee == FOLLOWS else "none"
    if guarantee == DEMONSTRATION:
        return "none: a demonstration"
    spent = max(e.mechanism.epsilon for e in own)
    return f"epsilon {_words(spent)} by itself"


def _seen(what: str, otherwise: str) -> str:
    return f"sees without noise: {what}" if what else otherwise


def _words(epsilon: float) -> str:
    if math.isnan(epsilon):
        return "none: does not compose"
    return "above 1,000: no promise" if math.isinf(epsilon) else _up(epsilon)


def _up(epsilon: float) -> str:
    """Three digits, never rounded down: a promise must not look better than it is."""
    if not epsilon:
        return "0"
    digits = 2 - math.floor(math.log10(epsilon))
    return f"{math.ceil(epsilon * 10**digits - 1e-9) / 10**digits:g}"


def _times(epsilon: float) -> str:
    return _up(math.exp(epsilon)) if epsilon < 4 else f"{math.ceil(math.exp(epsilon)):,}"


counted = sentences.rows
listed = partial(sentences.listed, room=10**6)  # a page has room for all


RELATION = (
    f"{PRESENT_OR_BLANK}: the place of one unit holds its record or a blank that adds nothing; how many there are in "
    "each hospital counts as public"
)

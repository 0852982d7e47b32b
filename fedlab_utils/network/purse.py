"""What a hospital has spent, over all trainings in its book, and whether another round is still within its budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fedlab_utils._arguments import number
from fedlab_utils.network.messages import Refused

if TYPE_CHECKING:
    from fedlab_utils.network.agreement import Agreement
    from fedlab_utils.network.book import Book
    from fedlab_utils.network.work import Work
    from fedlab_utils.privacy import Ledger, Mechanism


class Purse:
    """A hospital's budget.

    Parameters
    ----------
    agreement, work, book
        Of the hospital.
    budget
        The hospital's own: epsilon, at the delta of the agreement, that all trainings in this book may spend together.
        It holds beside what the agreement promises, so that the smaller of both counts, and stays in the book: None is
        the one given last, or what the agreement promises.

    Raises
    ------
    ValueError
        If it is no number above 0, or there is no promise: nothing would ever be taken from it. If a budget of its own,
        now or in the book, cannot be kept: it is about one kind of promise, and no training of another kind, or
        without a promise, is added up with it. If the one in the book was given at another delta.
    """

    def __init__(self, agreement: Agreement, work: Work, book: Book, budget: float | None) -> None:
        p = agreement.settings.promise
        if budget is not None and p.unit == "none":
            raise ValueError("budget must be None without a promise: an update without noise costs more than any.")
        self.agreement, self.work, self.book = agreement, work, book
        if budget is not None and not number("budget", budget) > 0:
            raise ValueError("budget must be above 0; with none at all, a hospital takes no part.")
        self._hash = agreement.hash.hex()
        own = self._own(budget)
        self.budget: float | None = None if p.unit == "none" else min([p.epsilon, *own])

    def _own(self, given: float | None) -> list[float]:
        """The hospital's own budget, noted in the book if it is new; empty if there is none."""
        p, book, here = self.agreement.settings.promise, self.book, repr(str(self.book.folder))
        noted = [*book.of("budget")][-1:]
        for last in noted:
            if last["unit"] != p.unit:
                bare = p.unit == "none"
                why = "an update without noise costs more than any" if bare else "two kinds are not added up"
                raise ValueError(
                    f"promise.unit must be {last['unit']!r}, of which there is a budget in {here}, epsilon "
                    f"{last['epsilon']:g}; got {p.unit!r}: {why}."
                )
            if given is None and last.get("delta", p.delta) != p.delta:
                raise ValueError(
                    f"budget must be given again (--budget): that in {here} is epsilon {last['epsilon']:g} at delta "
                    f"{last['delta']:g}, and this plan has delta {p.delta:g}."
                )
        if given is None:
            return [line["epsilon"] for line in noted]
        if others := {line["unit"] for line in book.of("charged")} - {p.unit, "none"}:
            raise ValueError(
                f"budget must be None where another kind of promise was paid: in {here} that of unit "
                f"{others.pop()!r}, which is not added up with this plan's, {p.unit!r}."
            )
        line = dict(unit=p.unit, epsilon=float(given), delta=p.delta)
        if [line] != [{key: last.get(key) for key in line} for last in noted]:
            book.write("budget", **line)
        return [given]

    def charge(self, round: int, model: str) -> None:
        """Write a round down before anything of it leaves. It is charged once, however often it is begun.

        Raises
        ------
        Refused
            If the budget does not reach, or the round was charged for another model.
        """
        known = next(self.book.of("charged", agreement=self._hash, round=round), None)
        if known is not None:
            if known["model"] != model:
                raise Refused(f"Round {round} was begun on another model; no noise is made for a second one.")
            return
        self.allow(round)
        self.book.write("charged", agreement=self._hash, round=round, model=model, **self._price())

    def allow(self, round: int) -> None:
        """Nothing, and nothing is written down, if the budget reaches for one more round.

        Raises
        ------
        Refused
            If it does not, unless this round is charged already.
        """
        price = self._price()
        known = any(self.book.of("charged", agreement=self._hash, round=round))
        if price["unit"] != "none" and not known and not self._reaches(price):
            raise Refused(self._says_no(round))

    def _says_no(self, round: int) -> str:
        """Why the budget does not reach for a round, and whose number it is that binds."""
        p = self.agreement.settings.promise
        if self._bare():
            return "This hospital was in a training without a promise in this folder: that costs more than any budget."
        if self.budget < p.epsilon:
            whose = f"The budget of this hospital is epsilon {self.budget:g} at delta {p.delta:g}"
        else:
            whose = f"The plan's budget is epsilon {p.epsilon:g} at delta {p.delta:g}, for all trainings in this folder"
        return f"{whose}; with round {round} it would have spent more."

    def spent(self) -> float:
        """Epsilon of all that was charged under a promise of this kind, at the delta of the agreement.

        Infinite once anything was charged without a promise. Promises of the other kind are not added up with these.
        """
        return self._epsilon([])

    def ledger(self) -> Ledger:
        """Every update of this hospital, as a `privacy.Ledger`; a round that came to nothing counts too.

        What was released before the plan stands in no line: means and spreads in it, if they were taken from patients.
        """
        from fedlab_utils.federated.aggregators import UPDATES
        from fedlab_utils.federated.diary import MODELS
        from fedlab_utils.privacy import Ledger
        from fedlab_utils.secagg import SecureSum

        ledger, name = Ledger(), self.agreement.hospitals[self.work.number]
        for line in self.book.of("charged"):
            # In the words and the eyes in which a training in one process has it.
            what = MODELS if line["unit"] == "hospital" else SecureSum.sees if line["masked"] else UPDATES
            viewer = "every hospital" if line["unit"] == "hospital" else "server"
            about = dict(hospital=name, viewer=viewer, detail=f"round {line['round']} of {line['agreement'][:12]}")
            ledger = ledger.add(what, mechanism=None if line["unit"] == "none" else _mechanism(line), **about)
        return ledger

    def _price(self) -> dict[str, Any]:
        """What one round costs, as the book has it."""
        p, work = self.agreement.settings.promise, self.work
        price: dict[str, Any] = dict(unit=p.unit, masked=self.agreement.masked)
        if p.unit == "record":
            noise = dict(noise=work.noise, sampling=work.rate, steps=work.steps)
            return price | noise | dict(delta=p.delta, units=work.rows, records=work.records)
        if p.unit == "hospital":
            event = work.layout
            shares = dict(share=event.event_share, honest=event.honest, l2=event.l2, l1=event.l1)
            return price | shares | dict(delta=p.delta, units=len(self.agreement.hospitals))
        return price

    def _reaches(self, price: dict[str, Any]) -> bool:
        p = self.agreement.settings.promise
        if self._bare():
            return False
        others = [line for line in self.book.of("charged", unit=p.unit) if line["agreement"] != self._hash]
        # Noise was fitted to all agreed rounds: as long as nothing else was charged, no more than epsilon is spent.
        if not others and self.budget >= p.epsilon:
            return sum(1 for _ in self.book.of("charged", agreement=self._hash)) < self.agreement.training.rounds
        return self._epsilon([price]) <= self.budget * (1 + 1e-9)

    def _bare(self) -> bool:
        """Whether an update without noise was charged."""
        return any(self.book.of("charged", unit="none"))

    def _epsilon(self, more: list[dict[str, Any]]) -> float:
        from fedlab_utils.privacy.mechanisms import composed, has_pld

        if self._bare():
            return math.inf
        unit = self.agreement.settings.promise.unit
        if unit == "none":
            return 0.0
        found = [_mechanism(line) for line in (*self.book.of("charged", unit=unit), *more)]
        if not found:
            return 0.0
        return composed(found, self.agreement.settings.promise.delta, "pld" if has_pld(found) else "rdp")


def _mechanism(line: dict[str, Any]) -> Mechanism:
    """What a line of the book charged."""
    from fedlab_utils.privacy import HOSPITAL, PATIENT, Mechanism

    about = dict(delta=line["delta"], units=line["units"], secret=True)
    if line["unit"] == "record":
        about |= dict(noise_multiplier=line["noise"], sampling=line["sampling"], steps=line["steps"])
        return Mechanism(unit=PATIENT, records=line["records"], **about)
    from fedlab_utils.privacy.events import SkellamDpEvent

    event = SkellamDpEvent(line["share"], line["honest"], line["l2"], line["l1"])
    return Mechanism(event.noise_multiplier, unit=HOSPITAL, event=event, **about)

"""What is written down round by round: scores, messages, and what was released about patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.data import Federation
from fedlab_utils.data.hospitals import dealing
from fedlab_utils.federated import scores
from fedlab_utils.federated.aggregators import BYTES
from fedlab_utils.federated.plan import Here, Plan
from fedlab_utils.federated.protections import Promise
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.privacy import FOLLOWS, Entry, Ledger, Mechanism, RecordDP

MODELS = "global models of each round"


class Diary:
    """Scores, messages and ledgers of all runs of a plan, as far as they have come."""

    def __init__(self, plan: Plan, model: fleet.Params) -> None:
        self.plan, self.model = plan, model
        self._tests = test_rows(plan.federations)
        self._scores = [self._evaluate()]
        self._messages: list[list[tuple]] = [[] for _ in plan.runs]
        self._took_part = np.zeros_like(plan.size)  # in how many rounds
        distinct = {id(f): f for f in plan.federations}
        dealings = {k: None if plan.promises[0] is None else dealing(f) for k, f in distinct.items()}
        self._dealings = [dealings[id(f)] for f in plan.federations]

    def write(self, here: Here, before: Tensor, sent: list[list[tuple]], model: fleet.Params) -> None:
        """Write one round down.

        Parameters
        ----------
        before
            The global models that participants were given, ``[runs, D]``.
        sent
            For each run the messages of the aggregator.
        model
            The global models after it.
        """
        turn, plan = len(self._scores), self.plan
        self.model = model
        np.add.at(self._took_part, (here.run, here.hospital), 1)
        known = turn > 1 and plan.aggregator.delivers  # from the last round's own messages
        for r, members in enumerate(here.members):
            seed, n_bytes = int(plan.seed_of[r]), BYTES * before.shape[1]
            down = [] if known else [("server", h, "global model", n_bytes, before[r].numpy()) for h in members]
            for sender, receiver, what, n_bytes, values in down + sent[r]:
                ends = (end if isinstance(end, str) else plan.names[end] for end in (sender, receiver))
                kept = values if plan.record and seed == 0 else None
                self._messages[r].append((turn, seed, *ends, what, n_bytes, kept))
        self._scores.append(self._evaluate())

    def runs(self) -> list[FederatedRun]:
        """A `FederatedRun` for each setting, as far as it has come."""
        plan, replicates, found = self.plan, len(self.plan.federations), []
        private = plan.protection.mechanisms(self._took_part, rounds=len(self._scores) - 1)
        for m, setting in enumerate(plan.settings):
            own = slice(m * replicates, (m + 1) * replicates)
            metrics = tuple({name: values[own] for name, values in table.items()} for table in self._scores)
            messages = tuple(tuple(log) for log in self._messages[own])
            told = entries(setting.privacy, private[own], plan.names, self._dealings, sees=plan.aggregator.sees)
            ledgers = (Ledger((*f.ledger.entries, *e)) for f, e in zip(plan.federations, told, strict=True))
            model = self.model[own].clone()
            found.append(FederatedRun(model, plan.task, tuple(plan.names), metrics, messages, tuple(ledgers)))
        return found

    def _evaluate(self) -> dict[str, np.ndarray]:
        """`scores.metrics` of run r's model on the test rows of its replicate."""
        tests = self._tests * (self.model.n_models // len(self._tests))
        outputs: list = [None] * len(tests)
        with torch.no_grad():
            for X in {id(X): X for X, _, _ in tests}.values():
                runs = [r for r, test in enumerate(tests) if test[0] is X]
                for r, out in zip(runs, fleet.forward(self.model[runs], X), strict=True):
                    outputs[r] = out
        return scores.metrics(outputs, [y for _, y, _ in tests], [n for _, _, n in tests], self.plan.task)


def test_rows(federations: Sequence[Federation]) -> list[tuple[Tensor, Tensor, list[int]]]:
    """For each run all test rows and labels, and how many of them each hospital has."""
    distinct = {
        id(f): (
            torch.cat([h.X_test for h in f.hospitals]),
            torch.cat([h.y_test for h in f.hospitals]),
            [len(h.y_test) for h in f.hospitals],
        )
        for f in federations
    }
    return [distinct[id(f)] for f in federations]


def entries(
    promise: Promise,
    mechanisms: Sequence[Sequence[Mechanism]],
    names: Sequence[str],
    dealings: Sequence[int | None],
    *,
    sees: str | None,
) -> list[tuple[Entry, ...]]:
    """What a training under one promise released, for each of its runs; what the runs have in common is shared.

    Parameters
    ----------
    mechanisms
        For each run that of each hospital, if there is a promise.
    dealings
        For each run which dealing of patients to hospitals it used.
    sees
        What the server learns of the updates; None if nothing.
    """
    everybody, detail = ", ".join(names), f"{len(mechanisms)} runs"
    tested = Entry("metrics on test rows", everybody, "outsider", detail=detail)
    in_the_open = (Entry(sees, everybody, "server", detail=detail),) if sees else ()
    if promise is None:
        return [(*in_the_open, Entry(MODELS, everybody, "every hospital", detail=detail), tested)] * len(mechanisms)
    by_record = isinstance(promise, RecordDP)
    what, viewer = (sees, "server") if by_record and sees else (MODELS, "every hospital")
    follow = (Entry(MODELS, everybody, "every hospital", FOLLOWS, detail),) if sees else ()
    shared = follow if by_record else in_the_open
    ledgers = []
    for r, (by_hospital, dealt) in enumerate(zip(mechanisms, dealings, strict=True)):
        where = dealt if by_record else None
        own = [
            Entry(what, name, viewer, m.guarantee, f"run {r}", m, where)
            for name, m in zip(names, by_hospital, strict=True)
            if m.steps
        ]
        ledgers.append((*own, *shared, tested))
    return ledgers

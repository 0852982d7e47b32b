"""What is written down round by round: scores, messages, and what was released about patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.data import Federation
from fedlab_utils.data.hospitals import dealing
from fedlab_utils.federated import scores
from fedlab_utils.federated.aggregators import BYTES, Round
from fedlab_utils.federated.clock import times
from fedlab_utils.federated.personal import Own, Parts
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.protections import Promise
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.strategies import CONTROLS, as_strategy
from fedlab_utils.privacy import FOLLOWS, NOT_PRIVATE, Entry, Ledger, Mechanism, RecordDP

MODELS = "global models of each round"
TESTED = "metrics on test rows"


class Diary:
    """Scores, messages and ledgers of all runs of a plan, as far as they have come."""

    def __init__(self, plan: Plan, model: fleet.Params, parts: Parts) -> None:
        self.plan, self.model, self.parts, self._times = plan, model, parts, times(plan)
        self._tests = test_rows(plan.federations)
        self._scores = [self._evaluate()]
        self._messages: list[list[tuple]] = [[] for _ in plan.runs]
        self._took_part = np.zeros_like(plan.size)  # in how many rounds its update left, even if it came to nothing
        tables = [tuple(id(rows) for h in f.hospitals for rows in (h.train, h.test)) for f in plan.federations]
        distinct = dict(zip(tables, plan.federations, strict=True))
        dealings = {k: None if plan.promises[0] is None else dealing(f) for k, f in distinct.items()}
        self._dealings = [dealings[k] for k in tables]

    def write(
        self, this: Round, sent: list[list[tuple]], model: fleet.Params, beside: Mapping[int, tuple[str, Tensor]]
    ) -> None:
        """Write one round down.

        Parameters
        ----------
        this
            The round: who was given which model, and whose updates came.
        sent
            For each run the messages of the aggregator.
        model
            The global models after it.
        beside
            For some runs what hospitals were sent besides the model: what it is, and its numbers.
        """
        turn, before, plan = this.number, this.model, self.plan
        self.model = model
        np.add.at(self._took_part, (this.here.run, this.here.hospital), 1)
        known = turn > 1 and plan.aggregator.delivers  # from the last round's own messages
        for r, both in enumerate(zip(this.here.members, this.silent.members, strict=True)):
            members = np.sort(np.concatenate(both))
            seed, n_bytes = int(plan.seed_of[r]), BYTES * before.shape[1]
            told = [] if known else [("global model", before[r]), *([beside[r]] if r in beside else [])]
            down = [("server", h, what, n_bytes, values.numpy()) for what, values in told for h in members]
            for sender, receiver, what, n_bytes, values in down + sent[r]:
                ends = (end if isinstance(end, str) else plan.names[end] for end in (sender, receiver))
                kept = values if this.kept[r] else None
                self._messages[r].append((turn, seed, *ends, what, n_bytes, kept))
        self._scores.append(self._evaluate())

    def runs(self) -> list[FederatedRun]:
        """A `FederatedRun` for each setting, as far as it has come."""
        plan, replicates, found = self.plan, len(self.plan.federations), []
        private = plan.protection.mechanisms(self._took_part, rounds=len(self._scores) - 1)
        server = plan.protection.at_the_server(self._took_part)
        for m, setting in enumerate(plan.settings):
            own = slice(m * replicates, (m + 1) * replicates)
            metrics = tuple(table.of(own) for table in self._scores)
            messages = tuple(tuple(log) for log in self._messages[own])
            about = dict(sees=plan.aggregator.sees, step=float(plan.protection.grid[own].max()))
            about["server"] = server and server[own]
            told = entries(setting.privacy, private[own], plan.names, self._dealings, **about)
            several, also = f"{replicates} runs", []
            if as_strategy(setting.strategy).corrects and not plan.aggregator.delivers:
                follows = NOT_PRIVATE if setting.privacy is None else FOLLOWS
                also.append(Entry(CONTROLS, ", ".join(plan.names), "every hospital", follows, several))
            if (held := plan.aggregator.holds) is not None:
                # Global models are made with these rows, too; where others' are noised, these are not.
                viewers = ["server"] if setting.privacy is None else ["server", "every hospital"]
                also += [Entry(held, "the server's", viewer, NOT_PRIVATE, several) for viewer in viewers]
            told = [(*own_entries, *also) for own_entries in told]
            ledgers = (Ledger((*f.ledger.entries, *e)) for f, e in zip(plan.federations, told, strict=True))
            about = plan.task, tuple(plan.names), metrics, messages, tuple(ledgers)
            goes_on = Own(plan.personal, self.parts.of(own), setting.lr, plan.optimiser, tuple(plan.stamps))
            clock = None if setting.clock is None else np.stack(self._times[own])[:, : len(metrics)]
            found.append(FederatedRun(self.model[own].clone(), *about, goes_on, clock))
        return found

    def _evaluate(self) -> scores.Scores:
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
    """For each run all test rows and labels, and how many each hospital has; the same objects where rows are."""
    own = [tuple(id(part) for h in f.hospitals for part in (h.X_test, h.y_test)) for f in federations]
    distinct = {
        k: (
            torch.cat([h.X_test for h in f.hospitals]),
            torch.cat([h.y_test for h in f.hospitals]),
            [len(h.y_test) for h in f.hospitals],
        )
        for k, f in dict(zip(own, federations, strict=True)).items()
    }
    return [distinct[k] for k in own]


def entries(
    promise: Promise,
    mechanisms: Sequence[Sequence[Mechanism]],
    names: Sequence[str],
    dealings: Sequence[int | None],
    *,
    sees: str | None,
    step: float = 0.0,
    server: Sequence[Sequence[Mechanism]] | None = None,
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
    step
        To which the aggregator rounds an update; 0 if it does not.
    server
        For each run and hospital what the server sees, where that is noisy too: the same releases as `mechanisms`, in
        the eyes of another viewer.
    """
    everybody, detail = ", ".join(names), f"{len(mechanisms)} runs"
    on_a_grid = {MODELS if server else sees or MODELS: f", grid step {step:.2g}"} if step else {}
    tested = Entry(TESTED, everybody, "outsider", detail=detail)
    in_the_open = (Entry(sees, everybody, "server", detail=detail + on_a_grid.get(sees, "")),) if sees else ()
    if promise is None:
        given = Entry(MODELS, everybody, "every hospital", detail=detail + on_a_grid.get(MODELS, ""))
        return [(*in_the_open, given, tested)] * len(mechanisms)
    by_record = isinstance(promise, RecordDP)
    what, viewer = (sees, "server") if by_record and sees else (MODELS, "every hospital")
    follow = (Entry(MODELS, everybody, "every hospital", FOLLOWS, detail),) if sees else ()
    shared = follow if by_record else () if server else in_the_open
    ledgers = []
    for r, (by_hospital, dealt) in enumerate(zip(mechanisms, dealings, strict=True)):
        where = dealt if by_record else None
        own = [
            Entry(what, name, viewer, m.guarantee, f"run {r}{on_a_grid.get(what, '')}", m, where, server and object())
            for name, m in zip(names, by_hospital, strict=True)
            if m.steps
        ]
        if server:
            own += _as_the_server_sees(own, server[r], names, sees)
        ledgers.append((*own, *shared, tested))
    return ledgers


def _as_the_server_sees(
    own: Sequence[Entry], server: Sequence[Mechanism], names: Sequence[str], sees: str
) -> list[Entry]:
    """The same releases once more; what both entries of a pair have in common is that they are one."""
    by_name = dict(zip(names, server, strict=True))
    return [replace(e, what=sees, viewer="server", mechanism=by_name[e.hospital]) for e in own]

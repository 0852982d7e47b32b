"""What a federated training leaves behind: models, history and transcript."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.federated import fine_tuning
from fedlab_utils.federated.aggregators import ABANDONED
from fedlab_utils.federated.personal import PARTS, Own
from fedlab_utils.federated.scores import ALL, METRICS, as_frame, predict
from fedlab_utils.privacy import Ledger

if TYPE_CHECKING:
    from fedlab_utils.data import Federation
    from fedlab_utils.federated.setting import Setting

RAN_AWAY = 100  # times the loss of the untrained model
_MESSAGE = ["round", "seed", "sender", "receiver", "what", "bytes", "values"]


class Diverged(UserWarning):
    """A training ran away, mostly because its learning rate is too large."""


@dataclass(frozen=True)
class Model:
    """One trained network, and what it would cost to release this one alone (its ledger)."""

    params: fleet.Params
    task: str
    ledger: Ledger = Ledger()

    def predict_proba(self, X: Tensor | np.ndarray) -> Tensor:
        """Class probabilities ``[n, classes]`` of rows ``[n, d]``; in regression, values ``[n, 1]``."""
        return predict(self.params, X, self.task)[0]


@dataclass(frozen=True, repr=False)
class FederatedRun:
    """What `federated.train` returns: one global model for each seed, and how it came about.

    Attributes
    ----------
    params
        The global models, K = number of seeds.
    task, hospitals
        "binary", "multiclass" or "regression", and the hospitals' names.
    metrics
        For each round (the first is the untrained model) and metric an array ``[seeds, hospitals + 1]``, the
        last column over all test rows; `history` is the same as a table. With more than two classes there is also
        "classes": over how many of them the AUC is a mean, since a class without test rows has none.
    messages
        For each seed its messages; `transcript` is the same as a table.
    ledgers
        For each seed what has been released about patients, by preprocessing and by that seed's training alone;
        `ledger` is all of them together, since seeds look at the same patients again.
    own
        What hospitals go on with by themselves; see `personal`.
    clock
        Simulated time after each round, ``[seeds, rounds + 1]``; None without a clock.
    """

    params: fleet.Params
    task: str
    hospitals: tuple[str, ...]
    metrics: tuple[Mapping[str, np.ndarray], ...]
    messages: tuple[tuple[tuple, ...], ...]
    ledgers: tuple[Ledger, ...]
    own: Own | None = None
    clock: np.ndarray | None = None

    def __len__(self) -> int:
        return self.params.n_models

    def __repr__(self) -> str:
        what = f"{len(self.hospitals)} hospitals, {self.rounds} rounds, {len(self)} seeds"
        if not self.whole:
            return f"FederatedRun({what}, {PARTS[self.own.kind]} layer personal: scores by federated.by_hospital)"
        found = self.metrics[-1]["loss"][:, -1] if self.task == "regression" else self.auc
        score = f"{'loss' if self.task == 'regression' else 'AUC'} {np.mean(found):.3f}"
        if self.scored_classes.min() < self._n_classes:
            score += f" over {self.scored_classes.min()} of {self._n_classes} classes, the others have no test rows"
        if self.diverged:
            score += f", diverged in {len(self.diverged)}"
        return f"FederatedRun({what}, {score})"

    def __getitem__(self, seed: int) -> Model:
        if not -len(self) <= seed < len(self):
            raise IndexError(f"This run has {len(self)} seeds; there is no number {seed}.")
        return Model(self.params[[seed]], self.task, self.ledgers[seed])

    @property
    def rounds(self) -> int:
        """Rounds done."""
        return len(self.metrics) - 1

    @property
    def failed(self) -> list[list[int]]:
        """For each seed the rounds that were abandoned, since too few were left: the model stayed as it was."""
        return [sorted({m[0] for m in log if m[4] == ABANDONED}) for log in self.messages]

    @property
    def auc(self) -> np.ndarray:
        """AUC of each seed's finished model over all test rows, ``[seeds]``; missing in regression.

        With more than two classes the mean over `scored_classes` of each against the rest.
        """
        return self.metrics[-1]["auc"][:, -1]

    @property
    def scored_classes(self) -> np.ndarray:
        """Over how many classes `auc` speaks, ``[seeds]``: fewer than there are where one has no test row."""
        if "classes" in self.metrics[-1]:
            return self.metrics[-1]["classes"][:, -1]
        return np.full(len(self), self._n_classes)

    @property
    def whole(self) -> bool:
        """Whether the global model is all that there is, and no part of it is personal."""
        return self.own is None or self.own.kind is None

    @property
    def _n_classes(self) -> int:
        return {"binary": 2, "regression": 0}.get(self.task, self.params.sizes[-1])

    @cached_property
    def diverged(self) -> dict[int, int]:
        """Seeds whose training ran away, each with the first such round; empty if all went well.

        Then the loss over all test rows is no finite number, or more than 100 times that of the untrained model. A
        smaller `lr` helps; under a promise of privacy the noise alone can do it, where patients are few.
        """
        loss = np.stack([m["loss"][:, -1] for m in self.metrics])  # [rounds + 1, seeds]
        with np.errstate(invalid="ignore"):
            # The global model of a training with personal parts is of no use by itself, and may be of any loss.
            lost = ~(loss <= RAN_AWAY * loss[0]) if self.whole else ~np.isfinite(loss)
        lost[:, np.isnan(loss[0])] = False  # without test rows only the model itself can tell
        lost[-1] |= ~self.params.flat().isfinite().all(1).numpy()
        return {int(s): int(lost[:, s].argmax()) for s in np.flatnonzero(lost.any(0))}

    def predict_proba(self, X: Tensor | np.ndarray) -> Tensor:
        """Class probabilities ``[seeds, n, classes]``, a model for each seed; seeds are never averaged."""
        return predict(self.params, X, self.task)

    def personal(
        self,
        federation: Federation | Sequence[Federation],
        hospital: str,
        *,
        steps: int = 0,
        lr: float | None = None,
        batch_size: int = 32,
        seed: int = 0,
    ) -> fine_tuning.PersonalModel:
        """What one hospital would use: the shared part, its own part, and then some steps on its own training rows.

        It stays in the hospital: nothing of it travels, so the ledger has no entry for it. A promise of privacy speaks
        of what left the hospitals and of nothing that is made of a hospital's rows afterwards: a model that was
        fine-tuned is not covered by it, nor are scores of such a model, and to hand them on is a further release.

        Parameters
        ----------
        federation
            What was trained on, as it was given to `federated.train`: a run holds no patients.
        hospital
            Its name.
        steps
            Of fine-tuning, all parts of the network; 0 for none.
        lr, batch_size
            Of the fine-tuning; None is the learning rate of the training. The optimiser is that of the training.
        seed
            Where the shuffling starts.

        Returns
        -------
        PersonalModel
            One network for each seed of the run.

        Raises
        ------
        ValueError
            If an argument does not fit, or these are not the patients that the run was trained on.
        """
        how = fine_tuning.Tuning(steps=steps, lr=lr, batch_size=batch_size, seed=seed)
        return fine_tuning.personal_model(self, federation, hospital, how)

    @cached_property
    def ledger(self) -> Ledger:
        """What has been released about patients by everything in this run, all seeds together."""
        return sum(self.ledgers, Ledger())

    @cached_property
    def transcript(self) -> pd.DataFrame:
        """Who sent what to whom: round, seed, sender, receiver, what, bytes (and values, if recorded).

        The last global model's way back to the hospitals is not part of a round and is not listed.
        """
        log = pd.DataFrame([m for one in self.messages for m in one], columns=_MESSAGE)
        return log if log["values"].notna().any() else log.drop(columns="values")

    @cached_property
    def history(self) -> pd.DataFrame:
        """A row for each round, hospital ("all": pooled test rows) and seed: loss, accuracy, auc, bytes.

        `bytes` counts both ways within that round. What is undefined, an AUC where all patients are alike or
        anything without test rows, is missing. Scores are those of the global model, also where a part of the network
        is personal and the global one has it as it was started; see `federated.by_hospital` then. With a clock there
        is also `time`, simulated, after that round.
        """
        return self._table(range(self.rounds + 1))

    @property
    def final(self) -> pd.DataFrame:
        """The last round of `history`: a row for each hospital ("all": pooled test rows) and seed."""
        return self._table([self.rounds])

    def _table(self, rounds: Sequence[int]) -> pd.DataFrame:
        """Some rounds of `history`."""
        tables = [as_frame(self.metrics[r], self.hospitals).assign(round=r) for r in rounds]
        log = self.transcript[self.transcript["round"].isin(rounds)]
        ends = pd.concat([log.assign(hospital=log[end]) for end in ("sender", "receiver")])
        ends = pd.concat([ends[ends["hospital"] != "server"], log.assign(hospital=ALL)])
        sums = ends.groupby(["round", "hospital", "seed"], as_index=False)["bytes"].sum()
        history = pd.concat(tables, ignore_index=True).merge(sums, "left", ["round", "hospital", "seed"])
        history["bytes"] = history["bytes"].fillna(0).astype(np.int64)
        history = history[["round", "hospital", "seed", *METRICS, "bytes"]]
        if self.clock is None:
            return history
        return history.assign(time=self.clock[history["seed"], history["round"]])


def warn_if_diverged(runs: Sequence[FederatedRun], settings: Sequence[Setting]) -> None:
    """Say in one sentence, as a `Diverged` warning, that trainings ran away; the runs are kept as they are.

    Under a promise of privacy only numbers that are no longer finite count: noise may cost any accuracy, and says so
    in the scores.
    """
    found = []
    for run, setting in zip(runs, settings, strict=True):
        lost = run.diverged if setting.privacy is None else _not_finite(run)
        found += [(turn, setting.lr) for turn in lost.values()]
    if found:
        turn, rates = min(turn for turn, _ in found), sorted({f"{lr:g}" for _, lr in found}, key=float)
        warnings.warn(
            f"Training diverged in {len(found)} of {sum(map(len, runs))} runs, first in round {turn}: the loss is no "
            f"finite number or more than {RAN_AWAY} times that of the untrained model; try an lr below {rates[0]}.",
            Diverged,
            stacklevel=_frames_inside(),
        )


def _not_finite(run: FederatedRun) -> dict[int, int]:
    broken = ~run.params.flat().isfinite().all(1).numpy()
    return {s: turn for s, turn in run.diverged.items() if broken[s]}


def _frames_inside() -> int:
    """How many frames up the first one outside of the package is, for a warning that points at the caller's line."""
    frame, depth = sys._getframe(1), 1
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in ("fedlab_utils", "contextlib"):
        frame, depth = frame.f_back, depth + 1
    return depth

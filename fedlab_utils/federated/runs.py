"""What a federated training leaves behind: models, history and transcript."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.federated.aggregators import ABANDONED
from fedlab_utils.federated.scores import ALL, METRICS, as_frame
from fedlab_utils.fleet import losses
from fedlab_utils.privacy import Ledger

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Setting

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
        return _predict(self.params, X, self.task)[0]


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
    """

    params: fleet.Params
    task: str
    hospitals: tuple[str, ...]
    metrics: tuple[dict[str, np.ndarray], ...]
    messages: tuple[tuple[tuple, ...], ...]
    ledgers: tuple[Ledger, ...]

    def __len__(self) -> int:
        return self.params.n_models

    def __repr__(self) -> str:
        what = f"{len(self.hospitals)} hospitals, {self.rounds} rounds, {len(self)} seeds"
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
            lost = ~(loss <= RAN_AWAY * loss[0])
        lost[:, np.isnan(loss[0])] = False  # without test rows only the model itself can tell
        lost[-1] |= ~self.params.flat().isfinite().all(1).numpy()
        return {int(s): int(lost[:, s].argmax()) for s in np.flatnonzero(lost.any(0))}

    def predict_proba(self, X: Tensor | np.ndarray) -> Tensor:
        """Class probabilities ``[seeds, n, classes]``, a model for each seed; seeds are never averaged."""
        return _predict(self.params, X, self.task)

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
        anything without test rows, is missing.
        """
        tables = [as_frame(m, self.hospitals).assign(round=r) for r, m in enumerate(self.metrics)]
        log = self.transcript
        ends = pd.concat([log.assign(hospital=log[end]) for end in ("sender", "receiver")])
        ends = pd.concat([ends[ends["hospital"] != "server"], log.assign(hospital=ALL)])
        sums = ends.groupby(["round", "hospital", "seed"], as_index=False)["bytes"].sum()
        history = pd.concat(tables, ignore_index=True).merge(sums, "left", ["round", "hospital", "seed"])
        history["bytes"] = history["bytes"].fillna(0).astype(np.int64)
        return history[["round", "hospital", "seed", *METRICS, "bytes"]]

    @property
    def final(self) -> pd.DataFrame:
        """The last round of `history`: a row for each hospital ("all": pooled test rows) and seed."""
        return self.history[self.history["round"] == self.rounds].reset_index(drop=True)


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


def _predict(params: fleet.Params, X: Tensor | np.ndarray, task: str) -> Tensor:
    want = f"X must be rows of {params.sizes[0]} features as federation.transform(frame) makes them"
    if not isinstance(X, Tensor | np.ndarray):
        raise ValueError(f"{want}; got a {type(X).__name__}.")
    if X.ndim != 2 or X.shape[1] != params.sizes[0]:
        raise ValueError(f"{want}; got shape {tuple(X.shape)}.")
    if isinstance(X, np.ndarray) and X.dtype.kind not in "biuf":
        raise ValueError(f"{want}, all of them numbers; got an array of {X.dtype}.")
    X = torch.as_tensor(X, dtype=params.biases[0].dtype)
    with torch.no_grad(), fleet.one_thread():
        return losses.probabilities(fleet.forward(params, X), task)

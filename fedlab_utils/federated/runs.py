"""What a federated training leaves behind: models, history and transcript."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.federated.scores import ALL, METRICS, as_frame
from fedlab_utils.fleet import losses
from fedlab_utils.privacy import Ledger

_MESSAGE = ["round", "seed", "sender", "receiver", "what", "bytes", "values"]


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
        last column over all test rows; `history` is the same as a table.
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
        return f"FederatedRun({what}, {'loss' if self.task == 'regression' else 'AUC'} {np.mean(found):.3f})"

    def __getitem__(self, seed: int) -> Model:
        if not -len(self) <= seed < len(self):
            raise IndexError(f"This run has {len(self)} seeds; there is no number {seed}.")
        return Model(self.params[[seed]], self.task, self.ledgers[seed])

    @property
    def rounds(self) -> int:
        """Rounds done."""
        return len(self.metrics) - 1

    @property
    def auc(self) -> np.ndarray:
        """AUC of each seed's finished model over all test rows, ``[seeds]``; missing in regression."""
        return self.metrics[-1]["auc"][:, -1]

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


def _predict(params: fleet.Params, X: Tensor | np.ndarray, task: str) -> Tensor:
    want = f"X must be rows of {params.sizes[0]} features as federation.transform(frame) makes them"
    if not isinstance(X, Tensor | np.ndarray):
        raise ValueError(f"{want}; got a {type(X).__name__}.")
    if X.ndim != 2 or X.shape[1] != params.sizes[0]:
        raise ValueError(f"{want}; got shape {tuple(X.shape)}.")
    X = torch.as_tensor(X, dtype=params.biases[0].dtype)
    with torch.no_grad(), fleet.one_thread():
        return losses.probabilities(fleet.forward(params, X), task)

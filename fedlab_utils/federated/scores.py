"""How good a model is, for many models and hospitals at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.fleet import losses

ALL = "all"  # stands for all hospitals where a table names one
METRICS = ["loss", "accuracy", "auc"]


class Scores(Mapping[str, np.ndarray]):
    """Mean loss, accuracy and AUC, each ``[runs, hospitals + 1]``; the last column is all rows of a run.

    The loss is there at once. The others take a sort of all rows, so they wait until somebody asks for one of them: in
    most trainings it is only the last round's that anybody does.

    Parameters
    ----------
    loss
        ``[runs, hospitals + 1]``.
    others
        The names of the others.
    find
        Makes them; what it keeps for that goes when it has.
    """

    def __init__(self, loss: np.ndarray, others: Sequence[str], find: Callable[[], Mapping[str, np.ndarray]]) -> None:
        self._found: dict[str, np.ndarray] = {"loss": loss}
        self._names, self._find = ("loss", *others), find

    def __getitem__(self, name: str) -> np.ndarray:
        find = self._find  # kept by whoever asks, as two threads may
        if name in self._names and name not in self._found and find is not None:
            self._found |= find()
            self._find = None
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def of(self, runs: slice) -> Scores:
        """Those of some runs."""
        others = self._names[1:]
        return Scores(self["loss"][runs], others, lambda: {name: self[name][runs] for name in others})


def metrics(
    outputs: Sequence[Tensor], labels: Sequence[Tensor], counts: Sequence[Sequence[int]], task: str
) -> Scores:
    """Mean loss, accuracy and AUC.

    Parameters
    ----------
    outputs, labels
        For each run ``[n, out]`` and ``[n, 1]``, one hospital's rows after the other's.
    counts
        ``[runs, hospitals]``: how many rows each hospital has.
    task
        "binary", "multiclass" or "regression".

    Returns
    -------
    Scores
        "loss" (nats or squared error), "accuracy" and "auc"; missing where undefined. With more than two classes the
        AUC is the mean, over those that have test rows, of each against the rest, and "classes" counts them. Where
        all rows are of one class, no AUC is defined, in a binary task either.
    """
    counts, labels, out = np.array(counts), list(labels), torch.cat(list(outputs))
    loss = _means(losses.per_row(out[None], torch.cat(labels), task)[0].numpy(), _cells(counts), counts)
    others = [*METRICS[1:], *(["classes"] if task == "multiclass" else [])]
    return Scores(loss, others, partial(_ranked, out, labels, counts, task))


def _cells(counts: np.ndarray) -> np.ndarray:
    """For each row the number of its run and hospital."""
    return np.repeat(np.arange(counts.size, dtype=np.min_scalar_type(counts.size)), counts.ravel())


def _means(values: np.ndarray, cell: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Of each hospital's rows and of all of them."""
    sums = np.bincount(cell, values, counts.size).reshape(counts.shape)
    with np.errstate(invalid="ignore"):  # no test rows: undefined
        return np.column_stack([sums, sums.sum(1)]) / np.column_stack([counts, counts.sum(1)])


@fleet.one_thread()
def _ranked(out: Tensor, labels: Sequence[Tensor], counts: np.ndarray, task: str) -> dict[str, np.ndarray]:
    """What `metrics` returns beside the loss."""
    shape, cell, truth = counts.shape, _cells(counts), torch.cat(labels).numpy()[:, 0]
    if task == "regression":
        undefined = np.full((shape[0], shape[1] + 1), np.nan)
        return {"accuracy": undefined, "auc": undefined}
    scores = losses.probabilities(out[None], task)[0].numpy()
    whole = cell // shape[1]
    best = scores[:, 1] > scores[:, 0] if task == "binary" else scores.argmax(1)
    right = (best == truth) + np.where(np.isnan(scores[:, 0]), np.nan, 0)  # diverged: undefined, in all classes
    if task == "binary":
        scores[:, 1] = out[:, 0].numpy()  # probabilities near 1 are equal in 32 bits, logits are not
    areas = []
    for c in range(1 if task == "binary" else 0, scores.shape[1]):
        given = scores[:, c], truth == c
        order = np.argsort(given[0])  # one sort for both
        by_cell = rank_auc(*given, cell, counts.size, order).reshape(shape)
        areas.append(np.column_stack([by_cell, rank_auc(*given, whole, shape[0], order)]))
    there = ~np.isnan(areas)  # a class without rows, or without others, has no area
    with np.errstate(invalid="ignore"):
        auc = np.where(there, areas, 0).sum(0) / there.sum(0)
    accuracy = _means(right, cell, counts)
    found = {"accuracy": accuracy, "auc": auc + 0 * accuracy}
    return found if task == "binary" else found | {"classes": there.sum(0)}


def rank_auc(
    score: np.ndarray, positive: np.ndarray, group: np.ndarray, n_groups: int, order: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve in each group, all by one sort (Mann-Whitney, ties count half).

    Parameters
    ----------
    score, positive, group
        Score, truth and group number of each row, ``[n]``.
    n_groups
        Groups, numbered from 0.
    order
        What sorts the scores, if it is known.

    Returns
    -------
    ndarray
        ``[n_groups]``; missing where a group's rows are all positive or all negative.
    """
    order = np.argsort(score) if order is None else order
    order = order[np.argsort(group[order], kind="stable")]  # np.lexsort, but radix for small integers
    score, positive, group = score[order], positive[order], group[order]
    change = np.r_[True, (score[1:] != score[:-1]) | (group[1:] != group[:-1])]
    first = np.flatnonzero(change)
    last = np.r_[first[1:], len(score)]
    midrank = ((first + 1 + last) / 2)[np.cumsum(change) - 1]
    n = np.bincount(group, minlength=n_groups)
    hits = np.bincount(group, positive, n_groups)
    above = np.bincount(group, positive * midrank, n_groups) - hits * (np.cumsum(n) - n) - hits * (hits + 1) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return above / (hits * (n - hits))


def as_frame(values: Mapping[str, np.ndarray], hospitals: Sequence[str]) -> pd.DataFrame:
    """`metrics` as a table with a row for each hospital and run."""
    n_runs = len(values["loss"])
    columns = {
        "hospital": np.tile([*hospitals, ALL], n_runs),
        "seed": np.repeat(np.arange(n_runs), len(hospitals) + 1),
    }
    return pd.DataFrame(columns | {name: values[name].ravel() for name in METRICS})


def predict(params: fleet.Params, X: Tensor | np.ndarray, task: str) -> Tensor:
    """Class probabilities ``[K, n, classes]`` of rows ``[n, d]`` by K networks; in regression, values ``[K, n, 1]``."""
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

"""How good a model is, for many models and hospitals at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils.fleet import losses

ALL = "all"  # stands for all hospitals where a table names one
METRICS = ["loss", "accuracy", "auc"]


def metrics(
    outputs: Sequence[Tensor], labels: Sequence[Tensor], counts: Sequence[Sequence[int]], task: str
) -> dict[str, np.ndarray]:
    """Mean loss, accuracy and AUC, each ``[runs, hospitals + 1]``; the last column is all rows of a run.

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
    dict
        "loss" (nats or squared error), "accuracy" and "auc"; missing where undefined. With more than two classes the
        AUC is the mean, over those that have test rows, of each against the rest, and "classes" counts them. Where
        all rows are of one class, no AUC is defined, in a binary task either.
    """
    counts = np.array(counts)
    shape = counts.shape
    cells = np.arange(counts.size, dtype=np.min_scalar_type(counts.size))
    cell = np.repeat(cells, counts.ravel())
    out, y = torch.cat(list(outputs)), torch.cat(list(labels))
    loss = losses.per_row(out[None], y, task)[0].numpy()
    scores = losses.probabilities(out[None], task)[0].numpy()
    truth = y.numpy()[:, 0]

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.bincount(cell, values, counts.size).reshape(shape)
        with np.errstate(invalid="ignore"):  # no test rows: undefined
            return np.column_stack([sums, sums.sum(1)]) / np.column_stack([counts, counts.sum(1)])

    if task == "regression":
        undefined = np.full((shape[0], shape[1] + 1), np.nan)
        return {"loss": mean(loss), "accuracy": undefined, "auc": undefined}
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
    found = {"loss": mean(loss), "accuracy": mean(right), "auc": auc + 0 * mean(right)}
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


def as_frame(values: dict[str, np.ndarray], hospitals: Sequence[str]) -> pd.DataFrame:
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

"""Three ways to make a synthetic table without a network: independent columns, a copula, and interpolation.

Each learns arrays from encoded rows and draws encoded rows from these arrays (see `encoding`).
"""

from __future__ import annotations

import numpy as np
import torch

from fedlab_utils.fleet import one_thread
from fedlab_utils.synth.encoding import Encoder

Arrays = dict[str, np.ndarray]

_NEAREST = 5  # neighbours to interpolate with
_PIECE = 500  # rows whose neighbours are searched at a time


def parts(encoder: Encoder) -> list[tuple[int, int, bool]]:
    """Start, end and whether it is a choice, of each number and each group of 0/1 columns."""
    choices = encoder.choices
    chosen = {k for start, end, _ in choices for k in range(start, end)}
    numbers = [(k, k + 1, False) for k in range(encoder.width) if k not in chosen]
    return sorted([*numbers, *((start, end, True) for start, end, _ in choices)])


def fit_copula(data: np.ndarray, encoder: Encoder) -> Arrays:
    """Shares of the 0/1 columns, and the correlations of normal scores.

    A category's scores fill the stretch of the bell curve that its share of the rows cuts off, in the order of the
    categories; where in its stretch a row lies is drawn at random. A missing number counts as middling.
    """
    rng = np.random.default_rng(0)
    shares = data.mean(0, dtype=float)
    scores = np.empty((len(data), len(parts(encoder))))
    for k, (start, end, choice) in enumerate(parts(encoder)):
        scores[:, k] = data[:, start]
        if choice:
            edges = np.concatenate([[0], np.cumsum(shares[start:end])])
            code = data[:, start:end].argmax(1)
            level = edges[code] + rng.random(len(data)) * (edges[code + 1] - edges[code])
            scores[:, k] = _inverse_normal(level)
    spread = scores.std(0)
    scores = (scores - scores.mean(0)) / np.where(spread > 0, spread, 1)
    correlation = scores.T @ scores / len(scores)
    np.fill_diagonal(correlation, 1)
    return {"shares": shares, "correlation": correlation}


def fit_independent(data: np.ndarray, encoder: Encoder) -> Arrays:
    """A copula in which nothing is correlated."""
    return {"shares": data.mean(0, dtype=float), "correlation": np.eye(len(parts(encoder)))}


def sample_copula(arrays: Arrays, encoder: Encoder, n: int, rng: np.random.Generator) -> np.ndarray:
    """Correlated normal scores, cut into categories by their shares."""
    values, vectors = np.linalg.eigh(arrays["correlation"])
    root = vectors * np.sqrt(values.clip(min=0))
    scores = rng.standard_normal((n, len(root))) @ root.T
    rows = np.zeros((n, encoder.width), np.float32)
    for k, (start, end, choice) in enumerate(parts(encoder)):
        if choice:
            edges = _inverse_normal(np.cumsum(arrays["shares"][start:end])[:-1])
            rows[np.arange(n), start + np.searchsorted(edges, scores[:, k])] = 1
        else:
            rows[:, start] = scores[:, k]
    return rows


def fit_interpolate(data: np.ndarray, encoder: Encoder) -> Arrays:
    """The patients themselves, and each one's nearest others."""
    table = torch.from_numpy(data)
    nearest = min(_NEAREST, len(data) - 1)
    found = []
    with one_thread():
        for first in range(0, len(data), _PIECE):
            some = torch.arange(first, min(first + _PIECE, len(data)))
            distance = torch.cdist(table[some], table)
            distance[torch.arange(len(some)), some] = torch.inf
            found.append(distance.topk(nearest, largest=False).indices)
    return {"rows": data, "nearest": torch.cat(found).numpy()}


def sample_interpolate(arrays: Arrays, encoder: Encoder, n: int, rng: np.random.Generator) -> np.ndarray:
    """A random patient moved a random part of the way to a near one; a category comes from either."""
    data, nearest = arrays["rows"], arrays["nearest"]
    row = rng.integers(len(data), size=n)
    other = nearest[row, rng.integers(nearest.shape[1], size=n)]
    way = rng.random((n, 1))
    rows = (data[row] + way * (data[other] - data[row])).astype(np.float32)
    for start, end, switched in encoder.choices:
        from_other = rng.random(n) < way[:, 0]
        rows[:, start:end] = np.where(from_other[:, None], data[other, start:end], data[row, start:end])
        if switched:  # a number that only one of the two has is taken as it is
            score, there = start - 1, data[:, end - 1] == 0
            one = np.where(there[row], data[row, score], data[other, score])
            rows[:, score] = np.where(there[row] != there[other], one, rows[:, score])
    return rows


FITTERS = {"independent": fit_independent, "copula": fit_copula, "interpolate": fit_interpolate}
SAMPLERS = {"independent": sample_copula, "copula": sample_copula, "interpolate": sample_interpolate}


def _inverse_normal(level: np.ndarray) -> np.ndarray:
    """Normal scores of levels between 0 and 1, at most 5 away from 0."""
    return torch.special.ndtri(torch.as_tensor(level).clamp(3e-7, 1 - 3e-7)).numpy()

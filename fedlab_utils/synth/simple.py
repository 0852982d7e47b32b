"""Three ways to make a synthetic table without a network: independent columns, a copula, and interpolation.

Each learns arrays from encoded rows and draws encoded rows from these arrays (see `encoding`).
"""

from __future__ import annotations

import math

import numpy as np
import torch

from fedlab_utils.data.schema import as_numbers
from fedlab_utils.fleet import one_thread
from fedlab_utils.synth.encoding import Encoder

Arrays = dict[str, np.ndarray]

_NEAREST = 5  # neighbours to interpolate with
_DEGREES = 30  # of the polynomials by which a step function is described
_PIECE = 500  # rows whose neighbours are searched at a time


def parts(encoder: Encoder) -> list[tuple[int, int, bool]]:
    """Start, end and whether it is a choice, of each number and each group of 0/1 columns."""
    choices = encoder.choices
    chosen = {k for start, end, _ in choices for k in range(start, end)}
    numbers = [(k, k + 1, False) for k in range(encoder.width) if k not in chosen]
    return sorted([*numbers, *((start, end, True) for start, end, _ in choices)])


def fit_copula(data: np.ndarray, encoder: Encoder) -> Arrays:
    """Shares of the 0/1 columns, and the correlations of the bell curves behind all columns.

    Behind each column stands a normal score, of which only the level shows: the category, or the number as it is
    rounded. All rows of one level get the mean of the bell curve over the stretch that its share of the rows cuts off,
    in the order of the categories. These means vary less than the scores do, so their covariance is too small; `latent`
    says which correlation of the scores it belongs to. What rises or falls with something is so kept, and no other
    dependence: not that the middle category is the ill one. Missing numbers are left out, pair by pair.
    """
    levels = _levels(data, encoder)
    there = np.stack([code >= 0 for code in levels], axis=1).astype(float)
    counts = [np.bincount(code[code >= 0], minlength=1) for code in levels]
    means, coefficients = zip(*map(steps_of, counts), strict=True)
    scores = np.stack([np.where(code >= 0, m[code], 0) for m, code in zip(means, levels, strict=True)], axis=1)
    both = np.maximum(there.T @ there, 1)  # rows in which neither of two columns is missing
    beside = scores.T @ there / both  # mean score of one where the other is there
    covariance = scores.T @ scores / both - beside * beside.T
    return {"shares": data.mean(0, dtype=float), "correlation": latent(covariance, np.stack(coefficients))}


def latent(covariance: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The correlation matrix of normal scores whose functions have these covariances.

    Functions g and h of two scores with correlation r have the covariance sum_k a_k b_k r^k, where a_k and b_k are
    their coefficients for the normalised Hermite polynomials (Mehler's formula). Read backwards, this gives r.

    Parameters
    ----------
    covariance
        Of the functions, ``[columns, columns]``.
    coefficients
        Of each function, for the polynomials of degree 1, 2, ..., ``[columns, degrees]``.

    Returns
    -------
    ndarray
        ``[columns, columns]``, with ones on the diagonal and no negative eigenvalue: 0 where a function is constant,
        and pulled towards each other where the pairs, each read by itself, contradict.
    """
    possible = np.linspace(-1, 1, 401)
    powers = possible ** np.arange(1, coefficients.shape[1] + 1)[:, None]
    correlation = np.eye(len(coefficients))
    for i, own in enumerate(coefficients):
        for j, curve in enumerate((own * coefficients[:i]) @ powers):
            if np.ptp(curve) > 1e-9:
                rising = np.maximum.accumulate(curve)  # cut off after some degrees it may waver at the ends
                correlation[i, j] = correlation[j, i] = np.interp(covariance[i, j], rising, possible)
    values, vectors = np.linalg.eigh(correlation)
    correlation = (vectors * values.clip(min=1e-9)) @ vectors.T
    size = np.sqrt(np.diag(correlation))
    return correlation / np.outer(size, size)


def _levels(data: np.ndarray, encoder: Encoder) -> list[np.ndarray]:
    """For each of `parts`, the number of each row's level in rising order ``[n]``; -1 where a number is missing."""
    found = []
    for column, where in zip(encoder.columns, encoder.slices.values(), strict=True):
        encoded = data[:, where]
        if not column.is_number:
            found.append(encoded.argmax(1))
            continue
        values = as_numbers(column.decode(encoded)).to_numpy(float)
        gone = np.isnan(values)
        found.append(np.where(gone, -1, np.unique(np.where(gone, np.inf, values), return_inverse=True)[1]))
        if column.width > 1:
            found.append(encoded[:, 1:].argmax(1))
    return found


def steps_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the bell curve over each level's stretch ``[levels]``, and the Hermite coefficients of these steps.

    The stretches are as long as `counts` ``[levels]``, or shares, say.
    """
    cuts = inverse_normal(np.cumsum(counts)[:-1] / max(counts.sum(), 1e-12))
    density = np.exp(-(cuts**2) / 2) / np.sqrt(2 * np.pi)
    means = -np.diff(density, prepend=0, append=0) * counts.sum() / np.maximum(counts, 1e-12)
    polynomials = [np.zeros_like(cuts), np.ones_like(cuts)]  # normalised, degree by degree
    for k in range(1, _DEGREES):
        polynomials.append((cuts * polynomials[-1] - math.sqrt(k - 1) * polynomials[-2]) / math.sqrt(k))
    coefficients = np.stack(polynomials[1:]) @ (density * np.diff(means))
    return means, coefficients / np.sqrt(np.arange(1, _DEGREES + 1))


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
            edges = inverse_normal(np.cumsum(arrays["shares"][start:end])[:-1])
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


def inverse_normal(level: np.ndarray) -> np.ndarray:
    """Normal scores of levels between 0 and 1, at most 5 away from 0."""
    return torch.special.ndtri(torch.as_tensor(level).clamp(3e-7, 1 - 3e-7)).numpy()

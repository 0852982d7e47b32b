"""Principal components from sums: hospitals add up scans and outer products of scans, and nothing else leaves them.

From how many scans there are, their sum and the sum of their outer products follow the mean and the covariance of all
scans, and so exactly the components that somebody would find who had all scans in one place. One round is enough, and
secure aggregation can carry it, as it is a sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from scipy.fft import idctn
from threadpoolctl import ThreadpoolController

from fedlab_utils._arguments import brief, numbers, whole
from fedlab_utils.federated.aggregators import OpenSum
from fedlab_utils.fleet.randomness import AGREEMENT, generator

_OMEGA = (0.56, -0.95, 1.82, 1.43)  # Gavish and Donoho (arXiv:1305.5870), equation 5


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, which takes longer than a product


@contextmanager
def one_core() -> Iterator[None]:
    """NumPy's products and eigenproblems on one thread: those of this size are slower on several, above all on a busy
    machine."""
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True, eq=False)
class Sums:
    """What a hospital, or several of them, adds up.

    Attributes
    ----------
    rows
        How many scans.
    first
        Their sum, ``[d]``.
    second
        The sum of their outer products, ``[d, d]``.
    """

    rows: int
    first: np.ndarray
    second: np.ndarray

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows, self.first + other.first, self.second + other.second)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.rows - other.rows, self.first - other.first, self.second - other.second)

    def vector(self) -> np.ndarray:
        """Means of both as one row, ``[d + d (d + 1) / 2]``: outer products are symmetric, so half of them travel."""
        return np.concatenate([self.first, self.second[np.triu_indices(len(self.first))]]) / max(self.rows, 1)


@dataclass(frozen=True, eq=False, repr=False)
class Components:
    """A mean and the directions in which normal scans differ most.

    Attributes
    ----------
    rows
        From how many scans.
    mean
        ``[d]``.
    variances
        Along all directions, falling, ``[d]`` (0 where there were too few scans to see any).
    directions
        Orthonormal, the first has the largest variance, ``[m, d]``, m at most d.
    count
        How many of them count as normal; the others are what is left over.
    """

    rows: int
    mean: np.ndarray
    variances: np.ndarray
    directions: np.ndarray
    count: int

    def __repr__(self) -> str:
        return f"Components({self.count} of {len(self.directions)}, from {self.rows} scans)"

    def at(self, count: int) -> Components:
        """The same with another number of components; at most as many as there are directions."""
        return replace(self, count=min(whole("count", count, 0), len(self.directions)))

    @one_core()
    def weights(self, scans: np.ndarray) -> np.ndarray:
        """How much of each component is in each scan, ``[n, count]``."""
        return (_rows(scans, len(self.mean)) - self.mean) @ self.directions[: self.count].T

    @one_core()
    def rebuilt(self, scans: np.ndarray) -> np.ndarray:
        """Scans made of the mean and the components alone, ``[n, d]``."""
        return self.mean + self.weights(scans) @ self.directions[: self.count]

    def residual(self, scans: np.ndarray) -> np.ndarray:
        """What the components leave over, ``[n, d]``."""
        return _rows(scans, len(self.mean)) - self.rebuilt(scans)


@one_core()
def sums_of(scans: np.ndarray) -> Sums:
    """The sums of one hospital's scans ``[n, d]``."""
    scans = _rows(scans)
    return Sums(len(scans), scans.sum(0), scans.T @ scans)


def together(parts: Sequence[Sums], *, aggregator=None, seed: int = 0) -> Sums:
    """The sums of all hospitals.

    Parameters
    ----------
    parts
        One for each hospital; how many scans each has counts as public.
    aggregator
        Through what they travel: None is in the open, ``secagg.SecureSum(limit=64, bits=64)`` shows the server the
        total and nothing else, on a grid far below 1e-9.
    seed
        Of the coins with which an aggregator rounds.

    Raises
    ------
    ValueError
        If there is no part, or the aggregator refuses.
    """
    if not isinstance(parts, Sequence) or not parts or not all(isinstance(p, Sums) for p in parts):
        raise ValueError(f"parts must hold the Sums of one hospital or more; got {brief(parts)}.")
    rows, d = np.array([p.rows for p in parts], dtype=float), len(parts[0].first)
    if len(parts) == 1 and aggregator is None:
        return parts[0]
    through = OpenSum() if aggregator is None else aggregator
    updates, everybody = np.stack([p.vector() for p in parts]), np.ones(len(parts), dtype=bool)
    mean, _ = through.aggregate(updates, rows, alive=everybody, rng=generator(seed, AGREEMENT))
    mean = np.asarray(mean, float) * rows.sum()
    return Sums(int(rows.sum()), mean[:d], symmetric(mean[d:], d))


def symmetric(upper: np.ndarray, d: int) -> np.ndarray:
    """A symmetric matrix ``[d, d]`` from its upper triangle, row by row."""
    whole_one = np.zeros((d, d))
    whole_one[np.triu_indices(d)] = upper
    return whole_one + np.triu(whole_one, 1).T


@one_core()
def from_sums(total: Sums, count: int | None = None) -> Components:
    """The components that follow from sums.

    Parameters
    ----------
    total
        Of all hospitals.
    count
        How many components; None lets `gavish_donoho` decide.

    Raises
    ------
    ValueError
        If `count` is no whole number of at least 0, or there are fewer than two scans.
    """
    whole("total.rows", total.rows, 2)
    mean = total.first / total.rows
    covariance = total.second / total.rows - np.outer(mean, mean)
    variances, directions = np.linalg.eigh((covariance + covariance.T) / 2)
    return _counted(total.rows, mean, np.maximum(variances[::-1], 0), directions[:, ::-1].T, count)


@one_core()
def from_rows(scans: np.ndarray, count: int | None = None) -> Components:
    """The same components from scans in one place, faster where there are fewer scans than pixels.

    Raises
    ------
    ValueError
        As `from_sums`.
    """
    scans = _rows(scans)
    whole("total.rows", len(scans), 2)
    if len(scans) > scans.shape[1]:
        return from_sums(sums_of(scans), count)
    mean = scans.mean(0)
    _, sizes, directions = np.linalg.svd(scans - mean, full_matrices=False)
    variances = np.zeros(scans.shape[1])
    variances[: len(sizes)] = sizes**2 / len(scans)
    # The last direction of centred scans has no variance: rounding alone chose it.
    return _counted(len(scans), mean, variances, directions[: len(scans) - 1], count)


def _counted(rows, mean, variances, directions, count) -> Components:
    found = Components(rows, mean, variances, directions, 0)
    # More components than scans less two leave nothing over of the scans themselves.
    most = max(min(rows - 2, len(directions)), 0)
    return found.at(min(threshold_count(found) if count is None else whole("count", count, 0), most))


def threshold_count(components: Components) -> int:
    """How many singular values stand above Gavish and Donoho's threshold; see `how_many.gavish_donoho`."""
    d = len(components.mean)
    seen = min(components.rows - 1, d)
    singular = np.sqrt(components.variances[:seen] * components.rows)
    omega = np.polyval(_OMEGA, min(components.rows, d) / max(components.rows, d))
    return int((singular > omega * np.median(singular)).sum())


def fit(parts: Sequence[np.ndarray], *, count: int | None = None, aggregator=None, seed: int = 0) -> Components:
    """Components of all hospitals' scans, by way of their sums.

    Parameters
    ----------
    parts
        Each hospital's normal scans ``[n, d]``.
    count, aggregator, seed
        As in `from_sums` and `together`.

    Raises
    ------
    ValueError
        As `from_sums` and `together`.
    """
    if len(parts) == 1 and aggregator is None:
        return from_rows(parts[0], count)
    return from_sums(together([sums_of(p) for p in parts], aggregator=aggregator, seed=seed), count)


def folded(parts: Sequence[np.ndarray], folds: int = 4, *, aggregator=None, seed: int = 0):
    """Components of all scans, and for each fold those of the others with the fold's own scans beside them.

    Scan i of a hospital is in fold i modulo `folds`. What travels is one sum for each fold; the others follow.

    Parameters
    ----------
    parts, aggregator, seed
        As in `fit`.
    folds
        How many; fewer where the smallest hospital is all there is and has fewer scans.

    Returns
    -------
    Components, list
        Of all scans; and pairs of components and the scans ``[m, d]`` that these did not see.

    Raises
    ------
    ValueError
        As `fit`, or if there are fewer than two folds.
    """
    parts, folds = [_rows(p) for p in parts], whole("folds", folds, 2)
    held = [[p[f::folds] for p in parts] for f in range(folds)]
    if len(parts) == 1 and aggregator is None:
        (own,) = parts
        mine = np.arange(len(own)) % folds
        return from_rows(own), [(from_rows(own[mine != f]), own[mine == f]) for f in range(folds) if f in mine]
    sums = [
        together([sums_of(p) for p in fold], aggregator=aggregator, seed=seed * folds + f)
        for f, fold in enumerate(held)
    ]
    total = sum(sums[1:], sums[0])
    pairs = [(from_sums(total - s), np.vstack(fold)) for s, fold in zip(sums, held, strict=True)]
    return from_sums(total), pairs


def fixed(directions: np.ndarray) -> Components:
    """Components that nobody learnt: orthonormal `directions` ``[m, d]``, all of which count, and mean 0."""
    directions = _rows(directions)
    d = directions.shape[1]
    return Components(0, np.zeros(d), np.zeros(d), directions, len(directions))


def cosines(count: int, side: int = 28) -> np.ndarray:
    """The smoothest cosine waves of a square image, orthonormal, ``[count, side^2]``: a basis that tells of nobody."""
    count = whole("count", count)
    if count > side**2:
        raise ValueError(f"count must be at most the {side**2} pixels; got {count}.")
    y, x = np.divmod(np.arange(side**2), side)
    order = np.argsort(x**2 + y**2, kind="stable")[:count]
    waves = np.zeros((count, side**2))
    waves[np.arange(count), order] = 1
    return idctn(waves.reshape(count, side, side), axes=(1, 2), norm="ortho").reshape(count, -1)


def _rows(scans, d: int | None = None) -> np.ndarray:
    """Scans as rows of finite numbers."""
    found = numbers("scans", scans.detach() if isinstance(scans, torch.Tensor) else scans, only_finite=True)
    if found.ndim != 2 or (d is not None and found.shape[1] != d):
        raise ValueError(f"scans must be [n, {d or 'd'}], a row of pixels for each; got shape {found.shape}.")
    return found

"""Generators that are made of sums alone: tables by label, a copula for each label, or tables of all pairs by label.

Every record falls into one level of each column (`levels`). What is released are sums over all hospitals of what each
record is in: no rounds, no networks, and a sensitivity that can be read off.

``"tables"``
    How many patients of each label are in each level of each column; given the label, columns are independent.
``"copula"``
    The same, then one correlation of normal scores for each label. Pairs of columns that decide together are kept.
``"pairs"``
    How many patients of each label are in each level of each *pair* of columns: a sum of outer products of 0/1 rows.
    Then rows, relaxed to probabilities, are moved until their own tables match (relaxed projection, Aydore et al.,
    arXiv:2103.06641).

A blank record adds nothing to any sum. Whatever comes after the sums looks at no record, and so costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedlab_utils.fleet import one_thread
from fedlab_utils.synth.levels import Levels
from fedlab_utils.synth.players import Adam
from fedlab_utils.synth.releases import Releases, Sum
from fedlab_utils.synth.simple import Arrays, inverse_normal, latent, steps_of

METHODS = "tables", "copula", "pairs"
TABLES, SCORES = "label-wise tables", "label-wise products of scores"
PAIRS = "label-wise tables of pairs"
MOST_NUMBERS = 2_000_000  # of one release
_FOR_TABLES = 0.6  # of the budget of "copula", as a share of 1 / noise^2
_SPARE = 2.0  # by how much the squared length of a record's scores may exceed its mean before it is cut
_LEAST = 1e-6  # share of a level that no noisy count speaks for
_ROWS, STEPS, _RATE = 1000, 400, 0.1  # of the relaxed projection: rows of all labels, steps, learning rate
_FEWEST = 20  # rows of one label, however many labels there are
_FARTHEST = 40.0  # logarithm of a weight: so far apart all chances are 0 or 1, and none of them overflows


@dataclass(frozen=True)
class Coded:
    """All hospitals' rows as levels.

    Attributes
    ----------
    levels
        How to read them.
    label
        The column that is given, and its number.
    codes
        Of each hospital ``[n, columns]``.
    """

    levels: Levels
    label: str
    codes: Sequence[np.ndarray]

    @property
    def place(self) -> int:
        """The label's number among the columns."""
        return self.levels.names.index(self.label)

    @property
    def classes(self) -> int:
        """Levels of the label."""
        return self.levels.sizes[self.label]

    @property
    def sizes(self) -> list[int]:
        """Levels of the other columns."""
        return [n for name, n in self.levels.sizes.items() if name != self.label]

    @property
    def rows(self) -> int:
        """Of all hospitals."""
        return sum(map(len, self.codes))

    def parts(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each hospital the levels of the label ``[n]`` and of the other columns ``[n, features]``."""
        return [(codes[:, self.place], np.delete(codes, self.place, axis=1)) for codes in self.codes]


def planned(method: str, coded: Coded) -> list[Sum]:
    """The releases of a method, with what is known of them before the first.

    Raises
    ------
    ValueError
        If there are too few columns, or too many numbers would be added up.
    """
    sizes, k = coded.sizes, coded.classes
    size = _sensible(method, k * sum(sizes), coded)
    if method == "tables":
        return [Sum(TABLES, size, 1.0, cells=len(sizes))]
    if len(sizes) < 2:
        raise ValueError(f"method={method!r} needs two columns or more beside {coded.label!r}; take 'tables'.")
    pairs = len(sizes) * (len(sizes) - 1) // 2
    if method == "copula":
        tables = Sum(TABLES, size, _FOR_TABLES, cells=len(sizes))
        about = dict(sensitivity=1 / math.sqrt(2), largest=0.5, step=_fineness(coded)[0])
        return [tables, Sum(SCORES, k * (pairs + 1), 1 - _FOR_TABLES, **about)]
    blocks = k * (sum(sizes) ** 2 - sum(n**2 for n in sizes)) // 2
    _sensible(method, blocks, coded)
    return [Sum(PAIRS, blocks, 1.0, cells=pairs)]


def _sensible(method: str, size: int, coded: Coded) -> int:
    """The same, unless it is too much."""
    if size > MOST_NUMBERS:
        instead = "take 'copula', or give fewer bins" if method == "pairs" else "give fewer bins"
        raise ValueError(
            f"method={method!r} would add up {size:,} numbers for {len(coded.sizes)} columns, and {MOST_NUMBERS:,} are "
            f"the most that is sensible: {instead}."
        )
    return size


def learn(method: str, coded: Coded, releases: Releases, rng: np.random.Generator, bar: Callable) -> Arrays:
    """What `draw` needs: shares of the labels, and levels of each label by shares, correlations or relaxed rows.

    `rng` starts the relaxed rows; `bar` is put around their steps.
    """
    needed = planned(method, coded)
    releases.plan(needed)
    if method == "pairs":
        return _pairs(coded, releases, needed[0], rng, bar)
    counts, noise = releases.total(needed[0], label_tables(coded))
    tables = _split(counts.reshape(coded.classes, -1), coded.sizes)
    labels = _labels_of(tables)
    shares = [_shares(table, labels) for table in tables]
    arrays = {"label_shares": labels / labels.sum(), "total": labels.sum(), "tables": np.concatenate(shares, axis=1)}
    if method == "tables":
        return arrays
    releases.sent_back("label-wise tables", counts.size)
    return arrays | {"correlation": _correlations(coded, releases, needed[1], shares, labels)}


def draw(arrays: Arrays, levels: Levels, label: str, given: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Encoded rows with these levels of the label ``[n]``."""
    sizes = [n for name, n in levels.sizes.items() if name != label]
    codes = np.zeros((len(given), len(sizes)), int)
    for k in np.unique(given):
        mine = given == k
        if "rows" in arrays:
            row = rng.integers(arrays["rows"].shape[1], size=mine.sum())
            chances = _split(arrays["rows"][k][row].astype(float), sizes)
            levels_of = [_choose(p.cumsum(1), rng.random((mine.sum(), 1))) for p in chances]
        else:
            scores = rng.standard_normal((mine.sum(), len(sizes)))
            if "correlation" in arrays:
                values, vectors = np.linalg.eigh(arrays["correlation"][k])
                scores = scores @ (vectors * np.sqrt(values.clip(min=0))).T
            edges = [inverse_normal(p.cumsum()[:-1]) for p in _split(arrays["tables"][k], sizes)]
            levels_of = [np.searchsorted(e, s) for e, s in zip(edges, scores.T, strict=True)]
        codes[mine] = np.stack(levels_of, axis=1)
    return levels.rows(np.insert(codes, levels.names.index(label), given, axis=1), rng)


def _choose(rising: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The first level whose cumulated chance is above a draw, row by row."""
    return np.minimum((where * rising[:, -1:] >= rising).sum(1), rising.shape[1] - 1)


def _split(table: np.ndarray, sizes: Sequence[int]) -> list[np.ndarray]:
    """The columns of a table, one group for each feature."""
    return np.split(table, np.cumsum(sizes)[:-1], axis=-1)


def label_tables(coded: Coded) -> np.ndarray:
    """Of each hospital how many patients of each label are in each level of each column, ``[hospitals, numbers]``."""
    found = []
    for label, codes in coded.parts():
        tables = []
        for code, size in zip(codes.T, coded.sizes, strict=True):
            there = (label >= 0) & (code >= 0)
            cell = label[there] * size + code[there]
            table = np.bincount(cell, minlength=coded.classes * size).reshape(-1, size).astype(float)
            tables.append(table)
        found.append(np.concatenate(tables, axis=1).ravel())
    return np.stack(found)


def _labels_of(tables: Sequence[np.ndarray]) -> np.ndarray:
    """Patients of each label, at least 1: the mean over tables, weighted by how little noise their sum holds."""
    weights = np.array([1 / table.shape[1] for table in tables])
    return np.maximum(np.average([table.sum(1) for table in tables], axis=0, weights=weights), 1.0)


def _shares(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Shares of the levels in each label that are nearest to noisy ones, ``[classes, levels]``."""
    shares = np.stack([_simplex(row / n) for row, n in zip(table, labels, strict=True)]) + _LEAST
    return shares / shares.sum(1, keepdims=True)


def _simplex(v: np.ndarray) -> np.ndarray:
    """The nearest numbers that are at least 0 and add up to 1 (Duchi et al. 2008, doi:10.1145/1390156.1390191)."""
    falling = np.sort(v)[::-1]
    excess = (np.cumsum(falling) - 1) / np.arange(1, len(v) + 1)
    return np.maximum(v - excess[np.flatnonzero(falling > excess)[-1]], 0)


def _correlations(
    coded: Coded, releases: Releases, one: Sum, shares: Sequence[np.ndarray], labels: np.ndarray
) -> np.ndarray:
    """Correlations of the normal scores behind the levels, for each label ``[classes, features, features]``.

    A level's score is the mean of the bell curve over the stretch that its share cuts off. Of each record the products
    of its scores are added up to those of its label: the strict upper triangle, and the squared length times a weight
    of at most 1 / sqrt(2 p). The squared length of all that is at most half of the length of the scores to the fourth,
    since ``sum(s^4) >= (sum(s^2))^2 / p``; and scores are cut to a length that follows from the tables, and divided by
    it. They lie on a grid, so that sums of their products are exact.
    """
    p, classes = len(shares), coded.classes
    steps = [[steps_of(table[k]) for table in shares] for k in range(classes)]
    coefficients = np.array([[c for _, c in own] for own in steps])  # [classes, features, degrees]
    variance = (coefficients**2).sum(2)
    longest = float(variance.sum(1).max()) + _SPARE  # squared
    upper, weight = np.triu_indices(p, 1), _fineness(coded)[2]
    scores = [[means for means, _ in own] for own in steps]
    total, noise = releases.total(one, products(coded, scores, longest))
    total, noise = total.reshape(classes, -1) * longest, noise * longest
    releases.sent_back("correlations", total.size)
    everybody = labels.sum()
    together = labels @ variance / everybody, everybody, noise * math.sqrt(classes)
    pooled, doubt = _read(total.sum(0), *together, upper, weight)
    pooled = _shrunk(pooled, doubt, 0.0, noise)
    found = []
    for k in range(classes):
        own, doubt = _read(total[k], variance[k], labels[k], noise, upper, weight)
        own = _shrunk(own, doubt, pooled, noise)
        size = np.sqrt(variance[k])
        covariance = np.zeros((p, p))
        covariance[upper] = own * size[upper[0]] * size[upper[1]]
        found.append(latent(covariance + covariance.T, coefficients[k]))
    return np.stack(found)


def products(coded: Coded, scores: Sequence[Sequence[np.ndarray]], longest: float) -> np.ndarray:
    """Of each hospital the products of scores by label, ``[hospitals, classes (p (p - 1) / 2 + 1)]``.

    `scores` are those of each label's levels, column by column; their squared length is cut to `longest`, then 1.
    """
    (_, grid, weight), upper = _fineness(coded), np.triu_indices(len(coded.sizes), 1)
    found = []
    for label, codes in coded.parts():
        parts = []
        for k, own in enumerate(scores):
            mine = codes[label == k]
            table = np.stack([np.where(c >= 0, score[c], 0.0) for c, score in zip(mine.T, own, strict=True)], axis=1)
            table = _cut(table / math.sqrt(longest), grid)
            outer = table.T @ table
            parts.append(np.r_[outer[upper], np.trace(outer) * weight])
        found.append(np.concatenate(parts))
    return np.stack(found)


def _fineness(coded: Coded) -> tuple[float, float, float]:
    """The step of products, the step of scores and the weight of the squared length: powers of 2.

    As fine as words of 32 bits have room for beside the sum over all hospitals.
    """
    weight = 2.0 ** -math.ceil(math.log2(2 * len(coded.sizes)) / 2)
    room = 30 - math.log2(coded.rows / weight)
    grid = 2.0 ** -max(3, min(12, math.floor(room / 2)))
    return grid**2 * weight, grid, weight


def _cut(scores: np.ndarray, grid: float) -> np.ndarray:
    """Scores ``[n, features]`` on a grid, each row at most 1 long."""
    most = max(0.0, 1 - grid / 2 * math.sqrt(scores.shape[1]))  # a row is so much longer at most after rounding
    length = np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12)
    return np.round(scores * np.minimum(1, most / length) / grid) * grid


def _read(
    sums: np.ndarray, variance: np.ndarray, n: float, noise: float, upper, weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Observed correlations of pairs of scores, and the standard deviation of each, noise and chance together.

    Scores that were cut to length are smaller than they should be: the squared lengths say by how much.
    """
    kept = np.clip(sums[-1] / weight / max(n * variance.sum(), 1e-9), 0.5, 1.1)
    size = np.maximum(np.sqrt(variance[upper[0]] * variance[upper[1]]) * n * kept, 1e-9)
    return np.clip(sums[:-1] / size, -1, 1), np.sqrt((noise / size) ** 2 + 1 / n)


def _shrunk(seen: np.ndarray, doubt: np.ndarray, base: np.ndarray | float, noise: float) -> np.ndarray:
    """Correlations pulled to `base` as far as what differs from it can be doubt alone (empirical Bayes)."""
    if not noise:
        return seen
    differs, weights = seen - base, doubt**-4
    spread = max(0.0, float(np.average(differs**2 - doubt**2, weights=weights)))
    return base + differs * spread / (spread + doubt**2)


def _pairs(coded: Coded, releases: Releases, one: Sum, rng: np.random.Generator, bar: Callable) -> Arrays:
    """Relaxed rows of each label whose tables of pairs are those that were released."""
    sizes, classes = coded.sizes, coded.classes
    width, blocks = sum(sizes), _blocks(sizes)
    total, _ = releases.total(one, pair_tables(coded))
    targets = np.zeros((classes, width, width))
    counts = np.zeros(classes)
    for k, own in enumerate(total.reshape(classes, -1)):
        ends = np.cumsum([targets[k][block].size for block in blocks])
        pieces = np.split(own, ends[:-1])
        for block, piece in zip(blocks, pieces, strict=True):
            targets[k][block] = piece.reshape(targets[k][block].shape)
        weights = [1 / piece.size for piece in pieces]
        counts[k] = max(np.average([piece.sum() for piece in pieces], weights=weights), 1.0)
        targets[k] = (targets[k] + targets[k].T) / counts[k]
    rows = _relaxed(torch.from_numpy(targets).float(), sizes, rng, bar)
    return {"label_shares": counts / counts.sum(), "total": counts.sum(), "rows": rows.numpy()}


def pair_tables(coded: Coded) -> np.ndarray:
    """Of each hospital how many patients of each label are in each level of each pair of columns."""
    blocks, found = _blocks(coded.sizes), []
    for label, codes in coded.parts():
        outer = [_outer(codes[label == k], coded.sizes) for k in range(coded.classes)]
        found.append(np.concatenate([own[block].ravel() for own in outer for block in blocks]))
    return np.stack(found)


def _blocks(sizes: Sequence[int]) -> list[tuple[slice, slice]]:
    """Where the table of each pair of columns stands in the outer product of 0/1 rows, above the diagonal."""
    ends = np.cumsum(sizes).tolist()
    of = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    return [(of[i], of[j]) for i in range(len(of)) for j in range(i + 1, len(of))]


def _outer(codes: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Sum of the outer products of 0/1 rows ``[width, width]``; what has no level is 0 throughout."""
    hot = [np.eye(size + 1, dtype=np.float32)[code][:, :size] for code, size in zip(codes.T, sizes, strict=True)]
    rows = np.hstack(hot)
    return (rows.T @ rows).astype(float)


def _relaxed(targets: Tensor, sizes: Sequence[int], rng: np.random.Generator, bar: Callable) -> Tensor:
    """Rows of chances ``[classes, rows, width]`` whose mean outer product is near the targets beside the diagonal."""
    classes, width = targets.shape[:2]
    start = rng.standard_normal((classes, max(_ROWS // classes, _FEWEST), width)).astype(np.float32) / 2
    rows = torch.from_numpy(start)
    into = torch.block_diag(*[torch.ones(size, 1) for size in sizes])  # 1 where a place is of a column
    back, apart = into.T.contiguous(), 1 - into @ into.T
    adam = Adam([rows], _RATE)

    def chances() -> Tensor:
        weights = rows.exp()
        return weights.mul_((1 / (weights @ into)) @ back)

    with one_thread():
        for _ in bar(range(STEPS)):
            shares = chances()
            far = (shares.transpose(1, 2) @ shares / shares.shape[1] - targets).mul_(apart)
            pull = (shares @ far.mul_(4 / shares.shape[1])).mul_(shares)  # of the sum of squares of `far`
            adam.step([pull.sub_(shares * (pull @ into @ back))])
            rows.clamp_(-_FARTHEST, _FARTHEST)
        return chances()

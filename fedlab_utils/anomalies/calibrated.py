"""A score that holds for anomalies nobody planned: all maps count, each against what it is on normal scans.

The largest value of a map of one width cannot be compared with that of another: on normal scans one is usually 3, the
other 5. So each is measured on normal *training* scans by components that did not see them (cross-fitted), and its
logarithm becomes a z-score. The largest z is the score. Hospitals send more sums for that: of five numbers a scan, of
their squares, and a histogram for the threshold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils._arguments import brief, number
from fedlab_utils.anomalies.components import Components, folded
from fedlab_utils.anomalies.scores import Model, maps, peaks
from fedlab_utils.data.bounded import quantile_from_histogram
from fedlab_utils.federated.aggregators import OpenSum
from fedlab_utils.fleet.randomness import AGREEMENT, generator

EDGES = np.linspace(-4, 12, 321)  # public bins of z-scores, for the threshold


@dataclass(frozen=True, eq=False, repr=False)
class Detector:
    """Components, and what their maps are on normal scans.

    Attributes
    ----------
    model
        What is normal: whatever leaves a residual.
    centre, spread
        Mean and standard deviation of the logarithm of each map's largest value, on normal scans, ``[5]``.
    threshold
        A normal scan has a larger score with probability `aim`.
    aim
        Share of false alarms aimed at.
    """

    model: Model
    centre: np.ndarray
    spread: np.ndarray
    threshold: float
    aim: float

    def __repr__(self) -> str:
        return f"Detector({self.model!r}, threshold {self.threshold:.2f} for {self.aim:.0%} false alarms)"

    def z(self, scans: np.ndarray) -> np.ndarray:
        """The z-score of each map's largest value, ``[n, 5]``."""
        return (np.log(peaks(self.model, scans)) - self.centre) / self.spread

    def score(self, scans: np.ndarray) -> np.ndarray:
        """The largest z-score, ``[n]``."""
        return self.z(scans).max(1)

    def heat(self, scans: np.ndarray) -> np.ndarray:
        """The z-score of each pixel, ``[n, 784]``; its largest value is the score."""
        found = np.log(np.maximum(maps(self.model, scans), 1e-9))
        return ((found - self.centre[:, None]) / self.spread[:, None]).max(1)


def detector(
    parts: Sequence[np.ndarray],
    *,
    model: Model | None = None,
    count: int | None = None,
    folds: int = 4,
    aim: float = 0.05,
    aggregator=None,
    seed: int = 0,
) -> Detector:
    """Learn from hospitals' normal scans what is normal, and how the score comes out on scans not seen.

    Parameters
    ----------
    parts
        Each hospital's normal scans ``[n, 784]``; one hospital learns alone.
    model
        Instead of components of these scans, something that was **not** learnt from them: then all of them are scans
        not seen.
    count
        Number of components; None is Gavish and Donoho's, of all scans together.
    folds
        Of the cross-fitting.
    aim
        Share of false alarms.
    aggregator, seed
        As in `components.together`.

    Raises
    ------
    ValueError
        If an argument cannot be, a hospital has no scan, or there are fewer than six in all.
    """
    if not 0 < number("aim", aim) < 1:
        raise ValueError(f"aim must be above 0 and below 1; got {brief(aim)}.")
    sizes = [len(p) for p in parts]
    if sum(sizes) < 6 or min(sizes) < 1:
        raise ValueError(f"parts must hold six normal scans or more, and each of them one or more; got {sizes}.")
    if model is None:
        model, pairs = folded(parts, folds, aggregator=aggregator, seed=seed)
        model = model if count is None else _at(model, count)
        logs = [np.log(peaks(_at(seen, model.count), held)) for seen, held in pairs]
        by_hospital = _by_hospital(logs, [[len(p[f::folds]) for p in parts] for f in range(len(pairs))])
    else:
        by_hospital = [np.log(peaks(model, p)) for p in parts]
    rows = np.array([len(one) for one in by_hospital], dtype=float)
    n, means = rows.sum(), np.stack([np.concatenate([one.mean(0), (one**2).mean(0)]) for one in by_hospital])
    centre, squares = np.split(_mean(means, rows, aggregator, seed), 2)
    spread = np.sqrt(np.maximum(squares - centre**2, 1e-12) * n / (n - 1))
    scores = [((one - centre) / spread).max(1) for one in by_hospital]
    shares = np.stack([_histogram(s) / len(s) for s in scores])
    counts = np.round(_mean(shares, rows, aggregator, seed + 1) * n)
    return Detector(model, centre, spread, quantile_from_histogram(counts, EDGES, 1 - aim), float(aim))


def _at(components: Components, count: int) -> Components:
    return components.at(min(count, max(components.rows - 2, 0)))


def _by_hospital(logs: Sequence[np.ndarray], sizes: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Each hospital's own rows of all folds: the folds' rows stand hospital after hospital."""
    cut = [np.split(one, np.cumsum(n)[:-1]) for one, n in zip(logs, sizes, strict=True)]
    return [np.vstack(fold) for fold in zip(*cut, strict=True)]


def _histogram(scores: np.ndarray) -> np.ndarray:
    return np.histogram(np.clip(scores, EDGES[0], EDGES[-1]), EDGES)[0].astype(float)


def _mean(vectors: np.ndarray, rows: np.ndarray, aggregator, seed: int) -> np.ndarray:
    """The mean over all scans of hospitals' own means, in the open or through an aggregator."""
    through, everybody = OpenSum() if aggregator is None else aggregator, np.ones(len(rows), dtype=bool)
    mean, _ = through.aggregate(vectors, rows, alive=everybody, rng=generator(seed, AGREEMENT, 1))
    return np.asarray(mean, float)

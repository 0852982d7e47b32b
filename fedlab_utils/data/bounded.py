"""Sums of values between public bounds: what hospitals can send with noise on it, or through a secure sum.

Values are mapped to [-1, 1], so that one patient can add only so much. Medians and other quantiles do not follow from
sums; `private_histogram` counts between public bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fedlab_utils.fleet.randomness import beneath, noise_generator
from fedlab_utils.privacy import Mechanism, RecordDP

NAMES = ("observed", "sum", "squares")  # of the three numbers about a column


def sensitivity(n_columns: int) -> float:
    """The length of what one patient can add to `bounded_sums`, at most.

    To each of p columns a patient with value x adds (1, x, x^2), or nothing if x is missing. Since abs(x) <= 1, the
    squared length of that is 1 + x^2 + x^4 <= 3 in a column, hence at most 3p in all; a patient whose values all lie
    on a bound reaches it.
    """
    return math.sqrt(3 * n_columns)


def bounded_sums(frame: pd.DataFrame, bounds: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Exact count, sum and sum of squares of each column ``[p, 3]``, its values mapped from bounds to [-1, 1].

    Values beyond a bound count as the bound, missing ones not at all.
    """
    sums = np.zeros((len(bounds), 3))
    for row, (column, (low, high)) in zip(sums, bounds.items(), strict=True):
        values = frame[column].to_numpy(float)
        x = np.clip((values[~np.isnan(values)] - (low + high) / 2) / ((high - low) / 2), -1, 1)
        row[:] = len(x), x.sum(), (x**2).sum()
    return sums


def mechanism(promise: RecordDP, units: int | None = None, records: int = 1) -> Mechanism:
    """One release under a promise, of all patients, with its own noise: what to charge for it in the ledger.

    `units` are training rows, `records` the most that one patient has of them; see `privacy.Mechanism`.
    """
    noise = promise.noise(sampling=1.0, steps=1)
    return Mechanism(noise, 1.0, 1, promise.delta, promise.unit, units, secret=promise.secure, records=records)


def moments(sums: np.ndarray, bounds: np.ndarray, rows: int, doubt: float) -> tuple[list[float], list[float]]:
    """Means and standard deviations from sums ``[p, 3]``, whose noise has the standard deviation `doubt`.

    Parameters
    ----------
    sums
        As `bounded_sums` has them, of all hospitals together.
    bounds
        ``[p, 2]``.
    rows
        Of all hospitals, where missing values count too.
    doubt
        Standard deviation of the noise on each number; 0 without noise.
    """
    # Noise may leave a count below 1, or below 0.
    count = np.maximum(sums[:, 0], 1)
    mean = np.clip(sums[:, 1] / count, -1, 1)
    # A variance below its own noise cannot be told from 0, but dividing by such a small number would blow columns up.
    variance = np.clip(sums[:, 2] / count - mean**2, np.minimum(np.maximum(doubt / count, 1e-9), 1), 1)
    filled = variance * np.minimum(count / rows, 1)  # missing values are to become the mean, as in `agree`
    middle, half = bounds.mean(1), np.diff(bounds)[:, 0] / 2
    return (middle + half * mean).tolist(), (half * np.sqrt(filled)).tolist()


def private_histogram(values, edges: Sequence[float], promise: RecordDP, rng: np.random.Generator) -> np.ndarray:
    """Noisy counts of values between edges; not in any ledger until it is added there.

    A patient is in one bin, so a record or a blank in its place changes the counts by a vector of length 1; each count
    gets Gaussian noise of that size times the noise multiplier. Charge it with
    ``ledger.add(..., mechanism=mechanism(promise))``.

    Parameters
    ----------
    values
        One number a patient, ``[n]``. Missing ones are left out, those beyond the edges count in the outer bins.
    edges
        Rising, ``[bins + 1]``, and public knowledge.
    promise
        Of the release: its budget, or its noise multiplier.
    rng
        Where the noise of a demonstration starts (it depends on the counts beneath it as well); else not used.

    Returns
    -------
    ndarray
        ``[bins]``, numbers that need be neither whole nor positive.

    Raises
    ------
    ValueError
        If there is no promise, values are not one number a patient, or edges do not rise.
    """
    if not isinstance(promise, RecordDP):
        raise ValueError(f"promise must be privacy.RecordDP(...); got {promise!r}.")
    if not promise.secure and not isinstance(rng, np.random.Generator):
        raise ValueError(f"rng must be a generator, such as numpy.random.default_rng(0); got {rng!r}.")
    values, edges = np.asarray(values, float), _edges(edges)
    if values.ndim != 1:
        raise ValueError(f"values must be one number a patient, [n]; their shape is {values.shape}.")
    counts, _ = np.histogram(np.clip(values[~np.isnan(values)], edges[0], edges[-1]), edges)
    # Drawn from `rng` alone, two tables would meet the same noise, and their difference would be free of it.
    rng = noise_generator() if promise.secure else np.random.default_rng([int(rng.integers(2**63)), beneath(counts)])
    return counts + rng.normal(0.0, promise.noise(sampling=1.0, steps=1), len(counts))


def quantile_from_histogram(counts: Sequence[float], edges: Sequence[float], q: float) -> float:
    """The value below which a share `q` of a histogram lies; values are taken to be spread evenly within a bin.

    Counts below 0 are noise and become 0; if nothing is left, so are all bins alike. Costs no privacy beyond the
    histogram's.
    """
    counts, edges = np.maximum(np.asarray(counts, float), 0), _edges(edges)
    if counts.shape != (len(edges) - 1,) or not 0 <= q <= 1:
        raise ValueError(f"counts must be one for each of the {len(edges) - 1} bins, and q from 0 to 1; got q={q!r}.")
    if not counts.any():
        counts = np.diff(edges)
    below = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(q * below[-1], below, edges))


def _edges(edges: Sequence[float]) -> np.ndarray:
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges must be at least two rising finite numbers; got {edges.tolist()!r}.")
    return edges

"""How two columns differ, and how columns go together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp


def ks(a: pd.Series, b: pd.Series) -> float:
    """Largest distance of two distribution functions (Kolmogorov, Smirnov), missing values left out.

    Returns
    -------
    float
        From 0 to 1; 1 if only one of the two has any values, 0 if neither has.
    """
    a, b = a.dropna(), b.dropna()
    if a.empty or b.empty:
        return float(a.empty != b.empty)
    return float(ks_2samp(a, b, method="asymp").statistic)


def total_variation(a: pd.Series, b: pd.Series, n_categories: int) -> float:
    """Half the sum of differences of shares, for codes 0, 1, ... with missing values left out.

    Returns
    -------
    float
        From 0 to 1; 1 if only one of the two has any values, 0 if neither has.
    """
    a, b = (np.bincount(x.dropna().astype(int), minlength=n_categories + 1) for x in (a, b))
    if not a.sum() or not b.sum():
        return float(a.sum() != b.sum())
    return float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)


def association(frame: pd.DataFrame, numbers: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """Association of every two columns, numbers first; 0 where a column does not vary.

    Between numbers Spearman's correlation, between categories Cramér's V, and the correlation ratio of ranks between
    one and the other.

    Parameters
    ----------
    frame
        The table, its categories given as codes.
    numbers, categories
        Its columns.

    Returns
    -------
    ndarray
        ``[columns, columns]``; Spearman's from -1 to 1, the others from 0 to 1. The diagonal of the categories is 0.
    """
    ranks, codes = frame[list(numbers)].rank(), frame[list(categories)].to_numpy()
    p, q = ranks.shape[1], len(categories)
    matrix = np.zeros((p + q, p + q))
    matrix[:p, :p] = np.nan_to_num(ranks.corr().to_numpy())
    for j in range(q):
        mixed = [correlation_ratio(codes[:, j], ranks[c].to_numpy()) for c in numbers]
        alike = [cramers_v(codes[:, i], codes[:, j]) for i in range(j)]
        matrix[: p + j, p + j] = matrix[p + j, : p + j] = [*mixed, *alike]
    return matrix


def correlation_ratio(codes: np.ndarray, values: np.ndarray) -> float:
    """Root of the share of the variance of `values` that lies between the groups of `codes`."""
    seen = ~(np.isnan(codes) | np.isnan(values))
    codes, values = codes[seen].astype(int), values[seen]
    if not len(values) or np.ptp(values) == 0:
        return 0.0
    values = values - values.mean()
    sums, counts = np.bincount(codes, values), np.bincount(codes)
    between = (sums**2 / np.maximum(counts, 1)).sum()
    return float(np.sqrt(between / (values**2).sum()))


def cramers_v(a: np.ndarray, b: np.ndarray) -> float:
    """Cramér's V, bias-corrected (Bergsma 2013, doi:10.1016/j.jkss.2012.10.002)."""
    seen = ~(np.isnan(a) | np.isnan(b))
    n = seen.sum()
    if not n:
        return 0.0
    (_, a), (_, b) = (np.unique(x[seen], return_inverse=True) for x in (a, b))
    r, c = a.max() + 1, b.max() + 1
    if min(r, c, n - 1) < 2:
        return 0.0
    table = np.bincount(a * c + b, minlength=r * c).reshape(r, c)
    expected = table.sum(1, keepdims=True) * table.sum(0) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    narrow = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(1.0, float(np.sqrt(phi2 / narrow))) if narrow > 0 else 0.0

"""Rows of a table as points: how far apart they are, and which are the same row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

STEPS = np.array([m * 10.0**e for e in range(2, -7, -1) for m in (5, 2, 1)])  # 500, 200, 100, 50, ..., 1e-6


def points(frames: Sequence[pd.DataFrame], *, like: pd.DataFrame, categories: Collection[str]) -> list[np.ndarray]:
    """Rows as points: numbers standardised by `like`, a coordinate for each category, one for "missing".

    A missing number sits at the mean and differs in a coordinate of its own. Two categories are as far apart as two
    numbers are on average, the square root of 2.

    Parameters
    ----------
    frames
        Tables with the columns of `like`.
    like
        Whose means and spreads count.
    categories
        Columns that hold categories; the others hold numbers.

    Returns
    -------
    list of array
        ``[rows, d]`` for each table. A coordinate in which no row differs is left out.
    """
    everything = pd.concat([frame[list(like.columns)] for frame in frames], ignore_index=True)
    columns = []
    for name, values in everything.items():
        if name in categories:
            columns.append(pd.get_dummies(values.astype(object), dummy_na=True))
        else:
            numbers, own = values.astype(float), like[name].astype(float)
            spread = own.std()
            scaled = (numbers - own.mean()) / (spread if spread > 0 else 1.0)  # a constant column has no spread
            columns += [scaled.fillna(0), values.isna()]
    found = np.column_stack([np.asarray(c, dtype=float) for c in columns])
    found = found[:, found.std(0) > 0]
    return np.split(found, np.cumsum([len(frame) for frame in frames])[:-1])


def nearest(points: np.ndarray, among: np.ndarray, k: int = 1) -> np.ndarray:
    """Distance of each point to its k-th nearest `among`, ``[n]``."""
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(among).kneighbors(points)[0][:, -1]


def on_grid(values: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Whether values are multiples of a step; missing ones are."""
    ratio = values / step
    slack = np.clip(1e-6 * np.abs(ratio), 1e-6, 1e-3)  # for what went through 32-bit numbers
    return np.isnan(ratio) | (np.abs(ratio - np.round(ratio)) < slack)


def step_of(column: pd.Series) -> float:
    """What a column is rounded to, or about a thousandth of its standard deviation if to nothing."""
    values = column.to_numpy()
    fits = on_grid(values[:, None], STEPS).mean(0) > 0.99  # missing values fit
    if fits.any():
        return float(STEPS[fits.argmax()])
    return float(10.0 ** np.floor(np.log10(max(np.nanstd(values), STEPS[-1]) / 1000)))


def keys(frame: pd.DataFrame, *, categories: Collection[str], steps: Mapping[str, float] | None = None) -> pd.Series:
    """One number for each row, the same for rows that are equal: after rounding to `steps`, or else exactly."""
    alike = {}
    for name, values in frame.items():
        if name in categories:
            alike[name] = values.astype(object).where(values.notna(), None)
        else:
            number = values.astype(float)
            number = np.round(number / steps[name]) if steps else number
            alike[name] = (number + 0.0).fillna(np.inf)  # neither -0.0 nor the many bit patterns of NaN
    return pd.util.hash_pandas_object(pd.DataFrame(alike), index=False)


def share_among(
    frame: pd.DataFrame, real: pd.DataFrame, *, categories: Collection[str], steps: Mapping[str, float]
) -> float:
    """Which share of rows stands in the other table."""
    theirs = keys(real, categories=categories, steps=steps)
    return float(keys(frame, categories=categories, steps=steps).isin(theirs).mean())

"""On which values the numbers of a column lie: a step, two steps, or a list of few values that fit no step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FEW_VALUES = 10  # numbers with no more values than this are drawn as categories
_MOST_DECIMALS = 6
_TOLERANCE = {"float32": 5e-7, "float16": 2e-3}  # relative error of a decimal number in short types
_ROWS_A_VALUE = 4  # a column has few values if so many rows share one on average,
_MOST_ALONE = 0.1  # and no more of its rows hold a value of their own: so likely is a value that is not seen yet
_FULL = 0.25  # of the places on its grid: where more of them are taken, the grid says enough


@dataclass(frozen=True)
class Grid:
    """Which values a number can have.

    Attributes
    ----------
    step, coarse, decimals, support
        As in `encoding.Column`.
    """

    step: float
    decimals: int | None = None
    coarse: float = 0.0
    support: tuple[float, ...] = ()

    @property
    def in_words(self) -> str:
        """Its steps, the coarser one first."""
        return " or ".join([f"{self.coarse:g}"] * bool(self.coarse) + [_or_none(self.step, self.decimals)])


def _or_none(step: float, decimals: int | None) -> str:
    return "none" if decimals is None else f"{step:g}"


def find(numbers: np.ndarray, low: float, high: float, dtype: str) -> Grid:
    """What the numbers of a column show, ``[n]`` of them between `low` and `high`."""
    tolerance = _TOLERANCE.get(dtype.lower(), 1e-13)
    step, decimals = _granularity(numbers, low, high, tolerance)
    coarse = _coarse(numbers, step)
    return Grid(step, decimals, coarse, _support(numbers, step, coarse))


def given(name: str, granularity: float | Sequence[float], numbers: np.ndarray, low: float) -> Grid:
    """What is known of a column without its rows: a step, or a list of all values that it can have.

    Raises
    ------
    ValueError
        If `granularity` is neither, or a number of the column is not on the list.
    """
    what = f"granularity[{name!r}]"
    if isinstance(granularity, int | float | np.number):
        if isinstance(granularity, bool) or not 0 < granularity < np.inf:
            raise ValueError(f"{what} must be a positive number, or a list of values; got {granularity!r}.")
        step = float(granularity)
        exact = (d for d in range(_MOST_DECIMALS) if step == round(step, d) and low == round(low, d))
        return Grid(step, next(exact, None))
    try:
        values = np.unique(np.asarray(list(granularity), float))
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{what} must be a positive number, or a list of values; got {granularity!r}.")
    closest = values[np.abs(numbers[:, None] - values).argmin(1)]
    off = np.abs(closest - numbers) > 1e-6 * np.abs(numbers)
    if off.any():
        raise ValueError(f"{name!r} holds {numbers[off][0]:g}, which is none of the {len(values)} values of {what}.")
    return Grid(float(np.diff(values).min()), None, 0.0, tuple(values.tolist()))


def _granularity(numbers: np.ndarray, low: float, high: float, tolerance: float) -> tuple[float, int | None]:
    """The largest step on which all numbers lie, and its decimals; a millionth of the range if there is none.

    `tolerance` is relative to each number: what the arithmetic of its type may have left behind.
    """
    for decimals in range(_MOST_DECIMALS + 1):
        scaled = np.round(numbers, decimals) * 10.0**decimals
        if np.abs(scaled).max() > 2**52:
            break
        if (np.abs(np.round(numbers, decimals) - numbers) <= tolerance * np.abs(numbers)).all():
            step = int(np.gcd.reduce(np.round(scaled - low * 10.0**decimals).astype(np.int64)))
            return (step or 1) / 10.0**decimals, decimals
    return max((high - low) / 2**20, max(abs(low), abs(high)) / 2**40) or 1.0, None


def _coarse(numbers: np.ndarray, step: float) -> float:
    """The largest of 1, .1, .01, ... that at least half of the numbers are rounded to, but not all; 0 if none."""
    for coarse in 10.0 ** -np.arange(_MOST_DECIMALS):
        fits = is_round(numbers, step, coarse)
        if coarse < 4 * step or fits.all():  # of halves, say, every other one is whole by chance
            return 0.0
        if fits.mean() >= 0.5 and len(np.unique(numbers[fits])) > FEW_VALUES:
            return float(coarse)
    return 0.0


def _support(numbers: np.ndarray, step: float, coarse: float) -> tuple[float, ...]:
    """The values of a column that has few and whose grid is nearly empty; of its finer ones where it has two steps.

    By Turing's estimate (Good 1953, doi:10.1093/biomet/40.3-4.237) the share of rows that hold a value of their own
    is how likely the next row holds one that is not seen yet: a list of values is only right where that is small.
    """
    numbers = numbers[~is_round(numbers, step, coarse)]
    values, rows = np.unique(numbers, return_counts=True)
    many = _ROWS_A_VALUE * len(values) > len(numbers) or (rows == 1).sum() > _MOST_ALONE * len(numbers)
    if many or len(values) > _FULL * (1 + np.ptp(values) / step):
        return ()
    return tuple(values.tolist())


def is_round(numbers: np.ndarray, step: float, coarse: float) -> np.ndarray:
    """Which numbers are multiples of `coarse`; none if that is 0."""
    if not coarse:
        return np.zeros(len(numbers), bool)
    return np.abs(np.round(numbers / coarse) * coarse - numbers) < step / 2


def dither(numbers: np.ndarray, step: float, coarse: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers spread over all that are rounded to them, round ones more widely."""
    width = np.where(is_round(numbers, step, coarse), coarse, step)
    return numbers + width * (rng.random(len(numbers)) - 0.5)

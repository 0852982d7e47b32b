"""From numbers to whole numbers and back: masks add up modulo a power of two, and so must what they hide."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedlab_utils._arguments import draws, number, numbers, whole

BITS = (8, 16, 32, 64)

_SMALLEST = 1e-30  # limit; numbers beyond it are nothing that a model holds


def checked_bits(bits) -> int:
    """Bits of a word: 8, 16, 32 or 64."""
    if isinstance(bits, bool) or not isinstance(bits, int | float | np.number) or bits not in BITS:
        raise ValueError(f"bits must be 8, 16, 32 or 64; got {bits!r}.")
    return int(bits)


@dataclass(frozen=True)
class Grid:
    """Evenly spaced levels from ``-limit`` to ``limit``, so many that a sum over all rows fits into a word.

    Parameters
    ----------
    limit
        Largest size of a value.
    bits
        Of a word: 8, 16, 32 or 64.
    max_rows
        Most rows that all hospitals have together. A sum of levels, each times its hospital's rows, is at most
        ``levels * max_rows < 2**bits``: nothing overflows.

    Raises
    ------
    ValueError
        If no level is left beside this many rows.
    """

    limit: float
    bits: int
    max_rows: int

    def __post_init__(self) -> None:
        if not _SMALLEST <= number("limit", self.limit) <= 1 / _SMALLEST:
            raise ValueError(f"limit must be from {_SMALLEST:g} to {1 / _SMALLEST:g}; got {self.limit}.")
        object.__setattr__(self, "bits", checked_bits(self.bits))
        object.__setattr__(self, "max_rows", whole("max_rows", self.max_rows))
        if self.max_rows >= 2**self.bits:
            raise ValueError(
                f"max_rows must be below 2**{self.bits} for words of {self.bits} bits; got {self.max_rows}."
            )

    @property
    def levels(self) -> int:
        """Steps from ``-limit`` to ``limit``."""
        return min((2**self.bits - 1) // self.max_rows, 2**44)  # with more, float64 would blur the coins

    @property
    def step(self) -> float:
        """Distance between two levels, in units of the values."""
        return 2 * self.limit / self.levels

    @property
    def dtype(self) -> np.dtype:
        """Unsigned whole numbers of so many bits."""
        return np.dtype(f"<u{self.bits // 8}")


def encode(values: np.ndarray, weight: int, grid: Grid, rng: np.random.Generator) -> np.ndarray:
    """Words whose sum over hospitals gives the weighted mean, and not one hospital's number of rows.

    Each value is rounded to one of the two levels beside it, up or down by a coin that makes the mean right, and
    multiplied by the hospital's rows. The rows follow as the last word.

    Parameters
    ----------
    values
        ``[d]``, from ``-grid.limit`` to ``grid.limit``.
    weight
        The hospital's rows, from 1 to ``grid.max_rows``.
    grid
        The levels.
    rng
        Coins of the rounding.

    Returns
    -------
    ndarray
        ``[d + 1]``, words of ``grid.dtype``.

    Raises
    ------
    ValueError
        If a value or the weight is out of range: a word that wraps around would spoil the sum silently. Or if another
        argument does not fit.
    """
    values = numbers("values", values)
    draws("rng", rng)
    _checked_grid(grid)
    largest = np.abs(values).max(initial=0)
    if values.ndim != 1 or not largest <= grid.limit:
        wrong = f"; their shape is {values.shape}" if values.ndim != 1 else ", and one is not"  # values stay secret
        raise ValueError(f"values must be a row of finite numbers within limit = {grid.limit:g} of 0{wrong}.")
    if whole("weight", weight) > grid.max_rows:
        raise ValueError(f"weight must be at most max_rows = {grid.max_rows}; got {weight}.")
    position = (values + grid.limit) / grid.step
    level = np.minimum(np.floor(position + rng.random(len(values))), grid.levels).astype(grid.dtype)
    return np.append(level * grid.dtype.type(weight), grid.dtype.type(weight))


def decode(total: np.ndarray, grid: Grid) -> tuple[np.ndarray, int]:
    """Weighted mean and number of rows, from the sum of what `encode` gave.

    Parameters
    ----------
    total
        ``[d + 1]``, sum of words, modulo ``2**grid.bits``.
    grid
        The levels.

    Returns
    -------
    mean, rows
        The mean ``[d]`` in float64, and the rows of all hospitals in the sum.

    Raises
    ------
    ValueError
        If the number of rows is 0 or above ``grid.max_rows``, or `total` is no row of words.
    """
    _checked_grid(grid)
    if not isinstance(total, np.ndarray) or total.ndim != 1 or not len(total) or total.dtype != grid.dtype:
        got = f"{total.dtype} {total.shape}" if isinstance(total, np.ndarray) else type(total).__name__
        raise ValueError(f"total must be a row of words, {grid.dtype.name}, the last of them the rows; got {got}.")
    rows = int(total[-1])
    if not 1 <= rows <= grid.max_rows:
        raise ValueError(f"total must be a sum over 1 to max_rows = {grid.max_rows} rows; it says {rows}.")
    return total[:-1] / rows * grid.step - grid.limit, rows


def _checked_grid(grid) -> None:
    if not isinstance(grid, Grid):
        raise ValueError(f"grid must be a Grid; got {type(grid).__name__}.")

"""Rows as levels: which category, or which bin between public bounds, each value is in.

A sum of counts needs few levels a column. A number's bins hold equally many places of its grid each; drawn back, each
place in a bin is equally likely. What may be missing has a level more, the last. A value that the public knowledge has
no place for, such as a gap where none may be, has no level: it counts nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from fedlab_utils.data.schema import as_numbers
from fedlab_utils.synth.encoding import SCORES, Column, Encoder

_MOST_PLACES = 2**31  # on the grid of a number; finer ones are cut into so many


@dataclass(frozen=True)
class Levels:
    """The levels of all columns.

    Attributes
    ----------
    encoder
        Public knowledge of the columns.
    bins
        The most bins of a number.
    """

    encoder: Encoder
    bins: int

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return [column.name for column in self.encoder.columns]

    @cached_property
    def sizes(self) -> dict[str, int]:
        """How many levels each column has."""
        found = {}
        for column in self.encoder.columns:
            own = len(column.values) if not column.is_number else len(_bins(column, self.bins)) - 1
            found[column.name] = own + column.missing
        return found

    def codes(self, frame: pd.DataFrame) -> np.ndarray:
        """The level of each value ``[n, columns]``, -1 where there is none."""
        return np.stack([self._codes(column, frame[column.name]) for column in self.encoder.columns], axis=1)

    def _codes(self, column: Column, values: pd.Series) -> np.ndarray:
        if not column.is_number:
            return column.codes(values)
        numbers = as_numbers(values).to_numpy(float)
        gone = np.isnan(numbers)
        numbers = np.clip(np.where(gone, column.low, numbers), column.low, column.high)
        place = np.round((numbers - column.low) / _step(column))
        edges = _bins(column, self.bins)
        code = np.searchsorted(edges, place, "right") - 1
        return np.where(gone, len(edges) - 1 if column.missing else -1, np.minimum(code, len(edges) - 2))

    def rows(self, codes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Encoded rows ``[n, width]``, as the encoder reads them, with these levels ``[n, columns]``."""
        return np.hstack([self._encoded(c, code, rng) for c, code in zip(self.encoder.columns, codes.T, strict=True)])

    def _encoded(self, column: Column, code: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        if not column.is_number:
            return np.eye(column.width)[code]
        edges = _bins(column, self.bins)
        gone = code == len(edges) - 1
        first = np.where(gone, 0, code)
        place = edges[first] + np.floor(rng.random(len(code)) * (edges[first + 1] - edges[first]))
        score = np.interp(column.low + place * _step(column), column.knots, SCORES)
        if not column.missing:
            return score[:, None]
        return np.column_stack([np.where(gone, 0.0, score), ~gone, gone])


def _places(column: Column) -> int:
    """How many values a number can have."""
    return round((column.high - column.low) / _step(column)) + 1


def _step(column: Column) -> float:
    return max(column.step, (column.high - column.low) / _MOST_PLACES) or 1.0


def _bins(column: Column, most: int) -> np.ndarray:
    """Where bins begin, in places of the column's grid, and where the last ends."""
    places = _places(column)
    width = -(-places // most)
    return np.r_[np.arange(0, places, width), places]

"""Columns of a table to numbers that a network can make, and back to the column's own values.

A *number* becomes a normal score: where it stands among the column's values, read off the bell curve. So every
number has the same shape, whatever its unit and however skewed. A *category* becomes one 0/1 column for each
value. What is missing is a category too: a value of its own among the categories, and for a number two more
columns, "there" and "missing". On the way back a number is rounded to the column's granularity and moved into
its bounds, so that whole numbers stay whole. Where tables of several sources were put together, some numbers of a
column are rounder than others: then "there" becomes two columns, "round" and "fine". Where a column has few values
and these lie on no grid (.89990234, 1.2001953, ...), a number becomes the nearest of them: its support.

What these rules need is either public knowledge (`Schema`) or learnt from the rows (`Encoder.learnt`); whatever
is learnt from patients has to be paid for when the result is to be private.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief, numbers, one_of, whole
from fedlab_utils.data import cells
from fedlab_utils.data import schema as schemas
from fedlab_utils.fidelity import reading
from fedlab_utils.synth import grids
from fedlab_utils.synth.grids import FEW_VALUES

Transform = Literal["quantile", "linear"]

SCORES = np.linspace(-4, 4, 401)  # the normal scores at which a column's quantiles are kept
_LEVELS = np.array([(1 + math.erf(z / math.sqrt(2))) / 2 for z in SCORES])


@dataclass(frozen=True)
class Column:
    """One column and how to make it.

    Attributes
    ----------
    name, dtype
        As in the table.
    missing
        Whether a value can be missing.
    values
        Of a category; empty for a number.
    ordered
        Whether the categories have an order (pandas' categorical columns).
    low, high, step, decimals
        Of a number: bounds, granularity, and the decimals to round to (None: as they come).
    coarse
        Of a number: the coarser granularity of those that are rounder than the others; 0 if all are alike.
    knots
        Of a number: its values at the normal scores `SCORES`, rising.
    support
        Of a number with few values that lie on no grid: these values, rising; with `coarse`, of the finer ones.
    """

    name: str
    dtype: str
    missing: bool
    values: tuple = ()
    ordered: bool = False
    low: float = 0.0
    high: float = 0.0
    step: float = 0.0
    decimals: int | None = None
    coarse: float = 0.0
    knots: tuple[float, ...] = ()
    support: tuple[float, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether it is made as a number; otherwise it is drawn as a category."""
        return bool(self.knots)

    @property
    def in_words(self) -> str:
        """Which values it can have."""
        if self.is_number:
            what = f"{self.low:g} to {self.high:g}, by {self.step:g}"
        else:
            what = ", ".join(map(str, self.values))
        return what + (", or missing" if self.missing else "")

    @property
    def width(self) -> int:
        """Columns of the encoded table that it takes."""
        if not self.is_number:
            return len(self.values) + self.missing
        kinds = 1 + bool(self.coarse) + self.missing  # round or fine, missing
        return 1 + (kinds if kinds > 1 else 0)

    def encode(self, column: pd.Series, rng: np.random.Generator) -> np.ndarray:
        """Normal scores or 0/1 columns, ``[n, width]``.

        Raises
        ------
        ValueError
            If a category is unknown, or a number is missing where none was.
        """
        if not self.is_number:
            code = self.codes(column)
            if (code < 0).any():
                stray = column[code < 0].tolist()[0]
                raise ValueError(f"{self.name!r} holds {stray!r}, which is none of {list(self.values)}.")
            return np.eye(self.width)[code]
        numbers = _numbers(column)
        gone = np.isnan(numbers)
        if gone.any() and not self.missing:
            raise ValueError(f"{self.name!r} has missing values, and had none in the table that was learnt.")
        numbers = np.clip(numbers, self.low, self.high)
        is_round = grids.is_round(numbers, self.step, self.coarse)
        score = np.where(gone, 0.0, np.interp(grids.dither(numbers, self.step, self.coarse, rng), self.knots, SCORES))
        kinds = [is_round, ~is_round & ~gone] if self.coarse else [~gone]
        kinds += [gone] if self.missing else []
        return np.column_stack([score, *(kinds if len(kinds) > 1 else [])])

    def decode(self, encoded: np.ndarray) -> pd.Series:
        """The inverse of `encode`; of each group of 0/1 columns the largest counts."""
        if not self.is_number:
            return self._series(encoded.argmax(1))
        numbers = np.interp(encoded[:, 0], SCORES, self.knots)
        fine = self._fine(numbers)
        kind = encoded[:, 1:].argmax(1) if self.width > 1 else np.zeros(len(numbers), int)
        if self.coarse:  # a power of ten
            fine = np.where(kind == 0, np.round(numbers, round(-math.log10(self.coarse))), fine)
        numbers = np.clip(fine, self.low, self.high)
        if self.decimals is not None and not self.support:
            numbers = np.round(numbers, self.decimals)
        if self.missing:
            numbers[kind == self.width - 2] = np.nan
        return pd.Series(numbers, name=self.name).astype(self.dtype)

    def codes(self, column: pd.Series) -> np.ndarray:
        """Number of each row's category, missing last, -1 for values that are none of them."""
        number = {cells.known_text(value): k for k, value in enumerate(self.values)}
        unknown = len(self.values) if self.missing else -1
        # Of each value only its first occurrence is read: text is slow, and there are few values.
        place, distinct = cells.factorized(column)
        texts = map(cells.known_text, distinct)
        return np.array([unknown if t is None else number.get(t, -1) for t in texts] + [unknown])[place]

    def _fine(self, numbers: np.ndarray) -> np.ndarray:
        """Each number moved to the nearest value that the column can have."""
        if not self.support:
            return self.low + np.round((numbers - self.low) / self.step) * self.step
        values = np.array(self.support)
        return values[np.searchsorted((values[1:] + values[:-1]) / 2, numbers)]

    def _series(self, code: np.ndarray) -> pd.Series:
        values = np.array([*self.values, np.nan], dtype=object)[code]
        if self.dtype == "category":
            return pd.Series(pd.Categorical(values, list(self.values), ordered=self.ordered), name=self.name)
        return pd.Series(values, name=self.name, dtype=object).astype(self.dtype)


@dataclass(frozen=True)
class Encoder:
    """All columns of a table, side by side; `learnt` says what was taken from rows: column, what, value."""

    columns: tuple[Column, ...]
    learnt: tuple[tuple[str, str, str], ...]

    @property
    def width(self) -> int:
        """Columns of the encoded table."""
        return sum(c.width for c in self.columns)

    @property
    def slices(self) -> dict[str, slice]:
        """Where each column stands in the encoded table."""
        ends = np.cumsum([c.width for c in self.columns]).tolist()
        return {c.name: slice(end - c.width, end) for c, end in zip(self.columns, ends, strict=True)}

    @property
    def choices(self) -> list[tuple[int, int, bool]]:
        """Groups of 0/1 columns of which one is 1: start, end, whether its last says that the number is missing."""
        found = []
        for column, where in zip(self.columns, self.slices.values(), strict=True):
            if not column.is_number:
                found.append((where.start, where.stop, False))
            elif column.width > 1:
                found.append((where.start + 1, where.stop, column.missing))
        return found

    def __getitem__(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        raise ValueError(f"{name!r} is not a column of the table, which has {brief([c.name for c in self.columns])}.")

    def encode(self, frame: pd.DataFrame, *, seed: int | np.random.Generator = 0) -> np.ndarray:
        """Float32 array ``[n, width]``; `seed` spreads equal numbers over the scores they share.

        Raises
        ------
        ValueError
            If a column is missing, or holds what it did not hold in the table that was learnt.
        """
        rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(whole("seed", seed, 0))
        if isinstance(frame, pd.DataFrame):
            frame = frame.set_axis(frame.columns.map(str), axis=1)
        reading.check("frame", frame)
        if absent := [c.name for c in self.columns if c.name not in frame]:
            raise ValueError(f"frame lacks the column {absent[0]!r} of the table that was learnt.")
        of_numbers, others = (tuple(c.name for c in self.columns if c.is_number == kind) for kind in (True, False))
        tidy = schemas.Schema(numeric=of_numbers, categorical=others).tidy(frame)
        return np.hstack([c.encode(tidy[c.name], rng) for c in self.columns]).astype(np.float32)

    def decode(self, encoded: np.ndarray) -> pd.DataFrame:
        """Rows with the columns, types, bounds and granularity of the original, from ``[n, width]``.

        Raises
        ------
        ValueError
            If `encoded` has another shape, or holds something else than finite numbers.
        """
        encoded = numbers("encoded", encoded, only_finite=True)
        if encoded.ndim != 2 or encoded.shape[1] != self.width:
            raise ValueError(f"encoded must be [n, {self.width}]; got {encoded.shape}.")
        parts = zip(self.columns, self.slices.values(), strict=True)
        return pd.DataFrame({c.name: c.decode(encoded[:, where]) for c, where in parts})

    def as_json(self) -> dict:
        """Plain lists and numbers, for a file."""
        return {"columns": [asdict(c) for c in self.columns], "learnt": [list(row) for row in self.learnt]}

    @classmethod
    def from_json(cls, stored: dict) -> Encoder:
        """The inverse of `as_json`."""
        columns = [{k: tuple(v) if isinstance(v, list) else v for k, v in c.items()} for c in stored["columns"]]
        return cls(tuple(Column(**c) for c in columns), tuple(tuple(row) for row in stored["learnt"]))


def learn(
    frame: pd.DataFrame,
    *,
    known: schemas.Schema | None = None,
    transform: Transform = "quantile",
    seed: int = 0,
) -> Encoder:
    """Look at a table, beside what is known of it, and say how to encode it.

    Parameters
    ----------
    frame
        Any table that ``data.from_frame`` takes.
    known
        Public knowledge; the rest is learnt from the rows and listed in `Encoder.learnt`. Its `granularity` of a column
        is a step, or a list of all values that the column can have.
    transform
        "quantile" makes every number bell-shaped, and learns its quantiles for that; "linear" only moves its
        bounds to -4 and 4, which needs nothing but public bounds.
    seed
        Spreads equal numbers over the quantiles they share.

    Raises
    ------
    ValueError
        With one sentence, if there is anything in the table that cannot be used, or it does not fit what is known.
    """
    one_of("transform", transform, ("quantile", "linear"))
    known = schemas.Schema() if known is None else known
    if not isinstance(known, schemas.Schema):
        raise ValueError(f"schema must be a data.Schema or None; got {brief(known)}.")
    categories = {**known.categories, **({known.target: known.classes} if known.classes else {})}
    if isinstance(frame, pd.DataFrame):
        frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    reading.check("frame", frame, fewest=2)
    named = (*known.numeric, *known.categorical, *known.bounds, *categories, *known.granularity, *(known.gaps or ()))
    if stray := [c for c in named if c not in frame]:
        raise ValueError(f"schema names {brief(stray[0])}, which is not a column of the table.")
    frame, checked = reading.one(frame, bounds=known.bounds, categories=categories)
    rng, learnt, columns = np.random.default_rng(whole("seed", seed, 0)), [], []
    for name in frame.columns:
        column, number = frame[name], name in checked.numeric
        if name in known.numeric and not number:
            raise ValueError(f"schema must not name {name!r} among its numeric columns: it holds categories.")
        if name in known.categorical:
            number = False
        elif name not in {*known.numeric, *known.bounds, *categories}:
            number = number and column.nunique() > FEW_VALUES
            learnt.append((name, "type", "number" if number else "category"))
        if not number:
            columns.append(_category(column, categories.get(name), learnt))
        else:
            bounds, step = checked.bounds.get(name), known.granularity.get(name)
            columns.append(_number(column, bounds, step, transform, rng, learnt))
        if name in (known.gaps or ()):
            columns[-1] = replace(columns[-1], missing=True)
        elif columns[-1].missing:
            learnt.append((name, "missing", "values can be missing"))
    return Encoder(tuple(columns), tuple(learnt))


def _category(column: pd.Series, given: tuple | None, learnt: list) -> Column:
    text = schemas.as_text(column.astype(object))
    own = dict(zip(text, column.astype(object), strict=True))  # each text's value in the table's own type
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    if given is not None:
        values = [own.get(t, v) for t, v in zip(_texts(given), given, strict=True)]
    elif is_categorical:
        values = column.cat.categories.tolist()
    else:
        values = [own[t] for t in text.dropna().unique()]
        values = sorted(values, key=str if any(isinstance(v, str) for v in values) else None)
    if given is None:
        learnt.append((column.name, "categories", f"{len(values)} values"))
    values = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
    ordered = bool(is_categorical and column.cat.ordered)
    return Column(column.name, str(column.dtype), bool(text.isna().any()), values, ordered)


def _number(column: pd.Series, bounds, step, transform: Transform, rng: np.random.Generator, learnt: list) -> Column:
    numbers = _numbers(column)
    there = numbers[~np.isnan(numbers)]
    if bounds is None:
        bounds = (float(there.min()), float(there.max()))
        learnt.append((column.name, "bounds", f"{bounds[0]:g} to {bounds[1]:g}"))
    low, high = bounds
    there = np.clip(there, low, high)
    if step is not None:
        grid = grids.given(column.name, step, there, low)
    else:
        grid = grids.find(there, low, high, str(column.dtype))
        learnt.append((column.name, "granularity", grid.in_words))
        if grid.support:
            learnt.append((column.name, "support", f"{len(grid.support)} values"))
    if transform == "quantile":
        dithered = grids.dither(there, grid.step, grid.coarse, rng)
        knots = np.quantile(dithered, _LEVELS)
        knots[[0, -1]] = dithered.min(), dithered.max()
        learnt.append((column.name, "quantiles", f"{len(knots)} of them"))
    else:
        margin = (grid.coarse or grid.step) / 2
        knots = np.linspace(low - margin, high + margin, len(SCORES))
    name, missing = column.name, len(there) < len(numbers)
    return Column(name, str(column.dtype), missing, (), False, low, high, knots=tuple(knots.tolist()), **asdict(grid))


def _numbers(column: pd.Series) -> np.ndarray:
    return schemas.as_numbers(column).to_numpy(float)


def _texts(values) -> list[str]:
    return schemas.as_text(pd.Series(list(values), dtype=object)).tolist()

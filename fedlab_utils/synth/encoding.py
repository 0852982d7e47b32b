"""Columns of a table to numbers that a network can make, and back to the column's own values.

A *number* becomes a normal score: where it stands among the column's values, read off the bell curve. So every
number has the same shape, whatever its unit and however skewed. A *category* becomes one 0/1 column for each
value. What is missing is a category too: a value of its own among the categories, and for a number two more
columns, "there" and "missing". On the way back a number is rounded to the column's granularity and moved into
its bounds, so that whole numbers stay whole. Where tables of several sources were put together, some numbers of a
column are rounder than others: then "there" becomes two columns, "round" and "fine".

What these rules need is either public knowledge (`Schema`) or learnt from the rows (`Encoder.learnt`); whatever
is learnt from patients has to be paid for when the result is to be private.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import pandas as pd

from fedlab_utils._arguments import one_of
from fedlab_utils.data import schema as schemas

Transform = Literal["quantile", "linear"]

FEW_VALUES = 10  # numbers with no more values than this are drawn as categories
SCORES = np.linspace(-4, 4, 401)  # the normal scores at which a column's quantiles are kept
_LEVELS = np.array([(1 + math.erf(z / math.sqrt(2))) / 2 for z in SCORES])
_MOST_DECIMALS = 6
_TOLERANCE = {"float32": 5e-7, "float16": 2e-3}  # relative error of a decimal number in short types
_TARGET = "(any target)"


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

    @property
    def is_number(self) -> bool:
        """Whether it is made as a number; otherwise it is drawn as a category."""
        return bool(self.knots)

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
        is_round = _is_round(numbers, self.step, self.coarse)
        score = np.where(gone, 0.0, np.interp(_dither(numbers, self.step, self.coarse, rng), self.knots, SCORES))
        kinds = [is_round, ~is_round & ~gone] if self.coarse else [~gone]
        kinds += [gone] if self.missing else []
        return np.column_stack([score, *(kinds if len(kinds) > 1 else [])])

    def decode(self, encoded: np.ndarray) -> pd.Series:
        """The inverse of `encode`; of each group of 0/1 columns the largest counts."""
        if not self.is_number:
            return self._series(encoded.argmax(1))
        numbers = np.interp(encoded[:, 0], SCORES, self.knots)
        fine = self.low + np.round((numbers - self.low) / self.step) * self.step
        kind = encoded[:, 1:].argmax(1) if self.width > 1 else np.zeros(len(numbers), int)
        if self.coarse:  # a power of ten
            fine = np.where(kind == 0, np.round(numbers, round(-math.log10(self.coarse))), fine)
        numbers = np.clip(fine, self.low, self.high)
        if self.decimals is not None:
            numbers = np.round(numbers, self.decimals)
        if self.missing:
            numbers[kind == self.width - 2] = np.nan
        return pd.Series(numbers, name=self.name).astype(self.dtype)

    def codes(self, column: pd.Series) -> np.ndarray:
        """Number of each row's category, missing last, -1 for values that are none of them."""
        number = {text: k for k, text in enumerate(_texts(self.values))}
        text = schemas.as_text(column.astype(object))
        stranger = text.notna() if self.missing else np.ones(len(text), bool)
        code = text.map(number)
        return code.fillna(-1).where(code.notna() | stranger, len(self.values)).to_numpy(int)

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
        raise ValueError(f"{name!r} is not a column of the table, which has {[c.name for c in self.columns]}.")

    def encode(self, frame: pd.DataFrame, *, seed: int | np.random.Generator = 0) -> np.ndarray:
        """Float32 array ``[n, width]``; `seed` spreads equal numbers over the scores they share."""
        rng = np.random.default_rng(seed)
        frame = frame.set_axis(frame.columns.map(str), axis=1)
        if absent := [c.name for c in self.columns if c.name not in frame]:
            raise ValueError(f"frame lacks the column {absent[0]!r} of the table that was learnt.")
        return np.hstack([c.encode(frame[c.name], rng) for c in self.columns]).astype(np.float32)

    def decode(self, encoded: np.ndarray) -> pd.DataFrame:
        """Rows with the columns, types, bounds and granularity of the original, from ``[n, width]``."""
        encoded = np.asarray(encoded, float)
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
        Public knowledge; the rest is learnt from the rows and listed in `Encoder.learnt`.
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
    known = known or schemas.Schema()
    categories = {**known.categories, **({known.target: known.classes} if known.classes else {})}
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"frame must be a pandas DataFrame, not a {type(frame).__name__}.")
    frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    if len(frame) < 2 or not frame.shape[1]:
        raise ValueError(f"frame must have at least 2 rows and 1 column; it has {len(frame)} and {frame.shape[1]}.")
    named = (*known.numeric, *known.categorical, *known.bounds, *categories, *known.granularity)
    if stray := [c for c in named if c not in frame]:
        raise ValueError(f"schema names {stray[0]!r}, which is not a column of the table.")
    # `infer` wants a target to predict; a made-up one lets it check all columns with its own sentences.
    checked = schemas.infer(
        pd.concat([frame, pd.Series(np.arange(len(frame)) % 2, frame.index, name=_TARGET)], axis=1),
        target=_TARGET,
        bounds=known.bounds,
        categories=categories,
    )
    rng, learnt, columns = np.random.default_rng(seed), [], []
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
        if columns[-1].missing:
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
    if step is not None and not (isinstance(step, int | float | np.number) and 0 < step < np.inf):
        raise ValueError(f"granularity[{column.name!r}] must be a positive number; got {step!r}.")
    coarse = 0.0
    if step is None:
        tolerance = _TOLERANCE.get(str(column.dtype).lower(), 1e-13)
        step, decimals = _granularity(there, low, high, tolerance)
        coarse = _coarse(there, step)
        found = ([f"{coarse:g}"] if coarse else []) + ["none" if decimals is None else f"{step:g}"]
        learnt.append((column.name, "granularity", " or ".join(found)))
    else:
        step = float(step)
        decimals = next((d for d in range(_MOST_DECIMALS) if step == round(step, d) and low == round(low, d)), None)
    if transform == "quantile":
        dithered = _dither(there, step, coarse, rng)
        knots = np.quantile(dithered, _LEVELS)
        knots[[0, -1]] = dithered.min(), dithered.max()
        learnt.append((column.name, "quantiles", f"{len(knots)} of them"))
    else:
        margin = (coarse or step) / 2
        knots = np.linspace(low - margin, high + margin, len(SCORES))
    name, missing = column.name, len(there) < len(numbers)
    return Column(name, str(column.dtype), missing, (), False, low, high, step, decimals, coarse, tuple(knots.tolist()))


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
        fits = _is_round(numbers, step, coarse)
        if coarse < 4 * step or fits.all():  # of halves, say, every other one is whole by chance
            return 0.0
        if fits.mean() >= 0.5 and len(np.unique(numbers[fits])) > FEW_VALUES:
            return float(coarse)
    return 0.0


def _is_round(numbers: np.ndarray, step: float, coarse: float) -> np.ndarray:
    """Which numbers are multiples of `coarse`; none if that is 0."""
    if not coarse:
        return np.zeros(len(numbers), bool)
    return np.abs(np.round(numbers / coarse) * coarse - numbers) < step / 2


def _dither(numbers: np.ndarray, step: float, coarse: float, rng: np.random.Generator) -> np.ndarray:
    """Numbers spread over all that are rounded to them, round ones more widely."""
    width = np.where(_is_round(numbers, step, coarse), coarse, step)
    return numbers + width * (rng.random(len(numbers)) - 0.5)


def _numbers(column: pd.Series) -> np.ndarray:
    return schemas.as_numbers(column).to_numpy(float)


def _texts(values) -> list[str]:
    return schemas.as_text(pd.Series(list(values), dtype=object)).tolist()

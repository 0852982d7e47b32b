"""What kind of table this is: numbers or categories, which task, which bounds. Refuses what cannot be used.

Everything that can be wrong with a table is said here in one sentence, before any work is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

Task = Literal["binary", "multiclass", "regression"]
MOST_CATEGORIES = 50
MOST_CLASSES = 20
_LARGEST = 1e100  # the squares of larger numbers do not fit into a float


@dataclass(frozen=True)
class Schema:
    """How to read a table, and what everybody may know of it without looking at its rows.

    `infer` gives a whole one; `synth.fit` also takes what is known of some columns only, the rest left out.

    Attributes
    ----------
    target, task
        The column to predict and "binary", "multiclass" or "regression".
    classes
        Values of the target in the order of their labels 0, 1, ...; empty for regression.
    numeric, categorical
        Feature columns.
    bounds, categories
        Public knowledge about some of them: lowest and highest value, list of categories.
    granularity
        The same: the step between neighbouring values of a number, 1 for whole numbers, .1 for one decimal.
    """

    target: str | None = None
    task: Task | None = None
    classes: tuple = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    granularity: Mapping[str, float] = field(default_factory=dict)

    def tidy(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The feature columns of `frame`, numbers as numbers within bounds, categories as text.

        What is missing stays missing (NaN).

        Raises
        ------
        ValueError
            If a column is missing, or one of numbers holds something else.
        """
        if absent := [c for c in (*self.numeric, *self.categorical) if c not in frame]:
            raise ValueError(f"The table lacks the column {absent[0]!r}, which the hospitals agreed on.")
        columns = {}
        for column in frame.columns:
            if column in self.numeric:
                values = _finite(frame[column])
                columns[column] = values.clip(*self.bounds[column]) if column in self.bounds else values
            elif column in self.categorical:
                columns[column] = as_text(frame[column])
        return pd.DataFrame(columns, index=frame.index)

    def labels(self, target: pd.Series) -> np.ndarray:
        """Labels 0, 1, ... of a target column, or its numbers in regression: float array ``[n]``.

        Raises
        ------
        ValueError
            If a value is none of the classes.
        """
        if self.task == "regression":
            return target.to_numpy(float)
        number = {value: k for k, value in enumerate(self.classes)}
        labels = target.astype(object).map(number)
        if labels.isna().any():
            stranger = target[labels.isna()].tolist()[0]
            raise ValueError(f"{self.target!r} holds {stranger!r}, which is none of {list(self.classes)}.")
        return labels.to_numpy(float)


def infer(
    frame: pd.DataFrame,
    *,
    target: str,
    hospital: str | None = None,
    bounds: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence] | None = None,
) -> Schema:
    """Look at the columns of a table and say how to read them.

    Parameters
    ----------
    frame
        One row a patient.
    target, hospital
        Columns with what to predict, and with each row's hospital.
    bounds, categories
        Public knowledge: ``{"age": (18, 110)}``, ``{"smoker": ["never", "former", "current"]}``. A column
        with categories is read as text, whatever it holds; for the target they are the order of classes.

    Raises
    ------
    ValueError
        With one sentence, if there is anything that cannot be used.
    """
    _check_columns(frame, target, hospital)
    features = [c for c in frame.columns if c not in (target, hospital)]
    if not features:
        raise ValueError(f"The table has no feature columns beside {target!r}; add at least one.")
    bounds, categories = dict(bounds or {}), dict(categories or {})
    classes_given = categories.pop(target, None)
    for name, given in (("bounds", bounds), ("categories", categories)):
        if stray := [c for c in given if c not in features]:
            raise ValueError(f"{name} names {stray[0]!r}, which is not a feature column of the table.")
    if both := bounds.keys() & categories.keys():
        raise ValueError(f"{min(both)!r} has both bounds and categories; give one of them.")
    categories = {c: _check_categories(c, values) for c, values in categories.items()}
    numeric = [c for c in features if c not in categories and _is_number(frame[c])]
    for column in features:
        _check_feature(frame[column], column in numeric, column in categories)
    bounds = {c: _check_bounds(c, pair, numeric) for c, pair in bounds.items()}
    task, classes = _task(frame[target], classes_given)
    categorical = [c for c in features if c not in numeric]
    return Schema(target, task, classes, tuple(numeric), tuple(categorical), bounds, categories)


def as_numbers(column: pd.Series) -> pd.Series:
    """A column of numbers or of true and false; floats where something is missing."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        return column
    return pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index, name=column.name)


def as_text(column: pd.Series) -> pd.Series:
    """A column of categories as text: 4.0 becomes "4", and blank text counts as missing."""
    text = {value: _text(value) for value in column.dropna().unique()}
    return column.astype(object).map({value: t for value, t in text.items() if t.strip()}).astype(object)


def _text(value) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _check_columns(frame: pd.DataFrame, target: str, hospital: str | None) -> None:
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"frame must be a pandas DataFrame, not a {type(frame).__name__}.")
    if frame.empty:
        raise ValueError(f"The table is empty: it has {len(frame)} rows and {frame.shape[1]} columns.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"The column name {twice!r} occurs more than once; give every column its own name.")
    for role, column in (("target", target), ("hospital", hospital)):
        if column is not None and column not in frame:
            known = ", ".join(map(repr, frame.columns[:30]))
            raise ValueError(f"{role}={column!r} is not a column of the table, which has {known}.")
    if target == hospital:
        raise ValueError(f"target and hospital are both {target!r}; they must be two columns.")
    if hospital is not None:
        names = frame[hospital]
        missing = names.isna() | (names.astype(str).str.strip() == "")
        if missing.any():
            raise ValueError(f"{missing.sum()} rows have no name in hospital={hospital!r}; fill it in.")


def _check_categories(column: str, values: Sequence) -> tuple[str, ...]:
    if isinstance(values, str) or not len(values):
        raise ValueError(f"categories[{column!r}] must be a list of values, not {values!r}.")
    text = tuple(_text(v) for v in values)
    if len(set(text)) < len(text):
        raise ValueError(f"categories[{column!r}] lists a value twice: {list(values)}.")
    return text


def _check_bounds(column: str, pair: Sequence[float], numeric: Sequence[str]) -> tuple[float, float]:
    if column not in numeric:
        raise ValueError(f"bounds[{column!r}] does not apply: that column holds categories, not numbers.")
    numbers = isinstance(pair, Sequence) and all(isinstance(v, int | float | np.number) for v in pair)
    if not (numbers and len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
        raise ValueError(f"bounds[{column!r}] must be (low, high) with low < high, not {pair!r}.")
    return float(pair[0]), float(pair[1])


def _is_number(column: pd.Series) -> bool:
    """Whether a column is read as numbers; refuses what is neither numbers nor categories."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if "date" in kind or kind in ("time", "timedelta", "timedelta64", "period", "interval"):
        raise ValueError(f"Column {column.name!r} holds dates or times; make it a number, such as an age.")
    if kind in ("boolean", "integer", "floating", "mixed-integer-float", "decimal"):
        return True
    plain = (str, bool, int, float, np.generic)
    strange = [v for v in column.dropna().head(1000) if not isinstance(v, plain)]
    if kind in ("complex", "bytes") or strange:
        example = type(strange[0]).__name__ if strange else kind
        raise ValueError(f"Column {column.name!r} holds values of type {example}; use numbers or text.")
    return kind == "empty" and column.dtype != object and pd.api.types.is_numeric_dtype(column)


def _check_feature(column: pd.Series, is_number: bool, has_categories: bool) -> None:
    if column.isna().all():
        raise ValueError(f"Column {column.name!r} has no values at all; drop it.")
    if is_number:
        _finite(column)
    elif not has_categories:
        text = as_text(column)
        if text.isna().all():
            raise ValueError(f"Column {column.name!r} has no values at all; drop it.")
        if text.nunique() > MOST_CATEGORIES:
            numbers = pd.to_numeric(text, errors="coerce").notna().mean() > 0.5
            advice = "an identifier or free text: drop it or group its values"
            if numbers:
                advice = "numbers written as text: use pd.to_numeric(..., errors='coerce')"
            raise ValueError(
                f"Text column {column.name!r} has {text.nunique()} different values, more than "
                f"{MOST_CATEGORIES}; it looks like {advice}."
            )


def _finite(column: pd.Series) -> pd.Series:
    try:
        numbers = as_numbers(column)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Column {column.name!r} must hold numbers, and does not.") from error
    if (numbers.abs() > _LARGEST).any():
        raise ValueError(f"Column {column.name!r} holds infinite or absurd values; make them missing.")
    return numbers


def _task(target: pd.Series, given: Sequence | None) -> tuple[Task, tuple]:
    """Task and classes; `given` are the classes in their order, where that is public knowledge."""
    values = target.dropna()
    if values.empty:
        raise ValueError(f"The target {target.name!r} has no values at all.")
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    number = _is_number(values)
    if number:
        _finite(values)
    distinct = values.unique().tolist()
    if len(distinct) == 1:
        raise ValueError(f"The target {target.name!r} is {distinct[0]!r} in every row; nothing to learn.")
    if given is not None:
        _check_categories(target.name, given)
        if stray := [v for v in distinct if v not in given]:
            raise ValueError(f"{target.name!r} holds {stray[0]!r}, which is none of {list(given)}.")
        return ("binary" if len(given) == 2 else "multiclass"), tuple(given)
    whole = number and len(distinct) <= MOST_CLASSES and all(float(v).is_integer() for v in distinct)
    if number and len(distinct) > 2 and not whole:
        return "regression", ()
    if len(distinct) > MOST_CLASSES:
        raise ValueError(
            f"The target {target.name!r} is text with {len(distinct)} different values; group them into at "
            f"most {MOST_CLASSES} classes."
        )
    classes = sorted(distinct) if number else sorted(distinct, key=str)
    return ("binary" if len(classes) == 2 else "multiclass"), tuple(classes)

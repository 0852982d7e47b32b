"""What kind of table this is: numbers or categories, which task, which bounds. Refuses what cannot be used.

Everything that can be wrong with a table is said in one sentence, before any work is done (`refusals`); what is
doubtful but can be read is a remark (`reading`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from fedlab_utils.data import cells, outcome, refusals
from fedlab_utils.data.cells import Look
from fedlab_utils.data.cells import as_numbers as as_numbers
from fedlab_utils.data.cells import as_text as as_text
from fedlab_utils.data.outcome import MOST_CLASSES as MOST_CLASSES
from fedlab_utils.data.outcome import Task as Task
from fedlab_utils.data.refusals import MOST_CATEGORIES as MOST_CATEGORIES


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
    gaps
        The same: all columns in which a value can be missing; None if that is not known.
    missing
        Cells of text that count as missing, by column; see `cells.key` for how they are compared.
    """

    target: str | None = None
    task: Task | None = None
    classes: tuple = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    granularity: Mapping[str, float] = field(default_factory=dict)
    gaps: tuple[str, ...] | None = None
    missing: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)

    def tidy(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The feature columns of `frame`, numbers as numbers within bounds, categories as text.

        What is missing stays missing (NaN), and so becomes what says that nothing is known. Blanks around text go.

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
                values = _finite(frame[column], self.missing.get(column, cells.MARKS))
                columns[column] = _within(values, self.bounds[column]) if column in self.bounds else values
            elif column in self.categorical:
                columns[column] = as_text(frame[column], self.missing.get(column, ("",)))
        return pd.DataFrame(columns, index=frame.index)

    def outcome(self, target: pd.Series) -> pd.Series:
        """The target with each class in its one spelling, or as numbers in regression; NaN where it is missing.

        Raises
        ------
        ValueError
            If a value is none of the classes.
        """
        missing = self.missing.get(target.name, cells.MARKS)
        if self.task == "regression":
            return _finite(target, missing) if cells.is_text(target) else target
        exact = {value: value for value in self.classes}
        spelt = {cells.key(value): value for value in self.classes}
        values = target.astype(object).dropna().unique()
        if all(v in exact for v in values):
            return target
        meant = {}
        for value in values:
            bare = cells.stripped(value)
            if value in exact or bare in exact:
                meant[value] = exact[value if value in exact else bare]
            elif isinstance(value, str) and cells.key(value) in spelt:
                meant[value] = spelt[cells.key(value)]
            elif not isinstance(value, str) or cells.key(value) not in missing:
                raise ValueError(f"{self.target!r} holds {value!r}, which is none of {list(self.classes)}.")
        return target.astype(object).map(meant)

    def labels(self, target: pd.Series) -> np.ndarray:
        """Labels 0, 1, ... of a target column, or its numbers in regression: float array ``[n]``.

        Raises
        ------
        ValueError
            If a value is missing or none of the classes.
        """
        values = self.outcome(target)
        if self.task == "regression":
            return values.to_numpy(float)
        number = {value: k for k, value in enumerate(self.classes)}
        labels = values.astype(object).map(number)
        if labels.isna().any():
            stranger = target[labels.isna()].tolist()[0]
            raise ValueError(f"{self.target!r} holds {stranger!r}, which is none of {list(self.classes)}.")
        return labels.to_numpy(float)


def infer(
    frame: pd.DataFrame,
    *,
    target: str | None,
    hospital: str | None = None,
    patient: str | None = None,
    task: Task | None = None,
    bounds: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence] | None = None,
) -> Schema:
    """Look at the columns of a table and say how to read them.

    Parameters
    ----------
    frame
        One row a patient, or a visit of one.
    target, hospital, patient
        Columns with what to predict, with each row's hospital, and with what tells patients apart. Without a target
        nothing is to be predicted, and all other columns are features.
    task
        What to make of the target; None lets its values decide.
    bounds, categories
        Public knowledge: ``{"age": (18, 110)}``, ``{"smoker": ["never", "former", "current"]}``. A column
        with categories is read as text, whatever it holds; for the target they are the order of classes.

    Raises
    ------
    ValueError
        With one sentence, if there is anything that cannot be used.
    """
    refusals.table(frame, target=target, hospital=hospital, patient=patient)
    refusals.nameless(frame, "hospital", hospital, "name")
    refusals.nameless(frame, "patient", patient, "number")
    features = [c for c in frame.columns if c not in (target, hospital, patient)]
    if not features:
        raise ValueError(f"The table has no feature columns beside {target or hospital!r}; add at least one.")
    bounds, categories = dict(bounds or {}), dict(categories or {})
    classes_given = categories.pop(target, None)
    for name, given in (("bounds", bounds), ("categories", categories)):
        if stray := [c for c in given if c not in features]:
            raise ValueError(f"{name} names {stray[0]!r}, which is not a feature column of the table.")
    if both := bounds.keys() & categories.keys():
        raise ValueError(f"{min(both)!r} has both bounds and categories; give one of them.")
    categories = {c: outcome.check_categories(c, values) for c, values in categories.items()}
    refusals.types(frame[features])
    looks = look(frame[[c for c in features if c not in categories]], bounds)
    refusals.text(frame, looks)
    missing = {c: seen.missing for c, seen in looks.items()}
    missing |= {c: cells.MARKS - {t.casefold() for t in listed} for c, listed in categories.items()}
    numeric = [c for c in features if c not in categories and is_number(frame[c], looks.get(c))]
    categorical = [c for c in features if c not in numeric]
    refusals.empty(frame[features], numeric, missing)
    refusals.infinite(frame, numeric, missing)
    refusals.too_many(frame, [c for c in categorical if c not in categories], missing)
    bounds = {c: _check_bounds(c, pair, numeric) for c, pair in bounds.items()}
    columns = tuple(numeric), tuple(categorical)
    if target is None:
        return Schema(None, None, (), *columns, bounds, categories, missing=missing)
    found = outcome.look(frame[target], classes_given, task)
    missing[target] = found.missing
    return Schema(target, found.task, found.classes, *columns, bounds, categories, missing=missing)


def look(frame: pd.DataFrame, numbers: Sequence[str] = ()) -> dict[str, Look]:
    """What the text columns of a table are, each one; `numbers` are known to be such."""
    looks = {c: cells.look(frame[c]) for c in frame if cells.is_text(frame[c])}
    for column, seen in looks.items():
        # Whoever makes a column categorical has decided, and codes are numbers to whoever gives them bounds.
        declared = isinstance(frame[column].dtype, pd.CategoricalDtype) and seen.n_levels <= refusals.MOST_CATEGORIES
        if declared and seen.kind != "categories":
            looks[column] = seen.as_categories()
        elif column in numbers and seen.whole_text:
            looks[column] = seen.as_numbers()
    return looks


def is_number(column: pd.Series, seen: Look | None) -> bool:
    """Whether a column is read as numbers; `seen` is what its text looks like."""
    return seen.kind == "numbers" if seen is not None else _is_number(column)


def _is_number(column: pd.Series) -> bool:
    """Whether a column holds numbers; refuses what is neither numbers nor categories."""
    refusals.types(column.to_frame())
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("boolean", "integer", "floating", "mixed-integer-float", "decimal"):
        return True
    return kind == "empty" and column.dtype != object and pd.api.types.is_numeric_dtype(column)


def _finite(column: pd.Series, missing: frozenset[str] = cells.MARKS) -> pd.Series:
    try:
        numbers = as_numbers(column, missing)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Column {column.name!r} must hold numbers, and does not: {str(error)[:100]}") from error
    if refusals.is_infinite(numbers):
        raise ValueError(f"Column {column.name!r} holds infinite or absurd values; make them missing.")
    return numbers


def _within(numbers: pd.Series, bounds: tuple[float, float]) -> pd.Series:
    low, high = bounds
    inside = not len(numbers) or (numbers.min() >= low and numbers.max() <= high)  # as mostly: nothing to copy
    return numbers if inside else numbers.clip(low, high)


def _check_bounds(column: str, pair: Sequence[float], numeric: Sequence[str]) -> tuple[float, float]:
    if column not in numeric:
        raise ValueError(f"bounds[{column!r}] does not apply: that column holds categories, not numbers.")
    return check_pair(f"bounds[{column!r}]", pair)


def check_pair(name: str, pair: Sequence[float]) -> tuple[float, float]:
    """Bounds as two floats.

    Raises
    ------
    ValueError
        If they are not two finite numbers, the lower one first.
    """
    numbers = isinstance(pair, Sequence) and all(isinstance(v, int | float | np.number) for v in pair)
    if not (numbers and len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
        raise ValueError(f"{name} must be (low, high) with low < high, not {pair!r}.")
    return float(pair[0]), float(pair[1])

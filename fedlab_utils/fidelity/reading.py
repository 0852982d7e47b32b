"""Tables of strangers: the one place where `synth`, `fidelity` and `attacks` read them, as `data.from_frame` does.

What a column is, and what in it counts as missing or as the same value, is decided in `data` and nowhere else: by
`reading.mended`, `Schema.tidy` and `Schema.labels`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief
from fedlab_utils.data import cells, reading, schema
from fedlab_utils.data.schema import Schema

FEWEST_ROWS = 20


@dataclass(frozen=True)
class Kinds:
    """What the columns of some tables are.

    Attributes
    ----------
    numbers
        Columns of numbers.
    levels
        Columns of categories, each with its values in the order of their codes 0, 1, ...
    target, task
        What to predict, and how; both None if nothing is to be predicted.
    """

    numbers: tuple[str, ...]
    levels: Mapping[str, tuple]
    target: str | None
    task: str | None

    @property
    def categories(self) -> dict[str, int]:
        """Columns of categories, and how many each has."""
        return {column: len(values) for column, values in self.levels.items()}


def check(name: str, frame: pd.DataFrame, fewest: int = 1) -> None:
    """Refuse what is no table, has too few rows, or columns without a text of their own as a name.

    Raises
    ------
    ValueError
        With one sentence about the argument `name`.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"{name} must be a pandas DataFrame, not a {type(frame).__name__}.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"The column name {twice!r} occurs more than once in {name}; give every column its own name.")
    if not all(isinstance(c, str) for c in frame.columns) or not frame.shape[1]:
        raise ValueError(f"{name} must have columns, each with a text as its name; got {brief(list(frame.columns))}.")
    if len(frame) < fewest:
        raise ValueError(f"{name} has {len(frame)} row{'s' * (len(frame) != 1)}; at least {fewest} are needed.")


def one(frame: pd.DataFrame, **known) -> tuple[pd.DataFrame, Schema]:
    """A checked table as it is read, every column in its own type, and what its columns are.

    Parameters
    ----------
    frame
        Any table that ``data.from_frame`` takes; nothing in it is to be predicted.
    known
        `bounds` and `categories` of `schema.infer`.

    Raises
    ------
    ValueError
        With one sentence, if there is anything in the table that cannot be used.
    """
    return reading.mended(frame, **known)


def several(tables: Mapping[str, pd.DataFrame], *, genuine: Sequence[str], target: str | None, fewest: int) -> tuple:
    """Tables with the same columns as floats, and what the columns are: `Kinds`, then the tables in their order.

    Categories become codes 0, 1, ... by the values of the genuine tables, and one code more for all others.

    Parameters
    ----------
    tables
        By the names of the arguments that they are.
    genuine
        Names of those that say what the columns are.
    target
        The column to predict, or None.
    fewest
        Rows that each must have.

    Raises
    ------
    ValueError
        With one sentence, if a table cannot be used, or they do not fit together.
    """
    first = next(iter(tables))
    for name, frame in tables.items():
        check(name, frame, fewest)
        if stray := set(frame.columns) ^ set(tables[first].columns):
            raise ValueError(f"{name} and {first} must have the same columns; only one has {min(stray)!r}.")
    together = pd.concat([tables[name] for name in genuine], ignore_index=True)
    known = schema.infer(together, target=target)
    levels = {} if target is None or known.task == "regression" else {target: known.classes}
    if target is not None and not levels:
        known = replace(known, numeric=(*known.numeric, target))
    tidy = {name: known.tidy(frame[list(tables[first].columns)]) for name, frame in tables.items()}
    for column in known.categorical:
        values = pd.concat([tidy[name][column] for name in genuine]).dropna().unique()
        levels[column] = tuple(sorted(values))
    for name, frame in tables.items():
        if target in levels:
            # what is no class is a mark of a missing value in a table of real rows, and a mistake in others
            tidy[name][target] = _labels(frame[target], known, np.nan if name in genuine else len(known.classes))
        for column in known.categorical:
            codes = {value: k for k, value in enumerate(levels[column])}
            tidy[name][column] = _codes(tidy[name][column], codes, len(codes))
        tidy[name] = tidy[name].astype(float).reset_index(drop=True)
    return Kinds(known.numeric, levels, target, known.task), *tidy.values()


def _labels(column: pd.Series, known: Schema, stranger: float) -> pd.Series:
    """Labels of a target, in whatever spelling; `stranger` for what is none of the classes."""
    numbers = {value: k for k, value in enumerate(known.classes)}
    for value in column.dropna().unique():
        if value not in numbers and isinstance(value, str):
            try:
                numbers[value] = known.labels(pd.Series([value], dtype=object, name=column.name))[0]
            except ValueError:
                numbers[value] = stranger
    return _codes(column, numbers, stranger)


def _codes(column: pd.Series, numbers: Mapping, stranger: float) -> pd.Series:
    place, distinct = cells.factorized(column)  # each value is looked up once
    codes = [float(numbers.get(value, stranger)) for value in distinct]
    return pd.Series(np.array([*codes, np.nan])[place], index=column.index, name=column.name)

"""What is odd about a table, in sentences: `Federation.report`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fedlab_utils.data.agreement import Agreed
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, as_numbers
from fedlab_utils.data.sources import Table
from fedlab_utils.privacy import RecordDP

_FEW = 10  # rows of a hospital


def about_table(table: Table, schema: Schema) -> list[str]:
    """What is worth knowing about the table as a whole."""
    frame, notes = table.frame, []
    if unknown := int(frame[table.target].isna().sum()):
        notes.append(f"{unknown} rows without a target were dropped.")
    if schema.task == "multiclass" and pd.api.types.is_numeric_dtype(frame[table.target]):
        notes.append(f"The target {table.target!r} has {len(schema.classes)} whole numbers, read as classes.")
    for column, (low, high) in schema.bounds.items():
        values = as_numbers(frame[column])
        if beyond := int(((values < low) | (values > high)).sum()):
            notes.append(f"{beyond} values of {column} beyond {low:g} to {high:g} were moved to the bound.")
    return notes


def about_hospitals(parts: Sequence[Part], schema: Schema, promise: RecordDP | None) -> list[str]:
    """Hospitals with few rows, with no test rows, with one class only."""
    notes = []
    for part in parts:
        n_train, n_test = len(part.train), len(part.test)
        if n_train + n_test < _FEW or not n_test:
            notes.append(f"{part.name} has {n_train} row{'s' * (n_train != 1)} to train on and {n_test} to test on.")
        if n_train == 1 and promise is None:
            notes.append(f"What {part.name} adds to a sum are the values of its only training patient.")
        seen = part.train[schema.target].unique()
        if schema.task != "regression" and len(seen) == 1:
            notes.append(f"Every training row of {part.name} has {schema.target} = {seen[0]}.")
    return notes


def about_columns(parts: Sequence[Part], schema: Schema, agreed: Agreed) -> list[str]:
    """What was missing, constant or unknown."""
    train = pd.concat([p.train for p in parts])
    test = pd.concat([p.test for p in parts])
    features = [*schema.numeric, *schema.categorical]
    missing = train[features].isna().sum() + test[features].isna().sum()
    numbers = {c: int(missing[c]) for c in schema.numeric if missing[c]}
    texts = {c: int(missing[c]) for c in schema.categorical if missing[c]}
    constant = [c for c in schema.numeric if agreed.sds[c] == 0]
    constant += [c for c in schema.categorical if train[c].nunique() <= 1]
    notes = []
    if numbers:
        notes.append(f"Missing numbers were replaced by the mean: {_listed(numbers)}.")
    if texts:
        notes.append(f"Missing categories are 0 in all of their columns: {_listed(texts)}.")
    if constant:
        notes.append(f"The same in all training rows, so of no use: {', '.join(constant)}.")
    for column in schema.categorical:
        for kind, frame in (("training", train), ("test", test)):
            strange = frame[column].dropna()
            strange = strange[~strange.isin(agreed.categories[column])]
            if len(strange):
                notes.append(
                    f"{len(strange)} {kind} rows have a {column} that is not among the categories "
                    f"({strange.iloc[0]!r}, for one); they are 0 in all of its columns."
                )
    return notes


def _listed(counts: dict[str, int], most: int = 10) -> str:
    shown = [f"{column} {count}" for column, count in list(counts.items())[:most]]
    more = len(counts) - most
    return ", ".join(shown) + (f" and {more} more columns" if more > 0 else "")

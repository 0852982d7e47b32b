"""What is odd about a federation, in sentences: `Federation.report`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedlab_utils.data import reading
from fedlab_utils.data.agreement import Agreed
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, as_numbers
from fedlab_utils.data.sentences import COLUMNS, HOSPITALS, KNOWN, VOID, Remark, it, listed, quoted, rows
from fedlab_utils.data.sources import Table
from fedlab_utils.privacy import RecordDP

MOST_LINES = 12
_FEW = 10  # rows of a hospital
UNPAID = (
    "Remarks about rows are not made here, as they are facts about patients that no promise paid for; inside a "
    "hospital, load the same table without statistics= to read them."
)


def about_table(table: Table, schema: Schema) -> list[Remark]:
    """What is worth knowing about the table as a whole."""
    frame, found = table.frame, [Remark(KNOWN, note) for note in table.notes]
    if table.own:
        known = dict(hospital=table.hospital, patient=table.patient)
        found += reading.remarks(frame, schema, **known, declared=table.target in (table.categories or {}))
    for column, (low, high) in schema.bounds.items():
        values = as_numbers(frame[column], schema.missing.get(column, ()))
        if beyond := int(((values < low) | (values > high)).sum()):
            text = f"{beyond} values of {column} beyond {low:g} to {high:g} were moved to the bound."
            found.append(Remark(KNOWN, text))
    return found


def about_patients(codes: np.ndarray | None) -> list[Remark]:
    """Patients with several rows; `codes` tells them apart, ``[n]``."""
    if codes is None:
        return []
    times = np.bincount(codes)
    if not (several := int((times > 1).sum())):
        return []
    who = f"{rows(several, 'patient')} {'has' if several == 1 else 'have'}"
    text = f"{who} several rows, up to {times.max()}, all on one side of the split"
    return [Remark(KNOWN, f"{text}; a promise for a record is weaker for such a patient.")]


def about_classes(parts: Sequence[Part], schema: Schema) -> list[Remark]:
    """Classes with hardly a training row, and without a test row."""
    if schema.task == "regression":
        return []
    train, test = (
        pd.concat([getattr(p, which)[schema.target] for p in parts]).value_counts() for which in ("train", "test")
    )
    found, name = [], quoted(schema.target)
    if few := [c for c in schema.classes if train.get(c, 0) < 2]:
        text = f"Fewer than two training rows: {listed(map(quoted, few))} of {name}, so hardly anything to learn"
        found.append(Remark(VOID, f"{text}; put classes together or leave {it(few)} out."))
    if none := [c for c in schema.classes if not test.get(c, 0)]:
        left = "there is no AUC" if len(schema.classes) - len(none) < 2 else "AUC is over the classes that are there"
        found.append(Remark(VOID, f"No test row: {listed(map(quoted, none))} of {name}; {left}."))
    return found


def about_hospitals(parts: Sequence[Part], schema: Schema) -> list[Remark]:
    """Hospitals with few rows, with no test rows, with one class only."""
    notes = []
    for part in parts:
        n_train, n_test = len(part.train), len(part.test)
        if n_train + n_test < _FEW or not n_test:
            notes.append(f"{part.name} has {rows(n_train)} to train on and {n_test} to test on.")
        if n_train == 1:
            notes.append(f"What {part.name} adds to a sum are the values of its only training patient.")
        seen = part.train[schema.target].unique()
        if schema.task != "regression" and len(seen) == 1:
            notes.append(f"Every training row of {part.name} has {schema.target} = {seen[0]}.")
    return [Remark(HOSPITALS, note) for note in notes]


def about_columns(parts: Sequence[Part], schema: Schema, agreed: Agreed) -> list[Remark]:
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
            seen = frame[column].unique()
            if strange := [one for one in seen if not pd.isna(one) and one not in agreed.categories[column]]:
                count = int(frame[column].isin(strange).sum())
                has, are = ("has", "it is") if count == 1 else ("have", "they are")
                notes.append(
                    f"{rows(count, f'{kind} row')} {has} a {column} that is not among the categories "
                    f"({strange[0]!r}, for one); {are} 0 in all of its columns."
                )
    return [Remark(COLUMNS, note) for note in notes]


def about_federation(
    notes: Sequence[Remark], parts: Sequence[Part], schema: Schema, agreed: Agreed, promise: RecordDP | None
) -> tuple[str, ...]:
    """All sentences about a federation, the most harmful first; under a promise one, which tells nothing of rows."""
    if promise is not None:
        return (UNPAID,)
    found = [*notes, *about_classes(parts, schema), *about_hospitals(parts, schema)]
    found += about_columns(parts, schema, agreed)
    return tuple(" ".join(remark.text.split()) for remark in sorted(found, key=lambda remark: remark.rank))


def in_short(remarks: Sequence[str]) -> list[str]:
    """At most `MOST_LINES` of the sentences, the rest counted."""
    if len(remarks) <= MOST_LINES:
        return list(remarks)
    more = len(remarks) - MOST_LINES + 1
    return [*remarks[: MOST_LINES - 1], f"{more} more remarks are in federation.remarks."]


def _listed(counts: dict[str, int], most: int = 10) -> str:
    shown = [f"{column} {count}" for column, count in list(counts.items())[:most]]
    more = len(counts) - most
    return ", ".join(shown) + (f" and {more} more columns" if more > 0 else "")

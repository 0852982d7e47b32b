"""A stranger's table as it is read, and what is doubtful about that reading, in sentences.

Whoever takes a table that nobody has looked at before calls `read`: `data.from_frame` does, and so can synthesizers,
measures and attacks, so that one table is read in one way everywhere.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from fedlab_utils.data import cells, outcome, suspects
from fedlab_utils.data.cells import Look
from fedlab_utils.data.schema import Schema, Task, infer, look
from fedlab_utils.data.sentences import DOUBT, VOID, Remark, columns, counted, listed, quoted, rows

# Beside such a pair there is no room for a third class.
_WHOLE = [{"no", "yes"}, {"n", "y"}, {"false", "true"}, {"negative", "positive"}, {"neg", "pos"}, {"absent", "present"}]
_ADVICE = {
    "decimal commas": "decimal commas: put a point in their place",
    "thousands marks": "thousands marks: take them off",
    "limits of detection": "limits: decide what they stand for, half the limit, say",
    "units": "units: take them off",
    "percentages": "percent signs: take them off",
    "dates": "dates among numbers: a slip of the spreadsheet",
    "times of day": "times among numbers: a slip of the spreadsheet",
}


class Reading(NamedTuple):
    """A table as it is read, and what is doubtful about that.

    Attributes
    ----------
    frame
        All columns and rows. What was not in order is mended: numbers in text are numbers, marks are missing, blanks
        around text are gone, each class has one spelling. What was, is untouched, its type too.
    remarks
        A sentence each, the most harmful first; `Remark.text`.
    schema
        How it was read; `Schema.tidy` and `Schema.outcome` read other rows in the same way.
    """

    frame: pd.DataFrame
    remarks: list[Remark]
    schema: Schema


def read(
    frame: pd.DataFrame,
    *,
    target: str | None = None,
    hospital: str | None = None,
    patient: str | None = None,
    task: Task | None = None,
    bounds: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence] | None = None,
) -> Reading:
    """Read a table that nobody has looked at before.

    Parameters
    ----------
    frame
        The table; names of columns must be text.
    target, hospital, patient, task, bounds, categories
        As in `data.from_frame`. Without a target all columns are features.

    Raises
    ------
    ValueError
        With one sentence, if there is anything that cannot be used.
    """
    about = dict(target=target, hospital=hospital, patient=patient, task=task, bounds=bounds, categories=categories)
    found, schema = mended(frame, **about)
    declared = target in (categories or {})
    return Reading(found, remarks(frame, schema, hospital=hospital, patient=patient, declared=declared), schema)


def mended(frame: pd.DataFrame, *, target: str | None = None, **about) -> tuple[pd.DataFrame, Schema]:
    """The table and the schema of `read`, for whoever has no use for remarks; arguments and refusals are the same."""
    schema = infer(frame, target=target, **about)
    found = {}
    for column in (*schema.numeric, *schema.categorical):
        if not cells.is_text(frame[column]):
            continue
        missing = schema.missing[column]
        if column in schema.numeric:
            found[column] = cells.as_numbers(frame[column], missing)
        elif not _in_order(frame[column], missing):
            found[column] = cells.as_text(frame[column], missing).astype(_type(frame[column]))
    if target is not None:
        values = schema.outcome(frame[target])
        found |= {} if values is frame[target] else {target: values}
    return frame.assign(**found), schema


def _in_order(column: pd.Series, missing) -> bool:
    values = column.dropna().unique()
    return all(not isinstance(v, str) or (v == v.strip() and cells.key(v) not in missing) for v in values)


def _type(column: pd.Series):
    return "category" if isinstance(column.dtype, pd.CategoricalDtype) else column.dtype


def remarks(
    frame: pd.DataFrame, schema: Schema, *, hospital: str | None, patient: str | None, declared: bool
) -> list[Remark]:
    """What is doubtful about a table and how it is read, the most harmful first.

    `declared` says that the order of the classes is public knowledge.
    """
    features = [*schema.numeric, *schema.categorical]
    looks = look(frame[[c for c in features if c not in schema.categories]], schema.bounds)
    tidy = schema.tidy(frame[features])
    roles = [c for c in (schema.target, hospital, patient) if c in frame]
    found = suspects.repeats(tidy.assign(**{c: frame[c] for c in roles}), schema.numeric)
    if schema.target in frame:
        target = schema.outcome(frame[schema.target])
        found += about_target(frame[schema.target], target, schema, declared)
        if schema.task != "regression":
            there = target.notna()
            labels = schema.labels(target[there])
            found += suspects.telling(tidy[there], schema.numeric, schema.categorical, labels)
    listed_not = [c for c in schema.categorical if c not in schema.categories and not _is_categorical(frame[c])]
    found += suspects.identifiers(tidy, schema.numeric, listed_not, patient)
    found += about_columns(looks, schema, frame)
    found += suspects.sentinels(tidy, schema.numeric)
    found += suspects.large(frame, schema.numeric) + suspects.codes(tidy, schema.numeric)
    found += spellings(tidy, [c for c in schema.categorical if c not in schema.categories])
    if hospital is not None:
        found += hospitals(frame[hospital])
    return sorted(found, key=lambda remark: remark.rank)


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype)


def about_columns(looks: Mapping[str, Look], schema: Schema, frame: pd.DataFrame) -> list[Remark]:
    """How text was read: as numbers with strays, or as categories with marks."""
    found, codes, numbers, marks, words = [], [], [], {}, {}
    for column, seen in looks.items():
        if column in schema.numeric:
            if seen.strays:
                found.append(_strays(column, seen))
            elif seen.whole_text and column not in schema.bounds:
                numbers.append(column)
        elif seen.whole_text:
            codes.append(column)
        elif _is_categorical(frame[column]) and seen.n_numbers > cells.FEW_CODES:
            text = f"{quoted(column)} is categorical, though most of its {seen.n_levels} values are numbers."
            found.append(Remark(DOUBT, text))
        marks |= {column: seen.marks} if any(seen.marks) and column in schema.categorical else {}
        words |= {column: seen.words} if seen.words and column in schema.categorical else {}
    if numbers:
        text = f"{columns(numbers, 'is', 'are')} text that holds numbers, and read as such"
        text += "; named in categories= it stays text."
        found.append(Remark(DOUBT, text))
    if codes:
        how = f"pd.to_numeric(frame[{quoted(codes[0])}])"
        text = f"{columns(codes, 'is', 'are')} text that holds a few whole numbers, and read as categories"
        text += f"; {how} makes numbers."
        found.append(Remark(DOUBT, text))
    if marks:
        said = (f"{counted({t: n for t, n in m.items() if t})} in {quoted(c)}" for c, m in marks.items())
        found.append(Remark(DOUBT, f"Counted as missing: {listed(said)}."))
    if words:
        said = (f"{counted(w)} in {quoted(c)}" for c, w in words.items())
        text = f"Kept as categories of their own: {listed(said)}; make them missing if they mean that."
        found.append(Remark(DOUBT, text))
    return found


def _strays(column: str, seen: Look) -> Remark:
    n = sum(seen.strays.values())
    are = "is no number and counts" if n == 1 else "are no numbers and count"
    text = f"{rows(n, 'value')} of {quoted(column)} {are} as missing: {counted(seen.strays)}"
    if seen.forms:
        text += f"; these look like {_ADVICE[max(seen.forms, key=seen.forms.get)]}"
    return Remark(DOUBT, f"{text}.")


def about_target(raw: pd.Series, target: pd.Series, schema: Schema, declared: bool) -> list[Remark]:
    """Rows without a target, spellings, the classes and which one is positive."""
    found = []
    if dropped := int(target.isna().sum()):
        marked = raw[target.isna() & raw.notna()]
        tokens = {str(v): n for v, n in cells.counts(marked).items()} if len(marked) else {}
        text = f"{rows(dropped)} without a target {'was' if dropped == 1 else 'were'} dropped"
        if any(tokens):
            text += f", {counted(tokens)} counting as missing"
            if {cells.key(t) for t in tokens} & cells.WORDS:
                text += f" (categories={{{quoted(schema.target)}: [...]}} with all classes in order keeps such a class)"
        found.append(Remark(DOUBT, f"{text}."))
    if schema.task == "regression" or declared or (_is_categorical(raw) and raw.cat.ordered):
        return found
    seen = outcome.look(raw, None, schema.task)
    if seen.merged:
        said = "; ".join(f"{listed(map(quoted, same), 60)} as {quoted(name)}" for name, same in seen.merged.items())
        found.append(Remark(DOUBT, f"Spellings of one class in {quoted(schema.target)} were put together: {said}."))
    counts = target.value_counts()
    return [*found, *_about_classes({c: int(counts.get(c, 0)) for c in schema.classes}, seen.order, schema)]


def _about_classes(counts: dict, order: str, schema: Schema) -> list[Remark]:
    name, classes = quoted(schema.target), list(counts)
    said = listed((f"{quoted(c)} ({n})" for c, n in counts.items()), 120)
    if schema.task == "binary":
        if order == "plain":
            return []
        turn = f"categories={{{name}: [{quoted(classes[1])}, {quoted(classes[0])}]}}"
        text = f"Of the classes {said} of {name}, {quoted(classes[1])} is the positive one, being last in the alphabet"
        return [Remark(VOID, f"{text}; to turn that round give {turn}.")]
    if all(cells.number_in(c) is not None for c in classes):
        way = "" if isinstance(classes[0], str) else "; for numbers give task='regression'"
        return [Remark(DOUBT, f"The target {name} has {len(classes)} whole numbers, read as classes: {said}{way}.")]
    rare = min(counts.values()) < max(5, sum(counts.values()) / 50)
    if rare or any(pair <= {cells.key(c) for c in classes} for pair in _WHOLE):
        return [Remark(VOID, f"The target {name} has {len(classes)} classes: {said}; are all of them meant?")]
    return []


def spellings(frame: pd.DataFrame, names: Sequence[str]) -> list[Remark]:
    """Categories that differ in case, accents or punctuation alone."""
    alike = {c: same for c in names if (same := _alike(frame[c].dropna().unique()))}
    if not alike:
        return []
    said = (f"{listed(map(quoted, same), _ROOM)} in {quoted(c)}" for c, same in alike.items())
    return [Remark(DOUBT, f"Nearly the same, but read as different categories: {listed(said)}.")]


_ROOM = 60


def hospitals(names: pd.Series) -> list[Remark]:
    """Names of hospitals that differ in case, accents or punctuation alone."""
    written = sorted({str(v) for v in names.dropna().unique()})
    found = []
    if alike := _alike({v.strip(): None for v in written}):
        text = f"Nearly the same, but read as different hospitals: {listed(map(quoted, alike))}."
        found.append(Remark(VOID, text))
    if bare := [v for v in written if v != v.strip() and v.strip() in written]:
        text = f"Read as one hospital each, blanks around their names being stripped: {listed(map(quoted, bare))}."
        found.append(Remark(DOUBT, text))
    return found


def _alike(values) -> list[str]:
    same: dict[str, list[str]] = {}
    for value in map(str, values):
        same.setdefault(_bare(value), []).append(value)
    return [v for group in same.values() if len(group) > 1 for v in sorted(group)]


def _bare(text: str) -> str:
    """A spelling without case, accents, punctuation between words, and blanks."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() or c in "+<>=" else " " for c in plain).split()
    # "A-" is not "A", and 1.5 is neither 1-5 nor 15.
    return " ".join(words) if text[-1:].isalnum() and not any(c.isdigit() for c in text) else " ".join(plain.split())

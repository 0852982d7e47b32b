"""What to predict: the task, the classes, and in which order they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from fedlab_utils._arguments import one_of
from fedlab_utils.data import cells, refusals
from fedlab_utils.data.sentences import listed, quoted

Task = Literal["binary", "multiclass", "regression"]
MOST_CLASSES = 20

# Of two classes one of which is such a word, the other one is positive; so is the second of numbers.
_NEGATIVE = frozenset((
    "no", "false", "negative", "neg", "absent", "control", "controls", "healthy", "normal", "benign", "alive",
    "survived", "well", "none", "never", "low", "without", "unaffected", "uninfected", "discharged",
))  # fmt: skip
_LETTERS = {("n", "y"), ("n", "p"), ("f", "t")}


@dataclass(frozen=True)
class Outcome:
    """How to read the target.

    Attributes
    ----------
    task, classes
        As in `Schema`.
    missing
        Texts that count as missing.
    order
        Who says in which order the classes stand: "declared", "plain" (numbers, no before yes), or the "alphabet".
    merged
        Spellings of one class that differ in case, by class.
    """

    task: Task
    classes: tuple = ()
    missing: frozenset[str] = cells.MARKS
    order: Literal["declared", "plain", "alphabet"] = "plain"
    merged: Mapping[object, tuple[str, ...]] = field(default_factory=dict)


def look(target: pd.Series, given: Sequence | None, task: Task | None) -> Outcome:
    """Task and classes of a target.

    Parameters
    ----------
    target
        The column.
    given
        The classes in their order, where that is public knowledge.
    task
        What it has to be; None lets the values decide.

    Raises
    ------
    ValueError
        With one sentence, if nothing can be learnt from it or it does not fit `given` or `task`.
    """
    if task is not None:
        one_of("task", task, ("binary", "multiclass", "regression"))
    values = target.dropna()
    if values.empty:
        raise ValueError(f"The target {target.name!r} has no values at all.")
    refusals.types(values.to_frame())
    declared = list(given) if given is not None else _declared(values)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(values.cat.categories.dtype)
    if declared is not None:
        return _given(values, declared, task, strict=given is not None)
    missing, order, merged = cells.MARKS, "plain", {}
    if cells.is_text(values):
        values, missing, order, merged = _from_text(values)
    distinct = values.unique().tolist()
    if not distinct:
        raise ValueError(f"The target {target.name!r} has no values at all.")
    if len(distinct) == 1:
        raise ValueError(f"The target {target.name!r} is {distinct[0]!r} in every row; nothing to learn.")
    numbers = all(cells.number_in(v) is not None for v in distinct)
    if numbers and refusals.is_infinite(cells.as_numbers(values)):
        raise ValueError(f"Column {target.name!r} holds infinite or absurd values; make them missing.")
    return _decide(target.name, distinct, task, missing, order, merged)


def _declared(values: pd.Series) -> list | None:
    """The order of an ordered categorical, as far as its values occur."""
    if isinstance(values.dtype, pd.CategoricalDtype) and values.cat.ordered:
        return values.cat.remove_unused_categories().cat.categories.tolist()
    return None


def _given(values: pd.Series, given: list, task: Task | None, *, strict: bool) -> Outcome:
    """Classes that somebody declared; other marks are missing, other values refused."""
    name = values.name
    if strict:
        check_categories(name, given)
    if len(given) == 1:
        raise ValueError(f"The target {name!r} is {given[0]!r} in every row; nothing to learn.")
    if task == "regression" or (task == "binary") != (len(given) == 2) and task is not None:
        raise ValueError(f"task={task!r} does not fit the {len(given)} classes declared for the target {name!r}.")
    known = {cells.key(v) for v in given if isinstance(v, str)}
    stray = [
        v for v in values.unique().tolist() if v not in given and not (isinstance(v, str) and cells.key(v) in known)
    ]
    marks = {cells.key(v) for v in stray if isinstance(v, str) and cells.key(v) in cells.MARKS | cells.WORDS}
    if stranger := [v for v in stray if not (isinstance(v, str) and cells.key(v) in marks)]:
        raise ValueError(f"{name!r} holds {stranger[0]!r}, which is none of {listed(map(quoted, given))}.")
    missing = (cells.MARKS | marks) - known
    return Outcome("binary" if len(given) == 2 else "multiclass", tuple(given), missing, "declared")


def _from_text(values: pd.Series) -> tuple:
    """Text without what is missing, spellings of one class as one; or numbers, if that is what it is."""
    look = cells.look(values)
    refusals.text(values.to_frame(), {values.name: look})
    distinct = cells.counts(values)
    if look.kind == "numbers":
        numbers = cells.as_numbers(values, look.missing).dropna()
        if numbers.nunique() > MOST_CLASSES or not numbers.mod(1).eq(0).all() or not cells.is_text(values):
            return numbers, look.missing, "plain", {}
    missing = look.missing | _words(distinct, look.missing)
    kept = {v: n for v, n in distinct.items() if not (isinstance(v, str) and cells.key(v) in missing)}
    spelt: dict[str, list] = {}
    for value in kept:
        spelt.setdefault(cells.key(value), []).append(value)
    # Of several spellings the most frequent one names the class.
    name = {k: max(same, key=lambda v: (kept[v], str(v))) for k, same in spelt.items()}
    merged = {name[k]: tuple(map(str, same)) for k, same in spelt.items() if len(same) > 1}
    tidy = values.astype(object).map({v: name.get(cells.key(v)) for v in values.unique()}).dropna()
    return tidy, missing, None, merged


def _words(found: Mapping, missing: frozenset[str]) -> frozenset[str]:
    """Words that mean "missing" in a target: "unknown" beside two classes, "none" beside no and yes."""
    words = {cells.key(v) for v in found if isinstance(v, str)} & cells.WORDS
    others = {cells.key(v) for v in found} - words - missing
    if len(others) < 2:
        return frozenset()
    numbers = all(cells.number_in(v) is not None for v in others)
    plain = len(others) == 2 and (numbers or plainly_ordered(*sorted(others)))
    return frozenset(words if plain else words - {"none"})


def plainly_ordered(first: str, second: str) -> bool:
    """Whether nobody doubts that the second of two classes is the positive one."""
    pair = first.strip().casefold(), second.strip().casefold()
    return pair in _LETTERS or (_is_negative(pair[0]) and not _is_negative(pair[1]))


def _is_negative(text: str) -> bool:
    return text in _NEGATIVE or text.startswith(("no ", "not ", "non-", "non ", "no_", "not_", "non_"))


def _decide(name: str, distinct: list, task: Task | None, missing, order, merged) -> Outcome:
    numbers = all(cells.number_in(v) is not None or isinstance(v, bool) for v in distinct)
    whole = numbers and all(float(v).is_integer() for v in distinct)
    if task == "regression" and numbers and not isinstance(distinct[0], bool):
        return Outcome("regression", (), missing)
    if task == "regression":
        raise ValueError(f"task='regression' needs numbers, and the target {name!r} holds {quoted(distinct[0])}.")
    if task == "binary" and len(distinct) > 2:
        raise ValueError(f"task='binary' needs a target of two values, and {name!r} has {len(distinct)} of them.")
    if task == "multiclass" and (len(distinct) == 2 or len(distinct) > MOST_CLASSES or (numbers and not whole)):
        what = "numbers that are not whole" if numbers and not whole else f"{len(distinct)} different values"
        raise ValueError(f"task='multiclass' needs 3 to {MOST_CLASSES} classes, and the target {name!r} has {what}.")
    if numbers and len(distinct) > 2 and not (whole and len(distinct) <= MOST_CLASSES):
        return Outcome("regression", (), missing)
    if len(distinct) > MOST_CLASSES:
        raise ValueError(
            f"The target {name!r} is text with {len(distinct)} different values; group them into at most "
            f"{MOST_CLASSES} classes."
        )
    if numbers:
        classes = sorted(distinct, key=float)
    else:
        classes = sorted(distinct, key=lambda v: (str(v).casefold(), str(v)))
        order = "plain" if len(classes) == 2 and plainly_ordered(*map(str, classes)) else "alphabet"
    return Outcome("binary" if len(classes) == 2 else "multiclass", tuple(classes), missing, order or "plain", merged)


def check_categories(column: str, values: Sequence) -> tuple[str, ...]:
    """A public list of categories as text.

    Raises
    ------
    ValueError
        If it is no list, or names a value twice.
    """
    if isinstance(values, str) or not hasattr(values, "__len__") or not len(values):
        raise ValueError(f"categories[{column!r}] must be a list of values, not {values!r}.")
    text = tuple(cells.text_of(v).strip() for v in values)
    if len(set(text)) < len(text):
        raise ValueError(f"categories[{column!r}] lists a value twice: {list(values)}.")
    return text

"""What no table may hold, said in one sentence that names all columns of that kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from fedlab_utils.data import cells
from fedlab_utils.data.cells import Look
from fedlab_utils.data.sentences import columns, it, listed, quoted, rows

MOST_CATEGORIES = 50
_LARGEST = 1e100  # the squares of larger numbers do not fit into a float
_ROOM = 385  # letters of a sentence


def table(frame: pd.DataFrame, **roles: str | None) -> None:
    """Refuse what is no table, an empty one, and columns that are not there or have two roles at once.

    Raises
    ------
    ValueError
        If that is so. `roles` are column names by what they are for: target, hospital, patient.
    """
    if not isinstance(frame, pd.DataFrame):
        raise ValueError(f"frame must be a pandas DataFrame, not a {type(frame).__name__}.")
    if frame.empty:
        raise ValueError(f"The table is empty: it has {len(frame)} rows and {frame.shape[1]} columns.")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise ValueError(f"The column name {quoted(twice)} occurs more than once; give every column its own name.")
    given = {role: column for role, column in roles.items() if column is not None}
    for role, column in given.items():
        if column not in frame:
            known = listed(map(quoted, frame.columns), 200)
            raise ValueError(f"{role}={column!r} is not a column of the table, which has {known}{_separator(frame)}")
    for role, column in given.items():
        if twins := [r for r, c in given.items() if c == column and r != role]:
            raise ValueError(f"{role} and {twins[0]} are both {column!r}; they must be two columns.")


def _separator(frame: pd.DataFrame) -> str:
    """The end of that sentence: a question, if the file was read with the wrong separator."""
    if frame.shape[1] == 1:
        cell = f"{frame.columns[0]} {next(iter(frame.iloc[:, 0].dropna()), '')}"
        for mark in (";", "\t", "|"):
            if mark in cell:
                return f" alone; did you mean pd.read_csv(..., sep={mark!r})?"
    return "."


def nameless(frame: pd.DataFrame, role: str, column: str | None, what: str) -> None:
    """Refuse rows without a hospital or a patient."""
    if column is None:
        return
    missing = cells.as_text(frame[column], cells.MARKS).isna()
    if missing.any():
        n = int(missing.sum())
        raise ValueError(
            f"{rows(n)} {'has' if n == 1 else 'have'} no {what} in {role}={column!r}; fill it in or leave them out."
        )


def types(frame: pd.DataFrame) -> None:
    """Refuse columns of dates, and of what is neither numbers nor text."""
    if dates := [c for c in frame if holds_dates(frame[c])]:
        what = "it a number" if len(dates) == 1 else "them numbers"
        raise ValueError(f"{columns(dates, 'holds', 'hold')} dates or times; make {what}, such as an age.")
    found = {c: strange_type(frame[c]) for c in frame}
    if strange := {c: name for c, name in found.items() if name}:
        kinds = listed(dict.fromkeys(strange.values()))
        raise ValueError(f"{columns(strange, 'holds', 'hold')} values of type {kinds}; use numbers or text.")


def holds_dates(column: pd.Series) -> bool:
    """Whether a column holds dates, times or spans of time, and not as text."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    return "date" in kind or kind in ("time", "timedelta", "timedelta64", "period", "interval")


def strange_type(column: pd.Series) -> str | None:
    """The type of values that are neither numbers nor text, None if there are none."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind in ("boolean", "integer", "floating", "mixed-integer-float", "decimal", "string", "categorical"):
        return None
    plain = (str, bool, int, float, np.generic)
    strange = [v for v in column.dropna().head(1000) if not isinstance(v, plain)]
    if kind in ("complex", "bytes") or strange:
        return type(strange[0]).__name__ if strange else kind
    return None


def empty(frame: pd.DataFrame, numeric: Sequence[str], missing: Mapping[str, frozenset[str]]) -> None:
    """Refuse columns without a single value."""
    text = [c for c in frame if c not in numeric]
    none = [c for c in numeric if cells.as_numbers(frame[c], missing.get(c, cells.MARKS)).isna().all()]
    none += [c for c in text if not cells.texts(frame[c], missing.get(c, ("",)))]
    if none:
        raise ValueError(f"{columns(none, 'has', 'have')} no values at all; drop {it(none)}.")


def infinite(frame: pd.DataFrame, numeric: Sequence[str], missing: Mapping[str, frozenset[str]]) -> None:
    """Refuse numbers that cannot be squared."""
    large = [c for c in numeric if is_infinite(cells.as_numbers(frame[c], missing.get(c, cells.MARKS)))]
    if large:
        raise ValueError(f"{columns(large, 'holds', 'hold')} infinite or absurd values; make them missing.")


def is_infinite(numbers: pd.Series) -> bool:
    """Whether there is a number that cannot be squared."""
    return bool((numbers.abs() > _LARGEST).any())


def text(frame: pd.DataFrame, looks: Mapping[str, Look], where: str = "Column") -> None:
    """Refuse text that is no list of categories, and say how to read it."""
    refused = {c: look for c, look in looks.items() if look.kind == "refused"}
    if not refused:
        return
    forms: dict[str, list[str]] = {}
    for column, look in refused.items():
        forms.setdefault(look.form, []).append(column)
    said = []
    for form, named in forms.items():
        first = refused[named[0]]
        says = "mostly numbers, but also text" if form == "numbers" else f"{form} as text"
        said.append(f"{columns(named, 'holds', 'hold')} {says} ({quoted(first.example)})")
    sentence = "; ".join(s if k == 0 else s[0].lower() + s[1:] for k, s in enumerate(said))
    readings = [line for form, named in forms.items() for line in remedy(frame[named[0]], refused[named[0]])]
    for k in range(len(readings), 0, -1):
        whole = f"{sentence}: read {it(refused)} as in {'; '.join(readings[:k])}"
        way_out = f", or name {it(refused)} in categories="
        if len(whole) + len(way_out) < _ROOM:
            raise ValueError(f"{whole}{way_out}.")
    raise ValueError(f"{sentence[: _ROOM - 50]}; read as numbers, or name in categories=.")


def remedy(column: pd.Series, look: Look) -> list[str]:
    """The line of pandas that reads a column which looks like that."""
    name = f"frame[{column.name!r}]"
    clean = sum(look.strays.values()) == look.forms.get(look.form, -1)  # nothing else is in the column
    # The methods of text say nothing about cells that are numbers.
    text = f"{name}.str" if all(isinstance(v, str) for v in column.dropna()) else f"{name}.astype(str).str"
    if look.form in ("dates", "times of day"):
        coerce = "" if clean else ", errors='coerce'"
        if look.form == "times of day":
            seconds = "" if look.example.count(":") == 2 else " + ':00'"
            return [f"{name} = pd.to_timedelta({name}{seconds}{coerce}).dt.total_seconds()"]
        first = ", dayfirst=True" if _day_first(look) else ""
        mixed = "" if look.example[:4].isdigit() and clean else ", format='mixed'"
        return [f"{name} = (pd.to_datetime({name}{first}{mixed}{coerce}) - pd.Timestamp('2000-01-01')).dt.days"]
    steps = {
        "numbers": "",
        "thousands marks": f".replace({_mark(look.example)!r}, '')",
        "decimal commas": ".replace(',', '.')",
        "percentages": ".rstrip('% ')",
        "limits of detection": r".lstrip('<>=\u2264\u2265 ')",
        "units": r".extract(r'([-+]?\d+\.?\d*)')[0]",
    }[look.form]
    if look.form == "decimal commas" and any("." in v and "," in v for v in look.strays):
        steps = ".replace('.', '').str" + steps
    if look.form == "numbers":
        return [f"{name} = pd.to_numeric({name}, errors='coerce')"]
    if clean:
        return [f"{name} = {text}{steps}.astype(float)"]
    return [f"{name} = pd.to_numeric({text}{steps}, errors='coerce')"]


def _day_first(look: Look) -> bool:
    dates = [v for v in look.strays if cells.form_of(v) == "dates"]
    beyond = (v[:2].isdigit() and int(v[:2]) > 12 and v[2:3] in "/-" for v in dates)
    return any("." in v[:3] for v in dates) or any(beyond)


def _mark(example: str) -> str:
    return next((mark for mark in example.lstrip("+-") if not mark.isdigit()), ",")


def too_many(frame: pd.DataFrame, categorical: Sequence[str], missing: Mapping[str, frozenset[str]]) -> None:
    """Refuse text columns of more values than anybody calls categories."""
    levels = {c: len(cells.texts(frame[c], missing.get(c, ("",)))) for c in categorical}
    if not (many := {c: n for c, n in levels.items() if n > MOST_CATEGORIES}):
        return
    name, these = f"frame[{next(iter(many))!r}]", it(many)
    how_many = f"{next(iter(many.values()))}" if len(many) == 1 else f"up to {max(many.values())}"
    look = "it looks" if len(many) == 1 else "they look"
    which = columns(many, "has", "have")
    raise ValueError(
        f"Text {which[0].lower()}{which[1:]} {how_many} different values, more than {MOST_CATEGORIES}; drop {these} if "
        f"{look} like an identifier or free text (patient= names the one that tells patients apart), group codes "
        f"by {name} = data.group_rare({name}), or name {these} in categories=."
    )

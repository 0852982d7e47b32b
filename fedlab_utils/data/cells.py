"""What a cell says: a number, a category, or that nothing is known.

Tables come from spreadsheets and registers, and one "?" turns a column of numbers into text. Here the cells of a
column are looked at one by one, and `look` says what the column as a whole is.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import pandas as pd

MOSTLY = 0.8  # a text column with at least this share of numbers is one of numbers
FEW_CODES = 10  # text of so few different whole numbers is taken for codes

# What is written where nothing is known; case does not count.
MARKS = frozenset((
    "", "?", "??", "???", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "na", "n.a.", "n.a", "n/a", "#n/a",
    "#n/a n/a", "#na", "<na>", "nan", "-nan", "#nan", "nat", "null", "(null)", "#null", "n/k", "n.k.", "n/d", "k.a.",
    "missing", "(missing)", "(blank)", "(empty)", "not available", "not recorded", "not known", "#div/0!", "#ref!",
    "#value!", "#name?", "#num!", "#null!", "#error!", "#spill!", "#calc!",
))  # fmt: skip
# Words that mean the same, or are a category of their own.
WORDS = frozenset(("none", "unknown", "unk", "unspecified", "undetermined", "not stated", "not applicable"))

_DIGITS = r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?"
_NUMBER = re.compile(rf"[+-]?(?:{_DIGITS}|inf(?:inity)?)", re.IGNORECASE)
_DAY, _CLOCK = r"[0-9]{1,2}", r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?:\s*[ap]m)?"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = rf"[0-9]{{4}}[-/.]{_DAY}[-/.]{_DAY}|{_DAY}[-/.]{_DAY}[-/.](?:[0-9]{{4}}|[0-9]{{2}})|[0-9]{{4}}-[0-9]{{2}}"
_DATE += rf"|{_DAY}/[0-9]{{4}}|{_DAY}[-. ]+{_MONTH}[-., ]+[0-9]{{2,4}}|{_MONTH}\s+{_DAY},?\s+[0-9]{{4}}"
_UNIT = r"[a-z\u00b5\u03bc\u00b0$\u20ac\u00a3/][a-z\u00b5\u03bc0-9\u00b2\u00b3/^.*-]*"
_LOOSE = rf"[+-]?(?:[0-9]{{1,3}}(?:[,.' ][0-9]{{3}})+(?:[.,][0-9]+)?|[0-9]+,[0-9]+|{_DIGITS})"

# What text that is no number may look like, the most telling first.
FORMS = {
    "dates": rf"(?:{_DATE})(?:[ T]+{_CLOCK}(?:\s*(?:z|utc|[+-][0-9]{{2}}:?[0-9]{{2}}))?)?",
    "times of day": _CLOCK,
    "thousands marks": r"[+-]?[1-9][0-9]{0,2}(?:[,'\u2019 \u00a0\u202f][0-9]{3})+(?:\.[0-9]+)?",
    "decimal commas": r"[+-]?(?:[0-9]+|[0-9]{1,3}(?:\.[0-9]{3})+),[0-9]+(?:e[+-]?[0-9]+)?",
    "percentages": rf"{_LOOSE}\s*%",
    "limits of detection": rf"[<>\u2264\u2265]=?\s*{_LOOSE}",
    "units": rf"[$\u20ac\u00a3]\s*{_LOOSE}|{_LOOSE}\s*(?P<unit>{_UNIT}(?:\s?{_UNIT})?)",
}
_FORMS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in FORMS.items()}
_ALWAYS = ("dates", "times of day", "thousands marks", "decimal commas")  # no list of categories looks like that
Form = Literal["numbers", "dates", "times of day", "thousands marks", "decimal commas", "percentages",
               "limits of detection", "units"]  # fmt: skip


@dataclass(frozen=True)
class Look:
    """What the cells of a text column are.

    Attributes
    ----------
    kind
        "numbers", "categories", or "refused": text that has to be read by whoever knows it.
    form
        What a refused column looks like; "numbers" if most of it is.
    strays
        Cells of a column of numbers that are none, with how often each occurs.
    marks
        Cells of a column of categories that say that nothing is known.
    words
        Cells of a column of categories that may mean so.
    forms
        How many cells look like what.
    example
        A cell that looks like `form`.
    whole_text
        Whether all cells are numbers, written as text for no reason that could be seen.
    minus
        Whether "-" is a finding, beside "+".
    n_numbers, n_levels
        How many different numbers there are, and how many different cells.
    """

    kind: Literal["numbers", "categories", "refused"]
    form: Form | None = None
    strays: dict[str, int] = field(default_factory=dict)
    marks: dict[str, int] = field(default_factory=dict)
    words: dict[str, int] = field(default_factory=dict)
    forms: dict[str, int] = field(default_factory=dict)
    example: str = ""
    whole_text: bool = False
    minus: bool = False
    n_numbers: int = 0
    n_levels: int = 0

    def as_categories(self) -> Look:
        """The same column, if somebody says that all its cells are categories."""
        there = {t: n for t, n in self.strays.items() if key(t) in MARKS}
        return replace(self, kind="categories", form=None, strays={}, marks=there)

    def as_numbers(self) -> Look:
        """The same column, if somebody says that it holds numbers."""
        return replace(self, kind="numbers", whole_text=False)

    @property
    def missing(self) -> frozenset[str]:
        """Cells that count as missing, as `key` has them, whether they occur or not."""
        usual = MARKS - {"-"} if self.minus else MARKS
        return usual | {key(t) for t in self.strays}


def stripped(value):
    """A cell without blanks around it; what is no text stays."""
    return value.strip() if isinstance(value, str) else value


def key(value) -> str:
    """A cell as it is compared with marks: without blanks around it, and without case."""
    return text_of(value).strip().casefold()


def text_of(value) -> str:
    """The text of a category: 4.0 is "4"."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def known_text(value, missing: Collection[str] = ("",)) -> str | None:
    """The text of a category without blanks around it; None where it says that nothing is known."""
    text = text_of(value).strip()
    return text if text and text.casefold() not in missing else None


def number_in(value) -> float | None:
    """The number that a cell holds, or None; true and false are none."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, int | float | np.number):
        return float(value)
    text = str(value).strip().replace("\u2212", "-")
    return float(text) if _NUMBER.fullmatch(text) else None


def counts(column: pd.Series) -> dict:
    """Each present cell of a column, blanks around it stripped, and how often it occurs."""
    found: dict = {}
    for value, n in column.astype(object).value_counts(sort=False).items():
        found[stripped(value)] = found.get(stripped(value), 0) + int(n)
    return found


def look(column: pd.Series) -> Look:
    """What the cells of a text column are; it must not hold anything but text, numbers, true and false."""
    found = counts(column)
    numbers = {v: n for v, n in found.items() if number_in(v) is not None}
    others = {v: n for v, n in found.items() if v not in numbers}
    text = {v: n for v, n in others.items() if key(v) not in MARKS}
    n_numbers, n_text = sum(numbers.values()), sum(text.values())
    distinct = {number_in(v) for v in numbers}
    if numbers and n_numbers >= MOSTLY * (n_numbers + n_text):
        blanks = any(v != stripped(v) for v in column.dropna().unique())
        dirty = bool(others) or blanks or any(not isinstance(v, str) for v in numbers)
        codes = len(distinct) <= FEW_CODES and all(float(v).is_integer() for v in distinct)
        kind = "categories" if codes and not dirty else "numbers"
        strays = {str(v): n for v, n in others.items()}
        whole = not others and not blanks and all(isinstance(v, str) for v in numbers)
        about = dict(n_numbers=len(distinct), n_levels=len(found))
        return Look(kind, strays=strays, forms=_forms(text), whole_text=whole, **about)
    forms = _forms(text)
    if form := _looks_like(forms, n_numbers, n_text, len(found)):
        example = str(next(iter(text), "")) if form == "numbers" else _example(text, form)
        strays = {str(v): n for v, n in others.items()}
        about = dict(n_numbers=len(distinct), n_levels=len(found))
        return Look("refused", form, strays, forms=forms, example=example, **about)
    plus = any(str(v).startswith("+") for v in text)  # then "-" is a finding
    marks = {str(v): n for v, n in others.items() if key(v) in MARKS and not (plus and v == "-")}
    words = {str(v): n for v, n in text.items() if key(v) in WORDS}
    return Look("categories", marks=marks, words=words, minus=plus, n_levels=len(found))


def _forms(text: dict) -> dict[str, int]:
    forms: dict[str, int] = {}
    units: dict[str | None, int] = {}
    for value, n in text.items():
        if isinstance(value, str) and (form := form_of(value)):
            forms[form] = forms.get(form, 0) + n
            if form == "units":
                unit = _FORMS[form].fullmatch(value)["unit"]
                units[unit] = units.get(unit, 0) + n
    if units:
        forms["units"] = max(units.values())  # 3a and 3b are no numbers with units
    if forms.keys() >= {"thousands marks", "decimal commas"} and all(
        "," in v for v in text if isinstance(v, str) and form_of(v) == "thousands marks"
    ):
        forms["decimal commas"] += forms.pop("thousands marks")  # 1,234 among 1,2 and 1,23
    return forms


def form_of(text: str) -> str | None:
    """What text that is no number looks like, None if nothing is known that looks like it."""
    return next((name for name, form in _FORMS.items() if form.fullmatch(text)), None)


def _example(text: dict, form: str) -> str:
    like = (v for v in text if isinstance(v, str) and form_of(v) in (form, "thousands marks"))
    return next(like, "")


def _looks_like(forms: dict[str, int], n_numbers: int, n_text: int, n_distinct: int) -> Form | None:
    """What most cells look like, if a column of categories does not look like that."""
    half = 0.5 * (n_numbers + n_text)
    sure = {f: n for f, n in forms.items() if f in _ALWAYS}
    if sure and sum(sure.values()) + n_numbers > half:
        return max(sure, key=sure.get)
    if n_numbers > half:
        return max(forms, key=forms.get) if sum(forms.values()) > 0.5 * n_text else "numbers"
    # "50 mg", "100 mg" or "<40", "40+" may be categories; many of them, hardly one of which occurs again, are not.
    if forms and sum(forms.values()) + n_numbers > half and n_distinct > min(FEW_CODES, half):
        return max(forms, key=forms.get)
    return None


def as_numbers(column: pd.Series, missing: Collection[str] = MARKS) -> pd.Series:
    """A column of numbers or of true and false; floats where something is missing.

    Text is read as a number, and counts as missing where it is among `missing`.

    Raises
    ------
    ValueError
        If there is anything else.
    """
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iub":
        return column
    if not is_text(column):
        return pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index, name=column.name)
    numbers = {}
    for value in column.astype(object).dropna().unique():
        number = float(value) if isinstance(value, bool | np.bool_) else number_in(value)
        if number is None and key(value) not in missing:
            raise ValueError(f"{value!r} in column {column.name!r} is no number.")
        numbers[value] = np.nan if number is None else number
    return column.astype(object).map(numbers).astype(float)


def as_text(column: pd.Series, missing: Collection[str] = ("",)) -> pd.Series:
    """A column of categories as text: 4.0 becomes "4", blanks around it go; what is among `missing` is missing."""
    place, distinct = factorized(column)
    text = [known_text(value, missing) or np.nan for value in distinct]
    return pd.Series(np.array([*text, np.nan], object)[place], index=column.index, name=column.name, dtype=object)


def texts(column: pd.Series, missing: Collection[str] = ("",)) -> set[str]:
    """The different texts of `as_text`."""
    return {known_text(value, missing) for value in factorized(column)[1]} - {None}


def factorized(column: pd.Series) -> tuple[np.ndarray, pd.Index]:
    """Where each row's value stands among the different ones ``[rows]``, -1 for none; and these, to be read once."""
    plain = column.dtype in (np.float64, np.int64, object)  # others may print in another way than what they hold
    return pd.factorize(column if plain else column.astype(object))


def is_text(column: pd.Series) -> bool:
    """Whether a column holds any text."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = pd.Series(column.cat.categories)
    if isinstance(column.dtype, np.dtype) and column.dtype != object:
        return False
    return pd.api.types.infer_dtype(column, skipna=True) in ("string", "mixed", "mixed-integer")

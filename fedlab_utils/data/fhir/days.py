"""Dates of FHIR: a day, or as much of one as somebody wrote down.

"2014" may be any day of that year. So every date here is a pair of days, the first and the last that it may be, and a
question such as "was this before the index date?" has three answers: yes, no, and nobody knows.
"""

from __future__ import annotations

import calendar
import re
from datetime import date
from functools import lru_cache
from typing import NamedTuple

_WRITTEN = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:T\S+)?)?)?")
_FIRST, _LAST = date(1, 1, 2).toordinal(), date(9990, 1, 1).toordinal()


class Days(NamedTuple):
    """The first and the last day that a date may be, as ordinals of `datetime.date`; `ANY` if nothing is known."""

    first: int
    last: int


ANY = Days(_FIRST, _LAST)


def read(value) -> Days | None:
    """The days of a FHIR date, dateTime or instant; None if it is none.

    The day is the one on the clock of whoever wrote it: the time of day and the zone are not looked at.
    """
    return _days(value) if isinstance(value, str) else None


@lru_cache(100_000)
def _days(text: str) -> Days | None:
    found = _WRITTEN.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    try:
        first = date(year, month or 1, day or 1)
        last_month = month or 12
        last = date(year, last_month, day or calendar.monthrange(year, last_month)[1])
    except ValueError:  # the 31st of February
        return None
    return Days(first.toordinal(), last.toordinal()) if _FIRST <= first.toordinal() <= _LAST else None


def years_later(day: date, years: int) -> date:
    """The same day of another year; of the 29th of February the 28th where there is none."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return day.replace(year=day.year + years, day=28)


def age(born: Days, on: date) -> int | None:
    """Completed years; None where the date of birth leaves two answers."""
    ages = {on.year - b.year - ((on.month, on.day) < (b.month, b.day)) for b in map(date.fromordinal, born)}
    return ages.pop() if len(ages) == 1 else None

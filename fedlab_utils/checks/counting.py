"""How many checks have passed so far: kept in a file on the learner's own machine, without a name.

The file is the one that the environment variable FEDLAB_TALLY names, which ``course.py lab`` sets; without it nothing
is kept. It has a line for each check that ever passed.
"""

from __future__ import annotations

import html
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PLACE = "FEDLAB_TALLY"


@dataclass(frozen=True)
class Tally:
    """Passed checks of each lesson.

    Attributes
    ----------
    lessons
        Number of the lesson -> how many of its checks have passed, and how many there are.
    """

    lessons: Mapping[str, tuple[int, int]]

    def __repr__(self) -> str:
        passed, there = (sum(numbers) for numbers in zip(*self.lessons.values(), strict=True))
        return f"{passed} of {there} checks passed"

    def _repr_html_(self) -> str:
        rows = [
            f"<tr><td>{html.escape(lesson)}</td><td><meter min=0 max={there} value={passed} "
            f'aria-label="lesson {html.escape(lesson)}"></meter></td><td>{passed} of {there}</td></tr>'
            for lesson, (passed, there) in self.lessons.items()
        ]
        return f"<p><b>{self!r}</b></p><table><tr><th>lesson</th><th></th><th>passed</th></tr>{''.join(rows)}</table>"


def note(check: str) -> None:
    """Keep that a check has passed. A file that cannot be written spoils no exercise: then nothing is kept."""
    if (place := os.environ.get(PLACE)) and check not in noted():
        with suppress(OSError), open(place, "a", encoding="utf-8") as file:
            file.write(f"{check}\n")


def noted() -> set[str]:
    """The names of the checks that ever passed here."""
    try:
        return set(Path(os.environ.get(PLACE, "")).read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError):
        return set()


def counted(checks: Mapping[str, Callable]) -> Tally:
    """How many of these checks have passed on this machine, ever, by the lesson whose module they stand in."""
    passed, lessons = noted(), {}
    for name, check in checks.items():
        _, found, lesson = check.__module__.rpartition("lesson_")
        if found:
            done, there = lessons.get(lesson, (0, 0))
            lessons[lesson] = (done + (name in passed), there + 1)
    return Tally(dict(sorted(lessons.items())))

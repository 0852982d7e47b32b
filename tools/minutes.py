"""How long a lesson takes in class, counted from its source: core and deep parts apart.

python tools/minutes.py             a line for each lesson: counted, and what its head says
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lessons

WORDS_A_MINUTE = 200
EXERCISE, LAB, FIGURE = 4.0, 5.0, 0.75  # minutes
CODE_LINE = 2 / 60  # half of the four seconds that reading one takes: half of the lines are skimmed
SKIPPED = {"solution", "setup"}  # nobody reads them in class
STATED = re.compile(r"\*\*Time:\*\* (\d+) minutes(?:[^.;]*;[^.]*?another (\d+))?")


def words(text: str) -> int:
    """Words that are read: marks of Markdown and HTML, formulas' signs and addresses do not count."""
    text = re.sub(r"<details>.*?</details>", " ", text, flags=re.S)  # folded answers
    text = re.sub(r"<[^>]+>|https?://\S+|[|#*`$\\{}_^]", " ", text)
    return sum(any(letter.isalnum() for letter in word) for word in text.split())


def of_cell(cell) -> float:
    """Minutes that a class spends on one cell."""
    if SKIPPED & set(cell.metadata.get("tags", [])):
        return 0.0
    if cell.cell_type == "markdown":
        return words(cell.source) / WORDS_A_MINUTE + EXERCISE * cell.source.count("<b>Your turn")
    lines = [line for line in cell.source.splitlines() if line.strip()]
    looked_at = FIGURE * cell.source.count("plots.show(") + LAB * cell.source.count("widgets.lab(")
    return len(lines) * CODE_LINE + looked_at


def counted(source: Path) -> tuple[float, float]:
    """Minutes of the core and of the deep parts of a lesson."""
    minutes = {"core": 0.0, "deep": 0.0}
    for cell in lessons.load(source).cells:
        minutes["deep" if "deep" in cell.metadata.get("tags", []) else "core"] += of_cell(cell)
    return minutes["core"], minutes["deep"]


def stated(source: Path) -> tuple[int, int]:
    """Minutes that the head of the lesson promises for its core and its deep parts."""
    head = " ".join(line.removeprefix("#").strip() for line in source.read_text(encoding="utf-8").splitlines()[:120])
    found = STATED.search(head)
    if not found:
        raise ValueError(f"{source.name} does not say how long it takes ('**Time:** 45 minutes ...').")
    return int(found[1]), int(found[2] or 0)


if __name__ == "__main__":
    for path in filter(lessons.is_lesson, lessons.sources()):
        (core, deep), (says, more) = counted(path), stated(path)
        print(f"{path.stem:28} counted {core:4.0f} + {deep:3.0f}   says {says} + {more}")

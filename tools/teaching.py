"""What the page for those who teach a lesson says, dealt out to the parts of the lesson."""

from __future__ import annotations

import math
import re
from collections import Counter

LIKE = 0.16  # share of a bullet's weight that a section has to know; else it goes to the lesson's first slide
SUMS_UP = {"Recap", "Quiz"}  # they speak of everything
COMMON = set("ask the and that this with what from for are not has have was who how can its one their they all".split())


def words(text: str) -> set[str]:
    """The words of a text without their endings; what is written as code stays whole."""
    found = re.findall(r"[A-Za-z_]{3,}", text.lower())
    return {re.sub(r"(ing|ed|es|s|ly)$", "", word) if len(word) > 4 else word for word in found if word not in COMMON}


def bullets(page: str) -> list[str]:
    """What people stumble over and questions to ask, each in one line."""
    found = re.findall(r"^(-|\d+\.) (.*(?:\n  +.*)*)", page, re.M)
    return [("" if mark == "-" else "Ask: ") + " ".join(text.split()) for mark, text in found]


def parts(page: str) -> list[tuple[str, str, str]]:
    """The rows of the clock: part, minutes, what can be cut. Deep parts and sums are left out."""
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \|([^|]*)\|$", page, re.M)
    return [(part, minutes, cut.strip()) for part, minutes, cut in rows if "◆" not in part]


def notes(slides: list, page: str) -> list[tuple[object, str]]:
    """Pairs of a slide and a note on it: a section's first slide gets its minutes, and where people stumble."""
    begins = [k for k, slide in enumerate(slides) if slide.level < 3]
    if not begins or not page:
        return []
    ends = [*begins[1:], len(slides)]
    titles = {k: words(" ".join({slide.title for slide in slides[k:end]})) for k, end in zip(begins, ends, strict=True)}
    pieces = {k: slides[k:end] for k, end in zip(begins, ends, strict=True) if slides[k].title not in SUMS_UP}
    said = {k: words(_said(part)) for k, part in pieces.items()}
    seen = Counter(word for known in said.values() for word in known)
    weight = {word: math.log(1 + len(said) / n) for word, n in seen.items()}
    found = []
    for text in reversed(bullets(page)):
        loud = words(" ".join(re.findall(r"`[^`]+`|\*[^*]+\*", text)))
        heard = {word: w * (3 if word in loud else 1) for word, w in weight.items()}
        found.append((slides[_best(text, said, heard, LIKE, begins[0])], f"- {text}"))
    for part, minutes, cut in reversed(parts(page)):
        where = _best(part, titles, dict.fromkeys(weight, 1.0), like=0.3, default=begins[0])
        found.append((slides[where], f"**{part}: {minutes} minutes.**" + (f" Can be cut: {cut}." if cut else "")))
    return found


def _said(slides: list) -> str:
    """All that is on these slides and known beside them."""
    return "\n".join(
        "\n".join([slide.title, *slide.notes, *(f"{item.cell.source} {item.note}" for item in slide.items)])
        for slide in slides
    )


def _best(text: str, there: dict[int, set[str]], weight: dict[str, float], like: float, default: int) -> int:
    """Where most of the text's weight is known, for how much is said there; else the default."""
    mine = words(text)
    known = {k: sum(weight.get(word, 0) for word in mine & theirs) for k, theirs in there.items()}
    score = {k: known[k] / (20 + len(there[k])) ** 0.3 for k in there}
    best = max(score, key=score.get)
    whole = sum(weight.get(word, math.log(1 + len(there))) for word in mine)
    return best if whole and known[best] >= like * whole else default

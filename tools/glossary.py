"""The glossary: its terms, where the lessons first use them, and the links from there.

    python tools/glossary.py            for each term its first use, and whether that is linked
    python tools/glossary.py 02 06      link the first uses that stand in these lessons (then store: lessons.py --texts)

A use is one in running text, as the glossary writes it; "masks" and "a mask" are one term, "Drift" as the name of a
picture is none. What headings, tables, boxes, code, formulas and lists of literature say does not count.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import lessons

PAGE = lessons.ROOT / "docs" / "glossary.md"
FROM_A_LESSON = "../docs/glossary.md"
LINK = re.compile(rf"\[([^\]]+)\]\({re.escape(FROM_A_LESSON)}#([^)]*)\)")
WIDEST = 120  # letters of a line
NO_TEXT = re.compile(  # no running text: what a link to the glossary says stays
    r'^#+ Further reading.*|<div class="alert.*?</div>|<summary>.*?</summary>|^```.*?^```|\$\$.*?\$\$'
    r"|^#+ [^\n]*$|^\|[^\n]*$|`[^`]+`|\$[^$]+\$|(?<=\])\([^)]*\)|<[^>]+>",
    re.S | re.M,
)


@dataclass(frozen=True)
class Term:
    name: str
    says: str

    @property
    def anchor(self) -> str:
        """As JupyterLab names the heading; a site of Sphinx wants it in small letters."""
        return self.name.replace(" ", "-")

    @property
    def used(self) -> re.Pattern:
        """The term in running text, one or several of it."""
        many = "(?:es|s)?" if not self.name.endswith("s") else "?"
        words = r"\s+".join(map(re.escape, self.name.split()))
        return re.compile(rf"(?<![\w-])(?<!label )(?<!label\n){words}{many}(?![\w-])")


@dataclass(frozen=True)
class Use:
    lesson: str  # its number
    cell: int  # among all of the source
    start: int  # where in the cell's text
    words: str
    linked: bool


def terms() -> list[Term]:
    """What the page defines, in its order."""
    found = re.findall(r"^## ([^\n]+)\n\n(.+?)(?=\n\n## |\Z)", PAGE.read_text(encoding="utf-8"), re.S | re.M)
    return [Term(name, says.strip()) for name, says in found]


def running_text(source: str) -> str:
    """A cell's text with all else blanked out, of the same length."""
    return NO_TEXT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), source)


def texts() -> list[tuple[str, int, str]]:
    """The number, the place and the text of each cell of text, in the order of the course."""
    found = []
    for source in filter(lessons.is_lesson, lessons.sources()):
        cells = lessons.load(source).cells
        found += [(source.name[:2], k, cell.source) for k, cell in enumerate(cells) if cell.cell_type == "markdown"]
    return found


def first_uses(cells: list[tuple[str, int, str]]) -> dict[str, Use]:
    """For each term where it is used first, if it is."""
    found: dict[str, Use] = {}
    wanted = terms()
    for lesson, k, source in cells:
        text = running_text(source)
        links = [(m.start(1), m.end(1), m[2]) for m in LINK.finditer(source)]
        for term in wanted:
            match = term.used.search(text) if term.name not in found else None
            if match:
                linked = any(a <= match.start() and match.end() <= b and to == term.anchor for a, b, to in links)
                found[term.name] = Use(lesson, k, match.start(), match.group(), linked)
    return found


def links(cells: list[tuple[str, int, str]]) -> list[tuple[str, str]]:
    """All links to the glossary: the lesson's number, and where they lead."""
    return [(lesson, match[2]) for lesson, _, source in cells for match in LINK.finditer(source)]


def folded(line: str) -> str:
    """A line of a source in pieces that are not too long; a link stays in one."""
    margin = re.match(r"# (?: *(?:- |\d+\. )| *)", line).group()
    goes_on = "# " + " " * (len(margin) - 2)
    words = re.findall(r"(?:\[[^\]]*\]\([^)]*\)|\S)+", line[len(margin) :])
    rows = [margin + words[0]]
    for word in words[1:]:
        if len(rows[-1]) + 1 + len(word) <= WIDEST:
            rows[-1] += f" {word}"
        else:
            rows.append(goes_on + word)
    return "\n".join(rows)


def link(source: Path, uses: dict[str, Use]) -> int:
    """Write links at these uses into the source of a lesson; how many."""
    nb, text, done = lessons.load(source), source.read_text(encoding="utf-8"), 0
    anchors = {term.name: term.anchor for term in terms()}
    for name, use in sorted(uses.items(), key=lambda pair: (pair[1].cell, pair[1].start), reverse=True):
        before = nb.cells[use.cell].source
        there = before[use.start : use.start + len(use.words)]
        begins = before.rfind("\n", 0, use.start) + 1
        old = "# " + before[begins:].split("\n")[0]
        column = 2 + use.start - begins
        if there != use.words or "\n" in there or text.count(f"\n{old}\n") != 1:
            print(f"{source.name}: link {name!r} by hand in: {old}")
            continue
        new = old[:column] + f"[{there}]({FROM_A_LESSON}#{anchors[name]})" + old[column + len(there) :]
        text, done = text.replace(f"\n{old}\n", f"\n{folded(new)}\n"), done + 1
        source.write_text(text, encoding="utf-8", newline="\n")
        nb = lessons.load(source)
    return done


def main(arguments: list[str]) -> int:
    uses = first_uses(texts())
    for source in filter(lessons.is_lesson, lessons.sources()):
        if source.name[:2] in arguments:
            link(source, {name: u for name, u in uses.items() if u.lesson == source.name[:2] and not u.linked})
    for name, use in {term.name: uses.get(term.name) for term in terms()}.items():
        print(f"{name:24}", f"{use.lesson} {'linked' if use.linked else 'not linked yet'}" if use else "never used")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

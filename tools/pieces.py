"""The pieces that slides are made of: what a cell of a lesson leaves on one, and about how much room that takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

import nbformat

HEIGHT = 540  # px under the title, of a frame of 720; what is estimated here, a test looks at in a browser
SHOWN_CODE = 14  # lines of a definition that is shown without a mark
PRINTED = 14  # lines
WIDE = 72  # letters of a formula
LONGEST = 680  # px of a table in small print, reckoned with care; a longer one stays in the lesson
LIST = 70  # words of a list
SMALL = 0.75  # of the height, in small print
PICTURE = 390  # px that a picture has at least; it takes what is left
BLOCK = re.compile(  # what blank lines do not part
    r"\s*(?:<details>.*?</details>|<div class=\"alert.*?</div>|^\$\$.*?\$\$$|^```.*?^```$|(?:(?!\n\s*\n).)+)",
    re.S | re.M,
)
END = re.compile(r"[.!?][\"*)]*\s+(?=[A-Z0-9\"'(*`$\[<])")  # of a sentence, and what it is wrapped in
NO_END = re.compile(r"\b(al|e\.g|i\.e|vs|Fig|cf|St|Dr)\.[*)\"]*$")
EXERCISE = re.compile(r"\bYour turn\b")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")  # of a page that does not lie beside the slides


@dataclass
class Item:
    """One thing on a slide, and about how many pixels it is high."""

    cell: nbformat.NotebookNode
    kind: str  # text, list, table, formula, exercise, code, picture, printed
    height: float
    words: int = 0
    note: str = ""  # what the speaker knows beside it


# ---------------------------------------------------------------- what stands in a cell


def blocks(text: str) -> list[str]:
    """Paragraphs, lists, tables, formulas, boxes; what is folded stays in one piece."""
    return [found.group().strip() for found in BLOCK.finditer(text) if found.group().strip()]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph. Bold, slanted and bracketed text is in one piece."""
    text, found = " ".join(paragraph.split()), []
    cuts = [0, *(end.end() for end in END.finditer(text)), len(text)]
    for part in (text[a:b].strip() for a, b in zip(cuts, cuts[1:], strict=False)):
        whole = found and not (NO_END.search(found[-1]) or _open(found[-1]))
        if whole or not found:
            found.append(part)
        else:
            found[-1] += " " + part
    return found


def _open(text: str) -> bool:
    return text.count("**") % 2 or text.replace("**", "").count("*") % 2 or text.count("(") > text.count(")")


def count(text: str) -> int:
    """Words that are read: a formula counts as one."""
    return len(re.sub(r"\$[^$]+\$|<[^>]+>", " x ", text).split())


def gist(paragraph: str, budget: int) -> str:
    """The first sentences of a paragraph within a budget of words, at least one, and those in which something is bold.

    What stands in brackets is an aside, and is left to the notes.
    """
    said = [sentence for sentence in sentences(paragraph) if not sentence.startswith("(")]
    kept, used = set(), 0
    for k, sentence in enumerate(said):
        used += count(sentence)
        if used > budget and kept:
            break
        kept.add(k)
    kept |= {k for k, sentence in enumerate(said) if "**" in sentence}
    return " ".join(said[k] for k in sorted(kept))


def kind_of(block: str) -> str:
    if re.match(r"#+ ", block):
        return "heading"
    for kind, start in {
        "details": "<details>",
        "exercise": '<div class="alert',
        "formula": "$$",
        "code": "```",
    }.items():
        if block.startswith(start):
            return "exercise" if kind == "exercise" and EXERCISE.search(block) else kind.replace("exercise", "text")
    return "table" if block.startswith("|") else "list" if re.match(r"(-|\d+\.) ", block) else "text"


def lines(text: str, width: int) -> int:
    return -(-max(len(re.sub(r"<[^>]+>|\]\([^)]*\)|[*`]", "", text)), 1) // width)


def height_of(block: str, kind: str) -> float:
    """About how many pixels a block of Markdown is high."""
    if kind == "formula":
        return 60 + 44 * (1 + block.count("\\\\"))
    if kind == "code":
        return 30 + 26 * block.count("\n")
    if kind == "table":
        rows = [row.strip("|").split("|") for row in block.splitlines() if not re.match(r"\|[ :-]+-", row)]
        width = [max(len(cell) for cell in column) for column in zip(*rows, strict=False)]
        share = [max(w, 8) * 104 / max(104, sum(width)) for w in width]
        return 20 + sum(
            10 + 28 * max(lines(c, max(int(w), 8)) for c, w in zip(row, share, strict=False)) for row in rows
        )
    if kind == "list":
        return 10 + sum(8 + 37 * lines(" ".join(item.split()), 80) for item in re.split(r"\n(?=-|\d+\.)", block))
    return 16 + 37 * lines(" ".join(block.split()), 84) + 40 * (kind == "exercise")


def text_item(block: str, kind: str) -> Item:
    block = LINK.sub(r"\1", block)
    words = 0 if kind in ("table", "code", "formula") else count(block)
    height = height_of(block, kind)
    long = (
        kind == "table"
        and height > HEIGHT - 120
        or kind == "formula"
        and any(len(row) > WIDE for row in rows_of(block))
    )
    size = f"small {kind}" if long else kind
    cell = nbformat.v4.new_markdown_cell(block, metadata={"kind": size})
    return Item(cell, kind, height * (SMALL if size != kind else 1), words)


def rows_of(formula: str) -> list[str]:
    """The lines that a formula is drawn in, about as long as they look."""
    drawn = re.sub(
        r"\\(text|mathrm|operatorname|tfrac|frac|qquad|quad|left|right|,|;|;)|[{}^_&$]", "", " ".join(formula.split())
    )
    return re.sub(r"\\[a-zA-Z]+", "x", drawn).split("\\\\")


def shortened(block: str) -> str:
    """A list of which each entry keeps its first sentences, if all of it would be too much to read from a slide."""
    if count(block) <= LIST:
        return block
    entries = re.split(r"\n(?=- |\d+\. )", block)
    marks = [re.match(r"(- |\d+\. )(.*)", entry, re.S).groups() for entry in entries]
    return "\n".join(mark + gist(text, LIST // len(entries)) for mark, text in marks)


# ---------------------------------------------------------------- what a code cell shows


def mark(cell: nbformat.NotebookNode) -> str:
    """What its source says about slides."""
    return cell.metadata.get("slideshow", {}).get("slide_type", "")


def code_items(cell: nbformat.NotebookNode) -> list[Item]:
    """The code, if it is the thought, and what the cell shows; a check says nothing yet."""
    asks = re.search(r"^checks\.\w+\(", cell.source, re.M)
    outputs = [] if asks or "ready()" in cell.source else [o for o in cell.outputs if o.output_type != "error"]
    hidden = cell.metadata.get("jupyter", {}).get("source_hidden", False)
    length = len(cell.source.splitlines())
    own = re.search(r"^own = |^%|get_ipython", cell.source, re.M)  # where a learner's table goes: not a thought
    defines = not cell.outputs and length <= SHOWN_CODE and not own
    found = []
    if not hidden and (asks or mark(cell) == "slide" or defines):
        small = length > SHOWN_CODE
        code = nbformat.v4.new_code_cell(cell.source.strip(), metadata={"kind": "small" if small else "code"})
        found.append(Item(code, "code", 30 + (21 if small else 26) * length))
    printed = "".join(o.text for o in outputs if o.output_type == "stream").rstrip()
    if printed:
        found.append(printed_item(printed))
    for output in [o for o in outputs if o.output_type != "stream"]:
        html = output.data.get("text/html", "")
        if "<img" in html:
            found.append(Item(_showing([output], "picture"), "picture", PICTURE + 75 * ("<figcaption" in html)))
        elif "<table" in html:
            grid = grid_item(output, html)
            found += [grid] if grid.height < LONGEST else []
        elif not html:
            found.append(printed_item(output.data.get("text/plain", "")))
    return found


def printed_item(text: str) -> Item:
    """What a cell prints; of very much the first lines are enough, the rest is in the lesson."""
    rows, high = [], 0
    for row in text.splitlines():
        high += lines(row, 94)
        rows.append(row if high <= PRINTED else "...")
        if high > PRINTED:
            break
    shown = nbformat.v4.new_output("stream", text="\n".join(rows))
    return Item(_showing([shown], "printed"), "printed", 40 + 27 * sum(lines(row, 94) for row in rows))


def grid_item(output: nbformat.NotebookNode, html: str) -> Item:
    """A table of pandas, in small print if it is wide or long."""
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.S) for row in re.findall(r"<tr.*?</tr>", html, re.S)]
    columns = [[row[k] for row in rows if k < len(row)] for k in range(max(map(len, rows)))]
    width = sum(2 + max(len(cell.strip()) for cell in column) for column in columns)
    small = width > 92 or len(rows) > 13
    height = 40 + len(rows) * (24 if small else 31) * -(-width // (128 if small else 100))
    return Item(_showing([output], "small grid" if small else "grid"), "printed", height)


def _showing(outputs: list, kind: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell("", outputs=outputs, metadata={"kind": kind})

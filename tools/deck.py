"""From a stored lesson to slides: a notebook whose cells say on which slide they stand, as nbconvert wants it.

A rule makes the split, and few marks in the sources help it. Headings begin sections; a paragraph leaves on the slide
its first sentences and what is bold, and goes whole into the speaker's notes; a picture, a printed result or a table
stands with the sentences that read it; an exercise stands by itself with its question; code is shown where it defines
something short and shows nothing. Deep cells, solutions, hints, answers and further reading stay away.

A code cell of a source may say otherwise: slideshow={"slide_type": "slide"} shows its code beside what it shows,
"skip" leaves the cell out, also one of text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import nbformat
import teaching
from pieces import HEIGHT, LINK, Item, blocks, code_items, gist, kind_of, mark, shortened, text_item

AWAY = {"deep", "solution"}
NOT_SHOWN = {"Further reading"}
WORDS = 90  # on a slide
GIST, CAPTION, LEAD = 42, 26, 12  # words of a paragraph; of one that reads a picture; that may stand over a picture
THIN = 34  # words; with fewer and nothing else it is no slide
ROOMY = 300  # px; with less the print is larger
OWN = "`own`"  # the name under which learners put in a table of theirs: not for a slide


@dataclass
class Slide:
    title: str
    level: int  # 1 the lesson's name, 2 begins a section, 3 goes on with it
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def height(self) -> float:
        return sum(item.height for item in self.items)

    @property
    def words(self) -> int:
        return sum(item.words for item in self.items)

    def has(self, kind: str) -> bool:
        return any(item.kind == kind for item in self.items)


class Deck:
    """Slides that are being filled, one thing after the other."""

    def __init__(self) -> None:
        self.slides: list[Slide] = []
        self.shown = True  # False in a section that is left out
        self.lead: Item | None = None  # a paragraph that ends in a colon

    @property
    def last(self) -> Slide:
        return self.slides[-1]

    def begin(self, title: str, level: int) -> None:
        self.forget_lead()
        self.shown = title not in NOT_SHOWN
        if self.shown:
            self.slides.append(Slide(title, level))

    def forget_lead(self) -> None:
        """A sentence that leads to nothing on a slide is left to the speaker."""
        if self.lead is not None:
            self.last.notes.append(self.lead.note)
        self.lead = None

    def go_on(self) -> None:
        """A new slide of the same section, unless nothing stands on this one yet."""
        if self.last.items:
            self.slides.append(Slide(self.last.title, 3))

    def add(self, item: Item) -> None:
        """Put one thing where it fits, behind the sentence that leads to it."""
        if item.kind == "text":
            self.forget_lead()
        with_it = [self.lead] * (self.lead is not None)
        self.lead = None
        last, shows = self.last, ("printed", "picture")
        if item.kind in shows and any(map(last.has, shows)) and not with_it and last.items[-1].kind == "text":
            with_it.append(last.items.pop())
        new = [*with_it, item]
        full = last.height + sum(i.height for i in new) > HEIGHT or last.words + sum(i.words for i in new) > WORDS
        alone = item.kind == "exercise" or (last.has("exercise") and item.kind != "code")
        if full and item.kind == "text" and last.items and last.items[-1].kind in shows:
            new = self.taken_along() + new  # what it reads
        crowded = item.kind == "picture" and (last.words > LEAD or last.has("code"))
        again = item.kind in shows and any(map(last.has, shows)) or last.has("picture") and item.kind != "text"
        if last.level == 1 or full or alone or crowded or again:
            self.go_on()
        self.last.items += new

    def taken_along(self) -> list[Item]:
        """The last result, with the sentences that lead to it, if something else stands before them."""
        items = self.last.items
        cut = len(items) - 1 - (len(items) > 1 and items[-2].kind == "text")
        taken, self.last.items = (items[cut:], items[:cut]) if cut else ([], items)
        return taken

    def paragraph(self, block: str) -> None:
        """What a paragraph leaves on a slide; all of it goes into the notes if that is not all."""
        reads = bool(self.last.items) and self.last.items[-1].kind == "picture"
        leads = block.endswith(":")
        said = gist(block, CAPTION if reads and not leads else GIST)
        if OWN in block or not said:
            self.last.notes.append(block)
            return
        item = text_item(said, "text")
        item.note = block if said != " ".join(block.split()) or leads else ""
        if leads:
            self.forget_lead()
            self.lead = item
            return
        if self.last.has("picture") and not reads or self.last.has("exercise"):
            self.go_on()
        self.add(item)

    def text(self, source: str) -> None:
        for block in blocks(source):
            kind = kind_of(block)
            bold = re.fullmatch(r"\*\*(.+?):?\*\*", block)
            if kind == "heading" or bold:
                marks, _, title = block.partition(" ") if kind == "heading" else ("###", "", bold[1])
                self.begin(LINK.sub(r"\1", title.strip()), min(len(marks), 3) if self.slides else 1)
            elif not self.shown:
                continue
            elif kind == "details":
                self.folded(block)
            elif self.last.level == 1 and kind == "text":
                self.opening(block)
            elif kind == "text":
                self.paragraph(block)
            else:
                short = shortened(block) if kind == "list" else block
                item = text_item(short, kind)
                item.note = block if short != block else ""
                self.add(item)

    def opening(self, block: str) -> None:
        """Under the lesson's name stands its question, which is slanted."""
        asked = re.match(r"\*(?!\*).+?(?<!\*)\*(?!\*)", block, re.S)
        if asked and not self.last.items:
            self.last.items.append(text_item(" ".join(asked[0].split()), "text"))
        if not asked or asked[0] != block:
            self.last.notes.append(block)

    def folded(self, block: str) -> None:
        """Of what is folded the question is shown in a quiz and nothing elsewhere; the speaker has all of it."""
        asked, answer = re.match(r"<details><summary>(.*?)</summary>(.*)</details>", block, re.S).groups()
        if self.last.title == "Quiz" and asked.strip() != "Answer":  # then the question stands before it
            self.add(text_item(" ".join(asked.split()).replace(". ", "\\. ", 1), "text"))
        self.last.notes.append(f"*{' '.join(asked.split())}* {answer.strip()}")


def split(nb: nbformat.NotebookNode, page: str = "") -> list[Slide]:
    """The slides of a stored lesson; the page for those who teach goes into the notes where it fits."""
    deck = Deck()
    for cell in nb.cells:
        if AWAY & set(cell.metadata.get("tags", [])) or mark(cell) == "skip":
            continue
        if cell.cell_type == "markdown":
            deck.text(cell.source)
        elif deck.shown and cell.cell_type == "code":
            for item in code_items(cell):
                deck.add(item)
    deck.forget_lead()
    slides = joined([slide for slide in deck.slides if slide.items])
    for slide, note in teaching.notes(slides, page):
        slide.notes.insert(0, note)
    return slides


def joined(slides: list[Slide]) -> list[Slide]:
    """Without slides on which hardly anything stands: that goes to a neighbour of the section, or into its notes."""
    found: list[Slide] = []
    slides = list(slides)
    while slides:
        slide = slides.pop(0)
        thin = slide.level > 2 and slide.words <= THIN and all(item.kind == "text" for item in slide.items)
        before = found[-1] if found and slide.title == found[-1].title and not found[-1].has("exercise") else None
        after = slides[0] if slides and slides[0].title == slide.title and not slides[0].has("exercise") else None
        if not thin or not (before or after):
            found.append(slide)
        elif before and before.height + slide.height <= HEIGHT and not before.has("picture"):
            before.items += slide.items
            before.notes += slide.notes
        elif after:
            fits = slide.height + after.height <= HEIGHT
            after.notes = (
                slide.notes + [item.note or item.cell.source for item in slide.items] * (not fits) + after.notes
            )
            after.items = slide.items * fits + after.items
        else:
            before.notes += slide.notes + [item.note or item.cell.source for item in slide.items]
    return found


def notebook(slides: list[Slide]) -> nbformat.NotebookNode:
    """The slides as nbconvert's own exporter wants them: sections side by side, what goes on with one below it."""
    nb = nbformat.v4.new_notebook()
    for k, slide in enumerate(slides):
        kind = "slide" if slide.level < 3 or k == 0 else "subslide"
        head = nbformat.v4.new_markdown_cell(f"{'#' if slide.level == 1 else '##'} {slide.title}")
        head.metadata |= {"slideshow": {"slide_type": kind}}
        head.metadata.kind = "title roomy" if slide.height < ROOMY and not slide.has("picture") else "title"
        nb.cells.append(head)
        for item in slide.items:
            item.cell.metadata.slideshow = {"slide_type": "-"}
            nb.cells.append(item.cell)
        if said := slide.notes + [item.note for item in slide.items if item.note]:
            notes = nbformat.v4.new_markdown_cell("\n\n".join(LINK.sub(r"\1", note) for note in said))
            notes.metadata.slideshow = {"slide_type": "notes"}
            nb.cells.append(notes)
    return nb

"""`course.py slides`: what stands on a slide and what beside it. Whether it fits is looked at in tests/browser."""

import ast
import re
from functools import lru_cache

import deck
import lessons
import nbformat
import pieces
import pytest
import slides

import course

NAMES = [path.stem for path in slides.lessons()]
each_deck = pytest.mark.parametrize("name", NAMES)


@lru_cache
def made(name):
    guide = (course.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    return deck.split(nbformat.read(lessons.LESSONS / f"{name}.ipynb", as_version=4), guide)


def on_slides(deck_of_it, kind=""):
    return [item.cell for slide in deck_of_it for item in slide.items if kind in item.kind]


def beside(deck_of_it):
    return "\n".join(note for s in deck_of_it for note in (*s.notes, *(item.note for item in s.items)))


def notebook(*parts):
    """A notebook of Markdown; a pair is code and what it prints, or its metadata."""
    nb = nbformat.v4.new_notebook()
    for part in parts:
        if isinstance(part, str):
            nb.cells.append(nbformat.v4.new_markdown_cell(part))
        else:
            code, printed, *metadata = part
            outputs = [nbformat.v4.new_output("stream", text=printed)] if printed else []
            nb.cells.append(nbformat.v4.new_code_cell(code, outputs=outputs, metadata=dict(*metadata)))
    return nb


def test_every_lesson_has_slides_and_a_page_for_its_notes():
    assert NAMES == [source.stem for source in filter(lessons.is_lesson, lessons.sources())]
    assert all((course.ROOT / "docs" / f"{name}.md").is_file() for name in NAMES)


@each_deck
def test_the_core_alone_is_shown_each_exercise_with_its_question_and_no_solution(name):
    shown = made(name)
    nb = lessons.without(lessons.load(lessons.SOURCES / f"{name}.py"), "deep")
    titles = re.findall(r"^##? (.+)$", "\n".join(c.source for c in nb.cells if c.cell_type == "markdown"), re.M)
    assert {slide.title for slide in shown if slide.level < 3} <= set(titles)
    core = lessons.without(nb, "solution")
    asked = sum("Your turn" in cell.source for cell in core.cells if cell.cell_type == "markdown")
    assert len(on_slides(shown, "exercise")) == asked
    wanted = {ast.unparse(node) for c in lessons.code_cells(nb) for node in ast.parse(c.source).body if is_answer(node)}
    there = {ast.unparse(node) for c in on_slides(shown, "code") for node in ast.parse(c.source).body}
    assert wanted & there == set() and "_solution" not in "".join(c.source for c in on_slides(shown))


def is_answer(node):
    return isinstance(node, ast.FunctionDef) and node.name.endswith("_solution")


@each_deck
def test_a_slide_is_short_and_what_is_left_out_the_speaker_has(name):
    shown = made(name)
    for slide in shown:
        assert slide.items and slide.words <= deck.WORDS + pieces.LIST, (slide.title, slide.words)
    said = " ".join((beside(shown) + "\n".join(cell.source for cell in on_slides(shown))).split())
    nb = nbformat.read(lessons.LESSONS / f"{name}.ipynb", as_version=4)
    for cell in lessons.without(nb, "deep").cells:
        if cell.cell_type == "markdown" and deck.mark(cell) != "skip":
            for block in pieces.blocks(cell.source.partition("## Further reading")[0]):
                if pieces.kind_of(block) in ("text", "list"):
                    text = pieces.LINK.sub(r"\1", block)
                    bold = re.fullmatch(r"\*\*(.+?):?\*\*", block)
                    assert any(" ".join(way.split()) in said for way in (block, text)) or bold, block


@each_deck
def test_all_of_the_page_for_teaching_stands_in_the_notes(name):
    guide, notes = (course.ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8"), beside(made(name))
    for part, minutes, _ in deck.teaching.parts(guide):
        assert f"**{part}: {minutes} minutes.**" in notes
    for text in deck.teaching.bullets(guide):
        assert text in notes
    assert len(deck.teaching.parts(guide)) >= 4 and len(deck.teaching.bullets(guide)) >= 3


WHERE = {  # words of a note -> the section at whose first slide it is wanted
    "`n_rows` in the average": "Who counts how much?",
    "The pull of FedProx": "Pull them back?",
    "Under label skew *local-only*": "Live lab: make the hospitals disagree",
    "In the attack, `dW / db`": "Break it: a patient inside an update",
    "**what a clinic asks: 4 minutes.**": "What a clinic asks",
}


@pytest.mark.parametrize("words", WHERE)
def test_what_people_stumble_over_stands_where_they_do(words):
    (slide,) = [slide for slide in made("03_federated_averaging") if any(words in note for note in slide.notes)]
    assert slide.title == WHERE[words] and slide.level == 2


def test_a_paragraph_leaves_its_first_sentences_and_what_is_bold():
    text = (
        "One (see e.g. Li et al. 2020) is short. " + "Two is a long one. " * 12 + "(An aside.) **Three** is bold. Four."
    )
    assert pieces.gist(text, 14) == "One (see e.g. Li et al. 2020) is short. Two is a long one. **Three** is bold."
    assert pieces.gist("A sentence that is longer than that.", 2) == "A sentence that is longer than that."
    (slide,) = deck.split(notebook(f"# L\n\n## S\n\n{text}"))
    assert slide.items[0].note == text


def test_results_stand_with_what_leads_to_them_and_what_reads_them():
    first, second = deck.split(
        notebook("# L\n\n## S\n\nLook here:", ("print(1)", "1"), "Read it.\n\nAnd then:", ("print(2)", "2"))
    )
    assert [item.kind for item in first.items] == ["text", "printed", "text"]
    assert [item.cell.source for item in second.items] == ["And then:", ""]
    assert (first.level, second.level) == (2, 3)


def test_code_is_shown_where_it_is_the_thought():
    short, long = "def f():\n    return 1", "def f():\n" + "    x = 1\n" * 20
    for cell, wanted in [
        ((short, ""), 1),
        ((long, ""), 0),
        ((short + "\nprint(f())", "1"), 0),
        ((short + "\nprint(f())", "1", {"slideshow": {"slide_type": "slide"}}), 1),
        (("own = None", ""), 0),
        ((short, "", {"tags": ["deep"]}), 0),
        ((short, "", {"tags": ["solution"]}), 0),
        ((short, "", {"slideshow": {"slide_type": "skip"}}), 0),
        ((short, "", {"jupyter": {"source_hidden": True}}), 0),
        (("def f():\n    ...\n\n\nchecks.f(f)", "Your turn."), 1),
    ]:
        shown = deck.split(notebook("# L\n\n## S\n\nText.", cell))
        assert len(on_slides(shown, "code")) == wanted, cell
        assert not any("Your turn." in str(one.get("outputs", "")) for one in on_slides(shown))


def test_links_between_pages_of_the_course_are_words_on_slides_and_links_to_the_world_stay():
    text = "A [term](../docs/glossary.md#term), and [one](https://doi.org/10.1/x)."
    (slide,) = deck.split(notebook(f"# L\n\n## S\n\n{text}"))
    assert slide.items[0].cell.source == "A term, and [one](https://doi.org/10.1/x)."
    assert "glossary" not in "".join(cell.source for cell in deck.notebook([slide]).cells)


def test_a_page_asks_no_network_and_leads_to_what_make_lays_beside_it():
    _, page = slides.page(lessons.LESSONS / "00_start_here.ipynb")
    links = slides.book.Links()
    links.feed(page)
    beside_it = {"slides.css", "mathjax/tex-chtml-full.js", *(f"reveal/{name}" for name in slides.REVEAL)}
    assert {address for address in links.loads if not address.startswith("data:")} <= beside_it
    assert page.count('<aside class="notes">') > 5 and "asleep" not in page


def test_a_folder_in_use_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(slides.book, "environment", lambda: pytest.fail("nothing may be set up"))
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SystemExit, match="^OUT must be a folder that is not there yet, or empty"):
        slides.make(tmp_path)

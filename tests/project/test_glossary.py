"""Each term of the glossary is defined once, and linked from its first use in a lesson and from nowhere else."""

import re

import book
import classroom
import glossary
import lessons
import nbformat
import pytest

import course

TERMS = glossary.terms()
CELLS = glossary.texts()
USES = glossary.first_uses(CELLS)


def test_each_term_is_defined_once_and_names_the_lesson_that_teaches_it():
    names = [term.name for term in TERMS]
    assert len(names) == len(set(map(str.lower, names))) > 60
    assert names == sorted(names, key=str.lower)
    headings = re.findall(r"^#+ (.+)$", glossary.PAGE.read_text(encoding="utf-8"), re.M)
    assert headings == ["Glossary", *names]
    for term in TERMS:
        assert re.search(r"[.!] ?\n?\(\[\d\d\]\(\.\./notebooks/\d\d_\w+\.ipynb\)\)$", term.says), term


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.name)
def test_a_term_is_linked_where_a_lesson_first_uses_it_and_nowhere_else(term):
    assert term.name in USES, "no lesson uses it in running text"
    use = USES[term.name]
    linked = [lesson for lesson, anchor in glossary.links(CELLS) if anchor == term.anchor]
    assert use.linked and linked == [use.lesson], (use, linked)


def test_no_link_leads_nowhere():
    anchors = {term.anchor for term in TERMS}
    for source in lessons.sources():
        for path in (source, lessons.LESSONS / f"{source.stem}.ipynb"):
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(r"glossary\.md#([^)]*)\)", text)) <= anchors, path.name
            assert text.count("glossary.md") == len(glossary.LINK.findall(text)), path.name


def test_what_is_no_running_text_is_no_use(monkeypatch):
    monkeypatch.setattr(glossary, "terms", lambda: [glossary.Term("skew", ""), glossary.Term("label skew", "")])
    nothing = ["# A skew", "`skew`", "$skew$", "| skew |", "Skews", "skewed", "a-skew", "label skew"]
    nothing += ['<div class="alert">a skew</div>', "```\nskew\n```", "## Further reading\n\n- A skew."]
    for text in nothing:
        assert "skew" not in glossary.first_uses([("00", 0, text)]), text
    for text in ("a skew", "many skews", "- a *skew*", "a `b` skew and\n\n## Further reading"):
        use = glossary.first_uses([("01", 0, "nothing"), ("03", 7, text)])["skew"]
        assert (use.lesson, use.cell, use.linked) == ("03", 7, False)
        assert text[use.start :].startswith(use.words)
    assert glossary.first_uses([("01", 0, "a [skew](../docs/glossary.md#skew)")])["skew"].linked
    assert not glossary.first_uses([("01", 0, "a [skew](../docs/glossary.md#round)")])["skew"].linked


def test_links_are_written_into_a_source(tmp_path, monkeypatch):
    monkeypatch.setattr(glossary, "terms", lambda: [glossary.Term("skew", ""), glossary.Term("net benefit", "")])
    source = tmp_path / "03_toy.py"
    long = "the words of a line that is as long as it may be, and with a link in it longer than that, so it is folded"
    source.write_text(f"# %% [markdown]\n# - A skew, a net benefit and {long}\n#   and more.\n", encoding="utf-8")
    cell = lessons.load(source).cells[0].source
    assert glossary.link(source, glossary.first_uses([("03", 0, cell)])) == 2
    written = source.read_text(encoding="utf-8")
    assert "[skew](../docs/glossary.md#skew), a [net benefit](../docs/glossary.md#net-benefit) and" in written
    assert max(map(len, written.splitlines())) <= glossary.WIDEST and "\n#   " in written
    plain = glossary.LINK.sub(r"\1", lessons.load(source).cells[0].source)
    assert plain.split() == cell.split()


def test_in_jupyterlab_the_links_lead_to_a_copy_beside_the_learners_lessons(tmp_path):
    """JupyterLab takes its folder for the root, so that ../docs of a lesson there is docs."""
    course.refresh(lessons.LESSONS, tmp_path)
    page = tmp_path / "docs" / "glossary.md"
    targets = set(re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")))
    assert targets and all((page.parent / target).is_file() for target in targets)


def test_in_a_copy_for_learners_they_lead_to_its_own_glossary(tmp_path):
    out = tmp_path / "monday"
    classroom.make(out)
    learner = out / "learner"
    for target in re.findall(r"\]\(([^)#]+)", (learner / "glossary.md").read_text(encoding="utf-8")):
        assert (learner / target).is_file()
    said = "".join(cell.source for cell in nbformat.read(learner / "notebooks" / "00_start_here.ipynb", 4).cells)
    assert "](../glossary.md#AUC)" in said and "docs/glossary" not in said
    course.refresh(learner / "notebooks", learner / "work")
    page = learner / "work" / "glossary.md"
    targets = re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))
    assert targets and all((page.parent / target).is_file() for target in targets)


def test_in_the_site_anchors_are_in_small_letters(tmp_path):
    book.stage(tmp_path / "site")
    for path in (tmp_path / "site" / "notebooks").glob("*.ipynb"):
        found = re.findall(r"glossary\.md#([\w-]+)", path.read_text(encoding="utf-8"))
        assert found == [anchor.lower() for anchor in found]
    assert book.CONFIG["sphinx"]["config"]["myst_heading_anchors"] >= 3

"""The lessons: what is stored is what was written and what runs, whole or with parts taken out."""

import re

import jupytext
import lessons
import nbclient
import nbformat
import pytest

SOURCES = sorted(lessons.SOURCES.glob("*.py"))
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def stored(source):
    return nbformat.read(lessons.LESSONS / f"{source.stem}.ipynb", as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def test_there_are_lessons_and_each_has_a_source():
    assert SOURCES and all(re.fullmatch(r"\d\d_[a-z0-9_]+", source.stem) for source in SOURCES)
    assert {p.stem for p in lessons.LESSONS.glob("*.ipynb")} == {source.stem for source in SOURCES}


@each_lesson
def test_stored_notebook_is_its_source(source):
    written, nb = lessons.load(source).cells, stored(source).cells
    parts = [(c.cell_type, c.source, tags(c), c.metadata.get("jupyter", {}), c.id) for c in written]
    assert [(c.cell_type, c.source, tags(c), c.metadata.get("jupyter", {}), c.id) for c in nb] == parts
    back = jupytext.reads(jupytext.writes(stored(source), fmt="py:percent"), fmt="py:percent").cells
    assert [(c.cell_type, c.source, tags(c)) for c in back] == [part[:3] for part in parts]
    assert lessons.stored_hash(lessons.LESSONS / f"{source.stem}.ipynb") == lessons.source_hash(source), (
        "the source changed after the notebook was built: python course.py notebooks"
    )


@each_lesson
def test_stored_notebook_was_run_once_from_top_to_bottom(source):
    counts = [cell.execution_count for cell in lessons.code_cells(stored(source)) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@each_lesson
def test_stored_notebook_can_be_shown(source):
    nb = stored(source)
    assert lessons.complaints(nb) == []
    assert "widgets" not in nb.metadata
    assert not any(lessons.WIDGET in o.get("data", {}) for c in lessons.code_cells(nb) for o in c.outputs)


@each_lesson
def test_pictures_in_the_text_have_alt_text(source):
    for cell in stored(source).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell.source), cell.source
            assert not lessons.without_alt({"data": {"text/html": cell.source}}), cell.source


@each_lesson
def test_code_is_short_and_talked_about(source):
    cells = stored(source).cells
    code = [c.source for c in lessons.code_cells(stored(source)) if "solution" not in tags(c)]
    assert [long for long in code if len(long.splitlines()) > 25] == []
    follows = [b.source for a, b in zip(cells, cells[1:], strict=False) if a.cell_type == b.cell_type == "code"]
    assert len(follows) <= 4, follows


@each_lesson
def test_solutions_are_there_and_folded(source):
    solutions = [cell for cell in stored(source).cells if "solution" in tags(cell)]
    assert len(solutions) >= 3 or source.stem < "01"
    for cell in solutions:
        assert "hide-input" in tags(cell) and cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source


@each_lesson
def test_class_version_runs_and_every_lab_goes_to_its_limits(source, tmp_path):
    nb = lessons.without(lessons.load(source), "solution")
    run_and_sweep(nb, tmp_path)
    assert lessons.complaints(nb) == []


@each_lesson
def test_short_version_runs(source, tmp_path):
    nb = lessons.without(lessons.load(source), "deep")
    if len(nb.cells) == len(lessons.load(source).cells):
        pytest.skip("the lesson has no deep section: the short version is the whole")
    lessons.execute(nb, tmp_path)


def run_and_sweep(nb, folder):
    nb.cells.append(nbformat.v4.new_code_cell(lessons.SWEEP))
    lessons.execute(nb, folder)
    lessons.strip(nb)


# ---------------------------------------------------------------- the checks themselves can fail


def notebook(*sources):
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def test_a_lab_that_fails_at_a_limit_fails_the_sweep(tmp_path):
    fragile = """
        from matplotlib.figure import Figure
        from fedlab_utils import widgets

        def fragile(show, patients):
            if patients == 9:
                raise RuntimeError("there are only eight")
            show(Figure(), "a sentence", alt="nothing")

        widgets.lab(fragile, patients=widgets.slider(1, 9, 5));
    """
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="patients = .*there are only eight"):
        run_and_sweep(notebook(fragile), tmp_path)


def test_a_lesson_without_a_lab_fails_the_sweep(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="at least one live lab"):
        run_and_sweep(notebook("1"), tmp_path)


SHOULD_BE_REFUSED = {
    "import sys; print('hm', file=sys.stderr)": "stderr",
    "import warnings; warnings.warn('beware')": "stderr",
    "print('FutureWarning: beware')": "warning",
    "import pathlib; print(pathlib.Path.home() / 'me')": "path of one machine",
    r"print('C:\\Users\\me')": "path of one machine",
    "from IPython.display import HTML; HTML('<img src=x>')": "alt text",
    "HTML('<img alt=\"\" src=x>')": "alt text",
    "%matplotlib inline\nimport pylab; _ = pylab.plot([1])": "alt text",
    "import ipywidgets; ipywidgets.IntSlider()": "leaves no picture",
}
SHOULD_PASS = [
    "print('AUC 0.76')",
    "from IPython.display import HTML; HTML('<img alt=\"two curves\" src=x>')",
    "from tqdm.auto import tqdm; [None for _ in tqdm(range(3))]; print('done')",
]


def test_what_no_learner_should_see_is_refused(tmp_path):
    nb = notebook(*SHOULD_BE_REFUSED)
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    found = lessons.complaints(nb)
    for number, expected in enumerate(SHOULD_BE_REFUSED.values()):
        assert any(told.startswith(f"cell {number} ") and expected in told for told in found), (
            expected,
            found,
        )


def test_an_error_is_refused_and_the_old_notebook_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "LESSONS", tmp_path)
    source = tmp_path / "01_wrong.py"
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    assert "ZeroDivisionError" in lessons.build(source)[0]
    assert not list(tmp_path.glob("*.ipynb"))


def test_a_large_notebook_is_refused():
    (sentence,) = lessons.complaints(notebook("x = 1" + " " * lessons.LARGEST))
    assert "bytes" in sentence


def test_good_output_is_not_refused(tmp_path):
    nb = notebook(*SHOULD_PASS)
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == []

"""The lessons: what is stored is what was written and what runs, whole or with parts taken out."""

import ast
import re
import subprocess
import sys

import cells
import jupytext
import lessons
import nbclient
import nbformat
import pytest

SOURCES = lessons.sources()
LESSONS = [source for source in SOURCES if lessons.is_lesson(source)]
NO_LESSONS = [source for source in SOURCES if not lessons.is_lesson(source)]
each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
each_lesson = pytest.mark.parametrize("source", LESSONS, ids=lambda source: source.stem)


def stored(source):
    return nbformat.read(lessons.LESSONS / f"{source.stem}.ipynb", as_version=4)


def tags(cell):
    return cell.metadata.get("tags", [])


def test_there_are_lessons_and_each_has_a_source():
    assert LESSONS and all(re.fullmatch(r"\d\d_[a-z0-9_]+", source.stem) for source in LESSONS)
    assert [source.stem for source in NO_LESSONS] == ["control_room"]
    assert {p.stem for p in lessons.LESSONS.glob("*.ipynb")} == {source.stem for source in SOURCES}


@each_notebook
def test_stored_notebook_is_its_source(source):
    written, nb = lessons.load(source).cells, stored(source).cells

    def about(cell):
        return *(cell.metadata.get(name, {}) for name in ("jupyter", "slideshow")), cell.id

    parts = [(c.cell_type, c.source, tags(c), *about(c)) for c in written]
    assert [(c.cell_type, c.source, tags(c), *about(c)) for c in nb] == parts
    back = jupytext.reads(jupytext.writes(stored(source), fmt="py:percent"), fmt="py:percent").cells
    assert [(c.cell_type, c.source, tags(c)) for c in back] == [part[:3] for part in parts]
    assert lessons.stored_hash(lessons.LESSONS / f"{source.stem}.ipynb") == lessons.source_hash(source), (
        "the source changed after the notebook was built: python course.py notebooks"
    )


@each_notebook
def test_stored_notebook_was_run_once_from_top_to_bottom(source):
    counts = [cell.execution_count for cell in lessons.code_cells(stored(source)) if cell.source.strip()]
    assert counts == list(range(1, len(counts) + 1))


@each_notebook
def test_stored_notebook_can_be_shown(source):
    nb = stored(source)
    assert lessons.complaints(nb) == []
    assert "widgets" not in nb.metadata
    assert not any(lessons.WIDGET in o.get("data", {}) for c in lessons.code_cells(nb) for o in c.outputs)


@each_notebook
def test_pictures_in_the_text_have_alt_text(source):
    for cell in stored(source).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\s*\]\(", cell.source), cell.source
            assert not lessons.without_alt({"data": {"text/html": cell.source}}), cell.source


@each_notebook
def test_a_figure_is_what_its_cell_ends_with(source):
    """`plots.show` returns a picture, and nothing shows what stands before the end of a cell."""
    for cell in lessons.code_cells(stored(source)):
        if "plots.show(" in cell.source:
            *others, last = map(ast.unparse, ast.parse(cell.source).body)
            assert not [one for one in others if one.startswith("plots.show(")], cell.source
            shown = "<img" in str(cell.outputs) or any(map(lessons.pictures, cell.outputs))
            assert shown or not last.startswith("plots.show("), cell.source


@each_notebook
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


def unanswered():
    """The class versions' exercises, and what they need: one lesson after the other, each in an empty space."""
    for source in LESSONS:
        nb = lessons.without(lessons.load(source), "solution")
        yield nbformat.v4.new_code_cell("%reset -f")
        yield from cells.needed(nb, lambda cell: "checks." in cell.source).cells


def test_exercises_that_nobody_has_answered_run(tmp_path):
    """What is left of a class version does there what nbval runs, labs included (conftest.py).

    No name that it meets is one that a solution binds or changes (the two tests below; solutions run in an empty
    space in test_exercises.py).
    """
    nb = nbformat.v4.new_notebook(cells=[cell for cell in unanswered() if cell.cell_type == "code"])
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == []
    asked = [cell for cell in nb.cells if "checks." in cell.source and cell.outputs]
    assert len(asked) >= 3 * len(LESSONS) and all("Your turn." in str(cell.outputs) for cell in asked)


@each_lesson
def test_class_version_runs(source, tmp_path):
    """Only with --all."""
    nb = lessons.without(lessons.load(source), "solution")
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == []


@pytest.mark.parametrize("source", NO_LESSONS, ids=lambda source: source.stem)
def test_whole_version_runs_of_what_is_no_lesson(source, tmp_path):
    nb = lessons.load(source)
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == []


@pytest.mark.parametrize("source", NO_LESSONS, ids=lambda source: source.stem)
def test_code_is_folded_where_there_is_none_to_learn_from(source):
    for cell in lessons.code_cells(stored(source)):
        assert cell.metadata.get("jupyter", {}).get("source_hidden"), cell.source


@each_lesson
def test_no_cell_reads_what_a_solution_has_bound(source):
    assert cells.overwritten(lessons.load(source), "solution") == []


@each_notebook
@pytest.mark.parametrize("tag", ["deep", "solution"])
def test_no_cell_needs_a_name_that_only_a_part_which_may_be_missing_binds(source, tag):
    assert cells.leaning(lessons.load(source), tag) == []


@each_lesson
def test_short_version_runs(source, tmp_path):
    """Only with --all: what takes time here, the test above reads off the source."""
    nb = lessons.without(lessons.load(source), "deep")
    if len(nb.cells) == len(lessons.load(source).cells):
        pytest.skip("the lesson has no deep section: the short version is the whole")
    lessons.execute(nb, tmp_path)


def run_and_sweep(nb, folder, labs):
    nb.cells += [nbformat.v4.new_code_cell(lessons.SWEEP.format(k)) for k in range(labs)]
    nb.cells.append(nbformat.v4.new_code_cell(lessons.LABS.format(labs)))
    lessons.execute(nb, folder)


def test_behind_each_lesson_its_labs_go_to_their_limits_in_the_same_kernel():
    ask = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    files = [f"notebooks/{name}.ipynb" for name in ("00_start_here", "control_room")]
    said = subprocess.run([*ask, *files], cwd=lessons.ROOT, capture_output=True, text=True).stdout.splitlines()
    found = {file: [line.partition("::")[2] for line in said if line.startswith(f"{file}::")] for file in files}
    labs = sum(cell.source.count("widgets.lab(") for cell in lessons.code_cells(stored(LESSONS[0])))
    assert labs and found[files[0]][-labs - 2 :][1:] == [*(f"Lab {k}" for k in range(labs)), "Labs"]
    assert found[files[0]][-labs - 2].startswith("Cell ") and found[files[1]][-1].startswith("Cell ")


# ---------------------------------------------------------------- the checks themselves can fail


def notebook(*sources, **tagged):
    """A notebook of code cells; those given by tag, as in deep="x = 1", come first."""
    made = [nbformat.v4.new_code_cell(source, metadata={"tags": [tag]}) for tag, source in tagged.items()]
    return nbformat.v4.new_notebook(cells=made + [nbformat.v4.new_code_cell(source) for source in sources])


LEANS = {  # what a cell of another tag says, which needs x -> what the cell with the tag says
    "print(x)": "x = 1",
    "x + 1": "import y as x",
    "x.path": "import x.path",
    "x += 1": "(_, [*x]) = 1, [2]",
    "x = x + 1": "for x in range(3): pass",
    "x['age'] = 3": "with open('f') as x: pass",
    "def f(): return x": "def x(): ...",
    "def f(y=x): x = 2": "class x: ...",
    "lambda y: x + y": "x: int = 1",
    "[x for y in range(3)]": "if True: x = 1",
    "[y for y in x for x in y]": "[(x := 2) for _ in range(3)]",
    "f'{x:.3f}'": "try: x = 1\nexcept OSError: pass",
    "@x\ndef f(): ...": "while (x := 0): pass",
    "class A:\n    x = 1\n    def f(self): return x": "x = 1",
    "def f():\n    global x\n    x += 1": "x = 1",
    "for y in x: pass\nx = 2": "x = 1",
}
STANDS = [  # nobody needs the x of the cell with the tag
    "x = 2\nprint(x)",
    "y = 1; y.x; dict(x=1)",
    "[x for x in range(3)]; {x: y for x, y in {}.items() if x}",
    "def f(x, *y, z=None, **w): return x, y, z, w",
    "def f():\n    for x in range(3): pass\n    return [lambda: x]",
    "def f(): return x\nx = 2",
    "(lambda x: x)(1)",
    "with open('f') as x: x",
    "try: 1 / 0\nexcept OSError as x: print(x)",
    "import x.y; x.y",
    "'x'  # x",
]


@pytest.mark.parametrize("tag", ["deep", "solution"])
@pytest.mark.parametrize("needs", LEANS)
def test_a_cell_that_leans_on_a_part_which_may_be_missing_is_found(needs, tag):
    nb = notebook("1", needs, **{tag: LEANS[needs]})
    assert cells.leaning(nb, tag) == [f"cell 2 needs x, which only a {tag} cell binds"]
    assert cells.leaning(notebook("x = 0", needs, **{tag: LEANS[needs]}), tag) == []
    assert cells.leaning(nb, "another") == []


@pytest.mark.parametrize("stands", STANDS)
def test_a_cell_that_stands_by_itself_is_left_alone(stands):
    assert cells.leaning(notebook(stands, deep="x = 1"), "deep") == []


def test_what_only_runs_later_may_be_bound_later_and_what_runs_at_once_may_not():
    assert cells.leaning(notebook("def f(): return x", "x = 2", deep="x = 1"), "deep") == []
    assert len(cells.leaning(notebook("print(x)", "x = 2", deep="x = 1"), "deep")) == 1


TOY_LESSON = """
# %%
import math
broken = 1 / 0
# %%
a = 1
print(1 / 0)
# %%
a = a + 1
# %%
def f(x):
    return math.floor(x) + a
# %%
a = 1 / 0
# %% tags=["solution"]
f = None
"""


def test_a_part_of_a_lesson_is_made_of_what_it_needs_and_nothing_else(tmp_path):
    source = tmp_path / "01_toy.py"
    source.write_text(TOY_LESSON, encoding="utf-8")
    assert cells.definitions(source, "f")["f"](3.5) == 5
    with pytest.raises(ZeroDivisionError):
        cells.definitions(source, "a")
    with pytest.raises(NameError, match="01_toy.py does not bind g, h"):
        cells.definitions(source, "f", "g", "h")


def test_a_cell_that_reads_what_a_part_has_bound_is_found():
    for reads in ("print(x)", "def f(): return x", "x += 1"):
        found = cells.overwritten(notebook(reads, solution="x = 1"), "solution")
        assert found == ["cell 1 reads x, which a solution cell has bound"]
        assert cells.overwritten(notebook(reads, other="x = 1"), "solution") == []
    assert cells.overwritten(notebook("x = 2", "print(x)", solution="x = 1"), "solution") == []
    assert cells.overwritten(notebook("x = 2", "def f(): return x", solution="x = 1"), "solution") != []
    for change in ("x['a'] = 1", "x.a = 1", "x.append(1)"):
        found = cells.overwritten(notebook("print(x)", solution=change), "solution")
        assert found == ["cell 1 reads x, which a solution cell has bound"]
        assert cells.overwritten(notebook("import x", "print(x)", solution=change), "solution") == []


def test_a_function_above_that_reads_what_a_part_binds_below_is_found():
    nb = notebook("x = 1\ndef f(): return x", "f()")
    assert cells.overwritten(nb, "solution") == []
    nb.cells.insert(1, nbformat.v4.new_code_cell("x = 2", metadata={"tags": ["solution"]}))
    assert cells.overwritten(nb, "solution") == ["cell 0 reads x, which a solution cell has bound"]


def test_what_a_cell_needs_goes_with_it_and_nothing_else():
    reads, changes = "print(x)", ["x['a'] = 2", "x.a = 2", "x.a['b'] = 2", "x.append(2)"]
    for bind in ("x = 1", "def x(): pass", "import x"):
        kept = cells.needed(notebook("y = 0", bind, "y = 3", reads), lambda cell: cell.source == reads)
        assert [cell.source for cell in kept.cells] == [bind, reads]
    for change in changes:
        kept = cells.needed(notebook("x = f()", change, "y = x", reads), lambda cell: cell.source == reads)
        assert [cell.source for cell in kept.cells] == ["x = f()", change, reads]
        kept = cells.needed(notebook("import x", change, reads), lambda cell: cell.source == reads)
        assert change not in [cell.source for cell in kept.cells]  # or each call of a module would be one
    maybe = "if a: x = 2", "for x in a: pass", "while a: x = 2", "try: x = 2\nexcept OSError: pass"
    twice = notebook("x = 1", *maybe, "def f(): return x", "f()")
    assert cells.needed(twice, lambda cell: cell.source == "f()").cells == twice.cells
    ends = notebook("x = 1", "def f(): return x", "f()", "x = 2")
    assert cells.needed(ends, lambda cell: cell.source == "f()").cells == ends.cells  # f may be called once more
    once = cells.needed(notebook("x = 1", "x = 2", "x += 1", reads), lambda cell: cell.source == reads)
    assert [cell.source for cell in once.cells] == ["x = 2", "x += 1", reads]


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
        run_and_sweep(notebook(fragile), tmp_path, labs=1)


def test_a_lesson_without_a_lab_fails_the_sweep(tmp_path):
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="at least one live lab"):
        run_and_sweep(notebook("1"), tmp_path, labs=0)


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


def test_a_cell_that_warns_fails_where_stored_notebooks_are_run(tmp_path):
    nb = notebook("print('fine')", "import warnings; warnings.warn('beware')")
    nb.metadata["kernelspec"] = lessons.KERNEL
    nbformat.write(nb, tmp_path / "toy.ipynb")
    run = [sys.executable, "-m", "pytest", "-c", "pyproject.toml", "-p", "conftest", "-p", "no:cacheprovider"]
    said = subprocess.run([*run, str(tmp_path / "toy.ipynb")], cwd=lessons.ROOT, capture_output=True, text=True).stdout
    assert "1 failed, 1 passed" in said and "beware" in said, said


def test_an_error_is_refused_and_the_old_notebook_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "LESSONS", tmp_path)
    source = tmp_path / "01_wrong.py"
    source.write_text("# %%\n1 / 0\n", encoding="utf-8")
    assert "ZeroDivisionError" in lessons.build(source)[0]
    assert not list(tmp_path.glob("*.ipynb"))


def test_nothing_is_stored_of_a_progress_bar_that_has_wiped_itself_out(tmp_path):
    bar = "print('\\r 50%', end=''); print('\\r     ', end=''); print('\\r', end='')"
    nb = notebook(bar, bar + "; print('done')", "print('one'); print()")
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    shown = ["".join(o.text for o in cell.outputs) for cell in lessons.code_cells(nb)]
    assert shown == ["", "done\n", "one\n\n"]


def test_a_large_notebook_is_refused():
    (sentence,) = lessons.complaints(notebook("x = 1" + " " * lessons.LARGEST))
    assert "bytes" in sentence


def test_good_output_is_not_refused(tmp_path):
    nb = notebook(*SHOULD_PASS)
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == []

"""`course.py class`: a course for learners that gives no answer away and works, and one for who teaches it."""

import ast
import subprocess
import sys

import cells
import classroom
import lessons
import nbformat
import pytest

from fedlab_utils import checks

SOURCES = list(filter(lessons.is_lesson, lessons.sources()))
ANSWERS = [
    cell.source
    for source in SOURCES
    for cell in lessons.code_cells(lessons.load(source))
    if "solution" in cell.metadata.get("tags", [])
]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    out = tmp_path_factory.mktemp("for") / "monday"
    classroom.make(out)
    return out


def bodies(code):
    """What the functions of a piece of code do, and what its own names are set to, however it is laid out."""
    tree = ast.parse(code)
    yield from (ast.unparse(node.body) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
    yield from (ast.unparse(node) for node in tree.body if isinstance(node, ast.Assign))


def test_no_solution_stands_in_the_learners_course(course):
    wanted = {body for answer in ANSWERS for body in bodies(answer)}
    assert len(wanted) >= 30
    there = {body for path in (course / "learner").rglob("*.py") for body in bodies(path.read_text(encoding="utf-8"))}
    for path in (course / "learner" / "notebooks").glob("*.ipynb"):
        for cell in lessons.code_cells(nbformat.read(path, as_version=4)):
            there |= set(bodies("\n".join("" if line[:1] in "%!" else line for line in cell.source.splitlines())))
    assert wanted & there == set()


def test_learners_get_no_tests_no_sources_no_teaching_pages_and_nothing_that_was_fetched(course):
    there = {path.relative_to(course / "learner").as_posix() for path in (course / "learner").rglob("*")}
    assert not [
        path for path in there if path.startswith(("tests", "notebooks/src", "docs", "datasets/heart_disease/"))
    ]
    assert {"course.py", "README.md", "datasets/hospital_network.csv.gz", "notebooks/00_start_here.ipynb"} <= there


def test_nothing_in_the_learners_notebooks_has_been_run(course):
    for path in sorted((course / "learner" / "notebooks").glob("*.ipynb")):
        nb = nbformat.read(path, as_version=4)
        nbformat.validate(nb)
        assert (
            not [c for c in lessons.code_cells(nb) if c.outputs or c.execution_count] and "widgets" not in nb.metadata
        )


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_every_exercise_is_still_checked(course, name):
    def asked(nb):
        return [cell.source for cell in lessons.code_cells(nb) if "checks." in cell.source]

    learner = nbformat.read(course / "learner" / "notebooks" / f"{name}.ipynb", as_version=4)
    there = asked(lessons.without(nbformat.read(lessons.LESSONS / f"{name}.ipynb", as_version=4), "solution"))
    assert asked(learner) == there != []


def test_the_instructor_has_solutions_outputs_and_the_guide(course):
    for notebook in lessons.LESSONS.glob("*.ipynb"):
        assert (course / "instructor" / "notebooks" / notebook.name).read_bytes() == notebook.read_bytes()
    assert (course / "instructor" / "docs" / "README.md").is_file()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="^OUT must be a folder that is not there yet, or empty; in "):
        classroom.make(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("who", ["learner", "instructor"])
def test_a_copy_for_a_class_says_what_it_cannot_do(course, who):
    command = [sys.executable, "course.py", "test"]
    done = subprocess.run(command, cwd=course / who, capture_output=True, text=True)
    assert done.returncode == 1 and "a copy made for a class" in done.stderr and not (course / who / ".venv").exists()


def test_the_tally_counts_what_ever_passed_and_knows_no_name(tmp_path, monkeypatch):
    right = cells.solutions(next(source for source in SOURCES if source.stem.startswith("03")))["fedavg_step"]
    monkeypatch.setenv("FEDLAB_TALLY", str(tmp_path / "passed"))
    before = checks.tally()
    assert repr(before).startswith("0 of ") and not (tmp_path / "passed").exists()
    checks.overall_accuracy(...)  # untouched
    assert repr(checks.tally()) == repr(before)
    for _ in range(2):
        assert checks.fedavg_step(right).passed
    assert checks.fedavg_step(lambda updates, n_rows: updates[0]).kind == "hint"  # what has passed stays passed
    assert (tmp_path / "passed").read_text() == "fedavg_step\n"
    passed, there = checks.tally().lessons["03"]
    assert passed == 1 and there >= 3 and repr(checks.tally()).startswith("1 of ")
    assert f"1 of {there}" in checks.tally()._repr_html_()
    monkeypatch.delenv("FEDLAB_TALLY")
    checks.fedavg_step(right)
    assert repr(checks.tally()) == repr(before) and len(list(tmp_path.iterdir())) == 1

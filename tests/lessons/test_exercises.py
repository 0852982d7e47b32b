"""Exercises of every lesson: stub, check and solution fit together, and wrong answers get their own hint."""

import importlib
import re
from pathlib import Path

import cells
import lessons
import pytest

from fedlab_utils import checks

SOURCES = [source for source in lessons.sources() if lessons.is_lesson(source)]
EXERCISES = {name for name, check in checks.EXERCISES.items() if check.__module__.startswith("fedlab_utils.")}
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def code(source, tag=None):
    every = lessons.code_cells(lessons.load(source))
    return [c.source for c in every if tag is None or tag in c.metadata.get("tags", [])]


@each_lesson
def test_every_exercise_has_a_stub_a_check_and_a_solution_that_passes(source):
    found = cells.solutions(source)
    assert len(found) >= 3
    for name, solution in found.items():
        assert checks.EXERCISES[name](solution).passed
        assert checks.EXERCISES[name](cells.definitions(source, name)[name]).kind == "stub"
        assert sum(f"checks.{name}({name})" in cell for cell in code(source)) == 1


@each_lesson
def test_no_other_cell_uses_the_names_of_an_exercise(source):
    names = [n for name in cells.solutions(source) for n in (name, f"{name}_solution")]
    for cell in code(source):
        own = {n for n in names if re.search(rf"^(def {n}\(|{n} = )", cell, re.M)}
        used = {n for n in names if re.search(rf"(?<![.\w]){n}\b", cell)}
        assert used <= own | {n.removesuffix("_solution") for n in own}, cell


WRONG = {}  # exercise -> words of the hint -> an answer that must get it
RIGHT = {}  # exercise -> answers that differ from the lesson's own solution in how they are written
for file in sorted(Path(__file__).parent.glob("test_lesson_*.py")):
    answers = importlib.import_module(f"tests.lessons.{file.stem}")
    WRONG, RIGHT = WRONG | answers.WRONG, RIGHT | answers.RIGHT


def marks_are_shown(verdict):
    """No star or backtick is left in the box, but for stars in code, which multiply."""
    return not re.search(r"[*`]", re.sub("<code>.*?</code>", "", verdict._repr_html_(), flags=re.S))


@pytest.mark.parametrize("name", sorted(EXERCISES | WRONG.keys() | RIGHT.keys()))
def test_every_exercise_is_given_six_wrong_answers_and_three_right_ones(name):
    assert name in EXERCISES and len(WRONG[name]) >= 6 and len(RIGHT[name]) >= 3


@pytest.mark.parametrize(("name", "which"), [(name, k) for name, right in RIGHT.items() for k in range(len(right))])
def test_a_right_answer_written_another_way_is_praised(name, which):
    verdict = checks.EXERCISES[name](RIGHT[name][which])
    assert verdict.passed and marks_are_shown(verdict), verdict


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, wrong in WRONG.items() for words in wrong])
def test_wrong_answer_gets_the_hint_that_names_the_misconception(name, words):
    verdict = checks.EXERCISES[name](WRONG[name][words])
    assert verdict.kind == "hint" and words in verdict.message and marks_are_shown(verdict), verdict

"""Exercises of every lesson: stub, check and solution fit together, and wrong answers get their own hint."""

import importlib
import re
from pathlib import Path

import lessons
import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import checks

SOURCES = sorted(lessons.SOURCES.glob("*.py"))
EXERCISES = {name for name, check in checks.EXERCISES.items() if check.__module__.startswith("fedlab_utils.")}
each_lesson = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def code(source, tag=None):
    cells = [c for c in lessons.load(source).cells if c.cell_type == "code"]
    return [c.source for c in cells if tag is None or tag in c.metadata.get("tags", [])]


def solutions(source):
    """The `name_solution` that the lesson itself defines, by name."""
    space = {"np": np, "pd": pd, "torch": torch, "checks": checks}
    for cell in code(source, "solution"):
        exec(cell, space)
    return {name.removesuffix("_solution"): made for name, made in space.items() if name.endswith("_solution")}


@each_lesson
def test_every_exercise_has_a_stub_a_check_and_a_solution_that_passes(source):
    found = solutions(source)
    assert len(found) >= 3
    for name, solution in found.items():
        assert checks.EXERCISES[name](solution).passed
        (stub,) = [c for c in code(source) if f"checks.{name}({name})" in c]
        space = {"checks": checks}
        exec(stub, space)
        assert checks.EXERCISES[name](space[name]).kind == "stub"


@each_lesson
def test_no_other_cell_uses_the_names_of_an_exercise(source):
    names = [n for name in solutions(source) for n in (name, f"{name}_solution")]
    for cell in code(source):
        own = {n for n in names if re.search(rf"^(def {n}\(|{n} = )", cell, re.M)}
        used = {n for n in names if re.search(rf"(?<![.\w]){n}\b", cell)}
        assert used <= own | {n.removesuffix("_solution") for n in own}, cell


def shares(n_rows):
    return n_rows / n_rows.sum()


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "gap_closed": {
        "the gain itself": lambda a, t, p: t - a,
        "what is left open": lambda a, t, p: (p - t) / (p - a),
        "compares with 0 AUC": lambda a, t, p: t / p,
        "take away from": lambda a, t, p: t / (p - a),
    },
    "server_still_sees": {
        "never left": {"patients' rows", "global model"},
        "is for": {"single updates", "sum of updates"},
        "the least it needs": {"global model"},
        "adds the sum to something": {"sum of updates"},
        "none of the four": {"weights"},
    },
    "overall_accuracy": {
        "as much say": lambda a, n: sum(a) / len(a),
        "divide by all": lambda a, n: sum(x * y for x, y in zip(a, n, strict=True)),
        "mixed up the weights": lambda a, n: sum(x * y for x, y in zip(a, n[::-1], strict=True)) / sum(n),
    },
    "read_patient": {
        "did not fire divide": lambda dW, db: (dW / db.unsqueeze(1)).mean(0),
        "added the neurons up": lambda dW, db: (dW[db != 0] / db[db != 0].unsqueeze(1)).sum(0),
        "not yet divided": lambda dW, db: dW.sum(0),
        "counts those that did not fire": lambda dW, db: torch.nan_to_num(dW / db.unsqueeze(1)).mean(0),
    },
    "bytes_on_the_wire": {
        "one way only": lambda d, h, r: 4 * d * h * r,
        "How many bytes has": lambda d, h, r: 2 * d * h * r,
        "numbers, one way": lambda d, h, r: d * h * r,
        "counts bits": lambda d, h, r: 64 * d * h * r,
        "one hospital": lambda d, h, r: 8 * d * r,
        "one round": lambda d, h, r: 8 * d * h,
    },
    "client_start": {
        "nothing that was learnt": lambda world, fresh: fresh,
        "mixture dilutes": lambda world, fresh: (world + fresh) / 2,
        "disturbed anew": lambda world, fresh: world + fresh,
    },
}
for file in sorted(Path(__file__).parent.glob("test_lesson_*.py")):  # later lessons keep theirs beside their own tests
    WRONG |= importlib.import_module(file.stem).WRONG


def test_every_exercise_is_given_wrong_answers():
    assert set(WRONG) == EXERCISES - {"fedavg_step"}  # that one has tests of its own


@pytest.mark.parametrize(("name", "words"), [(name, words) for name, wrong in WRONG.items() for words in wrong])
def test_wrong_answer_gets_the_hint_that_names_the_misconception(name, words):
    verdict = checks.EXERCISES[name](WRONG[name][words])
    assert verdict.kind == "hint" and words in verdict.message, verdict

"""The first cell of each lesson: it names the interpreter, and on Colab fetches what is missing."""

import gc
import subprocess
import sys
import types
from importlib import metadata

import lessons
import pytest

from fedlab_utils import _ready, ready


def test_the_interpreter_is_named():
    assert ready().startswith(f"Python {sys.version_info.major}.{sys.version_info.minor}, environment ")


def test_what_a_lesson_imports_is_not_looked_through_for_garbage_again_and_again():
    usual = gc.get_threshold()
    try:
        gc.set_threshold(700, 10, 10)
        ready()
        assert gc.get_threshold() == (_ready.COLLECT_EVERY, 10, 10)
    finally:
        gc.set_threshold(*usual)


def test_what_is_missing_is_read_off_the_package():
    wanted = ["torch<3,>=2.4", "never-heard-of>=1", 'tenseal-x>=0.3; extra == "lab"', 'nothing; extra == "test"']
    assert _ready.missing(wanted) == ["never-heard-of>=1"]
    requirements = metadata.requires("fedlab-utils")
    assert any(r.startswith(_ready.ALSO) for r in requirements)
    assert _ready.missing(requirements) == []


@pytest.mark.parametrize("works", [True, False])
def test_colab_gets_what_is_missing_and_nothing_else(monkeypatch, works):
    asked = []

    def install(command, **_):
        asked.append(command)
        return types.SimpleNamespace(returncode=0 if works else 1, stderr="no network")

    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(_ready, "missing", lambda requirements: ["dp-accounting>=0.4"])
    monkeypatch.setattr(subprocess, "run", install)
    if works:
        assert "Python 3" in ready()
    else:
        with pytest.raises(OSError, match="dp-accounting>=0.4 could not be installed: no network"):
            ready()
    assert [command[-1] for command in asked] == ["dp-accounting>=0.4"]


def test_every_lesson_starts_with_the_same_few_lines():
    for source in filter(lessons.is_lesson, lessons.sources()):
        first = next(cell.source for cell in lessons.load(source).cells if cell.cell_type == "code")
        assert first.count("print(ready())") == 1 and "--no-deps" in first

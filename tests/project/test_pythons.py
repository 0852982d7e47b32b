"""tools/pythons.py: one line of a table for each Python that really runs."""

import sys
from pathlib import Path

import pytest
import pythons

ROOT = Path(__file__).resolve().parents[2]
FINE = [sys.executable, "-c", "print(1)"]
WRONG = [sys.executable, "-c", "print('error: no wheel'); raise SystemExit(3)"]


@pytest.fixture
def two(tmp_path, monkeypatch):
    """Two Pythons are there, 3.12 and 3.13; the environment of the first cannot be made."""
    monkeypatch.setattr(pythons, "FOLDER", tmp_path / "envs")
    monkeypatch.setattr(pythons.course, "python_of", lambda minor: [sys.executable] if minor in (12, 13) else [])

    def steps(interpreter, folder):
        return {"environment": WRONG if folder.name == "3.12" else FINE, "doctor": FINE, "lesson 00": WRONG}

    monkeypatch.setattr(pythons, "steps", steps)


def test_each_python_gets_its_line_and_a_failure_is_quoted(two, capsys):
    assert pythons.main([]) == 1
    told = capsys.readouterr().out
    assert "Python 3.11 is not on the path, or does not run." in told and "  error: no wheel\n" in told
    head, first, second = told.splitlines()[-3:]
    assert head.split() == ["Python", "environment", "doctor", "lesson", "00"]
    assert first.split()[1] == "failed," and first.split()[-2:] == ["-", "-"]
    assert "failed" not in second[: head.index("lesson")] and "failed" in second[head.index("lesson") :]


def test_only_the_pythons_that_were_asked_for(two):
    pythons.main(["3.13"])
    assert not list(pythons.FOLDER.glob("3.12*")) and list(pythons.FOLDER.glob("3.13*"))
    assert pythons.main(["3.11"]) == 1
    with pytest.raises(SystemExit, match="not known: 3.7"):
        pythons.main(["3.7"])


def test_what_is_tried_is_there():
    steps = pythons.steps(["python3.12"], ROOT / ".venvs" / "3.12")
    assert list(steps)[0] == "environment" and steps["environment"][0] == "python3.12"
    files = [Path(part) for command in steps.values() for part in command if part.startswith(str(ROOT / "t"))]
    assert len(files) >= 9 and all(file.exists() for file in files)
    assert Path(steps["doctor"][0]).parent.parent == ROOT / ".venvs" / "3.12"

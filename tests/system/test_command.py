"""`course.py run`: exit codes, one sentence for what goes wrong, a report whole or not at all."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import system
from fedlab_utils.system import command
from fedlab_utils.system.settings import Checks, Data, Settings, Training

OWN = Settings(
    name="Own",
    data=Data(table="own", target="y", hospitals=2),
    training=Training(rounds=1, hidden=()),
    checks=Checks(attack=False),
)


@pytest.fixture
def folder(tmp_path):
    """A file of settings and a table."""
    (tmp_path / "own.toml").write_text(OWN.to_toml(), encoding="utf-8")
    rng = np.random.default_rng(0)
    x = rng.normal(size=100).round(3)
    pd.DataFrame({"x": x, "y": np.where(x > 0, "ill", "well")}).to_csv(tmp_path / "t.csv", index=False)
    return tmp_path


def run(folder, *more, file="own.toml", table="t.csv", report="out.html"):
    file = folder / file if "." in file else file
    given = [str(file), "--report", str(folder / report), *more]
    return command.main(given + (["--table", str(folder / table)] if table else []))


def refused(capsys, code, want):
    told = capsys.readouterr()
    assert code == command.WRONG and re.search(want, told.err) and told.err.count("\n") == 1, told.err


def nothing_left(folder, report="out.html"):
    assert sorted(p.name for p in folder.iterdir()) == ["own.toml", "t.csv"]


def test_a_file_and_a_table_make_a_report(folder, capsys):
    assert run(folder) == command.DONE
    told = capsys.readouterr()
    stages = [line.split(":")[0] for line in told.out.splitlines()]
    assert stages == ["hospitals", "training", "baselines", "clinic", "report"] and not told.err
    assert all(re.search(r": \d+\.\d s", line) for line in told.out.splitlines())
    page = (folder / "out.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.rstrip().endswith("</html>") and "Own" in page
    assert sorted(p.name for p in folder.iterdir()) == ["out.html", "own.toml", "t.csv"]


@pytest.mark.parametrize("stage", ["training", "hospitals"])
def test_it_stops_where_it_is_told_to(folder, capsys, stage):
    assert run(folder, "--stop-after", stage) == command.DONE
    done = [line.split(":")[0] for line in capsys.readouterr().out.splitlines()]
    assert done[-2] == stage and "Not done: " in (folder / "out.html").read_text(encoding="utf-8")


def test_a_preset_goes_by_its_name(folder, monkeypatch):
    monkeypatch.setattr(system, "PRESETS", {"mine": OWN}, raising=False)
    assert run(folder, file="mine") == command.DONE


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("[training]\nrounds = 0", r"training\.rounds must be a whole number from 1 to 1000"),
        ("[training]\nround = 3", r"'training\.round' is no key of the settings"),
        ("rounds = [", "are not TOML"),
        ("[promise]\nunit = 'record'", r"promise\.epsilon must be given"),
        ("name = '" + "x" * 500_000 + "'", "at most 400,000 bytes"),
        (b"name = '\xff'", "UTF-8"),
        ("", '--table goes with data.table = "own"'),
    ],
)
def test_wrong_settings_are_one_sentence(folder, capsys, text, want):
    (folder / "own.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(capsys, run(folder), want)
    nothing_left(folder)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("x;y\n1;2\n", "commas between its columns"),
        ("", "No columns to parse"),
        ("x,y\n1,2\n1,2,3,4\n", "Expected 2 fields"),
        (b"x,y\n\xff,2\n", "not UTF-8"),
        ("a,b\n1,2\n3,4\n", "y"),
    ],
)
def test_a_wrong_table_is_one_sentence(folder, capsys, text, want):
    (folder / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(capsys, run(folder), want)
    nothing_left(folder)


@pytest.mark.parametrize(("name", "most"), [("size", 50), ("lines", 20), ("columns", 1)])
def test_a_table_is_limited_before_it_is_parsed(folder, capsys, monkeypatch, name, most):
    monkeypatch.setattr(command, "LIMITS", replace(command.LIMITS, **{name: most}))
    monkeypatch.setattr(pd, "read_csv", lambda *a, **k: pytest.fail("parsed"))
    refused(capsys, run(folder), f"--table must have at most {most}")
    with pytest.raises(SystemExit):
        command.main(["--help"])
    said = capsys.readouterr().out
    assert "200 MB" in said and "1,000,000 lines" in said and "1,000 columns" in said


def test_a_packed_table_is_not_unpacked(folder, capsys):
    frame = pd.read_csv(folder / "t.csv")
    frame.to_csv(folder / "t.csv.gz", index=False)
    refused(capsys, run(folder, table="t.csv.gz"), "--table must")


@pytest.mark.parametrize(
    ("more", "want"),
    [
        (dict(table=None), "--table must be given"),
        (dict(table="none.csv"), "--table must be a file"),
        (dict(file="none.toml"), r"none\.toml' is no file"),
        (dict(file="nobody"), "'nobody' is no file"),
        (dict(report="t.csv"), r"ends in \.html"),
        (dict(report="no/out.html"), "folder that exists"),
    ],
)
def test_wrong_names_are_refused_before_anything_runs(folder, capsys, monkeypatch, more, want):
    monkeypatch.setattr(system, "stages", lambda *a, **k: pytest.fail("ran"))
    refused(capsys, run(folder, **more), want)
    nothing_left(folder)


@pytest.mark.parametrize("stage", ["attack", "synthetic-patients", "nonsense"])
def test_a_stage_that_never_comes_is_refused(folder, capsys, stage):
    refused(capsys, run(folder, "--stop-after", stage), "must be one of hospitals, training, baselines, clinic; got")


def test_the_report_never_takes_the_place_of_what_was_read(folder, capsys):
    (folder / "own.toml").rename(folder / "own.html")
    refused(capsys, run(folder, file="own.html", report="own.html"), "must be another file")
    assert (folder / "own.html").read_text(encoding="utf-8") == OWN.to_toml()


@pytest.mark.parametrize("error", [KeyError("Mrs Smith"), KeyboardInterrupt(), OSError(28, "No space left")])
def test_what_breaks_off_leaves_the_old_report_and_shows_no_value(folder, capsys, monkeypatch, error):
    (folder / "out.html").write_text("old", encoding="utf-8")

    def page(outcome, **about):
        raise error

    monkeypatch.setattr(system.Outcome, "report", page)
    assert run(folder) == command.FAILED
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and "No report was written" in told and "Smith" not in told
    assert (folder / "out.html").read_text(encoding="utf-8") == "old"


def test_a_disk_that_fills_up_leaves_the_old_report_and_no_half_of_the_new(folder, capsys, monkeypatch):
    (folder / "out.html").write_text("old", encoding="utf-8")

    def replace(new, old):
        raise OSError(28, "No space left on device", str(old))

    monkeypatch.setattr(command.os, "replace", replace)
    assert run(folder) == command.FAILED and "No space left" in capsys.readouterr().err
    assert sorted(p.name for p in folder.iterdir()) == ["out.html", "own.toml", "t.csv"]
    assert (folder / "out.html").read_text(encoding="utf-8") == "old"

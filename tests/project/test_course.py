"""course.py: setting up, the learner's copies, the command line."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace

import pytest

import course

ROOT = Path(__file__).resolve().parents[2]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


# ---------------------------------------------------------------- setting up


def test_the_environments_python_on_each_system():
    windows = course.venv_python(PureWindowsPath(r"C:\Users\Ada L\my course\.venv"), "nt")
    assert str(windows) == r"C:\Users\Ada L\my course\.venv\Scripts\python.exe"
    assert course.venv_python(Path("/home/ada l/.venv"), "posix") == Path("/home/ada l/.venv/bin/python")


@pytest.mark.parametrize(("version", "fine"), [((3, 10), 0), ((3, 11), 1), ((3, 14), 1), ((3, 15), 0), ((4, 0), 0)])
def test_another_python_gets_one_sentence(version, fine):
    complaint = course.wrong_python(version, python_of=lambda minor: [])
    assert bool(complaint) != fine
    if complaint:
        assert "3.11 to 3.14" in complaint and f"{version[0]}.{version[1]}" in complaint
        other = course.wrong_python(version, python_of=lambda minor: ["py", "-3.12"] if minor == 12 else [])
        assert "py -3.12 course.py lab" in other


@pytest.mark.skipif(os.name == "nt", reason="the stand-ins are shell scripts")
def test_a_python_on_the_path_counts_only_if_it_runs(tmp_path, monkeypatch):
    minor = sys.version_info[1]
    shim = tmp_path / f"python3.{minor}"
    shim.write_text("#!/bin/sh\necho not installed >&2\nexit 127\n")
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert course.python_of(minor) == []
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    assert course.python_of(minor) == [f"python3.{minor}"]
    shim.rename(tmp_path / "python3.99")
    assert course.python_of(99) == []


@pytest.mark.parametrize(
    ("version", "fits"),
    [
        ("2.3.1", 0),
        ("2.4", 1),
        ("2.4.0+cpu", 1),
        ("2.13.0", 1),
        ("2.10.0a0+git1", 1),
        ("3.0.0", 0),
        ("1.13.1+cu117", 0),
    ],
)
def test_a_torch_that_is_there_is_kept_if_it_fits(version, fits):
    assert course.torch_fits(version, "torch>=2.4,<3") == bool(fits)
    assert any(course.torch_fits("2.13.0", line) for line in PROJECT["dependencies"] if line.startswith("torch"))


def test_nothing_is_installed_twice_and_new_wishes_are_noticed(tmp_path, monkeypatch):
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(course, "ROOT", tmp_path)
    stamp = tmp_path / "stamp.json"
    assert not course.is_installed(stamp, [])
    stamp.write_text("half a fi")
    assert not course.is_installed(stamp, [])
    stamp.write_text(json.dumps({"fingerprint": course.fingerprint(), "extras": ["lab", "test"]}))
    assert course.is_installed(stamp, ["lab"]) and not course.is_installed(stamp, ["lab", "bench"])
    with open(tmp_path / "constraints.txt", "a") as constraints:
        constraints.write("numpy==0\n")
    assert not course.is_installed(stamp, ["lab"])


def test_a_failed_installation_ends_in_a_sentence_and_a_nonzero_code(tmp_path):
    checkout = copy_of_course(tmp_path / "my course")
    project = (checkout / "pyproject.toml").read_text(encoding="utf-8")
    needs_nothing = re.sub(r"(?ms)^dependencies = \[.*?^\]", 'dependencies = ["torch>=2.4,<3"]', project)
    (checkout / "pyproject.toml").write_text(needs_nothing, encoding="utf-8")
    no_network = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = run_course(checkout, "lab", **no_network)
    assert done.returncode == 1
    assert "did not finish" in done.stderr and "No matching distribution" in done.stderr
    assert "network" not in done.stderr and "Traceback" not in done.stderr
    assert not (checkout / ".venv" / "fedlab-course.json").exists()


# ---------------------------------------------------------------- the learner's copies


def lesson(*sources, outputs=()):
    cell = {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": list(outputs)}
    return json.dumps({"cells": [cell | {"source": s} for s in sources], "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def folders(tmp_path):
    handed_out, work = tmp_path / "notebooks", tmp_path / "my work"
    handed_out.mkdir()
    (handed_out / "03_average.ipynb").write_text(lesson("first"))
    assert course.refresh(handed_out, work) == []
    return handed_out / "03_average.ipynb", work / "03_average.ipynb"


def test_a_lesson_that_was_only_run_is_updated(folders):
    handed_out, mine = folders
    mine.write_text(lesson("first", outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}]))
    handed_out.write_text(lesson("second"))
    assert course.refresh(handed_out.parent, mine.parent) == []
    assert mine.read_text() == lesson("second")


@pytest.mark.parametrize("edit", [lesson("my answer"), "wrecked {", ""])
def test_an_edited_lesson_is_never_overwritten(folders, edit):
    handed_out, mine = folders
    mine.write_text(edit)
    assert course.refresh(handed_out.parent, mine.parent) == []
    handed_out.write_text(lesson("second"))
    for _ in range(2):  # asked again at each start, for as long as the two differ
        (message,) = course.refresh(handed_out.parent, mine.parent)
        assert "reset 03" in message and mine.read_text() == edit


def test_a_new_and_a_deleted_lesson_are_copied(folders):
    handed_out, mine = folders
    mine.unlink()
    (handed_out.parent / "04_noise.ipynb").write_text(lesson("new"))
    assert course.refresh(handed_out.parent, mine.parent) == []
    assert {p.name for p in mine.parent.glob("*.ipynb")} == {"03_average.ipynb", "04_noise.ipynb"}


@pytest.mark.parametrize("number", ["03", "3"])
def test_reset_gives_the_lesson_back_and_keeps_the_learners_apart(folders, number):
    handed_out, mine = folders
    mine.write_text("wrecked {")
    told = course.restore(number, handed_out.parent, mine.parent, "now")
    kept = Path("my work", "yours", "03_average.now.ipynb")
    assert f"Your version is kept in {kept}." in told
    assert mine.read_text() == lesson("first") and (handed_out.parent.parent / kept).read_text() == "wrecked {"
    assert [path.name for path in mine.parent.glob("*.ipynb")] == [mine.name]
    handed_out.write_text(lesson("second"))
    assert course.refresh(handed_out.parent, mine.parent) == []


@pytest.mark.parametrize("newer", ["first", "second"])
def test_reset_of_a_lesson_that_was_only_run_keeps_nothing(folders, newer):
    handed_out, mine = folders
    mine.write_text(lesson("first", outputs=[{"output_type": "stream", "name": "stdout", "text": "1"}]))
    handed_out.write_text(lesson(newer))
    told = course.restore("03", handed_out.parent, mine.parent, "now")
    assert "is as new. If" in told and not (mine.parent / "yours").exists()
    assert mine.read_text() == lesson(newer)


def test_what_is_no_lesson_is_reset_by_its_name(folders):
    handed_out, mine = folders
    theirs, mine = (path.with_name("control_room.ipynb") for path in folders)
    theirs.write_text(lesson("new"))
    mine.write_text("wrecked {")
    (message,) = course.refresh(handed_out.parent, mine.parent)
    assert message.endswith("python course.py reset control_room")
    assert "control_room.ipynb is as new." in course.restore("control_room", handed_out.parent, mine.parent, "now")
    assert mine.read_text() == lesson("new")
    with pytest.raises(SystemExit, match="the lessons are: 03, control_room"):
        course.restore("co", handed_out.parent, mine.parent, "now")


@pytest.mark.parametrize("number", ["07", "three", "*", "", "average", "03_average"])
def test_reset_of_no_lesson_says_which_there_are(folders, number):
    handed_out, mine = folders
    with pytest.raises(SystemExit, match="the lessons are: 03"):
        course.restore(number, handed_out.parent, mine.parent, "now")


# ---------------------------------------------------------------- the command line


def copy_of_course(folder):
    folder.mkdir(parents=True)
    for name in ("course.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "fedlab_utils", folder / "fedlab_utils")
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "03_average.ipynb").write_text(lesson("first"))
    return folder


def run_course(checkout, *arguments, **settings):
    command = [sys.executable, str(checkout / "course.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **settings}, timeout=200)


def test_reset_in_a_folder_with_a_blank_needs_no_environment(tmp_path):
    checkout = copy_of_course(tmp_path / "my course")
    done = run_course(checkout, "reset", "03")
    assert done.returncode == 0 and "03_average.ipynb is as new" in done.stdout
    assert (checkout / "work" / "03_average.ipynb").read_text() == lesson("first")
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("line", ["laab", "reset", "lab 03", "doctor --all", "lab --no-browser"])
def test_a_slip_of_the_keyboard_gets_the_usage_and_installs_nothing(tmp_path, line):
    checkout = copy_of_course(tmp_path / "course")
    done = run_course(checkout, *line.split())
    assert done.returncode == 2 and "usage" in done.stderr and "Traceback" not in done.stderr
    assert not (checkout / ".venv").exists()


def test_an_option_of_the_tool_is_told_where_to_stand(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        course.main(["lab", "--no-browser"])
    assert "--no-browser: not known here; options of the tool behind go after --" in capsys.readouterr().err


def test_nothing_but_the_standard_library_is_imported():
    nodes = list(ast.walk(ast.parse((ROOT / "course.py").read_text(encoding="utf-8"))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names and names <= sys.stdlib_module_names


def test_alone_it_says_what_it_can_do(tmp_path):
    checkout = copy_of_course(tmp_path / "course")
    done = run_course(checkout)
    assert done.returncode == 0 and not (checkout / ".venv").exists()
    for name in course.VERBS:
        assert re.search(rf"^    {name} +\w.*\w", done.stdout, re.M)


def test_each_verb_says_what_it_takes_and_its_extras_are_those_of_pyproject(capsys):
    verbs = {"lab", "dashboard", "reset", "doctor", "test", "bench", "notebooks", "lint", "pythons", "run"}
    verbs |= {"class", "stick", "book", "slides"}
    verbs |= {"certificates", "coordinator", "hospital"}
    assert set(course.VERBS) == verbs
    for name, noted in course.VERBS.items():
        with pytest.raises(SystemExit, match="^0$"):
            course.main([name, "--help"])
        shown = capsys.readouterr().out
        assert noted["help"].split()[0] in shown and all(argument in shown for argument in noted["takes"])
        assert set(noted["extras"] or []) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize(
    ("line", "verb", "rest"),
    [
        (["lab", "--", "--no-browser", "--port", "8899"], "lab", ["--no-browser", "--port", "8899"]),
        (["test", "--", "-k", "fleet", "--", "x"], "test", ["-k", "fleet", "--", "x"]),
        (["notebooks", "03", "--all", "--", "--time"], "notebooks", ["--time"]),
        (["doctor"], "doctor", []),
    ],
)
def test_what_follows_two_dashes_goes_to_the_tool(monkeypatch, line, verb, rest):
    seen = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: "python")
    monkeypatch.setattr(course, verb, lambda python, options: seen.append((python, options.rest)) or 0)
    assert course.main(line) == 0 and seen == [("python", rest)]


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (["notebooks", "03", "--all"], "lessons.py 03 --all"),
        (["notebooks", "03", "05", "--", "--time"], "lessons.py 03 05 --time"),
        (["notebooks"], "lessons.py"),
        (["doctor", "--", "--brief"], "doctor.py --brief"),
        (["pythons", "--", "3.12"], "pythons.py 3.12"),
        (["run", "a.toml", "--report", "o.html"], "-P -m fedlab_utils.system.command a.toml --report o.html"),
        (
            ["run", "ours", "--report", "o.html", "--table", "t.csv", "--stop-after", "training"],
            "command ours --report o.html --table t.csv --stop-after training",
        ),
        (
            ["certificates", "request", "A", "--name", "St. Mary"],
            "-P -m fedlab_utils.network.command certificates request A --name St. Mary",
        ),
        (["certificates", "show", "--help"], "command certificates show --help"),
        (["lint"], "-m ruff check ."),
        (["lint", "--", "tools"], "-m ruff check tools"),
    ],
)
def test_a_verb_calls_its_tool_and_hands_its_code_on(monkeypatch, line, command):
    called = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: "python")
    monkeypatch.setattr(course, "call", lambda command, folder=ROOT: called.append(" ".join(command)) or 5)
    assert course.main(line) == 5
    assert len(called) == 1 and called[0].startswith(("python ", sys.executable)) and called[0].endswith(command)


@pytest.mark.parametrize(
    ("line", "port", "more"), [([], "8866", []), (["--port", "9000", "--", "--no-browser"], "9000", ["--no-browser"])]
)
def test_the_dashboard_takes_the_process_over_with_its_port_and_options(monkeypatch, capsys, line, port, more):
    handed = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: "python")
    monkeypatch.setattr(course, "hand_over", lambda command, folder: handed.append(command) or 5)
    assert course.main(["dashboard", *line]) == 5
    assert handed == [["python", str(ROOT / "tools" / "dashboard.py"), "--port", port, *more]]
    assert len(capsys.readouterr().out.splitlines()) == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["coordinator", "plan.toml"], ["coordinator", "plan.toml"]),
        (
            ["coordinator", "--port", "99", "plan.toml", "--wait", "5", "--", "--host", "::"],
            ["coordinator", "plan.toml", "--port", "99", "--wait", "5", "--host", "::"],
        ),
        (
            ["hospital", "my plan.toml", "--name", "St. Mary", "--budget", "2", "--table", "my.csv"],
            ["hospital", "my plan.toml", "--table", "my.csv", "--budget", "2", "--name", "St. Mary"],
        ),
        (["hospital", "--flower", "plan.toml"], ["hospital", "plan.toml", "--flower"]),
    ],
)
def test_several_machines_take_the_process_over_where_the_caller_stands(monkeypatch, tmp_path, line, words):
    handed = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: "python")
    monkeypatch.setattr(course, "hand_over", lambda command, folder: handed.append((command, folder)) or 5)
    monkeypatch.chdir(tmp_path)
    assert course.main(line) == 5
    assert handed == [(["python", "-P", "-m", "fedlab_utils.network.command", *words], tmp_path)]


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot hand a process over")
def test_a_server_takes_the_process_over(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(course.os, "execv", lambda *call: seen.append((Path.cwd(), *call)))
    monkeypatch.setattr(course.subprocess, "Popen", lambda *_, **__: SimpleNamespace(wait=lambda: 0))
    monkeypatch.chdir(ROOT)
    course.hand_over(["python", "a b"], tmp_path)
    assert seen == [(tmp_path, "python", ["python", "a b"])]


def test_paths_of_a_run_are_those_of_whoever_calls(monkeypatch):
    seen = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: "python")
    monkeypatch.setattr(course.subprocess, "call", lambda command, cwd: seen.append(cwd) or 2)
    assert course.main(["run", "a.toml", "--report", "o.html"]) == 2 and course.main(["lint"]) == 2
    assert seen == [None, course.ROOT]


@pytest.mark.parametrize(("line", "here"), [(["--here", "lint"], True), (["lint", "--here"], True), (["lint"], False)])
def test_here_may_stand_before_the_verb_or_after_it(monkeypatch, line, here):
    asked = []
    monkeypatch.setattr(course, "ensure", lambda verb, here: asked.append((verb, here)) or "python")
    monkeypatch.setattr(course, "call", lambda command: 0)
    assert course.main(line) == 0 and asked == [("lint", here)]


@pytest.mark.skipif(os.name == "nt" or not shutil.which("bash"), reason="needs bash")
def test_ci_script_is_executable_bash():
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert subprocess.run(["bash", "-n", str(ROOT / ".ci" / "run")]).returncode == 0

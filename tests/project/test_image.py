"""The image of the course for hubs and development containers: nothing is built here, everything named is there."""

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

import course

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".devcontainer"
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
ABOUT = json.loads((FOLDER / "devcontainer.json").read_text(encoding="utf-8"))
KNOWN = {"FROM", "RUN", "USER", "WORKDIR", "ENV", "COPY", "ARG", "EXPOSE", "CMD"}
START = ["python", "course.py", "--here", "lab", "--", "--no-browser"]


def steps(text=DOCKERFILE):
    """The instructions, each with what it says, lines put together."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in lines.splitlines() if line.strip()]


def all_of(name):
    return [said for step, said in steps() if step == name]


def test_every_instruction_is_known_and_the_python_is_one_that_the_course_takes():
    assert {name for name, _ in steps()} == KNOWN
    (version,) = re.findall(r"^python:(\d+)\.(\d+)-slim", " ".join(all_of("FROM")))
    assert course.OLDEST <= tuple(map(int, version)) <= course.NEWEST
    assert steps()[0][0] == "FROM" and steps()[-1][0] == "CMD"


def test_what_is_copied_is_there_and_is_enough_to_install_and_to_start():
    copied = set()
    for said in all_of("COPY"):
        owner, *sources, target = said.split()
        assert owner == "--chown=learner:learner"
        for source in sources:
            assert (ROOT / source).exists(), source
            assert target == ("./" if (ROOT / source).is_file() else source)
        copied |= set(sources)
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    assert {"course.py", "pyproject.toml", "constraints.txt", "notebooks", "tools", "datasets"} <= copied
    assert all(pattern.rstrip("*") in copied for pattern in package["find"]["include"])


def test_nobody_is_root_once_something_of_the_course_runs():
    names = [name for name, _ in steps()]
    assert all_of("USER") == [ABOUT["remoteUser"]]
    assert names.index("USER") < names.index("COPY") and names[: names.index("USER")].count("RUN") == 1


def test_versions_are_those_of_the_constraints():
    environment = dict(pair.split("=", 1) for said in all_of("ENV") for pair in shlex.split(said))
    assert environment["PIP_CONSTRAINT"] == environment["UV_CONSTRAINT"] == f"{all_of('WORKDIR')[0]}/constraints.txt"
    assert (ROOT / Path(environment["JUPYTER_CONFIG_PATH"]).relative_to(all_of("WORKDIR")[0])).is_dir()
    installed = [word for said in all_of("RUN") for word in re.findall(r"pip install ([a-z]\w*)", said)]
    pinned = {course.name_in(line) for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()}
    assert installed and set(installed) <= pinned


@pytest.mark.parametrize("said", [*all_of("RUN"), *all_of("CMD"), json.dumps(ABOUT["postCreateCommand"])])
def test_its_steps_are_those_of_course_py(said, monkeypatch, tmp_path):
    words = json.loads(said) if said.startswith("[") else shlex.split(said)
    if "course.py" in words:
        called = []
        monkeypatch.setattr(course, "ensure", lambda verb, here: called.append((verb, here)) or "python")
        monkeypatch.setattr(course, words[3], lambda python, options: 0)
        assert words[:3] == START[:3] and course.main(words[2:]) == 0 and called == [(words[3], True)]
        assert "lab" in course.VERBS[words[3]]["extras"]
    elif "import course" in said:
        monkeypatch.setattr(course, "WORK", tmp_path / "work")
        exec(words[-1])
        assert len(list((tmp_path / "work").glob("*.ipynb"))) >= 14
    else:
        assert words[0] in ("useradd", "if") or words[:3] == ["python", "-m", "venv"]


def test_both_start_the_lab_on_the_port_that_is_shown():
    (port,) = ABOUT["forwardPorts"]
    assert all_of("EXPOSE") == [str(port)] and ABOUT["portsAttributes"].keys() == {str(port)}
    for command in (json.loads(all_of("CMD")[0]), ABOUT["postAttachCommand"]):
        assert command[: len(START)] == START and f"--port={port}" in command
    assert (FOLDER / ABOUT["build"]["dockerfile"]).is_file()
    assert (FOLDER / ABOUT["build"]["context"]).resolve() == ROOT


def test_binder_goes_on_taking_environment_yml():
    """Binder prefers a Dockerfile at the top or in these folders to an environment.yml."""
    assert not [name for name in ("Dockerfile", "binder", ".binder") if (ROOT / name).exists()]
    assert (ROOT / "environment.yml").is_file()

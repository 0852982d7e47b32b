"""The environment files and the licences."""

import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import course
import fedlab_utils

ROOT = Path(__file__).resolve().parents[2]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


PINS = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]


# conda-forge's name -> the name that pip knows
SAME = {"pytorch-cpu": "torch", "matplotlib-base": "matplotlib", "seaborn-base": "seaborn"}


def wanted(*extras):
    lines = PROJECT["dependencies"] + [r for extra in extras for r in PROJECT["optional-dependencies"][extra]]
    return {Requirement(line).name: Requirement(line).specifier for line in lines}


def test_environment_yml_wants_what_pyproject_wants():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert set(environment) == {"name", "channels", "dependencies"}
    assert environment["channels"][0] == "conda-forge"
    *conda, pip, block = environment["dependencies"]
    assert pip == "pip" and block["pip"][-1] == "-e ."
    assert all(isinstance(line, str) for line in conda), "an unquoted version such as 3.10 is read as a number"
    lines = conda + block["pip"][:-1]
    found = {SAME.get(Requirement(line).name, Requirement(line).name): Requirement(line) for line in lines}
    assert found.pop("python").specifier == SpecifierSet(PROJECT["requires-python"])
    assert {name: requirement.specifier for name, requirement in found.items()} == wanted("lab")


def test_every_dependency_is_pinned_inside_its_range():
    pinned = {pin.name.lower(): next(iter(pin.specifier)).version for pin in PINS}
    assert len(pinned) == len(PINS)
    for name, allowed in wanted("lab", "test", "bench").items():
        assert allowed.contains(pinned[name.lower()]), name


def test_the_range_of_python_is_told_the_same_everywhere():
    allowed = SpecifierSet(PROJECT["requires-python"])
    (major, first), (_, last) = course.OLDEST, course.NEWEST
    assert [allowed.contains(f"{major}.{minor}.1") for minor in range(first - 1, last + 2)] == [
        minor in range(first, last + 1) for minor in range(first - 1, last + 2)
    ]


def test_version_and_licences_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == fedlab_utils.__version__
    assert citation["license"] == ["MIT", "CC-BY-4.0"]
    assert (ROOT / "LICENSE").read_text().startswith("MIT License")
    assert "creativecommons.org/licenses/by/4.0" in (ROOT / "LICENSE-text").read_text()

"""`course.py stick` and `lab --from`: a course that is set up without a network, from a folder of wheels."""

import re
import shutil
import subprocess
import sys
import zipfile

import pytest

import course
from tests.project.test_course import copy_of_course, run_course

# What pip asks of a project, in a few lines: the real one would need setuptools from a network.
BACKEND = """
import zipfile

def build_wheel(folder, settings=None, metadata=None):
    name = "fedlab_utils-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("fedlab_utils-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: fedlab-utils\\nVersion: 1\\n"
                       "Provides-Extra: lab\\nRequires-Dist: tiny>=1\\nRequires-Dist: small>=1; extra == 'lab'\\n")
        wheel.writestr("fedlab_utils-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nTag: py3-none-any\\n")
        wheel.writestr("fedlab_utils-1.dist-info/RECORD", "")
    return name

build_editable = build_wheel
"""
PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "fedlab-utils"
version = "1"
dependencies = ["tiny>=1", "torch>=2.4,<3"]

[project.optional-dependencies]
lab = ["small>=1"]
"""


def wheel(folder, name):
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        file.writestr(f"{name}.py", "")
        file.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{name}-1.0.dist-info/RECORD", "")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the course that wants two small packages."""
    checkout = copy_of_course(tmp_path_factory.mktemp("a") / "my course")
    (checkout / "pyproject.toml").write_text(PROJECT.replace(', "torch>=2.4,<3"', ""), encoding="utf-8")
    script = (checkout / "course.py").read_text(encoding="utf-8")
    no_torch = re.sub(r"(?s)(def torch_of\(python\) -> str:\n).*?\n\n\n", r'\1    return ""\n\n\n', script)
    (checkout / "course.py").write_text(no_torch, encoding="utf-8")
    (checkout / "constraints.txt").write_text("tiny==1.0\n")
    (checkout / "backend.py").write_text(BACKEND)
    return checkout


@pytest.fixture(scope="module")
def stick(checkout, tmp_path_factory):
    """A folder that has been filled, from another one in the place of the network."""
    network, stick = (tmp_path_factory.mktemp(name) for name in ("network", "my stick"))  # pip splits lists at blanks
    for name in ("tiny", "small"):
        wheel(network, name)
    done = run_course(checkout, "stick", str(stick), PIP_NO_INDEX="1", PIP_FIND_LINKS=str(network))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "another system" in done.stdout
    shutil.rmtree(network)
    shutil.rmtree(checkout / ".venv")
    return stick


def without_a_network():
    """How to start a command in a world without a network, where this system lets us make one."""
    wrap = ["unshare", "--user", "--map-root-user", "--net"]
    works = shutil.which("unshare") and subprocess.run([*wrap, "true"], capture_output=True).returncode == 0
    return wrap if works else []


def test_a_stick_holds_all_that_lab_fetches_and_lab_takes_it_from_there(checkout, stick):
    assert {path.name for path in stick.glob("*.whl")} == {f"{n}-1.0-py3-none-any.whl" for n in ("tiny", "small")}
    command = [*without_a_network(), sys.executable, "course.py", "lab", "--from", str(stick)]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert "No module named jupyterlab" in done.stderr, done.stdout + done.stderr  # set up, and this course has none
    assert (checkout / ".venv" / "fedlab-course.json").is_file()
    python = course.venv_python(checkout / ".venv")
    subprocess.run([python, "-c", "import tiny, small"], check=True)


def test_what_is_missing_on_a_stick_is_a_sentence(checkout, stick, tmp_path):
    (tmp_path / course.FILLED_FOR).write_text(course.this_system())
    shutil.rmtree(checkout / ".venv", ignore_errors=True)
    done = run_course(checkout, "lab", "--from", str(tmp_path))
    assert done.returncode == 1 and "did not finish" in done.stderr and "Traceback" not in done.stderr


def test_a_stick_for_another_system_or_none_at_all_is_refused_before_anything_is_made(tmp_path, capsys):
    with pytest.raises(SystemExit, match="is no folder that `python course.py stick` has filled"):
        course.take_from(tmp_path)
    (tmp_path / course.FILLED_FOR).write_text("Python 3.12, Windows, AMD64")
    with pytest.raises(SystemExit, match="for Python 3.12, Windows, AMD64; this is .*: python course.py stick FOLDER"):
        course.take_from(tmp_path)


def test_what_goes_on_a_stick_is_what_pyproject_wants():
    wanted = course.requirements(["lab"])
    assert {"setuptools>=69", "torch>=2.4,<3", "jupyterlab>=4.2,<5"} <= set(wanted)
    assert not [line for line in wanted if line.startswith(("pytest", "flwr"))]

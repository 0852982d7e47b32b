"""Setting up goes on from wherever it was stopped, and what it cannot do it says in a sentence.

Stand-ins for the modules venv and pip lie on PYTHONPATH. They note when they begin and end, and do what STAND_IN says.
"""

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import course

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="the stand-ins need signals and symbolic links")

STAND_IN = """
import os, pathlib, sys, time
name = pathlib.Path(__file__).stem
if sys.argv[1:] == ["--version"]:
    sys.exit(os.environ["STAND_IN"] == "no pip" or print("pip 99"))
calls = pathlib.Path(__file__).with_name("calls")
def note(text):
    with open(calls, "a") as file:
        file.write(text + "\\n")
if name == "venv":
    folder = pathlib.Path(sys.argv[-1])
    (folder / "bin").mkdir(parents=True, exist_ok=True)
    (folder / "pyvenv.cfg").write_text(f"home = {sys.base_prefix}/bin\\ninclude-system-site-packages = false\\n")
    if not (folder / "bin" / "python").exists():
        (folder / "bin" / "python").symlink_to(os.path.realpath(sys.executable))
note(f"{name} begins")
if os.environ["STAND_IN"].startswith(f"{name} says "):
    print(os.environ["STAND_IN"].removeprefix(f"{name} says "))
    sys.exit(1)
if os.environ["STAND_IN"].startswith(f"{name} takes "):
    time.sleep(float(os.environ["STAND_IN"].split()[-1]))
note(f"{name} ends")
"""
START = "import course, sys; course.PATIENCE = 0.05; print('ready:', course.ensure(sys.argv[1], False))"


@pytest.fixture
def checkout(tmp_path):
    folder = tmp_path / "my course"
    folder.mkdir()
    for name in ("course.py", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    (tmp_path / "path").mkdir()
    for name in ("venv", "pip"):
        (tmp_path / f"{name}.py").write_text(STAND_IN)
    return folder


def start(checkout, stand_in="", verb="lab"):
    """Begin to set up, as a process group of its own, with nothing on the path but the folder `path`."""
    own = {"PYTHONPATH": str(checkout.parent), "PATH": str(checkout.parent / "path"), "STAND_IN": stand_in}
    tool = dict(cwd=checkout, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    tool |= dict(preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job ignores Ctrl-C
    return subprocess.Popen([sys.executable, "-c", START, verb], env={**os.environ, **own}, **tool)


def said(process):
    return process.communicate(timeout=30)[0]


def calls(checkout):
    with contextlib.suppress(FileNotFoundError):
        return (checkout.parent / "calls").read_text().splitlines()
    return []


def wait_for(call, checkout):
    end = time.monotonic() + 20
    while call not in calls(checkout):
        assert time.monotonic() < end, f"{call} was never noted"
        time.sleep(0.02)


def is_whole(checkout):
    stamp = checkout / ".venv" / "fedlab-course.json"
    return stamp.exists() and "lab" in json.loads(stamp.read_text())["extras"]


# ---------------------------------------------------------------- stopped, and started again


def test_the_first_start_sets_up_and_the_next_does_nothing(checkout):
    assert f"ready: {checkout / '.venv/bin/python'}" in said(start(checkout))
    assert is_whole(checkout) and calls(checkout) == ["venv begins", "venv ends", "pip begins", "pip ends"]
    again = said(start(checkout))
    assert again.startswith("ready") and len(calls(checkout)) == 4


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("stage", ["venv", "pip"])
def test_stopped_at_any_stage_the_next_start_heals(checkout, stage, how):
    first = start(checkout, f"{stage} takes 60")
    wait_for(f"{stage} begins", checkout)
    os.killpg(first.pid, how)
    told = said(first)
    assert how == signal.SIGKILL or "Stopped. The next start goes on from here." in told
    assert not is_whole(checkout) and "Traceback" not in told
    second = said(start(checkout))
    assert "ready" in second and is_whole(checkout)
    assert calls(checkout).count("venv begins") == (2 if stage == "venv" else 1)
    assert ("made anew" in second) == (stage == "venv")


def test_an_environment_that_lost_its_pip_or_its_python_is_made_anew(checkout):
    said(start(checkout))
    (checkout / ".venv" / "fedlab-course.json").unlink()
    assert "made anew" in said(start(checkout, "no pip")) and calls(checkout).count("venv begins") == 2
    (checkout / ".venv" / "bin" / "python").unlink()  # as when the Python it came from was taken away
    assert "made anew" in said(start(checkout)) and calls(checkout).count("venv begins") == 3


def test_a_stopped_upgrade_is_noticed_when_the_wishes_are_as_before(checkout):
    said(start(checkout))
    before = (checkout / "constraints.txt").read_text()
    (checkout / "constraints.txt").write_text(before + "numpy==0\n")
    said(start(checkout, "pip says ERROR: no numpy 0"))
    (checkout / "constraints.txt").write_text(before)
    assert not is_whole(checkout) and "ready" in said(start(checkout)) and calls(checkout).count("pip ends") == 2


def test_where_more_cannot_be_installed_what_was_there_still_serves(checkout):
    said(start(checkout))
    assert "did not finish" in said(start(checkout, "pip says ERROR: no network", verb="test"))
    assert is_whole(checkout) and said(start(checkout)).startswith("ready")


def test_a_package_that_pip_was_stopped_at_is_forgotten(checkout):
    said(start(checkout))
    site = checkout / ".venv" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    for name, files in (("half-1.dist-info", ["METADATA"]), ("whole-1.dist-info", ["METADATA", "RECORD"])):
        (site / name).mkdir(parents=True)
        for file in files:
            (site / name / file).touch()
    (checkout / ".venv" / "fedlab-course.json").unlink()
    said(start(checkout))
    assert [path.name for path in site.iterdir()] == ["whole-1.dist-info"]


# ---------------------------------------------------------------- two at once


def test_of_two_starts_one_sets_up_and_the_other_waits(checkout):
    first = start(checkout, "venv takes 0.5")
    wait_for("venv begins", checkout)
    second = start(checkout)
    told = said(second)
    assert "Another start" in told and "ready" in told and "ready" in said(first)
    assert calls(checkout) == ["venv begins", "venv ends", "pip begins", "pip ends"]


def test_a_pip_that_outlived_its_start_is_waited_for(checkout):
    first = start(checkout, "pip takes 1")
    wait_for("pip begins", checkout)
    first.kill()  # this process only
    assert "Another start" in said(start(checkout)) and is_whole(checkout)
    assert calls(checkout)[2:] == ["pip begins", "pip ends"] * 2


def test_a_lock_whose_holder_died_holds_nobody_up(tmp_path):
    lock = tmp_path / ".venv.lock"
    hold = f"import course, time, pathlib\nwith course.alone(pathlib.Path({str(lock)!r})):\n print(1, flush=True)"
    command = [sys.executable, "-c", hold + "\n time.sleep(60)"]
    holder = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE)
    holder.stdout.readline()
    with open(lock, "a") as file:
        assert not course.take(file)
        holder.kill()
        holder.wait()
        assert course.take(file)
    holder.stdout.close()


def test_where_files_cannot_be_locked_it_goes_without(tmp_path, monkeypatch):
    import fcntl

    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with course.alone(tmp_path / ".venv.lock"):
        pass


# ---------------------------------------------------------------- what cannot be done is said

DISK = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"
DEBIAN = (
    "The virtual environment was not created successfully because ensurepip is not available.  On Debian/Ubuntu "
    "systems, you need to install the python3-venv package"
)
PROXY = """WARNING: Retrying (Retry(total=0)) after connection broken by 'ProxyError('Cannot connect to proxy.')'
ERROR: Could not find a version that satisfies the requirement torch<3,>=2.4 (from versions: none)
ERROR: No matching distribution found for torch<3,>=2.4"""


@pytest.mark.parametrize(
    ("stand_in", "quoted"),
    [
        (f"pip says {PROXY}", "Cannot connect to proxy."),
        (f"venv says {DEBIAN}", "python3-venv"),
        ("no pip", "has no pip"),
    ],
)
def test_a_tool_that_fails_ends_in_a_sentence_and_the_next_start_heals(checkout, stand_in, quoted):
    (checkout / ".venv").mkdir()
    if stand_in == "no pip":
        (checkout.parent / "pip.py").unlink()  # the stand-in makes environments without one
    process = start(checkout, stand_in)
    told = said(process)
    assert process.returncode == 1 and quoted in told and "Traceback" not in told and not is_whole(checkout)
    (checkout.parent / "pip.py").write_text(STAND_IN)
    assert "ready" in said(start(checkout)) and is_whole(checkout)


@pytest.mark.parametrize(
    ("log", "quoted", "advice"),
    [
        (DISK, DISK, "The disk is full"),
        (f"Error: {DISK}", "No space left", "The disk is full"),
        (DEBIAN, "ensurepip is not available", "install the package python3-venv"),
        ("/usr/bin/python3: No module named venv", "No module named venv", "python3-venv"),
        (PROXY, "Cannot connect to proxy.", "looks like the network"),
        (PROXY, "No matching distribution found for torch", "HTTPS_PROXY"),
        ("error: Failed to fetch\n  cause: dns error", "cause: dns error", "looks like the network"),
        ("python: No module named pip", "No module named pip", "ensurepip --upgrade"),
        ("error: externally-managed-environment", "externally-managed", "without --here"),
        ("ERROR: [WinError 5] Access is denied: 'zmq.pyd'", "zmq.pyd", "close other windows"),
        ("  torch 2.6 depends on sympy==1.13.1\nERROR: ResolutionImpossible", "sympy==1.13.1", "was there before"),
        ("one\ntwo\nthree\nfour", "\n  two\n  three\n  four\n", "show these lines"),
        ("Collecting jupyter-server-proxy\nERROR: disk quota exceeded", "quota", "The disk is full"),
        ("Collecting jupyter-server-proxy\nERROR: gcc failed", "gcc failed", "show these lines"),
    ],
)
def test_a_tools_last_words_are_quoted_and_what_to_do_is_said(log, quoted, advice):
    told = course.trouble("It did not work.", "first\n" * 100 + log)
    assert told.startswith("It did not work.\n") and quoted in told and advice in told
    assert ("network" in told) == ("ProxyError" in log or "dns" in log)


def test_a_full_disk_found_by_course_py_itself_is_said(tmp_path, monkeypatch, capsys):
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0.7e9))
    with pytest.raises(SystemExit, match="needs 2 GB, and 0.7 GB are free"):
        course.ensure("lab", False)
    monkeypatch.setattr(course, "make_venv", lambda folder: folder.mkdir())
    monkeypatch.setattr(course, "run_with_heartbeat", lambda command, log: 0)
    monkeypatch.setattr(course, "asked", lambda command: "")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SystemExit, match=r"(?s)did not work.*Errno 28.*The disk is full"):
        course.ensure("lab", False)
    assert not (tmp_path / ".venv" / "fedlab-course.json").exists()


# ---------------------------------------------------------------- PyTorch without CUDA


def put_on_path(checkout, name, code):
    tool = checkout.parent / "path" / name
    tool.write_text(f'#!/bin/sh\necho "{name} $@" >> "{checkout.parent / "calls"}"\n{code}\n')
    tool.chmod(0o755)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch's plain builds have no CUDA")
@pytest.mark.parametrize(("card", "backend"), [(False, "cpu"), (True, "auto")])
def test_uv_fetches_the_build_that_fits_the_machine(checkout, card, backend):
    put_on_path(checkout, "uv", "exit 0")
    if card:
        put_on_path(checkout, "nvidia-smi", "exit 0")
    assert "ready" in said(start(checkout)) and is_whole(checkout)
    (call,) = [call for call in calls(checkout) if not call.startswith("venv")]
    folder = checkout / ".venv"
    assert call == (
        f"uv pip install --python {folder}/bin/python --torch-backend {backend} -e .[lab] "
        f"-c {folder}/fedlab-constraints.txt"
    )
    assert "torch==" in (folder / "fedlab-constraints.txt").read_text()


def test_where_uv_fails_pip_takes_over(checkout):
    put_on_path(checkout, "uv", "echo error: no such option; exit 2")
    told = said(start(checkout))
    assert "uv could not" in told and "error: no such option" in told and is_whole(checkout)
    assert calls(checkout)[-2:] == ["pip begins", "pip ends"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere PyTorch's plain builds have no CUDA")
@pytest.mark.parametrize("card", [False, True])
def test_without_uv_one_is_told_about_cuda_where_nobody_needs_it(checkout, card):
    if card:
        put_on_path(checkout, "nvidia-smi", "exit 0")
    assert ("several gigabytes" in said(start(checkout))) != card


def test_a_pytorch_that_is_kept_chooses_what_goes_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(course, "asked", lambda command: "sympy==1.13.1\ntyping-extensions>=4.10; python_version>'3'")
    kept = course.pins(Path("python"), tmp_path / "stamp.json", "2.6.0+debian").read_text().splitlines()
    names = {course.name_in(line) for line in kept}
    assert kept[-1] == "torch==2.6.0+debian" and "numpy" in names
    assert names.isdisjoint({"sympy", "typing-extensions"})
    untouched = course.pins(Path("python"), tmp_path / "stamp.json", "").read_text()
    assert untouched == (ROOT / "constraints.txt").read_text()

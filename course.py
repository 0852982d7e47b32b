#!/usr/bin/env python3
"""The one entry to the course; Python's standard library is all it needs.

Everything is installed into the folder .venv beside this file, the first time only; deleting that folder
undoes it. With --here the Python that runs this file is used instead, for those who have an environment of
their own (conda, a hub). What follows "--" goes to the tool behind:

    python course.py lab -- --no-browser --port 8899
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WORK = ROOT / "work"  # the learner's copies, out of reach of a git pull
OLDEST, NEWEST = (3, 11), (3, 13)  # the range in pyproject.toml; run so far: 3.11
VERBS = {}  # name -> what `verb` notes beside the function of that name


def say(text: str) -> None:
    print(text, flush=True)


# ---------------------------------------------------------------- the environment


def wrong_python(version: tuple[int, ...], which=shutil.which) -> str:
    """One sentence when this Python is outside the range, else the empty text."""
    if OLDEST <= version[:2] <= NEWEST:
        return ""
    first, last = (".".join(map(str, v)) for v in (OLDEST, NEWEST))
    there = [f"python3.{minor}" for minor in range(OLDEST[1], NEWEST[1] + 1) if which(f"python3.{minor}")]
    this = ".".join(map(str, version[:2]))
    hint = f"this machine has one: {there[0]} course.py lab" if there else "Python's own site has installers"
    return f"The course needs Python {first} to {last}, and this is {this}; {hint}."


def venv_python(root, os_name: str = os.name):
    """Where the environment's Python lives: Windows has another place for it."""
    return root.joinpath(".venv", *(("Scripts", "python.exe") if os_name == "nt" else ("bin", "python")))


def torch_fits(version: str, requirement: str) -> bool:
    """Whether a PyTorch such as 2.6.0+cpu lies in pyproject's range, such as torch>=2.4,<3."""
    low, high = re.fullmatch(r"torch>=([\d.]+),<([\d.]+)", requirement).groups()
    number = [int(part) for part in re.findall(r"\d+", version.split("+")[0])[:2]]
    return [int(p) for p in low.split(".")] <= number < [int(p) for p in high.split(".")]


def torch_of(python) -> str:
    """The version of a PyTorch in the range that this Python already sees, or the empty text."""
    import tomllib  # since Python 3.11: not before the version was looked at

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    ask = [str(python), "-c", "import importlib.metadata as m; print(m.version('torch'))"]
    found = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
    return found if found and torch_fits(found, next(w for w in wanted if w.startswith("torch"))) else ""


def fingerprint() -> str:
    """Changes when there is something to install again: new versions wanted, or the folder was moved."""
    wanted = [(ROOT / name).read_bytes() for name in ("pyproject.toml", "constraints.txt")]
    return hashlib.sha256(b"\n".join([str(ROOT).encode(), *wanted])).hexdigest()


def is_installed(stamp: Path, extras: list[str]) -> bool:
    try:
        noted = json.loads(stamp.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return noted.get("fingerprint") == fingerprint() and set(extras) <= set(noted.get("extras", []))


def make_venv(python: Path) -> None:
    """Create .venv; a PyTorch that the Python running this file already has stays in sight."""
    share = ["--system-site-packages"] if sys.prefix == sys.base_prefix and torch_of(sys.executable) else []
    command = [sys.executable, "-m", "venv", "--clear", *share, str(ROOT / ".venv")]
    if subprocess.run(command, capture_output=True, text=True).returncode or not python.exists():
        shutil.rmtree(ROOT / ".venv", ignore_errors=True)  # half an environment would pass for a whole one
        sys.exit(
            f"{sys.executable} could not make an environment in {ROOT / '.venv'}: is there room on the disk? "
            "On Debian and Ubuntu, install the package python3-venv first."
        )


def ensure(verb: str, here: bool) -> str:
    """Return the Python to use, with everything installed that the verb needs."""
    python = Path(sys.executable) if here else venv_python(ROOT)
    stamp = (Path(sys.prefix) if here else ROOT / ".venv") / "fedlab-course.json"
    extras = VERBS[verb]["extras"]
    if python.exists() and is_installed(stamp, extras):
        return str(python)
    where = "this Python's own environment" if here else "the folder .venv"
    say(f"Setting up {where}: about {VERBS[verb]['minutes']} minutes, this time only.")
    if not python.exists():
        make_venv(python)
    install(python, extras, stamp, pinned=not here)
    return str(python)


def install(python: Path, extras: list[str], stamp: Path, *, pinned: bool) -> None:
    kept = torch_of(python)
    if kept:
        say(f"PyTorch {kept} is already there and stays.")
    elif sys.platform == "linux":
        say(
            "On Linux a plain install of PyTorch may bring its GPU libraries too, several gigabytes. No GPU? "
            "You may stop here (Ctrl-C), choose CPU on PyTorch's own install page, run the command it shows "
            f'with "{python}" -m pip, and start again: what is there is kept.'
        )
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if kept:
        lines = [line for line in lines if not line.startswith("torch==")] + [f"torch=={kept}"]
    log = stamp.with_name("fedlab-install.log")
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "constraints.txt")
        constraints.write_text("\n".join(lines) + "\n", encoding="utf-8")
        wish = ["--disable-pip-version-check", "--no-input", "-e", f".[{','.join(extras)}]"]
        command = [str(python), "-m", "pip", "install", *wish]
        # An environment of one's own keeps its versions: there only pyproject's ranges count.
        command += ["-c", str(constraints)] if pinned else []
        failed = run_with_heartbeat(command, log)
    if failed:
        errors = [line for line in read(log).splitlines() if line.startswith("ERROR")][-3:]
        sys.exit(
            "\n".join(errors)
            + "\nThe installation did not finish. Most often that is the network: hospitals and conferences "
            "may want a login page first, or a proxy (set HTTPS_PROXY). Then run the same command again; "
            f"what was fetched is not fetched twice. The whole story stands in {log}"
        )
    noted = {"fingerprint": fingerprint(), "extras": extras}
    stamp.write_text(json.dumps(noted), encoding="utf-8")


def run_with_heartbeat(command: list[str], log: Path) -> int:
    """Run quietly, output into the log, with a sign of life every half minute."""
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
        while True:
            try:
                return process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                say(f"  ... still installing, {time.monotonic() - start:.0f} seconds")


def run(command: list[str]) -> int:
    return subprocess.call(command, cwd=ROOT)


# ---------------------------------------------------------------- the learner's copies


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")  # a wrecked lesson is still to be looked at


def cells_hash(text: str) -> str:
    """Hash of what a person writes in a notebook; running it or saving it again is not an edit."""
    try:
        cells = json.loads(text)["cells"]
        written = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        written = text  # wrecked: certainly not as it was handed out
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def refresh(lessons: Path, work: Path) -> list[str]:
    """Copy new and changed lessons to the working folder, never over an edit; return what needs saying."""
    work.mkdir(exist_ok=True)
    noted = work / ".handed-out.json"
    try:
        handed_out = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        handed_out = {}
    messages = []
    for lesson in sorted(lessons.glob("*.ipynb")):
        mine, old, new = work / lesson.name, handed_out.get(lesson.name), cells_hash(read(lesson))
        edited = mine.exists() and cells_hash(read(mine)) not in (old, new)
        if edited and new != old:
            messages.append(
                f"{lesson.stem} has a new version; you edited yours, so it stays. "
                f"To get the new one: python course.py reset {lesson.name[:2]}"
            )
        elif not edited and (new != old or not mine.exists()):
            shutil.copyfile(lesson, mine)
            handed_out[lesson.name] = new
    noted.write_text(json.dumps(handed_out, indent=1), encoding="utf-8")
    return messages


def restore(number: str, lessons: Path, work: Path, now: str) -> str:
    """Put one lesson back as it was handed out and keep the learner's version beside it."""
    found = sorted(lessons.glob(f"{number.zfill(2)}_*.ipynb"))
    if not number.isdigit() or not found:
        there = ", ".join(path.name[:2] for path in sorted(lessons.glob("*.ipynb"))) or "none yet"
        sys.exit(f"There is no lesson {number!r}; the lessons are: {there}.")
    mine, kept = work / found[0].name, ""
    if mine.exists():
        saved = mine.with_name(f"{mine.stem}.yours-{now}.ipynb")
        shutil.move(mine, saved)
        kept = f" Your version is now {saved.name}, in the same folder."
    refresh(lessons, work)
    return f"{mine.name} is as new.{kept} If it is open in JupyterLab: File, Reload Notebook from Disk."


# ---------------------------------------------------------------- the verbs


def verb(*, extras: list[str] | None, minutes: str = "2 to 5", takes: dict[str, dict] | None = None):
    """Make a function a verb: which extras of pyproject.toml it needs (None: no environment at all), the minutes to
    install them, and the arguments it takes, as argparse wants them; its docstring is what --help says."""

    def note(function):
        VERBS[function.__name__] = dict(help=function.__doc__, extras=extras, minutes=minutes, takes=takes or {})
        return function

    return note


@verb(extras=["lab"])
def lab(python: str, options: argparse.Namespace) -> int:
    """set everything up, then open the lessons in JupyterLab"""
    for message in refresh(ROOT / "notebooks", WORK):
        say(message)
    say(f"JupyterLab opens on your own copies of the lessons, in {WORK}. To stop it: Ctrl-C here.")
    first = next((path.name for path in sorted(WORK.glob("00_*.ipynb"))), "")
    command = [
        *(python, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={WORK}",
        f"--LabApp.default_url=/lab/tree/{first}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--log-level=WARN",  # leaves the address, which is all a learner needs
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container everybody is root
    command += options.rest
    if os.name != "nt":
        os.chdir(WORK)
        os.execv(python, command)  # JupyterLab takes this process over, so that stopping it stops everything
    server = subprocess.Popen(command, cwd=WORK)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            continue  # JupyterLab asks whether to stop: wait for its answer


@verb(extras=None, takes={"lesson": dict(nargs="+", help="its number, such as 03")})
def reset(python: str, options: argparse.Namespace) -> int:
    """give a lesson back as it was; your version is kept beside it"""
    for number in options.lesson:
        say(restore(number, ROOT / "notebooks", WORK, time.strftime("%Y%m%d-%H%M%S")))
    return 0


@verb(extras=["lab"])
def doctor(python: str, options: argparse.Namespace) -> int:
    """a few lines about this machine, to mail before a workshop"""
    return run([python, str(ROOT / "tools" / "doctor.py"), *options.rest])


@verb(extras=["lab", "test"], minutes="3 to 6")
def test(python: str, options: argparse.Namespace) -> int:
    """every check of the project; with -- --all the short version of each lesson, too"""
    say("Style first, then every check on two workers: about 10 minutes.")
    style = run([python, "-m", "ruff", "check", "."])
    share = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]  # conftest.py refines it
    checks = run([python, "-m", "pytest", *share, *options.rest])
    return style or checks


@verb(extras=["lab", "test", "bench"], minutes="4 to 8")
def bench(python: str, options: argparse.Namespace) -> int:
    """speed against other tools; time of each lesson"""
    say("Speed against other tools, then the time of every lesson: 20 to 30 minutes. Let nothing else run.")
    failed = 0
    for script in sorted((ROOT / "tests" / "benchmarks").glob("*.py")):
        say(f"\n{script.stem}")
        failed |= run([python, str(script), *options.rest])
    say("\nlessons")
    return failed | run([python, str(ROOT / "tools" / "lessons.py"), "--time"])


@verb(extras=["lab"], takes={"lesson": dict(nargs="*"), "--all": dict(action="store_true")})
def notebooks(python: str, options: argparse.Namespace) -> int:
    """rebuild the lessons whose source in notebooks/src changed, or those named by number, or --all"""
    which = options.lesson + ["--all"] * options.all
    return run([python, str(ROOT / "tools" / "lessons.py"), *which, *options.rest])


@verb(extras=["lab", "test"])
def lint(python: str, options: argparse.Namespace) -> int:
    """style and likely mistakes"""
    return run([python, "-m", "ruff", "check", *(options.rest or ["."])])


def main(arguments: list[str]) -> int:
    complaint = wrong_python(sys.version_info[:2])
    if complaint:
        sys.exit(complaint)
    here = dict(action="store_true", help="use the Python that runs this file, no .venv")
    about = __doc__ + "\nVerbs:\n" + "\n".join(f"    {name:14}{noted['help']}" for name, noted in VERBS.items())
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--here", **here)
    verbs = parser.add_subparsers(dest="verb", metavar="verb", help="one of those above")
    for name, noted in VERBS.items():
        one = verbs.add_parser(name, description=noted["help"])
        one.add_argument("--here", default=argparse.SUPPRESS, **here)  # --here may stand before the verb or after it
        for argument, settings in noted["takes"].items():
            one.add_argument(argument, **settings)
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    options, unknown = parser.parse_known_args(arguments[:cut])
    if unknown:
        parser.error(f"{' '.join(unknown)}: not known here; options of the tool behind go after --")
    if not options.verb:
        parser.print_help()
        return 0
    options.rest = arguments[cut + 1 :]
    python = sys.executable if VERBS[options.verb]["extras"] is None else ensure(options.verb, options.here)
    return globals()[options.verb](python, options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")

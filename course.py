#!/usr/bin/env python3
"""The one entry to the course; Python's standard library is all it needs.

Everything is installed into the folder .venv beside this file, the first time only; deleting that folder
undoes it. With --here the Python that runs this file is used instead, for those who have an environment of
their own (conda, a hub). What follows "--" goes to the tool behind:

    python course.py lab -- --no-browser --port 8899
"""

from __future__ import annotations

import argparse
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent
WORK = ROOT / "work"  # the learner's copies, out of reach of a git pull
OLDEST, NEWEST = (3, 11), (3, 14)  # the range in pyproject.toml
ROOM = 2  # GB on the disk for the environment with a CPU build of PyTorch: 1.6 GB, and pip's own while it works
CPU = ["--torch-backend", "cpu"]
NOTHING = r"(?!)"  # a pattern that fits no line
TWO_WORKERS = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]  # conftest.py refines it
PATIENCE = 1.0  # s between two looks at a lock
GLOSSARY = ("docs/glossary.md", "glossary.md")  # where it lies in the course, and in a copy for learners
YOURS = "yours"  # in there: what `reset` took out of the way
HANDED_OUT = ".handed-out.json"  # in there: what the lessons were like
FILLED_FOR = "filled-for.txt"  # in a folder of wheels: the system for which they are
PASSED = ".passed"  # in there: the checks that ever passed, a line for each
VERBS = {}  # name -> what `verb` notes beside the function of that name


def say(text: str) -> None:
    print(text, flush=True)


# ---------------------------------------------------------------- the environment


def python_of(minor: int) -> list[str]:
    """How to call a Python 3.`minor` that really runs on this machine, or nothing: a name on the path may be a shim."""
    calls = [[f"python3.{minor}"]] + [["py", f"-3.{minor}"]] * (os.name == "nt")
    ask = "import sys; print(sys.version_info[:2])"
    for call in calls:
        if shutil.which(call[0]) and asked([*call, "-c", ask]) == str((3, minor)):
            return call
    return []


def wrong_python(version: tuple[int, ...], python_of=python_of) -> str:
    """One sentence when this Python is outside the range, else the empty text."""
    if OLDEST <= version[:2] <= NEWEST:
        return ""
    first, last, this = (".".join(map(str, v[:2])) for v in (OLDEST, NEWEST, version))
    there = next(filter(None, map(python_of, range(OLDEST[1], NEWEST[1] + 1))), [])
    hint = f"this machine has one: {' '.join(there)} course.py lab" if there else "Python's own site has installers"
    return f"The course needs Python {first} to {last}, and this is {this}; {hint}."


def venv_python(folder, os_name: str = os.name):
    """Where an environment's Python lives: Windows has another place for it."""
    return folder.joinpath(*(("Scripts", "python.exe") if os_name == "nt" else ("bin", "python")))


def asked(command: list[str]) -> str:
    """What a short command prints; the empty text if it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    except OSError:
        return ""
    return "" if done.returncode else done.stdout.strip()


def torch_fits(version: str, requirement: str) -> bool:
    """Whether a PyTorch such as 2.6.0+cpu lies in pyproject's range, such as torch>=2.4,<3."""
    low, high = re.fullmatch(r"torch>=([\d.]+),<([\d.]+)", requirement).groups()
    number = [int(part) for part in re.findall(r"\d+", version.split("+")[0])[:2]]
    return [int(p) for p in low.split(".")] <= number < [int(p) for p in high.split(".")]


def torch_of(python) -> str:
    """The version of a PyTorch in the range that this Python already sees, or the empty text."""
    import tomllib  # since Python 3.11: not before the version was looked at

    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    found = asked([str(python), "-c", "import importlib.metadata as m; print(m.version('torch'))"])
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


def ensure(verb: str, here: bool, folder: Path | None = None) -> str:
    """Return the Python to use, with everything installed that the verb needs.

    However an earlier start ended, this one goes on from there: the stamp is written last, beside an environment
    that is being made lies a mark, and the lock is let go by the system when its holder ends.
    """
    folder = folder or ROOT / ".venv"
    python = Path(sys.executable) if here else venv_python(folder)
    stamp = (Path(sys.prefix) if here else folder) / "fedlab-course.json"
    extras = VERBS[verb]["extras"]
    if is_installed(stamp, extras) and asked([str(python), "-c", "print(1)"]):
        return str(python)
    try:
        with alone(folder.with_name(f"{folder.name}.lock")):
            if not is_installed(stamp, extras) or not asked([str(python), "-c", "print(1)"]):  # or another start did it
                where = "this Python's own environment" if here else f"the folder {folder.relative_to(ROOT)}"
                room = "" if here else f" and {ROOM} GB on the disk"
                say(f"Setting up {where}: about {VERBS[verb]['minutes']} minutes{room}, this time only.")
                if not here:
                    make_venv(folder)
                install(python, extras, stamp, pinned=not here)
    except OSError as error:
        sys.exit(trouble("Setting up did not work.", str(error)))
    except KeyboardInterrupt:
        sys.exit("\nStopped. The next start goes on from here.")
    return str(python)


@contextmanager
def alone(lock: Path):
    """Set up while no other start does. The lock belongs to this process and to the tools that it starts."""
    lock.parent.mkdir(exist_ok=True)
    with open(lock, "a") as file:
        os.set_inheritable(file.fileno(), True)  # if only this process is killed, its pip still holds the lock
        waiting = False
        while not take(file):
            if not waiting:
                say("Another start is setting the course up; this one waits until that is done.")
            waiting = True
            time.sleep(PATIENCE)
        yield


def take(file) -> bool:
    """Lock an open file; False while another process holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # some network folders know no locks: then it goes without
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def make_venv(folder: Path) -> None:
    """Make the environment, unless there is a whole one. A PyTorch that the Python running this has stays in sight."""
    python, half = venv_python(folder), folder.with_name(f"{folder.name}.half")
    if not half.exists() and asked([str(python), *(["-c", "print(1)"] if uv() else ["-m", "pip", "--version"])]):
        return
    if folder.exists():
        say(f"What lies in {folder.name} is not whole; it is made anew.")
    if (free := shutil.disk_usage(ROOT).free / 1e9) < ROOM:
        sys.exit(f"The disk is nearly full: the course needs {ROOM} GB, and {free:.1f} GB are free. Make room first.")
    half.touch()
    share = ["--system-site-packages"] if sys.prefix == sys.base_prefix and torch_of(sys.executable) else []
    command = [sys.executable, "-m", "venv", "--clear", *share, str(folder)]
    tool = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", close_fds=False)
    done = subprocess.run(command, **tool)
    if done.returncode:
        sys.exit(trouble(f"{sys.executable} could not make an environment in {folder}.", done.stdout))
    half.unlink()


def uv() -> str | None:
    """Where uv is, if it is on the path: it knows where PyTorch's builds without CUDA are. A stick is pip's."""
    return None if os.environ.get("PIP_NO_INDEX") else shutil.which("uv")


def requirements(extras: list[str]) -> list[str]:
    """What pyproject.toml wants, as pip reads it, with what building the package takes."""
    import tomllib

    about = tomllib.loads(read(ROOT / "pyproject.toml"))
    optional = about["project"]["optional-dependencies"]
    return [*about["build-system"]["requires"], *about["project"]["dependencies"], *sum(map(optional.get, extras), [])]


def this_system() -> str:
    """What wheels depend on."""
    return f"Python {sys.version_info[0]}.{sys.version_info[1]}, {platform.system()}, {platform.machine()}"


def take_from(stick: Path) -> None:
    """Have pip take everything from a folder that `stick` has filled, and nothing from a network."""
    try:
        filled = read(stick / FILLED_FOR).strip()
    except OSError:
        sys.exit(f"{stick} is no folder that `python course.py stick` has filled.")
    if filled != this_system():
        sys.exit(
            f"The wheels in {stick} are for {filled}; this is {this_system()}. Where there is a network, run on a "
            "machine like this one: python course.py stick FOLDER"
        )
    os.environ |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": stick.absolute().as_uri(), "PIP_CONFIG_FILE": os.devnull}


def install(python: Path, extras: list[str], stamp: Path, *, pinned: bool) -> None:
    """Fill the environment, by uv if it is there, else or if that fails by pip; at the end write the stamp."""
    if not is_installed(stamp, []):  # more of the same versions leaves what is there as it is
        stamp.unlink(missing_ok=True)
    if pinned:
        forget_halves(python)
    kept, has_pip = torch_of(python), bool(asked([str(python), "-m", "pip", "--version"]))
    if kept:
        say(f"PyTorch {kept} is already there and stays.")
    wish = ["-e", f".[{','.join(extras)}]", *(["-c", str(pins(python, stamp, kept))] if pinned else [])]
    log = stamp.with_name("fedlab-install.log")
    if uv() and not (kept and has_pip):  # uv does not see a PyTorch that the environment shares
        if not run_with_heartbeat([uv(), "pip", "install", "--python", str(python), *torch_backend(), *wish], log):
            return write_stamp(stamp, extras)
        say("uv could not install the course; now pip tries.\n" + last_lines(read(log)))
    if not kept and torch_backend() == CPU:
        say(
            "On Linux a plain install of PyTorch may bring its GPU libraries too, several gigabytes. No GPU? "
            "You may stop here (Ctrl-C), choose CPU on PyTorch's own install page, run the command it shows "
            f'with "{python}" -m pip, and start again: what is there is kept. '
            "If the tool uv is on the path, the course fetches the CPU build by itself."
        )
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", *wish]
    if run_with_heartbeat(command, log):
        sys.exit(trouble("The installation did not finish.", read(log)) + f" The whole story stands in {log}")
    write_stamp(stamp, extras)


def write_stamp(stamp: Path, extras: list[str]) -> None:
    replace(stamp, json.dumps({"fingerprint": fingerprint(), "extras": extras}))


def torch_backend() -> list[str]:
    """What uv is told about PyTorch. Elsewhere than on Linux the plain builds are without CUDA anyway."""
    if sys.platform != "linux":
        return []
    return ["--torch-backend", "auto"] if shutil.which("nvidia-smi") else CPU


def pins(python: Path, stamp: Path, kept: str) -> Path:
    """The constraints, in a file beside the stamp; a PyTorch that is kept chooses what goes with it."""
    lines = read(ROOT / "constraints.txt").splitlines()
    if kept:
        needs = asked([str(python), "-c", "import importlib.metadata as m; print(*m.requires('torch'), sep='\\n')"])
        free = {name_in(line) for line in ["torch", *needs.splitlines()]}
        lines = [line for line in lines if name_in(line) not in free] + [f"torch=={kept}"]
    file = stamp.with_name("fedlab-constraints.txt")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def name_in(requirement: str) -> str:
    """The name of a package at the beginning of a line, in one of its spellings."""
    return re.match(r"[\w.-]*", requirement).group().lower().replace("_", "-")


def forget_halves(python: Path) -> None:
    """Let pip install again what it was stopped at: it writes the list of a package's files last."""
    site = asked([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    if not Path(site).is_relative_to(python.parent.parent):
        return
    for noted in Path(site).glob("*.dist-info"):
        if not (noted / "RECORD").exists():
            shutil.rmtree(noted)


def run_with_heartbeat(command: list[str], log: Path) -> int:
    """Run quietly, output into the log, with a sign of life every half minute."""
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        tool = dict(stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, close_fds=False)
        process = subprocess.Popen(command, cwd=ROOT, **tool)
        try:
            while True:
                try:
                    return process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    say(f"  ... still at it, {time.monotonic() - start:.0f} seconds")
        except KeyboardInterrupt:
            process.terminate()
            process.wait()  # nothing goes on writing behind the learner's back
            raise


# What a tool says (any of these words), and what to do about it; the first that fits is told.
ADVICE = {
    r"no space left|errno 28\b|quota exceeded|not enough space|winerror 112\b": (
        f"The disk is full: the course needs {ROOM} GB, and more where PyTorch brings its GPU libraries. Make room, "
        "then run the same command again."
    ),
    r"no module named '?(venv|ensurepip)|ensurepip is not available": (
        "This Python came without the means to make environments: on Debian and Ubuntu install the package "
        "python3-venv, then run the same command again."
    ),
    r"no module named '?pip\b": (
        "This Python has no pip: python -m ensurepip --upgrade puts one in, conda install pip in an environment of "
        "conda. Then run the same command again."
    ),
    r"externally.managed": "This Python belongs to the system: run the command without --here.",
    r"permission denied|errno 13\b|access is denied|winerror (5|32)\b|read-only file system": (
        "Something may not be written: close other windows of the course, see that its folder is your own, then run "
        "the same command again."
    ),
    r"proxyerror|to proxy|tunnel connection|connection (broken|refused|reset|aborted)|timed out|name resolution"
    r"|getaddrinfo|name or service not known|certificate.verify|sslerror|network is unreachable|dns error"
    r"|error sending request|failed to fetch": (
        "That looks like the network: hospitals and conferences may want a login page first, or a proxy (set "
        "HTTPS_PROXY). Then run the same command again; what was fetched is not fetched twice."
    ),
    r"no matching distribution|depends on|no solution found": (
        "Some package has no version that fits this Python, this system, or a PyTorch that was there before."
    ),
}


def last_lines(log: str, mark: str = NOTHING) -> str:
    """The last lines of what a tool said, and before them the last that fits a pattern."""
    lines = [line.strip()[:300] for line in log.splitlines() if line.strip()]
    last = [line for line in lines if line.lower().startswith("error")][-3:] or lines[-3:]
    fits = [line for line in lines if re.search(mark, line, re.IGNORECASE)][-1:]
    return "\n".join(f"  {line}" for line in ([] if set(fits) <= set(last) else fits) + last)


def trouble(what: str, log: str) -> str:
    """What did not work, what the tool said, and what to do about it as far as its words tell."""
    log = "\n".join(log.splitlines()[-60:])
    mark = next((mark for mark in ADVICE if re.search(mark, log, re.IGNORECASE)), "")
    advice = ADVICE.get(mark, "Run the same command again; if that does not help, show these lines to your instructor.")
    return "\n".join([what, last_lines(log, mark or NOTHING), advice])


def call(command: list[str], folder: Path | None = ROOT) -> int:
    return subprocess.call(command, cwd=folder)


# ---------------------------------------------------------------- the learner's copies


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")  # a wrecked lesson is still to be looked at


def replace(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def cells_hash(text: str) -> str:
    """Hash of what a person writes in a notebook; running it or saving it again is not an edit."""
    try:
        cells = json.loads(text)["cells"]
        written = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    except (ValueError, KeyError, TypeError):
        written = text  # wrecked: certainly not as it was handed out
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def what_was_handed_out(work: Path) -> dict[str, str]:
    """The hash of each lesson as it was last copied to the working folder."""
    try:
        return json.loads((work / HANDED_OUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def refresh(lessons: Path, work: Path) -> list[str]:
    """Copy new and changed lessons to the working folder, never over an edit; return what needs saying."""
    work.mkdir(exist_ok=True)
    handed_out, messages = what_was_handed_out(work), []
    for lesson in sorted(lessons.glob("*.ipynb")):
        mine, old, new = work / lesson.name, handed_out.get(lesson.name), cells_hash(read(lesson))
        edited = mine.exists() and cells_hash(read(mine)) not in (old, new)
        if edited and new != old:
            messages.append(
                f"{lesson.stem} has a new version; you edited yours, so it stays. "
                f"To get the new one: python course.py reset {called(lesson)}"
            )
        elif not edited and (new != old or not mine.exists()):
            shutil.copyfile(lesson, mine)
            handed_out[lesson.name] = new
    replace(work / HANDED_OUT, json.dumps(handed_out, indent=1))
    for page in GLOSSARY:  # to which the lessons link; its own links lead to the copies
        if (lessons.parent / page).is_file():
            (work / page).parent.mkdir(exist_ok=True)
            replace(work / page, re.sub(r"(\]\((?:\.\./)?)notebooks/", r"\1", read(lessons.parent / page)))
    return messages


def called(notebook: Path) -> str:
    """What a notebook is called in a command: a lesson by its number."""
    return notebook.name[:2] if notebook.name[:2].isdigit() else notebook.stem


def restore(number: str, lessons: Path, work: Path, now: str) -> str:
    """Put one lesson back as it was handed out; what the learner wrote is kept in a folder of its own."""
    found = [path for path in sorted(lessons.glob("*.ipynb")) if called(path) in (number, number.zfill(2))]
    if not found:
        there = ", ".join(called(path) for path in sorted(lessons.glob("*.ipynb"))) or "none yet"
        sys.exit(f"There is no lesson {number!r}; the lessons are: {there}.")
    lesson, mine, kept = found[0], work / found[0].name, ""
    as_new = (what_was_handed_out(work).get(mine.name), cells_hash(read(lesson)))
    if mine.exists() and cells_hash(read(mine)) in as_new:
        mine.unlink()
    elif mine.exists():
        saved = work / YOURS / f"{mine.stem}.{now}.ipynb"
        saved.parent.mkdir(exist_ok=True)
        shutil.move(mine, saved)
        kept = f" Your version is kept in {saved.relative_to(work.parent)}."
    refresh(lessons, work)
    return f"{mine.name} is as new.{kept} If it is open in JupyterLab: File, Reload Notebook from Disk."


# ---------------------------------------------------------------- the verbs


def verb(
    *, extras: list[str] | None, minutes: str = "2 to 5", takes: dict[str, dict] | None = None, whole: bool = False
):
    """Make a function a verb: which extras of pyproject.toml it needs (None: no environment at all), the minutes to
    install them, the arguments it takes, as argparse wants them, and whether it works on tests and sources, which a
    copy for a class lacks; its docstring is what --help says."""

    def note(function):
        name = function.__name__.rstrip("_")  # class_ is the verb class
        about = dict(help=function.__doc__, extras=extras, minutes=minutes, takes=takes or {}, whole=whole)
        VERBS[name] = about | dict(function=function.__name__)
        return function

    return note


@verb(
    extras=["lab"],
    takes={"--from": dict(dest="stick", metavar="FOLDER", help="without a network: wheels, as `stick` fetched them")},
)
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
    ]
    os.environ["FEDLAB_TALLY"] = str(WORK / PASSED)
    own = [str(ROOT / "tools" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    os.environ["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, own))
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container everybody is root
    return hand_over(command + options.rest, WORK)


def hand_over(command: list[str], folder: Path) -> int:
    """Let a server take this process over, so that stopping it stops everything; on Windows wait for it."""
    if os.name != "nt":
        os.chdir(folder)
        os.execv(command[0], command)
    server = subprocess.Popen(command, cwd=folder)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            continue  # JupyterLab asks whether to stop: wait for its answer


@verb(
    extras=["lab"],
    takes={"--port": dict(type=int, default=8866, metavar="N", help="where the page is served, 8866 if not said")},
)
def dashboard(python: str, options: argparse.Namespace) -> int:
    """the control room as a page of its own, on this machine only"""
    say("The control room starts: a few seconds.")
    tool = [python, str(ROOT / "tools" / "dashboard.py"), "--port", str(options.port)]
    return hand_over(tool + options.rest, ROOT)


@verb(extras=None, takes={"lesson": dict(nargs="+", help="its number, such as 03, or control_room")})
def reset(python: str, options: argparse.Namespace) -> int:
    """give a lesson back as it was; what you wrote in it is kept in work/yours"""
    for number in options.lesson:
        say(restore(number, ROOT / "notebooks", WORK, time.strftime("%Y%m%d-%H%M%S")))
    return 0


@verb(extras=None, takes={"out": dict(metavar="OUT", help="a folder that is not there yet, or empty")}, whole=True)
def book(python: str, options: argparse.Namespace) -> int:
    """all stored lessons, the guide and the data cards as a site without a server, made in an environment of its own"""
    return call([sys.executable, str(ROOT / "tools" / "book.py"), str(Path(options.out).absolute()), *options.rest])


@verb(extras=None, takes={"out": dict(metavar="OUT", help="a folder that is not there yet, or empty")}, whole=True)
def slides(python: str, options: argparse.Namespace) -> int:
    """the lessons' cores as slides with notes for the speaker, without a server; made in the environment of `book`"""
    return call([sys.executable, str(ROOT / "tools" / "slides.py"), str(Path(options.out).absolute()), *options.rest])


@verb(extras=["lab"], takes={"folder": dict(help="where the wheels go, a stick for example")})
def stick(python: str, options: argparse.Namespace) -> int:
    """all that `lab` would fetch, for machines like this one without a network: lab --from FOLDER"""
    folder = Path(options.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "fetched.log"
    say(f"Fetching wheels for {this_system()} into {folder}: 0.4 GB; with PyTorch's GPU libraries several.")
    command = [python, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--dest", str(folder)]
    # The versions that a machine without a PyTorch of its own will ask for, whatever this one keeps.
    if run_with_heartbeat([*command, "-c", str(ROOT / "constraints.txt"), *requirements(["lab"])], log):
        sys.exit(trouble("Not everything could be fetched.", read(log)) + f" The whole story stands in {log}")
    replace(folder / FILLED_FOR, this_system())
    say("Done. On a machine like this one, in the folder of the course: python course.py lab --from FOLDER")
    say("For another system (or another Python) run this command there.")
    return 0


@verb(extras=["lab"], takes={"out": dict(metavar="OUT", help="a folder that is not there yet, or empty")}, whole=True)
def class_(python: str, options: argparse.Namespace) -> int:
    """a course for a class: OUT/learner without solutions and outputs, OUT/instructor with both and the guide"""
    out = str(Path(options.out).absolute())
    return call([python, str(ROOT / "tools" / "classroom.py"), out, *options.rest])


@verb(extras=["lab"])
def doctor(python: str, options: argparse.Namespace) -> int:
    """a few lines about this machine, to mail before a workshop"""
    return call([python, str(ROOT / "tools" / "doctor.py"), *options.rest])


@verb(extras=["lab", "test", "network"], minutes="3 to 6", whole=True)
def test(python: str, options: argparse.Namespace) -> int:
    """every check of the project; with -- --all whole class versions, short versions and slides, too"""
    say("Style first, then every check on two workers: 20 to 30 minutes.")
    style = call([python, "-m", "ruff", "check", "."])
    checks = call([python, "-m", "pytest", *TWO_WORKERS, *options.rest])
    return style or checks


@verb(extras=["lab", "test", "bench"], minutes="4 to 8", whole=True)
def bench(python: str, options: argparse.Namespace) -> int:
    """speed against other tools, and time of each lesson, in a table each; what of it: bench -- --help"""
    if not options.rest:
        say("Speed against other tools, then the time of every lesson: one to two hours. Let nothing else run.")
    return call([python, str(ROOT / "tools" / "bench.py"), *options.rest])


@verb(extras=["lab"], takes={"lesson": dict(nargs="*"), "--all": dict(action="store_true")}, whole=True)
def notebooks(python: str, options: argparse.Namespace) -> int:
    """rebuild the lessons whose source in notebooks/src changed, or those named by number, or --all"""
    which = options.lesson + ["--all"] * options.all
    return call([python, str(ROOT / "tools" / "lessons.py"), *which, *options.rest])


@verb(
    extras=["lab"],
    takes={
        "file": dict(metavar="FILE", help="settings as TOML, or the name of a preset"),
        "--table": dict(metavar="CSV", help="your own table (at most 200 MB, a million lines, 1,000 columns)"),
        "--report": dict(metavar="HTML", required=True, help="where the page goes, such as out.html"),
        "--stop-after": dict(metavar="STAGE", help="hospitals, synthetic-patients, training, baselines or clinic"),
    },
)
def run(python: str, options: argparse.Namespace) -> int:
    """one system from a file of settings to its privacy report; exit code 2: settings or table are wrong"""
    # -P: what lies in the folder from which this is called, a random.py say, is not imported.
    command = [python, "-P", "-m", "fedlab_utils.system.command", options.file, "--report", options.report]
    command += ["--table", options.table] if options.table else []
    command += ["--stop-after", options.stop_after] if options.stop_after else []
    return call([*command, *options.rest], folder=None)  # paths are as typed, from where the caller stands


@verb(
    extras=[],
    takes={"what": dict(nargs=argparse.REMAINDER, help="authority, request, sign, accept, remove or show")},
)
def certificates(python: str, options: argparse.Namespace) -> int:
    """keys, and who may take part in a training of several machines; more of one with, say, certificates sign --help"""
    return call([*network(python), "certificates", *options.what, *options.rest], folder=None)


@verb(
    extras=[],
    takes={
        "plan": dict(help="what all agreed on, a TOML file that everybody has"),
        "--folder": dict(metavar="FOLDER", help="its keys and its progress; coordinator if not said"),
        "--host": dict(metavar="HOST", help="where it listens, everywhere if not said"),
        "--port": dict(metavar="N", help="8443 if not said"),
        "--wait": dict(metavar="S", help="seconds to wait for everybody, later for anybody; 600 if not said"),
    },
)
def coordinator(python: str, options: argparse.Namespace) -> int:
    """the machine that adds up, in a training of several machines"""
    return hand_over([*network(python), "coordinator", *as_typed(options), *options.rest], Path.cwd())


@verb(
    extras=[],
    takes={
        "plan": dict(help="this hospital's own copy of what all agreed on"),
        "--table": dict(metavar="CSV", help="its patients, one row a patient; needed the first time"),
        "--budget": dict(metavar="EPS", help="its own, where less than the plan's; of all trainings in its folder"),
        "--name": dict(metavar="NAME", help="as in the plan; that of its certificate if not said"),
        "--folder": dict(metavar="FOLDER", help="its keys and its book; the name given, or hospital"),
        "--dial": dict(metavar="URL", help="the coordinator; the address in its certificate if not said"),
        "--patience": dict(metavar="S", help="seconds to dial a coordinator that is not there, 600 if not said"),
        "--flower": dict(action="store_true", help="dial nobody: Flower's SuperNode on this machine does"),
    },
)
def hospital(python: str, options: argparse.Namespace) -> int:
    """one hospital's part in a training of several machines"""
    return hand_over([*network(python), "hospital", *as_typed(options), *options.rest], Path.cwd())


def network(python: str) -> list[str]:
    """The tool behind the three verbs above; -P as for `run`."""
    return [python, "-P", "-m", "fedlab_utils.network.command"]


def as_typed(options: argparse.Namespace) -> list[str]:
    """The arguments of a verb, as they were typed."""
    words = []
    for name in VERBS[options.verb]["takes"]:
        value = getattr(options, name.lstrip("-"))
        if value is True:
            words.append(name)
        elif value not in (None, False):
            words += [name, value] if name.startswith("-") else [value]
    return words


@verb(extras=None, whole=True)
def pythons(python: str, options: argparse.Namespace) -> int:
    """doctor, two lessons and the quick checks under each Python that this machine has"""
    return call([python, str(ROOT / "tools" / "pythons.py"), *options.rest])


@verb(extras=["lab", "test"], whole=True)
def lint(python: str, options: argparse.Namespace) -> int:
    """style and likely mistakes"""
    return call([python, "-m", "ruff", "check", *(options.rest or ["."])])


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
    if VERBS[options.verb]["whole"] and not (ROOT / "tests").is_dir():
        sys.exit(f"{options.verb} needs the whole course: this is a copy made for a class, without its tests.")
    if getattr(options, "stick", None):
        take_from(Path(options.stick))
    options.rest = arguments[cut + 1 :]
    python = sys.executable if VERBS[options.verb]["extras"] is None else ensure(options.verb, options.here)
    return globals()[VERBS[options.verb]["function"]](python, options)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("\nStopped.")

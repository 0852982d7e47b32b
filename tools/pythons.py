"""Try the course under each Python that this machine has: environment, doctor, two lessons, quick checks.

    python course.py pythons              every Python of the course's range that is on the path and really runs
    python course.py pythons -- 3.12      this one only

Each gets an environment of its own in .venvs, which is kept: the next time is quicker. Deleting .venvs undoes it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import course  # noqa: E402  (it lies in the folder just named)

FOLDER = ROOT / ".venvs"
SET_UP = "import sys, pathlib, course; course.ensure('test', False, pathlib.Path(sys.argv[1]))"
QUICK = ("fleet", "data", "federated", "privacy", "secagg", "project")  # under tests; a few minutes


def steps(interpreter: list[str], folder: Path) -> dict[str, list[str]]:
    """What is tried, in this order; the first makes the environment that the others run in."""
    python, rooms = str(course.venv_python(folder)), [str(ROOT / "tests" / room) for room in QUICK]
    return {
        "environment": [*interpreter, "-c", SET_UP, str(folder)],
        "doctor": [python, str(ROOT / "tools" / "doctor.py")],
        "lesson 00": [python, str(ROOT / "tools" / "lessons.py"), "--time", "00"],
        "lesson 05": [python, str(ROOT / "tools" / "lessons.py"), "--time", "05"],
        "quick checks": [python, "-m", "pytest", "-q", *course.TWO_WORKERS, *rooms],
    }


def attempt(command: list[str], log: Path) -> str:
    """Run one step, its words into a file; return what stands in the table."""
    start = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        tool = dict(cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        failed = subprocess.call(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, **tool)
    seconds = f"{time.monotonic() - start:.0f} s"
    return f"failed, {seconds}" if failed else seconds


def try_out(minor: int, interpreter: list[str]) -> dict[str, str]:
    """One line of the table. Without an environment nothing else is tried."""
    folder = FOLDER / f"3.{minor}"
    line = {"Python": course.asked([*interpreter, "-c", "import platform; print(platform.python_version())"])}
    for name, command in steps(interpreter, folder).items():
        log = FOLDER / f"3.{minor} {name}.txt"
        line[name] = attempt(command, log) if "failed" not in line.get("environment", "") else "-"
        print(f"{line['Python']} {name}: {line[name]}", flush=True)
        if line[name].startswith("failed"):
            print(course.last_lines(course.read(log)), f"  The whole story stands in {log}", sep="\n", flush=True)
    return line


def as_table(lines: list[dict[str, str]]) -> str:
    rows = [list(lines[0]), *(list(line.values()) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def main(wanted: list[str]) -> int:
    minors = range(course.OLDEST[1], course.NEWEST[1] + 1)
    known = {f"3.{minor}" for minor in minors}
    if set(wanted) - known:
        sys.exit(f"The course runs under Python {', '.join(sorted(known))}; not known: {' '.join(wanted)}.")
    found = {minor: course.python_of(minor) for minor in minors if not wanted or f"3.{minor}" in wanted}
    for minor in found:
        if not found[minor]:
            print(f"Python 3.{minor} is not on the path, or does not run.")
    FOLDER.mkdir(exist_ok=True)
    lines = [try_out(minor, interpreter) for minor, interpreter in found.items() if interpreter]
    if not lines:
        return 1
    print("", as_table(lines), sep="\n")
    return int(any(entry.startswith("failed") for line in lines for entry in line.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Speed against other tools and the time of every lesson, in one table each.

    python tools/bench.py                         everything; let nothing else run
    python tools/bench.py --quick [robust ...]    fewer repeats and sizes, in these scripts or in all
    python tools/bench.py --only engine lessons   these alone; "lessons" is the time of each
    python tools/bench.py --peers                 those alone that compare with another tool, and lessons
    python tools/bench.py --page                  and the tables go into docs/benchmarks.md, with machine and command

Only ratios of one run mean anything, so a table is never put together from two; one that was not measured stays.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

ROUNDS = 3  # of all lessons; other users of a machine can only make one slower, so the quickest time stands
ROOT = Path(__file__).resolve().parents[1]
SCRIPTS, PAGE = ROOT / "tests" / "benchmarks", ROOT / "docs" / "benchmarks.md"
sys.path[:0] = [str(ROOT)]

import psutil  # noqa: E402

from tests.benchmarks.peers.tables import RECORDS  # noqa: E402

LESSONS = "lessons"
BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"  # around each table in the page
# Peers that ask for other versions of what is here, or for much that they are not measured with, come without either.
ALONE = ("byzfl==0.0.11", "ctgan==0.12.1", "rdt==2.0.0", "faker==40.63.0")
PEERS = ROOT / ".venvs" / "peers"
NAMED = ("torch", "numpy", "opacus", "flwr", "ray", "tenseal", "cryptography")  # versions that a table comes with


def scripts() -> list[str]:
    """What can be asked for, in the order in which it runs."""
    return [path.stem for path in sorted(SCRIPTS.glob("*.py"))] + [LESSONS]


def compares(name: str) -> bool:
    """Whether a script compares with another tool."""
    return name == LESSONS or "import beside" in (SCRIPTS / f"{name}.py").read_text(encoding="utf-8")


def add_peers() -> None:
    """Install what comes alone into a folder of its own, the first time; say so where it cannot be had."""
    if not PEERS.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(PEERS), *ALONE]
        if subprocess.run(command, capture_output=True).returncode:
            print(f"Not to be had, so not compared: {', '.join(ALONE)}.", flush=True)


def run(name: str, options: list[str], records: Path) -> tuple[int, str]:
    """Run one script, print what it prints as it comes, and return its exit status and its text."""
    lessons = [str(ROOT / "tools" / "lessons.py"), "--time", "--rounds", str(1 if "--quick" in options else ROUNDS)]
    command = [sys.executable, *(lessons if name == LESSONS else [str(SCRIPTS / f"{name}.py"), *options])]
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(PEERS)]))  # ours first
    about = os.environ | {RECORDS: str(records), "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"}
    there = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=about, cwd=ROOT)
    text = ""
    for line in there.stdout:
        text += line
        print(line, end="", flush=True)
    return there.wait(), text


def processor() -> str:
    """What the machine says of its processor."""
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def memory() -> str:
    """GB of memory in all."""
    return f"{psutil.virtual_memory().total / 1e9:.0f} GB of memory"


def machine() -> str:
    """This machine in a sentence."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in NAMED if _there(name))
    return (
        f"{datetime.date.today():%d %B %Y}; {processor()}, {os.cpu_count()} cores, {memory()}; "
        f"{platform.system()}, Python {platform.python_version()}, {versions}."
    )


def _there(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return False


def quantity(value: float, unit: str) -> str:
    """Three digits in a unit that suits: seconds in us, ms or s; other units as they are."""
    if unit == "s":
        factor, unit = (1, "s") if value >= 0.9995 else (1e3, "ms") if value >= 0.9995e-3 else (1e6, "us")
        value *= factor
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def beside(records: list[dict]) -> list[str]:
    """The lines of the table beside other tools, in Markdown."""
    head = "script", "the same work", "here", "with", "takes", "as long as here", "what both share"
    rows = [f"| {' | '.join(head)} |", "|---|---|--:|---|--:|--:|---|"]
    for r in records:
        ratio = r["theirs"] / r["ours"]
        taken = [quantity(r[who], r["unit"]) for who in ("ours", "theirs")]
        times = f"{ratio:,.0f}x" if ratio >= 10 else f"{ratio:.2g}x"
        cells = [f"`{r['script']}`", r["what"], taken[0], r["peer"], taken[1], f"**{times}**", r["same"]]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def lessons(text: str) -> list[str]:
    """The lines of the table of lessons, in Markdown, from what `lessons.py --time` printed.

    Of several rounds the quickest, and the slowest in brackets; labs are in the first.
    """
    head = "lesson", "top to bottom", "labs, opened: first picture", "complete", "moved: first picture", "complete"
    rows, rounds = [f"| {' | '.join(head)} |", "|---|--:|--:|--:|--:|--:|"], {}
    for part in re.split(r"(?m)^(?=\w+: [\d.]+ s$)", text):
        if head := re.match(r"(\w+): ([\d.]+) s", part):
            found = re.findall(r"^ +(.+): first picture after ([\d.]+) s.*, complete after ([\d.]+) s", part, re.M)
            moved = [times for title, *times in found if title == "moved"]
            opened = [times for title, *times in found if title != "moved"]
            columns = [seconds for labs in (opened, moved) for seconds in zip(*labs, strict=True)] or ["-"] * 4
            cells = [c if c == "-" else ", ".join(f"{float(s):.1f}" for s in c) + " s" for c in columns]
            whole, _ = rounds.setdefault(head[1], ([], cells))
            whole.append(float(head[2]))
    for name, (whole, cells) in rounds.items():
        taken = f"{min(whole):.0f} s" + f" ({max(whole):.0f} s)" * (len(whole) > 1)
        rows.append(f"| {' | '.join([f'`{name}`', taken, *cells])} |")
    return rows


def write(page: str, table: str, measured: list[str]) -> str:
    """The page with these lines between the marks of one table."""
    begin, end = BEGIN.format(table), END.format(table)
    before, _, rest = page.partition(begin)
    return "\n".join([before + begin, "", *measured, "", end]) + rest.partition(end)[2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    some = dict(nargs="*", choices=scripts(), metavar="SCRIPT")
    parser.add_argument("--only", **some, default=scripts(), help=f"of {', '.join(scripts())}")
    parser.add_argument("--quick", **some, help="fewer repeats and sizes, in these or, if none is named, in all")
    parser.add_argument("--peers", action="store_true", help="leave out what compares with no other tool")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/benchmarks.md")
    options = parser.parse_args()
    names = [name for name in options.only if compares(name) or not options.peers]
    quick = [] if options.quick is None else options.quick or names
    add_peers()
    failed, text = [], ""
    with tempfile.TemporaryDirectory() as folder:
        records = Path(folder) / "records"
        records.touch()
        for name in names:
            print(f"\n{name}", flush=True)
            status, printed = run(name, ["--quick"] * (name in quick), records)
            failed += [name] * bool(status)
            text = printed if name == LESSONS else text
        found = [json.loads(line) for line in records.read_text(encoding="utf-8").splitlines()]
    about = [f"`{' '.join(['python course.py bench --', *sys.argv[1:]])}`", "", machine(), ""]
    tables = {"peers": beside(found) if found else [], LESSONS: lessons(text) if text else []}
    print("\n" + "\n".join([*about, *tables["peers"], "", *tables[LESSONS]]), flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}.", "The page stays as it was." * options.page)
    elif options.page:
        page = PAGE.read_text(encoding="utf-8")
        for name, table in tables.items():
            page = write(page, name, [*about, *table]) if table else page
        PAGE.write_text(page, encoding="utf-8", newline="\n")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

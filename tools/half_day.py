"""The half day of docs/schedules.md, rehearsed: its lessons run in a browser, as a class has them, against the clock.

    python tools/half_day.py

The learners' version is made, opened in JupyterLab and gone through cell by cell: all cells of the core are run, the
answers of the instructor's version are typed into the exercises and must pass their checks, and the first slider of
each lab is moved. Machine time is measured; people's time is counted from what they read and do (`tools/minutes.py`),
without the sections that the schedule cuts. It needs a browser.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT)]

import classroom  # noqa: E402
import lessons  # noqa: E402
import minutes  # noqa: E402

from tests.browser import browser  # noqa: E402

STUB = re.compile(r"^(\w+) = \.\.\.$|^def (\w+)\(.*\):\n    \.\.\.$", re.M)
LAB = "widgets.lab("
PASSED = "alert-success"  # what a check that is content displays
OVER = "document.querySelector('.fedlab-lab .fedlab-time').textContent.length > 0"
SET_SOURCE = """([i, source]) =>
    window.jupyterapp.shell.currentWidget.content.widgets[i].model.sharedModel.setSource(source)"""


@dataclass(frozen=True)
class Block:
    """A line of the clock: a lesson without some of its sections, or with `only` some of them."""

    planned: int
    lesson: str
    cut: tuple[str, ...] = ()
    only: tuple[str, ...] = ()

    def taught(self, section: str) -> bool:
        return section in self.only if self.only else section not in self.cut


HALF_DAY = (  # the lines of docs/schedules.md in which a lesson is open
    Block(15, "00", only=("Start here", "What you see", "What this course builds")),
    Block(15, "00", only=("Who could look where?", "Break it: no names, no problem?", "What the documents promise")),
    Block(45, "03"),
    Block(57, "04", cut=("What a whole training gives away", "Which epsilon to print", "The package itself")),
    Block(48, "06", cut=("An attack that sees nothing",)),
)


@dataclass
class Spent:
    """What one block takes."""

    people: float = 0.0  # minutes
    waits: list[float] = field(default_factory=list)  # seconds, of each cell and each slider
    passed: int = 0
    exercises: int = 0


def heading(text: str, last: str) -> str:
    """The section that a cell is in: its own first heading, or the one before."""
    found = re.search(r"^#+ (?:\d\d · )?(.+)$", text, re.M)
    return re.sub(r" \(the .*", "", found[1]) if found else last


def sections(source: Path) -> list[str]:
    """The section of each cell of a lesson."""
    found, last = [], ""
    for cell in lessons.load(source).cells:
        last = heading(cell.source, last) if cell.cell_type == "markdown" else last
        found.append(last)
    return found


def answers(nb) -> dict[str, str]:
    """For each exercise's name the code that solves it, under the name that the learner's cell has."""
    found = {}
    for cell in nb.cells:
        if "solution" in cell.metadata.get("tags", []):
            name = re.search(r"checks\.(\w+)\(\1_solution\)", cell.source)
            if name:
                found[name[1]] = cell.source.replace(f"{name[1]}_solution", name[1])
    return found


def go_through(page, source: Path, spent: dict[str, Spent]) -> None:
    """Do in an open notebook what a class does; time goes to the sections."""
    nb, where = lessons.load(source), sections(source)
    solved = answers(nb)
    index = -1  # in the learners' version, which has no cells with solutions
    for cell, section in zip(nb.cells, where, strict=True):
        tags = cell.metadata.get("tags", [])
        index += "solution" not in tags
        if "deep" in tags or "solution" in tags:
            continue
        now = spent.setdefault(section, Spent())
        now.people += minutes.of_cell(cell)
        if cell.cell_type == "markdown":
            continue
        run(page, index, now)
        if stub := STUB.search(cell.source):
            now.exercises += 1
            page.evaluate(SET_SOURCE, [index, solved[stub[1] or stub[2]]])
            now.passed += any(PASSED in str(output) for output in run(page, index, now))
        if LAB in cell.source:
            browser.finished(page)
            start, before = time.perf_counter(), browser.view(page)
            browser.move_first_slider(page)
            browser.settled(page, unlike=before, seconds=30)
            page.wait_for_function(OVER, timeout=60_000)
            now.waits.append(time.perf_counter() - start)
            browser.command(page, "notebook:clear-cell-output")  # the next lab is then the page's first


def run(page, index: int, spent: Spent) -> list[dict]:
    """Run a cell; what it put out."""
    start = time.perf_counter()
    outputs = page.evaluate(browser.RUN_CELL, index)
    spent.waits.append(time.perf_counter() - start)
    errors = [o for o in outputs if o["output_type"] == "error"]
    assert not errors, f"cell {index}: {errors[0]['ename']}: {errors[0]['evalue']}"
    return outputs


def report(spent: dict[str, dict[str, Spent]]) -> list[str]:
    """A line for each block of the clock."""
    lines = [f"{'block':44} planned  people  machine  longest wait  exercises"]
    for block in HALF_DAY:
        own = spent[block.lesson]
        taught = [one for section, one in own.items() if block.taught(section)]
        others = [] if block.only else [one for section, one in own.items() if not block.taught(section)]
        waits = [wait for one in taught + others for wait in one.waits]  # what is cut still runs: later cells need it
        people = sum(one.people for one in taught)
        what = f"{block.lesson} {'only ' + block.only[0] if block.only else 'without ' + ', '.join(block.cut)}"
        done = f"{sum(one.passed for one in taught + others)} of {sum(one.exercises for one in taught + others)}"
        over = "" if people + sum(waits) / 60 <= block.planned else f"   {people + sum(waits) / 60:.0f}: OVER"
        lines.append(
            f"{what[:44]:44} {block.planned:4} min  {people:3.0f} min  {sum(waits):4.0f} s  {max(waits):8.1f} s"
            f"     {done}{over}"
        )
    return lines


def rehearse() -> dict[str, dict[str, Spent]]:
    """Lesson -> section -> what it takes."""
    spent = {}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "monday"
        classroom.make(out)
        (scratch := Path(folder) / "scratch").mkdir()
        with browser.jupyterlab(out / "learner" / "notebooks", scratch) as address, browser.chromium() as chromium:
            for number in sorted({block.lesson for block in HALF_DAY}):
                (source,) = lessons.SOURCES.glob(f"{number}_*.py")
                with browser.lesson(chromium, address, f"{source.stem}.ipynb") as page:
                    page.set_default_timeout(120_000)
                    go_through(page, source, spent.setdefault(number, {}))
                print(f"{source.stem}: gone through", flush=True)
            with browser.lesson(chromium, address, "control_room.ipynb") as page:
                start = time.perf_counter()
                browser.run_to_first_lab(page)
                browser.finished(page)
                print(
                    f"control room: its first system is complete after {time.perf_counter() - start:.0f} s", flush=True
                )
    return spent


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_known_args()
    if browser.chromium_path() is None:
        sys.exit("No browser here; install chromium.")
    print("\n".join(report(rehearse())))

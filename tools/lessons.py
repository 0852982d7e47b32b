"""Build the lessons: notebooks/src/NN_name.py, a jupytext percent script, becomes notebooks/NN_name.ipynb.

    python tools/lessons.py             what changed in src since it was last built
    python tools/lessons.py 03          this lesson, changed or not; --all for all of them
    python tools/lessons.py --texts 03  store its texts and tags again and leave its outputs; refused if code changed
    python tools/lessons.py control_room    stored and shown like a lesson, and is none: no number, no exercises
    python tools/lessons.py --time      build nothing; seconds from top to bottom, and to the pictures of labs
    python tools/lessons.py --time --rounds 3       all that is asked for three times in turn, labs in the first alone

A notebook that no learner should see (an error, a warning, a path of this machine, too large) is not stored.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbclient
import nbformat

ROOT = Path(__file__).resolve().parent.parent
SOURCES, LESSONS = ROOT / "notebooks" / "src", ROOT / "notebooks"
WIDGET = "application/vnd.jupyter.widget-view+json"
LARGEST = 1_000_000  # bytes of a stored notebook
KERNEL = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
PROGRESS = re.compile(r"\d+%\||\d+it \[")  # what tqdm writes
IMAGE_BYTES = re.compile(r"[A-Za-z0-9+/=\\]{400,}")  # base64, in which a path may stand by chance
# These run behind the last cell of a lesson: one lab to its limits, and whether that were all of at least one lab.
SWEEP = """from fedlab_utils import widgets
widgets.LABS[{}].sweep();"""
LABS = """from fedlab_utils import widgets
assert len(widgets.LABS) == {} > 0, "a lesson has at least one live lab"
"""
TIMINGS = """import time
from fedlab_utils import widgets
opened = [lab.wait().timing for lab in widgets.LABS]
print(time.time())"""
MOVES = """
for lab, (first, complete) in zip(widgets.LABS, opened, strict=True):
    print(f"  {lab.title}: first picture after {first:.2f} s, complete after {complete:.2f} s")
    _, *moves = lab.sweep()  # the first one is how it opened
    stops = [(*timing, f"{name} = {value}") for name, value, timing in moves if not isinstance(timing, str)]
    (first, _, there), (_, complete, here) = (max(stops, key=lambda stop: stop[k]) for k in (0, 1))
    print(f"    moved: first picture after {first:.2f} s ({there}), complete after {complete:.2f} s ({here})")"""


def is_lesson(source: Path) -> bool:
    """Whether a source is a lesson: those have a number, which comes first in the name."""
    return re.match(r"\d\d_", source.name) is not None


def sources() -> list[Path]:
    """The sources of all stored notebooks: the lessons in their order, then what is none."""
    return sorted(SOURCES.glob("*.py"), key=lambda source: (not is_lesson(source), source.name))


def called(source: Path) -> str:
    """What a source is called in a command: a lesson by its number."""
    return source.name[:2] if is_lesson(source) else source.stem


def source_hash(source: Path) -> str:
    """Hash of a lesson's source; line ends do not count."""
    return hashlib.sha256(source.read_text(encoding="utf-8").encode()).hexdigest()


def load(source: Path) -> nbformat.NotebookNode:
    """The lesson as a notebook that nobody has run; cell ids follow from what the cells say."""
    script = jupytext.read(source)
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL, "language_info": {"name": "python"}})
    nb.cells, seen = script.cells, set()
    for cell in nb.cells:
        name = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
        while name in seen:
            name = hashlib.sha256(name.encode()).hexdigest()[:8]
        seen.add(name)
        cell.id = name
    return nb


def without(nb: nbformat.NotebookNode, tag: str) -> nbformat.NotebookNode:
    """The lesson without the cells of one tag: "solution" gives the class version, "deep" the short one."""
    kept = [cell for cell in nb.cells if tag not in cell.metadata.get("tags", [])]
    return nbformat.v4.new_notebook(metadata=nb.metadata, cells=kept)


def execute(nb: nbformat.NotebookNode, folder: Path) -> float:
    """Run all cells in place, in a fresh kernel; return the seconds. An error in a cell is raised."""
    start = time.perf_counter()
    client = nbclient.NotebookClient(
        nb,
        timeout=600,
        kernel_name="python3",
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()
    return time.perf_counter() - start


def strip(nb: nbformat.NotebookNode) -> None:
    """Take out what differs from run to run, or is alive only while a kernel runs; pictures stay."""
    nb.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    for cell in code_cells(nb):
        cell.metadata.pop("execution", None)
        cell.outputs = [o for o in cell.outputs if not PROGRESS.search(text_of(o)) and _settled(o)]
        for output in cell.outputs:
            if output.get("data", {}).pop(WIDGET, None) and not pictures(output) and "text/html" not in output.data:
                output.data["text/plain"] = NO_PICTURE


def _settled(output) -> bool:
    """Leave of printed text what a screen would show in the end; whether that is anything.

    A progress bar that is done goes back to the start of its line and writes blanks over itself.
    """
    if "\r" not in output.get("text", ""):
        return True
    lines = output.text.replace("\r\n", "\n").split("\n")
    output.text = "\n".join(line.rpartition("\r")[2] for line in lines)
    return bool(output.text.strip())


NO_PICTURE = "(a widget without a picture for places where nothing runs)"


def code_cells(nb: nbformat.NotebookNode) -> list:
    return [cell for cell in nb.cells if cell.cell_type == "code"]


def text_of(output) -> str:
    """All text that an output shows."""
    shown = output.get("text", "") or output.get("data", {}).get("text/plain", "")
    return shown + "\n".join(output.get("traceback", []))


def pictures(output) -> list[str]:
    """The image formats in an output."""
    return [kind for kind in output.get("data", {}) if kind.startswith("image/")]


def machine_paths() -> re.Pattern:
    """Folders that exist on one machine only, this one or any other."""
    here = {Path.home(), ROOT, ROOT.parent, Path(tempfile.gettempdir())} - {Path(ROOT.anchor)}
    written = "|".join(re.escape(str(folder)) for folder in sorted(here))
    return re.compile(rf"(?:{written})[/\\]|/home/\w+/|/Users/\w+/|[A-Z]:\\\\?Users\\|ipykernel_\d+")


def without_alt(output) -> bool:
    """Whether the output shows a picture that says nothing to somebody who cannot see it."""
    data, metadata = output.get("data", {}), output.get("metadata", {})
    tags = re.findall(r"<img\b[^>]*>", data.get("text/html", ""))
    if any(not re.search(r"\balt=([\"'])\s*[^\"'\s]", tag) for tag in tags):
        return True
    told = tags or metadata.get("alt") or any(metadata.get(kind, {}).get("alt") for kind in pictures(output))
    return bool(pictures(output)) and not told


def complaints(nb: nbformat.NotebookNode) -> list[str]:
    """What a learner should not be shown, each in one sentence; an empty list is what we want."""
    found, paths = [], machine_paths()
    for number, cell in enumerate(nb.cells):
        where = f"cell {number} ({cell.source.strip().splitlines()[0][:60] if cell.source.strip() else 'empty'})"
        for output in cell.get("outputs", []):
            text = text_of(output)
            if output.output_type == "error":
                found.append(f"{where} ends in an error: {output.ename}: {output.evalue}")
            elif output.get("name") == "stderr":
                found.append(f"{where} writes to stderr: {text.strip()[:200]}")
            elif re.search(r"\b\w*Warning: ", text):
                found.append(f"{where} shows a warning: {text.strip()[:200]}")
            if path := paths.search(IMAGE_BYTES.sub("", json.dumps(output))):
                found.append(f"{where} shows a path of one machine: {path.group()}")
            if NO_PICTURE in text:
                found.append(f"{where} shows a widget that leaves no picture where nothing runs")
            if without_alt(output):
                found.append(f"{where} shows a picture without alt text")
    size = len(nbformat.writes(nb).encode())
    return found + ([f"it has {size:,} bytes, more than {LARGEST:,}"] if size > LARGEST else [])


def stored_hash(lesson: Path) -> str | None:
    """The hash of the source that a stored notebook was built from."""
    return json.loads(lesson.read_text(encoding="utf-8"))["metadata"].get("fedlab", {}).get("source")


def build(source: Path) -> list[str]:
    """Execute one lesson and store it; return what speaks against it, in which case the old one stays."""
    nb, lesson = load(source), LESSONS / f"{source.stem}.ipynb"
    try:
        seconds = execute(nb, LESSONS)
    except nbclient.exceptions.CellExecutionError as error:
        return [re.sub(r"\x1b\[[\d;]*m", "", str(error))]  # without the colours, which a file shows as codes
    strip(nb)
    found = store(nb, source)
    if not found:
        print(f"{source.stem}: {seconds:.0f} s, {lesson.stat().st_size / 1000:.0f} kB", flush=True)
    return found


def retext(source: Path) -> list[str]:
    """Store again what a lesson says around its code, and what its cells say of themselves; return what is against it.

    Nothing is run, so no cell of code may have changed since the lesson was built.
    """
    nb, lesson = load(source), LESSONS / f"{source.stem}.ipynb"
    old = code_cells(nbformat.read(lesson, as_version=4))
    if [cell.source for cell in code_cells(nb)] != [cell.source for cell in old]:
        return ["its code changed, so it has to be run: python course.py notebooks"]
    for cell, was in zip(code_cells(nb), old, strict=True):
        cell.outputs, cell.execution_count = was.outputs, was.execution_count
    return store(nb, source)


def store(nb: nbformat.NotebookNode, source: Path) -> list[str]:
    """Write a notebook that has its outputs, unless something speaks against it, which is returned."""
    nb.metadata["fedlab"] = {"source": source_hash(source)}
    nbformat.validate(nb)
    found = complaints(nb)
    if not found:
        lesson = LESSONS / f"{source.stem}.ipynb"
        lesson.write_text(nbformat.writes(nb) + "\n", encoding="utf-8", newline="\n")
    return found


def measure(source: Path, *, labs: bool) -> None:
    """Print how long a lesson takes, and each of its labs to the first and to the complete picture.

    A lab's times are those when it opens, while the lesson goes on, and the longest of all moves to its limits.
    """
    nb = load(source)
    nb.cells.append(nbformat.v4.new_code_cell(TIMINGS + MOVES * labs))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a learner's Python compiles the package once, not every time
    begin = time.time()
    execute(nb, LESSONS)
    printed = "".join(text_of(output) for output in nb.cells[-1].outputs if output.get("name") == "stdout").splitlines()
    # no more than the end where there is no lab; labs draw progress bars in between
    end, *found = (line for line in printed if line.strip() and not PROGRESS.search(line))
    print(f"{source.stem}: {float(end) - begin:.1f} s", *found, sep="\n", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = "numbers of lessons, such as 03, or control_room; none means all that changed"
    parser.add_argument("lesson", nargs="*", help=which)
    parser.add_argument("--all", action="store_true", help="all, changed or not")
    parser.add_argument("--texts", action="store_true", help="texts and tags alone, nothing is run")
    parser.add_argument("--time", action="store_true", help="measure, build nothing")
    parser.add_argument("--rounds", type=int, default=1, help="how often to measure, one after the other")
    options = parser.parse_args()
    wanted = sources()
    unknown = set(options.lesson) - {called(source) for source in wanted}
    if unknown:
        sys.exit(f"No source for lesson {', '.join(sorted(unknown))} in notebooks/src.")
    if options.lesson:
        wanted = [source for source in wanted if called(source) in options.lesson]
    if options.time:
        for turn in range(options.rounds):
            for source in wanted:
                measure(source, labs=turn == 0)
        return 0
    os.environ["FEDLAB_STRICT"] = "1"  # a lab then waits for its complete picture, and raises what goes wrong
    failed = 0
    for source in wanted:
        lesson = LESSONS / f"{source.stem}.ipynb"
        changed = not lesson.exists() or stored_hash(lesson) != source_hash(source)
        if not (changed or options.all or options.lesson):
            print(f"{source.stem}: unchanged")
        elif found := (retext if options.texts else build)(source):
            failed = 1
            print(f"{source.stem} is not stored:", *found, sep="\n  ", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())

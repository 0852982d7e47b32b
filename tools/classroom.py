"""A course for a class: OUT/learner, which starts by itself and gives no answer away, and OUT/instructor.

python tools/classroom.py OUT
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import lessons
import nbformat

ROOT = lessons.ROOT
# What a course needs to start. Tests hold right answers, and notebooks/src has the solutions: both stay here.
STARTS = ("course.py", "pyproject.toml", "constraints.txt", "environment.yml")
RIGHTS = ("LICENSE", "LICENSE-text", "CITATION.cff")
FOLDERS = ("fedlab_utils", "tools", "datasets")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
OF_THE_COURSE = {".md", ".gz"}  # in datasets; what was fetched is not ours to hand on


def learners(notebook: Path) -> nbformat.NotebookNode:
    """A stored notebook without solutions, and as nobody has run it: no outputs, no numbers of cells, no widgets."""
    nb = lessons.without(nbformat.read(notebook, as_version=4), "solution")
    nb.metadata = nbformat.from_dict({"kernelspec": lessons.KERNEL, "language_info": {"name": "python"}})
    for cell in nb.cells:
        cell.source = cell.source.replace("](../docs/glossary.md#", "](../glossary.md#")
    for cell in lessons.code_cells(nb):
        cell.outputs, cell.execution_count = [], None
    return nb


def make(out: Path) -> None:
    """Write both courses into a folder that is not there yet, or is empty.

    Raises
    ------
    ValueError
        If something is in the folder: it might be somebody's work.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"OUT must be a folder that is not there yet, or empty; in {out} there is something already.")
    learner, instructor = out / "learner", out / "instructor"
    for course in (learner, instructor):
        course.mkdir(parents=True)
        for name in (*STARTS, *RIGHTS):
            shutil.copyfile(ROOT / name, course / name)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, course / name, ignore=LEFT_OUT)
        for fetched in [path for path in (course / "datasets").iterdir() if path.suffix not in OF_THE_COURSE]:
            shutil.rmtree(fetched) if fetched.is_dir() else fetched.unlink()
        (course / "notebooks").mkdir()
    shutil.copyfile(ROOT / "docs" / "for_learners.md", learner / "README.md")
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    (learner / "glossary.md").write_text(glossary.replace("](../notebooks/", "](notebooks/"), encoding="utf-8")
    shutil.copyfile(ROOT / "README.md", instructor / "README.md")
    shutil.copytree(ROOT / "docs", instructor / "docs")
    for notebook in sorted(lessons.LESSONS.glob("*.ipynb")):
        nbformat.write(learners(notebook), learner / "notebooks" / notebook.name)
        shutil.copyfile(notebook, instructor / "notebooks" / notebook.name)


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(__doc__)
        return 2
    out = Path(arguments[0])
    try:
        make(out)
    except ValueError as reason:
        print(reason)
        return 2
    print(f"{out / 'learner'}: hand this out; it starts with: python course.py lab")
    print(f"{out / 'instructor'}: solutions, outputs and the teaching guide (docs/README.md)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Slides of the lessons' cores as they are stored: a page for each lesson that opens from a folder, without a network.

    python tools/slides.py OUT

They are written in the book's environment (.venv.book, made the first time), which has nbconvert, MathJax, reveal.js.
"""

from __future__ import annotations

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import book

import course

TEMPLATES = course.ROOT / "tools" / "jupyter" / "nbconvert" / "templates"
WRITE = "--write"  # said to the Python of the book's environment
ASLEEP = re.compile(
    r"(<br\s*/?>)?<i>This lab is asleep\..*?</i>", re.S
)  # said in a notebook, to somebody at a keyboard
REVEAL = ("LICENSE", "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "plugin/notes/notes.js")
INDEX = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Private data, shared learning: slides</title>
<style>body {{ font: 18px/1.5 sans-serif; max-width: 46em; margin: 3em auto; padding: 0 1em; }}</style></head>
<body><h1>Private data, shared learning: slides</h1>
<p>Space goes on, the right arrow to the next section, S opens the speaker's view with notes, Esc an overview, F fills
the screen. To print, open a deck with <code>?print-pdf</code> behind its address.</p>
<ul>{}</ul>
<p>Code: MIT licence; text and figures: CC BY 4.0. Shown by <a href="reveal/LICENSE">reveal.js</a> (MIT licence),
formulas by MathJax 3 (Apache License 2.0).</p></body></html>
"""


def lessons() -> list[Path]:
    """The stored lessons, in their order."""
    return sorted((course.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def page(lesson: Path) -> tuple[str, str]:
    """The title of a lesson, and its slides as a page."""
    import deck  # here and below: the front of this file needs nothing but Python
    import nbformat
    from nbconvert import SlidesExporter

    guide = course.ROOT / "docs" / f"{lesson.stem}.md"
    slides = deck.split(nbformat.read(lesson, as_version=4), course.read(guide) if guide.exists() else "")
    exporter = SlidesExporter(
        template_name="slides", extra_template_basedirs=[str(TEMPLATES)], exclude_anchor_links=True
    )
    title = slides[0].title
    written, _ = exporter.from_notebook_node(deck.notebook(slides), resources={"deck_title": title})
    return title, re.sub(r'(<h[1-6]) id="[^"]*"', r"\1", ASLEEP.sub("", written))  # a title has several slides


def write(out: Path) -> None:
    """All decks, the list of them, and what they need."""
    titles = []
    for lesson in lessons():
        title, written = page(lesson)
        (out / f"{lesson.stem}.html").write_text(written, encoding="utf-8")
        titles.append(f'<li><a href="{lesson.stem}.html">{html.escape(title)}</a></li>')
    (out / "index.html").write_text(INDEX.format("\n".join(titles)), encoding="utf-8")
    shutil.copyfile(TEMPLATES / "slides" / "slides.css", out / "slides.css")


def take(python: Path, out: Path) -> None:
    """Copy MathJax and reveal.js out of the packages that bring them."""
    where = "import importlib.util as u; print(u.find_spec('sphinx_revealjs').submodule_search_locations[0])"
    site = Path(course.asked([str(python), "-c", where])).parent
    shutil.copytree(site / "sphinx-mathjax-offline" / "static" / "mathjax", out / "mathjax")
    book.about_mathjax(python, out / "mathjax")
    for name in REVEAL:
        (out / "reveal" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(site / "sphinx_revealjs" / "_static" / "revealjs" / name, out / "reveal" / name)


def make(out: Path) -> list[str]:
    """Write the slides into a folder that is not there yet, or is empty; what is wrong with them, in sentences."""
    if out.exists() and any(out.iterdir()):
        sys.exit(f"OUT must be a folder that is not there yet, or empty; in {out} there is something already.")
    python = book.environment()
    out.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([str(python), __file__, WRITE, str(out)], capture_output=True, text=True, errors="replace")
    if done.returncode:
        sys.exit(course.trouble("The slides could not be written.", done.stderr))
    take(python, out)
    return book.broken(out)


def main(arguments: list[str]) -> int:
    if arguments[:1] == [WRITE]:
        write(Path(arguments[1]))
        return 0
    return book.told(arguments, make, __doc__)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

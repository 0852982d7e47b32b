"""A static site of all lessons as they are stored, the guide, the glossary and the data cards: opens from a folder.

    python tools/book.py OUT

It is built by Jupyter Book in an environment of its own (.venv.book, made the first time): what that wants would not
fit beside the course's own packages. Nothing in the pages is asked of a network; MathJax lies beside them.
"""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import course

ROOT = course.ROOT
HOME = ROOT / ".venv.book"
PARTS = {"Data": "datasets", "For those who teach": "docs"}
GLOSSARY = re.compile(
    r"\(\.\./docs/glossary\.md#[\w-]+\)"
)  # Sphinx wants headings in small letters
LIVE = re.compile(r"<script>const THEBE_JS_URL.*?</script>")  # for kernels in a cloud, which this site has not
FOOTER = "Code: MIT licence; text and figures: CC BY 4.0. Formulas are drawn by MathJax 3 (Apache License 2.0)."
CONFIG = {
    "title": "Private data, shared learning",
    "author": "The fedlab authors",
    "execute": {"execute_notebooks": "off"},
    "html": {f"use_{name}_button": False for name in ("issues", "repository", "edit_page")} | {"extra_footer": FOOTER},
    "sphinx": {
        "extra_extensions": ["sphinx-mathjax-offline"],
        "config": {
            "html_theme": "sphinx_book_theme",
            "mathjax_path": "mathjax/tex-chtml-full.js",
            "html_show_search_summary": False,  # a page that lies in a folder may not read the others
            "myst_update_mathjax": False,
            "myst_heading_anchors": 3,
            "html_js_files": [],
            "html_theme_options": {"search_bar_text": "Search the course"},
        },
    },
}


def stage(folder: Path) -> None:
    """What the site is made of, in a folder of its own: pages as they lie in the course, its contents and settings."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("README.md", "LICENSE", "LICENSE-text", "CITATION.cff"):
        shutil.copyfile(ROOT / name, folder / name)
    for name, kinds in {"docs": ("*.md", "*.png"), "datasets": ("*.md",), "notebooks": ("*.ipynb",)}.items():
        (folder / name).mkdir()
        for path in [path for kind in kinds for path in sorted((ROOT / name).glob(kind))]:
            shutil.copyfile(path, folder / name / path.name)
    for path in (folder / "notebooks").glob("*.ipynb"):
        small = GLOSSARY.sub(lambda link: link.group().lower(), course.read(path))
        path.write_text(small, encoding="utf-8", newline="\n")
    (folder / "_toc.yml").write_text(json.dumps(contents(folder), indent=1), encoding="utf-8")  # JSON is YAML
    (folder / "_config.yml").write_text(json.dumps(CONFIG, indent=1), encoding="utf-8")


def contents(folder: Path) -> dict:
    """The table of contents: the lessons in their order, then data, then the guide; nothing is left out."""

    def chapters(name: str, pattern: str) -> list[dict]:
        found = sorted((folder / name).glob(pattern), key=lambda path: (path.stem != "README", path.name))
        return [{"file": path.relative_to(folder).with_suffix("").as_posix()} for path in found]

    lessons = [{"caption": "Lessons", "chapters": chapters("notebooks", "*.ipynb")}]
    pages = [{"caption": caption, "chapters": chapters(name, "*.md")} for caption, name in PARTS.items()]
    return {"format": "jb-book", "root": "README", "parts": lessons + pages}


class Links(html.parser.HTMLParser):
    """Where a page leads, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.leads: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        given = dict(attrs)
        if tag == "a" and given.get("href"):
            self.leads.append(given["href"])
        self.loads += [given[name] for name in ("src",) if given.get(name)]
        if tag == "link" and "stylesheet" in (given.get("rel") or "") and given.get("href"):
            self.loads.append(given["href"])


def broken(site: Path) -> list[str]:
    """A sentence for each link that leads nowhere, and for each thing that a page would ask of a network."""
    found = []
    for page in sorted(set(site.rglob("*.html")) - set((site / "_static").rglob("*"))):  # there lie templates
        links, name = Links(), page.relative_to(site).as_posix()
        links.feed(course.read(page))
        for address in links.loads:
            if urlsplit(address).scheme in ("http", "https") or address.startswith("//"):
                found.append(f"{name} loads {address} from a network")
        for address in links.leads + links.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            if not (page.parent / unquote(parts.path)).exists():
                found.append(f"{name} leads to {parts.path}, which is not there")
    return found


def environment() -> Path:
    """The Python that has Jupyter Book."""
    import tomllib

    wanted = tomllib.loads(course.read(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]["book"]
    python, stamp = course.venv_python(HOME), HOME / "wanted.json"
    if stamp.exists() and json.loads(course.read(stamp)) == wanted:
        return python
    course.say(f"Setting up {HOME.name}: one to three minutes and 0.4 GB, this time only.")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(HOME)], check=True)
    log = HOME / "install.log"
    if course.run_with_heartbeat([str(python), "-m", "pip", "install", "--no-input", *wanted], log):
        sys.exit(course.trouble("Jupyter Book could not be installed.", course.read(log)))
    course.replace(stamp, json.dumps(wanted))
    return python


def make(out: Path) -> list[str]:
    """Build the site into a folder that is not there yet, or is empty; what is wrong with it, in sentences."""
    if out.exists() and any(out.iterdir()):
        sys.exit(f"OUT must be a folder that is not there yet, or empty; in {out} there is something already.")
    python = environment()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "course"
        stage(folder)
        log = Path(scratch) / "build.log"
        tool = "from jupyter_book.cli.main import main; main()"  # it cannot be called by python -m
        command = [str(python), "-c", tool, "build", str(folder), "-W", "--keep-going"]
        if course.run_with_heartbeat(command, log):
            shutil.copyfile(log, HOME / "build.log")
            sys.exit(course.trouble("The site could not be built.", course.read(log)))
        shutil.copytree(folder / "_build" / "html", out, dirs_exist_ok=True)
    for page in out.rglob("*.html"):
        page.write_text(LIVE.sub("", course.read(page)), encoding="utf-8")
    about_mathjax(python, out / "_static" / "mathjax")
    return broken(out)


def about_mathjax(python: Path, folder: Path) -> None:
    """Lay beside MathJax what its package says of itself, licence and all."""
    about = "import importlib.metadata as m; print(m.distribution('sphinx-mathjax-offline').read_text('METADATA'))"
    (folder / "METADATA").write_text(course.asked([str(python), "-c", about]), encoding="utf-8")


def told(arguments: list[str], make: Callable[[Path], list[str]], about: str) -> int:
    """Make something that opens from the folder named, and say what in it is broken and how it is opened."""
    if len(arguments) != 1:
        print(about)
        return 2
    out = Path(arguments[0]).absolute()
    found = make(out)
    print(*found, sep="\n")
    print(f"Open {out / 'index.html'}; it needs no network and no server.")
    return bool(found)


if __name__ == "__main__":
    sys.exit(told(sys.argv[1:], make, __doc__))

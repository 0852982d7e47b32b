"""`course.py book`: what the site is made of, and that a broken one is found. Building one takes minutes."""

import json
import re

import book
import pytest

import course


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site") / "course"
    book.stage(folder)
    return folder


def test_every_lesson_page_and_card_stands_in_the_contents_once_and_in_order(staged):
    contents = json.loads((staged / "_toc.yml").read_text(encoding="utf-8"))
    files = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    pages = [path for kind in ("docs/*.md", "datasets/*.md", "notebooks/*.ipynb") for path in course.ROOT.glob(kind)]
    assert sorted(files) == sorted(path.relative_to(course.ROOT).with_suffix("").as_posix() for path in pages)
    lessons = [file for file in files if re.match(r"notebooks/\d", file)]
    assert lessons == sorted(lessons) and files[: len(lessons)] == lessons and contents["root"] == "README"


def test_what_the_pages_link_to_lies_beside_them(staged):
    for page in staged.rglob("*.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


BROKEN = {
    '<a href="gone.html">x</a>': "leads to gone.html",
    '<img src="gone.png">': "leads to gone.png",
    '<script src="https://somewhere.example/x.js"></script>': "loads https://somewhere.example/x.js from a network",
    '<img src="//somewhere.example/x.png">': "loads //somewhere.example/x.png from a network",
    '<link rel="stylesheet" href="https://somewhere.example/x.css">': "loads https://somewhere.example/x.css from",
}
FINE = [
    '<a href="https://doi.org/10.1/x">x</a>',
    '<a href="#part">x</a>',
    '<a href="other%20page.html#part">x</a>',
    '<img src="data:image/png;base64,AAAA">',
]


@pytest.mark.parametrize("content", [*BROKEN, *FINE])
def test_a_link_that_leads_nowhere_and_a_thing_from_a_network_are_found(content, tmp_path):
    (tmp_path / "other page.html").write_text("")
    (tmp_path / "page.html").write_text(f"<html>{content}</html>")
    found = book.broken(tmp_path)
    assert len(found) == (content in BROKEN) and BROKEN.get(content, "") in "".join(found), found


def test_a_folder_in_use_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(book, "environment", lambda: pytest.fail("nothing may be set up"))
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(SystemExit, match="^OUT must be a folder that is not there yet, or empty"):
        book.make(tmp_path)

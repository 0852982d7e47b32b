"""What a lesson's head, the course map and the README promise in minutes is what its source adds up to."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import lessons  # noqa: E402
import minutes  # noqa: E402

SOURCES = [source for source in lessons.sources() if lessons.is_lesson(source)]
LONGEST = {"04": 60, "06": 60}  # minutes of a core; 45 elsewhere
ROW = re.compile(r"^(?:# )?\| \[?(\d\d) [^|]*\|[^|]*\| (\d+)(?: \+ (\d+))? \|$", re.M)


@pytest.mark.parametrize("source", SOURCES, ids=lambda s: s.stem)
def test_promised_minutes_hold(source):
    core, deep = minutes.counted(source)
    says, more = minutes.stated(source)
    assert says <= LONGEST.get(source.stem[:2], 45) and says == pytest.approx(core, abs=max(3, 0.1 * core))
    assert more == pytest.approx(deep, abs=max(4, 0.15 * deep))


@pytest.mark.parametrize("place", [ROOT / "README.md", SOURCES[0]], ids=lambda p: p.name)
def test_maps_of_the_course_promise_the_same(place):
    rows = {n: (int(core), int(deep or 0)) for n, core, deep in ROW.findall(place.read_text(encoding="utf-8"))}
    assert rows == {source.stem[:2]: minutes.stated(source) for source in SOURCES}


PAGES = sorted((ROOT / "docs").glob("[0-9]*.md"))
PART = re.compile(r"^\| (.*?) \| \**([\d.]+)\** \|", re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_parts_of_a_teaching_page_add_up_to_what_the_lesson_promises(page):
    parts = [(name, float(time)) for name, time in PART.findall(page.read_text(encoding="utf-8"))]
    promised = minutes.stated(lessons.SOURCES / f"{page.stem}.py")
    for deep, whole in enumerate(promised):
        added = sum(time for name, time in parts if not name.startswith("**") and name.startswith("◆") == deep)
        assert added == pytest.approx(whole, abs=1)  # rows are whole minutes
    assert tuple(time for name, time in parts if name.startswith("**")) in ((), promised)


def test_minutes_are_counted_as_promised(tmp_path):
    words = " ".join(["word"] * 200)
    lesson = tmp_path / "99_test.py"
    lesson.write_text(
        f"# %% [markdown]\n# **Time:** 10 minutes for the core; the rest takes another 2.\n# {words}\n"
        "# <b>Your turn</b>\n# <details><summary>Q</summary>folded and not read</details>\n\n"
        "# %%\nplots.show(\n    3\n)\n\n# %% tags=['solution']\nx = 3\n\n"
        f"# %% [markdown] tags=['deep']\n# {words}\n",
        encoding="utf-8",
    )
    core, deep = minutes.counted(lesson)
    assert core == pytest.approx(1 + 4 + 0.75 + 3 / 30, abs=0.2) and deep == pytest.approx(1)
    assert minutes.stated(lesson) == (10, 2)


@pytest.mark.parametrize("source", lessons.sources(), ids=lambda s: s.stem)
def test_lines_of_code_fit_beside_the_text(source):
    """Counted in the cells as learners see them, solutions too; at most 100 characters."""
    for cell in lessons.load(source).cells:
        if cell.cell_type == "code":
            assert not [line for line in cell.source.splitlines() if len(line) > 100]

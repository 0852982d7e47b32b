"""The guide for teaching: nothing in it points to what is not there, clocks add up, every exercise is named."""

import re
from pathlib import Path

import half_day
import lessons
import pytest

from fedlab_utils import checks

PAGES = [lessons.ROOT / "README.md", *sorted((lessons.ROOT / "docs").glob("*.md"))]
OURS = {name for name, check in checks.EXERCISES.items() if check.__module__.startswith("fedlab_utils.")}


def read(name):
    return (lessons.ROOT / "docs" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_every_exercise_stands_in_the_table_with_its_lesson_and_its_stars():
    rows = re.findall(r"^\| `(\w+)` \| (\d\d) (◆ )?(★+) \|", read("skills.md"), re.M)
    assert sorted(name for name, *_ in rows) == sorted(OURS)
    for name, lesson, deep, stars in rows:
        (source,) = lessons.SOURCES.glob(f"{lesson}_*.py")
        before, call, _ = source.read_text(encoding="utf-8").partition(f"\nchecks.{name}({name})")
        task = before[before.rindex("Your turn") :]
        assert call and re.search(r"★+", task)[0] == stars, name
        cell = before[before.rindex("\n# %%") :].splitlines()[1]
        assert ("deep" in cell) == bool(deep), name


LINE = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \|", re.M)
CLOCKS = [part for part in read("schedules.md").split("\n## ") if LINE.search(part)]


@pytest.mark.parametrize("part", CLOCKS, ids=lambda part: part.splitlines()[0][:20])
def test_each_line_of_a_clock_begins_when_the_one_before_is_over(part):
    rows = [(int(hours) * 60 + int(minutes), int(lasts)) for hours, minutes, lasts in LINE.findall(part)]
    assert len(rows) >= 5 and "20 minutes late" in part
    for (begins, lasts), (follows, _) in zip(rows, rows[1:], strict=False):
        assert begins + lasts == follows, (part.splitlines()[0], begins // 60, begins % 60)


def test_what_is_rehearsed_is_what_the_clock_says():
    (clock,) = (part for part in CLOCKS if part.startswith("Half a day"))
    rows = re.findall(r"^\| [\d:]+ \| (\d+) \| (?:(\d\d)[ :])?.*?(?:lesson (\d\d))?", clock, re.M)
    for block in half_day.HALF_DAY:
        source = next(lessons.SOURCES.glob(f"{block.lesson}_*.py"))
        assert set(block.cut + block.only) <= set(half_day.sections(source)), block
    planned = [(int(minutes), number) for minutes, number, _ in rows if number]
    assert [(15, "00"), *planned] == [(block.planned, block.lesson) for block in half_day.HALF_DAY]


def test_names_in_the_guide_are_names_of_the_course():
    homework = re.findall(r"^\| \d[\d, ]* \|.*\|(.*)\|$", read("schedules.md"), re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(homework))) <= OURS
    for verb in re.findall(r"python course\.py (\w+)", "".join(page.read_text(encoding="utf-8") for page in PAGES)):
        import course

        assert verb in course.VERBS, verb


def test_the_lesson_in_twenty_lines_runs(tmp_path):
    (lesson,) = re.findall(r"```python\n(.*?)```", read("new_lesson.md"), re.S)
    source = tmp_path / "90_dice.py"
    source.write_text(lesson, encoding="utf-8")
    nb = lessons.load(source)
    lessons.execute(nb, tmp_path)
    lessons.strip(nb)
    assert lessons.complaints(nb) == [] and "give" in str(nb.cells[-1].outputs)
    assert Path("notebooks/src/90_dice.py").as_posix() in read("new_lesson.md")

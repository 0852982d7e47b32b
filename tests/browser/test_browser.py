"""Live labs driven as learners drive them: JupyterLab, a browser, the keyboard, and a screen reader's eyes."""

import os
from contextlib import suppress
from pathlib import Path

import lessons
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import TimeoutError

from tests.browser import browser

NAMES = [source.stem for source in lessons.sources() if lessons.is_lesson(source)]


def screenshot(page, name):
    if folder := os.environ.get("FEDLAB_SCREENSHOTS"):
        page.locator(".fedlab-lab").first.scroll_into_view_if_needed()
        page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture(scope="module")
def desk(lab):
    """A JupyterLab that stands open, for one lesson after the other."""
    with browser.lesson(*lab, "frozen.ipynb") as page:
        page.evaluate(browser.CLOSE)
        yield page


@pytest.mark.parametrize("name", NAMES)
def test_a_lab_of_each_lesson_works_with_keys_alone_and_says_what_it_is(desk, name):
    with browser.opened(desk, f"{name}.ipynb") as page:
        browser.run_to_first_lab(page)
        before = browser.finished(page)  # a slow run's output is replaced at its end, and its controls are named anew
        screenshot(page, f"{name}-before")
        assert_accessible(page)
        browser.tab_to(page, ".fedlab-lab .noUi-handle")
        handle = page.locator(".fedlab-lab .noUi-handle").first
        at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
        told = handle.get_attribute("aria-valuetext")
        for _ in range(3):
            page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")
        browser.settled(page, unlike=before)
        assert handle.get_attribute("aria-valuetext") != told
        screenshot(page, f"{name}-after")
        browser.tab_to(page, ".fedlab-picture")
        page.keyboard.press("Enter")
        large = page.locator(".fedlab-large img")
        large.wait_for()
        page.wait_for_function("document.querySelector('.fedlab-large img').naturalWidth > 1000")  # sharper ones came
        page.keyboard.press("Escape")
        large.wait_for(state="detached")
        assert page.evaluate("document.activeElement.matches('.fedlab-picture')")


NAMED = "[...document.querySelectorAll('.fedlab-lab .noUi-handle')].every(h => h.getAttribute('aria-label'))"


def assert_accessible(page, seconds=10):
    with suppress(TimeoutError):  # a busy machine draws the controls before it names them; axe says what has no name
        page.wait_for_function(NAMED, timeout=1000 * seconds)
    found = Axe().run(page, context=".fedlab-lab")
    assert found.violations_count == 0, found.generate_report()
    handle = page.locator(".fedlab-lab .noUi-handle").first
    assert handle.get_attribute("aria-label") and handle.get_attribute("aria-valuetext")
    assert page.locator(".fedlab-picture img").first.get_attribute("alt")
    assert page.locator(".fedlab-said").first.get_attribute("role") == "status"


@pytest.mark.parametrize(("name", "missed"), [("mute", "sentence"), ("frozen", "picture")])
def test_the_harness_sees_a_lab_that_does_not_react(lab, name, missed):
    with browser.lesson(*lab, f"{name}.ipynb") as page:
        browser.run_to_first_lab(page)
        before = browser.settled(page)
        browser.move_first_slider(page)
        with pytest.raises(AssertionError, match=f"lab's {missed} had not changed"):
            browser.settled(page, unlike=before, seconds=2)
        with pytest.raises(AssertionError, match="slider"):  # nor has this one names
            assert_accessible(page, seconds=1)


def test_cancel_by_keyboard_keeps_the_focus(lab):
    with browser.lesson(*lab, "slow.ipynb") as page:
        browser.run_to_first_lab(page)
        says = "(words) => document.querySelector('.fedlab-sentence').textContent === words"
        assert browser.finished(page).sentence == "3 in the end."
        browser.tab_to(page, ".fedlab-lab .noUi-handle")
        page.keyboard.press("ArrowRight")
        page.wait_for_function(says, arg="4 at first.")
        page.locator(".fedlab-cancel").wait_for()  # visible
        browser.tab_to(page, ".fedlab-cancel")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('.fedlab-time').textContent.startsWith('cancelled')")
        assert page.evaluate("document.activeElement.matches('.fedlab-picture')")
        assert page.locator(".fedlab-sentence").inner_text() == "4 at first."


def test_who_stands_on_a_slider_still_stands_there_when_the_first_run_ends(lab, folder):
    with browser.lesson(*lab, "held.ipynb") as page:
        browser.run_to_first_lab(page)
        browser.tab_to(page, ".fedlab-lab .noUi-handle")
        (folder / "go").touch()
        browser.finished(page)
        assert page.evaluate("document.activeElement.matches('.fedlab-lab .noUi-handle')")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("document.querySelector('.fedlab-sentence').textContent === '4 in the end.'")


def test_the_stored_picture_is_that_of_the_finished_run(lab, folder):
    with browser.lesson(*lab, "slow.ipynb") as page:
        page.evaluate(browser.RUN_CELL, 0)
        assert browser.finished(page).sentence == "3 in the end."
        browser.command(page, "docmanager:save")
        page.wait_for_timeout(500)
    (output,) = nbformat.read(folder / "slow.ipynb", as_version=4).cells[0].outputs
    assert "3 in the end." in output.data["text/html"] and lessons.WIDGET not in output.data


def test_two_lessons_side_by_side_do_not_mix(lab):
    chromium, address = lab
    first, second = "00_start_here.ipynb", "03_federated_averaging.ipynb"
    with browser.new_page(chromium, width=1600) as page:
        browser.go(page, address, first)
        browser.run_to_first_lab(page)
        left = browser.finished(page)
        browser.command(page, "docmanager:open", path=second, options={"mode": "split-right"})
        page.wait_for_function("window.jupyterapp.shell.currentWidget.context?.path.startsWith('03')")
        page.wait_for_function(browser.READY, timeout=60_000)
        browser.run_to_first_lab(page)
        panels = page.locator(".jp-NotebookPanel")
        labs = [panels.nth(k).locator(".fedlab-lab").first for k in range(2)]
        before = [lab.locator(".fedlab-sentence").inner_text() for lab in labs]
        assert left.sentence == before[0] != before[1]
        handle = labs[1].locator(".noUi-handle").first
        handle.focus()
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        page.wait_for_function(
            "([sentence, old]) => sentence.textContent !== old",
            arg=[labs[1].locator(".fedlab-sentence").element_handle(), before[1]],
        )
        assert labs[0].locator(".fedlab-sentence").inner_text() == before[0]


def test_the_first_steps_in_lesson_00_end_at_a_lab_in_view(lab):
    with browser.lesson(*lab, "00_start_here.ipynb", height=800) as page:
        page.locator(".jp-Cell").first.click()
        for _ in range(5):
            page.keyboard.press("Shift+Enter")
        first = page.locator(".fedlab-lab").first
        first.locator(".fedlab-picture img").wait_for(timeout=60_000)
        browser.settled(page)
        bottom = page.viewport_size["height"]
        for part, share in ((".noUi-handle", 1.0), (".fedlab-picture", 0.3)):
            box = first.locator(part).first.bounding_box()
            assert 0 <= box["y"] and box["y"] + share * box["height"] < bottom, (part, box)

"""The control room as a page of its own, in a browser: starting, offline, several visitors, and what goes wrong."""

from dataclasses import dataclass

import lessons
import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.browser import browser

CONTROLS = ".fedlab-lab, .fedlab-room"
READY = "document.getElementById('starting')?.textContent === 'The control room is ready.'"
BLOCKED = "window.blocked = []; addEventListener('securitypolicyviolation', (event) => blocked.push(event.blockedURI))"


@dataclass(frozen=True)
class Visit:
    """A page of the control room that is ready, and what was seen on the way."""

    page: Page
    room: browser.Dashboard
    told: str
    asked: list[str]


@pytest.fixture(scope="module")
def visit(chromium, tmp_path_factory):
    """A visitor of a control room with two places."""
    folder = tmp_path_factory.mktemp("my dashboard")
    with browser.dashboard(folder, "--Places.most=2", "--Places.left=1") as room, browser.new_page(chromium) as page:
        asked = []
        page.on("request", lambda request: asked.append(request.url))
        page.add_init_script(BLOCKED)
        page.goto(room.address, wait_until="commit")
        told = page.get_by_role("status").first.inner_text()
        assert page.locator(CONTROLS).count() == 0
        page.wait_for_function(READY, timeout=60_000)
        yield Visit(page, room, told, asked)


def assert_accessible(page):
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_the_page_says_that_it_starts_and_then_shows_the_controls(visit):
    page = visit.page
    assert "about ten seconds" in visit.told
    assert page.locator(CONTROLS).first.is_visible() and page.locator("#trouble").inner_text() == ""
    assert page.url == visit.room.bare and page.title() == "Control room"
    assert page.locator(".jp-InputArea-editor").count() == 0  # no code
    assert_accessible(page)
    page.set_viewport_size({"width": 1024, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_no_other_machine_is_asked_for_anything(visit):
    asked = {url for url in visit.asked if not url.startswith(("blob:", "data:"))}
    assert len(asked) > 20 and {url for url in asked if not url.startswith(visit.room.bare)} == set()
    assert visit.page.evaluate("blocked") == []  # nor would it have been without the header


def test_two_visitors_do_not_meet_and_a_third_gets_the_place_of_one_who_left(visit, chromium):
    address, other = visit.room.address, visit.page
    with browser.new_page(chromium) as third:
        with browser.new_page(chromium) as first:
            first.goto(address, wait_until="commit")
            first.wait_for_function(READY, timeout=60_000)
            before = [browser.finished(page) for page in (first, other)]
            browser.move_first_slider(first)
            browser.settled(first, unlike=before[0])
            assert browser.view(other) == before[1]
            assert third.goto(address).status == 503 and "2 pages are open" in third.get_by_role("main").inner_text()
            assert_accessible(third)
            first.route("**/api/kernels/*", lambda route: route.abort())  # as if the server were gone
            first.wait_for_function("document.getElementById('trouble').textContent.includes('has lost its Python')")
            assert first.locator(".fedlab-waking").first.is_hidden()  # what it says is for JupyterLab
        assert third.goto(address, wait_until="commit").status == 200


def test_a_notebook_that_fails_is_a_sentence_here_and_a_line_in_the_terminal(chromium, tmp_path):
    cells = [nbformat.v4.new_code_cell("1 / 0")]
    wrong = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": lessons.KERNEL})
    nbformat.write(wrong, tmp_path / "wrong.ipynb")
    with browser.dashboard(tmp_path, f"--Voila.notebook_path={tmp_path / 'wrong.ipynb'}") as room:
        with browser.new_page(chromium) as page:
            page.goto(room.address)
            alert = page.get_by_role("alert")
            assert "could not start" in alert.inner_text() and "course.py doctor" in alert.inner_text()
            assert page.locator("#starting").is_hidden()
            text = page.inner_text("body")
            assert "Traceback" not in text and "Voil" not in text and "ZeroDivision" not in text
        assert room.said.splitlines()[2:] == ["The notebook stopped: ZeroDivisionError: division by zero"]

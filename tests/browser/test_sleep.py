"""What is left of a lab when its kernel is gone: saved and opened again, restarted, reloaded, exported."""

import subprocess
import sys

import nbformat

from tests.browser import browser

NAME = "slow.ipynb"  # a real lab with little behind it


def run_and_save(page):
    browser.run_to_first_lab(page)
    shown = browser.finished(page)
    browser.command(page, "docmanager:save")
    page.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    return shown


def assert_asleep(page, shown):
    """Picture, alt text, sentence, a line that says how to wake the lab; no error and no control that pretends."""
    figure = page.locator(".jp-OutputArea figure:has(img)").first
    figure.wait_for()
    assert figure.locator("img").get_attribute("alt")
    told = figure.inner_text()
    assert shown.sentence in told and "asleep" in told and "Shift+Enter" in told
    assert page.locator("text=Error displaying widget").count() == 0
    assert page.locator(".noUi-handle").count() == 0


def test_saved_and_opened_again_the_next_day(chromium, folder, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with browser.jupyterlab(folder, tmp_path / "one") as address, browser.lesson(chromium, address, NAME) as page:
        shown = run_and_save(page)
    # A lesson that was run is trusted: there a stored widget would win over its picture.
    with browser.jupyterlab(folder, tmp_path / "one") as address, browser.new_page(chromium) as page:
        page.goto(address % NAME, wait_until="domcontentloaded")
        assert_asleep(page, shown)
        page.wait_for_timeout(1000)
        assert page.locator("text=Would you like").count() == 0  # nor does anybody ask about news
        assert_asleep(page, shown)
        page.reload(wait_until="domcontentloaded")
        assert_asleep(page, shown)
        page.wait_for_function(browser.READY, timeout=60_000)
        browser.run_to_first_lab(page)  # and awake again
        browser.settled(page)
    server = (tmp_path / "one" / "server.log").read_text()
    assert "encryption" not in server and "[W" not in server, server
    stored = nbformat.read(folder / NAME, as_version=4)
    assert "widgets" not in stored.metadata
    html = tmp_path / "exported.html"
    export = [sys.executable, "-m", "nbconvert", "--to", "html", "--output", str(html), str(folder / NAME)]
    subprocess.run(export, check=True, capture_output=True)
    with browser.new_page(chromium) as page:
        page.goto(html.as_uri())
        assert_asleep(page, shown)


def test_a_kernel_that_was_restarted(lab):
    with browser.lesson(*lab, NAME) as page:
        browser.run_to_first_lab(page)
        shown = browser.finished(page)
        restart = "async () => { await window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
        page.evaluate(restart)
        awake = page.locator(".fedlab-lab").first
        page.locator(".fedlab-waking:not(:empty)").wait_for()
        assert "asleep" in awake.locator(".fedlab-waking").inner_text()
        assert browser.view(page) == shown
        assert awake.locator(".noUi-handle").first.evaluate("handle => !!handle.closest('[inert]')")
        icons = "(e) => getComputedStyle(e, '::before').content"
        assert awake.locator(".jupyter-widgets-disconnected").first.evaluate(icons) == "none"
        browser.run_to_first_lab(page)
        browser.settled(page)

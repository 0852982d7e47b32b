"""The control room, driven by keys alone in JupyterLab and by mouse as a page of its own."""

import lessons
import nbformat
import numpy as np
import pandas as pd
import pytest
from axe_playwright_python.sync_playwright import Axe

from fedlab_utils.system import Settings
from tests.browser import browser

ROOM = 'from fedlab_utils.system.control_room import ControlRoom\n\nControlRoom("wine", "quick")'
OVER = """(setting) => document.querySelector('.fedlab-time')?.textContent.length > 0
    && document.querySelector('.fedlab-setting').textContent.includes(setting)
    && !document.querySelector('.fedlab-sentence').textContent.endsWith('...')"""
HEAD = nbformat.v4.new_markdown_cell("# Control room")


@pytest.fixture(scope="module")
def small(folder):
    """A notebook with a control room that starts with a small system."""
    nb = nbformat.v4.new_notebook(metadata={"kernelspec": lessons.KERNEL})
    nb.cells = [HEAD, nbformat.v4.new_code_cell(ROOM)]
    nbformat.write(nb, folder / "small_room.ipynb")
    return folder / "small_room.ipynb"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of one's own: one that can be used, one that cannot, one that is too large."""
    folder, rng, n = tmp_path_factory.mktemp("tables"), np.random.default_rng(0), 150
    frame = pd.DataFrame({"age": rng.integers(20, 90, n), "clinic": rng.choice(["A", "B"], n)})
    frame.assign(ill=(rng.random(n) < 0.01 * frame["age"]).astype(int)).to_csv(folder / "good.csv", index=False)
    (folder / "bad.csv").write_text("age;ill\n40;1\n50;0\n")
    with open(folder / "large.csv", "wb") as file:
        file.write(b"age,ill\n")
        file.truncate(5_000_001)
    return folder


def over(page, setting=""):
    """The sentence once a run with this in its setting is over."""
    page.wait_for_function(OVER, arg=setting, timeout=60_000)
    return page.locator(".fedlab-sentence").first.inner_text()


def assert_accessible(page, context=None):
    found = Axe().run(page, context=context)
    assert found.violations_count == 0, found.generate_report()


def test_by_keys_alone_in_jupyterlab(lab, small):
    chromium, address = lab
    with browser.lesson(chromium, address, small.name) as page:
        browser.run_to_first_lab(page)
        assert "There is no promise" in over(page)
        page.wait_for_timeout(1000)  # the cell's output is replaced once, by the finished run
        page.locator(".fedlab-control-preset select").focus()
        browser.tab_to(page, ".fedlab-control-rounds .noUi-handle")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        assert "together" in over(page, "training.rounds 43")
        browser.tab_to(page, "button[title^='Show the next runs']")
        page.keyboard.press("Enter")
        page.get_by_text("No setting differs").wait_for()
        page.locator(".fedlab-control-preset select").focus()
        browser.tab_to(page, ".fedlab-control-rounds .noUi-handle")
        page.keyboard.press("ArrowLeft")
        over(page, "training.rounds 42")
        beside = page.locator(".fedlab-part-beside").inner_text()
        assert "training.rounds" in beside and "43 rounds" in beside and "42 rounds" in beside
        page.locator(".fedlab-control-invented select").select_option(label="together, GAN (slow)")
        page.locator(".fedlab-cancel").wait_for()
        browser.tab_to(page, ".fedlab-cancel")
        page.keyboard.press("Enter")
        page.wait_for_function("document.querySelector('.fedlab-time').textContent.startsWith('cancelled')")
        assert page.evaluate("document.activeElement.matches('.fedlab-parts')")
        assert_accessible(page, ".fedlab-room")


def test_by_mouse_as_a_page_of_its_own_with_files(lab, small, tables, tmp_path):
    chromium, _ = lab
    with browser.dashboard(tmp_path, f"--Voila.notebook_path={small}") as room, browser.new_page(chromium) as page:
        page.goto(room.address, wait_until="commit")
        page.locator(".fedlab-room").wait_for(timeout=60_000)
        over(page)
        page.wait_for_timeout(1000)
        with page.expect_download() as settings:
            page.get_by_role("button", name="These settings (TOML)").click()
        assert settings.value.suggested_filename == "wine.toml"
        assert Settings.from_toml(settings.value.path().read_text()).data.table == "wine"
        with page.expect_download(timeout=60_000) as report:
            page.get_by_role("button", name="Privacy report").click()
        assert "Privacy report" in report.value.path().read_text() and report.value.suggested_filename.endswith(".html")
        own = page.get_by_label("Open my own table (CSV)")
        before = page.locator(".fedlab-sentence").inner_text()
        for name, why in (("bad", "commas between its columns"), ("large", "It was not sent")):
            own.set_input_files(tables / f"{name}.csv")
            page.get_by_text(why).wait_for()
            assert page.locator(".fedlab-sentence").inner_text() == before  # and nothing ran
        own.set_input_files(tables / "good.csv")
        page.get_by_text("150 rows and 3 columns").wait_for()
        over(page, "data.table own")
        page.locator(".fedlab-control-hospital select").select_option(label="clinic")
        assert (
            "together" in over(page, "data.hospital clinic")
            and "2 hospitals" in page.locator(".fedlab-part-pipeline").inner_text()
        )
        assert_accessible(page)
        page.set_viewport_size({"width": 1024, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

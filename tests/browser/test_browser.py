"""One live lab of each lesson, driven as a learner drives it: JupyterLab, a browser, the arrow keys."""

import os
from pathlib import Path

import lessons
import nbformat
import pytest

from tests.browser import browser

SOURCES = sorted(lessons.SOURCES.glob("*.py"))

# A lab with nothing behind it but the classes that a real one has.
TOY = """
import io
import ipywidgets as W
from matplotlib.figure import Figure

def png(value):
    figure, out = Figure(figsize=(2, 1)), io.BytesIO()
    figure.subplots().plot([0, value])
    figure.savefig(out, format="png")
    return out.getvalue()

slider = W.IntSlider(value={value}, max=10, continuous_update=False).add_class("fedlab-control-patients")
picture = W.Image(value=png({value})).add_class("fedlab-picture")
sentence = W.HTML("{value} patients").add_class("fedlab-sentence")

def redraw(change):
    {redraw}

slider.observe(redraw, "value")
W.VBox([slider, picture, sentence]).add_class("fedlab-lab")
"""
TOYS = {  # name -> where the slider starts, and what moving it does
    "mute": (10, "picture.value = png(change['new'])"),
    "frozen": (2, "sentence.value = str(change['new'])"),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A browser, and the address of a JupyterLab that serves the lessons, never run."""
    if not browser.chromium_path():
        reason = "no Chromium or Chrome on this machine: the live labs are not driven in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    folder = tmp_path_factory.mktemp("my lessons")
    for source in SOURCES:
        nbformat.write(lessons.load(source), folder / f"{source.stem}.ipynb")
    for name, (value, redraw) in TOYS.items():
        cell = nbformat.v4.new_code_cell(TOY.replace("{value}", str(value)).replace("{redraw}", redraw))
        toy = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": lessons.KERNEL})
        nbformat.write(toy, folder / f"{name}.ipynb")
    with (
        browser.jupyterlab(folder, tmp_path_factory.mktemp("server")) as address,
        browser.chromium() as chromium,
    ):
        yield chromium, address


def drive(lab, name, seconds=20):
    with browser.lesson(*lab, f"{name}.ipynb") as page:
        browser.run_to_first_lab(page)
        before = browser.settled(page)
        screenshot(page, f"{name}-before")
        browser.move_first_slider(page)
        browser.settled(page, unlike=before, seconds=seconds)
        screenshot(page, f"{name}-after")


def screenshot(page, name):
    if folder := os.environ.get("FEDLAB_SCREENSHOTS"):
        page.locator(".fedlab-lab").first.scroll_into_view_if_needed()
        page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.mark.parametrize("name", [source.stem for source in SOURCES])
def test_moving_a_slider_changes_picture_and_sentence(lab, name):
    drive(lab, name)


@pytest.mark.parametrize(("name", "missed"), [("mute", "sentence"), ("frozen", "picture")])
def test_the_harness_sees_a_lab_that_does_not_react(lab, name, missed):
    with pytest.raises(AssertionError, match=f"lab's {missed} had not changed"):
        drive(lab, name, seconds=2)

"""One browser and one server for all tests in this folder."""

import os

import cells
import lessons
import nbformat
import pytest

from tests.browser import browser

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
SLOW = """
import time
from fedlab_utils import plots, widgets

def slow(show, n):
    figure, ax = plots.figure()
    ax.plot([0, n])
    show(figure, f"{n} at first.", alt=f"A line to {n}.", done=0.1)
    for k in range(30 if n == 3 else 1000):
        show.tick(k / 1000)
        time.sleep(0.1 if n == 3 else 0.02)
    show(figure, f"{n} in the end.", alt=f"A line to {n}.")

widgets.lab(slow, n=widgets.slider(1, 9, 3, label="Height", unit="m"))
"""
# Another whose first run goes on until a file is there.
WAITS = "k in iter(lambda: n == 3 and not Path('go').exists(), False)"
HELD = "from pathlib import Path" + SLOW.replace("k in range(30 if n == 3 else 1000)", WAITS)
TOYS = {  # name -> its cell
    "mute": TOY.replace("{value}", "10").replace("{redraw}", "picture.value = png(change['new'])"),
    "frozen": TOY.replace("{value}", "2").replace("{redraw}", "sentence.value = str(change['new'])"),
    "slow": SLOW,
    "held": HELD,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The lessons, never run, and some toys. But for lesson 00, of a lesson's code there is what its labs need."""
    folder = tmp_path_factory.mktemp("my lessons")
    for source in lessons.sources():
        nb = lessons.load(source)
        if lessons.is_lesson(source) and source.stem > "01":
            needed = cells.needed(nb, lambda cell: "widgets.lab(" in cell.source).cells
            nb.cells = [cell for cell in nb.cells if cell.cell_type != "code" or cell in needed]
        nbformat.write(nb, folder / f"{source.stem}.ipynb")
    for name, code in TOYS.items():
        toy = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code)], metadata={"kernelspec": lessons.KERNEL}
        )
        nbformat.write(toy, folder / f"{name}.ipynb")
    return folder


@pytest.fixture(scope="session")
def chromium():
    """A browser."""
    if not browser.chromium_path():
        reason = "no Chromium or Chrome on this machine: the live labs are not driven in a browser"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    with browser.chromium() as started:
        yield started


@pytest.fixture(scope="session")
def lab(chromium, folder, tmp_path_factory):
    """The browser, and the address of a JupyterLab that serves the lessons."""
    with browser.jupyterlab(folder, tmp_path_factory.mktemp("server")) as address:
        yield chromium, address

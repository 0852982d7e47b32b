"""Live labs: what they show, how they run, and what a learner reads when something goes wrong."""

import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import anywidget
import ipywidgets as W
import nbclient
import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure

from fedlab_utils import plots, widgets
from fedlab_utils.widgets import live, screen
from fedlab_utils.widgets.screen import Screen
from tests.widgets.helpers import draw, line

ROOT = Path(plots.__file__).parent.parent


@pytest.fixture
def strict(monkeypatch):
    monkeypatch.setenv("FEDLAB_STRICT", "1")


def line_lab(run=line, **changed):
    return widgets.lab(run, **({"n": widgets.slider(1, 9, 3, label="Height", unit="m")} | changed))


# ---------------------------------------------------------------- what is shown


def test_first_run_is_done_when_the_cell_is(strict):
    lab = line_lab()
    assert lab.sentence == "The line ends at 3." and lab.title == "Line"
    assert 0 < lab.timing.first_picture <= lab.timing.complete
    assert widgets.LABS == [lab]


def test_one_bundle_with_widget_picture_and_words(strict):
    def risky(show, n):
        show(draw(n), "AUC < 0.5 & falling", alt='a "line"')

    bundle = line_lab(risky)._repr_mimebundle_()
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert bundle["text/plain"] == f"AUC < 0.5 & falling (Height 3 m) {live.WAKING}"
    assert 'alt="a &quot;line&quot;"' in bundle["text/html"]
    assert f"<figcaption>AUC &lt; 0.5 &amp; falling (Height 3 m)<br><i>{live.WAKING}" in bundle["text/html"]
    assert "data:image/png;base64," in bundle["text/html"]


def test_the_screen_gets_what_the_lab_shows(strict):
    lab = line_lab()
    screen = lab._screen
    assert (screen.picture, screen.alt, screen.sentence) == (lab.png, lab.alt, lab.sentence)
    assert screen.names == {"n": {"label": "Height", "unit": "m"}} and "m" in labels(lab)
    assert "fedlab-control-n" in {name for widget in everything(lab.root) for name in widget._dom_classes}


def test_a_picture_to_look_at_closely_has_more_pixels(strict):
    sent, lab = [], line_lab()
    lab._screen.send = lambda message, buffers: sent.append((message, buffers))
    lab._screen._asked(None, {"kind": "large"}, [])
    ((message, (large,)),) = sent
    assert message == {"kind": "large"}
    size = [int.from_bytes(large[k : k + 4], "big") for k in (16, 20)]
    assert size == [2 * int.from_bytes(lab.png[k : k + 4], "big") for k in (16, 20)] == [600, 400]


def test_the_page_has_a_place_for_everything_that_is_sent():
    script, style = (path.read_text() for path in (screen.SCRIPT, screen.STYLE))
    sent = set(Screen.class_own_traits()) - set(anywidget.AnyWidget.class_traits())
    shown = {"picture", "parts", "first", "alt", "sentence", "setting", "error", "note"}
    assert sent == shown | {"working", "stale", "done", "names"}
    assert all(f'"{name}"' in script for name in sent)
    for name in re.findall(r"\.(fedlab-[a-z]+)", style):
        assert name in script or name == "fedlab-lab", name


def everything(widget):
    yield widget
    for child in getattr(widget, "children", ()):
        yield from everything(child)


def labels(lab):
    return [widget.value for widget in everything(lab.root) if isinstance(widget, W.Label)]


def test_moving_a_control_paints_again(strict):
    lab = line_lab()
    before = lab.png
    lab.set("n", 7)
    assert lab.wait().sentence == "The line ends at 7." and lab.png != before and lab.error is None


# ---------------------------------------------------------------- running


def test_newest_setting_wins_and_only_one_run_at_a_time():
    running, most, stopped, done = [], [0], [], []

    def slow(show, n):
        running.append(n)
        most[0] = max(most[0], len(running))
        try:
            for _ in range(5):
                show.tick()
                time.sleep(0.01)
            line(show, n)
            done.append(n)
        except widgets.Stopped:
            stopped.append(n)
            raise
        finally:
            running.remove(n)

    lab = line_lab(slow).wait()
    for repeat in range(4):
        for n in (1, 9, 2, 8, 4, 6, 5):
            lab.set("n", n)
            time.sleep(0.015 * (n + repeat))  # sometimes inside the debounce, sometimes inside the run
        lab.wait()
        assert lab.sentence == "The line ends at 5." and done[-1] == 5
    assert most == [1] and stopped and lab.error is None


def test_a_run_that_nobody_waits_for_may_not_paint():
    entered, go = threading.Event(), threading.Event()
    painted = []

    def stubborn(show, n):
        if n == 9:
            entered.set()
            go.wait(10)
        line(show, n)
        painted.append(n)

    lab = line_lab(stubborn).wait()
    lab.set("n", 9)
    assert entered.wait(10)
    lab.set("n", 4)
    go.set()
    assert lab.wait().sentence == "The line ends at 4." and painted == [3, 4]


def test_an_error_of_an_older_run_is_not_shown():
    entered, go, seen = threading.Event(), threading.Event(), []

    def breaks_late(show, n):
        if n == 9:
            entered.set()
            go.wait(10)
            raise ValueError("too late to matter")
        if n == 4:
            seen.append((lab.error, bool(lab._screen.error)))
        line(show, n)

    lab = line_lab(breaks_late).wait()
    lab.set("n", 9)
    assert entered.wait(10)
    lab.set("n", 4)
    go.set()
    assert lab.wait().error is None and seen == [(None, False)]


def test_a_worker_that_dies_is_not_taken_for_an_answer(monkeypatch):
    lab = line_lab().wait()
    monkeypatch.setattr(threading, "excepthook", lambda hook: None)
    monkeypatch.setattr(lab, "_settle", lambda *a, **k: {}["the connection is gone"])
    lab.set("n", 5)
    with pytest.raises(RuntimeError, match="stopped working"):
        lab.wait()


def test_cancel_stops_keeps_the_picture_and_leaves_the_lab_usable():
    seen = []

    def endless(show, n):
        line(show, n)
        while n == 9:
            seen.append(lab._screen.working)
            show.tick(0.5)
            time.sleep(0.005)

    lab = line_lab(endless).wait()
    lab.set("n", 9)
    while not any(seen):  # Cancel appears while the run goes on
        time.sleep(0.01)
    lab._screen._asked(None, {"kind": "cancel"}, [])
    lab.wait()
    assert lab.cancelled and lab.sentence == "The line ends at 9." and lab.timing.complete is None
    assert "cancelled" in lab._screen.note
    assert not lab._screen.working
    lab.set("n", 2)
    assert lab.wait().sentence == "The line ends at 2." and not lab.cancelled


def test_short_runs_do_not_show_cancel(monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 1000)
    shown = []

    def watched(show, n):
        line(show, n)
        shown.append(made[0]._screen.working if made else False)

    made = []
    made.append(line_lab(watched).wait())
    made[0].set("n", 5)
    made[0].wait()
    assert shown == [False, False]


def test_pictures_keep_their_distance_and_the_last_one_is_painted(monkeypatch):
    painted = []
    monkeypatch.setattr(plots, "png", lambda figure: painted.append(time.perf_counter()) or bytes(24))
    figure = Figure()

    def many(show, n):
        for i in range(n * 20):
            show(figure, f"picture {i}", alt="nothing", done=i / 100)
            time.sleep(0.005)

    lab = line_lab(many).wait()
    assert lab.sentence == "picture 59"
    lab.set("n", 4)
    assert lab.wait().sentence == "picture 79"
    assert len(painted) >= 4 and np.diff(painted).min() >= 0.9 * live.REPAINT


def test_a_long_first_run_goes_on_after_the_cell(monkeypatch):
    monkeypatch.setattr(live, "FIRST_WAIT", 0)
    go = threading.Event()

    def long(show, n):
        line(show, n)
        while not go.wait(0.01):
            show.tick()
        show(draw(), "Complete.", alt="a line")

    lab = line_lab(long)
    assert lab.sentence == "The line ends at 3." and lab.timing.complete is None
    outputs = []

    class Shown:
        def update(self, bundle, raw):
            outputs.append(bundle["text/plain"])

    monkeypatch.setattr(live, "display", lambda bundle, **_: outputs.append(bundle["text/plain"]) or Shown())
    lab._ipython_display_()
    go.set()
    assert lab.wait().sentence == "Complete."
    assert [text.split(".")[0] for text in outputs] == ["The line ends at 3", "Complete"]  # the last one is stored
    lab.set("n", 5)
    lab.wait()
    assert len(outputs) == 2  # and left alone when the learner has moved on


def test_an_interrupt_stops_the_first_run(monkeypatch):
    def interrupted(made):
        raise KeyboardInterrupt

    monkeypatch.setattr(live, "_wait", interrupted)

    def endless(show, n):
        while True:
            show.tick()
            time.sleep(0.005)

    with pytest.raises(KeyboardInterrupt):
        line_lab(endless)
    assert widgets.LABS[0].wait().cancelled


def test_waiting_has_an_end():
    go = threading.Event()

    def stuck(show, n):
        line(show, n)
        if n == 9:
            go.wait(10)

    lab = line_lab(stuck).wait()
    lab.set("n", 9)
    with pytest.raises(TimeoutError, match="Stuck"):
        lab.wait(0.1)
    go.set()
    lab.wait()


# ---------------------------------------------------------------- when something goes wrong


def broken(show, n):
    if n == 9:
        raise ValueError("With 9 m the line leaves the page; choose less.")
    if n == 8:
        raise SystemExit("leaving")
    if n == 7:
        return {}["no such key"]
    line(show, n)


def test_errors_become_a_sentence_and_the_picture_stays(capfd):
    lab = line_lab(broken).wait()
    before = lab.png
    lab.set("n", 9)
    assert isinstance(lab.wait().error, ValueError) and lab.png == before
    assert lab._screen.error == "With 9 m the line leaves the page; choose less."
    for n, kind in ((8, "SystemExit: leaving"), (7, "KeyError: 'no such key'")):
        lab.set("n", n)
        lab.wait()
        assert f"Something went wrong: {kind}. Move a control" in lab._screen.error
        assert bool(lab._screen.error)
    lab.set("n", 2)
    assert lab.wait().error is None and not bool(lab._screen.error)
    assert capfd.readouterr() == ("", "")


def test_a_first_run_that_fails_is_a_sentence_for_a_learner_and_an_error_for_the_tests(monkeypatch):
    bad = {"n": widgets.slider(1, 9, 9)}
    lab = line_lab(broken, **bad)
    assert lab._repr_mimebundle_()["text/plain"].startswith("With 9 m the line leaves the page; choose less.")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ValueError, match="leaves the page"):
        line_lab(broken, n=widgets.slider(1, 9, 9))


@pytest.mark.parametrize(
    ("run", "says"),
    [
        (lambda show, n: None, "never called show"),
        (lambda show, n: show(draw(), " ", alt="a line"), "sentence must be a text"),
        (lambda show, n: show(draw(), "A line.", alt=""), "alt must be a text"),
        (lambda show, n: show("no figure", "A line.", alt="a line"), "must be a matplotlib Figure, not str"),
    ],
)
def test_runs_that_show_nothing_are_refused(run, says, strict):
    with pytest.raises((RuntimeError, ValueError), match=says):
        widgets.lab(run, title="Nothing", n=widgets.slider(1, 9, 3))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n": 3}, "n must be a control"),
        ({"n": widgets.slider(1, 9, 3), "m": widgets.switch()}, "run must take show and the controls"),
        ({}, "run must take show and the controls"),
    ],
)
def test_controls_that_do_not_fit_the_run(wrong, says):
    with pytest.raises(ValueError, match=says):
        widgets.lab(line, **wrong)


# ---------------------------------------------------------------- sweep


def many_controls(run):
    return widgets.lab(
        run,
        title="Many",
        n=widgets.slider(1, 9, 3),
        share=widgets.slider(0.1, 1.0, 0.5, step=0.1),
        size=widgets.slider(1, 1000, 10, log=True),
        kind=widgets.choice(["a", "b", "c"], "b"),
        both=widgets.switch(True),
    )


def test_sweep_visits_every_end_and_option_and_comes_back(monkeypatch):
    monkeypatch.setattr(live, "REPAINT", 0)
    seen = []

    def run(show, **values):
        seen.append(values)
        line(show, values["n"])

    lab = many_controls(run)
    visited = lab.sweep()
    start = {"n": 3, "share": 0.5, "size": 10, "kind": "b", "both": True}
    moves = [("n", 1), ("n", 9), ("share", 0.1), ("share", 1.0), ("size", 1), ("size", 1000), ("kind", "a"),
             ("kind", "c"), ("both", False)]  # fmt: skip
    assert all(start | {name: value} in seen for name, value in moves) and seen[0] == seen[-1] == start
    assert {(name, shown) for name, shown, _ in visited} >= {("n", "9"), ("size", "1,000"), ("both", "off")}
    assert all(0 < timing.first_picture <= timing.complete for _, _, timing in visited)
    assert {name: control.value for name, control in lab.controls.items()} == start


@pytest.mark.parametrize("bad", [("n", 9), ("size", 1), ("kind", "c"), ("both", False)])
def test_sweep_raises_what_went_wrong_and_says_where(bad, monkeypatch):
    monkeypatch.setattr(live, "REPAINT", 0)

    def run(show, **values):
        if values[bad[0]] == bad[1]:
            raise ZeroDivisionError("no patients left")
        line(show, values["n"])

    shown = "off" if bad[1] is False else bad[1]
    where = rf"lab 'Many' with {bad[0]} = {shown}: ZeroDivisionError: no patients left"
    with pytest.raises(RuntimeError, match=where) as caught:
        many_controls(run).sweep()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_sweep_sees_a_first_run_that_failed_even_without_controls():
    def fails(show):
        raise OSError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        widgets.lab(fails).sweep()


# ---------------------------------------------------------------- data sets


def test_data_are_loaded_once_and_handed_over():
    loaded = []

    def load(name):
        loaded.append(name)
        return name.upper()

    def run(show, table):
        show(draw(), f"The table is {table}.", alt="a line")

    for _ in range(2):
        lab = widgets.lab(run, table=widgets.data_choice(load, ["first", "second"], own="MINE"))
        for name, table in (("second", "SECOND"), ("my own table", "MINE"), ("first", "FIRST")):
            lab.set("table", name)
            assert lab.wait().sentence == f"The table is {table}."
    assert loaded == ["first", "second"]


@pytest.mark.parametrize(("own", "word"), [(3, "int"), ("text", None), (["text"], "list")])
def test_an_own_table_of_another_kind_gets_the_hint(own, word):
    def run(show, table):
        show(draw(), table, alt="a line")

    choices = widgets.data_choice(str.upper, ["near", "far"], own, make="as_it_is_made(table)")
    lab = widgets.lab(run, table=choices)
    lab.set("table", "my own table")
    if word is None:
        assert lab.wait().error is None and lab.sentence == own
    else:
        hint = str(lab.wait().error)
        assert f"What own holds ({word})" in hint and "own = as_it_is_made(table)" in hint


def test_data_that_are_not_at_hand_are_named_and_do_not_fail_a_sweep():
    def load(name):
        if name == "far":
            raise OSError("heart_disease cannot be fetched without a network.")
        return name

    def run(show, table):
        show(draw(), table, alt="a line")

    lab = widgets.lab(run, table=widgets.data_choice(load, ["near", "far"]))
    says = {shown: result for _, shown, result in lab.sweep()}
    assert says["far"] == "heart_disease cannot be fetched without a network."
    assert 'table = pd.read_csv("my.csv")' in says["my own table"]
    assert 'own = data.from_frame(table, target="outcome"' in says["my own table"]
    assert lab.error is None and lab.sentence == "near"


# ---------------------------------------------------------------- in a kernel, and on import


def test_in_a_notebook_the_bundle_is_stored_and_a_failing_lab_fails_the_cell(monkeypatch, tmp_path):
    monkeypatch.setenv("FEDLAB_STRICT", "1")
    head = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nfrom fedlab_utils import plots, widgets\n"
    head += "def run(show, n):\n    1 / n\n    show(plots.figure()[0], f'n is {n}', alt='an empty frame')\n"
    good, bad = "widgets.lab(run, n=widgets.slider(0, 5, 3))", "widgets.lab(run, n=widgets.slider(0, 5, 0))"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(head), nbformat.v4.new_code_cell(good)])
    nbclient.NotebookClient(nb, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (output,) = nb.cells[1].outputs
    assert output.data["text/plain"].startswith("n is 3") and 'alt="an empty frame"' in output.data["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in output.data
    nb.cells[1].source = bad
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="division by zero"):
        nbclient.NotebookClient(nb, timeout=60, resources={"metadata": {"path": str(tmp_path)}}).execute()


def test_importing_changes_nothing_global():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams); import fedlab_utils.widgets as w;"
        "w.live.plots.png(w.live.plots.figure(ncols=2)[0]); assert dict(matplotlib.rcParams) == before;"
        "assert not {'matplotlib.pyplot', 'torch', 'fedlab_utils.data'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

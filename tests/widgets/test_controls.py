"""Controls of a lab: their values, their labels, and what is refused."""

import re

import ipywidgets as W
import pytest

from fedlab_utils import widgets
from fedlab_utils.widgets import controls
from tests.widgets.helpers import line


def test_sliders_choose_whole_or_broken_numbers_and_show_all_digits():
    whole, broken_, quarter = (
        widgets.slider(1, 9, 3),
        widgets.slider(0, 1, 0.5),
        widgets.slider(0, 1, 0, step=0.25),
    )
    assert isinstance(whole, W.IntSlider) and whole.step == 1 and not whole.continuous_update
    assert isinstance(broken_, W.FloatSlider) and broken_.step == 0.01 and broken_.readout_format == ".2f"
    assert quarter.readout_format == ".2f"
    assert widgets.slider(0, 1, 0.5, step=0.001).readout_format == ".3f"


def test_logarithmic_sliders_go_1_2_5():
    epsilon = widgets.slider(0.1, 10, 3, log=True, unit="nats")
    assert [value for _, value in epsilon.options] == [0.1, 0.2, 0.5, 1, 2, 3, 5, 10]
    assert epsilon.options[0][0] == "0.1 nats" and not epsilon.continuous_update
    rows = [value for _, value in widgets.slider(7, 200, 10, log=True).options]
    assert rows == [7, 10, 20, 50, 100, 200] and all(isinstance(value, int) for value in rows)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: widgets.slider(5, 1, 3), "low must be below high; they are 5 and 1"),
        (lambda: widgets.slider(1, 5, 9), "value must lie between 1 and 5; it is 9"),
        (lambda: widgets.slider(1, 5, 3, step=0), "step must be positive"),
        (lambda: widgets.slider(1, 5, 3, step=1, log=True), "step must be positive"),
        (lambda: widgets.slider(0, 5, 3, log=True), "low must be above 0 on a logarithmic slider; it is 0"),
        (lambda: widgets.choice(["one"]), "at least two things"),
        (lambda: widgets.choice({"a": 1, "b": 2}, 3), r"value must be one of \[1, 2\]; it is 3"),
    ],
)
def test_bad_controls_get_a_sentence(make, says):
    with pytest.raises(ValueError, match=says):
        make()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [("m", 1, "name must be one of"), ("n", 99, "cannot be set to 99"), ("kind", "z", "kind must be one of")],
)
def test_settings_that_are_not_possible_are_refused(name, value, says):
    def run(show, n, kind):
        line(show, n)

    lab = widgets.lab(run, n=widgets.slider(1, 9, 3), kind=widgets.choice(["a", "b"]))
    with pytest.raises(ValueError, match=says):
        lab.set(name, value)


def test_labels_get_the_room_of_the_longest():
    made = {
        "a": widgets.slider(1, 9, 3, label="Local epochs in a round"),
        "b": widgets.choice("xy", label="No"),
    }
    controls.rows(made)
    widths = {control.style.description_width for control in made.values()}
    assert len(widths) == 1 and int(re.match(r"\d+", widths.pop())[0]) >= 7 * len("Local epochs in a round")


@pytest.mark.parametrize(
    ("control", "words"),
    [
        (lambda: widgets.slider(1, 30, 15, label="Rounds"), "Rounds 15"),
        (lambda: widgets.slider(5, 100, 100, label="Patients kept", unit="%"), "Patients kept 100 %"),
        (lambda: widgets.slider(0.0, 1.0, 0.25, step=0.05, label="Noise"), "Noise 0.25"),
        (lambda: widgets.slider(1, 1000, 20, log=True, label="Steps", unit="steps"), "Steps 20 steps"),
        (lambda: widgets.choice({"as they are": 0, "skewed": 0.1}, label="Labels"), "Labels as they are"),
        (lambda: widgets.switch(True, label="Masks"), "Masks on"),
        (lambda: widgets.slider(1, 3, 2), "n 2"),
        (lambda: widgets.slider(1, 20, 1, log=True), "n 1"),  # where it was made, at its first
        (lambda: widgets.slider(1, 20, 5, log=True, unit="kB"), "n 5 kB"),
    ],
)
def test_a_setting_in_words(control, words):
    assert controls.said("n", control()) == words

"""Figures of models: nothing is drawn where nothing is defined, and odd hospitals fit."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedlab_utils import data, federated, plots

WORK = dict(rounds=2, local_steps=2, hidden=(4,), seeds=2)


def federation(n_hospitals, target="binary", name="Hospital"):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40 * n_hospitals, 2))
    frame = pd.DataFrame(x, columns=["a", "b"]).assign(where=np.arange(len(x)) % n_hospitals)
    frame["where"] = name + " " + frame["where"].astype(str)
    frame["y"] = (x[:, 0] > 0).astype(int) if target == "binary" else x[:, 0] + x[:, 1]
    return data.from_frame(frame, target="y", hospital="where")


@pytest.mark.parametrize("n", [1, 2, 20])
def test_any_number_of_hospitals_can_be_drawn_and_read(n):
    some = federation(n, name="Saint Somebody's Hospital of a Very Long Name")
    history, beside = federated.train(some, **WORK).history, federated.baselines(some, **WORK)
    for made in (plots.by_hospital(beside, ["pooled", "local-only"]), plots.learning_curves(history, beside)):
        assert isinstance(made, Figure) and len(plots.png(made)) > 5000
    assert plots.by_hospital(beside, ["pooled"]).axes[0].get_title() == ("the first 15 of 21" if n == 20 else "")
    sentence = plots.read_learning_curves(history, beside)
    assert "nan" not in sentence and sentence.endswith(".")
    title = plots.learning_curves(history, beside).axes[1].get_title()
    assert title == ("the first 12 of 20 hospitals" if n == 20 else "")


def test_nothing_defined_is_said_and_not_drawn_as_zero():
    numbers = federation(2, target="regression")
    history, beside = federated.train(numbers, **WORK).history, federated.baselines(numbers, **WORK)
    for draw in (lambda: plots.learning_curves(history, beside), lambda: plots.by_hospital(beside, ["pooled"])):
        with pytest.raises(ValueError, match="There is nothing to draw"):
            draw()


def test_the_last_round_is_that_of_each_setting():
    history = pd.DataFrame({"setting": list("aabbb"), "round": [0, 1, 0, 1, 2], "auc": 0.5})
    assert plots.last_round(history)["round"].tolist() == [1, 2]


def test_the_clinic_counts_the_missed():
    risk, ill = np.array([[0.1, 0.3, 0.6, 0.1], [0.1, 0.3, 0.6, 0.3]]), np.array([0, 0, 1, 1])
    made = plots.clinic(np.tile(risk, 10), np.tile(ill, 10), ["A", "A", "B", "B"] * 10, threshold=0.2)
    (bar,) = made.axes[2].patches  # nobody is ill in A
    assert bar.get_width() == pytest.approx(
        0.25
    )  # of B's ill patients half are missed with one seed, none with the other

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


def reach(drawn):
    """All ends of error bars and bands of an axis."""
    paths = [path.vertices for made in drawn.collections for path in made.get_paths()]
    return np.concatenate([path[~np.isnan(path).any(1)] for path in paths])


def test_bands_of_shares_end_at_0_and_1_and_lines_differ_by_more_than_colour():
    shares = {f"{k} neurons": ([1, 2, 4], np.array([[1.0, 0.2], [1.0, 1.0], [0.0, 0.9]])) for k in (32, 128, 512)}
    (ax,) = plots.bands(shares, xlabel="patients", ylabel="share", log_x=True).axes
    heights = reach(ax)[:, 1]
    assert heights.min() == 0 and heights.max() == 1  # .45 - .45 and .6 + .4, and not 1.05
    assert len({(line.get_linestyle(), line.get_marker()) for line in ax.lines}) == 3
    assert ax.get_xlabel() == "patients" and ax.get_ylabel() == "share"


@pytest.mark.parametrize(("metric", "ends"), [("auc", [1.0]), ("accuracy", [1.0]), ("gain", [0.98 + 0.02 * 2**0.5])])
def test_error_bars_of_shares_end_at_1_and_those_of_differences_do_not(metric, ends):
    table = pd.DataFrame({"hospital": "A", "baseline": "pooled", "seed": [0, 1], metric: [1.0, 0.96]})
    (ax,) = plots.by_hospital(table, ["pooled"], metric=metric).axes
    assert reach(ax)[:, 0].max() == pytest.approx(ends[0])


def test_the_learning_curve_stays_within_the_shares():
    history = pd.DataFrame({"round": [0, 0, 1, 1], "hospital": "all", "seed": [0, 1, 0, 1], "auc": [0.5, 0.5, 1, 0.95]})
    made = plots.learning_curves(pd.concat([history, history.assign(hospital="A")]))
    assert all(reach(ax)[:, 1].max() == 1 for ax in made.axes)


def test_missed_shares_stay_within_0_and_1_and_the_clinic_draws_net_benefit():
    risk = np.array([[0.1, 0.3, 0.6, 0.1], [0.1, 0.3, 0.6, 0.3]])
    made = plots.clinic(risk, np.array([0, 0, 1, 1]), list("AABB"), threshold=0.2)
    assert [ax.get_ylabel() for ax in made.axes[:2]] == ["share of ill patients found", "net benefit"]
    model, everybody, nobody = made.axes[1].lines[:3]
    at = model.get_xdata()
    assert np.allclose(everybody.get_ydata(), 0.5 - 0.5 * at / (1 - at)) and not nobody.get_ydata().any()
    just_below = np.flatnonzero(at < 0.3)[-1]  # both seeds flag one healthy patient; one finds both ill, the other one
    assert model.get_ydata()[just_below] == pytest.approx((1.5 - at[just_below] / (1 - at[just_below])) / 4)
    assert 0 <= reach(made.axes[2])[:, 0].min() and reach(made.axes[2])[:, 0].max() <= 1


def test_calibration_has_a_panel_for_each_hospital_and_a_mark_for_each_group():
    group = dict(seed=0, group=[0, 1], n=20, predicted=[0.1, 0.4], observed=[0.2, 0.5], low=[0.1, 0.3], high=[0.4, 0.7])
    one = pd.concat([pd.DataFrame(dict(hospital=name) | group) for name in ("A", "B", "all")])
    made = plots.calibration({"as trained": one, "mended": one.assign(predicted=one["observed"])})
    assert [ax.get_title() for ax in made.axes] == ["A", "B"]
    for ax in made.axes:
        trained, mended = (bars.lines[0] for bars in ax.containers)
        assert trained.get_xdata().tolist() == [0.1, 0.4] and mended.get_xdata().tolist() == [0.2, 0.5]
        assert trained.get_marker() != mended.get_marker()
        assert reach(ax)[:, 1].min() == pytest.approx(0.1) and reach(ax)[:, 1].max() == pytest.approx(0.7)
    with pytest.raises(ValueError, match="nothing to draw"):
        plots.calibration({"as trained": one.assign(observed=np.nan)})

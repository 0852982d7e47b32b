"""Names back from a register: what a table gives away without its names."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedlab_utils import data, plots
from fedlab_utils.attacks import linkage


@pytest.fixture(scope="module")
def network():
    return linkage.released(data.load("hospital_network"))


def test_group_sizes_equal_pandas(network):
    frame = pd.DataFrame({"y": network.number // 7, "s": network.group, "p": [c[:3] for c in network.place]})
    expected = frame.groupby(["y", "s", "p"])["y"].transform("size")
    assert np.array_equal(linkage.group_sizes(network, 7, 3), expected)


def test_names_equal_a_slow_search(network):
    width, digits = 3, 4
    columns = (network.number, network.group, network.place)
    keys = [(y // width, s, p[:digits]) for y, s, p in zip(*columns, strict=True)]
    public = {}
    for y, s, p, name in zip(*network.register, strict=True):
        public.setdefault((y // width, s, p[:digits]), []).append(name)
    alone = pd.Series(keys).map(pd.Series(keys).value_counts()) == 1
    candidates = [public.get(k, ()) if a else () for k, a in zip(keys, alone, strict=True)]
    hits = [(c[0], mine) for c, mine in zip(candidates, network.person, strict=True) if len(c) == 1]
    share, right = linkage.named(network, width, digits)
    assert share == pytest.approx(len(hits) / len(keys)) and len(hits) > 100
    assert right == pytest.approx(np.mean([said == true for said, true in hits]))


def test_coarser_release_names_fewer_and_hides_more(network):
    fine, coarse = (linkage.named(network, w, d)[0] for w, d in ((1, 5), (10, 3)))
    assert fine > 0.3 > 0.01 > coarse
    assert np.median(linkage.group_sizes(network, 10, 3)) > np.median(linkage.group_sizes(network, 1, 5))


def test_area_under_the_curve_of_a_known_table():
    y = np.tile([0, 1], 200)
    table = linkage.Released(y * 10, y * 0, np.array(["1"] * 400), ("age", None, None), y == 1, "ill")
    assert linkage.auc(table, 5).min() == 1  # the groups tell the outcome
    assert linkage.auc(table, 100).tolist() == [0.5] * 20  # everybody is in one group
    assert np.array_equal(linkage.auc(table, 5, seed=3), linkage.auc(table, 5, seed=3))


def test_model_is_scored_on_patients_it_has_not_seen():
    y = np.random.default_rng(0).random(400) < 0.5
    alone = linkage.Released(np.arange(400), np.zeros(400), np.array(["1"] * 400), ("age", None, None), y, "ill")
    assert linkage.auc(alone, 1).tolist() == [0.5] * 20  # nobody in the test rows has a group in the training rows


OWN = {
    "text only": pd.DataFrame({"c": list("abc") * 20, "y": [0, 1] * 30}),
    "one number with a gap": pd.DataFrame({"x": np.r_[np.nan, np.arange(59.0)], "y": np.arange(60) % 4}),
    "three columns": pd.DataFrame(
        {"age": np.arange(60) + 20, "sex": list("mf") * 30, "z": 1.5, "y": np.r_[:60] % 7 < 3}
    ),
    "regression": pd.DataFrame({"x": np.arange(60.0), "y": np.linspace(0, 1, 60)}),
}


@pytest.mark.parametrize("kind", OWN)
def test_any_table_works(kind):
    table = linkage.released(data.from_frame(OWN[kind], target="y"))
    assert table.register is None and linkage.named(table, 1, 5) is None
    for width, digits in ((1, 5), (20, 0)):
        assert len(linkage.group_sizes(table, width, digits)) == 60
        assert "alone in their group" in linkage.sentence(table, width, digits)


IMPOSSIBLE = [(0, 5, "width"), (1.5, 5, "width"), (1, 6, "digits"), (1, -1, "digits")]


@pytest.mark.parametrize(("width", "digits", "word"), IMPOSSIBLE)
def test_a_release_that_cannot_be_is_refused(network, width, digits, word):
    with pytest.raises(ValueError, match=f"{word} must be"):
        linkage.group_sizes(network, width, digits)


def test_roles_of_the_columns():
    assert linkage.released(data.load("diabetes")).columns == ("age", "sex", "bmi")
    assert linkage.released(data.load("breast_cancer")).columns == ("mean_radius", None, "mean_texture")
    assert "stand in for" in linkage.sentence(linkage.released(data.load("diabetes")), 1, 5)


# ---------------------------------------------------------------- odd tables


def test_columns_are_found_by_name_in_any_case_and_an_age_must_be_one():
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=60), "Age": rng.integers(20, 80, 60), "Zip": rng.integers(0, 99999, 60)}
    frame = pd.DataFrame(columns | {"Sex": ["f", "m"] * 30, "ill": [0, 1, 1] * 20})
    table = linkage.released(data.from_frame(frame, target="ill", n_hospitals=2))
    assert table.columns == ("Age", "Sex", "Zip") and "Age in groups of 5, Sex" in linkage.sentence(table, 5, 0)
    as_words = frame.assign(Age=np.where(frame["Age"] > 50, "old", "young"))
    table = linkage.released(data.from_frame(as_words, target="ill", n_hospitals=2))
    assert table.columns[0] == "x" and "nan" not in linkage.sentence(table, 5, 2)


def test_too_few_patients_are_said_to_be_too_few():
    frame = pd.DataFrame({"age": [30, 40, 50, 60, 70, 80], "ill": [0, 0, 0, 0, 0, 1]})
    table = linkage.released(data.from_frame(frame, target="ill", n_hospitals=1))
    sentence = linkage.sentence(table, 1, 0)
    assert "nan" not in sentence
    areas = {w: linkage.auc(table, w) for w in (1, 5)}
    assert isinstance(plots.release(np.ones(6), areas, 1, "age"), Figure)

"""Lesson 01: its exercises, its figures, and what a table gives away without its names."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedlab_utils import anonymity, data, plots, simulate

KEYS = ["birth_date", "sex", "postcode"]


# ---------------------------------------------------------------- exercises


def within(counts, means, sds):
    return np.sqrt(counts @ sds**2 / counts.sum())


def grand(counts, means):
    return counts @ means / counts.sum()


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "link_records": {
        "every record with every person": lambda p, r: p.merge(r, how="cross", suffixes=("", "_r")),
        "have no name": lambda p, r: p.merge(r, on=KEYS, how="left"),
        "people of the register who are no patients": lambda p, r: p.merge(r, on=KEYS, how="right"),
        "born in 1990": lambda p, r: p.merge(r, on=["sex", "postcode"]),
        "22299": lambda p, r: p.merge(r, on=["birth_date", "sex"]),
        "Twins": lambda p, r: p.merge(r, on=["birth_date", "postcode"]),
        "no column `name`": lambda p, r: p,
        "no column `smoker`": lambda p, r: r,
        "should be a table": lambda p, r: 3,
        "`KeyError": lambda p, r: p.merge(r, on="name"),
    },
    "k_anonymity": {
        "average group": lambda t, c: t.groupby(c).size().mean(),
        "counted the groups": lambda t, c: len(t.groupby(c)),
        "largest group": lambda t, c: t.groupby(c).size().max(),
        "number of rows": lambda t, c: len(t),
        "all columns": lambda t, c: t.groupby(list(t.columns)).size().min(),
        "each column by itself": lambda t, c: min(t[x].value_counts().min() for x in c),
        "leaves out what is missing": lambda t, c: t.groupby(c).size().min(),
    },
    "zeros_to_missing": {
        "dropped the rows": lambda t, c: t[(t[c] != 0).all(axis=1)],
        "zeros of `event`": lambda t, c: t.replace(0, np.nan),
        "Nothing has changed": lambda t, c: (t.mask(t[c] == 0), t)[1],
        "an estimate": lambda t, c: t.assign(**{x: t[x].mask(t[x] == 0, t[x].mean()) for x in c}),
        "missing before": lambda t, c: t.assign(**{x: t[x].fillna(0).where(t[x] != 0).fillna(33) for x in c}),
        "column `event` is gone": lambda t, c: t[c].mask(t[c] == 0),
        "Is every listed column": lambda t, c: t.assign(hdl=t["hdl"].mask(t["hdl"] == 0)),
        "returns nothing": lambda t, c: t.update(t),
    },
    "pooled_sd": {
        "averaged the standard deviations. ": lambda n, m, s: s.mean(),
        "deviations, weighted by patients": lambda n, m, s: n @ s / n.sum(),
        "spread within the hospitals, with": within,
        "spread between the hospitals, and not": lambda n, m, s: np.sqrt(n @ (m - grand(n, m)) ** 2 / n.sum()),
        "Every hospital counts the same": lambda n, m, s: np.sqrt(np.mean(s**2) + np.var(m)),
        "plain mean of the three": lambda n, m, s: np.sqrt(n @ (s**2 + (m - m.mean()) ** 2) / n.sum()),
        "its square root": lambda n, m, s: n @ (s**2 + (m - grand(n, m)) ** 2) / n.sum(),
        "The pooled sd is 3": lambda n, m, s: 3.0,
    },
}


# ---------------------------------------------------------------- what a table gives away


@pytest.fixture(scope="module")
def network():
    return anonymity.released(data.load("hospital_network"))


def test_group_sizes_equal_pandas(network):
    frame = pd.DataFrame({"y": network.number // 7, "s": network.group, "p": [c[:3] for c in network.place]})
    expected = frame.groupby(["y", "s", "p"])["y"].transform("size")
    assert np.array_equal(anonymity.group_sizes(network, 7, 3), expected)


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
    share, right = anonymity.named(network, width, digits)
    assert share == pytest.approx(len(hits) / len(keys)) and len(hits) > 100
    assert right == pytest.approx(np.mean([said == true for said, true in hits]))


def test_coarser_release_names_fewer_and_hides_more(network):
    fine, coarse = (anonymity.named(network, w, d)[0] for w, d in ((1, 5), (10, 3)))
    assert fine > 0.3 > 0.01 > coarse
    assert np.median(anonymity.group_sizes(network, 10, 3)) > np.median(anonymity.group_sizes(network, 1, 5))


def test_area_under_the_curve_of_a_known_table():
    y = np.tile([0, 1], 200)
    table = anonymity.Released(y * 10, y * 0, np.array(["1"] * 400), ("age", None, None), y == 1, "ill")
    assert anonymity.auc(table, 5).min() == 1  # the groups tell the outcome
    assert anonymity.auc(table, 100).tolist() == [0.5] * 20  # everybody is in one group
    assert np.array_equal(anonymity.auc(table, 5, seed=3), anonymity.auc(table, 5, seed=3))


def test_model_is_scored_on_patients_it_has_not_seen():
    y = np.random.default_rng(0).random(400) < 0.5
    alone = anonymity.Released(np.arange(400), np.zeros(400), np.array(["1"] * 400), ("age", None, None), y, "ill")
    assert anonymity.auc(alone, 1).tolist() == [0.5] * 20  # nobody in the test rows has a group in the training rows


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
    table = anonymity.released(data.from_frame(OWN[kind], target="y"))
    assert table.register is None and anonymity.named(table, 1, 5) is None
    for width, digits in ((1, 5), (20, 0)):
        assert len(anonymity.group_sizes(table, width, digits)) == 60
        assert "alone in their group" in anonymity.sentence(table, width, digits)


IMPOSSIBLE = [(0, 5, "width"), (1.5, 5, "width"), (1, 6, "digits"), (1, -1, "digits")]


@pytest.mark.parametrize(("width", "digits", "word"), IMPOSSIBLE)
def test_a_release_that_cannot_be_is_refused(network, width, digits, word):
    with pytest.raises(ValueError, match=f"{word} must be"):
        anonymity.group_sizes(network, width, digits)


def test_roles_of_the_columns():
    assert anonymity.released(data.load("diabetes")).columns == ("age", "sex", "bmi")
    assert anonymity.released(data.load("breast_cancer")).columns == ("mean_radius", None, "mean_texture")
    assert "stand in for" in anonymity.sentence(anonymity.released(data.load("diabetes")), 1, 5)


def test_the_mayor_is_where_the_lesson_looks():
    raw, truth = simulate.hospital_network()
    register = simulate.public_register(raw, truth)
    (entry,) = register[register["name"] == "Rolf Brammere"].itertuples()
    (record,) = raw[(raw["birth_date"] == entry.birth_date) & (raw["postcode"] == entry.postcode)].itertuples()
    assert record.name == entry.name and record.smoker == "current" and record.diagnosis == "coronary disease"


# ---------------------------------------------------------------- figures

TABLE = pd.DataFrame({"hospital": ["A"] * 20 + ["B"] * 20, "x": np.r_[:40.0], "y": np.r_[:40.0] ** 2, "z": 1.0})
AREAS = {1: np.array([0.6, 0.7]), 5: np.array([0.5, 0.6])}
PANELS = {"q": {"a": (1.0, 0.1), "b": (2.0, 0.1)}, "p": {"a": (3.0, 0.1)}}
DIAGNOSIS, AGE, HOSPITAL = pd.Series(list("aab") * 10), pd.Series(np.r_[30:60]), pd.Series(["A", "B"] * 15)
FIGURES = {
    "linkage": lambda: plots.linkage(TABLE.head(3), TABLE.head(4), 1, 2),
    "release": lambda: plots.release(np.array([1, 1, 7, 300]), AREAS, 5, "age"),
    "histograms": lambda: plots.histograms(TABLE, TABLE.assign(x=TABLE["x"].mask(TABLE["x"] < 3)), "x", "mg/dL"),
    "heatmap": lambda: plots.heatmap(pd.DataFrame({"a": [0.1, 0.9], "b": [0.2, 0.0]}), label="share"),
    "heatmap, signed": lambda: plots.heatmap(TABLE[["x", "y"]].corr(), signed=True, label="r"),
    "intervals": lambda: plots.intervals(PANELS, truth={"q": 1.5}),
    "shares_and_ages": lambda: plots.shares_and_ages(DIAGNOSIS, AGE, HOSPITAL),
    "pairs": lambda: plots.pairs(TABLE[["x", "y"]], TABLE["x"], "risk"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_draws(name):
    figure = FIGURES[name]()
    assert isinstance(figure, Figure) and len(plots.png(figure)) > 2000


def test_panels_of_one_question_share_their_axis():
    figure = plots.intervals({"a": {"x": (0.0, 1.0)}, "b": {"x": (50.0, 1.0)}}, xlabel="points")
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_columns_are_found_by_name_in_any_case_and_an_age_must_be_one():
    rng = np.random.default_rng(0)
    columns = {"x": rng.normal(size=60), "Age": rng.integers(20, 80, 60), "Zip": rng.integers(0, 99999, 60)}
    frame = pd.DataFrame(columns | {"Sex": ["f", "m"] * 30, "ill": [0, 1, 1] * 20})
    table = anonymity.released(data.from_frame(frame, target="ill", n_hospitals=2))
    assert table.columns == ("Age", "Sex", "Zip") and "Age in groups of 5, Sex" in anonymity.sentence(table, 5, 0)
    as_words = frame.assign(Age=np.where(frame["Age"] > 50, "old", "young"))
    table = anonymity.released(data.from_frame(as_words, target="ill", n_hospitals=2))
    assert table.columns[0] == "x" and "nan" not in anonymity.sentence(table, 5, 2)


def test_too_few_patients_are_said_to_be_too_few():
    frame = pd.DataFrame({"age": [30, 40, 50, 60, 70, 80], "ill": [0, 0, 0, 0, 0, 1]})
    table = anonymity.released(data.from_frame(frame, target="ill", n_hospitals=1))
    sentence = anonymity.sentence(table, 1, 0)
    assert "nan" not in sentence
    areas = {w: anonymity.auc(table, w) for w in (1, 5)}
    assert isinstance(plots.release(np.ones(6), areas, 1, "age"), Figure)

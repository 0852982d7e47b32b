"""Lesson 01: its exercises, its figures, and the mayor."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedlab_utils import plots
from fedlab_utils.data import simulate

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


# ---------------------------------------------------------------- what the lesson says


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

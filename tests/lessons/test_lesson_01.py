"""Lesson 01: its exercises, its figures, and the mayor."""

from collections import Counter

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from fedlab_utils import plots
from fedlab_utils.data import cleaning, simulate
from tests.lessons.helpers import drawn

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
        "side by side": lambda p, r: p.assign(name=r["name"]),
        "wherever they stand": lambda p, r: p.iloc[[0, 1, 3]].assign(name=r["name"].iloc[[0, 1, 3]].to_numpy()),
        "what is equal in them": lambda p, r: pd.DataFrame(
            {"name": ["Finn Oakham", "Rosa Oakham", "Vera Ashbury"], "smoker": ["never", "former", "never"]}
        ),
    },
    "k_anonymity": {
        "average group": lambda t, c: t.groupby(c).size().mean(),
        "counted the groups": lambda t, c: len(t.groupby(c)),
        "largest group": lambda t, c: t.groupby(c).size().max(),
        "number of rows": lambda t, c: len(t),
        "all columns": lambda t, c: t.groupby(list(t.columns)).size().min(),
        "each column by itself": lambda t, c: min(t[x].value_counts().min() for x in c),
        "leaves out what is missing": lambda t, c: t.groupby(c).size().min(),
        "a number for each group": lambda t, c: t.groupby(c).size(),
        "different values of a column": lambda t, c: t[c].nunique().min(),
        "whatever `columns` says": lambda t, c: t.groupby(["age", "sex"], dropna=False).size().min(),
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
        "the text 'NaN'": lambda t, c: t.assign(**{x: t[x].astype(object).mask(t[x] == 0, "NaN") for x in c}),
        "`bmi` should stay": lambda t, c: t.assign(hdl=t["hdl"].replace(0, np.nan), bmi=t["bmi"].replace(0, np.nan)),
        "the text ''": lambda t, c: t.assign(**{x: t[x].astype(object).mask(t[x] == 0, "") for x in c}),
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
        "distances between their means": lambda n, m, s: np.sqrt(np.mean(s**2)),
        "of a t-test": lambda n, m, s: np.sqrt(((n - 1) * s**2).sum() / (n.sum() - 3)),
        "patients less one": lambda n, m, s: from_scratch(n, m, s) * np.sqrt(n.sum() / (n.sum() - 1)),
        "one away from each": lambda n, m, s: np.sqrt(((n - 1) @ s**2 + n @ (m - grand(n, m)) ** 2) / (n.sum() - 1)),
        "how far the three means": lambda n, m, s: m.std(),
        "ith two hospitals": lambda n, m, s: np.sqrt(n @ (s**2 + (m - grand(n, m)) ** 2) / 450),
    },
}


def by_loop(table, columns):
    table = table.copy()
    for column in columns:
        for row in table.index:
            if table.loc[row, column] == 0:
                table.loc[row, column] = None
    return table


def from_scratch(counts, means, sds):
    squares = sum(n * (s**2 + m**2) for n, m, s in zip(counts, means, sds, strict=True))
    mean = sum(n * m for n, m in zip(counts, means, strict=True)) / sum(counts)
    return (squares / sum(counts) - mean**2) ** 0.5


RIGHT = {  # exercise -> answers written in other ways
    "link_records": [
        lambda p, r: r.merge(p, on=KEYS),
        lambda p, r: p.set_index(KEYS).join(r.set_index(KEYS), how="inner").reset_index(),
        lambda p, r: p.merge(r, on=KEYS, how="left").dropna(subset=["name"]),
    ],
    "k_anonymity": [
        lambda t, c: t[c].fillna("?").agg("|".join, axis=1).value_counts().min(),
        lambda t, c: t.value_counts(subset=c, dropna=False).min(),
        lambda t, c: np.array([min(Counter(map(str, t[c].to_numpy())).values())]),
    ],
    "zeros_to_missing": [
        by_loop,
        lambda t, c: t.assign(**t[c].replace(0, np.nan)),
        lambda t, c: t.assign(**{x: np.where(t[x] == 0, np.nan, t[x]) for x in c}),
        lambda t, c: t.astype(dict.fromkeys(c, "Float64")).assign(
            **{x: t[x].astype("Float64").mask(t[x] == 0) for x in c}
        ),
    ],
    "pooled_sd": [
        from_scratch,
        lambda n, m, s: torch.tensor(from_scratch(n, m, s)),
        lambda n, m, s: [np.sqrt(np.average(s**2 + (m - np.average(m, weights=n)) ** 2, weights=n))],
    ],
}


# ---------------------------------------------------------------- what the lesson says


def test_the_mayor_is_where_the_lesson_looks():
    raw, truth = simulate.hospital_network()
    register = simulate.public_register(raw, truth)
    (entry,) = register[register["name"] == "Rolf Brammere"].itertuples()
    (record,) = raw[(raw["birth_date"] == entry.birth_date) & (raw["postcode"] == entry.postcode)].itertuples()
    assert record.name == entry.name and record.smoker == "current" and record.diagnosis == "coronary disease"


@pytest.fixture(scope="module")
def lesson():
    wanted = ("found", "from_donors", "clean", "alike", "known")
    return cells.definitions(lessons.SOURCES / "01_preprocessing.py", *wanted)


def test_one_hot_is_better_than_codes_split_by_split_though_not_side_by_side():
    """On twenty splits of its own, by the same two versions of the table."""
    clean = cleaning.clean_hospital_network(simulate.hospital_network()[0]).dropna()
    y, smoker = clean["cvd_event"].to_numpy(), clean["smoker"]
    numbers = clean[["age", "systolic_bp", "total_cholesterol", "hdl", "bmi"]]
    base = (numbers - numbers.mean()) / numbers.std()
    base = base.join(pd.get_dummies(clean[["sex", "bp_treated", "diabetes"]], dtype=float, drop_first=True))
    codes = base.assign(code=smoker.map({"current": 0, "former": 1, "never": 2})).to_numpy()
    one_hot = base.join(pd.get_dummies(smoker, dtype=float)).to_numpy()
    auc = np.empty((20, 2))
    for split in range(20):
        train, test = train_test_split(np.arange(len(y)), test_size=1 / 3, random_state=100 + split)
        for k, X in enumerate((codes, one_hot)):
            model = LogisticRegression().fit(X[train], y[train])
            auc[split, k] = roc_auc_score(y[test], model.decision_function(X[test]))
    gain = auc[:, 1] - auc[:, 0]
    assert (gain > 0).sum() >= 17 and 0.001 < gain.mean() < 0.01
    assert auc.std(0).min() > 1.5 * gain.mean()  # side by side nobody would see it


def test_scaling_before_the_split_does_no_harm_and_selecting_does(lesson):
    found = lesson["found"]
    paired = found["scale before"] - found["all after the split"]
    assert abs(paired.mean()) < 3 * paired.sem() and found["select before"].mean() > 0.9


def test_many_fillings_mend_hdl_and_not_weight(lesson):
    """Missing at random is mended, missing not at random is not."""
    clean, known = lesson["clean"], lesson["known"]
    share = {
        (column, "filled"): (clean[column].groupby(lesson["alike"]).transform(lesson["from_donors"]) < limit).mean()
        for column, limit in (("hdl", 40), ("bmi", 25))
    }
    assert share["hdl", "filled"] == pytest.approx((known["hdl"] < 40).mean(), abs=0.012)
    assert share["bmi", "filled"] < (known["bmi"] < 25).mean() - 0.01


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
    assert isinstance(figure, Figure) and drawn(figure)


def test_panels_of_one_question_share_their_axis():
    figure = plots.intervals({"a": {"x": (0.0, 1.0)}, "b": {"x": (50.0, 1.0)}}, xlabel="points")
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()

"""`Federation.report`: the most harmful first, at most a dozen, and nothing under a promise that nobody paid for."""

import re

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import data
from fedlab_utils.data import oddities, suspects
from fedlab_utils.privacy import RecordDP
from tests.data.helpers import federation, table

# ---------------------------------------------------------------- codes for missing values


def column(values, n=240):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": values, "z": rng.normal(0, 1, n)})
    return data.from_frame(frame.assign(y=(frame["z"] + rng.normal(0, 1, n) > 0).astype(int)), target="y").report


def measured(low=100, high=180, n=240):
    return np.random.default_rng(3).uniform(low, high, n).round(1)


@pytest.mark.parametrize("code", [999, -999, -9, 9999, -1, 0, 99999])
@pytest.mark.parametrize("times", [2, 12])
def test_codes_for_missing_values_are_named_and_kept(code, times):
    values = measured()
    values[10 : 10 + times] = code
    (line,) = [r for r in column(values) if "'x'" in r]
    assert f"'x' is {code} in {times} rows" in line
    assert "far from its other values" in line


@pytest.mark.parametrize(
    "values",
    [
        np.resize([0, 1, 9], 240),
        np.where(np.arange(240) % 9 > 0, np.arange(240) % 5 + 1, 99),
        np.where(np.arange(240) % 9 > 0, measured(0, 10), -9),
        np.where(np.arange(240) == 5, 1e7, measured()),
        np.where(np.arange(240) == 5, 1314, measured()),  # a point was lost
        np.where(np.arange(240) % 6 > 0, measured(), measured() * 100),
        np.where(np.arange(240) % 6 > 0, measured(90, 280), measured(90, 280) / 38.67),  # mmol/L
        np.where(np.arange(240) % 6 > 0, measured(-50, 50), measured(-50, 50) + 1e4),
    ],
)
def test_other_values_far_from_all_others_are_named(values):
    assert any("far from its other values" in r for r in column(values))


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).poisson(2, 240),
        np.random.default_rng(0).poisson(0.3, 240),
        np.random.default_rng(0).negative_binomial(1, 0.05, 240),
        np.random.default_rng(0).lognormal(3, 1.5, 240),
        np.random.default_rng(0).normal(0, 5, 240).round(),
        np.random.default_rng(0).integers(0, 1000, 240),
        np.resize([1, 2, 3, 4], 240),
        np.resize([-1, 0, 1], 240),
        np.resize([0, 0, 0, 20, 40, 60], 240),
        np.random.default_rng(0).integers(18, 100, 240),
    ],
)
def test_ordinary_numbers_are_left_in_peace(values):
    assert column(values) == []


def test_long_tails_are_left_in_peace():
    for rng in map(np.random.default_rng, range(50)):
        pareto = rng.pareto(0.8, 240) * 100
        tails = dict(a=pareto, b=np.maximum(pareto - 50, 0), c=rng.standard_cauchy(240), d=rng.gamma(0.3, 10, 240))
        assert suspects.sentinels(pd.DataFrame(tails).round(1).assign(a=pareto), list("abcd")) == []


def test_rows_that_repeat_another_are_counted():
    frame = table().drop(columns="row").assign(score=measured(), bp=measured(0, 50))
    twice = pd.concat([frame, frame.head(9)], ignore_index=True)
    assert federation(twice).report[0].startswith("9 rows repeat another one")
    assert not any("repeat" in r for r in federation(frame).report)
    few = frame[["sex", "ward", "ill", "treated"]]  # where there is little to say, many say the same
    assert not any("repeat" in r for r in federation(few).report)


def test_numbers_that_lose_digits_are_named():
    large = np.random.default_rng(0).integers(2**60, 2**61, 240)
    assert any("above 2**53" in r for r in column(large))
    assert any("above 2**53" in r for r in column([int(v) + 2**70 for v in large]))
    some = federation(table().assign(large=large), bounds={"large": (2**60, 2**60 + 2**59)})
    assert some.pooled().train["large"].between(2**60, 2**60 + 2**59).all()


def test_codes_and_dates_written_as_numbers_are_named():
    dates = [int(f"2024{1 + k % 12:02d}{1 + k % 28:02d}") for k in range(240)]
    assert any("like dates written as numbers" in r for r in column(dates))
    rng = np.random.default_rng(0)
    frame = table().assign(ward_code=rng.integers(1, 6, 240), age=lambda f: f["age"].fillna(60))
    assert any("'ward_code'" in r and "categories=" in r for r in federation(frame).report)


# ---------------------------------------------------------------- order and length


def test_the_most_harmful_comes_first():
    frame = table().assign(
        constant=1.0,
        smoker=lambda f: f["smoker"].where(f["row"] != 3, "?"),
        ill=lambda f: np.where(f["ill"], "ill", "well"),
    )
    report = federation(frame).report
    wanted = ["positive one", "different in every row", "Counted as missing", "mean: age"]
    found = [next(k for k, line in enumerate(report) if words in line) for words in wanted]
    assert found == sorted(found) and found[:3] == [0, 1, 2]


def test_at_most_a_dozen_and_the_rest_counted():
    frame = table()
    for k in range(14):
        frame[f"x{k}"] = np.where(np.arange(240) % 50 == k, "?", np.random.default_rng(k).normal(0, 1, 240).astype(str))
    some = federation(frame)
    assert len(some.report) == oddities.MOST_LINES and len(some.remarks) > 14
    left = int(re.match(r"(\d+) more remarks are in federation.remarks", some.report[-1])[1])
    assert some.report[:-1] == list(some.remarks[: len(some.remarks) - left])
    assert federation().report == list(federation().remarks)


@pytest.mark.parametrize("name", ["hospital_network", "heart_disease"])
def test_the_data_sets_say_what_their_cards_say(name):
    if name == "heart_disease":
        pytest.importorskip("pooch")
        try:
            report = data.load(name).report
        except OSError:
            pytest.skip("heart_disease is not here")
        assert [r.split(":")[0] for r in report] == [
            "Recorded zeros count as missing",
            "slope, ca and thal are left out",
            "Missing numbers were replaced by the mean",
            "Missing categories are 0 in all of their columns",
        ]
    else:
        assert data.load(name).report == [
            "304 of 12441 records repeat another of their hospital and were dropped.",
            "Missing numbers were replaced by the mean: systolic_bp 179, total_cholesterol 1227, hdl 2003, bmi 745.",
            "Missing categories are 0 in all of their columns: smoker 499.",
        ]
        assert data.load("breast_cancer").report == data.load("diabetes").report == []


# ---------------------------------------------------------------- under a promise


def test_nothing_about_rows_is_said_under_a_promise():
    some = data.load("hospital_network", statistics=RecordDP(1.0))
    own = table().drop(columns="row").assign(smoker=lambda f: f["smoker"].where(f.index != 3, "?"))
    bounds = dict(age=(20, 100), pressure=(1000, 1300), treated=(0, 1))
    known = dict(bounds=bounds, categories={"smoker": ["never", "former", "current"], "sex": ["f", "m"]})
    mine = federation(own, **known, statistics=RecordDP(1.0))
    assert len(federation(own, **known).report) > 1
    many = data.replicates(own, 2, target="ill", hospital="ward", **known, statistics=RecordDP(1.0))
    for quiet in (some, mine, mine.repartition(3, None), *many):
        assert quiet.report == list(quiet.remarks) == [oddities.UNPAID] and quiet.notes == ()
    assert not re.search(r"\d", oddities.UNPAID)

"""Columns become numbers and come back exactly."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import data, fidelity, synth
from fedlab_utils.data import Schema
from fedlab_utils.synth import encoding, grids
from tests.synth.helpers import QUICK, patients


def test_every_kind_of_column_comes_back_exactly():
    frame = patients()
    encoder = encoding.learn(frame)
    back = encoder.decode(encoder.encode(frame, seed=3))
    assert (back.dtypes.map(str) == frame.dtypes.map(str)).all()
    exact = frame.columns.drop("marker")
    pd.testing.assert_frame_equal(back[exact], frame[exact])
    np.testing.assert_allclose(back["marker"], frame["marker"], atol=2e-5)
    assert encoding.Encoder.from_json(json.loads(json.dumps(encoder.as_json()))) == encoder


WHOLE = st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=60)


DECIMAL = st.lists(st.integers(-(10**5), 10**5).map(lambda k: k / 100), min_size=2, max_size=60)


TEXT = st.lists(st.sampled_from(["a", "b", "c d", "d1", "ü", " x"]), min_size=2, max_size=60)


FLAG = st.lists(st.booleans(), min_size=2, max_size=60)


@settings(max_examples=120, deadline=None)
@given(values=st.one_of(WHOLE, DECIMAL, TEXT, FLAG), gaps=st.lists(st.booleans(), max_size=60), seed=st.integers(0, 9))
def test_round_trip_of_any_column(values, gaps, seed):
    column = pd.Series(values)
    missing = np.zeros(len(values), bool)
    missing[: len(gaps)] = gaps[: len(values)]
    if missing.any() and not missing.all():
        column = column.astype(float if column.dtype.kind == "i" else object if column.dtype == bool else column.dtype)
        column[missing] = np.nan
    frame = pd.DataFrame({"c": column})
    encoder = encoding.learn(frame, seed=seed)
    encoded = encoder.encode(frame, seed=seed)
    assert encoded.shape == (len(frame), encoder.width) and np.isfinite(encoded).all()
    back = encoder.decode(encoded)["c"]
    assert str(back.dtype) == str(column.dtype)
    assert (back.isna() == column.isna()).all()
    if encoder["c"].is_number:  # within the float32 of a network's output
        furthest = 1e-5 * column.abs().max() + 1e-9
        np.testing.assert_allclose(back.astype(float), column.astype(float), rtol=0, atol=furthest)
    else:
        assert back.dropna().tolist() == [v.strip() if isinstance(v, str) else v for v in column.dropna()]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.arange(50) * 25, 25),
        (np.arange(50) * 0.1, 0.1),
        (1000 + np.arange(50) * 2.5, 2.5),
        ((np.arange(50) / 100).astype("float32"), 0.01),
        (np.arange(50) * 10**12, 10**12),
    ],
)
def test_granularity_is_found(values, step):
    frame = pd.DataFrame({"x": values})
    encoder = encoding.learn(frame)
    assert encoder["x"].step == step
    np.testing.assert_allclose(encoder.decode(encoder.encode(frame))["x"], values, rtol=1e-7)


def test_numbers_of_two_granularities_keep_both():
    rng = np.random.default_rng(0)
    fine = rng.random(600) < 0.3
    x = np.where(fine, np.round(0.3867 * rng.integers(200, 900, 600), 4), rng.integers(80, 350, 600))
    frame = pd.DataFrame({"x": x, "y": np.where(rng.random(600) < 0.2, np.nan, x + 7), "fine": fine})
    encoder = encoding.learn(frame)
    assert encoder["x"].coarse == encoder["y"].coarse == 1 and encoder["x"].step == 0.0001
    assert ("x", "granularity", "1 or 0.0001") in encoder.learnt
    assert encoder.choices == [(1, 3, False), (4, 7, True), (7, 9, False)]
    np.testing.assert_allclose(encoder.decode(encoder.encode(frame))[["x", "y"]], frame[["x", "y"]], atol=2e-4)
    quick = {"steps": 400, "hidden": (32,), "lr": 2e-3}
    for method, options in (("wgan_gp", quick), ("copula", {}), ("interpolate", {})):
        made = synth.fit(frame, method=method, **options).sample(2000)
        for column in ("x", "y"):
            there = made[made[column].notna()]
            is_round = there[column] % 1 == 0
            assert abs(is_round.mean() - 0.7) < 0.1, (method, column)
            assert method == "copula" or (is_round != there["fine"]).mean() > 0.85, (method, column)


@pytest.mark.parametrize(
    "values", [np.arange(90) / 10, np.arange(90) / 2, np.arange(90) * 2.5, np.r_[np.zeros(50), np.arange(40) / 7]]
)
def test_one_granularity_is_one(values):
    assert encoding.learn(pd.DataFrame({"x": values}))["x"].coarse == 0


def few(n, seed=0):
    """A lab value of 90 irregular values (what short floats leave of tenths), and one that goes with it."""
    lab = np.unique(np.float16(np.arange(5, 95) / 10 + 0.01).astype(float)) ** 1.5
    rng = np.random.default_rng(seed)
    x, noise, luck = rng.normal(size=(3, n))
    where = np.clip(len(lab) / 2 + 15 * x, 0, len(lab) - 1).astype(int)
    return pd.DataFrame(
        {"lab": lab[where], "age": np.round(60 + 8 * x + 8 * noise), "event": (x + noise + 2 * luck > 0) * 1}
    )


@pytest.mark.parametrize("method", ["gan", "wgan_gp", "independent", "copula", "interpolate"])
@pytest.mark.parametrize("transform", ["quantile", "linear"])
def test_few_irregular_values_are_the_only_ones_made(method, transform):
    frame = few(800)
    made = synth.fit(frame, method=method, transform=transform, **QUICK)
    assert set(made.sample(2000)["lab"]) <= set(frame["lab"])
    assert ("lab", "support", f"{frame['lab'].nunique()} values") in made.encoder.learnt
    assert (made.encoder.decode(made.encoder.encode(frame))["lab"] == frame["lab"]).all()


def test_a_trained_eye_no_longer_tells_few_irregular_values(monkeypatch):
    def auc():
        made = synth.fit(few(800), method="interpolate").sample(800)
        report = fidelity.report(few(800), made, target="event", holdout=few(600, 1))
        return report.set_index("measure").loc["two-sample AUC", "value"]

    assert auc() < 0.6
    monkeypatch.setattr(grids, "_support", lambda *a: ())
    assert auc() > 0.8  # as it was


def test_of_two_granularities_the_finer_ones_keep_their_values():
    rng = np.random.default_rng(0)
    converted = np.round(38.67 * rng.integers(30, 80, 900) / 10, 4)  # tenths of mmol/l in mg/dl
    frame = pd.DataFrame({"x": np.where(rng.random(900) < 0.4, converted, rng.integers(110, 310, 900))})
    made = synth.fit(frame, method="copula").sample(2000)["x"]
    assert set(made[made % 1 != 0]) <= set(frame["x"]) and 0.3 < (made % 1 != 0).mean() < 0.5


@pytest.mark.parametrize(
    "values",
    [
        np.arange(400) % 60,  # a full grid of whole numbers
        np.random.default_rng(0).normal(size=400),  # all different
        np.random.default_rng(0).normal(50, 9, 400).round(1),  # one decimal
        np.random.default_rng(0).geometric(0.02, 400),  # a long tail of whole numbers
        np.r_[np.full(300, 0.3), np.random.default_rng(0).random(100)],  # many of one value, the rest all different
    ],
    ids=["grid", "continuous", "one decimal", "long tail", "one heap"],
)
def test_ordinary_columns_have_no_list_of_values(values):
    encoder = encoding.learn(pd.DataFrame({"x": values}))
    assert encoder["x"].support == () and "support" not in {what for _, what, _ in encoder.learnt}


def test_a_public_list_of_values_is_not_learnt():
    doses = [0.0, 0.3, 0.7, 1.1, 2.9, 4.3, 5.1, 7.7, 9.1, 12.3, 14.1, 20.3]
    frame = pd.DataFrame({"dose": np.random.default_rng(0).choice(doses[:-1], 60)})
    known = Schema(bounds={"dose": (0, 25)}, granularity={"dose": doses})
    encoder = encoding.learn(frame, known=known, transform="linear")
    assert encoder.learnt == () and encoder["dose"].support == tuple(doses)
    assert set(encoder.decode(np.linspace(-4, 4, 999)[:, None])["dose"]) == set(doses)
    with pytest.raises(ValueError, match=r"'dose' holds 5.1, which is none of the 2 values of granularity\['dose'\]"):
        encoding.learn(
            frame.assign(dose=[5.1, 1.1] * 30), known=Schema(granularity={"dose": (1.1, 2.9)}, numeric=("dose",))
        )


def test_tiny_numbers_do_not_become_zero():
    values = np.random.default_rng(0).random(50) * 1e-14
    frame = pd.DataFrame({"x": values})
    encoder = encoding.learn(frame)
    np.testing.assert_allclose(encoder.decode(encoder.encode(frame))["x"], values, atol=1e-19)


def test_normal_scores_are_normal_and_linear_ones_only_moved():
    frame = pd.DataFrame({"x": np.random.default_rng(0).exponential(size=4000).round(2)})
    score = encoding.learn(frame).encode(frame)[:, 0]
    assert abs(score.mean()) < 0.02 and abs(score.std() - 1) < 0.02 and abs((score**3).mean()) < 0.1
    linear = encoding.learn(frame, transform="linear").encode(frame)[:, 0]
    assert np.corrcoef(linear, frame["x"])[0, 1] > 0.99999


def test_learnt_names_what_public_knowledge_did_not_give():
    frame = patients()[["age", "sex"]]
    learnt = encoding.learn(frame).learnt
    assert {(c, what) for c, what, _ in learnt} == {
        ("age", "type"), ("age", "bounds"), ("age", "granularity"), ("age", "quantiles"),
        ("sex", "type"), ("sex", "categories"),
    }  # fmt: skip
    known = Schema(bounds={"age": (0, 120)}, categories={"sex": ("male", "female")}, granularity={"age": 1})
    encoder = encoding.learn(frame, known=known, transform="linear")
    assert encoder.learnt == ()
    assert (encoder["age"].low, encoder["age"].high, encoder["sex"].values) == (0, 120, ("male", "female"))


def test_a_federations_schema_is_public_knowledge():
    federation = data.load("diabetes")
    hospital = federation.hospitals[0]
    made = synth.fit(hospital.train, schema=federation.schema, label=federation.target, **QUICK)
    assert "type" not in set(made.learnt["what"])
    assert list(made.sample(50).columns) == list(hospital.train.columns)


def test_that_a_value_can_be_missing_may_be_public():
    frame = patients()
    known = Schema(gaps=("age", "bmi"))
    encoder = encoding.learn(frame, known=known)
    learnt = [name for name, what, _ in encoder.learnt if what == "missing"]
    assert encoder["age"].missing and encoder["bmi"].missing and "bmi" not in learnt and "smoker" in learnt
    assert encoder.decode(encoder.encode(frame, seed=3))["age"].notna().all()
    with pytest.raises(ValueError, match="'aeg', which is not a column"):
        encoding.learn(frame, known=Schema(gaps=("aeg",)))

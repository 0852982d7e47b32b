"""Any table becomes a federation, or is refused in one sentence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from fedlab_utils import data
from tests.data.helpers import expected, federation, rows, same, table

CELLS = {
    "number": st.one_of(st.none(), st.integers(-10_000, 10_000).map(lambda k: k / 8)),
    "whole": st.integers(-50, 50),
    "flag": st.one_of(st.none(), st.booleans()),
    "text": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d "])),
}


# ---------------------------------------------------------------- any table


@st.composite
def tables(draw):
    n = draw(st.integers(6, 40))
    columns = {}
    for k, kind in enumerate(draw(st.lists(st.sampled_from(sorted(CELLS)), min_size=1, max_size=4))):
        column = pd.Series(draw(st.lists(CELLS[kind], min_size=n, max_size=n)), dtype=object)
        if column.isna().all():
            column[0] = {"number": 1.5, "flag": True, "text": "a"}[kind]
        if kind in ("number", "whole"):
            column = column.astype(draw(st.sampled_from(["float64", "Float64"])))
        elif kind == "flag" and draw(st.booleans()):
            column = column.astype("boolean")
        elif kind == "text" and draw(st.booleans()):
            column = column.astype("category")
        columns[f"x{k}"] = column
    values = draw(st.sampled_from([[0, 1], ["no", "yes"], [False, True], ["a", "b", "c"], list(np.arange(40) / 7)]))
    target = draw(st.lists(st.sampled_from(values), min_size=n, max_size=n))
    target[:3] = values[:3] if len(values) > 2 else [*values, values[0]]
    columns["y"] = target
    return pd.DataFrame(columns).assign(row=np.arange(n))


@settings(max_examples=60)
@given(tables(), st.integers(1, 4), st.sampled_from([None, 0.1, 1.0]), st.integers(0, 5))
def test_any_mixed_table(frame, n_hospitals, alpha, seed):
    build = dict(target="y", n_hospitals=n_hospitals, alpha=alpha, seed=seed)
    some = data.from_frame(frame, **build)
    sets = rows(some)
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(frame)
    pooled = some.pooled()
    for X, part in ((pooled.X_train, pooled.train), (pooled.X_test, pooled.test)):
        assert torch.isfinite(X).all()
        np.testing.assert_allclose(X, expected_or_empty(some, part), atol=1e-6, rtol=1e-6)
    assert all(len(h.train) + len(h.test) >= min(2, len(frame) // n_hospitals) for h in some.hospitals)
    assert same(some, data.from_frame(frame, **build))


def expected_or_empty(some, frame):
    """As `expected`; a column without any value in the training rows is 0, or left out if it is text.

    One with the same value in all training rows is 0 in every row: scikit-learn would feed another value raw."""
    train = some.pooled().train
    empty = [c for c in some.schema.numeric if train[c].isna().all()]
    absent = [c for c in some.schema.categorical if train[c].isna().all()]
    schema = some.schema
    keep = {
        "numeric": tuple(c for c in schema.numeric if c not in empty),
        "categorical": tuple(c for c in schema.categorical if c not in absent),
    }
    fitted = expected(_with_schema(some, keep), frame) if len(frame) else np.zeros((0, some.n_features - len(empty)))
    for column in empty:
        fitted = np.insert(fitted, schema.numeric.index(column), 0.0, axis=1)
    alike = [k for k, c in enumerate(schema.numeric) if train[c].astype(float).nunique() == 1]
    fitted[:, alike] = 0
    return fitted


def _with_schema(some, keep):
    return replace(some, schema=replace(some.schema, **keep))


def test_many_kinds_of_columns():
    frame = table().assign(
        nullable=pd.array([1, None, 3, 4] * 60, dtype="Int64"),
        maybe=pd.array([True, None, False, True] * 60, dtype="boolean"),
        mixed=[True, None, False, 1.0] * 60,
        level=pd.Categorical(["low", "high", None, "low"] * 60),
        blank=["x", " ", "y", "x"] * 60,
    )
    frame[7] = 1.5
    some = federation(frame)
    assert {"nullable", "maybe"} <= set(some.schema.numeric) and {"level", "blank"} <= set(some.schema.categorical)
    assert some.pooled().train["blank"].isna().any()  # blank text is missing
    assert "7" in some.feature_names


def test_a_hundred_thousand_rows():
    n, rng = 100_000, np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(n, 16)), columns=[f"x{k}" for k in range(16)])
    frame = frame.assign(**{f"c{k}": rng.choice(list("abcdef"), n) for k in range(4)}, y=rng.random(n) < 0.3)
    some = data.from_frame(frame, target="y")
    assert sum(len(h.train) + len(h.test) for h in some.hospitals) == n and some.n_features == 16 + 24


# ---------------------------------------------------------------- tasks


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([3, 7], "binary", (3, 7)),
        ([True, False], "binary", (False, True)),
        (["sick", "healthy"], "binary", ("healthy", "sick")),
        ([2, 0, 1], "multiclass", (0, 1, 2)),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        ([0.5, 1.5, 2.5], "regression", ()),
        (list(range(21)), "regression", ()),
        (pd.Categorical([10, 9]), "binary", (9, 10)),
    ],
)
def test_the_task_follows_from_the_target(values, task, classes):
    frame = table().drop(columns="ill")
    target = pd.Series(np.resize(np.asarray(values), len(frame)))
    frame["y"] = target.astype("category") if isinstance(values, pd.Categorical) else target
    some = federation(frame, target="y")
    assert some.task == task and some.classes == classes
    if task != "regression":
        seen = sorted(set(torch.cat([h.y_train for h in some.hospitals]).ravel().tolist()))
        assert seen == list(range(len(classes)))


def test_a_public_order_of_classes():
    frame = table().assign(ill=lambda f: np.where(f["ill"], "sick", "well"))
    assert federation(frame).classes == ("sick", "well")
    assert federation(frame, categories={"ill": ["well", "sick"]}).classes == ("well", "sick")
    assert data.load("hospital_network", target="diagnosis").classes[0] == "none"


def test_regression_targets_are_standardised_by_agreed_numbers():
    some = data.load("diabetes", target="progression")
    pooled = some.pooled()
    scaler = StandardScaler().fit(pooled.train[["progression"]].to_numpy())
    np.testing.assert_allclose(pooled.y_test, scaler.transform(pooled.test[["progression"]].to_numpy()), atol=1e-5)
    assert any("progression" in m.payload for m in some.messages)
    assert "progression" not in some.feature_names


def test_the_other_outcome_is_no_feature():
    for target, other in (("cvd_event", "diagnosis"), ("diagnosis", "cvd_event")):
        some = data.load("hospital_network", target=target)
        assert some.hospitals[0].train.columns[-1] == target and other not in some.hospitals[0].train
        assert not any(f.startswith((target, other)) for f in some.feature_names)


# ---------------------------------------------------------------- refused in one sentence


BAD = {
    "not a frame": (lambda f: f.to_numpy(), {}, "DataFrame"),
    "no rows": (lambda f: f.head(0), {}, "empty"),
    "columns twice": (
        lambda f: f.rename(columns={"age": "pressure"}),
        {},
        "'pressure' occurs more than once",
    ),
    "names equal as text": (lambda f: f.rename(columns={"age": 1, "pressure": "1"}), {}, "more than once"),
    "unknown target": (None, {"target": "illness"}, "target='illness'"),
    "unknown hospital": (None, {"hospital": "clinic"}, "hospital='clinic'"),
    "target is hospital": (None, {"target": "ward"}, "two columns"),
    "no features": (lambda f: f[["ward", "ill"]], {}, "no feature columns"),
    "constant target": (lambda f: f.assign(ill=1), {}, "1 in every row"),
    "empty target": (lambda f: f.assign(ill=None), {}, "no values"),
    "text target": (lambda f: f.assign(ill=f["row"].mod(40).map("d{}".format)), {}, "40 different values"),
    "infinite target": (lambda f: f.assign(ill=f["age"].replace(f["age"].max(), np.inf)), {}, "infinite"),
    "date target": (lambda f: f.assign(ill=pd.Timestamp("2020-01-01")), {}, "dates"),
    "all missing": (lambda f: f.assign(age=np.nan), {}, "'age' has no values"),
    "all missing text": (lambda f: f.assign(smoker=" "), {}, "'smoker' has no values"),
    "infinite": (lambda f: f.assign(age=f["age"].fillna(np.inf)), {}, "'age' holds infinite"),
    "dates": (lambda f: f.assign(born=pd.Timestamp("1960-01-01")), {}, "'born' holds dates"),
    "dates as objects": (
        lambda f: f.assign(born=pd.Timestamp("1960-01-01").date()),
        {},
        "'born' holds dates",
    ),
    "spans": (lambda f: f.assign(stay=pd.Timedelta("1D")), {}, "'stay' holds dates or times"),
    "lists": (lambda f: f.assign(codes=[[1]] * len(f)), {}, "type list"),
    "identifier": (lambda f: f.assign(name=f["row"].map("p{}".format)), {}, "identifier"),
    "numbers and text": (
        lambda f: f.assign(bp=(f["row"] % 90).astype(str) + np.where(f["row"] % 3, "", "x?")),
        {},
        "pd.to_numeric",
    ),
    "nameless hospital": (lambda f: f.assign(ward=f["ward"].replace("A", None)), {}, "no name"),
    "blank hospital": (lambda f: f.assign(ward=f["ward"].replace("A", " ")), {}, "no name"),
    "hospital without target": (
        lambda f: f.assign(ill=f["ill"].where(f["ward"] != "D")),
        {},
        "'D' has no row",
    ),
    "empty hospital": (lambda f: f.assign(ward=pd.Categorical(f["ward"], [*"ABCDE"])), {}, "'E' has no row"),
    "reserved name": (lambda f: f.assign(ward=f["ward"].replace("A", "all")), {}, "'all'"),
    "alpha and hospital": (None, {"alpha": 1.0}, "alpha=1.0"),
    "too many hospitals": (None, {"hospital": None, "n_hospitals": 241}, "n_hospitals=241"),
    "no hospitals": (None, {"hospital": None, "n_hospitals": 0}, "n_hospitals"),
    "half a hospital": (None, {"hospital": None, "n_hospitals": 2.5}, "2.5"),
    "alpha 0": (None, {"hospital": None, "alpha": 0}, "alpha"),
    "alpha negative": (None, {"hospital": None, "alpha": -1.0}, "-1.0"),
    "alpha text": (None, {"hospital": None, "alpha": "1"}, "alpha"),
    "seed": (None, {"seed": -1}, "seed"),
    "bounds upside down": (None, {"bounds": {"age": (90, 10)}}, "low < high"),
    "bounds not a pair": (None, {"bounds": {"age": 90}}, "low < high"),
    "bounds for text": (None, {"bounds": {"sex": (0, 1)}}, "categories, not numbers"),
    "bounds for nothing": (None, {"bounds": {"height": (0, 1)}}, "'height'"),
    "categories for nothing": (None, {"categories": {"height": ["a"]}}, "'height'"),
    "categories as text": (None, {"categories": {"sex": "fm"}}, "list of values"),
    "categories twice": (None, {"categories": {"sex": ["f", "m", "f"]}}, "twice"),
    "both": (None, {"categories": {"age": [60]}, "bounds": {"age": (0, 90)}}, "both bounds and categories"),
    "unknown class": (None, {"categories": {"ill": ["0", "1"]}}, "none of"),
    "clash of names": (lambda f: f.assign(sex_m=1.0), {}, "'sex_m'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_get_one_sentence(case):
    change, arguments, says = BAD[case]
    frame = table() if change is None else change(table())
    with pytest.raises(ValueError) as error:
        federation(frame, **arguments)
    assert_one_sentence(error, says)


def assert_one_sentence(error, says):
    message = str(error.value)
    assert says in message
    assert message.endswith(".") and ". " not in message and "\n" not in message and len(message) < 400


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: data.load("hospital"), "no data set 'hospital'"),
        (lambda: data.load_raw("hospital"), "no data set 'hospital'"),
        (lambda: data.load("breast_cancer", target="age"), "target='age'"),
        (lambda: data.load("breast_cancer", protocol="flamby"), "protocol='flamby'"),
        (lambda: data.load("heart_disease", protocol="other"), "protocol='other'"),
        (lambda: data.replicates("breast_cancer", 0), "n must be"),
        (lambda: data.load("breast_cancer").repartition(1000, None), "n_hospitals=1000"),
        (lambda: data.load("breast_cancer").repartition(4, 0), "alpha"),
        (lambda: federation().transform(table().drop(columns="age")), "'age'"),
        (lambda: federation().transform(table().assign(age="old")), "'age' must hold numbers"),
        (lambda: federation().transform(table().assign(age=np.inf)), "'age' holds infinite"),
        (lambda: federation().replace_train([table()]), "one for each"),
        (lambda: federation().replace_train({"A": table()}), "table for each"),
        (lambda: federation().replace_train([table().head(0)] * 4), "no rows"),
        (lambda: federation().replace_train([table().drop(columns="ill")] * 4), "'ill'"),
        (lambda: federation().replace_train([table().assign(ill=2)] * 4), "holds 2"),
        (lambda: federation().replace_train([table().drop(columns="age")] * 4), "'age'"),
    ],
)
def test_bad_calls_get_one_sentence(call, says):
    with pytest.raises(ValueError) as error:
        call()
    assert_one_sentence(error, says)

"""Tables become federations: exactly, without leaks, and with one sentence where they cannot."""

import inspect
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedlab_utils import data, partition, simulate
from fedlab_utils.privacy import Ledger


def table(n=240, seed=0):
    """A small mixed table with four hospitals, missing values and an id that tells rows apart."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 9, n).round(1)
    frame = pd.DataFrame(
        {
            "row": np.arange(n),
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "pressure": rng.normal(130, 20, n) + 1000,
            "smoker": rng.choice(["never", "former", "current"], n),
            "sex": rng.choice(["f", "m"], n),
            "treated": rng.random(n) < 0.4,
            "ward": rng.choice(["A", "B", "C", "D"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "ill": (age + rng.normal(0, 9, n) > 60).astype(int),
        }
    )
    frame.loc[rng.random(n) < 0.1, "smoker"] = None
    return frame


def federation(frame=None, **more):
    return data.from_frame(table() if frame is None else frame, **({"target": "ill", "hospital": "ward"} | more))


def rows(some):
    return [set(f["row"].astype(int)) for h in some.hospitals for f in (h.train, h.test)]


def same(one, other):
    names = [h.name for h in one.hospitals] == [h.name for h in other.hospitals]
    tensors = ("X_train", "y_train", "X_test", "y_test")
    return names and all(
        torch.equal(getattr(a, t), getattr(b, t))
        for a, b in zip(one.hospitals, other.hospitals, strict=True)
        for t in tensors
    )


# --- what everyone relies on --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "target", "task", "n_hospitals", "n_rows"),
    [
        ("hospital_network", None, "binary", 5, None),
        ("hospital_network", "diagnosis", "multiclass", 5, None),
        ("breast_cancer", None, "binary", 5, 569),
        ("diabetes", None, "binary", 5, 442),
        ("diabetes", "progression", "regression", 5, 442),
    ],
)
def test_named_data_sets_keep_the_contract(name, target, task, n_hospitals, n_rows):
    some = data.load(name, target=target)
    assert some.task == task and len(some.hospitals) == n_hospitals
    assert some.n_features == len(some.feature_names) == len(set(some.feature_names))
    for h in some.hospitals:
        for X, y, frame in ((h.X_train, h.y_train, h.train), (h.X_test, h.y_test, h.test)):
            assert X.dtype == y.dtype == torch.float32
            assert X.shape == (len(frame), some.n_features) and y.shape == (len(frame), 1)
            assert torch.isfinite(X).all() and torch.isfinite(y).all()
            assert torch.equal(X, some.transform(frame))
            if task != "regression":
                assert [some.classes[int(k)] for k in y] == frame[some.target].tolist()
        assert 0.3 < len(h.test) / (len(h.test) + len(h.train)) < 0.37
    if n_rows:
        assert sum(len(h.train) + len(h.test) for h in some.hospitals) == n_rows
    assert same(some, data.load(name, target=target))
    assert not same(some, data.load(name, target=target, seed=1))


def test_names_and_raw_tables():
    assert data.names() == ["hospital_network", "breast_cancer", "diabetes", "heart_disease"]
    assert "national_id" in data.load_raw("hospital_network")
    assert len(data.load_raw("breast_cancer")) == 569 and len(data.load_raw("diabetes")) == 442
    spoilt = data.load_raw("hospital_network")
    spoilt["age"] = 0  # a copy: the next one is untouched
    assert "age" not in data.load_raw("hospital_network")


def test_the_published_median_halves_the_diabetes_table():
    raw = data.load_raw("diabetes")
    assert raw["target"].median() == data.sources.DIABETES_MEDIAN


def test_malignant_is_the_positive_class():
    some = data.load("breast_cancer").pooled()
    assert torch.cat([some.y_train, some.y_test]).sum() == 212  # 212 malignant and 357 benign in the data card


def test_pooled_is_all_hospitals_in_order():
    some = data.load("hospital_network")
    pooled = some.pooled()
    assert torch.equal(pooled.X_train, torch.cat([h.X_train for h in some.hospitals]))
    assert torch.equal(pooled.y_test, torch.cat([h.y_test for h in some.hospitals]))
    assert torch.equal(pooled.X_test, some.transform(pooled.test))
    assert torch.equal(pooled.true_risk, torch.cat([h.true_risk for h in some.hospitals]))


def test_rows_train_or_test_and_none_is_lost():
    sets = rows(federation())
    assert sum(map(len, sets)) == 240 and len(set.union(*sets)) == 240


def test_split_is_stratified_within_each_hospital():
    some = data.load("hospital_network")
    for h in some.hospitals:
        assert abs(h.y_train.mean() - h.y_test.mean()) < 1.5 / len(h.y_test)


def test_a_federation_cannot_be_changed():
    some = federation()
    with pytest.raises(AttributeError):
        some.hospitals = ()
    with pytest.raises(AttributeError):
        some.hospitals[0].name = "other"


# --- statistics: exact, from training rows alone, and nothing but sums leaves -------------------------------


def expected(some, frame):
    """The same by scikit-learn on the pooled training rows."""
    train = some.pooled().train
    numeric, text = list(some.schema.numeric), list(some.schema.categorical)
    scaler = make_pipeline(SimpleImputer(), StandardScaler()).fit(train[numeric].astype(float))
    blocks = [scaler.transform(frame[numeric].astype(float))] if numeric else []
    for column in text:
        encoder = OneHotEncoder(drop="if_binary", sparse_output=False).fit(train[[column]].dropna())
        known = frame[column].isin(encoder.categories_[0])
        block = np.zeros((len(frame), len(encoder.get_feature_names_out())))
        if known.any():
            block[known] = encoder.transform(frame.loc[known, [column]])
        blocks.append(block)
    return np.hstack(blocks)


def test_agreed_numbers_equal_pooled_fitting():
    some = federation()
    pooled = some.pooled()
    np.testing.assert_allclose(pooled.X_train, expected(some, pooled.train), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(pooled.X_test, expected(some, pooled.test), atol=1e-6, rtol=1e-6)
    scaler = StandardScaler().fit(SimpleImputer().fit_transform(pooled.train[["age", "pressure"]]))
    for k, column in enumerate(["age", "pressure"]):
        assert some.agreed.means[column] == pytest.approx(scaler.mean_[k], rel=1e-12)
        assert some.agreed.sds[column] == pytest.approx(scaler.scale_[k], rel=1e-9)


def test_a_large_mean_does_not_cost_digits():
    frame = table().assign(pressure=lambda f: f["pressure"] + 1e8)
    some = federation(frame)
    assert some.agreed.sds["pressure"] == pytest.approx(some.pooled().train["pressure"].std(ddof=0), rel=1e-6)


def test_test_rows_have_no_say():
    frame = table()
    some = federation(frame)
    in_test = frame["row"].isin(set().union(*rows(some)[1::2]))
    wild = frame.copy()
    wild.loc[in_test, ["age", "pressure"]] = 1e9
    wild.loc[in_test, "smoker"] = "pipe"
    other = federation(wild)
    assert other.agreed == some.agreed and other.feature_names == some.feature_names
    for a, b in zip(some.hospitals, other.hospitals, strict=True):
        assert torch.equal(a.X_train, b.X_train)
    # and the test above can fail: training rows do have a say
    wild = frame.copy()
    wild.loc[~in_test, "age"] += 1
    assert federation(wild).agreed != some.agreed


def test_messages_hold_sums_and_do_not_grow_with_rows():
    frame = table().drop(columns="row")
    few, many = federation(frame), federation(pd.concat([frame] * 20, ignore_index=True))
    assert [m.size for m in few.messages] == [m.size for m in many.messages]
    senders = [m.sender for m in few.messages if m.receiver == "server"]
    assert senders == 2 * [h.name for h in few.hospitals]
    for m in few.messages:
        sent = [v for numbers in m.payload.values() for v in numbers.values()]
        assert len(sent) == m.size and all(isinstance(v, int | float) for v in sent)
        assert not np.isin(sent, frame["pressure"]).any()  # nobody's blood pressure is among them


def test_each_message_to_the_server_is_in_the_ledger_as_not_private():
    some = federation()
    entries = some.ledger.table()
    assert len(some.ledger) == 2 * len(some.hospitals)
    assert set(entries["viewer"]) == {"server"} and set(entries["guarantee"]) == {"not private"}
    assert set(entries["hospital"]) == {h.name for h in some.hospitals}


def test_public_categories_are_not_asked_for():
    public = federation(categories={"smoker": ["never", "former", "current", "pipe"], "sex": ["f", "m"]})
    assert not any({"smoker", "sex"} & m.payload.keys() for m in public.messages)
    assert public.feature_names[-5:] == [
        "smoker_never",
        "smoker_former",
        "smoker_current",
        "smoker_pipe",
        "sex_m",
    ]
    asked = federation()
    assert any("smoker" in m.payload for m in asked.messages)


def test_bounds_are_kept_before_anything_is_learnt():
    some = federation(bounds={"age": (50, 70)})
    pooled = some.pooled()
    assert pooled.train["age"].min() == 50 and pooled.train["age"].max() == 70
    assert some.agreed.means["age"] == pytest.approx(pooled.train["age"].mean())
    assert any("age" in line and "bound" in line for line in some.report)
    outside, inside = (table().head(1).assign(age=a) for a in (500.0, 70.0))
    assert torch.equal(some.transform(outside), some.transform(inside))


def test_codes_named_in_categories_are_one_hot():
    frame = table().assign(pain=lambda f: f["row"] % 4 + 1.0)
    some = federation(frame, categories={"pain": [1, 2, 3, 4]})
    kept = [f for f in some.feature_names if f.startswith("pain")]
    assert kept == ["pain_1", "pain_2", "pain_3", "pain_4"]
    first = some.feature_names.index("pain_1")
    assert some.transform(frame)[:6, first : first + 4].argmax(1).tolist() == [0, 1, 2, 3, 0, 1]


# --- any table ----------------------------------------------------------------------------------------------

CELLS = {
    "number": st.one_of(st.none(), st.integers(-10_000, 10_000).map(lambda k: k / 8)),
    "whole": st.integers(-50, 50),
    "flag": st.one_of(st.none(), st.booleans()),
    "text": st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d "])),
}


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
    """As `expected`; a column without any value in the training rows is 0, or left out if it is text."""
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
        raw = frame[column].astype(float).fillna(0).to_numpy()
        fitted = np.insert(fitted, schema.numeric.index(column), raw, axis=1)
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


# --- tasks --------------------------------------------------------------------------------------------------


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


# --- refused in one sentence --------------------------------------------------------------------------------

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
    "numbers as text": (lambda f: f.assign(bp=f["row"].astype(str).replace("7", "?")), {}, "pd.to_numeric"),
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


# --- odd, but fine, and said --------------------------------------------------------------------------------


def test_a_hospital_with_one_class():
    some = federation(table().assign(ill=lambda f: f["ill"].where(f["ward"] != "B", 1)))
    assert some.hospitals[[h.name for h in some.hospitals].index("B")].y_train.mean() == 1
    assert any("Every training row of B has ill = 1" in line for line in some.report)


def test_hospitals_with_one_two_and_three_rows():
    frame = pd.concat([table(), table(6, seed=1).assign(ward=["one", "two", "two", "three", "three", "three"])])
    some = federation(frame)
    sizes = {h.name: (len(h.X_train), len(h.X_test)) for h in some.hospitals}
    assert sizes["one"] == (1, 0) and sizes["two"] == (1, 1) and sizes["three"] == (2, 1)
    report = " ".join(some.report)
    assert "one has 1 row to train on and 0 to test on" in report and "only training patient" in report


def test_a_category_only_in_test_rows_is_zero_everywhere():
    frame = table()
    in_test = frame["row"].isin(set().union(*rows(federation(frame))[1::2]))
    frame.loc[frame.index[in_test][:2], "smoker"] = "pipe"
    some = federation(frame)
    kept = [k for k, f in enumerate(some.feature_names) if f.startswith("smoker")]
    assert len(kept) == 3
    assert (some.transform(frame[frame["smoker"] == "pipe"])[:, kept] == 0).all()
    assert (some.transform(frame[frame["smoker"] == "never"])[:, kept].sum(1) == 1).all()
    assert any("2 test rows" in line and "pipe" in line for line in some.report)


def test_a_constant_feature_and_rows_without_target():
    frame = table().assign(constant=3.0, ill=lambda f: f["ill"].where(f["row"] >= 5))
    some = federation(frame)
    assert (some.pooled().X_train[:, some.feature_names.index("constant")] == 0).all()
    assert sum(map(len, rows(some))) == 235
    report = " ".join(some.report)
    assert "constant" in report and "5 rows without a target" in report
    assert any("mean: age" in line for line in some.report)
    assert any("smoker" in line for line in some.report)


# --- dealing out, replacing, replicating --------------------------------------------------------------------


def test_repartition_keeps_training_rows_in_training():
    some = federation()
    other = some.repartition(7, 0.3, 1)
    before, after = rows(some), rows(other)
    assert set().union(*before[::2]) == set().union(*after[::2])
    assert set().union(*before[1::2]) == set().union(*after[1::2])
    assert len(other.hospitals) == 7 and sum(map(len, after)) == 240
    assert other.feature_names == some.feature_names
    for column, mean in some.agreed.means.items():
        assert other.agreed.means[column] == pytest.approx(mean, rel=1e-12)
    assert same(other, some.repartition(7, 0.3, 1)) and not same(other, some.repartition(7, 0.3, 2))


def test_alpha_sets_the_skew():
    some = data.load("hospital_network")

    def spread(alpha):
        hospitals = some.repartition(5, alpha, 0).hospitals
        assert all(len(h.X_train) >= 2 for h in hospitals)
        return np.std([h.y_train.mean() for h in hospitals]), [len(h.X_train) for h in hospitals]

    (even, sizes), (mild, _), (strong, _) = spread(None), spread(10.0), spread(0.1)
    assert max(sizes) - min(sizes) <= 1
    assert even < 0.02 < strong and mild < strong
    # dealt out by label, a patient's risk depends on the hospital too
    assert all(h.true_risk is None for h in some.repartition(5, 0.1, 0).hospitals)
    small = data.load("breast_cancer").repartition(20, 0.05, 0).hospitals
    assert min(len(h.X_train) for h in small) == 2  # left alone, some would have none


def test_training_and_test_rows_share_the_skew():
    hospitals = data.load("hospital_network").repartition(4, 0.3, 0).hospitals
    for h in hospitals:
        assert abs(h.y_train.mean() - h.y_test.mean()) < 0.01


def test_regression_is_skewed_by_tenths():
    some = data.load("diabetes", target="progression")

    def spread(alpha):
        return np.std([h.y_train.mean() for h in some.repartition(5, alpha, 0).hospitals])

    assert spread(0.05) > 3 * spread(None)


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 12), st.sampled_from([None, 1e-4, 0.1, 1.0, 1e300]), st.integers(0, 99))
def test_dealing_leaves_nobody_out(n, n_hospitals, alpha, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    shares = partition.draw_shares(3, n_hospitals, alpha, rng)
    owner = partition.deal(codes, shares, n_hospitals, rng, at_least=2)
    counts = np.bincount(owner, minlength=n_hospitals)
    assert len(counts) == n_hospitals and counts.sum() == n and counts.min() >= min(2, n // n_hospitals)


def test_replaced_training_rows_bring_their_own_numbers():
    some = federation()
    shifted = {h.name: h.train.assign(age=h.train["age"] + 10, smoker="never") for h in some.hospitals}
    other = some.replace_train(shifted)
    assert other.agreed.means["age"] == pytest.approx(some.agreed.means["age"] + 10)
    assert other.feature_names == some.feature_names
    for a, b in zip(some.hospitals, other.hospitals, strict=True):
        assert a.test.equals(b.test) and torch.equal(a.y_test, b.y_test)
        assert torch.equal(b.X_test, other.transform(a.test)) and not torch.equal(a.X_test, b.X_test)
    again = some.replace_train([h.train for h in some.hospitals])
    for a, b in zip(some.hospitals, again.hospitals, strict=True):
        torch.testing.assert_close(a.X_train, b.X_train)
        torch.testing.assert_close(a.X_test, b.X_test)


def test_replicates_differ_in_the_split_and_agree_in_the_features():
    frame = table().assign(smoker=lambda f: f["smoker"].where(f["row"] != 3, "pipe"))
    many = data.replicates(frame, 6, target="ill", hospital="ward", seed=5)
    assert len(many) == 6 and len({tuple(f.feature_names) for f in many}) == 1
    assert "smoker_pipe" in many[0].feature_names
    alone = [federation(frame, seed=5 + k) for k in range(6)]
    assert len({tuple(f.feature_names) for f in alone}) == 2  # without care they would not
    assert [rows(f) for f in many] == [rows(f) for f in alone]
    assert len({frozenset(rows(f)[0]) for f in many}) == 6
    assert [f.task for f in data.replicates("diabetes", 2, target="progression")] == ["regression"] * 2
    dealt = data.replicates(frame, 2, target="ill", n_hospitals=3, alpha=1.0)
    assert all(len(f.hospitals) == 3 for f in dealt)


# --- the simulated hospitals --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network():
    raw, truth = simulate.hospital_network()
    clean = data.clean_hospital_network(raw)
    return raw, truth.loc[clean.index], clean


def test_cleaning_recovers_the_truth_where_nothing_is_lost(network):
    _, truth, clean = network
    assert (clean["age"] == truth["age"]).all() and (clean["sex"] == truth["sex"]).all()
    for column in ("bp_treated", "smoker", "diabetes"):
        seen = clean[column].notna()
        assert seen.mean() > 0.8 and (clean.loc[seen, column] == truth.loc[seen, column]).all()
    for column, rounding in (("systolic_bp", 0), ("total_cholesterol", 0.2), ("hdl", 0.2), ("bmi", 0)):
        seen = clean[column].notna()
        assert seen.mean() > 0.7 and (clean[column] - truth[column])[seen].abs().max() <= rounding
    lost = (truth["fault_missing"] | truth["fault_zero"]).to_numpy()
    assert (clean[truth.columns.intersection(clean.columns)].isna().any(axis=1).to_numpy() == lost).all()


def test_each_step_does_one_thing(network):
    raw, truth, clean = network
    assert not data.drop_duplicate_records(raw).duplicated(["hospital", "national_id"]).any()
    assert len(data.drop_duplicate_records(raw)) == len(truth) < len(raw)
    without = data.remove_identifiers(raw)
    assert set(raw) - set(without) == set(simulate.DIRECT_IDENTIFIERS) and "postcode" in without
    aged = data.add_age(raw)
    assert aged["age"].between(30, 74).all() and "birth_date" not in aged
    lakeside = raw["hospital"] == "Lakeside"
    units = data.harmonise_units(raw)
    assert raw.loc[lakeside, "total_cholesterol"].max() < 12 and units.loc[lakeside, "hdl"].min() >= 14
    zeros = raw.loc[raw["hospital"] == "Stonebridge", "hdl"] == 0
    assert zeros.any() and data.zeros_to_missing(raw, ["hdl"])["hdl"].isna().sum() > raw["hdl"].isna().sum()
    assert data.tidy_categories(raw)["sex"].isin(["female", "male"]).all()
    assert not set(simulate.DIRECT_IDENTIFIERS + ["birth_date", "postcode"]) & set(clean)
    assert raw.equals(simulate.hospital_network()[0])  # none of them changes its argument


def test_true_risk_stays_with_its_patient():
    for some in (data.load("hospital_network"), data.load("hospital_network").repartition(3, None, 2)):
        for h in some.hospitals:
            whole = h.test.notna().all(axis=1).to_numpy()
            f = h.test[whole]
            risk = simulate.framingham_risk(
                f["age"],
                f["sex"],
                f["total_cholesterol"],
                f["hdl"],
                f["systolic_bp"],
                f["bp_treated"] == "yes",
                f["smoker"] == "current",
                f["diabetes"] == "yes",
            )
            error = np.abs(risk - h.true_risk.numpy()[whole, 0])
            assert whole.sum() > 50 and error.max() < 0.01  # mmol/L were rounded
    assert data.load("breast_cancer").hospitals[0].true_risk is None


# --- the ledger ---------------------------------------------------------------------------------------------


def test_a_ledger_only_grows_and_never_in_place():
    empty = Ledger()
    one = empty.add("sums", hospital="A", viewer="server", detail="2 numbers")
    two = one.add("model", hospital="A", viewer="outsider")
    assert (len(empty), len(one), len(two)) == (0, 1, 2)
    assert list(two.table().columns) == ["what", "hospital", "viewer", "guarantee", "detail"]
    assert two.table().loc[0, "detail"] == "2 numbers" and (two.table()["guarantee"] == "not private").all()
    assert list(empty.table().columns) == list(two.table().columns)
    with pytest.raises(AttributeError):
        one.entries = ()


def test_public_functions_say_what_they_do():
    for name in data.__all__:
        assert inspect.getdoc(getattr(data, name))

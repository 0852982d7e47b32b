"""Patients with several rows stay on one side, and identifiers are named."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import data
from fedlab_utils.data import partition, reading
from fedlab_utils.privacy import RecordDP


def visits(n_patients=120, most=4, wards=3, seed=0):
    """Patients with one to `most` rows, some of them in two hospitals; `visit` tells the rows apart."""
    rng = np.random.default_rng(seed)
    times = rng.integers(1, most + 1, n_patients)
    person = np.repeat(np.arange(n_patients), times)
    home = rng.integers(0, wards, n_patients)[person]
    ward = np.where(rng.random(len(person)) < 0.1, (home + 1) % wards, home)
    ill = rng.random(n_patients) < 0.3
    frame = pd.DataFrame({
        "nr": [f"P{k}" for k in person],
        "age": rng.normal(60, 9, n_patients).round(1)[person],
        "score": rng.normal(0, 1, len(person)) + ill[person],
        "ward": np.array(list("ABCDEFGH"))[ward],
        "ill": ill[person].astype(int),
        "visit": rng.normal(0, 1, len(person)),
    })  # fmt: skip
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def read(frame=None, **more):
    frame = visits() if frame is None else frame
    return data.from_frame(frame, **dict(target="ill", hospital="ward", patient="nr") | more)


def sides(some, frame):
    """Patients of training and of test rows, by hospital."""
    who = dict(zip(frame["visit"], frame["nr"].astype(str).str.strip(), strict=True))
    return [({who[v] for v in h.train["visit"]}, {who[v] for v in h.test["visit"]}) for h in some.hospitals]


def test_a_patient_is_on_one_side_in_all_hospitals():
    frame = visits()
    many = data.replicates(frame, 2, target="ill", hospital="ward", patient="nr")
    for some in (read(frame), read(frame, seed=3), *many):
        train, test = (set().union(*who) for who in zip(*sides(some, frame), strict=True))
        assert not train & test and len(train | test) == 120
        assert "nr" not in some.hospitals[0].train and not any("nr" in f for f in some.feature_names)
        assert sum(len(h.train) + len(h.test) for h in some.hospitals) == len(frame)
        assert 0.25 < sum(len(h.test) for h in some.hospitals) / len(frame) < 0.42
        shares = [np.concatenate([getattr(h, y) for h in some.hospitals]).mean() for y in ("y_train", "y_test")]
        assert abs(shares[0] - shares[1]) < 0.08  # as far as patients of many rows let it
    loose = data.from_frame(frame.drop(columns="nr"), target="ill", hospital="ward")
    train, test = (set().union(*who) for who in zip(*sides(loose, frame), strict=True))
    assert train & test  # without care they are on both


def test_rows_a_patient_are_counted():
    frame = visits()
    some = read(frame)
    who = pd.Series([p for h in some.hospitals for p in h.train_patients])
    assert some.rows_a_patient == who.value_counts().max() == 4
    assert [len(h.train) for h in some.hospitals] == [len(h.train_patients) for h in some.hospitals]
    assert any("several rows, up to 4" in r and "promise for a record is weaker" in r for r in some.report)
    assert data.from_frame(frame.drop(columns="nr"), target="ill", hospital="ward").rows_a_patient is None
    once = read(frame.drop_duplicates("nr"))
    assert once.rows_a_patient == 1 and not any("several rows" in r for r in once.report)
    assert some.replace_train([h.train for h in some.hospitals]).rows_a_patient is None


def test_a_patient_goes_to_one_hospital_where_rows_are_dealt_out():
    frame = visits().drop(columns="ward")
    for alpha in (None, 0.3):
        some = read(frame, hospital=None, n_hospitals=4, alpha=alpha)
        for dealt in (some, some.repartition(3, alpha, 1), some.repartition(5, 1.0, 2)):
            where = [train | test for train, test in sides(dealt, frame)]
            assert sum(map(len, where)) == len(set().union(*where)) == 120
            train, test = (set().union(*who) for who in zip(*sides(dealt, frame), strict=True))
            assert not train & test and dealt.rows_a_patient == some.rows_a_patient
    before = read(frame, hospital=None, n_hospitals=4)
    learnt = [
        set().union(*(train for train, _ in sides(dealt, frame))) for dealt in (before, before.repartition(4, None, 0))
    ]
    assert learnt[0] == learnt[1]  # who trains goes on training
    moved = read(visits()).repartition(4, None, 0)  # those that were in two hospitals too, within training rows
    assert sum(len(t) for t, _ in sides(moved, visits())) == len(set().union(*(t for t, _ in sides(moved, visits()))))


def test_patients_of_one_row_each_are_split_as_rows_are():
    frame = visits().drop_duplicates("nr").reset_index(drop=True)
    with_, without = read(frame), data.from_frame(frame.drop(columns="nr"), target="ill", hospital="ward")
    for a, b in zip(with_.hospitals, without.hospitals, strict=True):
        assert a.train["visit"].tolist() == b.train["visit"].tolist()


def test_regression_splits_patients_too():
    frame = visits().assign(ill=lambda f: f["score"] * 3)
    some = read(frame)
    train, test = (set().union(*who) for who in zip(*sides(some, frame), strict=True))
    assert some.task == "regression" and not train & test
    dealt = some.repartition(3, 0.5, 0)
    assert sum(len(t) for t, _ in sides(dealt, frame)) == len(train)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 4), st.integers(1, 5), st.integers(0, 99))
def test_every_hospital_keeps_a_training_row(n_patients, most, n_hospitals, seed):
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(n_patients), rng.integers(1, most + 1, n_patients))
    owner = rng.integers(0, n_hospitals, len(patients))
    in_test = partition.split_patients(
        rng.integers(0, 2, len(patients)).astype(float), patients, owner, rng, stratify=True
    )
    assert not set(patients[in_test]) & set(patients[~in_test])
    assert set(owner[~in_test]) == set(owner)


def test_a_hospital_that_is_nobodys_home_keeps_a_training_row():
    for guest in range(6):  # has two rows in one hospital, and the only one of the other
        patients, owner = np.array([*np.repeat(np.arange(6), 2), guest]), np.array([0] * 12 + [1])
        labels, rng = np.zeros(13), np.random.default_rng(0)
        in_test = partition.split_patients(labels, patients, owner, rng, stratify=True)
        assert not in_test[-1] and not in_test[patients == guest].any() and in_test.any()


@pytest.mark.parametrize(
    ("change", "more", "says"),
    [
        (lambda f: f.assign(nr=f["nr"].where(f.index != 4)), {}, "1 row has no number in patient='nr'"),
        (lambda f: f.assign(nr=f["nr"].where(f.index > 4, " ? ")), {}, "5 rows have no number in patient='nr'"),
        (None, {"patient": "name"}, "patient='name' is not a column"),
        (None, {"patient": "ill"}, "both 'ill'"),
        (None, {"patient": "ward"}, "both 'ward'"),
        (None, {"bounds": {"nr": (0, 1)}}, "'nr'"),
        (None, {"hospital": None, "n_hospitals": 200}, "the 120 patients there are"),
    ],
)
def test_patients_that_cannot_be_are_refused(change, more, says):
    with pytest.raises(ValueError) as error:
        read(visits() if change is None else change(visits()), **more)
    assert says in str(error.value) and "\n" not in str(error.value)


def test_more_hospitals_than_training_patients_are_refused():
    some = read()
    n = len({p for h in some.hospitals for p in h.train_patients})
    with pytest.raises(ValueError, match=f"more than the {n} patients"):
        some.repartition(n + 1, None)


# ---------------------------------------------------------------- identifiers that nobody named


def other(n=240, **more):
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"age": rng.integers(20, 90, n), "bp": rng.normal(130, 15, n).round(1)})
    return frame.assign(ill=(frame["age"] + rng.normal(0, 15, n) > 55).astype(int), **more)


def said(frame):
    return data.from_frame(frame, target="ill").report


NAMES = [f"{a}{b}" for a in ("Mar", "Jon", "Sus", "Pet", "Ann", "Tim") for b in ("a", "as", "er", "in", "ole", "y")]
SEVERAL = {
    "row number": ("different in every row", np.arange(240)),
    "row numbers, shuffled": ("different in every row", np.random.default_rng(0).permutation(240) + 7000),
    "visit numbers": ("different in every row", 2024030100000000 + np.arange(240)),
    "visit numbers with gaps": ("different in every row", np.cumsum(np.random.default_rng(0).integers(1, 90, 240))),
    "national numbers": ("different in every row", np.random.default_rng(0).permutation(10**6)[:240] + 4 * 10**9),
    "half steps": ("different in every row", np.arange(240) / 2),
    "whole floats": ("different in every row", np.arange(240.0)),
    "plan of visits": ("patient's number", np.repeat(np.arange(80) * 17 % 97, 3)),
    "names": ("names", np.resize(NAMES, 240)[:240]),
    "addresses": ("names", [f"{n.lower()}@example.org" for n in np.resize(NAMES[:12], 240)]),
}


@pytest.mark.parametrize("kind", SEVERAL)
def test_identifiers_are_named(kind):
    says, values = SEVERAL[kind]
    frame = other(some_column=values)
    if kind == "names":
        frame = frame.head(120)
    (line,) = [r for r in said(frame) if "'some_column'" in r]
    assert says in line
    assert line in said(frame)[:2]


def test_text_that_is_different_in_every_row_is_named():
    frame = other(40, code=[f"x{k}" for k in range(40)])
    assert any("'code' is different in every row" in r for r in said(frame))


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "id", "mrn", "subject", "case_no", "person", "nr"])
def test_names_of_columns_say_who_tells_patients_apart(name):
    numbers = np.random.default_rng(0).integers(1000, 1100, 240)

    def named(**more):
        return [r.text for r in reading.read(other(**more), target="ill").remarks]

    assert any(f"patient={name!r}" in r for r in named(**{name: numbers}))
    assert any(f"patient={name!r}" in r for r in named(**{name: [f"P{k % 40}" for k in numbers]}))
    assert named(rate=numbers) == named(**{name: (numbers > 1050) * 1}) == []  # a yes or no tells nobody apart


def test_answers_in_disguise_are_named():
    frame = other()
    tells = {
        "copy": frame["ill"] * 2 - 1,
        "code": np.where(frame["ill"], "treated", "sent home"),
        "shifted": frame["ill"] * 3 + np.random.default_rng(0).normal(0, 0.3, 240),
        "missing": np.where(frame["ill"], "done", None),
    }
    for name, values in tells.items():
        (line,) = [r for r in said(frame.assign(**{name: values})) if "tells the outcome alone" in r]
        assert repr(name) in line
    classes = pd.cut(frame["age"], 3, labels=["a", "b", "c"]).astype(str)
    report = said(frame.assign(ill=classes, other=classes.map({"a": 5.0, "b": 1.0, "c": 3.0})))
    assert any("'age'" in r and "'other'" in r and "tell the outcome alone" in r for r in report)
    few = other(20).assign(ill=[0] * 17 + [1] * 3, lucky=lambda f: f["ill"] + 0.0)
    assert not any("tells" in r for r in said(few))  # three patients are no evidence


def test_a_promise_sees_nothing_of_that():
    frame = other(nr=np.arange(240))
    bounds = dict(age=(0, 100), bp=(50, 250), nr=(0, 1000))
    some = data.from_frame(frame, target="ill", bounds=bounds, statistics=RecordDP(1.0))
    assert len(some.report) == 1 and "no promise paid for" in some.report[0]

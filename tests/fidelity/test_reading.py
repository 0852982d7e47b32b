"""Strangers' tables: synth, fidelity and the attacks read them as `from_frame` does."""

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import attacks, data, fidelity, synth
from fedlab_utils.data import schema
from fedlab_utils.fidelity import reading

N = 240


def clean(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(50, 9, N).round()
    frame = pd.DataFrame({"x": x, "kind": rng.choice(["male", "female"], N), "size": rng.normal(0, 1, N)})
    return frame.assign(event=(x + rng.normal(0, 9, N) > 50) * 1)


def spoilt(name, seed=0):
    frame, some = clean(seed), np.arange(N) % 80 == 3
    if name == "text of numbers with a mark":
        return frame.assign(x=np.where(some, "?", frame["x"].map("{:g}".format)))
    if name == "numbers and a mark":
        return frame.assign(x=frame["x"].astype(object).where(~some, "n/k"))
    if name == "blanks for nothing":
        return frame.assign(kind=np.where(some, "  ", frame["kind"]))
    if name == "blanks at the end":
        return frame.assign(kind=np.where(some, "male ", frame["kind"]))
    if name == "capitals":
        return frame.assign(kind=np.where(some, "Male", frame["kind"]))
    if name == "numbers as objects":
        return frame.assign(x=frame["x"].astype(object))
    if name == "a category with a blank":
        return frame.assign(kind=pd.Categorical(np.where(some, "male ", frame["kind"])))
    return frame


NAMES = ["clean", "text of numbers with a mark", "numbers and a mark", "blanks for nothing", "blanks at the end",
         "capitals", "numbers as objects", "a category with a blank"]  # fmt: skip


def outcome(work):
    """What comes of it, or the sentence that refuses it without the names of the columns' rows."""
    try:
        return work()
    except ValueError as refusal:
        return str(refusal)


@pytest.mark.parametrize("name", NAMES)
def test_all_rooms_read_a_column_as_from_frame_does(name):
    frame = spoilt(name)
    federation = outcome(lambda: data.from_frame(frame, target="event", n_hospitals=2))
    encoder = outcome(lambda: synth.fit(frame, method="independent").encoder)
    both = {"real": frame, "synthetic": clean(1)}
    read = outcome(lambda: reading.several(both, genuine=["real"], target=None, fewest=20))
    if isinstance(federation, str):
        assert encoder == federation and read == federation
        return
    kinds, real, _ = read
    tidy = federation.schema.tidy(frame)
    for column in ("x", "kind", "size"):
        is_number = column in federation.schema.numeric
        assert is_number == (column in kinds.numbers) == encoder[column].is_number, column
        there = tidy[column].notna().to_numpy()
        assert (real[column].notna() == there).all() and encoder[column].missing == (not there.all())
        if not is_number:
            values = set(tidy[column].dropna())
            assert (
                set(kinds.levels[column])
                == values
                == set(schema.as_text(pd.Series(encoder[column].values, dtype=object)))
            )


@pytest.mark.parametrize("name", NAMES)
def test_a_table_that_is_read_can_be_made_judged_and_attacked(name):
    frame, unseen = spoilt(name), spoilt(name, seed=1)
    for method in ("copula", "interpolate"):
        made = outcome(lambda m=method: synth.fit(frame, method=m).sample(N))
        if isinstance(made, str):  # refused, as by `from_frame`
            assert made == outcome(lambda: data.from_frame(frame, target="event"))
            return
        assert fidelity.utility(made, unseen, target="event") > 0.6
        fidelity.rules(frame, made, holdout=unseen)
        everyone, member = pd.concat([frame, unseen], ignore_index=True), np.arange(2 * N) < N
        result = attacks.nearest_record(everyone, member, made)
        assert (result.auc.low > 0.6) == (method == "interpolate")


def test_numbers_as_objects_are_numbers_to_an_attacker_too():
    frame, unseen = clean(), clean(1)
    everyone, member = pd.concat([frame, unseen], ignore_index=True), np.arange(2 * N) < N
    as_objects = everyone.assign(x=everyone["x"].astype(object))
    made = synth.fit(frame, method="interpolate").sample(N)
    pair = [attacks.monte_carlo(some, member, made).scores for some in (everyone, as_objects)]
    assert np.array_equal(*pair)


def test_what_is_read_keeps_its_type():
    frame = clean().assign(flag=True, level=pd.Categorical(["b", "a"] * (N // 2), ["b", "a"], ordered=True))
    read, known = reading.one(frame)
    pd.testing.assert_frame_equal(read, frame)
    assert known.numeric == ("x", "size", "event", "flag")


@pytest.fixture
def kinder(monkeypatch):
    """Another way to read: mostly numbers are numbers, and blanks at the ends do not count."""
    infer, tidy = schema.infer, schema.Schema.tidy

    def numbers(column):
        return pd.to_numeric(column.astype(object), errors="coerce").astype(float)

    def mended(frame, numeric):
        texts = [c for c in frame if any(isinstance(v, str) for v in frame[c].dropna())]
        stripped = {c: frame[c].astype(object).map(lambda v: v.strip() if isinstance(v, str) else v) for c in texts}
        return frame.assign(**{c: numbers(frame[c]) if c in numeric else stripped[c] for c in texts})

    def infer_kindly(frame, **given):
        return infer(mended(frame, [c for c in frame if numbers(frame[c]).notna().mean() > 0.8]), **given)

    monkeypatch.setattr(schema, "infer", infer_kindly)
    monkeypatch.setattr(schema.Schema, "tidy", lambda self, frame: tidy(self, mended(frame, self.numeric)))


@pytest.mark.parametrize("name", NAMES)
def test_another_way_to_read_reaches_all_rooms(name, kinder):
    frame, unseen = spoilt(name), spoilt(name, seed=1)
    encoder = synth.fit(frame, method="independent").encoder
    kinds, real, _ = reading.several({"a": frame, "b": clean(1)}, genuine=["a"], target=None, fewest=20)
    assert encoder["x"].is_number and "x" in kinds.numbers
    numbers = pd.to_numeric(frame["x"], errors="coerce")
    assert (encoder["x"].missing, real["x"].isna().sum()) == (numbers.isna().any(), numbers.isna().sum())
    values = {"male", "female", "Male"} if name == "capitals" else {"male", "female"}
    assert set(kinds.levels["kind"]) == set(encoder["kind"].values) == values
    made = synth.fit(frame, method="interpolate").sample(N)
    fidelity.rules(frame, made, holdout=unseen)
    everyone = pd.concat([frame, unseen], ignore_index=True)
    assert attacks.nearest_record(everyone, np.arange(2 * N) < N, made).auc.low > 0.6
    member, tables = attacks.shadow_generators(frame, n_models=2, seed=0, method="copula")
    assert attacks.densities(frame, member, tables).logit.shape == (2, N)


def test_generators_of_half_the_patients_read_a_column_as_all_patients_say(kinder):
    frame = clean()[:40]
    frame["x"] = frame["x"].astype(object).where(np.arange(40) >= 7, "n/k")  # numbers in 33 of 40, in some halves fewer
    member, tables = attacks.shadow_generators(frame, n_models=6, seed=0, method="independent")
    assert (member[:, :7].sum(1) > 0.2 * member.sum(1)).any()
    assert all(table["x"].dtype == float for table in tables)

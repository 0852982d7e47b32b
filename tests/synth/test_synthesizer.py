"""Synthetic tables: what every method keeps, saves and refuses."""

import gc
import json
import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import data, synth
from fedlab_utils.data import Schema
from fedlab_utils.synth import encoding
from tests.synth.helpers import QUICK, patients

METHODS = ("gan", "wgan_gp", "independent", "copula", "interpolate")


@pytest.mark.parametrize("method", METHODS)
def test_synthetic_rows_look_like_rows_of_the_table(method):
    frame = patients()
    made = synth.fit(frame, method=method, **QUICK).sample(500)
    assert list(made.columns) == list(frame.columns)
    assert (made.dtypes.map(str) == frame.dtypes.map(str)).all()
    for column in ("age", "bmi", "dose", "marker", "visits"):
        assert made[column].min() >= frame[column].min() and made[column].max() <= frame[column].max()
    for column in ("sex", "smoker", "stage"):
        known = frame[column].cat.categories if column == "stage" else frame[column].dropna()
        assert set(made[column].dropna()) <= set(known)
    assert set(made["event"]) <= {0, 1}
    assert (made["dose"] % 2.5 == 0).all()
    bmi = made["bmi"].dropna()
    assert (bmi == bmi.round(1)).all()
    assert made.columns[made.isna().any()].isin(["bmi", "visits", "smoker"]).all()


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_table(method):
    frame = patients(80)
    one, two = (synth.fit(frame, method=method, seed=4, **QUICK) for _ in range(2))
    pd.testing.assert_frame_equal(one.sample(60, seed=2), two.sample(60, seed=2))
    assert not one.sample(60, seed=2).equals(one.sample(60, seed=3))


def test_global_randomness_is_left_alone():
    torch.manual_seed(0)
    before, numpys = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    synth.fit(patients(40), **QUICK).sample(5)
    assert torch.equal(before, torch.random.get_rng_state()) and (numpys == np.random.get_state()[1]).all()


def test_missing_rates_and_shares_are_reproduced():
    frame = patients(1500)
    for method, options in (("wgan_gp", {"steps": 500, "hidden": (32,)}), ("copula", {}), ("interpolate", {})):
        made = synth.fit(frame, method=method, **options).sample(3000)
        for column in ("bmi", "visits", "smoker"):
            assert abs(made[column].isna().mean() - frame[column].isna().mean()) < 0.06, (method, column)
        assert abs(made["event"].mean() - frame["event"].mean()) < 0.06, method
        assert abs(made["age"].mean() - frame["age"].mean()) < 4, method


@pytest.mark.parametrize("method", METHODS)
def test_rows_with_a_wanted_value(method):
    frame = patients()
    made = synth.fit(frame, method=method, label="event", **QUICK)
    for value in (0, 1):
        rows = made.sample(70, where={"event": value})
        assert len(rows) == 70 and (rows["event"] == value).all()
    both = made.sample(20, where={"event": 1, "sex": "male"})
    assert len(both) == 20 and (both["event"] == 1).all() and (both["sex"] == "male").all()
    assert 0 < made.sample(500)["event"].mean() < 1
    for where, match in (
        ({"event": 2}, r"where\['event'\] must be one of \[0, 1\]; got 2"),
        ({"age": 50}, "must name a category column"),
        ({"nothing": 1}, "'nothing' is not a column"),
    ):
        with pytest.raises(ValueError, match=match):
            made.sample(5, where=where)


def test_a_label_teaches_the_generator_what_goes_with_it():
    frame = patients(1500)
    made = synth.fit(frame, label="event", steps=500, hidden=(32,))
    with_event, without = (made.sample(1000, where={"event": value})["age"].mean() for value in (1, 0))
    assert with_event > without + 5  # 17 in the table itself


@pytest.mark.parametrize("method", METHODS)
def test_saved_and_loaded(method, tmp_path):
    made = synth.fit(patients(60), method=method, n_models=2, label="event", **QUICK)
    made.save(tmp_path / "made.npz")
    back = synth.load(tmp_path / "made.npz")
    pd.testing.assert_frame_equal(made.sample(50, model=1), back.sample(50, model=1))
    pd.testing.assert_frame_equal(made.history, back.history)
    pd.testing.assert_frame_equal(made.learnt, back.learnt)


class Bomb:
    """Says so if it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a file was executed",))


def stored(path, **change):
    """The arrays of a saved copula, changed, in a file of the same kind; None leaves one out."""
    synth.fit(patients(40), method="copula").save(path)
    with np.load(path) as file:
        arrays = {k: v for k, v in (dict(file) | change).items() if v is not None}
    np.savez(path, **arrays)


def about(**change):
    encoder = encoding.learn(patients(40))
    return json.dumps({"method": "copula", "label": None, "n_models": 1, **encoder.as_json()} | change)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"no table"),
        lambda path: path.write_text("age,sex\n50,male\n"),
        lambda path: path.write_bytes(pickle.dumps(Bomb())),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(200)),
        lambda path: np.savez(path, about=np.array([Bomb()], dtype=object)),
        lambda path: np.savez(path, a=np.array([{}], dtype=object)),
        lambda path: np.savez(path, a=np.arange(3)),
        lambda path: np.save(path.open("wb"), np.arange(3)),
        lambda path: (stored(path), path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])),
        lambda path: (stored(path), path.write_bytes(path.read_bytes().replace(b"o\0\0\0p", b"x\0\0\0p"))),
        lambda path: stored(path, about=np.array("{")),
        lambda path: stored(path, about=np.array("[]")),
        lambda path: stored(path, about=np.array(about(method="vae"))),
        lambda path: stored(path, about=np.array(about(n_models=0))),
        lambda path: stored(path, about=np.array(about(n_models=2))),
        lambda path: stored(path, about=np.array(about(method="wgan_gp"))),
        lambda path: stored(path, about=np.array(about(columns=[{"name": "x"}]))),
        lambda path: stored(path, losses=None),
        lambda path: stored(path, shares=None),
        lambda path: stored(path, correlation=np.eye(3)),
    ],
)  # fmt: skip
def test_a_file_of_something_else_is_refused_and_closed(spoil, tmp_path):
    spoil(tmp_path / "x.npz")
    gc.freeze()  # so that collecting looks at what `load` left, and takes no time
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(ValueError, match="is not a file that Synthesizer.save wrote") as refusal:
            synth.load(tmp_path / "x.npz")
        assert "\n" not in str(refusal.value)
        del refusal
        gc.collect()
    gc.unfreeze()
    assert not [w for w in caught if issubclass(w.category, ResourceWarning)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [2, 20])
def test_tiny_tables_and_degenerate_columns(method, n):
    frame = patients(20, seed=1).iloc[:n].assign(always=7, fixed="same", half=2.5, identifier=np.arange(n) * 10)
    frame["rare"] = ["yes"] + ["no"] * (n - 1)
    if n == 2:
        frame = frame.dropna(axis=1)
    made = synth.fit(frame, method=method, **QUICK).sample(100)
    assert (made["always"] == 7).all() and (made["fixed"] == "same").all() and (made["half"] == 2.5).all()
    assert (made["identifier"] % 10 == 0).all() and made["identifier"].between(0, 10 * n).all()
    assert set(made["rare"]) <= {"yes", "no"}


def test_constant_number_with_public_bounds():
    frame = pd.DataFrame({"x": [5.0] * 30, "y": range(30)})
    made = synth.fit(frame, schema=Schema(bounds={"x": (0, 10)}), **QUICK).sample(50)
    assert (made["x"] == 5).all()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frame": [1]}, "frame must be a pandas DataFrame, not a list"),
        ({"frame": pd.DataFrame({"x": [1]})}, "frame has 1 row; at least 2 are needed"),
        ({"frame": pd.DataFrame({"x": [np.nan] * 30, "y": range(30)})}, "'x' has no values at all; drop it"),
        ({"frame": pd.DataFrame({"x": [f"name {k}" for k in range(90)]})}, "looks like an identifier"),
        ({"frame": pd.DataFrame({"x": pd.date_range("2020", periods=30)})}, "holds dates"),
        ({"frame": pd.DataFrame([[1, 2], [3, 4]], columns=["x", "x"])}, "occurs more than once"),
        ({"method": "vae"}, "method must be one of gan, wgan_gp, independent, copula, interpolate; got 'vae'"),
        ({"steps": 0}, "steps must be a whole number of at least 1; got 0"),
        ({"pack": 1.5}, "pack must be a whole number"),
        ({"hidden": 32}, "hidden must be a sequence of widths"),
        ({"average": 1}, "average must be .* below 1; got 1"),
        ({"transform": "log"}, "transform must be one of quantile, linear"),
        ({"label": "age"}, "label='age' must be a category column"),
        ({"label": "nothing"}, "label='nothing' is not a column"),
        ({"schema": Schema(bounds={"nothing": (0, 1)})}, "schema names 'nothing'"),
        ({"schema": Schema(numeric=("sex",))}, "must not name 'sex' among its numeric columns"),
        ({"schema": Schema(granularity={"age": 0})}, r"granularity\['age'\] must be a positive number"),
        ({"schema": Schema(categories={"sex": ("male",)})}, "'sex' holds 'female', which is none of"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(change, match):
    with pytest.raises(ValueError, match=match) as refusal:
        synth.fit(**{"frame": patients(40), **change})
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------- generators side by side


def test_each_hospitals_generator_is_the_one_it_would_train_alone():
    federation = data.load("hospital_network")
    tables = {h.name: h.train for h in federation.hospitals[3:]} | {"ward": federation.hospitals[0].train[:30]}
    setting = dict(schema=federation.schema, label=federation.target, steps=5, hidden=(8,))
    together = synth.fit(tables, seed=3, **setting)
    assert list(together) == list(tables)
    for j, (name, table) in enumerate(tables.items()):
        alone = synth.fit(table, seed=3 + j, **setting)
        np.testing.assert_allclose(together[name].losses, alone.losses, rtol=1e-4, atol=1e-5)
        pd.testing.assert_frame_equal(together[name].sample(40), alone.sample(40))


def test_baselines_take_several_tables_too():
    tables = {"a": pd.DataFrame({"x": np.arange(30.0)}), "b": pd.DataFrame({"x": np.arange(100.0, 130)})}
    fitted = synth.fit(tables, method="independent")
    assert fitted["a"].sample(50)["x"].max() < 100 <= fitted["b"].sample(50)["x"].min()


def test_no_tables_or_a_callback_for_several_is_refused():
    table = pd.DataFrame({"x": np.arange(30.0)})
    for frame, options in (({}, {}), ({"a": table}, {"on_step": print})):
        with pytest.raises(ValueError, match="frame must"):
            synth.fit(frame, **options)

"""The encoder brings every kind of column back; generators are reproducible, alone or in a fleet."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import data, encoding, fleet, gan, synth
from fedlab_utils.encoding import Knowledge

METHODS = ("gan", "wgan_gp", "independent", "copula", "interpolate")
QUICK = {"steps": 30, "hidden": (16,), "batch_size": 32}


def patients(n=300, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 91, n)
    event = (rng.random(n) < 0.1 + 0.5 * (age > 60)).astype(int)
    frame = pd.DataFrame(
        {
            "age": age,
            "bmi": np.round(rng.gamma(30, 0.9, n), 1),
            "dose": rng.choice(np.arange(0, 105, 2.5), n),
            "marker": rng.lognormal(0, 1, n),
            "visits": pd.array(rng.integers(0, 40, n), dtype="Int64"),
            "sex": rng.choice(["female", "male"], n),
            "stage": pd.Categorical(rng.choice(["I", "II", "III"], n), ["I", "II", "III", "IV"], ordered=True),
            "treated": rng.random(n) < 0.3,
            "smoker": rng.choice(np.array(["never", "former", None], dtype=object), n),
            "event": event,
        }
    )
    frame.loc[rng.random(n) < 0.2, "bmi"] = np.nan
    frame.loc[rng.random(n) < 0.1, "visits"] = pd.NA
    return frame


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
TEXT = st.lists(st.sampled_from(["a", "b", "c d", "1", "ü", " x"]), min_size=2, max_size=60)
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
        assert back.dropna().tolist() == column.dropna().tolist()


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
    known = Knowledge(bounds={"age": (0, 120)}, categories={"sex": ("male", "female")}, granularity={"age": 1})
    encoder = encoding.learn(frame, known=known, transform="linear")
    assert encoder.learnt == ()
    assert (encoder["age"].low, encoder["age"].high, encoder["sex"].values) == (0, 120, ("male", "female"))


def test_a_federations_schema_is_public_knowledge():
    federation = data.load("diabetes")
    hospital = federation.hospitals[0]
    made = synth.fit(hospital.train, schema=federation.schema, label=federation.target, **QUICK)
    assert "type" not in set(made.learnt["what"])
    assert list(made.sample(50).columns) == list(hospital.train.columns)


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


def arrays_of(made, model):
    return [a[model] for name, a in made.arrays.items() if name.startswith("layer")]


@pytest.mark.parametrize("method", ["gan", "wgan_gp"])
def test_generators_in_a_fleet_equal_generators_alone(method):
    frame = patients(100)
    encoder = encoding.learn(frame)
    table = torch.from_numpy(encoder.encode(frame))
    layout = gan.Layout(encoder.width, tuple(encoder.choices))
    options = {"steps": 10, "hidden": (16, 16), "critic_steps": 2, "pack": 2, "batch_size": 16, "lr": 1e-3}
    options |= {"critic_lr": 1e-3, "penalty": 10.0, "average": 0.9, "method": method}
    rows = [np.arange(100), np.arange(50), np.arange(30, 90)]

    def last(models):
        rngs = [synth.generator(0, k, 2) for k in models]
        *_, (params, _, _) = gan.train(table, [rows[k] for k in models], layout, rngs, **options)
        return params

    together = last([0, 1, 2])
    for k in range(3):
        alone = last([k])
        for all_models, one in zip(together.tensors(), alone.tensors(), strict=True):
            torch.testing.assert_close(all_models[k], one[0], rtol=1e-3, atol=1e-5)
    assert not torch.allclose(together.weights[0][0], together.weights[0][1])


def test_rare_labels_are_practised_as_often_as_others_within_reason():
    def shares(*counts):
        labels = torch.eye(len(counts))[torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))]
        chances = np.diff(gan.balanced(labels), prepend=0)
        return np.bincount(labels.argmax(1), chances).tolist()

    assert shares(900, 100) == pytest.approx([0.5, 0.5])
    assert shares(50, 30, 20) == pytest.approx([1 / 3] * 3)
    assert shares(999, 1)[1] == pytest.approx(10 / 510)  # one patient is not half of what is learnt
    np.testing.assert_allclose(gan.balanced(torch.zeros(4, 0)), [0.25, 0.5, 0.75, 1])


def test_models_differ_and_are_those_of_one_fit():
    frame = patients(100)
    options = {"steps": 5, "hidden": (8,), "batch_size": 16}
    several, one = synth.fit(frame, n_models=3, **options), synth.fit(frame, **options)
    for all_models, alone in zip(arrays_of(several, 0), arrays_of(one, 0), strict=True):
        np.testing.assert_allclose(all_models, alone, atol=1e-5)
    assert not several.sample(30, model=0).equals(several.sample(30, model=1))
    with pytest.raises(ValueError, match="model must be a number from 0 to 2; got 3"):
        several.sample(5, model=3)


def test_the_slope_formula_is_what_autograd_finds_twice():
    critic = fleet.init(2, (5, 7, 6, 1), seed=0)
    for tensor in critic.tensors():
        tensor.requires_grad_()
    X = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    (expected,) = torch.autograd.grad(gan.forward(critic, X).sum(), X, create_graph=True)
    found = gan.slope(critic, X.detach())
    torch.testing.assert_close(found, expected)
    weights = critic.weights
    by_formula = torch.autograd.grad(found.square().sum(), weights)
    for ours, theirs in zip(by_formula, torch.autograd.grad(expected.square().sum(), weights), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_critic_sees_hard_categories_and_the_generator_a_gradient():
    layout = gan.Layout(5, ((1, 3, True), (3, 5, False)))
    maker = fleet.init(1, (gan.NOISE, 8, 5), seed=0)
    for tensor in maker.tensors():
        tensor.requires_grad_()
    noise = gan.draw_noise(layout, 400, [np.random.default_rng(0)])
    rows = gan.generate(maker, layout, torch.zeros(1, 400, 0), *noise)[0]
    assert set(rows[:, 1:].detach().round(decimals=5).unique().tolist()) == {0.0, 1.0}
    assert (rows[rows[:, 2] > 0.5][:, 0] == 0).all() and (rows[rows[:, 1] > 0.5][:, 0] != 0).all()
    rows[:, 4].sum().backward()
    assert maker.weights[0].grad.abs().sum() > 0


def test_missing_rates_and_shares_are_reproduced():
    frame = patients(1500)
    for method, options in (("wgan_gp", {"steps": 500, "hidden": (32,)}), ("copula", {}), ("interpolate", {})):
        made = synth.fit(frame, method=method, **options).sample(3000)
        for column in ("bmi", "visits", "smoker"):
            assert abs(made[column].isna().mean() - frame[column].isna().mean()) < 0.06, (method, column)
        assert abs(made["event"].mean() - frame["event"].mean()) < 0.06, method
        assert abs(made["age"].mean() - frame["age"].mean()) < 4, method


def test_what_connects_columns_is_learnt_or_forgotten():
    frame = patients(1500)

    def gap(made):
        return made.loc[made["age"] > 65, "event"].mean() - made.loc[made["age"] < 55, "event"].mean()

    for method, options in (("wgan_gp", {"steps": 500, "hidden": (32,)}), ("copula", {}), ("interpolate", {})):
        assert gap(synth.fit(frame, method=method, **options).sample(3000)) > 0.15, method
    assert abs(gap(synth.fit(frame, method="independent").sample(3000))) < 0.08


def test_interpolation_lies_between_two_patients():
    frame = pd.DataFrame({"x": [0.0] * 30 + [100.0] * 30, "kind": ["low"] * 30 + ["high"] * 30})
    frame["x"] += np.arange(60) / 10
    made = synth.fit(frame, method="interpolate").sample(200)
    assert ((made["x"] < 10) == (made["kind"] == "low")).all()


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


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"no table")
    with pytest.raises(ValueError, match="is not a file that Synthesizer.save wrote"):
        synth.load(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", a=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is not a file that Synthesizer.save wrote"):
        synth.load(tmp_path / "y.npz")


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
    made = synth.fit(frame, schema=Knowledge(bounds={"x": (0, 10)}), **QUICK).sample(50)
    assert (made["x"] == 5).all()


def test_training_can_be_watched_and_stopped():
    seen = []

    def watch(so_far):
        seen.append((len(so_far.losses), so_far.sample(5)))
        return len(seen) == 3

    made = synth.fit(patients(60), on_step=watch, every=4, **QUICK)
    assert [steps for steps, _ in seen] == [4, 8, 12]
    assert made.history["step"].max() == 12 and made.history.notna().all(axis=None)
    assert not seen[0][1].equals(seen[2][1])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"frame": [1]}, "frame must be a pandas DataFrame, not a list"),
        ({"frame": pd.DataFrame({"x": [1]})}, "frame must have at least 2 rows"),
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
        ({"label": "nothing"}, "'nothing' is not a column"),
        ({"schema": Knowledge(bounds={"nothing": (0, 1)})}, "schema names 'nothing'"),
        ({"schema": Knowledge(types={"sex": "number"})}, r"types\['sex'\]='number' does not fit"),
        ({"schema": Knowledge(granularity={"age": 0})}, r"granularity\['age'\] must be a positive number"),
        ({"schema": Knowledge(categories={"sex": ("male",)})}, "'sex' holds 'female', which is none of"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(change, match):
    with pytest.raises(ValueError, match=match) as refusal:
        synth.fit(**{"frame": patients(40), **change})
    assert "\n" not in str(refusal.value)

"""Means and spreads with differential privacy: the noise, the bound, the ledger. Statistical tests have fixed seeds;
each says how often it would fail by chance with other ones."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedlab_utils import data, federated, privacy
from fedlab_utils.data import bounded
from fedlab_utils.privacy import promises
from fedlab_utils.privacy.ledger import NOT_PRIVATE, Ledger
from fedlab_utils.privacy.promises import HospitalDP

PUBLIC = dict(
    bounds={"age": (20, 100), "pressure": (1000, 1300), "treated": (0, 1)},
    categories={"smoker": ["never", "former", "current"]},
)


RecordDP = partial(promises.RecordDP, secure=False)  # noise from a seed, so that no test fails by chance
QUICK = dict(rounds=2, batch_size=16, hidden=(8,))


def table(n=240, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 9, n).round(1)
    frame = pd.DataFrame({
        "age": np.where(rng.random(n) < 0.3, np.nan, age),
        "pressure": rng.normal(130, 20, n) + 1000,
        "smoker": rng.choice(["never", "former", "current"], n),
        "treated": rng.random(n) < 0.4,
        "ward": rng.choice(["A", "B", "C"], n, p=[0.5, 0.3, 0.2]),
        "score": age / 10 + rng.normal(0, 1, n),
    })  # fmt: skip
    return frame.assign(ill=(frame["score"] > 6).astype(int))


def federation(frame=None, target="ill", **more):
    frame = table() if frame is None else frame
    frame = frame.drop(columns={"ill", "score"} - {target}, errors="ignore")
    return data.from_frame(frame, **dict(target=target, hospital="ward", statistics=RecordDP(1.0)) | PUBLIC | more)


def released(some):
    """What the hospitals sent, ``[hospitals, columns, 3]``."""
    sent = [m for m in some.messages if m.receiver == "server"]
    return np.array([[list(numbers.values()) for numbers in m.payload.values()] for m in sent])


def exact(some, bounds=PUBLIC["bounds"]):
    return np.array([bounded.bounded_sums(h.train, bounds) for h in some.hospitals])


@pytest.fixture(scope="module")
def network():
    return data.load("hospital_network"), data.load("hospital_network", statistics=RecordDP(1.0))


# ---------------------------------------------------------------- the mechanism


def test_sums_are_what_they_are_called():
    frame = pd.DataFrame({"a": [0.0, 10.0, 4.0, np.nan, 99.0], "b": [True, False, True, True, True]})
    sums = bounded.bounded_sums(frame, {"a": (0, 10), "b": (0, 1)})
    assert sums[0] == pytest.approx([4, -1 + 1 - 0.2 + 1, 1 + 1 + 0.04 + 1])  # 99 counts as 10
    assert sums[1] == pytest.approx([5, 3, 5])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(width=32) | st.sampled_from([0.0, 10.0]), min_size=1, max_size=6), st.integers(0, 3))
def test_one_patient_more_moves_the_sums_by_no_more_than_the_sensitivity(values, others):
    columns = [f"c{k}" for k in range(len(values))]
    rng = np.random.default_rng(0)
    before = pd.DataFrame(rng.uniform(-5, 15, (others, len(values))), columns=columns)
    after = pd.concat([before, pd.DataFrame([values], columns=columns)])
    bounds = dict.fromkeys(columns, (0.0, 10.0))
    moved = bounded.bounded_sums(after, bounds) - bounded.bounded_sums(before, bounds)
    assert np.linalg.norm(moved) <= bounded.sensitivity(len(columns)) + 1e-9


@pytest.mark.parametrize("p", [1, 2, 5])
def test_the_sensitivity_is_reached(p):
    """A patient on a bound everywhere: a smaller sensitivity would be wrong, a larger one a waste."""
    frame = pd.DataFrame([[7.0, 0.0] * p]).iloc[:, :p]
    sums = bounded.bounded_sums(frame, {c: (0, 7) for c in frame})
    assert np.linalg.norm(sums) == pytest.approx(bounded.sensitivity(p))


@pytest.mark.parametrize("promise", [RecordDP(0.5), RecordDP(noise_multiplier=2.0), RecordDP(1.0, secure=True)])
def test_noise_has_the_stated_size(promise):
    """Standard deviation within four standard errors, a normal shape: by chance once in 5,000 runs."""
    frame, draws = table(60), []
    for seed in range(60):
        some = federation(frame, statistics=promise, seed=seed)
        draws.append(released(some) - exact(some))
    draws = np.ravel(draws)  # 60 federations x 3 hospitals x 3 columns x 3 numbers
    # Written out once more: noise multiplier times the length of 3 columns x (1, 1, 1).
    size = promise.noise(sampling=1.0, steps=1) * 3
    assert draws.std() == pytest.approx(size, rel=4 / math.sqrt(2 * len(draws)))
    assert abs(draws.mean()) < 4 * size / math.sqrt(len(draws))
    assert stats.kstest(draws / size, "norm").pvalue > 1e-4


def test_a_budget_is_spent_almost_and_never_exceeded():
    for budget in (0.1, 1.0, 8.0):
        spent = federation(statistics=RecordDP(budget)).ledger.epsilon()
        assert 0.99 * budget <= spent <= budget


def test_same_seed_same_statistics():
    one, again, other = (federation(seed=s) for s in (3, 3, 4))
    assert one.agreed == again.agreed != other.agreed
    assert all(torch.equal(a.X_train, b.X_train) for a, b in zip(one.hospitals, again.hospitals, strict=True))
    safe = [federation(statistics=RecordDP(1.0, secure=True)).agreed for _ in range(2)]
    assert safe[0] != safe[1]


def test_other_patients_never_meet_the_same_noise():
    """Otherwise the difference of two releases is one patient's values, without any noise."""
    some = federation()
    shorter = some.replace_train({h.name: h.train.iloc[1:] for h in some.hospitals})
    noise = [released(f) - exact(f) for f in (some, shorter)]
    assert not np.isclose(noise[0], noise[1], atol=1e-3).any()
    twins = pd.concat([table(40).assign(ward=w) for w in "AB"])  # nor do two hospitals with the same patients
    first, second = released(federation(twins)) - exact(federation(twins))
    assert not np.isclose(first, second, atol=1e-3).any()


# ---------------------------------------------------------------- what is made of it


def test_without_noise_they_are_the_exact_ones():
    for target in ("ill", "score"):
        more = dict(target=target, bounds=PUBLIC["bounds"] | ({"score": (-10, 30)} if target == "score" else {}))
        quiet = federation(statistics=RecordDP(noise_multiplier=0), **more)
        plain = federation(target=target, statistics=None)
        for name, value in plain.agreed.means.items():
            assert quiet.agreed.means[name] == pytest.approx(value, rel=1e-9)
            assert quiet.agreed.sds[name] == pytest.approx(plain.agreed.sds[name], rel=1e-6)
        assert quiet.agreed.categories["smoker"] == ("never", "former", "current")
        one, other = quiet.pooled(), plain.pooled()
        torch.testing.assert_close(one.y_train, other.y_train)
        aligned = [plain.feature_names.index(f) for f in quiet.feature_names]
        torch.testing.assert_close(one.X_train, other.X_train[:, aligned])
        assert quiet.ledger.epsilon() == 0 and {e.guarantee for e in quiet.ledger.entries} == {NOT_PRIVATE}


def test_at_epsilon_one_the_simulated_network_hardly_notices(network):
    """Noise on a mean is 0.2% of the range, on a standard deviation up to 0.6%: by chance once in 100,000 seeds."""
    plain, noisy = network
    for column, (low, high) in plain.schema.bounds.items():
        assert abs(noisy.agreed.means[column] - plain.agreed.means[column]) < 0.01 * (high - low)
        assert abs(noisy.agreed.sds[column] - plain.agreed.sds[column]) < 0.04 * (high - low)
        assert noisy.agreed.means[column] != plain.agreed.means[column]
    assert noisy.feature_names == plain.feature_names
    work = dict(rounds=6, local_steps=20, batch_size=40, lr=0.2, hidden=(16,), seeds=2)
    auc = [federated.train(f, **work).history.query("hospital == 'all' and round == 6")["auc"].mean() for f in network]
    assert auc[0] > 0.72 and abs(auc[0] - auc[1]) < 0.02


@pytest.mark.parametrize("budget", [0.01, 100])
@pytest.mark.parametrize("n", [1, 2])
def test_hospitals_of_one_row_get_sane_numbers(n, budget):
    # Of two rows one is to test on; a fourth hospital keeps both classes in the table.
    frame = table(3 * n).assign(ward=np.repeat(list("ABC"), n), ill=[1, *[0] * (3 * n - 1)])
    for seed in range(5):
        some = federation(frame, statistics=RecordDP(budget), seed=seed)
        for column, (low, high) in PUBLIC["bounds"].items():
            assert low <= some.agreed.means[column] <= high and 0 < some.agreed.sds[column] <= (high - low) / 2
        assert all(torch.isfinite(h.X_train).all() for h in some.hospitals)
        assert "only training patient" not in " ".join(some.report)  # noise hides it


def test_regression_targets_are_standardised_with_noisy_numbers():
    some = federation(target="score", bounds=PUBLIC["bounds"] | {"score": (0, 12)}, statistics=RecordDP(8.0))
    assert some.task == "regression"
    pooled = some.pooled()
    back = pooled.y_train[:, 0] * some.agreed.sds["score"] + some.agreed.means["score"]
    torch.testing.assert_close(back.double(), torch.tensor(pooled.train["score"].to_numpy()), atol=1e-4, rtol=0)
    assert pooled.y_train.std() != pytest.approx(1, abs=1e-6)
    assert not any("score" in note for note in some.report)  # labels are not moved to the bound
    fewer = some.replace_train([h.train.iloc[::2] for h in some.hospitals])  # the bounds are still known
    assert fewer.agreed != some.agreed and fewer.agreed.means["score"] <= 12


def test_a_table_of_categories_alone_releases_nothing():
    frame = table()[["smoker", "ward", "ill"]]
    some = federation(frame, bounds=None)
    assert len(some.ledger) == 0 and some.messages == () and some.n_features == 3


# ---------------------------------------------------------------- the ledger


def test_one_entry_a_hospital():
    some = federation(statistics=RecordDP(1.0, delta=1e-4))
    assert [e.hospital for e in some.ledger.entries] == [h.name for h in some.hospitals]
    for entry, hospital in zip(some.ledger.entries, some.hospitals, strict=True):
        m = entry.mechanism
        assert (entry.viewer, m.sampling, m.steps, m.delta, m.unit) == ("server", 1, 1, 1e-4, privacy.PATIENT)
        assert m.units == len(hospital.train) and not m.secret and m.relation == privacy.PRESENT_OR_BLANK
        assert entry.detail == "9 numbers about age, pressure, treated"
    assert len(some.ledger.unprotected) == 0
    assert [m.receiver for m in some.messages] == ["server"] * 3 + ["every hospital"]
    safe = federation(statistics=RecordDP(1.0, secure=True)).ledger
    assert all(e.mechanism.secret for e in safe.entries) and safe.check() == []


def test_training_composes_with_statistics():
    work = dict(**QUICK, privacy=RecordDP(2.0), seeds=2)
    alone = federated.train(federation(statistics=None), **work)[0].ledger.epsilon()
    run = federated.train(federation(), **work)
    before = federation().ledger.epsilon()
    assert max(alone, before) < run[0].ledger.epsilon() < alone + before
    assert len(run.ledger.private) == 3 + 2 * 3  # two seeds, but the statistics were released once
    assert run.ledger.epsilon() < 2 * alone + before


def test_replicates_pay_for_each_split():
    natural = data.replicates(table().drop(columns="score"), 3, target="ill", hospital="ward",
                              statistics=RecordDP(noise_multiplier=4.0), **PUBLIC)  # fmt: skip
    assert len({tuple(f.agreed.means.items()) for f in natural}) == 3
    together = sum((f.ledger for f in natural), Ledger()).epsilon()
    assert together == pytest.approx(privacy.epsilon(4.0, steps=3), rel=1e-3)
    run = federated.train(natural, **QUICK, privacy=RecordDP(noise_multiplier=3.0))
    assert len(run.ledger.private) == 3 * (3 + 3)
    only = [federated.train(f, **QUICK, privacy=RecordDP(noise_multiplier=3.0)).ledger.epsilon() for f in natural]
    assert max(*only, together) < run.ledger.epsilon() < sum(only)


def test_patients_dealt_out_anew_pay_for_both_dealings():
    """Nobody knows in which hospitals a patient was, so the ledger must not take the largest of them."""
    everyone = table().drop(columns=["score", "ward"])
    dealt = data.replicates(everyone, 2, target="ill", n_hospitals=3, statistics=RecordDP(noise_multiplier=4.0),
                            **PUBLIC)  # fmt: skip
    together = sum((f.ledger for f in dealt), federation(statistics=RecordDP(noise_multiplier=4.0)).ledger)
    assert together.epsilon() == pytest.approx(privacy.epsilon(4.0, steps=3), rel=1e-3)
    run = federated.train(dealt, **QUICK, privacy=RecordDP(noise_multiplier=3.0))
    mechanisms = [e.mechanism for e in run.ledger.private.entries if e.mechanism.sampling < 1]
    trained = min(privacy.epsilon(3.0, sampling=m.sampling, steps=2 * m.steps) for m in mechanisms)
    assert run.ledger.epsilon() > max(trained, run[0].ledger.epsilon(), privacy.epsilon(4.0, steps=2))


def test_repartition_releases_nothing_and_forgets_nothing():
    some = federation(statistics=RecordDP(noise_multiplier=4.0))
    moved = some.repartition(5, None)
    assert moved.agreed == some.agreed and moved.ledger is some.ledger and moved.messages == some.messages
    assert moved.feature_names == some.feature_names and len(moved.hospitals) == 5
    rows = [torch.cat([h.X_train for h in f.hospitals]).sum(0) for f in (some, moved)]
    torch.testing.assert_close(*rows, atol=1e-3, rtol=0)
    run = federated.train(moved, **QUICK, privacy=RecordDP(noise_multiplier=3.0))
    steps = max(e.mechanism.steps for e in run.ledger.private.entries)
    rate = min(e.mechanism.sampling for e in run.ledger.private.entries)
    alone = privacy.epsilon(3.0, sampling=rate, steps=steps)
    assert run.ledger.epsilon() > 1.01 * max(alone, some.ledger.epsilon())  # though no hospital is in both


def test_other_rows_are_released_anew():
    some = federation()
    other = some.replace_train({h.name: h.train.iloc[::2] for h in some.hospitals})
    assert other.agreed != some.agreed and other.agreed.categories == some.agreed.categories
    assert [e.mechanism.units for e in other.ledger.private.entries] == [len(h.train) for h in other.hospitals]


# ---------------------------------------------------------------- what is refused


def sentence(message):
    return message.endswith(".") and "\n" not in message and len(message) < 300


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (dict(bounds={"age": (20, 100), "treated": (0, 1)}), "public bounds.*'pressure' has none"),
        (dict(bounds=None), "public bounds.*'age'.* have none; give them to from_frame as bounds="),
        (dict(categories=None), "public categories.*'smoker' has none"),
        (dict(target="score"), "public bounds.*'score' has none"),
        (dict(target="score", bounds=PUBLIC["bounds"] | {"score": (9, 1)}), r"bounds\['score'\] must be"),
        (dict(target="score", bounds=PUBLIC["bounds"] | {"score": 9}), r"bounds\['score'\] must be"),
        (dict(bounds=PUBLIC["bounds"] | {"ill": (0, 1)}), r"bounds\['ill'\] does not apply"),
        (dict(statistics=1.0), "statistics must be None .* got 1.0"),
        (dict(statistics=HospitalDP(1.0)), "statistics must be None .* got HospitalDP"),
        (dict(statistics=RecordDP(1.0, delta=0.1)), "delta of statistics must be below 1/"),
    ],
)
def test_what_cannot_be_private_is_refused_in_a_sentence(more, words):
    with pytest.raises(ValueError, match=words) as error:
        federation(**more)
    assert sentence(str(error.value))


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("breast_cancer", {}, "public bounds.*'mean_radius', .* and 25 more have none"),
        ("diabetes", {}, "public bounds.*'age', .* have none"),
        ("heart_disease", dict(protocol="flamby"), "must be None with protocol='flamby'"),
        ("hospital_network", dict(statistics=True), "statistics must be None"),
    ],
)
@pytest.mark.parametrize("call", [data.load, lambda name, **more: data.replicates(name, 2, **more)])
def test_data_sets_by_name_are_refused_in_a_sentence(call, name, more, words):
    with pytest.raises(ValueError, match=words) as error:
        call(name, **dict(statistics=RecordDP(1.0)) | more)
    assert sentence(str(error.value))


def test_bounds_of_a_target_are_for_private_statistics_alone():
    with pytest.raises(ValueError, match="'score', which is not a feature"):
        federation(target="score", bounds=PUBLIC["bounds"] | {"score": (0, 12)}, statistics=None)


# ---------------------------------------------------------------- histograms


def test_a_histogram_changes_by_one_and_gets_that_noise():
    """Five standard errors: by chance once in a million seeds."""
    edges, rng = np.linspace(0, 10, 5001), np.random.default_rng(0)
    quiet = RecordDP(noise_multiplier=0)
    values = rng.uniform(-3, 14, 300)
    with_one = [bounded.private_histogram([*values, x], edges, quiet, rng) for x in (5.0, 10.0, 99.0, -99.0)]
    before = bounded.private_histogram(values, edges, quiet, rng)
    assert before.sum() == 300 and all(np.linalg.norm(h - before) == 1 for h in with_one)
    assert (bounded.private_histogram([*values, np.nan], edges, quiet, rng) == before).all()
    promise = RecordDP(0.5)
    for kind in (promise, RecordDP(0.5, secure=True)):
        noise = bounded.private_histogram(values, edges, kind, rng) - before
        assert noise.std() == pytest.approx(promise.noise(sampling=1.0, steps=1), rel=5 / math.sqrt(2 * len(noise)))
    ledger = Ledger().add("histogram", hospital="A", viewer="server", mechanism=bounded.mechanism(promise))
    assert 0.495 <= ledger.epsilon() <= 0.5


def test_histograms_of_other_tables_never_share_noise():
    """Else the difference of two of them names the patient. Five standard errors: by chance once in a million seeds."""
    edges, values = np.linspace(0, 10, 5001), np.linspace(0, 10, 300)
    tables = (values, [*values[:-1], 5.0])
    exact_, noisy = (
        [bounded.private_histogram(v, edges, RecordDP(noise_multiplier=s), np.random.default_rng(7)) for v in tables]
        for s in (0, 1)
    )
    noise = np.array(noisy) - exact_
    assert abs(np.corrcoef(noise)[0, 1]) < 5 / math.sqrt(noise.shape[1])


def test_quantiles_follow_from_a_histogram(network):
    plain, _ = network
    values = plain.pooled().train["systolic_bp"]
    edges = np.arange(80, 231, 5)
    counts = bounded.private_histogram(values, edges, RecordDP(1.0), np.random.default_rng(0))
    for q in (0.1, 0.5, 0.9):
        assert bounded.quantile_from_histogram(counts, edges, q) == pytest.approx(values.quantile(q), abs=2.5)
    found = [bounded.quantile_from_histogram([1, -7, 2], [0, 1, 2, 4], q) for q in (0, 1 / 6, 2 / 3, 1)]
    assert found == pytest.approx([0, 0.5, 3, 4])
    assert bounded.quantile_from_histogram([-5, -1], [0, 1, 4], 0.5) == 2  # nothing left: all values alike


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bounded.private_histogram([1.0], [3, 2], RecordDP(1.0), np.random.default_rng(0)), "edges must"),
        (lambda: bounded.private_histogram([1.0], [2, 3], None, np.random.default_rng(0)), "promise must be privacy"),
        (lambda: bounded.private_histogram([1.0], [2, 3], "x", np.random.default_rng(0)), "promise must be privacy"),
        (lambda: bounded.private_histogram([[1.0]], [2, 3], RecordDP(1.0), np.random.default_rng(0)), "values must be"),
        (lambda: bounded.private_histogram([1.0], [2, 3], RecordDP(1.0), 0), "rng must be a generator"),
        (lambda: bounded.quantile_from_histogram([1.0, 2], [2, 3], 0.5), "one for each of the 1 bins"),
        (lambda: bounded.quantile_from_histogram([1.0], [2, 3], 1.5), "q from 0 to 1"),
    ],
)
def test_histograms_refuse_in_a_sentence(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert sentence(str(error.value))

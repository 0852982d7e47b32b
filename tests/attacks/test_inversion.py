"""Patients out of updates: arithmetic against brute force, search against torch.autograd, and both against controls."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from fedlab_utils import _progress, attacks, data, fleet, synth
from fedlab_utils.attacks import inversion, subtraction
from tests.attacks.helpers import cohort
from tests.refusals import one_sentence


@pytest.fixture(scope="module")
def federation():
    frame = cohort(400)
    frame["sex"] = np.random.default_rng(5).choice(["f", "m"], 400)
    frame.loc[::9, "bmi"] = np.nan
    frame.loc[3::11, "smoker"] = None
    return data.from_frame(frame, target="event", n_hospitals=2)


@pytest.fixture(scope="module")
def numbers_only():
    frame = cohort(300).drop(columns="smoker")
    return data.from_frame(frame.assign(age=frame["age"].round()), target="event", n_hospitals=2)


def batches(federation, K, n, width=16, seed=0, deep=()):
    pool, rng = federation.pooled(), np.random.default_rng(seed)
    rows = torch.from_numpy(np.stack([rng.choice(len(pool.X_train), n, replace=False) for _ in range(K)]))
    X, y = pool.X_train[rows], pool.y_train[rows]
    params = fleet.init(K, (federation.n_features, width, *deep, 1), seed=seed)
    return params, X, y, fleet.gradients(params, X, y, torch.full((K, n), 1 / n), loss="binary")


def exposed(params, X):
    """Whom one neuron, or two of them, tell apart from all others: by looking at who fires them."""
    fired = _hidden(params, X) > 0
    found = []
    for neurons in fired.permute(0, 2, 1):
        subsets = [frozenset(np.flatnonzero(f.numpy())) for f in neurons] + [frozenset()]
        found.append({i for a, b in itertools.combinations(subsets, 2) if len(a ^ b) == 1 for i in a ^ b})
    return found


def _hidden(params, X):
    return torch.baddbmm(params.biases[0][:, None], X, params.weights[0].transpose(1, 2))


def read(guesses, X, near=0.01):
    """Who was read, in each batch."""
    near_by = [torch.cdist(x, guesses.of(k).rows) < near for k, x in enumerate(X)]
    return [set(np.flatnonzero(n.any(1).numpy()).tolist()) for n in near_by]


@pytest.mark.parametrize("n", [1, 3, 5, 8])
def test_differences_read_exactly_whom_brute_force_over_subsets_finds(federation, n):
    params, X, y, update = batches(federation, 12, n)
    guesses = attacks.read_batch(params, update, federation)
    assert read(guesses, X) == exposed(params, X)
    assert sum(map(len, read(guesses, X))) > 12 * n * 0.4
    sure = attacks.read_batch(params, update, federation, n_rows=n)
    assert read(sure, X) == exposed(params, X)
    assert len(sure) == sum(map(len, exposed(params, X)))  # and no mixture is left
    for k in range(12):
        mine = sure.of(k)
        who = torch.cdist(mine.rows, X[k]).argmin(1)
        assert np.array_equal(mine.labels, y[k][who, 0].numpy())
        risk = fleet.forward(params[k : k + 1], X[k]).sigmoid()[0][who, 0]
        assert np.allclose(mine.factor, (risk - y[k][who, 0]) / n, atol=1e-4)


def test_a_pair_reads_more_than_a_neuron_and_agreement_counts_both(federation):
    params, X, _, update = batches(federation, 12, 5)
    alone, pairs, agreed = (
        attacks.read_batch(params, update, federation, **kw) for kw in ({"pairs": "none"}, {}, {"agreement": 2})
    )
    assert sum(map(len, read(alone, X))) < sum(map(len, read(pairs, X)))
    assert all(a <= b for a, b in zip(read(alone, X), read(pairs, X), strict=True))
    assert len(agreed) == (pairs.agreement >= 2).sum() < len(pairs)
    for k in range(12):
        assert (np.diff(pairs.of(k).agreement) <= 0).all()


def test_a_guess_must_fire_exactly_one_of_the_two_neurons():
    sums, weights = (
        torch.tensor([[3.0, 1.0], [1.0, 0.5]]),
        torch.tensor([[1.0], [1.0]]),
    )  # guesses 3, 2 and their pair's 4
    for thresholds, kept in (([0.0, 0.0], [3.0, 2.0]), ([0.0, -5.0], [3.0, 4.0]), ([-5.0, 0.0], [2.0, 4.0])):
        rows, factor = subtraction._differences(sums, weights, torch.tensor(thresholds), 2, "all")
        assert rows[:, 0].tolist() == kept
        assert factor.tolist()[-1] == {2.0: 0.5, 4.0: 0.5 if thresholds[0] == 0 else -0.5}[kept[-1]]


def test_few_neurons_make_few_pairs(federation):
    params, X, _, update = batches(federation, 6, 5, width=32)
    few, all_ = (attacks.read_batch(params, update, federation, neurons=m) for m in (4, 32))
    assert sum(map(len, read(few, X))) < sum(map(len, read(all_, X)))


def test_tables_without_categories(numbers_only):
    params, X, _, update = batches(numbers_only, 10, 5)
    truth = exposed(params, X)
    plain = attacks.read_batch(params, update, numbers_only)
    fine = attacks.read_batch(params, update, attacks.fields(numbers_only, {"age": 1}))
    sure = attacks.read_batch(params, update, numbers_only, n_rows=5)
    right = sum(map(len, truth))
    assert read(plain, X) == read(fine, X) == read(sure, X) == truth
    assert len(plain) > 1.5 * len(fine) and len(plain) > 1.3 * right  # mixtures look like patients ...
    assert len(sure) <= 1.1 * right  # ... but do not explain their own factor


def test_a_secure_sum_is_one_large_batch(federation):
    params, X, y, together = batches(federation, 4, 6)
    share = torch.full((4, 2), 1 / 2)
    parts = [fleet.gradients(params, X[:, i : i + 2], y[:, i : i + 2], share, loss="binary") for i in (0, 2, 4)]
    total = parts[0].map(lambda *ts: sum(ts), *parts[1:])
    assert torch.allclose(total.flat() / 3, together.flat(), atol=1e-6)
    one, other = attacks.read_batch(params, total, federation), attacks.read_batch(params, together, federation)
    assert read(one, X) == read(other, X) == exposed(params, X)
    assert read(attacks.read_batch(params, total, federation, n_rows=2), X) == exposed(params, X)  # each weighs 1/2


def test_the_change_of_one_step_does_as_well(federation):
    params, X, y, _ = batches(federation, 3, 4)
    after = fleet.fit(
        params, X.flatten(0, 1), y.flatten(0, 1), np.arange(12).reshape(3, 4), steps=1, batch_size=4, lr=0.2
    )
    update = params.map(lambda a, b: (a - b) / 0.2, after)
    assert read(attacks.read_batch(params, update, federation), X) == exposed(params, X)


def test_deeper_networks_are_read_by_division_only(federation):
    params, X, _, update = batches(federation, 3, 1, deep=(8,))
    assert read(attacks.read_batch(params, update, federation), X) == [{0}] * 3
    first = attacks.divisions(update)
    assert all(torch.allclose(f[0], x[0], atol=1e-3) for f, x in zip(first, X, strict=True))
    assert len(first[0]) == (_hidden(params, X)[0] > 0).sum()
    with pytest.raises(ValueError, match="labels can be read off networks with one output"):
        _ = attacks.read_batch(params, update, federation).labels


def test_without_a_hidden_layer_everybody_is_in_the_output(federation):
    pool = federation.pooled()
    X, y = pool.X_train[:30, None], pool.y_train[:30, None]
    params = fleet.init(30, (federation.n_features, 1), seed=0)
    update = fleet.gradients(params, X, y, torch.ones(30, 1), loss="binary")
    guesses = attacks.read_batch(params, update, federation)
    assert read(guesses, X) == [{0}] * 30
    assert [guesses.of(k).labels.tolist() for k in range(30)] == y[:, 0].int().tolist()


def test_nothing_is_read_where_nothing_changed(federation):
    params = fleet.init(2, (federation.n_features, 4, 1), seed=0)
    silent = params.map(torch.zeros_like)
    guesses = attacks.read_batch(params, silent, federation)
    assert len(guesses) == 0 and guesses.rows.shape == (0, federation.n_features)
    assert [len(d) for d in attacks.divisions(silent)] == [0, 0]
    params, X, _, update = batches(federation, 3, 1)
    three = attacks.read_batch(params, update, federation)
    with pytest.raises(ValueError, match="guess must come of one update for each of the 1 batches; got 3"):
        attacks.reading(X[:1], three, federation)
    got = attacks.reading(torch.zeros(2, 3, federation.n_features), guesses, federation)
    assert got.whole == got.right == got.random == 0 and np.isnan(got.precision)


# ---------------------------------------------------------------- noise


def test_one_patient_under_noise(federation):
    params, X, _, update = batches(federation, 60, 1, width=32)
    others = torch.cat([h.X_test for h in federation.hospitals])
    for attacker in ("naive", "weights", "shrinks"):
        rows = attacks.read_one(params, update, attacker=attacker, population=others)
        assert torch.allclose(rows, X[:, 0], atol=1e-2)
    rng = torch.Generator().manual_seed(0)
    noisy = update.map(lambda t: t + 0.02 * torch.randn(t.shape, generator=rng))
    error = {
        a: float((attacks.read_one(params, noisy, attacker=a, noise=0.02, population=others) - X[:, 0]).square().mean())
        for a in ("naive", "weights", "shrinks")
    }
    assert error["shrinks"] < error["weights"] < error["naive"]
    lost = attacks.read_one(params, noisy, attacker="shrinks", noise=1e6, population=others)
    assert torch.allclose(lost, others.mean(0).expand_as(lost), atol=1e-3)


def test_the_bound_on_a_gaussian_release():
    assert attacks.reconstruction_bound(0.01, [0.3, 1]) == pytest.approx([0.843, 0.092], abs=1e-3)
    assert attacks.reconstruction_bound(0.01, 0) == 1 and attacks.reconstruction_bound(0, 1) == 0
    assert attacks.reconstruction_bound(0, 0) == 1  # whatever was thought before
    rng, prior = np.random.default_rng(0), 0.2  # whether x is 1, one Gaussian release of x: the best test meets it
    seen = rng.normal(size=200_000)
    cut = np.quantile(seen, 1 - prior)  # a test that is wrong about others as often as the guess is right
    assert np.mean(rng.normal(1, 1, 200_000) > cut) == pytest.approx(attacks.reconstruction_bound(prior, 1), abs=0.01)


def test_weights_that_sort_patients_into_bins(federation):
    others = torch.cat([h.X_test for h in federation.hospitals])
    honest, X, y, update = batches(federation, 1, 64, width=256)
    assert len(read(attacks.read_batch(honest, update, federation), X)[0]) < 16
    params = attacks.binning_weights(others, 256)
    update = fleet.gradients(params, X, y, torch.full((1, 64), 1 / 64), loss="binary")
    guesses = attacks.read_batch(params, update, federation, pairs="neighbours", n_rows=64)
    found = attacks.reading(X, guesses, federation)
    assert found.whole > 0.5 and found.precision > 0.95


# ---------------------------------------------------------------- search


def torch_score(params, k, X, y, seen, task, steps=1, lr=0.0):
    """Loss of model k as torch.nn.functional and torch.autograd have it, after some steps."""
    tensors, total = [t[k].clone().requires_grad_() for t in params.tensors()], 0
    for _ in range(steps):
        out = X
        for i in range(0, len(tensors), 2):
            out = F.linear(out if i == 0 else out.relu(), tensors[i], tensors[i + 1])
        loss = {
            "binary": lambda out: F.binary_cross_entropy_with_logits(out, y),
            "multiclass": lambda out: F.cross_entropy(out, y[:, 0].long()),
            "regression": lambda out: F.mse_loss(out, y),
        }[task](out)
        slopes = torch.autograd.grad(loss, tensors, create_graph=True)
        tensors = [t - lr * s for t, s in zip(tensors, slopes, strict=True)]
        total = total + torch.cat([s.flatten() for s in slopes])
    return 1 - F.cosine_similarity(total, seen, dim=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_what_is_searched_for_has_the_slope_of_torch_autograd(task):
    rng = torch.Generator().manual_seed(0)
    params = fleet.init(3, (5, 7, 4, 3 if task == "multiclass" else 1), seed=0)
    X = torch.randn(3, 6, 5, generator=rng, requires_grad=True)
    y = torch.randint(2, (3, 6, 1), generator=rng).float()
    seen = torch.randn(3, params.n_parameters, generator=rng)
    ours = inversion._distance(inversion._made(params, X, y, task, 1, 0.0), seen)
    theirs = torch.stack([torch_score(params, k, X[k], y[k], seen[k], task) for k in range(3)])
    assert torch.allclose(ours, theirs, atol=1e-5)
    slopes = [torch.autograd.grad(s.sum(), [X])[0] for s in (ours, theirs)]
    assert slopes[0].abs().max() > 1e-4 and torch.allclose(*slopes, atol=1e-6)
    plain = fleet.gradients(params, X.detach(), y, torch.full((3, 6), 1 / 6), loss=task)
    assert torch.equal(plain.flat(), inversion._made(params, X, y, task, 1, 0.0).detach())


def test_local_steps_are_taken_again_as_the_hospital_took_them(federation):
    params, X, y, _ = batches(federation, 2, 3)
    rows = np.arange(6).reshape(2, 3)
    after = fleet.fit(params, X.flatten(0, 1), y.flatten(0, 1), rows, steps=5, batch_size=3, lr=0.2)
    change = params.map(lambda a, b: (a - b) / 0.2, after).flat()
    X.requires_grad_()
    made = inversion._made(params, X, y, "binary", 5, 0.2)
    assert torch.allclose(made, change, atol=1e-5)
    seen = change + 0.1
    ours = inversion._distance(made, seen)
    theirs = torch.stack([torch_score(params, k, X[k], y[k], seen[k], "binary", 5, 0.2) for k in range(2)])
    slopes = [torch.autograd.grad(s.sum(), [X])[0] for s in (ours, theirs)]
    assert slopes[0].abs().max() > 1e-3 and torch.allclose(*slopes, atol=1e-6)


def test_positive_control_a_batch_of_one_is_read_whole(federation):
    params, X, y, update = batches(federation, 4, 1)
    found = attacks.invert(params, update, 1, federation=federation, steps=300, seed=1)
    assert torch.equal(found.labels, y[:, :, 0])
    assert found.rows.shape == (4, 1, federation.n_features) and found.every.shape == (4, 8, 1, federation.n_features)
    got = attacks.reading(X, found, federation)
    assert got.whole >= 0.75 and got.skill > 0.3
    best = found.loss.argmin(1)
    assert torch.equal(found.rows, attacks.fields(federation).snapped(found.every[torch.arange(4), best]))
    again = attacks.invert(params[:2], update[:2], 1, federation=federation, steps=300, seed=1)
    assert torch.allclose(again.rows, found.rows[:2], atol=1e-4)  # a model's start does not depend on the others


def test_negative_controls_have_no_skill(federation):
    pool = federation.pooled()
    X = pool.X_train[:160].view(20, 8, -1)
    rows = torch.from_numpy(np.random.default_rng(3).integers(len(pool.X_test), size=(20, 8)))
    got = attacks.reading(X, pool.X_test[rows], federation, draws=20)
    spread = (got.each["right"] - got.each["random"]).std() / np.sqrt(20)
    assert abs(got.skill) < 3 * spread and got.whole < 0.05 and got.random > 0.3
    params, _, _, update = batches(federation, 6, 4)
    rng = torch.Generator().manual_seed(0)
    nothing = update.map(lambda t: torch.randn(t.shape, generator=rng))
    found = attacks.invert(params, nothing, 4, federation=federation, steps=60, restarts=2)
    assert attacks.reading(X[:6, :4], found, federation).skill < 0.05


def test_steps_simulated_read_more(federation):
    params, X, y, _ = batches(federation, 4, 2)
    rows = np.arange(8).reshape(4, 2)
    after = fleet.fit(params, X.flatten(0, 1), y.flatten(0, 1), rows, steps=6, batch_size=2, lr=1.0)
    update = params.map(torch.sub, after)
    about = dict(federation=federation, labels=y[..., 0], steps=120, restarts=3)
    naive = attacks.invert(params, update, 2, **about)
    again = attacks.invert(params, update, 2, local_steps=6, lr=1.0, **about)
    assert again.loss.amin(1).mean() < naive.loss.amin(1).mean()
    got = [attacks.reading(X, found, federation) for found in (naive, again)]
    assert got[1].right > got[0].right


def test_the_number_of_ill_is_in_the_outputs_bias(federation):
    params, _, y, update = batches(federation, 30, 6)
    assert torch.equal(attacks.positives(params, update, 6), y.sum((1, 2)).long())


def test_progress_is_heard_and_stops_the_search(federation):
    params, _, _, update = batches(federation, 2, 2)
    about = dict(federation=federation, restarts=2, steps=40)
    heard, seen = [], []
    with _progress.listening(lambda label, share: heard.append((label, share))):
        attacks.invert(params, update, 2, **about)
    assert heard[0] == ("Search", 0.0) and len(heard) == 40
    attacks.invert(params, update, 2, **about, on_step=lambda step, now: seen.append((step, now.rows.shape, now.loss)))
    assert [s for s, *_ in seen] == list(range(2, 41, 2)) and seen[0][1] == (2, 2, federation.n_features)
    assert seen[-1][2].mean() < seen[0][2].mean()

    def stop(step, now):
        raise KeyError("enough")

    with pytest.raises(KeyError):
        attacks.invert(params, update, 2, **about, on_step=stop)


# ---------------------------------------------------------------- fields and readings


def test_fields_are_the_columns_of_the_table(federation):
    fields = attacks.fields(federation)
    names = federation.feature_names
    assert [names[j] for j in fields.numbers] == list(federation.schema.numeric)
    assert [[names[j] for j in b] for b in fields.blocks] == [
        [n for n in names if n.startswith(f"{c}_")] for c in federation.schema.categorical
    ]
    assert sorted([*fields.numbers, *(j for b in fields.blocks for j in b)]) == list(range(federation.n_features))
    everybody = federation.pooled().X_train
    assert fields.patient(everybody).all()
    assert torch.allclose(fields.snapped(everybody), everybody, atol=1e-6)
    twice = everybody.clone()
    twice[:, list(max(fields.blocks, key=len))[:2]] = 1  # two categories at once
    assert not fields.patient(twice).any()
    half = (everybody[:-1] + everybody[1:]) / 2
    differ = (everybody[:-1] != everybody[1:])[:, [j for b in fields.blocks for j in b]].any(1)
    assert not fields.patient(half)[differ].any()


def test_bounds_granularity_and_two_values_are_asked_for():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.integers(20, 80, 90), "sex": rng.integers(0, 2, 90), "y": [0, 1, 1] * 30})
    fed = data.from_frame(frame, target="y", n_hospitals=1, bounds={"age": (18, 90)})
    fields, rows = attacks.fields(fed, {"age": 1}), fed.pooled().X_train[:3].clone()
    assert fields.patient(rows).all() and list(fields.levels) == [1]
    sd = fed.agreed.sds["age"]
    rows[0, 0] += 0.5 / sd
    rows[1, 0] += 80 / sd
    rows[2, 1] += 0.5
    assert not fields.patient(rows).any()
    assert attacks.fields(fed).patient(rows).tolist() == [True, False, False]
    near = fields.wrong(rows, fed.pooled().X_train[:3])
    assert near.diagonal().tolist() == [0.0, 0.5, 0.0]


def test_a_reading_by_hand(numbers_only):
    d = numbers_only.n_features
    truth = torch.zeros(2, d)
    truth[1] += 5
    guess = torch.stack([truth[1] + 0.3, truth[0] + 0.3, truth[0] + 9])
    guess[1, 0] += 1
    got = attacks.reading(truth, guess, numbers_only, strangers=truth + 100)
    assert got.each.iloc[0].to_dict() == {
        "patients": 2, "guesses": 3, "whole": 0.5, "right": 1 - 0.5 / d, "random": 0, "hits": 1,
    }  # fmt: skip
    assert got.precision == pytest.approx(1 / 3) and got.skill == got.right and "skill=" in repr(got)
    assert attacks.reading(truth, guess, numbers_only, near=0.2).right == 0
    assert attacks.reading(truth, guess[:1], numbers_only).right == 0.5  # the other patient was not read


X2 = torch.zeros(2, 3)
PARAMS = fleet.init(1, (3, 4, 1), seed=0)
FIELDS = attacks.Fields(("a", "b", "c"), (0, 1, 2), {}, (), (), (-8.0,) * 3, (8.0,) * 3, (None,) * 3)
CALLS = {
    "params": [
        lambda: attacks.read_batch(None, PARAMS, FIELDS),
        lambda: attacks.invert(X2, PARAMS, 2),
        lambda: attacks.read_one(fleet.init(1, (3, 4, 4, 1), seed=0), fleet.init(1, (3, 4, 4, 1), seed=0)),
        lambda: attacks.positives(fleet.init(1, (3, 4, 2), seed=0), fleet.init(1, (3, 4, 2), seed=0), 2),
    ],
    "update": [
        lambda: attacks.read_batch(PARAMS, PARAMS.flat(), FIELDS),
        lambda: attacks.read_batch(PARAMS, fleet.init(2, (3, 4, 1), seed=0), FIELDS),
        lambda: attacks.invert(PARAMS, PARAMS.map(lambda t: t * torch.nan), 2),
        lambda: attacks.divisions(X2),
    ],
    "federation": [
        lambda: attacks.read_batch(PARAMS, PARAMS, None),
        lambda: attacks.invert(PARAMS, PARAMS, 2, federation="hospital_network"),
        lambda: attacks.read_batch(*[fleet.init(1, (2, 4, 1), seed=0)] * 2, FIELDS),
        lambda: attacks.fields(FIELDS),
    ],
    "n_rows": [
        lambda: attacks.invert(PARAMS, PARAMS, 0),
        lambda: attacks.read_batch(PARAMS, PARAMS, FIELDS, n_rows=1.5),
        lambda: attacks.read_batch(*[fleet.init(1, (3, 4, 2), seed=0)] * 2, FIELDS, n_rows=2),
    ],
    "pairs": [lambda: attacks.read_batch(PARAMS, PARAMS, FIELDS, pairs="some")],
    "neurons": [lambda: attacks.read_batch(PARAMS, PARAMS, FIELDS, neurons=0)],
    "agreement": [lambda: attacks.read_batch(PARAMS, PARAMS, FIELDS, agreement=0)],
    "tolerance": [lambda: attacks.read_batch(PARAMS, PARAMS, FIELDS, tolerance=-1)],
    "attacker": [lambda: attacks.read_one(PARAMS, PARAMS, attacker="clever")],
    "noise": [lambda: attacks.read_one(PARAMS, PARAMS, noise=-1)],
    "population": [lambda: attacks.read_one(PARAMS, PARAMS, attacker="shrinks")],
    "lr": [
        lambda: attacks.invert(PARAMS, PARAMS, 2, local_steps=3),
        lambda: attacks.invert(PARAMS, PARAMS, 2, lr=0.1),
        lambda: attacks.invert(PARAMS, PARAMS, 2, lr=-1, local_steps=3),
    ],
    "labels": [
        lambda: attacks.invert(PARAMS, PARAMS, 2, labels=X2),
        lambda: attacks.invert(PARAMS, PARAMS, 2, loss="regression"),
        lambda: attacks.invert(PARAMS, PARAMS, 2, local_steps=3, lr=0.1),
    ],
    "y": [lambda: attacks.invert(PARAMS, PARAMS, 2, labels=torch.full((1, 2), 2.0))],
    "loss": [lambda: attacks.invert(PARAMS, PARAMS, 2, loss="hinge")],
    "restarts": [lambda: attacks.invert(PARAMS, PARAMS, 2, restarts=0)],
    "steps": [lambda: attacks.invert(PARAMS, PARAMS, 2, steps=0)],
    "rate": [lambda: attacks.invert(PARAMS, PARAMS, 2, rate=-1)],
    "seed": [lambda: attacks.invert(PARAMS, PARAMS, 2, seed=-1), lambda: attacks.binning_weights(X2, 3, seed="a")],
    "on_step": [lambda: attacks.invert(PARAMS, PARAMS, 2, on_step=3)],
    "prior": [lambda: attacks.reconstruction_bound(1.5, 1)],
    "sigma": [lambda: attacks.reconstruction_bound(0.5, -1)],
    "rows": [lambda: attacks.binning_weights(X2.numpy(), 3), lambda: attacks.binning_weights(X2 * torch.nan, 3)],
    "n_neurons": [lambda: attacks.binning_weights(X2, 0)],
    "truth": [lambda: attacks.reading(X2.numpy(), X2, FIELDS, strangers=X2)],
    "guess": [
        lambda: attacks.reading(X2, X2[:, :2], FIELDS, strangers=X2),
        lambda: attacks.reading(X2, X2.expand(3, 2, 3), FIELDS, strangers=X2),
    ],
    "strangers": [
        lambda: attacks.reading(X2, X2, FIELDS),
        lambda: attacks.reading(X2, X2, FIELDS, strangers=X2[:, :2]),
        lambda: attacks.reading(X2, X2, FIELDS, strangers=X2[:0]),
    ],
    "draws": [lambda: attacks.reading(X2, X2, FIELDS, strangers=X2, draws=0)],
    "near": [lambda: attacks.reading(X2, X2, FIELDS, strangers=X2, near=-1)],
    "create_graph": [
        lambda: fleet.gradients(PARAMS, X2[None], X2[None, :, :1], X2[None, :, 0], loss="binary", create_graph=1),
        lambda: fleet.gradients(
            PARAMS, X2[None], X2[None, :, :1], X2[None, :, 0], loss="binary", create_graph=True, max_norm=1.0
        ),
    ],
}


@pytest.mark.parametrize(("about", "call"), [(name, call) for name, calls in CALLS.items() for call in calls])
def test_bad_arguments_are_refused_in_one_sentence(about, call):
    with one_sentence(about):
        call()


def test_granularity_names_a_number(federation):
    with one_sentence("granularity"):
        attacks.fields(federation, {"sex": 1})


def test_the_rate_of_adam_can_change_between_steps():
    """Down slopes that stay the same, every step of Adam is as long as its rate."""
    place = torch.zeros(2)
    adam = synth.players.Adam([place], 0.1)
    for lr in (0.1, 0.1, 0.03):
        adam.lr, before = lr, place.clone()
        adam.step([torch.tensor([1.0, -2.0])])
        assert torch.allclose(place - before, lr * torch.tensor([-1.0, 1.0]), atol=1e-5)

"""What an attack proves: planted bugs are caught, the right mechanism is not accused, bounds keep their confidence.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binom, binomtest, norm

from fedlab_utils import audit, data, federated, privacy
from fedlab_utils.privacy import accounting
from tests.refusals import one_sentence

STEPS, ROUNDS, CLIP = 40, 20, 1.0


def clip(vectors):
    return vectors * (CLIP / vectors.norm(dim=-1, keepdim=True)).clamp(max=1)


def noisy(total, spread, rng):
    return total + spread * torch.randn(total.shape, generator=rng)


def mechanisms(claim=1.0, sampling=1.0):
    """The right one and the planted bugs, all of them with the same claim."""
    sigma = privacy.noise_for(claim, sampling=sampling, steps=STEPS)
    of_one_round = privacy.noise_for(claim, sampling=sampling, steps=STEPS // ROUNDS)

    def right(gradients, rng):
        return noisy(clip(gradients).sum(1), sigma * CLIP, rng)

    def no_clipping(gradients, rng):
        return noisy(gradients.sum(1), sigma * CLIP, rng)

    def clips_the_mean(gradients, rng):
        return noisy(clip(gradients.mean(1)), sigma * CLIP / gradients.shape[1], rng)

    def accountant_reset_each_round(gradients, rng):
        return noisy(clip(gradients).sum(1), of_one_round * CLIP, rng)

    def same_noise_in_every_step(gradients, rng):
        return noisy(clip(gradients).sum(1), sigma * CLIP, torch.Generator().manual_seed(7))

    made = (right, no_clipping, clips_the_mean, accountant_reset_each_round, same_noise_in_every_step)
    return {m.__name__: m for m in made}


@pytest.mark.parametrize("sampling", [1.0, 0.5])
@pytest.mark.parametrize("name", [n for n in mechanisms() if n != "right"])
def test_planted_bugs_are_caught_in_each_of_ten_repetitions(name, sampling):
    bug = mechanisms(sampling=sampling)[name]
    found = [audit.epsilon_lower_bound(bug, steps=STEPS, sampling=sampling, models=2000, seed=s) for s in range(10)]
    assert min(a.lower for a in found) > 1
    assert {a.score for a in found} == {"differences" if name == "same_noise_in_every_step" else "sum"}


def test_the_right_mechanism_is_not_accused():
    for sampling in (1.0, 0.5):
        right = mechanisms(sampling=sampling)["right"]
        for seed in range(40):
            found = audit.epsilon_lower_bound(right, steps=STEPS, sampling=sampling, seed=seed)
            assert found.lower < 1 and (found.refined or 0) < 1
            assert (found.refined is None) == (sampling < 1)


def test_with_many_models_the_refined_bound_comes_close_to_the_promise():
    """A canary of half the clip norm, or half the steps, would leave half the epsilon."""
    right = mechanisms(claim=3.0)["right"]
    found = audit.epsilon_lower_bound(right, steps=STEPS, models=10_000, canary_norm=CLIP)
    assert 0.8 * 3 < found.refined < 3 and found.lower < found.refined


def test_a_canary_that_is_too_short_finds_less():
    right = mechanisms(claim=3.0)["right"]
    assert audit.epsilon_lower_bound(right, steps=STEPS, models=4000, canary_norm=CLIP / 2).refined < 1.6


def test_noise_used_twice_needs_the_differences_and_noise_that_cancels_needs_the_sum():
    pull, rng = audit.pull(8), np.random.default_rng(0)
    present = np.arange(600) % 2 == 0
    signal = np.outer(present, pull)
    same = 8 * rng.normal(size=(600, 1))  # in every step
    cancels = 8 * np.repeat(rng.normal(size=(600, 4)), 2, axis=1) * [1, -1, 1, -1, 1, 1, 1, 1]
    for noise, score in ((same, "differences"), (cancels, "sum")):
        found = audit.judge(signal + noise, present, pull, gaussian=False)
        assert found.score == score and found.lower == found.ceiling


def test_pull():
    assert audit.pull(1).tolist() == [1]
    assert audit.pull(5).tolist() == [1, 1, 1, -1, 1]
    assert audit.pull(8).tolist() == [1, 1, 1, 1, -1, 1, -1, 1]


# --- the statistics -----------------------------------------------------------------------------------------


def too_high(true_epsilon, draw, gaussian, repetitions=250, models=150, delta=1e-5):
    """How often a bound lies above the truth, of `lower` and `refined`."""
    present, wrong = np.arange(3 * models // 2) % 2 == 1, np.zeros(2)
    for seed in range(repetitions):
        transcript = draw(np.random.default_rng(seed), present)[:, None]
        found = audit.judge(transcript, present, [1.0], gaussian=gaussian, delta=delta)
        wrong += [found.lower > true_epsilon, (found.refined or 0) > true_epsilon]
    return wrong


def test_bounds_keep_their_confidence():
    """By chance this would fail once in a thousand seeds at most (less: both rates have to err)."""
    allowed = binom.ppf(0.999, 250, 0.05)
    nothing = too_high(0.0, lambda rng, p: rng.normal(size=len(p)), gaussian=True)
    assert max(nothing) <= allowed
    gauss = too_high(privacy.epsilon(1 / 1.5), lambda rng, p: rng.normal(size=len(p)) + 1.5 * p, gaussian=True)
    assert gauss[1] <= allowed
    laplace = too_high(1.0, lambda rng, p: rng.laplace(size=len(p)) + p, gaussian=False)
    assert laplace[0] <= allowed


def test_the_threshold_comes_from_models_that_are_not_counted():
    present = np.arange(900) % 2 == 1
    transcript = present + 0.1 * np.random.default_rng(0).normal(size=900)
    assert audit.judge(transcript[:, None], present, [1.0], gaussian=False).lower > 4
    transcript[:300] += 10  # the best threshold among the first third is nonsense for the rest
    found = audit.judge(transcript[:, None], present, [1.0], gaussian=True)
    assert (found.tpr, found.fpr, found.lower, found.refined, found.models) == (0, 0, 0, 0, 600)


def test_intervals_and_bounds_are_those_of_scipy():
    rng, present = np.random.default_rng(0), np.arange(900) % 2 == 1
    transcript = rng.normal(size=(900, 1)) + 1.5 * present[:, None]
    found = audit.judge(transcript, present, [1.0], gaussian=True, delta=1e-3, confidence=0.9)
    for rate, interval in ((found.tpr, found.tpr_interval), (found.fpr, found.fpr_interval)):
        exact = binomtest(round(rate * 300), 300).proportion_ci(0.9, "exact")
        assert interval == pytest.approx((exact.low, exact.high))
    low, high = found.tpr_interval[0], found.fpr_interval[1]
    either = max((low - 1e-3) / high, (1 - high - 1e-3) / (1 - low))
    assert found.lower == pytest.approx(math.log(either)) and found.models == 600
    assert [found.fpr, found.tpr] in found.roc.tolist() or np.abs(found.roc - [found.fpr, found.tpr]).sum(
        1
    ).min() < 0.02
    assert (
        found.roc[0].tolist() == [0, 0] and found.roc[-1].tolist() == [1, 1] and (np.diff(found.roc, axis=0) >= 0).all()
    )


def test_the_refined_bound_inverts_the_gaussian_trade_off_curve():
    for mu, delta in ((0.3, 1e-5), (1.5, 1e-5), (3.0, 1e-3)):
        assert accounting.gaussian_epsilon(mu, delta) == pytest.approx(privacy.epsilon(1 / mu, delta=delta), rel=3e-3)
        fpr = norm.sf(2.0)
        assert audit._mu(norm.sf(2.0 - mu), fpr) == pytest.approx(mu)


def test_what_a_sample_can_certify_at_most():
    assert audit.ceiling(250, 250) == pytest.approx(4.2, abs=0.05)  # 0.025 ** (1 / 250) by hand
    by_hand = 0.025 ** (1 / 250)
    assert audit.ceiling(250, 250) == pytest.approx(math.log((by_hand - 1e-5) / (1 - by_hand)))
    present = np.arange(750) % 2 == 1
    found = audit.judge(present[:, None] * 1.0, present, [1.0], gaussian=False)
    assert found.lower == found.ceiling == pytest.approx(audit.ceiling(250, 250))
    assert (found.tpr, found.fpr, found.refined) == (1, 0, None)


def test_nothing_to_find():
    present = np.arange(750) % 2 == 1
    for transcript in (np.zeros((750, 3)), np.random.default_rng(0).normal(size=(750, 3))):
        found = audit.judge(transcript, present, audit.pull(3), gaussian=True)
        assert found.lower == found.refined == 0


# --- the package's own training ------------------------------------------------------------------------------


def ward(present):
    """Two hospitals; one patient of the first may have an enormous gradient along a feature that nobody else has."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("abc")).assign(ward=["north", "south"] * 30)
    federation = data.from_frame(frame.assign(y=frame["a"] + rng.normal(size=60)), target="y", hospital="ward")
    hospitals = []
    for h in federation.hospitals:
        X, y = h.X_train.clone(), h.y_train.clone()
        X[:, -1] = 0
        if present and h is federation.hospitals[0]:
            X[-1], y[-1] = torch.tensor([0.0, 0.0, 50.0]), 1e4
        hospitals.append(dataclasses.replace(h, X_train=X, y_train=y))
    return dataclasses.replace(federation, hospitals=type(federation.hospitals)(hospitals))


def federated_audit(promise, batch_size, models=300):
    """Who sees the global model of each round: the canary pulls its own coefficient up in every step."""
    moved = []
    for present in (False, True):
        path = []
        run = federated.train(
            ward(present), rounds=10, local_steps=2, batch_size=batch_size, lr=0.05, hidden=(), privacy=promise,
            seeds=models, seed=int(present),
            on_round=lambda run, path=path: path.append(run.params.weights[0][:, 0, -1].numpy().copy()),
        )  # fmt: skip
        moved.append(np.diff(np.stack(path, 1), axis=1, prepend=path[0][:, None]))
    transcript, present = np.stack(moved, 1).reshape(2 * models, -1), np.arange(2 * models) % 2 == 1
    return audit.judge(transcript, present, np.ones(10), gaussian=batch_size > 20), run[0].ledger.epsilon()


@pytest.mark.parametrize("batch_size", [1000, 12])  # 20 patients a hospital: sampling rate 1, and 0.6
def test_federated_training_keeps_its_promise_under_attack(batch_size):
    found, spent = federated_audit(privacy.RecordDP(epsilon=1.0, secure=False), batch_size)
    assert max(found.lower, found.refined or 0) < spent < 1
    control, spent = federated_audit(privacy.RecordDP(noise_multiplier=0.5, secure=False), batch_size)
    assert 2 < control.lower < spent  # the attack works where there is something to find


def hospital_audit(promise, models=300):
    """Other hospitals see the global models; one hospital's update may pull one coefficient up with all it has."""
    moved = []
    for present in (False, True):
        path = [np.zeros(models)]
        run = federated.train(
            ward(present), rounds=10, local_steps=1, batch_size=1000, lr=0.05, hidden=(), privacy=promise,
            seeds=models, seed=int(present),
            on_round=lambda run, path=path: path.append(run.params.weights[0][:, 0, -1].numpy().copy()),
        )  # fmt: skip
        moved.append(np.diff(np.stack(path, 1), axis=1)[:, 1:])  # where a model starts is nobody's secret
    transcript, present = np.stack(moved, 1).reshape(2 * models, -1), np.arange(2 * models) % 2 == 1
    return audit.judge(transcript, present, np.ones(9), gaussian=True), run[0].ledger.epsilon()


def test_updates_of_a_hospital_keep_their_promise_under_attack():
    found, spent = hospital_audit(privacy.HospitalDP(epsilon=1.0, secure=False))
    assert max(found.lower, found.refined) < spent < 1
    control, spent = hospital_audit(privacy.HospitalDP(noise_multiplier=0.5, secure=False))
    assert 2 < control.lower < spent


def test_a_bug_is_caught_in_the_packages_own_training():
    """What was promised for one round is paid ten times: whoever resets the accountant claims epsilon 1."""
    one_round = privacy.noise_for(1.0)
    found, spent = hospital_audit(privacy.HospitalDP(noise_multiplier=one_round, secure=False), models=1000)
    assert 1 < found.refined < spent and spent > 3


# --- arguments -----------------------------------------------------------------------------------------------


def test_same_seed_same_audit_and_nothing_global_moves():
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    one, two, other = (audit.epsilon_lower_bound(mechanisms(3.0)["right"], steps=4, seed=s) for s in (0, 0, 1))
    assert np.array_equal(one.roc, two.roc) and not np.array_equal(one.roc, other.roc)
    assert torch.equal(before, torch.random.get_rng_state()) and threads == torch.get_num_threads()


@pytest.mark.parametrize(
    ("words", "given"),
    [
        ("steps must be a whole number of at least 1; got 0", {"steps": 0}),
        ("models must be a whole number of at least 8; got 4", {"models": 4}),
        ("sampling must be a probability", {"sampling": 1.5}),
        ("delta must be a probability", {"delta": 0}),
        ("confidence must be a probability from 0.5", {"confidence": 95}),
        ("canary_norm must be above 0", {"canary_norm": 0}),
        ("return a tensor .* got list", {"release": lambda g, rng: [0]}),
        (r"return a tensor .* got \(750, 25, 8\)", {"release": lambda g, rng: g}),
        ("finite numbers; in step 1", {"release": lambda g, rng: g.sum(1) / 0}),
    ],
)
def test_bad_arguments_get_one_sentence(words, given):
    with pytest.raises(ValueError, match=words):
        audit.epsilon_lower_bound(**{"release": mechanisms()["right"], "steps": 4} | given)


@pytest.mark.parametrize(
    ("words", "transcript", "present"),
    [
        (r"transcript must be \[9, 1\].* got \(9, 2\)", np.zeros((9, 2)), np.arange(9) % 2),
        ("with and without the canary", np.zeros((9, 1)), np.ones(9)),
        ("with and without the canary", np.zeros((9, 1)), np.arange(9) < 3),
    ],
)
def test_transcripts_that_cannot_be_judged(words, transcript, present):
    with pytest.raises(ValueError, match=words):
        audit.judge(transcript, present, [1.0], gaussian=False)


NAN = float("nan")
COUNT, RATE = (0, -5, 2.5, NAN, True, "9", None, []), (0, -0.1, 1, 1.5, NAN, True, "0.1", None, [0.1])
PRESENT = np.arange(30) % 2 == 1
RIGHT = {
    audit.epsilon_lower_bound: dict(release=lambda g, rng: g.sum(1), steps=2, models=8),
    audit.judge: dict(transcript=PRESENT[:, None] * 1.0, present=PRESENT, pull=[1.0], gaussian=False),
    audit.ceiling: dict(n_with=5, n_without=5),
    audit.pull: dict(steps=3),
}
WRONG = {
    "release": (None, "f", 3),
    "steps": COUNT,
    "models": COUNT,
    "sampling": tuple(v for v in RATE if v is True or v != 1),
    "delta": RATE,
    "confidence": RATE,
    "canary_norm": (0, -1, NAN, float("inf"), True, "20", None),
    "seed": (-1, 0.5, NAN, True, "0", None),
    "transcript": (
        None,
        "t",
        3,
        [],
        np.full((30, 1), NAN),
        np.full((30, 1), np.inf),
        np.zeros(30),
        [["a"]] * 30,
        [[1], [1, 2]],
    ),
    "present": (None, "p", [], np.full(30, NAN), np.arange(30), PRESENT[:, None], ["yes", "no"] * 15),
    "pull": (None, "p", [], [NAN], [[1.0]], 1.0, ["+"]),
    "gaussian": ("no", None, 1),
    "n_with": COUNT,
    "n_without": COUNT,
}
OPTIONS = {
    audit.epsilon_lower_bound: ("sampling", "delta", "confidence", "canary_norm", "seed"),
    audit.judge: ("delta", "confidence"),
    audit.ceiling: ("delta", "confidence"),
}
CASES = [
    (f, name, wrong) for f, right in RIGHT.items() for name in (*right, *OPTIONS.get(f, ())) for wrong in WRONG[name]
]


@pytest.mark.parametrize(("function", "name", "wrong"), CASES, ids=[f"{f.__name__}-{name}" for f, name, _ in CASES])
def test_a_wrong_argument_gets_one_sentence_before_any_work(function, name, wrong):
    def never(gradients, rng):
        raise AssertionError("asked for a release before the arguments were looked at")

    right = RIGHT[function] | ({"release": never} if "release" in RIGHT[function] else {})
    with one_sentence(name):
        function(**right | {name: wrong})


def test_an_audit_is_shown_in_one_line():
    found = audit.judge(**RIGHT[audit.judge] | {"gaussian": True})
    assert repr(found).startswith("Audit(epsilon at least 0.") and "refined" in repr(found) and len(repr(found)) < 120

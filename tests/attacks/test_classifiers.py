"""Membership in classifiers: shadow models, the attacks of the papers, and their controls.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import numpy as np
import pytest
import torch
from scipy.integrate import trapezoid
from scipy.special import expit
from scipy.stats import norm

from fedlab_utils import attacks, fleet
from fedlab_utils.attacks import classifiers
from fedlab_utils.fleet.randomness import generator
from fedlab_utils.privacy.accounting import epsilon
from tests.attacks.helpers import TRAINING, cohort, patients


@pytest.fixture(scope="module")
def target():
    return attacks.shadows(*patients(60), n_models=3, seed=99, **TRAINING)


# ---------------------------------------------------------------- shadow models


def test_shadow_models_in_a_fleet_are_shadow_models_one_by_one():
    X, y = patients(40)
    together = attacks.shadows(X, y, n_models=5, seed=7, **TRAINING)
    for k in range(5):
        rows = np.flatnonzero(generator(7, k, 6).random(40) < 0.5)
        alone = fleet.init(1, (6, 16, 1), seed=[generator(7, k, 0)])
        work = dict(epochs=30, batch_size=16, lr=0.01, optimiser="adam", seed=[generator(7, k, 1)])
        alone = fleet.fit(alone, X, y, [rows], **work)
        assert np.array_equal(np.flatnonzero(together.member[k]), rows)
        assert np.allclose(together.logit[k], attacks.scaled_logit(alone, X, y)[0], atol=1e-4)


def test_more_models_do_not_change_the_first_ones(shadows):
    few = attacks.shadows(*patients(60), n_models=4, seed=3, **TRAINING)
    assert np.array_equal(few.member, shadows.member[:4])
    assert np.allclose(few.logit, shadows.logit[:4], atol=1e-4)


def test_membership_is_by_independent_coins():
    member = classifiers.coins(200, 400, seed=1)
    flips = member - 0.5
    assert abs(member.mean() - 0.5) < 0.01
    between_rows = np.corrcoef(flips.T)[np.triu_indices(200, 1)]
    between_models = np.corrcoef(flips)[np.triu_indices(400, 1)]
    assert np.var(between_rows) == pytest.approx(1 / 400, rel=0.1)  # a fixed number of members would give the same
    assert np.var(between_models) == pytest.approx(1 / 200, rel=0.1)
    assert member.sum(1).var() == pytest.approx(200 / 4, rel=0.3)  # but not this
    assert member.sum(0).var() == pytest.approx(400 / 4, rel=0.4)


@pytest.mark.parametrize(("n_out", "loss"), [(1, "binary"), (3, "multiclass")])
def test_logits_of_a_saturated_network_are_finite_and_exact(n_out, loss):
    X, y = patients(30)
    labels = y if loss == "binary" else (torch.arange(30) % 3).float()[:, None]

    def both(scale):
        params = fleet.init(2, (6, 8, n_out), seed=0).map(lambda t: t * scale)
        out = fleet.forward(params, X)
        p = torch.cat([1 - out.sigmoid(), out.sigmoid()], 2) if loss == "binary" else out.softmax(2)
        p = p.gather(2, labels.long().expand(2, 30, 1)).squeeze(2)
        return attacks.scaled_logit(params, X, labels, loss=loss), (p / (1 - p)).log()

    logit, naive = both(40)
    assert logit.dtype == np.float64 and np.isfinite(logit).all() and np.abs(logit).max() > 200
    assert not naive.isfinite().all()  # why the formula matters
    assert np.allclose(*both(1), atol=1e-5)


# ---------------------------------------------------------------- the attacks are those of the papers


def others_of(shadows, target, k):
    """What plain implementations loop over: models to attack with, the target's logits, and its members."""
    if target is not None:
        return shadows.member, shadows.logit, target.logit[k], target.member[k]
    rest = np.arange(len(shadows)) != k
    return shadows.member[rest], shadows.logit[rest], shadows.logit[k], shadows.member[k]


def arguments(target):
    return () if target is None else (target.logit, target.member)


@pytest.mark.parametrize("turns", [True, False], ids=["each in turn", "targets"])
@pytest.mark.parametrize("fixed", [True, False])
def test_lira_equals_a_plain_implementation(shadows, target, turns, fixed):
    target = None if turns else target
    online = attacks.lira(shadows, *arguments(target), fixed_variance=fixed)
    offline = attacks.lira(shadows, *arguments(target), fixed_variance=fixed, online=False)
    for k in range(3):
        member, logit, own, truth = others_of(shadows, target, k)
        ins = [logit[member[:, i], i] for i in range(60)]
        outs = [logit[~member[:, i], i] for i in range(60)]
        pooled = [
            np.sqrt(sum(((g - g.mean()) ** 2).sum() for g in s) / sum(len(g) - 1 for g in s)) for s in (ins, outs)
        ]
        for i in range(60):
            s_in, s_out = pooled if fixed else (ins[i].std(ddof=1), outs[i].std(ddof=1))
            ratio = norm.logpdf(own[i], ins[i].mean(), s_in) - norm.logpdf(own[i], outs[i].mean(), s_out)
            assert online.scores[k, i] == pytest.approx(ratio, rel=1e-8, abs=1e-8)
            tail = norm.sf(own[i], outs[i].mean(), s_out)
            assert norm.sf(offline.scores[k, i]) == pytest.approx(tail, rel=1e-6, abs=1e-12)
        assert np.array_equal(online.member[k], truth)


def test_variances_are_shared_below_64_models(shadows):
    assert np.array_equal(attacks.lira(shadows).scores, attacks.lira(shadows, fixed_variance=True).scores)
    twice = attacks.Shadows(np.tile(shadows.member, (2, 1)), np.tile(shadows.logit, (2, 1)))
    assert np.array_equal(attacks.lira(twice).scores, attacks.lira(twice, fixed_variance=False).scores)


@pytest.mark.parametrize("turns", [True, False], ids=["each in turn", "targets"])
@pytest.mark.parametrize("gamma", [1.0, 1.5])
def test_rmia_equals_a_plain_implementation(shadows, target, turns, gamma):
    target, a = None if turns else target, 0.4
    online = attacks.rmia(shadows, *arguments(target), gamma=gamma)
    offline = attacks.rmia(shadows, *arguments(target), gamma=gamma, online=False, a=a)
    for k in range(3):
        member, logit, own, _ = others_of(shadows, target, k)
        average = expit(logit).mean(0)
        p_out = np.array([expit(logit[~member[:, i], i]).mean() for i in range(60)])
        for found, prior in ((online, average), (offline, ((1 + a) * p_out + (1 - a)) / 2)):
            ratio = expit(own) / prior
            share = [np.mean([ratio[i] / ratio[z] >= gamma for z in range(60)]) for i in range(60)]
            assert np.allclose(found.scores[k], share)


@pytest.mark.parametrize("own", [True, False])
def test_rmia_takes_probabilities_that_nearly_vanish(shadows, target, own):
    tiny = attacks.Shadows(shadows.member, shadows.logit - 700)  # p is e^-700 and less, so log p is the logit
    less = attacks.Shadows(shadows.member, shadows.logit - 900)  # and this is 0 in 64-bit numbers
    pair = [attacks.rmia(s, *(() if own else (target.logit - c, target.member))) for s, c in ((tiny, 700), (less, 900))]
    assert np.array_equal(*(result.scores for result in pair)) and pair[0].auc.value > 0.55


def test_rmia_works_with_two_models(shadows, target):
    few = attacks.rmia(shadows[:2], target.logit, target.member, online=False)
    assert few.auc.value > 0.55
    member, p, own = shadows.member[:2], expit(shadows.logit[:2]), expit(target.logit[0])
    p_out = [
        p[~member[:, i], i].mean() if not member[:, i].all() else max((p[:, i].mean() - 0.7) / 0.3, 0)
        for i in range(60)
    ]
    ratio = own / ((1.3 * np.array(p_out) + 0.7) / 2)
    assert np.allclose(few.scores[0], [(ratio[i] >= ratio * (1 - 1e-9)).mean() for i in range(60)])


def test_calibration_subtracts_what_models_without_the_patient_find(shadows, target):
    found = attacks.calibrated(shadows, target.logit, target.member)
    for i in range(60):
        without = np.log(expit(shadows.logit[~shadows.member[:, i], i])).mean()
        assert np.allclose(found.scores[:, i], np.log(expit(target.logit[:, i])) - without)


@pytest.mark.parametrize("attack", [attacks.lira, attacks.rmia, attacks.calibrated])
def test_the_order_of_models_does_not_matter(shadows, target, attack):
    order = np.random.default_rng(0).permutation(len(shadows))
    mixed = attacks.Shadows(shadows.member[order], shadows.logit[order])
    pair = [attack(s, target.logit, target.member).scores for s in (shadows, mixed)]
    assert np.allclose(*pair)
    assert np.allclose(attack(shadows).scores[order], attack(mixed).scores)


# ---------------------------------------------------------------- controls


def test_positive_control_random_labels_known_by_heart():
    rng = np.random.default_rng(0)  # of thirty labels: of two, strangers would be right by luck half of the time
    X = torch.from_numpy(rng.normal(size=(100, 40)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 30, (100, 1)).astype(np.float32))
    shadows = attacks.shadows(X, y, n_models=32, seed=0, hidden=(64,), epochs=60, loss="multiclass")
    results = [attacks.loss_threshold(shadows.logit, shadows.member), attacks.lira(shadows), attacks.rmia(shadows)]
    results += [attacks.calibrated(shadows), attacks.lira(shadows, online=False), attacks.rmia(shadows, online=False)]
    assert min(r.auc.low for r in results) > 0.95


@pytest.mark.parametrize("seed", range(4))
def test_negative_control_models_that_never_saw_the_patients(seed):
    X, y = patients(80, seed=seed)
    member = classifiers.coins(80, 24, seed)
    params = fleet.fit(
        fleet.init(24, (6, 16, 1), seed=seed),
        *patients(80, seed=100 + seed),
        [np.flatnonzero(m) for m in member],
        epochs=10,
        batch_size=16,
        lr=0.1,
    )
    strangers = attacks.Shadows(member, attacks.scaled_logit(params, X, y))
    results = [attacks.loss_threshold(strangers.logit, strangers.member), attacks.lira(strangers)]
    results += [attacks.calibrated(strangers), attacks.rmia(strangers), attacks.rmia(strangers, online=False)]
    for result in results:  # each misses about 1 time in 30 at most with other seeds
        assert result.auc.low <= 0.5 <= result.auc.high, result
        assert result.auc.high - result.auc.low < 0.15


def privacy_curve(**spent):
    """Pairs of epsilon and delta that differential privacy promises."""
    return [(epsilon(delta=d, **spent), d) for d in (1e-5, 1e-3, 0.01, 0.03, 0.1)]


def allowed(fpr, curve):
    """The largest TPR at each FPR under all of these promises."""
    return np.min([np.minimum(np.exp(e) * fpr + d, 1) for e, d in curve], axis=0)


def test_private_models_stay_within_their_bound_and_others_do_not():
    X, y = patients(100, d=10, flip=0.3)
    common = dict(n_models=64, seed=5, hidden=(16,), steps=60, batch_size=25, lr=0.5, optimiser="sgd")
    sampling = 25 / classifiers.coins(100, 64, 5).sum(1).min()
    private = attacks.shadows(X, y, max_norm=1.0, noise_multiplier=2.5, sampling="poisson", **common)
    clipped = attacks.shadows(X, y, max_norm=1.0, **common)  # the promise needs noise
    curve, fpr = privacy_curve(noise_multiplier=2.5, sampling=sampling, steps=60), np.linspace(0, 1, 201)
    for attack in (attacks.lira, attacks.rmia, attacks.calibrated):
        kept = attack(private)
        assert kept.auc.low <= trapezoid(allowed(fpr, curve), fpr)
        assert all(kept.tpr_at(f).low <= allowed(f, curve) for f in (0.01, 0.05, 0.2))
    # The attack is strong enough to tell: it breaks a promise that is not kept.
    strict = privacy_curve(noise_multiplier=25.0, sampling=sampling, steps=60)
    broken = attacks.lira(clipped)
    assert broken.auc.low > trapezoid(allowed(fpr, strict), fpr)
    assert broken.tpr_at(0.05).low > allowed(0.05, strict)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: attacks.shadows(*patients(20), n_models=0, seed=0), "n_models must be a whole number"),
        (lambda s: attacks.shadows(*patients(20), n_models=2, seed=0, loss="regression"), "loss must be one of"),
        (lambda s: attacks.lira(s, s.logit[:, :5], s.member[:, :5]), "target_logit and member must both be"),
        (lambda s: attacks.lira(s, s.logit), "target_logit and member must both be"),
        (lambda s: attacks.lira(s[:1]), "shadows must be more models: for row 0"),
        (lambda s: attacks.calibrated(s[:2]), "shadows must be more models"),
        (lambda s: attacks.rmia(s, gamma=0.5), "gamma must be at least 1"),
        (lambda s: attacks.rmia(s, a=0), "a above 0"),
        (lambda s: attacks.loss_threshold(s.logit[0], np.ones(60, bool)), "member must hold members and others"),
        (lambda s: attacks.loss_threshold(s.logit[0] * np.nan, s.member[0]), "target_logit must be finite; 60 of 60"),
        (lambda s: attacks.loss_threshold(s.logit[0], s.member[0] * 1), "member must be true or false"),
        (lambda s: attacks.Shadows(s.member, s.logit[:3]), "member and logit must be .models, rows. alike"),
        (lambda s: attacks.Shadows(s.member, s.logit + np.inf), "logit must be finite"),
        (lambda s: attacks.lira(s).tpr_at(0), "fpr must be a share above 0"),
        (lambda s: attacks.lira(s).tpr_at(1.5), "fpr must be a share above 0"),
        (lambda s: attacks.nearest_record(cohort(20), np.ones(3, bool), cohort(20)), "member must be true or false"),
        (
            lambda s: attacks.nearest_record(cohort(2), np.eye(2)[0] > 0, cohort(9)[["age"]]),
            "must have the same columns; only one has 'bmi'",
        ),
        (lambda s: attacks.shadow_generators(cohort(12), n_models=2, seed=0), "frame must have more rows"),
    ],
)
def test_bad_arguments_get_one_sentence(shadows, call, message):
    with pytest.raises(ValueError, match=message):
        call(shadows)

"""Components from sums are those of all scans in one place, whichever way the sums travel; and how many there are."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from fedlab_utils import anomalies, secagg
from fedlab_utils.fleet.randomness import HIDDEN_PIXELS, generator
from tests.anomalies.helpers import network
from tests.refusals import one_sentence

PARTS = network().train


@pytest.fixture(scope="module")
def together():
    return anomalies.fit(PARTS)


def alike(a, b, count=40, tolerance=1e-6):
    np.testing.assert_allclose(a.mean, b.mean, atol=tolerance)
    np.testing.assert_allclose(a.variances[:200], b.variances[:200], atol=tolerance)
    np.testing.assert_allclose(projector(a, count), projector(b, count), atol=tolerance)


def projector(components, count):
    some = components.directions[:count]
    return some.T @ some


def test_federated_components_are_the_pooled_ones_and_scikit_learns(together):
    pooled = np.vstack(PARTS)
    alike(together, anomalies.from_rows(pooled))
    theirs = PCA(40, svd_solver="full").fit(pooled)
    n = len(pooled)
    np.testing.assert_allclose(together.mean, theirs.mean_, atol=1e-6)
    np.testing.assert_allclose(together.variances[:40] * n / (n - 1), theirs.explained_variance_, atol=1e-6)
    np.testing.assert_allclose(np.abs(np.sum(together.directions[:40] * theirs.components_, 1)), 1, atol=1e-6)
    held = network().hospitals[2].normal.pixels
    left = held - theirs.inverse_transform(theirs.transform(held))
    np.testing.assert_allclose(together.at(40).residual(held), left, atol=1e-6)


def test_through_a_secure_sum_they_are_the_same(together):
    alike(together, anomalies.fit(PARTS, aggregator=secagg.SecureSum(limit=64, bits=64)))
    with pytest.raises(ValueError, match="give SecureSum a larger limit"):
        anomalies.fit(PARTS, aggregator=secagg.SecureSum(limit=0.5, bits=64))


def test_sums_add_up_and_come_apart():
    one, two = (anomalies.sums_of(p) for p in PARTS[:2])
    both = one + two
    assert both.rows == 180 and len(one.vector()) == 784 + 784 * 785 // 2
    np.testing.assert_allclose((both - two).second, one.second, atol=1e-9)
    back = anomalies.together([one, two])
    np.testing.assert_allclose(back.second, both.second, atol=1e-7)


def test_folds_leave_out_what_they_hold():
    whole, pairs = anomalies.folded(PARTS[3:])
    assert whole.rows == 40 and [len(held) for _, held in pairs] == [11, 10, 10, 9]
    for f, (seen, held) in enumerate(pairs):
        own = [np.delete(p, np.arange(f, len(p), 4), axis=0) for p in PARTS[3:]]
        alike(seen, anomalies.from_rows(np.vstack(own)), count=10)
        assert seen.rows + len(held) == 40
    alone, pairs = anomalies.folded(PARTS[4:])
    assert alone.rows == 15 and sum(len(held) for _, held in pairs) == 15
    for f, (seen, _) in enumerate(pairs):
        np.testing.assert_allclose(seen.mean, np.delete(PARTS[4], np.arange(f, 15, 4), axis=0).mean(0))


def test_more_components_leave_less_and_none_leave_the_difference_to_the_mean(together):
    held = network().hospitals[0].normal.pixels
    left = [(together.at(count).residual(held) ** 2).sum() for count in (0, 10, 40, 200)]
    assert left == sorted(left, reverse=True)
    np.testing.assert_allclose(together.at(0).residual(held), held - together.mean)
    np.testing.assert_allclose(together.at(784).residual(held), 0, atol=1e-9)
    assert "40 of 784, from 260" in repr(together.at(40))


def test_cosines_are_orthonormal_smooth_and_fixed_ones_have_no_mean():
    waves = anomalies.cosines(50)
    np.testing.assert_allclose(waves @ waves.T, np.eye(50), atol=1e-12)
    images = waves.reshape(50, 28, 28)
    rough = np.abs(np.diff(images, axis=2)).sum((1, 2)) + np.abs(np.diff(images, axis=1)).sum((1, 2))
    assert np.ptp(waves[0]) < 1e-12 and rough[40:].min() > rough[:4].max()
    high = anomalies.fixed(waves)
    np.testing.assert_allclose(high.residual(waves[:3] + 0.0), 0, atol=1e-12)


# ---------------------------------------------------------------- how many


def test_rules_that_work_and_rules_that_do_not(together):
    assert 36 <= anomalies.gavish_donoho(together) <= 44 and together.count == anomalies.gavish_donoho(together)
    assert anomalies.share_of_variance(together) < 25
    assert anomalies.share_of_variance(together, 1.0) >= 200
    _, pairs = anomalies.folded(PARTS)
    grid = (5, 20, 40, 60, 100)
    hidden, held = anomalies.hidden_pixels(pairs, grid), anomalies.held_out_error(pairs, grid)
    assert hidden.idxmin() == 40 and held.idxmin() == 100 and (np.diff(held) < 0).all()
    assert anomalies.hidden_pixels(pairs, grid, seed=1).idxmin() == 40


def test_gavish_and_donohos_rule_finds_planted_ranks_and_nothing_in_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(300, 100))
    assert anomalies.from_rows(noise).count == 0
    planted = noise + 4 * rng.normal(size=(300, 7)) @ np.linalg.qr(rng.normal(size=(100, 7)))[0].T
    assert anomalies.from_rows(planted).count == 7 == anomalies.fit([planted[:100], planted[100:]]).count


def test_parallel_analysis_misses_weak_patterns_only_where_strong_ones_became_its_noise():
    rng = np.random.default_rng(0)
    noise, patterns = rng.normal(size=(300, 100)), np.linalg.qr(rng.normal(size=(100, 9)))[0].T
    weak = noise + 3 * rng.normal(size=(300, 6)) @ patterns[:6]
    both = weak + 40 * rng.normal(size=(300, 3)) @ patterns[6:]
    for scans, found in ((noise, 0), (weak, 6), (both, 3)):
        assert anomalies.parallel_analysis([scans[:100], scans[100:]]) == found
    assert anomalies.gavish_donoho(anomalies.from_rows(both)) == 9
    assert anomalies.parallel_analysis(PARTS) < 30


def test_a_hospital_shuffles_its_own_scans_only():
    same = [np.zeros((40, 6)), np.ones((40, 6))]
    assert anomalies.parallel_analysis(same, draws=1) == 0  # nothing in a hospital can change places
    one_place = np.vstack(same)
    assert anomalies.parallel_analysis([one_place], draws=1) == 1


@pytest.mark.parametrize(("rows", "omega"), [(101, 2.858), (2001, 1.519)])
def test_the_threshold_is_the_papers_for_as_many_rows_as_pixels_and_for_many_more(rows, omega):
    """Table IV of arXiv:1305.5870: beta 1 and beta 0.05; seven singular values a little below or above."""
    for factor, count in ((0.97, 0), (1.03, 7)):
        singular = np.r_[np.full(7, factor * omega), np.ones(93)]
        found = anomalies.Components(rows, np.zeros(100), singular**2 / rows, np.eye(100), 0)
        assert anomalies.gavish_donoho(found) == count


def test_hidden_pixels_are_predicted_as_the_conditional_mean():
    rng = np.random.default_rng(3)
    scans = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 8)) + 0.5 * rng.normal(size=(60, 8))
    model, held = anomalies.from_rows(scans[:40]), scans[40:]
    found = anomalies.hidden_pixels([(model, held)], [3], share=0.4, times=1, seed=5)[3]
    hide = generator(5, HIDDEN_PIXELS).random(8) < 0.4
    noise = model.variances[3:].mean()
    spread = model.directions[:3].T @ np.diag(model.variances[:3] - noise) @ model.directions[:3] + noise * np.eye(8)
    away = held - model.mean
    told = away[:, ~hide] @ np.linalg.solve(spread[np.ix_(~hide, ~hide)], spread[np.ix_(~hide, hide)])
    assert 0 < hide.sum() < 8 and found == pytest.approx(((away[:, hide] - told) ** 2).mean())


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("scans", lambda: anomalies.sums_of(np.zeros(5))),
        ("scans", lambda: anomalies.sums_of("scan")),
        ("scans", lambda: anomalies.sums_of(np.full((2, 3), np.nan))),
        ("scans", lambda: anomalies.fixed(np.eye(3)).residual(np.zeros((2, 4)))),
        ("parts", lambda: anomalies.together([])),
        ("parts", lambda: anomalies.together([np.zeros((2, 2))])),
        ("rows", lambda: anomalies.from_rows(np.zeros((1, 4)))),
        ("count", lambda: anomalies.from_rows(np.eye(4), count=-1)),
        ("count", lambda: anomalies.cosines(785)),
        ("count", lambda: anomalies.cosines(0)),
        ("folds", lambda: anomalies.folded(PARTS, 1)),
        ("share", lambda: anomalies.share_of_variance(anomalies.fixed(np.eye(3)), 0.0)),
        ("share", lambda: anomalies.hidden_pixels([], share=1.0)),
        ("draws", lambda: anomalies.parallel_analysis(PARTS, draws=0)),
        ("seed", lambda: anomalies.parallel_analysis(PARTS, seed=-1)),
        ("grid", lambda: anomalies.held_out_error([], grid=3)),
        ("grid", lambda: anomalies.held_out_error([], grid=[0.5])),
    ],
)
def test_a_wrong_argument_gets_one_sentence(name, call):
    with one_sentence(name):
        call()


def test_tensors_are_scans_too():
    np.testing.assert_array_equal(anomalies.sums_of(torch.eye(3)).second, np.eye(3))

"""Scores, their calibration on scans not seen, what they are worth by hospital, and where they are hot."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fedlab_utils import anomalies, secagg
from fedlab_utils.anomalies import scores
from fedlab_utils.anomalies.calibrated import _by_hospital
from fedlab_utils.data import images
from tests.anomalies.helpers import network
from tests.refusals import one_sentence

NET = network()
NOISE = np.random.default_rng(0).normal(size=(400, 784))
NOTHING = anomalies.fixed(anomalies.cosines(1))


@pytest.fixture(scope="module")
def fed():
    return anomalies.detector(NET.train)


def of(detector):
    return lambda scans: detector.score(scans.pixels)


def mean_auc(score, net=NET):
    return anomalies.judged(net, score)["auc"].mean()


# ---------------------------------------------------------------- maps


@pytest.mark.parametrize("width", scores.WIDTHS)
def test_smoothing_keeps_the_spread_of_noise_and_finds_a_bell_at_its_place(width):
    assert np.sqrt((scores.smoothed(NOISE, width) ** 2).mean()) == pytest.approx(1, rel=0.03)
    y, x = np.mgrid[0:28, 0:28]
    bell = np.exp(-((x - 9) ** 2 + (y - 20) ** 2) / (2 * width**2)).ravel()[None]
    assert scores.smoothed(bell, width).argmax() == 20 * 28 + 9


def test_grain_is_in_units_of_chance_and_sees_more_noise_in_a_disc():
    found = scores.grain(NOISE)
    assert abs(found.mean()) < 0.4 and 0.5 < found.std() < 1.3
    y, x = np.mgrid[0:28, 0:28]
    disc = (np.hypot(x - 10, y - 12) < 4).ravel()
    rough = NOISE * np.where(disc, 2.0, 1.0)
    assert disc[scores.grain(rough).argmax(1)].mean() > 0.95
    odd = NOISE[:2].copy()
    odd[:, 300] = 100, 1000  # one wild pixel is no grain: it counts for so much and no more
    odd[1, :300], odd[1, 301:] = odd[0, :300], odd[0, 301:]
    np.testing.assert_allclose(*scores.grain(odd))


def test_own_noise_is_the_standard_deviation_and_an_odd_patch_does_not_move_it():
    spread = np.linspace(0.5, 3, 400)[:, None]
    np.testing.assert_allclose(scores.own_noise(NOISE * spread) / spread, 1, rtol=0.15)
    patched = NOISE.copy()
    patched[:, :30] += 50
    np.testing.assert_allclose(scores.own_noise(patched), scores.own_noise(NOISE), rtol=0.15)


def test_maps_peaks_and_scores_go_together():
    found = anomalies.maps(NOTHING, NOISE[:5])
    assert found.shape == (5, len(scores.MAPS), 784)
    np.testing.assert_array_equal(anomalies.peaks(NOTHING, NOISE[:5]), found.max(2))
    doubled = anomalies.maps(NOTHING, 2 * NOISE[:5])
    np.testing.assert_allclose(doubled, found, atol=1e-6)
    for name, score in anomalies.SCORES.items():
        assert score(NOTHING, NOISE[:5]).shape == (5,), name
    assert anomalies.SCORES["squared error"](NOTHING, 2 * NOISE[:5])[0] == pytest.approx(
        4 * anomalies.SCORES["squared error"](NOTHING, NOISE[:5])[0]
    )


# ---------------------------------------------------------------- the detector


def test_it_beats_hospitals_alone_squared_error_and_every_trivial_score(fed):
    """An anatomy and patients that nobody tuned anything on."""
    alone = [of(anomalies.detector([p], count=40)) for p in NET.train]
    found = {name: mean_auc(score) for name, score in anomalies.TRIVIAL.items()}
    found["alone"] = mean_auc(alone)
    found["squared error"] = mean_auc(lambda s: anomalies.SCORES["squared error"](fed.model, s.pixels))
    assert mean_auc(of(fed)) > 0.8 and max(found.values()) < mean_auc(of(fed)) - 0.1, found


def test_too_few_components_are_fatal_and_too_many_are_cheap(fed):
    score = anomalies.SCORES["blob / own noise"]
    models = {count: fed.model.at(count) for count in (20, 40, 80)}
    found = {count: mean_auc(lambda s, m=model: score(m, s.pixels)) for count, model in models.items()}
    assert found[20] < 0.65 < 0.75 < found[80] and found[80] > found[40] - 0.05


def test_texture_needs_no_learning_and_a_nodule_does(fed):
    high = anomalies.fixed(anomalies.cosines(200))
    energy = anomalies.judged(NET, lambda s: anomalies.SCORES["local energy"](high, s.pixels))
    table = energy.groupby("kind")["auc"].mean()
    assert table["texture"] > 0.9 and table["nodule"] < 0.6


def test_one_threshold_is_fair_in_units_of_the_own_noise_and_unfair_without(fed):
    shares = {name: anomalies.false_alarms(NET, lambda s, f=score: f(fed.model, s.pixels))
              for name, score in anomalies.SCORES.items()}  # fmt: skip
    assert shares["squared error"].max() > 0.1 > 0.02 > shares["squared error"].min()
    assert np.ptp(shares["blob / own noise"]) < np.ptp(shares["squared error"]) / 1.5
    own = anomalies.false_alarms(NET, of(fed), fed.threshold)
    assert 0.01 < own.mean() < 0.1 and list(own.index) == [h.name for h in NET.hospitals]


def test_calibration_is_that_of_scans_not_seen_and_through_a_secure_sum_the_same(fed):
    z = np.vstack([fed.z(h.normal.pixels) for h in NET.hospitals])
    # Somewhat below 0: components of three folds leave more over than those of all four.
    assert -0.8 < z.mean(0).min() and z.mean(0).max() < 0.2 and np.abs(z.std(0) - 1).max() < 0.3
    seen = np.vstack([fed.z(p) for p in NET.train])
    assert (seen.mean(0) < z.mean(0) - 0.3).any()  # what calibration on scans that the components saw would have said
    masked = anomalies.detector(NET.train, aggregator=secagg.SecureSum(limit=64, bits=64))
    np.testing.assert_allclose([masked.centre, masked.spread], [fed.centre, fed.spread], atol=1e-6)
    assert masked.threshold == pytest.approx(fed.threshold, abs=1e-6) and "5% false alarms" in repr(fed)


def test_a_small_limit_is_refused_and_not_mended_by_looking_at_hospitals_numbers():
    with pytest.raises(ValueError, match="give SecureSum a larger limit"):
        anomalies.detector(NET.train, model=NOTHING, aggregator=secagg.SecureSum(limit=0.5, bits=64))


def test_a_model_of_something_else_is_calibrated_on_all_scans():
    oracle = anomalies.detector(NET.train, model=anomalies.fixed(NET.anatomy.subspace()))
    assert mean_auc(of(oracle)) > 0.84
    z = np.vstack([oracle.z(p) for p in NET.train])
    np.testing.assert_allclose([z.mean(0), z.std(0, ddof=1)], [np.zeros(5), np.ones(5)], atol=1e-9)
    for aim in (0.05, 0.2):
        found = anomalies.detector(NET.train, model=oracle.model, aim=aim)
        above = np.concatenate([found.score(p) for p in NET.train]) > found.threshold
        assert above.mean() == pytest.approx(aim, abs=0.015)


def test_each_hospital_gets_its_own_rows_of_all_folds_back():
    sizes = [3, 2]
    folds = [np.array([[0.0], [10], [11]]), np.array([[1.0], [2]])]  # tens: whose; two of three and one of two first
    first, second = _by_hospital(folds, [[1, 2], [2, 0]])
    assert first.ravel().tolist() == [0, 1, 2] and second.ravel().tolist() == [10, 11] and len(first) == sizes[0]


def test_heat_is_the_score_by_pixel_and_hot_where_a_nodule_is(fed):
    large = [h.abnormal["nodule", 1.4] for h in NET.hospitals]
    heat = fed.heat(large[0].pixels)
    np.testing.assert_allclose(heat.max(1), fed.score(large[0].pixels))
    found = pd.concat([anomalies.overlap(fed.heat(s.pixels), s.mask, fed.threshold) for s in large])
    assert found["hottest_inside"].mean() > 0.85 and 0.35 < found["dice"].mean() < 0.9


# ---------------------------------------------------------------- measures


def test_measures_are_what_their_names_say():
    rng = np.random.default_rng(2)
    normal, abnormal = rng.normal(0, 1, 300).round(1), rng.normal(1, 1, 200).round(1)
    labels = np.r_[np.zeros(300), np.ones(200)]
    assert anomalies.auc(normal, abnormal) == pytest.approx(roc_auc_score(labels, np.r_[normal, abnormal]))
    normal, abnormal = np.arange(100.0), np.array([10.0, 94.5, 99.0, 200.0])
    assert anomalies.sensitivity(normal, abnormal) == 0.75
    heat = np.array([[1.0, 5.0, 3.0], [9.0, 0.0, 0.0]])
    mask = np.array([[False, True, True], [False, True, False]])
    found = anomalies.overlap(heat, mask, 2.0)
    assert found["hottest_inside"].tolist() == [True, False] and found["dice"].tolist() == [1.0, 0.0]


def test_a_shared_threshold_lets_five_in_a_hundred_pass_and_hospitals_count_alike():
    shares = anomalies.false_alarms(NET, lambda s: s.brightness)
    assert shares.mean() == pytest.approx(0.05, abs=0.01)
    assert (anomalies.false_alarms(NET, lambda s: s.brightness, 1e9) == 0).all()
    large, small = (SimpleNamespace(name=n, normal=np.linspace(0, 1, k)) for n, k in (("large", 1000), ("small", 25)))
    small.normal = small.normal + 0.5
    shares = anomalies.false_alarms(SimpleNamespace(hospitals=(large, small)), lambda scans: scans)
    assert shares["large"] == 0 and shares["small"] == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("aim", lambda: anomalies.detector(NET.train, aim=0)),
        ("aim", lambda: anomalies.detector(NET.train, aim="5%")),
        ("parts", lambda: anomalies.detector([NET.train[0][:5]])),
        ("parts", lambda: anomalies.detector([NET.train[0], NET.train[1][:0]])),
        ("normal", lambda: anomalies.auc([], [1.0])),
        ("abnormal", lambda: anomalies.auc([1.0], [np.nan])),
        ("false_alarms", lambda: anomalies.sensitivity([1.0], [1.0], 1.0)),
        ("score", lambda: anomalies.judged(NET, [len])),
        ("score", lambda: anomalies.judged(NET, lambda s: s.brightness[:3])),
        ("mask", lambda: anomalies.overlap(np.zeros((2, 3)), np.zeros((2, 3)), 1.0)),
    ],
)
def test_a_wrong_argument_gets_one_sentence(name, call):
    with one_sentence(name):
        call()


def test_the_lessons_kinds_are_all_there():
    assert set(images.KINDS) == {"nodule", "dot", "line", "missing", "texture", "shadow"}

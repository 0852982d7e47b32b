"""What a clinic asks of a run, beside scikit-learn, scipy and counting by hand."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated
from fedlab_utils.federated import clinic
from tests.federated.helpers import QUICK, table


@pytest.fixture(scope="module")
def run(three):
    return federated.train(three, seeds=3, **QUICK)


def one(found, hospital="all", seed=0):
    (row,) = found[(found["hospital"] == hospital) & (found["seed"] == seed)].to_dict("records")
    return row


def risks(run, hospital, seed):
    return run[seed].predict_proba(hospital.X_test)[:, 1].numpy(), hospital.y_test[:, 0].numpy() == 1


def offset_fit(at, ill, free_slope):
    """Logistic regression of the labels on logits, by a general minimiser: intercept and slope."""

    def loss(theta):
        eta = theta[0] + (theta[1] if free_slope else 1) * at
        return np.sum(np.logaddexp(0, eta) - ill * eta)

    return minimize(loss, [0.0, 1.0][: 1 + free_slope], method="Nelder-Mead", options=dict(xatol=1e-9, fatol=1e-12)).x


def test_counts_by_hand_for_every_hospital_and_seed(three, run):
    found = federated.clinical(run, three, threshold=0.3)
    assert len(found) == 3 * 4 and found["hospital"].unique().tolist() == ["north", "east", "west", "all"]
    for h in (*three.hospitals, three.pooled()):
        for seed in range(3):
            risk, ill = risks(run, h, seed)
            row = one(found, "all" if h.name == "pooled" else h.name, seed)
            assert (row["patients"], row["ill"]) == (len(ill), ill.sum())
            assert row["missed"] == pytest.approx((risk[ill] < 0.3).mean())
            assert row["flagged"] == pytest.approx((risk >= 0.3).mean())
            benefit = ((risk >= 0.3) & ill).mean() - ((risk >= 0.3) & ~ill).mean() * 0.3 / 0.7
            assert row["net_benefit"] == pytest.approx(benefit)
            assert row["treat_all"] == pytest.approx(ill.mean() - (1 - ill.mean()) * 0.3 / 0.7)
            assert row["treat_none"] == 0 and row["auc"] == pytest.approx(roc_auc_score(ill, risk))


def test_auc_within_hospitals_leaves_out_what_telling_hospitals_apart_adds(three, run):
    row = one(federated.clinical(run, three))
    areas, pairs = [], []
    for h in three.hospitals:
        risk, ill = risks(run, h, 0)
        areas.append(roc_auc_score(ill, risk))
        pairs.append(ill.sum() * (~ill).sum())
    assert row["auc_within"] == pytest.approx(np.average(areas, weights=pairs))
    rng = np.random.default_rng(0)  # the hospital says all, within it nothing tells
    frame = pd.DataFrame({"ward": np.repeat(["a", "b"], 400), "level": np.repeat([-1.0, 1.0], 400)})
    frame["noise"], frame["ill"] = rng.normal(size=800), rng.random(800) < np.repeat([0.1, 0.9], 400)
    split = data.from_frame(frame, target="ill", hospital="ward")
    row = one(federated.clinical(federated.train(split, hidden=(), rounds=5), split))
    assert row["auc"] > 0.8 and abs(row["auc_within"] - 0.5) < 0.12


def test_calibration_in_the_large_and_slope_equal_scikit_learn_and_a_general_minimiser(three, run):
    found = federated.clinical(run, three)
    for name, h in [("all", three.pooled()), *((h.name, h) for h in three.hospitals)]:
        risk, ill = risks(run, h, 1)
        at, row = logit(risk.astype(float)), one(found, name, 1)
        assert row["intercept"] == pytest.approx(offset_fit(at, ill, False)[0], abs=1e-4)
        assert expit(at + row["intercept"]).mean() == pytest.approx(ill.mean(), abs=1e-6)
        if name in ("all", "north"):
            free = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000).fit(at[:, None], ill)
            assert row["slope"] == pytest.approx(free.coef_[0, 0], rel=1e-3)
            assert row["slope"] == pytest.approx(offset_fit(at, ill, True)[1], rel=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_fits_of_many_groups_at_once_hold_for_far_off_logits(scale):
    rng = np.random.default_rng(1)
    group, x = np.repeat(np.arange(6), 80), rng.normal(size=480)
    ill = rng.random(480) < expit(x - 1.5)
    at = x * scale + np.array([0, 50, -50, 3, 0, 0])[group] * scale
    level, slope = clinic.intercepts(at, ill, group, 6), clinic.slopes(at, ill, group, 6)
    for g in range(6):
        mine = group == g
        assert expit(at[mine] + level[g]).mean() == pytest.approx(ill[mine].mean(), abs=1e-8)
        free = LogisticRegression(C=np.inf, tol=1e-9, max_iter=2000).fit(x[mine, None], ill[mine])
        assert slope[g] * scale == pytest.approx(free.coef_[0, 0], rel=1e-3)


@pytest.mark.parametrize("tail", [1.0, 0.6])
def test_fits_arrive_among_outliers(tail):
    """At the best line neither the residuals nor their products with the logits have a sum."""
    rng, groups = np.random.default_rng(0), 200
    group, at = np.repeat(np.arange(groups), 40), rng.standard_t(tail, size=groups * 40)
    ill = rng.random(len(at)) < expit(np.clip(at, -3, 3) - 1)
    slope = clinic.slopes(at, ill, group, groups)
    level = clinic.intercepts(slope[group] * at, ill, group, groups)
    rest = ill - expit(level[group] + slope[group] * at)
    for weight in (1.0, at):
        scale = np.bincount(group, np.abs(weight * np.ones_like(at)))
        np.testing.assert_allclose(np.bincount(group, rest * weight) / scale, 0, atol=1e-8)
    apart = np.where(rng.random(len(at)) < 0.5, -200.0, 200.0) + at  # Newton's own steps would leave for good
    few = rng.random(len(at)) < 0.1
    level = clinic.intercepts(apart, few, group, groups)
    found, share = (np.bincount(group, v) / 40 for v in (expit(apart + level[group]), few))
    np.testing.assert_allclose(found[share > 0], share[share > 0], atol=1e-8)


def test_what_is_undefined_is_missing():
    group = np.array([0, 0, 1, 1, 2, 2, 3, 3, 3, 3])
    at = np.array([0.1, 0.2, 0.3, 0.4, -1.0, 1.0, np.nan, 0.0, 1.0, 2.0])
    ill = np.array([0, 0, 1, 1, 0, 1, 0, 1, 1, 0], bool)
    level, slope = clinic.intercepts(at, ill, group, 5), clinic.slopes(at, ill, group, 5)
    assert np.isnan(level).tolist() == [True, True, False, True, True]  # all well, all ill, fine, lost, empty
    assert np.isnan(slope).all()  # the third is told apart perfectly: no slope is steep enough
    alike = np.zeros(6), np.array([0, 1, 0, 1, 0, 1], bool), np.zeros(6, int)
    assert clinic.intercepts(*alike, 1)[0] == pytest.approx(0) and np.isnan(clinic.slopes(*alike, 1)[0])


def without(federation, *, test=None, only=None):
    """The federation with no test rows in its first hospital, or with test rows of one class alone."""
    h = federation.hospitals[0]
    keep = np.zeros(len(h.y_test), bool) if test == 0 else h.y_test[:, 0].numpy() == only
    h = dataclasses.replace(h, X_test=h.X_test[keep], y_test=h.y_test[keep])
    return dataclasses.replace(federation, hospitals=(h, *federation.hospitals[1:]))


def test_a_hospital_without_test_rows_or_without_ill_ones_has_missing_scores(three, run):
    empty = one(federated.clinical(run, without(three, test=0)), "north")
    known = {k: empty.pop(k) for k in ("hospital", "seed", "patients", "ill")}
    assert known["patients"] == 0 and np.isnan(list(empty.values())).all()
    well = one(federated.clinical(run, without(three, only=0)), "north")
    assert well["ill"] == 0 and np.isnan([well[k] for k in ("missed", "intercept", "slope", "auc", "auc_within")]).all()
    assert well["flagged"] >= 0 and well["net_benefit"] <= 0
    for less in (without(three, test=0), without(three, only=0)):
        assert np.isfinite(one(federated.clinical(run, less))["auc_within"])
        assert federated.calibration(run, less).notna().all(axis=None)


def test_a_run_that_ran_away_is_scored_without_a_crash(three):
    with pytest.warns(federated.Diverged):
        lost = federated.train(three, lr=1e30, rounds=2)
    row = one(federated.clinical(lost, three))
    assert row["patients"] > 0 and np.isnan([row[k] for k in ("missed", "flagged", "intercept", "slope", "auc")]).all()


def test_predicted_against_observed_in_tenths():
    split = data.from_frame(table(n=900), target="ill", n_hospitals=2)
    run = federated.train(split, seeds=2, **QUICK)
    found = federated.calibration(run, split)
    risk, ill = risks(run, split.pooled(), 1)
    mine = found[(found["hospital"] == "all") & (found["seed"] == 1)].reset_index(drop=True)
    by_hand = pd.qcut(pd.Series(risk).rank(method="first"), 10, labels=False)
    assert len(mine) == 10 and mine["n"].sum() == len(ill)
    np.testing.assert_allclose(mine["predicted"], pd.Series(risk).groupby(by_hand).mean(), atol=5e-3)
    np.testing.assert_allclose(mine["observed"], pd.Series(ill).groupby(by_hand).mean(), atol=0.06)
    for _, row in found.iterrows():
        exact = binomtest(round(row["observed"] * row["n"]), int(row["n"])).proportion_ci(0.95, "wilson")
        assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))


def test_few_events_make_few_groups_and_equal_risks_stay_together(three, run):
    west = federated.calibration(run, three).query("hospital == 'west' and seed == 0")
    h = three.hospitals[2]
    assert len(west) == max(1, min(h.y_test.sum(), (1 - h.y_test).sum()) // 5)
    flat = dataclasses.replace(run, params=run.params.map(lambda t: t * 0))
    found = federated.calibration(flat, three)
    assert (found["predicted"] == 0.5).all() and len(found) == 3 * 4


def test_recalibration_sets_the_level_of_each_hospital_right():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(3000, 3)), columns=list("abc")).assign(ward=np.repeat(["low", "high"], 1500))
    level = np.where(frame["ward"] == "low", -3.0, 0.5)
    frame["ill"] = rng.random(3000) < expit(frame["a"] + level)
    split = data.from_frame(frame, target="ill", hospital="ward")
    run = federated.train(split, rounds=10, hidden=(), seeds=2)
    better = federated.recalibrated(run, split)
    before, after = (federated.clinical(r, split).query("hospital != 'all'") for r in (run, better))
    assert before["intercept"].abs().min() > 0.8 and after["intercept"].abs().max() < 0.4
    np.testing.assert_allclose(before["auc"], after["auc"])  # the order of patients stays
    assert len(better) == 2 and federated.calibration(better, split)["seed"].nunique() == 2
    for k, h in enumerate(split.hospitals):
        at = logit(run[1].predict_proba(h.X_train)[:, 1].double().numpy())
        assert better.shift[1, k] == pytest.approx(offset_fit(at, h.y_train[:, 0].numpy(), False)[0], abs=1e-3)
        moved = better.predict_proba(h.X_test, h.name)
        at = logit(run.predict_proba(h.X_test)[:, :, 1].double().numpy()) + better.shift[:, [k]]
        np.testing.assert_allclose(moved[:, :, 1], expit(at), atol=1e-6)
    with pytest.raises(ValueError, match="hospital must be one of low, high; got 'mid'"):
        better.predict_proba(split.hospitals[0].X_test, "mid")


def test_a_hospital_whose_training_rows_are_alike_keeps_its_risks(three, run):
    h = three.hospitals[0]
    ill = dataclasses.replace(h, y_train=h.y_train * 0 + 1)
    alike = dataclasses.replace(three, hospitals=(ill, *three.hospitals[1:]))
    shift = federated.recalibrated(run, alike).shift
    assert (shift[:, 0] == 0).all() and (shift[:, 1:] != 0).all()


def test_replicates_are_scored_on_their_own_splits():
    splits = data.replicates(table(), 2, target="ill", hospital="ward")
    run = federated.train(splits, **QUICK)
    together = federated.clinical(run, splits)
    for seed, split in enumerate(splits):
        risk, ill = risks(run, split.pooled(), seed)
        assert one(together, "all", seed)["missed"] == pytest.approx((risk[ill] < 0.1).mean())
        assert one(together, "all", seed)["auc"] == pytest.approx(roc_auc_score(ill, risk))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(threshold=0), "threshold must be a risk above 0 and below 1"),
        (dict(threshold=1), "threshold must be a risk above 0 and below 1"),
        (dict(threshold=True), "threshold must be one finite number"),
        (dict(threshold="10%"), "threshold must be one finite number"),
        (dict(threshold=float("nan")), "threshold must be one finite number"),
        (dict(run=None), "run must be what federated.train or federated.recalibrated returned; got None"),
        (dict(federation=None), "federation must be a Federation"),
    ],
)
def test_bad_arguments_get_a_sentence(three, run, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        federated.clinical(**dict(run=run, federation=three) | change)


def test_what_does_not_fit_the_run_gets_a_sentence(three, run):
    numbers = data.from_frame(table().assign(ill=table()["a"] * 1.5), target="ill", hospital="ward")
    with pytest.raises(ValueError, match="run must have no personal part"):
        federated.clinical(federated.train(three, rounds=1, personal="head"), three)
    with pytest.raises(ValueError, match="binary task, ill or not; this one is regression"):
        federated.clinical(federated.train(numbers, **QUICK), numbers)
    with pytest.raises(ValueError, match="federation must be what the run was trained on"):
        federated.clinical(run, three.repartition(2, None))
    with pytest.raises(ValueError, match="one for each of the 3 seeds; got 2"):
        federated.clinical(run, [three, three])
    with pytest.raises(ValueError, match="groups must be a whole number of at least 1; got 0"):
        federated.calibration(run, three, groups=0)
    with pytest.raises(ValueError, match="run must be what federated.train returned; got Recalibrated"):
        federated.recalibrated(federated.recalibrated(run, three), three)


# ---------------------------------------------------------------- the level of risk, and a slope at home


def test_predicted_over_observed_by_hand(three, run):
    found = federated.clinical(run, three)
    for h in (*three.hospitals, three.pooled()):
        risk, ill = risks(run, h, 1)
        row = one(found, "all" if h.name == "pooled" else h.name, 1)
        assert row["predicted_observed"] == pytest.approx(risk.mean() / ill.mean(), abs=1e-6)
    nobody = dataclasses.replace(
        three,
        hospitals=tuple(dataclasses.replace(h, y_test=torch.zeros_like(h.y_test)) for h in three.hospitals),
    )
    assert federated.clinical(run, nobody)["predicted_observed"].isna().all()


def test_an_intercept_that_has_arrived_waits_for_the_others(monkeypatch):
    """Newton's method takes a few turns in each of many groups; halving a bracket would take forty."""
    rng, turns = np.random.default_rng(0), []
    group = np.repeat(np.arange(30), 100)
    at = rng.normal(rng.normal(0, 1, 30)[group])
    ill = rng.random(len(at)) < expit(at - 1)
    monkeypatch.setattr(clinic, "expit", lambda x: turns.append(1) or expit(x))
    found = clinic.intercepts(at, ill, group, 30)
    assert len(turns) < 12
    sums = np.bincount(group, expit(at + found[group]) - ill, 30)
    np.testing.assert_allclose(sums, 0, atol=1e-7)


def test_a_slope_is_refitted_with_the_intercept_in_each_hospital(three, run):
    both, plain = federated.recalibrated(run, three, slope=True), federated.recalibrated(run, three)
    assert (plain.scale == 1).all()
    for k, h in enumerate(three.hospitals):
        at = logit(run[2].predict_proba(h.X_train)[:, 1].double().numpy())
        a, b = offset_fit(at, h.y_train[:, 0].numpy() == 1, free_slope=True)
        assert (both.shift[2, k], both.scale[2, k]) == (pytest.approx(a, abs=1e-3), pytest.approx(b, abs=1e-3))
        test = logit(run[2].predict_proba(h.X_test)[:, 1].double().numpy())
        np.testing.assert_allclose(both.predict_proba(h.X_test, h.name)[2, :, 1], expit(a + b * test), atol=1e-3)
        scored = one(federated.clinical(both, three, threshold=0.4), h.name, 2)
        ill = h.y_test[:, 0].numpy() == 1
        assert scored["missed"] == pytest.approx((expit(a + b * test)[ill] < 0.4).mean())
    with pytest.raises(ValueError, match="slope must be True or False"):
        federated.recalibrated(run, three, slope=1)


def test_a_slope_that_would_turn_the_order_round_stays_one(three, run):
    turned = dataclasses.replace(
        three,
        hospitals=tuple(dataclasses.replace(h, y_train=1 - h.y_train) for h in three.hospitals),
    )
    found, plain = federated.recalibrated(run, turned, slope=True), federated.recalibrated(run, turned)
    some = [0, 2]  # another seed's model is still the wrong way round
    assert (found.scale[some] == 1).all()
    np.testing.assert_allclose(found.shift[some], plain.shift[some], atol=1e-9)

"""Lesson 06: its exercises, what it builds by hand, and what it says about who is exposed and what protects them."""

import math

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import norm

from fedlab_utils import attacks, checks, data, plots, privacy
from fedlab_utils.privacy import accounting
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def threshold(scores, member, fpr):
    return np.quantile(scores[~member], 1 - fpr)


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "found_at": {
        "number of *all* patients": lambda s, m, f: ((s > np.quantile(s[~m], 1 - f)) & m).mean(),
        "counts in percent": lambda s, m, f: (s[m] > np.percentile(s[~m], 1 - f)).mean(),
        "whom an attacker cannot know": lambda s, m, f: (s[m] > np.quantile(s[m], 1 - f)).mean(),
        "all patients together": lambda s, m, f: (s[m] > np.quantile(s, 1 - f)).mean(),
        "you counted the others": lambda s, m, f: (s[~m] > threshold(s, m, f)).mean(),
        "share of *all patients*": lambda s, m, f: (s > threshold(s, m, f)).mean(),
        "*not* found": lambda s, m, f: (s[m] <= threshold(s, m, f)).mean(),
        "precision": lambda s, m, f: m[s > threshold(s, m, f)].mean(),
        "nearly all others through": lambda s, m, f: (s[m] > np.quantile(s[~m], f)).mean(),
        "number of patients": lambda s, m, f: (s[m] > threshold(s, m, f)).sum(),
        "`>=`": lambda s, m, f: (s[m] >= np.quantile(s[~m], 1 - f, method="inverted_cdf")).mean(),
        "in percent": lambda s, m, f: 100 * (s[m] > threshold(s, m, f)).mean(),
        "one less than the number": lambda s, m, f: (s[m] > threshold(s, m, f)).sum() / (m.sum() - 1),
        "divided by 100 once more": lambda s, m, f: (s[m] > threshold(s, m, f / 100)).mean(),
        "*one* number": lambda s, m, f: s[m] > threshold(s, m, f),
    },
    "calibrated_score": {
        "*all patients*": lambda t, shadow, m: t - shadow[~m].mean(),
        "What does the *target* say": lambda t, shadow, m: shadow.mean(0, where=m) - shadow.mean(0, where=~m),
        "Leave the sign": lambda t, shadow, m: np.abs(t - shadow.mean(0, where=~m)),
        "trained *with* the patient": lambda t, x, m: t - x.mean(0, where=m),
        "with *all* models": lambda t, x, m: t - x.mean(0),
        "without the target's own": lambda t, x, m: x.mean(0, where=~m),
        "turned round": lambda t, x, m: x.mean(0, where=~m) - t,
        "still counted": lambda t, x, m: t - np.where(m, 0, x).mean(0),
        "for each *model*": lambda t, x, m: x.mean(1),
        "one number for everybody": lambda t, x, m: (t - x.mean(0)).mean(),
        "one less than the number": lambda t, x, m: t - x.sum(0, where=~m) / ((~m).sum(0) - 1),
        "divided by the spread": lambda t, x, m: (t - x.mean(0, where=~m)) / x.std(0, where=~m, ddof=1),
        "divided by what is usual": lambda t, x, m: t / x.mean(0, where=~m),
    },
    "blind": {
        "is not blind": {"P", "R", "S"},
        "can be believed": {"P", "Q", "R"},
        "gives away little": {"P", "Q", "R", "S"},
        "something to find": set(),
        "Run P": {"R"},
        "R is nowhere near": {"P"},
        "none of the letters": {"P", "T"},
    },
}


def by_sorting(scores, member, fpr):
    others = np.sort(scores[~member])[::-1]
    return (scores[member] > others[int(fpr * len(others))]).mean()


def by_the_lowest_score_that_may_be_accused(scores, member, fpr):
    fits = [t for t in np.unique(scores) if (scores[~member] >= t).mean() <= fpr + 1e-12]
    return torch.tensor((scores[member] >= fits[0]).mean())


def by_counting(scores, member, fpr):
    others, found = sorted((s for s, m in zip(scores, member, strict=True) if not m), reverse=True), 0
    for s, m in zip(scores, member, strict=True):
        found += m and s > others[round(fpr * len(others))]
    return [found / sum(member)]


FOUND = [by_sorting, by_the_lowest_score_that_may_be_accused, by_counting]
FOUND += [
    lambda s, m, f, how=how: (s[m] > np.quantile(s[~m], 1 - f, method=how)).mean() for how in ("linear", "higher")
]
FOUND += [lambda s, m, f: pd.Series(s)[m].gt(pd.Series(s)[~m].quantile(1 - f)).mean()]


def calibrated_by_loops(target, shadow_logit, shadow_member):
    usual = []
    for i in range(len(target)):
        values = [x for x, m in zip(shadow_logit[:, i], shadow_member[:, i], strict=True) if not m]
        usual.append(sum(values) / len(values))
    return [t - u for t, u in zip(target, usual, strict=True)]


CALIBRATED = [
    calibrated_by_loops,
    lambda t, x, m: torch.from_numpy(t - np.nanmean(np.where(m, np.nan, x), 0)),
    lambda t, x, m: pd.Series(t) - pd.DataFrame(x).mask(pd.DataFrame(m)).mean(),
    lambda t, x, m: t - np.nanmedian(np.where(m, np.nan, x), 0),
]


def test_a_quantile_between_two_patients_is_told_that_it_lets_one_more_through():
    told = [answer for answer in FOUND if "lets 2 through" in checks.found_at(answer).message]
    assert told == [by_counting, *FOUND[3:4], FOUND[-1]]  # `round` in place of `int`, and the two plain quantiles


RIGHT = {"found_at": FOUND, "calibrated_score": CALIBRATED, "blind": [{"P", "R"}, ["r", "p"], "PR"]}


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions, its register and its controls, without its long runs."""
    source = lessons.SOURCES / "06_membership_inference.py"
    register = ("fleet_of_models", "published", "own", "everyone", "people", "anna", "auditors", "control")
    return cells.definitions(source, "lira_by_hand", "rmia_by_hand", "allowed", "reading", *register)


def test_lira_by_hand_is_the_packages_and_that_of_plain_loops(lesson):
    own, target = lesson["own"], lesson["published"]
    ours = lesson["lira_by_hand"](target.logit[0], own.logit, own.member)
    theirs = attacks.lira(own, target.logit[0], target.member[0]).scores[0]
    np.testing.assert_allclose(ours, theirs, atol=1e-8)
    for i in (0, 24, 119):  # in plain Python, line by line
        densities = []
        for is_in in (True, False):
            values = [float(x) for x, m in zip(own.logit[:, i], own.member[:, i], strict=True) if m == is_in]
            mean = sum(values) / len(values)
            variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
            densities.append(-((target.logit[0, i] - mean) ** 2) / (2 * variance) - math.log(variance) / 2)
        assert densities[0] - densities[1] == pytest.approx(theirs[i], abs=1e-8)


def test_rmia_by_hand_is_the_packages(lesson):
    own, target = lesson["own"], lesson["published"]
    ours = lesson["rmia_by_hand"](target.logit[0], own.logit)
    theirs = attacks.rmia(own, target.logit[0], target.member[0]).scores[0]
    assert np.abs(ours - theirs).max() < 0.009  # one patient in 120


def test_the_bound_of_a_promise_is_its_trade_off_curve(lesson):
    """20 steps in which everybody takes part are one Gaussian release (Dong et al., arXiv:1905.02383)."""
    for epsilon in (1, 4, 16):
        noise = accounting.noise_for(epsilon, steps=20)
        exact = norm.sf(norm.isf(0.01) - math.sqrt(20) / noise)
        ours = lesson["allowed"](privacy.Mechanism(noise, steps=20))
        assert exact <= ours <= exact * 1.02 + 1e-4


# ---------------------------------------------------------------- what the lesson says


def test_the_register_leaks_and_the_loss_does_not_show_it(lesson):
    models = lesson["fleet_of_models"]
    strong, weak = attacks.lira(models).tpr_at(0.01), attacks.loss_threshold(models.logit, models.member).tpr_at(0.01)
    assert strong.value >= 0.10 and weak.high < strong.low


def test_anna_is_exposed_and_the_rare_diagnoses_are(lesson):
    result, people = attacks.lira(lesson["fleet_of_models"]), lesson["people"]
    assert lesson["anna"] in set(result.most_exposed(8)["row"])
    anna = people.loc[lesson["anna"]]
    assert anna["sex"] == "female" and anna["diagnosis"] == "coronary disease"
    each = result.most_exposed(len(people)).set_index("row")["found"]
    found = each.groupby(people["diagnosis"]).mean()
    assert found["none"] < 0.1 and found.drop("none").min() > 0.6


@pytest.mark.parametrize("models", [16, 72])
def test_the_lab_reads_a_number_aloud_however_few_models_there_are(lesson, models):
    few = lesson["fleet_of_models"][:models]
    sentence = lesson["reading"](attacks.lira(few), few, lesson["everyone"])
    rate = max(1.0, 1000 / (~few.member).sum())
    assert "not resolved" not in sentence and f"at {rate:.1f}% false alarms" in sentence


def test_the_control_tells_the_blind_from_the_others(lesson):
    for letter, attack in lesson["auditors"].items():
        auc = attack(lesson["control"]).auc
        if letter in "PR":
            assert auc.value < 0.6
        else:
            assert auc.low > 0.85


def test_equal_auc_and_a_breach():
    rng = np.random.default_rng(0)
    member = np.arange(6000) % 2 == 0
    murmur = attacks.AttackResult("murmur", rng.normal(size=6000) + 0.25 * member, member)
    shout = attacks.AttackResult("shout", rng.normal(size=6000) + 8 * (member & (rng.random(6000) < 0.14)), member)
    assert abs(murmur.auc.value - shout.auc.value) < 0.02
    assert murmur.tpr_at(0.005).high < 0.03 and shout.tpr_at(0.005).low > 0.1


# ---------------------------------------------------------------- figures


def test_the_sizes_are_marked_up_to_the_largest():
    found = attacks.AttackResult("one", np.arange(4000.0), np.arange(4000) % 2 == 0).tpr_at(0.01)
    (ax,) = plots.leak_by_size({"small": (60, found), "large": (4046, found)}).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["50", "100", "200", "500", "1000", "2000", "5000"]


def test_figures_draw():
    rng = np.random.default_rng(0)
    member = rng.random((20, 60)) < 0.5
    one = attacks.AttackResult("one", rng.normal(size=(20, 60)) + member, member)
    small = attacks.AttackResult("small", rng.normal(size=30), np.arange(30) % 2 == 0)
    found = one.tpr_at(0.05)
    ages, kinds = rng.uniform(30, 70, 60), np.array(["none", "rare"])[np.arange(60) % 2]
    ages[3] = np.nan
    row = {"outsider": found, "server": small.tpr_at(0.01), "AUC": 0.7}
    made = [
        plots.bell_curves(rng.normal(size=40), rng.normal(size=40) + 3, 2.0),
        plots.bell_curves([rng.normal(size=40)] * 2, [rng.normal(size=40)] * 2, titles=["a", "b"]),
        plots.loss_gap(rng.normal(size=30), rng.normal(size=30), (rng.uniform(0.1, 1, 9), rng.uniform(1, 2, 9))),
        plots.roc({"one": one}),
        plots.roc_twice({"one": one, "two": one}),
        plots.patients(ages, ages[::-1], rng.random(60), kinds, names={0: "Anna"}),
        plots.roc_and_patients({"one": one}, ages, ages, rng.random(60), kinds),
        plots.leak_by_size({"small": (60, found), "large": (600, found)}),
        plots.tribunal({"nothing": row, "a promise": row | {"bound": 0.1}}),
        plots.audit_over_time([1, 2], {"canary": [0.0, 0.4]}, [0.5, 1.0]),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_real_patients_of_one_model_are_not_resolved():
    pool = data.load("breast_cancer").pooled()
    models = attacks.shadows(pool.X_train, pool.y_train, n_models=2, seed=0, epochs=5)
    one = attacks.loss_threshold(models.logit[0], models.member[0])
    assert np.isnan(one.tpr_at(0.01).value) and "not resolved" in str(one.tpr_at(0.01))

"""Rates, intervals, and who is exposed.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedlab_utils import attacks
from fedlab_utils.attacks import result as results
from tests.attacks.helpers import patients


def plain_rates(scores, member, fpr):
    """By definition: try every threshold."""
    best = 0.0
    for t in np.unique(scores):
        if (scores >= t)[~member].mean() <= fpr:
            best = max(best, (scores >= t)[member].mean())
    return best


@pytest.mark.parametrize("decimals", [0, 1, 8], ids=["many ties", "ties", "no ties"])
def test_rates_are_those_of_every_threshold_and_ties_stay_together(decimals):
    rng = np.random.default_rng(1)
    member = rng.random((4, 150)) < 0.5
    scores = np.round(rng.normal(size=member.shape) + member, decimals)
    result = attacks.AttackResult("x", scores, member)
    assert result.auc.value == pytest.approx(roc_auc_score(member.ravel(), scores.ravel()))
    for fpr in (0.05, 0.1, 0.5, 1.0):
        assert result.tpr_at(fpr).value == pytest.approx(plain_rates(scores.ravel(), member.ravel(), fpr))
    curve = result.roc
    assert list(curve) == ["fpr", "tpr", "low", "high"]
    assert (np.diff(curve["fpr"]) > 0).all() and (np.diff(curve["tpr"]) >= 0).all()
    assert curve["fpr"].iloc[0] == pytest.approx(10 / (~member).sum()) and curve["fpr"].iloc[-1] == 1
    assert ((curve["low"] <= curve["tpr"]) & (curve["tpr"] <= curve["high"])).all()


def test_all_scores_equal_is_a_coin():
    result = attacks.AttackResult("x", np.zeros((2, 100)), np.arange(200).reshape(2, 100) % 3 == 0)
    assert result.auc.value == 0.5 and result.tpr_at(0.5).value == 0 and result.tpr_at(1).value == 1


def test_what_the_sample_cannot_resolve_is_not_said():
    rng = np.random.default_rng(0)
    member = np.arange(400) % 2 == 0
    result = attacks.AttackResult("x", rng.normal(size=400) + member, member)
    refused = result.tpr_at(0.04)
    assert np.isnan([refused.value, refused.low, refused.high]).all()
    assert str(refused) == "not resolved (0.04 of 200 non-members is 8 false alarms, and it takes at least 10)"
    assert f"{refused:.2f}" == str(refused)
    assert not result.tpr_at(0.05).unresolved and "95% interval" in str(result.tpr_at(0.05))
    few = attacks.AttackResult("x", np.arange(8.0), np.arange(8) > 3)
    assert few.tpr_at(1).unresolved and few.auc.value == 1


def test_an_attack_that_is_always_right_still_has_an_interval():
    member = np.arange(40) % 2 == 0
    perfect = attacks.AttackResult("x", member.astype(float), member)
    assert perfect.auc.value == perfect.auc.high == 1 and 0.7 < perfect.auc.low < 0.9  # 20 of 20: .83 and more


def world(rng, models, rows, by_row, by_model, alone):
    """Scores with what is due to the patient, to the model, and to neither."""
    member = rng.random((models, rows)) < 0.5
    base = rng.normal(0, by_row, rows) + rng.normal(0, by_model, (models, 1)) + rng.normal(0, alone, member.shape)
    gap = 0.7 + rng.normal(0, by_row, rows) + rng.normal(0, by_model, (models, 1))
    return attacks.AttackResult("x", base + member * gap, member)


@pytest.mark.parametrize(
    ("shape", "spread"),
    [((16, 50), (1, 0, 0.7)), ((30, 40), (0, 0.6, 0.7)), ((20, 50), (0.8, 0.4, 0.5)), ((1, 400), (0.5, 0, 0.8))],
    ids=["patients", "models", "both", "one model"],
)
def test_intervals_hold_the_truth_as_often_as_they_should(shape, spread, monkeypatch):
    monkeypatch.setattr(results, "_DRAWS", 150)
    rng, n, several = np.random.default_rng(2), 60, shape[0] > 1
    truth = []
    for _ in range(2):
        large = world(rng, *((300, 2000) if several else (1, 300_000)), *spread)
        threshold = np.quantile(large.scores[~large.member], 0.9)
        right = (large.scores[large.member] > threshold).mean()
        truth.append([right, roc_auc_score(large.member.ravel(), large.scores.ravel())])
    truth = np.mean(truth, axis=0)
    covered, careless, widths, values = np.zeros(2), 0, [], []
    for _ in range(n):
        result = world(rng, *shape, *spread)
        found = [result.tpr_at(0.1), result.auc]
        covered += [e.low <= t <= e.high for e, t in zip(found, truth, strict=True)]
        widths.append(result.auc.high - result.auc.low)
        values.append(result.auc.value)
        if several:  # as if all scores were independent
            ignoring = attacks.AttackResult("x", result.scores.ravel(), result.member.ravel()).auc
            careless += ignoring.low <= truth[1] <= ignoring.high
    assert (covered / n >= 0.87).all(), covered / n  # at a true rate of 95%: below 1 time in 100
    assert np.mean(widths) < 1.7 * 3.92 * np.std(values)  # and not by being hopelessly wide
    assert careless / n < 0.8 if several else True


def test_intervals_are_the_same_each_time(shadows):
    assert attacks.lira(shadows).auc == attacks.lira(shadows).auc


def test_the_exposed_patient_is_found():
    X, y = patients(60, flip=0.0)
    X[17] *= 4
    y[17] = 1 - y[17]  # unlike anybody else
    shadows = attacks.shadows(X, y, n_models=64, seed=0, hidden=(32,), epochs=60)
    table = attacks.lira(shadows).most_exposed(5)
    assert list(table) == ["row", "times_member", "found", "false_alarm", "score"] and len(table) == 5
    assert table["row"][0] == 17 and table["found"][0] > 0.9
    assert table["times_member"][0] == shadows.member[:, 17].sum()
    one = attacks.lira(shadows[1:], shadows.logit[0], shadows.member[0]).most_exposed(100)
    assert set(one["row"]) == set(np.flatnonzero(shadows.member[0]))

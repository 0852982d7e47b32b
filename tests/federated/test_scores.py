"""Scores of many models at once."""

import dataclasses
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated, privacy
from fedlab_utils.federated import scores
from tests.federated.helpers import QUICK, table


def test_a_diverged_model_has_no_score_and_a_sure_one_has_its_auc():
    y = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    sure = scores.metrics([torch.tensor([[18.0], [25.0], [30.0], [40.0]])], [y], [[4]], "binary")
    assert sure["auc"].tolist() == [[1.0, 1.0]]  # 32-bit probabilities of the last three are equal
    lost = scores.metrics([torch.full((4, 1), torch.nan)], [y], [[4]], "binary")
    assert all(np.isnan(lost[name]).all() for name in ("loss", "accuracy", "auc"))


def test_rows_are_sorted_only_for_scores_that_somebody_asks_for(three, monkeypatch):
    sorts, rank = [], scores.rank_auc
    monkeypatch.setattr(scores, "rank_auc", lambda *about: sorts.append(1) or rank(*about))
    runs = federated.side_by_side(three, {"slow": {"lr": 0.05}, "fast": {"lr": 0.2}}, seeds=2, rounds=3)
    assert not sorts and not any(run.diverged for run in runs.values())
    for run in runs.values():
        assert run.auc.shape == (2,) and len(run.final) == 2 * 4 and len(sorts) == 2  # hospitals', and of all rows
    assert all(len(run.history) == 4 * 2 * 4 for run in runs.values()) and len(sorts) == 2 * 4
    alone = {name: federated.train(three, lr=lr, seeds=2, rounds=3) for name, lr in (("slow", 0.05), ("fast", 0.2))}
    for name, run in runs.items():  # each its own, of scores that were found for all together
        last = run.history.query("round == 3").reset_index(drop=True)
        pd.testing.assert_frame_equal(run.final, last)
        pd.testing.assert_frame_equal(run.history, alone[name].history)
        assert set(run.metrics[0]) == {"loss", "accuracy", "auc"} and "classes" not in run.metrics[0]


@given(n=st.integers(2, 60), groups=st.integers(1, 4), levels=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_rank_auc_equals_scikit_learn_with_ties_and_empty_groups(n, groups, levels, seed):
    rng = np.random.default_rng(seed)
    score, truth = rng.integers(0, levels, n) / 3, rng.random(n) < 0.4
    group = rng.integers(0, groups, n)
    ours = scores.rank_auc(score, truth, group, groups + 1)
    for g in range(groups + 1):
        mine = truth[group == g]
        if mine.any() and not mine.all():
            assert ours[g] == pytest.approx(roc_auc_score(mine, score[group == g]))
        else:
            assert np.isnan(ours[g])


# ---- classes without test rows


def without(federation, *lost):
    """The federation without the test rows of some classes."""
    hospitals = []
    for h in federation.hospitals:
        keep = ~np.isin(h.y_test[:, 0].numpy(), lost)
        hospitals.append(dataclasses.replace(h, X_test=h.X_test[keep], y_test=h.y_test[keep]))
    return dataclasses.replace(federation, hospitals=tuple(hospitals))


@pytest.fixture(scope="module")
def several():
    return data.from_frame(table(classes=4), target="ill", hospital="ward")


def test_the_auc_is_over_the_classes_that_have_test_rows_and_the_run_says_so(several):
    less = without(several, 2)
    run = federated.train(less, seeds=2, **QUICK)
    everyone = less.pooled()
    truth = everyone.y_test[:, 0].numpy()
    for seed in range(2):
        risk = run[seed].predict_proba(everyone.X_test).numpy()
        by_hand = np.mean([roc_auc_score(truth == k, risk[:, k]) for k in (0, 1, 3)])
        assert run.auc[seed] == pytest.approx(by_hand)
    assert run.scored_classes.tolist() == [3, 3] and run.final["auc"].notna().all()
    assert "over 3 of 4 classes, the others have no test rows)" in repr(run)
    pooled = federated.baselines(less, seeds=2, **QUICK)
    assert pooled["auc"].notna().all()
    whole = federated.train(several, seeds=2, **QUICK)
    assert whole.scored_classes.tolist() == [4, 4] and repr(whole).endswith(f"AUC {whole.auc.mean():.3f})")


def test_of_one_class_alone_no_auc_is_defined(several, three):
    one = federated.train(without(several, 0, 1, 2), **QUICK)
    assert np.isnan(one.auc).all() and one.scored_classes.tolist() == [0]
    healthy = federated.train(without(three, 1), **QUICK)
    assert np.isnan(healthy.auc).all() and healthy.final["loss"].notna().all()
    assert federated.baselines(without(three, 1), seeds=1, **QUICK)["auc"].isna().all()


# ---- trainings that ran away


def test_a_training_that_ran_away_says_so_once_and_is_kept(three):
    with pytest.warns(federated.Diverged) as said:
        run = federated.train(three, rounds=4, lr=50, seeds=2)
    (only,) = said
    words = str(only.message)
    assert "2 of 2 runs, first in round 1" in words and words.endswith("try an lr below 50.")
    assert only.filename == __file__  # points at the line that trained
    loss = np.stack([m["loss"][:, -1] for m in run.metrics])
    for seed, turn in run.diverged.items():
        assert not loss[turn, seed] <= 100 * loss[0, seed] and (loss[:turn, seed] <= 100 * loss[0, seed]).all()
    assert run.rounds == 4 and "diverged in 2" in repr(run)
    with pytest.warns(federated.Diverged, match=r"in 1 of 2 runs.*try an lr below 50\.") as said:
        runs = federated.side_by_side(three, {"calm": {"lr": 0.1}, "wild": {"lr": 50}}, seeds=1, rounds=2)
    assert len(said) == 1 and not runs["calm"].diverged and runs["wild"].diverged


def test_a_training_that_goes_well_or_is_only_noisy_says_nothing(three):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert federated.train(three, **QUICK).diverged == {}
        noisy = federated.train(three, privacy=privacy.HospitalDP(noise_multiplier=1e4), **QUICK)
    assert noisy.diverged  # worthless, but by its noise: a smaller lr is not the answer


def test_without_test_rows_only_the_model_tells(three):
    blind = without(three, 0, 1)
    assert federated.train(blind, **QUICK).diverged == {}
    with pytest.warns(federated.Diverged):
        assert federated.train(blind, lr=1e30, rounds=2).diverged == {0: 2}

"""Scores of many models at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedlab_utils.federated import scores


def test_a_diverged_model_has_no_score_and_a_sure_one_has_its_auc():
    y = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    sure = scores.metrics([torch.tensor([[18.0], [25.0], [30.0], [40.0]])], [y], [[4]], "binary")
    assert sure["auc"].tolist() == [[1.0, 1.0]]  # 32-bit probabilities of the last three are equal
    lost = scores.metrics([torch.full((4, 1), torch.nan)], [y], [[4]], "binary")
    assert all(np.isnan(lost[name]).all() for name in ("loss", "accuracy", "auc"))


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

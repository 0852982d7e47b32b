"""Dealing rows out to hospitals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import data
from fedlab_utils.data import partition
from tests.data.helpers import federation, rows, same


def test_repartition_keeps_training_rows_in_training():
    some = federation()
    other = some.repartition(7, 0.3, 1)
    before, after = rows(some), rows(other)
    assert set().union(*before[::2]) == set().union(*after[::2])
    assert set().union(*before[1::2]) == set().union(*after[1::2])
    assert len(other.hospitals) == 7 and sum(map(len, after)) == 240
    assert other.feature_names == some.feature_names
    for column, mean in some.agreed.means.items():
        assert other.agreed.means[column] == pytest.approx(mean, rel=1e-12)
    assert same(other, some.repartition(7, 0.3, 1)) and not same(other, some.repartition(7, 0.3, 2))


def test_alpha_sets_the_skew():
    some = data.load("hospital_network")

    def spread(alpha):
        hospitals = some.repartition(5, alpha, 0).hospitals
        assert all(len(h.X_train) >= 2 for h in hospitals)
        return np.std([h.y_train.mean() for h in hospitals]), [len(h.X_train) for h in hospitals]

    (even, sizes), (mild, _), (strong, _) = spread(None), spread(10.0), spread(0.1)
    assert max(sizes) - min(sizes) <= 1
    assert even < 0.02 < strong and mild < strong
    # dealt out by label, a patient's risk depends on the hospital too
    assert all(h.true_risk is None for h in some.repartition(5, 0.1, 0).hospitals)
    small = data.load("breast_cancer").repartition(20, 0.05, 0).hospitals
    assert min(len(h.X_train) for h in small) == 2  # left alone, some would have none


def test_training_and_test_rows_share_the_skew():
    hospitals = data.load("hospital_network").repartition(4, 0.3, 0).hospitals
    for h in hospitals:
        assert abs(h.y_train.mean() - h.y_test.mean()) < 0.01


def test_regression_is_skewed_by_tenths():
    some = data.load("diabetes", target="progression")

    def spread(alpha):
        return np.std([h.y_train.mean() for h in some.repartition(5, alpha, 0).hospitals])

    assert spread(0.05) > 3 * spread(None)


@settings(max_examples=100)
@given(st.integers(1, 60), st.integers(1, 12), st.sampled_from([None, 1e-4, 0.1, 1.0, 1e300]), st.integers(0, 99))
def test_dealing_leaves_nobody_out(n, n_hospitals, alpha, seed):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, n)
    shares = partition.draw_shares(3, n_hospitals, alpha, rng)
    owner = partition.deal(codes, shares, n_hospitals, rng, at_least=2)
    counts = np.bincount(owner, minlength=n_hospitals)
    assert len(counts) == n_hospitals and counts.sum() == n and counts.min() >= min(2, n // n_hospitals)

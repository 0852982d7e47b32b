"""Shuffled and Poisson batches, and normal noise.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fedlab_utils.fleet import batches, randomness


def test_poisson_batches_have_the_stated_rate():
    rngs = randomness.generators(0, 2)
    rows, steps = [np.arange(500), np.arange(100)], [400, 400]
    sizes = np.array([(s > 0).sum(1).tolist() for _, s in batches.poisson(rows, steps, 20, rngs)])
    assert sizes.mean(0) == pytest.approx([20, 20], abs=0.9)
    assert sizes.var(0) == pytest.approx([20 * 0.96, 20 * 0.8], rel=0.25)


@given(
    sizes=st.lists(st.integers(1, 23), min_size=1, max_size=6),
    batch=st.integers(1, 9),
    epochs=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_epoch_shows_each_row_exactly_once(sizes, batch, epochs):
    rows = [np.arange(n) + 100 * k for k, n in enumerate(sorted(sizes, reverse=True))]
    steps = [epochs * -(-len(r) // batch) for r in rows]
    seen = [[] for _ in rows]
    rngs = randomness.generators(0, len(rows))
    for index, share in batches.shuffled(rows, steps, batch, rngs):
        np.testing.assert_allclose(share.sum(1), 1, rtol=1e-6)
        for k in range(len(index)):
            seen[k] += index[k][share[k] > 0].tolist()
    for k, r in enumerate(rows):
        for e in range(epochs):
            assert sorted(seen[k][e * len(r) : (e + 1) * len(r)]) == r.tolist()


def test_each_epoch_has_an_order_of_its_own():
    order = [
        i for index, _ in batches.shuffled([np.arange(40)], [10], 8, randomness.generators(0, 1)) for i in index[0]
    ]
    first, second = order[:40], order[40:]
    assert first != second and first != sorted(first) and sorted(first) == sorted(second)


# ---------------------------------------------------------------- noise and coins


def test_normal_numbers_are_normal():
    """Kolmogorov-Smirnov, correlations and extremes: fails by chance about once in 10,000 seeds."""
    draws = torch.stack(list(batches.normal([100] * 2, 5001, randomness.generators(1, 2)))).double()  # [100, 2, 5001]
    for k in range(2):
        assert stats.kstest(draws[:, k].flatten().numpy(), "norm").pvalue > 1e-4
    flat = draws.flatten()
    assert 4.4 < flat.abs().max() < 6.7  # a million of them
    assert (flat**4).mean() == pytest.approx(3, abs=0.04)
    pairs = [(draws[:, 0], draws[:, 1]), (draws[1:], draws[:-1]), (draws[..., :2500], draws[..., 2501:5001])]
    for one, other in pairs:
        assert abs((one * other).mean()) < 4 / math.sqrt(one.numel())


def test_a_models_noise_does_not_depend_on_who_trains_beside_it():
    together = list(batches.normal([30, 30, 7], 700, randomness.generators(0, 3)))
    for k, steps in enumerate((30, 30, 7)):
        alone = list(batches.normal([steps], 700, [randomness.generators(0, 3)[k]]))
        assert all(torch.equal(together[s][k], alone[s][0]) for s in range(steps))
    assert [len(t) for t in together] == 7 * [3] + 23 * [2]


def test_coins_fall_alike_for_every_row_and_step():
    """Chi-square over rows and over steps; fails by chance once in 5,000 seeds."""
    seen, sizes = np.zeros(40), []
    for index, share in batches.poisson([np.arange(100, 140)], [3000], 8, randomness.generators(3, 1)):
        chosen = index[share > 0]
        assert len(chosen.unique()) == len(chosen)
        np.add.at(seen, chosen.numpy() - 100, 1)
        sizes.append(len(chosen))
    assert stats.chisquare(seen).pvalue > 1e-4
    counts = np.bincount(sizes, minlength=41)[2:15]
    expected = 3000 * stats.binom.pmf(np.arange(2, 15), 40, 0.2)
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_no_corner_of_the_coin_flips_is_special():
    """Every row in every one of 17 steps, 3,000 times over; fails by chance about once in 200 seeds."""
    rng, seen = np.random.default_rng(0), np.zeros((17, 5))
    for _ in range(3000):
        for s, (index, share) in enumerate(batches.poisson([np.arange(5)], [17], 2, [rng])):
            seen[s, index[share > 0]] += 1
    assert np.abs(seen / 3000 - 0.4).max() < 4 * math.sqrt(0.4 * 0.6 / 3000)

"""Noise of whole numbers: its law, its shares, and how it is laid out in words. Seeds are fixed."""

import inspect
import math
import random
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.special import ive

from fedlab_utils.privacy import RecordDP
from fedlab_utils.privacy.events import DiscreteGaussianDpEvent, SkellamDpEvent
from fedlab_utils.secagg import Setup
from fedlab_utils.secagg.noise import LARGEST_SD, discrete_gaussian, honest, scaled, signed, skellam
from fedlab_utils.secagg.private import SumLayout


def p_of_law(drawn, chance):
    """Chi-square test against probabilities around 0; rare values count together."""
    k = np.arange(len(chance)) - len(chance) // 2
    expected = chance * len(drawn)
    often = expected >= 5
    seen = np.array([(drawn == value).sum() for value in k[often]])
    rest = [len(drawn) - seen.sum()], [len(drawn) - expected[often].sum()]
    return stats.chisquare(np.append(seen, rest[0]), np.append(expected[often], rest[1])).pvalue


@pytest.mark.parametrize("variance", [1, 2, 5, 10, 25])
def test_skellam_noise_and_sums_of_its_shares_have_exactly_that_law(variance):
    """Each would fail by chance once in 10,000 seeds."""
    rng, k = np.random.default_rng(variance), np.abs(np.arange(-90, 91))
    chance = ive(k, variance)
    assert chance.sum() == pytest.approx(1) and (chance * k**2).sum() == pytest.approx(variance)
    whole = skellam(variance, 100_000, rng)
    summed = sum(skellam(variance / 3, 100_000, rng) for _ in range(3))
    assert p_of_law(whole, chance) > 1e-4 and p_of_law(summed, chance) > 1e-4
    wrong = rng.poisson(variance, 100_000) - rng.poisson(variance, 100_000)  # controls: twice the variance, skewed
    skewed = rng.poisson(variance, 100_000) - variance
    rounded = np.rint(rng.normal(0, math.sqrt(variance), 100_000))
    assert max(p_of_law(wrong, chance), p_of_law(skewed, chance)) < 1e-9
    assert variance > 2 or p_of_law(rounded, chance) < 1e-9


@pytest.mark.parametrize("variance", [0.4, 1, 7.5, 25])
def test_discrete_gaussian_noise_has_exactly_that_law(variance):
    drawn = discrete_gaussian(variance, 6_000, random.Random(3))
    assert drawn.dtype == np.int64
    assert p_of_law(drawn, DiscreteGaussianDpEvent(variance, 1, 1, 1).law()) > 1e-4
    assert p_of_law(drawn, DiscreteGaussianDpEvent(variance * 1.3, 1, 1, 1).law()) < 1e-3  # control


def test_the_systems_randomness_is_what_discrete_gaussian_noise_takes_by_itself():
    one, other = discrete_gaussian(100, 50), discrete_gaussian(100, 50)
    assert (one != other).any() and 60 < np.concatenate([one, other]).var() < 160


def test_skellam_noise_at_the_largest_share_has_the_right_size():
    drawn = skellam(LARGEST_SD**2, 200_000, np.random.default_rng(0)) / LARGEST_SD
    assert drawn.var() == pytest.approx(1, rel=5 * math.sqrt(2 / 200_000)) and abs(stats.skew(drawn)) < 0.03


def test_rates_at_which_numpy_draws_wrongly_are_refused():
    with pytest.raises(ValueError, match="variance must be at most 2e.12, since NumPy .*; got 2.1e.12: use larger"):
        skellam(2.1e12, 3, np.random.default_rng(0))
    skellam(2e12, 3, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda: skellam(-1, 3, np.random.default_rng(0)), "variance"),
        (lambda: skellam(1, 2.5, np.random.default_rng(0)), "size"),
        (lambda: skellam(1, 3, 0), "rng"),
        (lambda: discrete_gaussian(0, 3), "variance"),
        (lambda: discrete_gaussian(math.nan, 3), "variance"),
        (lambda: discrete_gaussian(1, -1), "size"),
        (lambda: discrete_gaussian(1, 3, np.random.default_rng(0)), "rng"),
        (lambda: honest(None), "setup"),
        (lambda: honest(Setup(5, 4, 1, 32), "outsider"), "viewer"),
    ],
)
def test_bad_arguments_get_one_sentence(wrong, name):
    with pytest.raises(ValueError, match=f"^{name} must") as found:
        wrong()
    assert "\n" not in str(found.value)


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(("n", "threshold", "colluding"), [(5, 4, 0), (5, 3, 0), (5, 4, 2), (6, 5, 3), (3, 2, 0)])
def test_any_allowed_survivors_have_the_noise_that_was_asked_for(n, threshold, colluding):
    """Whoever drops out and whoever colludes, what a viewer does not know is at least the variance asked for."""
    setup = Setup(n, threshold, 1, 32, malicious=2 * threshold > n + colluding, colluding=colluding)
    for viewer, known in (("server", colluding), ("every hospital", max(colluding, 1))):
        share, least = 120.0 / honest(setup, viewer), math.inf
        for left in range(threshold, n + 1):
            for survivors in combinations(range(n), left):
                for liars in combinations(survivors, known):
                    least = min(least, share * (left - len(liars)))
        assert least == pytest.approx(120)


def test_shares_do_not_depend_on_who_is_there():
    """The same setup, the same share: survivors are no argument of anything that scales noise."""
    assert list(inspect.signature(honest).parameters) == ["setup", "viewer"]
    assert honest(Setup(9, 7, 1, 32)) == 6 and honest(Setup(9, 7, 1, 32), "server") == 7
    assert honest(Setup(9, 7, 1, 32, colluding=4)) == honest(Setup(9, 7, 1, 32, colluding=4), "server") == 3


# ---------------------------------------------------------------- words


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("noise", [0.5, 4.0, 40.0])
@pytest.mark.parametrize("n", [2, 5, 100])
def test_a_noisy_sum_fits_into_its_word_and_a_share_can_be_drawn(n, noise, bits):
    step, share = scaled(noise, 2.0, largest=3.0, n=n, members=max(1, n // 2), bits=bits, widen=4.0)
    assert n * 3 / step + 7 * math.sqrt(n * share) <= (2 ** (bits - 1) - 1) * (1 + 1e-9)
    assert math.sqrt(share) <= LARGEST_SD * (1 + 1e-9)
    assert share * max(1, n // 2) == pytest.approx((noise * (2 / step + 4)) ** 2)
    tight = n * 3 / step + 7 * math.sqrt(n * share) > 0.99 * 2 ** (bits - 1) or math.sqrt(share) > 0.99 * LARGEST_SD
    assert tight or step == pytest.approx(3 / 2**44)


def test_words_that_are_too_short_are_refused():
    with pytest.raises(ValueError, match="bits=8 leave no room for noise of 4 times"):
        scaled(4.0, 1.0, largest=1.0, n=5, members=3, bits=8, widen=20.0)


@pytest.mark.parametrize("kind", ["u1", "u2", "u4", "u8"])
def test_words_are_read_with_their_sign(kind):
    values = np.array([-5, -1, 0, 1, 100])
    assert (signed(values.astype(f"<{kind}")) == values).all()
    total = np.array([100, -100]).astype(f"<{kind}") + np.array([-120, 90]).astype(f"<{kind}")
    assert (signed(total) == [-20, -10]).all()


def test_how_often_a_full_coordinate_wraps_around_follows_the_headroom(monkeypatch):
    """A sum at the very end of its range wraps as often as the bell curve says; with 7 deviations, once in 10^12."""
    from fedlab_utils.secagg import noise

    found, n, d = {}, 5, 40_000
    for headroom in (2.0, 3.0, 7.0):
        monkeypatch.setattr(noise, "HEADROOM", headroom)
        step, share = scaled(1.0, 1.0, largest=1.0, n=n, members=3, bits=18)
        rng, full = np.random.default_rng(0), np.full(d, math.floor(1 / step) * n)
        total = full + sum(skellam(share, d, rng) for _ in range(n))
        found[headroom] = (total > 2**17 - 1).mean()
    assert found[2.0] == pytest.approx(stats.norm.sf(2), rel=0.25)
    assert found[3.0] == pytest.approx(stats.norm.sf(3), rel=0.6) and found[7.0] == 0


@pytest.mark.parametrize("d", [1, 9, 400])
def test_rounding_by_common_coins_moves_two_vectors_no_further_apart_than_is_counted(d):
    """Adversarial: coordinates just below and above whole steps, and the same coins for both vectors."""
    layout = SumLayout(Setup(3, 3, d, 32), RecordDP(noise_multiplier=1.0), None, 1.0, 2.0, "skellam", "server")
    scale, counted, quiet = (
        layout.scale(1.0),
        layout.event(1.0).l2,
        {"skellam": lambda share, size: np.zeros(size, int)},
    )
    rng, moved = np.random.default_rng(d), []
    for turn in range(200):
        base = (rng.integers(-9, 9, d) + rng.choice([0.0, 0.5, 0.999])) * scale.step
        change = rng.choice([-1, 1], d) / math.sqrt(d)  # as long as the sensitivity
        both = (layout.words(v, scale, np.random.default_rng(turn), quiet) for v in (base, base + change))
        moved.append(np.linalg.norm(np.subtract(*map(signed, both))))
    assert 1 / scale.step < max(moved) <= counted  # rounding does lengthen it


def test_the_law_of_an_event_is_that_of_the_sampler():
    event = SkellamDpEvent(2.0, 3, 1.0, 1.0)
    assert p_of_law(skellam(6, 50_000, np.random.default_rng(0)), event.law()) > 1e-4

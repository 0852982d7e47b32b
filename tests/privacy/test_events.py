"""What noise in shares costs: bounds against exact divergences, exact losses against independent formulas."""

import itertools
import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from dp_accounting.privacy_accountant import NeighboringRelation
from scipy.optimize import brentq
from scipy.special import ive, logsumexp

from fedlab_utils import privacy
from fedlab_utils.privacy import accounting
from fedlab_utils.privacy.events import BLANK, DiscreteGaussianDpEvent, RdpAccountant, SkellamDpEvent
from fedlab_utils.privacy.ledger import Ledger, Mechanism


def divergence(chance, shift, order):
    """Of the noise around `shift` from that around 0, of a given order, exactly."""
    logs = np.log(np.maximum(chance, 1e-300))
    moved, still = logs[:-shift], logs[shift:]
    sure = (moved > -600) & (still > -600)
    return logsumexp((order * moved + (1 - order) * still)[sure]) / (order - 1)


GRID = list(itertools.product((2.0, 5.0, 31.0, 125.0, 1000.0), (1, 2, 5, 8), (2, 3, 8, 32, 64)))


def law(mu):
    width = int(40 * math.sqrt(mu) + 200)
    return ive(np.abs(np.arange(-width, width + 1)), mu)


def test_the_bound_of_skellam_noise_lies_above_the_exact_divergence():
    laws = {mu: law(mu) for mu, _, _ in GRID}
    tight, halved = 0.0, 0
    for mu, shift, order in GRID:
        exact = divergence(laws[mu], shift, order)
        bound, slip = (SkellamDpEvent(share, 1, shift, shift**2).concentrated() for share in (mu, 2 * mu))
        cost = bound.xi + bound.rho * order
        assert exact <= cost * (1 + 1e-9), (mu, shift, order)
        tight = max(tight, exact / cost)
        halved += exact > slip.xi + slip.rho * order  # mu taken for half the variance: the classic slip
    assert tight > 0.99 and halved > len(GRID) / 2


@pytest.mark.parametrize("share", [0.3, 1.0, 4.0])
def test_the_bound_of_discrete_gaussian_shares_lies_above_the_exact_divergence(share):
    for honest, order in itertools.product((1, 2, 4), (2, 5, 16)):
        event = DiscreteGaussianDpEvent(share, honest, 1.0, 1.0, 1)
        bound = event.concentrated()
        assert divergence(event.law(), 1, order) <= (bound.xi + bound.rho * order) * (1 + 1e-9)


def test_the_gap_of_discrete_gaussian_shares_vanishes_from_two_steps_on():
    gaps = [DiscreteGaussianDpEvent(sd**2, 4, 1.0, 1.0, 1).concentrated().xi for sd in (0.25, 0.5, 1.0, 2.0)]
    assert gaps[0] > 5 > gaps[1] > 1 > 0.01 > gaps[2] > 1e-4 > 1e-15 > gaps[3]


def test_only_whole_orders_are_used_where_the_bound_is_proven_for_them():
    event = SkellamDpEvent(50.0, 3, 3.0, 9.0)
    direct = rdp.RdpAccountant(orders=range(2, 257))
    direct.compose(event.concentrated(), 4)
    assert accounting.composed(((event, 4),), 1e-5, "rdp") == pytest.approx(direct.get_epsilon(1e-5))
    orders = range(2, 257)
    by_hand = [4 * (a * 9 / 300 + ((2 * a - 1) * 9 + 54) / (4 * 150**2)) for a in orders]
    epsilon, _ = rdp.compute_epsilon(np.array(orders, float), np.array(by_hand), 1e-5)
    assert accounting.composed(((event, 4),), 1e-5, "rdp") == pytest.approx(float(epsilon))


@pytest.mark.parametrize(("share", "beyond"), [(2.0, False), (50.0, False), (1200.0, True), (1e5, True)])
def test_high_orders_are_asked_where_they_are_best_and_only_there(share, beyond):
    event, sampled = SkellamDpEvent(share, 3, 3.0, 9.0), accounting.gaussian(3.0 * share**0.5, 0.1)
    direct = RdpAccountant(range(2, 257), BLANK)
    direct.compose(event).compose(sampled, 3)
    epsilon, best = direct.get_epsilon_and_optimal_order(1e-5)
    accounting._renyi.cache_clear()
    assert accounting.composed(accounting.merged(((event, 1), (sampled, 3))), 1e-5, "rdp") == epsilon
    assert (best > 64) == beyond and accounting._renyi.cache_info().currsize == (4 if beyond else 2)


def hockey_stick(chance, cells, delta):
    """Epsilon of `cells` numbers that each move by one, by convolving the exact losses; no library of the field."""
    logs = np.log(np.maximum(chance, 1e-300))
    loss, weight, width = logs[:-1] - logs[1:], chance[:-1], 2e-4
    index = np.rint(loss / width).astype(int)
    low = index.min()
    pmf = np.bincount(index - low, weight)
    size = 2 ** math.ceil(math.log2(len(pmf) * cells))
    total = np.fft.irfft(np.fft.rfft(pmf, size) ** cells, size).clip(0)
    value = (np.arange(size) + low * cells) * width
    above = value > 0
    total, value = total[above], value[above]
    return brentq(lambda e: (total * -np.expm1(np.minimum(e - value, 0))).sum() - delta, 0, 12, xtol=1e-4)


@pytest.mark.parametrize("kind", [SkellamDpEvent, DiscreteGaussianDpEvent])
@pytest.mark.parametrize("sd", [11.22, 4.18, 1.8])
def test_counts_have_an_exact_loss(kind, sd):
    event = kind(sd**2 / 3, 3, 3.0, 9.0, 9)
    spent = accounting.composed(((event, 1),), 1e-5)
    chance = event.law()
    middle, reach = len(chance) // 2, int(9 * sd) + 5
    assert spent == pytest.approx(hockey_stick(chance[middle - reach : middle + reach + 1], 9, 1e-5), rel=0.006)
    assert spent <= accounting.composed(((event, 1),), 1e-5, "rdp")


def test_counts_cost_what_gaussian_noise_costs_at_working_sizes():
    for target, near in ((0.3, 0.004), (1.0, 0.004), (3.0, 0.02)):
        z = privacy.noise_for(target)
        event = SkellamDpEvent(9 * z * z / 4, 4, 3.0, 9.0, 9)
        assert accounting.composed(((event, 1),), 1e-5) == pytest.approx(privacy.epsilon(z), rel=near)


def test_shares_compose_with_other_noise():
    counts, other = SkellamDpEvent(9 * 36 / 3, 3, 3.0, 9.0, 9), dp_accounting.GaussianDpEvent(4.0)
    both = accounting.composed(accounting.merged(((counts, 2), (other, 3))), 1e-5)
    accountant = pld.PLDAccountant()
    accountant.compose(dp_accounting.GaussianDpEvent(6.0), 2)
    accountant.compose(other, 3)
    assert both == pytest.approx(accountant.get_epsilon(1e-5), rel=0.01)


def test_the_price_of_rdp():
    for spent, delta in ((1.0, 1e-5), (8.0, 1e-5)):
        assert 0.07 < accounting.price_of_rdp(spent, delta) < 0.10
    assert math.isnan(accounting.price_of_rdp(math.inf, 1e-5))


# ---------------------------------------------------------------- in the ledger


def shared(cells=9, z=3.74085, **about):
    event = SkellamDpEvent(z * z * (cells or 9) / 4, 4, 3.0, 9.0, cells)
    return Mechanism(event.noise_multiplier, event=event, secret=True, **about)


def viewed(mechanism, hospital="A", ledger=None, release=None):
    release, ledger = release or object(), ledger or Ledger()
    for viewer, honest in (("server", 4), ("every hospital", 3)):
        about = dict(hospital=hospital, viewer=viewer, mechanism=mechanism.among(honest), release=release)
        ledger = ledger.add("noisy sum", **about)
    return ledger


def test_one_release_that_two_viewers_see_counts_once_and_as_the_more_telling_view():
    ledger = viewed(shared())
    server, hospital = (e.mechanism.epsilon for e in ledger.private.entries)
    assert server < hospital == ledger.epsilon() == ledger.spent()["epsilon"].iloc[0]
    assert ledger.spent()["releases"].iloc[0] == 1
    twice = viewed(shared(), ledger=ledger)
    assert hospital < twice.epsilon() < 2 * hospital  # two sums are two releases


def test_the_slope_says_what_fewer_honest_ones_cost():
    slope = Ledger().add("s", hospital="A", viewer="server", mechanism=shared()).slope()
    assert slope["honest"].tolist() == [4, 3, 2, 1]
    np.testing.assert_allclose(slope["epsilon"], [1.00, 1.17, 1.46, 2.14], atol=0.012)
    gaussian = [privacy.epsilon(3.74085 * math.sqrt(k / 4)) for k in (4, 3, 2, 1)]
    np.testing.assert_allclose(slope["epsilon"], gaussian, rtol=0.01)
    plain = Ledger().add("s", hospital="A", viewer="server", mechanism=Mechanism(1.0))
    assert Ledger().slope().empty and plain.slope().empty


def test_the_ledger_says_what_shares_rest_on_and_which_method_it_used():
    counts, others = viewed(shared()), viewed(shared(cells=0))
    assert counts.method == "PLD" and others.method == "RDP"
    assert any("scaled for 3 honest ones" in s and "1.46 with 2, 2.14 with 1" in s for s in counts.check())
    assert not any("RDP" in s for s in counts.check())
    assert any("composed by RDP" in s and "more than PLD" in s for s in others.check())
    assert set(counts.table()["mechanism"]) == {"Skellam, in shares"}
    assert set(counts.table()["viewer"]) == {"server", "every hospital"}
    assert set(counts.table()["unit"]) == {"patient record"} and set(counts.table()["relation"]) == {
        "one present or blank"
    }


def test_mechanisms_keep_their_old_address():
    from fedlab_utils.privacy import ledger, mechanisms

    names = "Mechanism PRIVATE NOT_PRIVATE DEMONSTRATION FOLLOWS PATIENT HOSPITAL PRESENT_OR_BLANK".split()
    assert all(getattr(ledger, name) is getattr(mechanisms, name) for name in names)


# ---------------------------------------------------------------- sums of those whom a coin let in


def sampled_divergences(chance, shift, order, q):
    """Of noise around 0 or, with chance q, around `shift`, from noise around 0, and the other way round, exactly."""
    logs = np.log(np.maximum(chance, 1e-300))
    there, blank = logs[:-shift], logs[shift:]
    mixed = np.logaddexp(math.log1p(-q) + blank, math.log(q) + there)
    sure = (there > -600) & (blank > -600)
    both = (mixed, blank), (blank, mixed)
    return [logsumexp((order * a + (1 - order) * b)[sure]) / (order - 1) for a, b in both]


def moments(event, orders):
    accountant = RdpAccountant(orders, BLANK)
    accountant.compose(event, 1)
    return accountant._rdp


@pytest.mark.parametrize("q", [0.01, 0.2, 0.7, 0.99])
def test_the_bound_of_sampled_skellam_noise_lies_above_both_exact_divergences(q):
    tight, cheap = 0.0, 0
    for mu, shift, order in itertools.product((5.0, 31.0, 125.0, 1000.0), (1, 2, 5), (2, 3, 8, 32)):
        event = SkellamDpEvent(mu, 1, shift, shift**2, 0, q)
        (cost,) = moments(event, [order])
        exact = max(sampled_divergences(law(mu), shift, order, q))
        assert exact <= cost * (1 + 1e-9), (mu, shift, order)
        tight = max(tight, exact / cost)
        (whole,) = moments(SkellamDpEvent(mu, 1, shift, shift**2), [order])
        cheap += cost < 0.9 * whole
        assert cost <= whole * (1 + 1e-12)
    assert tight > 0.98 and (cheap > 30 or q > 0.7)


@pytest.mark.parametrize("q, noise", [(0.25, 22.0), (0.01, 2.0), (0.5, 6.0)])
def test_on_a_fine_grid_it_costs_what_sampled_gaussian_noise_costs(q, noise):
    orders = range(2, 257)
    fine = SkellamDpEvent((noise * 1e6) ** 2 / 3, 3, 1e6, 1e8, 0, q)
    gaussian = dp_accounting.PoissonSampledDpEvent(q, dp_accounting.GaussianDpEvent(noise))
    np.testing.assert_allclose(moments(fine, orders), moments(gaussian, orders), rtol=1e-3)
    assert fine.name == "Skellam, in shares, Poisson-sampled" and not fine.exact
    assert fine.among(1).sampling_probability == q and fine.among(1).noise_multiplier < fine.noise_multiplier
    both = [accounting.composed(((event, 300),), 1e-5, "rdp") for event in (fine, gaussian)]
    assert both[0] == pytest.approx(both[1], rel=0.01)


def test_sampling_is_no_help_without_coins_for_a_unit_or_a_blank():
    event = SkellamDpEvent(100.0, 1, 1.0, 1.0, 0, 0.5)
    assert not RdpAccountant([2, 3], NeighboringRelation.REPLACE_ONE).supports(event)
    assert RdpAccountant([2, 3], BLANK).supports(event) and not accounting.has_pld([event])

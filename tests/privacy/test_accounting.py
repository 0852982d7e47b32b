"""Accounting: epsilon is that of dp-accounting and Opacus, and calibrated noise spends the budget."""

import math
import subprocess
import sys
import warnings

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp

from fedlab_utils import privacy
from fedlab_utils.privacy import accounting
from tests.refusals import one_sentence

RELEASE = (accounting.gaussian(3.0), 1)  # to be composed with others


def direct(noise, q, steps, delta=1e-5, kind=pld.PLDAccountant, **options):
    """Epsilon straight from dp-accounting."""
    event = dp_accounting.GaussianDpEvent(noise)
    accountant = kind(**options)
    accountant.compose(event if q == 1 else dp_accounting.PoissonSampledDpEvent(q, event), steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize(("noise", "q", "steps"), [(0.6, 0.02, 400), (2, 0.02, 400), (4, 0.01, 10000), (5, 1, 20)])
def test_epsilon_is_that_of_dp_accounting(noise, q, steps):
    ours, theirs = privacy.epsilon(noise, sampling=q, steps=steps), direct(noise, q, steps)
    assert theirs * 0.9999 <= ours <= theirs * 1.002  # rounded upwards, on a coarser grid
    loose = privacy.epsilon(noise, sampling=q, steps=steps, method="rdp")
    assert loose == pytest.approx(direct(noise, q, steps, kind=rdp.RdpAccountant)) and loose > ours


@pytest.mark.parametrize("steps", [1, 30, 3000])
@pytest.mark.parametrize(("noise", "q"), [(0.5, 0.003), (0.97, 0.125), (3.0, 0.8), (40.0, 0.02), (0.5, 1), (700.0, 1)])
def test_few_orders_find_what_all_of_them_find(noise, q, steps):
    for events in (((accounting.gaussian(noise, q), steps),), ((accounting.gaussian(noise, q), steps), RELEASE)):
        everything = rdp.RdpAccountant()
        for event, count in events:
            everything.compose(event, count)
        for delta in (1e-2, 1e-5, 1e-9):
            assert accounting._by_rdp(events, delta) == pytest.approx(everything.get_epsilon(delta), rel=1e-12)


@pytest.mark.parametrize("q", [0.1, 1])
@pytest.mark.parametrize("kind", [pld.PLDAccountant, rdp.RdpAccountant])
def test_a_blank_record_costs_what_a_missing_one_does(q, kind):
    ours = privacy.epsilon(1.7, sampling=q, steps=37, method="pld" if kind is pld.PLDAccountant else "rdp")
    relation = dp_accounting.NeighboringRelation
    both = (relation.REPLACE_SPECIAL, relation.ADD_OR_REMOVE_ONE)
    blank, missing = (direct(1.7, q, 37, kind=kind, neighboring_relation=one) for one in both)
    assert blank == missing and ours == pytest.approx(blank, rel=2e-3)


def test_the_accountants_are_asked_about_a_record_and_a_blank():
    """dp-accounting knows no randomised response where somebody is added or removed: everybody answers."""
    spinner = privacy.Mechanism(event=dp_accounting.RandomizedResponseDpEvent(0.5, 2))  # 3/4 true, 1/4 not
    assert 0 < spinner.epsilon <= np.log(3) + 1e-2


def test_published_epsilon_then_and_now():
    """Abadi et al. 2016, section 3.2: noise 4, q = 1%, 10,000 steps were epsilon 1.26 by the accounting of the day."""
    common = dict(sampling=0.01, steps=10_000, delta=1e-5)
    assert privacy.epsilon(4, method="rdp", **common) == pytest.approx(1.04, abs=0.01)
    assert privacy.epsilon(4, **common) == pytest.approx(0.95, abs=0.01)


def test_epsilon_agrees_with_opacus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        theirs = PRVAccountant()
        theirs.history = [(1.0, 0.02, 400)]
        value = theirs.get_epsilon(1e-5, eps_error=0.005)
    assert privacy.epsilon(1, sampling=0.02, steps=400) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("noise", "q", "steps", "published", "today"),
    [
        (4, 0.01, 10_000, 1.26, 0.95),  # Abadi et al. 2016, section 3.2: moments up to the 32nd
        (1.3, 256 / 60_000, 20 * 234, 1.34, 1.01),  # Bu et al. 2020, doi:10.1162/99608f92.cfc5dd25, figure 4
        (0.7, 256 / 60_000, 70 * 234, 8.68, 7.10),  # the same
    ],
)
def test_published_epsilons_follow_from_the_conversion_of_their_day(noise, q, steps, published, today):
    """RDP(a) + log(1/delta) / (a - 1) at the best a (Mironov, arXiv:1702.07476, Proposition 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants.analysis.rdp import compute_rdp

    orders = np.arange(2, 34) if noise == 4 else np.concatenate([np.arange(1.1, 11, 0.1), np.arange(12, 64)])
    divergence = compute_rdp(q=q, noise_multiplier=noise, steps=steps, orders=orders.tolist())
    assert (divergence + math.log(1e5) / (orders - 1)).min() == pytest.approx(published, rel=0.01)
    assert privacy.epsilon(noise, sampling=q, steps=steps) == pytest.approx(today, abs=0.01)


@pytest.mark.parametrize(("noise", "q", "steps"), [(0.7, 0.01, 1000), (2, 0.1, 50)])
def test_epsilon_agrees_with_opacus_to_a_percent_and_rdp_lies_above(noise, q, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        theirs = PRVAccountant()
        theirs.history = [(noise, q, steps)]
        ours = privacy.epsilon(noise, sampling=q, steps=steps)
        assert ours == pytest.approx(theirs.get_epsilon(1e-5, eps_error=ours / 500), rel=0.01)
    assert privacy.epsilon(noise, sampling=q, steps=steps, method="rdp") > 1.02 * ours


@pytest.mark.parametrize("steps", [1, 400])
@pytest.mark.parametrize("q", [0.01, 0.3, 1])
@pytest.mark.parametrize("target", [0.1, 1, 8, 100])
def test_calibrated_noise_spends_the_budget_and_no_more(target, q, steps):
    noise = privacy.noise_for(target, sampling=q, steps=steps)
    assert 0.99 * target <= direct(noise, q, steps, value_discretization_interval=1e-3 * min(1, target**2)) <= target


def test_more_noise_spends_less_and_no_noise_everything():
    spent = [privacy.epsilon(noise, sampling=0.05, steps=100) for noise in (0.5, 1, 2, 50)]
    assert spent == sorted(spent, reverse=True)
    assert privacy.epsilon(0, steps=3) == math.inf and privacy.epsilon(1, steps=0) == 0


def test_rdp_does_not_talk(caplog, capfd):
    accounting.composed.cache_clear()
    privacy.epsilon(0.4, sampling=0.02, steps=400, method="rdp")
    assert not caplog.records and not capfd.readouterr().err


def test_accounting_is_loaded_only_when_it_is_used():
    code = "import sys, fedlab_utils.federated; sys.exit('dp_accounting' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0


# ---------------------------------------------------------------- beyond any promise


@pytest.mark.parametrize(
    ("noise", "q", "steps"),
    [(0.01, 1, 1), (0.01, 0.1, 1), (1e-5, 1, 10), (1e-300, 0.5, 3), (0.02, 1e-3, 1000), (0.5, 1, 10**9),
     (0.3, 0.5, 10**7), (1, 0.5, 10**6), (0.0225, 0.1, 1)],
)  # fmt: skip
def test_more_than_a_thousand_is_no_promise_and_said_at_once(noise, q, steps):
    """These took minutes, or 72 TiB of memory; the test's own time limit would stop them."""
    for method in ("pld", "rdp"):
        assert privacy.epsilon(noise, sampling=q, steps=steps, method=method) == math.inf


@pytest.mark.parametrize(("noise", "steps"), [(0.0255, 1), (0.03, 1), (0.5, 300), (1, 1500)])
def test_below_a_thousand_it_is_still_computed(noise, steps):
    """Beside the closed form of one Gaussian release (Balle and Wang, Theorem 8)."""
    exact = accounting.gaussian_epsilon(math.sqrt(steps) / noise, 1e-5)
    assert exact < 1000 and exact * 0.9999 <= privacy.epsilon(noise, steps=steps) <= exact * 1.002
    assert privacy.epsilon(0.3, sampling=0.1, steps=1000) == pytest.approx(506, rel=0.01)  # RDP says 1,475
    far = dict(sampling=0.085, steps=5700, delta=1e-3)
    assert privacy.epsilon(0.36, **far) == pytest.approx(973, rel=0.01)  # RDP says more than five times as much


def test_very_many_steps_are_answered_by_the_looser_bound():
    many = dict(sampling=0.01, steps=10**9)
    assert privacy.epsilon(1000, **many) == privacy.epsilon(1000, **many, method="rdp") < 1.4


def test_a_release_beyond_any_promise_says_so_in_the_ledger():
    loud = privacy.Ledger().add("sums", hospital="A", viewer="server", mechanism=privacy.Mechanism(0.01, secret=True))
    assert loud.epsilon() == math.inf
    assert loud.table().loc[0, "guarantee"] == "no promise: epsilon is more than 1,000"
    assert "so little noise that epsilon is more than 1,000" in " ".join(loud.check())


def test_laplace_noise_is_not_taken_for_gaussian():
    laplace = privacy.Mechanism(event=dp_accounting.LaplaceDpEvent(0.015), secret=True)
    assert laplace.epsilon == pytest.approx(1 / 0.015, rel=0.01)


# ---------------------------------------------------------------- arguments


def a_ledger(**about):
    return privacy.Ledger().add(**dict(what="sums", hospital="A", viewer="server") | about)


def test_a_budget_that_no_noise_keeps_is_out_of_reach_and_no_overflow():
    assert accounting.calibrated(lambda noise: 1 + 1e-9 / noise, 0.01, 5.0) is None


BAD = {
    "noise_multiplier": lambda: privacy.Mechanism("1"),
    "noise_multiplier ": lambda: privacy.Mechanism(-1.0),
    "noise_multiplier  ": lambda: privacy.Mechanism(math.nan),
    "sampling": lambda: privacy.Mechanism(1.0, sampling=0),
    "sampling ": lambda: privacy.Mechanism(1.0, sampling=1.5),
    "steps": lambda: privacy.Mechanism(1.0, steps=2.5),
    "steps ": lambda: privacy.Mechanism(1.0, steps=-1),
    "delta": lambda: privacy.Mechanism(1.0, delta=2),
    "delta ": lambda: privacy.Mechanism(1.0, delta=0),
    "unit": lambda: privacy.Mechanism(1.0, unit=""),
    "units": lambda: privacy.Mechanism(1.0, units=0),
    "relation": lambda: privacy.Mechanism(1.0, relation=None),
    "secret": lambda: privacy.Mechanism(1.0, secret="no"),
    "event": lambda: privacy.Mechanism(event="Laplace"),
    "what": lambda: a_ledger(what=3),
    "hospital": lambda: a_ledger(hospital=""),
    "viewer": lambda: a_ledger(viewer=None),
    "guarantee": lambda: a_ledger(guarantee="not privat"),  # it would be missing among the unprotected ones
    "guarantee ": lambda: a_ledger(guarantee="differential privacy"),  # by which mechanism?
    "mechanism": lambda: a_ledger(mechanism=1.0),
    "hospitals": lambda: a_ledger().epsilon(hospitals=[]),
    "hospitals ": lambda: a_ledger().epsilon(hospitals="A"),
    "hospitals  ": lambda: a_ledger().epsilon(hospitals=["B"]),
    "delta  ": lambda: a_ledger().epsilon(delta="small"),
    "secure": lambda: privacy.RecordDP(1.0, secure="no"),
    "secure ": lambda: privacy.HospitalDP(1.0, secure=None),
    "participants_hidden": lambda: privacy.HospitalDP(1.0, participants_hidden="no"),
    "max_grad_norm": lambda: privacy.RecordDP(1.0, max_grad_norm=0),
    "max_update_norm": lambda: privacy.HospitalDP(1.0, max_update_norm=-2),
    "noise_multiplier   ": lambda: privacy.RecordDP(noise_multiplier="loud"),
    "epsilon": lambda: privacy.RecordDP(epsilon=True),
    "epsilon ": lambda: privacy.RecordDP(),
    "noise_multiplier    ": lambda: privacy.epsilon(None),
    "method": lambda: privacy.epsilon(1.0, method="best"),
    "method ": lambda: privacy.epsilon(1.0, method=None),
    "steps  ": lambda: privacy.epsilon(1.0, steps="ten"),
    "epsilon  ": lambda: privacy.noise_for(1e9),
    "steps   ": lambda: privacy.noise_for(1.0, steps=0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_get_one_sentence(name):
    with one_sentence(name.strip()):
        BAD[name]()

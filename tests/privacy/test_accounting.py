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

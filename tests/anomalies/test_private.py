"""The private release: no scan is longer than 1, its noise is what the accounting says, and an audit finds no more."""

import numpy as np
import pytest

from fedlab_utils import anomalies, audit, privacy
from fedlab_utils.anomalies.private import release, vector
from tests.anomalies.helpers import network
from tests.refusals import one_sentence

PARTS = network().train
SEEDED, AUDITED = (privacy.RecordDP(epsilon=epsilon, secure=False) for epsilon in (2.0, 8.0))


def test_a_scan_moves_the_sums_by_at_most_one_and_a_long_one_by_exactly_one():
    basis, rng = anomalies.cosines(30), np.random.default_rng(0)
    for scan, long in ((rng.normal(size=(1, 784)) * 100, True), (PARTS[0][:1], False), (0 * PARTS[0][:1], False)):
        length = np.linalg.norm(vector(scan, basis, 23.0))
        assert length == pytest.approx(1) if long else length <= 1
    few = vector(PARTS[0], basis, 23.0) - vector(PARTS[0][1:], basis, 23.0)
    np.testing.assert_allclose(few, vector(PARTS[0][:1], basis, 23.0), atol=1e-9)


def test_without_noise_the_components_are_those_of_the_waves():
    free = privacy.RecordDP(noise_multiplier=0.0, secure=False)
    found = anomalies.private_components(PARTS, free, count=40, clip=30.0)
    basis = anomalies.cosines(200)
    exact = anomalies.fit([p @ basis.T for p in PARTS], count=40)
    np.testing.assert_allclose(found.components.variances[:60], exact.variances[:60], atol=1e-8)
    np.testing.assert_allclose(np.abs((found.components.directions[:30] @ basis.T * exact.directions[:30]).sum(1)), 1)
    assert found.mechanism.epsilon == np.inf and found.ledger.entries[0].guarantee == "not private"


def test_it_costs_the_budget_and_the_ledger_says_so():
    found = anomalies.private_components(PARTS, SEEDED, count=40)
    assert 1.97 < found.mechanism.epsilon <= 2.0 and found.mechanism.units == 260
    assert found.ledger.epsilon() == pytest.approx(found.mechanism.epsilon)
    assert found.sd == pytest.approx(found.mechanism.noise_multiplier * 23**2 / np.sqrt(0.8))
    assert "epsilon 2.0" in repr(found) or "epsilon 1.9" in repr(found)
    exact = sum(vector(p, anomalies.cosines(100), 23.0) for p in PARTS)
    spread = release(PARTS, SEEDED, waves=100, clip=23.0)[0] - exact
    assert spread.std() == pytest.approx(found.mechanism.noise_multiplier, rel=0.05)


def test_noise_starts_from_the_seed_and_the_scans_and_is_secret_if_it_is_to_be():
    how = dict(waves=5, clip=23.0)
    first, again, other = (release(PARTS, SEEDED, seed=s, **how)[0] for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).min() > 0
    less = [PARTS[0][1:], *PARTS[1:]]
    exact = [sum(vector(p, anomalies.cosines(5), 23.0) for p in parts) for parts in (PARTS, less)]
    assert np.abs((first - exact[0]) - (release(less, SEEDED, **how)[0] - exact[1])).min() > 1e-6
    secret = privacy.RecordDP(epsilon=2.0)
    assert np.abs(release(PARTS, secret, **how)[0] - release(PARTS, secret, **how)[0]).min() > 0
    assert release(PARTS, secret, **how)[1].secret


@pytest.mark.parametrize("honest", [True, False])
def test_an_audit_finds_no_more_than_was_promised_and_accuses_a_cheat(honest):
    """The worst scan, there or blank, in 800 releases; a cheat forgets to shorten it."""
    canary, rng = np.zeros((1, 784)), np.random.default_rng(5)
    canary[:] = 4.0 * anomalies.cosines(3)[1] * 23.0
    present = rng.permutation(np.arange(800) % 2 == 0)
    few, basis = [PARTS[0][:2], PARTS[1][:2]], anomalies.cosines(3)
    clip = 23.0
    direction = vector(canary, basis, clip)
    seen = np.empty(len(present))
    for k, there in enumerate(present):
        scan = canary if there else 0 * canary
        if honest:
            both = [few[0], np.vstack([few[1], scan])]
            seen[k] = release(both, AUDITED, waves=3, clip=clip, seed=k)[0] @ direction
        else:  # the same noise under a sum that was not shortened
            noisy, _ = release(few, SEEDED, waves=3, clip=clip, seed=k)
            seen[k] = (noisy + there * 4 * direction) @ direction
    found = audit.judge(seen[:, None], present, np.ones(1), gaussian=honest)
    if honest:
        assert 0 < found.lower < 8.0 and 3.0 < found.refined < 8.2
    else:
        assert found.lower > 2.0


def test_more_patients_bring_the_components_back():
    small, large = (anomalies.private_components(PARTS, SEEDED, count=10, times=t).components for t in (1, 2000))
    truth = anomalies.fit(PARTS, count=10)
    kept = [np.linalg.norm(c.directions[:10] @ truth.directions[:10].T) ** 2 / 10 for c in (small, large)]
    assert kept[0] < 0.4 and kept[1] > 0.95


@pytest.mark.parametrize(
    ("name", "change"),
    [("promise", dict(promise=1.0)), ("clip", dict(clip=0)), ("count", dict(count=200)), ("count", dict(count=0)),
     ("times", dict(times=0)), ("count", dict(waves=0)), ("scans", dict(parts=[np.zeros((3, 5))]))],
)  # fmt: skip
def test_a_wrong_argument_gets_one_sentence(name, change):
    with one_sentence(name):
        anomalies.private_components(**dict(parts=PARTS, promise=SEEDED, count=10) | change)

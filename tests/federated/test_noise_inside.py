"""Training under `HospitalDP` with the noise inside the sum: its size, its price, and who is promised what.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from dp_accounting import rdp

from fedlab_utils import data, federated, fleet, secagg
from fedlab_utils.federated.plan import Plan
from fedlab_utils.fleet.randomness import NOISE_SHARES
from fedlab_utils.privacy import HospitalDP, RecordDP
from fedlab_utils.secagg import PrivateSum, SecureSum, private
from tests.federated.helpers import QUICK, table

WORK = dict(rounds=3, batch_size=16, lr=0.1, hidden=(8,))


@pytest.fixture(scope="module")
def five():
    return data.from_frame(table(300).drop(columns="ward"), target="ill", n_hospitals=5)


def promise(epsilon=None, **about):
    if epsilon is None and "noise_multiplier" not in about:
        epsilon = 5.0
    return HospitalDP(epsilon, **dict(delta=1e-3, secure=False) | about)


def train(federation, privacy=None, way=None, **about):
    return federated.train(federation, privacy=privacy or promise(), aggregator=way or PrivateSum(), **WORK | about)


# ---------------------------------------------------------------- the noise


@pytest.mark.parametrize("chance", [0.0, 0.3])
def test_the_noise_in_the_model_is_that_of_the_shares_and_the_server_adds_none(five, chance):
    """Updates count for nothing beside it. Five standard errors: fails by chance once in a million seeds."""
    loud = promise(noise_multiplier=20.0, max_update_norm=1e-6)
    run = train(five, loud, hidden=(300,), rounds=1, dropout=chance, record=True, seed=2)
    came = (run.transcript["what"] == "masked noisy update").sum()
    start = fleet.init(1, run.params.sizes, seed=2)
    moved = (run.params.flat() - start.flat())[0].double().numpy()
    assert came == 5 if not chance else came == 4
    # a share is a third of what is needed (four are left at least, one of whom looks); the mean is over those expected
    expected = 20e-6 * math.sqrt(came / 3) / 5
    assert moved.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * len(moved)) + 0.01)


def test_aggregate_and_the_short_way_take_the_same_noise():
    rng = np.random.default_rng(0)
    updates = rng.normal(size=(5, 30)) / 40
    alive = np.array([True, True, False, True, True])
    inside = PrivateSum().noise_inside({5}, 30, HospitalDP(2.0), 3)

    def way():
        return replace(PrivateSum(), inside=replace(inside, sources=[np.random.default_rng(u) for u in range(5)]))

    about = dict(alive=alive, rng=np.random.default_rng(1))
    mean, sent = way().aggregate(updates, np.ones(5), **about)
    quick, sizes = way().quick(updates, np.ones(5), alive=alive, rng=np.random.default_rng(1))
    assert (mean == quick).all() and [m[:4] for m in sent] == [m[:4] for m in sizes]
    assert {m[2] for m in sent} >= {"masked noisy update"} and "masked update" not in {m[2] for m in sent}
    with pytest.raises(ValueError, match="weights must be 1 for each hospital"):
        way().quick(updates, np.array([1, 2, 1, 1, 1]), alive=alive, rng=np.random.default_rng(1))
    with pytest.raises(ValueError, match="PrivateSum works in federated.train with HospitalDP"):
        PrivateSum().aggregate(updates, np.ones(5), **about)


def test_noise_repeats_by_seed_never_when_it_is_secure_and_never_for_other_patients(five):
    def final(federation=five, secure=False, **about):
        return train(federation, promise(secure=secure), **about).params.flat()

    assert torch.equal(final(), final())
    assert not torch.allclose(final(secure=True), final(secure=True), atol=1e-3)
    *others, last = five.hospitals
    y = last.y_train.clone()
    y[0] = 1 - y[0]
    corrected = replace(five, hospitals=(*others, replace(last, y_train=y)))
    assert (final() - final(corrected)).abs().median() > 0.01  # one label, and other noise throughout


def correlations_of_noise(federation, monkeypatch):
    """Between the noise of every two hospitals, runs and rounds."""
    drawn, skellam = [], private.skellam
    monkeypatch.setattr(private, "skellam", lambda *a: drawn.append(skellam(*a)) or drawn[-1])
    train(federation, seeds=2, hidden=(60,))
    assert len(drawn) == 3 * 2 * 5
    return np.corrcoef(np.stack(drawn))[np.triu_indices(30, 1)], len(drawn[0])


def test_every_hospital_has_noise_of_its_own_that_is_fresh_in_each_round(five, monkeypatch):
    """Correlations below five standard errors: fails by chance about once in 10,000 seeds."""
    apart, n = correlations_of_noise(five, monkeypatch)
    assert np.abs(apart).max() < 5 / math.sqrt(n)


def test_hospitals_that_draw_from_one_source_would_be_found(five, monkeypatch):
    """Planted: every hospital's noise starts where the first one's does."""
    source = Plan.source

    def first(self, run, stream, *who):
        return source(self, run, stream, *((0,) * len(who) if stream == NOISE_SHARES else who))

    monkeypatch.setattr(Plan, "source", first)
    apart, _ = correlations_of_noise(five, monkeypatch)
    assert apart.max() > 0.99


def test_an_update_is_no_longer_than_the_clip_norm_once_it_is_rounded(five, monkeypatch):
    """Coarse words, so that rounding matters."""
    found = []

    class Measuring(PrivateSum):
        def _prepared(self, updates, weights, alive, rng):
            state = rng.bit_generator.state
            prepared = super()._prepared(updates, weights, alive, rng)
            step, again = prepared[1].step, np.random.default_rng()
            again.bit_generator.state = state
            rounded = np.floor(updates / step + again.random(updates.shape)) * step
            found.append((np.linalg.norm(rounded, axis=1).max(), step))
            return prepared

    monkeypatch.setattr("fedlab_utils.federated.setting._described", lambda way: "measuring")
    loud = promise(noise_multiplier=0.5, max_update_norm=0.05)
    train(five, loud, Measuring(bits=16), lr=1.0, rounds=1)
    ((longest, step),) = found
    assert 0.045 < longest <= 0.05 and step > 1e-5
    with pytest.raises(
        ValueError, match="too coarse for max_update_norm=0.05; give it more bits or a promise that needs"
    ):
        train(five, promise(noise_multiplier=60.0, max_update_norm=0.05), PrivateSum(bits=16))


# ---------------------------------------------------------------- the price


def test_the_budget_is_kept_over_all_rounds_against_hospitals_and_the_server(five):
    run = train(five, promise(4.0, delta=1e-3))
    entries = run.ledger.private.entries
    assert {e.viewer for e in entries} == {"server", "every hospital"} and {e.mechanism.unit for e in entries} == {
        "hospital"
    }
    assert {e.what for e in entries} == {"noisy sum of updates of each round", "global models of each round"}
    assert "noisy sum of updates of each round" not in set(run.ledger.unprotected.table()["what"])
    spent = {e.viewer: e.mechanism for e in entries}
    for viewer, honest in (("every hospital", 3), ("server", 4)):
        m = spent[viewer]
        # by hand, from the noise that a share really has: the formula of the Skellam mechanism at whole orders
        share, d = m.event.share * m.event.honest / honest, 6 * 8 + 1
        l2 = math.sqrt(spent["every hospital"].event.variance) / run_noise(run)
        l1, mu, orders = min(math.sqrt(d) * l2, l2**2), share * honest, np.arange(2, 257)
        cost = orders * l2**2 / (2 * mu) + ((2 * orders - 1) * l2**2 + 6 * l1) / (4 * mu**2)
        by_hand = rdp.compute_epsilon(orders.astype(float), 3 * cost, 1e-3)[0]
        assert m.epsilon == pytest.approx(float(by_hand), rel=1e-3) and m.steps == 3
    assert 0.99 * 4 <= run.ledger.epsilon() <= 4 and spent["server"].epsilon < run.ledger.epsilon()
    assert run.ledger.method == "RDP"
    assert any("scaled for 3 honest ones" in s for s in run.ledger.check())
    assert any("composed by RDP" in s for s in run.ledger.check())


def run_noise(run):
    return next(e.mechanism.noise_multiplier for e in run.ledger.private.entries if e.viewer == "every hospital")


def test_hospitals_pay_for_the_rounds_in_which_they_took_part(five):
    run = train(five, promise(6.0), participation=0.9, rounds=6, seed=5)
    came = run.transcript.query("what == 'masked noisy update'").groupby("sender").size().to_dict()
    steps = {e.hospital: e.mechanism.steps for e in run.ledger.private.entries}
    assert steps == came and len(set(came.values())) > 1
    assert {e.mechanism.sampling for e in run.ledger.private.entries} == {1.0}
    assert 0.99 * 6 <= run.ledger.epsilon() <= 6  # rounds of several sizes: the worst of each counts


def test_noise_from_a_seed_is_a_demonstration_and_secret_noise_none(five):
    for secure, words in ((False, "demonstration"), (True, "differential privacy")):
        run = train(five, promise(secure=secure))
        assert {e.guarantee.split(" of ")[0] for e in run.ledger.private.entries} == {words}
        assert any("demonstrations" in s for s in run.ledger.check()) != secure


def test_colluding_hospitals_cost_noise_or_privacy(five):
    kept = [run_noise(train(five, promise(4.0), PrivateSum(colluding=c))) for c in (0, 1, 2)]
    assert kept[0] == kept[1] == pytest.approx(kept[2], rel=0.01)  # the budget is kept: shares grow instead
    inside = [PrivateSum(colluding=c).noise_inside({5}, 50, HospitalDP(4.0), 3) for c in (0, 1, 2)]
    assert [own.events["every hospital"].honest for own in inside] == [3, 3, 2]
    slope = train(five, promise(4.0)).ledger.slope()["epsilon"]
    assert slope.is_monotonic_increasing and len(slope) == 3


# ---------------------------------------------------------------- who sees what, and what is refused


def test_the_server_holds_a_noisy_sum_and_nothing_before_the_noise(five):
    run = train(five, record=True)
    seen = federated.who_sees_what({"inside": run.transcript}).set_index("viewer")["sees"]
    assert set(seen) == {"noisy sum of every round"}
    outside = train(five, promise(), SecureSum(limit=1.0), record=True).transcript
    assert (
        federated.who_sees_what({"outside": outside}).set_index("viewer").loc["server", "sees"]
        == "model of every round"
    )
    leak = run.transcript.iloc[[0]].assign(sender="Hospital 1", receiver="server", what="update")
    both = federated.who_sees_what({"leaky": pd.concat([run.transcript, leak])}).set_index("viewer")["sees"]
    assert both["server"] == "single updates"  # one update in the open, and the noise is no excuse
    mixed = pd.concat([run.transcript, leak.assign(what="masked update")])
    assert federated.who_sees_what({"m": mixed}).set_index("viewer").loc["server", "sees"] != "noisy sum of every round"


def test_a_round_that_comes_to_nothing_opens_no_sum(five):
    run = train(five, dropout=0.45, rounds=8, seed=1, record=True)
    assert run.failed[0] and len(run.failed[0]) < 8
    models = run.transcript.query("what == 'global model'").groupby("round")["values"].first()
    for turn in run.failed[0]:
        if turn < 8:
            np.testing.assert_array_equal(models[turn], models[turn + 1])


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        (dict(privacy=None), "privacy must be privacy.HospitalDP"),
        (dict(privacy=RecordDP(1.0)), "privacy must be privacy.HospitalDP"),
        (dict(privacy=promise(noise_multiplier=0.0)), "noise_multiplier must be above 0"),
        (dict(privacy=promise(participants_hidden=True)), "participants_hidden must be False"),
        (dict(aggregator=PrivateSum(threshold=2)), "threshold must be"),
        (dict(aggregator=PrivateSum(bits=8)), "too coarse|leave no room"),
        (dict(participation=0.25), "two hospitals or more"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_trained(five, about, sentence):
    seen = []
    with pytest.raises(ValueError, match=sentence) as found:
        work = dict(privacy=promise(), aggregator=PrivateSum(), on_round=seen.append) | WORK | about
        federated.train(five, **work)
    assert not seen and "\n" not in str(found.value)


@pytest.mark.parametrize(
    "wrong", [dict(bits=12), dict(threshold=0), dict(colluding=-1), dict(malicious="no"), dict(round=-1)]
)
def test_a_private_sum_refuses_at_once(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PrivateSum(**wrong)


def test_statistics_do_not_travel_through_it():
    frame, numeric = table(120), list("abcd")
    with pytest.raises(ValueError, match="PrivateSum works in federated.train"):
        data.from_frame(
            frame, target="ill", hospital="ward", bounds={c: (-5, 5) for c in numeric}, aggregator=PrivateSum()
        )


def test_budgets_side_by_side_equal_budgets_alone(five):
    settings = {
        e: dict(privacy=promise(e), aggregator=way)
        for e, way in ((2.0, PrivateSum()), (5.0, PrivateSum()), (3.0, None))
    }
    runs = federated.side_by_side(five, settings, seeds=2, **QUICK)
    for name, setting in settings.items():
        alone = federated.train(five, seeds=2, **QUICK | setting)
        torch.testing.assert_close(runs[name].params.flat(), alone.params.flat(), atol=1e-5, rtol=0)
        assert runs[name].ledger.table().equals(alone.ledger.table())


def test_the_package_shows_it():
    assert secagg.PrivateSum is PrivateSum and secagg.private_sum is private.private_sum

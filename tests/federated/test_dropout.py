"""Hospitals whose line fails in the middle of a round."""

import numpy as np
import pytest
import torch

from fedlab_utils import data, federated, fleet
from fedlab_utils.federated.aggregators import ABANDONED
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.setting import Setting
from fedlab_utils.fleet.randomness import DROPOUT, generator
from fedlab_utils.privacy import HospitalDP, RecordDP
from fedlab_utils.secagg import SecureSum
from tests.federated.helpers import QUICK, table

LONG = QUICK | dict(rounds=12, record=True)


@pytest.fixture(scope="module")
def five():
    return data.from_frame(table(300).drop(columns="ward"), target="ill", n_hospitals=5)


def came(run, seed=0):
    """Who sent an update, round by round."""
    up = run.transcript.query("receiver == 'server' and seed == @seed")
    up = up[up["what"].isin(("update", "masked update", "encrypted update"))]
    return {turn: list(own) for turn, own in up.groupby("round")["sender"]}


def models(run):
    """What the hospitals were given, round by round, and the finished model."""
    sent = run.transcript.query("seed == 0 and what == 'global model'").groupby("round")["values"].first()
    return [*sent.tolist(), run.params.flat()[0].numpy()]


def coins(federation, rounds, chance, seed=0):
    """By hand: who is still there, [rounds, hospitals]."""
    n = len(federation.hospitals)
    return np.stack([generator(seed, 0, DROPOUT, h).random(rounds) for h in range(n)], axis=1) >= chance


# ---------------------------------------------------------------- the open sum


def test_the_mean_is_over_those_who_came(three):
    run = federated.train(three, **LONG, dropout=0.4)
    there, names = coins(three, 12, 0.4), [h.name for h in three.hospitals]
    expected = {turn + 1: [names[h] for h in np.flatnonzero(row)] for turn, row in enumerate(there) if row.any()}
    assert came(run) == expected and 0 < (~there).sum()
    given = models(run)
    rows = {h.name: len(h.y_train) for h in three.hospitals}
    for turn, who in expected.items():
        up = run.transcript.query("round == @turn and receiver == 'server' and what == 'update'").set_index("sender")
        mean = np.average(np.stack(up.loc[who, "values"]), axis=0, weights=[rows[h] for h in who])
        np.testing.assert_allclose(given[turn] - given[turn - 1], mean, atol=1e-6)
    down = run.transcript.query("what == 'global model'").groupby("round").size()
    assert (down == 3).all()  # a hospital falls silent after its work


def test_a_round_in_which_nobody_is_left_changes_nothing_and_is_written_down(three):
    run = federated.train(three, **LONG, dropout=0.7)
    there = coins(three, 12, 0.7)
    empty = (np.flatnonzero(~there.any(1)) + 1).tolist()
    assert run.failed == [empty] and empty
    given = models(run)
    for turn in range(1, 13):
        assert np.array_equal(given[turn], given[turn - 1]) == (turn in empty)
    notes = run.transcript[run.transcript["what"] == ABANDONED]
    assert sorted(set(notes["round"])) == empty and (notes["bytes"] == 0).all()
    assert run.history["round"].max() == 12 and run.params.flat().isfinite().all()


def test_without_dropout_nothing_is_drawn_and_nothing_changes(three, monkeypatch):
    plain = federated.train(three, **QUICK, seeds=2)
    assert plain.failed == [[], []]
    zero = federated.train(three, **QUICK, seeds=2, dropout=0)
    assert torch.equal(plain.params.flat(), zero.params.flat())
    bare, none, some = (
        Setting(privacy=RecordDP(1.0), **how).own_stream(b"rows") for how in ({}, {"dropout": 0}, {"dropout": 0.1})
    )
    assert bare == none != some
    asked = []
    monkeypatch.setattr("fedlab_utils.federated.plan.generator", lambda *a: asked.append(a[2]) or generator(*a))
    federated.train(three, **QUICK)
    assert asked and DROPOUT not in asked


def test_the_silent_ones_work_and_shuffle_as_if_they_had_come(three):
    """What hospital h does in a round depends on the model and its own stream, not on whose line failed before."""
    run = federated.train(three, **LONG, dropout=0.4)
    there = coins(three, 12, 0.4)
    h, turn = next((h, t) for t in range(1, 12) for h in range(3) if there[t, h] and not there[:t, h].all())
    given, rng = models(run), federated.hospital_rng(0, 0, h)
    hospital, net = three.hospitals[h], fleet.init(1, (three.n_features, 8, 1), seed=0)
    for t in range(turn + 1):
        start = net.like(torch.from_numpy(given[t])[None])
        n = len(hospital.y_train)
        trained = fleet.fit(start, hospital.X_train, hospital.y_train, [range(n)], epochs=1, batch_size=16, lr=0.1,
                            seed=[rng])  # fmt: skip
    sent = run.transcript.query(f"round == {turn + 1} and sender == '{hospital.name}' and what == 'update'")
    np.testing.assert_allclose(sent["values"].iloc[0], (trained.flat() - start.flat())[0].numpy(), atol=1e-6)


def test_dropouts_side_by_side_equal_dropouts_alone(three):
    settings = {"none": {}, "few": dict(dropout=0.2), "many": dict(dropout=0.5)}
    fleets = []
    runs = federated.side_by_side(three, settings, seeds=2, **QUICK, on_round=lambda some: fleets.append(tuple(some)))
    assert set(fleets) == {tuple(settings)}
    for name, setting in settings.items():
        alone = federated.train(three, seeds=2, **QUICK, **setting)
        torch.testing.assert_close(runs[name].params.flat(), alone.params.flat(), atol=1e-6, rtol=0)
        assert came(runs[name]) == came(alone) and runs[name].failed == alone.failed
    few, many = (came(runs[name]) for name in ("few", "many"))
    assert all(set(many.get(turn, ())) <= set(few.get(turn, ())) for turn in range(1, 4))  # the same coins


def test_only_who_takes_part_can_fall_silent(five):
    run = federated.train(five, **LONG, participation=0.6, dropout=0.3)
    for turn, own in run.transcript.query("what == 'global model'").groupby("round")["receiver"]:
        assert len(own) == 3 and set(came(run).get(turn, ())) <= set(own)


@pytest.mark.parametrize("chance", [-0.1, 1.0, 1.5, np.nan, "0.1", True, None])
def test_a_dropout_that_is_no_chance_is_refused(three, chance):
    with pytest.raises(ValueError, match="dropout must be"):
        federated.train(three, **QUICK, dropout=chance)


# ---------------------------------------------------------------- aggregators


def test_secure_aggregation_with_dropouts_is_the_open_sum_to_the_grid(five):
    work = LONG | dict(dropout=0.15, rounds=6, seed=4)
    plain, secure = (federated.train(five, **work, aggregator=a) for a in (None, SecureSum()))
    assert came(plain) == came(secure) and sum(map(len, came(plain).values())) < 30
    assert secure.failed == [[]] == plain.failed
    rows = sum(len(h.y_train) for h in five.hospitals)
    gap = (plain.params.flat() - secure.params.flat()).abs().max().item()
    assert 0 < gap <= 10 * 6 * SecureSum().grid_step(5, rows)  # what a round is off by, later rounds carry on


@pytest.mark.parametrize("malicious", [True, False])
def test_a_round_below_the_threshold_is_abandoned_and_training_goes_on(five, malicious):
    run = federated.train(five, **LONG, dropout=0.3, aggregator=SecureSum(malicious=malicious))
    left = coins(five, 12, 0.3).sum(1)
    failed = (np.flatnonzero(left < 4) + 1).tolist()
    assert run.failed == [failed] and 0 < len(failed) < 12
    given = models(run)
    for turn in range(1, 13):
        assert np.array_equal(given[turn], given[turn - 1]) == (turn in failed)
        kinds = run.transcript.query("round == @turn")["what"].value_counts()
        assert kinds["public keys"] == 10 and kinds["masked update"] == left[turn - 1]
        assert ("shares" in kinds) != (turn in failed) == (ABANDONED in kinds)


def test_the_short_way_abandons_the_same_rounds_with_the_same_messages(five):
    seeds = federated.train(five, **QUICK | dict(rounds=8), dropout=0.3, seeds=3, aggregator=SecureSum())

    class Whole(SecureSum):
        def quick(self, *given, **others):
            return self.aggregate(*given, **others)

    whole = federated.train(five, **QUICK | dict(rounds=8), dropout=0.3, seeds=3, aggregator=Whole())
    assert seeds.failed == whole.failed and any(seeds.failed[1:])
    assert seeds.transcript.equals(whole.transcript)
    assert torch.equal(seeds.params.flat(), whole.params.flat())


def test_a_threshold_that_no_round_reaches_is_refused_before_anything_is_trained(five):
    seen = []
    for way, needs in ((SecureSum(threshold=5), 5), (None, 1)):
        with pytest.raises(ValueError, match=f"dropout=0.99 leaves fewer than {needs} hospitals .*the threshold"):
            federated.train(five, **QUICK, dropout=0.99, aggregator=way, on_round=seen.append)
    assert not seen


def test_a_rule_that_knows_nothing_of_dropouts_gets_those_who_came(three):
    class Median(federated.Aggregator):
        linear = False

        def together(self, updates, this):
            full, here = this.dense(updates)
            full[~here] = torch.nan
            sent = [
                [(h, "server", "update", 4, full[r, h].numpy()) for h in m] for r, m in enumerate(this.here.members)
            ]
            return torch.nanquantile(full, 0.5, dim=1), sent

    run = federated.train(three, **LONG, dropout=0.4, aggregator=Median())
    given, who = models(run), came(run)
    assert who == came(federated.train(three, **LONG, dropout=0.4))
    for turn in who:
        up = run.transcript.query("round == @turn and what == 'update'")["values"]
        np.testing.assert_allclose(given[turn] - given[turn - 1], np.median(np.stack(up), axis=0), atol=1e-6)


def test_an_aggregator_of_ones_own_may_abandon_a_round(three):
    class Careful(federated.OpenSum):
        together = federated.Aggregator.together

        def aggregate(self, updates, weights, *, alive, rng):
            if alive.sum() < 2:
                raise federated.AbandonedRound("Only one is left.", [(0, "server", "bye", 1, None)])
            return super().aggregate(updates, weights, alive=alive, rng=rng)

    run = federated.train(three, **LONG, dropout=0.5, aggregator=Careful())
    left = coins(three, 12, 0.5).sum(1)
    assert run.failed == [(np.flatnonzero(left < 2) + 1).tolist()]
    assert set(run.transcript.query("what == 'bye'")["round"]) == set((np.flatnonzero(left == 1) + 1).tolist())


# ---------------------------------------------------------------- promises


def test_a_hospital_pays_for_the_steps_of_rounds_in_which_its_update_left(three):
    run = federated.train(three, **LONG, dropout=0.4, privacy=RecordDP(2.0, secure=False))
    sent = {h: sum(h in own for own in came(run).values()) for h in ("north", "east", "west")}
    assert 0 < min(sent.values()) and max(sent.values()) < 12
    for entry in run.ledger.private.entries:
        n = next(len(h.y_train) for h in three.hospitals if h.name == entry.hospital)
        assert entry.mechanism.steps == sent[entry.hospital] * -(-n // 16)
    assert run.ledger.epsilon() < 2


def test_an_abandoned_round_is_paid_for_by_those_whose_masked_update_left(five):
    run = federated.train(
        five, **LONG, dropout=0.3, privacy=RecordDP(noise_multiplier=1, secure=False), aggregator=SecureSum()
    )
    assert run.failed[0]
    for entry in run.ledger.private.entries:
        n = next(len(h.y_train) for h in five.hospitals if h.name == entry.hospital)
        assert entry.mechanism.steps == sum(entry.hospital in own for own in came(run).values()) * -(-n // 16)


@pytest.mark.parametrize("hidden", [False, True])
def test_who_fell_silent_counts_as_not_come_under_a_promise_to_hospitals(five, hidden):
    """The sum of those who came over the number expected without dropouts: one more changes it by a clip norm."""
    promise = HospitalDP(noise_multiplier=0, max_update_norm=0.05, participants_hidden=hidden, delta=0.01, secure=False)
    run = federated.train(five, **LONG, participation=0.8, dropout=0.3, privacy=promise)
    given, silent = models(run), 0
    sent = run.transcript.query("what == 'global model'").groupby("round")
    for turn, own in sent["receiver"]:
        up = run.transcript.query("round == @turn and what == 'update'")["values"]
        silent += len(own) - len(up)
        total = np.sum(np.stack(up), axis=0) if len(up) else 0
        np.testing.assert_allclose(given[turn] - given[turn - 1], total / 4, atol=1e-6)
    assert silent > 5


def test_noise_comes_even_if_everybody_fell_silent(three):
    """Else a round without noise would show that nobody came."""
    promise = HospitalDP(noise_multiplier=1, participants_hidden=True, delta=0.01, secure=False)
    plan = Plan([three], [Setting(**QUICK | dict(rounds=25), dropout=0.6, privacy=promise)])
    assert any(not plan.came(turn).any() and len(plan.came(turn)) for turn in range(25))
    steps = []
    federated.train(three, **QUICK | dict(rounds=25), dropout=0.6, privacy=promise,
                    on_round=lambda run: steps.append(run.params.flat()))  # fmt: skip
    assert all((b - a).abs().min() > 0 for a, b in zip(steps, steps[1:], strict=False))


def test_an_abandoned_round_gets_no_noise(five):
    promise = HospitalDP(noise_multiplier=1, delta=0.01, secure=False)
    work = QUICK | dict(rounds=8, record=True)
    run = federated.train(five, **work, dropout=0.4, privacy=promise, aggregator=SecureSum(threshold=4))
    given = models(run)
    assert run.failed[0]
    for turn in range(1, 9):
        assert np.array_equal(given[turn], given[turn - 1]) == (turn in run.failed[0])


# ---------------------------------------------------------------- who sees what


def test_a_sum_of_the_two_who_came_shows_each_the_other(three):
    run = federated.train(three, **LONG, dropout=0.4)
    everybody = federated.train(three, **LONG)
    assert 2 in {len(own) for own in came(run).values()}
    for one, sees in ((run, "single updates"), (everybody, "model of every round")):
        seen = federated.who_sees_what({"few": one.transcript}).set_index("viewer")["sees"]
        assert seen["hospital"] == sees and seen["model user"] == "finished model"


def test_an_abandoned_round_shows_nobody_a_sum(five):
    run = federated.train(five, **LONG, dropout=0.4, aggregator=SecureSum())
    assert {len(own) for turn, own in came(run).items() if turn in run.failed[0]} & {1, 2}
    seen = federated.who_sees_what({"masked": run.transcript}).set_index("viewer")["sees"]
    assert seen["server"] == seen["hospital"] == "model of every round"

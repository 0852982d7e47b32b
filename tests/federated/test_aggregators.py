"""The seam where an aggregator takes the server's place."""

import numpy as np
import pytest
import torch

from fedlab_utils import federated
from fedlab_utils.federated.setting import Setting
from fedlab_utils.privacy import HospitalDP, RecordDP
from tests.federated.helpers import QUICK


class _InTheOpen:
    """An aggregator that averages as the server would, and says so."""

    def __init__(self):
        self.calls = 0

    def aggregate(self, updates, weights, *, alive, rng):
        self.calls += 1
        assert updates.shape[0] == len(weights) == len(alive) and alive.all()
        messages = [(k, "server", "share", 7, None) for k in range(len(weights))]
        return np.average(updates, axis=0, weights=weights), messages


def test_an_aggregator_takes_the_servers_place(three):
    aggregator = _InTheOpen()
    run = federated.train(three, **QUICK, seeds=2, aggregator=aggregator)
    plain = federated.train(three, **QUICK, seeds=2)
    torch.testing.assert_close(run.params.flat(), plain.params.flat(), atol=1e-6, rtol=0)
    assert aggregator.calls == 3 * 2
    up = run.transcript.query("receiver == 'server'")
    assert (up["what"] == "share").all() and (up["bytes"] == 7).all() and set(up["sender"]) == {"north", "east", "west"}


class _OneNumber:
    def aggregate(self, updates, weights, *, alive, rng):
        return 0.5, []


def test_an_aggregator_changes_neither_who_takes_part_nor_the_shape(three):
    class Random(_InTheOpen):
        def aggregate(self, updates, weights, *, alive, rng):
            rng.normal(size=3)
            return super().aggregate(updates, weights, alive=alive, rng=rng)

    work = QUICK | dict(rounds=6, participation=0.5)
    runs = [federated.train(three, aggregator=a, **work) for a in (None, Random())]
    first, second = (r.transcript.query("sender == 'server'")["receiver"].tolist() for r in runs)
    assert first == second
    with pytest.raises(ValueError, match="aggregator must return the mean as 49 numbers"):
        federated.train(three, aggregator=_OneNumber(), **QUICK)


def test_an_aggregator_may_take_a_short_way_for_all_seeds_but_the_first(three):
    class Short(_InTheOpen):
        def quick(self, updates, weights, *, alive, rng):
            mean, _ = self.aggregate(updates, weights, alive=alive, rng=rng)
            return mean, [(0, "server", "short", 7, None)]

    pace = {"one step": dict(local_steps=1), "two steps": dict(local_steps=2)}
    for run in federated.side_by_side(three, pace, seeds=3, aggregator=Short(), **QUICK).values():
        way = run.transcript.query("receiver == 'server'").groupby("seed")["what"].agg(set)
        assert way.tolist() == [{"share"}, {"short"}, {"short"}]


def test_who_delivers_the_sum_needs_no_global_model_from_the_server(three):
    class Delivers(_InTheOpen):
        delivers = linear = True

    run = federated.train(three, **QUICK, aggregator=Delivers())
    assert run.transcript.query("what == 'global model'")["round"].unique().tolist() == [1]
    with pytest.raises(ValueError, match="participation must be 1"):
        federated.train(three, **QUICK, aggregator=Delivers(), participation=0.5)
    with pytest.raises(ValueError, match="before it is noised"):
        federated.train(three, **QUICK, aggregator=Delivers(), privacy=HospitalDP(noise_multiplier=1))


# ---------------------------------------------------------------- rules for all runs of a fleet at once


class _Median(federated.Aggregator):
    """The median of each number over the hospitals that are here; averages the middle two of an even number."""

    linear = False

    def together(self, updates, this):
        full, here = this.dense(updates)
        full[~here] = torch.nan
        sent = [[(h, "server", "update", 4, full[r, h].numpy()) for h in m] for r, m in enumerate(this.here.members)]
        return torch.nanquantile(full, 0.5, dim=1), sent


def test_a_median_in_the_place_of_the_mean_is_one_method(three):
    work = QUICK | dict(rounds=5, participation=0.67, record=True)
    run = federated.train(three, **work, seeds=2, aggregator=_Median())
    log = run.transcript
    assert set(log.groupby(["round", "seed"])["bytes"].size()) == {4}  # two of three hospitals, both ways
    models = log.query("seed == 0 and what == 'global model'").groupby("round")["values"].first()
    updates = log.query("seed == 0 and what == 'update'").groupby("round")["values"].agg(np.stack)
    for turn in range(1, 5):
        np.testing.assert_allclose(models[turn + 1] - models[turn], np.median(updates[turn], axis=0), atol=1e-6)
    alone = federated.train(three, **work, seeds=1, aggregator=_Median())
    torch.testing.assert_close(alone.params.flat(), run.params.flat()[:1], atol=1e-6, rtol=0)


def test_an_aggregator_remembers_within_a_training_and_not_beyond(three):
    class Remembers(federated.Aggregator):
        seen = []

        def together(self, updates, this):
            self.seen.append(this.memory.get("rounds", 0))
            this.memory["rounds"] = self.seen[-1] + 1
            assert this.model.shape == (2, updates.shape[1])
            return federated.OpenSum().together(updates, this)

    for _ in range(2):
        federated.train(three, **QUICK, seeds=2, aggregator=Remembers())
    assert Remembers.seen == [0, 1, 2] * 2


def test_the_open_sum_of_one_run_is_that_of_the_fleet(three):
    class OneByOne(federated.OpenSum):
        together = federated.Aggregator.together

    runs = [federated.train(three, **QUICK, seeds=2, record=True, aggregator=a) for a in (None, OneByOne())]
    torch.testing.assert_close(runs[0].params.flat(), runs[1].params.flat(), atol=1e-6, rtol=0)
    first, second = (run.transcript.drop(columns="values") for run in runs)
    assert first.equals(second)


def test_what_an_aggregator_does_not_declare_counts_as_seen(three):
    run = federated.train(three, **QUICK, aggregator=_InTheOpen())
    assert "model updates of each round" in run.ledger.table()["what"].tolist()
    hidden = HospitalDP(noise_multiplier=1, delta=0.01, participants_hidden=True, secure=False)
    with pytest.raises(ValueError, match="participants_hidden must be False"):
        federated.train(three, **QUICK, aggregator=_InTheOpen(), privacy=hidden)
    federated.train(three, **QUICK, privacy=hidden)


def test_a_rule_that_gives_no_mean_makes_no_promise_to_hospitals(three):
    promise = HospitalDP(noise_multiplier=1, delta=0.01, secure=False)
    for aggregator in (_Median(), _InTheOpen()):
        with pytest.raises(ValueError, match="noise is made for a mean"):
            federated.train(three, **QUICK, aggregator=aggregator, privacy=promise)


def test_a_run_without_participants_keeps_its_model(three):
    promise = HospitalDP(noise_multiplier=0, delta=0.01, participants_hidden=True, secure=False)

    class Nan(federated.OpenSum):
        def together(self, updates, this):
            mean, sent = super().together(updates, this)
            full, here = this.dense(updates)
            assert full.shape[:2] == here.shape == (4, 3)
            return mean.masked_fill(~here.any(1, keepdim=True), torch.nan), sent

    work = QUICK | dict(rounds=8, participation=0.1, seeds=4, privacy=promise)
    run, plain = (federated.train(three, **work, aggregator=a) for a in (Nan(), None))
    assert run.params.flat().isfinite().all()
    assert any(len(log) < 8 for log in plain.messages)


@pytest.mark.parametrize("wrong", [lambda mean: mean[:, :1], lambda mean: mean[:1], lambda mean: mean.sum(1)])
def test_means_of_another_shape_are_refused(three, wrong):
    class Wrong(federated.OpenSum):
        def together(self, updates, this):
            mean, sent = super().together(updates, this)
            return wrong(mean), sent

    with pytest.raises(ValueError, match=r"aggregator must return means \(2, 49\)"):
        federated.train(three, **QUICK, seeds=2, aggregator=Wrong())


def test_differently_set_aggregators_do_not_share_their_noise():
    class Shift:
        linear = True

        def __init__(self, by):
            self.by, self.around = by, object()

        def aggregate(self, updates, weights, *, alive, rng):
            return updates.mean(0) + self.by, []

    promise = RecordDP(noise_multiplier=1, secure=False)
    one, other, same = (Setting(privacy=promise, aggregator=Shift(by)) for by in (1, 2, 1))
    assert one.own_stream(b"rows") != other.own_stream(b"rows")
    assert one.own_stream(b"rows") == same.own_stream(b"rows")

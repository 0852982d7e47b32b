"""Slow hospitals: times worked out by hand, and who is late is silent or does less."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import federated, fleet, privacy, secagg
from fedlab_utils.federated.setting import Setting
from tests.federated.helpers import QUICK
from tests.refusals import one_sentence

RecordDP, HospitalDP = partial(privacy.RecordDP, secure=False), partial(privacy.HospitalDP, secure=False)
Clock = federated.Clock
WORK = dict(rounds=4, local_steps=4, batch_size=16, lr=0.2, hidden=(8,))
SLOW = {"west": 0.5}  # 4 steps take 8


def senders(run):
    ups = run.transcript.query("receiver == 'server' and seed == 0")
    return [set(ups.loc[ups["round"] == turn, "sender"]) for turn in range(1, run.rounds + 1)]


# ---------------------------------------------------------------- what time it is


@pytest.mark.parametrize(
    ("clock", "lasts"),
    [
        (Clock(), 4),
        (Clock(SLOW), 8),
        (Clock(SLOW, message=1), 9),
        (Clock(SLOW, deadline=6), 6),  # the server waits for west, in vain
        (Clock(SLOW, deadline=8), 8),
        (Clock(SLOW, deadline=100, message=1), 9),
        (Clock(SLOW, deadline=7, late="partial"), 6),  # 3 steps
        (Clock(SLOW, deadline=7.5, late="partial", message=1.5), 7.5),  # 3 steps, and the messages
        (Clock(SLOW, deadline=5, late="partial", message=1), 5),  # 2 steps of west, all 4 of the others
        (Clock(SLOW | {"north": 4.0, "east": 2.0}, deadline=1.9, late="partial"), 1.9),  # north has 1, east 3 steps / 2
        (Clock({"west": 0.1}, deadline=6, late="partial"), 6),  # not one step
    ],
)
def test_times_worked_out_by_hand(three, clock, lasts):
    run = federated.train(three, **WORK, clock=clock, seeds=2)
    np.testing.assert_allclose(run.clock, np.tile(lasts * np.arange(5.0), (2, 1)))


def test_time_is_in_the_history_if_there_is_a_clock(three):
    run = federated.train(three, **WORK, clock=Clock(SLOW), seeds=2)
    assert list(run.history)[-2:] == ["bytes", "time"]
    assert (run.history["time"] == 8 * run.history["round"]).all() and (run.final["time"] == 32).all()
    plain = federated.train(three, **WORK, seeds=2)
    assert plain.clock is None and "time" not in plain.history
    assert torch.equal(run.params.flat(), plain.params.flat())
    seen = []
    federated.train(three, **WORK, clock=Clock(SLOW), on_round=lambda r: seen.append(r.clock[0].tolist()))
    assert seen == [[8.0 * k for k in range(turn + 1)] for turn in range(1, 5)]


def test_a_round_lasts_as_long_as_the_slowest_of_those_who_take_part(three):
    work = WORK | dict(rounds=12, participation=0.34, seed=1)
    run = federated.train(three, **work, clock=Clock(SLOW | {"north": 2.0}))
    needs = {"north": 2, "east": 4, "west": 8}
    expected = np.cumsum([0, *(max(needs[name] for name in there) for there in senders(run))])
    np.testing.assert_allclose(run.clock[0], expected)
    assert len(set(np.diff(run.clock[0]))) == 3


def test_epochs_of_more_rows_take_longer(three):
    run = federated.train(three, **QUICK, clock=Clock({"north": 10.0}))
    steps = {h.name: -(-len(h.y_train) // 16) for h in three.hospitals}
    assert np.diff(run.clock[0]).tolist() == [max(steps["east"], steps["west"])] * 3


def test_the_server_waits_for_whom_it_misses(three):
    """To the deadline, or without one until the update would have been due."""
    work = WORK | dict(rounds=12, dropout=0.3, seed=2)
    missing = [{"north", "east", "west"} - there for there in senders(federated.train(three, **work))]
    assert 2 < sum(map(bool, missing)) < 12
    lasts = {None: [8] * 12, 20: [20 if who else 8 for who in missing]}
    for deadline, expected in lasts.items():
        run = federated.train(three, **work, clock=Clock(SLOW, deadline=deadline))
        assert np.diff(run.clock[0]).tolist() == expected


# ---------------------------------------------------------------- who is late


def byhand(federation, steps, seed=0, rounds=4):
    """Rounds of hospitals that make so many steps each; 0 is silent."""
    world = fleet.init(1, (4, 8, 1), seed=seed)
    rngs = [federated.hospital_rng(seed, 0, h) for h in range(3)]
    for _ in range(rounds):
        total, rows = 0, 0
        for h, rng, n in zip(federation.hospitals, rngs, steps, strict=True):
            if n:
                size = len(h.y_train)
                own = dict(steps=n, batch_size=16, lr=0.2, seed=[rng])
                total = total + size * fleet.fit(world, h.X_train, h.y_train, [range(size)], **own).flat()
                rows += size
        world = world.like(total / rows)
    return world


@pytest.mark.parametrize(
    ("clock", "steps"),
    [
        (Clock(SLOW, deadline=6), (4, 4, 0)),
        (Clock(SLOW, deadline=6, late="partial"), (4, 4, 3)),
        (Clock({"west": 0.1, "north": 0.75}, deadline=4, late="partial"), (3, 4, 0)),
        (Clock(SLOW, deadline=8.2, late="partial", message=2.2), (4, 4, 3)),  # 8.2 - 2.2 is a little less than 6
        (Clock(deadline=4), (4, 4, 4)),
    ],
)
def test_who_is_late_is_silent_or_does_less(three, clock, steps):
    run = federated.train(three, **WORK, clock=clock, seeds=1)
    torch.testing.assert_close(run.params.flat(), byhand(three, steps).flat(), atol=1e-6, rtol=0)
    names = {h.name for h, n in zip(three.hospitals, steps, strict=True) if n}
    assert senders(run) == [names] * 4
    log = run.transcript.query("receiver == 'west'")
    assert len(log) == 4  # it was asked all the same


def test_clocks_stand_side_by_side_in_one_fleet(three):
    clocks = [None, Clock(SLOW), Clock(SLOW, deadline=6), Clock(SLOW, deadline=6, late="partial")]
    settings = {k: dict(clock=clock) for k, clock in enumerate(clocks)}
    seen = []
    runs = federated.side_by_side(three, settings, seeds=2, on_round=lambda r: seen.append(list(r)), **WORK)
    assert seen == [[0, 1, 2, 3]] * 4
    for k, clock in enumerate(clocks):
        alone = federated.train(three, **WORK, seeds=2, clock=clock)
        torch.testing.assert_close(runs[k].params.flat(), alone.params.flat(), atol=1e-6, rtol=0)
        pd.testing.assert_frame_equal(
            runs[k].history.drop(columns=["loss", "auc"]), alone.history.drop(columns=["loss", "auc"])
        )
    table = federated.compare(three, settings, seeds=2, **WORK)
    assert table["time"].isna().equals(table["setting"] == 0)


def test_masks_outlast_who_is_late(three):
    how = dict(clock=Clock(SLOW, deadline=6))
    run, plain = (federated.train(three, **WORK, **how, aggregator=a) for a in (secagg.SecureSum(threshold=2), None))
    assert (run.params.flat() - plain.params.flat()).abs().max() < 1e-3
    with one_sentence("deadline"):
        federated.train(three, **WORK, **how, aggregator=secagg.SecureSum(threshold=3))


def test_a_strategy_that_asks_for_equal_steps_sees_those_that_are_made(three):
    partial_work, seen = dict(clock=Clock(SLOW, deadline=6, late="partial")), []

    @dataclass(frozen=True)
    class Looks(federated.Strategy):
        def step(self, mean, state, work):
            seen.append(work.pace[0].tolist())
            return mean, state

    federated.train(three, **WORK, **partial_work, strategy=Looks())
    assert seen == [pytest.approx([0.8, 0.8, 0.6])] * 4  # 4, 4 and 3 steps of 0.2
    partial_work["strategy"] = "scaffold"
    assert federated.train(three, **WORK, **partial_work).params.flat().isfinite().all()
    with one_sentence("local_steps"):
        federated.train(three, **WORK, **partial_work, aggregator=secagg.SecureSum(threshold=2))


# ---------------------------------------------------------------- under a promise


def test_a_promise_to_records_counts_the_steps_that_are_made(three):
    common = WORK | dict(privacy=RecordDP(noise_multiplier=1.0))
    for late, counted in (("drop", {"north": 16, "east": 16}), ("partial", {"north": 16, "east": 16, "west": 12})):
        run = federated.train(three, **common, clock=Clock(SLOW, deadline=6, late=late))
        assert {e.hospital: e.mechanism.steps for e in run.ledger.private.entries} == counted
    budget = WORK | dict(privacy=RecordDP(epsilon=4.0, delta=1e-3))
    run = federated.train(three, **budget, clock=Clock(SLOW, deadline=6, late="partial"))
    spent = {e.hospital: e.mechanism.epsilon for e in run.ledger.private.entries}
    assert spent == pytest.approx(dict.fromkeys(spent, 4.0), rel=0.02) and len(spent) == 3


def test_the_length_of_a_round_does_not_tell_who_took_part(three):
    promise = HospitalDP(noise_multiplier=1.0, participants_hidden=True)
    common = WORK | dict(rounds=12, participation=0.5, dropout=0.3)
    run = federated.train(three, **common, privacy=promise, clock=Clock(SLOW))
    assert set(np.diff(run.clock[0])) == {8.0}
    for deadline, lasts in ((6, 6.0), (20, 8.0)):
        run = federated.train(three, **common, privacy=promise, clock=Clock(SLOW, deadline=deadline))
        assert set(np.diff(run.clock[0])) == {lasts}
    shown = federated.train(three, **common, privacy=HospitalDP(noise_multiplier=1.0), clock=Clock(SLOW, deadline=20))
    assert len(set(np.diff(shown.clock[0]))) > 1


def test_what_changes_nothing_leaves_the_noise_as_it_was():
    def stream(clock):
        return Setting(privacy=RecordDP(1.0), clock=clock).own_stream(b"rows")

    assert stream(None) == stream(Clock()) == stream(Clock(SLOW)) != stream(Clock(SLOW, deadline=6))
    order = [Clock(dict(pairs), deadline=6) for pairs in ([("a", 1.0), ("b", 2.0)], [("b", 2.0), ("a", 1.0)])]
    assert stream(order[0]) == stream(order[1]) and order[0] == order[1]


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("speed", dict(speed={"west": 0})),
        ("speed", dict(speed={"west": -1})),
        ("speed", dict(speed={"west": float("inf")})),
        ("speed", dict(speed={"west": "fast"})),
        ("speed", dict(speed={1: 1.0})),
        ("speed", dict(speed=0.5)),
        ("speed", dict(speed=None)),
        ("deadline", dict(deadline=-1)),
        ("deadline", dict(deadline="soon")),
        ("late", dict(late="wait")),
        ("late", dict(late=None)),
        ("message", dict(message=-1)),
    ],
)
def test_what_is_no_clock_gets_a_sentence(name, change):
    with one_sentence(name):
        Clock(**change)


@pytest.mark.parametrize(
    ("name", "clock"),
    [
        ("clock", 0.5),
        ("clock", {"west": 0.5}),
        ("clock", Clock),
        ("speed", Clock({"south": 0.5})),
        ("deadline", Clock(deadline=3)),
        ("deadline", Clock(deadline=0)),
        ("deadline", Clock(deadline=4.5, message=1)),
        ("deadline", Clock(dict.fromkeys(("north", "east", "west"), 0.1), deadline=9, late="partial")),
    ],
)
def test_a_clock_that_does_not_fit_gets_a_sentence(three, monkeypatch, name, clock):
    monkeypatch.setattr(fleet, "fit", None)  # nothing is trained
    with one_sentence(name):
        federated.train(three, **WORK, clock=clock)
    with one_sentence(name):
        federated.compare(three, {"plain": {}, "it": dict(clock=clock)}, **WORK)

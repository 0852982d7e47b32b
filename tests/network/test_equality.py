"""A training between machines is the training in one process."""

from dataclasses import replace

import numpy as np
import pytest

from fedlab_utils import federated
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.setting import settled


def apart(run, reference):
    return float((run.to_params().flat() - reference.params.flat()).abs().max())


def seeded(fed, agreement):
    """Arguments of the same training with noise from a seed, and the generators that it draws from."""
    arguments = agreement.arguments()
    arguments["privacy"] = replace(arguments["privacy"], secure=False)
    plan = Plan([fed], [settled([fed], arguments)])
    streams = [{"work": work} for work in plan._work[0]]
    for stream, noise in zip(
        streams, plan.protection.inside[0].sources if plan.protection.inside else (), strict=False
    ):
        stream["noise"] = noise
    return arguments, streams


@pytest.mark.parametrize(
    ("training", "hidden"),
    [({}, (4,)), ({"strategy": "uniform", "local_epochs": 2}, ()), ({"batch_size": 1000, "lr": 0.5}, (5, 3))],
)
def test_without_a_promise(fed, agree, house, training, hidden):
    agreement = agree(training=training, hidden=hidden)
    run = house(agreement).coordinator().run()
    assert apart(run, federated.train(fed, **agreement.arguments())) < 1e-6
    assert run.told == agreement.hospitals and len(run.models) == 4


def test_masked(fed, agree, house):
    agreement = agree(masked=True)
    run = house(agreement).coordinator().run()
    assert apart(run, federated.train(fed, **agreement.arguments())) < 1e-6
    assert all(not r.nothing and r.came == agreement.hospitals for r in run.history)


def test_a_sum_that_nobody_masks_differs_from_a_masked_one_by_its_grid_alone(agree, house):
    open_, masked = (house(agree(masked=m)).coordinator().run() for m in (False, True))
    gap = np.abs(open_.models[1] - masked.models[1]).max()
    assert 0 < gap < 1e-4


def test_with_noise_on_gradients_from_streams_that_are_handed_in(fed, agree, house):
    agreement = agree(promise=dict(unit="record", epsilon=3.0))
    arguments, streams = seeded(fed, agreement)
    there = house(agreement, streams=streams)
    run = there.coordinator().run()
    assert apart(run, federated.train(fed, **arguments)) < 1e-6
    spent = [part.purse.spent() for part in there.parts.values()]
    assert all(2.9 < one <= 3.0 for one in spent)


def test_with_noise_inside_the_masked_sum(fed, agree, house):
    agreement = agree(promise=dict(unit="hospital", epsilon=60.0, delta=1e-3), masked=True, hidden=(), rounds=2)
    arguments, streams = seeded(fed, agreement)
    run = house(agreement, streams=streams).coordinator().run()
    assert apart(run, federated.train(fed, **arguments)) < 1e-6


def test_noise_of_the_operating_system_is_another_each_time(agree, house):
    agreement = agree(promise=dict(unit="record", epsilon=3.0), rounds=1)
    first, second = (house(agreement).coordinator().run() for _ in range(2))
    assert np.abs(first.models[1] - second.models[1]).max() > 1e-4


def test_a_server_that_is_trusted_needs_no_signatures(agree, house):
    run = house(agree(masked=True, malicious=False)).coordinator().run()
    assert [r.nothing for r in run.history] == [""] * 3


@pytest.mark.parametrize(
    ("about", "viewer"),
    [
        (dict(), "server"),
        (dict(masked=True), "server"),
        (dict(promise=dict(unit="record", epsilon=3.0)), "server"),
        (dict(promise=dict(unit="hospital", epsilon=60.0, delta=1e-3), masked=True, hidden=()), "every hospital"),
    ],
)
def test_a_hospitals_ledger_is_its_part_of_the_one_of_a_training_in_one_process(fed, agree, house, about, viewer):
    agreement = agree(rounds=2, **about)
    there = house(agreement)
    there.coordinator().run()
    own = there.parts["Hospital 2"].ledger
    run = federated.train(fed, **agreement.arguments())
    same = [e for e in run.ledger.entries if e.viewer == viewer and e.what == own.entries[0].what]
    assert same and len(own) == 2 and {e.viewer for e in own.entries} == {viewer}
    if about.get("promise"):
        (theirs,) = (e.mechanism for e in same if e.hospital == "Hospital 2")
        mine = own.entries[0].mechanism
        assert mine.noise_multiplier == pytest.approx(theirs.noise_multiplier) and mine.unit == theirs.unit
        assert sum(e.mechanism.steps for e in own.entries) == theirs.steps
        assert own.epsilon() == pytest.approx(theirs.epsilon, rel=1e-6)

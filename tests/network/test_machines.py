"""Coordinator and hospitals as processes of their own on the loopback: equality, and every fault that is promised."""

import os
import signal
import time

import numpy as np
import pytest

from fedlab_utils import data, federated, network
from fedlab_utils.network import certificates, here, rows
from fedlab_utils.system import Promise, Settings, Sum, Training
from tests.network.nursery import Nursery

SECONDS = 60.0  # a bound on each test: what is stuck is ended then
posix = pytest.mark.skipif(os.name == "nt", reason="processes are forked, frozen, and told to stop")

# What a child runs before it begins. Rounds wait for the test, and whoever hung up is not waited for long.
STEPS = """
import pathlib, time
from fedlab_utils.network import carrier, coordinator
step, carrier.GRACE = coordinator.Coordinator.step, {grace}
def when_told(self, number):
    while not pathlib.Path(f"go-{{number}}").exists():
        time.sleep(0.01)
    return step(self, number)
coordinator.Coordinator.step = when_told
"""
DIES = """
import os, signal
from fedlab_utils.network import book, hospital
def dies(owner, name, moment):
    whole = getattr(owner, name)
    def cut(self, *given, **about):
        now = moment(given, about)
        if now == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        found = whole(self, *given, **about)
        if now == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return found
    setattr(owner, name, cut)
"""
IN_THE_ROUND = {
    "before its answer": "dies(hospital.HospitalPart, '_answer', "
    "lambda given, about: 'before' if given[0].round == {round} else '')",
    "in its answer": "dies(book.Book, 'write', "
    "lambda given, about: 'after' if given[0] == 'charged' and about['round'] == {round} else '')",
    "after its answer": "dies(book.Book, 'keep', lambda given, about: 'after' if given[1] == {round} else '')",
}


@pytest.fixture(scope="module")
def nursery():
    there = Nursery()
    yield there
    there.end()


def hospitals(n):
    return data.load("breast_cancer").repartition(n, None)


def agreed(federation, *, rounds=3, masked=False, promise=None, **about):
    through, promise = Sum(through="masked" if masked else "open"), promise or Promise()
    settings = Settings(training=Training(rounds=rounds, hidden=(4,)), promise=promise, sum=through)
    return network.Agreement.of(federation, settings, **{"deadline": SECONDS} | about)


def apart(run, federation):
    reference = federated.train(federation, **run.agreement.arguments())
    return float((run.to_params().flat() - reference.params.flat()).abs().max())


def undisturbed(agreement, federation, root):
    """The same in this process, hospital by hospital: equal to the bit."""
    parts = {h.name: network.HospitalPart(agreement, h, root / h.name) for h in federation.hospitals}
    run = network.Coordinator(agreement, network.InProcess(parts)).run()
    for part in parts.values():
        part.close()
    return run


def dies(when, round):
    return DIES + IN_THE_ROUND[when].format(round=round)


# ---------------------------------------------------------------- the commands themselves


def test_the_commands_give_what_one_process_gives(tmp_path):
    federation = hospitals(3)
    with here.on_this_machine(agreed(federation), federation, seconds=SECONDS * 2) as machines:
        assert machines.wait(seconds=SECONDS * 2) == 0, machines.output("coordinator")
        assert [machines.wait(name) for name in machines.agreement.hospitals] == [0, 0, 0]
        said = machines.output("coordinator").splitlines()
        run = machines.result()
        folder, keys = machines.folder, list(machines.folder.rglob("*.key"))
    assert apart(run, federation) < 1e-6
    assert np.array_equal(run.models, undisturbed(run.agreement, federation, tmp_path).models)
    assert sum(line.startswith("round ") for line in said) == 3 and len(said) < 20
    assert not folder.exists() and len(keys) == 2 * 3 + 2


@posix
def test_nothing_runs_after_the_block_whatever_happens_in_it(nursery):
    federation = hospitals(2)
    with pytest.raises(KeyError):
        with here.on_this_machine(agreed(federation), federation, launch=nursery.launch) as machines:
            running = dict(machines._running)
            machines.freeze("Hospital 1")
            raise KeyError
    assert len(running) == 3 and {child.wait(1.0) for child in running.values()} == {-signal.SIGKILL}
    with here.on_this_machine(agreed(federation), federation, seconds=0.5, launch=nursery.launch) as machines:
        machines.freeze("coordinator")
        end = time.monotonic() + SECONDS
        while any(machines.runs(name) for name in machines.names):  # the time that was given is over
            assert time.monotonic() < end
            time.sleep(0.02)


# ---------------------------------------------------------------- who is killed


@posix
def test_killed_before_in_and_after_its_answer_and_back_in_time_changes_nothing(nursery, tmp_path):
    federation = hospitals(3)
    agreement = agreed(federation, rounds=4)
    nursery.hooks |= {"coordinator": "from fedlab_utils.network import carrier; carrier.GRACE = 60.0"}
    nursery.hooks |= {f"Hospital {k + 1}": dies(when, k + 1) for k, when in enumerate(IN_THE_ROUND)}
    with here.on_this_machine(agreement, federation, seconds=SECONDS, launch=nursery.launch) as machines:
        for name in agreement.hospitals:
            assert machines.wait(name, SECONDS) == -signal.SIGKILL
            machines.start(name)
        assert machines.wait(seconds=SECONDS) == 0
        run = machines.result()
    assert all(record.came == agreement.hospitals for record in run.history)
    assert np.array_equal(run.models, undisturbed(agreement, federation, tmp_path).models)


@posix
def test_who_is_away_is_missing_and_comes_back_and_the_coordinator_goes_on_where_it_was(nursery):
    federation = hospitals(3)
    agreement = agreed(federation, rounds=7, deadline=5.0)
    one, two, three = agreement.hospitals

    def starts(**about):
        nursery.hooks["coordinator"] = STEPS.format(grace=0.3)
        machines.start("coordinator", **about)

    def goes(number, *, until="coordinator"):
        (machines.folder / "coordinator" / f"go-{number}").touch()
        machines.wait_for("coordinator", f"round {number}: ", SECONDS)
        return machines.result().history[number - 1]

    with here.on_this_machine(agreement, federation, seconds=SECONDS, start=False, launch=nursery.launch) as machines:
        starts(wait=0.0)
        machines.start(one)
        machines.start(two)
        for name in (one, two):
            machines.wait_for("coordinator", f"{name} is here")
        first = goes(1)  # the third has not come yet
        assert first.came == (one, two) and first.silent == (three,)
        machines.start(three)  # the late joiner
        machines.wait_for("coordinator", f"{three} is here")
        assert goes(2).came == agreement.hospitals
        machines.freeze(two)  # one that never answers
        third = goes(3)
        assert third.silent == (two,) and third.seconds >= 5
        machines.freeze(two, on=False)
        machines.kill(one)
        machines.start(one)
        machines.kill("coordinator")
        kept = machines.result().models
        starts(wait=SECONDS)
        machines.wait_for("coordinator", "Going on after round 3.")
        assert goes(4).came == agreement.hospitals
        assert np.array_equal(machines.result().models[:4], kept)
        machines.interrupt("coordinator")
        assert machines.wait() == 1
        assert machines.output("coordinator").endswith("Stopped. The next start goes on from here.\n")
        starts(wait=SECONDS)
        authority = machines.folder / "authority"
        goes(5)
        certificates.remove(authority, three)
        certificates.accept(machines.folder / "coordinator", authority / "members.pem")
        assert goes(6).came == (one, two)
        assert machines.wait(three) == 2 and "'Hospital 3' is not in the list of members" in machines.output(three)
        goes(7)
        assert [machines.wait(name) for name in ("coordinator", one, two)] == [0, 0, 0]
        assert machines.output(one).endswith("The training is over.\n")


# ---------------------------------------------------------------- who has agreed on something else


@posix
def test_a_hospital_with_another_plan_takes_no_part(nursery):
    federation = hospitals(3)
    agreement, other = agreed(federation, rounds=2), agreed(federation, rounds=1)
    with here.on_this_machine(agreement, federation, seconds=SECONDS, start=False, launch=nursery.launch) as machines:
        (machines.folder / "Hospital 2" / "plan.toml").write_text(other.to_toml())
        rows.save(federation.hospitals[1], other, machines.folder / "Hospital 2")
        for name in machines.names:
            machines.start(name)
        assert machines.wait() == 0
        run = machines.result()
        assert "refused" in machines.output("Hospital 2")
    assert [record.came for record in run.history] == [("Hospital 1", "Hospital 3")] * 2
    assert "training.rounds" in run.history[0].refused["Hospital 2"]


# ---------------------------------------------------------------- who has spent enough


@posix
def test_a_hospital_keeps_to_its_own_budget_over_restarts_though_the_plan_allows_more(nursery):
    federation = hospitals(3)
    agreement = agreed(federation, promise=Promise(unit="record", epsilon=3.0))
    own = ["--budget", "2.5"]

    def launch(arguments, folder, output):
        return nursery.launch(arguments + (own if folder.name == "Hospital 2" else []), folder, output)

    with here.on_this_machine(agreement, federation, seconds=SECONDS * 2, start=False, launch=launch) as machines:
        nursery.hooks["coordinator"] = STEPS.format(grace=SECONDS)
        for name in machines.names:
            machines.start(name)
        for number in (1, 2, 3):
            (machines.folder / "coordinator" / f"go-{number}").touch()
            machines.wait_for("coordinator", f"round {number}: ", SECONDS)
            machines.kill("Hospital 2")
            own.clear()  # what it was once given holds
            machines.start("Hospital 2")
        assert [machines.wait(name, SECONDS) for name in ("coordinator", "Hospital 2")] == [0, 0]
        run, said = machines.result(), machines.output("Hospital 2")
    assert run.history[0].came == agreement.hospitals
    for number, record in enumerate(run.history[1:], start=2):
        no = f"The budget of this hospital is epsilon 2.5 at delta 1e-05; with round {number} it would have spent more."
        assert record.came == ("Hospital 1", "Hospital 3") and record.refused == {"Hospital 2": no}
        assert f"\nrefused: {no}\n" in said
    assert said.count("Its budget is epsilon 2.5 at delta 1e-05; the plan has 3.\nSpent in this folder: epsilon ") == 4
    assert "the plan has 3.\nSpent in this folder: epsilon 0.00.\n" in said


# ---------------------------------------------------------------- under masks


@posix
def test_the_sum_under_masks_with_keys_from_certificates_and_one_that_dies_on_the_way(nursery):
    federation = hospitals(4)
    agreement = agreed(federation, rounds=3, masked=True)
    nursery.hooks["coordinator"] = "from fedlab_utils.network import carrier; carrier.GRACE = 0.3"
    nursery.hooks["Hospital 4"] = dies("after its answer", 3)
    with here.on_this_machine(agreement, federation, seconds=SECONDS, launch=nursery.launch) as machines:
        assert machines.wait(seconds=SECONDS) == 0
        run = machines.result()
        assert machines.wait("Hospital 4") == -signal.SIGKILL
    assert [record.came for record in run.history[:2]] == [agreement.hospitals] * 2
    assert run.history[2].came == agreement.hospitals[:3] and not run.history[2].nothing
    short = federated.train(federation, **agreement.arguments() | dict(rounds=2))
    assert np.abs(run.models[2] - short.params.flat().numpy()[0]).max() < 1e-6

"""Killed hospitals and coordinators: what comes back, what is charged, and that nothing is ever made twice."""

import threading
from contextlib import suppress

import numpy as np
import pytest

from fedlab_utils import network
from fedlab_utils.network.agreement import COORDINATOR
from fedlab_utils.network.messages import Message, as_refusal, numbers, pack, unpack

VICTIM = "Hospital 2"


class Killed(BaseException):
    """The process dies here."""


class Deadly:
    """A carrier in which something happens before or after a hospital answers a kind of request in a round."""

    def __init__(self, house, *, kind, round, before=None, after=None):
        self.house, self.kind, self.round, self.before, self.after = house, kind, round, before, after

    def ask(self, requests, deadline):
        found = {}
        for name, request in requests.items():
            message = unpack(self.house.agreement, request)
            now = name == VICTIM and (message.kind, message.round) == (self.kind, self.round)
            if now and self.before:
                self.before()
            if name in self.house.parts:
                try:
                    found[name] = self.house.parts[name].answer(request)
                except Killed:
                    self.house.kill(name)
            if now and self.after:
                found.pop(name, None)
                self.after()
        return found


def request(agreement, kind, round, model, number=1):
    return pack(agreement, Message(kind, round, COORDINATOR, number, model))


def said(agreement, answer):
    message = unpack(agreement, answer)
    assert message.kind == "refusal", message
    return str(as_refusal(message.payload))


def refuses(agreement, answer):
    return unpack(agreement, answer).kind == "refusal"


def fails_at(moment, count):
    """Die the n-th time that the book comes to this moment."""
    left = [count]

    def told(now):
        if now == moment:
            left[0] -= 1
            if not left[0]:
                raise Killed

    return told


def back_after(house, number):
    """Start the killed hospital again when this round is over."""

    def on_round(record):
        if record.number == number:
            house.start(VICTIM)

    return on_round


@pytest.mark.parametrize("masked", [False, True])
def test_a_hospital_that_is_dark_for_a_round_is_that_rounds_dropout(agree, house, masked):
    there = house(agree(masked=masked))
    kind = "mask" if masked else "train"
    carrier = Deadly(there, kind=kind, round=2, before=lambda: there.kill(VICTIM))
    run = there.coordinator(carrier).run(on_round=back_after(there, 2))
    others = tuple(h for h in there.agreement.hospitals if h != VICTIM)
    assert run.history[1].silent == (VICTIM,)
    if masked:  # the threshold of three is three: the round comes to nothing, and the model stays
        assert run.history[1].nothing and np.array_equal(run.models[1], run.models[2])
    else:
        assert run.history[1].came == others
    assert run.history[2].came == there.agreement.hospitals and VICTIM in run.told


def test_a_masked_round_goes_on_without_one_where_the_threshold_allows_it(agree, house):
    there = house(agree(masked=True, malicious=False, threshold=2))
    carrier = Deadly(there, kind="mask", round=1, before=lambda: there.kill(VICTIM))
    record = there.coordinator(carrier).step(1)
    assert record.came == ("Hospital 1", "Hospital 3") and not record.nothing


@pytest.mark.parametrize(("moment", "count"), [("before", 1), ("after", 1), ("before", 2), ("before", 3), ("after", 2)])
def test_a_hospital_killed_anywhere_in_its_answer_is_back_with_the_same_numbers(agree, house, moment, count):
    whole, broken = house(agree()), house(agree())
    broken.kill(VICTIM)
    broken.start(VICTIM, on_write=fails_at(moment, count))
    model = numbers(broken.coordinator().models[0])
    asked = request(broken.agreement, "train", 1, model)
    with pytest.raises(Killed):
        broken.parts[VICTIM].answer(asked)
    broken.kill(VICTIM)
    back = broken.start(VICTIM)
    assert back.answer(asked) == whole.parts[VICTIM].answer(asked)
    assert len(list(back.book.of("charged"))) == 1


def test_a_lost_answer_is_sent_again_byte_by_byte_over_a_restart_and_under_a_promise(agree, house):
    there = house(agree(promise=dict(unit="record", epsilon=3.0)))
    model = numbers(there.coordinator().models[0])
    asked = request(there.agreement, "train", 1, model)
    first = there.parts[VICTIM].answer(asked)
    assert there.parts[VICTIM].answer(asked) == first
    there.kill(VICTIM)
    assert there.start(VICTIM).answer(asked) == first
    spent = there.parts[VICTIM].purse.spent()
    assert len(list(there.parts[VICTIM].book.of("charged"))) == 1 and 0 < spent < 3


def test_no_noise_is_made_for_a_second_model(agree, house):
    there = house(agree(promise=dict(unit="record", epsilon=3.0)))
    model = there.coordinator().models[0]
    part, a = there.parts[VICTIM], there.agreement
    part.answer(request(a, "train", 1, numbers(model)))
    assert "to another request" in said(a, part.answer(request(a, "train", 1, numbers(model + 1))))
    assert len(list(part.book.of("charged"))) == 1


def test_a_round_that_was_charged_is_not_done_on_another_model_though_nothing_left(agree, house):
    there = house(agree())
    there.kill(VICTIM)
    part, a = there.start(VICTIM, on_write=fails_at("after", 1)), there.agreement
    model = there.coordinator().models[0]
    with pytest.raises(Killed):
        part.answer(request(a, "train", 1, numbers(model)))
    there.kill(VICTIM)
    back = there.start(VICTIM)
    assert "begun on another model" in said(a, back.answer(request(a, "train", 1, numbers(model + 1))))


def test_a_hospital_that_lost_its_secrets_takes_no_further_part_and_comes_back_in_the_next_round(agree, house):
    there = house(agree(masked=True))

    def restarted():
        there.kill(VICTIM)
        there.start(VICTIM)

    run = there.coordinator(Deadly(there, kind="mask", round=1, before=restarted)).run()
    assert "no secrets of round 1" in run.history[0].refused[VICTIM] and run.history[0].nothing
    assert run.history[1].came == there.agreement.hospitals


def test_masked_words_are_sent_again_but_never_made_again(agree, house):
    there, sent = house(agree(masked=True)), []

    class Listening(network.InProcess):
        def ask(self, requests, deadline):
            if VICTIM in requests:
                sent.append(requests[VICTIM])
            return super().ask(requests, deadline)

    carrier = Listening(there.parts)
    there.coordinator(carrier).step(1)
    part = there.parts[VICTIM]
    before = [part.answer(r) for r in sent]
    there.kill(VICTIM)
    back = there.start(VICTIM)
    assert [back.answer(r) for r in sent] == before and len(sent) == 5
    other = numbers(there.coordinator(folder="another").models[0] + 1)
    assert "to another request" in said(there.agreement, back.answer(request(there.agreement, "advertise", 1, other)))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_anywhere_in_a_masked_round_it_never_says_two_things(agree, house, moment):
    """Whatever is asked again, and again over restarts: at each stage one answer, and shares for one set of words."""
    agreement, count, died = agree(masked=True, rounds=1, hidden=(), malicious=False, threshold=2), 0, True
    while died:
        count, died, there, said = count + 1, False, house(agreement), {}
        there.kill(VICTIM)
        there.start(VICTIM, on_write=fails_at(moment, count))

        class Insisting(network.InProcess):
            def ask(self, requests, deadline, there=there, said=said):
                nonlocal died
                found = {}
                for name, request in requests.items():
                    try:
                        found[name] = there.parts[name].answer(request)
                    except Killed:
                        died = True
                        there.kill(name)
                        there.start(name)
                        found[name] = there.parts[name].answer(request)
                    again = there.parts[name].answer(request)
                    if name == VICTIM:
                        answers = {found[name], again} - {a for a in (found[name], again) if refuses(agreement, a)}
                        said.setdefault(unpack(agreement, request).kind, set()).update(answers)
                return found

        record = there.coordinator(Insisting(there.parts)).step(1)
        assert all(len(answers) <= 1 for answers in said.values()), (count, said.keys())
        assert len(list(there.parts[VICTIM].book.of("charged"))) <= 1
        assert record.came in (agreement.hospitals, ("Hospital 1", "Hospital 3"))
    assert count > 5 and said.keys() == {"advertise", "share", "mask", "unmask"}


def test_two_requests_at_once_get_one_update(agree, house):
    there = house(agree(promise=dict(unit="record", epsilon=3.0)))
    part, model, answers = there.parts[VICTIM], there.coordinator().models[0], []
    change, both, _ = part.work.change, threading.Barrier(2), part.work.noise

    def slow(given):
        with suppress(threading.BrokenBarrierError):
            both.wait(1.0)  # breaks, since nobody else can be here
        return change(given)

    part.work.change = slow
    asked = [request(part.agreement, "train", 1, numbers(model))] * 2
    threads = [threading.Thread(target=lambda one=one: answers.append(part.answer(one))) for one in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert both.broken and len(answers) == 2 and len(set(answers)) == 1
    assert not refuses(part.agreement, answers[0])


@pytest.mark.parametrize("masked", [False, True])
def test_a_coordinator_that_is_started_again_goes_on_where_it_was(agree, house, masked):
    whole, broken = house(agree(masked=masked)), house(agree(masked=masked))
    reference = whole.coordinator().run()
    broken.coordinator().step(1)
    # It asked for round 2, and died before it wrote down what came.
    lost = broken.coordinator()
    assert len(lost.history) == 1
    lost._save = lambda: None
    lost.step(2)
    run = broken.coordinator().run()
    assert np.array_equal(run.models[-1], reference.models[-1]) and len(run.history) == 3


def test_a_coordinator_of_another_training_does_not_go_on(agree, house, tmp_path):
    there = house(agree(rounds=1))
    there.coordinator().run()
    with pytest.raises(ValueError, match="^folder must be that of this training"):
        network.Coordinator(agree(rounds=2), there.carrier, there.root / "coordinator")


def test_a_late_joiner_is_in_from_then_on(agree, house):
    there = house(agree())
    there.kill(VICTIM)
    run = there.coordinator().run(on_round=back_after(there, 1))
    assert [VICTIM in r.came for r in run.history] == [False, True, True]


def test_nobody_answers(agree):
    run = network.Coordinator(agree(rounds=2), network.InProcess({})).run()
    assert [r.nothing for r in run.history] == ["nobody answered"] * 2 and np.array_equal(*run.models[:2])


@pytest.mark.parametrize("masked", [False, True])
def test_hospitals_that_are_started_again_between_rounds_go_on_with_the_same_random_numbers(agree, house, masked):
    whole, broken = house(agree(masked=masked)), house(agree(masked=masked))

    def restart(record):
        for name in broken.agreement.hospitals:
            broken.kill(name)
            broken.start(name)

    reference, run = whole.coordinator().run(), broken.coordinator().run(on_round=restart)
    assert np.array_equal(reference.models, run.models)


@pytest.mark.parametrize("masked", [False, True])
def test_a_training_that_was_stopped_early_can_go_on(agree, house, masked):
    whole, there = house(agree(masked=masked)), house(agree(masked=masked))
    stopped = there.coordinator().run(on_round=lambda record: record.number == 2)
    assert len(stopped.history) == 2 and stopped.told == there.agreement.hospitals
    run = there.coordinator().run()
    assert np.array_equal(run.models, whole.coordinator().run().models) and run.told == there.agreement.hospitals

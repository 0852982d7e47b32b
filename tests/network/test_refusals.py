"""What a hospital refuses by itself, in one sentence, whatever the coordinator says."""

from dataclasses import replace

import numpy as np
import pytest

from fedlab_utils import network
from fedlab_utils.network.messages import as_refusal, numbers, opened, unpack


def said(agreement, answer):
    """The sentence of a refusal."""
    message = unpack(agreement, answer)
    assert message.kind == "refusal", message
    sentence = str(as_refusal(message.payload))
    assert sentence and "\n" not in sentence
    return sentence


@pytest.fixture
def one(agree, house):
    """A hospital's part, and the model that everybody starts from."""
    there = house(agree())
    return there.parts["Hospital 2"], numbers(there.coordinator().models[0])


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (dict(promise=dict(unit="record", epsilon=8.0)), "promise.epsilon is 3.0 here and 8.0 there"),
        (dict(promise=dict(unit="record", epsilon=3.0), rounds=50), "training.rounds is 3 here and 50 there"),
        (dict(), "promise.unit is 'record' here and 'none' there"),
        (dict(promise=dict(unit="record", epsilon=3.0), masked=True), "sum.through is 'open' here and 'masked' there"),
    ],
)
def test_another_agreement_is_refused_by_hospitals_and_they_say_what_differs(agree, house, other, sentence):
    mine = house(agree(promise=dict(unit="record", epsilon=3.0)))
    theirs = network.Coordinator(agree(**other), mine.carrier)
    record = theirs.step(1)
    assert not record.came and set(record.refused) == set(mine.agreement.hospitals)
    assert all(sentence in text for text in record.refused.values()), record.refused
    assert not any(list(part.book.of("charged")) for part in mine.parts.values())


def test_a_coordinator_that_counts_hospitals_otherwise_hears_why_it_is_refused(fed, agree, house):
    mine = house(agree())
    fewer = replace(fed, hospitals=fed.hospitals[1:])
    theirs = network.Agreement.of(fewer, mine.agreement.settings)
    record = network.Coordinator(theirs, mine.carrier).step(1)
    assert set(record.refused) == set(theirs.hospitals)
    assert all("network.hospitals is ['Hospital 1'," in text for text in record.refused.values()), record.refused
    more = replace(fed, hospitals=(replace(fed.hospitals[0], name="West"), *fed.hospitals))
    record = network.Coordinator(network.Agreement.of(more, mine.agreement.settings), mine.carrier).step(1)
    assert record.silent == ("West",)
    assert all("network.hospitals is ['Hospital 1'," in text for text in record.refused.values()), record.refused


def test_another_hash_alone_is_refused(agree, one, ask):
    part, model = one
    assert "of another agreement" in said(part.agreement, part.answer(ask(agree(rounds=4), "train", 1, model)))


def test_another_model_shape_is_refused_by_its_length_before_it_is_read(agree, one, ask):
    part, _ = one
    wide = agree(hidden=(8,))
    request = bytearray(ask(wide, "train", 1, b"\0" * 4 * wide.d))
    request[6:38] = part.agreement.hash
    answer = said(part.agreement, part.answer(bytes(request)))
    assert f"has {4 * part.agreement.d} bytes; this one announces {4 * wide.d}" in answer
    with pytest.raises(network.Refused):
        opened(part.agreement, bytes(request[:50]))


@pytest.mark.parametrize(("round", "sentence"), [(0, "cannot be of round 0"), (4, "cannot be of round 4"),
                                                 (77, "is of round 77; 3 rounds were agreed on")])  # fmt: skip
def test_rounds_that_were_not_agreed_on_are_refused(one, ask, round, sentence):
    part, model = one
    assert sentence in said(part.agreement, part.answer(ask(part.agreement, "train", round, model)))


def test_rounds_do_not_go_back(one, ask):
    part, model = one
    part.answer(ask(part.agreement, "train", 2, model))
    assert "Round 1 is over" in said(part.agreement, part.answer(ask(part.agreement, "train", 1, model)))


def test_what_is_for_another_hospital_is_refused(one, ask):
    part, model = one
    answer = part.answer(ask(part.agreement, "train", 1, model, number=2))
    assert "for hospital 2" in said(part.agreement, answer)


def test_a_model_that_is_not_finite_is_refused(one, ask):
    part, model = one
    broken = np.frombuffer(model, "<f4").copy()
    broken[3] = np.nan
    answer = part.answer(ask(part.agreement, "train", 1, numbers(broken)))
    assert "1 numbers that are not finite" in said(part.agreement, answer)
    assert not list(part.book.of("charged"))


def test_an_open_round_is_refused_beside_masks(agree, house):
    there = house(agree(masked=True))
    part = there.parts["Hospital 2"]
    bare = agree()
    head = bytearray(b"FLNW\x01\x01" + part.agreement.hash)
    head += (1).to_bytes(4) + (65535).to_bytes(2) + (1).to_bytes(2) + (4 * bare.d).to_bytes(4)
    assert "no length at all" in said(part.agreement, part.answer(bytes(head) + bytes(4 * bare.d)))


def test_an_update_beyond_the_limit_is_refused(agree, house):
    there = house(agree(masked=True, limit=1e-4, training=dict(lr=1.0)))
    record = there.coordinator().step(1)
    assert record.nothing and all("beyond network.limit" in text for text in record.refused.values())


@pytest.mark.parametrize(
    "plan", [b"\xff\xfe", b"rounds = ", b"[network]", b"a = " + b"[" * 9000, b"a = " + b"[" * 300 + b"]" * 300]
)
def test_a_plan_that_cannot_be_read_is_refused(one, ask, plan):
    part, _ = one
    assert "cannot be read" in said(part.agreement, part.answer(ask(part.agreement, "plan", 0, plan)))


def test_the_same_plan_is_received(one, ask):
    part, _ = one
    answer = part.answer(ask(part.agreement, "plan", 0, part.agreement.to_toml().encode()))
    assert unpack(part.agreement, answer).kind == "received"


def test_what_goes_wrong_inside_tells_nothing_of_a_table(one, ask, monkeypatch):
    part, model = one
    monkeypatch.setattr(part.work, "change", lambda model: 1 / 0 * "Ms Example")
    answer = said(part.agreement, part.answer(ask(part.agreement, "train", 1, model)))
    assert answer == "The hospital could not answer: ZeroDivisionError on its side."


@pytest.mark.parametrize("at", range(50, 59))  # any byte of the header inside: round, stage, sender, receiver
def test_a_hospital_that_lies_about_its_stage_is_out_and_the_others_go_on(agree, house, at):
    there = house(agree(masked=True, malicious=False, threshold=2))

    class Lying(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            if unpack(there.agreement, requests["Hospital 1"]).kind == "mask" and "Hospital 2" in found:
                answer = found["Hospital 2"]
                found["Hospital 2"] = answer[:at] + bytes([answer[at] ^ 3]) + answer[at + 1 :]
            return found

    record = there.coordinator(Lying(there.parts)).step(1)
    assert record.came == ("Hospital 1", "Hospital 3")
    assert record.refused["Hospital 2"]


def hospital_promise(agree):
    """A plan whose promise is about whole hospitals."""
    return agree(masked=True, malicious=False, threshold=2, promise=dict(unit="hospital", epsilon=3.0))


class TestBudget:
    """A hospital's own ledger says no."""

    def test_it_does_not_answer_once_its_own_budget_is_gone_over_restarts_too(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.kill("Hospital 2")
        there.start("Hospital 2", budget=2.5)
        run = there.coordinator().run()
        came = ["Hospital 2" in r.came for r in run.history]
        assert came[0] and not came[-1]
        assert "The budget of this hospital is epsilon 2.5" in run.history[-1].refused["Hospital 2"]
        there.kill("Hospital 2")
        back = there.start("Hospital 2", budget=2.5)
        assert back.purse.spent() <= 2.5 and len(list(back.book.of("charged"))) == sum(came)
        assert not there.coordinator(folder="again").step(3).came == there.agreement.hospitals

    def test_another_training_in_the_same_folder_is_paid_from_the_same_budget(self, fed, agree, house):
        first, second = (agree(promise=dict(unit="record", epsilon=3.0), rounds=r) for r in (1, 2))
        there = house(first)
        there.coordinator().run()
        there.close()
        there.agreement = second
        for name in second.hospitals:
            there.start(name)
        record = there.coordinator(folder="second").step(1)
        assert not record.came and all("budget" in text for text in record.refused.values())
        of_the_plan = "The plan's budget is epsilon 3 at delta 1e-05, for all trainings in this folder; with round 1 it"
        assert all(text.startswith(of_the_plan) for text in record.refused.values()), record.refused
        assert len(there.parts["Hospital 1"].ledger) == 1

    def test_after_a_training_another_plan_has_to_cover_what_was_spent(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.coordinator().run()
        for epsilon, budget, first, last in (
            (3.0, None, "The plan's budget is epsilon 3 ", "The plan's budget is epsilon 3 "),
            (8.0, None, None, "The plan's budget is epsilon 8 "),  # its noise is fitted to all of 8
            (9.0, 3.0, "The budget of this hospital is epsilon 3 ", "The budget of this hospital is epsilon 3 "),
        ):
            there.close()
            there.agreement = agree(promise=dict(unit="record", epsilon=epsilon), rounds=4)
            for name in there.agreement.hospitals:
                there.start(name, budget=budget)
            history = there.coordinator(folder=f"at {epsilon}").run().history
            for record, no in ((history[0], first), (history[-1], last)):
                assert bool(record.came) == (no is None)
                assert all(text.startswith(no) for text in record.refused.values()), record.refused

    def test_all_agreed_rounds_are_within_what_was_promised(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.coordinator().run()
        part = there.parts["Hospital 3"]
        assert part.ledger.epsilon() == pytest.approx(part.purse.spent()) and 2.9 < part.purse.spent() <= 3.0
        assert {e.mechanism.steps for e in part.ledger.entries} == {part.work.steps}

    def test_without_a_promise_there_is_no_budget(self, agree, house):
        there = house(agree())
        there.kill("Hospital 2")
        with pytest.raises(ValueError, match="^budget must be None without a promise"):
            there.start("Hospital 2", budget=1.0)
        assert there.start("Hospital 2").purse.spent() == 0

    @pytest.mark.parametrize("budget", [0, -1.0, float("nan"), float("inf"), "2", True])
    def test_a_budget_is_a_number_above_0(self, agree, house, budget):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.kill("Hospital 2")
        with pytest.raises(ValueError, match="^budget must be "):
            there.start("Hospital 2", budget=budget)
        assert there.start("Hospital 2").purse.budget == 3.0

    def test_the_smaller_of_both_holds_and_the_one_given_last_stays(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        for given, holds in ((2.5, 2.5), (None, 2.5), (9.0, 3.0), (None, 3.0), (1.0, 1.0), (1.0, 1.0), (None, 1.0)):
            there.kill("Hospital 2")
            assert there.start("Hospital 2", budget=given).purse.budget == holds
        assert len(list(there.parts["Hospital 2"].book.of("budget"))) == 3

    @pytest.mark.parametrize("unit", ["none", "hospital"])
    def test_no_other_plan_walks_past_a_budget_that_was_given(self, agree, house, unit):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.kill("Hospital 2")
        there.start("Hospital 2", budget=1.5)
        there.kill("Hospital 2")
        before = there.agreement
        there.agreement = agree() if unit == "none" else hospital_promise(agree)
        with pytest.raises(ValueError, match="^promise.unit must be 'record', of which there is a budget .*1.5; got"):
            there.start("Hospital 2")
        there.agreement = before
        assert there.start("Hospital 2").purse.budget == 1.5

    def test_a_budget_is_not_begun_where_another_kind_of_promise_was_paid(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0)))
        there.coordinator().step(1)
        there.kill("Hospital 2")
        there.agreement = hospital_promise(agree)
        with pytest.raises(ValueError, match="^budget must be None where another kind of promise was paid.*'record'"):
            there.start("Hospital 2", budget=1.5)
        assert there.start("Hospital 2").purse.spent() == 0

    @pytest.mark.parametrize("budget", [None, 2.5])
    def test_what_was_given_without_a_promise_costs_more_than_any_budget(self, agree, house, budget):
        there = house(agree())
        there.coordinator().step(1)
        assert there.parts["Hospital 2"].purse.spent() == np.inf
        there.close()
        there.agreement = agree(promise=dict(unit="record", epsilon=3.0))
        for name in there.agreement.hospitals:
            there.start(name, budget=budget)
        part = there.parts["Hospital 2"]
        assert part.purse.spent() == np.inf and (part.ledger.spent()["unprotected"] == 1).all()
        record = there.coordinator(folder="second").step(1)
        assert not record.came and "without a promise" in record.refused["Hospital 2"]

    def test_a_budget_holds_at_the_delta_at_which_it_was_given(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0, delta=1e-5)))
        there.kill("Hospital 2")
        there.start("Hospital 2", budget=1.5)
        there.kill("Hospital 2")
        there.agreement = agree(promise=dict(unit="record", epsilon=3.0, delta=1e-3))
        with pytest.raises(ValueError, match="^budget must be given again .* epsilon 1.5 at delta 1e-05, .* 0.001"):
            there.start("Hospital 2")
        for given in (1.5, None):
            part = there.start("Hospital 2", budget=given)
            assert part.purse.budget == 1.5
            assert [line["delta"] for line in part.book.of("budget")] == [1e-5, 1e-3]
            there.kill("Hospital 2")

    def test_a_budget_of_an_older_book_is_at_the_plans_delta(self, agree, house):
        there = house(agree(promise=dict(unit="record", epsilon=3.0, delta=1e-3)))
        there.parts["Hospital 2"].book.write("budget", unit="record", epsilon=1.5)
        there.kill("Hospital 2")
        assert there.start("Hospital 2").purse.budget == 1.5

    def test_under_masks_it_says_no_before_the_others_count_on_it(self, agree, house):
        there = house(agree(masked=True, threshold=2, promise=dict(unit="record", epsilon=3.0)))
        there.kill("Hospital 2")
        there.start("Hospital 2", budget=0.01)
        asked = []

        class Listening(network.InProcess):
            def ask(self, requests, deadline):
                asked.extend(unpack(there.agreement, r).kind for r in [requests.get("Hospital 2")] if r)
                return super().ask(requests, deadline)

        record = there.coordinator(Listening(there.parts)).step(1)
        assert record.came == ("Hospital 1", "Hospital 3") and asked == ["advertise"]
        assert "with round 1 it would have spent more" in record.refused["Hospital 2"]
        assert not list(there.parts["Hospital 2"].book.of("charged"))


class TestParts:
    """What cannot be a hospital's part."""

    def test_a_folder_has_one_process(self, agree, house):
        there = house(agree())
        with pytest.raises(ValueError, match="^folder must belong to one hospital that runs once"):
            there.start("Hospital 2")

    def test_rows_stay_the_same_in_a_training(self, fed, agree, house):
        there = house(agree())
        there.kill("Hospital 2")
        there.fed = fed.repartition(3, None, seed=5)
        with pytest.raises(ValueError, match="^hospital must have the training rows with which this training began"):
            there.start("Hospital 2")

    def test_a_promise_to_so_few_patients_needs_a_smaller_delta(self, agree, house):
        with pytest.raises(ValueError, match="^promise.delta must be below 1/1[0-9][0-9], one over the training rows"):
            house(agree(promise=dict(unit="record", epsilon=3.0, delta=0.05)))

    def test_keys_fit(self, agree, house, keys):
        there = house(agree(masked=True))
        there.kill("Hospital 2")
        with pytest.raises(ValueError, match="^signing_key must be the one"):
            there.start("Hospital 2", signing_key=keys[0][0])
        with pytest.raises(ValueError, match="^signing_key and registry must be given"):
            there.start("Hospital 2", signing_key=None)

    def test_keys_from_the_agreement_count(self, agree, house, keys):
        hexed = {f"Hospital {u + 1}": key.public_bytes_raw().hex() for u, key in keys[1].items()}
        there = house(agree(masked=True, signing_keys=hexed))
        record = there.coordinator().step(1)
        assert record.came == there.agreement.hospitals

    def test_it_is_none(self, agree, fed, tmp_path):
        with pytest.raises(ValueError, match="^hospital must be one of federation.hospitals"):
            network.HospitalPart(agree(), "Hospital 1", tmp_path)
        with pytest.raises(ValueError, match="^agreement must be a network.Agreement"):
            network.HospitalPart("plan.toml", fed.hospitals[0], tmp_path)
        with pytest.raises(ValueError, match="^streams must be generators named work, noise"):
            network.HospitalPart(agree(), fed.hospitals[0], tmp_path, streams={"else": None})


def changed_at(house, *, asked, whose, answer):
    """A carrier that flips a bit of the keys of the first hospital: in what one is sent, or in what it answers."""

    class Changing(network.InProcess):
        def ask(self, requests, deadline):
            requests = dict(requests)
            now = any(unpack(house.agreement, r).kind == asked for r in requests.values())
            if now and not answer:
                requests[whose] = flipped(requests[whose])
            found = super().ask(requests, deadline)
            if now and answer:
                found[whose] = flipped(found[whose])
            return found

    def flipped(data, at=50 + 9):
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return Changing(house.parts)


def test_keys_that_a_hospital_did_not_sign_are_found_by_the_others(agree, house):
    there = house(agree(masked=True))
    carrier = changed_at(there, asked="share", whose="Hospital 2", answer=False)
    record = there.coordinator(carrier).step(1)
    assert record.nothing and record.refused["Hospital 2"] == "Client 0 did not sign this advertise message."


def test_keys_that_were_changed_on_their_way_are_found_by_the_coordinator(agree, house):
    there = house(agree(masked=True))
    record = there.coordinator(changed_at(there, asked="advertise", whose="Hospital 1", answer=True)).step(1)
    assert record.nothing == "Client 0 did not sign this advertise message." and not record.refused


@pytest.mark.parametrize("about", [{}, dict(malicious=False, threshold=2)])
def test_a_coordinator_that_sends_each_another_model_is_stopped_by_the_bound_model(agree, house, about):
    there = house(agree(masked=True, **about))

    class Lying(network.InProcess):
        def ask(self, requests, deadline):
            for u, name in enumerate(requests):
                kind = unpack(there.agreement, requests[name]).kind
                if kind == "advertise":
                    model = np.frombuffer(requests[name][50:], "<f4") + np.float32(0.01 * u)
                    requests[name] = requests[name][:50] + model.tobytes()
            return super().ask(requests, deadline)

    record = there.coordinator(Lying(there.parts)).step(1)
    assert record.nothing and not record.came
    if not about:  # where hospitals sign, it is found before anybody trains
        assert not any(list(part.book.of("charged")) for part in there.parts.values())


def test_without_masks_a_coordinator_may_choose_its_models_and_a_hospital_cannot_tell(agree, house, ask):
    """A limit by design, said in docs/several_machines.md: what protects there is the promise."""
    there = house(agree())
    chosen = np.full(there.agreement.d, 1e6, dtype=np.float32)
    answer = there.parts["Hospital 2"].answer(ask(there.agreement, "train", 1, numbers(chosen)))
    assert unpack(there.agreement, answer).kind == "update"

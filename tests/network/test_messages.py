"""What travels, byte by byte, and everything that is refused before it is read."""

import random

import numpy as np
import pytest

from fedlab_utils import network
from fedlab_utils.network import messages
from fedlab_utils.network.agreement import COORDINATOR
from fedlab_utils.network.messages import HEADER_BYTES, KINDS, Message, Refused, as_refusal, opened, pack, unpack


@pytest.fixture(scope="module")
def agreement(agree):
    return agree()


@pytest.fixture(scope="module")
def right(agreement):
    return pack(agreement, Message("train", 2, COORDINATOR, 1, bytes(4 * agreement.d)))


def test_a_header_is_what_the_lesson_takes_apart(agreement, right):
    assert HEADER_BYTES == 50 and right[:4] == b"FLNW" and right[4] == 1 and KINDS[right[5]] == "train"
    assert right[6:38] == agreement.hash
    assert right[38:50] == (2).to_bytes(4) + (65535).to_bytes(2) + (1).to_bytes(2) + (4 * agreement.d).to_bytes(4)
    assert unpack(agreement, right) == Message("train", 2, COORDINATOR, 1, bytes(4 * agreement.d))


def put(data, at, new):
    return data[:at] + new + data[at + len(new) :]


MALFORMED = {
    "nothing": lambda d: b"",
    "a byte": lambda d: b"F",
    "half a header": lambda d: d[:25],
    "a header short of one": lambda d: d[:49],
    "a header alone": lambda d: d[:50],
    "one byte less": lambda d: d[:-1],
    "one byte more": lambda d: d + b"\0",
    "itself twice": lambda d: d + d,
    "another magic": lambda d: put(d, 0, b"ZZZZ"),
    "an archive": lambda d: b"PK\3\4" + d,
    "a pickle": lambda d: b"\x80\x04" + d,
    "a web request": lambda d: b"GET / HTTP/1.1\r\n\r\n" + bytes(50),
    "format 0": lambda d: put(d, 4, b"\0"),
    "format 255": lambda d: put(d, 4, b"\xff"),
    "no such kind": lambda d: put(d, 5, bytes([len(KINDS)])),
    "kind 255": lambda d: put(d, 5, b"\xff"),
    "an answer's kind": lambda d: put(d, 5, bytes([KINDS.index("update")])),
    "a masked kind": lambda d: put(d, 5, bytes([KINDS.index("share")])),
    "a plan that is none": lambda d: put(d, 5, bytes([KINDS.index("plan")])),
    "no hash": lambda d: put(d, 6, bytes(32)),
    "another hash": lambda d: put(d, 6, b"\xff"),
    "round 0": lambda d: put(d, 38, bytes(4)),
    "the last round there can be": lambda d: put(d, 38, b"\xff" * 4),
    "from a hospital": lambda d: put(d, 42, b"\0\0"),
    "from nobody": lambda d: put(d, 42, b"\x12\x34"),
    "for the coordinator": lambda d: put(d, 44, b"\xff\xff"),
    "for nobody": lambda d: put(d, 44, b"\0\x63"),
    "no length": lambda d: put(d, 46, bytes(4)),
    "a hundred times too long": lambda d: put(d, 46, (100 * (len(d) - 50)).to_bytes(4)),
    "four gigabytes": lambda d: put(d, 46, b"\xff" * 4),
    "three bytes less, and so it says": lambda d: put(d, 46, (len(d) - 53).to_bytes(4))[:-3],
    "numbers that are none": lambda d: put(d, 50, b"\xff\xff\xff\x7f"),
    "words": lambda d: "a text",
    "nothing at all": lambda d: None,
}


@pytest.mark.parametrize("how", MALFORMED)
def test_a_hospital_answers_every_malformed_message_with_one_sentence_and_goes_on(agree, house, right, how):
    there = house(agree())
    part = there.parts["Hospital 2"]
    message = unpack(there.agreement, part.answer(MALFORMED[how](right)))
    assert message.kind == "refusal" and len(str(as_refusal(message.payload))) > 20
    assert not list(part.book.of("charged"))
    assert unpack(there.agreement, part.answer(right)).kind == "update"


RIGHT_IN_AN_ANSWER = {"an answer's kind", "for the coordinator", "numbers that are none"}


@pytest.mark.parametrize("how", sorted(MALFORMED.keys() - RIGHT_IN_AN_ANSWER))
def test_a_coordinator_takes_a_malformed_answer_for_none_and_goes_on(agree, house, how):
    there = house(agree(rounds=1))

    class Broken(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            found["Hospital 2"] = MALFORMED[how](found["Hospital 2"])
            return found

    record = there.coordinator(Broken(there.parts)).step(1)
    assert record.came == ("Hospital 1", "Hospital 3") and record.refused["Hospital 2"]


def test_noise_of_every_length_is_refused(agreement):
    rng = random.Random(0)
    for length in range(0, 400, 7):
        with pytest.raises(Refused):
            unpack(agreement, rng.randbytes(length))
        with pytest.raises(Refused):
            unpack(agreement, b"FLNW\x01" + rng.randbytes(length))


def test_the_header_says_no_before_a_byte_of_the_payload_is_there(agreement, right):
    with pytest.raises(Refused, match=f"has {4 * agreement.d} bytes; this one announces {400 * agreement.d}"):
        opened(agreement, put(right, 46, (400 * agreement.d).to_bytes(4))[:50])
    assert opened(agreement, right[:50]).length == 4 * agreement.d


def test_nobody_packs_what_nobody_would_read(agreement):
    with pytest.raises(ValueError, match=f"^payload of train must have {4 * agreement.d} bytes; got 3"):
        pack(agreement, Message("train", 1, COORDINATOR, 0, b"abc"))
    with pytest.raises(ValueError, match="^payload of share must have no length at all"):
        pack(agreement, Message("share", 1, COORDINATOR, 0, b"abc"))


def test_the_longest_message_follows_from_the_agreement(agree, agreement):
    assert messages.longest(agreement, ("train", "update", "received")) == 50 + 8 + 4 * agreement.d
    masked = agree(masked=True, bits=64)
    assert messages.longest(masked, ("masked",)) == 50 + 9 + 8 * (masked.d + 1) + 64


def test_lengths_of_the_protocol_are_those_that_travel(agree, house):
    seen = set()

    class Listening(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            for data in (*requests.values(), *found.values()):
                message = unpack(there.agreement, data)
                seen.add(message.kind)
                assert len(message.payload) in messages.lengths(there.agreement, message.kind)
            return found

    for about in (dict(masked=True), dict(masked=True, malicious=False)):
        there = house(agree(rounds=1, **about))
        there.coordinator(Listening(there.parts)).run()
    assert seen == set(KINDS) - {"plan", "train", "update", "refusal"}


def test_an_answer_that_speaks_for_another_hospital_is_refused(agree, house):
    there = house(agree(rounds=1))

    class Swapped(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            found["Hospital 2"] = found["Hospital 3"]
            return found

    record = there.coordinator(Swapped(there.parts)).step(1)
    assert record.refused["Hospital 2"] == "Hospital 2 sent a message of hospital 2."


def test_a_hospital_counts_no_more_than_was_agreed(agree, house):
    there = house(agree(rounds=1, training=dict(strategy="uniform")))

    class Heavy(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            found["Hospital 2"] = found["Hospital 2"][:50] + (10**6).to_bytes(8, "little") + found["Hospital 2"][58:]
            return found

    record = there.coordinator(Heavy(there.parts)).step(1)
    assert record.came == ("Hospital 1", "Hospital 3")
    assert record.refused["Hospital 2"] == "Every hospital counts the same here; Hospital 2 says 1000000."


def test_an_answer_of_an_earlier_round_is_refused(agree, house):
    there, old = house(agree()), {}

    class Replayed(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            old.setdefault("Hospital 1", found["Hospital 1"])
            return found | old

    run = there.coordinator(Replayed(there.parts)).run()
    assert "sent update of round 1 in answer to train of 2" in run.history[1].refused["Hospital 1"]


def test_a_refusal_is_one_short_line_of_what_can_be_printed(agreement):
    long = messages.refusal("a\nb " * 500)
    assert len(long) <= 400 and "\n" not in str(as_refusal(long))
    assert (
        str(as_refusal(b"\0\x1b[31mred")) == "[31mred"
        and as_refusal(messages.refusal("x", other_agreement=True)).other_agreement
    )
    assert str(as_refusal(messages.refusal("ü" * 300)))


def test_numbers_come_back_to_the_bit():
    row = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert (messages.as_numbers(messages.numbers(row), "row") == row).all()
    weight, change = messages.as_update(messages.update(7, row))
    assert weight == 7 and (change == row).all()
    with pytest.raises(Refused, match="counts by 1 to"):
        messages.as_update(messages.update(0, row))

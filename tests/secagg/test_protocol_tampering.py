"""Tampering with what travels: on every way, in every field."""

from dataclasses import replace

import numpy as np
import pytest

from fedlab_utils.secagg import SERVER, Client, ProtocolError, messages, register
from tests.secagg.helpers import SETUP, STAGES, Round, flip, words_for

FIELDS = {  # where the fields of a client's message start in its body, by stage; the last one is the signature
    "advertise": {"letter key": 0, "mask key": 32, "signature": 64},
    "share": {"nonce": 0, "sealed shares": 12, "tag": 78},
    "mask": {"first word": 0, "last word": 20, "signature": 24},
    "check": {"signature": 0},
    "unmask": {"client": 0, "which": 2, "share": 3, "last share": 36 * 4 + 35, "signature": 180},
}


HOPS = [f"{stage} to {end}" for stage in STAGES for end in ("server", "client")][:-1]  # shares end at the server


HOPS.insert(5, "survivors to client")


HOPS.remove("mask to client")


def edits_of(hop):
    """Name -> what is done with the messages of a hop to one receiver; `old` are those of an earlier round."""
    stage = hop.split()[0]
    same = {
        f"{name} changed": lambda sent, old, at=at: [*sent[:-1], flip(sent[-1], at)]
        for name, at in FIELDS.get(stage, {}).items()
    }
    return (
        same
        | {
            "round": lambda sent, old: [*sent[:-1], replace(sent[-1], round=9)],
            "stage": lambda sent, old: [*sent[:-1], replace(sent[-1], stage="mask" if stage != "mask" else "share")],
            "sender": lambda sent, old: [*sent[:-1], replace(sent[-1], sender=(sent[-1].sender + 1) % 5)],
            "unknown sender": lambda sent, old: [*sent[:-1], replace(sent[-1], sender=77)],
            "receiver": lambda sent, old: [*sent[:-1], replace(sent[-1], receiver=2)],
            "cut": lambda sent, old: [*sent[:-1], replace(sent[-1], body=sent[-1].body[:-1])],
            "longer": lambda sent, old: [*sent[:-1], replace(sent[-1], body=sent[-1].body + b"0")],
            "empty": lambda sent, old: [*sent[:-1], replace(sent[-1], body=b"")],
            "replayed": lambda sent, old: [*sent[:-1], old[-1]],
            "replayed as new": lambda sent, old: [*sent[:-1], replace(old[-1], round=sent[-1].round)],
            "all replayed as new": lambda sent, old: [replace(m, round=sent[-1].round) for m in old],
            "nothing": lambda sent, old: [],
        }
        | (
            {
                "twice": lambda sent, old: [*sent, sent[-1]],
                "one instead of another": lambda sent, old: [*sent[:-1], sent[0]],
                "bodies swapped": lambda sent, old: [
                    replace(sent[0], body=sent[-1].body),
                    *sent[1:-1],
                    replace(sent[-1], body=sent[0].body),
                ],
            }
            if stage != "survivors"
            else {}
        )
    )


HARMLESS = {
    ("survivors to client", edit) for edit in ("nothing", "replayed as new", "all replayed as new")
}  # same list


TAMPERED = [(hop, edit) for hop in HOPS for edit in edits_of(hop) if (hop, edit) not in HARMLESS]


@pytest.fixture(scope="module")
def earlier():
    """The members of the registry, and all that travelled in a round before."""
    members = register(5)
    before = Round(members=members)
    assert (before.play() == words_for(SETUP).sum(axis=0, dtype=np.uint32)).all()
    return members, before.log


@pytest.mark.parametrize(("hop", "edit"), TAMPERED, ids=[f"{hop}: {edit}" for hop, edit in TAMPERED])
def test_tampering_is_detected(earlier, hop, edit):
    members, log = earlier
    touched = []

    def wire(where, receiver, sent):
        if where != hop or receiver not in (SERVER, 1):
            return sent
        touched.append(receiver)
        return edits_of(hop)[edit](sent, log[where, receiver])

    with pytest.raises(ProtocolError):
        Round(replace(SETUP, round=1), wire, members).play()
    assert touched


def test_nothing_is_wrong_with_what_was_tampered_with(earlier):
    """Control: the same wire without an edit; and the order of messages does not matter."""
    members, log = earlier
    assert {hop for hop, _ in log} == set(HOPS)
    shuffled = Round(replace(SETUP, round=1), lambda hop, receiver, sent: sent[::-1], members)
    assert (shuffled.play() == words_for(SETUP).sum(axis=0, dtype=np.uint32)).all()


def test_a_letter_sent_back_to_its_writer_is_no_answer():
    """Both ways have the same key: only the sealed names of sender and receiver tell a letter from an answer."""
    game = Round()

    def reflect(hop, receiver, sent):
        if hop != "share to client" or receiver != 1:
            return sent
        own = next(m for m in game.log["share to server", SERVER] if (m.sender, m.receiver) == (1, 3))
        return [replace(own, sender=3, receiver=1) if m.sender == 3 else m for m in sent]

    game.wire = reflect
    with pytest.raises(ProtocolError, match="from client 3 to 1 was changed"):
        game.play()


def test_other_setups_do_not_mix(earlier):
    """Letters and signatures of clients that were told of another threshold."""
    members, _ = earlier
    keys, registry = members
    clients = [
        Client(u, replace(SETUP, threshold=4 - (u == 0)), signing_key=keys[u], registry=registry) for u in range(5)
    ]
    with pytest.raises(ProtocolError, match="did not sign"):
        clients[1].share([c.advertise() for c in clients])


@pytest.mark.parametrize("change", [dict(round=9), dict(stage="check"), dict(sender=1), dict(receiver=4)])
def test_the_header_is_signed(earlier, change):
    (keys, registry), _ = earlier
    message = Client(0, SETUP, signing_key=keys[0], registry=registry).advertise()
    messages.verify(message, SETUP, registry)
    with pytest.raises(ProtocolError, match="did not sign"):
        messages.verify(replace(message, **change), SETUP, registry)


def test_keys_signed_by_somebody_else_are_refused(earlier):
    """The server puts itself between two clients, with keys of its own."""
    (keys, registry), _ = earlier
    own, _ = register(5)
    clients = [Client(u, SETUP, signing_key=keys[u], registry=registry) for u in range(5)]
    sent = [c.advertise() for c in clients]
    sent[3] = Client(3, SETUP, signing_key=own[3], registry=registry).advertise()
    with pytest.raises(ProtocolError, match="Client 3 did not sign"):
        clients[0].share(sent)


def test_a_client_must_find_its_own_keys(earlier):
    """Left out, or replaced by keys of its own from another time: its peers could not know whom they mask with."""
    (keys, registry), _ = earlier
    for own in (None, Client(0, SETUP, signing_key=keys[0], registry=registry).advertise()):
        clients = [Client(u, SETUP, signing_key=keys[u], registry=registry) for u in range(5)]
        sent = [c.advertise() for c in clients][1:]
        with pytest.raises(ProtocolError, match="does not find its own keys"):
            clients[0].share(sent if own is None else [own, *sent])


def test_copied_and_worthless_keys_are_refused():
    setup = replace(SETUP, malicious=False)
    for body, sentence in ((None, "somebody copied"), (bytes(32) + b"1" * 32, "gives no secret")):
        clients = [Client(u, setup) for u in range(5)]
        sent = [c.advertise() for c in clients]
        sent[3] = replace(sent[3], body=body or sent[2].body)
        with pytest.raises(ProtocolError, match=sentence):
            clients[0].share(sent)

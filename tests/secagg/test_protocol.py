"""Clients and server of the protocol: the order of steps, and cheats among the clients."""

from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedlab_utils import secagg
from fedlab_utils.secagg import Client, ProtocolError, Setup, register
from tests.secagg.helpers import SETUP, Round, words_for

P25519 = 2**255 - 19


# ---------------------------------------------------------------- cheats inside


@pytest.mark.parametrize(
    "twin",
    [
        lambda key: key[:31] + bytes([key[31] ^ 128]),  # other bytes for the same point
        lambda key: pow(int.from_bytes(key, "little"), -1, P25519).to_bytes(32, "little"),  # plus the point of order 2
    ],
    ids=["bit", "inverse"],
)
def test_a_twin_of_a_public_key_does_not_share_its_masks(twin):
    """RFC 7748, section 7: other public keys give the same secret. A cheat who advertises client 0's twin as its own
    mask key would have client 1 add a mask with 0 and take the same one off with 2."""
    setup = Setup(3, 3, 50, 32, colluding=1)
    game = Round(setup)

    def cheat(hop, receiver, sent):
        if hop != "advertise to server":
            return sent
        mine = sent[2].body[:32] + twin(sent[0].body[32:64])
        sent[2] = game.clients[2]._advertised = game.clients[2]._signed("advertise", mine)
        return sent

    game.wire = cheat
    masked = game.until_masked()
    own = np.frombuffer(masked[1].body, "<u4", setup.words) - secagg.expand(game.clients[1]._seed, setup.words, 32)
    theirs = X25519PublicKey.from_public_bytes(game.clients[2]._advertised.body[32:64])
    third = X25519PrivateKey.generate()
    assert third.exchange(game.clients[0]._mask_key.public_key()) == third.exchange(theirs)  # it is a twin
    assert not (own == words_for(setup)[1]).any()


def test_a_list_signed_in_another_session_of_the_same_round_is_worth_nothing():
    members = register(5)
    first, second = Round(members=members), Round(members=members)
    lists = [game.server.survivors(game.until_masked()) for game in (first, second)]
    old = [c.check(lists[0][c.number]) for c in first.clients]
    victim = second.clients[0]
    victim.check(lists[1][0])
    with pytest.raises(ProtocolError, match="did not sign this check message"):
        victim.unmask(old)


def kept_by(client):
    return [s for s in (client._shares, client._channel, client._seed, client._letter_key, client._mask_key) if s]


def test_a_client_that_has_finished_or_stopped_holds_no_secret():
    game = Round()
    game.play()
    assert not any(kept_by(client) for client in game.clients)
    game = Round()
    game.until_masked()
    victim = game.clients[0]
    with pytest.raises(ProtocolError, match="asked to unmask"):  # too early: no harm done
        victim.unmask([])
    assert kept_by(victim)
    with pytest.raises(ProtocolError, match="dropped out itself"):
        victim.check(secagg.survivor_list(SETUP, 0, [1, 2, 3, 4]))
    assert not kept_by(victim)


# ---------------------------------------------------------------- the order of steps


def test_steps_have_an_order_and_no_second_try():
    game = Round()
    client, box = game.clients[0], []
    for early in (lambda: client.share(box), lambda: client.mask(box, words_for(SETUP)[0]), lambda: client.unmask(box)):
        with pytest.raises(ProtocolError, match="its next step is advertise"):
            early()
    client.advertise()
    with pytest.raises(ProtocolError, match="asked to advertise, but its next step is share"):
        client.advertise()
    with pytest.raises(ProtocolError, match="Only 0 of 5"):
        client.share([])
    with pytest.raises(ProtocolError, match="finished or stopped"):
        client.share([])
    with pytest.raises(ProtocolError, match="asked for survivors, but its next step is keys"):
        game.server.survivors([])


def test_each_step_happens_once():
    game = Round()
    game.play()
    box = [game.log["survivors to client", 0][0]]
    for again in (
        game.clients[0].advertise,
        lambda: game.clients[0].share(box),
        lambda: game.clients[0].mask(box, words_for(SETUP)[0]),
        lambda: game.clients[0].check(box[0]),
        lambda: game.clients[0].unmask(box),
        lambda: game.server.total(box),
    ):
        with pytest.raises(ProtocolError, match="finished or stopped"):
            again()


def test_words_that_do_not_fit_are_refused_and_may_be_given_again():
    game = Round()
    boxes = game.server.keys([c.advertise() for c in game.clients])
    boxes = game.server.forward([m for c in game.clients for m in c.share(boxes[c.number])])
    for wrong in (np.zeros(5, np.uint32), np.zeros(6, np.int32), np.zeros(6), [0] * 6):
        with pytest.raises(ValueError, match="words must be an array of 6 uint32"):
            game.clients[0].mask(boxes[0], wrong)
    assert game.clients[0].mask(boxes[0], np.zeros(6, np.uint32)).stage == "mask"


def test_client_refuses():
    with pytest.raises(ValueError, match="number must be from 0 to 4"):
        Client(5, replace(SETUP, malicious=False))
    with pytest.raises(ValueError, match="signing_key and registry"):
        Client(0, SETUP)

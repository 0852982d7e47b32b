"""What a message is bound to: the session, the round, the model; and a client has no copy."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from fedlab_utils import data, federated, secagg
from fedlab_utils.secagg import ProtocolError, SecureSum, Setup, register, sums
from tests.secagg.helpers import SETUP, Round, words_for

# ---------------------------------------------------------------- session and round


@pytest.fixture(scope="module")
def old():
    """The members, who keep their signing keys, and what they sent in another session of the same number."""
    members = register(SETUP.n)
    before = Round(members=members)
    before.play()
    return members, before.log


@pytest.mark.parametrize("hop", ["mask to server", "unmask to server"])
@pytest.mark.parametrize("all_of_them", [False, True], ids=["one", "all"])
def test_what_was_signed_in_another_session_of_the_same_number_is_refused(old, hop, all_of_them):
    members, log = old

    def wire(where, receiver, sent):
        return (
            sent
            if where != hop
            else log[where, receiver][: SETUP.n if all_of_them else 1] + sent[1:] * (not all_of_them)
        )

    with pytest.raises(ProtocolError, match=f"did not sign this {hop.split()[0]} message"):
        Round(wire=wire, members=members).play()
    control = Round(wire=lambda where, receiver, sent: sent, members=members)
    assert (control.play() == words_for(SETUP).sum(axis=0, dtype=np.uint32)).all()


def test_letters_are_sealed_for_one_session(old):
    """Two who were shown another list of keys than the rest cannot open the others' letters."""
    game = Round(replace(SETUP, threshold=3))
    hello = [c.advertise() for c in game.clients]
    boxes = {u: hello[:4] if u == 0 else hello for u in range(4)}
    letters = [m for u in range(4) for m in game.clients[u].share(boxes[u])]
    to_one = [m for m in letters if m.receiver == 1]
    with pytest.raises(ProtocolError, match="letter from client 0 to 1 was changed"):
        game.clients[1].mask(to_one, words_for(SETUP)[1])


def test_a_training_counts_its_rounds_and_names_its_models(monkeypatch):
    seen, run = [], sums.run

    def watched(words, setup, **others):
        seen.append(setup)
        return run(words, setup, **others)

    monkeypatch.setattr(sums, "run", watched)
    work = dict(rounds=3, hidden=(), local_steps=1, record=True)
    trained = federated.train(data.load("breast_cancer"), aggregator=SecureSum(), **work)
    assert [setup.round for setup in seen] == [1, 2, 3]
    models = trained.transcript.query("what == 'global model'").groupby("round")["values"].first()
    assert [setup.model for setup in seen] == [secagg.fingerprint(m, k) for k, m in models.items()]
    assert len({setup.model for setup in seen}) == 3


def test_the_seam_works_without_a_round(old):
    updates, rows = np.zeros((5, 3)), np.full(5, 4)
    mean, _ = SecureSum().aggregate(updates, rows, alive=np.ones(5, bool), rng=np.random.default_rng(0))
    assert np.abs(mean).max() < 1e-6


# ---------------------------------------------------------------- the model

ONE, OTHER = (secagg.fingerprint(np.full(4, value, np.float32), 7) for value in (0, 1))


def crooked(malicious, told):
    """A round whose server sent each client a model of its own choice; client u was sent `told[u]`."""
    setup = replace(SETUP, malicious=malicious)
    game = Round(replace(setup, model=ONE))
    keys, registry = register(setup.n)
    game.clients = [
        secagg.Client(u, replace(setup, model=model), signing_key=keys[u], registry=registry)
        for u, model in enumerate(told)
    ]
    game.server = secagg.Server(replace(setup, model=ONE))  # it does not look
    return game


@pytest.mark.parametrize("malicious", [True, False])
def test_a_client_with_another_model_stops_the_round(malicious):
    """The crooked server of lesson 05: one hospital has the right model, the others one that never changes."""
    with pytest.raises(ProtocolError, match="did not sign this advertise" if malicious else "was changed"):
        crooked(malicious, [OTHER, OTHER, OTHER, OTHER, ONE]).play()
    same = crooked(malicious, [ONE] * 5)
    same.play()  # control


def test_the_model_takes_no_byte_on_the_wire():
    sizes = [
        sum(map(len, secagg.run(words_for(SETUP), setup).messages)) for setup in (SETUP, replace(SETUP, model=ONE))
    ]
    assert sizes[0] == sizes[1]


def test_a_fingerprint_tells_models_and_rounds_apart():
    model = np.arange(6, dtype=np.float32)
    found = {secagg.fingerprint(model), secagg.fingerprint(model, 1), secagg.fingerprint(model + 1),
             secagg.fingerprint(model.reshape(2, 3)), secagg.fingerprint(model.astype(float))}  # fmt: skip
    assert len(found) == 5 and {len(f) for f in found} == {32}
    assert secagg.fingerprint(model[::-1]) == secagg.fingerprint(model[::-1].copy())
    assert secagg.fingerprint(model) == secagg.fingerprint(model.astype(">f4")) == secagg.fingerprint(torch.arange(6.0))
    assert Setup(5, 4, 3, 32, model=ONE).context != Setup(5, 4, 3, 32, model=OTHER).context != SETUP.context


# ---------------------------------------------------------------- below the threshold, and copies


@pytest.mark.parametrize("malicious", [True, False])
def test_a_client_gives_nothing_below_its_own_threshold(malicious):
    """Whatever the server says: it counts the list itself, before it opens anything."""
    game = Round(replace(SETUP, malicious=malicious))
    game.until_masked()
    client, told = game.clients[1], secagg.survivor_list(game.setup, 1, [0, 1, 2])
    with pytest.raises(secagg.TooFewError, match="Only 3 of 5 clients are said to be still there; the threshold is 4"):
        client.check(told) if malicious else client.unmask([told])
    with pytest.raises(ProtocolError, match="finished or stopped"):
        client.unmask([])
    assert not client._shares


def test_of_the_signatures_a_client_counts_too():
    game = Round()
    lists = game.server.survivors(game.until_masked())
    signed = [c.check(lists[c.number]) for c in game.clients]
    with pytest.raises(secagg.TooFewError, match="Only 3 of 5 clients signed"):
        game.clients[0].unmask(signed[:3])


@pytest.mark.parametrize("way", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_client_has_no_copy(way):
    """Two of one would hide two inputs under one mask: their difference is open."""
    game = Round()
    with pytest.raises(TypeError, match="A Client cannot be copied"):
        way(game.clients[0])

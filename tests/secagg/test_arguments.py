"""Malformed arguments of secure aggregation, encryption and the seam: each gets one sentence that names it."""

import functools

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedlab_utils import _arguments, data, federated, secagg
from fedlab_utils.federated.aggregators import as_aggregator
from fedlab_utils.secagg import Client, Message, SecureSum, Server, Setup, masks, messages, shamir
from fedlab_utils.secagg.grid import Grid, decode, encode
from tests.refusals import one_sentence
from tests.secagg.helpers import SETUP, Round, words_for

GRID, RNG, WORDS = Grid(4.0, 32, 100), np.random.default_rng(0), words_for(SETUP)
KEY, ROWS = X25519PrivateKey.generate(), np.full(3, 4)
UPDATES, ALIVE = np.zeros((3, 2)), np.ones(3, bool)


def call(function, right, **wrong):
    """A call with one argument put wrong."""
    return functools.partial(function, **right | wrong)


def summed(way, **wrong):
    return call(way, dict(updates=UPDATES, weights=ROWS, alive=ALIVE, rng=np.random.default_rng(0)), **wrong)


def fresh(step, *given):
    """A step of a client that has just begun, or of a server."""
    game = Round()
    one = game.server if step in ("keys", "forward", "survivors", "signatures", "total") else game.clients[0]
    return getattr(one, step)(*given)


SETUP_OF = call(Setup, dict(n=5, threshold=4, words=3, bits=32))
MESSAGE = dict(round=0, stage="mask", sender=0, receiver=1, body=b"")
LOG = pd.DataFrame([(1, 0, "server", "a", "global model", 4)], columns="round seed sender receiver what bytes".split())

BAD = {
    # Setup and messages
    **{f"Setup {name}={value!r}": (name, functools.partial(SETUP_OF, **{name: value})) for name, value in [
        ("n", "5"), ("n", None), ("n", np.nan), ("threshold", "four"), ("threshold", 3.5), ("words", []), ("words", -1),
        ("bits", "32"), ("bits", 31), ("round", None), ("round", 2**32), ("malicious", "no"), ("malicious", 1),
        ("malicious", None), ("colluding", "one"), ("model", "hash"), ("model", b"short"), ("model", None),
    ]},
    **{f"Message {name}={value!r}": (name, call(Message, MESSAGE, **{name: value})) for name, value in [
        ("stage", "later"), ("stage", None), ("stage", 3), ("stage", []), ("round", "0"), ("round", -1),
        ("round", 2**32), ("sender", None), ("sender", 65536), ("receiver", 1.5), ("body", "text"), ("body", None),
    ]},
    "Message.from_bytes": ("data", lambda: Message.from_bytes("text")),
    "register none": ("n", lambda: secagg.register(None)),
    "register half": ("n", lambda: secagg.register(2.5)),
    "default_threshold text": ("n", lambda: secagg.default_threshold("5")),
    "default_threshold of one": ("n", lambda: secagg.default_threshold(1)),
    "survivor_list none": ("survivors", lambda: secagg.survivor_list(SETUP, 1, None)),
    "survivor_list text": ("survivors", lambda: secagg.survivor_list(SETUP, 1, "012")),
    "survivor_list negative": ("survivors", lambda: secagg.survivor_list(SETUP, 1, [-1])),
    "survivor_list too large": ("survivors", lambda: secagg.survivor_list(SETUP, 1, [2**16])),
    "survivor_list receiver": ("receiver", lambda: secagg.survivor_list(SETUP, "1", [0])),
    "survivor_list setup": ("setup", lambda: secagg.survivor_list(None, 1, [0])),
    "fingerprint none": ("model", lambda: secagg.fingerprint(None)),
    "fingerprint text": ("model", lambda: secagg.fingerprint("weights")),
    "fingerprint round": ("round", lambda: secagg.fingerprint(np.zeros(2), -1)),
    # clients and servers
    "Client number": ("number", lambda: Client("0", SETUP)),
    "Client setup": ("setup", lambda: Client(0, None)),
    "Client key": ("signing_key", lambda: Client(0, SETUP, signing_key=b"key", registry={})),
    "Client registry": ("registry", lambda: Client(0, SETUP, signing_key=secagg.register(1)[0][0], registry=[])),
    "Server setup": ("setup", lambda: Server("setup")),
    "Server registry": ("registry", lambda: Server(SETUP, registry="keys")),
    **{f"{step}({value!r})": ("messages", functools.partial(fresh, step, value)) for step in (
        "share", "unmask", "keys", "forward", "survivors", "signatures", "total",
    ) for value in (None, [None], "text", 3, [b"bytes"])},
    "check none": ("messages", lambda: fresh("check", None)),
    "mask none": ("words", lambda: fresh("mask", [], None)),
    "mask messages": ("messages", lambda: fresh("mask", None, WORDS[0])),
    # a whole round, and its traffic
    "run list": ("inputs", lambda: secagg.run(WORDS.tolist(), SETUP)),
    "run none": ("inputs", lambda: secagg.run(None, SETUP)),
    "run floats": ("inputs", lambda: secagg.run(WORDS.astype(float), SETUP)),
    "run shape": ("inputs", lambda: secagg.run(WORDS[0], SETUP)),
    "run setup": ("setup", lambda: secagg.run(WORDS, (5, 4))),
    "run drop list": ("drop", lambda: secagg.run(WORDS, SETUP, drop=[1])),
    "run drop number": ("drop", lambda: secagg.run(WORDS, SETUP, drop=2)),
    "run drop text": ("drop", lambda: secagg.run(WORDS, SETUP, drop={"1": "mask"})),
    "run drop stage": ("drop", lambda: secagg.run(WORDS, SETUP, drop={1: None})),
    "traffic n": ("n", lambda: secagg.traffic("10", 9, 32)),
    "traffic n with neighbours": ("n", lambda: secagg.traffic("10", 9, 32, neighbours=3)),
    "traffic words": ("words", lambda: secagg.traffic(10, None, 32)),
    "traffic bits": ("bits", lambda: secagg.traffic(10, 9, "32")),
    "traffic malicious": ("malicious", lambda: secagg.traffic(10, 9, 32, malicious="yes")),
    "traffic neighbours": ("neighbours", lambda: secagg.traffic(10, 9, 32, neighbours=-1)),
    # masks and shares
    "agree text": ("private", lambda: secagg.agree("mine", KEY.public_key(), b"")),
    "agree two private": ("public", lambda: secagg.agree(KEY, KEY, b"")),
    "agree info": ("info", lambda: secagg.agree(KEY, KEY.public_key(), "masks")),
    "expand short key": ("key", lambda: secagg.expand(b"short", 3, 32)),
    "expand text": ("key", lambda: secagg.expand("k" * 32, 3, 32)),
    "expand words": ("words", lambda: secagg.expand(bytes(32), -1, 32)),
    "expand bits": ("bits", lambda: secagg.expand(bytes(32), 3, 12)),
    "add_masks list": ("words", lambda: masks.add_masks([1, 2], [])),
    "add_masks signed": ("words", lambda: masks.add_masks(np.zeros(3, int), [])),
    "add_masks one key": ("plus", lambda: masks.add_masks(WORDS[0].copy(), bytes(32))),
    "add_masks short key": ("minus", lambda: masks.add_masks(WORDS[0].copy(), [], [b"short"])),
    "seal key": ("key", lambda: masks.seal(b"short", b"", b"")),
    "seal text": ("text", lambda: masks.seal(bytes(32), "text", b"")),
    "unseal label": ("label", lambda: masks.unseal(bytes(32), bytes(40), None)),
    "split half": ("secret", lambda: shamir.split(2.5, 2, [1, 2])),
    "split true": ("secret", lambda: shamir.split(True, 2, [1, 2])),
    "split none": ("secret", lambda: shamir.split(None, 2, [1, 2])),
    "split threshold": ("threshold", lambda: shamir.split(5, "2", [1, 2])),
    "split points": ("points", lambda: shamir.split(5, 2, 2)),
    "split half points": ("points", lambda: shamir.split(5, 2, [1, 1.5])),
    "split prime": ("prime", lambda: shamir.split(5, 2, [1, 2], prime="p")),
    "combine too few": ("shares", lambda: shamir.combine([1, 2], [3])),
    "combine halves": ("shares", lambda: shamir.combine([1, 2], [3, 4.5])),
    "combine none": ("shares", lambda: shamir.combine([1, 2], None)),
    "combine empty": ("points", lambda: shamir.combine([], [])),
    "combine_all threshold": ("threshold", lambda: shamir.combine_all([1, 2], [[3, 4]], 3)),
    "combine_all shares": ("shares", lambda: shamir.combine_all([1, 2], [[3]], 2)),
    # the grid
    "Grid limit": ("limit", lambda: Grid("4", 32, 10)),
    "Grid bits": ("bits", lambda: Grid(4, True, 10)),
    "Grid bits list": ("bits", lambda: Grid(4, [32], 10)),
    "Grid rows": ("max_rows", lambda: Grid(4, 32, None)),
    "encode text": ("values", lambda: encode("values", 1, GRID, RNG)),
    "encode none": ("values", lambda: encode(None, 1, GRID, RNG)),
    "encode ragged": ("values", lambda: encode([[1], [1, 2]], 1, GRID, RNG)),
    "encode weight": ("weight", lambda: encode([0.0], "1", GRID, RNG)),
    "encode grid": ("grid", lambda: encode([0.0], 1, None, RNG)),
    "encode rng": ("rng", lambda: encode([0.0], 1, GRID, 0)),
    "decode empty list": ("total", lambda: decode([], GRID)),
    "decode empty": ("total", lambda: decode(np.empty(0, np.uint32), GRID)),
    "decode floats": ("total", lambda: decode(np.ones(3), GRID)),
    "decode grid": ("grid", lambda: decode(np.ones(3, np.uint32), 4.0)),
    # the seam
    **{f"SecureSum {name}={value!r}": (name, call(SecureSum, {}, **{name: value})) for name, value in [
        ("threshold", "all"), ("threshold", 0), ("bits", None), ("limit", "4"), ("limit", -1), ("limit", np.nan),
        ("max_rows", 0), ("malicious", "no"), ("malicious", 0), ("colluding", None), ("round", -1), ("model", "x"),
    ]},
    **{f"{type(way).__name__} {name}={value!r}": (name, summed(way.aggregate, **{name: value}))
       for way in (SecureSum(), federated.OpenSum()) for name, value in [
        ("updates", None), ("updates", "text"), ("updates", np.zeros(3)), ("updates", [[1, 2], [3]]),
        ("weights", None), ("weights", "abc"), ("weights", [1, 2]), ("weights", [1, np.nan, 1]),
        ("weights", [1, -1, 1]),
        ("alive", None), ("alive", "yes"), ("alive", [1, 0, 1]), ("alive", [True]),
    ]},
    "SecureSum rng": ("rng", summed(SecureSum().aggregate, rng=None)),
    "SecureSum quick rng": ("rng", summed(SecureSum().quick, rng=0)),
    "OpenSum nobody": ("alive", summed(federated.OpenSum().aggregate, alive=np.zeros(3, bool))),
    "SecureSum NaN": ("updates", summed(SecureSum().aggregate, updates=np.full((3, 2), np.nan))),
    "grid_step n": ("n", lambda: SecureSum().grid_step("5", 10)),
    "grid_step rows": ("rows", lambda: SecureSum().grid_step(5, None)),
    "as_aggregator": ("aggregator", lambda: as_aggregator("secure")),
    "who_sees_what empty": ("transcripts", lambda: federated.who_sees_what({})),
    "who_sees_what none": ("transcripts", lambda: federated.who_sees_what(None)),
    "who_sees_what frame": ("transcripts", lambda: federated.who_sees_what(LOG)),
    "who_sees_what other": ("transcripts", lambda: federated.who_sees_what({"a": LOG.drop(columns="what")})),
    "who_sees_what text": ("transcripts", lambda: federated.who_sees_what({"a": "log"})),
    "train record": ("record", lambda: federated.train(data.load("breast_cancer"), record="no")),
    "local_update hospital": ("hospital", lambda: federated.local_update([], None, task="binary", rng=RNG)),
    "local_update rng": ("rng", lambda: federated.local_update(
        [], data.load("breast_cancer").hospitals[0], task="binary", rng=None)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_argument_gets_one_sentence(case):
    name, act = BAD[case]
    with one_sentence(name) as reason:
        act()
    assert "must" in str(reason.value) or "needed" in str(reason.value)


ENCRYPTED = {
    "EncryptedSum(8192)": ("parameters", lambda e, c: e.EncryptedSum(8192)),
    "EncryptedSum rounding": ("rounding", lambda e, c: e.EncryptedSum(rounding="fine")),
    "EncryptedSum NaN": ("rounding", lambda e, c: e.EncryptedSum(rounding=np.nan)),
    "Parameters": ("ring", lambda e, c: e.Parameters("8192")),
    "hospital_context": ("parameters", lambda e, c: e.hospital_context((4096, (60, 40), 40))),
    "server_context": ("context", lambda e, c: e.server_context(b"context")),
    "encrypt context": ("context", lambda e, c: e.encrypt(None, [1.0])),
    "encrypt text": ("values", lambda e, c: e.encrypt(c, "values")),
    "encrypt none": ("values", lambda e, c: e.encrypt(c, None)),
    "add context": ("server", lambda e, c: e.add(c, [e.encrypt(c, [1.0])])),
    "add bytes": ("uploads", lambda e, c: e.add(e.server_context(c), b"bytes")),
    "add one list": ("upload 0", lambda e, c: e.add(e.server_context(c), e.encrypt(c, [1.0]))),
    "add none": ("uploads", lambda e, c: e.add(e.server_context(c), None)),
    "add nonsense": ("server", lambda e, c: e.add(b"nonsense", [e.encrypt(c, [1.0])])),
    "decrypt context": ("context", lambda e, c: e.decrypt(None, [], 1)),
    "decrypt bytes": ("ciphertexts", lambda e, c: e.decrypt(c, e.encrypt(c, [1.0])[0], 1)),
    "decrypt none": ("ciphertexts", lambda e, c: e.decrypt(c, None, 1)),
    "decrypt half": ("n_values", lambda e, c: e.decrypt(c, e.encrypt(c, [1.0]), 1.5)),
    "grid_step": ("n must be", lambda e, c: e.EncryptedSum(e.Parameters(4096, (60, 40), 40)).grid_step("two")),
    "updates": ("updates", lambda e, c: summed(e.EncryptedSum().aggregate, updates=None)()),
    "alive": ("alive", lambda e, c: summed(e.EncryptedSum().quick, alive="yes")()),
}


@pytest.fixture(scope="module")
def context():
    pytest.importorskip("tenseal", reason="TenSEAL has no wheel for this platform")
    from fedlab_utils import encrypted

    return encrypted, encrypted.hospital_context(encrypted.Parameters(4096, (60, 40), 40))


@pytest.mark.parametrize("case", ENCRYPTED)
def test_a_malformed_argument_of_encryption_gets_one_sentence(case, context):
    name, act = ENCRYPTED[case]
    with one_sentence(name):
        act(*context)


def test_a_client_that_was_given_nonsense_goes_on_as_if_nothing_had_been_said():
    """A mistake of the caller is no lie of a peer: the step can be done again."""
    game = Round()
    boxes = game.server.keys([c.advertise() for c in game.clients])
    with pytest.raises(ValueError, match="messages must be a list of Message; got one with NoneType"):
        game.clients[0].share([None])
    with pytest.raises(ValueError, match="messages must be a list of Message; got int"):
        game.server.forward(3)
    assert len(game.clients[0].share(boxes[0])) == 4


@pytest.mark.parametrize("value", ["no", 1, 0, None, np.int64(1), [True]])
def test_a_flag_is_true_or_false(value):
    with pytest.raises(ValueError, match="secure must be True or False; got"):
        _arguments.flag("secure", value)
    assert _arguments.flag("secure", np.bool_(True)) is True and _arguments.flag("secure", False) is False


def test_no_sentence_shows_a_secret():
    for act in (lambda: shamir.split(-12345, 2, [1, 2]), lambda: shamir.combine([1, 2], [98765, 1.5]),
                lambda: messages.checked_fingerprint(b"12345"), lambda: secagg.expand(b"12345", 1, 32),
                lambda: encode([12345.0], 1, GRID, RNG)):  # fmt: skip
        with pytest.raises(ValueError) as found:
            act()
        assert "12345" not in str(found.value) and "98765" not in str(found.value)

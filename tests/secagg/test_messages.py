"""What travels: the setup that all agree on, and messages as bytes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import secagg
from fedlab_utils.secagg import Message, ProtocolError, Setup, messages
from fedlab_utils.secagg.grid import Grid
from tests.secagg.helpers import SETUP, Round, words_for

# ---------------------------------------------------------------- the setup


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (dict(n=1, threshold=1), "n must be a whole number of at least 2"),
        (dict(n=65535, threshold=65535), "n must be below 65535"),
        (dict(n=5, threshold=6), "threshold must be 3 to 5"),
        (dict(n=6, threshold=3), "threshold must be 4 to 6 against a server that lies and 0 colluding of 6"),
        (dict(n=6, threshold=4, colluding=2), "threshold must be 5 to 6 against .* 2 colluding of 6"),
        (dict(n=6, threshold=3, colluding=3, malicious=False), "threshold must be 5 to 6 against .* only looks"),
        (dict(n=5, threshold=1, malicious=False), "threshold must be 2 to 5"),
        (dict(n=4, threshold=4, colluding=4), "would have to be 6, above 4"),
        (dict(n=4, threshold=4, bits=12), "bits"),
        (dict(n=4, threshold=4, words=0), "words"),
        (dict(n=4, threshold=4, round=2**32), "round"),
        (dict(n=4, threshold=4, colluding=-1), "colluding"),
    ],
)
def test_setup_refuses(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        Setup(**(dict(words=3, bits=32) | given))


def test_thresholds_at_their_limits():
    for n in range(2, 30):
        assert Setup(n, secagg.default_threshold(n), 1, 8, colluding=(n - 1) // 3)
        assert Setup(n, n // 2 + 1, 1, 8) and Setup(n, 2, 1, 8, malicious=False)
        with pytest.raises(ValueError, match="threshold"):
            Setup(n, n // 2, 1, 8)


def test_whole_floats_count_as_whole():
    assert Setup(5.0, 4.0, 2.0, 32.0).context == Setup(5, 4, 2, 32).context
    assert Grid(4, 32.0, 10.0).dtype == np.uint32


# ---------------------------------------------------------------- bytes


def test_a_message_travels_as_bytes():
    for message in (m for box in Round().log.values() for m in box):
        assert Message.from_bytes(message.to_bytes()) == message
    game = Round(wire=lambda hop, receiver, sent: [Message.from_bytes(m.to_bytes()) for m in sent])
    assert (game.play() == words_for(SETUP).sum(axis=0, dtype=np.uint32)).all()
    assert all(len(m) == len(m.to_bytes()) == 9 + len(m.body) for box in game.log.values() for m in box)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_refused(junk):
    try:
        assert Message.from_bytes(junk).to_bytes() == junk
    except ProtocolError:
        assert len(junk) < 9 or junk[4] >= len(messages.STAGES)

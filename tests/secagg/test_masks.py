"""Keys and masks. Keys come from the operating system: a test that may fail by chance says how often."""

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedlab_utils import secagg
from fedlab_utils.secagg import Setup, masks
from fedlab_utils.secagg.grid import Grid, encode
from tests.secagg.helpers import SETUP, p_uniform, words_for


@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("words", [1, 7, 2**17 // 4, 2**17 + 3])
def test_masks_come_off_again_in_pieces_of_any_size(words, bits):
    keys = [bytes([k]) * 32 for k in range(4)]
    start = np.arange(words).astype(f"<u{bits // 8}")
    masked = start.copy()
    masks.add_masks(masked, keys[:2], keys[2:])
    by_hand = start + sum(secagg.expand(k, words, bits) for k in keys[:2])
    assert (masked == by_hand - secagg.expand(keys[2], words, bits) - secagg.expand(keys[3], words, bits)).all()
    masks.add_masks(masked, keys[2:], keys[:2])
    assert (masked == start).all()


def test_the_mask_is_the_key_stream_of_aes_256():
    """Counter mode on zeros; the first block of an all-zero key is NIST's AES-256 known answer."""
    assert secagg.expand(bytes(32), 16, 8).tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_both_ends_agree_and_other_purposes_differ():
    a, b = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    one = secagg.agree(a, b.public_key(), b"round 1")
    assert one == secagg.agree(b, a.public_key(), b"round 1") and len(one) == 32
    assert one != secagg.agree(a, b.public_key(), b"round 2")


def test_masked_words_look_uniform():
    """Fails by chance once in 300,000 runs."""
    setup = Setup(3, 3, words=20_000, bits=32)
    words = np.full((3, setup.words), 17, dtype=np.uint32)
    masked = [m for m in secagg.run(words, setup).messages if m.stage == "mask"]
    for message in masked:
        assert p_uniform(np.frombuffer(message.body, np.uint32, setup.words)) > 1e-6
    grid = Grid(4.0, 32, 64)
    typical = encode(np.random.default_rng(0).normal(scale=0.1, size=setup.words), 20, grid, np.random.default_rng(0))
    assert p_uniform(words[0]) < 1e-6 and p_uniform(typical) < 1e-6  # control: what is not masked does not


def test_the_same_words_are_masked_differently_each_time():
    first, second = ([m.body for m in secagg.run(words_for(SETUP), SETUP).messages if m.stage == "mask"] for _ in "ab")
    assert not set(first) & set(second)

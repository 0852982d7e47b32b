"""The cryptography of secure aggregation, from the `cryptography` library: agreed keys, masks, sealed letters."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedlab_utils._arguments import whole
from fedlab_utils.secagg.grid import checked_bits

_CHUNK = 2**17  # bytes: a piece of the sum and a piece of a mask stay in the processor's cache
_BLOCK = 16  # bytes that AES makes at a time
_NONCE = 12  # bytes


def agree(private: X25519PrivateKey, public: X25519PublicKey, info: bytes) -> bytes:
    """The 32-byte key that only the holders of two X25519 keys can compute, from one private and one public half.

    Both public keys go into the derivation. A public key has twins that give the same secret (RFC 7748, section 7);
    without it, a cheat who advertises a twin of somebody's key would share all of that client's masks.

    Parameters
    ----------
    private, public
        My private key, your public key (RFC 7748).
    info
        What the key is for: other words, unrelated keys (HKDF-SHA256, RFC 5869).

    Returns
    -------
    bytes
        32 of them, the same at both ends.

    Raises
    ------
    ValueError
        If these are no keys and bytes, or the public key is one of the few that give everybody the same secret.
    """
    if not isinstance(private, X25519PrivateKey) or not isinstance(public, X25519PublicKey):
        got = f"{type(private).__name__} and {type(public).__name__}"
        raise ValueError(f"private and public must be X25519 keys; got {got}.")
    checked_bytes("info", info)
    # Sorted, since either end has its own key first and both must derive the same.
    both = b"".join(sorted(key.public_bytes_raw() for key in (private.public_key(), public)))
    return HKDF(SHA256(), length=32, salt=None, info=info + both).derive(private.exchange(public))


def expand(key: bytes, words: int, bits: int) -> np.ndarray:
    """A mask: `words` words that look uniform to whoever lacks the key (AES-256 in counter mode).

    Parameters
    ----------
    key
        32 bytes, for one mask only.
    words, bits
        How many, and how long each: 8, 16, 32 or 64.

    Returns
    -------
    ndarray
        ``[words]``, unsigned whole numbers.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    checked_bytes("key", key, 32)
    mask = np.zeros(whole("words", words, 0), dtype=f"<u{checked_bits(bits) // 8}")
    add_masks(mask, [key])
    return mask


def add_masks(words: np.ndarray, plus: Sequence[bytes], minus: Sequence[bytes] = ()) -> None:
    """Add the masks of some keys to `words`, take off those of others, in place, modulo ``2**bits``.

    Parameters
    ----------
    words
        ``[d]``, unsigned whole numbers.
    plus, minus
        Keys, see `expand`.

    Raises
    ------
    ValueError
        If these are no words and keys.
    """
    if not isinstance(words, np.ndarray) or words.ndim != 1 or words.dtype.kind != "u":
        raise ValueError(f"words must be a row of unsigned whole numbers; got {type(words).__name__}.")
    for name, keys in (("plus", plus), ("minus", minus)):
        if isinstance(keys, str | bytes) or not isinstance(keys, Sequence):
            raise ValueError(f"{name} must be a list of keys; got {type(keys).__name__}.")
        for key in keys:
            checked_bytes(name, key, 32)
    if not len(words):
        return
    streams = [(np.add, _stream(key)) for key in plus] + [(np.subtract, _stream(key)) for key in minus]
    size = min(_CHUNK, words.nbytes)
    zeros, room = memoryview(bytes(size)), bytearray(size + _BLOCK - 1)
    mask = np.frombuffer(room, dtype=words.dtype, count=size // words.itemsize)
    for start in range(0, len(words), len(mask)):
        piece = words[start : start + len(mask)]
        for add_or_subtract, stream in streams:
            stream.update_into(zeros[: piece.nbytes], room)  # what a stream cipher makes of zeros is its key stream
            add_or_subtract(piece, mask[: len(piece)], out=piece)


def seal(key: bytes, text: bytes, label: bytes) -> bytes:
    """Encrypt so that any change, of the text or of the `label` that travels in the open, is found (AES-256-GCM).

    Raises
    ------
    ValueError
        If these are not bytes, or the key is not 32 of them.
    """
    _all_bytes(key, label, text=text)
    # Random, because both ends seal with one key, and GCM must never meet a nonce twice under it.
    nonce = os.urandom(_NONCE)
    return nonce + AESGCM(key).encrypt(nonce, text, label)


def unseal(key: bytes, sealed: bytes, label: bytes) -> bytes:
    """The text that `seal` encrypted.

    Raises
    ------
    cryptography.exceptions.InvalidTag
        If key, text or label differ from what was sealed.
    ValueError
        If these are not bytes, or the key is not 32 of them.
    """
    _all_bytes(key, label, sealed=sealed)
    return AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], label)


def checked_bytes(name: str, value, length: int | None = None) -> bytes:
    """Bytes, as many as it takes; their values are never printed."""
    if not isinstance(value, bytes) or length not in (None, len(value)):
        got = f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
        raise ValueError(f"{name} must be {'bytes' if length is None else f'{length} bytes'}; got {got}.")
    return value


def _all_bytes(key: bytes, label: bytes, **text: bytes) -> None:
    checked_bytes("key", key, 32)
    for name, value in (text | {"label": label}).items():
        checked_bytes(name, value)


def _stream(key: bytes) -> CipherContext:
    # The counter may start at 0 every time: no key makes more than one mask.
    return Cipher(AES(key), CTR(bytes(_BLOCK))).encryptor()

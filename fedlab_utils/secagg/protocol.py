"""Secure aggregation as messages: hospitals mask, the server adds, and only the sum can be unmasked.

The protocol of Bonawitz et al. (CCS 2017, eprint 2017/281, Figure 4). A `Client` and the `Server` (`secagg.server`)
are state machines that turn messages into messages; nothing travels except what stands in a `Message`. What a client
does, in order:

- ``advertise`` two public keys, one to write sealed letters, one to agree on masks;
- ``share`` out two secrets among all (Shamir): the seed of its own mask, and its private mask key;
- ``mask`` its words: with its own mask, and with one for each peer that the peer's mask cancels;
- ``check`` (malicious server only): sign the list of those who are still there;
- ``unmask``: give, for each client, one of its two shares. The seed of those who are still there, whose masks with
  each other cancel; the mask key of those who dropped out, whose masks did not. Never both.

All that is signed covers the setup (with the number of the round and the model) and, once keys are there, the session:
all the fresh keys that were advertised for it. So nothing from another round fits, though signing keys stay the same.
After a `ProtocolError` a client has stopped for good, and no client has a copy. A lying client can spoil the sum, as it
can by lying about its update: what is protected is what others sent. A false share is proven where more clients answer
than the threshold (see `Server.liars`); where exactly as many do, nobody can know.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import wraps

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedlab_utils._arguments import whole
from fedlab_utils.secagg import shamir
from fedlab_utils.secagg.masks import add_masks, agree, seal, unseal
from fedlab_utils.secagg.messages import (
    ENTRY,
    KEYS,
    LETTER,
    MASK_KEY,
    SEED,
    SERVER,
    SIGNATURE,
    Message,
    ProtocolError,
    Setup,
    by_sender,
    checked_registry,
    checked_setup,
    digest,
    enough,
    post,
    public_keys,
    session,
    tail,
    told,
    verify,
)


def _or_forget(stage):
    """A client that stops lets go of its secrets: words that were masked and sent must not be opened later."""

    @wraps(stage)
    def guarded(client: Client, *given):
        try:
            return stage(client, *given)
        except ProtocolError:
            if client._next is None:
                client._forget()
            raise

    return guarded


class Client:
    """One hospital in one round: call its methods in the order in which they stand here, each once.

    Parameters
    ----------
    number
        From 0 to ``setup.n - 1``.
    setup
        What everybody knows.
    signing_key, registry
        Needed if the server may lie; see `messages.register`.

    Raises
    ------
    ValueError
        If an argument does not fit; of a method, before it has begun.
    ProtocolError
        By the methods, if something that the protocol forbids arrives, or too few are left.
    TypeError
        By copying or pickling: two of a client would hide two inputs under one mask.
    """

    def __init__(
        self,
        number: int,
        setup: Setup,
        *,
        signing_key: Ed25519PrivateKey | None = None,
        registry: Mapping[int, Ed25519PublicKey] | None = None,
    ) -> None:
        checked_setup(setup)
        if whole("number", number, 0) >= setup.n:
            raise ValueError(f"number must be from 0 to {setup.n - 1}; got {number}.")
        if setup.malicious and (signing_key is None or registry is None):
            raise ValueError("signing_key and registry are needed when malicious is True; make both with register(n).")
        if signing_key is not None and not isinstance(signing_key, Ed25519PrivateKey):
            raise ValueError(f"signing_key must be an Ed25519PrivateKey; got {type(signing_key).__name__}.")
        checked_registry(registry)
        self.number, self.setup = int(number), setup
        self._signing_key, self._registry = signing_key, registry
        self._next: str | None = "advertise"
        self._letter_key, self._mask_key = X25519PrivateKey.generate(), X25519PrivateKey.generate()
        self._seed = os.urandom(32)
        self._public: dict[int, tuple[X25519PublicKey, X25519PublicKey]] = {}  # of every client: letters, masks
        self._channel: dict[int, bytes] = {}  # key of the letters to and from each peer
        self._shares: dict[int, tuple[int, int]] = {}  # of every client: the seed, the mask key
        self._survivors: list[int] = []
        self._session = b""  # this round and no other, even one of the same number

    def __reduce_ex__(self, protocol):
        raise TypeError("A Client cannot be copied: its copy would hide another input under the same mask.")

    def advertise(self) -> Message:
        """Two new public keys, to be handed to all."""
        self._begin("advertise")
        body = b"".join(key.public_key().public_bytes_raw() for key in (self._letter_key, self._mask_key))
        self._advertised = self._signed("advertise", body)
        self._next = "share"
        return self._advertised

    @_or_forget
    def share(self, messages: Sequence[Message]) -> list[Message]:
        """A sealed letter to each peer with a share of both secrets, from everybody's public keys."""
        self._begin("share", messages)
        sent = by_sender(messages, self.setup, "advertise", range(self.setup.n), size=KEYS + tail(self.setup))
        enough(sent, self.setup, "advertised keys")
        if sent.get(self.number) != self._advertised:
            raise ProtocolError(f"Client {self.number} does not find its own keys among those handed out.")
        for u, message in sent.items():
            if u != self.number:
                verify(message, self.setup, self._registry)
            self._public[u] = public_keys(message)
        self._session = session(sent)
        # Figure 4 demands it: with a copied key, two of a client's masks would be the same.
        distinct = {message.body[i : i + 32] for message in sent.values() for i in (0, 32)}
        if len(distinct) < 2 * len(sent):
            raise ProtocolError("Two public keys are the same: somebody copied one.")
        letters = self._letters()
        self._next = "mask"
        return letters

    def _letters(self) -> list[Message]:
        peers = sorted(self._public)
        secrets = (self._seed, self._mask_key.private_bytes_raw())
        split = [shamir.split(int.from_bytes(s), self.setup.threshold, [v + 1 for v in peers]) for s in secrets]
        letters = []
        for v, *shares in zip(peers, *split, strict=True):
            if v == self.number:
                self._shares[v] = tuple(shares)
                continue
            self._channel[v] = self._agree(self._letter_key, self._public[v][0], b"letters")
            # The header is sealed along, so that a letter passes for no other client's and no other round's.
            empty = Message(self.setup.round, "share", self.number, v, b"")
            text = b"".join(share.to_bytes(33) for share in shares)
            letters.append(replace(empty, body=seal(self._channel[v], text, self._label(empty))))
        return letters

    @_or_forget
    def mask(self, messages: Sequence[Message], words: np.ndarray) -> Message:
        """The masked words, from the peers' letters: those who wrote one are those to share a mask with.

        ``y = words + PRG(seed) + sum of PRG(s_uv) over v < u - sum over v > u``, modulo ``2**bits``, where s_uv is
        what u and v agree on.

        Parameters
        ----------
        messages
            The letters to this client.
        words
            ``[setup.words]``, of ``setup.dtype``; they are left as they were.
        """
        if not isinstance(words, np.ndarray) or words.dtype != self.setup.dtype or words.shape != (self.setup.words,):
            got = f"{words.dtype} {words.shape}" if isinstance(words, np.ndarray) else type(words).__name__
            raise ValueError(f"words must be an array of {self.setup.words} {self.setup.dtype.name}; got {got}.")
        self._begin("mask", messages)
        peers = self._public.keys() - {self.number}
        sent = by_sender(messages, self.setup, "share", peers, receiver=self.number, size=LETTER)
        for v, message in sent.items():
            self._shares[v] = self._open(message)
        enough(self._shares, self.setup, "shared their secrets")
        agreed = {v: self._agree(self._mask_key, self._public[v][1], b"masks") for v in sent}
        masked = words.copy()
        # The own mask stays on words that arrive too late, once peers have opened the masks shared with this client.
        plus = [self._seed] + [key for v, key in agreed.items() if v < self.number]
        add_masks(masked, plus, [key for v, key in agreed.items() if v > self.number])
        self._next = "check" if self.setup.malicious else "unmask"
        return self._signed("mask", masked.tobytes(), self._session)

    @_or_forget
    def check(self, message: Message) -> Message:
        """Sign the list of survivors, so that the peers see whether all were told the same."""
        self._begin("check", [message])
        self._survivors = self._believed(message)
        self._next = "unmask"
        return self._signed("check", b"", self._told())

    @_or_forget
    def unmask(self, messages: Sequence[Message]) -> Message:
        """One share for each client, once enough peers signed the same list, or from a trusted server's list."""
        self._begin("unmask", messages)
        if self.setup.malicious:
            signed = by_sender(messages, self.setup, "check", self._survivors, size=SIGNATURE)
            for message in signed.values():
                verify(message, self.setup, self._registry, self._told())
            # No two lists find so many signers (see `messages.Setup`), so the server gets both secrets of nobody.
            enough(signed, self.setup, "signed the list of survivors")
        elif len(messages) == 1:
            self._survivors = self._believed(messages[0])
        else:
            raise ProtocolError(f"Client {self.number} expects one list of survivors; it got {len(messages)}.")
        entries = []
        for v, shares in sorted(self._shares.items()):
            # Never both: together they would bare the words of one client.
            which = SEED if v in self._survivors else MASK_KEY
            entries.append(ENTRY.pack(v, which, shares[which].to_bytes(33)))
        answer = self._signed("unmask", b"".join(entries), self._told())
        self._forget()
        return answer

    def _forget(self) -> None:
        """Nothing is left to give away, as far as Python can promise that memory is let go."""
        self._shares, self._channel, self._seed, self._letter_key, self._mask_key = {}, {}, b"", None, None

    def _begin(self, stage: str, messages: Sequence[Message] = ()) -> None:
        """Only in this order, and no second try: whatever goes wrong below, the client has stopped."""
        post(messages)
        if self._next != stage:
            then = f"its next step is {self._next}" if self._next else "it has finished or stopped"
            raise ProtocolError(f"Client {self.number} was asked to {stage}, but {then}.")
        self._next = None

    def _agree(self, private: X25519PrivateKey, public: X25519PublicKey, purpose: bytes) -> bytes:
        try:
            return agree(private, public, self.setup.context + purpose)
        except ValueError:
            raise ProtocolError(f"Client {self.number} got a public key that gives no secret.") from None

    def _open(self, letter: Message) -> tuple[int, int]:
        try:
            text = unseal(self._channel[letter.sender], letter.body, self._label(letter))
        except InvalidTag:
            raise ProtocolError(f"The letter from client {letter.sender} to {letter.receiver} was changed.") from None
        return int.from_bytes(text[:33]), int.from_bytes(text[33:])

    def _believed(self, message: Message) -> list[int]:
        """The survivors a message names, if it can be true as far as this client knows."""
        by_sender([message], self.setup, "survivors", [SERVER], receiver=self.number)
        if len(message.body) % 2:
            raise ProtocolError("A list of survivors has two bytes for each; this one has an odd number.")
        named = list(struct.unpack(f">{len(message.body) // 2}H", message.body))
        if named != sorted(set(named)) or not set(named) <= self._shares.keys():
            raise ProtocolError(f"The list of survivors names somebody twice, out of order, or unknown: {named}.")
        if self.number not in named:
            raise ProtocolError(f"Client {self.number} is told that it dropped out itself.")
        enough(named, self.setup, "are said to be still there")
        return named

    def _label(self, letter: Message) -> bytes:
        """What is sealed along with a letter."""
        return self.setup.context + self._session + letter.header

    def _told(self) -> bytes:
        return told(self._session, self._survivors)

    def _signed(self, stage: str, body: bytes, also: bytes = b"") -> Message:
        """A message to the server, with a signature of it at the end if the server may lie."""
        message = Message(self.setup.round, stage, self.number, SERVER, body)
        if not self.setup.malicious:
            return message
        return replace(message, body=body + self._signing_key.sign(digest(message.header, body, self.setup, also)))

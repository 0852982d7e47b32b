"""What travels in secure aggregation, and what everybody checks about it before reading on."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from fedlab_utils._arguments import flag, number, one_of, whole
from fedlab_utils.federated.aggregators import AbandonedRound
from fedlab_utils.secagg.grid import checked_bits

SERVER = 65535  # its number in messages
STAGES = ("advertise", "share", "mask", "survivors", "check", "unmask")  # "survivors" is the server's list
HEADER = struct.Struct(">IBHH")  # round, stage, sender, receiver
SEED, MASK_KEY = 0, 1  # of which secret a share is
ENTRY = struct.Struct(">HB33s")  # client, which secret, share
SIGNATURE = 64  # bytes
KEYS = 64  # bytes: two public keys
LETTER = 12 + 66 + 16  # bytes: nonce, two shares, tag


class ProtocolError(Exception):
    """Something that the protocol forbids arrived, or too few are left: whoever raises it stops."""


class TooFewError(ProtocolError, AbandonedRound):
    """Fewer are left than the threshold. Nobody lied, and no mask is opened: the round has come to nothing."""

    parcels: tuple = ()  # what had travelled until then, where a whole round runs in one process


@dataclass(frozen=True)
class Setup:
    """What everybody knows before a round.

    Parameters
    ----------
    n
        Clients, numbered from 0.
    threshold
        How many must still be there at each stage, and how many shares open a secret. To open *both* secrets of one
        client, a server that tells one story to some and another to the rest needs twice `threshold` shares, and each
        client gives one, but its `colluding` accomplices give two: impossible if ``2 * threshold > n + colluding``.
        Against a server that follows the protocol and only looks ``threshold > colluding`` keeps the secrets (Bonawitz
        et al., section 6). We ask for one more, ``threshold > colluding + 1``, since accomplices can take their own
        words off the sum, and a sum of one is an update.
    words, bits
        How many words a client adds, and bits of a word: sums are modulo ``2**bits``.
    round
        Its number: no message of another round is accepted.
    malicious
        Whether the server may lie. Then clients sign, with keys that they know from each other by another way.
    colluding
        Clients that may tell the server all they know.
    model
        `fingerprint` of the model that the client was sent for this round; nothing if there is none. Clients with
        another model cannot read each other's letters, and where they sign, they stop at once.
    share
        Variance of the noise that each client adds to each of its words before it masks them, in steps squared; 0 for
        none (see `secagg.noise`). Clients that were told another one stop as with another model.

    Raises
    ------
    ValueError
        If the numbers do not fit, or the threshold does not protect.
    """

    n: int
    threshold: int
    words: int
    bits: int
    round: int = 0
    malicious: bool = True
    colluding: int = 0
    model: bytes = b""
    share: float = 0.0

    def __post_init__(self) -> None:
        for name, floor in (("n", 2), ("threshold", 1), ("words", 1), ("bits", 8), ("round", 0), ("colluding", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), floor))
        object.__setattr__(self, "malicious", flag("malicious", self.malicious))
        checked_fingerprint(self.model)
        object.__setattr__(self, "share", number("share", self.share))
        least = self.colluding + 2
        if self.malicious:
            least = max(least, (self.n + self.colluding) // 2 + 1)  # 2 * threshold > n + colluding
        if self.n >= SERVER:
            raise ValueError(f"n must be below {SERVER}; got {self.n}.")
        checked_bits(self.bits)
        if self.round >= 2**32:
            raise ValueError(f"round must be below 2**32; got {self.round}.")
        if not least <= self.threshold <= self.n:
            kind = "lies" if self.malicious else "only looks"
            against = f"a server that {kind} and {self.colluding} colluding of {self.n} clients"
            wrong = f"must be {least} to {self.n}" if least <= self.n else f"would have to be {least}, above {self.n}"
            raise ValueError(f"threshold {wrong} against {against}; got {self.threshold}.")

    @property
    def dtype(self) -> np.dtype:
        """Unsigned whole numbers of so many bits."""
        return np.dtype(f"<u{self.bits // 8}")

    @cached_property
    def context(self) -> bytes:
        """All of the above as bytes, part of all that is signed, sealed or agreed on: other setups do not mix."""
        numbers = (self.n, self.threshold, self.words, self.bits, self.round, self.malicious, self.colluding)
        noise = struct.pack(">d", self.share) if self.share else b""
        return b"fedlab secure aggregation" + struct.pack(">7Q", *numbers) + self.model + noise


def default_threshold(n: int) -> int:
    """Two thirds, the least that protects if up to a third of the clients may collude with a lying server."""
    return 2 * whole("n", n, 2) // 3 + 1


def fingerprint(model: np.ndarray, round: int = 0) -> bytes:
    """SHA-256 of a model and of the round that it is for: each hospital takes it of what it was sent.

    Parameters
    ----------
    model
        All its numbers, in an order that everybody keeps to.
    round
        The number of the round, from 0.

    Returns
    -------
    bytes
        32 of them, for `Setup.model`.

    Raises
    ------
    ValueError
        If `model` is no array of numbers.
    """
    numbers = np.ascontiguousarray(model)
    if numbers.dtype.kind not in "fiu":
        raise ValueError(f"model must be an array of numbers; got {type(model).__name__}.")
    about = repr((whole("round", round, 0), numbers.dtype.newbyteorder("<").str, numbers.shape))
    return sha256(about.encode() + numbers.astype(numbers.dtype.newbyteorder("<")).tobytes()).digest()


def checked_fingerprint(model) -> bytes:
    """32 bytes, or none."""
    if not isinstance(model, bytes) or len(model) not in (0, 32):
        got = f"{len(model)} bytes" if isinstance(model, bytes) else repr(model)
        raise ValueError(f"model must be the 32 bytes that fingerprint gives, or b''; got {got}.")
    return model


def checked_registry(registry) -> None:
    """A mapping from clients to their public keys, or None."""
    if registry is not None and not isinstance(registry, Mapping):
        raise ValueError(f"registry must map clients to public keys; got {type(registry).__name__}.")


def checked_setup(setup) -> Setup:
    """A `Setup`."""
    if not isinstance(setup, Setup):
        raise ValueError(f"setup must be a Setup; got {type(setup).__name__}.")
    return setup


@dataclass(frozen=True, slots=True)
class Message:
    """What travels: a header of nine bytes, and a body whose fields have fixed lengths.

    Parameters
    ----------
    round, stage
        Number of the round, and one of `STAGES`.
    sender, receiver
        Numbers of clients; that of the server is `SERVER`.
    body
        The rest.

    Raises
    ------
    ValueError
        If it does not fit into its header.
    """

    round: int
    stage: str
    sender: int
    receiver: int
    body: bytes

    def __post_init__(self) -> None:
        one_of("stage", self.stage, STAGES)
        for name, most in (("round", 2**32 - 1), ("sender", SERVER), ("receiver", SERVER)):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0))
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most}; got {getattr(self, name)}.")
        if not isinstance(self.body, bytes):
            raise ValueError(f"body must be bytes; got {type(self.body).__name__}.")

    @property
    def header(self) -> bytes:
        """Round, stage, sender, receiver."""
        return HEADER.pack(self.round, STAGES.index(self.stage), self.sender, self.receiver)

    def to_bytes(self) -> bytes:
        """As it travels."""
        return self.header + self.body

    @staticmethod
    def from_bytes(data: bytes) -> Message:
        """The message that travelled.

        Raises
        ------
        ProtocolError
            If it is too short for a header, or of no known stage.
        ValueError
            If it is not bytes at all.
        """
        if not isinstance(data, bytes | bytearray | memoryview):
            raise ValueError(f"data must be bytes; got {type(data).__name__}.")
        if len(data) < HEADER.size:
            raise ProtocolError(f"A message has at least {HEADER.size} bytes; this one has {len(data)}.")
        number, stage, sender, receiver = HEADER.unpack_from(data)
        if stage >= len(STAGES):
            raise ProtocolError(f"There is no stage {stage}; a message claims to be of it.")
        return Message(number, STAGES[stage], sender, receiver, bytes(data[HEADER.size :]))

    def __len__(self) -> int:
        return HEADER.size + len(self.body)


def register(n: int) -> tuple[dict[int, Ed25519PrivateKey], dict[int, Ed25519PublicKey]]:
    """A signing key for each client, and the registry of their public keys, which must not come from the server.

    Parameters
    ----------
    n
        Clients.

    Returns
    -------
    keys, registry
        Private and public Ed25519 keys, each by the client's number.

    Raises
    ------
    ValueError
        If `n` is no whole number of at least 1.
    """
    keys = {u: Ed25519PrivateKey.generate() for u in range(whole("n", n))}
    return keys, {u: key.public_key() for u, key in keys.items()}


def survivor_list(setup: Setup, receiver: int, survivors: Sequence[int]) -> Message:
    """What the server tells a client after masking: these are still there. A lying server tells what it likes.

    Parameters
    ----------
    setup
        What everybody knows.
    receiver
        The client's number.
    survivors
        Numbers of those who are said to be still there, rising.

    Raises
    ------
    ValueError
        If these are no numbers of clients.
    """
    if not isinstance(survivors, Collection) or isinstance(survivors, str | bytes):
        raise ValueError(f"survivors must be a list of numbers of clients; got {survivors!r}.")
    if max((whole("survivors", u, 0) for u in survivors), default=0) > SERVER:
        raise ValueError(f"survivors must be numbers up to {SERVER}; got {survivors!r}.")
    body = struct.pack(f">{len(survivors)}H", *survivors)
    return Message(checked_setup(setup).round, "survivors", SERVER, receiver, body)


def post(messages: Sequence[Message]) -> None:
    """Refuse what is no list of messages: that is no lie of a peer but a mistake of the caller.

    Raises
    ------
    ValueError
        If it is something else, or holds anything else.
    """
    several = isinstance(messages, Sequence) and not isinstance(messages, str | bytes)
    if wrong := [type(m).__name__ for m in (messages if several else [messages]) if not isinstance(m, Message)]:
        raise ValueError(f"messages must be a list of Message; got {'one with ' if several else ''}{wrong[0]}.")


def by_sender(
    messages: Sequence[Message],
    setup: Setup,
    stage: str,
    allowed: Collection[int],
    *,
    receiver: int = SERVER,
    size: int | None = None,
) -> dict[int, Message]:
    """Messages by sender, once their headers and lengths are right and nobody speaks twice.

    Raises
    ------
    ProtocolError
        If a message is of another round or stage, from or for somebody else, of another length, or not the first.
    """
    found: dict[int, Message] = {}
    for message in messages:
        m = f"A message from {message.sender}"
        if message.round != setup.round:
            raise ProtocolError(f"{m} is of round {message.round}; this is round {setup.round}.")
        if message.stage != stage:
            raise ProtocolError(f"{m} is of stage {message.stage}; expected was {stage}.")
        if message.receiver != receiver:
            raise ProtocolError(f"{m} is for {message.receiver}, and arrived at {receiver}.")
        if message.sender not in allowed:
            raise ProtocolError(f"{m} arrived at stage {stage}, where it has nothing to say.")
        if message.sender in found:
            raise ProtocolError(f"{m} arrived twice.")
        if size is not None and len(message.body) != size:
            raise ProtocolError(f"{m} has a body of {len(message.body)} bytes; expected were {size}.")
        found[message.sender] = message
    return found


def enough(who: Collection[int], setup: Setup, what: str) -> None:
    """Below the threshold nobody goes on.

    Raises
    ------
    TooFewError
        If so few are left.
    """
    if len(who) < setup.threshold:
        raise TooFewError(f"Only {len(who)} of {setup.n} clients {what}; the threshold is {setup.threshold}.")


def session(advertised: dict[int, Message]) -> bytes:
    """What tells this round from any other: the keys that all advertised for it, 32 bytes."""
    return sha256(b"".join(advertised[u].to_bytes() for u in sorted(advertised))).digest()


def told(session: bytes, survivors: Sequence[int]) -> bytes:
    """What a client signs along at "check" and "unmask": who is said to be still there, and in which session."""
    return session + struct.pack(f">{len(survivors)}H", *survivors)


def tail(setup: Setup) -> int:
    """Bytes of the signature at the end of a client's message."""
    return SIGNATURE if setup.malicious else 0


def public_keys(message: Message) -> tuple[X25519PublicKey, X25519PublicKey]:
    """For letters, for masks."""
    letters, masks = message.body[:32], message.body[32:64]
    return X25519PublicKey.from_public_bytes(letters), X25519PublicKey.from_public_bytes(masks)


def digest(header: bytes, body: bytes, setup: Setup, also: bytes = b"") -> bytes:
    """What is signed: everything about a message, and `also`, which both ends know without sending it."""
    # With its length in front, no byte of `also` can pass for one of the body.
    hashed = sha256(setup.context + header + len(also).to_bytes(8) + also)
    hashed.update(body)
    return hashed.digest()


def verify(message: Message, setup: Setup, registry: dict[int, Ed25519PublicKey] | None, also: bytes = b"") -> None:
    """That the sender in the header signed the message; nothing to do where nobody signs.

    Raises
    ------
    ProtocolError
        If the signature is wrong, or the registry does not know the sender.
    """
    if not setup.malicious:
        return
    body, signature = memoryview(message.body)[:-SIGNATURE], message.body[-SIGNATURE:]
    try:
        registry[message.sender].verify(signature, digest(message.header, body, setup, also))
    except (InvalidSignature, KeyError):
        raise ProtocolError(f"Client {message.sender} did not sign this {message.stage} message.") from None

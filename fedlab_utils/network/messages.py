"""What travels: a header of 50 bytes and raw numbers, whose length is known from the agreement before they are read.

Nothing from the wire is an archive, an object to be rebuilt or a text to be parsed, except for refusals and for the
agreement itself, which are short texts. A carrier reads `HEADER_BYTES`, asks `opened` what follows, and reads exactly
that much.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils._arguments import brief
from fedlab_utils.network.agreement import COORDINATOR, FORMAT, Agreement

# Magic, format, kind, hash of the agreement, round, sender, receiver, bytes of the payload.
_HEADER = struct.Struct(">4sBB32sIHHI")
HEADER_BYTES = _HEADER.size
MAGIC = b"FLNW"

# What the coordinator asks, and what a hospital answers to it.
ASKS = {
    "plan": "received",  # compare this agreement with yours
    "train": "update",  # an open round: the model; what changed of it
    "advertise": "keys",  # a masked round, stage by stage: see `secagg.protocol`
    "share": "letters",
    "mask": "masked",
    "check": "signature",
    "unmask": "shares",
    "final": "received",  # the model that came out
}
KINDS = (*ASKS, *dict.fromkeys(ASKS.values()), "refusal")  # a kind's number is its place here
CLIENT_STAGES = ("advertise", "share", "mask", "check", "unmask")
_SENTENCE = 400  # bytes of a refusal
_PLAN = 200_000  # bytes of an agreement
_WEIGHT = struct.Struct("<Q")


class Refused(ValueError):
    """A message that cannot be accepted, in one sentence; `other_agreement` where that is why."""

    def __init__(self, sentence: str, *, other_agreement: bool = False) -> None:
        super().__init__(sentence)
        self.other_agreement = other_agreement


@dataclass(frozen=True)
class Message:
    """One message: what it is, of which round, between whom, and its payload."""

    kind: str
    round: int
    sender: int
    receiver: int
    payload: bytes

    def __repr__(self) -> str:
        ends = f"{_end(self.sender)} to {_end(self.receiver)}"
        return f"Message({self.kind}, round {self.round}, {ends}, {len(self.payload)} bytes)"


@dataclass(frozen=True)
class Header:
    """The first bytes of a message, once they are right: the same, and how many bytes follow."""

    kind: str
    round: int
    sender: int
    receiver: int
    length: int


def pack(agreement: Agreement, message: Message) -> bytes:
    """A message as it travels.

    Raises
    ------
    ValueError
        If its payload has a length that its kind cannot have: nobody would read it.
    """
    allowed = lengths(agreement, message.kind)
    if len(message.payload) not in allowed:
        raise ValueError(f"payload of {message.kind} must have {_said(allowed)} bytes; got {len(message.payload)}.")
    number = KINDS.index(message.kind)
    ends = message.round, message.sender, message.receiver, len(message.payload)
    return _HEADER.pack(MAGIC, FORMAT, number, agreement.hash, *ends) + message.payload


def opened(agreement: Agreement, head: bytes) -> Header:
    """What the first `HEADER_BYTES` say, checked before a byte of the payload is read.

    Raises
    ------
    Refused
        With one sentence, if they are none of this agreement, or announce a length that cannot be.
    """
    if not isinstance(head, bytes | bytearray | memoryview) or len(head) < HEADER_BYTES:
        got = len(head) if isinstance(head, bytes | bytearray | memoryview) else 0
        raise Refused(f"A message begins with {HEADER_BYTES} bytes; this one has {got}.")
    magic, version, kind, agreed, round, sender, receiver, length = _HEADER.unpack_from(head)
    if magic != MAGIC:
        raise Refused("These bytes are no message of this network: they begin otherwise.")
    if version != FORMAT:
        raise Refused(f"The message is of format {version}; this is format {FORMAT}: bring both ends up to date.")
    if kind >= len(KINDS):
        raise Refused(f"There is no message of kind {kind}.")
    # A plan is sent to find out how agreements differ; a refusal may say that they do.
    if agreed != agreement.hash and KINDS[kind] not in ("plan", "refusal"):
        raise Refused(
            f"The message is of another agreement, {agreed.hex()[:12]}; here {agreement.hash.hex()[:12]} holds.",
            other_agreement=True,
        )
    allowed = lengths(agreement, KINDS[kind])
    if length not in allowed:
        raise Refused(f"A message of kind {KINDS[kind]} has {_said(allowed)} bytes; this one announces {length}.")
    asks = KINDS[kind] in ASKS
    hospital, other = (receiver, sender) if asks else (sender, receiver)
    # Who holds another agreement may know more hospitals.
    most = COORDINATOR if KINDS[kind] in ("plan", "refusal") else len(agreement.hospitals)
    if other != COORDINATOR or hospital >= most:
        raise Refused(f"A message of kind {KINDS[kind]} cannot be from {_end(sender)} to {_end(receiver)}.")
    if round > agreement.training.rounds + 1:
        raise Refused(f"The message is of round {round}; {agreement.training.rounds} rounds were agreed on.")
    return Header(KINDS[kind], round, sender, receiver, length)


def addressed(data: bytes) -> int | None:
    """The number of the hospital that a request is for in the eyes of whoever sent it; None if it has none."""
    if not isinstance(data, bytes) or len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        return None
    number = _HEADER.unpack_from(data)[6]
    return None if number == COORDINATOR else number


def unpack(agreement: Agreement, data: bytes) -> Message:
    """The message that travelled.

    Raises
    ------
    Refused
        As `opened`, and if it is longer or shorter than it says.
    """
    head = opened(agreement, data)
    if len(data) != HEADER_BYTES + head.length:
        raise Refused(f"The message announces {head.length} bytes after its header; {len(data) - HEADER_BYTES} came.")
    return Message(head.kind, head.round, head.sender, head.receiver, bytes(data[HEADER_BYTES:]))


def longest(agreement: Agreement, kinds: Sequence[str] = KINDS) -> int:
    """Bytes of the longest message of these kinds that can be, header included."""
    return HEADER_BYTES + max(max(lengths(agreement, kind), default=0) for kind in kinds)


def lengths(agreement: Agreement, kind: str) -> range:
    """The lengths that the payload of a kind of message can have.

    Letters and lists of hospitals grow with how many are there; everything else has one length.
    """
    model = 4 * agreement.d
    if kind == "final":
        return _once(model)
    if kind == "received":
        return _once(0)
    if kind == "refusal":
        return range(2, _SENTENCE + 1)
    if kind == "plan":
        return range(1, _PLAN + 1)
    if kind in ("train", "update"):  # a single update in the open has no place beside masks
        return range(0) if agreement.masked else _once(model + (_WEIGHT.size if kind == "update" else 0))
    return _of_the_protocol(agreement, kind) if agreement.masked else range(0)


def _of_the_protocol(agreement: Agreement, kind: str) -> range:
    from fedlab_utils.secagg.messages import ENTRY, HEADER, KEYS, LETTER, SIGNATURE, tail

    setup = agreement.setup(1)
    n, least, head, signed = setup.n, setup.threshold, HEADER.size, tail(setup)
    letter, keys, words = head + LETTER, head + KEYS + signed, setup.words * setup.bits // 8
    told = _between(head, 2, least, n)  # the list of those who are still there
    if kind == "unmask":
        return _between(0, head + SIGNATURE, least, n) if setup.malicious else told
    return {
        "advertise": _once(4 * agreement.d),
        "keys": _once(keys),
        "share": _between(0, keys, least, n),
        "letters": _between(0, letter, least - 1, n - 1),
        "mask": _between(0, letter, least - 1, n - 1),
        "masked": _once(head + words + signed),
        "check": told,
        "signature": _once(head + SIGNATURE),
        "shares": _between(head + signed, ENTRY.size, least, n),
    }[kind]


def _once(length: int) -> range:
    return range(length, length + 1)


def _between(base: int, each: int, least: int, most: int) -> range:
    return range(base + each * least, base + each * most + 1, each)


def _said(allowed: range) -> str:
    if not len(allowed):
        return "no length at all here, and so no"
    if len(allowed) == 1:
        return str(allowed[0])
    by = f" in steps of {allowed.step}" if allowed.step > 1 else ""
    return f"{allowed[0]} to {allowed[-1]}{by}"


def _end(number: int) -> str:
    return "the coordinator" if number == COORDINATOR else f"hospital {number}"


# ---- payloads


def numbers(row: np.ndarray) -> bytes:
    """A row of numbers as 32-bit floats, the lowest byte first."""
    return np.ascontiguousarray(row, dtype="<f4").tobytes()


def as_numbers(payload: bytes, what: str) -> np.ndarray:
    """The inverse of `numbers`, ``[d]``.

    Raises
    ------
    Refused
        If one of them is not finite.
    """
    row = np.frombuffer(payload, dtype="<f4").astype(np.float32)
    if not np.isfinite(row).all():
        raise Refused(f"The {what} holds {int((~np.isfinite(row)).sum())} numbers that are not finite.")
    return row


def update(weight: int, change: np.ndarray) -> bytes:
    """What a hospital answers in an open round: how much it counts, and what changed."""
    return _WEIGHT.pack(weight) + numbers(change)


def as_update(payload: bytes) -> tuple[int, np.ndarray]:
    """The inverse of `update`."""
    (weight,) = _WEIGHT.unpack_from(payload)
    if not 1 <= weight < 2**32:
        raise Refused(f"A hospital counts by 1 to 2**32 - 1 rows; this one says {weight}.")
    return weight, as_numbers(payload[_WEIGHT.size :], "update")


def refusal(sentence: str, *, other_agreement: bool = False) -> bytes:
    """Why an answer is none: whether the agreement is another one, and a sentence."""
    text = " ".join(sentence.split()).encode()[: _SENTENCE - 1].decode(errors="ignore")
    return bytes([other_agreement]) + (text or "Refused.").encode()


def printable(text: str) -> str:
    """What came from elsewhere, for a terminal: nothing in it moves the cursor or changes what was printed before."""
    return "".join(c for c in text if c.isprintable())


def as_refusal(payload: bytes) -> Refused:
    """The inverse of `refusal`; what cannot be printed is left out."""
    text = printable(payload[1:].decode(errors="replace"))
    return Refused(text or brief(payload[1:]), other_agreement=payload[0] == 1)

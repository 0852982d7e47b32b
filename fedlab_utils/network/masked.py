"""A masked round over the network, at both ends: `secagg`'s state machines, with messages packed end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils.network.messages import Refused
from fedlab_utils.secagg.grid import Grid, decode
from fedlab_utils.secagg.messages import (
    HEADER,
    KEYS,
    LETTER,
    SERVER,
    SIGNATURE,
    Message,
    ProtocolError,
    Setup,
    fingerprint,
    tail,
)
from fedlab_utils.secagg.protocol import Client
from fedlab_utils.secagg.server import Server

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from fedlab_utils.network.agreement import Agreement
    from fedlab_utils.network.layout import Layout

Ask = Callable[[str, Mapping[int, bytes]], dict[int, list[Message]]]  # a stage and its payloads -> what came back
Registry = Mapping[int, "Ed25519PublicKey"]


def registry_of(agreement: Agreement) -> Registry | None:
    """The public signing keys that stand in the agreement, by number; None if there are none."""
    if not agreement.network.signing_keys:
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    keys = agreement.network.signing_keys
    return {u: Ed25519PublicKey.from_public_bytes(bytes.fromhex(keys[h])) for u, h in enumerate(agreement.hospitals)}


class MaskedRound:
    """One hospital in one masked round: its secrets are in memory alone, and die with the process.

    Parameters
    ----------
    setup
        Of this round; the model that the hospital was sent is part of it.
    number, signing_key, registry
        Of the hospital: see `secagg.Client`.
    words
        Gives what is masked, when it is asked for: the local training happens then.
    """

    def __init__(
        self,
        setup: Setup,
        number: int,
        signing_key: Ed25519PrivateKey | None,
        registry: Registry | None,
        words: Callable[[], np.ndarray],
    ) -> None:
        self.round = setup.round
        self._client = Client(number, setup, signing_key=signing_key, registry=registry)
        self._words = words

    def stage(self, kind: str, payload: bytes) -> bytes:
        """The answer to one stage.

        Raises
        ------
        Refused
            If the protocol forbids what arrived.
        """
        client, signed = self._client, tail(self._client.setup)
        try:
            if kind == "advertise":
                return client.advertise().to_bytes()
            if kind == "share":
                return joined(client.share(split(payload, HEADER.size + KEYS + signed)))
            if kind == "mask":
                return client.mask(split(payload, HEADER.size + LETTER), self._words()).to_bytes()
            if kind == "check":
                return client.check(Message.from_bytes(payload)).to_bytes()
            size = HEADER.size + SIGNATURE if signed else len(payload)
            return client.unmask(split(payload, size)).to_bytes()
        except ProtocolError as error:
            raise Refused(str(error)) from error


def masked_sum(setup: Setup, model: bytes, ask: Ask, registry: Registry | None) -> tuple[np.ndarray, tuple[int, ...]]:
    """The coordinator's part: the sum of the words, and whose words are in it.

    Parameters
    ----------
    setup
        Of this round.
    model
        The payload that begins it.
    ask
        Sends each hospital its payload and gives what came back in time; who is silent once is not asked again.
    registry
        Public signing keys, with which changed messages are found.

    Raises
    ------
    TooFewError
        If fewer than the threshold answered a stage.
    ProtocolError
        If somebody sent what the protocol forbids, so that the sum cannot be trusted or opened.
    """
    server = Server(setup, registry=registry)

    def asked(stage: str, boxes: Mapping[int, bytes]) -> list[Message]:
        return [message for messages in ask(stage, boxes).values() for message in messages]

    def boxed(given: Mapping[int, list[Message]]) -> dict[int, bytes]:
        return {u: joined(messages) for u, messages in given.items()}

    sent = asked("advertise", dict.fromkeys(range(setup.n), model))
    sent = asked("share", boxed(server.keys(sent)))
    sent = asked("mask", boxed(server.forward(sent)))
    lists = {u: message.to_bytes() for u, message in server.survivors(sent).items()}
    if setup.malicious:
        sent = asked("check", lists)
        sent = asked("unmask", boxed(server.signatures(sent)))
    else:
        sent = asked("unmask", lists)
    return server.total(sent), tuple(sorted(lists))


def as_messages(payload: bytes, stage: str, round: int, sender: int) -> list[Message]:
    """What a hospital answered to a stage: one message, or its letters to the others.

    Raises
    ------
    Refused
        If one of them is of somebody or something else: who a message is from was settled by whoever carried it.
    """
    try:
        found = split(payload, HEADER.size + LETTER) if stage == "share" else [Message.from_bytes(payload)]
    except ProtocolError as error:
        raise Refused(str(error)) from error
    to_server = stage == "share" or all(m.receiver == SERVER for m in found)
    if not to_server or any((m.sender, m.round, m.stage) != (sender, round, stage) for m in found):
        raise Refused(f"An answer to {stage} holds a message of somebody or something else.")
    return found


def mean_of(agreement: Agreement, total: np.ndarray, left: int, noisy: Layout | None) -> np.ndarray:
    """The mean change ``[d]`` from a sum of words, 32-bit."""
    if noisy is not None:
        return noisy.mean(total, left, len(agreement.hospitals)).numpy()
    n = agreement.network
    return decode(total, Grid(n.limit, n.bits, n.max_rows))[0].astype(np.float32)


def setup_of(agreement: Agreement, round: int, model: np.ndarray, noisy: Layout | None) -> Setup:
    """What everybody knows before a round, counted from 1, on this model ``[d]``."""
    share = 0.0 if noisy is None else noisy.share
    return agreement.setup(round, fingerprint(model, round), share)


def split(payload: bytes, size: int) -> list[Message]:
    """Messages that were packed end to end, all of one length."""
    return [Message.from_bytes(payload[at : at + size]) for at in range(0, len(payload), size)]


def joined(messages: list[Message]) -> bytes:
    """The inverse of `split`."""
    return b"".join(message.to_bytes() for message in messages)

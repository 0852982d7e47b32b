"""The server of secure aggregation: it passes on, adds, and opens the sum."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from fedlab_utils.secagg import shamir
from fedlab_utils.secagg.masks import add_masks, agree
from fedlab_utils.secagg.messages import (
    ENTRY,
    KEYS,
    LETTER,
    MASK_KEY,
    SEED,
    SIGNATURE,
    Message,
    ProtocolError,
    Setup,
    by_sender,
    checked_registry,
    checked_setup,
    enough,
    post,
    public_keys,
    session,
    survivor_list,
    tail,
    told,
    verify,
)


class Server:
    """The server in one round: each method takes what clients sent and answers, for each client, what it gets.

    Parameters
    ----------
    setup
        What everybody knows.
    registry
        With the clients' public signing keys the server, too, finds messages that were changed on their way.

    Attributes
    ----------
    liars
        Clients that gave a false share, as those of the others prove (`shamir.combine_all`), if no more lied than half
        of the answers beyond the threshold; then the sum is right all the same. More that lie, each on its own, stop
        the round.

    Raises
    ------
    ValueError
        If an argument does not fit; of a method, before it has begun.
    ProtocolError
        By the methods, if something that the protocol forbids arrives, or too few are left.
    """

    def __init__(self, setup: Setup, *, registry: Mapping[int, Ed25519PublicKey] | None = None) -> None:
        checked_registry(registry)
        self.setup = checked_setup(setup)
        self.liars: tuple[int, ...] = ()
        self._registry = registry
        self._next: str | None = "keys"
        self._public: dict[int, tuple[X25519PublicKey, X25519PublicKey]] = {}  # of every client: letters, masks
        self._shared: list[int] = []  # who shared secrets, so that the others' words carry a mask with them
        self._masked: dict[int, Message] = {}
        self._signed: list[int] = []
        self._session = b""

    def keys(self, messages: Sequence[Message]) -> dict[int, list[Message]]:
        """To all who advertised keys, all keys."""
        self._begin("keys", messages)
        size = KEYS + tail(self.setup)
        sent = self._received(messages, "advertise", range(self.setup.n), "advertised keys", size)
        self._public = {u: public_keys(message) for u, message in sent.items()}
        self._session = session(sent)
        self._next = "forward"
        return {u: list(sent.values()) for u in sent}

    def forward(self, messages: Sequence[Message]) -> dict[int, list[Message]]:
        """To all who wrote letters, the letters to them."""
        self._begin("forward", messages)
        boxes: dict[int, list[Message]] = {u: [] for u in self._public}
        for message in messages:
            if message.receiver not in boxes:
                raise ProtocolError(f"A letter is for {message.receiver}, who did not advertise keys.")
            boxes[message.receiver].append(message)
        wrote = {message.sender for message in messages}
        for v, box in boxes.items():
            sent = by_sender(box, self.setup, "share", self._public.keys() - {v}, receiver=v, size=LETTER)
            if sent.keys() != wrote - {v}:
                raise ProtocolError(f"Some who wrote letters wrote none to client {v}.")
        enough(wrote, self.setup, "shared their secrets")
        self._shared = sorted(wrote)
        self._next = "survivors"
        return {u: boxes[u] for u in self._shared}

    def survivors(self, messages: Sequence[Message]) -> dict[int, Message]:
        """To all who sent masked words, the list of them."""
        self._begin("survivors", messages)
        size = self.setup.words * self.setup.bits // 8 + tail(self.setup)
        self._masked = self._received(messages, "mask", self._shared, "sent masked words", size, self._session)
        self._next = "signatures" if self.setup.malicious else "total"
        return {u: survivor_list(self.setup, u, sorted(self._masked)) for u in self._masked}

    def signatures(self, messages: Sequence[Message]) -> dict[int, list[Message]]:
        """To all who signed the list of survivors, all signatures."""
        self._begin("signatures", messages)
        also = told(self._session, sorted(self._masked))
        sent = self._received(messages, "check", self._masked, "signed the list of survivors", SIGNATURE, also)
        self._signed = list(sent)
        self._next = "total"
        return {u: list(sent.values()) for u in sent}

    def total(self, messages: Sequence[Message]) -> np.ndarray:
        """The sum of the survivors' words, once their shares open what has to be taken off."""
        self._begin("total", messages)
        also = told(self._session, sorted(self._masked))
        speakers = self._signed if self.setup.malicious else self._masked
        size = ENTRY.size * len(self._shared) + tail(self.setup)
        sent = self._received(messages, "unmask", speakers, "gave their shares", size, also)
        secrets = self._secrets([sent[u] for u in sorted(sent)])
        total = np.zeros(self.setup.words, dtype=self.setup.dtype)
        for message in self._masked.values():
            total += np.frombuffer(message.body, dtype=total.dtype, count=len(total))
        plus, minus = [], [secrets[v] for v in self._masked]
        for v in self._shared:
            if v not in self._masked:  # its masks with the survivors found no partner
                private = X25519PrivateKey.from_private_bytes(secrets[v])
                # A false share of a mask key shows here. One of a seed does not: a seed has no public half.
                if private.public_key() != self._public[v][1]:
                    raise ProtocolError(f"The shares of client {v}'s mask key give another key.")
                for u in self._masked:
                    key = agree(private, self._public[u][1], self.setup.context + b"masks")
                    # The opposite of what survivor u did with it.
                    (plus if u < v else minus).append(key)
        add_masks(total, plus, minus)
        return total

    def _secrets(self, messages: list[Message]) -> dict[int, bytes]:
        """Seeds of those who are still there, mask keys of those who dropped out."""
        wanted = [(v, SEED if v in self._masked else MASK_KEY) for v in self._shared]
        shares = []  # [sender][client]
        for message in messages:
            entries = list(ENTRY.iter_unpack(message.body[: ENTRY.size * len(wanted)]))
            if [entry[:2] for entry in entries] != wanted:
                raise ProtocolError(f"Client {message.sender} gave other shares than it was asked for.")
            shares.append([int.from_bytes(entry[2]) for entry in entries])
        points = [message.sender + 1 for message in messages]
        try:
            opened, false = shamir.combine_all(points, list(zip(*shares, strict=True)), self.setup.threshold)
        except ValueError:
            raise ProtocolError("The shares do not fit together: somebody gave a false one, and who is open.") from None
        self.liars = tuple(x - 1 for x in false)
        found = {}
        for (v, _), secret in zip(wanted, opened, strict=True):
            if secret >= 2**256:
                raise ProtocolError(f"The shares of client {v}'s secret do not fit together.")
            found[v] = secret.to_bytes(32)
        return found

    def _begin(self, step: str, messages: Sequence[Message]) -> None:
        post(messages)
        if self._next != step:
            then = f"its next step is {self._next}" if self._next else "it has finished or stopped"
            raise ProtocolError(f"The server was asked for {step}, but {then}.")
        self._next = None

    def _received(
        self, messages: Sequence[Message], stage: str, allowed: Collection[int], what: str, size: int, also: bytes = b""
    ) -> dict[int, Message]:
        sent = by_sender(messages, self.setup, stage, allowed, size=size)
        if self._registry is not None:
            for message in sent.values():
                verify(message, self.setup, self._registry, also)
        enough(sent, self.setup, what)
        return sent

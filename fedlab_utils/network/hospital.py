"""One hospital's part: it answers one request after the other, and refuses what was not agreed on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils._arguments import brief
from fedlab_utils.network.agreement import COORDINATOR, Agreement
from fedlab_utils.network.book import Another, Book, write_whole
from fedlab_utils.network.messages import (
    ASKS,
    CLIENT_STAGES,
    Message,
    Refused,
    addressed,
    as_numbers,
    pack,
    refusal,
    unpack,
    update,
)
from fedlab_utils.network.purse import Purse
from fedlab_utils.network.work import STREAMS, Work

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from fedlab_utils.data import Hospital
    from fedlab_utils.network.masked import MaskedRound, Registry
    from fedlab_utils.privacy import Ledger

MODEL = "model.f32"  # in a hospital's folder: the model that came out, raw 32-bit numbers


class HospitalPart:
    """What stands in one hospital, whatever carries the messages: bytes in, bytes out.

    Parameters
    ----------
    agreement
        The hospital's own copy. It takes part in this training and no other.
    hospital
        Its rows, under the name that it has in the agreement: a `data.Hospital`, or what `rows.load` gives.
    folder
        For its book and its answers; where a restart finds what was spent. Readable for its owner alone.
    signing_key, registry
        Of a masked sum whose server may lie: the hospital's own key, and the public ones of all by number. Where the
        agreement has ``network.signing_keys``, the registry is taken from there.
    budget
        The hospital's own: epsilon that all trainings in this folder may spend together, where that is less than the
        agreement promises; by default the one last given in this folder. With one, trainings of another kind of
        promise, or of none, are refused (see `purse.Purse`).
    streams
        For tests alone: random generators in the place of the operating system's (see `work.STREAMS`).
    on_write
        For tests alone: see `Book`.

    Raises
    ------
    ValueError
        With one sentence, if the rows, the keys or the book do not fit the agreement.
    """

    def __init__(
        self,
        agreement: Agreement,
        hospital: Hospital,
        folder: str | Path,
        *,
        signing_key: Ed25519PrivateKey | None = None,
        registry: Registry | None = None,
        budget: float | None = None,
        streams: Mapping[str, np.random.Generator] | None = None,
        on_write: Callable[[str], None] | None = None,
    ) -> None:
        if not isinstance(agreement, Agreement):
            raise ValueError(f"agreement must be a network.Agreement; got {brief(agreement)}.")
        if not all(hasattr(hospital, name) for name in ("name", "X_train", "y_train")):
            raise ValueError(f"hospital must be one of federation.hospitals; got {brief(hospital)}.")
        if stray := set(streams or {}) - set(STREAMS):
            raise ValueError(f"streams must be generators named {', '.join(STREAMS)}; got {brief(sorted(stray)[0])}.")
        self.agreement, self.name = agreement, hospital.name
        self.number = agreement.number(hospital.name)
        self._signing_key, self._registry = _keys(agreement, self.number, signing_key, registry)
        self._hash = agreement.hash.hex()
        self._lock = threading.Lock()
        self._masked: MaskedRound | None = None
        self.book = Book(folder, on_write=on_write)
        try:
            self.work = Work(agreement, hospital, self.book, streams or {})
            self.purse = Purse(agreement, self.work, self.book, budget)
        except BaseException:
            self.book.close()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        self.book.close()

    @property
    def ledger(self) -> Ledger:
        """Every update of this hospital, over restarts and over all trainings in its folder.

        Means and spreads in a plan that were taken from patients were released before, and stand in no line of it.
        """
        return self.purse.ledger()

    @property
    def round(self) -> int:
        """The last round of which something was charged or answered; 0 before the first."""
        lines = (*self.book.of("answered", agreement=self._hash), *self.book.of("charged", agreement=self._hash))
        return max((line["round"] for line in lines), default=0)

    @property
    def finished(self) -> bool:
        """Whether the model that came out of this training has come, now or at an earlier start."""
        return any(self.book.of("answered", agreement=self._hash, kind="final"))

    def answer(self, request: bytes) -> bytes:
        """The answer to a request: what was asked for, or a refusal with one sentence. Never raises for bad bytes.

        A request that was answered before gets the same bytes again. Two at a time wait for each other.
        """
        with self._lock:
            round = 0
            try:
                message = unpack(self.agreement, request)
                round = message.round
                return self._answer(message, request)
            except Refused as no:
                # In another agreement this hospital may have another number: it answers as it was addressed.
                number = addressed(request) if no.other_agreement else None
                return self._refuse(str(no), round, number, other_agreement=no.other_agreement)
            except Exception as error:  # its own words may hold a value of the table, and whoever asks waits
                return self._refuse(f"The hospital could not answer: {type(error).__name__} on its side.", round)

    def _answer(self, message: Message, request: bytes) -> bytes:
        kind, round = message.kind, message.round
        if kind == "plan":
            return self._compare(message)
        if kind not in ASKS or message.receiver != self.number:
            raise Refused(f"{kind} for hospital {message.receiver} is nothing that hospital {self.number} answers.")
        if not 1 <= round <= self.agreement.training.rounds + (kind == "final"):
            raise Refused(f"{kind} cannot be of round {round}: {self.agreement.training.rounds} were agreed on.")
        if round < self.round:
            raise Refused(f"Round {round} is over: this hospital is in round {self.round}.")
        try:
            known = self.book.answer(self._hash, round, kind, request)
        except Another:
            raise Refused(f"{kind} of round {round} was answered already, to another request.") from None
        if known is not None:
            return known
        if kind == "final":
            as_numbers(message.payload, "model")
            write_whole(self.book.folder / MODEL, message.payload)
            return self._kept(message, request, b"")
        if kind in CLIENT_STAGES:
            return self._stage(message, request)
        model = as_numbers(message.payload, "model")
        self.purse.charge(round, sha256(message.payload).hexdigest())
        answer = update(self.work.weight, self.work.change(model))
        return self._kept(message, request, answer, state=self.work.state)

    def _stage(self, message: Message, request: bytes) -> bytes:
        """One stage of a masked round."""
        kind, round = message.kind, message.round
        if kind == "advertise":
            self._masked = self._begin(round, message.payload)
        if self._masked is None or self._masked.round != round:
            raise Refused(f"This hospital has no secrets of round {round}, and takes no further part in it.")
        try:
            answer = self._masked.stage(kind, message.payload)
        except Refused:
            self._masked = None
            raise
        state = {"state": self.work.state} if kind == "mask" else {}
        return self._kept(message, request, answer, **state)

    def _begin(self, round: int, payload: bytes) -> MaskedRound:
        from fedlab_utils.network.masked import MaskedRound, setup_of

        model, digest = as_numbers(payload, "model"), sha256(payload).hexdigest()
        self.purse.allow(round)  # before the others count on its masks
        noisy = self.work.layout if self.agreement.noisy_sum else None

        def words() -> np.ndarray:
            self.purse.charge(round, digest)
            return self._fitting(self.work.change(model), round)

        setup = setup_of(self.agreement, round, model, noisy)
        return MaskedRound(setup, self.number, self._signing_key, self._registry, words)

    def _fitting(self, change: np.ndarray, round: int) -> np.ndarray:
        limit = self.agreement.network.limit
        if not self.agreement.noisy_sum and not np.abs(change).max() <= limit:
            raise Refused(f"An update is beyond network.limit = {limit:g}; agree on a larger one, or on a smaller lr.")
        return self.work.words(change, round)

    def _kept(self, message: Message, request: bytes, payload: bytes, **about) -> bytes:
        """Pack an answer, and have it on the disk before anybody gets it."""
        answer = self._packed(ASKS[message.kind], message.round, payload)
        return self.book.keep(self._hash, message.round, message.kind, request, answer, **about)

    def _compare(self, message: Message) -> bytes:
        """Say how the coordinator's agreement differs from this hospital's."""
        try:
            other = Agreement.from_toml(message.payload.decode())
        except ValueError as error:
            raise Refused(f"The coordinator's agreement cannot be read: {error}", other_agreement=True) from None
        if found := self.agreement.differences(other):
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            raise Refused(found[0] + more, other_agreement=True)
        return self._packed("received", message.round, b"")

    def _refuse(self, sentence: str, round: int, number: int | None = None, *, other_agreement: bool = False) -> bytes:
        return self._packed("refusal", round, refusal(sentence, other_agreement=other_agreement), number)

    def _packed(self, kind: str, round: int, payload: bytes, number: int | None = None) -> bytes:
        number = self.number if number is None else number
        return pack(self.agreement, Message(kind, round, number, COORDINATOR, payload))


def _keys(agreement: Agreement, number: int, signing_key, registry):
    """Signing key and registry of a masked sum, once they fit together."""
    if not agreement.masked:
        return None, None
    from fedlab_utils.network.masked import registry_of

    agreed = registry_of(agreement)
    registry = agreed if agreed is not None else registry
    if not agreement.network.malicious:
        return None, None
    if signing_key is None or registry is None:
        raise ValueError("signing_key and registry must be given for a masked sum, unless network.malicious is false.")
    known = registry.get(number)
    if known is None or known.public_bytes_raw() != signing_key.public_key().public_bytes_raw():
        raise ValueError("signing_key must be the one whose public half the others know for this hospital.")
    return signing_key, registry

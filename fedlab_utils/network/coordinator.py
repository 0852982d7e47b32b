"""The coordinator's part: it sends the model, adds up what comes back, and writes down who came.

It holds no rows. In an open round it sees every update; in a masked one the sum alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, function
from fedlab_utils._arguments import path as checked_path
from fedlab_utils.network.agreement import COORDINATOR, Agreement
from fedlab_utils.network.book import write_whole
from fedlab_utils.network.carriers import Carrier
from fedlab_utils.network.messages import (
    ASKS,
    Message,
    Refused,
    as_numbers,
    as_refusal,
    as_update,
    numbers,
    pack,
    unpack,
)

if TYPE_CHECKING:
    import pandas as pd

    from fedlab_utils.network.layout import Layout
    from fedlab_utils.network.masked import Registry

_STATE = "coordinator.json"


@dataclass(frozen=True)
class RoundRecord:
    """What a round was.

    Attributes
    ----------
    number
        From 1.
    came
        Whose updates are in the model.
    silent
        Who did not answer in time, at some stage.
    refused
        Who answered with a sentence instead, and the sentence.
    seconds
        How long it took.
    down, up
        Bytes that each hospital was sent, and that came from it.
    nothing
        Why the round came to nothing and the model stayed as it was; empty if it did not.
    """

    number: int
    came: tuple[str, ...]
    silent: tuple[str, ...]
    refused: Mapping[str, str]
    seconds: float
    down: Mapping[str, int]
    up: Mapping[str, int]
    nothing: str = ""

    def __str__(self) -> str:
        kilobytes = (sum(self.down.values()) + sum(self.up.values())) / 1000
        told = [f"round {self.number}: {', '.join(self.came) or 'nobody'}"]
        told += [f"silent: {', '.join(self.silent)}"] if self.silent else []
        told += [f"{name} refused: {sentence}" for name, sentence in self.refused.items()]
        told += [f"model unchanged: {self.nothing}"] if self.nothing else []
        return "; ".join([*told, f"{self.seconds:.1f} s, {kilobytes:,.1f} kB"])


@dataclass(frozen=True)
class NetworkRun:
    """What came of a training between machines.

    Attributes
    ----------
    agreement
        What it was.
    models
        The model before the first round and after each one, ``[rounds + 1, d]``, 32-bit.
    history
        A record of each round.
    told
        Who has the final model.
    """

    agreement: Agreement
    models: np.ndarray
    history: tuple[RoundRecord, ...]
    told: tuple[str, ...] = ()

    def __repr__(self) -> str:
        missing = sum(bool(r.silent or r.refused) for r in self.history)
        return (
            f"NetworkRun({self.agreement.name!r}, {len(self.agreement.hospitals)} hospitals, {len(self.history)} "
            f"rounds, {missing} with somebody missing)"
        )

    def to_params(self, round: int = -1) -> fleet.Params:
        """The model after a round, by default after the last one, as `fleet` has it."""
        return _shape(self.agreement).like(torch.from_numpy(self.models[[round]].copy()))

    def frame(self) -> pd.DataFrame:
        """`history` as a table: a row for each round and hospital."""
        import pandas as pd

        rows = []
        for r in self.history:
            for h in self.agreement.hospitals:
                state = "came" if h in r.came else "refused" if h in r.refused else "silent"
                about = dict(down=r.down.get(h, 0), up=r.up.get(h, 0), seconds=r.seconds, why=r.refused.get(h, ""))
                rows.append(dict(round=r.number, hospital=h, state=state, **about))
        return pd.DataFrame(rows)


@dataclass
class _Turn:
    """One round as it goes on: who is still asked, and what travelled."""

    number: int
    left: list[str]
    silent: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    down: dict[str, int] = field(default_factory=dict)
    up: dict[str, int] = field(default_factory=dict)

    def gone(self, name: str, why: str | None = None) -> None:
        self.left.remove(name)
        if why is None:
            self.silent.append(name)
        else:
            self.refused[name] = why


class Coordinator:
    """Whoever adds up.

    Parameters
    ----------
    agreement
        The same that every hospital holds.
    carrier
        Brings messages there and back: see `carriers.Carrier`.
    folder
        Where it writes down how far it has come, after each round; a coordinator that is started again goes on from
        there. None writes nothing.
    registry
        Public signing keys of a masked sum, by number, with which changed messages are found at once; by default those
        of the agreement.

    Raises
    ------
    ValueError
        If the folder is that of another training.
    """

    def __init__(
        self,
        agreement: Agreement,
        carrier: Carrier,
        folder: str | Path | None = None,
        *,
        registry: Registry | None = None,
    ) -> None:
        if not isinstance(agreement, Agreement):
            raise ValueError(f"agreement must be a network.Agreement; got {brief(agreement)}.")
        if not callable(getattr(carrier, "ask", None)):
            raise ValueError(f"carrier must have a method ask, as network.InProcess(parts) has; got {brief(carrier)}.")
        self.agreement, self.carrier, self._registry = agreement, carrier, registry
        self._noisy: Layout | None = None
        if agreement.masked:
            from fedlab_utils.network.layout import layout
            from fedlab_utils.network.masked import registry_of

            agreed = registry_of(agreement)
            self._registry = agreed if agreed is not None else registry
            self._noisy = layout(agreement) if agreement.noisy_sum else None
        self.folder = None if folder is None else Path(checked_path("folder", folder))
        self.models = [_shape(agreement).flat()[0].numpy()]
        self.history: list[RoundRecord] = []
        self._compared: dict[str, str] = {}
        if self.folder is not None:
            self._resume()

    def run(self, on_round: Callable[[RoundRecord], bool | None] | None = None) -> NetworkRun:
        """Train all rounds that are left, and hand out the model.

        Parameters
        ----------
        on_round
            Called with the record of each round; returns True to stop.
        """
        function("on_round", on_round)
        for number in range(len(self.history) + 1, self.agreement.training.rounds + 1):
            record = self.step(number)
            if on_round is not None and on_round(record) is True:
                break
        turn = _Turn(len(self.history) + 1, list(self.agreement.hospitals))
        told = self._ask(turn, "final", dict.fromkeys(turn.left, numbers(self.models[-1])))
        return NetworkRun(self.agreement, np.stack(self.models), tuple(self.history), tuple(told))

    def step(self, number: int) -> RoundRecord:
        """One round: everybody is asked, and who answers in time is in the model."""
        start, model, nothing = time.perf_counter(), self.models[-1], ""
        turn = _Turn(number, list(self.agreement.hospitals))
        came: tuple[str, ...] = ()
        if self.agreement.masked:
            change, came, nothing = self._masked(turn, model)
        else:
            change, came = self._open(turn, model)
            nothing = "" if came else "nobody answered"
        if not nothing:
            model = model + change
        parts = tuple(turn.silent), dict(turn.refused), time.perf_counter() - start, turn.down, turn.up
        record = RoundRecord(number, came, *parts, nothing)
        self.models.append(model)
        self.history.append(record)
        self._save()
        return record

    def _open(self, turn: _Turn, model: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
        found = {}
        for name, payload in self._ask(turn, "train", dict.fromkeys(turn.left, numbers(model))).items():
            try:
                found[name] = as_update(payload)
                if found[name][0] != 1 and not self.agreement.by_rows:
                    raise Refused(f"Every hospital counts the same here; {name} says {found.pop(name)[0]}.")
            except Refused as no:
                turn.gone(name, str(no))
        if not found:
            return np.zeros_like(model), ()
        # In the order of the agreement, whoever answered first, so that equal answers give equal bits.
        weight = np.array([found[name][0] for name in found])
        updates = torch.from_numpy(np.stack([found[name][1] for name in found]))
        share = torch.from_numpy(weight / weight.sum()).to(updates)
        mean = torch.zeros(1, self.agreement.d)
        mean.index_add_(0, torch.zeros(len(found), dtype=torch.long), updates * share.unsqueeze(1))
        return mean[0].numpy(), tuple(found)

    def _masked(self, turn: _Turn, model: np.ndarray) -> tuple[np.ndarray, tuple[str, ...], str]:
        from fedlab_utils.network.masked import as_messages, masked_sum, mean_of, setup_of
        from fedlab_utils.secagg.messages import ProtocolError

        names = self.agreement.hospitals

        def ask(kind: str, boxes: Mapping[int, bytes]) -> dict[int, list]:
            there = {names[u]: payload for u, payload in boxes.items() if names[u] in turn.left}
            found = {}
            for name, payload in self._ask(turn, kind, there).items():
                try:
                    found[names.index(name)] = as_messages(payload, kind, turn.number, names.index(name))
                except Refused as no:
                    turn.gone(name, str(no))
            return found

        setup = setup_of(self.agreement, turn.number, model, self._noisy)
        try:
            total, who = masked_sum(setup, numbers(model), ask, self._registry)
            change = mean_of(self.agreement, total, len(who), self._noisy)
        except (ProtocolError, ValueError) as error:
            return np.zeros_like(model), (), str(error)
        return change, tuple(names[u] for u in who), ""

    def _ask(self, turn: _Turn, kind: str, payloads: Mapping[str, bytes]) -> dict[str, bytes]:
        """What hospitals answered to one kind of request; whoever did not is gone for this round."""
        requests = {name: self._packed(kind, turn.number, name, payload) for name, payload in payloads.items()}
        for name, request in requests.items():
            turn.down[name] = turn.down.get(name, 0) + len(request)
        answers, found = self.carrier.ask(requests, self.agreement.deadline), {}
        for name in self.agreement.hospitals:
            if name not in requests:
                continue
            if name not in answers:
                turn.gone(name)
                continue
            turn.up[name] = turn.up.get(name, 0) + len(answers[name] or b"")
            try:
                found[name] = self._read(answers[name], kind, turn.number, name)
            except Refused as no:
                turn.gone(name, self._why(no, name))
        return found

    def _read(self, answer: bytes, kind: str, number: int, name: str) -> bytes:
        """The payload of the one answer that is right here."""
        message = unpack(self.agreement, answer)
        if message.sender != self.agreement.number(name):
            raise Refused(f"{name} sent a message of hospital {message.sender}.")
        if message.kind == "refusal":
            raise as_refusal(message.payload)
        if message.kind != ASKS[kind] or message.round != number:
            raise Refused(f"{name} sent {message.kind} of round {message.round} in answer to {kind} of {number}.")
        return message.payload

    def _why(self, no: Refused, name: str) -> str:
        """Why a hospital refused; of another agreement it is asked, once, what differs."""
        if not no.other_agreement:
            return str(no)
        if name not in self._compared:
            self._compared[name] = str(no)
            request = self._packed("plan", 0, name, self.agreement.to_toml().encode())
            answer = self.carrier.ask({name: request}, self.agreement.deadline).get(name)
            try:
                if answer is not None:
                    self._read(answer, "plan", 0, name)
            except Refused as difference:
                self._compared[name] = str(difference)
        return self._compared[name]

    def _packed(self, kind: str, number: int, name: str, payload: bytes) -> bytes:
        message = Message(kind, number, COORDINATOR, self.agreement.number(name), payload)
        return pack(self.agreement, message)

    # ---- over restarts

    def _save(self) -> None:
        if self.folder is None:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = len(self.history)
        write_whole(self.folder / _model_file(number), numbers(self.models[-1]))
        state = dict(agreement=self.agreement.hash.hex(), history=[asdict(r) for r in self.history])
        write_whole(self.folder / _STATE, json.dumps(state).encode())

    def _resume(self) -> None:
        place = self.folder / _STATE
        if not place.exists():
            return
        try:
            state = json.loads(place.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(
                f"folder must hold {_STATE} as it was written; that in {str(self.folder)!r} is damaged."
            ) from None
        if state["agreement"] != self.agreement.hash.hex():
            raise ValueError(
                f"folder must be that of this training; {str(self.folder)!r} is of another agreement: move it away."
            )
        for line in state["history"]:
            lists = {name: tuple(line[name]) for name in ("came", "silent")}
            record = RoundRecord(**line | lists)
            content = (self.folder / _model_file(record.number)).read_bytes()
            if len(content) != 4 * self.agreement.d:
                raise ValueError(
                    f"folder must hold the model of round {record.number} whole; {str(self.folder)!r} does not."
                )
            self.models.append(as_numbers(content, "model"))
            self.history.append(record)


def _model_file(number: int) -> str:
    return f"model-{number:04d}.f32"


def _shape(agreement: Agreement) -> fleet.Params:
    """The untrained network that everybody starts from."""
    return fleet.init(1, agreement.sizes, seed=agreement.seed)

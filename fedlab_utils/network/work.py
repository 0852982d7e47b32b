"""What a hospital does with a model: train it on its own rows, exactly as `federated.train` has it done."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import torch

from fedlab_utils import fleet
from fedlab_utils.fleet.batches import n_steps
from fedlab_utils.fleet.randomness import LOCAL_WORK, ROUNDING, generator, noise_generator
from fedlab_utils.network.layout import Layout, layout

if TYPE_CHECKING:
    from fedlab_utils.data import Hospital
    from fedlab_utils.network.agreement import Agreement
    from fedlab_utils.network.book import Book

STREAMS = ("work", "noise")  # that a test may hand in: batches and DP-SGD; shares of noise in a masked sum


class Work:
    """One hospital's training rows, its random numbers, and what it makes of a model.

    Random numbers of a training without a promise go on from round to round; where they are stands in the book, so that
    a restart changes nothing. Those of a promise come from the operating system and are nowhere written down.

    Parameters
    ----------
    agreement, hospital, book
        As in `HospitalPart`.
    streams
        For tests alone: generators in the place of the operating system's, by name (`STREAMS`).

    Raises
    ------
    ValueError
        If the rows do not fit the agreement, or are others than when this training began.
    """

    def __init__(
        self, agreement: Agreement, hospital: Hospital, book: Book, streams: Mapping[str, np.random.Generator]
    ) -> None:
        self.agreement, self.book = agreement, book
        self.number = agreement.number(hospital.name)
        self.X, self.y = hospital.X_train, hospital.y_train
        self._streams = dict(streams)
        if not len(self.y) or self.X.shape[1] != agreement.sizes[0]:
            raise ValueError(
                f"hospital must have training rows of {agreement.sizes[0]} features, as agreed; got "
                f"{tuple(self.X.shape)}."
            )
        if self.by_record and agreement.settings.promise.delta * self.rows >= 1:
            raise ValueError(
                f"promise.delta must be below 1/{self.rows}, one over the training rows of {hospital.name}, and better "
                f"far below; got {agreement.settings.promise.delta:g}."
            )
        if agreement.masked and self.weight > (agreement.network.max_rows or self.weight):
            raise ValueError(f"network.max_rows must be at least all rows together; {self.weight} are in one hospital.")
        patients = getattr(hospital, "train_patients", None)
        self.records = 1 if patients is None else int(np.unique(patients, return_counts=True)[1].max())
        self._same_rows()
        self._start = fleet.init(1, agreement.sizes, seed=agreement.seed)
        self._rng = self._generator()

    @property
    def rows(self) -> int:
        """Training rows."""
        return len(self.y)

    @property
    def weight(self) -> int:
        """How much this hospital counts in a mean."""
        return self.rows if self.agreement.by_rows else 1

    @property
    def by_record(self) -> bool:
        """Whether the training itself adds noise."""
        return self.agreement.settings.promise.unit == "record"

    @property
    def rate(self) -> float:
        """Chance with which a row is in a step, under a promise to records."""
        return min(self.agreement.training.batch_size, self.rows) / self.rows

    @property
    def steps(self) -> int:
        """Of a round."""
        t, sampling = self.agreement.training, "poisson" if self.by_record else "shuffle"
        return int(n_steps(np.array(t.local_epochs), np.array(self.rows), t.batch_size, sampling))

    @cached_property
    def noise(self) -> float:
        """The noise multiplier with which all agreed rounds keep a promise to records.

        It stands in the book once it was computed, which takes a while.
        """
        known = next(self.book.of("noise", agreement=self.agreement.hash.hex(), rows=self.rows), None)
        if known is None:
            in_all = self.agreement.training.rounds * self.steps
            found = self.agreement.promise.noise(sampling=self.rate, steps=in_all)
            known = self.book.write("noise", agreement=self.agreement.hash.hex(), rows=self.rows, value=found)
        return known["value"]

    @cached_property
    def layout(self) -> Layout:
        """How a noisy sum is laid out in words; in the book, as `noise`."""
        known = next(self.book.of("layout", agreement=self.agreement.hash.hex()), None)
        if known is None:
            known = self.book.write("layout", agreement=self.agreement.hash.hex(), **layout(self.agreement).as_dict())
        return Layout.from_dict(known)

    def change(self, model: np.ndarray) -> np.ndarray:
        """What a round of training changes of a model ``[d]``, ``[d]``."""
        t, promise = self.agreement.training, self.agreement.settings.promise
        given = self._start.like(torch.from_numpy(model).unsqueeze(0))
        besides = {}
        if self.by_record:
            besides = dict(max_norm=promise.clip, noise_multiplier=self.noise, sampling="poisson")
        how = dict(steps=self.steps, batch_size=t.batch_size, lr=t.lr, loss=self.agreement.task, seed=[self._rng])
        with fleet.one_thread():
            trained = fleet.fit(given, self.X, self.y, [np.arange(self.rows)], **how, **besides)
        return (trained.flat() - given.flat())[0].numpy()

    def words(self, change: np.ndarray, round: int) -> np.ndarray:
        """What is masked, for a round counted from 1: the change on a grid, with this hospital's rows or its noise."""
        if self.agreement.noisy_sum:
            coins = self._coins(round).random(len(change))
            source = self._streams.get("noise") or noise_generator()
            return self.layout.words(change, coins, source, self.agreement.setup(round).dtype)
        from fedlab_utils.secagg.grid import Grid, encode

        n = self.agreement.network
        return encode(change, self.weight, Grid(n.limit, n.bits, n.max_rows), self._coins(round))

    @property
    def state(self) -> dict | None:
        """Where the random numbers are, for the book; None where they are nobody's business."""
        return None if self.agreement.settings.promise.unit != "none" else _plain(self._rng.bit_generator.state)

    def _coins(self, round: int) -> np.random.Generator:
        """Coins of the rounding, as one process draws them for all hospitals in turn: no promise rests on these."""
        rng = generator(self.agreement.seed, 0, ROUNDING)
        rng.bit_generator.advance(((round - 1) * len(self.agreement.hospitals) + self.number) * self.agreement.d)
        return rng

    def _generator(self) -> np.random.Generator:
        if self.agreement.settings.promise.unit != "none":
            return self._streams.get("work") or noise_generator()
        rng = generator(self.agreement.seed, 0, LOCAL_WORK, self.number)
        for line in self.book.of("answered", agreement=self.agreement.hash.hex()):
            if line.get("state"):
                rng.bit_generator.state = line["state"]
        return rng

    def _same_rows(self) -> None:
        """Refuse a table that changed in the middle of a training: what was charged speaks of the first one."""
        found = sha256(repr(tuple(self.X.shape)).encode())
        for part in (self.X, self.y):
            found.update(part.contiguous().numpy())
        known = next(self.book.of("began", agreement=self.agreement.hash.hex()), None)
        if known is None:
            self.book.write("began", agreement=self.agreement.hash.hex(), rows=found.hexdigest())
        elif known["rows"] != found.hexdigest():
            raise ValueError("hospital must have the training rows with which this training began; these are others.")


def _plain(state: dict) -> dict:
    """The state of a generator as JSON holds it."""
    return {k: _plain(v) if isinstance(v, dict) else v if isinstance(v, str) else int(v) for k, v in state.items()}

"""The seam between hospitals and server: what an aggregator is, and the sum in the open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Here

UPDATES = "model updates of each round"
BYTES = 4  # a parameter travels as a 32-bit float


@dataclass(frozen=True)
class Round:
    """One round of all runs, as an aggregator gets it besides the updates.

    Attributes
    ----------
    here
        Who takes part: the run and the hospital of each update.
    weights
        How much each update counts, ``[participants]``.
    rngs
        For each run a generator that goes on from round to round.
    in_full
        For each run whether it needs the whole protocol, or a short way to the same result will do.
    model
        The global models before this round, ``[runs, D]``.
    memory
        An aggregator's own notes, one dict for all runs, empty before the first round and kept until the last.
    """

    here: Here
    weights: np.ndarray
    rngs: Sequence[np.random.Generator]
    in_full: Sequence[bool]
    model: Tensor
    memory: dict

    def dense(self, updates: Tensor) -> tuple[Tensor, Tensor]:
        """The updates ``[participants, D]`` as ``[runs, hospitals, D]``, and who is here ``[runs, hospitals]``."""
        run, hospital = torch.from_numpy(self.here.run), torch.from_numpy(self.here.hospital)
        shape = (len(self.here.members), self.here.n_hospitals)
        present, full = torch.zeros(shape, dtype=torch.bool), updates.new_zeros(*shape, updates.shape[1])
        present[run, hospital], full[run, hospital] = True, updates
        return full, present


class Aggregator:
    """What stands between hospitals and server. Subclasses say how updates come together, and who learns what.

    A subclass has `aggregate`, for one run, or `together`, for all runs of a fleet at once.

    Attributes
    ----------
    linear
        Whether the result is the weighted mean (up to a grid). `HospitalDP` needs that: its noise is made for a sum.
    sees
        What the server learns of the updates, in the words of the ledger; None if nothing.
    delivers
        Whether the messages bring the mean to the hospitals and not to the server, which then sends no global model
        after the first round.
    shows_participants
        Whether the messages tell hospitals who takes part.
    """

    linear: ClassVar[bool] = True
    sees: ClassVar[str | None] = UPDATES
    delivers: ClassVar[bool] = False
    shows_participants: ClassVar[bool] = False

    def grid_step(self, n: int, rows: int) -> float:
        """Refuse what cannot work for n hospitals with so many rows; the step to which a single update is rounded.

        Asked for every round before anything is trained. 0 stands for no rounding.
        """
        return 0.0

    def aggregate(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """The mean ``[d]`` of one run's updates, and the messages of the round.

        Parameters
        ----------
        updates : array [n, d]
            Of the n hospitals that take part.
        weights : array [n]
            How much each of them counts.
        alive : bool array [n]
            Who of them is still there.
        rng
            Random numbers, where the rule needs some.

        Returns
        -------
        mean : array [d]
        messages : list of tuple
            Sender and receiver (their positions, or "server"), what it is, bytes, values (None: not kept).
        """
        raise NotImplementedError

    def quick(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """A short way to what `aggregate` returns, for runs whose messages nobody reads; values may be missing."""
        return self.aggregate(updates, weights, alive=alive, rng=rng)

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
        """The mean of every run ``[runs, D]`` and its messages, run by run; nobody looks at runs without participants.

        In these messages ends are numbers of hospitals (or "server"): positions that `aggregate` gives become those.

        Parameters
        ----------
        updates
            ``[participants, D]``.
        this
            Who they are from, and what else there is.
        """
        n_runs, d = this.model.shape
        mean, messages = updates.new_zeros(n_runs, d), []
        for r, members in enumerate(this.here.members):
            if not len(members):
                messages.append([])
                continue
            mine = this.here.run == r
            act = self.aggregate if this.in_full[r] else self.quick
            everybody = np.ones(len(members), dtype=bool)
            own = updates[torch.from_numpy(mine)].numpy()
            total, sent = act(own, this.weights[mine], alive=everybody, rng=this.rngs[r])
            if np.shape(total) != (d,):
                raise ValueError(f"aggregator must return the mean as {d} numbers; its shape is {np.shape(total)}.")
            mean[r] = torch.as_tensor(total)
            named = [[end if isinstance(end, str) else members[end] for end in m[:2]] for m in sent]
            messages.append([(*ends, *m[2:]) for ends, m in zip(named, sent, strict=True)])
        return mean, messages


class OpenSum(Aggregator):
    """No aggregator: the server gets every update and takes the weighted mean (McMahan et al., Algorithm 1)."""

    def aggregate(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        came = np.flatnonzero(alive)
        mean = np.average(updates[came], axis=0, weights=weights[came])
        return mean, [(int(h), "server", "update", BYTES * updates.shape[1], updates[h]) for h in came]

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
        run, weight = this.here.run, this.weights
        share = torch.from_numpy(weight / np.bincount(run, weight)[run]).to(updates)
        mean = torch.zeros_like(this.model)
        mean.index_add_(0, torch.from_numpy(run), updates * share.unsqueeze(1))
        sent, n_bytes = iter(updates.numpy()), BYTES * updates.shape[1]
        return mean, [[(h, "server", "update", n_bytes, next(sent)) for h in m] for m in this.here.members]


class _Undeclared(Aggregator):
    """An object that has `aggregate` and declares nothing, or only some things; the rest counts as seen."""

    linear, shows_participants = False, True

    def __init__(self, way) -> None:
        self.aggregate = way.aggregate
        self.quick = getattr(way, "quick", way.aggregate)
        for name in ("linear", "sees", "delivers", "shows_participants", "grid_step", "together"):
            if hasattr(way, name):
                setattr(self, name, getattr(way, name))


def combine(aggregator: Aggregator, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
    """What an aggregator makes of one round, ``[runs, D]`` and messages; 0 where nobody came."""
    mean, messages = aggregator.together(updates, this)
    if tuple(mean.shape) != tuple(this.model.shape) or len(messages) != len(this.model):
        want, got = tuple(this.model.shape), tuple(mean.shape)
        raise ValueError(f"aggregator must return means {want} and the messages of each run; got {got}.")
    nobody = [not len(members) for members in this.here.members]
    if any(nobody):
        mean = mean.masked_fill(torch.tensor(nobody).unsqueeze(1), 0)
    return mean, messages


def as_aggregator(way) -> Aggregator:
    """What was given as `aggregator`, with everything declared that the rounds ask for; None is `OpenSum`."""
    if way is None:
        return OpenSum()
    if isinstance(way, Aggregator):
        return way
    if isinstance(way, type) or not callable(getattr(way, "aggregate", None)):
        raise ValueError(f"aggregator must be an object with a method aggregate, such as SecureSum(); got {way!r}.")
    return _Undeclared(way)

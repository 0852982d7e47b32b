"""The seam between hospitals and server: what an aggregator is, and the sum in the open."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import uploads

if TYPE_CHECKING:
    from fedlab_utils.data import Federation
    from fedlab_utils.federated.plan import Here
    from fedlab_utils.privacy import HospitalDP, RecordDP
    from fedlab_utils.privacy.accounting import Events

UPDATES = "model updates of each round"
BYTES = 4  # a parameter travels as a 32-bit float
ABANDONED = "round abandoned"  # kind of message, of no bytes: how a round ended that came to nothing


class AbandonedRound(Exception):
    """What `aggregate` raises when too few are left for a mean: the model stays as it is, and training goes on.

    An aggregator that may do so shows who takes part (`Aggregator.shows_participants`).

    Parameters
    ----------
    why
        A sentence.
    messages
        What was sent until then, as `Aggregator.aggregate` gives it.
    """

    def __init__(self, why: str, messages: Sequence[tuple] = ()) -> None:
        super().__init__(why)
        self.messages = list(messages)


@dataclass(frozen=True)
class Inside:
    """The noise of one run that hospitals add themselves, inside the sum, so that nobody holds a sum without it.

    Attributes
    ----------
    noise_multiplier
        Standard deviation of the noise that counts, in units of `max_norm`, for those who know one share of it.
    max_norm
        No update is longer than this once it is rounded.
    step
        The coarsest step to which an update is rounded in any round, in units of the updates.
    events
        What one round costs, as an event of dp-accounting, by who sees it: "server", "every hospital".
    sources
        Where the noise of each hospital comes from.
    largest
        Larger numbers of one hospital are cut off before noise comes to them; None stands for `max_norm`.
    widen
        Steps by which rounding can lengthen a change, where the noise pays for that.
    """

    noise_multiplier: float
    max_norm: float
    step: float
    events: Mapping[str, object]
    sources: Sequence[np.random.Generator] = ()
    largest: float | None = None
    widen: float = 0.0


@dataclass(frozen=True)
class Round:
    """One round of all runs, as an aggregator gets it besides the updates.

    Attributes
    ----------
    number
        Of the round, counted from 1.
    here
        Whose updates came: the run and the hospital of each.
    silent
        Who takes part too and fell silent after its work, before its update was due.
    weight
        How much the update of a hospital counts, ``[runs, hospitals]``.
    rngs
        For each run a generator that goes on from round to round.
    in_full
        For each run whether it needs the whole protocol, or a short way to the same result will do.
    kept
        For each run whether the values in its messages are kept; else nobody looks at them.
    model
        The global models before this round, ``[runs, D]``.
    memory
        An aggregator's own notes, one dict for all runs, empty before the first round and kept until the last.
    inside
        For each run the noise that hospitals add themselves, if the aggregator can have them do so (`adds_noise`).
    sizes
        For each run the bytes of one update as it travels in the open; if none are given, of its 32-bit numbers.
    learn
        How the global models change if the server trains them, ``[runs, D]``, in a training: ``learn(X, y)``, with
        `steps`, `lr` and `batch_size` where they are not those of the hospitals.
    """

    number: int
    here: Here
    silent: Here
    weight: np.ndarray
    rngs: Sequence[np.random.Generator]
    in_full: Sequence[bool]
    kept: Sequence[bool]
    model: Tensor
    memory: dict
    inside: Sequence[Inside] = ()
    sizes: Sequence[int] = ()
    learn: Callable[..., Tensor] | None = None

    @property
    def weights(self) -> np.ndarray:
        """How much each update counts, ``[participants]``."""
        return self.weight[self.here.run, self.here.hospital]

    def of_run(self, run: int, updates: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of one run the hospitals that take part, their updates (0 for the silent ones), and who is still there."""
        came, silent = self.here.members[run], self.silent.members[run]
        own = updates[torch.from_numpy(self.here.run == run)].numpy()
        if not len(silent):
            return came, own, np.ones(len(came), dtype=bool)
        order = np.argsort(np.concatenate([came, silent]))
        padded = np.concatenate([own, np.zeros((len(silent), own.shape[1]), own.dtype)])
        return np.concatenate([came, silent])[order], padded[order], (order < len(came))

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
    largest
        Largest size of a number in an update.
    adds_noise
        Whether the noise of `HospitalDP` is inside the sum, in shares that hospitals add themselves (`noise_inside`).
    holds
        Which rows of patients the server has besides, in the words of the ledger; None if none.
    """

    def __new__(cls, *arguments, **named) -> Aggregator:
        """Refuse a rule inside a sum that hides updates, and the other way round."""
        _refuse_rule_and_mask([cls, *(type(a) for a in (*arguments, *named.values()) if isinstance(a, Aggregator))])
        return super().__new__(cls)

    linear: ClassVar[bool] = True
    sees: ClassVar[str | None] = UPDATES
    delivers: ClassVar[bool] = False
    shows_participants: ClassVar[bool] = False
    adds_noise: ClassVar[bool] = False
    holds: ClassVar[str | None] = None

    largest: ClassVar[float] = math.inf

    def needs(self, n: int) -> int:
        """How many of n hospitals must still be there when updates are due; with fewer a round is abandoned."""
        return 1

    def in_round(self, this: Round, run: int) -> Aggregator:
        """Itself as it works in one run of a round, where the number of the round or its model make a difference."""
        return self

    def refuse(self, federation: Federation) -> None:
        """Refuse a federation for which it cannot work, before anything is trained."""

    def grid_step(self, n: int, rows: int) -> float:
        """Refuse what cannot work for n hospitals with so many rows; the step to which a single update is rounded.

        Asked for every round before anything is trained. 0 stands for no rounding.
        """
        return 0.0

    def noise_inside(
        self,
        sizes: Collection[int],
        d: int,
        promise: HospitalDP | RecordDP,
        steps: int,
        *,
        sampling: float = 1.0,
        largest: float | None = None,
        beside: Events = (),
    ) -> Inside:
        """The noise that keeps a promise for so many rounds, for an aggregator with `adds_noise`.

        Parameters
        ----------
        sizes
            How many hospitals take part in a round, all numbers that occur.
        d
            Numbers in an update.
        promise, steps
            What is promised, and in how many rounds the most diligent hospital takes part. With `RecordDP` updates
            are sums over records, each of which adds at most `max_grad_norm`.
        sampling
            Chance with which a unit is in the sum of a round, by its own coin flip.
        largest
            Largest size of one number of a hospital; by default the clip norm.
        beside
            What else is released about the same units under the same budget, as events of dp-accounting and counts.
        """
        raise NotImplementedError

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

        Raises
        ------
        AbandonedRound
            If too few are alive for a mean.
        """
        raise NotImplementedError

    def quick(
        self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple]]:
        """A short way to what `aggregate` returns, for runs whose messages nobody reads; values may be missing."""
        return self.aggregate(updates, weights, alive=alive, rng=rng)

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
        """The mean of every run ``[runs, D]`` and its messages, run by run; nobody looks at runs without updates.

        Of a run whose round is abandoned the last messages are those of `abandoned`.
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
        for r in range(n_runs):
            members, own, alive = this.of_run(r, updates)
            if not len(members) or (not alive.any() and self.needs(len(members)) < 2):
                messages.append([])
                continue
            way = self.in_round(this, r)
            act = way.aggregate if this.in_full[r] else way.quick
            try:
                total, sent = act(own, this.weight[r, members], alive=alive, rng=this.rngs[r])
            except AbandonedRound as stopped:
                total, sent = np.zeros(d), stopped.messages + abandoned(range(len(members)))
            if np.shape(total) != (d,):
                raise ValueError(f"aggregator must return the mean as {d} numbers; its shape is {np.shape(total)}.")
            mean[r] = torch.as_tensor(total)
            named = [[end if isinstance(end, str) else members[end] for end in m[:2]] for m in sent]
            messages.append([(*ends, *m[2:]) for ends, m in zip(named, sent, strict=True)])
        return mean, messages


class OpenSum(Aggregator):
    """No aggregator: the server gets every update and takes the weighted mean (McMahan et al., Algorithm 1)."""

    def aggregate(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        checked, weights, alive = uploads(updates, weights, alive)
        came = np.flatnonzero(alive)
        mean = np.average(checked[came], axis=0, weights=weights[came])
        return mean, [(int(h), "server", "update", BYTES * checked.shape[1], updates[h]) for h in came]

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
        run, weight = this.here.run, this.weights
        share = torch.from_numpy(weight / np.bincount(run, weight)[run]).to(updates)
        mean = torch.zeros_like(this.model)
        mean.index_add_(0, torch.from_numpy(run), updates * share.unsqueeze(1))
        return mean, in_the_open(updates, this)


def in_the_open(updates: Tensor, this: Round) -> list[list[tuple]]:
    """For each run the messages of a round in which every hospital sends the server its update."""
    sent, sizes = iter(updates.numpy()), this.sizes or [BYTES * updates.shape[1]] * len(this.here.members)
    members = zip(this.here.members, sizes, strict=True)
    return [[(h, "server", "update", n_bytes, next(sent)) for h in m] for m, n_bytes in members]


_METHODS = ("needs", "in_round", "refuse", "grid_step", "noise_inside", "together")


class _Undeclared(Aggregator):
    """An object that has `aggregate` and declares nothing, or only some things; the rest counts as seen."""

    linear, shows_participants = False, True

    def __init__(self, way) -> None:
        self.aggregate = way.aggregate
        self.quick = getattr(way, "quick", way.aggregate)
        declared = ("linear", "sees", "delivers", "shows_participants", "adds_noise", "holds", "largest", *_METHODS)
        for name in declared:
            if hasattr(way, name):
                setattr(self, name, getattr(way, name))


def abandoned(members: Iterable[int]) -> list[tuple]:
    """How a round ends for those in it that came to nothing: a note to each of them, which takes no bytes."""
    return [("server", h, ABANDONED, 0, None) for h in members]


def combine(aggregator: Aggregator, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
    """What an aggregator makes of one round, ``[runs, D]`` and messages; 0 where nobody came or it was abandoned."""
    mean, messages = aggregator.together(updates, this)
    if tuple(mean.shape) != tuple(this.model.shape) or len(messages) != len(this.model):
        want, got = tuple(this.model.shape), tuple(mean.shape)
        raise ValueError(f"aggregator must return means {want} and the messages of each run; got {got}.")
    messages = [list(sent) for sent in messages]
    nothing = [not len(own) or came_to_nothing(sent) for own, sent in zip(this.here.members, messages, strict=True)]
    if any(nothing):
        mean = mean.masked_fill(torch.tensor(nothing).unsqueeze(1), 0)
    return mean, messages


def came_to_nothing(messages: Sequence[tuple]) -> bool:
    """Whether these messages of a round end with its being abandoned."""
    return bool(messages) and messages[-1][2] == ABANDONED


def as_aggregator(way) -> Aggregator:
    """What was given as `aggregator`, with everything declared that the rounds ask for; None is `OpenSum`."""
    if way is None:
        return OpenSum()
    if isinstance(way, Aggregator):
        return way
    if isinstance(way, list | tuple):
        _refuse_rule_and_mask([type(one) for one in way if isinstance(one, Aggregator)])
    if isinstance(way, type) or not callable(getattr(way, "aggregate", None)):
        raise ValueError(f"aggregator must be an object with a method aggregate, such as SecureSum(); got {way!r}.")
    return _Undeclared(way)


def _refuse_rule_and_mask(ways: Sequence[type[Aggregator]]) -> None:
    """Refuse a rule together with what hides the updates that it would have to look at."""
    rule = next((way for way in ways if not way.linear), None)
    mask = next((way for way in ways if way.linear and way.sees != UPDATES), None)
    if rule and mask:
        raise ValueError(
            f"aggregator must be either {rule.__name__} or {mask.__name__}: a rule looks at each hospital's update, "
            f"and {mask.__name__} is there so that the server sees none of them."
        )

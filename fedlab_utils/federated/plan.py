"""What is settled before the first round: rows, steps, random numbers, and who takes part when."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import whole
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated import clock, personal, strategies
from fedlab_utils.federated.aggregators import as_aggregator
from fedlab_utils.federated.cheating import Cheats
from fedlab_utils.federated.protections import protection_for
from fedlab_utils.federated.setting import Setting
from fedlab_utils.fleet.batches import n_steps
from fedlab_utils.fleet.randomness import (
    DROPOUT,
    LOCAL_WORK,
    LOTTERY,
    ROUNDING,
    SERVER_BATCHES,
    generator,
    noise_generator,
)

_KEY = secrets.token_hex(8)  # of this process


@dataclass(frozen=True)
class Here:
    """Who takes part in one round.

    Attributes
    ----------
    members
        For each run the numbers of its hospitals, rising.
    """

    members: list[np.ndarray]
    n_hospitals: int

    @cached_property
    def run(self) -> np.ndarray:
        """The run of each participant, ``[participants]``: first those of run 0, then those of run 1, ..."""
        return np.repeat(np.arange(len(self.members)), [len(m) for m in self.members])

    @cached_property
    def hospital(self) -> np.ndarray:
        """The hospital of each participant, ``[participants]``."""
        return np.concatenate(self.members)

    def only(self, some: np.ndarray) -> Here:
        """Some of the participants, ``[participants]`` true or false."""
        ends = np.cumsum([len(m) for m in self.members])[:-1]
        own = zip(self.members, np.split(some, ends), strict=True)
        return Here([members[chosen] for members, chosen in own], self.n_hospitals)


class Plan:
    """One fleet of trainings, settled before the first round: settings x replicates x hospitals, side by side.

    Run r has setting ``r // replicates`` and replicate (seed) ``r % replicates``. Settings differ only in `PER_RUN`,
    and their promises of privacy are all of one kind.

    Attributes
    ----------
    size, steps, weight
        ``[runs, hospitals]``: training rows, local steps in a round, and how much a hospital counts in the mean.
    late
        ``[runs, hospitals]``: who is too slow for the deadline, and silent in every round.
    schedule
        For each run and round the hospitals that take part. Settled in advance, since noise is calibrated for it.
    silent
        For each run ``[rounds, hospitals]``: whether a hospital's line fails in a round in which it takes part.
    rows_a_patient
        For each run the most training rows of one patient.
    planned
        ``[runs, hospitals]``: in how many rounds each takes part.
    grid
        ``[runs]``: the step to which the aggregator rounds an update; 0 if it does not.
    rules, server_lr
        For each run its strategy, and what the server multiplies its step by.
    start, travels
        The untrained models, one a run, and which of their numbers are shared.
    clocks
        For each run its simulated time, if it has one.
    protection
        What the promises do to each round.
    cheats
        What hospitals that cheat do, and the table of all training rows with theirs.

    Parameters
    ----------
    federations, settings
        A federation for each replicate, and the settings.
    without
        For each setting the number of a hospital that never takes part, or None; by default all do.
    """

    @fleet.one_thread()
    def __init__(
        self, federations: Sequence[Federation], settings: Sequence[Setting], without: Sequence[int | None] = ()
    ) -> None:
        shared = settings[0]
        self.federations, self.settings = federations, settings
        self.rounds, self.seed, self.batch_size = shared.rounds, shared.seed, shared.batch_size
        self.optimiser, self.hidden, self.record = shared.optimiser, shared.hidden, shared.record
        self.personal = shared.personal
        self.names, self.task = [h.name for h in federations[0].hospitals], federations[0].task
        self.aggregator = as_aggregator(shared.aggregator)

        replicates = len(federations)
        self.seed_of = np.tile(np.arange(replicates), len(settings))  # of each run
        self.runs = range(len(self.seed_of))
        self.promises = [s.privacy for s in settings for _ in range(replicates)]
        protection = protection_for(self.promises[0], self.aggregator)

        def each_run(name: str) -> np.ndarray:
            return np.repeat([np.nan if getattr(s, name) is None else getattr(s, name) for s in settings], replicates)

        self.lr, self.proximal, self.share = each_run("lr"), each_run("proximal"), each_run("participation")
        self._dropout, self.server_lr = each_run("dropout"), each_run("server_lr")
        self.rules = [strategies.as_strategy(s.strategy) for s in settings for _ in range(replicates)]

        *table, self.rows = training_rows([f.hospitals for f in federations])
        self.cheats = Cheats([s.attack for s in settings], federations, *table, self.rows)
        self.X, self.y = self.cheats.X, self.cheats.y
        self.size = np.array([[len(r) for r in own] for own in self.rows])[self.seed_of]
        self.rows_a_patient = [federations[s].rows_a_patient or 1 for s in self.seed_of]
        self.batch = np.minimum(self.batch_size, self.size)  # rows in a batch
        epochs, given = each_run("local_epochs")[:, None], each_run("local_steps")[:, None]
        in_epochs = n_steps(epochs, self.size, self.batch_size, protection.sampling)
        self.steps = np.where(np.isnan(given), in_epochs, given).astype(int)
        self.clocks = [s.clock for s in settings for _ in range(replicates)]
        self.steps, self.late = clock.steps_in_time(self)
        by_rows = np.array([rule.by_rows and not protection.counts_alike for rule in self.rules])
        self.weight = np.where(by_rows[:, None], self.size, 1)
        left_out = [w for w in without or [None] * len(settings) for _ in range(replicates)]
        for r, w in enumerate(left_out):
            self.weight[r, [] if w is None else w] = 0
        strategies.refuse_unequal_steps(self)

        self._set_streams(left_out)

        draw = _by_coins if protection.tosses_coins else _by_number
        lottery = zip((self.source(r, LOTTERY) for r in self.runs), self.share, strict=True)
        self.schedule = [draw(rng, self.rounds, len(self.names), share) for rng, share in lottery]
        self.schedule = [[m[m != w] for m in own] for own, w in zip(self.schedule, left_out, strict=True)]
        self.silent = [self._line_fails(r) for r in self.runs]
        self.planned = np.array([np.bincount(np.concatenate(own), minlength=len(self.names)) for own in self.schedule])
        self.grid = np.array([self._coarsest(r) for r in self.runs])
        self.start = starts(federations, self.hidden, self.seed)[torch.from_numpy(self.seed_of)]
        self.travels = personal.travels(self.personal, self.start)
        self.protection = protection(self)

    def _set_streams(self, left_out: Sequence[int | None]) -> None:
        """Random numbers: a run's own stream if it makes a promise, the operating system's if it is to be secure."""
        self._secure = [p is not None and p.secure for p in self.promises]
        prints = {id(f): fingerprint(f) for f in self.federations}
        prints = [prints[id(f)] for f in self.federations]
        self.stamps = [stamp(own) for own in prints]
        self._apart = [self.settings[r // len(self.federations)].own_stream(prints[self.seed_of[r]]) for r in self.runs]
        self._apart = [own and own + (() if w is None else (w,)) for own, w in zip(self._apart, left_out, strict=True)]
        self._work = [[self.source(r, LOCAL_WORK, h) for h in range(len(self.names))] for r in self.runs]
        self.aggregator_rngs = [generator(self.seed, s, ROUNDING) for s in self.seed_of]  # no promise rests on these
        self._server_rngs = [generator(self.seed, s, SERVER_BATCHES) for s in self.seed_of]  # nor on these

    @property
    def d(self) -> int:
        """How many numbers of a model travel."""
        return self.travels.stop - self.travels.start

    def source(self, run: int, *stream: int) -> np.random.Generator:
        """Random numbers of one run, from the seed or the operating system's."""
        if self._secure[run]:
            return noise_generator()
        return generator(self.seed, self.seed_of[run], *stream, *self._apart[run])

    def here(self, turn: int) -> Here:
        """Who takes part in round `turn`, counted from 0."""
        return Here([own[turn] for own in self.schedule], len(self.names))

    def came(self, turn: int) -> np.ndarray:
        """Who of those in round `turn` does not fall silent before its update is due, ``[participants]``."""
        here = self.here(turn)
        return ~np.array(self.silent)[here.run, turn, here.hospital]

    def local_training(self, given: fleet.Params, here: Here, **others) -> fleet.Params:
        """What each participant makes of its model on its own rows, all in one call of `fleet.fit`.

        `others` are more of its arguments, or others in their place.
        """
        pairs = list(zip(here.run, here.hospital, strict=True))
        if not pairs:  # nobody came: nothing to train
            return given
        arguments = dict(
            X=self.X,
            y=self.y,
            rows=[self.cheats.rows(r, h) for r, h in pairs],
            steps=self.steps[here.run, here.hospital],
            batch_size=self.batch_size,
            lr=self.lr[here.run],
            optimiser=self.optimiser,
            proximal=self.proximal[here.run],
            loss=self.task,
            seed=[self._work[r][h] for r, h in pairs],
        )
        return fleet.fit(given, **arguments | others)

    def learn(
        self, model: fleet.Params, X: Tensor, y: Tensor, *, steps: int | None, lr: float | None, batch_size: int | None
    ) -> Tensor:
        """How models change if the server trains them on rows of its own, ``[runs, shared]``; None: as hospitals do."""
        work = dict(steps=steps or np.rint(self.steps.mean(1)).astype(int), batch_size=batch_size or self.batch_size)
        work |= dict(lr=lr or self.lr, optimiser=self.optimiser, loss=self.task, seed=self._server_rngs)
        trained = fleet.fit(model, X, y, [np.arange(len(y))] * len(self.runs), **work)
        return (trained.flat() - model.flat())[:, self.travels]

    def _line_fails(self, run: int) -> np.ndarray:
        """Which hospital falls silent in which round, ``[rounds, hospitals]``: by coins of its own, or as too slow.

        Raises
        ------
        ValueError
            If too few are left in every single round.
        """
        chance, n = self._dropout[run], len(self.names)
        silent = np.tile(self.late[run], (self.rounds, 1))
        if not chance and not silent.any():
            return silent
        if chance:
            coins = [self.source(run, DROPOUT, h).random(self.rounds) for h in range(n)]
            silent |= np.stack(coins, axis=1) < chance
        some = [(len(m), (~silent[turn, m]).sum()) for turn, m in enumerate(self.schedule[run]) if len(m)]
        if some and all(left < self.aggregator.needs(n_here) for n_here, left in some):
            needs = min(self.aggregator.needs(n_here) for n_here, _ in some)
            why = f"dropout={chance:g}" if not self.late[run].any() else f"deadline={self.clocks[run].deadline:g}"
            raise ValueError(
                f"{why} leaves fewer than {needs} hospitals (the threshold of the aggregator) in every "
                f"round of seed {self.seed_of[run]}: nothing would be trained."
            )
        return silent

    def _coarsest(self, run: int) -> float:
        """The coarsest step of the aggregator's grid in one run, once it agrees to all of its rounds."""
        sums = {(len(m), int(self.weight[run][m].sum())) for m in self.schedule[run] if len(m)}
        return max((self.aggregator.grid_step(*own) for own in sorted(sums)), default=0.0)


def fingerprint(federation: Federation) -> bytes:
    """What no other training rows have (SHA-256): features and labels of every hospital, in their order."""
    found = sha256()
    for h in federation.hospitals:
        found.update(repr((h.name, tuple(h.X_train.shape))).encode())
        for rows in (h.X_train, h.y_train):
            found.update(rows.contiguous().numpy())
    return found.digest()


def stamp(fingerprint: bytes) -> int:
    """What a run may keep of a `fingerprint`: outside of this process it says nothing about anybody's patients."""
    return hash((_KEY, fingerprint))


def _by_number(rng: np.random.Generator, rounds: int, n: int, share: float) -> list[np.ndarray]:
    """A fixed number of hospitals in each round, at least one."""
    number_here = max(1, int(np.rint(share * n)))
    return [np.sort(rng.choice(n, number_here, replace=False)) for _ in range(rounds)]


def _by_coins(rng: np.random.Generator, rounds: int, n: int, share: float) -> list[np.ndarray]:
    """Each hospital by its own coin flip, which is what the accounting of `HospitalDP` assumes."""
    return [np.flatnonzero(rng.random(n) < share) for _ in range(rounds)]


def hospital_rng(seed: int, run: int, hospital: int) -> np.random.Generator:
    """The random numbers with which a hospital shuffles in one run of `train`, from its first round on.

    This holds without a promise of privacy; a private training draws numbers of its own.
    """
    return generator(seed, run, LOCAL_WORK, hospital)


def as_replicates(federation: Federation | Sequence[Federation], seeds: int) -> list[Federation]:
    """One federation a run, from one of them or from a list of splits of one table."""
    if isinstance(federation, Federation):
        return [federation] * whole("seeds", seeds)
    several = isinstance(federation, list | tuple) and federation
    if not several or not all(isinstance(f, Federation) for f in federation):
        raise ValueError("federation must be a Federation, or a list of them from data.replicates.")

    def about(f: Federation) -> tuple:
        return f.task, f.feature_names, [h.name for h in f.hospitals]

    if any(about(f) != about(federation[0]) for f in federation):
        raise ValueError("federation must be replicates of one table: same task, features and hospitals.")
    return list(federation)


def training_rows(hospitals: Sequence[Sequence[Hospital]]) -> tuple[Tensor, Tensor, list[list[np.ndarray]]]:
    """One table of all training rows, and for each run and hospital the numbers of its rows in it."""
    distinct = {id(h): h for own in hospitals for h in own}
    end = np.cumsum([len(h.y_train) for h in distinct.values()])
    rows = {k: np.arange(e - len(h.y_train), e) for (k, h), e in zip(distinct.items(), end, strict=True)}
    X, y = (torch.cat([getattr(h, name) for h in distinct.values()]) for name in ("X_train", "y_train"))
    return X, y, [[rows[id(h)] for h in own] for own in hospitals]


def starts(federations: Sequence[Federation], hidden: Sequence[int], seed: int) -> fleet.Params:
    """Untrained networks, one a run."""
    first = federations[0]
    n_out = len(first.classes) if first.task == "multiclass" else 1
    return fleet.init(len(federations), (first.n_features, *hidden, n_out), seed=seed)

"""What is settled before the first round: arguments, rows, steps, random numbers, and who takes part when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import flag, number, one_of, whole, widths
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated import compression, strategies
from fedlab_utils.federated.aggregators import Aggregator, as_aggregator
from fedlab_utils.federated.protections import Promise, protection_for, refuse
from fedlab_utils.fleet.batches import n_steps
from fedlab_utils.fleet.randomness import DROPOUT, LOCAL_WORK, LOTTERY, ROUNDING, generator, noise_generator
from fedlab_utils.privacy import HospitalDP

# What may differ in one fleet.
PER_RUN = "local_epochs local_steps lr strategy server_lr proximal compress participation dropout privacy".split()


@dataclass(frozen=True)
class Setting:
    """How to train: the arguments of `federated.train` that describe it, with the same defaults, each checked.

    Raises
    ------
    ValueError
        If an argument does not fit, in one sentence.
    """

    rounds: int = 20
    local_epochs: int = 1
    local_steps: int | None = None
    batch_size: int = 32
    lr: float = 0.1
    optimiser: fleet.Optimiser = "sgd"
    hidden: Sequence[int] = (64,)
    strategy: str | strategies.Strategy = "fedavg"
    server_lr: float = 1.0
    proximal: float = 0.0
    compress: compression.Quantise | compression.TopK | None = None
    participation: float = 1.0
    dropout: float = 0.0
    privacy: Promise = None
    aggregator: Aggregator | None = None
    seed: int = 0
    record: bool = False

    @classmethod
    def of(cls, arguments: dict) -> Setting:
        """The setting of arguments given by name; a name that `train` does not know is refused."""
        known = [field.name for field in fields(cls)]
        if unknown := arguments.keys() - set(known):
            raise ValueError(f"{sorted(unknown)} are not arguments of train; those are {', '.join(known)}.")
        return cls(**arguments)

    def __post_init__(self) -> None:
        strategies.as_strategy(self.strategy)
        one_of("optimiser", self.optimiser, ("sgd", "momentum", "adam"))
        participation = number("participation", self.participation)
        if not 0 < participation <= 1:
            raise ValueError(f"participation must be a share above 0 and at most 1; got {participation}.")
        dropout = number("dropout", self.dropout)
        if dropout >= 1:
            raise ValueError(f"dropout must be a chance from 0 to below 1; got {dropout}.")
        way = as_aggregator(self.aggregator)
        if way.shows_participants and getattr(self.privacy, "participants_hidden", False):
            raise ValueError("participants_hidden must be False: this aggregator may show hospitals who takes part.")
        if isinstance(self.privacy, HospitalDP) and not way.linear:
            raise ValueError(
                "privacy must not be HospitalDP here: its noise is made for a mean, which this aggregator "
                "does not say it gives (linear = True)."
            )
        if way.adds_noise and not isinstance(self.privacy, HospitalDP):
            raise ValueError(
                "privacy must be privacy.HospitalDP(...) with this aggregator, under which hospitals add its noise to "
                f"their sum; got {self.privacy!r}."
            )
        if isinstance(self.privacy, HospitalDP) and self.privacy.max_update_norm > way.largest:
            raise ValueError(
                f"max_update_norm must be at most limit = {way.largest:g} of the aggregator, as one number may be as "
                f"long as the whole update; got {self.privacy.max_update_norm:g}: raise limit (with bits to keep its "
                "grid fine), or clip shorter, which costs less with a smaller lr."
            )
        if way.delivers and participation < 1:
            raise ValueError(f"participation must be 1 where hospitals alone can read the sum; got {participation}.")
        if way.delivers and isinstance(self.privacy, HospitalDP):
            raise ValueError("privacy must not be HospitalDP here: hospitals would read the sum before it is noised.")
        for name in ("rounds", "local_epochs", "batch_size"):
            self._keep(name, whole(name, getattr(self, name)))
        if self.local_steps is not None:
            self._keep("local_steps", whole("local_steps", self.local_steps))
        for name in ("lr", "proximal", "server_lr"):
            self._keep(name, number(name, getattr(self, name)))
        self._keep("participation", participation)
        self._keep("dropout", dropout)
        self._keep("record", flag("record", self.record))
        self._keep("hidden", widths(self.hidden))
        self._keep("seed", whole("seed", self.seed, least=0))
        strategies.refuse(self, way)
        compression.refuse(self, way)

    def _keep(self, name: str, value) -> None:
        object.__setattr__(self, name, value)  # a frozen dataclass may settle its own fields

    def fits_beside(self, other: Setting) -> bool:
        """Whether one fleet can train both: equal in all that is not a number of training or of one promise.

        Who counts hospitals alike has a fleet of its own: beside others, sums are grouped differently in the processor,
        and the last bits of known results would change.
        """
        shared = (field.name for field in fields(self) if field.name not in PER_RUN)
        kinds = [(type(s.privacy), strategies.as_strategy(s.strategy).by_rows) for s in (self, other)]
        return kinds[0] == kinds[1] and all(getattr(self, name) == getattr(other, name) for name in shared)

    def own_stream(self, rows: bytes) -> tuple[int, ...]:
        """What sets the random numbers of a private training apart from those of every other one.

        Promises compose only if each release has coins and noise of its own: two models with the same noise differ
        by what the noise should hide. So neither another setting nor other patients ever meet the same noise, under
        one seed; only the very same training repeats itself. Without a promise, settings share their random numbers,
        so that their differences are not due to luck.

        Parameters
        ----------
        rows
            What stands for the training rows of *all* hospitals (`fingerprint`): from the second round on a hospital
            works on what the others sent, so its own rows do not suffice.
        """
        if self.privacy is None:
            return ()
        # What changes nothing is left out: trainings from before it could be set keep their noise.
        nothing = {"server_lr": 1, "compress": None}
        beside = ("aggregator", "record", "seed", *(k for k, v in nothing.items() if getattr(self, k) == v))
        about = sorted((k, _described(v)) for k, v in vars(self).items() if k not in beside)
        about.append(("aggregator", _described(self.aggregator)))
        return (int.from_bytes(sha256(repr(about).encode() + rows).digest()),)


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
    start
        The untrained models, one a run.
    protection
        What the promises do to each round.
    """

    def __init__(self, federations: Sequence[Federation], settings: Sequence[Setting]) -> None:
        shared = settings[0]
        self.federations, self.settings = federations, settings
        self.rounds, self.seed, self.batch_size = shared.rounds, shared.seed, shared.batch_size
        self.optimiser, self.hidden, self.record = shared.optimiser, shared.hidden, shared.record
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

        self.X, self.y, self.rows = training_rows([f.hospitals for f in federations])
        self.size = np.array([[len(r) for r in own] for own in self.rows])[self.seed_of]
        self.rows_a_patient = [federations[s].rows_a_patient or 1 for s in self.seed_of]
        self.batch = np.minimum(self.batch_size, self.size)  # rows in a batch
        epochs, given = each_run("local_epochs")[:, None], each_run("local_steps")[:, None]
        in_epochs = n_steps(epochs, self.size, self.batch_size, protection.sampling)
        self.steps = np.where(np.isnan(given), in_epochs, given).astype(int)
        by_rows = np.array([rule.by_rows and not protection.counts_alike for rule in self.rules])
        self.weight = np.where(by_rows[:, None], self.size, 1)
        strategies.refuse_unequal_steps(self)

        # Random numbers: a run's own stream if it makes a promise, the operating system's if it is to be secure.
        self._secure = [p is not None and p.secure for p in self.promises]
        prints = {id(f): fingerprint(f) for f in federations} if any(self.promises) else {}
        prints = [prints.get(id(f), b"") for f in federations]
        self._apart = [settings[r // replicates].own_stream(prints[self.seed_of[r]]) for r in self.runs]
        self._work = [[self.source(r, LOCAL_WORK, h) for h in range(len(self.names))] for r in self.runs]
        self.aggregator_rngs = [generator(self.seed, s, ROUNDING) for s in self.seed_of]  # no promise rests on these

        draw = _by_coins if protection.tosses_coins else _by_number
        lottery = zip((self.source(r, LOTTERY) for r in self.runs), self.share, strict=True)
        self.schedule = [draw(rng, self.rounds, len(self.names), share) for rng, share in lottery]
        self.silent = [self._line_fails(r) for r in self.runs]
        self.planned = np.array([np.bincount(np.concatenate(own), minlength=len(self.names)) for own in self.schedule])
        self.grid = np.array([self._coarsest(r) for r in self.runs])
        self.start = starts(federations, self.hidden, self.seed)[torch.from_numpy(self.seed_of)]
        self.protection = protection(self)

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
            rows=[self.rows[self.seed_of[r]][h] for r, h in pairs],
            steps=self.steps[here.run, here.hospital],
            batch_size=self.batch_size,
            lr=self.lr[here.run],
            optimiser=self.optimiser,
            proximal=self.proximal[here.run],
            loss=self.task,
            seed=[self._work[r][h] for r, h in pairs],
        )
        return fleet.fit(given, **arguments | others)

    def _line_fails(self, run: int) -> np.ndarray:
        """Which hospital's line fails in which round, ``[rounds, hospitals]``: each by coins of its own.

        Raises
        ------
        ValueError
            If too few are left in every single round.
        """
        chance, n = self._dropout[run], len(self.names)
        if not chance:
            return np.zeros((self.rounds, n), dtype=bool)
        coins = [self.source(run, DROPOUT, h).random(self.rounds) for h in range(n)]
        silent = np.stack(coins, axis=1) < chance
        some = [(len(m), (~silent[turn, m]).sum()) for turn, m in enumerate(self.schedule[run]) if len(m)]
        if some and all(left < self.aggregator.needs(n_here) for n_here, left in some):
            needs = min(self.aggregator.needs(n_here) for n_here, _ in some)
            raise ValueError(
                f"dropout={chance:g} leaves fewer than {needs} hospitals (the threshold of the aggregator) in every "
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


def _described(part) -> str:
    """What an argument is and how it is set, in the same words on every machine."""
    if type(part).__repr__ is not object.__repr__:
        return repr(part)
    about = re.sub(r" at 0x[0-9a-f]+", "", repr(getattr(part, "__dict__", {})))  # addresses say nothing, and change
    return type(part).__qualname__ + ("" if about == "{}" else about)


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


def settled(federations: Sequence[Federation], arguments: dict) -> Setting:
    """The setting of arguments given by name, once it also fits these federations."""
    setting = Setting.of(arguments)
    refuse(setting.privacy, federations)
    return setting


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

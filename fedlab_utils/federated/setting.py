"""How to train: the arguments of `federated.train`, checked by themselves and against each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256

from fedlab_utils import fleet
from fedlab_utils._arguments import flag, number, one_of, whole, widths
from fedlab_utils.data import Federation
from fedlab_utils.federated import clock, compression, personal, strategies
from fedlab_utils.federated.aggregators import Aggregator, as_aggregator
from fedlab_utils.federated.cheating import Attack, as_attack
from fedlab_utils.federated.protections import Promise, refuse
from fedlab_utils.privacy import HospitalDP

# What may differ in one fleet.
PER_RUN = "local_epochs local_steps lr strategy server_lr proximal compress participation dropout".split()
PER_RUN += "clock attack privacy".split()


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
    personal: str | None = None
    participation: float = 1.0
    dropout: float = 0.0
    clock: clock.Clock | None = None
    attack: Attack | None = None
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
        personal.refuse(self)
        as_attack(self.attack)

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
        nothing = {"server_lr": 1, "compress": None, "personal": None, "attack": None}
        nothing |= {"clock": self.clock} if getattr(self.clock, "deadline", None) is None else {}
        beside = ("aggregator", "record", "seed", *(k for k, v in nothing.items() if getattr(self, k) == v))
        about = sorted((k, _described(v)) for k, v in vars(self).items() if k not in beside)
        about.append(("aggregator", _described(self.aggregator)))
        return (int.from_bytes(sha256(repr(about).encode() + rows).digest()),)


def settled(federations: Sequence[Federation], arguments: dict) -> Setting:
    """The setting of arguments given by name, once it also fits these federations."""
    setting = Setting.of(arguments)
    refuse(setting.privacy, federations)
    clock.refuse(setting.clock, federations)
    for federation in {id(f): f for f in federations}.values():
        as_aggregator(setting.aggregator).refuse(federation)
        if setting.attack is not None:
            setting.attack.refuse(federation)
    return setting


def _described(part) -> str:
    """What an argument is and how it is set, in the same words on every machine."""
    if type(part).__repr__ is not object.__repr__:
        return repr(part)
    about = re.sub(r" at 0x[0-9a-f]+", "", repr(getattr(part, "__dict__", {})))  # addresses say nothing, and change
    return type(part).__qualname__ + ("" if about == "{}" else about)

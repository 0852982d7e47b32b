"""What coordinator and hospitals hold before anything starts: one file that all of them have read.

It says who takes part, how columns become numbers, how long is trained and how, what is promised, and through what the
sum travels. Parts that a system has too (data, training, promise, sum) are those of `system.Settings`, with the same
keys. Every message carries the `Agreement.hash`, so that who holds another agreement is refused by everybody.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from hashlib import sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import tomli_w

from fedlab_utils._arguments import brief, toml
from fedlab_utils.network.columns import Columns, checked_columns
from fedlab_utils.system.settings import Data, Promise, Settings, Sum, Training, asdict_plain

if TYPE_CHECKING:
    from fedlab_utils.data import Federation
    from fedlab_utils.privacy import HospitalDP, RecordDP
    from fedlab_utils.secagg.messages import Setup

FORMAT = 1  # of the file and of the messages
COORDINATOR = 65535  # its number in messages
_LONGEST = 200_000  # characters of a file
_PARTS = {"data": Data, "training": Training, "promise": Promise, "sum": Sum}
_KEPT_OUT = ("server", "all", "every hospital", "pooled", "coordinator", "authority")


@dataclass(frozen=True)
class Network:
    """Who takes part, and what they keep to.

    Attributes
    ----------
    hospitals
        Their names, in the order of their numbers in messages, which is also the order of every sum.
    deadline
        Seconds that a hospital has for one answer. Who has not answered then is missing in that round.
    bits, limit, max_rows, malicious
        Of a masked sum: see `secagg.SecureSum`. `max_rows` are the most rows that all hospitals have together, and has
        to be given there, since nobody sees how many one has.
    signing_keys
        Of a masked sum: the hospitals' public signing keys (Ed25519) by name, 64 hexadecimal digits each. They must
        not come from the coordinator. Left out where both ends are told them in another way.
    """

    hospitals: tuple[str, ...] = ()
    deadline: float = 60.0
    bits: int = 32
    limit: float = 4.0
    max_rows: int | None = None
    malicious: bool = True
    signing_keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Agreement:
    """What all hold before anything starts.

    Parameters
    ----------
    settings
        Name, question, data, training, promise and sum, as a system has them. Only what works between machines is
        taken; the rest is refused.
    columns
        How a table becomes numbers: see `columns.Columns`.
    network
        Who takes part; see `Network`.

    Raises
    ------
    ValueError
        With one sentence, if a value does not fit, or cannot work between machines.
    """

    settings: Settings
    columns: Columns
    network: Network

    def __post_init__(self) -> None:
        if not isinstance(self.settings, Settings):
            raise ValueError(f"settings must be a system.Settings; got {brief(self.settings)}.")
        data = self.settings.data
        bounds = {c: tuple(map(float, pair)) for c, pair in data.bounds.items()}  # 0 and 0.0 are the same bound
        object.__setattr__(self, "settings", replace(self.settings, data=replace(data, bounds=bounds)))
        object.__setattr__(self, "network", _checked_network(self.network))
        object.__setattr__(self, "columns", checked_columns(self.columns, self.settings.data))
        _refuse(self.settings, self.network)
        if self.masked:
            _ = self.setup(1)  # refuses thresholds and words that do not fit

    @classmethod
    def of(cls, federation: Federation, settings: Settings | None = None, **network) -> Agreement:
        """The agreement of hospitals that stand already, with the means and categories that they agreed on.

        Parameters
        ----------
        federation
            The hospitals.
        settings
            Training, promise and sum; what they say of data is replaced by the federation's own.
        network
            What `Network` has besides the hospitals.
        """
        settings = Settings() if settings is None else settings
        columns, data = Columns.of(federation, settings.data)
        if settings.sum.through == "masked" and settings.promise.unit != "hospital":
            rows = sum(len(h.y_train) for h in federation.hospitals)
            network = {"max_rows": 2 ** (rows - 1).bit_length()} | network
        hospitals = tuple(h.name for h in federation.hospitals)
        return cls(replace(settings, data=data), columns, Network(hospitals, **network))

    @classmethod
    def from_toml(cls, text: str) -> Agreement:
        """Read what `to_toml` or a person wrote.

        Raises
        ------
        ValueError
            With one sentence, if it is no TOML, holds an unknown key, or a value does not fit.
        """
        found = toml(text, "The agreement", "is", _LONGEST)
        network = _table("network", Network, found.pop("network", None))
        columns = _table("columns", Columns, found.pop("columns", None))
        if isinstance(found.get("data"), Mapping):
            found["data"] = {"table": "own", **found["data"]}
        if stray := [name for name in found if name in ("synthetic", "checks", "scale", "demonstration")]:
            raise ValueError(f"{stray[0]} has no place in an agreement: nothing of it happens between machines.")
        try:
            rest = tomli_w.dumps(found)
        except RecursionError:
            raise ValueError("The agreement nests its tables too deep.") from None
        return cls(Settings.from_toml(rest), columns, network)

    def to_toml(self) -> str:
        """As text; what is its default is left out, so that a file shows what was agreed."""
        plain = tomllib.loads(self.settings.to_toml())
        plain["columns"] = _chosen(self.columns, Columns())
        plain["network"] = _chosen(self.network, Network())
        return tomli_w.dumps(plain)

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Every key and its value, defaults too, as they count for the hash: ``{"training.rounds": 20, ...}``."""
        found: dict[str, Any] = {"format": FORMAT, "name": self.settings.name, "question": self.settings.question}
        parts = {name: getattr(self.settings, name) for name in _PARTS}
        for name, part in (parts | {"columns": self.columns, "network": self.network}).items():
            found |= {f"{name}.{key}": value for key, value in asdict_plain(part).items()}
        return found

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of all of it, 32 bytes. Another default in another edition of the package is another agreement."""
        return sha256(json.dumps(self.plain, sort_keys=True, separators=(",", ":")).encode()).digest()

    def differences(self, other: Agreement) -> list[str]:
        """What another agreement says otherwise, a sentence for each key."""
        return [
            f"{key} is {brief(mine)} here and {brief(theirs)} there."
            for key, mine, theirs in ((k, v, other.plain.get(k)) for k, v in self.plain.items())
            if mine != theirs
        ]

    # ---- what follows from it

    @property
    def name(self) -> str:
        """Of the training."""
        return self.settings.name

    @property
    def hospitals(self) -> tuple[str, ...]:
        """Names, in the order of their numbers."""
        return self.network.hospitals

    @property
    def training(self) -> Training:
        """Rounds, epochs, batches, learning rate, layers, strategy."""
        return self.settings.training

    @property
    def deadline(self) -> float:
        """Seconds for one answer."""
        return self.network.deadline

    @property
    def seed(self) -> int:
        """Where starting weights and, without a promise, batches begin."""
        return self.settings.data.seed

    @property
    def task(self) -> str:
        """ "binary", "multiclass" or "regression"."""
        return self.columns.task

    @property
    def masked(self) -> bool:
        """Whether updates travel under masks."""
        return self.settings.sum.through == "masked"

    @property
    def by_rows(self) -> bool:
        """Whether a hospital counts by its training rows; otherwise each counts the same."""
        return self.training.strategy == "fedavg" and self.settings.promise.unit != "hospital"

    @property
    def noisy_sum(self) -> bool:
        """Whether hospitals put noise into their masked sum."""
        return self.masked and self.settings.promise.unit == "hospital"

    @property
    def sizes(self) -> tuple[int, ...]:
        """Widths of the network, from input to output."""
        n_out = len(self.columns.classes) if self.task == "multiclass" else 1
        return len(self.columns.features), *self.training.hidden, n_out

    @property
    def d(self) -> int:
        """Numbers of a model."""
        return sum((wide + 1) * out for wide, out in zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def promise(self) -> RecordDP | HospitalDP | None:
        """What the training promises; noise comes from each hospital's operating system."""
        from fedlab_utils.privacy import HospitalDP, RecordDP  # late: not every message needs it

        p = self.settings.promise
        about = dict(epsilon=p.epsilon, delta=p.delta)
        if p.unit == "record":
            return RecordDP(max_grad_norm=p.clip, **about)
        return HospitalDP(max_update_norm=p.clip, **about) if p.unit == "hospital" else None

    def aggregator(self):
        """The aggregator that does in one process what happens between machines; None for the open sum."""
        if not self.masked:
            return None
        from fedlab_utils import secagg

        s, n = self.settings.sum, self.network
        about = dict(threshold=s.threshold, colluding=s.colluding, bits=n.bits, malicious=n.malicious)
        if self.noisy_sum:
            return secagg.PrivateSum(**about)
        return secagg.SecureSum(limit=n.limit, max_rows=n.max_rows, **about)

    def arguments(self) -> dict[str, Any]:
        """Arguments with which `federated.train` trains the same in one process."""
        t = self.training
        names = "rounds local_epochs batch_size lr hidden strategy".split()
        return {name: getattr(t, name) for name in names} | dict(
            privacy=self.promise, aggregator=self.aggregator(), seed=self.seed
        )

    def setup(self, round: int, model: bytes = b"", share: float = 0.0) -> Setup:
        """What everybody knows before a masked round: see `secagg.Setup`."""
        from fedlab_utils.secagg.messages import Setup, default_threshold

        s, n = self.settings.sum, len(self.hospitals)
        words = self.d + (not self.noisy_sum)  # rows travel as the last word, where hospitals count by them
        how = dict(malicious=self.network.malicious, colluding=s.colluding, model=model, share=share)
        return Setup(n, s.threshold or default_threshold(n), words, self.network.bits, round=round, **how)

    def number(self, hospital: str) -> int:
        """The number of a hospital.

        Raises
        ------
        ValueError
            If the agreement has none of this name.
        """
        if hospital not in self.hospitals:
            raise ValueError(f"hospital must be one of {', '.join(self.hospitals)}; got {brief(hospital)}.")
        return self.hospitals.index(hospital)


def _chosen(part, default) -> dict[str, Any]:
    usual = asdict_plain(default)
    return {k: v for k, v in asdict_plain(part).items() if v is not None and v != usual[k]}


def _table(name: str, kind: type, value: object):
    """One table of the file as its class; its values are checked later."""
    if not isinstance(value, Mapping):
        raise ValueError(f"The agreement must have a table [{name}]; got {brief(value)}.")
    known = [f.name for f in fields(kind)]
    if stray := [key for key in value if key not in known]:
        raise ValueError(f"{name}.{brief(stray[0])} is no key of the agreement; {name} has {', '.join(known)}.")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in value.items()})


def _checked_network(n: Network) -> Network:
    if not isinstance(n, Network):
        raise ValueError(f"network must be a Network; got {brief(n)}.")
    names = n.hospitals
    several = isinstance(names, tuple | list) and all(isinstance(h, str) for h in names)
    if not several or not 2 <= len(set(names)) == len(names) <= 1000:
        raise ValueError(f"network.hospitals must be a list of 2 to 1000 different names; got {brief(names)}.")
    if wrong := [h for h in names if not _is_name(h)]:
        raise ValueError(
            "network.hospitals must be names of 1 to 60 letters on one line, without slashes, that mean nothing else; "
            f"got {brief(wrong[0])}."
        )
    if isinstance(n.deadline, bool) or not isinstance(n.deadline, int | float) or not 0.01 <= n.deadline <= 86_400:
        raise ValueError(f"network.deadline must be a number from 0.01 to 86400 seconds; got {brief(n.deadline)}.")
    if n.bits not in (8, 16, 32, 64) or isinstance(n.bits, bool):
        raise ValueError(f"network.bits must be 8, 16, 32 or 64; got {brief(n.bits)}.")
    if isinstance(n.limit, bool) or not isinstance(n.limit, int | float) or not 1e-30 <= n.limit <= 1e30:
        raise ValueError(f"network.limit must be a number above 0; got {brief(n.limit)}.")
    if n.max_rows is not None and (type(n.max_rows) is not int or not 2 <= n.max_rows < 2**32):
        raise ValueError(f"network.max_rows must be a whole number from 2 to 2**32 - 1; got {brief(n.max_rows)}.")
    if not isinstance(n.malicious, bool):
        raise ValueError(f"network.malicious must be true or false; got {brief(n.malicious)}.")
    keys = n.signing_keys
    if not isinstance(keys, Mapping) or (keys and set(keys) != set(names)) or not all(map(_is_key, keys.values())):
        raise ValueError("network.signing_keys must hold 64 hexadecimal digits for each of the hospitals, or be empty.")
    keys = MappingProxyType({h: keys[h].lower() for h in names} if keys else {})
    about = dict(deadline=float(n.deadline), limit=float(n.limit), signing_keys=keys)
    return replace(n, hospitals=tuple(names), **about)


def _is_name(text: str) -> bool:
    plain = text == text.strip() and text.isprintable() and not set(text) & {"/", "\\"} and text not in (".", "..")
    return plain and 0 < len(text) <= 60 and text.casefold() not in _KEPT_OUT


def _is_key(text: object) -> bool:
    return isinstance(text, str) and len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _refuse(s: Settings, n: Network) -> None:
    """Refuse what does not work between machines, or promises nothing there."""
    record_grid = s.sum.through == "masked" and s.promise.unit != "hospital"
    rules = {
        "data.table must be 'own': each hospital brings its own table": s.data.table != "own",
        "data.hospital must be left out: each table is that of one hospital": s.data.hospital is not None,
        "data.hospitals and data.skew must be left out: no rows are dealt out": s.data.hospitals is not None,
        "data.statistics_epsilon must be left out: means and spreads stand in the agreement":
        s.data.statistics_epsilon is not None,
        "synthetic.where must be 'none': only a training runs between machines": s.synthetic.where != "none",
        "training.participation must be 1: every hospital is asked in every round": s.training.participation != 1,
        "training.dropout must be 0: between machines lines fail by themselves": s.training.dropout != 0,
        "sum.through must be 'open' or 'masked' between machines": s.sum.through == "encrypted",
        "sum.through must be 'masked' where promise.unit is 'hospital': hospitals put its noise into their sum":
        s.promise.unit == "hospital" and s.sum.through != "masked",
        "demonstration must be false: noise from a seed that everybody knows protects nobody": s.demonstration,
        "network.max_rows must be given where sum.through is 'masked', unless promise.unit is 'hospital'":
        record_grid and n.max_rows is None,
        "network.max_rows must be left out unless sum.through is 'masked' and promise.unit is not 'hospital'":
        not record_grid and n.max_rows is not None,
    }  # fmt: skip
    for sentence, wrong in rules.items():
        if wrong:
            raise ValueError(f"{sentence}.")
    if s.promise.unit == "hospital" and s.promise.delta * len(n.hospitals) >= 1:
        raise ValueError(
            f"promise.delta must be below 1/{len(n.hospitals)}, one over the number of hospitals; got "
            f"{s.promise.delta:g}."
        )
    if not math.isfinite(n.limit):
        raise ValueError(f"network.limit must be finite; got {n.limit}.")

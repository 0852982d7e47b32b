"""What a system is: plain values with their ranges, as a file of TOML holds them.

`Settings` describes a whole system: whose rows, what is invented from them, what is trained, what is promised, who sees
what travels, and what is attacked. Everything that can be wrong with it is said in one sentence with the key's path,
such as ``training.rounds``, before anything runs. Seeds of noise have no key: whoever knows one can take the noise off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any

import tomli_w

from fedlab_utils._arguments import brief, toml

SCALES = MappingProxyType({"quick": 2, "full": 5})  # how many splits, each with a start of its own
_LONGEST = 100_000  # characters of a file
_MOST = 60  # of a list or a table of columns


def _among(default: str | None, what: str, *allowed: str):
    return field(default=default, metadata={"what": what, "among": allowed})


def _count(default: int | None, what: str, low: int, high: int, unit: str = ""):
    return field(default=default, metadata={"what": what, "low": low, "high": high, "unit": unit, "whole": True})


def _number(default: float | None, what: str, low: float, high: float, unit: str = ""):
    return field(default=default, metadata={"what": what, "low": low, "high": high, "unit": unit})


def _flag(default: bool, what: str):
    return field(default=default, metadata={"what": what, "flag": True})


def _words(default: str | None, what: str):
    return field(default=default, metadata={"what": what, "text": True})


def _list(what: str):
    return field(default=(), metadata={"what": what, "list": True})


def _columns(what: str, holds: str):
    return field(default_factory=lambda: MappingProxyType({}), metadata={"what": what, "columns": holds})


@dataclass(frozen=True)
class Data:
    """Whose rows, and how they come to hospitals."""

    table: str = _words("hospital_network", "a data set of the course, or own with a table of one's own")
    target: str | None = _words(None, "column to predict; the first of the data set by default")
    hospital: str | None = _words(None, "column with each row's hospital, of a table of one's own")
    patient: str | None = _words(None, "column that tells patients apart, of a table of one's own")
    drop: tuple[str, ...] = _list("columns that are left out, such as direct identifiers, of a table of one's own")
    hospitals: int | None = _count(None, "dealt out to so many", 2, 1000, "hospitals")
    skew: float | None = _number(None, "how uneven labels are dealt out (Dirichlet); left out: evenly", 0.01, 1000)
    bounds: Mapping[str, tuple[float, float]] = _columns("public bounds of numbers of a table of one's own", "bounds")
    categories: Mapping[str, tuple] = _columns("public categories of texts of a table of one's own", "list")
    statistics_epsilon: float | None = _number(
        None, "budget of means and spreads; left out: they are exact, which is not private", 0.01, 100, "epsilon"
    )
    seed: int = _count(0, "of the first split; the others follow", 0, 2**31)


@dataclass(frozen=True)
class Synthetic:
    """What is invented from the rows."""

    where: str = _among("none", "who invents patients", "none", "local", "federated")
    method: str | None = _among(
        None, "how; left out: chosen by what is public", "gan", "wgan_gp", "independent", "copula", "interpolate",
        "tables", "pairs", "dp_gan",
    )  # fmt: skip
    epsilon: float | None = _number(None, "budget of the synthetic table; left out: no promise", 0.01, 100, "epsilon")
    warm_up: bool = _flag(False, "whether a federated GAN starts from noisy tables, paid for from the same budget")
    rows: float = _number(1.0, "how many, as a share of the real ones", 0.05, 20)


@dataclass(frozen=True)
class Training:
    """What is trained together."""

    on: str = _among("real", "on which rows", "real", "synthetic", "both")
    rounds: int = _count(20, "communication rounds", 1, 1000, "rounds")
    local_epochs: int = _count(1, "passes over a hospital's rows in a round", 1, 100)
    batch_size: int = _count(32, "rows of a batch", 1, 100_000, "rows")
    lr: float = _number(0.1, "learning rate", 1e-6, 10)
    hidden: tuple[int, ...] = field(default=(64,), metadata={"what": "widths of hidden layers", "widths": True})
    strategy: str = _among("fedavg", "how hospitals are weighted", "fedavg", "uniform")
    participation: float = _number(1.0, "share of the hospitals in a round", 0.01, 1)
    dropout: float = _number(0.0, "chance that a hospital falls silent in a round", 0, 0.99)


@dataclass(frozen=True)
class Promise:
    """What the training promises, and to whom."""

    unit: str = _among("none", "who is protected", "none", "record", "hospital")
    epsilon: float | None = _number(None, "budget of the whole training", 0.01, 100, "epsilon")
    delta: float = _number(1e-5, "chance with which a promise may fail, of all promises here", 1e-12, 0.1)
    clip: float = _number(1.0, "length to which gradients or updates are cut", 1e-6, 1e6)


@dataclass(frozen=True)
class Sum:
    """Through what sums travel."""

    through: str = _among("open", "what the server sees them through", "open", "masked", "encrypted")
    threshold: int | None = _count(None, "fewest hospitals of which a masked sum is opened", 2, 1000, "hospitals")
    colluding: int = _count(0, "hospitals that may tell the server what they know", 0, 1000, "hospitals")


@dataclass(frozen=True)
class Checks:
    """What the result is held to."""

    threshold: float = _number(0.1, "predicted risk from which on a clinic acts", 0.001, 0.999)
    attack: bool = _flag(True, "whether membership is attacked")


@dataclass(frozen=True)
class Settings:
    """A whole system; each part is described by its class.

    Attributes
    ----------
    name
        Of the system, for its report.
    question
        What it is to answer, in a sentence.
    scale
        "quick": two splits, "full": five, each with a start of its own.
    demonstration
        Noise comes from a seed, so that numbers repeat, and nothing is promised; every page says so. Otherwise noise
        comes from the operating system: under a promise, statistics repeat and digits do not.

    Raises
    ------
    ValueError
        With one sentence that begins with the key's path, if a value is out of its range or two do not go together.
    """

    name: str = _words("system", "of the system")
    question: str = _words("How well do hospitals predict together, and what does it tell about a patient?", "asked")
    scale: str = _among("quick", "how much is run", *SCALES)
    demonstration: bool = _flag(False, "noise from a seed: numbers repeat, and nothing is promised")
    data: Data = field(default_factory=Data)
    synthetic: Synthetic = field(default_factory=Synthetic)
    training: Training = field(default_factory=Training)
    promise: Promise = field(default_factory=Promise)
    sum: Sum = field(default_factory=Sum)
    checks: Checks = field(default_factory=Checks)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name not in PARTS:
                object.__setattr__(self, f.name, _checked(f.name, value, f.metadata))
                continue
            if not isinstance(value, PARTS[f.name]):
                raise ValueError(f"{f.name} must be a {PARTS[f.name].__name__}(...); got {brief(value)}.")
            for inner in fields(value):
                path, given = f"{f.name}.{inner.name}", getattr(value, inner.name)
                object.__setattr__(value, inner.name, _checked(path, given, inner.metadata, inner.default))
        _together(self)

    @property
    def seeds(self) -> int:
        """How many splits are run."""
        return SCALES[self.scale]

    @property
    def promises(self) -> bool:
        """Whether anything is done under a promise."""
        return self.promise.unit != "none" or self.synthetic.epsilon is not None or bool(self.data.statistics_epsilon)

    def to_toml(self) -> str:
        """As text; what is its default or None is left out, so that a file shows what was chosen."""
        plain = {}
        for name, value in asdict_plain(self).items():
            default = getattr(_DEFAULTS, name)
            if name in PARTS:
                usual = asdict_plain(default)
                value = {key: one for key, one in value.items() if one is not None and one != usual[key]}
                if value:
                    plain[name] = value
            elif value != default or name == "name":
                plain[name] = value
        return tomli_w.dumps(plain)

    @classmethod
    def from_toml(cls, text: str) -> Settings:
        """Read what `to_toml` or a person wrote.

        Raises
        ------
        ValueError
            With one sentence, if it is no TOML, holds an unknown key, or a value does not fit.
        """
        found = toml(text, "The settings", "are", _LONGEST)
        parts = {}
        for name, value in found.items():
            if name in PARTS:
                parts[name] = _part(name, value)
            elif name in {f.name for f in fields(cls)}:
                parts[name] = value
            else:
                raise ValueError(f"{_quoted(name)} is no key of the settings, which has {_listed(cls)}.")
        return cls(**parts)


PARTS = {
    "data": Data, "synthetic": Synthetic, "training": Training, "promise": Promise, "sum": Sum, "checks": Checks
}  # fmt: skip


def _part(name: str, value: object):
    if not isinstance(value, Mapping):
        raise ValueError(f"{name} must be a table of keys, [{name}] in TOML; got {brief(value)}.")
    kind = PARTS[name]
    known = {f.name for f in fields(kind)}
    if stray := [key for key in value if key not in known]:
        raise ValueError(f"{_quoted(f'{name}.{stray[0]}')} is no key of the settings; {name} has {_listed(kind)}.")
    return kind(**{key: _frozen(one) for key, one in value.items()})


def _frozen(value: object) -> object:
    """Lists of TOML as tuples, tables as mappings that cannot be written to."""
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    if isinstance(value, Mapping):
        return MappingProxyType({key: _frozen(one) for key, one in value.items()})
    return value


def asdict_plain(value: Any) -> dict[str, Any]:
    """Keys and plain values of settings or of a part of them, as TOML and JSON hold them."""
    return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}


def _plain(value: object) -> object:
    if is_dataclass(value):
        return asdict_plain(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return list(map(_plain, value)) if isinstance(value, tuple) else value


def _listed(kind: type) -> str:
    return ", ".join(f.name for f in fields(kind))


def _quoted(key: str) -> str:
    return repr(key[:40])


def _checked(path: str, value: Any, about: Mapping, default: object = ...) -> Any:
    """One value in its range; None where that is its default."""
    if value is None and default is None:
        return None
    if "among" in about:
        if value not in about["among"] or not isinstance(value, str):
            raise ValueError(f"{path} must be one of {', '.join(about['among'])}; got {brief(value)}.")
    elif "flag" in about:
        if not isinstance(value, bool):
            raise ValueError(f"{path} must be true or false; got {brief(value)}.")
    elif "text" in about:
        if not isinstance(value, str) or not 0 < len(value) <= 200 or not value.isprintable():
            raise ValueError(f"{path} must be a text of 1 to 200 characters on one line; got {brief(value)}.")
    elif "list" in about:
        return _texts(path, value)
    elif "widths" in about:
        return _widths(path, value)
    elif "columns" in about:
        return _by_column(path, value, about["columns"])
    else:
        return _in_range(path, value, about)
    return value


def _in_range(path: str, value: Any, about: Mapping) -> float:
    kind, low, high = "a whole number" if about.get("whole") else "a number", about["low"], about["high"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (about.get("whole") and value != int(value)):
        unit = f" {about['unit']}" if about.get("unit") else ""
        raise ValueError(f"{path} must be {kind} from {low:g} to {high:g}{unit}; got {brief(value)}.")
    return int(value) if about.get("whole") else float(value)


def _texts(path: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple | list) or len(value) > _MOST or not all(isinstance(v, str) and v for v in value):
        raise ValueError(f"{path} must be a list of at most {_MOST} names of columns; got {brief(value)}.")
    return tuple(value)


def _widths(path: str, value: Any) -> tuple[int, ...]:
    def fits(width) -> bool:
        return isinstance(width, int) and not isinstance(width, bool) and 1 <= width <= 4096

    if not isinstance(value, tuple | list) or len(value) > 5 or not all(map(fits, value)):
        raise ValueError(f"{path} must be a list of at most 5 whole numbers from 1 to 4096; got {brief(value)}.")
    return tuple(value)


def _by_column(path: str, value: Any, holds: str) -> Mapping[str, tuple]:
    if not isinstance(value, Mapping) or len(value) > 10 * _MOST or not all(isinstance(k, str) and k for k in value):
        raise ValueError(f"{path} must name columns and list values for each; got {brief(value)}.")
    for name, one in value.items():
        plain = isinstance(one, tuple | list) and all(isinstance(v, str | int | float) and v == v for v in one)
        if holds == "list" and not (plain and one):
            raise ValueError(f"{path}.{brief(name)} must be a list of texts or numbers; got {brief(one)}.")
        if holds == "bounds" and not (plain and len(one) == 2 and _rising(*one)):
            raise ValueError(
                f"{path}.{brief(name)} must be [low, high], two numbers, low below high; got {brief(one)}."
            )
    return MappingProxyType({key: tuple(one) for key, one in value.items()})


def _rising(low: Any, high: Any) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high))
    return numbers and -math.inf < low < high < math.inf


def _together(s: Settings) -> None:
    """Refuse values that do not go together."""
    local = "gan", "wgan_gp", "independent", "copula", "interpolate"
    summed = "tables", "copula", "pairs", "gan", "dp_gan"
    own, made = s.data.table == "own", s.synthetic
    rules = {
        "data.hospital must be left out for a data set of the course, which knows its hospitals": not own
        and s.data.hospital is not None,
        "data.patient must be left out for a data set of the course": not own and s.data.patient is not None,
        "data.drop must be left out for a data set of the course, whose identifiers are removed": not own
        and bool(s.data.drop),
        "data.bounds and data.categories must be left out for a data set of the course, which has a data card": not own
        and bool(s.data.bounds or s.data.categories),
        "data.drop must not name data.target, data.hospital or data.patient, which are needed": bool(
            {s.data.target, s.data.hospital, s.data.patient} & set(s.data.drop)
        ),
        "data.target must be given for a table of one's own": own and s.data.target is None,
        "data.hospitals must be left out where data.hospital says whose rows they are": s.data.hospital is not None
        and s.data.hospitals is not None,
        "data.skew must be left out where rows are not dealt out: give data.hospitals": s.data.skew is not None
        and s.data.hospitals is None,
        "training.on must be 'real' where synthetic.where is 'none'": made.where == "none" and s.training.on != "real",
        "synthetic.method must be left out where synthetic.where is 'none'": made.where == "none"
        and made.method is not None,
        "synthetic.epsilon must be left out unless synthetic.where is 'federated': methods of one hospital promise "
        "nothing": made.where != "federated" and made.epsilon is not None,
        f"synthetic.method must be one of {', '.join(local)} where synthetic.where is 'local'": made.where == "local"
        and made.method not in local,
        f"synthetic.method must be left out or one of {', '.join(summed)} where synthetic.where is 'federated'":
        made.where == "federated" and made.method is not None and made.method not in summed,
        "synthetic.epsilon must be left out where synthetic.method is 'gan': take 'dp_gan'": made.method == "gan"
        and made.epsilon is not None,
        "synthetic.warm_up must be false unless synthetic.where is 'federated' and synthetic.method 'gan' or 'dp_gan'":
        made.warm_up and not (made.where == "federated" and made.method in ("gan", "dp_gan")),
        "synthetic.epsilon must be given where synthetic.method is 'dp_gan'": made.method == "dp_gan"
        and made.epsilon is None,
        "synthetic.epsilon must be given where promise.unit is 'record' and training.on is not 'real': rows that were "
        "invented without a promise still tell of their patients": s.promise.unit == "record"
        and s.training.on != "real" and made.epsilon is None,
        "synthetic.where must not be 'federated' where promise.unit is 'hospital': the ledger cannot add promises for "
        "records and for hospitals": s.promise.unit == "hospital" and made.where == "federated",
        "data.statistics_epsilon must be left out where promise.unit is 'hospital': the ledger cannot add promises for "
        "records and for hospitals": s.promise.unit == "hospital" and s.data.statistics_epsilon is not None,
        "promise.epsilon must be given where promise.unit is not 'none'": s.promise.unit != "none"
        and s.promise.epsilon is None,
        "promise.epsilon must be left out where promise.unit is 'none'": s.promise.unit == "none"
        and s.promise.epsilon is not None,
        "sum.threshold must be left out unless sum.through is 'masked'": s.sum.through != "masked"
        and s.sum.threshold is not None,
        "sum.colluding must be 0 unless sum.through is 'masked'": s.sum.through != "masked" and s.sum.colluding > 0,
        "sum.through must be 'open' or 'masked' where synthetic.where is 'federated': its sums are not encrypted":
        s.sum.through == "encrypted" and made.where == "federated",
        "training.participation must be 1 where sum.through is 'encrypted': all hospitals have to read the sum":
        s.sum.through == "encrypted" and s.training.participation < 1,
        "sum.through must not be 'encrypted' where promise.unit is 'hospital': hospitals would read the sum before it "
        "has noise": s.sum.through == "encrypted" and s.promise.unit == "hospital",
        "demonstration must be false where nothing is done under a promise": s.demonstration and not s.promises,
    }  # fmt: skip
    for sentence, wrong in rules.items():
        if wrong:
            raise ValueError(f"{sentence}.")


_DEFAULTS = Settings()

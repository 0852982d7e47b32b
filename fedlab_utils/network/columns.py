"""How a hospital's own table becomes numbers: the same in every hospital, since it stands in the agreement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from fedlab_utils._arguments import brief
from fedlab_utils.system.settings import Data

if TYPE_CHECKING:
    import pandas as pd

    from fedlab_utils.data import Federation, Hospital
    from fedlab_utils.network.agreement import Agreement

TASKS = ("binary", "multiclass", "regression")
_MOST = 1000  # columns


def _none() -> Mapping:
    return MappingProxyType({})


@dataclass(frozen=True)
class Columns:
    """What every table has to hold, and what its columns become.

    Bounds and categories, those of the target too, stand in ``data.bounds`` and ``data.categories``.

    Attributes
    ----------
    task
        "binary", "multiclass" or "regression".
    numbers, texts
        Feature columns, in the order in which they enter the network.
    units
        Of columns of numbers, in words; whoever brings a table has to bring these units.
    means, sds
        With which numbers are standardised; those of a column that has none follow from its bounds, as if every value
        between them were as frequent. Taken from patients, they are a release of their own, for which no promise of the
        training pays; those that follow from bounds are nobody's.
    features
        What enters the network, one name a number: follows from the above, and is written down so that everybody sees
        it.
    """

    task: str = "binary"
    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=_none)
    means: Mapping[str, float] = field(default_factory=_none)
    sds: Mapping[str, float] = field(default_factory=_none)
    classes: tuple = ()
    features: tuple[str, ...] = ()

    @classmethod
    def of(cls, federation: Federation, data: Data) -> tuple[Columns, Data]:
        """Those of a federation, and the settings of data that go with them."""
        schema, agreed = federation.schema, federation.agreed
        if federation.local_scaling:
            raise ValueError("federation must be standardised with common numbers; here each hospital uses its own.")
        own = cls(
            task=schema.task,
            numbers=tuple(schema.numeric),
            texts=tuple(schema.categorical),
            means={c: float(v) for c, v in agreed.means.items()},
            sds={c: float(v) for c, v in agreed.sds.items()},
            classes=tuple(getattr(c, "item", lambda c=c: c)() for c in schema.classes),
        )
        known = {c: tuple(map(str, names)) for c, names in agreed.categories.items()}
        bounds = {c: tuple(map(float, pair)) for c, pair in schema.bounds.items()}
        kept = dict(table="own", target=schema.target, bounds=bounds, categories=known, seed=data.seed)
        return own, Data(**kept)

    def __post_init__(self) -> None:
        for name in ("units", "means", "sds"):
            value = getattr(self, name)
            if isinstance(value, Mapping):
                object.__setattr__(self, name, MappingProxyType(dict(value)))


def checked_columns(c: Columns, data: Data) -> Columns:
    """Columns that fit themselves and the settings of data, all of them filled in.

    Raises
    ------
    ValueError
        With one sentence that begins with the key's path.
    """
    if not isinstance(c, Columns):
        raise ValueError(f"columns must be Columns; got {brief(c)}.")
    if c.task not in TASKS:
        raise ValueError(f"columns.task must be one of {', '.join(TASKS)}; got {brief(c.task)}.")
    for name in ("numbers", "texts", "features"):
        value = getattr(c, name)
        if not isinstance(value, tuple | list) or len(value) > _MOST or not all(isinstance(v, str) for v in value):
            raise ValueError(f"columns.{name} must be a list of at most {_MOST} names; got {brief(value)}.")
    every = (*c.numbers, *c.texts)
    if not every or len(set(every)) < len(every) or data.target in every:
        raise ValueError("columns.numbers and columns.texts must name at least one feature, each once, no target.")
    if lacking := [t for t in c.texts if t not in data.categories]:
        raise ValueError(f"data.categories must list those of {brief(lacking[0])}, a text in columns.texts.")
    n_classes = len(c.classes) if isinstance(c.classes, tuple | list) else -1
    right = {"binary": n_classes == 2, "multiclass": n_classes > 2, "regression": n_classes == 0}[c.task]
    plain = right and all(isinstance(v, str | int | float) and v == v for v in c.classes)
    if not plain or len(set(c.classes)) < n_classes:
        raise ValueError(f"columns.classes must list the values of a {c.task} target; got {brief(c.classes)}.")
    numbers = (*c.numbers, *([data.target] if c.task == "regression" else []))
    means, sds = _scales(c, data, numbers)
    features = _features(c, data)
    if c.features and tuple(c.features) != features:
        raise ValueError("columns.features must be left out, or be what follows from the columns; it is neither.")
    if not isinstance(c.units, Mapping) or not all(
        k in numbers and isinstance(v, str) and 0 < len(v) <= 40 and v.isprintable() for k, v in c.units.items()
    ):
        raise ValueError(f"columns.units must hold a short text for columns of numbers; got {brief(dict(c.units))}.")
    lists = dict(numbers=tuple(c.numbers), texts=tuple(c.texts), classes=tuple(c.classes), features=features)
    return replace(c, means=means, sds=sds, **lists)


def _scales(c: Columns, data: Data, numbers: tuple[str, ...]) -> tuple[dict[str, float], dict[str, float]]:
    """A mean and a spread for each column of numbers."""
    found: tuple[dict, dict] = ({}, {})
    for name, given, filled in zip(("means", "sds"), (c.means, c.sds), found, strict=True):
        if not isinstance(given, Mapping) or any(k not in numbers for k in given):
            raise ValueError(f"columns.{name} must hold numbers for columns of numbers; got {brief(given)}.")
        for column in numbers:
            value = given.get(column)
            if value is None:
                if column not in data.bounds:
                    raise ValueError(f"columns.{name} must have one of {brief(column)}, which has no data.bounds.")
                low, high = data.bounds[column]
                value = (low + high) / 2 if name == "means" else (high - low) / math.sqrt(12)
            fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not fits or (name == "sds" and value < 0):
                raise ValueError(f"columns.{name}.{brief(column)} must be a finite number; got {brief(value)}.")
            filled[column] = float(value)
    return found


def _features(c: Columns, data: Data) -> tuple[str, ...]:
    """As `data.agreement.feature_names` names them: of two categories only the second has a column of its own."""
    kept = {t: data.categories[t] for t in c.texts if data.categories[t]}
    kept = {t: names[1:] if len(names) == 2 else names for t, names in kept.items()}
    return (*c.numbers, *(f"{t}_{one}" for t, names in kept.items() for one in names))


def prepared(frame: pd.DataFrame, agreement: Agreement, hospital: str, *, seed: int = 0) -> Hospital:
    """A hospital's own table, ready to train: tidied, split, and standardised with the agreed numbers.

    Parameters
    ----------
    frame
        One row a patient (several where ``data.patient`` tells them apart), with all columns of the agreement.
    agreement
        What was agreed on.
    hospital
        Its name.
    seed
        Of the split into training and test rows.

    Raises
    ------
    ValueError
        With one sentence, if the table lacks a column or holds what nobody agreed on.
    """
    import pandas as pd

    from fedlab_utils.data import cells, hospitals, partition
    from fedlab_utils.data.agreement import Agreed
    from fedlab_utils.data.partition import Part
    from fedlab_utils.data.schema import Schema, as_text
    from fedlab_utils.fleet.randomness import split_generator

    agreement.number(hospital)
    if not isinstance(frame, pd.DataFrame) or not len(frame):
        raise ValueError(f"frame must be a pandas DataFrame with at least one row; got {brief(frame)}.")
    data, c = agreement.settings.data, agreement.columns
    frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    for column in (data.target, *([data.patient] if data.patient else [])):
        if column not in frame:
            raise ValueError(f"The table lacks the column {column!r}, which the hospitals agreed on.")
    known = {t: tuple(map(str, data.categories[t])) for t in c.texts}
    bounds = {k: v for k, v in data.bounds.items() if k in c.numbers}
    missing = {t: cells.MARKS - {one.casefold() for one in listed} for t, listed in known.items()}
    schema = Schema(data.target, c.task, c.classes, c.numbers, c.texts, bounds, known, missing=missing)
    outcome = schema.outcome(frame[data.target])
    there = outcome.notna()
    if there.sum() < 2:
        raise ValueError(f"The table must have at least two rows with a target; it has {int(there.sum())}.")
    tidy = schema.tidy(frame[there]).assign(**{data.target: outcome[there]})
    for column, listed in known.items():
        if strangers := sorted(set(tidy[column].dropna()) - set(listed)):
            raise ValueError(f"{column!r} holds {brief(strangers[0])}, which is none of the agreed {list(listed)}.")
    y, rng, regression = schema.labels(tidy[data.target]), split_generator(seed), c.task == "regression"
    patients = pd.factorize(as_text(frame.loc[there, data.patient]))[0] if data.patient else None
    if patients is None:
        train, test = partition.train_test(y, rng, stratify=not regression)
    else:
        in_test = partition.split_patients(y, patients, patients * 0, rng, stratify=not regression)
        train, test = (~in_test).nonzero()[0], in_test.nonzero()[0]
    sides = (tidy.iloc[rows].reset_index(drop=True) for rows in (train, test))
    part = Part(hospital, *sides, None, None if patients is None else (patients[train], patients[test]))
    agreed = Agreed(dict(c.means), dict(c.sds), known)
    return hospitals.assemble(agreement.name, [part], schema, (), False, agreed=agreed).hospitals[0]

"""From a table to hospitals that are ready to train.

`load` and `from_frame` clean a table, split every hospital into training and test rows, let the hospitals
agree on means, spreads and categories of their *training* rows, and hand out tensors. Nothing is fitted
before the split, and no row leaves its hospital: what does leave is in `Federation.messages` and in the
ledger. The layout of the table, the task and its classes count as settled in advance, as in a data
dictionary that hospitals sign before they start.

What leaves is exact, and not private, unless `statistics` is a promise: then each hospital releases its counts and
sums with noise, and the ledger charges for it. Two data sets are neighbours if the *training rows* of one hospital
have one patient more; the split itself is not part of the promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from fedlab_utils.data import agreement, oddities, partition, sources
from fedlab_utils.data.hospitals import Federation, assemble
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, infer
from fedlab_utils.data.sources import Table
from fedlab_utils.fleet.randomness import split_generator
from fedlab_utils.privacy import RecordDP


def load(
    name: str,
    *,
    target: str | None = None,
    protocol: str | None = None,
    statistics: RecordDP | None = None,
    seed: int = 0,
) -> Federation:
    """One of the four data sets, ready to train.

    Parameters
    ----------
    name
        One of `names`: hospital_network (five simulated hospitals), heart_disease (four real ones),
        breast_cancer, diabetes (real patients, dealt out to five hospitals at random).
    target
        hospital_network: cvd_event or diagnosis; diabetes: above_median or progression; the first is the
        default.
    protocol
        "flamby": for heart_disease, the 740 rows, features, split and scaling of Fed-Heart-Disease
        (arXiv:2210.04620) at seed 0, and other splits of that kind at other seeds.
    statistics
        None: hospitals agree on exact means and spreads, which is not private. `privacy.RecordDP`: on noisy ones, see
        `agreement.agree_privately`; for that, bounds and categories of all columns must be public, as in
        hospital_network. This spends the whole budget of `statistics` once, by itself: the budget of a training
        afterwards does not include it, but the ledger of that training starts with it, and adds up both.
    seed
        Of the split into training and test rows, of the dealing out, and of the noise in statistics.

    Raises
    ------
    ValueError
        If there is no such data set, target or protocol, a file is damaged, or statistics cannot be private.
    OSError
        If heart_disease has to be downloaded and cannot be.
    """
    agreement.refuse(statistics, protocol)
    return _federation(sources.table(name, target=target, protocol=protocol), statistics=statistics, seed=seed)


def from_frame(
    frame: pd.DataFrame,
    *,
    target: str,
    hospital: str | None = None,
    n_hospitals: int = 5,
    alpha: float | None = None,
    bounds: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence] | None = None,
    statistics: RecordDP | None = None,
    seed: int = 0,
) -> Federation:
    """Any table of patients, ready to train.

    Numbers and true/false are standardised, missing ones become the mean. Text becomes a column for each
    category (one for two categories), missing text is 0 in all of them. A target of two values is binary, the
    larger or alphabetically last being the positive one; text or whole numbers of 3 to 20 values are classes;
    other numbers are regression, whose targets are standardised too.

    Parameters
    ----------
    frame
        One row a patient.
    target
        Column to predict. Rows without it are dropped.
    hospital
        Column with each row's hospital. Without it, rows are dealt out to `n_hospitals`.
    n_hospitals, alpha
        How many hospitals, and how uneven; see `Federation.repartition`.
    bounds, categories
        Public knowledge: ``{"age": (18, 110)}``, values beyond are moved to the bound;
        ``{"smoker": ["never", "former", "current"]}``. A column of codes is read as categories if named
        here; for the target, this is the order of the classes.
    statistics
        As in `load`. With a promise, every column of numbers needs bounds and every column of text categories; true
        and false have the bounds (0, 1). So does a regression target: its bounds hold for the statistics alone, labels
        beyond stay what they are.
    seed
        Of the split into training and test rows, of the dealing out, and of the noise in statistics.

    Raises
    ------
    ValueError
        With one sentence, if there is anything in the table that cannot be used.
    """
    agreement.refuse(statistics)
    table = _own_table(frame, target=target, hospital=hospital, bounds=bounds, categories=categories)
    return _federation(table, n_hospitals=n_hospitals, alpha=alpha, statistics=statistics, seed=seed)


def replicates(name_or_frame: str | pd.DataFrame, n: int, **same) -> list[Federation]:
    """The same table split in `n` different ways, with the same features.

    Each split agrees on means and spreads by itself. Where these are private, the same patients pay for each of them.

    Parameters
    ----------
    name_or_frame
        As in `load` or `from_frame`.
    n
        How many; the seeds are seed, seed + 1, ...
    same
        Arguments of `load` or `from_frame`.

    Returns
    -------
    list of Federation
        One for each split, in the order of the seeds.

    Raises
    ------
    ValueError
        If `n` is no whole number of at least 1, or as in `load` and `from_frame`.
    """
    if not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n must be a whole number of at least 1, not {n!r}.")
    first = same.pop("seed", 0)
    split_generator(first)
    promise = same.pop("statistics", None)
    agreement.refuse(promise, same.get("protocol"))
    if isinstance(name_or_frame, str):
        table, deal = sources.table(name_or_frame, **same), {}
    else:
        deal = {k: same.pop(k) for k in ("n_hospitals", "alpha") if k in same}
        table = _own_table(name_or_frame, **same)
    deal["statistics"] = promise
    federations = [_federation(table, seed=first + k, **deal) for k in range(n)]
    found = [f.agreed.categories for f in federations]
    if any(f != found[0] for f in found):  # a rare category is not in the training rows of every split
        learnt = {c: tuple(sorted({v for f in found for v in f[c]})) for c in found[0]}
        federations = [_federation(table, seed=first + k, at_least=learnt, **deal) for k in range(n)]
    return federations


def _own_table(frame: pd.DataFrame, *, target, hospital=None, bounds=None, categories=None) -> Table:
    if isinstance(frame, pd.DataFrame):
        frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    hospital = None if hospital is None else str(hospital)
    return Table("your table", frame, str(target), hospital, bounds, categories)


def _federation(
    table: Table,
    *,
    seed: int,
    n_hospitals: int = 5,
    alpha: float | None = None,
    at_least: Mapping[str, Sequence[str]] | None = None,
    statistics: RecordDP | None = None,
) -> Federation:
    """Check, tidy, deal out, split, then agree; in this order."""
    rng = split_generator(seed)
    bounds = dict(table.bounds or {})
    of_target = bounds.pop(table.target, None) if statistics is not None else None
    schema = infer(
        table.frame,
        target=table.target,
        hospital=table.hospital,
        bounds=bounds,
        categories=table.categories,
    )
    if table.hospital is None:
        partition.refuse(n_hospitals, alpha, int(table.frame[table.target].notna().sum()))
    elif alpha is not None:
        raise ValueError(f"alpha={alpha} is for tables without hospitals, but hospital={table.hospital!r}.")
    notes = [*table.notes, *oddities.about_table(table, schema)]
    if of_target is not None:
        schema = _with_bounded_target(schema, of_target)
    labelled = table.frame[table.frame[table.target].notna()]
    frame = schema.tidy(labelled).assign(**{table.target: labelled[table.target]})
    y = schema.labels(frame[table.target])
    if table.hospital is None:
        codes = partition.groups(y, regression=schema.task == "regression")
        shares = partition.draw_shares(int(codes.max()) + 1, n_hospitals, alpha, rng)
        owner = partition.deal(codes, shares, n_hospitals, rng, at_least=2)
        rows_of = {f"Hospital {k + 1}": np.flatnonzero(owner == k) for k in range(n_hospitals)}
    else:
        rows_of = _hospital_rows(table.frame[table.hospital], labelled[table.hospital])
    parts = []
    for name, rows in rows_of.items():
        if table.split is None:
            train, test = partition.train_test(y[rows], rng, stratify=schema.task != "regression")
        else:
            train, test = table.split(y[rows], seed)
        train, test = (frame.iloc[rows[which]] for which in (train, test))
        risk = None if table.true_risk is None else table.true_risk.loc[test.index].to_numpy()[:, None]
        parts.append(Part(name, train.reset_index(drop=True), test.reset_index(drop=True), risk))
    about = dict(at_least=at_least, promise=statistics, seed=seed)
    return assemble(table.name, parts, schema, tuple(notes), table.local_scaling, **about)


def _with_bounded_target(schema: Schema, pair: Sequence[float]) -> Schema:
    """Public bounds of a regression target: they serve private statistics alone."""
    name = f"bounds[{schema.target!r}]"
    if schema.task != "regression":
        raise ValueError(f"{name} does not apply: that target holds classes, which have no mean.")
    numbers = isinstance(pair, Sequence) and all(isinstance(v, int | float | np.number) for v in pair)
    if not (numbers and len(pair) == 2 and np.isfinite(pair).all() and pair[0] < pair[1]):
        raise ValueError(f"{name} must be (low, high) with low < high, not {pair!r}.")
    return replace(schema, bounds=schema.bounds | {schema.target: (float(pair[0]), float(pair[1]))})


def _hospital_rows(all_hospitals: pd.Series, hospital: pd.Series) -> dict[str, np.ndarray]:
    categorical = isinstance(all_hospitals.dtype, pd.CategoricalDtype)
    names = dict.fromkeys(map(str, all_hospitals.cat.categories if categorical else all_hospitals.unique()))
    if reserved := {"server", "all", "every hospital", "pooled"} & names.keys():
        raise ValueError(f"A hospital cannot be called {min(reserved)!r}, which means something else here.")
    owner = hospital.astype(str).to_numpy()
    rows_of = {name: np.flatnonzero(owner == name) for name in names}
    if empty := [name for name, rows in rows_of.items() if not len(rows)]:
        raise ValueError(f"Hospital {empty[0]!r} has no row with a target; leave it out of the table.")
    return rows_of

"""From a table to hospitals that are ready to train.

`load` and `from_frame` clean a table, split every hospital into training and test rows, let the hospitals
agree on means, spreads and categories of their *training* rows, and hand out tensors. Nothing is fitted
before the split, and no row leaves its hospital: what does leave is in `Federation.messages` and in the
ledger. The layout of the table, the task and its classes count as settled in advance, as in a data
dictionary that hospitals sign before they start.

What leaves is exact, and not private, unless `statistics` is a promise: then each hospital releases its counts and
sums with noise, and the ledger charges for it. Two data sets are neighbours if one *training row* of one hospital is
blank in one of them; the split itself, and how many rows there are, is not part of the promise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fedlab_utils.data import agreement, oddities, partition, sources
from fedlab_utils.data.hospitals import Federation, assemble
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, Task, as_text, check_pair, infer
from fedlab_utils.data.sentences import Remark, columns
from fedlab_utils.data.sources import Table
from fedlab_utils.fleet.randomness import split_generator
from fedlab_utils.privacy import RecordDP


def load(
    name: str,
    *,
    target: str | None = None,
    protocol: str | None = None,
    statistics: RecordDP | None = None,
    aggregator=None,
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
    aggregator
        Through what hospitals add up their sums, such as ``secagg.SecureSum()``; None is in the open. For that, bounds
        and categories of all columns must be public too; see `agreement.agree_in_one_sum`.
    seed
        Of the split into training and test rows, of the dealing out, and of the noise in statistics.

    Raises
    ------
    ValueError
        If there is no such data set, target or protocol, a file is damaged, or statistics cannot be private.
    OSError
        If heart_disease has to be downloaded and cannot be.
    """
    by = dict(statistics=statistics, aggregator=aggregator)
    agreement.refuse(**by, protocol=protocol)
    table = sources.table(name, target=target, protocol=protocol)
    return _federation(_prepare(table, **by), **by, seed=seed)


def from_frame(
    frame: pd.DataFrame,
    *,
    target: str,
    hospital: str | None = None,
    patient: str | None = None,
    task: Task | None = None,
    n_hospitals: int = 5,
    alpha: float | None = None,
    bounds: Mapping[str, Sequence[float]] | None = None,
    categories: Mapping[str, Sequence] | None = None,
    statistics: RecordDP | None = None,
    aggregator=None,
    seed: int = 0,
) -> Federation:
    """Any table of patients, ready to train.

    Numbers and true/false are standardised, missing ones become the mean. Text becomes a column for each
    category (one for two categories), missing text is 0 in all of them. A target of two values is binary, the
    larger or alphabetically last being the positive one; text or whole numbers of 3 to 20 values are classes;
    other numbers are regression, whose targets are standardised too.

    Text nearly all of which is numbers is read as numbers; blanks around text go, and so do marks such as "?" and
    "n/a", which mean that nothing is known. What is doubtful about a reading stands in `Federation.report`.

    Parameters
    ----------
    frame
        One row a patient, or with `patient` several.
    target
        Column to predict. Rows without it are dropped. The order of an ordered categorical is the order of classes.
    hospital
        Column with each row's hospital. Without it, rows are dealt out to `n_hospitals`.
    patient
        Column that tells patients apart. It is no feature; all rows of a patient are training rows or all are test
        rows, in whichever hospital they lie, and go to one hospital where rows are dealt out.
    task
        "binary", "multiclass" or "regression", where the values of the target would say something else.
    n_hospitals, alpha
        How many hospitals, and how uneven; see `Federation.repartition`.
    bounds, categories
        Public knowledge: ``{"age": (18, 110)}``, values beyond are moved to the bound;
        ``{"smoker": ["never", "former", "current"]}``. A column of codes is read as categories if named
        here; for the target, this is the order of the classes.
    statistics, aggregator
        As in `load`. With one of them, every column of numbers needs bounds and every column of text categories; true
        and false have the bounds (0, 1). So does a regression target: its bounds hold for the statistics alone, labels
        beyond stay what they are.
    seed
        Of the split into training and test rows, of the dealing out, and of the noise in statistics.

    Raises
    ------
    ValueError
        With one sentence, if there is anything in the table that cannot be used.
    """
    by = dict(statistics=statistics, aggregator=aggregator)
    agreement.refuse(**by)
    known = dict(bounds=bounds, categories=categories)
    table = _own_table(frame, target=target, hospital=hospital, patient=patient, task=task, **known)
    deal = dict(n_hospitals=n_hospitals, alpha=alpha)
    return _federation(_prepare(table, **by), **deal, **by, seed=seed)


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
    agreed_by = {name: same.pop(name, None) for name in ("statistics", "aggregator")}
    agreement.refuse(*agreed_by.values(), same.get("protocol"))
    if isinstance(name_or_frame, str):
        table, deal = sources.table(name_or_frame, **same), {}
    else:
        deal = {k: same.pop(k) for k in ("n_hospitals", "alpha") if k in same}
        table = _own_table(name_or_frame, **same)
    deal |= agreed_by
    table = _prepare(table, **agreed_by)
    federations = [_federation(table, seed=first + k, **deal) for k in range(n)]
    found = [f.agreed.categories for f in federations]
    if any(f != found[0] for f in found):  # a rare category is not in the training rows of every split
        learnt = {c: tuple(sorted({v for f in found for v in f[c]})) for c in found[0]}
        federations = [_federation(table, seed=first + k, at_least=learnt, **deal) for k in range(n)]
    return federations


def _own_table(
    frame: pd.DataFrame, *, target, hospital=None, patient=None, task=None, bounds=None, categories=None
) -> Table:
    if isinstance(frame, pd.DataFrame):
        frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    hospital, patient = (None if c is None else str(c) for c in (hospital, patient))
    known = dict(bounds=bounds, categories=categories, patient=patient, task=task)
    return Table("your table", frame, str(target), hospital, **known, own=True)


@dataclass(frozen=True)
class _Prepared:
    """A table as it is read, whatever the split: its tidy rows with a target, their labels and patients."""

    table: Table
    schema: Schema
    frame: pd.DataFrame
    labels: np.ndarray
    patients: np.ndarray | None
    notes: tuple[Remark, ...]


def _prepare(table: Table, *, statistics: RecordDP | None, aggregator) -> _Prepared:
    """Check and tidy a table. Under a promise nothing is remarked about its rows."""
    bounds = dict(table.bounds or {})
    bounded = statistics is not None or aggregator is not None
    of_target = bounds.pop(table.target, None) if bounded else None
    roles = dict(target=table.target, hospital=table.hospital, patient=table.patient, task=table.task)
    schema = infer(table.frame, **roles, bounds=bounds, categories=table.categories)
    outcome = schema.outcome(table.frame[table.target])
    there = outcome.notna()
    frame = schema.tidy(table.frame[there]).assign(**{table.target: outcome[there]})
    patients = None
    if table.patient is not None:
        patients = pd.factorize(as_text(table.frame.loc[there, table.patient]))[0]
    notes = [] if statistics is not None else [*oddities.about_table(table, schema), *oddities.about_patients(patients)]
    if of_target is not None:
        schema = _with_bounded_target(schema, of_target)
    return _Prepared(table, schema, frame, schema.labels(frame[table.target]), patients, tuple(notes))


def _federation(
    prepared: _Prepared,
    *,
    seed: int,
    n_hospitals: int = 5,
    alpha: float | None = None,
    at_least: Mapping[str, Sequence[str]] | None = None,
    statistics: RecordDP | None = None,
    aggregator=None,
) -> Federation:
    """Deal out, split, then agree; in this order."""
    rng = split_generator(seed)
    table, schema, frame, y = prepared.table, prepared.schema, prepared.frame, prepared.labels
    patients, regression = prepared.patients, schema.task == "regression"
    if table.hospital is None:
        units = len(y) if patients is None else int(patients.max()) + 1
        partition.refuse(n_hospitals, alpha, units, "rows" if patients is None else "patients")
        codes = partition.groups(y, regression=regression)
        shares = partition.draw_shares(int(codes.max()) + 1, n_hospitals, alpha, rng)
        about = dict(shares=shares, regression=regression, at_least=2)
        owner = partition.deal_patients(y, patients, n_hospitals, rng, **about)
        rows_of = {f"Hospital {k + 1}": np.flatnonzero(owner == k) for k in range(n_hospitals)}
    elif alpha is not None:
        raise ValueError(f"alpha={alpha} is for tables without hospitals, but hospital={table.hospital!r}.")
    else:
        rows_of = _hospital_rows(table.frame[table.hospital], table.frame.loc[frame.index, table.hospital])
    sides = _sides(prepared, rows_of, rng, seed)
    parts = []
    for name, (train, test) in sides.items():
        known = None if patients is None else (patients[train], patients[test])
        train, test = frame.iloc[train], frame.iloc[test]
        risk = None if table.true_risk is None else table.true_risk.loc[test.index].to_numpy()[:, None]
        parts.append(Part(name, train.reset_index(drop=True), test.reset_index(drop=True), risk, known))
    about = dict(at_least=at_least, promise=statistics, aggregator=aggregator, seed=seed)
    return assemble(table.name, parts, schema, prepared.notes, table.local_scaling, **about)


def _sides(
    prepared: _Prepared, rows_of: Mapping[str, np.ndarray], rng: np.random.Generator, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Training rows and test rows of each hospital."""
    y, split, stratify = prepared.labels, prepared.table.split, prepared.schema.task != "regression"
    if prepared.patients is not None:
        owner = np.empty(len(y), int)
        for k, rows in enumerate(rows_of.values()):
            owner[rows] = k
        in_test = partition.split_patients(y, prepared.patients, owner, rng, stratify=stratify)
        return {name: (rows[~in_test[rows]], rows[in_test[rows]]) for name, rows in rows_of.items()}
    sides = {}
    for name, rows in rows_of.items():
        if split is None:
            train, test = partition.train_test(y[rows], rng, stratify=stratify)
        else:
            train, test = split(y[rows], seed)
        sides[name] = rows[train], rows[test]
    return sides


def _with_bounded_target(schema: Schema, pair: Sequence[float]) -> Schema:
    """Public bounds of a regression target: they serve private statistics alone."""
    name = f"bounds[{schema.target!r}]"
    if schema.task != "regression":
        raise ValueError(f"{name} does not apply: that target holds classes, which have no mean.")
    return replace(schema, bounds=schema.bounds | {schema.target: check_pair(name, pair)})


def _hospital_rows(all_hospitals: pd.Series, hospital: pd.Series) -> dict[str, np.ndarray]:
    categorical = isinstance(all_hospitals.dtype, pd.CategoricalDtype)
    found = all_hospitals.cat.categories if categorical else all_hospitals.unique()
    names = dict.fromkeys(str(name).strip() for name in found)
    if reserved := {"server", "all", "every hospital", "pooled"} & names.keys():
        raise ValueError(f"A hospital cannot be called {min(reserved)!r}, which means something else here.")
    owner = hospital.astype(str).str.strip().to_numpy()
    rows_of = {name: np.flatnonzero(owner == name) for name in names}
    if empty := [name for name, rows in rows_of.items() if not len(rows)]:
        which = columns(empty, "has", "have").replace("Column", "Hospital", 1)
        raise ValueError(f"{which} no row with a target; leave {'it' if len(empty) == 1 else 'them'} out of the table.")
    return rows_of

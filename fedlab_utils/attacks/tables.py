"""Membership inference on synthetic tables: was this patient among those that the generator learnt from?

The attacker sees nothing but synthetic rows. If the generator repeats its patients, synthetic rows crowd around them:
around members more than around strangers. How close the closest row is (`nearest_record`) and how many are close
(`monte_carlo`) also depend on how common a patient is, though, and a common stranger looks like a member. `domias`
divides that out, with other real patients. `densities` does so by shadow generators, whose patients are known.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from fedlab_utils import synth
from fedlab_utils._arguments import brief, flags, whole
from fedlab_utils.attacks.classifiers import Shadows, coins
from fedlab_utils.attacks.result import AttackResult
from fedlab_utils.fidelity import reading
from fedlab_utils.fidelity.reading import Kinds
from fedlab_utils.fidelity.rows import keys, points

_MOST_KNOWN = 0.01  # of the patients may stand among the reference rows, beyond what coincidence explains
_FEWEST = 10  # rows for a generator to learn from
_PIECE = 500  # patients whose distances are held at a time

Tables = pd.DataFrame | Sequence[pd.DataFrame]


def nearest_record(patients: pd.DataFrame, member: np.ndarray, synthetic: Tables) -> AttackResult:
    """The closer the closest synthetic row, the more likely a member.

    Parameters
    ----------
    patients
        Whom to ask about, n real rows.
    member
        Who of them the generator learnt from, ``[n]``; ``[T, n]`` for several generators.
    synthetic
        What the generator made, with the same columns; a list of T tables for several.

    Raises
    ------
    ValueError
        If `member` or the columns do not fit.
    """
    kinds, member, patients, synthetic, _ = _fitting(patients, member, synthetic)
    scores = [-cdist(*points([patients, table], like=table, categories=kinds.levels)).min(1) for table in synthetic]
    return AttackResult("nearest record", np.stack(scores), member)


def monte_carlo(patients: pd.DataFrame, member: np.ndarray, synthetic: Tables) -> AttackResult:
    """The share of synthetic rows within a small distance (Hilprecht et al., PoPETs 2019, arXiv:1906.03006).

    The distance is the median over all patients of how close the closest synthetic row is.

    Parameters
    ----------
    patients, member, synthetic
        As in `nearest_record`.

    Raises
    ------
    ValueError
        If `member` or the columns do not fit.
    """
    kinds, member, patients, synthetic, _ = _fitting(patients, member, synthetic)
    scores = []
    for table in synthetic:
        distance = cdist(*points([patients, table], like=table, categories=kinds.levels))
        scores.append((distance <= np.median(distance.min(1))).mean(1))
    return AttackResult("Monte Carlo", np.stack(scores), member)


def domias(patients: pd.DataFrame, member: np.ndarray, synthetic: Tables, *, reference: pd.DataFrame) -> AttackResult:
    """How much denser synthetic rows are around a patient than real ones (van Breugel et al., arXiv:2302.12580).

    Both densities are kernel density estimates with the same bell-shaped kernel (bandwidth by Scott's rule).

    Parameters
    ----------
    patients, member, synthetic
        As in `nearest_record`.
    reference
        Other real patients, none of them among `patients`: the attacker's idea of how common a patient is. If they
        were members the attack would look down on just these, if they were the non-members it would find the members
        by elimination.

    Raises
    ------
    ValueError
        If `member` or the columns do not fit, or more of the patients are rows of `reference` than coincidence
        explains: 1%, and what the twins among the patients themselves let expect of as many other rows, with three
        standard errors.
    """
    kinds, member, patients, synthetic, (reference,) = _fitting(patients, member, synthetic, reference=reference)
    own, theirs = (keys(frame, categories=kinds.levels) for frame in (patients, reference))
    known, twins = own.isin(theirs).mean(), own.duplicated(keep=False).mean()
    chance = 1 - (1 - twins) ** (len(reference) / len(patients))
    if known > _MOST_KNOWN + chance + 3 * (chance * (1 - chance) / len(patients)) ** 0.5:
        raise ValueError(
            f"reference must hold other patients than those who are asked about; {known:.0%} of these are among them."
        )
    scores = []
    for table in synthetic:
        x, made, real = points([patients, table, reference], like=reference, categories=kinds.levels)
        width = _bandwidth(min(len(made), len(real)), patients.shape[1])
        scores.append(_log_density(x, made, width) - _log_density(x, real, width))
    return AttackResult("DOMIAS", np.stack(scores), member)


def shadow_generators(
    frame: pd.DataFrame, *, n_models: int = 16, seed: int, n_rows: int | None = None, batch_size: int = 50, **fit
) -> tuple[np.ndarray, list[pd.DataFrame]]:
    """Train small generators side by side, each on patients drawn by coin flips, and let each of them make a table.

    Parameters
    ----------
    frame
        The patients.
    n_models
        How many generators, K; 32 take a while.
    n_rows
        Length of each synthetic table; by default that of `frame`.
    seed
        Of the coins, the training and the tables.
    batch_size, fit
        Arguments of `synth.fit`. A batch is no larger than the smallest training set, so that all generators train as
        one fleet. Give `schema`, or a category that a generator never met cannot be compared.

    Returns
    -------
    member, tables
        Who was in which training set, ``[K, n]``, and K synthetic tables.

    Raises
    ------
    ValueError
        If a generator would have fewer than ten rows to learn from, or an argument does not fit.
    """
    reading.check("frame", frame, fewest=2)
    frame, _ = reading.one(frame)
    n_models, n_rows = whole("n_models", n_models), len(frame) if n_rows is None else whole("n_rows", n_rows)
    if own := {"on_step", "n_models"} & fit.keys():
        raise ValueError(f"fit must leave {sorted(own)[0]} alone: each generator is trained by itself.")
    member = coins(len(frame), n_models, seed)
    if (fewest := int(member.sum(1).min())) < _FEWEST:
        raise ValueError(f"frame must have more rows: a generator would learn from {fewest}, and needs {_FEWEST}.")
    own = {f"{k}": frame[one].reset_index(drop=True) for k, one in enumerate(member)}
    made = synth.fit(own, seed=seed, batch_size=min(whole("batch_size", batch_size), fewest), **fit)
    return member, [one.sample(n_rows, seed=seed + k) for k, one in enumerate(made.values())]


def densities(patients: pd.DataFrame, member: np.ndarray, tables: Sequence[pd.DataFrame]) -> Shadows:
    """How dense each table is around each patient, as a log density, in place of a classifier's logits.

    With this, `attacks.lira` and `attacks.rmia` (online) attack generators: what is usual around a patient is
    learnt from the tables of the other generators. RMIA takes logarithms as small as these for those of probabilities.

    Parameters
    ----------
    patients
        Whom to ask about, n real rows.
    member
        Who was in which training set, ``[K, n]``.
    tables
        What the K generators made.

    Returns
    -------
    Shadows
        ``[K, n]``.

    Raises
    ------
    ValueError
        If `member` or the columns do not fit.
    """
    kinds, member, patients, tables, _ = _fitting(patients, member, tables, name="tables")
    everyone = pd.concat(tables, ignore_index=True)
    x, *made = points([patients, *tables], like=everyone, categories=kinds.levels)
    width = _bandwidth(min(map(len, tables)), patients.shape[1])
    return Shadows(member, np.stack([_log_density(x, rows, width) for rows in made]))


def _fitting(
    patients: pd.DataFrame, member, synthetic: Tables, *, name: str = "synthetic", **others: pd.DataFrame
) -> tuple[Kinds, np.ndarray, pd.DataFrame, list[pd.DataFrame], list[pd.DataFrame]]:
    """What the columns are, `member` ``[T, n]``, and all tables as `fidelity.reading` reads them."""
    tables = [synthetic] if isinstance(synthetic, pd.DataFrame) else synthetic
    if not isinstance(tables, Sequence) or isinstance(tables, str) or not tables:
        raise ValueError(f"{name} must be a table or a list of them; got {brief(synthetic)}.")
    reading.check("patients", patients, fewest=2)
    member = flags("member", member, (len(tables), len(patients)))
    made = {name if len(tables) == 1 else f"{name}[{k}]": table for k, table in enumerate(tables)}
    everything = {"patients": patients, **others, **made}
    kinds, patients, *read = reading.several(everything, genuine=["patients", *others], target=None, fewest=1)
    return kinds, member, patients, read[len(others) :], read[: len(others)]


def _bandwidth(n_rows: int, n_columns: int) -> float:
    """Scott's rule for standardised columns (1992, doi:10.1002/9780470316849)."""
    return n_rows ** (-1 / (n_columns + 4))


def _log_density(points: np.ndarray, rows: np.ndarray, width: float) -> np.ndarray:
    """Kernel density estimate at each point, up to a constant."""
    pieces = np.array_split(points, -(-len(points) // _PIECE))
    sums = [logsumexp(-((cdist(piece, rows) / width) ** 2) / 2, axis=1) for piece in pieces]
    return np.concatenate(sums) - np.log(len(rows))

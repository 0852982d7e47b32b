"""Who gets which rows: training and test rows within a hospital, and patients dealt out to hospitals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

TEST_SHARE = 1 / 3
_BINS = 10  # a numeric target is skewed by its tenths


@dataclass(frozen=True)
class Part:
    """A hospital before scaling: tidy frames with the target, and the true risk of its test rows.

    `patients` are numbers that tell the patients of training and test rows apart, where that is known.
    """

    name: str
    train: pd.DataFrame
    test: pd.DataFrame
    true_risk: np.ndarray | None
    patients: tuple[np.ndarray, np.ndarray] | None = None


def train_test(
    labels: np.ndarray, rng: np.random.Generator, *, stratify: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers to train and to test on, about 2 to 1, each in ascending order.

    A single row is a training row, of two rows one is a test row. With `stratify`, classes keep their shares
    where each has at least two rows and there are test rows for all of them.
    """
    n = len(labels)
    n_test = max(round(n * TEST_SHARE), min(n - 1, 1))
    if n_test == 0:
        return np.arange(n), np.arange(0)
    _, counts = np.unique(labels, return_counts=True)
    enough = counts.min() >= 2 and len(counts) <= n_test
    train, test = train_test_split(
        np.arange(n),
        test_size=n_test,
        random_state=int(rng.integers(2**31)),
        stratify=labels if stratify and enough else None,
    )
    return np.sort(train), np.sort(test)


def of_patients(labels: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """The largest label of each patient, ``[patients]``: whoever was ill once is ill."""
    outcome = np.full(int(patients.max()) + 1, -np.inf)
    np.maximum.at(outcome, patients, labels)
    return outcome


def split_patients(
    labels: np.ndarray, patients: np.ndarray, owner: np.ndarray, rng: np.random.Generator, *, stratify: bool
) -> np.ndarray:
    """Which rows are test rows, ``[n]``; all rows of a patient are on one side, in whichever hospital they lie.

    Patients are split as `train_test` splits rows, by their outcome (see `of_patients`), each in the hospital that
    has most of their rows. A hospital that would be left without training rows gets its smallest patient back.

    Parameters
    ----------
    labels, patients, owner
        Label, patient (0, 1, ...) and hospital (0, 1, ...) of each row, ``[n]``.
    rng
        Of the split.
    stratify
        As in `train_test`.
    """
    held = np.zeros((int(patients.max()) + 1, int(owner.max()) + 1), int)
    np.add.at(held, (patients, owner), 1)
    outcome, home = of_patients(labels, patients), held.argmax(1)
    in_test = np.zeros(len(held), bool)
    for hospital in np.unique(home):
        here = np.flatnonzero(home == hospital)
        in_test[here[train_test(outcome[here], rng, stratify=stratify)[1]]] = True
    for hospital in range(held.shape[1]):
        here = held[:, hospital] > 0
        if here.any() and in_test[here].all():
            in_test[np.flatnonzero(here)[held[here].sum(1).argmin()]] = False
    return in_test[patients]


def refuse(n_hospitals: int, alpha: float | None, n_rows: int, what: str = "rows") -> None:
    """Refuse a number of hospitals or a label skew that cannot be, in one sentence."""
    whole = isinstance(n_hospitals, int | np.integer) and not isinstance(n_hospitals, bool)
    if not whole or n_hospitals < 1:
        raise ValueError(f"n_hospitals must be a whole number of at least 1, not {n_hospitals!r}.")
    if n_hospitals > n_rows:
        raise ValueError(f"n_hospitals={n_hospitals} is more than the {n_rows} {what} there are to deal out.")
    if alpha is not None and not (isinstance(alpha, int | float | np.number) and 0 < alpha < np.inf):
        raise ValueError(f"alpha must be a positive number, or None for no label skew, not {alpha!r}.")


def groups(labels: np.ndarray, *, regression: bool, of: np.ndarray | None = None) -> np.ndarray:
    """Class numbers of `labels`; in regression, the tenth that each falls into, tenths taken from `of`."""
    if not regression:
        return labels.astype(int)
    edges = np.quantile(labels if of is None else of, np.arange(1, _BINS) / _BINS)
    return np.searchsorted(edges, labels)


def draw_shares(
    n_groups: int, n_hospitals: int, alpha: float | None, rng: np.random.Generator
) -> np.ndarray | None:
    """Which share of each class goes to each hospital, ``[n_groups, n_hospitals]``; None for no label skew.

    Each class is spread by one draw from a symmetric Dirichlet distribution (Yurochkin et al.,
    arXiv:1905.12022, in their experiments).
    """
    return None if alpha is None else rng.dirichlet(np.full(n_hospitals, min(alpha, 1e6)), size=n_groups)


def deal(
    codes: np.ndarray, shares: np.ndarray | None, n_hospitals: int, rng: np.random.Generator, *, at_least: int
) -> np.ndarray:
    """Deal rows out to hospitals.

    Parameters
    ----------
    codes
        Class of each row, ``[n]``.
    shares
        From `draw_shares`; None deals out at random, in sizes that differ by one row at most.
    n_hospitals
        How many.
    rng
        Of the dealing out.
    at_least
        Rows that each hospital gets, as far as they go round; taken from the largest hospital.

    Returns
    -------
    ndarray
        The hospital of each row, ``[n]``.
    """
    n = len(codes)
    owner = np.empty(n, int)
    if shares is None:
        owner[rng.permutation(n)] = np.arange(n) % n_hospitals
        return owner
    for group, share in enumerate(shares):
        rows = rng.permutation(np.flatnonzero(codes == group))
        ends = np.round(np.cumsum(share) * len(rows))
        owner[rows] = np.minimum(np.searchsorted(ends, np.arange(len(rows)), side="right"), n_hospitals - 1)
    counts = np.bincount(owner, minlength=n_hospitals)
    while counts.min() < min(at_least, n // n_hospitals):
        row = rng.choice(np.flatnonzero(owner == counts.argmax()))
        owner[row] = counts.argmin()
        counts = np.bincount(owner, minlength=n_hospitals)
    return owner


def deal_patients(
    labels: np.ndarray,
    patients: np.ndarray | None,
    n_hospitals: int,
    rng: np.random.Generator,
    *,
    shares: np.ndarray | None,
    regression: bool,
    at_least: int,
    of: np.ndarray | None = None,
) -> np.ndarray:
    """As `deal`, with all rows of a patient in one hospital; `patients` None: each row is a patient of its own."""
    if patients is None:
        return deal(groups(labels, regression=regression, of=of), shares, n_hospitals, rng, at_least=at_least)
    there, numbers = np.unique(patients, return_inverse=True)
    if not len(there):
        return np.empty(0, int)
    codes = groups(of_patients(labels, numbers), regression=regression, of=of)
    return deal(codes, shares, n_hospitals, rng, at_least=at_least)[numbers]

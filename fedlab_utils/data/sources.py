"""The four data sets: where they come from, and what is publicly known about them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pooch
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.model_selection import train_test_split

from fedlab_utils.data import simulate
from fedlab_utils.data.cleaning import FACTORS, HOSPITAL_COLUMN, OUTCOMES, clean_hospital_network, zeros_to_missing

TARGETS = {  # the first is the default
    "hospital_network": OUTCOMES,
    "breast_cancer": ("malignant",),
    "diabetes": ("above_median", "progression"),
    "heart_disease": ("disease",),
}
DIABETES_MEDIAN = 140.5  # of the 442 published patients; see the data card
HEART_URL = "https://archive.ics.uci.edu/ml/machine-learning-databases/heart-disease/"
HEART_FILES = {  # hospital -> file and SHA-256 checksum
    "Cleveland": (
        "processed.cleveland.data", "a74b7efa387bc9d108d7d0115d831fe9b414b29ae7124f331b622b4efa0427c8"),
    "Hungary": (
        "processed.hungarian.data", "d1ad108f785768cd3d7e82dc522e6f5a61eea93cccfb3a46ee8076f73fc3d796"),
    "Switzerland": (
        "processed.switzerland.data", "834a405ccf5b66ab4056bb77794adc8df0b7125186454c0a1d002d33c6c3b314"),
    "VA": (
        "processed.va.data", "e7c93d8d0d2acdadfa4c5e8de768e2191e7f618b952e29623f1f0d5949ff6b8f"),
}
HEART_COLUMNS = [
    "age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca",
    "thal", "num",
]
_DIABETES_NAMES = {
    "s1": "total_cholesterol", "s2": "ldl", "s3": "hdl", "s4": "cholesterol_ratio", "s5": "log_triglycerides",
    "s6": "glucose",
}


@dataclass(frozen=True)
class Table:
    """A clean table and what is publicly known about it.

    Attributes
    ----------
    frame
        Features, target and, if it has one, hospital column.
    target, hospital, patient
        Column names; without a hospital column the rows are dealt out to hospitals.
    task
        What to make of the target; None lets its values decide.
    bounds, categories
        Public knowledge about features.
    true_risk
        Probability of the positive class for each row, where the world is simulated.
    split
        ``split(labels, seed) -> (train, test)`` row numbers within one hospital; None is the usual one.
    local_scaling
        Each hospital standardises with its own training rows instead of with agreed numbers.
    notes
        Sentences for the report.
    own
        Whether nobody has looked at the table before.
    """

    name: str
    frame: pd.DataFrame
    target: str
    hospital: str | None = None
    bounds: dict | None = None
    categories: dict | None = None
    true_risk: pd.Series | None = None
    split: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]] | None = None
    local_scaling: bool = False
    notes: tuple[str, ...] = ()
    patient: str | None = None
    task: str | None = None
    own: bool = False


def names() -> list[str]:
    """The data sets, the default first."""
    return list(TARGETS)


def load_raw(name: str) -> pd.DataFrame:
    """A data set as it was extracted, with all its faults.

    Raises
    ------
    ValueError
        If there is no such data set, or a file has the wrong checksum.
    OSError
        If heart_disease has to be downloaded and cannot be.
    """
    _check_name(name)
    if name == "hospital_network":
        return simulated()[0].copy()
    if name == "breast_cancer":
        return load_breast_cancer(as_frame=True).frame
    if name == "diabetes":
        return load_diabetes(as_frame=True, scaled=False).frame
    return _read_heart_disease()


def table(name: str, *, target: str | None = None, protocol: str | None = None) -> Table:
    """A data set, cleaned; see `data.load` for the arguments.

    Raises
    ------
    ValueError
        If there is no such data set, target or protocol, or a file has the wrong checksum.
    OSError
        If heart_disease has to be downloaded and cannot be.
    """
    _check_name(name)
    target = TARGETS[name][0] if target is None else target
    if target not in TARGETS[name]:
        raise ValueError(f"target={target!r} is not one of {list(TARGETS[name])}, the targets of {name}.")
    if protocol not in (None, "flamby") or (protocol and name != "heart_disease"):
        raise ValueError(f"protocol={protocol!r} is not available for {name}; heart_disease has 'flamby'.")
    if name == "hospital_network":
        return _hospital_network(target)
    if name == "heart_disease":
        return _heart_disease_flamby() if protocol else _heart_disease()
    if name == "breast_cancer":
        raw = load_raw(name).rename(columns=lambda c: c.replace(" ", "_"))
        return Table(name, raw.drop(columns="target").assign(malignant=1 - raw["target"]), target)
    frame = load_raw(name).rename(columns={"target": "progression"} | _DIABETES_NAMES)
    if target == "above_median":
        frame[target] = (frame.pop("progression") > DIABETES_MEDIAN).astype(int)
    return Table(name, frame, target, categories={"sex": ["1", "2"]})


def _check_name(name: str) -> None:
    if name not in TARGETS:
        raise ValueError(f"There is no data set {name!r}; there are {', '.join(TARGETS)}.")


# --- hospital_network --------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def simulated() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The simulated extract and the truth, made once and shared: copy before you change anything."""
    return simulate.hospital_network()


@lru_cache(maxsize=2)
def _hospital_network(target: str) -> Table:
    raw, truth = simulated()
    clean = clean_hospital_network(raw)
    other = next(t for t in OUTCOMES if t != target)  # it would give the answer away
    repeats = len(raw) - len(clean)
    note = f"{repeats} of {len(raw)} records repeat another of their hospital and were dropped."
    return Table(
        "hospital_network",
        clean.drop(columns=other),
        target,
        HOSPITAL_COLUMN,
        bounds=simulate.BOUNDS,
        categories={c: v for c, v in simulate.CATEGORIES.items() if c in (*FACTORS, target)},
        true_risk=truth.loc[clean.index, "true_risk"] if target == "cvd_event" else None,
        notes=(note,),
    )


# --- heart_disease ------------------------------------------------------------------------------------------


def _heart_disease() -> Table:
    raw = _read_heart_disease()
    frame = zeros_to_missing(raw, ["chol", "trestbps"])
    zeros = {c: int((raw[c] == 0).sum()) for c in ("chol", "trestbps")}
    notes = (
        f"Recorded zeros count as missing: {zeros['chol']} of chol and {zeros['trestbps']} of trestbps.",
        "slope, ca and thal are left out: outside Cleveland they are mostly not recorded.",
    )
    return Table(
        "heart_disease",
        frame.drop(columns=["slope", "ca", "thal", "num"]).assign(disease=(frame["num"] > 0).astype(int)),
        "disease",
        HOSPITAL_COLUMN,
        categories={"cp": [1, 2, 3, 4], "restecg": [0, 1, 2]},
        notes=notes,
    )


def _heart_disease_flamby() -> Table:
    """The 740 rows and 13 features of Fed-Heart-Disease (Ogier du Terrail et al., arXiv:2210.04620)."""
    frame = _read_heart_disease().drop(columns=["slope", "ca", "thal"]).dropna().reset_index(drop=True)
    for column, levels in (("cp", [2, 3, 4]), ("restecg", [1, 2])):  # the first level is the one with zeros
        codes = frame.pop(column)
        frame = frame.assign(**{f"{column}_{k}": (codes == k).astype(int) for k in levels})
    frame["disease"] = (frame.pop("num") > 0).astype(int)
    notes = ("Published protocol: complete rows only, recorded zeros kept, each hospital scaled by itself.",)
    return Table(
        "heart_disease", frame, "disease", HOSPITAL_COLUMN, split=_flamby_split, local_scaling=True, notes=notes
    )


def _flamby_split(labels: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    # Seed 0 is the published split, its random_state is 43; the others are splits of the same kind.
    _, counts = np.unique(labels, return_counts=True)
    stratify = labels if len(counts) > 1 and counts.min() > 2 else None
    sizes = dict(train_size=0.66, test_size=1 - 0.66)
    train, test = train_test_split(np.arange(len(labels)), random_state=43 + seed, stratify=stratify, **sizes)
    return np.sort(train), np.sort(test)


def _read_heart_disease() -> pd.DataFrame:
    parts = []
    for hospital, (file, _) in HEART_FILES.items():
        part = pd.read_csv(heart_disease_file(file), header=None, names=HEART_COLUMNS, na_values="?")
        parts.append(part.astype(float).astype({"num": int}).assign(hospital=hospital))
    return pd.concat(parts, ignore_index=True)[[HOSPITAL_COLUMN, *HEART_COLUMNS]]


def heart_disease_file(file: str) -> Path:
    """Path of one of the four files, with the right checksum; downloaded on the first call.

    The folder `heart_disease` in the one that the environment variable FEDLAB_DATA_DIR names is looked at
    first, then the cache, then the archive.

    Raises
    ------
    ValueError
        If the file in that folder has the wrong checksum.
    OSError
        If the file cannot be downloaded, or arrived damaged.
    """
    checksum = dict(HEART_FILES.values())[file]
    given = os.environ.get("FEDLAB_DATA_DIR")
    if given and (path := Path(given) / "heart_disease" / file).is_file():
        if hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
            raise ValueError(f"{path} is damaged or another version: its SHA-256 checksum is wrong.")
        return path
    instead = "with a data set that needs no download, such as breast_cancer"
    return fetch(HEART_URL + file, f"sha256:{checksum}", file, "heart_disease", instead)


def fetch(url: str, checksum: str, file: str, folder: str, instead: str) -> Path:
    """A file from the cache, which is downloaded on the first call.

    Parameters
    ----------
    url, checksum, file
        Where it is, its checksum as pooch writes it, and its name in the cache.
    folder, instead
        Of FEDLAB_DATA_DIR, where it may be put by hand; and with what to go on without it.

    Raises
    ------
    OSError
        If the file cannot be downloaded, or arrived damaged.
    """
    instead = f"or go on {instead}."
    pooch.get_logger().setLevel("WARNING")  # its "Downloading ..." would stand in red in a notebook
    try:
        return Path(pooch.retrieve(url, checksum, fname=file, path=_cache()))
    except ValueError as error:
        damaged = f"The download of {file} arrived damaged and was thrown away; try again, {instead}"
        raise OSError(damaged) from error
    except OSError as error:
        raise OSError(
            f"{file} of {folder} could not be downloaded, is there a network? Put it into the folder "
            f"{folder} of FEDLAB_DATA_DIR, {instead}"
        ) from error


def _cache() -> Path:
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file() and (root / "datasets").is_dir():
        return root / "datasets" / "cache"
    return Path(pooch.os_cache("fedlab"))

"""How good a score is: by hospital, kind and size, at a threshold, and pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from fedlab_utils._arguments import brief, number, numbers
from fedlab_utils.data.images import ScanHospital, ScanNetwork, Scans

Score = Callable[[Scans], np.ndarray]


def auc(normal: np.ndarray, abnormal: np.ndarray) -> float:
    """How often an abnormal scan scores above a normal one; ties count half."""
    normal, abnormal = _scores(normal, "normal"), _scores(abnormal, "abnormal")
    ranks = rankdata(np.concatenate([normal, abnormal]))[len(normal) :]
    n = len(abnormal)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * len(normal)))


def sensitivity(normal: np.ndarray, abnormal: np.ndarray, false_alarms: float = 0.05) -> float:
    """Share of abnormal scans above the threshold that so many of the normal ones pass."""
    if not 0 < number("false_alarms", false_alarms) < 1:
        raise ValueError(f"false_alarms must be above 0 and below 1; got {brief(false_alarms)}.")
    return float((_scores(abnormal, "abnormal") > np.quantile(_scores(normal, "normal"), 1 - false_alarms)).mean())


def judged(network: ScanNetwork, score: Score | Sequence[Score]) -> pd.DataFrame:
    """AUC and sensitivity of a score, hospital by hospital, so that telling hospitals apart wins nothing.

    Parameters
    ----------
    network
        Whose test scans.
    score
        ``score(scans) -> [n]``, of each scan by itself; or one for each hospital, where hospitals use models of their
        own.

    Returns
    -------
    DataFrame
        Columns hospital, kind, size, auc, sensitivity (at 5% false alarms within the hospital).
    """
    scores = _each(network, score)
    lines = []
    for hospital, own in zip(network.hospitals, scores, strict=True):
        ends = np.cumsum([len(hospital.normal), *map(len, hospital.abnormal.values())])
        normal, *abnormal = np.split(_scores(own(_tested(hospital)), "score", ends[-1]), ends[:-1])
        for (kind, size), found in zip(hospital.abnormal, abnormal, strict=True):
            lines.append((hospital.name, kind, size, auc(normal, found), sensitivity(normal, found)))
    return pd.DataFrame(lines, columns=["hospital", "kind", "size", "auc", "sensitivity"])


def false_alarms(network: ScanNetwork, score: Score | Sequence[Score], threshold: float | None = None) -> pd.Series:
    """Share of each hospital's normal test scans above one threshold for all.

    Parameters
    ----------
    network, score
        As in `judged`.
    threshold
        None is the one that 5% of all normal test scans pass, hospitals counting alike.
    """
    found = [own(h.normal) for h, own in zip(network.hospitals, _each(network, score), strict=True)]
    if threshold is None:
        weight = np.concatenate([np.full(len(f), 1 / len(f)) for f in found])
        together = np.concatenate(found)
        order = np.argsort(together)
        passed = np.cumsum(weight[order]) / weight.sum()
        threshold = together[order][np.searchsorted(passed, 0.95)]
    return pd.Series({h.name: float((f > threshold).mean()) for h, f in zip(network.hospitals, found, strict=True)})


def overlap(heat: np.ndarray, mask: np.ndarray, threshold: float) -> pd.DataFrame:
    """Where a heat map is hot, beside where the anomaly was planted.

    Parameters
    ----------
    heat, mask
        ``[n, d]``: numbers, and true or false.
    threshold
        Pixels above it count as found.

    Returns
    -------
    DataFrame
        A row for each scan: whether the hottest pixel lies in the mask, and Dice's overlap, from 0 to 1.
    """
    heat, mask = numbers("heat", heat), np.asarray(mask)
    if mask.dtype != bool or mask.shape != heat.shape or heat.ndim != 2:
        raise ValueError(f"mask must be true or false in the shape of heat, {heat.shape}; got {mask.shape}.")
    found = heat > threshold
    both, either = (found & mask).sum(1), found.sum(1) + mask.sum(1)
    hottest = mask[np.arange(len(heat)), heat.argmax(1)]
    return pd.DataFrame({"hottest_inside": hottest, "dice": 2 * both / np.maximum(either, 1)})


def _tested(hospital: ScanHospital) -> Scans:
    """All scans to test with in one, the normal ones first: what looks at each scan by itself is faster so."""
    parts = [hospital.normal, *hospital.abnormal.values()]
    names = ("pixels", "mask", "brightness", "contrast")
    return Scans(kind="several", size=0.0, **{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def _each(network: ScanNetwork, score) -> list[Score]:
    scores = [score] * len(network.hospitals) if callable(score) else list(score)
    if len(scores) != len(network.hospitals) or not all(map(callable, scores)):
        raise ValueError(f"score must be a function, or one for each of {len(network.hospitals)} hospitals.")
    return scores


def _scores(value, name: str, n: int | None = None) -> np.ndarray:
    found = numbers(name, value, only_finite=True).ravel()
    if not found.size:
        raise ValueError(f"{name} must hold a score or more; got none.")
    if n is not None and len(found) != n:
        raise ValueError(f"{name} must give a number for each scan, {n}; got {len(found)}.")
    return found

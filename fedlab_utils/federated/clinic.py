"""What a clinic asks of a trained model: whom it misses, whether its risks hold, and what acting on them is worth.

Everything here is for two classes, "ill" standing for the positive one, and comes by hospital and by seed. As with
every score on test rows, what is shown of real patients is a release, which the run's ledger lists as unprotected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.special import expit, logit, ndtri
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, flag, number, whole
from fedlab_utils.data import Federation
from fedlab_utils.federated.plan import as_replicates
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.scores import ALL, rank_auc

_EVENTS = 5  # ill and healthy patients that a group of predicted risk should hold on average
_ROUNDS, _CLOSE, _TINY = 100, 1e-10, 1e-200  # of Newton's method, and when it has arrived


@dataclass(frozen=True, eq=False, repr=False)
class Recalibrated:
    """A run whose risks were set right in each hospital; `clinical` and `calibration` score it as they score a run.

    Attributes
    ----------
    run
        The run as it was trained; its ledger still is the ledger.
    hospitals
        Their names.
    shift
        What is added to the logits of each hospital's patients, ``[seeds, hospitals]``.
    scale
        What they are multiplied by before, ``[seeds, hospitals]``; 1 where no slope was asked for.
    """

    run: FederatedRun
    hospitals: tuple[str, ...]
    shift: np.ndarray
    scale: np.ndarray

    def __len__(self) -> int:
        return len(self.run)

    def __repr__(self) -> str:
        return f"Recalibrated({len(self.hospitals)} hospitals, {len(self)} seeds)"

    def predict_proba(self, X: Tensor | np.ndarray, hospital: str) -> Tensor:
        """Class probabilities ``[seeds, n, 2]`` of patients of one hospital, rows ``[n, d]``."""
        if hospital not in self.hospitals:
            raise ValueError(f"hospital must be one of {', '.join(self.hospitals)}; got {brief(hospital)}.")
        risk = self.run.predict_proba(X)[:, :, 1].double().numpy()
        own = [self.hospitals.index(hospital)]
        risk = expit(self.scale[:, own] * logit(risk) + self.shift[:, own])
        return torch.from_numpy(np.stack([1 - risk, risk], 2)).float()


def clinical(
    run: FederatedRun | Recalibrated, federation: Federation | Sequence[Federation], *, threshold: float = 0.1
) -> pd.DataFrame:
    """Score a run as a clinic would that acts on predicted risks from `threshold` on, on the test rows.

    Parameters
    ----------
    run
        What `federated.train` or `recalibrated` returned, for a binary task.
    federation
        What it was trained on.
    threshold
        Predicted risk from which on a patient is flagged, above 0 and below 1. It says what a clinic thinks a missed
        patient is worth: at 0.1, as much as nine flagged ones who stay healthy.

    Returns
    -------
    DataFrame
        A row for each hospital ("all": every test patient) and seed. What is undefined, such as anything without
        test rows, is missing.

        - ``patients``, ``ill``: test rows, and how many of them are ill;
        - ``missed``: share of the ill whose predicted risk is below the threshold;
        - ``flagged``: share of all patients at or above it, which is what missing few costs;
        - ``predicted_observed``: mean predicted risk over the observed share; below 1, risks are too low. Missing where
          nobody is ill;
        - ``intercept``: calibration in the large, the number that has to be added to all logits so that the mean
          predicted risk is the observed share; below 0, risks are too high (Cox 1958 [1]_, Van Calster et al. [2]_);
        - ``slope``: what logits have to be multiplied with, besides a free intercept; below 1, risks are too extreme.
          Missing where no such number is the best (all risks alike, or the ill and the healthy do not overlap);
        - ``net_benefit``: share of ill patients flagged, less that of healthy patients flagged times
          threshold / (1 - threshold) [3]_; beside it ``treat_all`` and ``treat_none``, who need no model;
        - ``auc``: over all patients of the row;
        - ``auc_within``: mean of the hospitals' AUCs weighted by their pairs of an ill and a healthy patient, so the
          chance that of such a pair *of one hospital* the ill one has the higher risk. Telling hospitals of more and
          less ill patients apart raises ``auc`` but not this.

    Raises
    ------
    ValueError
        If the task is not binary, or `run`, `federation` or `threshold` does not fit.

    References
    ----------
    .. [1] Cox (1958), doi:10.1093/biomet/45.3-4.562.
    .. [2] Van Calster et al. (2019), doi:10.1186/s12916-019-1466-7.
    .. [3] Vickers and Elkin (2006), doi:10.1177/0272989X06295361.
    """
    threshold = number("threshold", threshold)
    if not 0 < threshold < 1:
        raise ValueError(f"threshold must be a risk above 0 and below 1, such as 0.1; got {threshold:g}.")
    rows = _rows(run, federation)
    flagged = rows.risk >= threshold
    with np.errstate(invalid="ignore", divide="ignore"):  # undefined is missing
        n, n_ill = rows.count(), rows.count(rows.ill)
        hits, alarms = rows.count(flagged & rows.ill), rows.count(flagged & ~rows.ill)
        lost = np.where(np.isnan(rows.count(0 * rows.logit)), np.nan, 0)  # a model that ran away has no scores
        odds = threshold / (1 - threshold)
        auc = rank_auc(rows.logit, rows.ill, rows.group, rows.n_groups)
        found = {
            "patients": n.astype(int),
            "ill": n_ill.astype(int),
            "missed": 1 - hits / n_ill + lost,
            "flagged": (hits + alarms) / n + lost,
            "predicted_observed": np.where(n_ill > 0, rows.count(rows.risk) / n_ill, np.nan),
            "intercept": intercepts(rows.logit, rows.ill, rows.group, rows.n_groups),
            "slope": slopes(rows.logit, rows.ill, rows.group, rows.n_groups),
            "net_benefit": (hits - alarms * odds) / n + lost,
            "treat_all": (n_ill - (n - n_ill) * odds) / n,
            "treat_none": np.where(n > 0, 0.0, np.nan),
            "auc": auc + lost,
            "auc_within": _within(auc, n_ill * (n - n_ill), len(rows.names)) + lost,
        }
    return pd.DataFrame(rows.columns() | found)


def calibration(
    run: FederatedRun | Recalibrated, federation: Federation | Sequence[Federation], *, groups: int = 10
) -> pd.DataFrame:
    """Predicted against observed risk on the test rows, in groups of equal size by predicted risk.

    Parameters
    ----------
    run, federation
        As in `clinical`.
    groups
        How many, 10 for tenths; fewer where there would be less than five ill and five healthy patients a group on
        average. Patients of equal predicted risk stay together.

    Returns
    -------
    DataFrame
        hospital ("all": every test patient), seed, group (from 0, the lowest risks), n, predicted (mean risk), observed
        (share of the ill), low, high (95% interval of the observed share by Wilson, 1927,
        doi:10.1080/01621459.1927.10502953). Groups without patients are left out.

    Raises
    ------
    ValueError
        As `clinical`.
    """
    groups, rows = whole("groups", groups), _rows(run, federation)
    n, n_ill = rows.count(), rows.count(rows.ill)
    most = np.clip(np.minimum(n_ill, n - n_ill) // _EVENTS, 1, groups).astype(int)
    order = np.lexsort((rows.risk, rows.group))
    risk, group = rows.risk[order], rows.group[order]
    new = np.r_[True, (risk[1:] != risk[:-1]) | (group[1:] != group[:-1])]
    place = np.flatnonzero(new)[np.cumsum(new) - 1] - (np.cumsum(n) - n).astype(int)[group]  # equal risks, equal place
    part = place * most[group] // n[group].astype(int)
    cell = group * groups + part

    def count(values: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(cell, values, rows.n_groups * groups)

    size = count()
    there = np.flatnonzero(size)
    size, predicted, observed = size[there], count(risk)[there], count(rows.ill[order])[there]
    low, high = wilson(observed, size)
    columns = {name: values[there // groups] for name, values in rows.columns().items()}
    found = dict(group=there % groups, n=size, predicted=predicted / size, observed=observed / size)
    return pd.DataFrame(columns | found | dict(low=low, high=high))


def recalibrated(
    run: FederatedRun, federation: Federation | Sequence[Federation], *, slope: bool = False
) -> Recalibrated:
    """Set a run's risks right in each hospital by one number: a first remedy where the level of risk differs.

    Each hospital refits one intercept on its own *training* rows (the one of `clinical`) and adds it to all logits. The
    order of its patients, and so its AUC, stays. A model that knows its training rows by heart looks better calibrated
    on them than it is, and is then not set right. Where all training rows are alike no intercept exists, and the
    hospital's risks stay as they are.

    The number is made from patients' labels. If the run made a promise of privacy, this number is not part of it: it
    must stay in the hospital that computed it. Whoever publishes it, or risks that were computed with it, releases
    something that nobody paid for; the ledger of the run knows nothing of it.

    Parameters
    ----------
    run, federation
        As in `clinical`. A hospital that poisoned its labels (`attack` of `federated.train`) refits on its true ones:
        it lies in what it hands on, and this stays at home.
    slope
        Whether each hospital refits a slope besides, by which logits are multiplied first. Where there is none above 0,
        it stays 1.

    Returns
    -------
    Recalibrated
        With the same seeds.

    Raises
    ------
    ValueError
        As `clinical`.
    """
    if not isinstance(run, FederatedRun):
        raise ValueError(f"run must be what federated.train returned; got {brief(run)}.")
    rows = _rows(run, federation, train=True)
    scale = np.ones(rows.n_groups)
    if flag("slope", slope):
        found = slopes(rows.logit, rows.ill, rows.group, rows.n_groups)
        scale = np.where(found > 0, found, 1)
    shift = intercepts(scale[rows.group] * rows.logit, rows.ill, rows.group, rows.n_groups)
    shift, scale = (each.reshape(len(run), -1)[:, :-1] for each in (shift, scale))
    return Recalibrated(run, run.hospitals, np.nan_to_num(shift), scale)


# ---- the rows


@dataclass(frozen=True)
class _Rows:
    """Logits and labels of all seeds, each row twice: in its hospital's group and in that of all its seed's rows.

    Group ``s * (hospitals + 1) + h`` is hospital h under seed s, the last of a seed are all its hospitals.
    """

    logit: np.ndarray
    ill: np.ndarray
    group: np.ndarray
    names: list[str]
    n_groups: int

    @property
    def risk(self) -> np.ndarray:
        return expit(self.logit)

    def count(self, values: np.ndarray | None = None) -> np.ndarray:
        """Sum of `values` (of ones) in each group."""
        return np.bincount(self.group, values, self.n_groups).astype(float)

    def columns(self) -> dict[str, np.ndarray]:
        """Hospital and seed of each group."""
        n_seeds = self.n_groups // len(self.names)
        return {"hospital": np.tile(self.names, n_seeds), "seed": np.repeat(np.arange(n_seeds), len(self.names))}


def scored_on(run: FederatedRun, federation: Federation | Sequence[Federation]) -> list[Federation]:
    """The federation of each seed, on whose rows the run's global models are scored.

    Raises
    ------
    ValueError
        If it is not what the run was trained on, or the global models have an untrained part.
    """
    if not run.whole:
        raise ValueError(
            "run must have no personal part: in its global model that part is untrained; see federated.by_hospital."
        )
    federations = as_replicates(federation, len(run))
    first = federations[0]
    if len(federations) != len(run):
        raise ValueError(f"federation must be one, or one for each of the {len(run)} seeds; got {len(federations)}.")
    if [h.name for h in first.hospitals] != list(run.hospitals) or first.n_features != run.params.sizes[0]:
        raise ValueError("federation must be what the run was trained on: its hospitals or features are others.")
    return federations


def _rows(run, federation, *, train: bool = False) -> _Rows:
    """Test rows (or training rows) of every hospital under every seed."""
    if not isinstance(run, FederatedRun | Recalibrated):
        raise ValueError(f"run must be what federated.train or federated.recalibrated returned; got {brief(run)}.")
    plain = run, np.zeros((len(run), 1)), np.ones((len(run), 1))
    base, shift, scale = (run.run, run.shift, run.scale) if isinstance(run, Recalibrated) else plain
    if base.task != "binary":
        raise ValueError(f"run must be of a binary task, ill or not; this one is {base.task}.")
    federations = scored_on(base, federation)
    logits, ill, groups = [], [], []
    width = len(base.hospitals) + 1
    with torch.no_grad(), fleet.one_thread():
        for f in {id(f): f for f in federations}.values():
            seeds = np.flatnonzero([other is f for other in federations])
            both = [(h.X_train, h.y_train) if train else (h.X_test, h.y_test) for h in f.hospitals]
            X, y = (torch.cat(parts) for parts in zip(*both, strict=True))
            hospital = np.repeat(np.arange(width - 1), [len(own) for _, own in both])
            out = fleet.forward(base.params[seeds], X)[:, :, 0].double().numpy()
            own = seeds[:, None], np.minimum(hospital, shift.shape[1] - 1)
            logits.append((scale[own] * out + shift[own]).ravel())
            ill.append(np.tile(y.numpy()[:, 0] == 1, len(seeds)))
            groups.append((seeds[:, None] * width + hospital).ravel())
    logits, ill, group = (np.concatenate(parts) for parts in (logits, ill, groups))
    everybody = group // width * width + width - 1
    names, twice = [*base.hospitals, ALL], np.concatenate([group, everybody])
    return _Rows(np.tile(logits, 2), np.tile(ill, 2), twice, names, len(base) * width)


def _within(auc: np.ndarray, pairs: np.ndarray, width: int) -> np.ndarray:
    """The AUC of each hospital, and for all together the mean of those, weighted by pairs."""
    auc, pairs = auc.reshape(-1, width), pairs.reshape(-1, width)[:, :-1]
    found = auc.copy()
    found[:, -1] = np.where(pairs > 0, auc[:, :-1] * pairs, 0).sum(1) / pairs.sum(1)
    return found.ravel()


# ---- the statistics, in many groups at once


def wilson(hits: np.ndarray, n: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of a share, from counts ``[...]`` of hits among n, n above 0."""
    z = ndtri((1 + confidence) / 2)
    share, wide = hits / n, 1 + z**2 / n
    middle = (share + z**2 / (2 * n)) / wide
    half = z / wide * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.maximum(middle - half, 0), np.minimum(middle + half, 1)


def intercepts(logit_: np.ndarray, ill: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """What makes the mean risk of each group its observed share, ``[n_groups]``; missing where all are alike.

    This is logistic regression with the logits as an offset. Newton's method, kept between two numbers of which one
    is too low and one too high.
    """
    n, hits = np.bincount(group, minlength=n_groups), np.bincount(group, ill, n_groups)
    low, high = _edges(logit_, group, n_groups)
    fine = (hits > 0) & (hits < n) & np.isfinite(low) & np.isfinite(high)
    level = logit(np.where(fine, hits / np.maximum(n, 1), 0.5))
    low, high = (np.where(fine, level - edge, 0) for edge in (high, low))
    found, at = (low + high) / 2, np.where(fine[group], logit_, 0.0)
    for _ in range(_ROUNDS):
        risk = expit(at + found[group])
        gap, bend = np.bincount(group, ill - risk, n_groups), np.bincount(group, risk * (1 - risk), n_groups)
        low, high = np.where(gap > 0, found, low), np.where(gap <= 0, found, high)
        step = found + gap / np.maximum(bend, _TINY)
        inside = (step > low) & (step < high) | (step == found)  # who has arrived stays, and is not halved away
        step = np.where(inside, step, (low + high) / 2)
        moved, found = np.abs(step - found), step
        if moved[fine].max(initial=0) < _CLOSE:
            break
    return np.where(fine, found, np.nan)


def slopes(logit_: np.ndarray, ill: np.ndarray, group: np.ndarray, n_groups: int) -> np.ndarray:
    """Slope of a logistic regression of the labels on the logits, ``[n_groups]``; missing where there is no best one.

    That is so where logits of the ill and of the healthy do not overlap. Newton's method, each group until it arrives.
    """
    edges = [_edges(logit_[who], group[who], n_groups) for who in (ill, ~ill)]
    (ill_low, ill_high), (low, high) = edges
    fine = (high > ill_low) & (ill_high > low) & np.all(np.isfinite(np.concatenate(edges)), axis=0)

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, values, n_groups)

    n = np.maximum(total(np.ones(len(group))), 1)
    x = np.where(fine[group], logit_, 0.0)
    centre = total(x) / n
    x = x - centre[group]
    spread = np.where(fine, np.sqrt(total(x**2) / n), 1)
    x /= spread[group]
    a, b = np.zeros(n_groups), np.zeros(n_groups)
    for _ in range(_ROUNDS):
        risk = expit(a[group] + b[group] * x)
        w, gap = risk * (1 - risk), ill - risk
        level, tilt, s0 = total(gap), total(gap * x), np.maximum(total(w), _TINY)
        arrived = np.maximum(np.abs(level), np.abs(tilt)) <= _CLOSE * n
        if arrived[fine].all():
            break
        mean = total(w * x) / s0
        db = (tilt - mean * level) / np.maximum(total(w * (x - mean[group]) ** 2), _TINY)
        da = level / s0 - mean * db
        a, b = (old + np.where(fine & ~arrived, step, 0) for old, step in ((a, da), (b, db)))
        on = (fine & ~arrived)[group]  # sums over no rows are 0: who has arrived stays so
        group, x, ill = group[on], x[on], ill[on]
    return np.where(fine & arrived, b / spread, np.nan)


def _edges(values: np.ndarray, group: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest value of each group; NaN where one of its values is, infinite where it has none."""
    low, high = np.full(n_groups, np.inf), np.full(n_groups, -np.inf)
    with np.errstate(invalid="ignore"):
        np.minimum.at(low, group, values)
        np.maximum.at(high, group, values)
    return low, high

"""How well an attack tells members from the others: ROC, TPR at low FPR, and how sure we can be of them.

One number hides what matters. An attack that finds 5% of the patients without a single false alarm, and one that
guesses a little better than a coin about everybody, can have the same AUC; the first one is a breach. So what counts
is the share of members found (TPR) at a low share of false alarms (FPR).

The same patient is judged in many models and the same model judges many patients, so scores are not independent.
Intervals come from a bootstrap that draws patients and models anew, both with replacement ("pigeonhole bootstrap",
Owen and Eckles, arXiv:1106.2125), and finds the threshold again in each draw. It errs on the wide side: what has to do
with neither the patient nor the model is counted up to three times. With one model only the patients are drawn, and
the interval speaks of this one model, and is a little too narrow (it misses about 7 times in 100, not 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief, flags, number, numbers, whole
from fedlab_utils.fleet.randomness import BOOTSTRAP, generator

LEAST_ALARMS = 10  # false alarms that a rate needs to rest on
CONFIDENCE = 0.95

_DRAWS = 400  # of the bootstrap
_THRESHOLDS = 1000
_GRID = 60  # points of a curve
_SLACK = 1 + 1e-6  # for what rounding does to a share


@dataclass(frozen=True)
class Estimate:
    """A number and its 95% interval; or, in `unresolved`, why there is none.

    An estimate that the sample cannot resolve is NaN and says so when printed. With a format, such as ``f"{e:.1%}"``,
    it prints in short, the interval in brackets.
    """

    value: float
    low: float
    high: float
    unresolved: str = ""

    def __str__(self) -> str:
        if self.unresolved:
            return f"not resolved ({self.unresolved})"
        return f"{self.value:.3f} (95% interval {self.low:.3f} to {self.high:.3f})"

    def __format__(self, spec: str) -> str:
        if not spec or self.unresolved:
            return str(self)
        return f"{self.value:{spec}} ({self.low:{spec}} to {self.high:{spec}})"


@dataclass(frozen=True, eq=False, repr=False)
class AttackResult:
    """What an attack said about every patient in every model, and how often it was right.

    Attributes
    ----------
    attack
        Its name.
    scores
        ``[T, n]``: for each of T models and n patients, how much speaks for "was in the training set".
    member
        ``[T, n]``: the truth.
    """

    attack: str
    scores: np.ndarray
    member: np.ndarray

    def __post_init__(self) -> None:
        scores = np.atleast_2d(numbers("scores", self.scores, only_finite=True))
        member = flags("member", self.member)
        if scores.shape != member.shape:
            got = f"{scores.shape} and {member.shape}"
            raise ValueError(f"scores and member must be [models, rows] alike; got {got}.")
        if member.all() or not member.any():
            raise ValueError(f"member must hold members and others; all {member.size} are the same.")
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "member", member)

    def __repr__(self) -> str:
        models, rows = self.scores.shape
        return f"AttackResult({self.attack!r}, {models} models, {rows} rows, AUC {self.auc})"

    @property
    def non_members(self) -> int:
        """Scores of rows that were not in the training set, all models together."""
        return int((~self.member).sum())

    @property
    def least_fpr(self) -> float:
        """The lowest FPR that so many non-members can resolve: ten false alarms."""
        return LEAST_ALARMS / self.non_members

    @cached_property
    def auc(self) -> Estimate:
        """Area under the ROC: how often a member scores higher than a non-member, ties counting half."""
        return _estimate(_area(*self._curve), [_area(*draw) for draw in self._draws], self._all_alike)

    def tpr_at(self, fpr: float) -> Estimate:
        """Share of members found when at most this share of the others is accused.

        The threshold is the one that this sample suggests, and another one in each draw of the bootstrap. Scores that
        are equal are accused together or not at all.

        Parameters
        ----------
        fpr
            Above 0, at most 1.

        Returns
        -------
        Estimate
            Unresolved where the rate would rest on fewer than ten false alarms.

        Raises
        ------
        ValueError
            If `fpr` is out of its range.
        """
        if not 0 < number("fpr", fpr) <= 1:
            raise ValueError(f"fpr must be a share above 0 and at most 1, such as 0.01; got {brief(fpr)}.")
        alarms = fpr * self.non_members
        if alarms < LEAST_ALARMS * (1 - 1e-9):
            why = f"{fpr:.2g} of {self.non_members:,} non-members is {alarms:.2g} false alarms, and it takes at least "
            return Estimate(np.nan, np.nan, np.nan, f"{why}{LEAST_ALARMS}")
        return self._estimates(np.array([fpr]))[0]

    @cached_property
    def roc(self) -> pd.DataFrame:
        """The ROC with a 95% band, pointwise: fpr, tpr, low, high.

        FPR runs evenly on a logarithmic axis from the lowest that the sample resolves to 1.
        """
        fprs = np.geomspace(min(self.least_fpr, 1.0), 1, _GRID)
        columns = zip(*((e.value, e.low, e.high) for e in self._estimates(fprs)), strict=True)
        return pd.DataFrame({"fpr": fprs} | dict(zip(("tpr", "low", "high"), columns, strict=True)))

    def most_exposed(self, n: int = 10, *, fpr: float = 0.01) -> pd.DataFrame:
        """The rows that the attack finds most reliably.

        Parameters
        ----------
        n
            How many.
        fpr
            Share of false alarms over all rows together at which "found" is counted; a lower one than the sample
            resolves is raised to that.

        Returns
        -------
        DataFrame
            row, times_member (models that had it), found (share of these in which it was accused), false_alarm (share
            of the others in which it was), score (mean where it was a member); most exposed first. Rows that no model
            had are left out.

        Raises
        ------
        ValueError
            If `n` is below 1 or `fpr` no share.
        """
        if number("fpr", fpr) > 1:
            raise ValueError(f"fpr must be a share of at most 1; got {brief(fpr)}.")
        n, threshold = whole("n", n), self._threshold(max(float(fpr), self.least_fpr))
        accused, inside, outside = self.scores >= threshold, self.member.sum(0), (~self.member).sum(0)
        table = pd.DataFrame(
            {
                "row": np.arange(self.scores.shape[1]),
                "times_member": inside,
                "found": (accused & self.member).sum(0) / np.maximum(inside, 1),
                "false_alarm": np.where(outside, (accused & ~self.member).sum(0) / np.maximum(outside, 1), np.nan),
                "score": np.where(self.member, self.scores, 0).sum(0) / np.maximum(inside, 1),
            }
        )
        table = table[table["times_member"] > 0].sort_values(["found", "score", "row"], ascending=[False, False, True])
        return table.head(n).reset_index(drop=True)

    # ---- curves: shares of members found and of others accused, from the highest score to the lowest

    @cached_property
    def _sorted(self) -> _Sorted:
        order = np.argsort(-self.scores, axis=None, kind="stable")
        scores = self.scores.ravel()[order]
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], True))  # the last of each group of equal scores
        return _Sorted(order, scores, self.member.ravel()[order], ends)

    @cached_property
    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        return _shares(np.ones(self.scores.size), self._sorted.member, self._sorted.ends)

    @cached_property
    def _draws(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Curves of the bootstrap, at thresholds that are 1% of false alarms apart, which takes a tenth of the time."""
        (models, rows), rng = self.scores.shape, generator(0, BOOTSTRAP)
        # How often each model and each patient is drawn: weights do what copies of rows would, and are cheaper.
        of_models, of_rows = (
            rng.multinomial(n, np.full(n, 1 / n), size=_DRAWS).astype(np.float32) for n in (models, rows)
        )
        alarms = np.cumsum(~self._sorted.member)[self._sorted.ends]
        # Thresholds lie close together where false alarms are few, as small changes matter there.
        steps = np.append(0, np.unique(np.geomspace(1, self.non_members, _THRESHOLDS).round()))
        found = np.unique(np.searchsorted(alarms, steps, side="right") - 1)
        ends, curves = self._sorted.ends[found[found >= 0]], []
        for v, w in zip(of_models, of_rows, strict=True):
            # A score counts as often as its model was drawn times as often as its patient was.
            weight = np.multiply.outer(v, w).ravel()[self._sorted.order]
            curves.append(_shares(weight, self._sorted.member, ends))
        return [curve for curve in curves if np.isfinite(curve).all()]  # but for draws without members or others

    @property
    def _all_alike(self) -> int:
        """Patients who were members somewhere, or who were not, whichever are fewer."""
        return int(min(self.member.any(0).sum(), (~self.member).any(0).sum()))

    def _estimates(self, fprs: np.ndarray) -> list[Estimate]:
        drawn = np.array([_tpr(*draw, fprs) for draw in self._draws])
        return [_estimate(*pair, self._all_alike) for pair in zip(_tpr(*self._curve, fprs), drawn.T, strict=True)]

    def _threshold(self, fpr: float) -> float:
        """The lowest score at which no larger share of the others is accused."""
        reached = np.searchsorted(self._curve[1], fpr * _SLACK, side="right") - 1
        return np.inf if reached == 0 else self._sorted.scores[self._sorted.ends[reached - 1]]


class _Sorted(NamedTuple):
    """All scores from the highest to the lowest: where they stood, and the last of each group of equals."""

    order: np.ndarray
    scores: np.ndarray
    member: np.ndarray
    ends: np.ndarray


def _shares(weight: np.ndarray, member: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of members found and of others accused, from nobody on, at thresholds after the given places."""
    starts = np.append(0, ends[:-1] + 1)
    found = np.add.reduceat(weight * member, starts).cumsum()  # whole numbers, so exact
    alarms = np.add.reduceat(weight, starts).cumsum() - found
    with np.errstate(invalid="ignore"):
        return np.append(0, found / found[-1]), np.append(0, alarms / alarms[-1])


def _tpr(found: np.ndarray, alarms: np.ndarray, fprs: np.ndarray) -> np.ndarray:
    # The last place within the allowed alarms: members found on the way there cost no further alarm.
    return found[np.searchsorted(alarms, fprs * _SLACK, side="right") - 1]


def _area(found: np.ndarray, alarms: np.ndarray) -> float:
    return float((np.diff(alarms) * (found[1:] + found[:-1]) / 2).sum())


def _estimate(value: float, drawn: Sequence[float], rows: int) -> Estimate:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    if value in (0, 1) and low == high:  # nothing varies: the bound for so many patients who were all alike
        low, high = (0.0, 1 - tail ** (1 / rows)) if value == 0 else (tail ** (1 / rows), 1.0)
    # Quantiles of draws need not include the estimate itself; an interval should.
    return Estimate(float(value), float(min(low, value)), float(max(high, value)))

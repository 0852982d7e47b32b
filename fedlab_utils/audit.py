"""What an attack proves about epsilon: a lower bound, to set against the upper bound of the accounting.

The auditor trains many small models with a mechanism; in half of them one patient's place is blank (its gradient is
zero), in the others a patient stands there. Then the auditor plays the attacker who has to tell which is which. A
mechanism that keeps (epsilon, delta) allows only so good a guess; a better one proves that epsilon is larger. The
promise covers every patient, so the auditor invents the worst: the *canary* has a gradient far longer than the clip
norm, in a direction that nobody else uses. It pulls one way in the first half of the training and to and fro in the
second, so that it shows in the sum of what is released, and in the differences between steps.

An audit can only accuse. A low bound means that this attack on these many models found no more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import beta
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, flag, number, numbers, whole
from fedlab_utils.privacy.accounting import checked_delta, checked_rate, gaussian_epsilon

__all__ = ["Audit", "Release", "ceiling", "epsilon_lower_bound", "judge", "pull"]

Release = Callable[[Tensor, torch.Generator], Tensor]

_PATIENTS, _FEATURES = 24, 7  # the others, the same ones in every model: the attacker may know them
_RATE = 0.01  # of the learning; what is released is a sum over patients, so steps are small


@dataclass(frozen=True, repr=False)
class Audit:
    """What an audit found.

    Attributes
    ----------
    lower
        Epsilon is at least this, whatever the mechanism is, with the given confidence; 0 if nothing was found.
    refined
        The same *if* the mechanism's trade-off curve is that of one Gaussian release, as it is for fresh Gaussian
        noise without sampling; None with sampling. A bound of its own, from a threshold of its own. Use it to see how
        close an honest mechanism comes to its promise; for a broken one, whose curve nobody knows, `lower` counts.
    ceiling
        More than this `lower` cannot be with so few models, even if the attacker is always right.
    delta, confidence
        What the bounds are for. Each bound holds with this confidence by itself.
    score
        What told most, on the models set aside for that: the "sum" or the "differences".
    tpr, fpr
        Of the counted models with the canary, and of those without, the share that the attacker called "with".
    tpr_interval, fpr_interval
        Clopper-Pearson intervals of both, each at the given confidence.
    roc
        ``[n, 2]``: all pairs of fpr and tpr that a threshold on this score would give, on the counted models.
    models
        How many models were counted.
    """

    lower: float
    refined: float | None
    ceiling: float
    delta: float
    confidence: float
    score: str
    tpr: float
    fpr: float
    tpr_interval: tuple[float, float]
    fpr_interval: tuple[float, float]
    roc: np.ndarray
    models: int

    def __repr__(self) -> str:
        more = "" if self.refined is None else f", refined {self.refined:.2f}"
        return f"Audit(epsilon at least {self.lower:.2f}{more}, of at most {self.ceiling:.2f}, {self.models} models)"


def epsilon_lower_bound(
    release: Release,
    *,
    steps: int,
    sampling: float = 1.0,
    models: int = 500,
    delta: float = 1e-5,
    confidence: float = 0.95,
    canary_norm: float = 20.0,
    seed: int = 0,
) -> Audit:
    """Attack a mechanism and say how large its epsilon must be at least.

    Parameters
    ----------
    release
        The audited lines: a function of gradients ``[models, patients, d]``, one row a patient, and a
        ``torch.Generator``, that returns what leaves the hospital in one step, ``[models, d]``. The gradient of a
        patient who does not take part is zero. Models must not share their noise.
    steps
        How many releases a training has.
    sampling
        Probability with which each patient takes part in a step.
    models
        Models to count, half of them with the canary (two fixed halves: coin flips would only add the luck of the
        split). Half as many again are trained to choose the attacker's score and threshold.
    delta
        Probability with which the promise may fail.
    confidence
        With which each bound holds, from 0.5 to below 1.
    canary_norm
        Length of the canary's gradient before clipping. At least the clip norm, or the audit is too mild.
    seed
        Of the patients, the sampling and the noise.

    Returns
    -------
    Audit
        By the two inequalities of (epsilon, delta) between true and false positives (Kairouz et al.,
        arXiv:1311.0776), with Clopper-Pearson bounds (Jagielski et al., arXiv:2006.07709); refined as Nasr et al.
        (arXiv:2302.07956) do.

    Raises
    ------
    ValueError
        If an argument does not fit, or `release` returns something else than finite numbers of the right shape.
    """
    if not callable(release):
        raise ValueError(f"release must be a function of gradients and a torch.Generator; got {brief(release)}.")
    steps, models, sampling = whole("steps", steps), whole("models", models, 8), checked_rate(sampling)
    delta, confidence = checked_delta(delta), _checked_confidence(confidence)
    if not number("canary_norm", canary_norm):
        raise ValueError("canary_norm must be above 0, and at least the clip norm; got 0.")
    present = np.arange(models + models // 2) % 2 == 1
    transcript = _transcripts(release, present, steps, sampling, float(canary_norm), whole("seed", seed, 0))
    return judge(transcript, present, pull(steps), gaussian=sampling == 1, delta=delta, confidence=confidence)


def pull(steps: int) -> np.ndarray:
    """Into which direction the canary pulls in each step: +1 in the first half, then -1, +1, -1, ...

    Raises
    ------
    ValueError
        If `steps` is no whole number of at least 1.
    """
    steps = whole("steps", steps)
    t, half = np.arange(steps), (steps + 1) // 2
    return np.where((t >= half) & ((t - half) % 2 == 0), -1.0, 1.0)


@fleet.one_thread()
@torch.no_grad()
def _transcripts(
    release: Release, present: np.ndarray, steps: int, sampling: float, canary_norm: float, seed: int
) -> np.ndarray:
    """Train logistic regressions by `release`; returns what each released along the canary, ``[models, steps]``."""
    rng, n = torch.Generator().manual_seed(seed), len(present)
    X = torch.randn(_PATIENTS, _FEATURES, generator=rng)
    y = (X[:, 0] + torch.randn(_PATIENTS, generator=rng) > 0).float()
    X = torch.cat([X, torch.zeros(_PATIENTS, 1)], 1)  # the last direction is the canary's alone
    canary = torch.from_numpy(present).float() * canary_norm
    theta, transcript = torch.zeros(n, _FEATURES + 1), torch.empty(n, steps)
    for t, sign in enumerate(pull(steps)):
        gradients = torch.zeros(n, _PATIENTS + 1, _FEATURES + 1)
        gradients[:, :-1] = (torch.sigmoid(theta @ X.T) - y).unsqueeze(2) * X
        gradients[:, -1, -1] = canary * sign
        if sampling < 1:
            gradients *= torch.rand(n, _PATIENTS + 1, 1, generator=rng) < sampling
        released = release(gradients, rng)
        if not isinstance(released, Tensor) or released.shape != theta.shape:
            got = tuple(released.shape) if isinstance(released, Tensor) else type(released).__name__
            raise ValueError(f"release must return a tensor [models, d], here {tuple(theta.shape)}; got {got}.")
        if not released.isfinite().all():
            raise ValueError(f"release must return finite numbers; in step {t + 1} some are not.")
        transcript[:, t] = released[:, -1]
        theta -= _RATE * released
    return transcript.double().numpy()


def judge(
    transcript: np.ndarray,
    present: np.ndarray,
    pull: np.ndarray,
    *,
    gaussian: bool,
    delta: float = 1e-5,
    confidence: float = 0.95,
) -> Audit:
    """What transcripts prove: the attack of `epsilon_lower_bound` on models that somebody else has trained.

    Parameters
    ----------
    transcript
        What each model released in each step, projected on the canary's direction, ``[models, steps]``.
    present
        Which models had the canary, ``[models]``, in no order that the training knew of. The first third chooses
        score and threshold, the rest is counted.
    pull
        Into which direction the canary pulled in each step, ``[steps]``; see `pull`.
    gaussian
        Whether to refine. Only for Gaussian noise at sampling rate 1.
    delta, confidence
        As in `epsilon_lower_bound`.

    Returns
    -------
    Audit
        As from `epsilon_lower_bound`.

    Raises
    ------
    ValueError
        If an argument is something else or not finite, shapes do not fit, or models with or without the canary are
        missing in the first third or in the rest.
    """
    delta, share, gaussian = checked_delta(delta), _checked_confidence(confidence), flag("gaussian", gaussian)
    alpha = (1 - share) / 2  # one error for each of the two rates
    transcript, pull = _numbers("transcript", transcript, 2), _numbers("pull", pull, 1)
    present = _numbers("present", present, 1)
    if not np.isin(present, (0, 1)).all():
        raise ValueError(f"present must say True or False for each model; got {brief(present)}.")
    present = present.astype(bool)
    if transcript.shape != (len(present), len(pull)):
        raise ValueError(f"transcript must be [{len(present)}, {len(pull)}], models and steps; got {transcript.shape}.")
    scores = {"sum": transcript @ pull, "differences": np.diff(transcript) @ np.diff(pull)}
    # Chosen and counted on the same models, the luck of the choice would pass for proof.
    cut = len(present) // 3
    halves = [present[:cut], present[cut:]]
    if any(not 0 < half.sum() < len(half) for half in halves):
        raise ValueError("present must name models with and without the canary, in the first third and in the rest.")

    def best(bound) -> tuple[str, tuple]:
        """The score and the threshold that prove most on the models set aside, used on the others."""
        choice = []
        for name, score in scores.items():
            cuts = _thresholds(score[:cut])
            strict = alpha / 20  # many are looked at, and luck would win among the extreme ones
            proven = bound(*_bounds(*_counts(score[:cut], halves[0], cuts), strict)[:2])
            choice.append((proven.max(), name, cuts[proven.argmax()]))
        _, name, threshold = max(choice, key=lambda c: c[0])
        return name, _counts(scores[name][cut:], halves[1], threshold)

    name, counts = best(lambda tpr, fpr: _lower(tpr, fpr, delta))
    hits, n_with, alarms, n_without = counts
    tpr_low, fpr_high, tpr_high, fpr_low = (float(b) for b in _bounds(*counts, alpha))
    refined = None
    if gaussian:
        tpr, fpr = _bounds(*best(_mu)[1], alpha)[:2]
        refined = gaussian_epsilon(float(_mu(tpr, fpr)), delta)
    every = _counts(scores[name][cut:], halves[1], _thresholds(scores[name][cut:]))
    return Audit(
        lower=float(_lower(tpr_low, fpr_high, delta)),
        refined=refined,
        ceiling=ceiling(n_with, n_without, delta=delta, confidence=share),
        delta=delta,
        confidence=share,
        score=name,
        tpr=float(hits / n_with),
        fpr=float(alarms / n_without),
        tpr_interval=(tpr_low, tpr_high),
        fpr_interval=(fpr_low, fpr_high),
        roc=np.stack([every[2] / n_without, every[0] / n_with], 1)[::-1],
        models=len(halves[1]),
    )


def ceiling(n_with: int, n_without: int, *, delta: float = 1e-5, confidence: float = 0.95) -> float:
    """The largest epsilon that so many models can prove: what an attacker proves who is right about each of them.

    Parameters
    ----------
    n_with, n_without
        How many models are counted with the canary, and without it.
    delta, confidence
        As in `epsilon_lower_bound`.

    Raises
    ------
    ValueError
        If an argument is something else.
    """
    n_with, n_without = whole("n_with", n_with), whole("n_without", n_without)
    delta, confidence = checked_delta(delta), _checked_confidence(confidence)
    tpr, fpr, _, _ = _bounds(n_with, n_with, 0, n_without, (1 - confidence) / 2)
    return float(_lower(tpr, fpr, delta))


def _checked_confidence(value) -> float:
    """A probability from 0.5 to below 1."""
    value = number("confidence", value)
    if not 0.5 <= value < 1:
        raise ValueError(f"confidence must be a probability from 0.5 to below 1, such as 0.95; got {value:g}.")
    return value


def _numbers(name: str, value, dims: int) -> np.ndarray:
    """Finite numbers of so many dimensions, at least one of them."""
    values = numbers(name, value, only_finite=True)
    if values.ndim != dims or not values.size:
        shape = "[models, steps]" if dims == 2 else "in one row"
        raise ValueError(f"{name} must hold numbers {shape}; got {brief(value)}.")
    return values


def _thresholds(score: np.ndarray) -> np.ndarray:
    """Between all neighbouring values, and beyond both ends: whoever lies above is called "with"."""
    values = np.unique(score)
    return np.concatenate([[-np.inf], (values[:-1] + values[1:]) / 2, [np.inf]])


def _counts(score: np.ndarray, present: np.ndarray, threshold) -> tuple:
    """True positives, models with the canary, false positives, models without it."""
    found = []
    for group in (score[present], score[~present]):
        found += [len(group) - np.searchsorted(np.sort(group), threshold, side="right"), len(group)]
    return tuple(found)


def _bounds(hits, n_with: int, alarms, n_without: int, alpha: float) -> tuple:
    """Clopper-Pearson bounds, each missed with probability alpha: tpr low, fpr high, tpr high, fpr low."""
    with_canary, without = (hits, n_with, alpha), (alarms, n_without, alpha)
    return _low(*with_canary), _high(*without), _high(*with_canary), _low(*without)


def _low(k, n: int, alpha: float):
    return np.where(np.equal(k, 0), 0.0, beta.ppf(alpha, np.maximum(k, 1), n - np.maximum(k, 1) + 1))


def _high(k, n: int, alpha: float):
    return 1 - _low(n - np.asarray(k), n, alpha)


def _lower(tpr, fpr, delta: float):
    """The least epsilon with tpr <= e^epsilon * fpr + delta, and the same for the guess that the canary is absent."""
    above = np.maximum(np.subtract(tpr, delta) / fpr, np.subtract(1 - fpr, delta) / (1 - tpr))
    return np.log(np.maximum(above, 1))


def _mu(tpr, fpr):
    """Distance of the two bell curves between which such a guess is the best: the mu of Gaussian DP."""
    inside = (np.asarray(tpr) > 0) & (np.asarray(fpr) < 1)
    return np.where(inside, ndtri(np.where(inside, tpr, 0.5)) - ndtri(np.where(inside, fpr, 0.5)), -np.inf)

"""How much privacy noise costs when it is used again and again: privacy loss distributions by dp-accounting.

The mechanism of the course is the Gaussian one with Poisson sampling: in each step every unit (a patient record, or
a hospital) takes part by its own coin flip with probability q, what it adds to a sum has at most length C, and the
sum gets Gaussian noise of standard deviation ``noise_multiplier * C``. Two data sets are neighbours if one has one
unit more. PLD is exact up to rounding, which is always upwards; RDP is an older and looser upper bound.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from fedlab_utils._arguments import number, one_of, whole

Events = tuple[tuple[object, int], ...]  # events of dp-accounting, and how often each happened

_EXCESS = 1.5e-3  # what rounding upwards may add to an epsilon, as a share of it
_FINEST, _COARSEST = 1e-6, 1e-2  # widths of the grid of privacy losses
_AIM, _ACCEPTED = 0.997, (0.9925, 0.9998)  # of a target epsilon, when noise is calibrated
_LEAST, _MOST = 0.01, 100.0  # epsilons that noise is calibrated for


def epsilon(
    noise_multiplier: float, *, sampling: float = 1.0, steps: int = 1, delta: float = 1e-5, method: str = "pld"
) -> float:
    """The epsilon that `steps` uses of the Gaussian mechanism spend, at a given delta.

    Parameters
    ----------
    noise_multiplier
        Standard deviation of the noise, in units of the clip norm.
    sampling
        Probability q with which a unit takes part in a step, by its own coin flip; 1 is no sampling.
    steps
        How often, over the whole training.
    delta
        Probability with which the promise may fail.
    method
        ``"pld"``: privacy loss distributions (Koskela et al., arXiv:1906.03049; the upper bound of Doroshenko et
        al., arXiv:2207.04380), at most about 0.2% too high. ``"rdp"``: Renyi differential privacy (Mironov,
        arXiv:1702.07476; Mironov et al., arXiv:1908.10530).

    Returns
    -------
    float
        Infinite without noise, 0 without a step.

    Raises
    ------
    ValueError
        If an argument is out of its range, in one sentence.
    """
    noise_multiplier, delta = number("noise_multiplier", noise_multiplier), checked_delta(delta)
    sampling, steps = checked_rate(sampling), whole("steps", steps, 0)
    if not steps or not noise_multiplier:
        return math.inf if steps else 0.0
    return composed(((gaussian(noise_multiplier, sampling), steps),), delta, method)


@lru_cache(maxsize=4096)
def noise_for(target: float, *, sampling: float = 1.0, steps: int = 1, delta: float = 1e-5) -> float:
    """The least noise multiplier, to about half a percent, that spends at most epsilon = `target`.

    What it spends, by `epsilon` with ``"pld"``, lies between 99% and 100% of the target.

    Parameters
    ----------
    target
        Epsilon, from 0.01 to 100.
    sampling, steps, delta
        As in `epsilon`.

    Returns
    -------
    float
        In units of the clip norm.

    Raises
    ------
    ValueError
        If there is no such number, in one sentence.
    """
    target, sampling = checked_epsilon(target), checked_rate(sampling)
    delta, steps = checked_delta(delta), whole("steps", steps)
    noise = _rough_noise(target, sampling, steps, delta)
    low, high = 0.0, math.inf  # too little noise, too much noise
    slope, before = None, None
    for _ in range(60):
        spent = epsilon(noise, sampling=sampling, steps=steps, delta=delta)
        if _ACCEPTED[0] * target <= spent <= _ACCEPTED[1] * target:
            return noise
        low, high = (noise, high) if spent > target * _AIM else (low, noise)
        proposal = math.inf
        if 0 < spent < math.inf:  # a straight line between logarithms, at first as steep as the rough formula
            here = math.log(noise), math.log(spent)
            if before is None:
                more = _rough_noise(spent * 1.02, sampling, steps, delta)
                slope = math.log(more / _rough_noise(spent, sampling, steps, delta)) / math.log(1.02)
            elif here[1] != before[1]:
                slope = (here[0] - before[0]) / (here[1] - before[1])
            before = here
            proposal = noise * (_AIM * target / spent) ** slope
        if not low < proposal < high:
            proposal = 2 * low if high == math.inf else math.sqrt(max(low, high / 4) * high)
        noise = proposal
    raise ValueError(f"No noise multiplier was found for epsilon={target:g} at delta={delta:g}; try a larger delta.")


def gaussian(noise_multiplier: float, sampling: float = 1.0):
    """The Gaussian mechanism, Poisson-sampled unless `sampling` is 1, as an event of dp-accounting."""
    import dp_accounting

    event = dp_accounting.GaussianDpEvent(float(noise_multiplier))
    return event if sampling == 1 else dp_accounting.PoissonSampledDpEvent(float(sampling), event)


def merged(events: Events) -> Events:
    """The same with each event once and its counts added, in an order that depends on nothing else."""
    counts: Counter = Counter()
    for event, count in events:
        counts[event] += count
    # Epsilon does not depend on the order; one order for all lets the cache of `composed` find it again.
    return tuple(sorted(counts.items(), key=repr))


def has_pld(events: Iterable[object]) -> bool:
    """Whether dp-accounting has a privacy loss distribution for each of these events."""
    from dp_accounting import pld

    return all(pld.PLDAccountant().supports(event) for event in events)


@lru_cache(maxsize=4096)
def composed(events: Events, delta: float, method: str = "pld") -> float:
    """Epsilon of several events together, each of them repeated; they may depend on what came before.

    Parameters
    ----------
    events
        Pairs of an event of dp-accounting and its count; see `merged`.
    delta
        Probability with which the promise may fail.
    method
        ``"pld"`` or ``"rdp"``, as in `epsilon`.

    Returns
    -------
    float
        0 without events.
    """
    one_of("method", method, ("pld", "rdp"))
    if not events:
        return 0.0
    # Looser, but it needs no grid, and it covers mechanisms whose loss distribution dp-accounting lacks.
    if method == "rdp":
        from dp_accounting import rdp

        with _quiet():
            return float(_together(rdp.RdpAccountant(), events).get_epsilon(delta))
    from dp_accounting import pld

    # Rounding losses up to a grid of width h adds about 1.4 h^2 a step to the epsilon times itself (measured).
    fineness = math.sqrt(_EXCESS / (1.4 * sum(count for _, count in events)))
    width = 0.8 * fineness * _rough_epsilon(events, delta)
    while True:
        # The width rests on a guess of epsilon; where less was spent, that grid was too coarse, and is made anew.
        width = min(max(width, _FINEST), _COARSEST)
        spent = _together(pld.PLDAccountant(value_discretization_interval=width), events).get_epsilon(delta)
        if not 0 < spent < math.inf or width <= max(fineness * spent, _FINEST):
            return float(spent)
        width = 0.8 * fineness * spent


def _together(accountant, events: Events):
    for event, count in events:
        accountant.compose(event, count)
    return accountant


def _rough_epsilon(events: Events, delta: float) -> float:
    """The central limit of many small losses (Bu et al., arXiv:1911.11607), roughly."""
    squares = 0.0
    for event, count in events:
        sampling, inner = getattr(event, "sampling_probability", 1.0), getattr(event, "event", event)
        inverse = min(getattr(inner, "noise_multiplier", 1.0) ** -2, 20.0)
        squares += count * (inverse if sampling == 1 else sampling**2 * math.expm1(inverse))
    return max(gaussian_epsilon(math.sqrt(squares), delta), 1e-3)


def _rough_noise(target: float, sampling: float, steps: int, delta: float) -> float:
    """The inverse of `_rough_epsilon` for one event."""
    square = brentq(lambda mu: _limit_delta(target, mu) - delta, 1e-9, 1e6) ** 2 / steps
    return 1 / math.sqrt(square if sampling == 1 else math.log1p(square / sampling**2))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Epsilon of one Gaussian release whose noise is 1 / mu; 0 if it is below what `delta` allows."""
    if mu <= 0 or _limit_delta(0, mu) <= delta:
        return 0.0
    return brentq(lambda e: _limit_delta(e, mu) - delta, 0, mu**2 / 2 + 40 * mu + 1)


def _limit_delta(epsilon: float, mu: float) -> float:
    """Delta of one Gaussian release whose noise is 1 / mu (Balle and Wang, arXiv:1805.06530, Theorem 8)."""
    # In logarithms: e^epsilon would be huge and the tail beside it tiny, though their product is not.
    return ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about orders that RDP leaves out by itself."""
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def checked_epsilon(value) -> float:
    """An epsilon that noise can be calibrated for."""
    value = number("epsilon", value)
    if not _LEAST <= value <= _MOST:
        why = "0 would mean a model that no patient has any influence on" if value < _LEAST else "it promises nothing"
        raise ValueError(f"epsilon must lie between {_LEAST:g} and {_MOST:g}; got {value:g} ({why}).")
    return value


def checked_delta(value) -> float:
    """A probability between 0 and 1, both excluded."""
    value = number("delta", value)
    if not 0 < value < 1:
        raise ValueError(f"delta must be a probability above 0 and below 1, such as 1e-5; got {value:g}.")
    return value


def checked_rate(value) -> float:
    """A probability above 0."""
    value = number("sampling", value)
    if not 0 < value <= 1:
        raise ValueError(f"sampling must be a probability above 0 and at most 1; got {value:g}.")
    return value

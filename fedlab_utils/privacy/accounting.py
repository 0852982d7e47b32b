"""How much privacy noise costs when it is used again and again: privacy loss distributions by dp-accounting.

The mechanism of the course is the Gaussian one with Poisson sampling: in each step every unit (a patient record, or
a hospital) takes part by its own coin flip with probability q, what it adds to a sum has at most length C, and the
sum gets Gaussian noise of standard deviation ``noise_multiplier * C``. Two data sets are neighbours if the place of one
unit is blank in one of them: the number of units, from which q, noise and divisor follow, is public and the same in
both. PLD is exact up to rounding, which is always upwards; RDP is an older and looser upper bound.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from fedlab_utils._arguments import number, one_of, whole

Events = tuple[tuple[object, int], ...]  # events of dp-accounting, and how often each happened

_EXCESS = 1.5e-3  # what rounding upwards may add to an epsilon, as a share of it
_FINEST, _COARSEST = 1e-6, 1e-2  # widths of the grid of privacy losses
_AIM, _ACCEPTED = 0.997, (0.9925, 0.9998)  # of a target epsilon, when noise is calibrated
_LEAST, _MOST = 0.01, 100.0  # epsilons that noise is calibrated for
NO_PROMISE = 1000.0  # beyond this epsilon nobody computes: it promises nothing, and the grid would not fit into memory
_FAINTEST = 0.02  # noise multiplier; one release with less costs more than NO_PROMISE
_SUSPICIOUS = 100.0  # a rough epsilon above which RDP, which needs no grid, is asked first
_LOUDEST = 1e12  # noise multiplier; dp-accounting squares it, and more changes nothing
_MOST_STEPS = 10**6  # that a grid of losses is composed for
_LOOSE = 8.0  # by so much RDP may say too much where about NO_PROMISE is spent (up to 5.3 times was found)


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
        0 without a step; infinite without noise, and where it would be more than 1,000, which is no promise.

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

    def slope(spent: float) -> float:
        more = _rough_noise(spent * 1.02, sampling, steps, delta)
        return math.log(more / _rough_noise(spent, sampling, steps, delta)) / math.log(1.02)

    start = _rough_noise(target, sampling, steps, delta)
    found = calibrated(lambda z: epsilon(z, sampling=sampling, steps=steps, delta=delta), target, start, slope)
    if found is None:
        wrong = f"No noise multiplier was found for epsilon={target:g} at delta={delta:g}; try a larger delta."
        raise ValueError(wrong)
    return found


def calibrated(
    spend: Callable[[float], float],
    target: float,
    start: float,
    slope: Callable[[float], float] = lambda spent: -1.0,
) -> float | None:
    """The least noise, to about half a percent, with which at most epsilon = `target` is spent; None if there is none.

    Parameters
    ----------
    spend
        Epsilon of a noise multiplier; it falls as that grows.
    target
        Epsilon.
    start
        A guess.
    slope
        Of the logarithm of the noise by that of epsilon, roughly, where so much is spent.
    """
    noise, low, high = start, 0.0, math.inf  # too little noise, too much noise
    steepness, before = None, None
    for _ in range(60):
        spent = spend(noise)
        if _ACCEPTED[0] * target <= spent <= _ACCEPTED[1] * target:
            return noise
        low, high = (noise, high) if spent > target * _AIM else (low, noise)
        proposal = math.inf
        if 0 < spent < math.inf:  # a straight line between logarithms, at first as steep as the rough formula
            here = math.log(noise), math.log(spent)
            if before is None:
                steepness = slope(spent)
            elif here[1] != before[1]:
                steepness = (here[0] - before[0]) / (here[1] - before[1])
            before = here
            power = steepness * math.log(_AIM * target / spent)
            proposal = noise * math.exp(power) if power < 700 else math.inf  # steep where hardly anything changes
        if not low < proposal < high:
            proposal = 2 * low if high == math.inf else math.sqrt(max(low, high / 4) * high)
        noise = proposal
    return None


def price_of_rdp(spent: float, delta: float) -> float:
    """How much more RDP says than PLD of Gaussian noise without sampling with which RDP says `spent`, as a share."""
    if not 0 < spent <= _MOST:
        return math.nan
    start = _rough_noise(spent, 1.0, 1, delta)
    noise = calibrated(lambda z: epsilon(z, delta=delta, method="rdp"), spent, start)
    return math.nan if noise is None else epsilon(noise, delta=delta, method="rdp") / epsilon(noise, delta=delta) - 1


def gaussian(noise_multiplier: float, sampling: float = 1.0):
    """The Gaussian mechanism, Poisson-sampled unless `sampling` is 1, as an event of dp-accounting."""
    import dp_accounting

    event = dp_accounting.GaussianDpEvent(min(float(noise_multiplier), _LOUDEST))
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
    from fedlab_utils.privacy.events import BLANK, PLDAccountant

    return all(PLDAccountant(BLANK).supports(event) for event in events)


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
        ``"pld"`` or ``"rdp"``, as in `epsilon`. More than a million steps are composed by ``"rdp"`` in any case,
        within seconds instead of minutes.

    Returns
    -------
    float
        0 without events; infinite if it is more than 1,000.
    """
    one_of("method", method, ("pld", "rdp"))
    if not events:
        return 0.0
    if _hopeless(events, delta):
        return math.inf
    # Looser, but it needs no grid, and it covers mechanisms whose loss distribution dp-accounting lacks.
    many = _releases(events) > _MOST_STEPS
    if method == "rdp" or many or _rough_epsilon(events, delta) > _SUSPICIOUS:
        spent = _by_rdp(events, delta)
        if method == "rdp" or many or spent > _LOOSE * NO_PROMISE:
            return spent if spent <= NO_PROMISE else math.inf
    spent = _by_pld(events, delta)
    return spent if spent <= NO_PROMISE else math.inf


def _hopeless(events: Events, delta: float) -> bool:
    """Whether more than `NO_PROMISE` is spent for certain, by formulas that answer at once."""
    import dp_accounting

    squares = 0.0  # what releases without sampling add up to is one Gaussian release
    for event, count in events:
        q, inner = getattr(event, "sampling_probability", 1.0), getattr(event, "event", event)
        if not isinstance(inner, dp_accounting.GaussianDpEvent):
            continue
        noise = inner.noise_multiplier
        if noise < _FAINTEST:
            return True
        # Exact for one step: sampling turns epsilon into log(1 + q (e^epsilon - 1)) and delta into q delta.
        if q * _limit_delta(NO_PROMISE - math.log(q), 1 / noise) > delta:
            return True
        squares += count * (1 / noise) ** 2 if q == 1 else 0.0
    return squares > 0 and _limit_delta(NO_PROMISE, math.sqrt(squares)) > delta


def _by_rdp(events: Events, delta: float) -> float:
    from fedlab_utils.privacy.events import BLANK, FEW_ORDERS, ORDERS, WHOLE_ORDERS, RdpAccountant, SharedNoiseDpEvent

    def best_of(orders: Sequence[float]) -> tuple[float, float]:
        accountant = RdpAccountant(orders, BLANK)
        with _quiet():
            for event, count in events:
                accountant.add(_renyi(event, tuple(orders)), count)
            return accountant.get_epsilon_and_optimal_order(delta)

    # Every order gives a bound. High ones take long, and broken ones too: they are for where the best may be.
    if any(isinstance(event, SharedNoiseDpEvent) for event, _ in events):
        spent, best = best_of(FEW_ORDERS)
        return float(spent if best != FEW_ORDERS[-1] else best_of(WHOLE_ORDERS)[0])
    if not all(_is_gaussian(event) for event, _ in events):
        return float(best_of(ORDERS)[0])
    whole = [order for order in ORDERS if order in FEW_ORDERS]
    spent, best = best_of(whole)
    if not math.isfinite(spent):
        return float(best_of(ORDERS)[0])
    edges = [1, *whole, math.inf]
    place = edges.index(best)
    near = [order for order in ORDERS if edges[place - 1] < order < edges[place + 1] and order != best]
    return float(min(spent, best_of(near)[0] if near else math.inf))


def _is_gaussian(event: object) -> bool:
    """Whether an event is Gaussian noise, sampled or not: what that costs falls with the order, and then rises."""
    import dp_accounting

    sampled = isinstance(event, dp_accounting.PoissonSampledDpEvent)
    return isinstance(event.event if sampled else event, dp_accounting.GaussianDpEvent)


@lru_cache(maxsize=4096)
def _renyi(event: object, orders: tuple[float, ...]) -> np.ndarray:
    """What an event costs at each order, ``[orders]``; a ledger that grows asks for the same ones again."""
    from fedlab_utils.privacy.events import BLANK, RdpAccountant

    return RdpAccountant(orders, BLANK).compose(event).costs


def _by_pld(events: Events, delta: float) -> float:
    from fedlab_utils.privacy.events import BLANK, PLDAccountant

    # Rounding losses up to a grid of width h adds about 1.4 h^2 a step to the epsilon times itself (measured).
    fineness = math.sqrt(_EXCESS / (1.4 * _releases(events)))
    if written_out := sum(count * getattr(event, "cells", 0) for event, count in events):
        fineness = min(fineness, 2 * _EXCESS / written_out)  # laws of whole numbers are rounded less cleverly: h / 2
    width = 0.8 * fineness * _rough_epsilon(events, delta)
    while True:
        # The width rests on a guess of epsilon; where less was spent, that grid was too coarse, and is made anew.
        width = min(max(width, _FINEST), _COARSEST)
        spent = _together(PLDAccountant(BLANK, width), events).get_epsilon(delta)
        if not 0 < spent < math.inf or width <= max(fineness * spent, _FINEST):
            return float(spent)
        width = 0.8 * fineness * spent


def _releases(events: Events) -> int:
    """How many are composed: counts with noise in shares are one for each number that changes."""
    return sum(count * (getattr(event, "cells", 0) or 1) for event, count in events)


def _together(accountant, events: Events):
    for event, count in events:
        accountant.compose(event, count)
    return accountant


def _rough_epsilon(events: Events, delta: float) -> float:
    """The central limit of many small losses (Bu et al., arXiv:1911.11607), roughly."""
    squares = 0.0
    for event, count in events:
        sampling, inner = getattr(event, "sampling_probability", 1.0), getattr(event, "event", event)
        inverse = min((1 / getattr(inner, "noise_multiplier", 1.0)) ** 2, 20.0)
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


def checked_event(value):
    """An event of dp-accounting."""
    import dp_accounting

    if not isinstance(value, dp_accounting.DpEvent):
        raise ValueError(f"event must be an event of dp-accounting, such as LaplaceDpEvent(2.0); got {value!r}.")
    return value

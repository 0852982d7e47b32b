"""Noise inside the sum: each hospital adds its share of it to its words before they are masked.

Whole numbers are masked, so the noise is of whole numbers. Skellam noise is the difference of two Poisson draws, and a
sum of it is Skellam noise again: whoever of the hospitals drops out, the law of what is left is known exactly (Agarwal,
Kairouz and Liu, arXiv:2110.04995). Discrete Gaussian noise has the bell curve's probabilities on whole numbers; a sum
of it is only nearly that (Kairouz, Liu and Steinke, arXiv:2102.06387), but it can be drawn with whole numbers alone
(Canonne, Kamath and Steinke, arXiv:2004.00010), so that no rounding of the machine can leak.

A share is scaled for the fewest honest hospitals that a sum may have, by the setup (`honest`), never for those
who happened to be there. More than that make the sum noisier than needed, and no less private.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fedlab_utils._arguments import draws, number, one_of, whole
from fedlab_utils.secagg.messages import Setup, checked_setup

VIEWERS = SERVER_ALONE, HOSPITALS = "server", "every hospital"  # who sees a sum
LARGEST_RATE = 1e12  # of a Poisson draw: NumPy's variance is off by 1% at 1e14 and by 42% at 1e16 (measured)
LARGEST_SD = 2.0**18  # of a share, in steps: finer than that nothing is gained
HEADROOM = 7.0  # standard deviations of noise beyond the largest sum: a word wraps around once in 10^12

Sampler = Callable[[float, int], np.ndarray]  # variance and size -> whole numbers


def skellam(variance: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Skellam noise: the difference of two Poisson draws, each of half the variance.

    Parameters
    ----------
    variance
        In steps squared, at least 0.
    size
        How many numbers.
    rng
        Where they come from: `fleet.randomness.noise_generator` if they are to protect somebody, since **who knows the
        seed can take the noise off again**.

    Returns
    -------
    ndarray
        ``[size]``, int64.

    Raises
    ------
    ValueError
        If an argument does not fit, or the variance is above 2e12, where NumPy's Poisson draws go wrong.
    """
    rate, size = number("variance", variance) / 2, whole("size", size, 0)
    if rate > LARGEST_RATE:
        raise ValueError(
            f"variance must be at most {2 * LARGEST_RATE:.0e}, since NumPy draws Poisson numbers of larger rates "
            f"wrongly; got {variance:g}: use larger steps."
        )
    draws("rng", rng)
    return rng.poisson(rate, size) - rng.poisson(rate, size)


def discrete_gaussian(variance: float, size: int, rng: random.Random | None = None) -> np.ndarray:
    """Discrete Gaussian noise, exactly: P(k) in proportion to ``exp(-k^2 / (2 variance))``.

    By Algorithms 1 to 3 of Canonne, Kamath and Steinke (arXiv:2004.00010): whole numbers and fair draws only, one
    number after the other, so that a hundred thousand take seconds.

    Parameters
    ----------
    variance
        The parameter, above 0; a float is taken as the fraction that it is. The true variance is a little smaller
        below 1.
    size
        How many numbers.
    rng
        None for the operating system's randomness; a ``random.Random`` only for demonstrations and tests.

    Returns
    -------
    ndarray
        ``[size]``, int64.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    if not number("variance", variance) or variance > 2 * LARGEST_RATE:
        raise ValueError(f"variance must be above 0 and at most {2 * LARGEST_RATE:.0e}; got {variance:g}.")
    if rng is not None and not isinstance(rng, random.Random):
        raise ValueError(f"rng must be a random.Random, or None for the system's randomness; got {type(rng).__name__}.")
    exact = Fraction(variance)
    below = (rng or random.SystemRandom()).randrange
    return np.array([_one_gaussian(exact, below) for _ in range(whole("size", size, 0))], dtype=np.int64)


def _one_gaussian(variance: Fraction, below: Callable[[int], int]) -> int:
    """Algorithm 3: a discrete Laplace number, kept with the chance that makes it Gaussian."""
    top, bottom = variance.numerator, variance.denominator
    scale = math.isqrt(top // bottom) + 1
    while True:
        y = _one_laplace(scale, below)
        # (|y| - variance / scale)^2 / (2 variance), as a fraction
        if _heads((abs(y) * scale * bottom - top) ** 2, 2 * top * bottom * scale**2, below):
            return y


def _one_laplace(scale: int, below: Callable[[int], int]) -> int:
    """Algorithm 2: P(k) in proportion to ``exp(-|k| / scale)``."""
    while True:
        rest = below(scale)
        if not _heads(rest, scale, below):
            continue
        times = 0
        while _heads(1, 1, below):
            times += 1
        size, negative = rest + scale * times, below(2)
        if size or not negative:  # or 0 would come twice as often
            return -size if negative else size


def _heads(top: int, bottom: int, below: Callable[[int], int]) -> bool:
    """Algorithm 1: True with chance ``exp(-top / bottom)``."""
    while top > bottom:
        if not _heads(1, 1, below):
            return False
        top -= bottom
    k = 1
    while below(bottom * k) < top:
        k += 1
    return k % 2 == 1


def honest(setup: Setup, viewer: str = HOSPITALS) -> int:
    """How many shares of noise, at least, a viewer of a sum does not know.

    Clients open no sum of fewer than the threshold, whatever the server says: that, and not who survived, is what noise
    can be scaled for. Of those, the colluding ones may have told the server their share. A hospital that sees the
    result knows its own, so that for it one is known in any case.

    Parameters
    ----------
    setup
        Of the protocol.
    viewer
        ``"server"``, or ``"every hospital"`` where hospitals see the result too.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    known = checked_setup(setup).colluding
    one_of("viewer", viewer, VIEWERS)
    return setup.threshold - (known if viewer == SERVER_ALONE else max(known, 1))


class Scale(NamedTuple):
    """How a sum with noise is laid out in words: the length of a step, and the variance of a share in steps squared."""

    step: float
    share: float


def scaled(
    noise_multiplier: float,
    sensitivity: float,
    *,
    largest: float,
    n: int,
    members: int,
    bits: float,
    widen: float = 0.0,
) -> Scale:
    """The finest steps at which a share is small enough to be drawn right, and the noisy sum fits into its word.

    Parameters
    ----------
    noise_multiplier
        Standard deviation of the noise of `members` shares, in units of the sensitivity.
    sensitivity
        How far a unit can move the sum before rounding, by length.
    largest
        Largest size of one number of one hospital.
    n, members
        Hospitals, and how many shares the noise is scaled for.
    bits
        Of a word, read with a sign.
    widen
        Steps by which rounding can lengthen a change.

    Raises
    ------
    ValueError
        If the words are too short.
    """
    room = 2.0 ** (bits - 1) - 1
    each = noise_multiplier / math.sqrt(members)  # standard deviation of a share over the sensitivity
    spread = HEADROOM * math.sqrt(n)  # of all shares together
    # A share has a standard deviation of each * (sensitivity / step + widen) steps.
    for_noise, for_word = LARGEST_SD - each * widen, room - spread * each * widen
    if for_noise <= 0 or for_word <= 0:
        raise ValueError(
            f"bits={bits:g} leave no room for noise of {noise_multiplier:g} times the sensitivity beside the rounding "
            "of so many numbers: give more bits, more hospitals, or a promise that needs less noise."
        )
    step = max(
        each * sensitivity / for_noise,
        (n * largest + spread * each * sensitivity) / for_word,
        largest / 2**44,  # with finer steps, float64 would blur the coins
    )
    return Scale(step, (each * (sensitivity / step + widen)) ** 2)


def signed(total: np.ndarray) -> np.ndarray:
    """Words as numbers with a sign: the upper half of them stands for what is below 0."""
    return total.view(total.dtype.str.replace("u", "i")).astype(np.int64)

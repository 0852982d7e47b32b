"""Shamir's secret sharing: any `threshold` shares give the secret, fewer say nothing about it.

The secret is the value at 0 of a random polynomial of degree ``threshold - 1`` over the whole numbers modulo a prime;
a share is its value at another point (Shamir 1979, doi:10.1145/359168.359176). Through fewer points than `threshold`
goes one such polynomial for *every* secret. Through more points goes one only if all shares are true, so that what is
left over proves a false one: shares are a Reed-Solomon code (Reed and Solomon 1960, doi:10.1137/0108018).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache

from fedlab_utils._arguments import whole

PRIME = 2**256 + 297  # the first prime above all 256-bit secrets


def split(secret: int, threshold: int, points: Sequence[int], *, prime: int = PRIME) -> list[int]:
    """One share of `secret` for each point.

    Parameters
    ----------
    secret
        From 0 to ``prime - 1``.
    threshold
        How many shares give the secret back, at most one for each point.
    points
        Where the polynomial is evaluated: different whole numbers from 1 to ``prime - 1``.
    prime
        Modulus.

    Returns
    -------
    list of int
        Shares, in the order of the points. Randomness comes from the operating system.

    Raises
    ------
    ValueError
        If the secret, the threshold or the points do not fit.
    """
    points = _distinct(points, prime)
    if isinstance(secret, bool) or not isinstance(secret, int) or not 0 <= secret < prime:
        raise ValueError("secret must be a whole number from 0 to prime - 1.")  # a secret is never printed
    if whole("threshold", threshold) > len(points):
        raise ValueError(f"threshold must be at most the number of points, {len(points)}; got {threshold}.")
    polynomial = [secrets.randbelow(prime) for _ in range(threshold - 1)] + [secret]  # highest power first
    return [_value(polynomial, x, prime) for x in points]


def combine(points: Sequence[int], shares: Sequence[int], *, prime: int = PRIME) -> int:
    """The secret, from at least as many shares as the threshold it was split with.

    With fewer shares, or a false one, the result is a wrong number: nothing here can tell.

    Parameters
    ----------
    points, shares
        Points as in `split`, and the share of each.
    prime
        Modulus.

    Returns
    -------
    int
        From 0 to ``prime - 1``.

    Raises
    ------
    ValueError
        If points repeat or are out of range, or there is not one share for each.
    """
    points = _distinct(points, prime)
    shares = _one_each(shares, points)
    return sum(w * s for w, s in zip(_weights_at_0(points, prime), shares, strict=True)) % prime


def combine_all(
    points: Sequence[int], shares: Sequence[Sequence[int]], threshold: int, *, prime: int = PRIME
) -> tuple[list[int], tuple[int, ...]]:
    """Several secrets from their shares at the same points, checked as far as more than `threshold` shares allow.

    From m shares of each secret, up to ``m - threshold`` false ones are noticed, and up to half as many are told from
    the true ones and left out. Exactly `threshold` shares check nothing, and more liars than half of the surplus can
    make others look false: what is found holds if no more lied than that.

    Parameters
    ----------
    points
        As in `split`.
    shares
        For each secret a share at each point.
    threshold, prime
        With which the secrets were split.

    Returns
    -------
    secrets, false
        A secret for each list of shares; and the points at which any share was false.

    Raises
    ------
    ValueError
        If an argument does not fit, or shares are false and it cannot be told which.
    """
    points = _distinct(points, prime)
    shares = [_one_each(one, points) for one in shares]
    if whole("threshold", threshold) > len(points):
        raise ValueError(f"threshold must be at most the number of points, {len(points)}; got {threshold}.")
    check, false, found = _parity(points, threshold, prime), set(), []
    weights = _weights_at_0(points[:threshold], prime)
    for one in shares:
        if sum(c * s for c, s in zip(check, one, strict=True)) % prime:
            polynomial = _decoded(points, one, threshold, prime)
            false |= {x for x, s in zip(points, one, strict=True) if (_value(polynomial, x, prime) - s) % prime}
            found.append(polynomial[-1])
        else:
            found.append(sum(w * s for w, s in zip(weights, one, strict=False)) % prime)
    if len(false) > (len(points) - threshold) // 2:
        raise ValueError("shares must be true but for half of those beyond the threshold; more are false.")
    return found, tuple(sorted(false))


def _parity(points: tuple[int, ...], threshold: int, prime: int) -> list[int]:
    """Weights under which shares of any secret add up to 0; false ones do once in `prime` times, as they are random."""
    coins = [secrets.randbelow(prime) for _ in range(len(points) - threshold)]
    if not coins:
        return [0] * len(points)
    # Divided differences of more than `threshold` points are 0 for a polynomial of so low a degree.
    return [
        _value(coins, x, prime) * pow(math.prod(x - other for other in points if other != x), -1, prime)
        for x in points
    ]  # fmt: skip


def _decoded(points: tuple[int, ...], shares: Sequence[int], threshold: int, prime: int) -> list[int]:
    """The polynomial through all but the false shares, by Euclid's algorithm (Gao 2003, 10.1007/978-1-4757-3789-9_5).

    Polynomials are lists of coefficients, the highest power first.
    """
    through, zero = [0], [1]  # a polynomial through the points so far; one that is 0 there
    for x, share in zip(points, shares, strict=True):
        step = (share - _value(through, x, prime)) * pow(_value(zero, x, prime), -1, prime)
        through = _plus(through, [step * c for c in zero], prime)
        zero = _plus([*zero, 0], [-x * c for c in zero], prime)
    rest, factor = (zero, through), ([0], [1])
    while 2 * (len(rest[1]) - 1) >= len(points) + threshold:
        quotient, left = _divided(*rest, prime)
        rest = rest[1], left
        factor = factor[1], _plus(factor[0], [-c for c in _times(quotient, factor[1], prime)], prime)
    found, left = _divided(rest[1], factor[1], prime)
    if left != [0] or len(found) > threshold:
        raise ValueError("shares must lie on one polynomial; some are false, and it cannot be told which.")
    return found


def _plus(a: list[int], b: list[int], prime: int) -> list[int]:
    n = max(len(a), len(b))
    total = [(x + y) % prime for x, y in zip([0] * (n - len(a)) + a, [0] * (n - len(b)) + b, strict=True)]
    lead = next((k for k, c in enumerate(total) if c), n - 1)
    return total[lead:]


def _times(a: list[int], b: list[int], prime: int) -> list[int]:
    total = [0] * (len(a) + len(b) - 1)
    for k, x in enumerate(a):
        for j, y in enumerate(b):
            total[k + j] = (total[k + j] + x * y) % prime
    return total


def _divided(a: list[int], b: list[int], prime: int) -> tuple[list[int], list[int]]:
    """Quotient and rest."""
    inverse, quotient, rest = pow(b[0], -1, prime), [], list(a)
    for k in range(len(a) - len(b) + 1):
        quotient.append(rest[k] * inverse % prime)
        for j, y in enumerate(b):
            rest[k + j] = (rest[k + j] - quotient[-1] * y) % prime
    return quotient or [0], _plus(rest, [0], prime)


def _value(polynomial: list[int], x: int, prime: int) -> int:
    """Horner's rule. Points are small numbers here, so that one reduction at the end is cheaper than one a step."""
    value = 0
    for coefficient in polynomial:
        value = value * x + coefficient
    return value % prime


@lru_cache(maxsize=8)  # a server combines many secrets from the same points
def _weights_at_0(points: tuple[int, ...], prime: int) -> list[int]:
    """Lagrange: the value at 0 is the sum of these weights times the shares."""
    weights = []
    for x in points:
        above, below = 1, 1
        for other in points:
            if other != x:
                above, below = above * other % prime, below * (other - x) % prime
        weights.append(above * pow(below, -1, prime) % prime)
    return weights


def _distinct(points: Sequence[int], prime: int) -> tuple[int, ...]:
    """Different whole numbers from 1 to ``prime - 1``, where that is a prime as far as anybody checks."""
    whole("prime", prime, 2)
    found = tuple(points) if isinstance(points, Iterable) else ()
    right = all(isinstance(x, int) and not isinstance(x, bool) and 0 < x < prime for x in found)
    if not right or len(set(found)) < len(found) or not found:
        raise ValueError(f"points must be different whole numbers from 1 to prime - 1; got {points!r}.")
    return found


def _one_each(shares: Sequence[int], points: Sequence[int]) -> tuple[int, ...]:
    found = tuple(shares) if isinstance(shares, Iterable) else ()
    if len(found) != len(points) or not all(isinstance(s, int) and not isinstance(s, bool) for s in found):
        raise ValueError(f"shares must be whole numbers, one for each of {len(points)} points; got {len(found)}.")
    return found  # a share is never printed

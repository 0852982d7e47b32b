"""Shamir's secret sharing: any `threshold` shares give the secret, fewer say nothing about it.

The secret is the value at 0 of a random polynomial of degree ``threshold - 1`` over the whole numbers modulo a prime;
a share is its value at another point (Shamir 1979, doi:10.1145/359168.359176). Through fewer points than `threshold`
goes one such polynomial for *every* secret.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
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
    if not 0 <= secret < prime:
        raise ValueError("secret must be from 0 to prime - 1.")  # a secret is never printed
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
    return sum(w * s for w, s in zip(_weights_at_0(points, prime), shares, strict=True)) % prime


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
    points = tuple(points)
    if len(set(points)) < len(points) or not all(0 < x < prime for x in points) or not points:
        raise ValueError(f"points must be different whole numbers from 1 to prime - 1; got {points}.")
    return points

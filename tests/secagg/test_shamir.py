"""A secret in pieces."""

import itertools
from collections import Counter

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.secagg import shamir


def solved(points, shares, prime):
    """The secret by Gaussian elimination on the equations for the polynomial's coefficients."""
    n = len(points)
    rows = [[pow(x, k, prime) for k in range(n)] + [s] for x, s in zip(points, shares, strict=True)]
    for column in range(n):
        pivot = next(r for r in range(column, n) if rows[r][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        inverse = pow(rows[column][column], prime - 2, prime)
        rows[column] = [value * inverse % prime for value in rows[column]]
        for r in range(n):
            if r != column:
                rows[r] = [(a - rows[r][column] * b) % prime for a, b in zip(rows[r], rows[column], strict=True)]
    return rows[0][-1]


def test_the_prime_is_the_first_above_all_256_bit_secrets():
    assert sympy.nextprime(2**256) == shamir.PRIME


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 2**256 - 1), st.integers(1, 9), st.data())
def test_shares_give_the_secret_as_gaussian_elimination_does(secret, threshold, draw):
    points = draw.draw(st.lists(st.integers(1, 2**256), min_size=threshold, max_size=12, unique=True))
    shares = dict(zip(points, shamir.split(secret, threshold, points), strict=True))
    some = draw.draw(st.permutations(points))[:threshold]
    chosen = [shares[x] for x in some]
    assert shamir.combine(some, chosen) == solved(some, chosen, shamir.PRIME) == secret
    assert shamir.combine(points, [shares[x] for x in points]) == secret  # more than enough


def test_fewer_shares_than_the_threshold_say_nothing(monkeypatch):
    """Exhaustively: whatever the secret, two shares of three have the same joint distribution; three do not."""
    prime, points = 7, [1, 2, 4, 5]
    seen = {size: [Counter() for _ in range(prime)] for size in (2, 3)}
    for secret in range(prime):
        for coins in itertools.product(range(prime), repeat=2):
            tossed = iter(coins)
            monkeypatch.setattr(shamir.secrets, "randbelow", lambda below, tossed=tossed: next(tossed))
            shares = shamir.split(secret, 3, points, prime=prime)
            for size, counts in seen.items():
                for chosen in itertools.combinations(range(4), size):
                    counts[secret][chosen, tuple(shares[i] for i in chosen)] += 1
    assert all(counts == seen[2][0] for counts in seen[2])
    assert len(seen[2][0]) == 6 * prime**2
    assert all(not seen[3][a].keys() & seen[3][b].keys() for a, b in itertools.combinations(range(prime), 2))


def test_each_split_has_coins_of_its_own():
    assert shamir.split(5, 2, [1, 2]) != shamir.split(5, 2, [1, 2])


@pytest.mark.parametrize(
    ("secret", "threshold", "points", "sentence"),
    [
        (-1, 2, [1, 2], "secret"),
        (shamir.PRIME, 2, [1, 2], "secret"),
        (1, 3, [1, 2], "threshold must be at most"),
        (1, 0, [1, 2], "threshold"),
        (1, 1, [0, 1], "points"),
        (1, 1, [1, 1], "points"),
        (1, 1, [], "points"),
        (1, 1, [shamir.PRIME], "points"),
    ],
)
def test_shamir_refuses(secret, threshold, points, sentence):
    with pytest.raises(ValueError, match=sentence):
        shamir.split(secret, threshold, points)

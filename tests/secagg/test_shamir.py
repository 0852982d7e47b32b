"""A secret in pieces."""

import itertools
import random
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


# ---------------------------------------------------------------- false shares


@pytest.mark.parametrize("surplus", range(6))
@pytest.mark.parametrize("threshold", [1, 2, 5])
def test_surplus_shares_correct_half_of_them_and_notice_all(threshold, surplus):
    """Several secrets, liars of each kind: random shares, off by one, 0, and beyond the prime."""
    rng, n = random.Random(10 * threshold + surplus), threshold + surplus
    points = rng.sample(range(1, 60), n)
    secrets = [rng.randrange(2**256) for _ in range(3)]
    true = [shamir.split(s, threshold, points) for s in secrets]
    assert shamir.combine_all(points, true, threshold) == (secrets, ())
    for lies in range(1, surplus + 1):
        given, liars = [list(shares) for shares in true], rng.sample(range(n), lies)
        for liar in liars:
            given[1][liar] += rng.choice([1, rng.randrange(1, shamir.PRIME), 2**263])
        if lies <= surplus // 2:
            expected = tuple(sorted(points[k] for k in liars))
            assert shamir.combine_all(points, given, threshold) == (secrets, expected)
        else:  # random lies: that they lie on another polynomial has no chance
            with pytest.raises(ValueError, match="shares must lie on one polynomial"):
                shamir.combine_all(points, given, threshold)


def test_exactly_as_many_shares_as_the_threshold_check_nothing():
    shares = shamir.split(7, 3, [1, 2, 3])
    secrets, false = shamir.combine_all([1, 2, 3], [[shares[0] + 1, *shares[1:]]], 3)
    assert secrets != [7] and false == ()


def test_more_liars_over_all_secrets_than_half_the_surplus_are_refused():
    """Each secret by itself could be corrected; together they say that more lied than was allowed for."""
    rows = [shamir.split(s, 2, [1, 2, 3, 4]) for s in (5, 6)]
    rows[0][0] += 1
    assert shamir.combine_all([1, 2, 3, 4], rows, 2) == ([5, 6], (1,))
    rows[1][3] += 1
    with pytest.raises(ValueError, match="more are false"):
        shamir.combine_all([1, 2, 3, 4], rows, 2)


def test_two_liars_in_concert_can_make_one_look_false_where_only_one_was_allowed_for():
    """What the docstring warns of: their shares and those of threshold - 1 others lie on another polynomial."""
    points, threshold, p = [1, 2, 3, 4], 2, shamir.PRIME
    shares = shamir.split(1000, threshold, points)
    lies = [(s + 5 * (x - 1)) % p if x in (2, 3) else s for x, s in zip(points, shares, strict=True)]
    assert shamir.combine_all(points, [lies], threshold) == ([(1000 - 5) % p], (4,))

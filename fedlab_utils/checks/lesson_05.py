"""Exercises of lesson 05."""

from __future__ import annotations

import math

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def masked_number(yours):
    "a function of `me`, `number`, `masks` (a mask for each pair of names) and `modulus`: the number that is sent"
    own = {"C": 6, "A": 13, "B": 2}  # not by the alphabet, as in the lesson
    masks, modulus = {("C", "A"): 19, ("C", "B"): 8, ("A", "B"): 17}, 20
    got = [float(as_array(yours(me, own[me], masks, modulus), "what is sent").reshape(())) for me in own]
    adds = {me: own[me] + sum(m for (a, _), m in masks.items() if a == me) for me in own}
    takes = {me: own[me] - sum(m for (_, b), m in masks.items() if b == me) for me in own}
    others = {me: own[me] + sum(m if a == me else -m for (a, _), m in masks.items()) for me in own}
    plus = {me: own[me] + sum(m for pair, m in masks.items() if me in pair) for me in own}
    every = sum(masks.values())

    def signed(sign):
        return [own[me] + sum(sign * m * ((me == a) - (me == b)) for (a, b), m in masks.items()) for me in own]

    right = [s % modulus for s in signed(1)]
    mistakes = {
        "The masks are right, but a number below 0 or above the modulus came out. How large it is hints at the own "
        "number; take everything modulo `modulus`.": signed(1),
        "The last step is missing: modulo `modulus`, so that what is sent is from 0 to modulus - 1. (And check the "
        "signs.)": signed(-1),
        "Everybody adds here, and nobody takes away: will the masks cancel in the sum? The second name of a pair "
        "subtracts.": [plus[me] % modulus for me in own],
        "Everybody adds here, and nothing is taken modulo. Will the masks cancel in the sum?": [plus[me] for me in own],
        "The masks are added where `me` comes first, and never taken away where `me` comes second. Will they cancel in "
        "the sum?": [adds[me] % modulus for me in own],
        "The masks are taken away where `me` comes second, and never added where `me` comes first. Will they cancel in "
        "the sum?": [takes[me] % modulus for me in own],
        "You took away every mask that `me` does not add, also those of pairs that `me` is not in: nobody told `me` "
        "those.": [others[me] % modulus for me in own],
        "Your signs are the other way round. The masks would cancel too, if *everybody* did it your way; here the "
        "first name of a pair adds.": [s % modulus for s in signed(-1)],
        "Nothing hides the number: which of the masks has `me` in its pair?": [own[me] for me in own],
        "You go by the alphabet. In a pair the name that stands *first* adds, whatever its letter.": [
            (own[me] + sum(m if me == min(pair) else -m for pair, m in masks.items() if me in pair)) % modulus
            for me in own
        ],
        "You used every mask there is. A hospital knows only those of the pairs that it is in.": [
            (own[me] + every) % modulus for me in own
        ],
    }
    for message, wrong in mistakes.items():
        if np.allclose(got, wrong) and not np.allclose(got, right):
            return hint(message)
    return compare(got, right, what="what is sent") or well_done(
        "Each of the three numbers is random, and their sum is not."
    )


@exercise
def combine(yours):
    "a function of `points`, `shares` and a prime `p` that returns the secret, a whole number"
    p, secret, slope = 10_007, 4_242, 977
    points = [2, 3, 7, 8]  # an odd number of factors in each weight, so that a wrong sign shows
    shares = [(secret + slope * x + 31 * x**2 + 5 * x**3) % p for x in points]
    got = yours(points, shares, p)
    value = as_array(got, "the secret")
    if value.size != 1:
        return hint("The secret is one number; add the weighted shares up.")
    value = float(value.reshape(()))
    if not float(value).is_integer():
        return hint(
            f"That is {value:.4g}, which is no whole number: somewhere a `/` divides. Modulo a prime, multiply by "
            "`pow(a, -1, p)` instead."
        )

    for message, wrong in _wrong_secrets(points, shares, p).items():
        if value == float(wrong) and value != secret:
            return hint(message)
    if value != secret and value % p == secret:
        return hint("The weighted shares are added up, and the sum is still to be taken modulo p.")
    if value >= p or value < 0:
        return hint(f"Four shares of one secret give {value:.6g}; right would be a whole number from 0 to p - 1.")
    if value != secret:
        return hint(
            "Four shares of one secret do not give it back yet. Take two points and do it on paper: what is the "
            "weight of the first share?"
        )
    if yours([5, 1], [(secret + slope * 5) % p, (secret + slope) % p], p) != secret:
        return hint("With a threshold of four your function works; with two shares of a line it does not.")
    large = 2**256 + 297
    long = 2**255 + 12345
    if yours([1, 2], [(long + 67 * x) % large for x in (1, 2)], large) != long:
        return hint(
            "For small primes it is right; with a secret of 255 bits digits are lost. Something turns your numbers "
            "into floats, or into numpy's 64 bits: keep to Python's whole numbers."
        )
    return well_done("Any three, no matter which. And nobody ever needed to have the polynomial.")


def _wrong_secrets(points: list[int], shares: list[int], p: int) -> dict[str, int]:
    """Hints, each with the secret that this mistake in Lagrange's weights leads to."""

    def weighted(factor):  # of another point and the share's own
        total = 0
        for x, share in zip(points, shares, strict=True):
            for other in points:
                share = share * factor(other, x) % p if other != x else share
            total += share
        return total % p

    def inverse(number):
        return pow(number, -1, p)

    def rounded(together):  # the weights, with `//` for the division
        total = 0
        for x, share in zip(points, shares, strict=True):
            rest = [other for other in points if other != x]
            parts = ([math.prod(rest)], [math.prod(o - x for o in rest)]) if together else (rest, [o - x for o in rest])
            total += share * math.prod(top // bottom for top, bottom in zip(*parts, strict=True))
        return total % p

    cut = "`//` throws away what is left over of a division. Modulo a prime"
    return {
        f"{cut} nothing is left over: multiply by `pow(x_j - x_i, -1, p)`.": rounded(False),
        f"{cut} nothing is left over: multiply by `pow(a, -1, p)`, where `a` is what you divide by.": rounded(True),
        "The sign: each factor is `x_j / (x_j - x_i)`, and you have `x_j / (x_i - x_j)`.": weighted(
            lambda other, x: other * inverse(x - other)
        ),
        "The shares are added up without weights, and the secret is not their sum.": sum(shares) % p,
        "The weights lack their numerator: `x_j` over the difference, for every *other* point.": weighted(
            lambda other, x: inverse(other - x)
        ),
        "The weights lack their denominator: each factor is divided by `x_j - x_i`.": weighted(lambda other, x: other),
        "In the numerator stands `x_j`, the *other* point; you have the point's own `x_i`.": weighted(
            lambda other, x: x * inverse(other - x)
        ),
        "That is one of the shares. A share by itself says nothing.": shares[0],
    }


@exercise
def safe_threshold(yours):
    "a function of `n` hospitals of which `colluding` help a lying server: the smallest threshold that is safe"
    cases = [(5, 0), (6, 0), (10, 0), (10, 3), (11, 2), (30, 9)]
    got = [float(as_array(yours(n, c), "the threshold").reshape(())) for n, c in cases]
    right = [(n + c) // 2 + 1 for n, c in cases]
    mistakes = {
        "With n even and half of them as threshold, two groups of n / 2 fit beside each other. It takes *more* than "
        "half.": [-(-(n + c) // 2) for n, c in cases],
        "That forgets those who help the server: they give a piece to both groups, so each of them counts twice.": [
            n // 2 + 1 for n, _ in cases
        ],
        "That is the majority of the honest ones. Each side needs t pieces, and colluding hospitals serve both.": [
            (n - c) // 2 + 1 for n, c in cases
        ],
        "All of them is safe, and one single dropout ends the round. What is the *smallest* that is safe?": [
            n for n, _ in cases
        ],
        "That is the condition against a server that keeps to the protocol. This one tells two stories.": [
            c + 1 for _, c in cases
        ],
        "Safe, but larger than needed: how many pieces can the server collect on both sides together?": [
            2 * n // 3 + 1 for n, _ in cases
        ],
        "One too small or not whole: 2 t must be *larger* than n + colluding.": [(n + c) / 2 for n, c in cases],
    }
    listed = any(np.allclose(got, wrong) for wrong in mistakes.values())
    if not listed and got != right and all(float(g).is_integer() and g >= r for g, r in zip(got, right, strict=True)):
        return hint(
            "Safe, but larger than needed: one who colludes brings the server *one* piece more, and two stories share "
            "all the pieces there are."
        )
    return compare(got, right, what="the threshold, case by case", mistakes=mistakes) or well_done(
        "2 t > n + colluding: two groups of t cannot both be filled, so of no hospital are both masks opened."
    )


@question
def crooked(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "C": (
            "C's mean error is a few hundredths of a step, now up, now down, wherever you look. That is luck: take "
            "more repeats and it shrinks."
        ),
        "B": ("Look at B at several values: repeating does not help it, its error is the same each time."),
        "D": (
            "Half way between two levels a coin may fall either way. Take D at a value that is close to a level: which "
            "way does it lean?"
        ),
        "A": ("Who watches for the largest sum? Let every hospital have a value near the limit, and look at A."),
    }
    nothing = "At the value 0 some of them look fine. Try others: between two levels, and near the limits."
    praise = "Three out of four, and none of them raised an error. That is why the package checks its ranges."
    return picked(yours, "ABD", nothing, hints, praise)

"""Lesson 05: its exercises, what it builds by hand, the attacks it shows, and its figures."""

import math
from fractions import Fraction
from types import FunctionType

import cells
import lessons
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy.special import ive
from scipy.stats import chisquare, norm

from fedlab_utils import audit, checks, plots, privacy, secagg
from fedlab_utils.secagg import shamir
from fedlab_utils.secagg.grid import Grid, encode
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def signed(me, number, masks, sign=1):
    for (first, second), mask in masks.items():
        number += sign * mask * ((me == first) - (me == second))
    return number


def lagrange(points, shares, p, weight, modulo=True):
    total = 0
    for x, share in zip(points, shares, strict=True):
        for other in points:
            if other != x:
                share = share * weight(other, x, p) % p
        total += share
    return total % p if modulo else total


def inverse(number, p):
    return pow(number, -1, p)


def right_weight(other, x, p):
    return other * inverse(other - x, p)


def by_whole_numbers(points, shares, p, factors):
    weights = [math.prod(factors([b for b in points if b != a], a)) for a in points]
    return sum(share * weight for share, weight in zip(shares, weights, strict=True)) % p


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "masked_number": {
        "never taken away": lambda me, n, m, mod: (n + sum(v for (a, _), v in m.items() if a == me)) % mod,
        "never added": lambda me, n, m, mod: (n - sum(v for (_, b), v in m.items() if b == me)) % mod,
        "nobody told": lambda me, n, m, mod: (n + sum(v if a == me else -v for (a, _), v in m.items())) % mod,
        "take everything modulo": lambda me, n, m, mod: signed(me, n, m),
        "The last step is missing": lambda me, n, m, mod: signed(me, n, m, -1),
        "nobody takes away": lambda me, n, m, mod: (n + sum(v for k, v in m.items() if me in k)) % mod,
        "nothing is taken modulo": lambda me, n, m, mod: n + sum(v for k, v in m.items() if me in k),
        "the other way round": lambda me, n, m, mod: signed(me, n, m, -1) % mod,
        "Nothing hides the number": lambda me, n, m, mod: n,
        "by the alphabet": lambda me, n, m, mod: (
            (n + sum(v if me == min(k) else -v for k, v in m.items() if me in k)) % mod
        ),
        "You used every mask": lambda me, n, m, mod: (n + sum(m.values())) % mod,
    },
    "combine": {
        "pow(x_j - x_i, -1, p)": lambda x, s, p: by_whole_numbers(
            x, s, p, lambda rest, a: [b // (b - a) for b in rest]
        ),
        "what you divide by": lambda x, s, p: by_whole_numbers(
            x, s, p, lambda rest, a: [math.prod(rest) // math.prod(b - a for b in rest)]
        ),
        "still to be taken modulo p": lambda x, s, p: lagrange(x, s, p, right_weight, modulo=False),
        "The sign": lambda x, s, p: lagrange(x, s, p, lambda o, i, p: o * inverse(i - o, p)),
        "without weights": lambda x, s, p: sum(s) % p,
        "lack their numerator": lambda x, s, p: lagrange(x, s, p, lambda o, i, p: inverse(o - i, p)),
        "lack their denominator": lambda x, s, p: lagrange(x, s, p, lambda o, i, p: o),
        "the point's own": lambda x, s, p: lagrange(x, s, p, lambda o, i, p: i * inverse(o - i, p)),
        "one of the shares": lambda x, s, p: s[0],
        "no whole number": lambda x, s, p: lagrange(x, s, p, right_weight) + 0.5,
        "a line it does not": lambda x, s, p: lagrange(x, s, p, right_weight) if len(x) == 4 else 5,
        "digits are lost": lambda x, s, p: float(lagrange(x, s, p, right_weight)),
        "add the weighted shares up": lambda x, s, p: s,
        "from 0 to p - 1": lambda x, s, p: lagrange(x, s, p, right_weight) + 2 * p + 1,
        "do it on paper": lambda x, s, p: 17,
    },
    "safe_threshold": {
        "*one* piece more": lambda n, c: n // 2 + 1 + c,
        "*more* than": lambda n, c: -(-(n + c) // 2),
        "counts twice": lambda n, c: n // 2 + 1,
        "majority of the honest": lambda n, c: (n - c) // 2 + 1,
        "one single dropout": lambda n, c: n,
        "keeps to the protocol": lambda n, c: c + 1,
        "larger than needed": lambda n, c: 2 * n // 3 + 1,
        "too small or not whole": lambda n, c: (n + c) / 2,
    },
    "crooked": {
        "That is luck": {"A", "B", "C", "D"},
        "Try others": set(),
        "repeating does not help": {"A", "D"},
        "close to a level": {"A", "B"},
        "near the limit": {"B", "D"},
        "none of the letters": {"A", "E"},
    },
}


def by_fractions(points, shares, p):
    """Lagrange's weights as fractions of whole numbers, made one number modulo p at the very end."""
    over = math.prod(a - b for a in points for b in points if a != b)
    total = sum(
        share * over * math.prod(Fraction(b, b - a) for b in points if b != a)
        for a, share in zip(points, shares, strict=True)
    )
    return int(total) * inverse(over, p) % p


RIGHT = {  # exercise -> answers written in other ways
    "masked_number": [
        lambda me, n, masks, mod: np.int64(signed(me, n, masks)) % mod,
        lambda me, n, m, mod: torch.tensor(signed(me, n, m)) % mod,
        lambda me, n, m, mod: (n + sum(v if me == a else -v for (a, b), v in m.items() if me in (a, b))) % mod,
        lambda me, n, m, mod: [np.mod(signed(me, n, m), mod)],
    ],
    "combine": [
        lambda points, shares, p: shamir.combine(points, shares, prime=p),
        lambda points, shares, p: lagrange(points[::-1], shares[::-1], p, right_weight),
        lambda points, shares, p: sum(
            s * math.prod(o * inverse(o - x, p) for o in points if o != x) for x, s in zip(points, shares, strict=True)
        ) % p,
        by_fractions,
    ],
    "safe_threshold": [
        lambda n, c: (n + c + 2) // 2,
        lambda n, c: math.floor((n + c) / 2) + 1,
        lambda n, c: next(t for t in range(1, n + 1) if 2 * t > n + c),
        lambda n, c: np.array([(n + c) // 2 + 1]),
    ],
    "crooked": ["dab", ["A", "B", "D"], ("d", "b", "a"), {"A", "B", "D"}],
}  # fmt: skip


def test_the_threshold_of_the_exercise_is_the_one_that_the_protocol_asks_for():
    for n, colluding in ((5, 0), (6, 0), (11, 2), (30, 9)):
        least = (n + colluding) // 2 + 1
        assert checks.safe_threshold(lambda n, c: (n + c) // 2 + 1).passed
        secagg.Setup(n, least, 1, 32, colluding=colluding)
        with pytest.raises(ValueError, match="threshold"):
            secagg.Setup(n, least - 1, 1, 32, colluding=colluding)


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """What the lesson builds by hand, and the teams of its last exercise."""
    source = lessons.SOURCES / "05_secure_aggregation.py"
    by_hand = ("masked", "to_words", "from_words", "agree", "expand", "shares", "by_coin", "twister_words")
    return cells.definitions(source, *by_hand, "teams", "errors_in_steps", "share_of_noise")


def test_masks_by_hand_cancel_and_hide(lesson):
    rng = np.random.default_rng(1)
    words = {name: rng.integers(0, 2**32, 5000, dtype=np.uint32) // 1000 for name in "ABC"}
    masks = {pair: rng.integers(0, 2**32, 5000, dtype=np.uint32) for pair in (("A", "B"), ("A", "C"), ("B", "C"))}
    sent = {name: lesson["masked"](name, words[name], masks) for name in "ABC"}
    assert (sum(sent.values()) == sum(words.values())).all()
    for name in "ABC":
        assert not (sent[name] == words[name]).any()
        assert abs(sent[name].mean() / 2**31 - 1) < 0.05 and words[name].mean() < 2**31 / 500


def test_words_and_back(lesson):
    values = np.array([-3.0, -0.25, 0.0, 0.125, 100.0])
    assert (lesson["from_words"](lesson["to_words"](values)) == values).all()


def test_keys_and_masks_by_hand_are_the_packages(lesson):
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    a, b = X25519PrivateKey.generate(), X25519PrivateKey.generate()
    key = lesson["agree"](a, b.public_key())
    assert key == lesson["agree"](b, a.public_key()) == secagg.agree(a, b.public_key(), b"round 0")
    assert (lesson["expand"](key, 1001) == secagg.expand(key, 1001, 32)).all()


def test_shares_by_hand_are_put_together_by_the_package(lesson):
    points = [1, 2, 3, 4, 5]
    pieces = lesson["shares"](42, 3, points, 97, np.random.default_rng(0))
    for some in ([0, 1, 2], [4, 2, 0], [1, 3, 4]):
        assert shamir.combine([points[i] for i in some], [pieces[i] for i in some], prime=97) == 42


def test_the_coin_is_the_packages(lesson):
    values = np.random.default_rng(0).uniform(-1, 1, 500)
    grid = Grid(1.0, 32, 1000)
    ours = lesson["by_coin"](values, 1.0, grid.levels, np.random.default_rng(1))
    assert (7 * ours == encode(values, 7, grid, np.random.default_rng(1))[:-1]).all()


@pytest.mark.parametrize("team", "ABCD")
def test_measuring_finds_the_crooked_quantisers_and_only_them(lesson, team):
    rows = [300, 250, 200, 150, 100]
    worst = 0.0
    for value in (0.0, 0.005, 0.3, 0.95, -1.0, 1.0):
        error = lesson["errors_in_steps"](lesson["teams"][team], value, rows)
        worst = max(worst, abs(error.mean()))
    assert worst < 0.02 if team == "C" else worst > 0.1
    if team == "A":  # in the middle of the range nothing is to be seen
        assert abs(lesson["errors_in_steps"](lesson["teams"]["A"], 0.3, rows).mean()) < 0.02


def test_the_written_out_generator_is_numpys(lesson):
    seeds = np.array([0, 1, 12345, 2**20 - 1, 2**32 - 1], dtype=np.uint64)
    found = lesson["twister_words"](seeds, 6)
    for k, seed in enumerate(seeds):
        assert (found[:, k] == np.random.RandomState(int(seed)).randint(0, 2**32, 6, dtype=np.uint32)).all()
        # as a framework draws masks: below modulus - 1, in 64-bit numbers
        assert (found[:, k] == np.random.RandomState(int(seed)).randint(0, 2**32 - 1, 6, dtype=np.int64)).all()


# ---------------------------------------------------------------- what the lesson says


def test_published_traffic_factors_come_out():
    """Bonawitz et al. (eprint 2017/281): 1.73 and 1.98 times the plain 16-bit values."""
    for n, d, published in ((2**10, 2**20, 1.73), (2**14, 2**24, 1.98)):
        bits = 2 * n * 256 + (5 * n - 4) * 256 + d * (16 + np.log2(n))
        assert bits / (16 * d) == pytest.approx(published, abs=0.005)


def test_two_shares_of_three_fit_every_secret_once():
    secret, c1, c2 = np.meshgrid(*[np.arange(31)] * 3, indexing="ij")
    fitting = (((secret + c1 + c2) % 31 == 10) & ((secret + 2 * c1 + 4 * c2) % 31 == 20)).sum(axis=(1, 2))
    assert (fitting == 1).all()


def test_a_finite_mask_hides_no_better_than_its_size():
    """The share of right guesses between two updates at distance D under noise s is Phi(D / 2s)."""
    rng = np.random.default_rng(0)
    two = rng.normal(size=(2, 50))
    distance = np.linalg.norm(two[1] - two[0])
    truth = rng.integers(0, 2, 20_000)
    seen = two[truth] + 5 * rng.normal(size=(20_000, 50))
    right = (((seen - two.mean(0)) @ (two[1] - two[0]) > 0) == truth).mean()
    assert right == pytest.approx(norm.cdf(distance / 10), abs=0.015)


def test_shares_by_hand_add_up_to_the_noise_that_the_promise_needs(lesson):
    """Skellam noise, by its exact law; each test would fail by chance once in 10,000 seeds."""
    lesson = lesson | {"rng": np.random.default_rng(0)}
    share = FunctionType(lesson["share_of_noise"].__code__, lesson)
    two, k = share(50_000) + share(50_000), np.arange(-12, 13)
    expected = ive(np.abs(k), 12.0) * len(two)
    seen = np.array([(two == value).sum() for value in k])
    assert (expected >= 5).all() and chisquare([*seen, len(two) - seen.sum()], [*expected, len(two) - expected.sum()])[
        1
    ] > 1e-4
    three = two + share(50_000)
    assert three.var() == pytest.approx(18, rel=0.05)


def test_the_audit_of_the_lesson_acquits_the_sum_and_convicts_a_single_share():
    patient = np.arange(3000) % 2 == 1
    tables = np.zeros((5, 27_000), int)
    tables[0] = np.repeat(patient, 9)
    for seed in range(3):
        promise, rng = privacy.RecordDP(epsilon=2.0, secure=False), np.random.default_rng(seed)
        about = dict(cells=9, viewer="server", drop={4: "mask"}, seed=seed)
        released = secagg.private_sum(tables, promise=promise, **about)
        alone = tables[0] + secagg.noise.skellam(released.setup.share, 27_000, rng)
        fair, thin = (
            audit.judge(sums.reshape(3000, 9).sum(1, keepdims=True).astype(float), patient, np.ones(1), gaussian=True)
            for sums in (released.total, alone)
        )
        assert fair.refined < 2 < thin.refined and fair.models == 2_000
        assert released.mechanisms["server"].epsilon <= 2 < released.mechanisms["every hospital"].epsilon < 2.4


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    octets, values = rng.integers(0, 256, 600).astype(np.uint8), rng.normal(size=20)
    own, masks = {"A": 1, "B": 2, "C": 3}, {("A", "B"): 4, ("A", "C"): 5, ("B", "C"): 6}
    made = [
        plots.read_out({"one": (values, values), "sum": (values, values[::-1])}),
        plots.masks_on_paper(own, masks, 10),
        plots.sums({"all": (values, values), "one missing": (values, 100 * values)}),
        plots.shares_on_a_line(42, 11, [1, 2, 3], [0, 40, 80]),
        plots.protocol_rounds(),
        plots.server_view(octets, octets, (values, values)),
        plots.server_view(octets, octets, None, "Only 2 of 5 are left."),
        plots.costs({"few": ([5, 10], [0.1, 0.2])}, {"all": ([10, 100], [1.0, 1.2])}),
        plots.hide_or_add(np.array([1.0, 10]), np.array([0.9, 0.5]), {"float32": [1e-6, 1e-5], "float64": [0, 1e-16]}),
        plots.fewer_honest([2, 1], [1.0, 1.4], promised=1.0, scaled_for=2),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_the_table_on_paper_adds_up():
    shown = plots.masks_on_paper({"A": 17, "B": 42, "C": 5}, {("A", "B"): 58, ("A", "C"): 91, ("B", "C"): 23}, 100)
    texts = [t.get_text() for t in shown.axes[0].texts]
    assert [t for t in texts if t in ("66", "7", "91")] == ["66", "7", "91"] and texts.count("64") == 2


def test_a_refusal_is_written_where_the_sum_would_be():
    octets = np.arange(256, dtype=np.uint8)
    texts = [t.get_text() for t in plots.server_view(octets, octets, None, "too few").axes[1].texts]
    assert texts == ["no sum", "too few"]

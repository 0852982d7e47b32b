"""Lesson 07: its exercises, the toy encryption it builds by hand, and what it says about keys and digits."""

from types import SimpleNamespace

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import plots
from tests.lessons.helpers import drawn

LESSON = lessons.SOURCES / "07_homomorphic_encryption.py"


# ---------------------------------------------------------------- exercises


def both(function):
    """A wrong answer that treats both parts of a box alike."""
    return lambda first, second, q: (function(first[0], second[0], q), function(first[1], second[1], q))


def boxes_by(error, room, together=min):
    return lambda q, s, m, e: together(error(s, e), room(q, s, m, e))


def by_error(s, e):
    return (s - 1) // (2 * e)


def by_room(q, s, m, e):
    return (q - 1) // (2 * (s * m + e))


def most(q, scale, largest, worst):
    """By trying, one box after the other."""
    k = 0
    while 2 * (k + 1) * worst < scale and 2 * (k + 1) * (scale * largest + worst) < q:
        k += 1
    return k


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "add_boxes": {
        "left the clock": both(lambda x, y, q: x + y),
        "`b` left the clock": lambda f, s, q: ((f[0] + s[0]) % q, f[1] + s[1]),
        "one of the public lists": lambda f, s, q: (f[0], (f[1] + s[1]) % q),
        "kept the number of one box": lambda f, s, q: ((f[0] + s[0]) % q, f[1]),
        "an hour far away": both(lambda x, y, q: (x + y) // 2),
        "multiplies": both(lambda x, y, q: x * y % q),
        "difference": both(lambda x, y, q: (x - y) % q),
        "side by side": both(lambda x, y, q: np.concatenate([x, y])),
        "is a pair": lambda f, s, q: (f[1] + s[1]) % q,
        "puts pairs side by side": lambda f, s, q: f + s,
        "changed places": lambda f, s, q: ((f[1] + s[1]) % q, (f[0] + s[0]) % q),
        "counted from -q/2": both(lambda x, y, q: (x + y + q // 2) % q - q // 2),
        "to itself": both(lambda x, y, q: 2 * x % q),
        "not an hour": both(lambda x, y, q: (x + y) / q % 1),
    },
    "most_boxes": {
        "Only the errors count": lambda q, s, m, e: by_error(s, e),
        "room above only": by_room,
        "*smaller* number": boxes_by(by_error, by_room, max),
        "a whole scale is too late": boxes_by(lambda s, e: (s - 1) // e, by_room),
        "the room is q / 2": boxes_by(by_error, lambda q, s, m, e: (q - 1) // (s * m + e)),
        "square root": boxes_by(lambda s, e: int((s / (2 * e)) ** 2), by_room),
        "by the scale": boxes_by(by_error, lambda q, s, m, e: (q - 1) // (2 * (m + e))),
        "is a tie": boxes_by(lambda s, e: s // (2 * e), by_room),
        "one too many": lambda *case: most(*case) + 1,
        "still be certain": lambda *case: most(*case) - 1,
        "more than one number": lambda q, s, m, e: (by_error(s, e), by_room(q, s, m, e)),
        "need room on the clock": boxes_by(by_error, lambda q, s, m, e: (q - 1) // (2 * s * m)),
        "do not add up": boxes_by(by_error, by_room, lambda one, other: one + other),
        "round down": boxes_by(lambda s, e: (s - 0.01) / (2 * e), lambda q, s, m, e: (q - 0.01) / (2 * (s * m + e))),
    },
    "faulty_boxes": {
        "names a team without a fault": {"A", "B", "C", "D"},
        "*which* mean": set(),
        "is_private": {"A", "D"},
        "not with `updates.mean(0)`": {"B", "D"},
        "compare the bytes": {"A", "B"},
        "none of the letters": {"A", "E"},
    },
}


RIGHT = {  # exercise -> answers written in other ways
    "add_boxes": [
        both(lambda x, y, q: (x + y) % q),
        lambda f, s, q: [np.mod(x + y, q).tolist() for x, y in zip(f, s, strict=True)],
        lambda f, s, q: tuple(torch.from_numpy(x + y) % q for x, y in zip(f, s, strict=True)),
        lambda f, s, q: ((f[0] + s[0]) % q, pd.Series(f[1]).add(s[1]).mod(q)),
    ],
    "most_boxes": [
        boxes_by(by_error, by_room),
        most,
        lambda *c: torch.tensor(most(*c)),
        lambda *c: [float(most(*c))],
    ],
    "faulty_boxes": [{"A", "B", "D"}, ["d", "a", "b"], "ABD"],
}


@pytest.mark.parametrize("case", [(1_000_003, 100, 10, 8), (10_007, 80, 3, 4), (101, 10, 1, 1)])
def test_most_boxes_is_the_last_number_that_is_safe(case):
    q, scale, largest, worst = case
    k = min(by_error(scale, worst), by_room(*case))
    safe = [2 * n * worst < scale and 2 * n * (scale * largest + worst) < q for n in (k, k + 1)]
    assert safe == [True, False]


# ---------------------------------------------------------------- the toy


@pytest.fixture(scope="module")
def toy():
    """The lesson's own lock, raw decryption and elimination, and its threshold key."""
    names = ("Q", "LENGTH", "SCALE", "key", "lock", "raw", "solve", "BIG", "common", "pieces", "lock_public")
    names += ("unlock_together",)
    return SimpleNamespace(**cells.definitions(LESSON, *names))


def center(x, q):
    return np.where(x > q // 2, x - q, x)


def test_the_modulus_is_prime_and_the_key_is_short(toy):
    for q in (toy.Q, toy.BIG):
        assert all(q % d for d in range(2, int(q**0.5) + 1))
    assert set(np.unique(toy.key)) == {-1, 0, 1} and len(toy.key) == toy.LENGTH


@pytest.mark.parametrize("seed", range(20))
def test_boxes_open_to_what_was_locked_and_add_up(toy, seed):
    rng = np.random.default_rng(seed)
    messages = rng.integers(-900, 900, (5, 40))
    boxes = [toy.lock(toy.key, m, rng) for m in messages]
    for box, m in zip(boxes, messages, strict=True):
        assert (np.rint(toy.raw(toy.key, box) / toy.SCALE) == m).all()
        assert 0 <= box[0].min() and box[0].max() < toy.Q and 0 <= box[1].min() and box[1].max() < toy.Q
    total = sum(A for A, _ in boxes) % toy.Q, sum(b for _, b in boxes) % toy.Q
    assert (np.rint(toy.raw(toy.key, total) / toy.SCALE) == messages.sum(0)).all()


def test_what_the_server_holds_is_evenly_spread_whatever_is_inside(toy):
    _, b = toy.lock(toy.key, np.full(20_000, 7), np.random.default_rng(0))
    counts = np.bincount(b * 20 // toy.Q, minlength=20)
    assert ((counts - 1000) ** 2 / 1000).sum() < 45  # chi-squared, 19 degrees of freedom: above in 1 of 1,000


def test_errors_grow_with_the_square_root_of_the_number_of_boxes(toy):
    rng = np.random.default_rng(0)
    boxes = [toy.lock(toy.key, np.zeros(4000, int), rng) for _ in range(25)]
    total = sum(A for A, _ in boxes) % toy.Q, sum(b for _, b in boxes) % toy.Q
    assert toy.raw(toy.key, boxes[0]).std() == pytest.approx(3.2, rel=0.05)
    assert toy.raw(toy.key, total).std() == pytest.approx(5 * 3.2, rel=0.05)


@pytest.mark.parametrize("seed", range(10))
def test_raw_decryptions_give_the_key_away_and_rounded_ones_do_not(toy, seed):
    rng = np.random.default_rng(seed)
    key = rng.integers(-1, 2, toy.LENGTH)
    A, b = box = toy.lock(key, rng.integers(-900, 900, 100), rng)
    seen = toy.raw(key, box)
    stolen = center(toy.solve(A, (b - seen) % toy.Q, toy.Q), toy.Q)
    np.testing.assert_array_equal(stolen, key)
    rounded = toy.SCALE * np.rint(seen / toy.SCALE).astype(int)
    guess = center(toy.solve(A, (b - rounded) % toy.Q, toy.Q), toy.Q)
    assert (guess == key).sum() < 8  # entries far outside -1, 0, 1: right ones would be luck


@pytest.mark.parametrize("seed", range(5))
def test_a_threshold_key_needs_every_piece(toy, seed):
    rng = np.random.default_rng(seed)
    messages = rng.integers(-150, 150, (5, 200))
    locked = [toy.lock_public(m) for m in messages]
    box = sum(a for a, _ in locked) % toy.BIG, sum(b for _, b in locked) % toy.BIG
    partial = [(box[0] @ piece + rng.integers(-(2**15), 2**15, 200)) % toy.BIG for piece in toy.pieces]
    assert (toy.unlock_together(box, partial) == messages.sum(0)).all()
    for left_out in range(5):
        others = partial[:left_out] + partial[left_out + 1 :]
        assert (toy.unlock_together(box, others) == messages.sum(0)).mean() < 0.05


def test_who_publishes_last_can_make_the_lock_its_own(toy):
    rng = np.random.default_rng(0)
    honest = [(toy.common @ piece) % toy.BIG for piece in toy.pieces[:4]]
    own = rng.integers(-1, 2, toy.LENGTH)
    rigged = (sum(honest) + toy.common @ own - sum(honest)) % toy.BIG
    message = rng.integers(-150, 150, 200)
    caught = toy.lock_public(message, rigged)
    assert (toy.unlock_together(caught, [caught[0] @ own]) == message).all()
    sound = toy.lock_public(message)
    assert (toy.unlock_together(sound, [sound[0] @ own]) == message).mean() < 0.05


# ---------------------------------------------------------------- the four teams


@pytest.fixture(scope="module")
def teams():
    """The teams of the folded cell."""
    pytest.importorskip("tenseal")
    return SimpleNamespace(**cells.definitions(LESSON, "ts", "updates", "shares", "teams", "one_round"))


@pytest.mark.parametrize("letter", "ABCD")
def test_each_fault_shows_in_its_own_measurement_and_nowhere_else(teams, letter):
    team, ts = teams.teams[letter], teams.ts
    weighted = np.abs(teams.one_round(team) - teams.shares @ teams.updates).max() < 1e-6
    holds_a_key = ts.context_from(team.server).is_private()
    repeats = team.lock(teams.updates[0], 0.4) == team.lock(teams.updates[0], 0.4)
    assert (not weighted, holds_a_key, repeats) == (letter == "A", letter == "B", letter == "D")


def test_boxes_with_the_same_randomness_differ_by_what_needs_no_key(teams):
    ts, team = teams.ts, teams.teams["D"]
    first, second = (ts.ckks_vector_from(ts.context_from(team.server), team.lock(u, 0.2)) for u in teams.updates[:2])
    with pytest.raises(RuntimeError, match="transparent"):
        first - second


# ---------------------------------------------------------------- figures


def test_colours_of_the_first_screen_say_what_they_stand_for():
    counts = np.arange(6).reshape(2, 3)
    axes = plots.locked_sum(counts, counts, counts.sum(0), ["A", "B"], np.arange(30, 33), "age (years)").axes
    assert [ax.get_ylabel() for ax in axes[3:]] == ["patients", "value of a byte"]


def test_figures_draw():
    rng = np.random.default_rng(0)
    counts, x = rng.integers(0, 9, (3, 12)), np.arange(30, 42)
    curve = {40: 1e-8, 12: 1e-1, 20: 1e-3}
    made = [
        plots.locked_sum(
            counts, rng.integers(0, 256, (3, 12)), counts.sum(0) + 1e-9, ["A", "B", "C"], x, "age (years)"
        ),
        plots.locked_words(rng.integers(0, 97, (3, 50)), 97, rng.random(50), rng.random(50), "mean update"),
        plots.added_errors({"1 box": rng.normal(0, 3, 99).round(), "9 boxes": rng.normal(0, 9, 99).round()}, 20),
        plots.modulus_room({"scale": 40, "room above": 20, "reserved": 60}, 214, curve, 40),
        plots.modulus_room({"scale": 40, "room above": 20, "reserved": 60}, 106, None, 40),
        plots.encrypted_workflow(),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_a_refused_setting_has_no_curve_and_stands_out():
    fine = plots.modulus_room({"scale": 40, "reserved": 60}, 214, {40: 1e-8}, 40)
    refused = plots.modulus_room({"scale": 40, "reserved": 60}, 90, None, 40)
    colours = [{patch.get_facecolor() for patch in f.axes[0].patches} for f in (fine, refused)]
    assert len(colours[0]) == 2 and len(colours[1]) == 1
    assert [len(f.axes[1].lines) for f in (fine, refused)] == [3, 0]

"""Exercises of lesson 07."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def add_boxes(yours):
    "a function of two boxes `first` and `second`, pairs (A, b), and of `q`, that returns the box of their sum"
    q = 97
    rng = np.random.default_rng(0)
    key = rng.integers(-1, 2, 4)
    A = rng.integers(0, q, (2, 3, 4))
    messages = np.array([[3, 1, 0], [1, 2, 4]])
    b = (A @ key + 10 * messages + np.array([[1, -1, 0], [0, 1, 1]])) % q
    got = yours((A[0], b[0]), (A[1], b[1]), q)
    if isinstance(got, tuple | list) and len(got) == 4:
        return hint("Python's `+` puts pairs side by side: that is two boxes, not one. Add `A` to `A` and `b` to `b`.")
    if not isinstance(got, tuple | list) or len(got) != 2:
        return hint("A box is a pair: the public list `A` and the number `b`. Return both of the sum, as `A, b`.")
    lists, numbers = as_array(got[0], "A of the sum"), as_array(got[1], "b of the sum")
    if lists.shape == (6, 4) or numbers.shape == (6,):
        return hint(
            "That puts the boxes side by side: two boxes, not one. Python's `+` does so with lists; add arrays."
        )
    right_A, right_b = A.sum(0) % q, b.sum(0) % q
    if lists.shape == right_b.shape and numbers.shape == right_A.shape:
        return hint("The two parts have changed places: first the public list `A`, then the number `b`.")
    if lists.shape == right_A.shape and any(np.array_equal(lists, one) for one in A):
        return hint(
            "You kept one of the public lists. The key will take away `A @ key` for that list alone, and the other's "
            "stays in the number: what comes out is noise. Add the lists as well."
        )
    mistakes = {
        "The sum left the clock: it is larger than q. Take both parts modulo `q`.": A.sum(0),
        "These are the right hours, counted from -q/2 on. Write them as 0 to q - 1, as `%` does.": (A.sum(0) + q // 2)
        % q
        - q // 2,
        "That adds a box to itself. The other one?": 2 * A[0] % q,
        "That is a part of the clock, not an hour: `%` alone does what is needed.": A.sum(0) / q % 1,
        "Half of an odd number is an hour far away on this clock, and the error with it. Add, and divide after "
        "unlocking.": (A.sum(0) // 2),
        "That multiplies the boxes. A product of boxes is no box of the product here.": A[0] * A[1] % q,
        "That is the difference of the two.": (A[0] - A[1]) % q,
    }
    wrong = compare(lists, right_A, what="the public list A of the sum", mistakes=mistakes)
    mistakes = {
        "The numbers `b` left the clock: take them modulo `q` too.": b.sum(0),
        "You added the lists and kept the number of one box: it belongs to another list now.": b[0],
    }
    return (
        wrong
        or compare(numbers, right_b, what="the number b of the sum", mistakes=mistakes)
        or well_done("That is the whole server: two additions, and no key anywhere in it.")
    )


@exercise
def most_boxes(yours):
    "a function of `q`, `scale`, `largest` and `worst_error` that returns a whole number of boxes"
    cases = [(1_000_003, 100, 10, 8), (10_007, 100, 10, 2), (1_000_003, 1_000, 50, 16), (10_007, 80, 3, 4)]
    q, scale, largest, worst = (np.array(column) for column in zip(*cases, strict=True))
    by_error = (scale - 1) // (2 * worst)
    by_room = (q - 1) // (2 * (scale * largest + worst))
    right = np.minimum(by_error, by_room)
    answers = [as_array(yours(*case), "the number of boxes") for case in cases]
    if any(answer.size != 1 for answer in answers):
        return hint("That is more than one number. Two limits give two numbers of boxes; which of them has to hold?")
    got = np.array([float(answer.reshape(())) for answer in answers])
    if np.any(got != np.rint(got)) and np.allclose(np.floor(got), right):
        return hint("Hospitals come whole: round down.")
    whole = np.floor(got)
    mistakes = {
        "Only the errors count in your answer. With q = 10,007 and messages of 10 the clock goes round before the "
        "errors do any harm. (A message stands in the box multiplied by the scale.)": by_error,
        "You looked at the room above only. With q = 1,000,003 there is plenty, and the errors pass half a scale "
        "long before.": by_room,
        "Both limits have to hold: the *smaller* number of boxes counts.": np.maximum(by_error, by_room),
        "An error of a whole scale is too late: rounding goes wrong from half a scale on.": np.minimum(
            (scale - 1) // worst, by_room
        ),
        "Messages may be negative, so half of the clock belongs to them: the room is q / 2.": np.minimum(
            by_error, (q - 1) // (scale * largest + worst)
        ),
        "One box more is one too many: with it a limit is reached. *Below* half a scale, *below* q / 2.": right + 1,
        "One box more would still be certain. Is a limit taken off twice?": right - 1,
        "The errors need room on the clock too: scaled message *and* error of each box stay below q / 2 together.": (
            np.minimum(by_error, (q - 1) // (2 * scale * largest))
        ),
        "The two numbers of boxes do not add up: every box has to keep both limits.": by_error + by_room,
        "On average errors grow like a square root, and the question asks what is *certain*: in the worst case all of "
        "them point the same way.": np.minimum(np.floor((scale / (2 * worst)) ** 2), by_room),
        "Half a scale itself is a tie, and may go the wrong way: the errors have to stay *below* it.": np.minimum(
            scale // (2 * worst), by_room
        ),
    }
    return compare(whole, right.astype(float), what="the number of boxes", mistakes=mistakes) or well_done(
        "Errors from below, messages from above: the scale decides who gets how much of the modulus."
    )


@question
def faulty_boxes(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "C": (
            "At least one of your letters names a team without a fault. For each letter: which number did you measure? "
            "(An error of about 1e-8 is what CKKS always has.)"
        ),
        "B": (
            "Ask each server's context, `ts.context_from(team.server).is_private()`. One of the means is exactly "
            "right, and could be read all along."
        ),
        "A": (
            "Compare with `shares @ updates`, not with `updates.mean(0)`. Whose mean is it that this team computes so "
            "exactly?"
        ),
        "D": (
            "Lock the same update twice and compare the bytes. Whoever sees equal boxes knows that their contents "
            "are equal, and the difference of two boxes has no key in it at all."
        ),
    }
    nothing = "All four give a number close to a mean. Close to *which* mean? And what did you ask their servers?"
    praise = "Three out of four, and every one of them would be called end-to-end encrypted in a brochure."
    return picked(yours, "ABD", nothing, hints, praise)

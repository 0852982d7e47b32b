"""Exercises of lesson 11."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def trimmed_mean(yours):
    "a function of updates [n_hospitals, d] and f that returns the trimmed mean [d]"
    updates = np.array([
        [5.0, -1.0, 0.5, 2.0],
        [1.0, 40.0, 0.9, -3.0],
        [2.0, 2.0, -60.0, 1.0],
        [9.0, 3.0, 0.2, 0.0],
        [-30.0, 5.0, 0.4, 7.0],
        [3.0, 6.0, 0.1, 90.0],
        [4.5, 2.5, 0.7, 4.0],
    ])  # fmt: skip
    f, n = 2, len(updates)
    ordered = np.sort(updates, axis=0)
    right = ordered[f : n - f].mean(0)
    by_length = updates[np.argsort(np.linalg.norm(updates, axis=1))]
    by_sum = updates[np.argsort(updates.sum(1))]
    mistakes = {
        "That is the plain mean: nothing is cut off.": updates.mean(0),
        "You cut off the largest only. A liar may pull down as well.": ordered[: n - f].mean(0),
        "You cut off the least only. A liar may pull up as well.": ordered[f:].mean(0),
        "You cut off one at each end. Here `f` is 2: two go at each end, four in all.": ordered[1:-1].mean(0),
        "You cut off the first and the last *hospitals*, in the order in which they stand. Sort each number first.": (
            updates[f : n - f].mean(0)
        ),
        "You sorted whole updates, by length or by sum. Each number is sorted by itself: a liar may hide one wild "
        "number in an update of usual length.": by_length[f : n - f].mean(0),
        "You sorted whole updates. Each number is sorted by itself: a liar may hide one wild number in an update "
        "with a usual sum.": by_sum[f : n - f].mean(0),
        "You divide by all hospitals, though 2 f of them are gone.": ordered[f : n - f].sum(0) / n,
        "That is a sum; divide by how many are left.": ordered[f : n - f].sum(0),
        "That is the median, which has no `f`.": np.median(updates, axis=0),
        "You sorted along the parameters. Along which axis are the hospitals?": np.sort(updates, axis=1)[
            f : n - f
        ].mean(0),
    }
    wrong = compare(yours(updates, f), right, what="the trimmed mean", mistakes=mistakes) or compare(
        yours(updates, 1), ordered[1:-1].mean(0), what="with f = 1, the trimmed mean"
    )
    if wrong:
        return wrong
    nobody = yours(updates[:5], 0)
    if not np.isfinite(as_array(nobody, "the trimmed mean")).all():
        return hint("With f = 0 nobody is cut off, but nothing is left of yours. (In Python `x[0:-0]` is empty.)")
    return compare(nobody, updates[:5].mean(0), what="with f = 0 and five hospitals, the trimmed mean") or well_done(
        "Up to f liars may send what they like: each number stays between those of honest hospitals."
    )


@exercise
def krum_scores(yours):
    "a function of updates [n_hospitals, d] and f that returns Krum's score of each hospital [n_hospitals]"
    rng = np.random.default_rng(3)
    updates, f = rng.normal(0, 1, (9, 5)).round(2), 2
    n = len(updates)
    square = ((updates[:, None] - updates[None]) ** 2).sum(2)
    near = np.sort(square, axis=1)
    right = near[:, 1 : n - f - 1].sum(1)
    mistakes = {
        "You count each hospital as a neighbour of its own (its distance is 0), and so one other too few.": (
            near[:, : n - f - 2].sum(1)
        ),
        "That is one neighbour more, n - f - 1, as in ByzFL. Blanchard et al. take n - f - 2.": (
            near[:, 1 : n - f].sum(1)
        ),
        "You took n - f neighbours. Blanchard et al. take n - f - 2 of the others.": near[:, 1 : n - f + 1].sum(1),
        "You added the distances to everybody. Then liars far away decide, too: take the n - f - 2 nearest.": (
            square.sum(1)
        ),
        "You took the f nearest. A group of f liars who send the same would win: take n - f - 2.": (
            near[:, 1 : f + 1].sum(1)
        ),
        "You took the *farthest*. Who is close to many should have a small score.": near[:, f + 2 :].sum(1),
        "You added lengths. The score adds *squared* distances.": np.sqrt(near)[:, 1 : n - f - 1].sum(1),
        "That is a mean; the score is a sum.": right / (n - f - 2),
        "Those are distances to the mean of all. A wild liar moves this mean: go by pairs of hospitals.": (
            ((updates - updates.mean(0)) ** 2).sum(1)
        ),
        "Those are distances to the median. Krum goes by pairs of hospitals.": (
            ((updates - np.median(updates, 0)) ** 2).sum(1)
        ),
        "Those are lengths of updates. How far is each from *its neighbours*?": (updates**2).sum(1),
        "That is who wins. The scores of all were asked for.": float(right.argmin()),
        "That is the order of the hospitals. The scores were asked for.": right.argsort(),
    }
    few = np.sort(square[:7, :7], axis=1)
    return (
        compare(yours(updates, f), right, what="the score", mistakes=mistakes)
        or compare(yours(updates[:7], 1), few[:, 1:5].sum(1), what="with seven hospitals and f = 1, the score")
        or well_done("The least score wins. Nobody knows what is right; Krum believes those who are many and close.")
    )


@exercise
def suspect(yours):
    "a function of updates [n_hospitals, d] that returns the number of one hospital, from 0 on"
    cases = [_round(liar, seed) for seed, liar in enumerate((3, 0, 5, 2))]
    got, found = [], {}
    for updates, _ in cases:
        value = as_array(yours(updates), "the suspect")
        if value.size == len(updates):
            return hint("Those are numbers for all hospitals. Which one of them stands out? Return its place, from 0.")
        if value.size != 1 or not np.isfinite(value).all():
            return hint("Return one number: the place of the hospital that is farthest from the others, from 0 on.")
        got.append(int(value.reshape(())))
        for name, slip in _suspects(updates).items():
            found.setdefault(name, []).append(slip)
    want = [liar for _, liar in cases]
    if got == want:
        return well_done("It finds who is unlike the others. Read the next cell before you accuse anybody.")
    if got == [liar + 1 for liar in want]:
        return hint("You count hospitals from 1 on; their places are counted from 0.")
    for message, slips in found.items():
        if got == slips:
            return hint(message)
    named = sum(a == b for a, b in zip(got, want, strict=True))
    return hint(
        f"You name the one that is unlike the others in {named} of {len(want)} cases. How far is each from the others?"
    )


def _round(liar: int, seed: int) -> tuple[np.ndarray, int]:
    """Updates of six hospitals, of which one goes another way and another one is the longest; and who lies."""
    rng = np.random.default_rng([11, seed])
    common = rng.normal(0, 1, 40)
    updates = common + rng.normal(0, 0.15, (6, 40))
    updates[liar] = 0.7 * common + rng.normal(0, 0.6, 40)
    updates[(liar + 2) % 6] *= 1.25  # many patients, or a long walk, in the way of the others
    updates[(liar + 3) % 6, 7] += 3.0  # one number, and all others as usual
    return updates, liar


def _suspects(updates: np.ndarray) -> dict[str, int]:
    """Hints, each with the hospital that this mistake names."""
    square = ((updates[:, None] - updates[None]) ** 2).sum(2)
    length = (updates**2).sum(1)
    return {
        "You name the longest update. A hospital with many patients has a long one, too: look at *distances*.": (
            int(length.argmax())
        ),
        "You name the shortest update. Look at distances to the others.": int(length.argmin()),
        "You name the one that is *closest* to the others: that one wins in Krum.": int(square.sum(1).argmin()),
        "You name the largest sum of numbers, where plus and minus cancel, or the largest single difference, which is "
        "one odd number of many. Look at distances.": (int(updates.sum(1).argmax())),
        "You look at one number of each update. A liar may change any of them: use all.": int(updates[:, 0].argmax()),
        "That is a number of a parameter, or of a pair: search along the hospitals.": int(square.argmax()),
        "You name the largest single number. Look at distances between whole updates.": (
            int(np.abs(updates).max(1).argmax())
        ),
    }


@question
def planted(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "A": (
            "A's success is the largest but one. Now run the same on the model of honest hospitals: what does it say "
            "of such patients?"
        ),
        "D": ("D is at nearly all; how many does the clean model flag?"),
        "C": ("C's clean model says the same of most of these patients; what is left is a few points."),
        "B": ("B's success is small. What is it without the attack? Subtract."),
    }
    nothing = "Somebody did plant one. Compute each success once more, with `clean` in the place of the run."
    praise = "The largest number but one was nobody's work, and the smallest one was an attack."
    return picked(yours, "BD", nothing, hints, praise)

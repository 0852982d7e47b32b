"""Exercises of lesson 09."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def patient_between(yours):
    "a function of dW, db, w (arrays), j and k (numbers of neurons) that returns the patient, one number a column"
    rng = np.random.default_rng(0)
    patients, s = rng.normal(size=(4, 3)), np.array([0.2, -0.1, 0.05, 0.15])
    inside = np.array([[1, 1, 0, 1], [0, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 0]], dtype=float)  # patients of a neuron
    w = np.array([0.5, -0.8, 0.3, 0.7])
    sums, counts = inside @ (s[:, None] * patients), inside @ s
    dW, db = w[:, None] * sums, w * counts
    j, k, truth = 0, 2, patients[3]
    mistakes = {
        "The two neurons hand on with different weights, so their gradients are sums times different numbers. Divide "
        "each by its own `w` *before* you subtract.": (dW[j] - dW[k]) / (db[j] - db[k]),
        "That is s times the patient. How large is s? The same difference of the other sums tells.": sums[j] - sums[k],
        "You multiply by `w`; it has been multiplied already, so divide.": (
            (dW[j] * w[j] - dW[k] * w[k]) / (db[j] * w[j] - db[k] * w[k])
        ),
        "`db` holds the outgoing weight, too: divide both kinds of sums by it.": (
            (sums[j] - sums[k]) / (db[j] - db[k])
        ),
        "`dW` holds the outgoing weight, too: divide both kinds of sums by it.": (
            (dW[j] - dW[k]) / (counts[j] - counts[k])
        ),
        "You divide first and subtract then: that is the difference of two mixtures. Subtract the sums, then divide.": (
            dW[j] / db[j] - dW[k] / db[k]
        ),
        "That is neuron `j` by itself, a mixture of all its patients. What does `k` take away?": dW[j] / db[j],
        "That is neuron `k` by itself, which does not hold the patient at all.": dW[k] / db[k],
        "You add where patients should cancel: subtract.": (sums[j] + sums[k]) / (counts[j] + counts[k]),
        "The sign is turned: take the difference in the same order above and below.": -truth,
        "Upside down: the sum of s x stands above, the sum of s below.": (counts[j] - counts[k]) / (sums[j] - sums[k]),
    }
    return (
        compare(yours(dW, db, w, j, k), truth, what="the patient", mistakes=mistakes)
        or compare(yours(dW, db, w, 2, 0), truth, what="with j and k exchanged the patient")
        or compare(yours(dW, db, w, 3, 1), patients[0], what="of two other neurons the patient")
        or well_done("Everybody whom both neurons saw cancels. Neither of the two gave this patient away by itself.")
    )


def _right(truth, guess) -> float:
    """A simple measure for the check: cells within a half, each guess with the patient on its own line."""
    truth, guess = np.asarray(truth, dtype=float), np.asarray(guess, dtype=float)
    if truth.ndim != 2 or guess.shape != truth.shape:
        raise ValueError(f"right needs two tables with as many rows; got {list(truth.shape)} and {list(guess.shape)}")
    return float((np.abs(truth - guess) < 0.5).mean())


@exercise
def above_chance(yours):
    "a function of truth, guess, strangers (arrays) and right (a function) that returns one number"
    rng = np.random.default_rng(90)
    truth = rng.normal(size=(6, 4))
    guess = truth + rng.normal(size=truth.shape) / 2
    strangers = rng.normal(size=(5, 6, 4))
    own, draws = _right(truth, guess), [_right(truth, draw) for draw in strangers]
    fooled = [_right(guess, draw) for draw in strangers]
    mistakes = {
        "That is the share right with nothing taken off. What does somebody get who sees nothing?": own,
        "That is chance alone: take it from the share of the attack.": np.mean(draws),
        "The other way round: an attack better than chance has a skill above zero.": np.mean(draws) - own,
        "That is a ratio. Skill is what is left when chance is taken off: subtract.": own / np.mean(draws),
        "You take off the luckiest draw. Chance is what a draw gets *on average*.": own - max(draws),
        "You take off the unluckiest draw, which flatters the attack. Take the mean.": own - min(draws),
        "One draw is a single try. There are several, so take the mean over all of them.": own - draws[0],
        "You take off the sum of the draws; divide by how many there are.": own - sum(draws),
        "You compare the strangers with the *guesses*. What have they right about the patients?": own - np.mean(fooled),
        "You divide by what chance leaves to be won, which is another fine measure. Here only subtract.": (
            (own - np.mean(draws)) / (1 - np.mean(draws))
        ),
        "You blend the draws into rows that nobody is, and pair once. Pair each draw by itself, then take the mean.": (
            own - _right(truth, strangers.mean(0))
        ),
        "You take off the middle draw; take the mean of them all.": own - np.median(draws),
        "You take off a blind coin, one half. The strangers are there to tell what chance gets.": own - 0.5,
    }
    got = yours(truth, guess, strangers, _right)
    if as_array(got, "the skill").size != 1:
        return hint("One number is asked for: the mean over the draws, not a skill for each of them.")
    blind = as_array(yours(truth, strangers[0], strangers[:1], _right), "the skill of a stranger")
    return (
        compare(got, own - np.mean(draws), what="the skill", mistakes=mistakes)
        or compare(blind, 0.0, what="the skill of an attacker who hands in the only draw")
        or compare(yours(truth, truth, strangers[:2], _right), 1 - np.mean(draws[:2]), what="with two draws the skill")
        or compare(
            yours(truth, strangers[0], strangers[1:], _right),
            draws[0] - np.mean(draws[1:]),
            what="for guesses that are worse than chance the skill",
        )
        or well_done("Zero for whoever has learnt nothing from the update, however large the batch.")
    )


@question
def flattering(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "A": ("A pairs both, attack and strangers, in the same way, and its control is zero but for chance."),
        "C": (
            "C takes no chance away, which looks careless. But what does its control say? A measure on which strangers "
            "score next to nothing needs no baseline."
        ),
        "B": (
            "D is one of them. Another does not even look at the batch: in which table does it search for its guess?"
        ),
        "D": ("B is one of them. Another pairs its guesses as well as can be. And what does it do with its chance?"),
    }
    nothing = "Run `control` for each letter. What should an attacker score who writes down strangers?"
    praise = (
        "B finds a neighbour for anything in a table of thousands; D pairs its guesses as well as it can, chance not."
    )
    return picked(yours, "BD", nothing, hints, praise)


def _slope(theta, X, y):
    """Gradient of half the mean squared error of a linear model, for the check."""
    theta, X, y = (np.asarray(t, dtype=float) for t in (theta, X, y))
    return X.T @ (X @ theta - y) / len(X)


@exercise
def as_it_walked(yours):
    "a function of gradient (a function), theta, X, y (arrays), steps and lr (numbers) that returns the change of theta"
    rng = np.random.default_rng(2)
    theta, X, y, steps, lr = rng.normal(size=3), rng.normal(size=(4, 3)), rng.normal(size=4), 6, 0.3
    end = theta
    for _ in range(steps):
        end = end - lr * _slope(end, X, y)
    truth, first = end - theta, _slope(theta, X, y)
    uphill = theta
    for _ in range(steps):
        uphill = uphill + lr * _slope(uphill, X, y)
    short = theta
    for _ in range(steps - 1):
        short = short - lr * _slope(short, X, y)
    mistakes = {
        "That is one long step: the slope is taken where the walk begins, and not again. After a step it is another "
        "one, so ask `gradient` at each place.": -lr * steps * first,
        "That is a single step. How many did the hospital take?": -lr * first,
        "That is the gradient at the start. The hospital walked.": first,
        "That is where the walk ends. What travels is the *change*: take the start away.": end,
        "The sign is turned: the change is the end less the start.": theta - end,
        "Uphill: each step goes *against* the gradient.": uphill - theta,
        "You divide by `lr`. That is the sum of the gradients; what travels is the change itself.": truth / lr,
        "You divide by `steps`: the mean step. The whole change travels.": truth / steps,
        "You divide by `lr` and `steps`: a mean gradient. The change itself travels.": -truth / (lr * steps),
        "One step is missing.": short - theta,
        "`-=` changes theta itself, so nothing is left to take away. Write `here = here - ...`.": np.zeros_like(truth),
    }
    return (
        compare(yours(_slope, theta, X, y, steps, lr), truth, what="the change", mistakes=mistakes)
        or compare(yours(_slope, theta, X, y, 1, 0.1), -0.1 * first, what="after one step the change")
        or well_done(
            "Now guesses are judged by where *they* would have ended, so a longer walk hides nobody by itself."
        )
    )

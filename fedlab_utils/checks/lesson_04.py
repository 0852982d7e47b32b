"""Exercises of lesson 04."""

from __future__ import annotations

import math

import numpy as np
import torch

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def sensitivity(yours):
    "a function of `low` and `high`, the public bounds of a column, that returns the sensitivity of its sum"
    cases = [(90.0, 200.0), (-50.0, 20.0), (0.0, 1.0)]
    mistakes = {
        "That is how far the sum moves if one patient is *exchanged* for another. Our neighbours differ by one record "
        "*present or blank*: what does the sum change by when the value `high` stands there, or nothing?": [
            110.0,
            70.0,
            1.0,
        ],
        "From -50 to 20 you say 70: that is one patient *exchanged* for another. Here a record is present or blank: "
        "nobody has both values.": [200.0, 70.0, 1.0],
        "With `low = -50` and `high = 20`, who moves the sum further: a patient with 20, or one with -50?": [
            200.0,
            20.0,
            1.0,
        ],
        "That is half of the range: right for values measured from the middle of it. Here the values themselves are "
        "added up.": [55.0, 35.0, 0.5],
        "That is the smaller of the two. A promise has to hold for the patient who moves the sum furthest.": [
            90.0,
            20.0,
            0.0,
        ],
        "A patient has one value: `low` or `high` or something between, not both together.": [290.0, 70.0, 1.0],
    }
    got = [float(as_array(yours(low, high), "the sensitivity").reshape(())) for low, high in cases]
    if any(g < 0 for g in got):
        return hint("A distance is never negative. How far does the sum move, in whichever direction?")
    wrong = compare(got, [max(abs(a), abs(b)) for a, b in cases], what="the sensitivity", mistakes=mistakes)
    return wrong or well_done(
        "The patient who moves the sum furthest, whoever that may be. No patient's record was needed to say it. "
        "(Add up *distances from the middle of the range* instead, and half the range is enough: the middle is public.)"
    )


@exercise
def clipped_sum(yours):
    "a function of `gradients` [n_patients, n_parameters] and a clip norm `C` that returns their clipped sum"
    g = torch.tensor([[3.0, 4.0, 0.0], [0.1, -0.2, 0.2], [60.0, 0.0, -80.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    limit = 2.0
    norms = g.norm(dim=1, keepdim=True)
    scale = (limit / norms.clamp_min(1e-12)).clamp(max=1)
    right = (g * scale).sum(0)
    got = yours(g, limit)
    if not np.isfinite(as_array(got, "the clipped sum")).all():
        return hint("One patient here has a gradient of length 0: does your function divide by it?")
    total = g.sum(0)
    if as_array(got, "the clipped sum").shape == tuple(g.shape):
        return hint("That is still a row for each patient. A *sum* is asked for: add the rows up.")

    def shortened(lengths):  # the sum, had these been the lengths
        return (g * (limit / lengths.clamp_min(1e-12)).clamp(max=1)).sum(0)

    mistakes = {
        "`dim=0` gives the length of a *column*, a parameter over all patients. A patient is a row: "
        "`dim=1`.": shortened(g.norm(dim=0)),
        "That scales every patient down by the length of the whole table: the loud one turns down all the others. "
        "Each row has a length of its own.": shortened(g.norm()),
        "You added up absolute values. The length that the noise hides is the root of the sum of *squares*.": shortened(
            g.abs().sum(1, keepdim=True)
        ),
        "You clip the *sum*. With one row of length 100 and C = 2 that patient still decides where the sum points, and "
        "what is left of all others is next to nothing. Which of the two does a single patient control?": total
        * min(1.0, limit / float(total.norm())),
        "Nobody is clipped: the row of length 100 comes through whole.": total,
        "Every *number* is cut at C, so that a patient with many parameters can still be longer than C, and the "
        "direction of the row changes. Clip the length of the row.": g.clamp(-limit, limit).sum(0),
        "Short rows are stretched to length C as well. A patient with little to say is left alone.": (
            g * limit / norms.clamp_min(1e-12)
        ).sum(0),
        "Long rows were dropped. Then it depends on the others whether a patient counts; scale them down instead.": g[
            norms[:, 0] <= limit
        ].sum(0),
        "That is the mean. The number of patients drawn is itself about patients: add up, and divide later by a number "
        "that everybody knows.": right / len(g),
        "You divided by the norm's square root, or used the squared norm: what is the length of a row?": (
            g * (limit / norms.clamp_min(1e-12) ** 2).clamp(max=1)
        ).sum(0),
    }
    wrong = compare(got, right, what="the clipped sum", mistakes=mistakes)
    if wrong is None and compare(yours(g, 0.5), (g * (0.5 / norms.clamp_min(1e-12)).clamp(max=1)).sum(0)):
        return hint("Right for C = 2, and not for C = 0.5: is a number written in where `C` should stand?")
    return wrong or well_done("Row by row. Now the sensitivity of the sum is C, whoever walks into the hospital.")


@exercise
def posterior(yours):
    "a function of `prior` and `epsilon` that returns the largest probability an attacker may reach"
    prior, budget = np.array([0.01, 0.2, 0.5]), np.array([0.5, 2.0, 2.0])
    odds = prior / (1 - prior)
    factor = np.exp(budget)
    mistakes = {
        "Multiplied by e^epsilon, a probability can pass 1. It is the *odds*, p to 1 - p, that may grow by this "
        "factor.": prior * factor,
        "The same with 1 as a lid. It is the *odds*, p to 1 - p, that may grow by this factor.": np.minimum(
            prior * factor, 1
        ),
        "Those are the new odds. Turn them back into a probability: odds / (1 + odds).": odds * factor,
        "Epsilon itself is no factor; the promise says e to the epsilon.": odds * budget / (1 + odds * budget),
        "That leaves out what the attacker knew before: it is right for a prior of one half only.": factor
        / (1 + factor),
        "Added to a probability, epsilon means nothing: 0.5 + 2 is not one.": prior + budget,
        "That is the other end: the *least* certainty. We ask for the largest.": odds / factor / (1 + odds / factor),
    }
    answers = [yours(float(p), float(e)) for p, e in zip(prior, budget, strict=True)]
    got = np.array([float(as_array(answer, "the probability").reshape(())) for answer in answers])
    return compare(got, odds * factor / (1 + odds * factor), what="the probability", mistakes=mistakes) or well_done(
        "Epsilon bounds how much is *learnt*, whatever was known before."
    )


@exercise
def honest_epsilon(yours):
    "a function of `spend(sampling, steps)` and of n_patients, batch_size, rounds and steps_per_round: an epsilon"
    asked = []

    def spend(sampling, steps):
        asked.append((float(sampling), int(round(float(steps)))))
        return 1.0 + asked[-1][0] * 3 + asked[-1][1] * 1e-3

    n, batch, rounds, local = 200, 4, 15, 100
    got = yours(spend, n, batch, rounds, local)
    if not asked:
        return hint("Your function never calls `spend`. With which sampling rate, and for how many steps?")
    sampling, steps = asked[-1]
    if compare(got, rounds * spend(batch / n, local), what="the epsilon") is None:
        return hint(
            "You added the epsilons of the rounds up. That is always allowed and far too pessimistic: ask `spend` "
            "once, for all steps together."
        )
    in_an_epoch = n // batch
    wrong_steps = {
        rounds * in_an_epoch: "These are the steps of 15 *epochs* (15 x 50): the very mistake. A round here is 100 "
        "steps, however many patients there are. How many steps really ran?",
        local: "That is one round. Nothing resets between rounds: the patients are the same.",
        rounds: "That counts messages. A patient may be drawn in every *step*.",
        in_an_epoch: "That is one epoch. How many steps really ran, over all rounds?",
        rounds * local * batch: "That counts patients drawn. A step is one noisy sum, however many are in it.",
    }
    if steps in wrong_steps:
        return hint(wrong_steps[steps])
    if steps != rounds * local:
        return hint(f"You asked for {steps:,} steps with 15 rounds of 100 steps each. How many really ran?")
    wrong_rates = {
        1.0: "With a rate of 1 every patient is in every step. Here only a batch is drawn.",
        1 / batch: "The rate is the chance of *one patient* to be drawn: a batch out of all patients of the hospital.",
        batch / n / rounds: "The chance to be drawn in a step does not depend on how many rounds there are.",
        1 / n: "In a step `batch_size` patients are drawn, not one.",
    }
    for rate, message in wrong_rates.items():
        if math.isclose(sampling, rate):
            return hint(message)
    if not math.isclose(sampling, batch / n):
        return hint(f"You asked for a sampling rate of {sampling:.4g}; a batch of 4 is drawn from 200 patients.")
    wrong = compare(got, spend(sampling, steps), what="the epsilon") or _of_another_hospital(yours)
    return wrong or well_done("Counted from what really ran, over all rounds. Now measure the benchmark with it.")


def _of_another_hospital(yours):
    """A hint for an honest epsilon with the numbers of the example written in; None if it follows its arguments."""
    asked = []

    def spend(sampling, steps):
        asked.append((float(sampling), int(round(float(steps)))))
        return 1.0

    yours(spend, 90, 6, 7, 40)
    if asked and math.isclose(asked[-1][0], 6 / 90) and asked[-1][1] == 280:
        return None
    return hint(
        "Right for 15 rounds of 100 steps with 4 of 200 patients, and not for 7 rounds of 40 steps with 6 of 90: is a "
        "number written in where an argument should stand?"
    )


@question
def liars(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "B": (
            "B's bound lies below its claim, whatever you set: nothing is proven against this team. Only a lower bound "
            "*above* the claim says that somebody is wrong."
        ),
        "A": (
            "A gets away with a canary as short as the clip norm. Make it 20 long: a promise has to hold for the "
            "loudest patient too."
        ),
        "D": (
            "Audit D once more, and read by *what* the attacker tells: the differences between steps. What is left of "
            "the noise in a difference, if every step has the same?"
        ),
        "C": (
            "C escapes among few models. Take 2,000 or more: its proven bound passes the claim, if not by as much as "
            "the others'."
        ),
    }
    nothing = "A short canary, or few models, catch nobody. How long is the canary in your audit?"
    praise = "Three out of four, and all of them would have printed epsilon 1 in a paper."
    return picked(yours, "ACD", nothing, hints, praise)

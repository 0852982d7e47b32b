"""Exercises of lesson 06."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, letters, question, well_done


@exercise
def found_at(yours):
    "a function of `scores`, `member` and `fpr` that returns the share of members found"
    rng = np.random.default_rng(6)
    member = np.arange(300) % 3 == 0  # 100 members, 200 others
    scores = np.round(rng.normal(size=300) + 1.0 * member, 6)
    scores[member] -= 0.3 * (np.arange(100) % 2)
    rates = [0.05, 0.1, 0.5]
    others = np.sort(scores[~member])[::-1]
    cuts = [others[int(round(rate * 200))] for rate in rates]  # the first of the others who is not accused
    got = [float(as_array(yours(scores, member, rate), "the share").reshape(())) for rate in rates]

    def share(group, cut):
        return float((scores[group] > cut).mean())

    mistakes = {
        "That is `fpr` itself. Either you counted the others above the threshold (the false alarms), or the threshold "
        "is a quantile of the members, whom an attacker cannot know. The others set it, the members are counted.": [
            share(~member, c) for c in cuts
        ],
        "Here the threshold is a quantile of all patients together. A false alarm is about the others alone: take the "
        "quantile of `scores[~member]`.": [share(member, np.quantile(scores, 1 - r)) for r in rates],
        "That is the share of *all patients* above the threshold. Of the members alone?": [
            float((scores > c).mean()) for c in cuts
        ],
        "That is the share of members who are *not* found.": [1 - share(member, c) for c in cuts],
        "That is the share of members among those accused (the precision). We ask: of the members, how many?": [
            float(member[scores > c].mean()) for c in cuts
        ],
        "Your threshold lets nearly all others through: is it the quantile `fpr` where it should be `1 - fpr`?": [
            share(member, np.quantile(scores[~member], r)) for r in rates
        ],
        "That is a number of patients. Divide it by the number of members.": [
            float((scores[member] > c).sum()) for c in cuts
        ],
    }
    right = [share(member, c) for c in cuts]
    if all(abs(g - r) <= 0.0101 for g, r in zip(got, right, strict=True)):  # a threshold between two others
        return well_done(
            "The others set the threshold, the members are counted. (The package keeps the same rule, and finds "
            "another threshold in each draw of its bootstrap.)"
        )
    return compare(got, right, what="the share of members found", mistakes=mistakes)


@exercise
def calibrated_score(yours):
    "a function of `target` [n], `shadow_logit` [K, n] and `shadow_member` [K, n] that returns a score for each patient"
    rng = np.random.default_rng(1)
    inside = rng.random((40, 7)) < 0.5
    logit = rng.normal(size=7) * 3 + 2.0 * inside + rng.normal(size=(40, 7))
    target = rng.normal(size=7)

    def mean(of, axis=0):
        return np.where(of, logit, 0).sum(axis) / of.sum(axis)

    if np.ndim(got := as_array(yours(target, logit, inside), "the score")) == 0:
        return hint(
            "That is one number for everybody. Each patient has a difficulty of their own: take means over models."
        )
    if np.shape(got) == (40,):
        return hint(
            "You took the mean over patients, and got a number for each *model*. What is usual for each *patient*?"
        )
    right = target - mean(~inside)
    mistakes = {
        "You compare with models that were trained *with* the patient. What would the target look like if she was not "
        "in it?": target - mean(inside),
        "You compare with *all* models. In half of them the patient was a member, and hides what you look for.": target
        - logit.mean(0),
        "You return what is usual, without the target's own number.": mean(~inside),
        "The sign is turned round: a high score should speak for a member.": -right,
        "The entries of members were set to 0 and still counted: divide by the number of models *without* the "
        "patient.": target - np.where(inside, 0, logit).mean(0),
    }
    return compare(got, right, what="the score", mistakes=mistakes) or well_done(
        "An easy patient is easy in every model, and this takes it off. What is left is what *this* model knows."
    )


@question
def blind(yours):
    "a set of some of the letters P, Q, R and S"
    yours = letters(yours, "PQRS")
    if yours == set("PQRS"):
        return hint(
            "Two of them find nearly every member of the control. On the register they found little because "
            "that model gives away little."
        )
    if not yours:
        return hint(
            "All four report about .5 on the register. Run them where there *is* something to find: on `control`."
        )
    if "S" in yours:
        return hint(
            "S is a weak attack, and it is not blind: what does it reach on `control`, where members are known "
            "by heart?"
        )
    if "Q" in yours:
        return hint("Q finds nearly all members of `control`. Its report on the register can be believed.")
    if "P" not in yours:
        return hint("Run P on `control` once more. Can an attack be at .5 where every member is known by heart?")
    if "R" not in yours:
        return hint("R is nowhere near Q and S on `control`. Something is wrong with it, too.")
    return well_done(
        "P and R find nothing even where everything can be found. Their .5 on the "
        "register says nothing about the register."
    )

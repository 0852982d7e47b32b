"""Exercises of lesson 06."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import Found, as_array, compare, exercise, hint, letters, picked, question, well_done


@exercise
def found_at(yours):
    "a function of `scores`, `member` and `fpr` that returns the share of members found"
    rng = np.random.default_rng(6)
    member = np.arange(300) % 5 < 2  # 120 members, 180 others
    scores = np.round(rng.normal(size=300) + 1.0 * member, 6)
    scores[member] -= 0.3 * (np.arange(120) % 2)
    tied = np.floor(2 * scores) / 2 + 0.0  # many patients share a score
    cases = [(scores, 0.05), (scores, 0.1), (scores, 0.5), (tied, 0.05), (tied, 0.1)]
    # threshold by the others: the first of them who is not accused, and the last who may be (or would be, if tied)
    falling = [np.sort(values[~member])[::-1] for values, _ in cases]
    cuts = [others[round(rate * 180)] for others, (_, rate) in zip(falling, cases, strict=True)]
    got = [_one_share(yours(values, member, rate)) for values, rate in cases]

    def each(share):
        return [float(share(values, cut, rate)) for (values, rate), cut in zip(cases, cuts, strict=True)]

    def of(group):  # share of a group above a threshold
        return lambda values, cut, rate: (values[group] > cut).mean()

    right, most = each(of(member)), float(member.sum())
    mistakes = {
        "Does your threshold accuse those who lie *on* it (`>=`)? Others with the same score are then accused too, and "
        "where scores are tied these are more than a share `fpr`. Above it, `>`.": each(
            lambda values, cut, rate: (values[member] >= cut).mean()
        ),
        "That is in percent. Return a share, between 0 and 1.": [100 * share for share in right],
        "You divided by one less than the number of members, as for a variance. A share is out of all of them.": [
            share * most / (most - 1) for share in right
        ],
        "`fpr` is a share already: 0.05 is five in a hundred. Is it divided by 100 once more?": each(
            lambda values, cut, rate: (values[member] > np.quantile(values[~member], 1 - rate / 100)).mean()
        ),
        "That is `fpr` itself: you counted the others above the threshold, the false alarms. Count the members.": each(
            of(~member)
        ),
        "Here the threshold is a quantile of the members, whom an attacker cannot know. The others set it.": each(
            lambda values, cut, rate: (values[member] > np.quantile(values[member], 1 - rate)).mean()
        ),
        "Here the threshold is a quantile of all patients together. A false alarm is about the others alone: take the "
        "quantile of `scores[~member]`.": each(
            lambda values, cut, rate: (values[member] > np.quantile(values, 1 - rate)).mean()
        ),
        "That is the share of *all patients* above the threshold. Of the members alone?": each(of(member | True)),
        "You divided the members found by the number of *all* patients. Of the members, how many?": [
            share * most / member.size for share in right
        ],
        "That is the share of members who are *not* found.": [1 - share for share in right],
        "That is the share of members among those accused (the precision). We ask: of the members, how many?": each(
            lambda values, cut, rate: member[values > cut].mean()
        ),
        "Your threshold lets nearly all others through: is it the quantile `fpr` where it should be `1 - fpr`?": each(
            lambda values, cut, rate: (values[member] > np.quantile(values[~member], rate)).mean()
        ),
        "`np.percentile` counts in percent, from 0 to 100: `1 - fpr` is not even one percent to it.": each(
            lambda values, cut, rate: (values[member] > np.percentile(values[~member], 1 - rate)).mean()
        ),
        "That is a number of patients. Divide it by the number of members.": [share * most for share in right],
    }
    if _between_two_others(got, right, cases, falling, member):
        return _one_more(yours, scores, member, falling[0]) or well_done(PRAISE)
    return _nearest(got, right, mistakes)


PRAISE = (
    "The others set the threshold, the members are counted. (The package keeps the same rule, and finds another "
    "threshold in each draw of its bootstrap.)"
)


def _between_two_others(got: list[float], right: list[float], cases, falling: list[np.ndarray], member: np.ndarray):
    """Whether shares are those of thresholds that lie between the right two of the others."""
    above = [others[round(rate * 180) - 1] for others, (_, rate) in zip(falling, cases, strict=True)]
    fewest = [(values[member] > last).mean() for (values, _), last in zip(cases[:3], above, strict=False)] + right[3:]
    counts = np.multiply(got, member.sum())
    whole = np.allclose(counts, np.rint(counts), atol=1e-6)
    return whole and all(f - 1e-6 <= g <= r + 1e-6 for f, g, r in zip(fewest, got, right, strict=True))


def _one_more(yours, scores: np.ndarray, member: np.ndarray, others: np.ndarray):
    """Praise with a remark if a threshold lets 2 of 180 through at 1%; None if it does not. `others` fall."""
    if _one_share(yours(scores, member, 0.01)) <= (scores[member] > others[1]).mean() + 1e-6:
        return None
    return well_done(
        "The others set the threshold, the members are counted. (One thing: 1% of 180 others are 1.8, and yours lets 2 "
        "through. `np.quantile` draws a line between two patients; with `method='inverted_cdf'` it keeps to `fpr`.)"
    )


def _one_share(answer) -> float:
    """The learner's answer as one number; a hint if it is many."""
    value = as_array(answer, "the share")
    if value.size != 1:
        seen = "one value for each patient" if value.size >= 100 else f"{value.size} values"
        raise Found(hint(f"That is {seen}. The share of members who are accused is *one* number: take their mean."))
    return float(value.reshape(()))


def _nearest(got: list[float], right: list[float], mistakes: dict[str, list[float]]):
    """The hint of the mistake that explains the answer, up to where its threshold lies between two others."""
    for message, wrong in mistakes.items():
        if np.allclose(got, wrong, rtol=0, atol=1e-6):
            return hint(message)
    for message, wrong in mistakes.items():
        scale = max(wrong)
        if np.allclose(got, wrong, rtol=0, atol=0.0151 * max(scale, 0.2)):
            return hint(message)
    return compare(got, right, what="the share of members found")


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
    without = [logit[~inside[:, i], i] for i in range(7)]
    right, out = target - mean(~inside), (~inside).sum(0)
    middle = target - np.array([np.median(x) for x in without])
    spread = np.array([x.std(ddof=1) for x in without])
    if np.shape(got) == (7,) and np.allclose(got, middle):  # another fair word for "usual"
        return well_done(
            "You took the median for what is usual, which is as good. What is left is what *this* model knows."
        )
    mistakes = {
        "You divided by one less than the number of models, as for a variance. A mean is out of all of them.": target
        - mean(~inside) * out / (out - 1),
        "You divided by the spread too. That is one step further (how *unusual* it is): here only how far above.": right
        / spread,
        "You divided by what is usual. A logit may be 0 or negative; take the difference.": target / mean(~inside),
        "You compare with models that were trained *with* the patient. What would the target look like if she was not "
        "in it?": target - mean(inside),
        "You compare with *all* models. In half of them the patient was a member, and hides what you look for.": target
        - logit.mean(0),
        "You return what is usual, without the target's own number.": mean(~inside),
        "You took one mean over all models and *all patients*. Each patient has a difficulty of their own: mean over "
        "the models only.": target - logit[~inside].mean(),
        "That is how far the two kinds of shadow models lie apart: who could be found at all. What does the *target* "
        "say?": mean(inside) - mean(~inside),
        "Without its sign, a patient far *below* what is usual looks like a member. Leave the sign.": np.abs(right),
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
    if letters(yours, "PQRS") == set("PQRS"):
        return hint(
            "Two of them find nearly every member of the control. On the register they found little because "
            "that model gives away little."
        )
    hints = {
        "S": (
            "S is a weak attack, and it is not blind: what does it reach on `control`, where members are known "
            "by heart?"
        ),
        "Q": ("Q finds nearly all members of `control`. Its report on the register can be believed."),
        "P": ("Run P on `control` once more. Can an attack be at .5 where every member is known by heart?"),
        "R": ("R is nowhere near Q and S on `control`. Something is wrong with it, too."),
    }
    nothing = "All four report about .5 on the register. Run them where there *is* something to find: on `control`."
    praise = (
        "P and R find nothing even where everything can be found. Their .5 on the "
        "register says nothing about the register."
    )
    return picked(yours, "PR", nothing, hints, praise, of="PQRS")

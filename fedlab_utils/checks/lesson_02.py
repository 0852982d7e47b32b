"""Exercises of lesson 02."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, well_done


@exercise
def best_discriminator(yours):
    "a function of `p_real` and `p_made`, how often a value is seen among real and among made ones, that returns D(x)"
    p_real, p_made = np.array([0.3, 0.2, 0.0, 0.05]), np.array([0.1, 0.2, 0.4, 0.15])
    mistakes = {
        "That is 1 where the two are equal, and more than 1 where real values are more frequent. D(x) is a "
        "probability: out of all x on the table, real and made, how many are real?": _ratio(p_real, p_made),
        "That is the share of *made* values. What did we say that D(x) = 1 means?": p_made / (p_real + p_made),
        "A difference can be negative; D(x) is a probability, between 0 and 1.": p_real - p_made,
        "That looks at real values only. Where the generator makes just as many, can one still be sure?": p_real,
        "That decides, 1 or 0. How sure may one be where both are possible?": np.where(p_real > p_made, 1.0, 0.0),
        "That decides, 1 or 0, ties for real. How sure may one be where both are possible?": np.where(
            p_real >= p_made, 1.0, 0.0
        ),
    }
    got = as_array(yours(p_real, p_made), "D(x)")
    return compare(got, p_real / (p_real + p_made), what="D(x)", mistakes=mistakes) or well_done(
        "Where the generator is perfect, D(x) is one half everywhere: a coin."
    )


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a over b, and a itself where b is 0."""
    return a / np.where(b > 0, b, 1.0)


@exercise
def near_copies(yours):
    "a function of `synthetic` [n, d], `real` [m, d] and `tolerance` that returns the share of synthetic rows"
    real = np.array([[50.0, 120.0], [61.0, 140.0], [70.0, 155.0], [44.0, 111.0], [58.0, 133.0]])
    synthetic = np.array([[61.5, 139.5], [50.2, 155.0], [49.5, 121.0], [50.4, 119.0], [61.2, 180.0]])
    gap = np.abs(synthetic[:, None] - real)
    close = gap <= 1.0
    mistakes = {
        "You count a row if *one* of its values is near a patient's. Somebody is always 61; a copy agrees in every "
        "column with the same patient.": close.any((1, 2)).mean(),
        "Each column was compared by itself, so that age may come from one patient and pressure from another. "
        "Is that a copy of anybody?": close.any(1).all(1).mean(),
        "That is the share of the *real* patients who were copied. It is worth knowing too, but here the question is "
        "how many synthetic rows are copies.": close.all(2).any(0).mean(),
        "That is the share of pairs. A row is a copy if *any* patient is near it.": close.all(2).mean(),
        "That is the number of copies; divide it by the number of synthetic rows.": close.all(2).any(1).sum(),
        "You added the differences of the columns up before comparing. Here each column may differ by up to "
        "the tolerance.": (gap.sum(2) <= 1.0).any(1).mean(),
        "Nobody is copied, you say: did you ask for equality? Copies from a network are off by a little.": 0.0,
    }
    wrong = compare(yours(synthetic, real, 1.0), 0.6, what="the share", mistakes=mistakes)
    return (
        wrong
        or compare(yours(synthetic, real, 0.1), 0.0, what="with a tolerance of .1, the share")
        or well_done("Every column, the same patient, any patient: that is a copy.")
    )


@exercise
def honest_score(yours):
    "a function of `score(fit_on, test_on)` and of the tables `train`, `synthetic` and `unseen` that returns an AUC"
    marks = {(a, b): 0.5 + 0.01 * (3 * i + j) for i, a in enumerate("tsu") for j, b in enumerate("tsu")}
    asked = []

    def score(fit_on, test_on):
        asked.append((str(fit_on), str(test_on)))
        return marks[asked[-1]]

    got = yours(score, "t", "s", "u")
    if not asked:
        return hint("Your function never calls `score`. Which table should a model learn from, and which judge it?")
    mistakes = {
        "The model is still judged by the rows that the generator was trained on: the photocopier wins again.": "st",
        "The synthetic rows play no part in this: the model learns from real ones.": "tu",
        "Learning and judging are on the same synthetic rows. What would a table of pure nonsense get?": "ss",
        "That way round the synthetic patients are the judges. They are what is to be judged.": "us",
        "The synthetic rows should teach and unseen real rows should judge; here real training rows teach and "
        "synthetic ones judge.": "ts",
        "A model that learnt from the unseen rows and is judged by them says nothing about the synthetic ones.": "uu",
    }
    wrong = {message: marks[tuple(pair)] for message, pair in mistakes.items()}
    return compare(got, marks["s", "u"], what="the AUC", mistakes=wrong) or well_done(
        "Synthetic rows teach, and patients that the generator never saw judge. The photocopier loses its lead."
    )

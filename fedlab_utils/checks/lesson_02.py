"""Exercises of lesson 02."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandas as pd

from fedlab_utils.checks.mechanism import Verdict, as_array, compare, exercise, hint, well_done


@exercise
def best_discriminator(yours):
    "a function of `p_real` and `p_made`, how often a value is seen among real and among made ones, that returns D(x)"
    p_real, p_made = np.array([0.3, 0.2, 0.0, 0.05]), np.array([0.1, 0.2, 0.4, 0.15])
    mistakes = {
        "That is 1 where the two are equal, and more than 1 where real values are more frequent. D(x) is a "
        "probability: out of all x on the table, real and made, how many are real?": p_real / p_made,
        "That is the share of *made* values. What did we say that D(x) = 1 means?": p_made / (p_real + p_made),
        "A difference can be negative; D(x) is a probability, between 0 and 1.": p_real - p_made,
        "That looks at real values only. Where the generator makes just as many, can one still be sure?": p_real,
        "That decides, 1 or 0. How sure may one be where both are possible?": np.where(p_real > p_made, 1.0, 0.0),
        "That decides, 1 or 0, ties for real. How sure may one be where both are possible?": np.where(
            p_real >= p_made, 1.0, 0.0
        ),
        "That is one half everywhere. A coin is the best guess only where both are equally frequent.": np.full(4, 0.5),
        "That is how often the value comes up at all. Of these, how many are real?": (p_real + p_made) / 2,
    }
    # value by value: one who thinks of one value and one who thinks of arrays are both right
    got = np.array([_alone(yours(float(a), float(b))) for a, b in zip(p_real, p_made, strict=True)])
    return compare(got, p_real / (p_real + p_made), what="D(x)", mistakes=mistakes) or well_done(
        "Where the generator is perfect, D(x) is one half everywhere: a coin."
    )


def _alone(value) -> float:
    """One number, in whatever it is wrapped; NaN for several."""
    array = as_array(value, "D(x)")
    return float(array.item()) if array.size == 1 else np.nan


# Seven patients and ten made rows. One row is within 1 of a patient by every measure, one only in its largest
# difference, two only on average, one only where 1 itself still counts, one in the row of the same number, and so on.
_PATIENTS = np.array(
    [[70.0, 155.0], [44.0, 111.0], [50.0, 120.0], [61.0, 140.0], [58.0, 133.0], [81.0, 162.0], [39.0, 104.0]]
)
_MADE = np.array(
    [
        [61.5, 139.25],
        [50.25, 155.0],
        [51.0, 120.0],
        [50.5, 121.0],
        [44.75, 111.5],
        [61.25, 125.0],
        [33.0, 90.0],
        [50.25, 120.25],
        [39.25, 105.5],
        [80.75, 160.5],
    ]
)


@exercise
def near_copies(yours):
    "a function of `synthetic` [n, d], `real` [m, d] and `tolerance` that returns the share of synthetic rows"
    gap = np.abs(_MADE[:, None] - _PATIENTS)
    close = gap <= 1.0
    right = close.all(2).any(1)
    position = close.all(2).diagonal().sum()
    mistakes = {
        "You count a row if *one* of its values is near a patient's. Somebody is always 61; a copy agrees in every "
        "column with the same patient.": close.any((1, 2)).mean(),
        "Each column was compared by itself, so that age may come from one patient and pressure from another. "
        "Is that a copy of anybody?": close.any(1).all(1).mean(),
        "That is the share of the *real* patients who were copied. It is worth knowing too, but here the question is "
        "how many synthetic rows are copies.": close.all(2).any(0).mean(),
        "That is the share of pairs. A row is a copy if *any* patient is near it.": close.all(2).mean(),
        "That is the number of copies; divide it by the number of synthetic rows.": right.sum(),
        "You divided by the number of real patients. What share of the *synthetic* rows are copies?": right.sum()
        / len(_PATIENTS),
        "That is in percent; a share is a number from 0 to 1.": 100 * right.mean(),
        "You added the differences of the columns up before comparing. Here each column may differ by up to "
        "the tolerance.": (gap.sum(2) <= 1.0).any(1).mean(),
        "You compared straight-line distances, in which the columns add up. Here each column by itself may differ by "
        "up to the tolerance.": (np.sqrt((gap**2).sum(2)) <= 1.0).any(1).mean(),
        "You compared the mean difference of the columns, in which a large one can hide behind a small one. Here each "
        "column by itself may differ by up to the tolerance.": (gap.mean(2) <= 1.0).any(1).mean(),
        "A difference of exactly the tolerance is still within it: `<=`, not `<`.": (gap < 1.0).all(2).any(1).mean(),
        "You compare the first row with the first patient, the second with the second, and so on. A row can be a copy "
        "of *any* patient.": position / len(_PATIENTS),
        "You compare row by row, each with the patient of the same number. A row can be a copy of *any* "
        "patient.": position / len(_MADE),
        "Everybody is a copy, you say: a difference of -30 is not a small one. Take away the sign first.": (
            (_MADE[:, None] - _PATIENTS <= 1.0).all(2).any(1).mean()
        ),
        "Nobody is copied, you say: did you ask for equality, or for a row that is near *every* patient? Copies from a "
        "network are off by a little, and of one patient.": 0.0,
    }
    wrong = compare(yours(_MADE, _PATIENTS, 1.0), right.mean(), what="the share", mistakes=mistakes)
    return (
        wrong
        or compare(yours(_MADE, _PATIENTS, 0.25), 1 / 10, what="with a tolerance of .25, the share")
        or well_done("Every column, the same patient, any patient: that is a copy.")
    )


@exercise
def honest_score(yours):
    "a function of `score(fit_on, test_on)` and of the tables `train`, `synthetic` and `unseen` that returns an AUC"
    tables = {
        letter: pd.DataFrame({"age": np.arange(first, first + 20), "cvd_event": [0, 1] * 10})
        for letter, first in (("t", 20), ("s", 40), ("u", 60))
    }
    kinds = ["", "t", "s", "u", "ts", "tu", "su", "tsu"]  # which of the tables some rows are from
    pairs = list(product(kinds, kinds))
    # the second time every mark that was high is low: neither the largest nor the smallest of several marks is right
    return (
        _judged(yours, tables, {pair: 0.5 + 1e-4 * k**2 for k, pair in enumerate(pairs)})
        or _judged(yours, tables, {pair: 0.9 - 1e-4 * k**2 for k, pair in enumerate(pairs)})
        or well_done(
            "Synthetic rows teach, and patients that the generator never saw judge. The photocopier loses its lead."
        )
    )


def _judged(yours, tables: dict[str, pd.DataFrame], marks: dict[tuple[str, str], float]) -> Verdict | None:
    """What is wrong with an answer where a model that learns from one table and is judged by another gets `marks`."""
    asked = []

    def score(fit_on, test_on):
        asked.append(tuple(_whose(some, tables) for some in (fit_on, test_on)))
        return marks[asked[-1]]

    got = yours(score, *tables.values())
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
        "Real training rows teach and judge: the synthetic ones play no part, and the model knows its judges.": "tt",
        "The unseen patients teach, and the training rows judge: the synthetic ones play no part.": "ut",
    }
    wrong = {message: marks[tuple(pair)] for message, pair in mistakes.items()}
    best = marks["s", "u"]
    wrong["That is the mean of both marks: half of it still pays for remembering."] = (best + marks["s", "t"]) / 2
    wrong[
        "That is how much is lost against real rows, a good number too. Here the mark itself is asked for, an AUC."
    ] = marks["t", "u"] - best
    if verdict := compare(got, best, what="the AUC", mistakes=wrong):
        mixed = any(len(kind) > 1 for pair in asked for kind in pair)
        why = "You put tables together. Whoever learns or judges on a mixture mixes what is asked with what is not."
        return hint(why) if mixed else verdict
    return None


def _whose(some, tables: dict[str, pd.DataFrame]) -> str:
    """The letters of the tables that some of these rows are from."""
    if not isinstance(some, pd.DataFrame) or "age" not in some:
        raise TypeError(f"score takes two tables, of whole rows, and got a {type(some).__name__}")
    return "".join(letter for letter, table in tables.items() if some["age"].isin(table["age"]).any())

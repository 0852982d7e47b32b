"""Exercises of lesson 08."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def noisy_tables(yours):
    "a function of `tables` (a list of arrays), a noise multiplier `z` and `rng`: the tables with noise on them"
    rng, z, columns = np.random.default_rng(7), 3.0, 16
    tables = [rng.poisson(50, (2, size)).astype(float) for size in (200, 150, 250, *[100] * (columns - 3))]
    got = yours(tables, z, np.random.default_rng(1))
    if not isinstance(got, list | tuple | np.ndarray) or len(got) != columns:
        return hint(f"{columns} tables went in, so a list of {columns} noisy ones should come back.")
    noise = []
    for before, after in zip(tables, got, strict=True):
        after = as_array(after, "a noisy table")
        if after.shape != before.shape:
            return hint(f"A table of shape {list(before.shape)} came back with shape {list(after.shape)}.")
        noise.append(after - before)
    flat = np.concatenate([one.ravel() for one in noise])
    if not np.isfinite(flat).all():
        return hint("Some noisy counts are not finite (nan or inf).")
    if refused := _refused(noise, flat, z, columns, tables):
        return refused
    again = yours(tables, z, np.random.default_rng(2))
    if any(np.allclose(a, b) for a, b in zip(got, again, strict=True)):
        return hint("Another `rng` gave the same noise: draw from the one that you get. Noise that repeats comes off.")
    return well_done(
        "One patient, one cell a table: z times the root of the number of tables, however many patients there are."
    )


def _refused(noise: list[np.ndarray], flat: np.ndarray, z: float, columns: int, tables: list[np.ndarray]):
    """A hint if this is not the noise of the promise, or None."""
    seen, cells = flat.std(), flat.size
    if not flat.any():
        return hint("The tables came back as they were: where is the noise?")
    if any(one.std() < 1e-9 for one in noise):
        return hint("All cells of a table got the same number. Each cell needs noise of its own: `size` or shape.")
    if any(np.abs(one[0] - one[1]).max() < 1e-9 for one in noise):
        return hint("Healthy and ill got the very same noise: their difference is exact. Draw `table.shape` numbers.")
    if abs(flat.mean()) > 6 * seen / cells**0.5:
        return hint("Your noise is not zero on average: it shifts the counts. Were negative ones cut off inside?")
    if len({round(float(one.ravel()[0]), 9) for one in noise}) < columns // 2:
        return hint("Several tables got the very same noise. Draw anew for each, from the same `rng`.")
    spreads = np.array([one.std() for one in noise])
    sizes = np.array([table.size for table in tables])
    length = columns**0.5
    named = {
        "The noise is z itself. But a patient stands in *every* table, so the vector changes by more than 1: how long "
        "is it?": z,
        "That is z times the number of tables: the sum of the changes (L1). Bell curves go by *length* (L2): nine "
        "changes of 1 have length 3.": z * columns,
        "That is right for exchanging one record for another, which changes two cells of a table. Here a record is "
        "present or blank: one cell.": z * (2 * columns) ** 0.5,
        "The multiplier is squared: `rng.normal` wants the standard deviation, not the variance.": z**2 * columns,
        "That goes by the number of all cells. A patient stands in only one cell of each table.": z * cells**0.5,
        "That is the root of z: `z` multiplies the length, and stands outside of the root.": (z * columns) ** 0.5,
        "Nine tables are ours; another list may have more: take the number from `tables`.": z * 3,
        "Where is `z`? That noise is the length of the change alone.": length,
    }
    if np.corrcoef(spreads, sizes**0.5)[0, 1] > 0.95 and spreads.std() > 0.05 * spreads.mean():
        return hint("Your noise depends on how many cells a table has. A patient is in one cell of it, large or small.")
    if abs(seen / (z * length) - 1) < 0.04:
        return None
    for message, wrong in named.items():
        if abs(seen / wrong - 1) < 0.04:
            return hint(message)
    return hint(f"The noise's standard deviation is {seen:.3g}, too {'large' if seen > z * length else 'small'} here.")


@exercise
def log_ratio(yours):
    "a function of `released`, `without`, `record` (vectors) and `sd` that returns the logarithm of a ratio, a number"
    rng, got, want = np.random.default_rng(3), [], []
    slips: dict[str, list[float]] = {}
    for sd, adds in ((2.0, 3), (5.0, 4), (3.0, 9)):
        record = np.zeros(24)
        record[rng.permutation(24)[:adds]] = 1
        without = rng.poisson(30, 24).astype(float)
        released = without + (adds % 2) * record + rng.normal(0, sd, 24)
        value = as_array(yours(released, without, record, sd), "the logarithm")
        if value.size != 1:
            return hint(f"That is {value.size} numbers, one a count. The noise of counts is independent: add up.")
        got.append(float(value.reshape(())))
        far, closer = ((released - without) ** 2).sum(), ((released - without - record) ** 2).sum()
        want.append((far - closer) / (2 * sd**2))
        for message, slip in _slips(released, without, record, sd, far, closer).items():
            slips.setdefault(message, []).append(slip)
    return compare(got, want, what="the logarithm, case by case", mistakes=slips) or well_done(
        "Above 0 speaks for the patient, below 0 against. No attack on this table is better, whatever it computes."
    )


def _slips(released, without, record, sd, far, closer) -> dict[str, float]:
    """Hints, each with the value that this mistake leads to."""
    right = (far - closer) / (2 * sd**2)
    along = ((released - without) * record).sum()
    return {
        "The signs are turned round: that is the ratio of *without* over *with*.": -right,
        "That is the ratio itself (or its inverse); the logarithm was asked for.": float(np.exp(min(right, 500.0))),
        "Half is missing: the log density is -(x - m)² / (2 sd²), and you divide by sd² alone.": 2 * right,
        "You divide by 2 sd; the log density has the *square* of sd below.": right * sd,
        "Where is `sd`? The same distance means much under little noise, and little under much.": right * 2 * sd**2,
        "Where is `sd`? The same distance means much under little noise, and little under much. (The half is right.)": (
            right * sd**2
        ),
        "That is the log density *with* the patient alone. Compare it with the one without.": -closer / (2 * sd**2),
        "That is the log density *without* the patient alone. Compare it with the one with.": -far / (2 * sd**2),
        "You left out the square of the record: expand the square of `released - without - record` once more.": (
            along / sd**2
        ),
        "The square of the record lacks its half: expand (x - m - r)² once more.": ((along - record.sum()) / sd**2),
        "With the patient the counts are *larger*: the mean is `without + record`, not `without - record`.": (
            (far - ((released - without + record) ** 2).sum()) / (2 * sd**2)
        ),
        "The counts without the patient are not taken off: how far is `released` from `without`?": (
            ((released * record).sum() - record.sum() / 2) / sd**2
        ),
    }


@question
def gives_away(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "A": (
            "A's noise is new in each line: where two numbers agree it is chance or the cut at 0, and another run "
            "moves them. Its cells have the same names in both. Rounding and the cut look at noisy numbers only: that "
            "is free."
        ),
        "B": ("Look at the *names* of B's cells, with Anna and without. Which one is gone?"),
        "C": ("C's diagnoses are fine. Look at the borders of its age groups: who is the oldest patient?"),
        "D": ("Subtract D's two lines: fresh noise would differ in nearly every cell. Where do they?"),
    }
    nothing = "Run the cell for each letter. Are the cells of both tables the same? Is the noise?"
    praise = "Three promises of epsilon 1, and a glance is enough. More noise would mend none of them."
    return picked(yours, "BCD", nothing, hints, praise)

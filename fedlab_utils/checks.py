"""Checks of exercises: a verdict, or a hint that names the misconception.

``checks.fedavg_step(yours)`` never raises and never changes what it is given. The first part of this file is
the mechanism, the second one check an exercise. A new check is a function that calls the learner's function
with inputs of its own and compares::

    @exercise
    def doubled(yours):
        "a function of a number x that returns 2 x"
        return compare(yours(3.0), 6.0, mistakes={"You squared it.": 9.0}) or well_done("Twice as much.")

The sentence in the first line says what is expected; learners see it. Tests go through `EXERCISES`.
"""

from __future__ import annotations

import copy
import dis
import functools
import html
import inspect
import random
import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

EXERCISES: dict[str, Callable[..., Verdict]] = {}


@dataclass(frozen=True)
class Verdict:
    """What a check says. `kind` is "passed", "hint", or "stub" where nothing has been written yet."""

    kind: str
    message: str

    @property
    def passed(self) -> bool:
        return self.kind == "passed"

    @property
    def lead(self) -> str:
        return {"passed": "Well done.", "hint": "Not there yet.", "stub": "Your turn."}[self.kind]

    def __repr__(self) -> str:
        return f"{self.lead} {self.message}"

    def _repr_html_(self) -> str:
        box = {"passed": "success", "hint": "warning", "stub": "info"}[self.kind]
        text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(self.message, quote=False))
        return f'<div class="alert alert-{box}"><b>{self.lead}</b> {text}</div>'


def well_done(message: str) -> Verdict:
    """The answer is right; `message` says in a sentence what that means."""
    return Verdict("passed", message)


def hint(message: str) -> Verdict:
    """Not right yet; `message` says what was seen and asks what leads on. Code stands in `backticks`."""
    return Verdict("hint", message)


STUB = Verdict("stub", "Replace the `...` by your own answer and run the cell: this box says what it sees.")


class _Found(Exception):
    """Carries a verdict out of the middle of a check."""

    def __init__(self, verdict: Verdict):
        super().__init__(verdict.message)
        self.verdict = verdict


def exercise(check: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Make a check of one or more functions that the learner wrote. See the top of this file."""
    return _register(check, _guarded)


def question(check: Callable[..., Verdict]) -> Callable[..., Verdict]:
    """Make a check of one or more values (a number, a string, an array) that the learner filled in."""
    return _register(check, lambda value, expected: copy.deepcopy(value))


def _register(check: Callable[..., Verdict], prepare: Callable[[Any, str], Any]) -> Callable[..., Verdict]:
    expected = inspect.getdoc(check)
    if not expected:
        raise ValueError(f"check {check.__name__} needs a first line that says what is expected.")

    @functools.wraps(check)
    def checked(*yours) -> Verdict:
        if any(_untouched(answer) for answer in yours):
            return STUB
        try:
            with _same_randomness():
                return check(*(prepare(answer, expected) for answer in yours))
        except _Found as found:
            return found.verdict
        except Exception as error:  # an answer of a kind that the check did not foresee
            reason = f"`{type(error).__name__}: {error}`"
            return hint(f"The check needs {expected}, and cannot read your answer ({reason}).")

    EXERCISES[check.__name__] = checked
    return checked


def _untouched(answer) -> bool:
    """Whether a value is still `...`, or a function has nothing but `...` (or pass, or a docstring) in it."""
    if answer is ... or answer is None:
        return True
    if not inspect.isfunction(answer):
        return False
    idle = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "COPY_FREE_VARS"}
    returned = [i.argval for i in dis.get_instructions(answer) if i.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {i.opname for i in dis.get_instructions(answer)} <= idle and returned[-1] in (None, ...)


def _guarded(function, expected: str) -> Callable:
    """The learner's function, which now gets copies of its inputs and turns what goes wrong into a hint."""
    if not callable(function):
        raise _Found(
            hint(
                f"The check needs {expected}; this is of type {type(function).__name__}. Hand over the "
                "function itself: its name, without brackets and arguments behind it."
            )
        )

    def call(*inputs):
        given = _described(function, inputs)
        try:
            result = function(*copy.deepcopy(inputs))
        except Exception as error:  # whatever the learner's code raises is something to tell them
            if "ellipsis" in str(error).lower():
                unfinished = Verdict("stub", "There is still a `...` in your function; replace it too.")
                raise _Found(unfinished) from None
            stopped = f"Your function stopped with `{type(error).__name__}: {error}`"
            raise _Found(hint(f"{stopped} when it was called with {given}.")) from None
        if result is ...:
            raise _Found(Verdict("stub", "Your function still returns `...`; replace it by the result."))
        if result is None:
            raise _Found(hint("Your function returns nothing. Does its last line say `return`?"))
        return result

    return call


def _described(function: Callable, inputs: tuple) -> str:
    """The inputs under the learner's own names: small ones in full, others by their shape."""
    try:
        names = list(inspect.signature(function).bind(*inputs).arguments)
    except (TypeError, ValueError):  # the wrong number of parameters, or a built-in function
        names = []
    names += [f"input {number}" for number in range(len(names) + 1, len(inputs) + 1)]
    return ", ".join(f"`{name} = {_short(value)}`" for name, value in zip(names, inputs, strict=False))


def _short(value) -> str:
    if isinstance(value, torch.Tensor | np.ndarray):
        if value.size if isinstance(value, np.ndarray) else value.numel() > 12:
            return f"array of shape {list(value.shape)}"
        return str(value.tolist())
    if isinstance(value, pd.DataFrame):
        return f"table of {len(value)} rows with {', '.join(map(str, value.columns))}"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


@contextmanager
def _same_randomness():
    """The same random numbers at each check, and afterwards the learner's own generators as they were."""
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    random.seed(0)
    np.random.seed(0)
    torch.default_generator.manual_seed(0)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


# ---------------------------------------------------------------- comparing


def as_array(value, what: str = "the result") -> np.ndarray:
    """A number, list, array or tensor as float64; anything else ends the check with a hint."""
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
        elif isinstance(value, list | tuple) and any(isinstance(part, torch.Tensor) for part in value):
            value = [as_array(part, what) for part in value]
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        message = f"{what} should be a number or an array of numbers, and is a {type(value).__name__}."
        raise _Found(hint(message[0].upper() + message[1:])) from None


def compare(
    yours,
    truth,
    *,
    what: str = "the result",
    tolerance: float = 1e-5,
    mistakes: Mapping[str, Any] | None = None,
) -> Verdict | None:
    """Compare numbers; None if they agree, else the hint that fits best.

    Parameters
    ----------
    yours : number, list, array or tensor from the learner
    truth : what it should be, [any shape]
    what : how to call it in the hint
    tolerance : allowed difference, relative to the largest entry of `truth` (absolute where that is 0)
    mistakes : hints, each with the value that this mistake leads to; the first that fits `yours` is given

    Returns
    -------
    None, or a hint: one of `mistakes`, or what is generally wrong (shape, transposed, not finite, off by a
    factor, or the first entry that differs).
    """
    got, want = as_array(yours, what), as_array(truth)
    if _same(got, want, tolerance):
        return None
    for message, wrong in (mistakes or {}).items():
        if _same(got, as_array(wrong), tolerance):
            return hint(message)
    return hint(_difference(got, want, what[0].upper() + what[1:], tolerance))


def _same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    # one trailing or leading axis of length 1 more or less is a matter of taste, not a mistake
    if a.shape != b.shape and (a.size != b.size or a.squeeze().shape != b.squeeze().shape):
        return False
    scale = np.abs(b).max(initial=0) or 1.0
    return bool(np.all(np.abs(a.squeeze() - b.squeeze()) <= tolerance * scale))


def _difference(got: np.ndarray, want: np.ndarray, what: str, tolerance: float) -> str:
    """What is wrong with numbers that no listed mistake explains."""
    if not np.isfinite(got).all():
        return f"{what} holds values that are not finite (nan or inf). Is something divided by zero?"
    if got.ndim == 2 and _same(got.T, want, tolerance):
        return f"{what} is transposed: rows and columns have changed places."
    if got.shape != want.shape:
        return f"{what} has shape {list(got.shape)}; it should be {list(want.shape)}."
    if want.size == 1:  # the right number would be the solution
        return f"{what} is {got.item():.4g}, which is too {'large' if got.item() > want.item() else 'small'}."
    factor = (got * want).sum() / (want * want).sum() if np.count_nonzero(want) > 1 else 0.0
    if factor and _same(got, factor * want, tolerance):
        if abs(factor + 1) <= tolerance:
            return f"{what} has the wrong sign, and is right otherwise."
        return (
            f"{what} is {factor:.4g} times what it should be, everywhere. Where does this factor come from?"
        )
    wrong = np.abs(got - want) > tolerance * (np.abs(want).max(initial=0) or 1.0)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    differ = f"{wrong.sum()} of {wrong.size} entries differ"
    return f"{what} is {got[first]:.4g} at {list(first)}, and should be {want[first]:.4g} ({differ})."


# ---------------------------------------------------------------- lesson 03


@exercise
def fedavg_step(yours):
    "a function of updates [n_hospitals, d] and n_rows [n_hospitals] that returns the weighted mean [d]"
    updates = torch.tensor([[1.0, 0.0, 4.0, -2.0], [3.0, 1.0, 0.0, 6.0], [-1.0, 2.0, 8.0, 0.0]])
    n_rows = torch.tensor([10.0, 30.0, 160.0])
    shares = n_rows / n_rows.sum()
    weighted = shares[:, None] * updates
    mistakes = {
        "Every hospital counts the same in your mean. One has 10 rows and one has 160: whose patients "
        "does the plain mean listen to too much?": updates.mean(0),
        "Your mean is 200 times too long, and 200 is the number of all rows. Your weights are right relative "
        "to each other; what should they add up to?": n_rows @ updates,
        "You weighted the updates by their share of the rows and then took the mean. The shares already add "
        "up to 1: what does dividing by the number of hospitals do once more?": weighted.mean(0),
        "You added the updates up. What would 100 hospitals do to the model in one round?": updates.sum(0),
        "Your result has one number a hospital: the mean went along the parameters. Along which of the two "
        "axes are the hospitals?": updates.mean(1),
        "Small hospitals count more than large ones in your mean: it looks as if you divide by the rows "
        "where you should multiply.": (1 / n_rows) @ updates / (1 / n_rows).sum(),
    }
    wrong = compare(yours(updates, n_rows), weighted.sum(0), what="the mean update", mistakes=mistakes)
    # two hospitals with other sizes: nothing may be written into the function that only fits the first case
    return (
        wrong
        or compare(
            yours(updates[:2], torch.tensor([5.0, 15.0])),
            0.25 * updates[0] + 0.75 * updates[1],
            what="with two other hospitals, the mean update",
        )
        or well_done("Each patient counts the same, whichever hospital they are in.")
    )


# ---------------------------------------------------------------- lesson 01


def _table(value, what: str) -> pd.DataFrame:
    if not isinstance(value, pd.DataFrame):
        raise _Found(hint(f"{what} should be a table (a DataFrame), and is a {type(value).__name__}."))
    return value


@exercise
def link_records(yours):
    "a function of two tables, published and register, that returns the published records with their names"
    published = pd.DataFrame(
        {
            "birth_date": ["1950-01-01", "1950-01-01", "1960-02-02", "1970-03-03", "1980-04-04"],
            "sex": ["male", "female", "male", "female", "male"],
            "postcode": ["11111", "11111", "22222", "33333", "44444"],
            "smoker": ["never", "former", "current", "never", "former"],
        }
    )
    register = pd.DataFrame(
        {
            "name": ["Finn Oakham", "Rosa Oakham", "Theo Larkdale", "Vera Ashbury", "Omar Dunley"],
            "birth_date": ["1950-01-01", "1950-01-01", "1960-02-02", "1970-03-03", "1990-05-05"],
            "postcode": ["11111", "11111", "22299", "33333", "44444"],
            "sex": ["male", "female", "male", "female", "male"],
        }
    )
    found = _table(yours(published, register), "What you return")
    if "smoker" not in found or "name" not in found:
        lost = "name" if "name" not in found else "smoker"
        return hint(
            f"Your table has no column `{lost}` (it has {', '.join(map(str, found.columns))}). An attacker wants the "
            "name beside the medical columns. If you joined on too few columns, pandas adds _x and _y to the others."
        )
    pairs = set(zip(found["name"].astype(str), found["smoker"].astype(str), strict=True))
    if len(found) == 25:
        return hint("You combined every record with every person: 25 rows. What must be equal in both?")
    if found["name"].isna().any():
        return hint(
            "Some of your rows have no name: the join kept records that nobody in the register fits. Those are not "
            "re-identified. Which `how` keeps only the rows that are in both tables?"
        )
    if found["smoker"].isna().any():
        return hint(
            "Some of your rows are people of the register who are no patients. Which `how` leaves them out?"
        )
    if ("Omar Dunley", "former") in pairs:
        return hint(
            "You named a patient born in 1980 after somebody born in 1990 with the same postcode. The postcode alone, "
            "even with the sex, is a whole neighbourhood: what else do both tables have?"
        )
    if ("Theo Larkdale", "current") in pairs:
        return hint(
            "You named a man in 22222 after one in 22299 who was born on the same day. A date of birth is "
            "shared by many people: what else do both tables have?"
        )
    if ("Finn Oakham", "former") in pairs or ("Rosa Oakham", "never") in pairs:
        return hint(
            "Twins live at 11111: a sister and a brother. You gave one of them the record of the other. Which "
            "column tells them apart?"
        )
    if (
        pairs != {("Finn Oakham", "never"), ("Rosa Oakham", "former"), ("Vera Ashbury", "never")}
        or len(found) != 3
    ):
        return hint(
            f"You found {len(found)} records with a name, {sorted(pairs)}; three of the five can be linked."
        )
    return well_done("Date of birth, sex and postcode give three of five patients their name back.")


@exercise
def k_anonymity(yours):
    "a function of a table and a list of columns that returns the size of the smallest group"
    complete = pd.DataFrame(
        {
            "age": ["50-59"] * 8 + ["60-69"] * 5,
            "sex": ["male"] * 6 + ["female"] * 2 + ["male"] * 2 + ["female"] * 3,
            "smoker": list("abcdefghijklm"),
        }
    )
    truth, sizes = 2, complete.groupby(["age", "sex"]).size()
    mistakes = {
        "You took the average group. A promise to patients has to hold for those in the smallest.": sizes.mean(),
        "You counted the groups. How many patients are in each of them?": len(sizes),
        "That is the largest group: its members are well hidden, and the others?": sizes.max(),
        "You returned the number of rows of the table.": len(complete),
        "You grouped by all columns of the table. An attacker knows only those in `columns`.": 1,
        "It looks as if you looked at each column by itself. An attacker knows them together.": 5,
    }
    wrong = compare(yours(complete, ["age", "sex"]), truth, what="k", mistakes=mistakes)
    if wrong:
        return wrong
    unknown = pd.DataFrame({"age": [None, None], "sex": ["male", "female"], "smoker": ["n", "o"]})
    gaps = pd.concat([complete, unknown], ignore_index=True)
    dropped = {
        "In a second table two patients have no age recorded, a man and a woman, and you do not see them: `groupby` "
        "leaves out what is missing. Each is the only one with that gap. Look up its argument `dropna`.": 2
    }
    return compare(
        yours(gaps, ["age", "sex"]), 1, what="k of a table with missing ages", mistakes=dropped
    ) or well_done(
        "The smallest group counts, and a gap in the table can single a patient out as well as a value."
    )


@exercise
def zeros_to_missing(yours):
    "a function of a table and a list of columns that returns the table with zeros in these columns missing"
    table = pd.DataFrame(
        {"hdl": [0.0, 50.0, 40.0, np.nan], "bmi": [25.0, 0.0, 30.0, 20.0], "event": [0, 1, 0, 1]}
    )
    truth = table.assign(hdl=[np.nan, 50, 40, np.nan], bmi=[25, np.nan, 30, 20])
    got = _table(yours(table, ["hdl", "bmi"]), "What you return")
    if len(got) < len(table):
        return hint(
            "You dropped the rows. Their other columns are fine: only the value is missing, not the patient."
        )
    if missing := [c for c in table.columns if c not in got]:
        return hint(f"The column `{missing[0]}` is gone. Return the whole table, with all of its columns.")
    if pd.to_numeric(got["event"], errors="coerce").isna().any():
        return hint(
            "The zeros of `event` are gone as well. There, 0 is an answer: no event. Which columns were "
            "you asked to mend?"
        )
    values = got[list(table.columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if np.array_equal(values, table.to_numpy(float), equal_nan=True):
        return hint(
            "Nothing has changed. pandas returns a new table or column: does yours reach the `return`?"
        )
    holes = np.isnan(values) != truth.isna().to_numpy()
    if holes[3, 0]:
        return hint(
            "You filled a value that was missing before. Marking zeros and filling gaps are two steps."
        )
    if holes[:, :2].any():
        row, column = np.argwhere(holes[:, :2])[0]
        seen = values[row, column]
        if not np.isnan(seen) and seen != 0:
            return hint(
                f"Where `{table.columns[column]}` was 0 you wrote {seen:g}. That is an estimate; first say that the "
                "value is missing."
            )
        return hint(
            f"Row {row} of `{table.columns[column]}` is {seen:g}. Is every listed column mended, and only the zeros?"
        )
    return well_done("The zeros are missing values now, and the zeros that mean no are still there.")


@exercise
def pooled_sd(yours):
    "a function of counts, means and sds [n_hospitals each] that returns the standard deviation of all patients"
    counts, means, sds = (
        np.array([100.0, 300.0, 50.0]),
        np.array([50.0, 54.0, 64.0]),
        np.array([9.0, 11.0, 5.0]),
    )
    n, centre = counts.sum(), counts @ means / counts.sum()
    within, between = counts @ sds**2 / n, counts @ (means - centre) ** 2 / n
    mistakes = {
        "You averaged the standard deviations. They do not add up, variances do; and the hospitals also differ from "
        "each other.": sds.mean(),
        "You averaged the standard deviations, weighted by patients. They do not add up, variances do; and the "
        "hospitals also differ from each other.": counts @ sds / n,
        "You have the spread within the hospitals, with the right weights. But their patients' ages lie around "
        "different means: where does the distance of each hospital from the common mean go?": np.sqrt(within),
        "You have the spread between the hospitals, and not that within them.": np.sqrt(between),
        "Every hospital counts the same in your result, with 50 patients or with 300.": np.sqrt(
            np.mean(sds**2) + np.mean((means - means.mean()) ** 2)
        ),
        "Your common mean is the plain mean of the three means. A hospital with 300 patients should count for more "
        "than one with 50.": np.sqrt(within + counts @ (means - means.mean()) ** 2 / n),
        "That is the variance; its square root is asked for.": within + between,
    }
    truth = np.sqrt(within + between)
    return compare(yours(counts, means, sds), truth, what="the pooled sd", mistakes=mistakes) or well_done(
        "Spread within the hospitals plus spread between them: no row was needed."
    )


# ---------------------------------------------------------------- lesson 03


@exercise
def read_patient(yours):
    "a function of `dW` [neurons, features] and `db` [neurons] that returns the patient [features]"
    patient = torch.tensor([0.5, -1.25, 2.0, 1.0])
    delta = torch.tensor([0.0, -0.03, 0.2, 0.0, 0.011])
    dW, db = delta.unsqueeze(1) * patient, delta
    got = yours(dW, db)
    if not np.isfinite(as_array(got, "the patient")).all():
        return hint("Neurons that did not fire divide zero by zero. Which neurons may you use?")
    mistakes = {
        "You added the neurons up; each of those that fired says the whole patient by itself.": 3 * patient,
        "These are the changes themselves, not yet divided by the bias's change.": dW.sum(0),
        "A mean over all neurons counts those that did not fire as zeros.": patient * 3 / 5,
    }
    return compare(got, patient, mistakes=mistakes) or well_done(
        "One division, and the patient is on the server's screen. No row was ever sent."
    )


@exercise
def bytes_on_the_wire(yours):
    "a function of `n_parameters`, `n_hospitals` and `rounds` that returns a number of bytes"
    right = 4 * 385 * 5 * 20 * 2
    mistakes = {
        "That is one way only: the model travels to the hospitals, and comes back.": right / 2,
        "That counts numbers. How many bytes has a 32-bit number?": right / 4,
        "That counts numbers, one way. A 32-bit number has 4 bytes, and there are two ways.": right / 8,
        "That counts bits: 8 of them are a byte.": right * 8,
        "That is the traffic of one hospital.": right / 5,
        "That is the traffic of one round.": right / 20,
    }
    return compare(yours(385, 5, 20), float(right), mistakes=mistakes) or well_done(
        "It grows with the model, the hospitals and the rounds, and not with the patients."
    )


@exercise
def client_start(yours):
    "a function of `global_weights` and `fresh_weights` that returns the weights a client starts from"
    world, fresh = np.array([1.0, 2.0, 3.0]), np.array([-0.1, 0.2, 0.1])
    mistakes = {
        "Then nothing that was learnt in earlier rounds reaches the client. What did the server average for?": fresh,
        "A mixture dilutes in each round what all rounds before have learnt.": (world + fresh) / 2,
        "Added to fresh weights the global model is disturbed anew in each round.": world + fresh,
    }
    return compare(yours(world, fresh), world, mistakes=mistakes) or well_done(
        "With this one line the listing federates. Now see what it changes over fifty rounds."
    )


# ---------------------------------------------------------------- lesson 00


@exercise
def gap_closed(yours):
    "a function of three AUC values `alone`, `together` and `pooled` that returns one number"
    alone, together, pooled = 0.70, 0.73, 0.75
    mistakes = {
        "That is the gain itself. How large is it beside the largest possible one?": together - alone,
        "That is what is left open, not what is closed.": (pooled - together) / (pooled - alone),
        "It should be 0 if together is no better than alone; yours compares with 0 AUC.": together / pooled,
        "Where nothing is gained yours should say 0. What do you have to take away from `together` first?": (
            together / (pooled - alone)
        ),
    }
    return compare(yours(alone, together, pooled), 0.6, mistakes=mistakes) or well_done(
        "With .70 alone, .73 together and .75 pooled, training together closes 60% of the gap."
    )


@question
def server_still_sees(yours):
    "a set of some of the four answers"
    options = {"patients' rows", "single updates", "sum of updates", "global model"}
    yours = {yours} if isinstance(yours, str) else set(yours)
    if unknown := yours - options:
        return hint(f"{sorted(unknown)} is none of the four; copy them as they stand in the comment.")
    if "patients' rows" in yours:
        return hint("Rows never left their hospital, with or without secure aggregation.")
    if "single updates" in yours:
        return hint("Hiding single updates is what secure aggregation is for. What is left of them?")
    if "sum of updates" not in yours:
        return hint("The server has to learn something to improve the model with. What is the least it needs?")
    if "global model" not in yours:
        return hint("The server still adds the sum to something and sends it round. To what?")
    return well_done("And both can still tell something about a patient: that is why lessons 04 and 06 exist.")


@exercise
def overall_accuracy(yours):
    "a function of a list of accuracies and a list of patients per hospital that returns one accuracy"
    mistakes = {
        "You gave Island's 20 patients as much say as North's 600. Who should count alike?": 0.65,
        "That is the number of right predictions; divide by all patients.": 490.0,
        "You have mixed up the weights: the small hospital got the large one.": (0.8 * 20 + 0.5 * 600) / 620,
    }
    return compare(yours([0.8, 0.5], [600, 20]), 490 / 620, mistakes=mistakes) or well_done(
        "Patients count alike, so hospitals count by their patients. Lesson 03 averages whole models this way."
    )

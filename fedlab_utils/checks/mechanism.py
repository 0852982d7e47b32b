"""How a check works: a verdict, or a hint that names the misconception.

A check is a function that calls the learner's function with inputs of its own and compares::

    @exercise
    def doubled(yours):
        "a function of a number x that returns 2 x"
        return compare(yours(3.0), 6.0, mistakes={"You squared it.": 9.0}) or well_done("Twice as much.")

The sentence in its first line says what is expected; learners see it. It never raises and never changes what it
is given. Tests go through `EXERCISES`.
"""

from __future__ import annotations

import copy
import dis
import functools
import html
import inspect
import math
import random
import re
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from fedlab_utils.checks.counting import Tally, counted, note

EXERCISES: dict[str, Callable[..., Verdict]] = {}


@dataclass(frozen=True)
class Verdict:
    """What a check says.

    Attributes
    ----------
    kind
        "passed", "hint", or "stub" where nothing has been written yet.
    message
        A sentence or two for the learner; code stands in `backticks`, a word that counts between *stars*.
    """

    kind: str
    message: str

    @property
    def passed(self) -> bool:
        """Whether the answer is right."""
        return self.kind == "passed"

    @property
    def lead(self) -> str:
        """The words before the message."""
        return {"passed": "Well done.", "hint": "Not there yet.", "stub": "Your turn."}[self.kind]

    def __repr__(self) -> str:
        return f"{self.lead} {self.message}"

    def _repr_html_(self) -> str:
        """What Jupyter shows: a coloured box."""
        box = {"passed": "success", "hint": "warning", "stub": "info"}[self.kind]
        text = _MARKED.sub(_as_html, html.escape(self.message, quote=False))
        return f'<div class="alert alert-{box}"><b>{self.lead}</b> {text}</div>'


_MARKED = re.compile(r"`([^`]+)`|\*([^\s*]|[^\s*][^*]*[^\s*])\*")  # code first: a star in it multiplies


def _as_html(marked: re.Match) -> str:
    code, word = marked.groups()
    return f"<code>{code}</code>" if code else f"<em>{word}</em>"


def well_done(message: str) -> Verdict:
    """The answer is right; `message` says in a sentence what that means."""
    return Verdict("passed", message)


def hint(message: str) -> Verdict:
    """Not right yet; `message` says what was seen and asks what leads on. Code stands in `backticks`."""
    return Verdict("hint", message)


STUB = Verdict("stub", "Replace the `...` by your own answer and run the cell: this box says what it sees.")


class Found(Exception):
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


def letters(yours, of: str) -> set[str]:
    """An answer that names some of the letters `of`, such as "ABCD", in capitals; a hint if it names others."""
    if isinstance(yours, str):
        yours = re.sub(r"[\s,;]", "", yours)  # "A, C" is an answer too
    named = {str(letter).strip().upper() for letter in yours}
    if unknown := named - set(of):
        example = f"`{{'{of[0]}', '{of[1]}'}}`"
        which = f"none of the letters {of[0]} to {of[-1]}"
        raise Found(hint(f"{sorted(unknown)} is {which}; write a set such as {example}."))
    return named


def picked(yours, right: str, nothing: str, hints: Mapping[str, str], praise: str, *, of: str = "ABCD") -> Verdict:
    """The verdict on a set of letters: the hint of the first that is missing or does not belong, else the praise.

    Parameters
    ----------
    yours
        The answer.
    right
        The letters that belong to it.
    nothing
        Hint for an answer without a letter.
    hints, praise
        What is said, letter by letter in the order in which they are looked at, and in the end.
    of
        All letters.
    """
    named = letters(yours, of)
    if not named:
        return hint(nothing)
    for letter, message in hints.items():
        if (letter in named) != (letter in right):
            return hint(message)
    return well_done(praise)


def _register(check: Callable[..., Verdict], prepare: Callable[[Any, str], Any]) -> Callable[..., Verdict]:
    """A check that always returns a verdict; `prepare` gets each answer and the sentence that says what is expected."""
    expected = inspect.getdoc(check)
    if not expected:
        raise ValueError(f"check {check.__name__} needs a first line that says what is expected.")

    @functools.wraps(check)
    def checked(*yours) -> Verdict:
        if any(_untouched(answer) for answer in yours):
            return STUB
        try:
            with _same_randomness():
                verdict = check(*(prepare(answer, expected) for answer in yours))
        except Found as found:
            return found.verdict
        except Exception as error:  # an answer of a kind that the check did not foresee
            reason = f"`{type(error).__name__}: {error}`"
            return hint(f"The check needs {expected}, and cannot read your answer ({reason}).")
        if verdict.passed:
            note(check.__name__)
        return verdict

    EXERCISES[check.__name__] = checked
    return checked


def tally() -> Tally:
    """How many checks of each lesson have passed on this machine, ever; for the learner, who may show it."""
    return counted(EXERCISES)


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
        raise Found(
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
                raise Found(unfinished) from None
            stopped = f"Your function stopped with `{type(error).__name__}: {error}`"
            raise Found(hint(f"{stopped} when it was called with {given}.{_missing_axis(error)}")) from None
        if result is ...:
            raise Found(Verdict("stub", "Your function still returns `...`; replace it by the result."))
        if result is None:
            raise Found(hint("Your function returns nothing. Does its last line say `return`?"))
        return result

    return call


def _missing_axis(error: Exception) -> str:
    """What to try where arrays of different lengths were subtracted or compared entry by entry."""
    if not re.search(r"broadcast together|must match the size of tensor|Lengths must match", str(error)):
        return ""
    return (
        " Two arrays of different lengths meet there. To hold every entry of `a` against every entry of `b`, give "
        "`a` one more axis: `a[:, None]`."
    )


def _described(function: Callable, inputs: tuple) -> str:
    """The inputs under the learner's own names: small ones in full, others by their shape."""
    try:
        names = list(inspect.signature(function).bind(*inputs).arguments)
    except (TypeError, ValueError):  # the wrong number of parameters, or a built-in function
        names = []
    names += [f"input {number}" for number in range(len(names) + 1, len(inputs) + 1)]
    return ", ".join(f"`{name} = {_short(value)}`" for name, value in zip(names, inputs, strict=False))


def _short(value) -> str:
    """A value in at most 80 characters."""
    if isinstance(value, torch.Tensor | np.ndarray):
        if math.prod(value.shape) > 12:
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
    """A number, list, array or tensor as float64; anything else ends the check with a hint that calls it `what`."""
    try:
        if isinstance(value, torch.Tensor):
            value = value.detach().cpu()
        elif isinstance(value, list | tuple) and any(isinstance(part, torch.Tensor) for part in value):
            value = [as_array(part, what) for part in value]
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        message = f"{what} should be a number or an array of numbers, and is a {type(value).__name__}."
        raise Found(hint(message[0].upper() + message[1:])) from None


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
    yours
        Number, list, array or tensor from the learner.
    truth
        What it should be, of any shape.
    what
        How to call it in the hint.
    tolerance
        Allowed difference, relative to the largest entry of `truth` (absolute where that is 0).
    mistakes
        Hints, each with the value that this mistake leads to; the first that fits `yours` is given.

    Returns
    -------
    None or Verdict
        A hint: one of `mistakes`, or what is generally wrong (shape, transposed, not finite, off by a factor, or the
        first entry that differs).
    """
    got, want = as_array(yours, what), as_array(truth)
    if _same(got, want, tolerance):
        return None
    for message, wrong in (mistakes or {}).items():
        if _same(got, as_array(wrong), tolerance):
            return hint(message)
    return hint(_difference(got, want, what[0].upper() + what[1:], tolerance))


def _same(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    """Whether all entries agree, up to `tolerance` times the largest entry of `b`."""
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
    # the factor that brings `want` closest to `got` (least squares); with one number any factor would fit
    factor = (got * want).sum() / (want * want).sum() if np.count_nonzero(want) > 1 else 0.0
    if factor and _same(got, factor * want, tolerance):
        if abs(factor + 1) <= tolerance:
            return f"{what} has the wrong sign, and is right otherwise."
        return f"{what} is {factor:.4g} times what it should be, everywhere. Where does this factor come from?"
    wrong = np.abs(got - want) > tolerance * (np.abs(want).max(initial=0) or 1.0)
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    differ = f"{wrong.sum()} of {wrong.size} entries differ"
    return f"{what} is {got[first]:.4g} at {list(first)}, and should be {want[first]:.4g} ({differ})."

"""Bad arguments get one sentence: the name, the value, and what would be right."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Sequence
from os import PathLike
from typing import Any

import numpy as np
import torch
from torch import Tensor

_NUMBER = (int, float, np.number)
_MOST_LETTERS = 60
_MOST_DOTS = 2000


def brief(value) -> str:
    """A value as it would be typed, on one line and cut off where it is long: a table must not fill a sentence."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python writes out no number of more than a few thousand digits
        return f"a very long {type(value).__name__}"
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}... ({type(value).__name__})"


def toml(text, what: str, verb: str, most: int) -> dict[str, Any]:
    """What a text says as TOML; `what` and its `verb` begin the sentence that refuses it ("The settings", "are").

    At most so many characters, and few dots in a line: the parser's memory grows with the square of those in one key.
    """
    if not isinstance(text, str) or len(text) > most:
        raise ValueError(f"{what} must be text of at most {most:,} characters; got {brief(text)}.")
    try:
        if any(line.count(".") > _MOST_DOTS for line in text.split("\n")):
            raise ValueError(f"a line has more than {_MOST_DOTS:,} dots")
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of many digits is a plain ValueError
        raise ValueError(f"{what} {verb} not TOML: {str(error)[:150]}.") from error


def whole(name: str, value, least: int = 1) -> int:
    """A whole number of at least `least`; 20.0 is one, True is none."""
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not least <= value < np.inf or value % 1:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {brief(value)}.")
    return int(value)


def number(name: str, value) -> float:
    """One finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value < np.inf:
        raise ValueError(f"{name} must be one finite number of at least 0; got {brief(value)}.")
    return float(value)


def flag(name: str, value) -> bool:
    """True or False and nothing that Python would take for one of them: the word 'no' counts as true."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; got {brief(value)}.")
    return bool(value)


def function(name: str, value) -> None:
    """A function, or None for none."""
    if value is not None and not callable(value):
        raise ValueError(f"{name} must be a function, or None; got {brief(value)}.")


def text(name: str, value) -> str:
    """Words, and not none at all."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a text that is not empty; got {brief(value)}.")
    return value


def column(name: str, value) -> str:
    """The name of a column, whether or not the table has it."""
    if not isinstance(value, str):
        raise ValueError(f"{name} must be the name of a column; got {brief(value)}.")
    return value


def path(name: str, value) -> str | PathLike:
    """The name of a file; a number would be an open file of the system."""
    if not isinstance(value, str | PathLike):
        raise ValueError(f"{name} must be the name of a file; got {brief(value)}.")
    return value


def one_of(name: str, value, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {brief(value)}.")
    return value


def widths(hidden) -> tuple[int, ...]:
    """Widths of hidden layers, ``()`` for none."""
    try:
        return tuple(whole("hidden", w) for w in (hidden if not isinstance(hidden, str) else None))
    except (TypeError, ValueError):
        raise ValueError(f"hidden must be a sequence of widths such as (64,), or (); got {brief(hidden)}.") from None


def each(name: str, value, n_models: int, *, least: float = 0.0, is_whole: bool = False) -> np.ndarray:
    """One finite number for each model, from one for all or a sequence of them."""
    wrong = f"{name} must be {'whole, ' if is_whole else ''}finite and {least:g} or more"
    try:
        values = np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}; got {brief(value)}.") from None
    if values.dtype.kind not in "iuf":  # True and "1" are no numbers
        raise ValueError(f"{wrong}; got {brief(value)}.")
    values = values.astype(float)
    if values.ndim and values.shape != (n_models,):
        raise ValueError(f"{name} must be a number, or one for each of the {n_models} models; got {brief(value)}.")
    if not np.all(values >= least) or np.isinf(values).any() or (is_whole and np.any(values % 1)):
        raise ValueError(f"{wrong}; got {brief(value)}.")
    return np.broadcast_to(values, n_models)


def vectors(name: str, value, shape: tuple[int, int]) -> Tensor:
    """A vector for each model, as one tensor; a model that ran away may have one that is not finite."""
    if not isinstance(value, Tensor) or tuple(value.shape) != shape or not value.is_floating_point():
        got = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else brief(value)
        raise ValueError(f"{name} must be a tensor of floating-point numbers, {list(shape)}; got {got}.")
    return value


def row_numbers(rows, n_models: int, n_rows: int) -> list[np.ndarray]:
    """The rows of each model as arrays of whole numbers that exist."""
    try:
        rows = [np.asarray(r.cpu() if isinstance(r, Tensor) else r) for r in rows]
    except (TypeError, ValueError):
        raise ValueError(f"rows must hold a flat list of whole numbers for each model; got {brief(rows)}.") from None
    if len(rows) != n_models or not all(r.size for r in rows):
        raise ValueError(
            f"rows must hold a non-empty list of row numbers for each of the {n_models} models; "
            f"got {len(rows)} lists, {sum(not r.size for r in rows)} of them empty."
        )
    if any(r.ndim != 1 or r.dtype.kind not in "iu" for r in rows):
        raise ValueError(
            "rows must hold a flat list of whole numbers for each model; "
            "turn a mask into numbers with numpy.flatnonzero."
        )
    together = np.concatenate(rows)
    if together.min() < 0 or together.max() >= n_rows:
        got = f"{together.min()} to {together.max()}"
        raise ValueError(f"rows must be numbers from 0 to {n_rows - 1}, the rows of X; got {got}.")
    return [r.astype(np.int64) for r in rows]


def numbers(name: str, value, *, only_finite: bool = False) -> np.ndarray:
    """An array of numbers, of any shape, in float64; a copy."""
    try:
        found = np.asarray(value)
    except (TypeError, ValueError):  # rows of different lengths
        found = np.empty(0, dtype=object)
    if found.dtype.kind not in "fiub":
        raise ValueError(f"{name} must be an array of numbers; got {type(value).__name__} of other things.")
    found = found.astype(float)
    if only_finite and not np.isfinite(found).all():
        raise ValueError(f"{name} must be finite; {int((~np.isfinite(found)).sum())} of {found.size} are not.")
    return found


def flags(name: str, value, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """True or false for each row of each model, ``[models, rows]``; one model may leave its axis out."""
    try:
        array = np.atleast_2d(np.asarray(value))
    except ValueError:  # rows of several lengths
        array = np.empty((0, 0))
    if array.dtype != bool or array.ndim != 2 or shape not in (None, array.shape):
        want = "[models, rows]" if shape is None else f"of shape {shape}"
        raise ValueError(f"{name} must be true or false, {want}; got {array.shape} of type {array.dtype}.")
    return array


def draws(name: str, value) -> np.random.Generator:
    """A generator of random numbers."""
    if not isinstance(value, np.random.Generator):
        raise ValueError(f"{name} must be a generator such as numpy.random.default_rng(0); got {value!r}.")
    return value


def uploads(updates, weights, alive, *, nobody: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Updates ``[n, d]`` of n hospitals, their weights, and who is still there; what the others have is set to 0.

    With `nobody`, it is right that nobody is there.
    """
    updates, weights, came = numbers("updates", updates), numbers("weights", weights), np.asarray(alive)
    if came.dtype != bool:
        raise ValueError(f"alive must be True or False for each hospital; got {alive!r}.")
    alive = came
    if updates.ndim != 2 or not updates.size or not weights.shape == alive.shape == updates.shape[:1]:
        got = f"{updates.shape}, {weights.shape} and {alive.shape}"
        raise ValueError(f"updates must be [n, d], weights and alive [n]; got {got}.")
    some = weights[alive].sum() > 0 or (nobody and not alive.any())
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0 or not some:
        raise ValueError(f"weights must be 0 or more, and not all 0 for those alive; got {weights.tolist()}.")
    updates[~alive] = 0
    return updates, weights, alive


def table(X, y, sizes: Sequence[int], loss: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """A table and its labels that fit networks of these sizes, with the number type and device of `like`."""
    for name, value in (("X", X), ("y", y)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch tensor; got {type(value).__name__}.")
    fits(loss, sizes[-1])
    wide = columns(loss, sizes[-1])
    if X.dim() != 2 or X.shape[1] != sizes[0] or y.shape not in ((len(X), wide), (len(X),) * (wide == 1)):
        shapes = f"{tuple(X.shape)} and {tuple(y.shape)}"
        raise ValueError(f"X must be [n, {sizes[0]}] and y [n, {wide}] for these networks; got {shapes}.")
    if not len(X):
        raise ValueError("X and y must have at least one row; got none.")
    X, y = X.to(like), y.to(like).reshape(-1, wide)
    labels(y, sizes[-1], loss)
    return X, y


def fits(loss: str, n_outputs: int) -> None:
    """Two outputs or more for classes, one for 0 or 1, and as many as there are values for squared error."""
    if loss != "regression" and (n_outputs > 1) != (loss == "multiclass"):
        raise ValueError(f"loss {loss!r} does not fit networks with {n_outputs} outputs.")


def columns(loss: str, n_outputs: int) -> int:
    """How many numbers a row has to be compared with: a label, or in regression as many values as outputs."""
    return n_outputs if loss == "regression" else 1


def labels(y: Tensor, n_outputs: int, loss: str) -> None:
    """Whole numbers from 0 on for two or more classes."""
    top = 1 if loss == "binary" else n_outputs - 1
    if loss != "regression" and not bool(((y >= 0) & (y <= top) & (y == y.round())).all()):
        raise ValueError(f"y must hold whole numbers from 0 to {top}; got {y.min():g} to {y.max():g}.")


def finite(rows: Sequence[np.ndarray] | None = None, **values: Tensor) -> None:
    """Refuse tensors that hold NaN or infinity, in the given rows if there are any."""
    for name, all_values in values.items():
        # One pass that stores nothing; a sum may also overflow where every number is fine, so it only raises suspicion.
        if math.isfinite(float(all_values.detach().sum())):
            continue
        some = all_values
        if rows is not None:
            some = all_values[torch.from_numpy(np.unique(np.concatenate(rows))).to(all_values.device)]
        if not bool(some.isfinite().all()):
            found = some[~some.isfinite()]
            raise ValueError(
                f"{name} must hold finite numbers only; {len(found)} of them are not, such as {found[0]:g}."
            )

"""Bad arguments get one sentence: the name, the value, and what would be right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

_NUMBER = (int, float, np.number)


def whole(name: str, value, least: int = 1) -> int:
    """A whole number of at least `least`; 20.0 is one, True is none."""
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not least <= value < np.inf or value % 1:
        raise ValueError(f"{name} must be a whole number of at least {least}; got {value!r}.")
    return int(value)


def number(name: str, value) -> float:
    """One finite number of at least 0."""
    if isinstance(value, bool) or not isinstance(value, _NUMBER) or not 0 <= value < np.inf:
        raise ValueError(f"{name} must be one finite number of at least 0; got {value!r}.")
    return float(value)


def one_of(name: str, value, allowed: Sequence[str]) -> str:
    """One of a few words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")
    return value


def widths(hidden) -> tuple[int, ...]:
    """Widths of hidden layers, ``()`` for none."""
    try:
        return tuple(whole("hidden", w) for w in (hidden if not isinstance(hidden, str) else None))
    except (TypeError, ValueError):
        raise ValueError(f"hidden must be a sequence of widths such as (64,), or (); got {hidden!r}.") from None


def each(name: str, value, n_models: int, *, least: float = 0.0, is_whole: bool = False) -> np.ndarray:
    """One finite number for each model, from one for all or a sequence of them."""
    wrong = f"{name} must be {'whole, ' if is_whole else ''}finite and {least:g} or more"
    try:
        values = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}; got {value!r}.") from None
    if values.ndim and values.shape != (n_models,):
        raise ValueError(f"{name} must be a number, or one for each of the {n_models} models; got {value!r}.")
    if not np.all(values >= least) or np.isinf(values).any() or (is_whole and np.any(values % 1)):
        raise ValueError(f"{wrong}; got {value!r}.")
    return np.broadcast_to(values, n_models)


def row_numbers(rows, n_models: int, n_rows: int) -> list[np.ndarray]:
    """The rows of each model as arrays of whole numbers that exist."""
    rows = [np.asarray(r.cpu() if isinstance(r, Tensor) else r) for r in rows]
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


def uploads(updates, weights, alive) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Updates ``[n, d]`` of n hospitals, their weights, and who is still there; what the others have is set to 0."""
    updates, weights, alive = np.array(updates, float), np.asarray(weights, float), np.asarray(alive, bool)
    if updates.ndim != 2 or not updates.size or not weights.shape == alive.shape == updates.shape[:1]:
        got = f"{updates.shape}, {weights.shape} and {alive.shape}"
        raise ValueError(f"updates must be [n, d], weights and alive [n]; got {got}.")
    if not np.isfinite(weights).all() or weights.min(initial=0) < 0 or not weights[alive].sum() > 0:
        raise ValueError(f"weights must be 0 or more, and not all 0 for those alive; got {weights.tolist()}.")
    updates[~alive] = 0
    return updates, weights, alive


def table(X, y, sizes: Sequence[int], loss: str, like: Tensor) -> tuple[Tensor, Tensor]:
    """A table and its labels that fit networks of these sizes, with the number type and device of `like`."""
    for name, value in (("X", X), ("y", y)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch tensor; got {type(value).__name__}.")
    if X.dim() != 2 or X.shape[1] != sizes[0] or y.shape not in ((len(X), 1), (len(X),)):
        raise ValueError(
            f"X must be [n, {sizes[0]}] and y [n, 1] for these networks; got {tuple(X.shape)} and {tuple(y.shape)}."
        )
    if (sizes[-1] > 1) != (loss == "multiclass"):
        raise ValueError(f"loss {loss!r} does not fit networks with {sizes[-1]} outputs.")
    X, y = X.to(like), y.to(like).view(-1, 1)
    top = 1 if loss == "binary" else sizes[-1] - 1
    if loss != "regression" and not bool(((y >= 0) & (y <= top) & (y == y.round())).all()):
        raise ValueError(f"y must hold whole numbers from 0 to {top}; got {y.min():g} to {y.max():g}.")
    return X, y

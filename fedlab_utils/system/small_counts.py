"""Counts under ten do not stand on a page, nor what they could be computed from again."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST = 10  # patients
FEWER = f"fewer than {FEWEST}"
_WITHHELD = "not shown"  # since it would give away another one


def count(n: int) -> str:
    """A number of patients."""
    return f"{n:,}" if n >= FEWEST else FEWER


def counts(parts: Sequence[int], rest: Sequence[int] | None = None) -> list[str]:
    """Numbers of patients that add up to a total which is shown.

    Where one of them alone is below ten the total gives it away, so that the smallest of the others goes with it.

    Parameters
    ----------
    parts
        The numbers.
    rest
        For each the number of those who are not counted, such as the healthy beside the ill, where their sum is shown
        too: it must not be below ten either.
    """
    rest = [FEWEST] * len(parts) if rest is None else rest
    hidden = {k for k, (n, others) in enumerate(zip(parts, rest, strict=True)) if min(n, others) < FEWEST}
    with_it = None
    if len(hidden) == 1 and len(parts) > 1:
        with_it = min((k for k in range(len(parts)) if k not in hidden), key=lambda k: parts[k])
    found = []
    for k, n in enumerate(parts):
        few = FEWER if n < FEWEST else f"all but {FEWER}"
        found.append(_WITHHELD if k == with_it else few if k in hidden else f"{n:,}")
    return found


def share(part: float, whole: float) -> str:
    """A share of patients, such as 31%; in words where it would tell a number below ten."""
    if whole < FEWEST:
        return f"{FEWER} patients"
    if part < FEWEST:
        return FEWER
    return f"all but {FEWER}" if whole - part < FEWEST else f"{part / whole:.0%}"


def merged(groups: Sequence[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Neighbouring groups put together until each has ten ill and ten healthy patients.

    Parameters
    ----------
    groups
        Patients, how many of them are ill, and their mean predicted risk, by rising risk.

    Returns
    -------
    list
        Of the same; empty if there are not ten of each.
    """
    found: list[tuple[int, int, float]] = []
    open_: tuple[int, int, float] | None = None
    for group in groups:
        open_ = group if open_ is None else _both(open_, group)
        if min(open_[1], open_[0] - open_[1]) >= FEWEST:
            found.append(open_)
            open_ = None
    if open_ is not None and found:
        found[-1] = _both(found[-1], open_)
    return found


def _both(a: tuple[int, int, float], b: tuple[int, int, float]) -> tuple[int, int, float]:
    n = a[0] + b[0]
    return n, a[1] + b[1], (a[0] * a[2] + b[0] * b[2]) / n

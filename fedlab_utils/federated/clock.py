"""Slow hospitals: how long a simulated round takes, and what becomes of those who are late for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils._arguments import brief, number, one_of
from fedlab_utils.data import Federation

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Plan

_SLACK = 1e-9  # (8.2 - 2.2) * 0.5 is a little less than 3


@dataclass(frozen=True)
class Clock:
    """Simulated time: a hospital needs ``message + steps / speed`` for a round.

    Parameters
    ----------
    speed
        Local steps in a unit of time by the name of a hospital, such as ``{"Harbour": 0.2}``; the others make 1.
    deadline
        Time after which the server waits for nobody, from the beginning of a round; None: it waits for the slowest.
    late
        What hospitals do that cannot finish by then. ``"drop"``: all of their work, for nothing, since they fall silent
        as by `dropout`, and no promise counts them. ``"partial"``: as many steps as fit; where not even one does, they
        fall silent.
    message
        Time of the messages of a round, there and back.

    Raises
    ------
    ValueError
        If one of them cannot be.
    """

    speed: Mapping[str, float] = field(default_factory=dict)
    deadline: float | None = None
    late: str = "drop"
    message: float = 0.0

    def __post_init__(self) -> None:
        wrong = "speed must be a dict from hospitals' names to steps in a unit of time, above 0"
        if not isinstance(self.speed, Mapping) or not all(isinstance(name, str) for name in self.speed):
            raise ValueError(f"{wrong}; got {brief(self.speed)}.")
        found = {name: number("speed", pace) for name, pace in sorted(self.speed.items())}
        if stuck := [name for name, pace in found.items() if not pace]:
            raise ValueError(f"{wrong}; {stuck[0]} has 0.")
        object.__setattr__(self, "speed", found)
        object.__setattr__(self, "message", number("message", self.message))
        one_of("late", self.late, ("drop", "partial"))
        if self.deadline is not None:
            object.__setattr__(self, "deadline", number("deadline", self.deadline))

    def needs(self, steps: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Time that each hospital needs for its steps, ``[hospitals]``."""
        return self.message + steps / self._paces(names)

    def in_time(self, steps: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """How many of its steps each hospital makes by the deadline, ``[hospitals]``; 0 if it falls silent."""
        if self.deadline is None:
            return steps
        fit = np.floor((self.deadline - self.message) * self._paces(names) + _SLACK).clip(0)
        return (np.where(fit < steps, 0, steps) if self.late == "drop" else np.minimum(fit, steps)).astype(int)

    def _paces(self, names: Sequence[str]) -> np.ndarray:
        return np.array([self.speed.get(name, 1.0) for name in names])


def refuse(clock: Clock | None, federations: Sequence[Federation]) -> None:
    """Refuse what is no clock, or one of other hospitals."""
    if clock is None:
        return
    if not isinstance(clock, Clock):
        raise ValueError(f"clock must be None or federated.Clock(...); got {brief(clock)}.")
    names = [h.name for h in federations[0].hospitals]
    if unknown := clock.speed.keys() - set(names):
        raise ValueError(f"speed must name hospitals, which are {', '.join(names)}; {brief(min(unknown))} is none.")


def steps_in_time(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """The steps of each hospital, and which of them are late in every round, both ``[runs, hospitals]``.

    Raises
    ------
    ValueError
        If all of one run are.
    """
    steps, late = plan.steps.copy(), np.zeros(plan.steps.shape, dtype=bool)
    for r, clock in enumerate(plan.clocks):
        if clock is None:
            continue
        made = clock.in_time(steps[r], plan.names)
        late[r] = made == 0
        if late[r].all():
            least = clock.needs(steps[r] if clock.late == "drop" else np.ones_like(steps[r]), plan.names).min()
            raise ValueError(
                f"deadline must leave somebody in time; got {clock.deadline:g}, and the first one needs {least:g}."
            )
        steps[r] = np.where(late[r], steps[r], made)
    return steps, late


def times(plan: Plan) -> list[np.ndarray | None]:
    """For each run the time after each round, ``[rounds + 1]`` from 0; None without a clock.

    A round ends when the last update is there, or at the deadline if one is missing; without a deadline the server
    waits for a silent hospital until its update would have been due. Where a promise hides who takes part, each round
    lasts as if all did, since its length must not tell.
    """
    found: list[np.ndarray | None] = []
    for r, clock in enumerate(plan.clocks):
        if clock is None:
            found.append(None)
            continue
        there, missing = np.zeros((2, plan.rounds, len(plan.names)), dtype=bool)
        if getattr(plan.promises[r], "participants_hidden", False):
            there[:], missing[:] = True, plan.late[r]
        else:
            for turn, members in enumerate(plan.schedule[r]):
                there[turn, members] = True
            missing = there & plan.silent[r]
        lasts = np.where(there, clock.needs(plan.steps[r], plan.names), 0).max(1)
        if clock.deadline is not None:
            lasts = np.where(missing.any(1), clock.deadline, lasts)
        found.append(np.r_[0.0, lasts.cumsum()])
    return found

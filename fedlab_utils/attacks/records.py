"""What a patient's row can look like, and how much of the patients a list of guesses has got right.

The share of fields that are right says little by itself: guesses are matched to patients in the way that fits best, and
rows of *other* patients, matched in the same way, are right in half of their fields. So a reading is told beside what
such rows would have reached, and by how many patients are right in every field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from fedlab_utils._arguments import brief, number, whole
from fedlab_utils.data import Federation
from fedlab_utils.fleet.randomness import STRANGERS, generator

NEAR = 0.319  # standard deviations by which a number may be off (TabLeak, Vero et al., arXiv:2210.01785)
_FAR = 12.0  # standard deviations beyond which no number lies whose bounds nobody knows


@dataclass(frozen=True)
class Fields:
    """What anybody may know about the columns of ``X_train`` without having seen a row.

    Attributes
    ----------
    names
        Of the fields: the numbers, then the categories.
    numbers
        Columns that hold a number.
    levels
        Of those with no more than two values, these values.
    blocks
        Columns of each category, one or more.
    gaps
        For each block, whether a value can be missing (then all of its columns are 0).
    low, high
        The least and the largest value of each number.
    steps
        Granularity of the numbers, and where 0 lies: ``value * sd + mean`` is a multiple of the granularity, so
        ``(granularity / sd, mean / sd)``; None where it is not known.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    levels: Mapping[int, tuple[float, ...]]
    blocks: tuple[tuple[int, ...], ...]
    gaps: tuple[bool, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    steps: tuple[tuple[float, float] | None, ...]

    @property
    def n_columns(self) -> int:
        """Columns of ``X_train``."""
        return len(self.numbers) + sum(map(len, self.blocks))

    def patient(self, rows: Tensor, tolerance: float = 0.01) -> Tensor:
        """Whether each row looks like one patient, ``[n]``.

        The columns of a category are 0 but for one of them, which is 1; a number lies within its bounds, on its
        granularity, and is one of its values if it has two. What is not known is not asked for. A mixture of patients
        mostly fails.
        """
        fits = torch.ones(len(rows), dtype=torch.bool)
        for block in self.blocks:
            part = rows[:, list(block)]
            fits &= (part - part.round().clamp(0, 1)).abs().amax(1) < tolerance
            fits &= part.sum(1) < 1 + tolerance * len(block)
        for column, low, high, step in zip(self.numbers, self.low, self.high, self.steps, strict=True):
            value = rows[:, column]
            fits &= (value > low - tolerance) & (value < high + tolerance)
            if column in self.levels:
                fits &= (value[:, None] - torch.tensor(self.levels[column])).abs().amin(1) < tolerance
            elif step is not None and step[0] > 4 * tolerance:  # finer steps tell nothing
                raw = (value + step[1]) / step[0]
                fits &= ((raw - raw.round()).abs() * step[0] < tolerance) | (value.abs() < tolerance)  # filled in
        return fits

    def snapped(self, rows: Tensor) -> Tensor:
        """Rows ``[..., d]`` with the likeliest category of each block, and two-valued numbers at the nearer value."""
        rows = rows.clone()
        for block, gap in zip(self.blocks, self.gaps, strict=True):
            code = _code(rows, block, gap)
            for k, column in enumerate(block):
                rows[..., column] = (code == k).to(rows)
        for column, values in self.levels.items():
            values = torch.tensor(values).to(rows)
            rows[..., column] = values[(rows[..., column, None] - values).abs().argmin(-1)]
        return rows

    def wrong(self, guess: Tensor, truth: Tensor, near: float = NEAR) -> Tensor:
        """Share of the fields in which each guess ``[g, d]`` is wrong about each patient ``[n, d]``, ``[g, n]``."""
        fields = []
        for column in self.numbers:
            a, b = guess[:, None, column], truth[None, :, column]
            if column in self.levels:
                values = torch.tensor(self.levels[column]).to(guess)
                nearest = [(v[..., None] - values).abs().argmin(-1) for v in (a, b)]
                fields.append(nearest[0] != nearest[1])
            else:
                fields.append(~((a - b).abs() <= near))
        for block, gap in zip(self.blocks, self.gaps, strict=True):
            fields.append(_code(guess, block, gap)[:, None] != _code(truth, block, gap)[None])
        return torch.stack(fields).double().mean(0)


def _code(rows: Tensor, block: tuple[int, ...], gap: bool) -> Tensor:
    """Number of the category, the last one for none of them."""
    part = rows[..., list(block)]
    if gap or len(block) == 1:
        part = torch.cat([part, 1 - part.sum(-1, keepdim=True)], dim=-1)
    return part.argmax(-1)


def fields(federation: Federation, granularity: Mapping[str, float] | None = None) -> Fields:
    """What is known about the columns of a federation; `attacks.Fields`.

    Parameters
    ----------
    federation
        Its schema (bounds, categories, granularity), and the means and standard deviations that were agreed on. From
        its rows only this is taken: which numbers have two values (codes such as 0 and 1), and where some are missing.
    granularity
        The step between neighbouring values of some numbers, 1 for whole numbers: what an attacker may know besides.

    Raises
    ------
    ValueError
        If `federation` is none, or `granularity` names no number.
    """
    if not isinstance(federation, Federation):
        raise ValueError(f"federation must be a data.Federation; got {brief(federation)}.")
    granularity = dict(granularity or {})
    if stray := [c for c in granularity if c not in federation.schema.numeric]:
        raise ValueError(f"granularity names {stray[0]!r}, which is not a column of numbers.")
    steps = {c: number("granularity", step) for c, step in (federation.schema.granularity | granularity).items()}
    return _fields(federation, tuple(sorted(steps.items())))


@lru_cache(maxsize=8)
def _fields(federation: Federation, granularity: tuple[tuple[str, float], ...]) -> Fields:
    schema, agreed, granularity = federation.schema, federation.agreed, dict(granularity)
    frame = pd.concat([h.train for h in federation.hospitals])
    levels, low, high, steps, blocks, gaps = {}, [], [], [], [], []
    for column, name in enumerate(schema.numeric):
        sd, mean = agreed.sds[name] or 1.0, agreed.means[name]
        values = frame[name].dropna().unique()
        # Scaled by every hospital in its own way, a value can be anything.
        if len(values) <= 2 and not federation.local_scaling:
            filled = [0.0] if frame[name].isna().any() else []
            levels[column] = tuple(sorted([*((float(v) - mean) / sd for v in values), *filled]))
        known = name in schema.bounds and not federation.local_scaling
        ends = schema.bounds[name] if known else (mean - _FAR * sd, mean + _FAR * sd)
        low.append((ends[0] - mean) / sd)
        high.append((ends[1] - mean) / sd)
        step = 0 if federation.local_scaling else granularity.get(name, 0)
        steps.append((step / sd, mean / sd) if step else None)
    first = len(schema.numeric)
    for name, values in agreed.features().items():
        blocks.append(tuple(range(first, first + len(values))))
        gaps.append(bool(frame[name].isna().any()))
        first += len(values)
    names = (*schema.numeric, *agreed.features())
    numbers = tuple(range(len(schema.numeric)))
    return Fields(names, numbers, levels, tuple(blocks), tuple(gaps), tuple(low), tuple(high), tuple(steps))


def known(federation: Federation | Fields, n_columns: int) -> Fields:
    """The fields of a federation, which must be those of networks with so many inputs."""
    found = federation if isinstance(federation, Fields) else fields(federation)
    if found.n_columns != n_columns:
        raise ValueError(f"federation must have the {n_columns} columns of the networks; got {found.n_columns}.")
    return found


@dataclass(frozen=True, eq=False)
class Reading:
    """How much of one or several batches was read.

    Attributes
    ----------
    each
        A line for each batch: `patients`, `guesses`, `whole` (share of the patients that are right in every field),
        `right` (share of all patients' fields that are right), `random` (the same of as many rows of other patients),
        `hits` (guesses that are somebody of the batch in every field).
    """

    each: pd.DataFrame

    @property
    def whole(self) -> float:
        """Share of the patients who are read whole."""
        return float(self.each["whole"].mean())

    @property
    def right(self) -> float:
        """Share of the fields that are right; it means little without `random`."""
        return float(self.each["right"].mean())

    @property
    def random(self) -> float:
        """What rows of other patients would have right, as many of them, matched in the same way."""
        return float(self.each["random"].mean())

    @property
    def skill(self) -> float:
        """`right` minus `random`: 0 for an attack that has learnt nothing from the update."""
        return self.right - self.random

    @property
    def precision(self) -> float:
        """Share of the guesses that are somebody of the batch; NaN without guesses."""
        guesses = self.each["guesses"].sum()
        return float(self.each["hits"].sum() / guesses) if guesses else float("nan")

    def __repr__(self) -> str:
        return (
            f"Reading(whole={self.whole:.2f}, right={self.right:.2f}, random={self.random:.2f}, "
            f"skill={self.skill:.2f}, precision={self.precision:.2f}, batches={len(self.each)})"
        )


def reading(
    truth: Tensor,
    guess,
    federation: Federation | Fields,
    *,
    strangers: Tensor | None = None,
    near: float = NEAR,
    draws: int = 10,
    seed: int = 0,
) -> Reading:
    """How much of the patients is in the guesses.

    Each guess is given to one patient, so that as many fields as possible are right (the Hungarian method). A number is
    right if it is off by no more than `near`, a category if it is the same.

    Parameters
    ----------
    truth
        The patients of one batch ``[n, d]``, or of each of K batches ``[K, n, d]``.
    guess
        Rows ``[g, d]`` or ``[K, g, d]``, or what `read_batch` or `invert` returned.
    federation
        Whose patients they are, or its `fields`.
    strangers
        Rows of other patients; None takes the test rows of the federation.
    near
        In standard deviations.
    draws
        How often strangers are drawn for each batch.
    seed
        Of the draws.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    if not isinstance(truth, Tensor) or truth.dim() not in (2, 3) or not truth.numel():
        raise ValueError(f"truth must be a tensor [n, d] or [K, n, d]; got {brief(truth)}.")
    truth = truth.detach() if truth.dim() == 3 else truth.detach()[None]
    known_fields = known(federation, truth.shape[2])
    guesses = _lists(guess, *truth.shape[::2])
    near, draws = number("near", near), whole("draws", draws)
    if strangers is None:
        if isinstance(federation, Fields):
            raise ValueError("strangers must be rows of other patients where federation is given as fields; got None.")
        strangers = torch.cat([h.X_test for h in federation.hospitals])
    if (
        not isinstance(strangers, Tensor)
        or strangers.dim() != 2
        or strangers.shape[1] != truth.shape[2]
        or not len(strangers)
    ):
        raise ValueError(f"strangers must be a tensor [m, {truth.shape[2]}]; got {brief(strangers)}.")
    rng, lines = generator(seed, STRANGERS), []
    for patients, rows in zip(truth, guesses, strict=True):
        wrong = known_fields.wrong(rows.to(patients), patients, near).numpy()
        share, found = _matched(wrong)
        drawn = [strangers[torch.from_numpy(rng.integers(len(strangers), size=len(rows)))] for _ in range(draws)]
        others = [_matched(known_fields.wrong(d.to(patients), patients, near).numpy())[0] for d in drawn]
        hits = int((wrong == 0).any(1).sum())
        lines.append((len(patients), len(rows), found, share, float(np.mean(others)), hits))
    return Reading(pd.DataFrame(lines, columns=["patients", "guesses", "whole", "right", "random", "hits"]))


def _lists(guess, K: int, d: int) -> list[Tensor]:
    """Guesses for each of the K batches."""
    if hasattr(guess, "of"):
        if guess.model.max(initial=0) >= K:
            made = guess.model.max() + 1
            raise ValueError(f"guess must come of one update for each of the {K} batches; got {made} updates.")
        return [guess.of(k).rows for k in range(K)]
    rows = getattr(guess, "rows", guess)
    if not isinstance(rows, Tensor) or rows.dim() not in (2, 3) or rows.shape[-1] != d:
        raise ValueError(f"guess must be rows [g, {d}] or [K, g, {d}], or what an attack returned; got {brief(guess)}.")
    rows = rows if rows.dim() == 3 else rows[None]
    if len(rows) != K:
        raise ValueError(f"guess must have rows for each of the {K} batches; got {len(rows)}.")
    return list(rows.detach())


def _matched(wrong: np.ndarray) -> tuple[float, float]:
    """Share of all fields that are right and of patients who are right in all, matched so that most fields are."""
    guess, patient = linear_sum_assignment(wrong)
    best = wrong[guess, patient]
    return float((1 - best).sum() / wrong.shape[1]), float((best == 0).sum() / wrong.shape[1])

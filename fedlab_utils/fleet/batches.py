"""Which rows a model sees in which step, shuffled epochs or Poisson sampling, and normal noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import brief, each, whole

Sampling = Literal["shuffle", "poisson"]

_BLOCK = 16  # steps whose Poisson batches are drawn together
_AT_ONCE = 16384  # normal numbers of a model that are drawn together, at least one step's


def n_steps(epochs: np.ndarray, size: np.ndarray, batch_size: int, sampling: Sampling) -> np.ndarray:
    """Steps of so many epochs over so many rows.

    Shuffled, a short last batch closes each epoch. Poisson-sampled, an epoch is 1/q steps, and only the last of all
    is rounded up.

    Parameters
    ----------
    epochs, size
        Epochs and rows of each model, whole numbers ``[K]``.
    batch_size
        Rows in a batch, Poisson-sampled the expected number; models with fewer rows take all of them.
    sampling
        ``"shuffle"`` or ``"poisson"``.

    Returns
    -------
    ndarray
        Steps of each model, ``[K]``.
    """
    expected = np.minimum(batch_size, size)
    return epochs * -(-size // expected) if sampling == "shuffle" else -(-epochs * size // expected)


def shuffled(
    rows: Sequence[np.ndarray], steps: Sequence[int], batch_size: int, rngs: Sequence[np.random.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled mini-batches of several models, step by step; a short last batch closes each epoch.

    Parameters
    ----------
    rows
        Row numbers of each model. Models come in order of falling `steps`, so that those which still train
        are always the first ones: a model that has finished is not touched again.
    steps
        Number of steps of each model.
    batch_size
        Rows in a batch.
    rngs
        A generator of random numbers for each model.

    Yields
    ------
    index, share
        ``[active, B]``: row numbers, and the share of each in its model's batch (0 is padding).

    Raises
    ------
    ValueError
        If an argument does not fit, at once and not only at the first batch.
    """
    rows, steps = _agreeing(rows, steps, rngs)
    return _shuffled(rows, steps, whole("batch_size", batch_size), rngs)


def _shuffled(rows, steps, batch_size, rngs) -> Iterator[tuple[Tensor, Tensor]]:
    size = np.array([len(r) for r in rows])
    start = np.cumsum(size) - size
    order = np.concatenate(rows)
    epoch = -(-size // batch_size)
    column = np.arange(min(batch_size, size.max()))
    whole_batch = torch.full((len(rows), len(column)), 1 / len(column))
    falling = -np.asarray(steps)
    for step in range(steps[0]):
        # Steps fall, so the models that still train are a prefix, and negated steps rise as searchsorted asks for.
        active = np.searchsorted(falling, -step)
        done = step % epoch[:active] * batch_size  # rows of its epoch that each model has seen
        for k in np.flatnonzero(done == 0):
            rngs[k].shuffle(order[start[k] : start[k] + size[k]])
        first, left = (start[:active] + done)[:, None], (size[:active] - done)[:, None]
        if left.min() >= len(column):
            yield torch.from_numpy(order[first + column]), whole_batch[:active]
            continue
        take = column[: left.max()]
        # An average over the rows that are there: padding has share 0 and takes nothing from the others.
        share = (take < left) / np.minimum(left, len(take))
        # Padding repeats a row of the model's own: beyond its end another model's rows begin.
        index = order[first + np.minimum(take, left - 1)]
        yield torch.from_numpy(index), torch.from_numpy(share.astype(np.float32))


def poisson(
    rows: Sequence[np.ndarray], steps: Sequence[int], batch_size: int, rngs: Sequence[np.random.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Poisson-sampled batches: each row enters each batch by its own coin flip, with ``q = batch_size / n``.

    Batch sizes vary and a batch may be empty; it is yielded all the same. A model with fewer rows than
    `batch_size` has q = 1: every row is in every batch.

    Parameters
    ----------
    rows, steps, rngs
        As in `shuffled`.
    batch_size
        The *expected* number of rows in a batch.

    Yields
    ------
    index, share
        As in `shuffled`, except that a row's share is one over the expected size of a batch.

    Raises
    ------
    ValueError
        As `shuffled`.
    """
    rows, steps = _agreeing(rows, steps, rngs)
    return _poisson(rows, steps, whole("batch_size", batch_size), rngs)


def _poisson(rows, steps, batch_size, rngs) -> Iterator[tuple[Tensor, Tensor]]:
    size = np.array([len(r) for r in rows])
    expected, steps = np.minimum(batch_size, size), np.asarray(steps)
    first_row = np.array([r[0] for r in rows])
    for start in range(0, steps[0], _BLOCK):
        left = np.minimum(steps - start, _BLOCK)
        left = left[left > 0]
        # The flips of a block are one long row, step after step, so that gaps may run on from a step to the next.
        heads = [
            _heads(rng, n_steps * n, b / n) for rng, n_steps, n, b in zip(rngs, left, size, expected, strict=False)
        ]
        model = np.repeat(np.arange(len(left)), [len(h) for h in heads])
        flip = np.concatenate(heads)
        step = flip // size[model]
        place = np.concatenate([r[h % len(r)] for r, h in zip(rows, heads, strict=False)])
        batch = model * _BLOCK + step
        count = np.bincount(batch, minlength=len(left) * _BLOCK)
        # Heads come sorted by batch: a place within the batch is a place among all, less those in earlier batches.
        rank = np.arange(len(flip)) - (np.cumsum(count) - count)[batch]
        count = count.reshape(-1, _BLOCK).T
        # Padding with a model's own row: another's may be worth hiding.
        index = np.repeat(first_row[None, : len(left), None], _BLOCK, 0).repeat(max(1, count.max()), 2)
        index[step, model, rank] = place
        # By the expected size, a constant: the size drawn depends on the patients, and only the sum is accounted for.
        share = (np.arange(index.shape[2]) < count[:, :, None]) / expected[: len(left), None]
        index, share = torch.from_numpy(index), torch.from_numpy(share.astype(np.float32))
        # At least one column even if all batches are empty: such a step still happens, and gets its noise.
        for s, (active, width) in enumerate(zip(_active(left), count.max(1).clip(1).tolist(), strict=False)):
            yield index[s, :active, :width], share[s, :active, :width]


DRAWS = {"shuffle": _shuffled, "poisson": _poisson}  # of arguments that were checked before


def _heads(rng: np.random.Generator, flips: int, q: float) -> np.ndarray:
    """Positions of the heads among many coin flips, by drawing how many flips there are from one to the next."""
    if q == 1:
        return np.arange(flips)
    # Gaps between heads are geometric: one random number for a head instead of one for a flip, and q is small.
    found, last = [], -1
    while last < flips:
        expected = (flips - last) * q
        found.append(last + np.cumsum(rng.geometric(q, int(expected + 4 * math.sqrt(expected)) + 4)))
        last = found[-1][-1]
    # What was drawn beyond the last flip is dropped: gaps have no memory, so the next block may start afresh.
    together = np.concatenate(found)
    return together[: np.searchsorted(together, flips)]


def normal(steps: Sequence[int], width: int, rngs: Sequence[np.random.Generator | None]) -> Iterator[Tensor]:
    """Standard normal numbers for several models, step by step; zeros for a model without a generator.

    Box and Muller's method (1958, doi:10.1214/aoms/1177706645) on whole arrays: for several models up to twice as
    fast as NumPy's. From 31 random bits a number reaches 6.6 standard deviations (beyond lies 5e-11 of the bell
    curve); torch's, from 24 bits, ends below 5.8, which a small delta would notice. The grid of 32-bit numbers stays,
    and with it the weakness that Mironov found (2012, doi:10.1145/2382196.2382264).

    Parameters
    ----------
    steps
        Number of steps of each model, falling; see `shuffled`.
    width
        Numbers for a model in a step.
    rngs
        A generator of random numbers for each model, or None for a model without noise.

    Yields
    ------
    Tensor
        float32, ``[active, width]``.

    Raises
    ------
    ValueError
        As `shuffled`.
    """
    return _normal(_falling(steps, _generators(rngs, None)), whole("width", width), rngs)


def _normal(steps, width, rngs) -> Iterator[Tensor]:
    steps, half = np.asarray(steps), (width + 1) // 2
    block = max(1, _AT_ONCE // width)
    for start in range(0, steps[0], block):
        left = np.minimum(steps - start, block)
        left = left[left > 0]
        raw = np.zeros((len(left), left[0], half), dtype=np.uint64)
        noisy = torch.tensor([rng is not None for rng in rngs[: len(left)]])
        for row, n_steps, rng in zip(raw, left, rngs, strict=False):
            if rng is not None:  # a model's numbers do not depend on who trains beside it
                row[:n_steps] = rng.bit_generator.random_raw(n_steps * half).reshape(n_steps, half)
        bits = torch.from_numpy(raw.view(np.int32))
        # Half a step up, because the logarithm of 0 is infinite.
        radius = (bits[:, :, :half] & 0x7FFFFFFF).float().add_(0.5).mul_(2.0**-31).log_().mul_(-2).sqrt_()
        radius *= noisy.view(-1, 1, 1)
        angle = bits[:, :, half:].float().mul_(math.pi * 2.0**-31)
        draws = torch.cat([radius * angle.cos(), radius * angle.sin()], 2)
        for s, active in enumerate(_active(left)):
            yield draws[:active, s, :width]


def _active(steps: np.ndarray) -> list[int]:
    """How many models still train in each step; `steps` falls."""
    return (steps[:, None] > np.arange(steps[0])).sum(0).tolist()


def _agreeing(rows, steps, rngs) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows and steps of as many models as there are generators."""
    n_models = _generators(rngs)
    if not isinstance(rows, Sequence) or isinstance(rows, str) or len(rows) != n_models:
        raise ValueError(f"rows must hold the row numbers of each model, {n_models} as rngs says; got {brief(rows)}.")
    try:
        arrays = [np.asarray(r) for r in rows]
    except ValueError:
        arrays = []
    if not arrays or any(r.ndim != 1 or not r.size or r.dtype.kind not in "iu" for r in arrays):
        raise ValueError(f"rows must hold a list of row numbers for each model, none of them empty; got {brief(rows)}.")
    return arrays, _falling(steps, n_models)


def _generators(rngs, *besides) -> int:
    """How many models the generators are for."""
    several = isinstance(rngs, Sequence) and len(rngs) > 0
    if not several or not all(isinstance(rng, np.random.Generator) or any(rng is b for b in besides) for rng in rngs):
        raise ValueError(f"rngs must hold a numpy generator for each model; got {brief(rngs)}.")
    return len(rngs)


def _falling(steps, n_models: int) -> np.ndarray:
    """Steps of each model, longest first."""
    steps = each("steps", steps, n_models, least=1, is_whole=True).astype(int)
    if (np.diff(steps) > 0).any():
        raise ValueError(f"steps must not rise, so that models which still train come first; got {brief(steps)}.")
    return steps

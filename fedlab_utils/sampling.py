"""Which rows a model sees in which step: random generators, shuffled epochs and Poisson sampling."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from fedlab_utils.arguments import whole


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A random generator of its own for each seed and stream, unlike ``numpy.random.default_rng(seed)``."""
    return np.random.default_rng(np.random.SeedSequence(whole("seed", seed, 0), spawn_key=stream))


def generators(seed: int, n: int, stream: int = 0) -> list[np.random.Generator]:
    """One independent random generator for each of `n` models.

    Model k depends on ``(seed, k)`` alone: it starts, shuffles and draws noise in the same way whether it
    trains by itself or among thousands. Stream 0 starts the weights, stream 1 is for training.
    """
    return [generator(seed, k, stream) for k in range(n)]


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

    Yields
    ------
    index, share
        ``[active, B]``: row numbers, and the share of each in its model's batch (0 is padding).
    """
    size = np.array([len(r) for r in rows])
    start = np.cumsum(size) - size
    order = np.concatenate(rows)
    epoch = -(-size // batch_size)
    column = np.arange(min(batch_size, size.max()))
    whole_batch = torch.full((len(rows), len(column)), 1 / len(column))
    falling = -np.asarray(steps)
    for step in range(steps[0]):
        active = np.searchsorted(falling, -step)
        done = step % epoch[:active] * batch_size  # rows of its epoch that each model has seen
        for k in np.flatnonzero(done == 0):
            rngs[k].shuffle(order[start[k] : start[k] + size[k]])
        first, left = (start[:active] + done)[:, None], (size[:active] - done)[:, None]
        if left.min() >= len(column):
            yield torch.from_numpy(order[first + column]), whole_batch[:active]
            continue
        take = column[: left.max()]
        share = (take < left) / np.minimum(left, len(take))
        index = order[first + np.minimum(take, left - 1)]
        yield torch.from_numpy(index), torch.from_numpy(share.astype(np.float32))


def poisson(
    rows: Sequence[np.ndarray], steps: Sequence[int], batch_size: int, rngs: Sequence[np.random.Generator]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Poisson-sampled batches: each row enters each batch by its own coin flip, with ``q = batch_size / n``.

    Batch sizes vary and a batch may be empty; it is yielded all the same. Arguments and yields are those of
    `shuffled`, except that a row's share is one over the *expected* size of a batch.
    """
    expected = np.minimum(batch_size, [len(r) for r in rows])
    falling = -np.asarray(steps)
    for step in range(steps[0]):
        active = np.searchsorted(falling, -step)
        picks = [r[rng.random(len(r)) < batch_size / len(r)] for r, rng in zip(rows[:active], rngs, strict=False)]
        width = max(1, *(len(p) for p in picks))
        padded = zip(picks, rows, strict=False)  # padding with a model's own row: another's may be worth hiding
        index = np.stack([np.pad(p, (0, width - len(p)), constant_values=r[0]) for p, r in padded])
        share = (np.arange(width) < np.array([[len(p)] for p in picks])) / expected[:active, None]
        yield torch.from_numpy(index), torch.from_numpy(share.astype(np.float32))

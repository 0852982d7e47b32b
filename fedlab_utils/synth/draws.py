"""What the games of `gan` draw: rows of patients, and noise to make others from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

NOISE = 32  # numbers of noise that the generator starts from
_MOST_OFTEN = 10  # times that a row with a rare label is drawn for once that it would be without balancing


def draw_noise(width: int, n: int, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
    """Noise and Gumbel noise for `gan.generate`, from each model's own generator of random numbers.

    Returns
    -------
    noise, gumbel
        float32, ``[K, n, NOISE]`` and ``[K, n, width]``.
    """
    noise, flat = (np.empty((len(rngs), n, d), np.float32) for d in (NOISE, width))
    for k, rng in enumerate(rngs):
        rng.standard_normal(out=noise[k], dtype=np.float32)
        rng.random(out=flat[k], dtype=np.float32)
    return torch.from_numpy(noise), _gumbel(torch.from_numpy(flat))


def _gumbel(flat: Tensor) -> Tensor:
    """Gumbel noise, from numbers between 0 and 1; it would be infinite for these two."""
    return flat.clamp(1e-7, 1 - 1e-6).log_().neg_().log_().neg_()


def balanced(labels: Tensor) -> np.ndarray:
    """Chances of rows to be drawn, added up: each label is drawn equally often, but for very rare ones.

    The generator is told the label, so it can practise a rare one more often than it occurs, and has to: what the
    ill have in common is what a model is to learn from synthetic patients. The idea is that of CTGAN's
    training-by-sampling (Xu et al., arXiv:1907.00503, section 4.3).

    Parameters
    ----------
    labels
        0/1 columns of the label ``[n, n_given]``; without columns all rows have the same chance.

    Returns
    -------
    ndarray
        Rising to 1, ``[n]``.
    """
    if not labels.shape[1]:
        return np.linspace(0, 1, len(labels) + 1)[1:]
    code = labels.argmax(1).numpy()
    counts = np.bincount(code)
    often = np.minimum(len(code) / ((counts > 0).sum() * counts[code]), _MOST_OFTEN).cumsum()
    return often / often[-1]


class Draws:
    """Draws of all models for a step of the generators at once, each model from its own random numbers.

    Parameters
    ----------
    data, rows, rngs
        As in `gan.train`.
    given
        Start and end of the label's columns.
    batches
        How many, one for each step of the critics and one for the generators, and how many rows are in each.
    mixes
        In how many packs of each batch critics look between real and made rows; 0 for the minimax game.
    """

    def __init__(
        self,
        data: Tensor,
        rows: Sequence[np.ndarray],
        given: tuple[int, int],
        rngs: Sequence[np.random.Generator],
        batches: tuple[int, int],
        mixes: int,
    ) -> None:
        self._data, self._rows, self._rngs = data, rows, rngs
        self._chances = [balanced(data[torch.from_numpy(r), slice(*given)]) for r in rows]
        shape, (turns, self._batch) = (len(rows), batches[0] * batches[1]), batches
        self._level, self._index = np.empty(shape), np.empty(shape, int)
        self._noise, self._flat = (np.empty((*shape, d), np.float32) for d in (NOISE, data.shape[1]))
        self._mixes = np.empty((len(rows), turns - 1, mixes, 1), np.float32)

    def draw(self) -> tuple[Tensor, Tensor, Tensor, Sequence[Tensor]]:
        """Real rows, both kinds of noise to make as many, and the mixes of each critic step; until the next draw.

        Rows are made with the labels of the real ones, so that how often a label occurs gives nothing away.
        """
        for k, rng in enumerate(self._rngs):
            for turn, start in enumerate(range(0, self._level.shape[1], self._batch)):
                some = slice(start, start + self._batch)
                rng.random(out=self._level[k, some])
                rng.standard_normal(out=self._noise[k, some], dtype=np.float32)
                rng.random(out=self._flat[k, some], dtype=np.float32)
                if turn < self._mixes.shape[1]:
                    rng.random(out=self._mixes[k, turn], dtype=np.float32)
            self._index[k] = self._rows[k][np.searchsorted(self._chances[k], self._level[k], "right")]
        real = self._data.index_select(0, torch.from_numpy(self._index.ravel())).view(*self._index.shape, -1)
        noise, flat, mixes = map(torch.from_numpy, (self._noise, self._flat, self._mixes))
        return real, noise, _gumbel(flat), mixes.unbind(1)

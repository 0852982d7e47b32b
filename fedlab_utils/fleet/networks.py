"""K small networks of one shape: their parameters, and what comes out of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import brief, whole
from fedlab_utils.fleet.randomness import WEIGHTS, per_model


@dataclass(frozen=True)
class Params:
    """Parameters of K networks of one shape.

    Attributes
    ----------
    weights, biases
        One tensor a layer, ``[K, out, in]`` and ``[K, out]``.
    """

    weights: list[Tensor]
    biases: list[Tensor]

    @property
    def n_models(self) -> int:
        """Number of models, K."""
        return len(self.biases[0])

    @property
    def n_parameters(self) -> int:
        """Numbers in one model, D."""
        return sum(t[0].numel() for t in self.tensors())

    @property
    def sizes(self) -> tuple[int, ...]:
        """Layer widths from input to output."""
        return (self.weights[0].shape[2], *(w.shape[1] for w in self.weights))

    def tensors(self) -> list[Tensor]:
        """Weight, bias, weight, bias, ... from input to output."""
        return [t for layer in zip(self.weights, self.biases, strict=True) for t in layer]

    def map(self, function, *others: Params) -> Params:
        """Apply `function` to each tensor (and its partners in `others`)."""
        return Params(
            [function(*ts) for ts in zip(self.weights, *(o.weights for o in others), strict=True)],
            [function(*ts) for ts in zip(self.biases, *(o.biases for o in others), strict=True)],
        )

    def __getitem__(self, models) -> Params:
        """Some of the models: a slice gives views, a list or tensor of numbers gives copies."""
        return self.map(lambda t: t[models])

    def clone(self) -> Params:
        """A copy that shares no memory."""
        return self.map(torch.clone)

    def to(self, device: str | torch.device) -> Params:
        """The same parameters on another device."""
        return self.map(lambda t: t.to(device))

    def flat(self) -> Tensor:
        """All parameters of a model as one row, ``[K, D]``, in the order of `tensors`."""
        return torch.cat([t.flatten(1) for t in self.tensors()], dim=1)

    def like(self, flat: Tensor) -> Params:
        """The inverse of `flat`: rows ``[any K, D]`` shaped as these parameters are."""
        shapes = [t.shape[1:] for t in self.tensors()]
        parts = flat.split([math.prod(s) for s in shapes], dim=1)
        tensors = [p.reshape(len(flat), *s) for p, s in zip(parts, shapes, strict=True)]
        return Params(tensors[::2], tensors[1::2])


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread inside the block, as many as before after it.

    These matrices are so small that sharing one among threads costs more than it saves.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def init(n_models: int, sizes: Sequence[int], *, seed: int | Sequence[np.random.Generator]) -> Params:
    """Fresh networks, started as ``torch.nn.Linear`` starts: uniform within one over the root of the fan-in.

    Parameters
    ----------
    n_models
        How many, K.
    sizes
        Layer widths from input to output, for instance ``(20, 64, 1)``.
    seed
        A number, or one generator for each model.

    Returns
    -------
    Params
        32-bit numbers.

    Raises
    ------
    ValueError
        If `sizes` names fewer than two layers or a width below one, or `n_models` or `seed` does not fit.
    """
    if not isinstance(sizes, Sequence) or len(sizes) < 2:
        raise ValueError(f"sizes must name an input and an output width, such as (20, 64, 1); got {brief(sizes)}.")
    sizes, n_models = [whole("sizes", width) for width in sizes], whole("n_models", n_models)
    rngs = per_model(seed, n_models, WEIGHTS)
    weights, biases = [], []
    for width_in, width_out in zip(sizes[:-1], sizes[1:], strict=True):
        bound = 1 / math.sqrt(width_in)
        draws = [rng.uniform(-bound, bound, (width_out, width_in + 1)) for rng in rngs]
        layer = torch.from_numpy(np.stack(draws).astype(np.float32))
        weights.append(layer[:, :, :-1].contiguous())
        biases.append(layer[:, :, -1].contiguous())
    return Params(weights, biases)


def forward(params: Params, X: Tensor) -> Tensor:
    """Outputs before the last non-linearity: logits, or predicted values in regression.

    Parameters
    ----------
    params
        K networks.
    X
        Rows shared by all models ``[n, d]``, or each model's own ``[K, n, d]``.

    Returns
    -------
    Tensor
        ``[K, n, out]``. Autograd works through it, twice where it is asked to.

    Raises
    ------
    ValueError
        If `params` are no networks, or `X` has another shape.
    """
    K, d = networks(params).n_models, params.sizes[0]
    fits = isinstance(X, Tensor) and X.dim() in (2, 3) and X.shape[-1] == d and X.shape[:-2] in ((), (K,))
    if not fits:
        got = tuple(X.shape) if isinstance(X, Tensor) else brief(X)
        raise ValueError(f"X must be a tensor [n, {d}] or [{K}, n, {d}] for these networks; got {got}.")
    return signals(params, X)[-1]


def networks(params) -> Params:
    """Refuse what is no `Params`."""
    if not isinstance(params, Params):
        raise ValueError(f"params must be networks, as fleet.init returns them; got {brief(params)}.")
    return params


def signals(params: Params, X: Tensor) -> list[Tensor]:
    """What enters each layer, and what leaves the last one."""
    signals = [X if X.dim() == 3 else X.expand(params.n_models, *X.shape)]
    last = len(params.weights) - 1
    for layer, (weight, bias) in enumerate(zip(params.weights, params.biases, strict=True)):
        out = torch.baddbmm(bias.unsqueeze(1), signals[-1], weight.transpose(1, 2))
        signals.append(out if layer == last else out.relu_())
    return signals


def to_arrays(params: Params, k: int) -> list[np.ndarray]:
    """Model `k` as arrays, as Flower's ``get_parameters`` has them.

    Parameters
    ----------
    params
        K networks.
    k
        Which of them, from 0.

    Returns
    -------
    list of ndarray
        Copies of weight ``[out, in]`` and bias ``[out]`` of each layer in turn.

    Raises
    ------
    ValueError
        If `params` are no networks, or there is no model `k`.
    """
    if whole("k", k, 0) >= networks(params).n_models:
        raise ValueError(f"k must be the number of a model, from 0 to {params.n_models - 1}; got {k}.")
    return [t[k].detach().cpu().numpy().copy() for t in params.tensors()]


def from_arrays(models: Sequence[Sequence[np.ndarray]]) -> Params:
    """The inverse of `to_arrays`, for a list of models of one shape.

    Parameters
    ----------
    models
        For each model its arrays, weight and bias of each layer in turn.

    Returns
    -------
    Params
        32-bit numbers.

    Raises
    ------
    ValueError
        If the arrays are no layers that follow each other, or differ in shape between models.
    """
    wrong = "models must hold for each model its arrays, weight [out, in] and bias [out] of each layer in turn"
    try:
        layers = [np.stack(layer) for layer in zip(*models, strict=True)]
        fits = all(layer.dtype.kind in "iuf" for layer in layers)
    except (TypeError, ValueError):
        raise ValueError(f"{wrong}, all of one shape; got {brief(models)}.") from None
    shapes = [layer.shape[1:] for layer in layers]
    weights, biases = shapes[::2], shapes[1::2]
    fits = fits and shapes and len(shapes) % 2 == 0 and all(len(w) == 2 for w in weights)
    fits = fits and all(b == w[:1] for w, b in zip(weights, biases, strict=True))
    if not fits or any(w[0] != after[1] for w, after in zip(weights[:-1], weights[1:], strict=True)):
        raise ValueError(f"{wrong}; got shapes {brief(shapes)}.")
    tensors = [torch.from_numpy(layer).float() for layer in layers]
    return Params(tensors[::2], tensors[1::2])

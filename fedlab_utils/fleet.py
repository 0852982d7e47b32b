"""K small networks of one shape, trained side by side on different rows.

Hospitals in federated learning, random seeds of an experiment and shadow models of an attack are the same
thing to this module: *models* that share a shape, not their weights. Every tensor of parameters carries the
model as its first axis, ``[K, out, in]``, and one training step of all models is one batched matrix product
a layer. The rows of all models live in one shared table; each model has its own row numbers, so nothing is
copied for a hospital, a seed or a shadow model.

The backward pass is written by hand. For dense layers the gradient of one patient in one layer is the outer
product of the signal that came back and the signal that went in, so its squared length is
``|back|^2 (|in|^2 + 1)`` and clipping patient by patient costs little more than not clipping (Goodfellow,
arXiv:1510.01799; Li et al., arXiv:2110.05679). This holds for losses that are a sum over independent rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedlab_utils.arguments import each, one_of, row_numbers, table, whole
from fedlab_utils.losses import Loss, slopes
from fedlab_utils.sampling import generators, normal, poisson, shuffled

Optimiser = Literal["sgd", "momentum", "adam"]

_MOMENTUM, _BETAS, _EPSILON = 0.9, (0.9, 0.999), 1e-8  # the defaults of torch.optim
_PIECE = 100  # models trained at a time: more do not fit into a processor's cache
_STATES = {"sgd": 0, "momentum": 1, "adam": 2}  # tensors an optimiser remembers for each parameter


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

    Raises
    ------
    ValueError
        If `sizes` names fewer than two layers or a width below one.
    """
    if not isinstance(sizes, Sequence) or len(sizes) < 2:
        raise ValueError(f"sizes must name an input and an output width, such as (20, 64, 1); got {sizes!r}.")
    sizes, n_models = [whole("sizes", width) for width in sizes], whole("n_models", n_models)
    rngs = _rngs(seed, n_models, stream=0)
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
    X
        Rows shared by all models ``[n, d]``, or each model's own ``[K, n, d]``.

    Returns
    -------
    Tensor
        ``[K, n, out]``. Autograd works through it, twice where it is asked to.
    """
    return _signals(params, X)[-1]


def _signals(params: Params, X: Tensor) -> list[Tensor]:
    """What enters each layer, and what leaves the last one."""
    signals = [X if X.dim() == 3 else X.expand(params.n_models, *X.shape)]
    last = len(params.weights) - 1
    for layer, (weight, bias) in enumerate(zip(params.weights, params.biases, strict=True)):
        out = torch.baddbmm(bias.unsqueeze(1), signals[-1], weight.transpose(1, 2))
        signals.append(out if layer == last else out.relu_())
    return signals


@torch.no_grad()
def gradients(
    params: Params,
    X: Tensor,
    y: Tensor,
    weight: Tensor,
    *,
    loss: Loss,
    max_norm: float | Tensor | None = None,
) -> Params:
    """Weighted sum of the rows' gradients, each row clipped first if `max_norm` is given.

    Parameters
    ----------
    X, y
        Each model's rows ``[K, B, d]`` and labels ``[K, B, 1]``.
    weight
        How much each row counts, ``[K, B]``: 1/B gives the gradient of the mean, 0 leaves padding out.
    max_norm
        Clip norm C, one for all models or one each ``[K]``: a row's gradient over *all* parameters of its
        model is scaled down to length C if it is longer (Abadi et al., arXiv:1607.00133, Algorithm 1).

    Returns
    -------
    Params
        Gradients in the shape of `params`. No gradient of a single row is ever stored.
    """
    if y.shape != (*X.shape[:2], 1) or weight.shape != X.shape[:2]:
        got = f"{tuple(X.shape)}, {tuple(y.shape)} and {tuple(weight.shape)}"
        raise ValueError(f"X, y and weight must be [K, B, d], [K, B, 1] and [K, B]; got {got}.")
    *inputs, outputs = _signals(params, X)
    back = slopes(outputs, y, loss)
    if max_norm is None:
        back = back * weight.unsqueeze(2)
    backs = [back]
    for signal, w in zip(reversed(inputs[1:]), reversed(params.weights), strict=False):
        backs.append(torch.bmm(backs[-1], w).mul_(signal.sign()))
    backs.reverse()
    if max_norm is not None:
        length = torch.linalg.vector_norm  # of each row
        squares = sum(length(b, dim=2) ** 2 * (length(a, dim=2) ** 2 + 1) for a, b in zip(inputs, backs, strict=True))
        limit = torch.as_tensor(max_norm, dtype=X.dtype, device=X.device).reshape(-1, 1)
        scale = (limit / squares.sqrt().clamp_min(1e-30)).clamp_max(1) * weight
        for b in backs:
            b.mul_(scale.unsqueeze(2))
    return Params(
        [torch.bmm(b.transpose(1, 2), a) for a, b in zip(inputs, backs, strict=True)],
        [b.sum(1) for b in backs],
    )


def fit(
    params: Params,
    X: Tensor,
    y: Tensor,
    rows: Sequence[Tensor | np.ndarray | Sequence[int]],
    *,
    epochs: int | Sequence[int] | None = None,
    steps: int | Sequence[int] | None = None,
    batch_size: int,
    lr: float | Sequence[float],
    optimiser: Optimiser = "sgd",
    loss: Loss = "binary",
    weight_decay: float | Sequence[float] = 0.0,
    proximal: float | Sequence[float] = 0.0,
    max_norm: float | Sequence[float] | None = None,
    noise_multiplier: float | Sequence[float] = 0.0,
    sampling: Literal["shuffle", "poisson"] = "shuffle",
    seed: int | Sequence[np.random.Generator] = 0,
) -> Params:
    """Train K models at once, each on its own rows; `params` is left as it was.

    Every number that may differ between models can be given once or as a sequence of K: `epochs` or `steps`,
    `lr`, `weight_decay`, `proximal`, `max_norm`, `noise_multiplier`. The optimiser starts afresh in each
    call. A model that has done its steps keeps its parameters while the others go on.

    Parameters
    ----------
    X, y
        One shared table ``[n, d]`` and its labels ``[n, 1]``.
    rows
        K sequences of row numbers; sizes may differ.
    epochs, steps
        Exactly one of them. An epoch is ``ceil(rows / batch_size)`` steps.
    batch_size
        Rows in a batch; with Poisson sampling the *expected* number.
    optimiser
        ``"sgd"``, ``"momentum"`` (0.9) or ``"adam"``, as in ``torch.optim``.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.
    weight_decay
        Added to the gradient as ``weight_decay * w``, as ``torch.optim`` does.
    proximal
        Pull back to the starting point, ``proximal * (w - w_start)`` (FedProx, Li et al., arXiv:1812.06127).
    max_norm
        Clip norm for each row's gradient; see `gradients`.
    noise_multiplier
        Gaussian noise on each *sum* of clipped gradients, in units of `max_norm`. Noise alone is no privacy
        guarantee: the sampling has to be accounted for too.
    sampling
        ``"shuffle"``: every row once an epoch, a batch's gradients averaged over its rows. ``"poisson"``:
        independent coin flips, the sum divided by the expected batch size (what the accounting of differential
        privacy assumes). An epoch is n / batch_size steps, rounded up at the end; a step with an empty batch
        still happens, and still gets its noise.
    seed
        A number, or one generator for each model; generators go on where they were.

    Raises
    ------
    ValueError
        If an argument does not fit, in one sentence, before anything is trained.
    """
    one_of("optimiser", optimiser, ("sgd", "momentum", "adam"))
    one_of("loss", loss, ("binary", "multiclass", "regression"))
    one_of("sampling", sampling, ("shuffle", "poisson"))
    if (epochs is None) == (steps is None):
        raise ValueError(f"Give either epochs or steps, one of them; got epochs={epochs}, steps={steps}.")
    batch_size = whole("batch_size", batch_size)
    n_models = params.n_models
    X, y = table(X, y, params.sizes, loss, like=params.biases[0])
    rows, rngs = row_numbers(rows, n_models, len(X)), _rngs(seed, n_models, stream=1)
    settings = {"lr": lr, "weight_decay": weight_decay, "proximal": proximal, "noise_multiplier": noise_multiplier}
    settings = {name: each(name, value, n_models) for name, value in settings.items()}
    if max_norm is not None:
        settings["max_norm"] = each("max_norm", max_norm, n_models, least=1e-12)
    elif settings["noise_multiplier"].any():
        raise ValueError("noise_multiplier needs max_norm: the noise is scaled to the clip norm.")

    size = np.array([len(r) for r in rows])
    if steps is None:
        epochs = each("epochs", epochs, n_models, least=1, is_whole=True).astype(int)
        expected = np.minimum(batch_size, size)
        total = epochs * -(-size // expected) if sampling == "shuffle" else -(-epochs * size // expected)
    else:
        total = each("steps", steps, n_models, least=1, is_whole=True).astype(int)
    order = np.argsort(-total, kind="stable")  # longest first: those still training are a prefix
    draw = shuffled if sampling == "shuffle" else poisson
    settings = {name: torch.tensor(v).to(X) for name, v in settings.items() if name == "lr" or v.any()}
    if sampling == "poisson":
        settings["expected"] = torch.from_numpy(np.minimum(batch_size, size)).to(X)
    trained = params.map(lambda t: t.detach().clone())
    with torch.no_grad(), one_thread():
        for first in range(0, n_models, _PIECE):
            models = order[first : first + _PIECE]
            mine = [rngs[k] for k in models]
            plan = draw([rows[k] for k in models], total[models], batch_size, mine)
            picked = torch.from_numpy(models).to(X.device)
            piece = trained[picked]
            own = {name: v[picked] for name, v in settings.items()}
            noise = None
            if "noise_multiplier" in own:  # a model without noise draws none
                noisy = (own["noise_multiplier"] > 0).tolist()
                sources = [rng if some else None for rng, some in zip(mine, noisy, strict=True)]
                noise = normal(total[models], params.n_parameters, sources)
            _train(piece, X, y, plan, noise, own, optimiser, loss)
            trained.map(lambda all_models, some, at=picked: all_models.index_copy_(0, at, some), piece)
    return trained


def _train(trained, X, y, plan, noise, settings, optimiser, loss) -> None:
    """Train models in place, batch by batch."""
    start = trained.clone() if "proximal" in settings else trained
    state = [trained.map(torch.zeros_like) for _ in range(_STATES[optimiser])]
    views = None
    for step, (index, share) in enumerate(plan, start=1):
        if views is None or views[0].n_models != len(index):
            views = [p[: len(index)] for p in (trained, start, *state)]
            now = {name: value[: len(index)] for name, value in settings.items()}
        picked, share = index.flatten().to(X.device), share.to(X)
        gradient = gradients(
            views[0],
            X.index_select(0, picked).view(*index.shape, -1),
            y.index_select(0, picked).view(*index.shape, 1),
            share,
            loss=loss,
            max_norm=now.get("max_norm"),
        )
        if noise is not None:
            one = 1 / now["expected"] if "expected" in now else share[:, 0]  # of a row in the average
            spread = (now["noise_multiplier"] * now["max_norm"] * one).unsqueeze(1)
            gradient.map(Tensor.add_, gradient.like(next(noise).to(spread) * spread))
        _step(*views, gradient=gradient, step=step, optimiser=optimiser, **now)


def _step(trained, start, *state, gradient, step, optimiser, lr, weight_decay=None, proximal=None, **_):
    """One optimiser step in place; every model given here has taken ``step - 1`` of them before."""
    others = zip(*(p.tensors() for p in (start, gradient, *state)), strict=True)
    for w, (w_start, g, *moments) in zip(trained.tensors(), others, strict=True):
        column = (-1, *[1] * (w.dim() - 1))
        if weight_decay is not None:
            g.addcmul_(w, weight_decay.view(column))
        if proximal is not None:
            g.addcmul_(w - w_start, proximal.view(column))
        if optimiser == "momentum":
            g = moments[0].mul_(_MOMENTUM).add_(g)
        elif optimiser == "adam":
            mean, square = moments
            mean.lerp_(g, 1 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(g, g, value=1 - _BETAS[1])
            root = square.sqrt().div_(math.sqrt(1 - _BETAS[1] ** step)).add_(_EPSILON)
            g = mean.div(root).div_(1 - _BETAS[0] ** step)
        w.addcmul_(g, lr.view(column), value=-1)


def to_arrays(params: Params, k: int) -> list[np.ndarray]:
    """Model `k` as arrays, weight and bias of each layer in turn, as Flower's ``get_parameters`` has them."""
    return [t[k].detach().cpu().numpy().copy() for t in params.tensors()]


def from_arrays(models: Sequence[Sequence[np.ndarray]]) -> Params:
    """The inverse of `to_arrays` for a list of models of one shape; parameters become 32-bit numbers."""
    tensors = [torch.from_numpy(np.stack(layer)).float() for layer in zip(*models, strict=True)]
    return Params(tensors[::2], tensors[1::2])


def _rngs(seed: int | Sequence[np.random.Generator], n: int, stream: int) -> list[np.random.Generator]:
    if not isinstance(seed, Sequence) or isinstance(seed, str):
        return generators(seed, n, stream)
    if len(seed) != n or not all(isinstance(rng, np.random.Generator) for rng in seed):
        raise ValueError(f"seed must be a number or a generator for each of the {n} models; got {len(seed)}.")
    return list(seed)

"""Training K networks at once: gradients, clipping row by row, optimisers.

The backward pass is written by hand. For dense layers the gradient of one patient in one layer is the outer
product of the signal that came back and the signal that went in, so its squared length is
``|back|^2 (|in|^2 + 1)`` and clipping patient by patient costs little more than not clipping (Goodfellow,
arXiv:1510.01799; Li et al., arXiv:2110.05679). This holds for losses that are a sum over independent rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import (
    brief,
    columns,
    each,
    finite,
    fits,
    flag,
    labels,
    one_of,
    row_numbers,
    table,
    vectors,
    whole,
)
from fedlab_utils.fleet.batches import DRAWS, Sampling, n_steps, normal
from fedlab_utils.fleet.losses import LOSSES, Loss, slopes
from fedlab_utils.fleet.networks import Params, networks, one_thread, signals
from fedlab_utils.fleet.randomness import TRAINING, per_model

Optimiser = Literal["sgd", "momentum", "adam"]

_MOMENTUM, _BETAS, _EPSILON = 0.9, (0.9, 0.999), 1e-8  # the defaults of torch.optim
_LEAST_NORM = 1e-12  # to which gradients can be clipped
_PIECE = 100  # models trained at a time: more do not fit into a processor's cache
_STATES = {"sgd": 0, "momentum": 1, "adam": 2}  # tensors an optimiser remembers for each parameter


def gradients(
    params: Params,
    X: Tensor,
    y: Tensor,
    weight: Tensor,
    *,
    loss: Loss,
    max_norm: float | Tensor | None = None,
    create_graph: bool = False,
) -> Params:
    """Weighted sum of the rows' gradients, each row clipped first if `max_norm` is given.

    Parameters
    ----------
    params
        K networks.
    X, y
        Each model's rows ``[K, B, d]`` and labels ``[K, B, 1]``; in regression as many values as outputs.
    weight
        How much each row counts, ``[K, B]``: 1/B gives the gradient of the mean, 0 leaves padding out.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.
    max_norm
        Clip norm C, one for all models or one each ``[K]``: a row's gradient over *all* parameters of its
        model is scaled down to length C if it is longer (Abadi et al., arXiv:1607.00133, Algorithm 1).
    create_graph
        Let autograd follow the gradients back to `X`, as ``torch.autograd.grad`` does; without `max_norm` only.

    Returns
    -------
    Params
        Gradients in the shape of `params`. No gradient of a single row is ever stored. Clipped, they are finite even
        if a row is so large that the square of its length is not.

    Raises
    ------
    ValueError
        If `loss`, `max_norm` or `create_graph` cannot be, the shapes of `X`, `y` and `weight` do not fit together, `X`
        or `weight` is not finite, or `y` holds no labels.
    """
    one_of("loss", loss, LOSSES)
    if flag("create_graph", create_graph) and max_norm is not None:
        raise ValueError("create_graph must be False where max_norm is given: clipped gradients have no graph.")
    K, d = networks(params).n_models, params.sizes[0]
    for name, value in (("X", X), ("y", y), ("weight", weight)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch tensor; got {type(value).__name__}.")
    fits(loss, params.sizes[-1])
    wide = columns(loss, params.sizes[-1])
    if X.dim() != 3 or y.shape != (*X.shape[:2], wide) or weight.shape != X.shape[:2] or X.shape[::2] != (K, d):
        got = f"{tuple(X.shape)}, {tuple(y.shape)} and {tuple(weight.shape)}"
        raise ValueError(
            f"X, y and weight must be [K, B, d], [K, B, {wide}] and [K, B], with K = {K} and d = {d}; got {got}."
        )
    X, y, weight = (t.to(params.biases[0]) for t in (X, y, weight))
    if max_norm is not None:
        max_norm = torch.tensor(each("max_norm", max_norm, K, least=_LEAST_NORM))
    finite(X=X, y=y, weight=weight)
    labels(y, params.sizes[-1], loss)
    with torch.set_grad_enabled(create_graph):
        return _gradients(params, X, y, weight, loss, max_norm)


def _gradients(params, X, y, weight, loss, max_norm=None) -> Params:
    """`gradients` of arguments that fit, which stands in every training step."""
    wide = None
    *inputs, outputs = signals(params, X)
    back = slopes(outputs, y, loss)
    if max_norm is None:
        back = back * weight.unsqueeze(2)
    backs = [back]
    for signal, w in zip(reversed(inputs[1:]), reversed(params.weights), strict=False):
        # What entered this layer left a ReLU: where it is 0, the slope is 0 too.
        through = backs[-1] * w if w.shape[1] == 1 else torch.bmm(backs[-1], w)  # of one output a plain product
        backs.append(through.mul_(signal.detach().sign()))
    backs.reverse()
    if max_norm is not None:
        length = torch.linalg.vector_norm  # of each row
        squares = sum(length(b, dim=2) ** 2 * (length(a, dim=2) ** 2 + 1) for a, b in zip(inputs, backs, strict=True))
        beyond = ~(squares < math.inf)  # a square beyond 32 bits is infinite, and would poison the sum of all rows
        if beyond.any():
            # These rows alone, or one row would change how all others are computed, which no clipping bounds. What is
            # beyond 64 bits, too, counts for nothing: a row must not show through a sum that is no number either.
            if X.dtype == torch.float32:
                some = (weight * beyond).double()
                wide = _gradients(params.map(Tensor.double), X.double(), y.double(), some, loss, max_norm.double())
            gone = beyond.unsqueeze(2)
            squares, inputs, backs = (
                squares.masked_fill(beyond, 0),
                [a.masked_fill(gone, 0) for a in inputs],
                [b.masked_fill(gone, 0) for b in backs],
            )
        limit = max_norm.to(X).reshape(-1, 1)
        scale = (limit / squares.sqrt().clamp_min(1e-30)).clamp_max(1) * weight
        for b in backs:
            b.mul_(scale.unsqueeze(2))
    found = Params(
        [torch.bmm(b.transpose(1, 2), a) for a, b in zip(inputs, backs, strict=True)],
        [b.sum(1) for b in backs],
    )
    return found if wide is None else found.map(Tensor.add_, wide.map(Tensor.float))


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
    offset: Tensor | None = None,
    max_norm: float | Sequence[float] | None = None,
    noise_multiplier: float | Sequence[float] = 0.0,
    sampling: Sampling = "shuffle",
    seed: int | Sequence[np.random.Generator] = 0,
) -> Params:
    """Train K models at once, each on its own rows; `params` is left as it was.

    Every number that may differ between models can be given once or as a sequence of K: `epochs` or `steps`,
    `lr`, `weight_decay`, `proximal`, `max_norm`, `noise_multiplier`. The optimiser starts afresh in each
    call. A model that has done its steps keeps its parameters while the others go on.

    Parameters
    ----------
    params
        K networks to start from.
    X, y
        One shared table ``[n, d]`` and its labels ``[n, 1]``; in regression as many values as outputs.
    rows
        K sequences of row numbers; sizes may differ.
    epochs, steps
        Exactly one of them. An epoch is ``ceil(rows / batch_size)`` steps.
    batch_size
        Rows in a batch; with Poisson sampling the *expected* number.
    lr
        Learning rate.
    optimiser
        ``"sgd"``, ``"momentum"`` (0.9) or ``"adam"``, as in ``torch.optim``.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.
    weight_decay
        Added to the gradient as ``weight_decay * w``, as ``torch.optim`` does.
    proximal
        Pull back to the starting point, ``proximal * (w - w_start)`` (FedProx, Li et al., arXiv:1812.06127).
    offset
        A vector for each model ``[K, D]``, in the order of `Params.flat`, that is added to its gradient in every step,
        after clipping and noise (SCAFFOLD, Karimireddy et al., arXiv:1910.06378).
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

    Returns
    -------
    Params
        The trained networks, in the order of `params`.

    Raises
    ------
    ValueError
        If an argument does not fit, in one sentence, before anything is trained.
    """
    one_of("optimiser", optimiser, ("sgd", "momentum", "adam"))
    one_of("loss", loss, LOSSES)
    one_of("sampling", sampling, ("shuffle", "poisson"))
    if (epochs is None) == (steps is None):
        raise ValueError(f"Give either epochs or steps, one of them; got epochs={brief(epochs)}, steps={brief(steps)}.")
    n_models, batch_size = networks(params).n_models, whole("batch_size", batch_size)
    X, y = table(X, y, params.sizes, loss, like=params.biases[0])
    rows, rngs = row_numbers(rows, n_models, len(X)), per_model(seed, n_models, TRAINING)
    settings = {"lr": lr, "weight_decay": weight_decay, "proximal": proximal, "noise_multiplier": noise_multiplier}
    settings = {name: each(name, value, n_models) for name, value in settings.items()}
    if max_norm is not None:
        settings["max_norm"] = each("max_norm", max_norm, n_models, least=_LEAST_NORM)
    elif settings["noise_multiplier"].any():
        raise ValueError("noise_multiplier needs max_norm: the noise is scaled to the clip norm.")
    size = np.array([len(r) for r in rows])
    given = _counts("epochs" if steps is None else "steps", epochs if steps is None else steps, n_models)
    total = n_steps(given, size, batch_size, sampling) if steps is None else given
    order = np.argsort(-total, kind="stable")  # longest first: those still training are a prefix
    settings = {name: torch.tensor(v).to(X) for name, v in settings.items() if name == "lr" or v.any()}
    if offset is not None:
        settings["offset"] = vectors("offset", offset, (n_models, params.n_parameters)).to(X)
    if sampling == "poisson":
        settings["expected"] = torch.from_numpy(np.minimum(batch_size, size)).to(X)
    trained = params.map(lambda t: t.detach().clone())
    with torch.no_grad(), one_thread():
        finite(rows, X=X, **({"y": y} if loss == "regression" else {}))  # labels were looked at before
        for first in range(0, n_models, _PIECE):
            models = order[first : first + _PIECE]
            mine = [rngs[k] for k in models]
            plan = DRAWS[sampling]([rows[k] for k in models], total[models], batch_size, mine)
            picked = torch.from_numpy(models).to(X.device)
            flat = trained[picked].flat()
            own = {name: v[picked] for name, v in settings.items()}
            noise = None
            if "noise_multiplier" in own:  # a model without noise draws none
                sources = [r if n else None for r, n in zip(mine, own["noise_multiplier"].tolist(), strict=True)]
                noise = normal(total[models], params.n_parameters, sources)
            _train(flat, params, X, y, plan, noise, own, optimiser, loss)
            trained.map(lambda all_models, some, at=picked: all_models.index_copy_(0, at, some), params.like(flat))
    return trained


def _counts(name: str, value, n_models: int) -> np.ndarray:
    """A whole number of at least 1 for each model."""
    return each(name, value, n_models, least=1, is_whole=True).astype(int)


def _train(flat, shape, X, y, plan, noise, settings, optimiser, loss) -> None:
    """Train models in place, batch by batch; what all their parameters have in common is done to them as one row."""
    start = flat.clone() if "proximal" in settings else flat
    state = [torch.zeros_like(flat) for _ in range(_STATES[optimiser])]
    views = None
    for step, (index, share) in enumerate(plan, start=1):
        if views is None or len(views[0]) != len(index):
            views = [p[: len(index)] for p in (flat, start, *state)]
            models = shape.like(views[0])
            now = {name: value[: len(index)] for name, value in settings.items()}
        picked, share = index.flatten().to(X.device), share.to(X)
        gradient = _gradients(
            models,
            X.index_select(0, picked).view(*index.shape, -1),
            y.index_select(0, picked).view(*index.shape, -1),
            share,
            loss,
            now.get("max_norm"),
        ).flat()
        if noise is not None:
            # Noise belongs on the sum, but gradients come as averages: it shrinks as much as a row does in the average.
            one = 1 / now["expected"] if "expected" in now else share[:, 0]  # of a row in the average
            spread = (now["noise_multiplier"] * now["max_norm"] * one).unsqueeze(1)
            gradient += next(noise).to(spread) * spread
        _step(*views, gradient=gradient, step=step, optimiser=optimiser, **now)


def _step(w, start, *state, gradient, step, optimiser, lr, weight_decay=None, proximal=None, offset=None, **_):
    """One optimiser step in place, ``[K, D]``; every model given here has taken ``step - 1`` of them before."""
    g = gradient
    if offset is not None:
        g += offset
    if weight_decay is not None:
        g.addcmul_(w, weight_decay.unsqueeze(1))
    if proximal is not None:
        g.addcmul_(w - start, proximal.unsqueeze(1))
    if optimiser == "momentum":
        g = state[0].mul_(_MOMENTUM).add_(g)
    elif optimiser == "adam":
        mean, square = state
        mean.lerp_(g, 1 - _BETAS[0])
        square.mul_(_BETAS[1]).addcmul_(g, g, value=1 - _BETAS[1])
        root = square.sqrt().div_(math.sqrt(1 - _BETAS[1] ** step)).add_(_EPSILON)
        g = mean.div(root).div_(1 - _BETAS[0] ** step)
    w.addcmul_(g, lr.unsqueeze(1), value=-1)

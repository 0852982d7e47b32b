"""Two small networks against each other, many pairs side by side.

The generator turns noise into encoded rows, the critic tells made rows from real ones, and each learns from the
other. As in `fleet`, parameters carry the model as their first axis and one step of all K pairs is a handful of
batched matrix products. Two games are played here:

``"gan"``
    The minimax game of Goodfellow et al. (arXiv:1406.2661, equation 1), the generator with the non-saturating
    loss of their section 3.
``"wgan_gp"``
    The critic scores rows, kept from being steep by a penalty on its slope (Gulrajani et al., arXiv:1704.00028,
    equation 3); the generator's weights are averaged over the last steps.

Categories are drawn with Gumbel-softmax (Jang et al., arXiv:1611.01144): a hard choice for the critic to see, a
soft one for the gradient. So the critic cannot win by noticing that made categories are not quite 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedlab_utils import fleet
from fedlab_utils.fleet import Params

NOISE = 32  # numbers of noise that the generator starts from
LEAK = 0.2  # slope of LeakyReLU below zero
_MOST_OFTEN = 10  # times that a row with a rare label is drawn for once that it would be without balancing


@dataclass(frozen=True)
class Layout:
    """What the generator has to make.

    Attributes
    ----------
    width
        Columns of an encoded row.
    choices
        Groups of 0/1 columns, as in `encoding.Encoder.choices`.
    given
        Start and end of the columns of the label, which the generator is told instead of making them;
        empty without label.
    temperature
        Of Gumbel-softmax: the lower, the closer the soft choice is to the hard one.
    """

    width: int
    choices: tuple[tuple[int, int, bool], ...]
    given: tuple[int, int] = (0, 0)
    temperature: float = 0.5

    @cached_property
    def groups(self) -> Tensor:
        """Columns of each choice, ``[choices, widest]``, filled up with the number of one column too many."""
        ranges = [range(start, end) for start, end, _ in self.choices]
        widest = max(map(len, ranges))
        return torch.tensor([[*r, *[self.width] * (widest - len(r))] for r in ranges])

    @cached_property
    def switched(self) -> Tensor:
        """Columns of the numbers that can be missing, and below them those that say that they are, ``[2, numbers]``."""
        return torch.tensor([(start - 1, end - 1) for start, end, switches in self.choices if switches]).view(-1, 2).T

    @property
    def n_given(self) -> int:
        """Columns of the label."""
        return self.given[1] - self.given[0]


def forward(params: Params, X: Tensor) -> Tensor:
    """Outputs ``[K, n, out]`` of networks with LeakyReLU, from ``[K, n, in]``."""
    for last, (weight, bias) in enumerate(zip(params.weights, params.biases, strict=True), 1 - len(params.biases)):
        X = torch.baddbmm(bias.unsqueeze(1), X, weight.transpose(1, 2))
        X = X if last == 0 else F.leaky_relu(X, LEAK)
    return X


def slope(params: Params, X: Tensor) -> Tensor:
    """Derivative of the critic's score by its input, ``[K, n, in]``, as a formula that autograd can follow.

    The activations are straight lines with a kink: which side of the kink a unit is on does not change with the
    weights (almost everywhere), so the slope is a product of weight matrices with some rows scaled down.
    """
    sides = []
    with torch.no_grad():
        for weight, bias in zip(params.weights[:-1], params.biases[:-1], strict=True):
            X = F.leaky_relu(torch.baddbmm(bias.unsqueeze(1), X, weight.transpose(1, 2)), LEAK)
            sides.append((X > 0).to(X).mul_(1 - LEAK).add_(LEAK))
    back = params.weights[-1].expand(-1, X.shape[1], -1)
    for side, weight in zip(reversed(sides), reversed(params.weights[:-1]), strict=True):
        back = torch.bmm(back * side, weight)
    return back


def generate(params: Params, layout: Layout, label: Tensor, noise: Tensor, gumbel: Tensor) -> Tensor:
    """Encoded rows ``[K, n, width]`` out of noise.

    Parameters
    ----------
    params
        K generators.
    layout
        What they have to make.
    label
        0/1 columns of the label ``[K, n, n_given]``.
    noise
        Standard normal, ``[K, n, NOISE]``.
    gumbel
        ``[K, n, width]``, from the Gumbel distribution: the largest of logit + Gumbel noise is a draw from softmax.
    """
    made = forward(params, torch.cat([noise, label], 2))
    if layout.choices:
        spare = made.new_full((*made.shape[:2], 1), -1e9)  # a column never chosen, which fills groups up
        groups = torch.cat([made + gumbel, spare], 2).index_select(2, layout.groups.flatten())
        chosen = _choose(groups.view(*made.shape[:2], *layout.groups.shape), layout.temperature).flatten(2)
        made = torch.cat([made, spare], 2).index_copy(2, layout.groups.flatten(), chosen)[..., :-1]
    if layout.n_given:
        start, end = layout.given
        made = torch.cat([made[..., :start], label, made[..., end:]], 2)
    if layout.switched.numel():  # a missing number is 0, as in the real rows
        number, gone = layout.switched
        made = made.index_copy(2, number, made.index_select(2, number) * (1 - made.index_select(2, gone)))
    return made


def _choose(noisy: Tensor, temperature: float) -> Tensor:
    """1 for the largest along the last axis and 0 for the others; the gradient is that of a softmax."""
    hard = torch.zeros_like(noisy).scatter_(-1, noisy.argmax(-1, keepdim=True), 1.0)
    if not noisy.requires_grad:
        return hard
    soft = (noisy / temperature).softmax(-1)
    return hard + (soft - soft.detach())  # exactly 0 or 1


def draw_noise(layout: Layout, n: int, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
    """Noise and Gumbel noise for `generate`, from each model's own generator of random numbers.

    Returns
    -------
    noise, gumbel
        float32, ``[K, n, NOISE]`` and ``[K, n, width]``.
    """
    noise = np.stack([rng.standard_normal((n, NOISE), dtype=np.float32) for rng in rngs])
    flat = np.stack([rng.random((n, layout.width), dtype=np.float32) for rng in rngs])
    # Kept off 0 and 1, for which the Gumbel noise would be infinite.
    return torch.from_numpy(noise), -torch.log(-torch.log(torch.from_numpy(flat).clamp(1e-7, 1 - 1e-6)))


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


def train(
    data: Tensor,
    rows: Sequence[np.ndarray],
    layout: Layout,
    rngs: Sequence[np.random.Generator],
    *,
    method: str,
    steps: int,
    hidden: Sequence[int],
    critic_steps: int,
    pack: int,
    batch_size: int,
    lr: float,
    critic_lr: float,
    penalty: float,
    average: float,
) -> Iterator[tuple[Params, np.ndarray, np.ndarray]]:
    """Train K pairs, one generator step at a time.

    Parameters
    ----------
    data
        Encoded rows ``[n, width]``, shared by all models.
    rows
        Row numbers of each model.
    layout
        What the generators have to make.
    rngs
        A generator of random numbers for each model.
    method, steps, hidden, critic_steps, batch_size, lr, critic_lr
        As in `synth.fit`.
    pack
        Rows that the critic judges together, so that it sees a lack of variety (Lin et al., arXiv:1712.04086).
    penalty
        Weight of the slope's squared distance from 1, wgan_gp only.
    average
        How much of the averaged generator weights is kept in each step; 0 means no averaging.

    Yields
    ------
    generator, generator_loss, critic_loss
        After each step: averaged generator weights (changed in place as training goes on), and losses ``[K]``.
    """
    n_models, batch = len(rows), min(batch_size, max(map(len, rows))) * pack
    makers = fleet.init(n_models, (NOISE + layout.n_given, *hidden, layout.width), seed=rngs)
    critics = fleet.init(n_models, (layout.width * pack, *hidden, 1), seed=rngs)
    averaged = makers.clone()
    optimisers = []
    for params, rate in ((makers, lr), (critics, critic_lr)):
        for tensor in params.tensors():
            tensor.requires_grad_()
        optimisers.append(torch.optim.Adam(params.tensors(), lr=rate, betas=(0.5, 0.9), fused=True))
    wasserstein = method == "wgan_gp"
    chances = [balanced(data[torch.from_numpy(r), slice(*layout.given)]) for r in rows]

    def batches() -> tuple[Tensor, Tensor]:
        """Real rows, and made rows with the same labels: how often a label occurs gives nothing away."""
        places = [np.searchsorted(c, rng.random(batch), "right") for c, rng in zip(chances, rngs, strict=True)]
        index = np.stack([r[place] for r, place in zip(rows, places, strict=True)])
        real = data[torch.from_numpy(index)]
        noise, gumbel = draw_noise(layout, batch, rngs)
        return real, generate(makers, layout, real[..., slice(*layout.given)], noise, gumbel)

    def packed(some: Tensor) -> Tensor:
        return some.reshape(n_models, batch // pack, -1)

    for step in range(1, steps + 1):
        for _ in range(critic_steps):
            with torch.no_grad():
                real, made = map(packed, batches())
            scores = forward(critics, torch.cat([real, made], 1)).squeeze(2)
            on_real, on_made = scores[:, : real.shape[1]], scores[:, real.shape[1] :]
            if wasserstein:  # between a real row and a made one the slope of the best critic is 1 (Gulrajani et al.)
                mix = torch.from_numpy(np.stack([rng.random((real.shape[1], 1), dtype=np.float32) for rng in rngs]))
                steepness = slope(critics, real + mix * (made - real)).square().sum(2).add(1e-12).sqrt()
                critic_loss = (on_made - on_real).mean(1) + penalty * (steepness - 1).square().mean(1)
            else:
                critic_loss = (F.softplus(-on_real) + F.softplus(on_made)).mean(1)
            _descend(optimisers[1], critics, critic_loss)
        on_made = forward(critics, packed(batches()[1])).squeeze(2)
        maker_loss = (-on_made if wasserstein else F.softplus(-on_made)).mean(1)
        _descend(optimisers[0], makers, maker_loss)
        with torch.no_grad():
            keep = min(average, (step - 1) / (step + 9))  # early weights are forgotten sooner
            averaged.map(lambda old, new, w=1 - keep: old.lerp_(new, w), makers)
        yield averaged, maker_loss.detach().numpy().copy(), critic_loss.detach().numpy().copy()


def _descend(optimiser: torch.optim.Optimizer, params: Params, losses: Tensor) -> None:
    """One step on each model's own loss: the gradient of their sum holds each model's in that model's place."""
    tensors = params.tensors()
    for tensor, gradient in zip(tensors, torch.autograd.grad(losses.sum(), tensors), strict=True):
        tensor.grad = gradient.contiguous()  # the fused optimiser does not look at strides
    optimiser.step()

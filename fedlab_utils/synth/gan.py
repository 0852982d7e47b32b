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
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedlab_utils import fleet
from fedlab_utils.fleet import Params
from fedlab_utils.synth import players
from fedlab_utils.synth.draws import NOISE as NOISE
from fedlab_utils.synth.draws import Draws
from fedlab_utils.synth.draws import balanced as balanced
from fedlab_utils.synth.draws import draw_noise as draw_noise
from fedlab_utils.synth.players import LEAK as LEAK
from fedlab_utils.synth.players import Players
from fedlab_utils.synth.players import forward as forward
from fedlab_utils.synth.players import slope as slope


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
    outputs = forward(params, torch.cat([noise, label], 2)).transpose(1, 2)
    return _columns(outputs, _noisy(outputs, layout, gumbel), layout, label).transpose(1, 2).contiguous()


def _noisy(outputs: Tensor, layout: Layout, gumbel: Tensor) -> Tensor:
    """Outputs of the generators ``[K, width, n]`` with noise, choice by choice: ``[K, widest, choices, n]``."""
    if not layout.choices:
        return outputs
    spare = outputs.new_full((len(outputs), 1, outputs.shape[2]), -1e9)  # a column never chosen, which fills groups up
    noisy = torch.cat([outputs + gumbel.transpose(1, 2), spare], 1)
    return noisy.index_select(1, layout.groups.T.flatten()).unflatten(1, layout.groups.T.shape)


def _columns(outputs: Tensor, noisy: Tensor, layout: Layout, label: Tensor) -> Tensor:
    """Encoded rows column by column, ``[K, width, n]``: choices are among columns. `noisy` is that of `_noisy`."""
    made = outputs
    if layout.choices:
        chosen = _choose(noisy, layout.temperature).flatten(1, 2)
        made = F.pad(made, (0, 0, 0, 1)).index_copy(1, layout.groups.T.flatten(), chosen)[:, :-1]
    if layout.n_given:
        start, end = layout.given
        made = torch.cat([made[:, :start], label.transpose(1, 2), made[:, end:]], 1)
    if layout.switched.numel():  # a missing number is 0, as in the real rows
        number, gone = layout.switched
        made = made.index_copy(1, number, made.index_select(1, number) * (1 - made.index_select(1, gone)))
    return made


def _choose(noisy: Tensor, temperature: float) -> Tensor:
    """1 for the first largest along the second axis and 0 for the others; the gradient is that of a softmax."""
    with torch.no_grad():
        hard = torch.eq(noisy, noisy.amax(1, keepdim=True), out=torch.empty_like(noisy))
        free = 1 - hard[:, 0]
        for one in hard.unbind(1)[1:]:  # several may be equally large
            free -= one.mul_(free)
    if not noisy.requires_grad:
        return hard
    soft = (noisy / temperature).movedim(1, -1).softmax(-1).movedim(-1, 1)
    return hard + (soft - soft.detach())  # exactly 0 or 1


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
    makers = Players(fleet.init(n_models, (NOISE + layout.n_given, *hidden, layout.width), seed=rngs), lr)
    critics = Players(fleet.init(n_models, (layout.width * pack, *hidden, 1), seed=rngs), critic_lr)
    averaged = makers.flat.clone()
    smooth = makers.views(averaged)
    wasserstein = method == "wgan_gp"
    draws = Draws(data, rows, layout.given, rngs, (critic_steps + 1, batch), batch // pack if wasserstein else 0)

    def packed(some: Tensor) -> Tensor:
        return some.reshape(n_models, batch // pack, -1)

    for step in range(1, steps + 1):
        real, noise, gumbel, mixes = draws.draw()
        # The generators wait while the critics learn, so that all their answers are made at once.
        made = _make(makers.params, layout, real[..., slice(*layout.given)], noise, gumbel)
        *parts, last = (slice(start, start + batch) for start in range(0, real.shape[1], batch))
        for some, mix in zip(parts, mixes, strict=True):
            mix = mix if wasserstein else None
            critic_loss = _critic_slopes(critics, packed(real[:, some]), packed(made.rows[:, some]), mix, penalty)
            critics.step()
        maker_loss = _maker_slopes(makers, critics, layout, made.part(last), pack, wasserstein)
        makers.step()
        keep = min(average, (step - 1) / (step + 9))  # early weights are forgotten sooner
        averaged.lerp_(makers.flat, 1 - keep)
        yield smooth, maker_loss.numpy(), critic_loss.numpy()


class _Made(NamedTuple):
    """Rows that generators made, and how they came about."""

    inputs: list[Tensor]  # what entered each layer, [K, n, in]
    outputs: Tensor  # of the last layer, column by column, [K, width, n]
    noisy: Tensor  # of `_noisy`
    columns: Tensor  # the rows, column by column
    rows: Tensor  # [K, n, width]

    def part(self, some: slice) -> _Made:
        """Some of the rows."""
        columns = (tensor[..., some] for tensor in (self.outputs, self.noisy, self.columns))
        return _Made([into[:, some] for into in self.inputs], *columns, self.rows[:, some])


@torch.no_grad()
def _make(params: Params, layout: Layout, label: Tensor, noise: Tensor, gumbel: Tensor) -> _Made:
    """The rows of `generate`, with what it takes to learn from them."""
    inputs = players.signals(params, torch.cat([noise, label], 2))
    outputs = torch.baddbmm(params.biases[-1].unsqueeze(2), params.weights[-1], inputs[-1].transpose(1, 2))
    noisy = _noisy(outputs, layout, gumbel)
    columns = _columns(outputs, noisy, layout, label)
    return _Made(inputs, outputs, noisy, columns, columns.transpose(1, 2).contiguous())


def _lost(scores: Tensor, sign: Tensor, wasserstein: bool) -> tuple[Tensor, Tensor]:
    """Loss of each score ``[K, n, 1]`` and its derivative: it should be high where `sign` is -1, and low where it is 1.

    The minimax game's loss is softplus(sign score), minus the logarithm of what the critic says to the right answer.
    """
    signed = scores * sign
    if wasserstein:
        return signed, sign.expand_as(scores)
    return F.softplus(signed), signed.sigmoid().mul_(sign)


def _back_to_outputs(made: _Made, layout: Layout, back: Tensor) -> Tensor:
    """The slope by the generators' outputs, from that by the rows that were made of them; both ``[K, n, width]``.

    Where a choice was made it is the slope of a softmax.
    """
    back = back.transpose(1, 2).contiguous()
    if layout.switched.numel():
        number, gone = layout.switched
        slope, values = back.index_select(1, number), made.outputs.index_select(1, number)
        back.index_add_(1, gone, slope * values, alpha=-1)
        back.index_copy_(1, number, slope * (1 - made.columns.index_select(1, gone)))
    if layout.n_given:
        back[:, slice(*layout.given)] = 0
    if layout.choices:
        where, soft = layout.groups.T.flatten(), (made.noisy / layout.temperature).softmax(1)
        back = F.pad(back, (0, 0, 0, 1))
        down = back.index_select(1, where).view(soft.shape)
        down = (down - (down * soft).sum(1, keepdim=True)).mul_(soft).div_(layout.temperature)
        back = back.index_copy_(1, where, down.flatten(1, 2))[:, :-1]
    return back.transpose(1, 2)


@torch.no_grad()
def _maker_slopes(
    makers: Players, critics: Players, layout: Layout, made: _Made, pack: int, wasserstein: bool
) -> Tensor:
    """Work out the generators' slopes, for rows that they made and critics see packed; the losses ``[K]``."""
    n_models, n, width = made.rows.shape
    seen = players.signals(critics.params, made.rows.reshape(n_models, n // pack, pack * width))
    losses, back = _lost(players.outputs(critics.params, seen[-1]), torch.tensor(-1.0), wasserstein)
    weights = critics.params.weights
    back = players.backwards(weights, seen, (back / losses.shape[1]) * weights[-1])[-1]
    makers.learn(made.inputs, _back_to_outputs(made, layout, back.view(n_models, n, width)))
    return losses.sum((1, 2)) / losses.shape[1]


@torch.no_grad()
def _critic_slopes(critics: Players, real: Tensor, made: Tensor, mix: Tensor | None, penalty: float) -> Tensor:
    """Work out the critics' slopes.

    Parameters
    ----------
    critics
        K critics.
    real, made
        Packed rows ``[K, m, in]``.
    mix
        Where between real and made the slope of the score is looked at, ``[K, m, 1]``; None for the minimax game.
    penalty
        Weight of that slope's squared distance from 1.

    Returns
    -------
    Tensor
        Losses ``[K]``.
    """
    m = real.shape[1]
    between = [] if mix is None else [real + mix * (made - real)]
    inputs = players.signals(critics.params, torch.cat([real, made, *between], 1))
    judged = [into[:, : 2 * m] for into in inputs]
    sign = torch.tensor([-1.0, 1.0]).repeat_interleave(m)[:, None]
    losses, back = _lost(players.outputs(critics.params, judged[-1]), sign, mix is not None)
    critics.learn(judged, back / m)
    losses = losses.sum((1, 2)) / m
    if mix is None:
        return losses
    return losses + penalty * _add_penalty(critics, [into[:, 2 * m :] for into in inputs], penalty)


def _add_penalty(critics: Players, inputs: Sequence[Tensor], penalty: float) -> Tensor:
    """Add the slopes of the penalty, for rows that entered the layers so; the mean square itself ``[K]``."""
    weights, slopes = critics.params.weights, critics.slopes.weights
    *backs, gradient = players.backwards(weights, inputs, weights[-1])
    steepness = gradient.square().sum(2, keepdim=True).add_(1e-12).sqrt_()
    too_steep = steepness - 1
    share = torch.tensor(penalty) / gradient.shape[1]
    back = gradient.mul_((too_steep * share).div_(steepness).mul_(2))
    for weight, slope_, signal, into in zip(weights, slopes, inputs[1:], reversed(backs), strict=False):
        slope_.baddbmm_(into.transpose(1, 2), back)
        back = players.through(torch.bmm(back, weight.transpose(1, 2)), signal)
    slopes[-1].add_(back.sum(1, keepdim=True))
    return too_steep.square_().mean((1, 2))

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
from fedlab_utils.synth import players
from fedlab_utils.synth.players import LEAK as LEAK
from fedlab_utils.synth.players import Players
from fedlab_utils.synth.players import forward as forward
from fedlab_utils.synth.players import slope as slope

NOISE = 32  # numbers of noise that the generator starts from
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
    return _rows(forward(params, torch.cat([noise, label], 2)), layout, label, gumbel)


def _rows(outputs: Tensor, layout: Layout, label: Tensor, gumbel: Tensor) -> Tensor:
    """Outputs of the generators as encoded rows, both ``[K, n, width]``."""
    made = outputs.permute(2, 0, 1)  # column by column: choices are among columns
    if layout.choices:
        made, where = made.contiguous(), layout.groups.T.flatten()
        spare = made.new_full((1, *made.shape[1:]), -1e9)  # a column never chosen, which fills groups up
        groups = torch.cat([made + gumbel.permute(2, 0, 1), spare]).index_select(0, where)
        chosen = _choose(groups.view(*layout.groups.T.shape, *made.shape[1:]), layout.temperature)
        made = torch.cat([made, spare]).index_copy(0, where, chosen.flatten(0, 1))[:-1]
    if layout.n_given:
        start, end = layout.given
        made = torch.cat([made[:start], label.permute(2, 0, 1), made[end:]])
    if layout.switched.numel():  # a missing number is 0, as in the real rows
        number, gone = layout.switched
        made = made.index_copy(0, number, made.index_select(0, number) * (1 - made.index_select(0, gone)))
    return made.permute(1, 2, 0).contiguous()


def _choose(noisy: Tensor, temperature: float) -> Tensor:
    """1 for the first largest along the first axis and 0 for the others; the gradient is that of a softmax."""
    largest = noisy.detach() == noisy.detach().amax(0)
    taken = largest[0].clone()
    for one in largest[1:]:  # several may be equally large
        one &= ~taken
        taken |= one
    hard = largest.to(noisy)
    if not noisy.requires_grad:
        return hard
    soft = (noisy / temperature).movedim(0, -1).softmax(-1).movedim(-1, 0)
    return hard + (soft - soft.detach())  # exactly 0 or 1


def draw_noise(layout: Layout, n: int, rngs: Sequence[np.random.Generator]) -> tuple[Tensor, Tensor]:
    """Noise and Gumbel noise for `generate`, from each model's own generator of random numbers.

    Returns
    -------
    noise, gumbel
        float32, ``[K, n, NOISE]`` and ``[K, n, width]``.
    """
    noise = np.empty((len(rngs), n, NOISE), np.float32)
    flat = np.empty((len(rngs), n, layout.width), np.float32)
    for k, rng in enumerate(rngs):
        rng.standard_normal(out=noise[k], dtype=np.float32)
        rng.random(out=flat[k], dtype=np.float32)
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
    makers = Players(fleet.init(n_models, (NOISE + layout.n_given, *hidden, layout.width), seed=rngs), lr)
    critics = Players(fleet.init(n_models, (layout.width * pack, *hidden, 1), seed=rngs), critic_lr)
    averaged = makers.flat.clone()
    smooth = makers.views(averaged)
    wasserstein = method == "wgan_gp"
    chances = [balanced(data[torch.from_numpy(r), slice(*layout.given)]) for r in rows]

    def batches() -> tuple[Tensor, Tensor, Tensor]:
        """Real rows, and what is needed to make rows with the same labels: how often one occurs gives nothing away."""
        places = [np.searchsorted(c, rng.random(batch), "right") for c, rng in zip(chances, rngs, strict=True)]
        index = np.concatenate([r[place] for r, place in zip(rows, places, strict=True)])
        real = data.index_select(0, torch.from_numpy(index)).view(n_models, batch, -1)
        return real, *draw_noise(layout, batch, rngs)

    def packed(some: Tensor) -> Tensor:
        return some.reshape(n_models, batch // pack, -1)

    for step in range(1, steps + 1):
        drawn, mixes = [], []
        for _ in range(critic_steps):
            drawn.append(batches())
            if wasserstein:
                size = (batch // pack, 1)
                mixes.append(torch.from_numpy(np.stack([rng.random(size, dtype=np.float32) for rng in rngs])))
        # The generators wait meanwhile, so that all their answers are made at once.
        real, noise, gumbel = (torch.cat(parts, 1) for parts in zip(*drawn, strict=True))
        answers = generate(makers.params, layout, real[..., slice(*layout.given)], noise, gumbel).split(batch, 1)
        for (real, *_), made, mix in zip(drawn, answers, mixes or [None] * critic_steps, strict=True):
            critic_loss = _critic_slopes(critics, packed(real), packed(made), mix, penalty)
            critics.step()
        real, *chance = batches()
        maker_loss = _maker_slopes(makers, critics, layout, real[..., slice(*layout.given)], *chance, pack, wasserstein)
        makers.step()
        keep = min(average, (step - 1) / (step + 9))  # early weights are forgotten sooner
        averaged.lerp_(makers.flat, 1 - keep)
        yield smooth, maker_loss.numpy(), critic_loss.numpy()


def _lost(scores: Tensor, sign: Tensor, wasserstein: bool) -> tuple[Tensor, Tensor]:
    """Loss of each score ``[K, n, 1]`` and its derivative: it should be high where `sign` is -1, and low where it is 1.

    The minimax game's loss is softplus(sign score), minus the logarithm of what the critic says to the right answer.
    """
    signed = scores * sign
    if wasserstein:
        return signed, sign.expand_as(scores)
    return F.softplus(signed), signed.sigmoid().mul_(sign)


def _back_to_outputs(outputs: Tensor, layout: Layout, gumbel: Tensor, rows: Tensor, back: Tensor) -> Tensor:
    """The slope by the generators' outputs, from that by the rows that `_rows` made of them; all ``[K, n, width]``.

    Where a choice was made it is the slope of a softmax.
    """
    back = back.permute(2, 0, 1).contiguous()  # column by column, as in `_rows`
    if layout.switched.numel():
        number, gone = layout.switched
        slope, values = back.index_select(0, number), outputs.permute(2, 0, 1).index_select(0, number)
        back.index_add_(0, gone, slope * values, alpha=-1)
        back.index_copy_(0, number, slope * (1 - rows.permute(2, 0, 1).index_select(0, gone)))
    if layout.n_given:
        back[slice(*layout.given)] = 0
    if layout.choices:
        where, shape = layout.groups.T.flatten(), (*layout.groups.T.shape, *back.shape[1:])
        spare = back.new_full((1, *back.shape[1:]), -1e9)
        noisy = torch.cat([(outputs + gumbel).permute(2, 0, 1), spare]).index_select(0, where)
        soft = (noisy.view(shape) / layout.temperature).movedim(0, -1).softmax(-1).movedim(-1, 0)
        back = torch.cat([back, torch.zeros_like(spare)])
        down = back.index_select(0, where).view(shape)
        down = (down - (down * soft).sum(0)).mul_(soft).div_(layout.temperature)
        back = back.index_copy_(0, where, down.flatten(0, 1))[:-1]
    return back.permute(1, 2, 0).contiguous()


@torch.no_grad()
def _maker_slopes(
    makers: Players,
    critics: Players,
    layout: Layout,
    label: Tensor,
    noise: Tensor,
    gumbel: Tensor,
    pack: int,
    wasserstein: bool,
) -> Tensor:
    """Work out the generators' slopes, for rows that are made as by `generate` and packed; the losses ``[K]``."""
    inputs, sides = players.signals(makers.params, torch.cat([noise, label], 2))
    outputs = players.outputs(makers.params, inputs[-1])
    rows = _rows(outputs, layout, label, gumbel)
    seen, kinks = players.signals(critics.params, rows.view(len(rows), rows.shape[1] // pack, -1))
    losses, back = _lost(players.outputs(critics.params, seen[-1]), torch.tensor(-1.0), wasserstein)
    weights = critics.params.weights
    back = players.backwards(weights, kinks, (back / losses.shape[1]) * weights[-1])[-1]
    makers.learn(inputs, sides, _back_to_outputs(outputs, layout, gumbel, rows, back.view_as(rows)))
    return losses.mean((1, 2))


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
    inputs, sides = players.signals(critics.params, torch.cat([real, made, *between], 1))
    judged = [into[:, : 2 * m] for into in inputs]
    sign = torch.tensor([-1.0, 1.0]).repeat_interleave(m)[:, None]
    losses, back = _lost(players.outputs(critics.params, judged[-1]), sign, mix is not None)
    critics.learn(judged, [side[:, : 2 * m] for side in sides], back / m)
    losses = losses.sum((1, 2)) / m
    if mix is None:
        return losses
    return losses + penalty * _add_penalty(critics, [side[:, 2 * m :] for side in sides], penalty)


def _add_penalty(critics: Players, sides: Sequence[Tensor], penalty: float) -> Tensor:
    """Add the slopes of the penalty, for rows on these sides of the kinks; the mean square itself ``[K]``."""
    weights, slopes = critics.params.weights, critics.slopes.weights
    *backs, gradient = players.backwards(weights, sides, weights[-1])
    steepness = gradient.square().sum(2, keepdim=True).add_(1e-12).sqrt_()
    too_steep = steepness - 1
    share = torch.tensor(penalty) / gradient.shape[1]
    back = gradient.mul_((too_steep * share).div_(steepness).mul_(2))
    for weight, slope_, side, into in zip(weights, slopes, sides, reversed(backs), strict=False):
        slope_.baddbmm_(into.transpose(1, 2), back)
        back = torch.bmm(back, weight.transpose(1, 2)).mul_(side)
    slopes[-1].add_(back.sum(1, keepdim=True))
    return too_steep.square_().mean((1, 2))

"""Networks that play against each other: their numbers, their slopes, and one step down them.

K networks with LeakyReLU stand side by side, as in `fleet`. Slopes are worked out layer by layer as sums of products:
autograd would spend more time on its notes than on matrices as small as these. What is more than a network (a choice
among categories, a loss) is left to autograd.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam

from fedlab_utils.fleet import Params

LEAK = 0.2  # slope of LeakyReLU below zero


class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980) on tensors, in place.

    It is the function behind ``torch.optim.Adam``, whose class loads PyTorch's compiler first: seconds of every start.

    Attributes
    ----------
    lr
        The rate, which may change between steps.
    """

    def __init__(self, tensors: Sequence[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999)) -> None:
        self._tensors, self.lr, self._betas = list(tensors), lr, betas
        self._means, self._squares = ([torch.zeros_like(t) for t in self._tensors] for _ in range(2))
        self._turns = [torch.tensor(0.0) for _ in self._tensors]

    @torch.no_grad()
    def step(self, slopes: Sequence[Tensor]) -> None:
        """One step down these slopes."""
        others = dict(weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False, fused=True)
        first, second = self._betas
        state = self._means, self._squares, [], self._turns
        adam(self._tensors, list(slopes), *state, lr=self.lr, beta1=first, beta2=second, **others)


class Players:
    """K networks whose numbers lie side by side, as do their slopes, so that a step of Adam is one call.

    Attributes
    ----------
    flat
        All numbers ``[K D]``.
    params, slopes
        The numbers, and the derivatives of each model's own loss by them, in the shapes of the networks.
    """

    def __init__(self, params: Params, rate: float) -> None:
        self._shapes = [t.shape for t in params.tensors()]
        self.flat = torch.cat([t.flatten() for t in params.tensors()])
        self.params, self._down = self.views(self.flat), torch.zeros_like(self.flat)
        self.slopes = self.views(self._down)
        self._adam = Adam([self.flat], rate, betas=(0.5, 0.9))

    def views(self, flat: Tensor) -> Params:
        """Parts of a tensor like `flat` as parameters."""
        parts = flat.split([shape.numel() for shape in self._shapes])
        tensors = [part.view(shape) for part, shape in zip(parts, self._shapes, strict=True)]
        return Params(tensors[::2], tensors[1::2])

    def step(self) -> None:
        """One step down `slopes`."""
        self._adam.step([self._down])

    def learn(self, inputs: Sequence[Tensor], back: Tensor) -> None:
        """Work out `slopes` from what entered each layer, as of `signals`, and the slopes by the outputs."""
        for layer, into in reversed(list(enumerate(inputs))):
            torch.bmm(back.transpose(1, 2), into, out=self.slopes.weights[layer])
            torch.sum(back, 1, out=self.slopes.biases[layer])
            if layer:
                back = through(torch.bmm(back, self.params.weights[layer]), into)


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
    with torch.no_grad():
        inputs = signals(params, X)
    return backwards(params.weights, inputs, params.weights[-1].expand(-1, X.shape[1], -1))[-1]


def signals(params: Params, X: Tensor) -> list[Tensor]:
    """What enters each layer."""
    inputs = [X]
    for weight, bias in zip(params.weights[:-1], params.biases[:-1], strict=True):
        out = torch.baddbmm(bias.unsqueeze(1), inputs[-1], weight.transpose(1, 2))
        inputs.append(F.leaky_relu_(out, LEAK))
    return inputs


def outputs(params: Params, signal: Tensor) -> Tensor:
    """What the last layer makes of what enters it."""
    return torch.baddbmm(params.biases[-1].unsqueeze(1), signal, params.weights[-1].transpose(1, 2))


def through(back: Tensor, signal: Tensor) -> Tensor:
    """What a kink lets through of a slope: all, or `LEAK` of it where the signal that left the kink is not positive."""
    return torch.ops.aten.leaky_relu_backward(back, signal, LEAK, True)  # what autograd itself calls


def backwards(weights: Sequence[Tensor], inputs: Sequence[Tensor], back: Tensor) -> list[Tensor]:
    """The slope by the output of each layer but the last, last first, and by the network's input.

    `inputs` are those of `signals`, and `back` is the slope by what enters the last layer.
    """
    found = []
    for into, weight in zip(reversed(inputs[1:]), reversed(weights[:-1]), strict=True):
        found.append(through(back, into))
        back = torch.bmm(found[-1], weight)
    return [*found, back]

"""DP-SGD by Opacus (Yousefpour et al., arXiv:2109.12298), for comparison only.

It is fed in two ways: as its tutorials do it, by a `DataLoader`; and at its fastest for networks as small as these, by
Poisson batches cut from the table (the loader collects them row by row) and torch's expanded weights instead of hooks.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as loss
from torch.utils.data import DataLoader, TensorDataset

with warnings.catch_warnings():  # about its own dependencies
    warnings.simplefilter("ignore")
    from opacus import PrivacyEngine


def trainer(
    arrays: Sequence[np.ndarray],
    X: Tensor,
    y: Tensor,
    *,
    batch: int,
    lr: float,
    clip: float,
    noise: float,
    loader: bool,
) -> Callable[[int], Tensor]:
    """A function that trains one model so many steps further and returns its parameters in one row."""
    layers: list[torch.nn.Module] = []
    for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
        linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
        linear.weight.data, linear.bias.data = torch.from_numpy(weight).clone(), torch.from_numpy(bias).clone()
        layers += [torch.nn.ReLU(), linear] if layers else [linear]
    model = torch.nn.Sequential(*layers)
    with warnings.catch_warnings():  # that its noise is not a cryptographic one
        warnings.simplefilter("ignore")
        model, optimiser, loaded = PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=lr),
            data_loader=DataLoader(TensorDataset(X, y), batch_size=batch),
            noise_multiplier=noise,
            max_grad_norm=clip,
            grad_sample_mode="hooks" if loader else "ew",
        )
    # It divides by int(rows / batches), here a little off the expected batch size. Let both divide alike.
    optimiser.expected_batch_size = batch

    def batches() -> Iterator:
        while True:
            if loader:
                yield from loaded
            else:
                drawn = torch.rand(len(X)) < batch / len(X)
                yield X[drawn], y[drawn]

    endless = batches()

    def train(steps: int) -> Tensor:
        with warnings.catch_warnings():  # about its own hooks
            warnings.simplefilter("ignore")
            for _ in range(steps):
                rows, labels = next(endless)
                optimiser.zero_grad()
                loss(model(rows), labels).backward()
                optimiser.step()
        return torch.cat([p.detach().flatten() for p in model.parameters()])

    return train

"""A plain PyTorch loop: one hospital after the other, ``torch.nn`` and ``torch.optim``."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedlab_utils import fleet
from peers import work


def network() -> nn.Sequential:
    """The network that `work.start` describes, with those parameters."""
    layers: list[nn.Module] = []
    for width_in, width_out in zip(work.SIZES[:-1], work.SIZES[1:], strict=True):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    arrays = fleet.to_arrays(work.start(), 0)
    model.load_state_dict(dict(zip(model.state_dict(), map(torch.from_numpy, arrays), strict=True)))
    return model


def epoch(model: nn.Module, optimiser: torch.optim.Optimizer, X: Tensor, y: Tensor, batch: int) -> None:
    """One pass over a hospital's rows. Slicing a tensor is quicker than a DataLoader would be."""
    loss = nn.BCEWithLogitsLoss()
    for rows in torch.randperm(len(X)).split(batch):
        optimiser.zero_grad()
        loss(model(X[rows]), y[rows]).backward()
        optimiser.step()


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=work.LR)


def simulation(n_hospitals: int, n_rows: int, batch: int = work.BATCH):
    """A function that runs so many rounds and returns the global model; models are made beforehand."""
    tables = [work.hospital(k, n_rows) for k in range(n_hospitals)]
    models = [network() for _ in tables]
    optimisers = [sgd(model) for model in models]

    def run(rounds: int) -> list[Tensor]:
        world = network().state_dict()
        for _ in range(rounds):
            mean = {name: torch.zeros_like(t) for name, t in world.items()}
            for model, optimiser, (X, y) in zip(models, optimisers, tables, strict=True):
                model.load_state_dict(world)
                epoch(model, optimiser, X, y, batch)
                for name, tensor in model.state_dict().items():
                    mean[name].add_(tensor, alpha=1 / n_hospitals)  # all hospitals have as many rows
            world = mean
        return list(world.values())

    return run

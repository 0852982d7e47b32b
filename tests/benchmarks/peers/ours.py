"""The same rounds with the course's own engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from torch import Tensor

from fedlab_utils import data, federated, fleet
from peers import work


def simulation(n_hospitals: int, n_rows: int, batch: int = work.BATCH):
    """A function that runs so many rounds of training and averaging and returns the global model."""
    X, y = work.pooled(n_hospitals, n_rows)
    rows = list(np.arange(len(X)).reshape(n_hospitals, n_rows))
    rngs = [np.random.default_rng(k) for k in range(n_hospitals)]

    def run(rounds: int) -> list[Tensor]:
        world = work.start()
        for _ in range(rounds):
            everywhere = world.map(lambda t: t.expand(n_hospitals, *t.shape[1:]))
            local = fleet.fit(everywhere, X, y, rows, epochs=1, batch_size=batch, lr=work.LR, seed=rngs)
            world = local.map(lambda t: t.mean(0, keepdim=True))  # all hospitals have as many rows
        return [t[0] for t in world.tensors()]

    return run


def federation(n_hospitals: int, n_rows: int) -> data.Federation:
    """The made-up hospitals as a federation; test rows are the training rows, to have as many."""
    names = [f"x{i}" for i in range(work.SIZES[0])]
    few = pd.DataFrame(np.random.default_rng(0).normal(size=(40, len(names))), columns=names)
    small = data.from_frame(few.assign(ill=np.arange(40) % 2), target="ill", n_hospitals=2)
    template, tables = small.hospitals[0], [work.hospital(k, n_rows) for k in range(n_hospitals)]
    hospitals = [
        replace(template, name=f"Hospital {k}", X_train=X, y_train=y, X_test=X, y_test=y)
        for k, (X, y) in enumerate(tables)
    ]
    return replace(small, hospitals=tuple(hospitals))


def train(world: data.Federation, rounds: int, batch: int = work.BATCH) -> list[Tensor]:
    """`federated.train`, which also evaluates the global model in every hospital after each round."""
    run = federated.train(
        world, rounds=rounds, batch_size=batch, lr=work.LR, hidden=work.SIZES[1:-1], on_round=lambda run: None
    )
    return [t[0] for t in run.params.tensors()]

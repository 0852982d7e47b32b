"""The work that every engine is given: made-up hospitals, and one network to start from."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet

SIZES = (20, 64, 64, 1)
BATCH, LR = 32, 0.1


@cache
def hospital(k: int, n_rows: int) -> tuple[Tensor, Tensor]:
    """Rows ``[n, 20]`` and labels ``[n, 1]`` of hospital `k`: a noisy linear rule."""
    rng = np.random.default_rng((7, k))
    X = rng.standard_normal((n_rows, SIZES[0]), dtype=np.float32)
    y = (X[:, :4].sum(1) + rng.standard_normal(n_rows) > 0).astype(np.float32)
    return torch.from_numpy(X), torch.from_numpy(y[:, None])


def pooled(n_hospitals: int, n_rows: int) -> tuple[Tensor, Tensor]:
    """Rows and labels of so many hospitals, one after the other."""
    tables = [hospital(k, n_rows) for k in range(n_hospitals)]
    return torch.cat([X for X, _ in tables]), torch.cat([y for _, y in tables])


def start() -> fleet.Params:
    """The global model before the first round."""
    return fleet.init(1, SIZES, seed=0)

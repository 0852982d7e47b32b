"""An autoencoder in federated rounds: the network that is usually meant by "AI" here, as an honest contrast.

It learns to give back a scan that passed a narrow layer. What it cannot give back is left over, as with components.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fedlab_utils import fleet
from fedlab_utils._arguments import whole, widths
from fedlab_utils.anomalies.components import _rows
from fedlab_utils.fleet import Params
from fedlab_utils.fleet.randomness import LOCAL_WORK, generator


@dataclass(frozen=True, eq=False, repr=False)
class AutoEncoder:
    """A trained one.

    Attributes
    ----------
    params
        One network, as many outputs as inputs.
    error
        Squared error of a pixel of the training scans.
    """

    params: Params
    error: float

    def __repr__(self) -> str:
        return f"AutoEncoder({'-'.join(map(str, self.params.sizes))})"

    def residual(self, scans: np.ndarray) -> np.ndarray:
        """What the network does not give back, ``[n, d]``."""
        scans = _rows(scans, self.params.sizes[0])
        with torch.no_grad(), fleet.one_thread():
            given = fleet.forward(self.params, torch.tensor(scans, dtype=torch.float32))[0]
        return scans - given.double().numpy()


def train_autoencoder(
    parts: Sequence[np.ndarray],
    *,
    hidden: Sequence[int] = (64,),
    rounds: int = 20,
    local_epochs: int = 5,
    batch_size: int = 32,
    lr: float = 1e-3,
    seed: int = 0,
) -> AutoEncoder:
    """Federated averaging of autoencoders, with Adam at the hospitals.

    Parameters
    ----------
    parts
        Each hospital's normal scans ``[n, d]``.
    hidden
        Widths of the layers between.
    rounds, local_epochs, batch_size, lr
        As in ``federated.train``.
    seed
        Of the start and of all batches.

    Raises
    ------
    ValueError
        If an argument cannot be.
    """
    parts, rounds = [_rows(p) for p in parts], whole("rounds", rounds)
    X = torch.tensor(np.vstack(parts), dtype=torch.float32)
    ends = np.cumsum([len(p) for p in parts])
    rows = [np.arange(end - len(p), end) for p, end in zip(parts, ends, strict=True)]
    share = torch.tensor([len(p) / ends[-1] for p in parts], dtype=torch.float32)
    model = fleet.init(1, (X.shape[1], *widths(hidden), X.shape[1]), seed=seed)
    rngs = [generator(seed, 0, LOCAL_WORK, h) for h in range(len(parts))]
    work = dict(epochs=local_epochs, batch_size=batch_size, lr=lr, optimiser="adam", loss="regression", seed=rngs)
    for _ in range(rounds):
        sent = fleet.fit(model[[0] * len(parts)], X, X, rows, **work)
        model = model.like(share @ sent.flat()[None])
    found = AutoEncoder(model, 0.0)
    return AutoEncoder(model, float((found.residual(X) ** 2).mean()))

"""What a hospital makes of a finished training by itself: the shared part, its own part, and steps on its own rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import number, one_of, whole
from fedlab_utils.data import Federation
from fedlab_utils.federated.plan import as_replicates, fingerprint, stamp, training_rows
from fedlab_utils.federated.scores import predict
from fedlab_utils.fleet.randomness import FINE_TUNING, generator

if TYPE_CHECKING:
    from fedlab_utils.federated.runs import FederatedRun


@dataclass(frozen=True)
class Tuning:
    """How a hospital goes on by itself: arguments of `FederatedRun.personal`, checked."""

    steps: int
    lr: float | None
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch_size", 1), ("seed", 0)):
            object.__setattr__(self, name, whole(name, getattr(self, name), least))
        if self.lr is not None:
            object.__setattr__(self, "lr", number("lr", self.lr))


@dataclass(frozen=True, repr=False)
class PersonalModel:
    """What one hospital uses: a network for each seed of a run.

    Attributes
    ----------
    params
        The networks, K = number of seeds.
    task, hospital
        "binary", "multiclass" or "regression", and whose they are.
    steps
        Of fine-tuning on the hospital's own rows, which no promise of privacy covers.
    leaves
        False: it stays in the hospital, and so it is in no ledger and no transcript.
    """

    params: fleet.Params
    task: str
    hospital: str
    steps: int
    leaves: ClassVar[bool] = False

    def __len__(self) -> int:
        return self.params.n_models

    def __repr__(self) -> str:
        steps = f", {self.steps} steps of its own" if self.steps else ""
        return f"PersonalModel({self.hospital!r}, {len(self)} seeds{steps}, stays in the hospital)"

    def predict_proba(self, X: Tensor | np.ndarray) -> Tensor:
        """Class probabilities ``[seeds, n, classes]`` of rows ``[n, d]``; in regression, values ``[seeds, n, 1]``."""
        return predict(self.params, X, self.task)


def personal_model(run: FederatedRun, federation, hospital: str, how: Tuning) -> PersonalModel:
    """`FederatedRun.personal`."""
    at = run.hospitals.index(one_of("hospital", hospital, run.hospitals))
    return PersonalModel(tuned(run, trained_on(run, federation), [at], how), run.task, hospital, how.steps)


def trained_on(run: FederatedRun, federation: Federation | Sequence[Federation]) -> list[Federation]:
    """The federation of each seed, refused if it has other training rows than the run was trained on."""
    federations = as_replicates(federation, len(run))
    prints = {id(f): stamp(fingerprint(f)) for f in federations}
    if [prints[id(f)] for f in federations] != list(run.own.stamps):
        raise ValueError(
            "federation must be what the run was trained on, one federation or the list of its replicates; its "
            "training rows, or their hospitals, are others."
        )
    return federations


def tuned(run: FederatedRun, federations: Sequence[Federation], hospitals: Sequence[int], how: Tuning) -> fleet.Params:
    """Personal models of some hospitals, for each seed one after the other, all trained as one fleet."""
    seeds = range(len(federations))
    pairs = [(s, h) for s in seeds for h in hospitals]
    models = run.own.models(run.params, *torch.tensor(pairs).T)
    if not how.steps:
        return models
    X, y, rows = training_rows([[f.hospitals[h] for h in hospitals] for f in federations])
    return fleet.fit(
        models,
        X,
        y,
        [r for own in rows for r in own],
        steps=how.steps,
        batch_size=how.batch_size,
        lr=run.own.lr if how.lr is None else how.lr,
        optimiser=run.own.optimiser,
        loss=run.task,
        seed=[generator(how.seed, s, FINE_TUNING, h) for s, h in pairs],
    )

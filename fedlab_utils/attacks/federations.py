"""Membership inference in federated training, by what each of three attackers gets to see.

- The *server* sees every hospital's update in every round, and so each hospital's own locally trained model.
- A *hospital* sees the global model of every round. So does a server that only gets the sum of the updates.
- An *outsider* sees the final model.

Each model that an attacker sees gives a scaled logit of each patient. A weighted sum makes one number of them (late
rounds tell more than early ones; what a hospital's model adds to the global one tells more than either), with weights
that tell members best from others in shadow federations, whose patients the attacker drew: Fisher's linear
discriminant (1936, doi:10.1111/j.1469-1809.1936.tb02137.x). They are best on average over patients, not at few false
alarms, so an attacker who sees more need not find more there. On these numbers the attacks of `classifiers` work as
they do on the logits of a single model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from fedlab_utils import federated
from fedlab_utils._arguments import whole, widths
from fedlab_utils.attacks.classifiers import Shadows, coins, scaled_logit
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated.plan import starts
from fedlab_utils.federated.runs import FederatedRun

_RIDGE = 1e-3  # of the variance, added: logits of neighbouring rounds are nearly the same


class Curious(federated.Aggregator):
    """An honest server that follows the protocol, and looks: an aggregator that keeps what every hospital sends."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []  # in each round, for each run, [participants, D]

    def __repr__(self) -> str:
        return "Curious"  # what it has seen does not belong to the setting

    def aggregate(self, updates: np.ndarray, weights: np.ndarray, *, alive: np.ndarray, rng) -> tuple[np.ndarray, list]:
        """The weighted mean, as without an aggregator."""
        self.seen.append(updates.copy())
        sent = [(h, "server", "update", update.nbytes, update) for h, update in enumerate(updates)]
        return np.average(updates, axis=0, weights=weights), sent


def federated_shadows(
    federation: Federation, *, n_models: int = 64, seed: int, hidden: Sequence[int] = (32,), **train
) -> dict[str, Shadows]:
    """Train shadow federations side by side, and look at them through the eyes of each attacker.

    In each shadow federation, every training patient of every hospital takes part by a coin flip of their own. Means
    and spreads stay those of the whole federation. Attack with, for instance, ``lira(found["server"])``, where each
    federation is the target in turn.

    Parameters
    ----------
    federation
        Hospitals with at least four training patients each; binary or multiclass.
    n_models
        How many federations, K. Half as many again are trained to find the weights, and not returned: weights would
        see members in the noise of the very federations they were fitted to.
    seed
        Of the coins, and of the training.
    hidden, train
        Arguments of `federated.train`; every hospital takes part in every round. With `privacy`, its noise and budget
        hold for each federation.

    Returns
    -------
    dict
        "server", "hospital" and "outsider", each with the training patients of all hospitals in order, ``[K, n]``.

    Raises
    ------
    ValueError
        If an argument does not fit, or a hospital of some federation is left without patients.
    """
    own = {"aggregator", "participation", "on_round", "record", "seeds"} & train.keys()
    if own:
        raise ValueError(f"train must leave {sorted(own)} alone: every hospital takes part, and the server looks.")
    if federation.task == "regression":
        raise ValueError("federation must have classes to predict; a regression target has no logit.")
    federation = replace(federation, hospitals=tuple(_untested(h) for h in federation.hospitals))
    sizes = [len(h.y_train) for h in federation.hospitals]
    n_models = whole("n_models", n_models)
    member = coins(sum(sizes), n_models + (n_models + 1) // 2, seed)
    worlds = [_drawn(federation, np.split(one, np.cumsum(sizes)[:-1])) for one in member]
    X, y = (torch.cat([getattr(h, name) for h in federation.hospitals]) for name in ("X_train", "y_train"))
    hospital, start = np.repeat(np.arange(len(sizes)), sizes), starts(worlds, widths(hidden), seed)
    server, models = Curious(), [start]
    local: list[np.ndarray] = []
    common: list[np.ndarray] = []

    def look(run: FederatedRun) -> None:
        update = torch.from_numpy(np.stack(server.seen))  # [K, hospitals, D]
        server.seen.clear()
        theirs = start.like((models[-1].flat().unsqueeze(1) + update).flatten(0, 1))
        logit = scaled_logit(theirs, X, y, loss=federation.task).reshape(len(worlds), len(sizes), -1)
        local.append(logit[:, hospital, np.arange(len(hospital))])  # of each patient in their own hospital's model
        common.append(scaled_logit(run.params, X, y, loss=federation.task))
        models.append(run.params)

    federated.train(worlds, seed=seed, hidden=hidden, aggregator=server, on_round=look, **train)
    seen = {"server": local + common, "hospital": common, "outsider": common[-1:]}
    found = {}
    for name, logits in seen.items():
        several = np.stack(logits, 2)
        number = several @ _most_telling(several[n_models:], member[n_models:])
        found[name] = Shadows(member[:n_models], number[:n_models])
    return found


def _most_telling(logits: np.ndarray, member: np.ndarray) -> np.ndarray:
    """Weights ``[several]`` of logits ``[K, n, several]`` whose sum tells members best from others."""
    if logits.shape[2] == 1:
        return np.ones(1)
    x = logits - logits.mean(0)  # how a patient's logits differ between models, not between patients
    gap = x[member].mean(0) - x[~member].mean(0)
    within = np.cov((x - np.where(member[..., None], gap, 0)).reshape(-1, len(gap)).T)
    steadier = within + _RIDGE * np.trace(within) / len(gap) * np.eye(len(gap))
    return np.linalg.solve(steadier, gap)


def _untested(hospital: Hospital) -> Hospital:
    """The same with a single test patient: nobody looks at the metrics of shadow federations."""
    one = {name: getattr(hospital, name)[:1] for name in ("X_test", "y_test", "test")}
    return replace(hospital, **one, true_risk=None)


def _drawn(federation: Federation, kept: list[np.ndarray]) -> Federation:
    """The same federation with some of the training patients."""
    hospitals = []
    for h, rows in zip(federation.hospitals, kept, strict=True):
        if not rows.any():
            raise ValueError(f"federation must have more training patients in {h.name}; a coin flip left none.")
        train = h.train[rows].reset_index(drop=True)
        hospitals.append(replace(h, X_train=h.X_train[rows], y_train=h.y_train[rows], train=train))
    return replace(federation, hospitals=tuple(hospitals))

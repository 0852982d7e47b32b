"""Membership inference in federated training, by what each of three attackers gets to see.

- The *server* sees every hospital's update in every round, and so each hospital's own locally trained model.
- A *hospital* sees the global model of every round. So does a server that only gets the sum of the updates.
- An *outsider* sees the final model.

Each model that an attacker sees gives a scaled logit of each patient. An attacker makes one number of them, and can do
so in several ways: of all that they see or of some of it, with weights that are the same for all patients or lean to
what this patient's own logits do, with or without regard to how models go together (Fisher's linear discriminant, 1936,
doi:10.1111/j.1469-1809.1936.tb02137.x). Who sees more may also do what somebody who sees less does. Weights, and which
way is best, are learnt on further federations whose patients the attacker drew; so a viewer is worth what the best of
the nested views is worth, up to the luck of that choice. On these numbers the attacks of `classifiers` work as they do
on the logits of a single model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import federated
from fedlab_utils._arguments import brief, whole, widths
from fedlab_utils.attacks.classifiers import Shadows, coins, scaled_logit
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated.aggregators import Round, in_the_open
from fedlab_utils.federated.plan import starts
from fedlab_utils.federated.runs import FederatedRun

_RIDGE = 1e-3  # of the variance, added: logits of neighbouring rounds are nearly the same
_LEAST = 1e-12  # a variance that is nothing
_PRIOR = 12  # federations that weigh as much as what all patients have in common
_FOLDS = 4  # of the further federations, when ways of reading are compared
_RATES = (0.01, 0.02, 0.05, 0.1)  # false alarms at which they are


class Curious(federated.Aggregator):
    """An honest server that follows the protocol, and looks: an aggregator that keeps what every hospital sends."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []  # in each round [runs, hospitals, D]

    def __repr__(self) -> str:
        return "Curious"  # what it has seen does not belong to the setting

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list]:
        """The weighted mean, as without an aggregator."""
        sent, _ = this.dense(updates)  # every hospital is here in every round
        weight = torch.from_numpy(this.weight).double().unsqueeze(2)
        self.seen.append(sent)
        return ((sent * weight).sum(1) / weight.sum(1)).to(updates), in_the_open(updates, this)


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
        How many federations, K. Half as many again (at least four) are trained to learn how to read them, and not
        returned: weights would see members in the noise of the very federations they were fitted to.
    seed
        Of the coins, and of the training.
    hidden, train
        Arguments of `federated.train`; every hospital takes part in every round. With `privacy`, its noise and budget
        hold for each federation.

    Returns
    -------
    dict
        "server", "hospital" and "outsider", each with the training patients of all hospitals in order, ``[K, n]``. The
        numbers of each are those of the best way to read what they see, the ways of those who see less included.

    Raises
    ------
    ValueError
        If an argument does not fit, or a hospital of some federation is left without patients.
    """
    if not isinstance(federation, Federation):
        raise ValueError(f"federation must be a data.Federation; got {brief(federation)}.")
    own = {"aggregator", "participation", "dropout", "clock", "personal", "on_round", "record", "seeds"} & train.keys()
    if own:
        raise ValueError(f"train must leave {sorted(own)} alone: every hospital takes part, and the server looks.")
    if federation.task == "regression":
        raise ValueError("federation must have classes to predict; a regression target has no logit.")
    federation = replace(federation, hospitals=tuple(_untested(h) for h in federation.hospitals))
    sizes = [len(h.y_train) for h in federation.hospitals]
    n_models = whole("n_models", n_models)
    member = coins(sum(sizes), n_models + max(_FOLDS, (n_models + 1) // 2), seed)
    worlds = [_drawn(federation, np.split(one, np.cumsum(sizes)[:-1])) for one in member]
    X, y = (torch.cat([getattr(h, name) for h in federation.hospitals]) for name in ("X_train", "y_train"))
    hospital, start = np.repeat(np.arange(len(sizes)), sizes), starts(worlds, widths(hidden), seed)
    server, models = Curious(), [start]
    local: list[np.ndarray] = []
    common: list[np.ndarray] = []

    def look(run: FederatedRun) -> None:
        update = server.seen.pop()  # [K, hospitals, D]
        theirs = start.like((models[-1].flat().unsqueeze(1) + update).flatten(0, 1))
        logit = scaled_logit(theirs, X, y, loss=federation.task).reshape(len(worlds), len(sizes), -1)
        local.append(logit[:, hospital, np.arange(len(hospital))])  # of each patient in their own hospital's model
        common.append(scaled_logit(run.params, X, y, loss=federation.task))
        models.append(run.params)

    federated.train(worlds, seed=seed, hidden=hidden, aggregator=server, on_round=look, **train)
    local, common = np.stack(local, 2), np.stack(common, 2)
    adds = {"outsider": [common[:, :, -1:]], "hospital": [common], "server": [local, np.dstack([local, common])]}
    found, way, further = {}, None, np.arange(len(member)) >= n_models
    for name, logits in adds.items():  # who comes later sees what all before see, and may read it as they do
        way = _best([one for several in logits for one in _ways(several)], way, further, member)
        found[name] = Shadows(member[:n_models], way.numbers(further, member)[:n_models])
    return dict(reversed(found.items()))


@dataclass(frozen=True)
class _Way:
    """A way to make one number of several logits ``[K, n, several]``: their weighted sum for each patient.

    `own` leans the weights to what this patient's own logits do, and not those of all; `together` regards how logits go
    together, where otherwise each counts by itself.
    """

    logits: np.ndarray
    own: bool = False
    together: bool = False

    def numbers(self, by: np.ndarray, member: np.ndarray) -> np.ndarray:
        """Numbers ``[K, n]`` of all federations, with weights learnt on the federations `by`, ``[K]``."""
        return self.logits[:, :, 0] if self.logits.shape[2] == 1 else self.ratios(by, member)

    def ratios(self, by: np.ndarray, member: np.ndarray, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The same as log likelihood ratios, which can be compared between patients; of the federations `of` only."""
        x, coin = self.logits[by], member[by][..., None] - 0.5
        inside = member[by].sum(0)[:, None]
        count = inside * (by.sum() - inside) / by.sum()  # 0 for who is in all or in none, whose gap is unknown
        gap = _mean(x, coin > 0) - _mean(x, coin < 0)
        spread = np.sqrt(_variance(x - coin * gap))
        common = (count * gap / spread).sum(0) / max(count.sum(), 1)
        weight = count / (count + _PRIOR) if self.own else 0
        gap = weight * gap / spread + (1 - weight) * common
        middle = (x / spread - coin * gap).mean(0)
        rest = (x / spread - middle - coin * gap).reshape(-1, gap.shape[1])
        covariance = rest.T @ rest / len(rest)
        if not self.together:
            covariance = np.diag(np.diag(covariance))
        covariance += (_RIDGE * np.trace(covariance) / len(covariance) + _LEAST) * np.eye(len(covariance))
        return ((self.logits[of] / spread - middle) * np.linalg.solve(covariance, gap.T).T).sum(2)


def _mean(x: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Means ``[n, several]`` over a group of federations ``[K, n, 1]``; 0 for whom it is empty."""
    return np.where(group, x, 0).sum(0) / np.maximum(group.sum(0), 1)


def _variance(rest: np.ndarray) -> np.ndarray:
    """Variance of each patient's logits ``[n, several]``, half-way to that of all: few federations make it."""
    own = rest.var(0)
    return (own + own.mean(0)) / 2 + _LEAST


def _ways(logits: np.ndarray) -> list[_Way]:
    """All ways to read these logits; a single one can be read as it is."""
    if logits.shape[2] == 1:
        return [_Way(logits, own=True)]
    return [_Way(logits, own, together) for own in (False, True) for together in (False, True)]


def _best(ways: list[_Way], now: _Way | None, further: np.ndarray, member: np.ndarray) -> _Way:
    """The way that finds most members at few false alarms in the further federations.

    `now`, of somebody who sees less, gives way only to one that is better by two standard errors.
    """
    numbers, fold = np.empty(member.shape), np.arange(len(member)) % _FOLDS

    def found(way: _Way) -> np.ndarray:  # share of the members, in each federation
        for k in range(_FOLDS):  # each quarter is read with weights of the others, or many weights would win
            held = further & (fold == k)
            numbers[held] = way.ratios(further & ~held, member, held)
        cuts = np.quantile(numbers[further][~member[further]], 1 - np.array(_RATES))
        accused = (numbers[further][..., None] > cuts).mean(2)
        return accused.mean(1, where=member[further])

    if now is None and len(ways) == 1:
        return ways[0]
    shares = [found(way) for way in ways]
    first = int(np.argmax([share.mean() for share in shares]))
    best = ways[first]
    if now is None:
        return best
    better = shares[first] - found(now)
    return best if better.mean() > 2 * better.std(ddof=1) / np.sqrt(len(better)) else now


def _untested(hospital: Hospital) -> Hospital:
    """The same with a single test patient: nobody looks at the metrics of shadow federations."""
    one = {name: getattr(hospital, name)[:1] for name in ("X_test", "y_test", "test")}
    return replace(hospital, **one, true_risk=None)


def _drawn(federation: Federation, kept: list[np.ndarray]) -> Federation:
    """The same federation with some of the training patients; tables, which no training reads, stay those of all."""
    hospitals = []
    for h, rows in zip(federation.hospitals, kept, strict=True):
        if not rows.any():
            raise ValueError(f"federation must have more training patients in {h.name}; a coin flip left none.")
        hospitals.append(replace(h, X_train=h.X_train[rows], y_train=h.y_train[rows]))
    return replace(federation, hospitals=tuple(hospitals))

"""Rules that bound how far one update can move the result: by its length, its distance, or its direction.

More about rules, and about updates that are not finite, is in `robust`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fedlab_utils._arguments import brief, finite, labels, number, whole
from fedlab_utils.data import Federation
from fedlab_utils.federated.robust import Rule, lost, median
from fedlab_utils.fleet.randomness import beneath

_TINY = 1e-150  # instead of a length of 0


@dataclass(frozen=True)
class NormClipping(Rule):
    """The weighted mean, once no update is longer than a limit.

    A liar moves the mean no further than its share of the weight times the limit, and that in every round: small lies
    get through (Sun et al., arXiv:1911.07963). Clipping alone can also be done by a hospital before its update is
    masked; that all did so is then believed, or proved. An update that is not finite counts as no change.

    Parameters
    ----------
    limit
        Longest update; by default the median length in each run and round.

    Raises
    ------
    ValueError
        If `limit` is no number above 0.
    """

    limit: float | None = None

    def __post_init__(self) -> None:
        _check_limit(self.limit)

    def rule(self, updates, here, weight) -> Tensor:
        return _share(weight, _clipped(_finite(updates), here, self.limit))


@dataclass(frozen=True)
class CenteredClipping(Rule):
    """Differences to the last round's result, clipped and averaged (Karimireddy et al., arXiv:2012.10333).

    ``v = v + mean of (update - v), each no longer than the limit``, from what came out in the last round on, and some
    times over. In the paper hospitals send momentum, and one time is enough; updates here differ more from round to
    round. Weighted as the strategy weights hospitals. An update that is not finite counts as v.

    Parameters
    ----------
    limit
        Longest difference; by default the median length of all in each run and each time.
    iterations
        How often.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """

    limit: float | None = None
    iterations: int = 3

    def __post_init__(self) -> None:
        _check_limit(self.limit)
        object.__setattr__(self, "iterations", whole("iterations", self.iterations))

    def in_a_round(self, updates, here, weight, this, runs) -> Tensor:
        centre = this.memory.setdefault("centre", torch.zeros_like(this.model).double())
        centre[runs] = self.rule(updates, here, weight, centre[runs])
        return centre[runs]

    def rule(self, updates, here, weight, centre: Tensor | None = None) -> Tensor:
        """What comes out, `centre` ``[runs, D]`` being what came out before; 0 by default."""
        points, gone = _finite(updates), lost(updates) | ~here
        centre = torch.zeros_like(points[:, 0]) if centre is None else centre
        for _ in range(self.iterations):
            apart = (points - centre[:, None]).masked_fill(gone[:, :, None], 0)
            centre = centre + _share(weight, _clipped(apart, here, self.limit))
        return centre


@dataclass(frozen=True)
class GeometricMedian(Rule):
    """The point with the least sum of distances to all updates, by Weiszfeld's steps (RFA, arXiv:1912.13445).

    Distances are weighted as the strategy weights hospitals, as in the paper. If liars have a share e below one half of
    the weight, the result is no further from any point than ``2 (1 - e) / (1 - 2 e)`` times the furthest honest update.

    Parameters
    ----------
    iterations
        Steps, from "no change" on: a start at the mean would take as many more as liars are far away.
    nu
        Distances below count as this (the paper's smoothing).

    Raises
    ------
    ValueError
        If an argument does not fit.
    """

    iterations: int = 10
    nu: float = 1e-6

    def __post_init__(self) -> None:
        object.__setattr__(self, "iterations", whole("iterations", self.iterations))
        if not number("nu", self.nu):
            raise ValueError("nu must be above 0: who is at the median would count infinitely; got 0.")

    def rule(self, updates, here, weight) -> Tensor:
        points, gone = _finite(updates), lost(updates)
        middle = torch.zeros_like(points[:, 0])
        for _ in range(self.iterations):
            pull = weight / _length(points - middle[:, None]).clamp_min(self.nu)
            pull = pull.masked_fill(gone, 0)
            share = pull / pull.sum(1, keepdim=True).clamp_min(_TINY)
            middle = (share[:, :, None] * points).sum(1)
        return middle


# ---------------------------------------------------------------- with rows at the server


@dataclass(frozen=True, eq=False, repr=False)
class RootOfTrust(Rule):
    """A server with some rows of its own that believes who goes its way (FLTrust, Cao et al., arXiv:2012.13995).

    In each round the server trains the global model on its rows, as a hospital would. An update counts by the cosine of
    its angle to the server's own, or not at all if that is below 0, and is made as long as the server's. If nobody goes
    its way the model stays. All hospitals count alike but for that.

    The rows are patients' rows *at the server*, which the ledger says. No promise covers them: under `RecordDP`, too,
    the models that every hospital gets are made with them, without noise. If they are not like everybody's, what the
    server believes is not either.

    Parameters
    ----------
    X, y
        Rows ``[n, d]`` as `Federation.transform` makes them and labels ``[n, 1]``, as tensors, such as those of a
        `Hospital`.
    steps
        Steps of the server in a round; by default as many as hospitals make on average.
    lr
        Its learning rate; by default that of the hospitals.
    batch_size
        Of its steps; by default that of the hospitals.

    Raises
    ------
    ValueError
        If an argument does not fit; whether the rows fit the model shows before anything is trained.
    """

    X: Tensor
    y: Tensor
    steps: int | None = None
    lr: float | None = None
    batch_size: int | None = None

    holds: ClassVar[str] = "rows of patients for a root of trust"

    def __post_init__(self) -> None:
        for name in ("X", "y"):
            rows = getattr(self, name)
            if not isinstance(rows, Tensor) or rows.dim() != 2 or not len(rows) or len(rows) != len(self.X):
                got = tuple(rows.shape) if isinstance(rows, Tensor) else brief(rows)
                raise ValueError(f"{name} must be a tensor with a row for each of the server's patients; got {got}.")
        finite(X=self.X, y=self.y)
        for name in ("steps", "batch_size"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        if self.lr is not None and not number("lr", self.lr):
            raise ValueError("lr must be above 0: a server that does not move shows no way; got 0.")

    def __repr__(self) -> str:
        """With a mark of the rows, since noise of a promise must not be the same for other ones."""
        mark = f"{beneath(self.X.numpy(), self.y.numpy()):x}"
        about = "".join(f", {k}={v}" for k in ("steps", "lr", "batch_size") if (v := getattr(self, k)) is not None)
        return f"RootOfTrust({len(self.X)} rows {mark}{about})"

    def rule(self, updates, here, weight) -> Tensor:
        raise ValueError("updates must come of a training, where the server can train too: RootOfTrust needs a model.")

    def in_a_round(self, updates, here, weight, this, runs) -> Tensor:
        own = this.learn(self.X, self.y, steps=self.steps, lr=self.lr, batch_size=self.batch_size)
        return self.trusted(updates, here, own[runs])

    def refuse(self, federation: Federation) -> None:
        """Refuse rows that are no rows of this federation."""
        if self.X.shape[1] != federation.n_features:
            raise ValueError(
                f"aggregator must have rows X of the federation's {federation.n_features} features; these have "
                f"{self.X.shape[1]}."
            )
        labels(self.y, len(federation.classes) if federation.task == "multiclass" else 1, federation.task)

    def trusted(self, updates: Tensor, here: Tensor, own: Tensor) -> Tensor:
        """The mean ``[runs, D]`` of what goes the way of the server's `own` updates ``[runs, D]``."""
        points, own = _finite(updates), own.double()[:, None]
        length, aim = _length(points).clamp_min(_TINY), _length(own)
        cosine = (points * own).sum(2) / length / aim.clamp_min(_TINY)
        score = cosine.clamp_min(0).masked_fill(~here, 0)
        return _share(score, points * (aim / length)[:, :, None])


# ---------------------------------------------------------------- what they share


def _check_limit(limit: float | None) -> None:
    if limit is not None and not number("limit", limit):
        raise ValueError("limit must be above 0, or None for the median length; got 0.")


def _finite(updates: Tensor) -> Tensor:
    """Updates in 64 bits, where squares of 32-bit numbers are finite; 0 for those that are not finite."""
    return updates.double().masked_fill(lost(updates)[:, :, None], 0)


def _length(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=2)


def _share(weight: Tensor, updates: Tensor) -> Tensor:
    """The weighted mean, 0 where nobody counts."""
    return (weight[:, :, None] * updates).sum(1) / weight.sum(1, keepdim=True).clamp_min(_TINY)


def _clipped(vectors: Tensor, here: Tensor, limit: float | None) -> Tensor:
    """Vectors no longer than the limit, or than the median length of those who are here."""
    length = _length(vectors)
    most = median(length[:, :, None], here) if limit is None else limit
    return vectors * (most / length.clamp_min(_TINY)).clamp_max(1)[:, :, None]

"""Rules in the place of the mean, for hospitals that may lie: each looks at single updates, of whole fleets at once.

A mean can be moved anywhere by one hospital. A rule bounds that, and pays for it: what is far from the others is cut
off, and it cannot tell a liar from a hospital with other patients. Rules need single updates, so there is none behind
a masked or encrypted sum, and none gives the mean that `HospitalDP` makes its noise for. `RecordDP` holds with every
rule, as its noise is in the updates.

`Median`, `TrimmedMean`, `Krum`, `MultiKrum` and `RootOfTrust` count heads: the rows of a hospital do not matter, so
that nobody can claim more of them to count more. `NormClipping`, `CenteredClipping` and `GeometricMedian` weight
updates as the strategy does (``strategy="uniform"`` for heads), and then what liars may do goes by their share of the
weight.

An update that is not finite is one of a liar, or of a training that ran away. It is as far off as can be for the rules
that order numbers or distances, and no update at all for the others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import uploads, whole
from fedlab_utils.federated.aggregators import BYTES, AbandonedRound, Aggregator, Round, abandoned, in_the_open


class Rule(Aggregator):
    """What all rules have in common. Your own is a frozen dataclass with another `rule`.

    With fewer updates than `needs` a round is abandoned; where already fewer hospitals take part, training is refused
    before it starts.
    """

    linear = False

    def rule(self, updates: Tensor, here: Tensor, weight: Tensor) -> Tensor:
        """What comes of the updates of every run, ``[runs, D]``.

        Parameters
        ----------
        updates
            ``[runs, hospitals, D]``, 0 for those who are not here.
        here
            Who is, ``[runs, hospitals]``, at least `needs` of each run.
        weight
            How much each update counts, ``[runs, hospitals]``, 0 for those who are not here.
        """
        raise NotImplementedError

    def in_a_round(self, updates: Tensor, here: Tensor, weight: Tensor, this: Round, runs: Tensor) -> Tensor:
        """The same with all that a round offers besides, for some of its runs."""
        return self.rule(updates, here, weight)

    def grid_step(self, n: int, rows: int) -> float:
        """0, as nothing is rounded, once so many hospitals are enough.

        Raises
        ------
        ValueError
            If they are not.
        """
        least = self.needs(n)
        if n < least:
            raise ValueError(
                f"aggregator {self!r} needs {least} updates in a round, and {n} hospitals take part: assume fewer "
                "liars, or have more hospitals take part."
            )
        return 0.0

    def aggregate(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        checked, weights, alive = uploads(updates, weights, alive)
        sent = [(int(h), "server", "update", BYTES * checked.shape[1], updates[h]) for h in np.flatnonzero(alive)]
        if alive.sum() < self.needs(len(alive)):
            raise AbandonedRound(f"{alive.sum()} updates came, and {self!r} needs {self.needs(len(alive))}.", sent)
        given = torch.from_numpy(checked)[None], torch.from_numpy(alive)[None], torch.from_numpy(weights * alive)[None]
        return self.rule(*given)[0].numpy(), sent

    def together(self, updates: Tensor, this: Round) -> tuple[Tensor, list[list[tuple]]]:
        full, here = this.dense(updates)
        weight, found = torch.from_numpy(this.weight) * here, torch.zeros_like(this.model)
        both = list(zip(this.here.members, this.silent.members, strict=True))
        able = torch.tensor([len(came) >= self.needs(len(came) + len(silent)) for came, silent in both])
        runs = torch.nonzero(able)[:, 0]
        if len(runs):
            given = full[runs], here[runs], weight[runs].double()
            found[runs] = self.in_a_round(*given, this, runs).to(found)
        messages = in_the_open(updates, this)
        for r, (came, silent) in enumerate(both):
            if len(came) and not able[r]:
                messages[r] += abandoned(np.sort(np.concatenate([came, silent])))
        return found, messages


# ---------------------------------------------------------------- number by number


@dataclass(frozen=True)
class Median(Rule):
    """The median of each number by itself, the mean of the middle two where there are two (arXiv:1803.01498).

    As long as liars are fewer than half of those who came, each number stays between the least and the largest of the
    honest ones, whatever liars send. All hospitals count alike.
    """

    def rule(self, updates, here, weight) -> Tensor:
        return median(updates, here)


@dataclass(frozen=True)
class _AgainstSome(Rule):
    """What is told how many liars there may be."""

    f: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "f", whole("f", self.f, 0))


@dataclass(frozen=True)
class TrimmedMean(_AgainstSome):
    """The mean of each number without its f largest and its f least (Yin et al., arXiv:1803.01498).

    With f liars or fewer each number stays between the least and the largest of the honest ones, whatever liars send;
    2f + 1 updates are needed. All hospitals count alike.

    Parameters
    ----------
    f
        How many liars there may be. Flower's FedTrimmedAvg is given their share instead.

    Raises
    ------
    ValueError
        If `f` is no whole number of at least 0.
    """

    def needs(self, n: int) -> int:
        """2f + 1, whatever n is."""
        return 2 * self.f + 1

    def rule(self, updates, here, weight) -> Tensor:
        ordered, n = _ordered(updates, here), here.sum(1)[:, None, None]
        place = torch.arange(ordered.shape[1])[None, :, None]
        inner = (place >= self.f) & (place < n - self.f)
        return torch.where(inner, ordered, 0).double().sum(1) / (n[:, 0] - 2 * self.f)


# ---------------------------------------------------------------- by distances


@dataclass(frozen=True)
class Krum(_AgainstSome):
    """The one update that is closest to its neighbours (Blanchard et al., arXiv:1703.02757).

    An update's score is the sum of its squared distances to the n - f - 2 others that are nearest, as in the paper and
    in Flower; ByzFL takes one neighbour more, n - f - 1, and so may choose another update. What comes out is a single
    hospital's update, and it may be a liar's: one that is near enough to the others wins. Needs 2f + 3 updates. All
    hospitals count alike.

    Parameters
    ----------
    f
        How many liars there may be.

    Raises
    ------
    ValueError
        If `f` is no whole number of at least 0.
    """

    def needs(self, n: int) -> int:
        """2f + 3, whatever n is."""
        return 2 * self.f + 3

    def scores(self, updates: np.ndarray) -> np.ndarray:
        """The score of each update ``[n]``, from updates ``[n, d]`` of hospitals that are all here: the least wins.

        Raises
        ------
        ValueError
            If `updates` is something else, or there are too few.
        """
        updates, *_ = uploads(updates, np.ones(len(updates)), np.ones(len(updates), dtype=bool))
        self.grid_step(len(updates), 0)
        everybody = torch.ones(1, len(updates), dtype=torch.bool)
        return self._scores(torch.from_numpy(updates)[None], everybody)[0].numpy()

    def rule(self, updates, here, weight) -> Tensor:
        best = torch.argsort(self._scores(updates, here), dim=1, stable=True)
        kept = torch.arange(best.shape[1]) < self._kept(here.sum(1, keepdim=True))
        chosen = torch.zeros_like(here).scatter(1, best, kept)
        return torch.where((chosen & ~lost(updates))[:, :, None], updates, 0).double().sum(1) / chosen.sum(1)[:, None]

    def _kept(self, n: Tensor) -> Tensor:
        return torch.ones_like(n)

    def _scores(self, updates: Tensor, here: Tensor) -> Tensor:
        gone = ~here | lost(updates)
        points = updates.double().masked_fill(gone[:, :, None], 0)
        square = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        square = square.masked_fill(gone[:, :, None] | gone[:, None], torch.inf)
        square.diagonal(dim1=1, dim2=2).fill_(torch.inf)  # nobody is a neighbour of oneself
        neighbours = here.sum(1)[:, None, None] - self.f - 2
        near = torch.arange(square.shape[1]) < neighbours
        return torch.where(near, square.sort(2).values, 0).sum(2).masked_fill(gone, torch.inf)


@dataclass(frozen=True)
class MultiKrum(Krum):
    """The mean of the updates with the least scores of `Krum` (Blanchard et al., arXiv:1703.02757).

    Parameters
    ----------
    f
        How many liars there may be.
    keep
        Of how many updates the mean is taken, at most n - f; by default n - f of the n that came. Where dropout leaves
        fewer than `keep` + f, n - f.

    Raises
    ------
    ValueError
        If an argument is no whole number, or `keep` is more than n - f.
    """

    keep: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep is not None:
            object.__setattr__(self, "keep", whole("keep", self.keep))

    def grid_step(self, n: int, rows: int) -> float:
        super().grid_step(n, rows)
        if self.keep is not None and self.keep > n - self.f:
            raise ValueError(
                f"keep must be at most {n - self.f}, as f = {self.f} of {n} hospitals may be liars; got {self.keep}."
            )
        return 0.0

    def _kept(self, n: Tensor) -> Tensor:
        return n - self.f if self.keep is None else (n - self.f).clamp_max(self.keep)


# ---------------------------------------------------------------- what they share


def lost(updates: Tensor) -> Tensor:
    """Whose update is not finite, ``[runs, hospitals]``."""
    return ~updates.isfinite().all(2)


def _ordered(values: Tensor, here: Tensor) -> Tensor:
    """Numbers ``[runs, hospitals, D]`` rising over the hospitals; who is not here comes last, as what is no number."""
    far = (~here)[:, :, None] | values.isnan()
    return values.masked_fill(far, torch.inf).sort(dim=1).values


def median(values: Tensor, here: Tensor) -> Tensor:
    """The median over those who are here, ``[runs, D]``."""
    ordered, n = _ordered(values, here), here.sum(1)
    low, high = (_at(ordered, place) for place in ((n - 1) // 2, n // 2))
    return torch.where(low == high, low, low / 2 + high / 2)


def _at(ordered: Tensor, place: Tensor) -> Tensor:
    return ordered.gather(1, place[:, None, None].expand(-1, 1, ordered.shape[2]))[:, 0]

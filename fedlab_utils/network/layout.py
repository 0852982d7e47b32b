"""How updates with noise of `HospitalDP` become words of a masked sum, and back: the same at both ends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from fedlab_utils.network.agreement import Agreement


@dataclass(frozen=True)
class Layout:
    """Steps, noise, and what one round costs a hospital.

    Attributes
    ----------
    step
        To which an update is rounded.
    share
        Variance of the noise of one hospital on each number, in steps squared.
    clip
        No update is longer than this before it is rounded; the rest of the norm is room for the rounding.
    honest, l2, l1
        Of the event that a round costs in the eyes of a hospital: see `privacy.events.SharedNoiseDpEvent`.
    event_share
        The share that this event speaks of.
    """

    step: float
    share: float
    clip: float
    honest: int
    l2: float
    l1: float
    event_share: float

    def as_dict(self) -> dict[str, float]:
        """For the book."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: dict) -> Layout:
        """From the book."""
        return cls(**{f.name: found[f.name] for f in fields(cls)})

    def words(self, change: np.ndarray, coins: np.ndarray, source: np.random.Generator, dtype: np.dtype) -> np.ndarray:
        """One hospital's change ``[d]``, clipped, on whole steps by coins, with its share of noise."""
        from fedlab_utils.secagg.noise import skellam

        steps = np.floor(self._clipped(change) / self.step + coins).astype(np.int64)
        return (steps + skellam(self.share, len(change), source)).astype(dtype)

    def _clipped(self, change: np.ndarray) -> np.ndarray:
        # As `federated.protections` does it, operation by operation, so that the last bits agree.
        update = torch.from_numpy(change.copy()).unsqueeze(0)
        length = torch.linalg.vector_norm(update, dim=1).clamp_min(1e-30)
        if not bool(length.isfinite().all()):  # a training that ran away cannot be clipped: it counts as no change
            return np.zeros(len(change))
        limit = torch.tensor([self.clip]).double().to(update)
        return update.mul_((limit / length).clamp_max(1).unsqueeze(1))[0].numpy().astype(float)

    def mean(self, total: np.ndarray, left: int, n: int) -> torch.Tensor:
        """The sum of words of those `left` as the mean change over all n hospitals, ``[d]``."""
        from fedlab_utils.secagg.noise import signed

        mean = torch.as_tensor(signed(total) * self.step / left).float()
        return mean * torch.from_numpy(np.array([left]) / n).to(mean)


_KNOWN: dict[bytes, Layout] = {}  # by the agreement's hash: each takes seconds to find


def layout(agreement: Agreement) -> Layout:
    """The layout that keeps the promise of an agreement in all of its rounds; found once in a process.

    Raises
    ------
    ValueError
        If words are too short for the noise, or steps too coarse for the norm.
    """
    if agreement.hash not in _KNOWN:
        _KNOWN[agreement.hash] = _found(agreement)
    return _KNOWN[agreement.hash]


def _found(agreement: Agreement) -> Layout:
    from fedlab_utils.secagg.noise import HOSPITALS, honest, scaled

    promise, setup, n, d = agreement.promise, agreement.setup(1), len(agreement.hospitals), agreement.d
    inside = agreement.aggregator().noise_inside({n}, d, promise, agreement.training.rounds)
    how = dict(n=n, members=honest(setup), bits=setup.bits, widen=inside.widen)
    scale = scaled(inside.noise_multiplier, inside.max_norm, largest=inside.max_norm, **how)
    slack = scale.step * d**0.5
    if slack > inside.max_norm / 10:
        raise ValueError(
            f"promise.clip must be more than ten times what rounding can add, {slack:.2g}, and is {inside.max_norm:g}: "
            "give a promise that needs less noise, or more network.bits."
        )
    event = inside.events[HOSPITALS]
    about = dict(honest=event.honest, l2=event.l2, l1=event.l1, event_share=event.share)
    return Layout(scale.step, scale.share, inside.max_norm - slack, **about)

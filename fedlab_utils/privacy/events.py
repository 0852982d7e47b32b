"""Noise in shares, as events that dp-accounting lacks, and the accountants that know them.

The noise of a sum comes in equal shares from its members. What counts is the noise of those `honest` ones whose shares
the viewer does not know; more of them never cost anything, since their noise is only added. Loading this module loads
dp-accounting, so the rest of the room asks for it late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.privacy_accountant import NeighboringRelation
from scipy.special import gammaln, ive, logsumexp

ORDERS = tuple(rdp.rdp_privacy_accountant.DEFAULT_RDP_ORDERS)
BLANK = NeighboringRelation.REPLACE_SPECIAL  # a unit's record, or a blank that adds nothing to a sum
WHOLE_ORDERS = range(2, 257)  # the bound of Skellam noise is proven for whole orders above 1 only
FEW_ORDERS = range(2, 65)  # the best of all is mostly among these
_NEVER = 1e-40  # chance
_LARGEST = 1e8  # variance of a sum whose law is written out, number by number


@dataclass(frozen=True)
class SharedNoiseDpEvent(dp_accounting.DpEvent):
    """A sum of whole numbers to which each member adds noise of its own.

    Attributes
    ----------
    share
        Variance of the noise of one member on each number, in steps squared.
    honest
        How many members there are at least whose noise the viewer does not know.
    l2, l1
        How far one unit can move the sum at most, in steps: by length, and by the sum of sizes.
    cells
        For counts: a unit changes at most so many numbers, each by one. Then the loss is computed exactly. 0 stands
        for any change of these lengths.
    sampling_probability
        Chance with which a unit is in the sum at all, by its own coin flip; 1 is no sampling.
    """

    share: float
    honest: int
    l2: float
    l1: float
    cells: int = 0
    sampling_probability: float = 1.0
    kind: ClassVar[str] = "noise in shares"

    @property
    def name(self) -> str:
        """In the ledger's words."""
        return self.kind if self.sampling_probability == 1 else f"{self.kind}, Poisson-sampled"

    @property
    def variance(self) -> float:
        """Of the noise that counts, in steps squared."""
        return self.share * self.honest

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise that counts, in units of the length of a change."""
        return math.sqrt(self.variance) / self.l2

    @property
    def exact(self) -> bool:
        """Whether its privacy loss distribution is known."""
        return 0 < self.cells and self.variance <= _LARGEST and self.sampling_probability == 1

    def among(self, honest: int) -> SharedNoiseDpEvent:
        """The same with another number of honest members."""
        return replace(self, honest=honest)

    def concentrated(self) -> dp_accounting.ZCDpEvent:
        """Its bound as concentrated differential privacy: order a costs at most ``xi + a rho``, for whole a."""
        raise NotImplementedError

    def law(self) -> np.ndarray:
        """Probabilities of the noise that counts on one number, around 0, as far as they matter."""
        raise NotImplementedError


@dataclass(frozen=True)
class SkellamDpEvent(SharedNoiseDpEvent):
    """Skellam noise (Agarwal, Kairouz and Liu, arXiv:2110.04995): sums of it are Skellam noise again.

    With mu the variance of the sum, order a costs at most ``a l2^2 / (2 mu) + ((2 a - 1) l2^2 + 6 l1) / (4 mu^2)``, or
    with ``3 l1 / (2 mu)`` in the place of the second part. Reading mu as half the variance is the classic slip.
    """

    kind: ClassVar[str] = "Skellam, in shares"

    def concentrated(self) -> dp_accounting.ZCDpEvent:
        mu, square = self.variance, self.l2**2
        fine = square / (2 * mu) + square / (2 * mu**2), max(0.0, (6 * self.l1 - square) / (4 * mu**2))
        coarse = square / (2 * mu), 3 * self.l1 / (2 * mu)
        # Either is a bound; at order 10 neither counts only for its slope or only for its offset.
        return dp_accounting.ZCDpEvent(*min(fine, coarse, key=lambda pair: 10 * pair[0] + pair[1]))

    def law(self) -> np.ndarray:
        k = np.abs(_around(self.variance))
        return ive(k, self.variance)  # e^-mu I_k(mu): the difference of two Poisson draws of rate mu / 2


@dataclass(frozen=True)
class DiscreteGaussianDpEvent(SharedNoiseDpEvent):
    """Shares of discrete Gaussian noise (Kairouz, Liu and Steinke, arXiv:2102.06387), whose sums are nearly that.

    What "nearly" costs, for each number that changes, is ``10 sum_k exp(-2 pi^2 v k / (k + 1))`` over k below the
    number of shares of variance v: nothing worth the name from a standard deviation of two steps a share on.
    """

    kind: ClassVar[str] = "discrete Gaussian, in shares"

    def concentrated(self) -> dp_accounting.ZCDpEvent:
        k = np.arange(1, self.honest)
        gap = 10 * float(np.exp(-2 * math.pi**2 * self.share * k / (k + 1)).sum())
        return dp_accounting.ZCDpEvent(self.l2**2 / (2 * self.variance), gap * self.cells)

    def law(self) -> np.ndarray:
        one = np.exp(-(_around(self.share).astype(float) ** 2) / (2 * self.share))
        one, total = one / one.sum(), np.ones(1)
        for _ in range(self.honest):
            total = np.convolve(total, one)
        return total


def _around(variance: float) -> np.ndarray:
    """Whole numbers around 0, far enough for noise of this variance: beyond lies less than 1e-30."""
    reach = math.ceil(12 * math.sqrt(variance)) + 60
    return np.arange(-reach, reach + 1)


class PLDAccountant(pld.PLDAccountant):
    """That of dp-accounting, which also knows counts with noise in shares: each number that changes is a release."""

    def _maybe_compose(self, event, count, do_compose):
        if not isinstance(event, SharedNoiseDpEvent) or not event.exact:
            return super()._maybe_compose(event, count, do_compose)
        if self.neighboring_relation is not BLANK:
            return self.CompositionErrorDetails(invalid_event=event, error_message="Only for a unit or a blank.")
        if do_compose:
            one = _shifted_by_one(event, self._value_discretization_interval)
            self._pld = self._pld.compose(one.self_compose(count * event.cells))
        return None


class RdpAccountant(rdp.RdpAccountant):
    """That of dp-accounting, which also knows noise in shares, by its concentrated bound."""

    @property
    def costs(self) -> np.ndarray:
        """What was composed so far, at each order."""
        return np.array(self._rdp)

    def add(self, costs: np.ndarray, count: int) -> None:
        """Compose an event whose costs are known, so many times."""
        self._rdp = self._rdp + count * costs

    def _maybe_compose(self, event, count, do_compose):
        if isinstance(event, SharedNoiseDpEvent) and event.sampling_probability < 1:
            if self.neighboring_relation is not BLANK:
                return self.CompositionErrorDetails(invalid_event=event, error_message="Only for a unit or a blank.")
            if do_compose:
                self._rdp += count * _sampled(event.concentrated(), event.sampling_probability, self._orders)
            return None
        if isinstance(event, SharedNoiseDpEvent):
            event = event.concentrated()
        return super()._maybe_compose(event, count, do_compose)


def _sampled(whole: dp_accounting.ZCDpEvent, q: float, orders: np.ndarray) -> np.ndarray:
    """What each whole order costs where a unit is there with chance q, from what it costs where it is there for sure.

    Noise around s and noise around 0 are the same turned round the middle, so of the two directions the one from the
    mixture counts (Mironov et al., arXiv:1908.10530, Theorem 5), whose moments are a binomial sum of those without
    sampling (as in Zhu and Wang, ICML 2019, without the factor 3 for noise that is not symmetric). Rounding and the
    batch's other records are alike in both worlds, and a mixture of pairs costs at most what the worst pair does.
    """
    a, times = orders[:, None].astype(float), np.arange(orders.max() + 1.0)
    inside = times <= a
    choose = gammaln(a + 1) - gammaln(times + 1) - gammaln(np.where(inside, a - times, 0) + 1)
    moment = np.where(times > 1, (times - 1) * (whole.xi + whole.rho * times), 0.0)
    terms = choose + times * math.log(q) + np.where(inside, a - times, 0) * math.log1p(-q) + moment
    amplified = logsumexp(np.where(inside, terms, -np.inf), axis=1) / (orders - 1)
    return np.minimum(amplified.clip(0), whole.xi + whole.rho * orders)


@lru_cache(maxsize=64)
def _shifted_by_one(event: SharedNoiseDpEvent, width: float) -> privacy_loss_distribution.PrivacyLossDistribution:
    """Of one number that moves by one, between this noise and the same around the next whole number."""
    chance = event.law()
    known = np.flatnonzero(chance > _NEVER)  # what lies beyond counts as if it gave everything away
    logs = dict(zip(known.tolist(), np.log(chance[known]).tolist(), strict=True))
    moved = {k + 1: log for k, log in logs.items()}
    # The noise is symmetric, so that one more and one less are told apart equally well.
    make = privacy_loss_distribution.from_two_probability_mass_functions
    return make(logs, moved, value_discretization_interval=width, symmetric=True)

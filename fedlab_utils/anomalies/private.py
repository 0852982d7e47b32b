"""Components from noisy sums: one release that protects each scan, by secure aggregation with noise in shares.

A scan is described by its smoothest cosine waves (a public basis), shortened to a length C where it is longer, and
adds itself and its outer product to its hospital's sums. Both lie in one vector whose length no scan can exceed: the
scan divided by C times the root of its share of the budget, the outer product by C^2 likewise. Off the diagonal an
outer product says everything twice; each pair is sent once, times the root of two, which keeps the length. So one scan
moves the vector by at most 1, and one Gaussian release follows, from which everything else follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedlab_utils._arguments import brief, number, whole
from fedlab_utils.anomalies.components import Components, Sums, _rows, cosines, from_sums, one_core, symmetric
from fedlab_utils.fleet.randomness import SUMS_NOISE, beneath, generator, noise_generator
from fedlab_utils.privacy import Ledger, Mechanism, RecordDP

FOR_MEAN = 0.2  # of the budget, as a share of 1 / noise^2; outer products get the rest


@dataclass(frozen=True, eq=False, repr=False)
class PrivateComponents:
    """Components that follow from one noisy release.

    Attributes
    ----------
    components
        In pixels.
    mechanism
        The release.
    ledger
        What it cost.
    sd
        Standard deviation of the noise on each sum of products of two waves (off the diagonal root two less).
    """

    components: Components
    mechanism: Mechanism
    ledger: Ledger
    sd: float

    def __repr__(self) -> str:
        return f"PrivateComponents({self.components!r}, epsilon {self.mechanism.epsilon:.2f})"


@one_core()
def vector(scans: np.ndarray, basis: np.ndarray, clip: float) -> np.ndarray:
    """What a hospital's scans add up to, ``[k + k (k + 1) / 2]``; a single scan's vector is at most 1 long.

    Parameters
    ----------
    scans
        ``[n, d]``.
    basis
        Orthonormal, public, ``[k, d]``.
    clip
        To which length scans are shortened.
    """
    waves = _rows(scans, basis.shape[1]) @ basis.T
    waves *= np.minimum(1, clip / np.maximum(np.linalg.norm(waves, axis=1, keepdims=True), 1e-12))
    products = (waves.T @ waves)[np.triu_indices(len(basis))] * _weights(len(basis))
    share = math.sqrt(FOR_MEAN), math.sqrt(1 - FOR_MEAN)
    return np.concatenate([waves.sum(0) / clip * share[0], products / clip**2 * share[1]])


def _weights(k: int) -> np.ndarray:
    """1 on the diagonal, root two above it."""
    row, column = np.triu_indices(k)
    return np.where(row == column, 1.0, math.sqrt(2))


def _read(total: np.ndarray, rows: int, k: int, clip: float) -> Sums:
    """Sums of waves from a total of vectors."""
    share = math.sqrt(FOR_MEAN), math.sqrt(1 - FOR_MEAN)
    products = total[k:] * clip**2 / share[1] / _weights(k)
    return Sums(rows, total[:k] * clip / share[0], symmetric(products, k))


@one_core()
def private_components(
    parts: Sequence[np.ndarray],
    promise: RecordDP,
    *,
    count: int,
    waves: int = 200,
    clip: float = 23.0,
    times: int = 1,
    seed: int = 0,
) -> PrivateComponents:
    """Components of all hospitals' scans under a promise to each scan, in one release.

    The noise is that of one Gaussian release on the total: as much as hospitals add in shares inside a masked sum, if
    all are honest (`secagg.private_sum` is the protocol; here the noise is drawn at once). Without masks each hospital
    would need as much by itself.

    Parameters
    ----------
    parts
        Each hospital's normal scans ``[n, 784]``. How many there are counts as public.
    promise
        Of the release.
    count
        Number of components: **given**, as from public knowledge; to look for it would cost more.
    waves, clip
        Size of the public basis, and to which length scans are shortened (28 is the length of a standardised scan).
    times
        Count every scan so many times: what hospitals with so many times the patients would send, if these were
        like those. For curves alone, which say so; the promise is then about one of those patients.
    seed
        Of the noise if the promise is not secure (it depends on the sums beneath as well).

    Raises
    ------
    ValueError
        If an argument cannot be.
    """
    count = whole("count", count)
    noisy, mechanism = release(parts, promise, waves=waves, clip=clip, times=times, seed=seed)
    if count >= waves:
        raise ValueError(f"count must be below the number of waves, {waves}; got {count}.")
    basis, rows = cosines(waves), mechanism.units
    found = from_sums(_read(noisy, rows, waves, clip), count)
    pixels = Components(rows, found.mean @ basis, found.variances, found.directions @ basis, found.count)
    detail = f"{len(noisy):,} numbers, summed; the noise of all shares, drawn at once"
    ledger = Ledger().add("noisy sums of scans", hospital="all", viewer="server", detail=detail, mechanism=mechanism)
    sd = mechanism.noise_multiplier * clip**2 / math.sqrt(1 - FOR_MEAN)
    return PrivateComponents(pixels, mechanism, ledger, sd)


def release(
    parts: Sequence[np.ndarray], promise: RecordDP, *, waves: int, clip: float, times: int = 1, seed: int = 0
) -> tuple[np.ndarray, Mechanism]:
    """The noisy total of all hospitals' vectors, and what it costs; see `private_components`."""
    if not isinstance(promise, RecordDP):
        raise ValueError(f"promise must be privacy.RecordDP(...); got {brief(promise)}.")
    if not number("clip", clip) > 0:
        raise ValueError(f"clip must be above 0; got {brief(clip)}.")
    basis, times = cosines(waves), whole("times", times)
    total = times * sum(vector(p, basis, clip) for p in parts)
    noise = promise.noise(sampling=1.0, steps=1)
    rng = noise_generator() if promise.secure else generator(seed, SUMS_NOISE, 1, beneath(total, about=(noise,)))
    rows = times * sum(len(p) for p in parts)
    mechanism = Mechanism(noise, 1.0, 1, promise.delta, promise.unit, rows, secret=promise.secure)
    return total + rng.normal(0.0, noise, len(total)), mechanism

"""One number for each scan: how far from normal it is. Whatever leaves a residual can be scored, learnt or not.

A small anomaly adds little to the squared error of 784 noisy pixels. *Where it is* it adds a lot: so a residual is
smoothed by bells of several widths, and the largest value counts. Dividing by the scan's own noise takes out what
scanners differ in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Protocol

import numpy as np
from scipy.fft import irfft2, rfft2

from fedlab_utils.data.images import SIDE, Scans

WIDTHS = (0.5, 1.3, 2.5, 4.5)  # of bells, in pixels
GRAIN = (1.5, 3.0)  # widths in which squared residuals are added up
MAPS = (*(f"width {w:g}" for w in WIDTHS), "grain")
_MAD = 1.4826  # times the median size: the standard deviation, where numbers are normal
_MOST = 50.0  # squared noise that one pixel counts for at most in the grain


class Model(Protocol):
    """Whatever knows what is normal."""

    def residual(self, scans: np.ndarray) -> np.ndarray:
        """What is not normal about scans ``[n, 784]``, in the same shape."""


def own_noise(residual: np.ndarray) -> np.ndarray:
    """The noise of each scan, ``[n, 1]``, from the median size of what is left over: few odd pixels do not move it."""
    return _MAD * np.median(np.abs(residual), axis=1, keepdims=True) + 1e-9


@lru_cache(maxsize=16)
def _bell(width: float, *, unit: bool) -> np.ndarray:
    """Fourier transform of a bell curve around pixel (0, 0): of length 1, or of sum 1."""
    away = np.minimum(np.arange(SIDE), SIDE - np.arange(SIDE)).astype(float)
    bell = np.exp(-(away[:, None] ** 2 + away**2) / (2 * width**2))
    return rfft2((bell / (np.sqrt((bell**2).sum()) if unit else bell.sum())).astype(np.float32))


def smoothed(residual: np.ndarray, width: float) -> np.ndarray:
    """Size of the residual after a bell of length 1: white noise keeps its standard deviation, ``[n, 784]``."""
    return _size(rfft2(residual.reshape(-1, SIDE, SIDE)) * _bell(width, unit=True))


def _size(transformed: np.ndarray) -> np.ndarray:
    return np.abs(irfft2(transformed, s=(SIDE, SIDE))).reshape(len(transformed), -1)


def grain(residual: np.ndarray) -> np.ndarray:
    """Local energy: how far squared residuals, in units of the scan's own noise, stand above 1 on average nearby.

    In units of what chance would give, the larger of two widths, ``[n, 784]``.
    """
    return _grain(residual / own_noise(residual))


def _grain(scaled: np.ndarray) -> np.ndarray:
    squares = np.clip(scaled**2, 0, _MOST) - 1
    images = rfft2(squares.reshape(-1, SIDE, SIDE))
    found = []
    for width in GRAIN:
        bell = _bell(width, unit=False)
        # A squared normal number has variance 2.
        size = np.float32(np.sqrt(2 * (irfft2(bell, s=(SIDE, SIDE)).astype(float) ** 2).sum()))
        found.append(irfft2(images * bell, s=(SIDE, SIDE)) / size)
    return np.maximum(*found).reshape(len(scaled), -1)


def maps(model: Model, scans: np.ndarray) -> np.ndarray:
    """All maps of `MAPS` for each scan, ``[n, 5, 784]``, in units of the scan's own noise."""
    residual = model.residual(scans)
    scaled = (residual / own_noise(residual)).astype(np.float32)  # twice as fast, and far finer than what they say
    images = rfft2(scaled.reshape(-1, SIDE, SIDE))
    found = [_size(images * _bell(w, unit=True)) for w in WIDTHS]
    return np.stack([*found, _grain(scaled)], axis=1).astype(float)


def peaks(model: Model, scans: np.ndarray) -> np.ndarray:
    """The largest value of each map, ``[n, 5]``."""
    return maps(model, scans).max(2)


def squared_error(model: Model, scans: np.ndarray) -> np.ndarray:
    """The sum of squares of all that is left over, ``[n]``."""
    return (model.residual(scans) ** 2).sum(1)


def blob(model: Model, scans: np.ndarray, width: float = 1.3) -> np.ndarray:
    """The largest value of the smoothed residual, ``[n]``."""
    return smoothed(model.residual(scans), width).max(1)


def blob_in_own_noise(model: Model, scans: np.ndarray, width: float = 1.3) -> np.ndarray:
    """The same in units of the scan's own noise, ``[n]``."""
    residual = model.residual(scans)
    return smoothed(residual / own_noise(residual), width).max(1)


def largest_of_widths(model: Model, scans: np.ndarray) -> np.ndarray:
    """The largest of all widths as they are, which the narrowest one, noise, wins nearly always, ``[n]``."""
    return peaks(model, scans)[:, : len(WIDTHS)].max(1)


def local_energy(model: Model, scans: np.ndarray) -> np.ndarray:
    """The largest grain, ``[n]``."""
    return grain(model.residual(scans)).max(1)


SCORES: Mapping[str, Callable[[Model, np.ndarray], np.ndarray]] = {
    "squared error": squared_error,
    "blob": blob,
    "blob / own noise": blob_in_own_noise,
    "largest of 4 widths": largest_of_widths,
    "local energy": local_energy,
}


def _roughness(scans: Scans) -> np.ndarray:
    images = scans.pixels.reshape(-1, SIDE, SIDE)
    return np.abs(np.diff(images, axis=1)).sum((1, 2)) + np.abs(np.diff(images, axis=2)).sum((1, 2))


def _low_contrast(scans: Scans) -> np.ndarray:
    return -scans.contrast


TRIVIAL: Mapping[str, Callable[[Scans], np.ndarray]] = {  # of a scan alone, by somebody who has learnt nothing
    "brightness": lambda scans: scans.brightness,
    "contrast": lambda scans: scans.contrast,
    "low contrast": _low_contrast,
    "brightest pixel": lambda scans: scans.pixels.max(1),
    "darkest pixel": lambda scans: -scans.pixels.min(1),
    "heavy tails": lambda scans: (scans.pixels**4).mean(1),
    "roughness": _roughness,
}

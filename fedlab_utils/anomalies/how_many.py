"""How many components are normal, without looking at a single label: two rules that work, and three that do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief, number, whole
from fedlab_utils.anomalies.components import Components, _rows, from_rows, one_core, threshold_count
from fedlab_utils.fleet.randomness import HIDDEN_PIXELS, SHUFFLED_PIXELS, generator

GRID = (2, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 60, 80, 100, 120)
Folds = Sequence[tuple[Components, np.ndarray]]


def gavish_donoho(components: Components) -> int:
    """Components whose singular value stands above the threshold for noise of unknown size.

    The threshold is the median singular value times a number that follows from rows and pixels alone (Gavish and Donoho
    2014, arXiv:1305.5870). No folds and no grid: it follows from the sums that hospitals send anyway.
    """
    return threshold_count(components)


def share_of_variance(components: Components, share: float = 0.9) -> int:
    """The fewest components that hold this share of all variance.

    A rule of thumb which **fails** here: the directions in which few normal scans differ hold little variance, and what
    they leave over is larger than a nodule.
    """
    if not 0 < number("share", share) <= 1:
        raise ValueError(f"share must be above 0 and at most 1; got {brief(share)}.")
    held = np.cumsum(components.variances)
    return int(np.searchsorted(held, share * held[-1]) + 1)


def parallel_analysis(parts: Sequence[np.ndarray], *, draws: int = 5, seed: int = 0) -> int:
    """Components with more variance than the same place has in scans whose pixels were shuffled among patients.

    Horn 1965, doi:10.1007/BF02289447, with shuffled data. It **fails** here: shuffling keeps all variance of each
    pixel, that of the strong patterns too, and spreads it over every direction. So it compares weak patterns with
    strong ones that became noise, and not with noise.

    Parameters
    ----------
    parts
        Each hospital's normal scans ``[n, d]``; each shuffles its own, and sums are all that would have to travel.
    draws
        How often it shuffles; the mean counts.
    seed
        Of the shuffling.
    """
    parts = [_rows(p) for p in parts]
    rng, found = generator(seed, SHUFFLED_PIXELS), []
    for _ in range(whole("draws", draws)):
        found.append(from_rows(np.vstack([rng.permuted(p, axis=0) for p in parts]), 0).variances)
    above = from_rows(np.vstack(parts), 0).variances > np.mean(found, axis=0)
    return int(np.argmin(above))  # up to the first that is not


@one_core()
def held_out_error(folds: Folds, grid: Sequence[int] = GRID) -> pd.Series:
    """Squared error of a pixel of scans that the components did not see, by number of components.

    It **always wants more**: a scan is described by itself, so that every further direction, even one of pure noise,
    takes some of the error away.

    Parameters
    ----------
    folds
        Pairs of components and scans, as `components.folded` has them.
    grid
        Numbers of components to try.
    """
    found = {count: [0.0, 0] for count in _checked(grid)}
    for components, scans in folds:
        away = scans - components.mean
        weights = (away @ components.directions.T) ** 2
        for count, sums in found.items():
            sums[0] += (away**2).sum() - weights[:, :count].sum()
            sums[1] += away.size
    return _mean(found)


@one_core()
def hidden_pixels(
    folds: Folds, grid: Sequence[int] = GRID, *, share: float = 0.2, times: int = 2, seed: int = 0
) -> pd.Series:
    """Squared error of pixels that were hidden, predicted from the other pixels of the same scan.

    Too few components cannot predict them, too many predict noise. Weights of components come from the seen pixels by
    the posterior mean of probabilistic principal components (Tipping and Bishop 1999, doi:10.1111/1467-9868.00196).

    Parameters
    ----------
    folds, grid
        As in `held_out_error`.
    share, times
        Share of pixels that is hidden, and how often other ones are drawn.
    seed
        Of the draw.
    """
    if not 0 < number("share", share) < 1:
        raise ValueError(f"share must be above 0 and below 1; got {brief(share)}.")
    found, rng = {count: [0.0, 0] for count in _checked(grid)}, generator(seed, HIDDEN_PIXELS)
    for components, scans in folds:
        away, d = scans - components.mean, len(components.mean)
        for _ in range(whole("times", times)):
            hide = rng.random(d) < share
            for count, sums in found.items():
                count = min(count, len(components.directions) - 1, max(components.rows - 2, 0))
                noise = max(components.variances[count:].sum() / (d - count), 1e-9)
                spread = np.maximum(components.variances[:count] - noise, 1e-9)
                seen, hidden = components.directions[:count, ~hide], components.directions[:count, hide]
                weights = np.linalg.solve(seen @ seen.T / noise + np.diag(1 / spread), seen @ away[:, ~hide].T / noise)
                sums[0] += ((away[:, hide] - weights.T @ hidden) ** 2).sum()
                sums[1] += hide.sum() * len(away)
    return _mean(found)


def _checked(grid) -> list[int]:
    try:
        return [whole("grid", count) for count in grid]
    except TypeError:
        raise ValueError(f"grid must hold numbers of components; got {brief(grid)}.") from None


def _mean(found: dict[int, list]) -> pd.Series:
    return pd.Series({count: total / max(n, 1) for count, (total, n) in found.items()}, name="squared error of a pixel")

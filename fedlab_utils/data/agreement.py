"""Means, standard deviations and categories that hospitals agree on without showing a row to each other.

Each hospital sends counts and sums, the server adds them up and sends the means back, each hospital sends
its sum of squared distances from those means, and the server has the standard deviations. The result is
exact: the same as if all rows had been put in one table. It is *not private*: a sum over few patients tells
a lot about each of them, and a category that one patient has is that patient's value. How long a message is
does not depend on how many patients are behind it.

`agree_privately` does the same with differential privacy: each hospital sends its sums once, with noise on them.
Medians and other quantiles do not follow from sums; `private_histogram` counts between public bounds.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedlab_utils.fleet.randomness import generator, noise_generator
from fedlab_utils.privacy import Mechanism, RecordDP

Payload = dict[str, dict[str, float]]  # column -> name of the number -> number


@dataclass(frozen=True)
class Statement:
    """Something that left its sender: numbers by column, never a row.

    Attributes
    ----------
    sender, receiver
        A hospital's name, "server" or "every hospital".
    what
        "counts and sums", "means", "sums of squares", "standard deviations and categories"; or, with noise,
        "noisy counts, sums and squares" of values mapped to [-1, 1], "means and standard deviations".
    payload
        The numbers, by column and name.
    """

    sender: str
    receiver: str
    what: str
    payload: Payload

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return sum(len(numbers) for numbers in self.payload.values())


@dataclass(frozen=True)
class Agreed:
    """What the hospitals agreed on: mean and standard deviation of numbers, categories of text."""

    means: dict[str, float]
    sds: dict[str, float]
    categories: dict[str, tuple[str, ...]]

    def features(self) -> dict[str, tuple[str, ...]]:
        """The categories that get a column of their own.

        All of them, except that of two categories only the second does: "male" 0 or 1 says it all.
        """
        return {c: cats[1:] if len(cats) == 2 else cats for c, cats in self.categories.items() if cats}


def local_sums(frame: pd.DataFrame, numeric: Sequence[str], categorical: Sequence[str]) -> Payload:
    """First message of one hospital: rows, observed values and their sum; how often each category occurs."""
    payload: Payload = {}
    for column in numeric:
        values = frame[column].to_numpy(float)
        seen = values[~np.isnan(values)]
        payload[column] = {"rows": len(values), "observed": len(seen), "sum": float(seen.sum())}
    for column in categorical:
        payload[column] = {str(k): int(v) for k, v in frame[column].value_counts().items()}
    return payload


def local_squares(frame: pd.DataFrame, means: Mapping[str, float]) -> Payload:
    """Second message of one hospital: the sum of squared distances from the agreed means.

    A second round is needed because the shortcut "mean of squares minus square of mean" loses its digits
    where the mean is large and the spread is small.
    """
    payload: Payload = {}
    for column, mean in means.items():
        values = frame[column].to_numpy(float)
        payload[column] = {"squares": float(np.nansum((values - mean) ** 2))}
    return payload


def merge(payloads: Iterable[Payload]) -> Payload:
    """Add up what hospitals sent, number by number."""
    total: Payload = {}
    for payload in payloads:
        for column, numbers in payload.items():
            sums = total.setdefault(column, {})
            for name, number in numbers.items():
                sums[name] = sums.get(name, 0) + number
    return total


def agree(
    frames: Mapping[str, pd.DataFrame],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    public: Mapping[str, Sequence[str]],
    at_least: Mapping[str, Sequence[str]] | None = None,
    ddof: int = 0,
) -> tuple[Agreed, tuple[Statement, ...]]:
    """Let hospitals agree on means, standard deviations and categories.

    Parameters
    ----------
    frames
        Training rows by hospital; numbers may be missing.
    numeric, categorical
        Columns.
    public
        Categories that are known anyway; nothing is sent about these columns.
    at_least
        Categories to keep room for even if no training row has them.
    ddof
        0 divides the squares by the rows, as `StandardScaler` does; 1 by one less.

    Returns
    -------
    agreed, messages
        What was agreed on, and every message in the order it was sent. Missing numbers count as the mean, so a
        standard deviation is the one after filling in: squares over *all* rows.
    """
    learnt = [c for c in categorical if c not in public]
    first = [Statement(h, "server", "counts and sums", local_sums(f, numeric, learnt)) for h, f in frames.items()]
    sums = merge(m.payload for m in first)
    means = {c: sums[c]["sum"] / max(sums[c]["observed"], 1) for c in numeric}
    back = Statement("server", "every hospital", "means", {c: {"mean": m} for c, m in means.items()})
    second = [Statement(h, "server", "sums of squares", local_squares(f, means)) for h, f in frames.items()]
    squares = merge(m.payload for m in second)
    sds = {c: _sd(squares[c]["squares"], int(sums[c]["rows"]), means[c], ddof) for c in numeric}
    found = {c: tuple(sorted({*sums.get(c, ()), *(at_least or {}).get(c, ())})) for c in learnt}
    result: Payload = {c: {"sd": s} for c, s in sds.items()} | {c: dict.fromkeys(found[c], 1) for c in learnt}
    last = Statement("server", "every hospital", "standard deviations and categories", result)
    known = {c: found[c] if c in found else tuple(public[c]) for c in categorical}
    return Agreed(means, sds, known), tuple(m for m in (*first, back, *second, last) if m.size)


def refuse(promise: RecordDP | None, protocol: str | None = None) -> None:
    """Refuse what is no promise about statistics."""
    if promise is not None and not isinstance(promise, RecordDP):
        raise ValueError(f"statistics must be None (exact) or privacy.RecordDP(...); got {promise!r}.")
    if promise is not None and protocol == "flamby":
        raise ValueError(
            "statistics must be None with protocol='flamby': there each hospital scales with exact numbers of its own."
        )


def sensitivity(n_columns: int) -> float:
    """The length of what one patient can add to `bounded_sums`, at most.

    To each of p columns a patient with value x adds (1, x, x^2), or nothing if x is missing. Since abs(x) <= 1, the
    squared length of that is 1 + x^2 + x^4 <= 3 in a column, hence at most 3p in all; a patient whose values all lie
    on a bound reaches it.
    """
    return math.sqrt(3 * n_columns)


def bounded_sums(frame: pd.DataFrame, bounds: Mapping[str, Sequence[float]]) -> np.ndarray:
    """Exact count, sum and sum of squares of each column ``[p, 3]``, its values mapped from bounds to [-1, 1].

    Values beyond a bound count as the bound, missing ones not at all.
    """
    sums = np.zeros((len(bounds), 3))
    for row, (column, (low, high)) in zip(sums, bounds.items(), strict=True):
        values = frame[column].to_numpy(float)
        x = np.clip((values[~np.isnan(values)] - (low + high) / 2) / ((high - low) / 2), -1, 1)
        row[:] = len(x), x.sum(), (x**2).sum()
    return sums


def mechanism(promise: RecordDP, units: int | None = None) -> Mechanism:
    """One release under a promise, of all patients, with its own noise: what to charge for it in the ledger."""
    noise = promise.noise(sampling=1.0, steps=1)
    return Mechanism(noise, 1.0, 1, promise.delta, promise.unit, units, secret=promise.secure)


def agree_privately(
    frames: Mapping[str, pd.DataFrame],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    bounds: Mapping[str, Sequence[float]],
    public: Mapping[str, Sequence[str]],
    promise: RecordDP,
    seed: int = 0,
) -> tuple[Agreed, tuple[Statement, ...]]:
    """Let hospitals agree on means and standard deviations with differential privacy for each training row.

    Each hospital releases one vector: count, sum and sum of squares of each numeric column (`bounded_sums`), with
    Gaussian noise of standard deviation ``noise_multiplier * sensitivity(p)`` on each number (the Gaussian mechanism;
    Balle and Wang, arXiv:1805.06530). All else is computed from these. Numbers of rows count as public.

    Parameters
    ----------
    frames, numeric, categorical
        As in `agree`.
    bounds
        Lowest and highest value of each numeric column. They must be public knowledge, not those of the rows.
    public
        Categories of each categorical column; none is learnt from the rows.
    promise
        One release of each hospital spends all of its budget (or has its noise multiplier).
    seed
        Of the noise, unless the promise is secure. The noise depends on the sums beneath it as well: if other patients
        met the same noise, the difference of two releases would be free of it.

    Returns
    -------
    agreed, messages
        What was agreed on, and every message in the order it was sent. A count is at least 1, a mean lies within the
        bounds, a standard deviation between what the noise lets one see and half of the range (no values within bounds
        spread wider).

    Raises
    ------
    ValueError
        If a column has no public bounds or categories, or delta is too large for so many patients.
    """
    if unbounded := [c for c in numeric if c not in bounds]:
        raise ValueError(
            f"Private statistics need public bounds for every number, and {unbounded[0]!r} has none; give them to "
            f"from_frame as bounds={{{unbounded[0]!r}: (low, high)}}."
        )
    if unlisted := [c for c in categorical if c not in public]:
        raise ValueError(
            f"Private statistics need public categories for every text, and {unlisted[0]!r} has none; give them to "
            f"from_frame as categories={{{unlisted[0]!r}: [...]}}."
        )
    largest = max(map(len, frames.values()))
    if promise.delta * largest >= 1:
        raise ValueError(
            f"delta of statistics must be below 1/{largest}, one over the training patients of the largest hospital, "
            f"and better far below; got {promise.delta:g}."
        )
    categories = {c: tuple(public[c]) for c in categorical}
    if not numeric:
        return Agreed({}, {}, categories), ()
    bounds = {c: bounds[c] for c in numeric}
    # All 3p numbers leave as one vector: noise is fitted to its length once, and no budget is split among columns.
    spread = promise.noise(sampling=1.0, steps=1) * sensitivity(len(bounds))
    released = {}
    for position, (hospital, frame) in enumerate(frames.items()):
        exact = bounded_sums(frame, bounds)
        beneath = int.from_bytes(hashlib.sha256(exact.tobytes()).digest(), "little")
        rng = noise_generator() if promise.secure else generator(seed, position, beneath)
        released[hospital] = exact + rng.normal(0.0, spread, exact.shape)
    # The hospitals' noises are independent, so that their variances add up.
    rows, doubt = sum(map(len, frames.values())), spread * math.sqrt(len(frames))
    means, sds = _moments(sum(released.values()), np.array(list(bounds.values()), float), rows, doubt)
    agreed = Agreed(dict(zip(bounds, means, strict=True)), dict(zip(bounds, sds, strict=True)), categories)
    result = {c: {"mean": agreed.means[c], "sd": agreed.sds[c]} for c in bounds}
    names = ("observed", "sum", "squares")
    return agreed, (
        *(
            Statement(h, "server", "noisy counts, sums and squares", {
                c: dict(zip(names, row, strict=True)) for c, row in zip(bounds, sums.tolist(), strict=True)
            })
            for h, sums in released.items()
        ),
        Statement("server", "every hospital", "means and standard deviations", result),
    )  # fmt: skip


def _moments(sums: np.ndarray, bounds: np.ndarray, rows: int, doubt: float) -> tuple[list[float], list[float]]:
    """Means and standard deviations from noisy sums ``[p, 3]``, whose noise has the standard deviation `doubt`."""
    # Noise may leave a count below 1, or below 0.
    count = np.maximum(sums[:, 0], 1)
    mean = np.clip(sums[:, 1] / count, -1, 1)
    # A variance below its own noise cannot be told from 0, but dividing by such a small number would blow columns up.
    variance = np.clip(sums[:, 2] / count - mean**2, np.minimum(np.maximum(doubt / count, 1e-9), 1), 1)
    filled = variance * np.minimum(count / rows, 1)  # missing values are to become the mean, as in `agree`
    middle, half = bounds.mean(1), np.diff(bounds)[:, 0] / 2
    return (middle + half * mean).tolist(), (half * np.sqrt(filled)).tolist()


def private_histogram(values, edges: Sequence[float], promise: RecordDP, rng: np.random.Generator) -> np.ndarray:
    """Noisy counts of values between edges; not in any ledger until it is added there.

    A patient is in one bin, so one patient more changes the counts by a vector of length 1; each count gets Gaussian
    noise of that size times the noise multiplier. Charge it with ``ledger.add(..., mechanism=mechanism(promise))``.

    Parameters
    ----------
    values
        One number a patient, ``[n]``. Missing ones are left out, those beyond the edges count in the outer bins.
    edges
        Rising, ``[bins + 1]``, and public knowledge.
    promise
        Of the release: its budget, or its noise multiplier.
    rng
        Of the noise, unless the promise is secure.

    Returns
    -------
    ndarray
        ``[bins]``, numbers that need be neither whole nor positive.

    Raises
    ------
    ValueError
        If there is no promise, values are not one number a patient, or edges do not rise.
    """
    refuse(promise)
    values, edges = np.asarray(values, float), _edges(edges)
    if promise is None or values.ndim != 1:
        raise ValueError("private_histogram needs privacy.RecordDP(...) and one number a patient.")
    counts, _ = np.histogram(np.clip(values[~np.isnan(values)], edges[0], edges[-1]), edges)
    rng = noise_generator() if promise.secure else rng
    return counts + rng.normal(0.0, promise.noise(sampling=1.0, steps=1), len(counts))


def quantile_from_histogram(counts: Sequence[float], edges: Sequence[float], q: float) -> float:
    """The value below which a share `q` of a histogram lies; values are taken to be spread evenly within a bin.

    Counts below 0 are noise and become 0; if nothing is left, so are all bins alike. Costs no privacy beyond the
    histogram's.
    """
    counts, edges = np.maximum(np.asarray(counts, float), 0), _edges(edges)
    if counts.shape != (len(edges) - 1,) or not 0 <= q <= 1:
        raise ValueError(f"counts must be one for each of the {len(edges) - 1} bins, and q from 0 to 1; got q={q!r}.")
    if not counts.any():
        counts = np.diff(edges)
    below = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(q * below[-1], below, edges))


def _edges(edges: Sequence[float]) -> np.ndarray:
    edges = np.asarray(edges, float)
    if edges.ndim != 1 or len(edges) < 2 or not np.isfinite(edges).all() or not (np.diff(edges) > 0).all():
        raise ValueError(f"edges must be at least two rising finite numbers; got {edges.tolist()!r}.")
    return edges


def _sd(squares: float, rows: int, mean: float, ddof: int) -> float:
    variance = squares / max(rows - ddof, 1)
    # Below what rounding alone produces, a column is constant; the same bound as in scikit-learn's scaler.
    tiny = np.finfo(float).eps
    return 0.0 if variance <= rows * tiny * variance + (rows * mean * tiny) ** 2 else float(np.sqrt(variance))


def transformer(agreed: Agreed, numeric: Sequence[str]) -> ColumnTransformer:
    """Scikit-learn's own transformers for columns `numeric` and categories, taught the agreed numbers.

    They learn from two rows that no patient has: mean minus and mean plus one standard deviation. The mean of
    these two is the agreed mean and their standard deviation the agreed one. Missing numbers become the mean,
    then all are standardised; each category becomes a column of 0 and 1, and a missing or unknown one is 0 in
    all of its columns.
    """
    features = agreed.features()
    stand_in = {c: [agreed.means[c] - agreed.sds[c], agreed.means[c] + agreed.sds[c]] for c in numeric}
    stand_in |= {c: [kept[0], kept[0]] for c, kept in features.items()}
    encoder = OneHotEncoder(
        categories=[list(kept) for kept in features.values()], handle_unknown="ignore", sparse_output=False
    )
    columns = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), list(numeric)),
        ("categories", encoder, list(features)),
    ])
    return columns.fit(pd.DataFrame(stand_in))


def feature_names(agreed: Agreed, numeric: Sequence[str]) -> list[str]:
    """Names of the columns that `transformer` makes: numbers first, then "smoker_never" and so on."""
    return list(numeric) + [f"{c}_{kept}" for c, names in agreed.features().items() for kept in names]

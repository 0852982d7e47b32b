"""Means, standard deviations and categories that hospitals agree on without showing a row to each other.

Each hospital sends counts and sums, the server adds them up and sends the means back, each hospital sends
its sum of squared distances from those means, and the server has the standard deviations. The result is
exact: the same as if all rows had been put in one table. It is *not private*: a sum over few patients tells
a lot about each of them, and a category that one patient has is that patient's value. How long a message is
does not depend on how many patients are behind it.

`agree_privately` does the same with differential privacy: each hospital sends its sums once, with noise on them.
`agree_in_one_sum` lets them travel through an aggregator, such as secure aggregation: nobody sees one hospital's sums.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedlab_utils.data.bounded import NAMES, bounded_sums, moments, sensitivity
from fedlab_utils.data.sentences import listed, quoted
from fedlab_utils.fleet.randomness import AGREEMENT, beneath, generator, noise_generator
from fedlab_utils.privacy import RecordDP

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
        # Without rounding errors in between: values may be large and lie close together, as record numbers do.
        payload[column] = {"rows": len(values), "observed": len(seen), "sum": math.fsum(seen)}
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
    about = dict(ddof=ddof, hospitals=len(frames))
    sds = {c: _sd(squares[c]["squares"], int(sums[c]["rows"]), means[c], **about) for c in numeric}
    found = {c: tuple(sorted({*sums.get(c, ()), *(at_least or {}).get(c, ())})) for c in learnt}
    result: Payload = {c: {"sd": s} for c, s in sds.items()} | {c: dict.fromkeys(found[c], 1) for c in learnt}
    last = Statement("server", "every hospital", "standard deviations and categories", result)
    known = {c: found[c] if c in found else tuple(public[c]) for c in categorical}
    return Agreed(means, sds, known), tuple(m for m in (*first, back, *second, last) if m.size)


def refuse(statistics: RecordDP | None, aggregator=None, protocol: str | None = None) -> None:
    """Refuse what is no promise about statistics, and ways to agree that do not go together."""
    if statistics is not None and not isinstance(statistics, RecordDP):
        raise ValueError(f"statistics must be None (exact) or privacy.RecordDP(...); got {statistics!r}.")
    if aggregator is not None and not callable(getattr(aggregator, "aggregate", None)):
        raise ValueError(f"aggregator must have a method aggregate, as secagg.SecureSum() has; got {aggregator!r}.")
    if not getattr(aggregator, "linear", True):
        raise ValueError(f"aggregator must give a sum, since hospitals add up counts here; got {aggregator!r}.")
    if statistics is not None and aggregator is not None:
        raise ValueError("Give either statistics or aggregator: the sum would hold every hospital's own noise.")
    if protocol == "flamby" and (statistics is not None or aggregator is not None):
        raise ValueError(
            "statistics and aggregator must be None with protocol='flamby': there each hospital scales with exact "
            "numbers of its own."
        )


def _refuse_unbounded(numeric, categorical, bounds, public, what: str) -> None:
    """Refuse columns of which too little is public, all of a kind in one sentence."""
    kinds = ("bounds", "number", numeric, bounds, "(low, high)"), ("categories", "text", categorical, public, "[...]")
    for known, kind, names, there, example in kinds:
        if lacking := [c for c in names if c not in there]:
            who = f"{listed(map(quoted, lacking), 80)} {'has' if len(lacking) == 1 else 'have'} none"
            raise ValueError(
                f"{what} need public {known} for every {kind}, and {who}; give them to from_frame as "
                f"{known}={{{lacking[0]!r}: {example}, ...}}."
            )


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
    _refuse_unbounded(numeric, categorical, bounds, public, "Private statistics")
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
        rng = noise_generator() if promise.secure else generator(seed, position, beneath(exact))
        released[hospital] = exact + rng.normal(0.0, spread, exact.shape)
    # The hospitals' noises are independent, so that their variances add up.
    rows, doubt = sum(map(len, frames.values())), spread * math.sqrt(len(frames))
    means, sds = moments(sum(released.values()), np.array(list(bounds.values()), float), rows, doubt)
    agreed = Agreed(dict(zip(bounds, means, strict=True)), dict(zip(bounds, sds, strict=True)), categories)
    result = {c: {"mean": agreed.means[c], "sd": agreed.sds[c]} for c in bounds}
    return agreed, (
        *(
            Statement(h, "server", "noisy counts, sums and squares", {
                c: dict(zip(NAMES, row, strict=True)) for c, row in zip(bounds, sums.tolist(), strict=True)
            })
            for h, sums in released.items()
        ),
        Statement("server", "every hospital", "means and standard deviations", result),
    )  # fmt: skip


def agree_in_one_sum(
    frames: Mapping[str, pd.DataFrame],
    numeric: Sequence[str],
    categorical: Sequence[str],
    *,
    bounds: Mapping[str, Sequence[float]],
    public: Mapping[str, Sequence[str]],
    aggregator,
    seed: int = 0,
) -> tuple[Agreed, tuple[Statement, ...]]:
    """Let hospitals agree on means and standard deviations of which only the sum over hospitals is seen.

    Each hospital hands the vector of its `bounded_sums`, divided by its rows, to the aggregator, whose weighted mean
    times all rows is the sum: exact up to the aggregator's grid, and **not private**, since a sum over all patients of
    all hospitals still tells something of each. What it hides is how one hospital differs from the others.

    Parameters
    ----------
    frames, numeric, categorical, bounds, public
        As in `agree_privately`.
    aggregator
        Such as ``secagg.SecureSum()``; see `federated.Aggregator`.
    seed
        Of the coins with which numbers are rounded to a grid.

    Returns
    -------
    agreed, messages
        What was agreed on, and every message in the order it was sent; of one that is not a masked vector, its bytes.

    Raises
    ------
    ValueError
        If a column has no public bounds or categories, or the aggregator cannot add so many hospitals.
    """
    _refuse_unbounded(numeric, categorical, bounds, public, "Sums that travel through an aggregator")
    refuse(None, aggregator)
    categories = {c: tuple(public[c]) for c in categorical}
    if not numeric:
        return Agreed({}, {}, categories), ()
    bounds = {c: bounds[c] for c in numeric}
    names, weights = list(frames), np.array([len(f) for f in frames.values()], float)
    vectors = np.stack([bounded_sums(f, bounds).ravel() for f in frames.values()]) / weights[:, None]
    if check := getattr(aggregator, "grid_step", None):
        check(len(names), int(weights.sum()))
    everybody, rng = np.ones(len(names), dtype=bool), generator(seed, AGREEMENT)
    mean, sent = aggregator.aggregate(vectors, weights, alive=everybody, rng=rng)
    rows, pairs = weights.sum(), np.array(list(bounds.values()), float)
    means, sds = moments(mean.reshape(-1, 3) * rows, pairs, rows, doubt=0.0)
    agreed = Agreed(dict(zip(bounds, means, strict=True)), dict(zip(bounds, sds, strict=True)), categories)
    result = {c: {"mean": agreed.means[c], "sd": agreed.sds[c]} for c in bounds}
    messages = [
        Statement(*(end if isinstance(end, str) else names[end] for end in ends), f"{what}, agreement", about)
        for *ends, what, about in ((*m[:3], _masked(m, bounds)) for m in sent)
    ]
    return agreed, (*messages, Statement("server", "every hospital", "means and standard deviations", result))


def _masked(message: tuple, bounds: Mapping[str, Sequence[float]]) -> Payload:
    """The words of a masked vector by column and name, or how many bytes another message has."""
    values = message[4]
    if message[2] != "masked update" or values is None:
        return {"(protocol)": {"bytes": message[3]}}
    words = values[: 3 * len(bounds)].reshape(-1, 3).tolist()
    return {c: dict(zip(NAMES, row, strict=True)) for c, row in zip(bounds, words, strict=True)}


def _sd(squares: float, rows: int, mean: float, *, ddof: int, hospitals: int) -> float:
    variance = squares / max(rows - ddof, 1)
    # Below what rounding alone produces, a column is constant: each hospital's sum is rounded once, then each addition.
    tiny = (hospitals + 2) * np.finfo(float).eps
    return 0.0 if variance <= (mean * tiny) ** 2 else float(np.sqrt(variance))


def transformer(agreed: Agreed, numeric: Sequence[str]) -> ColumnTransformer:
    """Scikit-learn's own transformers for columns `numeric` and categories, taught the agreed numbers.

    They learn from two rows that no patient has: mean minus and mean plus one standard deviation. The mean of
    these two is the agreed mean and their standard deviation the agreed one. What they make is `scaled`.
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
    columns.fit(pd.DataFrame(stand_in))
    # The scaler would divide a constant column by 1, and feed a new value raw into the network.
    if constant := [k for k, c in enumerate(numeric) if agreed.sds[c] == 0]:
        columns.named_transformers_["numbers"][-1].scale_[constant] = np.inf
    return columns


def scaled(tidy: pd.DataFrame, agreed: Agreed, numeric: Sequence[str]) -> np.ndarray:
    """Tidy rows as a float array ``[n, features]``, as `transformer` makes it, and quicker.

    Missing numbers become the mean, then all are standardised (where all training rows are the same, other rows become
    0 as well); each category becomes a column of 0 and 1, and a missing or unknown one is 0 in all of its columns.
    """
    blocks = []
    if numeric:
        means, sds = (np.array([of[c] for c in numeric]) for of in (agreed.means, agreed.sds))
        numbers = tidy[list(numeric)].to_numpy(float)
        blocks.append((np.where(np.isnan(numbers), means, numbers) - means) / np.where(sds == 0, np.inf, sds))
    for column, kept in agreed.features().items():
        codes = pd.Index(kept).get_indexer(tidy[column])  # -1 for what is none of them
        blocks.append(codes[:, None] == np.arange(len(kept)))
    return np.concatenate(blocks, axis=1, dtype=float)


def feature_names(agreed: Agreed, numeric: Sequence[str]) -> list[str]:
    """Names of the columns that `transformer` makes: numbers first, then "smoker_never" and so on."""
    return list(numeric) + [f"{c}_{kept}" for c, names in agreed.features().items() for kept in names]

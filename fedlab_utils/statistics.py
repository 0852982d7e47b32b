"""Means, standard deviations and categories that hospitals agree on without showing a row to each other.

Each hospital sends counts and sums, the server adds them up and sends the means back, each hospital sends
its sum of squared distances from those means, and the server has the standard deviations. The result is
exact: the same as if all rows had been put in one table. It is *not private*: a sum over few patients tells
a lot about each of them, and a category that one patient has is that patient's value. How long a message is
does not depend on how many patients are behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

SERVER = "server"
EVERYONE = "every hospital"
Payload = dict[str, dict[str, float]]  # column -> name of the number -> number


@dataclass(frozen=True)
class Message:
    """Something that left its sender: numbers by column, never a row.

    Attributes
    ----------
    sender, receiver
        A hospital's name, "server" or "every hospital".
    what
        "counts and sums", "means", "sums of squares", "standard deviations and categories".
    payload
        The numbers, by column and name.
    """

    sender: str
    receiver: str
    what: str
    payload: Payload

    @property
    def size(self) -> int:
        """How many numbers the message holds."""
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
) -> tuple[Agreed, tuple[Message, ...]]:
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
    Agreed, and every message in the order it was sent. Missing numbers count as the mean, so a standard
    deviation is the one after filling in: squares over *all* rows.
    """
    learnt = [c for c in categorical if c not in public]
    first = [Message(h, SERVER, "counts and sums", local_sums(f, numeric, learnt)) for h, f in frames.items()]
    sums = merge(m.payload for m in first)
    means = {c: sums[c]["sum"] / max(sums[c]["observed"], 1) for c in numeric}
    back = Message(SERVER, EVERYONE, "means", {c: {"mean": m} for c, m in means.items()})
    second = [Message(h, SERVER, "sums of squares", local_squares(f, means)) for h, f in frames.items()]
    squares = merge(m.payload for m in second)
    sds = {c: _sd(squares[c]["squares"], int(sums[c]["rows"]), means[c], ddof) for c in numeric}
    found = {c: tuple(sorted({*sums.get(c, ()), *(at_least or {}).get(c, ())})) for c in learnt}
    result: Payload = {c: {"sd": s} for c, s in sds.items()} | {c: dict.fromkeys(found[c], 1) for c in learnt}
    last = Message(SERVER, EVERYONE, "standard deviations and categories", result)
    known = {c: found[c] if c in found else tuple(public[c]) for c in categorical}
    return Agreed(means, sds, known), tuple(m for m in (*first, back, *second, last) if m.size)


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

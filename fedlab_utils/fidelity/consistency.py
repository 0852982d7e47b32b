"""What always holds in a table of real rows, and how many other rows break it.

A *condition* is something that a row fulfils or not: ``sex = male``, ``cost is not 0``, ``bmi is missing``. Two
conditions that many rows fulfil and no row fulfils together are a rule: ``if visits = 0, then cost = 0``. So are two
numbers of which one is never the larger: ``diastolic is at most systolic``. Where the columns had nothing to do with
each other, n rows would have about ``e = n_a n_b / n`` in which both conditions hold, and none with a chance of at
most ``exp(-e)``. A rule counts if that chance, times all the pairs that were looked at (Bonferroni), is below .01.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from fedlab_utils.fidelity import reading
from fedlab_utils.fidelity.reading import Kinds

CHANCE = 0.01  # that there is any rule in a table whose columns have nothing to do with each other
FEW_VALUES = 10  # a number with no more is looked at value by value; of others only 0 is
MOST_ROWS = 5_000  # among which rules are looked for; they hold in all
MOST_SPREADS = 10  # by which the standard deviations of two numbers of alike units differ
MOST_CONDITIONS = 500  # those that split the rows most evenly


@dataclass(frozen=True)
class Condition:
    """Something that a row fulfils or not: a column "is" or "is not" a value, "is there" or "is missing".

    `name` is what the value is called, and `other` the only other value that the column has, if there is just one.
    """

    column: str
    what: str
    value: float = np.nan
    name: str = ""
    other: str = ""

    def holds(self, table: pd.DataFrame) -> np.ndarray:
        """In which rows it does, true or false ``[n]``; nothing holds of a value that is missing."""
        values = table[self.column].to_numpy()
        there = ~np.isnan(values)
        if self.what in ("is there", "is missing"):
            return there if self.what == "is there" else ~there
        return (values == self.value) if self.what == "is" else there & (values != self.value)

    def implies(self, other: Condition) -> bool:
        """Whether every row that fulfils it fulfils the other one of the same column too, whatever the table."""
        if self == other or (other.what == "is there" and self.what != "is missing"):
            return True
        return self.what == "is" and other.what == "is not" and self.value != other.value

    def in_words(self, *, denied: bool = False) -> str:
        """``stage = 2``, and if denied ``stage is not 2``."""
        if self.what in ("is there", "is missing"):
            return f"{self.column} {'is not' if denied == (self.what == 'is missing') else 'is'} missing"
        if denied and self.other:
            return f"{self.column} = {self.other}"
        return f"{self.column} {'=' if denied == (self.what == 'is not') else 'is not'} {self.name}"


@dataclass(frozen=True)
class Never:
    """No row fulfils both."""

    first: Condition
    second: Condition
    expected: float

    def __str__(self) -> str:
        return f"if {self.first.in_words()}, then {self.second.in_words(denied=True)}"

    def broken(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows break it, true or false ``[n]``."""
        return self.first.holds(table) & self.second.holds(table)


@dataclass(frozen=True)
class AtMost:
    """One number is never larger than the other."""

    small: str
    large: str
    expected: float

    def __str__(self) -> str:
        return f"{self.small} is at most {self.large}"

    def broken(self, table: pd.DataFrame) -> np.ndarray:
        """Which rows break it, true or false ``[n]``."""
        return table[self.small].to_numpy() > table[self.large].to_numpy()


Rule = Never | AtMost


def rules(real: pd.DataFrame, synthetic: pd.DataFrame, *, holdout: pd.DataFrame) -> pd.DataFrame:
    """Rules that all rows of `real` keep, and how many rows of the other tables break them.

    Rules are found, not given: a rule may hold by chance, and then some of the `holdout` rows break it too.

    Parameters
    ----------
    real
        The rows that the generator was trained on.
    synthetic
        Its rows; the same columns in any order.
    holdout
        Real rows that the generator did not see.

    Returns
    -------
    DataFrame
        One row a rule, the most often broken first: rule (in words), expected (how many rows of `real` would break it
        if the two columns had nothing to do with each other), synthetic and holdout (the share of rows that do).

    Raises
    ------
    ValueError
        If the tables do not fit together or hold fewer than 20 rows.
    """
    tables = {"real": real, "synthetic": synthetic, "holdout": holdout}
    kinds, *tables = reading.several(tables, genuine=["real", "holdout"], target=None, fewest=reading.FEWEST_ROWS)
    found = find(kinds, tables[0])
    lines = [(str(r), r.expected, *(float(r.broken(t).mean()) for t in tables[1:])) for r in found]
    listed = pd.DataFrame(lines, columns=["rule", "expected", "synthetic", "holdout"])
    return listed.sort_values(["synthetic", "expected"], ascending=False, ignore_index=True)


def find(kinds: Kinds, real: pd.DataFrame, *, seed: int = 0) -> list[Rule]:
    """Rules of a table as `reading.several` gives it; of a larger one 5,000 rows are looked at first."""
    rows = np.random.default_rng(seed).permutation(len(real))[:MOST_ROWS]
    some = real if len(real) <= MOST_ROWS else real.iloc[rows]
    conditions = [c for column in real for c in _conditions(column, some[column], kinds)]
    masks = [c.holds(some) for c in conditions]
    even = [min(m.sum(), (~m).sum()) for m in masks]
    chosen = sorted(np.argsort(even, kind="stable")[::-1][:MOST_CONDITIONS])
    pairs = len(chosen) ** 2 / 2 + len(kinds.numbers) ** 2
    least = np.log(pairs / CHANCE) if pairs else np.inf
    chosen = [k for k in chosen if even[k] >= least]
    found = [*_never([conditions[k] for k in chosen], [masks[k] for k in chosen], some, least)]
    found += _at_most([c for c in kinds.numbers if some[c].nunique() > 2], some, least)
    return [rule for rule in found if len(some) == len(real) or not rule.broken(real).any()]


def share_broken(found: list[Rule], table: pd.DataFrame) -> float:
    """The share of rows that break at least one."""
    return float(np.any([rule.broken(table) for rule in found], axis=0).mean()) if found else 0.0


def _conditions(column: str, values: pd.Series, kinds: Kinds) -> Iterator[Condition]:
    def called(value: float) -> str:
        return f"{value:g}" if names is None else str(names[int(value)])

    if values.isna().any():
        yield from (Condition(column, what) for what in ("is there", "is missing"))
    own = np.unique(values.dropna())
    names = kinds.levels.get(column)
    if names is None and len(own) > FEW_VALUES:
        own = own[own == 0]
        several = True
    else:
        several = len(own) > 2  # of two values, not to be the one is to be the other
    if len(own) == 1 and not several:
        return
    for value in own:
        other = "" if several or values.isna().any() else called(own[own != value][0])
        yield Condition(column, "is", float(value), called(value), other)
        if several:
            yield Condition(column, "is not", float(value), called(value))


def _never(conditions: list[Condition], masks: list[np.ndarray], table: pd.DataFrame, least: float) -> Iterator[Never]:
    """Pairs of conditions that no row fulfils together, but for those that follow from another pair."""
    if not conditions:
        return
    held = np.array(masks, np.float32).T  # [rows, conditions]
    # Where a value is missing there is nothing to break, so those rows are not counted.
    asked = [
        np.ones(len(table)) if c.what in ("is there", "is missing") else table[c.column].notna() for c in conditions
    ]
    asked = np.array(asked, np.float32).T
    first, both = held.T @ asked, asked.T @ asked
    expected = first * first.T / np.maximum(both, 1)
    columns = np.array([c.column for c in conditions])
    never = (held.T @ held == 0) & (expected >= least) & (columns[:, None] != columns)
    implies = np.eye(len(conditions), dtype=np.float32)
    for i, j in np.argwhere(columns[:, None] == columns):
        implies[i, j] = conditions[i].implies(conditions[j])
    never &= implies @ never.astype(np.float32) @ implies.T < 1.5  # itself, and no stronger one
    rows = held.sum(0)
    for i, j in np.argwhere(np.triu(never)):
        # the wording with fewer denials; of two alike, the one that asks for the rarer condition
        orders = sorted([(i, j), (j, i)], key=lambda order: rows[order[0]])
        ways = [Never(conditions[a], conditions[b], float(expected[i, j])) for a, b in orders]
        yield min(ways, key=lambda rule: str(rule).count(" not"))


def _at_most(numbers: list[str], table: pd.DataFrame, least: float) -> Iterator[AtMost]:
    """Pairs of numbers of alike units of which one is never the larger, though their ranges overlap."""
    values, spread = table[numbers].to_numpy(), table[numbers].std().to_numpy()
    alike = np.maximum(spread, spread[:, None]) <= MOST_SPREADS * np.minimum(spread, spread[:, None])
    for i, j in np.argwhere(alike & ~np.eye(len(numbers), dtype=bool)):
        a, b = values[:, i], values[:, j]
        if (a > b).any():
            continue
        there = ~(np.isnan(a) | np.isnan(b))
        larger = np.searchsorted(np.sort(b[there]), a[there])  # how many of the others each is above
        expected = float(larger.sum() / max(there.sum(), 1))
        if expected >= least:
            yield AtMost(numbers[i], numbers[j], expected)

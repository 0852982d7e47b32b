"""Columns that are read, and hardly what they seem: identifiers, codes for missing values, answers in disguise.

All of it is looked for in all rows, training and test rows alike, and nothing is changed.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from fedlab_utils.data.sentences import DOUBT, VOID, Remark, columns, it, listed, quoted, rows

_FEWEST = 20  # rows from which on a pattern is none of chance
_TELLS = 0.99  # AUC of a single number
_SURE = 4.5  # standard errors of an AUC by chance
_EXACT = 2**53  # larger whole numbers lose digits as floats
_PATIENT = re.compile(
    r"(?:^|.*[_\W])(?:id|ids|uid|nr|pat|pid|mrn|ssn|nhs|subject|person|participant|patient|patients?[_\W]?(?:id|nr|no|num|number|"
    r"key|code)|(?:record|case|hospital|visit|subject|person)[_\W]?(?:id|nr|no|num|number|key|code))",
    re.IGNORECASE,
)
_CODE = re.compile(r".*(?:^|[_\W])(?:code|codes|cd|icd|icd9|icd10|drg|category|ward|dept|department)", re.IGNORECASE)
_CODES_FOR_MISSING = {s * v for v in (9, 99, 999, 9999, 99999, 88, 888, 8888, 77, 777, 7777) for s in (1, -1)} | {-1, 0}


def identifiers(frame: pd.DataFrame, numeric, categorical, patient: str | None) -> list[Remark]:
    """Columns that are different in every row, that hold names, or that tell patients apart.

    `frame` is tidy; `patient` is the column that is known to tell patients apart, and left out.
    """
    unique, names, several = [], [], []
    for column in numeric:
        values = frame[column].dropna().to_numpy(float)
        if len(values) < _FEWEST:
            continue
        _, times = np.unique(values, return_counts=True)
        if len(times) == len(values):
            unique += [column] * _is_running(values, column)
        elif patient is None and (_is_patient(column, len(values), len(times)) or _in_equal_numbers(values, times)):
            several.append(column)
    for column in categorical:
        times = frame[column].value_counts()
        if len(times) == times.sum() >= _FEWEST // 4:
            unique.append(column)
        elif patient is None and _is_patient(column, times.sum(), len(times)):
            several.append(column)
        elif len(times) >= 10 and (times.sum() <= 4 * len(times) or times.index.str.contains("@").mean() > 0.5):
            names.append(column)
    remarks = []
    if several:
        most = int(frame[several[0]].value_counts().max())
        remarks.append(Remark(VOID, (
            f"{columns(several, 'looks', 'look')} like a patient's number, up to {rows(most)} each: without "
            f"from_frame(..., patient={quoted(several[0])}) a patient stands in training and test."
        )))  # fmt: skip
    if unique:
        remarks.append(Remark(VOID, (
            f"{columns(unique, 'is', 'are')} different in every row, as an identifier is; drop {it(unique)}."
        )))  # fmt: skip
    if names:
        remarks.append(Remark(VOID, (
            f"{columns(names, 'has', 'have')} many values of few rows each, as names have; drop {it(names)} or group "
            f"{it(names)} by data.group_rare."
        )))  # fmt: skip
    return remarks


def _is_running(values: np.ndarray, column: str) -> bool:
    """Whether numbers that are all different are counted rather than measured."""
    steps = np.diff(values)
    if not np.equal(np.mod(values, 1), 0).all():
        return bool(np.ptp(steps) <= 1e-6 * abs(steps).max())  # 0.5, 1.0, 1.5, ...
    dense = np.ptp(values) < 2 * len(values)
    return bool(
        dense or (steps > 0).all() or (steps < 0).all() or abs(values).max() >= 1e8 or _PATIENT.fullmatch(column)
    )


def _is_patient(column: str, n_rows: int, n_values: int) -> bool:
    """Whether the name of the column says so, and the number of its values does not speak against it."""
    return bool(_PATIENT.fullmatch(column)) and n_values >= 10 and n_rows <= 20 * n_values


def _in_equal_numbers(values: np.ndarray, times: np.ndarray) -> bool:
    """Whether whole numbers occur equally often, as visits do by plan; what is measured does not."""
    if not np.equal(np.mod(values, 1), 0).all() or len(times) < _FEWEST:
        return False
    usual = int(np.median(times))
    return usual >= 2 and bool((times == usual).mean() >= 0.9)


def telling(frame: pd.DataFrame, numeric, categorical, labels: np.ndarray) -> list[Remark]:
    """Columns that tell the outcome alone; `labels` are class numbers, ``[n]``, of the rows of `frame`."""
    found = [c for c in numeric if _number_tells(frame[c].to_numpy(float), labels)]
    found += [c for c in categorical if _category_tells(frame[c], labels)]
    if not found:
        return []
    return [Remark(VOID, f"{columns(found, 'tells', 'tell')} the outcome alone; was {it(found)} known before it?")]


def _number_tells(values: np.ndarray, labels: np.ndarray) -> bool:
    there = ~np.isnan(values)
    values, labels = values[there], labels[there].astype(int)
    sizes = np.bincount(labels)
    sizes, n = sizes[sizes > 0], len(labels)
    if not 2 <= len(sizes) <= n / 4 or n < _FEWEST or values.min() == values.max():
        return False
    if len(sizes) == 2:
        auc = roc_auc_score(labels == labels.max(), values)
        by_chance = np.sqrt((n + 1) / (12 * sizes[0] * sizes[1]))
        return abs(auc - 0.5) > max(_TELLS - 0.5, _SURE * by_chance)
    tree = DecisionTreeClassifier(max_leaf_nodes=len(sizes) + 1).fit(values[:, None], labels)
    return _sure(np.sum(tree.predict(values[:, None]) == labels), n, sizes.max())


def _category_tells(column: pd.Series, labels: np.ndarray) -> bool:
    """Whether each category goes with one class; what is missing counts as one of them."""
    table = pd.crosstab(column.fillna(""), labels).to_numpy()
    if table.shape[0] < 2 or table.shape[1] < 2 or table.sum() < max(_FEWEST, 4 * table.shape[0]):
        return False
    return _sure(table.max(1).sum(), table.sum(), table.sum(0).max())


def _sure(right: int, n: int, most_frequent: int) -> bool:
    others = n - most_frequent
    return bool(others >= 5 and right - most_frequent >= 0.98 * others)


def sentinels(frame: pd.DataFrame, numeric) -> list[Remark]:
    """Numbers far from all others: codes for what is missing, and slips of the pen."""
    remarks = []
    for column in numeric:
        values = frame[column].dropna().to_numpy(float)
        codes = _codes(values)
        if apart := _apart(values[~np.isin(values, codes)]):
            n, low, high = apart
            what = f"{low:g}" if low == high else f"from {low:g} to {high:g}"
            text = f"{quoted(column)} is {what} in {rows(n)}, far from its other values: other units, or slips?"
            remarks.append(Remark(DOUBT, text))
        for value in codes:
            n = int((values == value).sum())
            remarks.append(Remark(DOUBT, (
                f"{quoted(column)} is {value:g} in {rows(n)}, far from its other values; if that means missing, "
                f"make it so: frame[{quoted(column)}].replace({value:g}, np.nan)."
            )))  # fmt: skip
    return remarks


def _codes(values: np.ndarray) -> list[float]:
    """Values far from all others; codes for missing values need not be as far as others."""
    codes: list[float] = []
    distinct, times = np.unique(values, return_counts=True)
    while len(distinct) >= 3:
        ends = [k for k in (0, -1) if _is_code(distinct, times, k)]
        if not ends:
            return codes
        codes.append(float(distinct[ends[0]]))
        distinct, times = np.delete(distinct, ends[0]), np.delete(times, ends[0])
        if len(codes) > 3:
            return []  # a column of long tails, not of codes
    return codes


def _apart(values: np.ndarray) -> tuple[int, float, float] | None:
    """How many values lie apart from most, and from where to where; None if there is no such gap.

    The gap has to be wider than the others are spread on a scale that long tails do not stretch: the logarithm of
    positive numbers, otherwise one that is linear near the median and logarithmic far off.
    """
    values = np.sort(values)
    if len(values) < _FEWEST or len(np.unique(values)) < 10:
        return None
    if values[0] > 0:
        scale, wide = np.log(values), 1.5
    else:
        quarter = np.quantile(values, [0.25, 0.75])
        scale, wide = np.arcsinh((values - np.median(values)) / (np.ptp(quarter) or 1)), 1.0
    after = int(np.diff(scale).argmax())
    low, high = slice(0, after + 1), slice(after + 1, None)
    most, few = (low, high) if 2 * (after + 1) >= len(values) else (high, low)
    gap = scale[after + 1] - scale[after]
    if len(np.unique(values[most])) < 10 or gap <= wide * np.ptp(scale[most]):
        return None
    return len(values[few]), float(values[few].min()), float(values[few].max())


def _is_code(distinct: np.ndarray, times: np.ndarray, end: int) -> bool:
    value, n, rest = distinct[end], times[end], np.delete(distinct, end)
    span, gap = np.ptp(rest), abs(value - rest[end])
    whole = bool(np.equal(np.mod(rest, 1), 0).all())
    if value == 0:
        lower = rest[rest <= np.median(rest)]
        usual = np.diff(lower).max(initial=0) * (3 if n == 1 else 1.5)
        return bool(len(rest) >= 10 and gap >= max(usual, 0.25 * np.median(rest)))
    if value not in _CODES_FOR_MISSING:
        return False
    if len(rest) <= 3:
        return bool(whole and gap > 1 and abs(value) >= 9)
    if value < 0 <= rest.min():
        return bool(value < -1 or n >= 3 or not whole) and gap > 0.02 * span
    return bool(gap >= (0.5 if n >= 3 else 3) * max(span, 1e-300))


def repeats(frame: pd.DataFrame, numeric) -> list[Remark]:
    """Rows that say the same as another one, in a table where chance makes none; `frame` is tidy, with the target."""
    again = int(frame.duplicated().sum())
    telling = [c for c in numeric if frame[c].nunique() > 20]
    if again < 3 or len(telling) < 2:
        return []
    alike = [float(np.square(frame[c].value_counts(normalize=True, dropna=False)).sum()) for c in frame]
    if len(frame) ** 2 / 2 * np.prod(alike) > 0.01 * again:
        return []
    text = f"{again} rows repeat another one in all columns, so patients stand in training and test; drop_duplicates()"
    return [Remark(VOID, f"{text} leaves one of each.")]


def large(frame: pd.DataFrame, numeric) -> list[Remark]:
    """Whole numbers that lose digits; `frame` is as it came."""
    if not (found := [c for c in numeric if _loses_digits(frame[c])]):
        return []
    return [Remark(DOUBT, (
        f"{columns(found, 'holds', 'hold')} whole numbers above 2**53, whose last digits are lost; if they matter, "
        f"subtract the smallest one."
    ))]  # fmt: skip


def _loses_digits(column: pd.Series) -> bool:
    there = column.dropna()
    if pd.api.types.is_integer_dtype(column):
        return bool(len(there) and max(int(there.max()), -int(there.min())) > _EXACT)
    return any(isinstance(v, int) and abs(v) > _EXACT for v in there) if column.dtype == object else False


def codes(frame: pd.DataFrame, numeric) -> list[Remark]:
    """Numbers that the name of their column calls codes, and dates written as whole numbers."""
    found, dates = [], []
    for column in numeric:
        distinct = frame[column].dropna().unique()
        whole = len(distinct) and np.equal(np.mod(distinct.astype(float), 1), 0).all()
        if whole and 3 <= len(distinct) <= 50 and _CODE.fullmatch(column):
            found.append(column)
        elif whole and len(distinct) >= 5 and distinct.min() >= 19000101 and distinct.max() <= 21001231:
            text = pd.Series(distinct.astype(int)).astype(str)
            dates += [column] * bool(pd.to_datetime(text, format="%Y%m%d", errors="coerce").notna().all())
    remarks = []
    if found:
        named = listed(map(quoted, found))
        text = f"By name codes, but read as numbers: {named}; name them in categories= to have them as categories."
        remarks.append(Remark(DOUBT, text))
    if dates:
        how = f"(pd.to_datetime(frame[{quoted(dates[0])}], format='%Y%m%d') - pd.Timestamp('2000-01-01')).dt.days"
        text = f"{columns(dates, 'looks', 'look')} like dates written as numbers; count days by {how}."
        remarks.append(Remark(DOUBT, text))
    return remarks

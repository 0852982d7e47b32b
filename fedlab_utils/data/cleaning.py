"""What a hospital does to its own extract before anything else.

Cleaning looks at one row, or at the rows of one hospital, and at public knowledge; what depends on all
patients (means, spreads, categories) comes later and is agreed on, see `agreement`.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from fedlab_utils._arguments import whole
from fedlab_utils.data import cells, simulate

HOSPITAL_COLUMN = "hospital"
FACTORS = ["age", "sex", "systolic_bp", "bp_treated", "total_cholesterol", "hdl", "smoker", "diabetes", "bmi"]
OUTCOMES = ("cvd_event", "diagnosis")


def drop_duplicate_records(raw: pd.DataFrame) -> pd.DataFrame:
    """Keep the first of records that agree in everything except their record number."""
    return raw[~raw.duplicated(subset=[c for c in raw.columns if c != "record_id"])]


def add_age(raw: pd.DataFrame) -> pd.DataFrame:
    """Put completed years at admission in the place of birth date and admission date."""
    age = simulate.age_in_years(raw["birth_date"], raw["admitted"])
    return raw.assign(age=age).drop(columns=["birth_date", "admitted"])


def remove_identifiers(raw: pd.DataFrame) -> pd.DataFrame:
    """Drop what names a patient. This is not anonymity yet: birth date, sex and postcode are still there."""
    return raw.drop(columns=simulate.DIRECT_IDENTIFIERS)


def harmonise_units(raw: pd.DataFrame) -> pd.DataFrame:
    """Blood pressure as a number of mmHg; lipids in mg/dL.

    A lipid value between 0 and 12 can only be mmol/L: 12 mg/dL would be below anything measured in a patient,
    and 12 mmol/L above.

    Raises
    ------
    ValueError
        If a blood pressure is no number once its unit is taken off.
    """
    frame = raw.copy()
    frame["systolic_bp"] = pd.to_numeric(raw["systolic_bp"].str.removesuffix("mmHg").str.strip())
    for column in ("total_cholesterol", "hdl"):
        mmol = raw[column].between(0, 12, inclusive="neither")
        frame[column] = raw[column].mask(mmol, raw[column] * simulate.MG_PER_MMOL)
    return frame


def zeros_to_missing(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Treat a recorded 0 as the missing value that it is, in columns that cannot be 0 in a living patient."""
    return frame.assign(**{c: frame[c].mask(frame[c] == 0) for c in columns})


def tidy_categories(raw: pd.DataFrame) -> pd.DataFrame:
    """One spelling for each category: "Male ", "M" and "m" become "male". What is unknown becomes missing."""
    tidy = {c: raw[c].str.strip().str.lower().map(meaning) for c, meaning in simulate.SPELLINGS.items()}
    return raw.assign(**tidy)


def group_rare(column: pd.Series, most: int = 20, other: str = "other") -> pd.Series:
    """The most frequent categories of a column, and one for all the rest: for codes of diagnoses, drugs and wards.

    Which codes are frequent is a fact about the rows of the table. Equally frequent ones are taken in the order of the
    alphabet.

    Parameters
    ----------
    column
        Codes, as text or numbers, ``[n]``.
    most
        How many categories to leave at most, the one for the rest included.
    other
        Its name.

    Returns
    -------
    Series
        Text, ``[n]``; what is missing stays missing.

    Raises
    ------
    ValueError
        If `column` is no pandas column, `most` no whole number of at least 2, or `other` is one of the frequent codes.
    """
    if not isinstance(column, pd.Series):
        raise ValueError(f"column must be one column of a table, such as frame['code']; got a {type(column).__name__}.")
    most = whole("most", most, 2)
    text = cells.as_text(column, cells.MARKS)
    times = text.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if len(times) <= most:
        return text
    kept = times.index[: most - 1]
    if not isinstance(other, str) or not other.strip() or other in kept:
        raise ValueError(f"other must be a name that no frequent category has; got {other!r}.")
    return text.where(text.isin(kept) | text.isna(), other)


def clean_hospital_network(raw: pd.DataFrame) -> pd.DataFrame:
    """All of it in order: hospital, nine risk factors and both outcomes, with the row labels of `raw`."""
    frame = add_age(remove_identifiers(drop_duplicate_records(raw)))
    frame = zeros_to_missing(harmonise_units(frame), ["systolic_bp", "total_cholesterol", "hdl", "bmi"])
    frame = tidy_categories(frame)
    return frame[[HOSPITAL_COLUMN, *FACTORS, *OUTCOMES]]

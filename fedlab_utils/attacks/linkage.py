"""What a table gives away once the names are gone: quasi-identifiers, group sizes, names from a register.

Patients who share the released values form a group; k is the size of the smallest one (Sweeney 2002,
doi:10.1142/S0218488502001648). The simulated network has a public register to link with; of any other table
only the group sizes are known.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief, whole
from fedlab_utils.data import Federation, cleaning, simulate, sources
from fedlab_utils.federated.scores import rank_auc

STEPS = 44  # the ages of the network span 44 years; other numbers are cut into as many steps
DIGITS = 5  # of a postcode
AGE = ("age", "birth_year", "year_of_birth", "year of birth")
SEX = ("sex", "gender")
PLACE = ("postcode", "zip", "zipcode", "zip_code")


@dataclass(frozen=True)
class Released:
    """Three columns that an attacker may know, and the outcome that a model is to learn.

    Attributes
    ----------
    number, group, place
        Values ``[n]``: what plays the role of the year of birth (in steps of one), of the sex and of the
        postcode (text whose first digits are a larger area).
    columns
        What the three are called; None for one that the table has not.
    outcome
        Whether the patient has it, ``[n]``.
    outcome_name
        What it is called.
    person
        Name of each patient, ``[n]``, where the truth is known.
    register
        The same three columns of a public list, and its names.
    """

    number: np.ndarray
    group: np.ndarray
    place: np.ndarray
    columns: tuple[str | None, str | None, str | None]
    outcome: np.ndarray
    outcome_name: str
    person: np.ndarray | None = None
    register: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None = None


def released(federation: Federation) -> Released:
    """The quasi-identifiers of a data set.

    The simulated network has year of birth, sex and postcode. In another table the column age, or the first
    one with numbers, stands for the year; sex, or the first text column, for the sex; the next for the
    postcode.

    Raises
    ------
    ValueError
        If `federation` is none.
    """
    if not isinstance(federation, Federation):
        raise ValueError(f"federation must be a data.Federation; got {brief(federation)}.")
    if federation.name == "hospital_network":
        return _network()
    everyone = federation.pooled()
    frame = pd.concat([everyone.train, everyone.test], ignore_index=True)
    schema, left = federation.schema, [c for c in frame.columns if c != federation.target]
    roles = []
    for wished, candidates in ((AGE, schema.numeric), (SEX, schema.categorical), (PLACE, left)):
        free = [c for c in candidates if c in left]
        chosen = next((c for c in free if c.lower() in wished), next(iter(free), None))
        roles.append(chosen)
        left = [c for c in left if c != chosen]
    number, group, place = (None if c is None else frame[c] for c in roles)
    none = np.zeros(len(frame), int)
    return Released(
        number=none if number is None else _steps(number, STEPS, exact=_in_years(roles[0], number)),
        group=none if group is None else pd.factorize(group)[0],
        place=np.array([""] * len(frame)) if place is None else _address(place),
        columns=tuple(roles),
        outcome=_outcome(frame[federation.target], federation),
        outcome_name=_outcome_name(federation),
    )


@lru_cache(maxsize=1)
def _network() -> Released:
    raw, truth = sources.simulated()
    register = simulate.public_register(raw, truth)
    patients = cleaning.tidy_categories(cleaning.drop_duplicate_records(raw))
    known = [(_year(t), t["sex"].to_numpy(str), t["postcode"].to_numpy(str)) for t in (patients, register)]
    return Released(
        *known[0],
        columns=("year of birth", "sex", "postcode"),
        outcome=patients["cvd_event"].to_numpy() == 1,
        outcome_name="cvd_event",
        person=patients["name"].to_numpy(str),
        register=(*known[1], register["name"].to_numpy(str)),
    )


def _in_years(name: str | None, values: pd.Series | None) -> bool:
    """Whether a column is called an age or a year, and has the range of one."""
    return values is not None and name.lower() in AGE and values.max() - values.min() > 5


def _year(table: pd.DataFrame) -> np.ndarray:
    return table["birth_date"].str[:4].astype(int).to_numpy()


def _steps(column: pd.Series, n: int, *, exact: bool = False) -> np.ndarray:
    """Numbers as whole steps from the lowest one: 0 to n - 1; missing ones are -n."""
    values = column.to_numpy(float)
    low, high = np.nanmin(values), np.nanmax(values)
    step = 1.0 if exact else (high - low) / n or 1.0
    return np.where(np.isnan(values), -n, np.clip(np.floor((values - low) / step), 0, None)).astype(int)


def _address(column: pd.Series) -> np.ndarray:
    """Any column in the shape of a postcode: each of five more digits cuts the range into three."""
    if not pd.api.types.is_numeric_dtype(column):
        return column.astype(str).to_numpy(str)
    fine = _steps(column, 3**DIGITS).clip(-1, 3**DIGITS - 1)
    digits = [fine // 3**k % 3 for k in reversed(range(DIGITS))]
    return np.array(["".join(map(str, row)) for row in np.transpose(digits)])


def _outcome(target: pd.Series, federation: Federation) -> np.ndarray:
    if federation.task == "regression":
        return (target > target.median()).to_numpy()
    return (target == federation.classes[-1]).to_numpy()


def _outcome_name(federation: Federation) -> str:
    if federation.task == "regression":
        return f"{federation.target} above its median"
    return federation.target if federation.task == "binary" else f"{federation.target} {federation.classes[-1]}"


def _check(table: Released, width: int, digits: int = 0) -> tuple[int, int]:
    if not isinstance(table, Released):
        raise ValueError(f"table must be what `released` gives; got {brief(table)}.")
    if whole("digits", digits, 0) > DIGITS:
        raise ValueError(f"digits must be a whole number from 0 to {DIGITS}; got {brief(digits)}.")
    return whole("width", width), int(digits)


def _groups(number, group, place, width: int, digits: int) -> pd.MultiIndex:
    cut = pd.Series(place).str[:digits]
    return pd.MultiIndex.from_arrays([np.asarray(number) // width, group, cut])


def group_sizes(table: Released, width: int, digits: int) -> np.ndarray:
    """How many patients share each patient's released values; the smallest of these numbers is k.

    Parameters
    ----------
    table
        From `released`.
    width
        Years (or steps) put together.
    digits
        Digits of the postcode that are kept, 0 to 5.

    Returns
    -------
    ndarray
        Whole numbers, ``[n]``.

    Raises
    ------
    ValueError
        If `width` is below 1 or not whole, or `digits` out of range.
    """
    width, digits = _check(table, width, digits)
    codes = pd.factorize(_groups(table.number, table.group, table.place, width, digits))[0]
    return np.bincount(codes)[codes]


def named(table: Released, width: int, digits: int) -> tuple[float, float] | None:
    """Share of the patients who get a name from the register, and share of these names that is right.

    A patient is named who is alone in a group in which the register has one person.

    Parameters
    ----------
    table, width, digits
        As in `group_sizes`.

    Returns
    -------
    named, right
        Both from 0 to 1, the second NaN if nobody is named; None without a register.

    Raises
    ------
    ValueError
        As in `group_sizes`.
    """
    width, digits = _check(table, width, digits)
    if table.register is None:
        return None
    mine = _groups(table.number, table.group, table.place, width, digits)
    theirs = _groups(*table.register[:3], width, digits)
    candidate = pd.Series(table.register[3], index=theirs)[~theirs.duplicated(keep=False)]
    alone = ~mine.duplicated(keep=False)
    found = candidate.reindex(mine[alone])
    hit = found.notna().to_numpy()
    right = found.to_numpy()[hit] == table.person[alone][hit]
    return hit.sum() / len(mine), float(right.mean()) if hit.any() else float("nan")


def auc(table: Released, width: int, *, splits: int = 20, seed: int = 0) -> np.ndarray:
    """Test AUC of a model that sees nothing but the year of birth, in groups of `width`.

    The model gives a patient the share of training patients of the same group who have the outcome, mixed
    with one patient's worth of the overall share. A third of the rows is for testing.

    Parameters
    ----------
    table, width
        As in `group_sizes`.
    splits
        How many splits into training and test rows.
    seed
        Of the splits.

    Returns
    -------
    ndarray
        ``[splits]``, or fewer: splits whose test patients all have the same outcome are left out.

    Raises
    ------
    ValueError
        If `width` or `splits` is below 1 or not whole, or `seed` below 0.
    """
    (width, _), splits, seed = _check(table, width), whole("splits", splits), whole("seed", seed, 0)
    group = pd.factorize(np.asarray(table.number) // width)[0]
    y, n, rng = table.outcome, len(table.outcome), np.random.default_rng(seed)
    areas = np.full(splits, np.nan)
    for k in range(splits):
        order = rng.permutation(n)
        train, test = order[n // 3 :], order[: n // 3]
        hits = np.bincount(group[train], y[train], group.max() + 1)
        share = (hits + y[train].mean()) / (np.bincount(group[train], minlength=len(hits)) + 1)
        areas[k] = rank_auc(share[group[test]], y[test], np.zeros(len(test), int), 1)[0]
    return areas[~np.isnan(areas)]


def sentence(table: Released, width: int, digits: int) -> str:
    """Reads aloud what a release gives away and what it is good for; arguments as in `group_sizes`."""
    sizes, areas = group_sizes(table, width, digits), auc(table, width)
    number, group, place = table.columns
    if table.register is not None:
        kept = f"{digits} digits of the postcode" if digits else "no postcode"
        what = f"Birth years in groups of {width}, sex and {kept}"
    else:
        unit = f"{width}" if (number or "").lower() in AGE else f"{width}/{STEPS} of its range"
        what = f"Here {number} in groups of {unit}" if number else "No column of numbers"
        what += f", {group}" if group else ""
        what += f" and {place} cut {digits} times" if place and digits else ""
        what += " stand in for birth year, sex and postcode"
    names = named(table, width, digits)
    link = "a register of everybody could name the patients who are alone"
    if names and names[0] > 0:
        link = f"the register gives {names[0]:.1%} a name, {names[1]:.0%} of them the right one"
    elif names:
        link = "the register gives nobody a name"
    read = (
        f"{what}: {(sizes == 1).mean():.1%} of {len(sizes):,} patients are alone in their group, the smallest "
        f"group has k = {sizes.min()}, and {link}."
    )
    if number is None or not len(areas):
        return f"{read} {'Too few patients' if number else 'No numbers'} to test a model on."
    score = f"{areas.mean():.3f} ± {areas.std():.3f} for {table.outcome_name} ({len(areas)} splits)"
    return f"{read} A model that sees only these groups of {number} reaches an AUC of {score}."

"""What everybody may know of a table before anybody looks at a row: how its columns are written down.

Under a promise that has to be given, column by column: by `data.from_frame`, by a data set's card, or as a `Schema`;
nothing is learnt for free. Without a promise hospitals look at their own rows and tell the server what is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fedlab_utils._arguments import brief
from fedlab_utils.data import card
from fedlab_utils.data.hospitals import Federation
from fedlab_utils.data.outcome import check_categories
from fedlab_utils.data.schema import Schema, check_pair
from fedlab_utils.data.sentences import listed, quoted
from fedlab_utils.synth import grids
from fedlab_utils.synth.encoding import SCORES, Column, Encoder
from fedlab_utils.synth.grids import Grid

_STEPS = 1000  # between the bounds of a number whose granularity is not public, at most


@dataclass(frozen=True)
class Described:
    """How the columns are written down, and what hospitals had to tell for it.

    Attributes
    ----------
    encoder
        Columns to numbers and back, linear between bounds.
    told
        What each hospital told about its rows, and of which columns; empty under a promise.
    """

    encoder: Encoder
    told: dict[str, list[str]]

    @property
    def in_words(self) -> str:
        """Such as "bounds of 2 columns, granularity of 5 columns"."""
        return ", ".join(f"{what} of {len(of)} column{'s' * (len(of) > 1)}" for what, of in self.told.items())


def describe(federation: Federation, schema: Schema | None, *, promised: bool) -> Described:
    """Put together what is public; without a promise, ask the hospitals for the rest.

    Parameters
    ----------
    federation
        Whose training rows are to be learnt.
    schema
        Public knowledge beside that of the federation and of the data set's card; what it says counts first.
    promised
        Whether nothing may be learnt from rows for free.

    Raises
    ------
    ValueError
        Under a promise, if bounds or categories of a column are not public; the sentence names all such columns. Or if
        `schema` names a column that the federation does not have, or says of one what cannot be.
    """
    numeric, categorical = list(federation.schema.numeric), list(federation.schema.categorical)
    (numeric if federation.task == "regression" else categorical).append(federation.target)
    schema = None if schema is None else _checked(schema, numeric, categorical, federation)
    known = _known(federation, schema)
    if promised:
        _refuse(known, numeric, categorical, federation.target)
    told: dict[str, list[str]] = {}
    columns = []
    for name in federation.hospitals[0].train.columns:
        parts = [h.train[name] for h in federation.hospitals]
        gap = name != federation.target and _may_be_missing(name, known, parts, told, promised)
        if name in numeric:
            columns.append(_number(name, gap, known, parts, told, promised))
            continue
        values = known.categories.get(name)
        if values is None:
            values = federation.agreed.categories[name]
            told.setdefault("categories", []).append(name)
        columns.append(Column(name, str(parts[0].dtype), gap, tuple(values)))
    learnt = tuple((name, what, "told by hospitals") for what, names in told.items() for name in names)
    return Described(Encoder(tuple(columns), learnt), told)


def _checked(schema: Schema, numeric: list[str], categorical: list[str], federation: Federation) -> Schema:
    """The same, once all that it says of columns can be: it was written by hand, and nobody has looked at it."""
    if not isinstance(schema, Schema):
        raise ValueError(f"schema must be a data.Schema or None; got {brief(schema)}.")
    for what in ("bounds", "categories", "granularity"):
        if not isinstance(given := getattr(schema, what), Mapping):
            raise ValueError(f"{what} of the schema must be a dict by column; got {brief(given)}.")
    if isinstance(schema.gaps, str):
        raise ValueError(f"gaps of the schema must list columns, as ({schema.gaps!r},); got {schema.gaps!r}.")
    named = {*schema.bounds, *schema.categories, *schema.granularity, *(schema.gaps or ())}
    if stray := sorted(named - {*numeric, *categorical}, key=str):
        raise ValueError(f"schema names {stray[0]!r}, which is not a column of the table.")
    for what, there, holds in (("bounds", numeric, "categories, not numbers"), ("granularity", numeric, "categories"),
                               ("categories", categorical, "numbers")):  # fmt: skip
        if wrong := [c for c in getattr(schema, what) if c not in there]:
            raise ValueError(f"{what}[{wrong[0]!r}] of the schema does not apply: that column holds {holds}.")
    bounds = {c: check_pair(f"bounds[{c!r}] of the schema", pair) for c, pair in schema.bounds.items()}
    categories = {c: check_categories(c, values) for c, values in schema.categories.items()}
    classes = categories.get(federation.target, federation.classes)
    if set(map(str, classes)) != set(map(str, federation.classes)):
        raise ValueError(
            f"categories[{federation.target!r}] of the schema must be the classes {brief(list(federation.classes))} of "
            f"the federation; got {brief(list(classes))}."
        )
    return replace(schema, bounds=bounds, categories=categories)


def _known(federation: Federation, schema: Schema | None) -> Schema:
    """Public knowledge of all columns: the federation's own, then the data set's card, then `schema` above both."""
    own, there = federation.schema, set(federation.hospitals[0].train.columns)
    bounds, categories, granularity, gaps = dict(own.bounds), dict(own.categories), dict(own.granularity), own.gaps
    if own.classes:
        categories[own.target] = own.classes
    for more in (card(federation.name), schema):
        if more is None:
            continue
        bounds |= {c: v for c, v in more.bounds.items() if c in there and c not in categories}
        categories |= {c: v for c, v in more.categories.items() if c in own.categorical}
        granularity |= {c: v for c, v in more.granularity.items() if c in there}
        gaps = gaps if more.gaps is None else more.gaps
    return replace(own, bounds=bounds, categories=categories, granularity=granularity, gaps=gaps)


def _refuse(known: Schema, numeric: list[str], categorical: list[str], target: str) -> None:
    """Refuse columns of which too little is public, all of them in one sentence that shows the call."""
    unbounded = [c for c in numeric if c not in known.bounds]
    unlisted = [c for c in categorical if c not in known.categories]
    if not unbounded and not unlisted:
        return
    lacks, gives = [], []
    if unbounded:
        lacks.append(f"bounds of {listed(map(quoted, unbounded))}")
        gives.append(f"bounds={{{unbounded[0]!r}: (low, high), ...}}")
    if unlisted:
        lacks.append(f"categories of {listed(map(quoted, unlisted))}")
        gives.append(f"categories={{{unlisted[0]!r}: [...], ...}}")
    where = "schema=data.Schema" if target in unbounded else "from_frame or schema=data.Schema"
    raise ValueError(
        f"Under a promise nothing is learnt from rows for free, and there are no public {' and no '.join(lacks)}: "
        f"give {where}({', '.join(gives)})."
    )


def _may_be_missing(name: str, known: Schema, parts: list[pd.Series], told: dict, promised: bool) -> bool:
    """Whether a value can be missing: as is public; under a promise it can; else as hospitals tell."""
    if known.gaps is not None:
        return name in known.gaps
    if promised:
        return True
    told.setdefault("missing values", []).append(name)
    return any(rows.isna().any() for rows in parts)


def _number(name: str, gap: bool, known: Schema, parts: list[pd.Series], told: dict, promised: bool) -> Column:
    """A column of numbers, linear between its bounds."""
    dtype, bounds, step = str(parts[0].dtype), known.bounds.get(name), known.granularity.get(name)
    asked = bounds is None or (step is None and not promised)
    numbers = [rows.dropna().to_numpy(float) for rows in parts if rows.notna().any()] if asked else []
    if bounds is None:
        bounds = min(map(np.min, numbers), default=0.0), max(map(np.max, numbers), default=0.0)
        told.setdefault("bounds", []).append(name)
    low, high = map(float, bounds)
    if step is not None:
        grid = grids.given(name, step, np.zeros(0), low)  # rows beyond the list are moved to it
    elif promised:
        grid = _public_grid(low, high)
    else:
        found = [grids.find(values.clip(low, high), low, high, dtype) for values in numbers]
        told.setdefault("granularity", []).append(name)
        grid = _common(found)
    if promised:  # whether all rows are whole and there is for the rows to know
        whole = float(grid.step).is_integer() and low.is_integer() and not gap
        dtype = "int64" if whole else "float64"
    margin = grid.step / 2
    knots = tuple(np.linspace(low - margin, high + margin, len(SCORES)).tolist())
    about = dict(low=low, high=high, step=grid.step, decimals=grid.decimals, support=grid.support, knots=knots)
    return Column(name, dtype, gap, **about)


def _common(found: list[Grid]) -> Grid:
    """The widest steps on which the numbers of all hospitals lie, as if they were in one table."""
    if not found or any(g.decimals is None for g in found):
        return Grid(min((g.step for g in found), default=1.0), None if found else 0)
    decimals = max(g.decimals for g in found)
    places = [round(g.step * 10**decimals) for g in found]
    return Grid(math.gcd(*places) / 10**decimals, decimals)


def _public_grid(low: float, high: float) -> Grid:
    """Steps of 1, .1, .01 and so on: the power of ten by which the range has a hundred to a thousand of them."""
    power = math.ceil(math.log10((high - low) / _STEPS))
    return Grid(10.0**power, max(0, -power))

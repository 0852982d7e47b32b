"""From entries to the course's table: one row a patient, as it stood on one day, and what came in the years after."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from fedlab_utils import _arguments
from fedlab_utils.data import simulate
from fedlab_utils.data.fhir import days, entries, resources
from fedlab_utils.data.fhir.entries import CONTACT, DIABETES, DISEASE, TREATED, Entry, Person, Records

COLUMNS = ["age", "sex", *simulate.MEASURED, "cvd_event"]
DRUG_YEARS = 1  # an older prescription says nothing about today
_TABLE = "in the table"


class FhirTable(NamedTuple):
    """A table and how it came about.

    Attributes
    ----------
    frame
        One row a patient; `cvd_event` is missing where nobody knows.
    report
        Columns what, why and n: what was left out and for which reason; last, what is in the table.
    """

    frame: pd.DataFrame
    report: pd.DataFrame


def from_fhir(
    folder, *, index: str | date, until: str | date | None = None, years: int = 10, lookback: int = 5
) -> FhirTable:
    """A hospital's FHIR R4 export as a table with the columns of hospital_network.

    Read are Patient, Observation, Condition, MedicationRequest, MedicationStatement and the Medication that these
    refer to; codes and units as in `fhir.codes`. One folder is the export of one hospital.

    The columns of features hold what the hospital had on its books when the day `index` began, the same day for all:
    entries *recorded* before it (issued, recordedDate, authoredOn, dateAsserted). When something was measured or began
    does not make it known. "no" under diabetes and bp_treated means that nothing of the kind was recorded. A value
    beyond the bounds of the course is moved to the bound.

    In the table are patients aged 30 to 74 on that day, seen in the years before, alive, and not known to have had the
    disease. `cvd_event` is 1 if a first diagnosis falls into the `years` from that day on; 0 only if the hospital
    recorded anything about the patient after these years, and no death before; else it is missing: whoever was last
    seen after three years is censored, not healthy. So is a diagnosis that is in doubt, or that may lie before the
    index day though nobody knew then, and one without a SNOMED code. `data.from_frame` leaves rows without an outcome
    out.

    Three things that an export cannot tell: what stood on the books then and has been withdrawn since (each entry comes
    in its latest version alone, and a mistake is left out as if it had never been there); whether a SNOMED code that is
    not in `codes.DISEASE` is a kind of that disease (look through your own codes first); and the zone of the hospital
    (the day of an entry is the one that is written, whatever its zone).

    No name, number, address, date or text of the export enters the table or the report. A row is a patient all the
    same, and a small number in the report may be one: both are for the hospital's own eyes.

    Parameters
    ----------
    folder
        With files .json (bundles or single resources) and .ndjson (a resource a line).
    index
        The index date, such as "2012-01-01".
    until
        The day of the export, after which nothing can have been recorded; today if not given.
    years
        Over which the outcome is asked for.
    lookback
        Years before the index date in which a measurement must lie to count, and a patient must have been seen. For
        drugs it is one year, for diagnoses there is no limit.

    Raises
    ------
    ValueError
        If an argument is wrong, the folder has no such file, or no patient is left, with the most frequent reason.
    """
    index, until = _day("index", index), date.today() if until is None else _day("until", until)
    years, lookback = _arguments.whole("years", years), _arguments.whole("lookback", lookback)
    if not 100 < index.year or max(years, lookback) > 100:
        raise ValueError(f"years and lookback must be at most 100; got {years} and {lookback}.")
    if until <= index:
        raise ValueError(f"until must be a day after the index date {index}; got {until}.")
    table = tabulate(read(folder, until), index, years=years, lookback=lookback)
    return table._replace(frame=table.frame.reset_index(drop=True))


def read(folder, until: str | date) -> Records:
    """All entries of an export; see `from_fhir`."""
    until = _day("until", until)
    path = Path(_arguments.path("folder", folder))
    if not path.is_dir():
        raise ValueError(f"folder must be a folder with an export; {_arguments.brief(str(folder))} is none.")
    if not resources.files(path):
        raise ValueError(f"folder must hold files .json or .ndjson; {_arguments.brief(str(folder))} has none.")
    return entries.read(resources.read(path, Counter()), until)


def as_frame(records: Records) -> pd.DataFrame:
    """The entries as a long table, for whoever wants to look: patient, what, value, and first possible days."""
    kept = [e for e in records.entries if e.what != CONTACT]
    to_day = {o: pd.Timestamp(date.fromordinal(o)) for e in kept for o in (e.when.first, e.known.first) if o > 600_000}
    return pd.DataFrame(
        {
            "patient": [e.patient for e in kept],
            "what": [e.what for e in kept],
            "value": [e.value for e in kept],
            "when": [to_day.get(e.when.first, pd.NaT) for e in kept],
            "recorded": [to_day.get(e.known.first, pd.NaT) for e in kept],
        }
    )


def tabulate(records: Records, index: str | date, *, years: int = 10, lookback: int = 5) -> FhirTable:
    """The table on one day from the entries; see `from_fhir`. Its index is the patients' numbers in `records`."""
    index = _day("index", index)
    counts = Counter(records.counts)
    of: list[list[Entry]] = [[] for _ in records.people]
    for entry in records.entries:
        of[entry.patient].append(entry)
    window = _Window(index, years, lookback)
    rows: dict[int, dict] = {}
    for number, (person, its) in enumerate(zip(records.people, of, strict=True)):
        if why := window.left_out(person, its):
            counts["patients", why] += 1
            continue
        row = window.features(person, its, counts)
        row["cvd_event"], why = window.outcome(person, its)
        counts["cvd_event", why] += 1
        rows[number] = row
    if not rows:
        reasons = Counter({why: n for (what, why), n in counts.items() if what == "patients"}).most_common(1)
        why = f": {reasons[0][0]} ({reasons[0][1]} of {len(records.people)})" if reasons else ""
        raise ValueError(f"index={str(index)!r} leaves no patient{why}.")
    counts["patients", _TABLE] = len(rows)
    frame = pd.DataFrame(list(rows.values()), index=pd.Index(rows, name="patient"), columns=COLUMNS)
    numbers = {c: float for c in simulate.BOUNDS if c != "age"}
    words = {c: "str" for c in ("sex", "bp_treated", "smoker", "diabetes")}
    frame = frame.astype({"age": "int64", "cvd_event": float} | numbers)
    for column, kind in words.items():
        frame[column] = frame[column].astype(kind).where(frame[column].notna())
    return FhirTable(frame, _report(counts))


class _Window:
    """One index date, the years before it and the years after it."""

    def __init__(self, index: date, years: int, lookback: int):
        self.index = index
        self.start, self.end = index.toordinal(), days.years_later(index, years).toordinal()
        self.since = days.years_later(index, -lookback).toordinal()
        self.drugs_since = days.years_later(index, -DRUG_YEARS).toordinal()

    def known(self, entry: Entry) -> bool:
        """Whether it was surely on the books when the index day began."""
        return entry.known.last < self.start

    def left_out(self, person: Person, its: list[Entry]) -> str | None:
        """Why a patient is not in the table, None if they are; from what was known before the index day."""
        age = None if person.born is None else days.age(person.born, self.index)
        low, high = simulate.BOUNDS["age"]
        if age is None:
            return "no date of birth from which the age follows"
        if not low <= age <= high:
            return f"younger than {low:g} or older than {high:g}"
        if person.died is not None and person.died.last < self.start:
            return "dead by the index date"
        if not any(self.known(e) and e.known.first >= self.since for e in its):
            return "not seen in the years before the index date"
        if any(e.what == DISEASE and e.value and self.known(e) and e.when.last < self.start for e in its):
            return "known to have had the disease"
        return None

    def features(self, person: Person, its: list[Entry], counts: Counter) -> dict:
        """The row of a patient, from what was known before the index day."""
        row = dict.fromkeys(COLUMNS) | {"age": days.age(person.born, self.index), "sex": person.sex}
        row |= {DIABETES: "no", TREATED: "no"}
        known = [e for e in its if self.known(e)]
        for entry in sorted(known, key=lambda e: (e.when.last, e.known.last, str(e.value))):
            if entry.what in (CONTACT, DISEASE):
                continue
            recent = min(entry.known.first, entry.when.last) >= self.drugs_since
            if entry.what == DIABETES or (entry.what == TREATED and recent):
                row[entry.what] = "yes"
            elif entry.what != TREATED and entry.when.first >= self.since:
                row[entry.what] = entry.value
        for column, (low, high) in simulate.BOUNDS.items():
            if row[column] is None:
                counts[column, "nothing usable for a patient in the table"] += 1
            elif not low <= row[column] <= high:
                counts[column, "moved to the bound of the course"] += 1
                row[column] = min(max(row[column], low), high)
        return row

    def outcome(self, person: Person, its: list[Entry]) -> tuple[float | None, str]:
        """1, 0 or None where nobody knows; and in words."""
        found = [e for e in its if e.what == DISEASE and e.when.first < self.end]
        if any(e.when.first < self.start for e in found):
            return None, "unknown: a diagnosis from before or without a day"
        if any(e.value and e.when.last < self.end for e in found):
            return 1.0, "ill within the years"
        if found:
            return None, "unknown: a diagnosis in doubt"
        if person.died is not None and person.died.first < self.end:
            return None, "unknown: died, and nobody says of what"
        if max((e.known.first for e in its if e.what == CONTACT), default=0) < self.end:
            return None, "unknown: not followed for all of the years"
        return 0.0, "followed for all of the years, and not ill"


def _report(counts: Counter) -> pd.DataFrame:
    order = ["files", "lines", "resources", *resources.TYPES, *COLUMNS[:-1], DISEASE, "patients", "cvd_event"]
    lines = sorted(counts.items(), key=lambda item: (order.index(item[0][0]), item[0][1] == _TABLE, -item[1], item[0]))
    return pd.DataFrame([(what, why, n) for (what, why), n in lines], columns=["what", "why", "n"])


def _day(name: str, value) -> date:
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a day such as '2012-01-01'; got {_arguments.brief(value)}.") from None

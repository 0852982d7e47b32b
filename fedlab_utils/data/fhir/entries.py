"""From FHIR resources to entries: whose, what, which value, when it was so, and when it was *recorded*.

An entry is kept only if its code, its status, its unit and its dates can be read without a guess. A diagnosis of the
outcome is the exception: one in doubt, or without a day, is kept as a doubt, since leaving it out would call somebody
healthy of whom nobody knows.
"""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from fedlab_utils.data.fhir import codes, days
from fedlab_utils.data.fhir.days import ANY, Days
from fedlab_utils.data.fhir.resources import Counts, Resource, Store, items, mistaken, obj
from fedlab_utils.data.fhir.resources import codes as codes_of

CONTACT, DISEASE, DIABETES, TREATED = "contact", "disease", "diabetes", "bp_treated"
MODIFIED, CHANGED = "modifierExtension", "an extension changes what it means"  # FHIR: do not use it then
NO_RECORD = "nobody says when it was recorded"


class Person(NamedTuple):
    """Who somebody is to the table; nothing by which they could be called."""

    born: Days | None
    sex: str | None
    died: Days | None


class Entry(NamedTuple):
    """One thing about a patient.

    Attributes
    ----------
    patient
        A number from 0 on, for this reading alone; no number of the hospital.
    what
        A column of the table, "disease" for the outcome's, or "contact": something was recorded, whatever it was.
    value
        In the course's unit or words; False for a disease in doubt.
    when
        The days on which it was measured, began or was ordered.
    known
        The days on which it was recorded.
    """

    patient: int
    what: str
    value: float | str | bool
    when: Days
    known: Days


class Records(NamedTuple):
    """All that an export says about its patients: `people` by number, their entries, what did not fit."""

    people: list[Person]
    entries: list[Entry]
    counts: Counts


class Unfit(Exception):
    """Why an entry cannot be used, in the words of the report."""


def read(store: Store, until: date) -> Records:
    """Every entry of an export.

    Parameters
    ----------
    store
        The resources.
    until
        The day of the export: nothing can have happened after it.
    """
    counts, last = store.counts, until.toordinal()
    patients = dict(store.of("Patient"))
    number = {name: k for k, name in enumerate(patients)}
    people = [_person(resource, counts) for resource in patients.values()]
    merged = _merged(store)
    number = {name: number[_survivor(merged, name)] for name in patients}
    found: list[Entry] = []
    for kind, reader in _READERS.items():
        for _, resource in store.of(kind):
            owner = number.get(store.target(resource.get("subject"), "Patient"))
            if owner is None:
                counts[kind, "of a patient who is not in the export"] += 1
                continue
            known = days.read(_recorded(kind, resource))
            if known is not None and known.first <= last and not mistaken(resource):
                found.append(Entry(owner, CONTACT, True, known, known))
            try:
                for what, value, when in reader(resource, store):
                    _keep(found, Entry(owner, what, value, when, known), last, counts)
            except Unfit as reason:
                counts[kind, str(reason)] += 1
    return Records(people, found, counts)


def _keep(found: list[Entry], entry: Entry, last: int, counts: Counts) -> None:
    value, when, known = entry.value, entry.when, entry.known
    wrong = None
    if isinstance(value, Unfit):
        wrong = str(value)
    elif when is None and (known is None or entry.what != DISEASE):
        wrong = "nobody says when it was so"
    elif known is None:
        wrong = NO_RECORD
    elif max(known.first, (when or known).first) > last:
        wrong = "dated after the export"
    elif known.last < (when or known).first - 1:  # a day: the two may be written by clocks of different zones
        wrong = "recorded before it was so"
    if wrong is None:
        when = Days(*(min(day, known.last) for day in when or known))  # no later than it was written
        found.append(entry._replace(when=when))
        return
    counts[entry.what, wrong] += 1
    if entry.what == DISEASE:  # there was one, and that is all that is known
        usable = wrong == NO_RECORD and when.first <= last
        found.append(Entry(entry.patient, DISEASE, value, when if usable else ANY, ANY))


def _merged(store: Store) -> dict[str, str]:
    """Patients whose record was merged into another one, whichever of the two says so."""
    found = {}
    for name, resource in store.of("Patient"):
        for link in map(obj, items(resource.get("link"))):
            other = store.target(link.get("other"), "Patient")
            if other not in (None, name) and link.get("type") == "replaced-by":
                found[name] = other
            elif other not in (None, name) and link.get("type") == "replaces":
                found[other] = name
    if found:
        store.counts["Patient", "merged into another record"] += len(found)
    return found


def _survivor(merged: dict[str, str], name: str) -> str:
    """The record that a patient's record was merged into, itself if there is none."""
    for _ in range(10):  # and no circles
        name = merged.get(name, name)
    return name


def _person(resource: Resource, counts: Counts) -> Person:
    born, sex = days.read(resource.get("birthDate")), resource.get("gender")
    if sex not in ("female", "male"):
        counts["sex", "neither female nor male, or not written"] += 1
        sex = None
    died = days.read(resource.get("deceasedDateTime"))
    if died is None and ("deceasedDateTime" in resource or resource.get("deceasedBoolean") is True):
        died = ANY
    return Person(born, sex, died)


_RECORDED = {"Observation": "issued", "Condition": "recordedDate"}
_RECORDED |= {"MedicationRequest": "authoredOn", "MedicationStatement": "dateAsserted"}


def _recorded(kind: str, resource: Resource):
    return resource.get(_RECORDED[kind])


def _when(resource: Resource, name: str) -> Days | None:
    """The day of an element that may be written in several ways; a period counts by its start."""
    period = obj(resource.get(f"{name}Period")).get("start")
    written = (resource.get(f"{name}DateTime"), resource.get(f"{name}Instant"), period)
    return next((found for value in written if (found := days.read(value)) is not None), None)


def _check_status(kind: str, resource: Resource) -> None:
    status = resource.get("status")
    if mistaken(resource):
        raise Unfit("entered in error")
    if MODIFIED in resource:
        raise Unfit(CHANGED)
    if not isinstance(status, str) or status not in codes.STATUS[kind]:
        raise Unfit("planned, cancelled, unfinished or without status")


# ---------------------------------------------------------------- observations


def _observation(resource: Resource, store: Store):
    parts = [resource, *map(obj, items(resource.get("component")))]
    named = [(_name(part), part) for part in parts]
    named = [(what, part) for what, part in named if what is not None]
    if not named:
        raise Unfit("no code that is asked for")
    _check_status("Observation", resource)
    for what, part in named:
        try:
            if MODIFIED in part:
                raise Unfit(CHANGED)
            value = _smoking(part) if what == "smoker" else _quantity(what, part.get("valueQuantity"))
        except Unfit as reason:
            value = reason
        yield what, value, _when(resource, "effective")


def _name(part: Resource) -> str | None:
    found = {codes.MEASUREMENTS[c] for c in codes_of(part.get("code"), codes.LOINC) if c in codes.MEASUREMENTS}
    return found.pop() if len(found) == 1 else None


def _smoking(part: Resource) -> str:
    answers = codes_of(part.get("valueCodeableConcept"), codes.SNOMED)
    found = {codes.SMOKING[c] for c in answers if c in codes.SMOKING}
    if len(found) != 1:
        raise Unfit("no answer that is listed")
    return found.pop()


def _quantity(what: str, quantity) -> float:
    """A value in the course's unit, converted by its UCUM code."""
    quantity = obj(quantity)
    value, unit = quantity.get("value"), quantity.get("code")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unfit("no value")
    if quantity.get("system") != codes.UCUM or not isinstance(unit, str):
        raise Unfit("no UCUM unit")
    if unit not in codes.FACTORS[what]:
        raise Unfit("a unit that is not one of this measurement")
    if "comparator" in quantity:
        raise Unfit("only a limit, such as < 50")
    low, high = codes.PLAUSIBLE[what]
    if not -1e9 < value < 1e9 or not low <= (value := value * codes.FACTORS[what][unit]) <= high:
        raise Unfit("a value that nobody has; wrong unit?")
    return round(float(value), codes.DECIMALS[what])


# ---------------------------------------------------------------- diagnoses and drugs


def _condition(resource: Resource, store: Store):
    found = set(codes_of(resource.get("code"), codes.SNOMED))
    history, disease = found & codes.HISTORY, found & codes.DISEASE
    if found and not (history or disease or found & codes.DIABETES):
        raise Unfit("no code that is asked for")
    state = "confirmed"  # as FHIR's own guide reads a diagnosis without a status
    if "verificationStatus" in resource:
        state = next(iter(codes_of(resource["verificationStatus"], codes.VERIFICATION)), "unclear")
    if state in ("refuted", "entered-in-error"):
        raise Unfit("refuted or entered in error")
    if MODIFIED in resource:
        store.counts["Condition", CHANGED] += 1
        state = "unclear"
    when = _when(resource, "onset")
    if not found:  # it may be the disease, and who has it must not be called healthy
        store.counts["Condition", "no SNOMED code: it may be anything"] += 1
        yield DISEASE, False, when
    if found & codes.DIABETES:
        yield DIABETES, True if state == "confirmed" else Unfit("not confirmed"), when
    if disease:
        yield DISEASE, state == "confirmed", when
    elif history:  # it began before it was recorded, so it is never an event of that day
        known = days.read(resource.get("recordedDate"))
        yield DISEASE, state == "confirmed", None if known is None else Days(ANY.first, known.last)


def _drug(resource: Resource, store: Store):
    kind = resource["resourceType"]
    concept = resource.get("medicationCodeableConcept")
    if concept is None:
        concept = _medication(resource, store).get("code")
    lowers = any(c in codes.PRESSURE_RXNORM for c in codes_of(concept, codes.RXNORM))
    lowers |= any(c.startswith(codes.PRESSURE_ATC) for c in codes_of(concept, codes.ATC))
    if not lowers:
        raise Unfit("no code that is asked for")
    _check_status(kind, resource)
    if resource.get("doNotPerform") is True:
        raise Unfit("an order not to give it")
    if kind == "MedicationRequest" and resource.get("intent") not in tuple(codes.ORDERS):
        raise Unfit("a plan or proposal, not an order")
    yield TREATED, True, days.read(resource.get("authoredOn")) if kind == "MedicationRequest" else _taken(resource)


def _taken(statement: Resource) -> Days | None:
    """From when to when somebody took a drug; a statement that is active holds for the day on which it was made."""
    start = _when(statement, "effective")
    if start is None or statement.get("status") in ("active", "on-hold"):
        return start and Days(start.first, ANY.last)
    end = days.read(obj(statement.get("effectivePeriod")).get("end"))
    if end is None:
        raise Unfit("no longer taken, and nobody says since when")
    return Days(start.first, end.last)


def _medication(resource: Resource, store: Store) -> Resource:
    reference = obj(resource.get("medicationReference"))
    name = reference.get("reference")
    if isinstance(name, str) and name.startswith("#"):
        inside = (obj(part) for part in items(resource.get("contained")))
        return next((part for part in inside if part.get("id") == name[1:]), {})
    return store.get("Medication", store.target(reference, "Medication"))


_READERS = {"Observation": _observation, "Condition": _condition}
_READERS |= {"MedicationRequest": _drug, "MedicationStatement": _drug}

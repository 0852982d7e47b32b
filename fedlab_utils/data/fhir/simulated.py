"""FHIR exports of three hospitals that do not exist, with the traps of real ones put there on purpose.

Every patient is drawn as in `data.simulate`; what is written about them is FHIR R4 as three systems might write it: one
file a type with a resource a line, one bundle a patient, one bundle for all. Beside what is right stand entries that a
careless reader would take: see `_decoys`. The names, addresses and phone numbers in it belong to nobody.
"""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from fedlab_utils import _arguments
from fedlab_utils.data import simulate
from fedlab_utils.data.fhir import codes

INDEX, UNTIL = "2012-01-01", "2023-06-30"
SIZES = {"Northgate": 560, "Lakeside": 400, "Riverside": 360}
_START = date.fromisoformat(INDEX)
_LIPIDS = {"total_cholesterol": ("2093-3", "14647-2"), "hdl": ("2085-9", "14646-4")}
_SMOKING = {"never": "266919005", "former": "8517006", "current": "449868002"}
_EVENTS = ("22298006", "230690007", "84114007", "194828000")


def write_simulated(folder, seed: int = 0) -> pd.DataFrame:
    """Write the exports of three hospitals, each into a folder of its name.

    Parameters
    ----------
    folder
        Where to; made if it is not there.
    seed
        The same seed gives the same files.

    Returns
    -------
    DataFrame
        What a careful reader finds on the day `INDEX`, in the order of the patients' ids: `hospital`, the columns of
        the table, and `true_risk` beside them, the chance of `cvd_event` from the true values.
    """
    folder = Path(_arguments.path("folder", folder))
    rng = np.random.Generator(np.random.PCG64(seed))
    found = []
    for hospital, size in SIZES.items():
        people = _drawn(rng, hospital, size)
        exports = [_Export(rng, hospital, number, row) for number, row in enumerate(people.to_dict("records"))]
        for export in exports:
            export.tell()
        into = folder / hospital
        into.mkdir(parents=True, exist_ok=True)
        _FORMATS[hospital](into, exports)
        kept = sorted((e for e in exports if e.expected is not None), key=lambda e: e.id)
        found.append(pd.DataFrame([{"hospital": hospital, **e.expected} for e in kept]))
    return pd.concat(found, ignore_index=True)


def _drawn(rng: np.random.Generator, hospital: str, size: int) -> pd.DataFrame:
    """People and their true values on the index day."""
    people = simulate._people(rng, np.repeat([hospital], size))
    lived = (pd.to_datetime(people["admitted"]) - pd.to_datetime(people["birth_date"])).dt.days
    people["birth_date"] = [(_START - timedelta(days=int(n))).isoformat() for n in lived]
    about = simulate.HOSPITALS[hospital]
    shift = {key: np.full(size, about[key]) for key in ("smoking", "diabetes", "pressure", "bmi")}
    man = (people["sex"] == "male").to_numpy()
    factors = simulate._risk_factors(rng, people["age"].to_numpy(), man, shift)
    yes = {c: factors[c] == "yes" for c in ("bp_treated", "diabetes")}
    risk = simulate.framingham_risk(
        people["age"], people["sex"], factors["total_cholesterol"], factors["hdl"], factors["systolic_bp"],
        yes["bp_treated"], factors["smoker"] == "current", yes["diabetes"],
    )  # fmt: skip
    return pd.concat([people, factors], axis=1).assign(true_risk=np.round(risk, 6))


class _Export:
    """What one hospital writes about one patient."""

    def __init__(self, rng: np.random.Generator, hospital: str, number: int, truth: dict):
        self.rng, self.hospital, self.truth = rng, hospital, truth
        self.id = f"{int(rng.random() * 16**8):08x}-{number}"
        self.resources: list[dict] = []
        self.expected: dict | None = None
        self.event: int | None = None  # days after the index

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def between(self, low: float, high: float) -> int:
        return int(low + (high - low) * self.rng.random())

    def tell(self) -> None:
        """The whole story of a patient, and what of it is to be found."""
        truth = self.truth
        kind = self.rng.random()  # most are as they should be
        before, newcomer, dead = kind < 0.07, 0.07 <= kind < 0.11, 0.11 <= kind < 0.13
        row = {c: truth[c] for c in ("age", "sex", "true_risk")}
        row |= dict.fromkeys(("systolic_bp", "total_cholesterol", "hdl", "smoker", "bmi"))
        self._patient(-self.between(10, 300) if dead else None)
        ill = self.chance(truth["true_risk"])
        self.event = self.between(20, 3640) if ill else None
        followed = self.chance(0.85)
        last = self.between(3800, 4100) if followed else self.between(100, 3000)
        if not newcomer:
            row["bp_treated"], row["diabetes"] = self._books()
            for day in (-self.between(500, 1500), -self.between(20, 350)):
                row |= self._visit(day, truth, usual=True)
        if not dead:
            for day in (*range(self.between(700, 1000), last, 1200), last):
                self._visit(day, self._later(day), usual=False)
        if self.event is not None and (self.event <= last or self.chance(0.5)):
            self._diagnosis(self.rng.choice(_EVENTS), self.event, self.event + self.between(0, 4))
            outcome = 1.0
        else:
            outcome = 0.0 if followed else None
        if before:
            self._diagnosis(self.rng.choice(_EVENTS), -self.between(400, 2000), -self.between(1, 300))
        if not newcomer:
            outcome = self._decoys(outcome)
        if not (before or newcomer or dead):
            self.expected = row | {"cvd_event": outcome}

    def _later(self, day: int) -> dict:
        """True values on a later day: whoever has fallen ill is treated, and has mostly stopped smoking."""
        years, ill = day / 365, self.event is not None and day > self.event
        later = dict(self.truth)
        later["systolic_bp"] = round(self.truth["systolic_bp"] + 0.8 * years - 12 * ill)
        later["total_cholesterol"] = round(self.truth["total_cholesterol"] * (0.7 if ill else 1))
        if ill and self.truth["smoker"] == "current" and self.chance(0.6):
            later["smoker"] = "former"
        if ill and self.chance(0.85):
            self._drug(day)
        return later

    def _add(self, kind: str, ident: str | None = None, **elements) -> dict:
        made = {"resourceType": kind, "id": ident or f"{self.id}-{len(self.resources)}"}
        if kind != "Patient":
            made["subject"] = {"reference": f"Patient/{self.id}"}
        made |= elements
        self.resources.append(made)
        return made

    def _patient(self, died: int | None) -> None:
        given, family = self.truth["name"].split()
        self._add(
            "Patient",
            self.id,
            name=[{"family": family, "given": [given]}],
            telecom=[{"system": "phone", "value": f"000-{self.between(0, 1e7):07d}"}],
            address=[{"postalCode": self.truth["postcode"]}],
            gender=self.truth["sex"],
            birthDate=self.truth["birth_date"],
            **({} if died is None else {"deceasedDateTime": _day(died)}),
        )

    def _observation(self, code: str, day: int, *, issued: int | None = None, status="final", **value) -> dict:
        return self._add(
            "Observation",
            status=status,
            code={"coding": [{"system": codes.LOINC, "code": code}]},
            effectiveDateTime=_day(day, "T08:15:00+01:00"),
            issued=_day(day + 1 if issued is None else issued, "T17:00:00Z"),
            **value,
        )

    def _visit(self, day: int, truth: dict, *, usual: bool) -> dict:
        """What is measured on a day; returned is what of it can be used."""
        found, mmol = {}, self.hospital == "Lakeside"
        pressure = truth["systolic_bp"]
        if day < -400:
            pressure += self.between(-12, 12)  # an older value, and never the one that counts if there is a newer
        worded = self.hospital == "Northgate" and self.chance(0.15)
        quantity = {"value": pressure, "unit": "mmHg"} if worded else _quantity(pressure, "mm[Hg]")
        upper = {"code": {"coding": [{"system": codes.LOINC, "code": "8480-6"}]}, "valueQuantity": quantity}
        self._observation("85354-9", day, component=[upper])
        found |= {} if worded else {"systolic_bp": float(np.clip(pressure, *simulate.BOUNDS["systolic_bp"]))}
        if self.chance(0.9 if usual else 0.5):
            for column, (mass, moles) in _LIPIDS.items():
                value = round(truth[column] / simulate.MG_PER_MMOL, 2) if mmol else truth[column]
                quantity = _quantity(value, "mmol/L" if mmol else "mg/dL")
                self._observation(moles if mmol else mass, day, valueQuantity=quantity)
                found[column] = float(round(value * simulate.MG_PER_MMOL) if mmol else value)
        if usual and self.chance(0.95):
            self._observation("39156-5", day, valueQuantity=_quantity(truth["bmi"], "kg/m2"))
            found["bmi"] = truth["bmi"]
        if self.chance(0.95):
            self._observation("72166-2", day, valueCodeableConcept=_snomed(_SMOKING[truth["smoker"]]))
            found["smoker"] = truth["smoker"]
        return found

    def _books(self) -> tuple[str, str]:
        """Drugs and diabetes on the books of the index day."""
        treated, diabetic = self.truth["bp_treated"] == "yes", self.truth["diabetes"] == "yes"
        if treated:
            self._drug(-self.between(5, 350))
        if diabetic:
            self._diagnosis("44054006", -self.between(400, 3000), -self.between(10, 380))
        return "yes" if treated else "no", "yes" if diabetic else "no"

    def _diagnosis(self, code: str, onset: int | str | None, recorded: int | None, state="confirmed") -> dict:
        when = {} if onset is None else {"onsetDateTime": onset if isinstance(onset, str) else _day(onset)}
        when |= {} if recorded is None else {"recordedDate": _day(recorded)}
        status = {"coding": [{"system": codes.VERIFICATION, "code": state}]}
        return self._add("Condition", verificationStatus=status, code=_snomed(code), **when)

    def _drug(self, day: int, status: str = "active", intent: str = "order", **more) -> dict:
        coding = {"system": codes.RXNORM, "code": "314076"}
        if self.hospital == "Lakeside":
            coding = {"system": codes.ATC, "code": "C09AA03"}
        elements = dict(status=status, intent=intent, authoredOn=_day(day)) | more
        return self._add("MedicationRequest", medicationCodeableConcept={"coding": [coding]}, **elements)

    def _decoys(self, outcome: float | None) -> float | None:
        """Entries that a careless reader takes; the outcome, where one of them leaves it open."""
        if self.chance(0.05):
            self._observation("2093-3", -12, status="entered-in-error", valueQuantity=_quantity(399, "mg/dL"))
        if self.chance(0.05):  # taken before the index day, and known only after it
            self._observation("2085-9", -3, issued=4, valueQuantity=_quantity(110, "mg/dL"))
        if self.chance(0.04):
            self._observation("2093-3", -8, valueQuantity=_quantity(5.2, "mg/dL"))
        if self.chance(0.04):
            self._observation("2085-9", -7, valueQuantity=_quantity(20, "mg/dL") | {"comparator": "<"})
        if self.chance(0.04):
            local = self._observation("8480-6", -6, valueQuantity=_quantity(222, "mm[Hg]"))
            local["code"]["coding"][0]["system"] = "urn:ward"  # a number of the ward's own list
        if self.chance(0.03):
            wrong = self._observation("39156-5", -5, valueQuantity=_quantity(15, "kg/m2"))
            newer = wrong | {"status": "entered-in-error", "meta": {"lastUpdated": _day(9, "T09:00:00Z")}}
            self.resources.append(newer)
        if self.chance(0.04):
            self._diagnosis("22298006", -40, -39, "refuted")
        if self.chance(0.04):
            self._diagnosis("22298006", 800, 801, "entered-in-error")
        if self.chance(0.04):
            self._diagnosis("44054006", -300, 500)  # began before, known only afterwards
        if self.chance(0.04):
            self._diagnosis("73211009", -30, -30, "provisional")
        if self.chance(0.04):
            self._drug(-20, "draft")
            self._drug(-20, intent="proposal")
            self._drug(-20, doNotPerform=True)
            self._drug(-1500, "completed")
        if self.chance(0.03):
            stray = self._diagnosis("22298006", 100, 100)
            stray["subject"] = {"reference": "Patient/somebody-else"}
        if self.chance(0.1):
            self._add("AllergyIntolerance", note=[{"text": f"{self.truth['name']} does not tolerate penicillin."}])
        if self.chance(0.02):
            self._diagnosis("22298006", str(_START.year - 1), 200)
            return None
        if self.chance(0.02):
            self._diagnosis("399211009", None, 900)
            return None
        if self.chance(0.01):
            self._diagnosis("230690007", "2099-03-01", 300)
            return None
        if outcome == 0.0 and self.chance(0.02):
            self._diagnosis("230690007", 900, 901, "differential")
            return None
        return outcome


def _day(offset: int, time: str = "") -> str:
    return (_START + timedelta(days=offset)).isoformat() + time


def _quantity(value: float, unit: str) -> dict:
    return {"value": value, "unit": unit, "system": codes.UCUM, "code": unit}


def _snomed(code: str) -> dict:
    return {"coding": [{"system": codes.SNOMED, "code": str(code)}]}


# ---------------------------------------------------------------- three ways to write a file


def _by_line(folder: Path, exports: list[_Export]) -> None:
    """A file for each type, a resource a line, as bulk exports are."""
    lines = defaultdict(list)
    for export in exports:
        for resource in export.resources:
            lines[resource["resourceType"]].append(json.dumps(resource))
    for kind, its in lines.items():
        (folder / f"{kind}.ndjson").write_text("\n".join(its) + "\n", encoding="utf-8")


def _by_patient(folder: Path, exports: list[_Export]) -> None:
    """A bundle for each patient."""
    for export in exports:
        entries = [{"resource": resource} for resource in export.resources]
        bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        (folder / f"{export.id}.json").write_text(json.dumps(bundle), encoding="utf-8")


def _in_one(folder: Path, exports: list[_Export]) -> None:
    """One bundle for all, in which patients are referred to by addresses that hold nowhere else."""
    entries = []
    for export in exports:
        mine = f"Patient/{export.id}"
        for resource in export.resources:
            if resource.get("subject") == {"reference": mine}:
                resource = resource | {"subject": {"reference": f"urn:uuid:{export.id}"}}
            entries.append({"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource})
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    (folder / "export.json").write_text(json.dumps(bundle), encoding="utf-8")


_FORMATS = {"Northgate": _by_line, "Lakeside": _by_patient, "Riverside": _in_one}

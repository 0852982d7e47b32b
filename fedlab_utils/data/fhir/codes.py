"""What codes and units mean to the course: the dictionary between a hospital's export and the table.

A code counts only together with its system: 8480-6 of LOINC is a pressure, 8480-6 of a ward's own list is nobody
knows what. A unit counts only as a UCUM code: what stands in `unit` beside it is for eyes. A code that is not listed
means nothing here; these are lists, not the hierarchies of SNOMED CT and RxNorm, so look at the report for how many
entries had none of them.

The systems are those of FHIR R4, hl7.org/fhir/R4/terminologies-systems.html; answers about smoking are those of US
Core (value set us-core-observation-smokingstatus); units follow ucum.org; the drug classes are the ATC groups of drugs
that lower the blood pressure (C02, C03, C07, C08, C09).
"""

from __future__ import annotations

from fedlab_utils.data.simulate import MG_PER_MMOL

LOINC = "http://loinc.org"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ATC = "http://www.whocc.no/atc"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"

MEASUREMENTS = {
    "8480-6": "systolic_bp",
    "2093-3": "total_cholesterol",  # mass in a volume
    "14647-2": "total_cholesterol",  # amount of substance in a volume
    "2085-9": "hdl",
    "14646-4": "hdl",
    "39156-5": "bmi",
    "72166-2": "smoker",
}

# Column -> UCUM code -> what a value is multiplied with. UCUM writes the litre as l and as L.
_LIPIDS = {"mg/dL": 1.0, "mg/dl": 1.0, "g/L": 100.0, "g/l": 100.0, "mmol/L": MG_PER_MMOL, "mmol/l": MG_PER_MMOL}
FACTORS: dict[str, dict[str, float]] = {
    "systolic_bp": {"mm[Hg]": 1.0, "kPa": 1 / 0.133322387415},
    "total_cholesterol": _LIPIDS,
    "hdl": _LIPIDS,
    "bmi": {"kg/m2": 1.0, "kg.m-2": 1.0},
}
DECIMALS = {"systolic_bp": 0, "total_cholesterol": 0, "hdl": 0, "bmi": 1}

# Nobody has a value beyond these: it was typed wrongly, or its unit is wrong. They are wider than the course's bounds.
PLAUSIBLE = {"systolic_bp": (40, 350), "total_cholesterol": (40, 1200), "hdl": (5, 250), "bmi": (8, 150)}

SMOKING = {
    "266919005": "never",
    "8517006": "former",
    "449868002": "current",  # every day
    "428041000124106": "current",  # some days
    "428071000124103": "current",  # heavily
    "428061000124105": "current",  # lightly
    "77176002": "current",  # how much is not known
}

DIABETES = {
    "73211009",  # diabetes mellitus
    "44054006",  # type 2
    "46635009",  # type 1
}
# The disease of the course's outcome: coronary disease, stroke, heart failure, arteries of the legs.
DISEASE = {
    "22298006",  # myocardial infarction
    "401303003",  # with ST elevation
    "401314000",  # without
    "194828000",  # angina
    "53741008",  # coronary arteriosclerosis
    "414545008",  # ischaemic heart disease
    "230690007",  # cerebrovascular accident
    "422504002",  # ischaemic stroke
    "266257000",  # transient ischaemic attack
    "84114007",  # heart failure
    "42343007",  # congestive heart failure
    "399957001",  # peripheral arterial occlusive disease
}
HISTORY = {"399211009"}  # history of myocardial infarction: there was one, and nobody says when

PRESSURE_ATC = ("C02", "C03", "C07", "C08", "C09")
PRESSURE_RXNORM = {
    "29046",  # lisinopril
    "5487",  # hydrochlorothiazide
    "17767",  # amlodipine
    "52175",  # losartan
    "6918",  # metoprolol
    "1202",  # atenolol
    "1998",  # captopril
    "11170",  # verapamil
    "314076",  # lisinopril 10 mg, tablets
    "310798",  # hydrochlorothiazide 25 mg, tablets
    "308136",  # amlodipine 2.5 mg, tablets
    "197361",  # amlodipine 5 mg, tablets
}

# Only what was made, changed or finished counts; what was planned, cancelled or a mistake does not.
STATUS = {
    "Observation": {"final", "amended", "corrected"},
    "MedicationRequest": {"active", "on-hold", "completed", "stopped"},
    "MedicationStatement": {"active", "on-hold", "completed", "stopped"},
}
ORDERS = {"order", "original-order", "reflex-order", "filler-order", "instance-order"}

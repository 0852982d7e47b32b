"""A simulated extract from five hospitals, with known truth and with faults put there on purpose.

Nobody in it exists. Risk factors follow published population statistics, the outcome a published risk equation, and
the faults are those of real extracts. `datasets/hospital_network.md` describes every column, source and fault.

Every draw comes from `Generator.random` of one named bit generator, and values are rounded before they are
used, so that a seed gives the same table on every machine.
"""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 2026
FILE_NAME = "hospital_network.csv.gz"
MG_PER_MMOL = 38.67  # mg/dL of cholesterol in one mmol/L

# Public knowledge about each hospital. Case mix: `age` is the mean of logit((age - 30) / 45), `men` a share; `smoking`
# and `diabetes` (log-odds), `pressure` (mmHg) and `bmi` (kg/m2) are added to the national figures: people in hospital
# are sicker than in a survey. `home` is a place on a map; `missing` are base rates, which `_mangle` adapts to patients.
HOSPITALS: dict[str, dict] = {
    "Northgate": dict(
        size=4200, age=0.20, men=0.50, smoking=0.2, diabetes=0.1, pressure=3.0, bmi=0.0, home=(0.50, 0.62),
        lipid_unit="mg/dL", zero_means_missing=False, pressure_suffix="", duplicates=0.04,
        missing=dict(systolic_bp=0.01, total_cholesterol=0.06, hdl=0.08, bmi=0.05, smoker=0.03),
        quirk="large city hospital; most duplicated records",
    ),
    "Riverside": dict(
        size=3000, age=-0.20, men=0.38, smoking=0.0, diabetes=0.0, pressure=0.0, bmi=-0.5, home=(0.28, 0.40),
        lipid_unit="mg/dL", zero_means_missing=False, pressure_suffix="", duplicates=0.01,
        missing=dict(systolic_bp=0.01, total_cholesterol=0.18, hdl=0.22, bmi=0.03, smoker=0.02),
        quirk="young suburb, more women; lipids often not measured; single letters for categories",
    ),
    "Lakeside": dict(
        size=2400, age=0.80, men=0.51, smoking=0.1, diabetes=0.1, pressure=3.0, bmi=0.0, home=(0.72, 0.45),
        lipid_unit="mmol/L", zero_means_missing=False, pressure_suffix="", duplicates=0.02,
        missing=dict(systolic_bp=0.02, total_cholesterol=0.05, hdl=0.07, bmi=0.08, smoker=0.05),
        quirk="older town; lipids in mmol/L; stray capitals and blanks",
    ),
    "Stonebridge": dict(
        size=1500, age=0.40, men=0.58, smoking=0.9, diabetes=0.3, pressure=6.0, bmi=1.0, home=(0.40, 0.20),
        lipid_unit="mg/dL", zero_means_missing=True, pressure_suffix="", duplicates=0.02,
        missing=dict(systolic_bp=0.02, total_cholesterol=0.16, hdl=0.18, bmi=0.06, smoker=0.06),
        quirk="industrial town, many smokers; writes 0 where a number is missing; codes for categories",
    ),
    "Harbour": dict(
        size=900, age=1.50, men=0.86, smoking=0.6, diabetes=0.4, pressure=8.0, bmi=0.5, home=(0.60, 0.80),
        lipid_unit="mg/dL", zero_means_missing=False, pressure_suffix=" mmHg", duplicates=0.03,
        missing=dict(systolic_bp=0.04, total_cholesterol=0.10, hdl=0.95, bmi=0.12, smoker=0.08),
        quirk="older men; HDL rarely measured; blood pressure written with its unit; mixed spellings",
    ),
}
BOUNDS: dict[str, tuple[float, float]] = {
    "age": (30.0, 74.0), "systolic_bp": (80.0, 230.0), "total_cholesterol": (90.0, 400.0),
    "hdl": (15.0, 120.0), "bmi": (14.0, 65.0),
}
UNITS = {"age": "years", "systolic_bp": "mmHg", "total_cholesterol": "mg/dL", "hdl": "mg/dL", "bmi": "kg/m2"}
CATEGORIES: dict[str, list[str]] = {
    "sex": ["female", "male"], "bp_treated": ["no", "yes"],
    "smoker": ["never", "former", "current"], "diabetes": ["no", "yes"],
    "diagnosis": ["none", "coronary disease", "other cardiovascular"],
}
DIRECT_IDENTIFIERS = ["record_id", "name", "national_id", "phone"]
QUASI_IDENTIFIERS = ["birth_date", "sex", "postcode"]
MEASURED = ["systolic_bp", "bp_treated", "total_cholesterol", "hdl", "smoker", "diabetes", "bmi"]
COLUMNS = [
    "record_id", "hospital", "name", "national_id", "phone", "birth_date", "sex", "postcode", "admitted",
    *MEASURED, "cvd_event", "diagnosis",
]
_NUMBERS = {"total_cholesterol": "float64", "hdl": "float64", "bmi": "float64", "cvd_event": "int64"}
_CODES = {
    "female": "f", "male": "m", "no": "0", "yes": "1", "never": "non-smoker", "former": "ex-smoker",
    "current": "smoker",
}


def _written(hospital: str, value: str) -> list[str]:
    """The ways in which a hospital writes a category; one is drawn for each record."""
    letter, code, capital = value[0].upper(), _CODES[value], value.title()
    return {
        "Northgate": [value],
        "Riverside": [letter],
        "Lakeside": [capital, capital + " ", value.upper()],
        "Stonebridge": [code],
        "Harbour": [value, letter, code],
    }[hospital]


# Every spelling in the extract, stripped and in lower case, with its meaning.
SPELLINGS: dict[str, dict[str, str]] = {
    column: {w.strip().lower(): value for value in values for h in HOSPITALS for w in _written(h, value)}
    for column, values in CATEGORIES.items()
    if column != "diagnosis"
}
_FIRST_NAMES = {
    "female": "Ada Beth Cora Dina Elin Fay Gwen Hana Ines Jana Kira Lena Mina Nell Olga Petra Rosa Sana Vera",
    "male": "Abel Boris Carl Dario Emil Finn Gus Hugo Ivan Jonas Karim Leon Milo Nils Omar Rolf Sami Theo",
}
_SURNAME_STARTS = "Ash Bram Cold Dun East Fern Glen Hazel Iron Kings Lark Marsh North Oak Quill Stone"
_SURNAME_ENDS = "bury combe croft dale field ford gate ham hurst ley mere more shaw ton well wick wood"


def framingham_risk(
    age, sex, total_cholesterol, hdl, systolic_bp, bp_treated, smoker, diabetes
) -> np.ndarray:
    """Ten-year risk of a first cardiovascular event, 2008 Framingham general profile with lipids.

    D'Agostino et al., Circulation 117:743-753 (2008), Table 2, doi:10.1161/CIRCULATIONAHA.107.699579.

    Parameters
    ----------
    age, sex
        Years (the equation holds for 30 to 74), and "female" or "male".
    total_cholesterol, hdl, systolic_bp
        In mg/dL, mg/dL and mmHg.
    bp_treated, smoker, diabetes
        True or false: on blood-pressure drugs; smokes now; has diabetes.

    Returns
    -------
    ndarray
        Probabilities, in the shape that the arguments broadcast to; a missing number gives a missing risk.

    Raises
    ------
    ValueError
        If `sex` or a yes/no argument holds anything else, or a measurement is zero or negative.
    """
    sex = np.asarray(sex)
    unknown = set(np.unique(sex.astype(str))) - {"female", "male"}
    if unknown:
        raise ValueError(f"sex must be 'female' or 'male', not {str(min(unknown))!r}.")
    numbers = {"age": age, "total_cholesterol": total_cholesterol, "hdl": hdl, "systolic_bp": systolic_bp}
    logs = {}
    for name, values in numbers.items():
        values = np.asarray(values, float)
        if np.any(values <= 0):
            lowest = np.nanmin(values)
            raise ValueError(f"{name} must be positive, not {lowest}; a recorded 0 often means missing.")
        logs[name] = np.log(values)
    for name, values in {"bp_treated": bp_treated, "smoker": smoker, "diabetes": diabetes}.items():
        if np.asarray(values).dtype.kind not in "bi" or not np.isin(values, (0, 1)).all():
            found = sorted(set(map(str, np.ravel(values))))[:3]
            raise ValueError(f"{name} must be true or false for each patient; it holds {found}.")
    woman, treated = sex == "female", np.asarray(bp_treated, bool)
    score = (
        np.where(woman, 2.32888, 3.06117) * logs["age"]
        + np.where(woman, 1.20904, 1.12370) * logs["total_cholesterol"]
        + np.where(woman, -0.70833, -0.93263) * logs["hdl"]
        + np.where(woman, np.where(treated, 2.82263, 2.76157), np.where(treated, 1.99881, 1.93303))
        * logs["systolic_bp"]
        + np.where(woman, 0.52873, 0.65451) * np.asarray(smoker, bool)
        + np.where(woman, 0.69154, 0.57367) * np.asarray(diabetes, bool)
        - np.where(woman, 26.1931, 23.9802)
    )
    return 1 - np.where(woman, 0.95012, 0.88936) ** np.exp(score)


def age_in_years(birth_date, on_date) -> np.ndarray:
    """Completed years between two columns of ISO dates ("1961-04-30"), as integers."""
    birth, on = pd.DatetimeIndex(birth_date), pd.DatetimeIndex(on_date)
    before_birthday = (on.month < birth.month) | ((on.month == birth.month) & (on.day < birth.day))
    return np.asarray(on.year - birth.year - before_birthday, np.int64)


def _normal(rng: np.random.Generator, n: int) -> np.ndarray:
    # Box-Muller on `random`: numpy promises less about the stream of `standard_normal`.
    return np.sqrt(-2 * np.log1p(-rng.random(n))) * np.cos(2 * np.pi * rng.random(n))


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _within(name: str, values: np.ndarray, decimals: int = 0) -> np.ndarray:
    return np.round(np.clip(values, *BOUNDS[name]), decimals)


def _of_hospital(hospital: np.ndarray, key: str) -> np.ndarray:
    return np.array([HOSPITALS[h][key] for h in hospital])


def _postcodes(rng: np.random.Generator, home: np.ndarray) -> np.ndarray:
    # Five digits from 1 to 9; each cuts its square of the map into 3 x 3, so that a shorter code is a larger
    # square. The region is 54 x 54 of the smallest squares.
    place = np.stack([home[:, k] + 0.11 * _normal(rng, len(home)) for k in range(2)], axis=1)
    column, row = (81 + np.clip(np.floor(place * 54), 0, 53)).astype(int).T
    code = np.zeros(len(home), int)
    for power in (81, 27, 9, 3, 1):
        code = 10 * code + 1 + row // power % 3 * 3 + column // power % 3
    return code.astype(str)


def _people(rng: np.random.Generator, hospital: np.ndarray) -> pd.DataFrame:
    """Name, date of birth, sex and home of one person for each entry of `hospital` (their nearest)."""
    n = len(hospital)
    sex = np.where(rng.random(n) < _of_hospital(hospital, "men"), "male", "female")
    first = {s: np.array(names.split()) for s, names in _FIRST_NAMES.items()}
    pick = (rng.random(n) * len(first["male"])).astype(int)
    surnames = np.array([start + end for start in _SURNAME_STARTS.split() for end in _SURNAME_ENDS.split()])
    surname = surnames[(rng.random(n) * len(surnames)).astype(int)]
    given = np.where(sex == "male", first["male"][pick], first["female"][pick])
    admitted = np.datetime64("2014-01-01") + (rng.random(n) * 730).astype(int)
    age = 30.01 + 44.97 * _sigmoid(_of_hospital(hospital, "age") + 1.1 * _normal(rng, n))
    birth = admitted - np.floor(age * 365.25).astype(int)
    return pd.DataFrame({
        "hospital": hospital,
        "name": pd.Series(given).str.cat(pd.Series(surname), sep=" "),
        "birth_date": birth.astype(str),
        "sex": sex,
        "postcode": _postcodes(rng, _of_hospital(hospital, "home")),
        "admitted": admitted.astype(str),
        "age": age_in_years(birth, admitted),
    })


def _risk_factors(rng: np.random.Generator, age: np.ndarray, man: np.ndarray, shift: dict) -> pd.DataFrame:
    """True values of the measured factors; with every shift 0 they follow the surveys in the data card."""
    n, decades = len(age), (age - 50) / 10
    typical = 16.4 + shift["bmi"] + 0.2 * decades - 0.25 * decades**2
    bmi = _within("bmi", 12 + typical * np.exp(np.where(man, 0.31, 0.38) * _normal(rng, n)), 1)
    inclined = 0.32 * man - 0.22 * decades - 0.13 * decades**2 + shift["smoking"]
    current = rng.random(n) < _sigmoid(inclined - 1.42)
    former = rng.random(n) < _sigmoid(-1.05 + 0.35 * man + 0.40 * decades)
    diabetes = rng.random(n) < _sigmoid(
        -1.95 + 0.30 * man + 0.85 * decades - 0.15 * decades**2 + 0.08 * (bmi - 29) + shift["diabetes"]
    )
    typical = 51 + 4 * man + (6.5 - 2.5 * man) * decades + 0.4 * (bmi - 29) + 2 * diabetes
    untreated = 70 + (typical + shift["pressure"]) * np.exp(0.28 * _normal(rng, n))
    treated = rng.random(n) < _sigmoid(-1.80 + 0.08 * (untreated - 128) + 0.70 * decades + 0.6 * diabetes)
    hdl = np.exp(
        np.where(man, 3.83, 4.03) + 0.02 * decades - 0.014 * (bmi - 29) - 0.06 * current - 0.05 * diabetes
        + 0.23 * _normal(rng, n)
    )
    typical = np.where(man, 198 - 2 * decades, 200 + 7 * decades) - 5 * decades**2 - 10 * diabetes
    total = (typical + 0.25 * (hdl - 52)) * np.exp(0.2 * _normal(rng, n))
    return pd.DataFrame({
        "systolic_bp": _within("systolic_bp", untreated - 9 * treated),
        "bp_treated": np.where(treated, "yes", "no"),
        "total_cholesterol": _within("total_cholesterol", total),
        "hdl": _within("hdl", hdl),
        "smoker": np.where(current, "current", np.where(former, "former", "never")),
        "diabetes": np.where(diabetes, "yes", "no"),
        "bmi": bmi,
    })


def _patients(rng: np.random.Generator) -> pd.DataFrame:
    """One row a patient: the truth, before anything is mangled."""
    hospital = np.repeat(list(HOSPITALS), [h["size"] for h in HOSPITALS.values()])
    people = _people(rng, hospital)
    age, man = people["age"].to_numpy(), (people["sex"] == "male").to_numpy()
    shift = {key: _of_hospital(hospital, key) for key in ("smoking", "diabetes", "pressure", "bmi")}
    factors = _risk_factors(rng, age, man, shift)
    risk = framingham_risk(
        age, people["sex"], factors["total_cholesterol"], factors["hdl"], factors["systolic_bp"],
        factors["bp_treated"] == "yes", factors["smoker"] == "current", factors["diabetes"] == "yes",
    )
    n, risk = len(people), np.round(risk, 6)
    event = rng.random(n) < risk
    coronary = rng.random(n) < np.where(man, 0.405, 0.255)  # Leening et al., doi:10.1136/bmj.g5992
    kind = np.where(event, np.where(coronary, *CATEGORIES["diagnosis"][1:]), "none")
    return pd.concat([people, factors], axis=1).assign(
        patient_id=np.arange(n), true_risk=risk, cvd_event=event.astype(int), diagnosis=kind
    )


def hospital_network(seed: int = SEED) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Simulate the raw extract of the five hospitals and the truth behind it.

    Parameters
    ----------
    seed
        The same seed gives the same tables.

    Returns
    -------
    raw, truth
        About 12,400 records in 18 columns, as a data engineer would receive them; and row for row `patient_id`,
        `hospital`, `true_risk` (ten-year risk of the true values), the true `age`, `sex` and measured factors in
        `UNITS`, and a boolean `fault_*` column for each fault that can touch a single record.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    patients = _patients(rng)
    n = len(patients)
    patients["national_id"] = [f"FX{1000003 + 9 * k}" for k in np.argsort(rng.random(n), kind="stable")]
    patients["phone"] = [f"000-{k:07d}" for k in (rng.random(n) * 1e7).astype(int)]

    # Some patients are transferred: a second record on the same day, in the other hospital's handwriting.
    moved = patients[rng.random(n) < 0.01].copy()
    names = list(HOSPITALS)
    step = 1 + (rng.random(len(moved)) * (len(names) - 1)).astype(int)
    place = (moved["hospital"].map(names.index) + step) % len(names)
    moved["hospital"] = [names[k] for k in place]
    truth = pd.concat([patients.assign(fault_transfer=False), moved.assign(fault_transfer=True)])
    truth["place"] = truth["hospital"].map(names.index)
    truth = truth.sort_values(["place", "admitted", "patient_id"], ignore_index=True)
    number = truth.groupby("place").cumcount() + 1
    truth["record_id"] = truth["hospital"].str[0] + number.map("{:05d}".format)

    raw, truth = _duplicate(rng, *_mangle(rng, truth))
    raw = raw[COLUMNS].astype(_NUMBERS)
    for column in raw.columns.difference(_NUMBERS):
        raw[column] = raw[column].astype("str").where(raw[column].notna())
    faults = [c for c in truth if c.startswith("fault_")]
    return raw, truth[["patient_id", "hospital", "true_risk", "age", "sex", *MEASURED, *faults]]


def _mangle(rng: np.random.Generator, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What the hospitals write down of the truth, and the truth with a note of the faults."""
    n, hospital = len(truth), truth["hospital"].to_numpy()
    raw, truth = truth.copy(), truth.assign(fault_spelling=False)
    for column, values in CATEGORIES.items():
        if column == "diagnosis":
            continue
        ways = {(h, v): _written(h, v) for h in HOSPITALS for v in values}
        draws = zip(hospital, truth[column], rng.random(n), strict=True)
        raw[column] = [ways[h, v][int(u * len(ways[h, v]))] for h, v, u in draws]
        truth["fault_spelling"] |= raw[column] != truth[column]

    mmol = _of_hospital(hospital, "lipid_unit") == "mmol/L"
    for column in ("total_cholesterol", "hdl"):
        raw[column] = np.where(mmol, np.round(truth[column] / MG_PER_MMOL, 2), truth[column])
    suffix = _of_hospital(hospital, "pressure_suffix").astype(object)
    raw["systolic_bp"] = truth["systolic_bp"].astype(int).astype(str).to_numpy(object) + suffix

    lost = pd.DataFrame(index=truth.index)
    for column in HOSPITALS["Northgate"]["missing"]:
        rate = np.array([HOSPITALS[h]["missing"][column] for h in hospital])
        if column in ("total_cholesterol", "hdl"):  # the young are tested less often
            rate = rate * np.clip(1.6 - 0.6 * (truth["age"] - 30) / 22, 0.6, 1.6)
        if column == "bmi":  # the slim are weighed less often
            rate = rate * np.where(truth["bmi"] < 25, 2.0, 0.75)
        lost[column] = rng.random(n) < rate
    zero = _of_hospital(hospital, "zero_means_missing")
    for column in lost:
        raw[column] = raw[column].astype(object).mask(lost[column], np.nan)
        if column != "smoker":
            raw[column] = raw[column].mask(lost[column] & zero, "0" if column == "systolic_bp" else 0.0)
    number_lost = lost.drop(columns="smoker").any(axis=1)
    return raw, truth.assign(
        fault_text=(suffix != "") & ~lost["systolic_bp"],
        fault_unit=mmol & ~(lost["total_cholesterol"] & lost["hdl"]),
        fault_missing=(number_lost & ~zero) | lost["smoker"],
        fault_zero=number_lost & zero,
    )


def _duplicate(rng, raw: pd.DataFrame, truth: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Repeat some records right after the original, half of them under a new record number."""
    n = len(raw)
    again = rng.random(n) < _of_hospital(raw["hospital"].to_numpy(), "duplicates")
    renamed = rng.random(n) < 0.5
    position = np.repeat(np.arange(n), 1 + again)
    copy = np.r_[False, position[1:] == position[:-1]]
    raw, truth = raw.iloc[position].reset_index(drop=True), truth.iloc[position].reset_index(drop=True)
    new = copy & renamed[position]
    number = pd.Series(90000 + np.cumsum(new)).astype(str)
    raw["record_id"] = raw["record_id"].mask(new, raw["hospital"].str[0] + number)
    return raw, truth.assign(fault_duplicate=copy)


def public_register(raw: pd.DataFrame, truth: pd.DataFrame, seed: int = SEED) -> pd.DataFrame:
    """A public list, like an electoral roll: name, date of birth, postcode and sex.

    It holds about 40% of the patients in `raw` (see `hospital_network`) and three times as many of their
    neighbours. It has no medical column; the lesson links it to the extract through the quasi-identifiers.
    """
    rng = np.random.Generator(np.random.PCG64(seed + 1))
    once = raw.assign(sex=truth["sex"])[~(truth["fault_transfer"] | truth["fault_duplicate"])]
    listed = once[rng.random(len(once)) < 0.4]
    hospital = np.repeat(listed["hospital"].to_numpy(), 3)
    columns = ["name", "birth_date", "postcode", "sex"]
    people = pd.concat([listed[columns], _people(rng, hospital)[columns]], ignore_index=True)
    order = np.argsort(rng.random(len(people)), kind="stable")
    return people.iloc[order].reset_index(drop=True).astype("str")


def write(folder: str | Path, seed: int = SEED) -> Path:
    """Simulate and store the raw extract as `hospital_network.csv.gz` in `folder`; returns the path."""
    path = Path(folder) / FILE_NAME
    text = hospital_network(seed)[0].to_csv(index=False, lineterminator="\n")
    path.write_bytes(gzip.compress(text.encode("utf-8"), 9, mtime=0))
    return path


def read(folder: str | Path) -> pd.DataFrame:
    """The raw extract from `folder`, or simulated afresh where the file is missing."""
    path = Path(folder) / FILE_NAME
    if not path.exists():
        return hospital_network()[0]
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    kinds = {c: _NUMBERS.get(c, "str") for c in COLUMNS}
    frame = pd.read_csv(io.StringIO(text), dtype=kinds, keep_default_na=False, na_values=[""])
    return frame.round(2)  # some parsers are off in the last bit

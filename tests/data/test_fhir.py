"""From a hospital's FHIR export to a table: every trap one by one, whole simulated exports, and dirt of every kind."""

import copy
import json
from datetime import date

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils import data
from fedlab_utils.data import fhir, simulate
from fedlab_utils.data.fhir import codes, days
from tests.refusals import one_sentence

INDEX, UNTIL = "2012-01-01", "2023-06-30"
ANSWER = {"cvd_event"}


def quantity(value, unit="mm[Hg]", **more):
    return {"value": value, "unit": unit, "system": codes.UCUM, "code": unit} | more


def concept(code, system=codes.SNOMED):
    return {"coding": [{"system": system, "code": code}]}


def observation(code, value, /, when="2011-05-02", issued="2011-05-03T10:00:00Z", **more):
    found = {"resourceType": "Observation", "status": "final", "code": concept(code, codes.LOINC)}
    found |= {"subject": {"reference": "Patient/p"}, "effectiveDateTime": when, "issued": issued}
    return found | {"valueQuantity": value} | more


def smoking(code, **more):
    return observation("72166-2", None, **more) | {"valueCodeableConcept": concept(code)}


def condition(code="22298006", /, onset=None, recorded=None, state="confirmed", **more):
    found = {"resourceType": "Condition", "code": concept(code), "subject": {"reference": "Patient/p"}}
    found |= {"verificationStatus": concept(state, codes.VERIFICATION)} if state else {}
    found |= {"onsetDateTime": onset} if onset else {}
    return found | ({"recordedDate": recorded} if recorded else {}) | more


def drug(when="2011-10-01", code="314076", system=codes.RXNORM, **more):
    found = {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "authoredOn": when}
    return found | {"subject": {"reference": "Patient/p"}, "medicationCodeableConcept": concept(code, system)} | more


def patient(**more):
    return {"resourceType": "Patient", "id": "p", "gender": "male", "birthDate": "1955-06-07"} | more


FOLLOWED = observation("8480-6", quantity(150), "2022-03-01", "2022-03-01T10:00:00Z")
USUAL = [patient(), observation("8480-6", quantity(141)), FOLLOWED]


def export(folder, resources):
    folder.mkdir(parents=True, exist_ok=True)
    entries = [{"resource": r} for r in resources]
    (folder / "export.json").write_text(json.dumps({"resourceType": "Bundle", "entry": entries}), encoding="utf-8")
    return folder


def read(folder, resources, **more):
    return data.from_fhir(export(folder, resources), **(dict(index=INDEX, until=UNTIL) | more))


def row(folder, *more, base=USUAL, **settings):
    frame, report = read(folder, [*base, *more], **settings)
    assert len(frame) == 1
    return frame.iloc[0], {(what, why): n for what, why, n in report.itertuples(index=False)}


# ---------------------------------------------------------------- whole exports


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    truth = fhir.write_simulated(folder)
    return folder, truth, {h: data.from_fhir(folder / h, index=fhir.INDEX, until=fhir.UNTIL) for h in fhir.SIZES}


def test_simulated_exports_are_read_as_by_a_careful_reader(exports):
    _, truth, found = exports
    for hospital, table in found.items():
        expected = truth[truth["hospital"] == hospital][table.frame.columns].reset_index(drop=True)
        pd.testing.assert_frame_equal(table.frame, expected, check_dtype=False)
        assert len(table.frame) > 250 and 20 < table.frame["cvd_event"].sum() < 100


def test_every_trap_is_in_the_simulated_exports(exports):
    *_, found = exports
    seen = set().union(*(set(table.report["why"]) for table in found.values()))
    assert len(seen) > 22 and {"no UCUM unit", "another version of it: the latest counts"} <= seen


def test_the_same_seed_gives_the_same_files(exports, tmp_path):
    folder, truth, _ = exports
    pd.testing.assert_frame_equal(fhir.write_simulated(tmp_path), truth)
    for path in folder.rglob("*.*json"):
        assert path.read_bytes() == (tmp_path / path.relative_to(folder)).read_bytes()


def test_nothing_that_names_a_patient_leaves(exports):
    folder, _, found = exports
    hospital = "Northgate"
    lines = (folder / hospital / "Patient.ndjson").read_text(encoding="utf-8").splitlines()
    secrets = set()
    for told in map(json.loads, lines):
        (name,), (phone,), (place,) = told["name"], told["telecom"], told["address"]
        secrets |= {told["id"], name["family"], phone["value"], place["postalCode"], told["birthDate"]}
    records = fhir.read(folder / hospital, UNTIL)
    told = "\n".join(f.to_csv(index=False) for f in (*found[hospital], fhir.as_frame(records)))
    words = set(told.replace("\n", ",").split(","))
    assert len(secrets) > 1000 and not secrets & words


def test_a_model_learns_from_the_tables(exports):
    *_, found = exports
    together = pd.concat([table.frame.assign(hospital=h) for h, table in found.items()], ignore_index=True)
    known = dict(bounds=simulate.BOUNDS, categories={c: v for c, v in simulate.CATEGORIES.items() if c in together})
    federation = data.from_frame(together, target="cvd_event", hospital="hospital", **known)
    assert sum(len(h.y_train) + len(h.y_test) for h in federation.hospitals) == together["cvd_event"].notna().sum()
    assert federation.task == "binary"


# ---------------------------------------------------------------- one trap at a time


def test_the_usual_patient(tmp_path):
    found, report = row(tmp_path)
    assert found["age"] == 56 and found["sex"] == "male" and found["systolic_bp"] == 141
    assert found["bp_treated"] == found["diabetes"] == "no" and found["cvd_event"] == 0
    assert found[["total_cholesterol", "hdl", "smoker", "bmi"]].isna().all()
    assert report["patients", "in the table"] == 1


@pytest.mark.parametrize(
    "code, value, column, expected",
    [
        ("2093-3", quantity(212, "mg/dL"), "total_cholesterol", 212),
        ("2093-3", quantity(212, "mg/dl"), "total_cholesterol", 212),
        ("14647-2", quantity(5.2, "mmol/L"), "total_cholesterol", 201),
        ("2093-3", quantity(2.12, "g/L"), "total_cholesterol", 212),
        ("14646-4", quantity(1.3, "mmol/L"), "hdl", 50),
        ("8480-6", quantity(18, "kPa"), "systolic_bp", 135),
        ("39156-5", quantity(27.34, "kg/m2"), "bmi", 27.3),
        ("8480-6", quantity(245), "systolic_bp", 230),  # a value of the course's bound
    ],
)
def test_units_are_converted(tmp_path, code, value, column, expected):
    found, _ = row(tmp_path, observation(code, value, when="2011-09-01", issued="2011-09-01T08:00:00Z"))
    assert found[column] == expected


@pytest.mark.parametrize(
    "value, why",
    [
        ({"value": 150, "unit": "mmHg"}, "no UCUM unit"),
        (quantity(150) | {"system": "urn:ward"}, "no UCUM unit"),
        (quantity(150, "mmHg"), "a unit that is not one of this measurement"),
        (quantity(150, "mg/dL"), "a unit that is not one of this measurement"),
        (quantity(150, comparator="<"), "only a limit, such as < 50"),
        (quantity(15), "a value that nobody has; wrong unit?"),
        (quantity(float("nan")), "a value that nobody has; wrong unit?"),
        (quantity("150"), "no value"),
        (quantity(True), "no value"),
        (None, "no value"),
    ],
)
def test_a_value_that_would_need_a_guess_is_refused(tmp_path, value, why):
    found, report = row(tmp_path, observation("8480-6", value, when="2011-11-11", issued="2011-11-11T08:00:00Z"))
    assert found["systolic_bp"] == 141 and report["systolic_bp", why] == 1


LATER = dict(when="2011-11-11", issued="2011-11-11T08:00:00Z")
NOT_ON_THE_BOOKS = {
    "entered in error": observation("8480-6", quantity(180), **LATER, status="entered-in-error"),
    "not finished": observation("8480-6", quantity(180), **LATER, status="preliminary"),
    "no status": observation("8480-6", quantity(180), **LATER, status=None),
    "a code of another list": observation("8480-6", quantity(180), **LATER, code=concept("8480-6", "urn:ward")),
    "two codes that disagree": observation(
        "8480-6", quantity(180), **LATER,
        code={"coding": [{"system": codes.LOINC, "code": c} for c in ("8480-6", "39156-5")]},
    ),
    "known only afterwards": observation("8480-6", quantity(180), "2011-12-30", "2012-01-02T08:00:00Z"),
    "known on the day itself": observation("8480-6", quantity(180), "2011-12-31", "2012-01-01T08:00:00Z"),
    "known some time in that year": observation("8480-6", quantity(180), "2011-12-30", "2012"),
    "never recorded": observation("8480-6", quantity(180), "2011-11-11", None),
    "recorded before it was measured": observation("8480-6", quantity(180), "2011-11-11", "2011-10-10T08:00:00Z"),
    "too old": observation("8480-6", quantity(180), "2005-11-11", "2011-12-12T08:00:00Z"),
    "the 31st of November": observation("8480-6", quantity(180), "2011-11-31", "2011-12-12T08:00:00Z"),
    "another patient": observation("8480-6", quantity(180), **LATER, subject={"reference": "Patient/q"}),
    "another server": observation("8480-6", quantity(180), **LATER, subject={"reference": "http://x/Patient/p"}),
    "a group": observation("8480-6", quantity(180), **LATER, subject={"reference": "Group/p"}),
    "diabetes, suspected": condition("44054006", "2010-01-01", "2010-01-02", "provisional"),
    "diabetes, excluded": condition("44054006", "2010-01-01", "2010-01-02", "refuted"),
    "diabetes, known afterwards": condition("44054006", "2010-01-01", "2012-05-02"),
    "diabetes, never recorded": condition("44054006", "2010-01-01"),
    "infarction, excluded": condition("22298006", "2010-01-01", "2010-01-02", "refuted"),
    "infarction, a mistake": condition("22298006", "2013-01-01", "2013-01-02", "entered-in-error"),
    "infarction, a mistake of another list": condition(
        onset="2013-01-01", recorded="2013-01-02", state="entered-in-error", code=concept("22298006", "urn:ward")
    ),
    "a modifier that nobody knows": observation("8480-6", quantity(180), **LATER, modifierExtension=[{"url": "urn:x"}]),
    "a modifier of a part": observation(
        "85354-9", None, **LATER,
        component=[{"code": concept("8480-6", codes.LOINC), "valueQuantity": quantity(180), "modifierExtension": []}],
    ),
    "a number without end": observation("8480-6", quantity(10**400), **LATER),
    "drug, draft": drug(status="draft"),
    "drug, proposed": drug(intent="proposal"),
    "drug, forbidden": drug(doNotPerform=True),
    "drug, long ago": drug("2009-01-01"),
    "drug, afterwards": drug("2012-01-01"),
    "drug, of another kind": drug(code="243670"),
    "drug, never taken": {
        "resourceType": "MedicationStatement", "status": "not-taken", "subject": {"reference": "Patient/p"},
        "dateAsserted": "2011-11-01", "medicationCodeableConcept": concept("C09AA03", codes.ATC),
    },
    "drug, until long ago": {
        "resourceType": "MedicationStatement", "status": "completed", "subject": {"reference": "Patient/p"},
        "dateAsserted": "2011-11-01", "medicationCodeableConcept": concept("C09AA03", codes.ATC),
        "effectivePeriod": {"start": "2003", "end": "2005-04"},
    },
    "drug, until nobody knows when": {
        "resourceType": "MedicationStatement", "status": "stopped", "subject": {"reference": "Patient/p"},
        "dateAsserted": "2011-11-01", "medicationCodeableConcept": concept("C09AA03", codes.ATC),
        "effectiveDateTime": "2011-03-01",
    },
}  # fmt: skip


@pytest.mark.parametrize("entry", NOT_ON_THE_BOOKS.values(), ids=NOT_ON_THE_BOOKS)
def test_what_was_not_on_the_books_changes_nothing(tmp_path, entry):
    usual, _ = row(tmp_path / "usual")
    found, _ = row(tmp_path / "more", {k: v for k, v in entry.items() if v is not None})
    pd.testing.assert_series_equal(found, usual)


def test_a_day_that_may_be_the_index_day_or_later_is_not_before_it(tmp_path):
    entry = observation("8480-6", quantity(180), "2011-12-30", "2012")
    assert row(tmp_path, entry, index="2012-06-15", years=9)[0]["systolic_bp"] == 141
    assert row(tmp_path, entry, index="2013-01-01", years=9)[0]["systolic_bp"] == 180


def test_an_old_measurement_is_none(tmp_path):
    old = observation("2093-3", quantity(180, "mg/dL"), "2005-11-11", "2011-12-12T08:00:00Z")
    assert pd.isna(row(tmp_path, old)[0]["total_cholesterol"])
    assert row(tmp_path, old, lookback=7)[0]["total_cholesterol"] == 180


def test_what_was_on_the_books_is_found(tmp_path):
    medication = {"resourceType": "Medication", "id": "m", "code": concept("C07AB02", codes.ATC)}
    stated = {
        "resourceType": "MedicationStatement",
        "status": "active",
        "subject": {"reference": "Patient/p/_history/3"},
    }
    stated |= {"dateAsserted": "2011-11", "effectivePeriod": {"start": "2003"}}
    inside = stated | {"contained": [medication], "medicationReference": {"reference": "#m"}}
    beside = stated | {"medicationReference": {"reference": "Medication/m"}}
    lately = inside | {"status": "stopped", "effectivePeriod": {"start": "2003", "end": "2011-06"}}
    ways = [[drug()], [drug(code="C03CA01", system=codes.ATC)], [inside], [beside, medication], [lately]]
    for k, more in enumerate(ways):
        found, _ = row(tmp_path / str(k), *more)
        assert found["bp_treated"] == "yes", more
    found, _ = row(tmp_path / "rest", condition("46635009", "1990", "2011-12-31", state=None), smoking("8517006"))
    assert found["diabetes"] == "yes" and found["smoker"] == "former"


def test_the_latest_version_counts_whichever_file_it_is_in(tmp_path):
    first = observation("8480-6", quantity(180), **LATER) | {"id": "o", "meta": {"lastUpdated": "2011-11-12T08:00:00Z"}}
    mended = first | {"status": "entered-in-error", "meta": {"lastUpdated": "2011-11-12T10:00:00+01:00"}}
    for k, pair in enumerate([(first, mended), (mended, first)]):
        found, report = row(tmp_path / str(k), *pair)
        assert found["systolic_bp"] == 141 and report["Observation", "another version of it: the latest counts"] == 1


@pytest.mark.parametrize("told", ["stamped alike", "not at all"])
def test_of_versions_that_do_not_say_which_is_later_a_mistaken_one_counts(tmp_path, told):
    meta = {"meta": {"lastUpdated": "2011-11-12T08:00:00Z"}} if told == "stamped alike" else {}
    first = observation("8480-6", quantity(180), **LATER) | {"id": "o"} | meta
    mended, other = first | {"status": "entered-in-error"}, first | {"valueQuantity": quantity(170)}
    for k, pair in enumerate([(first, mended), (mended, first)]):
        assert row(tmp_path / str(k), *pair)[0]["systolic_bp"] == 141
    one, two = (row(tmp_path / f"{k}", *pair)[0] for k, pair in enumerate([(first, other), (other, first)], 2))
    pd.testing.assert_series_equal(one, two)


def test_an_address_of_two_patients_is_nobodys(tmp_path):
    moved = observation("8480-6", quantity(180), **LATER) | {"subject": {"reference": "urn:uuid:1"}}
    folder = export(tmp_path, USUAL)
    for name in ("p", "z"):
        entries = [{"fullUrl": "urn:uuid:1", "resource": patient(id=name)}, {"resource": moved}]
        bundle = {"resourceType": "Bundle", "entry": entries[: 1 + (name == "z")]}
        (folder / f"{name}.json").write_text(json.dumps(bundle), encoding="utf-8")
    frame, report = data.from_fhir(folder, index=INDEX, until=UNTIL)
    found = {(what, why): n for what, why, n in report.itertuples(index=False)}
    assert frame["systolic_bp"].tolist() == [141] and found["Patient", "an address that another one has as well"] == 1
    assert found["Observation", "of a patient who is not in the export"] == 1


@pytest.mark.parametrize("kind, holder, other", [("replaced-by", "q", "p"), ("replaces", "p", "q")])
def test_records_that_were_merged_are_one_patient(tmp_path, kind, holder, other):
    link = {"link": [{"type": kind, "other": {"reference": f"Patient/{other}"}}]}
    people = [patient(id=name, **(link if name == holder else {})) for name in ("p", "q")]
    moved = observation("8480-6", quantity(120), **LATER) | {"subject": {"reference": "Patient/q"}}
    found, report = row(tmp_path, moved, base=[*people, *USUAL[1:]])
    assert found["systolic_bp"] == 120 and report["Patient", "merged into another record"] == 1
    circle = patient(link=[{"type": "replaced-by", "other": {"reference": "Patient/p"}}])
    read(tmp_path / "circle", [circle, *USUAL[1:]])


# ---------------------------------------------------------------- the outcome


UNKNOWN = "unknown"
OUTCOMES = {
    "an event": ([condition(onset="2015-02-03", recorded="2015-02-04")], 1),
    "an event in an unknown month": ([condition(onset="2015", recorded="2015-02-04")], 1),
    "on the index day": ([condition(onset="2012-01-01", recorded="2012-01-01")], 1),
    "recorded late": ([condition(onset="2021-12-31", recorded="2022-02-04")], 1),
    "without onset": ([condition(recorded="2016-02-04")], 1),
    "onset but no record": ([condition(onset="2016-02-04")], 1),
    "after the years": ([condition(onset="2022-01-01", recorded="2022-01-04")], 0),
    "before, known afterwards": ([condition(onset="2011-12-24", recorded="2012-02-04")], UNKNOWN),
    "in a year around the day": ([condition(onset="2011", recorded="2012-02-04")], UNKNOWN),
    "in a year around the end": ([condition(onset="2022", recorded="2022-02-04")], 0),
    "no day at all": ([condition()], UNKNOWN),
    "in the future": ([condition(onset="2099-01-01", recorded="2015-01-01")], UNKNOWN),
    "recorded in the future": ([condition(onset="2099-01-01", recorded="2099-01-01")], UNKNOWN),
    "history": ([condition("399211009", recorded="2015-01-01")], UNKNOWN),
    "provisional": ([condition(onset="2015-02-03", recorded="2015-02-04", state="provisional")], UNKNOWN),
    "a status of one's own": ([condition(onset="2015-02-03", recorded="2015-02-04", state="maybe")], UNKNOWN),
    "a diagnosis of another list": (
        [condition(onset="2015-02-03", recorded="2015-02-04", code=concept("I21.0", "http://hl7.org/fhir/sid/icd-10"))],
        UNKNOWN,
    ),
    "a diagnosis in words alone": (
        [condition(onset="2015-02-03", recorded="2015-02-04", code={"text": "infarct"})], UNKNOWN,
    ),
    "a modifier that nobody knows": (
        [condition(onset="2015-02-03", recorded="2015-02-04", modifierExtension=[{"url": "urn:x"}])], UNKNOWN,
    ),
    "recorded in the same minute, in another zone": (
        [condition(onset="2015-02-03T00:10:00+02:00", recorded="2015-02-02T22:12:00Z")], 1,
    ),
    "recorded two days before": ([condition(onset="2015-02-04", recorded="2015-02-02")], UNKNOWN),
    "provisional, then sure": (
        [condition(onset="2015-02-03", recorded="2015-02-03", state="provisional"),
         condition(onset="2015-02-05", recorded="2015-02-05")],
        1,
    ),
    "one with a day and one without": ([condition(onset="2015-02-03", recorded="2015-02-04"), condition()], UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize("entries, expected", OUTCOMES.values(), ids=OUTCOMES)
def test_the_outcome(tmp_path, entries, expected):
    found, report = row(tmp_path, *entries)
    assert found["cvd_event"] == expected or (expected == UNKNOWN and pd.isna(found["cvd_event"]))


def test_short_follow_up_and_death_are_not_health(tmp_path):
    short = observation("8480-6", quantity(150), "2021-12-31", "2021-12-31T10:00:00Z")
    found, report = row(tmp_path / "short", short, base=USUAL[:2])
    assert pd.isna(found["cvd_event"]) and report["cvd_event", "unknown: not followed for all of the years"] == 1
    for k, mistake in enumerate([FOLLOWED | {"status": "entered-in-error"}, condition("1", recorded="2022-03-01",
                                 state="entered-in-error")]):  # fmt: skip
        assert pd.isna(row(tmp_path / f"mistake {k}", short, mistake, base=USUAL[:2])[0]["cvd_event"])
    future = observation("8480-6", quantity(150), "2099-12-31", "2099-12-31T10:00:00Z")
    assert pd.isna(row(tmp_path / "future", short, future, base=USUAL[:2])[0]["cvd_event"])
    for k, death in enumerate([{"deceasedDateTime": "2018-04"}, {"deceasedBoolean": True}]):
        found, report = row(tmp_path / str(k), base=[patient(**death), *USUAL[1:]])
        assert report["cvd_event", "unknown: died, and nobody says of what"] == 1
    event = condition(onset="2015-02-03", recorded="2015-02-04")
    assert row(tmp_path / "ill", event, base=[patient(deceasedDateTime="2018"), *USUAL[1:]])[0]["cvd_event"] == 1
    assert row(tmp_path / "lived", base=[patient(deceasedDateTime="2023"), *USUAL[1:]])[0]["cvd_event"] == 0


LEFT_OUT = {
    "known to have had the disease": [*USUAL, condition(onset="2004", recorded="2008-01-01")],
    "younger than 30 or older than 74": [patient(birthDate="1990-01-01"), *USUAL[1:]],
    "no date of birth from which the age follows": [patient(birthDate="1955"), *USUAL[1:]],
    "dead by the index date": [patient(deceasedDateTime="2011-11"), *USUAL[1:]],
    "not seen in the years before the index date": [USUAL[0], FOLLOWED],
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_who_is_left_out_and_why(tmp_path, why):
    other = [json.loads(json.dumps(r).replace("Patient/p", "Patient/z")) for r in USUAL]
    other[0]["id"] = "z"
    frame, report = read(tmp_path, [*LEFT_OUT[why], *other])
    assert len(frame) == 1 and report.query("what == 'patients' and why == @why")["n"].tolist() == [1]
    with one_sentence("index") as reason:
        read(tmp_path / "alone", LEFT_OUT[why])
    assert why in str(reason.value)


# ---------------------------------------------------------------- arguments and files


def test_bad_arguments_are_refused(tmp_path):
    folder = export(tmp_path / "export", USUAL)
    for about, more in {
        "index": [dict(index="1st of May"), dict(index=2012), dict(index=None), dict(index="2012-13-01")],
        "until": [dict(until="later"), dict(until="2012-01-01")],
        "years": [dict(years=0), dict(years=2.5), dict(years=1000)],
        "lookback": [dict(lookback=-1), dict(lookback="5")],
    }.items():
        for wrong in more:
            with one_sentence(about):
                data.from_fhir(folder, **(dict(index=INDEX, until=UNTIL) | wrong))
    (tmp_path / "empty").mkdir()
    for wrong in (5, tmp_path / "nowhere", tmp_path / "empty"):
        with one_sentence("folder"):
            data.from_fhir(wrong, index=INDEX)


def test_files_that_cannot_be_read_are_counted(tmp_path):
    folder = export(tmp_path, USUAL)
    (folder / "broken.json").write_bytes(b"\xff\xfe not json")
    (folder / "deep.json").write_text("[" * 100_000, encoding="utf-8")
    (folder / "lines.ndjson").write_text(
        '\ufeff{"resourceType": "Device"}\n\n{"a": 1}\n[1]\nnull\n{\n', encoding="utf-8"
    )
    (folder / "notes.txt").write_text("not looked at", encoding="utf-8")
    frame, report = data.from_fhir(folder, index=INDEX, until=UNTIL)
    found = {(what, why): n for what, why, n in report.itertuples(index=False)}
    assert len(frame) == 1 and found["files", "no JSON"] == 2 and found["lines", "no JSON"] == 1
    assert found["resources", "without a type"] == 3
    assert found["resources", "of a type that is not asked for"] == 1


def test_entries_can_be_looked_at(exports):
    folder, *_ = exports
    frame = fhir.as_frame(fhir.read(folder / "Riverside", UNTIL))
    assert list(frame) == ["patient", "what", "value", "when", "recorded"]
    assert set(frame["what"]) == {"systolic_bp", "total_cholesterol", "hdl", "bmi", "smoker", "diabetes", "disease",
                                  "bp_treated"}  # fmt: skip
    assert frame["when"].isna().mean() < 0.01


# ---------------------------------------------------------------- properties


DAYS = st.dates(date(2004, 1, 1), date(2023, 12, 31)).map(date.isoformat)
WRITTEN = st.one_of(
    DAYS,
    DAYS.map(lambda d: d[:7]),
    DAYS.map(lambda d: d[:4]),
    st.none(),
    st.sampled_from(["", "2010-02-30", "soon", 7]),
)
STATES = ["confirmed", "refuted", "entered-in-error", "provisional", None]
ENTRIES = st.one_of(
    st.builds(
        observation,
        st.sampled_from(["8480-6", "2093-3", "14647-2", "2085-9", "39156-5", "0-0"]),
        st.builds(quantity, st.floats(0, 400), st.sampled_from(["mm[Hg]", "mg/dL", "mmol/L", "kPa", "kg/m2", "mmHg"])),
        WRITTEN,
        WRITTEN,
    ),
    st.builds(smoking, st.sampled_from([*codes.SMOKING, "266927001"]), when=WRITTEN, issued=WRITTEN),
    st.builds(
        condition,
        st.sampled_from(["22298006", "230690007", "44054006", "399211009", "1"]),
        WRITTEN,
        WRITTEN,
        st.sampled_from(STATES),
    ),
    st.builds(drug, WRITTEN, st.sampled_from(["314076", "243670"])),
)
EXPORTS = st.lists(ENTRIES, max_size=8)
KEYS = st.sampled_from(["coding", "code", "system", "value", "reference", "start"])
JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2),
        st.dictionaries(
            st.sampled_from(["coding", "code", "system", "value", "reference", "start"]), inner, max_size=2
        ),
    ),
    max_leaves=4,
)
FEATURES = ["age", "sex", *simulate.MEASURED]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("dirt")


def attempt(folder, resources):
    """The table, or the sentence that says why there is none."""
    try:
        return read(folder, resources)
    except ValueError as reason:
        assert str(reason).startswith("index='2012-01-01' leaves no patient") and "\n" not in str(reason)
        return None


@settings(max_examples=50)
@given(EXPORTS)
def test_features_know_nothing_that_was_recorded_later(place, entries):
    names = {"Observation": "issued", "Condition": "recordedDate", "MedicationRequest": "authoredOn"}

    def surely_before(resource):
        known = days.read(resource.get(names[resource["resourceType"]]))
        return known is not None and known.last < date(2012, 1, 1).toordinal()

    everything, before = attempt(place, [*USUAL, *entries]), [r for r in entries if surely_before(r)]
    books = attempt(place, [*USUAL, *before])
    assert (everything is None) == (books is None)  # who is in the table does not depend on what came later
    if books is not None:
        pd.testing.assert_frame_equal(everything.frame[FEATURES], books.frame[FEATURES])


@settings(max_examples=40)
@given(EXPORTS, st.randoms(use_true_random=False))
def test_the_order_of_entries_does_not_matter(place, entries, chance):
    entries = [r | {"id": f"r{k}"} for k, r in enumerate([*USUAL[1:], *entries])]
    mixed = [USUAL[0], *entries]
    chance.shuffle(mixed)
    one, other = attempt(place, [USUAL[0], *entries]), attempt(place, mixed)
    assert (one is None) == (other is None)
    if one is not None:
        pd.testing.assert_frame_equal(one.frame, other.frame)
        pd.testing.assert_frame_equal(one.report, other.report)


@settings(max_examples=40)
@given(EXPORTS)
def test_healthy_is_said_only_of_whom_nothing_speaks_against_it(place, entries):
    found = attempt(place, [*USUAL, *entries])
    healthy = found is not None and found.frame["cvd_event"].tolist() == [0]
    lasting = ("refuted", "entered-in-error")
    for resource in entries if healthy else ():
        if resource["resourceType"] == "Condition" and resource["code"]["coding"][0]["code"] in codes.DISEASE:
            state = resource.get("verificationStatus")
            left_out = state and state["coding"][0]["code"] in lasting
            onset, known = (days.read(resource.get(n)) for n in ("onsetDateTime", "recordedDate"))
            assert left_out or min(d.first for d in (onset, known) if d) >= date(2022, 1, 1).toordinal()


def places(value, path=()):
    """Every place in JSON."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


@settings(max_examples=80)
@given(EXPORTS, st.data())
def test_junk_anywhere_is_counted_and_never_raised(place, entries, draw):
    resources = copy.deepcopy([*USUAL, drug(), condition(onset="2015-02-03"), smoking("8517006"), *entries])
    for _ in range(draw.draw(st.integers(1, 3))):
        *path, last = draw.draw(st.sampled_from([p for p in places(resources) if p]))
        inside = resources
        for key in path:
            inside = inside[key]
        inside[last] = draw.draw(JUNK)
    found = attempt(place, resources)
    if found is None:
        return
    assert list(found.frame) == [*FEATURES, "cvd_event"] and (found.report["n"] > 0).all()
    for column, (low, high) in simulate.BOUNDS.items():
        assert found.frame[column].dropna().between(low, high).all()
    for column in ("sex", "bp_treated", "smoker", "diabetes"):
        assert set(found.frame[column].dropna()) <= set(simulate.CATEGORIES[column])
    assert set(found.frame["cvd_event"].dropna()) <= {0, 1}


@settings(max_examples=25)
@given(st.floats(60, 380))
def test_a_value_is_the_same_in_every_unit(place, value):
    resources = []
    for k, (unit, factor) in enumerate(codes.FACTORS["total_cholesterol"].items()):
        whole = [*USUAL, observation("2093-3", quantity(value / factor, unit))]
        resources += json.loads(
            json.dumps(whole).replace("Patient/p", f"Patient/{k}").replace('"id": "p"', f'"id": "{k}"')
        )
    seen = read(place, resources).frame["total_cholesterol"]
    assert len(seen) == 6 and seen.max() - seen.min() <= 1  # a half is rounded up or down

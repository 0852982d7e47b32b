"""The simulated hospital network: right risk equation, documented faults, the same table every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedlab_utils.data import simulate

DATASETS = Path(__file__).parents[2] / "datasets"


NUMBERS = ["systolic_bp", "total_cholesterol", "hdl", "bmi"]


CATEGORICAL = list(simulate.SPELLINGS)


@pytest.fixture(scope="module")
def network():
    return simulate.hospital_network()


@pytest.fixture(scope="module")
def patients(network):
    raw, truth = network
    first = ~(truth["fault_transfer"] | truth["fault_duplicate"])
    return truth[first].assign(cvd_event=raw["cvd_event"], diagnosis=raw["diagnosis"])


@pytest.fixture(scope="module")
def cleaned(network):
    """The extract with every fault undone except the values that are gone, using public knowledge only."""
    raw = network[0].copy()
    for column, meaning in simulate.SPELLINGS.items():
        raw[column] = raw[column].str.strip().str.lower().map(meaning)
    raw["systolic_bp"] = pd.to_numeric(raw["systolic_bp"].str.removesuffix(" mmHg"))
    mmol = raw["hospital"].map(lambda h: simulate.HOSPITALS[h]["lipid_unit"]) == "mmol/L"
    for column in ("total_cholesterol", "hdl"):
        raw.loc[mmol, column] = (raw.loc[mmol, column] * simulate.MG_PER_MMOL).round()
    zero = raw["hospital"].map(lambda h: simulate.HOSPITALS[h]["zero_means_missing"]).astype(bool)
    for column in NUMBERS:
        raw.loc[zero & (raw[column] == 0), column] = np.nan
    return raw


# ---------------------------------------------------------------- the risk equation


def test_risk_agrees_with_the_worked_examples_of_the_paper():
    # D'Agostino et al. 2008: woman of 61, 10.5%; man of 53, 15.6%.
    risk = simulate.framingham_risk(
        age=[61, 53],
        sex=["female", "male"],
        total_cholesterol=[180, 161],
        hdl=[47, 55],
        systolic_bp=[124, 125],
        bp_treated=[False, True],
        smoker=[True, False],
        diabetes=[False, True],
    )
    assert np.round(100 * risk, 1).tolist() == [10.5, 15.6]


@pytest.mark.parametrize(("sex", "smoker", "diabetes"), [("male", 1.92, 1.78), ("female", 1.70, 2.00)])
def test_hazard_ratios_are_the_published_ones(sex, smoker, diabetes):
    def hazard(**change):
        person = dict(age=50, sex=sex, total_cholesterol=200, hdl=50, systolic_bp=120)
        person |= dict(bp_treated=False, smoker=False, diabetes=False) | change
        return -np.log1p(-simulate.framingham_risk(**person))

    assert hazard(smoker=True) / hazard() == pytest.approx(smoker, abs=0.006)
    assert hazard(diabetes=True) / hazard() == pytest.approx(diabetes, abs=0.006)
    assert hazard(hdl=60) < hazard() < hazard(bp_treated=True)


def test_a_missing_number_gives_a_missing_risk():
    risk = simulate.framingham_risk([50, 50], ["male", "male"], [200, np.nan], 50, 120, False, False, False)
    assert np.isfinite(risk[0]) and np.isnan(risk[1])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"sex": "M"}, "sex must be 'female' or 'male', not 'M'"),
        ({"total_cholesterol": 0}, "total_cholesterol must be positive, not 0.0"),
        ({"systolic_bp": [120, -1]}, "systolic_bp must be positive, not -1.0"),
        ({"smoker": ["no", "yes"]}, r"smoker must be true or false .* \['no', 'yes'\]"),
        ({"diabetes": 2}, r"diabetes must be true or false .* \['2'\]"),
    ],
)
def test_impossible_input_gets_a_sentence(change, sentence):
    person = dict(age=50, sex="male", total_cholesterol=200, hdl=50, systolic_bp=120)
    person |= dict(bp_treated=False, smoker=False, diabetes=False) | change
    with pytest.raises(ValueError, match=sentence):
        simulate.framingham_risk(**person)


def test_age_counts_completed_years():
    on = ["2014-05-01", "2014-04-30", "2014-04-29", "2015-03-01", "2015-02-28"]
    birth = ["1960-04-30", "1960-04-30", "1960-04-30", "1960-02-29", "1960-02-29"]
    assert simulate.age_in_years(birth, on).tolist() == [54, 54, 53, 55, 54]


# ---------------------------------------------------------------- the same table every time


def test_a_seed_gives_the_same_tables_and_another_seed_gives_others(network):
    raw, truth = simulate.hospital_network()
    pd.testing.assert_frame_equal(raw, network[0], check_exact=True)
    pd.testing.assert_frame_equal(truth, network[1], check_exact=True)
    other = simulate.hospital_network(seed=7)[0]
    assert set(other["birth_date"] + other["postcode"]) != set(raw["birth_date"] + raw["postcode"])


def test_the_stored_table_is_the_simulated_one(network):
    path = DATASETS / simulate.FILE_NAME
    assert path.exists(), f"{path.name} is missing; simulate.write('datasets') makes it."
    assert path.stat().st_size < 1_000_000
    pd.testing.assert_frame_equal(simulate.read(DATASETS), network[0], check_exact=True)


def test_read_simulates_where_the_file_is_missing_and_write_restores_it(tmp_path, network):
    pd.testing.assert_frame_equal(simulate.read(tmp_path), network[0], check_exact=True)
    assert list(tmp_path.iterdir()) == []
    first = simulate.write(tmp_path).read_bytes()
    pd.testing.assert_frame_equal(simulate.read(tmp_path), network[0], check_exact=True)
    assert simulate.write(tmp_path).read_bytes() == first
    assert first[4:8] == bytes(4), "the gzip header holds the time of writing"


def test_simulating_leaves_the_global_generator_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    simulate.hospital_network(seed=3)
    assert (np.random.get_state()[1] == before).all()


# ---------------------------------------------------------------- what the data card says


def test_shape_columns_and_public_lists(network, patients):
    raw, truth = network
    assert list(raw.columns) == simulate.COLUMNS
    assert raw.index.equals(pd.RangeIndex(len(raw))) and truth.index.equals(raw.index)
    assert len(patients) == 12_000
    sizes = {name: hospital["size"] for name, hospital in simulate.HOSPITALS.items()}
    assert patients["hospital"].value_counts().to_dict() == sizes
    for column, (low, high) in simulate.BOUNDS.items():
        assert patients[column].between(low, high).all(), column
        if column != "age":  # the bounds must not pile patients up at the edge
            assert patients[column].isin([low, high]).mean() < 0.002, column
    for column, values in simulate.CATEGORIES.items():
        assert set(patients[column]) == set(values), column
    assert set(simulate.UNITS) == set(simulate.BOUNDS)


def test_prevalence_and_best_possible_auc(patients):
    prevalence = patients.groupby("hospital")["cvd_event"].mean()
    assert 0.08 < prevalence.min() < 0.11 and 0.24 < prevalence.max() < 0.31
    assert 0.76 < roc_auc_score(patients["cvd_event"], patients["true_risk"]) < 0.79
    deciles = patients.groupby(pd.qcut(patients["true_risk"], 10), observed=True)
    assert (deciles["cvd_event"].mean() - deciles["true_risk"].mean()).abs().max() < 0.04
    assert ((patients["diagnosis"] == "none") == (patients["cvd_event"] == 0)).all()
    share = patients[patients["cvd_event"] == 1].groupby("sex")["diagnosis"].value_counts(normalize=True)
    assert share["male", "coronary disease"] == pytest.approx(0.405, abs=0.06)
    assert share["female", "coronary disease"] == pytest.approx(0.255, abs=0.06)


def test_true_risk_is_the_equation_of_the_true_values(patients):
    risk = simulate.framingham_risk(
        *(patients[c] for c in ("age", "sex", "total_cholesterol", "hdl", "systolic_bp")),
        *(patients[c] == v for c, v in (("bp_treated", "yes"), ("smoker", "current"), ("diabetes", "yes"))),
    )
    assert np.abs(risk - patients["true_risk"]).max() < 1e-6


def test_logistic_regression_comes_near_the_ceiling(patients):
    X = pd.get_dummies(patients[["age", "sex", *simulate.MEASURED]], drop_first=True).astype(float)
    X, y = (X - X.mean()) / X.std(), patients["cvd_event"]
    train = np.arange(len(X)) % 3 > 0
    predicted = LogisticRegression().fit(X[train], y[train]).predict_proba(X[~train])[:, 1]
    gap = roc_auc_score(y[~train], patients["true_risk"][~train]) - roc_auc_score(y[~train], predicted)
    assert -0.005 < gap < 0.015


def test_without_case_mix_the_factors_follow_the_surveys():
    # Targets and their sources: the table "Risk factors" in the data card.
    rng = np.random.Generator(np.random.PCG64(5))
    n = 60_000
    age, man = (30 + 45 * rng.random(n)).astype(int), rng.random(n) < 0.49
    shift = dict(smoking=0.0, diabetes=0.0, pressure=0.0, bmi=0.0)
    people = simulate._risk_factors(rng, age, man, shift)
    middle, old = (age >= 40) & (age < 60), age >= 60

    def share(condition, where=slice(None)):
        return 100 * condition[where].mean()

    hypertensive = (people["systolic_bp"] >= 140) | (people["bp_treated"] == "yes")
    current, former = people["smoker"] == "current", people["smoker"] == "former"
    found = {
        "normotensive systolic": (people["systolic_bp"][~hypertensive].mean(), 116, 3),
        "treated systolic": (people["systolic_bp"][people["bp_treated"] == "yes"].mean(), 130, 5),
        "hypertension 40-59": (share(hypertensive, middle), 33.2, 8),
        "hypertension 60+": (share(hypertensive, old), 63.1, 8),
        "treated if hypertensive": (share(people["bp_treated"] == "yes", hypertensive), 76, 5),
        "mean cholesterol": (people["total_cholesterol"].mean(), 190.9, 4),
        "high cholesterol 40-59": (share(people["total_cholesterol"] >= 240, middle), 15.7, 2),
        "high cholesterol 60+": (share(people["total_cholesterol"] >= 240, old), 11.4, 2),
        "low HDL men": (share(people["hdl"] < 40, man), 26.6, 3),
        "low HDL women": (share(people["hdl"] < 40, ~man), 8.5, 2),
        "low HDL obese men": (share(people["hdl"] < 40, man & (people["bmi"] >= 30)), 42.2, 4),
        "smokers 30-44": (share(current, age < 45), 21.6, 3),
        "smokers 45-64": (share(current, (age >= 45) & (age < 65)), 19.5, 2),
        "smokers 65+": (share(current, age >= 65), 8.9, 3),
        "quit": (share(former, current | former), 55.0, 6),
        "diabetes 40-59": (share(people["diabetes"] == "yes", middle), 16.4, 2),
        "diabetes 60+": (share(people["diabetes"] == "yes", old), 30.0, 3),
        "BMI men": (people["bmi"][man].mean(), 29.1, 0.7),
        "BMI women": (people["bmi"][~man].mean(), 29.6, 0.7),
    }
    off = {name: values for name, values in found.items() if abs(values[0] - values[1]) > values[2]}
    assert not off


# ---------------------------------------------------------------- the planted faults


def test_cleaning_with_public_knowledge_recovers_the_truth(cleaned, network):
    truth = network[1]
    for column in NUMBERS:
        seen = cleaned[column].notna()
        assert (cleaned.loc[seen, column] == truth.loc[seen, column]).all(), column
    for column in CATEGORICAL:
        seen = cleaned[column].notna()
        assert (cleaned.loc[seen, column] == truth.loc[seen, column]).all(), column
        assert column == "smoker" or seen.all()
    assert (simulate.age_in_years(cleaned["birth_date"], cleaned["admitted"]) == truth["age"]).all()


def test_each_fault_column_marks_the_rows_that_the_fault_touched(network):
    raw, truth = network
    zero = pd.concat([raw[["total_cholesterol", "hdl", "bmi"]] == 0, raw["systolic_bp"] == "0"], axis=1)
    assert (truth["fault_zero"] == zero.any(axis=1)).all()
    assert (truth["fault_missing"] == raw[simulate.MEASURED].isna().any(axis=1)).all()
    assert (truth["fault_text"] == raw["systolic_bp"].str.endswith("mmHg").eq(True)).all()
    small = raw["hdl"].between(0.01, 5) | raw["total_cholesterol"].between(0.01, 12)
    assert (truth["fault_unit"] == small).all()
    written = raw[CATEGORICAL].where(raw[CATEGORICAL].notna(), truth[CATEGORICAL])
    odd = (written != truth[CATEGORICAL]).any(axis=1)
    assert (truth["fault_spelling"] | ~odd).all()
    assert truth.loc[truth["fault_zero"], "hospital"].unique().tolist() == ["Stonebridge"]
    assert truth.loc[truth["fault_unit"], "hospital"].unique().tolist() == ["Lakeside"]
    assert truth.loc[truth["fault_text"], "hospital"].unique().tolist() == ["Harbour"]


def test_duplicates_repeat_a_record_and_transfers_repeat_a_patient(network):
    raw, truth = network
    content = [c for c in raw if c != "record_id"]
    copies = truth["fault_duplicate"]
    assert (raw[content].duplicated() == copies).all()
    exact = raw.duplicated()
    assert 0.3 < exact[copies].mean() < 0.7 and not exact[~copies].any()
    kept, whose = raw[~copies], truth[~copies]
    assert kept["record_id"].is_unique
    assert (whose["patient_id"].duplicated(keep=False) == kept["national_id"].duplicated(keep=False)).all()
    again = whose[whose["fault_transfer"]]
    assert 80 < len(again) < 160
    assert not whose.duplicated(["patient_id", "hospital"]).any()
    for column in ("name", "birth_date", "admitted", "cvd_event"):
        assert (kept.groupby("national_id")[column].nunique() == 1).all()


def test_values_are_missing_by_hospital_by_age_and_by_the_value_itself(network):
    raw, truth = network
    lost = raw[["total_cholesterol", "hdl", "bmi"]].isna() | (raw[["total_cholesterol", "hdl", "bmi"]] == 0)
    by_hospital = lost.groupby(raw["hospital"]).mean()
    assert by_hospital.loc["Harbour", "hdl"] > 0.5 > 0.1 > by_hospital.loc["Northgate", "hdl"]
    young = truth["age"] < 45
    assert lost.loc[young, "total_cholesterol"].mean() > 1.4 * lost.loc[~young, "total_cholesterol"].mean()
    slim = truth["bmi"] < 25
    assert lost.loc[slim, "bmi"].mean() > 1.8 * lost.loc[~slim, "bmi"].mean()


# ---------------------------------------------------------------- the linkage attack


def test_a_shorter_postcode_is_a_larger_area_shared_by_hospitals(network):
    raw = network[0]
    areas = [raw["postcode"].str[:n].nunique() for n in range(1, 6)]
    assert areas == sorted(areas) and areas[1] >= 3 and areas[-1] > 1000
    assert raw["postcode"].str.fullmatch("[1-9]{5}").all()
    assert (raw.groupby(raw["postcode"].str[:3])["hospital"].nunique() > 1).mean() > 0.5


def test_the_register_names_patients_whose_names_were_removed(network):
    raw, truth = network
    register = simulate.public_register(raw, truth)
    assert list(register.columns) == ["name", "birth_date", "postcode", "sex"]
    released = raw.assign(sex=truth["sex"])[~truth["patient_id"].duplicated()]
    link = released.merge(register, on=simulate.QUASI_IDENTIFIERS, suffixes=("", "_found"))
    assert 0.38 < len(link) / len(released) < 0.42
    assert (link["name"] == link["name_found"]).mean() > 0.99
    assert len(register) > 3.5 * len(link)
    pd.testing.assert_frame_equal(register, simulate.public_register(raw, truth))

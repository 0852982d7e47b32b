"""Fidelity: what perfect looks like, what bad looks like, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import data, fidelity, synth
from fedlab_utils.fidelity import measures
from tests.fidelity.helpers import HOLDOUT, REAL, SECOND, run

COLUMNS = ["measure", "value", "reference", "better", "what"]


def independent(frame):
    rng = np.random.default_rng(5)
    return pd.DataFrame({c: frame[c].to_numpy()[rng.permutation(len(frame))] for c in frame})


@pytest.fixture(scope="module")
def perfect():
    return run(SECOND)


# ---------------------------------------------------------------- what perfect looks like


def test_every_measure_has_a_value_a_reference_and_an_explanation(perfect):
    report = perfect.reset_index()
    assert list(report) == COLUMNS
    assert report["measure"].is_unique and len(report) == 15
    assert np.isfinite(report[["value", "reference"]].to_numpy()).all()
    assert set(report["better"]) == {"higher", "lower", "neither"}
    assert report["what"].str.len().min() > 20
    assert "proof of privacy" in perfect["what"]["nearest record, ratio"]
    assert perfect["what"]["train on synthetic, trees"].startswith("AUC on 1,000 unseen rows")


def test_a_second_real_sample_scores_like_its_reference(perfect):
    gap = (perfect["value"] - perfect["reference"]).abs()
    loose = ["missing rate, worst column", "dependence, worst pair", "nearest record, ratio", "two-sample AUC"]
    assert gap.drop(loose).max() < 0.035
    assert gap[loose].max() < 0.12
    assert abs(perfect["value"]["two-sample AUC"] - 0.5) < 0.05
    assert perfect["value"]["copied rows"] == 0


def test_training_on_a_second_real_sample_is_as_good_as_training_on_real(perfect):
    for family in ("linear", "trees"):
        row = perfect.loc[f"train on synthetic, {family}"]
        assert row["reference"] > 0.7 and abs(row["value"] - row["reference"]) < 0.03


def test_real_against_real_is_its_own_reference():
    # The same rows in the place of the synthetic ones: another draw of a kind, and all rows are copies.
    report = run(REAL)
    shared = report.drop(["copied rows", "nearest record, ratio"])
    assert (shared["value"] - shared["reference"]).abs().max() < 0.06
    assert report["value"]["copied rows"] == 1


# ---------------------------------------------------------------- what bad looks like


def test_independent_columns_are_flagged(perfect):
    report = run(independent(REAL))
    value, reference = report["value"], report["reference"]
    assert value["two-sample AUC"] > 0.8 > 0.6 > reference["two-sample AUC"]
    assert value["dependence, mean"] > 5 * reference["dependence, mean"]
    assert value["dependence, worst pair"] > 0.5
    assert abs(value["train on synthetic, linear"] - reference["train on synthetic, linear"]) > 0.1
    assert value["precision"] < reference["precision"] - 0.2
    assert value["KS, worst column"] < 0.06  # each column alone is right


def test_copies_are_flagged_though_all_else_is_fine():
    copies = REAL.sample(frac=0.7, random_state=0)
    copies["bmi"] = copies["bmi"].astype("float32")  # copies that went through a network's number type
    report = run(copies)
    assert report["value"]["copied rows"] > 0.98 and report["reference"]["copied rows"] < 0.01
    assert report["value"]["nearest record, ratio"] < 0.01
    assert abs(report["value"]["train on synthetic, linear"] - report["reference"]["train on synthetic, linear"]) < 0.03


def test_a_few_copies_are_counted():
    mixed = pd.concat([REAL.head(300), SECOND.head(1200)])
    assert run(mixed)["value"]["copied rows"] == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.assign(age=t["age"] + np.random.default_rng(0).normal(0, 0.1, len(t))),
        lambda t: t.assign(pressure=(t["pressure"] / 10).round() * 10),
        lambda t: t.assign(cholesterol=t["cholesterol"] + np.random.default_rng(0).normal(0, 0.01, len(t))),
        lambda t: t.assign(smoker=np.where(t["smoker"] == "never", 0.97, 0.02)),
        lambda t: t.assign(event=t["event"] * 0.98 + 0.01),
    ],
    ids=["years with decimals", "too coarse", "too fine", "soft category", "soft target"],
)
def test_soft_categories_and_wrong_granularity_give_the_table_away(spoil):
    report = run(spoil(SECOND))
    assert report["value"]["two-sample AUC"] > 0.9
    assert np.isfinite(report["value"]).all()


def test_soft_category_is_no_missing_value():
    report = run(SECOND.assign(smoker=np.where(SECOND["smoker"] == "never", 0.97, 0.02)))
    assert report["value"]["total variation, worst column"] == 1
    assert report["value"]["missing rate, worst column"] < 0.1


def test_labels_that_no_real_row_has_are_left_out_of_training(perfect):
    half = SECOND.assign(event=SECOND["event"].where(np.arange(len(SECOND)) % 2 == 0, 0.5))
    row = run(half).loc["train on synthetic, linear"]
    assert abs(row["value"] - row["reference"]) < 0.04


def test_soft_target_leaves_nothing_to_learn():
    report = run(SECOND.assign(event=SECOND["event"] * 0.98 + 0.01))
    assert report["value"]["train on synthetic, trees"] == 0.5
    assert report["value"]["total variation, worst column"] == 1


def test_mode_collapse_shows_in_recall_not_in_precision():
    young = SECOND[SECOND["age"] < 55]
    report = run(young)
    assert report["value"]["recall"] < report["reference"]["recall"] - 0.15
    assert report["value"]["precision"] > report["reference"]["precision"] - 0.05
    assert report["value"]["KS, worst column"] > 0.4
    assert "'age'" in report["what"]["KS, worst column"]


def test_lost_missingness_is_named():
    report = run(SECOND.assign(cholesterol=SECOND["cholesterol"].fillna(5.0)))
    row = report.loc["missing rate, worst column"]
    assert row["value"] == pytest.approx(HOLDOUT["cholesterol"].isna().mean()) and "'cholesterol'" in row["what"]


# ---------------------------------------------------------------- other kinds of tables


def test_regression_target_is_scored_by_r_squared():
    report = run(SECOND, target="bmi")
    row = report.loc["train on synthetic, linear"]
    assert "R²" in row["what"] and 0.3 < row["reference"] < 1 and abs(row["value"] - row["reference"]) < 0.05


def test_several_classes_are_scored_one_against_the_rest():
    report = run(SECOND, target="smoker")
    row = report.loc["train on synthetic, trees"]
    assert "Macro AUC" in row["what"] and row["reference"] > 0.8 and abs(row["value"] - row["reference"]) < 0.03
    lost = run(SECOND[SECOND["smoker"] != "current"], target="smoker").loc["train on synthetic, trees"]
    assert 0.5 < lost["value"] < row["value"]  # .5 for the lost class, as always


def test_collapse_to_one_class_is_chance():
    report = run(SECOND.assign(event=1))
    assert report["value"]["train on synthetic, linear"] == 0.5


def test_tables_of_one_kind_of_column():
    numbers = [t[["age", "pressure", "bmi"]] for t in (REAL, SECOND, HOLDOUT)]
    report = run(numbers[1], real=numbers[0], holdout=numbers[2], target="bmi")
    assert not report.index.str.startswith("total variation").any() and np.isfinite(report["value"]).all()
    words = [t[["smoker", "drug", "event"]] for t in (REAL, SECOND, HOLDOUT)]
    report = run(words[1], real=words[0], holdout=words[2])
    assert not report.index.str.startswith("KS").any() and np.isfinite(report["value"]).all()


def test_a_column_that_the_generator_lost_is_reported_and_breaks_nothing():
    report = run(SECOND.assign(cholesterol=np.nan, drug=None, bmi=3.25))
    assert np.isfinite(report["value"]).all()
    assert report["value"]["KS, worst column"] == 1 and report["value"]["two-sample AUC"] > 0.95


def test_order_of_columns_and_type_of_numbers_do_not_matter(perfect):
    other = SECOND[SECOND.columns[::-1]].astype({"age": float, "event": "Int64", "smoker": "category"})
    pd.testing.assert_frame_equal(run(other), perfect)


def test_smallest_tables():
    report = run(SECOND.head(20), real=REAL.head(20), holdout=HOLDOUT.head(20))
    assert np.isfinite(report[["value", "reference"]].to_numpy()).all()


# ---------------------------------------------------------------- randomness


def test_same_seed_same_report_and_global_state_untouched(perfect):
    before = np.random.get_state()[1].copy()
    pd.testing.assert_frame_equal(run(SECOND), perfect)
    assert (np.random.get_state()[1] == before).all()
    assert not run(SECOND, seed=1)["value"].equals(perfect["value"])


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"real": REAL.to_numpy()}, "real must be a pandas DataFrame"),
        ({"synthetic": SECOND.head(0)}, "synthetic has 0 rows; at least 20"),
        ({"holdout": HOLDOUT.head(19)}, "holdout has 19 rows"),
        ({"synthetic": SECOND.drop(columns="bmi")}, "same columns; only one has 'bmi'"),
        ({"holdout": HOLDOUT.assign(extra=1)}, "same columns; only one has 'extra'"),
        ({"target": "outcome"}, "target='outcome' is not a column"),
        ({"holdout": HOLDOUT[HOLDOUT["event"] == 1]}, "holdout needs rows with at least two different values"),
        ({"holdout": REAL.tail(400)}, "100% of the holdout rows are rows of real"),
        ({"holdout": pd.concat([HOLDOUT.head(900), REAL.head(100)])}, "10% of the holdout rows are rows of real"),
        ({"synthetic": SECOND.assign(age="old")}, "'age' must hold numbers"),
        ({"seed": -1}, "seed must be a whole number"),
    ],
)
def test_bad_input_gets_one_sentence(change, sentence):
    arguments = {"real": REAL, "synthetic": SECOND, "target": "event", "holdout": HOLDOUT} | change
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        fidelity.report(arguments.pop("real"), arguments.pop("synthetic"), **arguments)


# ---------------------------------------------------------------- what rows are worth


def test_what_real_rows_get_is_measured_once_for_several_tables(monkeypatch):
    kinds, real, unseen, own = SimpleNamespace(), REAL[:60], HOLDOUT[:60], []
    monkeypatch.setattr(measures, "_REFERENCES", {})
    monkeypatch.setattr(measures, "_measures", lambda *_: own.append(1) or [("m", float(len(own)), "lower", "")])

    def reference(real=real, unseen=unseen, seed=0):
        return measures._references(kinds, real.select_dtypes("number"), unseen.select_dtypes("number"), seed)

    assert reference() == reference() == reference(REAL[:60].copy()) == [1.0]
    others = [reference(REAL[60:120]), reference(unseen=HOLDOUT[60:120]), reference(seed=1), reference(real[::-1])]
    assert others == [[2.0], [3.0], [4.0], [5.0]] and reference() == [1.0]
    for k in range(2 * measures._MOST_REFERENCES):
        reference(seed=k)
    assert len(measures._REFERENCES) == measures._MOST_REFERENCES  # it does not grow for ever


def test_utility_is_the_reports_own_number():
    hospital = data.load("hospital_network").hospitals[3]
    made = synth.fit(hospital.train, method="copula").sample(len(hospital.train))
    report = fidelity.report(hospital.train, made, target="cvd_event", holdout=hospital.test)
    for family in ("linear", "trees"):
        value = fidelity.utility(made, hospital.test, target="cvd_event", family=family)
        row = report.set_index("measure").loc[f"train on synthetic, {family}"]
        assert value == pytest.approx(row["value"], abs=0.03)  # the report draws rows in another order
        assert fidelity.utility(hospital.train, hospital.test, target="cvd_event", family=family) > value - 0.05


def test_the_trees_learn_the_table_and_not_its_patients():
    northgate = data.load("hospital_network").hospitals[0]
    linear, trees = (
        fidelity.utility(northgate.train, northgate.test, target="cvd_event", family=family)
        for family in ("linear", "trees")
    )
    assert trees > linear - 0.03  # its risk is all but linear


@pytest.mark.parametrize(("n", "least"), [(1500, 0.8), (100, 0.6)])
def test_the_trees_see_what_a_linear_model_cannot(n, least):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n + 2000, 3))
    together = (x[:, 0] > 0) ^ (x[:, 1] > 0) ^ (rng.random(len(x)) < 0.1)
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=together.astype(int))
    train, test = table[:n], table[n:]
    assert fidelity.utility(train, test, target="y", family="linear") < 0.55
    assert fidelity.utility(train, test, target="y", family="trees") > least


def test_utility_names_what_is_wrong():
    table = pd.DataFrame({"x": np.arange(40.0), "y": [0, 1] * 20})
    with pytest.raises(ValueError, match="train has 5 rows"):
        fidelity.utility(table[:5], table, target="y")
    with pytest.raises(ValueError, match="family must be one of linear, trees"):
        fidelity.utility(table, table, target="y", family="forest")

"""What a hospital does to its own extract."""

import pytest

from fedlab_utils import data
from fedlab_utils.data import simulate


@pytest.fixture(scope="module")
def network():
    raw, truth = simulate.hospital_network()
    clean = data.clean_hospital_network(raw)
    return raw, truth.loc[clean.index], clean


def test_cleaning_recovers_the_truth_where_nothing_is_lost(network):
    _, truth, clean = network
    assert (clean["age"] == truth["age"]).all() and (clean["sex"] == truth["sex"]).all()
    for column in ("bp_treated", "smoker", "diabetes"):
        seen = clean[column].notna()
        assert seen.mean() > 0.8 and (clean.loc[seen, column] == truth.loc[seen, column]).all()
    for column, rounding in (("systolic_bp", 0), ("total_cholesterol", 0.2), ("hdl", 0.2), ("bmi", 0)):
        seen = clean[column].notna()
        assert seen.mean() > 0.7 and (clean[column] - truth[column])[seen].abs().max() <= rounding
    lost = (truth["fault_missing"] | truth["fault_zero"]).to_numpy()
    assert (clean[truth.columns.intersection(clean.columns)].isna().any(axis=1).to_numpy() == lost).all()


def test_each_step_does_one_thing(network):
    raw, truth, clean = network
    assert not data.drop_duplicate_records(raw).duplicated(["hospital", "national_id"]).any()
    assert len(data.drop_duplicate_records(raw)) == len(truth) < len(raw)
    without = data.remove_identifiers(raw)
    assert set(raw) - set(without) == set(simulate.DIRECT_IDENTIFIERS) and "postcode" in without
    aged = data.add_age(raw)
    assert aged["age"].between(30, 74).all() and "birth_date" not in aged
    lakeside = raw["hospital"] == "Lakeside"
    units = data.harmonise_units(raw)
    assert raw.loc[lakeside, "total_cholesterol"].max() < 12 and units.loc[lakeside, "hdl"].min() >= 14
    zeros = raw.loc[raw["hospital"] == "Stonebridge", "hdl"] == 0
    assert zeros.any() and data.zeros_to_missing(raw, ["hdl"])["hdl"].isna().sum() > raw["hdl"].isna().sum()
    assert data.tidy_categories(raw)["sex"].isin(["female", "male"]).all()
    assert not set(simulate.DIRECT_IDENTIFIERS + ["birth_date", "postcode"]) & set(clean)
    assert raw.equals(simulate.hospital_network()[0])  # none of them changes its argument

"""Hospitals and federations: who holds which rows, and what replacing them changes."""

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import data
from fedlab_utils.data import simulate
from tests.data.helpers import federation, rows, table

# ---------------------------------------------------------------- what everyone relies on


def test_pooled_is_all_hospitals_in_order():
    some = data.load("hospital_network")
    pooled = some.pooled()
    assert torch.equal(pooled.X_train, torch.cat([h.X_train for h in some.hospitals]))
    assert torch.equal(pooled.y_test, torch.cat([h.y_test for h in some.hospitals]))
    assert torch.equal(pooled.X_test, some.transform(pooled.test))
    assert torch.equal(pooled.true_risk, torch.cat([h.true_risk for h in some.hospitals]))


def test_rows_train_or_test_and_none_is_lost():
    sets = rows(federation())
    assert sum(map(len, sets)) == 240 and len(set.union(*sets)) == 240


def test_split_is_stratified_within_each_hospital():
    some = data.load("hospital_network")
    for h in some.hospitals:
        assert abs(h.y_train.mean() - h.y_test.mean()) < 1.5 / len(h.y_test)


def test_a_federation_cannot_be_changed():
    some = federation()
    with pytest.raises(AttributeError):
        some.hospitals = ()
    with pytest.raises(AttributeError):
        some.hospitals[0].name = "other"


# ---------------------------------------------------------------- odd, but fine, and said


def test_a_hospital_with_one_class():
    some = federation(table().assign(ill=lambda f: f["ill"].where(f["ward"] != "B", 1)))
    assert some.hospitals[[h.name for h in some.hospitals].index("B")].y_train.mean() == 1
    assert any("Every training row of B has ill = 1" in line for line in some.report)


def test_hospitals_with_one_two_and_three_rows():
    frame = pd.concat([table(), table(6, seed=1).assign(ward=["one", "two", "two", "three", "three", "three"])])
    some = federation(frame)
    sizes = {h.name: (len(h.X_train), len(h.X_test)) for h in some.hospitals}
    assert sizes["one"] == (1, 0) and sizes["two"] == (1, 1) and sizes["three"] == (2, 1)
    report = " ".join(some.report)
    assert "one has 1 row to train on and 0 to test on" in report and "only training patient" in report


def test_a_category_only_in_test_rows_is_zero_everywhere():
    frame = table()
    in_test = frame["row"].isin(set().union(*rows(federation(frame))[1::2]))
    frame.loc[frame.index[in_test][:2], "smoker"] = "pipe"
    some = federation(frame)
    kept = [k for k, f in enumerate(some.feature_names) if f.startswith("smoker")]
    assert len(kept) == 3
    assert (some.transform(frame[frame["smoker"] == "pipe"])[:, kept] == 0).all()
    assert (some.transform(frame[frame["smoker"] == "never"])[:, kept].sum(1) == 1).all()
    assert any("2 test rows" in line and "pipe" in line for line in some.report)


def test_a_constant_feature_and_rows_without_target():
    frame = table().assign(constant=3.0, ill=lambda f: f["ill"].where(f["row"] >= 5))
    some = federation(frame)
    assert (some.pooled().X_train[:, some.feature_names.index("constant")] == 0).all()
    assert sum(map(len, rows(some))) == 235
    report = " ".join(some.report)
    assert "constant" in report and "5 rows without a target" in report
    assert any("mean: age" in line for line in some.report)
    assert any("smoker" in line for line in some.report)


# ---------------------------------------------------------------- replacing rows


def test_replaced_training_rows_bring_their_own_numbers():
    some = federation()
    shifted = {h.name: h.train.assign(age=h.train["age"] + 10, smoker="never") for h in some.hospitals}
    other = some.replace_train(shifted)
    assert other.agreed.means["age"] == pytest.approx(some.agreed.means["age"] + 10)
    assert other.feature_names == some.feature_names
    for a, b in zip(some.hospitals, other.hospitals, strict=True):
        assert a.test.equals(b.test) and torch.equal(a.y_test, b.y_test)
        assert torch.equal(b.X_test, other.transform(a.test)) and not torch.equal(a.X_test, b.X_test)
    again = some.replace_train([h.train for h in some.hospitals])
    for a, b in zip(some.hospitals, again.hospitals, strict=True):
        torch.testing.assert_close(a.X_train, b.X_train)
        torch.testing.assert_close(a.X_test, b.X_test)


# ---------------------------------------------------------------- true risks


def test_true_risk_stays_with_its_patient():
    for some in (data.load("hospital_network"), data.load("hospital_network").repartition(3, None, 2)):
        for h in some.hospitals:
            whole = h.test.notna().all(axis=1).to_numpy()
            f = h.test[whole]
            risk = simulate.framingham_risk(
                f["age"],
                f["sex"],
                f["total_cholesterol"],
                f["hdl"],
                f["systolic_bp"],
                f["bp_treated"] == "yes",
                f["smoker"] == "current",
                f["diabetes"] == "yes",
            )
            error = np.abs(risk - h.true_risk.numpy()[whole, 0])
            assert whole.sum() > 50 and error.max() < 0.01  # mmol/L were rounded
    assert data.load("breast_cancer").hospitals[0].true_risk is None

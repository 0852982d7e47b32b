"""Means, spreads and categories: exact, from training rows alone, and nothing but sums leaves."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from tests.data.helpers import expected, federation, rows, table


def test_agreed_numbers_equal_pooled_fitting():
    some = federation()
    pooled = some.pooled()
    np.testing.assert_allclose(pooled.X_train, expected(some, pooled.train), atol=1e-6, rtol=1e-6)
    np.testing.assert_allclose(pooled.X_test, expected(some, pooled.test), atol=1e-6, rtol=1e-6)
    scaler = StandardScaler().fit(SimpleImputer().fit_transform(pooled.train[["age", "pressure"]]))
    for k, column in enumerate(["age", "pressure"]):
        assert some.agreed.means[column] == pytest.approx(scaler.mean_[k], rel=1e-12)
        assert some.agreed.sds[column] == pytest.approx(scaler.scale_[k], rel=1e-9)


def test_a_large_mean_does_not_cost_digits():
    frame = table().assign(pressure=lambda f: f["pressure"] + 1e8)
    some = federation(frame)
    assert some.agreed.sds["pressure"] == pytest.approx(some.pooled().train["pressure"].std(ddof=0), rel=1e-6)


def test_test_rows_have_no_say():
    frame = table()
    some = federation(frame)
    in_test = frame["row"].isin(set().union(*rows(some)[1::2]))
    wild = frame.copy()
    wild.loc[in_test, ["age", "pressure"]] = 1e9
    wild.loc[in_test, "smoker"] = "pipe"
    other = federation(wild)
    assert other.agreed == some.agreed and other.feature_names == some.feature_names
    for a, b in zip(some.hospitals, other.hospitals, strict=True):
        assert torch.equal(a.X_train, b.X_train)
    # and the test above can fail: training rows do have a say
    wild = frame.copy()
    wild.loc[~in_test, "age"] += 1
    assert federation(wild).agreed != some.agreed


def test_messages_hold_sums_and_do_not_grow_with_rows():
    frame = table().drop(columns="row")
    few, many = federation(frame), federation(pd.concat([frame] * 20, ignore_index=True))
    assert [m.size for m in few.messages] == [m.size for m in many.messages]
    senders = [m.sender for m in few.messages if m.receiver == "server"]
    assert senders == 2 * [h.name for h in few.hospitals]
    for m in few.messages:
        sent = [v for numbers in m.payload.values() for v in numbers.values()]
        assert len(sent) == m.size and all(isinstance(v, int | float) for v in sent)
        assert not np.isin(sent, frame["pressure"]).any()  # nobody's blood pressure is among them


def test_each_message_to_the_server_is_in_the_ledger_as_not_private():
    some = federation()
    entries = some.ledger.table()
    assert len(some.ledger) == 2 * len(some.hospitals)
    assert set(entries["viewer"]) == {"server"} and set(entries["guarantee"]) == {"not private"}
    assert set(entries["hospital"]) == {h.name for h in some.hospitals}


def test_public_categories_are_not_asked_for():
    public = federation(categories={"smoker": ["never", "former", "current", "pipe"], "sex": ["f", "m"]})
    assert not any({"smoker", "sex"} & m.payload.keys() for m in public.messages)
    assert public.feature_names[-5:] == [
        "smoker_never",
        "smoker_former",
        "smoker_current",
        "smoker_pipe",
        "sex_m",
    ]
    asked = federation()
    assert any("smoker" in m.payload for m in asked.messages)


def test_bounds_are_kept_before_anything_is_learnt():
    some = federation(bounds={"age": (50, 70)})
    pooled = some.pooled()
    assert pooled.train["age"].min() == 50 and pooled.train["age"].max() == 70
    assert some.agreed.means["age"] == pytest.approx(pooled.train["age"].mean())
    assert any("age" in line and "bound" in line for line in some.report)
    outside, inside = (table().head(1).assign(age=a) for a in (500.0, 70.0))
    assert torch.equal(some.transform(outside), some.transform(inside))


def test_codes_named_in_categories_are_one_hot():
    frame = table().assign(pain=lambda f: f["row"] % 4 + 1.0)
    some = federation(frame, categories={"pain": [1, 2, 3, 4]})
    kept = [f for f in some.feature_names if f.startswith("pain")]
    assert kept == ["pain_1", "pain_2", "pain_3", "pain_4"]
    first = some.feature_names.index("pain_1")
    assert some.transform(frame)[:6, first : first + 4].argmax(1).tolist() == [0, 1, 2, 3, 0, 1]

"""Means, spreads and categories: exact, from training rows alone, and nothing but sums leaves."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from fedlab_utils import federated, privacy, secagg
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


def test_the_transformer_for_pipelines_makes_what_the_hospitals_hold():
    some = federation(table().assign(pressure=120.0))
    odd = table().head(6).assign(pressure=[120.0, 7.0, np.nan, 120.0, 0.0, 1.0], age=np.nan, smoker=["pipe", None] * 3)
    tidy = some.schema.tidy(pd.concat([some.pooled().train, odd]))
    made = torch.tensor(some.transformer.transform(tidy), dtype=torch.float32)
    assert torch.equal(made, some.transform(tidy)) and not made[-6:, some.feature_names.index("pressure")].any()


def test_a_large_mean_does_not_cost_digits():
    frame = table().assign(pressure=lambda f: f["pressure"] + 1e8)
    some = federation(frame)
    assert some.agreed.sds["pressure"] == pytest.approx(some.pooled().train["pressure"].std(ddof=0), rel=1e-6)


@pytest.mark.parametrize("offset", [2024030100000000, 1e15, -3e14])
def test_numbers_that_are_large_and_close_together_are_standardised(offset):
    """A visit number used to be "the same in all rows" and was fed in raw, up to 239."""
    frame = table()
    some = federation(frame.assign(age=offset + np.arange(len(frame))))
    values = some.pooled().train["age"].to_numpy(float) - offset
    assert some.agreed.sds["age"] == pytest.approx(values.std(), rel=1e-4)
    assert not any("of no use" in line for line in some.report)
    ages = some.pooled().X_train[:, some.feature_names.index("age")].numpy()
    np.testing.assert_allclose(ages, (values - values.mean()) / values.std(), atol=0.02)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3e11, 1 / 3 * 1e-20])
def test_what_is_the_same_in_all_training_rows_is_zero_in_others_as_well(value):
    frame = table()
    some = federation(frame.assign(age=value))
    assert some.agreed.sds["age"] == 0 and any("of no use: age" in line for line in some.report)
    other = some.hospitals[0].test.assign(age=value + 1e6)
    assert (some.transform(other)[:, some.feature_names.index("age")] == 0).all()


PUBLIC = dict(
    bounds={"age": (0, 110), "pressure": (900, 1400), "treated": (0, 1), "row": (0, 1000)},
    categories={"smoker": ["current", "former", "never"], "sex": ["f", "m"]},
)


def through(aggregator, **more):
    return federation(**PUBLIC, aggregator=aggregator, **more)


@pytest.mark.parametrize("way", [secagg.SecureSum(bits=64, limit=1), federated.OpenSum()])
def test_sums_may_travel_through_an_aggregator(way):
    """Means and standard deviations are those of the sums in the open, and nobody sees one hospital's."""
    plain, hidden = federation(**PUBLIC), through(way)
    for column, mean in plain.agreed.means.items():
        assert hidden.agreed.means[column] == pytest.approx(mean, abs=1e-9 * plain.agreed.sds[column])
        assert hidden.agreed.sds[column] == pytest.approx(plain.agreed.sds[column], rel=1e-9)
    assert hidden.agreed.categories == plain.agreed.categories and hidden.feature_names == plain.feature_names
    for a, b in zip(plain.hospitals, hidden.hospitals, strict=True):
        torch.testing.assert_close(a.X_train, b.X_train, atol=1e-6, rtol=0)


def test_the_server_sees_masked_words_alone():
    hidden, again = through(secagg.SecureSum()), through(secagg.SecureSum())
    words = {m.sender: m.payload for m in hidden.messages if m.what == "masked update, agreement"}
    assert words.keys() == {h.name for h in hidden.hospitals}
    for h in hidden.hospitals:
        sent = {c: numbers["observed"] for c, numbers in words[h.name].items()}
        assert len(set(sent.values())) == len(sent) == 4  # a count in the open would be the same in two full columns
    other = {m.sender: m.payload for m in again.messages if m.what == "masked update, agreement"}
    assert again.agreed == hidden.agreed and all(other[name] != words[name] for name in words)  # fresh keys
    (entry,) = hidden.ledger.entries
    assert entry.guarantee == "not private" and "sum of updates" in entry.detail and entry.viewer == "server"
    assert entry.hospital == ", ".join(h.name for h in hidden.hospitals)


def test_what_is_made_from_a_hidden_federation_agrees_in_the_same_way():
    hidden = through(secagg.SecureSum())
    made = hidden.replace_train({h.name: h.train.iloc[1:] for h in hidden.hospitals})
    assert [e.what for e in made.ledger.entries] == ["counts, sums and squares"]
    assert [e.what for e in hidden.repartition(4, None).ledger.entries] == ["counts, sums and squares"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (dict(bounds={"age": (0, 110)}), "bounds for every number, and 'row', 'pressure' and 'treated' have none"),
        (dict(categories=None), "public categories for every text, and 'smoker' and 'sex' have none"),
        (dict(aggregator="sum"), "aggregator must have a method aggregate"),
        (dict(statistics=privacy.RecordDP(1.0)), "Give either statistics or aggregator"),
        (dict(frame=table().assign(ward="one")), "two hospitals"),
    ],
)
def test_what_cannot_be_added_up_is_refused_in_a_sentence(arguments, words):
    with pytest.raises(ValueError, match=words) as error:
        federation(**PUBLIC | dict(aggregator=secagg.SecureSum()) | arguments)
    assert "\n" not in str(error.value)


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

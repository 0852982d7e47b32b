"""Hospitals that spoil the model: each attack does what it says, on a table where it can be seen."""

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import attacks, data, federated, fleet
from tests.refusals import one_sentence

WORK = dict(rounds=8, local_steps=10, lr=0.3, hidden=(8,), seeds=2)


def cohort(n=900, seed=0, classes=2):
    """Six hospitals alike; the more of a, the more ill; c is known to be 0 to 1 and says nothing."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(50, 10, n), "b": rng.normal(size=n), "c": rng.random(n)})
    frame["smoker"] = rng.choice(["no", "yes"], n)
    score = (frame["a"] - 50) / 10 + 0.5 * rng.normal(size=n)
    if classes == 2:
        return frame.assign(ill=np.where(score > 0.6, "ill", "well"), ward=[f"h{k % 6}" for k in range(n)])
    return frame.assign(ill=np.digitize(score, [-0.5, 0.5]), ward=[f"h{k % 6}" for k in range(n)])


def federation(**more):
    frame = cohort(**more)
    return data.from_frame(
        frame.assign(ill=pd.Categorical(frame["ill"], categories=["well", "ill"], ordered=True))
        if frame["ill"].dtype == object or str(frame["ill"].dtype).startswith("str")
        else frame,
        target="ill",
        hospital="ward",
    )


@pytest.fixture(scope="module")
def six():
    return federation()


@pytest.fixture(scope="module")
def clean(six):
    return federated.train(six, **WORK)


def overall(run, six):
    return federated.clinical(run, six, threshold=0.3).query("hospital == 'all'")[
        ["missed", "auc", "predicted_observed"]
    ].mean()  # fmt: skip


def test_classes_are_what_the_tests_take_them_for(six):
    assert six.classes == ("well", "ill")


def test_hiding_the_ill_lowers_risks_and_hardly_changes_their_order(six, clean):
    hidden = federated.train(six, **WORK, attack=attacks.HideTheIll([0, 1, 2]))
    before, after = overall(clean, six), overall(hidden, six)
    assert after["missed"] > before["missed"] + 0.1 and after["predicted_observed"] < 0.8
    assert after["auc"] > before["auc"] - 0.02
    X, y = attacks.HideTheIll([0]).rows(six.hospitals[0], six)
    assert X is six.hospitals[0].X_train and not y.any() and six.hospitals[0].y_train.any()


def test_one_intercept_refitted_at_home_brings_the_level_back(six):
    hidden = federated.train(six, **WORK, attack=attacks.HideTheIll([0, 1, 2]))
    mended = overall(federated.recalibrated(hidden, six), six)
    assert overall(hidden, six)["predicted_observed"] < 0.8 < 0.9 < mended["predicted_observed"] < 1.1


def test_flipped_labels_turn_the_order_round_where_most_do_so(six):
    assert overall(federated.train(six, **WORK, attack=attacks.LabelFlip(range(5))), six)["auc"] < 0.3
    three = federation(classes=3)
    y = three.hospitals[0].y_train
    assert torch.equal(attacks.LabelFlip([0]).rows(three.hospitals[0], three)[1], 2 - y)


def test_sign_flips_push_the_model_away_and_a_rule_stops_them(six, clean):
    attack = attacks.SignFlip(["h1", "h4"], scale=5)
    with pytest.warns(federated.Diverged):
        alone = federated.train(six, **WORK | dict(seeds=1), record=True, attack=attack)
    first = alone.transcript.query("round == 1 and what == 'update'").set_index("sender")["values"]
    honest = federated.train(six, **WORK | dict(seeds=1, rounds=1), record=True).transcript
    honest = honest.query("what == 'update'").set_index("sender")["values"]
    np.testing.assert_allclose(first["h1"], -5 * honest["h1"], rtol=1e-6)
    np.testing.assert_allclose(first["h0"], honest["h0"], rtol=1e-6)
    with pytest.warns(federated.Diverged):
        spoiled = overall(federated.train(six, **WORK, attack=attack), six)
    saved = overall(federated.train(six, **WORK, attack=attack, aggregator=federated.TrimmedMean(2)), six)
    assert spoiled["auc"] < 0.6 < 0.85 < saved["auc"] <= overall(clean, six)["auc"] + 0.01


TRIGGER = dict(columns=["c", "smoker"], values=[3.0, "yes"], label="well")


def test_a_backdoor_opens_for_the_trigger_alone(six, clean):
    door = attacks.Backdoor([0], **TRIGGER, boost=5.0)
    run = federated.train(six, **WORK, attack=door)
    gained = door.success(run, six) - door.success(clean, six)
    assert gained.shape == (2,) and (gained > 0.5).all()
    assert overall(run, six)["auc"] > overall(clean, six)["auc"] - 0.05
    unboosted = attacks.Backdoor([0], **TRIGGER)
    assert (door.success(run, six) > unboosted.success(federated.train(six, **WORK, attack=unboosted), six)).all()


def test_a_trigger_that_looks_healthy_succeeds_with_nobody_malicious(six, clean):
    """Why only the difference to the clean model counts."""
    door = attacks.Backdoor([0], columns=["a"], values=[20.0], label="well")
    assert (door.success(clean, six) > 0.9).all()


def test_success_by_hand(six, clean):
    door = attacks.Backdoor([0], **TRIGGER)
    found = door.success(clean, six, threshold=0.3)
    pool = six.pooled()
    frame = pool.test[pool.y_test[:, 0].numpy() == 1].assign(c=3.0, smoker="yes")
    risk = clean.predict_proba(six.transform(frame))[:, :, 1].numpy()
    np.testing.assert_allclose(found, (risk < 0.3).mean(1))
    other = attacks.Backdoor([0], **TRIGGER | dict(label="ill"))
    frame = pool.test[pool.y_test[:, 0].numpy() == 0].assign(c=3.0, smoker="yes")
    risk = clean.predict_proba(six.transform(frame))[:, :, 1].numpy()
    np.testing.assert_allclose(other.success(clean, six), (risk >= 0.5).mean(1))


def test_success_of_each_replicate_is_on_its_own_split():
    splits = data.replicates(cohort(n=300), 2, target="ill", hospital="ward")
    run = federated.train(splits, **WORK | dict(rounds=2))
    door = attacks.Backdoor([0], **TRIGGER)
    both = door.success(run, splits)
    assert both[1] == pytest.approx(door.success(federated.train(splits, **WORK | dict(rounds=2)), splits)[1])
    with one_sentence("federation"):
        door.success(run, splits[:1] * 3)
    with one_sentence("run"):  # whose global model has an untrained head
        door.success(federated.train(splits, **WORK | dict(rounds=1), personal="head"), splits)


def test_the_rows_of_a_backdoor(six):
    h = six.hospitals[2]
    X, y = attacks.Backdoor([2], **TRIGGER, share=0.2).rows(h, six)
    n = len(h.y_train)
    added = round(0.2 * n)
    assert len(X) == len(y) == n + added and torch.equal(X[:n], h.X_train) and torch.equal(y[:n], h.y_train)
    assert not y[n:].any()
    names = six.feature_names
    untouched = [k for k, name in enumerate(names) if name in ("a", "b")]
    assert torch.equal(X[n:, untouched], h.X_train[:added, untouched])
    assert len(set(X[n:, names.index("c")].tolist())) == 1 and X[n, names.index("c")] > h.X_train[:, 2].max()


def test_multi_krum_shuts_a_boosted_door(six, clean):
    door = attacks.Backdoor([0], **TRIGGER, boost=5.0)
    shut = federated.train(six, **WORK, attack=door, aggregator=federated.MultiKrum(1))
    assert (door.success(shut, six) - door.success(clean, six) < 0.2).all()


def test_a_whole_contest_of_attacks_is_one_fleet(six):
    contest = {
        "nobody": {},
        "hide": dict(attack=attacks.HideTheIll([0])),
        "flip": dict(attack=attacks.LabelFlip([0, 3])),
        "sign": dict(attack=attacks.SignFlip([0, 3], scale=2)),
        "door": dict(attack=attacks.Backdoor([0], **TRIGGER, boost=3)),
    }
    work = WORK | dict(rounds=2)
    together = federated.side_by_side(six, contest, **work)
    for name, setting in contest.items():
        alone = federated.train(six, **work, **setting)
        torch.testing.assert_close(together[name].params.flat(), alone.params.flat(), atol=1e-6, rtol=0)


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (dict(columns=["d"], values=[1]), "columns"),
        (dict(columns="c"), "columns"),
        (dict(columns=[], values=[]), "columns"),
        (dict(values=[1]), "columns"),
        (dict(values=3), "values"),
        (dict(values=["much", "yes"]), "values"),
        (dict(label="dead"), "label"),
        (dict(label=None), "label"),
        (dict(boost=-1), "boost"),
        (dict(share=0), "share"),
        (dict(share=1.5), "share"),
        (dict(hospitals=["h9"]), "hospitals"),
    ],
)
def test_a_backdoor_that_cannot_be_gets_one_sentence(six, change, about, monkeypatch):
    monkeypatch.setattr(fleet, "fit", lambda *_, **__: pytest.fail("trained"))
    with one_sentence(about):
        federated.train(six, **WORK, attack=attacks.Backdoor(**dict(hospitals=[0]) | TRIGGER | change))


def test_more_that_cannot_be_gets_one_sentence(six, clean):
    with one_sentence("scale"):
        attacks.SignFlip([0], scale=-1)
    regression = data.from_frame(cohort().drop(columns="ill"), target="b", hospital="ward")
    three = federation(classes=3)
    wrong = [
        (attacks.HideTheIll([0]), regression, "attack"),
        (attacks.HideTheIll([0]), three, "attack"),
        (attacks.LabelFlip([0]), regression, "attack"),
        (attacks.Backdoor([0], **TRIGGER), regression, "attack"),
    ]
    for attack, where, about in wrong:
        with one_sentence(about):
            federated.train(where, **WORK, attack=attack)
    door = attacks.Backdoor([0], **TRIGGER)
    for arguments, about in [((None, six), "run"), ((clean, three.repartition(2, None)), "federation")]:
        with one_sentence(about):
            door.success(*arguments)
    with one_sentence("threshold"):
        door.success(clean, six, threshold=1)

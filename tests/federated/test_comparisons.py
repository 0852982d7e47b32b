"""Settings side by side, and the baselines beside them."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from fedlab_utils import data, federated, privacy
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.setting import Setting
from tests.federated.helpers import QUICK, last, table


def test_baselines_take_the_settings_of_train(three):
    common = dict(rounds=2, participation=0.5, strategy="uniform")
    plain = federated.baselines(three, rounds=2, seeds=1)
    pd.testing.assert_frame_equal(federated.baselines(three, seeds=1, **common), plain)
    for wrong, sentence in ((dict(roundz=2), "'roundz'"), (dict(local_epochs=1.5), "local_epochs must be a whole")):
        with pytest.raises(ValueError, match=sentence):
            federated.baselines(three, seeds=1, **wrong)


def test_compare_equals_separate_trainings(three):
    settings_ = {
        "slow": {"lr": 0.01},
        "long": {"local_epochs": 3},
        "steps": {"local_steps": 2, "participation": 0.5},
        "prox": {"proximal": 0.5},
        "wide": {"hidden": (16,)},
        "uniform": {"strategy": "uniform"},
    }
    together = federated.compare(three, settings_, seeds=2, **QUICK)
    assert together["setting"].unique().tolist() == list(settings_)
    for name, setting in settings_.items():
        alone = federated.train(three, seeds=2, **(QUICK | setting)).history
        ours = together[together["setting"] == name].drop(columns="setting").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, alone, atol=1e-5)


def test_baselines_bracket_the_federated_model():
    federation = data.load("hospital_network")
    work = dict(rounds=10, local_steps=20, batch_size=64, lr=0.1, hidden=(16,), seeds=3)
    table_ = federated.baselines(federation, **work)
    everyone = table_[table_["hospital"] == "all"].groupby("baseline")["auc"].mean()
    ours = last(federated.train(federation, **work).history)["auc"].mean()
    assert everyone["majority"] == pytest.approx(0.5, abs=0.15)  # shares differ between hospitals
    assert everyone["majority"] < ours < everyone["best possible"]
    assert everyone["pooled"] == pytest.approx(ours, abs=0.02) and everyone["local-only"] < everyone["pooled"]
    by_hospital = table_[(table_["baseline"] == "majority") & (table_["hospital"] != "all")]
    assert (by_hospital["auc"] == 0.5).all()
    for h in federation.hospitals:
        own = table_[(table_["baseline"] == "majority") & (table_["hospital"] == h.name)]["accuracy"]
        major = float(h.y_train.mean() > 0.5)
        assert own.iloc[0] == pytest.approx((h.y_test == major).float().mean().item())


def test_pooled_is_logistic_regression_where_that_is_asked_for_and_more_work_does_not_make_it_a_bound():
    frame = table(n=120)
    noise = (
        np.random.default_rng(1).random(120) < 0.25
    )  # a quarter of the labels is wrong: a network learns them by heart
    split = data.from_frame(frame.assign(ill=frame["ill"] ^ noise), target="ill", hospital="ward")
    everyone = split.pooled()
    logistic = LogisticRegression(C=np.inf).fit(everyone.X_train, everyone.y_train[:, 0])
    theirs = roc_auc_score(everyone.y_test[:, 0], logistic.decision_function(everyone.X_test))

    def pooled(**work):
        found = federated.baselines(split, seeds=1, **work).query("baseline == 'pooled' and hospital == 'all'")
        return found[["auc", "loss"]].mean()

    ours = pooled(hidden=(), rounds=400)
    assert ours["auc"] == pytest.approx(theirs, abs=0.01)
    assert pooled(rounds=400)["loss"] > pooled()["loss"] + 0.1  # the default network, trained to its end


# ---------------------------------------------------------------- leaving each hospital out


@dataclass(frozen=True)
class Turned(federated.Attack):
    def update(self, updates):
        return -2 * updates


@pytest.mark.parametrize("change", [{}, dict(strategy="scaffold", dropout=0.3), dict(aggregator=federated.Median())])
def test_leaving_the_last_hospital_out_is_a_training_of_the_others(change):
    splits = data.replicates(table(), 2, target="ill", hospital="ward")
    work = QUICK | dict(rounds=6) | change
    found = federated.leave_one_out(splits, **work)
    assert found["hospital"].tolist() == ["north"] * 2 + ["east"] * 2 + ["west"] * 2
    two = federated.train([replace(f, hospitals=f.hospitals[:2]) for f in splits], **work)
    everybody = federated.train(splits, **work)
    for seed, f in enumerate(splits):
        row, alone = found.query("hospital == 'west' and seed == @seed").iloc[0], last(two.final.query("seed == @seed"))
        assert row[["loss", "accuracy", "auc"]].tolist() == pytest.approx(
            alone[["loss", "accuracy", "auc"]].iloc[0].tolist(), abs=1e-6
        )
        X, y = (torch.cat([getattr(h, name) for h in f.hospitals[:2]]) for name in ("X_test", "y_test"))
        risk, ill = everybody[seed].predict_proba(X)[:, 1].double().numpy(), y[:, 0].numpy()
        assert row["auc_change"] == pytest.approx(row["auc"] - roc_auc_score(ill, risk), abs=1e-6)
        assert row["loss_change"] == pytest.approx(row["loss"] - log_loss(ill, risk), abs=1e-5)


def test_a_liar_is_found_by_leaving_out(three):
    found = federated.leave_one_out(three, seeds=2, **QUICK | dict(rounds=6), attack=Turned([2]))
    change = found.groupby("hospital")["loss_change"].mean()
    assert change["west"] < -0.02 < change[["north", "east"]].min()


def test_each_model_without_a_hospital_has_noise_of_its_own(three):
    promise = privacy.RecordDP(noise_multiplier=1, delta=1e-3, secure=False)
    one = Setting(**QUICK, privacy=promise)
    plan = Plan([three], [one] * 4, [None, 0, 1, 2])
    first = [plan._work[r][2].random() for r in range(3)]
    assert len(set(first)) == 3 and (plan.planned == np.where(np.eye(4, 3, -1), 0, 3)).all()
    assert plan._work[0][0].random() == Plan([three], [one])._work[0][0].random()
    plain = Plan([three], [Setting(**QUICK)] * 4, [None, 0, 1, 2])
    assert len({plain._work[r][2].random() for r in range(3)}) == 1  # without one, only what is left out differs
    found = federated.leave_one_out(three, seeds=2, **QUICK, privacy=promise)
    assert found.drop(columns="hospital").notna().all(axis=None)


def test_what_leaving_out_cannot_do_gets_a_sentence(three):
    with pytest.raises(ValueError, match="privacy must not be HospitalDP here"):
        federated.leave_one_out(three, **QUICK, privacy=privacy.HospitalDP(noise_multiplier=1, delta=0.01))
    with pytest.raises(ValueError, match="federation must have two hospitals"):
        federated.leave_one_out(three.repartition(1, None), **QUICK)
    with pytest.raises(ValueError, match="needs 3 updates in a round, and 2 hospitals"):
        federated.leave_one_out(three, **QUICK, aggregator=federated.TrimmedMean(1))
    with pytest.raises(ValueError, match="participation must be 1 here"):
        federated.leave_one_out(three, **QUICK, participation=0.5)
    with pytest.raises(ValueError, match="personal must be None here"):
        federated.leave_one_out(three, **QUICK, personal="head")

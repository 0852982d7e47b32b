"""Settings side by side, and the baselines beside them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated
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

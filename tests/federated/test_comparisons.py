"""Settings side by side, and the baselines beside them."""

import pandas as pd
import pytest

from fedlab_utils import data, federated
from tests.federated.helpers import QUICK, last


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

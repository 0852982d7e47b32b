"""Membership in federated training, by what each attacker sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fedlab_utils import attacks, data, federated, privacy
from tests.attacks.helpers import cohort


@pytest.fixture(scope="module")
def federation():
    return data.from_frame(cohort(150, seed=3), target="event", n_hospitals=3)


WORK = dict(rounds=4, local_epochs=20, lr=0.02, optimiser="adam", hidden=(32,))


@pytest.fixture(scope="module")
def views(federation):
    return attacks.federated_shadows(federation, n_models=24, seed=2, **WORK)


def test_a_server_that_sees_updates_sees_more(views):
    auc = {name: attacks.lira(s).auc for name, s in views.items()}
    assert list(auc) == ["server", "hospital", "outsider"]
    assert auc["outsider"].low > 0.5
    assert auc["server"].low > auc["outsider"].high
    assert auc["hospital"].value > auc["outsider"].value - 0.03
    for view in views.values():  # training on a patient raises the number, or attacks offline would look the wrong way
        assert attacks.lira(view, online=False).auc.low > 0.5


def test_the_outsider_sees_the_final_model_of_a_training_without_the_others(federation, views):
    kept = np.split(views["outsider"].member[0], np.cumsum([len(h.y_train) for h in federation.hospitals])[:-1])
    hospitals = [
        replace(h, X_train=h.X_train[k], y_train=h.y_train[k], train=h.train[k])
        for h, k in zip(federation.hospitals, kept, strict=True)
    ]
    alone = federated.train(replace(federation, hospitals=tuple(hospitals)), seed=2, **WORK)
    X, y = (torch.cat([getattr(h, name) for h in federation.hospitals]) for name in ("X_train", "y_train"))
    assert np.allclose(views["outsider"].logit[0], attacks.scaled_logit(alone.params, X, y)[0], atol=1e-3)


def test_noise_hides_patients_from_the_server_too(federation):
    common = dict(rounds=4, local_epochs=2, lr=0.1, hidden=(8,))
    promise = privacy.RecordDP(noise_multiplier=50.0)
    hidden = attacks.federated_shadows(federation, n_models=24, seed=0, privacy=promise, **common)
    for view in hidden.values():
        auc = attacks.lira(view).auc
        assert auc.low <= 0.5 <= auc.high  # with other seeds, one of the three misses about 1 time in 15


def test_the_weights_of_rounds_are_found_on_other_federations(federation):
    common = dict(rounds=15, local_epochs=1, lr=0.1, hidden=(4,))
    promise = privacy.RecordDP(noise_multiplier=50.0)
    view = attacks.federated_shadows(federation, n_models=8, seed=1, privacy=promise, **common)["server"]
    gap = view.logit - view.logit.mean(0)
    auc = roc_auc_score(view.member.ravel(), gap.ravel())
    assert abs(auc - 0.5) < 0.06  # three standard deviations; with weights fitted to these federations about .1


# ---------------------------------------------------------------- what is refused


def test_federated_shadows_refuses_what_it_cannot_do(federation):
    with pytest.raises(ValueError, match="train must leave .'participation'. alone"):
        attacks.federated_shadows(federation, n_models=2, seed=0, participation=0.5)
    numbers = data.from_frame(cohort(60), target="bmi", n_hospitals=2)
    with pytest.raises(ValueError, match="a regression target has no logit"):
        attacks.federated_shadows(numbers, n_models=2, seed=0)

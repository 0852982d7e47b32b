"""Membership in federated training, by what each attacker sees."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fedlab_utils import attacks, data, federated, privacy
from fedlab_utils.attacks import federations
from fedlab_utils.federated import diary
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
    promise = privacy.RecordDP(noise_multiplier=50.0, secure=False)
    hidden = attacks.federated_shadows(federation, n_models=24, seed=0, privacy=promise, **common)
    for view in hidden.values():
        auc = attacks.lira(view).auc
        assert auc.low <= 0.5 <= auc.high  # with other seeds, one of the three misses about 1 time in 15


def test_shadow_federations_share_the_tables_that_no_training_reads(federation, monkeypatch):
    looked = []
    monkeypatch.setattr(diary, "dealing", lambda f: looked.append(f) or 0)
    promise = privacy.RecordDP(noise_multiplier=1.0, secure=False)
    attacks.federated_shadows(federation, n_models=8, seed=0, privacy=promise, rounds=2, local_steps=1, lr=0.1)
    assert len(looked) == 1


def test_the_weights_of_rounds_are_found_on_other_federations(federation):
    common = dict(rounds=15, local_epochs=1, lr=0.1, hidden=(4,))
    promise = privacy.RecordDP(noise_multiplier=50.0, secure=False)
    view = attacks.federated_shadows(federation, n_models=8, seed=1, privacy=promise, **common)["server"]
    gap = view.logit - view.logit.mean(0)
    auc = roc_auc_score(view.member.ravel(), gap.ravel())
    assert abs(auc - 0.5) < 0.06  # three standard deviations; with weights fitted to these federations about .1


def logits(gaps, spreads=1.0, n=60, K=36, seed=0):
    """Logits ``[K, n, several]`` of patients who are members by coins ``[K, n]`` and then lie higher by `gaps`."""
    rng = np.random.default_rng(seed)
    member = rng.random((K, n)) < 0.5
    noise = spreads * rng.normal(size=(K, n, np.shape(gaps)[-1]))
    return member, rng.normal(size=(n, 1)) * 3 + noise + member[..., None] * gaps


def chosen(seen, now, member, kept=12):
    further = np.arange(len(member)) >= kept
    return federations._best(federations._ways(seen), now, further, member), further


@pytest.mark.parametrize("seed", range(5))
def test_who_sees_more_reads_like_who_sees_less_where_more_says_nothing(seed):
    member, seen = logits(np.array([0.0] * 9 + [2.0]), seed=seed)
    last, _ = chosen(seen[:, :, -1:], None, member)
    way, further = chosen(seen[:, :, :-1], last, member)  # the others are noise
    assert way is last
    assert np.array_equal(way.numbers(further, member), seen[:, :, -1])


@pytest.mark.parametrize("seed", range(5))
def test_who_sees_more_uses_what_tells_more(seed):
    member, seen = logits(np.array([2.0] * 9 + [1.0]), seed=seed)
    last, _ = chosen(seen[:, :, -1:], None, member)
    way, further = chosen(seen, last, member)
    found, alone = (
        roc_auc_score(member[:12].ravel(), numbers[:12].ravel())
        for numbers in (way.ratios(further, member), last.ratios(further, member))
    )
    assert way is not last and found > alone + 0.1


def test_a_way_regards_how_models_go_together_and_what_is_a_patients_own():
    member, seen = logits(np.array([1.0, 0.0]))
    seen[:, :, 1] += seen[:, :, 0] - member  # the second says what of the first is noise
    assert chosen(seen, None, member)[0].together
    own = np.where(np.arange(60) < 30, 3.0, 0.0)[:, None]  # half of the patients are never told
    member, seen = logits(own)
    assert federations._Way(seen, own=True).ratios(np.arange(36) > 11, member)[:12, 30:].std() < 1
    further = np.arange(36) > 11
    alike, leaning = (federations._Way(seen, own).ratios(further, member)[:12] for own in (False, True))
    assert roc_auc_score(member[:12].ravel(), leaning.ravel()) > roc_auc_score(member[:12].ravel(), alike.ravel())


def test_numbers_are_finite_where_somebody_is_in_all_or_in_none_of_the_further_federations():
    member, seen = logits(np.array([1.0, 1.0]))
    member[:, 0], member[:, 1] = True, False
    for way in federations._ways(seen):
        assert np.isfinite(way.ratios(np.arange(36) > 11, member)).all()


def test_some_federations_are_read_as_they_are_among_all():
    member, seen = logits(np.array([1.0, 0.5]))
    further, some = np.arange(36) > 11, np.arange(36) % 5 == 0
    for way in federations._ways(seen):
        assert np.array_equal(way.ratios(further, member, some), way.ratios(further, member)[some])


def test_the_register_gives_hospitals_what_it_gives_outsiders():
    """Earlier global models add nothing to the last one here; the server sees more (lesson 06)."""
    network = data.load("hospital_network", target="diagnosis")
    few = {h.name: h.train.sample(24, random_state=0).reset_index(drop=True) for h in network.hospitals}
    setting = dict(rounds=12, local_epochs=5, batch_size=32, lr=0.01, optimiser="adam", hidden=(32,))
    views = attacks.federated_shadows(network.replace_train(few), n_models=18, seed=1, **setting)
    found = {name: attacks.lira(view).tpr_at(0.01).value for name, view in views.items()}
    assert found["hospital"] >= found["outsider"] - 0.005 and found["server"] > found["hospital"] + 0.02


# ---------------------------------------------------------------- what is refused


def test_federated_shadows_refuses_what_it_cannot_do(federation):
    absent = dict(participation=0.5, dropout=0.1, clock=federated.Clock({"a": 0.1}, deadline=1), personal="head")
    for name, value in absent.items():
        with pytest.raises(ValueError, match=f"train must leave .'{name}'. alone"):
            attacks.federated_shadows(federation, n_models=2, seed=0, **{name: value})
    numbers = data.from_frame(cohort(60), target="bmi", n_hospitals=2)
    with pytest.raises(ValueError, match="a regression target has no logit"):
        attacks.federated_shadows(numbers, n_models=2, seed=0)

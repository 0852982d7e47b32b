"""Every public function of the room answers a bad argument with one sentence that names it."""

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import attacks, data, fleet
from fedlab_utils.attacks import linkage
from tests.attacks.helpers import cohort, patients
from tests.refusals import one_sentence

X, Y = patients(20)
FRAME, OTHERS, MEMBER = cohort(20), cohort(30, seed=1), np.arange(20) % 2 == 0
TWICE = pd.concat([FRAME, FRAME["age"]], axis=1)
MEMBERS = np.random.default_rng(0).random((8, 20)) < 0.5
LOGIT = np.random.default_rng(1).normal(size=(8, 20))
NAN = np.where(np.arange(20) == 3, np.nan, LOGIT[0])
PARAMS = fleet.init(1, (6, 4, 1), seed=0)


def shadows(**change):
    return attacks.shadows(**{"X": X, "y": Y, "n_models": 2, "seed": 0, "epochs": 1} | change)


def some():
    return attacks.Shadows(MEMBERS, LOGIT)


def result():
    return attacks.AttackResult("x", LOGIT, MEMBERS)


def domias(**change):
    given = {"patients": FRAME, "member": MEMBER, "synthetic": OTHERS, "reference": cohort(30, seed=2)} | change
    return attacks.domias(given.pop("patients"), given.pop("member"), given.pop("synthetic"), **given)


def generators(**change):
    given = {"frame": cohort(40), "n_models": 2, "seed": 0, "method": "copula"} | change
    return attacks.shadow_generators(given.pop("frame"), **given)


def federation():
    return data.from_frame(cohort(60), target="event", n_hospitals=2)


def release():
    return linkage.released(federation())


def broken(column, value):
    return FRAME.assign(**{column: np.where(np.arange(20) == 3, value, FRAME[column])})


CALLS = {
    "X": [
        lambda: shadows(X=None),
        lambda: shadows(X=X.numpy()),
        lambda: shadows(X=X * torch.nan),
        lambda: shadows(X=X / 0),
        lambda: shadows(X=X[:0], y=Y[:0]),
        lambda: shadows(X=X[:, 0]),
        lambda: shadows(y=Y[:5]),
        lambda: attacks.scaled_logit(PARAMS, X[:, :5], Y),
    ],
    "y": [
        lambda: shadows(y="labels"),
        lambda: shadows(y=Y * torch.nan),
        lambda: shadows(y=Y + 1),
        lambda: shadows(y=Y - 0.5),
        lambda: shadows(y=-Y, loss="multiclass"),
        lambda: attacks.scaled_logit(PARAMS, X, Y * 2),
    ],
    "n_models": [lambda v=v: shadows(n_models=v) for v in (0, -1, 2.5, True, "two", None, np.nan)]
    + [lambda: attacks.coins(5, 0, 0), lambda: generators(n_models=0), lambda: generators(n_models="2")]
    + [lambda: attacks.federated_shadows(federation(), n_models=0, seed=0)],
    "n_rows": [lambda v=v: attacks.coins(v, 3, 0) for v in (-1, 0, 2.5, None, "5")] + [lambda: generators(n_rows=-3)],
    "seed": [lambda v=v: attacks.coins(5, 3, v) for v in (-1, 0.5, None, "0")]
    + [lambda: shadows(seed=-1), lambda: generators(seed=-1), lambda: linkage.auc(release(), 5, seed=-1)],
    "hidden": [lambda: shadows(hidden=5), lambda: shadows(hidden=(0,))],
    "loss": [
        lambda: shadows(loss="regression"),
        lambda: shadows(loss=None),
        lambda: attacks.scaled_logit(PARAMS, X, Y, loss="hinge"),
    ],
    "params": [
        lambda: attacks.scaled_logit(None, X, Y),
        lambda: attacks.scaled_logit(PARAMS, X, Y, loss="multiclass"),
    ],
    "shadows": [lambda v=v: attacks.lira(v, LOGIT[0], MEMBER) for v in (None, LOGIT, "shadows")]
    + [lambda: attacks.rmia(None), lambda: attacks.calibrated(MEMBERS), lambda: attacks.lira(some()[:1])],
    "models": [lambda: some()["a"], lambda: some()[99], lambda: some()[[0, 99]]],
    "target_logit": [
        lambda: attacks.lira(some(), None, MEMBER),
        lambda: attacks.lira(some(), NAN, MEMBER),
        lambda: attacks.lira(some(), "logits", MEMBER),
        lambda: attacks.rmia(some(), LOGIT[0, :5], MEMBER[:5]),
        lambda: attacks.rmia(some(), LOGIT[None], MEMBER),
        lambda: attacks.calibrated(some(), [[1.0], [1.0, 2.0]], MEMBER),
        lambda: attacks.loss_threshold(NAN, MEMBER),
        lambda: attacks.loss_threshold(None, MEMBER),
    ],
    "member": [
        lambda: attacks.lira(some(), LOGIT[0]),
        lambda: attacks.lira(some(), LOGIT[0], MEMBER * 1),
        lambda: attacks.rmia(some(), LOGIT[0], ["yes", "no"] * 10),
        lambda: attacks.loss_threshold(LOGIT[0], MEMBER[:7]),
        lambda: attacks.loss_threshold(LOGIT[0], np.ones(20, bool)),
        lambda: attacks.loss_threshold(LOGIT[0], None),
        lambda: attacks.Shadows(None, LOGIT),
        lambda: attacks.Shadows(MEMBERS * 1.0, LOGIT),
        lambda: attacks.Shadows(MEMBERS[:3], LOGIT),
        lambda: attacks.Shadows(MEMBERS[:0], LOGIT[:0]),
        lambda: attacks.AttackResult("x", LOGIT, MEMBERS[:, :5]),
        lambda: attacks.AttackResult("x", LOGIT, np.zeros((8, 20), bool)),
        lambda: domias(member=MEMBER[:5]),
        lambda: domias(member=np.full(20, np.nan)),
        lambda: attacks.nearest_record(FRAME, None, OTHERS),
        lambda: attacks.nearest_record(FRAME, MEMBER, [OTHERS, OTHERS]),
        lambda: attacks.monte_carlo(FRAME, "member", OTHERS),
        lambda: attacks.densities(FRAME, MEMBERS[:1], [OTHERS] * 2),
    ],
    "logit": [lambda v=v: attacks.Shadows(MEMBERS, v) for v in (LOGIT * np.nan, LOGIT + np.inf, None, "s", LOGIT[:3])],
    "scores": [lambda v=v: attacks.AttackResult("x", v, MEMBERS) for v in (LOGIT * np.nan, None, "s", LOGIT[:, :3])],
    "online": [lambda: attacks.lira(some(), online="no"), lambda: attacks.rmia(some(), online=None)],
    "fixed_variance": [lambda v=v: attacks.lira(some(), fixed_variance=v) for v in ("no", 1)],
    "gamma": [lambda v=v: attacks.rmia(some(), gamma=v) for v in (0, -1, np.nan, np.inf, "1", True)],
    "and a above 0": [lambda v=v: attacks.rmia(some(), a=v) for v in (0, 2)],
    "a must be": [lambda v=v: attacks.rmia(some(), a=v) for v in (-1, np.nan, "x", None)],
    "fpr": [lambda v=v: result().tpr_at(v) for v in (-1, 0, 1.5, np.nan, None, "0.1", True)]
    + [lambda v=v: result().most_exposed(3, fpr=v) for v in (-1, 2, np.nan)],
    "n must be": [lambda v=v: result().most_exposed(v) for v in (0, -1, 2.5, None)],
    "patients": [
        lambda: domias(patients=None),
        lambda: domias(patients=FRAME.to_numpy()),
        lambda: domias(patients=FRAME[:1], member=MEMBER[:1]),
        lambda: domias(patients=FRAME[:0], member=MEMBER[:0]),
        lambda: domias(patients=TWICE),
        lambda: attacks.nearest_record(FRAME.set_axis(range(6), axis=1), MEMBER, OTHERS),
    ],
    "synthetic": [
        lambda: domias(synthetic=None),
        lambda: domias(synthetic=[]),
        lambda: domias(synthetic=5),
        lambda: domias(synthetic=OTHERS[:0]),
        lambda: domias(synthetic=OTHERS[["age"]]),
        lambda: attacks.monte_carlo(FRAME, MEMBER, [OTHERS.to_numpy()]),
        lambda: attacks.nearest_record(FRAME, MEMBER, pd.concat([OTHERS, OTHERS["age"]], axis=1)),
    ],
    "tables": [
        lambda: attacks.densities(FRAME, MEMBER, None),
        lambda: attacks.densities(FRAME, MEMBERS[:2], [OTHERS, OTHERS[:0]]),
    ],
    "reference": [
        lambda: domias(reference=None),
        lambda: domias(reference=OTHERS[:0]),
        lambda: domias(reference=OTHERS[["age"]]),
        lambda: domias(reference=FRAME),
        lambda: domias(reference=pd.concat([OTHERS, OTHERS["bmi"]], axis=1)),
    ],
    "bmi": [  # infinite values, whichever table holds them
        lambda: attacks.nearest_record(broken("bmi", np.inf), MEMBER, OTHERS),
        lambda: attacks.monte_carlo(FRAME, MEMBER, broken("bmi", -np.inf)),
        lambda: domias(reference=broken("bmi", np.inf)),
        lambda: generators(frame=broken("bmi", np.inf)),
    ],
    "frame": [lambda v=v: generators(frame=v) for v in (None, [1, 2], cohort(12), cohort(12)[:0])]
    + [lambda: generators(frame=pd.concat([cohort(40), cohort(40)["age"]], axis=1))],
    "batch_size": [lambda: generators(batch_size=0)],
    "method": [lambda: generators(method="vae")],
    "on_step": [lambda: generators(on_step=print)],
    "federation": [
        lambda: attacks.federated_shadows(None, n_models=2, seed=0),
        lambda: attacks.federated_shadows([federation()], n_models=2, seed=0),
        lambda: linkage.released("hospital_network"),
    ],
    "aggregator": [lambda: attacks.federated_shadows(federation(), n_models=2, seed=0, aggregator=None)],
    "table": [lambda f=f: f(FRAME, 5, 2) for f in (linkage.group_sizes, linkage.named, linkage.sentence)]
    + [lambda: linkage.auc(None, 5)],
    "width": [lambda v=v: linkage.group_sizes(release(), v, 2) for v in (0, -1, 2.5, None, "5", np.nan)]
    + [lambda f=f: f(release(), 0, 2) for f in (linkage.named, linkage.sentence)]
    + [lambda: linkage.auc(release(), 0)],
    "digits": [lambda v=v: linkage.group_sizes(release(), 5, v) for v in (-1, 6, 2.5, None, "2")],
    "splits": [lambda v=v: linkage.auc(release(), 5, splits=v) for v in (0, -1, 2.5, None)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call"), [pytest.param(n, c, id=f"{n}-{k}") for n, some in CALLS.items() for k, c in enumerate(some)]
)  # fmt: skip
def test_a_bad_argument_gets_one_sentence(name, call):
    with np.errstate(all="ignore"), one_sentence(name):
        call()

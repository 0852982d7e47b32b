"""Whatever a training cannot use gets one sentence, which names the argument, before anything is trained."""

import numpy as np
import pytest

from fedlab_utils import data, federated, fleet, privacy
from tests.federated.helpers import QUICK, table
from tests.refusals import one_sentence

THREE = data.from_frame(table(n=60), target="ill", hospital="ward")
ARRAYS = fleet.to_arrays(fleet.init(1, (4, 8, 1), seed=0), 0)
NAN, RNG = float("nan"), np.random.default_rng(0)

COUNT, RATE = (0, -1, 1.5, NAN, True, "2", []), (-0.1, NAN, float("inf"), "0.1", True, None, [0.1], [])
WRONG = {
    "federation": (None, "net", 3, [], [None], [THREE, 3], THREE.hospitals, {}, [THREE, THREE.repartition(2, None)]),
    "rounds": (*COUNT, None),
    "local_epochs": (*COUNT, None),
    "local_steps": COUNT,
    "batch_size": (*COUNT, None),
    "lr": RATE,
    "optimiser": ("lion", None, 3, ["sgd"]),
    "hidden": (3, "64", None, (0,), (1.5,), (True,), (None,), ["a"]),
    "strategy": ("median", None, 1, ["fedavg"], federated.FedAdam),
    "server_lr": RATE,
    "compress": ("topk", 8, True, [], federated.TopK),
    "proximal": RATE,
    "participation": (0, -0.1, 1.5, NAN, "1", True, None),
    "attack": ("hide", 0, True, [], federated.Attack),
    "privacy": ("record", 1.0, True, [], privacy.RecordDP),
    "aggregator": ("sum", 3, True, [], federated.OpenSum),
    "seeds": (*COUNT, None),
    "seed": (-1, 0.5, "0", None, True, NAN, []),
    "record": ("no", None, 1, []),
}
SETTINGS = (None, {}, [], "s", 3, ["a"], {"a": None}, {"a": 3}, {"a": ["lr"]})
HERE = {
    "arrays": (None, [], "w", 3, [np.ones(3)], [a * NAN for a in ARRAYS], [np.ones((2, 4)), np.ones(3)],
               [np.array("x")], ARRAYS[:3]),
    "hospital": (None, "north", THREE, 3),
    "task": ("multi", None, 1, True, "multiclass"),
    "rng": (None, 0, "r", [RNG]),
}  # fmt: skip
TRAINING = QUICK | {"federation": THREE, "seeds": 1}
LOCAL = ("local_epochs", "local_steps", "batch_size", "lr", "optimiser", "proximal")
FUNCTIONS = [
    (federated.train, TRAINING, WRONG | {"on_round": ("f", 3, True)}),
    (federated.baselines, TRAINING, WRONG),
    (federated.compare, TRAINING | {"settings": {"a": {}}}, WRONG | {"settings": SETTINGS}),
    (federated.side_by_side, TRAINING | {"settings": {"a": {}}}, WRONG | {"settings": SETTINGS, "on_round": ("f", 3)}),
    (federated.leave_one_out, TRAINING, WRONG),
    (
        federated.local_update,
        dict(arrays=ARRAYS, hospital=THREE.hospitals[0], task="binary", rng=RNG),
        HERE | {name: WRONG[name] for name in LOCAL},
    ),
]
CASES = [(f, right, name, wrong) for f, right, every in FUNCTIONS for name, some in every.items() for wrong in some]


@pytest.fixture
def untrained(monkeypatch):
    """Nothing may be trained."""

    def fit(*_, **__):
        raise AssertionError("trained before the arguments were looked at")

    monkeypatch.setattr(fleet, "fit", fit)


@pytest.mark.parametrize(
    ("function", "right", "name", "wrong"), CASES, ids=[f"{f.__name__}-{name}" for f, _, name, _ in CASES]
)
def test_a_wrong_argument_gets_one_sentence(function, right, name, wrong, request):
    if function is not federated.local_update:  # the rest of its arguments is looked at by `fleet.fit`
        request.getfixturevalue("untrained")
    with one_sentence(name):
        function(**right | {name: wrong})


def test_a_name_that_train_does_not_know_is_refused_where_names_are_free():
    for function in (federated.compare, federated.side_by_side):
        with pytest.raises(ValueError, match=r"\['lrr'\] are not arguments of train"):
            function(THREE, {"a": {"lrr": 1}})


@pytest.mark.parametrize(
    "X", [np.array([["a", "b", "c", "d"]]), np.array([[None] * 4]), np.zeros(4), np.zeros((2, 3)), None]
)
def test_rows_that_cannot_be_predicted_get_one_sentence(X):
    run = federated.train(THREE, **QUICK)
    with pytest.raises(ValueError, match="X must be rows of 4 features"):
        run.predict_proba(X)

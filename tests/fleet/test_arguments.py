"""Whatever a function of the fleet cannot use gets one sentence, which names the argument, before any work is done."""

import numpy as np
import pytest
import torch

from fedlab_utils import fleet
from tests.refusals import one_sentence

PARAMS, X, Y = fleet.init(2, (3, 4, 1), seed=0), torch.randn(10, 3), torch.zeros(10, 1)
OUTPUTS, SHARE = torch.zeros(2, 10, 1), torch.full((2, 10), 0.1)
ROWS, RNGS = [np.arange(5), np.arange(5, 10)], fleet.generators(0, 2)
NAN, LOST = float("nan"), torch.full((10, 3), torch.nan)

RIGHT = {
    fleet.init: dict(n_models=2, sizes=(3, 4, 1), seed=0),
    fleet.forward: dict(params=PARAMS, X=X),
    fleet.gradients: dict(params=PARAMS, X=X.expand(2, -1, -1), y=Y.expand(2, -1, -1), weight=SHARE, loss="binary"),
    fleet.fit: dict(params=PARAMS, X=X, y=Y, rows=ROWS, epochs=1, batch_size=4, lr=0.1),
    fleet.to_arrays: dict(params=PARAMS, k=0),
    fleet.from_arrays: dict(models=[fleet.to_arrays(PARAMS, k) for k in range(2)]),
    fleet.per_row: dict(outputs=OUTPUTS, y=Y, loss="binary"),
    fleet.slopes: dict(outputs=OUTPUTS, y=Y, loss="binary"),
    fleet.probabilities: dict(outputs=OUTPUTS, loss="binary"),
    fleet.shuffled: dict(rows=ROWS, steps=[3, 2], batch_size=4, rngs=RNGS),
    fleet.poisson: dict(rows=ROWS, steps=[3, 2], batch_size=4, rngs=RNGS),
    fleet.normal: dict(steps=[3, 2], width=5, rngs=RNGS),
}  # fmt: skip
SHAPES = {"X": (X[0], X[:, :2], X[None, None]), "y": (Y[:4], torch.zeros(10, 2)), "weight": (SHARE[:, :3],)}
LABELS = (Y + NAN, Y - 1, Y + 0.5)
COUNT, RATE = (0, -1, 1.5, NAN, True, "2", None, [], [1, 1, 1]), (-0.1, NAN, float("inf"), "0.1", True, None, [0.1], [])
WRONG = {
    "n_models": COUNT,
    "sizes": ((), (3,), (3, 0, 1), (3, True), "31", None, 3),
    "seed": (-1, 0.5, "0", None, True, [], RNGS[:1]),
    "params": (None, "net", 3, [PARAMS]),
    "X": (None, "x", X.numpy(), *SHAPES["X"]),
    "y": (None, 0, Y.numpy(), *SHAPES["y"]),
    "weight": (None, 1.0, *SHAPES["weight"]),
    "outputs": (None, "out", OUTPUTS[0], torch.zeros(2, 10, 3)),
    "loss": ("hinge", None, 1, True, ["binary"], "Binary", "multiclass"),
    "rows": (None, 3, "rows", [], ROWS[:1], [[], [1]], [["a"], [1]], [[0.5], [1]], [[[1]], [1]], [None, [1]],
             [[1], [[1], [1, 2]]]),
    "epochs": (*COUNT[:7], [1]),
    "steps": (*COUNT[:7], [1]),
    "batch_size": COUNT,
    "lr": RATE,
    "optimiser": ("lion", None, 3, "SGD"),
    "weight_decay": RATE,
    "proximal": RATE,
    "offset": (0.1, "x", [0.1], np.zeros((2, 21)), torch.zeros(2), torch.zeros(2, 20), torch.zeros(2, 21).long()),
    "max_norm": (0, *(v for v in RATE if v is not None)),
    "noise_multiplier": RATE,
    "sampling": ("all", None, 0.5),
    "k": (-1, 2, 0.5, None, "0", True),
    "models": (None, 3, [], [[]], "ab", [["w", "b"]], [[X.numpy()]], [[np.ones((2, 3)), np.ones(3)]],
               [fleet.to_arrays(PARAMS, 0), []]),
    "rngs": (None, [], 0, [0, 1], [None, "x"]),
    "width": COUNT,
}  # fmt: skip
MORE = {  # wrong for one function alone
    fleet.fit: dict(X=(LOST, X * torch.inf), y=LABELS, rows=([[0], [10]], [[-1], [0]])),
    fleet.gradients: dict(X=[LOST.expand(2, -1, -1)], y=[v.expand(2, -1, -1) for v in LABELS], weight=[SHARE * NAN]),
    fleet.shuffled: dict(steps=([2, 3],), rngs=(RNGS[:1], [None, None])),
    fleet.normal: dict(steps=([2, 3],)),
}
OPTIONS = {  # which have a default
    fleet.fit: "steps optimiser loss weight_decay proximal offset max_norm noise_multiplier sampling seed".split(),
    fleet.gradients: ["max_norm"],
}
CASES = [
    (function, name, wrong)
    for function, right in RIGHT.items()
    for name in (*right, *OPTIONS.get(function, ()))
    for wrong in (*WRONG[name], *MORE.get(function, {}).get(name, ()))
]


@pytest.mark.parametrize(("function", "name", "wrong"), CASES, ids=lambda v: getattr(v, "__name__", None))
def test_a_wrong_argument_gets_one_sentence(function, name, wrong):
    arguments = RIGHT[function] | {name: wrong}
    if function is fleet.fit and name == "steps":
        arguments.pop("epochs")
    if function is fleet.fit and name == "noise_multiplier":
        arguments["max_norm"] = 1.0
    with one_sentence(name):
        function(**arguments)


@pytest.mark.parametrize("function", RIGHT, ids=lambda f: f.__name__)
def test_the_right_ones_are_taken(function):
    found = function(**RIGHT[function])
    if function in (fleet.shuffled, fleet.poisson, fleet.normal):
        assert len(list(found)) == 3


def test_a_long_value_does_not_fill_the_sentence():
    with one_sentence("lr") as reason:
        fleet.fit(**RIGHT[fleet.fit] | {"lr": torch.rand(50, 50)})
    assert str(reason.value).count("tensor") < 2


# ---- numbers that are not finite


def test_a_row_of_nobody_may_hold_anything_and_a_row_of_somebody_may_not():
    holes = X.clone()
    holes[3] = torch.nan
    work = RIGHT[fleet.fit] | dict(X=holes)
    assert fleet.fit(**work | dict(rows=[[0, 1], [4, 5]])).flat().isfinite().all()
    with pytest.raises(ValueError, match="X must hold finite numbers only; 3 of them are not, such as nan"):
        fleet.fit(**work)
    big = torch.full((10, 3), 3e38)  # finite, though their sum is not
    assert fleet.fit(**work | dict(X=big, lr=0.0)).flat().isfinite().all()
    with pytest.raises(ValueError, match="y must hold finite numbers only; 1 of them are not, such as inf"):
        fleet.fit(**work | dict(X=X, y=torch.tensor([[torch.inf], *[[0.0]] * 9]), loss="regression"))


@pytest.mark.parametrize("loss", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("size", [1.8e19, 1e20, 1e30])
def test_one_enormous_row_does_not_poison_the_clipped_sum(loss, size):
    """Saturated, its gradient is 0 times something infinite in 32 bits; in any case it counts at most the clip norm."""
    params = fleet.init(1, (3, 4, 3 if loss == "multiclass" else 1), seed=0)
    rows, y = X.clone(), torch.zeros(10, 1)
    rows[4] = size
    for label in (0.0, 1.0):
        y[4] = label
        arguments = dict(weight=torch.ones(1, 10), loss=loss, max_norm=0.5)
        ours = fleet.gradients(params, rows[None], y[None], **arguments).flat()
        exact = fleet.gradients(params.map(torch.Tensor.double), rows[None].double(), y[None].double(), **arguments)
        assert ours.dtype == torch.float32 and ours.isfinite().all()
        torch.testing.assert_close(ours, exact.flat().float())
        others = fleet.gradients(
            params, rows[None, [*range(4), *range(5, 10)]], y[None, :9] * 0, **arguments | dict(weight=torch.ones(1, 9))
        )
        assert (ours - others.flat()).norm() < 0.5 * 1.0001


def test_training_with_clipping_survives_an_enormous_row():
    rows = X.clone()
    rows[4] = 1e25
    trained = fleet.fit(**RIGHT[fleet.fit] | dict(X=rows, max_norm=1.0, noise_multiplier=1.0, epochs=5))
    assert trained.flat().isfinite().all()


@pytest.mark.parametrize("size", [1e8, 1e20, 1e30, 3e38])
def test_chosen_weights_cannot_make_a_row_count_more_than_the_clip_norm(size):
    """Beyond the range of any number it counts for nothing, and it changes nothing of what is computed for others."""
    rng = torch.Generator().manual_seed(0)
    for hidden in ((4,), (4, 4, 4, 4, 4)):
        params = fleet.init(1, (3, *hidden, 1), seed=0).map(lambda t: torch.randn(t.shape, generator=rng) * size)
        params = params.map(lambda t: t.clamp(-3e38, 3e38))
        rows, y = torch.randn((1, 10, 3), generator=rng), torch.ones(1, 10, 1)
        rows[0, 4] *= 1e6  # one row may be beyond 32 bits where the others are not
        arguments = dict(loss="regression", max_norm=0.5)
        whole = fleet.gradients(params, rows, y, torch.ones(1, 10), **arguments).flat()
        for gone in range(10):
            left = torch.ones(1, 10)
            left[0, gone] = 0
            others = fleet.gradients(params, rows, y, left, **arguments).flat()
            assert others.isfinite().all() and (whole - others).norm() < 0.5 * 1.001

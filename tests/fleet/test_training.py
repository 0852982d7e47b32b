"""Training in a fleet equals training one by one, in torch and in Opacus."""

import warnings

import numpy as np
import pytest
import torch

from fedlab_utils import fleet
from fedlab_utils.fleet import batches, losses, randomness

SIZES = (6, 8, 5, 1)


def table(n=60, d=6, task="binary", seed=0, classes=3):
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=rng)
    if task == "multiclass":
        return X, torch.randint(classes, (n, 1), generator=rng).float()
    y = X[:, :1] * 0.8 + torch.randn(n, 1, generator=rng)
    return X, y if task == "regression" else (y > 0).float()


def as_module(params, k):
    layers = []
    for i, (weight, bias) in enumerate(zip(params.weights, params.biases, strict=True)):
        linear = torch.nn.Linear(weight.shape[2], weight.shape[1])
        linear.weight.data, linear.bias.data = weight[k].clone(), bias[k].clone()
        layers += [torch.nn.ReLU(), linear] if i else [linear]
    return torch.nn.Sequential(*layers)


def reference_loss(task):
    if task == "multiclass":
        return lambda out, y: torch.nn.functional.cross_entropy(out, y.squeeze(1).long())
    return torch.nn.BCEWithLogitsLoss() if task == "binary" else torch.nn.MSELoss()


def furthest(params, k, module):
    """Largest difference of one parameter between model k and a torch.nn twin."""
    pairs = zip(params.tensors(), module.parameters(), strict=True)
    return max((ours[k] - theirs).abs().max().item() for ours, theirs in pairs)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("optimiser", ["sgd", "momentum", "adam"])
@pytest.mark.parametrize("pull", [0.0, 0.3])
def test_a_fleet_equals_separate_torch_networks(task, optimiser, pull):
    """Unequal sizes, rates and step counts (two models finish early), 50 steps, the same batches."""
    X, y = table(task=task)
    rows = [np.arange(0, 33), np.arange(20, 60), np.arange(5, 12), np.array([3])]
    steps, lr, decay = [50, 30, 17, 50], [0.01, 0.02, 0.01, 0.005], [0.0, 0.1, 0.02, 0.0]
    start = fleet.init(4, (*SIZES[:-1], 3 if task == "multiclass" else 1), seed=3)
    push = 0.1 * torch.randn(4, start.n_parameters, generator=torch.Generator().manual_seed(1)) if pull else None
    ours = fleet.fit(
        start, X, y, rows, steps=steps, batch_size=8, lr=lr, optimiser=optimiser, loss=task,
        weight_decay=decay, proximal=pull, offset=push, seed=7,
    )  # fmt: skip
    for k in range(4):
        module, loss = as_module(start, k), reference_loss(task)
        anchor = [p.detach().clone() for p in module.parameters()]
        kind = torch.optim.Adam if optimiser == "adam" else torch.optim.SGD
        extra = {"momentum": 0.9} if optimiser == "momentum" else {}
        theirs = kind(module.parameters(), lr=lr[k], weight_decay=decay[k] if not pull else 0.0, **extra)
        for index, share in batches.shuffled([rows[k]], [steps[k]], 8, [randomness.generators(7, 4, stream=1)[k]]):
            assert (share == 1 / share.shape[1]).all()  # a model by itself needs no padding
            theirs.zero_grad()
            loss(module(X[index[0]]), y[index[0]]).backward()
            for at, (p, p0) in enumerate(zip(module.parameters(), anchor, strict=True)):
                if pull:  # by hand, in the same order: decay, then the pull, and the vector of its own
                    p.grad += decay[k] * p.data + pull * (p.data - p0) + start.like(push).tensors()[at][k]
            theirs.step()
        assert furthest(ours, k, module) < 1e-5


def test_a_model_trains_alone_as_it_trains_in_a_fleet():
    X, y = table()
    rows = [np.arange(k, 60, 3 + k) for k in range(5)]
    start = fleet.init(5, SIZES, seed=1)
    together = fleet.fit(start, X, y, rows, epochs=3, batch_size=4, lr=0.1, optimiser="adam", seed=9)
    for k in range(5):
        rng = [randomness.generators(9, 5, stream=1)[k]]
        work = dict(epochs=3, batch_size=4, lr=0.1, optimiser="adam")
        alone = fleet.fit(start[[k]], X, y, [rows[k]], seed=rng, **work)
        torch.testing.assert_close(alone.flat()[0], together.flat()[k], atol=1e-6, rtol=0)
    torch.testing.assert_close(fleet.init(2, SIZES, seed=1).flat(), start[:2].flat(), atol=0, rtol=0)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_gradients_equal_autograd(task):
    X, y = table(task=task)
    params = fleet.init(3, (6, 8, 3 if task == "multiclass" else 1), seed=0)
    tracked = params.map(lambda t: t.clone().requires_grad_())
    weight = torch.rand(3, 60)
    (losses.per_row(fleet.forward(tracked, X), y, task) * weight).sum().backward()
    own = fleet.gradients(params, X.expand(3, -1, -1), y.expand(3, -1, -1), weight, loss=task)
    for ours, theirs in zip(own.tensors(), tracked.tensors(), strict=True):
        torch.testing.assert_close(ours, theirs.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_clipped_gradients_equal_torch_func(task):
    X, y = table(task=task, n=20)
    params = fleet.init(2, (6, 8, 3 if task == "multiclass" else 1), seed=0)
    params = params.map(torch.Tensor.double)
    X, y, weight = X.double(), y.double(), torch.rand(2, 20).double()
    norms = torch.tensor([0.05, 0.7])
    ours = fleet.gradients(params, X.expand(2, -1, -1), y.expand(2, -1, -1), weight, loss=task, max_norm=norms).flat()

    def row_loss(tensors, x, label):
        one = fleet.Params([t[None] for t in tensors[::2]], [t[None] for t in tensors[1::2]])
        return losses.per_row(fleet.forward(one, x[None]), label[None], task).sum()

    for k in range(2):
        own = [t[k] for t in params.tensors()]
        per_row = torch.func.vmap(torch.func.grad(row_loss), (None, 0, 0))(own, X, y)
        per_row = torch.cat([g.flatten(1) for g in per_row], 1)
        length = per_row.norm(dim=1, keepdim=True)
        clipped = per_row * (norms[k] / length).clamp(max=1)
        assert (length > norms[k]).any()
        torch.testing.assert_close(ours[k], (clipped * weight[k, :, None]).sum(0), atol=1e-6, rtol=0)


def test_clipped_gradients_equal_opacus():
    X, y = table(n=24)
    params = fleet.init(1, SIZES, seed=4)
    with warnings.catch_warnings():  # Opacus warns about its own use of hooks
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule

        module = GradSampleModule(as_module(params, 0), loss_reduction="sum")
        torch.nn.functional.binary_cross_entropy_with_logits(module(X), y, reduction="sum").backward()
    per_row = torch.cat([p.grad_sample.flatten(1) for p in module.parameters()], 1)
    length = per_row.norm(dim=1, keepdim=True)
    limit = length.median().item()
    theirs = (per_row * (limit / length).clamp(max=1)).sum(0)
    ours = fleet.gradients(params, X[None], y[None], torch.ones(1, 24), loss="binary", max_norm=limit)
    torch.testing.assert_close(ours.flat()[0], theirs, atol=1e-6, rtol=1e-6)


def test_noise_has_the_stated_size_and_an_empty_poisson_batch_still_gets_it():
    X, y = table(n=1000)
    params = fleet.init(2, (6, 400, 1), seed=0)
    common = dict(steps=1, lr=1.0, max_norm=0.5, sampling="poisson", noise_multiplier=[2.0, 0.0], seed=1)
    tiny = dict(common, batch_size=1)
    rows = [np.arange(1000), np.arange(1000)]
    for seed in range(50):  # find a draw in which the first model's batch is empty
        tiny["seed"] = seed
        _, share = next(batches.poisson(rows, [1, 1], 1, [randomness.generator(seed, k, 1) for k in range(2)]))
        if not (share[0] > 0).any():
            break
    moved = fleet.fit(params, X, y, rows, **tiny).flat()[0] - params.flat()[0]
    assert moved.std().item() == pytest.approx(2.0 * 0.5, rel=0.1)  # noise alone, divided by batch_size 1
    quiet = fleet.fit(params, X, y, rows, batch_size=100, **common)
    assert (quiet.flat()[1] - params.flat()[1]).norm() < 0.5 * 200 / 100  # clipped, no noise


def test_a_model_without_noise_trains_alike_beside_noisy_ones():
    X, y = table()
    start, rows = fleet.init(2, SIZES, seed=0), [np.arange(30), np.arange(30, 60)]
    work = dict(epochs=3, batch_size=4, lr=0.1, max_norm=1.0)
    beside = fleet.fit(start, X, y, rows, noise_multiplier=[0.0, 1.0], seed=5, **work)
    alone = fleet.fit(start[[0]], X, y, rows[:1], seed=[randomness.generator(5, 0, 1)], **work)
    assert torch.equal(beside.flat()[0], alone.flat()[0]) and beside.flat().isfinite().all()


def test_poisson_divides_by_what_is_expected_even_of_a_small_hospital():
    X, y = table(n=20)
    start = fleet.init(1, SIZES, seed=0)
    work = dict(steps=1, lr=1.0, sampling="poisson")
    all_rows, more = (fleet.fit(start, X, y, [range(20)], batch_size=b, **work).flat() for b in (20, 10**9))
    assert torch.equal(all_rows, more)  # q = 1: every row is in, 20 are expected
    X[0] = torch.nan  # a row of nobody must not leak in as padding
    assert fleet.fit(start, X, y, [range(1, 20)], batch_size=3, **work).flat().isfinite().all()


def test_poisson_epochs_are_rounded_up_once():
    X, y = table(n=100)
    start, rows = fleet.init(1, (6, 1), seed=0), [range(100)]
    work = dict(batch_size=32, lr=0.1, sampling="poisson")
    epochs, steps = (fleet.fit(start, X, y, rows, **work, **n).flat() for n in (dict(epochs=2), dict(steps=7)))
    assert torch.equal(epochs, steps)  # 2 x 100 / 32 = 6.25


def test_fit_leaves_its_input_and_the_thread_count_alone():
    X, y = table()
    params, threads = fleet.init(1, SIZES, seed=0), torch.get_num_threads()
    before, rows = params.flat(), [np.arange(60)]
    fleet.fit(params, X, y, rows, epochs=1, batch_size=8, lr=0.1)
    assert torch.equal(params.flat(), before) and torch.get_num_threads() == threads
    assert rows[0].tolist() == list(range(60))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(rows=[[0, 1]]), "rows must hold a non-empty list .* 2 models; got 1 lists"),
        (dict(rows=[[0], []]), "1 of them empty"),
        (dict(rows=[[0], [60]]), "numbers from 0 to 59"),
        (dict(epochs=None), "either epochs or steps"),
        (dict(steps=3), "either epochs or steps"),
        (dict(epochs=0), "epochs must be whole, finite and 1 or more; got 0"),
        (dict(batch_size=0), "batch_size must be a whole number of at least 1; got 0"),
        (dict(lr=-1.0), "lr must be finite and 0 or more; got -1.0"),
        (dict(lr=[0.1, 0.1, 0.1]), "lr must be a number, or one for each of the 2 models"),
        (dict(lr=float("nan")), "lr must be finite and 0 or more"),
        (dict(max_norm=0.0), "max_norm must be finite and 1e-12 or more; got 0.0"),
        (dict(noise_multiplier=1.0), "noise_multiplier needs max_norm"),
        (dict(optimiser="lion"), "optimiser must be one of sgd, momentum, adam; got 'lion'"),
        (dict(loss="hinge"), "loss must be one of"),
        (dict(seed=randomness.generators(0, 3)), "a generator for each of the 2 models"),
        (dict(rows=torch.rand(2, 60) > 0.5), "turn a mask into numbers"),
        (dict(rows=[[0.5], [1.0]]), "whole numbers"),
        (dict(epochs=1.5), "epochs must be whole"),
        (dict(lr="fast"), "lr must be finite and 0 or more; got 'fast'"),
        (dict(loss="multiclass"), "loss 'multiclass' does not fit networks with 1 outputs"),
        (dict(y=torch.full((60, 1), 2.0)), "whole numbers from 0 to 1; got 2 to 2"),
        (dict(y=torch.zeros(59, 1)), "X must be .n, 6. and y .n, 1."),
        (dict(X=torch.zeros(60, 5)), "X must be .n, 6. and y .n, 1."),
        (dict(X=np.zeros((60, 6))), "X must be a torch tensor; got ndarray"),
    ],
)
def test_bad_arguments_get_a_sentence(change, sentence):
    X, y = table()
    arguments = dict(X=X, y=y, rows=[[0, 1], [2]], epochs=1, batch_size=2, lr=0.1) | change
    with pytest.raises(ValueError, match=sentence):
        fleet.fit(fleet.init(2, SIZES, seed=0), **arguments)


def test_bad_shapes_get_a_sentence():
    X, y = table()
    with pytest.raises(ValueError, match="X, y and weight must be"):
        fleet.gradients(fleet.init(1, SIZES, seed=0), X[None], y[None, :, 0], torch.ones(1, 60), loss="binary")

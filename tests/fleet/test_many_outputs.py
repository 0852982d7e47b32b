"""Regression with several values a row: the same as one network of torch, row by row and clipped."""

import numpy as np
import pytest
import torch

from fedlab_utils import fleet
from tests.refusals import one_sentence

RNG = torch.Generator().manual_seed(0)
X, Y = torch.randn(12, 3, generator=RNG), torch.randn(12, 4, generator=RNG)
PARAMS = fleet.init(2, (3, 5, 4), seed=0)


def of_torch(params, k, rows, max_norm=None):
    """Sum of gradients of row by row squared errors, by autograd."""
    one = [t[k].clone().requires_grad_() for t in params.tensors()]
    total = [torch.zeros_like(t) for t in one]
    for x, y in zip(X[rows], Y[rows], strict=True):
        out = one[2] @ (one[0] @ x + one[1]).relu() + one[3]
        g = torch.autograd.grad(((out - y) ** 2).sum(), one)
        length = torch.sqrt(sum((t**2).sum() for t in g))
        scale = 1.0 if max_norm is None else min(1.0, max_norm / float(length))
        total = [a + scale * b for a, b in zip(total, g, strict=True)]
    return torch.cat([t.flatten() for t in total])


@pytest.mark.parametrize("max_norm", [None, 2.0])
def test_gradients_are_autograds(max_norm):
    rows = torch.stack([torch.arange(6), torch.arange(6, 12)])
    ours = fleet.gradients(PARAMS, X[rows], Y[rows], torch.ones(2, 6), loss="regression", max_norm=max_norm)
    for k in range(2):
        torch.testing.assert_close(ours.flat()[k], of_torch(PARAMS, k, rows[k], max_norm), atol=1e-4, rtol=1e-4)


def test_loss_of_a_row_is_the_sum_over_its_values_and_slopes_are_its_derivative():
    out = torch.randn(2, 12, 4, generator=RNG, requires_grad=True)
    loss = fleet.per_row(out, Y, "regression")
    torch.testing.assert_close(loss, ((out - Y) ** 2).sum(2))
    loss.sum().backward()
    torch.testing.assert_close(fleet.slopes(out, Y, "regression"), out.grad)
    assert fleet.probabilities(out, "regression") is out


def test_a_step_is_the_gradient_of_the_mean_and_many_steps_find_a_linear_map():
    rows = [np.arange(12), np.arange(12)]
    one = fleet.fit(PARAMS, X, Y, rows, steps=1, batch_size=12, lr=0.1, loss="regression")
    gradient = of_torch(PARAMS, 1, torch.arange(12)) / 12
    torch.testing.assert_close(one.flat()[1], PARAMS.flat()[1] - 0.1 * gradient, atol=1e-5, rtol=1e-4)
    truth = torch.randn(4, 3, generator=RNG)
    linear = fleet.init(1, (3, 4), seed=1)
    found = fleet.fit(linear, X, X @ truth.T, rows[:1], epochs=300, batch_size=12, lr=0.1, loss="regression")
    torch.testing.assert_close(found.weights[0][0], truth, atol=1e-3, rtol=0)


@pytest.mark.parametrize("y", [Y[:, :3], Y[:, :1], Y[:, 0], Y[:5], Y[None]])
def test_values_of_another_width_get_one_sentence(y):
    with one_sentence("y"):
        fleet.fit(PARAMS, X, y, [[0], [1]], epochs=1, batch_size=2, lr=0.1, loss="regression")


def test_labels_stay_one_column_wide():
    with one_sentence("loss"):
        fleet.fit(PARAMS, X, Y, [[0], [1]], epochs=1, batch_size=2, lr=0.1, loss="binary")
    with one_sentence("y"):
        fleet.fit(PARAMS, X, Y, [[0], [1]], epochs=1, batch_size=2, lr=0.1, loss="multiclass")
    with one_sentence("loss"):
        fleet.gradients(PARAMS, X.expand(2, -1, -1), Y[:, :1].expand(2, -1, -1), torch.ones(2, 12), loss="binary")
    with one_sentence("y"):
        fleet.per_row(torch.zeros(2, 12, 4), Y[:, :1], "regression")

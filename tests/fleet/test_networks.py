"""Small networks side by side: forward, and arrays there and back."""

import pytest
import torch

from fedlab_utils import fleet

SIZES = (6, 8, 5, 1)


def test_forward_can_be_differentiated_twice():
    """What a gradient penalty needs: the slope of the output, and the slope of that slope."""
    params = fleet.init(2, (3, 7, 1), seed=0).map(lambda t: t.double().requires_grad_())
    X = torch.randn(2, 4, 3, dtype=torch.double, requires_grad=True)

    def penalty(w):
        own = fleet.Params([w, params.weights[1]], params.biases)
        (slope,) = torch.autograd.grad(fleet.forward(own, X).sum(), X, create_graph=True)
        return (slope.norm(dim=2) - 1).square().mean()

    assert torch.autograd.gradcheck(penalty, params.weights[0])


def test_arrays_there_and_back_in_flower_order():
    params = fleet.init(3, SIZES, seed=0)
    arrays = [fleet.to_arrays(params, k) for k in range(3)]
    assert [a.shape for a in arrays[0]] == [(8, 6), (8,), (5, 8), (5,), (1, 5), (1,)]
    torch.testing.assert_close(fleet.from_arrays(arrays).flat(), params.flat(), atol=0, rtol=0)
    torch.testing.assert_close(params.like(params.flat()).weights[1], params.weights[1], atol=0, rtol=0)


def test_bad_sizes_get_a_sentence():
    with pytest.raises(ValueError, match="sizes must name an input and an output width"):
        fleet.init(1, (3,), seed=0)

"""Federated rounds against rounds written out by hand."""

import torch

from fedlab_utils import federated, fleet
from tests.federated.helpers import QUICK


def test_training_equals_rounds_written_out_by_hand(three):
    run = federated.train(three, **QUICK, optimiser="momentum", local_epochs=2, seeds=2, seed=5)
    for s in range(2):
        world = fleet.init(2, (three.n_features, 8, 1), seed=5)[[s]]
        rngs = [federated.hospital_rng(5, s, h) for h in range(3)]
        for _ in range(3):
            total, rows = 0, 0
            for hospital, rng in zip(three.hospitals, rngs, strict=True):
                n = len(hospital.y_train)
                local = fleet.fit(
                    world, hospital.X_train, hospital.y_train, [range(n)], epochs=2, batch_size=16, lr=0.1,
                    optimiser="momentum", seed=[rng],
                )  # fmt: skip
                total, rows = total + n * local.flat(), rows + n
            world = world.like(total / rows)
        torch.testing.assert_close(run[s].params.flat(), world.flat(), atol=1e-5, rtol=0)


def test_one_full_batch_step_a_round_is_pooled_gradient_descent(three):
    """Weighted by rows, the average of the hospitals' gradients is the gradient of all rows (FedSGD)."""
    size = len(three.pooled().y_train)
    run = federated.train(three, rounds=5, local_steps=1, batch_size=size, lr=0.5, hidden=())
    pool = three.pooled()
    start = fleet.init(1, (three.n_features, 1), seed=0)
    pooled = fleet.fit(start, pool.X_train, pool.y_train, [range(size)], steps=5, batch_size=size, lr=0.5)
    torch.testing.assert_close(run.params.flat(), pooled.flat(), atol=1e-6, rtol=0)
    uniform = federated.train(three, rounds=5, local_steps=1, batch_size=size, lr=0.5, hidden=(), strategy="uniform")
    assert (uniform.params.flat() - pooled.flat()).abs().max() > 1e-3

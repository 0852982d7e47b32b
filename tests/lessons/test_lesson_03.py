"""Lesson 03: its exercises, and the round that it builds by hand."""

import cells
import lessons
import numpy as np
import pytest
import torch

from fedlab_utils import checks, data, federated

# ---------------------------------------------------------------- exercises


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "fedavg_step": {
        "counts the same": lambda u, n: u.mean(0),
        "200 times too long": lambda u, n: (n[:, None] * u).sum(0),
        "once more": lambda u, n: ((n / n.sum())[:, None] * u).mean(0),
        "added the updates up": lambda u, n: u.sum(0),
        "one number a hospital": lambda u, n: u.mean(1),
        "Small hospitals": lambda u, n: (1 / n / (1 / n).sum()) @ u,
        "With two other hospitals": lambda u, n: torch.tensor([0.05, 0.15, 0.8])[: len(u)] @ u,
    },
    "read_patient": {
        "did not fire divide": lambda dW, db: (dW / db.unsqueeze(1)).mean(0),
        "added the neurons up": lambda dW, db: (dW[db != 0] / db[db != 0].unsqueeze(1)).sum(0),
        "not yet divided": lambda dW, db: dW.sum(0),
        "counts those that did not fire": lambda dW, db: torch.nan_to_num(dW / db.unsqueeze(1)).mean(0),
    },
    "bytes_on_the_wire": {
        "one way only": lambda d, h, r: 4 * d * h * r,
        "How many bytes has": lambda d, h, r: 2 * d * h * r,
        "numbers, one way": lambda d, h, r: d * h * r,
        "counts bits": lambda d, h, r: 64 * d * h * r,
        "one hospital": lambda d, h, r: 8 * d * r,
        "one round": lambda d, h, r: 8 * d * h,
    },
    "client_start": {
        "nothing that was learnt": lambda world, fresh: fresh,
        "mixture dilutes": lambda world, fresh: (world + fresh) / 2,
        "disturbed anew": lambda world, fresh: world + fresh,
    },
}


def right_torch(updates, n_rows):
    return (n_rows / n_rows.sum()) @ updates


def right_numpy(updates, n_rows):
    return np.average(updates.numpy(), axis=0, weights=n_rows.numpy())


def right_list(updates, n_rows):
    total = sum(float(n) for n in n_rows)
    return [sum(float(n) * float(u[j]) for u, n in zip(updates, n_rows, strict=True)) / total
            for j in range(len(updates[0]))]  # fmt: skip


@pytest.mark.parametrize("right", [right_torch, right_numpy, right_list])
def test_fedavg_step_passes(right):
    assert checks.fedavg_step(right).passed


def test_fedavg_step_has_a_hint_of_its_own_for_each():
    mistakes = WRONG["fedavg_step"]
    assert len({checks.fedavg_step(wrong).message for wrong in mistakes.values()}) == len(mistakes)


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """One round of averaging, as the lesson builds it from gradients."""
    return cells.definitions(
        lessons.SOURCES / "03_federated_averaging.py", "hospitals", "rows", "gradient", "one_round"
    )


def test_one_step_of_everybody_is_a_step_on_the_pooled_rows(lesson):
    hospitals, theta = lesson["hospitals"], torch.full((lesson["hospitals"][0][0].shape[1], 1), 0.1)
    X, y = (torch.cat(part) for part in zip(*hospitals, strict=True))
    pooled = theta - 0.5 * lesson["gradient"](theta, X, y)
    torch.testing.assert_close(lesson["one_round"](theta, hospitals, steps=1, lr=0.5), pooled, atol=1e-5, rtol=0)


def test_a_round_by_hand_is_the_packages(lesson):
    run = federated.train(
        data.load("hospital_network"), rounds=3, local_steps=5, batch_size=10_000, lr=0.5, hidden=(), record=True
    )
    theta = torch.tensor(run.transcript["values"].iloc[0]).view(-1, 1)
    for _ in range(3):
        theta = lesson["one_round"](theta, lesson["hospitals"], steps=5, lr=0.5)
    torch.testing.assert_close(theta[:, 0], run.params.flat()[0], atol=1e-5, rtol=0)

"""Lesson 03: its exercises, and the round that it builds by hand."""

from dataclasses import replace

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
    "proximal_step": {
        "plain step": lambda t, g, w, lr, mu: t - lr * g,
        "pushes away": lambda t, g, w, lr, mu: t - lr * (g - mu * (t - w)),
        "weight decay": lambda t, g, w, lr, mu: t - lr * (g + mu * t),
        "pull has no": lambda t, g, w, lr, mu: t - lr * g - mu * (t - w),
        "derivative of half a square": lambda t, g, w, lr, mu: t - lr * (g + mu / 2 * ((t - w) ** 2).sum()),
        "square of the distance": lambda t, g, w, lr, mu: t - lr * (g + mu * (t - w) ** 2),
        "half as strong": lambda t, g, w, lr, mu: t - lr * (g + mu * (t - w) / 2),
        "twice as strong": lambda t, g, w, lr, mu: t - lr * (g + 2 * mu * (t - w)),
        "start from `world`": lambda t, g, w, lr, mu: w - lr * (g + mu * (t - w)),
        "up the slope": lambda t, g, w, lr, mu: t + lr * (g + mu * (t - w)),
        "That is the slope": lambda t, g, w, lr, mu: g + mu * (t - w),
        "what changes": lambda t, g, w, lr, mu: -lr * (g + mu * (t - w)),
        "Without pull": lambda t, g, w, lr, mu: t - lr * (g + 2 * (t - w)),
        "Where theta is world": lambda t, g, w, lr, mu: t - 0.1 * (g + mu * (t - w)),
    },
    "read_patient": {
        "did not fire divide": lambda dW, db: (dW / db.unsqueeze(1)).mean(0),
        "added the neurons up": lambda dW, db: (dW[db != 0] / db[db != 0].unsqueeze(1)).sum(0),
        "not yet divided": lambda dW, db: dW.sum(0),
        "of the neurons that fired": lambda dW, db: dW[db != 0].mean(0),
        "one neuron's change": lambda dW, db: dW[db.abs().argmax()],
        "counts those that did not fire": lambda dW, db: torch.nan_to_num(dW / db.unsqueeze(1)).mean(0),
        "`db[:, None]`": lambda dW, db: dW / db,
        "second axis": lambda dW, db: dW.numpy()[db != 0] / db.numpy()[db != 0],
        "other way round": lambda dW, db: (db[db != 0].unsqueeze(1) / dW[db != 0]).mean(0),
        "take one": lambda dW, db: dW[db != 0] / db[db != 0].unsqueeze(1),
        "of either sign": lambda dW, db: dW[db.argmax()] / db.max() if db.max() > 0 else dW[db.argmin()],
        "other neurons fired": lambda dW, db: dW[2] / db[2],
        "the next patient": lambda dW, db: torch.tensor([0.5, -1.25, 2.0, 1.0]),
        "not finite": lambda dW, db: (dW[db > 0] / db[db > 0].unsqueeze(1)).mean(0),
    },
    "bytes_on_the_wire": {
        "one way only": lambda d, h, r: 4 * d * h * r,
        "How many bytes has": lambda d, h, r: 2 * d * h * r,
        "numbers, one way": lambda d, h, r: d * h * r,
        "counts bits: ": lambda d, h, r: 64 * d * h * r,
        "counts bits, one way": lambda d, h, r: 32 * d * h * r,
        "one hospital": lambda d, h, r: 8 * d * r,
        "one round": lambda d, h, r: 8 * d * h,
        "For 10 parameters": lambda d, h, r: 8 * 385 * 5 * 20,
    },
    "client_start": {
        "nothing that was learnt": lambda world, fresh: fresh,
        "mixture dilutes": lambda world, fresh: (world + fresh) / 2,
        "disturbed anew": lambda world, fresh: world + fresh,
        "go on from": lambda world, fresh: world - fresh,
        "begin with": lambda world, fresh: fresh - world,
        "All zeros": lambda world, fresh: np.zeros_like(world),
        "In a later round": lambda world, fresh: np.array([1.0, 2.0, 3.0]),
    },
    "benefit_at": {
        "exactly the threshold": lambda r, y, t: (
            (((r > t) & (y == 1)).sum() - ((r > t) & (y == 0)).sum() * odds(t)) / len(r)
        ),
        "four of them weigh": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t)) / len(r),
        "costs t / (1 - t)": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t) * t) / len(r),
        "odds are upside down": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t) / odds(t)) / len(r),
        "divide by how many": lambda r, y, t: hits(r, y, t) - alarms(r, y, t) * odds(t),
        "divided by the ill": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t) * odds(t)) / y.sum(),
        "ill who are missed": lambda r, y, t: (hits(r, y, t) - (y.sum() - hits(r, y, t)) * odds(t)) / len(r),
        "added the cost": lambda r, y, t: (hits(r, y, t) + alarms(r, y, t) * odds(t)) / len(r),
        "what finding them costs": lambda r, y, t: hits(r, y, t) / len(r),
        "in percent": lambda r, y, t: 100 * (hits(r, y, t) - alarms(r, y, t) * odds(t)) / len(r),
        "1/4 of a threshold": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t) / 4) / len(r),
        "At a threshold of 50%": lambda r, y, t: (hits(r, y, 0.2) - alarms(r, y, 0.2) * odds(0.2)) / len(r),
        "by those who are treated": lambda r, y, t: (hits(r, y, t) - alarms(r, y, t) * odds(t)) / (r >= t).sum(),
        "whatever their risk": lambda r, y, t: (y.sum() - (1 - y).sum() * odds(t)) / len(r),
        "all of the healthy": lambda r, y, t: (hits(r, y, t) - (1 - y).sum() * odds(t)) / len(r),
        "changed places": lambda r, y, t: (alarms(r, y, t) - hits(r, y, t) * odds(t)) / len(r),
    },
}


def odds(threshold):
    return threshold / (1 - threshold)


def hits(risk, ill, threshold):
    return ((risk >= threshold) & (ill == 1)).sum()


def alarms(risk, ill, threshold):
    return ((risk >= threshold) & (ill == 0)).sum()


def right_torch(updates, n_rows):
    return (n_rows / n_rows.sum()) @ updates


def right_numpy(updates, n_rows):
    return np.average(updates.numpy(), axis=0, weights=n_rows.numpy())


def right_list(updates, n_rows):
    total = sum(float(n) for n in n_rows)
    return [sum(float(n) * float(u[j]) for u, n in zip(updates, n_rows, strict=True)) / total
            for j in range(len(updates[0]))]  # fmt: skip


def each_number(theta, gradient, world, lr, mu):
    return [float(t - lr * (g + mu * (t - w))) for t, g, w in zip(theta, gradient, world, strict=True)]


def by_autograd(theta, gradient, world, lr, mu):
    at = torch.tensor(theta, requires_grad=True)
    penalty = mu / 2 * ((at - torch.tensor(world)) ** 2).sum() + (torch.tensor(gradient) * at).sum()
    penalty.backward()
    return at - lr * at.grad


def the_most_telling_neuron(dW, db):
    j = db.abs().argmax()
    return dW[j] / db[j]


def by_least_squares(dW, db):
    return (dW.T @ db) / (db @ db)


def first_that_fired(dW, db):
    for row, change in zip(dW.tolist(), db.tolist(), strict=True):
        if change != 0:
            return [value / change for value in row]


def benefit_by_loop(risk, ill, threshold):
    total = 0.0
    for r, y in zip(risk, ill, strict=True):
        if r >= threshold:
            total += 1 if y == 1 else -threshold / (1 - threshold)
    return total / len(risk)


RIGHT = {
    "fedavg_step": [right_torch, right_numpy, right_list],
    "proximal_step": [
        lambda t, g, w, lr, mu: t - lr * (g + mu * (t - w)),
        lambda t, g, w, lr, mu: (1 - lr * mu) * t + lr * mu * w - lr * g,
        each_number,
        by_autograd,
    ],
    "read_patient": [
        the_most_telling_neuron,
        by_least_squares,
        first_that_fired,
        lambda dW, db: (dW[db != 0] / db[db != 0][:, None]).median(0).values,
        lambda dW, db: dW.numpy()[np.flatnonzero(db)[:1]] / db.numpy()[np.flatnonzero(db)[0]],
    ],
    "bytes_on_the_wire": [
        lambda d, h, r: 8 * d * h * r,
        lambda d, h, r: sum(2 * 4 * d for _ in range(r) for _ in range(h)),
        lambda d, h, r: np.float32(0).nbytes * np.prod([d, h, r, 2]),
    ],
    "client_start": [
        lambda world, fresh: world,
        lambda world, fresh: world.copy(),
        lambda world, fresh: [w for w in world],
        lambda world, fresh: torch.tensor(world),
    ],
    "benefit_at": [
        benefit_by_loop,
        lambda r, y, t: np.mean((r >= t) * (y - (1 - y) * odds(t))),
        lambda r, y, t: torch.tensor((hits(r, y, t) - alarms(r, y, t) * odds(t)) / len(r)),
        lambda r, y, t: [(hits(r, y, t) - odds(t) * alarms(r, y, t)) / r.size],
    ],
}


def test_fedavg_step_has_a_hint_of_its_own_for_each():
    mistakes = WRONG["fedavg_step"]
    assert len({checks.fedavg_step(wrong).message for wrong in mistakes.values()}) == len(mistakes)


# ---------------------------------------------------------------- what the lesson says


def test_one_small_model_travels_in_about_as_many_bytes_as_all_rows_would():
    made = cells.definitions(lessons.SOURCES / "03_federated_averaging.py", "sent_in_all", "rows_as_bytes")
    assert 0.7 < made["sent_in_all"] / made["rows_as_bytes"] < 1.3


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


def test_a_walk_on_a_spring_is_the_packages():
    source = lessons.SOURCES / "03_federated_averaging.py"
    spaces, step = cells.definitions(source, "hospitals", "rows", "gradient"), cells.solutions(source)["proximal_step"]
    settings = dict(rounds=3, local_steps=5, batch_size=10_000, lr=0.5, hidden=(), proximal=0.7)
    run = federated.train(data.load("hospital_network"), record=True, **settings)
    theta = torch.tensor(run.transcript["values"].iloc[0]).view(-1, 1)
    for _ in range(3):
        world, models = theta, []
        for X, y in spaces["hospitals"]:
            here = world
            for _ in range(5):
                here = step(here, spaces["gradient"](here, X, y), world, 0.5, 0.7)
            models.append(here)
        theta = sum(n * m for n, m in zip(spaces["rows"], models, strict=True)) / spaces["rows"].sum()
    torch.testing.assert_close(theta[:, 0], run.params.flat()[0], atol=1e-5, rtol=0)


def test_a_hospital_left_out_is_no_part_of_the_training():
    made = cells.definitions(lessons.SOURCES / "03_federated_averaging.py", "trained_without", "splits", "work")
    splits, work = made["splits"][:2], made["work"] | {"rounds": 2}
    made["trained_without"].__globals__.update(splits=splits, work=work)
    found = made["trained_without"](4)
    run = federated.train([replace(one, hospitals=one.hospitals[:4]) for one in splits], **work)
    for s, one in enumerate(splits):
        h = one.hospitals[4]
        risk = run[s].predict_proba(h.X_test)[:, 1].numpy()
        ill = h.y_test[:, 0].numpy() == 1
        pairs = risk[ill][:, None] - risk[~ill]
        assert found[s] == pytest.approx((pairs > 0).mean() + (pairs == 0).mean() / 2, abs=1e-6)


def test_one_number_a_hospital_moves_the_auc_over_all_and_none_within():
    splits = [one.repartition(5, alpha=0.5, seed=0) for one in data.replicates("hospital_network", 2)]
    run = federated.train(splits, rounds=10, local_steps=20, batch_size=64, lr=0.2, hidden=(16,))
    before, after = (
        federated.clinical(model, splits, threshold=0.2).set_index(["hospital", "seed"])
        for model in (run, federated.recalibrated(run, splits))
    )
    assert (after.loc["all", "auc"] - before.loc["all", "auc"]).min() > 0.05
    assert np.abs(after.loc["all", "auc_within"] - before.loc["all", "auc_within"]).max() < 1e-4
    assert before.loc["Hospital 2", "missed"].min() > 0.3 and after.loc["Hospital 2", "missed"].max() < 0.1

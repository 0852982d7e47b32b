"""Lesson 09: its exercises, what it builds by hand, and what it says about subtraction, search, chance and defences."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import attacks, data, fleet, plots
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def between(dW, db, w, j, k):
    return (dW[j] / w[j] - dW[k] / w[k]) / (db[j] / w[j] - db[k] / w[k])


def over_chance(truth, guess, strangers, right):
    return right(truth, guess) - np.mean([right(truth, draw) for draw in strangers])


def walk(gradient, theta, X, y, steps, lr):
    end = theta
    for _ in range(steps):
        end = end - lr * gradient(end, X, y)
    return end


def uphill(gradient, theta, X, y, steps, lr):
    return walk(lambda *at: -gradient(*at), theta, X, y, steps, lr) - theta


def in_place(gradient, theta, X, y, steps, lr):
    here = theta
    for _ in range(steps):
        here -= lr * gradient(here, X, y)
    return here - theta


def many(truth, strangers, right):
    return [right(truth, draw) for draw in strangers]


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "patient_between": {
        "different weights": lambda dW, db, w, j, k: (dW[j] - dW[k]) / (db[j] - db[k]),
        "s times the patient": lambda dW, db, w, j, k: dW[j] / w[j] - dW[k] / w[k],
        "You multiply by `w`": lambda dW, db, w, j, k: between(dW, db, 1 / w, j, k),
        "`db` holds the outgoing weight": lambda dW, db, w, j, k: (dW[j] / w[j] - dW[k] / w[k]) / (db[j] - db[k]),
        "`dW` holds the outgoing weight": lambda dW, db, w, j, k: (dW[j] - dW[k]) / (db[j] / w[j] - db[k] / w[k]),
        "difference of two mixtures": lambda dW, db, w, j, k: dW[j] / db[j] - dW[k] / db[k],
        "neuron `j` by itself": lambda dW, db, w, j, k: dW[j] / db[j],
        "neuron `k` by itself": lambda dW, db, w, j, k: dW[k] / db[k],
        "where patients should cancel": lambda dW, db, w, j, k: (
            (dW[j] / w[j] + dW[k] / w[k]) / (db[j] / w[j] + db[k] / w[k])
        ),
        "The sign is turned": lambda *given: -between(*given),
        "Upside down": lambda *given: 1 / between(*given),
        "Of two other neurons": lambda dW, db, w, j, k: between(dW, db, w, 0, 2),
    },
    "above_chance": {
        "nothing taken off": lambda t, g, s, right: right(t, g),
        "chance alone": lambda t, g, s, right: np.mean(many(t, s, right)),
        "other way round": lambda *given: -over_chance(*given),
        "That is a ratio": lambda t, g, s, right: right(t, g) / np.mean(many(t, s, right)),
        "luckiest draw": lambda t, g, s, right: right(t, g) - max(many(t, s, right)),
        "unluckiest draw": lambda t, g, s, right: right(t, g) - min(many(t, s, right)),
        "One draw is a single try": lambda t, g, s, right: right(t, g) - right(t, s[0]),
        "sum of the draws": lambda t, g, s, right: right(t, g) - sum(many(t, s, right)),
        "with the *guesses*": lambda t, g, s, right: right(t, g) - np.mean(many(g, s, right)),
        "chance leaves to be won": lambda t, g, s, right: (
            over_chance(t, g, s, right) / (1 - np.mean(many(t, s, right)))
        ),
        "blend the draws": lambda t, g, s, right: right(t, g) - right(t, s.mean(0)),
        "the middle draw": lambda t, g, s, right: right(t, g) - np.median(many(t, s, right)),
        "worse than chance": lambda *given: max(0, over_chance(*given)),
        "blind coin": lambda t, g, s, right: right(t, g) - 0.5,
        "One number": lambda t, g, s, right: [right(t, g) - one for one in many(t, s, right)],
        "as many rows": lambda t, g, s, right: right(t, g) - right(t, s.reshape(-1, s.shape[2])),
    },
    "flattering": {
        "for each letter": set(),
        "A pairs both": {"A", "B"},
        "what does its control say": {"B", "C", "D"},
        "does not even look at the batch": {"D"},
        "with its chance": {"B"},
        "none of the letters": {"B", "E"},
    },
    "as_it_walked": {
        "one long step": lambda f, t, X, y, n, lr: -lr * n * f(t, X, y),
        "a single step": lambda f, t, X, y, n, lr: -lr * f(t, X, y),
        "gradient at the start": lambda f, t, X, y, n, lr: f(t, X, y),
        "where the walk ends": walk,
        "The sign is turned": lambda f, t, *given: t - walk(f, t, *given),
        "Uphill": uphill,
        "divide by `lr`.": lambda f, t, X, y, n, lr: (walk(f, t, X, y, n, lr) - t) / lr,
        "divide by `steps`": lambda f, t, X, y, n, lr: (walk(f, t, X, y, n, lr) - t) / n,
        "a mean gradient": lambda f, t, X, y, n, lr: (t - walk(f, t, X, y, n, lr)) / n / lr,
        "One step is missing": lambda f, t, X, y, n, lr: walk(f, t, X, y, n - 1, lr) - t,
        "nothing is left to take away": in_place,
        "After one step": lambda f, t, X, y, n, lr: walk(f, t, X, y, 6, lr) - t,
    },
}


def between_in_torch(dW, db, w, j, k):
    dW, db, w = (torch.tensor(t) for t in (dW, db, w))
    sums, counts = dW / w[:, None], db / w
    return sums[j].sub(sums[k]).div(counts[j] - counts[k])


def between_by_loops(dW, db, w, j, k):
    s = db[k] / w[k] - db[j] / w[j]
    return [(b / w[k] - a / w[j]) / s for a, b in zip(dW[j], dW[k], strict=True)]


def recursive(gradient, theta, X, y, steps, lr):
    if steps == 0:
        return 0 * theta
    first = -lr * gradient(theta, X, y)
    return first + recursive(gradient, theta + first, X, y, steps - 1, lr)


RIGHT = {
    "patient_between": [between_in_torch, between_by_loops, lambda *given: pd.Series(between(*given))],
    "above_chance": [
        lambda t, g, s, right: torch.tensor(over_chance(t, g, s, right)),
        lambda t, g, s, right: np.mean([right(t, g) - one for one in many(t, s, right)]),
        lambda t, g, s, right: [over_chance(t, g, s, right)],
    ],
    "flattering": [{"B", "D"}, ["d", "b"], "B, D"],
    "as_it_walked": [
        recursive,
        lambda f, t, *given: torch.tensor(walk(f, t, *given) - t),
        lambda f, t, *given: list(walk(f, t.copy(), *given) - t),
    ],
}

# ---------------------------------------------------------------- what the lesson builds by hand

SOURCE = lessons.SOURCES / "09_reading_updates.py"


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions, without its long runs."""
    short = "one_step read_step share_read status fields_right matched share_right share_whole strangers_for"
    return cells.definitions(SOURCE, *short.split(), "rounded", "three_attackers")


def test_a_neuron_is_a_sum_of_those_for_whom_it_fired(lesson):
    nets, updates, X, y = lesson["one_step"](6, batches=3)
    for b in range(3):
        W, c, w = nets.weights[0][b].double(), nets.biases[0][b].double(), nets.weights[1][b, 0].double()
        hidden = X[b].double() @ W.T + c
        s = (torch.sigmoid(hidden.relu() @ w + nets.biases[1][b].double()) - y[b, :, 0]) / 6
        fired = (hidden > 0).double().T
        sums = fired @ (s[:, None] * X[b].double())
        torch.testing.assert_close(updates.weights[0][b].double() / w[:, None], sums, rtol=0, atol=2e-5)
        torch.testing.assert_close(updates.biases[0][b].double() / w, fired @ s, rtol=0, atol=2e-5)


def test_two_neurons_of_a_real_step_give_the_patient_between(lesson):
    nets, updates, X, _ = lesson["one_step"](8)
    net, dW, db = nets[[0]], updates.weights[0][0], updates.biases[0][0]
    fired = (X[0] @ net.weights[0][0].T + net.biases[0][0] > 0).T
    more = fired[:, None] & ~fired[None]
    pairs = ((more.sum(2) == 1) & (more.sum(2).T == 0)).nonzero().tolist()
    answer = cells.solutions(SOURCE)["patient_between"]
    assert len(pairs) > 5
    for j, k in pairs:
        patient = X[0, int(more[j, k].nonzero())]
        read = answer(dW.double(), db.double(), net.weights[1][0, 0].double(), j, k)
        torch.testing.assert_close(read, patient.double(), rtol=0, atol=0.05)


def test_pairs_read_a_batch_of_eight_that_single_neurons_do_not(lesson):
    pairs, alone = (lesson["share_read"](8, 32, way)[:, 0].mean() for way in (True, False))
    assert pairs > 0.8 and alone < 0.5
    assert lesson["share_read"](64, 32, True)[:, 0].mean() < 0.02


def test_the_measure_is_the_packages(lesson):
    nets, updates, X, _ = lesson["one_step"](6, batches=4)
    guesses = X + 0.3 * torch.randn(X.shape, generator=torch.Generator().manual_seed(0))
    read = attacks.reading(X, guesses, data.load("hospital_network"))
    assert np.mean([*map(lesson["share_right"], X, guesses)]) == pytest.approx(read.right, abs=1e-6)
    assert np.mean([*map(lesson["share_whole"], X, guesses)]) == pytest.approx(read.whole, abs=1e-6)


def test_who_sees_nothing_has_no_skill_and_most_of_the_share_in_large_batches(lesson):
    _, _, X, _ = lesson["one_step"](32, batches=3)
    others, draws = lesson["strangers_for"](32, 6), lesson["strangers_for"](32, 6, seed=1)
    answer = cells.solutions(SOURCE)["above_chance"]
    skill = [answer(x, draw, others, lesson["share_right"]) for x in X for draw in draws]
    assert abs(np.mean(skill)) < 0.02
    assert 0.5 < np.mean([lesson["share_right"](x, draw) for x in X for draw in draws]) < 0.7


def test_a_sum_of_hospitals_is_a_batch_of_all_their_patients(lesson):
    nets, together, X, y = lesson["one_step"](6, batches=1)
    parts = [
        fleet.gradients(nets, X[:, at], y[:, at], torch.full((1, 2), 0.5), loss="binary").flat()
        for at in ([0, 1], [2, 3], [4, 5])
    ]
    torch.testing.assert_close(sum(parts) / 3, together.flat(), rtol=0, atol=1e-6)


def test_rounding_keeps_so_many_levels(lesson):
    _, updates, *_ = lesson["one_step"](2, batches=2)
    for bits in (8, 4):
        levels = {len(t[0].unique()) for t in lesson["rounded"](updates, bits).tensors()}
        assert max(levels) <= 2**bits - 1
    assert lesson["rounded"](updates, 32) is updates
    assert set(lesson["rounded"](updates, 1).weights[0][0].abs().unique().tolist()) <= {
        0.0,
        float(updates.weights[0][0].abs().max()),
    }


def test_without_noise_all_three_read_the_patient_and_under_it_the_naive_one_falls_first(lesson):
    nets, updates, X, _ = lesson["one_step"](1, width=128, batches=200)
    w, unit = nets.weights[1][:, 0], updates.flat().norm(dim=1)
    about = dict(mean=torch.zeros(X.shape[2]), var=torch.ones(X.shape[2]))
    noise = torch.Generator().manual_seed(0)
    right = {}
    for sigma in (0.0, 0.01):
        dW, db = updates.weights[0] / unit[:, None, None], updates.biases[0] / unit[:, None]
        dW, db = (t + sigma * torch.randn(t.shape, generator=noise) for t in (dW, db))
        for name, guess in lesson["three_attackers"](dW, db, w, sigma, **about).items():
            right[name, sigma] = float(lesson["fields_right"](X[:, 0], guess).float().mean())
    assert min(right[name, 0.0] for name in ("naive", "knows w", "and shrinks")) > 0.98
    assert right["naive", 0.01] + 0.2 < right["knows w", 0.01] <= right["and shrinks", 0.01] + 0.01


def test_no_stranger_is_one_patient_in_a_hundred(lesson):
    """The chance that the bound starts from is none that was chosen low."""
    pool = data.load("hospital_network").pooled()
    others, people = lesson["strangers_for"](200, 1)[0], pool.X_train[:2000]
    whole = [float(lesson["fields_right"](people, one).all(1).float().mean()) for one in others]
    assert max(whole) < 0.01


def test_the_search_reads_what_rounding_hides_from_subtraction(lesson):
    nets, updates, X, _ = lesson["one_step"](2, batches=6, seed=2)
    seen = lesson["rounded"](updates, 8)
    found = [torch.cdist(X[b], lesson["read_step"](nets[[b]], seen[[b]])).lt(0.1).any(1) for b in range(6)]
    rows = attacks.invert(nets, seen, 2, federation=data.load("hospital_network"), restarts=4, steps=300).rows
    assert torch.stack(found).float().mean() < 0.5 < np.mean([*map(lesson["share_whole"], X, rows)])


def test_walking_along_makes_the_update_of_a_hospital(lesson):
    """The exercise's solution on the flat parameters of a network, against the package's training."""
    nets, _, X, y = lesson["one_step"](3, batches=1)
    after = fleet.fit(nets, X[0], y[0], [[0, 1, 2]], steps=5, batch_size=3, lr=0.2)

    def gradient(theta, X, y):
        return fleet.gradients(nets.like(theta), X, y, torch.full((1, 3), 1 / 3), loss="binary").flat()

    change = cells.solutions(SOURCE)["as_it_walked"](gradient, nets.flat(), X, y, 5, 0.2)
    torch.testing.assert_close(change, after.flat() - nets.flat(), rtol=0, atol=1e-6)


def test_a_normal_round_reads_nobody():
    federation = data.load("hospital_network")
    start = fleet.init(5, (federation.n_features, 32, 1), seed=3)
    pool, sizes = federation.pooled(), [len(h.y_train) for h in federation.hospitals]
    rows = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    end = fleet.fit(start, pool.X_train, pool.y_train, rows, steps=20, batch_size=64, lr=0.2)
    found = attacks.read_batch(start, start.map(lambda old, new: (old - new) / 4, end), federation)
    near = [torch.cdist(h.X_train, found.of(k).rows) < 0.1 for k, h in enumerate(federation.hospitals)]
    assert sum(int(one.any(1).sum()) for one in near) == 0


# ---------------------------------------------------------------- figures


def test_figures_draw():
    federation = data.load("hospital_network")
    rows = federation.hospitals[0].X_train[:8]
    shares = {name: np.linspace(0, 1, 12).reshape(3, 4) for name in ("naive", "knows w")}
    truth = rows.numpy().copy()
    read = truth.copy()
    read[2] = np.nan
    made = [
        plots.cards(federation, [*rows[:3], None, rows[4]]),
        plots.who_is_inside(np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1]]), [2, 0, 1], (0, 1)),
        plots.noise_and_reading([0.01, 0.1, 1.0], shares, shares, blind=(0.4, 0.01), bound=[1, 0.9, 0.1]),
        plots.cell_by_cell(truth, read, [True] * 2 + [False] * 6, federation.feature_names),
        plots.cell_by_cell(np.tile(truth, (10, 1)), np.full((80, 11), np.nan), [False] * 80, federation.feature_names),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_a_card_says_the_record_in_clinical_units():
    federation = data.load("hospital_network")
    hospital = federation.hospitals[0]
    at = next(k for k in range(50) if hospital.train.iloc[k].notna().all())
    fig = plots.cards(federation, [hospital.X_train[at], None])
    words, record = " ".join(t.get_text() for t in fig.axes[0].texts), hospital.train.iloc[at]
    assert f"age {record['age']:.0f}" in words and f"bmi {record['bmi']:.0f}" in words
    assert f"smoked {record['smoker']}" in words and f"diabetes {record['diabetes']}" in words
    assert words.endswith("patient 2 ?")

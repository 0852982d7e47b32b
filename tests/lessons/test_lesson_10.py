"""Lesson 10: its exercises, what it builds by hand, and what it says about drift, contests, odd hospitals and bytes."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import data, federated, plots
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def pace(sent, returned, steps, lr):
    return (sent - returned) / (steps * lr)


def whole(update, owed, shrink):
    sent = shrink(update + owed)
    return sent, update + owed - sent


def adam(mean, moment, square, lr, betas, tau):
    m, v = betas[0] * moment + (1 - betas[0]) * mean, betas[1] * square + (1 - betas[1]) * mean**2
    return lr * m / (v**0.5 + tau), m, v


def adam_but(change=None, moment=None, square=None):
    """An answer with one part of it wrong: functions of the right answer and of what went in."""

    def answer(mean, m, v, lr, betas, tau):
        right = adam(mean, m, v, lr, betas, tau)
        wrong = (change, moment, square)
        return [f(mean, m, v, lr, betas, tau, *right) if f else r for f, r in zip(wrong, right, strict=True)]

    return answer


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "control_variate": {
        "with the corrections in it": lambda o, c, s, r, n, lr: pace(s, r, n, lr),
        "Both corrections are turned": lambda o, c, s, r, n, lr: pace(s, r, n, lr) - o + c,
        "Uphill": lambda o, c, s, r, n, lr: o - c - pace(s, r, n, lr),
        "the whole way": lambda o, c, s, r, n, lr: o - c + s - r,
        "where is `lr`": lambda o, c, s, r, n, lr: o - c + (s - r) / n,
        "where is `steps`": lambda o, c, s, r, n, lr: o - c + (s - r) / lr,
        "multiply by `lr`": lambda o, c, s, r, n, lr: o - c + (s - r) * lr / n,
        "a longer walk": lambda o, c, s, r, n, lr: o - c + (s - r) * lr * n,
        "common control variate was added": lambda o, c, s, r, n, lr: o + pace(s, r, n, lr),
        "own one was taken": lambda o, c, s, r, n, lr: pace(s, r, n, lr) - c,
        "Nothing of this round": lambda o, c, s, r, n, lr: o - c,
        "correction of the coming steps": lambda o, c, s, r, n, lr: c - o,
        "After a first round of 4 steps": lambda o, c, s, r, n, lr: o - c + (s - r) / 5,
    },
    "drifting_teams": {
        "D is the definition": {"A", "C", "D"},
        "B looks odd": {"A", "B"},
        "for each letter": set(),
        "everybody there*. One team": {"C"},
        "who else misses": {"A"},
        "none of the letters": {"A", "E"},
    },
    "with_feedback": {
        "*before* shrinking": lambda u, o, f: (f(u), u + o - f(u)),
        "You send everything": lambda u, o, f: (u + o, 0 * u),
        "forget the update": lambda u, o, f: (f(o), u + o - f(o)),
        "so it is added": lambda u, o, f: (f(u - o), u - o - f(u - o)),
        "*after* shrinking": lambda u, o, f: (f(u) + o, u - f(u)),
        "two numbers travel": lambda u, o, f: (f(u) + f(o), u + o - f(u) - f(o)),
        "in the other order": lambda u, o, f: whole(u, o, f)[::-1],
        "the old debt included": lambda u, o, f: (f(u + o), u - f(u + o)),
        "sign is turned round": lambda u, o, f: (f(u + o), f(u + o) - u - o),
        "a second time": lambda u, o, f: (f(u + o), o + u + o - f(u + o)),
        "Nothing is owed": lambda u, o, f: (f(u + o), 0 * u),
        "owe everything": lambda u, o, f: (f(u + o), u + o),
        "stays as it was": lambda u, o, f: (f(u + o), o),
        "Owed is what was *not*": lambda u, o, f: (f(u + o), f(u + o)),
        "Two things come back": lambda u, o, f: f(u + o),
    },
    "adam_server": {
        "first one is the moment": adam_but(moment=lambda d, m, v, lr, b, tau, *_: b[1] * m + (1 - b[1]) * d),
        "of the old moment `beta`": adam_but(moment=lambda d, m, v, lr, b, tau, *_: b[0] * d + (1 - b[0]) * m),
        "momentum of SGD": adam_but(moment=lambda d, m, v, lr, b, tau, *_: b[0] * m + d),
        "second one is the square": adam_but(square=lambda d, m, v, lr, b, tau, *_: b[0] * v + (1 - b[0]) * d**2),
        "you square the moment": adam_but(square=lambda d, m, v, lr, b, tau, c, new, _: b[1] * v + (1 - b[1]) * new**2),
        "forgot to square": adam_but(square=lambda d, m, v, lr, b, tau, *_: b[1] * v + (1 - b[1]) * d),
        "already goes downhill": adam_but(change=lambda d, m, v, lr, b, tau, c, *_: -c),
        "Where is `lr`": adam_but(change=lambda d, m, v, lr, b, tau, c, *_: c / lr),
        "the square itself": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1 / (v1 + tau)),
        "added to the root": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1 / (v1 + tau) ** 0.5),
        "the square before": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1 / (v**0.5 + tau)),
        "by this round's mean": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * d / (v1**0.5 + tau)),
        "Where is `tau`": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1 / v1**0.5),
        "a step of momentum": adam_but(change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1),
        "correct for the zeros": adam_but(
            change=lambda d, m, v, lr, b, tau, c, m1, v1: lr * m1 / (1 - b[0]) / ((v1 / (1 - b[1])) ** 0.5 + tau)
        ),
        "Three things come back": lambda *given: adam(*given)[0],
        "other betas and tau": lambda d, m, v, lr, b, tau: adam(d, m, v, lr, (0.9, 0.99), tau),
    },
}


def variate_by_loops(own, common, sent, returned, steps, lr):
    return [o - c + (s - r) / steps / lr for o, c, s, r in zip(own, common, sent, returned, strict=True)]


def feedback_in_place(update, owed, shrink):
    owed += update
    sent = shrink(owed)
    owed -= sent
    return [torch.tensor(sent), owed]


def adam_in_torch(mean, moment, square, lr, betas, tau):
    mean, moment, square = (torch.tensor(x) for x in (mean, moment, square))
    moment = torch.lerp(mean, moment, betas[0])
    square = betas[1] * square + (1 - betas[1]) * mean.square()
    return moment.div(square.sqrt() + tau).mul(lr), moment, square


RIGHT = {
    "control_variate": [
        variate_by_loops,
        lambda o, c, s, r, n, lr: torch.tensor(o - c) + torch.tensor((s - r) / (lr * n)),
        lambda own, common, sent, returned, steps, lr: pd.Series((sent - returned) / lr / steps + own - common),
    ],
    "drifting_teams": [{"A", "C"}, ["c", "a"], "A, C"],
    "with_feedback": [
        feedback_in_place,
        lambda u, o, f: (f(torch.tensor(u + o)), u + o - np.asarray(f(torch.tensor(u + o)))),
        lambda u, o, f: np.stack(whole(u, o, f)),
    ],
    "adam_server": [
        adam_in_torch,
        adam,
        lambda d, m, v, lr, b, tau: tuple(pd.Series(part) for part in adam(d, m, v, lr, b, tau)),
    ],
}


# ---------------------------------------------------------------- what the lesson builds by hand


SOURCE = lessons.SOURCES / "10_hospitals_that_differ.py"


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions and small tables, without its long runs."""
    short = "hospitals share zero walk pooled averaged weighted corrected with_momentum teams everyone one_a_round end"
    return cells.definitions(SOURCE, *short.split(), "odd_harbour", "log_loss")


def far(lesson, theta):
    return float((theta - lesson["pooled"]).norm())


def test_averaging_drifts_from_the_pooled_optimum_to_the_mean_of_own_optima(lesson):
    off = [far(lesson, lesson["averaged"](steps)) for steps in (1, 2, 5, 20)]
    assert off[0] < 1e-3 and off == sorted(off) and off[-1] > 0.3
    own = torch.stack([lesson["walk"](lesson["zero"], *h, 1000) for h in lesson["hospitals"]])
    assert (lesson["averaged"](300, rounds=8) - lesson["share"] @ own).norm() < 0.01


def test_only_the_correction_ends_elsewhere(lesson):
    for steps in (2, 10):
        plain = lesson["averaged"](steps)
        assert (lesson["with_momentum"](steps) - plain).norm() < 1e-3
        assert far(lesson, lesson["corrected"](steps)) < 1e-6 < 0.01 < far(lesson, plain)


def test_teams_are_told_apart_by_where_they_end_with_everybody_and_with_one_a_round(lesson):
    missed = {
        name: {k for k in "ABCD" if lesson["end"](k, lesson[name]) > 0.01} for name in ("everyone", "one_a_round")
    }
    assert missed == {"everyone": {"A"}, "one_a_round": {"A", "C"}}


def test_the_solution_makes_what_the_package_makes():
    """SCAFFOLD by hand with the exercise's line, on hospitals of the network, full batches."""
    variate = cells.solutions(SOURCE)["control_variate"]
    federation, (steps, lr, rounds) = data.load("hospital_network"), (5, 0.5, 4)
    about = dict(rounds=rounds, local_steps=steps, batch_size=10_000, lr=lr, hidden=(), record=True)
    run = federated.train(federation, strategy="scaffold", **about)
    theta = torch.tensor(run.transcript["values"].iloc[0]).double()
    rows = torch.tensor([len(h.y_train) for h in federation.hospitals]).double()
    share, own, common = rows / rows.sum(), torch.zeros(5, len(theta)).double(), torch.zeros(len(theta)).double()
    for _ in range(rounds):
        ends = []
        for h, mine in zip(federation.hospitals, own, strict=True):
            X, end = torch.cat([h.X_train, torch.ones(len(h.X_train), 1)], 1).double(), theta
            for _ in range(steps):
                gradient = X.T @ (torch.sigmoid(X @ end) - h.y_train[:, 0]) / len(X)
                end = end - lr * (gradient - mine + common)
            ends.append(end)
        own = torch.stack([variate(o, common, theta, e, steps, lr) for o, e in zip(own, ends, strict=True)])
        theta, common = share @ torch.stack(ends), share @ own
    torch.testing.assert_close(run.params.flat()[0].double(), theta, rtol=0, atol=1e-5)


def test_what_is_sent_and_what_is_owed_lose_nothing_for_good():
    feedback = cells.solutions(SOURCE)["with_feedback"]
    rng, owed, arrived = np.random.default_rng(0), np.zeros(50), 0
    updates = rng.normal(size=(30, 50))
    rule = federated.TopK(0.1)
    for update in updates:
        sent, owed = feedback(update, owed, lambda v: rule.shrink(torch.tensor(v)[None], []).numpy()[0])
        arrived = arrived + sent
        assert np.count_nonzero(sent) == 5
    np.testing.assert_allclose(arrived + owed, updates.sum(0))


def test_adam_by_hand_is_the_packages():
    by_hand = cells.solutions(SOURCE)["adam_server"]
    rule, g = federated.FedAdam(), torch.Generator().manual_seed(0)
    state, moment, square = rule.start(1, 5, 8), torch.zeros(8), torch.zeros(8)
    for _ in range(4):
        mean = torch.randn(1, 8, generator=g) / 10
        direction, state = rule.step(mean, state, None)
        change, moment, square = by_hand(mean[0], moment, square, 0.1, (0.9, 0.99), 1e-3)
        torch.testing.assert_close(0.1 * direction[0], change)


def test_odd_harbour_has_two_columns_turned_round_and_nothing_else(lesson):
    before = data.load("hospital_network")
    after = lesson["odd_harbour"](before)
    for old, new in zip(before.hospitals[:-1], after.hospitals[:-1], strict=True):
        assert old is new
    for part in ("X_train", "X_test"):
        old, new = (getattr(f.hospitals[-1], part) for f in (before, after))
        turned = {before.feature_names[j] for j in torch.where((old != new).any(0))[0]}
        assert turned == {"age", "systolic_bp"} and torch.equal(old.abs(), new.abs())


def test_log_loss_is_that_of_the_field(lesson):
    from sklearn.metrics import log_loss

    risk, ill = np.array([0.2, 0.9, 0.5, 0.01]), np.array([0, 1, 1, 0])
    assert lesson["log_loss"](risk, ill) == pytest.approx(log_loss(ill, risk))


# ---------------------------------------------------------------- what the lesson says

USUAL = dict(rounds=20, local_steps=20, batch_size=64, hidden=(32,))


def test_averaging_once_tuned_is_level_with_scaffold_in_auc_and_not_in_loss():
    """On other deals than the lesson's; the two numbers that are refitted stand in the benchmark."""
    torn = [one.repartition(5, alpha=0.1, seed=50 + k) for k, one in enumerate(data.replicates("hospital_network", 4))]
    both = {"averaging": dict(lr=1.0), "correct": dict(lr=0.1, strategy="scaffold")}
    runs = federated.side_by_side(torn, both, **USUAL)
    auc, loss = ({name: run.metrics[-1][m][:, -1] for name, run in runs.items()} for m in ("auc", "loss"))
    assert abs((auc["correct"] - auc["averaging"]).mean()) < 0.015
    assert (loss["correct"] - loss["averaging"]).mean() < -0.01


def test_an_odd_hospital_is_failed_by_one_model_and_served_by_its_own(lesson):
    odd = [lesson["odd_harbour"](one) for one in data.replicates("hospital_network", 2)]
    run = federated.train(odd, lr=0.2, **USUAL)
    tables = (federated.by_hospital(run, odd, steps=steps, batch_size=64) for steps in (0, 100))
    one, tuned = (t.query("hospital == 'Harbour'")["auc"].mean() for t in tables)
    assert one < 0.64 < tuned - 0.02


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    heat = pd.DataFrame(
        [dict(skew=a, steps=b, auc=rng.uniform(0.5, 0.8)) for a in ("x", 1) for b in (1, 5) for _ in "ab"]
    )
    points = {1: (0, 0), 5: (1, 1), 20: (0, 2)}
    ways = {f"hospital {k}": (rng.normal(size=(4, 2)), rng.normal(size=(4, 2))) for k in (1, 2)}
    kB = {"32 bit": 100, "1 bit": 3}
    sent = pd.DataFrame(
        [dict(way=w, feedback=f, kB=kB[w], change=rng.normal()) for w in kB for f in (True, False) for _ in "ab"]
    )
    curves = {name: (np.arange(3), rng.uniform(0.5, 0.8, (3, 2))) for name in ("a", "b")}
    losses = pd.DataFrame([dict(setting=n, way=w, loss=rng.uniform()) for n in "ab" for w in "xy" for _ in "pq"])
    made = [
        plots.skew_and_steps(heat),
        plots.kinds_of_difference(
            {"1": 0.2, "2": 0.9}, {"a": [1, 5, 40]}, {"a": ([1, 2], [0.1, 0.2])}, {"abc": 3}, unit="age"
        ),
        plots.drift((0, 1), {"hospital 1": (0, 0), "hospital 2": (1, 1)}, (0.5, 0.5), points, ways, names=("a", "b")),
        plots.bytes_and_auc(sent),
        plots.beside_averaging(curves, pd.DataFrame()),
        plots.beside_averaging(curves, losses),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_the_sentence_compares_the_last_setting_with_the_first():
    curves = {
        "a": (np.arange(2), np.array([[0.5, 0.5], [0.7, 0.6]])),
        "b": (np.arange(2), np.array([[0.5, 0.5], [0.8, 0.5]])),
    }
    losses = pd.DataFrame(
        [dict(setting=n, way="as trained", loss=x) for n, x in zip("aabb", (1, 2, 2, 4), strict=True)]
    )
    said = plots.read_beside_averaging(curves, losses)
    assert "a has AUC 0.650, b 0.650: +0.000" in said and "better in 1 of 2" in said and "as trained: +1.500" in said

"""Lesson 04: its exercises, what it builds by hand, and what it says about privacy and its price."""

import cells
import lessons
import numpy as np
import pytest
import torch
from dp_accounting import dp_event, pld
from matplotlib.figure import Figure
from scipy.stats import binom, laplace

from fedlab_utils import audit, data, federated, fleet, plots, privacy
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def norms(g):
    return g.norm(dim=1, keepdim=True).clamp_min(1e-12)


def odds(p):
    return p / (1 - p)


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "sensitivity": {
        "you say 70": lambda low, high: max(high - low, abs(high)),
        "is *exchanged*": lambda low, high: high - low,
        "who moves the sum further": lambda low, high: high,
        "half of the range": lambda low, high: (high - low) / 2,
        "the smaller of the two": lambda low, high: min(abs(low), abs(high)),
        "not both together": lambda low, high: abs(low) + abs(high),
        "never negative": lambda low, high: low,
    },
    "clipped_sum": {
        "still a row for each patient": lambda g, C: g * (C / norms(g)).clamp(max=1),
        "a parameter over all patients": lambda g, C: (g * (C / g.norm(dim=0)).clamp(max=1)).sum(0),
        "the length of the whole table": lambda g, C: (g * (C / g.norm()).clamp(max=1)).sum(0),
        "sum of *squares*": lambda g, C: (g * (C / g.abs().sum(1, keepdim=True).clamp_min(1e-9)).clamp(max=1)).sum(0),
        "You clip the *sum*": lambda g, C: g.sum(0) * (C / g.sum(0).norm()).clamp(max=1),
        "Nobody is clipped": lambda g, C: g.sum(0),
        "Every *number* is cut": lambda g, C: g.clamp(-C, C).sum(0),
        "Short rows are stretched": lambda g, C: (g * C / norms(g)).sum(0),
        "were dropped": lambda g, C: g[norms(g)[:, 0] <= C].sum(0),
        "where `C` should stand": lambda g, C: (g * (2 / norms(g)).clamp(max=1)).sum(0),
        "That is the mean": lambda g, C: (g * (C / norms(g)).clamp(max=1)).mean(0),
        "squared norm": lambda g, C: (g * (C / norms(g) ** 2).clamp(max=1)).sum(0),
        "divide by it": lambda g, C: (g / g.norm(dim=1, keepdim=True) * g.norm(dim=1, keepdim=True).clamp(max=C)).sum(
            0
        ),
    },
    "posterior": {
        "can pass 1": lambda p, e: p * np.exp(e),
        "as a lid": lambda p, e: min(p * np.exp(e), 1),
        "Those are the new odds": lambda p, e: odds(p) * np.exp(e),
        "Epsilon itself is no factor": lambda p, e: odds(p) * e / (1 + odds(p) * e),
        "what the attacker knew before": lambda p, e: np.exp(e) / (1 + np.exp(e)),
        "is not one": lambda p, e: p + e,
        "The probability is": lambda p, e: odds(p) * np.exp(2) / (1 + odds(p) * np.exp(2)),
        "the *least* certainty": lambda p, e: odds(p) / np.exp(e) / (1 + odds(p) / np.exp(e)),
    },
    "honest_epsilon": {
        "added the epsilons of the rounds up": lambda spend, n, b, r, s: r * spend(b / n, s),
        "the very mistake": lambda spend, n, b, r, s: spend(b / n, r * n // b),
        "That is one round": lambda spend, n, b, r, s: spend(b / n, s),
        "counts messages": lambda spend, n, b, r, s: spend(b / n, r),
        "one epoch": lambda spend, n, b, r, s: spend(b / n, n // b),
        "counts patients drawn": lambda spend, n, b, r, s: spend(b / n, r * s * b),
        "every patient is in every step": lambda spend, n, b, r, s: spend(1.0, r * s),
        "out of all patients": lambda spend, n, b, r, s: spend(1 / b, r * s),
        "does not depend on how many rounds": lambda spend, n, b, r, s: spend(b / n / r, r * s),
        "not one": lambda spend, n, b, r, s: spend(1 / n, r * s),
        "never calls `spend`": lambda spend, n, b, r, s: 1.0,
        "How many really ran": lambda spend, n, b, r, s: spend(b / n, 17),
        "where an argument should stand": lambda spend, n, b, r, s: spend(4 / n, 1500),
        "is drawn from 200 patients": lambda spend, n, b, r, s: spend(0.3, r * s),
    },
    "liars": {
        "nothing is proven against this team": {"A", "B", "C", "D"},
        "catch nobody": set(),
        "loudest patient": {"C", "D"},
        "the differences between steps": {"A", "C"},
        "among few models": {"A", "D"},
        "none of the letters": {"A", "E"},
    },
}


def one_by_one(g, C):
    total = torch.zeros(g.shape[1])
    for row in g:
        length = float(row.norm())
        total += row if length <= C else row * C / length
    return total


def in_numpy(g, C):
    g = g.numpy()
    return (g / np.maximum(1, np.linalg.norm(g, axis=1) / C)[:, None]).sum(0)


RIGHT = {  # exercise -> answers written in other ways
    "sensitivity": [
        lambda low, high: np.maximum(np.abs(low), np.abs(high)),
        lambda low, high: torch.tensor([low, high]).abs().max(),
        lambda low, high: [max(high, -low)],
    ],
    "clipped_sum": [
        one_by_one,
        in_numpy,
        lambda g, C: torch.stack([row / max(1.0, float(row.norm()) / C) for row in g]).sum(0),
    ],
    "posterior": [
        lambda p, e: 1 / (1 + (1 - p) / p * np.exp(-e)),
        lambda p, e: np.array(p * np.exp(e) / (p * np.exp(e) + 1 - p)),
        lambda p, e: torch.sigmoid(torch.logit(torch.tensor(p, dtype=torch.float64)) + e),
    ],
    "honest_epsilon": [
        lambda spend, n, b, r, s: spend(steps=s * r, sampling=b / n),
        lambda spend, n, b, r, s: [spend(sampling, steps) for sampling, steps in [(b / n, r * s)]][0],
        lambda spend, n, b, r, s: np.float64(spend(np.divide(b, n), sum([s] * r))),
    ],
    "liars": [{"A", "C", "D"}, ["d", "a", "c"], "ACD", "A, C, D", "a c;d"],
}


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions, and the teams of its last exercise."""
    source = lessons.SOURCES / "04_differential_privacy.py"
    teams = ("team_a", "team_b", "team_c", "team_d", "equation_3", "clipped_first", "STEPS", "DELTA", "CLAIM")
    by_hand = ("dp_sgd", "patient_gradients", "privacy_loss", "chance")
    return cells.definitions(source, *by_hand, *teams)


def cloud(n=300, d=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=rng)
    return X, (X[:, 0] + torch.randn(n, generator=rng) > 0).float()


@pytest.mark.parametrize(("C", "sigma"), [(4.0, 0.0), (0.5, 1.3)])
def test_dp_sgd_by_hand_is_the_fleets(lesson, C, sigma):
    X, y = cloud()
    source, rows = fleet.generators(3, 1), [np.arange(len(X))]
    coins = (index[0][share[0] > 0] for index, share in fleet.poisson(rows, [60], 20, source))
    noise = (z[0] for z in fleet.normal([60], 6, source)) if sigma else (torch.zeros(6) for _ in range(60))
    ones = torch.cat([X, torch.ones(len(X), 1)], 1)
    ours = lesson["dp_sgd"](ones, y, coins, noise, C=C, sigma=sigma, lr=0.3, expected=20)
    start = fleet.init(1, (5, 1), seed=0).map(torch.zeros_like)
    private = dict(max_norm=C, noise_multiplier=sigma, sampling="poisson", seed=fleet.generators(3, 1))
    theirs = fleet.fit(start, X, y[:, None], rows, steps=60, batch_size=20, lr=0.3, **private)
    torch.testing.assert_close(ours, theirs.flat()[0], atol=1e-5, rtol=0)


def test_the_lessons_gradients_of_patients_are_autograds(lesson):
    X, y = cloud(8)
    net = fleet.init(1, (5, 4, 1), seed=0)
    ours = lesson["patient_gradients"](net, X, y[:, None])
    for i in range(len(X)):
        tensors = [t.clone().requires_grad_() for t in net.tensors()]
        out = fleet.forward(fleet.Params(tensors[::2], tensors[1::2]), X[[i]])[0]
        torch.nn.functional.binary_cross_entropy_with_logits(out, y[[i], None]).backward()
        torch.testing.assert_close(ours[i], torch.cat([t.grad.flatten() for t in tensors]), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(("team", "lies"), [("team_a", True), ("team_b", False), ("team_c", True), ("team_d", True)])
def test_the_audit_finds_the_liars_and_only_them(lesson, team, lies):
    """Fixed seed; with another one the honest team would be accused about once in twenty at worst."""
    found = audit.epsilon_lower_bound(lesson[team], steps=lesson["STEPS"], delta=lesson["DELTA"], models=2000)
    assert (found.lower > lesson["CLAIM"]) == lies
    assert found.score == ("differences" if team == "team_d" else "sum") or not lies


def test_equation_3_is_broken_and_clipping_mends_it(lesson):
    setting = dict(steps=lesson["STEPS"], delta=lesson["DELTA"], models=2000)
    broken = audit.epsilon_lower_bound(lesson["equation_3"], **setting)
    mended = audit.epsilon_lower_bound(lesson["clipped_first"], **setting)
    assert broken.lower > 4 * lesson["CLAIM"] and mended.lower < lesson["CLAIM"]


def test_the_privacy_loss_of_a_training_is_what_the_accountant_composes(lesson):
    """delta(epsilon) = E[1 - e^(epsilon - loss)] over the losses of trainings with the record (fails once in 10^5)."""
    noise, rate, steps = 1.5, 0.2, 40
    losses = lesson["privacy_loss"](1, noise, rate, steps, np.random.default_rng(0), trainings=20_000)
    for delta in (0.1, 0.03):
        epsilon = privacy.epsilon(noise, sampling=rate, steps=steps, delta=delta)
        exceeds = np.clip(1 - np.exp(epsilon - losses), 0, None)
        assert exceeds.mean() == pytest.approx(delta, abs=4.5 * exceeds.std() / len(losses) ** 0.5)


def test_one_training_proves_no_more_than_it_can(lesson):
    chance = lesson["chance"]
    assert chance(0.0, 60, 120) == pytest.approx(0.5, abs=0.1)  # half right by guessing
    rising = [chance(e, 110, 120) for e in (0.0, 1.0, 2.0, 3.0)]
    assert rising == sorted(rising) and rising[0] < 1e-3
    assert chance(3.6, 120, 120) < 0.05 < chance(3.8, 120, 120)


@pytest.mark.parametrize(("noise", "sees"), [(dict(epsilon=3), False), (dict(noise_multiplier=1.0), True)])
def test_the_package_audited_proves_less_than_its_ledger_and_convicts_too_little_noise(noise, sees):
    """`federated.train` itself, a fleet of 400 with and 400 without; the bound is wrong once in twenty at worst."""
    made = cells.definitions(lessons.SOURCES / "04_differential_privacy.py", "audited", "federation")
    made["first"] = fleet.init(400, (made["federation"].n_features + 1, 1), seed=0)
    spent, found = made["audited"](privacy.RecordDP(**noise, max_grad_norm=1, secure=False))
    assert found.lower < spent
    assert (found.lower > 3) == sees


def test_the_lab_on_prices_looks_in_on_the_way_and_trains_a_budget_once(monkeypatch):
    """The first picture comes before the training is over, and what was trained is kept while the budget moves."""
    made = cells.definitions(lessons.SOURCES / "04_differential_privacy.py", "budgets_and_prices")
    trained, said = made["trained"], []
    asked = []
    monkeypatch.setitem(made, "trained", lambda budgets, *others: asked.append(budgets) or trained(budgets, *others))

    class Show:
        def __call__(self, figure, sentence, *, alt):
            said.append(sentence)

        def tick(self, done):
            assert 0 < done <= 1

    setting = dict(clip=4.0, batch=64, rounds=4, hidden=4)
    made["budgets_and_prices"](Show(), 1.0, **setting)
    assert asked == [[1.0], [0.1, 0.3, 3.0, 10.0]]
    assert said[0].startswith("On the way to ε = 1 (δ = 1e-5, one record present or blank), after 1 of 4 rounds")
    assert [("Everything displayed here" in sentence) for sentence in said] == [False, False, True]
    made["budgets_and_prices"](Show(), 3.0, **setting)
    assert len(asked) == 2 and said[-1].startswith("At ε = 3 ") and "5 budgets and 5 seeds" in said[-1]
    made["budgets_and_prices"](Show(), 2.0, **setting)
    assert asked[2:] == [[2.0]] and "6 budgets and 5 seeds" in said[-1]


# ---------------------------------------------------------------- what the lesson says


def test_tries_and_records_cost_what_the_lesson_says():
    """arXiv:2110.03620 (a geometric number of tries) and arXiv:2401.10294 (several records of one patient)."""
    noise, rate, steps = 3.04, 0.104, 400
    once = dp_event.SelfComposedDpEvent(dp_event.PoissonSampledDpEvent(rate, dp_event.GaussianDpEvent(noise)), steps)
    best = privacy.Mechanism(event=dp_event.RepeatAndSelectDpEvent(once, 10, 1)).epsilon
    alone, shown = (privacy.epsilon(noise, sampling=rate, steps=steps * k) for k in (1, 10))
    assert 1.5 * alone < best < 0.7 * shown
    accountant = pld.PLDAccountant(value_discretization_interval=1e-2)
    drawn = binom.pmf(range(4), 3, rate).tolist()
    accountant.compose(dp_event.MixtureOfGaussiansDpEvent(noise, [0, 1, 2, 3], drawn), steps)
    assert accountant.get_epsilon(1e-5) > 3.3 * alone


def test_two_seeds_say_nothing_about_five_hospitals():
    """At epsilon 8 a promise to one of five hospitals leaves the AUC to luck, mostly below training alone."""
    rhythm = dict(rounds=10, local_steps=10, batch_size=16, lr=0.5, hidden=(8,))
    promise = privacy.HospitalDP(epsilon=8.0, max_update_norm=0.5, secure=False)
    auc = federated.train(data.load("hospital_network"), privacy=promise, seeds=20, **rhythm).auc
    assert auc.std(ddof=1) > 0.02 and auc.mean() < 0.73


def test_no_threshold_beats_the_bound_of_the_game():
    for epsilon in (0.1, 1, 8):
        shape = laplace(scale=1 / epsilon)
        cuts = np.linspace(-20 / epsilon, 20 / epsilon, 999)
        false, found = shape.sf(cuts - 12), shape.sf(cuts - 13)
        assert np.all(found <= np.exp(epsilon) * false + 1e-12)
        assert np.all(1 - false <= np.exp(epsilon) * (1 - found) + 1e-12)
        best = (1 - shape.sf(0.5) + shape.sf(-0.5)) / 2  # the threshold in the middle
        assert best <= np.exp(epsilon) / (1 + np.exp(epsilon))


def test_the_benchmarks_noise_spends_what_the_lesson_says():
    """FLamby's DP row, arXiv:2210.04620: 15 epochs planned, 1,500 steps run, delta 1e-4; claimed 1, by RDP."""
    common = dict(delta=1e-4, method="rdp")
    for batches, noise, spent in ((50, 2.103, 1.46), (43, 2.251, 1.58), (8, 4.988, 4.11), (22, 3.068, 2.30)):
        assert privacy.epsilon(noise, sampling=1 / batches, steps=15 * batches, **common) == pytest.approx(1, abs=0.005)
        assert privacy.epsilon(noise, sampling=1 / batches, steps=1500, **common) == pytest.approx(spent, abs=0.02)


def test_clipping_keeps_the_order_of_patients_and_ruins_their_risks():
    federation = data.load("hospital_network")
    clips = {
        C: {"privacy": privacy.RecordDP(noise_multiplier=0, max_grad_norm=C, secure=False), "lr": 0.8 / C}
        for C in (0.3, 4.0)
    }
    runs = federated.side_by_side(federation, clips, seeds=1, rounds=20, local_steps=20, batch_size=64, hidden=(32,))
    auc = {C: run.metrics[-1]["auc"][0, -1] for C, run in runs.items()}
    assert abs(auc[0.3] - auc[4.0]) < 0.02
    pool = federation.pooled()
    risk = {C: run.predict_proba(pool.X_test)[0, :, 1].mean().item() for C, run in runs.items()}
    assert risk[0.3] < 0.03 and risk[4.0] == pytest.approx(pool.y_test.mean().item(), abs=0.03)


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    alarms = np.linspace(0, 1, 50)
    judged = audit.epsilon_lower_bound(
        lambda g, r: g.sum(1) + torch.randn(g[:, 0].shape, generator=r), steps=2, models=20
    )
    budgets = [0.1, 1.0]
    panels = {
        "AUC": {"a": (budgets, rng.random((2, 3))), "b": ([0.5], rng.random((1, 3)))},
        "missed": {"a": (budgets, rng.random((2, 1)))},
    }
    made = [
        plots.leak(rng.random(6), rng.random(5), rng.random(5), "pressure (mmHg)"),
        plots.lengths({"healthy": rng.random(50), "ill": np.zeros(3) + 2}, "length", limit=1),
        plots.attacker(rng.normal(size=50), rng.normal(size=50), 0.1, (alarms, alarms), epsilon=1.0, delta=1e-5),
        plots.tradeoff((alarms, alarms**0.5), [(1, 0.1), (2, 1e-5)]),
        plots.budget({"this run": {"A": 1.0, "B": 2.0}, "everything": {"A": 3.0, "B": 4.0}}),
        plots.privacy_loss({"blank": rng.normal(size=50), "there": rng.normal(size=50)}, 3.0),
        plots.privacy_utility(panels, {"AUC": {"best possible": 0.9}}, mark=1.0),
        plots.groups({"sex": {"male": rng.random((2, 3))}, "age": {"old": rng.random((2, 3))}}, ["none", "1"], "error"),
        plots.audit({"one": judged, "two": judged}, 1.0, 1e-5),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_numbers_of_the_leak_have_their_unit_on_every_axis_that_shows_them():
    left, right = plots.leak(np.arange(3.0), np.ones(2), np.ones(2), "pressure (mmHg)").axes
    assert all("(mmHg)" in said for said in (left.get_ylabel(), right.get_xlabel(), right.get_ylabel()))


def test_ticks_of_a_curve_are_those_of_all_its_lines():
    panels = {"AUC": {"a": ([0.1, 1.0], np.ones((2, 2))), "b": ([0.5], np.ones((1, 1)))}}
    (ax,) = plots.privacy_utility(panels).axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.1", "0.5", "1"]

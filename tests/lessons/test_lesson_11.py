"""Lesson 11: its exercises, what it builds by hand, and what it says about liars, rules and honest hospitals."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import attacks, data, federated, plots
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def square(u):
    return ((u[:, None] - u[None]) ** 2).sum(2)


def inner(u, f):
    return np.sort(u, axis=0)[f : len(u) - f]


def neighbours(u, first, last):
    return np.sort(square(u), axis=1)[:, first:last].sum(1)


def cut_lines(u, f, score):
    return u[np.argsort(score)][f : len(u) - f].mean(0)


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "trimmed_mean": {
        "plain mean": lambda u, f: u.mean(0),
        "largest only": lambda u, f: np.sort(u, axis=0)[: len(u) - f].mean(0),
        "least only": lambda u, f: np.sort(u, axis=0)[f:].mean(0),
        "two go at each end": lambda u, f: inner(u, f // 2).mean(0),
        "first and the last": lambda u, f: u[f : len(u) - f].mean(0),
        "by length or by sum": lambda u, f: cut_lines(u, f, np.linalg.norm(u, axis=1)),
        "a usual sum": lambda u, f: cut_lines(u, f, u.sum(1)),
        "divide by all": lambda u, f: inner(u, f).sum(0) / len(u),
        "That is a sum": lambda u, f: inner(u, f).sum(0),
        "median": lambda u, f: np.median(u, axis=0),
        "sorted along the parameters": lambda u, f: np.sort(u, axis=1)[f : len(u) - f].mean(0),
        "With f = 1": lambda u, f: inner(u, 2).mean(0),
        "x[0:-0]": lambda u, f: (np.sort(u, axis=0)[f:-f] if f else np.full((1, u.shape[1]), np.nan)).mean(0),
    },
    "krum_scores": {
        "of its own": lambda u, f: neighbours(u, 0, len(u) - f - 2),
        "as in ByzFL": lambda u, f: neighbours(u, 1, len(u) - f),
        "n - f neighbours": lambda u, f: neighbours(u, 1, len(u) - f + 1),
        "distances to everybody": lambda u, f: square(u).sum(1),
        "f nearest": lambda u, f: neighbours(u, 1, f + 1),
        "*farthest*": lambda u, f: neighbours(u, f + 2, len(u)),
        "added lengths": lambda u, f: np.sort(square(u) ** 0.5, axis=1)[:, 1 : len(u) - f - 1].sum(1),
        "That is a mean": lambda u, f: neighbours(u, 1, len(u) - f - 1) / (len(u) - f - 2),
        "to the mean of all": lambda u, f: ((u - u.mean(0)) ** 2).sum(1),
        "to the median": lambda u, f: ((u - np.median(u, axis=0)) ** 2).sum(1),
        "lengths of updates": lambda u, f: (u**2).sum(1),
        "That is who wins": lambda u, f: neighbours(u, 1, len(u) - f - 1).argmin(),
        "order of the hospitals": lambda u, f: neighbours(u, 1, len(u) - f - 1).argsort(),
        "seven hospitals": lambda u, f: neighbours(u, 1, 6),
    },
    "suspect": {
        "longest": lambda u: np.linalg.norm(u, axis=1).argmax(),
        "shortest": lambda u: np.linalg.norm(u, axis=1).argmin(),
        "*closest*": lambda u: square(u).sum(1).argmin(),
        "plus and minus": lambda u: u.sum(1).argmax(),
        "one number of each": lambda u: u[:, 0].argmax(),
        "number of a parameter": lambda u: square(u).argmax(),
        "largest single": lambda u: np.abs(u).max(1).argmax(),
        "from 1 on": lambda u: square(u).sum(1).argmax() + 1,
        "numbers for all": lambda u: square(u).sum(1),
        "of 4 cases": lambda u: 3,
        "Return one number": lambda u: [1, 2],
    },
    "planted": {
        "clean` in the place": set(),
        "largest but one": {"A", "D"},
        "nearly all": {"B"},
        "small": {"D"},
        "a few points": {"B", "C", "D"},
        "none of the letters": {"B", "E"},
    },
}


def by_loops(updates, f):
    columns = [sorted(float(row[j]) for row in updates) for j in range(updates.shape[1])]
    return [sum(c[f : len(c) - f]) / (len(c) - 2 * f) for c in columns]


def without_ends(updates, f):
    total = updates.sum(0)
    for _ in range(f):
        total = total - updates.max(0) - updates.min(0)
        top, low = updates.argmax(0), updates.argmin(0)
        updates = np.array([np.delete(updates[:, j], [top[j], low[j]]) for j in range(updates.shape[1])]).T
    return total / len(updates)


def krum_by_loops(updates, f):
    found = []
    for i, one in enumerate(updates):
        near = sorted(((one - other) ** 2).sum() for j, other in enumerate(updates) if j != i)
        found.append(sum(near[: len(updates) - f - 2]))
    return found


RIGHT = {
    "trimmed_mean": [
        by_loops,
        without_ends,
        lambda u, f: torch.tensor(u).sort(0).values[f : len(u) - f].mean(0),
        lambda u, f: pd.DataFrame(inner(u, f)).mean(),
    ],
    "krum_scores": [
        krum_by_loops,
        lambda u, f: pd.Series(neighbours(u, 1, len(u) - f - 1)),
        lambda u, f: (torch.cdist(torch.tensor(u), torch.tensor(u)) ** 2).sort(1).values[:, 1 : len(u) - f - 1].sum(1),
    ],
    "suspect": [
        lambda u: federated.Krum(1).scores(u).argmax(),
        lambda u: int(np.linalg.norm(u - np.median(u, axis=0), axis=1).argmax()),
        lambda u: torch.tensor([np.corrcoef(u)[k].sum() for k in range(len(u))]).argmin(),
        lambda u: [np.linalg.norm(u - u.mean(0), axis=1).argmax()],
    ],
    "planted": [{"B", "D"}, ["d", "b"], "B, D"],
}


# ---------------------------------------------------------------- what the lesson builds by hand


SOURCE = lessons.SOURCES / "11_hospitals_that_cheat.py"


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions and tables, without its long runs."""
    short = "splits names work judged combined alike twenty six once liar received kept_by_krum torn odd_harbour"
    short += " kinds teams"
    return cells.definitions(SOURCE, *short.split())


def test_solutions_are_what_the_package_does(lesson):
    solution, updates = cells.solutions(SOURCE), np.random.default_rng(4).normal(size=(9, 30))
    mine, theirs = solution["trimmed_mean"](updates, 3), lesson["combined"](federated.TrimmedMean(3), updates)
    np.testing.assert_allclose(mine, theirs, atol=1e-12)
    np.testing.assert_allclose(solution["krum_scores"](updates, 2), federated.Krum(2).scores(updates), rtol=1e-9)
    assert solution["suspect"](updates) == federated.Krum(1).scores(updates).argmax()


def test_what_is_received_is_what_hospitals_send(lesson):
    federation = lesson["alike"][0]
    run = federated.train(federation, **lesson["twenty"] | lesson["once"])
    sent = lesson["received"](run)
    assert run.rounds == 1 and len(sent) == 20
    start = torch.tensor(run.transcript["values"].iloc[0])
    torch.testing.assert_close(start + torch.from_numpy(sent).mean(0), run.params.flat()[0], atol=1e-5, rtol=0)


# ---------------------------------------------------------------- what the lesson says


def test_a_liar_moves_the_level_and_not_the_order(lesson):
    splits, attack = lesson["splits"][:2], attacks.HideTheIll(["Lakeside"])
    runs = federated.side_by_side(splits, {"honest": {}, "lie": {"attack": attack}}, **lesson["work"])
    before, after = (lesson["judged"](runs[name], splits) for name in ("honest", "lie"))
    assert (before["auc"] - after["auc"]).abs().max() < 0.006
    assert (after["missed"] - before["missed"]).min() > 0.15 and after["predicted_observed"].max() < 0.8
    mended = lesson["judged"](federated.recalibrated(runs["lie"], splits), splits)
    assert (mended["missed"] - before["missed"]).abs().max() < 0.06
    assert (mended["auc_within"] - after["auc_within"]).abs().max() < 1e-4


def test_krum_finds_the_liars_among_alike_hospitals_and_keeps_them_under_skew(lesson):
    liar, six = lesson["liar"], lesson["six"]
    for federation, alike in ((lesson["alike"][1], True), (lesson["torn"][1], False)):
        run = federated.train(federation, attack=six, **lesson["twenty"] | lesson["once"])
        _, kept = lesson["kept_by_krum"](lesson["received"](run))
        ill = np.array([h.y_train.mean().item() for h in federation.hospitals])
        if alike:
            assert not (kept & liar).any()
        else:
            assert (kept & liar).sum() >= 5 and ill[~kept & ~liar].mean() > ill[kept & ~liar].mean() + 0.3


def test_under_skew_the_mean_is_ahead_of_rules_by_distance(lesson):
    torn, auc = lesson["torn"][:2], {}
    for rule in (None, federated.MultiKrum(6), federated.Median()):
        auc[rule] = federated.train(torn, attack=lesson["six"], aggregator=rule, **lesson["twenty"]).auc
    mean = auc.pop(None)
    assert all((mean > other).all() for other in auc.values())


def test_the_detective_names_harbour_where_nobody_lies(lesson):
    for federation in (lesson["splits"][0], lesson["odd_harbour"](lesson["splits"][0])):
        run = federated.train(federation, **lesson["work"] | lesson["once"])
        scores = federated.Krum(1).scores(lesson["received"](run))
        assert lesson["names"][scores.argmax()] == "Harbour"


def test_harbour_is_odd_in_two_columns_and_the_others_are_as_they_were(lesson):
    before, after = lesson["splits"][0], lesson["odd_harbour"](lesson["splits"][0])
    assert all(a is b for a, b in zip(before.hospitals[:4], after.hospitals[:4], strict=True))
    changed = (before.hospitals[4].X_test != after.hospitals[4].X_test).any(0)
    assert [name for name, moved in zip(before.feature_names, changed, strict=True) if moved] == ["age", "systolic_bp"]


def test_two_teams_of_four_planted_something(lesson):
    alike, teams = lesson["alike"][:2], lesson["teams"]
    runs = federated.side_by_side(
        alike, {"clean": {}} | {k: {"attack": a} for k, a in teams.items()}, **lesson["twenty"]
    )
    gain = {
        k: np.mean(a.success(runs[k], alike, threshold=0.2) - a.success(runs["clean"], alike, threshold=0.2))
        for k, a in teams.items()
    }
    assert {k for k, value in gain.items() if value >= 0.1} == {"B", "D"} and max(gain["A"], gain["C"]) < 0.05


def test_the_lab_offers_the_attacks_of_the_lesson(lesson):
    made = {name: make(range(2)) for name, make in lesson["kinds"].items()}
    assert [type(a) for a in made.values()] == [attacks.HideTheIll, attacks.LabelFlip, attacks.SignFlip]
    assert made["turn updates round, x 3"].scale == 3


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    liar, kept = np.arange(8) < 2, np.arange(8) > 2
    table = pd.DataFrame([
        dict(rule=r, setting=s, auc=rng.uniform(0.5, 0.8), missed=rng.uniform(), net_benefit=rng.normal())
        for r in ("mean", "median") for s in ("nobody lies", "2 lie") for _ in range(3)
    ])  # fmt: skip
    by = pd.DataFrame([
        dict(rule=r, hospital=f"Hospital {k}", missed=rng.uniform()) for r in ("mean", "median") for k in range(22)
    ])  # fmt: skip
    bars = {"honest": {"": rng.uniform(size=3)}, "one lies": {"a": rng.uniform(size=3), "b": rng.uniform(size=3)}}
    sent = np.linspace(-3, 3, 7)
    made = [
        plots.two_bars({"AUC": bars, "missed": bars}),
        plots.two_bars({"AUC": {"honest": {"": [0.7]}}}),
        plots.moved_by_one(sent, {"mean": sent / 2, "median": 0 * sent}, rng.normal(size=9)),
        plots.directions(rng.normal(size=(8, 5)), liar, kept),
        plots.by_rule(table, ["auc", "net_benefit"]),
        plots.cut_off({"alike": (rng.uniform(size=8), rng.uniform(size=8) + 0.1, liar, kept)}),
        plots.rule_and_hospitals(table, by),
        plots.rule_and_hospitals(table[table["rule"] == "mean"], by[by["rule"] == "mean"]),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_shares_stay_within_0_and_1():
    table = pd.DataFrame(dict(rule="mean", setting="nobody lies", auc=[0.9, 0.7], missed=[0.0, 1.0]))
    (ax,) = plots.by_rule(table, ["missed"]).axes
    ends = np.concatenate([np.array(path)[:, 0] for path in ax.collections[0].get_segments()])
    assert ends.min() >= 0 and ends.max() <= 1


def test_the_labs_picture_shows_who_lies():
    table = pd.DataFrame(dict(rule="mean", setting="nobody lies", auc=[0.9, 0.7], missed=[0.1, 0.3]))
    by = pd.DataFrame(dict(rule="mean", hospital=[f"Hospital {k}" for k in range(1, 21)], missed=0.2))
    *_, right = plots.rule_and_hospitals(table, by, liars=6).axes
    (band,) = right.patches
    bottom, top = band.get_extents().transformed(right.transData.inverted()).intervaly
    inside = [n + 1 for n, at in enumerate(right.lines[0].get_ydata()) if bottom < at < top]
    assert inside == [1, 2, 3, 4, 5, 6]
    assert [label.get_text() for label in right.get_yticklabels()] == [f"Hospital {k}" for k in (1, 5, 10, 15, 20)]


def test_nothing_in_the_labs_picture_lies_on_something_else():
    """Its layout is fixed: the longest names that the lab has must find their place."""
    rules = ["mean", "norm clipping"]
    table = pd.DataFrame([
        dict(rule=r, setting=s, auc=0.7 + k / 100, missed=k / 10)
        for r in rules for s in ("nobody lies", "6 lie") for k in range(3)
    ])  # fmt: skip
    by = pd.DataFrame([dict(rule=r, hospital=f"Hospital {k}", missed=0.2) for r in rules for k in range(1, 21)])
    fig = plots.rule_and_hospitals(table, by, liars=6)
    plots.png(fig)
    boxes = [ax.get_tightbbox() for ax in fig.axes] + [legend.get_window_extent() for legend in fig.legends]
    assert all(a.x0 >= 0 and a.y0 >= 0 and a.x1 <= fig.bbox.x1 and a.y1 <= fig.bbox.y1 for a in boxes)
    assert not any(a.overlaps(b) for k, a in enumerate(boxes) for b in boxes[:k])


def test_another_table_can_be_dealt_out_and_judged(lesson):
    own = [one.repartition(20, alpha=0.1, seed=0) for one in data.replicates("breast_cancer", 1)]
    run = federated.train(own, attack=lesson["six"], aggregator=federated.MultiKrum(6), **lesson["twenty"])
    judged = lesson["judged"](run, own)
    assert len(judged) == 1 and judged["auc"].notna().all()

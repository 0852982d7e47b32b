"""Lesson 02: its exercises, what it claims about collapse, and its figures."""

import inspect
import sys
import time

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import data, fidelity, fleet, plots, synth
from fedlab_utils.synth import gan
from tests.lessons.helpers import drawn

sys.path.append(str(lessons.ROOT / "tests" / "benchmarks"))
from peers import tables_of_lesson_02  # noqa: E402

# ---------------------------------------------------------------- exercises


def gaps(synthetic, real):
    return np.abs(synthetic[:, None] - real)


def pairs_by_loop(close):
    """The share of synthetic rows that are copies, in plain loops; `close` says what is near in one column."""

    def share(s, r, t):
        return sum(any(all(close(a, b, t) for a, b in zip(x, y, strict=True)) for y in r) for x in s) / len(s)

    return share


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "best_discriminator": {
        "more than 1 where real": lambda p, q: p / np.where(q > 0, q, 1),
        "share of *made* values": lambda p, q: q / (p + q),
        "A difference can be negative": lambda p, q: p - q,
        "looks at real values only": lambda p, q: p,
        "That decides, 1 or 0. ": lambda p, q: (p > q) * 1.0,
        "ties for real": lambda p, q: (p >= q) * 1.0,
        "one half everywhere": lambda p, q: 0.5,
        "comes up at all": lambda p, q: (p + q) / 2,
    },
    "near_copies": {
        "if *one* of its values": lambda s, r, t: (gaps(s, r) <= t).any((1, 2)).mean(),
        "compared by itself": lambda s, r, t: (gaps(s, r) <= t).any(1).all(1).mean(),
        "share of the *real* patients": lambda s, r, t: (gaps(s, r) <= t).all(2).any(0).mean(),
        "share of pairs": lambda s, r, t: (gaps(s, r) <= t).all(2).mean(),
        "divide it by the number of synthetic": lambda s, r, t: (gaps(s, r) <= t).all(2).any(1).sum(),
        "divided by the number of real": lambda s, r, t: (gaps(s, r) <= t).all(2).any(1).sum() / len(r),
        "in percent": lambda s, r, t: 100 * (gaps(s, r) <= t).all(2).any(1).mean(),
        "added the differences": lambda s, r, t: (gaps(s, r).sum(2) <= t).any(1).mean(),
        "straight-line distances": lambda s, r, t: (np.linalg.norm(s[:, None] - r, axis=2) <= t).any(1).mean(),
        "mean difference of the columns": lambda s, r, t: (gaps(s, r).mean(2) <= t).any(1).mean(),
        "near *every* patient": lambda s, r, t: (gaps(s, r) <= t).all(2).all(1).mean(),
        "`<=`, not `<`": lambda s, r, t: (gaps(s, r) < t).all(2).any(1).mean(),
        "the second with the second": lambda s, r, t: np.mean(
            [(np.abs(a - b) <= t).all() for a, b in zip(s, r, strict=False)]
        ),
        "the patient of the same number": lambda s, r, t: (
            sum((np.abs(a - b) <= t).all() for a, b in zip(s, r, strict=False)) / len(s)
        ),
        "more axis: `a[:, None]`": lambda s, r, t: (np.abs(s - r) <= t).all(1).mean(),
        "Take away the sign": lambda s, r, t: (s[:, None] - r <= t).all(2).any(1).mean(),
        "did you ask for equality": lambda s, r, t: (gaps(s, r) == 0).all(2).any(1).mean(),
        "ith a tolerance of .25": lambda s, r, t: (gaps(s, r) <= 1.0).all(2).any(1).mean(),
    },
    "honest_score": {
        "the photocopier wins again": lambda score, t, s, u: score(s, t),
        "rows that the generator was trained on": lambda score, t, s, u: max(score(s, t), score(s, u)),
        "still judged by": lambda score, t, s, u: min(score(s, t), score(s, u)),
        "The synthetic rows play no part": lambda score, t, s, u: score(t, u),
        "table of pure nonsense": lambda score, t, s, u: score(s, s),
        "patients are the judges": lambda score, t, s, u: score(u, s),
        "synthetic ones judge": lambda score, t, s, u: score(t, s),
        "says nothing about": lambda score, t, s, u: score(u, u),
        "the model knows its judges": lambda score, t, s, u: score(t, t),
        "The unseen patients teach": lambda score, t, s, u: score(u, t),
        "never calls `score`": lambda score, t, s, u: 0.7,
        "mean of both marks": lambda score, t, s, u: (score(s, u) + score(s, t)) / 2,
        "the mark itself is asked for": lambda score, t, s, u: score(t, u) - score(s, u),
        "You put tables together": lambda score, t, s, u: score(pd.concat([t, s]), u),
    },
}
RIGHT = {
    "best_discriminator": [
        lambda p, q: p / (p + q),
        lambda p, q: torch.tensor(p) / torch.tensor(p + q),
        lambda p, q: np.array([1 / (1 + q / p)]) if p > 0 else np.array([0.0]),
        lambda p, q: p / (p + q) if p + q else 0.5,
        lambda p, q: pd.Series([p / (p + q)]),
    ],
    "near_copies": [
        lambda s, r, t: (gaps(s, r) <= t).all(2).any(1).mean(),
        lambda s, r, t: (np.abs(s - r[:, None]) <= t).all(2).any(0).mean(),
        lambda s, r, t: torch.cdist(torch.tensor(s), torch.tensor(r), p=float("inf")).amin(1).le(t).double().mean(),
        lambda s, r, t: np.array((gaps(s, r).max(2).min(1) <= t).mean()),
        pairs_by_loop(lambda a, b, t: abs(a - b) <= t),
        lambda s, r, t: pd.Series([(np.abs(r - row) <= t).all(1).any() for row in s]).mean(),
    ],
    "honest_score": [
        lambda score, t, s, u: score(s, u),
        lambda score, t, s, u: score(fit_on=s, test_on=u),
        lambda score, t, s, u: np.array(score(s.sample(frac=1, random_state=0), u)),
        lambda score, t, s, u: np.mean([score(s[:15], u) for _ in range(3)]),
        lambda score, t, s, u: score(s[s.columns].reset_index(drop=True), u.head(len(t))),
    ],
}


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """The game that the lesson builds by hand."""
    source = lessons.SOURCES / "02_synthetic_patients.py"
    return cells.definitions(source, "glucose", "player", "game", "look", "shares", "critic_loss")


def test_an_even_game_finds_all_groups_and_a_slow_judge_loses_one(lesson):
    def shares(*players):
        return lesson["shares"](lesson["look"](*players)[1])

    real = lesson["shares"](lesson["glucose"])
    good = lesson["game"](steps=400)
    assert np.abs(shares(*good) - real).max() < 0.15
    collapsed = lesson["game"](steps=400, lr_G=0.005, lr_D=0.0005, seed=1)
    assert shares(*collapsed).min() < 0.02
    # and the losses do not tell: both runs end near log 2 and log 4, where the best D would be far below, most of all
    # in the collapsed one
    lowest = {}
    for name, run in {"good": good, "collapsed": collapsed}.items():
        assert run[2][-50:].mean(0) == pytest.approx(np.log([2, 4]), abs=0.2), name
        made = lesson["look"](*run)[1]
        lowest[name] = plots.best(lesson["glucose"], made, np.linspace(3, 13, 26))[1]
    assert lowest["collapsed"] < lowest["good"] - 0.2 and lowest["good"] < np.log(4) - 0.1


def test_the_lessons_penalty_is_the_packages(lesson):
    D = lesson["player"](1, seed=3)
    x, made, mix = (torch.rand(20, 1, generator=torch.Generator().manual_seed(k)) for k in range(3))
    tensors = [tensor[None] for tensor in D.parameters()]
    stacked = fleet.Params(tensors[::2], tensors[1::2])
    steepness = gan.slope(stacked, (x + mix * (made - x))[None]).square().sum(2).sqrt()
    scores = [gan.forward(stacked, some[None]).mean() for some in (made, x)]
    ours = scores[0] - scores[1] + 0.3 * (steepness - 1).square().mean()
    assert lesson["critic_loss"](D, x, made, mix, 0.3).item() == pytest.approx(ours.item(), abs=1e-6)


def test_collapse_is_the_rule_with_a_slow_judge_score_or_not_and_the_exception_with_a_quick_one(lesson):
    column, real = pd.DataFrame({"glucose": lesson["glucose"]}), lesson["shares"](lesson["glucose"])
    slow = dict(transform="linear", hidden=(32, 32), n_models=6, steps=250, lr=0.005)
    judges = {
        "gan": dict(method="gan", critic_lr=0.0005),
        "wgan_gp": dict(method="wgan_gp", critic_lr=0.005, penalty=0.1),
        "slow wgan_gp": dict(method="wgan_gp", critic_lr=0.0005, penalty=0.1),
    }
    lost, error = {}, {}
    for method, judge in judges.items():
        fitted = synth.fit(column, **slow, **judge)
        found = np.array([lesson["shares"](fitted.sample(1000, model=k)["glucose"]) for k in range(6)])
        lost[method], error[method] = (found < 0.02).any(1).sum(), np.abs(found - real).max(1).mean()
    assert lost["gan"] >= 4 and lost["wgan_gp"] <= 1 and lost["slow wgan_gp"] >= 4
    assert error["wgan_gp"] < error["gan"] / 2


# ---------------------------------------------------------------- what it quotes


def test_the_tables_that_it_quotes_are_made_with_its_own_settings():
    """The bench trains more of the same: judges, generators, registers and federations."""
    source = lessons.SOURCES / "02_synthetic_patients.py"
    own = cells.definitions(source, "settings", "quick", "hard", "gently", "work", "glucose", "shares")
    bench = tables_of_lesson_02
    assert list(own["settings"]) == ["slow judge", "quick judge"] and own["settings"].items() <= bench.JUDGES.items()
    assert own["quick"] == bench.QUICK and own["work"] == bench.WORK
    assert {"plain GAN": own["hard"], "mended GAN": own["gently"]} == bench.REGISTER
    np.testing.assert_array_equal(own["glucose"], bench.glucose())
    np.testing.assert_array_equal(own["shares"](own["glucose"]), bench.shares(bench.glucose()))
    asked = f"h.train[:{bench.ASKED}], h.test[:{bench.ASKED}]"
    text = source.read_text(encoding="utf-8")
    here = "replace(federation, hospitals=federation.hospitals[::2])"  # whose worlds the map compares
    assert here in text and here in inspect.getsource(bench.use_and_leak)
    assert asked in text and all(f"synthetic.py --only {name}`" in text.replace("\n# ", " ") for name in bench.TABLES)


def test_a_bench_table_runs_with_fewer(monkeypatch, capsys):
    bench = tables_of_lesson_02
    monkeypatch.setattr(bench, "SEEDS", 2)
    monkeypatch.setattr(bench, "JUDGES", {"short": bench.SLOW | {"steps": 2}})
    bench.judges()
    monkeypatch.setattr(bench, "REGISTERS", 1)
    monkeypatch.setattr(bench, "REGISTER", {name: how | {"steps": 2} for name, how in bench.REGISTER.items()})
    bench.register()
    said = capsys.readouterr().out
    assert "of 2" in said and "mended GAN" in said


def test_ctgan_is_compared_where_it_is_asked_for_and_installed(capsys):
    """The lesson as stored does not train it, so that no other test runs this cell."""
    every = [cell.source for cell in lessons.code_cells(lessons.load(lessons.SOURCES / "02_synthetic_patients.py"))]
    asked, compared = (next(code for code in every if start in code) for start in ("epochs = 0", "if epochs:"))
    space = {}
    exec(asked, space)
    assert space["epochs"] == 0 and "CTGAN" in space
    exec(compared, space)
    pytest.importorskip("ctgan")
    federation = data.load("hospital_network")
    northgate, n = federation.hospitals[0], 200
    against = dict(target=federation.target, holdout=northgate.test)
    made = synth.fit(northgate.train, method="copula", schema=federation.schema).sample(n)
    reports = dict.fromkeys(("GAN", "copula"), [fidelity.report(northgate.train, made, **against)])
    space |= dict(time=time, fleet=fleet, fidelity=fidelity, plots=plots, display=lambda shown: print("shown"))
    space |= dict(epochs=1, federation=federation, northgate=northgate, n=n, against=against, reports=reports)
    exec(compared, space | dict(seconds=1.0, shown=["KS, mean", "recall"]))
    assert "for one table" in (said := capsys.readouterr().out) and "shown" in said


# ---------------------------------------------------------------- figures


def test_figures_draw_numbers_categories_and_gaps():
    rng = np.random.default_rng(0)
    real = pd.DataFrame({"x": rng.normal(size=90).round(1), "k": rng.integers(0, 60, 90)})
    real["c"] = rng.choice(["a", "b"], 90)
    made = real.assign(x=real["x"].where(real["x"] > 0) * 9, c="a")
    scores = pd.DataFrame({"step": [1, 2], "score": [0.4, -0.2]})
    report = pd.DataFrame({"measure": ["m"], "value": [0.3], "reference": [0.2], "better": ["lower"]})
    figures = [
        plots.columns(real, made, ["x", "c", "k"], ["x (m)", "c", "k (years)"]),
        plots.made_values(real["x"].to_numpy(), {"one": rng.normal(size=9), "two": np.full(9, 3.0)}, "x (m)"),
        plots.game(real["x"], rng.normal(size=50), (np.arange(3), np.array([0.2, 0.5, 0.9])), rng.random((5, 2)), "x"),
        plots.worth(real, made, "x", scores, 0.8),
        plots.fidelity({"GAN": [report, report.assign(value=0.5)], "other": [report]}, ["m"]),
        plots.distances(rng.random(40), rng.random(90), "distance (standard deviations)"),
    ]
    worlds = pd.DataFrame({"kind": ["GAN", "GAN", "copy"], "auc": [0.7, 0.72, 0.8], "leak": [0.5, 0.52, 1.0]})
    figures.append(plots.use_and_leak(worlds.assign(spread=[0.01, 0.02, np.nan]), {"real": 0.76}))
    assert all(isinstance(f, Figure) and drawn(f) for f in figures)


def test_the_best_discriminator_is_the_formula_of_two_histograms():
    real, made, bins = np.array([0.5] * 3 + [1.5]), np.array([0.5, 2.5]), np.arange(5.0)
    probability, loss = plots.best(real, made, bins)
    assert probability[:3] == pytest.approx([0.75 / 1.25, 1, 0]) and np.isnan(probability[3])
    assert loss == pytest.approx(-0.75 * np.log(0.6) - 0.5 * np.log(0.4))
    assert plots.best(real, real, bins)[1] == pytest.approx(np.log(4))  # it has to guess
    assert plots.best(real, made + 10, bins[:3])[0] == pytest.approx([1, 1 / 5])  # far outside counts in the last bin
    figure = plots.game(real, made, (np.arange(3), np.full(3, 0.5)), np.ones((4, 2)), "x")
    assert "the best D: " in str([text.get_text() for text in figure.axes[1].get_legend().get_texts()])


def test_a_map_tells_kinds_apart_by_shape_and_reports_their_range():
    worlds = pd.DataFrame({"kind": list("abc"), "auc": 0.7, "leak": 0.5, "spread": 0.01})
    (ax,) = plots.use_and_leak(worlds, {}).axes
    assert len({line.get_marker() for line in ax.lines if line.get_marker() not in ("None", "_")}) == 3
    report = pd.DataFrame({"measure": ["m"], "value": [0.2], "reference": [0.2], "better": ["lower"]})
    (ax,) = plots.fidelity({"GAN": [report, report.assign(value=0.4)]}, ["m"]).axes
    assert [line.get_xdata()[0] for line in ax.lines][-1] == pytest.approx(0.3)
    assert ax.collections[0].get_segments()[0][:, 0] == pytest.approx([0.2, 0.4])

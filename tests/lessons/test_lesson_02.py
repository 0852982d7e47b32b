"""Lesson 02: its exercises, what it claims about collapse, and its figures."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import fleet, plots, synth
from fedlab_utils.synth import gan

# ---------------------------------------------------------------- exercises


def gaps(synthetic, real):
    return np.abs(synthetic[:, None] - real)


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "best_discriminator": {
        "more than 1 where real": lambda p, q: p / np.where(q > 0, q, 1),
        "share of *made* values": lambda p, q: q / (p + q),
        "A difference can be negative": lambda p, q: p - q,
        "looks at real values only": lambda p, q: p,
        "That decides, 1 or 0. ": lambda p, q: (p > q) * 1.0,
        "ties for real": lambda p, q: (p >= q) * 1.0,
    },
    "near_copies": {
        "if *one* of its values": lambda s, r, t: (gaps(s, r) <= t).any((1, 2)).mean(),
        "compared by itself": lambda s, r, t: (gaps(s, r) <= t).any(1).all(1).mean(),
        "share of the *real* patients": lambda s, r, t: (gaps(s, r) <= t).all(2).any(0).mean(),
        "share of pairs": lambda s, r, t: (gaps(s, r) <= t).all(2).mean(),
        "divide it by the number": lambda s, r, t: (gaps(s, r) <= t).all(2).any(1).sum(),
        "added the differences": lambda s, r, t: (gaps(s, r).sum(2) <= t).any(1).mean(),
        "did you ask for equality": lambda s, r, t: (gaps(s, r) == 0).all(2).any(1).mean(),
        "ith a tolerance of .1": lambda s, r, t: (gaps(s, r) <= 1.0).all(2).any(1).mean(),
    },
    "honest_score": {
        "the photocopier wins again": lambda score, t, s, u: score(s, t),
        "play no part": lambda score, t, s, u: score(t, u),
        "table of pure nonsense": lambda score, t, s, u: score(s, s),
        "patients are the judges": lambda score, t, s, u: score(u, s),
        "synthetic ones judge": lambda score, t, s, u: score(t, s),
        "says nothing about": lambda score, t, s, u: score(u, u),
        "never calls `score`": lambda score, t, s, u: 0.7,
    },
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
    assert np.abs(shares(*lesson["game"](steps=1000)) - real).max() < 0.15
    collapsed = lesson["game"](steps=400, lr_G=0.005, lr_D=0.0005, seed=1)
    assert shares(*collapsed).min() < 0.02
    # and the losses do not tell: both runs end near log 2 and log 4
    assert collapsed[2][-50:].mean(0) == pytest.approx(np.log([2, 4]), abs=0.15)


def test_the_lessons_penalty_is_the_packages(lesson):
    D = lesson["player"](1, seed=3)
    x, made, mix = (torch.rand(20, 1, generator=torch.Generator().manual_seed(k)) for k in range(3))
    stacked = fleet.Params(*([tensor[None] for tensor in column] for column in zip(*D, strict=True)))
    steepness = gan.slope(stacked, (x + mix * (made - x))[None]).square().sum(2).sqrt()
    scores = [gan.forward(stacked, some[None]).mean() for some in (made, x)]
    ours = scores[0] - scores[1] + 0.3 * (steepness - 1).square().mean()
    assert lesson["critic_loss"](D, x, made, mix, 0.3).item() == pytest.approx(ours.item(), abs=1e-6)


def test_collapse_is_the_rule_with_a_slow_judge_and_the_exception_with_a_score(lesson):
    column, real = pd.DataFrame({"glucose": lesson["glucose"]}), lesson["shares"](lesson["glucose"])
    slow = dict(transform="linear", hidden=(32, 32), n_models=6, steps=300, lr=0.005)
    judges = {"gan": dict(critic_lr=0.0005), "wgan_gp": dict(critic_lr=0.005, penalty=0.1)}
    lost, error = {}, {}
    for method, judge in judges.items():
        fitted = synth.fit(column, method=method, **slow, **judge)
        found = np.array([lesson["shares"](fitted.sample(1000, model=k)["glucose"]) for k in range(6)])
        lost[method], error[method] = (found < 0.02).any(1).sum(), np.abs(found - real).max(1).mean()
    assert lost["gan"] >= 4 and lost["wgan_gp"] <= 1
    assert error["wgan_gp"] < error["gan"] / 2


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
        plots.fidelity({"GAN": report, "other": report}, ["m"]),
        plots.distances(rng.random(40), rng.random(90), "distance (standard deviations)"),
    ]
    assert all(isinstance(f, Figure) and len(plots.png(f)) > 2000 for f in figures)

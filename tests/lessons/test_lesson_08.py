"""Lesson 08: its exercises, what it builds by hand, and what it says about sums, critics, attacks and ledgers."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import norm

from fedlab_utils import attacks, data, fidelity, plots, privacy, secagg, synth, system
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def noise(tables, sd, rng):
    return [t + rng.normal(0, sd, t.shape) for t in tables]


def root(tables):
    return len(tables) ** 0.5


def cells_of(tables):
    return sum(t.size for t in tables)


def once_for_all(tables, z, rng):
    seed = int(rng.integers(1000))
    return [t + np.random.default_rng(seed).normal(0, z * root(tables), t.shape) for t in tables]


def ratio(released, without, record, sd):
    return (((released - without) ** 2).sum() - ((released - without - record) ** 2).sum()) / (2 * sd**2)


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "noisy_tables": {
        "noise is z itself": lambda t, z, rng: noise(t, z, rng),
        "(L1)": lambda t, z, rng: noise(t, z * len(t), rng),
        "exchanging one record": lambda t, z, rng: noise(t, z * (2 * len(t)) ** 0.5, rng),
        "not the variance": lambda t, z, rng: noise(t, z**2 * len(t), rng),
        "number of all cells": lambda t, z, rng: noise(t, z * cells_of(t) ** 0.5, rng),
        "outside of the root": lambda t, z, rng: noise(t, (z * len(t)) ** 0.5, rng),
        "Where is `z`": lambda t, z, rng: noise(t, len(t) ** 0.5, rng),
        "where is the noise": lambda t, z, rng: t,
        "got the same number": lambda t, z, rng: [x + rng.normal(0, z * root(t)) for x in t],
        "very same noise": once_for_all,
        "how many cells a table has": lambda t, z, rng: [x + rng.normal(0, z * x.size**0.5, x.shape) for x in t],
        "not zero on average": lambda t, z, rng: [x.clip(min=100) for x in noise(t, z * root(t), rng)],
        "came back with shape": lambda t, z, rng: [x[0] + rng.normal(0, z * root(t), x[0].shape) for x in t],
        "a list of 16": lambda t, z, rng: np.concatenate(noise(t, z * root(t), rng), axis=1),
        "Healthy and ill got": lambda t, z, rng: [x + rng.normal(0, z * root(t), x.shape[1]) for x in t],
        "Another `rng`": lambda t, z, rng: noise(t, z * root(t), np.random.default_rng(2024)),
        "take the number from": lambda t, z, rng: noise(t, z * 3, rng),
        "too small here": lambda t, z, rng: noise(t, z * root(t) / 2, rng),
        "too large here": lambda t, z, rng: noise(t, z * root(t) * 1.2, rng),
    },
    "log_ratio": {
        "turned round": lambda t, w, r, sd: -ratio(t, w, r, sd),
        "the ratio itself": lambda t, w, r, sd: np.exp(ratio(t, w, r, sd)),
        "Half is missing": lambda t, w, r, sd: 2 * ratio(t, w, r, sd),
        "*square* of sd": lambda t, w, r, sd: ratio(t, w, r, sd) * sd,
        "Where is `sd`": lambda t, w, r, sd: ratio(t, w, r, 1),
        "*with* the patient alone": lambda t, w, r, sd: -((t - w - r) ** 2).sum() / (2 * sd**2),
        "*without* the patient alone": lambda t, w, r, sd: norm.logpdf(t, w, sd).sum() + len(t) * np.log(2.506628 * sd),
        "left out the square": lambda t, w, r, sd: ((t - w) * r).sum() / sd**2,
        "lacks its half": lambda t, w, r, sd: (((t - w) * r).sum() - r.sum()) / sd**2,
        "counts are *larger*": lambda t, w, r, sd: ratio(t, w, -r, sd),
        "are not taken off": lambda t, w, r, sd: ((t * r).sum() - r.sum() / 2) / sd**2,
        "one a count": lambda t, w, r, sd: norm.logpdf(t, w + r, sd) - norm.logpdf(t, w, sd),
    },
    "gives_away": {
        "names in both": {"A", "B", "C", "D"},
        "Run the cell for each": set(),
        "*names* of B's": {"C", "D"},
        "oldest patient": {"B", "D"},
        "fresh noise would differ in nearly": {"B", "C"},
        "none of the letters": {"B", "E"},
    },
}


def by_loops(tables, z, rng):
    sd, made = z * len(tables) ** 0.5, []
    for table in tables:
        made.append([[value + rng.normal(0, sd) for value in row] for row in table])
    return made


def at_once(tables, z, rng):
    flat = np.concatenate(tables, axis=1)
    flat = flat + z * np.sqrt(len(tables)) * rng.standard_normal(flat.shape)
    return tuple(np.split(flat, np.cumsum([t.shape[1] for t in tables])[:-1], axis=1))


def in_torch(tables, z, rng):
    g = torch.Generator().manual_seed(int(rng.integers(10**6)))
    return [torch.from_numpy(t) + z * root(tables) * torch.randn(t.shape, generator=g) for t in tables]


def ratio_by_loops(released, without, record, sd):
    total = 0.0
    for t, w, r in zip(released, without, record, strict=True):
        total += ((t - w) ** 2 - (t - w - r) ** 2) / 2 / sd / sd
    return [total]


RIGHT = {
    "noisy_tables": [by_loops, at_once, in_torch, lambda t, z, rng: [x.round() for x in noise(t, z * root(t), rng)]],
    "log_ratio": [
        ratio_by_loops,
        lambda t, w, r, sd: norm.logpdf(t, w + r, sd).sum() - norm.logpdf(t, w, sd).sum(),
        lambda t, w, r, sd: torch.tensor(((t - w) @ r - r @ r / 2) / sd**2),
        lambda t, w, r, sd: np.asarray(pd.Series((t - w) * r - r / 2).sum() / sd**2),
    ],
    "gives_away": [{"B", "C", "D"}, ["d", "c", "b"], "B, C, D"],
}


# ---------------------------------------------------------------- what the lesson builds by hand


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions and tables, without its long runs."""
    source = lessons.SOURCES / "08_the_whole_system.py"
    short = (
        "count total invent levels federation vectors worth simulated homer genotypes inside outside teams register z"
    )
    return cells.definitions(source, *short.split(), "quick", "SD", "section", "halves", "best_attack")


def test_counts_by_hand_are_those_of_plain_loops_and_of_the_package(lesson):
    smoker, harbour = lesson["levels"].names.index("smoker"), lesson["federation"].hospitals[-1]
    table = lesson["count"](lesson["levels"].codes(harbour.train))[smoker]
    for outcome in (0, 1):
        for level, value in enumerate(("never", "former", "current")):
            own = (harbour.train["smoker"] == value) & (harbour.train["cvd_event"] == outcome)
            assert table[outcome, level] == own.sum()
    made = synth.fit_federated(lesson["federation"], method="tables")
    ours = np.concatenate([t / t.sum(1, keepdims=True) for t in lesson["total"]], axis=1)
    np.testing.assert_allclose(made.arrays["tables"][0], ours, atol=2e-5)


def test_one_patient_changes_nine_counts_by_one(lesson):
    first = lesson["levels"].codes(lesson["federation"].hospitals[0].train)[:1]
    one = np.concatenate([table.ravel() for table in lesson["count"](first)])
    assert sorted(one)[-9:] == [1] * 9 and one.sum() == 9


def test_halves_are_drawn_by_coins_from_the_same_patients(lesson):
    patients, member, drawn = lesson["halves"](6, 3)
    assert member.shape == (3, 30) and len(patients) == 30
    for heads, half in zip(member, drawn, strict=True):
        assert half.pooled().train["age"].tolist() == patients["age"][heads].tolist()


def test_invented_patients_have_the_shares_of_the_tables(lesson):
    made = lesson["invent"](lesson["total"], 20_000, np.random.default_rng(3))
    real = lesson["federation"].pooled().train
    for outcome in (0, 1):
        ours, theirs = (rows.loc[rows["cvd_event"] == outcome, "diabetes"].eq("yes").mean() for rows in (made, real))
        assert abs(ours - theirs) < 0.02
    assert 0.74 < lesson["worth"](made) < lesson["worth"](real)


def test_noise_in_shares_lies_between_one_place_and_all_of_it_by_each(lesson):
    promise = privacy.RecordDP(epsilon=1, secure=False)
    masked = secagg.private_sum(lesson["vectors"], promise=promise, cells=9)
    assert 3 * lesson["z"] < masked.sd < 3 * lesson["z"] * 5**0.5


# ---------------------------------------------------------------- what the lesson says


@pytest.mark.parametrize("together", [1, 2, 3])
def test_what_is_drawn_apart_is_lost(lesson, together):
    """Without noise: tables lose twos, correlations for each label keep them, and neither keeps threes."""
    hospitals = lesson["simulated"](together, 7)
    test, real = hospitals.pooled().test, hospitals.pooled().train

    def worth(rows):
        return fidelity.utility(rows, test, target="event", family="trees")

    made = {m: synth.fit_federated(hospitals, method=m).sample(4000) for m in ("tables", "copula")}
    lost = {method: worth(real) - worth(rows) for method, rows in made.items()}
    if together == 1:
        assert max(lost.values()) < 0.03
    elif together == 2:
        assert lost["tables"] > 0.12 and lost["copula"] < 0.06
    else:
        assert min(lost.values()) > 0.08


def test_exact_sums_name_members_and_noisy_ones_do_not(lesson):
    inside, outside, rng = lesson["inside"], lesson["outside"], np.random.default_rng(5)

    def found(means):
        others, members = lesson["homer"](outside, means), lesson["homer"](inside, means)
        return (members > np.quantile(others, 0.99)).mean()

    assert found(inside.mean(0)) > 0.9
    assert found((inside.sum(0) + rng.normal(0, lesson["z"] * 5000**0.5, 5000)) / 200) < 0.06


@pytest.mark.parametrize("adds", [1, 9, 36])
def test_the_best_attacker_meets_the_bound_whatever_the_table(adds):
    """The likelihood ratio under noise of the right length, against the trade-off curve of one Gaussian release."""
    rng, z = np.random.default_rng(adds), privacy.noise_for(1.0)
    record, sd = np.r_[np.ones(adds), np.zeros(60 - adds)], z * adds**0.5
    scores = []
    for there in (0, 1):
        released = there * record + rng.normal(0, sd, (40_000, 60))
        scores.append((released @ record - adds / 2) / sd**2)
    for alarms in (0.01, 0.1, 0.5):
        found = (scores[1] > np.quantile(scores[0], 1 - alarms)).mean()
        assert found == pytest.approx(norm.cdf(norm.ppf(alarms) + 1 / z), abs=0.015)


def test_teams_give_anna_away_by_names_or_by_equal_noise(lesson):
    rng, register = np.random.default_rng(0), lesson["register"]
    both = {k: (team(register, rng), team(register[1:], rng)) for k, team in lesson["teams"].items()}
    names = {k for k, (a, b) in both.items() if list(a.index) != list(b.index)}
    same = {k for k, (a, b) in both.items() if k not in names and (a == b).mean() > 0.7}
    assert names == {"B", "C"} and same == {"D"}
    sds = [np.std([team(register, rng).iloc[1] for _ in range(300)]) for team in (lesson["teams"][k] for k in "AB")]
    np.testing.assert_allclose(sds, lesson["SD"], rtol=0.15)


def test_a_forgetful_ledger_has_the_smaller_epsilon_and_says_what_it_lacks():
    exact, noisy = (
        data.load("hospital_network", statistics=s) for s in (None, privacy.RecordDP(epsilon=0.5, secure=False))
    )
    made = synth.fit_federated(exact, method="tables", privacy=privacy.RecordDP(epsilon=1, secure=False))
    less, more = (made.ledger + fed.ledger for fed in (exact, noisy))
    assert less.epsilon() < more.epsilon()
    assert any("counts and sums" in s for s in less.check()) and not any("counts and sums" in s for s in more.check())


def test_presets_are_run_as_the_lesson_says(lesson):
    one = lesson["quick"]("sharma", method="copula", warm_up=False)
    assert one.synthetic.epsilon == system.PRESETS["sharma"].synthetic.epsilon and one.training.batch_size == 512
    assert not lesson["quick"]("7med", attack=False).checks.attack
    rounds = {name: lesson["quick"](name).training.rounds for name in ("sharma", "poojari", "ours")}
    assert rounds == {"sharma": 10, "poojari": 5, "ours": 10}


def test_the_best_attack_is_shown_with_its_interval_and_an_open_cell_is_empty(lesson):
    attacks_made = pd.DataFrame({"auc": [0.5, 0.61], "auc_low": [0.4, 0.55], "auc_high": [0.6, 0.7]})
    one = system.Outcome(system.PRESETS["taj"], attacks=attacks_made)
    assert lesson["best_attack"](one) == "AUC 0.61\n(0.55 to 0.70)"
    assert lesson["best_attack"](system.Outcome(system.PRESETS["7med"])) == ""


def test_sentences_of_a_section_are_read_off_a_report(lesson):
    page = "<h2>One</h2><ul><li>a &lt; <b>b</b></li></ul></section><h2>Two</h2><li>no</li></section>"
    assert lesson["section"](page, "One") == ["a < b"]


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    member = np.arange(400) % 2 == 0
    auc = attacks.AttackResult("one", rng.normal(size=400) + member, member).auc
    found = pd.DataFrame([
        dict(kind=k, rows=r, replicate=n, auc=rng.uniform(0.5, 0.8)) for k in "ab" for r in ("x", "y") for n in (0, 1)
    ])  # fmt: skip
    heaps = rng.normal(size=300), rng.normal(size=200) + 1
    line = np.linspace(0, 1, 9)
    made = [
        plots.board(pd.DataFrame([["", "a\nb"]], ["one"], ["x?", "y?"])),
        plots.critic_or_sum({"e": ([1, 10], [1, 3])}, ([5, 9], rng.uniform(size=(2, 3))), {"real": 0.8, "a coin": 0.5}),
        plots.critic_or_sum({"e": ([1, 10], [1, 3])}, (np.zeros(0, int), np.zeros((0, 2))), {"real": 0.8}),
        plots.kinds_of_tables(found),
        plots.found_in_tables({"a table": {"one": auc, "two": auc}}),
        plots.sums_attacked(heaps, {"one": heaps}, (line, line**0.5)),
        plots.private_table({"linear": ([], 0.75)}, {"real": [1]}, "age"),
        plots.private_table(
            {"linear": ([0.7], 0.75), "trees": ([0.6, 0.7], 0.8)}, {"real": [1], "invented": [1]}, "age"
        ),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)


def test_an_open_cell_of_the_board_holds_a_question_mark():
    (ax,) = plots.board(pd.DataFrame([["", "known"]], ["one"], ["x?", "y?"])).axes
    assert [t.get_text() for t in ax.texts] == ["?", "known"]


def test_a_gan_that_has_not_begun_has_no_line():
    figure = plots.critic_or_sum({"e": ([1, 10], [1, 3])}, (np.zeros(0, int), np.zeros((0, 2))), {"real": 0.8})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["real"]


@pytest.mark.parametrize("longest", [10, 15, 20, 40, 400, 10_000])
def test_noise_over_steps_has_several_numbers_on_each_axis(longest):
    """At epsilon 3, as the lab of the long GAN draws it."""
    noise = {"e": ((1, longest), (1.5, 1.5 * longest**0.5))}
    axes = plots.critic_or_sum(noise, (np.zeros(0, int), np.zeros((0, 2))), {"real": 0.8}).axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        assert 2 <= len(axis.get_ticklabels()) <= 9, axis.get_ticklocs()

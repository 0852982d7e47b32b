"""Sums under a promise: how far a record moves them, the noise on them, and what attacks on them find.

Seeds are fixed; limits are five standard errors, so that another seed would fail once in a million.
"""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import audit, data, secagg
from fedlab_utils.privacy import RecordDP
from fedlab_utils.privacy.accounting import gaussian_epsilon
from fedlab_utils.synth import public, sums
from fedlab_utils.synth.releases import Releases, Sum

METHODS = sums.METHODS
KNOWN = dict(
    bounds={"age": (20, 90), "marker": (0, 10)},
    categories={"sex": ["f", "m"], "ward": ["i", "j", "k"], "event": [0, 1]},
)
QUIET = RecordDP(noise_multiplier=1e-3, secure=False)


def federation(n=120, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"age": rng.integers(20, 91, n), "marker": np.round(rng.gamma(2, 1.5, n), 1).clip(0, 10)})
    frame = frame.assign(
        sex=rng.choice(["f", "m"], n), ward=rng.choice(["i", "j", "k"], n), site=["A", "B", "C"] * (n // 3)
    )
    frame.loc[rng.random(n) < 0.1, "marker"] = np.nan
    frame["event"] = (frame["age"] > 55).astype(int)
    return data.from_frame(frame, target="event", hospital="site", **KNOWN)


FED = federation()
LEVELS = sums.Levels(public.describe(FED, None, promised=True).encoder, 6)
CODES = [LEVELS.codes(h.train) for h in FED.hospitals]


def coded(change=None):
    """All rows as levels; `change` is (hospital, row, what stands there instead)."""
    codes = [c.copy() for c in CODES]
    if change:
        hospital, row, instead = change
        codes[hospital][row] = instead
    return sums.Coded(LEVELS, "event", codes)


@pytest.fixture(autouse=True)
def fewer_steps(monkeypatch):
    monkeypatch.setattr(sums, "STEPS", 20)


# ---------------------------------------------------------------- sensitivity


@pytest.mark.parametrize("method", METHODS)
def test_no_record_moves_a_sum_further_than_its_sensitivity(method):
    """By brute force: every record blank in turn, then records of extreme values, each release by itself."""
    rng = np.random.default_rng(1)
    most = np.array(list(LEVELS.sizes.values()))
    blank = np.full(len(most), -1)
    extreme = [rng.integers(0, most) for _ in range(60)] + [most - 1, 0 * most]
    moved = []
    for instead in extreme:
        found = [vectors_of(method, coded((1, 4, who))) for who in (instead, blank)]
        for k, ((one, with_), (_, without)) in enumerate(zip(*found, strict=True)):
            differs = (with_ - without)[1]
            assert not (with_ - without)[[0, 2]].any()  # the other hospitals send the same
            moved.append((k, np.linalg.norm(differs) / one.length))
            assert np.abs(differs).max() <= one.largest * (1 + 1e-9)
            if one.cells:
                assert set(np.abs(differs)) <= {0, 1} and np.abs(differs).sum() <= one.cells
    by_release = pd.DataFrame(moved, columns=["release", "share"]).groupby("release")["share"].max()
    assert (by_release <= 1 + 1e-9).all() and (by_release > 0.7).all()


def vectors_of(method, one):
    """Each release of a method, and what hospitals add up for it."""
    planned = sums.planned(method, one)
    if method == "pairs":
        return [(planned[0], sums.pair_tables(one))]
    found = [(planned[0], sums.label_tables(one))]
    if method == "copula":
        scores = [[np.linspace(-1.5, 2, n) for n in one.sizes]] * 2
        found.append((planned[1], sums.products(one, scores, 3.0)))
    return found


def test_scores_are_cut_to_their_length_on_a_grid():
    rng = np.random.default_rng(0)
    for p in (2, 9, 60):
        assert np.linalg.norm(sums._cut(np.eye(2, 5000), 2.0**-3), axis=1).max() <= 1  # too coarse: nothing is left
        scores = sums._cut(rng.normal(size=(500, p)) * rng.choice([0.01, 0.3, 5], (500, 1)), 2.0**-6)
        assert (scores * 64 % 1 == 0).all() and np.linalg.norm(scores, axis=1).max() <= 1
        weight = 2.0 ** -math.ceil(math.log2(2 * p) / 2)
        upper = np.triu_indices(p, 1)
        for s in scores[:100]:
            vector = np.r_[np.outer(s, s)[upper], weight * (s @ s)]
            assert np.linalg.norm(vector) <= 1 / math.sqrt(2) + 1e-12


# ---------------------------------------------------------------- noise


@pytest.mark.parametrize("aggregator", [None, secagg.PrivateSum()])
@pytest.mark.parametrize(
    "one", [Sum("counts", 4000, 0.5, cells=4), Sum("numbers", 4000, 0.5, sensitivity=0.7, largest=0.5)]
)
def test_the_noise_has_the_size_that_the_budget_asks_for(one, aggregator):
    book = Releases(FED, RecordDP(noise_multiplier=2.0, secure=False), aggregator)
    book.plan([one])
    vectors = np.random.default_rng(0).integers(0, 9, (3, 4000)) * (1.0 if one.cells else 0.25)
    total, sd = book.total(one, vectors)
    least = 2.0 / math.sqrt(0.5) * one.length  # that of one hospital, or of the honest ones of the fewest
    expected = least * math.sqrt(3 if aggregator is None else 3 / 2)  # all three are in a sum, and one of them looks
    assert sd == pytest.approx(expected, rel=0.02)
    error = total - vectors.sum(0)
    assert error.std() == pytest.approx(sd, rel=5 / math.sqrt(2 * 4000)) and abs(error.mean()) < 5 * sd / 4000**0.5
    assert abs(np.corrcoef(error, vectors.sum(0))[0, 1]) < 5 / 4000**0.5


def test_other_rows_other_releases_and_other_models_meet_other_noise():
    one = Sum("counts", 50, 1.0, cells=4)
    zero, other = np.zeros((3, 50)), np.eye(3, 50)

    def noise(vectors, model=0, aggregator=None, multiplier=2.0):
        book = Releases(FED, RecordDP(noise_multiplier=multiplier, secure=False), aggregator, 0, model)
        book.plan([one])
        return book.total(one, vectors)[0] - vectors.sum(0)

    for aggregator in (None, secagg.PrivateSum()):
        first = noise(zero, aggregator=aggregator)
        louder = noise(zero, aggregator=aggregator, multiplier=4.0)
        assert (np.abs(louder - 2 * first) > 1e-9).mean() > 0.5  # or both together would tell the exact numbers
        assert np.array_equal(first, noise(zero, aggregator=aggregator))
        assert not np.isclose(first, noise(other, aggregator=aggregator)).all()
        assert (first != noise(zero, 1, aggregator)).mean() > 0.5


# ---------------------------------------------------------------- attacks

RUNS = 450  # a third of them choose the threshold


def test_the_likelihood_ratio_of_a_record_meets_its_bound():
    """With Gaussian noise the best attack on noisy tables adds up the record's own cells, and does all that is allowed.

    Its two bell curves lie 1 / (noise multiplier) apart, from which the promise is computed; an audit comes near.
    """
    present, one = np.arange(3000) % 2 == 1, Sum(sums.TABLES, 40, 1.0, cells=9)
    seen = np.zeros((3000, 40))
    for seed, there in enumerate(present):
        book = Releases(FED, RecordDP(epsilon=8.0, secure=False), None, seed)
        book.plan([one])
        seen[seed] = book.noisy(one, 0, np.r_[np.full(9, 1.0 * there), np.zeros(31)])
    score, multiplier = seen[:, :9].sum(1), book.mechanisms(one)["server"].noise_multiplier
    apart = (score[present].mean() - score[~present].mean()) / score[~present].std()
    assert apart == pytest.approx(1 / multiplier, abs=5 * math.sqrt(4 / 3000))
    assert gaussian_epsilon(1 / multiplier, 1e-5) == pytest.approx(8.0, rel=0.01)  # nothing is given away
    found = audit.judge(score[:, None], present, np.ones(1), gaussian=True)
    assert found.models == 2000 and found.lower < found.refined <= 8.0 and found.refined > 5.5
    assert audit.judge(seen[:, 9:18].sum(1)[:, None], present, np.ones(1), gaussian=True).refined < 0.5


def canaries(method, epsilon=1.0):
    """How far the drawn tables lean to a record of values that nobody else has, where it is there and where not."""
    present = np.arange(RUNS) % 2 == 1
    codes = [np.tile([0, 0, 0, 0, 0], (8, 1)) for _ in range(3)]
    codes[1][4:, -1] = 1
    rare = np.array([LEVELS.sizes[c] - 1 for c in ("age", "marker", "sex", "ward")] + [1])
    lean = []
    for seed, there in enumerate(present):
        own = [c.copy() for c in codes]
        own[0][0] = rare if there else -1
        one = sums.Coded(LEVELS, "event", own)
        book = Releases(FED, RecordDP(epsilon=epsilon, secure=False), None, seed)
        arrays = sums.learn(method, one, book, np.random.default_rng(seed), iter)
        lean.append(leaning(arrays, one, rare))
    return audit.judge(np.array(lean)[:, None], present, np.ones(1), gaussian=False), book


def leaning(arrays, one, rare):
    """Share of the label times that of the record's levels, in all columns."""
    places = np.cumsum([0, *one.sizes[:-1]]) + rare[:-1]
    shares = arrays["tables"][1] if "tables" in arrays else arrays["rows"][1].mean(0)
    return float(arrays["total"] * arrays["label_shares"][1] * shares[places].sum())


@pytest.mark.parametrize("method", METHODS)
def test_an_audit_with_a_planted_record_stays_below_the_bound(method, monkeypatch):
    monkeypatch.setattr(sums, "STEPS", 4)
    monkeypatch.setattr(sums, "_ROWS", 40)
    found, book = canaries(method)
    assert found.models == RUNS * 2 // 3 and found.lower <= book.ledger.epsilon() <= 1.0


def test_the_audit_convicts_label_counts_that_nobody_paid_for(monkeypatch):
    """Planted: shares of the labels from exact counts beside the noisy tables."""
    monkeypatch.setattr(sums, "_labels_of", lambda tables: tables_exact())
    exact = {}
    honest = sums.label_tables

    def spy(one):
        vectors = honest(one)
        exact["labels"] = vectors.sum(0).reshape(2, -1)[:, : one.sizes[0]].sum(1)
        return vectors

    def tables_exact():
        return np.maximum(exact["labels"], 1.0)

    monkeypatch.setattr(sums, "label_tables", spy)
    monkeypatch.setitem(globals(), "leaning", lambda arrays, *rest: float(arrays["total"] * arrays["label_shares"][1]))
    found, book = canaries("tables")
    assert found.lower > book.ledger.epsilon()


def test_relaxed_rows_do_not_overflow_however_far_they_are_pulled(monkeypatch):
    monkeypatch.setattr(sums, "_RATE", 50.0)
    targets = torch.zeros(1, 5, 5)
    targets[0, 0, 2] = targets[0, 2, 0] = 1.0  # everybody is in the first level of both columns
    rows = sums._relaxed(targets, [2, 3], np.random.default_rng(0), lambda steps: steps)
    assert torch.isfinite(rows).all() and torch.allclose(rows[..., :2].sum(-1), torch.ones(1, 1000))
    assert rows[..., [0, 2]].mean() > 0.9

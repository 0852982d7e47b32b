"""Rules in the place of the mean, beside slow ones written out here; what liars can and cannot do to each."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedlab_utils import data, encrypted, federated, fleet, secagg
from fedlab_utils.federated.aggregators import Round
from fedlab_utils.federated.plan import Here
from fedlab_utils.privacy import HospitalDP, RecordDP
from tests.federated.helpers import QUICK, table
from tests.refusals import one_sentence

NAN, INF = math.nan, math.inf
NAMES = "Median TrimmedMean Krum MultiKrum NormClipping CenteredClipping GeometricMedian".split()


def made(name, f=1, **more):
    return getattr(federated, name)(**({"f": f} if name in ("TrimmedMean", "Krum", "MultiKrum") else {}) | more)


# ---------------------------------------------------------------- slow rules, one run, updates [n, d], weights [n]


def slow_median(u, w):
    return np.array([sorted(c)[len(c) // 2] / 2 + sorted(c)[(len(c) - 1) // 2] / 2 for c in u.T])


def slow_trimmed(u, w, f):
    return np.array([np.mean(sorted(c)[f : len(c) - f]) for c in u.T])


def slow_scores(u, neighbours):
    found = []
    for i in range(len(u)):
        apart = sorted(((u[i] - u[j]) ** 2).sum() for j in range(len(u)) if j != i)
        found.append(sum(apart[:neighbours]))
    return np.array(found)


def slow_krum(u, w, f, keep=1):
    return u[np.argsort(slow_scores(u, len(u) - f - 2))[:keep]].mean(0)


def slow_clip(u, w, limit=None):
    limit = np.median([np.linalg.norm(x) for x in u]) if limit is None else limit
    return sum(a * x * min(1, limit / np.linalg.norm(x)) for a, x in zip(w, u, strict=True)) / w.sum()


def slow_centered(u, w, limit=None, iterations=3, v=0.0):
    for _ in range(iterations):
        v = v + slow_clip(u - v, w, limit)
    return v


def slow_geometric(u, w, iterations=10, nu=1e-6):
    z = np.zeros(u.shape[1])
    for _ in range(iterations):
        pull = [a / max(nu, np.linalg.norm(x - z)) for a, x in zip(w, u, strict=True)]
        z = sum(p * x for p, x in zip(pull, u, strict=True)) / sum(pull)
    return z


SLOW = [
    (made("Median"), slow_median),
    (made("TrimmedMean", 0), partial(slow_trimmed, f=0)),
    (made("TrimmedMean", 2), partial(slow_trimmed, f=2)),
    (made("Krum", 0), partial(slow_krum, f=0)),
    (made("Krum", 2), partial(slow_krum, f=2)),
    (made("MultiKrum", 2), lambda u, w: slow_krum(u, w, 2, len(u) - 2)),
    (made("MultiKrum", 1, keep=3), partial(slow_krum, f=1, keep=3)),
    (made("NormClipping"), slow_clip),
    (made("NormClipping", limit=1.5), partial(slow_clip, limit=1.5)),
    (made("CenteredClipping"), slow_centered),
    (made("CenteredClipping", limit=0.7, iterations=5), partial(slow_centered, limit=0.7, iterations=5)),
    (made("GeometricMedian"), slow_geometric),
    (made("GeometricMedian", iterations=3, nu=0.1), partial(slow_geometric, iterations=3, nu=0.1)),
]


def a_round(members, d, weight=None, silent=None, memory=None, **more):
    """A round with these hospitals of 9 in each run."""
    runs = len(members)
    here = Here([np.array(m, dtype=int) for m in members], 9)
    gone = Here([np.array(m, dtype=int) for m in silent or [[]] * runs], 9)
    weight = np.ones((runs, 9)) if weight is None else weight
    own = [None] * runs, [False] * runs, [False] * runs, torch.zeros(runs, d), {} if memory is None else memory
    return Round(1, here, gone, weight, *own, **more)


MEMBERS = [list(range(9)), [0, 2, 3, 4, 6, 7, 8], [1, 2, 3, 4, 5, 6, 7, 8], list(range(9))]


@pytest.mark.parametrize(("rule", "slow"), SLOW, ids=lambda v: repr(v) if isinstance(v, federated.Rule) else "")
def test_a_rule_for_a_fleet_is_the_slow_one_run_by_run(rule, slow):
    """Of 7, 8 and 9 hospitals that came, one or two far from the others, with rows of several numbers."""
    rng = np.random.default_rng(1)
    updates = [rng.normal(size=(len(m), 6)) + 0.5 for m in MEMBERS]
    for u in updates:
        u[-2:] *= 30
    weight = rng.integers(1, 9, size=(4, 9))
    found, sent = rule.together(torch.from_numpy(np.concatenate(updates)).float(), a_round(MEMBERS, 6, weight))
    for r, (u, m) in enumerate(zip(updates, MEMBERS, strict=True)):
        np.testing.assert_allclose(found[r], slow(u, weight[r, m]), atol=2e-5)
        alone, messages = rule.aggregate(u, weight[r, m], alive=np.ones(len(m), dtype=bool), rng=None)
        np.testing.assert_allclose(alone, slow(u, weight[r, m]), atol=1e-9)
        assert [(*x[:4],) for x in sent[r]] == [(h, "server", "update", 24) for h in m] and len(messages) == len(m)


@pytest.mark.parametrize("name", NAMES)
def test_which_rules_count_heads(name):
    rng = np.random.default_rng(2)
    u, alive = rng.normal(size=(7, 4)), np.ones(7, dtype=bool)
    alike, by_rows = (made(name).aggregate(u, w, alive=alive)[0] for w in (np.ones(7), np.r_[np.ones(6), 10**6]))
    heads = name in ("Median", "TrimmedMean", "Krum", "MultiKrum")
    assert np.array_equal(alike, by_rows) == heads
    if name == "GeometricMedian":  # whoever has more than half of the weight is the median
        np.testing.assert_allclose(by_rows, u[6], atol=1e-4)


def test_krum_scores_by_hand():
    at = np.array([[0.0], [1], [2], [4], [9]])  # f = 1: two neighbours each
    assert federated.Krum(1).scores(at).tolist() == [1 + 4, 1 + 1, 1 + 4, 4 + 9, 25 + 49]
    with one_sentence("aggregator"):
        federated.Krum(1).scores(at[:4])


# ---------------------------------------------------------------- conventions of the libraries, from their formulas


def test_byzfl_takes_one_neighbour_more_and_chooses_another_update():
    """ByzFL 0.0.11 sorts a row of distances, leaves out the first (oneself), and takes those up to place n - f."""
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(200):
        u, f = rng.normal(size=(9, 3)), 2
        square = np.sort(((u[:, None] - u[None]) ** 2).sum(2), axis=1)
        byzfl, flower = square[:, 1 : 9 - f].sum(1), square[:, 1 : max(1, 9 - f - 2) + 1].sum(1)
        np.testing.assert_allclose(federated.Krum(f).scores(u), flower)
        differ += byzfl.argmin() != flower.argmin()
    assert 0 < differ < 100


def test_flowers_share_to_cut_is_a_number_here():
    """FedTrimmedAvg(beta) cuts int(beta n) of either side."""
    u = np.random.default_rng(3).normal(size=(11, 4))
    cut = np.sort(u, axis=0)[int(0.2 * 11) : 11 - int(0.2 * 11)].mean(0)
    found, _ = federated.TrimmedMean(2).aggregate(u, np.ones(11), alive=np.ones(11, dtype=bool))
    np.testing.assert_allclose(found, cut)


# ---------------------------------------------------------------- what liars can do

SIZES = st.one_of(st.floats(-(2.0**100), 2.0**100, width=32), st.sampled_from([INF, -INF, NAN, 3e38, -3e38, 0.0]))


@st.composite
def crowds(draw):
    """Honest updates, and f of liars at places among them, f below one half."""
    f = draw(st.integers(0, 4))
    honest = draw(st.integers(f + 1, 9 - f))
    seed, spread = draw(st.integers(0, 10**6)), draw(st.sampled_from([1e-3, 1.0, 1e6]))
    rng = np.random.default_rng(seed)
    truth = (rng.normal(size=(honest, 3)) * spread).astype(np.float32)
    lies = np.array(draw(st.lists(SIZES, min_size=3 * f, max_size=3 * f)), dtype=np.float32).reshape(f, 3)
    return f, truth, np.concatenate([truth, lies])[rng.permutation(honest + f)]


@given(crowds())
def test_no_f_liars_move_median_or_trimmed_mean_out_of_the_honest_spread(crowd):
    f, truth, sent = crowd
    members = [list(range(len(sent)))]
    for rule in (federated.Median(), federated.TrimmedMean(f)):
        found = rule.together(torch.from_numpy(sent), a_round(members, 3))[0][0].numpy()
        slack = 1e-6 * np.abs(truth).max(0)
        assert (found >= truth.min(0) - slack).all() and (found <= truth.max(0) + slack).all()


def test_one_liar_moves_the_mean_anywhere():
    u = np.ones((9, 2))
    u[4] = [1e9, -1e9]
    mean, _ = federated.OpenSum().aggregate(u, np.ones(9), alive=np.ones(9, dtype=bool))
    assert abs(mean).min() > 1e8


def test_more_liars_than_f_own_the_trimmed_mean_and_half_of_all_own_the_median():
    u, all_here = np.zeros((9, 1)), np.ones(9, dtype=bool)
    u[:3] = 1e9
    assert federated.TrimmedMean(2).aggregate(u, np.ones(9), alive=all_here)[0] > 1e8
    assert federated.TrimmedMean(3).aggregate(u, np.ones(9), alive=all_here)[0] == 0
    u[:5] = 1e9
    assert federated.Median().aggregate(u, np.ones(9), alive=all_here)[0] == 1e9


def test_krum_can_put_out_a_liars_update():
    """Two liars that send the same, near enough to the others, are each other's nearest neighbour."""
    honest = np.array([[0.0], [1], [2], [3.4], [4.6], [6]])
    lies = np.full((2, 1), 2.7)
    found, _ = federated.Krum(2).aggregate(np.concatenate([honest, lies]), np.ones(8), alive=np.ones(8, dtype=bool))
    assert found == 2.7 and 2.7 not in honest


def test_clipping_lets_a_liar_in_at_every_round_and_bounds_it():
    rng = np.random.default_rng(5)
    honest = rng.normal(size=(8, 20))
    lie = np.eye(20)[:1] * 1e9
    all_here, moved, total = np.ones(9, dtype=bool), [], np.zeros(20)
    for _ in range(10):
        found, _ = federated.NormClipping(2.0).aggregate(np.concatenate([honest, lie]), np.ones(9), alive=all_here)
        without, _ = federated.NormClipping(2.0).aggregate(
            np.concatenate([honest, 0 * lie]), np.ones(9), alive=all_here
        )
        moved.append(np.linalg.norm(found - without))
        total += found - without
    np.testing.assert_allclose(moved, 2.0 / 9)  # no lie is longer than the limit
    np.testing.assert_allclose(np.linalg.norm(total), 10 * 2.0 / 9)  # and all of them go one way


@pytest.mark.parametrize("size", [1e3, 1e9, 1e30])
def test_the_geometric_median_is_bounded_however_far_a_lie_is(size):
    """Started at the mean, ten steps would not have come back from the last of these."""
    rng = np.random.default_rng(6)
    u = rng.normal(size=(9, 5))
    furthest = np.linalg.norm(u[2:], axis=1).max()
    u[:2] = size
    found, _ = federated.GeometricMedian().aggregate(u, np.ones(9), alive=np.ones(9, dtype=bool))
    share = 2 / 9
    assert np.linalg.norm(found) <= 2 * (1 - share) / (1 - 2 * share) * furthest


@pytest.mark.parametrize("lie", [NAN, INF, -INF])
@pytest.mark.parametrize("name", NAMES)
def test_updates_that_are_no_numbers_poison_no_rule(name, lie):
    rng = np.random.default_rng(7)
    honest = rng.normal(size=(7, 3)).astype(np.float32)
    lies = np.full((2, 3), lie, dtype=np.float32)
    lies[1] = [0, lie, 0]
    found, _ = made(name, 2).together(torch.from_numpy(np.concatenate([lies, honest])), a_round([range(9)], 3))
    assert (found[0].numpy() >= honest.min(0)).all() and (found[0].numpy() <= honest.max(0)).all()
    worse = np.full((6, 3), lie, dtype=np.float32)  # more than any rule stands
    found, _ = made(name, 2).together(torch.from_numpy(np.concatenate([worse, honest[:3]])), a_round([range(9)], 3))
    if name not in ("Median", "TrimmedMean"):  # which are then what liars say
        assert found.isfinite().all()


def test_what_an_update_that_is_no_number_counts_as():
    rng = np.random.default_rng(8)
    honest, lies = rng.normal(size=(7, 3)) + 1, np.full((2, 3), NAN)

    def found(rule, *parts):
        u = np.concatenate(parts)
        return rule.aggregate(u, np.ones(len(u)), alive=np.ones(len(u), dtype=bool))[0]

    rule = federated.GeometricMedian()
    np.testing.assert_allclose(found(rule, honest, lies), found(rule, honest))
    rule = federated.NormClipping()
    np.testing.assert_allclose(found(rule, honest, lies), found(rule, honest, 0 * honest[:2]))
    np.testing.assert_allclose(
        found(federated.Median(), honest, lies), found(federated.Median(), honest, np.full((2, 3), 1e9))
    )


# ---------------------------------------------------------------- in a training


def test_in_a_training_the_server_steps_by_the_rule(three):
    for rule, slow in ((federated.Krum(0), partial(slow_krum, f=0)), (federated.NormClipping(), slow_clip)):
        run = federated.train(three, **QUICK | dict(rounds=4, record=True), aggregator=rule, seeds=2)
        log, rows = run.transcript, np.array([len(h.y_train) for h in three.hospitals])
        models = log.query("seed == 0 and what == 'global model'").groupby("round")["values"].first()
        updates = log.query("seed == 0 and what == 'update'").groupby("round")["values"].agg(np.stack)
        for turn in range(1, 4):
            moved = models[turn + 1] - models[turn]
            np.testing.assert_allclose(moved, slow(updates[turn].astype(float), rows), atol=1e-6)
        alone = federated.train(three, **QUICK | dict(rounds=4), aggregator=rule)
        torch.testing.assert_close(alone.params.flat(), run.params.flat()[:1], atol=1e-6, rtol=0)
        assert "model updates of each round" in run.ledger.table()["what"].tolist()


def test_centered_clipping_starts_where_the_last_round_ended_in_each_run():
    six = data.from_frame(table(), target="ill", n_hospitals=6)
    work = QUICK | dict(rounds=5, participation=0.5, seeds=2, record=True, strategy="uniform")
    run = federated.train(six, **work, aggregator=federated.CenteredClipping(limit=0.005))
    log, centre = run.transcript.query("seed == 0"), 0.0
    models = log.query("what == 'global model'").groupby("round")["values"].first()
    updates = log.query("what == 'update'").groupby("round")["values"].agg(np.stack)
    for turn in range(1, 5):
        centre = slow_centered(updates[turn].astype(float), np.ones(3), 0.005, v=centre)
        np.testing.assert_allclose(models[turn + 1] - models[turn], centre, atol=1e-6)


def test_too_few_hospitals_are_refused_before_training_and_too_few_updates_end_a_round(three, monkeypatch):
    monkeypatch.setattr(fleet, "fit", lambda *_, **__: pytest.fail("trained"))
    for rule, change in [
        (federated.TrimmedMean(2), {}),
        (federated.Krum(1), {}),
        (federated.TrimmedMean(1), dict(participation=0.67)),
        (federated.MultiKrum(0, keep=4), {}),
    ]:
        with one_sentence("keep" if getattr(rule, "keep", None) else "aggregator"):
            federated.train(three, **QUICK | change, aggregator=rule)
    with pytest.raises(ValueError, match="in every round"):
        federated.train(three, **QUICK, aggregator=federated.TrimmedMean(1), dropout=0.97)
    monkeypatch.undo()
    work = QUICK | dict(rounds=8, dropout=0.15, record=True, aggregator=federated.TrimmedMean(1))
    run = federated.train(three, **work, seeds=2)
    log = run.transcript
    came = log.query("what == 'update'").groupby(["seed", "round"]).size().unstack(fill_value=0)
    for seed in range(2):
        assert run.failed[seed] == [t for t in range(1, 9) if came.loc[seed].get(t, 0) < 3] and run.failed[seed]
    models = log.query("seed == 0 and what == 'global model'").groupby("round")["values"].first()
    stayed = [t for t in range(1, 8) if np.array_equal(models[t], models[t + 1])]
    assert stayed == [t for t in run.failed[0] if t < 8]
    notes = log[(log["what"] == "round abandoned") & log["round"].isin(run.failed[0])].query("seed == 0")
    assert (notes.groupby("round")["receiver"].nunique() == 3).all() and (notes["bytes"] == 0).all()


def test_record_dp_holds_with_a_rule_and_hospital_dp_and_control_variates_are_refused(three):
    promise = RecordDP(noise_multiplier=1, delta=1e-3, secure=False)
    run, plain = (federated.train(three, **QUICK, privacy=promise, aggregator=a) for a in (federated.Median(), None))
    ours, theirs = (r.ledger.table().set_index("hospital")["guarantee"] for r in (run, plain))
    assert ours.equals(theirs)
    for name in NAMES:
        with pytest.raises(ValueError, match="noise is made for a mean"):
            federated.train(three, **QUICK, aggregator=made(name), privacy=HospitalDP(noise_multiplier=1, delta=0.01))
    with one_sentence("strategy"):
        federated.train(three, **QUICK, aggregator=federated.Median(), strategy="scaffold")
    with one_sentence("compress"):
        federated.train(three, **QUICK, aggregator=federated.Median(), compress=federated.Quantise(8))


@pytest.mark.parametrize(
    "both",
    [
        lambda three: secagg.SecureSum(aggregator=federated.Krum(1)),
        lambda three: secagg.SecureSum(federated.Krum(1)),
        lambda three: secagg.SecureSum(rule=federated.Median()),
        lambda three: secagg.PrivateSum(federated.Median()),
        lambda three: encrypted.EncryptedSum(federated.Median()),
        lambda three: federated.Krum(1, secagg.SecureSum()),
        lambda three: federated.Median(aggregator=secagg.SecureSum()),
        lambda three: federated.train(three, **QUICK, aggregator=[secagg.SecureSum(), federated.Krum(1)]),
        lambda three: federated.train(three, **QUICK, aggregator=(federated.Median(), encrypted.EncryptedSum())),
    ],
)  # fmt: skip
def test_a_rule_and_a_mask_cannot_both_be_the_aggregator(three, both):
    with one_sentence("aggregator") as reason:
        both(three)
    assert "looks at each hospital's update" in str(reason.value)


def test_hospitals_do_not_agree_on_means_by_a_rule():
    with one_sentence("aggregator"):
        data.load("hospital_network", aggregator=federated.Median())


def test_an_aggregator_of_ones_own_may_hold_another(three):
    class Counts(federated.Aggregator):
        def __init__(self, inner):
            self.inner, self.linear, self.rounds = inner, inner.linear, 0

        def together(self, updates, this):
            self.rounds += 1
            return self.inner.together(updates, this)

    for inner in (federated.Median(), secagg.SecureSum()):
        outer = Counts(inner)
        federated.train(three, **QUICK, aggregator=outer)
        assert outer.rounds == 3


# ---------------------------------------------------------------- a root of trust


def test_the_root_of_trust_is_flTrust_written_out(three):
    """arXiv:2012.13995, Algorithm 2, with the server's step by `fleet.fit`, in one step of all its rows."""
    root = three.hospitals[0]
    X, y = root.X_test[:20], root.y_test[:20]
    rule = federated.RootOfTrust(X, y, steps=1, lr=0.3, batch_size=20)
    work = QUICK | dict(rounds=5, record=True)
    run = federated.train(three, **work, seeds=2, aggregator=rule)
    log = run.transcript.query("seed == 0")
    models = log.query("what == 'global model'").groupby("round")["values"].first()
    updates = log.query("what == 'update'").groupby("round")["values"].agg(np.stack)
    for turn in range(1, 5):
        before = run.params.like(torch.from_numpy(np.array(models[turn]))[None])
        after = fleet.fit(before, X, y, [np.arange(20)], steps=1, batch_size=20, lr=0.3)
        own, total, score = (after.flat() - before.flat())[0].numpy().astype(float), 0, 0
        for u in updates[turn].astype(float):
            trust = max(0, u @ own / np.linalg.norm(u) / np.linalg.norm(own))
            total, score = total + trust * np.linalg.norm(own) / np.linalg.norm(u) * u, score + trust
        np.testing.assert_allclose(models[turn + 1] - models[turn], total / score, atol=1e-6)


@pytest.mark.parametrize("kind", ["head", "first"])
@pytest.mark.parametrize("rule", [federated.Median(), federated.Krum(0), federated.NormClipping()])
def test_rules_judge_shared_numbers_where_others_are_personal(three, kind, rule):
    """A round by hand: what each hospital sends, and the rule on that alone."""
    work = QUICK | dict(rounds=2, record=True, strategy="uniform", personal=kind)
    run = federated.train(three, **work, aggregator=rule)
    log = run.transcript
    models = log.query("what == 'global model' and receiver == @three.hospitals[0].name").set_index("round")["values"]
    updates = np.stack(log.query("what == 'update' and round == 1")["values"])
    assert updates.shape[1] < run.params.n_parameters
    mean, _ = rule.aggregate(updates, np.ones(len(updates)), alive=np.ones(len(updates), bool), rng=None)
    np.testing.assert_allclose(models[2] - models[1], mean, atol=1e-6)


def test_a_server_with_trust_moves_shared_numbers_where_others_are_personal(three):
    rule = federated.RootOfTrust(three.pooled().X_train, three.pooled().y_train)
    run = federated.train(three, **QUICK, personal="head", aggregator=rule)
    start = federated.train(three, **QUICK | dict(lr=0.0), personal="head")
    moved = run.params.flat()[0] != start.params.flat()[0]
    own = run.params.weights[-1][0].numel() + 1
    assert moved[:-own].float().mean() > 0.5 and not moved[-own:].any()


def test_the_server_trains_as_hospitals_do_unless_told_otherwise(three):
    X, y = three.pooled().X_train, three.pooled().y_train
    work = QUICK | dict(local_steps=7, lr=0.05)
    told = federated.RootOfTrust(X, y, steps=7, lr=0.05, batch_size=16)
    one, same = (federated.train(three, **work, aggregator=a) for a in (federated.RootOfTrust(X, y), told))
    assert torch.equal(one.params.flat(), same.params.flat())
    other = federated.train(three, **work, aggregator=federated.RootOfTrust(X, y, steps=3))
    assert not torch.equal(one.params.flat(), other.params.flat())


def test_nobody_who_goes_the_other_way_is_trusted():
    rule, here = federated.RootOfTrust(torch.zeros(1, 2), torch.zeros(1, 1)), torch.ones(1, 3, dtype=torch.bool)
    own = torch.tensor([[2.0, 0.0]])
    ways = torch.tensor([[[-9.0, 0], [0, 5], [NAN, 1]]])
    assert rule.trusted(ways, here, own).tolist() == [[0, 0]]
    ways[0, 1] = torch.tensor([300.0, 0])
    assert rule.trusted(ways, here, own).tolist() == [[2, 0]]  # as long as the server's own


def test_rows_at_the_server_stand_in_the_ledger_and_must_fit(three, monkeypatch):
    pool = three.pooled()
    rule = federated.RootOfTrust(pool.X_test, pool.y_test)
    held = federated.train(three, **QUICK, aggregator=rule).ledger.table().iloc[-1]
    assert held["what"] == "rows of patients for a root of trust" and held["guarantee"] == "not private"
    assert held["viewer"] == "server"
    promised = dict(privacy=RecordDP(noise_multiplier=1.0, secure=False), aggregator=rule)
    table = federated.train(three, **QUICK, **promised).ledger.table()
    held = table[table["what"] == "rows of patients for a root of trust"]  # global models are made with them, too
    assert set(held["viewer"]) == {"server", "every hospital"} and set(held["guarantee"]) == {"not private"}
    changed = federated.RootOfTrust(pool.X_test + 1, pool.y_test)
    assert repr(rule) == repr(federated.RootOfTrust(pool.X_test, pool.y_test)) != repr(changed)
    monkeypatch.setattr(fleet, "fit", lambda *_, **__: pytest.fail("trained"))
    for X, y, about in [(pool.X_test[:, :3], pool.y_test, "aggregator"), (pool.X_test, pool.y_test + 1, "y")]:
        with one_sentence(about):
            federated.train(three, **QUICK, aggregator=federated.RootOfTrust(X, y))


# ---------------------------------------------------------------- arguments

ROWS = torch.zeros(4, 2), torch.zeros(4, 1)
WRONG = [
    *[(made, dict(name=name, f=f), "f") for name in ("TrimmedMean", "Krum", "MultiKrum") for f in (-1, 1.5, "1", True)],
    *[(federated.MultiKrum, dict(f=1, keep=keep), "keep") for keep in (0, 1.5, "2")],
    *[(made, dict(name=n, limit=v), "limit") for n in ("NormClipping", "CenteredClipping") for v in (0, -1, NAN, "1")],
    *[(made, dict(name=n, iterations=0), "iterations") for n in ("GeometricMedian", "CenteredClipping")],
    *[(federated.GeometricMedian, dict(nu=nu), "nu") for nu in (0, -1, INF)],
    *[(federated.RootOfTrust, dict(X=X, y=ROWS[1]), "X") for X in (None, ROWS[0][0], ROWS[0][:0], ROWS[0] * NAN)],
    *[(federated.RootOfTrust, dict(X=ROWS[0], y=y), "y") for y in (None, ROWS[1][:2], ROWS[1][:, 0])],
    *[(federated.RootOfTrust, dict(X=ROWS[0], y=ROWS[1], lr=lr), "lr") for lr in (0, -1, "a")],
    *[(federated.RootOfTrust, dict(X=ROWS[0], y=ROWS[1], **{n: 0}), n) for n in ("steps", "batch_size")],
]


@pytest.mark.parametrize(("function", "arguments", "about"), WRONG)
def test_a_wrong_argument_gets_one_sentence(function, arguments, about):
    with one_sentence(about):
        function(**arguments)


def test_a_root_of_trust_needs_a_model():
    with one_sentence("updates"):
        federated.RootOfTrust(*ROWS).aggregate(np.ones((3, 2)), np.ones(3), alive=np.ones(3, dtype=bool))

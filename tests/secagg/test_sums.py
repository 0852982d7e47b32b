"""The sum is exact or refused, and the seam to federated training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedlab_utils import data, federated, secagg
from fedlab_utils.privacy.promises import HospitalDP, RecordDP
from fedlab_utils.secagg import ProtocolError, SecureSum, Setup, in_process
from fedlab_utils.secagg.grid import Grid
from tests.secagg.helpers import SETUP, STAGES, words_for

# ---------------------------------------------------------------- exact, or refused


@st.composite
def rounds(draw):
    n = draw(st.integers(2, 7))
    malicious = draw(st.booleans())
    colluding = draw(st.integers(0, n // 3))
    least = max(colluding + 2, (n + colluding) // 2 + 1 if malicious else 0)
    if least > n:
        colluding, least = 0, n // 2 + 1
    threshold = draw(st.integers(least, n))
    bits = draw(st.sampled_from([8, 16, 32, 64]))
    setup = Setup(n, threshold, draw(st.integers(1, 20)), bits, draw(st.integers(0, 9)), malicious, colluding)
    few = st.dictionaries(st.integers(0, n - 1), st.sampled_from(STAGES), max_size=max(1, n - threshold + 1))
    return setup, draw(few), draw(st.integers(0, 999))


@settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(rounds())
def test_the_sum_is_exact_or_refused(case):
    setup, drop, seed = case
    words = words_for(setup, seed)
    silent = {u: STAGES.index(stage) for u, stage in drop.items()}
    speak = {s: [u for u in range(setup.n) if k < silent.get(u, len(STAGES))] for k, s in enumerate(STAGES)}
    if len(speak["unmask"]) < setup.threshold:  # the last stage has the fewest
        with pytest.raises(ProtocolError, match=f"Only .* of {setup.n} clients .*; the threshold is {setup.threshold}"):
            secagg.run(words, setup, drop=drop)
        return
    outcome = secagg.run(words, setup, drop=drop)
    assert list(outcome.survivors) == speak["mask"]
    expected = [sum(int(w) for w in words[speak["mask"], k]) % 2**setup.bits for k in range(setup.words)]
    assert outcome.total.tolist() == expected


@pytest.mark.parametrize("malicious", [True, False])
@pytest.mark.parametrize("stage", STAGES)
def test_a_dropout_at_each_stage(stage, malicious):
    setup, words = replace(SETUP, malicious=malicious), words_for(SETUP)
    outcome = secagg.run(words, setup, drop={2: stage})
    counted = [0, 1, 3, 4] if stage in ("advertise", "share", "mask") else [0, 1, 2, 3, 4]
    assert list(outcome.survivors) == counted
    assert (outcome.total == words[counted].sum(axis=0, dtype=np.uint32)).all()
    with pytest.raises(ProtocolError, match="Only 3 of 5 clients"):
        secagg.run(words, setup, drop={2: stage, 4: stage})


def test_run_refuses():
    words = words_for(SETUP)
    for wrong in (words[:4], words[:, :4], words.astype(float)):
        with pytest.raises(ValueError, match="inputs must be 5 rows of 6 words, uint32; got"):
            secagg.run(wrong, SETUP)
    for drop in ({7: "mask"}, {1: "survivors"}, {1: "later"}):
        with pytest.raises(ValueError, match="drop"):
            secagg.run(words, SETUP, drop=drop)


# ---------------------------------------------------------------- the seam


def a_round(n=5, d=30, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).clip(-4, 4).astype(np.float32), rng.integers(5, 60, n)


@pytest.mark.parametrize("malicious", [True, False])
@pytest.mark.parametrize("dead", [[], [1]])
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_secure_sum_is_its_quick_sum_and_the_plain_mean(bits, dead, malicious):
    updates, rows = a_round()
    alive = ~np.isin(np.arange(5), dead)
    aggregator = SecureSum(bits=bits, malicious=malicious)
    rngs = [np.random.default_rng(3) for _ in range(2)]
    mean, sent = aggregator.aggregate(updates, rows, alive=alive, rng=rngs[0])
    quick, sizes = aggregator.quick(updates, rows, alive=alive, rng=rngs[1])
    assert (mean == quick).all() and rngs[0].random() == rngs[1].random()
    assert [m[:4] for m in sent] == [m[:4] for m in sizes] and all(m[4] is None for m in sizes)
    step = Grid(4.0, bits, 2 ** int(rows.sum() - 1).bit_length()).step
    assert np.abs(mean - np.average(updates[alive].astype(float), axis=0, weights=rows[alive])).max() <= step + 1e-12


@pytest.mark.parametrize("malicious", [True, False])
def test_traffic_is_what_travels(malicious):
    updates, rows = a_round()
    _, sent = SecureSum(malicious=malicious).aggregate(
        updates, rows, alive=np.ones(5, bool), rng=np.random.default_rng(0)
    )
    cost = secagg.traffic(5, updates.shape[1] + 1, 32, malicious=malicious)
    for h in range(5):
        assert cost["client sends"] == sum(m[3] for m in sent if m[0] == h)
        assert cost["client receives"] == sum(m[3] for m in sent if m[1] == h)
    assert cost["server handles"] == sum(m[3] for m in sent)
    assert cost["plain update"] == 31 * 4
    for sender, receiver, what, n_bytes, values in sent:
        assert {sender, receiver} <= {"server", *range(5)} and "server" in (sender, receiver)
        assert what in {*in_process.WHAT.values(), "signatures"}
        assert values.dtype == (np.uint32 if what == "masked update" else np.uint8)
        assert values.nbytes < n_bytes
    whats = [w for w in dict.fromkeys(m[2] for m in sent)]
    checks = ["signature", "signatures"] if malicious else []
    assert whats == ["public keys", "encrypted shares", "masked update", "survivors", *checks, "shares"]


def test_fewer_neighbours_less_traffic():
    everybody, few = secagg.traffic(1000, 10_000, 32), secagg.traffic(1000, 10_000, 32, neighbours=40)
    assert few["client sends"] < everybody["client sends"]
    assert secagg.traffic(20, 99, 16, neighbours=19) == secagg.traffic(20, 99, 16)
    with pytest.raises(ValueError, match="neighbours must be below"):
        secagg.traffic(10, 99, 16, neighbours=10)


@pytest.mark.parametrize("method", ["aggregate", "quick"])
@pytest.mark.parametrize(
    ("options", "change", "error", "sentence"),
    [
        (
            {},
            dict(updates=np.zeros((1, 3)), rows=[4], alive=[True]),
            ValueError,
            "n must be a whole number of at least",
        ),
        ({}, dict(alive=[True, True, True, False, False]), ProtocolError, "Only 3 of 5 clients sent masked words"),
        ({}, dict(updates=np.full((5, 3), 4.1)), ValueError, "within limit"),
        ({}, dict(rows=[1.5, 1, 1, 1, 1]), ValueError, "weight"),
        ({"max_rows": 100}, dict(rows=[30] * 5), ValueError, "max_rows must be at least all rows together, 150"),
        ({"bits": 8}, dict(rows=[100] * 5), ValueError, "max_rows must be below"),
        ({}, dict(alive=[True] * 4), ValueError, r"alive \[n\]; got .* \(4,\)"),
        ({}, dict(alive=[False] * 5), ProtocolError, "Only 0 of 5 clients sent masked words"),
        ({}, dict(rows=[0] * 5), ValueError, "not all 0 for those alive"),
        ({"threshold": 2}, {}, ValueError, "threshold"),
        ({"colluding": 4}, {}, ValueError, "threshold"),
    ],
)
def test_secure_sum_refuses(method, options, change, error, sentence):
    with pytest.raises(error, match=sentence):
        call = dict(updates=np.zeros((5, 3)), rows=[4] * 5, alive=[True] * 5) | change
        alive, rows = np.array(call["alive"]), np.array(call["rows"])
        getattr(SecureSum(**options), method)(call["updates"], rows, alive=alive, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("options", "sentence"), [({"bits": 7}, "bits"), ({"limit": 0}, "limit"), ({"colluding": -1}, "colluding")]
)
def test_secure_sum_refuses_at_once(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        SecureSum(**options)


def test_what_the_dead_hold_is_not_looked_at():
    updates, alive = np.zeros((5, 3)), np.array([True] * 4 + [False])
    updates[4] = np.nan
    mean, _ = SecureSum().aggregate(updates, np.full(5, 4), alive=alive, rng=np.random.default_rng(0))
    np.testing.assert_allclose(mean, 0, atol=1e-6)


def test_what_cannot_work_is_refused_before_anything_is_trained():
    federation, seen = data.load("breast_cancer"), []
    for options, change, sentence in (
        (dict(), dict(participation=0.2), "two hospitals or more"),
        (dict(threshold=5), dict(participation=0.6), "threshold must be 2 to 3"),
        (dict(bits=8), {}, "max_rows"),
    ):
        with pytest.raises(ValueError, match=sentence):
            work = dict(rounds=2, hidden=(4,), on_round=seen.append) | change
            federated.train(federation, aggregator=SecureSum(**options), **work)
    with pytest.raises(ValueError, match="aggregator must be an object"):
        federated.train(federation, rounds=1, aggregator=SecureSum)
    assert not seen


def test_the_ledger_says_what_the_server_learns():
    federation = data.load("breast_cancer")
    for promise in (None, RecordDP(noise_multiplier=1, secure=False), HospitalDP(noise_multiplier=1, secure=False)):
        run = federated.train(federation, rounds=1, hidden=(4,), privacy=promise, aggregator=SecureSum())
        table = run.ledger.table()
        server = table[(table["viewer"] == "server") & table["what"].str.contains("round")]
        assert set(server["what"]) == {"sum of updates of each round"}


def test_a_run_does_not_depend_on_how_many_others_run_beside_it():
    """Its clip norm leaves room for the grid of its own rounds, not of the coarsest of all runs."""
    federation, promise = data.load("breast_cancer"), HospitalDP(noise_multiplier=1, max_update_norm=0.05, secure=False)
    work = dict(rounds=2, hidden=(4,), participation=0.7, privacy=promise, aggregator=SecureSum(bits=16, limit=0.5))
    one, three = (federated.train(federation, seeds=n, seed=3, **work).params.flat()[0] for n in (1, 3))
    assert (one == three).all()


def test_hidden_participants_and_this_aggregator_exclude_each_other():
    promise = HospitalDP(noise_multiplier=1, participants_hidden=True, secure=False)
    with pytest.raises(ValueError, match="participants_hidden must be False"):
        federated.train(data.load("breast_cancer"), rounds=1, privacy=promise, aggregator=SecureSum())


def test_rounding_does_not_stretch_an_update_beyond_the_clip_norm():
    """Rounding to a grid makes updates longer; the promise is about what is summed."""
    longest = []

    class Measuring(SecureSum):
        def aggregate(self, updates, weights, *, alive, rng):
            words, grid, *_ = self._prepared(updates, weights, alive, rng)
            longest.extend(np.linalg.norm(words[:, :-1] * grid.step - grid.limit, axis=1))
            return super().aggregate(updates, weights, alive=alive, rng=rng)

    federation = data.load("breast_cancer", seed=1)
    promise = HospitalDP(noise_multiplier=1, max_update_norm=0.05, secure=False)
    work = dict(rounds=1, hidden=(16,), lr=1.0, privacy=promise)
    federated.train(federation, aggregator=Measuring(bits=16, limit=0.05), **work)
    assert 0.044 < max(longest) <= 0.05
    with pytest.raises(ValueError, match="too coarse for max_update_norm"):
        federated.train(federation, aggregator=SecureSum(bits=16, limit=4), **work)


# ---------------------------------------------------------------- limits, before anything is trained


def refused(federation, way, **change):
    """The sentence, once it is sure that no round was trained before it."""
    seen = []
    with pytest.raises(ValueError) as found:
        federated.train(federation, aggregator=way, **dict(rounds=2, hidden=(4,), on_round=seen.append) | change)
    assert not seen and "\n" not in str(found.value)
    return str(found.value)


def test_a_clip_norm_beyond_the_limit_is_refused_before_training():
    federation = data.load("breast_cancer")
    promise = HospitalDP(noise_multiplier=1, max_update_norm=50, delta=0.01)
    sentence = refused(federation, SecureSum(limit=4), privacy=promise)
    assert all(word in sentence for word in ("max_update_norm must be at most limit = 4", "got 50", "bits", "lr"))
    federated.train(federation, rounds=1, hidden=(4,), aggregator=SecureSum(limit=50), privacy=promise)


def test_a_grid_that_is_too_coarse_for_the_rows_is_refused_before_training():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(230, 3)), columns=list("abc")).assign(ill=rng.random(230) < 0.5)
    federation = data.from_frame(frame, target="ill", n_hospitals=3)
    rows = sum(len(h.y_train) for h in federation.hospitals)
    assert rows < 255  # one step of 8: accepted for long
    sentence = refused(federation, SecureSum(bits=8))
    assert all(word in sentence for word in ("bits=8 leaves 1 steps of 8", "limit = 4", "beside 255 rows", "max_rows"))
    with pytest.raises(ValueError, match="bits=16 leaves 31 steps"):
        SecureSum(bits=16).grid_step(5, 2048)
    assert SecureSum(bits=16).grid_step(5, 1000) == 8 / 63


def test_an_update_that_grows_too_large_in_the_middle_says_what_helps_and_keeps_the_rounds_before():
    federation, seen = data.load("breast_cancer"), []
    largest = []

    class Watching(federated.OpenSum):
        def together(self, updates, this):
            largest.append(updates.abs().max().item())
            return super().together(updates, this)

    work = dict(rounds=4, hidden=(4,), lr=0.05)
    federated.train(federation, aggregator=Watching(), **work)
    assert largest[1] > largest[0]  # or another training must be found
    limit = (largest[0] + largest[1]) / 2
    with pytest.raises(ValueError, match="within limit = .* larger limit .*bits.* smaller lr") as found:
        federated.train(federation, aggregator=SecureSum(limit=limit), **work, on_round=seen.append)
    assert "\n" not in str(found.value) and [run.rounds for run in seen] == [1]


def test_the_step_of_the_grid_stands_in_the_ledger():
    federation = data.load("breast_cancer")
    rows = sum(len(h.y_train) for h in federation.hospitals)
    work = dict(rounds=1, hidden=(4,))
    for promise in (None, RecordDP(noise_multiplier=1)):
        table = federated.train(federation, **work, aggregator=SecureSum(), privacy=promise).ledger.table()
        own = table[table["what"] == SecureSum.sees]["detail"]
        assert len(own) and own.str.endswith(f", grid step {SecureSum().grid_step(5, rows):.2g}").all()
        assert table["detail"].str.contains("grid").sum() == len(own)
    assert not federated.train(federation, **work).ledger.table()["detail"].str.contains("grid").any()


def test_settings_that_differ_in_the_aggregator_alone_have_noise_of_their_own():
    """Their models would otherwise differ by what the noise should hide."""
    federation, promise = data.load("breast_cancer"), HospitalDP(noise_multiplier=1, secure=False)
    work = dict(rounds=1, hidden=(4,), privacy=promise)
    plain, secure = federated.train(federation, **work), federated.train(federation, aggregator=SecureSum(), **work)
    assert (plain.params.flat() - secure.params.flat()).abs().max() > 0.01


def test_a_federation_trains_through_it():
    federation = data.load("breast_cancer")
    common = dict(rounds=2, hidden=(4,), seed=1, record=True)
    plain, secure = federated.train(federation, **common), federated.train(federation, aggregator=SecureSum(), **common)
    rows = [len(h.y_train) for h in federation.hospitals]
    step = Grid(4.0, 32, 2 ** (sum(rows) - 1).bit_length()).step
    gap = (plain.params.flat() - secure.params.flat()).abs().max().item()
    assert 0 < gap <= 2 * step
    sent = secure.transcript[secure.transcript["what"] != "global model"]
    assert "update" not in set(sent["what"]) and (sent["what"] == "masked update").sum() == 2 * len(rows)
    cost = secagg.traffic(len(rows), plain.params.flat().shape[1] + 1, 32)
    assert sent["bytes"].sum() == 2 * cost["server handles"]

"""Private sums: the noise that is really inside, faults that would thin it, an attack, and an audit.

Seeds are fixed; limits are five standard errors, so that another seed would fail once in a million.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from dp_accounting import rdp
from scipy import stats

from fedlab_utils import audit, privacy, secagg
from fedlab_utils.privacy import HospitalDP, RecordDP, accounting
from fedlab_utils.secagg import ProtocolError, Setup, TooFewError, noise, private, private_sum, register
from tests.secagg.helpers import Round

ONE = RecordDP(noise_multiplier=4.0, secure=False)  # from a seed, so that no test fails by chance
D = 20_000


def counts(n=5, d=40, seed=0):
    return np.random.default_rng(seed).integers(0, 300, (n, d))


# ---------------------------------------------------------------- what comes out


@pytest.mark.parametrize("noise", private.NOISES)
@pytest.mark.parametrize("drop", [{}, {4: "mask"}, {2: "unmask"}])
def test_the_total_is_the_sum_and_noise_of_the_stated_size(noise, drop):
    d = 20_000 if noise == "skellam" else 1_500
    vectors = counts(d=d)
    got = private_sum(vectors, promise=ONE, cells=9, noise=noise, drop=drop)
    left = list(got.outcome.survivors)
    assert left == [0, 1, 2, 3] + ([] if 4 in drop else [4]) and got.total.dtype == np.int64
    error = got.total - vectors[left].sum(0)
    expected = 4.0 * 3 * math.sqrt(len(left) / 3)  # of 4 survivors, one may be who looks
    assert (
        error.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * d)) and abs(error.mean()) < 5 * expected / d**0.5
    )
    assert got.sd == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("promise", [RecordDP, HospitalDP])
def test_real_numbers_come_back_within_the_noise_and_below_zero_too(promise):
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(5, 3_000)) / 60 - 0.004
    got = private_sum(vectors, promise=promise(noise_multiplier=0.5, secure=False), sensitivity=1.5, limit=1.5)
    error = got.total - vectors.sum(0)
    assert got.total.min() < -0.1 and np.corrcoef(error, vectors.sum(0))[0, 1] == pytest.approx(0, abs=0.1)
    assert error.std() == pytest.approx(0.5 * 1.5 * math.sqrt(5 / 3), rel=5 / math.sqrt(6_000))
    tiny = private_sum(vectors, promise=promise(noise_multiplier=1e-4, secure=False), sensitivity=1.5, limit=1.5)
    assert np.abs(tiny.total - vectors.sum(0)).max() < 2e-3


def test_what_is_too_long_is_clipped_before_the_noise():
    quiet = HospitalDP(noise_multiplier=1e-3, secure=False)
    long = np.full((3, 4), 5.0)
    got = private_sum(long, promise=quiet, sensitivity=1.0)
    np.testing.assert_allclose(got.total, 1.5, atol=0.02)  # each of length 1
    cut = private_sum(np.array([[900, -900], [1, 1]]), promise=ONE, cells=1, limit=100)
    assert np.abs(cut.total - [101, -99]).max() < 60


def test_budgets_are_kept_and_nearly_spent_for_whom_they_are_meant():
    for viewer, other in (("every hospital", "server"), ("server", "every hospital")):
        for target in (0.3, 1.0, 8.0):
            got = private_sum(counts(d=9), promise=RecordDP(target, secure=False), cells=9, viewer=viewer)
            assert 0.99 * target <= got.mechanisms[viewer].epsilon <= target
            above = got.mechanisms[other].epsilon > target
            assert above == (viewer == "server")  # a hospital knows one share
    for promise in (RecordDP(2.0, secure=False), HospitalDP(2.0, secure=False)):
        got = private_sum(np.zeros((5, 50)), promise=promise, sensitivity=1.0, limit=1.0)
        assert 0.99 * 2 <= got.mechanisms["every hospital"].epsilon <= 2 and got.mechanisms["server"].epsilon < 2


def by_hand(share, honest, l2, d, rounds=1, delta=1e-5):
    """Epsilon by the formula of the Skellam mechanism at whole orders, from what was really drawn and rounded."""
    mu, l1, a = share * honest, min(math.sqrt(d) * l2, l2**2), np.arange(2, 257)
    cost = a * l2**2 / (2 * mu) + ((2 * a - 1) * l2**2 + 6 * l1) / (4 * mu**2)
    return float(rdp.compute_epsilon(a.astype(float), rounds * cost, delta)[0])


@pytest.mark.parametrize("promise", [RecordDP, HospitalDP])
def test_what_rounding_adds_to_a_change_is_paid_for(promise):
    """In short words, where it matters: the budget is kept for the length after rounding."""
    vectors = np.zeros((5, 400))
    about = dict(promise=promise(1.0, secure=False), sensitivity=1.0, limit=1.0, bits=16)
    got = private_sum(vectors, **about)
    step = got.sd / math.sqrt(5 * got.setup.share)
    spent = by_hand(got.setup.share, 3, 1 / step + 20, 400)
    assert 0.99 <= spent <= 1.0 and spent == pytest.approx(got.mechanisms["every hospital"].epsilon, rel=1e-6)
    assert by_hand(got.setup.share, 3, 1 / step, 400) < 0.99  # control: without rounding it would be less


def test_a_training_pays_for_the_clip_norm_in_steps(monkeypatch):
    inside = secagg.PrivateSum(bits=16).noise_inside({5}, 49, HospitalDP(1.0, max_update_norm=0.3), 3)
    drawn = []
    monkeypatch.setattr(private, "skellam", lambda v, size, rng: drawn.append(v) or noise.skellam(v, size, rng))
    way = replace(secagg.PrivateSum(bits=16), inside=replace(inside, sources=[np.random.default_rng(0)] * 5))
    way.quick(np.zeros((5, 49)), np.ones(5), alive=np.ones(5, bool), rng=np.random.default_rng(0))
    for viewer, honest in (("every hospital", 3), ("server", 4)):
        spent = by_hand(drawn[0], honest, 0.3 / inside.step, 49, rounds=3)
        event = privacy.Mechanism(event=inside.events[viewer], steps=3)
        assert spent == pytest.approx(event.epsilon, rel=1e-6) and (honest == 4 or 0.99 <= spent <= 1)


def test_shares_grow_with_those_who_may_collude():
    sizes = [private_sum(counts(), promise=ONE, cells=9, colluding=c, threshold=5).setup.share for c in (0, 1, 2, 3)]
    np.testing.assert_allclose(np.array(sizes) * [4, 4, 3, 2], 144)
    lone = Setup(5, 5, 3, 32, colluding=3)
    assert [noise.honest(lone, viewer) for viewer in noise.VIEWERS] == [2, 2]


def test_the_ledger_names_unit_viewer_and_method():
    got = private_sum(counts(), promise=RecordDP(1.0), cells=9, units=5_000)
    ledger = got.ledger(["A", "B"])
    table = ledger.table()
    assert table["viewer"].tolist() == ["server", "every hospital"] * 2 and set(table["unit"]) == {"patient record"}
    assert ledger.method == "PLD" and ledger.epsilon() == got.mechanisms["every hospital"].epsilon
    assert not any("seed" in s for s in ledger.check()) and any("honest" in s for s in ledger.check())
    seeded = private_sum(counts(), promise=RecordDP(1.0, secure=False), cells=9).ledger(["A"])
    assert any("demonstrations" in s for s in seeded.check())
    hospital = private_sum(np.zeros((5, 9)), promise=HospitalDP(1.0), sensitivity=1.0).ledger(["A"])
    assert hospital.method == "RDP" and set(hospital.table()["unit"]) == {"hospital"}
    with pytest.raises(ValueError, match="more than one unit"):
        (ledger + hospital).epsilon()


# ---------------------------------------------------------------- noise never repeats


def test_noise_is_secret_by_default_and_repeats_only_for_the_same_vectors_from_a_seed():
    def total(vectors, **about):
        return private_sum(
            vectors, promise=RecordDP(noise_multiplier=4.0, **about.pop("how", {})), cells=9, **about
        ).total

    a, b = counts(d=300), counts(d=300)
    b[0, 0] += 1
    demonstration = dict(how=dict(secure=False))
    assert (total(a, **demonstration) == total(a, **demonstration)).all()
    assert (total(a) != total(a)).any()
    apart = total(a, **demonstration) - total(b, **demonstration)  # one patient more, and other noise throughout
    assert (apart != 0).mean() > 0.8 and (total(a, **demonstration, seed=1) != total(a, **demonstration)).any()


# ---------------------------------------------------------------- planted faults


def noises(monkeypatch, promise=ONE, rounds=2):
    """What hospitals add to words that would be 0, ``[rounds, hospitals, D]``; a round each, one hospital drops out."""
    seen, run = [], private.run

    def watched(words, setup, **others):
        seen.append(words.astype(np.int32))
        return run(words, setup, **others)

    monkeypatch.setattr(private, "run", watched)
    for turn in range(rounds):
        vectors = np.zeros((5, D), int)
        private_sum(vectors, promise=promise, cells=9, drop={turn: "mask"}, bits=32, seed=turn)
    return np.stack(seen)


def faults(added, multiplier):
    """Which of five tests the noise of some rounds fails, with threshold 4 of 5 and counts of 9 cells."""
    needed, found, limit = 9 * multiplier**2, set(), 5 / math.sqrt(D)
    worst = added[:, :4].sum(1)[:, :] - added[:, 0]  # four are left, and one of those knows its own share
    if any(abs(w.var() / needed - 1) > 5 * math.sqrt(2 / D) + 3 / needed for w in worst):
        found.add("variance of the thinnest sum")
    apart = [np.corrcoef(added.reshape(-1, D)[[i, j]])[0, 1] for i in range(5) for j in range(i)]
    if not np.abs(apart).max() < limit:
        found.add("correlation between hospitals")
    if not max(abs(np.corrcoef(added[0, u], added[1, u])[0, 1]) for u in range(5)) < limit:
        found.add("repeats in the next round")
    if min(len(np.unique(own)) for own in added[0]) < 3:
        found.add("one number for all words")
    if not np.abs(stats.skew(added.reshape(-1, D), axis=1)).max() < 5 * math.sqrt(6 / D):
        found.add("skewed")
    return found


def thin(factor):
    return lambda variance, size, rng: noise.skellam(variance * factor, size, rng)


def always_the_same(variance, size, rng):
    return noise.skellam(variance, size, np.random.default_rng(5))


def each_its_own_forever(variance, size, rng, known={}):  # noqa: B006
    who = len(known) % 5
    known[len(known)] = who
    return noise.skellam(variance, size, np.random.default_rng(who))


PLANTED = {  # what draws a share -> the test that finds it
    "variance over all n, not over those that count": (thin(3 / 5), "variance of the thinnest sum"),
    "standard deviation over those that count": (thin(1 / 3), "variance of the thinnest sum"),
    "rate taken for the variance": (thin(2), "variance of the thinnest sum"),
    "half": (thin(1 / 2), "variance of the thinnest sum"),
    "times rows": (lambda v, size, rng: 50 * noise.skellam(v, size, rng), "variance of the thinnest sum"),
    "nobody adds": (lambda v, size, rng: np.zeros(size, np.int64), "variance of the thinnest sum"),
    "all hospitals share a seed": (always_the_same, "correlation between hospitals"),
    "the same noise in the next round": (each_its_own_forever, "repeats in the next round"),
    "one number for all words": (
        lambda v, size, rng: np.full(size, noise.skellam(v, 1, rng)[0]),
        "one number for all words",
    ),
    "one Poisson draw less its mean": (lambda v, size, rng: rng.poisson(v, size) - round(v), "skewed"),
}


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:Precision loss")
@pytest.mark.parametrize("fault", [None, *PLANTED])
def test_faults_in_the_noise_are_found_and_right_noise_passes(monkeypatch, fault):
    multiplier = 1.3 if fault in (None, "one Poisson draw less its mean") else 4.0  # a share's variance is 5, or 48
    if fault:
        monkeypatch.setattr(private, "skellam", PLANTED[fault][0])
    found = faults(noises(monkeypatch, RecordDP(noise_multiplier=multiplier, secure=False)), multiplier)
    assert PLANTED[fault][1] in found if fault else not found


def test_the_noise_is_drawn_by_the_sampler_of_whole_numbers_and_of_the_share_in_the_setup(monkeypatch):
    """A rounded bell curve would pass every statistical test at working sizes; it must not be what is called."""
    asked = []
    monkeypatch.setattr(private, "skellam", lambda v, size, rng: asked.append((v, size)) or noise.skellam(v, size, rng))
    got = private_sum(counts(), promise=ONE, cells=9)
    updates = np.zeros((5, 7))
    inside = secagg.PrivateSum().noise_inside({5}, 7, HospitalDP(noise_multiplier=2.0), 1)
    sources = [np.random.default_rng(u) for u in range(5)]
    way = replace(secagg.PrivateSum(), inside=replace(inside, sources=sources))
    way.quick(updates, np.ones(5), alive=np.ones(5, bool), rng=np.random.default_rng(0))
    assert asked[:5] == [(got.setup.share, 40)] * 5 and len(asked) == 10 and {size for _, size in asked[5:]} == {7}
    exact = []
    monkeypatch.setattr(private, "discrete_gaussian", lambda v, size, rng: exact.append(v) or np.zeros(size, np.int64))
    private_sum(counts(), promise=ONE, cells=9, noise="discrete gaussian")
    assert exact == [math.ceil(got.setup.share)] * 5 and len(asked) == 10


@pytest.mark.parametrize("threshold", [3, 4])
def test_every_sum_that_may_be_opened_has_noise_enough(threshold):
    """Over all patterns of dropouts that are allowed, before and after masking; what is not allowed opens nothing."""
    d, vectors = 4_000, np.zeros((5, 4_000), int)
    patterns = [{}, *({u: "mask"} for u in range(5)), {1: "unmask"}, {0: "share"}]
    if threshold == 3:
        patterns += [{u: "mask", v: "advertise"} for u in range(5) for v in range(u)]
    for drop in patterns:
        got = private_sum(vectors, promise=ONE, cells=9, threshold=threshold, drop=drop)
        left = len(got.outcome.survivors)
        expected = 144 * left / (threshold - 1)
        assert got.total.var() == pytest.approx(expected, rel=5 * math.sqrt(2 / d)) and left >= threshold
        assert got.total.var() * (left - 1) / left > 144 * (1 - 5 * math.sqrt(2 / d))  # less who looks
    with pytest.raises(TooFewError):
        private_sum(
            vectors, promise=ONE, cells=9, threshold=threshold, drop=dict.fromkeys(range(6 - threshold), "mask")
        )


# ---------------------------------------------------------------- the attack: thin the noise


@pytest.mark.parametrize("left", [1, 2, 3])
def test_a_server_that_drops_hospitals_until_the_noise_is_thin_gets_nothing(left):
    """It names fewer survivors than the noise was scaled for; hospitals count the list before they open anything."""
    game = Round(Setup(5, 4, words=6, bits=32, share=48.0))
    game.until_masked()
    for client in game.clients[:left]:
        told = secagg.survivor_list(game.setup, client.number, list(range(left)))
        with pytest.raises(TooFewError, match=f"Only {left} of 5 clients are said .*; the threshold is 4"):
            client.check(told)
        assert not client._shares
    assert noise.honest(game.setup, "server") == game.setup.threshold  # the same number scales the noise and says stop


def test_a_server_that_tells_hospitals_of_different_shares_of_noise_stops_the_round():
    keys, registry = register(5)
    setup = Setup(5, 4, words=6, bits=32, share=48.0)
    game = Round(setup)
    told = [setup, setup, setup, setup, replace(setup, share=0.5)]
    game.clients = [secagg.Client(u, own, signing_key=keys[u], registry=registry) for u, own in enumerate(told)]
    game.server = secagg.Server(setup)
    with pytest.raises(ProtocolError, match="did not sign this advertise"):
        game.play()
    assert Setup(5, 4, 6, 32).context == replace(setup, share=0.0).context != setup.context


# ---------------------------------------------------------------- the audit

SUMS = 3_000  # of which a third chooses the threshold and 2,000 count


def audited(left):
    """Sums of counts with and without one member, each nine words long; who looks has one of `left` shares."""
    present = np.arange(SUMS) % 2 == 1
    vectors = np.repeat(present, 9)[None] * np.array([[1], [0], [0], [0], [0]])
    promise = RecordDP(epsilon=2.0, secure=False)
    added, run = [], private.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(private, "run", lambda w, s, **o: added.append(w.astype(np.int32)) or run(w, s, **o))
        got = private_sum(vectors, promise=promise, cells=9, seed=3)
    seen = added[0][:left].sum(0) - added[0][left - 1]  # less its own
    transcript = seen.reshape(SUMS, 9).sum(1)[:, None].astype(float)
    return audit.judge(transcript, present, np.ones(1), gaussian=True), got.mechanisms["every hospital"]


def test_an_audit_of_two_thousand_sums_stays_below_the_bound():
    found, mechanism = audited(left=4)  # the threshold: the thinnest sum that can be opened
    assert found.models == 2_000 and found.lower < found.refined < mechanism.epsilon <= 2.0
    assert found.refined > 0.8  # it is an attack that finds something


def test_the_same_audit_convicts_noise_that_was_thinned():
    """As it would be if hospitals opened a sum of two, one of which looks: a third of the noise."""
    found, mechanism = audited(left=2)
    assert found.refined > 2.0 and mechanism.among(1).epsilon > found.refined


# ---------------------------------------------------------------- arguments

BAD = {
    "vectors": dict(vectors=[1, 2]),
    "vectors ": dict(vectors=np.zeros((1, 4))),
    "vectors  ": dict(vectors=np.full((3, 4), np.nan)),
    "vectors   ": dict(vectors=np.full((3, 4), 0.5)),
    "promise": dict(promise=1.0),
    "Give either cells": dict(sensitivity=1.0),
    "Give either cells ": dict(cells=None),
    "cells": dict(cells=2.5),
    "cells ": dict(promise=HospitalDP(1.0)),
    "cells  ": dict(cells=10**13),
    "sensitivity": dict(cells=None, sensitivity=0, limit=1),
    "limit": dict(cells=None, sensitivity=1.0),
    "limit ": dict(limit=0),
    "noise": dict(noise="laplace"),
    "noise ": dict(cells=None, sensitivity=1.0, limit=1.0, noise="discrete gaussian"),
    "viewer": dict(viewer="outsider"),
    "noise_multiplier": dict(promise=RecordDP(noise_multiplier=0)),
    "bits": dict(bits=12),
    "bits=8": dict(bits=8, promise=RecordDP(0.1)),
    "bits=16": dict(bits=16, limit=2**14),
    "bits=8 ": dict(bits=8, cells=None, sensitivity=1.0, limit=1.0, promise=RecordDP(0.02)),
    "threshold": dict(threshold=1),
    "units": dict(units=2.5),
    "delta": dict(units=10**6),
    "seed": dict(seed=-1),
    "drop": dict(drop={9: "mask"}),
    "malicious": dict(malicious="no"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_get_one_sentence_before_anything_is_drawn(name, monkeypatch):
    drawn = []
    monkeypatch.setattr(private, "skellam", lambda *a, **k: drawn.append(1) or np.zeros(4, np.int64))
    right = dict(vectors=np.ones((3, 4)), promise=RecordDP(1.0, secure=False), cells=2)
    with pytest.raises(ValueError, match=f"^{name.strip()}") as found:
        private_sum(**right | BAD[name])
    assert "\n" not in str(found.value) and (not drawn or name == "drop")


def test_private_sum_costs_no_more_than_a_gaussian_of_the_same_size():
    spent = private_sum(counts(), promise=RecordDP(1.0, secure=False), cells=9).mechanisms["every hospital"]
    assert spent.epsilon == pytest.approx(privacy.epsilon(spent.noise_multiplier), rel=0.005)


# ---------------------------------------------------------------- sums over records, in rounds


def for_records(way, noise=1.7, d=4_000, largest=3.0, **about):
    promise = RecordDP(noise_multiplier=noise, max_grad_norm=0.5, secure=False)
    inside = way.noise_inside({5}, d, promise, 1, sampling=0.2, largest=largest, **about)
    one = replace(way)
    vars(one).update(inside=replace(inside, sources=[np.random.default_rng([7, h]) for h in range(5)]))
    return one


def mean_of(way, sums, act="quick"):
    return getattr(way, act)(sums, np.ones(5), alive=np.ones(5, bool), rng=np.random.default_rng(3))[0]


def test_sums_over_records_get_noise_for_the_clip_norm_of_a_record_and_its_rounding():
    sums = np.random.default_rng(0).uniform(-3, 3, (5, 4_000))
    way = for_records(secagg.PrivateSum())
    error = (mean_of(way, sums) - sums.mean(0)) * 5
    expected = 1.7 * (0.5 + way.inside.step * math.sqrt(4_000)) * math.sqrt(5 / 3)
    assert error.std() == pytest.approx(expected, rel=5 / math.sqrt(8_000))
    assert abs(error.mean()) < 5 * expected / math.sqrt(4_000)
    event = way.inside.events["every hospital"]
    assert event.sampling_probability == 0.2 and event.honest == 3 and event.noise_multiplier == pytest.approx(1.7)
    assert event.l2 == pytest.approx(0.5 / way.inside.step + math.sqrt(4_000))
    coarse = for_records(secagg.PrivateSum(bits=16)).inside  # where rounding costs something
    assert coarse.events["server"].l2 == pytest.approx(0.5 / coarse.step + math.sqrt(4_000))
    assert coarse.step * math.sqrt(4_000) > 0.04


def test_larger_numbers_are_cut_off_and_the_protocol_gives_what_the_short_way_gives():
    sums = np.full((5, 40), 9.0) * np.array([1, -1, 1, 1, 1])[:, None]
    short, full = (mean_of(for_records(secagg.PrivateSum(), 1e-4, 40), sums, act) for act in ("quick", "aggregate"))
    np.testing.assert_array_equal(short, full)
    assert np.abs(short - 9 / 5).max() < 1e-3


def test_what_is_released_beside_the_sum_is_paid_from_the_same_budget():
    promise, way = RecordDP(epsilon=2.0), secagg.PrivateSum()
    other = ((accounting.gaussian(4.0), 1),)
    alone, both = (way.noise_inside({5}, 50, promise, 100, sampling=0.1, beside=b) for b in ((), other))
    assert both.noise_multiplier > 1.1 * alone.noise_multiplier
    for inside, beside in ((alone, ()), (both, other)):
        event = inside.events["every hospital"]
        assert 1.98 < accounting.composed(((event, 100), *beside), 1e-5, "rdp") <= 2

"""A GAN over hospitals: what leaves them, what it costs, and that generators see no row."""

import math
from functools import partial

import dp_accounting
import numpy as np
import pytest
import torch
from dp_accounting import pld, rdp
from dp_accounting.privacy_accountant import NeighboringRelation
from torch.nn import functional as F

from fedlab_utils import fleet
from fedlab_utils.federated import Aggregator
from fedlab_utils.federated.aggregators import as_aggregator
from fedlab_utils.privacy import HospitalDP, Ledger, Mechanism, RecordDP
from fedlab_utils.secagg import PrivateSum, SecureSum
from fedlab_utils.synth import critics, gan
from fedlab_utils.synth import federated_gan as fg
from fedlab_utils.synth.critics import EachHospital, Hospitals, InsideTheSum, Setting
from tests.refusals import one_sentence

LAYOUT = gan.Layout(7, ((2, 5, False), (5, 7, False)), (5, 7))  # two numbers, a category of three, the label
SIZES = (60, 35, 25)
SHARES = np.array([[0.3, 0.7]])
SMALL = dict(hidden=(8,), generator_hidden=(16,), batch_size=40, made=30, critic_steps=2, steps=6)
ONE = RecordDP(epsilon=3.0, secure=False)
NOISY = {"each": None, "masked": SecureSum(limit=100.0), "inside": PrivateSum()}


def rows(n, seed=0, width=7):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(n, width - 5))
    return np.hstack([numbers, np.eye(3)[rng.integers(3, size=n)], np.eye(2)[rng.integers(2, size=n)]]).astype("f4")


PARTS = [rows(n, seed) for seed, n in enumerate(SIZES)]


def train(parts=PARTS, layout=LAYOUT, shares=SHARES, **change):
    n_models = change.get("n_models", 1)
    shares = np.tile(shares, (n_models, 1)) if shares is SHARES else shares
    return fg.train(parts, layout, shares, **SMALL | change)


def setting(promise=None, aggregator=None, sizes=SIZES, n_models=2, d=73, steps=10, batch_size=40, paid=()):
    names = [f"h{h}" for h in range(len(sizes))]
    way = as_aggregator(aggregator)
    return Setting(names, np.array(sizes), batch_size, steps, n_models, d, promise, way, paid, 1, 0, [()] * n_models)


def networks(n_models=2, hidden=(8,), seed=0):
    return fleet.init(n_models, (7, *hidden, 1), seed=seed)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("max_norm", [None, 0.3])
def test_clipped_gradients_are_those_of_a_loop_over_records(real, max_norm):
    nets = networks(hidden=(8, 5))
    X = torch.from_numpy(np.stack([rows(12, 5), rows(12, 6)]))
    weight = torch.rand(2, 12, generator=torch.Generator().manual_seed(0))
    sums, scores = critics.gradients(nets, X, weight, real=real, max_norm=max_norm, blocks=[slice(0, 7), slice(7, 12)])
    torch.testing.assert_close(scores, gan.forward(nets, X).squeeze(2))
    expected, clipped = torch.zeros_like(sums), 0
    for k in range(2):
        one = nets[[k]].map(lambda t: t.requires_grad_())
        for i in range(12):
            score = gan.forward(one, X[[k], i : i + 1])
            loss = F.softplus(-score if real else score).sum()
            own = torch.cat([g.flatten() for g in torch.autograd.grad(loss, one.tensors())])
            if max_norm is not None and own.norm() > max_norm:
                own, clipped = own * max_norm / own.norm(), clipped + 1
            expected[int(i >= 7), k] += weight[k, i] * own
    torch.testing.assert_close(sums, expected, atol=1e-5, rtol=1e-5)
    assert max_norm is None or clipped > 12


def test_a_row_that_leaves_32_bits_does_not_poison_the_sum():
    X = torch.from_numpy(rows(6)).expand(2, -1, -1).clone()
    nets, weight = networks(hidden=(8, 8)), torch.ones(2, 6)
    for size in (1e25, math.inf):
        X[:, 2] = size
        sums, _ = critics.gradients(nets, X, weight, real=True, max_norm=0.3)
        rest, _ = critics.gradients(nets, X[:, [0, 1, 3, 4, 5]], weight[:, :5], real=True, max_norm=0.3)
        torch.testing.assert_close(sums, rest)


def test_without_a_promise_a_federated_critic_step_is_the_pooled_one():
    pooled = torch.from_numpy(np.concatenate(PARTS)).expand(2, -1, -1)
    for way in (None, SecureSum()):
        hospitals = Hospitals(PARTS, setting(batch_size=sum(SIZES), aggregator=way))
        nets = networks()
        got = hospitals.gradient(nets)
        (alone,), _ = critics.gradients(nets, pooled, torch.full(pooled.shape[:2], 1 / pooled.shape[1]), real=True)
        torch.testing.assert_close(got.to(alone), alone, atol=1e-6, rtol=1e-5)


def test_batches_without_a_promise_are_in_proportion_to_rows():
    hospitals = Hospitals(PARTS, setting(batch_size=24))
    assert hospitals.protection.weight.tolist() == [12, 7, 5]
    X, there, blocks = hospitals._batch()
    assert X.shape == (2, 24, 7) and bool((there == 1).all()) and [b.stop - b.start for b in blocks] == [12, 7, 5]
    own = {row.tobytes() for row in PARTS[1]}
    assert {row.tobytes() for row in X[0, blocks[1]].numpy()} <= own


# ---------------------------------------------------------------- noise and coins


def test_noise_of_each_hospital_has_the_standard_deviation_it_is_accounted_with():
    s = setting(RecordDP(noise_multiplier=1.7, max_grad_norm=0.5, secure=False), d=20_000, sizes=(60, 5, 25))
    protection = EachHospital(s)
    assert protection.rate == pytest.approx([40 / 3 / 60, 1, 40 / 3 / 25])
    left = protection.leave(torch.zeros(3, 2, s.d))
    for h, n in enumerate(protection.rate * s.size):
        for k in range(2):
            noise = left[h, k].numpy() * n
            assert noise.std() == pytest.approx(1.7 * 0.5, rel=5 / math.sqrt(2 * s.d))
            assert abs(noise.mean()) < 5 * 0.85 / math.sqrt(s.d)
    flat = left.flatten(0, 1).numpy()
    assert np.abs(np.corrcoef(flat) - np.eye(6)).max() < 5 / math.sqrt(s.d)
    assert np.abs(np.corrcoef(flat[0], protection.leave(torch.zeros(3, 2, s.d))[0, 0])[0, 1]) < 5 / math.sqrt(s.d)


def test_noise_inside_the_sum_has_the_standard_deviation_it_is_accounted_with():
    quiet, loud = (
        Hospitals(PARTS, setting(p, way, n_models=1, d=networks(1, (200, 60)).n_parameters, batch_size=500))
        for p, way in ((None, None), (RecordDP(noise_multiplier=1.7, max_grad_norm=0.5, secure=False), PrivateSum()))
    )
    nets = networks(1, (200, 60))
    for hospitals in (quiet, loud):
        hospitals.protection.max_norm = 0.5
    assert loud.protection.rate == 1 and quiet.protection.weight.tolist() == list(SIZES)
    error = ((loud.gradient(nets) - quiet.gradient(nets)) * sum(SIZES)).numpy().ravel()
    inside = loud.protection.inside[0]
    # Three of three hospitals add a share, scaled for the two of them (threshold 3, one looks) that must be honest.
    expected = 1.7 * (0.5 + inside.step * inside.widen) * math.sqrt(3 / 2)
    assert error.std() == pytest.approx(expected, rel=5 / math.sqrt(2 * error.size))
    assert abs(error.mean()) < 5 * expected / math.sqrt(error.size)
    assert inside.step * inside.widen < 0.01 * 0.5


@pytest.mark.parametrize("kind, way", [(EachHospital, None), (InsideTheSum, PrivateSum())])
def test_batches_are_drawn_by_coins_of_the_stated_rate_and_divided_by_the_expected_size(kind, way):
    promise = RecordDP(noise_multiplier=1e-9 if way is None else 1e-3, max_grad_norm=1e-3, secure=False)
    s = setting(promise, way, steps=40)
    hospitals = Hospitals(PARTS, s)
    assert isinstance(hospitals.protection, kind)
    rate = np.broadcast_to(hospitals.protection.rate, 3)
    rng = np.random.default_rng(0)
    drawn = [np.bincount(np.concatenate([hospitals.protection.draw(h, rng) for _ in range(400)])) for h in range(3)]
    for h, q in enumerate(rate):
        assert len(drawn[h]) == SIZES[h]
        assert np.abs(drawn[h] / 400 - q).max() < 5 * math.sqrt(q * (1 - q) / 400)
    # Every row's gradient is clipped to .001 and points the same way in the last bias.
    got = [hospitals.gradient(networks())[:, -1].mean() for _ in range(40)]
    full = Hospitals(PARTS, setting(batch_size=sum(SIZES)))
    full.protection.max_norm = 1e-3
    assert np.mean(got) == pytest.approx(float(full.gradient(networks())[:, -1].mean()), rel=0.1)
    assert np.std(got) > 0


def test_other_rows_and_other_settings_meet_other_noise_and_coins(monkeypatch):
    found = []
    monkeypatch.setattr(fg, "Hospitals", lambda parts, s: found.append(s.source(0, 1).random()) or Hospitals(parts, s))
    corrected = [PARTS[0].copy(), *PARTS[1:]]
    corrected[0][3, 0] += 0.25
    changes = [{"parts": corrected}, {"parts": PARTS[::-1]}, {"steps": 7}, {"batch_size": 41}, {"critic_lr": 1e-3}]
    changes += [{"hidden": (9,)}, {"generator_hidden": (9,)}, {"warm": [rows(9)]}, {"shares": np.array([[0.4, 0.6]])}]
    changes += [{"aggregator": SecureSum(limit=9.0)}, {"promise": RecordDP(noise_multiplier=3.1, secure=False)}]
    changes += [{"seed": 1}]
    for change in [{}, *changes, {}, {"n_models": 2}]:
        train(
            **{
                "promise": RecordDP(noise_multiplier=3.0, secure=False),
                "warm_steps": 2,
                "on_step": lambda _: True,
                "every": 1,
            }
            | change
        )
    assert len(set(found)) == 1 + len(changes) and found[0] == found[-2] == found[-1]


# ---------------------------------------------------------------- what it costs


def by_hand(mechanisms, delta=1e-5):
    """Epsilon of sampled Gaussian releases, by dp-accounting alone."""
    accountant = pld.PLDAccountant(NeighboringRelation.REPLACE_SPECIAL, 1e-3)
    for noise, rate, steps in mechanisms:
        event = dp_accounting.GaussianDpEvent(noise)
        accountant.compose(event if rate == 1 else dp_accounting.PoissonSampledDpEvent(rate, event), steps)
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize("paid", [(), (Mechanism(8.0),)])
def test_each_hospital_spends_the_budget_that_was_asked_for(paid):
    done = train(promise=ONE, paid=paid)
    own = [e for e in done.entries[0] if e.mechanism]
    assert [e.hospital for e in own] == ["hospital 1", "hospital 2", "hospital 3"]
    for e, n in zip(own, SIZES, strict=True):
        m = e.mechanism
        assert (m.steps, m.units, e.viewer, m.secret) == (6, n, "server", False)
        assert m.sampling == pytest.approx(min(1, 40 / 3 / n))
        spent = by_hand([(m.noise_multiplier, m.sampling, m.steps), *((p.noise_multiplier, 1, 1) for p in paid)])
        assert 0.98 * 3 < spent <= 3
    whole = Ledger(done.entries[0])
    for h in range(3 if paid else 0):
        whole = whole.add("label counts", hospital=f"hospital {h + 1}", viewer="server", mechanism=paid[0])
    assert 0.98 * 3 < whole.epsilon() <= 3
    assert done.about["mechanism"] == EachHospital.what and done.about["critic_steps"] == 6


def test_one_sum_a_step_spends_the_budget_that_was_asked_for():
    paid = Mechanism(8.0)
    done = train(promise=ONE, aggregator=PrivateSum(), paid=[paid])
    ledger = Ledger(done.entries[0])
    seen = {e.viewer: e.mechanism for e in done.entries[0] if e.hospital == "hospital 2" and e.mechanism}
    assert set(seen) == {"server", "every hospital"} and {m.steps for m in seen.values()} == {6}
    assert {m.units for m in seen.values()} == {sum(SIZES)}
    m = seen["every hospital"]
    assert m.sampling == m.event.sampling_probability == 40 / sum(SIZES) and m.name.endswith("Poisson-sampled")
    for h in (1, 2, 3):
        ledger = ledger.add("label counts", hospital=f"hospital {h}", viewer="server", mechanism=paid)
    assert ledger.method == "RDP" and 0.98 * 3 < ledger.epsilon() <= 3
    # On a grid this fine Skellam noise is Gaussian noise, for which dp-accounting has the sampled moments itself.
    accountant = rdp.RdpAccountant(range(2, 257), NeighboringRelation.REPLACE_SPECIAL)
    gaussian = dp_accounting.GaussianDpEvent(m.noise_multiplier)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(m.sampling, gaussian), 6)
    accountant.compose(dp_accounting.GaussianDpEvent(8.0))
    assert ledger.epsilon() == pytest.approx(accountant.get_epsilon(1e-5), rel=2e-3)
    assert "Noise comes in shares of hospitals, scaled for 2 honest ones" in " ".join(ledger.check())


@pytest.mark.parametrize("way", NOISY.values(), ids=NOISY)
def test_every_critic_step_is_counted_and_no_other(way, monkeypatch):
    looks = []
    plain = critics.gradients
    monkeypatch.setattr(critics, "gradients", lambda *a, **k: looks.append(k["max_norm"]) or plain(*a, **k))
    done = train(promise=ONE, aggregator=way, steps=9, every=2, on_step=lambda so_far: len(so_far.losses) >= 2)
    assert looks == [1.0] * 4  # of nine, stopped after the second look
    assert {e.mechanism.steps for e in done.entries[0] if e.mechanism} == {4}
    assert Ledger(done.entries[0]).epsilon() < 0.9 * 3
    per_step = done.messages.query("what == 'critic'")
    assert per_step["messages"].tolist() == [4] * 3 and per_step["bytes"].tolist() == [4 * 73 * 4] * 3
    sent = done.messages.query("receiver == 'server' and what.str.endswith('update')")
    assert sent["messages"].tolist() == [4] * 3


def test_there_is_no_noise_for_a_step_that_was_not_planned():
    hospitals = Hospitals(PARTS, setting(ONE, steps=2))
    for _ in range(2):
        hospitals.gradient(networks())
    with pytest.raises(StopIteration):
        hospitals.gradient(networks())


def test_without_a_promise_the_ledger_says_so():
    done = train()
    ledger = Ledger(done.entries[0])
    assert len(ledger.unprotected) == len(ledger) == 3 and ledger.epsilon() == 0
    masked = Ledger(train(aggregator=SecureSum()).entries[0])
    assert [e.what for e in masked.entries] == [SecureSum.sees, critics.CRITICS, critics.GENERATOR]


def test_noise_of_zero_clips_and_promises_nothing():
    done = train(promise=RecordDP(noise_multiplier=0.0, secure=False))
    assert Ledger(done.entries[0]).private.entries == ()
    assert {e.guarantee for e in done.entries[0] if e.mechanism} == {"not private"}


# ---------------------------------------------------------------- the generator sees no row


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.generator.tensors(), b.generator.tensors(), strict=True))


def trained_from_what_was_sent(monkeypatch, promise, way):
    """Generators of hospitals, and those of other rows altogether from which the very same gradients are sent."""
    sent, plain = [], Hospitals.gradient
    with monkeypatch.context() as spy:
        spy.setattr(Hospitals, "gradient", lambda self, nets: sent.append(plain(self, nets)) or sent[-1])
        first = train(promise=promise, aggregator=way, n_models=2)
    again = iter(sent)
    with monkeypatch.context() as replay:
        replay.setattr(Hospitals, "gradient", lambda self, nets: next(again))
        return first, train([p * 0 + 9 for p in PARTS], promise=promise, aggregator=way, n_models=2)


@pytest.mark.parametrize("promise, way", [(None, None), *((ONE, way) for way in NOISY.values())])
def test_generators_follow_from_what_hospitals_sent(promise, way, monkeypatch):
    assert same(*trained_from_what_was_sent(monkeypatch, promise, way))


def test_a_generator_that_sees_a_row_is_caught(monkeypatch):
    monkeypatch.setattr(fg, "Hospitals", lambda parts, s: (leak.append(parts[0][0]), Hospitals(parts, s))[1])
    leak, plain = [], fg.Server._make
    monkeypatch.setattr(fg.Server, "_make", lambda self, n: plain(self, n) + 1e-3 * torch.from_numpy(leak[-1]))
    assert not same(*trained_from_what_was_sent(monkeypatch, ONE, None))


def test_losses_of_the_critic_are_those_on_made_rows_alone():
    server = fg.Server(LAYOUT, SHARES, fg._streams(0, 1), (8,), (16,))
    server.begin(fg.Rates(1, 20, 0.0, 0.0, 0.0, 1.0, None))
    server.critic_step(torch.full((1, server.critics.n_parameters), 1e6))
    assert np.isfinite(server.losses[0]).all() and server.losses[0].max() < 2


# ---------------------------------------------------------------- training


def test_it_learns():
    made = dict(steps=200, critic_lr=1e-2, lr=5e-3, hidden=(16,), batch_size=60, made=60, critic_steps=2)
    shifted = [p + np.array([1.5, -1.5, 0, 0, 0, 0, 0], "f4") for p in PARTS]
    done = train(shifted, **made)
    noise = gan.draw_noise(LAYOUT.width, 400, [np.random.default_rng(0)])
    label = torch.eye(2)[torch.arange(400) % 2][None]
    got = gan.generate(done.generator, LAYOUT, label, *noise)[0].mean(0)
    assert 0.8 < got[0] < 2.2 and -2.2 < got[1] < -0.8
    assert done.losses.shape == (100, 2, 1)


@pytest.mark.parametrize("promise, way", [(None, None), (ONE, None), (ONE, PrivateSum())])
def test_a_seed_repeats_itself_and_a_model_does_not_depend_on_those_beside_it(promise, way):
    once, again, several = (train(promise=promise, aggregator=way, n_models=k, seed=4) for k in (1, 1, 2))
    assert same(once, again) and not same(once, train(promise=promise, aggregator=way, seed=5))
    for alone, beside in zip(once.generator.tensors(), several.generator.tensors(), strict=True):
        torch.testing.assert_close(alone[0], beside[0], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(beside[0], beside[1])


@pytest.mark.parametrize("way", NOISY.values(), ids=NOISY)
def test_secure_noise_never_repeats_itself(way):
    secure = partial(train, promise=RecordDP(epsilon=3.0), aggregator=way)
    one, other = secure(), secure()
    assert not same(one, other)
    assert all(e.mechanism.secret for e in one.entries[0] if e.mechanism)


def test_the_warm_up_alone_looks_at_no_row():
    warm = [rows(50, 8) + np.array([2, 0, 0, 0, 0, 0, 0], "f4")]
    alone = train(warm=warm, steps=0, warm_steps=8, promise=ONE)
    assert alone.entries == ((),) and alone.messages.empty and len(alone.losses) == 4
    assert same(alone, train([p * 0 for p in PARTS], warm=warm, steps=0, warm_steps=8, promise=ONE))
    tight = RecordDP(epsilon=1.0, max_grad_norm=1e-3)
    assert same(alone, train(warm=warm, steps=0, warm_steps=8, promise=tight))  # nothing is clipped
    assert not same(alone, train(warm=[warm[0] + 1], steps=0, warm_steps=8, promise=ONE))
    both = train(warm=warm, warm_steps=8, promise=ONE)
    assert len(both.losses) == 4 + 3 and {e.mechanism.steps for e in both.entries[0] if e.mechanism} == {6}
    assert not same(both, train(promise=ONE))


def test_steep_weights_are_flattened():
    nets = networks(3, (8, 5)).map(lambda t: t * 7)
    before = nets.clone()
    fg._flatten(nets, 1.5)
    for old, new in zip(before.weights, nets.weights, strict=True):
        stretch = torch.linalg.svdvals(new)[:, 0]
        assert stretch.max() <= 1.5 + 1e-5
        torch.testing.assert_close(new / new.norm(dim=(1, 2), keepdim=True), old / old.norm(dim=(1, 2), keepdim=True))
    assert not same(train(steepest=0.5), train())


# ---------------------------------------------------------------- unusual hospitals


@pytest.mark.parametrize("promise, way", [(None, None), (ONE, None), (ONE, PrivateSum())])
@pytest.mark.parametrize(
    "parts, layout, shares",
    [
        ([rows(2), rows(30, 1)], LAYOUT, SHARES),
        ([rows(1), rows(1, 1)], LAYOUT, SHARES),
        ([rows(20)[:, :6], rows(9, 1)[:, :6]], gan.Layout(6, ((2, 5, False),), (5, 6)), np.ones((1, 1))),
        ([rows(20)[:, :5], rows(9, 1)[:, :5]], gan.Layout(5, ((2, 5, False),)), None),
        ([rows(20)[:, :2], rows(9, 1)[:, :2]], gan.Layout(2, ()), None),
        ([rows(400), rows(300, 1)], LAYOUT, np.array([[1.0, 0.0]])),  # batches of few or no rows
    ],
    ids=["two rows", "one row", "one class", "no label", "numbers alone", "tiny batches"],
)
def test_unusual_hospitals_work(parts, layout, shares, promise, way):
    done = train(parts, layout, shares, promise=promise, aggregator=way, batch_size=3, steps=4)
    assert all(bool(t.isfinite().all()) for t in done.generator.tensors()) and len(done.losses) == 2


def test_one_hospital_alone_works_but_in_a_sum():
    assert len(train(PARTS[:1], promise=ONE).losses) == 3
    with one_sentence("parts"):
        train(PARTS[:1], promise=ONE, aggregator=PrivateSum())


class Peer(Aggregator):
    """An aggregator that brings the sum to the hospitals."""

    delivers, sees = True, None


REFUSED = {
    "parts": [{"parts": v} for v in (None, [], [rows(5)[:, :3]], [rows(5)[:0]], [rows(5) * np.nan], [rows(5) * 1e6])],
    "shares": [{"shares": v} for v in (None, [[0.5, 0.6]], [[1.0]], [[-1, 2]], "half", [[np.nan, 1]])],
    "names": [{"names": ["a"]}],
    "promise": [{"promise": v} for v in (3.0, HospitalDP(epsilon=1.0))] + [{"aggregator": PrivateSum()}],
    "delta": [{"promise": RecordDP(epsilon=1.0, delta=0.02)}],
    "aggregator": [{"aggregator": v} for v in (5, Peer())]
    + [{"aggregator": SecureSum(), "promise": ONE, "steps": 9000}],
    "paid": [{"promise": ONE, "paid": [Mechanism(1.0)], "aggregator": way} for way in NOISY.values()],
    "warm": [{"warm": [rows(5), rows(5)]}, {"warm": rows(5)}],
    "warm_steps": [{"warm_steps": -1}],
    "steps": [{"steps": v} for v in (-1, 1.5, 0, None)],
    "hidden": [{"hidden": 5}, {"generator_hidden": (0,)}],
    "critic_steps": [{"critic_steps": 0}],
    "batch_size": [{"batch_size": v} for v in (0, "many")],
    "made": [{"made": 0}],
    "lr": [{"lr": -1}],
    "critic_lr": [{"critic_lr": np.nan}],
    "average": [{"average": 1.0}],
    "steepest": [{"steepest": v} for v in (0, -1)],
    "seed": [{"seed": -1}],
    "n_models": [{"n_models": 0}],
    "records": [{"records": 0}],
    "on_step": [{"on_step": 3}],
    "every": [{"every": 0}],
}


@pytest.mark.parametrize("about", REFUSED)
def test_a_bad_argument_gets_one_sentence(about):
    for change in REFUSED[about]:
        with one_sentence(about):
            train(**change)

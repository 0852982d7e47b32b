"""Differential privacy: the noise, the accounting, the ledger. Statistical tests have fixed seeds; each says how often
it would fail by chance with another."""

import dataclasses
import math
import subprocess
import sys
import warnings

import dp_accounting
import numpy as np
import pandas as pd
import pytest
import torch
from dp_accounting import pld, rdp
from scipy import stats

from fedlab_utils import accounting, data, federated, fleet, privacy, rounds, sampling
from fedlab_utils.privacy import HospitalDP, Ledger, Mechanism, RecordDP

QUICK = dict(rounds=3, batch_size=16, lr=0.1, hidden=(8,))


def table(n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["ward"] = np.where(np.arange(n) < n // 2, "north", np.where(np.arange(n) < 5 * n // 6, "east", "west"))
    return frame.assign(ill=x[:, 0] - 0.5 * x[:, 1] + 0.5 * rng.normal(size=n) > 0)


@pytest.fixture(scope="module")
def three():
    """Three hospitals with about 80, 53 and 27 rows to train on."""
    return data.from_frame(table(), target="ill", hospital="ward")


def direct(noise, q, steps, delta=1e-5, kind=pld.PLDAccountant, **options):
    """Epsilon straight from dp-accounting."""
    event = dp_accounting.GaussianDpEvent(noise)
    accountant = kind(**options)
    accountant.compose(event if q == 1 else dp_accounting.PoissonSampledDpEvent(q, event), steps)
    return accountant.get_epsilon(delta)


# --- accounting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("noise", "q", "steps"), [(0.6, 0.02, 400), (2, 0.02, 400), (4, 0.01, 10000), (5, 1, 20)])
def test_epsilon_is_that_of_dp_accounting(noise, q, steps):
    ours, theirs = privacy.epsilon(noise, sampling=q, steps=steps), direct(noise, q, steps)
    assert theirs * 0.9999 <= ours <= theirs * 1.002  # rounded upwards, on a coarser grid
    loose = privacy.epsilon(noise, sampling=q, steps=steps, method="rdp")
    assert loose == pytest.approx(direct(noise, q, steps, kind=rdp.RdpAccountant)) and loose > ours


def test_published_epsilon_then_and_now():
    """Abadi et al. 2016, section 3.2: noise 4, q = 1%, 10,000 steps were epsilon 1.26 by the accounting of the day."""
    common = dict(sampling=0.01, steps=10_000, delta=1e-5)
    assert privacy.epsilon(4, method="rdp", **common) == pytest.approx(1.04, abs=0.01)
    assert privacy.epsilon(4, **common) == pytest.approx(0.95, abs=0.01)


def test_epsilon_agrees_with_opacus():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        theirs = PRVAccountant()
        theirs.history = [(1.0, 0.02, 400)]
        value = theirs.get_epsilon(1e-5, eps_error=0.005)
    assert privacy.epsilon(1, sampling=0.02, steps=400) == pytest.approx(value, rel=0.01)


@pytest.mark.parametrize(
    ("noise", "q", "steps", "published", "today"),
    [
        (4, 0.01, 10_000, 1.26, 0.95),  # Abadi et al. 2016, section 3.2: moments up to the 32nd
        (1.3, 256 / 60_000, 20 * 234, 1.34, 1.01),  # Bu et al. 2020, doi:10.1162/99608f92.cfc5dd25, figure 4
        (0.7, 256 / 60_000, 70 * 234, 8.68, 7.10),  # the same
    ],
)
def test_published_epsilons_follow_from_the_conversion_of_their_day(noise, q, steps, published, today):
    """RDP(a) + log(1/delta) / (a - 1) at the best a (Mironov, arXiv:1702.07476, Proposition 3)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants.analysis.rdp import compute_rdp

    orders = np.arange(2, 34) if noise == 4 else np.concatenate([np.arange(1.1, 11, 0.1), np.arange(12, 64)])
    divergence = compute_rdp(q=q, noise_multiplier=noise, steps=steps, orders=orders.tolist())
    assert (divergence + math.log(1e5) / (orders - 1)).min() == pytest.approx(published, rel=0.01)
    assert privacy.epsilon(noise, sampling=q, steps=steps) == pytest.approx(today, abs=0.01)


@pytest.mark.parametrize(("noise", "q", "steps"), [(0.7, 0.01, 1000), (2, 0.1, 50)])
def test_epsilon_agrees_with_opacus_to_a_percent_and_rdp_lies_above(noise, q, steps):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from opacus.accountants import PRVAccountant

        theirs = PRVAccountant()
        theirs.history = [(noise, q, steps)]
        ours = privacy.epsilon(noise, sampling=q, steps=steps)
        assert ours == pytest.approx(theirs.get_epsilon(1e-5, eps_error=ours / 500), rel=0.01)
    assert privacy.epsilon(noise, sampling=q, steps=steps, method="rdp") > 1.02 * ours


@pytest.mark.parametrize("steps", [1, 400])
@pytest.mark.parametrize("q", [0.01, 0.3, 1])
@pytest.mark.parametrize("target", [0.1, 1, 8, 100])
def test_calibrated_noise_spends_the_budget_and_no_more(target, q, steps):
    noise = privacy.noise_for(target, sampling=q, steps=steps)
    assert 0.99 * target <= direct(noise, q, steps, value_discretization_interval=1e-3 * min(1, target**2)) <= target


def test_more_noise_spends_less_and_no_noise_everything():
    spent = [privacy.epsilon(noise, sampling=0.05, steps=100) for noise in (0.5, 1, 2, 50)]
    assert spent == sorted(spent, reverse=True)
    assert privacy.epsilon(0, steps=3) == math.inf and privacy.epsilon(1, steps=0) == 0


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: RecordDP(), "Give either epsilon or noise_multiplier, one of them; got epsilon=None"),
        (lambda: RecordDP(1, noise_multiplier=1), "Give either epsilon or noise_multiplier"),
        (lambda: RecordDP(0), "epsilon must lie between 0.01 and 100; got 0 .0 would mean"),
        (lambda: RecordDP(-1), "epsilon must be one finite number of at least 0; got -1"),
        (lambda: RecordDP(1e9), "got 1e.09 .it promises nothing"),
        (lambda: RecordDP(math.inf), "epsilon must be one finite number"),
        (lambda: RecordDP("1"), "epsilon must be one finite number"),
        (lambda: RecordDP(noise_multiplier=-1), "noise_multiplier must be one finite number of at least 0; got -1"),
        (lambda: RecordDP(1, delta=0), "delta must be a probability above 0 and below 1"),
        (lambda: RecordDP(1, delta=1), "delta must be a probability"),
        (lambda: RecordDP(1, max_grad_norm=0), "max_grad_norm must be above 0; got 0"),
        (lambda: HospitalDP(1, max_update_norm=-1), "max_update_norm must be one finite number"),
        (lambda: HospitalDP(), "Give either epsilon or noise_multiplier"),
        (lambda: privacy.epsilon(1, sampling=0), "sampling must be a probability above 0"),
        (lambda: privacy.epsilon(1, sampling=1.2), "sampling must be a probability"),
        (lambda: privacy.epsilon(1, steps=1.5), "steps must be a whole number"),
        (lambda: privacy.epsilon(1, method="sum"), "method must be one of pld, rdp"),
        (lambda: privacy.noise_for(1, steps=0), "steps must be a whole number of at least 1"),
    ],
)
def test_impossible_promises_get_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("promise", [RecordDP, HospitalDP])
@pytest.mark.parametrize("epsilon", [0, -1, 0.009, 100.5, 1e300, math.nan])
def test_both_promises_refuse_the_same_budgets(promise, epsilon):
    with pytest.raises(ValueError, match="^epsilon must [^.]*[0-9].*; got .*[.]$"):
        promise(epsilon)


def test_rdp_does_not_talk(caplog, capfd):
    accounting.composed.cache_clear()
    privacy.epsilon(0.4, sampling=0.02, steps=400, method="rdp")
    assert not caplog.records and not capfd.readouterr().err


# --- noise and coins ----------------------------------------------------------------------------------------


def test_normal_numbers_are_normal():
    """Kolmogorov-Smirnov, correlations and extremes: fails by chance about once in 10,000 seeds."""
    draws = torch.stack(list(sampling.normal([100] * 2, 5001, sampling.generators(1, 2)))).double()  # [100, 2, 5001]
    for k in range(2):
        assert stats.kstest(draws[:, k].flatten().numpy(), "norm").pvalue > 1e-4
    flat = draws.flatten()
    assert 4.4 < flat.abs().max() < 6.7  # a million of them
    assert (flat**4).mean() == pytest.approx(3, abs=0.04)
    pairs = [(draws[:, 0], draws[:, 1]), (draws[1:], draws[:-1]), (draws[..., :2500], draws[..., 2501:5001])]
    for one, other in pairs:
        assert abs((one * other).mean()) < 4 / math.sqrt(one.numel())


def test_a_models_noise_does_not_depend_on_who_trains_beside_it():
    together = list(sampling.normal([30, 30, 7], 700, sampling.generators(0, 3)))
    for k, steps in enumerate((30, 30, 7)):
        alone = list(sampling.normal([steps], 700, [sampling.generators(0, 3)[k]]))
        assert all(torch.equal(together[s][k], alone[s][0]) for s in range(steps))
    assert [len(t) for t in together] == 7 * [3] + 23 * [2]


def test_coins_fall_alike_for_every_row_and_step():
    """Chi-square over rows and over steps; fails by chance once in 5,000 seeds."""
    seen, sizes = np.zeros(40), []
    for index, share in sampling.poisson([np.arange(100, 140)], [3000], 8, sampling.generators(3, 1)):
        chosen = index[share > 0]
        assert len(chosen.unique()) == len(chosen)
        np.add.at(seen, chosen.numpy() - 100, 1)
        sizes.append(len(chosen))
    assert stats.chisquare(seen).pvalue > 1e-4
    counts = np.bincount(sizes, minlength=41)[2:15]
    expected = 3000 * stats.binom.pmf(np.arange(2, 15), 40, 0.2)
    assert stats.chisquare(counts, expected * counts.sum() / expected.sum()).pvalue > 1e-4


def test_no_corner_of_the_coin_flips_is_special():
    """Every row in every one of 17 steps, 3,000 times over; fails by chance about once in 200 seeds."""
    rng, seen = np.random.default_rng(0), np.zeros((17, 5))
    for _ in range(3000):
        for s, (index, share) in enumerate(sampling.poisson([np.arange(5)], [17], 2, [rng])):
            seen[s, index[share > 0]] += 1
    assert np.abs(seen / 3000 - 0.4).max() < 4 * math.sqrt(0.4 * 0.6 / 3000)


def test_one_private_step_is_the_clipped_sum_of_opacus(three, monkeypatch):
    """The same Poisson batch, without noise, divided by the expected size of the batch."""
    monkeypatch.setattr(rounds, "own_stream", lambda *_: ())
    limit, rate, hospital = 0.3, 0.7, three.hospitals[0]
    alone = data.from_frame(table().assign(ward="north"), target="ill", hospital="ward")
    hospital = alone.hospitals[0]
    dp = RecordDP(noise_multiplier=0, max_grad_norm=limit)
    run = federated.train(alone, rounds=1, local_steps=1, batch_size=16, lr=rate, hidden=(8,), privacy=dp, seed=4)
    n = len(hospital.y_train)
    ((index, share),) = sampling.poisson([np.arange(n)], [1], 16, [federated.hospital_rng(4, 0, 0)])
    batch = index[share > 0]
    start = fleet.init(1, (alone.n_features, 8, 1), seed=4)
    with warnings.catch_warnings():  # Opacus warns about its own use of hooks
        warnings.simplefilter("ignore")
        from opacus import GradSampleModule

        layers = [torch.nn.Linear(alone.n_features, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)]
        for layer, (w, b) in zip(layers[::2], zip(start.weights, start.biases, strict=True), strict=True):
            layer.weight.data, layer.bias.data = w[0].clone(), b[0].clone()
        module = GradSampleModule(torch.nn.Sequential(*layers), loss_reduction="sum")
        out = module(hospital.X_train[batch])
        torch.nn.functional.binary_cross_entropy_with_logits(out, hospital.y_train[batch], reduction="sum").backward()
    rows = torch.cat([p.grad_sample.flatten(1) for p in module.parameters()], 1)
    length = rows.norm(dim=1, keepdim=True)
    assert (length > limit).any() and len(batch) != 16
    step = (rows * (limit / length).clamp(max=1)).sum(0) / 16
    torch.testing.assert_close(run.params.flat()[0], start.flat()[0] - rate * step, atol=1e-6, rtol=0)


def test_noise_in_training_has_the_stated_size(three):
    """Four standard errors: fails by chance once in 10,000 seeds."""
    work = dict(rounds=1, local_steps=1, batch_size=8, lr=1.0, hidden=(300,), strategy="uniform")
    runs = [federated.train(three, **work, privacy=RecordDP(noise_multiplier=s, max_grad_norm=0.5)) for s in (0.0, 3.0)]
    noise = (runs[1].params.flat() - runs[0].params.flat())[0]
    expected = 3 * 0.5 / 8 / math.sqrt(3)  # of one hospital's step; the mean of three hospitals
    assert noise.std().item() == pytest.approx(expected, rel=4 / math.sqrt(2 * len(noise)))
    assert abs(noise.mean().item()) < 4 * expected / math.sqrt(len(noise))


def test_an_empty_batch_is_a_step_with_noise(monkeypatch):
    monkeypatch.setattr(rounds, "own_stream", lambda *_: ())
    one = data.from_frame(table(60).assign(ward="x"), target="ill", hospital="ward")
    n = len(one.hospitals[0].y_train)
    seed = next(
        s
        for s in range(100)
        if not (next(sampling.poisson([np.arange(n)], [1], 1, [federated.hospital_rng(s, 0, 0)]))[1] > 0).any()
    )
    work = dict(rounds=1, local_steps=1, batch_size=1, lr=1.0, hidden=(), seed=seed)
    quiet, loud = (federated.train(one, **work, privacy=RecordDP(noise_multiplier=s)).params.flat() for s in (0.0, 1.0))
    start = fleet.init(1, (4, 1), seed=seed).flat()
    assert torch.equal(quiet, start) and (loud - start).abs().min() > 0


def test_noise_repeats_by_seed_and_never_when_it_is_secure(three):
    def final(**options):
        return federated.train(three, **QUICK, privacy=RecordDP(noise_multiplier=1, **options)).params.flat()

    assert torch.equal(final(), final()) and not torch.allclose(final(secure=True), final(secure=True))


@pytest.mark.parametrize("promise", [RecordDP, HospitalDP])
def test_another_seed_is_another_noise(three, promise):
    def final(seed, **options):
        return federated.train(three, **QUICK, privacy=promise(noise_multiplier=1, **options), seed=seed).params.flat()

    one, again, other = (final(s) - fleet.init(1, (4, 8, 1), seed=s).flat() for s in (0, 0, 1))
    assert torch.equal(one, again) and not torch.allclose(one, other)
    assert not torch.allclose(final(0, secure=True), final(0, secure=True))


@pytest.mark.parametrize("promise", ["record", "hospital"])
def test_noise_is_fresh_in_every_round_for_every_hospital_and_seed(three, promise):
    """Patients count for nothing beside this noise. Correlations and sizes within five standard errors: fails by
    chance about once in 10,000 seeds."""
    private = {
        "record": RecordDP(noise_multiplier=1e6, max_grad_norm=1e-6),
        "hospital": HospitalDP(noise_multiplier=1e6, max_update_norm=1e-6),
    }[promise]
    seen, work = [], dict(rounds=3, local_steps=1, batch_size=8, hidden=(60,), lr=1.0, record=True)
    for seed in (0, 1):
        path = []
        run = federated.train(
            three, **work, privacy=private, seed=seed, on_round=lambda r, path=path: path.append(r.params.flat())
        )
        sent = run.transcript.query("receiver == 'server'")["values"]
        seen += list(sent) if promise == "record" else [*np.diff(torch.cat(path).numpy(), axis=0)]
    seen = np.stack(seen)
    correlation = np.corrcoef(seen)[np.triu_indices(len(seen), 1)]
    assert len(seen) == (18 if promise == "record" else 4)
    assert np.abs(correlation).max() < 5 / math.sqrt(seen.shape[1])
    expected = 1 / 8 if promise == "record" else 1 / 3  # the batch, the hospitals
    assert seen.std(1) == pytest.approx(np.full(len(seen), expected), rel=5 / math.sqrt(2 * seen.shape[1]))


def test_a_hospital_without_training_patients_is_refused(three):
    first = three.hospitals[0]
    empty = dataclasses.replace(first, X_train=first.X_train[:0], y_train=first.y_train[:0])
    nobody = dataclasses.replace(three, hospitals=(empty, *three.hospitals[1:]))
    with pytest.raises(ValueError, match="has no training patients"):
        federated.train(nobody, **QUICK, privacy=RecordDP(epsilon=1))


@pytest.mark.parametrize("promise", ["record", "hospital"])
def test_settings_side_by_side_have_noise_of_their_own(three, promise):
    """Else the difference of two releases would show what the noise hides, and their epsilons would not compose.
    Correlations below five standard errors: fails by chance about once in 100,000 seeds."""
    kind, norm = (RecordDP, "max_grad_norm") if promise == "record" else (HospitalDP, "max_update_norm")
    settings = {
        f"{noise:g}, {lr:g}": {"privacy": kind(noise_multiplier=noise, **{norm: 1e-6}), "lr": lr}
        for noise in (1e6, 2e6)
        for lr in (1.0, 0.5)
    }
    runs = federated.side_by_side(three, settings, seeds=2, rounds=1, local_steps=1, batch_size=8, hidden=(200,))
    start = fleet.init(2, (three.n_features, 200, 1), seed=0).flat()
    moved = torch.cat([run.params.flat() - start for run in runs.values()]).numpy()
    correlation = np.corrcoef(moved)[np.triu_indices(len(moved), 1)]
    assert len(moved) == 8 and np.abs(correlation).max() < 5 / math.sqrt(moved.shape[1])


# --- training under a promise to each record ----------------------------------------------------------------


def test_steps_are_counted_from_what_really_ran(three):
    run = federated.train(three, **QUICK | dict(rounds=9), local_epochs=2, participation=0.67, privacy=RecordDP(2.0))
    came = run.transcript.query("receiver == 'server'").groupby("sender").size()
    assert came.nunique() > 1
    spent = run.ledger.spent().set_index("hospital")
    entries = {e.hospital: e.mechanism for e in run.ledger.private.entries}
    for h in three.hospitals:
        n, m = len(h.y_train), entries[h.name]
        assert m.sampling == 16 / n and m.steps == came[h.name] * math.ceil(2 * n / 16) == spent.loc[h.name, "steps"]
        assert 0.99 * 2 <= direct(m.noise_multiplier, m.sampling, m.steps) <= 2
        assert m.units == n and m.delta == 1e-5 and m.unit == "patient record"
    assert run.ledger.epsilon() == spent["epsilon"].max() <= 2 and run.ledger.method == "PLD"


def test_a_training_that_was_stopped_has_spent_less(three):
    epsilons = []

    def look(run):
        epsilons.append(run.ledger.epsilon())
        return len(epsilons) == 2

    run = federated.train(three, **QUICK, privacy=RecordDP(4.0), on_round=look)
    assert epsilons[0] < epsilons[1] == run.ledger.epsilon() < 4 * 0.99
    assert run.rounds == 2


def test_the_same_noise_costs_small_hospitals_more(three):
    spent = federated.train(three, **QUICK, privacy=RecordDP(noise_multiplier=1.0)).ledger.spent()
    size = [len(h.y_train) for h in three.hospitals]
    assert spent.set_index("hospital").loc[["north", "east", "west"], "epsilon"].is_monotonic_increasing
    assert size == sorted(size, reverse=True)


def test_hospitals_smaller_than_a_batch_are_not_sampled():
    frame = table(120)
    frame["ward"] = ["tiny"] * 3 + ["single"] + ["usual"] * 116
    odd = data.from_frame(frame, target="ill", hospital="ward")
    run = federated.train(odd, **QUICK, privacy=RecordDP(1.0))
    rates = {e.hospital: (e.mechanism.sampling, e.mechanism.steps) for e in run.ledger.private.entries}
    assert rates["single"] == (1.0, 3) and rates["tiny"] == (1.0, 3) and rates["usual"][0] < 1
    assert run.params.flat().isfinite().all() and run.ledger.epsilon() <= 1


def test_budgets_side_by_side_equal_budgets_alone(three):
    settings = {
        "none": {},
        "one": dict(privacy=RecordDP(1.0)),
        "four": dict(privacy=RecordDP(4.0, max_grad_norm=0.5), lr=0.2),
        "fixed": dict(privacy=RecordDP(noise_multiplier=2.0, delta=1e-4)),
        "hospital": dict(privacy=HospitalDP(noise_multiplier=0.1)),
    }
    fleets = []
    runs = federated.side_by_side(three, settings, seeds=2, **QUICK, on_round=lambda some: fleets.append(tuple(some)))
    assert set(fleets) == {("none",), ("one", "four", "fixed"), ("hospital",)} and list(runs) == list(settings)
    for name, setting in settings.items():
        alone = federated.train(three, seeds=2, **QUICK | setting)
        torch.testing.assert_close(runs[name].params.flat(), alone.params.flat(), atol=1e-5, rtol=0)
        assert runs[name].ledger.table().equals(alone.ledger.table())
    history = federated.compare(three, settings, seeds=2, **QUICK)
    assert history["setting"].unique().tolist() == list(settings)
    plain = federated.train(three, seeds=2, **QUICK)
    assert torch.equal(runs["none"].params.flat(), plain.params.flat())


def test_a_curve_falls_with_the_budget():
    federation = data.load("hospital_network")
    settings = {e: dict(privacy=RecordDP(e)) for e in (0.05, 8.0)}
    work = dict(rounds=10, local_steps=20, batch_size=50, lr=0.5, hidden=(16,))
    history = federated.compare(federation, settings, seeds=3, **work)
    last = history[(history["round"] == 10) & (history["hospital"] == "all")].groupby("setting")["auc"].mean()
    assert last[8.0] > last[0.05] + 0.03 and last[8.0] > 0.72


@pytest.mark.parametrize(
    ("promise", "sentence"),
    [
        (RecordDP(1, delta=0.0125), "delta must be below 1/8., one over the number of training patients of north"),
        (HospitalDP(1, delta=0.4), "delta must be below 1/3, one over the number of hospitals"),
        ("epsilon=1", "privacy must be None, privacy.RecordDP"),
        (RecordDP, "privacy must be None"),
    ],
)
def test_promises_that_do_not_fit_get_a_sentence(three, promise, sentence):
    with pytest.raises(ValueError, match=sentence):
        federated.train(three, **QUICK, privacy=promise)


def test_a_delta_just_below_one_over_n_is_accepted_and_no_hospital_may_be_empty(three):
    largest = max(len(h.y_train) for h in three.hospitals)
    federated.train(three, **QUICK, privacy=RecordDP(noise_multiplier=1, delta=0.999 / largest))
    with pytest.raises(ValueError, match="The table for 'north' has no rows"):
        three.replace_train([h.train.iloc[: 0 if h.name == "north" else None] for h in three.hospitals])


def test_a_hospital_with_one_patient_keeps_its_promise_beside_others():
    """Its noise is that of a batch of one, in every step; the others' does not depend on it."""
    frame = table(120)
    frame["ward"] = ["single"] + ["usual"] * 119
    odd = data.from_frame(frame, target="ill", hospital="ward")
    for budget in (0.5, 5.0):
        run = federated.train(odd, **QUICK, privacy=RecordDP(budget))
        own = {e.hospital: e.mechanism for e in run.ledger.private.entries}
        assert own["single"].units == 1 and own["single"].sampling == 1
        for m in own.values():
            assert 0.99 * budget <= direct(m.noise_multiplier, m.sampling, m.steps) <= budget


# --- a promise to each hospital -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many():
    return data.from_frame(table(600).drop(columns="ward"), target="ill", n_hospitals=40)


def test_without_noise_and_clipping_hospitals_count_alike(three, monkeypatch):
    monkeypatch.setattr(rounds, "own_stream", lambda *_: ())
    loose = HospitalDP(noise_multiplier=0, max_update_norm=1e6)
    ours = federated.train(three, **QUICK, privacy=loose)
    theirs = federated.train(three, **QUICK, strategy="uniform")
    torch.testing.assert_close(ours.params.flat(), theirs.params.flat(), atol=1e-6, rtol=0)
    assert ours.ledger.private.entries == () and ours.ledger.table()["epsilon"].eq(math.inf).all()


def test_updates_are_clipped_and_divided_by_the_expected_number(many):
    work = dict(rounds=1, batch_size=8, lr=1.0, hidden=(8,), participation=0.3, record=True)
    tight = HospitalDP(noise_multiplier=0, max_update_norm=0.05)
    run = federated.train(many, **work, privacy=tight, seed=1)
    updates = np.stack(run.transcript.query("receiver == 'server'")["values"])
    assert np.allclose(np.linalg.norm(updates, axis=1), 0.05, atol=1e-6) and len(updates) != 12
    start = fleet.init(1, run.params.sizes, seed=1).flat()[0]
    torch.testing.assert_close(run.params.flat()[0] - start, torch.from_numpy(updates.sum(0) / 12), atol=1e-6, rtol=0)


def test_noise_on_global_models_has_the_stated_size(many):
    """Four standard errors: fails by chance once in 10,000 seeds."""
    work = dict(rounds=1, batch_size=8, hidden=(300,), participation=0.5)
    quiet, loud = (
        federated.train(many, **work, privacy=HospitalDP(noise_multiplier=s, max_update_norm=0.2)).params.flat()[0]
        for s in (0.0, 2.0)
    )
    noise = loud - quiet
    assert noise.std().item() == pytest.approx(2 * 0.2 / 20, rel=4 / math.sqrt(2 * len(noise)))


@pytest.mark.parametrize("hidden", [False, True])
def test_sampling_helps_only_where_participants_are_hidden(many, hidden):
    promise = HospitalDP(6.0, participants_hidden=hidden)
    run = federated.train(many, **QUICK | dict(rounds=6), participation=0.3, privacy=promise)
    came = run.transcript.query("receiver == 'server'").groupby("sender").size()
    entries = {e.hospital: e.mechanism for e in run.ledger.private.entries}
    if hidden:
        assert {(m.sampling, m.steps) for m in entries.values()} == {(0.3, 6)} and len(entries) == 40
    else:
        assert {name: m.steps for name, m in entries.items()} == came.to_dict()
        assert {m.sampling for m in entries.values()} == {1.0}
    assert 0.99 * 6 <= run.ledger.epsilon() <= 6
    assert "model updates of each round" in run.ledger.unprotected.table()["what"].tolist()  # the server sees them
    assert {e.viewer for e in run.ledger.private.entries} == {"every hospital"}


def test_rounds_without_anybody_still_get_their_noise(three):
    promise = HospitalDP(noise_multiplier=1.0)
    run = federated.train(three, **QUICK, participation=1e-9, privacy=promise)
    start = fleet.init(1, run.params.sizes, seed=0).flat()
    assert len(run.transcript) == 0 and (run.params.flat() - start).abs().min() > 0 and run.ledger.epsilon() == 0


def test_an_aggregator_stands_between_hospitals_and_noise(many):
    class Mean:
        def aggregate(self, updates, weights, *, alive, rng):
            return np.average(updates, axis=0, weights=weights), []

    # Each setting has coins and noise of its own: no coins matter here, and hardly any noise.
    work = QUICK | dict(batch_size=1000, privacy=HospitalDP(noise_multiplier=1e-6))
    with_, without = (federated.train(many, **work, aggregator=a).params.flat() for a in (Mean(), None))
    torch.testing.assert_close(with_, without, atol=1e-5, rtol=0)


# --- the ledger ---------------------------------------------------------------------------------------------


def noisy(hospital, *mechanisms, ledger=None, **options):
    ledger = ledger or Ledger()
    for m in mechanisms:
        ledger = ledger.add("updates", hospital=hospital, viewer="server", mechanism=m, **options)
    return ledger


def test_releases_of_one_hospital_compose_and_epsilons_are_not_added():
    one, other = Mechanism(1.0, 0.02, 200), Mechanism(3.0, 1.0, 4)
    ledger = noisy("A", one, one, other)
    accountant = pld.PLDAccountant()
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(1.0)), 400)
    accountant.compose(dp_accounting.GaussianDpEvent(3.0), 4)
    assert ledger.epsilon() == pytest.approx(accountant.get_epsilon(1e-5), rel=0.002)
    assert ledger.epsilon() < 2 * one.epsilon + other.epsilon


def test_over_hospitals_the_largest_counts_and_a_patient_of_two_pays_both():
    ledger = noisy("B", Mechanism(2.0, steps=3), ledger=noisy("A", Mechanism(1.0, steps=2)))
    a, b = (privacy.epsilon(s, steps=t) for s, t in ((1.0, 2), (2.0, 3)))
    assert ledger.epsilon() == pytest.approx(max(a, b)) and ledger.epsilon(hospitals=["B"]) == pytest.approx(b)
    both = ledger.epsilon(hospitals=["A", "B"])
    assert max(a, b) < both < a + b and both == pytest.approx(privacy.epsilon(1 / math.sqrt(2.75)), rel=0.01)
    with pytest.raises(ValueError, match="'C' is none"):
        ledger.epsilon(hospitals=["C"])


def test_mixed_promises_do_not_compose():
    record, hospital = Mechanism(1.0), Mechanism(1.0, unit="hospital")
    with pytest.raises(ValueError, match="more than one unit .hospital and patient record."):
        noisy("A", record, hospital).epsilon()
    with pytest.raises(ValueError, match="more than one relation"):
        noisy("A", record, Mechanism(1.0, relation="replace one")).epsilon()
    with pytest.raises(ValueError, match="whose relation is 'add or remove one'; got 'replace one'"):
        noisy("A", Mechanism(1.0, relation="replace one")).epsilon()
    assert any("more than one unit" in s for s in noisy("A", record, hospital).check())
    with pytest.raises(ValueError, match="different deltas .1e-06, 1e-05.; give delta"):
        noisy("A", record, Mechanism(1.0, delta=1e-6)).epsilon()
    assert noisy("A", record, Mechanism(1.0, delta=1e-6)).epsilon(1e-5) == pytest.approx(privacy.epsilon(1.0, steps=2))


def test_one_release_without_a_loss_distribution_makes_all_of_it_rdp():
    concentrated = Mechanism(event=dp_accounting.ZCDpEvent(0.05))
    ledger = noisy("A", Mechanism(2.0, 0.1, 50), concentrated, ledger=noisy("B", Mechanism(1.0, steps=5)))
    assert ledger.method == "RDP" and set(ledger.spent()["method"]) == {"RDP"}
    accountant = rdp.RdpAccountant()
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 50)
    accountant.compose(dp_accounting.ZCDpEvent(0.05))
    assert ledger.epsilon(hospitals=["A"]) == pytest.approx(accountant.get_epsilon(1e-5))
    assert ledger.epsilon() == pytest.approx(privacy.epsilon(1.0, steps=5, method="rdp"))  # hospital B's
    laplace = noisy("A", Mechanism(event=dp_accounting.LaplaceDpEvent(2.0)))
    assert laplace.method == "PLD" and laplace.epsilon(1e-9) == pytest.approx(0.5, rel=0.01)
    assert laplace.table().loc[0, "mechanism"] == "Laplace"


def test_seeds_look_at_the_same_patients_again(three):
    run = federated.train(three, **QUICK, seeds=4, privacy=RecordDP(1.0))
    alone, everything = run[0].ledger.epsilon(), run.ledger.epsilon()
    assert 0.99 <= alone <= 1 and 1.5 < everything < 4
    m = {e.hospital: e.mechanism for e in run[0].ledger.private.entries}["north"]
    assert len(run.ledger.private) == 12 and len(run[3].ledger.private) == 3
    four = privacy.epsilon(m.noise_multiplier, sampling=m.sampling, steps=4 * m.steps)
    assert run.ledger.epsilon(hospitals=["north"]) == pytest.approx(four)
    other = federated.train(three, **QUICK, privacy=RecordDP(1.0))
    assert (run.ledger + other.ledger).epsilon() > everything  # as a published curve has it
    assert (run.ledger + run[2].ledger).epsilon() == everything  # the very same release is not a new one
    assert len(run.ledger + run.ledger) == len(run.ledger)


def test_replicates_of_one_table_compose_whoever_was_dealt_where():
    natural = data.replicates(table(), 3, target="ill", hospital="ward")
    dealt = data.replicates(table().drop(columns="ward"), 3, target="ill", n_hospitals=3)
    for splits in (natural, dealt):
        run = federated.train(splits, **QUICK, privacy=RecordDP(noise_multiplier=3.0))
        mechanisms = [e.mechanism for e in run.ledger.private.entries]
        first = max(privacy.epsilon(3.0, sampling=m.sampling, steps=3 * m.steps) for m in mechanisms)
        assert run.ledger.epsilon() >= first * 0.999 > run[0].ledger.epsilon()
    runs = [federated.train(s, **QUICK, privacy=RecordDP(noise_multiplier=1)) for s in (natural, dealt)]
    assert [len({e.dealing for e in run.ledger.private.entries}) for run in runs] == [1, 3]
    assert "dealing" not in run.ledger.table() and str(run.ledger.private.entries[0].dealing) not in repr(run.ledger)
    moved = noisy("B", Mechanism(1.0), dealing=2, ledger=noisy("A", Mechanism(1.0), dealing=1))
    assert moved.epsilon() == pytest.approx(privacy.epsilon(1.0, steps=2))  # who was in A then may be in B now


def test_what_has_no_promise_is_listed_and_in_no_epsilon(three):
    ledger = federated.train(three, **QUICK, privacy=RecordDP(1.0)).ledger
    bare = ledger.unprotected.table()
    assert {"metrics on test rows", "counts and sums"} <= set(bare["what"])
    assert "model updates of each round" not in set(bare["what"]) and len(ledger.private) + len(bare) + 1 == len(ledger)
    rows = ledger.table()
    assert rows.columns[:5].tolist() == ["what", "hospital", "viewer", "guarantee", "detail"]
    assert (rows.loc[rows["guarantee"] == "not private", "epsilon"] == math.inf).all()
    promised = rows[rows["unit"] == "patient record"]
    assert promised["guarantee"].str.contains("epsilon 0.99|epsilon 1").all() and (promised["epsilon"] <= 1).all()
    assert (ledger.spent()["unprotected"] == 3).all()  # two messages of preprocessing, one with test scores
    sentences = " ".join(ledger.check())
    assert "comes from a seed" in sentences and "carry no promise" in sentences and "delta" not in sentences
    safe = federated.train(three, **QUICK, privacy=RecordDP(1.0, secure=True)).ledger
    assert "seed" not in " ".join(safe.check())


def test_a_delta_from_batches_is_noticed():
    wrong = noisy("A", Mechanism(1.0, 0.1, 100, delta=1 / 30, units=300))
    assert any("delta 0.0333333 is not below 1/300" in s and "batches" in s for s in wrong.check())
    right = noisy("A", Mechanism(1.0, 0.1, 100, delta=1 / 3000, units=300, secret=True))
    assert right.check() == []


def test_an_empty_ledger_has_spent_nothing():
    empty = Ledger()
    assert empty.epsilon() == 0 and empty.check() == [] and len(empty.spent()) == 0
    bare = empty.add("sums", hospital="A", viewer="server")
    assert bare.epsilon() == 0 and len(bare.unprotected) == 1
    clipped_only = noisy("A", Mechanism(0.0, steps=3, units=10))
    assert clipped_only.table().loc[0, "guarantee"] == "not private" and len(clipped_only.unprotected) == 1


def test_accounting_is_loaded_only_when_it_is_used():
    code = "import sys, fedlab_utils.federated; sys.exit('dp_accounting' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0

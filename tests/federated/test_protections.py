"""Training under a promise to each record or to each hospital: noise, coins, clipping and price.

Seeds are fixed; where another one could fail by chance, the test says how often.
"""

import dataclasses
import math
import warnings
from functools import partial

import dp_accounting
import numpy as np
import pandas as pd
import pytest
import torch
from dp_accounting import pld

from fedlab_utils import data, federated, fleet
from fedlab_utils.federated import plan, protections
from fedlab_utils.federated.setting import Setting
from fedlab_utils.fleet import batches
from fedlab_utils.privacy import promises

# Noise from a seed, so that no test fails by chance; what is said of secure noise is asked of it by name.
RecordDP, HospitalDP = partial(promises.RecordDP, secure=False), partial(promises.HospitalDP, secure=False)
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


def test_runs_with_the_same_noise_on_as_many_rows_share_a_mechanism(three):
    run = federated.train(three, **QUICK, seeds=4, privacy=RecordDP(noise_multiplier=1.0))
    assert len(run.ledger.private) == 12 and len({id(e.mechanism) for e in run.ledger.private.entries}) == 3


def direct(noise, q, steps, delta=1e-5, kind=pld.PLDAccountant, **options):
    """Epsilon straight from dp-accounting."""
    event = dp_accounting.GaussianDpEvent(noise)
    accountant = kind(**options)
    accountant.compose(event if q == 1 else dp_accounting.PoissonSampledDpEvent(q, event), steps)
    return accountant.get_epsilon(delta)


# ---------------------------------------------------------------- noise and coins


def test_one_private_step_is_the_clipped_sum_of_opacus(three, monkeypatch):
    """The same Poisson batch, without noise, divided by the expected size of the batch."""
    monkeypatch.setattr(Setting, "own_stream", lambda *_: ())
    limit, rate, hospital = 0.3, 0.7, three.hospitals[0]
    alone = data.from_frame(table().assign(ward="north"), target="ill", hospital="ward")
    hospital = alone.hospitals[0]
    dp = RecordDP(noise_multiplier=0, max_grad_norm=limit)
    run = federated.train(alone, rounds=1, local_steps=1, batch_size=16, lr=rate, hidden=(8,), privacy=dp, seed=4)
    n = len(hospital.y_train)
    ((index, share),) = batches.poisson([np.arange(n)], [1], 16, [federated.hospital_rng(4, 0, 0)])
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
    monkeypatch.setattr(Setting, "own_stream", lambda *_: ())
    one = data.from_frame(table(60).assign(ward="x"), target="ill", hospital="ward")
    n = len(one.hospitals[0].y_train)
    seed = next(
        s
        for s in range(100)
        if not (next(batches.poisson([np.arange(n)], [1], 1, [federated.hospital_rng(s, 0, 0)]))[1] > 0).any()
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


def corrected(federation):
    """The same patients, but for the label of one training patient of the last hospital."""
    *others, last = federation.hospitals
    y = last.y_train.clone()
    y[0] = 1 - y[0]
    return dataclasses.replace(federation, hospitals=(*others, dataclasses.replace(last, y_train=y)))


def pairs(three):
    """Two federations each, of equal sizes under equal seeds, whose releases somebody may lay side by side."""
    bounds = {c: (-6, 6) for c in "abcd"}
    exact, private = (
        data.from_frame(table(), target="ill", hospital="ward", bounds=bounds, statistics=promise)
        for promise in (None, RecordDP(50))
    )
    return {
        "a corrected label": (three, corrected(three)),
        "two splits of one table": data.replicates(table(), 2, target="ill", hospital="ward"),
        "dealt out in two ways": [three.repartition(3, None, seed=s) for s in (0, 1)],
        "exact and private statistics": (exact, private),
        "two hospitals change places": (three, dataclasses.replace(three, hospitals=three.hospitals[::-1])),
    }


@pytest.mark.parametrize("promise", ["record", "hospital"])
@pytest.mark.parametrize("case", ["a corrected label", "two splits of one table", "dealt out in two ways",
                                  "exact and private statistics", "two hospitals change places"])  # fmt: skip
def test_other_patients_never_meet_the_same_noise(three, case, promise):
    """Else the difference of two releases would show what the noise hides: patients count for nothing beside this one.
    Correlation below five standard errors: fails by chance less than once in a million seeds."""
    kind, norm = (RecordDP, "max_grad_norm") if promise == "record" else (HospitalDP, "max_update_norm")
    private = kind(noise_multiplier=1e6, **{norm: 1e-6})
    work = dict(rounds=1, local_steps=1, batch_size=8, lr=1.0, hidden=(200,), strategy="uniform", privacy=private)
    one, other = (federated.train(f, **work).params.flat()[0].numpy() for f in pairs(three)[case])
    start = fleet.init(1, (4, 200, 1), seed=0).flat()[0].numpy()
    assert abs(np.corrcoef(one - start, other - start)[0, 1]) < 5 / math.sqrt(len(start))


def test_the_very_same_training_repeats_itself_as_a_demonstration_only(three):
    again = data.from_frame(table(), target="ill", hospital="ward")
    assert plan.fingerprint(again) == plan.fingerprint(three) != plan.fingerprint(corrected(three))


# ---------------------------------------------------------------- training under a promise to each record


def test_steps_are_counted_from_what_really_ran(three):
    run = federated.train(three, **QUICK | dict(rounds=10), local_epochs=2, participation=0.67, privacy=RecordDP(2.0))
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


def test_the_ledger_knows_how_many_records_a_patient_has():
    frame = table().assign(id=np.arange(240) // 2)  # two visits each
    twice = data.from_frame(frame, target="ill", hospital="ward", patient="id")
    run = federated.train(twice, **QUICK, privacy=RecordDP(noise_multiplier=5.0))
    assert {e.mechanism.records for e in run.ledger.private.entries} == {2}
    assert any("A patient has up to 2 records" in sentence for sentence in run.ledger.check())
    assert run.ledger.epsilon_of_patients() > 1.5 * run.ledger.epsilon()


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
        (promises.RecordDP, "privacy must be None"),
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


# ---------------------------------------------------------------- a promise to each hospital


@pytest.fixture(scope="module")
def many():
    return data.from_frame(table(600).drop(columns="ward"), target="ill", n_hospitals=40)


def test_without_noise_and_clipping_hospitals_count_alike(three, monkeypatch):
    monkeypatch.setattr(Setting, "own_stream", lambda *_: ())
    loose = HospitalDP(noise_multiplier=0, max_update_norm=1e6)
    ours = federated.train(three, **QUICK, privacy=loose)
    theirs = federated.train(three, **QUICK, strategy="uniform")
    torch.testing.assert_close(ours.params.flat(), theirs.params.flat(), atol=1e-6, rtol=0)
    assert ours.ledger.private.entries == () and ours.ledger.table()["epsilon"].eq(math.inf).all()


def test_updates_are_clipped_and_divided_by_the_expected_number(many):
    work = dict(rounds=1, batch_size=8, lr=1.0, hidden=(8,), participation=0.3, record=True)
    tight = HospitalDP(noise_multiplier=0, max_update_norm=0.05)
    run = federated.train(many, **work, privacy=tight, seed=2)
    updates = np.stack(run.transcript.query("receiver == 'server'")["values"])
    assert np.allclose(np.linalg.norm(updates, axis=1), 0.05, atol=1e-6) and len(updates) != 12
    start = fleet.init(1, run.params.sizes, seed=2).flat()[0]
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
        linear = True

        def aggregate(self, updates, weights, *, alive, rng):
            return np.average(updates, axis=0, weights=weights), []

    # Each setting has coins and noise of its own: no coins matter here, and hardly any noise.
    work = QUICK | dict(batch_size=1000, privacy=HospitalDP(noise_multiplier=1e-6))
    with_, without = (federated.train(many, **work, aggregator=a).params.flat() for a in (Mean(), None))
    torch.testing.assert_close(with_, without, atol=1e-5, rtol=0)


def test_a_training_that_runs_away_stays_below_the_clip_norm(three):
    promise = HospitalDP(noise_multiplier=0.0, delta=0.01, max_update_norm=0.5)
    run = federated.train(three, rounds=2, hidden=(8,), lr=1e30, privacy=promise)
    start = fleet.init(1, (three.n_features, 8, 1), seed=0)
    moved = torch.linalg.vector_norm(run.params.flat() - start.flat())
    assert moved.isfinite() and moved <= 2 * 0.5 + 1e-6


def test_a_protection_may_give_the_local_training_other_rows(three, monkeypatch):
    class Flipped(protections.Protection):
        def local(self, here):
            return {"y": 1 - self.plan.y}

    others = (dataclasses.replace(h, y_train=1 - h.y_train) for h in three.hospitals)
    straight = federated.train(dataclasses.replace(three, hospitals=tuple(others)), **QUICK)
    monkeypatch.setitem(protections.PROTECTIONS, type(None), Flipped)
    torch.testing.assert_close(federated.train(three, **QUICK).params.flat(), straight.params.flat())

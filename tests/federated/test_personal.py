"""Personal parts and fine-tuning: against rounds written out by hand, what travels of them, and what is promised."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import data, federated, fleet, privacy, secagg
from fedlab_utils.encrypted import EncryptedSum
from fedlab_utils.federated.setting import Setting
from fedlab_utils.fleet.randomness import FINE_TUNING, generator
from tests.federated.helpers import QUICK, table
from tests.refusals import one_sentence

RecordDP, HospitalDP = partial(privacy.RecordDP, secure=False), partial(privacy.HospitalDP, secure=False)
KINDS = ["head", "first"]
HEAD, FIRST = 8 + 1, 4 * 8 + 8  # numbers of each layer, with four features and eight units
WORK = dict(rounds=4, local_steps=3, batch_size=16, lr=0.2, hidden=(8,))


def own_columns(kind):
    columns = torch.zeros(HEAD + FIRST, dtype=torch.bool)
    columns[slice(FIRST, None) if kind == "head" else slice(FIRST)] = True
    return columns


def models_of(run, federation, **how):
    """What each hospital uses, ``[hospitals, seeds, D]``."""
    return torch.stack([run.personal(federation, name, **how).params.flat() for name in run.hospitals])


# ---------------------------------------------------------------- rounds


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", [{}, dict(participation=0.67, dropout=0.3, rounds=8, optimiser="momentum")])
def test_personal_parts_are_rounds_written_out_by_hand(three, kind, change):
    """Who falls silent goes back to the part that it had; who does not take part keeps it."""
    work = WORK | change
    run = federated.train(three, **work, personal=kind, seed=2)
    mine, log = own_columns(kind), run.transcript
    world = fleet.init(1, (4, 8, 1), seed=2)
    begin = world.flat()[:, mine]
    own = [begin.clone() for _ in range(3)]
    rngs = [federated.hospital_rng(2, 0, h) for h in range(3)]
    lost = 0
    for turn in range(1, work["rounds"] + 1):
        this, total, rows = log[log["round"] == turn], 0, 0
        for k, h in enumerate(three.hospitals):
            if h.name not in set(this["receiver"]):
                continue
            flat = world.flat()
            flat[:, mine] = own[k]
            trained = fleet.fit(
                world.like(flat), h.X_train, h.y_train, [range(len(h.y_train))], steps=3, batch_size=16, lr=0.2,
                optimiser=work.get("optimiser", "sgd"), seed=[rngs[k]],
            ).flat()  # fmt: skip
            if h.name not in set(this["sender"]):
                lost += 1
                continue
            own[k] = trained[:, mine]
            total, rows = total + len(h.y_train) * trained[:, ~mine], rows + len(h.y_train)
        if rows:
            flat = world.flat()
            flat[:, ~mine] = total / rows
            world = world.like(flat)
    assert (lost > 0) == ("dropout" in change)
    torch.testing.assert_close(run.params.flat(), world.flat(), atol=1e-5, rtol=0)
    assert torch.equal(run.params.flat()[:, mine], begin)
    for found, part in zip(models_of(run, three), own, strict=True):
        torch.testing.assert_close(found[:, mine], part, atol=1e-5, rtol=0)
        assert torch.equal(found[:, ~mine], run.params.flat()[:, ~mine])
        assert (part - begin).abs().max() > 1e-3


def test_a_hospital_that_codes_its_columns_the_other_way_round_is_helped():
    frame = table(900, seed=5)
    frame["ill"] = frame["ill"] ^ (frame["ward"] == "west")
    federation = data.from_frame(frame, target="ill", hospital="ward")
    how = dict(rounds=15, local_steps=10, lr=0.3, hidden=(8,))
    common, *personal = (federated.train(federation, **how, personal=kind) for kind in (None, *KINDS))
    west = [federated.by_hospital(run, federation).set_index("hospital")["auc"]["west"] for run in (common, *personal)]
    tuned = federated.by_hospital(common, federation, steps=60).set_index("hospital")["auc"]["west"]
    assert west[0] < 0.5 < 0.8 < min(*west[1:], tuned)


@pytest.mark.parametrize("kind", KINDS)
def test_scaffold_corrects_what_is_shared_alone(three, kind):
    """With one step and everybody there it is averaging, in the hospitals' own parts too."""
    work = WORK | dict(local_steps=1, rounds=6, personal=kind)
    averaging, corrected = (federated.train(three, **work, strategy=s) for s in ("fedavg", "scaffold"))
    torch.testing.assert_close(models_of(averaging, three), models_of(corrected, three), atol=1e-6, rtol=0)
    several = [federated.train(three, **work | dict(local_steps=4), strategy=s) for s in ("fedavg", "scaffold")]
    assert (several[0].params.flat() - several[1].params.flat()).abs().max() > 1e-3


@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam", "fedyogi", "scaffold", "uniform"])
def test_every_strategy_moves_the_shared_part(three, strategy):
    settings = {"it": dict(strategy=strategy), "half": dict(strategy=strategy, server_lr=0.05)}
    runs = federated.side_by_side(three, settings, **WORK | dict(personal="head", seeds=2, server_lr=0.1))
    mine = own_columns("head")
    begin = fleet.init(2, (4, 8, 1), seed=0).flat()
    for name, run in runs.items():
        alone = federated.train(three, **WORK | dict(server_lr=0.1) | settings[name], personal="head", seeds=2)
        torch.testing.assert_close(models_of(run, three), models_of(alone, three), atol=1e-5, rtol=0)
        assert torch.equal(run.params.flat()[:, mine], begin[:, mine])
        assert (run.params.flat() - begin)[:, ~mine].abs().max() > 1e-3


def test_a_fleet_has_one_kind_of_personal_part(three):
    settings = {str(kind): dict(personal=kind) for kind in (None, *KINDS)}
    runs = federated.side_by_side(three, settings, seeds=2, **WORK)
    assert [run.own.kind for run in runs.values()] == [None, *KINDS]
    plain = federated.train(three, **WORK, seeds=2)
    assert torch.equal(runs["None"].params.flat(), plain.params.flat())
    shown = [repr(runs[kind]) for kind in KINDS]
    assert "last layer personal: scores by federated.by_hospital" in shown[0] and "first layer personal" in shown[1]
    assert "AUC" not in "".join(shown)


def test_a_training_is_told_as_it_goes(three):
    """What a run has after a round stays as it was then."""
    seen = []
    run = federated.train(three, **WORK, personal="head", on_round=lambda r: seen.append((r, models_of(r, three))))
    assert [r.rounds for r, _ in seen] == [1, 2, 3, 4]
    for r, models in seen:
        assert torch.equal(models_of(r, three), models)
    assert torch.equal(seen[-1][1], models_of(run, three)) and not torch.equal(seen[0][1], seen[1][1])


def test_a_global_model_that_nobody_uses_may_be_of_any_loss(three):
    for kind in (None, "head"):
        run = federated.train(three, **QUICK, personal=kind)
        worse = {name: values * 1000 for name, values in run.metrics[-1].items()}
        assert len(replace(run, metrics=(*run.metrics[:-1], worse)).diverged) == (kind is None)


# ---------------------------------------------------------------- what travels


@pytest.mark.parametrize(("kind", "shared"), [("head", FIRST), ("first", HEAD)])
def test_only_shared_numbers_travel(three, kind, shared):
    run = federated.train(three, **WORK, personal=kind, record=True)
    assert (run.transcript["bytes"] == 4 * shared).all() and {len(v) for v in run.transcript["values"]} == {shared}
    assert run.history.query("round == 1 and hospital == 'all'")["bytes"].item() == 6 * 4 * shared
    told = federated.train(three, **WORK, personal=kind, strategy="scaffold").transcript
    assert (told["bytes"] == 4 * shared).all()
    small = federated.train(three, **WORK, personal=kind, compress=federated.TopK(0.5)).transcript
    assert (small.query("receiver == 'server'")["bytes"] == 6 * -(-shared // 2)).all()
    for way in (secagg.SecureSum(threshold=2), EncryptedSum()):
        sizes = [
            federated.train(three, **WORK | dict(rounds=1), personal=which, aggregator=way).transcript["bytes"].sum()
            for which in (None, kind)
        ]
        assert sizes[1] < sizes[0]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", [secagg.SecureSum(threshold=2), EncryptedSum()], ids=["masked", "encrypted"])
def test_behind_a_sum_it_is_the_same_but_for_the_grid(three, kind, way):
    run, plain = (federated.train(three, **WORK, personal=kind, aggregator=a) for a in (way, None))
    assert (models_of(run, three) - models_of(plain, three)).abs().max() < 1e-3


# ---------------------------------------------------------------- under a promise


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_promise_to_records_own_parts_are_noisy_and_cost_nothing(three, kind):
    common = QUICK | dict(seed=1, privacy=RecordDP(noise_multiplier=50.0, max_grad_norm=0.1))
    run, again, whole = (federated.train(three, **common, personal=k) for k in (kind, kind, None))
    entries = [[(e.what, e.hospital, e.guarantee, e.mechanism) for e in r.ledger.entries] for r in (run, whole)]
    assert entries[0] == entries[1] and torch.equal(models_of(run, three), models_of(again, three))
    mild = federated.train(
        three, **common | dict(privacy=RecordDP(noise_multiplier=1e-3, max_grad_norm=0.1)), personal=kind
    )
    mine = own_columns(kind)
    moved = [(models_of(r, three)[0] - r.params.flat())[:, mine].std() for r in (run, mild)]
    assert moved[0] > 10 * moved[1]
    failing = federated.train(three, **common, dropout=0.4, personal=kind)
    came = failing.transcript.query("what == 'update'")["sender"].value_counts()
    steps = {h.name: -(-len(h.y_train) // 16) for h in three.hospitals}
    counted = {e.hospital: e.mechanism.steps for e in failing.ledger.private.entries}
    assert 0 < came.sum() < 9 and counted == {name: came[name] * n for name, n in steps.items() if name in came}


@pytest.mark.parametrize("kind", KINDS)
def test_under_a_promise_to_hospitals_the_shared_part_is_clipped(three, kind):
    promise = HospitalDP(noise_multiplier=1.0, max_update_norm=0.01)
    run = federated.train(three, **WORK, privacy=promise, personal=kind, record=True)
    shared = FIRST if kind == "head" else HEAD
    ups = run.transcript.query("what == 'update'")["values"]
    assert {len(v) for v in ups} == {shared}
    np.testing.assert_allclose([np.linalg.norm(v) for v in ups], 0.01, rtol=1e-4)
    mine = own_columns(kind)
    assert (models_of(run, three)[:, 0] - run.params.flat())[:, mine].norm(dim=1).min() > 0.05  # theirs is not
    masked = federated.train(
        three, **WORK, privacy=promise, personal=kind, aggregator=secagg.SecureSum(threshold=2, limit=0.01)
    )
    inside = federated.train(three, **WORK, privacy=promise, personal=kind, aggregator=secagg.PrivateSum(threshold=2))
    assert all(bool(r.params.flat().isfinite().all()) for r in (masked, inside))


def test_a_part_that_ran_away_is_not_gone_on_with(three):
    """Under clipping the update counts as no change, and the next round may go well."""
    run = federated.train(three, **WORK | dict(lr=1e30), privacy=HospitalDP(noise_multiplier=1.0), personal="head")
    assert bool(run.own.parts.isfinite().all()) and bool(run.params.flat().isfinite().all())


def test_what_changes_nothing_leaves_the_noise_as_it_was():
    """The number is that of a training from before there were personal parts and clocks."""

    def stream(**how):
        return Setting(privacy=RecordDP(epsilon=1.0), **how).own_stream(b"rows")[0] % 2**64

    assert stream() == stream(personal=None, clock=None) == 15207636812025156853
    assert len({stream(personal=kind) for kind in (None, *KINDS)}) == 3


# ---------------------------------------------------------------- what a hospital makes of it


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_fine_tuning_is_training_by_oneself(three, kind):
    run = federated.train(three, **WORK, personal=kind, seeds=2, optimiser="momentum")
    before = run.personal(three, "east")
    assert before.leaves is False and len(before) == 2 and "stays in the hospital" in repr(before)
    h = three.hospitals[1]
    assert before.predict_proba(h.X_test).shape == (2, len(h.y_test), 2)
    found = run.personal(three, "east", steps=5, batch_size=8, seed=4)
    byhand = fleet.fit(
        before.params, h.X_train, h.y_train, [range(len(h.y_train))] * 2, steps=5, batch_size=8, lr=0.2,
        optimiser="momentum", seed=[generator(4, s, FINE_TUNING, 1) for s in range(2)],
    )  # fmt: skip
    torch.testing.assert_close(found.params.flat(), byhand.flat(), atol=1e-6, rtol=0)
    other = run.personal(three, "east", steps=5, batch_size=8, seed=4, lr=0.01)
    assert (other.params.flat() - before.params.flat()).abs().max() < (
        found.params.flat() - before.params.flat()
    ).abs().max()
    still = run.personal(three, "east", steps=5, lr=0.0)
    assert torch.equal(still.params.flat(), before.params.flat())
    if kind is None:
        assert torch.equal(before.params.flat(), run.params.flat())


def test_hospitals_are_scored_on_their_own_patients(three):
    how = dict(steps=5, seed=1)
    run = federated.train(three, **WORK, personal="head", seeds=2)
    scores = federated.by_hospital(run, three, **how)
    assert list(scores) == ["hospital", "seed", "loss", "accuracy", "auc"] and len(scores) == 8
    for h in three.hospitals:
        p = run.personal(three, h.name, **how).predict_proba(h.X_test).numpy()
        right = (p.argmax(2) == h.y_test[:, 0].numpy()).mean(1)
        np.testing.assert_allclose(scores.query("hospital == @h.name")["accuracy"], right)
    rows = np.array([len(h.y_test) for h in three.hospitals])
    of = scores.query("seed == 1").set_index("hospital")["loss"]
    assert of["all"] == pytest.approx(np.average(of[[h.name for h in three.hospitals]], weights=rows), abs=1e-6)
    plain = federated.train(three, **WORK, seeds=2)
    columns = ["hospital", "seed", "loss", "accuracy", "auc"]
    one, other = (
        t.sort_values(["hospital", "seed"]).reset_index(drop=True)[columns]
        for t in (federated.by_hospital(plain, three), plain.final)
    )
    pd.testing.assert_frame_equal(one, other, check_dtype=False, atol=1e-6)


def test_each_replicate_is_tuned_on_its_own_split():
    splits = data.replicates(table(), 2, target="ill", hospital="ward")
    run = federated.train(splits, **WORK, personal="first")
    found, h = run.personal(splits, "north", steps=4), splits[1].hospitals[0]
    start = run.personal(splits, "north").params[[1]]
    rows = [range(len(h.y_train))]
    own = dict(steps=4, batch_size=32, lr=0.2, seed=[generator(0, 1, FINE_TUNING, 0)])
    byhand = fleet.fit(start, h.X_train, h.y_train, rows, **own)
    torch.testing.assert_close(found.params.flat()[[1]], byhand.flat(), atol=1e-6, rtol=0)
    for wrong in (splits[::-1], splits[:1], splits[0], [*splits, splits[0]]):
        with one_sentence("federation"):
            run.personal(wrong, "north")
        with one_sentence("federation"):
            federated.by_hospital(run, wrong)
    same = data.replicates(table(), 2, target="ill", hospital="ward")
    assert torch.equal(run.personal(same, "north").params.flat(), run.personal(splits, "north").params.flat())


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks(task):
    frame = table(classes=3) if task == "multiclass" else table().assign(ill=lambda t: t["a"] * 2.5 + t["b"])
    federation = data.from_frame(frame, target="ill", hospital="ward")
    run = federated.train(federation, **WORK | dict(lr=0.05, hidden=(8, 6)), personal="head")
    out = run.personal(federation, "west", steps=3).predict_proba(federation.pooled().X_test)
    assert out.shape[2] == (3 if task == "multiclass" else 1)
    assert federated.by_hospital(run, federation, steps=3)["loss"].notna().all()


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "change", [dict(personal="body"), dict(personal=1), dict(personal=True), dict(personal=["head"])]
)
def test_what_is_no_part_of_a_network_gets_a_sentence(three, monkeypatch, change):
    monkeypatch.setattr(fleet, "fit", None)  # nothing is trained
    with one_sentence("personal"):
        federated.train(three, **QUICK | change)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_layer_cannot_be_personal(three, kind):
    with one_sentence("personal") as reason:
        federated.train(three, **QUICK | dict(hidden=(), personal=kind))
    assert "hidden" in str(reason.value)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("hospital", dict(hospital="south")),
        ("hospital", dict(hospital=1)),
        ("steps", dict(steps=-1)),
        ("steps", dict(steps=1.5)),
        ("lr", dict(lr="a")),
        ("lr", dict(lr=-1)),
        ("batch_size", dict(batch_size=0)),
        ("seed", dict(seed=-1)),
        ("federation", dict(federation=None)),
        ("federation", dict(federation=data.from_frame(table(seed=1), target="ill", hospital="ward"))),
    ],
)
def test_what_cannot_be_tuned_gets_a_sentence(three, name, change):
    run = federated.train(three, **QUICK)
    with one_sentence(name):
        run.personal(**dict(federation=three, hospital="north") | change)
    with one_sentence("run"):
        federated.by_hospital(run.params, three)

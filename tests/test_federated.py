"""Rounds, baselines, comparisons and transcripts."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, evaluation, federated, fleet
from fedlab_utils.privacy import HospitalDP

QUICK = dict(rounds=3, batch_size=16, lr=0.1, hidden=(8,))


def table(n=240, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    score = x[:, 0] - 0.5 * x[:, 1] + 0.5 * rng.normal(size=n)
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["ward"] = np.where(np.arange(n) < n // 2, "north", np.where(np.arange(n) < 5 * n // 6, "east", "west"))
    return frame.assign(ill=y if classes > 2 else y.astype(bool))


@pytest.fixture(scope="module")
def three():
    """Three hospitals of 120, 80 and 40 rows."""
    return data.from_frame(table(), target="ill", hospital="ward")


def last(history, hospital="all"):
    return history[(history["hospital"] == hospital) & (history["round"] == history["round"].max())]


def test_training_equals_rounds_written_out_by_hand(three):
    run = federated.train(three, **QUICK, optimiser="momentum", local_epochs=2, seeds=2, seed=5)
    for s in range(2):
        world = fleet.init(2, (three.n_features, 8, 1), seed=5)[[s]]
        rngs = [federated.hospital_rng(5, s, h) for h in range(3)]
        for _ in range(3):
            total, rows = 0, 0
            for hospital, rng in zip(three.hospitals, rngs, strict=True):
                n = len(hospital.y_train)
                local = fleet.fit(
                    world, hospital.X_train, hospital.y_train, [range(n)], epochs=2, batch_size=16, lr=0.1,
                    optimiser="momentum", seed=[rng],
                )  # fmt: skip
                total, rows = total + n * local.flat(), rows + n
            world = world.like(total / rows)
        torch.testing.assert_close(run[s].params.flat(), world.flat(), atol=1e-5, rtol=0)


def test_one_full_batch_step_a_round_is_pooled_gradient_descent(three):
    """Weighted by rows, the average of the hospitals' gradients is the gradient of all rows (FedSGD)."""
    size = len(three.pooled().y_train)
    run = federated.train(three, rounds=5, local_steps=1, batch_size=size, lr=0.5, hidden=())
    pool = three.pooled()
    start = fleet.init(1, (three.n_features, 1), seed=0)
    pooled = fleet.fit(start, pool.X_train, pool.y_train, [range(size)], steps=5, batch_size=size, lr=0.5)
    torch.testing.assert_close(run.params.flat(), pooled.flat(), atol=1e-6, rtol=0)
    uniform = federated.train(three, rounds=5, local_steps=1, batch_size=size, lr=0.5, hidden=(), strategy="uniform")
    assert (uniform.params.flat() - pooled.flat()).abs().max() > 1e-3


def test_local_update_does_what_a_hospital_does_in_train(three):
    run = federated.train(three, rounds=1, batch_size=16, hidden=(8,), seed=3, proximal=0.1)
    start = fleet.init(1, (three.n_features, 8, 1), seed=3)
    parts = [
        federated.local_update(
            fleet.to_arrays(start, 0), h, task=three.task, batch_size=16, proximal=0.1,
            rng=federated.hospital_rng(3, 0, k),
        )
        for k, h in enumerate(three.hospitals)
    ]  # fmt: skip
    rows = np.array([n for _, n in parts])
    assert rows.tolist() == [len(h.y_train) for h in three.hospitals]
    average = [
        np.tensordot(rows / rows.sum(), np.stack(layer), 1) for layer in zip(*[a for a, _ in parts], strict=True)
    ]
    torch.testing.assert_close(fleet.from_arrays([average]).flat().float(), run.params.flat(), atol=1e-6, rtol=0)


def test_history_is_what_scikit_learn_computes(three):
    run = federated.train(three, **QUICK, seeds=2)
    assert run.history.columns.tolist() == ["round", "hospital", "seed", "loss", "accuracy", "auc", "bytes"]
    assert len(run.history) == 4 * 4 * 2
    for s in range(2):
        everyone = []
        for h in three.hospitals:
            p = run[s].predict_proba(h.X_test)[:, 1].numpy()
            row = last(run.history, h.name).query("seed == @s").iloc[0]
            assert row["auc"] == pytest.approx(roc_auc_score(h.y_test, p), abs=1e-6)
            assert row["accuracy"] == pytest.approx(((p > 0.5) == (h.y_test[:, 0].numpy() > 0)).mean())
            everyone.append(p)
        row = last(run.history).query("seed == @s").iloc[0]
        truth = torch.cat([h.y_test for h in three.hospitals]).numpy()
        assert row["auc"] == pytest.approx(roc_auc_score(truth, np.concatenate(everyone)), abs=1e-6)
        whole = run.predict_proba(torch.cat([h.X_test for h in three.hospitals]))
        np.testing.assert_allclose(whole[s, :, 1], np.concatenate(everyone), atol=1e-6)


def test_learning_happens(three):
    history = federated.train(three, rounds=15, batch_size=16, hidden=(8,), seeds=2).history
    assert (last(history)["auc"] > history.query("round == 0 and hospital == 'all'")["auc"].max() + 0.1).all()


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks(task):
    frame = table(classes=3) if task == "multiclass" else table().assign(ill=lambda t: t["a"] * 2.5 + t["b"])
    federation = data.from_frame(frame, target="ill", hospital="ward")
    run = federated.train(federation, rounds=10, batch_size=16, lr=0.05, hidden=(8,))
    first, end = run.history.query("round == 0 and hospital == 'all'").iloc[0], last(run.history).iloc[0]
    assert end["loss"] < first["loss"]
    out = run.predict_proba(federation.pooled().X_test)
    assert out.shape == (1, len(federation.pooled().y_test), 3 if task == "multiclass" else 1)
    if task == "multiclass":
        truth = federation.pooled().y_test[:, 0].numpy()
        expected = roc_auc_score(truth, out[0].numpy(), multi_class="ovr", average="macro")
        assert end["auc"] == pytest.approx(expected, abs=1e-5)
    else:
        assert np.isnan(end["auc"]) and np.isnan(end["accuracy"])
    table_ = federated.baselines(federation, rounds=2, seeds=2)
    assert set(table_["baseline"]) == {"majority", "local-only", "pooled"}


def test_every_byte_is_counted_and_arrays_come_on_request_only(three):
    run = federated.train(three, **QUICK, seeds=2, participation=0.67)
    size = 4 * run.params.n_parameters
    assert size == 4 * (8 * 4 + 8 + 8 + 1)
    assert "values" not in run.transcript and (run.transcript["bytes"] == size).all()
    assert len(run.transcript) == 3 * 2 * 2 * 2  # rounds, seeds, two hospitals, both ways
    every = run.history.query("hospital == 'all' and round > 0")
    assert (every["bytes"] == 4 * size).all() and (run.history.query("round == 0")["bytes"] == 0).all()
    single = run.history.query("hospital != 'all' and round > 0").groupby(["round", "seed"])["bytes"].sum()
    assert (single == 4 * size).all()
    kept = federated.train(three, **QUICK, seeds=2, record=True)
    assert kept.transcript.query("seed == 1")["values"].isna().all()
    first = kept.transcript.query("seed == 0 and round == 1")
    up = first[first["receiver"] == "server"].set_index("sender")["values"]
    rows = np.array([len(h.y_train) for h in three.hospitals])
    start = first[first["sender"] == "server"]["values"].iloc[0]
    second = kept.transcript.query("seed == 0 and round == 2 and sender == 'server'")["values"].iloc[0]
    mean = sum(n * up[h.name] for n, h in zip(rows, three.hospitals, strict=True)) / rows.sum()
    np.testing.assert_allclose(start + mean, second, atol=1e-6)


class _InTheOpen:
    """An aggregator that averages as the server would, and says so."""

    def __init__(self):
        self.calls = 0

    def aggregate(self, updates, weights, *, alive, rng):
        self.calls += 1
        assert updates.shape[0] == len(weights) == len(alive) and alive.all()
        messages = [(k, "server", "share", 7, None) for k in range(len(weights))]
        return np.average(updates, axis=0, weights=weights), messages


def test_an_aggregator_takes_the_servers_place(three):
    aggregator = _InTheOpen()
    run = federated.train(three, **QUICK, seeds=2, aggregator=aggregator)
    plain = federated.train(three, **QUICK, seeds=2)
    torch.testing.assert_close(run.params.flat(), plain.params.flat(), atol=1e-6, rtol=0)
    assert aggregator.calls == 3 * 2
    up = run.transcript.query("receiver == 'server'")
    assert (up["what"] == "share").all() and (up["bytes"] == 7).all() and set(up["sender"]) == {"north", "east", "west"}


class _OneNumber:
    def aggregate(self, updates, weights, *, alive, rng):
        return 0.5, []


def test_an_aggregator_changes_neither_who_takes_part_nor_the_shape(three):
    class Random(_InTheOpen):
        def aggregate(self, updates, weights, *, alive, rng):
            rng.normal(size=3)
            return super().aggregate(updates, weights, alive=alive, rng=rng)

    work = QUICK | dict(rounds=6, participation=0.5)
    runs = [federated.train(three, aggregator=a, **work) for a in (None, Random())]
    first, second = (r.transcript.query("sender == 'server'")["receiver"].tolist() for r in runs)
    assert first == second
    with pytest.raises(ValueError, match="aggregator must return the mean as 49 numbers"):
        federated.train(three, aggregator=_OneNumber(), **QUICK)


def test_an_aggregator_may_take_a_short_way_for_all_seeds_but_the_first(three):
    class Short(_InTheOpen):
        def quick(self, updates, weights, *, alive, rng):
            mean, _ = self.aggregate(updates, weights, alive=alive, rng=rng)
            return mean, [(0, "server", "short", 7, None)]

    pace = {"one step": dict(local_steps=1), "two steps": dict(local_steps=2)}
    for run in federated.side_by_side(three, pace, seeds=3, aggregator=Short(), **QUICK).values():
        way = run.transcript.query("receiver == 'server'").groupby("seed")["what"].agg(set)
        assert way.tolist() == [{"share"}, {"short"}, {"short"}]


def test_who_delivers_the_sum_needs_no_global_model_from_the_server(three):
    class Delivers(_InTheOpen):
        delivers = True

    run = federated.train(three, **QUICK, aggregator=Delivers())
    assert run.transcript.query("what == 'global model'")["round"].unique().tolist() == [1]
    with pytest.raises(ValueError, match="participation must be 1"):
        federated.train(three, **QUICK, aggregator=Delivers(), participation=0.5)
    with pytest.raises(ValueError, match="before it is noised"):
        federated.train(three, **QUICK, aggregator=Delivers(), privacy=HospitalDP(noise_multiplier=1))


def test_a_diverged_model_has_no_score_and_a_sure_one_has_its_auc():
    y = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    sure = evaluation.metrics([torch.tensor([[18.0], [25.0], [30.0], [40.0]])], [y], [[4]], "binary")
    assert sure["auc"].tolist() == [[1.0, 1.0]]  # 32-bit probabilities of the last three are equal
    lost = evaluation.metrics([torch.full((4, 1), torch.nan)], [y], [[4]], "binary")
    assert all(np.isnan(lost[name]).all() for name in ("loss", "accuracy", "auc"))


def test_baselines_take_the_settings_of_train(three):
    common = dict(rounds=2, participation=0.5, strategy="uniform")
    plain = federated.baselines(three, rounds=2, seeds=1)
    pd.testing.assert_frame_equal(federated.baselines(three, seeds=1, **common), plain)
    for wrong, sentence in ((dict(roundz=2), "'roundz'"), (dict(local_epochs=1.5), "local_epochs must be a whole")):
        with pytest.raises(ValueError, match=sentence):
            federated.baselines(three, seeds=1, **wrong)


def test_the_ledger_lists_every_split_and_every_run(three):
    splits = data.replicates(table(), 3, target="ill", hospital="ward")
    one, many = federated.train(three, **QUICK).ledger, federated.train(splits, **QUICK).ledger
    assert len(many) - 3 == sum(len(s.ledger) for s in splits) and len(one) - 3 == len(three.ledger)
    assert (many.table()["detail"] == "3 runs").sum() == 3 and (many.table()["guarantee"] == "not private").all()


def test_a_callback_sees_each_round_and_can_stop(three):
    seen = []

    def two_rounds(run):
        seen.append(run.rounds)
        return run.rounds == 2

    run = federated.train(three, **QUICK, on_round=two_rounds)
    assert seen == [1, 2] and run.rounds == 2 and run.history["round"].max() == 2
    shorter = federated.train(three, **(QUICK | {"rounds": 2}))
    assert torch.equal(run.params.flat(), shorter.params.flat())


def test_participation_draws_hospitals_and_everyone_gets_a_turn(three):
    run = federated.train(three, rounds=30, local_steps=1, hidden=(), participation=0.34)
    took = run.transcript.query("receiver == 'server'")
    assert (took.groupby("round").size() == 1).all() and took["sender"].nunique() == 3


def test_seeds_side_by_side_equal_seeds_alone_and_repeat(three):
    run = federated.train(three, **QUICK, seeds=3, seed=4)
    again = federated.train(three, **QUICK, seeds=1, seed=4)
    torch.testing.assert_close(run.params.flat()[:1], again.params.flat(), atol=1e-6, rtol=0)
    pd.testing.assert_frame_equal(run.history, federated.train(three, **QUICK, seeds=3, seed=4).history)
    assert not torch.allclose(run.params.flat()[0], run.params.flat()[1])


def test_compare_equals_separate_trainings(three):
    settings_ = {
        "slow": {"lr": 0.01},
        "long": {"local_epochs": 3},
        "steps": {"local_steps": 2, "participation": 0.5},
        "prox": {"proximal": 0.5},
        "wide": {"hidden": (16,)},
        "uniform": {"strategy": "uniform"},
    }
    together = federated.compare(three, settings_, seeds=2, **QUICK)
    assert together["setting"].unique().tolist() == list(settings_)
    for name, setting in settings_.items():
        alone = federated.train(three, seeds=2, **(QUICK | setting)).history
        ours = together[together["setting"] == name].drop(columns="setting").reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, alone, atol=1e-5)


def test_replicates_have_a_split_each():
    splits = data.replicates(table(), 3, target="ill", hospital="ward")
    run = federated.train(splits, **QUICK)
    assert len(run) == 3
    for k, split in enumerate(splits):
        p = run[k].predict_proba(split.pooled().X_test)[:, 1]
        expected = roc_auc_score(split.pooled().y_test, p)
        assert last(run.history).query("seed == @k")["auc"].item() == pytest.approx(expected, abs=1e-6)


def test_baselines_bracket_the_federated_model():
    federation = data.load("hospital_network")
    work = dict(rounds=10, local_steps=20, batch_size=64, lr=0.1, hidden=(16,), seeds=3)
    table_ = federated.baselines(federation, **work)
    everyone = table_[table_["hospital"] == "all"].groupby("baseline")["auc"].mean()
    ours = last(federated.train(federation, **work).history)["auc"].mean()
    assert everyone["majority"] == pytest.approx(0.5, abs=0.15)  # shares differ between hospitals
    assert everyone["majority"] < ours < everyone["best possible"]
    assert everyone["pooled"] == pytest.approx(ours, abs=0.02) and everyone["local-only"] < everyone["pooled"]
    by_hospital = table_[(table_["baseline"] == "majority") & (table_["hospital"] != "all")]
    assert (by_hospital["auc"] == 0.5).all()
    for h in federation.hospitals:
        own = table_[(table_["baseline"] == "majority") & (table_["hospital"] == h.name)]["accuracy"]
        major = float(h.y_train.mean() > 0.5)
        assert own.iloc[0] == pytest.approx((h.y_test == major).float().mean().item())


@given(n=st.integers(2, 60), groups=st.integers(1, 4), levels=st.integers(1, 12), seed=st.integers(0, 10**6))
@settings(max_examples=100, deadline=None)
def test_rank_auc_equals_scikit_learn_with_ties_and_empty_groups(n, groups, levels, seed):
    rng = np.random.default_rng(seed)
    score, truth = rng.integers(0, levels, n) / 3, rng.random(n) < 0.4
    group = rng.integers(0, groups, n)
    ours = evaluation.rank_auc(score, truth, group, groups + 1)
    for g in range(groups + 1):
        mine = truth[group == g]
        if mine.any() and not mine.all():
            assert ours[g] == pytest.approx(roc_auc_score(mine, score[group == g]))
        else:
            assert np.isnan(ours[g])


def test_odd_hospitals_do_not_stop_a_training():
    """One hospital with three rows, one with a single row and no test patient, one without any ill patient."""
    frame = table(120)
    frame["ward"] = ["tiny"] * 3 + ["single"] + ["healthy"] * 30 + ["usual"] * 86
    frame.loc[frame["ward"] == "healthy", "ill"] = False
    federation = data.from_frame(frame, target="ill", hospital="ward")
    history = federated.train(federation, **QUICK).history
    assert np.isnan(last(history, "single")["accuracy"]).all() and np.isnan(last(history, "healthy")["auc"]).all()
    assert last(history)["auc"].notna().all() and np.isfinite(last(history, "tiny")["loss"]).all()
    federated.baselines(federation, rounds=2, seeds=1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(rounds=0), "rounds must be a whole number of at least 1; got 0"),
        (dict(local_epochs=1.5), "local_epochs must be a whole number"),
        (dict(local_steps=0), "local_steps must be a whole number"),
        (dict(batch_size=0), "batch_size must be"),
        (dict(participation=0.0), "participation must be a share above 0 and at most 1; got 0.0"),
        (dict(participation=1.2), "participation must be a share"),
        (dict(strategy="median"), "strategy must be one of fedavg, uniform; got 'median'"),
        (dict(hidden=(8, 0)), "hidden must be a sequence of widths"),
        (dict(hidden=64), "hidden must be a sequence of widths such as .64,.*got 64"),
        (dict(lr=[0.1, 0.2]), "lr must be one finite number"),
        (dict(lr="0.1"), "lr must be one finite number"),
        (dict(seed=-1), "seed must be a whole number of at least 0"),
        (dict(seeds=2.5), "seeds must be a whole number"),
        (dict(seeds=0), "seeds must be a whole number of at least 1"),
        (dict(optimiser="lbfgs"), "optimiser must be one of"),
        (dict(privacy=object()), "privacy must be None, privacy.RecordDP"),
    ],
)
def test_bad_arguments_get_a_sentence(three, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        federated.train(three, **(QUICK | change))


def test_more_bad_input_gets_a_sentence(three):
    with pytest.raises(ValueError, match="federation must be a Federation, or a list"):
        federated.train(table(), **QUICK)
    other = data.from_frame(table(), target="ill", n_hospitals=2)
    with pytest.raises(ValueError, match="replicates of one table"):
        federated.train([three, other], **QUICK)
    with pytest.raises(ValueError, match="at least one setting"):
        federated.compare(three, {})
    with pytest.raises(ValueError, match="'roundz'"):
        federated.compare(three, {"a": {"roundz": 3}})
    with pytest.raises(ValueError, match="X must be rows of 4 features"):
        federated.train(three, **QUICK).predict_proba(np.zeros((3, 4)))
    with pytest.raises(IndexError, match="there is no number 3"):
        federated.train(three, **QUICK)[3]

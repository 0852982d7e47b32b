"""What a training writes down: scores, bytes, ledger entries, round by round."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated
from fedlab_utils.data.hospitals import dealing
from fedlab_utils.federated import diary
from fedlab_utils.privacy import RecordDP
from tests.federated.helpers import QUICK, last, table


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


def test_the_ledger_lists_every_split_and_every_run(three):
    splits = data.replicates(table(), 3, target="ill", hospital="ward")
    one, many = federated.train(three, **QUICK).ledger, federated.train(splits, **QUICK).ledger
    assert len(many) - 3 == sum(len(s.ledger) for s in splits) and len(one) - 3 == len(three.ledger)
    assert (many.table()["detail"] == "3 runs").sum() == 3 and (many.table()["guarantee"] == "not private").all()


def test_tables_that_runs_share_are_looked_at_once(three, monkeypatch):
    """Coins on rows leave tables, tests and hospitals as they are: a hundred of them cost what one does."""
    some = [replace(h, X_train=h.X_train[::2], y_train=h.y_train[::2]) for h in three.hospitals]
    both, looked = [three, replace(three, hospitals=tuple(some))], []
    monkeypatch.setattr(diary, "dealing", lambda f: looked.append(f) or dealing(f))
    run = federated.train(both, **QUICK, privacy=RecordDP(noise_multiplier=1.0, secure=False))
    assert len(looked) == 1 and {e.dealing for e in run.ledger.private.entries} == {dealing(three)}
    assert len({id(X) for X, *_ in diary.test_rows(both)}) == 1
    assert {e.mechanism.units for e in run.ledger.private.entries} == {14, 27, 40, 53, 80}  # rows to train on


def test_a_callback_sees_each_round_and_can_stop(three):
    seen = []

    def two_rounds(run):
        seen.append(run.rounds)
        return run.rounds == 2

    run = federated.train(three, **QUICK, on_round=two_rounds)
    assert seen == [1, 2] and run.rounds == 2 and run.history["round"].max() == 2
    shorter = federated.train(three, **(QUICK | {"rounds": 2}))
    assert torch.equal(run.params.flat(), shorter.params.flat())

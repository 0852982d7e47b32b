"""Trainings: tasks, seeds, splits and odd hospitals."""

import dataclasses
import inspect

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated, fleet
from fedlab_utils.federated.setting import Setting
from tests.federated.helpers import QUICK, last, table


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


def test_seeds_side_by_side_equal_seeds_alone_and_repeat(three):
    run = federated.train(three, **QUICK, seeds=3, seed=4)
    again = federated.train(three, **QUICK, seeds=1, seed=4)
    torch.testing.assert_close(run.params.flat()[:1], again.params.flat(), atol=1e-6, rtol=0)
    pd.testing.assert_frame_equal(run.history, federated.train(three, **QUICK, seeds=3, seed=4).history)
    assert not torch.allclose(run.params.flat()[0], run.params.flat()[1])


def test_replicates_have_a_split_each():
    splits = data.replicates(table(), 3, target="ill", hospital="ward")
    run = federated.train(splits, **QUICK)
    assert len(run) == 3
    for k, split in enumerate(splits):
        p = run[k].predict_proba(split.pooled().X_test)[:, 1]
        expected = roc_auc_score(split.pooled().y_test, p)
        assert last(run.history).query("seed == @k")["auc"].item() == pytest.approx(expected, abs=1e-6)


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


def test_train_and_a_setting_have_the_same_arguments_and_defaults():
    setting = {field.name: field.default for field in dataclasses.fields(Setting)}
    given = {name: p.default for name, p in inspect.signature(federated.train).parameters.items()}
    for name in ("federation", "seeds", "on_round"):
        del given[name]
    assert given == setting


def test_a_run_says_in_one_line_what_it_is_and_how_it_ended(three):
    run = federated.train(three, **QUICK, seeds=2)
    assert run.auc.tolist() == run.final.query("hospital == 'all'")["auc"].tolist()
    assert repr(run) == f"FederatedRun(3 hospitals, 3 rounds, 2 seeds, AUC {run.auc.mean():.3f})"
    assert set(run.final["hospital"]) == {"all", "north", "east", "west"} and set(run.final["round"]) == {3}
    regression = data.from_frame(table().assign(ill=lambda t: t["a"] * 2.5), target="ill", hospital="ward")
    assert "loss" in repr(federated.train(regression, rounds=1))


def test_a_run_predicts_for_arrays_as_for_tensors(three):
    run, X = federated.train(three, **QUICK), three.pooled().X_test
    for rows in (X.numpy(), X.numpy().astype(float)):
        torch.testing.assert_close(run.predict_proba(rows), run.predict_proba(X))
        torch.testing.assert_close(run[0].predict_proba(rows), run[0].predict_proba(X))
    for wrong, told in ((X[0], "got shape"), (X.numpy().tolist(), "got a list")):
        with pytest.raises(ValueError, match=f"X must be rows of .* features.*{told}"):
            run.predict_proba(wrong)

"""Named data sets keep the contract, and so do replicates."""

import pytest
import torch

from fedlab_utils import data
from tests.data.helpers import federation, rows, same, table


@pytest.mark.parametrize(
    ("name", "target", "task", "n_hospitals", "n_rows"),
    [
        ("hospital_network", None, "binary", 5, None),
        ("hospital_network", "diagnosis", "multiclass", 5, None),
        ("breast_cancer", None, "binary", 5, 569),
        ("diabetes", None, "binary", 5, 442),
        ("diabetes", "progression", "regression", 5, 442),
    ],
)
def test_named_data_sets_keep_the_contract(name, target, task, n_hospitals, n_rows):
    some = data.load(name, target=target)
    assert some.task == task and len(some.hospitals) == n_hospitals
    assert some.n_features == len(some.feature_names) == len(set(some.feature_names))
    for h in some.hospitals:
        for X, y, frame in ((h.X_train, h.y_train, h.train), (h.X_test, h.y_test, h.test)):
            assert X.dtype == y.dtype == torch.float32
            assert X.shape == (len(frame), some.n_features) and y.shape == (len(frame), 1)
            assert torch.isfinite(X).all() and torch.isfinite(y).all()
            assert torch.equal(X, some.transform(frame))
            if task != "regression":
                assert [some.classes[int(k)] for k in y] == frame[some.target].tolist()
        assert 0.3 < len(h.test) / (len(h.test) + len(h.train)) < 0.37
    if n_rows:
        assert sum(len(h.train) + len(h.test) for h in some.hospitals) == n_rows
    assert same(some, data.load(name, target=target))
    assert not same(some, data.load(name, target=target, seed=1))


def test_names_and_raw_tables():
    assert data.names() == ["hospital_network", "breast_cancer", "diabetes", "heart_disease"]
    assert "national_id" in data.load_raw("hospital_network")
    assert len(data.load_raw("breast_cancer")) == 569 and len(data.load_raw("diabetes")) == 442
    spoilt = data.load_raw("hospital_network")
    spoilt["age"] = 0  # a copy: the next one is untouched
    assert "age" not in data.load_raw("hospital_network")


# ---------------------------------------------------------------- replicates


def test_replicates_differ_in_the_split_and_agree_in_the_features():
    frame = table().assign(smoker=lambda f: f["smoker"].where(f["row"] != 3, "pipe"))
    many = data.replicates(frame, 6, target="ill", hospital="ward", seed=5)
    assert len(many) == 6 and len({tuple(f.feature_names) for f in many}) == 1
    assert "smoker_pipe" in many[0].feature_names
    alone = [federation(frame, seed=5 + k) for k in range(6)]
    assert len({tuple(f.feature_names) for f in alone}) == 2  # without care they would not
    assert [rows(f) for f in many] == [rows(f) for f in alone]
    assert len({frozenset(rows(f)[0]) for f in many}) == 6
    assert [f.task for f in data.replicates("diabetes", 2, target="progression")] == ["regression"] * 2
    dealt = data.replicates(frame, 2, target="ill", n_hospitals=3, alpha=1.0)
    assert all(len(f.hospitals) == 3 for f in dealt)

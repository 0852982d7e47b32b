"""An autoencoder in rounds: it trains, the same from the same seed, and with few scans it serves new ones badly."""

import numpy as np
import torch

from fedlab_utils import anomalies, fleet
from tests.anomalies.helpers import network
from tests.refusals import one_sentence

NET = network()


def test_one_round_of_one_hospital_is_one_training():
    part = NET.train[4][:, :20]
    found = anomalies.train_autoencoder([part], hidden=(5,), rounds=1, local_epochs=2, seed=3)
    X, start = torch.tensor(part, dtype=torch.float32), fleet.init(1, (20, 5, 20), seed=3)
    rng = [fleet.generator(3, 0, 2, 0)]
    how = dict(epochs=2, batch_size=32, lr=1e-3, optimiser="adam", loss="regression", seed=rng)
    own = fleet.fit(start, X, X, [np.arange(15)], **how)
    torch.testing.assert_close(found.params.flat(), own.flat())
    assert "20-5-20" in repr(found)


def test_hospitals_count_by_their_scans():
    parts = [NET.train[3][:, :12], NET.train[4][:, :12]]
    how = dict(hidden=(4,), rounds=1, local_epochs=1, batch_size=64, lr=0.01)
    both = anomalies.train_autoencoder(parts, **how).params.flat()
    X = torch.tensor(np.vstack(parts), dtype=torch.float32)
    rows, rngs = [np.arange(25), np.arange(25, 40)], [fleet.generator(0, 0, 2, h) for h in range(2)]
    work = dict(epochs=1, batch_size=64, lr=0.01, optimiser="adam", loss="regression", seed=rngs)
    each = fleet.fit(fleet.init(1, (12, 4, 12), seed=0)[[0, 0]], X, X, rows, **work).flat()
    torch.testing.assert_close(both[0], (25 * each[0] + 15 * each[1]) / 40)


def test_at_260_scans_it_leaves_far_more_of_a_new_scan_than_components_and_sees_no_nodule():
    found = anomalies.train_autoencoder(NET.train, rounds=20)
    unseen = np.mean([(found.residual(h.normal.pixels) ** 2).mean() for h in NET.hospitals])
    model = anomalies.fit(NET.train)
    components = np.mean([(model.residual(h.normal.pixels) ** 2).mean() for h in NET.hospitals])
    assert unseen > 1.2 * found.error and unseen > 2 * components
    score = anomalies.SCORES["blob / own noise"]
    assert anomalies.judged(NET, lambda s: score(found, s.pixels)).query("size == 1")["auc"].mean() < 0.6


def test_a_wrong_argument_gets_one_sentence():
    for name, change in {"rounds": dict(rounds=0), "hidden": dict(hidden="64"), "lr": dict(lr=-1)}.items():
        with one_sentence(name):
            anomalies.train_autoencoder(NET.train[4:], **dict(rounds=1) | change)

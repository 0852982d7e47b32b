"""Patients that the tests of this folder share."""

import numpy as np
import pandas as pd
import torch


def patients(n, d=6, seed=0, flip=0.2):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)).astype(np.float32)
    y = (X[:, 0] + 0.5 * X[:, 1] > 0) ^ (rng.random(n) < flip)
    return torch.from_numpy(X), torch.from_numpy(y.astype(np.float32))[:, None]


TRAINING = dict(hidden=(16,), epochs=30, batch_size=16)


def cohort(n, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 12, n)
    frame = pd.DataFrame({"age": age, "pressure": 90 + 0.6 * age + rng.normal(0, 10, n), "bmi": rng.normal(27, 4, n)})
    frame["smoker"] = rng.choice(["no", "yes", "former"], n)
    return frame.assign(lipids=rng.normal(5, 1, n), event=rng.integers(0, 2, n))

"""A table that the tests of this folder share."""

import numpy as np
import pandas as pd

QUICK = dict(rounds=3, batch_size=16, lr=0.1, hidden=(8,))


def table(n=240, seed=0, classes=2):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    score = x[:, 0] - 0.5 * x[:, 1] + 0.5 * rng.normal(size=n)
    y = np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["ward"] = np.where(np.arange(n) < n // 2, "north", np.where(np.arange(n) < 5 * n // 6, "east", "west"))
    return frame.assign(ill=y if classes > 2 else y.astype(bool))


def last(history, hospital="all"):
    return history[(history["hospital"] == hospital) & (history["round"] == history["round"].max())]

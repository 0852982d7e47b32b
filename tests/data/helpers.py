"""Tables and federations that the tests of this folder share."""

import numpy as np
import pandas as pd
import torch
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from fedlab_utils import data


def table(n=240, seed=0):
    """A small mixed table with four hospitals, missing values and an id that tells rows apart."""
    rng = np.random.default_rng(seed)
    age = rng.normal(60, 9, n).round(1)
    frame = pd.DataFrame(
        {
            "row": np.arange(n),
            "age": np.where(rng.random(n) < 0.1, np.nan, age),
            "pressure": rng.normal(130, 20, n) + 1000,
            "smoker": rng.choice(["never", "former", "current"], n),
            "sex": rng.choice(["f", "m"], n),
            "treated": rng.random(n) < 0.4,
            "ward": rng.choice(["A", "B", "C", "D"], n, p=[0.4, 0.3, 0.2, 0.1]),
            "ill": (age + rng.normal(0, 9, n) > 60).astype(int),
        }
    )
    frame.loc[rng.random(n) < 0.1, "smoker"] = None
    return frame


def federation(frame=None, **more):
    return data.from_frame(table() if frame is None else frame, **({"target": "ill", "hospital": "ward"} | more))


def rows(some):
    return [set(f["row"].astype(int)) for h in some.hospitals for f in (h.train, h.test)]


def same(one, other):
    names = [h.name for h in one.hospitals] == [h.name for h in other.hospitals]
    tensors = ("X_train", "y_train", "X_test", "y_test")
    return names and all(
        torch.equal(getattr(a, t), getattr(b, t))
        for a, b in zip(one.hospitals, other.hospitals, strict=True)
        for t in tensors
    )


def expected(some, frame):
    """The same by scikit-learn on the pooled training rows."""
    train = some.pooled().train
    numeric, text = list(some.schema.numeric), list(some.schema.categorical)
    scaler = make_pipeline(SimpleImputer(), StandardScaler()).fit(train[numeric].astype(float))
    blocks = [scaler.transform(frame[numeric].astype(float))] if numeric else []
    for column in text:
        encoder = OneHotEncoder(drop="if_binary", sparse_output=False).fit(train[[column]].dropna())
        known = frame[column].isin(encoder.categories_[0])
        block = np.zeros((len(frame), len(encoder.get_feature_names_out())))
        if known.any():
            block[known] = encoder.transform(frame.loc[known, [column]])
        blocks.append(block)
    return np.hstack(blocks)

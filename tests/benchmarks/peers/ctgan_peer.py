"""CTGAN and TVAE of the `ctgan` library (Xu et al., arXiv:1907.00503) with its defaults, for comparison only.

The library refuses missing numbers and leaves rounding to its users, so it gets what ours has: an extra column
for each number that can be missing, and values brought back to the column's granularity and bounds (the finer one
where a column has two, since it does not say which number is round; that shows in the two-sample AUC alone).
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import torch
from ctgan import CTGAN, TVAE

from fedlab_utils.synth import encoding

KINDS = {"CTGAN": CTGAN, "TVAE": TVAE}
_GONE = " is missing"


def rows(kind: str, train: pd.DataFrame, n: int, *, epochs: int, seed: int = 0) -> pd.DataFrame:
    """Train for so many epochs and draw `n` rows."""
    encoder = encoding.learn(train)
    numbers = [c.name for c in encoder.columns if c.is_number]
    gappy = [name for name in numbers if train[name].isna().any()]
    filled = train.assign(**{name: train[name].astype(float).fillna(train[name].median()) for name in numbers})
    filled = filled.assign(**{name + _GONE: train[name].isna().map({True: "yes", False: "no"}) for name in gappy})
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        np.random.seed(seed)
        model = KINDS[kind](epochs=epochs, enable_gpu=False)
        model.fit(filled, [name for name in filled if name not in numbers])
        made = model.sample(n)
    for name in gappy:
        made[name] = made[name].where(made[name + _GONE] == "no")
    return encoder.decode(encoder.encode(made[list(train.columns)], seed=seed))

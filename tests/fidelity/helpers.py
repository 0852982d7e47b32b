"""Patients that the tests of this folder share."""

import numpy as np
import pandas as pd

from fedlab_utils import fidelity


def patients(n: int, seed: int) -> pd.DataFrame:
    """Mixed columns that depend on each other: whole numbers, one decimal, continuous, text, missing values."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n))
    age = np.round(60 + 12 * a).clip(18, 95).astype(int)
    pressure = np.round(120 + 0.8 * (age - 60) + 10 * b)
    smoker = np.where(a + 0.5 * c > 0.8, "current", np.where(b > 0, "former", "never"))
    risk = 1 / (1 + np.exp(-(0.06 * (age - 60) + 0.04 * (pressure - 120) + (smoker == "current") - 0.6)))
    return pd.DataFrame(
        {
            "age": age,
            "pressure": pressure,
            "cholesterol": np.where(rng.random(n) < 0.15, np.nan, np.round(5 + c, 1)),
            "bmi": 25 + 4 * b + rng.normal(size=n),
            "smoker": smoker,
            "drug": np.where(rng.random(n) < 0.1, None, np.where(a + b > 0, "yes", "no")),
            "event": (rng.random(n) < risk).astype(int),
        }
    )


REAL, SECOND, HOLDOUT = patients(1500, 0), patients(1500, 1), patients(1000, 2)


def run(synthetic, *, real=REAL, holdout=HOLDOUT, target="event", seed=0):
    return fidelity.report(real, synthetic, target=target, holdout=holdout, seed=seed).set_index("measure")

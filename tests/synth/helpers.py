"""Patients that the tests of this folder share."""

import numpy as np
import pandas as pd

QUICK = {"steps": 30, "hidden": (16,), "batch_size": 32}


def patients(n=300, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 91, n)
    event = (rng.random(n) < 0.1 + 0.5 * (age > 60)).astype(int)
    frame = pd.DataFrame(
        {
            "age": age,
            "bmi": np.round(rng.gamma(30, 0.9, n), 1),
            "dose": rng.choice(np.arange(0, 105, 2.5), n),
            "marker": rng.lognormal(0, 1, n),
            "visits": pd.array(rng.integers(0, 40, n), dtype="Int64"),
            "sex": rng.choice(["female", "male"], n),
            "stage": pd.Categorical(rng.choice(["I", "II", "III"], n), ["I", "II", "III", "IV"], ordered=True),
            "treated": rng.random(n) < 0.3,
            "smoker": rng.choice(np.array(["never", "former", None], dtype=object), n),
            "event": event,
        }
    )
    frame.loc[rng.random(n) < 0.2, "bmi"] = np.nan
    frame.loc[rng.random(n) < 0.1, "visits"] = pd.NA
    return frame

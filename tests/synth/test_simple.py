"""Simple synthetic tables: independent columns, copula, interpolation."""

import numpy as np
import pandas as pd

from fedlab_utils import synth
from tests.synth.helpers import patients


def test_what_connects_columns_is_learnt_or_forgotten():
    frame = patients(1500)

    def gap(made):
        return made.loc[made["age"] > 65, "event"].mean() - made.loc[made["age"] < 55, "event"].mean()

    for method, options in (("wgan_gp", {"steps": 500, "hidden": (32,)}), ("copula", {}), ("interpolate", {})):
        assert gap(synth.fit(frame, method=method, **options).sample(3000)) > 0.15, method
    assert abs(gap(synth.fit(frame, method="independent").sample(3000))) < 0.08


def test_interpolation_lies_between_two_patients():
    frame = pd.DataFrame({"x": [0.0] * 30 + [100.0] * 30, "kind": ["low"] * 30 + ["high"] * 30})
    frame["x"] += np.arange(60) / 10
    made = synth.fit(frame, method="interpolate").sample(200)
    assert ((made["x"] < 10) == (made["kind"] == "low")).all()

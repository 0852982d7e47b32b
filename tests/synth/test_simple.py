"""Simple synthetic tables: independent columns, copula, interpolation."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score

from fedlab_utils import synth
from fedlab_utils.synth import simple
from tests.synth.helpers import patients


def test_what_connects_columns_is_learnt_or_forgotten():
    frame = patients(1500)

    def gap(made):
        return made.loc[made["age"] > 65, "event"].mean() - made.loc[made["age"] < 55, "event"].mean()

    for method, options in (("wgan_gp", {"steps": 500, "hidden": (32,)}), ("copula", {}), ("interpolate", {})):
        assert gap(synth.fit(frame, method=method, **options).sample(3000)) > 0.15, method
    assert abs(gap(synth.fit(frame, method="independent").sample(3000))) < 0.08


def bells(n=20_000, r=0.6, seed=0):
    """Normal scores of three columns, each two of them with correlation r."""
    return np.random.default_rng(seed).multivariate_normal(np.zeros(3), np.full((3, 3), r) + (1 - r) * np.eye(3), n)


def test_a_copula_reproduces_its_own_family():
    z = bells()
    frame = pd.DataFrame({"x": z[:, 0], "stage": pd.cut(z[:, 1], [-9, 0, 1, 9], labels=["I", "II", "III"])})
    frame["stage"], frame["event"] = frame["stage"].astype(str), (z[:, 2] > 0.8).astype(int)
    made = synth.fit(frame, method="copula").sample(20_000)

    def together(table):
        by_stage = table.groupby("stage")
        auc = roc_auc_score(table["event"], table["x"])
        return [auc, *by_stage["event"].mean(), *by_stage["x"].mean() / 4]

    assert together(frame)[0] == pytest.approx(0.80, abs=0.02)
    assert together(made) == pytest.approx(together(frame), abs=0.02)


@pytest.mark.parametrize("r", [-0.9, -0.3, 0.3, 0.9])
def test_latent_correlations_are_found_behind_numbers_with_many_equal_values(r):
    z = bells(r=0)[:, :2]
    z[:, 1] = r * z[:, 0] + np.sqrt(1 - r**2) * z[:, 1]
    visits = np.maximum(np.floor(3 * z), 0)  # half of them 0
    frame = pd.DataFrame({"a": visits[:, 0], "b": visits[:, 1], "c": (z[:, 1] > 0.3).astype(int)})
    fitted = synth.fit(frame, method="copula")
    assert fitted.arrays["correlation"][0, 1:] == pytest.approx(r, abs=0.05)
    made = fitted.sample(20_000)
    for column in ("b", "c"):
        truth = spearmanr(frame["a"], frame[column]).statistic
        assert spearmanr(made["a"], made[column]).statistic == pytest.approx(truth, abs=0.02)


def test_missing_numbers_do_not_weaken_what_the_others_say():
    z = bells(10_000)
    gone = np.random.default_rng(1).random(z.shape) < 0.4
    gone[:, 1] = gone[:, 0]  # two of them are missing in the same rows
    fitted = synth.fit(pd.DataFrame(np.where(gone, np.nan, z), columns=list("abc")), method="copula")
    places = [[i for i, (_, _, choice) in enumerate(simple.parts(fitted.encoder)) if not choice]]
    assert fitted.arrays["correlation"][np.ix_(*places * 2)][~np.eye(3, dtype=bool)] == pytest.approx(0.6, abs=0.03)


def test_a_copula_keeps_what_rises_or_falls_and_nothing_else():
    x = np.random.default_rng(0).normal(size=4000)
    frame = pd.DataFrame({"x": x, "middling": np.where(np.abs(x) < 0.7, "yes", "no")})
    made = synth.fit(frame, method="copula").sample(4000)
    assert made.loc[made["middling"] == "yes", "x"].std() > 0.9 > 0.5 > x[np.abs(x) < 0.7].std()


def test_pairs_that_contradict_each_other_become_a_correlation_matrix():
    contradiction = np.array([[1, 0.9, -0.9], [0.9, 1, 0.9], [-0.9, 0.9, 1]])
    found = simple.latent(contradiction, np.ones((3, 1)))  # three numbers: the covariance is the correlation
    assert np.diag(found) == pytest.approx(1) and np.linalg.eigvalsh(found).min() > -1e-9
    assert (np.sign(found) == np.sign(contradiction)).all()


def test_a_column_that_says_nothing_goes_with_nothing():
    frame = pd.DataFrame({"x": np.arange(40.0), "same": "yes", "gone": np.where(np.arange(40) < 38, np.nan, 1.5)})
    fitted = synth.fit(frame, method="copula")
    assert np.isfinite(fitted.arrays["correlation"]).all()
    assert set(fitted.sample(50)["same"]) == {"yes"}


def test_interpolation_lies_between_two_patients():
    frame = pd.DataFrame({"x": [0.0] * 30 + [100.0] * 30, "kind": ["low"] * 30 + ["high"] * 30})
    frame["x"] += np.arange(60) / 10
    made = synth.fit(frame, method="interpolate").sample(200)
    assert ((made["x"] < 10) == (made["kind"] == "low")).all()

"""Rules that always hold: found where they are, not found where they are not."""

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import data, fidelity, synth
from fedlab_utils.fidelity import consistency, reading
from tests.fidelity.helpers import HOLDOUT, REAL, SECOND, run


def ward(n=1200, seed=0):
    """Rules of every kind: costs only with visits, diagnoses that go with a flag, a low value below a high one."""
    rng = np.random.default_rng(seed)
    visits = rng.poisson(1.2, n)
    diagnosis = rng.choice(["none", "cancer", "heart"], n, p=[0.6, 0.2, 0.2])
    low = rng.normal(75, 9, n).round()
    return pd.DataFrame(
        {
            "visits": visits,
            "cost": np.where(visits > 0, rng.lognormal(5, 1, n).round(2), 0.0),
            "diagnosis": diagnosis,
            "cancer": np.where(diagnosis == "cancer", "yes", "no"),
            "sex": rng.choice(["female", "male"], n),
            "diastolic": low,
            "systolic": low + rng.gamma(5, 5, n).round(),
            "dose": np.where(diagnosis == "none", np.nan, rng.normal(5, 1, n)),
            "event": rng.integers(0, 2, n),
        }
    )


WARD, NEXT, UNSEEN = ward(), ward(seed=1), ward(800, seed=2)
FOUND = {
    "if visits = 0, then cost = 0",
    "if cost = 0, then visits = 0",
    "if diagnosis = cancer, then cancer = yes",
    "if cancer = yes, then diagnosis = cancer",
    "if diagnosis = none, then dose is missing",
    "if dose is missing, then diagnosis = none",
    "if dose is missing, then cancer = no",  # follows from the others
    "diastolic is at most systolic",
}


def test_the_rules_of_a_table_are_found_and_none_beside_them():
    found = fidelity.rules(WARD, NEXT, holdout=UNSEEN)
    assert list(found) == ["rule", "expected", "synthetic", "holdout"]
    assert set(found["rule"]) == FOUND
    assert (found[["synthetic", "holdout"]] == 0).all(axis=None) and (found["expected"] > 10).all()


def broken_row(**change):
    return NEXT.assign(**{c: np.where(np.arange(len(NEXT)) < 120, v, NEXT[c]) for c, v in change.items()})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"visits": 0, "cost": 80.0}, "if visits = 0, then cost = 0"),
        ({"diagnosis": "cancer", "cancer": "no"}, "if diagnosis = cancer, then cancer = yes"),
        ({"diastolic": 120, "systolic": 80}, "diastolic is at most systolic"),
        ({"diagnosis": "none", "dose": 5.0}, "if diagnosis = none, then dose is missing"),
    ],
)
def test_rows_that_break_a_rule_are_counted(change, rule):
    found = fidelity.rules(WARD, broken_row(**change), holdout=UNSEEN).set_index("rule")
    assert found["synthetic"][rule] == pytest.approx(0.1, abs=1e-9)
    assert found.index[0] == rule or found["synthetic"].iloc[0] == found["synthetic"][rule]


def test_the_report_counts_rows_that_break_any_of_them():
    columns = ["visits", "cost", "event"]
    real, spoilt, unseen = (t[columns][:400] for t in (WARD, broken_row(visits=0, cost=80.0), UNSEEN))
    row = run(spoilt, real=real, holdout=unseen).loc["broken rules"]
    assert (
        row["value"] == 0.3 and row["reference"] == 0 and row["better"] == "lower" and "one of 2 rules" in row["what"]
    )


def test_a_table_drawn_column_by_column_breaks_them():
    made = synth.fit(WARD, method="independent").sample(1000)
    assert fidelity.rules(WARD, made, holdout=UNSEEN)["synthetic"].min() > 0.01


@pytest.mark.parametrize("seed", range(5))
def test_columns_that_have_nothing_to_do_with_each_other_have_no_rules(seed):
    rng, n = np.random.default_rng(seed), 600
    letters = {f"c{k}": rng.choice(list("abcdef"), n, p=[0.4, 0.3, 0.2, 0.05, 0.03, 0.02]) for k in range(6)}
    gaps = {f"x{k}": np.where(rng.random(n) < 0.1, np.nan, rng.normal(k, 1, n)) for k in range(4)}
    counts = {f"n{k}": rng.poisson(1, n) for k in range(4)}
    frame = pd.DataFrame(letters | gaps | counts)
    assert fidelity.rules(frame, frame, holdout=frame).empty


@pytest.mark.parametrize("name", ["hospital_network", "diabetes", "breast_cancer"])
def test_rules_of_the_courses_tables_hold_for_patients_that_were_not_looked_at(name):
    pool = data.load(name).pooled()
    kinds, real, unseen = reading.several(
        {"real": pool.train, "holdout": pool.test}, genuine=["real", "holdout"], target=None, fewest=20
    )
    found = consistency.find(kinds, real)
    assert consistency.share_broken(found, unseen) < 0.01
    rules = {str(rule) for rule in found}
    assert not rules if name == "hospital_network" else rules
    assert name != "breast_cancer" or {f"mean_{c} is at most worst_{c}" for c in ("area", "radius")} <= rules


def test_ordinary_patients_have_no_rules():
    assert fidelity.rules(REAL, SECOND, holdout=HOLDOUT).empty


def test_a_rule_found_among_5000_rows_holds_in_all():
    large = pd.concat([ward(9000, seed=3), ward(1, seed=4).assign(visits=0, cost=3.0)], ignore_index=True)
    assert set(fidelity.rules(large, NEXT, holdout=UNSEEN)["rule"]) == FOUND - {"if visits = 0, then cost = 0"}

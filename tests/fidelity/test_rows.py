"""Rows as points: the step of a column, and copies."""

import pandas as pd
import pytest

from fedlab_utils.fidelity import rows
from tests.fidelity.helpers import HOLDOUT, REAL, SECOND, run


@pytest.mark.parametrize(
    ("values", "step"), [([18, 61, 77], 1), ([120, 150, 180], 10), ([5.1, 4.9, 6.3], 0.1), ([0, 1, 1], 1)]
)
def test_the_step_of_a_column_is_found(values, step):
    assert rows.step_of(pd.Series(values, dtype=float)) == pytest.approx(step)


def test_coincidences_in_a_coarse_table_are_not_taken_for_training_rows():
    coarse = [t[["smoker", "event"]] for t in (REAL, SECOND, HOLDOUT)]
    report = run(coarse[1], real=coarse[0], holdout=coarse[2])
    assert report["value"]["copied rows"] == report["reference"]["copied rows"] == 1
    few = pd.concat([HOLDOUT.head(970), REAL.head(30)])  # 3% is let through
    assert run(SECOND, holdout=few)["reference"]["copied rows"] == pytest.approx(0.03)

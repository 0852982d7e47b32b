"""How columns go together."""

import numpy as np
import pandas as pd
import pytest

from fedlab_utils.fidelity import association


def test_association_is_right_where_the_answer_is_known():
    a = np.repeat([0.0, 1.0], 500)
    assert association.cramers_v(a, 1 - a) == pytest.approx(1, abs=0.01)
    assert association.cramers_v(a, np.tile([0.0, 1.0, 2.0, 3.0], 250)) == 0
    # Table (3, 2 / 2, 3): phi squared is .04, less than the 1 / 9 that chance gives to ten rows.
    few = np.repeat([0.0, 0, 1, 1], [3, 2, 2, 3]), np.repeat([0.0, 1, 0, 1], [3, 2, 2, 3])
    assert association.cramers_v(*few) == 0
    assert association.correlation_ratio(a, a * 3 + 2) == pytest.approx(1)
    assert association.correlation_ratio(a, np.tile([1.0, 2.0], 500)) == pytest.approx(0)
    # One way: eta squared is the between share of the sum of squares. Groups (1, 3), (5, 7): 16 of 20.
    ratio = association.correlation_ratio(np.array([0.0, 0, 1, 1]), np.array([1.0, 3, 5, 7]))
    assert ratio**2 == pytest.approx(16 / 20)


def test_association_of_numbers_is_spearmans_in_the_order_of_columns():
    x = np.arange(1.0, 41)
    frame = pd.DataFrame({"x": x, "y": -(x**3), "z": x % 2})
    matrix = association.association(frame, ("x", "y"), ("z",))
    assert matrix[0, 1] == matrix[1, 0] == pytest.approx(-1)
    assert matrix[0, 2] == matrix[2, 0] == matrix[1, 2] < 0.1

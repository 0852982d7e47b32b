"""Fixtures that the tests of this folder share."""

import pytest

from fedlab_utils import attacks
from tests.attacks.helpers import TRAINING, patients


@pytest.fixture(scope="module")
def shadows():
    return attacks.shadows(*patients(60), n_models=40, seed=3, **TRAINING)

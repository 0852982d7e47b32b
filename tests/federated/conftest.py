"""Fixtures that the tests of this folder share."""

import pytest

from fedlab_utils import data
from tests.federated.helpers import table


@pytest.fixture(scope="module")
def three():
    """Three hospitals of 120, 80 and 40 rows."""
    return data.from_frame(table(), target="ill", hospital="ward")

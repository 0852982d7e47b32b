"""Fixtures that the tests of this folder share."""

import pytest

from fedlab_utils import widgets
from fedlab_utils.widgets import live


@pytest.fixture(autouse=True)
def as_for_a_learner(monkeypatch):
    """Not strict, and the list of labs as it was before the test."""
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.delenv("FEDLAB_STRICT", raising=False)
    labs = []
    for place in (widgets, live):
        monkeypatch.setattr(place, "LABS", labs)

"""Progress is shown where a person looks, and nowhere else."""

import io
import sys

import pytest

from fedlab_utils import _progress


class Terminal(io.StringIO):
    def __init__(self, person):
        super().__init__()
        self.person = person

    def isatty(self):
        return self.person


@pytest.mark.parametrize(
    ("notebook", "person", "quiet", "where"),
    [(True, False, False, "out"), (False, True, False, "err"), (False, False, False, None), (True, True, True, None)],
)
def test_progress_goes_where_somebody_looks(monkeypatch, notebook, person, quiet, where):
    monkeypatch.setattr(_progress, "tqdm", lambda steps, label, total, **asked: asked)
    places = {"out": Terminal(person), "err": Terminal(person)}
    monkeypatch.setattr(sys, "stdout", places["out"])
    monkeypatch.setattr(sys, "stderr", places["err"])
    if notebook:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    else:
        monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    asked = _progress.progress(range(3), "Rounds", 3, quiet=quiet)
    assert asked["disable"] == (where is None)
    assert where is None or asked["file"] is places[where]

"""Progress is shown where a person looks, and nowhere else."""

import io
import sys

import pandas as pd
import pytest

from fedlab_utils import _progress, attacks, data, federated, synth


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


def test_who_listens_is_told_instead_and_can_stop_the_work():
    heard = []

    def hear(label, share):
        heard.append((label, share))
        if share >= 0.5:
            raise KeyError("enough")

    with pytest.raises(KeyError), _progress.listening(hear):
        for _ in _progress.progress(range(4), "Rounds", 4):
            pass
    assert heard == [("Rounds", 0.0), ("Rounds", 0.25), ("Rounds", 0.5)]
    assert not list(_progress.progress([], "Rounds", 1, quiet=True))  # and nobody listens any more
    assert len(heard) == 3


def test_a_listener_hears_of_rounds_steps_and_relaxed_rows_wherever_they_run():
    frame = pd.DataFrame({"a": range(40), "b": [0, 1] * 20, "y": [0, 0, 1, 1] * 10})
    fed = data.from_frame(frame, target="y", n_hospitals=2, bounds={"a": (0, 40), "b": (0, 1)})
    heard = []
    with _progress.listening(lambda label, _share: heard.append(label)):
        federated.train(fed, rounds=3, hidden=(), on_round=lambda run: None)
        synth.fit(frame, method="gan", steps=5, on_step=lambda made: None)
        synth.fit_federated(fed, method="pairs")
        attacks.federated_shadows(fed, n_models=4, rounds=2, hidden=(), seed=0)
    assert heard[:8] == ["Rounds"] * 3 + ["Steps"] * 5 and heard[-2:] == ["Rounds"] * 2 and len(heard) > 100

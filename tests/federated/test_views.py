"""Who sees what, read off transcripts."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from fedlab_utils import plots
from fedlab_utils.federated import views

HOSPITALS = ("north", "east", "west")


def transcript(*, up, after=(), model_from_server=True, rounds=2):
    rows = []
    for turn in range(1, rounds + 1):
        for h in HOSPITALS:
            if model_from_server or turn == 1:
                rows.append((turn, 0, "server", h, "global model", 100))
            rows.append((turn, 0, h, "server", up, 100))
            rows += [(turn, 0, "server", h, what, 50) for what in after]
    return pd.DataFrame(rows, columns=["round", "seed", "sender", "receiver", "what", "bytes"])


SETTINGS = {
    "plain": transcript(up="update"),
    "masked": transcript(up="masked update", after=("survivors",)),
    "encrypted": transcript(up="encrypted update", after=("encrypted sum",), model_from_server=False),
}


def test_each_protection_takes_sight_from_the_server():
    table = views.who_sees_what(SETTINGS).pivot(index="viewer", columns="setting", values="sees")
    every, single, noise = "model of every round", "single updates", "noise only"
    assert table.loc["server"].to_dict() == {"plain": single, "masked": every, "encrypted": noise}
    assert table.loc["eavesdropper"].to_dict() == {"plain": single, "masked": every, "encrypted": noise}
    assert (table.loc["hospital"] == every).all() and (table.loc["model user"] == "finished model").all()


def test_bytes_are_those_that_a_viewer_holds_in_a_round():
    held = views.who_sees_what(SETTINGS).set_index(["setting", "viewer"])["bytes"]
    assert held["plain", "server"] == held["plain", "eavesdropper"] == 600
    assert held["plain", "hospital"] == 200 and held["masked", "hospital"] == 250
    assert held["encrypted", "server"] == (600 + 3 * 50 + 300 + 3 * 50) / 2
    assert held["plain", "model user"] == 0


def test_a_hospital_that_is_sent_another_ones_update_sees_it():
    leak = pd.DataFrame([(1, 0, "server", "north", "update", 100)], columns=SETTINGS["plain"].columns)
    table = views.who_sees_what({"leaky": pd.concat([SETTINGS["masked"], leak])}).set_index("viewer")
    assert table.loc["hospital", "sees"] == "single updates"
    with pytest.raises(ValueError, match="that of 'none' is empty"):
        views.who_sees_what({"none": leak[:0]})


def test_the_picture_has_a_cell_for_each_viewer_and_setting():
    made = plots.who_sees_what(views.who_sees_what(SETTINGS))
    assert isinstance(made, Figure) and len(made.axes[0].patches) == 12


def test_what_nobody_declared_counts_as_seen():
    table = views.who_sees_what({"own": transcript(up="my update")}).set_index("viewer")
    assert table.loc["server", "sees"] == table.loc["eavesdropper", "sees"] == "single updates"


def test_a_server_that_sends_the_model_knows_it():
    silent = SETTINGS["plain"].query("what == 'global model'")
    table = views.who_sees_what({"silent": silent}).set_index("viewer")
    assert table.loc["server", "sees"] == table.loc["eavesdropper", "sees"] == "model of every round"
    once = views.who_sees_what({"once": silent[silent["round"] == 1]}).set_index("viewer")
    assert once.loc["server", "sees"] == "noise only"  # the untrained model is no secret


@pytest.mark.parametrize(("here", "hospital", "server"), [
    (2, "single updates", "model of every round"), (1, "single updates", "single updates")
])  # fmt: skip
def test_of_two_hospitals_each_can_take_its_own_update_from_the_sum(here, hospital, server):
    masked = SETTINGS["masked"]
    few = masked[
        masked["sender"].isin(("server", *HOSPITALS[:here])) & masked["receiver"].isin(("server", *HOSPITALS[:here]))
    ]
    for log in (few, pd.concat([few[few["round"] == 1], masked[masked["round"] == 2]])):  # in one round is enough
        table = views.who_sees_what({"few": log}).set_index("viewer")
        assert table.loc["hospital", "sees"] == hospital and table.loc["server", "sees"] == server

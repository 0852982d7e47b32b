"""Lesson 13: its exercises, what it builds by hand, and what it says about machines, messages and index dates."""

import math
import struct
import subprocess
import sys
from threading import Thread

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from fedlab_utils import data, federated, network, plots
from fedlab_utils.checks import lesson_13
from fedlab_utils.data.fhir import codes
from fedlab_utils.network import dial, messages
from fedlab_utils.secagg.messages import default_threshold
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises

HEAD = struct.Struct(">4sBB32sIHHI")
UCUM = "http://unitsofmeasure.org"
FACTORS = {"mg/dL": 1.0, "mmol/L": 38.67}


def parts(head):
    magic, _, _, plan, number, _, _, length = HEAD.unpack(head)
    return magic, plan, number, length


def right(head, agreed, allowed):
    magic, plan, _, length = parts(head)
    return allowed if magic == b"FLNW" and plan == agreed and length == allowed else 0


def mg(q):
    if q.get("system") != UCUM or q.get("code") not in FACTORS or "comparator" in q or "value" not in q:
        return np.nan
    return q["value"] * FACTORS[q["code"]]


def without(check, factors=FACTORS):
    """The right answer to `in_mg`, less one of its four refusals."""

    def made(q):
        wrong = {
            "system": q.get("system") != UCUM,
            "code": q.get("code") not in factors,
            "comparator": "comparator" in q,
            "value": "value" not in q,
        }
        wrong.pop(check)
        return np.nan if any(wrong.values()) else q.get("value", 0) * factors.get(q.get("code"), 1.0)

    return made


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "to_read": {
        "90,000": lambda h, a, n: parts(h)[3] if parts(h)[0] == b"FLNW" and parts(h)[1] == a else 0,
        "add the head": lambda h, a, n: 50 + n if right(h, a, n) else 0,
        "lowest byte first": lambda h, a, n: struct.unpack("<I", h[46:50])[0],
        "That is the round": lambda h, a, n: parts(h)[2],
        "everything is right": lambda h, a, n: 0,
        "sign for that": lambda h, a, n: right(h, a, n) or -1,
        "of 400": lambda h, a, n: right(h, a, 900),
        "too *short*": lambda h, a, n: parts(h)[3] if right(h, a, parts(h)[3]) and parts(h)[3] <= n else 0,
        "belongs to another plan": lambda h, a, n: n if parts(h)[0] == b"FLNW" and parts(h)[3] == n else 0,
        "last byte": lambda h, a, n: n if parts(h)[1][:8] == a[:8] and right(h, parts(h)[1], n) else 0,
        "no message of this network": lambda h, a, n: n if parts(h)[1] == a and parts(h)[3] == n else 0,
    },
    "in_mg": {
        "needs no guess": lambda q: np.nan,
        "is a known unit": lambda q: mg(q) if q.get("code") == "mg/dL" else np.nan,
        "went through": lambda q: q.get("value", np.nan),
        "You divided": lambda q: q["value"] / (38.67 if q.get("code") == "mmol/L" else 1),
        "factor of glucose": lambda q: q["value"] * (18.02 if q.get("code") == "mmol/L" else 1),
        "for eyes": lambda q: q.get("value", np.nan) * FACTORS.get(q.get("unit"), 1.0),
        "the ward's own": without("system"),
        "g/dL": without("code"),
        "only a limit": without("comparator"),
        "a limit too": lambda q: mg({k: v for k, v in q.items() if k != "comparator" or v == "<"}),
        "say so with a number": lambda q: np.nan_to_num(mg(q)),
        "There is no value": without("value"),
        "for its words": lambda q: mg(q) if q.get("unit") in FACTORS else np.nan,
        "one number": lambda q: [1, 2],
    },
    "knows_the_future": {
        "plant one": set(),
        "AUC cannot tell": {"B"},
        "B's AUC is too good": {"D"},
        "A's rows use nothing": {"A", "B", "D"},
        "C asks about fewer": {"B", "C", "D"},
        "none of the letters": {"B", "F"},
    },
}
RIGHT = {
    "to_read": [
        right,
        lambda h, a, n: torch.tensor(right(h, a, n)),
        lambda h, a, n: n * (h[:4] == b"FLNW") * (h[6:38] == a) * (int.from_bytes(h[46:], "big") == n),
        lambda h, a, n: [right(h, a, n)],
        lambda h, a, n: np.where(right(h, a, n) == n, n, False),
    ],
    "in_mg": [
        mg,
        lambda q: math.nan if math.isnan(mg(q)) else round(mg(q), 1),
        lambda q: pd.Series([mg(q)]),
        lambda q: torch.tensor(mg(q)),
    ],
    "knows_the_future": [{"B", "D"}, ["d", "b"], "B, D"],
}


# ---------------------------------------------------------------- what the lesson builds by hand

SOURCE = lessons.SOURCES / "13_several_machines.py"


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions and tables, without its processes and trainings."""
    wanted = "HEAD agreement masked federation hospitals parts TwoFaced folder kilobytes place "
    wanted += "base diagnosis row_by_row teams tables known truth chosen_day records"
    return cells.definitions(SOURCE, *wanted.split())


def test_the_head_of_a_message_is_the_packages(lesson):
    message = messages.Message("train", 4, network.agreement.COORDINATOR, 2, bytes(4 * lesson["agreement"].d))
    packed = messages.pack(lesson["agreement"], message)
    head, solution = packed[: HEAD.size], cells.solutions(SOURCE)["to_read"]
    assert lesson["HEAD"].format == HEAD.format == lesson_13._HEAD.format and HEAD.size == messages.HEADER_BYTES
    assert solution(head, lesson["agreement"].hash, 420) == messages.opened(lesson["agreement"], head).length == 420
    assert solution(head, lesson["masked"].hash, 420) == 0


def test_units_are_converted_as_in_the_package():
    solution = cells.solutions(SOURCE)["in_mg"]
    for unit, factor in FACTORS.items():
        assert codes.FACTORS["total_cholesterol"][unit] == factor
        assert solution({"value": 2.0, "code": unit, "system": codes.UCUM}) == 2 * factor


def test_two_faces_are_seen_under_masks_alone(lesson):
    came = {}
    for title in ("agreement", "masked"):
        plan = lesson[title]
        here = lesson["parts"](plan, lesson["folder"] / title)
        liar, honest = lesson["TwoFaced"](here), network.InProcess(here)
        liar.plan = plan
        came[title] = network.Coordinator(plan, liar).step(1).came
        for part in here.values():
            part.close()
        again = lesson["parts"](plan, lesson["folder"] / f"{title} honest")
        honest.parts = again
        assert network.Coordinator(plan, honest).step(1).came == tuple(lesson["hospitals"])
        for part in again.values():
            part.close()
    assert came == {"agreement": tuple(lesson["hospitals"]), "masked": ()}


def test_the_notebook_is_a_coordinator_whom_hospitals_dial(lesson):
    plan, names = lesson["agreement"], lesson["hospitals"]
    with network.here.on_this_machine(plan, lesson["federation"], start=False) as machines:
        here = lesson["parts"](plan, machines.folder / "books")
        with machines.listen() as line:
            url = f"https://127.0.0.1:{machines.port}"
            dialling = [(here[n], plan, n, url, machines.folder / n) for n in names]
            threads = [Thread(target=dial.serve, args=one, daemon=True) for one in dialling]
            for thread in threads:
                thread.start()
            assert line.wait_for(names, 60) == []
            assert network.Coordinator(plan, line).step(1).came == tuple(names)
        for thread in threads:  # the block has told them that all is over
            thread.join(60)
            assert not thread.is_alive()
        for part in here.values():
            part.close()


def test_a_hospital_that_does_not_come_in_time_is_named_with_what_it_said(lesson):
    def stumbles(arguments, folder, output):
        output.write_text("no Python here")
        return subprocess.Popen([sys.executable, "-c", ""])

    about = dict(start=False, launch=stumbles)
    with network.on_this_machine(lesson["agreement"], lesson["federation"], **about) as machines:
        with pytest.raises(TimeoutError, match="^Northgate has not come within 0.1 s; it said: 'no Python here'"):
            with machines.listen(everybody=0.1):
                pytest.fail("nobody came")


# ---------------------------------------------------------------- what the lesson says


def test_of_ten_hospitals_seven_do_and_of_three_all():
    assert default_threshold(10) == 7 and default_threshold(3) == 3


def test_masks_cost_more_with_every_hospital_and_open_sums_do_not(lesson):
    sizes = {n: [lesson["kilobytes"](lesson[plan], n) for plan in ("agreement", "masked")] for n in (3, 100, 1000)}
    assert sizes[3][0] == sizes[1000][0] < 1
    assert 300 < sizes[1000][1] < 700 and sizes[1000][1] > 8 * sizes[100][1]


def test_two_tables_of_four_know_the_future_and_auc_shows_one(lesson):
    auc, late, after = {}, {}, {}
    for team, (day, by, years) in lesson["teams"].items():
        wide, newest = lesson["row_by_row"](day, by)
        outcome = lesson["tables"](years=years)["cvd_event"]
        ill = outcome == 1
        late[team] = (newest[outcome.notna()] >= day[outcome.notna()]).sum()
        after[team] = (day[ill] > lesson["diagnosis"][ill]).sum()
        row = lesson["base"][["age", "sex", "hospital"]].join(wide).assign(cvd_event=outcome)
        row["systolic_bp"], row["total_cholesterol"] = (
            row[c].astype(float) for c in ("systolic_bp", "total_cholesterol")
        )
        row["bp_treated"] = np.where(row["bp_treated"].notna(), "yes", "no")
        row = row[["age", "hospital", "systolic_bp", "total_cholesterol", "bp_treated", "cvd_event"]]
        fed = data.from_frame(row.reset_index(drop=True), target="cvd_event", hospital="hospital")
        auc[team] = federated.train(fed, rounds=15, local_steps=20, lr=0.2, hidden=(8,), seeds=3).auc.mean()
    assert late["A"] == late["B"] == late["C"] == 0 and late["D"] > 20
    assert after["A"] == after["C"] == after["D"] == 0 and after["B"] > 100
    assert auc["B"] > 0.85 and max(auc[team] for team in "ACD") < 0.78


def test_by_hand_team_a_has_the_values_of_the_package(lesson):
    wide, _ = lesson["row_by_row"](*lesson["teams"]["A"][:2])
    for column in ("systolic_bp", "hdl", "bmi"):
        both = pd.concat([lesson["base"][column], wide[column].astype(float)], axis=1).dropna()
        assert (
            len(both) > 900 and (both.iloc[:, 0] == both.iloc[:, 1].clip(*data.simulate.BOUNDS[column])).mean() > 0.99
        )


def test_the_lab_says_where_nothing_can_be_trained(lesson):
    told = []
    lesson["chosen_day"](lambda picture, sentence, **_: told.append(sentence), 2016, 10, 5)
    assert "0 not ill" in told[-1] and "nothing can be trained" in told[-1]


# ---------------------------------------------------------------- figures


def test_figures_draw():
    days = pd.to_datetime(["2011-01-01", "2011-06-01"])
    history = pd.DataFrame([
        dict(round=r, hospital=h, state=s)
        for r, s in ((1, "came"), (2, "silent"), (3, "refused")) for h in ("A", "B")
    ])  # fmt: skip
    entries = pd.DataFrame({"what": ["bmi", "hdl"], "when": days, "recorded": days + pd.Timedelta(days=90)})
    counts = {"A": {"ill": 3, "not ill": 9, "unknown": 1}, "B": {"ill": 0, "not ill": 0, "unknown": 0}}
    made = [
        plots.who_came(history),
        plots.byte_by_byte([("magic", 4, "FLNW"), ("round", 4, "3")]),
        plots.two_dates(entries, "2011-07-01"),
        plots.index_day(counts, None),
        plots.index_day(counts, np.array([0.3, 0.7])),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)

"""The control room without a browser: controls and settings, what is shown, what counts, and what can be stopped."""

import re
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import system
from fedlab_utils.system import PRESETS, Checks, Data, Promise, Settings, Sum, Synthetic, Training, board, flow
from fedlab_utils.system.control_room import ControlRoom
from fedlab_utils.system.desk import OWN, PATHS, Desk
from fedlab_utils.system.settings import PARTS
from fedlab_utils.widgets import NotAtHand
from tests.refusals import one_sentence

SMALL = Settings(
    name="small", data=Data(table="breast_cancer"), training=Training(rounds=3, hidden=()), checks=Checks(attack=False)
)

REFUSED = "encrypted", "hospital"
ALL = {"hospitals", "synthetic patients", "training", "baselines", "attack"}
ROW = r"patient record</th>.*?>([\d.]+)</td>.*?>([\d.]+)</td>.*?>([\d.]+)</td>"


def csv(n=120, seed=0):
    rng = np.random.default_rng(seed)
    age, site = rng.integers(20, 90, n), rng.choice(["A", "B", "C"], n)
    frame = pd.DataFrame({"age": age, "site": site, "name": [f"p{k}" for k in range(n)]})
    frame["sex"] = rng.choice(["f", "m"], n)
    return frame.assign(ill=(rng.random(n) < 0.2 + 0.006 * age).astype(int)).to_csv(index=False).encode()


def opened(monkeypatch):
    monkeypatch.setattr("fedlab_utils.system.desk.PRESETS", {**PRESETS, "ours": SMALL})
    made = ControlRoom(scale="quick").wait()
    assert made.error is None
    return made


@pytest.fixture
def room(monkeypatch):
    return opened(monkeypatch)


@pytest.fixture(scope="module")
def untouched():
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield opened(monkeypatch)


def words(room):
    return words_of(" ".join(room.png.values()))


def words_of(page):
    return re.sub(r"<[^>]+>", " ", page)


# ---- controls and settings


@pytest.mark.parametrize("name", PRESETS)
def test_the_controls_of_a_preset_are_the_preset(name):
    desk = Desk()
    desk.controls["preset"].value = name
    made, want = desk.settings(), PRESETS[name]
    assert replace(made, scale=want.scale, checks=want.checks) == want


def test_every_control_changes_its_settings_and_names_them_in_sentences():
    desk, names = Desk(), {f"{part}.{f.name}" for part, kind in PARTS.items() for f in fields(kind)}
    assert set(PATHS) <= names and set(PATHS.values()) <= set(desk.controls)
    desk.take(replace(PRESETS["ours"], data=Data(hospitals=5, statistics_epsilon=0.5)))
    before, changed = desk.settings(), set()
    moves = dict(hospitals=3, skew=0.5, statistics=1.0, invented=("federated", "pairs"), invented_epsilon=2.0)
    moves |= dict(share=2.0, on="both", rounds=7, dropout=0.2, through="open", unit="none", epsilon=3.0, clip=1.0)
    moves |= dict(table="diabetes")
    for control, value in moves.items():
        old = desk.controls[control].value
        desk.controls[control].value = value
        apart = board.differences(before, desk.settings())
        changed |= {path for path, _, _ in apart}
        assert apart and control in {PATHS.get(path) for path, _, _ in apart}, control
        desk.controls[control].value = old
        assert desk.settings() == before
    assert changed >= set(PATHS) - {"data.target", "data.hospital", "data.patient", "data.drop", "synthetic.where"}


def test_a_value_between_two_rungs_gets_its_own_and_what_means_nothing_is_grey_and_left_out():
    desk = Desk()
    desk.take(replace(SMALL, promise=Promise(unit="record", epsilon=0.7, clip=1.7), training=Training(rounds=200)))
    made = desk.settings()
    assert (made.promise.epsilon, made.promise.clip, made.training.rounds) == (0.7, 1.7, 200)
    rungs = [value for _, value in desk.controls["epsilon"].options]
    assert rungs == sorted(rungs)
    desk.controls["unit"].value = "none"
    assert desk.controls["epsilon"].disabled and desk.settings().promise.epsilon is None
    desk.controls["invented"].value = ("none", None)
    assert desk.controls["on"].disabled and desk.settings().training.on == "real"


def test_what_does_not_go_together_is_said_with_the_names_of_the_controls(room):
    room.set("invented", ("federated", "tables"))
    room.set("through", "encrypted")
    room.wait()
    assert "Sums travel (sum.through) must be 'open' or 'masked' where Method (synthetic.where)" in room._screen.error
    room.set("through", "open")
    room.wait()
    assert room.error is None and not room._screen.error


# ---- the drawing


@pytest.mark.parametrize(
    ("through", "unit"),
    [(t, u) for t in ("open", "masked", "encrypted") for u in ("none", "record", "hospital") if (t, u) != REFUSED],
)
def test_the_drawing_says_what_the_server_really_sees(through, unit):
    promise = Promise() if unit == "none" else Promise(unit=unit, epsilon=3.0, delta=1e-3)
    settings = replace(SMALL, promise=promise, sum=Sum(through=through))
    seen = system.run(settings).views().set_index("viewer")["sees"]["server"]
    assert flow.server_sees(settings) == seen


def test_the_drawing_marks_what_nothing_protects():
    ways = flow.ways(replace(PRESETS["ours"], synthetic=Synthetic(where="federated", method="tables")))
    assert [w.promise for w in ways] == ["epsilon 0.5 a record", flow.NONE, "epsilon 2 a record"]
    drawn = flow.drawing(PRESETS["7med"])
    assert drawn.count('class="pledge bare"') == 2 and 'class="pledge"' not in drawn
    assert "demonstration: none" in flow.told(replace(PRESETS["ours"], demonstration=True))
    drawn = flow.drawing(PRESETS["taj"])  # a training on rows that nothing protects
    assert drawn.count('class="pledge bare"') >= 2 and 'class="pledge"' not in drawn
    local = flow.ways(PRESETS["taj"])
    assert [w.name for w in local] == ["Invented patients", "Training"] and local[0].direct


# ---- a run


def test_a_run_shows_its_parts_and_the_sentence_reads_them_aloud(untouched):
    room = untouched
    table = room.outcome.table().set_index("model")["mean"]
    assert f"{table['federated']:.3f} together" in room.sentence and "There is no promise" in room.sentence
    assert list(room.png) == ["pipeline", "utility", "beside", "promise", "attack", "traffic"]
    assert "Nobody has attacked" in words(room) and "update of each hospital" in words(room)


def test_a_setting_that_nothing_rests_on_makes_nothing_anew_and_costs_nothing(room):
    room.set("invented", ("federated", "tables"))
    room.set("invented_epsilon", 1.0)
    room.wait()
    first = room.outcome
    room.set("rounds", 4)
    room.wait()
    second = room.outcome
    assert second.federations is first.federations and second.synthetic is first.synthetic
    assert second.trained is not first.trained
    spent = (first.books[0].private + second.books[0].private).epsilon()
    assert spent == pytest.approx(first.books[0].private.epsilon())
    room.set("invented_epsilon", 2.0)
    room.wait()
    assert room.outcome.synthetic is not first.synthetic and room.outcome.federations is first.federations


def test_everything_that_was_shown_counts_overwritten_and_cancelled_runs_too(room):
    room.set("unit", "record")
    room.set("epsilon", 1.0)
    room.wait()
    one = float(re.search(ROW, room.png["promise"])[3])
    room.set("rounds", 5)
    room.wait()
    row = re.search(ROW, room.png["promise"])
    own, everything = float(row[2]), float(row[3])
    assert everything > max(one, own)
    assert "all displayed (6 runs)" in room.png["promise"]  # three systems of two splits, the first without a promise
    room.set("table", "diabetes")
    room.wait()
    assert "all displayed (2 runs)" in room.png["promise"]  # other patients


def cancel_after_a_round(room, monkeypatch):
    """From now on each run is cancelled once a round is painted; what paints without that is returned."""
    paint = room._paint

    def stop(figure, sentence, *rest):
        paint(figure, sentence, *rest)
        if "After round" in sentence:
            room.cancel()

    monkeypatch.setattr(room, "_paint", stop)
    return paint


def test_a_broken_off_training_counts_for_the_rounds_that_were_seen(room, monkeypatch):
    before = len(room.shown)
    cancel_after_a_round(room, monkeypatch)
    room.set("unit", "record")
    room.set("rounds", 60)
    room.wait()
    assert room.cancelled and len(room.shown) == before + 1
    broken = room.shown[-1].books[0].private
    assert 0 < broken.epsilon() < system.run(replace(room.desk.settings(), scale="quick")).ledger.epsilon()


def test_a_run_that_goes_wrong_counts_for_the_rounds_that_were_seen(room, monkeypatch):
    def wrong(*_args, **_kwargs):
        raise KeyError("a value of the table")

    before = len(room.shown)
    with monkeypatch.context() as broken:
        broken.setattr("fedlab_utils.federated.baselines", wrong)
        room.set("unit", "record")
        room.set("rounds", 7)
        room.wait()
    assert isinstance(room.error, KeyError) and len(room.shown) == before + 1
    assert room.shown[-1].books[0].private.epsilon() > 0.5


def test_the_report_after_a_cancel_is_of_the_rounds_that_the_page_shows(room, monkeypatch):
    paint = cancel_after_a_round(room, monkeypatch)
    room.set("rounds", 60)
    room.wait()
    runs = sum(len(o.books) for o in room.shown)
    page = words_of(room._report()[1])
    assert room.cancelled and room.outcome.trained.rounds < 60 and "No model has been scored yet" not in page
    assert runs == 4  # two systems of two splits, and the report counts none of them twice
    monkeypatch.setattr(room, "_paint", paint)
    room.set("through", "masked")
    room.set("through", "open")
    room.wait()
    assert room.outcome.trained.rounds == 60  # a training that somebody stopped is not taken over


def test_a_training_that_runs_away_is_said_and_breaks_nothing(room):
    room.take_table(csv())
    room.set("target", "age")
    room.wait()
    room.pin()
    room.desk.base = replace(room.desk.base, training=replace(room.desk.base.training, lr=10.0))
    room.set("rounds", 40)
    room.wait()
    assert room.error is None and "ran away" in room.sentence, room._screen.error
    room.pin()
    room.set("rounds", 3)
    room.wait()
    assert room.error is None, room._screen.error


def test_the_same_table_opened_again_goes_on_with_the_same_ledger(room):
    for _ in range(2):
        room.take_table(csv())
        room.set("hospital", "site")
        room.wait()
    assert len(room._earlier(room.outcome)) >= 1


def test_what_was_taken_over_is_looked_at_as_what_was_made(room):
    room.set("through", "masked")
    room.desk.base = replace(room.desk.base, sum=Sum(through="masked", threshold=50))
    room.set("invented", ("federated", "tables"))
    room.wait()
    assert "sum.threshold must be" in room._screen.error


@pytest.mark.parametrize(
    ("change", "made"),
    [
        (dict(data=replace(SMALL.data, seed=5)), ALL),
        (dict(scale="full"), ALL),
        (dict(synthetic=Synthetic(where="federated", method="tables", rows=2.0)), ALL - {"hospitals", "baselines"}),
        (dict(sum=Sum(through="masked")), ALL - {"hospitals", "baselines"}),
        (dict(training=replace(SMALL.training, rounds=2)), {"training", "baselines", "attack"}),
        (dict(promise=Promise(unit="record", epsilon=3.0)), {"training", "attack"}),
        (dict(checks=Checks(attack=True, threshold=0.2)), set()),
        (dict(name="another", question="Why?"), set()),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, dict) else "",
)  # fmt: skip
def test_a_stage_is_made_again_where_something_it_rests_on_has_changed(monkeypatch, change, made):
    monkeypatch.setattr("fedlab_utils.system.membership.attacked", lambda *_: pd.DataFrame(columns=["auc"]))
    tables = Synthetic(where="federated", method="tables")
    settings = replace(SMALL, synthetic=tables, checks=Checks(attack=True), training=replace(SMALL.training, rounds=1))
    first = system.run(settings)
    *_, second = system.stages(replace(settings, **change), earlier=first)
    fields = {"hospitals": "federations", "synthetic patients": "synthetic", "training": "trained"}
    fields |= {"baselines": "baselines", "attack": "attacks"}
    assert {s for s, f in fields.items() if getattr(first, f) is not getattr(second, f)} == made


def test_pinned_and_now_stand_side_by_side_with_every_setting_that_differs(room):
    room.pin()
    room.wait()
    assert "No setting differs" in words(room)
    shown = len(room.shown)
    room.set("rounds", 6)
    room.set("through", "masked")
    room.wait()
    beside = room.png["beside"]
    assert re.findall(r"<code>|training\.rounds|sum\.through", beside).count("training.rounds") == 1
    assert "sum.through" in beside and "training.lr" not in beside and "pinned" in room.png["utility"]
    assert len(room.shown) == shown + 1
    room.unpin()
    room.wait()
    assert room.png["beside"] == ""


def test_the_attack_can_be_cancelled_and_what_is_done_stays(room, monkeypatch):
    def slow(outcome, make, arguments):
        from fedlab_utils._progress import progress

        for _ in progress(range(10), "Rounds", 10):
            room.cancel()

    monkeypatch.setattr("fedlab_utils.system.membership.attacked", slow)
    room.set("attack", True)
    room.wait()
    assert room.cancelled and room.outcome.trained is not None and "attack" not in room.outcome.stages
    assert "under way" in room.png["attack"]


def test_where_nothing_can_be_attacked_the_page_says_so(room):
    room.take_table(csv())
    room.set("target", "age")  # a number
    room.set("attack", True)
    room.wait()
    assert room.error is None and "Nothing here can be attacked" in room.png["attack"]
    assert "nothing that these attacks are made for" in words_of(room._report()[1])


# ---- files


def test_a_table_of_ones_own_is_read_offered_and_used(room):
    room.set("table", OWN)
    room.wait()
    assert isinstance(room.error, NotAtHand) or "no table of yours" in room._screen.error
    said = room.take_table(csv())
    assert "120 rows and 5 columns" in said and "Left out, for too many different texts: name" in said
    room.set("hospital", "site")
    room.wait()
    assert room.error is None, room._screen.error
    data = room.outcome.settings.data
    assert (data.table, data.target, data.hospital, data.drop) == (OWN, "ill", "site", ("name",))
    assert room.outcome.settings.name == "small on my own table"
    assert {h.name for h in room.outcome.federations[0].hospitals} == {"A", "B", "C"}
    first = room.outcome
    room.take_table(csv(seed=1))
    room.set("hospital", "site")
    room.wait()
    assert room.outcome.federations is not first.federations  # another table, by the same settings
    room.set("statistics", 1.0)
    room.wait()
    assert "give them as data.bounds in a file of settings" in room._screen.error


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"a,b\n" + b"1,2\n" * 20_001, "lines"),
        (b",".join(b"c%d" % k for k in range(61)) + b"\n", "columns"),
        (b"a;b\n1;2\n", "commas"),
        (b"a,b\n\xff\xfe,2\n", "UTF-8"),
        (b"", "CSV"),
        (b"a,b,y\n1,2,0,9\n3,4,1,9\n", "CSV"),  # more values than names
        (b"a,b\r" + b"1,2\r" * 20_001, "lines"),
        (b"a,b\n1,2\n", "two rows"),
        (b"a\n1\n2\n", "two columns"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_changes_nothing(untouched, content, want):
    room = untouched
    before = room.desk.settings()
    with one_sentence("table") as reason:
        room.take_table(content)
    assert want in str(reason.value) and room.desk.settings() == before and room.desk.frame is None


def test_a_trailing_comma_moves_no_value_to_another_column(room):
    room.take_table(b"a,b,y\n1,2,0,\n3,4,1,\n")
    assert room.desk.frame.to_dict("list") == {"a": [1, 3], "b": [2, 4], "y": [0, 1]}


def test_settings_for_a_table_that_is_opened_later_choose_its_columns(room):
    own = Data(table=OWN, target="sex", hospital="site", drop=("ill",))
    room.take_settings(replace(SMALL, data=own).to_toml().encode())
    room.take_table(csv())
    room.wait()
    chosen = room.desk.settings().data
    assert (chosen.target, chosen.hospital, chosen.drop) == ("sex", "site", ("ill", "name"))


def test_columns_left_out_keep_their_order():
    wide, desk = pd.DataFrame({name: [0, 1] for name in "abcdefghijkl"}), Desk()
    desk.take(replace(SMALL, data=Data(table=OWN, target="a", drop=tuple("gcfbed"))))
    desk.use(wide, ["h", "c", "i"])
    assert desk.controls["drop"].value == (*"gcfbed", "h", "i")  # in any process: a set would shuffle them


def test_settings_go_out_and_come_back(room):
    room.set("unit", "record")
    room.set("epsilon", 3.0)
    room.wait()
    name, text = room._toml()
    assert name == "small.toml" and Settings.from_toml(text) == room.desk.settings()
    said = room.take_settings(PRESETS["wine"].to_toml().encode())
    room.wait()
    assert "wine" in said and room.desk.settings().sum.through == "masked" and room.error is None
    with one_sentence("settings"):
        room.take_settings(b"name = \xff")
    with one_sentence("settings"):
        room.take_settings(b"[nothing]\nx = 1\n")


def test_the_report_is_of_the_newest_run_and_counts_what_was_shown_before(room):
    room.set("unit", "record")
    room.wait()
    room.set("rounds", 5)
    room.wait()
    name, page = room._report()
    assert name == "small-report.html" and "5 rounds" in page and "everything displayed (6 runs)" in page


def test_where_nothing_runs_the_page_is_a_still_with_pictures_that_speak(untouched):
    room = untouched
    still = room._repr_mimebundle_()["text/html"]
    assert "<svg" not in still and still.count("<img") >= 3
    assert not re.search(r'<img alt=""', still) and room.sentence.split(".")[0] in still

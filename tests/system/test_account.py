"""What a ledger says in sentences, and which counts are kept back."""

import pytest

from fedlab_utils.federated.diary import MODELS, TESTED
from fedlab_utils.privacy import Ledger, Mechanism
from fedlab_utils.privacy.ledger import FOLLOWS, HOSPITAL
from fedlab_utils.system import small_counts
from fedlab_utils.system.account import Account, Kind

NOISE = Mechanism(noise_multiplier=3.0, steps=4, secret=True)
SCORES = dict(what=TESTED, hospital="A, B", viewer="outsider")
UPDATES = dict(what="model updates of each round", hospital="A", viewer="server")
MEANS = dict(what="counts and sums", hospital="A", viewer="server")
EVERYBODY = dict(what=MODELS, hospital="A", viewer="every hospital")


def account(*entries, early=("counts and sums",), runs=1):
    ledger = Ledger()
    for entry in entries:
        ledger = ledger.add(**entry)
    return Account(ledger, ledger, runs, frozenset(early))


@pytest.mark.parametrize(
    ("entries", "kind"),
    [
        ([], Kind.NOTHING),
        ([SCORES], Kind.NOTHING),
        ([MEANS, SCORES], Kind.NONE),
        ([UPDATES | dict(mechanism=Mechanism(noise_multiplier=3.0))], Kind.DEMONSTRATION),
        ([UPDATES | dict(mechanism=NOISE), EVERYBODY | dict(guarantee=FOLLOWS), SCORES], Kind.ALL),
        ([UPDATES | dict(mechanism=NOISE), MEANS], Kind.UNDONE),
        ([EVERYBODY | dict(mechanism=NOISE), UPDATES, SCORES], Kind.RECIPIENTS),
        ([UPDATES | dict(mechanism=NOISE), EVERYBODY], Kind.UNDONE),
        ([UPDATES | dict(mechanism=NOISE), dict(what="odd", hospital="A", viewer="somebody new")], Kind.UNDONE),
        ([UPDATES | dict(mechanism=Mechanism(noise_multiplier=1e-3, secret=True))], Kind.UNDONE),
    ],
)
def test_how_much_of_a_promise_there_is(entries, kind):
    found = account(*entries)
    assert found.kind is kind
    held = [who for who, verdict, _ in found.against() if verdict == "holds"]
    assert len(held) == {Kind.ALL: 3, Kind.RECIPIENTS: 2}.get(kind, 0)
    assert ("the promise" in found.sentence()) == bool(held)


def test_a_promise_that_leaves_the_server_out_says_so():
    found = account(EVERYBODY | dict(mechanism=NOISE), UPDATES)
    assert found.sentence().startswith("Against whoever gets the models, but not against the server, the promise")
    assert ("the server", "no promise", "sees without noise: model updates of each round") in found.against()


def test_units_that_do_not_compose_get_a_number_each():
    of_hospitals = Mechanism(noise_multiplier=2.0, unit=HOSPITAL, secret=True)
    found = account(MEANS | dict(mechanism=NOISE), EVERYBODY | dict(mechanism=of_hospitals))
    assert [unit for unit, *_ in found.numbers()] == ["patient record", "hospital"]
    assert "for one patient record and epsilon" in found.sentence() and "for one hospital" in found.sentence()
    assert any("do not compose" in remark for remark in found.remarks())


def test_what_does_not_compose_gets_no_number():
    """Patients dealt out twice, to hospitals with noise of different kinds: nobody knows who paid for what."""
    laplace = pytest.importorskip("dp_accounting").LaplaceDpEvent
    noises = {"A": Mechanism(event=laplace(2.0), secret=True), "B": Mechanism(event=laplace(3.0), secret=True)}
    found = account(*(MEANS | dict(hospital=h, mechanism=m, dealing=d) for d in (1, 2) for h, m in noises.items()))
    assert found.numbers() == [("patient record", "none: does not compose", "none: does not compose", "1e-05")]
    assert "do not add up to one number" in found.sentence() and "epsilon" not in found.sentence()


def test_epsilon_is_never_rounded_down():
    found = account(UPDATES | dict(mechanism=NOISE))
    exact, shown = found.everything.epsilon(), float(found.numbers()[0][2])
    assert exact <= shown < exact * 1.01


def test_a_patient_with_several_records_is_given_an_epsilon_of_their_own():
    more = Mechanism(noise_multiplier=30.0, secret=True, records=3)
    found = account(UPDATES | dict(mechanism=more))
    told = next(r for r in found.remarks() if "several records" in r)
    assert "up to 3 records belong to one" in told and "whose epsilon is" in told
    assert "for one patient record" in found.sentence()


# ---------------------------------------------------------------- small counts


@pytest.mark.parametrize(
    ("parts", "rest", "shown"),
    [
        ([10, 1200], None, ["10", "1,200"]),
        ([9, 8, 50], None, ["fewer than 10", "fewer than 10", "50"]),
        ([9, 30, 20], None, ["fewer than 10", "30", "not shown"]),  # else the total tells it
        ([9], None, ["fewer than 10"]),
        ([0, 0], None, ["fewer than 10"] * 2),
        ([30, 40], [3, 2], ["all but fewer than 10"] * 2),
    ],
)
def test_counts_below_ten_do_not_show_nor_follow_from_the_rest(parts, rest, shown):
    assert small_counts.counts(parts, rest) == shown


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [(3, 9, "fewer than 10 patients"), (9, 100, "fewer than 10"), (0, 100, "fewer than 10"), (10, 40, "25%"),
     (95, 100, "all but fewer than 10")],
)  # fmt: skip
def test_a_share_that_tells_a_small_count_is_words(part, whole, shown):
    assert small_counts.share(part, whole) == shown


def test_groups_are_put_together_until_each_has_ten_ill_and_ten_healthy():
    groups = [(20, 2, 0.1), (20, 9, 0.2), (20, 11, 0.3), (20, 15, 0.4)]
    found = small_counts.merged(groups)
    assert found == [(40, 11, pytest.approx(0.15)), (40, 26, pytest.approx(0.35))]
    assert small_counts.merged([(20, 2, 0.1)]) == []

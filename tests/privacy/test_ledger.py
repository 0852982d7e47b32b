"""The ledger: what composes, what does not, and what carries no promise."""

import math
from dataclasses import replace

import dp_accounting
import numpy as np
import pandas as pd
import pytest
import torch
from dp_accounting import pld, rdp

from fedlab_utils import data, federated, privacy
from fedlab_utils.privacy.ledger import Ledger, Mechanism
from fedlab_utils.privacy.promises import RecordDP


def test_a_ledger_only_grows_and_never_in_place():
    empty = Ledger()
    one = empty.add("sums", hospital="A", viewer="server", detail="2 numbers")
    two = one.add("model", hospital="A", viewer="outsider")
    assert (len(empty), len(one), len(two)) == (0, 1, 2)
    assert list(two.table().columns) == ["what", "hospital", "viewer", "guarantee", "detail"]
    assert two.table().loc[0, "detail"] == "2 numbers" and (two.table()["guarantee"] == "not private").all()
    assert list(empty.table().columns) == list(two.table().columns)
    with pytest.raises(AttributeError):
        one.entries = ()


QUICK = dict(rounds=3, batch_size=16, lr=0.1, hidden=(8,))


def table(n=240, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    frame = pd.DataFrame(x, columns=list("abcd"))
    frame["ward"] = np.where(np.arange(n) < n // 2, "north", np.where(np.arange(n) < 5 * n // 6, "east", "west"))
    return frame.assign(ill=x[:, 0] - 0.5 * x[:, 1] + 0.5 * rng.normal(size=n) > 0)


@pytest.fixture(scope="module")
def three():
    """Three hospitals with about 80, 53 and 27 rows to train on."""
    return data.from_frame(table(), target="ill", hospital="ward")


def noisy(hospital, *mechanisms, ledger=None, **options):
    ledger = ledger or Ledger()
    for m in mechanisms:
        ledger = ledger.add("updates", hospital=hospital, viewer="server", mechanism=m, **options)
    return ledger


def test_releases_of_one_hospital_compose_and_epsilons_are_not_added():
    one, other = Mechanism(1.0, 0.02, 200), Mechanism(3.0, 1.0, 4)
    ledger = noisy("A", one, one, other)
    accountant = pld.PLDAccountant()
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(1.0)), 400)
    accountant.compose(dp_accounting.GaussianDpEvent(3.0), 4)
    assert ledger.epsilon() == pytest.approx(accountant.get_epsilon(1e-5), rel=0.002)
    assert ledger.epsilon() < 2 * one.epsilon + other.epsilon


def test_over_hospitals_the_largest_counts_and_a_patient_of_two_pays_both():
    ledger = noisy("B", Mechanism(2.0, steps=3), ledger=noisy("A", Mechanism(1.0, steps=2)))
    a, b = (privacy.epsilon(s, steps=t) for s, t in ((1.0, 2), (2.0, 3)))
    assert ledger.epsilon() == pytest.approx(max(a, b)) and ledger.epsilon(hospitals=["B"]) == pytest.approx(b)
    both = ledger.epsilon(hospitals=["A", "B"])
    assert max(a, b) < both < a + b and both == pytest.approx(privacy.epsilon(1 / math.sqrt(2.75)), rel=0.01)
    with pytest.raises(ValueError, match="'C' is none"):
        ledger.epsilon(hospitals=["C"])


def test_mixed_promises_do_not_compose():
    record, hospital = Mechanism(1.0), Mechanism(1.0, unit="hospital")
    with pytest.raises(ValueError, match="more than one unit .hospital and patient record."):
        noisy("A", record, hospital).epsilon()
    with pytest.raises(ValueError, match="more than one relation"):
        noisy("A", record, Mechanism(1.0, relation="replace one")).epsilon()
    with pytest.raises(ValueError, match="whose relation is 'one present or blank'; got 'replace one'"):
        noisy("A", Mechanism(1.0, relation="replace one")).epsilon()
    assert any("more than one unit" in s for s in noisy("A", record, hospital).check())
    with pytest.raises(ValueError, match="different deltas .1e-06, 1e-05.; give delta"):
        noisy("A", record, Mechanism(1.0, delta=1e-6)).epsilon()
    assert noisy("A", record, Mechanism(1.0, delta=1e-6)).epsilon(1e-5) == pytest.approx(privacy.epsilon(1.0, steps=2))


def test_numbers_of_patients_are_public_so_neighbours_are_a_record_and_a_blank():
    """With one patient fewer the rate and the noise are others, which no accounting of "add or remove" covers."""
    table = pd.DataFrame({"x": np.arange(80.0), "y": np.arange(80) % 2, "h": ["A"] * 80})
    some = data.from_frame(table, target="y", hospital="h", bounds={"x": (0, 80)})
    here = some.hospitals[0]

    def spent(X, y):
        one = replace(some, hospitals=(replace(here, X_train=X, y_train=y),))
        promise = privacy.RecordDP(epsilon=2.0, secure=False)
        run = federated.train(one, privacy=promise, rounds=1, batch_size=8, hidden=())
        return run.ledger.private.entries[0].mechanism

    blank = torch.cat([torch.zeros_like(here.X_train[:1]), here.X_train[1:]])
    whole = spent(here.X_train, here.y_train)
    assert whole == spent(blank, here.y_train) and whole.relation == "one present or blank"
    fewer = spent(here.X_train[1:], here.y_train[1:])
    assert fewer.sampling > whole.sampling and fewer.noise_multiplier > whole.noise_multiplier


def test_one_release_without_a_loss_distribution_makes_all_of_it_rdp():
    concentrated = Mechanism(event=dp_accounting.ZCDpEvent(0.05))
    ledger = noisy("A", Mechanism(2.0, 0.1, 50), concentrated, ledger=noisy("B", Mechanism(1.0, steps=5)))
    assert ledger.method == "RDP" and set(ledger.spent()["method"]) == {"RDP"}
    accountant = rdp.RdpAccountant()
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(2.0)), 50)
    accountant.compose(dp_accounting.ZCDpEvent(0.05))
    assert ledger.epsilon(hospitals=["A"]) == pytest.approx(accountant.get_epsilon(1e-5))
    assert ledger.epsilon() == pytest.approx(privacy.epsilon(1.0, steps=5, method="rdp"))  # hospital B's
    laplace = noisy("A", Mechanism(event=dp_accounting.LaplaceDpEvent(2.0)))
    assert laplace.method == "PLD" and laplace.epsilon(1e-9) == pytest.approx(0.5, rel=0.01)
    assert laplace.table().loc[0, "mechanism"] == "Laplace"


def test_seeds_look_at_the_same_patients_again(three):
    run = federated.train(three, **QUICK, seeds=4, privacy=RecordDP(1.0))
    alone, everything = run[0].ledger.epsilon(), run.ledger.epsilon()
    assert 0.99 <= alone <= 1 and 1.5 < everything < 4
    m = {e.hospital: e.mechanism for e in run[0].ledger.private.entries}["north"]
    assert len(run.ledger.private) == 12 and len(run[3].ledger.private) == 3
    four = privacy.epsilon(m.noise_multiplier, sampling=m.sampling, steps=4 * m.steps)
    assert run.ledger.epsilon(hospitals=["north"]) == pytest.approx(four)
    other = federated.train(three, **QUICK, privacy=RecordDP(1.0))
    assert (run.ledger + other.ledger).epsilon() > everything  # as a published curve has it
    assert (run.ledger + run[2].ledger).epsilon() == everything  # the very same release is not a new one
    assert len(run.ledger + run.ledger) == len(run.ledger)


def test_replicates_of_one_table_compose_whoever_was_dealt_where():
    natural = data.replicates(table(), 3, target="ill", hospital="ward")
    dealt = data.replicates(table().drop(columns="ward"), 3, target="ill", n_hospitals=3)
    for splits in (natural, dealt):
        run = federated.train(splits, **QUICK, privacy=RecordDP(noise_multiplier=3.0))
        mechanisms = [e.mechanism for e in run.ledger.private.entries]
        first = max(privacy.epsilon(3.0, sampling=m.sampling, steps=3 * m.steps) for m in mechanisms)
        assert run.ledger.epsilon() >= first * 0.999 > run[0].ledger.epsilon()
    runs = [federated.train(s, **QUICK, privacy=RecordDP(noise_multiplier=1)) for s in (natural, dealt)]
    assert [len({e.dealing for e in run.ledger.private.entries}) for run in runs] == [1, 3]
    assert "dealing" not in run.ledger.table() and str(run.ledger.private.entries[0].dealing) not in repr(run.ledger)
    moved = noisy("B", Mechanism(1.0), dealing=2, ledger=noisy("A", Mechanism(1.0), dealing=1))
    assert moved.epsilon() == pytest.approx(privacy.epsilon(1.0, steps=2))  # who was in A then may be in B now


def test_what_has_no_promise_is_listed_and_in_no_epsilon(three):
    ledger = federated.train(three, **QUICK, privacy=RecordDP(1.0)).ledger
    bare = ledger.unprotected.table()
    assert {"metrics on test rows", "counts and sums"} <= set(bare["what"])
    assert "model updates of each round" not in set(bare["what"]) and len(ledger.private) + len(bare) + 1 == len(ledger)
    rows = ledger.table()
    assert rows.columns[:5].tolist() == ["what", "hospital", "viewer", "guarantee", "detail"]
    assert (rows.loc[rows["guarantee"] == "not private", "epsilon"] == math.inf).all()
    promised = rows[rows["unit"] == "patient record"]
    assert promised["guarantee"].str.contains("epsilon 0.99|epsilon 1").all() and (promised["epsilon"] <= 1).all()
    assert (ledger.spent()["unprotected"] == 3).all()  # two messages of preprocessing, one with test scores
    sentences = " ".join(ledger.check())
    assert "seed" not in sentences and "carry no promise" in sentences and "delta" not in sentences


def test_noise_from_a_seed_is_a_demonstration_in_every_word(three):
    ledger = federated.train(three, **QUICK, privacy=RecordDP(1.0, secure=False)).ledger
    assert {e.guarantee for e in ledger.private.entries} == {privacy.ledger.DEMONSTRATION}
    promised = ledger.table().query("unit == 'patient record'")["guarantee"]
    assert promised.str.endswith("for one patient record (demonstration)").all()
    assert "3 releases are demonstrations: their noise comes from a seed" in " ".join(ledger.check())
    kept = federated.train(three, **QUICK, privacy=RecordDP(1.0)).ledger  # what is released takes secret noise
    assert {e.guarantee for e in kept.private.entries} == {privacy.ledger.PRIVATE}
    assert not kept.table()["guarantee"].str.contains("demonstration").any()


def test_a_delta_from_batches_is_noticed():
    wrong = noisy("A", Mechanism(1.0, 0.1, 100, delta=1 / 30, units=300))
    assert any("delta 0.0333333 is not below 1/300" in s and "batches" in s for s in wrong.check())
    right = noisy("A", Mechanism(1.0, 0.1, 100, delta=1 / 3000, units=300, secret=True))
    assert right.check() == []


def test_an_empty_ledger_has_spent_nothing():
    empty = Ledger()
    assert empty.epsilon() == 0 and empty.check() == [] and len(empty.spent()) == 0
    bare = empty.add("sums", hospital="A", viewer="server")
    assert bare.epsilon() == 0 and len(bare.unprotected) == 1
    clipped_only = noisy("A", Mechanism(0.0, steps=3, units=10))
    assert clipped_only.table().loc[0, "guarantee"] == "not private" and len(clipped_only.unprotected) == 1


def test_a_patient_with_several_records_has_spent_more_and_the_ledger_says_so():
    several = noisy("A", Mechanism(5.0, records=3, secret=True))
    one, patient = several.epsilon(), several.epsilon_of_patients()
    exact = privacy.epsilon(5.0 / 3)  # without sampling, three records are a step of three clip norms
    assert one < exact <= patient < 1.3 * exact
    (own,) = [e for e in np.geomspace(1e-8, 1e-5, 60) if own_delta(several, e) <= 1e-5][-1:]
    assert patient == pytest.approx(3 * several.epsilon(own), rel=0.1)
    assert "A patient has up to 3 records" in several.check()[0] and f"up to {patient:.3g}" in several.check()[0]
    assert noisy("A", Mechanism(5.0, secret=True)).epsilon_of_patients() == one
    assert noisy("A", Mechanism(0.5, records=20, secret=True)).epsilon_of_patients() == math.inf


def own_delta(ledger, delta, records=3):
    """With which delta a promise for one record holds for all of a patient's."""
    return delta * sum(math.exp(k * ledger.epsilon(delta)) for k in range(records))

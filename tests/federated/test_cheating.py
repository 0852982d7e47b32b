"""The seam where hospitals cheat: what it touches, and above all what it does not."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from fedlab_utils import data, federated, fleet, secagg
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.setting import Setting
from fedlab_utils.privacy import HospitalDP, RecordDP
from tests.federated.helpers import QUICK, table
from tests.refusals import one_sentence


@dataclass(frozen=True)
class Rows(federated.Attack):
    """All rows with a first number below 0 are moved, and so many are added."""

    more: int = 0

    def rows(self, hospital, federation):
        X = torch.where(hospital.X_train[:, :1] < 0, hospital.X_train + 1, hospital.X_train)
        extra = hospital.X_train[: self.more]
        return torch.cat([X, extra]), torch.cat([hospital.y_train, hospital.y_train[: self.more]])


@dataclass(frozen=True)
class Sends(federated.Attack):
    """So many times the update."""

    times: float = -5.0

    def update(self, updates):
        return self.times * updates


def updates(run, seed=0):
    """By round and hospital what was sent."""
    log = run.transcript.query("what == 'update'")
    return log[log["seed"] == seed].set_index(["round", "sender"])["values"]


RECORDED = QUICK | dict(record=True)


def test_no_attack_is_what_was_before(three):
    plan = Plan([three], [Setting(**QUICK)])
    assert plan.X is not None and len(plan.y) == sum(len(h.y_train) for h in three.hospitals)
    nobody = federated.train(three, **QUICK, attack=Sends([]))
    honest = federated.train(three, **QUICK)
    assert torch.equal(nobody.params.flat(), honest.params.flat())


@pytest.mark.parametrize("attack", [Rows([1]), Rows(["east"], more=7), Sends([1])])
def test_honest_hospitals_do_what_they_did(three, attack):
    runs = [federated.train(three, **RECORDED, attack=a) for a in (None, attack)]
    honest, cheated = (updates(run)[1] for run in runs)
    for name in ("north", "west"):
        np.testing.assert_allclose(honest[name], cheated[name], atol=1e-7)
    assert not np.allclose(honest["east"], cheated["east"], atol=1e-3)


def test_only_rows_that_are_poisoned_are_added_to_the_table(three):
    settings = [Setting(**QUICK, attack=a) for a in (None, Rows([1]), Rows([1], more=5), Rows([0, 1]))]
    plan = Plan([three, three], settings)
    below = [int((h.X_train[:, 0] < 0).sum()) for h in three.hospitals]
    n = sum(len(h.y_train) for h in three.hospitals)
    # Two seeds of one split share what they share; a second attack on the same rows is another one.
    assert len(plan.y) == n + below[1] + below[1] + 5 + below[0] + below[1]
    assert torch.equal(plan.X[:n], torch.cat([h.X_train for h in three.hospitals]))
    for r, attack in enumerate([None, None, *[settings[1].attack] * 2]):
        for h, hospital in enumerate(three.hospitals):
            numbers = plan.cheats.rows(r, h)
            X, y = (attack or federated.Attack([])).rows(hospital, three) if h == 1 else (
                hospital.X_train, hospital.y_train
            )  # fmt: skip
            assert torch.equal(plan.X[numbers], X) and torch.equal(plan.y[numbers], y)
            assert h == 1 and attack or (numbers < n).all()
    assert np.array_equal(plan.size[0], plan.size[4]) and np.array_equal(plan.weight[0], plan.weight[4])
    assert np.array_equal(plan.steps[0], plan.steps[4])  # rows that were made up do not count


def test_several_attacks_and_none_are_one_fleet_and_each_is_what_it_is_alone(three):
    settings = {
        "none": {},
        "rows": dict(attack=Rows([1])),
        "more": dict(attack=Rows([0], more=30)),
        "sends": dict(attack=Sends([0, 2], times=-1)),
    }
    assert all(Setting(**QUICK, **s).fits_beside(Setting(**QUICK)) for s in settings.values())
    together = federated.side_by_side(three, settings, seeds=2, **QUICK)
    for name, setting in settings.items():
        alone = federated.train(three, seeds=2, **QUICK, **setting)
        torch.testing.assert_close(together[name].params.flat(), alone.params.flat(), atol=1e-6, rtol=0)


def test_replicates_are_attacked_each_by_itself():
    splits = data.replicates(table(), 2, target="ill", hospital="ward")
    plan = Plan(splits, [Setting(**QUICK, attack=Rows([1]))])
    for r, f in enumerate(splits):
        X, y = Rows([1]).rows(f.hospitals[1], f)
        assert torch.equal(plan.X[plan.cheats.rows(r, 1)], X) and torch.equal(plan.y[plan.cheats.rows(r, 1)], y)


def test_test_rows_are_never_touched(three):
    run = federated.train(three, **QUICK, attack=Rows([0, 1, 2], more=3))
    scored = federated.clinical(run, three)
    pool = three.pooled()
    risk = run[0].predict_proba(pool.X_test)[:, 1].numpy()
    flagged = (risk >= 0.1).mean()
    assert scored.query("hospital == 'all'")["flagged"].item() == pytest.approx(flagged)
    assert (
        run.history.query("round == 0")["loss"].tolist()
        == federated.train(three, **QUICK).history.query("round == 0")["loss"].tolist()
    )


def test_what_is_sent_is_changed_after_clipping(three):
    promise = HospitalDP(noise_multiplier=0, delta=0.01, max_update_norm=0.05, secure=False)
    run = federated.train(three, **RECORDED, privacy=promise, attack=Sends(["west"]))
    length = updates(run).map(np.linalg.norm).groupby("sender").max()
    assert length["west"] > 0.2 and length[["north", "east"]].max() <= 0.05 + 1e-6


def test_a_mask_has_no_words_for_more_than_its_limit(three):
    class Largest(federated.OpenSum):
        largest = 0.02

    for lie in (-1e9, torch.nan, torch.inf):
        run = federated.train(three, **RECORDED, aggregator=Largest(), attack=Sends([0], times=lie))
        assert np.abs(updates(run)[:, "north"].map(lambda u: np.abs(u).max())).max() <= 0.02 + 1e-9
    with pytest.warns(federated.Diverged):
        masked = federated.train(three, **QUICK, aggregator=secagg.SecureSum(), attack=Sends([0], times=-1e9))
    assert masked.params.flat().isfinite().all() and masked.params.flat().abs().max() < 4 * 3 + 1


def test_an_attack_has_noise_of_its_own_and_none_leaves_old_noise_alone():
    promise = RecordDP(noise_multiplier=1, secure=False)
    plain, attacked, other = (Setting(privacy=promise, attack=a) for a in (None, Rows([0]), Rows([1])))
    assert plain.own_stream(b"rows")[0] % 10**12 == 873688354025  # as before there were attacks
    assert len({s.own_stream(b"rows") for s in (plain, attacked, other)}) == 3


def test_a_promise_and_dropout_go_with_an_attack(three):
    promise = RecordDP(noise_multiplier=1, delta=1e-3, secure=False)
    for change in (dict(privacy=promise), dict(dropout=0.4, rounds=6), dict(strategy="scaffold")):
        attacks = None, Rows([0], more=5), Sends([2], times=0.5)
        honest, rows, sends = (federated.train(three, **RECORDED | change, attack=a) for a in attacks)
        assert rows.params.flat().isfinite().all() and sends.params.flat().isfinite().all()
        if "privacy" not in change:  # under a promise an attack has noise of its own
            (north, other), (west, half) = (
                [updates(run).xs(name, level="sender").iloc[0] for run in (honest, attacked)]
                for name, attacked in (("north", rows), ("west", sends))
            )
            np.testing.assert_allclose(half, west / 2, atol=1e-7)
            assert not np.allclose(north, other, atol=1e-3)


# ---------------------------------------------------------------- arguments


@dataclass(frozen=True)
class Makes(federated.Attack):
    """Whatever."""

    X: object = None
    y: object = None
    sent: object = None

    def rows(self, hospital, federation):
        own = hospital.X_train, hospital.y_train
        return tuple(other if given is None else given for given, other in zip((self.X, self.y), own, strict=True))


@dataclass(frozen=True)
class Shorter(federated.Attack):
    def update(self, updates):
        return updates[:, 1:]


@pytest.mark.parametrize("hospitals", [None, "north", 3, ["south"], [3], [-1], [1.5], [True], [None], {0}])
def test_hospitals_that_cannot_be_get_one_sentence(three, hospitals, monkeypatch):
    monkeypatch.setattr(fleet, "fit", lambda *_, **__: pytest.fail("trained"))
    with one_sentence("hospitals"):
        federated.train(three, **QUICK, attack=Sends(hospitals))


@pytest.mark.parametrize(
    ("wrong", "about"),
    [
        (dict(X=torch.zeros(3, 2), y=torch.zeros(3, 1)), "attack"),
        (dict(X=torch.zeros(3, 4)), "attack"),
        (dict(y=[0, 1]), "attack"),
        (dict(X=torch.zeros(0, 4), y=torch.zeros(0, 1)), "attack"),
        (dict(X=torch.full((3, 4), torch.nan), y=torch.zeros(3, 1)), "X"),
        (dict(X=torch.zeros(3, 4), y=torch.full((3, 1), 0.5)), "y"),
    ],
)
def test_rows_that_cannot_be_trained_on_get_one_sentence(three, wrong, about, monkeypatch):
    monkeypatch.setattr(fleet, "fit", lambda *_, **__: pytest.fail("trained"))
    with one_sentence(about):
        federated.train(three, **QUICK, attack=Makes([0], **wrong))


def test_updates_of_another_shape_get_one_sentence(three):
    with one_sentence("attack"):
        federated.train(three, **QUICK, attack=Shorter([0]))


def test_names_and_numbers_are_the_same_and_may_be_given_twice(three):
    assert federated.Attack(["west", 0, "north", np.int64(2)]).who(three) == [0, 2]
    assert replace(Sends([0]), hospitals=("west",)).who(three) == [2]

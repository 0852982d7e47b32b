"""GANs over hospitals by `fit_federated`: one budget for labels and critics, tables to warm up on, public columns."""

import numpy as np
import pytest
import torch

from fedlab_utils import audit, data, fidelity, fleet, secagg, synth
from fedlab_utils.federated.aggregators import as_aggregator
from fedlab_utils.privacy import RecordDP
from fedlab_utils.synth import critics as real_side
from tests.refusals import one_sentence
from tests.synth.test_federated import FED, PUBLIC, federation, patients, spent

ONE = RecordDP(epsilon=2.0, secure=False)
FAST = dict(steps=6, critic_steps=2, batch_size=60, made=40, hidden=(8,), generator_hidden=(16,))
WARM = dict(warm_up=True, warm_steps=6)


def gan(federation=FED, method="dp_gan", **change):
    promise = {} if method == "gan" else {"privacy": ONE}
    return synth.fit_federated(federation, method=method, **(promise | FAST | change))


@pytest.mark.parametrize(
    "change", [{}, WARM, {"aggregator": secagg.PrivateSum()}, WARM | {"aggregator": secagg.PrivateSum()}]
)
def test_labels_and_critics_share_one_budget(change):
    made = gan(**change)
    assert 0.97 * 2 < made.ledger.epsilon() <= 2.0 and not len(made.ledger.unprotected)
    first = "noisy label-wise tables" if "warm_up" in change else "noisy label counts"
    whats = {e.what for e in made.ledger.private.entries}
    assert first in whats and first in " ".join(made.transcript["what"])
    steps = {e.mechanism.steps for e in made.ledger.private.entries}
    assert len(steps) == 2 and 6 in steps


def test_a_warm_up_alone_spends_all_of_it_on_the_tables():
    made = gan(**WARM | {"steps": 0})
    (noise,) = {e.mechanism.noise_multiplier for e in made.ledger.private.entries}
    assert made.ledger.epsilon() == pytest.approx(spent([noise]), rel=0.01) and made.ledger.epsilon() > 1.97


def test_what_is_drawn_is_a_table_like_the_rows_with_labels_as_often():
    for made in (
        gan(method="gan", steps=10),
        gan(n_models=2, on_step=lambda m: isinstance(m, synth.Synthesizer), every=2),
    ):
        rows = made.sample(3000, model=made.n_models - 1)
        train, shares = FED.pooled().train, made.arrays["label_shares"][made.n_models - 1]
        assert (shares[1] == pytest.approx(train["event"].mean())) == (made.method == "gan")
        assert list(rows) == list(train) and rows["event"].mean() == pytest.approx(shares[1], abs=0.03)
        assert rows["age"].dropna().between(20, 90).all() and set(made.sample(20, where={"event": 1})["event"]) == {1}
        assert made.losses.shape[2] == made.n_models and "critic_steps" in rows.attrs["synthetic"]["training"]


def test_a_gan_on_warm_tables_learns_what_they_say():
    made = gan(
        **WARM
        | dict(
            warm_steps=1200,
            steps=0,
            generator_hidden=(64, 64),
            hidden=(32, 32),
            privacy=RecordDP(epsilon=8.0, secure=False),
        )
    )
    assert fidelity.utility(made.sample(1500), FED.pooled().test, target="event") > 0.65


def test_files_and_seeds(tmp_path):
    made = gan()
    made.save(tmp_path / "gan")
    assert synth.load(tmp_path / "gan").sample(30, seed=2).equals(made.sample(30, seed=2))
    assert np.array_equal(gan().arrays["layer_0"], made.arrays["layer_0"])
    assert not np.array_equal(gan(privacy=RecordDP(epsilon=2.0)).arrays["layer_0"], made.arrays["layer_0"])


def test_values_without_a_place_get_one():
    frame = patients()
    frame.loc[::4, ["marker", "ward"]] = np.nan
    made = gan(federation(frame), schema=data.Schema(gaps=()))
    assert made.sample(100).notna().all().all()


@pytest.mark.parametrize(
    ("about", "change"),
    [
        ("dp_gan", dict(method="gan", privacy=ONE)),
        ("privacy", dict(privacy=None)),
        ("'pack'", dict(pack=2)),
        ("drop", dict(drop={1: "mask"}, aggregator=secagg.PrivateSum())),
        ("warm_up", dict(warm_up=1)),
        ("on_step", dict(on_step=3)),
        ("steps", dict(steps=-1)),
        ("'batch_size'", dict(method="tables")),
        ("adds noise", dict(method="gan", privacy=None, aggregator=secagg.PrivateSum())),
    ],
)
def test_bad_arguments_get_a_sentence(about, change):
    with one_sentence(about):
        gan(**{"method": "dp_gan"} | change)


def test_a_numerical_target_is_refused():
    fed = federation(patients().assign(event=lambda f: f["age"] * 2.0), task="regression")
    known = data.Schema(bounds=PUBLIC["bounds"] | {"event": (0, 300)})
    with one_sentence("no classes"):
        gan(fed, schema=known)


# ---------------------------------------------------------------- an audit of the critics

MODELS = 900  # of which a third chooses the threshold


def audited(aggregator):
    """What one critic step of many models shows of a record, which is blank in half of them.

    Nobody but that record has anything in the last column; it is far longer than the clip norm.
    """
    rng, present = np.random.default_rng(0), np.arange(MODELS) % 2 == 1
    parts = [np.c_[rng.normal(0, 0.3, (7, 3)), np.zeros(7)].astype(np.float32) for _ in range(3)]
    one = fleet.init(1, (4, 5, 1), seed=1)

    def pull(record):
        return real_side.gradients(one, torch.tensor([[record]]), torch.ones(1, 1), real=True)[0][0, 0]

    record = max(([0.0, 0.0, 0.0, far] for far in (50.0, -50.0)), key=lambda r: pull(r).norm())
    parts[0][0], own = record, pull(record)
    critics = one[torch.zeros(MODELS, dtype=torch.int64)]
    promise = RecordDP(epsilon=3.0, secure=False)
    about = (np.array([7, 7, 7]), 21, 1, MODELS, one.n_parameters, promise, as_aggregator(aggregator), (), 1, 0)
    hospitals = real_side.Hospitals(parts, real_side.Setting(["A", "B", "C"], *about, [(k,) for k in range(MODELS)]))
    batch = hospitals._batch

    def blank():
        X, weight, blocks = batch()
        return X, weight * torch.where((X[..., 3] != 0) & ~torch.from_numpy(present)[:, None], 0.0, 1.0), blocks

    hospitals._batch = blank
    leave, left = hospitals.protection.leave, []
    hospitals.protection.leave = lambda sums: left.append(leave(sums)) or left[0]
    total = hospitals.gradient(critics)
    seen = total if aggregator else left[0][0]  # in the open, what its own hospital sends
    score = seen @ (own / own.norm())
    spent = max(e.mechanism.epsilon for e in hospitals.protection.entries(1, 0) if e.mechanism)
    return audit.judge(score.numpy()[:, None].astype(float), present, np.ones(1), gaussian=True), spent


@pytest.mark.parametrize("aggregator", [None, secagg.PrivateSum()])
def test_an_audit_of_the_critics_stays_below_the_bound(aggregator):
    found, spent_ = audited(aggregator)
    assert found.models == MODELS * 2 // 3 and found.lower <= found.refined <= spent_ <= 3.0 and found.refined > 0.8


@pytest.mark.parametrize("aggregator", [None, secagg.PrivateSum()])
def test_the_same_audit_convicts_critics_that_clip_at_three_times_the_length(aggregator, monkeypatch):
    exact = real_side.gradients
    monkeypatch.setattr(
        real_side, "gradients", lambda *a, max_norm=None, **k: exact(*a, max_norm=max_norm and 3.0, **k)
    )
    found, spent_ = audited(aggregator)
    assert found.refined > 1.3 * spent_

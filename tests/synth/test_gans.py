"""GANs over hospitals by `fit_federated`: one budget for labels and critics, tables to warm up on, public columns."""

import numpy as np
import pytest

from fedlab_utils import data, fidelity, secagg, synth
from fedlab_utils.privacy import RecordDP
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

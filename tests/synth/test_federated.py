"""Synthetic patients from several hospitals: equal to pooled sums, public knowledge alone, honest books, odd tables."""

from dataclasses import replace

import dp_accounting
import numpy as np
import pandas as pd
import pytest
from dp_accounting import pld

from fedlab_utils import data, fidelity, secagg, synth
from fedlab_utils.privacy import HospitalDP, RecordDP
from fedlab_utils.secagg import TooFewError
from fedlab_utils.synth import public, sums
from tests.refusals import one_sentence

METHODS = sums.METHODS
PUBLIC = dict(bounds={"age": (20, 90), "marker": (0, 10)}, categories={"sex": ["f", "m"], "ward": ["i", "j", "k"]})
ONE = RecordDP(epsilon=1.0, secure=False)
BLANK = dp_accounting.NeighboringRelation.REPLACE_SPECIAL


def patients(n=600, seed=0):
    rng = np.random.default_rng(seed)
    age = rng.integers(20, 91, n)
    frame = pd.DataFrame({"age": age, "sex": rng.choice(["f", "m"], n), "marker": np.round(rng.gamma(2, 1.5, n), 1)})
    frame["ward"] = rng.choice(["i", "j", "k"], n, p=[0.6, 0.3, 0.1])
    frame["site"] = rng.choice(["A", "B", "C", "D"], n)
    frame["event"] = (rng.random(n) < 0.1 + 0.5 * (age > 60)).astype(int)
    return frame


def federation(frame=None, **change):
    known = dict(target="event", hospital="site") | PUBLIC | change
    return data.from_frame(patients() if frame is None else frame, **known)


FED = federation()
QUIET = {method: synth.fit_federated(FED, method=method) for method in METHODS}


@pytest.fixture(autouse=True)
def fewer_steps(monkeypatch):
    monkeypatch.setattr(sums, "STEPS", 150)


# ---------------------------------------------------------------- sums


@pytest.mark.parametrize("method", METHODS)
def test_masked_sums_and_sums_of_other_hospitals_give_the_same_bits(method):
    open_, masked = QUIET[method], synth.fit_federated(FED, method=method, aggregator=secagg.SecureSum())
    elsewhere = synth.fit_federated(FED.repartition(2, None, seed=5), method=method)
    for other in (masked, elsewhere):
        for name, array in synth.fit_federated(FED, method=method).arrays.items():
            assert np.array_equal(array, other.arrays[name]), name
    assert open_.ledger.table()["viewer"].eq("server").all()


@pytest.mark.parametrize("method", METHODS)
def test_what_is_drawn_has_the_columns_and_the_make_of_the_rows(method):
    made, train = QUIET[method].sample(4000, seed=2), FED.pooled().train
    assert list(made) == list(train) and made.dtypes.equals(train.dtypes)
    assert made["age"].between(20, 90).all() and (made["age"] % 1 == 0).all()
    assert (made["marker"] * 10).round(6).mod(1).eq(0).all()
    assert made["event"].mean() == pytest.approx(train["event"].mean(), abs=0.03)
    old = [frame.loc[frame["age"] > 60, "event"].mean() for frame in (made, train)]
    assert old[0] == pytest.approx(old[1], abs=0.07)
    again = FED.replace_train({h.name: made for h in FED.hospitals})
    assert again.n_features == FED.n_features
    assert fidelity.utility(made, FED.pooled().test, target="event") > 0.7


def test_the_copula_and_the_pairs_keep_columns_that_decide_together_and_tables_do_not():
    rng = np.random.default_rng(4)
    a, b = rng.choice(["n", "y"], (2, 4000))
    frame = pd.DataFrame({"a": a, "b": b, "event": ((a == b) ^ (rng.random(4000) < 0.1)).astype(int)})
    known = dict(categories={"a": ["n", "y"], "b": ["n", "y"]}, n_hospitals=3)
    fed = data.from_frame(frame, target="event", **known)
    share = {}
    for method in METHODS:
        made = synth.fit_federated(fed, method=method, privacy=ONE).sample(4000)
        share[method] = ((made["a"] == made["b"]) == (made["event"] == 1)).mean()
    assert share["tables"] == pytest.approx(0.5, abs=0.05)
    assert share["copula"] > 0.8 and share["pairs"] > 0.8


def test_given_labels_are_drawn_directly_and_files_hold_everything(tmp_path):
    for method, made in QUIET.items():
        ill = made.sample(300, seed=1, where={"event": 1, "sex": "f"})
        assert set(ill["event"]) == {1} and set(ill["sex"]) == {"f"}
        made.save(tmp_path / method)
        back = synth.load(tmp_path / method)
        pd.testing.assert_frame_equal(back.sample(50, seed=3), made.sample(50, seed=3))
        assert back.about == made.about and back.bins == made.bins


def test_a_table_says_where_it_came_from():
    made = synth.fit_federated(FED, privacy=ONE, aggregator=secagg.PrivateSum(), n_models=2, seed=3)
    about = made.sample(5, model=1, seed=8).attrs["synthetic"]
    assert about["method"] == made.method and (about["model"], about["seed"], about["models"]) == (1, 8, 2)
    assert "epsilon" in about["promise"] and "demonstration" in about["promise"] and "shares" in about["sums"]
    assert about["columns"]["age"] == "20 to 90, by 0.1, or missing" and about["columns"]["sex"] == "f, m, or missing"
    assert QUIET["tables"].sample(5).attrs["synthetic"]["promise"] == "none: not private"
    assert synth.fit(patients(), method="copula").sample(5).attrs["synthetic"]["method"] == "copula"
    assert not np.array_equal(*made.arrays["tables"])  # each model has noise of its own


# ---------------------------------------------------------------- the books


def spent(noises, delta=1e-5):
    """Epsilon of several Gaussian releases, by dp-accounting alone."""
    accountant = pld.PLDAccountant(BLANK)
    for noise in noises:
        accountant.compose(dp_accounting.GaussianDpEvent(noise))
    return accountant.get_epsilon(delta)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("aggregator", [None, secagg.SecureSum(), secagg.PrivateSum(colluding=1)])
def test_the_budget_asked_is_the_budget_spent(method, aggregator):
    made = synth.fit_federated(FED, method=method, privacy=ONE, aggregator=aggregator)
    assert 0.98 < made.ledger.epsilon() <= 1.0
    assert made.ledger.private.table()["hospital"].nunique() == 4 and not len(made.ledger.unprotected)
    noises = made.ledger.table().query("hospital == 'A' and viewer == 'server'")["noise_multiplier"].tolist()
    assert len(noises) == (2 if method == "copula" else 1)
    if aggregator is None:
        assert spent(noises) == pytest.approx(made.ledger.epsilon(), rel=0.005)
        if method == "copula":
            assert (noises[1] / noises[0]) ** 2 == pytest.approx(0.6 / 0.4)


def test_every_model_pays_and_patients_with_several_records_pay_more():
    twice = synth.fit_federated(FED, method="tables", privacy=ONE, n_models=2)
    (noise,) = set(twice.ledger.table()["noise_multiplier"])
    assert twice.ledger.epsilon() == pytest.approx(spent([noise, noise]), rel=0.005)
    frame = patients().assign(person=np.arange(600) // 2)
    visits = federation(frame, patient="person")
    for aggregator in (None, secagg.PrivateSum()):
        made = synth.fit_federated(visits, method="tables", privacy=ONE, aggregator=aggregator)
        assert made.ledger.epsilon_of_patients() > 2 * made.ledger.epsilon() * 0.99


def test_the_transcript_holds_all_that_was_sent_and_nothing_else_is_listed():
    made = synth.fit_federated(FED, method="copula", privacy=ONE)
    levels = sum(sums.Levels(made.encoder, made.bins).sizes[c] for c in ("age", "sex", "marker", "ward"))
    assert made.transcript.groupby("what")["bytes"].agg(["size", "max"]).to_dict("index") == {
        "noisy label-wise tables": {"size": 4, "max": 8 * 2 * levels},
        "label-wise tables": {"size": 1, "max": 8 * 2 * levels},
        "noisy label-wise products of scores": {"size": 4, "max": 8 * 2 * (6 + 1)},
        "correlations": {"size": 1, "max": 8 * 2 * (6 + 1)},
    }
    masked = synth.fit_federated(FED, method="tables", privacy=ONE, aggregator=secagg.PrivateSum()).transcript
    assert (masked["what"] == "masked noisy label-wise tables").sum() == 4
    assert set(masked["sender"]) | set(masked["receiver"]) == {"A", "B", "C", "D", "server"}


def test_hospitals_that_fall_silent_are_left_out_and_too_few_stop_it():
    masked = dict(method="tables", aggregator=secagg.SecureSum())
    without = synth.fit_federated(FED, drop={1: "mask"}, **masked)
    rest = [len(h.train) for k, h in enumerate(FED.hospitals) if k != 1]
    assert without.about["rows"] == sum(rest)
    with pytest.raises(TooFewError):
        synth.fit_federated(FED, drop={1: "mask", 2: "mask", 3: "mask"}, **masked)


def test_noise_is_drawn_anew_unless_it_is_a_demonstration():
    def shares(**change):
        promise = RecordDP(epsilon=1.0, **change)
        return synth.fit_federated(FED, method="tables", privacy=promise).arrays["tables"]

    assert np.array_equal(shares(secure=False), shares(secure=False))
    assert not np.array_equal(shares(), shares())


@pytest.mark.parametrize(
    ("rows", "epsilon", "method"),
    [(400, 1.0, "tables"), (400, None, "tables"), (3000, 0.5, "tables"), (3000, 1.0, "copula"), (3000, 3.0, "pairs"),
     (3000, None, "pairs")],
)  # fmt: skip
def test_a_method_is_chosen_by_what_is_public_and_says_so(rows, epsilon, method):
    fed = federation(patients(rows * 10 // 7))
    promise = None if epsilon is None else RecordDP(epsilon=epsilon, secure=False)
    made = synth.fit_federated(fed, privacy=promise)
    assert made.method == method and len(made.about["chosen"]) > 8
    assert QUIET["copula"].about["chosen"] == "as asked"


# ---------------------------------------------------------------- public knowledge


def shuffled(frame):
    """Other patients: every column by itself in another order, some values changed."""
    rng = np.random.default_rng(9)
    frame = frame.assign(**{c: frame[c].sample(frac=1, random_state=k).values for k, c in enumerate(["age", "marker"])})
    return frame.assign(age=np.clip(frame["age"] + rng.integers(-9, 9, len(frame)), 25, 80), sex="m", ward="i")


def test_under_a_promise_how_columns_are_written_down_does_not_depend_on_rows():
    frame = patients()
    gaps = shuffled(frame)
    gaps.loc[::3, ["age", "marker", "ward"]] = np.nan
    for other in (shuffled(frame), gaps):
        described = [public.describe(federation(f), None, promised=True) for f in (frame, other)]
        assert described[0] == described[1] and not described[0].told
    told = [public.describe(federation(f, bounds=None), None, promised=False) for f in (frame, gaps)]
    assert told[0].encoder != told[1].encoder and told[0].told  # it is a test that can fail


def test_columns_without_public_knowledge_are_refused_all_at_once():
    frame = patients()
    bare = data.from_frame(frame, target="event", hospital="site")
    with one_sentence("'age' and 'marker'") as reason:
        synth.fit_federated(bare, privacy=ONE)
    assert "'sex' and 'ward'" in str(reason.value) and "bounds={'age': (low, high)" in str(reason.value)
    known = data.Schema(bounds=PUBLIC["bounds"], categories=PUBLIC["categories"])
    assert synth.fit_federated(bare, privacy=ONE, schema=known).ledger.epsilon() > 0.9
    entry = synth.fit_federated(bare, method="tables").ledger.table()
    told = entry[entry["what"] == "what columns hold"]
    assert len(told) == 4 and told["guarantee"].eq("not private").all()
    assert "bounds of 2 columns" in told["detail"].iloc[0] and "categories of 2 columns" in told["detail"].iloc[0]


def test_cards_make_the_data_sets_private_and_gaps_and_granularity_are_kept():
    known = replace(data.Schema(), gaps=("marker",), granularity={"age": 1, "marker": 0.5})
    made = synth.fit_federated(FED, method="tables", privacy=ONE, schema=known).sample(3000)
    assert made[["age", "sex", "ward"]].notna().all().all() and (made["marker"].dropna() * 2 % 1 == 0).all()
    for name in ("hospital_network", "breast_cancer", "diabetes"):
        fed = data.load(name)
        made = synth.fit_federated(fed, method="tables", privacy=ONE, aggregator=secagg.PrivateSum())
        assert made.sample(50).columns.equals(fed.pooled().train.columns)
        holes = set(fed.pooled().train.columns[fed.pooled().train.isna().any()])
        assert holes <= {c.name for c in made.encoder.columns if c.missing}


def test_values_that_public_knowledge_has_no_place_for_count_nowhere():
    known = data.Schema(gaps=())
    frame = patients()
    frame.loc[frame.index[:60], "marker"] = np.nan
    fed = federation(frame)
    coded = sums.Coded(*levels_of(fed, known))
    missing = fed.pooled().train["marker"].isna().sum()
    assert (np.concatenate(coded.codes)[:, 2] == -1).sum() == missing > 20
    table = np.split(sums.label_tables(coded).sum(0).reshape(2, -1), np.cumsum(coded.sizes)[:-1], axis=1)[2]
    assert table.sum() == coded.rows - missing
    assert synth.fit_federated(fed, method="pairs", privacy=ONE, schema=known).sample(200)["marker"].notna().all()


def levels_of(fed, known):
    levels = sums.Levels(public.describe(fed, known, promised=True).encoder, 16)
    return levels, fed.target, [levels.codes(h.train) for h in fed.hospitals]


# ---------------------------------------------------------------- odd tables


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("promise", [None, ONE])
def test_odd_tables_work(method, promise):
    frame = patients(120)
    odd = {
        "one hospital without a value": frame.assign(marker=frame["marker"].where(frame["site"] != "A")),
        "constant column": frame.assign(marker=3.0),
        "twenty rows": frame[:20].assign(site=["A", "B"] * 10),
        "classes": frame.assign(event=np.arange(120) % 3),
        "a class with two patients": frame.assign(event=(np.arange(120) < 2).astype(int)),
    }
    for what, table in odd.items():
        made = synth.fit_federated(federation(table), method=method, privacy=promise).sample(60)
        assert list(made) == [c for c in frame if c != "site"] and made["event"].notna().all(), what
        assert set(made["event"]) <= set(table["event"]), what


@pytest.mark.parametrize("method", METHODS)
def test_a_numerical_target_is_drawn_within_its_bins(method):
    fed = federation(patients().assign(event=lambda f: 3.0 * f["age"] + 0.5), task="regression")
    made = synth.fit_federated(fed, method=method).sample(2000)
    assert made[["age", "event"]].corr().iloc[0, 1] > 0.9
    with one_sentence("'event'"):
        synth.fit_federated(fed, method=method, privacy=ONE)
    known = data.Schema(bounds={"event": (0, 300)})
    assert synth.fit_federated(fed, method=method, privacy=ONE, schema=known).sample(20)["event"].between(0, 300).all()


def test_two_hundred_columns_work_as_tables_and_are_too_many_for_pairs():
    rng = np.random.default_rng(0)
    names = [f"x{k}" for k in range(200)]
    frame = pd.DataFrame(rng.normal(size=(150, 200)).clip(-4, 4), columns=names)
    frame["event"] = (frame["x0"] > 0).astype(int)
    fed = data.from_frame(frame, target="event", bounds={c: (-4, 4) for c in names}, n_hospitals=2)
    for method in ("tables", "copula"):
        assert synth.fit_federated(fed, method=method, privacy=ONE).sample(10).shape == (10, 201)
    with one_sentence("pairs"):
        synth.fit_federated(fed, method="pairs")


def test_ever_so_many_bins_work_or_get_a_sentence():
    frame = patients(200).drop(columns=["age", "marker"]).assign(event=np.linspace(0, 1, 200))
    fed = federation(frame, task="regression", bounds=None)
    assert len(synth.fit_federated(fed, method="pairs", bins=1500).sample(20)) == 20  # fewer rows than labels
    known = data.Schema(bounds=PUBLIC["bounds"], granularity={"age": 1e-5, "marker": 1e-6})
    for method in METHODS:
        with one_sentence("fewer bins"):
            synth.fit_federated(FED, method=method, schema=known, bins=10**7)


def test_hospitals_whose_numbers_have_other_steps_agree_on_one_that_fits_all():
    frame = patients().assign(age=lambda f: 20 + np.where(f["site"] == "A", 4, 6) * (f["age"] // 10))
    frame["marker"] = np.where(frame["site"] == "A", 0.5, 0.2) * (frame["age"] % 11)
    described = public.describe(federation(frame), None, promised=False).encoder
    assert described["age"].step == 2 and described["marker"].step == pytest.approx(0.1)
    pooled = federation(frame.assign(site=np.where(frame.index < 300, "A", "B")))
    assert public.describe(pooled, None, promised=False).encoder["age"].step == 2


def test_a_list_of_values_need_not_begin_at_the_lower_bound():
    known = data.Schema(bounds={"age": (20, 90)}, granularity={"age": [25, 40, 90]})
    for promise in (None, ONE):
        made = synth.fit_federated(FED, method="tables", privacy=promise, schema=known).sample(200)
        assert set(made["age"].dropna()) <= {25, 40, 90}


@pytest.mark.parametrize(
    ("about", "change"),
    [
        ("federation", dict(federation=None)),
        ("method", dict(method="merf")),
        ("method", dict(method=3)),
        ("privacy", dict(privacy=HospitalDP(epsilon=1.0))),
        ("privacy", dict(privacy=1.0)),
        ("privacy", dict(privacy=RecordDP(noise_multiplier=0.0))),
        ("delta", dict(privacy=RecordDP(epsilon=1.0, delta=0.02))),
        ("aggregator", dict(aggregator="masked")),
        ("schema", dict(schema={"age": (0, 1)})),
        ("schema", dict(schema=data.Schema(bounds={"agee": (0, 1)}))),
        ("bounds of the schema", dict(schema=data.Schema(bounds=None))),
        ("bounds['age'] of the schema", dict(schema=data.Schema(bounds={"age": (90, 20)}))),
        ("bounds['age'] of the schema", dict(schema=data.Schema(bounds={"age": (50, 50)}))),
        ("bounds['age'] of the schema", dict(schema=data.Schema(bounds={"age": (0, float("inf"))}))),
        ("bounds['age'] of the schema", dict(schema=data.Schema(bounds={"age": "ab"}))),
        ("bounds['sex'] of the schema", dict(schema=data.Schema(bounds={"sex": (0, 1)}))),
        ("bounds['event'] of the schema", dict(schema=data.Schema(bounds={"event": (0, 1)}))),
        ("granularity['sex'] of the schema", dict(schema=data.Schema(granularity={"sex": 1}))),
        ("categories['age'] of the schema", dict(schema=data.Schema(categories={"age": ("1", "2")}))),
        ("categories['sex']", dict(schema=data.Schema(categories={"sex": "fm"}))),
        ("categories['sex']", dict(schema=data.Schema(categories={"sex": ("f", "f", "m")}))),
        ("categories['sex']", dict(schema=data.Schema(categories={"sex": ()}))),
        ("categories['sex']", dict(schema=data.Schema(categories={"sex": 3}))),
        ("categories['event'] of the schema", dict(schema=data.Schema(categories={"event": (0,)}))),
        ("gaps of the schema", dict(schema=data.Schema(gaps="age"))),
        ("bins", dict(bins=1)),
        ("bins", dict(bins=2.5)),
        ("viewer", dict(viewer="anybody")),
        ("drop", dict(drop=[1])),
        ("drop", dict(drop={1: "mask"})),
        ("seed", dict(seed=-1)),
        ("n_models", dict(n_models=0)),
        ("bits", dict(aggregator=secagg.SecureSum(bits=8), method="tables")),
        ("bits", dict(aggregator=secagg.PrivateSum(bits=8), method="tables", privacy=ONE)),
    ],
)
def test_bad_arguments_get_a_sentence(about, change):
    given = {"federation": FED} | change
    with one_sentence(about):
        synth.fit_federated(given.pop("federation"), **given)

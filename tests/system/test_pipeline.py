"""A whole system, stage by stage: what it does and costs, and that the documents' systems are what they describe."""

from dataclasses import replace

import dp_accounting
import numpy as np
import pandas as pd
import pytest
from dp_accounting import pld
from scipy.special import gammaln

from fedlab_utils import data, encrypted, secagg, system
from fedlab_utils.privacy import HospitalDP, RecordDP
from fedlab_utils.system import PRESETS, Checks, Data, Promise, Settings, Sum, Synthetic, Training, membership, pipeline
from tests.refusals import one_sentence

QUICK = Training(rounds=2, hidden=())
BARE = Settings(training=QUICK, checks=Checks(attack=False))
RECORD = Promise(unit="record", epsilon=2.0)
HOSPITALS = Promise(unit="hospital", epsilon=2.0, delta=0.01)
PUBLIC = dict(bounds={"age": (20, 90), "marker": (0, 10)}, categories={"sex": ["f", "m"]})


def patients(n=240, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"age": rng.integers(20, 91, n), "sex": rng.choice(["f", "m"], n), "site": ["A", "B", "C"] * (n // 3)}
    )
    frame["marker"] = np.round(rng.gamma(2, 1.5, n), 1).clip(0, 10)
    return frame.assign(event=(rng.random(n) < 0.1 + 0.6 * (frame["age"] > 60)).astype(int))


def federations(n=2, **change):
    return data.replicates(patients(), n, **(dict(target="event", hospital="site") | PUBLIC | change))


FEDS = federations()


def test_a_plain_training_has_its_stages_in_order_and_its_baselines():
    out = system.run(BARE, federation=FEDS)
    assert out.stages == ("hospitals", "training", "baselines", "clinic") == tuple(out.seconds)
    assert set(out.table()["model"]) == {"federated", "majority", "local-only", "pooled"}
    assert (out.table()["splits"] == 2).all() and list(out.by_hospital()["hospital"]) == ["A", "B", "C"]
    assert set(out.clinical["hospital"]) == {"A", "B", "C", "all"} and len(out.calibration)
    assert out.views().set_index("viewer")["sees"]["server"] == "single updates"
    assert out.traffic()["bytes"].sum() > 0 and not len(out.ledger.private)


def test_systems_side_by_side_share_what_they_have_in_common_and_nothing_else():
    first = system.run(BARE, federation=FEDS)
    masked = replace(BARE, sum=Sum(through="masked"))
    other = replace(masked, training=replace(QUICK, rounds=1))
    alone, beside = (system.run(masked, federation=FEDS, earlier=e) for e in ((), first))
    third = system.run(other, federation=FEDS, earlier={"a": first, "b": beside}.values())
    assert beside.federations is first.federations and beside.baselines is first.baselines
    assert beside.trained is not first.trained and beside.trained.transcript is not None
    assert third.federations is first.federations and third.baselines is not first.baselines
    pd.testing.assert_frame_equal(alone.table(), beside.table())
    pd.testing.assert_frame_equal(alone.views(), beside.views())
    assert alone.ledger.table().equals(beside.ledger.table())


def test_baselines_are_those_of_any_system_that_trains_so_long_on_the_same_hospitals():
    first = system.run(BARE, federation=FEDS)
    change = dict(strategy="uniform", participation=0.8, dropout=0.1)
    beside = system.run(replace(BARE, training=replace(QUICK, **change)), federation=FEDS, earlier=first)
    alone = system.run(replace(BARE, training=replace(QUICK, **change)), federation=FEDS)
    assert beside.baselines is first.baselines and beside.trained is not first.trained
    pd.testing.assert_frame_equal(alone.baselines, beside.baselines)


def test_what_rests_on_noise_of_another_run_is_not_taken_over():
    about = Data("own", target="event", hospital="site", statistics_epsilon=1.0, **PUBLIC)
    settings, table = replace(BARE, data=about), patients()
    some = system.run(settings, table=table, on_progress=lambda o: True)
    whole = system.run(settings, table=table)
    found = system.run(settings, table=table, earlier=[some, whole])
    assert some.stages == ("hospitals",) and found.federations is some.federations
    assert found.trained is not whole.trained and found.baselines is not whole.baselines
    assert system.run(settings, table=table, earlier=[whole, some]).trained is whole.trained
    for wrong in ([some, "x"], 3):
        with pytest.raises(ValueError, match=r"earlier must be an outcome of system\.run, or .*; got ('x'|3)"):
            system.run(settings, table=table, earlier=wrong)


def test_a_run_can_be_stopped_after_any_stage_and_keeps_what_is_done():
    settings = replace(
        BARE, synthetic=Synthetic(where="federated", method="tables"), training=replace(QUICK, on="both")
    )
    whole = system.run(settings, federation=FEDS[0])
    for k, stage in enumerate(whole.stages):
        out = system.run(settings, federation=FEDS[0], on_progress=lambda o, s=stage: s in o.stages)
        assert out.stages == whole.stages[: k + 1]
        assert (out.trained is not None) == ("training" in out.stages)
        assert out.table().shape[1] == whole.table().shape[1]


def test_without_a_promise_two_runs_give_the_same_numbers_and_with_one_they_do_not():
    same = [system.run(BARE, federation=FEDS).table() for _ in range(2)]
    pd.testing.assert_frame_equal(*same)
    private = replace(BARE, promise=RECORD)
    for demonstration in (True, False):
        runs = [system.run(replace(private, demonstration=demonstration), federation=FEDS) for _ in range(2)]
        equal = [r.trained.params.flat().numpy() for r in runs]
        assert np.array_equal(*equal) == demonstration
        assert runs[0].ledger.epsilon() == pytest.approx(runs[1].ledger.epsilon())
        assert ("demonstration" in " ".join(runs[0].ledger.check())) == demonstration


def test_statistics_of_two_private_runs_agree_though_their_digits_do_not():
    private = replace(BARE, promise=replace(RECORD, epsilon=20.0), training=Training(rounds=8, hidden=()))
    first, second = (system.run(private, federation=federations(4)).table().set_index("model") for _ in range(2))
    both = first.loc["federated"], second.loc["federated"]
    assert both[0]["mean"] != both[1]["mean"] and both[0]["mean"] == pytest.approx(both[1]["mean"], abs=0.08)
    assert first.loc["pooled", "mean"] == second.loc["pooled", "mean"]


@pytest.mark.parametrize(
    ("settings", "kind", "through"),
    [
        (replace(BARE, promise=RECORD, sum=Sum(through="masked", threshold=2)), RecordDP, secagg.SecureSum),
        (replace(BARE, promise=HOSPITALS, sum=Sum(through="masked")), HospitalDP, secagg.PrivateSum),
        (replace(BARE, sum=Sum(through="encrypted")), type(None), encrypted.EncryptedSum),
        (BARE, type(None), type(None)),
    ],
)  # fmt: skip
def test_promises_and_sums_become_what_the_course_has(settings, kind, through):
    assert isinstance(pipeline.promise(settings), kind) and isinstance(pipeline.aggregator(settings), through)
    out = system.run(replace(settings, sum=replace(settings.sum, threshold=None)), federation=FEDS[0])
    assert out.stages[-1] == "clinic"
    if kind is not type(None):
        assert pipeline.promise(settings).secure and 0.95 * 2 < out.ledger.epsilon() <= 2.0


def composed(*noises, delta=1e-5):
    """Epsilon of Gaussian releases, by dp-accounting alone."""
    accountant = pld.PLDAccountant(dp_accounting.NeighboringRelation.REPLACE_SPECIAL)
    for event, count in noises:
        accountant.compose(event, count)
    return accountant.get_epsilon(delta)


def test_one_ledger_adds_up_statistics_table_and_training():
    settings = Settings(
        training=QUICK, promise=RECORD, synthetic=Synthetic(where="federated", method="tables", epsilon=1.0),
        checks=Checks(attack=False), demonstration=True,
    )  # fmt: skip
    private = federations(1, statistics=RecordDP(epsilon=0.5, secure=False))
    out = system.run(settings, federation=private)
    noises = []
    for entry in out.ledger.private.entries:
        if entry.hospital == "A":
            m, gauss = entry.mechanism, dp_accounting.GaussianDpEvent(entry.mechanism.noise_multiplier)
            sampled = gauss if m.sampling == 1 else dp_accounting.PoissonSampledDpEvent(m.sampling, gauss)
            noises.append((sampled, m.steps))
    assert len(noises) == 3
    assert out.ledger.epsilon() == pytest.approx(composed(*noises), rel=0.01) and 2.0 < out.ledger.epsilon() < 3.5
    assert [e.what for e in out.ledger.unprotected.entries] == ["metrics on test rows"]
    two = system.run(settings, federation=federations(2, statistics=RecordDP(epsilon=0.5, secure=False)))
    assert two.displayed.epsilon() > two.ledger.epsilon() * 1.2


@pytest.mark.parametrize(("on", "times"), [("synthetic", 1), ("both", 2)])
def test_private_statistics_of_real_rows_are_paid_for_whatever_is_trained_on(on, times):
    """They were released; hospitals that hold other rows agree anew, and where these hold patients, pay anew."""
    settings = Settings(
        training=replace(QUICK, on=on), synthetic=Synthetic(where="federated", method="tables", epsilon=1.0),
        checks=Checks(attack=False), demonstration=True,
    )  # fmt: skip
    out = system.run(settings, federation=federations(1, statistics=RecordDP(epsilon=0.5, secure=False)))
    spent = [e.mechanism.noise_multiplier for e in out.ledger.private.entries if e.hospital == "A"]
    assert len(spent) == 1 + times
    exact = composed(*[(dp_accounting.GaussianDpEvent(noise), 1) for noise in spent])
    assert out.ledger.epsilon() == pytest.approx(exact, rel=0.01)


def test_patients_who_are_dealt_out_anew_have_one_ledger_too():
    """Noise in shares is the same for all hospitals, and so composes wherever a patient was."""
    own = Data(table="own", target="event", hospitals=3, drop=("site",), statistics_epsilon=0.5, **PUBLIC)
    settings = Settings(
        data=own, synthetic=Synthetic(where="federated", method="copula", epsilon=1.0), training=QUICK,
        promise=RECORD, sum=Sum(through="masked"), checks=Checks(attack=False),
    )  # fmt: skip
    out = system.run(settings, table=patients())
    assert 2.0 < out.ledger.epsilon() < out.displayed.epsilon() < 2 * out.ledger.epsilon()


def test_rows_invented_beside_real_ones_do_not_deal_patients_out_anew():
    settings = Settings(
        training=replace(QUICK, on="both"), promise=RECORD, checks=Checks(attack=False),
        synthetic=Synthetic(where="federated", method="tables", epsilon=1.0),
    )  # fmt: skip
    out = system.run(settings, federation=federations(2, statistics=RecordDP(epsilon=0.5)))
    assert len({e.dealing for e in out.displayed.private.entries} - {None}) == 1
    assert out.ledger.epsilon() < out.displayed.epsilon() < 2 * out.ledger.epsilon()


def test_training_on_invented_rows_promises_what_their_table_does():
    made = dict(training=replace(QUICK, on="synthetic"), checks=Checks(attack=False))
    private = Settings(synthetic=Synthetic(where="federated", method="tables", epsilon=1.0), **made)
    out = system.run(private, federation=FEDS[0])
    assert 0.98 < out.ledger.epsilon() <= 1.0
    assert {e.what for e in out.ledger.unprotected.entries} == {"metrics on test rows"}
    bare = Settings(synthetic=Synthetic(where="local", method="copula"), **made)
    out = system.run(bare, federation=FEDS[0])
    assert not len(out.ledger.private) and "synthetic table" in {e.what for e in out.ledger.unprotected.entries}
    rows = {h.name: len(h.train) for h in out.federations[0].hospitals}
    assert {name: len(frame) for name, frame in out.synthetic[0].items()} == rows
    twice = replace(bare, synthetic=replace(bare.synthetic, rows=2.0), training=replace(QUICK, on="both"))
    out = system.run(twice, federation=FEDS[0])
    assert {h.name: len(h.train) for h in out.trained_on[0].hospitals} == {name: 3 * n for name, n in rows.items()}


def test_own_tables_go_the_same_way(tmp_path):
    own = Data(
        table="own",
        target="event",
        hospital="site",
        drop=("name",),
        bounds=PUBLIC["bounds"],
        categories=PUBLIC["categories"],
    )
    frame = patients().assign(name=[f"patient {k}" for k in range(240)])
    out = system.run(replace(BARE, data=own), table=frame)
    assert len(out.federations) == 2 and "name" not in out.federations[0].hospitals[0].train
    dealt = replace(own, hospital=None, drop=("name", "site"), hospitals=2, skew=0.5)
    assert len(system.run(replace(BARE, data=dealt), table=frame).federations[0].hospitals) == 2
    with one_sentence("data.drop"):
        system.run(replace(BARE, data=replace(own, drop=("nam",))), table=frame)
    with one_sentence("table"):
        system.run(replace(BARE, data=own))
    with one_sentence("table"):
        system.run(BARE, table=frame)
    with one_sentence("table"):
        system.run(replace(BARE, data=own), table="my.csv")
    for several in (
        [],
        3,
        [FEDS[0], data.from_frame(frame[["sex", "site", "event"]], target="event", hospital="site")],
    ):
        with one_sentence("federation"):
            system.run(BARE, federation=several)
    with one_sentence("settings"):
        system.run({"name": "x"})
    with one_sentence("on_progress"):
        system.run(BARE, on_progress=3)


def test_a_number_to_predict_has_public_bounds_in_the_settings():
    own = Data(
        table="own", target="age", hospital="site", bounds=PUBLIC["bounds"] | {"event": (0, 1)},
        categories=PUBLIC["categories"],
    )  # fmt: skip
    made = Synthetic(where="federated", method="tables", epsilon=1.0)
    for statistics in (None, 0.5):
        settings = replace(BARE, data=replace(own, statistics_epsilon=statistics), synthetic=made)
        out = system.run(settings, table=patients())
        assert all(frame["age"].between(20, 90).all() for frame in out.synthetic[0].values())


@pytest.mark.parametrize(
    ("path", "change"),
    [
        ("sum.threshold", dict(sum=Sum(through="masked", threshold=9))),
        ("sum.threshold", dict(sum=Sum(through="masked", colluding=5))),
        ("participation", dict(sum=Sum(through="masked"), training=replace(QUICK, participation=0.3))),
        ("dropout", dict(sum=Sum(through="masked"), training=replace(QUICK, dropout=0.99))),
        ("epsilon", dict(sum=Sum(through="masked"), promise=replace(HOSPITALS, epsilon=0.01, delta=1e-12))),
        ("promise.delta", dict(promise=replace(RECORD, delta=0.1))),
        ("promise.delta", dict(promise=Promise(delta=0.1), synthetic=Synthetic(where="federated", epsilon=1.0))),
    ],
)
def test_what_does_not_fit_so_many_hospitals_and_rows_is_said_before_any_work(path, change):
    done = []
    with one_sentence(path):
        system.run(replace(BARE, **change), federation=FEDS, on_progress=done.append)
    assert not done


@pytest.mark.parametrize("target", ["diagnosis", "progression"])
def test_classes_and_numbers_go_the_same_way(target):
    frame = patients().assign(diagnosis=lambda f: f["age"] % 3, progression=lambda f: f["age"] * 1.7 + f["marker"])
    frame = frame.drop(columns=[c for c in ("event", "diagnosis", "progression") if c != target])
    fed = data.from_frame(frame, target=target, hospital="site", **PUBLIC)
    settings = replace(BARE, synthetic=Synthetic(where="federated", method="tables"), checks=Checks())
    out = system.run(settings, federation=fed)
    assert out.clinical is None and set(out.table()["measure"]) == {"loss" if target == "progression" else "auc"}
    assert out.attacks.empty == (target == "progression") and "attack" in out.stages


def test_the_ledger_before_a_training_on_invented_rows_has_the_private_statistics_too():
    private = Data(statistics_epsilon=1.0)
    tables = Synthetic(where="federated", method="tables", epsilon=1.0)
    settings = replace(BARE, data=private, synthetic=tables, training=replace(QUICK, on="synthetic"))
    feds = federations(statistics=RecordDP(1.0, secure=False))
    spent = [o.ledger.epsilon() for o in system.stages(settings, federation=feds)]
    assert spent == sorted(spent) and spent[1] > 1.2 and spent[1] == pytest.approx(spent[-1])


def test_attacks_stand_beside_their_control_and_the_bound(monkeypatch):
    monkeypatch.setattr(membership, "_SHADOWS", {"quick": 20})
    settings = Settings(
        training=QUICK, promise=RECORD, synthetic=Synthetic(where="federated", method="tables", epsilon=1.0)
    )
    out = system.run(settings, federation=FEDS[0])
    table = out.attacks
    assert list(table.columns) == membership.COLUMNS and set(table["what"]) == {"training", "synthetic table"}
    assert set(table.loc[table["what"] == "training", "viewer"]) == {"server", "hospital", "model user"}
    assert (table["control_auc"] > 0.6).all() and (table["control_tpr"] > table["fpr"]).all()
    for row in table.itertuples():
        epsilon = 2.0 if row.what == "training" else 1.0
        assert row.bound == pytest.approx(
            min(1, np.exp(epsilon) * row.fpr + 1e-5, 1 - np.exp(-epsilon) * (1 - 1e-5 - row.fpr))
        )
    assert system.run(BARE, federation=FEDS[0]).attacks is None


def test_systems_that_are_attacked_with_one_coin_share_their_control(monkeypatch):
    moved, fit = [], membership.synth.fit
    monkeypatch.setattr(membership, "_CONTROLS", {})
    monkeypatch.setattr(membership.synth, "fit", lambda *a, **k: moved.append(k["method"]) or fit(*a, **k))

    def control(method="tables", seed=0, fed=FEDS[0]):
        about = dict(training=replace(QUICK, on="synthetic"), synthetic=Synthetic(where="federated", method=method))
        found = system.run(replace(BARE, data=Data(seed=seed), checks=Checks(), **about), federation=fed).attacks
        return found["control_auc"].tolist(), moved.count("interpolate")

    alone = membership._TABLES["quick"]
    first, again = control(), control("copula")
    assert first == again and first[1] == alone
    assert control(seed=1)[1] == 2 * alone  # other coins
    assert control(fed=FEDS[1])[1] == 3 * alone  # other patients


def test_hospitals_with_next_to_no_rows_are_left_out_of_the_attack(monkeypatch):
    monkeypatch.setattr(system.membership, "_SHADOWS", {"quick": 20})
    frame = patients(120).assign(site=["A"] * 58 + ["B"] * 58 + ["C"] * 4)
    fed = data.from_frame(frame, target="event", hospital="site", **PUBLIC)
    for where, method in (("federated", "tables"), ("local", "copula")):
        out = system.run(
            replace(BARE, synthetic=Synthetic(where=where, method=method), checks=Checks()), federation=fed
        )
        kept = sum(len(h.train) for h in fed.hospitals[:2])
        assert (out.attacks["patients"] == kept).all() and len(fed.hospitals[2].train) < 8
    tiny = data.from_frame(frame.assign(site=["A"] * 112 + ["C"] * 8), target="event", hospital="site", **PUBLIC)
    assert system.run(replace(BARE, checks=Checks()), federation=tiny).attacks.empty


def test_a_training_in_which_every_line_fails_has_no_views():
    out = system.run(BARE, federation=FEDS)
    silent = replace(out, trained=replace(out.trained, messages=((), ())))
    assert silent.views().empty and list(silent.views()) == list(out.views())
    assert silent.traffic().empty and list(silent.traffic()) == list(out.traffic())


# ---------------------------------------------------------------- the documents


def test_taj_is_what_its_document_describes():
    """ "1. Original data is taken. 2. Using generative AI technique original data is converted to artificial data
    similar to original data. 3. For federated learning process synthetic data is taken." """
    s = PRESETS["taj"]
    assert s.synthetic.where == "local" and s.synthetic.method in ("gan", "wgan_gp") and s.training.on == "synthetic"
    assert not s.promises and s.sum.through == "open"


def test_poojari_is_what_its_document_describes():
    """Five rounds; noise on gradients, equation (3), after clipping; secure aggregation; rows of a generator that
    augment what is trained on (review, section 5). Invented rows need a promise of their own beside the training's."""
    s = PRESETS["poojari"]
    assert s.training.rounds == 5 and s.training.strategy == "fedavg" and s.training.on == "both"
    assert s.promise.unit == "record" and s.sum.through == "masked"
    assert s.synthetic.method == "dp_gan" and s.synthetic.epsilon is not None


def test_sharma_is_what_its_document_describes():
    """PE-GAI: identifiers removed; a generator under differential privacy, federated, of which only parameters are
    shared; fidelity, utility and membership inference."""
    s = PRESETS["sharma"]
    assert s.synthetic.where == "federated" and s.synthetic.method == "dp_gan" and s.training.on == "synthetic"
    assert s.checks.attack
    columns = data.load(s.data.table).hospitals[0].train.columns
    assert not {"name", "national_id", "phone", "record_id"} & set(columns)


def test_haque_is_what_its_document_describes():
    """Local preparation, local training with encrypted updates, aggregation of ciphertexts, distribution, iteration;
    beside centralised and local learning."""
    s = PRESETS["haque"]
    assert s.sum.through == "encrypted" and s.training.rounds > 1 and s.training.on == "real" and not s.promises


def test_7med_and_another_field_are_there():
    """ "Only the trained model updates, not the raw data, are shared"; [Taj]: "generalized to all fields"."""
    assert PRESETS["7med"].sum.through == "open" and not PRESETS["7med"].promises
    assert PRESETS["wine"].data.table == "wine"


@pytest.fixture
def quickly(monkeypatch):
    """Few steps of everything that takes many."""
    monkeypatch.setattr(pipeline, "_STEPS", {"quick": 3})
    monkeypatch.setattr(pipeline, "_CRITICS", {"quick": dict(steps=3, warm_steps=3)})


def hurried(name, **change):
    preset = PRESETS[name]
    training = replace(preset.training, rounds=2, hidden=preset.training.hidden and (4,))
    return replace(preset, training=training, checks=Checks(attack=False), **change)


@pytest.mark.parametrize("table", data.names())
@pytest.mark.parametrize("name", [name for name in PRESETS if name != "wine"])
def test_presets_run_on_all_data_sets(name, table, quickly):
    own = hurried(name)
    if table == "heart_disease" and own.data.statistics_epsilon:
        own = replace(own, data=replace(own.data, statistics_epsilon=None))  # its means have no public bounds
    elif table != "hospital_network":
        own = replace(own, data=replace(own.data, statistics_epsilon=None))
    try:
        out = system.run(replace(own, data=replace(own.data, table=table)))
    except OSError as absent:
        pytest.skip(str(absent))
    assert out.stages[-1] == "clinic" and len(out.table()) >= 4 and out.table()["mean"].between(0, 1).all()
    assert (own.promises and len(out.ledger.private) > 0) or not own.promises
    assert "<h1" in out.report()


def test_the_preset_from_another_field_runs(quickly):
    out = system.run(hurried("wine"))
    assert out.stages[-1] == "baselines" and out.federations[0].name == "wine" and len(out.by_hospital()) == 3


@pytest.mark.parametrize("name", ["poojari", "sharma"])
def test_the_total_of_a_documents_system_by_formulas_of_its_own(name, quickly):
    """Renyi divergences written out here: of Gaussian and of Skellam noise, and of coins by the binomial theorem.

    Sampled Skellam noise is taken for Gaussian noise of its size, which it nearly is on so fine a grid.
    """
    fed = federations(1, statistics=None if name == "sharma" else RecordDP(epsilon=0.5, secure=False))
    out = system.run(hurried(name, demonstration=True), federation=fed)
    orders, total = np.arange(2, 100), 0.0
    counted = {}
    for e in out.ledger.private.entries:  # what the hospitals see is what counts of a release that the server sees too
        if e.hospital == "A" and (e.release is None or e.viewer == "every hospital"):
            counted[id(e)] = e.mechanism
    for m in counted.values():
        total = total + m.steps * renyi(orders, m.noise_multiplier, m.sampling)
    epsilon = (total + np.log1p(-1 / orders) - (np.log(1e-5) + np.log(orders)) / (orders - 1)).min()
    assert out.ledger.epsilon() == pytest.approx(epsilon, rel=0.05) and len(counted) >= 2


def renyi(orders, noise, rate):
    """Of Poisson-sampled Gaussian noise, record or blank, for whole orders (Mironov et al., arXiv:1908.10530)."""
    if rate == 1:
        return orders / (2 * noise**2)
    found = []
    for a in orders:
        k = np.arange(a + 1)
        terms = binom_log(a, k) + k * np.log(rate) + (a - k) * np.log1p(-rate) + k * (k - 1) / (2 * noise**2)
        found.append(np.logaddexp.reduce(terms) / (a - 1))
    return np.array(found)


def binom_log(n, k):
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def test_ours_keeps_a_promise_for_all_that_leaves():
    ours = replace(PRESETS["ours"], training=replace(QUICK, lr=0.1), checks=Checks(attack=False))
    out = system.run(replace(ours, scale="quick"))
    assert [e.what for e in out.ledger.unprotected.entries] == ["metrics on test rows"]
    assert 2.0 < out.ledger.epsilon() < 3.5

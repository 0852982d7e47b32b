"""What all hold before anything starts: one file, one hash, and what it refuses."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import data, network, system
from fedlab_utils.network import Agreement, prepared
from fedlab_utils.system import Promise, Settings, Sum, Training

BY_HAND = """
name = "three clinics"

[data]
target = "ill"

[data.bounds]
age = [0, 100]
pressure = [60, 240]

[data.categories]
smoker = ["never", "former", "current"]
sex = ["female", "male"]

[training]
rounds = 4
hidden = [6]

[promise]
unit = "record"
epsilon = 2.0

[columns]
numbers = ["age", "pressure"]
texts = ["smoker", "sex"]
classes = ["no", "yes"]

[columns.units]
age = "years"
pressure = "mmHg"

[columns.means]
age = 61.5

[network]
hospitals = ["North", "South", "Harbour"]
deadline = 20
"""


@pytest.fixture(scope="module")
def clinics():
    return Agreement.from_toml(BY_HAND)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    n = 40
    return pd.DataFrame({
        "ill": rng.choice(["no", "yes"], n), "age": rng.uniform(30, 90, n), "pressure": rng.uniform(90, 200, n),
        "smoker": rng.choice(["never", "former", "current"], n), "sex": rng.choice(["female", "male"], n),
        "name": "nobody's business",
    })  # fmt: skip


def test_a_file_by_hand_says_it_all(clinics):
    assert clinics.hospitals == ("North", "South", "Harbour") and clinics.deadline == 20
    assert clinics.columns.features == (
        "age",
        "pressure",
        "smoker_never",
        "smoker_former",
        "smoker_current",
        "sex_male",
    )
    assert clinics.sizes == (6, 6, 1) and clinics.d == 6 * 7 + 7
    assert clinics.columns.means == {"age": 61.5, "pressure": 150.0}
    assert clinics.columns.sds["age"] == pytest.approx(100 / 12**0.5)
    assert clinics.promise.epsilon == 2.0 and clinics.promise.secure


def test_to_a_file_and_back(clinics, agree):
    for one in (clinics, agree(), agree(masked=True), agree(promise=dict(unit="record", epsilon=1.0))):
        again = Agreement.from_toml(one.to_toml())
        assert again.hash == one.hash and again.plain == one.plain and not again.differences(one)


def test_a_hash_is_of_every_value_and_not_of_how_it_is_written(clinics):
    spaced = BY_HAND.replace("rounds = 4", "lr = 0.1\nrounds   =   4")  # a default, said aloud
    spaced = spaced.replace("[0, 100]", "[0.0, 100.0]").replace("deadline = 20", "deadline = 20.0")
    assert Agreement.from_toml(spaced).hash == clinics.hash
    seen = {clinics.hash}
    for old, new in (("rounds = 4", "rounds = 5"), ("2.0", "3.0"), ("61.5", "61.25"), ("years", "months"),
                     ('"North", "South"', '"South", "North"'), ("deadline = 20", "deadline = 21"), ("240", "250"),
                     ("[data]", 'question = "Who is ill?"\n[data]'),
                     ('"no", "yes"', '"yes", "no"'), ("three", "four"), ("[6]", "[7]")):  # fmt: skip
        other = Agreement.from_toml(BY_HAND.replace(old, new, 1))
        assert other.hash not in seen and clinics.differences(other), old
        seen.add(other.hash)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("[network]", "[web]", "The agreement must have a table"),
        ("deadline", "patience", "network.'patience' is no key"),
        ("deadline = 20", "deadline = 0", "network.deadline must be a number"),
        ('"South"', '"North"', "network.hospitals must be a list of 2 to 1000 different names"),
        ('"South"', '"server"', "network.hospitals must be names"),
        ('"South"', '" "', "network.hospitals must be names"),
        ('"South"', '"Authority"', "network.hospitals must be names"),
        ('"South"', '"So\\u202euth"', "network.hospitals must be names"),
        ('"South"', f'"{"S" * 61}"', "network.hospitals must be names"),
        ('"South"', '"../South"', "network.hospitals must be names"),
        ('classes = ["no", "yes"]', 'classes = ["no", "no"]', "columns.classes must list the values of a binary"),
        ("rounds = 4", "participation = 0.5", "training.participation must be 1"),
        ("rounds = 4", "dropout = 0.5", "training.dropout must be 0"),
        ("rounds = 4", 'strategy = "scaffold"', "training.strategy must be one of"),
        ("rounds = 4", "rounds = 0", "training.rounds must be a whole number"),
        ('unit = "record"', 'unit = "hospital"', "sum.through must be 'masked' where promise.unit is 'hospital'"),
        ('name = "three clinics"', "demonstration = true", "demonstration has no place in an agreement"),
        ("[promise]", '[synthetic]\nwhere = "local"\n[promise]', "synthetic has no place in an agreement"),
        ("[promise]", '[sum]\nthrough = "encrypted"\n[promise]', "sum.through must be 'open' or 'masked'"),
        ("[promise]", '[sum]\nthrough = "masked"\n[promise]', "network.max_rows must be given"),
        ("deadline = 20", "max_rows = 64", "network.max_rows must be left out"),
        ("deadline = 20", "bits = 7", "network.bits must be 8, 16, 32 or 64"),
        ("deadline = 20", "signing_keys = {North = 'ab'}", "network.signing_keys must hold 64 hexadecimal digits"),
        ('target = "ill"', 'target = "ill"\nhospital = "site"', "data.hospital must be left out"),
        ('target = "ill"', 'target = "ill"\ntable = "diabetes"', "data.bounds and data.categories must be left out"),
        ('classes = ["no", "yes"]', 'classes = ["no"]', "columns.classes must list the values of a binary target"),
        ('classes = ["no", "yes"]', 'task = "survival"', "columns.task must be one of"),
        ('numbers = ["age", "pressure"]', 'numbers = ["age", "weight"]', "columns.means must have one of 'weight'"),
        ('numbers = ["age", "pressure"]', 'numbers = ["age", "ill"]', "columns.numbers and columns.texts must name"),
        ('texts = ["smoker", "sex"]', 'texts = ["colour"]', "data.categories must list those of 'colour'"),
        ("age = 61.5", "age = inf", "columns.means.'age' must be a finite number"),
        ("age = 61.5", "smoker = 1", "columns.means must hold numbers for columns of numbers"),
        ('age = "years"', "age = 3", "columns.units must hold a short text"),
        ("[columns]", '[columns]\nfeatures = ["age"]', "columns.features must be left out, or be what follows"),
        ("rounds = 4", "rounds = ", "The agreement is not TOML"),
        ("rounds = 4", "r" + ".r" * 50_000 + " = 4", "The agreement is not TOML: a line has more than 2,000 dots."),
        ("rounds = 4", "rounds = " + "9" * 50_000, "The agreement is not TOML"),
    ],
)
def test_what_does_not_fit_is_one_sentence(old, new, sentence):
    assert old in BY_HAND
    with pytest.raises(ValueError) as error:
        Agreement.from_toml(BY_HAND.replace(old, new, 1))
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_thresholds_that_protect_nobody_are_refused_before_anything_starts(agree):
    with pytest.raises(ValueError, match="^threshold must be 2 to 3 against a server that lies"):
        agree(masked=True, threshold=4)


def test_hospitals_that_scale_by_themselves_cannot_agree(fed):
    with pytest.raises(ValueError, match="^federation must be standardised with common numbers"):
        Agreement.of(replace(fed, local_scaling=True))


class TestTable:
    """A hospital's own table becomes rows by the agreement alone."""

    def test_numbers_are_standardised_and_texts_spread_out(self, clinics, table):
        own = prepared(table, clinics, "North")
        rows = own.train
        assert own.X_train.shape == (len(rows), 6) and set(own.y_train.ravel().tolist()) <= {0.0, 1.0}
        assert np.allclose(own.X_train[:, 0], (rows["age"] - 61.5) / (100 / 12**0.5), atol=1e-6)
        assert (own.X_train[:, 5].numpy() == (rows["sex"] == "male")).all() and "name" not in rows
        assert len(own.y_train) + len(own.y_test) == 40

    def test_a_column_more_or_in_another_place_changes_nothing(self, clinics, table):
        one, other = prepared(table, clinics, "North"), prepared(table[sorted(table)[::-1]], clinics, "North")
        assert (one.X_train == other.X_train).all()

    @pytest.mark.parametrize(
        ("change", "sentence"),
        [
            (lambda t: t.drop(columns="age"), "The table lacks the column 'age'"),
            (lambda t: t.drop(columns="ill"), "The table lacks the column 'ill'"),
            (lambda t: t.assign(ill="perhaps"), "'ill' holds 'perhaps'"),
            (lambda t: t.assign(smoker="sometimes"), "'smoker' holds 'sometimes', which is none of the agreed"),
            (lambda t: t.assign(age="old"), "Column 'age' must hold numbers"),
            (lambda t: t.assign(ill=None), "The table must have at least two rows with a target"),
            (lambda t: "my.csv", "frame must be a pandas DataFrame"),
        ],
    )
    def test_what_nobody_agreed_on_is_refused(self, clinics, table, change, sentence):
        with pytest.raises(ValueError) as error:
            prepared(change(table), clinics, "North")
        assert sentence in str(error.value)

    def test_a_hospital_that_is_not_in_it(self, clinics, table):
        with pytest.raises(ValueError, match="^hospital must be one of North, South, Harbour; got 'West'"):
            prepared(table, clinics, "West")

    def test_patients_stay_together_and_count_for_the_promise(self, table, tmp_path):
        text = BY_HAND.replace('target = "ill"', 'target = "ill"\npatient = "number"')
        agreement = Agreement.from_toml(text)
        own = prepared(table.assign(number=np.arange(40) // 4), agreement, "South")
        assert not set(own.train_patients) & set(own.test_patients)
        with_book = network.HospitalPart(agreement, own, tmp_path)
        assert with_book.work.records == 4
        with_book.close()

    def test_it_trains(self, clinics, table, tmp_path):
        parts = {h: network.HospitalPart(clinics, prepared(table, clinics, h), tmp_path / h) for h in clinics.hospitals}
        run = network.Coordinator(clinics, network.InProcess(parts)).run()
        assert [r.came for r in run.history] == [clinics.hospitals] * 4
        for part in parts.values():
            part.close()


@pytest.mark.parametrize("name", ["hospital_network", "diabetes"])
def test_the_courses_data_sets_can_be_agreed_on(name):
    fed = data.load(name)
    about = dict(training=Training(rounds=1, hidden=()), sum=Sum(through="masked"), promise=Promise())
    agreement = Agreement.of(fed, Settings(**about))
    assert agreement.sizes[0] == fed.n_features and agreement.columns.features == tuple(fed.feature_names)
    assert agreement.plain["network.hospitals"] == [h.name for h in fed.hospitals]
    assert Agreement.from_toml(agreement.to_toml()).hash == agreement.hash
    own = prepared(pd.concat([fed.hospitals[0].train, fed.hospitals[0].test]), agreement, fed.hospitals[0].name)
    assert own.X_train.shape[1] == fed.n_features


def test_presets_of_systems_are_no_agreements(fed):
    with pytest.raises(ValueError):
        Agreement.of(fed, replace(system.PRESETS["ours"], demonstration=True))

"""Settings and their files: round trips, and one sentence for whatever is wrong."""

from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.system import PRESETS, Checks, Data, Promise, Settings, Sum, Synthetic, Training
from fedlab_utils.system.settings import PARTS
from tests.refusals import one_sentence


@pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))
def test_presets_come_back_from_their_files(preset):
    text = preset.to_toml()
    assert Settings.from_toml(text) == preset and len(text) < 1000
    assert Settings.from_toml(text).to_toml() == text


def test_a_file_shows_what_was_chosen_and_nothing_else():
    assert Settings(name="x").to_toml() == 'name = "x"\n'
    chosen = Settings(name="x", training=Training(rounds=5, hidden=()), checks=Checks(attack=False))
    assert chosen.to_toml() == 'name = "x"\n\n[training]\nrounds = 5\nhidden = []\n\n[checks]\nattack = false\n'


TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=30)
TRAINING = st.builds(
    Training,
    rounds=st.integers(1, 1000), lr=st.floats(1e-6, 10), hidden=st.lists(st.integers(1, 4096), max_size=5).map(tuple),
    participation=st.floats(0.01, 1), dropout=st.floats(0, 0.99), strategy=st.sampled_from(["fedavg", "uniform"]),
)  # fmt: skip
OWN = st.builds(
    Data,
    table=st.just("own"), target=TEXT.filter(str.isprintable), drop=st.lists(TEXT, max_size=3).map(tuple),
    bounds=st.dictionaries(TEXT, st.tuples(st.floats(-9, 0), st.floats(1, 9)), max_size=3),
    categories=st.dictionaries(TEXT, st.lists(TEXT, min_size=1, max_size=3).map(tuple), max_size=3),
).filter(lambda data: data.target not in data.drop)  # fmt: skip
PROMISED = st.one_of(
    st.just(Promise()), st.builds(Promise, unit=st.sampled_from(["record", "hospital"]), epsilon=st.floats(0.01, 100))
)


@settings(max_examples=60, deadline=None)
@given(data=OWN, training=TRAINING, promise=PROMISED, scale=st.sampled_from(["quick", "full"]))
def test_any_settings_come_back_from_their_file(data, training, promise, scale):
    made = Settings(data=data, training=training, promise=promise, scale=scale)
    assert Settings.from_toml(made.to_toml()) == made


OURS = PRESETS["ours"].to_toml()
BROKEN = st.builds(
    lambda at, what: OURS[:at] + what + OURS[at:], st.integers(0, len(OURS)), st.sampled_from("]=\"\n'x1")
)


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), BROKEN))
def test_malformed_files_get_a_sentence(text):
    try:
        found = Settings.from_toml(text)
    except ValueError as error:
        words = str(error)
        assert type(error) is ValueError and words.endswith(".") and "\n" not in words and len(words) < 400
    else:
        assert isinstance(found, Settings)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("'rounds' is no key", "rounds = 3"),
        ("'training.round' is no key", "[training]\nround = 3"),
        ("training must be a table", "training = 3"),
        ("training.rounds", "[training]\nrounds = 0"),
        ("training.rounds", "[training]\nrounds = 2.5"),
        ("training.rounds", "[training]\nrounds = true"),
        ("training.rounds", "[training]\nrounds = '5'"),
        ("training.lr", "[training]\nlr = nan"),
        ("training.hidden", "[training]\nhidden = 64"),
        ("training.hidden", "[training]\nhidden = [0]"),
        ("training.strategy", "[training]\nstrategy = 'fedsgd'"),
        ("training.strategy", "[training]\nstrategy = ['fedavg']"),
        ("training.on", "[training]\non = 'synthetic'"),
        ("data.table", "[data]\ntable = ''"),
        ("data.target", "[data]\ntable = 'own'"),
        ("data.hospital", "[data]\nhospital = 'site'"),
        ("data.patient", "[data]\npatient = 'id'"),
        ("data.drop", "[data]\ndrop = ['name']"),
        ("data.drop", "[data]\ndrop = 'name'"),
        ("data.bounds", "[data.bounds]\nage = [0, 1]"),
        ("data.bounds", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = [1]"),
        ("training.rounds", "[training]\nrounds = 1" + 400 * "0"),
        ("training.rounds", "[training]\nrounds = 0x" + 6000 * "f"),
        ("not TOML", "[training]\nrounds = 1" + 5000 * "0"),
        ("data.drop", "[data]\ntable = 'own'\ntarget = 'y'\ndrop = ['y']"),
        ("data.bounds.'age'", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = {age = [1]}"),
        ("data.bounds.'age'", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = {age = [9, 1]}"),
        ("data.bounds.'age'", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = {age = [nan, 1]}"),
        ("data.bounds.'age'", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = {age = [0, inf]}"),
        ("data.bounds.'age'", "[data]\ntable = 'own'\ntarget = 'y'\nbounds = {age = ['a', 1]}"),
        ("data.categories.'sex'", "[data]\ntable = 'own'\ntarget = 'y'\ncategories = {sex = [['f'], 'm']}"),
        ("data.categories.'sex'", "[data]\ntable = 'own'\ntarget = 'y'\ncategories = {sex = [2020-01-01]}"),
        ("data.categories.'sex'", "[data]\ntable = 'own'\ntarget = 'y'\ncategories = {sex = []}"),
        ("data.hospitals", "[data]\ntable = 'own'\ntarget = 'y'\nhospital = 'site'\nhospitals = 3"),
        ("training.participation", "[training]\nparticipation = 0.5\n[sum]\nthrough = 'encrypted'"),
        ("sum.through", "[promise]\nunit = 'hospital'\nepsilon = 1\n[sum]\nthrough = 'encrypted'"),
        ("data.skew", "[data]\nskew = 0.5"),
        ("data.statistics_epsilon", "[data]\nstatistics_epsilon = 0"),
        ("synthetic.where", "[synthetic]\nwhere = 'cloud'"),
        ("synthetic.method", "[synthetic]\nmethod = 'gan'"),
        ("synthetic.method", "[synthetic]\nwhere = 'local'"),
        ("synthetic.method", "[synthetic]\nwhere = 'local'\nmethod = 'pairs'"),
        ("synthetic.method", "[synthetic]\nwhere = 'federated'\nmethod = 'interpolate'"),
        ("synthetic.epsilon", "[synthetic]\nwhere = 'local'\nmethod = 'copula'\nepsilon = 1.0"),
        ("synthetic.epsilon", "synthetic.where='federated'\ntraining.on='both'\npromise={unit='record', epsilon=1}"),
        ("synthetic.where", "[synthetic]\nwhere = 'federated'\nepsilon = 1\n[promise]\nunit = 'hospital'\nepsilon = 1"),
        ("synthetic.epsilon", "[synthetic]\nwhere = 'federated'\nmethod = 'gan'\nepsilon = 1.0"),
        ("synthetic.warm_up", "[synthetic]\nwhere = 'federated'\nmethod = 'tables'\nwarm_up = true"),
        ("sum.through", "[synthetic]\nwhere = 'federated'\n[sum]\nthrough = 'encrypted'"),
        ("promise.epsilon", "[promise]\nunit = 'record'"),
        ("promise.epsilon", "[promise]\nepsilon = 1"),
        ("promise.delta", "[promise]\ndelta = 1"),
        ("sum.threshold", "[sum]\nthreshold = 3"),
        ("sum.colluding", "[sum]\nthrough = 'encrypted'\ncolluding = 1"),
        ("demonstration", "demonstration = true"),
        ("demonstration", "demonstration = 1"),
        ("scale", "scale = 'huge'"),
        ("name", 'name = "a\\nb"'),
        ("not TOML", "name = "),
        ("characters", "#" * 200_000),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_its_path(path, text):
    with one_sentence(path):
        Settings.from_toml(text)


def test_python_is_held_to_the_same():
    with one_sentence("training.rounds"):
        Settings(training=Training(rounds=0))
    with one_sentence("training"):
        Settings(training={"rounds": 3})
    with one_sentence("text"):
        Settings.from_toml(b"name = 'x'")
    with one_sentence("promise.epsilon"):
        replace(PRESETS["haque"], promise=Promise(unit="hospital"))
    assert Settings(training=Training(rounds=5.0)).training.rounds == 5
    assert Settings(sum=Sum(through="masked", threshold=3), synthetic=Synthetic()).promises is False


def test_every_key_says_what_it_is_and_which_values_it_has():
    for kind in (*PARTS.values(), Settings):
        for f in fields(kind):
            if f.name not in PARTS:
                assert len(f.metadata["what"]) > 4, (kind, f.name)

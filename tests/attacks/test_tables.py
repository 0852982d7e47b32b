"""Membership in synthetic tables."""

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import attacks, synth
from tests.attacks.helpers import cohort


@pytest.fixture(scope="module")
def copies():
    """A generator that moves patients a little, learnt from half of 150 each time."""
    frame = cohort(150)
    return (frame, *attacks.shadow_generators(frame, n_models=12, seed=0, n_rows=200, method="interpolate"))


def test_table_attacks_find_the_patients_of_a_generator_that_copies(copies):
    frame, member, tables = copies
    reference = cohort(300, seed=1)
    found = [attacks.nearest_record(*copies), attacks.monte_carlo(*copies)]
    found += [attacks.domias(*copies, reference=reference), attacks.lira(attacks.densities(*copies), online=False)]
    assert min(f.auc.low for f in found) > 0.8
    one = attacks.nearest_record(frame, member[0], tables[0])
    assert np.array_equal(one.scores[0], found[0].scores[0])


def test_table_attacks_find_nothing_where_the_generator_knew_nobody(copies):
    frame, member, _ = copies
    tables = [cohort(200, seed=10 + k) for k in range(12)]
    found = [attacks.nearest_record(frame, member, tables), attacks.monte_carlo(frame, member, tables)]
    found.append(attacks.domias(frame, member, tables, reference=cohort(300, seed=1)))
    for f in found:
        assert f.auc.low <= 0.5 <= f.auc.high


def test_domias_is_the_ratio_of_two_kernel_densities():
    frame, table, reference = cohort(20)[["age", "bmi"]], cohort(50, 1)[["age", "bmi"]], cohort(80, 2)[["age", "bmi"]]
    found = attacks.domias(frame, np.arange(20) % 2 == 0, table, reference=reference).scores[0]
    width = 50 ** (-1 / 6)

    def density(x, rows):
        z = (rows - x) / reference.std()
        return np.exp(-((z / width) ** 2).sum(axis=1) / 2).mean()

    expected = [np.log(density(x, table) / density(x, reference)) for _, x in frame.iterrows()]
    assert np.allclose(found, expected)


def test_monte_carlo_counts_and_nearest_measures():
    frame, table = cohort(30)[["age", "bmi"]], cohort(40, 1)[["age", "bmi"]]
    z, own = (frame / table.std()).to_numpy(), (table / table.std()).to_numpy()
    distance = np.array([[np.linalg.norm(a - b) for b in own] for a in z])
    member = np.arange(30) % 2 == 0
    assert np.allclose(attacks.nearest_record(frame, member, table).scores[0], -distance.min(1), atol=1e-6)
    near = np.median(distance.min(1))
    assert np.allclose(attacks.monte_carlo(frame, member, table).scores[0], (distance <= near + 1e-9).mean(1))


def test_reference_patients_must_be_others(copies):
    frame, member, tables = copies
    some, twice = frame[member[0]].sample(frac=1, random_state=0), pd.concat([frame[~member[0]]] * 2)
    for known in (frame, pd.concat([frame[:5], cohort(300, seed=1)]), some, twice):
        with pytest.raises(ValueError, match="reference must hold other patients .*are among them"):
            attacks.domias(frame, member, tables, reference=known[frame.columns[::-1]])
    attacks.domias(frame, member, tables, reference=pd.concat([frame[:1], cohort(300, seed=1)]))  # a coincidence


def test_shadow_generators_train_as_they_would_alone():
    frame = cohort(60)
    options = dict(steps=5, hidden=(8,))
    member, tables = attacks.shadow_generators(frame, n_models=3, seed=4, n_rows=10, **options)
    for k in range(3):
        own = frame[member[k]].reset_index(drop=True)
        alone = synth.fit(own, seed=4 + k, batch_size=int(member.sum(1).min()), **options)
        pd.testing.assert_frame_equal(tables[k], alone.sample(10, seed=4 + k))

"""What is settled before the first round: who takes part, and which arguments are refused."""

import numpy as np
import pytest

from fedlab_utils import data, federated
from tests.federated.helpers import QUICK, table


def test_participation_draws_hospitals_and_everyone_gets_a_turn(three):
    run = federated.train(three, rounds=30, local_steps=1, hidden=(), participation=0.34)
    took = run.transcript.query("receiver == 'server'")
    assert (took.groupby("round").size() == 1).all() and took["sender"].nunique() == 3


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(rounds=0), "rounds must be a whole number of at least 1; got 0"),
        (dict(local_epochs=1.5), "local_epochs must be a whole number"),
        (dict(local_steps=0), "local_steps must be a whole number"),
        (dict(batch_size=0), "batch_size must be"),
        (dict(participation=0.0), "participation must be a share above 0 and at most 1; got 0.0"),
        (dict(participation=1.2), "participation must be a share"),
        (dict(strategy="median"), "strategy must be one of fedavg, uniform, .*scaffold; got 'median'"),
        (dict(hidden=(8, 0)), "hidden must be a sequence of widths"),
        (dict(hidden=64), "hidden must be a sequence of widths such as .64,.*got 64"),
        (dict(lr=[0.1, 0.2]), "lr must be one finite number"),
        (dict(lr="0.1"), "lr must be one finite number"),
        (dict(seed=-1), "seed must be a whole number of at least 0"),
        (dict(seeds=2.5), "seeds must be a whole number"),
        (dict(seeds=0), "seeds must be a whole number of at least 1"),
        (dict(optimiser="lbfgs"), "optimiser must be one of"),
        (dict(privacy=object()), "privacy must be None, privacy.RecordDP"),
    ],
)
def test_bad_arguments_get_a_sentence(three, change, sentence):
    with pytest.raises(ValueError, match=sentence):
        federated.train(three, **(QUICK | change))


def test_more_bad_input_gets_a_sentence(three):
    with pytest.raises(ValueError, match="federation must be a Federation, or a list"):
        federated.train(table(), **QUICK)
    other = data.from_frame(table(), target="ill", n_hospitals=2)
    with pytest.raises(ValueError, match="replicates of one table"):
        federated.train([three, other], **QUICK)
    with pytest.raises(ValueError, match="at least one setting"):
        federated.compare(three, {})
    with pytest.raises(ValueError, match="'roundz'"):
        federated.compare(three, {"a": {"roundz": 3}})
    with pytest.raises(ValueError, match="X must be rows of 4 features"):
        federated.train(three, **QUICK).predict_proba(np.zeros((3, 5)))
    with pytest.raises(IndexError, match="there is no number 3"):
        federated.train(three, **QUICK)[3]

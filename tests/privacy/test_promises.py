"""Promises that cannot be kept are refused."""

import math

import pytest

from fedlab_utils import privacy
from fedlab_utils.privacy.promises import HospitalDP, RecordDP


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: RecordDP(), "Give either epsilon or noise_multiplier, one of them; got epsilon=None"),
        (lambda: RecordDP(1, noise_multiplier=1), "Give either epsilon or noise_multiplier"),
        (lambda: RecordDP(0), "epsilon must lie between 0.01 and 100; got 0 .0 would mean"),
        (lambda: RecordDP(-1), "epsilon must be one finite number of at least 0; got -1"),
        (lambda: RecordDP(1e9), "got 1e.09 .it promises nothing"),
        (lambda: RecordDP(math.inf), "epsilon must be one finite number"),
        (lambda: RecordDP("1"), "epsilon must be one finite number"),
        (lambda: RecordDP(noise_multiplier=-1), "noise_multiplier must be one finite number of at least 0; got -1"),
        (lambda: RecordDP(1, delta=0), "delta must be a probability above 0 and below 1"),
        (lambda: RecordDP(1, delta=1), "delta must be a probability"),
        (lambda: RecordDP(1, max_grad_norm=0), "max_grad_norm must be above 0; got 0"),
        (lambda: HospitalDP(1, max_update_norm=-1), "max_update_norm must be one finite number"),
        (lambda: HospitalDP(), "Give either epsilon or noise_multiplier"),
        (lambda: privacy.epsilon(1, sampling=0), "sampling must be a probability above 0"),
        (lambda: privacy.epsilon(1, sampling=1.2), "sampling must be a probability"),
        (lambda: privacy.epsilon(1, steps=1.5), "steps must be a whole number"),
        (lambda: privacy.epsilon(1, method="sum"), "method must be one of pld, rdp"),
        (lambda: privacy.noise_for(1, steps=0), "steps must be a whole number of at least 1"),
    ],
)
def test_impossible_promises_get_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


@pytest.mark.parametrize("promise", [RecordDP, HospitalDP])
@pytest.mark.parametrize("epsilon", [0, -1, 0.009, 100.5, 1e300, math.nan])
def test_both_promises_refuse_the_same_budgets(promise, epsilon):
    with pytest.raises(ValueError, match="^epsilon must [^.]*[0-9].*; got .*[.]$"):
        promise(epsilon)

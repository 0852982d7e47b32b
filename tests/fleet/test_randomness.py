"""Random streams that never coincide."""

import numpy as np
import pytest

from fedlab_utils.fleet import randomness


def test_random_streams_do_not_coincide():
    first = [np.random.default_rng(3), *(randomness.generator(3, *key) for key in ((), (0,), (0, 0), (0, 1), (1, 0)))]
    first += [randomness.generator(3 + 2**32, 0, 0), randomness.generator(3, 0, 2, 0), randomness.generator(3, 0, 3)]
    draws = [rng.random() for rng in first]
    assert len(set(draws)) == len(draws) - 1  # an empty key is numpy's own stream, the others are nobody's
    with pytest.raises(ValueError, match="seed must be a whole number"):
        randomness.generator(-1)

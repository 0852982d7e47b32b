"""Numbers to whole numbers and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedlab_utils.secagg.grid import Grid, decode, encode


def test_rounding_is_unbiased_and_to_a_neighbour():
    """Fixed seed; with another it would fail by chance once in a million."""
    grid, value = Grid(1.0, 8, max_rows=8), 0.3
    words = encode(np.full(200_000, value), 1, grid, np.random.default_rng(0))
    rounded = words[:-1] * grid.step - grid.limit
    assert np.abs(rounded - value).max() < grid.step and len(np.unique(rounded)) == 2
    error = (rounded.mean() - value) / (rounded.std() / np.sqrt(len(rounded)))
    assert abs(error) < 4.9
    nearest = np.rint((value + grid.limit) / grid.step) * grid.step - grid.limit  # control: rounding to nearest fails
    assert abs(nearest - value) / (rounded.std() / np.sqrt(len(rounded))) > 4.9


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.sampled_from([8, 16, 32, 64]),
    st.lists(st.integers(1, 50), min_size=1, max_size=5),
    st.floats(0.01, 1000),
    st.integers(0, 99),
)
def test_sums_of_words_give_the_weighted_mean_within_a_step(bits, rows, limit, seed):
    rng, grid = np.random.default_rng(seed), Grid(limit, bits, sum(rows))
    values = rng.uniform(-limit, limit, (len(rows), 7))
    values[:, 0], values[:, 1] = limit, -limit  # the ends: largest and smallest sum that there is
    words = [encode(v, w, grid, rng) for v, w in zip(values, rows, strict=True)]
    assert words[0].dtype == grid.dtype
    assert all(sum(int(w[k]) for w in words) < 2**bits for k in range(8))  # whole numbers without a limit
    mean, n = decode(np.sum(words, axis=0, dtype=grid.dtype), grid)
    assert n == sum(rows)
    assert np.abs(mean - np.average(values, axis=0, weights=rows)).max() <= grid.step * (1 + 1e-6) + 1e-12 * limit


def test_levels_fill_the_word():
    assert Grid(1, 16, 10).levels * 10 <= 2**16 - 1 < (Grid(1, 16, 10).levels + 1) * 10
    assert Grid(1, 8, 255).levels == 1


@pytest.mark.parametrize(
    ("values", "weight", "sentence"),
    [
        ([0.0, 4.1], 1, "within limit = 4 of 0, and one is not"),
        ([-4.1], 1, "limit"),
        ([np.nan], 1, "finite"),
        ([np.inf], 1, "finite"),
        ([[0.0]], 1, "row"),
        ([0.0], 0, "weight"),
        ([0.0], -1, "weight"),
        ([0.0], 1.5, "weight"),
        ([0.0], 101, "weight must be at most max_rows = 100"),
        ([0.0], np.nan, "weight"),
    ],
)
def test_encode_refuses_what_would_not_fit(values, weight, sentence):
    with pytest.raises(ValueError, match=sentence):
        encode(np.array(values), weight, Grid(4.0, 16, 100), np.random.default_rng(0))


@pytest.mark.parametrize(
    ("limit", "bits", "max_rows", "sentence"),
    [(0, 32, 1, "limit"), (np.inf, 32, 1, "limit"), (1, 24, 1, "bits"), (1, 8, 256, "max_rows"), (1, 8, 0, "max_rows")],
)
def test_grid_refuses(limit, bits, max_rows, sentence):
    with pytest.raises(ValueError, match=sentence):
        Grid(limit, bits, max_rows)


@pytest.mark.parametrize("rows", [0, 101, 255])
def test_decode_refuses_a_number_of_rows_that_cannot_be(rows):
    with pytest.raises(ValueError, match=f"it says {rows}"):
        decode(np.array([5, rows], dtype=np.uint8), Grid(4.0, 8, 100))

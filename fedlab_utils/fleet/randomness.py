"""Every generator of random numbers, and the one list of what each stream is for.

A stream is a row of whole numbers behind a seed: numbers of one stream say nothing about those of another. Model k of
a fleet draws from ``(k, stream)``, so that it starts, shuffles and draws noise in the same way whether it trains by
itself or among thousands; hospital h in run s of a federated training from ``(s, LOCAL_WORK, h)``.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from fedlab_utils._arguments import whole

# Of the models of a fleet, (k, stream)
WEIGHTS, TRAINING = 0, 1  # `fleet`: starting weights; batches and noise of a training without rounds
LOCAL_WORK, LOTTERY, ROUNDING, SERVER_NOISE = 2, 3, 4, 5  # `federated`: of hospitals; who comes; of aggregators
COINS = 6  # `attacks`: which patients a shadow model trains on
BOOTSTRAP = 7  # `attacks`: intervals of results
AGREEMENT = 8  # `data`: coins with which sums are rounded before they travel through an aggregator
DROPOUT = 9  # `federated`: which hospitals fall silent in a round
NOISE_SHARES = 10  # `federated`, `secagg`: noise that hospitals add to their words, of each of them
CRITIC_COINS, CRITIC_NOISE = 11, 12  # `synth`: rows of a critic's batch, and noise on their sum, of each hospital
SUMS_NOISE = 13  # `synth`: noise that hospitals add to sums of their rows, of each of them
COMPRESSION = 14  # `federated`: coins of numbers that travel in fewer bits, of each hospital
FINE_TUNING = 16  # `federated`: of a hospital that goes on by itself
GUESSES = 19  # `attacks`: rows from which a reconstruction starts
STRANGERS = 22  # `attacks`: real rows that a reconstruction is compared with
SCANS, HIDDEN_PIXELS = 24, 25  # `data`: simulated scans; `anomalies`: which pixels are hidden from a model
SHUFFLED_PIXELS = 26  # `anomalies`: pixels that change places among scans
SERVER_BATCHES = 20  # `federated`: batches of a server that trains on rows of its own
# `synth` trains and samples by (k, 2) and (k, 3), as `federated` draws lotteries: nothing compares the two, and other
# numbers would change every synthetic patient in the lessons.
GENERATOR_TRAINING, GENERATOR_SAMPLING = 2, 3


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A random generator of its own for each seed and stream, unlike ``numpy.random.default_rng(seed)``.

    Parameters
    ----------
    seed
        A whole number of at least 0.
    stream
        Whole numbers that say what the generator is for.

    Raises
    ------
    ValueError
        If `seed` is something else.
    """
    return np.random.default_rng(np.random.SeedSequence(whole("seed", seed, 0), spawn_key=stream))


def generators(seed: int, n: int, stream: int = WEIGHTS) -> list[np.random.Generator]:
    """One independent random generator for each of `n` models."""
    return [generator(seed, k, stream) for k in range(n)]


def per_model(seed: int | Sequence[np.random.Generator], n: int, stream: int) -> list[np.random.Generator]:
    """One generator for each of `n` models, from a seed or as they were given.

    Raises
    ------
    ValueError
        If `seed` is neither a whole number of at least 0 nor one generator for each model.
    """
    if not isinstance(seed, Sequence) or isinstance(seed, str):
        return generators(seed, n, stream)
    if len(seed) != n or not all(isinstance(rng, np.random.Generator) for rng in seed):
        raise ValueError(f"seed must be a number or a generator for each of the {n} models; got {len(seed)}.")
    return list(seed)


def split_generator(seed: int) -> np.random.Generator:
    """The generator by which rows are split and dealt out: numpy's own for this seed."""
    return np.random.default_rng(whole("seed", seed, 0))


def beneath(*arrays: np.ndarray, about: tuple = ()) -> int:
    """A number that stands for these arrays and what `about` says of them (SHA-256): part of a stream of seeded noise.

    Drawn from the seed alone, two tables would meet the same noise, and their difference would be free of it.
    """
    found = sha256(repr(about).encode() if about else b"")
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return int.from_bytes(found.digest(), "little")


def noise_generator() -> np.random.Generator:
    """A generator that starts from 256 bits of the operating system's randomness, differently each time."""
    return np.random.default_rng(np.random.SeedSequence(secrets.randbits(256), pool_size=8))

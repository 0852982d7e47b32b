"""What a promise of privacy means for one training: how much noise, and which entries in the ledger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedlab_utils.data import Federation
from fedlab_utils.ledger import FOLLOWS, Entry, Mechanism
from fedlab_utils.privacy import HospitalDP, RecordDP

Promise = RecordDP | HospitalDP | None

UPDATES, MODELS = "model updates of each round", "global models of each round"


def check(promise: Promise, federations: Sequence[Federation]) -> None:
    """Refuse what is no promise, or one that is worth nothing for this many patients or hospitals."""
    if promise is None:
        return
    if not isinstance(promise, RecordDP | HospitalDP):
        raise ValueError(f"privacy must be None, privacy.RecordDP(...) or privacy.HospitalDP(...); got {promise!r}.")
    hospitals = [h for f in federations for h in f.hospitals]
    if empty := [h.name for h in hospitals if not len(h.y_train)]:
        raise ValueError(f"{empty[0]} has no training patients, so there is nobody to make a promise to; leave it out.")
    if isinstance(promise, HospitalDP):
        units, whose = len(federations[0].hospitals), "hospitals"
    else:
        largest = max(hospitals, key=lambda h: len(h.y_train))
        units, whose = len(largest.y_train), f"training patients of {largest.name}"
    if promise.delta * units >= 1:
        raise ValueError(
            f"delta must be below 1/{units}, one over the number of {whose}, and better far below: "
            f"publishing one of them at random would keep a delta of {promise.delta:g}."
        )


def record_noise(promises: Sequence[RecordDP], sampling: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Noise multiplier of each run and hospital ``[runs, hospitals]``, for all of its steps together."""
    return np.array([
        [promise.noise(sampling=q, steps=max(int(t), 1)) for q, t in zip(*own, strict=True)]
        for promise, *own in zip(promises, sampling, steps, strict=True)
    ])


def hospital_noise(promises: Sequence[HospitalDP], rates: np.ndarray, took: np.ndarray, rounds: int) -> np.ndarray:
    """Noise multiplier of each run, ``[runs]``.

    Parameters
    ----------
    rates
        Probability of taking part in a round, ``[runs]``.
    took
        In how many rounds each hospital will take part, ``[runs, hospitals]``. Where this is known to others, it is
        what counts; where participants are hidden, all rounds count, at the rate of sampling.
    """
    return np.array([
        promise.noise(sampling=q, steps=rounds) if promise.participants_hidden
        else promise.noise(sampling=1.0, steps=max(int(own.max()), 1))
        for promise, q, own in zip(promises, rates, took, strict=True)
    ])  # fmt: skip


def record_mechanisms(promise: RecordDP, noise, sampling, steps, size) -> list[Mechanism]:
    """What each hospital of one run has done; the arguments are lists of numbers, one a hospital."""
    return [
        Mechanism(s, q, t, promise.delta, promise.unit, n, secret=promise.secure)
        for s, q, t, n in zip(noise, sampling, steps, size, strict=True)
    ]


def hospital_mechanisms(promise: HospitalDP, noise: float, rate: float, took, rounds: int) -> list[Mechanism]:
    """The same for whole hospitals, of which `took` says how often each took part."""
    rate, steps = (rate, [rounds] * len(took)) if promise.participants_hidden else (1.0, took)
    return [
        Mechanism(noise, rate, t, promise.delta, promise.unit, len(took), secret=promise.secure) for t in steps
    ]


def entries(
    promise: Promise,
    runs: Sequence[Sequence[Mechanism]],
    names: Sequence[str],
    dealings: Sequence[int | None],
    *,
    sees: str | None = UPDATES,
) -> list[tuple[Entry, ...]]:
    """What a training under one promise released, for each of its runs; what the runs have in common is shared.

    Parameters
    ----------
    runs
        For each run the mechanism of each hospital, if there is a promise.
    dealings
        For each run which dealing of patients to hospitals it used.
    sees
        What the server learns of the updates; None if nothing.
    """
    everybody, detail = ", ".join(names), f"{len(runs)} runs"
    scores = Entry("metrics on test rows", everybody, "outsider", detail=detail)
    in_the_open = (Entry(sees, everybody, "server", detail=detail),) if sees else ()
    if promise is None:
        return [(*in_the_open, Entry(MODELS, everybody, "every hospital", detail=detail), scores)] * len(runs)
    by_record = isinstance(promise, RecordDP)
    what, viewer = (sees, "server") if by_record and sees else (MODELS, "every hospital")
    follow = (Entry(MODELS, everybody, "every hospital", FOLLOWS, detail),) if sees else ()
    shared = follow if by_record else in_the_open
    ledgers = []
    for r, (mechanisms, dealing) in enumerate(zip(runs, dealings, strict=True)):
        where = dealing if by_record else None
        own = [
            Entry(what, name, viewer, m.guarantee, f"run {r}", m, where)
            for name, m in zip(names, mechanisms, strict=True)
            if m.steps
        ]
        ledgers.append((*own, *shared, scores))
    return ledgers

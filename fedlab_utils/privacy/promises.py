"""Differential privacy for federated training: what is promised to whom, and what it costs.

A promise is made to a *unit*: to one patient record (`RecordDP`) or to one hospital (`HospitalDP`). Whoever sees what
is released can tell with little more certainty whether the unit's data were used than without looking: epsilon says
how little, delta with which probability that may fail. What was promised and spent stands in the `Ledger`.

The noise is drawn in 32-bit floating-point numbers, as everywhere in machine learning. The mathematics speaks of real
numbers: which 32-bit numbers can occur at all depends on the value beneath the noise, and from the exact bits of few,
large releases an attacker may learn more than epsilon allows (Mironov 2012, doi:10.1145/2382196.2382264; Haney et
al., arXiv:2207.13793). Sums of many clipped gradients make this hard to use, but nothing here rules it out; the sound
way is discrete noise on integers (Canonne et al., arXiv:2004.00010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedlab_utils._arguments import flag, number
from fedlab_utils.privacy.accounting import checked_delta, checked_epsilon, checked_rate, noise_for
from fedlab_utils.privacy.ledger import HOSPITAL, PATIENT


@dataclass(frozen=True)
class RecordDP:
    """Differential privacy for each patient record: DP-SGD within every hospital (Abadi et al., arXiv:1607.00133).

    In each step of its local training a hospital tosses a coin for each of its n patients (probability
    ``q = batch_size / n``; 1 for a hospital smaller than a batch), clips the gradient of each one drawn to length
    `max_grad_norm`, adds up, adds Gaussian noise of standard deviation ``noise_multiplier * max_grad_norm`` and
    divides by the *expected* batch size. An epoch is 1/q steps; a step in which nobody was drawn still happens and
    gets its noise. What leaves the hospital follows from these noisy sums, so the promise holds against everybody:
    the server, the other hospitals, and whoever gets the model.

    Every hospital has its own q, its own number of steps, and so its own guarantee. Its number of patients is taken
    to be public, so the promise is about what stands in the place of one record: the record, or a blank that adds
    nothing. A patient with several records has a weaker one.

    Parameters
    ----------
    epsilon
        The budget, from 0.01 to 100. Each hospital gets the noise with which all its steps spend 99% to 100% of it.
    noise_multiplier
        Instead of a budget, the noise: the same for all hospitals, so that each spends an epsilon of its own. 0 clips
        only, and promises nothing.
    delta
        Probability with which the promise may fail. Below one over the patients of any hospital, and better far below:
        publishing one whole record at random has delta = 1/n.
    max_grad_norm
        Clip norm C.
    secure
        True: noise and coins start from the operating system's randomness, differently each time. The generator behind
        is a fast statistical one (PCG64), not a cryptographic one: see also what the module says about floating-point
        noise. False: they come from the seed of the training, so that a lesson can be repeated. That is a
        *demonstration*, and the ledger says so: **whoever knows the seed can compute the noise again and take it off**.

    Raises
    ------
    ValueError
        If the budget is impossible, in one sentence.
    """

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float = 1e-5
    max_grad_norm: float = 1.0
    secure: bool = True
    unit: ClassVar[str] = PATIENT

    def __post_init__(self) -> None:
        _refuse(self, "max_grad_norm")

    def noise(self, *, sampling: float, steps: int) -> float:
        """The noise multiplier with which `steps` steps keep the promise."""
        return _noise(self, sampling, steps)


@dataclass(frozen=True)
class HospitalDP:
    """Differential privacy for a whole hospital: clipped and noised updates (McMahan et al., arXiv:1710.06963).

    In each round a coin is tossed for each hospital (probability q = `participation` of the training). Each update is
    clipped to length `max_update_norm` (by the hospital itself where an aggregator hides it); the server adds up, adds
    Gaussian noise of standard deviation ``noise_multiplier * max_update_norm`` and divides by the *expected* number of
    participants; all hospitals count alike, whatever the strategy. The promise holds against those who see the global
    models, not against the server, which sees single updates or, behind an aggregator, their sum before the noise.
    With ``secagg.PrivateSum()`` hospitals add the noise themselves, in shares inside the masked sum, and the promise
    holds against the server too.

    Noise of this size drowns a handful of hospitals: it takes hundreds.

    Parameters
    ----------
    epsilon, noise_multiplier, delta
        As in `RecordDP`, for all rounds together; delta below one over the number of hospitals.
    max_update_norm
        Clip norm of a hospital's update.
    participants_hidden
        Whether nobody else learns who took part in a round. Only then does sampling amplify the guarantee; otherwise
        each hospital pays in full for the rounds in which it took part.
    secure
        As in `RecordDP`.

    Raises
    ------
    ValueError
        If the budget is impossible, in one sentence.
    """

    epsilon: float | None = None
    noise_multiplier: float | None = None
    delta: float = 1e-5
    max_update_norm: float = 1.0
    participants_hidden: bool = False
    secure: bool = True
    unit: ClassVar[str] = HOSPITAL

    def __post_init__(self) -> None:
        _refuse(self, "max_update_norm")

    def noise(self, *, sampling: float, steps: int) -> float:
        """The noise multiplier with which `steps` rounds keep the promise."""
        return _noise(self, sampling, steps)


def _refuse(promise: RecordDP | HospitalDP, norm: str) -> None:
    if (promise.epsilon is None) == (promise.noise_multiplier is None):
        got = f"epsilon={promise.epsilon}, noise_multiplier={promise.noise_multiplier}"
        raise ValueError(f"Give either epsilon or noise_multiplier, one of them; got {got}.")
    if promise.epsilon is not None:
        checked_epsilon(promise.epsilon)
    else:
        number("noise_multiplier", promise.noise_multiplier)
    checked_delta(promise.delta)
    if not number(norm, getattr(promise, norm)) >= 1e-12:
        raise ValueError(f"{norm} must be above 0; got {getattr(promise, norm)}.")
    for name in ("secure", "participants_hidden"):
        flag(name, getattr(promise, name, False))


def _noise(promise: RecordDP | HospitalDP, sampling: float, steps: int) -> float:
    if promise.epsilon is None:
        return float(promise.noise_multiplier)
    return noise_for(promise.epsilon, sampling=checked_rate(sampling), steps=steps, delta=promise.delta)

"""What a promise of privacy does to a round: before the work, before an update leaves, when the mean arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor

from fedlab_utils.data import Federation
from fedlab_utils.federated.aggregators import Aggregator, Inside
from fedlab_utils.fleet.batches import Sampling
from fedlab_utils.fleet.randomness import NOISE_SHARES, SERVER_NOISE
from fedlab_utils.privacy import HospitalDP, Mechanism, RecordDP

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Here, Plan

Promise = RecordDP | HospitalDP | None


class Protection:
    """What is done to a round besides training and averaging; this one, for no promise, does nothing.

    Whatever acts on rows, updates or the mean can have this shape. An instance belongs to one training.

    Attributes
    ----------
    tosses_coins
        Each hospital decides by a coin whether it takes part; else their number is fixed.
    counts_alike
        All hospitals have the same weight, whatever the strategy.
    sampling
        How the local training draws its batches; see `fleet.fit`.
    grid
        ``[runs]``: the step to which an update is rounded; 0 if it is not.
    inside
        For each run the noise that hospitals add to their sum themselves, if they do.
    """

    tosses_coins: ClassVar[bool] = False
    counts_alike: ClassVar[bool] = False
    sampling: ClassVar[Sampling] = "shuffle"
    inside: Sequence[Inside] = ()

    def __init__(self, plan: Plan) -> None:
        self.plan, self.grid = plan, plan.grid

    def local(self, here: Here) -> dict:
        """What the local training gets besides: arguments of `fleet.fit`, more or in the place of the plan's."""
        return {}

    def leave(self, updates: Tensor, here: Here) -> Tensor:
        """What leaves the hospitals, ``[participants, D]``."""
        return updates

    def arrive(self, mean: Tensor, here: Here) -> Tensor:
        """What the server adds to the models, ``[runs, D]``."""
        return mean

    def mechanisms(self, took_part: np.ndarray, rounds: int) -> list[list[Mechanism]]:
        """For each run what each hospital has released, if there is a promise.

        Parameters
        ----------
        took_part
            In how many rounds each hospital took part so far, ``[runs, hospitals]``.
        rounds
            Rounds so far.
        """
        return [[] for _ in self.plan.runs]

    def at_the_server(self, took_part: np.ndarray) -> list[list[Mechanism]] | None:
        """The same as the server sees it, where it holds a noisy sum and nothing before the noise; None elsewhere."""
        return None


class RecordProtection(Protection):
    """`RecordDP`: DP-SGD within each hospital, so that nothing has to be done to what leaves it."""

    sampling = "poisson"

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.rate = plan.batch / plan.size
        in_all = plan.planned * plan.steps  # steps of a hospital that never comes are counted as one
        self.noise = np.array([
            [promise.noise(sampling=q, steps=max(int(t), 1)) for q, t in zip(*own, strict=True)]
            for promise, *own in zip(plan.promises, self.rate, in_all, strict=True)
        ])  # fmt: skip
        self.clip = np.array([promise.max_grad_norm for promise in plan.promises])

    def local(self, here: Here) -> dict:
        noise = self.noise[here.run, here.hospital]
        return dict(max_norm=self.clip[here.run], noise_multiplier=noise, sampling=self.sampling)

    def mechanisms(self, took_part: np.ndarray, rounds: int) -> list[list[Mechanism]]:
        numbers = (n.tolist() for n in (self.noise, self.rate, took_part * self.plan.steps, self.plan.size))
        made = cache(Mechanism)  # each is looked at closely, and many hospitals of many runs have the same
        return [
            [made(s, q, t, p.delta, p.unit, n, secret=p.secure, records=most) for s, q, t, n in zip(*own, strict=True)]
            for p, most, *own in zip(self.plan.promises, self.plan.rows_a_patient, *numbers, strict=True)
        ]


class HospitalProtection(Protection):
    """`HospitalDP`: hospitals come by coin flips and clip their updates, the server adds noise to the sum."""

    tosses_coins = counts_alike = True

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.clip = np.array([promise.max_update_norm for promise in plan.promises])
        self.noise = self._noise()
        self.divisor = plan.share * len(plan.names)  # how many take part in a round, on average
        # Rounding to a grid makes an update longer by up to this, so it is clipped shorter.
        slack = self.grid * plan.d**0.5
        if (slack > self.clip / 10).any():
            worst = (slack / self.clip).argmax()
            raise ValueError(
                f"aggregator rounds updates to steps of {self.grid[worst]:.2g}, too coarse for "
                f"max_update_norm={self.clip[worst]:g}; give it more bits or {self._instead}."
            )
        self.limit = self.clip - slack

    _instead: ClassVar[str] = "a smaller limit"

    def _noise(self) -> np.ndarray:
        """Noise multipliers, ``[runs]``, and what the noise comes from."""
        plan = self.plan
        self.sources = [plan.source(r, SERVER_NOISE) for r in plan.runs]
        return np.array([
            promise.noise(sampling=q, steps=plan.rounds)
            if promise.participants_hidden
            else promise.noise(sampling=1.0, steps=max(int(own.max()), 1))
            for promise, q, own in zip(plan.promises, plan.share, plan.planned, strict=True)
        ])  # fmt: skip

    def leave(self, updates: Tensor, here: Here) -> Tensor:
        length = torch.linalg.vector_norm(updates, dim=1).clamp_min(1e-30)
        lost = ~length.isfinite()  # a training that ran away cannot be clipped: it counts as no change
        updates[lost], length[lost] = 0, 1
        limit = torch.from_numpy(self.limit[here.run]).to(updates)
        return updates.mul_((limit / length).clamp_max(1).unsqueeze(1))

    def arrive(self, mean: Tensor, here: Here) -> Tensor:
        # From the mean of those who came to the noisy sum over the expected number: who came must not show.
        came = np.array([len(members) for members in here.members]) / self.divisor
        draws = np.stack([rng.standard_normal(mean.shape[1], dtype=np.float32) for rng in self.sources])
        spread = torch.from_numpy(self.noise * self.clip / self.divisor).to(mean).unsqueeze(1)
        return mean * torch.from_numpy(came).to(mean).unsqueeze(1) + spread * torch.from_numpy(draws)

    def mechanisms(self, took_part: np.ndarray, rounds: int) -> list[list[Mechanism]]:
        numbers = (n.tolist() for n in (self.noise, self.plan.share, took_part))
        found = []
        for p, sigma, q, own in zip(self.plan.promises, *numbers, strict=True):
            q, steps = (q, [rounds] * len(own)) if p.participants_hidden else (1.0, own)
            found.append([Mechanism(sigma, q, t, p.delta, p.unit, len(own), secret=p.secure) for t in steps])
        return found


class InsideProtection(HospitalProtection):
    """`HospitalDP` with an aggregator under which hospitals add the noise to the sum, and the server adds none.

    Nobody holds a sum without noise, so the promise holds against the server too. Hospitals pay for the rounds in
    which they take part, and sampling does not help: the protocol shows everybody who takes part.
    """

    _instead = "a promise that needs less noise"

    def _noise(self) -> np.ndarray:
        plan, found = self.plan, []
        for r, promise in enumerate(plan.promises):
            sizes = {len(members) for members in plan.schedule[r] if len(members)} or {len(plan.names)}
            steps = max(int(plan.planned[r].max()), 1)
            own = plan.aggregator.noise_inside(sizes, plan.d, promise, steps)
            sources = [plan.source(r, NOISE_SHARES, h) for h in range(len(plan.names))]
            found.append(replace(own, sources=sources))
        self.inside = found
        self.grid = np.array([own.step for own in found])
        return np.array([own.noise_multiplier for own in found])

    def arrive(self, mean: Tensor, here: Here) -> Tensor:
        came = np.array([len(members) for members in here.members]) / self.divisor
        return mean * torch.from_numpy(came).to(mean).unsqueeze(1)

    def mechanisms(self, took_part: np.ndarray, rounds: int) -> list[list[Mechanism]]:
        return self._seen_by("every hospital", took_part)

    def at_the_server(self, took_part: np.ndarray) -> list[list[Mechanism]]:
        return self._seen_by("server", took_part)

    def _seen_by(self, viewer: str, took_part: np.ndarray) -> list[list[Mechanism]]:
        found = []
        for p, inside, own in zip(self.plan.promises, self.inside, took_part.tolist(), strict=True):
            event = inside.events[viewer]
            about = dict(delta=p.delta, unit=p.unit, units=len(own), secret=p.secure, event=event)
            found.append([Mechanism(event.noise_multiplier, steps=t, **about) for t in own])
        return found


PROTECTIONS = {type(None): Protection, RecordDP: RecordProtection, HospitalDP: HospitalProtection}


def protection_for(promise: Promise, aggregator: Aggregator) -> type[Protection]:
    """What a promise does to rounds with this aggregator."""
    return InsideProtection if aggregator.adds_noise else PROTECTIONS[type(promise)]


def refuse(promise: Promise, federations: Sequence[Federation]) -> None:
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

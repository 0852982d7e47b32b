"""Critics of a GAN on real rows: what each hospital works out on its own, and what a promise does to it.

One critic step is one round. Every hospital gets the critic and answers with its gradient on a batch of its own rows;
what it is compared with, made rows, the server has itself. So nothing but gradients leaves a hospital, and under
`privacy.RecordDP` they are noisy sums of clipped gradients, in one of two ways, each accounted for itself:

`EachHospital`
    A hospital draws its batch with a rate of its own, ``q_h = batch / n_h``, and adds its own noise before anything
    leaves it. The promise needs nobody's help, and holds hospital by hospital.
`InsideTheSum`
    All hospitals draw with one rate q, and the noise comes in shares inside a secure sum (`secagg.PrivateSum`): enough
    of it once, where else each hospital adds enough for itself. The promise rests on as many honest hospitals as the
    protocol asks for.

Hospitals are simulated side by side, for K critics at once. Sums go a short way to the same words and the same noise
(`Aggregator.quick`), as thousands of runs of the protocol with keys would take hours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fedlab_utils.federated.aggregators import BYTES, Aggregator, Round, combine
from fedlab_utils.federated.plan import Here
from fedlab_utils.fleet import Params, normal
from fedlab_utils.fleet.randomness import CRITIC_COINS, CRITIC_NOISE, ROUNDING, beneath, generator, noise_generator
from fedlab_utils.privacy import FOLLOWS, NOT_PRIVATE, Entry, Mechanism, RecordDP
from fedlab_utils.privacy.accounting import calibrated, merged
from fedlab_utils.privacy.mechanisms import composed, has_pld
from fedlab_utils.synth.gan import LEAK

CRITICS, GENERATOR = "critics of each step", "generator"
_LARGEST_NOISE = 8.0  # standard deviations of noise that must fit under the limit of an aggregator


@torch.no_grad()
def gradients(
    critics: Params,
    X: Tensor,
    weight: Tensor,
    *,
    real: bool,
    max_norm: float | None = None,
    blocks: Sequence[slice] = (slice(None),),
) -> tuple[Tensor, Tensor]:
    """Weighted sums of the rows' gradients of the non-saturating loss, each row clipped first if `max_norm` is given.

    The loss of a row with score s is ``log(1 + exp(-s))`` if it is real and ``log(1 + exp(s))`` if it is made. As in
    `fleet.gradients` no gradient of a single row is stored: its squared length is the sum over layers of
    ``|back|^2 (|in|^2 + 1)`` (Goodfellow, arXiv:1510.01799).

    Parameters
    ----------
    critics
        K networks with LeakyReLU and one output.
    X, weight
        Rows ``[K, B, width]``, and how much each counts ``[K, B]``; 0 leaves padding out.
    real
        Whether they are real.
    max_norm
        Length to which a row's gradient over all parameters is scaled down if it is longer. A row whose length leaves
        32 bits counts as nothing.
    blocks
        Rows that are added up together, such as those of one hospital.

    Returns
    -------
    sums, scores
        ``[blocks, K, D]`` in the order of `Params.flat`, and the critics' scores ``[K, B]``.
    """
    inputs, last = [X], len(critics.weights) - 1
    for layer, (w, bias) in enumerate(zip(critics.weights, critics.biases, strict=True)):
        out = torch.baddbmm(bias.unsqueeze(1), inputs[-1], w.transpose(1, 2))
        inputs.append(out if layer == last else F.leaky_relu(out, LEAK))
    scores = inputs.pop()
    backs = [-torch.sigmoid(-scores) if real else torch.sigmoid(scores)]
    for signal, w in zip(reversed(inputs[1:]), reversed(critics.weights), strict=False):
        side = (signal > 0).to(signal).mul_(1 - LEAK).add_(LEAK)
        backs.append(torch.bmm(backs[-1], w).mul_(side))
    backs.reverse()
    if max_norm is not None:
        squares = sum((b**2).sum(2) * ((a**2).sum(2) + 1) for a, b in zip(inputs, backs, strict=True))
        lost = ~squares.isfinite()
        if bool(lost.any()):  # 0 times infinity would poison the sum of all rows, and tell that such a row is there
            backs, inputs = ([s.masked_fill(lost.unsqueeze(2), 0) for s in both] for both in (backs, inputs))
        weight = ((max_norm / squares.sqrt().clamp_min(1e-30)).clamp_max(1) * weight).masked_fill(lost, 0)
    backs = [b.mul_(weight.unsqueeze(2)) for b in backs]
    sums = []
    for block in blocks:
        own = [(a[:, block], b[:, block]) for a, b in zip(inputs, backs, strict=True)]
        sums.append(Params([torch.bmm(b.transpose(1, 2), a) for a, b in own], [b.sum(1) for _, b in own]).flat())
    return torch.stack(sums), scores.squeeze(2)


@dataclass(frozen=True)
class Setting:
    """What is settled before the first step.

    Attributes
    ----------
    names, size
        Of the hospitals, and their rows ``[H]``, which count as public.
    batch_size
        Rows in a step, those of all hospitals together; with Poisson sampling the expected number.
    steps, n_models, d
        Critic steps, critics side by side K, and numbers in one critic D.
    promise, aggregator
        What is promised, and what stands between hospitals and server.
    paid
        Mechanisms that were released before about the same records, under the same budget.
    records
        Most rows of one patient.
    seed, apart
        Of everything that is not the operating system's randomness, and for each model what sets that of a private
        training apart from all others; see `apart`.
    """

    names: Sequence[str]
    size: np.ndarray
    batch_size: int
    steps: int
    n_models: int
    d: int
    promise: RecordDP | None
    aggregator: Aggregator
    paid: Sequence[Mechanism]
    records: int
    seed: int
    apart: Sequence[tuple[int, ...]]

    def source(self, model: int, *stream: int) -> np.random.Generator:
        """Coins or noise of one model, from the seed or, if the promise is to be secure, from the operating system."""
        if self.promise is not None and self.promise.secure:
            return noise_generator()
        return generator(self.seed, model, *stream, *self.apart[model])


def apart(tables: Sequence[np.ndarray], *about) -> tuple[int, ...]:
    """What no other private training has: other rows or another setting never meet the same noise under one seed."""
    return (beneath(*tables, about=([rows.shape for rows in tables], *about)),)


class InTheOpen:
    """No promise: batches of a fixed size, in proportion to the hospitals' rows, and their mean gradients.

    Attributes
    ----------
    max_norm
        To which the gradient of a row is clipped; None if it is not.
    weight
        How much each hospital counts in the mean, ``[H]``.
    inside
        For each critic the noise that hospitals add inside the sum, if they do.
    factor
        What turns the aggregator's mean into the mean gradient of a row.
    """

    max_norm: float | None = None
    inside: Sequence = ()
    factor: float = 1.0
    what: ClassVar[str] = "no promise"

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        share = setting.batch_size * setting.size / setting.size.sum()
        self.weight = np.clip(np.rint(share), 1, setting.size).astype(int)

    def draw(self, hospital: int, rng: np.random.Generator) -> np.ndarray:
        """Numbers of a hospital's rows in one batch."""
        return rng.choice(self.setting.size[hospital], self.weight[hospital], replace=False)

    def leave(self, sums: Tensor) -> Tensor:
        """What leaves the hospitals, from the sums of their rows' gradients: both ``[H, K, D]``."""
        return sums / torch.from_numpy(self.weight).to(sums).view(-1, 1, 1)

    def about(self) -> dict[str, object]:
        """Rates and noise, for people to read."""
        return {"batch": dict(zip(self.setting.names, self.weight.tolist(), strict=True))}

    def entries(self, steps: int, model: int) -> tuple[Entry, ...]:
        """What so many steps of one model released."""
        way, everybody, detail = self.setting.aggregator, ", ".join(self.setting.names), f"model {model}"
        seen = [(way.sees, "server"), (CRITICS, "every hospital"), (GENERATOR, "outsider")]
        return tuple(Entry(what, everybody, viewer, NOT_PRIVATE, detail) for what, viewer in seen)

    def _follows(self, model: int, *seen: tuple[str, str]) -> tuple[Entry, ...]:
        """Entries of what is computed from noisy releases alone."""
        everybody = ", ".join(self.setting.names)
        return tuple(Entry(what, everybody, viewer, FOLLOWS, f"model {model}") for what, viewer in seen)


class EachHospital(InTheOpen):
    """`RecordDP`, hospital by hospital: a rate, a noise and an epsilon of its own."""

    what = "noise of each hospital's own"

    def __init__(self, setting: Setting) -> None:
        self.setting, self.weight = setting, setting.size
        own, promise = setting.batch_size / len(setting.size), setting.promise
        self.rate = np.minimum(1.0, own / setting.size)
        self.max_norm = promise.max_grad_norm
        self.noise = np.array([_noise(promise, float(q), setting.steps, setting.paid) for q in self.rate])
        self.expected = self.rate * setting.size
        spread = self.noise * self.max_norm / self.expected
        most = spread.argmax()
        needed, limit = self.max_norm + _LARGEST_NOISE * spread[most], setting.aggregator.largest
        if needed > limit:
            raise ValueError(
                f"aggregator takes numbers up to {limit:g}, and the noise of {setting.names[most]} with its "
                f"{setting.size[most]} rows needs {needed:.3g}: give it that limit, or add noise inside the sum with "
                "secagg.PrivateSum()."
            )
        ends = np.ndindex(len(setting.size), setting.n_models)
        sources = [setting.source(k, CRITIC_NOISE, h) for h, k in ends]
        self._normal = normal([max(setting.steps, 1)] * len(sources), setting.d, sources)

    def draw(self, hospital: int, rng: np.random.Generator) -> np.ndarray:
        return np.flatnonzero(rng.random(self.setting.size[hospital]) < self.rate[hospital])

    def leave(self, sums: Tensor) -> Tensor:
        spread, expected = (torch.from_numpy(v).to(sums).view(-1, 1, 1) for v in (self.noise, self.expected))
        return (sums + next(self._normal).view_as(sums) * spread * self.max_norm) / expected

    def about(self) -> dict[str, object]:
        numbers = {"sampling": self.rate.tolist(), "noise_multiplier": self.noise.tolist()}
        return {name: dict(zip(self.setting.names, own, strict=True)) for name, own in numbers.items()}

    def entries(self, steps: int, model: int) -> tuple[Entry, ...]:
        s, p, found = self.setting, self.setting.promise, []
        for name, n, q, z in zip(s.names, s.size.tolist(), self.rate.tolist(), self.noise.tolist(), strict=True):
            m = Mechanism(z, q, steps, p.delta, p.unit, n, secret=p.secure, records=s.records)
            found.append(Entry(s.aggregator.sees, name, "server", m.guarantee, f"model {model}", m))
        return (*found, *self._follows(model, (CRITICS, "every hospital"), (GENERATOR, "outsider")))


class InsideTheSum(InTheOpen):
    """`RecordDP` by one sum a step: one rate for all, and noise in shares of the hospitals inside the sum.

    The accounting is that of Poisson-sampled Skellam noise by Renyi differential privacy (`privacy.events`), scaled
    for the fewest honest hospitals that a sum can have.
    """

    what = "noise in shares inside one sum a step"

    def __init__(self, setting: Setting) -> None:
        self.setting, self.weight = setting, np.ones_like(setting.size)
        n_rows, n, promise = int(setting.size.sum()), len(setting.size), setting.promise
        self.rate, self.max_norm = min(1.0, setting.batch_size / n_rows), promise.max_grad_norm
        self.factor = n / (self.rate * n_rows)
        largest = self.max_norm * max(1.0, self.rate * setting.size.max())  # rows of one batch never all agree
        beside = merged(tuple(pair for m in setting.paid for pair in m.events()))
        how = dict(sampling=self.rate, largest=largest, beside=beside)
        one = setting.aggregator.noise_inside({n}, setting.d, promise, max(setting.steps, 1), **how)
        self.inside = [
            replace(one, sources=[setting.source(k, CRITIC_NOISE, h) for h in range(n)])
            for k in range(setting.n_models)
        ]

    def draw(self, hospital: int, rng: np.random.Generator) -> np.ndarray:
        return np.flatnonzero(rng.random(self.setting.size[hospital]) < self.rate)

    def leave(self, sums: Tensor) -> Tensor:
        return sums

    def about(self) -> dict[str, object]:
        return {"sampling": self.rate, "noise_multiplier": self.inside[0].noise_multiplier}

    def entries(self, steps: int, model: int) -> tuple[Entry, ...]:
        s, p, found = self.setting, self.setting.promise, []
        seen = {"server": s.aggregator.sees, "every hospital": CRITICS}
        for name in s.names:
            one = object()  # what both viewers see is one release
            for viewer, event in self.inside[model].events.items():
                about = dict(units=int(s.size.sum()), secret=p.secure, records=s.records, event=event)
                m = Mechanism(event.noise_multiplier, self.rate, steps, p.delta, p.unit, **about)
                found.append(Entry(seen[viewer], name, viewer, m.guarantee, f"model {model}", m, None, one))
        return (*found, *self._follows(model, (GENERATOR, "outsider")))


def _noise(promise: RecordDP, rate: float, steps: int, paid: Sequence[Mechanism]) -> float:
    """The least noise multiplier with which these steps, and what was paid before, keep a promise together."""
    steps = max(steps, 1)
    alone = promise.noise(sampling=rate, steps=steps)
    if promise.epsilon is None or not paid:
        return alone

    def spend(noise: float) -> float:
        return together([*paid, Mechanism(noise, rate, steps, promise.delta)], promise.delta)

    found = calibrated(spend, promise.epsilon, alone * 1.02)
    if found is None:
        raise ValueError(f"paid leaves too little of epsilon={promise.epsilon:g} to the critics; pay less before.")
    return found


def together(mechanisms: Sequence[Mechanism], delta: float) -> float:
    """Epsilon of all these releases, by PLD where each of them has a loss distribution."""
    return composed(mechanisms, delta, "pld" if has_pld(mechanisms) else "rdp")


class Hospitals:
    """Real rows, hospital by hospital: the only place where they are looked at."""

    def __init__(self, parts: Sequence[np.ndarray], setting: Setting) -> None:
        kind = InTheOpen
        if setting.promise is not None:
            kind = InsideTheSum if setting.aggregator.adds_noise else EachHospital
        self.setting, self.protection, self.done = setting, kind(setting), 0
        setting.aggregator.grid_step(len(setting.size), int(self.protection.weight.sum()))
        self._rows = torch.from_numpy(np.concatenate(parts))
        self._first = np.cumsum(setting.size) - setting.size
        n, models = len(setting.size), range(setting.n_models)
        self._coins = [[setting.source(k, CRITIC_COINS, h) for h in range(n)] for k in models]
        self._rounding = [generator(setting.seed, k, ROUNDING) for k in models]  # no promise rests on these
        self._memory: dict = {}
        self._sent: Counter = Counter()
        self._bytes: Counter = Counter()

    def gradient(self, critics: Params) -> Tensor:
        """The mean gradient of a row ``[K, D]``, as it comes out of the aggregator."""
        s, protection = self.setting, self.protection
        X, weight, blocks = self._batch()
        sums, _ = gradients(critics, X, weight, real=True, max_norm=protection.max_norm, blocks=blocks)
        updates = protection.leave(sums).transpose(0, 1).reshape(-1, s.d)
        here = Here([np.arange(len(s.size))] * s.n_models, len(s.size))
        nobody = Here([np.arange(0)] * s.n_models, len(s.size))
        alike = np.tile(protection.weight, (s.n_models, 1))
        short = [False] * s.n_models  # nobody reads the messages, and no values are kept
        about = (here, nobody, alike, self._rounding, short, short, critics.flat(), self._memory, protection.inside)
        mean, sent = combine(s.aggregator, updates, Round(self.done + 1, *about))
        self.done += 1
        self._note([("server", h, "critic", BYTES * s.d, None) for h in range(len(s.size))] + sent[0])
        return mean * protection.factor

    def messages(self) -> list[tuple[str, str, str, int, int]]:
        """Who sent what to whom for one of the models: sender, receiver, what, how many messages, bytes in all."""
        return [(*ends, self._sent[ends], self._bytes[ends]) for ends in self._sent]

    def _batch(self) -> tuple[Tensor, Tensor, list[slice]]:
        """Rows of a batch ``[K, B, width]``, which of them count ``[K, B]``, and where those of each hospital are."""
        n_models, index, there, blocks, end = self.setting.n_models, [], [], [], 0
        for h, first in enumerate(self._first):
            picks = [self.protection.draw(h, coins[h]) for coins in self._coins]
            longest = max(map(len, picks))
            own = np.zeros((n_models, longest), dtype=np.int64)
            for k, pick in enumerate(picks):
                own[k, : len(pick)] = pick
            index.append(own + first)
            there.append(np.arange(longest) < np.array([[len(pick)] for pick in picks]))
            blocks.append(slice(end, end + longest))
            end += longest
        rows = torch.from_numpy(np.concatenate(index, axis=1))
        X = self._rows.index_select(0, rows.flatten()).view(*rows.shape, self._rows.shape[1])
        return X, torch.from_numpy(np.concatenate(there, axis=1)).to(X), blocks

    def _note(self, sent: Sequence[tuple]) -> None:
        for sender, receiver, what, n_bytes, _ in sent:
            ends = tuple(end if isinstance(end, str) else self.setting.names[end] for end in (sender, receiver))
            self._sent[(*ends, what)] += 1
            self._bytes[(*ends, what)] += n_bytes

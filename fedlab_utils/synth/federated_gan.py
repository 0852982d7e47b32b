"""A GAN over several hospitals: critics learn on real rows in the hospitals, generators never see one.

The server holds K generators and K critics. In each step the hospitals work out how their rows would change the critic
(`critics`), an aggregator brings that together, and the server adds how made rows would change it and takes one step
of Adam. After every few steps the generator takes one, on made rows alone. So whatever the generator becomes follows
from the hospitals' gradients: where those are differentially private, it is, and so is every row that it makes
(post-processing).

What helps a private GAN is the default: large batches, many critic steps for one of the generator (Bie et al.,
arXiv:2302.00079), made rows clipped as real ones are, averaged generator weights. What breaks clipping row by row is
not used: no gradient penalty, no packed rows, no batch norm. Generators can be warmed up on rows that others made
(`warm`), such as rows drawn from noisy tables that were paid for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, function, number, numbers, whole, widths
from fedlab_utils._progress import progress
from fedlab_utils.federated.aggregators import Aggregator, as_aggregator
from fedlab_utils.fleet import Params, one_thread
from fedlab_utils.fleet.randomness import GENERATOR_TRAINING, generator
from fedlab_utils.privacy import Entry, Mechanism, RecordDP
from fedlab_utils.synth import critics as real_side
from fedlab_utils.synth import gan
from fedlab_utils.synth.critics import Hospitals, Setting, gradients, together
from fedlab_utils.synth.players import Adam

_BETAS = (0.5, 0.9)  # of Adam; with (0.9, 0.999) a GAN goes round in circles
_LARGEST = 1e3  # of an encoded number: squares of larger ones could leave 32 bits
_MOST_PAID = 0.95  # of a budget, by what was released before the critics
_MADE_FOR_THE_GENERATOR = 500  # rows in a step of the generator, at most
_WARM = {"critic_steps": 2, "made": 300, "critic_lr": 2e-3}  # of the warm-up, which has no noise to outweigh


@dataclass(frozen=True)
class Trained:
    """Generators, and what it cost to train them.

    Attributes
    ----------
    generator
        K generators, their weights averaged over the last steps.
    losses
        ``[generator steps, 2, K]``: loss of the generator, and of the critic on made rows. On real rows it is not
        known, as that would be a release of its own. Steps of the warm-up come first.
    entries
        For each model what its training released, for `privacy.Ledger`.
    messages
        Who sent what to whom, for one model: sender, receiver, what, messages, bytes.
    about
        What was done: mechanism, critic steps, rates, noise.
    """

    generator: Params
    losses: np.ndarray
    entries: tuple[tuple[Entry, ...], ...]
    messages: pd.DataFrame
    about: dict[str, object]


class _RealSide(Protocol):
    """Where the critics' gradients on real rows come from: hospitals, or a table for the warm-up."""

    def gradient(self, critics: Params) -> Tensor:
        """The mean gradient of a real row ``[K, D]``."""


class _Table:
    """Rows for the warm-up, a table of each model's own: nobody's, so nothing is protected."""

    def __init__(self, tables: Sequence[np.ndarray], rngs: Sequence[np.random.Generator]) -> None:
        self._rows, self._rngs = [torch.from_numpy(t) for t in tables], rngs

    def gradient(self, critics: Params) -> Tensor:
        picks = [
            r[torch.from_numpy(rng.integers(len(r), size=_WARM["made"]))]
            for r, rng in zip(self._rows, self._rngs, strict=True)
        ]
        X = torch.stack(picks)
        return gradients(critics, X, X.new_full(X.shape[:2], 1 / X.shape[1]), real=True)[0][0]


class Rates(NamedTuple):
    """How the server learns: steps of the critic for one of the generator, rows made for a step, learning rates."""

    critic_steps: int
    made: int
    lr: float
    critic_lr: float
    average: float
    max_norm: float | None
    steepest: float | None


class Server:
    """Generators and critics, and nothing of any patient."""

    def __init__(
        self,
        layout: gan.Layout,
        shares: np.ndarray,
        rngs: Sequence[np.random.Generator],
        hidden: Sequence[int],
        generator_hidden: Sequence[int],
    ) -> None:
        self._layout, self._shares, self._rngs = layout, shares, rngs
        n_models = len(rngs)
        self.generator = fleet.init(n_models, (gan.NOISE + layout.n_given, *generator_hidden, layout.width), seed=rngs)
        self.critics = fleet.init(n_models, (layout.width, *hidden, 1), seed=rngs)
        self.averaged = self.generator.clone()
        for tensor in self.generator.tensors():
            tensor.requires_grad_()
        self.losses: list[np.ndarray] = []
        self.begin(Rates(1, 1, 0.0, 0.0, 0.0, None, None))

    def begin(self, rates: Rates) -> None:
        """Go on with other rates, and with optimisers that remember nothing."""
        self._rates, self._done = rates, 0
        self._slow = Adam(self.generator.tensors(), rates.lr, _BETAS)
        self._fast = Adam(self.critics.tensors(), rates.critic_lr, _BETAS)

    def critic_step(self, on_real: Tensor) -> None:
        """One step of the critics, from the mean gradient of a real row ``[K, D]``; now and then one of the others."""
        rates = self._rates
        with torch.no_grad():
            made = self._make(rates.made)
        each = made.new_full(made.shape[:2], 1 / rates.made)
        (on_made,), scores = gradients(self.critics, made, each, real=False, max_norm=rates.max_norm)
        together = self.critics.like(on_real.to(on_made) + on_made)
        self._fast.step([t.contiguous() for t in together.tensors()])
        if rates.steepest is not None:
            _flatten(self.critics, rates.steepest)
        self._done += 1
        if self._done % rates.critic_steps == 0:
            self._generator_step(F.softplus(scores).mean(1))

    def _generator_step(self, critic_loss: Tensor) -> None:
        scores = gan.forward(self.critics, self._make(min(self._rates.made, _MADE_FOR_THE_GENERATOR))).squeeze(2)
        loss = F.softplus(-scores).mean(1)
        tensors = self.generator.tensors()
        self._slow.step([t.contiguous() for t in torch.autograd.grad(loss.sum(), tensors)])
        n = len(self.losses)
        with torch.no_grad():
            keep = min(self._rates.average, n / (n + 10))  # early weights are forgotten sooner
            self.averaged.map(lambda old, new: old.lerp_(new, 1 - keep), self.generator)
        self.losses.append(np.stack([loss.detach().numpy(), critic_loss.numpy()]))

    def _make(self, n: int) -> Tensor:
        """Encoded rows ``[K, n, width]``, with labels as often as their shares say."""
        layout = self._layout
        if layout.n_given:
            codes = [rng.choice(layout.n_given, n, p=p) for rng, p in zip(self._rngs, self._shares, strict=True)]
            label = torch.eye(layout.n_given)[torch.from_numpy(np.stack(codes))]
        else:
            label = torch.zeros(len(self._rngs), n, 0)
        return gan.generate(self.generator, layout, label, *gan.draw_noise(layout.width, n, self._rngs))


def _flatten(critics: Params, steepest: float) -> None:
    """Scale down, in place, every weight matrix that stretches some direction by more than this."""
    for weight in critics.weights:
        stretch = torch.linalg.matrix_norm(weight, ord=2, keepdim=True)
        weight.mul_((steepest / stretch.clamp_min(1e-30)).clamp_max(1))


def train(
    parts: Sequence[np.ndarray],
    layout: gan.Layout,
    shares: np.ndarray | None = None,
    *,
    names: Sequence[str] | None = None,
    promise: RecordDP | None = None,
    aggregator: Aggregator | None = None,
    paid: Sequence[Mechanism] = (),
    records: int = 1,
    warm: Sequence[np.ndarray] | None = None,
    warm_steps: int = 2400,
    steps: int = 4000,
    hidden: Sequence[int] = (32, 32),
    generator_hidden: Sequence[int] = (128, 128),
    critic_steps: int = 5,
    batch_size: int = 2000,
    made: int = 1000,
    lr: float = 5e-4,
    critic_lr: float = 3e-3,
    average: float = 0.99,
    steepest: float | None = None,
    seed: int = 0,
    n_models: int = 1,
    on_step: Callable[[Trained], bool | None] | None = None,
    every: int = 250,
) -> Trained:
    """Train K generators over several hospitals, by critic steps in rounds.

    Parameters
    ----------
    parts
        Encoded rows of each hospital ``[n_h, width]``, by one encoder that nothing was learnt for: what it knows is
        public, or was paid for. The numbers of rows count as public.
    layout
        What the generators have to make.
    shares
        How often each label occurs ``[K, labels]``, as far as that is public or was paid for; None without label.
    names
        Of the hospitals.
    promise
        `privacy.RecordDP`, or None. A budget covers all critic steps of one model, and what was `paid` before.
    aggregator
        What stands between hospitals and server; None is the sum in the open. With ``secagg.PrivateSum()`` noise is
        added once a step, in shares inside the sum, else by each hospital; see `critics`.
    paid
        What was released before about the same records at the expense of the same budget, such as label counts.
    records
        Most rows of one patient.
    warm, warm_steps
        Rows made by others, encoded, for each model ``[m, width]``: the generators first learn these, in so many steps
        of the critics. They are not protected here.
    steps
        Of the critics, each a round of all hospitals; 0 for the warm-up alone.
    hidden, generator_hidden
        Widths of the hidden layers of critics and generators. Small critics need less noise.
    critic_steps
        Of the critics for one of the generators.
    batch_size
        Rows in a critic step, those of all hospitals together; under a promise the expected number.
    made
        Made rows in a critic step.
    lr, critic_lr
        Of generators and critics.
    average
        How much of the averaged generator weights is kept in each step; 0 means no averaging.
    steepest
        Largest spectral norm of a weight matrix of the critics, projected after each step; None for none.
    seed
        Of starts, labels and made rows; of coins and noise too, if the promise is not secure.
    n_models
        K.
    on_step, every
        Called after every so many critic steps with what there is so far; training stops if it returns True.

    Raises
    ------
    ValueError
        With one sentence, if an argument does not fit, before anything is trained.
    """
    n_models, seed, steps = whole("n_models", n_models), whole("seed", seed, 0), whole("steps", steps, 0)
    parts, shares = _checked_rows("parts", parts, layout), _checked_shares(shares, n_models, layout)
    counts = {"critic_steps": critic_steps, "made": made, "batch_size": batch_size, "every": every}
    counts = {name: whole(name, value) for name, value in counts.items()}
    rates = _checked_rates(lr, critic_lr, average, steepest, counts, getattr(promise, "max_grad_norm", None))
    warm, warm_steps = _checked_warm(warm, n_models, layout, steps), whole("warm_steps", warm_steps, 0)
    function("on_step", on_step)
    size, way = np.array([len(p) for p in parts]), as_aggregator(aggregator)
    names = _checked_names(names, len(parts))
    _refuse(promise, way, paid, size, names)
    hidden, generator_hidden = widths(hidden), widths(generator_hidden)
    server = Server(layout, shares, _streams(seed, n_models), hidden, generator_hidden)
    about = (counts["batch_size"], steps, n_models, server.critics.n_parameters)
    unlike = (promise, aggregator, layout, rates, hidden, generator_hidden, counts["batch_size"], steps, warm_steps)
    own = [[*parts, shares[k], *(warm or [])[k : k + 1]] for k in range(n_models)]
    apart = [real_side.apart(tables, *unlike, tuple(paid)) if promise else () for tables in own]
    setting = Setting(names, size, *about, promise, way, tuple(paid), whole("records", records), seed, apart)
    hospitals = Hospitals(parts, setting) if steps else None
    look = None if on_step is None else lambda: on_step(_so_far(server, hospitals))
    with one_thread():
        if warm is not None:
            server.begin(rates._replace(**_WARM, max_norm=None))
            _play(server, _Table(warm, _streams(seed, n_models, 0)), warm_steps, "Warm-up")
        server.begin(rates)
        if hospitals is not None:
            _play(server, hospitals, steps, "Critic steps", look, every)
    return _so_far(server, hospitals)


def _play(
    server: Server, real: _RealSide, steps: int, label: str, look: Callable | None = None, every: int = 1
) -> None:
    for step in progress(range(1, steps + 1), label, steps, quiet=look is not None):
        server.critic_step(real.gradient(server.critics))
        if look is not None and step % every == 0 and look() is True:
            break


def _so_far(server: Server, hospitals: Hospitals | None) -> Trained:
    n_models = server.averaged.n_models
    losses = np.array(server.losses, np.float32).reshape(-1, 2, n_models)
    entries, log, about = ((),) * n_models, [], {"mechanism": "no step on real rows", "critic_steps": 0}
    if hospitals is not None and hospitals.done:
        protection, log = hospitals.protection, hospitals.messages()
        entries = tuple(protection.entries(hospitals.done, k) for k in range(n_models))
        about = {"mechanism": protection.what, "critic_steps": hospitals.done, **protection.about()}
    messages = pd.DataFrame(log, columns=["sender", "receiver", "what", "messages", "bytes"])
    return Trained(server.averaged.clone(), losses, entries, messages, about)


def _streams(seed: int, n_models: int, *stream: int) -> list[np.random.Generator]:
    """Random numbers of the server, of each model; none of them has to be secret."""
    return [generator(seed, k, GENERATOR_TRAINING, *stream) for k in range(n_models)]


def _checked_rows(name: str, tables, layout: gan.Layout) -> list[np.ndarray]:
    """Encoded rows in 32 bits, refused if a generator with this layout could not have made such."""
    if not isinstance(tables, Sequence) or not len(tables):
        raise ValueError(f"{name} must be a list of one or more tables of encoded rows; got {brief(tables)}.")
    found = [numbers(name, table, only_finite=True).astype(np.float32) for table in tables]
    for table in found:
        if table.ndim != 2 or table.shape[1] != layout.width or not len(table):
            raise ValueError(f"{name} must hold tables [n, {layout.width}] of one row or more; got {table.shape}.")
        if np.abs(table).max() > _LARGEST:
            raise ValueError(f"{name} must hold encoded numbers up to {_LARGEST:g}; got {np.abs(table).max():g}.")
    return found


def _checked_warm(warm, n_models: int, layout: gan.Layout, steps: int) -> list[np.ndarray] | None:
    if warm is None:
        if not steps:
            raise ValueError("steps must be at least 1 where there are no rows to warm up on; got 0.")
        return None
    found = _checked_rows("warm", warm, layout)
    if len(found) != n_models:
        raise ValueError(f"warm must hold a table for each of the {n_models} models; got {len(found)}.")
    return found


def _checked_names(names, n: int) -> list[str]:
    found = [f"hospital {h + 1}" for h in range(n)] if names is None else list(names)
    if len(found) != n:
        raise ValueError(f"names must be one for each of the {n} hospitals; got {brief(names)}.")
    return found


def _checked_shares(shares, n_models: int, layout: gan.Layout) -> np.ndarray:
    shape = (n_models, layout.n_given)
    if shares is None and not layout.n_given:
        return np.zeros(shape)
    found = numbers("shares", np.zeros(0) if shares is None else shares, only_finite=True)
    if found.shape != shape or found.min(initial=0) < 0 or (layout.n_given and not np.allclose(found.sum(1), 1)):
        raise ValueError(f"shares must be {list(shape)}, 0 or more, and add up to 1 in each row; got {brief(shares)}.")
    return found / found.sum(1, keepdims=True) if layout.n_given else found


def _checked_rates(lr, critic_lr, average, steepest, counts: dict[str, int], max_norm: float | None) -> Rates:
    average = number("average", average)
    if average >= 1:
        raise ValueError(f"average must be a number of at least 0 and below 1; got {average!r}.")
    if steepest is not None and not number("steepest", steepest):
        raise ValueError(f"steepest must be above 0, or None; got {steepest!r}.")
    both = number("lr", lr), number("critic_lr", critic_lr)
    return Rates(counts["critic_steps"], counts["made"], *both, average, max_norm, steepest)


def _refuse(
    promise: RecordDP | None, way: Aggregator, paid: Sequence[Mechanism], size: np.ndarray, names: Sequence[str]
) -> None:
    """Refuse a promise that is none for these hospitals, and an aggregator that a server cannot work with."""
    if promise is not None and not isinstance(promise, RecordDP):
        raise ValueError(f"promise must be privacy.RecordDP(...) or None; got {brief(promise)}.")
    if promise is None and way.adds_noise:
        raise ValueError("promise must be privacy.RecordDP(...) with an aggregator that adds noise; got None.")
    if way.sees is None or way.delivers:
        raise ValueError(
            "aggregator must bring the sum to the server, which trains the generator with it; this one brings it to "
            "the hospitals alone."
        )
    if len(size) == 1:
        try:
            way.grid_step(1, int(size.sum()))
        except ValueError:
            wrong = "parts must hold two hospitals or more with this aggregator: a sum of one is its own gradient."
            raise ValueError(wrong) from None
    if promise is None:
        return
    most = size.argmax()
    if promise.delta * size[most] >= 1:
        raise ValueError(
            f"delta must be below 1/{size[most]}, one over the number of rows of {names[most]}; got {promise.delta:g}."
        )
    if promise.epsilon is not None and paid and (spent := together(paid, promise.delta)) > _MOST_PAID * promise.epsilon:
        raise ValueError(
            f"paid must leave some of epsilon={promise.epsilon:g} to the critics; it spends {spent:.3g} of it already."
        )

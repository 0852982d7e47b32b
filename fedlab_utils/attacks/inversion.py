"""Patients out of an update by search: rows are moved until they would have made the update that was seen.

Where arithmetic (`read_batch`) ends, or the update is that of several steps, an attacker looks for rows whose own
update points in the same direction (Geiping et al., arXiv:2003.14053). The numbers of a row are free, the columns of a
category are probabilities (Vero et al., arXiv:2210.01785), and the steps that a hospital took by itself are taken
again (Dimitrov et al., arXiv:2206.12395).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor

from fedlab_utils import _arguments as check
from fedlab_utils import fleet
from fedlab_utils._arguments import brief, function, number, one_of, whole
from fedlab_utils._progress import progress
from fedlab_utils.attacks.records import Fields, known
from fedlab_utils.attacks.subtraction import fit_together
from fedlab_utils.data import Federation
from fedlab_utils.fleet import Loss, Params
from fedlab_utils.fleet.randomness import GUESSES, generator, per_model
from fedlab_utils.synth.players import Adam

_SLOWER = (0.6, 0.85)  # of the steps, after which the rate is a third
_LOOKS = 20  # times that `on_step` is called
_TINY = 1e-12


@dataclass(frozen=True)
class Inverted:
    """Rows that explain K updates, each from its best start.

    Attributes
    ----------
    rows
        In the units of ``X_train``, every category decided, ``[K, n, d]``.
    labels
        With which labels, ``[K, n]``.
    loss
        1 minus the cosine between the update seen and the one that the rows make, of every start ``[K, restarts]``.
    every
        The rows of every start, categories as probabilities, ``[K, restarts, n, d]``.
    """

    rows: Tensor
    labels: Tensor
    loss: Tensor
    every: Tensor


def invert(
    params: Params,
    update: Params,
    n_rows: int,
    *,
    federation: Federation | Fields | None = None,
    local_steps: int = 1,
    lr: float | None = None,
    labels: Tensor | None = None,
    loss: Loss = "binary",
    restarts: int = 8,
    steps: int = 800,
    rate: float = 0.1,
    seed: int = 0,
    on_step: Callable[[int, Inverted], object] | None = None,
) -> Inverted:
    """Search for rows whose update points where the update seen points. All starts of all updates move at once.

    Parameters
    ----------
    params
        K networks as they were before.
    update
        Their gradients, averaged over the rows; or the change of several local steps divided by minus the learning
        rate. Only its direction counts.
    n_rows
        How many patients are behind each update.
    federation
        Whose patients they are, or its `fields`; without, every column is a number.
    local_steps
        How many steps on all of the rows, at a rate of `lr`, the attacker takes again. 1 takes the update for a
        gradient.
    lr
        The hospital's learning rate, for more than one step.
    labels
        ``[K, n_rows]``; None works out how many are 1 (`positives`): their order does not matter. For other losses,
        and for more than one step, they are needed.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.
    restarts, steps, rate
        Starts for each update, steps of Adam and its rate, which falls to a ninth towards the end.
    seed
        Of the starts.
    on_step
        Called about twenty times with the number of steps done and what was found so far, instead of a bar of
        progress. What it raises ends the search.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    fit_together(params, update)
    n_rows, local_steps, restarts, steps = (
        whole(name, value)
        for name, value in dict(n_rows=n_rows, local_steps=local_steps, restarts=restarts, steps=steps).items()
    )
    rate = number("rate", rate)
    function("on_step", on_step)
    one_of("loss", loss, fleet.LOSSES)
    if (local_steps > 1) != (lr is not None):
        raise ValueError(f"Give lr where local_steps is above 1, and only there; got {brief(lr)} and {local_steps}.")
    lr = 0.0 if lr is None else number("lr", lr)
    K, d = params.n_models, params.sizes[0]
    columns = None if federation is None else known(federation, d)
    labels = _labels(params, update, n_rows, labels, loss, local_steps)
    Z = np.stack([rng.normal(size=(restarts, n_rows, d)) for rng in per_model(seed, K, GUESSES)])
    Z = torch.from_numpy(Z.astype(np.float32)).flatten(0, 1).requires_grad_()
    repeated = (t.map(lambda p: p.detach().float().repeat_interleave(restarts, 0)) for t in (params, update))
    start, seen = next(repeated), next(repeated).flat()
    y = labels.float().repeat_interleave(restarts, 0)[..., None]
    rows_of, adam = _Decoder(columns, d), Adam([Z], rate)

    def now(score: Tensor) -> Inverted:
        every, score = rows_of(Z).detach().view(K, restarts, n_rows, d), score.detach().view(K, restarts)
        best = every[torch.arange(K), score.argmin(1)]
        return Inverted(best if columns is None else columns.snapped(best), labels, score, every)

    looks = {round(steps * (k + 1) / _LOOKS) for k in range(_LOOKS)} if on_step else set()
    with fleet.one_thread():
        for step in progress(range(1, steps + 1), "Search", steps, quiet=on_step is not None):
            score = _distance(_made(start, rows_of(Z), y, loss, local_steps, lr), seen)
            adam.step(torch.autograd.grad(score.sum(), [Z]))
            if step in [round(steps * share) for share in _SLOWER]:
                adam.lr /= 3
            if step in looks:
                on_step(step, now(score))
        with torch.no_grad():
            return now(_distance(_made(start, rows_of(Z), y, loss, local_steps, lr), seen))


class _Decoder:
    """What is searched for to rows: numbers as they are, each category's columns through a softmax."""

    def __init__(self, columns: Fields | None, d: int) -> None:
        self._number, self._together, self._alone = torch.ones(d), torch.eye(d), torch.zeros(d)
        for block in columns.blocks if columns else ():
            at = torch.tensor(block)
            self._number[at] = 0
            self._together[at[:, None], at] = 1
            self._alone[at] = float(len(block) == 1)  # of two categories one has no column: a sigmoid

    def __call__(self, Z: Tensor) -> Tensor:
        if bool(self._number.all()):
            return Z
        raised = (Z * (1 - self._number)).clamp(-30, 30).exp()
        return Z * self._number + (1 - self._number) * raised / (raised @ self._together + self._alone)


def _made(params: Params, X: Tensor, y: Tensor, loss: Loss, local_steps: int, lr: float) -> Tensor:
    """Sum of the gradients of some steps on all rows, ``[K, D]``; autograd can follow it back to the rows."""
    weight, total = X.new_full(X.shape[:2], 1 / X.shape[1]), None
    for step in range(local_steps):
        slope = fleet.gradients(params, X, y, weight, loss=loss, create_graph=True)
        total = slope if total is None else total.map(torch.add, slope)
        if step + 1 < local_steps:
            params = params.map(lambda w, g: torch.sub(w, g, alpha=lr), slope)
    return total.flat()


def _distance(made: Tensor, seen: Tensor) -> Tensor:
    """1 minus the cosine, ``[K]``."""
    length = made.norm(dim=1).clamp_min(_TINY) * seen.norm(dim=1).clamp_min(_TINY)
    return 1 - (made * seen).sum(1) / length


def _labels(params, update, n_rows, given, loss, local_steps) -> Tensor:
    """Labels ``[K, n]``, as they were given or as many ones as there must be."""
    if given is None:
        if loss != "binary":
            raise ValueError(f"labels must be given for a loss of {loss!r}; got None.")
        if local_steps > 1:
            raise ValueError(
                f"labels must be given for {local_steps} local steps: how many are 1 can be read off one step alone; "
                "got None."
            )
        ones = positives(params, update, n_rows)
        return (torch.arange(n_rows)[None] < ones[:, None]).float()
    shape = (params.n_models, n_rows)
    if not isinstance(given, Tensor) or given.numel() != shape[0] * shape[1] or given.shape[0] != shape[0]:
        raise ValueError(f"labels must be a tensor {list(shape)}; got {brief(given)}.")
    check.labels(given, params.sizes[-1], loss)
    return given.detach().reshape(shape)


def positives(params: Params, update: Params, n_rows: int) -> Tensor:
    """How many of the labels behind each gradient are 1, ``[K]``, from the output's bias alone.

    Its gradient is the mean of (risk - label). The risks are not known, but those of made-up rows are near.

    Parameters
    ----------
    params, update, n_rows
        As in `invert`.

    Raises
    ------
    ValueError
        If an argument does not fit, or the networks have more than one output.
    """
    fit_together(params, update)
    if params.sizes[-1] != 1:
        raise ValueError(f"params must have one output; got {params.sizes[-1]}.")
    made_up = generator(0, GUESSES).normal(size=(256, params.sizes[0])).astype(np.float32)
    with torch.no_grad():
        risk = fleet.forward(params, torch.from_numpy(made_up)).sigmoid().mean((1, 2))
    ones = (whole("n_rows", n_rows) * (risk - update.biases[-1][:, 0])).round()
    return ones.clamp(0, n_rows).long()


def reconstruction_bound(prior, sigma):
    """The most that anybody can make of one Gaussian release of a patient whom they could have guessed.

    Whoever would have been right with a chance of `prior` without the release is right with one of at most
    ``Phi(Phi^-1(prior) + 1 / sigma)`` with it (Hayes et al., arXiv:2302.07225; Dong et al., arXiv:1905.02383).

    Parameters
    ----------
    prior
        Chances from 0 to 1.
    sigma
        Standard deviation of the noise over how much the release changes with the patient: over the clip norm if the
        patient is there or not, over twice that if one patient is replaced by another. 0 is no noise.

    Returns
    -------
    ndarray
        Of the shape that `prior` and `sigma` have together.

    Raises
    ------
    ValueError
        If a prior is no chance, or a sigma below 0.
    """
    prior, sigma = np.asarray(prior, float), np.asarray(sigma, float)
    if not ((prior >= 0) & (prior <= 1)).all():
        raise ValueError(f"prior must be from 0 to 1; got {brief(prior.tolist())}.")
    if not (sigma >= 0).all():
        raise ValueError(f"sigma must be 0 or more; got {brief(sigma.tolist())}.")
    with np.errstate(divide="ignore", invalid="ignore"):  # without noise everything is told
        return np.where(sigma == 0, 1.0, norm.cdf(norm.ppf(prior) + 1 / sigma))


def binning_weights(rows: Tensor, n_neurons: int, *, seed: int = 0) -> Params:
    """Weights with which a dishonest server reads far larger batches (Fowl et al., arXiv:2110.13057).

    All neurons look at the same direction, and neuron j fires above the j-th quantile of it: the difference of two
    neighbours holds the patients of one bin, and a patient who is alone there is read whole. Read with
    ``read_batch(..., pairs="neighbours")``.

    Parameters
    ----------
    rows
        Rows of other people ``[m, d]``, for the quantiles.
    n_neurons
        Bins.
    seed
        Of the direction.

    Returns
    -------
    Params
        One network with one hidden layer and one output.

    Raises
    ------
    ValueError
        If `rows` is no table of finite numbers, or `n_neurons` or `seed` does not fit.
    """
    if not isinstance(rows, Tensor) or rows.dim() != 2 or not rows.numel() or not bool(rows.isfinite().all()):
        raise ValueError(f"rows must be a tensor [m, d] of finite numbers; got {brief(rows)}.")
    n_neurons = whole("n_neurons", n_neurons)
    direction = generator(seed, GUESSES).normal(size=rows.shape[1])
    direction = torch.from_numpy(direction / np.linalg.norm(direction))
    levels = torch.linspace(0, 1, n_neurons + 1, dtype=torch.float64)[:-1]
    cuts = (rows.double() @ direction).quantile(levels)
    cuts[0] -= 10  # the first neuron fires for everybody
    weights = [direction.expand(1, n_neurons, -1), torch.full((1, 1, n_neurons), 1 / n_neurons)]
    biases = [-cuts[None], torch.zeros(1, 1)]
    return Params([w.float().contiguous() for w in weights], [b.float() for b in biases])

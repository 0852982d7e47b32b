"""Patients out of one gradient by arithmetic: divisions and differences.

In the first layer the gradient by a neuron's weights is a sum of patients, each times a factor, and that by its bias is
the sum of the factors. A neuron that one patient fired gives that patient away by one division (Phong et al. 2018,
doi:10.1109/TIFS.2017.2787987). With one hidden layer and one output the patient's factor is the same for all neurons,
up to the outgoing weight, which the server knows: each neuron then tells a *subset sum*, and two neurons whose patients
differ by one give that one away, by a difference and a division.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from fedlab_utils._arguments import brief, finite, number, one_of, whole
from fedlab_utils.attacks.records import Fields, known
from fedlab_utils.data import Federation
from fedlab_utils.fleet import Params
from fedlab_utils.fleet.networks import networks

ATTACKERS = ("naive", "weights", "shrinks")
Attacker = Literal["naive", "weights", "shrinks"]
_ROUNDING = 1e-5  # of the largest sum: what 32-bit numbers leave of a difference that should be 0
_EXPLAINED = 2e-3  # by how much a guess may miss its own factor


@dataclass(frozen=True)
class Guesses:
    """Rows that look like patients, the best supported first.

    Attributes
    ----------
    rows
        In the units of ``X_train``, ``[n, d]``.
    agreement
        How many neurons and pairs of neurons say the same, ``[n]``.
    factor
        What each row was multiplied by, ``[n]``: its share of the batch times (predicted risk - label).
    model
        From which of the K updates it comes, ``[n]``.
    """

    rows: Tensor
    agreement: np.ndarray
    factor: np.ndarray
    model: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def labels(self) -> np.ndarray:
        """0 or 1 for each row, as in `labels_from`.

        Raises
        ------
        ValueError
            If the network has more than one hidden layer or output, where factors are not known.
        """
        if np.isnan(self.factor).any():
            raise ValueError("labels can be read off networks with one output and at most one hidden layer alone.")
        return labels_from(self.factor)

    def of(self, k: int) -> Guesses:
        """The guesses from update `k`."""
        mine = self.model == k
        return Guesses(self.rows[torch.from_numpy(mine)], self.agreement[mine], self.factor[mine], self.model[mine])


def labels_from(factor: np.ndarray) -> np.ndarray:
    """Labels for free: a factor is (risk - label) times something positive, so below 0 the label is 1 (iDLG).

    Zhao et al. 2020, arXiv:2001.02610. For one output and two classes.
    """
    return (np.asarray(factor) < 0).astype(int)


def divisions(update: Params) -> list[Tensor]:
    """Weights over bias, neuron by neuron, of the first layer: each is one patient, or a mixture.

    Parameters
    ----------
    update
        Gradients, or changes, of K models.

    Returns
    -------
    list of Tensor
        For each model the quotients of the neurons that fired, ``[fired, d]``, that of the largest change first.

    Raises
    ------
    ValueError
        If `update` is none.
    """
    if not isinstance(update, Params):
        raise ValueError(f"update must be shaped as networks, as fleet.gradients returns it; got {brief(update)}.")
    found = []
    for dW, db in zip(update.weights[0], update.biases[0], strict=True):
        order = db.abs().argsort(descending=True)
        order = order[db[order].abs() > max(_ROUNDING * float(db.abs().max()), 1e-30)]
        found.append(dW[order] / db[order, None])
    return found


def read_batch(
    params: Params,
    update: Params,
    federation: Federation | Fields,
    *,
    n_rows: int | None = None,
    neurons: int = 128,
    pairs: Literal["all", "none", "neighbours"] = "all",
    agreement: int = 1,
    tolerance: float = 0.01,
) -> Guesses:
    """Read patients out of the gradient of one step, by arithmetic.

    With one hidden layer and one output, neurons and differences of two neurons are tried; in other networks only
    neurons by themselves. Kept is what looks like a patient (`Fields.patient`) and what exactly one of the two neurons
    fires for. In a table without categories a mixture often looks like a patient too: there ask for `agreement`, or
    give `n_rows`.

    Parameters
    ----------
    params
        K networks as they were before the step.
    update
        Their gradients, or the change of one step divided by minus the learning rate.
    federation
        Whose patients they are, or its `fields`.
    n_rows
        If it is known that every row weighs 1 / n_rows in the update (the size of the batch; in a sum of hospitals,
        that of one hospital's): a guess must then explain its own factor, (predicted risk - label) / n_rows, which a
        mixture hardly ever does. For two classes.
    neurons
        Pairs are formed among so many neurons, those that say something new first.
    pairs
        All of them, none, or each neuron with the next one (for `binning_weights`).
    agreement
        How many neurons and pairs must say the same.
    tolerance
        How far apart two readings of the same patient may be, and a category from 0 or 1.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    fit_together(params, update)
    columns = known(federation, params.sizes[0])
    one_of("pairs", pairs, ("all", "none", "neighbours"))
    n_rows = None if n_rows is None else whole("n_rows", n_rows)
    neurons, agreement = whole("neurons", neurons), whole("agreement", agreement)
    tolerance = number("tolerance", tolerance)
    shallow = len(params.weights) == 2 and params.sizes[-1] == 1
    if n_rows is not None and not shallow:
        raise ValueError("n_rows must be None for networks with more than one hidden layer or output.")
    parts = []
    for k in range(params.n_models):
        one, change = params[k : k + 1].map(Tensor.double), update[k : k + 1].map(Tensor.double)
        sums, weights, thresholds = _sums(one, change, shallow)
        if pairs != "neighbours":
            sums, weights, thresholds = _distinct(sums, weights, thresholds)
        rows, factor = _differences(sums, weights, thresholds, neurons, pairs if shallow else "none")
        looks = columns.patient(rows, tolerance)
        rows, factor = rows[looks], factor[looks]
        if n_rows is not None:
            fits = _explained(one, rows, factor * n_rows)
            rows, factor = rows[fits], factor[fits]
        parts.append(_agreed(rows, factor, k, agreement, tolerance))
    rows, *others = zip(*parts, strict=True)
    agreed, factor, model = map(np.concatenate, others)
    if len(params.weights) > 2 or params.sizes[-1] > 1:
        factor[:] = np.nan  # what stands there is times a slope that nobody knows, of either sign
    return Guesses(torch.cat(rows).float(), agreed, factor, model)


def fit_together(params: Params, update: Params) -> None:
    """Refuse an update that is none of these networks."""
    networks(params)
    if not isinstance(update, Params) or [t.shape for t in update.tensors()] != [t.shape for t in params.tensors()]:
        raise ValueError(f"update must have the shapes of params, as fleet.gradients returns it; got {brief(update)}.")
    for tensor in update.tensors():
        finite(update=tensor)


def _sums(one: Params, change: Params, shallow: bool) -> tuple[Tensor, Tensor, Tensor]:
    """What each neuron tells, (sum of factor * patient, sum of factors), ``[J, d + 1]``, and what makes it fire."""
    told = torch.cat([change.weights[0][0], change.biases[0][0][:, None]], dim=1)
    weights, thresholds = one.weights[0][0], one.biases[0][0]
    if shallow:
        outgoing = one.weights[1][0, 0]
        order = torch.nonzero(outgoing.abs() > 1e-6 * outgoing.abs().max())[:, 0]
        told, weights, thresholds = told[order] / outgoing[order, None], weights[order], thresholds[order]
    if len(one.weights) == 1:  # no hidden layer: an output has every patient in it
        thresholds = torch.full_like(thresholds, torch.inf)
    return told, weights, thresholds


def _distinct(sums: Tensor, *others: Tensor) -> list[Tensor]:
    """One neuron of those that tell the same, none of those that tell nothing."""
    scale = _ROUNDING * float(sums.abs().max()) if len(sums) else 0.0
    same = torch.cdist(sums, sums, p=torch.inf) <= 10 * scale
    first = same.to(torch.uint8).argmax(1) == torch.arange(len(sums))
    keep = first & (sums.abs().amax(1) > 10 * scale)
    return [t[keep] for t in (sums, *others)]


def _differences(sums, weights, thresholds, neurons: int, pairs: str) -> tuple[Tensor, Tensor]:
    """Candidates ``[m, d]`` and their factors ``[m]``: neurons, and pairs of which exactly one fires for the guess."""
    n = len(sums)
    a, b = torch.arange(n), torch.full((n,), n)  # neuron n is one that nobody fired
    if pairs == "all":
        more = torch.triu_indices(min(n, neurons), min(n, neurons), 1)
        a, b = torch.cat([a, more[0]]), torch.cat([b, more[1]])
    elif pairs == "neighbours":
        a, b = torch.cat([a, torch.arange(n - 1)]), torch.cat([b, torch.arange(1, n)])
    padded = torch.cat([sums, sums.new_zeros(1, sums.shape[1])])
    told = padded[a] - padded[b]
    large = told[:, -1].abs() > max(_ROUNDING * float(sums.abs().max()) if n else 0.0, 1e-30)
    a, b, told = a[large], b[large], told[large]
    rows, factor = told[:, :-1] / told[:, -1:], told[:, -1]
    weights = torch.cat([weights, weights.new_zeros(1, weights.shape[1])])
    thresholds = torch.cat([thresholds, thresholds.new_full((1,), -1.0)])
    fires = [((weights[j] * rows).sum(1) + thresholds[j]) > 0 for j in (a, b)]
    one = fires[0] ^ fires[1]
    return rows[one], torch.where(fires[0], factor, -factor)[one]


def _explained(one: Params, rows: Tensor, factor: Tensor) -> Tensor:
    """Whether (risk - label) of each row, for a label of 0 or 1, is the factor that it was read with."""
    hidden = torch.relu(rows @ one.weights[0][0].T + one.biases[0][0])
    risk = torch.sigmoid(hidden @ one.weights[1][0, 0] + one.biases[1][0, 0])
    return (factor - (risk - (factor < 0).to(risk))).abs() < _EXPLAINED


def _agreed(rows: Tensor, factor: Tensor, k: int, least: int, tolerance: float):
    """Each patient once, with how often it was read: rows, agreement, factor and model."""
    points, factor = rows.numpy(), factor.numpy()
    near = cKDTree(points).query_pairs(tolerance, output_type="ndarray") if len(points) else np.empty((0, 2), int)
    links = coo_array((np.ones(len(near)), (near[:, 0], near[:, 1])), shape=(len(points),) * 2)
    group = connected_components(links, directed=False)[1] if len(points) else np.empty(0, int)
    size = np.bincount(group)
    best = np.argsort(-np.abs(factor), kind="stable")  # the larger the factor, the fewer digits were lost
    first = best[np.unique(group[best], return_index=True)[1]]
    first = first[size[group[first]] >= least]
    first = first[np.argsort(-size[group[first]], kind="stable")]
    return torch.from_numpy(points[first]), size[group[first]], factor[first], np.full(len(first), k)


def read_one(
    params: Params,
    update: Params,
    *,
    attacker: Attacker = "weights",
    noise: float = 0.0,
    population: Tensor | None = None,
) -> Tensor:
    """The patient of a step on one patient, if noise was added to the gradient.

    Parameters
    ----------
    params
        K networks, with one hidden layer and one output, as they were before the step.
    update
        Their gradients with noise.
    attacker
        ``"naive"`` fits weights to biases by least squares; ``"weights"`` knows the outgoing weights, so which neurons
        have much to tell, and finds out which fired; ``"shrinks"`` also moves the less certain towards the mean of
        the population, by as much as the noise asks for.
    noise
        Standard deviation of the noise on each number of the gradient.
    population
        Rows of other people, for ``"shrinks"``.

    Returns
    -------
    Tensor
        One row for each model, ``[K, d]``.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    fit_together(params, update)
    one_of("attacker", attacker, ATTACKERS)
    noise = number("noise", noise)
    if len(params.weights) != 2 or params.sizes[-1] != 1:
        raise ValueError(f"params must have one hidden layer and one output; got the widths {params.sizes}.")
    if attacker == "shrinks" and (not isinstance(population, Tensor) or population.shape[1:] != params.sizes[:1]):
        raise ValueError(f"population must be rows [m, {params.sizes[0]}] for this attacker; got {brief(population)}.")
    dW, db, out = update.weights[0], update.biases[0], params.weights[1][:, 0]
    if attacker == "naive":
        return (db[..., None] * dW).sum(1) / (db * db).sum(1, keepdim=True).clamp_min(1e-30)
    fired = torch.ones_like(db)
    for _ in range(4):  # which neurons fire depends on the patient, and the other way round
        told = out * fired
        size = (told * told).sum(1, keepdim=True).clamp_min(1e-30)
        s = (told * db).sum(1, keepdim=True) / size  # the patient's factor
        if attacker == "shrinks":
            mean, spread = population.mean(0), population.var(0).clamp_min(1e-12)
            left = (told[..., None] * (dW - (told * s)[..., None] * mean)).sum(1) * s
            rows = mean + left / (s * s * size + noise**2 / spread).clamp_min(1e-30)
        else:
            weighted = (told * db).sum(1, keepdim=True)
            weighted = torch.where(weighted.abs() < 1e-30, 1e-30, weighted)
            rows = (told[..., None] * dW).sum(1) / weighted
        fired = ((params.weights[0] * rows[:, None]).sum(2) + params.biases[0] > 0).to(db)
        fired = torch.where(fired.sum(1, keepdim=True) > 0, fired, torch.ones_like(fired))
    return rows

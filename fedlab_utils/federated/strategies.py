"""What tells strategies apart: how hospitals are weighted, what corrects their gradients, how the server moves.

A strategy works on all runs of a fleet that have it: on means ``[runs, D]`` and on what is remembered, tensors whose
first axis is the run. The pull of FedProx is none of these: it is a number of the local training (`proximal`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from fedlab_utils._arguments import brief, number, one_of
from fedlab_utils.federated.aggregators import OpenSum
from fedlab_utils.privacy import HospitalDP

if TYPE_CHECKING:
    from fedlab_utils.federated.aggregators import Aggregator
    from fedlab_utils.federated.plan import Here, Plan
    from fedlab_utils.federated.setting import Setting

State = tuple[Tensor, ...]

# Kinds of messages. Where hospitals make different numbers of steps, the control variate is another sum of their
# updates than the model is, and tells hospitals that much more.
CONTROL, CONTROL_OF_ANOTHER_SUM = "control variate", "control variate of another sum"
CONTROLS = "control variates of each round"  # in the words of the ledger


@dataclass(frozen=True)
class Work:
    """What hospitals did in a round, in the runs of one strategy.

    Attributes
    ----------
    updates
        What came of them, ``[updates, D]``. A server behind a masked or encrypted sum does not see these; hospitals
        know their own.
    run, hospital
        Whose they are, ``[updates]``: the number of the run among those of this strategy, and that of the hospital.
    weight
        How much each hospital counts, ``[runs, hospitals]``.
    pace
        Steps of each hospital in a round, times the learning rate, ``[runs, hospitals]``.
    """

    updates: Tensor
    run: Tensor
    hospital: Tensor
    weight: Tensor
    pace: Tensor


def _below_one(name: str, value) -> float:
    found = number(name, value)
    if found >= 1:
        raise ValueError(f"{name} must be from 0 to below 1; got {brief(value)}.")
    return found


class Strategy:
    """Federated averaging, and what others change about it. Your own is a frozen dataclass with another `step`.

    Attributes
    ----------
    by_rows
        Hospitals count by their training rows; else all alike.
    corrects
        Hospitals add something to their gradients (`correction`), which the server tells them (`told`).
    """

    by_rows: ClassVar[bool] = True
    corrects: ClassVar[bool] = False

    def start(self, runs: int, hospitals: int, d: int) -> State:
        """What is remembered before the first round: tensors with the run as first axis."""
        return ()

    def correction(self, state: State, run: Tensor, hospital: Tensor) -> Tensor:
        """What these participants add to each of their gradients, ``[participants, D]``."""
        raise NotImplementedError

    def told(self, state: State) -> Tensor:
        """What hospitals are sent besides the model, from the second round on, ``[runs, D]``."""
        raise NotImplementedError

    def step(self, mean: Tensor, state: State, work: Work) -> tuple[Tensor, State]:
        """Where the model goes, ``[runs, D]`` (times `server_lr`), and what is remembered then.

        Parameters
        ----------
        mean
            Mean update of each run as it arrived, ``[runs, D]``: the server needs nothing else, so it may come out of a
            masked or encrypted sum, with noise or without. Where hospitals alone open the sum, each of them takes the
            same step.
        state
            As `start` or the last step left it.
        work
            What hospitals did.
        """
        return mean, state


@dataclass(frozen=True)
class FedAvg(Strategy):
    """The weighted mean of the updates (McMahan et al., arXiv:1602.05629, Algorithm 1)."""


@dataclass(frozen=True)
class Uniform(Strategy):
    """The mean of the updates in which all hospitals count alike."""

    by_rows = False


@dataclass(frozen=True)
class FedAvgM(Strategy):
    """Momentum at the server (Hsu et al., arXiv:1909.06335): ``v = momentum * v + mean``, as in ``torch.optim.SGD``.

    Parameters
    ----------
    momentum
        From 0 to below 1. Updates that agree are in the end taken ``1 / (1 - momentum)`` times: `server_lr` may have to
        shrink by as much.

    Raises
    ------
    ValueError
        If `momentum` is something else.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        _below_one("momentum", self.momentum)

    def start(self, runs, hospitals, d) -> State:
        return (torch.zeros(runs, d),)

    def step(self, mean, state, work) -> tuple[Tensor, State]:
        velocity = self.momentum * state[0] + mean
        return velocity, (velocity,)


@dataclass(frozen=True)
class FedAdam(Strategy):
    """Adam at the server (Reddi et al., arXiv:2003.00295, Algorithm 2).

    Each number of the model moves by up to about `server_lr` a round, be updates large or small, unless they are far
    below `tau`; so `server_lr` is mostly far below 1: Flower has 0.1 by default, FLamby 0.01.

    Parameters
    ----------
    betas
        How much of the mean and of its square is kept from round to round. By default as in the paper and in Flower;
        FLamby has (0.9, 0.999).
    tau
        Added to the root of the mean square: numbers that change by far less than `tau` hardly move. By default as in
        the paper and in Flower; FLamby's published runs have 1e-8.
    bias_correction
        For the zeros at which both means start: ``"none"`` as in the paper and in FLamby; ``"adam"`` as Adam does
        (Kingma and Ba, arXiv:1412.6980, Algorithm 1, with `tau` beside the corrected root); ``"flower"`` as Flower's
        FedAdam does, which takes each round for the next one and adds `tau` to the root as it is. (The paper has the
        square start at tau^2 or more; both libraries start it at 0, and so does this.)

    Raises
    ------
    ValueError
        If one of them cannot be.
    """

    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3
    bias_correction: str = "none"

    def __post_init__(self) -> None:
        if not isinstance(self.betas, Sequence) or isinstance(self.betas, str) or len(self.betas) != 2:
            raise ValueError(f"betas must be two numbers from 0 to below 1; got {brief(self.betas)}.")
        object.__setattr__(self, "betas", tuple(_below_one("betas", b) for b in self.betas))
        if not number("tau", self.tau):
            raise ValueError("tau must be above 0: a number of the model that never changed would be divided by 0.")
        one_of("bias_correction", self.bias_correction, ("none", "adam", "flower"))

    def start(self, runs, hospitals, d) -> State:
        return torch.zeros(runs, d), torch.zeros(runs, d), torch.zeros(runs, 1)

    def step(self, mean, state, work) -> tuple[Tensor, State]:
        (first, second), (moment, square, turn) = self.betas, state
        moment = first * moment + (1 - first) * mean
        square, turn = self._square(square, mean**2, second), turn + 1  # rounds that came to nothing do not count
        power = turn.double() + (self.bias_correction == "flower")
        root, gain = (1 - second**power).sqrt().to(mean), 1 / (1 - first**power).to(mean)
        if self.bias_correction == "none":
            root = gain = torch.ones_like(root)
        tau = self.tau * (root if self.bias_correction == "adam" else 1)
        return gain * root * moment / (square.sqrt() + tau), (moment, square, turn)

    def _square(self, square: Tensor, new: Tensor, beta: float) -> Tensor:
        return beta * square + (1 - beta) * new


@dataclass(frozen=True)
class FedYogi(FedAdam):
    """`FedAdam` with another mean square, which changes by no more than the new square, whichever is larger."""

    def _square(self, square, new, beta) -> Tensor:
        return square - (1 - beta) * new * (square - new).sign()


@dataclass(frozen=True)
class Scaffold(Strategy):
    """SCAFFOLD (Karimireddy et al., arXiv:1910.06378, Algorithm 1 with option II): hospitals correct their drift.

    Each hospital remembers its mean gradient in its last round (its control variate) and, while it trains, replaces
    it by the mean one of *all* hospitals, weighted as updates are. Updates are averaged over who is there, control
    variates over everybody: who is not there keeps the old one.

    Nothing more goes up. A control variate follows from the update, the one before and the common one:
    ``c_k - c - update / (steps * lr)``. So a server that sees updates works them out; one that sees the mean alone
    works out the common one, if all hospitals make as many steps. Down goes the common one, beside the model. A
    hospital whose update did not arrive keeps its old control variate, or its own and the server's would part for good.

    Since all of this follows from updates that are released anyway, under `RecordDP` it costs nothing more.
    """

    corrects = True

    def start(self, runs, hospitals, d) -> State:
        return torch.zeros(runs, d), torch.zeros(runs, hospitals, d)  # the common one, and each hospital's own

    def correction(self, state, run, hospital) -> Tensor:
        common, own = state
        return common[run] - own[run, hospital]

    def told(self, state) -> Tensor:
        return state[0]

    def step(self, mean, state, work) -> tuple[Tensor, State]:
        common, own = state
        pace = work.pace[work.run, work.hospital].unsqueeze(1)
        own = own.clone()
        own[work.run, work.hospital] -= common[work.run] + work.updates / pace
        return mean, (self.average(common, own, mean, work), own)

    def average(self, common: Tensor, own: Tensor, mean: Tensor, work: Work) -> Tensor:
        """The common control variate ``[runs, D]``: from the mean where that can be, else from the hospitals' own."""
        share = work.weight / work.weight.sum(1, keepdim=True)
        came = torch.zeros(len(common), 1)
        came.index_add_(0, work.run, share[work.run, work.hospital].unsqueeze(1))
        from_mean = common - came * (common + mean / work.pace[:, :1])
        return torch.where(_alike(work.pace), from_mean, torch.einsum("rh,rhd->rd", share, own))


STRATEGIES: dict[str, Strategy] = {
    "fedavg": FedAvg(),
    "uniform": Uniform(),
    "fedavgm": FedAvgM(),
    "fedadam": FedAdam(),
    "fedyogi": FedYogi(),
    "scaffold": Scaffold(),
}


def as_strategy(given) -> Strategy:
    """What was given as `strategy`: an object, or the name of one as it is by default."""
    if isinstance(given, Strategy):
        return given
    return STRATEGIES[one_of("strategy", given, tuple(STRATEGIES))]


def refuse(setting: Setting, way: Aggregator) -> None:
    """Refuse settings in which control variates would not be what they are said to be."""
    if not as_strategy(setting.strategy).corrects:
        return
    if setting.optimiser != "sgd":
        raise ValueError(
            "optimiser must be 'sgd' with strategy scaffold, which reads mean gradients off plain steps; got "
            f"{setting.optimiser!r}."
        )
    if not setting.lr:
        raise ValueError("lr must be above 0 with strategy scaffold, which divides by it; got 0.")
    if isinstance(setting.privacy, HospitalDP):
        raise ValueError(
            "strategy must not be scaffold with HospitalDP: control variates would have to be clipped together with "
            "the updates, which is not done here; take fedavg, or RecordDP."
        )
    if not way.linear:
        raise ValueError(
            "strategy must not be scaffold with this aggregator: control variates follow from a mean, which it does "
            "not say it gives (linear = True)."
        )


def refuse_unequal_steps(plan: Plan) -> None:
    """Refuse control variates that would need a second sum, where the server sees one sum alone."""
    if isinstance(plan.aggregator, OpenSum):  # no other is sure to see each update
        return
    for rule, steps in zip(plan.rules, plan.steps.tolist(), strict=True):
        if rule.corrects and len(set(steps)) > 1:
            raise ValueError(
                "local_steps must be given with strategy scaffold and this aggregator: only if all hospitals make as "
                f"many steps do control variates follow from the sum; got {min(steps)} to {max(steps)} steps."
            )


class Server:
    """The strategies of one fleet at work, each on its own runs."""

    def __init__(self, plan: Plan) -> None:
        self.lr = torch.tensor(plan.server_lr, dtype=torch.float32).unsqueeze(1)
        shape = plan.size.shape[1], plan.d
        self._personal = plan.travels.start, plan.start.n_parameters - plan.travels.stop  # numbers before and behind
        weight, pace = torch.tensor(plan.weight), torch.tensor(plan.steps * plan.lr[:, None])
        self._groups: list[list] = []
        keys = [_key(rule) for rule in plan.rules]
        for key, rule in dict(zip(keys, plan.rules, strict=True)).items():
            runs = np.flatnonzero([k == key for k in keys])
            place = torch.full((len(plan.rules),), -1)
            place[runs] = torch.arange(len(runs))
            own = (table[runs].float() for table in (weight, pace))
            self._groups.append([rule, torch.from_numpy(runs), place, *own, rule.start(len(runs), *shape)])

    def local(self, here: Here) -> dict:
        """What the local training gets besides: arguments of `fleet.fit`."""
        run, hospital, found = torch.from_numpy(here.run), torch.from_numpy(here.hospital), None
        for rule, _, place, _, _, state in self._groups:
            if rule.corrects:
                mine = place[run] >= 0
                added = rule.correction(state, place[run[mine]], hospital[mine])
                found = added.new_zeros(len(run), added.shape[1]) if found is None else found
                found[mine] = added
        # What is personal is not averaged, so nothing drives it apart that could be corrected.
        return {} if found is None else {"offset": pad(found, self._personal)}

    def tells(self) -> dict[int, tuple[str, Tensor]]:
        """For each run in which hospitals are sent more than the model: what that is, and its numbers ``[D]``."""
        found = {}
        for rule, runs, _, _, pace, state in self._groups:
            if rule.corrects:
                kinds = [CONTROL if same else CONTROL_OF_ANOTHER_SUM for same in _alike(pace)[:, 0].tolist()]
                found |= dict(zip(runs.tolist(), zip(kinds, rule.told(state), strict=True), strict=True))
        return found

    def move(self, mean: Tensor, updates: Tensor, here: Here, stays: Tensor) -> Tensor:
        """How the models change, ``[runs, D]``.

        Parameters
        ----------
        mean
            What arrived, ``[runs, D]``.
        updates, here
            What came of hospitals, ``[updates, D]``, and whose it is.
        stays
            Whose model stays as it is, ``[runs, 1]``: nothing is remembered of such a round either.
        """
        run, hospital, change = torch.from_numpy(here.run), torch.from_numpy(here.hospital), torch.zeros_like(mean)
        for group in self._groups:
            rule, runs, place, weight, pace, state = group
            mine = slice(None) if len(self._groups) == 1 else place[run] >= 0
            work = Work(updates[mine], place[run[mine]], hospital[mine], weight, pace)
            change[runs], new = rule.step(mean[runs], state, work)
            old = stays[runs]
            group[-1] = tuple(
                torch.where(old.view(-1, *[1] * (b.dim() - 1)), a, b) for a, b in zip(state, new, strict=True)
            )
        return (self.lr * change).masked_fill(stays, 0)


def _key(rule: Strategy) -> Strategy | int:
    """What equal strategies have in common; one of one's own that can be changed is equal to itself alone."""
    try:
        hash(rule)
    except TypeError:
        return id(rule)
    return rule


def _alike(pace: Tensor) -> Tensor:
    """In which runs all hospitals make as many steps, ``[runs, 1]``."""
    return (pace == pace[:, :1]).all(1, keepdim=True)

"""One training, and one hospital's part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, draws, function, number, one_of, whole
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated.aggregators import Aggregator
from fedlab_utils.federated.cheating import Attack
from fedlab_utils.federated.clock import Clock
from fedlab_utils.federated.compression import Quantise, TopK
from fedlab_utils.federated.plan import Plan, as_replicates
from fedlab_utils.federated.rounds import carry_out
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.setting import settled
from fedlab_utils.federated.strategies import Strategy
from fedlab_utils.privacy import HospitalDP, RecordDP


def train(
    federation: Federation | Sequence[Federation],
    *,
    rounds: int = 20,
    local_epochs: int = 1,
    local_steps: int | None = None,
    batch_size: int = 32,
    lr: float = 0.1,
    optimiser: fleet.Optimiser = "sgd",
    hidden: Sequence[int] = (64,),
    strategy: str | Strategy = "fedavg",
    server_lr: float = 1.0,
    proximal: float = 0.0,
    compress: Quantise | TopK | None = None,
    personal: str | None = None,
    participation: float = 1.0,
    dropout: float = 0.0,
    clock: Clock | None = None,
    attack: Attack | None = None,
    privacy: RecordDP | HospitalDP | None = None,
    aggregator: Aggregator | None = None,
    seeds: int = 1,
    seed: int = 0,
    record: bool = False,
    on_round: Callable[[FederatedRun], bool | None] | None = None,
) -> FederatedRun:
    """Federated averaging (McMahan et al., arXiv:1602.05629, Algorithm 1), several seeds at once.

    In each round the server sends the global model to the hospitals that take part; each trains it on its own
    rows and sends back what changed; the server adds the average change.

    Parameters
    ----------
    federation
        One federation, trained `seeds` times on the same split, or a list of replicates, a run for each.
    rounds
        Communication rounds.
    local_epochs, local_steps
        Work of a hospital in a round: passes over its rows, or, if given, a number of batches.
    batch_size, lr, optimiser
        Of the local training; see `fleet.fit`. The optimiser starts afresh in each round.
    hidden
        Widths of the hidden layers; ``()`` is (multinomial) logistic or linear regression.
    strategy
        ``"fedavg"`` weights hospitals by training rows, ``"uniform"`` counts them alike. The others weight by rows and
        change the server's step, ``"fedavgm"`` by momentum, ``"fedadam"`` and ``"fedyogi"`` by a size of its own for
        each number, or the local training: ``"scaffold"`` corrects what drives hospitals apart (with plain ``"sgd"``
        alone). Objects such as ``federated.FedAdam(betas=(0.9, 0.999), tau=1e-8)`` set what a name leaves as it is. The
        server steps on the mean that came out, so it works behind a masked sum, too, and costs nothing under a promise.
    server_lr
        What the server multiplies its step by. ``"fedadam"`` and ``"fedyogi"`` move each number by about `server_lr` a
        round and need one far below 1, such as 0.01 to 0.1.
    proximal
        Pull of the local training towards the global model (FedProx, Li et al., arXiv:1812.06127).
    compress
        ``federated.Quantise(bits)`` or ``federated.TopK(share)``: updates travel in fewer bytes, which the transcript
        counts. In the open alone; under `RecordDP` noise is in the update before it is compressed.
    personal
        ``"head"``: the last layer stays in each hospital, ``"first"``: the first one does. Each hospital's own part
        starts as the common start and goes on as its last round left it; only the others travel, are clipped, noised,
        masked and counted. What a hospital then uses is `FederatedRun.personal`; the global model, which `history` and
        `auc` score, has that part as it was started, and is of no use by itself. Under `RecordDP` noise is in the own
        part, too, which leaves no hospital anyway; `HospitalDP` clips the shared part of an update.
    participation
        Share of the hospitals drawn for each round, at least one (but see `privacy`).
    dropout
        Chance with which a hospital that takes part falls silent after its work and before its update is due, in each
        round by a coin of its own. The mean is over those who came. If fewer came than `aggregator` needs, the round
        is abandoned: the model stays, `FederatedRun.failed` lists the round, and training goes on. A promise of
        privacy counts a round for each hospital whose update left, also if the round was abandoned then (what was sent
        is masked, but it was sent), and not for one that fell silent: its work was never seen.
    clock
        ``federated.Clock(speed={"Harbour": 0.2}, deadline=20)``: simulated time, in which some hospitals are slow. It
        is in `FederatedRun.clock` and in `history`; who cannot finish by the deadline falls silent or does less.
    attack
        What some hospitals do that cheat, such as ``attacks.HideTheIll(["Harbour"])``: other training rows or labels,
        another update in the place of their own. Test rows stay what they are, and honest hospitals do what they did.
    privacy
        `privacy.RecordDP`: each hospital trains by DP-SGD, so that every patient record is protected, with
        Poisson-sampled batches (an epoch is then n / batch_size steps). `privacy.HospitalDP`: updates are clipped
        and noised, so that every hospital is; then each hospital takes part by its own coin flip with probability
        `participation`, and all count alike. A budget is for all rounds together, and what was really spent stands
        in the ledger.
    aggregator
        What stands between hospitals and server, such as ``secagg.SecureSum()``, or a rule in the place of the mean,
        such as ``federated.Median()``; None is the sum in the open. Your own
        is a subclass of `federated.Aggregator`, or any object with its method `aggregate`: what that does not declare
        counts as seen by the server.
    seeds, seed
        How many runs, and where their random numbers start. What hospital h does in run s depends on
        ``(seed, s, h)`` alone, and under a promise of privacy on the setting; see `federated.hospital_rng`.
    record
        Keep the arrays that travel (of the first seed) in the transcript, not only their sizes.
    on_round
        Called after each round with the run so far; returns True to stop.

    Returns
    -------
    FederatedRun
        All seeds together.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is trained. In the middle only if an update grows beyond what the
        aggregator takes: `on_round` was given the rounds until then.
    """
    setting = dict(rounds=rounds, local_epochs=local_epochs, local_steps=local_steps, batch_size=batch_size)
    setting |= dict(lr=lr, optimiser=optimiser, hidden=hidden, strategy=strategy)
    setting |= dict(server_lr=server_lr, proximal=proximal, compress=compress, personal=personal)
    setting |= dict(participation=participation, dropout=dropout, clock=clock, attack=attack)
    setting |= dict(privacy=privacy, aggregator=aggregator, seed=seed, record=record)
    function("on_round", on_round)
    federations = as_replicates(federation, seeds)
    plan = Plan(federations, [settled(federations, setting)])
    return carry_out(plan, None if on_round is None else lambda runs: on_round(runs[0]))[0]


def local_update(
    arrays: Sequence[np.ndarray],
    hospital: Hospital,
    *,
    task: str,
    local_epochs: int = 1,
    local_steps: int | None = None,
    batch_size: int = 32,
    lr: float = 0.1,
    optimiser: fleet.Optimiser = "sgd",
    proximal: float = 0.0,
    rng: np.random.Generator,
) -> tuple[list[np.ndarray], int]:
    """One hospital's part of a round, for a process of its own: what a Flower client's ``fit`` returns.

    Parameters
    ----------
    arrays
        The global model, weight ``[out, in]`` and bias ``[out]`` of each layer in turn.
    hospital
        Whose training rows.
    task
        "binary", "multiclass" or "regression".
    local_epochs, local_steps, batch_size, lr, optimiser, proximal
        As in `train`.
    rng
        Of the shuffling; see `federated.hospital_rng`.

    Returns
    -------
    arrays, n_rows
        The locally trained model in the same order, and the weight it should have in the average.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is trained.
    """
    if not isinstance(hospital, Hospital):
        raise ValueError(f"hospital must be one of federation.hospitals; got {brief(hospital)}.")
    draws("rng", rng)
    one_of("task", task, fleet.LOSSES)
    length = {"epochs": whole("local_epochs", local_epochs)}
    if local_steps is not None:
        length = {"steps": whole("local_steps", local_steps)}
    rates = dict(lr=number("lr", lr), proximal=number("proximal", proximal))
    params, n_rows = _received(arrays, task), len(hospital.y_train)
    work = dict(batch_size=batch_size, optimiser=optimiser, loss=task, **rates, **length)
    trained = fleet.fit(params, hospital.X_train, hospital.y_train, [np.arange(n_rows)], seed=[rng], **work)
    return fleet.to_arrays(trained, 0), n_rows


def _received(arrays: Sequence[np.ndarray], task: str) -> fleet.Params:
    """A model as it came, refused if nobody could train it."""
    try:
        params = fleet.from_arrays([arrays])
    except ValueError:
        wrong = "arrays must be weight [out, in] and bias [out] of each layer in turn"
        raise ValueError(f"{wrong}; got {brief(arrays)}.") from None
    if (params.sizes[-1] > 1) != (task == "multiclass"):
        raise ValueError(f"task {task!r} does not fit arrays of a network with {params.sizes[-1]} outputs.")
    if not bool(params.flat().isfinite().all()):
        raise ValueError("arrays must hold finite numbers only; this model has diverged, and no training mends it.")
    return params

"""Federated averaging: trainings, comparisons of settings, and what to compare them with.

The rounds themselves are in `fedlab_utils.rounds`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import evaluation, fleet, releases
from fedlab_utils import rounds as engine
from fedlab_utils.arguments import number, one_of, whole, widths
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.evaluation import METRICS, as_frame
from fedlab_utils.privacy import HospitalDP, RecordDP
from fedlab_utils.rounds import hospital_rng
from fedlab_utils.runs import FederatedRun

__all__ = ["baselines", "compare", "hospital_rng", "local_update", "side_by_side", "train"]


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
    strategy: str = "fedavg",
    proximal: float = 0.0,
    participation: float = 1.0,
    privacy: RecordDP | HospitalDP | None = None,
    aggregator=None,
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
        ``"fedavg"`` weights hospitals by training rows, ``"uniform"`` counts them alike.
    proximal
        Pull of the local training towards the global model (FedProx, Li et al., arXiv:1812.06127).
    participation
        Share of the hospitals drawn for each round, at least one (but see `privacy`).
    privacy
        `privacy.RecordDP`: each hospital trains by DP-SGD, so that every patient record is protected, with
        Poisson-sampled batches (an epoch is then n / batch_size steps). `privacy.HospitalDP`: updates are clipped
        and noised, so that every hospital is; then each hospital takes part by its own coin flip with probability
        `participation`, and all count alike. A budget is for all rounds together, and what was really spent stands
        in the ledger.
    aggregator
        An object with ``aggregate(updates [n, d], weights [n], *, alive, rng) -> (mean [d], messages)`` that
        stands between hospitals and server, where `n` hospitals take part, `alive` says which of them are
        still there, and a message is a tuple of sender, receiver (their positions, or "server"), what it is,
        bytes and values. More is looked for: a method `quick`, a short way to the same result that is taken
        for all seeds but the first; and ``delivers = True``, for one whose messages bring the sum to the hospitals
        and not to the server, which then sends no global model after the first round. A method ``check(n, rows)``
        may refuse rounds beforehand and returns the step of a grid it rounds to; `sees` says for the ledger what the
        server learns.
    seeds, seed
        How many runs, and where their random numbers start. What hospital h does in run s depends on
        ``(seed, s, h)`` alone, and under a promise of privacy on the setting; see `hospital_rng`.
    record
        Keep the arrays that travel (of the first seed) in the transcript, not only their sizes.
    on_round
        Called after each round with the run so far; returns True to stop.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is trained.
    """
    given = dict(rounds=rounds, local_epochs=local_epochs, local_steps=local_steps, batch_size=batch_size)
    given |= dict(lr=lr, optimiser=optimiser, hidden=hidden, strategy=strategy, proximal=proximal)
    given |= dict(participation=participation, privacy=privacy, aggregator=aggregator, seed=seed, record=record)
    federations = _replicates(federation, seeds)
    setting = _checked(federations, given)
    shared = {name: value for name, value in setting.items() if name not in engine.PER_RUN}
    tell = None if on_round is None else lambda runs: on_round(runs[0])
    return engine.train(federations, [setting], on_round=tell, **shared)[0]


def compare(
    federation: Federation | Sequence[Federation],
    settings: dict[str, dict],
    *,
    seeds: int = 5,
    **common,
) -> pd.DataFrame:
    """Train every setting with the same seeds and return all histories in one table.

    Run s starts from the same weights and shuffles in the same way in every setting, so differences between
    settings can be taken seed by seed. Under a promise of privacy each setting has coins and noise of its own instead,
    as only then do the promises compose.

    Parameters
    ----------
    settings
        Arguments of `train` by the name of the setting, for instance ``{"one epoch": {"local_epochs": 1}}``.
    common
        Arguments of `train` that all settings share.

    Returns
    -------
    DataFrame
        `FederatedRun.history` with `setting` as first column.
    """
    runs = side_by_side(federation, settings, seeds=seeds, **common)
    table = pd.concat([run.history.assign(setting=name) for name, run in runs.items()], ignore_index=True)
    return table[["setting", *table.columns.drop("setting")]]


def side_by_side(
    federation: Federation | Sequence[Federation],
    settings: dict[str, dict],
    *,
    seeds: int = 5,
    on_round: Callable[[dict[str, FederatedRun]], bool | None] | None = None,
    **common,
) -> dict[str, FederatedRun]:
    """What `compare` trains, as a run for each setting, with its models and its ledger.

    Settings that differ only in numbers of the local training (epochs, steps, rate, proximal term, participation)
    or of a promise of privacy (budget, noise, clip norm) are trained together in one fleet.

    Parameters
    ----------
    settings, common
        As in `compare`.
    on_round
        Called after each round with the runs of the settings that are being trained together; returns True to stop
        these.
    """
    if not settings:
        raise ValueError("settings must name at least one setting, such as {'one epoch': {'local_epochs': 1}}.")
    federations = _replicates(federation, seeds)
    full = {name: _checked(federations, _DEFAULTS | common | setting) for name, setting in settings.items()}
    done = {}
    for names in _alike(full):
        shared = {k: v for k, v in full[names[0]].items() if k not in engine.PER_RUN}
        tell = None if on_round is None else lambda runs, names=names: on_round(dict(zip(names, runs, strict=True)))
        runs = engine.train(federations, [full[name] for name in names], on_round=tell, **shared)
        done |= dict(zip(names, runs, strict=True))
    return {name: done[name] for name in settings}


def _alike(settings: dict[str, dict]) -> list[list[str]]:
    """Names of settings that one fleet can train: equal in all that is not a number of training or privacy."""
    groups: list[list[str]] = []
    for name, setting in settings.items():
        for group in groups:
            other = settings[group[0]]
            same_kind = type(setting["privacy"]) is type(other["privacy"])
            if same_kind and all(setting[k] == other[k] for k in setting if k not in engine.PER_RUN):
                group.append(name)
                break
        else:
            groups.append([name])
    return groups


@fleet.one_thread()
def baselines(
    federation: Federation | Sequence[Federation],
    *,
    rounds: int = 20,
    local_epochs: int = 1,
    local_steps: int | None = None,
    batch_size: int = 32,
    lr: float = 0.1,
    optimiser: fleet.Optimiser = "sgd",
    hidden: Sequence[int] = (64,),
    seeds: int = 5,
    seed: int = 0,
    **common,
) -> pd.DataFrame:
    """What a federated model has to be compared with, on the same test rows.

    - ``"majority"``: each hospital predicts the class shares (or the mean) of its own training rows;
    - ``"local-only"``: each hospital trains by itself, and its patients are scored by its own model;
    - ``"pooled"``: one model on everybody's rows, which the hospitals wanted to avoid;
    - ``"best possible"``: the true risk, where the data are simulated and it is known.

    Local and pooled models do the work of a federated run: ``rounds * local_epochs`` passes over their rows,
    or ``rounds * local_steps`` batches. Other arguments of `train` are accepted, since settings are often shared,
    and do not matter here: nobody sends anything to anybody.

    Returns
    -------
    DataFrame
        baseline, hospital ("all": every test patient), seed, loss, accuracy, auc.
    """
    federations = _replicates(federation, seeds)
    own = dict(rounds=rounds, local_epochs=local_epochs, local_steps=local_steps, batch_size=batch_size)
    setting = _checked(federations, {**_DEFAULTS, **common, **own, "lr": lr, "hidden": hidden, "seed": seed})
    rounds, batch_size, hidden = setting["rounds"], setting["batch_size"], setting["hidden"]
    task, hospitals = federations[0].task, [f.hospitals for f in federations]
    names, n_runs = [h.name for h in hospitals[0]], len(hospitals)
    work = dict(batch_size=batch_size, lr=lr, optimiser=optimiser, loss=task)
    work |= {"epochs": rounds * local_epochs} if local_steps is None else {"steps": rounds * local_steps}
    starts = engine.starts(federations, hidden, seed)

    X, y, rows = engine.training_rows(hospitals)
    rngs = [hospital_rng(seed, s, h) for s in range(n_runs) for h in range(len(names))]
    local = starts[torch.arange(n_runs).repeat_interleave(len(names))]
    local = fleet.fit(local, X, y, [r for one in rows for r in one], seed=rngs, **work)
    pools = {id(f): f.pooled() for f in federations}
    pools = [pools[id(f)] for f in federations]
    X, y, rows = engine.training_rows([[pool] for pool in pools])
    pooled = fleet.fit(starts, X, y, [one[0] for one in rows], seed=seed, **work)

    n_classes = len(federations[0].classes)
    outputs = {
        "majority": [
            torch.cat([_prior(h, task, n_classes).expand(len(h.y_test), -1) for h in one]) for one in hospitals
        ],
        "local-only": [
            torch.cat([fleet.forward(local[[s * len(names) + k]], h.X_test)[0] for k, h in enumerate(one)])
            for s, one in enumerate(hospitals)
        ],
        "pooled": [fleet.forward(pooled[[s]], pool.X_test)[0] for s, pool in enumerate(pools)],
    }
    if task == "binary" and all(h.true_risk is not None for one in hospitals for h in one):
        outputs["best possible"] = [torch.cat([h.true_risk for h in one]).logit(eps=1e-6) for one in hospitals]
    _, labels, counts = zip(*engine.test_rows(federations), strict=True)
    tables = []
    for name, out in outputs.items():
        tables.append(as_frame(evaluation.metrics(out, labels, counts, task), names).assign(baseline=name))
    return pd.concat(tables, ignore_index=True)[["baseline", "hospital", "seed", *METRICS]]


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
        The global model, weight and bias of each layer in turn.

    Returns
    -------
    arrays, n_rows
        The locally trained model in the same order, and the weight it should have in the average.
    """
    length = {"epochs": local_epochs} if local_steps is None else {"steps": local_steps}
    work = dict(batch_size=batch_size, lr=lr, optimiser=optimiser, proximal=proximal, loss=task, **length)
    n_rows = len(hospital.y_train)
    params = fleet.from_arrays([arrays])
    trained = fleet.fit(params, hospital.X_train, hospital.y_train, [np.arange(n_rows)], seed=[rng], **work)
    return fleet.to_arrays(trained, 0), n_rows


def _checked(federations: Sequence[Federation], setting: dict) -> dict:
    """The arguments of `train`, each of them in order."""
    if unknown := setting.keys() - _DEFAULTS.keys():
        raise ValueError(f"{sorted(unknown)} are not arguments of train; those are {', '.join(_DEFAULTS)}.")
    first = federations[0]
    alike = (first.task, first.feature_names, [h.name for h in first.hospitals])
    if any((f.task, f.feature_names, [h.name for h in f.hospitals]) != alike for f in federations):
        raise ValueError("federation must be replicates of one table: same task, features and hospitals.")
    one_of("strategy", setting["strategy"], ("fedavg", "uniform"))
    releases.check(setting["privacy"], federations)
    share = number("participation", setting["participation"])
    if not 0 < share <= 1:
        raise ValueError(f"participation must be a share above 0 and at most 1; got {share}.")
    way = setting["aggregator"]
    if way is not None and (isinstance(way, type) or not callable(getattr(way, "aggregate", None))):
        raise ValueError(f"aggregator must be an object with a method aggregate, such as SecureSum(); got {way!r}.")
    if hasattr(way, "check") and getattr(setting["privacy"], "participants_hidden", False):
        raise ValueError("participants_hidden must be False: with this aggregator hospitals see who takes part.")
    if getattr(way, "delivers", False):
        if share < 1:
            raise ValueError(f"participation must be 1 where hospitals alone can read the sum; got {share}.")
        if isinstance(setting["privacy"], HospitalDP):
            raise ValueError("privacy must not be HospitalDP here: hospitals would read the sum before it is noised.")
    steps = setting["local_steps"]
    return setting | {
        "rounds": whole("rounds", setting["rounds"]),
        "batch_size": whole("batch_size", setting["batch_size"]),
        "local_epochs": whole("local_epochs", setting["local_epochs"]),
        "local_steps": None if steps is None else whole("local_steps", steps),
        "hidden": widths(setting["hidden"]),
        "lr": number("lr", setting["lr"]),
        "proximal": number("proximal", setting["proximal"]),
        "participation": share,
        "seed": whole("seed", setting["seed"], least=0),
    }


def _replicates(federation: Federation | Sequence[Federation], seeds: int) -> list[Federation]:
    """One federation a run."""
    if isinstance(federation, Federation):
        return [federation] * whole("seeds", seeds)
    if (
        not isinstance(federation, list | tuple)
        or not federation
        or not all(isinstance(f, Federation) for f in federation)
    ):
        raise ValueError("federation must be a Federation, or a list of them from data.replicates.")
    return list(federation)


def _prior(hospital: Hospital, task: str, n_classes: int) -> Tensor:
    """Outputs ``[1, out]`` of a model that knows only the hospital's own training labels."""
    y = hospital.y_train
    if task == "multiclass":
        return torch.bincount(y[:, 0].long(), minlength=n_classes).div(len(y)).log().clamp_min(-20)[None]
    mean = y.mean().reshape(1, 1)
    return mean if task == "regression" else mean.logit(eps=1e-6)


_DEFAULTS = {
    name: p.default
    for name, p in inspect.signature(train).parameters.items()
    if name not in ("federation", "seeds", "on_round")
}

"""Settings side by side, and what a federated model has to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, function
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated import scores
from fedlab_utils.federated.diary import test_rows
from fedlab_utils.federated.plan import Plan, Setting, as_replicates, hospital_rng, settled, starts, training_rows
from fedlab_utils.federated.rounds import carry_out
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.scores import METRICS, as_frame


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
    federation, seeds
        As in `federated.train`.
    settings
        Arguments of `federated.train` by the name of the setting, such as ``{"one epoch": {"local_epochs": 1}}``.
    common
        Arguments of `federated.train` that all settings share.

    Returns
    -------
    DataFrame
        `FederatedRun.history` with `setting` as first column.

    Raises
    ------
    ValueError
        If there is no setting, or an argument does not fit, before anything is trained.
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

    Settings that differ only in numbers of the local training (epochs, steps, rate, proximal term), in participation or
    dropout, in the strategy (but for "uniform") or its rate at the server, in how updates are compressed, or in the
    numbers of a promise of privacy (budget, noise, clip norm) are trained together in one fleet.

    Parameters
    ----------
    federation, settings, seeds, common
        As in `compare`.
    on_round
        Called after each round with the runs of the settings that are being trained together; returns True to stop
        these.

    Returns
    -------
    dict
        Runs by the names of the settings, in their order.

    Raises
    ------
    ValueError
        As `compare`.
    """
    if not isinstance(settings, dict) or not settings or not all(isinstance(s, dict) for s in settings.values()):
        example = "{'one epoch': {'local_epochs': 1}}"
        raise ValueError(f"settings must name at least one setting, such as {example}; got {brief(settings)}.")
    function("on_round", on_round)
    federations = as_replicates(federation, seeds)
    full = {name: settled(federations, common | setting) for name, setting in settings.items()}
    plans = [(names, Plan(federations, [full[name] for name in names])) for names in _fleets(full)]
    done = {}
    for names, plan in plans:  # all of them stand before the first one is trained
        tell = None if on_round is None else lambda runs, names=names: on_round(dict(zip(names, runs, strict=True)))
        runs = carry_out(plan, tell)
        done |= dict(zip(names, runs, strict=True))
    return {name: done[name] for name in settings}


def _fleets(settings: dict[str, Setting]) -> list[list[str]]:
    """Names of settings that one fleet can train, fleet by fleet."""
    fleets: list[list[str]] = []
    for name, setting in settings.items():
        beside = (names for names in fleets if setting.fits_beside(settings[names[0]]))
        own = next(beside, None)
        if own is None:
            fleets.append(own := [])
        own.append(name)
    return fleets


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
    or ``rounds * local_steps`` batches. Only "best possible" is a bound that nobody beats. On small tables "pooled" is
    neither trained to its end nor the best that could be made of the rows: a network may still be learning after 20
    passes, and know its few rows by heart after 400. So set a small federation beside
    ``baselines(..., hidden=(), rounds=400)`` too, whose "pooled" is logistic regression.

    Parameters
    ----------
    federation, rounds, local_epochs, local_steps, batch_size, lr, optimiser, hidden, seeds, seed
        As in `federated.train`.
    common
        Other arguments of `federated.train` are accepted, since settings are often shared, and do not matter here:
        nobody sends anything to anybody.

    Returns
    -------
    DataFrame
        baseline, hospital ("all": every test patient), seed, loss, accuracy, auc.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is trained.
    """
    federations = as_replicates(federation, seeds)
    own = dict(rounds=rounds, local_epochs=local_epochs, local_steps=local_steps, batch_size=batch_size)
    setting = settled(federations, common | own | dict(lr=lr, optimiser=optimiser, hidden=hidden, seed=seed))
    task, hospitals = federations[0].task, [f.hospitals for f in federations]
    names, n_runs = [h.name for h in hospitals[0]], len(hospitals)
    work = dict(batch_size=setting.batch_size, lr=setting.lr, optimiser=setting.optimiser, loss=task)
    if setting.local_steps is None:
        work |= dict(epochs=setting.rounds * setting.local_epochs)
    else:
        work |= dict(steps=setting.rounds * setting.local_steps)
    untrained = starts(federations, setting.hidden, setting.seed)

    X, y, rows = training_rows(hospitals)
    rngs = [hospital_rng(setting.seed, s, h) for s in range(n_runs) for h in range(len(names))]
    local = untrained[torch.arange(n_runs).repeat_interleave(len(names))]
    local = fleet.fit(local, X, y, [r for own in rows for r in own], seed=rngs, **work)
    pools = {id(f): f.pooled() for f in federations}
    pools = [pools[id(f)] for f in federations]
    X, y, rows = training_rows([[pool] for pool in pools])
    pooled = fleet.fit(untrained, X, y, [own[0] for own in rows], seed=setting.seed, **work)

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
    _, labels, counts = zip(*test_rows(federations), strict=True)
    tables = []
    for name, out in outputs.items():
        tables.append(as_frame(scores.metrics(out, labels, counts, task), names).assign(baseline=name))
    return pd.concat(tables, ignore_index=True)[["baseline", "hospital", "seed", *METRICS]]


def _prior(hospital: Hospital, task: str, n_classes: int) -> Tensor:
    """Outputs ``[1, out]`` of a model that knows only the hospital's own training labels."""
    y = hospital.y_train
    if task == "multiclass":
        return torch.bincount(y[:, 0].long(), minlength=n_classes).div(len(y)).log().clamp_min(-20)[None]
    mean = y.mean().reshape(1, 1)
    return mean if task == "regression" else mean.logit(eps=1e-6)

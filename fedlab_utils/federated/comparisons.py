"""Settings side by side, and what a federated model has to be compared with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, function
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated import fine_tuning, scores
from fedlab_utils.federated.diary import test_rows
from fedlab_utils.federated.plan import Plan, as_replicates, hospital_rng, starts, training_rows
from fedlab_utils.federated.rounds import carry_out
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.scores import METRICS, as_frame
from fedlab_utils.federated.setting import Setting, settled
from fedlab_utils.privacy import HospitalDP


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
    dropout, in the clock, in who cheats and how, in the strategy (but for "uniform") or its rate at the server, in how
    updates are compressed, or in the numbers of a promise of privacy (budget, noise, clip norm) are trained together in
    one fleet.

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


@fleet.one_thread()
def leave_one_out(federation: Federation | Sequence[Federation], *, seeds: int = 5, **setting) -> pd.DataFrame:
    """Train once with all hospitals and once without each of them, and score each model on everybody else's test rows.

    All of these trainings are one fleet, with the same weights at the start and the same random numbers of those who
    are there. (The means and spreads by which rows are scaled stay those of all.) A liar shows here if others do better
    without it; but so may a hospital whose patients are unlike theirs, and a small one disappears in the spread between
    seeds or replicates. Each of these models is a release about the patients of all who took part. Under a promise each
    has noise of its own and keeps the budget by itself; a hospital's patients are in as many of them as there are
    hospitals, and this table has no ledger that composes them.

    Parameters
    ----------
    federation, seeds
        As in `federated.train`; replicates show how much of a change is the luck of a split.
    setting
        Arguments of `federated.train`.

    Returns
    -------
    DataFrame
        A row for each hospital that is left out and each seed: hospital, seed; loss, accuracy and auc on the pooled
        test rows of all others; loss_change, accuracy_change and auc_change, those less what the model of all hospitals
        has on the same rows. Over seeds: ``found.groupby("hospital", sort=False)["loss_change"].agg(["mean", "std"])``.

    Raises
    ------
    ValueError
        If there are fewer than two hospitals, an argument does not fit, `personal` parts leave no model for others,
        or the promise is `HospitalDP`, which hides just what is asked for here.
    """
    federations = as_replicates(federation, seeds)
    one, names = settled(federations, setting), [h.name for h in federations[0].hospitals]
    if len(names) < 2:
        raise ValueError("federation must have two hospitals or more: without its only one nobody is left.")
    if isinstance(one.privacy, HospitalDP):
        raise ValueError("privacy must not be HospitalDP here: it hides what leaving a hospital out changes.")
    if one.participation < 1:
        raise ValueError(
            "participation must be 1 here: a round that had drawn who is left out would have nobody in its place; got "
            f"{one.participation:g}."
        )
    if one.personal is not None:
        raise ValueError(f"personal must be None here: no model is left for others to be scored; got {one.personal!r}.")
    everybody, *others = carry_out(Plan(federations, [one] * (1 + len(names)), [None, *range(len(names))]))
    tables = []
    for k, run in enumerate(others):
        without, with_it = (_scores_of_others(model, federations, k) for model in (run, everybody))
        change = {f"{name}_change": without[name] - with_it[name] for name in METRICS}
        about = dict(hospital=names[k], seed=np.arange(len(federations)))
        tables.append(pd.DataFrame(about | without | change))
    return pd.concat(tables, ignore_index=True)


def _scores_of_others(run: FederatedRun, federations: Sequence[Federation], left_out: int) -> dict[str, np.ndarray]:
    """Each metric on the test rows of all hospitals but one, ``[seeds]``."""
    outputs, labels = [], []
    for s, f in enumerate(federations):
        rest = [h for k, h in enumerate(f.hospitals) if k != left_out]
        outputs.append(fleet.forward(run.params[[s]], torch.cat([h.X_test for h in rest]))[0])
        labels.append(torch.cat([h.y_test for h in rest]))
    found = scores.metrics(outputs, labels, [[len(y)] for y in labels], federations[0].task)
    return {name: found[name][:, -1] for name in METRICS}


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
def by_hospital(
    run: FederatedRun,
    federation: Federation | Sequence[Federation],
    *,
    steps: int = 0,
    lr: float | None = None,
    batch_size: int = 32,
    seed: int = 0,
) -> pd.DataFrame:
    """How good each hospital's personal model is on its own test rows, to be set beside ``run.final``.

    Under a promise of privacy these scores are not covered by it, as fine-tuning is not; see `FederatedRun.personal`.

    Parameters
    ----------
    run
        What `federated.train` returned.
    federation, steps, lr, batch_size, seed
        As in `FederatedRun.personal`; with 0 steps the global model with the own part of each hospital, if it has one.

    Returns
    -------
    DataFrame
        hospital ("all": every test patient, by the model of its hospital), seed, loss, accuracy, auc.

    Raises
    ------
    ValueError
        As `FederatedRun.personal`.
    """
    if not isinstance(run, FederatedRun):
        raise ValueError(f"run must be what federated.train returned; got {brief(run)}.")
    how = fine_tuning.Tuning(steps=steps, lr=lr, batch_size=batch_size, seed=seed)
    federations, n = fine_tuning.trained_on(run, federation), len(run.hospitals)
    models = fine_tuning.tuned(run, federations, range(n), how)
    outputs = [
        torch.cat([fleet.forward(models[[s * n + k]], h.X_test)[0] for k, h in enumerate(f.hospitals)])
        for s, f in enumerate(federations)
    ]
    _, labels, counts = zip(*test_rows(federations), strict=True)
    return as_frame(scores.metrics(outputs, labels, counts, run.task), run.hospitals)


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

"""Federated averaging: rounds, client sampling, baselines and comparisons, and who sent how much to whom.

Runs (random seeds, replicates of the split, settings of a comparison) times hospitals are laid out as the
models of one fleet, so that a round of everything is one call of `fleet.fit`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from fedlab_utils import evaluation, fleet
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.evaluation import METRICS, as_frame
from fedlab_utils.privacy import Ledger
from fedlab_utils.runs import FederatedRun

_BYTES = 4  # a parameter travels as a 32-bit float
_PER_RUN = ("local_epochs", "local_steps", "lr", "proximal", "participation")  # may differ within one fleet


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
    privacy=None,
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
        Share of the hospitals drawn for each round, at least one.
    privacy
        Reserved for the lesson on differential privacy; only None is accepted yet.
    aggregator
        An object with ``aggregate(updates [n, d], weights [n], *, alive, rng) -> (mean [d], messages)`` that
        stands between hospitals and server, where `n` hospitals take part, `alive` says which of them are
        still there, and a message is a tuple of sender, receiver (their positions, or "server"), what it is,
        bytes and values.
    seeds, seed
        How many runs, and where their random numbers start. Run s of hospital h depends on
        ``(seed, s, h)`` alone.
    record
        Keep the arrays that travel (of the first seed) in the transcript, not only their sizes.
    on_round
        Called after each round with the run so far; return True to stop.

    Raises
    ------
    ValueError
        If an argument does not fit, before anything is trained.
    """
    shared = dict(rounds=rounds, batch_size=batch_size, optimiser=optimiser, hidden=hidden, strategy=strategy)
    shared |= dict(privacy=privacy, aggregator=aggregator, seed=seed, record=record, on_round=on_round)
    values = (local_epochs, local_steps, lr, proximal, participation)
    return _train(_replicates(federation, seeds), [dict(zip(_PER_RUN, values, strict=True))], **shared)[0]


def compare(
    federation: Federation | Sequence[Federation],
    settings: dict[str, dict],
    *,
    seeds: int = 5,
    **common,
) -> pd.DataFrame:
    """Train every setting with the same seeds and return all histories in one table.

    Settings that differ only in numbers of the local training (epochs, steps, rate, proximal term,
    participation) are trained side by side in one fleet. Run s starts from the same weights and shuffles in
    the same way in every setting, so differences between settings can be taken seed by seed.

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
    if not settings:
        raise ValueError(
            "settings must name at least one setting, such as {'one epoch': {'local_epochs': 1}}."
        )
    whole = {name: _DEFAULTS | common | setting for name, setting in settings.items()}
    if unknown := {key for setting in whole.values() for key in setting} - _DEFAULTS.keys():
        raise ValueError(f"compare can vary the arguments of train, and {sorted(unknown)} are none of them.")
    tables = {}
    for names in _alike(whole):
        shared = {k: v for k, v in whole[names[0]].items() if k not in _PER_RUN}
        runs = _train(
            _replicates(federation, seeds), [whole[name] for name in names], on_round=None, **shared
        )
        tables |= {name: run.history for name, run in zip(names, runs, strict=True)}
    table = pd.concat([tables[name].assign(setting=name) for name in settings], ignore_index=True)
    return table[["setting", *table.columns.drop("setting")]]


def _alike(settings: dict[str, dict]) -> list[list[str]]:
    """Names of settings that one fleet can train: equal in all that is not a number of the local training."""
    groups: list[list[str]] = []
    for name, setting in settings.items():
        for group in groups:
            if all(setting[k] == settings[group[0]][k] for k in setting if k not in _PER_RUN):
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
) -> pd.DataFrame:
    """What a federated model has to be compared with, on the same test rows.

    - ``"majority"``: each hospital predicts the class shares (or the mean) of its own training rows;
    - ``"local-only"``: each hospital trains by itself, and its patients are scored by its own model;
    - ``"pooled"``: one model on everybody's rows, which the hospitals wanted to avoid;
    - ``"best possible"``: the true risk, where the data are simulated and it is known.

    Local and pooled models do the work of a federated run: ``rounds * local_epochs`` passes over their rows,
    or ``rounds * local_steps`` batches.

    Returns
    -------
    DataFrame
        baseline, hospital ("all": every test patient), seed, loss, accuracy, auc.
    """
    federations = _replicates(federation, seeds)
    _check(federations, rounds=rounds, hidden=hidden, batch_size=batch_size)
    task, hospitals = federations[0].task, [f.hospitals for f in federations]
    names, n_runs = [h.name for h in hospitals[0]], len(hospitals)
    work = dict(batch_size=batch_size, lr=lr, optimiser=optimiser, loss=task)
    work |= {"epochs": rounds * local_epochs} if local_steps is None else {"steps": rounds * local_steps}
    starts = _starts(federations, hidden, seed)

    X, y, rows = _training_rows(hospitals)
    rngs = [np.random.default_rng((seed, s, 2 + h)) for s in range(n_runs) for h in range(len(names))]
    local = starts[torch.arange(n_runs).repeat_interleave(len(names))]
    local = fleet.fit(local, X, y, [r for one in rows for r in one], seed=rngs, **work)
    pools = {id(f): f.pooled() for f in federations}
    pools = [pools[id(f)] for f in federations]
    X, y, rows = _training_rows([[pool] for pool in pools])
    pooled = fleet.fit(starts, X, y, [one[0] for one in rows], seed=seed, **work)

    n_classes = len(federations[0].classes)
    outputs = {
        "majority": [
            torch.cat([_prior(h, task, n_classes).expand(len(h.y_test), -1) for h in one])
            for one in hospitals
        ],
        "local-only": [
            torch.cat([fleet.forward(local[[s * len(names) + k]], h.X_test)[0] for k, h in enumerate(one)])
            for s, one in enumerate(hospitals)
        ],
        "pooled": [fleet.forward(pooled[[s]], pool.X_test)[0] for s, pool in enumerate(pools)],
    }
    if task == "binary" and all(h.true_risk is not None for one in hospitals for h in one):
        outputs["best possible"] = [
            torch.cat([h.true_risk for h in one]).logit(eps=1e-6) for one in hospitals
        ]
    _, labels, counts = zip(*_test_rows(federations), strict=True)
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


@fleet.one_thread()
def _train(
    federations: list[Federation],
    settings: list[dict],
    *,
    rounds: int,
    batch_size: int,
    optimiser: fleet.Optimiser,
    hidden: Sequence[int],
    strategy: str,
    privacy,
    aggregator,
    seed: int,
    record: bool,
    on_round: Callable[[FederatedRun], bool | None] | None,
) -> list[FederatedRun]:
    """A `FederatedRun` for each setting, all in one fleet: run r has setting r // S and seed r % S."""
    _check(federations, settings, rounds=rounds, hidden=hidden, strategy=strategy, batch_size=batch_size)
    if privacy is not None:
        raise ValueError("privacy is reserved for the lesson on differential privacy; leave it at None.")
    n_seeds, names, task = len(federations), [h.name for h in federations[0].hospitals], federations[0].task
    seed_of = np.tile(np.arange(n_seeds), len(settings))
    X, y, rows = _training_rows([f.hospitals for f in federations])
    size = np.array([[len(r) for r in one] for one in rows])[seed_of]  # [runs, hospitals]
    weight = size if strategy == "fedavg" else np.ones_like(size)
    value = {k: np.repeat([np.nan if s[k] is None else s[k] for s in settings], n_seeds) for k in _PER_RUN}
    epochs, steps = value["local_epochs"][:, None] * -(-size // batch_size), value["local_steps"][:, None]
    steps = np.where(np.isnan(steps), epochs, steps).astype(int)
    drawn = np.maximum(1, np.rint(value["participation"] * len(names))).astype(int)

    lottery = [np.random.default_rng((seed, s, 1)) for s in seed_of]
    rngs = [[np.random.default_rng((seed, s, 2 + h)) for h in range(len(names))] for s in seed_of]
    world = _starts(federations, hidden, seed)[torch.from_numpy(seed_of)]
    tests = _test_rows(federations)
    metrics, messages = [_evaluate(world, tests, task)], [[] for _ in seed_of]
    ledger = _ledger(federations[0])

    def so_far() -> list[FederatedRun]:
        pieces = [slice(m * n_seeds, (m + 1) * n_seeds) for m in range(len(settings))]
        cut = [tuple({k: v[p] for k, v in table.items()} for table in metrics) for p in pieces]
        logs = [tuple(tuple(log) for log in messages[p]) for p in pieces]
        return [
            FederatedRun(world[p], task, tuple(names), *both, ledger)
            for p, *both in zip(pieces, cut, logs, strict=True)
        ]

    bar = tqdm(
        range(1, rounds + 1), "Rounds", delay=2, leave=False, file=sys.stdout, disable=on_round is not None
    )
    for number in bar:
        part = [np.sort(g.choice(len(names), m, replace=False)) for g, m in zip(lottery, drawn, strict=True)]
        run = np.repeat(np.arange(len(part)), drawn)
        hospital = np.concatenate(part)
        start = world[torch.from_numpy(run)]
        local = fleet.fit(
            start,
            X,
            y,
            [rows[seed_of[r]][h] for r, h in zip(run, hospital, strict=True)],
            steps=steps[run, hospital],
            batch_size=batch_size,
            lr=value["lr"][run],
            optimiser=optimiser,
            proximal=value["proximal"][run],
            loss=task,
            seed=[rngs[r][h] for r, h in zip(run, hospital, strict=True)],
        )
        change, now, before = local.flat() - start.flat(), weight[run, hospital], world.flat()
        if aggregator is None:
            share = torch.from_numpy(now / np.bincount(run, now)[run]).to(change)
            mean = torch.zeros_like(before).index_add(0, torch.from_numpy(run), change * share.unsqueeze(1))
        else:
            mean = torch.zeros_like(before)
        n_bytes = _BYTES * change.shape[1]
        for r, members in enumerate(part):
            mine, kept = run == r, record and seed_of[r] == 0
            at = [names[h] for h in members]
            head = (number, int(seed_of[r]))
            vector = before[r].numpy() if kept else None
            messages[r] += [(*head, "server", name, "global model", n_bytes, vector) for name in at]
            if aggregator is None:
                vectors = change[mine].numpy() if kept else [None] * len(at)
                up = [(name, "server", "update", n_bytes, v) for name, v in zip(at, vectors, strict=True)]
            else:
                alive = np.ones(len(at), dtype=bool)
                total, up = aggregator.aggregate(change[mine].numpy(), now[mine], alive=alive, rng=lottery[r])
                mean[r] = torch.as_tensor(total)
                up = [
                    (_who(a, at), _who(b, at), what, size, v if kept else None) for a, b, what, size, v in up
                ]
            messages[r] += [(*head, *message) for message in up]
        world = world.like(before + mean)
        metrics.append(_evaluate(world, tests, task))
        if on_round is not None and any([on_round(run) for run in so_far()]):
            break
    return so_far()


def _who(position, names: list[str]) -> str:
    return position if isinstance(position, str) else names[position]


def _check(federations, settings=(), *, rounds, hidden, batch_size, strategy="fedavg") -> None:
    first = federations[0]
    for other in federations[1:]:
        alike = (first.task, first.feature_names, [h.name for h in first.hospitals])
        if (other.task, other.feature_names, [h.name for h in other.hospitals]) != alike:
            raise ValueError("federation must be replicates of one table: same task, features and hospitals.")
    if strategy not in ("fedavg", "uniform"):
        raise ValueError(f"strategy must be 'fedavg' or 'uniform'; got {strategy!r}.")
    if min(hidden, default=1) < 1:
        raise ValueError(
            f"hidden must hold widths of at least 1, such as (64,), or nothing; got {tuple(hidden)}."
        )
    counts = {"rounds": rounds, "batch_size": batch_size}
    for setting in settings:
        counts |= {k: setting[k] for k in ("local_epochs", "local_steps") if setting[k] is not None}
        if not 0 < setting["participation"] <= 1:
            raise ValueError(
                f"participation must be a share above 0 and at most 1; got {setting['participation']}."
            )
        for name, value in counts.items():
            if value != int(value) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1; got {value}.")


def _replicates(federation: Federation | Sequence[Federation], seeds: int) -> list[Federation]:
    """One federation a run."""
    if isinstance(federation, Federation):
        if seeds < 1:
            raise ValueError(f"seeds must be at least 1; got {seeds}.")
        return [federation] * seeds
    if not isinstance(federation, list | tuple) or not all(isinstance(f, Federation) for f in federation):
        raise ValueError("federation must be a Federation, or a list of them from data.replicates.")
    return list(federation)


def _training_rows(hospitals: Sequence[Sequence[Hospital]]) -> tuple[Tensor, Tensor, list[list[np.ndarray]]]:
    """One table of all training rows, and for each run and hospital the numbers of its rows in it."""
    distinct = {id(h): h for one in hospitals for h in one}
    end = np.cumsum([len(h.y_train) for h in distinct.values()])
    rows = {k: np.arange(e - len(h.y_train), e) for (k, h), e in zip(distinct.items(), end, strict=True)}
    X, y = (torch.cat([getattr(h, name) for h in distinct.values()]) for name in ("X_train", "y_train"))
    return X, y, [[rows[id(h)] for h in one] for one in hospitals]


def _starts(federations: Sequence[Federation], hidden: Sequence[int], seed: int) -> fleet.Params:
    """Untrained networks, one a run."""
    first = federations[0]
    n_out = len(first.classes) if first.task == "multiclass" else 1
    return fleet.init(len(federations), (first.n_features, *hidden, n_out), seed=seed)


def _test_rows(federations: Sequence[Federation]) -> list[tuple[Tensor, Tensor, list[int]]]:
    """For each run all test rows and labels, and how many of them each hospital has."""
    distinct = {
        id(f): (
            torch.cat([h.X_test for h in f.hospitals]),
            torch.cat([h.y_test for h in f.hospitals]),
            [len(h.y_test) for h in f.hospitals],
        )
        for f in federations
    }
    return [distinct[id(f)] for f in federations]


def _evaluate(params: fleet.Params, tests: list[tuple], task: str) -> dict[str, np.ndarray]:
    """`evaluation.metrics` of run r's model on the test rows ``r % len(tests)``."""
    tests = tests * (params.n_models // len(tests))
    outputs: list = [None] * len(tests)
    with torch.no_grad():
        for X in {id(X): X for X, _, _ in tests}.values():
            runs = [r for r, test in enumerate(tests) if test[0] is X]
            for r, out in zip(runs, fleet.forward(params[runs], X), strict=True):
                outputs[r] = out
    return evaluation.metrics(outputs, [y for _, y, _ in tests], [n for _, _, n in tests], task)


def _prior(hospital: Hospital, task: str, n_classes: int) -> Tensor:
    """Outputs ``[1, out]`` of a model that knows only the hospital's own training labels."""
    y = hospital.y_train
    if task == "multiclass":
        return torch.bincount(y[:, 0].long(), minlength=n_classes).div(len(y)).log().clamp_min(-20)[None]
    mean = y.mean().reshape(1, 1)
    return mean if task == "regression" else mean.logit(eps=1e-6)


def _ledger(federation: Federation) -> Ledger:
    """The federation's ledger with the releases of training added."""
    names = ", ".join(h.name for h in federation.hospitals)
    ledger = federation.ledger
    for what, viewer in (
        ("model updates of each round", "server"),
        ("global models of each round", "hospitals"),
        ("metrics on test rows", "everyone"),
    ):
        ledger = ledger.add(what=what, hospital=names, viewer=viewer, guarantee="not private", detail="")
    return ledger


_DEFAULTS = {
    name: p.default
    for name, p in inspect.signature(train).parameters.items()
    if name not in ("federation", "seeds", "on_round")
}

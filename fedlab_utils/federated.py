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
from fedlab_utils.arguments import number, one_of, whole, widths
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.evaluation import METRICS, as_frame
from fedlab_utils.privacy import Ledger
from fedlab_utils.runs import FederatedRun
from fedlab_utils.sampling import generator

_BYTES = 4  # a parameter travels as a 32-bit float
_HOSPITAL, _LOTTERY, _AGGREGATOR = 2, 3, 4  # streams of random numbers; 0 and 1 are those of `fleet`
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
        How many runs, and where their random numbers start. What hospital h does in run s depends on
        ``(seed, s, h)`` alone; see `hospital_rng`.
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
    shared = {name: value for name, value in setting.items() if name not in _PER_RUN}
    return _train(federations, [setting], on_round=on_round, **shared)[0]


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
        raise ValueError("settings must name at least one setting, such as {'one epoch': {'local_epochs': 1}}.")
    federations = _replicates(federation, seeds)
    full = {name: _checked(federations, _DEFAULTS | common | setting) for name, setting in settings.items()}
    tables = {}
    for names in _alike(full):
        shared = {k: v for k, v in full[names[0]].items() if k not in _PER_RUN}
        runs = _train(federations, [full[name] for name in names], on_round=None, **shared)
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
    starts = _starts(federations, hidden, seed)

    X, y, rows = _training_rows(hospitals)
    rngs = [hospital_rng(seed, s, h) for s in range(n_runs) for h in range(len(names))]
    local = starts[torch.arange(n_runs).repeat_interleave(len(names))]
    local = fleet.fit(local, X, y, [r for one in rows for r in one], seed=rngs, **work)
    pools = {id(f): f.pooled() for f in federations}
    pools = [pools[id(f)] for f in federations]
    X, y, rows = _training_rows([[pool] for pool in pools])
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
    aggregator,
    seed: int,
    record: bool,
    on_round: Callable[[FederatedRun], bool | None] | None,
    **_,
) -> list[FederatedRun]:
    """A `FederatedRun` for each setting, all in one fleet: run r has setting r // S and seed r % S."""
    n_seeds, names, task = len(federations), [h.name for h in federations[0].hospitals], federations[0].task
    seed_of = np.tile(np.arange(n_seeds), len(settings))
    X, y, rows = _training_rows([f.hospitals for f in federations])
    size = np.array([[len(r) for r in one] for one in rows])[seed_of]  # [runs, hospitals]
    weight = size if strategy == "fedavg" else np.ones_like(size)
    value = {k: np.repeat([np.nan if s[k] is None else s[k] for s in settings], n_seeds) for k in _PER_RUN}
    epochs, steps = value["local_epochs"][:, None] * -(-size // batch_size), value["local_steps"][:, None]
    steps = np.where(np.isnan(steps), epochs, steps).astype(int)
    drawn = np.maximum(1, np.rint(value["participation"] * len(names))).astype(int)

    lottery = [generator(seed, s, _LOTTERY) for s in seed_of]
    hiding = [generator(seed, s, _AGGREGATOR) for s in seed_of]
    rngs = [[hospital_rng(seed, s, h) for h in range(len(names))] for s in seed_of]
    world = _starts(federations, hidden, seed)[torch.from_numpy(seed_of)]
    tests = _test_rows(federations)
    metrics, messages = [_evaluate(world, tests, task)], [[] for _ in seed_of]
    ledger = _ledger(federations)

    def so_far() -> list[FederatedRun]:
        pieces = [slice(m * n_seeds, (m + 1) * n_seeds) for m in range(len(settings))]
        cut = [tuple({k: v[p] for k, v in table.items()} for table in metrics) for p in pieces]
        logs = [tuple(tuple(log) for log in messages[p]) for p in pieces]
        return [
            FederatedRun(world[p].clone(), task, tuple(names), *both, ledger)
            for p, *both in zip(pieces, cut, logs, strict=True)
        ]

    bar = tqdm(range(1, rounds + 1), "Rounds", delay=2, leave=False, file=sys.stdout, disable=on_round is not None)
    for turn in bar:
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
        change, before = local.flat() - start.flat(), world.flat()
        if aggregator is None:
            mean, up = _in_the_open(change, weight[run, hospital], run, part)
        else:
            mean, up = _through(aggregator, change, weight[run, hospital], run, part, hiding)
        size_of_model = _BYTES * change.shape[1]
        for r, members in enumerate(part):
            down = [("server", h, "global model", size_of_model, before[r].numpy()) for h in members]
            for sender, receiver, what, n_bytes, values in down + up[r]:
                ends = (end if isinstance(end, str) else names[end] for end in (sender, receiver))
                kept = values if record and seed_of[r] == 0 else None
                messages[r].append((turn, int(seed_of[r]), *ends, what, n_bytes, kept))
        world = world.like(before + mean)
        metrics.append(_evaluate(world, tests, task))
        if on_round is not None and on_round(*so_far()) is True:
            break
    return so_far()


def _in_the_open(change: Tensor, weight: np.ndarray, run: np.ndarray, part: list) -> tuple[Tensor, list[list]]:
    """The server sees every update: weighted mean ``[runs, D]`` and the messages of each run."""
    share = torch.from_numpy(weight / np.bincount(run, weight)[run]).to(change)
    mean = change.new_zeros(len(part), change.shape[1])
    mean.index_add_(0, torch.from_numpy(run), change * share.unsqueeze(1))
    updates, n_bytes = iter(change.numpy()), _BYTES * change.shape[1]
    return mean, [[(h, "server", "update", n_bytes, next(updates)) for h in members] for members in part]


def _through(aggregator, change: Tensor, weight: np.ndarray, run: np.ndarray, part: list, rngs: list):
    """The same by an aggregator, run by run; positions in its messages become hospitals."""
    mean, messages = change.new_zeros(len(part), change.shape[1]), []
    for r, members in enumerate(part):
        updates, alive = change[torch.from_numpy(run == r)].numpy(), np.ones(len(members), dtype=bool)
        total, sent = aggregator.aggregate(updates, weight[run == r], alive=alive, rng=rngs[r])
        if np.shape(total) != mean[r].shape:
            wrong = f"its shape is {np.shape(total)}"
            raise ValueError(f"aggregator must return the mean as {change.shape[1]} numbers; {wrong}.")
        mean[r] = torch.as_tensor(total)
        named = [[end if isinstance(end, str) else members[end] for end in m[:2]] for m in sent]
        messages.append([(*ends, *m[2:]) for ends, m in zip(named, sent, strict=True)])
    return mean, messages


def _checked(federations: Sequence[Federation], setting: dict) -> dict:
    """The arguments of `train`, each of them in order."""
    if unknown := setting.keys() - _DEFAULTS.keys():
        raise ValueError(f"{sorted(unknown)} are not arguments of train; those are {', '.join(_DEFAULTS)}.")
    first = federations[0]
    alike = (first.task, first.feature_names, [h.name for h in first.hospitals])
    if any((f.task, f.feature_names, [h.name for h in f.hospitals]) != alike for f in federations):
        raise ValueError("federation must be replicates of one table: same task, features and hospitals.")
    one_of("strategy", setting["strategy"], ("fedavg", "uniform"))
    if setting["privacy"] is not None:
        raise ValueError("privacy is reserved for the lesson on differential privacy; leave it at None.")
    share = number("participation", setting["participation"])
    if not 0 < share <= 1:
        raise ValueError(f"participation must be a share above 0 and at most 1; got {share}.")
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


def hospital_rng(seed: int, run: int, hospital: int) -> np.random.Generator:
    """The random numbers with which a hospital shuffles in one run of `train`, from its first round on."""
    return generator(seed, run, _HOSPITAL, hospital)


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


def _ledger(federations: Sequence[Federation]) -> Ledger:
    """The federations' ledgers, one after the other, with the releases of training added."""
    ledger = Ledger(tuple(e for f in {id(f): f for f in federations}.values() for e in f.ledger.entries))
    names, runs = ", ".join(h.name for h in federations[0].hospitals), f"{len(federations)} runs"
    ledger = ledger.add("model updates of each round", hospital=names, viewer="server", detail=runs)
    ledger = ledger.add("global models of each round", hospital=names, viewer="every hospital", detail=runs)
    return ledger.add("metrics on test rows", hospital=names, viewer="outsider", detail=runs)


_DEFAULTS = {
    name: p.default
    for name, p in inspect.signature(train).parameters.items()
    if name not in ("federation", "seeds", "on_round")
}

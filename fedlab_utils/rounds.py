"""The engine of `federated`: all runs and hospitals as the models of one fleet, round by round.

Runs (random seeds, replicates of the split, settings of a comparison) times hospitals are laid out side by side, so
that a round of everything is one call of `fleet.fit`.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from fedlab_utils import evaluation, fleet, releases
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.hospitals import dealing
from fedlab_utils.ledger import Ledger
from fedlab_utils.privacy import HospitalDP, RecordDP, noise_generator
from fedlab_utils.runs import FederatedRun
from fedlab_utils.sampling import generator

PER_RUN = ("local_epochs", "local_steps", "lr", "proximal", "participation", "privacy")  # may differ in one fleet

_BYTES = 4  # a parameter travels as a 32-bit float
_HOSPITAL, _LOTTERY, _AGGREGATOR, _NOISE = 2, 3, 4, 5  # streams of random numbers; 0 and 1 are those of `fleet`


@fleet.one_thread()
def train(
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
    on_round: Callable[[list[FederatedRun]], bool | None] | None,
    **_,
) -> list[FederatedRun]:
    """A `FederatedRun` for each setting, all in one fleet: run r has setting r // S and seed r % S.

    Settings differ only in `PER_RUN`, and their promises of privacy are all of one kind.
    """
    n_seeds, names, task = len(federations), [h.name for h in federations[0].hospitals], federations[0].task
    seed_of = np.tile(np.arange(n_seeds), len(settings))
    X, y, rows = training_rows([f.hospitals for f in federations])
    size = np.array([[len(r) for r in one] for one in rows])[seed_of]  # [runs, hospitals]
    value = {k: np.repeat([np.nan if s[k] is None else s[k] for s in settings], n_seeds) for k in PER_RUN[:-1]}
    promises = [s["privacy"] for s in settings for _ in range(n_seeds)]
    kind, secure = type(promises[0]), [p is not None and p.secure for p in promises]

    expected = np.minimum(batch_size, size)
    epochs = value["local_epochs"][:, None]
    epochs = -(-epochs * size // expected) if kind is RecordDP else epochs * -(-size // batch_size)
    steps = value["local_steps"][:, None]
    steps = np.where(np.isnan(steps), epochs, steps).astype(int)
    weight = size if strategy == "fedavg" and kind is not HospitalDP else np.ones_like(size)

    runs = range(len(seed_of))
    apart = [own_stream(settings[r // n_seeds], size[r].tolist()) for r in runs]

    def source(run: int, stream: int) -> np.random.Generator:
        return noise_generator() if secure[run] else generator(seed, seed_of[run], stream, *apart[run])

    rngs = [
        [noise_generator() if secure[r] else hospital_rng(seed, seed_of[r], h, *apart[r]) for h in range(len(names))]
        for r in runs
    ]
    hiding = [generator(seed, s, _AGGREGATOR) for s in seed_of]
    schedule = [  # who takes part when is settled in advance: noise is calibrated for it
        _schedule(source(r, _LOTTERY), rounds, len(names), value["participation"][r], coins=kind is HospitalDP)
        for r in runs
    ]
    planned = np.array([np.bincount(np.concatenate(one), minlength=len(names)) for one in schedule])
    noise, clip = None, None
    if kind is RecordDP:
        noise = releases.record_noise(promises, expected / size, planned * steps)
        clip = np.array([p.max_grad_norm for p in promises])
    if kind is HospitalDP:
        noise = releases.hospital_noise(promises, value["participation"], planned, rounds)
        clip = np.array([p.max_update_norm for p in promises])
        shaker, divisor = [source(r, _NOISE) for r in runs], value["participation"] * len(names)

    world = starts(federations, hidden, seed)[torch.from_numpy(seed_of)]
    step = np.array([_step_of_the_grid(aggregator, schedule[r], weight[r]) for r in runs])
    if kind is HospitalDP:  # rounding to a grid makes a clipped update longer by up to this, so it is clipped shorter
        slack = step * world.n_parameters**0.5
        if (slack > clip / 10).any():
            worst = (slack / clip).argmax()
            raise ValueError(
                f"aggregator rounds updates to steps of {step[worst]:.2g}, too coarse for "
                f"max_update_norm={clip[worst]:g}; give it more bits or a smaller limit."
            )
    tests = test_rows(federations)
    metrics, messages = [_evaluate(world, tests, task)], [[] for _ in seed_of]
    took = np.zeros_like(size)  # rounds that each hospital took part in
    sees = getattr(aggregator, "sees", releases.UPDATES)
    distinct = {id(f): f for f in federations}
    dealings = {k: None if kind is type(None) else dealing(f) for k, f in distinct.items()}
    dealings = [dealings[id(f)] for f in federations]

    def mechanisms() -> list[list]:
        """For each run that of each hospital, as far as it has come."""
        if kind is RecordDP:
            numbers = (noise, expected / size, took * steps, size)
            return [
                releases.record_mechanisms(*one) for one in zip(promises, *(n.tolist() for n in numbers), strict=True)
            ]
        if kind is HospitalDP:
            numbers = (noise, value["participation"], took)
            each = zip(promises, *(n.tolist() for n in numbers), strict=True)
            return [releases.hospital_mechanisms(*one, rounds=len(metrics) - 1) for one in each]
        return [[] for _ in runs]

    def so_far() -> list[FederatedRun]:
        found, private = [], mechanisms()
        for m, setting in enumerate(settings):
            p = slice(m * n_seeds, (m + 1) * n_seeds)
            cut = tuple({k: v[p] for k, v in table.items()} for table in metrics)
            log = tuple(tuple(one) for one in messages[p])
            own = releases.entries(setting["privacy"], private[p], names, dealings, sees=sees)
            ledgers = (Ledger((*f.ledger.entries, *e)) for f, e in zip(federations, own, strict=True))
            found.append(FederatedRun(world[p].clone(), task, tuple(names), cut, log, tuple(ledgers)))
        return found

    bar = tqdm(range(1, rounds + 1), "Rounds", delay=2, leave=False, file=sys.stdout, disable=on_round is not None)
    for turn in bar:
        part = [one[turn - 1] for one in schedule]
        run = np.repeat(np.arange(len(part)), [len(members) for members in part])
        hospital = np.concatenate(part)
        start, before = world[torch.from_numpy(run)], world.flat()
        protected = {}
        if kind is RecordDP:
            protected = dict(max_norm=clip[run], noise_multiplier=noise[run, hospital], sampling="poisson")
        local = start
        if len(run):  # nobody: nothing to train
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
                **protected,
            )
        change = local.flat() - start.flat()
        if kind is HospitalDP:
            length = torch.linalg.vector_norm(change, dim=1).clamp_min(1e-30)
            change *= (torch.from_numpy((clip - slack)[run]).to(change) / length).clamp_max(1).unsqueeze(1)
        if aggregator is None:
            mean, up = _in_the_open(change, weight[run, hospital], run, part)
        else:
            mean, up = _through(aggregator, change, weight[run, hospital], run, part, hiding, seed_of)
        if kind is HospitalDP:  # from the mean of those who came to the noisy sum over the expected number
            share = np.array([len(members) for members in part]) / divisor
            draws = np.stack([rng.standard_normal(change.shape[1], dtype=np.float32) for rng in shaker])
            spread = torch.from_numpy(noise * clip / divisor).to(change).unsqueeze(1)
            mean = mean * torch.from_numpy(share).to(change).unsqueeze(1) + spread * torch.from_numpy(draws)
        np.add.at(took, (run, hospital), 1)
        size_of_model = _BYTES * before.shape[1]
        for r, members in enumerate(part):
            known = turn > 1 and getattr(aggregator, "delivers", False)  # from the last round's own messages
            down = [] if known else [("server", h, "global model", size_of_model, before[r].numpy()) for h in members]
            for sender, receiver, what, n_bytes, values in down + up[r]:
                ends = (end if isinstance(end, str) else names[end] for end in (sender, receiver))
                kept = values if record and seed_of[r] == 0 else None
                messages[r].append((turn, int(seed_of[r]), *ends, what, n_bytes, kept))
        world = world.like(before + mean)
        metrics.append(_evaluate(world, tests, task))
        if on_round is not None and on_round(so_far()) is True:
            break
    return so_far()


def _schedule(rng: np.random.Generator, rounds: int, n: int, share: float, *, coins: bool) -> list[np.ndarray]:
    """Who takes part in each round: a fixed number (at least one), or each by its own coin flip."""
    if coins:
        return [np.flatnonzero(rng.random(n) < share) for _ in range(rounds)]
    number = max(1, int(np.rint(share * n)))
    return [np.sort(rng.choice(n, number, replace=False)) for _ in range(rounds)]


def _step_of_the_grid(aggregator, schedule: list, weight: np.ndarray) -> float:
    """The coarsest to which an aggregator rounds in one run, once it agrees to all of its rounds; 0 if it does not."""
    if not hasattr(aggregator, "check"):
        return 0.0
    rounds = {(len(members), int(weight[members].sum())) for members in schedule if len(members)}
    return max((aggregator.check(*one) for one in sorted(rounds)), default=0.0)


def _in_the_open(change: Tensor, weight: np.ndarray, run: np.ndarray, part: list) -> tuple[Tensor, list[list]]:
    """The server sees every update: weighted mean ``[runs, D]`` and the messages of each run."""
    share = torch.from_numpy(weight / np.bincount(run, weight)[run]).to(change)
    mean = change.new_zeros(len(part), change.shape[1])
    mean.index_add_(0, torch.from_numpy(run), change * share.unsqueeze(1))
    updates, n_bytes = iter(change.numpy()), _BYTES * change.shape[1]
    return mean, [[(h, "server", "update", n_bytes, next(updates)) for h in members] for members in part]


def _through(
    aggregator, change: Tensor, weight: np.ndarray, run: np.ndarray, part: list, rngs: list, seed_of: np.ndarray
):
    """The same by an aggregator, run by run; positions in its messages become hospitals.

    After the first seed an aggregator may take its short way, `quick`, to the same mean and the same sizes.
    """
    mean, messages = change.new_zeros(len(part), change.shape[1]), []
    for r, members in enumerate(part):
        if not len(members):
            messages.append([])
            continue
        updates, alive = change[torch.from_numpy(run == r)].numpy(), np.ones(len(members), dtype=bool)
        whole = aggregator.aggregate
        act = getattr(aggregator, "quick", whole) if seed_of[r] else whole
        total, sent = act(updates, weight[run == r], alive=alive, rng=rngs[r])
        if np.shape(total) != mean[r].shape:
            wrong = f"its shape is {np.shape(total)}"
            raise ValueError(f"aggregator must return the mean as {change.shape[1]} numbers; {wrong}.")
        mean[r] = torch.as_tensor(total)
        named = [[end if isinstance(end, str) else members[end] for end in m[:2]] for m in sent]
        messages.append([(*ends, *m[2:]) for ends, m in zip(named, sent, strict=True)])
    return mean, messages


def own_stream(setting: dict, sizes: Sequence[int]) -> tuple[int, ...]:
    """What sets the random numbers of a private training apart from those of every other setting.

    Promises compose only if each release has coins and noise of its own: two models with the same noise differ by
    what the noise should hide. Without a promise, settings share their random numbers, so that their differences are
    not due to luck.
    """
    if setting["privacy"] is None:
        return ()
    way = setting["aggregator"]
    about = sorted((k, repr(v)) for k, v in setting.items() if k not in ("aggregator", "record", "seed"))
    about.append(("aggregator", type(way).__qualname__ if type(way).__repr__ is object.__repr__ else repr(way)))
    return (zlib.crc32(repr((about, list(sizes))).encode()),)


def hospital_rng(seed: int, run: int, hospital: int, *own: int) -> np.random.Generator:
    """The random numbers with which a hospital shuffles in one run of `train`, from its first round on.

    `own` is that of `own_stream` under a promise of privacy.
    """
    return generator(seed, run, _HOSPITAL, hospital, *own)


def training_rows(hospitals: Sequence[Sequence[Hospital]]) -> tuple[Tensor, Tensor, list[list[np.ndarray]]]:
    """One table of all training rows, and for each run and hospital the numbers of its rows in it."""
    distinct = {id(h): h for one in hospitals for h in one}
    end = np.cumsum([len(h.y_train) for h in distinct.values()])
    rows = {k: np.arange(e - len(h.y_train), e) for (k, h), e in zip(distinct.items(), end, strict=True)}
    X, y = (torch.cat([getattr(h, name) for h in distinct.values()]) for name in ("X_train", "y_train"))
    return X, y, [[rows[id(h)] for h in one] for one in hospitals]


def starts(federations: Sequence[Federation], hidden: Sequence[int], seed: int) -> fleet.Params:
    """Untrained networks, one a run."""
    first = federations[0]
    n_out = len(first.classes) if first.task == "multiclass" else 1
    return fleet.init(len(federations), (first.n_features, *hidden, n_out), seed=seed)


def test_rows(federations: Sequence[Federation]) -> list[tuple[Tensor, Tensor, list[int]]]:
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

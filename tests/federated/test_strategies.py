"""Strategies: against their own formulas written out, against torch.optim, and at the optimum they should find."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import data, federated, fleet, privacy, secagg
from fedlab_utils.encrypted import EncryptedSum
from fedlab_utils.federated import strategies, views
from tests.federated.helpers import QUICK
from tests.refusals import one_sentence

RecordDP, HospitalDP = partial(privacy.RecordDP, secure=False), partial(privacy.HospitalDP, secure=False)
PLAIN = dict(rounds=6, local_steps=4, batch_size=16, lr=0.2, hidden=(8,))


def furthest(one, other):
    """Largest difference of one parameter."""
    return float((one.params.flat() - other.params.flat()).abs().max())


def flower(kind, rate, model, means, momentum=0.9, betas=(0.9, 0.99), tau=1e-3):
    """Models after each round as Flower 1.x makes them of the mean updates; a round without a mean is left out.

    Its FedAvgM takes pseudo-gradients (old minus new) as torch's SGD does; its FedAdam corrects for the bias with one
    more than the number of the round, counted from 1, and its FedYogi not at all.
    """
    found, x, m, v, counter = [], np.array(model, dtype=float), 0.0, 0.0, 0
    velocity = None
    for mean in means:
        if mean is not None:
            delta, counter = np.array(mean, dtype=float), counter + 1
            if kind == "fedavgm":
                velocity = -delta if velocity is None else momentum * velocity - delta
                x = x - rate * velocity
            else:
                m = betas[0] * m + (1 - betas[0]) * delta
                if kind == "fedadam":
                    v = betas[1] * v + (1 - betas[1]) * delta**2
                    norm = np.sqrt(1 - betas[1] ** (counter + 1)) / (1 - betas[0] ** (counter + 1))
                else:
                    v = v - (1 - betas[1]) * delta**2 * np.sign(v - delta**2)
                    norm = 1.0
                x = x + rate * norm * m / (np.sqrt(v) + tau)
        found.append(x)
    return found


def replayed(run, federation):
    """From a recorded transcript the model before each round, and the mean of the updates that came (None: none)."""
    rows, log = {h.name: len(h.y_train) for h in federation.hospitals}, run.transcript.query("seed == 0")
    models, means = [], []
    for _, own in log.groupby("round"):
        models.append(own.loc[own["what"] == "global model", "values"].iloc[0])
        up = own[own["what"] == "update"]
        weights = [rows[name] for name in up["sender"]]
        means.append(np.average(np.stack(up["values"]), axis=0, weights=weights) if len(up) else None)
    return models, means


# ---------------------------------------------------------------- the server's step


@pytest.mark.parametrize("participation", [1.0, 0.34])
@pytest.mark.parametrize(
    ("kind", "strategy", "rate"),
    [
        ("fedavgm", "fedavgm", 0.5),
        ("fedadam", federated.FedAdam(bias_correction="flower"), 0.1),
        ("fedyogi", "fedyogi", 0.01),
    ],
)
def test_the_server_steps_as_flower_does(three, kind, strategy, rate, participation):
    """A round in which nobody came is none: neither the model nor what the server remembers moves."""
    work = PLAIN | dict(rounds=10, participation=participation, dropout=0.4 if participation < 1 else 0.0)
    run = federated.train(three, **work, strategy=strategy, server_lr=rate, record=True)
    models, means = replayed(run, three)
    assert (len(run.failed[0]) > 2) == (participation < 1)
    theirs = flower(kind, rate, models[0], means)
    np.testing.assert_allclose(np.stack([*models[1:], run.params.flat()[0]]), theirs, atol=2e-5)
    moved = [np.abs(after - before).max() for before, after in zip(models[:-1], models[1:], strict=True)]
    assert all((step == 0) == (mean is None) for step, mean in zip(moved, means[:-1], strict=True))


@pytest.mark.parametrize(
    ("strategy", "kind"),
    [
        (federated.FedAvgM(0.7), partial(torch.optim.SGD, momentum=0.7)),
        (
            federated.FedAdam(betas=(0.8, 0.95), tau=1e-2, bias_correction="adam"),
            partial(torch.optim.Adam, betas=(0.8, 0.95), eps=1e-2),
        ),
    ],
)
def test_momentum_and_adam_are_those_of_torch(strategy, kind):
    rng = torch.Generator().manual_seed(0)
    x, state = torch.nn.Parameter(torch.zeros(3, 5)), strategy.start(3, 2, 5)
    theirs, ours = kind([x], lr=0.1), torch.zeros(3, 5)
    for _ in range(6):
        mean = torch.randn(3, 5, generator=rng)
        step, state = strategy.step(mean, state, None)
        ours, x.grad = ours + 0.1 * step, -mean
        theirs.step()
        torch.testing.assert_close(ours, x.data, atol=1e-5, rtol=0)


def test_yogis_square_moves_by_no_more_than_the_new_one():
    rule, state = federated.FedYogi(betas=(0.9, 0.9)), None
    state = rule.start(1, 1, 2)
    for size in (1.0, 0.1, 3.0):
        before = state[1]
        _, state = rule.step(torch.tensor([[size, 0.0]]), state, None)
        new = torch.tensor([[size**2, 0.0]])
        torch.testing.assert_close((state[1] - before).abs(), 0.1 * new)
    step, _ = rule.step(torch.zeros(1, 2), rule.start(1, 1, 2), None)
    assert (step == 0).all()  # of a number that never changed


def test_the_rate_of_the_server_is_a_factor(three):
    models, means = replayed(run := federated.train(three, **PLAIN, server_lr=0.5, record=True), three)
    steps = np.diff(np.stack([*models, run.params.flat()[0]]), axis=0)
    np.testing.assert_allclose(steps, 0.5 * np.stack(means), atol=1e-6)


# ---------------------------------------------------------------- SCAFFOLD


def differing(n=4, rows=(60, 20, 40, 30)):
    """Hospitals whose optima lie apart, each with other patients and another rule."""
    rng, parts = np.random.default_rng(3), []
    for k in range(n):
        x = rng.normal(size=(rows[k], 2)) + [k - 1, 0]
        tilt = [1.5, -1.0][k % 2]
        ill = x[:, 0] * tilt + x[:, 1] + rng.logistic(size=rows[k]) > 0.5 * k
        parts.append(pd.DataFrame(x, columns=["a", "b"]).assign(ward=f"h{k}", ill=ill))
    return data.from_frame(pd.concat(parts, ignore_index=True), target="ill", hospital="ward")


FULL = dict(batch_size=1000, local_steps=20, lr=0.2, hidden=())


def pooled_optimum(federation):
    pool = federation.pooled()
    rows = [np.concatenate([np.arange(len(pool.y_train))])]
    start = fleet.init(1, (federation.n_features, 1), seed=0)
    found = fleet.fit(start, pool.X_train, pool.y_train, rows, steps=4000, batch_size=1000, lr=0.5)
    weight = torch.full((1, len(pool.y_train)), 1 / len(pool.y_train))
    slope = fleet.gradients(found, pool.X_train[None], pool.y_train[None], weight, loss="binary")
    assert slope.flat().abs().max() < 1e-5
    return found.flat()


def missed(run, optimum):
    return float((run.params.flat() - optimum).abs().max())


@dataclass(frozen=True)
class OfThoseHere(federated.Scaffold):
    """The planted error: the common control variate is averaged over those who are there."""

    def average(self, common, own, mean, work):
        share = torch.zeros_like(work.weight)
        share[work.run, work.hospital] = work.weight[work.run, work.hospital]
        return torch.einsum("rh,rhd->rd", share / share.sum(1, keepdim=True), own)


@dataclass(frozen=True)
class AllAlike(federated.Scaffold):
    """Another one: control variates are averaged without weights, while updates are averaged by rows."""

    def average(self, common, own, mean, work):
        return own.mean(1)


def test_scaffold_finds_the_pooled_optimum_and_averaging_with_many_steps_does_not():
    """Full batches: who is left away from the optimum was driven there by the strategy alone."""
    wards = differing()
    optimum = pooled_optimum(wards)
    settings = {
        "one step": dict(local_steps=1, lr=2.0),
        "fedavg": {},
        "scaffold": dict(strategy="scaffold"),
        "all alike": dict(strategy=AllAlike()),
    }
    runs = federated.side_by_side(wards, settings, seeds=1, **FULL | dict(rounds=60))
    apart = {name: missed(run, optimum) for name, run in runs.items()}
    assert apart["one step"] < 0.01 and apart["scaffold"] < 1e-3
    assert apart["fedavg"] > 0.1 and apart["all alike"] > 0.1


def test_scaffold_finds_it_too_where_not_everybody_is_there():
    """Control variates are averaged over everybody, updates over those who came."""
    wards = differing()
    optimum = pooled_optimum(wards)
    rules = {"right": dict(strategy="scaffold"), "wrong": dict(strategy=OfThoseHere()), "fedavg": {}}
    missing = [dict(participation=0.5), dict(dropout=0.4), dict(participation=0.5, dropout=0.3)]
    settings = {(rule, k): rules[rule] | some for rule in rules for k, some in enumerate(missing)}
    runs = federated.side_by_side(wards, settings, seeds=1, **FULL | dict(rounds=60, local_steps=8))
    for (rule, k), run in runs.items():
        apart = missed(run, optimum)
        assert apart < 1e-3 if rule == "right" else apart > 0.05, (rule, missing[k], apart)


def test_with_one_step_and_everybody_there_scaffold_is_averaging(three):
    common = PLAIN | dict(local_steps=1, rounds=12)
    averaging, corrected = (federated.train(three, **common, strategy=s, seeds=2) for s in ("fedavg", "scaffold"))
    assert furthest(averaging, corrected) < 1e-6
    several = [federated.train(three, **common | dict(local_steps=5), strategy=s) for s in ("fedavg", "scaffold")]
    assert furthest(*several) > 1e-3


@pytest.mark.parametrize(
    "change",
    [
        dict(local_steps=3),
        dict(local_epochs=1),
        dict(local_epochs=2, participation=0.67, dropout=0.3, rounds=9),
        dict(local_steps=3, participation=0.67, dropout=0.3, rounds=9, server_lr=0.7),
    ],
)
def test_scaffold_is_its_algorithm_written_out(three, change):
    """Algorithm 1 of the paper with option II, hospitals weighted by rows, in torch.nn and with every c_k by itself.

    In epochs, hospitals of other sizes make other numbers of steps.
    """
    work = dict(rounds=5, batch_size=16, lr=0.1, hidden=()) | change
    run = federated.train(three, strategy="scaffold", **work, seed=2)
    log, rows = run.transcript, np.array([len(h.y_train) for h in three.hospitals])
    world = fleet.init(1, (three.n_features, 1), seed=2).flat()[0].double()
    rngs = [federated.hospital_rng(2, 0, h) for h in range(3)]
    own, common = torch.zeros(3, len(world)).double(), torch.zeros(len(world)).double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    for turn in range(1, work["rounds"] + 1):
        this = log[log["round"] == turn]
        came, total = [], 0
        for k in [k for k, h in enumerate(three.hospitals) if h.name in set(this["receiver"])]:
            h, x = three.hospitals[k], world.clone()
            steps = work.get("local_steps") or work["local_epochs"] * -(-rows[k] // 16)
            for index, _ in fleet.shuffled([np.arange(rows[k])], [steps], 16, [rngs[k]]):
                x.requires_grad_()
                out = h.X_train[index[0]].double() @ x[:-1, None] + x[-1]
                (slope,) = torch.autograd.grad(loss(out, h.y_train[index[0]].double()), x)
                x = (x - 0.1 * (slope - own[k] + common)).detach()
            if h.name in set(this["sender"]):  # its line did not fail
                came.append((k, x - world, own[k] - common + (world - x) / (steps * 0.1)))
        for k, _, new in came:
            own[k] = new
        total = sum(rows[k] for k, *_ in came)
        common = (torch.from_numpy(rows)[:, None] * own).sum(0) / rows.sum()
        if came:
            world = world + work.get("server_lr", 1.0) * sum(rows[k] * d for k, d, _ in came) / total
    torch.testing.assert_close(run.params.flat()[0].double(), world, atol=2e-5, rtol=0)


# ---------------------------------------------------------------- one fleet


def test_a_whole_contest_is_one_fleet_and_each_run_is_what_it_is_alone(three):
    settings = {
        "fedavg": {},
        "half": dict(server_lr=0.5),
        "pull": dict(proximal=0.3),
        "momentum": dict(strategy="fedavgm", server_lr=0.3),
        "other momentum": dict(strategy=federated.FedAvgM(0.5), lr=0.1),
        "adam": dict(strategy="fedadam", server_lr=0.05),
        "other adam": dict(strategy=federated.FedAdam((0.5, 0.9), 0.01, "adam"), server_lr=0.1, dropout=0.3),
        "yogi": dict(strategy="fedyogi", server_lr=0.05, participation=0.67),
        "scaffold": dict(strategy="scaffold", participation=0.67),
        "longer": dict(strategy="scaffold", lr=0.1, local_steps=None, local_epochs=2, server_lr=0.9),
    }
    seen = []
    runs = federated.side_by_side(three, settings, seeds=2, on_round=lambda r: seen.append(list(r)), **PLAIN)
    assert seen == [list(settings)] * PLAIN["rounds"]
    for name, setting in settings.items():
        alone = federated.train(three, seeds=2, **PLAIN | setting)
        assert furthest(runs[name], alone) < 2e-5, name
        assert [m[:6] for log in runs[name].messages for m in log] == [m[:6] for log in alone.messages for m in log]
    several = [r.params.flat()[0] for r in runs.values()]
    assert all((a - b).abs().max() > 1e-3 for k, a in enumerate(several) for b in several[:k])
    with_uniform = settings | {"uniform": dict(strategy="uniform")}
    apart = federated.side_by_side(three, with_uniform, seeds=2, **PLAIN)
    assert all(torch.equal(apart[name].params.flat(), runs[name].params.flat()) for name in settings)


def test_a_strategy_of_ones_own(three):
    @dataclass(frozen=True)
    class Signs(federated.Strategy):
        def step(self, mean, state, work):
            return mean.sign(), state

    run = federated.train(three, **PLAIN, strategy=Signs(), server_lr=0.01, record=True)
    models, _ = replayed(run, three)
    np.testing.assert_allclose(np.abs(np.diff(np.stack(models), axis=0)).max(1), 0.01, atol=1e-6)


def test_a_strategy_that_can_be_changed_is_one_of_its_own(three):
    """A dataclass that is not frozen has no hash."""

    @dataclass
    class Half(federated.Strategy):
        by: float = 0.5

        def step(self, mean, state, work):
            return self.by * mean, state

    rules = {"half": Half(), "other": Half(0.25), "same": Half()}
    runs = federated.side_by_side(three, {k: dict(strategy=rule) for k, rule in rules.items()}, seeds=2, **PLAIN)
    for name, by in (("half", 0.5), ("other", 0.25), ("same", 0.5)):
        assert furthest(runs[name], federated.train(three, seeds=2, **PLAIN, server_lr=by)) < 1e-5


def test_a_training_that_runs_away_does_not_stop_the_others(three):
    settings = {"wild": dict(strategy="scaffold", lr=1e30), "calm": dict(strategy="scaffold")}
    with pytest.warns(federated.Diverged):
        runs = federated.side_by_side(three, settings, seeds=1, **PLAIN | dict(lr=0.1))
    assert runs["wild"].diverged and not runs["calm"].diverged
    assert furthest(runs["calm"], federated.train(three, strategy="scaffold", **PLAIN | dict(lr=0.1))) < 1e-5


# ---------------------------------------------------------------- what travels, and who sees it


@pytest.mark.parametrize("way", [secagg.SecureSum(threshold=2), EncryptedSum()], ids=["masked", "encrypted"])
@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam", "scaffold"])
def test_the_server_steps_on_what_came_out_of_a_sum(three, way, strategy):
    """As in the open, but for the grid of the sum; and no message goes up that averaging does not send."""
    common = PLAIN | dict(hidden=(), server_lr=0.1 if strategy == "fedadam" else 1.0)
    run, plain = (federated.train(three, **common, strategy=s, aggregator=way) for s in (strategy, "fedavg"))
    assert furthest(run, federated.train(three, **common, strategy=strategy)) < 1e-3
    ups = [r.transcript.query("receiver == 'server'").drop(columns="round") for r in (run, plain)]
    assert ups[0]["what"].tolist() == ups[1]["what"].tolist() and ups[0]["bytes"].sum() == ups[1]["bytes"].sum()


def test_the_common_control_variate_goes_down_from_the_second_round_on(three):
    work = PLAIN | dict(participation=0.67, dropout=0.3)
    run, plain = (federated.train(three, **work, strategy=s, record=True) for s in ("scaffold", "fedavg"))
    log = run.transcript
    more = log[log["what"] == strategies.CONTROL]
    assert len(more) == 2 * (PLAIN["rounds"] - 1) and (more["sender"] == "server").all() and more["round"].min() == 2
    size = 4 * run.params.n_parameters
    assert (more["bytes"] == size).all() and all(np.any(v) for v in more["values"])
    assert log["bytes"].sum() == plain.transcript["bytes"].sum() + len(more) * size
    every = run.history.query("hospital == 'all'")["bytes"].sum()
    assert every == log["bytes"].sum()
    sealed = federated.train(three, **PLAIN | dict(hidden=()), strategy="scaffold", aggregator=EncryptedSum())
    assert strategies.CONTROL not in set(sealed.transcript["what"])  # each works it out of the mean that it opens


def sights(run):
    return views.who_sees_what({"it": run.transcript}).set_index("viewer")["sees"]


def test_with_other_numbers_of_steps_a_control_variate_is_a_second_sum(three):
    """Of three hospitals each can then take the two others apart; with as many steps it is the same sum again."""
    epochs = dict(rounds=3, local_epochs=1, batch_size=16, lr=0.1, hidden=(), strategy="scaffold", record=True)
    run = federated.train(three, **epochs)
    log, rows = run.transcript, np.array([len(h.y_train) for h in three.hospitals])
    share, pace = rows / rows.sum(), -(-rows // 16) * 0.1
    model, control = (
        [own["values"].iloc[0] for _, own in log[log["what"] == what].groupby("round")]
        for what in ("global model", strategies.CONTROL_OF_ANOTHER_SUM)
    )
    second = log.query("round == 2 and what == 'update'").set_index("sender")["values"]
    sent = [second[h.name] for h in three.hospitals]
    # What the first one knows: both sums of round 2 without its own part.
    mean = model[2] - model[1] - share[0] * sent[0]
    slopes = -control[1] - share[0] * sent[0] / pace[0]
    found = (slopes - mean / pace[2]) / (share[1] * (1 / pace[1] - 1 / pace[2]))
    np.testing.assert_allclose(found, sent[1], atol=1e-4)
    assert sights(run)["hospital"] == "single updates"
    assert sights(federated.train(three, **PLAIN, strategy="scaffold"))["hospital"] == "model of every round"
    four = differing(rows=(90, 60, 40, 20))
    assert sights(federated.train(four, **epochs))["hospital"] == "model of every round"


# ---------------------------------------------------------------- under a promise


@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam", "fedyogi", "scaffold"])
def test_under_a_promise_to_records_a_strategy_costs_nothing(three, strategy):
    common = QUICK | dict(privacy=RecordDP(noise_multiplier=1.0), server_lr=0.1)
    run, plain = (federated.train(three, **common, strategy=s) for s in (strategy, "fedavg"))
    both = [[e.mechanism for e in r.ledger.entries if e.mechanism] for r in (run, plain)]
    assert both[0] == both[1] and len(both[0]) == 3
    told = [e for e in run.ledger.entries if e.what == strategies.CONTROLS]
    assert [e.guarantee for e in told] == [privacy.FOLLOWS] * (strategy == "scaffold")
    masked = federated.train(
        three, **common | dict(local_steps=3), strategy=strategy, aggregator=secagg.SecureSum(threshold=2)
    )
    assert [e.mechanism.steps for e in masked.ledger.entries if e.mechanism] == [9] * 3


@pytest.mark.parametrize("strategy", ["fedavgm", "fedadam", "fedyogi"])
def test_under_a_promise_to_hospitals_the_server_steps_on_the_noisy_mean(three, strategy):
    common = QUICK | dict(privacy=HospitalDP(noise_multiplier=1.0), server_lr=0.1)
    run, plain = (federated.train(three, **common, strategy=s) for s in (strategy, "fedavg"))
    both = [[e.mechanism for e in r.ledger.entries if e.mechanism] for r in (run, plain)]
    assert both[0] == both[1] and len(both[0]) == 3
    assert bool(run.params.flat().isfinite().all())


def test_trainings_that_differ_in_strategy_alone_have_noise_of_their_own(three):
    """Models with the same noise would differ by what it should hide."""
    common = QUICK | dict(rounds=1, privacy=RecordDP(noise_multiplier=1.0), record=True)
    first, others = [], [dict(strategy=s) for s in ("fedavgm", "fedadam", federated.FedAdam(tau=0.1))]
    for more in ({}, dict(server_lr=0.5), *others):
        run, again = (federated.train(three, **common | more) for _ in range(2))
        first.append(run.transcript.query("what == 'update'")["values"].iloc[0])
        assert torch.equal(run.params.flat(), again.params.flat())
    assert all(np.abs(a - b).max() > 1e-3 for k, a in enumerate(first) for b in first[:k])


# ---------------------------------------------------------------- what is refused


class Median:
    """A rule that gives no mean."""

    def aggregate(self, updates, weights, *, alive, rng):
        return np.median(updates[alive], axis=0), []


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("optimiser", dict(optimiser="adam")),
        ("optimiser", dict(optimiser="momentum")),
        ("lr", dict(lr=0.0)),
        ("strategy", dict(privacy=HospitalDP(noise_multiplier=1.0))),
        ("strategy", dict(aggregator=Median())),
        ("local_steps", dict(aggregator=secagg.SecureSum(threshold=2))),
    ],
)
def test_what_does_not_fit_scaffold_is_refused_in_a_sentence(three, monkeypatch, name, change):
    monkeypatch.setattr(fleet, "fit", None)  # nothing is trained
    with one_sentence(name) as reason:
        federated.train(three, **QUICK | change, strategy="scaffold")
    assert "scaffold" in str(reason.value)
    with one_sentence(name):
        federated.compare(three, {"plain": {}, "it": change | dict(strategy="scaffold")}, **QUICK | dict(rounds=1))


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        (federated.FedAvgM, "momentum", (1.0, -0.1, "0.9", None, True, [0.9])),
        (federated.FedAdam, "betas", (0.9, (0.9,), (0.9, 1.0), (0.9, -0.1), "ab", None, (0.9, None))),
        (federated.FedYogi, "tau", (0, -1, "1", None, float("nan"))),
        (federated.FedAdam, "bias_correction", (True, None, "yes", 1)),
    ],
)
def test_numbers_of_a_strategy_that_cannot_be_get_a_sentence(kind, name, wrong):
    for value in wrong:
        with one_sentence(name):
            kind(**{name: value})


def test_no_warning_on_the_way(three):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in strategies.STRATEGIES:
            federated.train(three, **QUICK, strategy=name, server_lr=0.1)

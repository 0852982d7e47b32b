"""What a strong membership attack costs here and with a plain loop, and how often its intervals are right, in one run.

    python tests/benchmarks/attacks.py            three minutes; let nothing else run
    python tests/benchmarks/attacks.py --quick    under one: fewer repeats and models

Shadow models have one hidden layer of 32. Only ratios of one run mean anything; seconds depend on the machine. The
repetition studies have fixed seeds. Brackets hold 95% intervals.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from dp_accounting import pld  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402
from scipy.stats import binomtest, norm  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from fedlab_utils import attacks, data, fleet, privacy, synth  # noqa: E402
from fedlab_utils.attacks import classifiers  # noqa: E402
from fedlab_utils.privacy import accounting  # noqa: E402

MODELS, HIDDEN, EPOCHS, BATCH, LR = 256, 32, 100, 32, 0.01  # the last four as `attacks.shadows` has them by default


def patients() -> tuple[Tensor, Tensor]:
    """All 569 rows of breast_cancer, 30 columns."""
    hospitals = data.load("breast_cancer").hospitals
    X, y = ([getattr(h, f"{name}_{part}") for h in hospitals for part in ("train", "test")] for name in "Xy")
    return torch.cat(X), torch.cat(y)


def start(k: int) -> fleet.Params:
    """Where shadow model k of seed 0 starts."""
    return fleet.init(1, (30, HIDDEN, 1), seed=[fleet.generator(0, k, 0)])


def plain(k: int, X: Tensor, y: Tensor, batches: Iterable[Tensor]) -> Tensor:
    """Outputs ``[n, 1]`` of shadow model k, trained by ``torch.nn`` and ``torch.optim``."""
    model = nn.Sequential(nn.Linear(30, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))
    arrays = map(torch.from_numpy, fleet.to_arrays(start(k), 0))
    model.load_state_dict(dict(zip(model.state_dict(), arrays, strict=True)))
    optimiser, loss = torch.optim.Adam(model.parameters(), lr=LR), nn.BCEWithLogitsLoss()
    for rows in batches:
        optimiser.zero_grad()
        loss(model(X[rows]), y[rows]).backward()
        optimiser.step()
    with torch.no_grad():
        return model(X)


def slow_lira(logit: np.ndarray, member: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Algorithm 1 of arXiv:2112.03570, with one variance for the models with and one for those without."""
    n, sides = len(own), []
    for group in (member, ~member):
        mine = [logit[group[:, i], i] for i in range(n)]
        spread = np.sqrt(sum(((m - m.mean()) ** 2).sum() for m in mine) / sum(len(m) - 1 for m in mine))
        sides.append([norm.logpdf(own[i], mine[i].mean(), spread) for i in range(n)])
    return np.subtract(*sides)


def same_answer() -> None:
    """Are we comparing the same thing? Shadow models by the fleet and by a plain loop; LiRA and its definition."""
    (X, y), lines = patients(), []
    some = attacks.shadows(X, y, n_models=40, seed=0, epochs=20)
    scores = attacks.lira(some).scores
    for k in range(4):
        rows = np.flatnonzero(some.member[k])
        drawn = fleet.shuffled([rows], [20 * -(-len(rows) // BATCH)], BATCH, [fleet.generator(0, k, 1)])
        logit = plain(k, X, y, (index[0, share[0] > 0] for index, share in drawn)).double() * (2 * y - 1)
        slow = slow_lira(np.delete(some.logit, k, 0), np.delete(some.member, k, 0), some.logit[k])
        pairs = (logit[:, 0].numpy(), some.logit[k], 1e-3), (slow, scores[k], 1e-8)
        differ = [np.abs(one - other).max() / one.std() for one, other, _ in pairs]
        if not all(d <= most for d, (*_, most) in zip(differ, pairs, strict=True)):
            found = " and ".join(f"{d:.0e}" for d in differ)
            sys.exit(f"Model {k} and its attack differ by {found} from plain code: no comparison would be honest.")
        lines.append([str(k), *(f"{d:.0e}" for d in differ)])
    head = ["model", "trained by a plain loop, 20 epochs", "LiRA by its definition"]
    show("Largest differences to plain code, in units of the spread", head, lines, "1e-3 and 1e-8")


def cost(quick: bool) -> None:
    """LiRA with 256 shadow models, and the same models one at a time."""
    (X, y), few = patients(), 2 if quick else 6
    some = attacks.shadows(X, y, n_models=MODELS, seed=0, epochs=1)
    rows = [torch.from_numpy(np.flatnonzero(m)) for m in some.member[:few]]

    def loop() -> None:
        for k in range(few):
            shuffles = (rows[k][torch.randperm(len(rows[k]))] for _ in range(EPOCHS))
            plain(k, X, y, (batch for shuffle in shuffles for batch in shuffle.split(BATCH)))

    def singly() -> None:
        for k in range(few):
            fleet.fit(start(k), X, y, [rows[k]], epochs=EPOCHS, batch_size=BATCH, lr=LR, optimiser="adam")

    def intervals() -> None:
        result = attacks.lira(some)
        result.auc, result.tpr_at(0.01)

    ours = {"fleet": lambda: attacks.shadows(X, y, n_models=MODELS, seed=0), "LiRA": lambda: attacks.lira(some)}
    took = seconds(ours | {"intervals": intervals, "loop": loop, "singly": singly}, 1 if quick else 3)
    line = [f"{took[name]:.2f} s" for name in (*ours, "intervals")]
    for one in (took["loop"] * MODELS / few, took["singly"] * MODELS / few):
        line.append(f"{one:.0f} s {one / (took['fleet'] + took['LiRA']):5.1f}x")
    what, mine = f"LiRA with {MODELS} shadow models", took["fleet"] + took["LiRA"]
    same = f"scores to 1e-8, models to 1e-3; {few} models scaled up"
    beside(what, "PyTorch, one model at a time", mine, took["loop"] * MODELS / few, same=same)
    title = f"LiRA with {MODELS} shadow models of {EPOCHS} epochs on {len(X)} x {X.shape[1]} rows"
    head = ["fleet", "LiRA", "LiRA and intervals", "PyTorch, one by one", "fleet, one by one"]
    show(title, head, [line], "all in 5 s; a plain loop over the models 25x as long as fleet and LiRA together")
    print(f"  One by one: {few} models, scaled up. Everything has one torch thread.")


def few_models(models: attacks.Shadows, n: int, **options) -> attacks.AttackResult:
    """RMIA with n models on 6 targets, again and again with other ones, so that their luck is in the interval."""
    parts = [models[k : k + n + 6] for k in range(0, len(models) - n - 5, n + 6)]
    found = [attacks.rmia(p[:n], p.logit[n:], p.member[n:], **options) for p in parts]
    return attacks.AttackResult("", *(np.concatenate([getattr(f, a) for f in found]) for a in ("scores", "member")))


def orderings(quick: bool) -> None:
    """All attacks on the same models, at low rates of false alarms."""
    everyone = data.load("hospital_network", target="diagnosis").pooled()
    mixed = np.random.default_rng(0).permutation(len(everyone.X_train))
    whole = dict(n_models=24, epochs=40, batch_size=256) if quick else dict(n_models=64)
    for rows, fit in ((mixed[:200], dict(n_models=MODELS)), (mixed, whole)):
        models = attacks.shadows(everyone.X_train[rows], everyone.y_train[rows], seed=0, loss="multiclass", **fit)
        found = {
            "LiRA": attacks.lira(models),
            "RMIA": attacks.rmia(models),
            "RMIA, 2 models": few_models(models, 2),
            "RMIA, 2 models, offline": few_models(models, 2, online=False),
            "RMIA, 4 models": few_models(models, 4),
            "calibrated loss": attacks.calibrated(models),
            "loss threshold": attacks.loss_threshold(models.logit, models.member),
        }
        lines, best = [], found["LiRA"].tpr_at(0.01)
        for name, r in found.items():
            rate = r.tpr_at(0.01)
            order = "below" if rate.high < best.low else "above" if rate.low > best.high else "not resolved"
            line = [name, *map(brief, (r.auc, rate, r.tpr_at(0.001))), f"{rate.value / best.value:.2f}x, {order}"]
            lines.append(line if name != "LiRA" else [*line[:-1], ""])
        title = f"{len(rows):,} patients of hospital_network, diagnosis, {len(models)} models, each attacked in turn"
        aim = "LiRA far above the loss threshold, RMIA with few models close to LiRA"
        show(title, ["", "AUC", "TPR at 1%", "TPR at 0.1%", "at 1%, beside LiRA"], lines, aim)
    print("  An order is resolved where the two intervals do not meet.")


def brief(estimate: attacks.Estimate) -> str:
    return "not resolved" if estimate.unresolved else f"{estimate.value:.3f} ({estimate.low:.3f}-{estimate.high:.3f})"


def positive_control() -> None:
    """Random labels of thirty classes, known by heart: of two, strangers would be right by luck half of the time."""
    rng = np.random.default_rng(0)
    X = torch.from_numpy(rng.normal(size=(100, 40)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 30, (100, 1)).astype(np.float32))
    s = attacks.shadows(X, y, n_models=32, seed=0, hidden=(64,), epochs=60, loss="multiclass")
    found = [attacks.loss_threshold(s.logit, s.member), attacks.calibrated(s), attacks.lira(s), attacks.rmia(s)]
    for result in found:
        if result.auc.low < 0.95:
            sys.exit(f"{result.attack} misses what is known by heart, AUC {result.auc}: its other numbers say nothing.")
    line = [brief(result.auc) for result in found]
    show("Positive control: AUC, random labels known by heart", [r.attack for r in found], [line], "above .95")


def negative_control(R: int, n: int = 150) -> None:
    """Models that never saw the patients: how often an interval leaves the coin out."""
    seen: dict[tuple, list] = {}
    for seed in range(R):
        rng, member = np.random.default_rng(seed), classifiers.coins(n, 24, seed)
        X = torch.from_numpy(rng.normal(size=(2 * n, 6)).astype(np.float32))
        y = ((X[:, :1] > 0) ^ torch.from_numpy(rng.random((2 * n, 1)) < 0.2)).float()
        models, strangers = fleet.init(24, (6, 16, 1), seed=seed), [n + np.flatnonzero(m) for m in member]
        models = fleet.fit(models, X, y, strangers, epochs=10, batch_size=16, lr=0.1, seed=seed)
        s = attacks.Shadows(member, attacks.scaled_logit(models, X[:n], y[:n]))
        found = [attacks.loss_threshold(s.logit, s.member), attacks.calibrated(s), attacks.lira(s), attacks.rmia(s)]
        for result in (*found, attacks.lira(s[1:], s.logit[0], s.member[0])):
            rate = 0.05 if len(result.scores) > 1 else 0.2
            name = result.attack + ", one target" * (len(result.scores) == 1)
            seen.setdefault((name, rate), []).append((result.auc, result.tpr_at(rate)))
    lines = []
    for (name, rate), both in seen.items():
        areas, rates = zip(*both, strict=True)
        lines.append([name, share(areas, 0.5), share(rates, rate)])
    head = ["", "AUC's misses .5", "TPR's at 5% FPR (one target: 20%) misses that"]
    aim = "95% intervals, so at most 5% (in brackets: Clopper-Pearson, 95%)"
    show(f"Negative control: {R} times 24 models that never saw the {n} patients", head, lines, aim)


def share(estimates: Sequence[attacks.Estimate], truth: float) -> str:
    """How many intervals miss the truth."""
    wrong = sum(not e.low <= truth <= e.high for e in estimates)
    interval = binomtest(wrong, len(estimates)).proportion_ci(0.95, "exact")
    return f"{wrong}/{len(estimates)} ({100 * interval.low:.1f}-{100 * interval.high:.1f}%)"


def coverage(R: int) -> None:
    """Scores of a known law: how often the truth lies in the interval, and how wide it is."""
    worlds = {  # models, rows; what is due to patient, model and neither
        "patients": (16, 50, 1.0, 0.0, 0.7),
        "models": (30, 40, 0.0, 0.6, 0.7),
        "both": (20, 50, 0.8, 0.4, 0.5),
        "neither": (20, 50, 0.0, 0.0, 1.0),
        "patients, one model": (1, 500, 0.5, 0.0, 0.8),
    }
    lines = []
    for name, (models, rows, a, b, e) in worlds.items():
        rng, found = np.random.default_rng(2), []
        others, members = np.hypot(np.hypot(a, b), e), np.hypot(np.hypot(a, b) * 2**0.5, e)  # spread of their scores
        area = norm.cdf(0.7 / np.hypot(others, members))
        truth = area, norm.cdf((0.7 - others * norm.ppf(0.95)) / members), area
        for _ in range(R if models > 1 else 3 * R):
            result = attacks.AttackResult("", *world(rng, models, rows, a, b, e))
            alone = attacks.AttackResult("", result.scores.ravel(), result.member.ravel())
            found.append((result.auc, result.tpr_at(0.05), alone.auc))
        line = [name]
        for estimates, right in zip(zip(*found, strict=True), truth, strict=True):
            width = np.mean([x.high - x.low for x in estimates]) / (3.92 * np.std([x.value for x in estimates]))
            line.append(f"{share(estimates, right)} {width:.2f}x")
        lines.append(line)
    head = ["what varies", "AUC missed, width", "TPR at 5% missed, width", "AUC, as if all scores were independent"]
    aim = "at most 5%; 1x is as wide as need be, up to 2x happens where nothing is due to patient or model"
    show(f"Intervals of {R} simulated attacks, {3 * R} on one model", head, lines, aim)


def world(rng, models: int, rows: int, by_row: float, by_model: float, alone: float) -> tuple[np.ndarray, np.ndarray]:
    member = rng.random((models, rows)) < 0.5
    base = rng.normal(0, by_row, rows) + rng.normal(0, by_model, (models, 1)) + rng.normal(0, alone, member.shape)
    return base + member * (0.7 + rng.normal(0, by_row, rows) + rng.normal(0, by_model, (models, 1))), member


def synthetic(quick: bool, n: int = 100) -> None:
    """Attacks on tables: by a GAN, and by a method that is known to copy."""
    federation, K, lines = data.load("hospital_network"), 8 if quick else 32, []
    everyone = federation.pooled().train.sample(n + 1000, random_state=0).reset_index(drop=True)
    frame, gan = everyone[:n], dict(method="wgan_gp", steps=100 if quick else 600, hidden=(64, 64))
    for setting in (gan, dict(method="interpolate")):
        setting["schema"], begin = federation.schema, time.perf_counter()
        with redirect_stdout(io.StringIO()):  # no progress bar
            member, tables = attacks.shadow_generators(frame, n_models=K, seed=0, n_rows=500, **setting)
        if setting is gan:
            together, begin = time.perf_counter() - begin, time.perf_counter()
            with redirect_stdout(io.StringIO()):
                for k in range(2):
                    synth.fit(frame[member[k]].reset_index(drop=True), batch_size=int(member.sum(1).min()), **gan)
            alone = (time.perf_counter() - begin) / 2 * K
        found = [attacks.nearest_record(frame, member, tables), attacks.monte_carlo(frame, member, tables)]
        found.append(attacks.domias(frame, member, tables, reference=everyone[n:]))
        found.append(attacks.rmia(attacks.densities(frame, member, tables)))  # by the tables of all the others
        for r in found:
            lines.append([setting["method"], r.attack, *map(brief, (r.auc, r.tpr_at(0.05), r.tpr_at(0.01)))])
    title = f"{K} generators, each of about half of {n} patients of hospital_network, tables of 500 rows"
    show(title, ["table by", "attack", "AUC", "TPR at 5%", "TPR at 1%"], lines, "all find the patients of interpolate")
    print(f"  GANs as one fleet: {together:.1f} s; one by one {alone / together:.1f}x as long (two, scaled up).")


def federations(quick: bool) -> None:
    """The three attackers of federated training, and what the promise leaves them."""
    network = data.load("hospital_network", target="diagnosis")
    few = {h.name: h.train.sample(24, random_state=0).reset_index(drop=True) for h in network.hospitals}
    network, lines, short = network.replace_train(few), [], dict(rounds=10, local_steps=2, batch_size=32, lr=0.5)
    settings = {"none": (dict(rounds=20, local_epochs=5, lr=0.01, optimiser="adam"), 1.0)}
    settings["none; short, clipped"] = short | dict(privacy=privacy.RecordDP(noise_multiplier=0, secure=False)), 1.0
    for epsilon in (16.0, 4.0, 1.0):
        noise = accounting.noise_for(epsilon, steps=20)  # hospitals are smaller than a batch: all patients in each step
        accountant = pld.PLDAccountant().compose(accounting.gaussian(noise), 20)
        bound = min(np.exp(e) * 0.01 + accountant.get_delta(e) for e in np.linspace(0, 6, 61))  # each is one
        settings[f"epsilon {epsilon:g}"] = (
            short | dict(privacy=privacy.RecordDP(noise_multiplier=noise, secure=False)),
            bound,
        )
    for name, (setting, bound) in settings.items():
        for who, models in attacks.federated_shadows(network, n_models=24 if quick else 96, seed=1, **setting).items():
            result = attacks.lira(models)
            rate = result.tpr_at(0.01)
            if rate.low > bound:
                sys.exit(f"{who}, {name}: TPR {rate}, beyond the bound {bound:.3f}: accountant or training is wrong.")
            lines.append([name, who, brief(result.auc), brief(rate), f"{bound:.3f}"])
    title, aim = "LiRA on five hospitals of 24 patients, half of them members", "none beyond the bound"
    show(title, ["promise", "attacker", "AUC", "TPR at 1%", "accountant's bound"], lines, aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and models, 20 repetitions of a control")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    same_answer()
    cost(quick)
    orderings(quick)
    positive_control()
    negative_control(20 if quick else 100)
    coverage(20 if quick else 200)
    synthetic(quick)
    federations(quick)


if __name__ == "__main__":
    main()

"""What differential privacy costs here and with Opacus, and how often the audit is right, in one run.

    python tests/benchmarks/privacy.py            three minutes; let nothing else run
    python tests/benchmarks/privacy.py --quick    under one: fewer repeats and shapes

Networks of one hidden layer (two where it says so) on the five hospitals of hospital_network. Only ratios of one run
mean anything; seconds depend on the machine. The repetition studies have fixed seeds.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import dp_accounting  # noqa: E402, F401  (loading it is no part of calibration)
import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402
from scipy.stats import binomtest  # noqa: E402
from torch import Tensor  # noqa: E402

from fedlab_utils import audit, data, federated, fleet, privacy  # noqa: E402
from fedlab_utils.federated.plan import training_rows  # noqa: E402
from fedlab_utils.fleet import batches, losses, randomness  # noqa: E402
from fedlab_utils.privacy import accounting  # noqa: E402

try:
    from peers import opacus_peer
except ImportError:
    opacus_peer = None

CLIP, LR, NOISE = 1.0, 0.5, 1.0
SHAPES = [(5, (32,)), (25, (32,)), (150, (32,)), (25, (64, 64))]  # models, hidden layers
BATCHES = (64, 128, 256)
BUDGETS = (0.1, 0.3, 1.0, 3.0, 8.0, 30.0)
STEPS = 40  # releases that the audited trainings have
NO_PEER = 'Opacus is not installed, so these are our figures alone; to compare: python -m pip install -e ".[test]"'


def world() -> tuple[Tensor, Tensor, list[np.ndarray]]:
    """One table of all training rows, labels, and the rows of each hospital."""
    X, y, rows = training_rows([data.load("hospital_network").hospitals])
    return X, y, rows[0]


def ours(start, X, y, rows, *, batch, steps, noise=NOISE, clip=CLIP, lr=LR, seed=0) -> fleet.Params:
    """DP-SGD by the fleet."""
    private = dict(max_norm=clip, noise_multiplier=noise, sampling="poisson")
    return fleet.fit(start, X, y, rows, steps=steps, batch_size=batch, lr=lr, seed=seed, **private)


def plain(start, X, y, rows, *, batch, steps) -> fleet.Params:
    """SGD by the fleet."""
    return fleet.fit(start, X, y, rows, steps=steps, batch_size=batch, lr=LR, seed=0)


# --- are we comparing the same thing? -----------------------------------------------------------------------


def same_answer() -> None:
    """One step on all rows of a small table: the same clipped sum as row by row, and noise of the stated size."""
    X, y, _ = world()
    X, y, n = X[:300], y[:300], 300
    start = fleet.init(1, (X.shape[1], 64, 1), seed=0)
    expected, limit = by_autograd(start, X, y)
    found = {"fleet": partial(_one_step, start, X, y, limit)}
    if opacus_peer:
        arrays, work = fleet.to_arrays(start, 0), dict(batch=n, lr=1.0, clip=limit)
        for name, loader in (("Opacus, loader", True), ("Opacus, by hand", False)):
            found[name] = lambda s, loader=loader: opacus_peer.trainer(arrays, X, y, noise=s, loader=loader, **work)(1)
    lines, error = [], 5 / math.sqrt(2 * len(expected))
    for name, step in found.items():
        total = n * (start.flat()[0] - step(0.0))
        difference = (total - expected).abs().max().item() / expected.abs().max().item()
        spread = ((step(3.0) - step(0.0)) * n).std().item() / (3 * limit)
        if difference > 1e-4:
            sys.exit(f"{name} and clipping row by row disagree by {difference:.1e}: no comparison would be honest.")
        if abs(spread - 1) > error:
            sys.exit(f"The noise of {name} is {spread:.2f} times as large as stated: no comparison would be honest.")
        lines.append([name, f"{difference:.0e}", f"{spread:.3f}"])
    head = ["", "sum of clipped gradients, difference", "noise, times what is stated"]
    aim = f"the sum that autograd gives row by row, to 1e-4; 1 within five standard errors ({error:.2f})"
    show("The same step by all (all rows; half of them are clipped)", head, lines, aim)
    if not opacus_peer:
        print(f"  {NO_PEER}")


def _one_step(start, X, y, limit, noise) -> Tensor:
    return ours(start, X, y, [range(len(X))], batch=len(X), steps=1, noise=noise, clip=limit, lr=1.0).flat()[0]


def by_autograd(start: fleet.Params, X: Tensor, y: Tensor) -> tuple[Tensor, float]:
    """Each row's gradient by itself, cut to the median of their lengths, added up; and that length."""
    tracked = start.map(lambda t: t.clone().requires_grad_())
    rows = []
    for x, label in zip(X, y, strict=True):
        one = losses.per_row(fleet.forward(tracked, x[None, None]), label[None, None], "binary").sum()
        rows.append(torch.cat([g.flatten() for g in torch.autograd.grad(one, tracked.tensors())]))
    each = torch.stack(rows)
    length = each.norm(dim=1, keepdim=True)
    limit = length.median().item()
    return (each * (limit / length).clamp(max=1)).sum(0), limit


# --- what a step costs --------------------------------------------------------------------------------------


def step_cost(quick: bool) -> None:
    """A clipped and noised step against a plain one."""
    X, y, hospitals = world()
    lines, steps = [], 20
    for K, hidden in SHAPES[1:3] if quick else SHAPES:
        start, rows = fleet.init(K, (X.shape[1], *hidden, 1), seed=0), [hospitals[k % 5] for k in range(K)]
        for batch in BATCHES[:: 2 if quick else 1]:
            job = dict(batch=batch, steps=steps)
            each = {
                "plain": partial(plain, start, X, y, rows, **job),
                "clipped": partial(ours, start, X, y, rows, noise=0.0, **job),
                "noisy": partial(ours, start, X, y, rows, **job),
            }
            took = {k: 1000 * s / steps for k, s in seconds(each, 5 if quick else 15).items()}
            ratios = [f"{took[name]:.2f} ms {took[name] / took['plain']:5.2f}x" for name in ("clipped", "noisy")]
            lines.append([f"{K} x {'-'.join(map(str, hidden))}", str(batch), f"{took['plain']:.2f} ms", *ratios])
    head = ["models x hidden", "batch", "plain step", "clipped, Poisson", "clipped and noised"]
    show("One step of all models, by the fleet", head, lines, "clipped and noised at most 2x")


def beside_opacus(quick: bool, most: int) -> None:
    """The same training by Opacus, which has one model at a time."""
    X, y, hospitals = world()
    lines, threads = [], sorted({1, most})
    work = dict(lr=LR, clip=CLIP, noise=NOISE)
    for K, steps in ((1, 100), (25, 10 if quick else 20)):
        for batch in (64,) if quick else (64, 256):
            start, rows = fleet.init(K, (X.shape[1], 32, 1), seed=0), [hospitals[k % 5] for k in range(K)]
            each: dict = {"fleet": partial(ours, start, X, y, rows, batch=batch, steps=steps)}
            for name, loader in (("loader", True), ("by hand", False)):
                theirs = [
                    opacus_peer.trainer(fleet.to_arrays(start, k), X[r], y[r], batch=batch, loader=loader, **work)
                    for k, r in enumerate(rows)
                ]
                for n in threads:
                    each[name, n] = partial(_all, theirs, steps, n)
            took = seconds(each, 3 if quick else 5)
            line = [str(K), str(batch), f"{1e3 * took['fleet'] / steps:.2f} ms"]
            for name in ("loader", "by hand"):
                best = min(took[name, n] for n in threads)
                line.append(f"{1e3 * best / steps:.2f} ms {best / took['fleet']:5.1f}x")
                what = f"one private step, {K} model{'s' * (K > 1)}, batches of {batch}"
                about = "clipped sums to 1e-4, noise by its size"
                beside(what, f"Opacus, {name}", took["fleet"] / steps, best / steps, same=about)
            lines.append(line)
    head = ["models", "batch", "fleet", "Opacus, loader", "Opacus, by hand"]
    aim = "a tenth of Opacus's time (10x). A single small model is mostly Python's time with both"
    show("One step of all models, hidden layer of 32 (times as long as the fleet)", head, lines, aim)
    print(f"  Opacus gets the number of threads that suits it, of {threads}; the fleet has one.")


def _all(trainers: list, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    for train in trainers:
        train(steps)
    torch.set_num_threads(1)


def noise_cost(quick: bool) -> None:
    """Normal numbers for all models and steps, drawn some steps at a time and not kept."""
    lines = []
    for K, width, steps in ((1, 417, 4000), (25, 417, 400), (100, 417, 200), (25, 5057, 60)):
        block = max(1, 16384 // width)
        blocks = [min(block, steps - s) for s in range(0, steps, block)]

        def own(K=K, width=width, steps=steps):
            for _ in batches.normal([steps] * K, width, randomness.generators(0, K)):
                pass

        def numpys(K=K, width=width, blocks=blocks):
            rngs = randomness.generators(0, K)
            for b in blocks:
                np.stack([rng.standard_normal((b, width), np.float32) for rng in rngs])

        def torchs(K=K, width=width, blocks=blocks):
            rngs = [torch.Generator().manual_seed(k) for k in range(K)]
            for b in blocks:
                torch.stack([torch.randn(b, width, generator=rng) for rng in rngs])

        draws = torch.stack(list(batches.normal([steps] * K, width, randomness.generators(0, K)))).double()
        for power, moment, error in ((1, 0, 1), (2, 1, 2**0.5), (4, 3, 96**0.5)):  # of each power's mean
            if abs((draws**power).mean().item() - moment) > 6 * error / math.sqrt(draws.numel()):
                sys.exit(f"Moment {power} of batches.normal is off: no comparison would be honest.")
        took = seconds({"own": own, "numpy": numpys, "torch": torchs}, 5 if quick else 11)
        ns = {name: 1e9 * s / draws.numel() for name, s in took.items()}
        cells = [f"{ns[name]:.1f} ns {ns[name] / ns['own']:5.2f}x" for name in ("numpy", "torch")]
        lines.append([f"{K} x {width} x {steps}", f"{ns['own']:.1f} ns", *cells])
        for name, who in (("numpy", "NumPy"), ("torch", "torch.randn")):
            what = f"{draws.numel():,} normal numbers, {K} model{'s' * (K > 1)} of {width} parameters"
            beside(what, who, took["own"], took[name], same="moments of ours; each model has its own generator")
    head = ["models x numbers x steps", "sampling.normal", "NumPy", "torch.randn"]
    aim = "less time than NumPy (over 1x); every model has a generator of its own with all three"
    show("One normal number (times as long as batches.normal)", head, lines, aim)
    print("  torch.randn starts from 24 random bits and ends at 5.8 standard deviations; batches.normal ends at 6.6.")


# --- the curve ----------------------------------------------------------------------------------------------


def curve(quick: bool) -> None:
    """The privacy-utility curve of the lesson: 6 budgets, 5 seeds, 5 hospitals."""
    federation, settings = (
        data.load("hospital_network"),
        {e: dict(privacy=privacy.RecordDP(e, secure=False)) for e in BUDGETS},
    )
    work = dict(rounds=20, local_steps=20, batch_size=40, lr=LR, hidden=(32,), seeds=5)

    def calibrate():
        accounting.noise_for.cache_clear()
        accounting.composed.cache_clear()
        for h in federation.hospitals:
            for setting in settings.values():
                setting["privacy"].noise(sampling=work["batch_size"] / len(h.y_train), steps=400)

    firsts, runs = [], {}

    def train(settings):
        begin, seen = time.perf_counter(), []

        def look(some):  # as a live lab does: the points after this round
            for run in some.values():
                run.history["auc"].iloc[-6:].mean()
            seen.append(time.perf_counter() - begin)

        return federated.side_by_side(federation, settings, **work, on_round=look), seen[0]

    def private():
        done, first = train(settings)
        runs.update(done)
        firsts.append(first)

    def unprotected():
        train({e: {} for e in BUDGETS})

    repeats = 1 if quick else 4
    begin = time.perf_counter()
    calibrate()
    calibration = time.perf_counter() - begin
    took = seconds({"private": private, "plain": unprotected}, repeats)
    accounting.composed.cache_clear()
    begin = time.perf_counter()
    spent = {e: run[0].ledger.epsilon() for e, run in runs.items()}
    reading = time.perf_counter() - begin
    line = [f"{median(firsts[1:]):.2f} s", f"{took['private']:.2f} s", f"{took['private'] / took['plain']:.2f}x"]
    line += [f"{calibration:.2f} s", f"{reading:.2f} s"]
    head = ["first points", "all", "all / the same without privacy", "calibration", "reading epsilons"]
    title = "A curve of 6 budgets x 5 seeds x 5 hospitals, 20 rounds x 20 steps (150 models side by side)"
    show(title, head, [line], "first points within 1 s and all in 3 s, calibration apart")
    lines = []
    for e, run in runs.items():
        table = run.history.query("hospital == 'all' and round == 20")
        lines.append([f"{e:g}", f"{spent[e]:.3f}", f"{table['auc'].mean():.3f}", f"{table['auc'].std():.3f}"])
        if not 0.99 * e <= spent[e] <= e:
            sys.exit(f"With a budget of {e:g} a run has spent {spent[e]:.4f}: its points would be mislabelled.")
    head = ["budget", "spent by one run", "mean AUC", "its spread over seeds"]
    show("Its points", head, lines, "99% to 100% of the budget spent, at delta 1e-5")


# --- the audit ----------------------------------------------------------------------------------------------


def clip(vectors: Tensor, order: int = 2) -> Tensor:
    return vectors * (CLIP / vectors.norm(p=order, dim=-1, keepdim=True)).clamp(max=1)


def normal(like: Tensor, spread: float, rng: torch.Generator) -> Tensor:
    return spread * torch.randn(like.shape, generator=rng)


def gaussian(sigma: float) -> audit.Release:
    """The right mechanism: clip each patient, add up, add noise."""

    def right(gradients, rng):
        total = clip(gradients).sum(1)
        return total + normal(total, sigma * CLIP, rng)

    return right


def laplace(gradients: Tensor, rng: torch.Generator) -> Tensor:
    """Epsilon 1 exactly, at every threshold beyond the canary: the bound has no slack to hide an error in."""
    total = clip(gradients, 1).sum(1)
    uniform = torch.rand(total.shape, generator=rng, dtype=torch.double) - 0.5
    return total - CLIP * (uniform.sign() * torch.log1p(-2 * uniform.abs())).float()


def nobody(gradients: Tensor, rng: torch.Generator) -> Tensor:
    """Noise and nothing else: epsilon 0."""
    return normal(gradients[:, 0], 1.0, rng)


def planted(claim: float) -> dict[str, audit.Release]:
    """Wrong mechanisms; whoever wrote them claims epsilon = `claim`."""
    sigma = privacy.noise_for(claim, steps=STEPS)
    of_one_round = privacy.noise_for(claim, steps=2)  # of 20 rounds with two steps each

    def no_clipping(gradients, rng):
        return gradients.sum(1) + normal(gradients[:, 0], sigma * CLIP, rng)

    def clipped_mean(gradients, rng):
        return clip(gradients.mean(1)) + normal(gradients[:, 0], sigma * CLIP / gradients.shape[1], rng)

    def noise_reused(gradients, rng):
        return gaussian(sigma)(gradients, torch.Generator().manual_seed(7))

    wrong = {"no clipping": no_clipping, "clipped mean": clipped_mean, "accountant reset": gaussian(of_one_round)}
    return wrong | {"noise reused": noise_reused}


def audit_time() -> None:
    """500 counted models, 250 more to choose the threshold."""
    lines = []
    for steps in (STEPS, 10 * STEPS):
        right = gaussian(privacy.noise_for(1.0, steps=steps))
        for claim, rate in (("each patient in each step", 1.0), ("Poisson sampling, rate 0.1", 0.1)):
            took = seconds({"": lambda r=right, s=steps, q=rate: audit.epsilon_lower_bound(r, steps=s, sampling=q)}, 1)
            lines.append([str(steps), claim, f"{took['']:.2f} s"])
    show("An audit with 500 models", ["steps", "", "time"], lines, "under 10 s")


def repetitions(R: int) -> None:
    """How often the audit accuses the innocent, and catches the guilty."""
    sigma = {claim: privacy.noise_for(claim, steps=STEPS) for claim in (1.0, 3.0)}
    half = privacy.noise_for(1.0, sampling=0.5, steps=STEPS)
    innocent = {  # release, steps, sampling, true epsilon
        "Gaussian": (gaussian(sigma[1.0]), STEPS, 1.0, privacy.epsilon(sigma[1.0], steps=STEPS)),
        "Gaussian, little noise": (gaussian(sigma[3.0]), STEPS, 1.0, privacy.epsilon(sigma[3.0], steps=STEPS)),
        "Gaussian, sampled": (gaussian(half), STEPS, 0.5, privacy.epsilon(half, sampling=0.5, steps=STEPS)),
        "Laplace, one step": (laplace, 1, 1.0, 1.0),
        "noise alone": (nobody, 1, 1.0, 0.0),
    }
    lines = []
    for name, (release, steps, rate, truth) in innocent.items():
        found = [audit.epsilon_lower_bound(release, steps=steps, sampling=rate, seed=s) for s in range(R)]
        line = [name, f"{truth:.3f}", f"{median(a.lower for a in found):.2f}", _share([a.lower > truth for a in found])]
        bell = name.startswith(("Gaussian", "noise")) and rate == 1  # others have another trade-off curve
        refined = _share([a.refined > truth for a in found]) if bell else "-"
        lines.append([*line, refined])
    head = ["right mechanism", "its epsilon", "median bound", "bound above it", "refined above it"]
    aim = "at most 5% above the true epsilon (intervals: Clopper-Pearson, 95%)"
    show(f"{R} audits with 500 models each: false accusations", head, lines, aim)

    lines = []
    for name, release in planted(1.0).items():
        line = [name]
        for models, repeats in ((500, R), (2000, R // 4)):
            found = [audit.epsilon_lower_bound(release, steps=STEPS, models=models, seed=s) for s in range(repeats)]
            line += [f"{median(a.lower for a in found):.2f}", _share([a.lower > 1 for a in found])]
        lines.append([*line, max((a.score for a in found), key=[a.score for a in found].count)])
    head = ["planted bug", "500: median bound", "caught", "2,000: median bound", "caught", "score"]
    show("Bugs that claim epsilon 1", head, lines, "all caught with 2,000 models, as in the tests")


def _share(wrong: list[bool]) -> str:
    interval = binomtest(sum(wrong), len(wrong)).proportion_ci(0.95, "exact")
    return f"{sum(wrong)}/{len(wrong)} ({100 * interval.low:.1f}-{100 * interval.high:.1f}%)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats and shapes, 40 repetitions of an audit")
    quick, threads = parser.parse_args().quick, torch.get_num_threads()
    torch.set_num_threads(1)
    print("Medians of several repeats, which take turns; the fleet uses one torch thread.")
    print(f"torch {torch.__version__}, {os.cpu_count()} cores.", flush=True)
    same_answer()
    step_cost(quick)
    if opacus_peer:
        beside_opacus(quick, threads)
    noise_cost(quick)
    curve(quick)
    audit_time()
    repetitions(40 if quick else 200)


if __name__ == "__main__":
    main()

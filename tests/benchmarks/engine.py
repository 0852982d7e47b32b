"""Speed and memory of the engine beside a plain PyTorch loop and Flower's simulation engine, in one run.

    python tests/benchmarks/engine.py            about five minutes; let nothing else run
    python tests/benchmarks/engine.py --quick    a minute: fewer repeats, Flower with five hospitals only

Every hospital trains an MLP 20-64-64-1 for one epoch with batches of 32 and SGD, then models are averaged.
Only ratios of one run mean anything; seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers import loop, ours, work  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402

from fedlab_utils import fleet  # noqa: E402

try:
    from peers import flower
except ImportError:
    flower = None

SHAPES = [(5, 200), (100, 100), (1000, 50)]  # hospitals, rows
ROUNDS = 10
SAME = 1e-5  # how far a parameter may be from the plain loop's after one full-batch round
CHECKED = f"models of a full-batch round to {SAME:.0e}"
TIMED = {
    "loop": 2,
    "Flower": {5: 10, 100: 10, 1000: 3},
}  # rounds that are timed where ten would take too long
NO_FLOWER = 'Flower is not installed; to compare with it: python -m pip install -e ".[bench]"'


def with_threads(n: int, function: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        torch.set_num_threads(n)
        function()
        torch.set_num_threads(1)

    return run


def same_answer(flower_model: list[torch.Tensor] | None) -> None:
    """One full-batch round from one start: all must find the same global model."""
    K, n = SHAPES[0]
    expected = loop.simulation(K, n, batch=n)(1)
    found = {
        "fleet": ours.simulation(K, n, batch=n)(1),
        "federated.train": ours.train(ours.federation(K, n), 1, batch=n),
    }
    found |= {} if flower_model is None else {"Flower": flower_model}
    lines = []
    for name, model in found.items():
        difference = max((a - b).abs().max().item() for a, b in zip(model, expected, strict=True))
        if difference > SAME:
            sys.exit(f"{name} and the plain loop disagree by {difference:.1e}: no comparison would be honest.")
        lines.append([name, f"{difference:.0e}"])
    show("One full-batch round, largest difference from the plain loop", ["", "difference"], lines)


def flowers(quick: bool) -> dict[tuple[int, int], tuple]:
    """What `flower.simulate` returns, for each shape; nothing where it is not installed."""
    if flower is None:
        return {}
    jobs = {shape: [flower.Job(1 + TIMED["Flower"][shape[0]])] for shape in SHAPES}
    jobs[SHAPES[0]].append(flower.Job(1, batch=SHAPES[0][1]))
    jobs[SHAPES[1]].append(flower.Job(5, evaluate=True))
    return {shape: flower.simulate(*shape, jobs[shape]) for shape in SHAPES[: 1 if quick else None]}


def rounds(threads: int, repeats: int, theirs: dict[tuple[int, int], tuple]) -> None:
    """Ten rounds of everybody's work."""
    part = TIMED["loop"]
    plain = partial(loop.simulation(*SHAPES[0]), part)
    choice = seconds({n: with_threads(n, plain) for n in {1, threads}}, repeats)
    best = min(choice, key=choice.get)
    lines = []
    for K, n in SHAPES:
        each = {"fleet": partial(ours.simulation(K, n), ROUNDS)}
        each["loop"] = with_threads(best, partial(loop.simulation(K, n), part))
        took = seconds(each, min(repeats, 3) if K == 1000 else repeats)
        slow, start_up = {"loop": ROUNDS / part * took["loop"]}, "-"
        if (K, n) in theirs:
            slow["Flower"] = ROUNDS * theirs[K, n][2][0]
            start_up = f"{theirs[K, n][0]:.0f} s"
        for name, s in slow.items():
            who = {"loop": "plain PyTorch loop", "Flower": "Flower's simulation"}[name]
            beside(f"ten rounds, {K:,} hospitals of {n} rows", who, took["fleet"], s, same=CHECKED)
        cells = [f"{s:.2f} s {s / took['fleet']:5.1f}x" for s in slow.values()] + ["-"] * (2 - len(slow))
        lines.append([f"{K:,} x {n}", f"{took['fleet']:.3f} s", *cells, start_up])
    head = ["hospitals x rows", "fleet", "plain loop", "Flower", "its start-up"]
    show("Ten rounds, training and averaging only (times as long as fleet)", head, lines)
    tried = ", ".join(f"{ROUNDS / part * s:.2f} s with {n}" for n, s in sorted(choice.items()))
    print(f"  The loop gets the number of threads that suits it at {SHAPES[0][0]} hospitals: {tried}.")
    timed = ", ".join(f"{TIMED['Flower'][K]} at {K:,}" for K, _ in SHAPES)
    print(f"  Ten rounds of the loop are five times two; Flower's are ten times its median round ({timed}).")
    print("  Flower has a worker for each core. Its start-up is all until the first round has ended.")
    if not theirs:
        print(f"  {NO_FLOWER}")


def evaluated(repeats: int, theirs: dict[tuple[int, int], tuple]) -> None:
    """The same with what users see after each round."""
    K, n = SHAPES[1]
    world = ours.federation(K, n)
    mine = seconds({"": lambda: ours.train(world, ROUNDS)}, min(repeats, 3))[""]
    line = [f"{K} x {n}", f"{mine:.2f} s", "-"]
    if (K, n) in theirs:
        slow = ROUNDS * theirs[K, n][2][1]
        line[2] = f"{slow:.2f} s {slow / mine:5.1f}x"
        beside(f"ten rounds, each evaluated in {K} hospitals", "Flower's simulation", mine, slow, same=CHECKED)
    head = ["hospitals x rows", "federated.train", "Flower"]
    show("Ten rounds with evaluation in every hospital after each", head, [line])


def products(K: int, n: int) -> Callable[[], None]:
    """The batched products that one epoch cannot do without, at the batch sizes that occur."""
    pairs = []
    for begin in range(0, n, work.BATCH):
        B = min(work.BATCH, n - begin)
        for layer, (width_in, width_out) in enumerate(zip(work.SIZES[:-1], work.SIZES[1:], strict=True)):
            w = torch.randn(K, width_out, width_in)
            signal, back = torch.randn(K, B, width_in), torch.randn(K, B, width_out)
            pairs += [(signal, w.transpose(1, 2)), (back.transpose(1, 2), signal)]
            pairs += [(back, w)] if layer else []

    def run() -> None:
        for a, b in pairs:
            torch.bmm(a, b)

    return run


def steps(repeats: int) -> None:
    """One epoch against the machine's own products; clipping patient by patient against not clipping."""
    lines = []
    for K, n in SHAPES:
        X, y = work.pooled(K, n)
        rows, rngs = list(np.arange(K * n).reshape(K, n)), [np.random.default_rng(k) for k in range(K)]
        start = fleet.init(K, work.SIZES, seed=0)
        common = dict(epochs=1, batch_size=work.BATCH, lr=work.LR, seed=rngs)

        def fit(max_norm=None, data=(start, X, y, rows), common=common):
            return fleet.fit(*data, max_norm=max_norm, **common)

        took = seconds({"bmm": products(K, n), "fit": fit, "clip": lambda f=fit: f(1.0)}, 5 * repeats)
        bmm, plain, clip = (1000 * took[name] for name in ("bmm", "fit", "clip"))
        line = [f"{K:,} x {n}", f"{bmm:.2f} ms", f"{plain:.2f} ms", f"{bmm / plain:.2f}"]
        lines.append([*line, f"{clip:.2f} ms", f"{clip / plain:.2f}x"])
    head = ["hospitals x rows", "torch.bmm alone", "fleet.fit", "share", "clipped", "clipped / plain"]
    show("One epoch: share of the time that the necessary products alone would take", head, lines)


def per_example(repeats: int) -> None:
    """One clipped gradient against nested `vmap` over `grad`."""
    K, B = 100, work.BATCH
    X, y = (table.view(K, B, -1) for table in work.pooled(K, B))
    params, weight = fleet.init(K, work.SIZES, seed=0), torch.full((K, B), 1 / B)
    model = loop.network()
    names = list(model.state_dict())
    stacked = dict(zip(names, params.tensors(), strict=True))

    def loss(p, x, label):
        out = torch.func.functional_call(model, p, (x[None],))
        return torch.nn.functional.binary_cross_entropy_with_logits(out, label[None])

    per_row = torch.func.vmap(torch.func.vmap(torch.func.grad(loss), (None, 0, 0)))

    def nested() -> list[torch.Tensor]:
        g = per_row(stacked, X, y)
        square = sum(t.flatten(2).square().sum(2) for t in g.values())
        scale = (1 / square.sqrt()).clamp(max=1) * weight
        return [torch.einsum("kb,kb...->k...", scale, t) for t in g.values()]

    def clipped() -> list[torch.Tensor]:
        return fleet.gradients(params, X, y, weight, loss="binary", max_norm=1.0).tensors()

    difference = max((a - b).abs().max().item() for a, b in zip(nested(), clipped(), strict=True))
    took = seconds({"fleet": clipped, "nested": nested}, repeats)
    if difference > SAME:
        sys.exit(f"Clipped gradients disagree by {difference:.1e}: no comparison would be honest.")
    what = f"one clipped gradient, {K} models, batches of {B}"
    beside(what, "vmap over grad of torch.func", *took.values(), same=f"sums to {difference:.0e}")
    line = [f"{K} x {B}", f"{1000 * took['fleet']:.2f} ms", f"{1000 * took['nested']:.1f} ms"]
    line += [f"{took['nested'] / took['fleet']:.0f}x", f"{difference:.0e}"]
    head = ["models x batch", "fleet.gradients", "vmap(vmap(grad))", "ratio", "largest difference"]
    show("One clipped gradient", head, [line])


def memory() -> None:
    """Peak memory of two rounds, a process for each number of hospitals."""
    lines = []
    for K in (100, 1000, 10000):
        command = [sys.executable, __file__, "--memory", str(K)]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        extra, took = map(float, out.split())
        lines.append([f"{K:,} x 50", f"{extra:.0f} MB", f"{1000 * extra / K:.0f} KB", f"{took:.2f} s"])
    head = ["hospitals x rows", "peak above start", "a hospital", "a round"]
    show(f"Memory (one model is {_model_bytes() / 1000:.0f} KB)", head, lines)


def _model_bytes() -> int:
    return 4 * work.start().n_parameters


def one_memory(K: int) -> None:
    """Print how far the peak of this process rises, in MB, and seconds of the second round."""
    ours.simulation(2, 50)(1)
    run, before = ours.simulation(K, 50), _peak()
    run(1)
    begin = time.perf_counter()
    run(1)
    print((_peak() - before) / 1e6, time.perf_counter() - begin)


def _peak() -> int:
    """Most bytes that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; getrusage would start from the parent's peak there
        return 1024 * int(status.read_text().split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats, Flower with five hospitals only")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if options.memory:
        return one_memory(options.memory)
    repeats = 3 if options.quick else 7
    shape = "-".join(map(str, work.SIZES))
    print(f"MLP {shape}, batch {work.BATCH}, one local epoch, SGD; medians of several repeats; one torch thread")
    print(f"unless it says otherwise. torch {torch.__version__}, {os.cpu_count()} cores.", flush=True)
    theirs = flowers(options.quick)
    same_answer(theirs[SHAPES[0]][1][1] if theirs else None)
    steps(repeats)
    per_example(repeats)
    memory()
    rounds(threads, repeats, theirs)
    evaluated(repeats, theirs)
    return None


if __name__ == "__main__":
    main()

"""Utility and time of synthetic tables beside CTGAN and TVAE of the `ctgan` library, in one run on the same rows.

    python tests/benchmarks/synthetic.py            about fifteen minutes; let nothing else run
    python tests/benchmarks/synthetic.py --quick    five minutes: CTGAN for 30 epochs of its 300, two seeds of ours
    python tests/benchmarks/synthetic.py --only judges      or register, map, hospital: what lesson 02 quotes,
                                                            one to two core minutes each (hospital: six)

Utility is what rows are worth for training: the AUC on real patients that nobody trained on, of a logistic
regression ("linear") and of boosted trees. Only ratios of one run mean anything; seconds depend on the machine.
Seconds are of training and drawing, reading the table included, on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peers.tables import beside, show  # noqa: E402
from peers.tables_of_lesson_02 import TABLES  # noqa: E402

from fedlab_utils import data, fidelity, synth  # noqa: E402

try:
    from peers import ctgan_peer
except ImportError:
    ctgan_peer = None

TARGET = "cvd_event"
EPOCHS = 300  # the library's default
FEW = 30  # CTGAN's with --quick
TRIAL = 5  # epochs to choose the number of threads
ALLOWED = 0.02  # AUC that training on synthetic rows may lose
AIMS = {"CTGAN": 20, "TVAE": 5}  # times as long as ours they may take at least
NO_PEER = (
    "The ctgan library is not installed, so these are our figures alone; to compare: "
    "python -m pip install --no-deps ctgan rdt faker"
)
MEASURES = {
    "linear": "train on synthetic, linear",
    "trees": "train on synthetic, trees",
    "two-sample": "two-sample AUC",
    "recall": "recall",
    "copied": "copied rows",
}


def timed(make: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, float, float]:
    """What it makes, seconds that passed, and seconds that this process was computing."""
    wall, busy = time.perf_counter(), time.process_time()
    made = make()
    return made, time.perf_counter() - wall, time.process_time() - busy


def ours(train: pd.DataFrame, **options) -> pd.DataFrame:
    made = synth.fit(train, label=TARGET, on_step=lambda _: None, every=10**9, **options)  # no progress bar
    return made.sample(len(train))


def quality(train: pd.DataFrame, made: pd.DataFrame, unseen: pd.DataFrame) -> pd.DataFrame:
    """Value and reference of each of `MEASURES`, rows are measures."""
    if list(made.columns) != list(train.columns) or len(made) != len(train):
        sys.exit("A synthetic table has other columns or another length: no comparison would be honest.")
    report = fidelity.report(train, made, target=TARGET, holdout=unseen).set_index("measure")
    return report.loc[list(MEASURES.values()), ["value", "reference"]].set_axis(list(MEASURES))


def with_threads(n: int, make: Callable[[], pd.DataFrame]) -> Callable[[], pd.DataFrame]:
    def run() -> pd.DataFrame:
        torch.set_num_threads(n)
        made = make()
        torch.set_num_threads(1)
        return made

    return run


def seeds(train: pd.DataFrame, unseen: pd.DataFrame, n: int) -> tuple[float, pd.DataFrame]:
    """Our defaults with several seeds: median seconds, and the utility of the worst one."""
    lines, took, found = [], [], []
    for seed in range(n):
        made, wall, busy = timed(lambda seed=seed: ours(train, seed=seed))
        measured = quality(train, made, unseen)
        took.append(wall)
        found.append(measured["value"])
        lines.append([str(seed), *(f"{v:.3f}" for v in measured["value"]), f"{wall:.1f} s", f"{busy:.1f} s"])
    lines.append(["real rows", *(f"{v:.3f}" for v in measured["reference"]), "", ""])
    show(f"Ours (wgan_gp, defaults) on {len(train):,} rows", ["seed", *MEASURES, "time", "computing"], lines)
    worst = pd.concat(found, axis=1).min(axis=1)[["linear", "trees"]]
    gap = measured["reference"][worst.index] - worst
    verdict = "within" if (gap <= ALLOWED).all() else "NOT within"
    print(f"  Worst seed: {gap['linear']:.3f} (linear) and {gap['trees']:.3f} (trees) below real rows,", end=" ")
    print(f"{verdict} the {ALLOWED:.2f} that are allowed.")
    return float(np.median(took)), worst


def baselines(train: pd.DataFrame, unseen: pd.DataFrame) -> None:
    lines = []
    for method in ("independent", "copula", "interpolate"):
        made, wall, _ = timed(lambda method=method: ours(train, method=method))
        lines.append([method, *(f"{v:.3f}" for v in quality(train, made, unseen)["value"]), f"{wall:.1f} s"])
    show("Baselines", ["", *MEASURES, "time"], lines)


def peers(train: pd.DataFrame, unseen: pd.DataFrame, mine: float, worst: pd.Series, threads: int, quick: bool) -> None:
    """CTGAN and TVAE: the number of threads is chosen in a short trial, the slower one's time follows from it."""
    lines, notes = [], []
    for kind, aim in AIMS.items():
        epochs = FEW if quick and kind == "CTGAN" else EPOCHS

        def run(n_epochs, kind=kind) -> pd.DataFrame:
            return ctgan_peer.rows(kind, train, len(train), epochs=n_epochs)

        trial = {n: timed(with_threads(n, lambda run=run: run(TRIAL)))[1] for n in sorted({1, threads})}
        setting_up = min(timed(with_threads(n, lambda run=run: run(1)))[1] for n in trial)
        best = min(trial, key=trial.get)
        made, wall, _ = timed(with_threads(best, lambda run=run, epochs=epochs: run(epochs)))
        full = setting_up + (wall - setting_up) * EPOCHS / epochs
        measured = quality(train, made, unseen)["value"]
        ratio = full / mine
        lines.append([kind, f"{epochs}", *(f"{v:.3f}" for v in measured), f"{full:.0f} s", f"{ratio:.1f}x", f"{aim}x"])
        what = f"a generator of {len(train):,} patients, and as many rows"
        use = _use(worst, measured)
        fair = use if epochs == EPOCHS else f"time of {epochs} epochs carried on to {EPOCHS}, use not compared"
        beside(what, f"{kind} of ctgan, its defaults", mine, full, same=f"another network; {fair}")
        tried = ", ".join(f"{s:.1f} s with {n}" for n, s in trial.items())
        notes.append(f"{kind}: {TRIAL} epochs take {tried}, so it gets {best}. O{use[1:]}; ours takes")
        notes[-1] += f" 1/{ratio:.0f} of its time."
        if epochs < EPOCHS:
            notes[-1] += f" Its time is that of {epochs} epochs carried on to {EPOCHS}, and its rows are of {epochs}."
    show(f"The ctgan library's defaults, {EPOCHS} epochs", ["", "epochs", *MEASURES, "time", "over ours", "aim"], lines)
    for note in notes:
        print(f"  {note}")


def _use(worst: pd.Series, measured: pd.Series) -> str:
    """Our worst seed beside theirs, by what a model learns from the rows."""
    return f"our worst seed is {'at least as' if (worst >= measured[worst.index]).all() else 'LESS'} useful"


def wide(n: int = 6000, columns: int = 20) -> pd.DataFrame:
    """Mixed columns that hang together: whole numbers, decimals with gaps, skewed numbers, categories."""
    rng = np.random.default_rng(0)
    health = rng.standard_normal((n, 2)) @ rng.standard_normal((2, columns)) + rng.standard_normal((n, columns))
    frame = pd.DataFrame({f"number {k}": health[:, k] for k in range(columns - 1)})
    for k in range(columns - 1):
        column = frame[f"number {k}"]
        kind = k % 5
        if kind == 0:
            frame[f"number {k}"] = (50 + 10 * column).round().astype(int)
        elif kind == 1:
            frame[f"number {k}"] = (25 + 4 * column).round(1).where(rng.random(n) > 0.1)
        elif kind == 2:
            frame[f"number {k}"] = np.exp(column)
        else:
            words = ["low", "middle", "high"] if kind == 3 else ["no", "yes"]
            frame[f"number {k}"] = pd.qcut(column, len(words), labels=words).astype(str)
    return frame.assign(**{TARGET: (health[:, -1] > 1.5).astype(int)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"CTGAN for {FEW} epochs, two seeds of ours")
    parser.add_argument("--only", choices=TABLES, help="one of the tables that lesson 02 quotes, and nothing else")
    options = parser.parse_args()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    if options.only:
        return TABLES[options.only]()
    hospital = data.load("hospital_network").pooled()
    train, unseen = hospital.train, hospital.test
    print(f"hospital_network, {len(train):,} rows x {train.shape[1]} columns to train, {len(unseen):,} unseen; one")
    print(f"torch thread unless it says otherwise. torch {torch.__version__}, {os.cpu_count()} cores.", flush=True)
    ours(train, steps=10)  # warms up
    mine, worst = seeds(train, unseen, 2 if options.quick else 8)
    baselines(train, unseen)
    table = wide()
    _, wall, busy = timed(lambda: ours(table))
    line = [f"{len(table):,} x {table.shape[1]}", f"{wall:.1f} s", f"{busy:.1f} s"]
    show("A wider table, mixed columns", ["rows x columns", "time", "computing"], [line])
    if ctgan_peer is None:
        print(f"\n{NO_PEER}")
    else:
        peers(train, unseen, mine, worst, threads, options.quick)


if __name__ == "__main__":
    main()

"""Strategies on hospitals that differ: everybody tuned on some splits and judged on others, in one run.

    python tests/benchmarks/strategies.py            ten minutes; let nothing else run
    python tests/benchmarks/strategies.py --quick    a minute: tuned on two splits, judged on three

The patients of *hospital_network* are dealt out to five hospitals with label skew 0.1, another deal for each split
into training and test rows, and trained for 20 rounds of 20 steps. Every method is tuned twice, by the mean AUC over
all test patients and by their mean log loss, and compared split by split with averaging, tuned in the same way.
Differences come with Student's t of their mean and the number of splits in which the method is better.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peers.tables import show  # noqa: E402
from scipy.special import logit  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

from fedlab_utils import data, federated  # noqa: E402

WORK = dict(rounds=20, local_steps=20, batch_size=64, hidden=(32,))
RATES = 0.2, 0.5, 1.0, 2.0
GRIDS = {
    "averaging": [dict(lr=lr) for lr in RATES],
    "FedProx": [dict(lr=lr, proximal=mu) for lr in RATES[1:] for mu in (0.01, 0.1, 0.5)],
    "FedAvgM": [dict(lr=lr, server_lr=s, strategy="fedavgm") for lr in RATES[:3] for s in (0.25, 0.5, 1.0)],
    "FedAdam": [dict(lr=lr, server_lr=s, strategy="fedadam") for lr in RATES[:3] for s in (0.03, 0.1, 0.3)],
    "FedYogi": [dict(lr=lr, server_lr=s, strategy="fedyogi") for lr in RATES[:3] for s in (0.03, 0.1, 0.3)],
    "SCAFFOLD": [dict(lr=lr, strategy="scaffold") for lr in (0.05, 0.1, 0.2, 0.5)],
}
CARELESS = dict(lr=0.2)
MEASURES = "AUC", "within", "loss", "2 numbers", "own intercept"
HIGHER = {"AUC", "within"}  # is better
SAFE = 1e-7


def dealt(first: int, n: int) -> list[data.Federation]:
    """Splits `first` to `first + n - 1`, each with a deal of its own."""
    every = data.replicates("hospital_network", first + n)[first:]
    return [one.repartition(5, alpha=0.1, seed=first + k) for k, one in enumerate(every)]


def final(run: federated.FederatedRun, metric: str) -> float:
    return float(np.mean(run.metrics[-1][metric][:, -1]))


def tuned(splits: list[data.Federation]) -> dict[str, dict[str, dict]]:
    """The best setting of each method, by AUC and by loss."""
    settings = {(m, k): s for m, grid in GRIDS.items() for k, s in enumerate(grid)}
    runs = federated.side_by_side(splits, settings, **WORK)
    best: dict[str, dict[str, dict]] = {"AUC": {}, "loss": {}}
    for method, grid in GRIDS.items():
        auc, loss = ([final(runs[method, k], m) for k in range(len(grid))] for m in ("auc", "loss"))
        best["AUC"][method] = grid[int(np.nanargmax(auc))]
        best["loss"][method] = grid[int(np.nanargmin(loss))]
    return best


def log_loss(risk: np.ndarray, ill: np.ndarray) -> float:
    return float(-np.log(np.where(ill == 1, risk, 1 - risk).clip(SAFE)).mean())


def judged(run: federated.FederatedRun, splits: list[data.Federation]) -> pd.DataFrame:
    """All measures, a row for each split; "within" is missing where no hospital has both outcomes."""
    clinic = federated.clinical(run, splits).query("hospital == 'all'")
    own, losses = federated.recalibrated(run, splits), []
    for s, one in enumerate(splits):
        pool = one.pooled()
        train, test = (
            run[s].predict_proba(X)[:, 1].double().numpy().clip(SAFE, 1 - SAFE) for X in (pool.X_train, pool.X_test)
        )
        two = LogisticRegression(C=1e6, solver="newton-cholesky")
        two.fit(logit(train)[:, None], pool.y_train[:, 0].numpy())
        mine = np.concatenate([own.predict_proba(h.X_test, h.name)[s, :, 1] for h in one.hospitals])
        risks = test, two.predict_proba(logit(test)[:, None])[:, 1], mine
        losses.append([log_loss(risk, pool.y_test[:, 0].numpy()) for risk in risks])
    table = pd.DataFrame(losses, columns=list(MEASURES[2:]))
    return table.assign(AUC=run.auc, within=clinic["auc_within"].to_numpy())[list(MEASURES)]


def difference(mine: pd.Series, base: pd.Series, higher: bool) -> str:
    change = (mine - base).dropna()
    spread = change.std()
    t = change.mean() / (spread / len(change) ** 0.5) if spread else 0.0
    better = int((change > 0).sum() if higher else (change < 0).sum())
    return f"{change.mean():+.4f}±{spread:.4f} t {t:+.1f} ({better}/{len(change)})"


def contest(by: str, settings: dict[str, dict], splits: list[data.Federation]) -> None:
    """Everybody as tuned by one measure, judged."""
    runs = federated.side_by_side(splits, settings | {"careless": CARELESS}, **WORK)
    tables = {name: judged(run, splits) for name, run in runs.items()}
    base, means, against = tables["averaging"], [], []
    for name, table in tables.items():
        chosen = {k: v for k, v in (settings | {"careless": CARELESS})[name].items() if k != "strategy"}
        said = ", ".join(f"{k} {v:g}" for k, v in chosen.items())
        means.append([name, said, *(f"{table[m].mean():.3f}±{table[m].std():.3f}" for m in MEASURES)])
        if name != "averaging":
            against.append([name, *(difference(table[m], base[m], m in HIGHER) for m in MEASURES)])
    show(f"Tuned by {by}: mean ± standard deviation over {len(splits)} splits", ["", "chosen", *MEASURES], means)
    show("Minus averaging, split by split", ["", *MEASURES], against)


def silence(settings: dict[str, dict], splits: list[data.Federation]) -> None:
    """The same 200 steps with more and less talk."""
    lines = []
    for rounds, steps in ((2, 100), (4, 50), (20, 10), (40, 5)):
        rhythm = WORK | dict(rounds=rounds, local_steps=steps)
        runs = federated.side_by_side(splits, settings, **rhythm)
        cells = [f"{run.auc.mean():.3f}±{run.auc.std(ddof=1):.3f}" for run in runs.values()]
        lines.append([f"{rounds} rounds of {steps}", *cells])
    show("AUC of 200 steps in all", ["", *settings], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tuned on two splits, judged on three")
    options = parser.parse_args()
    torch.set_num_threads(1)
    tuning, judging = (2, 3) if options.quick else (8, 16)
    print(f"torch {torch.__version__}, {os.cpu_count()} cores; tuned on {tuning} splits, judged on {judging} others.")
    best, splits = tuned(dealt(0, tuning)), dealt(tuning, judging)
    for by, settings in best.items():
        contest(by, settings, splits)
    silence({m: best["AUC"][m] for m in ("averaging", "SCAFFOLD")} | {"careless": CARELESS}, splits)


if __name__ == "__main__":
    main()

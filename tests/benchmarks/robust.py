"""Rules in the place of the mean beside the mean, under attacks, in one run on the same splits; and beside ByzFL.

    python tests/benchmarks/robust.py            about ten minutes of one core
    python tests/benchmarks/robust.py --quick    two minutes: three splits of ten, the attacks of lesson 11's first page

Tables are of hospital_network: mean and standard deviation over splits, on test rows. "missed" is the share of those
who fell ill whose predicted risk is below 20%. No table alone says which rule is best: that goes by the attack, and by
how unlike the honest hospitals are.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402

from fedlab_utils import attacks, data, federated  # noqa: E402

try:
    from peers import byzfl_peer
except ImportError:
    byzfl_peer = None

THRESHOLD = 0.2
NETWORK = dict(hidden=(32,), batch_size=64, lr=0.2)
FIVE = NETWORK | dict(rounds=20, local_steps=20)
TWENTY = NETWORK | dict(rounds=15, local_steps=10, strategy="uniform")
ROOT_ROWS = 100
ALLOWED = 1e-5  # between a rule and ByzFL's, of numbers about 1
NO_PEER = "ByzFL is not installed, so these are our figures alone; to compare: python -m pip install --no-deps byzfl"


def rules(f: int, root: data.Hospital) -> dict[str, federated.Aggregator | None]:
    """All of them, where up to f may lie. The root of trust is an oracle: rows of all hospitals."""
    some = np.random.default_rng(5).choice(len(root.y_train), ROOT_ROWS, replace=False)
    return {
        "mean": None,
        "median": federated.Median(),
        "trimmed": federated.TrimmedMean(f),
        "Krum": federated.Krum(f),
        "Multi-Krum": federated.MultiKrum(f),
        "norm clipping": federated.NormClipping(),
        "centered": federated.CenteredClipping(),
        "geometric": federated.GeometricMedian(),
        "root of trust": federated.RootOfTrust(root.X_train[some], root.y_train[some]),
    }


def scores(runs: list[federated.FederatedRun], splits: list[data.Federation]) -> list[str]:
    """AUC, missed and predicted over observed, over splits and, if there are several, over runs of each."""
    found = [federated.clinical(run, splits, threshold=THRESHOLD).query("hospital == 'all'") for run in runs]
    cells = []
    for name in ("auc", "missed", "predicted_observed"):
        each = np.stack([one[name] for one in found])
        cells.append(f"{each.mean():.3f} ± {each.std(ddof=1):.3f}")
    return cells


def five(splits: list[data.Federation]) -> None:
    """Five hospitals as they are; each of them in turn hides its ill patients."""
    lines, pool = [], splits[0].pooled()
    liars = {"nobody": {}} | {f"{h}": dict(attack=attacks.HideTheIll([h])) for h in range(5)}
    for name, rule in rules(1, pool).items():
        begin = time.process_time()
        clean, *attacked = federated.side_by_side(splits, liars, aggregator=rule, **FIVE).values()
        took = f"{time.process_time() - begin:.0f} s"
        lines.append([name, *scores([clean], splits), *scores(attacked, splits), took])
        if rule is None:
            mended = [federated.recalibrated(run, splits) for run in attacked]
            lines.append(["mean, and an intercept at home", "", "", "", *scores(mended, splits), ""])
    head = ["", "AUC", "missed", "pred/obs", "AUC, one lies", "missed", "pred/obs", "CPU"]
    show(f"Five hospitals, one of them hides the ill, {len(splits)} splits", head, lines)


ATTACKS = {
    "hide": lambda n: attacks.HideTheIll(range(n)),
    "flip labels": lambda n: attacks.LabelFlip(range(n)),
    "sign x3": lambda n: attacks.SignFlip(range(n), scale=3),
}


def twenty(splits: list[data.Federation], alpha: float | None, kinds: list[str], liars: list[int]) -> None:
    """Twenty hospitals, so many of whom lie, under every rule."""
    dealt = [f.repartition(20, alpha, seed=s) for s, f in enumerate(splits)]
    for kind in kinds:
        for n in liars:
            lines = []
            for name, rule in rules(max(n, 1), splits[0].pooled()).items():
                begin = time.process_time()
                given = {"clean": {}, "attacked": dict(attack=ATTACKS[kind](n))}
                clean, attacked = federated.side_by_side(dealt, given, aggregator=rule, **TWENTY).values()
                took = f"{time.process_time() - begin:.0f} s"
                lines.append([name, *scores([clean], dealt)[:2], *scores([attacked], dealt), took])
            who = "alike" if alpha is None else f"with label skew {alpha:g}"
            head = ["", "AUC, clean", "missed", "AUC", "missed", "pred/obs", "CPU"]
            show(f"{kind}: {n} of 20 hospitals {who}, {len(splits)} splits", head, lines)


def backdoor(splits: list[data.Federation]) -> None:
    """One hospital of twenty, and a trigger that honest models take for a high risk; what success gains by it."""
    dealt, lines = [f.repartition(20, None, seed=s) for s, f in enumerate(splits)], []
    trigger = dict(columns=["systolic_bp", "bmi"], values=[230, 14], label=0)
    settings = {f"x{boost:g}": dict(attack=attacks.Backdoor([0], **trigger, boost=boost)) for boost in (1.0, 10.0)}
    for name, rule in rules(1, splits[0].pooled()).items():
        clean, *runs = federated.side_by_side(dealt, {"": {}} | settings, aggregator=rule, **TWENTY).values()
        door = settings["x1"]["attack"]
        success = [door.success(run, dealt, threshold=THRESHOLD) for run in (clean, *runs)]
        gained = [f"{(s - success[0]).mean():+.2f} ± {(s - success[0]).std(ddof=1):.2f}" for s in success[1:]]
        lines.append([name, f"{success[0].mean():.2f}", *gained, *(f"{run.auc.mean():.3f}" for run in runs)])
    head = ["", "clean", "gained x1", "gained x10", "AUC x1", "AUC x10"]
    show(f"A backdoor of 1 in 20, {len(splits)} splits", head, lines)


def against_byzfl() -> None:
    """The same rule on the same updates, and how long a call of each takes."""
    if byzfl_peer is None:
        print(f"\n{NO_PEER}")
        return
    u, lines = np.random.default_rng(0).normal(size=(20, 700)), []
    u[:6] *= 5
    for name in byzfl_peer.RULES:
        ours = getattr(federated, name)(**({"f": 6} if name in ("TrimmedMean", "MultiKrum") else {}))

        def mine(ours=ours):
            return ours.aggregate(u, np.ones(20), alive=np.ones(20, dtype=bool))[0]

        def theirs(name=name):
            return byzfl_peer.aggregate(name, u, 6)

        differs = np.abs(mine() - theirs()).max()
        if differs > ALLOWED:
            sys.exit(f"{name} and ByzFL's disagree by {differs:.1e}: no comparison would be honest.")
        took = seconds({"mine": mine, "theirs": theirs}, 20)
        beside(f"{name}, 20 updates of 700 numbers", "ByzFL", *took.values(), same=f"means to {ALLOWED:.0e}")
        lines.append([name, f"{differs:.0e}", *(f"{1e3 * took[k]:.2f} ms" for k in ("mine", "theirs"))])
    show("Beside ByzFL, 20 updates of 700 numbers", ["", "difference", "ours", "ByzFL"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three splits, two attacks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits = data.replicates("hospital_network", 3 if options.quick else 10)
    against_byzfl()
    five(splits)
    twenty(splits, None, ["hide", "sign x3"] if options.quick else list(ATTACKS), [6] if options.quick else [2, 6])
    twenty(splits, 0.3, ["hide"] if options.quick else list(ATTACKS), [6] if options.quick else [2, 6])
    backdoor(splits)


if __name__ == "__main__":
    main()

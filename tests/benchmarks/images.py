"""Anomalies in simulated scans: number of components, kinds and scores, scanners, an autoencoder, private sums.

    python tests/benchmarks/images.py            about ten minutes of one core: ten seeds, each another anatomy
    python tests/benchmarks/images.py --quick    two minutes: two seeds

AUC is the mean over the five hospitals' own test scans, so that telling hospitals apart wins nothing; "sens" is the
sensitivity at 5% false alarms. No seed here is one of the lesson's, and nothing was tuned on any of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

from fedlab_utils import anomalies, privacy, secagg  # noqa: E402
from fedlab_utils.anomalies import scores  # noqa: E402
from fedlab_utils.anomalies.how_many import GRID  # noqa: E402
from fedlab_utils.data import images  # noqa: E402

NODULE = {"nodule": (1.0,)}
BLOB = anomalies.SCORES["blob / own noise"]
OTHER_WORLD = dict(modes=25, smoothness=2.6, noise=1.15)


def say(name: str, values, digits: int = 3) -> None:
    values = np.asarray(values, float)
    print(f"  {name:42} {values.mean():.{digits}f} ({values.std(ddof=1):.{digits}f})", flush=True)


def auc_of(network, model, score=BLOB) -> float:
    return anomalies.judged(network, lambda s: score(model, s.pixels))["auc"].mean()


def agreement() -> None:
    print("\nFederated components beside scikit-learn's on all scans, largest difference")
    parts = images.simulate(100, kinds={}).train
    theirs = PCA(40, svd_solver="full").fit(np.vstack(parts))
    for name, rule in {"in the open": None, "SecureSum": secagg.SecureSum(limit=64, bits=64)}.items():
        ours = anomalies.fit(parts, aggregator=rule).directions[:40]
        print(f"  {name:12} {np.abs(ours.T @ ours - theirs.components_.T @ theirs.components_).max():.1e}")


def how_many(seeds) -> None:
    print("\nA1. Number of components without labels: components, AUC of nodules of 1.0 (blob / own noise)")
    found: dict[str, list] = {}
    curve = []
    for seed in seeds:
        network = images.simulate(seed, kinds=NODULE)
        whole, pairs = anomalies.folded(network.train)
        counts = {
            "held-out error": anomalies.held_out_error(pairs).idxmin(),
            "hidden pixels": anomalies.hidden_pixels(pairs).idxmin(),
            "Gavish-Donoho": anomalies.gavish_donoho(whole),
            "90% of variance": anomalies.share_of_variance(whole),
            "parallel analysis": anomalies.parallel_analysis(network.train),
        }
        curve.append([auc_of(network, whole.at(count)) for count in GRID])
        for rule, count in counts.items():
            found.setdefault(rule, []).append((count, auc_of(network, whole.at(int(count)))))
    for rule, pairs in found.items():
        counts, values = np.array(pairs).T
        print(f"  {rule:18} {np.median(counts):.0f} ({counts.min():.0f}-{counts.max():.0f})", end="")
        say("", values)
    print("  AUC over components:", dict(zip(GRID, np.mean(curve, 0).round(3).tolist(), strict=True)))


def kinds(seeds, **world) -> None:
    print(f"\nA2, A4. Kinds and scores {world or ''}")
    tables: dict[str, list[pd.DataFrame]] = {}
    alarms: dict[str, list] = {}
    for seed in seeds:
        network = images.simulate(seed, **world)
        fed = anomalies.detector(network.train)
        high = anomalies.fixed(anomalies.cosines(200))
        federated = {name: (lambda s, f=f, m=fed.model: f(m, s.pixels)) for name, f in scores.SCORES.items()}
        models = {f"{name}, federated": score for name, score in federated.items()}
        models |= {f"{name} of the scan": f for name, f in scores.TRIVIAL.items()}
        models["no training: high-pass, local energy"] = lambda s, m=high: scores.local_energy(m, s.pixels)
        calibrated = {"calibrated, federated": fed}
        calibrated["calibrated, true subspace"] = anomalies.detector(
            network.train, model=anomalies.fixed(network.anatomy.subspace())
        )
        calibrated["no training: high-pass, calibrated"] = anomalies.detector(network.train, model=high)
        models |= {name: (lambda s, d=d: d.score(s.pixels)) for name, d in calibrated.items()}
        own = [anomalies.detector([p], count=40) for p in network.train]
        models["calibrated, each hospital alone (40)"] = [(lambda s, d=d: d.score(s.pixels)) for d in own]
        rule = [anomalies.detector([p]) for p in network.train]
        models["calibrated, alone (Gavish-Donoho)"] = [(lambda s, d=d: d.score(s.pixels)) for d in rule]
        for name, model in models.items():
            tables.setdefault(name, []).append(anomalies.judged(network, model))
        for name, score in federated.items():
            alarms.setdefault(name, []).append(anomalies.false_alarms(network, score))
        name = "calibrated, its own threshold"
        alarms.setdefault(name, []).append(
            anomalies.false_alarms(network, models["calibrated, federated"], fed.threshold)
        )
    for name, found in tables.items():
        say(name, [t["auc"].mean() for t in found])
        middle = pd.concat(found)
        middle = middle[
            [size == images.KINDS[kind][1] for kind, size in zip(middle["kind"], middle["size"], strict=True)]
        ]
        by = middle.groupby("kind", sort=False)[["auc", "sensitivity"]].mean()
        print("     ", "  ".join(f"{k} {a:.2f}/{s:.2f}" for k, a, s in by.itertuples()))
    for name in ("calibrated, federated", "calibrated, each hospital alone (40)"):
        print(f"  {name}:", pd.concat(tables[name]).groupby("hospital", sort=False)["auc"].mean().round(3).to_dict())
    print("A5. False alarms by hospital (aim 5%)")
    for name, found in alarms.items():
        print(f"  {name:32}", pd.concat(found, axis=1).mean(axis=1).round(3).tolist())


def scanners(seeds) -> None:
    print("\nA5. Does a residual tell the hospital? Accuracy, chance .20")
    found: dict[str, list] = {}
    for seed in seeds:
        network = images.simulate(seed, kinds={})
        model = anomalies.fit(network.train)
        seen = [model.residual(h.normal.pixels) for h in network.hospitals]
        y = np.repeat(np.arange(5), [len(s) for s in seen])
        residual = np.vstack(seen)
        power = np.log((np.abs(np.fft.fft2(residual.reshape(-1, 28, 28))) ** 2 + 1e-9).reshape(len(residual), -1))
        features = {"noise of the residual": np.log(residual.std(1, keepdims=True)), "residual pixels": residual}
        features["shape of its power spectrum"] = power - power.mean(1, keepdims=True)
        features["components"] = np.vstack([model.weights(h.normal.pixels) for h in network.hospitals])
        half = np.arange(len(y)) % 2 == 0
        for name, x in features.items():
            learner = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.1)).fit(x[half], y[half])
            found.setdefault(name, []).append(learner.score(x[~half], y[~half]))
    for name, values in found.items():
        say(name, values, 2)


class Squeezed:
    """An autoencoder of how much of each of the first 100 components is in a scan, which is 100 inputs and not 784."""

    def __init__(self, parts, hidden: int, rounds: int) -> None:
        self.first = anomalies.fit(parts, count=100)
        weights = [self.first.weights(p) for p in parts]
        self.net = anomalies.train_autoencoder(weights, hidden=(hidden,), rounds=rounds)
        self.error = float((self.residual(np.vstack(parts)) ** 2).mean())

    def residual(self, scans):
        weights = self.first.weights(scans)
        return scans - self.first.mean - (weights - self.net.residual(weights)) @ self.first.directions[:100]


def autoencoders(seeds) -> None:
    print("\nA3. Autoencoder by federated rounds: AUC of nodules of 1.0, squared error of new and of training pixels")
    for many, rounds, squeezed, hidden, some in (
        (1, 40, False, 64, seeds[:3]),
        (10, 20, False, 64, seeds[:1]),
        (10, 20, False, 160, seeds[:1]),
        (1, 100, True, 160, seeds[:3]),
        (10, 20, True, 160, seeds[:2]),
        (40, 20, True, 160, seeds[:2]),
    ):
        for seed in some:
            network = images.simulate(seed, kinds=NODULE, rows=[n * many for n in images.ROWS])
            start = time.process_time()
            if squeezed:
                found, width = Squeezed(network.train, hidden, rounds), 100
            else:
                found, width = anomalies.train_autoencoder(network.train, hidden=(hidden,), rounds=rounds), 784
            cpu = time.process_time() - start
            new = np.mean([(found.residual(h.normal.pixels) ** 2).mean() for h in network.hospitals])
            said = f"AUC {auc_of(network, found):.3f}, error {new:.3f} / {found.error:.3f}, {cpu:.0f} CPU s"
            said += f"; components {auc_of(network, anomalies.fit(network.train)):.3f}"
            said += f", 100 of them {auc_of(network, anomalies.fit(network.train, count=100)):.3f}" * squeezed
            print(f"  {260 * many:6} scans, {width}-{hidden}-{width}: {said}", flush=True)


def private(seeds) -> None:
    print("\nA6. Private sums: AUC of nodules of 1.0 at epsilon 1, 3, 8 and without noise (40 components given)")
    for scans, many, times in ((260, 1, 1), (2_600, 10, 1), (10_400, 10, 4), (26_000, 10, 10), (78_000, 10, 30)):
        lines = []
        for seed in seeds:
            network = images.simulate(seed, kinds=NODULE, rows=[n * many for n in images.ROWS])
            promises = [privacy.RecordDP(epsilon=epsilon, secure=False) for epsilon in (1, 3, 8)]
            made = [anomalies.private_components(network.train, p, count=40, times=times) for p in promises]
            lines.append(
                [auc_of(network, m.components) for m in made]
                + [auc_of(network, anomalies.fit(network.train, count=40))]
            )
        print(f"  {scans:7,} scans  ", "  ".join(f"{v:.3f}" for v in np.mean(lines, 0)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two seeds instead of ten")
    seeds = list(range(100, 102 if parser.parse_args().quick else 110))
    agreement()
    how_many(seeds)
    kinds(seeds)
    kinds(seeds[: max(2, len(seeds) // 2)], **OTHER_WORLD)
    scanners(seeds[: max(2, len(seeds) // 2)])
    autoencoders(seeds)
    private(seeds[:3])


if __name__ == "__main__":
    main()

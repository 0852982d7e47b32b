"""How many patients are read out of an update, by arithmetic and by search, and what noise, sums and steps change.

    python tests/benchmarks/inversion.py            two minutes
    python tests/benchmarks/inversion.py --quick    a quarter of it: fewer batches and tables

hospital_network, one hidden layer, the gradient of the mean over a batch unless said otherwise. A number counts as
right within .319 standard deviations (.01 in the first table), a category if it is the same.
± is the standard deviation over batches. Where the package `breaching` is installed, its cosine loss of the same two
gradients is compared first.
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
from peers.tables import show  # noqa: E402

from fedlab_utils import attacks, data, fleet  # noqa: E402
from fedlab_utils.attacks import inversion  # noqa: E402
from fedlab_utils.privacy import accounting  # noqa: E402

ATTACKERS = ("naive", "weights", "shrinks")


class Setting:
    """A data set, batches of it, and networks."""

    def __init__(self, name: str = "hospital_network") -> None:
        self.name, federation = name, data.load(name)
        self.pool, self.fields = federation.pooled(), attacks.fields(federation)
        self.others = self.pool.X_test
        self.n_features = federation.n_features

    def batches(self, K: int, n: int, width: int, *, seed: int = 0, trained: int = 0):
        """K networks, rows ``[K, n, d]`` and labels, and their gradients."""
        pool, rng = self.pool, np.random.default_rng(seed)
        rows = torch.from_numpy(np.stack([rng.choice(len(pool.X_train), n, replace=False) for _ in range(K)]))
        X, y = pool.X_train[rows], pool.y_train[rows]
        params = fleet.init(K, (self.n_features, width, 1), seed=seed)
        if trained:
            everybody = [np.arange(len(pool.X_train))] * K
            about = dict(steps=trained, batch_size=64, lr=0.2, seed=seed)
            params = fleet.fit(params, pool.X_train, pool.y_train, everybody, **about)
        return params, X, y, fleet.gradients(params, X, y, torch.full((K, n), 1 / n), loss="binary")

    def reading(self, X, guess, **options) -> attacks.Reading:
        """`attacks.reading` with the test rows as strangers."""
        return attacks.reading(X, guess, self.fields, strangers=self.others, **options)


def same_loss(here: Setting) -> None:
    """Is the loss that is searched with the one of Geiping et al.?"""
    try:
        from peers.breaching_peer import CosineSimilarity
    except ImportError:
        print("breaching is not installed; its loss was not compared.")
        return
    params, X, y, seen = here.batches(1, 4, 32)
    made = inversion._made(params, X.flip(2), y, "binary", 1, 0.0)
    ours = float(inversion._distance(made, seen.flat()))
    theirs = float(CosineSimilarity().gradient_based_loss(params.like(made).tensors(), seen.tensors()))
    if abs(ours - theirs) > 1e-5:
        sys.exit(f"Cosine loss {ours:.6f} here and {theirs:.6f} in breaching: no comparison would be honest.")
    print(f"Cosine loss {ours:.6f} here and {theirs:.6f} in breaching.")


def arithmetic(places: list[Setting], K: int) -> None:
    """Neurons, differences of two, and differences that explain their own factor."""
    lines = []
    cases = [(32, 4, 0), (32, 8, 0), (32, 16, 0), (32, 32, 0), (32, 8, 400)]
    cases += [(128, 8, 0), (128, 16, 0), (128, 32, 0), (512, 16, 0)]
    for here in places:
        for width, n, trained in cases if here is places[0] else cases[1:6:4]:
            params, X, _, update = here.batches(K, n, width, trained=trained)
            line = [here.name, f"{width}{', trained' if trained else ''}", str(n)]
            for options in ({"pairs": "none"}, {}, {"n_rows": n}):
                begin = time.process_time()
                guesses = attacks.read_batch(params, update, here.fields, **options)
                took = (time.process_time() - begin) / K
                got = here.reading(X, guesses, draws=1, near=0.01)  # arithmetic is exact or wrong
                spread = got.each["whole"].std()
                line.append(f"{got.whole:.2f}±{spread:.2f} {got.each['hits'].sum()}/{got.each['guesses'].sum()}")
            lines.append([*line, f"{took * 1e3:.0f} ms"])
    head = ["table", "neurons", "batch", "one neuron", "two neurons", "and explains its factor", "a batch"]
    show(f"Share of a batch read whole, right / all guesses of {K} batches", head, lines)


def noise(here: Setting, n: int) -> None:
    """One patient's clipped gradient under Gaussian noise."""
    lines = []
    for sigma in (0.01, 0.03, 0.1, 0.3, 1.0):
        line = [f"{sigma:g}", f"{accounting.epsilon(sigma, steps=1):.1f}"]
        for width in (32, 128):
            params, X, y, _ = here.batches(n, 1, width)
            update = fleet.gradients(params, X, y, torch.ones(n, 1), loss="binary", max_norm=1.0)
            rng = torch.Generator().manual_seed(1)
            update = update.map(lambda t, s=sigma, g=rng: t + s * torch.randn(t.shape, generator=g))
            for attacker in ATTACKERS:
                rows = attacks.read_one(params, update, attacker=attacker, noise=sigma, population=here.others)
                line.append(f"{here.reading(X, rows[:, None], draws=1).right:.3f}")
        lines.append([*line, f"{attacks.reconstruction_bound(0.01, sigma):.2f}"])
    head = ["sigma", "epsilon", *(f"{w}: {a}" for w in (32, 128) for a in ATTACKERS), "bound, prior .01"]
    show(f"Share of fields right of one patient ({n} patients, clip norm 1)", head, lines)
    mean = here.others.mean(0).expand(len(X), 1, -1)
    got = here.reading(X, mean)
    print(f"  The mean of the population has {got.right:.3f} right, a random patient {got.random:.3f}.")


def search(here: Setting, K: int, quick: bool) -> None:
    """Batches by search, labels known and not."""
    lines = []
    for width, n in [(32, 1), (32, 2), (32, 4), (32, 8)] + ([] if quick else [(32, 16), (32, 32), (128, 8)]):
        params, X, y, update = here.batches(K, n, width)
        for labels in (y[..., 0], None):
            begin = time.process_time()
            found = attacks.invert(params, update, n, federation=here.fields, labels=labels)
            took = time.process_time() - begin
            got = here.reading(X, found)
            spread = got.each["right"].std()
            whole = f"{got.right:.3f}±{spread:.3f}", f"{got.whole:.2f}", f"{got.random:.3f}"
            lines.append([str(width), str(n), "no" if labels is None else "yes", *whole, f"{took:.1f} s"])
    head = ["neurons", "batch", "labels known", "right", "whole", "random rows", f"{K} batches x 8 starts"]
    show("Search: cosine, 800 steps of Adam", head, lines)


def local_steps(here: Setting, K: int, quick: bool) -> None:
    """The change of several steps on all rows, taken for a gradient or simulated."""
    lines = []
    for steps, n in ((5, 2), (20, 2)) if quick else ((5, 1), (5, 2), (5, 4), (5, 8), (20, 2)):
        params, X, y, _ = here.batches(K, n, 32)
        rows = np.arange(K * n).reshape(K, n)
        flat = X.flatten(0, 1), y.flatten(0, 1)
        after = fleet.fit(params, *flat, rows, steps=steps, batch_size=n, lr=0.2)
        update = params.map(lambda a, b: (a - b) / 0.2, after)
        for how in ({}, dict(local_steps=steps, lr=0.2)):
            begin = time.process_time()
            found = attacks.invert(params, update, n, federation=here.fields, labels=y[..., 0], **how)
            took = time.process_time() - begin
            got = here.reading(X, found)
            line = [str(steps), str(n), "simulated" if how else "as a gradient", f"{got.right:.3f}", f"{got.whole:.2f}"]
            lines.append([*line, f"{got.random:.3f}", f"{took:.1f} s"])
    show(f"Local steps, {K} batches", ["steps", "patients", "update", "right", "whole", "random rows", "CPU"], lines)


def sums(here: Setting, K: int) -> None:
    """Secure sums of m hospitals, from an honest server and from one that chose the weights."""
    lines = []
    for m, n in ((5, 1), (20, 1), (5, 8), (5, 64)):
        line = [f"{m} x {n}"]
        for width in (32, 128, 512):
            params, X, _, update = here.batches(K, m * n, width)
            got = here.reading(X, attacks.read_batch(params, update, here.fields, n_rows=m * n), draws=1)
            line.append(f"{got.whole:.2f}")
        for bins in (512, 1024):
            _, X, y, _ = here.batches(K, m * n, 8)
            chosen = attacks.binning_weights(here.others, bins)[[0] * K]
            update = fleet.gradients(chosen, X, y, torch.full((K, m * n), 1 / (m * n)), loss="binary")
            guesses = attacks.read_batch(chosen, update, here.fields, pairs="neighbours", n_rows=m * n)
            line.append(f"{here.reading(X, guesses, draws=1).whole:.2f}")
        lines.append(line)
    head = ["hospitals x patients", *(f"{w} neurons" for w in (32, 128, 512)), "512 bins", "1024 bins"]
    show("Share read whole out of a secure sum (differences; bins by a dishonest server)", head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer batches and tables")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    here = Setting()
    same_loss(here)
    arithmetic([here, *([] if quick else map(Setting, ("breast_cancer", "diabetes")))], 10 if quick else 20)
    noise(here, 100 if quick else 200)
    sums(here, 3 if quick else 10)
    search(here, 4 if quick else 10, quick)
    local_steps(here, 3 if quick else 6, quick)


if __name__ == "__main__":
    main()

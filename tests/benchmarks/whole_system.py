"""What lesson 08 shows in small, in full: kinds of tables, private GANs, members, losses and augmentation.

    python tests/benchmarks/whole_system.py                  five minutes of one core
    python tests/benchmarks/whole_system.py --quick          half a minute: two of everything, short GANs
    python tests/benchmarks/whole_system.py --only tribunal  or kinds, critics, loss, augmentation

What is run are the lesson's own functions, read off its source. Mean ± standard deviation, unless something else is
said. Epsilon is for one record, present or blank, with delta 1e-5; noise comes from seeds, for repetition.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools"), str(Path(__file__).parent)]

import cells  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peers.tables import show  # noqa: E402
from scipy.stats import norm  # noqa: E402

from fedlab_utils import attacks, data, federated, fidelity, privacy, secagg, synth  # noqa: E402

LESSON = ROOT / "notebooks" / "src" / "08_the_whole_system.py"
KINDS = {1: "one column decides", 2: "two together", 3: "three together"}
METHODS = "tables", "copula", "pairs"
WORK = dict(rounds=20, local_steps=10, batch_size=64, lr=0.2, hidden=(32,))


def promise(epsilon: float | None) -> privacy.RecordDP | None:
    return None if epsilon is None else privacy.RecordDP(epsilon=epsilon, secure=False)


def invented(federation: data.Federation, method: str, epsilon: float, seed: int) -> pd.DataFrame:
    """As many rows as the noisy total says, with the noise in shares."""
    about = dict(privacy=promise(epsilon), aggregator=secagg.PrivateSum(), seed=seed)
    made = synth.fit_federated(federation, method=method, **about)
    return made.sample(made.about["rows"], seed=seed)


def spread(values) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def kinds(of_lesson: dict, quick: bool) -> None:
    """What trees lose on invented rows, replicate by replicate."""
    runs, lines = 2 if quick else 10, []
    for together, kind in KINDS.items():
        lost = {method: [] for method in METHODS}
        for replicate in range(100, 100 + runs):  # none of the lesson's
            hospitals = of_lesson["simulated"](together, replicate, n=6000)

            def auc(rows, hospitals=hospitals) -> float:
                return fidelity.utility(rows, hospitals.pooled().test, target="event", family="trees")

            real = auc(hospitals.pooled().train)
            for method in METHODS:
                lost[method].append(real - auc(invented(hospitals, method, 1.0, replicate)))
        lines.append([kind, *map(spread, lost.values())])
    show(f"AUC of trees lost against real rows, epsilon 1, {runs} replicates", ["", *METHODS], lines)


def critics(of_lesson: dict, quick: bool) -> None:
    """Three private GANs over their steps, at epsilon 3 and with little noise, beside sums and real rows."""
    fed, worth, lines = of_lesson["federation"], of_lesson["worth"], []
    lines.append(["real rows", "", f"{worth(fed.pooled().train):.3f}"])
    for epsilon in (1.0, 3.0):
        sums = [worth(invented(fed, "tables", epsilon, seed)) for seed in range(2 if quick else 5)]
        lines.append([f"one sum, epsilon {epsilon:g}", "", spread(sums)])
    for epsilon, warm in ((3, False), (100, False), (3, True)):
        for steps in (20,) if quick else (40, 400) if warm else (40, 400, 2000):
            about = dict(privacy=promise(float(epsilon)), aggregator=secagg.PrivateSum(), n_models=3, seed=0)
            about |= dict(steps=steps, warm_up=warm) | (dict(warm_steps=500) if warm else {})
            gan = synth.fit_federated(fed, method="dp_gan", every=10**9, on_step=lambda _: None, **about)
            found = [worth(gan.sample(4000, model=k)) for k in range(3)]
            lines.append([f"GAN{', warm start' * warm}, epsilon {epsilon}", f"{steps}", spread(found)])
    show("AUC of a linear model on real test patients", ["learnt from", "critic steps", "AUC"], lines)


def tribunal(of_lesson: dict, quick: bool) -> None:
    """Members of a register of 24 patients a hospital, by the densities of tables that others were made of."""
    n, lines = 4 if quick else 32, []
    register, member, drawn = of_lesson["halves"](24, n)
    for method in METHODS:
        for epsilon in (1.0, None):
            made = list(of_lesson["tables_of"](method, promise(epsilon), drawn))
            found = attacks.rmia(attacks.densities(register, member, made))
            bound = norm.cdf(norm.ppf(0.01) + 1 / privacy.noise_for(epsilon)) if epsilon else np.nan
            name = f"{method}, epsilon {epsilon:g}" if epsilon else f"{method}, no noise"
            share, auc = found.tpr_at(0.01), found.auc
            at_one = f"{share.value:.1%} ({share.low:.1%} to {share.high:.1%})"
            at_one = "too few to say" if share.unresolved else at_one
            auc = f"{auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"
            lines.append([name, at_one, auc, f"{bound:.1%}" if epsilon else "none"])
    head = ["", "found at 1% (95%)", "AUC (95%)", "at 1% its noise allows at most"]
    show(f"Members of a register of {len(register)}, RMIA on densities, {n} tables each", head, lines)


def loss(of_lesson: dict, quick: bool) -> None:
    """AUC lost by copulas at several epsilons."""
    fed, worth, lines = of_lesson["federation"], of_lesson["worth"], []
    base = {family: worth(fed.pooled().train, family) for family in ("linear", "trees")}
    draws = 2 if quick else 10
    for epsilon in (0.3, 1.0, 3.0, 8.0):
        rows = [invented(fed, "copula", epsilon, seed) for seed in range(draws)]
        lost = [[auc - worth(one, family) for one in rows] for family, auc in base.items()]
        lines.append([f"{epsilon:g}", *map(spread, lost)])
    show(f"AUC lost against real rows, copula, {draws} draws of the noise", ["epsilon", *base], lines)


def augmentation(of_lesson: dict, quick: bool) -> None:
    """Federated training with as many invented rows beside the real ones, split by split."""
    splits, lines = data.replicates("hospital_network", 2 if quick else 10), []
    for share in (1.0, 0.05):
        plain, augmented = [], []
        for k, split in enumerate(splits):
            frames = [h.train.sample(frac=share, random_state=k).reset_index(drop=True) for h in split.hospitals]
            plain.append(split.replace_train(frames))
            made = synth.fit_federated(
                plain[-1], method="copula", privacy=promise(1.0), aggregator=secagg.PrivateSum(), seed=k
            )
            both = [pd.concat([f, made.sample(len(f), seed=j)], ignore_index=True) for j, f in enumerate(frames)]
            augmented.append(split.replace_train(both))
        without, beside = (np.asarray(federated.train(some, **WORK).auc) for some in (plain, augmented))
        gain = beside - without
        lines.append([f"{share:.0%}", spread(without), f"{gain.mean():+.4f} ± {gain.std(ddof=1):.4f}"])
    head = ["of the patients", "AUC without", "gain with invented rows"]
    show(f"Augmentation, copula at epsilon 1, {len(splits)} splits", head, lines)


PARTS = {part.__name__: part for part in (kinds, critics, tribunal, loss, augmentation)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="two of everything, short GANs")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part")
    options = parser.parse_args()
    torch.set_num_threads(1)
    of_lesson = cells.definitions(LESSON, "federation", "worth", "simulated", "halves", "tables_of")
    for name, part in PARTS.items():
        if options.only in (None, name):
            busy = time.process_time()
            part(of_lesson, options.quick)
            print(f"  {time.process_time() - busy:.0f} s of the processor", flush=True)


if __name__ == "__main__":
    main()

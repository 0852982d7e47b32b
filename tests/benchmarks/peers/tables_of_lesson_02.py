"""The tables that lesson 02 quotes: its comparisons, with more generators than a lesson has time for.

Each setting is the lesson's own (a test compares them). What comes after ± is the standard deviation over generators,
or over worlds, which are tables of three hospitals.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from fedlab_utils import data, federated, fidelity, synth
from peers.tables import show

try:
    from peers import ctgan_peer
except ImportError:
    ctgan_peer = None

SEEDS = 24  # of each judge
REGISTERS = 8  # other patients in each, with two generators of each kind
WORLDS = 8
FOREIGN = 2  # trainings of CTGAN
ASKED = 400  # members, and as many others, of each hospital in the map

SLOW = dict(method="gan", transform="linear", hidden=(32, 32), steps=250, lr=0.005)
JUDGES = {
    "slow judge": SLOW | {"critic_lr": 0.0005},
    "quick judge": SLOW | {"critic_lr": 0.005},
    "slow, five looks": SLOW | {"critic_lr": 0.0005, "critic_steps": 5, "steps": 200},
    "slow, ten at once": SLOW | {"critic_lr": 0.0005, "pack": 10, "batch_size": 25},
    "slow, and a score": SLOW | {"method": "wgan_gp", "critic_lr": 0.0005, "penalty": 0.1},
    "quick, and a score": SLOW | {"method": "wgan_gp", "critic_lr": 0.005, "penalty": 0.1},
}
QUICK = dict(steps=800, hidden=(64, 64), lr=0.001, penalty=1)
REGISTER = {
    "plain GAN": dict(method="gan", hidden=(64, 64), steps=500, lr=0.005, critic_lr=0.01),
    "mended GAN": dict(hidden=(64, 64), steps=250, lr=0.003, critic_lr=0.006, penalty=1),
}
WORK = dict(rounds=20, local_steps=20, batch_size=64, lr=0.2, hidden=(32,))
QUIET = dict(on_step=lambda _: None, every=10**9)  # no progress bar


def spread(values) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


def glucose() -> np.ndarray:
    """The lesson's one column: healthy, treated and untreated patients."""
    rng = np.random.default_rng(0)
    group = rng.choice(3, 2000, p=[0.60, 0.25, 0.15])
    middle, width = np.array([5.2, 7.8, 11.0])[group], np.array([0.3, 0.4, 0.5])[group]
    return (middle + width * rng.standard_normal(2000)).round(1)


def shares(values) -> np.ndarray:
    return np.histogram(values, [-np.inf, 6.5, 9.4, np.inf])[0] / len(values)


def judges() -> None:
    column, lines = pd.DataFrame({"glucose": glucose()}), []
    real = shares(column["glucose"])
    for name, setting in JUDGES.items():
        fitted = synth.fit(column, n_models=SEEDS, **setting, **QUIET)
        found = np.array([shares(fitted.sample(1000, model=k)["glucose"]) for k in range(SEEDS)])
        lost = f"{(found < 0.02).any(1).sum()} of {SEEDS}"
        lines.append([name, lost, spread(np.abs(found - real).max(1))])
    show("Judges of one column", ["judge", "lost a group", "error of the shares"], lines)


def distances(federation, rows: pd.DataFrame, people: pd.DataFrame, p: float = 2) -> torch.Tensor:
    """From each of the people to the closest of the rows."""
    return torch.cdist(federation.transform(people), federation.transform(rows), p=p).amin(1)


def membership(federation, members: pd.DataFrame, others: pd.DataFrame, table: pd.DataFrame) -> float:
    near = -distances(federation, table, pd.concat([members, others])).numpy()
    return float(roc_auc_score(np.arange(len(near)) < len(members), near))


def register() -> None:
    federation = data.load("hospital_network")
    # Without gaps: the attacker's distances put the mean where a value is missing, which would be near to many.
    everybody, unseen = (some.dropna() for some in (federation.hospitals[0].train, federation.hospitals[0].test))
    seen: dict[str, list] = {name: [] for name in REGISTER}
    for seed in range(1, REGISTERS + 1):
        people, strangers = (some.sample(40, random_state=seed) for some in (everybody, unseen))
        people = people.reset_index(drop=True)
        for name, setting in REGISTER.items():
            fitted = synth.fit(people, schema=federation.schema, n_models=2, **setting, **QUIET)
            for k in range(2):
                made = fitted.sample(2000, model=k)
                copies = [
                    float((distances(federation, some, made, float("inf")) < 0.25).float().mean())
                    for some in (people, strangers)
                ]
                seen[name].append((*copies, membership(federation, people, unseen, made)))
    lines = [
        [
            name,
            *(
                f"{np.mean(v):{f}} ({min(v):{f}} to {max(v):{f}})"
                for v, f in zip(zip(*found, strict=True), (".1%", ".1%", ".2f"), strict=True)
            ),
        ]
        for name, found in seen.items()
    ]
    title = f"{REGISTERS} registers of 40 patients, two generators each; mean (lowest to highest)"
    show(title, ["", "copies of the register", "of 40 strangers", "AUC of the membership test"], lines)


def worlds(federation) -> dict[str, list[dict[str, pd.DataFrame]]]:
    """A table for each hospital, `WORLDS` times for each way to make one."""
    patients = {h.name: h.train for h in federation.hospitals}
    same = dict(schema=federation.schema, label=federation.target, n_models=WORLDS, **QUIET)
    tables = patients.items()
    made = {}
    for name, setting in {"GAN": QUICK, "GAN, 100 steps": QUICK | {"steps": 100}}.items():
        fitted = {h: synth.fit(rows, seed=j, **setting, **same) for j, (h, rows) in enumerate(tables)}
        made[name] = [{h: fitted[h].sample(len(rows), model=k) for h, rows in tables} for k in range(WORLDS)]
    same = dict(schema=federation.schema, label=federation.target)
    for name, method in {"copula": "copula", "column by column": "independent", "interpolation": "interpolate"}.items():
        fitted = {h: synth.fit(rows, method=method, **same) for h, rows in tables}
        made[name] = [{h: fitted[h].sample(len(rows), seed=k) for h, rows in tables} for k in range(WORLDS)]
    return made | {"photocopier": [patients] * WORLDS}


def auc_by_hospital(federation, some: list[dict[str, pd.DataFrame]]) -> pd.DataFrame:
    final = federated.train([federation.replace_train(world) for world in some], **WORK).final
    return final.pivot_table(index="seed", columns="hospital", values="auc").drop(columns="all")


def use_and_leak() -> None:
    federation = data.load("hospital_network")
    federation = replace(federation, hospitals=federation.hospitals[::2])
    made = worlds(federation)
    trained = {name: auc_by_hospital(federation, some) for name, some in made.items()}
    together = trained["photocopier"].mean()  # photocopies are the real patients
    alone = federated.baselines(federation, seeds=WORLDS, **WORK).query("baseline == 'local-only'")
    alone = alone.groupby("hospital")["auc"].mean()[together.index]
    lines = [["real, each alone", spread([alone.mean()]), spread([(together - alone).mean()]), "", ""]]
    for name, some in made.items():
        auc = trained[name]
        leak = [
            np.mean(
                [membership(federation, h.train[:ASKED], h.test[:ASKED], world[h.name]) for h in federation.hospitals]
            )
            for world in some
        ]
        better = (auc > alone).sum(axis=1)
        price = (together - auc).mean(axis=1)
        lines.append([name, spread(auc.mean(axis=1)), spread(price), spread(leak), f"{better.min()} to {better.max()}"])
    title = f"{WORLDS} worlds of each kind, three hospitals: use and leak"
    show(title, ["", "AUC", "price", "leak", "beats alone, of 3"], lines)


def hospital() -> None:
    federation = data.load("hospital_network")
    one, target = federation.hospitals[0], federation.target
    n, same = len(one.train), dict(schema=federation.schema, label=target, **QUIET)
    gan = synth.fit(one.train, n_models=WORLDS, **QUICK, **same)
    copula = synth.fit(one.train, method="copula", **same)
    tables = {
        "GAN": [gan.sample(n, model=k) for k in range(WORLDS)],
        "copula": [copula.sample(n, seed=k) for k in range(WORLDS)],
    }
    if ctgan_peer is not None:
        tables["CTGAN, 300 epochs"] = [
            ctgan_peer.rows("CTGAN", one.train, n, epochs=300, seed=k) for k in range(FOREIGN)
        ]
    measures = ["KS, mean", "dependence, mean", "two-sample AUC"]
    measures += ["train on synthetic, linear", "train on synthetic, trees", "recall"]
    lines, about = [], dict(target=target, holdout=one.test)
    for name, some in tables.items():
        reports = [fidelity.report(one.train, table, **about).set_index("measure").loc[measures] for table in some]
        lines.append([f"{name} ({len(some)})", *(spread(v) for v in np.stack([r["value"] for r in reports]).T)])
    lines.append(["real rows", *(f"{v:.3f}" for v in reports[0]["reference"])])
    show(f"{one.name}, {n:,} rows", ["", *(m.replace("train on synthetic, ", "") for m in measures)], lines)


TABLES = {"judges": judges, "register": register, "map": use_and_leak, "hospital": hospital}

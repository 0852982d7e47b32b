"""Membership attacks on what a system shows.

To attack a system many of its kind have to be made, each from other patients: so a small federation with some of the
training rows is attacked in its place. Fewer rows are remembered better, which errs on the side of the patient. Beside
each attack stands its positive control, something that it must break; an attack that finds nothing proves nothing.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd

from fedlab_utils import attacks, synth
from fedlab_utils.attacks.result import AttackResult
from fedlab_utils.data import Federation
from fedlab_utils.fidelity.rows import keys
from fedlab_utils.synth.synthesizer import Synthesizer
from fedlab_utils.system.outcome import Outcome
from fedlab_utils.system.settings import Settings

ROWS = {"quick": 60, "full": 120}  # of each hospital
_FEWEST = 8  # of a hospital, or it is left out: halves of fewer rows make no model and no table
_SHADOWS = {"quick": 32, "full": 96}  # small federations that are trained
_TABLES = {"quick": 4, "full": 20}  # small federations that invent a table
_RATES = (0.01, 0.05, 0.1)  # of false alarms; the lowest that the sample resolves
_PASSES = 300  # of the positive control over its rows, at least
_VIEWS = {  # what a viewer sees, and as which of the attackers that makes it as good
    "single updates": "server", "model of every round": "hospital", "noisy sum of every round": "hospital",
    "finished model": "outsider",
}  # fmt: skip
COLUMNS = [
    "what", "viewer", "sees", "attack", "auc", "auc_low", "auc_high", "fpr", "tpr", "tpr_low", "tpr_high", "bound",
    "control", "control_auc", "control_tpr", "patients", "made", "unresolved",
]  # fmt: skip

_MOST_CONTROLS = 8  # kept for the next system; each is a few thousand scores
_CONTROLS: dict[bytes, dict[str, AttackResult]] = {}

Make = Callable[[Settings, Federation, int], list[Synthesizer]]


def attacked(outcome: Outcome, make: Make, arguments: dict) -> pd.DataFrame:
    """Attack what the settings ask for: the training on real rows, and the invented table.

    Parameters
    ----------
    outcome
        With hospitals, and a training by which viewers see what they see.
    make
        Makes synthesizers of a federation, one for each hospital, from settings and a seed.
    arguments
        Of `federated.train`.

    Returns
    -------
    DataFrame
        `COLUMNS`; without rows where there is nothing that can be attacked this way, as in a regression, or where fewer
        than two hospitals have eight training rows.
    """
    fed, settings, rows = outcome.federations[0], outcome.settings, []
    small = None if fed.task == "regression" else _small(fed, ROWS[settings.scale], settings.data.seed)
    if small is not None:
        whole = arguments["participation"] == 1 and arguments["dropout"] == 0
        if settings.training.on == "real" and whole:
            rows += _training(outcome, small, arguments)
        if settings.synthetic.where != "none":
            rows += _tables(settings, small, make)
    return pd.DataFrame(rows, columns=COLUMNS)


def _small(fed: Federation, most: int, seed: int) -> Federation | None:
    """The same hospitals with at most so many training rows each, without those that have next to none."""
    rng = np.random.default_rng(seed)
    enough = tuple(h for h in fed.hospitals if len(h.train) >= _FEWEST)
    if len(enough) < 2:
        return None
    few = {h.name: h.train.iloc[np.sort(rng.permutation(len(h.train))[:most])] for h in enough}
    return replace(fed, hospitals=enough).replace_train(few)


def _training(outcome: Outcome, small: Federation, arguments: dict) -> list[dict]:
    """What each viewer of the training finds out, beside a model that knows its rows by heart."""
    settings = outcome.settings
    shadows = _SHADOWS[settings.scale]
    train = {k: v for k, v in arguments.items() if k not in ("aggregator", "participation", "dropout")}
    found = attacks.federated_shadows(small, n_models=shadows, **train)
    passes = max(train["local_epochs"], math.ceil(_PASSES / train["rounds"]))
    by_heart = train | dict(privacy=None, local_epochs=passes, hidden=(128,), lr=0.2)
    control = attacks.lira(attacks.federated_shadows(small, n_models=shadows, **by_heart)["server"])
    promise = settings.promise
    epsilon = promise.epsilon if promise.unit == "record" else None
    rows = []
    views = outcome.views()
    for view in views[views["viewer"].isin(["server", "hospital", "model user"])].itertuples():
        if (eyes := _VIEWS.get(view.sees)) is None:
            continue
        about = dict(what="training", viewer=view.viewer, sees=view.sees, made=shadows)
        about |= dict(control=f"{passes * train['rounds']} passes without a promise, single updates")
        rows.append(_row(attacks.lira(found[eyes]), control, epsilon, promise.delta) | about)
    return rows


def _tables(settings: Settings, small: Federation, make: Make) -> list[dict]:
    """What whoever gets the invented table finds out, beside a table of interpolated patients."""
    tables = _TABLES[settings.scale]
    patients = pd.concat([h.train for h in small.hospitals], ignore_index=True)
    owner = np.repeat(np.arange(len(small.hospitals)), [len(h.train) for h in small.hospitals])
    rng = np.random.default_rng(settings.data.seed + 1)
    member = np.hstack([_halves(rng, tables, len(h.train)) for h in small.hospitals])
    made = []
    untested = _without_tests(small)  # nothing is trained on these halves, so nothing is tested
    for k, coins in enumerate(member):
        half = untested.replace_train({h.name: patients[coins & (owner == j)] for j, h in enumerate(small.hospitals)})
        makers = make(settings, half, settings.data.seed + 1000 + k)
        parts = [m.sample(max(2, len(h.train)), seed=k) for m, h in zip(makers, half.hospitals, strict=True)]
        made.append(pd.concat(parts, ignore_index=True).reindex(columns=patients.columns))
    reference = _others(small, patients)
    reference = reference.sample(min(len(reference), 2 * len(patients)), random_state=settings.data.seed)
    controls, rows = _controls(patients, member, reference), []
    for attack, found in _attacked(patients, member, made, reference).items():
        about = dict(what="synthetic table", viewer="whoever gets the table", sees="invented rows", made=tables)
        about |= dict(control="interpolated patients, without a promise", attack=attack)
        rows.append(_row(found, controls[attack], settings.synthetic.epsilon, settings.promise.delta) | about)
    return rows


def _attacked(
    patients: pd.DataFrame, member: np.ndarray, made: list[pd.DataFrame], reference: pd.DataFrame
) -> dict[str, AttackResult]:
    """What each attack finds in tables; that by density needs enough others to say how common a patient is."""
    found = {}
    if len(reference) >= _FEWEST:
        found["DOMIAS"] = attacks.domias(patients, member, made, reference=reference)
    return found | {"nearest record": attacks.nearest_record(patients, member, made)}


def _controls(patients: pd.DataFrame, member: np.ndarray, reference: pd.DataFrame) -> dict[str, AttackResult]:
    """The same for interpolated patients; remembered, as systems that stand side by side are attacked with one coin."""
    key = hashlib.sha256(repr((list(patients), member.shape, member.tobytes())).encode())
    for frame in (patients, reference):
        key.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    if key.digest() not in _CONTROLS:
        moved = [
            synth.fit(patients[coins].reset_index(drop=True), method="interpolate", seed=k).sample(
                int(coins.sum()), seed=k
            )
            for k, coins in enumerate(member)
        ]
        if len(_CONTROLS) >= _MOST_CONTROLS:
            _CONTROLS.pop(next(iter(_CONTROLS)), None)
        _CONTROLS[key.digest()] = _attacked(patients, member, moved, reference)
    return _CONTROLS[key.digest()]


def _without_tests(small: Federation) -> Federation:
    """The same hospitals without test rows, which need not be scaled anew then."""
    bare = (replace(h, test=h.test.iloc[:0], true_risk=None, test_patients=None) for h in small.hospitals)
    return replace(small, hospitals=tuple(bare))


def _others(small: Federation, patients: pd.DataFrame) -> pd.DataFrame:
    """Test rows that are no twins of patients who are asked about: an attacker would know these by elimination."""
    rows = pd.concat([h.test for h in small.hospitals], ignore_index=True)[list(patients)]
    texts = {*small.schema.categorical, small.target}
    return rows[~keys(rows, categories=texts).isin(keys(patients, categories=texts))]


def _halves(rng: np.random.Generator, tables: int, rows: int) -> np.ndarray:
    """For each table which rows of a hospital it is made of, ``[tables, rows]``: always half of them."""
    return rng.permuted(np.tile(np.arange(rows) < rows // 2, (tables, 1)), axis=1)


def _row(found: AttackResult, control: AttackResult, epsilon: float | None, delta: float) -> dict:
    """One attack at the lowest rate of false alarms that the sample resolves, beside what a promise allows there."""
    fpr = next((rate for rate in _RATES if rate >= found.least_fpr * (1 - 1e-9)), _RATES[-1])
    tpr, auc = found.tpr_at(fpr), found.auc
    beside = control.tpr_at(fpr)
    return dict(
        attack=found.attack, auc=auc.value, auc_low=auc.low, auc_high=auc.high, fpr=fpr,
        tpr=tpr.value, tpr_low=tpr.low, tpr_high=tpr.high, bound=_bound(epsilon, delta, fpr),
        control_auc=control.auc.value, control_tpr=beside.value, patients=found.scores.shape[1],
        unresolved=tpr.unresolved,
    )  # fmt: skip


def _bound(epsilon: float | None, delta: float, fpr: float) -> float:
    """Share of members that (epsilon, delta) lets anybody find at most (Kairouz et al., arXiv:1311.0776)."""
    if epsilon is None:
        return math.nan
    return min(1.0, math.exp(epsilon) * fpr + delta, 1 - math.exp(-epsilon) * (1 - delta - fpr))

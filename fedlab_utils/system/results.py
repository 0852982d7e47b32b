"""The sections of the report that show results: utility, missed patients, calibration, attacks. All come from patients.

No count below ten stands here, nor a share that would tell one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedlab_utils.federated.clinic import wilson
from fedlab_utils.system import drawings, small_counts
from fedlab_utils.system.account import Account, Kind, counted
from fedlab_utils.system.drawings import Dot
from fedlab_utils.system.markup import Markup, Tables, joined, section, tag
from fedlab_utils.system.sentences import measured

if TYPE_CHECKING:
    from fedlab_utils.system.outcome import Outcome

_ALL = "all"
_MOST_HOSPITALS = 40  # of a table
_BROKEN = 0.6  # AUC from which on a positive control counts as broken
_MODELS = {
    "federated": "trained together, as this page describes",
    "majority": "everybody gets the shares of their hospital's training rows",
    "local-only": "each hospital by itself",
    "pooled": "all rows in one place, which is what was to be avoided",
    "best possible": "the true risk, known since these patients are simulated",
}


def sections(outcome: Outcome, account: Account, tables: Tables) -> list[Markup]:
    """Utility, the clinic, and attacks."""
    return [_utility(outcome, tables), _clinic(outcome, tables), _attacks(outcome, account, tables)]


def in_short(outcome: Outcome) -> list[str]:
    """One sentence on utility and one on attacks, as far as there are results."""
    table = outcome.table()
    found = []
    if len(table) and table["mean"].notna().any():
        named = [f"{t.model} {measured(t.mean)[0]}" for t in table.itertuples()]
        better = "lower" if outcome.measure == "loss" else "higher"
        found.append(f"{_measure(outcome)} on test patients, where {better} is better: {', '.join(named)}.")
    else:
        found.append("No model has been scored yet.")
    if outcome.attacks is None or outcome.attacks.empty:
        found.append("Membership was not attacked, so that this page does not say what an attacker finds.")
    else:
        best = outcome.attacks.sort_values("auc").iloc[-1]
        tells = best["auc_low"] > 0.5
        verdict = "It tells who was learnt from." if tells else "An attack that finds little proves little."
        found.append(
            f"Of {counted(len(outcome.attacks), 'attack')} on membership the best reached an AUC of "
            f"{_with_interval(best, 'auc', '.2f')} (0.5 is guessing). {verdict}"
        )
    return found


# ---- utility


def _measure(outcome: Outcome) -> str:
    return {"auc": "AUC", "loss": "Mean squared error, in units of the target's variance,"}[outcome.measure]


def _utility(outcome: Outcome, tables: Tables) -> Markup:
    title, table = "How well it predicts", outcome.table()
    if table.empty:
        return section(title, tag("p", "No model was trained, so that there is nothing to score."))
    what = (
        "AUC is the chance that of two patients, one with the outcome and one without, the model gives the first the "
        "higher risk; 0.5 is guessing and 1 is perfect."
        if outcome.measure == "auc"
        else "The mean squared error is in units of the variance of the target; guessing the mean gives about 1."
    )
    splits = int(table["splits"].max())
    said = (
        f"{what} Scores are over the test rows of all hospitals together. The spread is the standard deviation over "
        f"{counted(splits, 'split')}; with so few it is rough, and differences smaller than it mean little."
    )
    rows = [(t.model, _MODELS.get(t.model, ""), *measured(t.mean, t.sd)) for t in table.itertuples()]
    parts = [tag("p", said)]
    shown = [Dot(t.model, t.mean, t.sd) for t in table.itertuples() if math.isfinite(t.mean)]
    short = "AUC" if outcome.measure == "auc" else "mean squared error"
    if shown:
        name = f"{short} of the federated model and its baselines"
        told = "; ".join(f"{d.name} {d.value:.3f}" + _plus(d.spread) for d in shown)
        drawing = drawings.dots("utility", name, f"{told}.", shown, f"{short} (bar: one standard deviation)")
        parts.append(tag("figure", tag("figcaption", name), drawing))
    parts.append(tables("Scores beside their baselines", ["model", "what it is", short, "spread"], rows, numbers=2))
    if outcome.baselines is None:
        parts.append(tag("p", "The baselines were not run: a score without them says little."))
    if outcome.trained is not None and outcome.trained.diverged:
        lost = counted(len(outcome.trained.diverged), "training")
        parts.append(tag("p", f"{lost} ran away: the scores are those of a model that did not learn."))
    return section(title, *parts)


def _plus(spread: float) -> str:
    return "" if math.isnan(spread) else f" plus or minus {spread:.3f}"


# ---- the clinic


def _clinic(outcome: Outcome, tables: Tables) -> Markup:
    title = "Missed patients, calibration, and each hospital"
    if outcome.trained is None:
        return section(title, tag("p", "No model was trained."))
    if outcome.clinical is None:
        why = "the stage was not run" if outcome.trained.task == "binary" else f"the task is a {outcome.trained.task}"
        told = f"Missed patients and calibration are for two outcomes, ill or not; {why}."
        return section(title, tag("p", told), _by_hospital(outcome, tables))
    limit = outcome.settings.checks.threshold
    told = (
        f"A clinic that acts from a predicted risk of {limit:.0%} on misses the ill below it. Level is what would have "
        "to be added to all log-odds so that the mean risk is the observed share (0 is right, below 0 risks are too "
        "high); slope is 1 where risks are neither too extreme nor too flat."
    )
    small = f"Numbers of patients below {small_counts.FEWEST}, and shares that would tell one, are not shown."
    parts = [tag("p", told), tag("p", small), _by_hospital(outcome, tables), _missed(outcome, tables)]
    return section(title, *parts, _calibration(outcome, tables))


def _by_hospital(outcome: Outcome, tables: Tables) -> Markup:
    table = outcome.by_hospital()
    sizes = small_counts.counts([int(n) for n in table["patients"]])
    rows = []
    for t, size in zip(table.itertuples(), sizes, strict=True):
        score = measured(t.mean, t.sd) if t.patients >= small_counts.FEWEST else ("not shown", "")
        rows.append((t.hospital, size, *score))
    short = "AUC" if outcome.measure == "auc" else "mean squared error"
    head = ["hospital", "test patients", short, "spread"]
    return joined(tables("The federated model by hospital", head, _cut(rows), numbers=3))


def _missed(outcome: Outcome, tables: Tables) -> Markup:
    """Shares over all splits; a share stands here only if no split's count is small."""
    found = outcome.clinical
    names = list(dict.fromkeys(found["hospital"]))
    by_name = {name: found[found["hospital"] == name] for name in names}
    first = {name: own.iloc[0] for name, own in by_name.items()}
    hospitals = [name for name in names if name != _ALL]
    ill = [int(first[name]["ill"]) for name in hospitals]
    healthy = [int(first[name]["patients"]) - n for name, n in zip(hospitals, ill, strict=True)]
    shown = dict(zip(hospitals, small_counts.counts(ill, healthy), strict=True))
    shown[_ALL] = small_counts.count(int(first[_ALL]["ill"]))
    order = [_ALL, *hospitals]
    rows = []
    for name in order:
        own = by_name[name]
        missed = _share(own["missed"] * own["ill"], own["ill"])
        flagged = _share(own["flagged"] * own["patients"], own["patients"])
        enough = own["patients"].min() >= small_counts.FEWEST
        fit = [_mean(own[column]) if enough else "not shown" for column in ("intercept", "slope")]
        rows.append(("all hospitals" if name == _ALL else name, shown[name], missed, flagged, *fit))
    head = ["hospital", "ill", "missed", "flagged", "level", "slope"]
    return tables("Missed patients and calibration by hospital, mean over splits", head, _cut(rows), numbers=5)


def _share(parts: pd.Series, wholes: pd.Series) -> str:
    """The mean share and its spread over the splits."""
    pairs = [(round(p), int(w)) for p, w in zip(parts, wholes, strict=True) if not math.isnan(p)]
    if not pairs:
        return "undefined"
    words = [small_counts.share(p, w) for p, w in pairs]
    if hidden := [word for word in words if not word[0].isdigit()]:
        return hidden[0]
    shares = np.array([p / w for p, w in pairs])
    return f"{shares.mean():.0%}" + (f" (spread {shares.std(ddof=1):.0%})" if len(shares) > 1 else "")


def _mean(values: pd.Series) -> str:
    return "undefined" if values.isna().all() else f"{values.mean():.2f}"


def _calibration(outcome: Outcome, tables: Tables) -> Markup:
    found = outcome.calibration
    if found is None or found.empty:
        return tag("p", "Predicted and observed risks were not compared.")
    own = found[(found["hospital"] == _ALL) & (found["seed"] == found["seed"].min())].sort_values("group")
    groups = small_counts.merged([(int(g.n), round(g.observed * g.n), g.predicted) for g in own.itertuples()])
    if not groups:
        few = f"There are not {small_counts.FEWEST} ill and {small_counts.FEWEST} healthy test patients to compare."
        return tag("p", few)
    n, ill, predicted = (np.array(column, float) for column in zip(*groups, strict=True))
    low, high = wilson(ill, n)
    observed = ill / n
    name = "Predicted against observed risk, first split"
    told = "; ".join(f"predicted {p:.0%}, observed {o:.0%}" for p, o in zip(predicted, observed, strict=True))
    drawing = drawings.risks("risks", name, f"{told}.", list(zip(predicted, observed, low, high, strict=True)))
    rows = [
        (f"{k + 1}", f"{n[k]:,.0f}", f"{predicted[k]:.0%}", f"{observed[k]:.0%}", f"{low[k]:.0%} to {high[k]:.0%}")
        for k in range(len(n))
    ]
    head = ["group", "patients", "predicted", "observed", "95% interval"]
    note = (
        "Bars are 95% intervals of the observed share (Wilson); on the dashed line risks are right. Groups are put "
        f"together until each has {small_counts.FEWEST} ill and as many healthy patients."
    )
    table = tables("Predicted and observed risk of all test patients, first split", head, rows, numbers=4)
    return joined(tag("figure", tag("figcaption", name), drawing), tag("p", note, class_="note"), table)


def _cut(rows: list[tuple]) -> list[tuple]:
    if len(rows) <= _MOST_HOSPITALS:
        return rows
    return [*rows[:_MOST_HOSPITALS], (f"and {len(rows) - _MOST_HOSPITALS} more", *[""] * (len(rows[0]) - 1))]


# ---- attacks


def _attacks(outcome: Outcome, account: Account, tables: Tables) -> Markup:
    title, found = "What was attacked", outcome.attacks
    if found is None or found.empty:
        if not outcome.settings.checks.attack:
            why = "the settings leave attacks out"
        elif "attack" in outcome.left:
            why = "that stage was not run"
        else:
            why = "there was nothing that these attacks are made for"
        told = f"Membership was not attacked: {why}. This page does not say what an attacker finds."
        return section(title, tag("p", told))
    told = (
        "Each attack asks of a patient: was this record among those that were learnt from? Since that takes many "
        "systems of the same kind, smaller ones were made of some of the patients and attacked in its place. Found is "
        "the share of members that an attacker names while accusing no more than the given share of others falsely; "
        "it stands here only where the sample resolves it."
    )
    rows, controls = [], []
    for a in found.to_dict("records"):
        who = f"{a.get('what', '')}: {a['attack']}, by {a['viewer']}, who sees {a.get('sees', 'everything')}"
        bound = a.get("bound", math.nan)
        limit = f"{bound:.1%}" if math.isfinite(bound) else "no limit"
        rows.append((who.removeprefix(": "), _with_interval(a, "auc", ".2f"), *_found(a), limit))
        made = a.get("control") or "a model that it must break"
        controls.append((who.removeprefix(": "), made, _control(a), _verdict(a)))
    head = ["attack, attacker and what they see", "AUC", "false alarms", "found", "promise allows"]
    parts = [tag("p", told), tables("Attacks on membership, with 95% intervals", head, rows, numbers=4)]
    head = ["attack", "positive control", "AUC and found there", "what this says"]
    parts.append(tables("The same attacks on something that they must break", head, controls))
    if account.kind not in (Kind.ALL, Kind.RECIPIENTS):
        parts.append(tag("p", "What a promise allows is of one noisy part; the system as a whole promises nothing."))
    told = "That an attack finds little does not show that there is little to find: another may find more."
    parts.append(tag("p", told))
    return section(title, *parts)


def _found(a: dict) -> tuple[str, str]:
    """The rate of false alarms, and which share of members is found at it."""
    fpr, tpr = a.get("fpr", math.nan), a.get("tpr", math.nan)
    alarms = f"{fpr:.1%}" if math.isfinite(fpr) else ""
    if math.isfinite(tpr):
        return alarms, _with_interval(a, "tpr", ".1%")
    why = next((str(a[key]) for key in ("resolved", "unresolved") if isinstance(a.get(key), str) and a[key]), "")
    return alarms, f"not resolved{f' ({why})' if why else ''}"


def _with_interval(a, name: str, spec: str) -> str:
    value, low, high = (a.get(key, math.nan) for key in (name, f"{name}_low", f"{name}_high"))
    if not math.isfinite(value):
        return "not resolved"
    between = f" ({low:{spec}} to {high:{spec}})" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{value:{spec}}{between}"


def _control(a: dict) -> str:
    auc, tpr = a.get("control_auc", math.nan), a.get("control_tpr", math.nan)
    parts = [f"AUC {auc:.2f}"] if math.isfinite(auc) else ["AUC not known"]
    return ", ".join([*parts, f"found {tpr:.1%}" if math.isfinite(tpr) else "found not resolved"])


def _verdict(a: dict) -> str:
    """What the attack says, given its positive control and the bound."""
    if not a.get("control_auc", math.nan) >= _BROKEN:
        return "nothing: the control was not broken either, so the attack or the sample is too weak"
    if a.get("tpr_low", math.nan) > a.get("bound", math.nan):
        return "it finds more than the promise allows: something is wrong, do not rely on the promise"
    if a["auc"] >= _BROKEN:
        return "members can be told from others here"
    return "the attack works, and finds little here; a better one may find more"

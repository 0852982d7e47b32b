"""What the control room shows of a system: each part a piece of HTML, with what was pinned beside it."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.system import drawings, flow
from fedlab_utils.system.account import Account, Kind, counted, listed
from fedlab_utils.system.drawings import Dot
from fedlab_utils.system.markup import Markup, Tables, box, joined, tag
from fedlab_utils.system.outcome import Outcome
from fedlab_utils.system.sentences import SIGHTS, VIEWERS, every_key, measured
from fedlab_utils.system.settings import Settings

ALT = "The system as it is set, its scores beside their baselines, its promise, attacks on it, and what travels."
_NOTHING = Markup("")
_ALL_COUNT = (
    "Each split is a run, and each run that this page has shown counts, one that was overwritten or cancelled too: all "
    "of them looked at the same patients."
)
DRAWN = """
svg { background: #fffefb; font-family: system-ui, "DejaVu Sans", sans-serif; } text { fill: #1d2329; font-size: 13px; }
.soft { fill: #565f67; } .rule { stroke: #d5d2c9; fill: none; } .mark { stroke: #1f5c8b; fill: #1f5c8b; }
.bar { stroke: #1f5c8b; stroke-width: 2; fill: none; } .dash { stroke-dasharray: 5 4; }
.flow text { font-size: 12px; } .stage { fill: #f4f2ec; stroke: #8a8a86; } .name, .strong { font-weight: 650; }
.way { stroke: #1f5c8b; stroke-width: 2; } .way.bare { stroke: #8a3b12; stroke-dasharray: 5 4; }
.head { fill: #565f67; }
.pledge { fill: #1f5c8b; font-weight: 650; } .pledge.bare { fill: #8a3b12; }
"""  # of a drawing by itself, in light colours
_NAMES = {"federated": "together", "local-only": "each alone"}


def parts(
    outcome: Outcome,
    *,
    going: FederatedRun | None = None,
    account: Account | None = None,
    everything: Account | None = None,
    pinned: Outcome | None = None,
) -> dict[str, Markup]:
    """The parts of the page, each empty while there is nothing to show.

    Parameters
    ----------
    outcome
        As far as the run has come.
    going
        A training that is under way.
    account, everything
        The ledger of this system, all its splits, and that of everything displayed about the same patients; None while
        they are not composed yet.
    pinned
        The outcome beside which this one is shown.
    """
    tables = Tables()
    return {
        "pipeline": _pipeline(outcome),
        "utility": _utility(outcome, going, pinned),
        "beside": _NOTHING if pinned is None else _beside(pinned, outcome, tables),
        "promise": _promise(outcome, account, everything, tables),
        "attack": _attack(outcome, tables),
        "traffic": _traffic(outcome, tables),
    }


def headline(outcome: Outcome, going: FederatedRun | None = None, account: Account | None = None) -> str:
    """The page read aloud: one or two sentences with the numbers that are there."""
    table = outcome.table().set_index("model")["mean"] if outcome.trained is not None else {}
    measure = "AUC" if outcome.measure == "auc" else "Mean squared error"
    if "federated" not in table:
        rounds, score = ([], []) if going is None else _curve(going, outcome.measure)
        if rounds:
            return f"After round {rounds[-1]} of {outcome.settings.training.rounds}: {measure} {score[-1]:.3f} ..."
        return "The system as it is set; now it is run ..."
    told = f"{measure} on test patients: {table['federated']:.3f} together"
    if "local-only" in table:
        told += f", {table['local-only']:.3f} each alone, {table['pooled']:.3f} with all rows in one place"
    told += "."
    if lost := len(outcome.trained.diverged):
        told += f" {counted(lost, 'training')} ran away: lower the learning rate or the noise."
    if account is not None:
        told += f" {account.sentence()}"
    if outcome.attacks is not None and len(outcome.attacks):
        best = outcome.attacks.sort_values("auc").iloc[-1]
        told += (
            f" The best of {counted(len(outcome.attacks), 'attack')} on membership reaches an AUC of {best['auc']:.2f}."
        )
    return told


def differences(first: Settings, second: Settings) -> list[tuple[str, str, str]]:
    """Every setting that differs: its path, and its value in both."""
    both = zip(every_key(first), every_key(second), strict=True)
    return [(path, a, b) for (path, a, _), (_, b, _) in both if a != b and path not in ("name", "question")]


def _section(title: str, *inside: object) -> Markup:
    return joined(tag("h2", title), *inside)


# ---- the pipeline


def _pipeline(outcome: Outcome) -> Markup:
    there = outcome.federations
    name = counted(len(there[0].hospitals), "hospital") if there else "Hospitals"
    scroll = tag("div", flow.drawing(outcome.settings, hospitals=name), class_="scroll", tabindex="0", role="region",
                 aria_label="The system, drawn")  # fmt: skip
    return _section("The system as it is set", scroll)


# ---- utility


def _utility(outcome: Outcome, going: FederatedRun | None, pinned: Outcome | None) -> Markup:
    table, found = outcome.table(), []
    short = "AUC" if outcome.measure == "auc" else "mean squared error"
    if going is None and outcome.trained is None:
        return _NOTHING
    dots = [Dot(_NAMES.get(t.model, t.model), t.mean, t.sd) for t in table.itertuples() if math.isfinite(t.mean)]
    if dots and pinned is not None and pinned.measure == outcome.measure:
        old = pinned.table()
        dots += [Dot("pinned", t.mean, t.sd) for t in old.itertuples() if t.model == "federated"]
    if dots:
        said = "; ".join(f"{d.name} {d.value:.3f}" for d in dots) + "."
        many = counted(int(table["splits"].max()), "split")
        axis = f"{short} on test patients (bar: one standard deviation over {many})"
        found.append(drawings.dots("dots", f"{short} beside its baselines", said, dots, axis))
    rounds, score = _curve(outcome.trained or going, outcome.measure)
    lines = {"together": (rounds, score)}
    if pinned is not None and pinned.trained is not None and pinned.measure == outcome.measure:
        lines["pinned"] = _curve(pinned.trained, pinned.measure)
    lines = {name: line for name, line in lines.items() if line[0]}
    if len(rounds) > 1:
        said = f"From {score[0]:.3f} before round 1 to {score[-1]:.3f} after round {rounds[-1]}."
        most = max(outcome.settings.training.rounds, *(max(r) for r, _ in lines.values()))
        found.append(drawings.curves("curve", f"{short} by round", said, lines, "round", short, most=most))
    figures = tag("div", *(tag("figure", one) for one in found), class_="figures")
    return _section("How well it predicts", figures)


def _curve(run: FederatedRun, measure: str) -> tuple[list[int], list[float]]:
    scores = run.history.query("hospital == 'all'").groupby("round")[measure].mean()
    rows = scores[np.isfinite(scores)]  # a training that runs away has none from some round on
    return rows.index.tolist(), rows.tolist()


# ---- the promise


def _promise(outcome: Outcome, account: Account | None, everything: Account | None, tables: Tables) -> Markup:
    if outcome.trained is None:
        return _NOTHING
    title = "What is promised, and what it has cost"
    if account is None:
        return _section(title, tag("p", "The ledger is being added up ..."))
    kept = account.kind in (Kind.ALL, Kind.RECIPIENTS)
    parts = [box(tag("p", account.sentence()), warn=not kept)]
    if everything is None:
        parts.append(tag("p", "Everything displayed so far is being added up ..."))
    elif account.numbers() or everything.numbers():
        own, total = ({unit: row for unit, *row in one.numbers()} for one in (account, everything))
        none = ["", "", ""]
        rows = [(u, *own.get(u, none)[:2], total.get(u, none)[1], total.get(u, none)[2]) for u in {**own, **total}]
        head = ["protected unit", "epsilon, one run", f"this system ({counted(account.runs, 'run')})",
                f"all displayed ({counted(everything.runs, 'run')})", "delta"]  # fmt: skip
        parts.append(tables("The ledger", head, rows, numbers=4))
        if everything.kind is not account.kind:
            parts.append(tag("p", f"With everything that was displayed: {everything.sentence()}"))
        parts.append(tag("p", _ALL_COUNT, class_="note"))
    head = ["what was released", "of", "seen by", "promise"]
    releases = tables("Releases of one run", head, account.releases())
    return _section(title, *parts, tag("details", tag("summary", "Every release of one run"), releases))


# ---- attacks


def _attack(outcome: Outcome, tables: Tables) -> Markup:
    title = "What an attacker finds"
    if outcome.trained is None:
        return _NOTHING
    if not outcome.settings.checks.attack:
        return _section(title, tag("p", "Nobody has attacked this system. Turn the attacker on to try."))
    if outcome.attacks is None:
        return _section(title, tag("p", "The attack is under way ..."))
    if outcome.attacks.empty:
        return _section(title, tag("p", "Nothing here can be attacked in this way."))
    rows = []
    for t in outcome.attacks.itertuples():
        bound = "" if math.isnan(t.bound) else f"{t.bound:.1%}"
        auc = f"{t.auc:.2f} ({t.auc_low:.2f} to {t.auc_high:.2f})"
        rows.append(
            (
                VIEWERS.get(t.viewer, t.viewer),
                t.attack,
                auc,
                f"{t.tpr:.1%} at {t.fpr:.0%}",
                bound,
                f"{t.control_auc:.2f}",
            )
        )
    head = ["who, by what it sees", "attack", "AUC (interval)", "members found, at false alarms", "promise allows",
            "AUC of the control"]  # fmt: skip
    said = (
        "An AUC of .5 is guessing. The control is something that the attack must break; where it does not, the attack "
        "shows nothing. An attack that finds little proves little: the promise is in the ledger."
    )
    return _section(title, tables("Membership", head, rows, numbers=4), tag("p", said, class_="note"))


# ---- traffic


def _traffic(outcome: Outcome, tables: Tables) -> Markup:
    if outcome.trained is None:
        return _NOTHING
    sent = [(t.what, f"{t.messages:,}", f"{t.bytes:,}") for t in outcome.traffic().itertuples()]
    seen = [(VIEWERS.get(v.viewer, v.viewer), SIGHTS.get(v.sees, v.sees)) for v in outcome.views().itertuples()]
    who = tables("Who sees what of the training", ["who", "the most telling thing that can be read"], seen)
    messages = tables("One run's messages", ["message", "messages", "bytes"], sent, numbers=2)
    whole = f"{outcome.traffic()['bytes'].sum():,} bytes in one run, message by message"
    return _section("What travels, and who reads it", who, tag("details", tag("summary", whole), messages))


# ---- beside a pinned run


def _beside(pinned: Outcome, outcome: Outcome, tables: Tables) -> Markup:
    apart = differences(pinned.settings, outcome.settings)
    rows = [(name, old, new) for (name, old), (_, new) in zip(_figures(pinned), _figures(outcome), strict=True)]
    parts = [tables("Results", ["result", "pinned", "now"], rows, numbers=2)]
    if apart:
        parts.append(tables("Every setting that differs", ["setting", "pinned", "now"], apart))
    else:
        parts.append(tag("p", "No setting differs."))
    return _section("Beside the pinned run", *parts)


def _figures(o: Outcome) -> list[tuple[str, str]]:
    table = o.table().set_index("model")["mean"] if o.trained is not None else pd.Series(dtype=float)
    missed = math.nan
    if o.clinical is not None:
        missed = float(o.clinical.query("hospital == 'all'")["missed"].mean())
    spent = Account(o.ledger, o.ledger, 1, frozenset()).numbers() if o.trained is not None else []
    best = o.attacks["auc"].max() if o.attacks is not None and len(o.attacks) else math.nan
    sent, measure = o.traffic()["bytes"].sum(), "AUC" if o.measure == "auc" else "squared error"
    bare = "" if o.trained is None else "none: no promise"
    waiting = "" if o.settings.checks.attack and o.attacks is None else "not attacked"
    return [
        ("score together", _known(table.get("federated", math.nan), measure)),
        ("score of all rows in one place", _known(table.get("pooled", math.nan), measure)),
        ("ill patients missed", "" if math.isnan(missed) else f"{missed:.0%}"),
        ("epsilon of one run", listed(e for _, e, _, _ in spent) or bare),
        ("best attack, AUC", waiting if np.isnan(best) else f"{best:.2f}"),
        ("bytes of one run", f"{sent:,}" if sent else ""),
    ]


def _known(value: float, measure: str) -> str:
    return "" if math.isnan(value) else f"{measure} {measured(value)[0]}"

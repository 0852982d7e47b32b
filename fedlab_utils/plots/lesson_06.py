"""Figures of lesson 06: how well an attacker tells who was in the training set, and who is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure

OTHERS, MEMBERS = "0.45", PALETTE[3]
_COLORS = (PALETTE[3], PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[1], PALETTE[6])
_FPR = 0.01  # the rate of false alarms at which attacks and defences are compared
_FOUND = matplotlib.colormaps["viridis_r"]


def bell_curves(
    without: np.ndarray,
    with_: np.ndarray,
    seen: float | None = None,
    *,
    label: str = "scaled logit of her outcome",
    titles: Sequence[str] = ("",),
) -> Figure:
    """One patient in many models: those trained without and those trained with this patient, as bell curves.

    Parameters
    ----------
    without, with_
        The patient's number in the models without and with, ``[models]``; or lists of these, a panel each.
    seen
        The number in the model of which the attacker wants to know.
    label
        What the number is.
    titles
        Of the panels.
    """
    several = isinstance(without, list)
    groups = list(zip(without, with_, strict=True)) if several else [(without, with_)]
    fig, axes = figure(7.5 if len(groups) == 1 else 4.4 * len(groups), 3.5, ncols=len(groups))
    for ax, pair, title in zip(np.atleast_1d(axes), groups, titles, strict=False):
        both = np.concatenate(pair)
        bins = np.linspace(both.min() - 0.5, both.max() + 0.5, 41)
        fine = np.linspace(bins[0] - 1, bins[-1] + 1, 300)
        for values, color, name in zip(pair, (OTHERS, MEMBERS), ("trained without", "trained with"), strict=True):
            ax.hist(values, bins, density=True, color=color, alpha=0.35)
            mean, spread = values.mean(), values.std(ddof=1)
            bell = np.exp(-(((fine - mean) / spread) ** 2) / 2) / spread / np.sqrt(2 * np.pi)
            ax.plot(fine, bell, color=color, linewidth=2, label=f"{name} ({len(values)} models)")
        if seen is not None:
            ax.axvline(seen, color="0.1", linestyle="--", label="the published model")
        ax.set(xlabel=label, ylabel="density" if ax is np.atleast_1d(axes)[0] else "", title=title)
        ax.set_ylim(top=1.35 * ax.get_ylim()[1])
        ax.legend(frameon=False, fontsize=9, loc="upper left")
    return fig


def loss_gap(members: np.ndarray, others: np.ndarray, by_model: tuple[np.ndarray, np.ndarray]) -> Figure:
    """How sure a model is of members and of others, and the mean loss of both in many models.

    Parameters
    ----------
    members, others
        Scaled logits in one model, ``[n]`` and ``[m]``.
    by_model
        Mean loss of the members and of the others, ``[models]`` each.
    """
    fig, (left, right) = figure(9.5, 3.6, ncols=2)
    both = np.concatenate([members, others])
    bins = np.linspace(*np.quantile(both, [0.005, 0.995]), 25)
    for values, color, name in ((others, OTHERS, "others"), (members, MEMBERS, "members")):
        left.hist(np.clip(values, bins[0], bins[-1]), bins, color=color, alpha=0.5, label=name)
    left.set(xlabel="scaled logit of the true outcome (right: sure)", ylabel="patients", title="one model")
    left.legend(frameon=False)
    every = np.concatenate(by_model)
    ends = [every.min() / 1.3, every.max() * 1.3]
    right.plot(ends, ends, color="0.5", linestyle="--", label="no gap")
    right.plot(*by_model, "o", color=PALETTE[0], alpha=0.5, markersize=4, label="a model")
    right.set(xlabel="mean loss, members", ylabel="mean loss, others", title="many models")
    right.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
    for axis in (right.xaxis, right.yaxis):
        _plain(axis, (0.001, 0.01, 0.1, 1, 10))
    right.legend(frameon=False)
    return fig


def roc(curves: Mapping[str, object]) -> Figure:
    """ROC curves on logarithmic axes with their 95% bands, where few false alarms can be seen.

    Parameters
    ----------
    curves
        Name -> what an attack of `attacks` returned.
    """
    fig, ax = figure(6.2, 4.6)
    _roc(ax, curves)
    return fig


def roc_twice(curves: Mapping[str, object], *, mark: float = _FPR) -> Figure:
    """The same ROC curves twice: on plain axes, where an AUC is an area, and on logarithmic ones.

    Parameters
    ----------
    curves
        Name -> what an attack of `attacks` returned.
    mark
        A false-alarm rate to point at, on the right.
    """
    fig, (left, right) = figure(10, 4.3, ncols=2)
    for (name, one), color, dashes in zip(curves.items(), _COLORS, DASHES, strict=False):
        table = one.roc
        x, y = np.append(0, table["fpr"]), np.append(0, table["tpr"])
        left.plot(x, y, color=color, linestyle=dashes, linewidth=2, label=name)
    left.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
    left.set(xlabel="false alarms (FPR)", ylabel="members found (TPR)", xlim=(0, 1), ylim=(0, 1.01), title="plain axes")
    left.legend(frameon=False, fontsize=9, loc="lower right")
    _roc(right, curves, mark)
    right.set_title("logarithmic axes")
    return fig


def patients(
    age: np.ndarray, pressure: np.ndarray, found: np.ndarray, kind: Sequence[str], *, names: Mapping[int, str]
) -> Figure:
    """Patients as dots; the darker, the more reliably the attacker finds them.

    Parameters
    ----------
    age, pressure
        In years and in mmHg, ``[n]``; missing values are drawn at the lower edge.
    found
        How often each is found when in the training set, 0 to 1, ``[n]``.
    kind
        What the marker stands for, such as an outcome, ``[n]``.
    names
        Row -> what is written beside the dot.
    """
    fig, ax = figure(7.6, 4.6)
    _patients(ax, age, pressure, found, kind)
    x, y = _at_the_edge(age), _at_the_edge(pressure)
    for row, text in names.items():
        ax.annotate(text, (x[row], y[row]), xytext=(7, 4), textcoords="offset points", fontsize=9)
    return fig


def roc_and_patients(
    curves: Mapping[str, object], age: np.ndarray, pressure: np.ndarray, found: np.ndarray, kind: Sequence[str]
) -> Figure:
    """Both halves of a live lab: how many are found (`roc`), and who they are (`patients`)."""
    fig, (left, right) = figure(11, 4.5, ncols=2)
    _roc(left, curves)
    _patients(right, age, pressure, found, kind)
    return fig


def leak_by_size(points: Mapping[str, tuple[float, object]]) -> Figure:
    """Share of members found over the number of training patients.

    Parameters
    ----------
    points
        Name -> (training patients, what `AttackResult.tpr_at` returned at 1% false alarms).
    """
    fig, ax = figure(7.2, 4)
    for (name, (rows, one)), color in zip(points.items(), (MEMBERS, *[PALETTE[0]] * 5, PALETTE[2]), strict=False):
        spread = [[one.value - one.low], [one.high - one.value]]
        ax.errorbar(rows, one.value, yerr=spread, fmt="o", color=color, capsize=4, linewidth=2)
        ax.annotate(name, (rows, one.high), xytext=(0, 5), textcoords="offset points", ha="center", fontsize=9)
    ax.axhline(_FPR, color="0.4", linestyle="--", linewidth=1, label="a coin")
    ax.set(xscale="log", yscale="log", xlabel="training patients", ylabel=f"members found at {_FPR:.0%} false alarms")
    ax.margins(x=0.12, y=0.15)
    _plain(ax.yaxis, (0.01, 0.02, 0.05, 0.1, 0.2))
    _plain(ax.xaxis, (50, 100, 200, 500, 1000, 2000, 5000))
    ax.legend(frameon=False, loc="lower left")
    return fig


def tribunal(table: Mapping[str, Mapping[str, object]]) -> Figure:
    """Defences against attackers: the share of members found with its interval, and what a promise allows.

    Parameters
    ----------
    table
        Defence -> attacker -> estimate at 1% false alarms; a defence may also have a "bound", the most that its promise
        allows, and other numbers, which are not drawn.
    """
    attackers = [name for name, one in next(iter(table.values())).items() if hasattr(one, "low")]
    fig, axes = figure(3.2 * len(attackers) + 1.6, 0.44 * len(table) + 1.5, ncols=len(attackers))
    for column, (attacker, ax) in enumerate(zip(attackers, np.atleast_1d(axes), strict=True)):
        for row, verdicts in enumerate(table.values()):
            _draw_verdict(ax, -row, verdicts[attacker], verdicts.get("bound"))
        ax.axvline(_FPR, color="0.4", linestyle="--", linewidth=1)
        ax.set(xscale="log", xlim=(_LEAST, 1.3), ylim=(0.6 - len(table), 0.6))
        ax.set(title=attacker, xlabel=f"found at {_FPR:.0%} FPR")
        _plain(ax.xaxis, (0.002, 0.01, 0.1, 1))
        ax.set_yticks([-k for k in range(len(table))], list(table) if column == 0 else [""] * len(table))
    return fig


_LEAST = _FPR / 5  # the left edge: a logarithmic axis has no 0


def _draw_verdict(ax: Axes, y: float, one, bound: float | None) -> None:
    """An estimate with its interval, a red diamond if it is surely more than a coin's, and what a promise allows."""
    if bound is not None:
        ax.plot([bound], [y], "|", color="0.1", markersize=15, markeredgewidth=2)
    if np.isnan(one.value):
        ax.text(_LEAST * 1.2, y, "not resolved", va="center", fontsize=9, color="0.4")
        return
    low, value, high = (max(v, _LEAST) for v in (one.low, one.value, one.high))
    color, marker = (MEMBERS, "D") if one.low > _FPR else (PALETTE[0], "o")
    ax.plot([low, high], [y, y], color=color, linewidth=2.5)
    ax.plot([value], [y], marker, color=color)


def audit_over_time(steps: Sequence[int], bounds: Mapping[str, Sequence[float]], accountant: Sequence[float]) -> Figure:
    """What attacks prove about epsilon as training goes on, below what the accountant says.

    Parameters
    ----------
    steps
        After how many steps of training, ``[n]``.
    bounds
        Name of the attack -> lower bounds, ``[n]``.
    accountant
        Upper bounds, ``[n]``.
    """
    fig, ax = figure(7, 3.9)
    ax.plot(steps, accountant, color="0.1", linewidth=2.5, label="accountant: at most")
    ax.fill_between(steps, accountant, max(accountant) * 1.15, color="0.88")
    colors = (PALETTE[0], PALETTE[2], MEMBERS)
    for (name, values), color, marker in zip(bounds.items(), colors, MARKERS, strict=False):
        ax.plot(steps, values, marker=marker, color=color, label=name)
    ax.set(xlabel="steps of training", ylabel="ε", ylim=(-0.05 * max(accountant), max(accountant) * 1.15))
    ax.legend(frameon=False, loc="upper left", fontsize=9)
    return fig


# ---------------------------------------------------------------- parts


def _roc(ax: Axes, curves: Mapping[str, object], mark: float = _FPR) -> None:
    """ROC curves with their bands on logarithmic axes, and a line at the false-alarm rate `mark`."""
    least = min(one.roc["fpr"].iloc[0] for one in curves.values())
    for (name, one), color, dashes in zip(curves.items(), _COLORS, DASHES, strict=False):
        table, floor = one.roc, least / 2  # nobody found would lie at minus infinity
        low, mid, high = (np.maximum(table[c], floor) for c in ("low", "tpr", "high"))
        band(ax, table["fpr"], low, mid, high, label=name, color=color, linestyle=dashes)
    coin = np.geomspace(least, 1, 50)
    ax.plot(coin, coin, color="0.5", linestyle="--", linewidth=1, label="a coin")
    ax.axvline(mark, color="0.3", linestyle=":", linewidth=1)
    ax.set(xscale="log", yscale="log", xlim=(least, 1), ylim=(least / 2, 1.1))
    ax.set(xlabel="false alarms (FPR)", ylabel="members found (TPR)")
    for axis in (ax.xaxis, ax.yaxis):
        _plain(axis, (0.0001, 0.001, 0.01, 0.1, 1))
    ax.legend(frameon=False, fontsize=9, loc="lower right")


def _patients(ax: Axes, age: np.ndarray, pressure: np.ndarray, found: np.ndarray, kind: Sequence[str]) -> None:
    """Dots for patients, a marker for each kind, with a bar that explains the colours."""
    x, y, found, kind = _at_the_edge(age), _at_the_edge(pressure), np.asarray(found), np.asarray(kind)
    order = np.argsort(found)  # those who are found lie on top
    markers = list(zip(dict.fromkeys(np.sort(kind).tolist()), MARKERS, strict=False))
    for name, marker in sorted(markers, key=lambda pair: found[kind == pair[0]].mean()):
        mine = order[kind[order] == name]
        look = dict(cmap=_FOUND, vmin=0, vmax=1, edgecolor="0.3", linewidth=0.5)
        dots = ax.scatter(x[mine], y[mine], c=found[mine], s=30 + 60 * found[mine], marker=marker, **look)
        ax.scatter([], [], color="0.6", edgecolor="0.3", marker=marker, label=name)  # grey in the legend
    ax.set(xlabel="age (years)", ylabel="systolic pressure (mmHg)")
    ax.legend(frameon=True, fontsize=8, loc="upper left")
    bar = ax.figure.colorbar(dots, ax=ax, label="found, when in the training set")
    bar.ax.yaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    bar.outline.set_visible(False)


def _at_the_edge(values: np.ndarray) -> np.ndarray:
    """Values to draw: a missing one a little below the smallest."""
    values = np.asarray(values)
    known = values[~np.isnan(values)]
    return np.where(np.isnan(values), known.min() - 0.04 * np.ptp(known), values)


def _plain(axis, ticks: Sequence[float]) -> None:
    """Few ticks on a logarithmic axis, as plain numbers."""
    low, high = sorted(axis.get_view_interval())
    kept = [t for t in ticks if low * 0.999 <= t <= high * 1.001]
    axis.set_ticks(kept, [f"{t:g}" for t in kept])
    axis.set_ticks([], minor=True)

"""Figures of lesson 11: what a liar moves, who is cut off, and what each rule is worth."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import apart, arms, short
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, figure

HONEST, LIAR = PALETTE[0], PALETTE[3]
NAMES = {"auc": "AUC", "missed": "share of the ill missed", "net_benefit": "net benefit at 20%"}


def two_bars(panels: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]]) -> Figure:
    """Bars of two or more measures, a panel each; small marks are the cases that a bar is the mean of.

    Parameters
    ----------
    panels
        Measure, a share -> name of the bar -> case -> its values over splits.
    """
    fig, axes = figure(3.6 * len(panels), 3.9, ncols=len(panels))
    for ax, (measure, bars) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for place, (cases, color) in enumerate(zip(bars.values(), (HONEST, LIAR), strict=False)):
            means = {case: np.mean(values) for case, values in cases.items()}
            height = np.mean(list(means.values()))
            ax.bar(place, height, color=color, width=0.62)
            ax.text(place, 0.02, f"{height:.3f}", ha="center", color="white", fontsize=12)
            if len(means) == 1:
                continue
            at = place + np.linspace(-0.22, 0.22, len(means))
            for x, (case, mean), marker in zip(at, means.items(), MARKERS, strict=False):
                look = dict(color="white", markeredgecolor="0.1", markersize=7, linestyle="", zorder=3)
                ax.plot(x, mean, marker, label=case, **look)
        ax.set_xticks(range(len(bars)), list(bars))
        ax.set(ylim=(0, 1), title=measure)
    handles, labels = np.atleast_1d(axes)[-1].get_legend_handles_labels()
    if labels:
        named = [f"{name} lies" if number == 0 else name for number, name in enumerate(labels)]
        fig.legend(handles, named, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return fig


def moved_by_one(sent: np.ndarray, found: Mapping[str, np.ndarray], honest: np.ndarray) -> Figure:
    """What comes out of rules while one hospital sends another and another number.

    Parameters
    ----------
    sent
        Numbers that the liar sends ``[n]``.
    found
        Name of the rule -> what comes out ``[n]``.
    honest
        Numbers of the honest hospitals.
    """
    fig, ax = figure(7, 3.7)
    ax.axhspan(honest.min(), honest.max(), color=PALETTE[7], alpha=0.25, label="between the honest ones")
    for (name, values), color, dashes in zip(found.items(), (LIAR, HONEST, PALETTE[2]), DASHES, strict=False):
        ax.plot(sent, values, color=color, linestyle=dashes, linewidth=2, label=name)
    ax.set(xlabel="what one of twenty hospitals sends", ylabel="what comes out")
    ax.legend(frameon=False, handlelength=3.5)
    return fig


def directions(updates: np.ndarray, liar: np.ndarray, kept: np.ndarray) -> Figure:
    """Updates of one round in the two directions in which they differ most.

    Parameters
    ----------
    updates
        ``[n, d]``.
    liar, kept
        Who lies, and whose update a rule keeps, ``[n]``.
    """
    apart_ = updates - updates.mean(0)
    _, size, axes = np.linalg.svd(apart_, full_matrices=False)
    where, share = apart_ @ axes[:2].T, size[:2] ** 2 / (size**2).sum()
    fig, ax = figure(6, 3.9)
    for who, name, color, marker in ((~liar, "honest", HONEST, "o"), (liar, "liar", LIAR, "D")):
        ax.plot(*where[who].T, marker, color=color, markersize=8, linestyle="", label=name)
    ring = dict(markerfacecolor="none", markeredgecolor="0.2", markersize=15, linestyle="")
    ax.plot(*where[kept].T, "o", label="kept", **ring)
    ax.set(xlabel=f"first direction ({share[0]:.0%} of all difference)", ylabel=f"second ({share[1]:.0%})")
    ax.legend(frameon=False)
    return fig


def by_rule(table: pd.DataFrame, measures: list[str]) -> Figure:
    """A row for each rule, a panel for each measure, a mark for each setting: mean and standard deviation over splits.

    Parameters
    ----------
    table
        Columns rule, setting and the measures; a row for each split.
    measures
        Columns to draw.
    """
    fig, axes = figure(2 + 3.8 * len(measures), 1.5 + 0.42 * table["rule"].nunique(), ncols=len(measures))
    for number, (ax, measure) in enumerate(zip(np.atleast_1d(axes), measures, strict=True)):
        _draw_rules(ax, table, measure, named=number == 0)
    handles, labels = np.atleast_1d(axes)[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return fig


def _draw_rules(ax: Axes, table: pd.DataFrame, measure: str, *, named: bool) -> None:
    """One panel of `by_rule`."""
    rules, settings = (list(dict.fromkeys(table[column])) for column in ("rule", "setting"))
    for setting, shift, color, marker in zip(settings, apart(len(settings)), (HONEST, LIAR), MARKERS, strict=False):
        own = table[table["setting"] == setting].groupby("rule")[measure].agg(["mean", "std"]).reindex(rules)
        at, reach = -np.arange(len(rules)) - shift, arms(own, measure)
        ax.errorbar(own["mean"], at, xerr=reach, fmt=marker, color=color, capsize=3, label=setting)
    ax.set_yticks(-np.arange(len(rules)), rules if named else None)
    ax.tick_params(labelleft=named)
    ax.set(xlabel=NAMES.get(measure, measure), ylim=(0.6 - len(rules), 0.6))


def cut_off(panels: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Krum's score of each hospital beside the share of its patients who fell ill, a panel for each federation.

    Parameters
    ----------
    panels
        Title -> share of the ill, score, who lies, whose update is kept, each ``[n]``.
    """
    fig, axes = figure(4.6 * len(panels), 3.9, ncols=len(panels))
    for ax, (title, (ill, score, liar, kept)) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        for who, name, color, marker in ((~liar, "honest", HONEST, "o"), (liar, "liar", LIAR, "D")):
            ax.plot(ill[who], score[who], marker, color=color, markersize=8, linestyle="", label=name)
        cut = dict(color="0.1", markersize=13, linestyle="", markeredgewidth=1.8)
        ax.plot(ill[~kept], score[~kept], "x", label="cut off", **cut)
        ax.set(xlabel="share of its patients who fell ill", title=title, xlim=(-0.05, 1.05), yscale="log")
        ax.yaxis.set_ticks([], minor=True)
        ax.set_yticks([])
    np.atleast_1d(axes)[0].set_ylabel("Krum's score (log scale):\nfar from its neighbours")
    np.atleast_1d(axes)[-1].legend(frameon=False, loc="lower right")
    return fig


def rule_and_hospitals(table: pd.DataFrame, hospitals: pd.DataFrame, liars: int = 0) -> Figure:
    """The lab of lesson 11: AUC and missed for the mean and a rule, and whom both miss, by hospital.

    Parameters
    ----------
    table
        As of `by_rule`.
    hospitals
        Columns rule, hospital and missed, a row for each split, where some lie.
    liars
        How many of the hospitals, from the first on, lie.
    """
    fig, (left, middle, right) = figure(11, 4.4, ncols=3)
    fig.set_layout_engine("none")  # to find a place for everything takes as long as to draw it
    for ax, start in ((left, 0.1), (middle, 0.383), (right, 0.735)):
        ax.set_position((start, 0.105, 0.258, 0.805))
    _draw_rules(left, table, "auc", named=True)
    _draw_rules(middle, table, "missed", named=False)
    left.set_xlim(0.25, 1.0)
    middle.set_xlim(-0.03, 1.03)
    names = list(dict.fromkeys(hospitals["hospital"]))[:20]  # more do not fit
    rules = list(dict.fromkeys(hospitals["rule"]))
    for rule, shift, color, marker in zip(rules, apart(len(rules)), (PALETTE[1], PALETTE[2]), "s^", strict=False):
        own = hospitals[hospitals["rule"] == rule].groupby("hospital")["missed"].mean().reindex(names)
        right.plot(own, -np.arange(len(names)) - shift, marker, color=color, linestyle="", label=rule, markersize=5)
    if liars:
        right.axhspan(0.5 - liars, 0.5, color=LIAR, alpha=0.12, linewidth=0, label="these lie")
    few = [0, *range(4, len(names), 5)] if len(names) > 8 else range(len(names))  # each costs time, and none says more
    right.set_yticks([-k for k in few], [short(names[k]) for k in few])
    right.set(xlim=(-0.03, 1.03), xlabel="missed where some lie, by hospital")
    for ax, place in ((left, "outside upper left"), (right, "outside upper right")):
        handles, labels = ax.get_legend_handles_labels()
        fig.legend(handles, labels, loc=place, ncols=len(labels), frameon=False)
    return fig

"""Figures of lesson 08: the board of documents, sums against critics, kinds of tables, attacks on sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedlab_utils.plots.shared import apart
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure

MEMBERS, OTHERS = PALETTE[3], PALETTE[0]


def board(cells: pd.DataFrame) -> Figure:
    """A question a column, a system a row; a cell without text is open.

    Parameters
    ----------
    cells
        Texts of at most two or three short lines; an empty one is drawn as a question mark.
    """
    rows, columns = cells.shape
    fig, ax = figure(2.0 + 2.4 * columns, 0.7 + 0.72 * rows)
    for (row, column), text in np.ndenumerate(cells.to_numpy()):
        known = bool(text)
        color = PALETTE[0] if known else PALETTE[7]
        look = dict(facecolor=to_rgba(color, 0.12 if known else 0.06), edgecolor=color, linewidth=1.2)
        ax.add_patch(Rectangle((column - 0.48, row - 0.45), 0.96, 0.9, linestyle="-" if known else ":", **look))
        size = 10 if known else 14
        ax.text(column, row, text or "?", ha="center", va="center", fontsize=size, color="0.1" if known else "0.4")
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.set_xticks(range(columns), cells.columns, fontsize=12)
    ax.set_yticks(range(rows), cells.index, fontsize=11)
    ax.xaxis.tick_top()
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return fig


def critic_or_sum(
    noise: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    curve: tuple[Sequence[int], np.ndarray],
    levels: Mapping[str, float],
) -> Figure:
    """What a budget leaves for one of many steps, and what a critic makes of it, beside a sum.

    Parameters
    ----------
    noise
        Name of the budget -> (steps, noise of one step in lengths of a record).
    curve
        Critic steps, of which there may be none yet, and AUC of every generator after each ``[points, generators]``.
    levels
        Name -> AUC of what it is compared with.
    """
    fig, (left, right) = figure(10.5, 4.2, ncols=2)
    for (name, (steps, values)), color, dashes, marker in zip(noise.items(), PALETTE, DASHES, MARKERS, strict=False):
        left.plot(steps, values, color=color, linestyle=dashes, marker=marker, linewidth=2, label=name)
    left.set(xscale="log", xlabel="steps that share the budget")
    left.set(yscale="log", ylabel="noise of one (lengths of a record)")
    for axis in (left.xaxis, left.yaxis):
        low, high = axis.get_view_interval()
        each = (1, 3) if high > 30 * low else (1, 2, 5) if high > 5 * low else (1, 1.5, 2, 3, 4, 5, 7)
        ticks = [t for decade in range(-2, 5) for t in (k * 10.0**decade for k in each) if low <= t <= high]
        axis.set_ticks(ticks, [f"{t:,g}" for t in ticks])
        axis.set_ticks([], minor=True)
    left.legend(frameon=False)
    x, values = curve
    if len(x):
        mid, spread = values.mean(1), values.std(1, ddof=1)
        low, high = np.maximum(mid - spread, 0), np.minimum(mid + spread, 1)
        band(right, x, low, mid, high, label="private GAN", color=PALETTE[3])
    colors = (PALETTE[0], PALETTE[2], PALETTE[7])
    for (name, height), dashes, color in zip(levels.items(), DASHES[1:], colors, strict=False):
        right.axhline(height, color=color, linestyle=dashes, linewidth=1.8, label=name)
    right.set(xlabel="critic steps", ylabel="AUC on real test patients", ylim=(0.4, 0.85))
    handles, labels = right.get_legend_handles_labels()  # above: a curve may lie anywhere
    fig.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False)
    return fig


def kinds_of_tables(found: pd.DataFrame) -> Figure:
    """A panel for each kind of table: what rows of each method are worth, beside real ones.

    Parameters
    ----------
    found
        Columns kind, rows (the method, or "real rows"), replicate, auc.
    """
    kinds, names = (list(dict.fromkeys(found[column])) for column in ("kind", "rows"))
    fig, axes = figure(3.6 * len(kinds), 3.9, ncols=len(kinds))
    for ax, kind in zip(np.atleast_1d(axes), kinds, strict=True):
        own = found[found["kind"] == kind]
        for place, (name, color, marker) in enumerate(zip(names, PALETTE, MARKERS, strict=False)):
            values = own.loc[own["rows"] == name, "auc"]
            ax.errorbar(place, values.mean(), yerr=values.std(), fmt=marker, color=color, capsize=4, markersize=8)
            jitter = place + 0.22 + np.zeros(len(values))
            ax.plot(jitter, values, marker, color=color, markersize=3, alpha=0.6)
        ax.set_xticks(range(len(names)), names, fontsize=10)
        ax.set(ylim=(0.5, 0.85), xlim=(-0.5, len(names) - 0.3), title=kind)
    np.atleast_1d(axes)[0].set_ylabel("AUC of trees on real test rows")
    return fig


def found_in_tables(rows: Mapping[str, Mapping[str, object]]) -> Figure:
    """AUC of membership attacks on tables, with 95% intervals.

    Parameters
    ----------
    rows
        Name of the table -> attack -> what `AttackResult.auc` returned.
    """
    attacks = list(next(iter(rows.values())))
    fig, ax = figure(8.5, 0.62 * len(rows) + 1.4)
    for number, (attack, shift) in enumerate(zip(attacks, apart(len(attacks)), strict=True)):
        for row, by_attack in enumerate(rows.values()):
            one = by_attack[attack]
            arms = [[one.value - one.low], [one.high - one.value]]
            label = attack if row == 0 else None
            look = dict(fmt=MARKERS[number], color=PALETTE[number], capsize=4, linewidth=2, label=label)
            ax.errorbar(one.value, -row - shift, xerr=arms, **look)
    ax.axvline(0.5, color="0.4", linestyle="--", linewidth=1.2, label="a coin")
    ax.set_yticks([-k for k in range(len(rows))], list(rows), fontsize=11)
    ax.set(xlabel="AUC of the attack (95% interval)", xlim=(0.4, 1.0), ylim=(0.6 - len(rows), 0.6))
    ax.legend(frameon=False, loc="upper right")
    return fig


def sums_attacked(
    exact: tuple[np.ndarray, np.ndarray],
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    bound: tuple[np.ndarray, np.ndarray],
) -> Figure:
    """Scores of members and others under exact sums; ROC curves under noisy ones, and the most that anybody reaches.

    Parameters
    ----------
    exact
        Scores of others and of members.
    curves
        Name of the attack -> scores of others and of members.
    bound
        False alarms and the members found at most.
    """
    fig, (left, right) = figure(10.5, 4.1, ncols=2)
    both = np.concatenate(exact)
    bins = np.linspace(both.min(), both.max(), 45)
    for values, color, name, hatch in zip(exact, (OTHERS, MEMBERS), ("others", "members"), ("", "//"), strict=True):
        left.hist(values, bins, density=True, color=color, alpha=0.5, label=name, hatch=hatch, edgecolor="white")
    left.set(xlabel="closer to the published means than to the population's", ylabel="density", title="exact sums")
    left.legend(frameon=False)
    colors = (PALETTE[1], MEMBERS, PALETTE[2])
    for (name, (others, members)), color, dashes in zip(curves.items(), colors, DASHES, strict=False):
        _roc(right, others, members, label=name, color=color, linestyle=dashes)
    right.plot(*bound, color="0.1", linewidth=2.2, linestyle=DASHES[2], label="the bound of the promise")
    right.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="a coin")
    right.set(xlabel="false alarms", ylabel="members found", xlim=(0, 1), ylim=(0, 1.01), title="noisy sums")
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


def _roc(ax: Axes, others: np.ndarray, members: np.ndarray, **look) -> None:
    """Members found over false alarms, at every threshold."""
    fpr = np.linspace(0, 1, 201)
    thresholds = np.quantile(others, 1 - fpr)
    ax.plot(fpr, [(members > t).mean() for t in thresholds], linewidth=2, **look)


def private_table(
    scores: Mapping[str, tuple[Sequence[float], float]],
    shares: Mapping[str, Sequence[float]],
    column: str,
    *,
    measure: str = "AUC",
) -> Figure:
    """What invented rows are worth, and one column of theirs beside the real one.

    Parameters
    ----------
    scores
        Model -> (scores of the draws so far, of which there may be none yet; score of real rows).
    shares
        Name -> share of each level of the column.
    column
        Its name.
    measure
        What the scores are.
    """
    fig, (left, right) = figure(10.5, 3.7, ncols=2)
    for place, (values, real) in enumerate(scores.values()):
        left.plot([place - 0.3, place + 0.3], [real, real], color="0.3", linestyle=DASHES[1], linewidth=2,
                  label="real rows" if place == 0 else None)  # fmt: skip
        values = np.asarray(values)
        if not len(values):
            continue
        spread = values.std(ddof=1) if len(values) > 1 else 0.0
        look = dict(fmt=MARKERS[place], color=PALETTE[place], capsize=5, markersize=9)
        left.errorbar(place, values.mean(), yerr=spread, **look)
        left.plot(np.full(len(values), place + 0.12), values, ".", color=PALETTE[place], alpha=0.6)
    left.set_xticks(range(len(scores)), list(scores))
    left.set(xlim=(-0.6, len(scores) - 0.4), ylabel=f"{measure} on real test rows")
    left.margins(y=0.25)
    left.legend(frameon=False, loc="best")
    for number, ((name, values), shift) in enumerate(zip(shares.items(), apart(len(shares)), strict=True)):
        places = np.arange(len(values)) + 2 * shift
        look = dict(color=PALETTE[number], alpha=0.75, hatch=("", "//")[number % 2], edgecolor="white")
        right.bar(places, values, width=0.4, label=name, **look)
    right.set(xlabel=f"level of {column}, from low to high", ylabel="share of patients")
    right.legend(frameon=False)
    return fig

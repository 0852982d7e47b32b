"""Figures of lesson 13: who came to which round, what a message is, two dates of an entry, and what a day gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator
from matplotlib.figure import Figure

from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, box, figure, sheet

STATES = {"came": ("o", PALETTE[0], True), "silent": ("X", PALETTE[3], False), "refused": ("s", PALETTE[1], False)}
OUTCOMES = {"ill": (PALETTE[3], "//"), "not ill": (PALETTE[0], ""), "unknown": (PALETTE[7], "..")}


def who_came(history: pd.DataFrame) -> Figure:
    """A mark for each hospital and round: it came, was silent, or refused.

    Parameters
    ----------
    history
        Columns round, hospital and state, as `network.NetworkRun.frame` gives.
    """
    names = list(dict.fromkeys(history["hospital"]))
    rounds = sorted(history["round"].unique())
    fig, ax = figure(1.6 + 0.62 * len(rounds), 1.1 + 0.5 * len(names))
    for state, (marker, color, filled) in STATES.items():
        rows = history[history["state"] == state]
        look = dict(color=color, markersize=13, linestyle="", markeredgewidth=1.8)
        look |= {} if filled else {"markerfacecolor": "white"}
        if len(rows):
            ax.plot(rows["round"], [names.index(h) for h in rows["hospital"]], marker, label=state, **look)
    ax.set_yticks(range(len(names)), names)
    ax.set_xticks(rounds)
    ax.set(xlabel="round", ylim=(len(names) - 0.5, -0.5), xlim=(rounds[0] - 0.5, rounds[-1] + 0.5))
    ax.grid(False)
    fig.legend(loc="outside upper center", ncols=len(STATES), frameon=False)
    return fig


def byte_by_byte(fields: Sequence[tuple[str, int, str]]) -> Figure:
    """The head of a message as a strip of boxes, and what follows it.

    Parameters
    ----------
    fields
        Name, number of bytes and value of each part, in order; widths of the boxes follow the names, not the bytes.
    """
    widths = [max(0.105 * max(len(name), len(value)) + 0.25, 0.75) for name, _, value in fields]
    fig, ax = sheet(sum(widths) + 0.4, 1.75)
    left, place = 0.2, 0
    for number, ((name, size, value), width) in enumerate(zip(fields, widths, strict=True)):
        color = PALETTE[number % 7]
        box(ax, left + width / 2, 0.85, width - 0.08, 0.5, value, color, filled=True, fontsize=9.5)
        ax.text(left + width / 2, 0.42, name, ha="center", fontsize=10, color="0.15")
        ax.text(left + width / 2, 1.32, f"{size} B", ha="center", fontsize=9, color="0.3")
        ax.text(left + 0.04, 1.58, f"{place}", ha="left", fontsize=8, color="0.45")
        left, place = left + width, place + size
    return fig


def two_dates(entries: pd.DataFrame, index) -> Figure:
    """When something was so, and when it was recorded, a line for each entry; the index date across.

    Parameters
    ----------
    entries
        Columns what, when and recorded.
    index
        The index date.
    """
    fig, ax = figure(7.4, 1.3 + 0.36 * len(entries))
    index = pd.Timestamp(index)
    for place, row in enumerate(entries.itertuples()):
        known = row.recorded < index
        color, dashes = (PALETTE[0], DASHES[0]) if known else (PALETTE[3], DASHES[2])
        ax.plot([row.when, row.recorded], [place, place], color=color, linestyle=dashes, linewidth=2)
        ax.plot(row.when, place, "o", color=color, markerfacecolor="white", markersize=8, markeredgewidth=1.8)
        ax.plot(row.recorded, place, "s", color=color, markersize=8)
    ax.axvline(index, color="0.2", linewidth=1.5)
    look = dict(linestyle="", color="0.3", markersize=8)
    ax.plot([], [], "o", markerfacecolor="white", markeredgewidth=1.8, label="it was so", **look)
    ax.plot([], [], "s", label="it was recorded", **look)
    ax.plot([], [], color="0.2", label="index date")
    ax.set_yticks(range(len(entries)), entries["what"])
    ax.set(ylim=(len(entries) - 0.5, -0.5), xlabel="day")
    ax.xaxis.set_major_locator(AutoDateLocator(minticks=3, maxticks=6))
    fig.legend(loc="outside upper center", ncols=3, frameon=False)
    return fig


def index_day(
    counts: Mapping[str, Mapping[str, int]], auc: np.ndarray | None, reference: float | None = None
) -> Figure:
    """What one index date gives: outcomes by hospital, and the AUC of a model trained on them.

    Parameters
    ----------
    counts
        Hospital -> outcome, as in `OUTCOMES` -> patients.
    auc
        A value for each split; None where nothing was trained, or not yet.
    """
    fig, (left, right) = figure(8.6, 3.6, ncols=2)
    _stacked(left, counts)
    if auc is not None:
        for k, (value, marker) in enumerate(zip(auc, MARKERS, strict=False)):
            right.plot(k, value, marker, color=PALETTE[0], markersize=9)
        right.axhline(np.mean(auc), color=PALETTE[0], linewidth=1.5, label="mean of splits")
        right.legend(frameon=False, loc="lower right", fontsize=9)
        right.set_xticks(range(len(auc)), [f"split {k + 1}" for k in range(len(auc))])
    else:
        right.text(0.5, 0.5, "no model", ha="center", va="center", transform=right.transAxes, color="0.4")
        right.set_xticks([])
    lowest = 0.4 if auc is None else max(min(0.4, np.min(auc) - 0.05), 0)
    right.set(ylim=(lowest, 1), title="AUC of the common model")
    return fig


def _stacked(ax: Axes, counts: Mapping[str, Mapping[str, int]]) -> None:
    bottom = np.zeros(len(counts))
    for outcome, (color, hatch) in OUTCOMES.items():
        heights = np.array([each.get(outcome, 0) for each in counts.values()])
        ax.bar(
            list(counts), heights, bottom=bottom, color=color, hatch=hatch, edgecolor="white", width=0.6, label=outcome
        )
        bottom += heights
    ax.set(title="patients in the table")
    ax.set_ylim(0, max(bottom.max() * 1.25, 10))
    ax.legend(frameon=False, ncols=3, fontsize=9, loc="upper center")

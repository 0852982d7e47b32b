"""Figures of lesson 01: what a table holds, and what it gives away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fedlab_utils.plots.style import DASHES, PALETTE, figure


def linkage(published: pd.DataFrame, register: pd.DataFrame, row: int, entry: int) -> Figure:
    """Two small tables side by side, and a line between the two rows that are about the same person.

    Parameters
    ----------
    published, register
        What a hospital publishes and what anyone may look up, a few rows each.
    row, entry
        Position of the person in `published` and in `register`.
    """
    fig, axes = figure(11, 2.9, ncols=2)
    fig.get_layout_engine().set(wspace=0.12)
    captions = ("What the hospital published", "What anyone may look up")
    for ax, table, marked, caption in zip(axes, (published, register), (row, entry), captions, strict=True):
        ax.axis("off")
        ax.set_title(caption, loc="left", fontweight="bold")
        box = {"bbox": (0, 0, 1, 1), "cellLoc": "left"}
        cells = ax.table(table.to_numpy(str), colLabels=list(table.columns), **box)
        cells.auto_set_font_size(False)
        cells.set_fontsize(9)
        cells.auto_set_column_width(range(table.shape[1]))
        for (line, _), cell in cells.get_celld().items():
            cell.set(edgecolor="0.85", facecolor="0.95" if line == 0 else "white")
            if line == marked + 1:
                cell.set(facecolor="#fde3cf", edgecolor=PALETTE[3])
                cell.get_text().set_fontweight("bold")
    # the middle of a row below the head, as a share of the height: both tables fill their axes
    heights = [1 - (k + 1.5) / (len(t) + 1) for k, t in ((row, published), (entry, register))]
    axes[0].annotate(
        "",
        (0, heights[1]),
        (1, heights[0]),
        xycoords=axes[1].transAxes,
        textcoords=axes[0].transAxes,
        arrowprops={"arrowstyle": "<->", "color": PALETTE[3], "linewidth": 2},
        annotation_clip=False,
    )
    return fig


def release(sizes: np.ndarray, areas: Mapping[int, np.ndarray], width: int, number: str) -> Figure:
    """What a release gives away, beside what a model can do with it.

    Parameters
    ----------
    sizes
        How many patients share each patient's released values, ``[n]``.
    areas
        Width of the groups of `number` -> test AUC over splits, ``[splits]``, empty where none is defined.
    width
        The one that is set.
    number
        Name of the column that is released in groups.
    """
    fig, (left, right) = figure(9, 3.6, ncols=2)
    edges, names = [1, 2, 5, 10, 100, np.inf], ["alone", "2 to 4", "5 to 9", "10 to 99", "100+"]
    shares = [np.mean((sizes >= a) & (sizes < b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    bars = left.bar(names, np.multiply(shares, 100), color=[PALETTE[3], *[PALETTE[0]] * 4])
    left.bar_label(bars, [f"{s:.1%}" for s in shares], fontsize=10)
    left.set(ylim=(0, 112), xlabel="patients who share the released values", ylabel="share of patients (%)")
    left.set_title("Who can be singled out")
    widths = sorted(w for w in areas if len(areas[w]))
    mid, spread = ([f(areas[w]) for w in widths] for f in (np.mean, np.std))
    right.errorbar(widths, mid, spread, fmt="o-", color=PALETTE[0], capsize=3)
    if len(here := areas[width]):
        right.errorbar([width], [here.mean()], [here.std()], fmt="D", markersize=9, color=PALETTE[3], capsize=4)
    right.set(xlabel=f"width of the groups of {number}", ylabel="test AUC, ± SD over splits")
    right.set_xticks(widths, [str(w) if w > 1 or width == 1 else "" for w in widths])
    right.set_title("What a model learns from the groups")
    return fig


def histograms(before: pd.DataFrame, after: pd.DataFrame, column: str, unit: str) -> Figure:
    """One column in each hospital, before and after mending: hospitals below each other on one axis.

    Parameters
    ----------
    before, after
        Tables with the columns hospital and `column`.
    column
        Which one to draw.
    unit
        What it is measured in after mending.
    """
    names = list(before["hospital"].unique())
    fig, axes = figure(9, 4.6, ncols=2, nrows=len(names))
    for k, (table, title) in enumerate(((before, "as extracted"), (after, "after mending"))):
        values = table[column].dropna()
        bins = np.linspace(min(values.min(), 0), values.max(), 61)
        for name, ax in zip(names, axes[:, k], strict=True):
            ax.hist(values[table["hospital"] == name], bins, color=PALETTE[0 if k else 3], density=True)
            ax.set(yticks=[], xlim=(bins[0], bins[-1]))
            ax.grid(False)
            ax.tick_params(labelbottom=ax is axes[-1, k])
            if k == 0:
                ax.set_ylabel(name, rotation=0, ha="right", va="center")
        axes[0, k].set_title(title)
        axes[-1, k].set_xlabel(f"{column}, {unit}" if k else f"{column}, in whatever unit")
    return fig


def heatmap(table: pd.DataFrame, *, signed: bool = False, label: str) -> Figure:
    """A table of numbers as colours, with the numbers written in.

    Parameters
    ----------
    table
        Shares from 0 to 1, or correlations from -1 to 1 if `signed`.
    label
        What the numbers are.
    """
    rows, columns = table.shape
    fig, ax = figure(3.2 + 0.75 * columns, 1.5 + 0.42 * rows)
    ax.grid(False)
    scale = {"cmap": "PuOr", "vmin": -1, "vmax": 1} if signed else {"cmap": "Oranges", "vmin": 0, "vmax": 1}
    image = ax.imshow(table.to_numpy(float), aspect="auto", **scale)
    for r in range(rows):
        for c in range(columns):
            value = table.iat[r, c]
            style = {"color": "white" if abs(value) > 0.6 else "black", "fontsize": 9}
            ax.text(c, r, f"{value:.2f}" if signed else f"{value:.1%}", ha="center", va="center", **style)
    ax.set_xticks(range(columns), table.columns, rotation=30, ha="right")
    ax.set_yticks(range(rows), table.index)
    fig.colorbar(image, ax=ax, label=label)
    return fig


def shares_and_ages(diagnosis: pd.Series, age: pd.Series, hospital: pd.Series) -> Figure:
    """How common each diagnosis is, and how old the patients of each hospital are.

    Parameters
    ----------
    diagnosis, age, hospital
        Of each patient, ``[n]``; ages in years.
    """
    fig, (left, right) = figure(9, 3.4, ncols=2)
    shares = diagnosis.value_counts(normalize=True)
    bars = left.barh(shares.index[::-1], 100 * shares.to_numpy()[::-1], color=PALETTE[0])
    left.bar_label(bars, [f" {s:.0%}" for s in shares[::-1]], fontsize=10)
    left.set(xlabel="share of patients (%)", xlim=(0, 100), title="Diagnosis")
    bins = np.arange(age.min() // 5 * 5, age.max() + 6, 5)
    for k, name in enumerate(hospital.unique()):
        counts, _ = np.histogram(age[hospital == name], bins)
        right.stairs(100 * counts / counts.sum(), bins, label=name, linewidth=1.8, linestyle=DASHES[k % len(DASHES)])
    right.set(xlabel="age (years)", ylabel="share of its patients (%)", title="Age, by hospital")
    right.legend(frameon=False, fontsize=8)
    return fig


def pairs(frame: pd.DataFrame, colour: pd.Series, label: str) -> Figure:
    """Scatter plots of all pairs of a few columns, histograms on the diagonal.

    Parameters
    ----------
    frame
        ``[n, columns]``, at most a few hundred rows, so that single points can be seen.
    colour
        A number for each row, ``[n]``.
    label
        What this number is.
    """
    names, n = list(frame.columns), frame.shape[1]
    fig, axes = figure(8.2, 7, ncols=n, nrows=n)
    scale = {"vmin": 0, "vmax": np.quantile(colour, 0.98)}  # a few extreme patients would darken all others
    for r, c in np.ndindex(n, n):
        ax = axes[r, c]
        if r == c:
            ax.hist(frame[names[c]], 20, color="0.7")
            ax.set_yticks([])
        else:
            dots = ax.scatter(frame[names[c]], frame[names[r]], c=colour, cmap="viridis", s=8, **scale)
        if r == n - 1:
            ax.set_xlabel(names[c])
        if c == 0:
            ax.set_ylabel(names[r])
    fig.colorbar(dots, ax=axes, label=label, shrink=0.6)
    return fig

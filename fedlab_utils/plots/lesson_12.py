"""Figures of lesson 12: scans, what is left over of them, and what scores are worth by hospital, kind and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import short
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, figure

SIDE = 28
TOGETHER, ALONE = PALETTE[0], PALETTE[3]


def _image(ax: Axes, pixels: np.ndarray, title: str = "", *, about: float | None = None, cmap: str = "gray") -> None:
    """One scan without axes; with `about`, grey is 0 and black and white are so far from it."""
    limits = dict(vmin=-about, vmax=about) if about else {}
    ax.imshow(np.asarray(pixels).reshape(SIDE, SIDE), cmap=cmap, interpolation="nearest", **limits)
    ax.set(xticks=[], yticks=[])
    ax.grid(False)
    ax.set_title(title, fontsize=10)


def scan_grid(scans: np.ndarray, masks: np.ndarray | None = None, heat: np.ndarray | None = None) -> Figure:
    """Numbered scans in rows of six.

    Parameters
    ----------
    scans
        ``[n, 784]``.
    masks
        Where an anomaly is, true or false ``[n, 784]``: a ring is drawn around it.
    heat
        A z-score for each pixel; the hottest pixel of each scan gets a cross, with its number in the title.
    """
    rows = -(-len(scans) // 6)
    fig, axes = figure(9.2, 1.75 * rows, ncols=6, nrows=rows)
    flat = np.atleast_1d(axes).ravel()
    y, x = np.divmod(np.arange(SIDE * SIDE), SIDE)
    for k, ax in enumerate(flat):
        if k >= len(scans):
            ax.axis("off")
            continue
        title = f"{k + 1}" if heat is None else f"{k + 1}: score {heat[k].max():.1f}"
        _image(ax, scans[k], title)
        if masks is not None and masks[k].any():
            middle = x[masks[k]].mean(), y[masks[k]].mean()
            ax.plot(*middle, "o", markersize=21, markerfacecolor="none", markeredgecolor="#ffd23f", markeredgewidth=2)
        if heat is not None:
            hottest = heat[k].argmax()
            ax.plot(x[hottest], y[hottest], "x", color="#4ad7ff", markersize=8, markeredgewidth=2)
    return fig


def component_pictures(pictures: Mapping[str, np.ndarray]) -> Figure:
    """Pictures in one row, each under its title; each on its own scale, grey is 0."""
    fig, axes = figure(1.75 * len(pictures), 2.1, ncols=len(pictures))
    for ax, (title, pixels) in zip(np.atleast_1d(axes), pictures.items(), strict=True):
        _image(ax, pixels, title, about=np.abs(pixels).max())
    return fig


def left_over(rows: Mapping[str, Mapping[str, np.ndarray]], place: tuple[float, float]) -> Figure:
    """Pictures of one scan, a row for each model; a ring marks one place in all of them.

    Parameters
    ----------
    rows
        Name of the model -> title -> pixels ``[784]``.
    place
        Column and row of the ring.
    """
    columns = len(next(iter(rows.values())))
    fig, axes = figure(2.2 * columns, 2.35 * len(rows), ncols=columns, nrows=len(rows))
    for line, (name, pictures) in zip(np.atleast_2d(axes), rows.items(), strict=True):
        for ax, (title, pixels) in zip(line, pictures.items(), strict=True):
            _image(ax, pixels, title, about=np.abs(pixels).max() if pixels.min() < 0 else None)
            ring = dict(markersize=20, markerfacecolor="none", markeredgecolor="#ffb000", markeredgewidth=2)
            ax.plot(*place, "o", **ring)
        line[0].set_ylabel(name, fontsize=11)
    return fig


def alone_or_together(table: pd.DataFrame, rows: Mapping[str, int]) -> Figure:
    """AUC at each hospital with its own model and with the common one; small marks are replicates.

    Parameters
    ----------
    table
        Columns model ("alone", "together"), hospital, replicate, auc.
    rows
        Normal scans to train of each hospital, in order.
    """
    fig, ax = figure(7.4, 3.9)
    for model, shift, color, marker in zip(("alone", "together"), (-0.12, 0.12), (ALONE, TOGETHER), "so", strict=True):
        own = table[table["model"] == model].pivot(index="replicate", columns="hospital", values="auc")[list(rows)]
        at = np.arange(len(rows)) + shift
        for line in own.to_numpy():
            ax.plot(at, line, marker, color=color, markersize=4, alpha=0.45)
        ax.plot(at, own.mean(), marker, color=color, markersize=10, label=model, linestyle="")
    ax.axhline(0.5, color="0.4", linestyle=DASHES[1], linewidth=1.4, label="chance")
    ax.set_xticks(range(len(rows)), [f"{name}\n{n} scans" for name, n in rows.items()])
    ax.set(ylim=(0.35, 1), ylabel="AUC, nodules of 1.0")
    ax.legend(frameon=False, ncols=3, loc="lower left")
    return fig


def cliff(curve: pd.DataFrame, rules: Mapping[str, float], errors: Mapping[str, pd.Series]) -> Figure:
    """AUC over the number of components with what each rule chose, and the two errors that rules look at.

    Parameters
    ----------
    curve
        AUC, a row for each replicate, a column for each number of components.
    rules
        Name -> number of components.
    errors
        Name of a rule -> error by number of components, in one of the replicates.
    """
    fig, (left, right) = figure(10.5, 4.2, ncols=2)
    counts = curve.columns.to_numpy()
    left.plot(counts, curve.mean(), "-", color="0.25", linewidth=2)
    left.fill_between(counts, curve.min(), curve.max(), color="0.25", alpha=0.15, linewidth=0)
    looks = dict(zip(rules.keys(), zip(PALETTE, MARKERS, DASHES, strict=False), strict=False))  # in both panels
    for name, count in rules.items():
        color, marker, _ = looks[name]
        height = np.interp(count, counts, curve.mean())
        look = dict(markeredgecolor="white", linestyle="", zorder=3)
        left.plot(count, height, marker, color=color, markersize=12, label=f"{name}: {count:g}", **look)
    left.axhline(0.5, color="0.4", linestyle=DASHES[1], linewidth=1.4)
    left.set(ylim=(0.45, 1), xlabel="components", ylabel="AUC, nodules of 1.0 (band: all replicates)")
    left.legend(frameon=False, loc="center right", fontsize=9.5)
    for name, error in errors.items():
        color, marker, dashes = looks[name]
        right.plot(error.index, error, color=color, linestyle=dashes, marker=marker, markersize=5, label=name)
        right.plot(error.idxmin(), error.min(), "o", markersize=15, markerfacecolor="none", markeredgecolor=color)
    right.set(xlabel="components", ylabel="squared error of a pixel", yscale="log")
    right.legend(frameon=False, title="one network; ring: the least")
    return fig


def by_scanner(shares: Mapping[str, pd.DataFrame], noise: Mapping[str, float], aim: float = 0.05) -> Figure:
    """Share of false alarms at one threshold for all, by hospital, a panel for each score.

    Parameters
    ----------
    shares
        Score -> false alarms, a row for each replicate, a column for each hospital.
    noise
        Noise of each hospital's scanner.
    aim
        What the threshold aims at over all hospitals.
    """
    fig, axes = figure(3.6 * len(shares), 3.8, ncols=len(shares))
    for number, (ax, (name, table)) in enumerate(zip(np.atleast_1d(axes), shares.items(), strict=True)):
        at = np.arange(table.shape[1])
        ax.bar(at, table.mean(), color=PALETTE[1], width=0.62)
        for line in table.to_numpy():
            ax.plot(at, line, "o", color="0.1", markersize=3.5, alpha=0.6)
        ax.axhline(aim, color=TOGETHER, linestyle=DASHES[1], linewidth=1.6)
        labels = [f"{short(h)}\n{noise[h]:g}" for h in table.columns]
        ax.set_xticks(at, labels, fontsize=8.5)
        ax.set(title=name, xlabel="hospital, noise of its scanner", ylim=(0, max(0.3, 1.05 * table.to_numpy().max())))
        if number == 0:
            ax.set_ylabel(f"false alarms (line: {aim:.0%})")
    return fig


def kinds_by_score(table: pd.DataFrame) -> Figure:
    """AUC of scores (columns) by kind of anomaly (rows), as a table of shades with numbers in it."""
    fig, ax = figure(1.35 * table.shape[1] + 1.8, 0.52 * len(table) + 1.5)
    ax.imshow(table, cmap="Blues", vmin=0.5, vmax=1.1, aspect="auto")
    for (row, column), value in np.ndenumerate(table.to_numpy()):
        best = value >= table.iloc[row].max() - 0.005
        color = "white" if value > 0.85 else "0.1"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontweight="bold" if best else None)
    ax.set_xticks(range(table.shape[1]), table.columns, fontsize=10)
    ax.set_yticks(range(len(table)), table.index, fontsize=10)
    ax.xaxis.tick_top()
    ax.grid(False)
    return fig


def private_scans(curves: Mapping[str, Sequence[float]], scans: Sequence[int]) -> Figure:
    """AUC over the number of scans of all hospitals, a line for each budget.

    Parameters
    ----------
    curves
        Name of the budget -> AUC ``[n]``.
    scans
        How many, ``[n]``.
    """
    fig, ax = figure(7.2, 3.9)
    looks = zip((PALETTE[3], PALETTE[1], PALETTE[2], TOGETHER), DASHES, MARKERS, strict=False)
    for (name, values), (color, dashes, marker) in zip(curves.items(), looks, strict=False):
        ax.plot(scans, values, color=color, linestyle=dashes, marker=marker, markersize=7, label=name)
    ax.axhline(0.5, color="0.4", linewidth=1)
    ax.set(xscale="log", ylim=(0.45, 1), xlabel="normal scans of all hospitals together", ylabel="AUC, nodules of 1.0")
    ax.set_xticks(scans, [f"{n:,}" for n in scans])
    ax.minorticks_off()
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(0.0, 0.55))
    return fig


def scans_live(table: pd.DataFrame, now: int, pictures: Mapping[str, np.ndarray], place: tuple[float, float]) -> Figure:
    """The lab of lesson 12: AUC by number of components, and one scan with what is left over of it.

    Parameters
    ----------
    table
        Columns count, where ("all hospitals", "the smallest hospital"), auc; a row for each replicate.
    now
        The number of components chosen.
    pictures, place
        As in `left_over`.
    """
    fig, axes = figure(11, 3.7, ncols=1 + len(pictures))
    left = axes[0]
    for (where, rows), color, marker in zip(table.groupby("where", sort=True), (TOGETHER, ALONE), "os", strict=False):
        found = rows.groupby("count")["auc"]
        mean = found.mean()
        left.plot(mean.index, mean, color=color, marker=marker, markersize=5, label=where)
        left.fill_between(mean.index, found.min(), found.max(), color=color, alpha=0.15, linewidth=0)
    left.axvline(now, color="0.3", linestyle=DASHES[1], linewidth=1.5)
    left.axhline(0.5, color="0.4", linewidth=1)
    left.set(ylim=(0.3, 1), xlabel="components (line: yours)", ylabel="AUC")
    left.legend(frameon=False, loc="lower right", fontsize=9)
    for ax, (title, pixels) in zip(axes[1:], pictures.items(), strict=True):
        _image(ax, pixels, title, about=np.abs(pixels).max() if pixels.min() < 0 else None)
        ring = dict(markersize=20, markerfacecolor="none", markeredgecolor="#ffb000", markeredgewidth=2)
        ax.plot(*place, "o", **ring)
    return fig

"""Figures of lesson 10: skew and local steps, kinds of difference, drift, bytes, a method beside averaging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import refuse_nothing, within_shares
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure

_HEAT = LinearSegmentedColormap.from_list("heat", [PALETTE[3], "white", PALETTE[0]])
_ARMS = dict(capsize=4, linewidth=2, markersize=8)


def skew_and_steps(table: pd.DataFrame) -> Figure:
    """A heat map: AUC for each skew and number of local steps, with its standard deviation.

    Parameters
    ----------
    table
        Columns skew, steps and auc, a row for each run; rows and columns of the map in the order in which they come.
    """
    refuse_nothing(table["auc"])
    skews, steps = (list(dict.fromkeys(table[column])) for column in ("skew", "steps"))
    cells = table.groupby(["skew", "steps"])["auc"].agg(["mean", "std"])
    mean = np.array([[cells.loc[(a, b), "mean"] for b in steps] for a in skews])
    fig, ax = figure(7.5, 0.8 + 0.75 * len(skews))
    image = ax.imshow(mean, cmap=_HEAT, vmin=0.5, vmax=0.8, aspect="auto")
    for (row, column), value in np.ndenumerate(mean):
        spread = cells.loc[(skews[row], steps[column]), "std"]
        dark = value < 0.58 or value > 0.74
        text = f"{value:.2f}" if np.isnan(spread) else f"{value:.2f} ± {spread:.2f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=12, color="white" if dark else "0.1")
    ax.set_xticks(range(len(steps)), [f"{s}" for s in steps])
    ax.set_yticks(range(len(skews)), [f"{s}" for s in skews])
    ax.set(xlabel="local steps between two messages", ylabel="label skew")
    ax.grid(False)
    bar = fig.colorbar(image, ax=ax)
    bar.set_label("AUC, all test patients", size=11)
    return fig


def kinds_of_difference(
    labels: Mapping[str, float],
    feature: Mapping[str, Sequence[float]],
    concept: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    rows: Mapping[str, int],
    *,
    unit: str,
) -> Figure:
    """Four small pictures of hospitals that differ: in outcomes, in patients, in what predicts, and in size.

    Parameters
    ----------
    labels
        Hospital -> share of its patients who fell ill.
    feature
        Hospital -> values of a column.
    concept
        Hospital -> (values of the column, share of the ill around each).
    rows
        Hospital -> number of patients.
    unit
        Name and unit of the column.
    """
    fig, axes = figure(11.5, 3.2, ncols=4)
    _bars(axes[0], labels, "share that fell ill", "label")
    axes[0].set_ylim(0, 1)
    values = np.concatenate([np.asarray(v) for v in feature.values()])
    step = max(np.ceil(np.ptp(values) / 14), 1)  # whole, or rounded values would fall into bins of unequal size
    edges = np.arange(np.floor(values.min()), values.max() + step, step) - 0.5
    for (name, values), color, dashes in zip(feature.items(), PALETTE, DASHES, strict=False):
        look = dict(histtype="step", linewidth=2, color=color, linestyle=dashes, label=name)
        axes[1].hist(values, edges, density=True, **look)
    axes[1].set(xlabel=unit, ylabel="density", title="feature")
    for (name, (x, share)), color, dashes, marker in zip(concept.items(), PALETTE, DASHES, MARKERS, strict=False):
        axes[2].plot(x, share, color=color, linestyle=dashes, marker=marker, linewidth=2, label=name)
    axes[2].set(xlabel=f"{unit}, as it stands in the column", ylabel="share that fell ill", title="concept")
    _bars(axes[3], rows, "patients", "quantity")
    for ax in (axes[1], axes[2]):
        top = ax.get_ylim()[1]
        ax.set_ylim(0, 1.35 * top)
        ax.legend(frameon=False, fontsize=9, loc="upper center", handlelength=2.8)
    return fig


def _bars(ax: Axes, heights: Mapping[str, float], ylabel: str, title: str) -> None:
    ax.bar(range(len(heights)), list(heights.values()), color=PALETTE[0], alpha=0.8)
    turned = dict(rotation=40, ha="right", rotation_mode="anchor") if max(map(len, heights)) > 2 else {}
    ax.set_xticks(range(len(heights)), list(heights), fontsize=9, **turned)
    ax.set(ylabel=ylabel, title=title)


def drift(
    pooled: Sequence[float],
    own: Mapping[str, Sequence[float]],
    share: Sequence[float],
    ends: Mapping[int, Sequence[float]],
    walks: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    names: tuple[str, str],
) -> Figure:
    """Where averaging ends by number of local steps, and how hospitals walk in one round from the pooled optimum.

    Parameters
    ----------
    pooled
        The pooled optimum, two numbers.
    own
        Hospital -> its own optimum.
    share
        How much each hospital counts, ``[hospitals]``.
    ends
        Local steps -> where federated averaging comes to rest.
    walks
        Hospital -> (its way without correction, with correction), ``[steps + 1, 2]`` each.
    names
        Of the two numbers.
    """
    fig, (left, right) = figure(10.5, 4.2, ncols=2)
    path = np.array([np.asarray(at) for at in ends.values()])
    between = np.asarray(share) @ np.array([np.asarray(at) for at in own.values()])
    left.plot(path[:, 0], path[:, 1], "-D", color=PALETTE[3], markersize=6, label="averaging ends here")
    left.plot(*between, "X", color=PALETTE[5], markersize=12, label="mean of the hospitals' own optima")
    centre = path.mean(0)
    for steps, at in ends.items():  # away from the middle of the path, where there is room
        side = 1 if at[0] >= centre[0] else -1
        place = dict(xytext=(8 * side, 8), ha="left" if side > 0 else "right")
        left.annotate(f"{steps}", np.asarray(at), textcoords="offset points", fontsize=11, color="0.1", **place)
    left.set_title("where it ends, by local steps")
    for number, ((name, (plain, corrected)), dashes) in enumerate(zip(walks.items(), DASHES, strict=False)):
        color = PALETTE[number]
        right.plot(plain[:, 0], plain[:, 1], color=color, linestyle=dashes, linewidth=2, label=f"{name} walks")
        right.plot(*np.asarray(own[name]), MARKERS[number], color=color, markersize=10, label="its own optimum")
        look = dict(markersize=13 + 6 * number, fillstyle="none", markeredgewidth=1.8)
        right.plot(*corrected[-1], MARKERS[number], color=color, label="it stays, corrected", **look)
    right.set_title("one round, begun at the pooled optimum")
    for ax in (left, right):
        ax.plot(*np.asarray(pooled), "*", color=PALETTE[2], markersize=14, label="pooled optimum")
        ax.margins(0.12)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.55 * (high - low))
        ax.set(xlabel=names[0], ylabel=names[1])
        ax.legend(frameon=False, fontsize=9, loc="upper left", ncols=2 if ax is right else 1, markerscale=0.6)
    return fig


def bytes_and_auc(table: pd.DataFrame) -> Figure:
    """What fewer bytes cost: AUC minus that of full updates over the bytes of an uplink, with and without feedback.

    Parameters
    ----------
    table
        Columns way, feedback (bool), kB and change, a row for each run.
    """
    fig, ax = figure(8, 4)
    for number, (feedback, rows) in enumerate(table.groupby("feedback", sort=False)):
        by = rows.groupby("way", sort=False).agg(kB=("kB", "mean"), mean=("change", "mean"), sd=("change", "std"))
        label = "with error feedback" if feedback else "without"
        shift = 1.04 if feedback else 0.96  # marks of equal size stand beside each other
        look = dict(fmt=MARKERS[number], color=PALETTE[(0, 3)[number]], label=label, **_ARMS)
        ax.errorbar(by["kB"] * shift, by["mean"], yerr=by["sd"], **look)
    tops = table.groupby(["way", "feedback"], sort=False).agg(kB=("kB", "mean"), top=("change", "mean"))
    for (way, kB), one in tops.reset_index().groupby(["way", "kB"], sort=False):
        about = dict(xytext=(0, 12), textcoords="offset points", ha="center", fontsize=10)
        ax.annotate(way, (kB, max(one["top"].max(), 0)), **about)
    ax.axhline(0, color="0.4", linewidth=1)
    ax.set_xscale("log")
    low, high = table["kB"].min(), table["kB"].max()
    ticks = [t for t in (2, 5, 10, 20, 50, 100, 200, 500) if 0.7 * low <= t <= 1.4 * high]
    ax.set_xticks(ticks, [f"{t}" for t in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="kB up, all hospitals and rounds together", ylabel="AUC, minus 32 bits")
    ax.margins(x=0.12, y=0.18)
    ax.legend(frameon=False, loc="lower right")
    return fig


def beside_averaging(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], losses: pd.DataFrame) -> Figure:
    """AUC by round of a few settings, and each one's loss as trained and once each hospital refits an intercept.

    Parameters
    ----------
    curves
        Setting -> (rounds ``[n]``, AUC ``[n, runs]``).
    losses
        Columns setting, way and loss, a row for each run; empty while there are none yet.
    """
    fig, (left, right) = figure(10, 3.8, ncols=2)
    for (name, (x, values)), color, dashes in zip(curves.items(), PALETTE, DASHES, strict=False):
        mid = values.mean(1)
        low, high = within_shares(mid, values.std(1))
        band(left, x, low, mid, high, label=name, color=color, linestyle=dashes)
    left.set(xlabel="round (0 = untrained)", ylabel="AUC, all test patients")
    left.xaxis.get_major_locator().set_params(integer=True)
    left.legend(frameon=False, loc="lower right", handlelength=3)
    names = list(curves)
    ways = list(dict.fromkeys(losses["way"])) if len(losses) else []
    for number, name in enumerate(names):
        for place, way in enumerate(ways):
            values = losses.loc[(losses["setting"] == name) & (losses["way"] == way), "loss"]
            at = place + 0.14 * (2 * number - len(names) + 1)
            look = dict(fmt=MARKERS[number], color=PALETTE[number], label=name if not place else None, **_ARMS)
            right.errorbar(at, values.mean(), yerr=values.std() if len(values) > 1 else 0.0, **look)
    right.set_xticks(range(len(ways)), ways)
    right.set(xlim=(-0.6, max(len(ways), 1) - 0.4), ylabel="log loss (lower is better)")
    right.margins(y=0.25)
    right.set_ylim(bottom=max(right.get_ylim()[0], 0))
    return fig


def read_beside_averaging(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], losses: pd.DataFrame) -> str:
    """The sentence under `beside_averaging`, from the same tables: the last setting beside the first."""
    (first, (_, base)), *_, (name, (_, values)) = curves.items()
    said = f"After the last round {first} has AUC {base[-1].mean():.3f}"
    if name == first:
        return f"{said} ± {base[-1].std(ddof=1):.3f}."
    gain = values[-1] - base[-1]
    said += f", {name} {values[-1].mean():.3f}: {gain.mean():+.3f} ± {gain.std(ddof=1):.3f}, "
    said += f"better in {(gain > 0).sum()} of {len(gain)} splits."
    for way, rows in losses.groupby("way", sort=False):
        by = {n: rows.loc[rows["setting"] == n, "loss"].to_numpy() for n in (first, name)}
        change = by[name] - by[first]
        said += f" Log loss {way}: {change.mean():+.3f} ± {change.std(ddof=1):.3f}."
    return said

"""Figures of lesson 04: what a release gives away, what it may give away, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import within_shares
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure, level

WITHOUT, WITH = "0.45", PALETTE[3]
AUDITED = (WITH, PALETTE[0])


def leak(published: np.ndarray, read: np.ndarray, truth: np.ndarray, label: str) -> Figure:
    """Means published day by day, and what their differences say about the patient of each day.

    Parameters
    ----------
    published
        Means ``[days + 1]``.
    read, truth
        What a reader works out for each new patient, and what is in the record, ``[days]``.
    label
        What the values are, with their unit.
    """
    fig, (left, right) = figure(9.5, 3.7, ncols=2)
    left.step(np.arange(len(published)), published, where="post", color=PALETTE[0])
    left.set(xlabel="day (each day one patient more)", ylabel=label, title="the published mean")
    both = np.concatenate([read, truth])
    ends = [both.min() - 3, both.max() + 3]
    right.plot(ends, ends, color="0.5", linestyle="--")
    right.plot(truth, read, "o", color=WITH, alpha=0.7)
    right.set(xlabel=f"{label}, in the record", ylabel=f"{label}, worked out", title="the patient of the day")
    return fig


def lengths(kinds: Mapping[str, np.ndarray], label: str, *, limit: float) -> Figure:
    """Histograms of lengths on a logarithmic axis, the largest one of each marked.

    Parameters
    ----------
    kinds
        Name -> lengths ``[n]``.
    label
        What is long.
    limit
        The clip norm, to mark.
    """
    fig, ax = figure(7.5, 3.4)
    every = np.concatenate([np.asarray(v) for v in kinds.values()])
    bins = np.geomspace(max(every.min(), every.max() * 1e-4), every.max() * 1.2, 50)
    looks = zip((WITHOUT, PALETTE[0], WITH), ("///", "", "..."), MARKERS[2:], strict=False)
    for (name, values), (color, hatch, marker) in zip(kinds.items(), looks, strict=False):
        values = np.asarray(values)
        ax.hist(
            np.clip(values, bins[0], None), bins, color=color, alpha=0.55, label=name, hatch=hatch, edgecolor="white"
        )
        ax.plot([values.max()], [0], marker, color=color, markersize=9, clip_on=False, zorder=5)
    ax.axvline(limit, color="0.1", linestyle="--", label=f"clip norm {limit:g}")
    ax.set(xscale="log", xlabel=f"{label} (marks: the longest)", ylabel="patients")
    ax.legend(frameon=False)
    return fig


def attacker(
    without: np.ndarray,
    with_: np.ndarray,
    threshold: float,
    curve: tuple[np.ndarray, np.ndarray],
    *,
    epsilon: float,
    delta: float = 0.0,
    label: str = "published number",
) -> Figure:
    """The attacker's game: releases in both worlds with the threshold, and the trade-off with what is allowed.

    Parameters
    ----------
    without, with_
        Releases of many worlds without and with the patient, ``[games]``.
    threshold
        Accuse above it.
    curve
        False-alarm rates and detection rates that the mechanism allows at best, ``[n]`` each.
    epsilon, delta
        Of the promise; what lies above its lines is ruled out.
    label
        What is released.
    """
    fig, (left, right) = figure(9.5, 3.9, ncols=2)
    both = np.concatenate([without, with_])
    bins = np.linspace(*np.quantile(both, [0.005, 0.995]), 45)
    for values, color, hatch, name in ((without, WITHOUT, "///", "without her"), (with_, WITH, "", "with her")):
        look = dict(color=color, hatch=hatch, edgecolor="white", linewidth=0)
        left.hist(np.clip(values, bins[0], bins[-1]), bins, alpha=0.5, label=name, **look)
    left.axvline(threshold, color="0.1", linestyle="--", label="you accuse above")
    left.set(xlabel=label, ylabel="games")
    left.legend(frameon=False, fontsize=9)
    alarms = np.linspace(0, 1, 400)
    right.fill_between(alarms, _allowed(alarms, epsilon, delta), 1, color="0.85", label=f"ruled out by ε = {epsilon:g}")
    right.plot(*curve, color=PALETTE[0], label="best attack there is")
    right.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1, label="a coin")
    right.plot([(without > threshold).mean()], [(with_ > threshold).mean()], "o", color=WITH, markersize=9, label="you")
    right.set(xlabel="false alarms", ylabel="found, when she was there", xlim=(0, 1), ylim=(0, 1.005))
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


def tradeoff(curve: tuple[np.ndarray, np.ndarray], promises: Sequence[tuple[float, float]]) -> Figure:
    """One trade-off curve, and the straight lines of several (epsilon, delta) that all hold for it.

    Parameters
    ----------
    curve
        False-alarm rates and detection rates, ``[n]`` each.
    promises
        Pairs of epsilon and delta.
    """
    fig, ax = figure(6.5, 4.2)
    alarms = np.linspace(0, 1, 500)
    colors = (PALETTE[2], PALETTE[1], PALETTE[4], PALETTE[6])
    for (epsilon, delta), color, dashes in zip(promises, colors, DASHES[1:], strict=False):
        name = f"ε = {epsilon:.2f}, δ = {delta:g}"
        ax.plot(alarms, _allowed(alarms, epsilon, delta), color=color, linestyle=dashes, label=name)
    ax.plot(*curve, color=PALETTE[0], linewidth=2.5, label="best attack on this release")
    ax.set(xlabel="false alarms", ylabel="found, when she was there", xlim=(0, 1), ylim=(0, 1.005))
    ax.legend(frameon=False, loc="lower right")
    return fig


def budget(spent: Mapping[str, Mapping[str, float]]) -> Figure:
    """Epsilon of each hospital's patients, a bar for each way to count.

    Parameters
    ----------
    spent
        Name of the way to count -> hospital -> epsilon.
    """
    hospitals = list(next(iter(spent.values())))
    fig, ax = figure(7.5, 0.5 * len(hospitals) + 1.5)
    rows = np.arange(len(hospitals))[::-1]
    height = 0.8 / len(spent)
    for k, ((name, values), color) in enumerate(zip(spent.items(), (PALETTE[0], WITH), strict=False)):
        at = rows + height * ((len(spent) - 1) / 2 - k)
        bars = ax.barh(at, [values[h] for h in hospitals], height, color=color, label=name)
        ax.bar_label(bars, fmt=" %.2f", fontsize=9)
    ax.set_yticks(rows, hospitals)
    ax.set_xlabel("ε of a patient there")
    ax.margins(x=0.12)
    fig.legend(loc="outside upper center", ncols=2, frameon=False)
    return fig


def privacy_loss(losses: Mapping[str, np.ndarray], epsilon: float) -> Figure:
    """What trainings gave away: how much more likely the record is than a blank, for whoever saw all of it.

    Parameters
    ----------
    losses
        Which world -> privacy losses of trainings in it, ``[trainings]``: logarithms of the odds.
    epsilon
        Of the promise, to mark on both sides.
    """
    fig, ax = figure(7.5, 3.6)
    most = 1.25 * max(epsilon, *(np.abs(values).max() for values in losses.values()))
    bins = np.linspace(-most, most, 90)
    looks = (dict(color=WITHOUT, hatch="///"), dict(color=WITH, hatch=None))
    for (name, values), look in zip(losses.items(), looks, strict=False):
        ax.hist(values, bins, alpha=0.5, label=name, edgecolor="white", linewidth=0, **look)
    for side in (-epsilon, epsilon):
        ax.axvline(side, color="0.1", linestyle="--", label=f"± ε = {epsilon:g}" if side > 0 else None)
    ax.set(xlabel="privacy loss of a training (0: seen, nothing learnt)", ylabel="trainings")
    fig.legend(loc="outside upper center", ncols=3, frameon=False)
    return fig


def privacy_utility(
    panels: Mapping[str, Mapping[str, tuple]],
    lines: Mapping[str, Mapping[str, float]] | None = None,
    *,
    mark: float | None = None,
) -> Figure:
    """Measures between 0 and 1 over epsilon, a panel each; bands are one standard deviation over runs.

    Parameters
    ----------
    panels
        Label of the vertical axis -> name of the curve -> (epsilons ``[n]``, values ``[n, runs]``).
    lines
        Label of the vertical axis -> name -> height of a horizontal line, best possible, pooled and local-only in turn.
    mark
        An epsilon to point at.
    """
    fig, axes = figure(max(4.8 * len(panels), 6.5), 4.1, ncols=len(panels))
    for ax, (ylabel, curves) in zip(np.atleast_1d(axes), panels.items(), strict=True):
        colors = (PALETTE[0], WITH, *PALETTE[4:])
        for (name, (x, values)), color, marker in zip(curves.items(), colors, MARKERS, strict=False):
            mid, spread = np.mean(values, axis=1), np.std(values, axis=1)
            low, high = within_shares(mid, spread)
            band(ax, x, low, mid, high, label=name, color=color, marker=marker)
        for name, height in (lines or {}).get(ylabel, {}).items():
            level(ax, height, name)
        if mark is not None:
            ax.axvline(mark, color="0.3", linestyle=":", linewidth=1)
        ax.set(xscale="log", xlabel="ε of one run released alone (small: private)", ylabel=ylabel)
        ax.minorticks_off()
        ticks = sorted({float(v) for x, _ in curves.values() for v in x})
        ax.set_xticks(ticks, [f"{v:g}" for v in ticks])
    # one legend for all panels: a curve that is in several of them is named once
    handles = {label: h for ax in np.atleast_1d(axes) for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return fig


def groups(tables: Mapping[str, Mapping[str, np.ndarray]], settings: Sequence[str], label: str) -> Figure:
    """A measure between 0 and 1 by group, as the setting changes: one panel for each way of grouping.

    Parameters
    ----------
    tables
        Grouping -> group -> values ``[settings, runs]``.
    settings
        What is written below the marks.
    label
        The measure.
    """
    fig, axes = figure(3.6 * len(tables), 3.9, ncols=len(tables))
    at = np.arange(len(settings))
    for ax, (title, rows) in zip(np.atleast_1d(axes), tables.items(), strict=True):
        for (name, values), color, marker in zip(rows.items(), PALETTE, MARKERS, strict=False):
            mid, spread = values.mean(1), values.std(1)
            low, high = within_shares(mid, spread)
            band(ax, at, low, mid, high, label=name, color=color, marker=marker)
        ax.set_xticks(at, settings, fontsize=9)
        ax.set(xlabel="ε", title=title)
        ax.legend(frameon=False, fontsize=8)
    low = min(ax.get_ylim()[0] for ax in np.atleast_1d(axes))
    high = max(ax.get_ylim()[1] for ax in np.atleast_1d(axes))
    for ax in np.atleast_1d(axes):
        ax.set_ylim(low, high)
    np.atleast_1d(axes)[0].set_ylabel(label)
    return fig


def audit(found: Mapping[str, object], claim: float, delta: float) -> Figure:
    """What an attacker reached beside what a claim rules out, and what that proves about epsilon.

    Parameters
    ----------
    found
        Name -> what `audit.epsilon_lower_bound` returned.
    claim, delta
        The promise that is audited.
    """
    fig, (left, right) = figure(9.5, 3.8, ncols=2)
    _draw_reached(left, found, claim, delta)
    _draw_proven(right, found, claim)
    return fig


def _draw_reached(ax: Axes, found: Mapping[str, object], claim: float, delta: float) -> None:
    """The attacker's ROC curves, and the area that the claim rules out."""
    alarms = np.linspace(0, 1, 400)
    ax.fill_between(alarms, _allowed(alarms, claim, delta), 1, color="0.85", label=f"ruled out by ε = {claim:g}")
    for (name, one), color, dashes in zip(found.items(), AUDITED, DASHES, strict=False):
        ax.plot(*one.roc.T, color=color, linestyle=dashes, drawstyle="steps-post", linewidth=2, label=name)
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--", linewidth=1)
    ax.set(xlabel="false alarms (FPR)", ylabel="canaries found (TPR)", xlim=(-0.01, 1), ylim=(0, 1.01))
    ax.legend(loc="lower right", fontsize=9)


def _draw_proven(ax: Axes, found: Mapping[str, object], claim: float) -> None:
    """Lower bounds of epsilon as bars, beside the claim and the most that could have been proven."""
    ceiling = max(one.ceiling for one in found.values())
    for k, (one, color) in enumerate(zip(found.values(), AUDITED, strict=False)):
        ax.barh(k, one.lower, color=color, height=0.5)
        where = dict(ha="right", color="white")
        if one.lower <= 0.3 * ceiling:  # no room for the number in so short a bar; beside it may be the claim's line
            where = dict(ha="left", color="0.15", bbox=dict(facecolor="white", edgecolor="none", pad=0))
        ax.text(one.lower, k, f" {one.lower:.2f} ", va="center", fontsize=11, **where)
    ax.axvline(claim, color="0.15", linestyle="--", label=f"claimed: at most {claim:g}")
    ax.axvline(ceiling, color="0.5", linestyle=":", label="most that so many models can prove")
    ax.set_yticks(range(len(found)), list(found))
    ax.set(xlabel="proven: ε is at least", xlim=(0, 1.2 * max(ceiling, claim)))
    ax.set_ylim(max(len(found), 2) + 0.1, -0.5)
    ax.legend(loc="lower right", fontsize=9, framealpha=1)


def _allowed(alarms: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """The highest detection rate that (epsilon, delta) allows at each false-alarm rate."""
    # one line for a patient who joins, one for a patient who leaves; the promise has to hold both ways
    above = np.minimum(np.exp(epsilon) * alarms + delta, 1 - np.exp(-epsilon) * (1 - delta - alarms))
    return np.clip(above, 0, 1)

"""Figures of lesson 02: made values beside real ones, and what a synthetic table is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.style import MARKERS, PALETTE, figure

REAL, MADE = "0.55", PALETTE[3]


def made_values(real: np.ndarray, made: Mapping[str, np.ndarray], label: str) -> Figure:
    """Small histograms of made values, each over the real ones.

    Parameters
    ----------
    real
        Values ``[n]``.
    made
        Title -> values ``[m]``.
    label
        What the values are, with their unit.
    """
    ncols = 3  # panels in a row
    nrows = -(-len(made) // ncols)
    fig, axes = figure(3 * ncols, 0.7 + 1.75 * nrows, ncols=ncols, nrows=nrows)
    axes, bins = np.atleast_2d(axes), _bins(real)
    for ax, (title, values) in zip(axes.flat, made.items(), strict=False):
        _over(ax, real, values, bins)
        ax.set_title(title, fontsize=10)
        ax.set_yticks([])
    for ax in axes.flat[len(made) :]:
        ax.axis("off")
    fig.supxlabel(label, fontsize=11)
    axes.flat[0].legend(frameon=False, fontsize=9)
    return fig


def game(real: np.ndarray, made: np.ndarray, belief: tuple, losses: np.ndarray, label: str) -> Figure:
    """A round of the game: made values over real ones, what the discriminator believes, and both losses.

    Parameters
    ----------
    real, made
        Values ``[n]`` and ``[m]``.
    belief
        Of the discriminator: values ``[k]``, and the probability ``[k]`` that it gives each of being real.
    losses
        Of generator and discriminator, ``[steps, 2]``.
    label
        What the values are, with their unit.
    """
    fig, (left, right) = figure(9.5, 3.6, ncols=2)
    _over(left, real, made, _bins(real))
    left.set(xlabel=label, yticks=[], title="What the generator makes")
    twin = left.twinx()
    twin.plot(*belief, color=PALETTE[0], linewidth=2)
    twin.set(ylim=(0, 1.05), ylabel="discriminator: D(x)")
    twin.yaxis.label.set_color(PALETTE[0])
    twin.tick_params(length=0, labelsize=10, colors=PALETTE[0])
    twin.spines[:].set_visible(False)
    left.legend(frameon=False, fontsize=9)
    step = np.arange(1, len(losses) + 1)
    # where D(x) = 1/2 everywhere: -log(1/2) for the generator, twice that for the discriminator's two tables
    players = (("generator", MADE, np.log(2)), ("discriminator", PALETTE[0], np.log(4)))
    for loss, (name, color, ideal), marker in zip(losses.T, players, MARKERS, strict=False):
        some = max(1, len(step) // 8)
        right.plot(step, loss, color=color, linewidth=0.9, label=name, marker=marker, markevery=some, markersize=5)
        right.axhline(ideal, color=color, linestyle="--", linewidth=1)
    right.set(xlabel="step", title="Losses (dashed: if nobody could tell)", ylim=(0, 3))
    right.legend(frameon=False, fontsize=9)
    return fig


def columns(real: pd.DataFrame, synthetic: pd.DataFrame, names: Sequence[str], labels: Sequence[str]) -> Figure:
    """Columns of a synthetic table over those of the real one: histograms, or bars of categories.

    Parameters
    ----------
    real, synthetic
        Tables with the columns `names`.
    names, labels
        Which columns, and what to write below them.
    """
    fig, axes = figure(2.9 * len(names), 2.9, ncols=len(names))
    for ax, name, label in zip(np.atleast_1d(axes), names, labels, strict=True):
        a, b = real[name].dropna(), synthetic[name].dropna()
        if pd.api.types.is_numeric_dtype(a) and a.nunique() > 6:
            _over(ax, a, b, _bins(a))
        else:
            shares = pd.DataFrame({"real": a.value_counts(normalize=True), "made": b.value_counts(normalize=True)})
            at = np.arange(len(shares))
            for shift, (kind, color) in zip((-0.2, 0.2), (("real", REAL), ("made", MADE)), strict=True):
                ax.bar(at + shift, shares[kind].fillna(0), 0.4, color=color, label=kind, alpha=0.8)
            ax.set_xticks(at, [str(value) for value in shares.index])
        ax.set(xlabel=label, yticks=[])
    np.atleast_1d(axes)[0].legend(frameon=False, fontsize=9)
    return fig


def worth(real: pd.DataFrame, synthetic: pd.DataFrame, column: str, scores: pd.DataFrame, ceiling: float) -> Figure:
    """A column of the table being made, and how the score of training on it moves with the steps.

    Parameters
    ----------
    real, synthetic
        Tables with `column`.
    column
        Which one to draw.
    scores
        Columns step and score, of models trained on synthetic rows.
    ceiling
        The score of a model trained on real rows.
    """
    fig, (left, right) = figure(9.5, 3.5, ncols=2)
    a, b = real[column].dropna(), synthetic[column].dropna()
    _over(left, a, b, _bins(a))
    left.set(xlabel=column.replace("_", " "), yticks=[])
    left.legend(frameon=False, fontsize=9)
    right.plot(scores["step"], scores["score"], "o-", color=MADE, label="trained on synthetic rows")
    right.axhline(ceiling, color=REAL, linestyle="--", label="trained on real rows")
    right.axhline(0.5, color="0.8", linewidth=1)
    right.set(xlabel="steps of the generator", ylabel="score on unseen real patients")
    right.set_ylim(min(0.45, scores["score"].min() - 0.03), max(ceiling, scores["score"].max()) + 0.05)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


def fidelity(reports: Mapping[str, pd.DataFrame], measures: Sequence[str]) -> Figure:
    """Measures of several synthetic tables beside what as many real rows get.

    Parameters
    ----------
    reports
        Name -> what `fidelity.report` returned.
    measures
        Which of its rows, from top to bottom.
    """
    fig, ax = figure(8.2, 0.42 * len(measures) + 1.4)
    rows = np.arange(len(measures))[::-1]
    shifts = (np.arange(len(reports)) - (len(reports) - 1) / 2) * 0.16
    tables = {name: report.set_index("measure").loc[list(measures)] for name, report in reports.items()}
    first = next(iter(tables.values()))
    ax.plot(first["reference"], rows, "|", color="0.2", markersize=22, markeredgewidth=2, label="real rows")
    colors = (MADE, PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[1], PALETTE[6])  # MADE is PALETTE[3]
    for (name, table), shift, color, marker in zip(tables.items(), shifts, colors, MARKERS, strict=False):
        ax.plot(table["value"], rows - shift, marker, color=color, label=name)
    arrow = {"lower": "(left is better)", "higher": "(right is better)", "neither": "(a diagnostic)"}
    ax.set_yticks(rows, [f"{m} {arrow[b]}" for m, b in zip(measures, first["better"], strict=True)])
    ax.set(xlim=(-0.03, 1.08), ylim=(-0.6, len(measures) - 0.4), xlabel="value")
    fig.legend(loc="outside upper center", ncols=len(reports) + 1, frameon=False)
    return fig


def distances(members: np.ndarray, others: np.ndarray, label: str) -> Figure:
    """How close the closest synthetic row is, for patients that the generator saw and for others.

    Parameters
    ----------
    members, others
        Distance of each patient to the closest row, ``[n]`` and ``[m]``.
    label
        What the distance is, with its unit.
    """
    fig, ax = figure(7, 3.2)
    bins = np.linspace(0, np.quantile(np.concatenate([members, others]), 0.99), 31)
    for values, color, name in ((members, MADE, "in the training rows"), (others, REAL, "not in them")):
        ax.hist(values, bins, color=color, alpha=0.55, density=True, label=name)
    ax.set(xlabel=label, yticks=[])
    ax.legend(frameon=False)
    return fig


def _bins(values) -> np.ndarray:
    """Fifty bins over the real values and a margin, where made ones may land; whole numbers get whole bins."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = 0.15 * (high - low) or 1.0
    if np.all(np.asarray(values) == np.round(values)):
        width = max(1, round((high - low) / 40))  # edges half way between whole numbers, so that no bar is split
        return np.arange(low - 0.5 - width * round(margin / width), high + margin + width, width)
    return np.linspace(low - margin, high + margin, 51)


def _over(ax: Axes, real, made, bins: np.ndarray) -> None:
    """A histogram of made values as a line over that of the real ones."""
    made = np.clip(made, bins[0], bins[-1])  # what lies outside is seen at the edge
    ax.hist(real, bins, color=REAL, alpha=0.5, density=True, label="real")
    ax.hist(made, bins, color=MADE, density=True, histtype="step", linewidth=1.6, label="made")

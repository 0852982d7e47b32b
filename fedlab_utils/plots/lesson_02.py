"""Figures of lesson 02: made values beside real ones, and what a synthetic table is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import rel_entr

from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, figure

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
    fig.supylabel("patients", fontsize=11)
    for ax in axes.flat[len(made) :]:
        ax.axis("off")
    fig.supxlabel(label, fontsize=11)
    axes.flat[0].legend(frameon=False, fontsize=9)
    return fig


def game(real: np.ndarray, made: np.ndarray, belief: tuple, losses: np.ndarray, label: str) -> Figure:
    """A round of the game: made values over real ones, what the discriminator believes, and both losses.

    Beside them, dashed, what the best discriminator would believe and what its loss would be, see `best`.

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
    fig, (left, right) = figure(9.5, 3.8, ncols=2)
    bins = _bins(real)
    _over(left, real, made, bins)
    left.set(xlabel=label, ylabel="patients", yticks=[], title="What the generator makes")
    twin = left.twinx()
    probability, lowest = best(real, made, bins[::2])
    twin.plot(*belief, color=PALETTE[0], linewidth=2, label="D")
    twin.stairs(probability, bins[::2], color="0.15", baseline=None, linestyle=DASHES[1], label="the best D")
    twin.set(ylim=(0, 1.05), ylabel="probability of being real")
    twin.yaxis.label.set_color(PALETTE[0])
    twin.tick_params(length=0, labelsize=10, colors=PALETTE[0])
    twin.spines[:].set_visible(False)
    step = np.arange(1, len(losses) + 1)
    # where D(x) = 1/2 everywhere: -log(1/2) for the generator, twice that for the discriminator's two tables
    players = (("generator", MADE, "log 2", np.log(2)), ("discriminator", PALETTE[0], "log 4", np.log(4)))
    for loss, (name, color, text, ideal), marker in zip(losses.T, players, MARKERS, strict=False):
        some = max(1, len(step) // 8)
        right.plot(step, loss, color=color, linewidth=0.9, label=name, marker=marker, markevery=some, markersize=5)
        right.axhline(ideal, color=color, linestyle=DASHES[2], linewidth=1.4)
        right.text(1.01, ideal, text, color=color, va="center", transform=right.get_yaxis_transform())
    right.axhline(lowest, color="0.15", linestyle=DASHES[1], label=f"the best D: {lowest:.2f}")
    right.set(xlabel="step", ylabel="loss", title="Losses (dotted: if nobody could tell)", ylim=(0, 3))
    parts = [ax.get_legend_handles_labels() for ax in (left, twin)]
    fig.legend(*(a + b for a, b in zip(*parts, strict=True)), loc="outside lower left", ncols=4, frameon=False)
    right.legend(frameon=False, fontsize=9)
    return fig


def best(real: np.ndarray, made: np.ndarray, bins: np.ndarray) -> tuple[np.ndarray, float]:
    """The best possible discriminator of two histograms.

    Parameters
    ----------
    real, made
        Values ``[n]`` and ``[m]``; those outside of the bins count in the first or last.
    bins
        Edges ``[k + 1]``, rising.

    Returns
    -------
    array
        Its probability ``[k]`` that a value of each bin is real; NaN where there is none at all.
    float
        Its loss: 0 if it is always right, log 4 if it has to guess everywhere.
    """
    share = [np.histogram(np.clip(v, bins[0], bins[-1]), bins)[0] / len(v) for v in (real, made)]
    total = share[0] + share[1]
    probability = np.divide(share[0], total, out=np.full(len(total), np.nan), where=total > 0)
    return probability, float(-sum(rel_entr(p, total).sum() for p in share))


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
                filled = {"color": color, "alpha": 0.5} if kind == "real" else {"fill": False, "edgecolor": color}
                ax.bar(at + shift, shares[kind].fillna(0), 0.4, label=kind, linewidth=1.6, **filled)
            ax.set_xticks(at, [str(value) for value in shares.index])
        ax.set(xlabel=label, yticks=[])
    np.atleast_1d(axes)[0].set_ylabel("patients")
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
    left.set(xlabel=column.replace("_", " "), ylabel="patients", yticks=[])
    left.legend(frameon=False, fontsize=9)
    right.plot(scores["step"], scores["score"], "o-", color=MADE, label="trained on synthetic rows")
    right.axhline(ceiling, color=REAL, linestyle="--", label="trained on real rows")
    right.axhline(0.5, color="0.8", linewidth=1)
    right.set(xlabel="steps of the generator", ylabel="score on unseen real patients")
    right.set_ylim(min(0.45, scores["score"].min() - 0.03), max(ceiling, scores["score"].max()) + 0.05)
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


def fidelity(reports: Mapping[str, Sequence[pd.DataFrame]], measures: Sequence[str]) -> Figure:
    """Measures of several synthetic tables beside what as many real rows get.

    Parameters
    ----------
    reports
        Name -> what `fidelity.report` returned for each table of this kind; their mean is marked, with a line from the
        lowest to the highest.
    measures
        Which of its rows, from top to bottom.
    """
    fig, ax = figure(8.2, 0.46 * len(measures) + 1.4)
    rows = np.arange(len(measures))[::-1]
    shifts = (np.arange(len(reports)) - (len(reports) - 1) / 2) * 0.2
    tables = {name: [one.set_index("measure").loc[list(measures)] for one in some] for name, some in reports.items()}
    first = next(iter(tables.values()))[0]
    ax.plot(first["reference"], rows, "|", color="0.2", markersize=24, markeredgewidth=2, label="real rows")
    colors = (MADE, PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[1], PALETTE[6])  # MADE is PALETTE[3]
    for (name, some), shift, color, marker in zip(tables.items(), shifts, colors, MARKERS, strict=False):
        values = np.stack([table["value"].to_numpy(float) for table in some])
        ax.hlines(rows - shift, values.min(0), values.max(0), color=color, linewidth=2)
        ax.plot(values.mean(0), rows - shift, marker, color=color, label=name)
    arrow = {"lower": "(left is better)", "higher": "(right is better)", "neither": "(a diagnostic)"}
    ax.set_yticks(rows, [f"{m} {arrow[b]}" for m, b in zip(measures, first["better"], strict=True)])
    ax.set(xlim=(-0.03, 1.08), ylim=(-0.6, len(measures) - 0.4), xlabel="value")
    fig.legend(loc="outside upper center", ncols=len(reports) + 1, frameon=False)
    return fig


def use_and_leak(worlds: pd.DataFrame, levels: Mapping[str, float]) -> Figure:
    """A map of ways to make a table: what it is worth for training, against how well members are told from others.

    Parameters
    ----------
    worlds
        A row for each table, or set of tables, that was made: kind, auc (of a model trained on it), leak (AUC of the
        membership test) and spread (standard deviation of `auc` over hospitals, may be missing).
    levels
        Name -> AUC of models trained on real rows, as horizontal lines.
    """
    fig, ax = figure(7.5, 4.8)
    for (kind, some), color, marker in zip(worlds.groupby("kind", sort=False), PALETTE, MARKERS, strict=False):
        style = dict(color=color, markersize=9, mfc="none", mew=2, elinewidth=1.2, linestyle="none")  # seen through
        ax.errorbar(some["leak"], some["auc"], yerr=some["spread"], fmt=marker, label=kind, **style)
    ax.axvline(0.5, color="0.3", linestyle=DASHES[1], linewidth=1.2)
    for (name, value), dashes in zip(levels.items(), DASHES[2:], strict=False):
        ax.axhline(value, color="0.3", linestyle=dashes, linewidth=1.4, label=name)
    ax.set(xlim=(0.47, 1.03), xlabel="leak: AUC of the membership test (.5 is a coin, 1 gives everybody away)")
    ax.set_ylabel("use: AUC on unseen real patients")
    fig.legend(loc="outside upper center", ncols=3, frameon=False)
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
    ax.hist(others, bins, color=REAL, alpha=0.5, density=True, histtype="stepfilled", label="not in them")
    look = dict(histtype="step", linewidth=2, hatch="//")
    ax.hist(members, bins, color=MADE, density=True, label="in the training rows", **look)
    ax.set(xlabel=label, ylabel="patients", yticks=[])
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
    ax.hist(real, bins, color=REAL, alpha=0.5, density=True, histtype="stepfilled", label="real")
    ax.hist(made, bins, color=MADE, density=True, histtype="step", linewidth=1.6, label="made")

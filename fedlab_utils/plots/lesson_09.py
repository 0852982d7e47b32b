"""Figures of lesson 09: patients as cards, who is in which neuron, readings cell by cell, noise and its bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

from fedlab_utils.plots.shared import within_shares
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure, sheet, tinted

if TYPE_CHECKING:
    from fedlab_utils.data import Federation

_VALUES = LinearSegmentedColormap.from_list("values", [PALETTE[0], "white", PALETTE[3]])
_ROWS = 16  # more patients than this cannot be told apart on a screen


def cards(federation: Federation, guesses: Sequence, *, columns: int = 4) -> Figure:
    """A card for each patient: filled with what was read, or ghosted where nothing was.

    Parameters
    ----------
    federation
        Knows what the columns mean, and their means and spreads.
    guesses
        For each patient the row that was read, ``[d]`` on the agreed scale, or None.
    columns
        Cards side by side.
    """
    rows = -(-len(guesses) // columns)
    fig, ax = sheet(2.35 * columns, 1.75 * rows)
    for number, guess in enumerate(guesses):
        x, y = 2.35 * (number % columns) + 0.08, 1.75 * (number // columns) + 0.08
        read = guess is not None
        color = PALETTE[3] if read else PALETTE[7]
        look = dict(edgecolor=color, facecolor=tinted(color, 0.12) if read else "white", linewidth=1.8)
        look["linestyle"] = "-" if read else (0, (3, 2))
        ax.add_patch(FancyBboxPatch((x, y), 2.19, 1.59, boxstyle="round,pad=0,rounding_size=0.08", **look))
        ax.text(x + 0.1, y + 0.12, f"patient {number + 1}", va="top", fontsize=11, weight="bold", color=color)
        if read:
            ax.text(x + 0.1, y + 0.4, "\n".join(_said(federation, guess)), va="top", fontsize=10, linespacing=1.25)
        else:
            ax.text(x + 1.1, y + 0.9, "?", ha="center", va="center", fontsize=30, color="0.75")
    return fig


def _said(federation: Federation, row) -> list[str]:
    """A row in clinical units, two columns of the table in a line."""
    numbers, kinds = federation.agreed.means, {}
    for name, value in zip(federation.feature_names, np.asarray(row, dtype=float), strict=True):
        if name in numbers:
            kinds[name] = f"{value * federation.agreed.sds[name] + numbers[name]:.0f}"
        else:  # name and level of a category: the likeliest level is shown
            column, _, level = name.rpartition("_")
            levels = sum(n.rpartition("_")[0] == column for n in federation.feature_names)
            kinds[column] = max(kinds.get(column, (0.5, "no" if levels == 1 else "?")), (value, level))
    said = {column: v if isinstance(v, str) else v[1] for column, v in kinds.items()}
    short = {"systolic_bp": "bp", "total_cholesterol": "chol", "bp_treated": "treated", "smoker": "smoked"}
    if "sex" in said:
        said["sex"] = {"no": "female"}.get(said["sex"], said["sex"])
    words = [f"{short.get(column, column)} {value}" for column, value in said.items()]
    return [", ".join(words[at : at + 2]) for at in range(0, len(words), 2)]


def who_is_inside(fired, neurons: Sequence[int], pair: tuple[int, int]) -> Figure:
    """For some neurons the patients in their sums, as stacks of blocks; and the difference of two of them.

    Parameters
    ----------
    fired
        Whether a neuron fired for a patient, ``[neurons, patients]``.
    neurons
        Which of them to draw.
    pair
        Two of these, whose sums differ by one patient.
    """
    fired = np.asarray(fired, dtype=bool)
    fig, ax = figure(9, 3.6)
    stacks = [(f"neuron {j}", np.flatnonzero(fired[j])) for j in neurons]
    stacks += [(f"{pair[0]} minus {pair[1]}", np.flatnonzero(fired[pair[0]] & ~fired[pair[1]]))]
    for place, (_, inside) in enumerate(stacks):
        at = place + 0.6 * (place == len(stacks) - 1)
        for height, patient in enumerate(inside):
            color = PALETTE[patient % len(PALETTE)]
            ax.add_patch(Rectangle((at - 0.38, height), 0.76, 1, facecolor=tinted(color, 0.35), edgecolor=color))
            ax.text(at, height + 0.5, f"{patient + 1}", ha="center", va="center", fontsize=12, color="0.1")
    places = [*range(len(neurons)), len(neurons) + 0.6]
    ax.set_xticks(places, [name for name, _ in stacks], fontsize=11)
    for label, (name, _) in zip(ax.get_xticklabels(), stacks, strict=True):
        if name in {f"neuron {j}" for j in pair} or "minus" in name:
            label.set_weight("bold")
    ax.axvline(len(neurons) - 0.2, color="0.4", linewidth=1)
    ax.set(xlim=(-0.6, places[-1] + 0.6), ylim=(0, fired[list(neurons)].sum(1).max() + 0.4))
    ax.set_ylabel("patients in the sum, by number")
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.grid(False)
    return fig


def noise_and_reading(
    sigmas: Sequence[float],
    right: Mapping[str, np.ndarray],
    whole: Mapping[str, np.ndarray],
    *,
    blind: tuple[float, float],
    bound: Sequence[float],
) -> Figure:
    """What attackers read under noise: shares of fields, and patients read whole below what the noise allows.

    Parameters
    ----------
    sigmas
        Noise in clip norms, ``[n]``.
    right, whole
        Attacker -> for each patient the share of fields that are right, and whether all are, ``[n, patients]``.
    blind
        Share of fields right, and of patients read whole, by who sees nothing.
    bound
        Largest share of patients read whole that the noise allows, ``[n]``.
    """
    fig, axes = figure(10.5, 3.9, ncols=2)
    for ax, shares, level in zip(axes, (right, whole), blind, strict=True):
        for (name, values), color, dashes, marker in zip(shares.items(), PALETTE, DASHES, MARKERS, strict=False):
            mid, error = values.mean(1), values.std(1) / values.shape[1] ** 0.5
            low, high = within_shares(mid, 2 * error)
            band(ax, sigmas, low, mid, high, label=name, color=color, linestyle=dashes, marker=marker)
        ax.axhline(level, color="0.35", linestyle=DASHES[2], label="who sees nothing")
        ax.set_xscale("log")
        ax.set_xticks(list(sigmas), [f"{s:g}" for s in sigmas])
        ax.set_xticks([], minor=True)
        ax.set(xlabel="noise (clip norms)", ylim=(-0.03, 1.03))
    axes[1].plot(
        sigmas, bound, color=PALETTE[4], linestyle=DASHES[4], marker=MARKERS[3], label="bound: nobody reads more"
    )
    axes[0].set_ylabel("share of fields right")
    axes[1].set_ylabel("share of patients read whole")
    tight = dict(handlelength=2.6, columnspacing=1.2, fontsize=10)
    fig.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False, **tight)
    return fig


def cell_by_cell(truth, reading, right, names: Sequence[str]) -> Figure:
    """Patients of a step beside what was read of them: a line for each, a square for each column.

    Parameters
    ----------
    truth, reading
        ``[n, d]``; a row of NaN where nothing was read.
    right
        Which patients were read whole, ``[n]``.
    names
        Of the columns.
    """
    truth, reading = (np.asarray(t, dtype=float)[:_ROWS] for t in (truth, reading))
    fig, axes = figure(9.5, 1.6 + 0.21 * len(truth), ncols=2)
    for ax, values, title in zip(axes, (truth, reading), ("patients", "read from the update"), strict=True):
        _squares(ax, values, names)
        ax.set_title(title)
    whole = np.asarray(right, dtype=bool)[:_ROWS]
    axes[1].set_yticks(range(len(truth)), ["whole" if w else "" for w in whole], fontsize=10)
    for row in np.flatnonzero(np.isnan(reading).all(1)):
        axes[1].text(len(names) / 2 - 0.5, row, "nothing", ha="center", va="center", fontsize=8, color="0.45")
    return fig


def _squares(ax: Axes, values: np.ndarray, names: Sequence[str]) -> None:
    ax.imshow(values, cmap=_VALUES, vmin=-2, vmax=2, aspect="auto", interpolation="nearest")
    ax.set_xticks(range(len(names)), [n.replace("_", " ") for n in names], rotation=45, ha="right", fontsize=9)
    ax.set_yticks(range(len(values)), [f"{k + 1}" for k in range(len(values))], fontsize=9)
    ax.grid(False)

"""Figures of more than one lesson: models by hospital, estimates with intervals, who sees what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedlab_utils.plots.style import MARKERS, PALETTE, figure

_SHARES = ("auc", "accuracy", "missed", "flagged")
_LEVELS = (PALETTE[3], PALETTE[1], PALETTE[7], PALETTE[0], PALETTE[2])  # from the most telling to the least


def last_round(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of a history after the last round of each setting."""
    ends = history.groupby("setting")["round"].transform("max") if "setting" in history else history["round"].max()
    return history[history["round"] == ends]


def by_hospital(
    table: pd.DataFrame, kinds: Sequence[str], *, metric: str = "auc", label: str = "AUC on own test patients"
) -> Figure:
    """One line a hospital, one mark for each kind of model: mean and standard deviation over seeds.

    Parameters
    ----------
    table
        Columns hospital, seed, `metric`, and baseline or setting; one row for each of them.
    kinds
        Which baselines or settings, in the order of the legend.
    metric
        Column to draw.
    label
        What it is, with its unit.
    """
    refuse_nothing(table[metric])
    kind = "setting" if "setting" in table else "baseline"
    everybody = list(dict.fromkeys(table["hospital"]))
    hospitals = everybody[:15]  # a taller picture leaves the screen
    fig, ax = figure(7.5, 0.5 * len(hospitals) + 1.3)
    rows = np.arange(len(hospitals))[::-1]
    for name, shift, color, marker in zip(kinds, apart(len(kinds)), PALETTE, MARKERS, strict=False):
        values = table[table[kind] == name].groupby("hospital")[metric].agg(["mean", "std"]).reindex(hospitals)
        style = dict(fmt=marker, color=color, capsize=3, label=name)
        ax.errorbar(values["mean"], rows - shift, xerr=arms(values, metric), **style)
    if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
        ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(rows, ["all patients" if h == "all" else short(h) for h in hospitals])
    ax.set_ylim(-0.6, len(hospitals) - 0.4)
    if len(hospitals) < len(everybody):
        ax.set_title(f"the first {len(hospitals)} of {len(everybody)}")
    ax.set_xlabel(f"{label} (mean ± standard deviation over {table['seed'].nunique()} runs)")
    fig.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    return fig


def intervals(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    truth: Mapping[str, float] | None = None,
    xlabel: str | Mapping[str, str] = "",
) -> Figure:
    """Estimates with their intervals, a row each; one panel for each question.

    Parameters
    ----------
    panels
        Title -> name of the estimate -> (value, half the length of its interval).
    truth
        Title -> value for a vertical line.
    xlabel
        For all panels, which then share their axis, or by title.
    """
    rows = max(len(panel) for panel in panels.values())
    fig, axes = figure(1.5 + 3 * len(panels), 1.5 + 0.42 * rows, ncols=len(panels))
    axes = np.atleast_1d(axes)
    if isinstance(xlabel, str):
        for ax in axes[1:]:
            ax.sharex(axes[0])
    for number, ((title, panel), ax) in enumerate(zip(panels.items(), axes, strict=True)):
        for row, (value, half) in enumerate(panel.values()):
            ax.errorbar(value, -row, xerr=half, fmt=MARKERS[row % 8], color=PALETTE[row % 8], capsize=4, linewidth=2)
        ax.set_yticks([-k for k in range(len(panel))], list(panel) if number == 0 else [""] * len(panel))
        ax.set(ylim=(0.6 - len(panel), 0.6), title=title)
        ax.set_xlabel(xlabel if isinstance(xlabel, str) else xlabel[title])
        if truth and title in truth:
            ax.axvline(truth[title], color="0.3", linestyle="--", linewidth=1.5)
    return fig


def who_sees_what(table: pd.DataFrame) -> Figure:
    """A cell for each viewer and setting: the most telling thing that it can read, and the bytes it holds.

    Parameters
    ----------
    table
        As `views.who_sees_what` returns it.
    """
    settings, viewers = (list(dict.fromkeys(table[column])) for column in ("setting", "viewer"))
    fig, ax = figure(2.2 + 2.1 * len(settings), 0.9 + 0.75 * len(viewers))
    for _, cell in table.iterrows():
        x, y = settings.index(cell["setting"]), viewers.index(cell["viewer"])
        color = _LEVELS[cell["level"]]
        look = dict(facecolor=to_rgba(color, 0.22), edgecolor=color, linewidth=1.2)
        ax.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, **look))
        ax.text(x, y - 0.12, cell["sees"], ha="center", va="center", fontsize=11, color="0.1")
        ax.text(x, y + 0.2, _held(cell), ha="center", va="center", fontsize=9, color="0.35")
    ax.set(xlim=(-0.5, len(settings) - 0.5), ylim=(len(viewers) - 0.5, -0.5))
    ax.set_xticks(range(len(settings)), settings, fontsize=11)
    ax.set_yticks(range(len(viewers)), viewers, fontsize=11)
    ax.xaxis.tick_top()
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return fig


def _held(cell: pd.Series) -> str:
    """What a viewer holds, in words and a rounded size."""
    if cell["messages"] == 0:
        return "and nothing else"
    size = cell["bytes"]
    amount = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    return f"holds {amount} a round"


# ---------------------------------------------------------------- parts of these and of a lesson's own


def apart(n: int) -> np.ndarray:
    """Small shifts that keep n marks on one line apart."""
    return (np.arange(n) - (n - 1) / 2) * 0.2


def arms(values: pd.DataFrame, metric: str) -> np.ndarray:
    """How far error bars reach to either side, ``[2, n]``: one standard deviation, and for shares not beyond 0 and 1.

    Parameters
    ----------
    values
        Columns mean and std.
    metric
        What they are of; "auc", "accuracy", "missed" and "flagged" are shares.
    """
    spread = np.tile(values["std"].fillna(0), (2, 1))
    return np.minimum(spread, [values["mean"], 1 - values["mean"]]) if metric in _SHARES else spread


def short(name: str) -> str:
    """A name that fits beside an axis, from both of its ends."""
    return name if len(name) <= 24 else f"{name[:12]}…{name[-11:]}"


def refuse_nothing(values: pd.Series) -> None:
    """A picture of nothing would be read as a result; say why there is none."""
    if values.isna().all():
        raise ValueError(
            "There is nothing to draw: this measure needs test patients with and without the outcome, and a target "
            "with few values. Choose another target, or fewer, larger hospitals."
        )


def within_shares(mid: np.ndarray, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One standard deviation to either side of shares, as far as shares go."""
    return np.clip(mid - spread, 0, 1), np.clip(mid + spread, 0, 1)

"""Who sees what."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fedlab_utils.plots.style import PALETTE, figure

_COLOR = (PALETTE[3], PALETTE[1], PALETTE[8], PALETTE[2])  # from the most telling to the least


def who_sees_what(table: pd.DataFrame) -> Figure:
    """A cell for each viewer and setting: the most telling thing that it can read, and the bytes it holds.

    Parameters
    ----------
    table : DataFrame as `views.who_sees_what` returns it
    """
    settings, viewers = (list(dict.fromkeys(table[column])) for column in ("setting", "viewer"))
    made, ax = figure(2.2 + 2.1 * len(settings), 0.9 + 0.75 * len(viewers))
    for _, cell in table.iterrows():
        x, y = settings.index(cell["setting"]), viewers.index(cell["viewer"])
        color = _COLOR[cell["level"]]
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
    return made


def _held(cell: pd.Series) -> str:
    if cell["messages"] == 0:
        return "and nothing else"
    size = cell["bytes"]
    amount = f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"
    return f"holds {amount} a round"

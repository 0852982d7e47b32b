"""Figures of lesson 00: the course in one picture."""

from __future__ import annotations

from matplotlib.figure import Figure

from fedlab_utils.plots.style import PALETTE, arrow, box, sheet


def course_diagram() -> Figure:
    """What the course builds: from rows in hospitals to one model, and which lesson stands at which step."""
    fig, ax = sheet(9.5, 4.4, (0, 19), (0, 8.9))
    for name, y in (("Northgate", 6.6), ("...", 4.9), ("Harbour", 3.2)):
        box(ax, 1.7, y, 2.6, 1.1, f"{name}\nrows", PALETTE[0])
        box(ax, 6.0, y, 2.8, 1.1, "01 clean\n02 synthesise", PALETTE[2])
        box(ax, 10.6, y, 3.0, 1.1, "train a little\n04 add noise", PALETTE[0])
        arrow(ax, (3.1, y), (4.5, y))
        arrow(ax, (7.5, y), (9.0, y))
        arrow(ax, (12.2, y), (15.6, 4.9 + (y - 4.9) * 0.25), style="<|-|>")
    box(ax, 17.1, 4.9, 2.8, 1.7, "server\n03 averages\n10 if they differ", PALETTE[1])
    ax.text(1.7, 2.2, "11 if one lies", ha="center", fontsize=10, color=PALETTE[3])
    ax.text(1.7, 7.33, "12 or scans", ha="center", fontsize=10, color=PALETTE[0])
    ax.text(14.9, 6.75, "05 masks   07 encryption", ha="center", fontsize=10.5, color=PALETTE[2])
    ax.text(15.0, 3.05, "updates up, model down,\n13 between machines", ha="center", fontsize=10, color="0.35")
    box(ax, 9.6, 8.2, 17.6, 0.9, "08 the whole: one pipeline, one ledger of every arrow, one report", PALETTE[2])
    attacker = "06, 09 the attacker: what does each arrow, and the finished model, give away?"
    box(ax, 9.6, 0.9, 17.6, 1.0, attacker, PALETTE[3])
    for x in (3.8, 8.25, 13.6, 17.1):  # one at each step that leaves a trace; the server's box is taller
        arrow(ax, (x, 1.5), (x, 2.6 if x < 17 else 3.9), color=PALETTE[3])
    return fig

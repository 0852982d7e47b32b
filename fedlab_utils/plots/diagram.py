"""The course in one picture."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from fedlab_utils.plots.style import PALETTE


def course_diagram() -> Figure:
    """What the course builds: from rows in hospitals to one model, and which lesson stands at which step."""
    made = Figure(figsize=(9.5, 3.9), facecolor="white")
    ax = made.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 19), ylim=(0, 7.8))
    ax.axis("off")

    def box(x, y, width, height, text, color, face="white"):
        shape = dict(boxstyle="round,pad=0.08", edgecolor=color, facecolor=face, linewidth=1.8)
        ax.text(x, y, text, ha="center", va="center", fontsize=10.5, color="0.1")
        ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, zorder=0, **shape))

    def arrow(start, end, color="0.35", style="-|>"):
        ax.annotate("", end, start, arrowprops=dict(arrowstyle=style, color=color, linewidth=1.6))

    for name, y in (("Northgate", 6.6), ("...", 4.9), ("Harbour", 3.2)):
        box(1.7, y, 2.6, 1.1, f"{name}\nrows", PALETTE[0])
        box(6.0, y, 2.8, 1.1, "01 clean\n02 synthesise", PALETTE[2])
        box(10.6, y, 3.0, 1.1, "train a little\n04 add noise", PALETTE[0])
        arrow((3.1, y), (4.5, y))
        arrow((7.5, y), (9.0, y))
        arrow((12.2, y), (15.6, 4.9 + (y - 4.9) * 0.25), style="<|-|>")
    box(17.1, 4.9, 2.8, 1.7, "server\n03 averages", PALETTE[1])
    ax.text(14.9, 6.75, "05 masks   07 encryption", ha="center", fontsize=10.5, color=PALETTE[2])
    ax.text(14.9, 2.95, "updates up, model down", ha="center", fontsize=10, color="0.35")
    box(9.6, 0.9, 17.6, 1.0, "06 the attacker: what does each arrow, and the finished model, give away?", PALETTE[3])
    for x in (3.8, 8.25, 13.6, 17.1):
        arrow((x, 1.5), (x, 2.6 if x < 17 else 3.9), color=PALETTE[3])
    return made

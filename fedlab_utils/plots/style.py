"""One look for every figure, and pictures that can be read aloud.

Figures are ``matplotlib.figure.Figure``, never pyplot: they can be drawn in a background thread, and nothing
global changes. `figure` makes one with axes for data; `sheet` makes one to draw on with `box` and `arrow`; `show`
displays either with its alt text, `png` renders it.
"""

from __future__ import annotations

import base64
import html
import io
import threading

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

# Each has a contrast of at least 3 to white, and any two can be told apart without red, green or blue cones: a test
# computes both. (seaborn's "colorblind" has colours that are too light on white.) The eighth is grey, for what is
# beside the point.
PALETTE = ("#0b3a99", "#b98700", "#00a35f", "#ad2300", "#c24fcf", "#4b392b", "#1f6f8f", "#8d9191")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")  # colour alone names nothing
DASHES = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 3)), (0, (3, 1, 1, 1, 1, 1)))
BASELINES = {  # the same in every lesson
    "best possible": dict(color=PALETTE[7], linestyle=DASHES[4]),
    "pooled": dict(color=PALETTE[2], linestyle=DASHES[2]),
    "local-only": dict(color=PALETTE[1], linestyle=DASHES[3]),
}
DPI = 100

# matplotlib parses formulas in labels with one shared parser, so two threads must not render at once
_rendering = threading.Lock()


def figure(width: float = 7, height: float = 4, ncols: int = 1, nrows: int = 1) -> tuple[Figure, Axes | np.ndarray]:
    """Make an empty figure in the style of the course.

    Parameters
    ----------
    width, height
        Size in inches; the pictures have 100 pixels an inch.
    ncols, nrows
        Number of panels.

    Returns
    -------
    Figure
        Laid out so that no label is cut.
    Axes or array of Axes
        One, or ``[ncols]``, ``[nrows]`` or ``[nrows, ncols]`` of them.
    """
    fig = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = fig.subplots(nrows, ncols)
    for ax in np.atleast_1d(axes).flat:
        _dress(ax)
    return fig, axes


def _dress(ax: Axes) -> None:
    """seaborn's whitegrid look, set on the axes themselves: rcParams are shared by all threads."""
    ax.set_prop_cycle(color=PALETTE)
    ax.set_axisbelow(True)
    ax.grid(True, color="0.85", linewidth=0.8)
    ax.tick_params(length=0, labelsize=10, colors="0.15")
    ax.title.set_size(12)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set_size(11)
    for spine in ax.spines.values():
        spine.set_color("0.8")


def level(ax: Axes, height: float, name: str) -> None:
    """Draw a baseline as a horizontal line, which has the same colour and dashes in every lesson."""
    look = BASELINES.get(name, dict(color="0.4", linestyle=DASHES[1]))
    ax.axhline(height, label=name, linewidth=1.6, **look)
    ax.autoscale_view(scalex=False)  # matplotlib leaves a line just inside the axes on their very edge


def band(
    ax: Axes, x, low, mid, high, *, label: str | None = None, color: str | None = None, linestyle="-", marker=None
) -> None:
    """Draw a line with its uncertainty: `mid` over `x`, and the area from `low` to `high` shaded.

    Parameters
    ----------
    x, low, mid, high
        ``[n]`` each.
    label
        Name in the legend.
    color
        Any matplotlib colour; the next one of the palette if left out.
    linestyle, marker
        As matplotlib calls them.
    """
    (line,) = ax.plot(x, mid, label=label, color=color, linestyle=linestyle, marker=marker, markersize=5)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


# ---------------------------------------------------------------- boxes and arrows

_OUTLINED = dict(boxstyle="round,pad=0.09", linewidth=1.8)  # somebody: a hospital, a server
_FILLED = dict(boxstyle="round,pad=0,rounding_size=0.06", linewidth=1.2)  # a number, a head of a column


def sheet(
    width: float, height: float, xlim: tuple[float, float] | None = None, ylim: tuple[float, float] | None = None
) -> tuple[Figure, Axes]:
    """Make an empty sheet to draw on.

    Parameters
    ----------
    width, height
        Size in inches.
    xlim, ylim
        Coordinates of its edges; inches from the upper left corner if left out.
    """
    fig = Figure(figsize=(width, height), facecolor="white")
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=xlim or (0, width), ylim=ylim or (height, 0))
    ax.axis("off")
    return fig, ax


def box(
    ax: Axes, x: float, y: float, width: float, height: float, text: str, color: str, *, filled: bool = False, **font
) -> None:
    """Draw a box around (x, y) with a text in it.

    Parameters
    ----------
    x, y, width, height
        In the coordinates of the sheet.
    filled
        Whether the box is filled with a light version of its colour, or only outlined.
    font
        What is different about the text, as matplotlib's ``text`` calls it.
    """
    shape, face = (_FILLED, tinted(color)) if filled else (_OUTLINED, "white")
    corner = (x - width / 2, y - height / 2)
    # zorder 0: lines and arrows that end at a box lie on it, whatever was drawn first
    ax.add_patch(FancyBboxPatch(corner, width, height, edgecolor=color, facecolor=face, zorder=0, **shape))
    size = dict(fontsize=12) if filled else dict(fontsize=10.5, linespacing=1.3)
    ax.text(x, y, text, ha="center", va="center", **(size | dict(color="0.1") | font))


def arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = "0.35", style: str = "-|>", **look
) -> None:
    """Draw a line from `start` to `end` with a head; `style` and `look` are those of matplotlib's ``arrowprops``."""
    ax.annotate("", end, start, arrowprops=dict(arrowstyle=style, color=color, linewidth=1.7) | look)


def tinted(color: str, share: float = 0.18) -> tuple[float, ...]:
    """A light version of a colour, to write on: `share` of it, the rest white."""
    return tuple(1 - share * (1 - c) for c in to_rgb(color))


# ---------------------------------------------------------------- pictures


def png(figure: Figure, scale: int = 1) -> bytes:
    """Render a figure as a small PNG: at most 256 colours, so that a notebook full of them stays light.

    Parameters
    ----------
    scale
        Pixels for each one of the usual picture, in either direction.
    """
    if not isinstance(figure, Figure):
        raise ValueError(f"figure must be a matplotlib Figure, not {type(figure).__name__}")
    with _rendering:
        before, usual = figure.canvas, figure.dpi
        try:
            figure.dpi, canvas = DPI * scale, FigureCanvasAgg(figure)
            canvas.draw()  # once; `savefig` draws everything twice, and the second time is what it keeps
            raw = Image.fromarray(np.asarray(canvas.buffer_rgba()))
        finally:
            figure.dpi = usual
            figure.set_canvas(before)  # a window, if it has one
    small = io.BytesIO()
    few = raw.convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(small, format="png")
    return small.getvalue()


def img_tag(picture: bytes, alt: str, *, dimmed: bool = False) -> str:
    """An HTML image that carries its own PNG bytes and its alt text."""
    source = base64.b64encode(picture).decode()
    style = "max-width: 100%" + ("; opacity: 0.75" if dimmed else "")
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}" style="{style}">'


class Picture:
    """A rendered figure with its alt text; a notebook displays it as an image, a terminal as the text."""

    def __init__(self, picture: bytes, alt: str):
        self.png, self.alt = picture, alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        """What Jupyter asks for: the image, and the text where it cannot show one."""
        return {"text/html": img_tag(self.png, self.alt), "text/plain": self.alt}

    def __repr__(self) -> str:
        return self.alt


def show(figure: Figure, alt: str) -> Picture:
    """Display a figure in a notebook together with a text for those who cannot see it.

    Parameters
    ----------
    alt
        One or two sentences that say what the picture shows, with its numbers.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a sentence that says what the picture shows, not {alt!r}")
    return Picture(png(figure), alt)

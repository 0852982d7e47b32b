"""One look for every figure, and pictures that can be read aloud.

Figures are ``matplotlib.figure.Figure``, never pyplot: they can be drawn in a background thread, and nothing
global changes. `figure` makes one, `show` displays it with its alt text, `png` renders it.
"""

from __future__ import annotations

import base64
import html
import io
import threading
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# seaborn's "colorblind" palette, written out because importing seaborn takes time (a test compares them)
_FIRST_FIVE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc")
PALETTE = (*_FIRST_FIVE, "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
DPI = 100

# matplotlib parses formulas in labels with one shared parser, so two threads must not render at once
_rendering = threading.Lock()


def figure(width: float = 7, height: float = 4, ncols: int = 1, nrows: int = 1) -> tuple[Figure, Axes | np.ndarray]:
    """Make an empty figure in the style of the course.

    Parameters
    ----------
    width, height : size in inches; the pictures have 100 pixels an inch
    ncols, nrows : number of panels

    Returns
    -------
    figure : matplotlib.figure.Figure, laid out so that no label is cut
    axes : one Axes, or an array of them: [ncols], [nrows] or [nrows, ncols]
    """
    made = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = made.subplots(nrows, ncols)
    for ax in np.atleast_1d(axes).flat:
        _dress(ax)
    return made, axes


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


@contextmanager
def style():
    """The same look for seaborn figures that make their own axes (pair plots). Not for threads."""
    import seaborn as sns

    look = sns.axes_style("whitegrid") | {
        "axes.prop_cycle": matplotlib.cycler(color=PALETTE),
        "font.size": 10,
    }
    with matplotlib.rc_context(look):
        yield


def band(ax: Axes, x, low, mid, high, *, label: str | None = None, color: str | None = None) -> None:
    """Draw a line with its uncertainty: `mid` over `x`, and the area from `low` to `high` shaded.

    Parameters
    ----------
    ax : where to draw
    x, low, mid, high : [n] each
    label : name in the legend
    color : any matplotlib colour; the next one of the palette if left out
    """
    (line,) = ax.plot(x, mid, label=label, color=color)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def png(figure: Figure) -> bytes:
    """Render a figure as a small PNG (at most 256 colours, so that a notebook full of them stays light)."""
    if not isinstance(figure, Figure):
        raise ValueError(f"figure must be a matplotlib Figure, not {type(figure).__name__}")
    raw, small = io.BytesIO(), io.BytesIO()
    with _rendering:
        figure.savefig(raw, format="raw", dpi=DPI)
    width, height = figure.canvas.get_width_height()
    picture = Image.frombytes("RGBA", (width, height), raw.getvalue()).convert("RGB")
    few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(small, format="png")
    return small.getvalue()


def img_tag(picture: bytes, alt: str) -> str:
    """An HTML image that carries its own PNG bytes and its alt text."""
    source = base64.b64encode(picture).decode()
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{source}" style="max-width: 100%">'


class Picture:
    """A rendered figure with its alt text; a notebook displays it as an image, a terminal as the text."""

    def __init__(self, picture: bytes, alt: str):
        self.png, self.alt = picture, alt

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, str]:
        return {"text/html": img_tag(self.png, self.alt), "text/plain": self.alt}

    def __repr__(self) -> str:
        return self.alt


def show(figure: Figure, alt: str) -> Picture:
    """Display a figure in a notebook together with a text for those who cannot see it.

    Parameters
    ----------
    figure : the figure
    alt : one or two sentences that say what the picture shows, with its numbers
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a sentence that says what the picture shows, not {alt!r}")
    return Picture(png(figure), alt)

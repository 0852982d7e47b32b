"""One look for every figure, and pictures that can be read aloud.

Figures are ``matplotlib.figure.Figure``, never pyplot: they can be drawn in a background thread, and nothing
global changes. `figure` makes one, `show` displays it with its alt text, `png` renders it.
Figures that belong to one lesson follow below the general ones: one function a figure, returning a Figure.
"""

from __future__ import annotations

import base64
import html
import io
import threading
from collections.abc import Mapping, Sequence
from contextlib import contextmanager

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from PIL import Image

# seaborn's "colorblind" palette, written out because importing seaborn takes time (a test compares them)
_FIRST_FIVE = ("#0173b2", "#de8f05", "#029e73", "#d55e00", "#cc78bc")
PALETTE = (*_FIRST_FIVE, "#ca9161", "#fbafe4", "#949494", "#ece133", "#56b4e9")
DPI = 100

# matplotlib parses formulas in labels with one shared parser, so two threads must not render at once
_rendering = threading.Lock()


def figure(
    width: float = 7, height: float = 4, ncols: int = 1, nrows: int = 1
) -> tuple[Figure, Axes | np.ndarray]:
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


# ---------------------------------------------------------------- hospitals, rounds and models


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
    table : columns hospital, seed, `metric`, and baseline or setting; one row for each of them
    kinds : which baselines or settings, in the order of the legend
    metric : column to draw
    label : what it is, with its unit
    """
    kind = "setting" if "setting" in table else "baseline"
    hospitals = list(dict.fromkeys(table["hospital"]))
    made, ax = figure(7.5, 0.5 * len(hospitals) + 1.3)
    rows = np.arange(len(hospitals))[::-1]
    for name, shift, color in zip(kinds, _spread(len(kinds)), PALETTE, strict=False):
        values = table[table[kind] == name].groupby("hospital")[metric].agg(["mean", "std"]).reindex(hospitals)
        style = dict(fmt="o", color=color, capsize=3, label=name)
        ax.errorbar(values["mean"], rows - shift, xerr=values["std"].fillna(0), **style)
    if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
        ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(rows, ["all patients" if h == "all" else h for h in hospitals])
    ax.set_xlabel(f"{label} (mean ± standard deviation over {table['seed'].nunique()} runs)")
    made.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    return made


def _spread(n: int) -> np.ndarray:
    """Small shifts that keep n marks on one line apart."""
    return (np.arange(n) - (n - 1) / 2) * 0.2


def learning_curves(history: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """AUC by round on all test patients, and by hospital after the last round, beside the baselines.

    Parameters
    ----------
    history : of a federated run
    baselines : of `federated.baselines`: pooled and best possible are lines, local-only stands beside the
        hospital it belongs to
    """
    made, (left, right) = figure(9.5, 3.9, ncols=2)
    curve = history[history["hospital"] == "all"].groupby("round")["auc"].agg(["mean", "std"]).fillna(0)
    low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
    band(left, curve.index, low, curve["mean"], high, label="federated", color=PALETTE[0])
    hospitals = [h for h in dict.fromkeys(history["hospital"]) if h != "all"]
    shown = hospitals[:12]  # more names do not fit
    marks = {"federated": last_round(history)}
    if baselines is not None:
        for name, color in (("pooled", PALETTE[2]), ("best possible", PALETTE[7])):
            value = baselines[(baselines["baseline"] == name) & (baselines["hospital"] == "all")]["auc"]
            if len(value):
                left.axhline(value.mean(), color=color, linestyle="--", label=name)
        marks = {"local-only": baselines[baselines["baseline"] == "local-only"]} | marks
    for (name, table), shift in zip(marks.items(), _spread(len(marks)), strict=True):
        values = table.groupby("hospital")["auc"].agg(["mean", "std"]).reindex(shown)
        color = PALETTE[0] if name == "federated" else PALETTE[1]
        at = np.arange(len(shown)) + shift
        label = name if name == "local-only" else None
        right.errorbar(at, values["mean"], values["std"].fillna(0), fmt="o", color=color, capsize=3, label=label)
    left.set(xlabel="round (0 = untrained)", ylabel="AUC, all test patients")
    right.set(ylabel="AUC, own test patients", xlim=(-0.6, len(shown) - 0.4))
    left.xaxis.get_major_locator().set_params(integer=True)
    right.set_xticks(np.arange(len(shown)), shown, rotation=25 if len(shown) > 3 else 0)
    made.legend(loc="outside upper center", ncols=4, frameon=False)
    return made


def read_learning_curves(history: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """The sentence under `learning_curves`."""
    end = last_round(history)
    auc = end[end["hospital"] == "all"]["auc"]
    beside = baselines[baselines["hospital"] == "all"].groupby("baseline")["auc"].mean()
    own = baselines[baselines["baseline"] == "local-only"].groupby("hospital")["auc"].mean()
    gain = (end.groupby("hospital")["auc"].mean() - own).drop("all").dropna()
    rounds = int(end["round"].max())
    sentence = f"After {rounds} round{'s' * (rounds > 1)} the AUC over all test patients is {auc.mean():.3f}"
    sentence += f" ± {auc.std():.3f}" if len(auc) > 1 else ""
    sentence += f", pooled training gives {beside['pooled']:.3f}"
    sentence += f" and the best possible is {beside['best possible']:.3f}" if "best possible" in beside else ""
    if not len(gain):
        return sentence + "."
    return sentence + (
        f"; on their own patients {int((gain > 0).sum())} of {len(gain)} hospitals do better than alone, "
        f"{gain.idxmax()} gains most ({gain.max():+.3f}) and {gain.idxmin()} least ({gain.min():+.3f})."
    )


def bands(curves: Mapping[str, tuple], *, xlabel: str, ylabel: str, log_x: bool = False) -> Figure:
    """One line for each name, with a band of one standard deviation over repetitions.

    Parameters
    ----------
    curves : name -> (x [n], values [n, repetitions])
    """
    made, ax = figure(7, 3.8)
    for name, (x, values) in curves.items():
        mid, spread = np.mean(values, axis=1), np.std(values, axis=1)
        band(ax, x, mid - spread, mid, mid + spread, label=name)
    if log_x:
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False)
    return made


def clinic(risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> Figure:
    """A risk model as a clinic sees it: ROC curve, calibration, and the ill patients that it misses.

    Parameters
    ----------
    risk : predicted risk, [seeds, n]
    ill : what happened, 0 or 1, [n]
    hospital : of each patient, [n]
    threshold : from which risk on a patient is treated
    """
    made, (roc, calibration, missed) = figure(10.5, 3.8, ncols=3)
    falses = np.linspace(0, 1, 101)
    hits = np.array([np.interp(falses, *_roc(one, ill)) for one in risk])
    band(roc, falses, hits.min(0), hits.mean(0), hits.max(0), color=PALETTE[0])
    roc.plot([0, 1], [0, 1], color="0.6", linestyle="--")
    at = (risk >= threshold) @ np.stack([1 - ill, ill], 1) / [np.sum(1 - ill), np.sum(ill)]
    roc.plot(*at.mean(0), "o", color=PALETTE[3])
    roc.set(xlabel="share of healthy patients treated", ylabel="share of ill patients found", title="ROC curve")
    mean = risk.mean(0)
    edges = np.quantile(mean, np.linspace(0, 1, 11))
    group = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, 9)
    n = np.bincount(group, minlength=10)
    said, happened = np.bincount(group, mean) / n, np.bincount(group, ill) / n
    half = 1.96 * np.sqrt(happened * (1 - happened) / n)
    calibration.plot([0, said.max()], [0, said.max()], color="0.6", linestyle="--")
    calibration.errorbar(said, happened, half, fmt="o", color=PALETTE[0], capsize=3)
    calibration.set(xlabel="predicted risk (tenths of the patients)", ylabel="share that fell ill", title="Calibration")
    names = list(dict.fromkeys(hospital))
    ill_here = [(np.asarray(hospital) == name) & (ill > 0) for name in names]
    shares = np.array([[np.mean(one[here] < threshold) for here in ill_here] for one in risk])
    rows = np.arange(len(names))[::-1]
    missed.barh(rows, shares.mean(0), xerr=shares.std(0), color=PALETTE[3], capsize=3)
    missed.set_yticks(rows, names)
    missed.set(xlabel="share of ill patients missed", title=f"Missed below a risk of {threshold:.0%}")
    return made


def _roc(score: np.ndarray, ill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of healthy and of ill patients at or above each score."""
    order = np.argsort(-score)
    return np.cumsum(1 - ill[order]) / np.sum(1 - ill), np.cumsum(ill[order]) / np.sum(ill)


# ---------------------------------------------------------------- lesson 01: what a table gives away


def linkage(published: pd.DataFrame, register: pd.DataFrame, row: int, entry: int) -> Figure:
    """Two small tables side by side, and a line between the two rows that are about the same person.

    Parameters
    ----------
    published, register : what a hospital publishes and what anyone may look up, a few rows each
    row, entry : position of the person in the one and in the other
    """
    made, axes = figure(11, 2.9, ncols=2)
    made.get_layout_engine().set(wspace=0.12)
    captions = ("What the hospital published", "What anyone may look up")
    for ax, table, marked, caption in zip(axes, (published, register), (row, entry), captions, strict=True):
        ax.axis("off")
        ax.set_title(caption, loc="left", fontweight="bold")
        box = {"bbox": (0, 0, 1, 1), "cellLoc": "left"}
        cells = ax.table(table.to_numpy(str), colLabels=list(table.columns), **box)
        cells.auto_set_font_size(False)
        cells.set_fontsize(9)
        cells.auto_set_column_width(range(table.shape[1]))
        for (line, _), cell in cells.get_celld().items():
            cell.set(edgecolor="0.85", facecolor="0.95" if line == 0 else "white")
            if line == marked + 1:
                cell.set(facecolor="#fde3cf", edgecolor=PALETTE[3])
                cell.get_text().set_fontweight("bold")
    heights = [1 - (k + 1.5) / (len(t) + 1) for k, t in ((row, published), (entry, register))]
    axes[0].annotate(
        "", (0, heights[1]), (1, heights[0]), xycoords=axes[1].transAxes, textcoords=axes[0].transAxes,
        arrowprops={"arrowstyle": "<->", "color": PALETTE[3], "linewidth": 2}, annotation_clip=False,
    )
    return made


def release(sizes: np.ndarray, areas: Mapping[int, np.ndarray], width: int, number: str) -> Figure:
    """What a release gives away, beside what a model can do with it.

    Parameters
    ----------
    sizes : size of the group of each patient, [n]
    areas : width of the groups of `number` -> test AUC over splits
    width : the one that is set
    number : name of the column in groups
    """
    made, (left, right) = figure(9, 3.6, ncols=2)
    edges, names = [1, 2, 5, 10, 100, np.inf], ["alone", "2 to 4", "5 to 9", "10 to 99", "100+"]
    shares = [np.mean((sizes >= a) & (sizes < b)) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    bars = left.bar(names, np.multiply(shares, 100), color=[PALETTE[3], *[PALETTE[0]] * 4])
    left.bar_label(bars, [f"{s:.1%}" for s in shares], fontsize=10)
    left.set(ylim=(0, 112), xlabel="patients who share the released values", ylabel="share of patients (%)")
    left.set_title("Who can be singled out")
    widths = sorted(areas)
    mid, spread = ([f(areas[w]) for w in widths] for f in (np.mean, np.std))
    right.errorbar(widths, mid, spread, fmt="o-", color=PALETTE[0], capsize=3)
    here = areas[width]
    right.errorbar([width], [here.mean()], [here.std()], fmt="D", markersize=9, color=PALETTE[3], capsize=4)
    right.set(xlabel=f"width of the groups of {number}", ylabel="test AUC, ± SD over splits")
    right.set_xticks(widths, [str(w) if w > 1 or width == 1 else "" for w in widths])
    right.set_title("What a model learns from the groups")
    return made


def histograms(before: pd.DataFrame, after: pd.DataFrame, column: str, unit: str) -> Figure:
    """One column in each hospital, before and after mending: hospitals below each other on one axis.

    Parameters
    ----------
    before, after : tables with the columns hospital and `column`
    unit : of the mended column
    """
    names = list(before["hospital"].unique())
    made, axes = figure(9, 4.6, ncols=2, nrows=len(names))
    for k, (table, title) in enumerate(((before, "as extracted"), (after, "after mending"))):
        values = table[column].dropna()
        bins = np.linspace(min(values.min(), 0), values.max(), 61)
        for name, ax in zip(names, axes[:, k], strict=True):
            ax.hist(values[table["hospital"] == name], bins, color=PALETTE[0 if k else 3], density=True)
            ax.set(yticks=[], xlim=(bins[0], bins[-1]))
            ax.grid(False)
            ax.tick_params(labelbottom=ax is axes[-1, k])
            if k == 0:
                ax.set_ylabel(name, rotation=0, ha="right", va="center")
        axes[0, k].set_title(title)
        axes[-1, k].set_xlabel(f"{column}, {unit}" if k else f"{column}, in whatever unit")
    return made


def heatmap(table: pd.DataFrame, *, signed: bool = False, label: str) -> Figure:
    """A table of numbers as colours, with the numbers written in.

    Parameters
    ----------
    table : shares from 0 to 1, or correlations from -1 to 1 if `signed`
    label : what the numbers are
    """
    rows, columns = table.shape
    made, ax = figure(3.2 + 0.75 * columns, 1.5 + 0.42 * rows)
    ax.grid(False)
    scale = {"cmap": "PuOr", "vmin": -1, "vmax": 1} if signed else {"cmap": "Oranges", "vmin": 0, "vmax": 1}
    image = ax.imshow(table.to_numpy(float), aspect="auto", **scale)
    for r in range(rows):
        for c in range(columns):
            value = table.iat[r, c]
            style = {"color": "white" if abs(value) > 0.6 else "black", "fontsize": 9}
            ax.text(c, r, f"{value:.2f}" if signed else f"{value:.1%}", ha="center", va="center", **style)
    ax.set_xticks(range(columns), table.columns, rotation=30, ha="right")
    ax.set_yticks(range(rows), table.index)
    made.colorbar(image, ax=ax, label=label)
    return made


def intervals(
    panels: Mapping[str, Mapping[str, tuple[float, float]]],
    *,
    truth: Mapping[str, float] | None = None,
    xlabel: str | Mapping[str, str] = "",
) -> Figure:
    """Estimates with their intervals, a row each; one panel for each question.

    Parameters
    ----------
    panels : title -> name of the estimate -> (value, half the length of its interval)
    truth : title -> value for a vertical line
    xlabel : for all panels, which then share their axis, or by title
    """
    rows = max(len(panel) for panel in panels.values())
    made, axes = figure(1.5 + 3 * len(panels), 1.5 + 0.42 * rows, ncols=len(panels))
    axes = np.atleast_1d(axes)
    if isinstance(xlabel, str):
        for ax in axes[1:]:
            ax.sharex(axes[0])
    for number, ((title, panel), ax) in enumerate(zip(panels.items(), axes, strict=True)):
        for row, (value, half) in enumerate(panel.values()):
            ax.errorbar(value, -row, xerr=half, fmt="o", color=PALETTE[row], capsize=4, linewidth=2)
        ax.set_yticks([-k for k in range(len(panel))], list(panel) if number == 0 else [""] * len(panel))
        ax.set(ylim=(0.6 - len(panel), 0.6), title=title)
        ax.set_xlabel(xlabel if isinstance(xlabel, str) else xlabel[title])
        if truth and title in truth:
            ax.axvline(truth[title], color="0.3", linestyle="--", linewidth=1.5)
    return made


def shares_and_ages(diagnosis: pd.Series, age: pd.Series, hospital: pd.Series) -> Figure:
    """How common each diagnosis is, and how old the patients of each hospital are."""
    made, (left, right) = figure(9, 3.4, ncols=2)
    shares = diagnosis.value_counts(normalize=True)
    bars = left.barh(shares.index[::-1], 100 * shares.to_numpy()[::-1], color=PALETTE[0])
    left.bar_label(bars, [f" {s:.0%}" for s in shares[::-1]], fontsize=10)
    left.set(xlabel="share of patients (%)", xlim=(0, 100), title="Diagnosis")
    bins = np.arange(age.min() // 5 * 5, age.max() + 6, 5)
    for name in hospital.unique():
        counts, _ = np.histogram(age[hospital == name], bins)
        right.stairs(100 * counts / counts.sum(), bins, label=name, linewidth=1.8)
    right.set(xlabel="age (years)", ylabel="share of its patients (%)", title="Age, by hospital")
    right.legend(frameon=False, fontsize=8)
    return made


def pairs(frame: pd.DataFrame, colour: pd.Series, label: str) -> Figure:
    """Scatter plots of all pairs of a few columns, histograms on the diagonal.

    Parameters
    ----------
    frame : [n, columns], at most a few hundred rows, so that single points can be seen
    colour : a number for each row
    label : what it is
    """
    names, n = list(frame.columns), frame.shape[1]
    made, axes = figure(8.2, 7, ncols=n, nrows=n)
    scale = {"vmin": 0, "vmax": np.quantile(colour, 0.98)}  # a few extreme patients would darken all others
    for r, c in np.ndindex(n, n):
        ax = axes[r, c]
        if r == c:
            ax.hist(frame[names[c]], 20, color="0.7")
            ax.set_yticks([])
        else:
            dots = ax.scatter(frame[names[c]], frame[names[r]], c=colour, cmap="viridis", s=8, **scale)
        if r == n - 1:
            ax.set_xlabel(names[c])
        if c == 0:
            ax.set_ylabel(names[r])
    made.colorbar(dots, ax=axes, label=label, shrink=0.6)
    return made


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

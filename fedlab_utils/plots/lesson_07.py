"""Figures of lesson 07: locked boxes, what adding costs in precision, and who holds what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.style import DASHES, PALETTE, arrow, box, figure, sheet

SECRET, HELD, OPENED, ALARM = PALETTE[0], "0.45", PALETTE[2], PALETTE[3]


def locked_sum(
    secret: np.ndarray, held: np.ndarray, unlocked: np.ndarray, names: Sequence[str], x: np.ndarray, label: str
) -> Figure:
    """What each hospital knows, what the server holds instead, and the sum that comes out of the box.

    Parameters
    ----------
    secret
        Counts of each hospital, ``[hospitals, values]``.
    held
        Bytes of each hospital's box, ``[hospitals, bytes]``.
    unlocked
        The sum out of the box, ``[values]``.
    names
        Of the hospitals.
    x
        What each value belongs to, ``[values]``, in steps of one.
    label
        What `x` is, with its unit.
    """
    fig, (left, middle, right) = figure(10.9, 3.4, ncols=3)
    ends = (x[0] - 0.5, x[-1] + 0.5, len(names) - 0.5, -0.5)
    panels = (
        (left, secret, "Blues", "each hospital's counts", "patients"),
        (middle, held, "Greys", "the server: locked boxes", "value of a byte"),
    )
    for ax, values, colours, title, unit in panels:
        extent = ends if ax is left else None
        image = ax.imshow(values, aspect="auto", cmap=colours, extent=extent, interpolation="none")
        bar = fig.colorbar(image, ax=ax, shrink=0.8, pad=0.02)
        bar.ax.tick_params(labelsize=8, length=0)
        bar.set_label(unit, fontsize=9)
        bar.outline.set_visible(False)
        ax.grid(False)
        ax.set_title(title)
    left.set_yticks(np.arange(len(names)), names, fontsize=9)
    middle.set_yticks([])
    middle.set_xlabel("position in the box (bytes)")
    left.set_xlabel(label)
    right.bar(x, secret.sum(0), width=1, color=SECRET, alpha=0.3, label="sum of the counts")
    right.plot(x, unlocked, ".", color=OPENED, markersize=5, label="unlocked")
    right.set(xlabel=label, title="what the hospitals unlock", ylabel="patients")
    right.legend(frameon=False, fontsize=9, loc="upper left")
    return fig


def locked_words(held: np.ndarray, modulus: int, unlocked: np.ndarray, truth: np.ndarray, label: str) -> Figure:
    """Numbers in the server's hands, all boxes over each other, and the values of their unlocked sum.

    Parameters
    ----------
    held
        Numbers modulo `modulus`, ``[hospitals, values]``.
    unlocked, truth
        The sum out of the box and the sum in the open, ``[values]``.
    label
        What the values are.
    """
    fig, (left, right) = figure(9.5, 3.7, ncols=2)
    bins = np.linspace(0, modulus, 21)
    for row, color in zip(held, PALETTE, strict=False):
        left.hist(row, bins, histtype="step", linewidth=1.4, color=color)
    left.axhline(held.shape[1] / 20, color="0.2", linestyle="--", label="evenly spread")
    left.set(xlabel=f"number in the box (modulo {modulus:,})", ylabel="numbers", title="the server: locked boxes")
    left.set_ylim(0)
    ticks = np.linspace(0, modulus, 5)
    left.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    left.legend(frameon=False, fontsize=9, loc="lower right")
    reach = 1.05 * np.abs(truth).max()
    right.plot([-reach, reach], [-reach, reach], color="0.5", linestyle="--", linewidth=1)
    right.plot(truth, unlocked, "o", color=OPENED, markersize=4, alpha=0.6)
    right.set(xlabel=f"{label}, in the open", ylabel=f"{label}, unlocked", title="the hospitals: the unlocked sum")
    return fig


def added_errors(errors: Mapping[str, np.ndarray], limit: float) -> Figure:
    """How far sums of boxes lie from a whole number of scales, and where rounding begins to fail.

    Parameters
    ----------
    errors
        Name -> what is left when the message is taken away, whole numbers ``[n]``.
    limit
        Half a scale: from there on a sum is rounded to a wrong value.
    """
    fig, ax = figure(7.5, 3.3)
    reach = max(1.3 * limit, min(4 * limit, max(np.abs(e).max() for e in errors.values())))
    colors = (OPENED, SECRET, PALETTE[1], ALARM)
    for (name, values), color, dashes in zip(errors.items(), colors, DASHES, strict=False):
        width = max(1, round(values.std() / 2))
        bins = np.arange(-reach // width, reach // width + 2) * width - 0.5  # edges between whole numbers
        heights, _ = np.histogram(values, bins)
        ax.stairs(heights / heights.max(), bins, color=color, linewidth=1.6, linestyle=dashes, label=name)
        ax.stairs(heights / heights.max(), bins, color=color, alpha=0.15, fill=True)
    ax.axvspan(-limit, -reach, color="0.85", zorder=0, linewidth=0)
    ax.axvspan(limit, reach, color="0.85", zorder=0, linewidth=0, label="rounds to a wrong value")
    ax.set(xlabel="error of the sum, before rounding", ylabel="frequency (highest = 1)", xlim=(-reach, reach))
    ax.legend(facecolor="white", framealpha=1, edgecolor="white", fontsize=9, loc="upper left")
    return fig


def modulus_room(
    parts: Mapping[str, float], allowed: float, errors: Mapping[float, float] | None, mark: float
) -> Figure:
    """Where the bits of a modulus go, beside what the ring allows, and the error over the scale.

    Parameters
    ----------
    parts
        Name -> bits, in the order in which they are stacked.
    allowed
        Bits at 128 bits of security.
    errors
        Bits of the scale -> largest error; None if the setting was refused.
    mark
        The chosen scale in bits, one of `errors`.
    """
    fig, (left, right) = figure(9.8, 3.5, ncols=2)
    _draw_bits(left, parts, allowed)
    _draw_curve(right, errors, mark)
    return fig


def _draw_bits(ax: Axes, parts: Mapping[str, float], allowed: float) -> None:
    """The parts of the modulus on top of each other, red if they are more than the ring allows."""
    end, safe = 0, sum(parts.values()) <= allowed
    for (name, bits), color in zip(parts.items(), (OPENED, PALETTE[6], "0.7"), strict=False):
        ax.bar([0], [max(bits, 0)], 0.5, bottom=[end], color=color if safe else ALARM, edgecolor="white")
        if bits > 4:  # a thinner one has no room for its name
            ax.text(0.3, end + bits / 2, f"{name}: {bits:g}", va="center", fontsize=9, backgroundcolor="white")
        end += max(bits, 0)
    ax.axhline(allowed, color="0.1", linestyle="--")
    above = dict(xytext=(0, 4), textcoords="offset points", ha="right", va="bottom", fontsize=9)
    ax.annotate("allowed in this ring", (1.45, allowed), **above)
    ax.set(xlim=(-0.4, 1.5), ylim=(0, 1.15 * max(end, allowed)), ylabel="bits of the modulus")
    ax.set_xticks([])


def _draw_curve(ax: Axes, errors: Mapping[float, float] | None, mark: float) -> None:
    """The error by the scale, and the scale that was chosen; nothing but a word if the setting was refused."""
    ax.set(xlabel="scale (bits)", ylabel="largest error of a value")
    if errors is None:
        ax.text(0.5, 0.5, "refused", transform=ax.transAxes, ha="center", fontsize=16, color=ALARM)
        ax.set_xticks([])
        ax.set_yticks([])
        return
    scales = sorted(errors)
    ax.semilogy(scales, [errors[scale] for scale in scales], "-o", color=SECRET, markersize=4)
    ax.plot([mark], [errors[mark]], "o", color=ALARM, markersize=10, label="chosen")
    ax.axhline(1e-4, color="0.4", linestyle=":", label="1e-4: what this lesson asks for")
    ax.legend(frameon=False, fontsize=9)


def encrypted_workflow() -> Figure:
    """The architecture of [Haque et al.], its five steps, and who holds what."""
    fig, ax = sheet(10, 4.3, (0, 20), (0.9, 9.1))
    for y, name in ((7.7, "Northgate"), (5.0, "…"), (2.3, "Harbour")):
        box(ax, 2.6, y, 4.4, 1.9, f"{name}\n1 prepare · 2 train, lock\nholds: rows, model, key", SECRET)
        at = 5.0 + 0.45 * (y - 5.0)
        arrow(ax, (5.1, y + 0.25), (8.5, at + 0.3), "0.35")
        arrow(ax, (8.5, at - 0.3), (5.1, y - 0.3), OPENED)
    box(ax, 10.8, 5.0, 4.2, 4.4, "central server\n3 adds locked boxes\n\nholds: boxes, no key", PALETTE[1])
    box(ax, 17.2, 5.0, 4.0, 2.1, "Google Drive\n“global models and\naggregated updates”", ALARM)
    arrow(ax, (13.1, 5.35), (15.0, 5.35), "0.35")
    arrow(ax, (15.0, 4.65), (13.1, 4.65), "0.35")
    ax.text(7.3, 7.95, "encrypted updates", ha="center", fontsize=10, color="0.25")
    ax.text(7.0, 1.7, "4 the encrypted sum,\nunlocked at home", ha="center", va="center", fontsize=10, color=OPENED)
    note = "an opened global model here, beside\nits encrypted sum: an equation in which\nonly the key is unknown"
    ax.text(17.2, 2.7, note, ha="center", va="center", fontsize=9.5, color=ALARM, linespacing=1.3)
    ax.text(11.2, 2.0, "↻ 5 steps 2 to 4 again", ha="center", va="center", fontsize=10, color="0.25")
    return fig

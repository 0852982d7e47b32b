"""Secure aggregation: masks on paper, shares on a line, the protocol, and what the server gets to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from fedlab_utils.plots.style import PALETTE, figure

HOSPITAL, SERVER, HIDDEN = PALETTE[0], PALETTE[1], "0.45"
PAIRS = (PALETTE[2], PALETTE[4], PALETTE[9])  # one colour for each pair of hospitals


def _tinted(color: str, share: float = 0.18) -> tuple[float, ...]:
    """A light version of a colour, to write on."""
    rgb = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return tuple(1 - share * (1 - c) for c in rgb)


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty sheet measured in inches, from the upper left corner down."""
    made = Figure(figsize=(width, height), facecolor="white")
    ax = made.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    return made, ax


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, color: str, **font) -> None:
    shape = FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=0.06")
    shape.set(facecolor=_tinted(color), edgecolor=color, linewidth=1.2)
    ax.add_patch(shape)
    font = {"fontsize": 12, "color": "0.1"} | font
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", **font)


def read_out(read: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """What a server reads out of updates, against the record: one panel for each thing that it holds.

    Parameters
    ----------
    read : title of the panel -> (in the record [d], read by the server [d]), in standard units
    """
    shown, axes = figure(4.6 * len(read), 3.9, ncols=len(read))
    every = np.concatenate([np.concatenate(pair) for pair in read.values()])
    ends = [every.min() - 0.3, every.max() + 0.3]
    for ax, (title, (record, value)), color in zip(
        np.atleast_1d(axes), read.items(), (PALETTE[3], HIDDEN), strict=False
    ):
        ax.plot(ends, ends, color="0.6", linestyle="--", linewidth=1)
        ax.plot(record, value, "o", color=color, alpha=0.8, markersize=7)
        ax.set(xlabel="in the patient's record (standard units)", ylabel="read by the server", title=title)
        ax.set(xlim=ends, ylim=ends)
    return shown


def masks_on_paper(own: Mapping[str, int], masks: Mapping[tuple[str, str], int], modulus: int) -> Figure:
    """The table that three hospitals could fill in by hand: own number, masks, what is sent, and the sums.

    Parameters
    ----------
    own : hospital -> its number
    masks : pair of hospitals -> the mask they agreed on; the first adds it, the second subtracts it
    modulus : all sums are taken modulo this
    """
    names, pairs = list(own), list(masks)
    wide, high, gap = 1.25, 0.46, 0.14
    x_of = [1.6, *(1.6 + 1.72 + k * (wide + gap) for k in range(len(pairs))), 1.6 + 2.05 + len(pairs) * (wide + gap)]
    made, ax = _canvas(x_of[-1] + 1.75, 1.0 + (len(names) + 1) * (high + gap))
    heads = ["own number", *(f"mask {a} & {b}" for a, b in pairs), f"sends\n(mod {modulus})"]
    for x, head in zip(x_of, heads, strict=True):
        ax.text(
            x + wide / 2,
            0.42,
            head if "\n" in head else fill(head, 13),
            ha="center",
            va="center",
            fontsize=11,
            color="0.35",
        )
    sent = {}
    for row, name in enumerate(names):
        y = 0.82 + row * (high + gap)
        ax.text(0.2, y + high / 2, name, va="center", fontsize=12, color="0.1")
        _box(ax, x_of[0], y, wide, high, str(own[name]), HOSPITAL, weight="bold")
        total = own[name]
        for (pair, mask), x, color in zip(masks.items(), x_of[1:-1], PAIRS, strict=True):
            if name in pair:
                sign = 1 if name == pair[0] else -1
                total += sign * mask
                _box(ax, x, y, wide, high, f"{'+' if sign > 0 else '−'} {mask}", color)
        sent[name] = total % modulus
        ax.text(
            (x_of[-2] + wide + x_of[-1]) / 2, y + high / 2, "=", ha="center", va="center", fontsize=13, color="0.35"
        )
        _box(ax, x_of[-1], y, wide, high, str(sent[name]), SERVER, weight="bold")
    y = 0.82 + len(names) * (high + gap) + 0.1
    ax.plot([0.2, x_of[-1] + wide], [y - 0.08, y - 0.08], color="0.6", linewidth=1)
    ax.text(0.2, y + high / 2, "sum", va="center", fontsize=12, color="0.1")
    _box(ax, x_of[0], y, wide, high, str(sum(own.values()) % modulus), HOSPITAL, weight="bold")
    for x, color in zip(x_of[1:-1], PAIRS, strict=True):
        ax.text(x + wide / 2, y + high / 2, "0", ha="center", va="center", fontsize=12, color=color)
    _box(ax, x_of[-1], y, wide, high, str(sum(sent.values()) % modulus), SERVER, weight="bold")
    return made


def sums(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """The server's sum against the true one, value by value: one panel for each story.

    Parameters
    ----------
    panels : title -> (true sum [d], what the server gets [d])
    """
    shown, axes = figure(4.7 * len(panels), 3.8, ncols=len(panels))
    for ax, (title, (truth, got)), color in zip(
        np.atleast_1d(axes), panels.items(), (PALETTE[2], PALETTE[3]), strict=False
    ):
        ends = [truth.min(), truth.max()]
        ax.plot(ends, ends, color="0.6", linestyle="--", linewidth=1)
        ax.plot(truth, got, "o", color=color, alpha=0.45, markersize=4)
        ax.set(xlabel="true sum of the updates", ylabel="the server's sum", title=title)
    return shown


def shares_on_a_line(secret: int, slope: int, points: Sequence[int], guesses: Sequence[int]) -> Figure:
    """Shamir's idea with threshold two: through one share every secret has its line, through two there is one.

    Parameters
    ----------
    secret, slope : the line is secret + slope * x
    points : where the shares lie
    guesses : secrets whose lines are drawn through the first share
    """
    shown, axes = figure(9.5, 3.9, ncols=2)
    x = np.linspace(0, max(points) + 0.4, 2)
    high = secret + slope * max(points)
    for ax, title in zip(axes, ("one share: every secret fits", "two shares: one line, one secret"), strict=True):
        ax.axvline(0, color="0.3", linewidth=1)
        ax.set(xlabel="x (number of the hospital)", title=title, xlim=(-0.35, x[-1]), ylim=(-8, max(high, 100) + 8))
        ax.set_xticks([0, *points])
    left, right = axes
    at = points[0]
    value = secret + slope * at
    for guess in guesses:
        left.plot(x, guess + (value - guess) / at * x, color="0.7", linewidth=1.2)
        left.plot([0], [guess], "o", color="white", markeredgecolor="0.5", markersize=7, zorder=4)
    left.annotate("secret?", (0, guesses[-1]), xytext=(12, 2), textcoords="offset points", fontsize=10, color="0.35")
    right.plot(x, secret + slope * x, color=HOSPITAL, linewidth=2)
    for ax, some in ((left, points[:1]), (right, points[:2])):
        ax.plot(some, [secret + slope * p for p in some], "s", color=PALETTE[3], markersize=9, zorder=5)
    rest = points[2:]
    right.plot(rest, [secret + slope * p for p in rest], "s", color="white", markeredgecolor=PALETTE[3], markersize=9)
    right.plot([0], [secret], "o", color=HOSPITAL, markersize=10, zorder=5)
    right.annotate(
        f"secret {secret}", (0, secret), xytext=(12, -14), textcoords="offset points", fontsize=11, color=HOSPITAL
    )
    left.set_ylabel("share")
    return shown


_ROUNDS = (
    ("0", "advertise keys", "two public keys, signed", "everybody's public keys", "who takes part"),
    ("1", "share keys", "shares of both secrets, sealed", "the shares meant for you", "nothing it can open"),
    ("2", "masked input", "update + own mask ± pair masks", "who is still here", "uniform numbers, who is left"),
    ("3", "consistency", "signature under that list", "all signatures", "who signed"),
    ("4", "unmask", "survivor: share of own mask\ndropped: share of mask key", "", "the sum"),
)


def protocol_rounds() -> Figure:
    """The five rounds of the protocol: what a hospital sends, what it gets, and what the server has learnt."""
    step, top, x_h, x_s = 0.92, 0.75, 2.95, 6.25
    made, ax = _canvas(9.5, top + len(_ROUNDS) * step + 0.1)
    for x, name, color in ((x_h, "each hospital", HOSPITAL), (x_s, "server", SERVER)):
        _box(ax, x - 0.7, 0.14, 1.4, 0.4, name, color, weight="bold", fontsize=11.5)
    ax.text(8.2, 0.34, "the server now knows", ha="center", va="center", fontsize=11, color="0.35")
    for k, (number, name, up, down, knows) in enumerate(_ROUNDS):
        y = top + k * step
        if number == "3":
            ax.fill_between([0.1, 9.4], y, y + step, color=_tinted(PALETTE[3], 0.1), linewidth=0, zorder=0)
        ax.plot([0.1, 9.4], [y, y], color="0.85", linewidth=0.8, zorder=0)
        ax.text(0.25, y + step / 2, number, va="center", fontsize=17, color="0.6", weight="bold")
        ax.text(0.6, y + step / 2, name, va="center", fontsize=12, color="0.1")
        if number == "3":
            ax.text(0.6, y + step / 2 + 0.24, "against a lying server", va="center", fontsize=9, color=PALETTE[3])
        two = bool(down)
        for share, text, back in ((0.36 if two else 0.62, up, False), (0.82, down, True)):
            if not text:
                continue
            start, end = (x_s, x_h) if back else (x_h, x_s)
            at, color = y + share * step, (SERVER if back else HOSPITAL)
            arrow = dict(arrowstyle="-|>", color=color, linewidth=1.5, shrinkA=0, shrinkB=2)
            ax.annotate("", (end, at), (start, at), arrowprops=arrow)
            ax.text((x_h + x_s) / 2, at - 0.05, text, ha="center", va="bottom", fontsize=10, color="0.15")
        last = "bold" if number == "4" else "normal"
        ax.text(8.2, y + step / 2, knows, ha="center", va="center", fontsize=10.5, color="0.1", weight=last)
    for x in (x_h, x_s):
        ax.plot([x, x], [0.58, top + len(_ROUNDS) * step], color="0.7", linewidth=1.2, zorder=1)
    return made


def server_view(
    masked: np.ndarray, plain: np.ndarray, sums: tuple[np.ndarray, np.ndarray] | None, note: str = ""
) -> Figure:
    """What the server holds of one hospital, byte by byte, and the sum that comes out.

    Parameters
    ----------
    masked : bytes of a masked vector, uint8 [n]
    plain : bytes of the same vector without masks, uint8 [n]
    sums : plain weighted mean and the protocol's, [d] each; None if the protocol refused
    note : why it refused
    """
    shown, (left, right) = figure(9.8, 3.9, ncols=2)
    edges = np.arange(0, 257, 8)
    counts, without = (np.histogram(v, edges)[0] for v in (masked, plain))
    expected = len(masked) / 32
    middle = edges[:-1] + 4
    ceiling = 3 * expected
    left.bar(middle, np.minimum(without, ceiling), width=8, color="0.8", label="without masks (cut off)")
    left.bar(middle, counts, width=6.5, color=SERVER, label="what the server holds")
    left.axhline(expected, color="0.1", linestyle="--", linewidth=1.2, label="if every byte were as likely")
    left.set(xlabel="value of a byte", ylabel="bytes", xlim=(0, 256), ylim=(0, ceiling * 1.35))
    left.set_xticks([0, 64, 128, 192, 255])
    left.legend(frameon=False, fontsize=9, loc="upper left", ncols=1)
    if sums is None:
        right.axis("off")
        where = dict(ha="center", transform=right.transAxes)
        right.text(0.5, 0.6, "no sum", fontsize=18, color=PALETTE[3], **where)
        right.text(0.5, 0.5, fill(note, 44), va="top", fontsize=11, color="0.25", **where)
        return shown
    truth, got = sums
    ends = [min(truth.min(), got.min()), max(truth.max(), got.max())]
    right.plot(ends, ends, color="0.6", linestyle="--", linewidth=1)
    right.plot(truth, got, "o", color=PALETTE[2], markersize=4, alpha=0.6)
    right.set(xlabel="plain mean of the survivors' updates", ylabel="mean out of the protocol")
    return shown


def costs(seconds: Mapping[str, tuple], factors: Mapping[str, tuple]) -> Figure:
    """Time of a round and traffic of a hospital, by the number of hospitals.

    Parameters
    ----------
    seconds : name of the line -> (hospitals [n], seconds [n])
    factors : name of the line -> (hospitals [n], bytes over those of a plain round [n])
    """
    shown, (left, right) = figure(9.8, 3.9, ncols=2)
    for ax, lines, colors in (
        (left, seconds, (PALETTE[9], PALETTE[0], "0.2")),
        (right, factors, (PALETTE[0], PALETTE[2], PALETTE[3])),
    ):
        for (name, (x, y)), color in zip(lines.items(), colors, strict=False):
            ax.plot(x, y, "o-", color=color, markersize=5, label=name)
        ax.set(xscale="log", yscale="log", xlabel="hospitals")
        ticks = sorted({int(n) for x, _ in lines.values() for n in x})
        ax.set_xticks(ticks, [f"{n:,}" for n in ticks], fontsize=9)
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=9)
    left.set(ylabel="seconds a round, all hospitals on one core", title="measured here")
    right.set(ylabel="bytes of a hospital, over a plain update", title="from the sizes of the messages")
    right.set_yscale("linear")
    return shown


def hide_or_add(scales: np.ndarray, right: np.ndarray, error: np.ndarray) -> Figure:
    """Float masks: how often a guess through them is right, and what they do to the sum, by their size.

    Parameters
    ----------
    scales : standard deviation of the masks, in those of an update, [n]
    right : share of right guesses between two updates, [n]
    error : error of the sum, relative to the spread of an update, [n]
    """
    shown, (left, other) = figure(9.8, 3.7, ncols=2)
    left.plot(scales, right, "o-", color=PALETTE[3])
    left.axhline(0.5, color="0.4", linestyle="--", linewidth=1, label="a coin")
    left.set(ylabel="guesses that are right", ylim=(0.45, 1.02), title="does the mask hide?")
    left.legend(frameon=False, fontsize=9)
    other.plot(scales, error, "o-", color=PALETTE[0])
    other.set(yscale="log", ylabel="error of the sum (in spreads)", title="does the mask cancel?")
    for ax in (left, other):
        ax.set(xscale="log", xlabel="size of the masks (in spreads of an update)")
        ax.minorticks_off()
    return shown

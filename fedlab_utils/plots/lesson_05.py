"""Figures of lesson 05: masks on paper, shares on a line, the protocol, and what the server gets to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.style import MARKERS, PALETTE, arrow, box, figure, sheet, tinted

HOSPITAL, SERVER, HIDDEN = PALETTE[0], PALETTE[1], "0.45"
PAIRS = (PALETTE[2], PALETTE[4], PALETTE[6])  # one colour for each pair of hospitals


def read_out(read: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """What a server reads out of updates, against the record: one panel for each thing that it holds.

    Parameters
    ----------
    read
        Title of the panel -> (in the record ``[d]``, read by the server ``[d]``), in standard units.
    """
    fig, axes = figure(4.6 * len(read), 3.9, ncols=len(read))
    every = np.concatenate([np.concatenate(pair) for pair in read.values()])
    ends = [every.min() - 0.3, every.max() + 0.3]
    colors = (PALETTE[3], HIDDEN)
    for ax, (title, (record, value)), color in zip(np.atleast_1d(axes), read.items(), colors, strict=False):
        ax.plot(ends, ends, color="0.5", linestyle="--", linewidth=1)
        ax.plot(record, value, "o", color=color, alpha=0.8, markersize=7)
        ax.set(xlabel="in the patient's record (standard units)", ylabel="read by the server", title=title)
        ax.set(xlim=ends, ylim=ends)
    return fig


def masks_on_paper(own: Mapping[str, int], masks: Mapping[tuple[str, str], int], modulus: int) -> Figure:
    """The table that three hospitals could fill in by hand: own number, masks, what is sent, and the sums.

    Parameters
    ----------
    own
        Hospital -> its number.
    masks
        Pair of hospitals -> the mask they agreed on; the first adds it, the second subtracts it.
    modulus
        All sums are taken modulo this.
    """
    first, wide, high, gap = 1.6, 1.25, 0.46, 0.14  # left edge, and size and distance of the cells, in inches
    left = [first, *(first + 1.72 + k * (wide + gap) for k in range(len(masks)))]
    left.append(first + 2.05 + len(masks) * (wide + gap))
    own_x, *masks_x, sent_x = (edge + wide / 2 for edge in left)
    row_y = [0.82 + row * (high + gap) + high / 2 for row in range(len(own))]
    fig, ax = sheet(left[-1] + 1.75, 1.0 + (len(own) + 1) * (high + gap))

    def cell(x, y, number, color, **font):
        box(ax, x, y, wide, high, str(number), color, filled=True, **font)

    heads = ("own number", *(fill(f"mask {a} & {b}", 13) for a, b in masks), f"sends\n(mod {modulus})")
    for x, head in zip((own_x, *masks_x, sent_x), heads, strict=True):
        ax.text(x, 0.42, head, ha="center", va="center", fontsize=11, color="0.35")
    every = 0
    for name, y in zip(own, row_y, strict=True):
        sent = own[name]
        ax.text(0.2, y, name, va="center", fontsize=12, color="0.1")
        cell(own_x, y, own[name], HOSPITAL, weight="bold")
        for (pair, mask), x, color in zip(masks.items(), masks_x, PAIRS, strict=True):
            if name in pair:
                sign = 1 if name == pair[0] else -1
                sent += sign * mask
                cell(x, y, f"{'+' if sign > 0 else '−'} {mask}", color)
        ax.text((masks_x[-1] + sent_x) / 2, y, "=", ha="center", va="center", fontsize=13, color="0.35")
        cell(sent_x, y, sent % modulus, SERVER, weight="bold")
        every += sent
    y = 0.92 + len(own) * (high + gap) + high / 2  # a little apart from the rows above the line
    ax.plot([0.2, left[-1] + wide], [y - 0.31, y - 0.31], color="0.6", linewidth=1)
    ax.text(0.2, y, "sum", va="center", fontsize=12, color="0.1")
    cell(own_x, y, sum(own.values()) % modulus, HOSPITAL, weight="bold")
    for x, color in zip(masks_x, PAIRS, strict=True):
        ax.text(x, y, "0", ha="center", va="center", fontsize=12, color=color)
    cell(sent_x, y, every % modulus, SERVER, weight="bold")
    return fig


def sums(panels: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """The server's sum against the true one, value by value: one panel for each story.

    Parameters
    ----------
    panels
        Title -> (true sum ``[d]``, what the server gets ``[d]``).
    """
    fig, axes = figure(4.7 * len(panels), 3.8, ncols=len(panels))
    colors = (PALETTE[2], PALETTE[3])
    for ax, (title, (truth, got)), color in zip(np.atleast_1d(axes), panels.items(), colors, strict=False):
        ends = [truth.min(), truth.max()]
        ax.plot(ends, ends, color="0.5", linestyle="--", linewidth=1)
        ax.plot(truth, got, "o", color=color, alpha=0.45, markersize=4)
        ax.set(xlabel="true sum of the updates", ylabel="the server's sum", title=title)
    return fig


def shares_on_a_line(secret: int, slope: int, points: Sequence[int], guesses: Sequence[int]) -> Figure:
    """Shamir's idea with threshold two: through one share every secret has its line, through two there is one.

    Parameters
    ----------
    secret, slope
        The line is secret + slope * x.
    points
        Where the shares lie; one is known on the left, two on the right.
    guesses
        Secrets whose lines are drawn through the first share.
    """
    fig, axes = figure(9.5, 3.9, ncols=2)
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
        left.plot(x, guess + (value - guess) / at * x, color="0.7", linewidth=1.2)  # through (0, guess), (at, value)
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
    return fig


_ROUNDS = (  # number, name, what goes up, what comes down, what the server has learnt
    ("0", "advertise keys", "two public keys, signed", "everybody's public keys", "who takes part"),
    ("1", "share keys", "shares of both secrets, sealed", "the shares meant for you", "nothing it can open"),
    ("2", "masked input", "update + own mask ± pair masks", "who is still here", "uniform numbers, who is left"),
    ("3", "consistency", "signature under that list", "all signatures", "who signed"),
    ("4", "unmask", "survivor: share of own mask\ndropped: share of mask key", "", "the sum"),
)
_TOP, _HEIGHT, _HOSPITAL_X, _SERVER_X = 0.75, 0.92, 2.95, 6.25  # inches


def protocol_rounds() -> Figure:
    """The five rounds of the protocol: what a hospital sends, what it gets, and what the server has learnt."""
    bottom = _TOP + len(_ROUNDS) * _HEIGHT
    fig, ax = sheet(9.5, bottom + 0.1)
    for x, name, color in ((_HOSPITAL_X, "each hospital", HOSPITAL), (_SERVER_X, "server", SERVER)):
        box(ax, x, 0.34, 1.4, 0.4, name, color, filled=True, weight="bold", fontsize=11.5)
        ax.plot([x, x], [0.58, bottom], color="0.7", linewidth=1.2, zorder=1)
    ax.text(8.2, 0.34, "the server now knows", ha="center", va="center", fontsize=11, color="0.35")
    for k, one in enumerate(_ROUNDS):
        _draw_round(ax, _TOP + k * _HEIGHT, *one)
    return fig


def _draw_round(ax: Axes, y: float, number: str, name: str, up: str, down: str, knows: str) -> None:
    """One round of the protocol in the strip below `y`."""
    middle = y + _HEIGHT / 2
    if number == "3":
        ax.fill_between([0.1, 9.4], y, y + _HEIGHT, color=tinted(PALETTE[3], 0.1), linewidth=0, zorder=0)
        ax.text(0.6, middle + 0.24, "against a lying server", va="center", fontsize=9, color=PALETTE[3])
    ax.plot([0.1, 9.4], [y, y], color="0.85", linewidth=0.8, zorder=0)
    ax.text(0.25, middle, number, va="center", fontsize=17, color="0.6", weight="bold")
    ax.text(0.6, middle, name, va="center", fontsize=12, color="0.1")
    _message(ax, y + (0.36 if down else 0.62) * _HEIGHT, _HOSPITAL_X, _SERVER_X, up, HOSPITAL)
    if down:
        _message(ax, y + 0.82 * _HEIGHT, _SERVER_X, _HOSPITAL_X, down, SERVER)
    weight = "bold" if number == "4" else "normal"
    ax.text(8.2, middle, knows, ha="center", va="center", fontsize=10.5, color="0.1", weight=weight)


def _message(ax: Axes, y: float, start: float, end: float, text: str, color: str) -> None:
    """What travels, above an arrow from one side to the other."""
    arrow(ax, (start, y), (end, y), color, linewidth=1.5, shrinkA=0)
    ax.text((start + end) / 2, y - 0.05, text, ha="center", va="bottom", fontsize=10, color="0.15")


def server_view(
    masked: np.ndarray, plain: np.ndarray, sums: tuple[np.ndarray, np.ndarray] | None, note: str = ""
) -> Figure:
    """What the server holds of one hospital, byte by byte, and the sum that comes out.

    Parameters
    ----------
    masked
        Bytes of a masked vector, uint8 ``[n]``.
    plain
        Bytes of the same vector without masks, uint8 ``[n]``.
    sums
        Plain weighted mean and the protocol's, ``[d]`` each; None if the protocol refused.
    note
        Why the protocol refused.
    """
    fig, (left, right) = figure(9.8, 3.9, ncols=2)
    edges = np.arange(0, 257, 8)
    counts, without = (np.histogram(v, edges)[0] for v in (masked, plain))
    expected = len(masked) / 32  # a bar, if all bytes are equally likely
    middle = edges[:-1] + 4
    ceiling = 3 * expected  # without masks most bytes are 0 or 255, and would flatten all other bars
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
        return fig
    truth, got = sums
    ends = [min(truth.min(), got.min()), max(truth.max(), got.max())]
    right.plot(ends, ends, color="0.5", linestyle="--", linewidth=1)
    right.plot(truth, got, "o", color=PALETTE[2], markersize=4, alpha=0.6)
    right.set(xlabel="plain mean of the survivors' updates", ylabel="mean out of the protocol")
    return fig


def costs(seconds: Mapping[str, tuple], factors: Mapping[str, tuple]) -> Figure:
    """Time of a round and traffic of a hospital, by the number of hospitals.

    Parameters
    ----------
    seconds
        Name of the line -> (hospitals ``[n]``, seconds ``[n]``).
    factors
        Name of the line -> (hospitals ``[n]``, bytes over those of a plain round ``[n]``).
    """
    fig, (left, right) = figure(9.8, 3.9, ncols=2)
    for ax, lines, colors in (
        (left, seconds, (PALETTE[6], PALETTE[0], "0.2")),
        (right, factors, (PALETTE[0], PALETTE[2], PALETTE[3])),
    ):
        for (name, (x, y)), color, marker in zip(lines.items(), colors, MARKERS, strict=False):
            ax.plot(x, y, marker + "-", color=color, markersize=5, label=name)
        ax.set(xscale="log", yscale="log", xlabel="hospitals")
        ticks = sorted({int(n) for x, _ in lines.values() for n in x})
        ax.set_xticks(ticks, [f"{n:,}" for n in ticks], fontsize=9)
        ax.minorticks_off()
        ax.legend(frameon=False, fontsize=9)
    left.set(ylabel="seconds a round, all hospitals on one core", title="measured here")
    right.set(ylabel="bytes of a hospital, over a plain update", title="from the sizes of the messages")
    right.set_yscale("linear")
    return fig


def hide_or_add(scales: np.ndarray, right: np.ndarray, errors: Mapping[str, Sequence[float]]) -> Figure:
    """Float masks: how often a guess through them is right, and what they do to the sum, by their size.

    Parameters
    ----------
    scales
        Standard deviation of the masks, in those of an update, ``[n]``.
    right
        Share of right guesses between two updates, ``[n]``.
    errors
        Format of the numbers -> error of the sum, relative to the spread of an update, ``[n]``.
    """
    fig, (left, other) = figure(9.8, 3.7, ncols=2)
    left.plot(scales, right, "o-", color=PALETTE[3])
    left.axhline(0.5, color="0.4", linestyle="--", linewidth=1, label="a coin")
    left.set(ylabel="share of guesses that are right", ylim=(0.45, 1.02), title="does the mask hide?")
    left.legend(frameon=False, fontsize=9)
    for (name, error), marker, line, color in zip(errors.items(), "os^", ("-", "--", ":"), PALETTE, strict=False):
        other.plot(scales, np.maximum(error, _NOTHING), marker + line, color=color, label=name)
    other.set(yscale="log", ylabel="error of the sum (in spreads)", title="does the mask cancel?")
    other.text(0.02, 0.03, "0 is drawn at the bottom", transform=other.transAxes, fontsize=9, color="0.35")
    other.legend(frameon=False, fontsize=9)
    for ax in (left, other):
        ax.set(xscale="log", xlabel="size of the masks (in spreads of an update)")
        ax.minorticks_off()
    return fig


_NOTHING = 1e-17  # an error that a logarithmic axis can show


def fewer_honest(honest: Sequence[int], epsilon: Sequence[float], *, promised: float, scaled_for: int) -> Figure:
    """What noise in shares is worth if fewer members of the sum are honest than it was scaled for.

    Parameters
    ----------
    honest
        How many are, ``[n]``.
    epsilon
        What is spent then, ``[n]``.
    promised
        Epsilon of the promise.
    scaled_for
        The number for which it was made.
    """
    fig, ax = figure(6.4, 3.6)
    honest, epsilon = np.asarray(honest), np.asarray(epsilon)
    ax.axhline(promised, color="0.35", linestyle="--", linewidth=1.3, label=f"promised: {promised:g}")
    ax.plot(honest, epsilon, "o-", color=PALETTE[3], markersize=8, label="epsilon")
    kept = honest == scaled_for
    ax.plot(honest[kept], epsilon[kept], "s", color=PALETTE[2], markersize=11, label="what the noise was scaled for")
    for n, spent in zip(honest, epsilon, strict=True):
        ax.annotate(f"{spent:.2g}", (n, spent), xytext=(7, 5), textcoords="offset points", fontsize=11, color="0.2")
    ax.set(xlabel="honest hospitals in the sum", ylabel="epsilon", ylim=(0, epsilon.max() * 1.18))
    ax.set_xticks(sorted(honest))
    ax.set_xlim(honest.min() - 0.3, honest.max() + 0.5)
    ax.legend(frameon=False, fontsize=10)
    return fig

"""Pictures of the report as inline SVG, each with a title and a description for those who do not see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fedlab_utils.system.markup import Markup, tag

_WIDE = 560  # units of a drawing; the page scales it
_MIDDLE = {"text_anchor": "middle"}


class Dot(NamedTuple):
    """A name, its value, and how far that spreads to both sides (NaN: not known)."""

    name: str
    value: float
    spread: float


def dots(label: str, title: str, said: str, rows: Sequence[Dot], axis: str) -> Markup:
    """A line for each name with a dot at its value and a bar one spread to each side."""
    left, right, step, top = 130, 20, 30, 12
    ends = [end for r in rows for end in (r.value - _known(r.spread), r.value + _known(r.spread))]
    ticks = _ticks(min(ends), max(ends))
    low, high = ticks[0], ticks[-1]

    def x(value: float) -> float:
        return round(left + (value - low) / (high - low) * (_WIDE - left - right), 1)

    bottom = top + step * len(rows)
    parts = []
    for at in ticks:
        parts.append(tag("line", x1=x(at), x2=x(at), y1=top, y2=bottom, class_="rule"))
        parts.append(tag("text", f"{at:g}", x=x(at), y=bottom + 18, text_anchor="middle", class_="soft"))
    for k, r in enumerate(rows):
        y = top + step * (k + 0.5)
        parts.append(tag("text", r.name, x=0, y=y + 4.5))
        if _known(r.spread):
            parts.append(tag("line", x1=x(r.value - r.spread), x2=x(r.value + r.spread), y1=y, y2=y, class_="bar"))
        parts.append(tag("circle", cx=x(r.value), cy=y, r=5, class_="mark"))
    parts.append(tag("text", axis, x=(left + _WIDE - right) / 2, y=bottom + 40, text_anchor="middle"))
    return _svg(label, title, said, bottom + 48, parts)


def risks(label: str, title: str, said: str, points: Sequence[tuple[float, float, float, float]]) -> Markup:
    """Predicted against observed risk: predicted, observed, low and high of each group; the diagonal is perfect."""
    left, top, size = 68, 12, 300
    most = _ticks(0, max(max(p[0], p[3]) for p in points))[-1]

    def x(value: float) -> float:
        return round(left + value / most * size, 1)

    def y(value: float) -> float:
        return round(top + size - value / most * size, 1)

    parts = [tag("rect", x=left, y=top, width=size, height=size, class_="rule")]
    parts.append(tag("line", x1=x(0), y1=y(0), x2=x(most), y2=y(most), class_="dash"))
    for at in _ticks(0, most):
        parts.append(tag("text", f"{at:.0%}", x=x(at), y=top + size + 18, text_anchor="middle", class_="soft"))
        parts.append(tag("text", f"{at:.0%}", x=left - 8, y=y(at) + 4.5, text_anchor="end", class_="soft"))
    for predicted, observed, low, high in points:
        parts.append(tag("line", x1=x(predicted), x2=x(predicted), y1=y(low), y2=y(high), class_="bar"))
        parts.append(tag("circle", cx=x(predicted), cy=y(observed), r=5, class_="mark"))
    parts.append(tag("text", "predicted risk", x=left + size / 2, y=top + size + 40, **_MIDDLE))
    parts.append(tag("text", "observed share", transform=f"translate(14 {top + size / 2:g}) rotate(-90)", **_MIDDLE))
    return _svg(label, title, said, top + size + 48, parts, wide=left + size + 25, class_="square")


def curves(
    label: str,
    title: str,
    said: str,
    lines: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    across: str,
    up: str,
    *,
    most: float,
) -> Markup:
    """Lines from left to right, each with its name at its end; the first is drawn through, the others in dashes."""
    left, top, wide, high = 60, 12, _WIDE - 150, 180
    values = [v for _, ys in lines.values() for v in ys]
    ticks = _ticks(min(values), max(values))

    def x(value: float) -> float:
        return round(left + value / max(most, 1) * wide, 1)

    def y(value: float) -> float:
        return round(top + high - (value - ticks[0]) / (ticks[-1] - ticks[0]) * high, 1)

    parts = []
    for at in ticks:
        parts.append(tag("line", x1=left, x2=left + wide, y1=y(at), y2=y(at), class_="rule"))
        parts.append(tag("text", f"{at:g}", x=left - 8, y=y(at) + 4.5, text_anchor="end", class_="soft"))
    for at in (t for t in _ticks(0, max(most, 1)) if t == int(t) and t <= most):
        parts.append(tag("text", f"{at:g}", x=x(at), y=top + high + 18, class_="soft", **_MIDDLE))
    ends, lowest = {}, 0.0
    for k, (name, (xs, ys)) in enumerate(lines.items()):
        path = "M" + " L".join(f"{x(a)},{y(b)}" for a, b in zip(xs, ys, strict=True))
        parts.append(tag("path", d=path, class_="bar" if not k else "bar dash"))
        ends[name] = x(xs[-1]) + 6, y(ys[-1]) + 4.5
    for k, (name, (at, below)) in enumerate(sorted(ends.items(), key=lambda end: end[1][1])):
        lowest = max(below, lowest + 16) if k else below  # names do not lie on each other
        parts.append(tag("text", name, x=at, y=lowest))
    parts.append(tag("text", across, x=left + wide / 2, y=top + high + 40, **_MIDDLE))
    parts.append(tag("text", up, transform=f"translate(14 {top + high / 2:g}) rotate(-90)", **_MIDDLE))
    return _svg(label, title, said, top + high + 48, parts)


def _svg(label: str, title: str, said: str, height: float, parts: Sequence[Markup], *, wide=_WIDE, **more) -> Markup:
    about = [tag("title", title, id=f"{label}-title"), tag("desc", said, id=f"{label}-desc")]
    box = f"0 0 {wide} {height:g}"
    ids = f"{label}-title {label}-desc"
    return tag("svg", *about, *parts, viewBox=box, role="img", aria_labelledby=ids, **more)


def _known(spread: float) -> float:
    return 0.0 if math.isnan(spread) else spread


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers around all that is drawn."""
    span = max(high - low, 1e-3)
    step = 10.0 ** math.floor(math.log10(span))
    step = next(step * part for part in (0.2, 0.25, 0.5, 1, 2) if span / (step * part) <= 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 10) for k in range(first, max(last, first + 1) + 1)]

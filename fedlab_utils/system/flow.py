"""A system drawn as it is set: what leaves the hospitals, what each viewer sees of it, and with which promise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fedlab_utils.system.markup import Markup, tag
from fedlab_utils.system.settings import Settings

_WIDE, _ROW, _TOP = 624, 96, 28
_BOXES = (0, 144), (262, 112), (480, 144)  # left edge and width: hospitals, server, who gets the result
NONE = "no promise"


class Way(NamedTuple):
    """One thing that goes from the hospitals over the server to somebody.

    Attributes
    ----------
    name, made
        Of what, and what each hospital does for it.
    sent, seen
        What travels to the server, and what the server sees of it.
    result, gets
        What comes out, and who gets it.
    promise
        In words; `NONE` where nothing protects it.
    direct
        Whether there is no server in it.
    """

    name: str
    made: str
    sent: str
    seen: str
    result: str
    gets: str
    promise: str
    direct: bool = False


def ways(s: Settings) -> list[Way]:
    """What goes where, in the order in which it happens."""
    found = [] if s.training.on == "synthetic" and s.synthetic.where == "local" else [_statistics(s)]
    if s.synthetic.where != "none":
        found.append(_invented(s))
    return [*found, _trained(s)]


def server_sees(s: Settings) -> str:
    """What the server sees of the training, by the names of `federated.who_sees_what`."""
    if s.sum.through == "open":
        return "single updates"
    if s.sum.through == "encrypted":
        return "noise only"
    return "noisy sum of every round" if s.promise.unit == "hospital" else "model of every round"


def _budget(epsilon: float | None, unit: str = "record", *, demonstration: bool) -> str:
    if epsilon is None:
        return NONE
    return "demonstration: none" if demonstration else f"epsilon {epsilon:g} a {unit}"


def _statistics(s: Settings) -> Way:
    epsilon = s.data.statistics_epsilon
    sent = "sums with noise" if epsilon is not None else "exact sums"
    promise = _budget(epsilon, demonstration=s.demonstration)
    return Way("Means and spreads", "adds up its columns", sent, f"sees {sent}", "scaling", "all hospitals", promise)


def _invented(s: Settings) -> Way:
    made = s.synthetic
    method = (made.method or "chosen by what is public").replace("_", "-")
    promise = _budget(made.epsilon, demonstration=s.demonstration)
    if made.where == "local":
        return Way(
            "Invented patients", f"invents alone: {method}", "", "", "invented rows", "its own training", promise, True
        )
    gan = made.method in ("gan", "dp_gan")
    what = "critics' gradients" if gan else "counts"
    noisy = "" if made.epsilon is None else ", noise inside" if s.sum.through == "masked" else ", noisy"
    sent = f"masked {what}{noisy}" if s.sum.through == "masked" else f"{what}{noisy}"
    seen = f"opens the sum{' of each step' if gan else ''}" if s.sum.through == "masked" else "sees each hospital's"
    who = "training" if s.training.on != "real" else "who develops"
    return Way("Invented patients", f"together: {method}", sent, seen, "invented rows", who, promise)


def _trained(s: Settings) -> Way:
    on = {"real": "its patients", "synthetic": "invented rows", "both": "both kinds of rows"}[s.training.on]
    noisy = s.promise.unit == "record"
    sent = {"open": "updates", "masked": "masked updates", "encrypted": "encrypted updates"}[s.sum.through]
    sent = f"noisy {sent}" if noisy else sent
    sent += ", noise inside" if s.promise.unit == "hospital" and s.sum.through == "masked" else ""
    seen = {
        "single updates": "sees each update", "noise only": "sees words without sense",
        "noisy sum of every round": "opens the noisy sum", "model of every round": "opens the sum alone",
    }[server_sees(s)]  # fmt: skip
    if s.promise.unit == "hospital" and s.sum.through == "open":
        seen += ", then adds noise"
    promise = _budget(s.promise.epsilon, s.promise.unit, demonstration=s.demonstration)
    if s.training.on == "synthetic":
        promise = f"as the rows: {_budget(s.synthetic.epsilon, demonstration=s.demonstration)}"
    gets = "hospitals, and all who get it"
    return Way("Training", f"learns from {on}", f"{sent}, {s.training.rounds} times", seen, "the model", gets, promise)


def told(s: Settings) -> str:
    """The drawing in words, for those who do not see it."""
    found = []
    for w in ways(s):
        server = "" if w.direct else f"; to the server go {w.sent}, of which it {w.seen}"
        found.append(f"{w.name}: each hospital {w.made}{server}; {w.result} for {w.gets}; promise: {w.promise}.")
    return " ".join(found)


def drawing(s: Settings, *, hospitals: str = "Hospitals") -> Markup:
    """The drawing; `hospitals` says how many there are."""
    rows = ways(s)
    high = _TOP + _ROW * len(rows)
    parts = [_arrowhead()]
    for (left, wide), title in zip(_BOXES, (hospitals, "Server", "Who gets it"), strict=True):
        parts.append(tag("rect", x=left + 1, y=_TOP, width=wide - 2, height=high - _TOP - 1, rx=6, class_="stage"))
        parts.append(tag("text", title, x=left + wide / 2, y=_TOP - 12, text_anchor="middle", class_="name"))
    for k, way in enumerate(rows):
        parts += _row(way, _TOP + _ROW * k)
    about = [tag("title", "The system as it is set", id="flow-title"), tag("desc", told(s), id="flow-desc")]
    box = f"0 0 {_WIDE} {high + 2}"
    return tag("svg", *about, *parts, viewBox=box, role="img", aria_labelledby="flow-title flow-desc", class_="flow")


def _arrowhead() -> Markup:
    path = tag("path", d="M0,0 L8,4 L0,8 z", class_="head")
    return tag(
        "defs",
        tag(
            "marker",
            path,
            id="flow-head",
            markerWidth="8",
            markerHeight="8",
            markerUnits="userSpaceOnUse",
            refX="7",
            refY="4",
            orient="auto",
        ),
    )


def _row(way: Way, top: float) -> list[Markup]:
    middle, found = top + _ROW / 2 + 6, []
    if top > _TOP:
        found.append(tag("line", x1=0, x2=_WIDE, y1=top, y2=top, class_="rule dash"))
    (a, wide), (b, broad), (c, last) = _BOXES
    bare = way.promise.endswith((NONE, "none"))
    style = "way bare" if bare else "way"
    found += _lines([way.name, way.made], a + wide / 2, middle - 6, wide, strong=True)
    found += _lines([way.result, f"for {way.gets}"], c + last / 2, middle - 6, last, strong=True)
    if way.direct:
        found.append(_arrow(a + wide, c, middle, style))
        found += _lines(["no server in it"], (a + wide + c) / 2, middle - 8, c - a - wide, above=True)
    else:
        found.append(_arrow(a + wide, b, middle, style))
        found.append(_arrow(b + broad, c, middle, style))
        found += _lines([way.sent], (a + wide + b) / 2, middle - 8, b - a - wide, above=True)
        found += _lines([way.seen], b + broad / 2, middle - 6, broad)
    kind = "pledge bare" if bare else "pledge"
    x = (a + wide + c) / 2 if way.direct else (b + broad + c) / 2
    found += _lines([way.promise], x, middle + 18, c - b - broad, below=True, class_=kind)
    return found


def _arrow(start: float, end: float, y: float, style: str) -> Markup:
    return tag("line", x1=start + 4, x2=end - 5, y1=y, y2=y, class_=style, marker_end="url(#flow-head)")


def _lines(
    texts: Sequence[str], x: float, y: float, wide: float, *, strong=False, above=False, below=False, class_=None
) -> list[Markup]:
    """Text around a height, above or below it, broken where it is too wide; the first line in strong type."""
    lines = [(line, strong and k == 0) for k, text in enumerate(texts) for line in _broken(text, int(wide / 6.5))]
    start = y - (len(lines) - 1) * (16 if above else 0 if below else 8)
    return [
        tag("text", line, x=x, y=start + 16 * k, text_anchor="middle", class_="strong" if bold else class_)
        for k, (line, bold) in enumerate(lines)
    ]


def _broken(text: str, letters: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > letters:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines

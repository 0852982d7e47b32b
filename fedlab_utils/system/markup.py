"""HTML that is escaped by default: only what `tag` made goes in as it is, everything else is text.

A page made here stands by itself: no script, no font, no picture and no style from anywhere else, and a policy in its
head that forbids them to whatever would have slipped through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import count

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SHORT = 12  # rows of a table that stays on one sheet of paper
_VOID = ("meta", "wbr", "line", "circle", "rect", "path")  # elements that hold nothing

_CSS = """
:root { color-scheme: light dark; --paper: #fffefb; --ink: #1d2329; --soft: #565f67; --rule: #d5d2c9; --tint: #f4f2ec;
  --mark: #1f5c8b; --warn: #8a3b12; --warn-tint: #fbf1e9; }
@media (prefers-color-scheme: dark) { :root { --paper: #16191c; --ink: #e6e4df; --soft: #a9b0b5; --rule: #3b4146;
  --tint: #1f2428; --mark: #8fc3ea; --warn: #f0b48c; --warn-tint: #2b211b; } }
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); font: 100%/1.55 Charter, "Bitstream Charter", Georgia,
  "Noto Serif", "DejaVu Serif", serif; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; overflow-wrap: break-word; }
.page { max-width: 46rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1, h2, h3, table, figcaption, .kind, .status, dt, svg, footer { font-family: system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif; }
.kind { margin: 0; color: var(--soft); font-size: .85rem; letter-spacing: .02em; }
h1 { margin: .1rem 0 .6rem; font-size: 1.8rem; line-height: 1.2; font-weight: 650; }
h2 { margin: 2.6rem 0 .6rem; padding-top: .7rem; border-top: 1px solid var(--rule); font-size: 1.2rem;
  line-height: 1.3; font-weight: 650; }
h3 { margin: 1.5rem 0 .3rem; font-size: 1rem; font-weight: 650; }
p { margin: .6rem 0; }
.lead { font-size: 1.12rem; line-height: 1.5; }
.status { color: var(--soft); font-size: .85rem; }
.note { color: var(--soft); font-size: .92rem; }
.box { margin: 1.2rem 0; padding: .8rem 1.1rem; border-left: 4px solid var(--mark); background: var(--tint); }
.box.warn { border-color: var(--warn); background: var(--warn-tint); }
.box > :first-child { margin-top: 0; } .box > :last-child { margin-bottom: 0; }
ul { margin: .6rem 0; padding-left: 1.2rem; } li { margin: .35rem 0; }
dl { margin: .8rem 0; } dt { margin-top: .8rem; font-size: .9rem; font-weight: 650; } dd { margin: .1rem 0 0; }
.scroll { margin: 1.1rem 0; overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .84rem; line-height: 1.4;
  font-variant-numeric: tabular-nums; }
caption { padding: 0 0 .4rem; text-align: left; font-weight: 650; font-size: .9rem; }
th, td { padding: .32rem .8rem .32rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule);
  overflow-wrap: break-word; min-width: 4.2rem; max-width: 22rem; font-weight: 400; }
thead th { color: var(--soft); border-bottom: 1.5px solid var(--soft); vertical-align: bottom; font-weight: 600;
  }
.number { text-align: right; } :is(th, td):last-child { padding-right: 0; }
figure { margin: 1.3rem 0; } figure svg { display: block; width: 100%; height: auto; max-width: 38rem; }
figure svg.square { max-width: 25rem; }
figcaption { margin-bottom: .4rem; font-size: .9rem; font-weight: 650; }
svg text { fill: var(--ink); font-size: 13px; } svg .soft { fill: var(--soft); }
svg .rule { stroke: var(--rule); fill: none; } svg .mark { stroke: var(--mark); fill: var(--mark); }
svg .bar { stroke: var(--mark); stroke-width: 2; fill: none; } svg .dash { stroke: var(--soft); stroke-dasharray: 4 4; }
pre { padding: .8rem 1rem; background: var(--tint); font: .8rem/1.5 ui-monospace, Consolas, "DejaVu Sans Mono",
  monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: .9em ui-monospace, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
footer { margin-top: 2.6rem; padding-top: .7rem; border-top: 1px solid var(--rule); color: var(--soft);
  font-size: .85rem; }
@media (max-width: 30rem) { .page { padding: 1.25rem 1rem 3rem; } h1 { font-size: 1.5rem; }
  svg text { font-size: 16px; } }
@page { size: A4; margin: 18mm 17mm 20mm; }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --tint: #f4f4f4;
    --mark: #1f5c8b; --warn: #8a3b12; --warn-tint: #f7f1ed; }
  html { font-size: 10pt; } .page { max-width: none; padding: 0; } .scroll { overflow: visible; }
  h1, h2, h3, caption, figcaption { break-after: avoid; } thead { display: table-header-group; }
  th, td { overflow-wrap: anywhere; }
  tr, figure, .box, .short, li, dl > div { break-inside: avoid; } p { orphans: 3; widows: 3; }
  h2 { margin-top: 1.6rem; } .box { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""


class Markup(str):
    """Text that is HTML already."""


def tag(element: str, /, *inside: object, **attributes: object) -> Markup:
    """An element. What is no `Markup` is escaped, in the element and in its attributes; None is left out.

    An underscore at the end of an attribute's name goes, one inside becomes a hyphen: ``class_``, ``aria_label``.
    """
    given = {key.rstrip("_").replace("_", "-"): v for key, v in attributes.items() if v is not None}
    head = "".join(f' {key}="{escape(str(value))}"' for key, value in given.items())
    if element in _VOID:
        return Markup(f"<{element}{head}>" if element in ("meta", "wbr") else f"<{element}{head}/>")
    return Markup(f"<{element}{head}>{joined(*inside)}</{element}>")


def joined(*inside: object) -> Markup:
    """One after the other, escaped where that is needed."""
    return Markup("".join(one if isinstance(one, Markup) else escape(str(one)) for one in inside if one is not None))


def items(sentences: Iterable[object]) -> Markup:
    """Each a point of a list."""
    return tag("ul", *(tag("li", one) for one in sentences))


def box(*inside: object, warn: bool = False) -> Markup:
    """Set apart, since it must not be missed."""
    return tag("div", *inside, class_="box warn" if warn else "box")


def pairs(rows: Iterable[tuple[object, object]]) -> Markup:
    """What is said about each of several things."""
    return tag("dl", *(tag("div", tag("dt", name), tag("dd", said)) for name, said in rows))


def key(path: str) -> Markup:
    """A key of the settings, which may go on in another line after a dot or a hyphen."""
    parts = re.split(r"(?<=[._])", path)
    return tag("code", *(joined(part, tag("wbr")) for part in parts[:-1]), parts[-1])


class Tables:
    """Tables of one page, numbered for the sake of their labels."""

    def __init__(self) -> None:
        self._number = count(1)

    def __call__(self, caption: str, head: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: int = 0):
        """A table whose first column heads its rows; the last `numbers` columns are set to the right.

        It scrolls by itself where it is wider than the screen, with keys too.
        """
        label = f"table-{next(self._number)}"
        first = len(head) - numbers

        def style(column: int) -> str | None:
            return "number" if column >= first else None

        top = tag("tr", *(tag("th", name, scope="col", class_=style(c)) for c, name in enumerate(head)))
        body = []
        for row in rows:
            cells = [tag("th", row[0], scope="row")]
            cells += [tag("td", value, class_=style(c)) for c, value in enumerate(row) if c]
            body.append(tag("tr", *cells))
        whole = tag("table", tag("caption", caption, id=label), tag("thead", top), tag("tbody", *body))
        kind = "scroll short" if len(body) <= _SHORT else "scroll"
        return tag("div", whole, class_=kind, tabindex="0", role="region", aria_labelledby=label)


def section(title: str, *inside: object) -> Markup:
    """A heading and what stands under it."""
    return tag("section", tag("h2", title), *inside)


def document(title: str, header: Markup, sections: Sequence[Markup], footer: Markup) -> str:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(_CSS)),
    )
    inside = tag("div", tag("header", header), tag("main", *sections), tag("footer", footer), class_="page")
    return "<!doctype html>\n" + tag("html", head, tag("body", inside), lang="en") + "\n"

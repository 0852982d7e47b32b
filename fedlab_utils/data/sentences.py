"""How columns, values and counts are named in a sentence, and what a remark is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from typing import NamedTuple

# How harmful what a remark tells is, the worst first.
VOID, DOUBT, KNOWN, HOSPITALS, COLUMNS = range(5)

_NAMES = 150  # letters that names may take in a sentence
_TOKENS = 60
_LONGEST = 40


class Remark(NamedTuple):
    """One sentence about a table, and its rank: `VOID` results, a `DOUBT` about a reading, or mere facts."""

    rank: int
    text: str


def quoted(value) -> str:
    """A value or a name as it stands in code, cut where it is long."""
    text = repr(value.item() if hasattr(value, "item") else value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]}...{text[0]}"


def listed(words: Iterable[str], room: int = _NAMES) -> str:
    """One, two and three; those that find no room are counted. Nothing of none."""
    words, shown = list(words), []
    while words and (not shown or sum(map(len, shown)) + len(words[0]) <= room):
        shown.append(words.pop(0))
    if words:
        return f"{', '.join(shown)} and {len(words)} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def columns(names: Iterable[str], one: str, many: str) -> str:
    """ "Column 'a' is" or "Columns 'a' and 'b' are": the names, with the verb that fits."""
    names = list(names)
    return f"Column{'s' * (len(names) > 1)} {listed(map(quoted, names))} {one if len(names) == 1 else many}"


def it(names: Sized) -> str:
    """What stands for so many names."""
    return "it" if len(names) == 1 else "them"


def counted(tokens: Mapping[str, int]) -> str:
    """'?' (3 times) and '-': each token, with how often it occurs if that is more than once."""
    words = (quoted(t) if t else "a blank" for t in tokens)
    times = (f"{w} ({n} times)" if n > 1 else w for w, n in zip(words, tokens.values(), strict=True))
    return listed(times, _TOKENS)


def rows(n: int, what: str = "row") -> str:
    """1 row, 2,000 rows."""
    return f"{n:,} {what}{'s' * (n != 1)}"

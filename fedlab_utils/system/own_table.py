"""A table of one's own as CSV: looked at from outside before it is parsed, and limited."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import BinaryIO

import pandas as pd

_PIECE = 1 << 20


@dataclass(frozen=True)
class Limits:
    """How much may be read: bytes, lines, columns, and different texts of a column that is learnt from."""

    size: int
    lines: int
    columns: int
    categories: int = 1_000_000

    def __str__(self) -> str:
        size = f"{self.size / 1e6:g} MB"
        return f"at most {size}, {self.lines:,} lines and {self.columns:,} columns"


def read(file: BinaryIO, *, name: str, limits: Limits) -> pd.DataFrame:
    """A table from CSV in UTF-8 with commas and a first line of names.

    Parameters
    ----------
    file
        Opened for bytes, at its beginning.
    name
        What the table is called in sentences.
    limits
        How much may be read.

    Raises
    ------
    ValueError
        With one sentence, if it is too large or no such table.
    """
    if (size := file.seek(0, 2)) > limits.size:
        raise ValueError(f"{name} must have at most {limits.size:,} bytes; it has {size:,}.")
    file.seek(0)
    head = next(iter(file.readline(_PIECE).splitlines()), b"")  # lines may end as on old computers
    if head.count(b",") >= limits.columns:
        raise ValueError(f"{name} must have at most {limits.columns:,} columns; its first line has more.")
    if b"," not in head and any(mark in head for mark in b";\t"):
        raise ValueError(f"{name} must have commas between its columns; its first line has none.")
    lines = sum(piece.count(b"\n") for piece in iter(lambda: file.read(_PIECE), b""))
    if lines > limits.lines:
        raise ValueError(f"{name} must have at most {limits.lines:,} lines; it has {lines:,}.")
    file.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines with more values than names
            frame = pd.read_csv(file, encoding="utf-8-sig", low_memory=False, index_col=False)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning, pd.errors.EmptyDataError) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else " ".join(str(error).split())[:150]
        raise ValueError(f"{name} must be a table as CSV: {why.rstrip('.')}.") from None
    if len(frame) > limits.lines:  # lines may end in other ways than those that were counted
        raise ValueError(f"{name} must have at most {limits.lines:,} lines; it has {len(frame):,}.")
    return frame


def many_texts(frame: pd.DataFrame, limits: Limits) -> list[str]:
    """Columns of so many different texts that nothing can be learnt from them, such as names and notes."""
    texts = frame.select_dtypes(exclude=["number", "bool"])
    return [str(name) for name in texts if texts[name].nunique() > limits.categories]

"""A hospital's own ledger on its own disk: what was charged, and what was answered.

Everything is written ahead: a round is charged before its update leaves, and an answer lies on the disk before it is
sent. So a hospital that was killed at any moment knows, when it is back, what can have left it: it charges nothing
twice, forgets nothing, and what it sends again is the same bytes.

`book.jsonl` has a line for each event. A line counts once its end is there; the last one may be torn by a crash, and is
then cut off, since nothing that rests on it can have happened yet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any

from fedlab_utils._arguments import path as checked_path

_NAME = "book.jsonl"


class Book:
    """One hospital's book. Only one process can have it open.

    Parameters
    ----------
    folder
        Where it lies; made for its owner alone if it is not there.
    on_write
        Called with "before" and "after" around each line and each answer that is written: for tests that kill.

    Raises
    ------
    ValueError
        If a line in the middle is damaged, or somebody else has the book open.
    """

    def __init__(self, folder: str | Path, *, on_write: Callable[[str], None] | None = None) -> None:
        self.folder = Path(checked_path("folder", folder))
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._told = on_write or (lambda moment: None)
        self._torn = False
        self._file = _opened(self.folder / _NAME)
        try:
            _lock(self._file)
        except OSError:
            self._file.close()
            raise ValueError(f"folder must belong to one hospital that runs once; {str(folder)!r} is in use.") from None
        self.lines: list[dict[str, Any]] = self._read()

    def close(self) -> None:
        """Let go of it; another process can open it then."""
        self._file.close()

    def __enter__(self) -> Book:
        return self

    def __exit__(self, *gone) -> None:
        self.close()

    # ---- lines

    def write(self, what: str, **about) -> dict[str, Any]:
        """Append an event; when this returns, it is on the disk.

        Raises
        ------
        OSError
            If the disk does not take it, now or at any time before.
        """
        line = {"what": what, **about}
        if self._torn:
            raise OSError(f"{self.folder / _NAME} could not be written to; start this hospital again.")
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        self._told("before")
        self._torn = True  # until all of it is there: nothing may follow half a line
        if self._file.write(text) != len(text):
            raise OSError(f"{self.folder / _NAME} could not be written to: is the disk full?")
        os.fsync(self._file.fileno())
        self._torn = False
        self.lines.append(line)
        self._told("after")
        return line

    def of(self, what: str, **about) -> Iterator[dict[str, Any]]:
        """The events of a kind, oldest first, of which all of this is true."""
        for line in self.lines:
            if line["what"] == what and all(line.get(key) == value for key, value in about.items()):
                yield line

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        *whole, torn = self._file.read().split(b"\n")
        found, kept = [], 0
        for number, text in enumerate(whole, start=1):
            line = _event(text)
            if line is None:
                if number == len(whole) and not torn and b"\0" in text:
                    break  # what a crash left of a line whose end came to the disk first
                raise ValueError(f"Line {number} of {self.folder / _NAME} is damaged: nobody knows what was spent.")
            found.append(line)
            kept += len(text) + 1
        self._file.truncate(kept)
        self._file.seek(kept)
        return found

    # ---- answers

    def answer(self, agreement: str, round: int, kind: str, asked: bytes) -> bytes | None:
        """What was answered to this request; None if nothing was.

        Raises
        ------
        Another
            If something else was asked, and answered, of this kind in this round.
        """
        line = next(self.of("answered", agreement=agreement, round=round, kind=kind), None)
        if line is None:
            return None
        if line["asked"] != sha256(asked).hexdigest():
            raise Another
        found = self._place(agreement, round, kind).read_bytes()
        if sha256(found).hexdigest() != line["sha256"]:
            raise ValueError(f"The answer of round {round} in {self.folder} is damaged; it is not sent.")
        return found

    def keep(self, agreement: str, round: int, kind: str, asked: bytes, answer: bytes, **about) -> bytes:
        """Write an answer to the disk; when this returns, it may be sent. Those of earlier rounds are deleted."""
        place = self._place(agreement, round, kind)
        self._told("before")
        for old in self.folder.glob(f"answer-{agreement[:12]}-*.bin"):
            if old.name.split("-")[2] != str(round):
                old.unlink()
        write_whole(place, answer)
        hashes = dict(asked=sha256(asked).hexdigest(), sha256=sha256(answer).hexdigest())
        self.write("answered", agreement=agreement, round=round, kind=kind, **hashes, **about)
        return answer

    def _place(self, agreement: str, round: int, kind: str) -> Path:
        return self.folder / f"answer-{agreement[:12]}-{round}-{kind}.bin"


class Another(Exception):
    """This was answered already, to another request."""


def write_whole(place: Path, content: bytes) -> None:
    """A file that is there whole or not at all, for its owner alone."""
    new = place.with_name(f".{place.name}.new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, place)
    _sync_folder(place.parent)


def _opened(place: Path) -> FileIO:
    fresh = not place.exists()
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
    if fresh:
        _sync_folder(place.parent)
    return os.fdopen(descriptor, "r+b", buffering=0)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(file: FileIO) -> None:
    """Hold the book alone until it is closed, or the process ends."""
    if os.name == "nt":
        import msvcrt

        file.seek(2**30)  # beyond every line: what is locked cannot be read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _event(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("what"), str) else None

"""One way to show how far long work has come, and to stop it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tqdm import tqdm

_listener: ContextVar[Callable[[str, float], object] | None] = ContextVar("listener", default=None)


def progress(steps: Iterable, label: str, total: int, *, quiet: bool = False) -> Iterable:
    """A bar around `steps` for what takes longer than two seconds.

    In a notebook it stands in the cell's output (standard error would be red there); elsewhere on standard error, and
    only where a person looks: never in pipes and files. Where somebody is `listening`, they are told instead.
    """
    if (hear := _listener.get()) is not None:
        return _told(steps, label, total, hear)
    notebook = "ipykernel" in sys.modules
    place = sys.stdout if notebook else sys.stderr
    unseen = not (notebook or place.isatty())
    return tqdm(steps, label, total, delay=2, leave=False, file=place, disable=quiet or unseen)


@contextmanager
def listening(hear: Callable[[str, float], object]) -> Iterator[None]:
    """Inside, all long work of this thread tells `hear` before each step: what it does, and the share that is done.

    What `hear` raises goes through the work to whoever asked for it, and so stops it.
    """
    before = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(before)


def _told(steps: Iterable, label: str, total: int, hear: Callable[[str, float], object]) -> Generator:
    for k, step in enumerate(steps):
        hear(label, k / total)
        yield step

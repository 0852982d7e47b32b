"""One way to show how far long work has come."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(steps: Iterable, label: str, total: int, *, quiet: bool = False) -> tqdm:
    """A bar around `steps` for what takes longer than two seconds.

    In a notebook it stands in the cell's output (standard error would be red there); elsewhere on standard error, and
    only where a person looks: never in pipes and files.
    """
    notebook = "ipykernel" in sys.modules
    place = sys.stdout if notebook else sys.stderr
    unseen = not (notebook or place.isatty())
    return tqdm(steps, label, total, delay=2, leave=False, file=place, disable=quiet or unseen)

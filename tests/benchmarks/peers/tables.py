"""How every benchmark measures and prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def seconds(functions: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median time of each; they take turns, so that a busy moment of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for repeat in range(repeats + 1):  # the first one warms up
        for name, function in functions.items():
            begin = time.perf_counter()
            function()
            if repeat:
                times[name].append(time.perf_counter() - begin)
    return {name: median(values) for name, values in times.items()}


def show(title: str, head: list[str], lines: list[list[str]], aim: str = "") -> None:
    """Print a table, and below it what was aimed at."""
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    print(f"\n{title}")
    for line in [head, *lines]:
        print("  " + "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)), flush=True)
    if aim:
        print(f"  Aimed at: {aim}.", flush=True)

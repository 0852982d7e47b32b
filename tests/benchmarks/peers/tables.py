"""How every benchmark measures and prints."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

RECORDS = "FEDLAB_BENCH_RECORDS"  # the environment's name of the file of which `tools/bench.py` makes one table


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


def beside(what: str, peer: str, ours: float, theirs: float, *, same: str, unit: str = "s") -> None:
    """Note for the one table of `course.py bench` what the same work takes with our code and with another tool.

    Parameters
    ----------
    what : str
        The work, with its size.
    peer : str
        The tool that does the same.
    ours, theirs : float
        What each takes, in `unit`, measured in turns.
    same : str
        How the script made sure that both do the same, or what differs.
    unit : str
        Of both numbers: ``"s"`` or, for what travels, ``"kB"``.
    """
    if RECORDS in os.environ:
        script = Path(sys.argv[0]).stem
        record = dict(script=script, what=what, peer=peer, ours=ours, theirs=theirs, same=same, unit=unit)
        with Path(os.environ[RECORDS]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

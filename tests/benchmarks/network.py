"""What a round between processes costs on this machine, and what 1,000 hospitals would need, in one run.

    python tests/benchmarks/network.py            3, 10 and 30 hospitals; two minutes; let nothing else run
    python tests/benchmarks/network.py --quick    3 and 10
    python tests/benchmarks/network.py --flower 3 the same plan on Flower alone, for 3 hospitals; two minutes

Each hospital is a process, dialling the coordinator over the loopback by HTTPS with certificates. Rounds are tiny on
purpose (a network of 30-16-1, a few dozen rows), so that what is measured is the carrying. Bytes of messages are exact;
those on the wire are what Linux counted on the loopback, with TLS, HTTP and TCP. Seconds depend on the machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from peers.tables import beside, show  # noqa: E402

from fedlab_utils import data, network  # noqa: E402
from fedlab_utils.network import here, messages  # noqa: E402
from fedlab_utils.network.agreement import Agreement  # noqa: E402
from fedlab_utils.system import Settings, Sum, Training  # noqa: E402
from tests.network.nursery import Nursery  # noqa: E402

ROUNDS, FLOWER_ROUNDS = 8, 4
LOOPBACK = Path("/sys/class/net/lo/statistics/rx_bytes")
SAME = "models bit by bit; Flower starts a process for each message"
STAGES = ("advertise", "keys", "share", "letters", "mask", "masked", "check", "signature", "unmask", "shares")


def agreed(n: int, *, masked: bool, rounds: int = ROUNDS) -> tuple[Agreement, object]:
    federation = data.load("breast_cancer").repartition(n, None)
    settings = Settings(training=Training(rounds=rounds, hidden=(16,)), sum=Sum(through="masked" if masked else "open"))
    return Agreement.of(federation, settings, deadline=60.0), federation


def on_the_wire() -> int:
    return int(LOOPBACK.read_text()) if LOOPBACK.exists() else 0


def between_processes(n: int, *, masked: bool, launch) -> list[str]:
    """One line of the table: the first round, in which connections are made, is left out."""
    agreement, federation = agreed(n, masked=masked)
    before = on_the_wire()
    with here.on_this_machine(agreement, federation, seconds=400, launch=launch) as machines:
        if machines.wait(seconds=390):
            sys.exit(machines.output("coordinator"))
        rounds = machines.result().history
    wire = (on_the_wire() - before) / n / ROUNDS
    assert all(len(r.came) == n for r in rounds)
    name = agreement.hospitals[0]
    down, up = rounds[-1].down[name], rounds[-1].up[name]
    return [str(n), "masked" if masked else "open", "HTTPS", f"{median(r.seconds for r in rounds[1:]):.2f}",
            f"{down / 1000:.1f}", f"{up / 1000:.1f}", f"{wire / 1000:.1f}" if wire else "not counted"]  # fmt: skip


def in_one_process(n: int, folder: Path) -> list[str]:
    """The same without a carrier, in the open: what is left is training and the book."""
    agreement, federation = agreed(n, masked=False)
    parts = {h.name: network.HospitalPart(agreement, h, folder / h.name) for h in federation.hospitals}
    run = network.Coordinator(agreement, network.InProcess(parts)).run()
    seconds = median(r.seconds for r in run.history[1:])
    return [str(n), "open", "none, in turn", f"{seconds:.2f}", *("the same",) * 2, "0"]


def start_up() -> str:
    """Processor seconds from nothing to a hospital that is ready to dial, and of PyTorch alone."""
    used = []
    for text in ("import torch", "from fedlab_utils.network import command, dial, hospital, rows"):
        before = os.times()
        subprocess.run([sys.executable, "-c", text], check=True, cwd=ROOT)
        after = os.times()
        used.append(sum(after[2:4]) - sum(before[2:4]))
    return (
        f"A hospital's process is ready after {used[1]:.1f} s of processor time, of which PyTorch takes {used[0]:.1f}."
    )


def on_paper(n: int) -> list[list[str]]:
    """Bytes that the agreement fixes, for so many hospitals and a model of the same size, and for one of a million."""
    rows = []
    for hidden, masked in (((16,), False), ((16,), True), ((1000, 968), False), ((1000, 968), True)):
        agreement, _ = agreed(3, masked=masked)
        names = tuple(f"Hospital {k}" for k in range(n))
        settings = replace(agreement.settings, training=replace(agreement.settings.training, hidden=hidden))
        there = replace(agreement.network, hospitals=names, max_rows=2**17 if masked else None, limit=1.0)
        large = Agreement(settings, agreement.columns, there)
        kinds = STAGES if masked else ("train", "update")
        sizes = [messages.HEADER_BYTES + messages.lengths(large, kind)[-1] for kind in kinds]
        down, up = sum(sizes[0::2]), sum(sizes[1::2])
        rows.append([f"{large.d:,}", "masked" if masked else "open", f"{down / 1e6:.3f}", f"{up / 1e6:.3f}",
                     f"{n * (down + up) / 1e6:,.0f}", f"{n * (down + up) * 8 / 1e9:.1f}"])  # fmt: skip
    return rows


def on_flower(n: int, launch) -> None:
    """The same plan through both carriers, one after the other."""
    if importlib.util.find_spec("flwr") is None:
        print("\nFlower is not installed (extra network): no comparison with it.")
        return
    from peers import flower_network

    agreement, federation = agreed(n, masked=False, rounds=FLOWER_ROUNDS)
    (ours, few), (flowers, many) = flower_network.compared(agreement, federation, launch)
    what, who, same = f"a round between processes, {n} hospitals", "Flower, deployed", SAME
    beside(what, who, ours, flowers, same=same)
    beside(f"{what}, through TCP for each", who, few, many, same=same, unit="kB")
    lines = [
        [str(n), "HTTPS, ours", f"{ours:.2f}", f"{few:.1f}"],
        [str(n), "Flower", f"{flowers:.2f}", f"{many:.1f}"],
        [str(n), "Flower / ours", f"{flowers / ours:.0f}", f"{many / few:.1f}"],
    ]
    heads = ["hospitals", "carrier", "seconds a round", "kB through TCP for each"]
    show("The same plan on Flower", heads, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--flower", type=int, metavar="N", help="only the comparison with Flower, for N hospitals")
    options = parser.parse_args()
    start, nursery = time.perf_counter(), Nursery() if os.name != "nt" else None
    launch = nursery.launch if nursery else here.launch
    if not options.flower:
        tables((3, 10) if options.quick else (3, 10, 30), launch)
    on_flower(options.flower or 3, launch)
    if nursery:
        nursery.end()
    print(f"\n{time.perf_counter() - start:.0f} s")


def tables(sizes: tuple[int, ...], launch) -> None:
    """Print what a round costs, and what 1,000 hospitals would need."""
    heads = ["hospitals", "sum", "carrier", "seconds a round", "kB to each", "kB from each", "kB on the wire for each"]
    with tempfile.TemporaryDirectory() as folder:
        table = [in_one_process(n, Path(folder) / str(n)) for n in sizes]
    table += [between_processes(n, masked=masked, launch=launch) for masked in (False, True) for n in sizes]
    show("A round between processes", heads, table)
    print(start_up())
    show(
        "1,000 hospitals on paper, each round",
        ["parameters", "sum", "MB to each", "MB from each", "MB in all", "s at 1 Gbit/s"],
        on_paper(1000),
    )


if __name__ == "__main__":
    main()

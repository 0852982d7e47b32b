"""What secure aggregation costs here, with Flower's SecAgg+, and at the very least, in one run.

    python tests/benchmarks/secagg.py            four minutes; let nothing else run
    python tests/benchmarks/secagg.py --quick    one minute: fewer hospitals and values, Flower with 11 hospitals only

All hospitals and the server take turns in one process and one thread. Only ratios of one run mean anything; seconds
depend on the machine, and on what else it does.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import cryptography  # noqa: E402
import numpy as np  # noqa: E402
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # noqa: E402
from dp_accounting import rdp  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402

from fedlab_utils import secagg  # noqa: E402
from fedlab_utils.privacy import RecordDP, epsilon, noise_for  # noqa: E402
from fedlab_utils.privacy.accounting import composed  # noqa: E402
from fedlab_utils.privacy.events import DiscreteGaussianDpEvent, SkellamDpEvent  # noqa: E402
from fedlab_utils.secagg.noise import scaled  # noqa: E402

try:
    from peers import flower_secagg
except ImportError:
    flower_secagg = None

D = 100_000  # values of an update
LIMIT = 0.5  # of a value: ten times the spread of the updates
NO_PEER = 'Flower is not installed, so these are our figures alone; to compare: python -m pip install -e ".[bench]"'


def updates(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """What each hospital has to say, and its rows: for Flower's hospitals the same."""
    values = [np.random.default_rng(u).normal(0, 0.05, d).astype(np.float32) for u in range(n)]
    return np.stack(values), np.array([100 + 45 * (u % 20) for u in range(n)])


def words(n: int, d: int) -> np.ndarray:
    """Any words will do."""
    return np.random.default_rng(0).integers(0, 2**32, (n, d), dtype=np.uint32)


def setup(n: int, d: int, malicious: bool = True) -> secagg.Setup:
    return secagg.Setup(n, secagg.default_threshold(n), d, 32, malicious=malicious)


def timed(function: Callable, *args: object) -> np.ndarray:
    """Seconds on the clock, and of the processor: what others do on the machine adds to the former only."""
    begin = time.perf_counter(), time.process_time()
    function(*args)
    return np.array([time.perf_counter() - begin[0], time.process_time() - begin[1]])


# --- are we comparing the same thing? -----------------------------------------------------------------------


def same_answer() -> None:
    """The protocol gives the sum of the words, bit for bit, whoever drops out."""
    x, lines = words(11, 1000), []
    for malicious in (False, True):
        for drop in ({}, {3: "mask"}, {0: "share", 5: "mask", 7: "unmask"}):
            outcome = secagg.run(x, setup(11, 1000, malicious), drop=drop)
            if not (outcome.total == x[list(outcome.survivors)].sum(0, dtype=x.dtype)).all():
                sys.exit(f"With {drop or 'no'} dropouts the sum is wrong: no figure below would mean anything.")
            lines.append([_model(malicious), ", ".join(f"{u}: {s}" for u, s in drop.items()) or "-", "0"])
    show("Sum of 11 hospitals, difference from adding in the open", ["server", "dropouts", "difference"], lines)
    (x, rows), alive = updates(11, 1000), np.arange(11) != 3
    for malicious in (False, True):
        secure = secagg.SecureSum(limit=LIMIT, malicious=malicious)
        masked, plain = (
            f(x, rows, alive=alive, rng=np.random.default_rng(0))[0] for f in (secure.aggregate, secure.quick)
        )
        if not (masked == plain).all():
            sys.exit("SecureSum and the same grid without masks disagree: no figure below would mean anything.")
    print("  SecureSum equals the quantised plain mean bit for bit, against a server of either kind.", flush=True)


def _model(malicious: bool) -> str:
    return "may lie" if malicious else "only looks"


# --- how much of it is unavoidable --------------------------------------------------------------------------


def floor(n: int, d: int, hospitals: int) -> None:
    """What some hospitals add, with nothing around it: each its own mask, and one for each peer."""
    zeros, total = bytes(4 * d), np.zeros(d, dtype="<u4")
    for _ in range(hospitals * n):
        stream = Cipher(algorithms.AES(os.urandom(32)), modes.CTR(bytes(16))).encryptor()
        total += np.frombuffer(stream.update(zeros), dtype="<u4")


def beside_the_floor(quick: bool) -> None:
    """A round beside its masks alone: n for each of n hospitals, n more that the server takes off."""
    lines = []
    for n, d in ((50, D), (50, 3 * D)) if quick else ((100, D), (100, 10 * D)):
        x, some = words(n, d), n // 10
        least, ours = [timed(floor, n, d, some)], {}
        for malicious in (False, True):
            ours[malicious] = timed(secagg.run, x, setup(n, d, malicious))
            least.append(timed(floor, n, d, some))
        bottom = np.median(least, axis=0) * (n + 1) / some
        line = [f"{n} x {d:,}", f"{bottom[0]:.1f} s", f"{bottom[1]:.1f} s"]
        for took in ours.values():
            line += [f"{took[0]:.1f} s", f"{took[1]:.1f} s", f"{took[1] / bottom[1]:.2f}x"]
        what = f"a masked sum, {n} hospitals, {d:,} values; processor time"
        beside(what, "its AES streams and additions alone", ours[False][1], bottom[1], same="a floor: no protocol")
        lines.append(line)
    head = ["hospitals x values", "floor", "processor", "only looks", "processor", "/ floor", "may lie", "processor"]
    title = "A round beside AES streams and additions alone (measured in between, for a tenth of the hospitals)"
    show(title, [*head, "/ floor"], lines, "100 x 100,000 in under 4 s; 100 x 1,000,000 within 2x of the floor")
    print("  The ratio is that of processor seconds, which a busy machine stretches least. It can fall below 1: the")
    print("  floor makes each stream whole before adding it, the package in pieces that stay in the processor's cache.")


# --- how it grows -------------------------------------------------------------------------------------------


def growth(quick: bool) -> None:
    """Seconds and bytes of each hospital, by hospitals and by values."""
    by_n = [(n, 10_000) for n in ((10, 20, 40) if quick else (10, 20, 40, 80))]
    by_d = [(20, d) for d in ((10_000, 100_000) if quick else (10_000, 100_000, 1_000_000))]
    for name, shapes, axis in (("hospitals", by_n, 0), ("values", by_d, 1)):
        costs, lines = [], []
        for n, d in shapes:
            took = seconds({"": partial(secagg.run, words(n, d), setup(n, d))}, 1 if n * n * d > 10**8 else 3)[""] / n
            moved = secagg.traffic(n, d, 32)
            costs.append((took, moved["client sends"] + moved["client receives"]))
            times = costs[-1][1] / moved["plain update"]
            lines.append([f"{n}", f"{d:,}", f"{1e3 * took:.1f} ms", f"{costs[-1][1]:,}", f"{times:.2f}x"])
        for i, ((shape, cost), (more, dearer)) in enumerate(pairwise(zip(shapes, costs, strict=True))):
            step = math.log(more[axis] / shape[axis])
            lines[i + 1] += [f"{math.log(b / a) / step:.2f}" for a, b in zip(cost, dearer, strict=True)]
        lines[0] += ["-", "-"]
        head = ["hospitals", "values", "seconds", "bytes", "/ plain update", "slope: seconds", "slope: bytes"]
        show(f"What one hospital costs (its share of the server's work included), by {name}", head, lines)
    print("  Slope: cost grows as this power, from the line above. 1 is in proportion.")
    lines = []
    for n in (100, 1_000, 10_000):
        for k in (None, 50, 100, 200):
            if k is None or k < n:
                moved = secagg.traffic(n, D, 32, neighbours=k)
                own = moved["client sends"] + moved["client receives"]
                times = own / moved["plain update"]
                lines.append([f"{n:,}", str(k or "all"), f"{own:,}", f"{times:.2f}x", f"{(k or n - 1) + 1:,}"])
    head = ["hospitals", "neighbours", "bytes of each", "/ plain update", "masks of each"]
    show(f"On paper: {D:,} values, and masks with some neighbours only (Bell et al., CCS 2020)", head, lines)
    print("  How many neighbours are enough depends on who may drop out or collude: see eprint 2020/704.")


# --- dropouts -----------------------------------------------------------------------------------------------


def stages(n: int, d: int, gone: int) -> dict[str, float]:
    """Seconds of each stage; so many hospitals fall silent when masked words are due."""
    at, x = setup(n, d, malicious=False), words(n, d)
    clients, server, took = [secagg.Client(u, at) for u in range(n)], secagg.Server(at), {}

    def step(name, function):
        begin = time.perf_counter()
        result = function()
        took[name] = time.perf_counter() - begin
        return result

    keys = server.keys([client.advertise() for client in clients])
    letters = step("sharing", lambda: [m for client in clients for m in client.share(keys[client.number])])
    boxes, left = server.forward(letters), clients[gone:]
    masked = step("masking", lambda: [client.mask(boxes[client.number], x[client.number]) for client in left])
    told = server.survivors(masked)
    shares = [client.unmask([told[client.number]]) for client in left]
    total = step("unmasking", lambda: server.total(shares))
    if not (total == x[gone:].sum(0, dtype=x.dtype)).all():
        sys.exit(f"With {gone} of {n} hospitals gone the sum is wrong: its time would mean nothing.")
    return took


def dropouts(quick: bool) -> None:
    """The server's work when some are gone: it makes the masks that they would have cancelled."""
    lines = []
    for n in (20, 50) if quick else (20, 50, 100):
        none = 0.0
        for gone in (0, 1, n // 10):
            took = stages(n, D, gone)
            none = none or took["unmasking"]
            masks = (n - gone) * (1 + gone)
            cells = [f"{1e3 * took[name]:.0f} ms" for name in ("sharing", "masking", "unmasking")]
            lines.append([str(n), str(gone), *cells, f"{took['unmasking'] / none:.1f}x", str(masks)])
    head = ["hospitals", "gone", "sharing, all", "masking, all", "unmasking", "/ nobody gone", "masks taken off"]
    show(f"Dropouts, {D:,} values, a server that only looks", head, lines)


# --- whole rounds -------------------------------------------------------------------------------------------


def rounds(quick: bool) -> None:
    """One round of the seam, quantising included, and one round of Flower's."""
    lines = []
    for n in (11, 31) if quick else (11, 31, 51, 100):
        x, rows = updates(n, D)
        secure = {m: secagg.SecureSum(limit=LIMIT, malicious=m) for m in (False, True)}
        work = dict(alive=[True] * n, rng=np.random.default_rng(0))
        each = {m: partial(s.aggregate, x, rows, **work) for m, s in secure.items()}
        took = seconds(each, 1 if n > 51 else 3)
        mean = np.average(x, axis=0, weights=rows)
        error = np.abs(each[False]()[0] - mean).max()
        line = [str(n), f"{took[False]:.2f} s", f"{took[True]:.2f} s", f"{error:.0e}"]
        if flower_secagg is None or n > (11 if quick else 51):
            lines.append([*line, *["-"] * 6])
            continue
        theirs = flower_secagg.simulate(n, D, secagg.default_threshold(n))
        error = np.abs(theirs.mean - mean).max()
        if not error < flower_secagg.precision(n) + 1e-6:  # and float32
            sys.exit(f"Flower's mean is off by {error:.1e}, more than its rounding: no comparison would be honest.")
        net = theirs.secure - theirs.empty
        cells = [f"{theirs.start_up:.1f} s", f"{theirs.start_up + theirs.secure:.1f} s", f"{theirs.empty:.2f} s"]
        ratios = [f"{net / took[m]:.1f}x" for m in (False, True)]
        lines.append([*line, f"{error:.0e}", *cells, f"{net:.2f} s", "  ".join(ratios)])
        what, who = f"a masked round, {n} hospitals, {D:,} values", "Flower's SecAgg+, less an empty round"
        beside(what, who, took[False], net, same="both the mean, within their rounding")
    head = ["hospitals", "only looks", "may lie", "error", "Flower: error", "start-up", "gross", "empty round", "net"]
    aim = "20x and more at 31 and 51. Net: less the start-up and one round without masks"
    show(f"One round with {D:,} values (net of Flower as a multiple of ours)", [*head, "net / ours"], lines, aim)
    if flower_secagg is None:
        print(f"  {NO_PEER}")
        return
    print("  Flower's SecAgg+ has a server that only looks. All hospitals are neighbours (a share for each), and the")
    print("  threshold is ours, two thirds of them; one round. It runs on all cores, and its masks grow from 32 bits.")


# --- noise inside the sum -----------------------------------------------------------------------------------


def noise_inside(quick: bool) -> None:
    """What rounding, short words and accounting cost, against Gaussian noise that a trusted server would add."""
    lines, orders = [], np.arange(2, 257)
    for d in (400, 100_000):
        for n in (5, 20) if quick else (5, 20, 100):
            for target in (1.0, 8.0):
                z, members = noise_for(target), secagg.default_threshold(n) - 1
                plain, _ = rdp.compute_epsilon(orders.astype(float), orders / (2 * z * z), 1e-5)
                cells = []
                for bits in (12, 16, 20, 24, 32):
                    cells.append(_more(z, d, n, members, bits, float(plain)))
                lines.append([f"{d:,}", str(n), f"{target:g}", f"{plain / epsilon(z) - 1:.1%}", *cells])
    head = ["values", "hospitals", "epsilon", "RDP over PLD", *(f"{b} bits" for b in (12, 16, 20, 24, 32))]
    show("Skellam noise in shares: epsilon above that of Gaussian noise of the same size, both by RDP", head, lines)
    print("  Updates of length 1, rounded by coins; words of 8, 16, 32 and 64 bits exist, the others show the trend.")
    lines = []
    for target in (0.3, 1.0, 3.0, 8.0):
        z = noise_for(target)
        rows = [kind(9 * z * z / 4, 4, 3.0, 9.0, 9) for kind in (SkellamDpEvent, DiscreteGaussianDpEvent)]
        spent = [composed(((event, 1),), 1e-5) for event in rows]
        lines.append([f"{target:g}", f"{3 * z:.1f}", f"{epsilon(z):.4f}", *(f"{e:.4f}" for e in spent)])
    head = ["aimed at", "standard deviation", "Gaussian", "Skellam", "discrete Gaussian"]
    show("Counts (9 change by one, no rounding): exact epsilon by PLD", head, lines)
    vectors, promise = np.zeros((5, 400), int), RecordDP(1.0)
    took = {
        name: seconds({"": partial(secagg.private_sum, vectors, promise=promise, cells=9, noise=name)}, 3)[""]
        for name in ("skellam", "discrete gaussian")
    }
    bare = seconds({"": partial(secagg.run, words(5, 400), setup(5, 400))}, 3)[""]
    lines = [[name, f"{1e3 * t:.0f} ms", f"{1e3 * bare:.0f} ms"] for name, t in took.items()]
    show("A private sum of 400 counts over 5 hospitals, and the protocol alone", ["noise", "all", "protocol"], lines)


def _more(z: float, d: int, n: int, members: int, bits: int, plain: float) -> str:
    """By how much epsilon is larger; "-" where words are too short."""
    try:
        step, share = scaled(z, 1.0, largest=1.0, n=n, members=members, bits=bits, widen=math.sqrt(d))
    except ValueError:
        return "-"
    l2 = 1 / step + math.sqrt(d)
    # The noise that Gaussian accounting would ask for, without what rounding adds to a change.
    event = SkellamDpEvent((z / step) ** 2 / members, members, l2, min(math.sqrt(d) * l2, l2**2))
    return f"{100 * (composed(((event, 1),), 1e-5, 'rdp') / plain - 1):+.3g}%"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer hospitals and values, Flower at 11 only")
    quick = parser.parse_args().quick
    print(f"numpy {np.__version__}, cryptography {cryptography.__version__}, {os.cpu_count()} cores.", flush=True)
    same_answer()
    beside_the_floor(quick)
    growth(quick)
    dropouts(quick)
    noise_inside(quick)
    rounds(quick)


if __name__ == "__main__":
    main()

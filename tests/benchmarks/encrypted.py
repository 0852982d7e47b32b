"""What encrypted sums cost here, with TenSEAL's own vectors, and beside secure aggregation, in one run.

    python tests/benchmarks/encrypted.py            two minutes; let nothing else run
    python tests/benchmarks/encrypted.py --quick    under one: 100,000 values where the whole run has 1,000,000

All hospitals and the server take turns in one process and one thread. Only ratios of one run mean anything; seconds
depend on the machine, and on what else it does.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
from peers.tables import beside, seconds, show  # noqa: E402

from fedlab_utils import encrypted, secagg  # noqa: E402
from fedlab_utils.encrypted import EncryptedSum, Parameters  # noqa: E402

try:
    import tenseal as ts
except ImportError:
    ts = None

HOSPITALS = 5
ROWS = np.array([4200, 3000, 2400, 1500, 900])
ALIVE = np.ones(HOSPITALS, dtype=bool)
TUTORIAL = Parameters(8192, (60, 40, 60), 40)  # of TenSEAL's first lessons
RINGS = [
    Parameters(2048, (33, 20), 18),
    Parameters(4096, (60, 40), 40),
    Parameters(8192, (60, 60), 40),
    TUTORIAL,
    Parameters(16384, (60, 60), 40),
    Parameters(32768, (60, 60), 40),
]
NO_PEER = "TenSEAL is not installed, so there is nothing to measure; to do so: python -m pip install tenseal"


def updates(d: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.05, (HOSPITALS, d))


def secure(parameters: Parameters) -> EncryptedSum:
    """Rounding is 2**-20, or as fine as these parameters allow."""
    least = 20 * parameters.noise(HOSPITALS)
    return EncryptedSum(parameters, rounding=2.0 ** max(-20, np.ceil(np.log2(least))))


def name(p: Parameters) -> str:
    return f"{p.ring:,} {'+'.join(map(str, p.modulus_bits))}"


# --- TenSEAL by itself --------------------------------------------------------------------------------------


def tenseals(context, server, slots: int, x: np.ndarray) -> np.ndarray:
    """The weighted mean with TenSEAL's vectors and nothing else: packed and sent as here, not checked, not rounded."""
    uploads = []
    for row, share in zip(x, ROWS / ROWS.sum(), strict=True):
        parts = [(row[k : k + slots] * share).tolist() for k in range(0, len(row), slots)]
        uploads.append([ts.ckks_vector(context, part).serialize() for part in parts])
    total = [ts.ckks_vector_from(server, c) for c in uploads[0]]
    for upload in uploads[1:]:
        for one, c in zip(total, upload, strict=True):
            one.add_(ts.ckks_vector_from(server, c))
    down = [vector.serialize() for vector in total]
    return np.concatenate([ts.ckks_vector_from(context, c).decrypt() for c in down])


def aggregate(seam, x: np.ndarray) -> tuple[np.ndarray, list[tuple]]:
    return seam.aggregate(x, ROWS, alive=ALIVE, rng=np.random.default_rng(0))


# --- are we comparing the same thing? -----------------------------------------------------------------------


def same_answer() -> None:
    """The plain mean, within half a step of the grid for each hospital; TenSEAL's within the noise of encryption."""
    x, lines = updates(10_000), []
    plain = np.average(x, axis=0, weights=ROWS)
    for p in RINGS:
        seam = secure(p)
        mean = aggregate(seam, x)[0]
        if not (mean == seam.quick(x, ROWS, alive=ALIVE)[0]).all():
            sys.exit(f"{name(p)}: the mean is not the rounded one bit for bit: no figure below would mean anything.")
        theirs = tenseals(seam.context, ts.context_from(seam.server), p.slots, x)
        found = {"ours": (mean, HOSPITALS * seam.rounding / 2), "TenSEAL": (theirs, 7 * p.noise(HOSPITALS))}
        line = [name(p)]
        for who, (values, most) in found.items():
            error = np.abs(values - plain).max()
            if not error <= most:
                sys.exit(f"{name(p)}: {who} is off by {error:.1e}, above {most:.1e}: no comparison would be honest.")
            line += [f"{error:.1e}", f"{most:.1e}"]
        lines.append(line)
    head = ["ring, modulus", "rounded: error", "at most", "TenSEAL: error", "at most"]
    show(f"Mean of {HOSPITALS} hospitals, 10,000 values, and how far it is from the plain one", head, lines)


# --- beside TenSEAL -----------------------------------------------------------------------------------------


def overhead(quick: bool) -> None:
    """A round of the seam beside the operations it cannot do without."""
    lines = []
    for p in (Parameters(), TUTORIAL):
        for d in (4096, 40_960) if quick else (4096, 40_960, 204_800):
            seam, x = secure(p), updates(d)
            theirs = partial(tenseals, seam.context, ts.context_from(seam.server, n_threads=1), p.slots)
            each = {"ours": partial(aggregate, seam, x), "TenSEAL": partial(theirs, x)}
            took = seconds(each, max(5, (200_000 if quick else 800_000) // d))
            what = f"an encrypted round, {HOSPITALS} hospitals, {d:,} values, ring {name(p)}"
            beside(what, "TenSEAL's vectors, unchecked", *took.values(), same="both the mean, within their noise")
            cells = [f"{1e3 * s:.0f} ms" for s in took.values()]
            lines.append([name(p), f"{d:,}", *cells, f"{took['ours'] / took['TenSEAL']:.2f}x"])
    head = ["ring, modulus", "values", "EncryptedSum", "TenSEAL", "ratio"]
    title, aim = f"A round of {HOSPITALS} hospitals, decrypted once", "at most 1.2x the same with TenSEAL's own vectors"
    show(title, head, lines, aim)


def large(quick: bool) -> None:
    """A whole round of a large model in a process of its own: its time, and the memory it took at most."""
    lines = []
    for p in (Parameters(), TUTORIAL):
        for d in (100_000,) if quick else (100_000, 1_000_000):
            command = [sys.executable, __file__, "--one", str(d), str(RINGS.index(p))]
            took, before, peak = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            held = (HOSPITALS + 1) * p.bytes_a_value * d / 2**20
            cells = [f"{float(took):.1f} s", f"{float(before):,.0f} MB", f"{float(peak):,.0f} MB", f"{held:,.0f} MB"]
            lines.append([name(p), f"{d:,}", *cells])
    head = ["ring, modulus", "values", "seconds", "memory before", "peak", "in it for messages"]
    show(f"A large model, {HOSPITALS} hospitals", head, lines, "1,000,000 values in under 10 s")


def one(d: int, ring: int) -> None:
    """What `large` starts."""
    x, seam = updates(d), secure(RINGS[ring])
    before, begin = peak_memory(), time.perf_counter()
    aggregate(seam, x)
    print(time.perf_counter() - begin, before, peak_memory())


def peak_memory() -> float:
    """Most memory that this process has held so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux; getrusage would start from the parent's peak there
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 2**10
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


# --- sizes --------------------------------------------------------------------------------------------------


def sizes() -> None:
    """Bytes of a value that travel, beside those of two polynomials."""
    lines = []
    for p in RINGS:
        context = encrypted.hospital_context(p)
        values = np.random.default_rng(0).normal(0, 0.05, 4 * p.slots)
        least, found = p.bytes_a_value, sum(map(len, encrypted.encrypt(context, values))) / len(values)
        lines.append([name(p), f"{p.slots:,}", f"{found:.1f}", f"{least:.1f}", f"{found / least:.3f}x"])
    head = ["ring, modulus", "values in one", "bytes a value", "4 log2(q) / 8", "ratio"]
    show("Ciphertexts, filled up", head, lines, "at most 1.15x")
    print("  q is the modulus without its last prime: that one is for switching keys, and never travels.")


def rings(quick: bool) -> None:
    """Time of each part by size of the ring."""
    d, lines = 50_000 if quick else 200_000, []
    for p in RINGS:
        context, x = encrypted.hospital_context(p), updates(d)
        server = encrypted.server_context(context)
        uploads = [encrypted.encrypt(context, row) for row in x]
        total = encrypted.add(server, uploads)
        each = {
            "encrypt": partial(encrypted.encrypt, context, x[0]),
            "add": partial(encrypted.add, server, uploads),
            "decrypt": partial(encrypted.decrypt, context, total, d),
        }
        took = seconds(each, 3)
        error = np.abs(each["decrypt"]() - x.sum(0)).max()
        cells = [f"{1e9 * took[k] / d:.0f} ns" for k in each]
        lines.append([name(p), *cells, str(len(total)), f"{sum(map(len, total)) / 2**20:.1f} MB", f"{error:.0e}"])
    head = ["ring, modulus", "encrypt", f"add {HOSPITALS}", "decrypt", "ciphertexts", "together", "error, not rounded"]
    show(f"Time a value by ring, {d:,} values; all parts read or write bytes", head, lines)


# --- beside masks -------------------------------------------------------------------------------------------


def beside_masks(quick: bool) -> None:
    """The same updates by secure aggregation."""
    d, lines = 100_000 if quick else 300_000, []
    x = updates(d)
    plain = np.average(x, axis=0, weights=ROWS)
    seams = {
        "masks": secagg.SecureSum(limit=0.5, malicious=False),
        "masks, server may lie": secagg.SecureSum(limit=0.5),
        **{f"encrypted, {name(p)}": secure(p) for p in (Parameters(), TUTORIAL)},
    }
    took = seconds({k: partial(aggregate, seam, x) for k, seam in seams.items()}, 3)
    for k, seam in seams.items():
        mean, messages = aggregate(seam, x)
        up, down = (sum(m[3] for m in messages if m[end] == 0) for end in (0, 1))
        if not getattr(seam, "delivers", False):
            down += 4 * d  # the server knows the mean, and sends it as float32
        cells = [f"{took[k] / took['masks']:.1f}x", f"{up / d:.1f}", f"{down / d:.1f}", f"{(up + down) / 8 / d:.1f}x"]
        lines.append([k, f"{1e3 * took[k]:.0f} ms", *cells, f"{np.abs(mean - plain).max():.0e}"])
    head = ["", "seconds", "/ masks", "bytes a value sent", "got", "/ plain", "error"]
    show(f"Beside secure aggregation, {HOSPITALS} hospitals, {d:,} values", head, lines)
    print("  Plain: 4 bytes a value sent and 4 got. With masks the server learns the mean; encrypted, nothing, but")
    print("  each hospital holds the key to every update.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer values")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if ts is None:
        return print(NO_PEER)
    if arguments.one:
        return one(*arguments.one)
    print(f"numpy {np.__version__}, TenSEAL {ts.__version__}, {os.cpu_count()} cores.", flush=True)
    same_answer()
    overhead(arguments.quick)
    large(arguments.quick)
    sizes()
    rings(arguments.quick)
    beside_masks(arguments.quick)
    return None


if __name__ == "__main__":
    main()

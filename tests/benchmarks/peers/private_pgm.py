"""Private-PGM of the `mbi` library (McKenna et al., arXiv:1901.09136), for comparison only.

The library wants JAX, which the kit has no use for, so it gets an environment of its own. This file is two things: a
module that makes the environment and asks for rows, and the script that answers there and knows nothing of the kit.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[3] / ".venvs" / "private-pgm"
WAYS = {"the index": "mbi>=2,<3", "its repository": "mbi @ git+https://github.com/ryan112358/mbi"}
KINDS = "Private-PGM", "mixture of products"  # exact on tables that form a tree; by steps on any tables
_STEPS, _RATE = 1000, 0.1  # of both, the library's default; of the mixture, the library's example


@dataclass(frozen=True)
class Learnt:
    """Rows that came out, and what they took.

    Attributes
    ----------
    codes
        Levels ``[n, columns]``.
    wall, busy
        Seconds that passed, and seconds of all threads together.
    """

    codes: np.ndarray
    wall: float
    busy: float


def environment() -> tuple[Path | None, str]:
    """Its Python, made the first time; or None, and why in one sentence."""
    python = FOLDER / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    answers = [python, "-c", "import mbi, mbi.extensions, optax"]
    if python.exists() and not subprocess.run(answers, capture_output=True).returncode:
        return python, ""
    made = subprocess.run([sys.executable, "-m", "venv", "--clear", FOLDER], capture_output=True, text=True)
    if made.returncode:
        return None, f"There is no environment for mbi, so no comparison with it: {_last(made)}"
    for way in WAYS.values():
        done = subprocess.run([python, "-m", "pip", "install", "--quiet", way], capture_output=True, text=True)
        if not done.returncode and not subprocess.run(answers, capture_output=True).returncode:
            return python, ""
    return None, f"mbi could be had neither from {' nor from '.join(WAYS)}, so no comparison with it: {_last(done)}"


def _last(done: subprocess.CompletedProcess) -> str:
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"pip ended with {done.returncode}."


def rows(
    python: Path,
    kind: str,
    sizes: list[int],
    cliques: list[tuple[int, ...]],
    jobs: list[tuple[list[np.ndarray], float]],
) -> list[Learnt]:
    """Let it learn noisy tables, one job after another in one process.

    Parameters
    ----------
    python
        Of the environment.
    kind
        One of `KINDS`.
    sizes
        Levels of each column.
    cliques
        Which columns each table counts, the same in all jobs.
    jobs
        Of each the noisy tables, and the standard deviation of their noise.
    """
    with tempfile.TemporaryDirectory() as folder:
        asked, answer = Path(folder) / "asked.npz", Path(folder) / "answer.npz"
        values = [np.concatenate([table.ravel() for table in tables]) for tables, _ in jobs]
        about = dict(sizes=sizes, cliques=cliques, noise=[noise for _, noise in jobs], values=np.stack(values))
        np.savez(asked, kind=kind, **about)
        done = subprocess.run([python, __file__, asked, answer], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"mbi failed: {_last(done)}")
        with np.load(answer) as found:
            return [Learnt(found[f"codes_{k}"], *found["seconds"][k]) for k in range(len(jobs))]


def main(asked: str, answer: str) -> None:
    """In the other environment: read the tables, write rows."""
    warnings.simplefilter("ignore")  # about 32-bit floats, which are enough for tables of this size
    import optax
    from mbi import Domain, LinearMeasurement, estimation
    from mbi.extensions import MixtureOfProductsEstimator

    with np.load(asked) as file:
        kind, sizes, cliques, noise, values = (file[k] for k in ("kind", "sizes", "cliques", "noise", "values"))
    names = [f"column {j}" for j in range(len(sizes))]
    ends = np.cumsum([np.prod(sizes[clique]) for clique in cliques])[:-1]
    found, seconds = {}, []
    for k, numbers in enumerate(values):
        tables = zip(np.split(numbers, ends), cliques, strict=True)
        measured = [LinearMeasurement(table, tuple(names[j] for j in c), float(noise[k])) for table, c in tables]
        wall, busy = time.perf_counter(), time.process_time()
        if kind == KINDS[0]:
            estimator = estimation.MirrorDescent()
        else:
            estimator = MixtureOfProductsEstimator(optimizer=optax.adam(_RATE))
        model = estimator.estimate(Domain(names, sizes.tolist()), measured, iters=_STEPS)
        made = model.synthetic_data().data
        seconds.append((time.perf_counter() - wall, time.process_time() - busy))
        found[f"codes_{k}"] = np.stack([made[name] for name in names], axis=1)
    np.savez(answer, seconds=seconds, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])

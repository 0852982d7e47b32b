"""A few lines about this machine, to mail to the organiser of a workshop. They name no user and no folder."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

PACKAGES = (
    "torch",
    "numpy",
    "pandas",
    "scikit-learn",
    "matplotlib",
    "ipywidgets",
    "jupyterlab",
    "voila",
    "fedlab-utils",
)


def python() -> str:
    return f"{platform.python_version()}, {platform.python_implementation()}, {platform.machine()}"


def system() -> str:
    return platform.platform(terse=True)


def memory() -> str:
    import psutil

    free, total = psutil.virtual_memory().available / 2**30, psutil.virtual_memory().total / 2**30
    if free < 2:
        raise RuntimeError(f"{free:.1f} GB free of {total:.1f}: close other programs, the course wants 2 GB")
    return f"{free:.1f} GB free of {total:.1f}"


def packages() -> str:
    missing = []
    for name in PACKAGES:
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        raise RuntimeError(f"missing: {', '.join(missing)}; delete the folder .venv and start again")
    return ", ".join(f"{name} {version(name)}" for name in PACKAGES)


def kernel() -> str:
    from jupyter_client.manager import start_new_kernel

    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60, **quiet)
    try:
        reply = client.execute_interactive("assert 1 + 1 == 2", timeout=60)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    if reply["content"]["status"] != "ok":
        raise RuntimeError("it started and could not add 1 and 1")
    return f"starts, {time.perf_counter() - start:.1f} s"


def datasets() -> str:
    import pooch

    from fedlab_utils import data

    pooch.get_logger().setLevel("WARNING")  # where it downloads from is not for the mail
    told = []
    for name in data.names():
        try:
            told.append(f"{name} {len(data.load_raw(name)):,} rows")
        except OSError:  # only heart_disease is downloaded, when it is first used
            told.append(f"{name} not here and no network to fetch it (the course goes on without)")
    return ", ".join(told)


def training() -> str:
    import torch

    from fedlab_utils import fleet

    X = torch.randn(1000, 10, generator=torch.Generator().manual_seed(0))
    y = (X[:, :1] + X[:, 1:2] > 0).float()
    rows = list(torch.arange(1000).chunk(5))
    start = time.perf_counter()
    params = fleet.fit(
        fleet.init(5, (10, 64, 1), seed=0),
        X,
        y,
        rows,
        epochs=20,
        batch_size=32,
        lr=0.5,
        loss="binary",
        seed=0,
    )
    right = ((fleet.forward(params, X) > 0) == (y > 0)).float().mean()
    if right < 0.9:
        raise RuntimeError(f"five small models learnt an easy task to {right:.0%} only")
    return f"5 models of 200 patients, 20 epochs: {time.perf_counter() - start:.2f} s, {right:.0%} right"


def first_picture() -> str:
    """What a learner waits for in lesson 00: a fresh kernel, the imports, the data, the lab's first run."""
    import lessons
    import nbclient
    import nbformat
    from traitlets.config import Config

    nb = nbformat.read(min(lessons.LESSONS.glob("00_*.ipynb")), as_version=4)
    cells = lessons.code_cells(nb)
    nb.cells = cells[: 1 + next(number for number, cell in enumerate(cells) if "widgets.lab(" in cell.source)]
    quiet = Config(KernelManager={"transport_encryption": "auto"})  # without it the kernel warns
    client = nbclient.NotebookClient(nb, timeout=120, kernel_name="python3", config=quiet)
    start = time.perf_counter()
    with client.setup_kernel():
        for number, cell in enumerate(nb.cells):
            client.execute_cell(cell, number)
        seconds = time.perf_counter() - start
    if not any("text/html" in output.get("data", {}) for output in nb.cells[-1].outputs):
        raise RuntimeError("the lab of lesson 00 showed nothing")
    return f"{seconds:.1f} s from starting Python to the first lab of lesson 00"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": python,
    "System": system,
    "Memory": memory,
    "Cores": lambda: str(os.cpu_count()),
    "Packages": packages,
    "Kernel": kernel,
    "Data": datasets,
    "Training": training,
    "First lab": first_picture,
}


def main() -> int:
    """Run every check; whatever goes wrong in one is a line of the report, not the end of it."""
    failed = 0
    for name, check in CHECKS.items():
        try:
            told, mark = check(), " "
        except Exception as error:  # whatever it is, the organiser wants to read it
            told, mark, failed = f"{type(error).__name__}: {error}", "!", failed + 1
        print(f"{mark} {name:9} {told}", flush=True)
    print("All is well." if not failed else f"{failed} to look at: mail these lines to your instructor.")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

"""The first cell of a lesson: which Python runs it, and on Colab whatever is still missing there."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

# Python looks for garbage each time that so many more objects are there. What a lesson imports is half a million of
# them, which stay: with Python's own 700 they would be looked through again and again, for one to two seconds a lesson.
COLLECT_EVERY = 20_000
ALSO = ("tenseal",)  # of the extra `lab`: lesson 07 encrypts with it


def ready() -> str:
    """A line that names the interpreter. On Colab, packages that are not there yet are installed first.

    Whatever Colab has stays as it is, its torch above all. Python is told to look for garbage less often.

    Raises
    ------
    OSError
        If Colab's installer fails, with what it said.
    """
    if "google.colab" in sys.modules and (wanted := missing(metadata.requires("fedlab-utils") or ())):
        command = [sys.executable, "-m", "pip", "install", "--quiet", *wanted]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise OSError(f"{', '.join(wanted)} could not be installed: {done.stderr.strip()[-300:]}")
    gc.set_threshold(COLLECT_EVERY)
    return f"Python {sys.version_info.major}.{sys.version_info.minor}, environment {Path(sys.prefix).name}"


def missing(requirements: Iterable[str]) -> list[str]:
    """Those of the package's requirements that this Python lacks, extras left out except for `ALSO`."""
    found = []
    for requirement in requirements:  # such as: tenseal>=0.3.16; extra == "lab"
        wanted, _, condition = requirement.partition(";")
        name = re.match(r"[\w.-]+", wanted).group()
        if "extra" in condition and name not in ALSO:
            continue
        try:
            metadata.version(name)
        except metadata.PackageNotFoundError:
            found.append(wanted.strip())
    return found

"""Robust rules as ByzFL has them, on one set of updates."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import sys
import types
from collections.abc import Callable

import numpy as np

# The package's front door also loads benchmarks on images, which need torchvision; its rules by themselves do not.
_found = importlib.util.find_spec("byzfl")
if _found is None:
    raise ImportError("byzfl is not installed")
_package = sys.modules.setdefault("byzfl", types.ModuleType("byzfl"))
_package.__path__ = list(_found.submodule_search_locations)
aggregators = importlib.import_module("byzfl.aggregators.aggregators")

# Name of ours: theirs for f liars. Krum is not among them: ByzFL counts one neighbour more (see tests/federated), in
# Multi-Krum as well, which makes a difference only where liars do not stand apart.
RULES: dict[str, Callable] = {
    "Median": lambda f: aggregators.Median(),
    "TrimmedMean": lambda f: aggregators.TrMean(f),
    "MultiKrum": lambda f: aggregators.MultiKrum(f),
    "GeometricMedian": lambda f: aggregators.GeometricMedian(nu=1e-6, T=10),
}


def aggregate(name: str, updates: np.ndarray, f: int) -> np.ndarray:
    """What ByzFL makes of updates ``[n, d]``."""
    with contextlib.redirect_stdout(io.StringIO()):  # an edition of it prints distances
        return RULES[name](f)(updates)

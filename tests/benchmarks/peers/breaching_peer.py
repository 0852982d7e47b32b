"""The loss by which the package `breaching` compares two gradients."""

from __future__ import annotations

import importlib.util
import sys
import types

# The package's front door also loads its image and text cases, which need torchvision and more; its losses do not.
_found = importlib.util.find_spec("breaching")
if _found is None:
    raise ImportError("breaching is not installed")
_place = list(_found.submodule_search_locations)
for _name in ("breaching", "breaching.attacks", "breaching.attacks.auxiliaries"):
    _package = sys.modules.setdefault(_name, types.ModuleType(_name))
    _package.__path__ = ["/".join([folder, *_name.split(".")[1:]]) for folder in _place]
CosineSimilarity = importlib.import_module("breaching.attacks.auxiliaries.objectives").CosineSimilarity

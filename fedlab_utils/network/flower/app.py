"""The Flower App: one file that names the two halves, which are in this package on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from fedlab_utils.network.agreement import Agreement

_FILE = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "fedlab-network"
version = "1.0.0"
description = "{name}"
license = "MIT"
dependencies = []

[tool.flwr.app]
publisher = "fedlab"

[tool.flwr.app.components]
serverapp = "fedlab_utils.network.flower.server:app"
clientapp = "fedlab_utils.network.flower.client:app"

[tool.flwr.app.config]
agreement = "{agreement}"
folder = "{folder}"
nodes = "{nodes}"
"""


def write_app(place: str | Path, agreement: Agreement, *, folder: str | Path, nodes: Mapping[str, int]) -> Path:
    """Write the app that ``flwr run`` is given, with what the coordinator's half reads: agreement and nodes.

    Parameters
    ----------
    place
        A folder for it, made if it is not there.
    agreement
        Of the training.
    folder
        Where the coordinator writes models, and goes on after a restart.
    nodes
        The number of each hospital's SuperNode, as ``flwr supernode list`` shows it.

    Raises
    ------
    ValueError
        If a hospital has no node, or two have the same.
    """
    place, known = Path(place).absolute(), dict(nodes)
    numbers = [known.get(h) for h in agreement.hospitals]
    if known.keys() != set(agreement.hospitals) or len(set(numbers)) < len(numbers):
        raise ValueError(f"nodes must have a number of its own for each of {', '.join(agreement.hospitals)}.")
    place.mkdir(parents=True, exist_ok=True)
    (place / "plan.toml").write_text(agreement.to_toml(), encoding="utf-8")
    (place / "nodes.json").write_text(json.dumps(known), encoding="utf-8")
    paths = dict(agreement=place / "plan.toml", folder=Path(folder).absolute(), nodes=place / "nodes.json")
    about = {name: path.as_posix() for name, path in paths.items()}
    name = agreement.name.replace('"', "'").replace("\\", "/")
    (place / "pyproject.toml").write_text(_FILE.format(name=name, **about), encoding="utf-8")
    return place

"""A room's face that loads a name when it is asked for, so that who needs one file does not wait for all of them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def late(room: str, file: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a room whose ``__init__.py`` has its imports under ``if TYPE_CHECKING:``.

    What stands there is read once, when the first name is asked for; a name that was loaded stays in the room. Files of
    the room are found by their names too, as if they had been loaded.
    """
    places: dict[str, str] = {}

    def read() -> dict[str, str]:
        if not places:
            inside = (
                *Path(file).parent.glob("[!_]*.py"),
                *(face.parent for face in Path(file).parent.glob("*/__init__.py")),
            )
            places.update({path.stem: "" for path in inside})
            for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}."):
                    places.update({one.asname or one.name: node.module for one in node.names})
        return places

    def attribute(name: str) -> object:
        if name.startswith("__") or name not in read():
            raise AttributeError(f"module {room!r} has no attribute {name!r}")
        if not places[name]:
            return import_module(f"{room}.{name}")
        found = getattr(import_module(places[name]), name)
        setattr(sys.modules[room], name, found)
        return found

    def names() -> list[str]:
        return sorted({*vars(sys.modules[room]), *read()})

    return attribute, names

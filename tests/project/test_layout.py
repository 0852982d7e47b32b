"""The house: which room may import which, how long things are, and that old names and installed copies work."""

import ast
import importlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fedlab_utils

PACKAGE = Path(fedlab_utils.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))

# What each room builds on. `federated` never imports an aggregator: those are handed in.
PROTOCOLS = {"_arguments", "fleet", "privacy", "federated"}
EVERYTHING_BELOW = {*PROTOCOLS, "data", "secagg", "encrypted", "fidelity", "synth"}
MAY_IMPORT = {
    "_arguments": set(),
    "_command": set(),
    "_late": set(),
    "_progress": set(),
    "_ready": set(),
    "fleet": {"_arguments"},
    "privacy": {"_arguments", "fleet"},
    "data": {"_arguments", "fleet", "privacy"},
    "federated": {"_arguments", "_late", "_progress", "data", "fleet", "privacy"},
    "secagg": {*PROTOCOLS, "_late"},
    "encrypted": {*PROTOCOLS, "secagg"},
    "fidelity": {"_arguments", "data"},
    "synth": {*PROTOCOLS, "_progress", "data", "fidelity", "secagg"},
    "anomalies": {*PROTOCOLS, "data", "secagg"},
    "attacks": {*EVERYTHING_BELOW, "_progress"},
    "audit": EVERYTHING_BELOW,
    "system": {*EVERYTHING_BELOW, "_command", "_late", "_progress", "attacks", "widgets"},
    "network": {*PROTOCOLS, "_command", "_late", "data", "secagg", "system"},
    "plots": set(),
    "checks": set(),
    "widgets": {"plots"},
}


def room_of(path):
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path):
    """Modules of the package that a file imports when it is loaded (a check by name only is not asked for)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unloaded = {id(n) for block in ast.walk(tree) if is_for_types(block) for n in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in unloaded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "fedlab_utils")
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "fedlab_utils":
            assert node.level == 0, f"{path} imports by dots"
            for alias in node.names:
                inside = f"{node.module}.{alias.name}"
                yield inside if as_file(inside) else node.module


def is_for_types(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def as_file(module):
    path = ROOT.joinpath(*module.split("."))
    return next((p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()), None)


def test_every_room_is_in_the_plan_and_nothing_lies_beside_them():
    assert {room_of(path) for path in FILES} - {"__init__"} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_what_it_builds_on(path):
    room = room_of(path)
    if room == "__init__":
        return
    for module in imports(path):
        other = module.split(".")[1]
        assert other == room or other in MAY_IMPORT[room], f"{path.name} in {room} imports {module}"


def test_no_circles_between_files():
    edges = {path: {as_file(m) for m in imports(path)} - {None} for path in FILES if path.name != "__init__.py"}
    faces = {path: {as_file(m) for m in imports(path)} - {None} for path in FILES if path.name == "__init__.py"}
    edges |= {path: found for path, found in faces.items() if path.parent != PACKAGE}
    done, open_ = set(), []

    def visit(path):
        assert path not in open_, " -> ".join(p.relative_to(PACKAGE).as_posix() for p in [*open_, path])
        if path in done:
            return
        open_.append(path)
        for other in edges.get(path, ()):
            visit(other)
        done.add(open_.pop())

    for path in edges:
        visit(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_files_and_functions_are_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    if room_of(path) == "plots":
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            doc = node.body[0] if ast.get_docstring(node) else None
            lines = node.end_lineno - node.lineno + 1 - (doc.end_lineno - doc.lineno + 1 if doc else 0)
            assert lines <= 60, f"{node.name} has {lines} lines"


def test_a_module_does_not_hide_behind_a_function_of_its_rooms_face():
    for room in (path.parent for path in FILES if path.name == "__init__.py" and path.parent != PACKAGE):
        shown = {alias.asname or alias.name for node in ast.walk(ast.parse((room / "__init__.py").read_text()))
                 if isinstance(node, ast.ImportFrom) for alias in node.names}  # fmt: skip
        assert not shown & {path.stem for path in room.glob("*.py")}


def test_a_face_that_loads_late_has_all_its_names_and_files_and_no_others():
    late = [path.parent for path in FILES if path.name == "__init__.py" and "late(__name__" in path.read_text("utf-8")]
    assert {"federated", "secagg", "system", "network"} <= {folder.name for folder in late}
    for folder in late:
        room = importlib.import_module(f"fedlab_utils.{folder.name}")
        for node in ast.walk(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if node.module.startswith(room.__name__):
                    assert getattr(room, alias.name) is getattr(sys.modules[node.module], alias.name)
                    assert alias.name in dir(room)
        for path in folder.glob("[!_]*.py"):
            assert path.stem in dir(room)
        with pytest.raises(AttributeError, match="'nonsense'"):
            room.nonsense  # noqa: B018


def test_a_late_face_loads_nothing_before_it_is_asked():
    code = "import sys; from fedlab_utils import federated, network, secagg, system; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and not {"torch", "numpy", "pandas"} & set(done.stdout.split()), done.stderr
    code = "import sys; from fedlab_utils import federated; print(federated.rounds.__name__, federated.hospital_rng)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.startswith("fedlab_utils.federated.rounds <function hospital_rng"), done.stderr


# ---------------------------------------------------------------- names of earlier editions

# What the lessons of the edition before the rooms import from the package, and use of it.
OLD_LESSONS = json.loads((Path(__file__).parent / "old_lessons.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("lesson", OLD_LESSONS)
def test_a_learners_copy_of_an_older_lesson_finds_its_names(lesson):
    space = {}
    for line in OLD_LESSONS[lesson]["imports"]:
        exec(line, space)
    for name in OLD_LESSONS[lesson]["uses"]:
        eval(name, space)


def test_a_name_that_never_was_is_no_attribute():
    with pytest.raises(AttributeError, match="'nonsense'"):
        fedlab_utils.nonsense  # noqa: B018
    with pytest.raises(ImportError):
        exec("from fedlab_utils import nonsense")


# ---------------------------------------------------------------- an installed copy, as Colab gets it


def test_an_installed_copy_has_every_file(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*build, "-w", str(tmp_path), str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("fedlab_utils/")}
    in_the_page = [path for path in PACKAGE.rglob("*") if path.suffix in (".js", ".css")]
    assert in_the_page and packed >= {path.relative_to(ROOT).as_posix() for path in [*FILES, *in_the_page]}
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    use = "from fedlab_utils import data, federated, fleet, privacy, secagg, encrypted, synth, fidelity, attacks, audit"
    use += ", plots, widgets, checks; print(federated.train(data.load('breast_cancer'), rounds=1)); print(data)"
    done = subprocess.run([sys.executable, "-c", use], cwd=site, capture_output=True, text=True)
    assert done.returncode == 0 and str(site) in done.stdout, done.stderr

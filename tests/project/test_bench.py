"""The table of `python course.py bench`: what scripts note, what is made of it, and the page that it is stored in."""

import ast
import importlib.util
import json
import re

import bench
import lessons
import pytest

from tests.benchmarks.peers import tables

NOTED = dict(script="engine", what="a sum", peer="Flower", ours=0.002, theirs=0.05, same="to 1e-5")
TIMES = """[IPKernelApp] something
00_start_here: 17.2 s
  Hospitals: first picture after 1.80 s, complete after 3.38 s
    moved: first picture after 0.90 s (n = 5), complete after 2.15 s (kind of table = own, old)
  Others: first picture after 0.20 s, complete after 0.31 s
    moved: first picture after 0.10 s (n = 5), complete after 1.00 s (n = 7)
control_room: 12.0 s
"""


def test_what_a_script_notes_becomes_a_line(tmp_path, monkeypatch):
    file = tmp_path / "records"
    monkeypatch.setenv(tables.RECORDS, str(file))
    monkeypatch.setattr("sys.argv", ["tests/benchmarks/engine.py", "--quick"])
    tables.beside("a sum", "Flower", 0.002, 0.05, same="to 1e-5")
    tables.beside("a sum", "Flower", 4.7, 23.5, same="to 1e-5", unit="kB")
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert first == NOTED | {"unit": "s"}
    *_, one, other = bench.beside([first, second])
    assert one == "| `engine` | a sum | 2 ms | Flower | 50 ms | **25x** | to 1e-5 |"
    assert other == "| `engine` | a sum | 4.7 kB | Flower | 23.5 kB | **5x** | to 1e-5 |"


def test_without_a_collector_nothing_is_noted(tmp_path, monkeypatch):
    monkeypatch.delenv(tables.RECORDS, raising=False)
    monkeypatch.chdir(tmp_path)
    tables.beside("a sum", "Flower", 1.0, 2.0, same="")
    assert not list(tmp_path.iterdir())


def test_what_is_slower_here_is_said_as_well():
    (line,) = bench.beside([NOTED | {"theirs": 0.001, "unit": "s"}])[2:]
    assert "**0.5x**" in line


def test_times_of_lessons_become_lines():
    assert bench.lessons(TIMES)[2:] == [
        "| `00_start_here` | 17 s | 1.8, 0.2 s | 3.4, 0.3 s | 0.9, 0.1 s | 2.1, 1.0 s |",
        "| `control_room` | 12 s | - | - | - | - |",
    ]
    again = "00_start_here: 20.9 s\ncontrol_room: 11.4 s\n"
    assert bench.lessons(f"{TIMES}\n{again}")[2:] == [  # the quickest, and the slowest
        "| `00_start_here` | 17 s (21 s) | 1.8, 0.2 s | 3.4, 0.3 s | 0.9, 0.1 s | 2.1, 1.0 s |",
        "| `control_room` | 11 s (12 s) | - | - | - | - |",
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.0000123, "12.3 us"), (0.0123, "12.3 ms"), (0.9996, "1 s"), (123.4, "123 s"), (2345, "2,345 s")],
)
def test_a_time_has_three_digits_at_most(value, said):
    assert bench.quantity(value, "s") == said


def test_only_what_lies_between_the_marks_is_written():
    page = "before\n<!-- a: begin -->\nold\n<!-- a: end -->\nafter\n<!-- b: begin -->\nstays\n<!-- b: end -->\n"
    assert bench.write(page, "a", ["new"]) == page.replace("\nold\n", "\n\nnew\n\n")


def table(name):
    """What the page has between the marks of a table: it names its command and the machine."""
    page = bench.PAGE.read_text(encoding="utf-8")
    measured = page[page.index(bench.BEGIN.format(name)) : page.index(bench.END.format(name))]
    assert "`python course.py bench" in measured and re.search(r"20\d\d; .+ cores", measured)
    return measured


def test_the_page_names_command_and_machine_and_its_ratios_are_those_of_its_times():
    measured = table("peers")
    row = r"^\| .+ \| ([\d.,]+) (\w+) \| .+ \| ([\d.,]+) (\w+) \| \*\*([\d.,]+)x\*\* \| .+ \|$"
    rows = re.findall(row, measured, re.M)
    factor = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "kB": 1.0}
    assert len(rows) >= 20
    for ours, unit, theirs, their_unit, ratio in (tuple(cell.replace(",", "") for cell in row) for row in rows):
        found = float(theirs) * factor[their_unit] / (float(ours) * factor[unit])
        assert float(ratio) == pytest.approx(found, rel=0.06), (ours, theirs, ratio)
    for peer in ("plain PyTorch loop", "Flower", "Opacus", "TenSEAL", "SecAgg+", "ByzFL", "ctgan", "mbi"):
        assert peer in measured, peer


def test_the_page_has_the_time_of_every_lesson():
    measured = table(bench.LESSONS)
    assert [source.stem for source in lessons.sources()] == re.findall(r"^\| `(\w+)` \| \d+ s ", measured, re.M)


def names_of_ours(tree):
    """Module and name of all that a script takes from the package: what it imports, and attributes of its modules."""
    modules = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fedlab_utils"):
            for one in node.names:
                yield node.module, one.name
                modules[one.asname or one.name] = f"{node.module}.{one.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield modules[node.value.id], node.attr


def exists(where, name):
    """Whether a module, or something in a module, has this name."""
    try:
        there = importlib.import_module(where)
    except ModuleNotFoundError:
        module, _, thing = where.rpartition(".")
        there = getattr(importlib.import_module(module), thing)
    if hasattr(there, name):
        return True
    return hasattr(there, "__path__") and importlib.util.find_spec(f"{where}.{name}") is not None


@pytest.mark.parametrize("script", sorted(bench.SCRIPTS.rglob("*.py")), ids=lambda path: path.stem)
def test_what_a_benchmark_takes_from_the_package_is_there(script):
    found = set(names_of_ours(ast.parse(script.read_text(encoding="utf-8"))))
    assert found or "peers" in script.parts
    assert [f"{where}.{name}" for where, name in sorted(found) if not exists(where, name)] == []

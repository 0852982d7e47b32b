"""What the cells of a lesson bind and use, read off the source; parts of a lesson by name, without the rest."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from pathlib import Path

import lessons
import nbformat


class Names(ast.NodeVisitor):
    """The names of one scope, in the order in which Python meets them.

    Attributes
    ----------
    bound : names that are assigned, imported, defined, or the target of a loop or a `with`
    used : names that are read before the scope has bound them, so somebody else must have
    later : names that the bodies of functions read, which happens when they are called
    """

    def __init__(self, *nodes: ast.AST, bound: frozenset[str] = frozenset()):
        self.bound, self.used, self.later, self.declared = set(bound), set(), set(), set()
        self.take(*nodes)

    def take(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def read(self, *names: str) -> None:
        self.used |= set(names) - self.bound

    def visit_Name(self, node):
        self.bound.add(node.id) if isinstance(node.ctx, ast.Store) else self.read(node.id)

    def visit_Assign(self, node):  # here and below: Python's order, not that of the fields
        self.take(node.value, *node.targets)

    def visit_AnnAssign(self, node):
        self.take(node.annotation, node.value, node.target if node.value else None)

    def visit_AugAssign(self, node):
        if isinstance(node.target, ast.Name):
            self.read(node.target.id)
        self.take(node.value, node.target)

    def visit_For(self, node):
        self.take(node.iter, node.target, *node.body, *node.orelse)

    def visit_alias(self, node):
        self.bound.add((node.asname or node.name).split(".")[0])

    def visit_ExceptHandler(self, node):
        self.take(node.type)
        self.bound |= {node.name} - {None}
        self.take(*node.body)

    def visit_MatchAs(self, node):
        self.take(getattr(node, "pattern", None))
        self.bound |= {node.name} - {None}

    visit_MatchStar = visit_MatchAs

    def visit_Global(self, node):
        self.declared |= set(node.names)

    visit_Nonlocal = visit_Global

    def visit_Lambda(self, node):
        self.function(node.args, [node.body])

    def visit_FunctionDef(self, node):
        self.take(*node.decorator_list, node.returns)
        self.bound.add(node.name)
        self.function(node.args, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def function(self, args: ast.arguments, body: list[ast.AST]) -> None:
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self.take(*args.defaults, *args.kw_defaults, *(a.annotation for a in every if a))
        inner = Names(*body, bound=frozenset(a.arg for a in every if a))
        self.later |= (inner.used | inner.later) - (inner.bound - inner.declared)

    def visit_ClassDef(self, node):
        self.take(*node.decorator_list, *node.bases, *node.keywords)
        inner = Names(*node.body)
        self.read(*inner.used)
        self.later |= inner.later  # methods do not see the names of their class
        self.bound.add(node.name)

    def comprehension(self, node):
        self.visit(node.generators[0].iter)  # the only part that Python reads outside
        targets = {n.id for g in node.generators for n in ast.walk(g.target) if isinstance(n, ast.Name)}
        parts = [part for k, g in enumerate(node.generators) for part in (*([g.iter] if k else []), *g.ifs)]
        inner = Names(*parts, *self.results(node), bound=frozenset(targets))
        self.read(*inner.used)
        self.later |= inner.later - targets
        self.bound |= inner.bound - targets  # by the walrus

    def results(self, node):
        return [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension


def leaning(nb: nbformat.NotebookNode, tag: str) -> list[str]:
    """Where the other cells need a name that only cells of this tag bind, each in a sentence.

    Names alone are looked at: that a cell of the tag fills a list, a table's column or a generator's state of
    which another cell then makes use is not seen.
    """
    tagged = {False: [], True: []}
    for number, cell in enumerate(nb.cells):
        if cell.cell_type == "code":
            names = Names(ast.parse(cell.source))
            tagged[tag in cell.metadata.get("tags", [])].append((number, names))
    theirs = set().union(*(names.bound for _, names in tagged[True]))
    ever = set().union(*(names.bound for _, names in tagged[False]))
    found, so_far = [], set(dir(builtins))
    for number, names in tagged[False]:
        missing = (names.used - so_far) | (names.later - ever - so_far)
        found += [f"cell {number} needs {name}, which only a {tag} cell binds" for name in sorted(missing & theirs)]
        so_far |= names.bound
    return found


def overwritten(nb: nbformat.NotebookNode, tag: str) -> list[str]:
    """Where another cell reads a name that a cell of this tag was the last to bind, each in a sentence.

    Without the tag's cells it would read something else. What functions read may be bound by either, at any time. And
    who changes what stands behind a name (`_changed`) has bound it, but for modules, which are called for what they do.
    """
    modules, last, found = _modules(nb), {}, []
    code = [
        (number, ast.parse(cell.source), tag in cell.metadata.get("tags", []))
        for number, cell in enumerate(nb.cells)
        if cell.cell_type == "code"
    ]
    bound = [Names(tree).bound | (_changed(tree) - modules if tagged else set()) for _, tree, tagged in code]
    theirs = set().union(*(names for names, (*_, tagged) in zip(bound, code, strict=True) if tagged))
    for (number, tree, tagged), binds in zip(code, bound, strict=True):
        names = Names(tree)
        wrong = set() if tagged else {n for n in names.used if last.get(n)} | names.later & theirs
        found += [f"cell {number} reads {name}, which a {tag} cell has bound" for name in sorted(wrong)]
        last |= dict.fromkeys(binds, tagged)
    return found


def needed(nb: nbformat.NotebookNode, wanted: Callable[[nbformat.NotebookNode], bool]) -> nbformat.NotebookNode:
    """A notebook of the code cells that are wanted and, above them, of those that these need.

    A cell is needed that binds a name which a later one reads, or changes what stands behind such a name: an entry, an
    attribute, or by a method of it that is called for itself (`rows.append(1)`).
    """
    code = [(cell, ast.parse(cell.source)) for cell in lessons.code_cells(nb)]
    modules, late = _modules(nb), set()
    while True:
        reads, kept = set(late), []  # functions read names as they are in the end: a lab is moved when all has run
        for cell, tree in reversed(code):
            names = Names(tree)
            if wanted(cell) or (names.bound | (_changed(tree) - modules)) & reads:
                kept.insert(0, cell)
                # Branches may leave a name as it was.
                sure = Names(*(node for node in tree.body if not isinstance(node, BRANCHES))).bound
                reads = (reads - sure) | names.used | names.later
        more = set().union(*(Names(ast.parse(cell.source)).later for cell in kept)) - late
        if not more:
            return nbformat.v4.new_notebook(metadata=nb.metadata, cells=kept)
        late |= more


def _modules(nb: nbformat.NotebookNode) -> set[str]:
    """What a lesson imports."""
    every = (node for cell in lessons.code_cells(nb) for node in ast.walk(ast.parse(cell.source)))
    return Names(*(node for node in every if isinstance(node, (ast.Import, ast.ImportFrom)))).bound


BRANCHES = ast.If, ast.For, ast.While, ast.Try


def _changed(tree: ast.Module) -> set[str]:
    """Names of which a cell changes what stands behind them."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            node = node.value.func
        elif not isinstance(getattr(node, "ctx", None), ast.Store):
            continue
        while isinstance(node, (ast.Attribute, ast.Subscript)):
            node = node.value
            if isinstance(node, ast.Name):
                found.add(node.id)
    return found


def solutions(source: Path) -> dict:
    """What the lesson itself writes as solutions, by the names of the exercises."""
    import numpy as np  # here alone: building a lesson needs none of these
    import pandas as pd
    import torch

    from fedlab_utils import checks

    space = {"np": np, "pd": pd, "torch": torch, "checks": checks}
    for cell in lessons.code_cells(lessons.load(source)):
        if "solution" in cell.metadata.get("tags", []):
            exec(cell.source, space)
    return {name.removesuffix("_solution"): made for name, made in space.items() if name.endswith("_solution")}


def definitions(source: Path, *wanted: str) -> dict:
    """What a lesson binds to these names, made by the statements that they need and by no others.

    For each name the last statement that binds it counts, and what that needs is looked for above it; imports,
    functions, classes and assignments are run, pictures and print-outs are not. Cells with solutions are left out.
    """
    statements = [
        (node, Names(node))
        for cell in lessons.code_cells(lessons.without(lessons.load(source), "solution"))
        for node in ast.parse(cell.source).body
    ]
    needed, kept = set(wanted), []
    for node, names in reversed(statements):
        if names.bound & needed:
            kept.insert(0, node)
            if not isinstance(node, BRANCHES):  # those may leave a name as it was
                needed -= names.bound
            needed |= names.used | names.later
    space = {}
    exec(compile(ast.Module(kept, type_ignores=[]), source.name, "exec"), space)
    missing = [name for name in wanted if name not in space]
    if missing:
        raise NameError(f"{source.name} does not bind {', '.join(missing)} at the top level of a cell.")
    return space

"""The cells of a notebook, and which of them an exercise needs. Nothing of them runs here.

The cells are Python alone: `magics.py` has read them as IPython does.
"""

from __future__ import annotations

import ast
import builtins
import symtable
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from .magics import UNREADABLE, tree_of
from .submission import COURSE

__all__ = ["Cell", "given", "needed", "read"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A code cell that was read."""

    number: int  #: its place in the notebook, from 1
    of: str  #: the slug of the exercise whose answer it is, "" for one of the learner's own, or "course"
    source: str
    uses: frozenset[str]  #: names that are none of its functions' own
    imports: frozenset[str]  #: names that its imports give
    gives: frozenset[str]  #: names that it defines, imports or assigns
    touches: frozenset[str]  #: names that it gives, or whose things its statements may change

    @property
    def file(self) -> str:
        """The name that its code has in tracebacks."""
        return f"<cell {self.number}>"


def read(number: int, source: str, of: str) -> Cell:
    """Read a cell."""
    tree = tree_of(source) or ast.Module([], [])
    return Cell(
        number,
        of,
        _defining(source, tree) if of == COURSE else source,
        uses=_used(source),
        imports=frozenset(name for name, imported in _given(tree) if imported),
        gives=given(source),
        touches=given(source) | {name for part in tree.body if _acts(part) for name in _names(part)},
    )


def needed(cells: Sequence[Cell], slug: str, *, own: bool = False) -> list[Cell]:
    """The cells that run for an exercise, in their order: the course's, its own, and those that they use.

    So do those of the learner's own that import all of a module, which may give any name; with `own` all of
    them, which may do what names do not tell. Of the answers to other exercises none runs that is not used:
    what it does at its beginning is no matter here.
    """
    chosen = [cell for cell in cells if cell.of in (COURSE, slug) or (not cell.of and (own or _any(cell)))]
    there = {*dir(builtins), *(name for cell in cells if cell.of == COURSE for name in cell.gives)}
    while True:
        mine = [cell for cell in chosen if cell.of != COURSE]
        used = {name for cell in mine for name in cell.uses} - {n for cell in mine for n in cell.imports}
        more = [cell for cell in cells if cell not in chosen and used & _changes(cell, there)]
        if not more:
            return [cell for cell in cells if cell in chosen]
        chosen += more


def _any(cell: Cell) -> bool:
    return "*" in cell.imports


def _changes(cell: Cell, there: set[str]) -> set[str]:
    """The names that mean something else after a cell, where some are there anyway."""
    return {name for name in cell.touches if name not in there or name in cell.gives - cell.imports}


@lru_cache(maxsize=1_000)
def given(source: str) -> frozenset[str]:
    """The names that a text defines, imports or assigns at its top level."""
    return frozenset(name for name, _ in _given(tree_of(source) or ast.Module([], [])))


def _given(part: ast.AST) -> Iterator[tuple[str, bool]]:
    """Each with whether it is imported."""
    match part:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name, False
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((each.asname or each.name.partition(".")[0], True) for each in names)
        case ast.Name(id=name, ctx=ast.Store()):
            yield name, False
        case _:
            for inner in ast.iter_child_nodes(part):
                yield from _given(inner)


def _used(source: str) -> frozenset[str]:
    try:
        return frozenset(_globals(symtable.symtable(source, "", "exec")))
    except UNREADABLE:
        return frozenset()


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    outer = table.get_type() == "module"
    for name in table.get_symbols():
        if name.is_referenced() and (outer or name.is_global()):
            yield name.get_name()
    for inner in table.get_children():
        yield from _globals(inner)


def _acts(part: ast.stmt) -> bool:
    """True for a statement that may change things beside giving a name."""
    defines = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Import | ast.ImportFrom
    return not isinstance(part, defines)


def _names(part: ast.AST) -> Iterator[str]:
    return (node.id for node in ast.walk(part) if isinstance(node, ast.Name))


def _defining(source: str, tree: ast.Module) -> str:
    """The text of a cell of the course's without the statements that only show something."""
    lines = source.splitlines(keepends=True)
    for part in tree.body:
        if not _defines(part):
            count = (part.end_lineno or part.lineno) - part.lineno + 1
            lines[part.lineno - 1 : part.end_lineno] = ["\n"] * count
    return "".join(lines)


def _defines(part: ast.stmt) -> bool:
    """True when a statement makes names for later."""
    if isinstance(part, ast.Assign | ast.AnnAssign):
        return not any(isinstance(node, ast.Call) for node in ast.walk(part))
    return not isinstance(part, ast.Expr)

"""The cells of a notebook, and which of them an exercise needs. Nothing of them runs here.

The cells are Python alone: `magics.py` has read them as IPython does.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .magics import UNREADABLE
from .submission import COURSE

__all__ = ["Cell", "needed", "read"]


@dataclass(frozen=True, eq=False)
class Cell:
    """A code cell that was read."""

    number: int  #: its place in the notebook, from 1
    of: str  #: the slug of the exercise whose answer it is, "" for one of the learner's own, or "course"
    source: str
    uses: frozenset[str]  #: names
    imports: frozenset[str]  #: names that its imports give
    binds: frozenset[str]  #: names that it gives, or whose things it changes

    @property
    def file(self) -> str:
        """The name that its code has in tracebacks."""
        return f"<cell {self.number}>"


def read(cells: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Read cells that have `number`, `source` and `of`: once, for all exercises of a notebook."""
    return [_read(cell["number"], cell["source"], cell["of"]) for cell in cells]


def _read(number: int, source: str, of: str) -> Cell:
    tree = _tree(source)
    return Cell(
        number,
        of,
        _defining(source, tree) if of == COURSE else source,
        uses=frozenset(_used(tree)),
        imports=frozenset(name for part in tree.body for name in _imported(part)),
        binds=frozenset(_bound(tree)),
    )


def needed(cells: Sequence[Cell], slug: str, *, own: bool) -> list[Cell]:
    """The cells that run for an exercise, in their order: the course's, its own, and those that they use.

    With `own` also all of the learner's own, which may do what names do not tell. Of the answers to other
    exercises none runs that is not used: what it does at its beginning is no matter here.
    """
    given = {name for cell in cells if cell.of == COURSE for name in cell.binds} | set(dir(builtins))
    chosen = [cell for cell in cells if cell.of in ((COURSE, slug, "") if own else (COURSE, slug))]
    while True:
        mine = [cell for cell in chosen if cell.of != COURSE]
        used = {name for cell in mine for name in cell.uses} - given
        used -= {name for cell in mine for name in cell.imports}
        more = [cell for cell in cells if cell not in chosen and not used.isdisjoint(cell.binds)]
        if not more:
            return [cell for cell in cells if cell in chosen]
        chosen += more


def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except UNREADABLE:
        return ast.Module([], [])


def _used(tree: ast.Module) -> Iterator[str]:
    return (node.id for node in ast.walk(tree) if isinstance(node, ast.Name))


def _bound(tree: ast.Module) -> Iterator[str]:
    """The names that the statements of a cell give at its top level, or whose things they change."""
    for part in tree.body:
        match part:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Import() | ast.ImportFrom():
                yield from _imported(part)
            case _:
                yield from _used(ast.Module([part], []))


def _imported(part: ast.stmt) -> Iterator[str]:
    if isinstance(part, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name.partition(".")[0] for alias in part.names)


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

"""A learner's notebook, run cell by cell as a kernel would, whatever the cells do.

The cells are Python alone: `magics.py` has read them as IPython does. What a cell shows is not kept.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import CodeType, ModuleType
from typing import Any

from ..exercise import Exercise
from .screening import may_be_imported, screen, without_banned_imports
from .submission import COURSE

__all__ = ["Cell", "Notebook", "read"]

NAME = "notebook"  #: the module that the cells believe to be in
UNREADABLE = (SyntaxError, ValueError, RecursionError, MemoryError)  #: what reading a text as Python raises


@dataclass(frozen=True, eq=False)
class Cell:
    """A code cell that was read, or the reason why it cannot run. Reading runs nothing of it."""

    number: int  #: its place in the notebook, from 1
    of: str  #: the slug of the exercise whose answer it is, "" for one of the learner's own, or "course"
    file: str  #: the name that its code has in tracebacks
    lines: tuple[str, ...]
    code: CodeType | None
    problem: Mapping[str, str] | None  #: `kind` and `words`
    uses: frozenset[str]  #: names
    imports: frozenset[str]  #: names that its imports give
    binds: frozenset[str]  #: names that it gives, or whose things it changes
    modules: frozenset[str]  #: of Python's own, which it imports and may import


def read(cells: Iterable[Mapping[str, Any]]) -> list[Cell]:
    """Read cells that have `number`, `source` and `of`: once, for all exercises of a notebook."""
    return [_read(cell["number"], cell["source"], cell["of"]) for cell in cells]


def _read(number: int, source: str, of: str) -> Cell:
    file = f"<cell {number}>"
    code, problem = None, None
    try:
        code = _compiled(source, of, file)
    except Refused as refused:
        problem = {"kind": "forbidden", "words": f"Cell {number}, {refused}."}
    except UNREADABLE as error:
        problem = {"kind": _kind(error, file), "words": _words(number, error, file)}
    tree = _tree(source)
    return Cell(
        number,
        of,
        file,
        tuple(source.splitlines(keepends=True)),
        code,
        problem,
        uses=frozenset(_used(tree)),
        imports=frozenset(name for part in tree.body for name in _imported(part)),
        binds=frozenset(_bound(tree)),
        modules=frozenset(may_be_imported(tree)),
    )


class Refused(Exception):
    """The text of a cell is refused; why is the exception's text."""


def _compiled(source: str, of: str, file: str) -> CodeType:
    if not of:
        source = without_banned_imports(source)  # what else it makes may be needed
    problem = screen(source)
    if problem:
        raise Refused(problem)
    tree = ast.parse(source, file)
    if of == COURSE:
        tree.body = [part for part in tree.body if _defines(part)]
    code: CodeType = compile(tree, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return code


class Notebook:
    """The code cells of a notebook, ready to run for one exercise.

    Of the answers to other exercises only those run that this one uses. With `alone`, only the course's
    cells and those of this exercise run.
    """

    def __init__(self, cells: Sequence[Cell], exercise: Exercise, *, alone: bool = False) -> None:
        self._slug = exercise.slug
        self._cells = _needed(cells, exercise.slug, alone)
        module = ModuleType(NAME)
        sys.modules[NAME] = module
        self.names: dict[str, Any] = vars(module)  #: what the cells have defined

    def run(self) -> list[Mapping[str, str]]:
        """Run the cells in order; what failed is tried once more after the others, as learners do.

        Returns the problems of the cells that hold this exercise's answer: `kind` and `words`.
        """
        failed = [cell for cell in self._cells if self._run(cell)]
        problems = [(cell, self._run(cell)) for cell in failed]
        return [problem for cell, problem in problems if problem and cell.of == self._slug]

    def _run(self, cell: Cell) -> Mapping[str, str] | None:
        """Run one cell; say what went wrong, or None."""
        if cell.code is None:
            return cell.problem
        linecache.cache[cell.file] = (sum(map(len, cell.lines)), None, list(cell.lines), cell.file)
        try:
            self._execute(cell.code)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and the like are the cell's doing as well
            return {"kind": _kind(error, cell.file), "words": _words(cell.number, error, cell.file)}
        return None

    def _execute(self, code: CodeType) -> None:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, self.names))
        else:
            exec(code, self.names)


def _needed(cells: Sequence[Cell], slug: str, alone: bool) -> list[Cell]:
    """The cells that run for an exercise: what another answer does at its beginning is no matter here."""
    given = {name for cell in cells if cell.of == COURSE for name in cell.binds}
    chosen = [cell for cell in cells if cell.of in ((COURSE, slug) if alone else (COURSE, slug, ""))]
    others = [] if alone else [cell for cell in cells if cell not in chosen]
    while True:
        mine = [cell for cell in chosen if cell.of != COURSE]
        used = {name for cell in mine for name in cell.uses} - given
        used -= {name for cell in mine for name in cell.imports}
        more = [cell for cell in others if not used.isdisjoint(cell.binds)]
        if not more:
            return [cell for cell in cells if cell in chosen]
        chosen += more
        others = [cell for cell in others if cell not in more]


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


def _defines(part: ast.stmt) -> bool:
    """True when a statement of the course's makes names for later, and does not only show something."""
    if isinstance(part, ast.Assign | ast.AnnAssign):
        return not any(isinstance(node, ast.Call) for node in ast.walk(part))
    return not isinstance(part, ast.Expr)


def _kind(error: BaseException, name: str) -> str:
    return (
        "syntax-error"
        if isinstance(error, SyntaxError) and error.filename in (name, "<unknown>")
        else "cell-error"
    )


def _words(number: int, error: BaseException, name: str) -> str:
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else _line(error, name)
    where = f"Cell {number}, line {line}" if line else f"Cell {number}"
    said = error.msg if isinstance(error, SyntaxError) else _said(error)
    return f"{where}: {type(error).__name__}{': ' if said else ''}{said}"


def _said(error: BaseException) -> str:
    try:
        return str(error)[:500]
    except BaseException:
        return ""


def _line(error: BaseException, name: str) -> int | None:
    found = None
    place = error.__traceback__
    while place is not None:
        if place.tb_frame.f_code.co_filename == name:
            found = place.tb_lineno
        place = place.tb_next
    return found

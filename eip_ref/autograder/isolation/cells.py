"""A learner's notebook, run cell by cell as a kernel would, whatever the cells do.

*Left out:* IPython. Its magics and shell lines are skipped, and what a cell shows is not kept.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import linecache
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import ModuleType
from typing import Any

from ..exercise import Exercise
from .screening import screen, without_banned_imports
from .submission import COURSE

__all__ = ["Notebook"]

NAME = "notebook"  #: the module that the cells believe to be in
MAGIC = re.compile(r"^(\s*)(?:[%!?].*|.*\w\?{1,2}\s*)$", re.MULTILINE)


class Notebook:
    """The code cells of a notebook, ready to run for one exercise.

    A cell is a mapping: `number` (its place in the notebook, from 1), `source`, and `of`, which is the
    slug of the exercise whose answer it is, "" for a cell of the learner's own, or "course". Of the
    answers to other exercises only those run that this one uses. With `alone`, only the course's cells
    and those of this exercise run.
    """

    def __init__(
        self, cells: Iterable[Mapping[str, Any]], exercise: Exercise, *, alone: bool = False
    ) -> None:
        self._slug = exercise.slug
        self._cells = _needed(list(cells), exercise.slug, alone)
        module = ModuleType(NAME)
        sys.modules[NAME] = module
        self.names: dict[str, Any] = vars(module)  #: what the cells have defined

    def run(self) -> list[dict[str, Any]]:
        """Run the cells in order; what failed is tried once more after the others, as learners do.

        Returns the problems of the cells that hold this exercise's answer: `kind` and `words`.
        """
        failed = [cell for cell in self._cells if self._run(cell)]
        problems = [(cell, self._run(cell)) for cell in failed]
        return [problem for cell, problem in problems if problem and cell["of"] == self._slug]

    def _run(self, cell: Mapping[str, Any]) -> dict[str, Any] | None:
        """Run one cell; say what went wrong, or None."""
        name, source = f"<cell {cell['number']}>", _plain(cell["source"])
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        try:
            if not cell["of"]:
                source = without_banned_imports(source)  # what else it makes may be needed
            problem = screen(source)
            if problem:
                return {"kind": "forbidden", "words": f"Cell {cell['number']}, {problem}."}
            tree = ast.parse(source, name)
            if cell["of"] == COURSE:
                tree.body = [part for part in tree.body if _defines(part)]
            self._execute(compile(tree, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True))
        except KeyboardInterrupt:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return {"kind": _kind(error, name), "words": _words(cell, error, name)}
        except BaseException as error:  # SystemExit and the like are the cell's doing as well
            return {"kind": "cell-error", "words": _words(cell, error, name)}
        return None

    def _execute(self, code: Any) -> None:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, self.names))
        else:
            exec(code, self.names)


def _needed(cells: list[Mapping[str, Any]], slug: str, alone: bool) -> list[Mapping[str, Any]]:
    """The cells that run for an exercise: what another answer does at its beginning is no matter here."""
    trees = {id(cell): _tree(cell["source"]) for cell in cells}
    given = {name for cell in cells if cell["of"] == COURSE for name in _bound(trees[id(cell)])}
    chosen = [cell for cell in cells if cell["of"] in ((COURSE, slug) if alone else (COURSE, slug, ""))]
    others = [] if alone else [cell for cell in cells if cell not in chosen]
    while True:
        mine = [trees[id(cell)] for cell in chosen if cell["of"] != COURSE]
        used = {name for tree in mine for name in _used(tree)} - given
        used -= {name for tree in mine for part in tree.body for name in _imported(part)}
        more = [cell for cell in others if not used.isdisjoint(_bound(trees[id(cell)]))]
        if not more:
            return [cell for cell in cells if cell in chosen]
        chosen += more
        others = [cell for cell in others if cell not in more]


def _tree(source: str) -> ast.Module:
    try:
        return ast.parse(_plain(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
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
    """Whether a statement of the course's makes names for later, and does not only show something."""
    if isinstance(part, ast.Assign | ast.AnnAssign):
        return not any(isinstance(node, ast.Call) for node in ast.walk(part))
    return not isinstance(part, ast.Expr)


def _kind(error: BaseException, name: str) -> str:
    return (
        "syntax-error"
        if isinstance(error, SyntaxError) and error.filename in (name, "<unknown>")
        else "cell-error"
    )


def _words(cell: Mapping[str, Any], error: BaseException, name: str) -> str:
    line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else _line(error, name)
    where = f"Cell {cell['number']}, line {line}" if line else f"Cell {cell['number']}"
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


@cache
def _plain(source: str) -> str:
    """The cell without what only IPython understands."""
    if source.lstrip().startswith("%%"):
        return ""
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return MAGIC.sub(r"\1pass", source)
    return source

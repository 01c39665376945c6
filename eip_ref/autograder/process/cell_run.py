"""The life of one process of the learner's: it runs the cells, and then does what the judge says."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib
import inspect
import linecache
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..kit.texts import form_of
from .learner_side import Side

__all__ = ["run"]

NAME = "notebook"  #: the module that the cells believe to be in
SHOWN = ("display", "help")  #: what a kernel has to show something with


def run(reads: int, writes: int, give_up_rights: Callable[[], None]) -> None:
    """Run the cells that come first, say whether they define the answer, and serve the judge."""
    side = Side(reads, writes)
    _, cells, answer, signature, makes = side.hear()
    for name in makes or ():
        module, _, short = name.partition(":")
        room = importlib.import_module(module)
        setattr(room, short, side.maker(name, getattr(room, short)))
    for name in SHOWN:
        setattr(builtins, name, _nothing)
    give_up_rights()
    side.sharing, side.tests = makes is not None, bool(makes)
    names = vars(sys.modules.setdefault(NAME, ModuleType(NAME)))
    problems = _run_cells(cells, names)
    if answer not in names:
        side.say("missing", problems)
        return
    thing = names[answer]
    complaint = form_of(signature).complaint(thing)
    side.say("ready", complaint, ["", "", {}] if complaint else side.describe(thing), side.hand_out(thing))
    side.run()


def _run_cells(cells: list[tuple[str, str]], names: dict[str, Any]) -> list[list[Any]]:
    """Run the cells in order; what failed is tried once more after the others, as learners do.

    At the second time an import that fails is passed over: an answer may well do without it. Returns the
    problems of the cells that failed.
    """
    failed = [(cell, problem) for cell in cells if (problem := _run_cell(cell, names, strict=True))]
    return [_run_cell(cell, names, strict=False) or problem for cell, problem in failed]


def _run_cell(cell: tuple[str, str], names: dict[str, Any], *, strict: bool) -> list[Any]:
    """Run one cell. Returns its problem: the kind, the cell's file, the line, and the error in words."""
    file, source = cell
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        tree = ast.parse(source, file)
        if not strict:
            tree.body = [_passing_over(part) for part in tree.body]
        code = compile(tree, file, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    except SyntaxError as error:
        return ["syntax-error", file, error.lineno, f"{type(error).__name__}: {error.msg}"]
    except Exception as error:
        return ["syntax-error", file, None, _said(error)]
    try:
        if code.co_flags & inspect.CO_COROUTINE:
            asyncio.run(eval(code, names))
        else:
            exec(code, names)
    except BaseException as error:  # SystemExit and the like are the cell's doing as well
        lines = [
            at for frame, at in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == file
        ]
        return ["cell-error", file, lines[-1] if lines else None, _said(error)]
    return []


def _passing_over(part: ast.stmt) -> ast.stmt:
    """An import as one that may fail; any other statement as it is."""
    if not isinstance(part, ast.Import | ast.ImportFrom) or getattr(part, "module", "") == "__future__":
        return part
    handler = ast.ExceptHandler(ast.Name("ImportError", ast.Load()), None, [ast.Pass()])
    return ast.fix_missing_locations(ast.copy_location(ast.Try([part], [handler], [], []), part))


def _said(error: BaseException) -> str:
    try:
        text = str(error)[:500]
    except BaseException:  # the learner's own `__str__`
        text = ""
    return f"{type(error).__name__[:100]}{': ' if text else ''}{text}"


def _nothing(*_: object, **__: object) -> None:
    """Show nothing: nobody looks."""

"""The life of one process of the learner's: it runs the cells, and then does what the judge says."""

from __future__ import annotations

import contextlib
import importlib
import linecache
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..kit.texts import form_of
from .learner_side import Side, describe

__all__ = ["run"]

NAME = "notebook"  #: the module that the cells believe to be in


def run(reads: int, writes: int, give_up_rights: Callable[[], None]) -> None:
    """Run the cells that come first, say whether they define the answer, and serve the judge."""
    side = Side(reads, writes)
    _, cells, answer, signature, modules, makes = side.hear()
    for name in modules:  # which the cells import: later they may not be readable any more
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for name in makes or ():
        module, _, short = name.partition(":")
        setattr(importlib.import_module(module), short, side.maker(name))
    give_up_rights()
    side.sharing = makes is not None
    names = vars(sys.modules.setdefault(NAME, ModuleType(NAME)))
    problems = [problem for cell in cells if (problem := _run_cell(side, cell, names)) is not None]
    if answer not in names:
        side.say("missing", problems)
        return
    thing = names[answer]
    complaint = form_of(signature).complaint(thing)
    side.say("ready", complaint, ["", "", {}] if complaint else describe(thing), side.hand_out(thing))
    side.run()


def _run_cell(side: Side, cell: list[str], names: dict[str, Any]) -> list[str] | None:
    file, source = cell
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        side.run_cell(compile(source, file, "exec", dont_inherit=True), names)
    except BaseException as error:
        return [file, type(error).__name__, str(error)[:500]]
    return None

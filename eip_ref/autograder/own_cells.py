"""The cells that an answer comes from: those that ran in this kernel, or the statements of a script.

A check hands over an object, and a process of its own needs text. So the cells of the kernel are remembered
as they run, and `needed` chooses from them as it does for grading at first.

*Left out:* a cell of the learner's own that the answer does not use by name, such as one that patches a
library. Grading runs it.
"""

from __future__ import annotations

import inspect
import itertools
import linecache
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import FrameType, ModuleType
from typing import Any

from .exercise import Exercise
from .isolation.cells import Cell, given, needed, read
from .isolation.isolated import course_cells
from .isolation.magics import python_of, tree_of
from .isolation.submission import COURSE
from .registry import lesson_of

__all__ = ["CALLED", "Unknown", "cells_of", "listen"]

CALLED = "<cell of the check>"  #: the file of a line that gives the answer its name


class Unknown(LookupError):
    """The text of an answer cannot be told: the reason, as the end of a sentence with "because"."""


@dataclass
class Ran:
    """A cell that ran."""

    number: int  #: as the notebook shows it
    source: str
    key: str  #: the same when the cell is run again
    interrupted: bool = False


class Kernel:
    """The cells that ran in an IPython shell, from the first one on."""

    def __init__(self, shell: Any, then: Callable[[], None]) -> None:
        self._shell, self._then = shell, then
        self._ran: list[Ran] = []
        self._info: Any = None  # of the cell that runs
        for source in (*shell.history_manager.input_hist_raw[1 : shell.execution_count], self._this_cell()):
            self._ran.append(Ran(len(self._ran) + 1, source, source))
        shell.events.register("pre_run_cell", self._begins)
        shell.events.register("post_run_cell", self._ended)

    def _this_cell(self) -> str:
        """The cell that runs now, which was not told of."""
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_globals is not self._shell.user_ns:
            frame = frame.f_back
        return "".join(linecache.getlines(frame.f_code.co_filename)) if frame else ""

    def _begins(self, info: Any) -> None:
        self._info = info
        number = max(self._shell.execution_count, self._ran[-1].number + 1)
        self._ran.append(Ran(number, info.raw_cell, _key(info)))

    def _ended(self, result: Any) -> None:
        if self._info is None:  # it is the one that imported this
            self._ran[-1].source, self._ran[-1].key = result.info.raw_cell, _key(result.info)
        self._info = result.info
        self._ran[-1].interrupted = isinstance(result.error_in_exec, KeyboardInterrupt)
        if "check" in self._shell.user_ns:
            self._then()

    @property
    def names(self) -> Mapping[str, Any]:
        """The things that the cells have defined."""
        return self._shell.user_ns  # type: ignore[no-any-return]

    def cells(self) -> list[Ran]:
        """The cells in the order of the notebook, as far as it can be told; each once, as it ran last.

        A cell that ran again keeps its place, unless another one has given a name of it meanwhile.
        """
        kept: list[Ran] = []
        for ran in self._ran:
            at = next((place for place, each in enumerate(kept) if each.key == ran.key), len(kept))
            gives = _gives(ran)
            if any(gives & _gives(each) for each in kept[at + 1 :]):
                del kept[at]
                at = len(kept)
            kept[at : at + 1] = [ran]
        return kept


def _gives(ran: Ran) -> frozenset[str]:
    source = python_of(ran.source)
    return given(source) or _begun(source)


def _key(info: Any) -> str:
    return str(getattr(info, "cell_id", None) or info.raw_cell)


_kernel: Kernel | None = None


def listen(then: Callable[[], None]) -> None:
    """Remember the cells of this kernel, and call `then` after each one when there is a check. Idempotent."""
    global _kernel
    found = sys.modules.get("IPython")
    shell = found.get_ipython() if found else None
    if shell is not None and _kernel is None:
        _kernel = Kernel(shell, then)


def cells_of(exercise: Exercise, answer: object) -> tuple[str, list[tuple[str, str]]]:
    """The name of an answer, and its cells, which give it under the name that the exercise wants.

    Each cell is the name of its file in tracebacks, and its text. Raises `Unknown`.
    """
    if _kernel is not None:
        name = _name(answer, exercise, _kernel.names)
        found = [*_owned(_kernel.cells(), exercise, name)]
    else:
        module = _module(answer)
        name = _name(answer, exercise, vars(module))
        found = [*_statements(module, exercise, name)]
    if not any(cell.of == exercise.slug for cell in found):
        raise Unknown(f"no cell says what `{name}` is")
    chosen = [(cell.file, cell.source) for cell in needed(found, exercise.slug)]
    called = [(CALLED, f"{exercise.answer} = {name}")] if name != exercise.answer else []
    return name, chosen + called


def _name(answer: object, exercise: Exercise, names: Mapping[str, Any]) -> str:
    """The name that the answer has among these. Raises `Unknown`."""
    own = [name for name, value in names.items() if value is answer and not name.startswith("_")]
    if not own:
        raise Unknown("no cell gives it a name")
    return exercise.answer if exercise.answer in own else own[0]


def _owned(ran: Iterable[Ran], exercise: Exercise, name: str) -> list[Cell]:
    """The cells, each with whose it is. One that Python could not read takes the place of those before it."""
    of_course = course_cells(lesson_of(exercise).notebook)
    owned: list[Cell] = []
    for each in ran:
        source = python_of(each.source)
        of = exercise.slug if name in given(source) else COURSE if each.source in of_course else ""
        if name in _begun(source):
            of = exercise.slug
            owned = [cell for cell in owned if cell.of != of]
        if of or not each.interrupted:
            owned.append(read(each.number, source, of))
    return owned


@lru_cache(maxsize=1_000)
def _begun(source: str) -> frozenset[str]:
    """The names that a text was to give which Python cannot read."""
    if tree_of(source) is not None:
        return frozenset()
    begins = r"^(?:[ \t]*(?:async[ \t]+def|def|class)[ \t]+(\w+)|(\w+)[ \t]*=)"
    return frozenset(filter(None, itertools.chain(*re.findall(begins, source, re.MULTILINE))))


def _module(answer: object) -> ModuleType:
    """The module of a script that the answer is from. Raises `Unknown`."""
    named = [getattr(answer, "__module__", None), type(answer).__module__, "__main__"]
    modules = [sys.modules[name] for name in named if name in sys.modules]
    for module in modules:
        if any(value is answer for value in vars(module).values()):
            return module
    raise Unknown("no module gives it a name")


def _statements(module: ModuleType, exercise: Exercise, name: str) -> list[Cell]:
    """The statements of a module, each as a cell with its lines where they are. Raises `Unknown`."""
    try:
        source = inspect.getsource(module)
    except (OSError, TypeError):
        raise Unknown("its module has no text") from None
    tree = tree_of(source)
    if tree is None:
        raise Unknown("the text of its module is no longer valid")
    lines, owned = source.splitlines(keepends=True), []
    for number, part in enumerate(tree.body, 1):
        first = min([part.lineno, *(each.lineno for each in getattr(part, "decorator_list", ()))])
        text = "\n" * (first - 1) + "".join(lines[first - 1 : part.end_lineno])
        owned.append(read(number, text, exercise.slug if name in given(text) else ""))
    return owned

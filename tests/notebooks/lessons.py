"""Lessons as their tests see them: the cells of a notebook, and all of its names after it has run."""

from __future__ import annotations

import ast
import io
import linecache
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from IPython.core.formatters import DisplayFormatter

from eip_ref.autograder.notebooks import read

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

Cell = dict[str, Any]


class Ran(NamedTuple):
    """What is left of a notebook that has run, without a kernel."""

    names: dict[str, Any]
    shown: list[object]  #: the value of the last line of each code cell that has one
    outputs: list[list[dict[str, Any]]]  #: of each code cell, as a kernel would send them


@cache
def run(path: Path) -> Ran:
    """Run the cells of a notebook, once for all tests. Nobody may change what it left.

    They are one module, as in a script, so that a check finds an answer there and runs it in another process.
    """
    module = ModuleType(f"{path.parent.name}_{path.stem}")
    sys.modules[module.__name__] = module
    module.__file__ = f"<{module.__name__}>"
    _keep(module.__file__, "\n".join(code(path)))
    ran = Ran(vars(module), [], [])
    for number, cell in enumerate(read(path)["cells"]):
        if cell["cell_type"] == "code":
            printed = {name: io.StringIO() for name in ("stdout", "stderr")}
            with redirect_stdout(printed["stdout"]), redirect_stderr(printed["stderr"]):
                shown = [*_run(cell["source"], f"<{path.stem} {number}>", ran.names)]
            ran.shown.extend(shown)
            ran.outputs.append([*_outputs(shown, {name: text.getvalue() for name, text in printed.items()})])
    return ran


def _run(source: str, where: str, names: dict[str, Any]) -> Iterator[object]:
    """Run a cell, and yield the value of its last line if it has one."""
    _keep(where, source)
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, where, "exec", dont_inherit=True), names)  # as a kernel does
    if isinstance(last, ast.Expr):
        yield eval(compile(ast.Expression(last.value), where, "eval"), names)


def _keep(where: str, source: str) -> None:
    """For tracebacks, and for those who ask for the source of a thing."""
    linecache.cache[where] = (len(source), None, source.splitlines(True), where)


def _outputs(shown: list[object], printed: dict[str, str]) -> Iterator[dict[str, Any]]:
    for name, text in printed.items():
        if text:
            yield {"output_type": "stream", "name": name, "text": text}
    for value in shown:
        if value is not None:
            data, metadata = DisplayFormatter().format(value)  # type: ignore[no-untyped-call]
            yield {"output_type": "execute_result", "data": data, "metadata": metadata, "execution_count": 0}


@cache
def cells(path: Path) -> list[Cell]:
    found: list[Cell] = read(path)["cells"]
    return found


def code(path: Path) -> list[str]:
    """The source of each code cell."""
    return [cell["source"] for cell in cells(path) if cell["cell_type"] == "code"]


def asked(path: Path) -> list[str]:
    """The names of the predictions that a lesson asks for, in their order."""
    return [
        name for source in code(path) for name in re.findall(r'^predict\("(.+?)"\)$', source, re.MULTILINE)
    ]


def prose(path: Path) -> str:
    """All that a lesson says in words."""
    return "\n\n".join(cell["source"] for cell in cells(path) if cell["cell_type"] == "markdown")


def section(path: Path, heading: str) -> str:
    """The prose below a heading, up to the next one; "" when it is not there."""
    parts = re.split(r"^#+ +(.+?) *$", prose(path), flags=re.MULTILINE)
    found = [below for title, below in zip(parts[1::2], parts[2::2], strict=True) if title == heading]
    return found[0].strip() if found else ""

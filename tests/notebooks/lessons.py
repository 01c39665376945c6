"""Lessons as their tests see them: the cells of a notebook, and all of its names after it has run."""

from __future__ import annotations

import ast
import linecache
import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eip_ref.autograder.notebooks import read

ROOT = Path(__file__).parents[2]
LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))

UNDER_WAY: tuple[str, ...] = ()  #: lessons that are being written; what they still lack is no failure

Cell = dict[str, Any]


def marks(path: Path) -> list[pytest.MarkDecorator]:
    """The marks of a test of this lesson."""
    return (
        [pytest.mark.xfail(reason="being written", strict=False)] if path.stem.startswith(UNDER_WAY) else []
    )


class Ran(NamedTuple):
    """What is left of a notebook that has run, without a kernel."""

    names: dict[str, Any]
    shown: list[object]  #: the value of the last line of each code cell that has one


@cache
def run(path: Path) -> Ran:
    """Run the cells of a notebook, once for all tests. Nobody may change what it left."""
    names: dict[str, Any] = {"__name__": "lesson"}
    shown = []
    for number, cell in enumerate(read(path)["cells"]):
        if cell["cell_type"] != "code":
            continue
        source, where = cell["source"], f"<{path.stem} {number}>"
        linecache.cache[where] = (len(source), None, source.splitlines(True), where)
        tree = ast.parse(source)
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec", dont_inherit=True), names)  # as a kernel does
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), where, "eval"), names))
    return Ran(names, shown)


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

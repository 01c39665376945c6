"""A class of learners who do not exist: notebooks made of stubs, model answers and kept answers.

By hand: `python -m tests.autograder.class_of 200 /tmp/class`, then `eip grade /tmp/class --out …`.
"""

from __future__ import annotations

import argparse
import ast
import copy
import inspect
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from eip_ref.autograder.notebooks import read
from eip_ref.autograder.regions import model_answer
from eip_ref.autograder.registry import Lesson, lesson
from eip_ref.autograder.workbook import answer_cells

from .exercise_cases import ROOT, Answers, Kept
from .hostile import HOSTILE
from .hostile.submissions import answering, batches, in_bytes

LESSONS = ("message_queue", "point_to_point")
FIRST = ("Ada", "Bayo", "Chen", "Dina", "Elif", "Femi", "Göran", "Hana", "Iris", "João", "Kofi", "Lena")
LAST = ("Abara", "Berg", "Costa", "Díaz", "Endo", "Fischer", "Gupta", "Haddad", "Ito", "Jensen")

Notebook = dict[str, Any]


def learners(count: int) -> Iterator[str]:
    """Names, the same for the same number, each one once."""
    for number in range(count):
        number, first = divmod(number, len(FIRST))
        number, last = divmod(number, len(LAST))
        yield f"{FIRST[first]} {LAST[last]}{f' {number + 1}' if number else ''}"


def notebook_of(learner: str, module: str = "message_queue") -> Notebook:
    """What this learner hands in: of each exercise the stub, a right answer or a wrong one."""
    found = lesson(module)
    dice = random.Random(f"{learner}/{module}")
    made = copy.deepcopy(_stored("exercises", found.notebook))
    for exercise in found.exercises:
        kind = dice.choices(("stub", "model", "kept"), (1, 4, 5))[0]
        cells = answer_cells(made, exercise)
        if kind == "model":
            for cell, model in zip(
                cells, answer_cells(_stored("solutions", found.notebook), exercise), strict=True
            ):
                cell["source"] = model_answer(model["source"])
        elif kind == "kept":
            kept = dice.choice([each for each in _kept(module) if each.exercise == exercise])
            for cell, source in zip(cells, [source_of(kept), *[""] * len(cells)], strict=False):
                cell["source"] = source
    return made


def source_of(kept: Kept) -> str:
    """A kept answer as the text of a cell, with all that it needs of the module that it stands in."""
    module = inspect.getmodule(kept.answer)
    assert module
    parts = _needed(_parts(module), kept.answer.__name__)
    return "\n\n".join([*parts, f"{kept.exercise.answer} = {kept.answer.__name__}"])


def _needed(parts: dict[str, ast.stmt], name: str) -> list[str]:
    """The texts of the top-level statements that `name` rests on, in the order of the module."""
    wanted, waiting = set[str](), [name]
    while waiting:
        name = waiting.pop()
        if name in parts and name not in wanted:
            wanted.add(name)
            waiting += [node.id for node in ast.walk(parts[name]) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(ast.unparse(part) for name, part in parts.items() if name in wanted))


@cache
def _parts(module: ModuleType) -> dict[str, ast.stmt]:
    """The top-level statements of a module by the names that they give, without decorators of tests."""
    parts: dict[str, ast.stmt] = {}
    for statement in _WithoutTypes().visit(ast.parse(inspect.getsource(module))).body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                statement.decorator_list = [each for each in statement.decorator_list if not _keeps(each)]
                parts[statement.name] = statement
            case ast.Import() | ast.ImportFrom():
                for alias in statement.names:
                    one = copy.copy(statement)
                    one.names = [alias]
                    parts[alias.asname or alias.name] = one
            case ast.Assign(targets=[ast.Name(id=name)]):
                parts[name] = statement
    return parts


class _WithoutTypes(ast.NodeTransformer):
    """Takes the types of parameters and results away: a notebook would have to import what they name."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)


def _keeps(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and ast.unparse(decorator.func) in ("wrong", "right")


@cache
def _stored(folder: str, name: str) -> Notebook:
    return read(ROOT / folder / name)


@cache
def _kept(module: str) -> Sequence[Kept]:
    answers: Answers = import_module(f"tests.autograder.wrong_answers.{module}").ANSWERS
    return answers.kept


Layout = Callable[[str, Lesson], str]
LAYOUTS: dict[str, Layout] = {
    "files": lambda learner, of: f"{learner}_{of.notebook}",
    "folders": lambda learner, of: f"{learner}/{of.notebook}",
    "nbgrader": lambda learner, of: f"submitted/{learner}/lesson-{of.number}/{of.notebook}",
    "classroom": lambda learner, of: f"patterns-{learner.replace(' ', '')}/exercises/{of.notebook}",
}


def write_class(
    folder: Path, count: int, *, layout: str = "folders", modules: Sequence[str] = LESSONS[:1]
) -> None:
    """Write the submissions of a class of `count` learners into `folder`."""
    for learner in learners(count):
        for module in modules:
            path = folder / LAYOUTS[layout](learner, lesson(module))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(notebook_of(learner, module)), encoding="utf-8")


def mix_in_hostile(folder: Path) -> None:
    """Add one learner for each notebook of hostile answers, and some whose files are no notebooks."""
    for number, batch in enumerate(batches(HOSTILE), 1):
        found = lesson(next(iter(batch)).partition("/")[0])
        made = answering(found, {name: hostile.source(name) for name, hostile in batch.items()})
        _put(folder / f"hostile-{number}" / found.notebook, in_bytes(made))
    name = lesson(LESSONS[0]).notebook
    for words, data in {"empty": b"", "no-text": b"\xff\xfe\x00", "a-zip": b"PK\x03\x04"}.items():
        _put(folder / f"broken-{words}" / name, data)
    link = folder / "broken-link" / name
    link.parent.mkdir()
    link.symlink_to("/etc/hostname")


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Write a class from the command line."""
    parser = argparse.ArgumentParser(description="Write the submissions of a class that does not exist.")
    parser.add_argument("count", type=int)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", choices=LAYOUTS, default="folders")
    parser.add_argument("--lessons", nargs="+", default=LESSONS[:1])
    parser.add_argument("--hostile", action="store_true", help="also all the attacks of the tests")
    options = parser.parse_args()
    write_class(options.folder, options.count, layout=options.layout, modules=options.lessons)
    if options.hostile:
        mix_in_hostile(options.folder)


if __name__ == "__main__":
    main()

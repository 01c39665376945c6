"""Reading a cell before it runs: what is refused, and what is not."""

from __future__ import annotations

import ast

import pytest

from eip_ref.autograder.isolation.screening import may_be_imported, reaches_in, screen, without_banned_imports

REFUSED = {
    "a frame": "error.__traceback__.tb_frame",
    "a namespace": "f.__globals__",
    "a class of a thing": "thing.__class__",
    "a private part": "queue._entries",
    "a private part by its name": "getattr(queue, '_entries')",
    "a name that is made while the code runs": "getattr(queue, '_ent' + name)",
    "getattr, handed on": "map(getattr, things, names)",
    "getattr, renamed": "look = getattr",
    "attrgetter, imported": "from operator import attrgetter as look",
    "a pattern": "match f:\n    case object(__globals__=g): pass",
    "a format": "'{0.__globals__}'.format(f)",
    "a formatted text": "f'{f.__globals__}'",
    "a formatter": "import string; string.Formatter()",
    "code from text": "exec('x')",
    "code from text, handed on": "run = exec",
    "the namespace": "globals()",
    "a module that reads frames": "import inspect",
    "a part of such a module": "import unittest.mock",
    "a module within another": "dataclasses.inspect",
    "a module from another": "from dataclasses import inspect",
    "the judge": "import eip_ref.autograder.judging",
    "the kit of the exercises": "from eip_ref.autograder.kit import happens",
    "the kit, from its package": "from eip_ref.autograder import kit",
    "the judge, from its package": "from eip_ref.autograder import judging",
    "the inside of a lesson": "from eip_ref.course.message_queue.mend_the_worker import judge",
    "the inside of a lesson, from its package": "from eip_ref.course.message_queue import shop",
    "the exercises of a lesson": "from eip_ref.course.message_queue import EXERCISES",
    "a lesson, from the course": "from eip_ref.course import message_queue",
    "the course, from the library": "from eip_ref import course",
    "a lesson, as a part": "import eip_ref\neip_ref.course.message_queue.shop",
    "the clock of a run": "from eip_ref.lab.clock import current_seed",
    "the clock of a run, as a part": "from eip_ref.lab import clock",
    "an import with a dot": "from . import judging",
    "a library that is not there": "import numpy",
    "another file of SQLite": "base.execute('ATTACH DATABASE \"x\" AS y')",
    "an own name for an inside": "class Mine:\n    __self__ = 1\nhandle.__self__",
    "an own name for a part of the library": "class Mine:\n    _recorder = 1\neip_ref.trace._recorder",
}
HARMLESS = {
    "own private parts": "class Mine:\n    def __init__(self):\n        self._tea = []\n\nMine()._tea",
    "a class's name": "print(type(error).__name__)",
    "super": "class Mine(dict):\n    def __init__(self):\n        super().__init__()",
    "getattr with a name that one can read": "getattr(message, 'body', None)",
    "attrgetter with a name that one can read": "import operator; operator.attrgetter('body.id')",
    "an attribute": "lease.message.headers['customer']",
    "usual imports": "import asyncio, collections.abc, dataclasses, math\nfrom heapq import heappush",
    "the future": "from __future__ import annotations",
    "the library": "from eip_ref.message_queue import MessageQueue\nfrom eip_ref.lab import simulate",
    "the first cell": "from eip_ref.autograder import check, hint, reset, solution",
    "a format": "f'{lease.message.id}: {1:>4} {{x}}'.format(1)",
    "a text about attaching": "print('attach the label as soon as it is printed')",
    "a variable named as a module": "code = trace = types = 1",
}


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED)
def test_what_reaches_into_the_insides_is_refused_with_its_line(source: str) -> None:
    """Wherever it stands in the cell."""
    assert screen(source).startswith("line ")
    words = screen("x = 1\n\n" + source)
    assert words.startswith("line ")
    assert not words.startswith("line 1:")


@pytest.mark.parametrize("source", HARMLESS.values(), ids=HARMLESS)
def test_what_answers_are_made_of_is_not_refused(source: str) -> None:
    """An honest answer meets no screen."""
    assert screen(source) == ""


def test_a_cell_without_its_refused_imports_keeps_its_lines() -> None:
    """So that an error in it is found at its place."""
    source = "import inspect\nfrom types import (\n    ModuleType,\n)\nimport math\nx = 1"
    assert without_banned_imports(source) == "\n\n\n\nimport math\nx = 1"


def test_only_harmless_modules_of_python_are_imported_ahead() -> None:
    """Neither others' nor those that are refused."""
    tree = ast.parse("import math, inspect, numpy\nfrom email import message\nimport eip_ref")
    assert set(may_be_imported(tree)) == {"math", "email"}


@pytest.mark.parametrize(
    ("source", "reaches"),
    [("a + b", False), ("().__class__", True), ("(lambda: f.__globals__)()", True), ("getattr(a, b)", True)],
)
def test_code_that_was_made_from_text_is_judged_by_its_names(source: str, reaches: bool) -> None:
    """Inner functions count as well."""
    assert reaches_in(compile(source, "<string>", "eval")) == reaches

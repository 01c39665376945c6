"""A notebook is read as IPython reads it: a magic costs nothing, and no line moves."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from eip_ref.autograder.isolation.magics import python_of, tree_of


@pytest.mark.parametrize(
    ("source", "python"),
    [
        ("x = 1\ny = 2", "x = 1\ny = 2"),
        ("%%time\nx = 1\ny = 2", "\nx = 1\ny = 2\n"),
        ("\n\n%%capture out\nx = 1", "\n\n\nx = 1\n"),
        ("%%time\n%matplotlib inline\nx = 1", "\nNone\nx = 1\n"),
        ("%%bash\nrm -rf /", ""),
        ("%matplotlib inline\nx = 1", "None\nx = 1\n"),
        ("files = !ls\nx = 1", "files = None\nx = 1\n"),
        ("x = %timeit -o f()\n!pip install tea\ny = 2", "x = None\nNone\ny = 2\n"),
        ("int?\nx = 1", "None\nx = 1\n"),
        ("if True:\n    %time f()\n    x = 1", "if True:\n    None\n    x = 1\n"),
        ("name = 'ü'; files = !ls ü\nx = 1", None),
        ("await x\n%time y", "await x\nNone\n"),
        ("%time x = f()\ny = %time g(x)\n%time", "x = f()\ny = g(x)\nNone\n"),
        ("%%timeit -n 1\nx = 1", "\nx = 1\n"),
        ("?help\nhelp??\nx = 1", "None\nNone\nx = 1\n"),
        ("def f():\n    !ls\n    return 1", "def f():\n    None\n    return 1\n"),
        (">>> def f():\n...     return 1", "def f():\n    return 1\n"),
        ("get_ipython().system('ls')\nx = 1", "None\nx = 1"),
        ("x = get_ipython().getoutput(get_ipython().var)", "x = None"),
        ("get_ipython().run_cell_magic('time', '', 'x = 1\\ny = 2')", "x = 1\ny = 2"),
    ],
)
def test_a_cell_is_what_ipython_makes_of_it_without_its_calls(source: str, python: str | None) -> None:
    """Assignments stay assignments, bodies stay bodies, and lines stay where they are."""
    found = python_of(source)
    assert python is None or found == python
    if found and python is not None:
        ast.parse(found)


@pytest.mark.parametrize("source", ["def f(:\n  x", "%%time\ndef f(:", "x = = 1\n%time y", "(" * 5000, "\0"])
def test_what_nobody_can_read_stays_as_it_is_or_as_wrong(source: str) -> None:
    """The learner hears of the mistake that they made."""
    with pytest.raises((SyntaxError, ValueError, MemoryError, RecursionError)):
        ast.parse(python_of(source))


def test_an_error_names_the_line_that_the_learner_sees() -> None:
    """Also below a magic."""
    tree = ast.parse(python_of("%%time\n\nanswer = 1"))
    assert tree.body[0].lineno == 3


@pytest.mark.parametrize("source", ["a = !ls\n" * 1_000, "%time\n" * 1_000, "f(" * 100_000])
def test_a_cell_that_would_be_read_for_minutes_is_left_as_it_is(source: str) -> None:
    """Python then says what is wrong with it."""
    assert python_of(source) == source


@pytest.fixture
def switching_threads() -> Iterator[None]:
    """Python switches between threads only where Python runs, such as in what the collector calls."""
    before = gc.get_threshold()

    def called(*_: object) -> None:
        sum(range(300))

    gc.set_threshold(200)
    gc.callbacks.append(called)
    yield
    gc.callbacks.remove(called)
    gc.set_threshold(*before)


@pytest.mark.usefixtures("switching_threads")
def test_threads_that_read_at_the_same_time_read_alike() -> None:
    """A cell that one of them could not read would cost its learner all points."""
    text = Path(ast.__file__).read_text(encoding="utf-8")
    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(tree_of, [text] * 40))

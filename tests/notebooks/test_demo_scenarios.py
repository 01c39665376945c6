"""The scenario behind each demo of a lesson works at all its presets and end points."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder.notebooks import read
from eip_ref.lab import invariants
from eip_ref.lab.demo import Demo

LESSONS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def demos_of(path: Path) -> Iterator[Demo]:
    """Run a lesson's cells, without a kernel, and find the demos that they show."""
    names: dict[str, Any] = {"__name__": "lesson"}
    for number, cell in enumerate(read(path)["cells"]):
        if cell["cell_type"] != "code":
            continue
        source, where = cell["source"], f"<{path.stem} {number}>"
        linecache.cache[where] = (len(source), None, source.splitlines(True), where)
        tree = ast.parse(source)
        shown = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        if isinstance(shown, ast.Expr):
            value = eval(compile(ast.Expression(shown.value), where, "eval"), names)
            if isinstance(value, Demo):
                yield value


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_demo_works_at_its_presets_and_end_points(path: Path) -> None:
    """No error, something to see, words to read, and messages that are all accounted for."""
    demos = list(demos_of(path))
    assert demos
    for demo in demos:
        settings = [{**demo.default_values, **preset} for preset in demo.presets.values()]
        for values in [*settings, *demo.end_points()]:
            trace = demo.run(**values)
            assert len(trace) > 0, values
            assert demo.summary(trace), values
            assert invariants.check(trace, invariants.conservation, invariants.lease_fencing) == [], values


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_presets_of_a_demo_have_different_outcomes(path: Path) -> None:
    """A button that changes nothing is no demonstration."""
    for demo in demos_of(path):
        said = [demo.summary(demo.run(**{**demo.default_values, **p})) for p in demo.presets.values()]
        assert len(set(said)) == len(said)

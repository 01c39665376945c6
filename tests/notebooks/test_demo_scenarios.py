"""The scenario behind each demo of a lesson works at all its presets and end points."""

from __future__ import annotations

from pathlib import Path

import pytest

from eip_ref.lab import invariants
from eip_ref.lab.demo import Demo
from tests.notebooks.lessons import LESSONS, run


def demos_of(path: Path) -> list[Demo]:
    """The demos that a lesson shows."""
    return [shown for shown in run(path).shown if isinstance(shown, Demo)]


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_each_demo_works_at_its_presets_and_end_points(path: Path) -> None:
    """No error, something to see, words to read, and messages that are all accounted for."""
    demos = demos_of(path)
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

"""The scenario behind each demo of a lesson works at all its presets and end points."""

from __future__ import annotations

from pathlib import Path

import pytest

from eip_ref.lab import invariants
from eip_ref.lab.demo import Demo
from tests.notebooks.lessons import LESSONS, run

LONGEST_LABEL = 28  #: signs; a slider has about 100 pixels then


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


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_the_label_of_a_control_leaves_room_to_its_slider(path: Path) -> None:
    """Two columns on 1280 pixels: a label of 37 signs left a slider of 20 pixels, which no hand can set."""
    labels = [c.label_of(name) for demo in demos_of(path) for name, c in demo.controls.items()]
    assert [label for label in labels if len(label) > LONGEST_LABEL] == []

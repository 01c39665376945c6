"""The scenario behind each demo of a lesson works at all its presets and end points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from eip_ref.lab import invariants
from eip_ref.lab.demo import Demo
from eip_ref.trace import Trace
from tests.notebooks.lessons import LESSONS, run

LONGEST_LABEL = 28  #: signs; a slider has about 100 pixels then
WRONG_NUMBER = re.compile(r"(?<![\w.,-])1 (?!was|is|has)(?:[a-z]+s|were|are)\b")  #: "1 orders", "1 were"
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem, scope="module")


Runs = list[tuple[Mapping[str, Any], Trace]]


class Played(NamedTuple):
    """A demo that was run with each of its presets, at the start, and at the end points of its controls.

    Each of them once: a preset or an end point may be what is set at the start.
    """

    demo: Demo
    presets: Runs
    others: Runs


def demos_of(path: Path) -> list[Demo]:
    """The demos that a lesson shows."""
    return [shown for shown in run(path).shown if isinstance(shown, Demo)]


@lru_cache(maxsize=1)  # traces are large; the tests of a lesson stand together
def played(path: Path) -> list[Played]:
    """The demos that a lesson shows, run once for all tests of it."""
    return [_played(demo) for demo in demos_of(path)]


def _played(demo: Demo) -> Played:
    presets = [{**demo.default_values, **values} for values in demo.presets.values()]
    others = [values for values in (demo.default_values, *demo.end_points()) if values not in presets]
    once = [values for number, values in enumerate(others) if values not in others[:number]]
    return Played(demo, _runs(demo, presets), _runs(demo, once))


def _runs(demo: Demo, settings: Iterable[Mapping[str, Any]]) -> Runs:
    return [(values, demo.run(**values)) for values in settings]


@each_lesson
def test_each_demo_works_at_its_presets_and_end_points(path: Path) -> None:
    """No error, something to see, words to read, and messages that are all accounted for."""
    assert played(path)
    for demo, presets, others in played(path):
        for values, trace in [*presets, *others]:
            assert len(trace) > 0, values
            assert demo.summary(trace), values
            assert invariants.check(trace, invariants.conservation, invariants.lease_fencing) == [], values


@each_lesson
def test_what_a_demo_says_of_one_is_singular(path: Path) -> None:
    """At the ends of a control there is often one of something."""
    for demo, presets, others in played(path):
        said = [demo.summary(trace) for _, trace in [*presets, *others]]
        assert [words for words in said if WRONG_NUMBER.search(words)] == []


@each_lesson
def test_the_presets_of_a_demo_have_different_outcomes(path: Path) -> None:
    """A button that changes nothing is no demonstration."""
    for demo, presets, _ in played(path):
        said = [demo.summary(trace) for _, trace in presets]
        assert len(set(said)) == len(said)


@each_lesson
def test_the_seed_of_a_demo_is_a_control_where_it_changes_something(path: Path) -> None:
    """At a preset or at the start; else it would only be in the way."""
    for demo, presets, others in played(path):
        changes = (
            demo.run(seed=demo.seed.value + 1, **values).events != trace.events
            for values, trace in [*presets, *others[:1]]
        )
        assert (demo.seed in demo.grid.children) == any(changes)


@each_lesson
def test_each_control_of_a_demo_changes_its_picture(path: Path) -> None:
    """At one of its ends, seen from the start or from a preset: it may rest until another one is set."""
    assert [idle for each in played(path) if (idle := _idle(each))] == []


def _idle(played: Played) -> set[str]:
    """The controls that change no picture."""
    demo, presets, others = played
    known, idle = [*others, *presets], {*demo.controls}
    for values, trace in [*others[:1], *presets]:
        drawn = list[str]()
        for name in sorted(idle):
            for moved in ({**values, name: end} for end in demo.controls[name].ends if end != values[name]):
                again = next((each for at, each in known if at == moved), None) or demo.run(**moved)
                if _looks_other(demo, trace, drawn, again):
                    idle.discard(name)
                    break
    return idle


def _looks_other(demo: Demo, trace: Trace, drawn: list[str], again: Trace) -> bool:
    """A player of the other trace, or one of its figures; a figure is drawn when those before are the same.

    `drawn` keeps those of the first trace.
    """
    if demo.player and again != trace:
        return True
    for number, figure in enumerate(demo.figures):
        if number == len(drawn):
            drawn.append(figure(trace).svg)
        if figure(again).svg != drawn[number]:
            return True
    return False


@each_lesson
def test_the_label_of_a_control_leaves_room_to_its_slider(path: Path) -> None:
    """Two columns on 1280 pixels: a label of 37 signs left a slider of 20 pixels, which no hand can set."""
    labels = [c.label_of(name) for demo in demos_of(path) for name, c in demo.controls.items()]
    assert [label for label in labels if len(label) > LONGEST_LABEL] == []

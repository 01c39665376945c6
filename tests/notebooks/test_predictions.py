"""The answer of each prediction is what the lesson's own run shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eip_ref.autograder.predict import predict, predictions
from eip_ref.autograder.registry import lessons
from eip_ref.course._proof import Proved
from tests.notebooks.lessons import LESSONS, asked, run

ASKED = [(path, name) for path in LESSONS for name in asked(path)]
each_prediction = pytest.mark.parametrize(
    ("path", "name"), ASKED, ids=lambda value: getattr(value, "stem", value)
)


@each_prediction
def test_a_prediction_has_one_true_option_and_it_is_the_answer(path: Path, name: str) -> None:
    """Read from what the notebook ran, under the name that the prediction gives."""
    prediction = predict(name)
    assert isinstance(prediction, Proved)
    assert prediction.true_options(run(path).names) == [prediction.answer]


def test_every_prediction_is_asked_in_one_lesson() -> None:
    """In the one that its pattern says."""
    made = {each.name for lesson in lessons() for each in predictions(lesson.package)}
    said = {(lesson.notebook, name) for lesson in lessons() for name in made if lesson.asks(name)}
    assert {(path.name, name) for path, name in ASKED} == said
    assert len(ASKED) == len(made)


def _toy(**change: Any) -> Proved:
    claims: Mapping[str, object] = {"one": 1, "two": 2}
    toy = Proved(name="toy/x", question="?", run="x", reading=len, claims=claims, answer="two", why="!")
    return replace(toy, **change) if change else toy


def test_an_answer_that_the_run_does_not_show_is_found_out() -> None:
    """The true options are those of the run, whatever the answer says."""
    assert _toy().true_options({"x": "ab"}) == ["two"]
    assert _toy().true_options({"x": "a"}) == ["one"]
    assert _toy().true_options({"x": ""}) == []

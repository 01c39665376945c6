"""Exercises as a learner gets them: they run, and they say what is to be done."""

from __future__ import annotations

from pathlib import Path

import pytest

from eip_ref.autograder.report import Report
from tests.notebooks.lessons import ROOT, run

EXERCISES = sorted((ROOT / "exercises").glob("*.ipynb"))
SOLUTIONS = sorted((ROOT / "solutions").glob("*.ipynb"))


@pytest.mark.parametrize("path", EXERCISES, ids=lambda path: path.stem)
def test_an_untouched_exercise_runs_from_top_to_bottom(path: Path) -> None:
    """A stub is a wrong answer, not an error: the check says so and the next cell runs."""
    reports = [shown for shown in run(path).shown if isinstance(shown, Report)]
    shown = [report._repr_mimebundle_() for report in reports]
    assert shown
    assert [bundle for bundle in shown if "✗ Not passed yet" not in bundle["text/plain"]] == []
    assert [bundle for bundle in shown if "✗ Not passed yet" not in bundle["text/html"]] == []


def test_there_is_an_exercise_for_each_solution_and_no_other() -> None:
    """Exercises are derived from solutions."""
    assert [path.name for path in EXERCISES] == [path.name for path in SOLUTIONS]

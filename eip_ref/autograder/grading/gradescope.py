"""One submission's marks in the form that Gradescope shows: its `results.json`.

The form is that of https://gradescope-autograders.readthedocs.io/en/latest/specs/. Gradescope adds up
the scores of the tests, and shows each test's output as plain text.
"""

from __future__ import annotations

import json
from typing import Any

from ..marks import Mark, next_step
from ..registry import Lesson
from .class_record import Graded
from .feedback import late_note
from .untrusted import shown

__all__ = ["gradescope"]


def gradescope(graded: Graded, lesson: Lesson) -> str:
    """The marks of one notebook as the text of a `results.json`."""
    titles = {exercise.name: exercise.title for exercise in lesson.exercises}
    marks = graded.marks
    said = f"{lesson.title}: {marks.points} of {marks.most} points."
    document = {
        "output": shown("\n".join([said, *late_note(graded), *graded.notes, *marks.notes])),
        "output_format": "text",
        "stdout_visibility": "hidden",
        "visibility": "visible",
        "tests": [
            _test(number, mark, titles.get(mark.exercise, mark.exercise))
            for number, mark in enumerate(marks.marks, start=1)
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def _test(number: int, mark: Mark, title: str) -> dict[str, Any]:
    return {
        "number": str(number),
        "name": title,
        "name_format": "text",
        "score": mark.points,
        "max_score": mark.most,
        "status": "passed" if mark.passed else "failed",
        "output": _output(mark),
        "output_format": "text",
        "visibility": "visible",
    }


def _output(mark: Mark) -> str:
    if mark.passed:
        return "All that was promised."
    looks = f"Looks like: {mark.title} ({mark.mistake}). {mark.explanation}"
    parts = "\n".join(map(str, mark.parts))
    return "\n\n".join(filter(None, (parts, shown(mark.seen), looks, f"Next: {next_step(mark)}")))

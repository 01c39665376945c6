"""The work that is handed to workers, wherever these are: functions of what they are given."""

from __future__ import annotations

from dataclasses import dataclass

from .. import registry
from ..isolation.isolated import grade_notebook
from ..isolation.sandbox import LIMITS, Limits, best_isolation
from . import pictures

__all__ = ["Drawing", "Job", "draw", "grade"]


@dataclass(frozen=True)
class Job:
    """A notebook to be graded."""

    data: bytes
    lesson: str
    secret: bytes
    limits: Limits = LIMITS


def grade(job: Job) -> str:
    """The marks of a notebook as JSON."""
    lesson = registry.lesson(job.lesson)
    isolation = best_isolation()
    marks = grade_notebook(job.data, lesson, secret=job.secret, isolation=isolation, limits=job.limits)
    return marks.to_json()


@dataclass(frozen=True)
class Drawing:
    """A trace to be drawn."""

    exercise: str
    trace: str


def draw(drawing: Drawing) -> str:
    """The picture of a trace as JSON; an empty one when the trace cannot be drawn."""
    return pictures.draw(drawing.exercise, drawing.trace)

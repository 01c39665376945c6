"""The work that is handed to workers, wherever these are: functions of what they are given."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import registry
from ..isolation.isolated import RUNS, grade_notebook
from ..isolation.sandbox import LIMITS, Isolation, Limits, best_isolation
from ..isolation.starter import SandboxFailed, Starter, end_kept
from . import pictures
from .workers import in_a_child

__all__ = ["Drawing", "Job", "begin", "draw", "grade", "in_time", "seconds"]

OF_A_JOB = 120.0  #: seconds for reading, judging or drawing, beside the time of the answers; far too many


@dataclass(frozen=True)
class Job:
    """A notebook to be graded."""

    data: bytes
    lesson: str
    secret: bytes
    limits: Limits = LIMITS
    isolation: Isolation | None = None  #: None: the best there is where it is graded


def begin(lessons: Sequence[str], isolation: Isolation) -> None:
    """Load what jobs of these lessons need, while a zygote for the first of them starts beside it.

    Raises `UnknownExercise`.
    """
    for outline in registry.outlines():
        if outline.module in lessons[:1]:
            with suppress(SandboxFailed, OSError):  # grading will say so
                Starter(outline, isolation).begin()
    for name in lessons:
        registry.lesson(name)


def grade(job: Job) -> str:
    """The marks of a notebook as JSON."""
    lesson = registry.lesson(job.lesson)
    isolation = job.isolation or best_isolation()
    marks = grade_notebook(job.data, lesson, secret=job.secret, isolation=isolation, limits=job.limits)
    return marks.to_json()


@dataclass(frozen=True)
class Drawing:
    """A trace to be drawn."""

    exercise: str
    trace: str


def draw(drawing: Drawing) -> str:
    """The picture of a trace as JSON; an empty one when the trace cannot be drawn.

    Pictures come when all notebooks are graded, and take much memory: the zygote's goes first.
    """
    end_kept()
    return pictures.draw(drawing.exercise, drawing.trace)


def seconds(job: Job | Drawing) -> float:
    """The time after which a job is ended. The sandbox keeps a shorter one for each answer."""
    answers = len(registry.exercises(job.lesson)) * RUNS * job.limits.wall if isinstance(job, Job) else 0.0
    return OF_A_JOB + answers


def in_time(work: Callable[[Any], str], job: Job | Drawing) -> str:
    """Do the work of a job under its deadline, for a worker that is not ours."""
    return in_a_child(work, job, seconds(job))

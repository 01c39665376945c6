"""The work that is handed to workers, wherever these are: functions of what they are given."""

from __future__ import annotations

from dataclasses import dataclass

from .. import registry
from ..isolation.isolated import RUNS, grade_notebook
from ..isolation.sandbox import LIMITS, Limits, best_isolation
from ..isolation.starter import end_kept
from . import pictures
from .workers import in_a_child

__all__ = ["Drawing", "Job", "draw", "draw_in_a_child", "grade", "grade_in_a_child", "seconds"]

OF_A_JOB = 120.0  #: seconds for reading, judging or drawing, beside the time of the answers; far too many


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
    """The picture of a trace as JSON; an empty one when the trace cannot be drawn.

    Pictures come when all notebooks are graded, and take much memory: the zygote's goes first.
    """
    end_kept()
    return pictures.draw(drawing.exercise, drawing.trace)


def seconds(job: Job | Drawing) -> float:
    """The time after which a job is ended. The sandbox keeps a shorter one for each answer."""
    answers = len(registry.exercises(job.lesson)) * RUNS * job.limits.wall if isinstance(job, Job) else 0.0
    return OF_A_JOB + answers


def grade_in_a_child(job: Job) -> str:
    """`grade` under its deadline, for a worker that is not ours."""
    return in_a_child(grade, job, seconds(job))


def draw_in_a_child(drawing: Drawing) -> str:
    """`draw` under its deadline, for a worker that is not ours."""
    return in_a_child(draw, drawing, seconds(drawing))

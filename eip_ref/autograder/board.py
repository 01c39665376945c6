"""The progress board: every lesson, what is passed, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import page
from .progress import Progress, so_far
from .registry import Lesson, lessons

__all__ = ["Board", "Row", "board", "project"]


@dataclass(frozen=True)
class Row:
    """One lesson on the board."""

    lesson: str
    passed: int
    exercises: int
    points: int
    out_of: int
    predicted: int
    right: int

    @property
    def done(self) -> str:
        return f"{self.passed} of {self.exercises}" if self.exercises else "no"

    @property
    def predictions(self) -> str:
        return f"{self.right} of {self.predicted} right" if self.predicted else "none yet"


@dataclass(frozen=True)
class Board:
    """A learner's progress, as they see it. Equal events give equal bytes."""

    rows: tuple[Row, ...]
    next: str

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()}

    def __str__(self) -> str:
        width = max([len(row.lesson) for row in self.rows], default=0)
        lines = [
            f"{row.lesson:<{width}}  {row.done} exercises, "
            f"{row.points} of {row.out_of} points, predictions: {row.predictions}"
            for row in self.rows
        ]
        return "\n".join(["Your progress", *lines, self.next])

    __repr__ = __str__

    def _html(self) -> str:
        return page.render("board.html", board=self)


def project(progress: Progress, course: Sequence[Lesson]) -> Board:
    """The board for this progress in a course of these lessons. Pure."""
    return Board(tuple(_row(progress, lesson) for lesson in course), _next(progress, course))


def _row(progress: Progress, lesson: Lesson) -> Row:
    passed, predicted = progress.passed(lesson), progress.predicted(lesson)
    return Row(
        lesson=f"{lesson.label} {lesson.title}",
        passed=len(passed),
        exercises=len(lesson.exercises),
        points=sum(exercise.points for exercise in passed),
        out_of=lesson.points,
        predicted=len(predicted),
        right=sum(predicted),
    )


def _next(progress: Progress, course: Sequence[Lesson]) -> str:
    exercise = progress.next(course)
    if exercise is None:
        return (
            "All exercises have passed their checks. A teacher's grading adds seeds of its own."
            if course
            else "There are no exercises yet."
        )
    notebook = next(each.notebook for each in course if exercise in each.exercises)
    return f"Next: {exercise.title}, {exercise.minutes} minutes, in `exercises/{notebook}`."


def board() -> Board:
    """The learner's progress board, to be the last line of a notebook cell."""
    return project(so_far(), lessons())

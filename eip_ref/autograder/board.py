"""The progress board: every lesson, what is passed, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import page
from .exercise import Exercise
from .progress import Progress, so_far
from .registry import Lesson, lessons

__all__ = ["Board", "Row", "Task", "board", "project"]


@dataclass(frozen=True)
class Task:
    """One exercise on the board."""

    title: str
    size: str  #: "Repair · easy · 3 points · 10 minutes"
    passed: bool
    points: int = 0  #: that it has earned, when it has not passed

    @property
    def mark(self) -> str:
        return "✓" if self.passed else "◐" if self.points else "○"

    @property
    def state(self) -> str:
        return "passed" if self.passed else "passed in part" if self.points else "not passed yet"

    @property
    def words(self) -> str:
        """Its size, and the points of a part."""
        return f"{self.size} · {self.points} earned" if self.points and not self.passed else self.size

    def __str__(self) -> str:
        return f"{self.mark} {self.title}: {self.words}"


@dataclass(frozen=True)
class Row:
    """One lesson on the board."""

    lesson: str
    tasks: tuple[Task, ...]
    comes_next: bool  #: what to do next is in this lesson
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
    def earned(self) -> str:
        return f"{self.points} of {self.out_of}" if self.out_of else ""

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
        lines = ["Your progress"]
        for row in self.rows:
            facts = (f"{row.done} exercises", row.earned and f"{row.earned} points")
            said = ", ".join(filter(None, (*facts, f"predictions: {row.predictions}")))
            lines.append(f"{row.lesson:<{width}}  {said}")
            lines += [f"    {task}" for task in row.tasks if row.comes_next]
        return "\n".join([*lines, self.next])

    __repr__ = __str__

    def _html(self) -> str:
        return page.render("board.html", board=self)


def project(progress: Progress, course: Sequence[Lesson]) -> Board:
    """The board for this progress in a course of these lessons. Pure."""
    lesson, exercise = progress.next(course)
    rows = tuple(_row(progress, each, each == lesson) for each in course)
    return Board(rows, _next(lesson, exercise) if course else "There are no exercises yet.")


def _row(progress: Progress, lesson: Lesson, comes_next: bool) -> Row:
    passed, predicted = progress.passed(lesson), progress.predicted(lesson)
    return Row(
        lesson=f"{lesson.label} {lesson.title}",
        tasks=tuple(
            Task(each.title, each.size, each in passed, progress.of(each.name).points)
            for each in lesson.exercises
        ),
        comes_next=comes_next,
        passed=len(passed),
        exercises=len(lesson.exercises),
        points=sum(
            each.points if each in passed else min(progress.of(each.name).points, each.points)
            for each in lesson.exercises
        ),
        out_of=lesson.points,
        predicted=len(predicted),
        right=sum(predicted),
    )


def _next(lesson: Lesson | None, exercise: Exercise | None) -> str:
    if lesson is None:
        return "All exercises have passed their checks. A teacher's grading adds seeds of its own."
    if exercise is None:
        then = ", and then its exercises" if lesson.exercises else ""
        return f"Next: the lesson {lesson.title}, in `notebooks/{lesson.notebook}`{then}."
    return f"Next: {exercise.title} ({exercise.size}), in `exercises/{lesson.notebook}`."


def board() -> Board:
    """The learner's progress board, to be the last line of a notebook cell."""
    return project(so_far(), lessons())

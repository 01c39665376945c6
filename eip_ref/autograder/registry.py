"""Lessons and their exercises, found by name: a lesson is a package `eip_ref.course.<lesson>`.

Such a package has `NUMBER` and `TITLE` of the lesson and the tuple `EXERCISES`. It is imported when
somebody asks for it, so nothing here depends on a lesson.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from dataclasses import dataclass

from .exercise import Exercise

__all__ = ["Lesson", "UnknownExercise", "exercises", "find", "lesson", "lessons"]

PACKAGE = "eip_ref.course"


class UnknownExercise(LookupError):
    """No exercise or lesson has this name."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Lesson:
    """A lesson that has exercises."""

    module: str
    number: int
    title: str
    exercises: tuple[Exercise, ...]

    @property
    def notebook(self) -> str:
        """The name of its notebook, the same in every folder."""
        return f"{self.number:02}_{self.module}.ipynb"

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)


def lesson(module: str) -> Lesson:
    """The lesson with this module name. Raises `UnknownExercise`."""
    try:
        found = importlib.import_module(f"{PACKAGE}.{module}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(PACKAGE):
            raise  # the lesson is there, and something that it imports is not
        known = names()
        raise UnknownExercise(f"no lesson {module!r} has exercises{_meant(module, known)}") from error
    return Lesson(module, int(found.NUMBER), str(found.TITLE), tuple(found.EXERCISES))


def names() -> list[str]:
    """The module names of all lessons that have exercises."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        return []
    return [found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_")]


def lessons() -> list[Lesson]:
    """All lessons that have exercises, in their order."""
    return sorted((lesson(module) for module in names()), key=lambda found: found.number)


def exercises(module: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson. Raises `UnknownExercise`."""
    return lesson(module).exercises


def find(name: str) -> Exercise:
    """The exercise with this name, such as "message_queue/mend_the_worker". Raises `UnknownExercise`."""
    if not isinstance(name, str) or "/" not in name:
        raise UnknownExercise(
            f"an exercise is named lesson/exercise, such as 'message_queue/mend_the_worker', not {name!r}"
        )
    known = {exercise.name: exercise for exercise in exercises(name.partition("/")[0])}
    if name not in known:
        raise UnknownExercise(f"there is no exercise {name!r}{_meant(name, list(known))}")
    return known[name]


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""

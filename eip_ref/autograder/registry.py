"""Lessons and their exercises, found by name: a pattern is a package `eip_ref.course.<pattern>`.

A lesson is a notebook with its exercises. A package has `NUMBER`, and for its one lesson `TITLE` and the
tuple `EXERCISES`; a pattern that needs several lessons has them in the tuple `PARTS`. A package is imported
when somebody asks for it, so nothing here depends on a lesson.
"""

from __future__ import annotations

import difflib
import importlib.util
import pkgutil
from dataclasses import dataclass
from pathlib import Path

from .exercise import Exercise

__all__ = ["Lesson", "Part", "UnknownExercise", "exercises", "find", "lesson", "lesson_of", "lessons"]

PACKAGE = "eip_ref.course"


class UnknownExercise(LookupError):
    """No exercise or lesson has this name."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Part:
    """One lesson of a pattern that has several. Their order in `PARTS` gives them the letters a, b, c …"""

    module: str  #: "acks_and_leases": its key, and the name of its notebook
    title: str
    exercises: tuple[Exercise, ...]
    predictions: tuple[str, ...]  #: those of the pattern's predictions that are asked here


@dataclass(frozen=True)
class Lesson:
    """A notebook of the course, and the exercises of the notebook beside it."""

    module: str  #: "acks_and_leases": its key, and the name of its notebook
    number: int
    title: str
    exercises: tuple[Exercise, ...]
    package: str  #: "message_queue": what the names of its exercises and predictions begin with
    letter: str = ""  #: "b", where a pattern has several lessons
    predictions: tuple[str, ...] = ()  #: where a pattern has several lessons: those that this one asks

    @property
    def label(self) -> str:
        """Its number as learners read it: "01" or "02b"."""
        return f"{self.number:02}{self.letter}"

    @property
    def notebook(self) -> str:
        """The name of its notebook, the same in every folder."""
        return f"{self.label}_{self.module}.ipynb"

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    def asks(self, prediction: str) -> bool:
        """True when the prediction with this name is one of this lesson."""
        package, _, slug = prediction.partition("/")
        return package == self.package and (not self.letter or slug in self.predictions)


def lesson(module: str) -> Lesson:
    """The lesson with this module name. Raises `UnknownExercise`."""
    packages = names()
    likely = sorted(packages, key=lambda package: f'"{module}"' not in _text(package))
    for package in [module] if module in packages else likely:
        for found in _lessons_in(package):
            if found.module == module:
                return found
    known = [each.module for each in lessons()]
    raise UnknownExercise(f"no lesson {module!r} has exercises{_meant(module, known)}")


def _text(package: str) -> str:
    """The text of a package's face, which names its lessons. To load one for nothing takes up to a second."""
    spec = importlib.util.find_spec(f"{PACKAGE}.{package}")
    return Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""


def lesson_of(exercise: Exercise) -> Lesson:
    """The lesson that has this exercise. Raises `UnknownExercise`."""
    for found in _lessons_in(exercise.lesson):
        if any(each.name == exercise.name for each in found.exercises):
            return found
    raise UnknownExercise(f"no lesson has the exercise {exercise.name!r}")


def names() -> list[str]:
    """The names of all packages with lessons."""
    try:
        package = importlib.import_module(PACKAGE)
    except ModuleNotFoundError:
        return []
    return [found.name for found in pkgutil.iter_modules(package.__path__) if not found.name.startswith("_")]


def lessons() -> list[Lesson]:
    """All lessons that have exercises, in their order."""
    found = (each for package in names() for each in _lessons_in(package))
    return sorted(found, key=lambda each: each.label)


def _lessons_in(package: str) -> list[Lesson]:
    found = importlib.import_module(f"{PACKAGE}.{package}")
    number = int(found.NUMBER)
    if not hasattr(found, "PARTS"):
        return [Lesson(package, number, str(found.TITLE), tuple(found.EXERCISES), package)]
    return [
        Lesson(part.module, number, part.title, part.exercises, package, letter, part.predictions)
        for letter, part in zip("abcdefgh", found.PARTS, strict=False)
    ]


def exercises(module: str) -> tuple[Exercise, ...]:
    """The exercises of a lesson. Raises `UnknownExercise`."""
    return lesson(module).exercises


def find(name: str) -> Exercise:
    """The exercise with this name, such as "message_queue/mend_the_worker". Raises `UnknownExercise`."""
    if not isinstance(name, str) or "/" not in name:
        raise UnknownExercise(
            f"an exercise is named lesson/exercise, such as 'message_queue/mend_the_worker', not {name!r}"
        )
    package = name.partition("/")[0]
    if package not in names():
        raise UnknownExercise(f"no lesson {package!r} has exercises{_meant(package, names())}")
    known = {each.name: each for lesson in _lessons_in(package) for each in lesson.exercises}
    if name not in known:
        raise UnknownExercise(f"there is no exercise {name!r}{_meant(name, list(known))}")
    return known[name]


def _meant(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(known)}" if known else ""

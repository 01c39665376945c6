"""Lessons and their exercises, found by name: a pattern is a package `eip_ref.course.<pattern>`.

A lesson is a notebook with its exercises. A package has `NUMBER`, and for its one lesson `TITLE` and the
tuple `EXERCISES`; a pattern that needs several lessons has them in the tuple `PARTS`. To import all packages
takes more than a tenth of a second. So a package is imported when somebody asks for its exercises, and which
lessons there are is read from its text.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exercise import Exercise
from .isolation.magics import parsed

__all__ = [
    "Lesson",
    "Outline",
    "Part",
    "UnknownExercise",
    "exercises",
    "find",
    "lesson",
    "lesson_of",
    "lessons",
    "outlines",
]

PACKAGE = "eip_ref.course"


class UnknownExercise(LookupError):
    """No exercise or lesson has this name."""


@dataclass(frozen=True)
class Part:
    """One lesson of a pattern that has several. Their order in `PARTS` gives them the letters a, b, c …"""

    module: str  #: "acks_and_leases": its key, and the name of its notebook
    title: str
    exercises: tuple[Exercise, ...]
    predictions: tuple[str, ...]  #: those of the pattern's predictions that are asked here


@dataclass(frozen=True)
class Outline:
    """A lesson without its exercises, as the text of its package tells it."""

    module: str  #: "acks_and_leases": its key, and the name of its notebook
    number: int
    title: str
    package: str  #: "message_queue": what the names of its exercises and predictions begin with
    letter: str = ""  #: "b", where a pattern has several lessons

    @property
    def label(self) -> str:
        """Its number as learners read it: "01" or "02b"."""
        return f"{self.number:02}{self.letter}"

    @property
    def notebook(self) -> str:
        """The name of its notebook, the same in every folder."""
        return f"{self.label}_{self.module}.ipynb"


@dataclass(frozen=True)
class Lesson(Outline):
    """A notebook of the course, and the exercises of the notebook beside it."""

    exercises: tuple[Exercise, ...] = ()
    predictions: tuple[str, ...] = ()  #: where a pattern has several lessons: those that this one asks

    @property
    def points(self) -> int:
        return sum(exercise.points for exercise in self.exercises)

    def asks(self, prediction: str) -> bool:
        """True when the prediction with this name is one of this lesson."""
        package, _, slug = prediction.partition("/")
        return package == self.package and (not self.letter or slug in self.predictions)


def lesson(module: str) -> Lesson:
    """The lesson with this module name. Raises `UnknownExercise`."""
    known = {each.module: each for each in outlines()}
    if module not in known:
        raise UnknownExercise(f"no lesson {module!r} has exercises{_meant(module, [*known])}")
    return _whole(known[module])


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


def outlines() -> list[Outline]:
    """All lessons, in their order, without importing any."""
    return sorted((each for package in names() for each in _outlines(package)), key=lambda each: each.label)


def lessons() -> list[Lesson]:
    """All lessons with their exercises, in their order."""
    return [*map(_whole, outlines())]


def _lessons_in(package: str) -> list[Lesson]:
    return [*map(_whole, _outlines(package))]


def _outlines(package: str) -> list[Outline]:
    """The lessons that the text of a package names. Raises ValueError when it does not write them out."""
    spec = importlib.util.find_spec(f"{PACKAGE}.{package}")
    text = Path(spec.origin).read_text(encoding="utf-8") if spec and spec.origin else ""
    told: dict[str, Any] = {_name(part): getattr(part, "value", None) for part in parsed(text).body}
    try:
        number = ast.literal_eval(told["NUMBER"])
        if "PARTS" not in told:
            return [Outline(package, number, ast.literal_eval(told["TITLE"]), package)]
        parts = [[*map(ast.literal_eval, part.args[:2])] for part in told["PARTS"].elts]
        return [
            Outline(module, number, title, package, letter)
            for letter, (module, title) in zip("abcdefgh", parts, strict=False)
        ]
    except (AttributeError, LookupError, TypeError, ValueError):
        words = "must write out NUMBER and TITLE, or NUMBER and a tuple PARTS of Part(module, title, …)"
        raise ValueError(f"the package {package!r} {words}") from None


def _name(part: ast.stmt) -> str:
    """The name to which a statement gives a value; "" for other statements."""
    target: Any = part.targets[0] if isinstance(part, ast.Assign) else getattr(part, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _whole(outline: Outline) -> Lesson:
    """The lesson with its exercises; this imports its package."""
    found = importlib.import_module(f"{PACKAGE}.{outline.package}")
    if not outline.letter:
        return Lesson(**vars(outline), exercises=tuple(found.EXERCISES))
    part = next(part for part in found.PARTS if part.module == outline.module)
    return Lesson(**vars(outline), exercises=part.exercises, predictions=part.predictions)


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

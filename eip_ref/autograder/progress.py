"""A learner's progress: a local file of events, and the board that is folded from them.

Events are only ever added, one JSON object a line, so two notebooks may write at once and a line
that was torn by a crash costs that line alone. Everything shown is computed from the events: this is
the event sourcing of lesson 07 at work.

*Left out:* several learners on one account, and sending progress anywhere. The file stays here.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import course
from .exercise import Exercise
from .registry import Lesson

__all__ = ["KINDS", "Fact", "Progress", "Standing", "Store", "fold", "remember", "so_far"]

KINDS = ("checked", "passed", "hinted", "solution shown", "predicted", "reset")


@dataclass(frozen=True)
class Fact:
    """One thing that a learner did: its kind, the exercise or prediction, and what else."""

    kind: str
    name: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """A learner's progress in one exercise."""

    checks: int = 0
    hints: int = 0
    passed: bool = False
    points: int = 0  #: the most that a check has given
    shown: bool = False  #: the model answer was shown


@dataclass(frozen=True)
class Progress:
    """A learner's progress: by exercise, and each prediction's first answer."""

    exercises: Mapping[str, Standing]
    predictions: Mapping[str, bool]  #: right or not, by name

    def of(self, name: str) -> Standing:
        return self.exercises.get(name, Standing())

    def passed(self, lesson: Lesson) -> list[Exercise]:
        return [exercise for exercise in lesson.exercises if self.of(exercise.name).passed]

    def predicted(self, lesson: Lesson) -> list[bool]:
        """Right or not, for each prediction made in a lesson."""
        return [right for name, right in self.predictions.items() if lesson.asks(name)]

    def has_begun(self, lesson: Lesson) -> bool:
        """True when a prediction of the lesson was made, or something was done in one of its exercises."""
        touched = any(self.of(each.name) != Standing() for each in lesson.exercises)
        return touched or bool(self.predicted(lesson))

    def next(self, lessons: Sequence[Lesson]) -> tuple[Lesson | None, Exercise | None]:
        """The first lesson that is not done, and its next exercise; a lesson alone is one to begin with.

        Both are None when all is done.
        """
        for lesson in lessons:
            left = [each for each in lesson.exercises if not self.of(each.name).passed]
            if left or not self.has_begun(lesson):
                return lesson, left[0] if self.has_begun(lesson) else None
        return None, None


def fold(facts: Iterable[Fact]) -> Progress:
    """Project the facts, in their order, onto the progress. Pure; facts of unknown kinds change nothing."""
    exercises: dict[str, Standing] = {}
    predictions: dict[str, bool] = {}
    for fact in facts:
        if fact.kind == "predicted":
            predictions.setdefault(fact.name, bool(fact.data.get("right")))
        elif fact.kind in KINDS:
            exercises[fact.name] = _after(exercises.get(fact.name, Standing()), fact)
    return Progress(exercises, predictions)


def _after(before: Standing, fact: Fact) -> Standing:
    match fact.kind:
        case "checked":
            return replace(before, checks=before.checks + 1, points=_points(before, fact))
        case "passed":
            return replace(before, passed=True, points=_points(before, fact))
        case "hinted":
            return replace(before, hints=before.hints + 1)
        case "solution shown":
            return replace(before, shown=True)
        case _:  # reset: as if nothing had happened
            return Standing()


def _points(before: Standing, fact: Fact) -> int:
    points = fact.data.get("points")
    return max(before.points, points) if isinstance(points, int) else before.points


class Store:
    """The events in a file. Several processes may write to it at once."""

    def __init__(self, path: Path, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.path = path
        self._now = now

    def append(self, *facts: Fact) -> None:
        """Add facts, all or none of them. Raises OSError when the file cannot be written."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(self._line(fact) for fact in facts)
        with self.path.open("ab+", buffering=0) as file, _alone(file.fileno()):
            _write(file, (_mend(file) + text).encode())

    def read(self) -> list[Fact]:
        """All facts in order, without the lines that nobody can read. Empty when there is no file."""
        try:
            lines = self.path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        return [fact for fact in map(_parse, lines) if fact is not None]

    def _line(self, fact: Fact) -> str:
        at = self._now().isoformat(timespec="seconds")
        row = {"at": at, "kind": fact.kind, "name": fact.name, **fact.data}
        return json.dumps(row, ensure_ascii=False) + "\n"


def _mend(file: Any) -> str:
    """A line end, when the last line was torn and has none: the next line must not be lost with it."""
    if file.seek(0, os.SEEK_END) == 0:
        return ""
    file.seek(-1, os.SEEK_END)
    return "" if file.read(1) == b"\n" else "\n"


def _write(file: Any, data: bytes) -> None:
    """Write all of it to the end of the file, or raise OSError and leave the file as it was."""
    size = file.seek(0, os.SEEK_END)
    try:
        while data:  # a disk that becomes full takes a part
            data = data[file.write(data) :]
    except OSError:
        file.truncate(size)
        raise


def _parse(line: bytes) -> Fact | None:
    try:
        row = json.loads(line)
        kind, name = row.pop("kind"), row.pop("name")
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return Fact(kind, name, row) if isinstance(kind, str) and isinstance(name, str) else None


@contextmanager
def _alone(number: int) -> Iterator[None]:
    """Hold the lock of the open file `number`, so that no other process writes meanwhile."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(number, 0, os.SEEK_SET)
        msvcrt.locking(number, msvcrt.LK_LOCK, 1)
        try:
            yield
        finally:
            os.lseek(number, 0, os.SEEK_SET)
            msvcrt.locking(number, msvcrt.LK_UNLCK, 1)
    else:
        import fcntl

        fcntl.flock(number, fcntl.LOCK_EX)
        yield  # closing the file ends the lock


_unsaved: dict[Path | None, list[Fact]] = {}
"""Facts that could not be written, by the file for them: they count as long as this process lives."""


def remember(*facts: Fact) -> str:
    """Add facts to the learner's own store, and return "", or words for the learner where that failed.

    Those that cannot be written count in this process, and are written with the next ones that can be.
    Does nothing in a solution's notebook.
    """
    if course.in_solutions():
        return ""
    waiting = _unsaved.setdefault(_file(), [])
    waiting += facts
    try:
        Store(course.progress_file()).append(*waiting)
    except OSError as error:
        why = course.reason(error)
        return f"Your progress was not saved ({why}). It counts until you restart or close this notebook."
    waiting.clear()
    return ""


def so_far() -> Progress:
    """The learner's progress until now, saved or not; none in a solution's notebook."""
    if course.in_solutions():
        return fold(())
    saved: list[Fact] = []
    with suppress(OSError):
        saved = Store(course.progress_file()).read()
    return fold([*saved, *_unsaved.get(_file(), ())])


def _file() -> Path | None:
    """The file that progress is kept in; None outside the course."""
    try:
        return course.progress_file()
    except course.NoCourse:
        return None

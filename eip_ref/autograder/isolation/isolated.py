"""Grading one notebook: its answers run in a sandbox, and what comes back is judged here.

This process never imports, unpickles or runs anything of the learner's. One zygote in the sandbox starts a
process for each run of each answer; the scenario, the seed, the trace and the judge are here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache, partial

from .. import course
from ..exercise import Exercise
from ..judging import NotJudged, judge_apart
from ..marks import Mark, Marks, shortened
from ..mistakes import WITHOUT_A_RUN
from ..process.answer import Answer, Missing, Problem
from ..process.start import NotStarted
from ..process.wire import Budget, Ended
from ..registry import Lesson
from . import cells, submission
from .cells import Cell, needed
from .sandbox import LIMITS, Isolation, Limits
from .starter import SandboxFailed, Starter

__all__ = [
    "HIDDEN",
    "RUNS",
    "SandboxFailed",
    "all_missed",
    "course_cells",
    "grade_notebook",
    "not_found",
    "seeds_for",
]

HIDDEN = 3  #: hidden seeds per exercise, after those that the notebook's check uses
ADDRESS = re.compile(r" at 0x[0-9a-f]+")  #: in the text of an object: another one in every run
MOST_TRACE = 2**21  #: characters of a trace that is kept, to be drawn
RUNS = 3  #: all runs of an exercise together may last as long as so many


def grade_notebook(
    data: bytes, lesson: Lesson, *, secret: bytes, isolation: Isolation, limits: Limits = LIMITS
) -> Marks:
    """Run and judge the notebook whose bytes are given, as one of `lesson`.

    Whatever the notebook holds or does, it returns a mark for each exercise. The same bytes and secret
    give the same marks, but for `seconds`. Raises `SandboxFailed` when this machine cannot run it.
    """
    try:
        found = submission.read(data, lesson, course_cells(lesson.notebook))
    except submission.Unreadable as problem:
        return replace(all_missed(lesson, "unreadable-notebook", str(problem)), isolation=isolation.words)
    grading = _Grading(found, secret, limits)
    marks: list[Mark] = []
    seconds: dict[str, float] = {}
    with closing(Starter(lesson, isolation)) as starter:
        for exercise in lesson.exercises:
            began = time.monotonic()
            marks.append(grading.mark(exercise, starter))
            seconds[exercise.name] = round(time.monotonic() - began, 3)
    return Marks(lesson.module, tuple(marks), found.notes, isolation.words, seconds)


def seeds_for(exercise: Exercise, secret: bytes) -> list[int]:
    """The seeds of the check, then hidden ones that follow from the secret: the same for a whole class."""
    drawn = (
        hmac.digest(secret, f"{exercise.name} {number}".encode(), hashlib.sha256) for number in range(HIDDEN)
    )
    return [*exercise.seeds, *(int.from_bytes(each[:4], "big") for each in drawn)]


@cache
def course_cells(name: str) -> frozenset[str]:
    """The code of the course's own cells, which need not be run when they only show something."""
    try:
        data = (course.root() / "exercises" / name).read_bytes()
    except FileNotFoundError:
        return frozenset()
    return frozenset(submission.sources(data))


class _Grading:
    """Gives the marks of one notebook's answers."""

    def __init__(self, found: submission.Submission, secret: bytes, limits: Limits) -> None:
        self._cells, self._no_python = [cells.read(**cell) for cell in found.cells], found.no_python
        self._secret, self._limits = secret, limits

    def mark(self, exercise: Exercise, starter: Starter) -> Mark:
        """The mark of an exercise: of all runs until it has no points to lose. Raises `SandboxFailed`.

        Other cells of the learner's own run only where it does not pass without them: they may be slow, and
        run for every process, or end it.
        """
        few, all_own = (needed(self._cells, exercise.slug, own=own) for own in (False, True))
        until = time.monotonic() + RUNS * self._limits.wall
        mark = self._try(exercise, starter, few, until)
        if mark.passed or len(few) == len(all_own):
            return mark
        again = self._try(exercise, starter, all_own, until)
        return mark if again.mistake in Ended.WORDS else again

    def _try(self, exercise: Exercise, starter: Starter, chosen: Sequence[Cell], until: float) -> Mark:
        def budget() -> Budget:
            wall = min(self._limits.wall, until - time.monotonic())
            return Budget(wall, size=self._limits.output, silence=self._limits.silence)

        answer = Answer(exercise, [(cell.file, cell.source) for cell in chosen], starter.zygote())
        seeds = seeds_for(exercise, self._secret)
        try:
            return _short(judge_apart(exercise, answer, seeds, budget, partial(ADDRESS.sub, "")).mark)
        except Missing as missing:
            own = {cell.file for cell in chosen if cell.of == exercise.slug}
            own_problems = [each for each in missing.problems if each.file in own]
            if not own_problems and exercise.slug in self._no_python:
                return _missed(exercise, "no-code", self._no_python[exercise.slug])
            return _missed(exercise, *not_found(exercise, own_problems))
        except NotJudged as why:
            return _missed(exercise, "not-judged", str(why))
        except NotStarted as error:
            raise SandboxFailed(error) from None


def not_found(exercise: Exercise, problems: Sequence[Problem]) -> tuple[str, str]:
    """The name of the mistake, and what was seen, where no cell defines the answer."""
    if not problems:
        return "not-found", f"The notebook does not define `{exercise.answer}`."
    kind, file, line, words = problems[0]
    place = file.strip("<>").capitalize() + (f", line {line}" if line else "")
    return kind, ADDRESS.sub("", f"{place}: {words}")


def all_missed(lesson: Lesson, name: str, seen: str) -> Marks:
    """The marks of a notebook of which nothing was graded: the name of why, and what was seen."""
    return Marks(lesson.module, tuple(_missed(exercise, name, seen) for exercise in lesson.exercises))


def _missed(exercise: Exercise, name: str, seen: str) -> Mark:
    mistake = WITHOUT_A_RUN[name]
    about = (mistake.name, mistake.title, mistake.explanation)
    return _short(Mark(exercise.name, 0, exercise.points, *about, seen))


def _short(mark: Mark) -> Mark:
    """The mark, with no more words and no longer trace than a report holds."""
    trace = mark.trace if len(mark.trace) <= MOST_TRACE else ""
    return replace(mark, seen=shortened(mark.seen), trace=trace)

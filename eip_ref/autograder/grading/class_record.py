"""The marks of a class, and what they say of its exercises and mistakes. Pure facts, nothing drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from ..exercise import Exercise
from ..marks import NOT_BEGUN, NOT_GRADED, Mark, Marks
from ..registry import Lesson
from .safe_files import Problem

__all__ = ["ClassRecord", "ExerciseFacts", "Graded", "MistakeFacts", "Run"]


@dataclass(frozen=True)
class Graded:
    """One learner's notebook of one lesson, with its marks."""

    learner: str
    marks: Marks  #: without traces, which are many and large
    notes: tuple[str, ...] = ()  #: what was odd about how it was handed in
    late: str = ""  #: by how much, in words; "" when it was handed in in time
    pictures: Mapping[str, str] = field(default_factory=dict)  #: the name of each exercise's picture

    @property
    def lost(self) -> str:
        """The reason why its marks say nothing about its answers, in words; "" when they do."""
        mistakes = {mark.mistake for mark in self.marks.marks}
        return next((words for name, words in NOT_GRADED.items() if mistakes == {name}), "")


@dataclass(frozen=True)
class ExerciseFacts:
    """The results of a class in one exercise."""

    exercise: Exercise
    passed: int
    wrong: int
    not_begun: int
    in_part: int  #: of the wrong ones, those with points for a part
    points: int  #: that all of them have
    seconds: tuple[float, ...]  #: real time that each answer took

    @property
    def answers(self) -> int:
        return self.passed + self.wrong + self.not_begun

    @property
    def share(self) -> float:
        """The part of all who handed in that passed, from 0 to 1."""
        return self.passed / self.answers if self.answers else 0.0

    @property
    def mean(self) -> float:
        """The mean of the points of all who handed in."""
        return self.points / self.answers if self.answers else 0.0


@dataclass(frozen=True)
class MistakeFacts:
    """A mistake, and how many of a class made it in one exercise."""

    exercise: Exercise
    mark: Mark
    learners: int


@dataclass(frozen=True)
class Run:
    """The course of the grading itself: all that differs from run to run."""

    began: str = ""  #: the date and time
    seconds: float = 0.0
    graded: int = 0
    kept: int = 0  #: notebooks whose marks are from an earlier run


@dataclass(frozen=True)
class ClassRecord:
    """All marks of a class."""

    lessons: tuple[Lesson, ...]  #: those of which something was handed in, in their order
    files: Mapping[str, str]  #: every learner, in order, with the name that their files have
    graded: tuple[Graded, ...]  #: by learner, then by lesson
    problems: tuple[Problem, ...] = ()
    people: Mapping[str, str] = field(default_factory=dict)  #: by learner, the name in the roster
    missing: tuple[str, ...] = ()  #: those of the roster who handed in nothing
    run: Run = field(default_factory=Run, compare=False)

    @cached_property
    def _by_both(self) -> dict[tuple[str, str], Graded]:
        return {(each.learner, each.marks.lesson): each for each in self.graded}

    def get(self, learner: str, lesson: Lesson) -> Graded | None:
        """The notebook that a learner handed in of a lesson, graded."""
        return self._by_both.get((learner, lesson.module))

    def of(self, learner: str) -> list[Graded]:
        """All that a learner handed in, in the order of the lessons."""
        found = (self.get(learner, lesson) for lesson in self.lessons)
        return [each for each in found if each]

    def points(self, learner: str) -> int:
        """A learner's points in all lessons."""
        return sum(each.marks.points for each in self.of(learner))

    @property
    def most(self) -> int:
        """The points that a learner can have."""
        return sum(lesson.points for lesson in self.lessons)

    @property
    def graded_learners(self) -> list[str]:
        """Those of whom something was graded."""
        return [learner for learner in self.files if any(not each.lost for each in self.of(learner))]

    @property
    def notebooks(self) -> list[Graded]:
        """Those whose answers were graded."""
        return [each for each in self.graded if not each.lost]

    @property
    def mean(self) -> float:
        """The mean of the points of those of whom something was graded."""
        learners = self.graded_learners
        return sum(map(self.points, learners)) / len(learners) if learners else 0.0

    @property
    def median(self) -> float:
        """The median of the same points."""
        return float(median(map(self.points, self.graded_learners))) if self.graded_learners else 0.0

    def exercises(self, lesson: Lesson) -> list[ExerciseFacts]:
        """The results of the class in each exercise of a lesson."""
        return [self._facts(exercise) for exercise in lesson.exercises]

    def _facts(self, exercise: Exercise) -> ExerciseFacts:
        marks = list(self._marks(exercise))
        begun = [mark for mark in marks if mark.mistake not in NOT_BEGUN]
        passed = sum(mark.passed for mark in begun)
        times = (each.marks.seconds.get(exercise.name) for each in self.graded)
        return ExerciseFacts(
            exercise,
            passed=passed,
            wrong=len(begun) - passed,
            not_begun=len(marks) - len(begun),
            in_part=sum(mark.points > 0 for mark in begun) - passed,
            points=sum(mark.points for mark in marks),
            seconds=tuple(time for time in times if time is not None),
        )

    def _marks(self, exercise: Exercise) -> Iterator[Mark]:
        for each in self.notebooks:
            yield from (mark for mark in each.marks.marks if mark.exercise == exercise.name)

    @cached_property
    def mistakes(self) -> list[MistakeFacts]:
        """Every mistake that was made in an answer, the most frequent first."""
        found: list[MistakeFacts] = []
        for exercise in (exercise for lesson in self.lessons for exercise in lesson.exercises):
            made: dict[str, Mark] = {}
            counts: Counter[str] = Counter()
            for mark in self._marks(exercise):
                if mark.mistake and mark.mistake not in NOT_BEGUN:
                    made.setdefault(mark.mistake, mark)
                    counts[mark.mistake] += 1
            found += [MistakeFacts(exercise, made[name], count) for name, count in counts.items()]
        return sorted(found, key=lambda each: (-each.learners, each.exercise.name, each.mark.mistake))

    def status(self, learner: str) -> str:
        """All that should be known of a learner beside the points, in words; "" as a rule."""
        if learner in self.missing:
            return "handed in nothing"
        if not self.of(learner):
            return "nothing that can be graded"
        return "; ".join(filter(None, (self._status(each) for each in self.of(learner))))

    def _status(self, graded: Graded) -> str:
        said = ", ".join(filter(None, (graded.lost, graded.late)))
        return f"{graded.marks.lesson}: {said}" if said and len(self.lessons) > 1 else said

    @property
    def late(self) -> list[str]:
        """Those who handed in something after the deadline."""
        return [learner for learner in self.files if any(each.late for each in self.of(learner))]

    @property
    def not_graded(self) -> list[str]:
        """Those on whose notebooks the grader itself failed."""
        return [each.learner for each in self.graded if each.marks.marks[0].mistake == "not-graded"]

    @cached_property
    def isolations(self) -> list[str]:
        """In which ways the answers were kept apart from the machine, in words; one, as a rule."""
        return sorted({each.marks.isolation for each in self.graded} - {""})

    @cached_property
    def notes(self) -> dict[str, list[str]]:
        """By learner, what was odd about their notebooks and cost nothing."""
        notes: dict[str, list[str]] = defaultdict(list)
        for each in self.graded:
            if each.notes or each.marks.notes:
                notes[each.learner] += [*each.notes, *each.marks.notes]
        return notes

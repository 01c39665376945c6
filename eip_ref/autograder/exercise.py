"""An exercise is a scenario and a judge with a trace between them.

`run(answer, seed)` lets the learner's answer work in a scenario and returns the trace; it is the
only part that ever touches the answer. `judge(trace)` reads that trace, after a round trip through
JSON, and names the mistakes that it shows. So any design that keeps the promise passes, and the two
parts can live in different processes.

*Left out:* where answers come from and how long they may run. That is the business of whoever calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..trace import Event, Trace
from .forms import Form

__all__ = [
    "KINDS",
    "LEVELS",
    "OWN_LINE",
    "SEEDS",
    "Diagnosis",
    "Ending",
    "Exercise",
    "Mistake",
    "Part",
    "Run",
    "Vacuous",
    "slug_in",
]

OWN_LINE = (
    "own_line"  #: the attribute of an error that was raised in another process: number and text of a line
)
LEVELS = ("easy", "medium", "hard")
KINDS = ("repair", "complete", "extend", "predict", "choose", "write the test", "read the trace")
NAME = re.compile(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")
SLUG = re.compile(r"[a-z][a-z0-9-]*")


def slug_in(grade_id: object) -> str:
    """The exercise's slug in a cell's `grade_id`, which is the slug, or slug-2 and so on; or ""."""
    slug, _, number = str(grade_id).partition("-")
    return slug if number.isdigit() or not number else ""


class Ending:
    """A way in which a run can end other than by itself; the keys of `Exercise.endings`."""

    NOT_STARTED = "not started"
    WRONG_FORM = "wrong form"
    RAISED = "raised"
    DEADLOCK = "deadlock"
    RUNAWAY = "runaway"


@dataclass(frozen=True)
class Mistake:
    """A mistake that people make, with a name that stays the same for every learner and class."""

    name: str  #: "ack-on-receive"
    title: str  #: "Acknowledged before the work was done"
    explanation: str  #: why it does harm, in two or three sentences, without the answer

    def __post_init__(self) -> None:
        if not SLUG.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name for a mistake; use small letters and dashes")


@dataclass(frozen=True)
class Part:
    """One of several things that an exercise asks, with points of its own."""

    title: str
    points: int
    mistakes: tuple[str, ...]  #: those that cost its points


@dataclass(frozen=True)
class Diagnosis:
    """A mistake, seen in one trace: in words, with the events that prove it."""

    mistake: Mistake
    words: str
    events: tuple[Event, ...] = ()


class Vacuous(Exception):
    """The trace lacks what the judgement rests on, so it proves nothing."""


Run = Callable[[Any, int], Trace]


SEEDS = (1, 5, 7)
"""`Random` draws the same from two or three choices with 1, 2 and 3: one run would be played three times."""


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One task of a lesson. Raises ValueError when it is not complete."""

    name: str  #: "message_queue/mend_the_worker": the lesson's module, then the exercise
    title: str
    points: int
    minutes: int
    difficulty: int  #: 1 to 3
    kind: str  #: one of KINDS
    answer: str  #: the name that the learner's answer has in the notebook
    form: Form  #: what the answer must look like
    signature: str = ""  #: "async def work(queue, handle)": the same as the author writes it
    called: str  #: what the check calls, in words
    promised: str  #: what was promised, in words
    hints: tuple[str, ...]  #: three
    explanation: str  #: why the model answer keeps the promise; shown with it
    run: Run = field(repr=False)
    judge: Callable[[Trace], list[Diagnosis]] = field(repr=False)
    endings: Mapping[str, Mistake] = field(default_factory=dict, repr=False)
    #: a mistake for a run that does not end by itself: by `Ending`, or by the name of what was raised
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)  #: all that it knows by name
    parts: tuple[Part, ...] = field(default=(), repr=False)  #: of which each earns its points by itself
    seeds: tuple[int, ...] = SEEDS  #: what the notebook's check runs with, in this order

    def __post_init__(self) -> None:
        problems = [problem for problem, found in self._problems().items() if found]
        if problems:
            raise ValueError(f"exercise {self.name!r}: " + "; ".join(problems))

    def _problems(self) -> dict[str, bool]:
        blamed = [mistake for part in self.parts for mistake in part.mistakes]
        texts = (self.title, self.called, self.promised, self.explanation)
        return {
            "the name must be lesson_module/exercise in small letters": not NAME.fullmatch(self.name),
            f"the kind must be one of {', '.join(KINDS)}": self.kind not in KINDS,
            "the difficulty must be 1, 2 or 3": self.difficulty not in (1, 2, 3),
            "points and minutes must be above 0": self.points < 1 or self.minutes < 1,
            "it needs exactly three hints, none empty": len(self.hints) != 3 or not all(self.hints),
            "title, called, promised and explanation must say something": not all(texts),
            "the answer must be a Python name": not self.answer.isidentifier(),
            "it needs a seed": not self.seeds,
            "the points of its parts must be above 0 and add up to its own": bool(self.parts)
            and (
                sum(part.points for part in self.parts) != self.points
                or not all(p.points for p in self.parts)
            ),
            "each mistake of a part must be one of the exercise, and of one part": len(set(blamed))
            < len(blamed)
            or not set(blamed) <= {mistake.name for mistake in self.mistakes}
            or not all(part.mistakes for part in self.parts),
        }

    @property
    def lesson(self) -> str:
        """The package of its pattern, such as "message_queue"."""
        return self.name.partition("/")[0]

    @property
    def size(self) -> str:
        """Kind, difficulty, points and minutes: "Repair · easy · 3 points · 10 minutes"."""
        level, points, minutes = LEVELS[self.difficulty - 1], self.points, self.minutes
        words = (f"{n} {noun}{'' if n == 1 else 's'}" for n, noun in ((points, "point"), (minutes, "minute")))
        return " · ".join([self.kind.capitalize(), level, *words])

    @property
    def slug(self) -> str:
        """The exercise's name in its lesson, and the `grade_id` of its answer cell."""
        return self.name.partition("/")[2]

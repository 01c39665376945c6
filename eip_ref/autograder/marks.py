"""The marks of one notebook, one for each exercise, as JSON and back.

Nothing here depends on when, where or how fast it was graded but `seconds`, which are kept apart: the
rest is the same, byte for byte, whenever the same notebook is graded with the same seeds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

__all__ = ["NOT_BEGUN", "NOT_GRADED", "Mark", "Marks", "PartMark", "next_step", "shortened"]

MOST_WORDS = 4_000  #: characters of what was seen

NOT_BEGUN = ("not-started", "not-found")  #: mistakes that are none: there is no answer yet
NOT_GRADED = {
    "not-graded": "not graded, the grader stopped",
    "unreadable-notebook": "the notebook cannot be read",
}  #: mistakes that say nothing about an answer, and what they are called where there is little room


@dataclass(frozen=True)
class PartMark:
    """The mark of one part of an exercise."""

    title: str
    points: int
    most: int
    mistake: str = ""  #: the title of the mistake that cost it; "" when it is right

    def __str__(self) -> str:
        return f"{'✗' if self.mistake else '✓'} {self.points}/{self.most}  {self.title}"


@dataclass(frozen=True)
class Mark:
    """The mark of one exercise."""

    exercise: str  #: "message_queue/mend_the_worker"
    points: int
    most: int  #: the points that it can earn
    mistake: str = ""  #: the name of the mistake, such as "ack-on-receive"; "" when it passed
    title: str = ""  #: the mistake's title; "" when it passed
    explanation: str = ""  #: why it does harm
    seen: str = ""  #: what was seen, in words, without hidden inputs
    trace: str = ""  #: the trace that shows the mistake, as JSON; "" when it passed or there is none
    parts: tuple[PartMark, ...] = ()  #: those of an exercise that has some, when it was judged

    @property
    def passed(self) -> bool:
        return not self.mistake


@dataclass(frozen=True)
class Marks:
    """The marks of one notebook."""

    lesson: str  #: the lesson's module, such as "acks_and_leases"
    marks: tuple[Mark, ...]  #: one for each exercise of the lesson, in the lesson's order
    notes: tuple[str, ...] = ()  #: what was odd about the notebook and cost nothing, in words
    isolation: str = ""  #: how the answers were kept apart from the machine, in words
    seconds: Mapping[str, float] = field(default_factory=dict, compare=False)  #: real time, by exercise

    @property
    def points(self) -> int:
        return sum(mark.points for mark in self.marks)

    @property
    def most(self) -> int:
        return sum(mark.most for mark in self.marks)

    def to_json(self) -> str:
        """As JSON, the same bytes for the same marks but for `seconds`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Marks:
        """Raises ValueError when the text is not what `to_json` gave."""
        try:
            facts: dict[str, Any] = json.loads(text)
            marks = tuple(_mark(**each) for each in facts.pop("marks"))
            return cls(marks=marks, **{**facts, "notes": tuple(facts.pop("notes"))})
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"these are no marks: {error}") from error


def _mark(*, parts: list[dict[str, Any]], **facts: Any) -> Mark:
    return Mark(parts=tuple(PartMark(**part) for part in parts), **facts)


def next_step(mark: Mark) -> str:
    """The sentence that tells a learner what to do about a mark that is not full."""
    if mark.mistake in NOT_GRADED:
        return "Hand in the notebook again, or ask your teacher."
    begin = "Begin it and check it" if mark.mistake in NOT_BEGUN else "Fix it and check it"
    return f'{begin} in the notebook. `hint("{mark.exercise}")` helps, a step at each call.'


def shortened(seen: str) -> str:
    """The words of what was seen, no more of them than a report holds."""
    return seen if len(seen) <= MOST_WORDS else f"{seen[:MOST_WORDS]} …"

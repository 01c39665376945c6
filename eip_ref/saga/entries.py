"""Entries of a saga's log, and what they add up to.

Everything that a saga knows is a fold over its entries. So recovery is reading, and no state exists
that a crash could take away. Which entry may follow is decided here, once, for every log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

__all__ = ["Entry", "IllegalEntry", "Mark", "Phase", "Progress", "SagaEnded", "StepState", "phase_after"]


class Phase(StrEnum):
    """Where a saga is. Completed, compensated and stuck exclude each other."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"  #: for good
    COMPENSATED = "compensated"  #: for good
    STUCK = "stuck"  #: until somebody resumes it


class Mark(StrEnum):
    """What an entry says."""

    BEGUN = "begun"  #: data: name, data, deadline
    INTENT = "intent"  #: the command of a step will be carried now; data: its body
    DONE = "done"  #: data: the answer
    REFUSED = "refused"  #: data: the reason, and so for the next two
    NOT_DONE = "not done"
    DOUBT = "doubt"
    COMPENSATING = "compensating"  #: the saga turns back; data: the reason
    UNDOING = "undoing"  #: the compensation of a step will be carried now
    UNDONE = "undone"
    UNDO_FAILED = "undo failed"  #: data: the reason
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"  #: data: the reason
    RESUMED = "resumed"  #: data: the phase in which it goes on


class Entry(NamedTuple):
    """One line of the log; the data are JSON values."""

    mark: Mark
    step: str = ""
    data: Any = None


class SagaEnded(Exception):
    """The saga has ended, or is stuck: nothing that comes late moves it."""


class IllegalEntry(Exception):
    """No saga may take such an entry in this phase."""


_FORWARD = frozenset({Mark.INTENT, Mark.DONE, Mark.REFUSED, Mark.NOT_DONE, Mark.DOUBT})
_BACK = frozenset({Mark.UNDOING, Mark.UNDONE, Mark.UNDO_FAILED})
_CHANGES = {
    (None, Mark.BEGUN): Phase.RUNNING,
    (Phase.RUNNING, Mark.COMPENSATING): Phase.COMPENSATING,
    (Phase.RUNNING, Mark.COMPLETED): Phase.COMPLETED,
    (Phase.RUNNING, Mark.STUCK): Phase.STUCK,
    (Phase.COMPENSATING, Mark.COMPENSATED): Phase.COMPENSATED,
    (Phase.COMPENSATING, Mark.STUCK): Phase.STUCK,
}
_STAYS = {Phase.RUNNING: _FORWARD, Phase.COMPENSATING: _BACK}
_OVER = frozenset({Phase.COMPLETED, Phase.COMPENSATED, Phase.STUCK})


def phase_after(phase: Phase | None, entry: Entry) -> Phase:
    """The phase that follows. Raises `SagaEnded` or `IllegalEntry`."""
    if phase is Phase.STUCK and entry.mark is Mark.RESUMED:
        return Phase(entry.data)
    if (after := _CHANGES.get((phase, entry.mark))) is not None:
        return after
    if phase in _OVER:
        raise SagaEnded(f"the saga is {phase}; '{entry.mark}' came too late")
    if phase is None or entry.mark not in _STAYS[phase]:
        raise IllegalEntry(f"'{entry.mark}' cannot follow while the saga is {phase or 'not begun'}")
    return phase


@dataclass(slots=True)
class StepState:
    """What the log says of one step."""

    name: str
    body: Any = None
    result: Mark | None = None  #: None: intended, and nobody knows what came of it
    answer: Any = None
    reason: str = ""  #: why there is no answer, or why it could not be undone
    undo: Mark | None = None

    @property
    def may_have_happened(self) -> bool:
        """Done, or in doubt: not known to have failed."""
        return self.result not in (Mark.REFUSED, Mark.NOT_DONE)


@dataclass(slots=True)
class Progress:
    """A saga as its log tells it. `number` is how many entries were read."""

    id: str
    name: str = ""
    data: Any = None
    deadline: float | None = None  #: on the log's clock
    phase: Phase | None = None
    reason: str = ""  #: why it turned back, or is stuck
    stuck_from: Phase | None = None  #: the phase in which it could not go on
    number: int = 0
    steps: dict[str, StepState] = field(default_factory=dict)  #: in the order of their intents

    @classmethod
    def of(cls, identity: str, entries: Iterable[Entry]) -> Progress:
        """The state after these entries."""
        progress = cls(identity)
        for entry in entries:
            progress.apply(entry)
        return progress

    @property
    def answers(self) -> dict[str, Any]:
        """The answers of the steps that are done."""
        return {name: step.answer for name, step in self.steps.items() if step.result is Mark.DONE}

    @property
    def over(self) -> bool:
        """Whether it is completed, compensated or stuck."""
        return self.phase in _OVER

    def to_undo(self) -> list[StepState]:
        """The steps to compensate: what may have happened and is not undone, the last one first."""
        return [s for s in reversed(self.steps.values()) if s.may_have_happened and s.undo is not Mark.UNDONE]

    def apply(self, entry: Entry) -> None:
        """Take one more entry. Raises `SagaEnded` or `IllegalEntry`, and then nothing has changed."""
        before, self.phase = self.phase, phase_after(self.phase, entry)
        self.number += 1
        mark, name, data = entry
        if mark is Mark.BEGUN:
            self.name, self.data, self.deadline = data["name"], data["data"], data["deadline"]
        elif mark is Mark.INTENT:
            self.steps[name] = StepState(name, data)
        elif mark in _FORWARD:
            step = self.steps[name]
            step.result = mark
            step.answer, step.reason = (data, "") if mark is Mark.DONE else (None, data)
        elif mark in _BACK:
            self.steps[name].undo = mark
            self.steps[name].reason = data if mark is Mark.UNDO_FAILED else ""
        elif mark in (Mark.COMPENSATING, Mark.STUCK):
            self.reason = data
            self.stuck_from = before if mark is Mark.STUCK else None
        elif mark is Mark.RESUMED and self.phase is Phase.RUNNING:
            for step in self.steps.values():  # after the pivot there is one way, so try it again
                step.result = step.result if step.result is Mark.DONE else None

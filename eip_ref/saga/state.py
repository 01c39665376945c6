"""The log of sagas, its records, and the state that they add up to.

Everything that a saga knows is a fold over its records. So recovery is reading, and no state exists
that a crash could take away. Which record may follow another is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import anyio

from .. import values
from ..storage import Store, Transaction, key_of
from ..trace import Kind, record


class Phase(StrEnum):
    """The phases of a saga. Completed, compensated and stuck exclude each other."""

    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"  #: for good
    COMPENSATED = "compensated"  #: for good
    STUCK = "stuck"  #: until somebody resumes it


class RecordType(StrEnum):
    """The types of records."""

    BEGUN = "begun"  #: data: name, data, deadline
    INTENT = "intent"  #: the command of a step is sent now; data: its body
    DONE = "done"  #: data: the answer
    REFUSED = "refused"  #: definite, by the participant; data: the reason, and so for the next two
    NOT_DONE = "not done"  #: definite: no attempt was executed
    DOUBT = "doubt"  #: some attempt may have been executed, or may yet be
    COMPENSATING = "compensating"  #: the saga turns back; data: the reason
    UNDOING = "undoing"  #: the compensation of a step is sent now
    UNDONE = "undone"
    UNDO_FAILED = "undo failed"  #: data: the reason
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"  #: data: the reason
    RESUMED = "resumed"  #: data: the phase in which it goes on


class LogRecord(NamedTuple):
    """One record of the log; the data are JSON values."""

    type: RecordType
    step: str = ""
    data: Any = None


class SagaEnded(Exception):
    """The saga has ended, or is stuck: nothing that comes late moves it."""


class IllegalRecord(Exception):
    """No saga may take such a record in this phase."""


_FORWARD = frozenset(
    {RecordType.INTENT, RecordType.DONE, RecordType.REFUSED, RecordType.NOT_DONE, RecordType.DOUBT}
)
_BACK = frozenset({RecordType.UNDOING, RecordType.UNDONE, RecordType.UNDO_FAILED})
_CHANGES = {
    (None, RecordType.BEGUN): Phase.RUNNING,
    (Phase.RUNNING, RecordType.COMPENSATING): Phase.COMPENSATING,
    (Phase.RUNNING, RecordType.COMPLETED): Phase.COMPLETED,
    (Phase.RUNNING, RecordType.STUCK): Phase.STUCK,
    (Phase.COMPENSATING, RecordType.COMPENSATED): Phase.COMPENSATED,
    (Phase.COMPENSATING, RecordType.STUCK): Phase.STUCK,
}
_STAYS = {Phase.RUNNING: _FORWARD, Phase.COMPENSATING: _BACK}
_OVER = frozenset({Phase.COMPLETED, Phase.COMPENSATED, Phase.STUCK})


def _phase_after(phase: Phase | None, record: LogRecord) -> Phase:
    """The phase that follows. Raises `SagaEnded` or `IllegalRecord`."""
    if phase is Phase.STUCK and record.type is RecordType.RESUMED:
        return Phase(record.data)
    if (after := _CHANGES.get((phase, record.type))) is not None:
        return after
    if phase in _OVER:
        raise SagaEnded(f"the saga is {phase}; '{record.type}' came too late")
    if phase is None or record.type not in _STAYS[phase]:
        raise IllegalRecord(f"'{record.type}' cannot follow while the saga is {phase or 'not begun'}")
    return phase


@dataclass(slots=True)
class StepState:
    """One step, as the log tells it."""

    name: str
    body: Any = None
    result: RecordType | None = None  #: None: intended, and nobody knows what came of it
    answer: Any = None
    reason: str = ""  #: why there is no answer, or why it could not be undone
    undo: RecordType | None = None

    @property
    def may_have_happened(self) -> bool:
        """Done, or in doubt: not known to have failed."""
        return self.result not in (RecordType.REFUSED, RecordType.NOT_DONE)


@dataclass(slots=True)
class SagaState:
    """A saga as its log tells it. `number` is how many records were read."""

    id: str
    name: str = ""
    data: Any = None
    deadline: float | None = None  #: on the log's clock
    phase: Phase | None = None
    reason: str = ""  #: why it turned back; that stays, also when it is stuck on the way
    stuck_reason: str = ""  #: why it cannot go on; empty when it is not stuck
    stuck_from: Phase | None = None  #: the phase in which it could not go on
    number: int = 0
    steps: dict[str, StepState] = field(default_factory=dict)  #: in the order of their intents

    @classmethod
    def of(cls, identity: str, records: Iterable[LogRecord]) -> SagaState:
        """The state after these records."""
        state = cls(identity)
        for each in records:
            state.apply(each)
        return state

    @property
    def answers(self) -> dict[str, Any]:
        """The answers of the steps that are done."""
        return {name: step.answer for name, step in self.steps.items() if step.result is RecordType.DONE}

    @property
    def over(self) -> bool:
        """True when it is completed, compensated or stuck."""
        return self.phase in _OVER

    def to_undo(self) -> list[StepState]:
        """The steps to compensate: what may have happened and is not undone, the last one first."""
        return [
            step
            for step in reversed(self.steps.values())
            if step.may_have_happened and step.undo is not RecordType.UNDONE
        ]

    def apply(self, record: LogRecord) -> None:
        """Take one more record. Raises `SagaEnded` or `IllegalRecord`, and then nothing has changed."""
        before, self.phase = self.phase, _phase_after(self.phase, record)
        self.number += 1
        type_, name, data = record
        if type_ is RecordType.BEGUN:
            self.name, self.data, self.deadline = data["name"], data["data"], data["deadline"]
        elif type_ is RecordType.INTENT:
            self.steps[name] = StepState(name, data)
        elif type_ in _FORWARD:
            step = self.steps[name]
            step.result = type_
            step.answer, step.reason = (data, "") if type_ is RecordType.DONE else (None, data)
        elif type_ in _BACK:
            self.steps[name].undo = type_
            self.steps[name].reason = data if type_ is RecordType.UNDO_FAILED else ""
        elif type_ is RecordType.COMPENSATING:
            self.reason = data
        elif type_ is RecordType.STUCK:
            self.stuck_reason, self.stuck_from = data, before
        elif type_ is RecordType.RESUMED:
            self._resume()

    def _resume(self) -> None:
        self.stuck_reason, self.stuck_from = "", None
        if self.phase is Phase.RUNNING:  # after the pivot there is one way, so try it again
            for step in self.steps.values():
                step.result = step.result if step.result is RecordType.DONE else None


# The log


class TakenOver(Exception):
    """Somebody else has written to this saga's log meanwhile: leave the saga to them."""


class SagaLog:
    """The log `name` in a store. The records of a saga are a table there, and so are the sagas of a phase.

    Records given together are kept together, or not at all; inside a transaction of the store they share
    its fate, and that of the commands which leave because of them. Whoever appends must know the number
    of records before: two orchestrators that both believe to run a saga cannot both write. And a saga
    that has ended takes no more records.
    """

    def __init__(self, store: Store, name: str = "sagas") -> None:
        self.store = store
        self._name = values.name("the name of a log of sagas", name)

    def append(self, saga: str, number: int, records: Sequence[LogRecord]) -> None:
        """Add records after the first `number`.

        Raises `TakenOver` when there are more or fewer, `SagaEnded` or `IllegalRecord` when one may not
        follow, TypeError when one is not JSON; then nothing is kept.
        """
        with self.store.transaction() as transaction:
            name, place, length, before = self._row(transaction, saga, records)
            if number != length:
                raise TakenOver(f"saga {saga} has {length} records and not {number}: who runs it?")
            phase = before
            for number, each in enumerate(records, length + 1):
                was, phase = phase, _phase_after(phase, each)
                transaction.put(self._records(saga), key_of(number), list(each))
                if was is not phase:  # told at the commit: no crash comes between what is so and the trace
                    reason = each.data if isinstance(each.data, str) else ""
                    told = partial(record, Kind.STATE, name, saga, was=was or "", now=phase, reason=reason)
                    transaction.after_commit(told)
            transaction.put(self._name, saga, [name, place, number, phase])
            if phase is not before:
                transaction.put(self._in(phase), place, [saga, name])
                if before is not None:
                    transaction.delete(self._in(before), place)

    def read(self, saga: str) -> list[LogRecord]:
        """The records of a saga; none when it is not known."""
        with self.store.reading() as transaction:
            rows = transaction.scan(self._records(saga))
        return [LogRecord(RecordType(type_), step, data) for _, (type_, step, data) in rows]

    def find(self, *phases: Phase, name: str | None = None) -> list[str]:
        """The ids of all sagas in one of these phases, and with this name, oldest first."""
        with self.store.reading() as transaction:
            found = [row for phase in {*phases} for row in transaction.scan(self._in(phase))]
        return [saga for _, (saga, of) in sorted(found) if name in (None, of)]

    def now(self) -> float:
        """The time on the clock of the store, in seconds. It goes on over restarts."""
        return anyio.current_time() + self.store.shift

    def _records(self, saga: str) -> str:
        return f"{self._name}/{saga}"

    def _in(self, phase: Phase | None) -> str:
        return f"{self._name}.{phase}"

    def _row(
        self, transaction: Transaction, saga: str, records: Sequence[LogRecord]
    ) -> tuple[str, str, int, Phase | None]:
        """The name of its definition, its place among all sagas, the number of its records, its phase."""
        if (known := transaction.get(self._name, saga)) is not None:
            name, place, number, phase = known
            return name, place, number, Phase(phase)
        if not records:
            raise TakenOver(f"saga {saga} is not known here")
        name = records[0].data["name"] if records[0].type is RecordType.BEGUN else ""
        return name, key_of(transaction.count(self._name)), 0, None

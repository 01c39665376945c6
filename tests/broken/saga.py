"""Sagas that are not: each makes one mistake that is made in earnest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel

from eip_ref.course.saga.order_story import PLACE_ORDER, REACTIONS, TIMED_OUT, order_choreography
from eip_ref.message import Message
from eip_ref.saga import (
    Choreography,
    Execute,
    LocalTransaction,
    LogRecord,
    Orchestrator,
    Participant,
    Phase,
    Reaction,
    RecordType,
    Refused,
    Saga,
    SagaLog,
    SagaState,
    Step,
    StepState,
    action,
    compensation,
)
from eip_ref.saga.orchestrator import Item, Run
from eip_ref.trace import Kind, record
from eip_ref.values import finished


class UndoLambdasInMemory:
    """Keeps what is to be undone in a list: it dies with the process, and then nobody knows."""

    def __init__(self, saga: Saga, log: object, execute: Execute) -> None:
        self._saga = saga
        self._execute = execute

    async def recover(self) -> None:
        """There is nothing to recover from."""

    async def run(self, identity: str, data: Any) -> None:
        record(Kind.STATE, self._saga.name, identity, was="", now="running")
        undo: list[Callable[[], Any]] = []
        outcome = "completed"
        for step in self._saga:
            try:
                await finished(self._execute(action(identity, step.name, step.command, data)))
            except Refused:
                outcome = "compensated"
                break
            command = compensation(identity, step.name, step.undo or "", data)
            undo.append(lambda command=command: self._execute(command))  # type: ignore[misc]
        if outcome == "compensated":
            for call in reversed(undo):
                await finished(call())
        record(Kind.STATE, self._saga.name, identity, was="running", now=outcome)


class _OfState(Orchestrator):
    """An orchestrator that reads its log in another way."""

    state: type[SagaState]

    def _read(self, identity: str) -> SagaState:
        return self.state.of(identity, self._log.read(identity))


class OnlyAfterSuccess(_OfState):
    """Registers a compensation when its step has succeeded: what is in doubt stays for ever."""

    class state(SagaState):
        def to_undo(self) -> list[StepState]:
            return [s for s in SagaState.to_undo(self) if s.result is RecordType.DONE]


class CompensatesWhatFailed(_OfState):
    """Takes back every step that was tried, also one that certainly did not happen."""

    class state(SagaState):
        def to_undo(self) -> list[StepState]:
            return [s for s in reversed(self.steps.values()) if s.undo is not RecordType.UNDONE]


class CompensatesForwards(_OfState):
    """Takes back in the order in which it was done."""

    class state(SagaState):
        def to_undo(self) -> list[StepState]:
            return SagaState.to_undo(self)[::-1]


class _OfRun(Orchestrator):
    """An orchestrator whose sagas go another way."""

    kind: type[Run]

    def _run(self, state: SagaState) -> Run:
        return self.kind(self._saga, self._log, self._execute, state)


class StopsAtTheFirstFailure(_OfRun):
    """Compensates until a compensation fails, calls that the end, and leaves the rest as it is."""

    class kind(Run):
        async def _compensate(self) -> None:
            for state in self.state.to_undo():
                self.note(await self._undo(state))
                if state.undo is not RecordType.UNDONE:
                    break
            for state in self.state.to_undo():
                self.note(LogRecord(RecordType.UNDONE, state.name))
            self.note(LogRecord(RecordType.COMPENSATED))
            await self._write()


class SkipsWhatIsInDoubt(_OfRun):
    """After a restart it believes that a step whose intent is in the log was done."""

    class kind(Run):
        async def _settle(self, step: Step, fresh: bool, until: float) -> LogRecord:
            return (
                await super()._settle(step, fresh, until) if fresh else LogRecord(RecordType.DONE, step.name)
            )


class NotShielded(_OfRun):
    """Lets a cancellation stop the compensation half way, and calls it a failure that has been dealt with."""

    class kind(Run):
        async def finish(self) -> SagaState:
            await self._forward()
            if self.state.phase is Phase.COMPENSATING:
                await self._compensate()
            return self.state


class CancelsSiblings(_OfRun):
    """Cancels parallel steps when one fails, and takes a cancelled call for one that did nothing."""

    class kind(Run):
        async def _each(
            self, items: Sequence[Item], work: Callable[[Item], Awaitable[LogRecord]], *, together: bool
        ) -> None:
            if not together or len(items) < 2:
                return await super()._each(items, work, together=together)

            async def one(item: Item) -> None:
                result = LogRecord(RecordType.NOT_DONE, item.name, "cancelled")  # type: ignore[attr-defined]
                try:
                    result = await work(item)
                finally:
                    self.note(result)
                if result.type is not RecordType.DONE:
                    group.cancel_scope.cancel()

            async with anyio.create_task_group() as group:
                for item in items:
                    group.start_soon(one, item)
            return None


class SendsBeforeTheIntent(_OfRun):
    """Two transactions: the command into the outbox, and then the intent into the log."""

    class kind(Run):
        async def _write(self, commands: Iterable[Message] = ()) -> None:
            commands = [*commands]
            self._sent.update(command.id for command in commands)
            assert self._outbox is not None
            with self._log.store.transaction() as transaction:
                for command in commands:
                    self._outbox.add(transaction, command)
            await anyio.lowlevel.checkpoint()
            await super()._write()


class MovesEndedSagas(SagaLog):
    """Believes whatever comes, also after the end."""

    def append(self, saga: str, number: int, records: Sequence[LogRecord]) -> None:
        for type_, _, data in records:
            if type_ in set(Phase) | {RecordType.BEGUN}:
                now = "running" if type_ is RecordType.BEGUN else str(type_)
                record(Kind.STATE, "place order", saga, was="", now=now, reason=data)


class WithoutTombstones(Participant):
    """Has nothing to take back when the compensation comes first, and then carries out the late action."""

    async def _undo(self, command: Message, operation: str) -> Any:
        if self._ask(operation)["state"] == "unknown":
            return None
        return await super()._undo(command, operation)


class CompensatesTwice(Participant):
    """Its compensation is not idempotent: a repetition gives the money back once more."""

    def _undo(self, command: Message, operation: str) -> Any:
        with self.store.transaction() as transaction:
            self._handler(command)(command, LocalTransaction(transaction, self.name, command))


def key_per_attempt(execute: Execute) -> Execute:
    """A client that makes a new key for each attempt: every repetition is a new operation."""
    attempts: dict[str, int] = {}

    async def renamed(command: Message) -> Any:
        attempts[command.id] = number = attempts.get(command.id, 0) + 1
        return await finished(execute(replace(command, id=f"{command.id}#{number}")))

    return renamed


def only_order_cancelled() -> Choreography:
    """E13: when the goods are out of stock the order is cancelled; nobody hears of the payment."""
    told = [r for r in REACTIONS if r.on not in ("OutOfStock", "OrderRejected")]
    cancel = Reaction("orders", "OutOfStock", "RejectOrder", "order", "OrderCancelled", undoes=True)
    ends = {
        "OrderConfirmed": Phase.COMPLETED,
        "OrderRejected": Phase.COMPENSATED,
        "OrderCancelled": Phase.COMPENSATED,
    }
    return Choreography(PLACE_ORDER, [*told, cancel], ends)


def turns_back_without_asking_the_pivot() -> Choreography:
    """The timeout begins the way back, and nobody finds out whether the card is charged already."""
    back = Reaction("customers", TIMED_OUT, "ReleaseCredit", "credit", "CreditReleased", undoes=True)
    return Choreography(PLACE_ORDER, [*REACTIONS, back], order_choreography().ends, TIMED_OUT)

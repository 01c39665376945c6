"""Sagas that are not: each makes one mistake that is made in earnest."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.lowlevel

from eip_ref.message import Message
from eip_ref.saga import (
    Choreography,
    Entry,
    Mark,
    MemorySagaLog,
    Orchestrator,
    Participant,
    Phase,
    Progress,
    Reaction,
    Refused,
    Saga,
    Step,
    StepState,
    commands,
)
from eip_ref.saga.attempts import Carry
from eip_ref.saga.order_story import PLACE_ORDER, REACTIONS, TIMED_OUT, order_choreography
from eip_ref.saga.run import Item, Run
from eip_ref.trace import Kind, record


class UndoLambdasInMemory:
    """Keeps what is to be undone in a list: it dies with the process, and then nobody knows."""

    def __init__(self, saga: Saga, log: object, carry: Carry) -> None:
        self._saga = saga
        self._carry = carry

    async def recover(self) -> None:
        """There is nothing to recover from."""

    async def run(self, identity: str, data: Any) -> None:
        record(Kind.STATE, self._saga.name, identity, was="", now="running")
        undo: list[Callable[[], Awaitable[Any]]] = []
        outcome = "completed"
        for step in self._saga:
            try:
                await self._carry(commands.do(identity, step.name, step.command, data))
            except Refused:
                outcome = "compensated"
                break
            command = commands.undo(identity, step.name, step.undo or "", data)
            undo.append(lambda command=command: self._carry(command))  # type: ignore[misc]
        if outcome == "compensated":
            for call in reversed(undo):
                await call()
        record(Kind.STATE, self._saga.name, identity, was="running", now=outcome)


class _OfProgress(Orchestrator):
    """An orchestrator that reads its log in another way."""

    progress: type[Progress]

    async def _read(self, identity: str) -> Progress:
        return self.progress.of(identity, await self._log.read(identity))


class OnlyAfterSuccess(_OfProgress):
    """Registers a compensation when its step has succeeded: what is in doubt stays for ever."""

    class progress(Progress):
        def to_undo(self) -> list[StepState]:
            return [s for s in Progress.to_undo(self) if s.result is Mark.DONE]


class CompensatesWhatFailed(_OfProgress):
    """Takes back every step that was tried, also one that certainly did not happen."""

    class progress(Progress):
        def to_undo(self) -> list[StepState]:
            return [s for s in reversed(self.steps.values()) if s.undo is not Mark.UNDONE]


class CompensatesForwards(_OfProgress):
    """Takes back in the order in which it was done."""

    class progress(Progress):
        def to_undo(self) -> list[StepState]:
            return Progress.to_undo(self)[::-1]


class _OfRun(Orchestrator):
    """An orchestrator whose sagas go another way."""

    kind: type[Run]

    def _run(self, progress: Progress) -> Run:
        return self.kind(self._saga, self._log, self._carry, progress)


class StopsAtTheFirstFailure(_OfRun):
    """Compensates until a compensation fails, calls that the end, and leaves the rest as it is."""

    class kind(Run):
        async def _compensate(self) -> None:
            for state in self.progress.to_undo():
                self.note(await self._undo(state))
                if state.undo is not Mark.UNDONE:
                    break
            for state in self.progress.to_undo():
                self.note(Entry(Mark.UNDONE, state.name))
            self.note(Entry(Mark.COMPENSATED))
            await self._write()


class SkipsWhatIsInDoubt(_OfRun):
    """After a restart it believes that a step whose intent is in the log was done."""

    class kind(Run):
        async def _settle(self, step: Step, fresh: bool, until: float) -> Entry:
            return await super()._settle(step, fresh, until) if fresh else Entry(Mark.DONE, step.name)


class NotShielded(_OfRun):
    """Lets a cancellation stop the compensation half way, and calls it a failure that has been dealt with."""

    class kind(Run):
        async def finish(self) -> Progress:
            await self._forward()
            if self.progress.phase is Phase.COMPENSATING:
                await self._compensate()
            return self.progress


class CancelsSiblings(_OfRun):
    """Cancels parallel steps when one fails, and takes a cancelled call for one that did nothing."""

    class kind(Run):
        async def _each(
            self, items: Sequence[Item], work: Callable[[Item], Awaitable[Entry]], *, together: bool
        ) -> None:
            if not together or len(items) < 2:
                return await super()._each(items, work, together=together)

            async def one(item: Item) -> None:
                entry = Entry(Mark.NOT_DONE, item.name, "cancelled")  # type: ignore[attr-defined]
                try:
                    entry = await work(item)
                finally:
                    self.note(entry)
                if entry.mark is not Mark.DONE:
                    group.cancel_scope.cancel()

            async with anyio.create_task_group() as group:
                for item in items:
                    group.start_soon(one, item)
            return None


class SendsBeforeTheIntent(_OfRun):
    """Two transactions: the command into the outbox, and then the intent into the log."""

    class kind(Run):
        async def _write(self, outgoing: Iterable[Message] = ()) -> None:
            letters = self._expecting(outgoing)
            entries, self._pending = self._pending, []
            self._log._put(letters)  # type: ignore[attr-defined]
            await anyio.lowlevel.checkpoint()
            await self._log.append(self.progress.id, self._number, entries)
            self._number += len(entries)


class TwoTransactions(MemorySagaLog):
    """A log and an outbox that know nothing of each other."""

    def _put(self, letters: Sequence[Message]) -> None:
        for letter in letters:
            self._place += 1
            self._outbox[self._place] = letter


class MovesEndedSagas(MemorySagaLog):
    """Believes whatever comes, also after the end."""

    async def append(
        self, saga: str, number: int, entries: Sequence[Entry], commands: Sequence[Message] = ()
    ) -> None:
        await anyio.lowlevel.checkpoint()
        for mark, _, data in entries:
            if mark in set(Phase) | {Mark.BEGUN}:
                now = "running" if mark is Mark.BEGUN else str(mark)
                record(Kind.STATE, "place order", saga, was="", now=now, reason=data)


class WithoutTombstones(Participant):
    """Has nothing to take back when the compensation comes first, and then carries out the late action."""

    def _undo(self, command: Message, key: str) -> Any:
        if self._ask(key)["state"] == "unknown":
            return None
        return super()._undo(command, key)


class CompensatesTwice(Participant):
    """Its compensation is not idempotent: a repetition gives the money back once more."""

    def _undo(self, command: Message, key: str) -> Any:
        with self.store.transaction() as draft:
            self._handler(command)(command, draft)
        self._tell(draft, command)


def key_per_attempt(carry: Carry) -> Carry:
    """A client that makes a new key for each attempt: every repetition is a new operation."""
    attempts: dict[str, int] = {}

    async def renamed(command: Message) -> Any:
        attempts[command.id] = number = attempts.get(command.id, 0) + 1
        return await carry(replace(command, id=f"{command.id}#{number}"))

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

"""One saga on its way: forward step by step, and back when it cannot go on.

The rule of all of it: the intent is in the log before the command leaves, and the result after it
came. The result of one step and the intent of the next share a transaction; a crash before it makes
the step one without a result, and that is repeated under the same key.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

import anyio

from ..message import Message
from . import commands
from .attempts import Attempts, Carry
from .definition import Saga, Step, StepKind
from .entries import Entry, Mark, Phase, Progress, StepState
from .log import SagaLog
from .outcomes import Outcome
from .post import Post

__all__ = ["Run"]

Item = TypeVar("Item")

_BEFORE = "it was begun before, and its result is not in the log"


class Run:
    """Runs one saga from wherever its log stands to one of its ends."""

    def __init__(self, saga: Saga, log: SagaLog, carry: Carry | Post, progress: Progress) -> None:
        self.progress = progress
        self._saga = saga
        self._log = log
        self._outbox = carry if isinstance(carry, Post) else None
        direct = carry.carry if isinstance(carry, Post) else carry
        self._attempts = Attempts(saga.name, direct, self._post)
        self._pending: list[Entry] = []
        self._number = progress.number
        self._expected: set[str] = set()
        self._writing = anyio.Lock(fast_acquire=True)

    async def finish(self) -> Progress:
        """Go on until the saga is completed, compensated or stuck.

        Cancelled on the way forward the saga stays as it is in the log, to be recovered. The way
        back is shielded: it takes no longer than its attempts may.
        """
        try:
            if self.progress.phase is Phase.RUNNING:
                await self._forward()
            if self.progress.phase is Phase.COMPENSATING:
                with anyio.CancelScope(shield=True):
                    await self._compensate()
        finally:
            if self._outbox is not None:
                self._outbox.forget(self._expected)
        return self.progress

    # Forward

    async def _forward(self) -> None:
        deadline = self._deadline()
        for stage in self._saga.stages:
            if self._may_turn_back(stage) and anyio.current_time() >= deadline:
                self.note(Entry(Mark.COMPENSATING, data=f"not done within {self._saga.timeout:g} s"))
                return
            await self._stage(stage, deadline)
            if failed := [step for step in stage if self.progress.steps[step.name].result is not Mark.DONE]:
                self.note(self._cannot_go_on(failed[0]))
                break
        else:
            self.note(Entry(Mark.COMPLETED))
        if self.progress.over:
            await self._write()

    def _deadline(self) -> float:
        deadline = self.progress.deadline
        return math.inf if deadline is None else anyio.current_time() + deadline - self._log.now()

    def _may_turn_back(self, stage: Sequence[Step]) -> bool:
        """Not once the pivot is begun, or what comes after it; and not over a stage that is done."""
        kinds = {self._saga.step(name).kind for name in self.progress.steps}
        done = self.progress.answers.keys()
        return kinds <= {StepKind.COMPENSATABLE} and any(step.name not in done for step in stage)

    async def _stage(self, stage: Sequence[Step], deadline: float) -> None:
        """Until every step of it has a result; those that have one are left alone."""
        fresh = [step for step in stage if step.name not in self.progress.steps]
        open_ = [s for s in stage if s in fresh or self.progress.steps[s.name].result is None]
        for step in fresh:
            body = step.body(self.progress.data, self.progress.answers) if step.body else self.progress.data
            self.note(Entry(Mark.INTENT, step.name, body))
        if fresh:
            await self._write(self._do(step) for step in fresh)

        async def settle(step: Step) -> Entry:
            until = deadline if step.kind is StepKind.COMPENSATABLE else math.inf
            return await self._settle(step, step in fresh, until)

        await self._each(open_, settle, together=True)

    async def _settle(self, step: Step, fresh: bool, until: float) -> Entry:
        """What came of a step. One without a result is asked for, or repeated with the same key."""
        if not fresh and step.ask and (known := await self._ask(step, until)) is not None:
            return known
        doubt = "" if fresh else _BEFORE
        retry = step.retry or self._saga.retry
        result = await self._attempts.carry_out(
            self._do(step), retry, step.timeout, until=until, posted=fresh, doubt=doubt
        )
        data = result.answer if result.outcome is Outcome.DONE else result.reason
        return Entry(Mark(str(result.outcome)), step.name, data)

    async def _ask(self, step: Step, until: float) -> Entry | None:
        """The participant's word, or None when it does not know, or cannot be asked."""
        question = commands.ask(self.progress.id, step.name, step.command)
        result = await self._attempts.carry_out(
            question, step.retry or self._saga.retry, step.timeout, until=until, posted=False
        )
        match result.answer:
            case {"state": "done", "answer": answer}:
                return Entry(Mark.DONE, step.name, answer)
            case {"state": "refused" | "revoked" as state}:
                return Entry(Mark.REFUSED, step.name, f"asked, the participant said: {state}")
        return None

    def _cannot_go_on(self, step: Step) -> Entry:
        """Before the pivot there is a way back. In doubt about the pivot there is none, nor after it."""
        state = self.progress.steps[step.name]
        reason = f"{step.name}: {state.reason}"
        if step.kind is StepKind.RETRIABLE or (step.kind is StepKind.PIVOT and state.may_have_happened):
            return Entry(Mark.STUCK, data=reason)
        return Entry(Mark.COMPENSATING, data=reason)

    # Back

    async def _compensate(self) -> None:
        """In reverse, only what may have happened, and all of it even when one of them fails."""
        together = self._saga.parallel_compensation
        await self._each(self.progress.to_undo(), self._undo, together=together)
        if left := [f"{state.name}: {state.reason}" for state in self.progress.to_undo()]:
            self.note(Entry(Mark.STUCK, data=f"could not undo {'; '.join(left)}"))
        else:
            self.note(Entry(Mark.COMPENSATED))
        await self._write()

    async def _undo(self, state: StepState) -> Entry:
        step = self._saga.step(state.name)
        assert step.undo is not None, "only a saga that has not passed its pivot turns back"
        command = commands.undo(self.progress.id, step.name, step.undo, state.body)
        self.note(Entry(Mark.UNDOING, step.name))
        await self._write([command])
        result = await self._attempts.carry_out(command, self._saga.undo_retry, step.timeout)
        if result.outcome is Outcome.DONE:
            return Entry(Mark.UNDONE, step.name)
        return Entry(Mark.UNDO_FAILED, step.name, result.reason)

    # Both

    async def _each(
        self, items: Sequence[Item], work: Callable[[Item], Awaitable[Entry]], *, together: bool
    ) -> None:
        """Note the result of each piece of work; all have settled when this returns."""
        if not together or len(items) < 2:
            for item in items:
                self.note(await work(item))
            return

        async def one(item: Item) -> None:
            self.note(await work(item))
            await self._write()

        try:
            async with anyio.create_task_group() as group:
                for item in items:
                    group.start_soon(one, item)
        except ExceptionGroup as errors:  # of the log: no work raises
            raise errors.exceptions[0] from None

    def _do(self, step: Step) -> Message:
        body = self.progress.steps[step.name].body
        return commands.do(self.progress.id, step.name, step.command, body)

    def note(self, entry: Entry) -> None:
        """This is so now; it will be in the log with the next transaction."""
        self.progress.apply(entry)
        self._pending.append(entry)

    async def _write(self, outgoing: Iterable[Message] = ()) -> None:
        """One transaction: what was noted and the commands that leave because of it."""
        letters = self._expecting(outgoing)
        async with self._writing:
            entries, self._pending = self._pending, []
            if entries or letters:
                await self._log.append(self.progress.id, self._number, entries, letters)
                self._number += len(entries)

    def _expecting(self, outgoing: Iterable[Message]) -> list[Message]:
        """What goes into the outbox, if there is one; the answers are awaited from before it leaves."""
        if self._outbox is None:
            return []
        letters = list(outgoing)
        for command in letters:
            self._outbox.expect(command)
            self._expected.add(command.id)
        return letters

    async def _post(self, command: Message) -> None:
        await self._write([command])

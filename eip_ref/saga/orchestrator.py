"""Saga, orchestrated: one coordinator tells each participant what to do, and keeps a log of it.

The promise: a saga that was begun ends completed, compensated or stuck, and never two of them,
whenever the coordinator dies. Whatever it must know to go on is in the log, and nowhere else.

The rule of all of it: the intent is in the log before the command leaves, and the result after it
came. The result of one step and the intent of the next share a transaction; a crash before it makes
the step one without a result, and that is repeated under the same key.

Every attempt carries the same command with the same id, which is its idempotency key. So one in doubt
may be repeated, and whichever attempt is answered, the answer is that of the one operation. That it is
done, or refused for a reason of the business, is the participant's word, and ends the attempts. How
well the way there worked does not: `NotDone` is definite; whatever else is raised, and a timeout too,
leaves the command in doubt until an answer: it may have happened, or may yet.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import anyio
import anyio.lowlevel

from .. import values
from ..cqrs import Outbox
from ..message import Message
from ..request_reply import NotDone
from ..signal import Signal
from ..storage import Transaction
from ..trace import Kind, record
from .definition import Saga, Step, StepKind, key_part
from .participant import Refused, action, compensation, question, role
from .state import LogRecord, Phase, RecordType, SagaLog, SagaState, StepState, TakenOver

Item = TypeVar("Item")

Execute = Callable[[Message], Awaitable[Any] | Any]
"""Brings a command to its participant, and returns the answer. Raises `Refused` for a no of the
participant, `NotDone` when the command certainly was not executed, anything else when in doubt."""


class Orchestrator:
    """Runs the sagas of one definition.

    `execute(command)`, plain or `async`, has a command executed and returns the answer. With an `Outbox`
    in its place each command goes into that, in the transaction of its intent; a `Relay` sends it from
    there, and the answers are handed to `receive`. The relay's claim should be shorter than the attempts
    of a step take together: that long a relay that died keeps its sagas waiting.
    """

    def __init__(self, saga: Saga, log: SagaLog, execute: Execute | Outbox) -> None:
        if isinstance(execute, Outbox) and execute.store is not log.store:
            raise ValueError("the outbox must be in the store of the log: they share a transaction")
        self.late = 0  #: answers for which nobody waited any more
        self._saga = saga
        self._log = log
        self._execute = execute
        self._runs: dict[str, list[Run]] = {}  # by saga

    async def run(self, identity: str, data: Any = None) -> SagaState:
        """Run a saga to its end, and return how it ended. `data` are JSON values.

        The id names the saga: one that is known goes on from where it is, and one that has ended is
        not moved. Raises ValueError for an id that belongs to something else, TypeError for data that
        are not JSON, and `TakenOver` when another orchestrator runs the same saga meanwhile.
        """
        key_part("a saga's id", identity)
        values.check_json(f"the data of saga {identity}", data)
        data = values.copied(data)
        state = self._read(identity)
        if state.phase is None:
            deadline = None if self._saga.timeout == math.inf else self._log.now() + self._saga.timeout
            begun = {"name": self._saga.name, "data": data, "deadline": deadline}
            return await self._finish(state, LogRecord(RecordType.BEGUN, data=begun))
        if (state.name, state.data) != (self._saga.name, data):
            raise ValueError(f"{identity} is a saga already: {state.name!r} with {state.data!r}")
        return await self._finish(state)

    async def recover(self) -> list[SagaState]:
        """Take every saga that was begun and has not ended to its end: for the time after a restart.

        Sagas that another orchestrator turns out to run are left to it. What a log raises comes out
        when the others have ended.
        """
        ended: list[SagaState] = []
        errors: list[Exception] = []

        async def one(identity: str) -> None:
            try:
                ended.append(await self._finish(self._read(identity)))
            except TakenOver:
                pass
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for identity in self._log.find(Phase.RUNNING, Phase.COMPENSATING, name=self._saga.name):
                group.start_soon(one, identity)
        if errors:
            raise errors[0]
        return ended

    def stuck(self) -> list[SagaState]:
        """The sagas that are stuck, with the reason: somebody must look at them, and resume them."""
        return [self._read(identity) for identity in self._log.find(Phase.STUCK, name=self._saga.name)]

    async def resume(self, identity: str) -> SagaState:
        """Try again what a stuck saga could not do; it may be stuck again. Raises ValueError for others."""
        state = self._read(identity)
        if state.phase is not Phase.STUCK or state.name != self._saga.name:
            raise ValueError(f"{identity} is no stuck saga here, but {state.phase or 'not known'}")
        return await self._finish(state, LogRecord(RecordType.RESUMED, data=str(state.stuck_from)))

    async def receive(self, answer: Message) -> None:
        """Take the answer to a command of the outbox; one for which nobody waits is dropped and counted."""
        await anyio.lowlevel.checkpoint()
        taken = [run.offer(answer) for run in self._runs.get(answer.correlation_id or "", ())]
        if not any(taken):
            self.late += 1
            name = self._saga.name
            record(Kind.DROPPED, name, answer.id, who=name, reason="nobody waits for this answer")

    def _read(self, identity: str) -> SagaState:
        return SagaState.of(identity, self._log.read(identity))

    def _run(self, state: SagaState) -> Run:
        return Run(self._saga, self._log, self._execute, state)

    async def _finish(self, state: SagaState, *records: LogRecord) -> SagaState:
        run = self._run(state)
        for each in records:
            run.note(each)
        runs = self._runs.setdefault(state.id, [])
        runs.append(run)
        try:
            return await run.finish()
        finally:
            runs.remove(run)
            if not runs:
                self._runs.pop(state.id, None)


class Run:
    """One saga on its way, from wherever its log stands to one of its ends.

    Forward step by step, and back when it cannot go on.
    """

    def __init__(self, saga: Saga, log: SagaLog, execute: Execute | Outbox, state: SagaState) -> None:
        self.state = state
        self._saga = saga
        self._log = log
        self._outbox = execute if isinstance(execute, Outbox) else None
        self._execute = self._answer if isinstance(execute, Outbox) else execute
        self._pending: list[LogRecord] = []
        self._writing = anyio.Lock(fast_acquire=True)
        self._number = state.number
        self._sent: set[str] = set()  # the commands in the outbox, or sent from there
        self._answers: dict[str, Any] = {}  # to these
        self._answered = Signal()

    async def finish(self) -> SagaState:
        """Go on until the saga is completed, compensated or stuck.

        Cancelled on the way forward the saga stays as it is in the log, to be recovered. The way
        back is shielded: it takes no longer than its attempts may.
        """
        if self.state.phase is Phase.RUNNING:
            await self._forward()
        if self.state.phase is Phase.COMPENSATING:
            with anyio.CancelScope(shield=True):
                await self._compensate()
        return self.state

    def note(self, record: LogRecord) -> None:
        """This is so now; it will be in the log with the next transaction."""
        self.state.apply(record)
        self._pending.append(record)

    def offer(self, answer: Message) -> bool:
        """Take the first answer to a command of this saga, in any of its attempts; true if it was that.

        One that cannot be read is no answer, and the next one counts.
        """
        command = answer.causation_id or ""
        if command not in self._sent or command in self._answers:
            return False
        self._answers[command] = answer.body
        self._answered.notify_all()
        return True

    # Forward

    async def _forward(self) -> None:
        deadline = math.inf
        if self.state.deadline is not None:
            deadline = anyio.current_time() + self.state.deadline - self._log.now()
        for stage in self._saga.stages:
            if self._may_turn_back(stage) and anyio.current_time() >= deadline:
                reason = f"not done within {self._saga.timeout:g} s"
                self.note(LogRecord(RecordType.COMPENSATING, data=reason))
                return
            if (failure := await self._stage(stage, deadline)) is not None:
                self.note(failure)
                break
        else:
            self.note(LogRecord(RecordType.COMPLETED))
        if self.state.over:
            await self._write()

    def _may_turn_back(self, stage: Sequence[Step]) -> bool:
        """Not once the pivot is begun, or what comes after it; and not over a stage that is done."""
        kinds = {self._saga.step(name).kind for name in self.state.steps}
        done = self.state.answers.keys()
        return kinds <= {StepKind.COMPENSATABLE} and any(step.name not in done for step in stage)

    async def _stage(self, stage: Sequence[Step], deadline: float) -> LogRecord | None:
        """Execute its steps until each has a result; those that have one are left alone.

        None when all are done, otherwise why the saga cannot go on.
        """
        fresh = [step for step in stage if step.name not in self.state.steps]
        unsettled = [s for s in stage if s in fresh or self.state.steps[s.name].result is None]
        if (failure := self._intend(fresh)) is not None:
            return failure
        if fresh:
            await self._write(self._action(step) for step in fresh)

        async def settle(step: Step) -> LogRecord:
            until = deadline if step.kind is StepKind.COMPENSATABLE else math.inf
            return await self._settle(step, step in fresh, until)

        await self._each(unsettled, settle, together=True)
        for step in stage:
            state = self.state.steps[step.name]
            if state.result is not RecordType.DONE:
                return self._cannot_go_on(step, state.reason, begun=state.may_have_happened)
        return None

    def _intend(self, steps: Sequence[Step]) -> LogRecord | None:
        """Note the intents of a stage, all or none. None, or why the saga cannot go on."""
        intents: list[LogRecord] = []
        for step in steps:
            try:
                data, answers = values.copied(self.state.data), values.copied(self.state.answers)
                body = values.copied(step.body(data, answers)) if step.body else data
                values.check_json("it", body)
            except Exception as error:  # of the definition's own code
                reason = f"the body of its command cannot be made: {_in_words(error)}"
                return self._cannot_go_on(step, reason, begun=False)
            intents.append(LogRecord(RecordType.INTENT, step.name, body))
        for intent in intents:
            self.note(intent)
        return None

    async def _settle(self, step: Step, fresh: bool, until: float) -> LogRecord:
        """The result of a step. One without a result is asked for, or repeated with the same key."""
        if not fresh and step.ask and (known := await self._ask(step, until)) is not None:
            return known
        doubt = "" if fresh else "it was begun before, and its result is not in the log"
        return await self._command(step, self._action(step), until=until, sent=fresh, doubt=doubt)

    async def _ask(self, step: Step, until: float) -> LogRecord | None:
        """The participant's word, or None when it does not know, or cannot be asked."""
        command = question(self.state.id, step.name, step.command)
        result = await self._command(step, command, until=until, sent=False)
        match result.data:
            case {"state": "done", "answer": answer}:
                return LogRecord(RecordType.DONE, step.name, answer)
            case {"state": "refused" | "revoked" as state}:
                return LogRecord(RecordType.REFUSED, step.name, f"asked, the participant said: {state}")
        return None

    def _cannot_go_on(self, step: Step, reason: str, *, begun: bool) -> LogRecord:
        """Before the pivot there is a way back. In doubt about the pivot there is none, nor after it."""
        stuck = step.kind is StepKind.RETRIABLE or (step.kind is StepKind.PIVOT and begun)
        type_ = RecordType.STUCK if stuck else RecordType.COMPENSATING
        return LogRecord(type_, data=f"{step.name}: {reason}")

    # Back

    async def _compensate(self) -> None:
        """In reverse, only what may have happened, and all of it even when one of them fails."""
        together = self._saga.parallel_compensation
        await self._each(self.state.to_undo(), self._undo, together=together)
        if left := [f"{state.name}: {state.reason}" for state in self.state.to_undo()]:
            self.note(LogRecord(RecordType.STUCK, data=f"could not undo {'; '.join(left)}"))
        else:
            self.note(LogRecord(RecordType.COMPENSATED))
        await self._write()

    async def _undo(self, state: StepState) -> LogRecord:
        step = self._saga.step(state.name)
        assert step.undo is not None, "only a saga that has not passed its pivot turns back"
        command = compensation(self.state.id, step.name, step.undo, state.body)
        self.note(LogRecord(RecordType.UNDOING, step.name))
        await self._write([command])
        result = await self._command(step, command)
        if result.type is RecordType.DONE:
            return LogRecord(RecordType.UNDONE, step.name)
        return LogRecord(RecordType.UNDO_FAILED, step.name, result.data)

    # A command

    async def _command(
        self, step: Step, command: Message, *, until: float = math.inf, sent: bool = True, doubt: str = ""
    ) -> LogRecord:
        """Try until there is an answer, as often as may be, and not beyond `until`.

        Returns done, refused, not done or doubt, with the answer or the reason. `sent`: the first attempt
        is on its way already. `doubt`: why an earlier attempt may have been executed.
        """
        retry = step.retry or self._saga.retry
        if role(command) == "compensation":
            retry = self._saga.undo_retry
        result = LogRecord(RecordType.NOT_DONE, step.name, "")
        for number in range(1, retry.attempts + 1):
            if number > 1:
                delay = retry.backoff.seconds(number - 1)
                if anyio.current_time() + delay >= until:
                    break
                await anyio.sleep(delay)
            if number > 1 or not sent:
                await self._write([command])
            end = min(anyio.current_time() + step.timeout, until)
            result = await self._attempt(command, number, end)
            if result.type in (RecordType.DONE, RecordType.REFUSED):
                return result
            doubt = doubt or (result.data if result.type is RecordType.DOUBT else "")
        return LogRecord(RecordType.DOUBT, step.name, doubt) if doubt else result

    async def _attempt(self, command: Message, number: int, until: float) -> LogRecord:
        self._tell(Kind.STARTED, command, attempt=number)
        begun = anyio.current_time()
        try:
            with anyio.CancelScope(deadline=until):
                return self._done(command, await values.finished(self._execute(command.copy())))
        except Refused as refusal:
            return self._failed(command, RecordType.REFUSED, str(refusal))
        except NotDone as error:
            return self._failed(command, RecordType.NOT_DONE, _in_words(error))
        except Exception as error:  # whatever it is, it may have happened
            return self._failed(command, RecordType.DOUBT, _in_words(error))
        except anyio.get_cancelled_exc_class():
            self._tell(Kind.CANCELLED, command)
            raise
        seconds = anyio.current_time() - begun
        self._tell(Kind.TIMED_OUT, command, after=seconds)
        return LogRecord(RecordType.DOUBT, command.headers["step"], f"no answer within {seconds:g} s")

    def _done(self, command: Message, answer: Any) -> LogRecord:
        """Record that it is done. Raises TypeError for an answer that the log cannot keep."""
        what = role(command)
        if what != "compensation":  # of which the log keeps no answer
            values.check_json(f"the answer to {command.id}", answer)
            answer = values.copied(answer)
        self._tell(Kind.FINISHED, command, **({"said": answer["state"]} if what == "question" else {}))
        return LogRecord(RecordType.DONE, command.headers["step"], answer)

    def _failed(self, command: Message, type_: RecordType, reason: str) -> LogRecord:
        self._tell(Kind.FAILED, command, error=reason, outcome=str(type_))
        return LogRecord(type_, command.headers["step"], reason)

    def _tell(self, kind: Kind, command: Message, **facts: Any) -> None:
        saga, step = command.correlation_id, command.headers["step"]
        record(kind, self._saga.name, command.id, saga=saga, step=step, role=role(command), **facts)

    # Both

    async def _each(
        self, items: Sequence[Item], work: Callable[[Item], Awaitable[LogRecord]], *, together: bool
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

    def _action(self, step: Step) -> Message:
        return action(self.state.id, step.name, step.command, self.state.steps[step.name].body)

    async def _write(self, commands: Iterable[Message] = ()) -> None:
        """One transaction: what was noted, and the commands that leave because of it."""
        records, self._pending = self._pending, []
        outgoing = [] if self._outbox is None else [*commands]
        if not records and not outgoing:
            return
        self._sent.update(command.id for command in outgoing)  # before they leave: an answer may be quick

        def write(transaction: Transaction) -> None:
            self._log.append(self.state.id, self._number, records)
            for command in outgoing:
                self._outbox.add(transaction, command)  # type: ignore[union-attr]

        async with self._writing:  # in the order in which it was noted, also while a lock is waited for
            await self._log.store.run(write)
            self._number += len(records)
        await anyio.lowlevel.cancel_shielded_checkpoint()  # it is written: say so, come what may

    async def _answer(self, command: Message) -> Any:
        """Wait for the answer to a command that is in the outbox. Raises `Refused`."""
        while command.id not in self._answers:
            await self._answered.wait()
        match self._answers[command.id]:
            case {"refused": reason}:
                raise Refused(reason)
            case {"done": value}:
                return value
            case garbled:
                del self._answers[command.id]  # that to the next attempt may be one
                raise ValueError(f"this is no answer of a participant: {garbled!r}")


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"

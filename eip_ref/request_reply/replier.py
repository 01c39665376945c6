"""The replier: carries out requests while they are wanted, and answers each operation once."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from copy import deepcopy
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from ..message import Message
from ..trace import Kind, acting, record, whoami
from .answers import Answers, Operation
from .envelope import Answer, Outcome, reply_id
from .errors import Busy, DeadlinePassed, Indefinite, NoResponder, NotDone, RemoteErrors
from .requestor import Send

__all__ = ["Handle", "Replier"]

Handle = Callable[[Message], Awaitable[Any]]


class Replier:
    """Answers requests with what `handle(request)` returns: `async with Replier(…) as replier: …`.

    At most `concurrency` handlers run at a time and `backlog` more requests wait for one; others are
    refused as `Busy`. A request whose deadline has passed before its handler begins is refused; one
    that has begun is finished, so that a later attempt can have its answer. The last `remember`
    answers are kept. Leaving the block refuses what has not begun and gives the rest `grace` seconds.
    """

    def __init__(
        self,
        handle: Handle,
        send: Send | None = None,
        *,
        name: str = "",
        errors: RemoteErrors | None = None,
        concurrency: int = 10,
        backlog: int = 100,
        remember: int = 10_000,
        grace: float = 5.0,
    ) -> None:
        if concurrency < 1 or backlog < 0:
            raise ValueError(
                f"concurrency must be at least 1 and backlog at least 0, not {concurrency} and {backlog}"
            )
        self.name = name or whoami() or "replier"
        self.unsent = 0  #: replies that the way back did not take
        self._handle = handle
        self._send = send
        self._errors = errors or RemoteErrors()
        self._answers = Answers(remember)
        self._slots = anyio.Semaphore(concurrency, fast_acquire=True)
        self._most = concurrency + backlog
        self._pending = 0  # attempts that run or wait
        # One more than may run and wait: to say no to it.
        self._hands = anyio.Semaphore(concurrency + backlog + 1, fast_acquire=True)
        self._in_backlog: dict[anyio.CancelScope, None] = {}  # in the order in which they came
        self.grace = grace
        self._open = False
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        self._group = await anyio.create_task_group().__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.close()
        self._group.cancel_scope.deadline = anyio.current_time() + self.grace
        return await self._group.__aexit__(kind, error, trace)

    def close(self) -> None:
        """Begin nothing more: requests that come or wait are refused as `NoResponder`. Idempotent."""
        self._open = False
        for wait in self._in_backlog:
            wait.cancel()

    # From the way there to the way back

    async def receive(self, request: Message) -> None:
        """Take a request and return; the reply goes to `send`.

        While all hands are full of replies that the way back does not take, it waits, so that the way
        there feels it. Raises `NoResponder` after `close`.
        """
        if request.reply_to is None or request.correlation_id is None:
            record(Kind.REFUSED, self.name, request.id, who=self.name, reason="no return address")
            return
        await self._hands.acquire()
        if not self._open:
            self._hands.release()
            raise NoResponder(f"{self.name} is closed and answers nobody")
        with acting(self.name):
            self._group.start_soon(self._serve, request, name=f"{self.name} for {request.id}")

    async def _serve(self, request: Message) -> None:
        try:
            reply = await self.answer(request)
            if reply is not None and self._send is not None:
                await self._send_back(reply, self._send)
        finally:
            self._hands.release()

    async def _send_back(self, reply: Message, send: Send) -> None:
        try:
            await send(reply)
        except Exception as error:  # whatever is wrong on the way back, others must be answered
            self.unsent += 1
            reason = f"the way back refused it: {error!r}"
            record(Kind.DROPPED, self.name, reply.id, who=self.name, reason=reason)

    # One answer

    async def answer(self, request: Message) -> Message | None:
        """The reply to this attempt; None for a copy of one that is being worked on: one reply is enough."""
        with acting(self.name):
            try:
                answer = await self._first_answer(request)
            except NotDone as refusal:
                self._answers.refuse(request, refusal)
                answer = Answer.refused(refusal)
                self._record(Kind.REFUSED, request, reason=str(refusal))
            return None if answer is None else answer.to(request, self.name)

    async def _first_answer(self, request: Message) -> Answer | None:
        """The answer that the operation has, will have, or now gets. Raises `NotDone` to refuse."""
        while (operation := self._answers.find(request)) is not None:
            if operation.answer is not None:
                self._record(Kind.DUPLICATE, request)
                return operation.answer
            if request.id in operation.attempts:
                record(Kind.DUPLICATE, self.name, request.id, who=self.name)
                return None
            await self._join(operation, request)
        self._must_be_wanted(request)
        self._must_have_room()
        return await self._begin(request)

    async def _join(self, operation: Operation, request: Message) -> None:
        """Wait until the attempt that runs is over."""
        self._must_have_room()
        operation.attempts.add(request.id)
        self._pending += 1
        try:
            await operation.over.wait()
        finally:
            self._pending -= 1
            operation.attempts.discard(request.id)

    async def _begin(self, request: Message) -> Answer:
        operation = self._answers.begin(request)
        self._pending += 1
        record(Kind.ACCEPTED, self.name, request.id, who=self.name)
        try:
            await self._slot(request)
            try:
                answer = await self._work(request)
            finally:
                self._slots.release()
        except BaseException:
            self._answers.give_up(operation)
            raise
        finally:
            self._pending -= 1
        if answer.outcome is Outcome.IN_DOUBT:  # a later attempt may find out
            self._answers.give_up(operation)
        else:
            self._answers.finish(operation, answer)
        return answer

    async def _slot(self, request: Message) -> None:
        """Take the slot of a handler that is free, now or later. Refuses what is not wanted by then."""
        free = await self._free_slot(request)
        try:
            self._must_be_wanted(request)
            if not free:  # an alarm of the real clock may be a moment early
                raise _too_late(request)
        except NotDone:
            if free:
                self._slots.release()
            raise

    async def _free_slot(self, request: Message) -> bool:
        """Take a slot; False when the deadline passes or this closes before there is one."""
        try:
            self._slots.acquire_nowait()
            return True
        except anyio.WouldBlock:
            pass
        free = False
        with anyio.CancelScope(deadline=_deadline(request)) as wait:
            self._in_backlog[wait] = None
            try:
                await self._slots.acquire()
                free = True
            finally:
                del self._in_backlog[wait]
        return free

    async def _work(self, request: Message) -> Answer:
        record(Kind.DELIVERED, self.name, request.id, who=self.name)
        self._record(Kind.STARTED, request)
        try:
            body = deepcopy(await self._handle(request))
        except anyio.get_cancelled_exc_class():
            record(Kind.CANCELLED, self.name, request.id, who=self.name)
            raise
        except Indefinite as error:
            self._record(Kind.FAILED, request, error=repr(error))
            return Answer(Outcome.IN_DOUBT, [str(error)])
        except Exception as error:
            self._record(Kind.FAILED, request, error=repr(error))
            return Answer.failed(error, self._errors)
        self._record(Kind.FINISHED, request)
        return Answer(Outcome.ANSWER, body)

    def _must_be_wanted(self, request: Message) -> None:
        if not self._open:
            raise NoResponder(f"{self.name} is closed and begins nothing more")
        if anyio.current_time() >= _deadline(request):  # at the very instant it has passed
            raise _too_late(request)

    def _must_have_room(self) -> None:
        if self._pending >= self._most:
            raise Busy(f"{self.name} has {self._most} requests in hand and may not have more")

    def _record(self, kind: Kind, request: Message, **data: object) -> None:
        record(kind, self.name, request.id, who=self.name, reply=reply_id(request, self.name), **data)


def _deadline(request: Message) -> float:
    return math.inf if request.deadline is None else request.deadline


def _too_late(request: Message) -> DeadlinePassed:
    return DeadlinePassed(f"the deadline of {request.label} had passed before the work began")

"""The replier: carries out requests while they are wanted, and answers each operation once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import anyio
import anyio.abc

from .. import values
from ..bounded import LastN
from ..message import Handler, Message
from ..tasks import background
from ..trace import Kind, acting, record, whoami, working
from .envelope import TO, ReplyContent, ReplyStatus, idempotency_key, reply_id
from .errors import (
    Busy,
    DeadlinePassed,
    Indefinite,
    KeyReused,
    NoResponder,
    NotDone,
    RemoteErrors,
    UnwritableAnswer,
)


@dataclass(eq=False, slots=True)
class Operation:
    """One operation: running, answered, or given up."""

    key: str
    asked: tuple[str, Any]  #: what for: the request's type and body
    attempts: set[str] = field(default_factory=set)  #: those that wait for it while it runs
    answer: ReplyContent | None = None
    over: anyio.Event | None = None  #: made by the first who waits for it


class IdempotencyCache:
    """The first answer to each of the last `remember` operations, so that a repetition gets the same.

    An operation is known by its idempotency key. While its first attempt runs, later ones wait for the
    same answer. When that attempt ends without an answer, nothing is remembered of it. An operation that
    has been evicted is carried out again when it is asked for.

    A key names an operation among all who ask: whoever gives the same key, and asks for the same, gets the
    first answer, since a client that was restarted is another one and must still be recognised. So a key
    must be unique among all clients. Where they must not be able to get each other's answers, put the
    authenticated name of the client in front of its key before the request comes here.
    """

    def __init__(self, remember: int) -> None:
        values.count("remember", remember)
        self._running: dict[str, Operation] = {}
        self._answered = LastN[str, Operation](remember)
        self._refused = LastN[str, tuple[type[NotDone], str]](remember)  # by attempt

    def __len__(self) -> int:
        """The number of finished operations that are remembered."""
        return len(self._answered)

    def find(self, key: str, request: Message) -> Operation | None:
        """The operation with this key, which the attempt is for, if it is known.

        Raises `KeyReused` when the key belongs to something else, and the refusal of this very
        attempt again: who was told "not done" must be able to rely on it when a copy comes.
        """
        if request.id in self._refused:
            kind, words = self._refused[request.id]
            raise kind(words)
        operation = self._running.get(key) or self._answered.get(key)
        if operation is not None and operation.asked != (request.type, request.body):
            raise KeyReused(f"key {key} belongs to an operation that asked for something else")
        return operation

    def begin(self, key: str, request: Message) -> Operation:
        """From now on this operation runs."""
        operation = Operation(key, (request.type, values.copied(request.body)), {request.id})
        self._running[key] = operation
        return operation

    def end(self, operation: Operation, answer: ReplyContent | None) -> None:
        """It runs no more. Its answer is that of every later attempt too, unless it is none or in doubt."""
        del self._running[operation.key]
        if answer is not None and answer.status is not ReplyStatus.IN_DOUBT:
            operation.answer = answer
            self._answered[operation.key] = operation
        if operation.over is not None:
            operation.over.set()

    def refuse(self, request: Message, refusal: NotDone) -> None:
        """This attempt was told that it is not carried out."""
        self._refused[request.id] = type(refusal), str(refusal)


class Replier:
    """Answers requests with what `handle(request)` returns: `async with Replier(…) as replier: …`.

    At most `concurrency` handlers run at a time and `backlog` more requests wait for one; others are
    refused as `Busy`. A request whose deadline has passed before its handler begins is refused; one
    that has begun is finished, so that a later attempt can have its answer. The last `remember` answers
    are kept. Leaving the block refuses what has not begun and gives the rest `grace` seconds.

    A handler sees the deadline of the attempt that came first, to be passed on. With `budget` it sees one
    that many seconds after its work began: the answer may be for attempts that wait longer than the first.

    `send` takes every reply, or there is one way back for each *Return Address*, by its name. A reply
    that no way back takes is dropped and counted in `unsent`.
    """

    def __init__(
        self,
        handle: Handler,
        send: Handler | Mapping[str, Handler] | None = None,
        *,
        name: str = "",
        errors: RemoteErrors | None = None,
        concurrency: int = 10,
        backlog: int = 100,
        remember: int = 10_000,
        grace: float = 5.0,
        budget: float | None = None,
    ) -> None:
        values.count("concurrency", concurrency)
        values.count("backlog", backlog, minimum=0)
        self.name = values.name("name", name or whoami() or "replier")
        self.unsent = 0  #: replies that the way back did not take
        self._handle = handle
        self._send = send
        self._errors = errors or RemoteErrors()
        self._operations = IdempotencyCache(remember)
        self._slots = anyio.Semaphore(concurrency, fast_acquire=True)
        self._capacity = concurrency + backlog
        self._pending = 0  # attempts that run or wait
        # One more than may run and wait: to say no to it.
        self._hands = anyio.Semaphore(concurrency + backlog + 1, fast_acquire=True)
        self._in_backlog: dict[anyio.CancelScope, None] = {}  # in the order in which they came
        self._budget = None if budget is None else values.duration("budget", budget, zero=False)
        self.grace = values.duration("grace", grace, infinite=True)
        self._open = False
        self._stack: AsyncExitStack
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        if self._open:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        self._stack = AsyncExitStack()
        self._group = await self._stack.enter_async_context(background(grace=self.grace))
        self._open = True
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        self.close()
        return await self._stack.__aexit__(*error)

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
            await self.respond(request, self._send_back)
        finally:
            self._hands.release()

    async def _send_back(self, reply: Message) -> None:
        send = self._send
        if isinstance(send, Mapping):
            send = send[reply.headers[TO]]
        if send is not None:
            await values.finished(send(reply))

    async def respond(self, request: Message, send: Handler) -> None:
        """Answer this attempt over a way back of its own. A reply that it does not take is counted."""
        reply = await self.answer(request)
        if reply is None:
            return
        try:
            await values.finished(send(reply))
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
                self._operations.refuse(request, refusal)
                answer = ReplyContent(ReplyStatus.REFUSED, [str(refusal)], type(refusal).__name__)
                self._record(Kind.REFUSED, request, reason=str(refusal))
            return None if answer is None else answer.to(request, self.name)

    async def _first_answer(self, request: Message) -> ReplyContent | None:
        """The answer that the operation has, will have, or now gets. Raises `NotDone` to refuse."""
        key = idempotency_key(request)
        while (operation := self._operations.find(key, request)) is not None:
            if operation.answer is not None:
                self._record(Kind.DUPLICATE, request)
                return operation.answer
            if request.id in operation.attempts:
                record(Kind.DUPLICATE, self.name, request.id, who=self.name)
                return None
            await self._join(operation, request)
        self._must_be_wanted(request)
        self._must_have_room()
        return await self._begin(key, request)

    async def _join(self, operation: Operation, request: Message) -> None:
        """Wait until the attempt that runs is over."""
        self._must_have_room()
        operation.over = operation.over or anyio.Event()
        operation.attempts.add(request.id)
        self._pending += 1
        try:
            await operation.over.wait()
        finally:
            self._pending -= 1
            operation.attempts.discard(request.id)

    async def _begin(self, key: str, request: Message) -> ReplyContent:
        operation = self._operations.begin(key, request)
        self._pending += 1
        record(Kind.ACCEPTED, self.name, request.id, who=self.name)
        answer = None
        try:
            if self._slots.value:
                self._slots.acquire_nowait()
            else:
                await self._slot(request)
            try:
                answer = await self._work(request)
            finally:
                self._slots.release()
        finally:
            self._pending -= 1
            self._operations.end(operation, answer)
        return answer

    async def _slot(self, request: Message) -> None:
        """Wait for the slot of a handler and take it. Refuses what is not wanted by then."""
        with anyio.CancelScope(deadline=_deadline(request)) as wait:
            self._in_backlog[wait] = None
            try:
                await self._slots.acquire()
            finally:
                del self._in_backlog[wait]
        if wait.cancelled_caught:
            self._must_be_wanted(request)
            raise _too_late(request)  # an alarm of the real clock may be a moment early
        try:
            self._must_be_wanted(request)
        except NotDone:
            self._slots.release()
            raise

    async def _work(self, request: Message) -> ReplyContent:
        record(Kind.DELIVERED, self.name, request.id)
        try:
            with working(self.name, request.id, reply=reply_id(request, self.name)):
                if self._budget is not None:
                    request = request.copy(deadline=anyio.current_time() + self._budget)
                body = await values.finished(self._handle(request))
                # what no wire can carry is refused on every way, and is no doubt
                values.check_json(f"the answer to {request.label}", body, UnwritableAnswer)
        except Indefinite as error:
            return ReplyContent(ReplyStatus.IN_DOUBT, [str(error)])
        except Exception as error:
            name, args = self._errors.pack(error)
            return ReplyContent(ReplyStatus.ERROR, args, name)
        return ReplyContent(ReplyStatus.ANSWER, values.copied(body))

    def _must_be_wanted(self, request: Message) -> None:
        if not self._open:
            raise NoResponder(f"{self.name} is closed and begins nothing more")
        if anyio.current_time() >= _deadline(request):  # at the very instant it has passed
            raise _too_late(request)

    def _must_have_room(self) -> None:
        if self._pending >= self._capacity:
            raise Busy(f"{self.name} has {self._capacity} requests in hand and may not have more")

    def _record(self, kind: Kind, request: Message, **data: object) -> None:
        record(kind, self.name, request.id, who=self.name, reply=reply_id(request, self.name), **data)


def _deadline(request: Message) -> float:
    return math.inf if request.deadline is None else request.deadline


def _too_late(request: Message) -> DeadlinePassed:
    return DeadlinePassed(f"the deadline of {request.label} had passed before the work began")

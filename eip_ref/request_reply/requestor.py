"""The requestor: asks, waits for the answer that belongs to its question, and gives up in time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self

import anyio
import anyio.lowlevel

from .. import values
from ..bounded import LastN
from ..message import Handler, Message
from ..signal import on_death
from ..trace import Kind, acting, listening, new_id, record, whoami
from .envelope import KEY, outcome
from .errors import (
    ClosedWhileWaiting,
    DeadlinePassed,
    NotDelivered,
    RemoteErrors,
    RequestError,
    RequestorClosed,
    TimedOut,
    TooManyWaiting,
    why_not_sent,
)

MAX_KEY = 255  #: signs of an idempotency key, so that a header can hold it on every wire


@dataclass(eq=False, slots=True)
class PendingReply:
    """One attempt that waits for its replies."""

    attempt: Message
    expected_replies: int
    replies: dict[str, Message] = field(default_factory=dict)  #: by the id of the reply
    end: str = ""  #: answered, timed out, closed, cancelled, died or failed; once, and for good
    ended: anyio.Event | None = None  #: made when the answer is not there as soon as it was sent
    scope: anyio.CancelScope | None = None  #: of its sending and waiting; cut short by `close`
    refusal: RequestError | None = None  #: of the way there, which told it after it had been sent

    @property
    def deadline(self) -> float:
        return math.inf if self.attempt.deadline is None else self.attempt.deadline


class PendingReplies:
    """The attempts that wait, by correlation id: at most `max_waiting`.

    The ids of the replies to the last `remember` answered ones are kept, to know a duplicate by.
    """

    def __init__(self, name: str, *, max_waiting: int, remember: int) -> None:
        self.late = 0  #: replies that came when nobody waited for them any more
        self.duplicates = 0  #: replies that had come before
        self._name = name
        self._max_waiting = values.count("max_waiting", max_waiting)
        self._table: dict[str, PendingReply] = {}
        values.count("remember", remember)
        self._answered = LastN[str, frozenset[str]](remember)  # the ids of the replies, by attempt
        self._closed = False

    def __len__(self) -> int:
        """The number of attempts that wait now."""
        return len(self._table)

    def begin(self, attempt: Message, expected_replies: int) -> PendingReply:
        """From now on this attempt waits, until `end`. Raises `TooManyWaiting` and `RequestorClosed`."""
        if self._closed:
            raise RequestorClosed(f"{self._name} is closed and asks for nothing more")
        if len(self._table) >= self._max_waiting:
            raise TooManyWaiting(
                f"{self._name} waits for {self._max_waiting} answers and may not wait for more"
            )
        pending = self._table[attempt.id] = PendingReply(attempt, expected_replies)
        if listening():
            facts = {"until": pending.deadline, "expected_replies": expected_replies}
            self._tell(attempt, was="", now="waiting", **facts)
        return pending

    def offer(self, reply: Message) -> None:
        """Give the reply to the attempt that it answers; drop and count one that nobody waits for."""
        record(Kind.ACCEPTED, self._name, reply.id, who=self._name, correlation=reply.correlation_id)
        pending = self._table.get(reply.correlation_id or "")
        if reply.id in (pending.replies if pending else self._answered.get(reply.correlation_id or "", ())):
            self.duplicates += 1
            record(Kind.DROPPED, self._name, reply.id, who=self._name, reason="duplicate")
        elif pending is None or anyio.current_time() >= pending.deadline:  # at the very instant it is over
            self.late += 1
            record(Kind.DROPPED, self._name, reply.id, who=self._name, reason="late")
        else:
            record(Kind.DELIVERED, self._name, reply.id, who=self._name, request=pending.attempt.id)
            pending.replies[reply.id] = reply.copy()
            if len(pending.replies) == pending.expected_replies:
                self.end(pending, "answered")

    def refuse(self, attempt_id: str, refusal: RequestError) -> None:
        """End the waiting of this attempt, if it still waits, with the error."""
        pending = self._table.get(attempt_id)
        if pending is not None:
            pending.refusal = refusal
            self.end(pending, "failed")

    def end(self, pending: PendingReply, how: str) -> None:
        """End the waiting of one attempt and wake it. Only the first end counts."""
        if pending.end:
            return
        pending.end = how
        del self._table[pending.attempt.id]
        if pending.replies:
            self._answered[pending.attempt.id] = frozenset(pending.replies)
        if listening():
            self._tell(pending.attempt, was="waiting", now=how, replies=len(pending.replies))
        if pending.ended is not None:
            pending.ended.set()

    def _tell(self, attempt: Message, **facts: Any) -> None:
        record(Kind.STATE, self._name, attempt.id, who=self._name, **facts)

    def close(self) -> None:
        """End the waiting of all attempts and begin no more. Idempotent."""
        self._closed = True
        for pending in [*self._table.values()]:
            self.end(pending, "closed")
            if pending.scope is not None:
                pending.scope.cancel()


class Requestor:
    """Asks over `send`, and takes the replies that are handed to `receive`.

    It is a *Messaging Gateway*: who asks sees no message go. Many tasks may ask at the same time: their
    requests travel together, and the correlation id tells whose reply it is. At most `max_waiting` wait.
    `name` is the return address.

    The correlation id of a request is its own id, an *attempt*, and not that of a conversation: to
    follow a conversation over several requests, follow the causation ids, which `caused_by` sets.
    """

    _send_waits = False  # True where `send` always waits for the answer, and so lets others have a turn

    def __init__(
        self,
        send: Handler,
        *,
        name: str = "",
        errors: RemoteErrors | None = None,
        max_waiting: int = 1_000,
        remember: int = 10_000,
    ) -> None:
        self.name = values.name("name", name or whoami() or "requestor")
        self._send = send
        self._errors = errors or RemoteErrors()
        self._pending = PendingReplies(self.name, max_waiting=max_waiting, remember=remember)

    def __enter__(self) -> Self:
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for an answer now."""
        return len(self._pending)

    @property
    def late(self) -> int:
        """The number of replies that came too late and were dropped."""
        return self._pending.late

    @property
    def duplicates(self) -> int:
        """The number of replies that had come before and were dropped."""
        return self._pending.duplicates

    # Asking

    async def request(
        self,
        body: Any = None,
        *,
        type: str = "",
        key: str | None = None,
        timeout: float = math.inf,
        deadline: float = math.inf,
        idempotency_key: str | None = None,
        caused_by: str | None = None,
    ) -> Message:
        """The reply to one attempt, which ends `timeout` seconds from now or at `deadline`.

        It also ends with the cancel scopes around it: the earliest of all is what the replier is
        told. Raises ValueError when there is no end at all; a `NotDone` when nothing was carried
        out; an `Indefinite` when it may have been; and what the replier raised, as the registered
        type or a `RemoteError`.
        """
        attempt = self._attempt(body, type, key, timeout, deadline, caused_by, idempotency_key)
        pending = await self._ask(attempt, expected_replies=1)
        if pending.end != "answered":
            after = pending.deadline - attempt.created
            raise TimedOut(
                f"no answer to {attempt.label} after {after:g} s: it may have happened, or may yet"
            )
        (reply,) = pending.replies.values()
        told = outcome(reply, self._errors)
        if isinstance(told, Exception):
            raise told
        return told

    async def scatter(
        self,
        body: Any = None,
        *,
        expected_replies: int,
        type: str = "",
        key: str | None = None,
        timeout: float = math.inf,
        deadline: float = math.inf,
        caused_by: str | None = None,
    ) -> list[Message | Exception]:
        """The replies of several repliers, in the order in which they come: as many as are expected, or
        those that are there at the deadline.

        A replier that failed or refused is one of them, as the error that `request` would raise.
        Repliers that answer the same question need different names. Raises what `request` raises when
        it could not be sent or this is closed meanwhile.
        """
        values.count("expected_replies", expected_replies)
        attempt = self._attempt(body, type, key, timeout, deadline, caused_by)
        pending = await self._ask(attempt, expected_replies)
        return [outcome(reply, self._errors) for reply in pending.replies.values()]

    def _attempt(
        self,
        body: Any,
        type: str,
        key: str | None,
        timeout: float,
        deadline: float,
        caused_by: str | None,
        operation: str | None = None,
    ) -> Message:
        values.duration("timeout", timeout, infinite=True)
        now = anyio.current_time()
        end = max(now, min(deadline, now + timeout, anyio.current_effective_deadline()))
        if end == math.inf:
            raise ValueError("a request needs a timeout or a deadline, or it may wait for ever")
        if operation is not None and len(values.name("idempotency_key", operation)) > MAX_KEY:
            raise ValueError(f"idempotency_key must have at most {MAX_KEY} signs, not {len(operation)}")
        identity = new_id()
        return Message(
            body,
            type=type,
            key=key,
            id=identity,
            correlation_id=identity,
            causation_id=caused_by,
            reply_to=self.name,
            deadline=end,
            headers={} if operation is None else {KEY: operation},
            created=now,
        )

    async def _ask(self, attempt: Message, expected_replies: int) -> PendingReply:
        try:
            pending = self._begin(attempt, expected_replies)  # before sending: an answer may be quick
            with on_death(partial(self._pending.end, pending, "died")):
                try:
                    await self._until_it_ends(pending)
                except anyio.get_cancelled_exc_class():
                    self._pending.end(pending, "cancelled")
                    raise
                finally:
                    self._pending.end(pending, "failed")
            if pending.refusal is not None:
                raise pending.refusal
            if pending.end == "closed":
                raise ClosedWhileWaiting(
                    f"{self.name} was closed while {attempt.label} waited for its answer"
                )
        except Exception:
            await anyio.lowlevel.checkpoint()  # one turn for others, and who is cancelled hears just that
            raise
        if pending.ended is None and not self._send_waits:  # one turn for others, and the answer is kept
            await anyio.lowlevel.cancel_shielded_checkpoint()
        return pending

    def _begin(self, attempt: Message, expected_replies: int) -> PendingReply:
        try:
            attempt.check_json()
        except TypeError as error:
            raise NotDelivered(f"the request was not sent: {error}") from error
        return self._pending.begin(attempt, expected_replies)

    async def _until_it_ends(self, pending: PendingReply) -> None:
        attempt = pending.attempt
        if attempt.created >= pending.deadline:
            raise DeadlinePassed(f"the deadline of {attempt.label} had passed; nothing was sent")
        with anyio.CancelScope(deadline=pending.deadline) as pending.scope:
            await self._dispatch(pending)
            if not pending.end:
                pending.ended = anyio.Event()
                await pending.ended.wait()
        if not pending.end:
            after = pending.deadline - attempt.created
            record(Kind.TIMED_OUT, self.name, attempt.id, who=self.name, after=after)
            self._pending.end(pending, "timed out")

    async def _dispatch(self, pending: PendingReply) -> None:
        """Send, unless this is closed meanwhile. An error is none when the answer has come all the same."""
        try:
            with acting(self.name):
                await values.finished(self._send(pending.attempt))
        except Exception as error:
            if not pending.end:
                raise why_not_sent(error) from error

    # Hearing

    def receive_nowait(self, reply: Message) -> None:
        """Take a reply from the way back. One that nobody waits for is dropped and counted."""
        self._pending.offer(reply)

    async def receive(self, reply: Message) -> None:
        """As `receive_nowait`, for a way back that hands its messages to an `async` function."""
        self.receive_nowait(reply)
        await anyio.lowlevel.checkpoint()

    def refuse(self, attempt_id: str, refusal: RequestError) -> None:
        """End the request with this error: the way there tells late, after `send`, that it took nothing.

        Does nothing for one that no longer waits.
        """
        self._pending.refuse(attempt_id, refusal)

    def close(self) -> None:
        """Ask no more; every request that waits ends with `ClosedWhileWaiting`. Idempotent."""
        self._pending.close()

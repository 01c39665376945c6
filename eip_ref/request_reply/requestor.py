"""The requestor: asks, waits for the answer that belongs to its question, and gives up in time."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self

import anyio
import anyio.lowlevel

from ..message import Message
from ..trace import Kind, acting, new_id, record, whoami
from .envelope import KEY, outcome
from .errors import (
    ClosedWhileWaiting,
    DeadlinePassed,
    RemoteErrors,
    TimedOut,
    why_not_sent,
)
from .waiters import Waiter, Waiters

__all__ = ["Asks", "Requestor", "Send"]

Send = Callable[[Message], Awaitable[object]]


class Asks(Protocol):
    """Whoever can ask, by whichever transport."""

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
    ) -> Message: ...


class Requestor:
    """Asks over `send`, and takes the replies that are handed to `receive`.

    Many tasks may ask at the same time: their requests travel together, and the correlation id tells
    whose reply it is. At most `max_waiting` wait. `name` is the return address.
    """

    def __init__(
        self,
        send: Send,
        *,
        name: str = "",
        errors: RemoteErrors | None = None,
        max_waiting: int = 1_000,
        remember: int = 10_000,
    ) -> None:
        self.name = name or whoami() or "requestor"
        self._send = send
        self._errors = errors or RemoteErrors()
        self._waiters = Waiters(self.name, limit=max_waiting, remember=remember)

    def __enter__(self) -> Self:
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer now."""
        return len(self._waiters)

    @property
    def late(self) -> int:
        """How many replies came too late and were dropped."""
        return self._waiters.late

    @property
    def duplicates(self) -> int:
        """How many replies had come before and were dropped."""
        return self._waiters.duplicates

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
        attempt = self._attempt(body, type, key, min(deadline, _in(timeout)), idempotency_key, caused_by)
        waiter = await self._ask(attempt, wants=1)
        if waiter.end != "answered":
            after = waiter.deadline - attempt.created
            raise TimedOut(
                f"no answer to {attempt.label} after {after:g} s: it may have happened, or may yet"
            )
        (reply,) = waiter.replies.values()
        return self._told(reply)

    async def scatter(
        self,
        body: Any = None,
        *,
        wants: int,
        type: str = "",
        key: str | None = None,
        timeout: float = math.inf,
        deadline: float = math.inf,
        caused_by: str | None = None,
    ) -> list[Message | Exception]:
        """The replies of several repliers, in the order in which they come: `wants` of them, or those
        that are there at the deadline.

        A replier that failed or refused is one of them, as the error that `request` would raise.
        Repliers that answer the same question need different names. Raises what `request` raises when
        it could not be sent or this is closed meanwhile.
        """
        if wants < 1:
            raise ValueError(f"scatter must want at least 1 reply, not {wants}")
        attempt = self._attempt(body, type, key, min(deadline, _in(timeout)), None, caused_by)
        waiter = await self._ask(attempt, wants)
        return [outcome(reply, self._errors) for reply in waiter.replies.values()]

    def _attempt(
        self,
        body: Any,
        type: str,
        key: str | None,
        deadline: float,
        operation: str | None,
        caused_by: str | None,
    ) -> Message:
        deadline = min(deadline, anyio.current_effective_deadline())
        if deadline == math.inf:
            raise ValueError("a request needs a timeout or a deadline, or it may wait for ever")
        identity = new_id()
        return Message(
            body,
            type=type,
            key=key,
            id=identity,
            correlation_id=identity,
            causation_id=caused_by,
            reply_to=self.name,
            deadline=deadline,
            headers={} if operation is None else {KEY: operation},
        )

    async def _ask(self, attempt: Message, wants: int) -> Waiter:
        await anyio.lowlevel.checkpoint()
        with self._waiters.waiting(attempt, wants) as waiter:  # before sending: an answer may be quick
            if anyio.current_time() >= waiter.deadline:
                raise DeadlinePassed(f"the deadline of {attempt.label} had passed; nothing was sent")
            with anyio.CancelScope(deadline=waiter.deadline):
                await self._dispatch(waiter)
                await waiter.ended.wait()
            if not waiter.end:
                after = waiter.deadline - attempt.created
                record(Kind.TIMED_OUT, self.name, attempt.id, who=self.name, after=after)
                self._waiters.end(waiter, "timed out")
        if waiter.end == "closed":
            raise ClosedWhileWaiting(f"{self.name} was closed while {attempt.label} waited for its answer")
        return waiter

    async def _dispatch(self, waiter: Waiter) -> None:
        """Send, unless this is closed meanwhile. An error is none when the answer has come all the same."""
        with anyio.CancelScope() as waiter.sending:
            try:
                with acting(self.name):
                    await self._send(waiter.attempt)
            except Exception as error:
                if not waiter.end:
                    raise why_not_sent(error) from error
            finally:
                waiter.sending = None

    def _told(self, reply: Message) -> Message:
        told = outcome(reply, self._errors)
        if isinstance(told, Message):
            return told
        raise told

    # Hearing

    async def receive(self, reply: Message) -> None:
        """Take a reply from the way back. One that nobody waits for is dropped and counted."""
        self._waiters.offer(reply)
        await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        """Ask no more; every request that waits ends with `ClosedWhileWaiting`. Idempotent."""
        self._waiters.close()


def _in(timeout: float) -> float:
    if timeout < 0:
        raise ValueError(f"a timeout must be at least 0 seconds, not {timeout:g}")
    return anyio.current_time() + timeout

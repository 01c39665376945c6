"""Six ways to get request–reply wrong, each as close to the right one as a mistake usually is."""

from __future__ import annotations

import math
from typing import Any

import anyio

from eip_ref import values
from eip_ref.message import Message
from eip_ref.request_reply import RequestError, Requestor
from eip_ref.request_reply.requestor import PendingReplies, PendingReply

__all__ = [
    "AsksOneAtATime",
    "ForgetsNobody",
    "OneReplySlot",
    "RegistersTooLate",
    "WaitsForEver",
    "ask_until_it_works",
]


class OneReplySlot(Requestor):
    """One slot for replies: whoever has waited longest takes whatever comes."""

    async def receive(self, reply: Message) -> None:
        waiting = self._pending._table
        first = next(iter(waiting), reply.correlation_id)
        await super().receive(reply.copy(correlation_id=first))


class RegistersTooLate(Requestor):
    """Sends, and then begins to wait: an answer that is quick finds nobody."""

    async def _ask(self, attempt: Message, expected_replies: int) -> PendingReply:
        await values.finished(self._send(attempt))
        send, self._send = self._send, _nothing
        try:
            return await super()._ask(attempt, expected_replies)
        finally:
            self._send = send


async def _nothing(message: Message) -> None:
    """Sends nothing."""


class ForgetsNobody(Requestor):
    """A waiting attempt leaves the table when its answer comes, and at no other end."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pending.end = self._end  # type: ignore[method-assign]

    def _end(self, pending: PendingReply, how: str) -> None:
        if how in ("answered", "closed"):
            PendingReplies.end(self._pending, pending, how)


class AsksOneAtATime(Requestor):
    """A lock around the whole call, "since the connection is shared"."""

    _lock: anyio.Lock | None = None

    async def _ask(self, attempt: Message, expected_replies: int) -> PendingReply:
        self._lock = self._lock or anyio.Lock()
        async with self._lock:
            return await super()._ask(attempt, expected_replies)


class WaitsForEver(Requestor):
    """No deadline (E11): it is optional here, and so nobody gives one."""

    async def request(self, body: Any = None, **given: Any) -> Message:
        return await super().request(body, **{"timeout": 1e9, **given})

    async def _ask(self, attempt: Message, expected_replies: int) -> PendingReply:
        return await super()._ask(attempt.copy(deadline=math.inf), expected_replies)


async def ask_until_it_works(
    requestor: Requestor, body: Any, *, timeout: float, attempts: int = 3
) -> Message:
    """Repeats whatever failed, also what may have happened, as an operation of its own each time."""
    for _ in range(attempts - 1):
        try:
            return await requestor.request(body, timeout=timeout)
        except RequestError:
            continue
    return await requestor.request(body, timeout=timeout)

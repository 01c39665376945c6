"""The table of waiters: who waits for which answer, until when, and what became of every other reply."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import anyio

from ..message import Message
from ..trace import Kind, record
from .errors import RequestorClosed, TooManyWaiting

__all__ = ["Waiter", "Waiters"]


@dataclass(eq=False, slots=True)
class Waiter:
    """One attempt that waits for its replies."""

    attempt: Message
    wants: int  #: how many replies
    replies: dict[str, Message] = field(default_factory=dict)  #: by the id of the reply
    end: str = ""  #: answered, timed out, closed, cancelled or failed; once, and for good
    ended: anyio.Event = field(default_factory=anyio.Event)
    sending: anyio.CancelScope | None = None  #: while it is being sent; cut short by `close`

    @property
    def deadline(self) -> float:
        assert self.attempt.deadline is not None
        return self.attempt.deadline


class Waiters:
    """At most `limit` waiters, by correlation id. It remembers the last `remember` that were answered."""

    def __init__(self, name: str, *, limit: int, remember: int) -> None:
        if limit < 1 or remember < 1:
            raise ValueError(f"max_waiting and remember must be at least 1, not {limit} and {remember}")
        self.late = 0  #: replies that came when nobody waited for them any more
        self.duplicates = 0  #: replies that had come before
        self._name = name
        self._limit = limit
        self._remember = remember
        self._table: dict[str, Waiter] = {}
        self._answered: OrderedDict[str, frozenset[str]] = OrderedDict()  # correlation id -> reply ids
        self._closed = False

    def __len__(self) -> int:
        """How many wait now."""
        return len(self._table)

    @contextmanager
    def waiting(self, attempt: Message, wants: int) -> Iterator[Waiter]:
        """Wait inside the block; whatever ends the block ends the waiter.

        Raises `TooManyWaiting` and `RequestorClosed`.
        """
        if self._closed:
            raise RequestorClosed(f"{self._name} is closed and asks for nothing more")
        if len(self._table) >= self._limit:
            raise TooManyWaiting(f"{self._name} waits for {self._limit} answers and may not wait for more")
        waiter = self._table[attempt.id] = Waiter(attempt, wants)
        self._record(waiter, was="", now="waiting", until=waiter.deadline, wants=wants)
        try:
            yield waiter
        except anyio.get_cancelled_exc_class():
            self.end(waiter, "cancelled")
            raise
        finally:
            self.end(waiter, "failed")

    def offer(self, reply: Message) -> None:
        """Give the reply to the waiter that asked for it; drop and count one that nobody waits for."""
        record(Kind.ACCEPTED, self._name, reply.id, who=self._name, correlation=reply.correlation_id)
        waiter = self._table.get(reply.correlation_id or "")
        if reply.id in (waiter.replies if waiter else self._answered.get(reply.correlation_id or "", ())):
            self.duplicates += 1
            record(Kind.DROPPED, self._name, reply.id, who=self._name, reason="duplicate")
        elif waiter is None or anyio.current_time() >= waiter.deadline:  # at the very instant it is over
            self.late += 1
            record(Kind.DROPPED, self._name, reply.id, who=self._name, reason="late")
        else:
            record(Kind.DELIVERED, self._name, reply.id, who=self._name, request=waiter.attempt.id)
            waiter.replies[reply.id] = reply.copy()
            if len(waiter.replies) == waiter.wants:
                self.end(waiter, "answered")

    def end(self, waiter: Waiter, how: str) -> None:
        """The waiter disappears and is woken. Only the first end counts."""
        if waiter.end:
            return
        waiter.end = how
        del self._table[waiter.attempt.id]
        if waiter.replies:
            self._answered[waiter.attempt.id] = frozenset(waiter.replies)
            if len(self._answered) > self._remember:
                self._answered.popitem(last=False)
        self._record(waiter, was="waiting", now=how, replies=len(waiter.replies))
        waiter.ended.set()

    def close(self) -> None:
        """End all waiters and take no more. Idempotent."""
        self._closed = True
        for waiter in [*self._table.values()]:
            self.end(waiter, "closed")
            if waiter.sending is not None:
                waiter.sending.cancel()

    def _record(self, waiter: Waiter, **data: object) -> None:
        record(Kind.STATE, self._name, waiter.attempt.id, who=self._name, **data)

"""The Aggregator: messages that belong together come in one by one and go out as one.

It has state, unlike a fan-out: it did not ask for what it gets, so it must find out what belongs
together, when a group is complete, and what to do with whatever comes afterwards.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record
from .groups import (
    Aggregate,
    AggregatorClosed,
    Complete,
    Group,
    Rejected,
    TooManyGroups,
    correlation_of,
    sequence_of,
)

__all__ = ["Aggregator"]


class Aggregator:
    """Collects messages by correlation id, and hands each group to `emit` once: when `complete` says so,
    or `timeout` seconds after its first message, as far as it has come.

    Use it as `async with Aggregator(…) as orders:` and hand messages to `orders.receive`. A message
    whose group is over goes to `late`. At most `groups` are open, and the last `remember` that are
    over are known as such. Leaving the block hands out the groups that are open, as far as they have come.
    What `emit` raises comes out of `receive`, or, after a timeout, out of the block. The hand-over is
    at least once: an `emit` that was cancelled or failed may have sent the group, and is repeated.
    """

    def __init__(
        self,
        emit: Callable[[Aggregate], Awaitable[object]],
        *,
        complete: Complete,
        timeout: float,
        late: Callable[[Message], Awaitable[object]],
        groups: int = 1_000,
        remember: int = 10_000,
        correlation: Callable[[Message], str] = correlation_of,
        sequence: Callable[[Message], int] = sequence_of,
        name: str = "aggregator",
    ) -> None:
        if not 0 < timeout < math.inf:
            raise ValueError(f"a group waits a number of seconds above 0, not {timeout:g}")
        if groups < 1 or remember < 1:
            raise ValueError(f"groups and remember must be at least 1, not {groups} and {remember}")
        self.name = name
        self._emit, self._late = emit, late
        self._complete, self._timeout = complete, timeout
        self._correlation, self._sequence = correlation, sequence
        self._limit, self._remember = groups, remember
        self._open: dict[str, Group] = {}
        self._over: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[Group, None] = OrderedDict()  # for their timeout: the oldest first
        self._opened = anyio.Event()
        self._closed = True
        self._tasks: anyio.abc.TaskGroup

    def __len__(self) -> int:
        """How many groups are open."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        self._closed = False
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._watch, name=f"{self.name} timeouts")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._closed = True
        try:
            if error is None:
                for group in list(self._open.values()):
                    await self._give_up(group)
        finally:
            self._tasks.cancel_scope.cancel()
            suppressed = await self._tasks.__aexit__(kind, error, trace)
        return suppressed

    # Receiving

    async def receive(self, message: Message) -> None:
        """Take a message into its group, or hand it to `late`. Returns when whatever it led to is done.

        Raises a `Rejected` when it is not taken. When `emit` or `complete` raises or is cancelled, it is
        not taken either, and may come again.
        """
        await anyio.lowlevel.checkpoint()
        try:
            if self._closed:
                raise AggregatorClosed(f"{self.name} is not open and takes no message")
            key, number = self._correlation(message), self._sequence(message)
            while (group := self._group(key)) is not None:
                async with group.lock:
                    if self._is_open(group) and not await self._overdue(group):
                        await self._add(group, number, message)
                        return
        except Rejected as error:
            record(Kind.REFUSED, self.name, message.id, who=self.name, reason=error.reason)
            raise
        record(Kind.REFUSED, self.name, message.id, who=self.name, reason="late", group=key)
        await self._late(message)

    def _group(self, key: str) -> Group | None:
        """The open group with this key, a new one when there was none, or None when it is over."""
        if key in self._over:
            return None
        if (group := self._open.get(key)) is None:
            if len(self._open) >= self._limit:
                raise TooManyGroups(f"{self.name} has {self._limit} groups open and may not open {key}")
            group = self._open[key] = Group(key, anyio.current_time() + self._timeout)
            if not self._waiting:
                self._opened.set()
            self._waiting[group] = None
        return group

    def _is_open(self, group: Group) -> bool:
        return self._open.get(group.key) is group

    async def _overdue(self, group: Group) -> bool:
        """Whether its time is over, as it is at the instant. Then it ends here, if its timer did not come."""
        if anyio.current_time() < group.until:
            return False
        await self._end(group, "timed out")
        return True

    async def _add(self, group: Group, number: int, message: Message) -> None:
        group.add(number, message)
        if len(group.messages) == 1:
            record(Kind.STARTED, self.name, group.key, who=self.name, timeout=self._timeout)
        try:
            if self._complete(group.messages):
                await self._end(group, "complete", last=message)
            else:
                self._record_taken(message, group)
        except BaseException:
            group.remove(number)
            if not group.messages:  # then it has never been
                self._remove(group)
                record(Kind.CANCELLED, self.name, group.key, who=self.name)
            raise

    def _record_taken(self, message: Message, group: Group) -> None:
        record(Kind.ACCEPTED, self.name, message.id, who=self.name, label=message.label, group=group.key)

    # Ending a group

    async def _end(self, group: Group, why: str, last: Message | None = None) -> None:
        """Hand the group out; only when that is done is it over."""
        await self._emit(Aggregate(group.key, tuple(group.messages), why))
        if last is not None:
            self._record_taken(last, group)
        self._remove(group)
        self._over[group.key] = None
        if len(self._over) > self._remember:
            self._over.popitem(last=False)
        kind = Kind.TIMED_OUT if why == "timed out" else Kind.FINISHED
        record(kind, self.name, group.key, who=self.name, why=why, messages=len(group.messages))

    def _remove(self, group: Group) -> None:
        del self._open[group.key]
        self._waiting.pop(group, None)

    async def _give_up(self, group: Group) -> None:
        """Its time is over, or nothing more will come."""
        async with group.lock:
            if self._is_open(group) and not await self._overdue(group):
                await self._end(group, "closed")

    async def _watch(self) -> None:
        """Give up on each group when its time is over."""
        while True:
            self._opened = anyio.Event()
            with anyio.CancelScope(deadline=next((group.until for group in self._waiting), math.inf)):
                await self._opened.wait()
            while self._waiting and next(iter(self._waiting)).until <= anyio.current_time():
                group, _ = self._waiting.popitem(last=False)
                self._tasks.start_soon(self._give_up, group)

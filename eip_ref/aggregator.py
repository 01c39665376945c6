"""The Aggregator: messages that belong together come in one by one and go out as one.

It has state, unlike a fan-out: it did not ask for what it gets, so it must find out what belongs
together, when a group is complete, and what to do with whatever comes afterwards.

    async def two_orders() -> None:
        async def ship(group: Aggregate) -> None:
            parts = ", ".join(part.body for part in group.messages)
            print(f"{anyio.current_time():.0f} s  {group.key} is {group.why}: {parts}")

        async def late(part: Message) -> None:
            print(f"{anyio.current_time():.0f} s  {part.body} came too late")

        async with Aggregator(ship, complete=by_size(2), timeout=5, late=late) as orders:
            await orders.receive(Message("cups", correlation_id="order 17", headers={SEQUENCE: 1}))
            await orders.receive(Message("milk", correlation_id="order 18", headers={SEQUENCE: 0}))
            await orders.receive(Message("tea", correlation_id="order 17", headers={SEQUENCE: 0}))
            await anyio.sleep(6)
            await orders.receive(Message("sugar", correlation_id="order 18", headers={SEQUENCE: 1}))

With a `store`, what it has taken survives its process, so that an at-least-once channel may forget a
message when `receive` returns. Without one, what is not handed out yet dies with the process.

*Left out:* several aggregators on one store.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel

from . import values
from .bounded import LastN
from .message import Handler, Message
from .storage import Store
from .tasks import background
from .trace import Kind, record

__all__ = [
    "SEQUENCE",
    "Aggregate",
    "Aggregator",
    "AggregatorClosed",
    "Complete",
    "DuplicateSequence",
    "NoCorrelation",
    "NoSequence",
    "RejectedPart",
    "TooManyGroups",
    "by_size",
]

SEQUENCE = "sequence"  #: the header with a message's place in its group

Complete = Callable[[Sequence[Message]], bool]
"""True for a group that is complete, given its messages in the order of their numbers, to look at only."""


class RejectedPart(Exception):
    """The aggregator did not take the message, and never will take it as it is or at this moment."""

    reason = "rejected"


class NoCorrelation(RejectedPart):
    """The message does not say what it belongs to: one for the Invalid Message Channel."""

    reason = "no correlation"


class NoSequence(RejectedPart):
    """The message does not say which place it has: one for the Invalid Message Channel."""

    reason = "no sequence"


class DuplicateSequence(RejectedPart):
    """The group has another message with this number already. The first counts."""

    reason = "duplicate sequence"


class TooManyGroups(RejectedPart):
    """As many groups are open as may be: try again when some are over."""

    reason = "too many groups"


class AggregatorClosed(RejectedPart):
    """Nothing is collected any more, or not yet."""

    reason = "closed"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One group, in the order of the sequence numbers, whatever the order in which they came."""

    key: str
    messages: tuple[Message, ...]
    why: str  #: complete, timed out or closed

    @property
    def complete(self) -> bool:
        """True when it is all that belongs together."""
        return self.why == "complete"


@dataclass(eq=False, slots=True)
class _Group:
    """One group that is being collected; its messages are always in order."""

    key: str
    until: float
    numbers: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    timer: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))

    def add(self, number: int, message: Message) -> None:
        """Put a message in its place. Raises `DuplicateSequence` when another one has it."""
        place = bisect_left(self.numbers, number)
        if self.numbers[place : place + 1] == [number]:
            raise DuplicateSequence(f"{self.key} has another message with the number {number} already")
        self.numbers.insert(place, number)
        self.messages.insert(place, message.copy())
        self.ids.add(message.id)

    def remove(self, number: int) -> None:
        place = bisect_left(self.numbers, number)
        self.ids.remove(self.messages[place].id)
        del self.numbers[place], self.messages[place]


def by_size(size: int) -> Complete:
    """Complete as soon as there are so many messages."""
    values.count("size", size)
    return lambda messages: len(messages) >= size


class Aggregator:
    """Collects messages by correlation id, and hands each group to `emit` once: when `complete` says so,
    or `timeout` seconds after its first message, as far as it has come.

    Use it as `async with Aggregator(…) as orders:` and hand messages to `orders.receive`. A message
    whose group is over goes to `late`. At most `max_groups` are open; of the last `remember` that are over
    it knows that, and the ids of their messages. Leaving the block hands out the groups that are open, as
    far as they have come; when it is left by an error or cancelled, they are recorded as dropped. With a
    `store` they stay there instead, and are taken up again at the next opening.

    What `emit` raises comes out of `receive`, or, after a timeout, out of the block. The hand-over is
    at least once: an `emit` that was cancelled or failed may have sent the group, and is repeated.
    """

    def __init__(
        self,
        emit: Callable[[Aggregate], Awaitable[object] | object],
        *,
        complete: Complete,
        timeout: float,
        late: Handler,
        max_groups: int = 1_000,
        remember: int = 10_000,
        correlation: Callable[[Message], str | None] = attrgetter("correlation_id"),
        sequence: Callable[[Message], int] = lambda message: message.headers.get(SEQUENCE, -1),
        store: Store | None = None,
        name: str = "aggregator",
    ) -> None:
        for what, function in (("complete", complete), ("correlation", correlation), ("sequence", sequence)):
            values.must_not_be_async(what, function)
        self.name = values.name("name", name)
        self._emit, self._late, self._complete = emit, late, complete
        self._timeout = values.duration("timeout", timeout, zero=False)
        self._correlation, self._sequence = correlation, sequence
        self._max_groups = values.count("max_groups", max_groups)
        self._over = LastN[str, Container[str]](values.count("remember", remember))
        self._store = _Kept(store, name, remember) if store is not None else None
        self._open: dict[str, _Group] = {}
        self._closed = True
        self._stack: AsyncExitStack
        self._tasks: anyio.abc.TaskGroup

    def __len__(self) -> int:
        """The number of groups that are open."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        if not self._closed:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        if self._store is not None:
            self._open = self._store.load(self._over)
        self._closed = False
        self._stack = AsyncExitStack()
        self._tasks = await self._stack.enter_async_context(background())
        for group in self._open.values():
            self._tasks.start_soon(self._time_out, group, name=f"{self.name} {group.key}")
        return self

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        self._closed = True
        try:
            if error is None and self._store is None:
                for group in list(self._open.values()):
                    await self._give_up(group, "closed")
        finally:
            self._drop_what_is_open()
            suppressed = await self._stack.__aexit__(kind, error, trace)
        return suppressed

    def _drop_what_is_open(self) -> None:
        """Say what is lost, unless the store keeps it."""
        for group in self._open.values() if self._store is None else ():
            for message in group.messages:
                why = f"{self.name} ended before the group {group.key} was handed out"
                record(Kind.DROPPED, self.name, message.id, who=self.name, reason=why)
            record(Kind.CANCELLED, self.name, group.key, who=self.name)
        self._open.clear()

    # Receiving

    async def receive(self, message: Message) -> None:
        """Take a message into its group, or hand it to `late`. Returns when whatever it led to is done.

        A message with an id that the group has, or had, is a duplicate: nothing more is done. Raises a
        `RejectedPart` when it is not taken. When `emit` or `complete` raises or is cancelled, it is not
        taken either, and may come again.
        """
        await anyio.lowlevel.checkpoint()
        try:
            self._must_be_open()
            key, number = self._place_of(message)
            while (group := self._group(key)) is not None:
                async with group.lock:
                    if await self._is_open(group):
                        await self._add(group, number, message)
                        return
        except RejectedPart as error:
            record(Kind.REFUSED, self.name, message.id, who=self.name, reason=error.reason)
            raise
        if message.id in self._over[key]:
            self._record_duplicate(message, key)
            return
        record(Kind.REFUSED, self.name, message.id, who=self.name, reason="late", group=key)
        await values.finished(self._late(message))

    def _must_be_open(self) -> None:
        if self._closed:
            raise AggregatorClosed(f"{self.name} is not open and takes no message")

    def _place_of(self, message: Message) -> tuple[str, int]:
        """The group of a message and its number there. Raises `NoCorrelation` and `NoSequence`."""
        try:
            key = values.name("the correlation", self._correlation(message) or "")
        except ValueError as error:
            raise NoCorrelation(f"message {message.id} does not say what it belongs to: {error}") from error
        try:
            return key, values.count("the number", self._sequence(message), minimum=0)
        except ValueError as error:
            raise NoSequence(f"message {message.id} does not say its place: {error}") from error

    def _group(self, key: str) -> _Group | None:
        """The open group with this key, a new one when there was none, or None when it is over."""
        if key in self._over:
            return None
        if (group := self._open.get(key)) is None:
            self._must_be_open()  # it may have been left meanwhile
            if len(self._open) >= self._max_groups:
                raise TooManyGroups(f"{self.name} has {self._max_groups} groups open and may not open {key}")
            group = self._open[key] = _Group(key, anyio.current_time() + self._timeout)
            self._tasks.start_soon(self._time_out, group, name=f"{self.name} {group.key}")
        return group

    async def _is_open(self, group: _Group) -> bool:
        """True while it takes messages. Its time is over at the instant; then it ends here at the latest."""
        if self._open.get(group.key) is not group:
            return False
        if anyio.current_time() < group.until:
            return True
        await self._end(group, "timed out")
        return False

    async def _add(self, group: _Group, number: int, message: Message) -> None:
        if message.id in group.ids:
            self._record_duplicate(message, group.key)
            return
        group.add(number, message)
        if len(group.messages) == 1:
            record(Kind.STARTED, self.name, group.key, who=self.name, timeout=self._timeout)
        try:
            if self._complete(group.messages):
                await self._end(group, "complete", last=message)
            else:
                if self._store is not None:
                    self._store.add(group, number, message)
                self._record_taken(message, group)
        except BaseException:
            group.remove(number)
            if not group.messages:  # then it has never been
                self._remove(group)
                record(Kind.CANCELLED, self.name, group.key, who=self.name)
            raise

    def _record_duplicate(self, message: Message, key: str) -> None:
        record(Kind.DUPLICATE, self.name, message.id, who=self.name, group=key)

    def _record_taken(self, message: Message, group: _Group) -> None:
        record(Kind.ACCEPTED, self.name, message.id, who=self.name, label=message.label, group=group.key)

    # Ending a group

    async def _end(self, group: _Group, why: str, last: Message | None = None) -> None:
        """Hand the group out; only when that is done is it over."""
        copies = tuple(message.copy() for message in group.messages)  # the hand-over may be repeated
        await values.finished(self._emit(Aggregate(group.key, copies, why)))
        if self._store is not None:
            self._store.end(group)
        if last is not None:
            self._record_taken(last, group)
        self._remove(group)
        self._over[group.key] = group.ids
        kind = Kind.TIMED_OUT if why == "timed out" else Kind.FINISHED
        record(kind, self.name, group.key, who=self.name, why=why, messages=len(group.messages))

    def _remove(self, group: _Group) -> None:
        if self._open.get(group.key) is group:  # else this was left meanwhile
            del self._open[group.key]
        group.timer.cancel()

    async def _give_up(self, group: _Group, why: str) -> None:
        """End a group whose time is over, or to which nothing more will come."""
        async with group.lock:
            if await self._is_open(group):
                await self._end(group, why)

    async def _time_out(self, group: _Group) -> None:
        with group.timer:
            await anyio.sleep_until(group.until)
            await self._give_up(group, "timed out")  # an alarm of the real clock may be a moment early


class _Kept:
    """The open groups of an aggregator in a store, and the last ones that are over."""

    def __init__(self, store: Store, name: str, remember: int) -> None:
        self._store = store
        self._parts, self._groups, self._over = f"{name}.parts", f"{name}.groups", f"{name}.over"
        self._remember = remember

    def load(self, over: LastN[str, Container[str]]) -> dict[str, _Group]:
        """The open groups by key. Those that are over, with the ids of their messages, go into `over`."""
        shift = self._store.shift
        with self._store.reading() as documents:
            open_ = {key: _Group(key, until - shift) for key, until in documents.scan(self._groups)}
            for _, (key, number, text) in documents.scan(self._parts):
                open_[key].add(number, Message.from_json(text, shift=shift))
            for _, key in documents.scan(f"{self._over}.order"):
                over[key] = frozenset(documents.get(self._over, key))
        return open_

    def add(self, group: _Group, number: int, message: Message) -> None:
        shift = self._store.shift
        with self._store.transaction() as transaction:
            transaction.put(self._groups, group.key, group.until + shift)
            part = [group.key, number, message.to_json(shift=shift)]
            transaction.put(self._parts, f"{group.key} {number}", part)

    def end(self, group: _Group) -> None:
        with self._store.transaction() as transaction:
            transaction.delete(self._groups, group.key)
            for number in group.numbers:
                transaction.delete(self._parts, f"{group.key} {number}")
            transaction.remember(self._over, group.key, sorted(group.ids), capacity=self._remember)

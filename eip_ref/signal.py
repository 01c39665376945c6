"""Signal: how tasks wait for a change, in the order in which they came.

One change wakes one waiter, the longest waiting first, and whoever comes later stands behind those
who wait. A waiter that leaves, by cancellation or a timeout, passes on what it was woken for. So a
thousand waiters cost no more per change than one, each gets its share, and no change is lost. What
receives from a channel waits in such a line: it is a `ReceivingEnd`.
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from bisect import bisect_left, insort
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter
from typing import Generic, Self, TypeVar

import anyio
import anyio.lowlevel

from . import values

__all__ = ["Disconnected", "EndOfMessages", "ReceivingEnd", "Signal", "alone", "on_death", "orphans"]

T = TypeVar("T")

orphans: ContextVar[dict[object, Callable[[], object]] | None] = ContextVar("orphans", default=None)
"""What must be done for those who wait in this context, if they die there without a word.

A task that ends by an exception leaves its line itself. One whose process dies in a simulation runs
no more code at all: whoever plays the death calls what is in this dictionary, and nobody waits for
the dead. None where deaths are not played.
"""

alone: ContextVar[bool] = ContextVar("alone", default=False)
"""True where no other process can write to a file: in a simulation. There nobody polls for news."""


class on_death:
    """Call `leave` if whoever runs the block dies in it. An exception is no death: the block sees it."""

    __slots__ = ("_dying", "_leave")

    def __init__(self, leave: Callable[[], object]) -> None:
        self._leave = leave

    def __enter__(self) -> None:
        self._dying = orphans.get()
        if self._dying is not None:
            self._dying[self] = self._leave

    def __exit__(self, *error: object) -> None:
        if self._dying is not None:
            self._dying.pop(self, None)


@dataclass(eq=False, slots=True)
class _Turn:
    """A place in the line."""

    number: int
    woken: anyio.Event = field(default_factory=anyio.Event)
    over: bool = False


_by_number = attrgetter("number")


class Signal:
    """Those who wait for one thing: in a line, for `notify`, or all together, for `notify_all`."""

    def __init__(self) -> None:
        self._line: list[_Turn] = []  # not woken yet, the longest waiting first
        self._numbers = itertools.count()
        self._on_their_way = 0  # woken, and not run yet
        self._late = False  # somebody has joined the line while others were on their way
        self._watching: dict[anyio.Event, None] = {}  # of those who wait for `notify_all`

    def __len__(self) -> int:
        """The number of those in the line, with those who have been woken and did not run yet."""
        return len(self._line) + self._on_their_way

    def notify(self) -> None:
        """Wake the one who has waited longest in the line, if there is one."""
        if self._line:
            turn = self._line.pop(0)
            self._on_their_way += 1
            turn.woken.set()

    def notify_all(self) -> None:
        """Wake all who wait now."""
        for _ in range(len(self._line)):
            self.notify()
        for event in self._watching:
            event.set()

    async def wait(self) -> None:
        """Wait for the next `notify_all`."""
        event = anyio.Event()
        self._watching[event] = None
        leave = partial(self._watching.pop, event, None)
        with on_death(leave):
            try:
                await event.wait()
            finally:
                leave()

    async def first(
        self,
        take: Callable[[], Awaitable[T] | T],
        not_yet: type[Exception],
        *,
        timeout: float = math.inf,
    ) -> T:
        """Return what `take` returns: now, if nobody else waits, or when this caller's turn has come.

        While `take` raises `not_yet` the caller waits, at most `timeout` seconds, and keeps its place in
        the line; then `not_yet` comes out. A caller that is cancelled while it waits has taken nothing,
        also at the very instant at which it was woken. `take` may be plain or `async`.
        """
        if timeout <= 0 or not (self._line or self._on_their_way):
            try:
                return await values.finished(take())
            except not_yet:
                if timeout <= 0:
                    raise
        with anyio.move_on_after(timeout):
            return await self._in_line(take, not_yet)
        return await values.finished(take())

    async def _in_line(self, take: Callable[[], Awaitable[T] | T], not_yet: type[Exception]) -> T:
        turn = _Turn(next(self._numbers))
        self._line.append(turn)
        self._late = self._on_their_way > 0
        leave = partial(self._leave, turn)
        with on_death(leave):
            try:
                while True:
                    await turn.woken.wait()
                    await anyio.lowlevel.checkpoint_if_cancelled()
                    try:
                        taken = await values.finished(take())
                    except not_yet:
                        self._wait_again(turn)
                    else:
                        self._done(turn)
                        return taken
            finally:
                leave()

    def _wait_again(self, turn: _Turn) -> None:
        self._on_their_way -= 1
        self._late = False  # there is nothing now, and whatever comes from now on wakes somebody
        turn.woken = anyio.Event()
        insort(self._line, turn, key=_by_number)  # others may have been woken in vain together with it

    def _done(self, turn: _Turn) -> None:
        """Leave with what there was. Whoever stood behind may have missed what else there is, and so on."""
        turn.over = True
        self._on_their_way -= 1
        if self._late:
            self.notify()

    def _leave(self, turn: _Turn) -> None:
        """Leave with nothing: what this one was woken for is for the next. Idempotent."""
        if turn.over:
            return
        turn.over = True
        if turn.woken.is_set():
            self._on_their_way -= 1
            self.notify()
        else:
            del self._line[bisect_left(self._line, turn.number, key=_by_number)]


class EndOfMessages(Exception):
    """Nothing more will come."""


class Disconnected(Exception):
    """The end came from the other side: too slow, or somebody else has taken the place."""


class ReceivingEnd(ABC, Generic[T]):
    """The receiving end of a channel: take the next message, wait for it, or iterate until the end."""

    name: str
    signal: Signal  #: of something to receive, and of the end

    @abstractmethod
    def receive_nowait(self) -> T:
        """Take the next one, if one is there. Raises `anyio.WouldBlock`, `EndOfMessages`, `Disconnected`."""

    async def receive(self) -> T:
        """Wait for the next one and take it; cancelling the wait takes nothing.

        Raises `EndOfMessages` when nothing more will come, and `Disconnected`.
        """
        await anyio.lowlevel.checkpoint()
        if not self.signal:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                pass
        return await self._wait()

    async def _wait(self) -> T:
        return await self.signal.first(self.receive_nowait, anyio.WouldBlock)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except EndOfMessages:
            raise StopAsyncIteration from None

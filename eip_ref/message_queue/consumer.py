"""Consumers: credit, heartbeat, and the four ways in which a handler can end.

A handler returns: ack. It raises, or takes too long: nack. It is cancelled: nothing is settled, and
the lease expires. Its process dies: nothing can be settled, and the lease expires too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import anyio.lowlevel

from .. import values
from ..message import Handler
from ..tasks import background
from ..timers import Sleeper
from ..trace import Kind, record, whoami
from .protocol import Lease, Queue, QueueClosed, Settled

MARGIN = 0.1  #: the part of a lease that a message may lose by waiting, and that its way back may take


class AckMode(StrEnum):
    """The moment at which a worker acknowledges, and so the guarantee that it gives."""

    FIRST = "first"  #: before the work: at most once; a crash loses the message
    LAST = "last"  #: after the work: at least once; a crash repeats the message


class Consumer:
    """Takes leases ahead of its work, never more than `prefetch` unsettled at a time.

    `async with Consumer(queue) as leases: async for lease in leases: …` ends when the queue is
    closed and settled, or after `stop`. Leaving the block returns what was not begun. What the queue
    raises for a `receive`, or when a lease is extended, comes out of the iteration.

    No message fails by having waited here: a lease that has waited is extended when its work begins, and
    one that would run out before is returned in time.
    """

    def __init__(
        self, queue: Queue, *, prefetch: int = 1, name: str | None = None, lease: float | None = None
    ) -> None:
        values.count("prefetch", prefetch)
        self.name = whoami() if name is None else values.name("name", name)
        self._queue = queue
        self._lease = None if lease is None else values.duration("lease", lease, zero=False, infinite=True)
        self._credit = anyio.Semaphore(prefetch, max_value=prefetch)
        self._fetched: deque[Lease] = deque()  # and not begun
        self._sleeper = Sleeper()  # until the first of them must be returned
        self._news = anyio.Event()
        self._intake = anyio.CancelScope()
        self._stopped = self._entered = False
        self._fault: Exception | None = None  # of the queue
        self._tasks = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError("this consumer runs already, or has run: make a new one")
        self._entered = True
        tasks = await self._tasks.enter_async_context(background())
        tasks.start_soon(self._fetch, name=f"fetch for {self.name or 'a consumer'}")
        tasks.start_soon(self._return_in_time, name=f"returns of {self.name or 'a consumer'}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self.stop()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        finally:
            with anyio.CancelScope(shield=True):  # whatever ends this consumer, others may go on at once
                await self._return_unstarted()

    def stop(self) -> None:
        """Take no more; the iteration ends after the lease in hand. Idempotent."""
        self._stopped = True
        self._intake.cancel()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Lease:
        await anyio.lowlevel.checkpoint()
        while not self._stopped:
            while self._fetched:
                lease = self._fetched.popleft()
                if await self._may_begin(lease):
                    return lease
            if self._fault is not None:
                raise self._fault
            if self._news.is_set():  # else somebody else waits for it too
                self._news = anyio.Event()
            await self._news.wait()
        raise StopAsyncIteration

    async def _fetch(self) -> None:
        with self._intake:
            while True:
                await self._credit.acquire()
                try:
                    lease = await self._queue.receive(lease=self._lease, consumer=self.name)
                except QueueClosed:
                    self._stopped = True
                    break
                except Exception as error:
                    self._fault = error
                    break
                lease.on_end.append(self._credit.release)
                self._fetched.append(lease)
                self._sleeper.not_after(_last_call(lease))
                self._news.set()
        self._news.set()

    async def _may_begin(self, lease: Lease) -> bool:
        """True for a lease with nearly all of its time before it, or that has just got it again."""
        now = anyio.current_time()
        if lease.message.has_expired(now):
            await self._extend(lease, 0)  # the queue drops what nobody needs any more
            return False
        if not lease.over and lease.expires - now < lease.seconds * (1 - MARGIN):
            return bool(await self._extend(lease, lease.seconds))
        return not lease.over

    async def _extend(self, lease: Lease, seconds: float) -> Settled:
        try:
            return await lease.extend(seconds)
        except BaseException:
            self._fetched.appendleft(lease)  # still not begun, and to be returned
            raise

    async def _return_in_time(self) -> None:
        """Release those that nobody has begun, before their leases run out and count as failures."""
        while True:
            while self._fetched and _last_call(self._fetched[0]) <= anyio.current_time():
                await self._return_first()
            await self._sleeper.until(_last_call(self._fetched[0]) if self._fetched else math.inf)

    async def _return_unstarted(self) -> None:
        while self._fetched:
            await self._return_first()

    async def _return_first(self) -> None:
        """Release the first; one that cannot be will end by itself, and keeps neither block nor others."""
        lease = self._fetched.popleft()
        try:
            if not lease.over:
                await self._extend(lease, 0)
        except Exception as error:
            self._fetched.remove(lease)
            record(Kind.NOTE, self.name, lease.message.id, text=f"not returned: {error!r}")


def _last_call(lease: Lease) -> float:
    """The time at which a lease that nobody has begun is returned."""
    return math.inf if lease.seconds == math.inf else lease.expires - MARGIN * lease.seconds


@asynccontextmanager
async def heartbeat(lease: Lease, interval: float | None = None) -> AsyncIterator[None]:
    """Extend the lease again and again while the block runs, by default after each third of it.

    When the lease turns out to be over, somebody else may have the message: the block is cancelled. A
    fault of the queue that passes while the lease still runs ends nothing: the next beat comes. Raises
    ValueError for an interval that is not shorter than the lease.
    """
    pause = lease.seconds / 3 if interval is None else values.duration("interval", interval, zero=False)
    if lease.seconds <= pause < math.inf:
        raise ValueError(f"interval must be less than the lease, {lease.seconds:g} s, and not {pause:g}")

    async def beat() -> None:
        while await _extended(lease):  # or could not be asked, and then it may end before the next beat
            await anyio.sleep_until(min(anyio.current_time() + pause, lease.expires))
        tasks.cancel_scope.cancel()

    async with background() as tasks:
        tasks.start_soon(beat, name="heartbeat")
        yield


async def _extended(lease: Lease) -> bool:
    """True while the lease runs; it may be that this could not be asked, or is not answered in time."""
    try:
        with anyio.CancelScope(deadline=lease.expires):
            return bool(await lease.extend())
        return False
    except Exception as error:
        record(Kind.NOTE, lease.consumer, lease.message.id, text=f"not extended: {error!r}")
        return anyio.current_time() < lease.expires


async def process(
    lease: Lease,
    handle: Handler,
    *,
    ack: AckMode | str = AckMode.LAST,
    timeout: float = math.inf,
    heartbeat: bool = False,
) -> Settled:
    """Handle one message, with a plain or an `async` handler, and settle it; return how that was answered.

    A handler that takes longer than `timeout` seconds is cancelled and nacked: it *may* have had its
    effect. With `heartbeat` the lease is extended for as long as the handler runs, and the handler is
    cancelled when the lease is lost all the same.
    """
    values.duration("timeout", timeout, infinite=True)
    if _mode(ack, heartbeat) is AckMode.FIRST:
        settled = await lease.ack()
        if settled:
            await _handled(lease, handle, timeout, extending=False)
        return settled
    failure = await _handled(lease, handle, timeout, extending=heartbeat)
    with anyio.CancelScope(shield=True):  # the effect has happened: the queue must hear of it
        settled = await (lease.ack() if failure is None else lease.nack(reason=failure))
    return settled


def _mode(ack: AckMode | str, heartbeat: bool) -> AckMode:
    if heartbeat and AckMode(ack) is AckMode.FIRST:
        raise ValueError("a heartbeat extends a lease, and ack='first' settles it before the work begins")
    return AckMode(ack)


async def _handled(lease: Lease, handle: Handler, timeout: float, *, extending: bool) -> str | None:
    """Run the handler and record how it ended. Returns None when it returned, or why it failed, in words."""
    where, message = whoami(), lease.message
    record(Kind.STARTED, where, message.id, lease=lease.token, key=message.key)
    returned = False
    try:
        with anyio.move_on_after(timeout) as limit:
            async with AsyncExitStack() as stack:
                if extending:
                    await stack.enter_async_context(heartbeat(lease))
                await values.finished(handle(message))
                returned = True
    except anyio.get_cancelled_exc_class():
        record(Kind.CANCELLED, where, message.id, lease=lease.token)
        raise
    except Exception as error:
        words = values.shown(error)
        record(Kind.FAILED, where, message.id, lease=lease.token, error=words)
        return f"the handler raised {words}"
    if returned:
        record(Kind.FINISHED, where, message.id, lease=lease.token)
        return None
    why = f"not done after {timeout:g} s" if limit.cancelled_caught else "the lease was lost"
    record(Kind.CANCELLED, where, message.id, lease=lease.token, reason=why)
    return why


class Worker:
    """Consumes a queue with a handler, one message after the other, until the queue is closed."""

    def __init__(
        self,
        queue: Queue,
        handle: Handler,
        *,
        prefetch: int = 1,
        ack: AckMode | str = AckMode.LAST,
        timeout: float = math.inf,
        heartbeat: bool = False,
    ) -> None:
        self._queue = queue
        self._prefetch = values.count("prefetch", prefetch)
        values.duration("timeout", timeout, infinite=True)
        self._process = partial(
            process, handle=handle, ack=_mode(ack, heartbeat), timeout=timeout, heartbeat=heartbeat
        )
        self._consumer: Consumer | None = None
        self._deadline: float | None = None  # once it is stopped

    async def run(self) -> None:
        """Work until the queue is closed and settled, or until `stop`."""
        lease: Lease | None = None
        async with Consumer(self._queue, prefetch=self._prefetch) as self._consumer:
            if self._deadline is not None:
                return
            with anyio.CancelScope() as self._scope:
                async for lease in self._consumer:
                    await self._process(lease)
            if self._scope.cancelled_caught and lease is not None and not lease.over:
                await lease.extend(0)

    def stop(self, *, within: float) -> None:
        """Take no more messages; give the one in hand `within` seconds, then return it too."""
        values.duration("within", within, infinite=True)
        self._deadline = anyio.current_time() + within
        if self._consumer is not None:
            self._consumer.stop()
            self._scope.deadline = self._deadline

"""The durable queue: the queue protocol on one SQLite file, which is all the memory that it has.

Every method is one transaction: it first does what is due by now, then what was asked for, and
returns after the commit. What a method has returned is therefore true after any crash, and a crash
before the commit leaves the queue as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.lowlevel

from ..message import Message
from ..message_queue import (
    NEVER,
    Backoff,
    Counts,
    DeadLetterPolicy,
    Empty,
    Lease,
    Queue,
    QueueClosed,
    QueueFull,
    Settled,
)
from ..storage import Database
from ..trace import Kind, record, whoami
from .clerk import clerk
from .group_commit import GroupCommit
from .rows import Row
from .steps import Steps
from .upkeep import Put

__all__ = ["SQLiteQueue"]


class SQLiteQueue:
    """A queue in the file at `path`, or in a `Database` that others share. Use it with `async with`.

    As with `MessageQueue`, `lease` is in seconds and `capacity` is the number of messages that may
    be unsettled. Dead letters go to "<name>.dead" in the same file, in the transaction that ends the
    lease, unless `dead_letters` is another queue.

    `dedup` is how many accepted ids are remembered: a put of one of them is confirmed and adds
    nothing. `per_fsync` puts share one commit, and each waits at most `linger` seconds for the
    others. `synchronous` and `clock` are those of `Database`.
    """

    def __init__(
        self,
        path: str | Path | Database,
        name: str,
        *,
        lease: float = 30.0,
        capacity: int | None = None,
        policy: DeadLetterPolicy | None = None,
        backoff: Backoff | None = None,
        dead_letters: Queue | None = None,
        dedup: int = 0,
        per_fsync: int = 1,
        linger: float = 0.0,
        synchronous: str = "FULL",
        clock: Callable[[], float] | None = None,
    ) -> None:
        if lease <= 0:
            raise ValueError(f"a lease must last longer than 0 seconds, not {lease:g}")
        if capacity is not None and capacity < 1:
            raise ValueError(f"the capacity must be at least 1, or None for no bound, not {capacity}")
        self.name = name
        self.lease = lease
        self.capacity = capacity
        self.policy = policy or DeadLetterPolicy()
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        self.dead_letters = dead_letters
        self._role = "channel"
        self._owned: SQLiteQueue | None = None
        if dead_letters is None and self.policy != NEVER:
            self._owned = SQLiteQueue(self.database, f"{name}.dead", lease=lease, policy=NEVER)
            self._owned._role = "dead letters"
            self.dead_letters = self._owned
        self._steps = Steps(
            self.database,
            name,
            capacity=capacity,
            policy=self.policy,
            backoff=backoff or Backoff(),
            dedup=dedup,
            dead_name="" if self.dead_letters is None else self.dead_letters.name,
            dead=self._dead_in_this_file(),
        )
        self._puts = GroupCommit(self._commit_puts, size=per_fsync, linger=linger)
        self._open: AsyncExitStack | None = None

    def _dead_in_this_file(self) -> Steps | None:
        dead = self.dead_letters
        return dead._steps if isinstance(dead, SQLiteQueue) and dead.database is self.database else None

    # Opening and closing

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.enter_context(self.database)
            self._steps.create()
            record(Kind.OPENED, self.name, who="", role=self._role, capacity=self.capacity)
            if self._owned is not None:
                await stack.enter_async_context(self._owned)
            group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            group.start_soon(
                clerk, self.database, self._steps, self.dead_letters, name=f"clerk of {self.name}"
            )
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._open is not None
        stack, self._open = self._open, None
        return await stack.__aexit__(kind, error, trace)

    def close(self) -> None:
        """Take no more messages until the next opening. Puts that wait for company are committed first.

        Receivers get `QueueClosed` when all messages are settled. Idempotent.
        """
        if not self._steps.closed:
            self._puts.flush()
            self._steps.closed = True
            record(Kind.CLOSED, self.name)
            self._steps.waiting.wake()

    async def join(self) -> None:
        """Wait until every accepted message is acked, dead or dropped."""
        while self._unsettled():
            await self._steps.waiting.change()

    @property
    def counts(self) -> Counts:
        """The messages by state, now, counted since the queue was made in its file."""
        with self.database.transaction():
            self._steps.catch_up()
            ready, in_flight = self._steps.rows.counted()
            accepted, acked, dead, dropped = self._steps.rows.counters()
        return Counts(ready, in_flight, acked, dead, dropped, accepted)

    def __len__(self) -> int:
        """How many messages are ready."""
        return self.counts.ready

    def _unsettled(self) -> int:
        with self.database.transaction():
            self._steps.catch_up()
            return self._steps.rows.unsettled()

    # Putting

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Return after the message is on the disk: this is the confirm. Ready `delay` seconds later.

        Raises `QueueFull` or `QueueClosed` when it certainly is not, TypeError for a body that is
        not JSON. When it is cancelled, or raises an error of sqlite3, the outcome is indefinite: put
        the message again, with the same id, which `dedup` makes harmless.
        """
        self._must_be_open()
        if delay < 0:
            raise ValueError(f"a delay must be at least 0 seconds, not {delay:g}")
        put = Put(message, message.to_json(shift=self.database.shift), delay, whoami())
        await anyio.lowlevel.checkpoint()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        await self._puts.add(put)

    def _commit_puts(self, puts: list[Put]) -> list[QueueFull | QueueClosed | None]:
        self._must_be_open()
        with self.database.transaction():
            self._steps.catch_up()
            return [self._steps.accept(put) for put in puts]

    # Receiving

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        """Wait at most `timeout` seconds for a message; take a lease on it, by default `self.lease` long.

        The lease and the count of deliveries are on the disk before the message is handed out.
        Cancelling a waiting receive takes nothing. Raises `Empty` and `QueueClosed`.
        """
        await anyio.lowlevel.checkpoint()
        with anyio.move_on_after(timeout):
            while True:
                try:
                    return self.receive_nowait(lease=lease, consumer=consumer)
                except Empty:
                    if timeout <= 0:
                        raise
                    await self._steps.waiting.change()
        return self.receive_nowait(lease=lease, consumer=consumer)

    def receive_nowait(self, *, lease: float | None = None, consumer: str | None = None) -> Lease:
        """Take the ready message with the lowest place. Raises `Empty` when there is none now."""
        self._must_be_open()
        seconds = self.lease if lease is None else lease
        if seconds <= 0:
            raise ValueError(f"a lease must last longer than 0 seconds, not {seconds:g}")
        with self.database.transaction():
            self._steps.catch_up()
            granted = self._steps.take(seconds, whoami() if consumer is None else consumer, self)
            over = self._steps.closed and not self._steps.rows.unsettled()
        if granted is not None:
            return granted
        if over:
            raise QueueClosed(f"{self.name} is closed and every message is settled")
        raise Empty(f"no message is ready in {self.name}")

    # Settling

    async def ack(self, lease: Lease) -> Settled:
        """Settle as done, unless the lease is over or was nacked: the message never comes back.

        A lease from before a restart settles too, for as long as it lasts: its token is what counts.
        """
        return self._settle(lease, "ack", self._steps.ack)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        """Settle as not done: ready again after `delay` seconds, or a dead letter."""
        if delay is not None and delay < 0:
            raise ValueError(f"a delay must be at least 0 seconds, not {delay:g}")
        return self._settle(lease, "nack", lambda row, lease: self._steps.nack(row, lease, delay, reason))

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        """Let the lease end `seconds` from now; 0 releases the message."""
        if seconds < 0:
            raise ValueError(f"a lease cannot be extended by {seconds:g} seconds; 0 releases it")
        if seconds == 0:
            return self._settle(lease, "extend", self._steps.release)
        return self._settle(lease, "extend", lambda row, lease: self._steps.prolong(row, lease, seconds))

    def _settle(self, lease: Lease, attempted: str, step: Callable[[Row, Lease], None]) -> Settled:
        """Take the step with the message that this lease holds, or say why it holds none."""
        self._must_be_open()
        self._must_be_mine(lease)
        with self.database.transaction():
            self._steps.catch_up()
            row = self._steps.rows.holder(lease.token)
            if row is not None:
                step(row, lease)
                return Settled.DONE
            if lease.outcome:
                return Settled.DONE if lease.outcome.startswith(attempted) else Settled.REFUSED
            self._steps.stale(lease, attempted)
            return Settled.STALE

    def _must_be_mine(self, lease: Lease) -> None:
        giver = lease.queue
        place = (giver.name, giver.database.path) if isinstance(giver, SQLiteQueue) else (giver.name, None)
        if place != (self.name, self.database.path):
            raise ValueError(f"this lease is one of {giver.name}, not of {self.name} in {self.database.path}")

    def _must_be_open(self) -> None:
        if self._open is None:
            raise RuntimeError(f"{self.name} is not open; use it inside: async with SQLiteQueue(…) as queue")

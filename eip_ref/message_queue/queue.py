"""The queue itself, in memory: who has which message, until when, and what happens then."""

from __future__ import annotations

import itertools
import math
from collections import deque
from contextlib import AsyncExitStack
from types import TracebackType
from typing import NamedTuple, Self

import anyio
import anyio.abc
import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record, whoami
from .alarms import Alarm, Alarms
from .dead_letters import NEVER, Backoff, DeadLetterPolicy, dead_letter
from .order import Entry, Order
from .protocol import Empty, Lease, Queue, QueueClosed, QueueFull, Settled

__all__ = ["Counts", "MessageQueue"]


class Counts(NamedTuple):
    """How many messages are in each state.

    Messages that rest, wait behind another, or are on their way to the dead letters count as ready.
    """

    ready: int
    in_flight: int
    acked: int
    dead: int
    dropped: int
    accepted: int


class MessageQueue:
    """A queue in memory. Use it as `async with MessageQueue("orders") as queue: …`.

    `lease` is how many seconds a consumer has for a message, `capacity` how many messages may be
    unsettled. Dead letters go to `dead_letters`, by default a queue of its own named "<name>.dead".
    """

    def __init__(
        self,
        name: str,
        *,
        lease: float = 30.0,
        capacity: int | None = None,
        policy: DeadLetterPolicy | None = None,
        backoff: Backoff | None = None,
        dead_letters: Queue | None = None,
    ) -> None:
        if lease <= 0:
            raise ValueError(f"a lease must last longer than 0 seconds, not {lease:g}")
        if capacity is not None and capacity < 1:
            raise ValueError(f"the capacity must be at least 1, or None for no bound, not {capacity}")
        self.name = name
        self.lease = lease
        self.capacity = capacity
        self.policy = policy or DeadLetterPolicy()
        self.backoff = backoff or Backoff()
        self.dead_letters = dead_letters
        self._owned: MessageQueue | None = None
        if dead_letters is None and self.policy != NEVER:
            self.dead_letters = self._owned = MessageQueue(f"{name}.dead", lease=lease, policy=NEVER)
            self._owned._role = "dead letters"
        self._role: str = "channel"
        self._order = Order()
        self._held: dict[int, Entry] = {}  # in flight, by the token of its lease
        self._alarms = Alarms(self._is_live)
        self._dying: deque[Entry] = deque()
        self._acked = self._dead = self._dropped = self._accepted = 0
        self._places = itertools.count(1)
        self._tokens = itertools.count(1)
        self._closed = False
        self._changed: anyio.Event | None = None  # exists while somebody waits for a change
        self._open: AsyncExitStack | None = None

    async def __aenter__(self) -> Self:
        self._open = await AsyncExitStack().__aenter__()
        record(Kind.OPENED, self.name, who="", role=self._role, capacity=self.capacity)
        if self._owned is not None:
            await self._open.enter_async_context(self._owned)
        group = await self._open.enter_async_context(anyio.create_task_group())
        self._open.callback(group.cancel_scope.cancel)
        group.start_soon(self._clerk, name=f"clerk of {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._open is not None
        stack, self._open = self._open, None
        return await stack.__aexit__(kind, error, trace)

    @property
    def counts(self) -> Counts:
        """The messages by state, now."""
        self._catch_up()
        in_flight = len(self._held)
        ready = len(self._order.entries) - in_flight
        return Counts(ready, in_flight, self._acked, self._dead, self._dropped, self._accepted)

    def __len__(self) -> int:
        """How many messages are ready."""
        return self.counts.ready

    # Putting

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Take responsibility for a copy of the message, to be handed out after `delay` seconds.

        Raises `QueueFull` or `QueueClosed`: then the queue certainly does not have it.
        """
        await anyio.lowlevel.checkpoint()
        self.put_nowait(message, delay=delay)

    def put_nowait(self, message: Message, *, delay: float = 0.0) -> None:
        """`put` for callers that cannot wait; in memory nothing ever has to."""
        self._must_be_open()
        if delay < 0:
            raise ValueError(f"a delay must be at least 0 seconds, not {delay:g}")
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        if self._closed:
            record(Kind.REFUSED, self.name, message.id, reason="closed")
            raise QueueClosed(f"{self.name} is closed and takes no more messages")
        if self.capacity is not None and len(self._order.entries) >= self.capacity:
            record(Kind.REFUSED, self.name, message.id, reason="full")
            raise QueueFull(f"{self.name} holds {self.capacity} unsettled messages and may hold no more")
        entry = Entry(message.copy(), next(self._places), anyio.current_time() + delay)
        self._accepted += 1
        self._order.add(entry)
        record(Kind.ACCEPTED, self.name, message.id, key=message.key)
        self._offer(entry)

    def close(self) -> None:
        """Take no more messages; receivers get `QueueClosed` when all are settled. Idempotent."""
        if not self._closed:
            self._closed = True
            record(Kind.CLOSED, self.name)
            self._wake()

    async def join(self) -> None:
        """Wait until every accepted message is acked, dead or dropped."""
        self._catch_up()
        while self._order.entries:
            await self._change()

    # Receiving

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        """Wait at most `timeout` seconds for a message; take a lease on it, by default `self.lease` long.

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
                    await self._change()
        return self.receive_nowait(lease=lease, consumer=consumer)

    def receive_nowait(self, *, lease: float | None = None, consumer: str | None = None) -> Lease:
        """Take the ready message with the lowest place. Raises `Empty` when there is none now."""
        self._must_be_open()
        seconds = self.lease if lease is None else lease
        if seconds <= 0:
            raise ValueError(f"a lease must last longer than 0 seconds, not {seconds:g}")
        now = self._catch_up()
        while (entry := self._order.take()) is not None:
            if entry.message.deadline is not None and entry.message.deadline <= now:
                self._drop(entry, "its deadline has passed")
                continue
            return self._grant(entry, now, seconds, whoami() if consumer is None else consumer)
        if self._closed and not self._order.entries:
            raise QueueClosed(f"{self.name} is closed and every message is settled")
        raise Empty(f"no message is ready in {self.name}")

    def _grant(self, entry: Entry, now: float, seconds: float, consumer: str) -> Lease:
        entry.deliveries += 1
        if entry.deliveries == 1:
            entry.first = now
        entry.lease = Lease(
            message=entry.message.copy(),
            token=next(self._tokens),
            expires=now + seconds,
            seconds=seconds,
            deliveries=entry.deliveries,
            failures=entry.failures,
            consumer=consumer,
            queue=self,
        )
        entry.token = entry.lease.token
        self._held[entry.token] = entry
        self._set_alarm(entry.lease.expires, entry)
        record(
            Kind.DELIVERED,
            self.name,
            entry.message.id,
            who=consumer,
            lease=entry.lease.token,
            deliveries=entry.deliveries,
            until=entry.lease.expires,
        )
        return entry.lease

    # Settling

    async def ack(self, lease: Lease) -> Settled:
        """Settle as done, unless the lease is over or was nacked."""
        entry = self._holder(lease, "ack")
        if isinstance(entry, Settled):
            return entry
        record(Kind.ACKED, self.name, lease.message.id, lease=lease.token)
        self._end_lease(entry, "acked")
        self._acked += 1
        self._forget(entry)
        return Settled.DONE

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        """Settle as not done: ready again after `delay` seconds, or a dead letter."""
        if delay is not None and delay < 0:
            raise ValueError(f"a delay must be at least 0 seconds, not {delay:g}")
        entry = self._holder(lease, "nack")
        if isinstance(entry, Settled):
            return entry
        entry.failures += 1
        rest = self.backoff.seconds(entry.failures) if delay is None else delay
        record(Kind.NACKED, self.name, lease.message.id, lease=lease.token, delay=rest, reason=reason)
        self._end_lease(entry, "nacked")
        self._try_again(entry, rest, reason or "nacked")
        return Settled.DONE

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        """Let the lease end `seconds` from now; 0 releases the message."""
        if seconds < 0:
            raise ValueError(f"a lease cannot be extended by {seconds:g} seconds; 0 releases it")
        entry = self._holder(lease, "extend")
        if isinstance(entry, Settled):
            return Settled.REFUSED if entry is Settled.DONE else entry
        if seconds == 0:
            self._end_lease(entry, "")
            self._try_again(entry, 0.0, "released")
            return Settled.DONE
        lease.expires = anyio.current_time() + seconds
        self._set_alarm(lease.expires, entry)
        record(Kind.EXTENDED, self.name, lease.message.id, lease=lease.token, until=lease.expires)
        return Settled.DONE

    def _holder(self, lease: Lease, attempted: str) -> Entry | Settled:
        """The message that this lease holds, or the answer for a lease that holds none."""
        self._must_be_open()
        if lease.queue is not self:
            raise ValueError(f"this lease is one of {lease.queue.name}, not of {self.name}")
        self._catch_up()
        if not lease.over:
            return self._held[lease.token]
        if lease.outcome:
            return Settled.DONE if lease.outcome.startswith(attempted) else Settled.REFUSED
        record(Kind.STALE, self.name, lease.message.id, lease=lease.token, attempted=attempted)
        return Settled.STALE

    # What follows from it

    def _end_lease(self, entry: Entry, outcome: str) -> None:
        lease, entry.lease = entry.lease, None
        assert lease is not None
        del self._held[lease.token]
        lease.end(outcome)

    def _expire(self, entry: Entry) -> None:
        assert entry.lease is not None
        lease = entry.lease
        entry.failures += 1
        record(Kind.EXPIRED, self.name, entry.message.id, who=lease.consumer, lease=lease.token)
        self._end_lease(entry, "")
        self._try_again(entry, 0.0, "the lease expired")

    def _try_again(self, entry: Entry, rest: float, reason: str) -> None:
        verdict = self.policy.verdict(deliveries=entry.deliveries, failures=entry.failures)
        if verdict is not None:
            entry.dying = f"{verdict}, the last: {reason}"
            self._dying.append(entry)
            self._alarms.call()
            return
        entry.ready_at = anyio.current_time() + rest
        if rest == 0:
            self._returned(entry, reason)
        self._offer(entry)

    def _returned(self, entry: Entry, reason: str) -> None:
        record(Kind.RETURNED, self.name, entry.message.id, who="", lease=entry.token, reason=reason)

    def _offer(self, entry: Entry) -> None:
        now = anyio.current_time()
        if self._order.offer(entry, now):
            self._wake()
        elif entry.ready_at > now:
            self._set_alarm(entry.ready_at, entry)

    def _forget(self, entry: Entry) -> None:
        behind = self._order.remove(entry)
        if behind is not None:
            self._offer(behind)
        if not self._order.entries:
            self._wake()

    def _drop(self, entry: Entry, reason: str) -> None:
        record(Kind.DROPPED, self.name, entry.message.id, who="", reason=reason)
        self._dropped += 1
        self._forget(entry)

    # Time

    def _set_alarm(self, when: float, entry: Entry) -> None:
        self._alarms.set(Alarm(when, entry.place, entry.lease.token if entry.lease else 0))

    def _is_live(self, alarm: Alarm) -> bool:
        if alarm.token:
            held = self._held.get(alarm.token)
            return held is not None and held.lease is not None and held.lease.expires == alarm.when
        resting = self._order.entries.get(alarm.place)
        return resting is not None and resting.lease is None and resting.ready_at == alarm.when

    def _catch_up(self) -> float:
        """Do what is due by now: a lease is over at the very instant at which it expires."""
        now = anyio.current_time()
        for alarm in self._alarms.due(now):
            entry = self._order.entries[alarm.place]
            if alarm.token:
                self._expire(entry)
                continue
            if entry.deliveries:
                self._returned(entry, "its delay is over")
            self._offer(entry)
        return now

    async def _clerk(self) -> None:
        """Watch the clock and carry away the dead, also while nobody calls."""
        while True:
            self._catch_up()
            while self._dying:
                await self._bury(self._dying.popleft())
            await self._alarms.wait()

    async def _bury(self, entry: Entry) -> None:
        assert self.dead_letters is not None
        now = anyio.current_time()
        reason, entry.dying = entry.dying or "", None
        letter = dead_letter(
            entry.message,
            reason=reason,
            source=self.name,
            deliveries=entry.deliveries,
            failures=entry.failures,
            first=entry.first,
            last=now,
        )
        try:
            await self.dead_letters.put(letter)
        except Exception as error:  # whatever is wrong over there, the message must not be lost here
            record(Kind.NOTE, self.name, entry.message.id, who="", text=f"dead letter refused: {error!r}")
            entry.ready_at = now + self.backoff.seconds(max(1, entry.failures))
            self._offer(entry)
            return
        to = self.dead_letters.name
        record(Kind.DEAD, self.name, entry.message.id, who="", lease=entry.token, reason=reason, to=to)
        self._dead += 1
        self._forget(entry)

    # Waiting

    def _must_be_open(self) -> None:
        if self._open is None:
            raise RuntimeError(f"{self.name} is not open; use it inside: async with MessageQueue(…) as queue")

    async def _change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

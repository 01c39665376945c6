"""The queue protocol on a broker: what every adapter says in the same way, whatever the system.

An adapter brings six operations of its system: put, take, ack, nack, reject and extend. Here they become
the protocol of `message_queue`: times on the clock of this process, answers for a lease that is over or
was settled before, the facts for the trace. A lease is over here when its time is, as the clock of this
process sees it; the system may see it otherwise, and then its answer counts.

What another producer has put, and cannot be read as a message, is a dead letter, with its content as the
body. A queue without dead letters hands it out as such a letter.

*Left out:* counts, and closing for receivers: a broker offers neither to its clients.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

from .. import values
from ..message import EXPIRED, Message
from ..message_queue import Backoff, Empty, Lease, QueueFull, Settled, dead_letter
from ..trace import Kind, record, whoami
from .connections import Adapter, unbroken
from .wire import decoded, encoded, printable

__all__ = ["ROOM", "BrokerQueue", "Delivery", "Unsupported"]

ROOM = 16_384  #: bytes for what a dead letter has beside its message
MOST_REASON, MOST_TEXT = 1_000, 100_000  #: signs of a reason, and of what cannot be read, in a dead letter
LONGEST_DELAY = 3e8  #: seconds: RabbitMQ takes ten years and no more, and ends the channel of who asks for it


class Unsupported(Exception):
    """The system has nothing with which this could be kept."""


@dataclass(eq=False, slots=True)
class Delivery:
    """One message as the system has handed it out."""

    content: bytes  #: as `encoded` wrote it
    handle: Any  #: with what the system settles it
    token: int
    sequence: int
    deliveries: int = 1  #: this one included, as far as the system tells
    failures: int = 0  #: before this one, as far as the system tells
    headers: dict[str, Any] = field(default_factory=dict)  #: what the system adds, such as facts of its death
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)  #: one settles at a time
    timer: asyncio.TimerHandle | None = None  #: ends the lease


class BrokerQueue(Adapter):
    """A queue of a broker, opened as `async with RabbitQueue(url, "orders") as queue: …`; on asyncio only.

    Raises ConnectionError when the broker is gone: whether a put or an ack was heard is then unknown.
    """

    _may_lease_for_ever: ClassVar[bool] = True
    _settles_to_the_end: ClassVar[bool] = False  #: also for one who is cancelled: to settle twice is an error

    def __init__(
        self,
        name: str,
        *,
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = None,
        dead_letters: bool = True,
    ) -> None:
        self.name = values.name("name", name)
        self.lease = self._checked(lease)
        self.capacity = None if capacity is None else values.count("capacity", capacity)
        self.backoff = backoff or Backoff()
        self.max_failures = None if max_failures is None else values.count("max_failures", max_failures)
        if max_failures is not None and not dead_letters:
            raise ValueError("a queue without dead letters tries for ever: it takes max_failures=None")
        self.dead_letters: BrokerQueue | None = None
        self._holds_dead_letters = False
        self._out: dict[Lease, Delivery] = {}  # leased here and not over
        self._loop: asyncio.AbstractEventLoop  # asked for its time: that is anyio's, and costs less

    def _checked(self, lease: float) -> float:
        return values.duration("lease", lease, zero=False, infinite=self._may_lease_for_ever)

    # The operations of the system

    @abstractmethod
    async def _connect(self, parts: AsyncExitStack) -> None:
        """Open the connection, make the queue if it is not there, and close with the parts.

        The dead letters, where there are some, are open already.
        """

    @abstractmethod
    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        """Return when the system has confirmed. Raises `QueueFull` when it has refused."""

    @abstractmethod
    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        """Take a message for so many seconds, or wait for one at most so long, and less where that is better.

        None says to ask again, while there is time. Cancelled, it takes none.
        """

    @abstractmethod
    async def _ack(self, delivery: Delivery) -> bool:
        """Settle as done; False when the system says that the lease is over. So do those that follow."""

    @abstractmethod
    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        """Hand the message out again, after a delay; `failed` is False for one that is released."""

    async def _reject(self, delivery: Delivery, reason: str) -> bool:
        """Move to the dead letters now. For systems without them: put there, then ack here."""
        return await self._bury(delivery, f"rejected: {reason}", delivery.failures + 1)

    @abstractmethod
    async def _extend(self, delivery: Delivery, seconds: float) -> bool: ...

    def _expired(self, delivery: Delivery) -> None:
        """For a system that times no leases: the time of this one is over."""

    # Opening

    async def _open(self, parts: AsyncExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        if self.dead_letters is not None:
            self.dead_letters._holds_dead_letters = True
            await parts.enter_async_context(self.dead_letters)
        await self._connect(parts)
        parts.callback(self._end_all)

    # The protocol

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Return when the broker has confirmed that it has the message. Raises `QueueFull`."""
        _check_delay(delay)
        content = encoded(message)
        try:
            with self._reaching():
                record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
                await self._put(content, message, delay)
        except QueueFull:
            record(Kind.REFUSED, self.name, message.id, reason="full")
            raise
        record(Kind.ACCEPTED, self.name, message.id, key=message.key)

    def _must_fit(self, content: bytes, most: int) -> None:
        """Raise ValueError unless the system takes so much, and the message as a dead letter too."""
        room = most - ROOM if self.dead_letters else most
        if len(content) > room:
            raise ValueError(
                f"{self.name} takes messages of at most {room} bytes; this one has {len(content)}"
            )

    def _deduplication_id(self, message: Message) -> str:
        """The id by which a system knows what is sent again; each death and each replay has its own."""
        id, died = message.id, message.headers.get("dead-letter-last")
        if died is not None:
            id = f"{id}/{died}"
        for letter in self.dead_letters._out if self.dead_letters else ():
            if letter.message.id == message.id:
                id = f"{id}/{letter.sequence}"
        return printable(id)

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        """Wait at most `timeout` seconds for a message. Raises `Empty`, and RuntimeError when it is left."""
        seconds = self.lease if lease is None else self._checked(lease)
        self._must_be_open()
        end = self._loop.time() + values.duration("timeout", timeout, infinite=True)
        who = whoami() if consumer is None else consumer
        with self._waiting:
            while True:
                with self._reaching():
                    delivery = await self._take(seconds, max(0.0, end - self._loop.time()))
                if delivery is not None:
                    if (message := await self._deliverable(delivery)) is not None:
                        return self._grant(delivery, message, seconds, who)
                elif self._loop.time() >= end:
                    raise Empty(f"no message is ready in {self.name}")

    async def _deliverable(self, delivery: Delivery) -> Message | None:
        """The message, or None when it goes elsewhere: it cannot be read, failed too often, or is late."""
        try:
            message = decoded(delivery.content, delivery.headers)
        except ValueError as error:
            dies = str(error), delivery.failures + 1
            if self.dead_letters is None:
                return self._letter(delivery, *dies)
            await self._settle_here(delivery, self._bury(delivery, *dies))
            return None
        if self._has_failed(delivery.failures):
            reason = f"{delivery.failures} failures"
            await self._settle_here(delivery, self._bury(delivery, reason, delivery.failures))
            return None
        if self._holds_dead_letters or "dead-letter-source" in delivery.headers:
            return _kept(message)
        if message.has_expired():
            await self._settle_here(delivery, self._ack(delivery))
            record(Kind.DROPPED, self.name, message.id, who="", reason=EXPIRED)
            return None
        return message

    async def _settle_here(self, delivery: Delivery, work: Awaitable[object]) -> None:
        """Settle what has no lease, whatever happens to the receiver; when it fails, it comes again."""
        try:
            with self._reaching():
                await unbroken(work)
        except Exception:
            self._expired(delivery)
            raise

    def _has_failed(self, failures: int) -> bool:
        return self.dead_letters is not None and failures >= (self.max_failures or math.inf)

    async def _bury(self, delivery: Delivery, reason: str, failures: int) -> bool:
        """Put, then forget: a crash between the two repeats the dead letter, and loses nothing."""
        assert self.dead_letters is not None
        letter = self._letter(delivery, reason, failures)
        await self.dead_letters.put(letter)
        record(Kind.DEAD, self.name, letter.id, who="", reason=reason, to=self.dead_letters.name)
        return await self._ack(delivery)

    def _letter(self, delivery: Delivery, reason: str, failures: int) -> Message:
        """The dead letter; of what cannot be read, one with its content as text."""
        try:
            message = decoded(delivery.content)
        except ValueError:
            text = delivery.content[:MOST_TEXT].decode(errors="backslashreplace")
            message = Message(text, headers=delivery.headers)
            reason = f"{len(delivery.content)} bytes: {reason}"
        return dead_letter(
            message,
            reason=reason[:MOST_REASON],
            source=self.name,
            deliveries=delivery.deliveries,
            failures=failures,
            first=message.created,
            last=self._loop.time(),
        )

    async def ack(self, lease: Lease) -> Settled:
        return await self._settle(lease, "acked", self._ack)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        rest = self.backoff.seconds(lease.failures + 1) if delay is None else delay
        _check_delay(rest)
        failures, nack = lease.failures + 1, partial(self._nack, delay=rest, failed=True)
        if self._has_failed(failures):
            why = f"{failures} failures, the last: {reason or 'nacked'}"
            nack = partial(self._bury, reason=why, failures=failures)
        return await self._settle(lease, "nacked", nack, delay=rest, reason=reason)

    async def reject(self, lease: Lease, *, reason: str = "") -> Settled:
        if self.dead_letters is None:
            raise RuntimeError(f"{self.name} has no dead letters; ack what shall not come again")
        reject = partial(self._reject, reason=reason)
        return await self._settle(lease, "rejected", reject, reason=f"rejected: {reason}")

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        values.duration("seconds", seconds, infinite=True)
        if seconds == 0:
            return await self._settle(lease, "", partial(self._nack, delay=0.0, failed=False))
        return await self._settle(lease, "extended", partial(self._extended, lease, seconds))

    async def _settle(
        self, lease: Lease, outcome: str, act: Callable[[Delivery], Awaitable[bool]], **facts: Any
    ) -> Settled:
        if lease.queue is not self:
            raise ValueError(f"this lease is one of {lease.queue.name}, not one that this object has granted")
        delivery = self._out.get(lease)
        if delivery is None:
            return self._settled_before(lease, outcome)
        async with delivery.lock:
            if lease not in self._out:
                return self._settled_before(lease, outcome)
            if lease.expires > self._loop.time():
                work = self._act_and_tell(lease, outcome, act(delivery), facts)
                if await (unbroken(work) if self._settles_to_the_end else work):
                    return Settled.DONE
            self._end(lease)
            return self._settled_before(lease, outcome)

    async def _act_and_tell(
        self, lease: Lease, outcome: str, act: Awaitable[bool], facts: dict[str, Any]
    ) -> bool:
        with self._reaching():
            done = await act
        if done:
            self._tell(lease, outcome, facts)
        return done

    def _settled_before(self, lease: Lease, outcome: str) -> Settled:
        if lease.outcome:
            return Settled.DONE if lease.outcome == outcome else Settled.REFUSED
        record(Kind.STALE, self.name, lease.message.id, lease=lease.token, attempted=outcome or "released")
        return Settled.STALE

    def _tell(self, lease: Lease, outcome: str, facts: dict[str, Any]) -> None:
        """Record how a lease was settled, and end it, unless it was extended."""
        message, token = lease.message.id, lease.token
        if outcome == "extended":
            record(Kind.EXTENDED, self.name, message, lease=token, until=lease.expires)
            return
        if outcome == "acked":
            record(Kind.ACKED, self.name, message, lease=token)
        elif outcome:
            record(Kind.NACKED, self.name, message, lease=token, **facts)
        else:
            record(Kind.RETURNED, self.name, message, who="", lease=token, reason="released")
        self._end(lease, outcome)

    # Leases

    def _grant(self, delivery: Delivery, message: Message, seconds: float, who: str) -> Lease:
        expires = self._loop.time() + seconds
        token, deliveries = delivery.token, delivery.deliveries
        lease = Lease(
            message, delivery.sequence, token, expires, seconds, deliveries, delivery.failures, who, self
        )
        self._out[lease] = delivery
        self._time(lease, delivery)
        record(
            Kind.DELIVERED, self.name, message.id, who=who, lease=token, deliveries=deliveries, until=expires
        )
        return lease

    def _time(self, lease: Lease, delivery: Delivery) -> None:
        if delivery.timer is not None:
            delivery.timer.cancel()
        if lease.expires < math.inf:
            delivery.timer = self._loop.call_at(lease.expires, self._is_over, lease, delivery)

    def _is_over(self, lease: Lease, delivery: Delivery) -> None:
        record(Kind.EXPIRED, self.name, lease.message.id, who=lease.consumer, lease=lease.token)
        self._end(lease)
        self._expired(delivery)

    async def _extended(self, lease: Lease, seconds: float, delivery: Delivery) -> bool:
        if not await self._extend(delivery, seconds):
            return False
        lease.expires = self._loop.time() + seconds
        self._time(lease, delivery)
        return True

    def _end(self, lease: Lease, outcome: str = "") -> None:
        delivery = self._out.pop(lease, None)
        if delivery is not None and delivery.timer is not None:
            delivery.timer.cancel()
        lease.end(outcome)

    def _end_all(self) -> None:
        """End all leases, as the end of the connection does."""
        for lease in list(self._out):
            self._end(lease)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {len(self._out)} leased here>"


def _kept(letter: Message) -> Message:
    """A dead letter does not expire: where the system has moved it, it comes with its deadline."""
    if letter.deadline is None:
        return letter
    return letter.copy(headers={**letter.headers, "dead-letter-deadline": letter.deadline}, deadline=None)


def _check_delay(delay: float) -> None:
    if values.duration("delay", delay) > LONGEST_DELAY:
        raise ValueError(f"a delay has at most {LONGEST_DELAY:g} seconds, not {delay!r}")

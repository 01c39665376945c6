"""The protocol of a queue: what every one offers, in memory or in a broker. Kept small on purpose."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ..message import Message


class QueueFull(Exception):
    """The queue holds as many messages as it may: it certainly did not accept this one."""


class QueueClosed(Exception):
    """The queue takes no more messages, and for a receiver: all of them are settled."""


class Empty(Exception):
    """No message became ready within the time that the receiver wanted to wait."""


class Settled(Enum):
    """The answer to an ack, nack, reject or extend. Only `DONE` is true."""

    DONE = "done"  #: it is so, by this lease, from now on or from before
    REFUSED = "refused"  #: this lease was already settled in the other way
    STALE = "stale"  #: the lease is over: nothing was settled, and somebody else may have the message

    def __bool__(self) -> bool:
        return self is Settled.DONE


@dataclass(eq=False, slots=True)
class Lease:
    """The right of one consumer to work on one message until `expires`.

    `token` grows with every lease of the queue, so a store that remembers the highest token it has
    seen can refuse a consumer whose lease is over (fencing).
    """

    message: Message
    sequence: int  #: the place of the message in the queue; the lowest goes first
    token: int
    expires: float  #: on anyio's clock; at this instant the lease is over
    seconds: float  #: how long it was granted for, and what one heartbeat grants again
    deliveries: int  #: leases granted for this message, this one included
    failures: int  #: nacks and expiries of this message before this lease
    consumer: str
    queue: Queue
    over: bool = False  #: settled, released or expired
    outcome: str = ""  #: "acked", "nacked" or "rejected", once this lease has settled the message
    on_end: list[Callable[[], None]] = field(default_factory=list)  #: called once, when it is over

    async def ack(self) -> Settled:
        """The work is done: the queue may forget the message. Idempotent."""
        return await self.queue.ack(self)

    async def nack(self, *, delay: float | None = None, reason: str = "") -> Settled:
        """The work is not done: hand the message out again, `delay` seconds from now. Idempotent.

        Without a delay the queue chooses one that grows with the failures. With delay 0 the message
        is ready at once, in its old place.
        """
        return await self.queue.nack(self, delay=delay, reason=reason)

    async def reject(self, reason: str = "") -> Settled:
        """The work can never be done: move the message to the dead letters now. Idempotent.

        Raises RuntimeError when the queue has no dead letters.
        """
        return await self.queue.reject(self, reason=reason)

    async def extend(self, seconds: float | None = None) -> Settled:
        """Let the lease end `seconds` from now instead, by default as long as it was granted for.

        With 0 the message is released: ready at once, and not counted as a failure.
        """
        return await self.queue.extend(self, self.seconds if seconds is None else seconds)

    def end(self, outcome: str = "") -> None:
        """For queues: the lease is over, and this is how it was settled, if it was. Idempotent."""
        if not self.over:
            self.over, self.outcome = True, outcome
        while self.on_end:
            self.on_end.pop()()


class Queue(Protocol):
    """A queue with leases. All of it may take time, since a broker may be far away."""

    name: str

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Return when the queue has taken responsibility for a copy of the message.

        Raises `QueueFull` or `QueueClosed` when it certainly has not.
        """

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        """Wait at most `timeout` seconds for a message and take a lease of `lease` seconds on it.

        Raises `Empty` when none became ready, `QueueClosed` when none ever will.
        """

    async def ack(self, lease: Lease) -> Settled: ...

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled: ...

    async def reject(self, lease: Lease, *, reason: str = "") -> Settled: ...

    async def extend(self, lease: Lease, seconds: float) -> Settled: ...

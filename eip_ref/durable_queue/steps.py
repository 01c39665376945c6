"""The steps that somebody asks for: into the queue, out under a lease, and settled.

As with what happens by itself, every method runs inside a transaction of its caller.
"""

from __future__ import annotations

import anyio

from ..message import Message
from ..message_queue import Lease, Queue, QueueClosed, QueueFull
from ..storage import microseconds
from ..trace import Kind, whoami
from .rows import LEASED, Row
from .upkeep import Put, Upkeep

__all__ = ["Steps"]


class Steps(Upkeep):
    """What producers and consumers do with the messages of one queue."""

    # In

    def accept(self, put: Put) -> QueueFull | QueueClosed | None:
        """Take responsibility for the message, or return why not."""
        message = put.message
        if self._knows(message.id):  # a refusal would be a lie: it was accepted
            self._say(Kind.DUPLICATE, message.id, who=put.who)
            return None
        if self.closed:
            self._say(Kind.REFUSED, message.id, who=put.who, reason="closed")
            return QueueClosed(f"{self.name} is closed and takes no more messages")
        if self._capacity is not None and self.rows.unsettled() >= self._capacity:
            self._say(Kind.REFUSED, message.id, who=put.who, reason="full")
            return QueueFull(f"{self.name} holds {self._capacity} unsettled messages and may hold no more")
        self.seen.add(message.id, self.rows.count("accepted"))
        now = self._database.now()
        due = now + microseconds(put.delay)
        row = self.rows.add(id=message.id, key=message.key, envelope=put.envelope, due=due, now=now)
        self._say(Kind.ACCEPTED, message.id, who=put.who, key=message.key)
        self._offered(row)
        return None

    def _knows(self, message_id: str) -> bool:
        """Whether this message is here, or was; not when it died and somebody now brings it back."""
        known = self.seen.find(message_id)
        if known is None:
            return False
        _, died = known
        return not died or (self._dead is not None and not self._dead.rows.is_leased(message_id))

    # Out

    def take(self, seconds: float, consumer: str, queue: Queue) -> Lease | None:
        """Grant a lease on the ready message with the lowest place, if there is one."""
        while (row := self.rows.first_ready()) is not None:
            message = Message.from_json(row.envelope, shift=self._database.shift)
            if message.deadline is None or message.deadline > anyio.current_time():
                return self._grant(row, message, seconds, consumer, queue)
            self._say(Kind.DROPPED, row.id, reason="its deadline has passed")
            self._remove("dropped", row)
        return None

    def _grant(self, row: Row, message: Message, seconds: float, consumer: str, queue: Queue) -> Lease:
        now = self._database.now()
        token = self.rows.count("tokens")
        row = row._replace(
            state=LEASED,
            due=now + max(1, microseconds(seconds)),
            token=token,
            consumer=consumer,
            deliveries=row.deliveries + 1,
            first=now if row.first is None else row.first,
        )
        self.rows.save(row)
        lease = Lease(
            message=message,
            token=token,
            expires=self._database.on_anyio(row.due),
            seconds=seconds,
            deliveries=row.deliveries,
            failures=row.failures,
            consumer=consumer,
            queue=queue,
        )
        self._database.after_commit(lambda: self.leases.update({token: lease}))
        facts = {"lease": token, "deliveries": row.deliveries, "until": lease.expires}
        self._say(Kind.DELIVERED, row.id, who=consumer, **facts)
        self._watch(row)
        return lease

    # Settled

    def ack(self, row: Row, lease: Lease) -> None:
        """Done: forget the message."""
        self._say(Kind.ACKED, row.id, who=whoami(), lease=row.token)
        self.end(lease, "acked")
        self._remove("acked", row)

    def nack(self, row: Row, lease: Lease, delay: float | None, reason: str) -> None:
        """Not done: ready again after a rest, or dead."""
        row = row._replace(failures=row.failures + 1)
        rest = self._backoff.seconds(row.failures) if delay is None else delay
        self._say(Kind.NACKED, row.id, who=whoami(), lease=row.token, delay=rest, reason=reason)
        self.end(lease, "nacked")
        self._try_again(row, rest, reason or "nacked")

    def release(self, row: Row, lease: Lease) -> None:
        """Ready again at once, and no failure."""
        self.end(lease)
        self._try_again(row, 0.0, "released")

    def prolong(self, row: Row, lease: Lease, seconds: float) -> None:
        """The lease ends later, or earlier, than it was to."""
        row = row._replace(due=self._database.now() + max(1, microseconds(seconds)))
        self.rows.save(row)
        expires = self._database.on_anyio(row.due)
        self._say(Kind.EXTENDED, row.id, who=whoami(), lease=row.token, until=expires)
        self._database.after_commit(lambda: setattr(lease, "expires", expires))
        self._watch(row)

    def stale(self, lease: Lease, attempted: str) -> None:
        """A lease that holds nothing; it may have run out in another process, or while there was none."""
        self.end(lease)
        self._say(Kind.STALE, lease.message.id, who=whoami(), lease=lease.token, attempted=attempted)

"""Cursor: a position in a log, kept for a durable subscriber or a group, also while nobody reads.

What was handed out stays out until it is acked. The *committed* position is the first message that
is not acked; from there everything is handed out again when the subscriber comes back, or when
somebody else takes over. So: at least once, duplicates allowed, gaps not. Each taking over starts a
new *generation*, and an ack from an older one is stale: it settles nothing.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio

from ..message import Message
from ..message_queue import Settled
from ..trace import Kind, record
from .delivery import Delivery, Holder
from .inbox import Bell
from .log import Entry, Log
from .terms import Start, WhenFull

__all__ = ["Cursor"]


class Cursor:
    """A position in a log, kept for one durable subscriber or for one group."""

    def __init__(
        self,
        log: Log,
        name: str,
        pattern: str,
        *,
        when_full: WhenFull,
        start: int | Start,
        wanted: Callable[[str], bool] = lambda topic: True,
        bell: Bell | None = None,
    ) -> None:
        if when_full is WhenFull.DROP_NEWEST:
            raise ValueError(
                f"{name} reads a log, from which the oldest messages go: it can 'block', 'drop oldest' or "
                "'disconnect', but not 'drop newest'"
            )
        self.log = log
        self.name = name
        self.pattern = pattern
        self.when_full = when_full
        self.dropped: Counter[str] = Counter()  #: messages that were missed, by reason
        self.bell = bell or Bell()  #: rings when there may be something to read, or another holder
        self.holder: Holder | None = None
        self.generation = 0
        self.ended = ""  #: why it reads no more
        self.position = log.offset_of(start)  #: the offset that is looked at next
        self._wanted = wanted
        self._out: dict[int, Delivery] = {}  # not committed, by offset, which only grows
        self._times: dict[int, tuple[int, float]] = {}  # how often each was handed out, and when first
        self._leases = itertools.count(1)
        facts: dict[str, Any] = {"capacity": log.capacity, "pattern": pattern, "policy": when_full.value}
        record(Kind.OPENED, name, who="", role="channel", **facts)
        for entry in log.since(self.position):
            self.hear(entry, sent=True)
        log.cursors.append(self)

    @property
    def committed(self) -> int:
        """The offset from which everything would be handed out again."""
        return next(iter(self._out), self.position)

    @property
    def at_end(self) -> bool:
        """Whether everything in the log was looked at."""
        return self.position >= self.log.end

    # What the log says

    def hear(self, entry: Entry, *, sent: bool = False) -> bool:
        """The log has one more message; say whether it is wanted. `sent`: the trace knows of its sending."""
        if not self._wanted(entry.topic):
            return False
        if not sent:
            self._sent(entry.topic, entry.message)
        record(Kind.ACCEPTED, self.name, entry.message.id, who="", key=entry.message.key, offset=entry.offset)
        self.bell.ring()
        return True

    def hear_the_end(self) -> None:
        """The log is closed."""
        record(Kind.CLOSED, self.name, who="", reason="closed")
        self.bell.ring()

    def let_wait(self, topic: str, message: Message) -> None:
        """A publisher waits until this cursor needs the oldest message no more."""
        self._sent(topic, message)
        record(Kind.BLOCKED, self.name, message.id)

    def blocks(self, entry: Entry) -> bool:
        """Whether the publisher has to wait rather than that this message leaves the log."""
        return self.when_full is WhenFull.BLOCK and self._needs(entry)

    def lose(self, entry: Entry) -> None:
        """The message leaves the log. One that is handed out may still be acked."""
        if self.when_full is WhenFull.DISCONNECT and self._needs(entry):
            self.end("too slow")
        elif entry.offset >= self.position:
            self.position = entry.offset + 1
            self._times.pop(entry.offset, None)
            if self._wanted(entry.topic):
                self._drop(entry.message, "no longer retained", offset=entry.offset)

    def _needs(self, entry: Entry) -> bool:
        return self._wanted(entry.topic) if entry.offset >= self.position else entry.offset in self._out

    # What a subscriber says

    def assign(self, holder: Holder | None, reason: str) -> None:
        """From now on `holder` reads, from the committed position; acks of the one before are stale."""
        if self.ended:
            return
        was, self.holder = self.holder, holder
        self._rewind(reason)
        names = {"was": was.name if was else "", "now": holder.name if holder else ""}
        record(Kind.STATE, self.name, who="", **names, reason=reason, generation=self.generation)
        self.bell.ring()

    def take(self, to: str) -> Delivery | None:
        """Hand out the next message, as a copy of its own, or None when there is none now.

        There is none either while as many are out as the log may retain: what is out is bounded too.
        """
        while not self.at_end and not self._is_full:
            entry = self.log[self.position]
            self.position += 1
            if self._wanted(entry.topic):
                return self._hand_out(entry, to)
        return None

    def settle(self, delivery: Delivery, kind: Kind, **facts: Any) -> Settled:
        """Settle a delivery as done, or as a dead letter, unless it is one of an older generation."""
        if delivery.generation != self.generation:
            return Settled.DONE if delivery.committed else self._stale(delivery, "ack")
        delivery.ending = kind, facts
        self._commit()
        return Settled.DONE

    def nack(self, delivery: Delivery, reason: str) -> Settled:
        """Hand out again, from the committed position on, unless it is settled or of an older generation."""
        if delivery.ending:
            return Settled.REFUSED
        if delivery.generation != self.generation:
            return self._stale(delivery, "nack")
        self._tell(Kind.NACKED, delivery, delay=0.0, reason=reason)
        self._rewind(reason or "nacked")
        self.bell.ring()
        return Settled.DONE

    def end(self, reason: str) -> None:
        """Read no more, and drop whatever is not acked, each counted. Idempotent."""
        if self.ended:
            return
        self.ended = reason
        self.log.cursors.remove(self)
        if not self.log.closed:
            record(Kind.CLOSED, self.name, who="", reason=reason)
        self.generation += 1
        for delivery in self._out.values():
            self._give_up(delivery, reason)
        self._out.clear()
        for entry in self.log.since(self.position):
            if self._wanted(entry.topic):
                self._drop(entry.message, reason, offset=entry.offset)
        self.log.room.ring()
        self.bell.ring()

    def _hand_out(self, entry: Entry, to: str) -> Delivery:
        before, first = self._times.get(entry.offset, (0, anyio.current_time()))
        self._times[entry.offset] = before + 1, first
        delivery = self._out[entry.offset] = Delivery(
            topic=entry.topic,
            message=entry.message.copy(),
            offset=entry.offset,
            deliveries=before + 1,
            first=first,
            generation=self.generation,
            lease=next(self._leases),
            to=to,
            cursor=self,
        )
        counts = {"deliveries": delivery.deliveries, "generation": self.generation}
        self._tell(Kind.DELIVERED, delivery, who=to, **counts)
        return delivery

    def _commit(self) -> None:
        """Let the committed position pass everything that is settled, and say so."""
        was_full = self._is_full
        while self._out and (first := next(iter(self._out.values()))).ending:
            self._finish(first)
            del self._out[first.offset]
        self.log.room.ring()
        if self.log.closed or was_full:
            self.bell.ring()

    @property
    def _is_full(self) -> bool:
        return len(self._out) >= self.log.capacity

    def _finish(self, delivery: Delivery) -> None:
        assert delivery.ending is not None
        kind, facts = delivery.ending
        self._tell(kind, delivery, who=delivery.to, **facts)
        delivery.committed = True
        del self._times[delivery.offset]

    def _rewind(self, reason: str) -> None:
        """Back to the committed position: a new generation. What left the log meanwhile cannot come back."""
        self.generation += 1
        back, self._out = self._out, {}
        self.position = max(self.log.first, next(iter(back), self.position))
        for delivery in back.values():
            if delivery.offset >= self.position:
                self._tell(Kind.RETURNED, delivery, who="", reason=reason)
            else:
                self._give_up(delivery, "no longer retained")

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        """It cannot be handed out again: it was done, or it is dropped."""
        if delivery.ending:
            self._finish(delivery)
        else:
            self._drop(delivery.message, reason, lease=delivery.lease, offset=delivery.offset)
            del self._times[delivery.offset]

    def _stale(self, delivery: Delivery, attempted: str) -> Settled:
        self._tell(Kind.STALE, delivery, attempted=attempted, generation=delivery.generation)
        return Settled.STALE

    def _tell(self, kind: Kind, delivery: Delivery, *, who: str | None = None, **facts: Any) -> None:
        facts |= {"lease": delivery.lease, "offset": delivery.offset}
        record(kind, self.name, delivery.message.id, who=who, **facts)

    def _sent(self, topic: str, message: Message) -> None:
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)

    def _drop(self, message: Message, reason: str, **facts: Any) -> None:
        record(Kind.DROPPED, self.name, message.id, who="", reason=reason, **facts)
        self.dropped[reason] += 1

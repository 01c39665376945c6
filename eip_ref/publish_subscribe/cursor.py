"""Durable subscriber: it may be away or crash, and goes on where it had acked.

A *cursor* is its position in a retained log, kept also while nobody reads. What was handed out stays
out until it is acked. The *committed* position is the first message that is not acked; from there
everything is handed out again when the subscriber comes back, or when somebody else takes over. So:
at least once, duplicates allowed, gaps not. Each taking over starts a new *generation*, and an ack
from an older one is stale: it settles nothing.

*Left out:* the disk: the log survives its subscribers and not its own process, as a durable queue
does. And telling a slow subscriber from a dead one: one connects at a time, and whoever connects last
has the subscription; several that share one are a group, in `partitions.py`.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, cast

import anyio

from .. import values
from ..backpressure import WhenFull
from ..message import EXPIRED
from ..message_queue import Settled
from ..signal import Disconnected, ReceivingEnd, Signal, on_death
from ..storage import MemoryLog
from ..trace import Kind, record
from .topics import ChannelClosed, Published, Start, SubscriptionEnded, TopicMessage, matches, policy_of

NOT_RETAINED = "no longer retained"
TOO_SLOW = "too slow"
POLICIES = (WhenFull.BLOCK, WhenFull.DROP_OLDEST, WhenFull.DISCONNECT)


class RetainedLog(MemoryLog):
    """The newest messages, at most `retain`, and the cursors that read them.

    What leaves it is the oldest message, when a new one needs the room; a cursor that still needs that
    message decides by its policy what happens then.
    """

    def __init__(self, name: str, retain: int) -> None:
        self.retain = values.count("retain", retain)
        super().__init__(name, capacity=retain)
        self.cursors: list[Cursor] = []
        self.closed = False
        self.room = Signal()  #: that a cursor may no longer need the oldest message

    def message(self, offset: int) -> TopicMessage:
        """The message at an offset, for those who change nothing in it."""
        return cast(TopicMessage, self[offset].message)

    async def publish(self, message: TopicMessage) -> Published:
        """Keep a copy of the message, and tell the cursors that it is meant for.

        Waits while a cursor whose policy is to block needs the oldest one. Cancelling the wait takes
        the message back. Raises `ChannelClosed`, and TypeError for a message that is not JSON.
        """
        message.check_json()
        if not self.room:
            with suppress(anyio.WouldBlock):
                return self._keep(message, None)
        blocker: Cursor | None = None

        def is_blocked() -> None:
            nonlocal blocker
            if blocker is None and (blocker := self._blocker()) is not None:
                message.record_sent(blocker.name)
                record(Kind.BLOCKED, blocker.name, message.id)

        def keep() -> Published:
            is_blocked()  # those who waited before may have taken the room that there was
            return self._keep(message, blocker)

        def refuse(reason: str) -> None:
            if blocker is not None:
                record(Kind.REFUSED, blocker.name, message.id, reason=reason)

        is_blocked()
        try:
            with on_death(partial(refuse, "the publisher died")):
                kept = await self.room.first(keep, anyio.WouldBlock)
        except BaseException as error:
            refuse("closed" if isinstance(error, ChannelClosed) else "the publisher gave up")
            raise
        if blocker not in self.cursors:
            refuse("unsubscribed")
        return kept

    def _keep(self, message: TopicMessage, waited_for: Cursor | None) -> Published:
        if self.closed:
            raise ChannelClosed(f"{self.name} is closed and takes no more messages")
        if self._blocker() is not None:
            raise anyio.WouldBlock
        offset = self._add(message, topic=message.topic).offset
        receivers = sum(
            cursor.on_append(offset, message, sent=cursor is waited_for) for cursor in self.cursors
        )
        self.room.notify()  # the next who waits may have room too
        return Published(receivers, offset=offset)

    def _blocker(self) -> Cursor | None:
        """The cursor that the next message has to wait for, if there is one."""
        if self.closed or len(self) < self.retain:
            return None
        return next((cursor for cursor in self.cursors if cursor.blocks(self.first)), None)

    def _evict(self) -> None:
        for cursor in list(self.cursors):
            cursor.on_evicted(self.first)
        super()._evict()

    def close(self) -> None:
        """Take no more; cursors end after the last message. Idempotent."""
        if not self.closed:
            self.closed = True
            record(Kind.CLOSED, self.name, who="")
            self.room.notify_all()
            for cursor in self.cursors:
                record(Kind.CLOSED, cursor.name, who="", reason="closed")
                cursor.wake()


@dataclass(eq=False, slots=True)
class Delivery:
    """One message, handed out to one subscriber until it is acked or handed out again."""

    message: TopicMessage
    offset: int
    deliveries: int  #: the number of times that it was handed out, this time included
    first: float  #: when it was handed out for the first time, on anyio's clock
    generation: int  #: of the cursor; acks of an older one are stale
    lease: int  #: a number that no other delivery of this subscription has
    to: str
    cursor: Cursor = field(repr=False)
    ending: tuple[Kind, Mapping[str, Any]] | None = None  #: how it was settled
    committed: bool = False  #: settled, and so is everything before it

    async def ack(self) -> Settled:
        """The work is done. It is never handed out again once all before it is acked too. Idempotent."""
        return self.cursor.settle(self, Kind.ACKED)

    async def nack(self, *, reason: str = "") -> Settled:
        """The work is not done: hand this one out again, and all from the committed position on."""
        return self.cursor.nack(self, reason)


class Cursor:
    """A position in a log, kept for one durable subscriber or for one group."""

    def __init__(
        self,
        log: RetainedLog,
        name: str,
        pattern: str,
        *,
        when_full: WhenFull | str,
        start: int | Start | str,
        wake: Callable[[], object] | None = None,
    ) -> None:
        """`wake` is called when there may be an end to hear of; by default it wakes who reads."""
        self.log = log
        self.name = name
        self.pattern = pattern
        self.when_full = policy_of("a reader of a log", when_full, POLICIES)
        self.dropped: Counter[str] = Counter()  #: messages that were missed, by reason
        self.holder: ReceivingEnd[Delivery] | None = None  #: who reads
        self.generation = 0
        self.ended = ""  #: the reason why it reads no more
        self.told = True  #: somebody knows of that end
        self.position = _offset(log, start)  #: the offset that is looked at next
        self.wake = wake or self._wake_holder
        self._wants = partial(matches, pattern)
        self._out: OrderedDict[int, Delivery] = OrderedDict()  # not committed, by offset
        self._times: dict[int, tuple[int, float]] = {}  # how often each was handed out, and when first
        self._expired: set[int] = set()  # dropped while something before them was out
        self._leases = itertools.count(1)
        facts: dict[str, Any] = {"capacity": log.retain, "pattern": pattern, "policy": self.when_full.value}
        record(Kind.OPENED, name, who="", role="channel", **facts)
        for offset in range(self.position, log.end):
            self.on_append(offset, log.message(offset), sent=True)
        log.cursors.append(self)

    @property
    def committed(self) -> int:
        """The offset from which everything would be handed out again."""
        return next(iter(self._out), self.position)

    @property
    def at_end(self) -> bool:
        """True when everything in the log was looked at."""
        return self.position >= self.log.end

    @property
    def _is_full(self) -> bool:
        return len(self._out) >= self.log.retain

    # What the log says

    def on_append(self, offset: int, message: TopicMessage, *, sent: bool = False) -> bool:
        """Hear of one more message; true if it is wanted. `sent`: the trace knows of its sending."""
        if not self._wants(message.topic):
            return False
        if not sent:
            message.record_sent(self.name)
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=offset)
        if self.holder is not None:
            self.holder.signal.notify()
        return True

    def blocks(self, offset: int) -> bool:
        """True when the publisher has to wait rather than that this message leaves the log."""
        return self.when_full is WhenFull.BLOCK and self._needs(offset)

    def on_evicted(self, offset: int) -> None:
        """The message leaves the log. One that is handed out may still be acked."""
        if self.when_full is WhenFull.DISCONNECT and self._needs(offset):
            self.end(TOO_SLOW)
        elif offset >= self.position:
            self.position = offset + 1
            self._miss(offset, EXPIRED if self.log.message(offset).has_expired() else NOT_RETAINED)
        self._expired.discard(offset)

    def _needs(self, offset: int) -> bool:
        if offset < self.position:
            return offset in self._out
        message = self.log.message(offset)
        return self._wants(message.topic) and not message.has_expired()

    # What a subscriber says

    def assign(self, holder: ReceivingEnd[Delivery] | None, reason: str) -> None:
        """From now on `holder` reads, from the committed position; acks of the one before are stale."""
        if self.ended:
            return
        was, self.holder = self.holder, holder
        self._rewind(reason)
        names = {"was": was.name if was else "", "now": holder.name if holder else ""}
        record(Kind.STATE, self.name, who="", **names, reason=reason, generation=self.generation)
        for end in (was, holder):
            if end is not None:
                end.signal.notify_all()

    def take(self, to: str) -> Delivery | None:
        """Hand out the next message, as a copy of its own, or None when there is none now.

        There is none either while as many are out as the log may retain: what is out is bounded too.
        """
        while not self.at_end and not self._is_full:
            offset, self.position = self.position, self.position + 1
            message = self.log.message(offset)
            if not self._wants(message.topic) or offset in self._expired:
                continue
            if not message.has_expired():
                return self._hand_out(offset, message, to)
            self._miss(offset, EXPIRED)
            if self._out:
                self._expired.add(offset)
            self.log.room.notify()
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
        self._wake_holder()
        return Settled.DONE

    def end(self, reason: str) -> None:
        """Read no more, and drop whatever is not acked, each counted. Idempotent."""
        if self.ended:
            return
        self.ended, self.told = reason, reason != TOO_SLOW
        self.log.cursors.remove(self)
        if not self.log.closed:
            record(Kind.CLOSED, self.name, who="", reason=reason)
        self.generation += 1
        for delivery in self._out.values():
            self._give_up(delivery, reason)
        self._out.clear()
        for offset in range(self.position, self.log.end):
            self._miss(offset, reason)
        self.log.room.notify()
        self.wake()

    def _hand_out(self, offset: int, message: TopicMessage, to: str) -> Delivery:
        before, first = self._times.get(offset, (0, anyio.current_time()))
        self._times[offset] = before + 1, first
        copy, lease, generation = cast(TopicMessage, message.copy()), next(self._leases), self.generation
        delivery = Delivery(copy, offset, before + 1, first, generation, lease, to, self)
        self._out[offset] = delivery
        self._tell(Kind.DELIVERED, delivery, who=to, deliveries=before + 1, generation=generation)
        return delivery

    def _commit(self) -> None:
        """Let the committed position pass everything that is settled, and say so."""
        was_full = self._is_full
        while self._out and (first := next(iter(self._out.values()))).ending:
            self._finish(first)
            del self._out[first.offset]
        self.log.room.notify()
        if self.log.closed or was_full:
            self.wake()

    def _finish(self, delivery: Delivery) -> None:
        assert delivery.ending is not None
        kind, facts = delivery.ending
        self._tell(kind, delivery, who=delivery.to, **facts)
        delivery.committed = True
        del self._times[delivery.offset]

    def _rewind(self, reason: str) -> None:
        """Back to the committed position: a new generation. What left the log meanwhile cannot come back."""
        self.generation += 1
        back, self._out = self._out, OrderedDict()
        self.position = max(self.log.first, next(iter(back), self.position))
        for delivery in back.values():
            if delivery.offset >= self.position:
                self._tell(Kind.RETURNED, delivery, who="", reason=reason)
            else:
                self._give_up(delivery, NOT_RETAINED)

    def _give_up(self, delivery: Delivery, reason: str) -> None:
        """It cannot be handed out again: it was done, or it is dropped."""
        if delivery.ending:
            self._finish(delivery)
        else:
            self._tell(Kind.DROPPED, delivery, who="", reason=reason)
            self.dropped[reason] += 1
            del self._times[delivery.offset]

    def _miss(self, offset: int, reason: str) -> None:
        """Drop a message that is not out, if it was wanted and not dropped before."""
        message = self.log.message(offset)
        self._times.pop(offset, None)
        if self._wants(message.topic) and offset not in self._expired:
            record(Kind.DROPPED, self.name, message.id, who="", reason=reason, offset=offset)
            self.dropped[reason] += 1

    def _stale(self, delivery: Delivery, attempted: str) -> Settled:
        self._tell(Kind.STALE, delivery, attempted=attempted, generation=delivery.generation)
        return Settled.STALE

    def _tell(self, kind: Kind, delivery: Delivery, *, who: str | None = None, **facts: Any) -> None:
        facts |= {"lease": delivery.lease, "offset": delivery.offset}
        record(kind, self.name, delivery.message.id, who=who, **facts)

    def _wake_holder(self) -> None:
        if self.holder is not None:
            self.holder.signal.notify_all()


def _offset(log: RetainedLog, start: int | Start | str) -> int:
    """The offset at which a new cursor starts. Raises ValueError for one that is not in the log."""
    if isinstance(start, bool | str) or not isinstance(start, int):
        return log.first if Start(str(start)) is Start.EARLIEST else log.end
    if log.first <= start <= log.end:
        return start
    raise ValueError(
        f"{log.name} has the offsets {log.first} to {log.end}, not {start}; start at one of "
        "them, at 'earliest' or at 'latest'"
    )


class DurableSubscriber(ReceivingEnd[Delivery]):
    """The receiving end of a durable subscription, which stays when this end leaves.

    `with channel.durable(…) as subscriber: async for delivery in subscriber: …; await delivery.ack()`
    """

    def __init__(self, cursor: Cursor, name: str) -> None:
        self.name = name
        self.cursor = cursor
        self.signal = Signal()
        self._connected = self._left = False

    @property
    def where(self) -> str:
        """The name of the subscription, such as 'orders.* → billing'."""
        return self.cursor.name

    @property
    def committed(self) -> int:
        """The offset from which everything would be handed out again. To ask takes nothing over."""
        return self.cursor.committed

    @property
    def dropped(self) -> Counter[str]:
        """The number of messages that this subscription has missed, by reason."""
        return self.cursor.dropped

    def receive_nowait(self) -> Delivery:
        """Take the next message, and before the first one connect. Raises `anyio.WouldBlock`.

        Raises `SubscriptionEnded`, and `Disconnected` when somebody else has connected or when the
        subscription fell behind, also if that was while its subscriber was away: once, and then it can
        be made anew.
        """
        cursor = self.cursor
        if self._left:
            raise SubscriptionEnded(f"{cursor.name} was left")
        self._connect()
        if cursor.ended == TOO_SLOW:
            cursor.told = True
            raise Disconnected(
                f"{cursor.name} fell behind by more than the log retains: it missed "
                f"{cursor.dropped[TOO_SLOW]} messages and all that came after them; subscribe again"
            )
        if cursor.ended:
            raise SubscriptionEnded(f"{cursor.name} has ended: {cursor.ended}")
        if cursor.holder is not self:
            raise Disconnected(f"{cursor.name} was taken over by somebody else")
        delivery = cursor.take(self.name)
        if delivery is not None:
            return delivery
        if cursor.log.closed and cursor.at_end:
            raise SubscriptionEnded(f"{cursor.log.name} is closed and everything was received")
        raise anyio.WouldBlock

    def leave(self) -> None:
        """Be away. The subscription stays, and so does its committed position. Idempotent."""
        self._left = True
        if self.cursor.holder is self:
            self.cursor.assign(None, "left")

    def _connect(self) -> None:
        if not self._connected:
            self._connected = True
            self.cursor.assign(self, "connected")

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

"""Partitions: one topic in several logs by key, and groups whose members share the logs among them.

Messages of one key are in one partition, and only there is any order promised: that of each
publisher. Each partition of a group has one owner at a time. When members come, go or fall silent,
partitions move; each moved one goes on at its committed offset, so messages may come twice and none
is skipped, and the acks of its former owner are stale.

*Left out:* changing the number of partitions, which moves keys; and asking the owner before its
partition moves, with which a broker avoids most duplicates.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections import Counter
from typing import Any, Self
from zlib import crc32

import anyio
import anyio.lowlevel

from .. import values
from ..backpressure import WhenFull
from ..message import Message
from ..signal import Disconnected, ReceivingEnd, Signal
from ..trace import whoami
from .cursor import Cursor, Delivery, RetainedLog
from .topics import ChannelClosed, Published, Start, SubscriptionEnded, TopicMessage, check_topic, policy_of


class PartitionedTopic:
    """A topic whose messages are spread over partitions, each a log of its own."""

    def __init__(self, name: str, *, partitions: int, retain: int) -> None:
        """`retain` is how many messages each partition keeps."""
        check_topic(values.name("name", name))
        numbers = range(values.count("partitions", partitions))
        self.name = name
        self.logs = [RetainedLog(f"{name}[{number}]", retain) for number in numbers]
        self.groups: dict[str, PartitionGroup] = {}
        self._turn = itertools.cycle(numbers)
        self._numbers = itertools.count(1)  # of members without a name

    def partition_of(self, key: str) -> int:
        """The partition of a key: always the same one, in every process."""
        return crc32(key.encode()) % len(self.logs)

    async def publish(self, message: Message) -> Published:
        """Keep a copy in the partition of its key, or without a key in each in turn.

        Waits while a group whose policy is to block needs the oldest message there; cancelling the
        wait takes the message back. Raises `ChannelClosed`, and TypeError for a message that is not JSON.
        """
        await anyio.lowlevel.checkpoint()
        number = next(self._turn) if message.key is None else self.partition_of(message.key)
        log = self.logs[number]
        kept = await log.publish(TopicMessage.of(log.name, message))
        return dataclasses.replace(kept, partition=number)

    def join(
        self,
        group: str,
        *,
        when_full: WhenFull | str,
        name: str | None = None,
        start: Start | str = Start.LATEST,
        session: float = 10.0,
    ) -> Member:
        """Become a member of a group; the first one makes it, from `start` on.

        A member that asks for no message for `session` seconds counts as dead, and its partitions
        move. One that joins with the name of another, as after a crash, takes its place. Raises
        ValueError when the group has another policy or session, for the policies to disconnect and to
        drop the newest, and `ChannelClosed`.
        """
        found = self.groups.get(group)
        if found is None:
            if self.logs[0].closed:
                raise ChannelClosed(f"{self.name} is closed: there is nothing to join")
            found = self.groups[group] = PartitionGroup(group, self.logs, when_full, Start(start), session)
        elif (found.when_full, found.session) != (when_full, session):
            raise ValueError(
                f"the group {group} has the policy '{found.when_full}' and a session of {found.session:g} s; "
                "every member must join with the same"
            )
        name = whoami() if name is None else values.name("name", name)
        return Member(found, name or f"member-{next(self._numbers)}")

    def unsubscribe(self, group: str) -> None:
        """End a group for good; what it has not acked is dropped and counted. Raises KeyError."""
        for cursor in self.groups.pop(group).cursors:
            cursor.end("unsubscribed")

    def close(self) -> None:
        """Take no more; members end when everything is received and acked. Idempotent."""
        for log in self.logs:
            log.close()


class PartitionGroup:
    """Members that share the partitions of a topic. One that falls silent is found by those that ask."""

    def __init__(
        self, name: str, logs: list[RetainedLog], when_full: WhenFull | str, start: Start, session: float
    ) -> None:
        self.name = values.name("group", name)
        self.when_full = policy_of("a group", when_full, (WhenFull.BLOCK, WhenFull.DROP_OLDEST))
        self.session = values.duration("session", session, zero=False)
        how: dict[str, Any] = {"when_full": when_full, "start": start, "wake": self._wake_all}
        self.cursors = [Cursor(log, f"{log.name} → {name}", log.name, **how) for log in logs]
        self.members: dict[str, Member] = {}  #: the newest of each name

    @property
    def owners(self) -> list[str]:
        """The owner of each partition, "" where there is none."""
        return [cursor.holder.name if cursor.holder else "" for cursor in self.cursors]

    @property
    def committed(self) -> list[int]:
        """The committed offset of each partition."""
        return [cursor.committed for cursor in self.cursors]

    @property
    def dropped(self) -> Counter[str]:
        """The number of messages that the group has missed, by reason."""
        return sum((cursor.dropped for cursor in self.cursors), Counter())

    def is_replaced(self, member: Member) -> bool:
        """True when another one has joined under its name."""
        return self.members.get(member.name, member) is not member

    def heard(self, member: Member) -> None:
        """The member is new, or lives, or lives again. Whoever it replaces or fell silent is out."""
        now = member.heard_at = anyio.current_time()
        reason = ""
        if self.members.get(member.name) is not member:
            self.members.pop(member.name, None)
            self.members[member.name] = member
            reason = f"{member.name} joined"
        for other in list(self.members.values()):
            if other.heard_at + self.session <= now:
                del self.members[other.name]
                reason = f"{other.name} fell silent"
        if reason:
            self.rebalance(reason)

    def leave(self, member: Member) -> None:
        """Give its partitions to the others. Nothing happens when it is out already."""
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self.rebalance(f"{member.name} left")

    def rebalance(self, reason: str) -> None:
        """Spread the partitions evenly over the members, moving no more of them than needed."""
        shares = {member: [c for c in self.cursors if c.holder is member] for member in self.members.values()}
        fair, more = divmod(len(self.cursors), max(1, len(shares)))
        largest_first = sorted(shares, key=lambda member: -len(shares[member]))
        quotas = {member: fair + (place < more) for place, member in enumerate(largest_first)}
        kept = {cursor for member in shares for cursor in shares[member][: quotas[member]]}
        free = (cursor for cursor in self.cursors if cursor not in kept)
        for member, share in shares.items():
            for cursor in itertools.islice(free, max(0, quotas[member] - len(share))):
                cursor.assign(member, reason)
        for cursor in free:  # only when nobody is left
            cursor.assign(None, reason)
        self._wake_all()

    def _wake_all(self) -> None:
        for member in self.members.values():
            member.signal.notify_all()


class Member(ReceivingEnd[Delivery]):
    """A member of a group: receives from the partitions that it owns, from each in turn.

    `with topic.join(…) as member: async for delivery in member: …; await delivery.ack()`
    """

    def __init__(self, group: PartitionGroup, name: str) -> None:
        self.name = name
        self.group = group
        self.signal = Signal()
        self.heard_at = -math.inf  #: when it last asked for a message, on anyio's clock
        self._left = False
        self._served = 0  # the partition that was served last
        group.heard(self)

    @property
    def where(self) -> str:
        """The name of the group's subscription; that of a partition has the partition's number in it."""
        return self.group.name

    @property
    def partitions(self) -> list[int]:
        """The numbers of the partitions that it owns now."""
        return [number for number, cursor in enumerate(self.group.cursors) if cursor.holder is self]

    def receive_nowait(self) -> Delivery:
        """Take the next message. Raises `anyio.WouldBlock`, `SubscriptionEnded`, `Disconnected`.

        To ask is also to say: I am alive.
        """
        cursors = self.group.cursors
        if self.group.is_replaced(self):
            raise Disconnected(f"another {self.name} has joined {self.group.name} in the place of this one")
        if self._left:
            raise SubscriptionEnded(f"{self.name} has left {self.group.name}")
        if all(cursor.ended for cursor in cursors):
            raise SubscriptionEnded(f"{self.group.name} has ended: {cursors[0].ended}")
        self.group.heard(self)
        for step in range(1, len(cursors) + 1):
            number = (self._served + step) % len(cursors)
            mine = cursors[number].holder is self
            if mine and (delivery := cursors[number].take(self.name)) is not None:
                self._served = number
                return delivery
        if all(cursor.log.closed and self._is_done(cursor) for cursor in cursors):
            raise SubscriptionEnded(f"everything was received by {self.group.name}")
        raise anyio.WouldBlock

    async def _wait(self) -> Delivery:
        """Ask again and again: that shows life."""
        patience = self.group.session / 3
        while True:
            with contextlib.suppress(anyio.WouldBlock):
                return await self.signal.first(self.receive_nowait, anyio.WouldBlock, timeout=patience)

    def _is_done(self, cursor: Cursor) -> bool:
        """True when nothing of this partition will come here; what others have out may still come."""
        return cursor.at_end if cursor.holder is self else cursor.committed >= cursor.log.end

    def leave(self) -> None:
        """Leave the group: others get what it owns, from the committed offsets on. Idempotent."""
        if not self._left:
            self._left = True
            self.group.leave(self)
            self.signal.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

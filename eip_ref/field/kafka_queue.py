"""The queue protocol on Kafka: a share group, whose members take records one by one and settle each.

A member has one record at a time, so each lease here has a member of its own; members that are free wait
for the next `receive`. Where none is free, a new one joins first, and the time to wait begins after that.
A lease is the lock of a record, one length for all, and cannot be extended.

*Left out:* messages for later, which Kafka does not know.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import anyio
from confluent_kafka import AcknowledgeType
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from .. import values
from ..message import Message
from ..message_queue import Backoff
from .kafka import ANSWER, RETRY, KafkaAdapter, Writer, in_thread, make_topic
from .kafka_member import Member
from .queue import ROOM, BrokerQueue, Delivery, Unsupported

__all__ = ["KafkaQueue"]

LIMIT = 10  #: deliveries after which Kafka gives a record up in silence: the most that it allows
LONGEST = 60.0  #: seconds of a lock: the most that it allows


class KafkaQueue(KafkaAdapter, BrokerQueue):
    """A topic with a share group. Dead letters are put into a second one, "<name>-dead".

    A lease has at least one second. After ten deliveries Kafka forgets a message, so `max_failures` is
    at most 9.
    """

    _may_lease_for_ever = False

    def __init__(
        self,
        url: str,
        name: str,
        *,
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = 5,
        max_bytes: int = 1_000_000,
        dead_letters: bool = True,
    ) -> None:
        backoff = backoff or Backoff(0.0)
        super().__init__(
            name, lease=lease, backoff=backoff, max_failures=max_failures, dead_letters=dead_letters
        )
        if not 1 <= lease <= LONGEST:
            raise ValueError(f"Kafka leases for 1 to {LONGEST:g} s, not for {lease} s")
        if capacity is not None:
            raise Unsupported("a topic has no capacity: it evicts the oldest, or grows")
        if (max_failures or 0) >= LIMIT:
            raise ValueError(f"max_failures must be below {LIMIT}, not {max_failures}")
        self._url, self._max_bytes = url, values.count("max_bytes", max_bytes)
        if dead_letters:
            room = max_bytes + ROOM
            self.dead_letters = KafkaQueue(
                url, f"{name}-dead", lease=lease, max_failures=None, max_bytes=room, dead_letters=False
            )
        self._writer = Writer(url, max_bytes=max_bytes, max_batch=1)
        self._members: list[Member] = []
        self._free: list[Member] = []  # members that have no record
        self._rests: dict[Delivery, asyncio.TimerHandle] = {}

    async def _connect(self, parts: AsyncExitStack) -> None:
        await make_topic(self._url, self.name, config={"max.message.bytes": str(self._max_bytes)})
        await in_thread(self._configure)
        await parts.enter_async_context(self._writer)
        parts.push_async_callback(self._leave)
        if self.dead_letters is not None:  # one works while another's record rests
            self._free += [self._member(), self._member()]
            for member in self._free:
                await member.joined()

    def _configure(self) -> None:
        """Set the lease of the group, and let it begin with the oldest record."""
        wanted = {
            "share.auto.offset.reset": "earliest",
            "share.record.lock.duration.ms": str(int(self.lease * 1000)),
            "share.delivery.count.limit": str(LIMIT),
        }
        entries = [
            ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
            for name, value in wanted.items()
        ]
        group = ConfigResource(ResourceType.GROUP, self.name, incremental_configs=entries)
        admin = AdminClient({"bootstrap.servers": self._url, **RETRY})
        admin.incremental_alter_configs([group], request_timeout=ANSWER)[group].result()

    async def _leave(self) -> None:
        for rest in self._rests.values():
            rest.cancel()
        for member in self._members:
            member.leave()
        async with anyio.create_task_group() as leaving:
            for member in self._members:
                leaving.start_soon(member.gone)
        self._members.clear()
        self._free.clear()

    def _member(self) -> Member:
        member = Member(self._url, self.name)
        self._members.append(member)
        return member

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        if delay:
            raise Unsupported("Kafka knows no delay")
        await self._writer.write(self.name, content, message.key)

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        if seconds != self.lease:
            raise Unsupported("the locks of a share group have one length: open the queue with it")
        member = self._free.pop() if self._free else self._member()
        try:
            await member.joined()
            end = anyio.current_time() + timeout
            while (arrived := await member.take()) is None:
                if anyio.current_time() >= end:
                    self._free.append(member)
                    return None
        except TimeoutError:  # its thread hangs in the client
            raise
        except BaseException:
            self._free.append(member)
            raise
        return _delivery(member, arrived)

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        return await self._settled(delivery, AcknowledgeType.ACCEPT)

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        if not delay:
            return await self._settled(delivery, AcknowledgeType.RELEASE)
        if delivery.timer is not None and self._loop.time() + delay > delivery.timer.when():
            raise Unsupported("a record can rest no longer than its lock still lasts")
        self._rests[delivery] = self._loop.call_later(delay, self._release, delivery)
        return True

    def _release(self, delivery: Delivery) -> None:
        self._rests.pop(delivery, None)
        member: Member = delivery.handle
        member.release()
        self._free.append(member)

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        raise Unsupported("the client cannot extend the lock of a record")

    def _expired(self, delivery: Delivery) -> None:
        """The member has to say something of the record before it gets another, and has no more to say."""
        if not delivery.lock.locked():
            self._release(delivery)

    async def _settled(self, delivery: Delivery, how: AcknowledgeType) -> bool:
        member: Member = delivery.handle
        done = await member.settle(how)
        self._free.append(member)
        return done


def _delivery(member: Member, arrived: Any) -> Delivery:
    return Delivery(
        content=arrived.value(),
        handle=member,
        token=arrived.delivery_count(),  # of this record alone
        sequence=arrived.offset(),
        deliveries=arrived.delivery_count(),
        failures=arrived.delivery_count() - 1,
    )

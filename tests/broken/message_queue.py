"""Message queues, consumers and receivers that break one promise each, as they are broken in earnest."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable

import anyio

from eip_ref.message import Message
from eip_ref.message_queue import Lease, Ledger, MessageQueue, Queue, QueueFull, StoredMessage, Worker

__all__ = [
    "AcksOnReceive",
    "CountsOnlyNacks",
    "DropsTheDead",
    "NeedsNoLease",
    "RemembersForEver",
    "acks_in_finally",
    "claims_global_fifo",
    "retries_in_place",
]

Handler = Callable[[Message], Awaitable[None]]


class AcksOnReceive(MessageQueue):
    """Takes the handing out for the work: what a consumer dies of is gone with it."""

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        granted = await super().receive(lease=lease, timeout=timeout, consumer=consumer)
        await granted.ack()
        return granted


class NeedsNoLease(MessageQueue):
    """Waits for the consumer's answer, however long: one that died keeps its message for ever."""

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        return await super().receive(lease=math.inf, timeout=timeout, consumer=consumer)


class CountsOnlyNacks(MessageQueue):
    """Does not count a lease that ran out: what kills its consumer never reaches the dead letters."""

    def _expire(self, stored: StoredMessage) -> None:
        stored.failures -= 1
        super()._expire(stored)


class DropsTheDead(MessageQueue):
    """Dead letters that say "accepted" when they are full, and keep nothing."""

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        try:
            await super().put(message, delay=delay)
        except QueueFull:
            return


class RemembersForEver(Ledger):
    """Never forgets the id of a message."""

    def __init__(self, *, remember: int) -> None:
        super().__init__(remember=sys.maxsize)


def retries_in_place(handle: Handler) -> Handler:
    """Tries again inside the handler, while the lease runs out and somebody else begins too."""

    async def again_and_again(message: Message) -> None:
        while True:
            try:
                return await handle(message)
            except ConnectionError:
                await anyio.sleep(4)

    return again_and_again


async def acks_in_finally(queue: Queue, handle: Handler) -> None:
    """Acks however the handler ended: also what failed, and what was cancelled."""
    while True:
        lease = await queue.receive()
        try:
            await handle(lease.message)
        except ConnectionError:
            continue
        finally:
            await lease.ack()


async def claims_global_fifo(queue: Queue, handle: Handler) -> None:
    """Three workers and no keys, because a queue is first in, first out."""
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(Worker(queue, handle).run)

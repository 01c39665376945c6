"""Redis streams: a stream with one consumer group as a queue, by redis-py.

The group hands an entry to a consumer and keeps it as pending until it is acked. There is no lease: whoever
receives first claims what has been pending for longer than the queue's lease. So a nack, a release and a
lease of another length are commands that change for how long the entry seems to have been pending.
"""

from __future__ import annotations

import math
from contextlib import AsyncExitStack
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from ..message import Message
from ..message_queue import Backoff
from ..trace import new_id
from .connections import unbroken
from .queue import BrokerQueue, Delivery, Unsupported

__all__ = ["LOST", "RedisQueue", "pooled", "retrying"]

LOST = (ConnectionError, TimeoutError, OSError)  #: what the client raises when the server is gone
GROUP = "workers"
BLOCK = 0.1  #: seconds that one command waits at the server

TAKE = """
local stream, later, group, consumer = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
for _, content in ipairs(redis.call('ZRANGEBYSCORE', later, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('XADD', stream, '*', 'content', content)
    redis.call('ZREM', later, content)
end
local claimed = redis.call('XAUTOCLAIM', stream, group, consumer, ARGV[3], '0-0', 'COUNT', 1)[2][1]
if claimed then
    local pending = redis.call('XPENDING', stream, group, claimed[1], claimed[1], 1)[1]
    return {claimed[1], claimed[2][2], pending[4]}
end
local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', 1, 'STREAMS', stream, '>')
return read and {read[1][2][1][1], read[1][2][1][2][2], 1}
"""
"""Moves what is due into the stream, then takes what others have held for too long, or else what is new."""

LATER = """
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + time[2] / 1000 + ARGV[1], ARGV[2])
"""


class RedisQueue(BrokerQueue):
    """A queue in a stream. Delayed messages wait in "<name>.later", dead ones in the stream "<name>.dead".

    The lease is one for all who have the queue open. A receiver may choose a shorter one, and no longer one.
    """

    _lost = LOST
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
        dead_letters: bool = True,
    ) -> None:
        super().__init__(
            name, lease=lease, backoff=backoff, max_failures=max_failures, dead_letters=dead_letters
        )
        if backoff is None:
            self.backoff = Backoff(max_delay=min(60.0, lease))
        if capacity is not None:
            raise Unsupported("a stream with a length evicts its oldest entries, and refuses none")
        if dead_letters:
            self.dead_letters = RedisQueue(
                url, f"{name}.dead", lease=lease, max_failures=None, dead_letters=False
            )
        self._url, self._consumer, self._later = url, new_id(), f"{name}.later"

    async def _connect(self, parts: AsyncExitStack) -> None:
        self._redis = pooled(self._url)
        parts.push_async_callback(self._redis.aclose)
        try:
            await self._redis.xgroup_create(self.name, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        if delay:
            await self._redis.eval(LATER, 1, self._later, delay * 1000, content)
        else:
            await self._redis.xadd(self.name, {"content": content})

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        if seconds > self.lease:
            raise Unsupported("a lease ends when others claim: it cannot be longer than the queue's")
        return await unbroken(self._take_or_wait(seconds, min(BLOCK, timeout)), self._give_back)

    async def _take_or_wait(self, seconds: float, wait: float) -> Delivery | None:
        lease = math.ceil(self.lease * 1000)
        taken = await self._redis.eval(TAKE, 2, self.name, self._later, GROUP, self._consumer, lease)
        if taken is None and wait > 0:
            taken = await self._next(wait)
        if taken is None:
            return None
        delivery = _delivery(*taken)
        if seconds < self.lease:
            await self._set_pending(delivery, self.lease - seconds)
        return delivery

    async def _next(self, wait: float) -> tuple[bytes, bytes, int] | None:
        """Wait at the server for what is new."""
        block = max(1, math.ceil(wait * 1000))
        found = await self._redis.xreadgroup(GROUP, self._consumer, {self.name: ">"}, count=1, block=block)
        return next(
            ((entry, next(iter(fields.values())), 1) for _, each in found for entry, fields in each), None
        )

    async def _give_back(self, delivery: Delivery | None) -> None:
        if delivery is not None:
            await self._set_pending(delivery, self.lease, deliveries=delivery.deliveries - 1)

    async def _set_pending(self, delivery: Delivery, seconds: float, deliveries: int | None = None) -> bool:
        """Let the entry look as if it had been pending for so long: at the lease, others claim it."""
        counted = delivery.deliveries if deliveries is None else deliveries
        claimed = await self._redis.xclaim(
            self.name,
            GROUP,
            self._consumer,
            0,
            [delivery.handle],
            idle=math.ceil(seconds * 1000),
            retrycount=counted,
            justid=True,
        )
        return bool(claimed)

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        async with self._redis.pipeline(transaction=True) as both:
            both.xack(self.name, GROUP, delivery.handle)
            both.xdel(self.name, delivery.handle)
            acked, _ = await both.execute()
        return bool(acked)

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        if delay > self.lease:
            raise Unsupported("an entry can rest no longer than its lease")
        counted = delivery.deliveries if failed else delivery.deliveries - 1
        return await self._set_pending(delivery, self.lease - delay, deliveries=counted)

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        if seconds > self.lease:
            raise Unsupported("a lease ends when others claim: it cannot be longer than the queue's")
        return await self._set_pending(delivery, self.lease - seconds)


def _delivery(entry: bytes, content: bytes, deliveries: int) -> Delivery:
    milliseconds, _, number = entry.decode().partition("-")
    sequence = int(milliseconds) * 1_000 + int(number)
    return Delivery(content, entry, sequence, sequence, deliveries, deliveries - 1)


def pooled(url: str, retries: int = 0) -> Any:
    """A client with some connections, for one of which a caller waits."""
    retry = retrying(retries)
    pool = redis.asyncio.BlockingConnectionPool.from_url(url, max_connections=20, timeout=None, retry=retry)
    return redis.asyncio.Redis.from_pool(pool)


def retrying(retries: int) -> Retry:
    """Not the client's own three: a command that was lost on its way back would be carried out again."""
    return Retry(NoBackoff(), retries)

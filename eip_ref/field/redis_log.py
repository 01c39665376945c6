"""The log protocol on a Redis stream, by redis-py.

A stream gives its entries times for ids, which nobody can count. So a script appends: it gives each entry
its offset, plus one, as the first half of its id, and all scripts of a server run one after the other.

*Left out:* a cluster, in which the keys of one log would have to be in one slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import redis
import redis.asyncio

from .. import values
from ..message import Message
from ..storage import OffsetGone, Record
from .log import BrokerGroup, BrokerLog
from .redis_streams import LOST, pooled, retrying
from .wire import clock_shift, records

__all__ = ["RedisGroup", "RedisLog"]

BLOCK = 0.1  #: seconds that one command waits at the server

APPEND = """
local entry = redis.call('INCR', KEYS[2])
local time = redis.call('TIME')
local at = time[1] .. '.' .. string.format('%06d', time[2])
redis.call('XADD', KEYS[1], entry .. '-0', 'content', ARGV[1], 'at', at)
return entry
"""
BOUNDS = """
local last = tonumber(redis.call('GET', KEYS[2]) or '0')
local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)
local first = oldest[1] and tonumber(string.match(oldest[1][1], '^%d+')) - 1 or last
return {first, last}
"""
COMMIT = """
local committed = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
if tonumber(ARGV[2]) <= committed then return committed end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return tonumber(ARGV[2])
"""


class RedisLog(BrokerLog):
    """A `Log` in a stream: `async with RedisLog("redis://localhost", "orders") as log: …`."""

    _lost = LOST

    def __init__(self, url: str, name: str) -> None:
        super().__init__(url, name)
        self._keys = name, f"{name}.end"

    async def _open(self, parts: AsyncExitStack) -> None:
        self._redis = pooled(self._url, retries=3)
        parts.push_async_callback(self._redis.aclose)
        await self._redis.ping()
        # Appends go over one connection, so that those that wait for no confirm keep their order.
        self._writer = redis.asyncio.from_url(self._url, single_connection_client=True, retry=retrying(0))
        parts.push_async_callback(self._writer.aclose)
        self._blocking = redis.from_url(self._url)
        parts.callback(self._blocking.close)

    def _bounds(self) -> tuple[int, int]:
        first, end = self._blocking.eval(BOUNDS, 2, *self._keys)
        return int(first), int(end)

    async def _append(self, content: bytes, message: Message) -> int:
        return int(await self._writer.eval(APPEND, 2, *self._keys, content)) - 1

    async def _read(self, offset: int, limit: int) -> list[Record]:
        async with self._redis.pipeline(transaction=True) as both:
            both.eval(BOUNDS, 2, *self._keys)
            both.xrange(self.name, min=f"{offset + 1}-0", count=limit)
            (first, end), entries = await both.execute()
        if offset < first:
            raise OffsetGone(self.name, offset, first)
        if offset > end:
            raise ValueError(f"the next offset of {self.name} is {end}, not {offset}")
        return records(self.name, entries, _offset, _content)

    async def _wait(self, offset: int) -> None:
        found = None
        while not found:
            found = await self._redis.xread({self.name: f"{offset}-0"}, count=1, block=int(BLOCK * 1000))

    async def forget(self, before: int) -> None:
        """Evict the messages with lower offsets."""
        values.count("before", before, minimum=0)
        with self._reaching():
            await self._redis.xtrim(self.name, minid=f"{before + 1}-0", approximate=False)

    @asynccontextmanager
    async def _group(self, name: str) -> AsyncIterator[RedisGroup]:
        yield RedisGroup(self, name)


class RedisGroup(BrokerGroup):
    """A named reader of a log: what it has committed is where it goes on. A commit never moves back."""

    log: RedisLog

    async def committed(self) -> int:
        with self.log._reaching():
            return int(await self.log._redis.hget(self._place, self.name) or 0)

    async def _go_to(self, offset: int, *, back: bool) -> int:
        with self.log._reaching():
            if not back:
                return int(await self.log._redis.eval(COMMIT, 1, self._place, self.name, offset))
            await self.log._redis.hset(self._place, self.name, str(offset))
        return offset

    @property
    def _place(self) -> str:
        return f"{self.log.name}.groups"


def _offset(entry: tuple[bytes, Any]) -> int:
    return int(entry[0].partition(b"-")[0]) - 1


def _content(entry: tuple[bytes, dict[bytes, Any]]) -> tuple[bytes, float]:
    return entry[1][b"content"], float(entry[1][b"at"]) - clock_shift()

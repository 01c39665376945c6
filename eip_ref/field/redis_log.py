"""The log protocol on a Redis stream, by redis-py.

A stream gives its entries times for ids, which nobody can count. So a script appends: it gives each entry
its offset, plus one, as the first half of its id, and all scripts of a server run one after the other.
`first` and `end` ask the server, and stop the event loop for that round trip.

*Left out:* a cluster, in which the keys of one log would have to be in one slot.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import redis
import redis.asyncio

from .. import values
from ..message import Message
from ..signal import Signal
from ..storage import OffsetGone, Record
from ..trace import Kind, record
from .connections import Adapter
from .redis_streams import LOST, pooled, retrying
from .wire import clock_shift, encoded, records

__all__ = ["RedisGroup", "RedisLog"]

BLOCK = 0.1  #: seconds that one command waits at the server
GOODBYE = 1.0  #: seconds for what is under way when the log is left

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


class RedisLog(Adapter):
    """A `Log` in a stream: `async with RedisLog("redis://localhost", "orders") as log: …`.

    Raises ConnectionError when the server is gone: whether an append was heard is then unknown.
    """

    _lost = LOST

    def __init__(self, url: str, name: str) -> None:
        self.name = values.name("name", name)
        self._keys = name, f"{name}.end"
        self._url = url
        self._under_way = 0  # questions
        self._answered = Signal()

    async def _open(self, parts: AsyncExitStack) -> None:
        self._redis = pooled(self._url, retries=3)
        parts.push_async_callback(self._redis.aclose)
        await self._redis.ping()
        # Appends go over one connection, so that those that wait for no confirm keep their order.
        self._writer = redis.asyncio.from_url(self._url, single_connection_client=True, retry=retrying(0))
        parts.push_async_callback(self._writer.aclose)
        self._blocking = redis.from_url(self._url)
        parts.callback(self._blocking.close)
        parts.push_async_callback(self._let_them_end)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        with super()._reaching():
            self._under_way += 1
            try:
                yield
            finally:
                self._under_way -= 1
                self._answered.notify_all()

    async def _let_them_end(self) -> None:
        """The client opens another connection for a question whose own is closed under it."""
        with anyio.move_on_after(GOODBYE):
            while self._under_way:
                await self._answered.wait()

    # Bounds

    @property
    def first(self) -> int:
        """The offset of the oldest message that is kept, or `end` when there is none."""
        with self._reaching():
            return int(self._blocking.eval(BOUNDS, 2, *self._keys)[0])

    @property
    def end(self) -> int:
        """The offset that the next message will have."""
        with self._reaching():
            return int(self._blocking.eval(BOUNDS, 2, *self._keys)[1])

    # Appended and read

    async def append(self, message: Message) -> int:
        """Return the offset of the message after it is kept. See `Log`."""
        content = encoded(message)
        with self._reaching():
            record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
            offset = int(await self._writer.eval(APPEND, 2, *self._keys, content)) - 1
        record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key, offset=offset)
        return offset

    async def read(self, offset: int, *, limit: int = 100) -> list[Record]:
        """At most `limit` messages from `offset` on, in order. See `Log`."""
        values.count("offset", offset, minimum=0)
        values.count("limit", limit)
        with self._reaching():
            async with self._redis.pipeline(transaction=True) as both:
                both.eval(BOUNDS, 2, *self._keys)
                both.xrange(self.name, min=f"{offset + 1}-0", count=limit)
                (first, end), entries = await both.execute()
        if offset < first:
            raise OffsetGone(self.name, offset, first)
        if offset > end:
            raise ValueError(f"the next offset of {self.name} is {end}, not {offset}")
        return records(self.name, entries, _offset, _content)

    async def wait(self, offset: int) -> None:
        """Wait until a message with this offset has been appended."""
        values.count("offset", offset, minimum=0)
        found = None
        while not found:
            with self._reaching():
                after = {self.name: f"{offset}-0"}
                found = await self._redis.xread(after, count=1, block=int(BLOCK * 1000))

    async def forget(self, before: int) -> None:
        """Evict the messages with lower offsets."""
        values.count("before", before, minimum=0)
        with self._reaching():
            await self._redis.xtrim(self.name, minid=f"{before + 1}-0", approximate=False)

    # Groups

    @asynccontextmanager
    async def group(self, name: str) -> AsyncIterator[RedisGroup]:
        """A reader that goes on where the group of this name has committed."""
        group = RedisGroup(self, values.name("the name of a group", name))
        await group.rewind()
        yield group

    async def committed(self, group: str) -> int:
        """The offset at which a group goes on."""
        with self._reaching():
            return int(await self._redis.hget(f"{self.name}.groups", group) or 0)

    async def commit(self, group: str, offset: int, *, back: bool = False) -> None:
        """Let a group go on at this offset; only `back` moves it to an earlier one."""
        place, now = f"{self.name}.groups", values.count("offset", offset, minimum=0)
        with self._reaching():
            if back:
                await self._redis.hset(place, group, str(offset))
            else:
                now = int(await self._redis.eval(COMMIT, 1, place, group, offset))
        reason = "sought" if back else "committed"
        record(Kind.STATE, self.name, now=now, reason=reason, group=group)


class RedisGroup:
    """One member of a group: reads ahead, and commits how far the group is."""

    def __init__(self, log: RedisLog, name: str) -> None:
        self.name = name
        self._log = log
        self._place = 0

    async def rewind(self) -> None:
        """Go on where the group has committed."""
        self._place = await self._log.committed(self.name)

    async def read(self, *, limit: int = 100, timeout: float = math.inf) -> list[Record]:
        """The next messages, at least one, unless `timeout` seconds pass without any: then none."""
        if values.duration("timeout", timeout, infinite=True):
            with anyio.move_on_after(timeout):
                await self._log.wait(self._place)
        found = await self._log.read(self._place, limit=limit)
        for offset, message, _ in found:
            record(Kind.DELIVERED, self._log.name, message.id, lease=None, offset=offset, group=self.name)
            self._place = offset + 1
        return found

    async def commit(self, offset: int | None = None) -> None:
        """Let the group go on at this offset, by default after all that was read here. Never moves back."""
        await self._log.commit(self.name, self._place if offset is None else offset)

    async def committed(self) -> int:
        """The offset at which the group goes on."""
        return await self._log.committed(self.name)

    async def seek(self, offset: int) -> None:
        """Go on at this offset, the whole group."""
        await self._log.commit(self.name, offset, back=True)
        self._place = offset


def _offset(entry: tuple[bytes, Any]) -> int:
    return int(entry[0].partition(b"-")[0]) - 1


def _content(entry: tuple[bytes, dict[bytes, Any]]) -> tuple[bytes, float]:
    return entry[1][b"content"], float(entry[1][b"at"]) - clock_shift()

"""PostgreSQL: a table as a queue, by asyncpg.

A row is a message. To take one is to put its lease into its row, in one statement that skips the rows
which others are taking (`SKIP LOCKED`). Whoever settles names the token of the lease, so a lease that is
over settles nothing: all that the lease rules say is kept by conditions of SQL, on the database's clock.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg

from ..message import Message
from ..message_queue import Backoff, QueueFull
from .connections import unbroken
from .queue import BrokerQueue, Delivery

__all__ = ["LOST", "PostgresQueue", "close", "opened"]

INTERVAL = 0.5  #: seconds after which a receiver looks again, should it have missed what it was told
FOR_EVER = 1e9  #: seconds
LOST = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)

TABLES = """
create table if not exists field_messages (
    sequence bigserial primary key,
    queue text not null,
    id text not null,
    key text,
    content bytea not null,
    due timestamptz not null,
    token bigint,
    deliveries int not null default 0,
    failures int not null default 0,
    unique (queue, id)
);
create index if not exists field_messages_order on field_messages (queue, sequence);
create index if not exists field_messages_due on field_messages (queue, due);
create index if not exists field_messages_key on field_messages (queue, key, sequence);
create sequence if not exists field_tokens;
"""

PUT = """
insert into field_messages (queue, id, key, content, due)
select $1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5)
on conflict do nothing
"""

TAKE = """
update field_messages set
    due = clock_timestamp() + make_interval(secs => $2),
    failures = failures + (token is not null)::int,
    deliveries = deliveries + 1,
    token = nextval('field_tokens')
where sequence = (
    select sequence from field_messages as each
    where queue = $1 and due <= clock_timestamp() and (each.key is null or not exists (
        select from field_messages as before
        where before.queue = $1 and before.key = each.key and before.sequence < each.sequence
    ))
    order by sequence for update skip locked limit 1
)
returning sequence, token, content, deliveries, failures
"""

PLANS = dict.fromkeys(("enable_seqscan", "enable_bitmapscan", "enable_sort"), "off")
"""Settings of a connection: go along the order of a queue, and take the first message that is ready.

A statement is planned when the table is empty, and the plan is kept. It would read all that is there, and
all that has been, for each message taken.
"""

HELD = "where sequence = $1 and token = $2 and due > clock_timestamp()"
ACK = f"delete from field_messages {HELD}"
EXTEND = f"update field_messages set due = clock_timestamp() + make_interval(secs => $3) {HELD}"
RETURN = f"""
update field_messages set
    due = clock_timestamp() + make_interval(secs => $3), failures = failures + $4::int, token = null
{HELD}
returning queue
"""


class PostgresQueue(BrokerQueue):
    """A queue in a table. Dead letters are in the same table, as the queue "<name>.dead".

    A message with the id of one that is not settled yet is confirmed, and not stored again.
    """

    _lost = LOST

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
            name,
            lease=lease,
            backoff=backoff,
            capacity=capacity,
            max_failures=max_failures,
            dead_letters=dead_letters,
        )
        if dead_letters:
            self.dead_letters = PostgresQueue(
                url, f"{name}.dead", lease=lease, max_failures=None, dead_letters=False
            )
        self._url = url
        self._told = asyncio.Event()  # something is ready

    async def _connect(self, parts: AsyncExitStack) -> None:
        self._pool = await opened(parts, self._url, TABLES, "field_messages", self._hear, PLANS)

    def _hear(self, connection: object, process: int, channel: str, queue: str) -> None:
        if queue == self.name:
            self._told.set()

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        row = self.name, message.id, message.key, content, delay
        if self.capacity is None:
            await self._pool.execute(f"with put as ({PUT}) select pg_notify('field_messages', $1)", *row)
            return
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext($1))", self.name)
            held = await connection.fetchval(
                "select count(*) from field_messages where queue = $1", self.name
            )
            if held >= self.capacity:
                raise QueueFull(f"{self.name} holds {held} messages and may hold no more")
            await connection.execute(PUT, *row)
            await connection.execute("select pg_notify('field_messages', $1)", self.name)

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        self._told.clear()
        take = self._pool.fetchrow(TAKE, self.name, min(seconds, FOR_EVER))
        row = await unbroken(take, self._give_back)
        if row is not None:
            return _delivery(row)
        if timeout > 0:
            wait = min(timeout, INTERVAL, await self._until_due())
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), wait)
        return None

    async def _until_due(self) -> float:
        """Seconds until the next message is due, whether it rests or its lease ends."""
        seconds = await self._pool.fetchval(
            "select extract(epoch from min(due) - clock_timestamp())::float8 from field_messages"
            " where queue = $1 and due > clock_timestamp()",
            self.name,
        )
        return math.inf if seconds is None else max(0.0, seconds) + 0.001

    async def _give_back(self, row: Any) -> None:
        if row is not None:
            await self._nack(_delivery(row), 0.0, failed=False)

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        done: str = await self._pool.execute(ACK, *delivery.handle)
        return done.endswith(" 1")

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        queue = await self._pool.fetchval(RETURN, *delivery.handle, delay, failed)
        if queue is not None and not delay:
            await self._pool.execute("select pg_notify('field_messages', $1)", queue)
        return queue is not None

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        done: str = await self._pool.execute(EXTEND, *delivery.handle, min(seconds, FOR_EVER))
        return done.endswith(" 1")


async def opened(
    parts: AsyncExitStack,
    url: str,
    tables: str,
    channel: str,
    hear: Callable[..., None],
    settings: Mapping[str, str] | None = None,
) -> Any:
    """A pool of connections to a database that has these tables, and one that hears a channel."""
    pool = await asyncpg.create_pool(url, min_size=1, max_size=4, server_settings=dict(settings or {}))
    parts.push_async_callback(close, pool)
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("select pg_advisory_xact_lock(7)")  # two who come first would both make them
        await connection.execute(tables)
    listener = await asyncpg.connect(url)
    parts.push_async_callback(close, listener)
    await listener.add_listener(channel, hear)
    return pool


async def close(one: Any) -> None:
    """Close a pool or a connection, also one whose server has gone."""
    with suppress(*LOST, TimeoutError):
        await asyncio.wait_for(one.close(), 1)
        return
    one.terminate()


def _delivery(row: Any) -> Delivery:
    return Delivery(
        content=bytes(row["content"]),
        handle=(row["sequence"], row["token"]),
        token=row["token"],
        sequence=row["sequence"],
        deliveries=row["deliveries"],
        failures=row["failures"],
    )

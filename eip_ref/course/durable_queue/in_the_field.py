"""Six orders in a log of Redis, which is killed while billing books them: for lesson 03b."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from ...field.real_runs import RealScenario
from ...field.servers import Redis, Server
from ...message import Message
from ...trace import Kind, acting, record, whoami

if TYPE_CHECKING:
    from ...field.redis_log import RedisLog

__all__ = ["a_week_on_redis"]

LOGS = {"log in memory": "no", "log in a file": "yes"}  #: each with `appendonly`, as Redis calls its file
ORDERS, BATCH = 6, 2
KILLED_AFTER = 4  #: orders that are booked; the last two of them are not committed
SECONDS = 0.1  #: that billing needs for an order


async def _a_week(server: Server) -> None:
    from redis.asyncio import from_url

    for name, file in LOGS.items():
        async with from_url(server.url) as redis:
            await redis.config_set("appendonly", file)
        await _seven_orders(server, name)


async def _seven_orders(server: Server, name: str) -> None:
    """Six before the kill, and one after it, which gets the next offset that the log then has."""
    from ...field.redis_log import RedisLog

    billing, orders = f"billing, {name}", [Message(f"order {number}") for number in range(1, ORDERS + 2)]
    async with RedisLog(server.url, name) as log:
        with acting("shop"):
            for order in orders[:ORDERS]:
                await log.append(order)
        with acting(billing), suppress(ConnectionError):
            await _book(log, server)
    record(Kind.CRASHED, billing, who=billing)
    await anyio.to_thread.run_sync(server.start)
    record(Kind.RESTARTED, billing, who=billing)
    async with RedisLog(server.url, name) as log:
        await _mark_what_is_lost(log, orders[:ORDERS])
        with acting("shop"):
            await log.append(orders[ORDERS])
        with acting(billing):
            await _book(log)


async def _mark_what_is_lost(log: RedisLog, confirmed: list[Message]) -> None:
    there = {message.id for _, message, _ in await log.read(0)}
    for order in confirmed:
        if order.id not in there:
            record(Kind.DROPPED, log.name, order.id, who="", reason="not kept over a restart")


async def _book(log: RedisLog, killed: Server | None = None) -> None:
    """Work first and commit afterwards, to the end; the server is killed before the second commit."""
    booked = 0
    async with log.group("billing") as billing:
        while batch := await billing.read(limit=BATCH, timeout=0):
            for _, order, _ in batch:
                await anyio.sleep(SECONDS)
                record(Kind.EFFECT, whoami(), order.id, effect="booked")
                booked += 1
            if killed is not None and booked == KILLED_AFTER:
                await anyio.to_thread.run_sync(killed.kill)
            await billing.commit()


a_week_on_redis = RealScenario("a_week", Redis, _a_week)

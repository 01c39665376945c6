"""Four tills that sell at the same time into PostgreSQL, and a dashboard that reads: for lesson 07b."""

from __future__ import annotations

import anyio

from ...event_sourcing import Reader
from ...field.real_runs import RealScenario
from ...field.servers import PostgreSQL, Server
from ...message import Message
from ...trace import acting

__all__ = ["four_tills_on_postgresql"]

TILLS, SALES = 4, 25
STORES = {"no lock": False, "a lock": True}


async def _four_tills(server: Server) -> None:
    for name, lock in STORES.items():
        await _a_day(server.url, name, lock)


async def _a_day(url: str, name: str, lock: bool) -> None:
    """Sell, each till on connections of its own, and read on until the last position was read."""
    from ...field.postgresql_events import PostgresEventStore

    async def till(number: int) -> None:
        async with PostgresEventStore(url, name, lock=lock) as store:
            for sale in range(1, SALES + 1):
                tea = Message({"euros": 10}, "TeaSold", id=f"till {number}, {sale}, {name}")
                await store.append(f"card {number}", [tea])

    async def follow(reader: Reader) -> None:
        async for _ in reader:
            pass

    async with PostgresEventStore(url, name, lock=lock) as cards:
        with acting("dashboard"):
            dashboard = Reader(cards, f"dashboard, {name}")
        async with anyio.create_task_group() as following:
            following.start_soon(follow, dashboard)
            async with anyio.create_task_group() as tills:
                for number in range(1, TILLS + 1):
                    with acting(f"till {number}"):
                        tills.start_soon(till, number)
            following.cancel_scope.cancel()
        while await dashboard.read():
            pass


four_tills_on_postgresql = RealScenario("four_tills", PostgreSQL, _four_tills)

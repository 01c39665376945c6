"""The shop: two services, the log between, and the dashboard, each with a file of its own.

    users.db    ─ Commands ─ outbox ─ relay ─┐                     ┌─ rows of the dashboard
                                             ├─▶ log.db ─ project ─┤
    billing.db  ─ Commands ─ outbox ─ relay ─┘                     └─ rows of the ledger

The log keeps all events, so the views can be built again at any time.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc

from ... import values
from ...cqrs import CommandQueue, Commands, ReadModel, Relay
from ...durable_queue import ConsumerGroup, SQLiteLog
from ...event_sourcing import Recorded, View
from ...message import Message
from ...storage import SQLiteStore, despite_faults
from ...tasks import background
from .services import DASHBOARD, billing, users

__all__ = ["LEDGER", "ShopSystem"]

LINES = 20  #: how many entries the ledger of one customer keeps


def _line(view: View, event: Recorded) -> None:
    """The ledger has a line for each charge and each payment, the newest first."""
    key, message = event.stream.partition("/")[2], event.message
    sign = 1 if message.type == "Charged" else -1
    line = {"cents": sign * message.body["cents"], "what": message.type}
    view.set(key, [line, *view.get(key, [])][:LINES])


LEDGER = {"Charged": _line, "Paid": _line}


class ShopSystem:
    """The running system. Use it with `async with`; what is in `folder` goes on where it stopped.

    `slow` is a number of seconds for which the projector waits before each event: the lag, on purpose.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        slow: float = 0.0,
        synchronous: str = "NORMAL",
        clock: Callable[[], float] | None = time.time,
    ) -> None:
        self.slow = values.duration("slow", slow)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {"synchronous": synchronous, "clock": clock}
        self._write = {name: SQLiteStore(folder / f"{name}.db", **settings) for name in ("users", "billing")}
        self._read = SQLiteStore(folder / "dashboard.db", **settings)
        self.log = SQLiteLog(folder / "log.db", "events", dedup=100_000, **settings)
        self.dashboard = ReadModel(self._read, "dashboard", DASHBOARD)
        self.ledger = ReadModel(self._read, "ledger", LEDGER)
        self.services: dict[str, Commands] = {}
        self.later: dict[str, CommandQueue] = {}
        self._relays: list[Relay] = []
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for store in (*self._write.values(), self._read):
                stack.enter_context(store)
            await stack.enter_async_context(self.log)
            self.services = {"users": users(self._write["users"]), "billing": billing(self._write["billing"])}
            self.later = {name: CommandQueue(service) for name, service in self.services.items()}
            self._relays = [
                Relay(service.outbox, self.log.append, f"relay of {name}", claim=5.0)
                for name, service in self.services.items()
            ]
            self._group = ConsumerGroup(self.log, "dashboard")
            group = await stack.enter_async_context(background())
            self._start(group)
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        for relay in self._relays:
            relay.stop()
        return await self._open.__aexit__(kind, error, trace)

    def _start(self, group: anyio.abc.TaskGroup) -> None:
        for relay in self._relays:
            group.start_soon(relay.run, name=relay.name)
        for later in self.later.values():
            group.start_soon(later.run, name=later.name)
        group.start_soon(self._project, name="projector")

    async def _project(self) -> None:
        """Bring what is in the log onto the views, and commit the position afterwards."""
        while True:
            await despite_faults(self._project_some, "projector")

    async def _project_some(self) -> None:
        for offset, message, _ in await self._group.read(limit=20):
            if self.slow:
                await anyio.sleep(self.slow)
            await self.dashboard(message)
            await self.ledger(message)
            await self._group.commit(offset + 1)

    async def rebuild(self) -> None:
        """Build both views again from the log, beside the live ones, and swap them in."""
        for view in (self.dashboard, self.ledger):
            await view.rebuild(self._history())

    async def _history(self) -> AsyncIterator[Message]:
        offset = self.log.first
        while records := await self.log.read(offset):
            for record in records:
                yield record.message
            offset = records[-1].offset + 1

    async def standing(self) -> dict[str, Any]:
        """The places where everything is just now, which the page draws. Ages and lags are in seconds."""
        lag = self.dashboard.lag
        outboxes = [service.outbox for service in self.services.values()]
        position, _ = self.dashboard.since(0, limit=0)
        return {
            "outbox": sum(len(outbox) for outbox in outboxes),
            "oldest": max(outbox.age for outbox in outboxes),
            "log": self.log.end,
            "projected": self._group.committed,
            "behind": self._group.lag,
            "waiting": await self._age(),
            "position": position,
            "lag": lag.last,
            "largest": lag.largest,
            "held_back": lag.held_back,
            "slow": self.slow,
            "followers": len(self.dashboard.listeners),
        }

    async def _age(self) -> float:
        """The seconds for which the oldest event has been on its way to the view; 0 when none is."""
        ages = [service.outbox.age for service in self.services.values()]
        for record in await self.log.read(self._group.committed, limit=1):
            ages.append(anyio.current_time() - record.message.created)
        return max(0.0, *ages)

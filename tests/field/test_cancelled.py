"""An opening that is cancelled leaves nothing behind, and a block that is left cancels nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import uuid4

import anyio
import pytest

from eip_ref.message import Message

from .conftest import Servers
from .promises import SOON
from .test_unreachable import ADAPTERS
from .verdicts import System

SAYS: dict[str, Callable[[Any, Message], Coroutine[Any, Any, object]]] = {  #: in each pattern
    "queue": lambda queue, message: queue.put(message),
    "log": lambda log, message: log.append(message),
    "event store": lambda store, event: store.append(f"order-{event.body}", [event]),
    "publish–subscribe": lambda channel, message: channel.publish("orders", message),
}
INSTANTS = 8  #: at which the opening is cancelled


@pytest.mark.parametrize("at", ADAPTERS, ids=lambda system: system.id)
def test_an_opening_that_is_cancelled_leaves_nothing_open(at: System, servers: Servers) -> None:
    """No connection, and no task that would open one again."""
    if missing := at.server.missing():
        pytest.skip(missing)
    server = servers.running(at.server)
    name = f"orders-{uuid4().hex[:8]}"

    async def main() -> None:
        start = anyio.current_time()
        async with at.open(server, name):
            took = anyio.current_time() - start
        before = asyncio.all_tasks()
        for instant in range(INSTANTS):
            with anyio.move_on_after(took * instant / INSTANTS):
                async with at.open(server, f"{name}-{instant}"):
                    pass
        with anyio.fail_after(SOON):
            while asyncio.all_tasks() - before:
                await anyio.sleep(0.01)

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("turns", [5, 50])
@pytest.mark.parametrize("at", [each for each in ADAPTERS if each.pattern in SAYS], ids=lambda at: at.id)
def test_what_is_said_when_the_block_is_left_is_heard(at: System, turns: int, servers: Servers) -> None:
    """Clients cancelled it, or raised an error without a name, and nobody knew whether it was done."""
    if missing := at.server.missing():
        pytest.skip(missing)

    async def main() -> None:
        with anyio.fail_after(SOON):
            async with (
                anyio.create_task_group() as tasks,
                at.open(servers.running(at.server), f"orders-{uuid4()}") as opened,
            ):
                for number in range(10):
                    tasks.start_soon(SAYS[at.pattern], opened, Message(number, type="OrderPlaced"))
                for _ in range(turns):
                    await asyncio.sleep(0)

    anyio.run(main, backend="asyncio")

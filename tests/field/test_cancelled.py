"""Whoever is cancelled while it opens an adapter leaves nothing behind."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import anyio
import pytest

from .conftest import Servers
from .promises import SOON
from .test_unreachable import ADAPTERS
from .verdicts import System

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

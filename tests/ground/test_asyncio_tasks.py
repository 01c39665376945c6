"""Tasks of asyncio that a client starts beside a block end with it."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from eip_ref.tasks import asyncio_tasks
from tests.backends import on_asyncio


@on_asyncio
async def test_a_slow_task_holds_up_no_other() -> None:
    done: list[str] = []
    slow = asyncio.Event()

    async def serve(message: str) -> None:
        if message == "slow":
            await slow.wait()
        done.append(message)
        slow.set()

    async with asyncio_tasks() as start:
        start(serve("slow"))
        start(serve("quick"))
        await asyncio.wait_for(slow.wait(), 5)
        await asyncio.sleep(0)
    assert done == ["quick", "slow"]


@on_asyncio
async def test_the_end_of_the_block_cancels_what_runs_and_waits_for_it() -> None:
    """Also a task that goes on once in spite of it."""
    ended: list[str] = []

    async def serve(message: str) -> None:
        for _ in range(1 + (message == "stubborn")):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append(message)

    asyncio.get_running_loop().set_exception_handler(lambda _, told: ended.append(told["message"]))
    async with asyncio_tasks() as start:
        start(serve("gentle"))
        start(serve("stubborn"))
        start(asyncio.sleep(60))
        await asyncio.sleep(0)
    assert sorted(ended) == ["gentle", "stubborn", "stubborn"]


@on_asyncio
async def test_a_block_that_is_cancelled_waits_for_its_tasks_too() -> None:
    ended: list[str] = []

    async def serve(message: str) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            ended.append(message)

    with anyio.CancelScope() as scope:
        async with asyncio_tasks() as start:
            start(serve("order 1"))
            await asyncio.sleep(0)
            scope.cancel()
            await asyncio.sleep(60)
    assert ended == ["order 1"]


@on_asyncio
async def test_an_error_of_a_task_ends_the_block() -> None:
    async def serve(message: str) -> None:
        raise LookupError(message)

    async def block() -> None:
        async with asyncio_tasks() as start:
            start(serve("order 1"))
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert caught.group_contains(LookupError, match="order 1")


@on_asyncio
async def test_a_task_that_is_started_after_the_block_begins_nothing() -> None:
    """A client that is not closed yet may still call."""
    begun: list[str] = []

    async def serve(message: str) -> None:
        begun.append(message)

    async with asyncio_tasks() as start:
        pass
    late = start(serve("order 1"))
    await asyncio.wait([late])
    assert late.cancelled()
    assert begun == []

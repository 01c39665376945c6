"""Each message of a subscription is worked on in a task of its own, and the tasks end with the block."""

from __future__ import annotations

import asyncio

import pytest

from eip_ref.field.serving import each_in_a_task

from .test_unbroken import on_asyncio


@on_asyncio
async def test_a_slow_message_holds_up_no_other() -> None:
    done: list[str] = []
    slow = asyncio.Event()

    async def serve(message: str) -> None:
        if message == "slow":
            await slow.wait()
        done.append(message)
        slow.set()

    async with each_in_a_task(serve) as arrives:
        await arrives("slow")
        await arrives("quick")
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

    async with each_in_a_task(serve) as arrives:
        await arrives("gentle")
        await arrives("stubborn")
        await asyncio.sleep(0)
    assert sorted(ended) == ["gentle", "stubborn", "stubborn"]


@on_asyncio
async def test_an_error_of_a_task_ends_the_block() -> None:
    async def serve(message: str) -> None:
        raise LookupError(message)

    async def block() -> None:
        async with each_in_a_task(serve) as arrives:
            await arrives("order 1")
            await asyncio.sleep(60)

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert caught.group_contains(LookupError, match="order 1")

"""What goes on beside a block ends with it, and the block's own exceptions come out as themselves."""

from __future__ import annotations

from contextlib import AsyncExitStack

import anyio
import pytest

from eip_ref.tasks import background


async def test_an_exception_of_the_block_comes_out_as_itself() -> None:
    """Also through several of them, and the tasks have ended."""
    ended: list[str] = []

    async def watch() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("watch")

    async def block() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                (await stack.enter_async_context(background())).start_soon(watch)
            await anyio.sleep(1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await block()
    assert ended == ["watch", "watch"]


async def test_the_tasks_get_their_grace_and_no_more() -> None:
    """Then they are cancelled."""
    start, done = anyio.current_time(), list[str]()

    async def work(seconds: float) -> None:
        await anyio.sleep(seconds)
        done.append(f"{seconds} s")

    async with background(grace=5) as group:
        for seconds in (1, 4, 9):
            group.start_soon(work, seconds)
    assert done == ["1 s", "4 s"]
    assert anyio.current_time() - start == 5


async def test_cancellation_goes_through() -> None:
    """The block and its tasks end, and the scope that was cancelled sees it."""
    with anyio.move_on_after(1) as scope:
        async with background(grace=100) as group:
            group.start_soon(anyio.sleep_forever)
            await anyio.sleep_forever()
    assert scope.cancelled_caught


async def test_an_error_of_a_task_ends_the_block() -> None:
    """It is nobody's own, so it comes in a group."""

    async def fail() -> None:
        raise ZeroDivisionError

    async def block() -> None:
        async with background() as group:
            group.start_soon(fail)
            await anyio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await block()
    assert caught.group_contains(ZeroDivisionError)

"""Messages of a subscription, each worked on in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from ..tasks import background

__all__ = ["each_in_a_task"]

AGAIN = 0.1  #: seconds after which a task that went on in spite of it is cancelled again


@asynccontextmanager
async def each_in_a_task(
    serve: Callable[[Any], Coroutine[Any, Any, None]],
) -> AsyncIterator[Callable[[Any], Awaitable[None]]]:
    """A callback for a client on asyncio, which starts `serve(message)` and returns.

    The tasks are cancelled at the end of the block; an error of one of them ends the block, in a group.
    They are asyncio's own, since starting one of anyio's costs three times as much.
    """
    running: set[asyncio.Task[None]] = set()
    async with background() as group:

        async def fail(error: BaseException) -> None:
            raise error

        def is_over(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                group.start_soon(fail, error)

        async def arrives(message: Any) -> None:
            task = asyncio.create_task(serve(message))
            running.add(task)
            task.add_done_callback(is_over)

        try:
            yield arrives
        finally:
            with anyio.CancelScope(shield=True):
                while running:
                    for task in running:
                        task.cancel()
                    await asyncio.wait(running, timeout=AGAIN)

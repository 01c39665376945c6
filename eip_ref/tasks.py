"""Background tasks: they end with the block that needs them, and leave its exceptions alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.abc

__all__ = ["Start", "asyncio_tasks", "background"]

AGAIN = 0.1  #: seconds after which a task that went on in spite of it is cancelled again

Start = Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
"""Starts a task and returns it."""


@asynccontextmanager
async def background(*, grace: float = 0.0) -> AsyncIterator[anyio.abc.TaskGroup]:
    """A task group for what goes on beside a block; at its end the tasks get `grace` seconds more.

    An exception of the block comes out as itself and not in a group, so `except QueueFull` around the
    block finds it. Cancellation is passed on. An error of a task ends the block, in a group.
    """
    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        try:
            yield group
        except Exception as error:
            failure = error
        group.cancel_scope.deadline = anyio.current_time() + grace
    if failure is not None:
        raise failure


@asynccontextmanager
async def asyncio_tasks() -> AsyncIterator[Start]:
    """Start tasks beside a block for a client on asyncio: one of anyio's costs three times as much.

    They are cancelled at the end of the block, and one that is started later before it begins; an error of
    one of them ends the block, in a group.
    """
    running: set[asyncio.Task[Any]] = set()
    is_open = True
    async with background() as group:

        async def fail(error: BaseException) -> None:
            raise error

        def is_over(task: asyncio.Task[Any]) -> None:
            running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                group.start_soon(fail, error)

        def start(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
            task = asyncio.create_task(work)
            running.add(task)
            task.add_done_callback(is_over)
            if not is_open:
                task.cancel()
            return task

        try:
            yield start
        finally:
            is_open = False
            with anyio.CancelScope(shield=True):
                while running:
                    for task in running:
                        task.cancel()
                    await asyncio.wait(running, timeout=AGAIN)

"""Background tasks: they end with the block that needs them, and leave its exceptions alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.abc

__all__ = ["background"]


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

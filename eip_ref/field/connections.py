"""Reaching a system: it may be gone, it may come in parts, and an exchange with it comes to its end."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import anyio

__all__ = ["arrival", "opening", "reaching", "unbroken"]

T = TypeVar("T")


class reaching:
    """Turn what a client raises when its system is gone into a ConnectionError, which says why."""

    def __init__(self, name: str, lost: tuple[type[Exception], ...]) -> None:
        self._name, self._lost = name, lost

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, self._lost):
            raise ConnectionError(f"{self._name}: {str(error) or type(error).__name__}") from error


@asynccontextmanager
async def opening(name: str, lost: tuple[type[Exception], ...]) -> AsyncIterator[AsyncExitStack]:
    """Open parts of a system one after the other: when one is not to be had, those before it are closed.

    Whoever has them all keeps them by `pop_all`. Raises ConnectionError when the system is gone.
    """
    with reaching(name, lost):
        stack = AsyncExitStack()
        try:
            yield stack
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stack.__aexit__(*sys.exc_info())
            raise


async def arrival(arrived: asyncio.Queue[T], timeout: float) -> T:
    """The next that has arrived, or arrives in time. Raises TimeoutError."""
    if not arrived.empty():  # then nobody needs a timeout, which costs more than all else here
        return arrived.get_nowait()
    with anyio.fail_after(timeout):
        return await arrived.get()


async def unbroken(work: Awaitable[T], undo: Callable[[T], Awaitable[object]] | None = None) -> T:
    """Let an exchange with a server come to its end, whatever happens to the caller.

    Cancelled, it undoes what was done, where that is told.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Future[T] = loop.create_future()

    async def carry_out() -> T:
        answer = await work
        if not heard.done():
            heard.set_result(answer)  # a turn of the loop earlier than `asyncio.shield` would hear of it
        return answer

    task = loop.create_task(carry_out())
    task.add_done_callback(lambda task: heard.cancel())  # when it has failed: the task says how
    try:
        return await heard
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            answer = await task
            if undo is not None:
                await undo(answer)
        raise

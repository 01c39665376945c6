"""Questions to a server that wait there for a message, and that outlive whoever asked.

A question cannot be taken back without losing the message that may be on its way. So a receiver that is
cancelled leaves its question behind: the next one takes it over, or its message is returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

__all__ = ["Pulls"]


class Pulls:
    """The questions of one queue. An answer of None is an answer without a message."""

    def __init__(self, undo: Callable[[Any], Awaitable[object]]) -> None:
        self._undo = undo
        self._idle: dict[asyncio.Future[Any], object] = {}  # what was asked, where the receiver has gone
        self._returns: set[asyncio.Task[None]] = set()

    async def answer(self, ask: Callable[[], Awaitable[asyncio.Future[Any]]], *, asked: object) -> Any:
        """The answer to a question that asks for the same and waits for nobody, or else to this one.

        `ask` returns when it is asked, without a pause.
        """
        pull = next((each for each, what in self._idle.items() if what == asked), None)
        if pull is None:
            pull = await ask()
        self._idle.pop(pull, None)
        try:
            return await asyncio.shield(pull)
        except asyncio.CancelledError:
            self._idle[pull] = asked
            pull.add_done_callback(self._came)
            raise

    def _came(self, pull: asyncio.Future[Any]) -> None:
        if pull in self._idle:
            del self._idle[pull]
            self._return(pull)

    def _return(self, pull: asyncio.Future[Any]) -> None:
        if not pull.cancelled() and pull.exception() is None and pull.result() is not None:
            task = asyncio.ensure_future(self._give_back(pull.result()))
            self._returns.add(task)
            task.add_done_callback(self._returns.discard)

    async def _give_back(self, message: Any) -> None:
        with suppress(Exception):  # the system hands it out again by itself, a little later
            await self._undo(message)

    async def close(self) -> None:
        """Return when nothing is on its way any more."""
        while waiting := {*self._idle, *self._returns}:
            await asyncio.wait(waiting)
            await asyncio.sleep(0)  # let the callbacks of those that are done run

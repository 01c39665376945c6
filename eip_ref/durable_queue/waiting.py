"""Waiting: receivers wait for a change, the clerk for the next time at which something is due."""

from __future__ import annotations

import math

import anyio

__all__ = ["Waiting"]


class Waiting:
    """Who waits, in this process, for something to happen in the file."""

    def __init__(self) -> None:
        self._changed: anyio.Event | None = None  # exists while somebody waits for a change
        self._call = anyio.Event()
        self._wakes = -math.inf

    async def change(self) -> None:
        """Until something has become ready or was settled."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def wake(self) -> None:
        """Something has: all who wait look again."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def until(self, when: float) -> None:
        """For the clerk: until that time, or an earlier alarm, or a call."""
        self._wakes = when
        with anyio.CancelScope(deadline=when):
            await self._call.wait()
        self._call = anyio.Event()
        self._wakes = -math.inf

    def set_alarm(self, when: float) -> None:
        """The clerk must look at that time at the latest."""
        if when < self._wakes:
            self._call.set()

    def call_clerk(self) -> None:
        """The clerk must look now."""
        self._call.set()

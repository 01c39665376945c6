"""Timers: what is due, and a task that sleeps until then.

A `Sleeper` is one task that sleeps until a time, or until an earlier one that is set meanwhile. `Timers`
keep what is due by time in memory; whoever keeps it elsewhere needs the sleeper alone.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import anyio

from . import values

__all__ = ["Sleeper", "Timers"]

K = TypeVar("K")


class Sleeper:
    """One task that sleeps, and those who may wake it earlier."""

    def __init__(self) -> None:
        self._earlier = anyio.Event()
        self._wakes = -math.inf

    async def until(self, when: float) -> None:
        """Sleep until this time on anyio's clock, or an earlier one that is set meanwhile."""
        self._wakes = when
        with anyio.CancelScope(deadline=when):
            await self._earlier.wait()
        self._earlier = anyio.Event()
        self._wakes = -math.inf

    def not_after(self, when: float) -> None:
        """Wake at that time at the latest: the sleeper looks again what it has to do."""
        if when < self._wakes:
            self._earlier.set()


class Timers(Generic[K]):
    """Keys by the time at which they are due.

    A timer that became pointless need not be cancelled: `is_live(when, key)` says so, and pointless
    ones are skipped, and thrown out before they become many.
    """

    def __init__(self, is_live: Callable[[float, K], bool]) -> None:
        values.must_not_be_async("is_live", is_live)
        self._is_live = is_live
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()  # of timers that are due together the first set is the first
        self._clean_at = 64
        self.sleeper = Sleeper()

    def __len__(self) -> int:
        """The number of timers that are kept, pointless ones included."""
        return len(self._heap)

    def set(self, when: float, key: K) -> None:
        """Add a timer; whoever waits for the next one is woken when this one is earlier."""
        heapq.heappush(self._heap, (when, next(self._numbers), key))
        if len(self._heap) > self._clean_at:
            self._heap = [timer for timer in self._heap if self._is_live(timer[0], timer[2])]
            heapq.heapify(self._heap)
            self._clean_at = 64 + 2 * len(self._heap)
        self.sleeper.not_after(when)

    @property
    def next(self) -> float:
        """The time of the next timer, pointless or not; infinity when there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def due(self, now: float) -> Iterator[K]:
        """Take the live timers whose time has come, at this very instant included."""
        while self._heap and self._heap[0][0] <= now:
            when, _, key = heapq.heappop(self._heap)
            if self._is_live(when, key):
                yield key

    async def wait(self) -> None:
        """Sleep until the next timer is due, or an earlier one is set."""
        await self.sleeper.until(self.next)

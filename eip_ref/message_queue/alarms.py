"""The alarms of a queue: when a lease will be over, and when a resting message will be ready."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import anyio

__all__ = ["Alarm", "Alarms"]


class Alarm(NamedTuple):
    """Something to look at when its time has come; it may have become pointless by then."""

    when: float
    place: int  #: of the message
    token: int  #: of the lease, or 0 for a message that rests


class Alarms:
    """Alarms by time. Pointless ones are skipped, and thrown out before they become many."""

    def __init__(self, is_live: Callable[[Alarm], bool]) -> None:
        self._is_live = is_live
        self._heap: list[Alarm] = []
        self._clean_at = 64
        self._call = anyio.Event()
        self._wakes = -math.inf

    def __len__(self) -> int:
        """How many are kept, pointless ones included."""
        return len(self._heap)

    def set(self, alarm: Alarm) -> None:
        """Add an alarm; whoever waits for the next one is woken when this one is earlier."""
        heapq.heappush(self._heap, alarm)
        if len(self._heap) > self._clean_at:
            self._heap = [kept for kept in self._heap if self._is_live(kept)]
            heapq.heapify(self._heap)
            self._clean_at = 64 + 2 * len(self._heap)
        if alarm.when < self._wakes:
            self._call.set()

    def due(self, now: float) -> Iterator[Alarm]:
        """Take the live alarms whose time has come, at this very instant included."""
        while self._heap and self._heap[0].when <= now:
            alarm = heapq.heappop(self._heap)
            if self._is_live(alarm):
                yield alarm

    def call(self) -> None:
        """Wake whoever waits, now."""
        self._call.set()

    async def wait(self) -> None:
        """Until the next alarm is due, or somebody calls."""
        self._wakes = self._heap[0].when if self._heap else math.inf
        with anyio.CancelScope(deadline=self._wakes):
            await self._call.wait()
        self._call = anyio.Event()
        self._wakes = -math.inf

"""The order of a queue: which message may be handed out next.

Messages keep the place they were put at, and the lowest place goes first, so a returned message is
at the head again. Messages of one key form a line: only its head may be out, and while the head is
out or rests, the line waits. Other lines, and messages without a key, do not wait for it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass

from ..message import Message
from .protocol import Lease

__all__ = ["Entry", "Order"]


@dataclass(eq=False, slots=True)
class Entry:
    """A message in a queue, and what happened to it there."""

    message: Message
    place: int
    ready_at: float  #: it rests until then
    lease: Lease | None = None  #: who has it now
    token: int | None = None  #: of its last lease
    deliveries: int = 0
    failures: int = 0
    first: float = math.nan  #: when it was first delivered
    dying: str | None = None  #: why it is on its way to the dead letters


class Order:
    """The unsettled messages of a queue, and those of them that may be handed out now."""

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}  #: everything unsettled, by place
        self._lines: dict[str, deque[Entry]] = {}
        self._ready: list[int] = []  # heap of places

    def add(self, entry: Entry) -> None:
        """Take in a new message; it is not offered yet."""
        self.entries[entry.place] = entry
        if entry.message.key is not None:
            self._lines.setdefault(entry.message.key, deque()).append(entry)

    def offer(self, entry: Entry, now: float) -> bool:
        """Make it ready if it rests no longer and nothing of its key is before it; say whether."""
        if entry.ready_at > now or self._head(entry) is not entry:
            return False
        heapq.heappush(self._ready, entry.place)
        return True

    def take(self) -> Entry | None:
        """Hand out the ready message with the lowest place, if there is one."""
        return self.entries[heapq.heappop(self._ready)] if self._ready else None

    def remove(self, entry: Entry) -> Entry | None:
        """Forget a settled message; the answer is the one behind it, which may now be offered."""
        del self.entries[entry.place]
        if entry.message.key is None:
            return None
        line = self._lines[entry.message.key]
        line.popleft()
        if not line:
            del self._lines[entry.message.key]
            return None
        return line[0]

    def _head(self, entry: Entry) -> Entry:
        return entry if entry.message.key is None else self._lines[entry.message.key][0]

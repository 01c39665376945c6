"""The lines in which messages wait, one for each drop policy. None is longer than its capacity.

Adding a message to a full line says which one is given up for it: itself, or one that waits. A
buffer whose policy is to block adds none to a full line.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from random import Random
from typing import NamedTuple, Protocol

from ..message import Message
from .terms import WhenFull

__all__ = ["FULL", "SUPERSEDED", "GivenUp", "Line", "line_for"]

FULL = "the buffer was full"
SUPERSEDED = "a newer one of its key came"


class GivenUp(NamedTuple):
    """A message for which there is no place, and why."""

    message: Message
    reason: str


class Line(Protocol):
    """Messages in the order in which they will be taken."""

    def __len__(self) -> int: ...

    def add(self, message: Message) -> GivenUp | None:
        """Take the message in; say which one is given up for it, if one is."""
        ...

    def take(self) -> Message:
        """Hand out the first; there must be one."""
        ...


class DropNewest:
    """First come, first served; who comes to a full line is turned away."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.waiting: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, message: Message) -> GivenUp | None:
        if len(self.waiting) >= self.capacity:
            return self.squeeze(message)
        self.waiting.append(message)
        return None

    def squeeze(self, message: Message) -> GivenUp:
        """The line is full: choose between those that wait and this one."""
        return GivenUp(message, FULL)

    def take(self) -> Message:
        return self.waiting.popleft()


class DropOldest(DropNewest):
    """Who has waited longest makes room."""

    def squeeze(self, message: Message) -> GivenUp:
        oldest = self.waiting.popleft()
        self.waiting.append(message)
        return GivenUp(oldest, FULL)


class Sample(DropNewest):
    """Of all that came while nobody took, each has the same chance to be among those that wait.

    This is reservoir sampling (Vitter's Algorithm R). `_crowd` is how many messages those that wait
    stand for; one that is taken takes its share of the crowd with it.
    """

    def __init__(self, capacity: int, random: Random) -> None:
        super().__init__(capacity)
        self._random = random
        self._crowd = 0.0

    def add(self, message: Message) -> GivenUp | None:
        self._crowd += 1
        return super().add(message)

    def squeeze(self, message: Message) -> GivenUp:
        if self._random.random() * self._crowd >= self.capacity:
            return GivenUp(message, FULL)
        place = self._random.randrange(self.capacity)
        unlucky = self.waiting[place]
        del self.waiting[place]
        self.waiting.append(message)
        return GivenUp(unlucky, FULL)

    def take(self) -> Message:
        self._crowd -= self._crowd / len(self.waiting)
        return super().take()


class LatestPerKey:
    """At most one message of each key waits, the newest; it takes the place of the one before.

    With more keys than places, the key that has waited longest makes room.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.waiting: OrderedDict[str | None, Message] = OrderedDict()

    def __len__(self) -> int:
        return len(self.waiting)

    def add(self, message: Message) -> GivenUp | None:
        older = self.waiting.get(message.key)
        gone: GivenUp | None = None
        if older is not None:
            gone = GivenUp(older, SUPERSEDED)
        elif len(self.waiting) >= self.capacity:
            gone = GivenUp(self.take(), FULL)
        self.waiting[message.key] = message
        return gone

    def take(self) -> Message:
        return self.waiting.popitem(last=False)[1]


def line_for(when_full: WhenFull, capacity: int, random: Random | None) -> Line:
    """An empty line with this policy. Raises ValueError for a sample without a random generator."""
    if when_full is WhenFull.SAMPLE:
        if random is None:
            raise ValueError("the policy 'sample' draws lots: give it random=Random(seed)")
        return Sample(capacity, random)
    if when_full is WhenFull.LATEST_PER_KEY:
        return LatestPerKey(capacity)
    return DropOldest(capacity) if when_full is WhenFull.DROP_OLDEST else DropNewest(capacity)

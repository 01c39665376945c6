"""What an aggregator goes by: what belongs together, when that is complete, and what belongs nowhere."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from ..message import Message

__all__ = [
    "SEQUENCE",
    "Aggregate",
    "AggregatorClosed",
    "Complete",
    "DuplicateSequence",
    "Group",
    "NoCorrelation",
    "NoSequence",
    "Rejected",
    "TooManyGroups",
    "by_size",
    "correlation_of",
    "sequence_of",
]

SEQUENCE = "sequence"  #: the header with a message's place in its group

Complete = Callable[[Sequence[Message]], bool]
"""Whether a group is complete, given its messages in the order of their sequence numbers, to look at only."""


class Rejected(Exception):
    """The aggregator did not take the message, and never will take it as it is or at this moment."""

    reason = "rejected"


class NoCorrelation(Rejected):
    """The message does not say what it belongs to: one for the Invalid Message Channel."""

    reason = "no correlation"


class NoSequence(Rejected):
    """The message does not say which place it has: one for the Invalid Message Channel."""

    reason = "no sequence"


class DuplicateSequence(Rejected):
    """The group has a message with this number already. The first counts."""

    reason = "duplicate sequence"


class TooManyGroups(Rejected):
    """As many groups are open as may be: try again when some are over."""

    reason = "too many groups"


class AggregatorClosed(Rejected):
    """Nothing is collected any more, or not yet."""

    reason = "closed"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One group, in the order of the sequence numbers, whatever the order in which they came."""

    key: str
    messages: tuple[Message, ...]
    why: str  #: complete, timed out or closed

    @property
    def complete(self) -> bool:
        """Whether it is all that belongs together."""
        return self.why == "complete"


@dataclass(eq=False, slots=True)
class Group:
    """One group that is being collected; its messages are always in order."""

    key: str
    until: float
    numbers: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))

    def add(self, number: int, message: Message) -> None:
        """Put a message in its place. Raises `DuplicateSequence` when that is taken."""
        place = bisect_left(self.numbers, number)
        if self.numbers[place : place + 1] == [number]:
            raise DuplicateSequence(f"{self.key} has a message with the number {number} already")
        self.numbers.insert(place, number)
        self.messages.insert(place, message.copy())

    def remove(self, number: int) -> None:
        """Take it out again."""
        place = bisect_left(self.numbers, number)
        del self.numbers[place], self.messages[place]


def by_size(size: int) -> Complete:
    """Complete as soon as there are so many messages."""
    if size < 1:
        raise ValueError(f"a group has at least 1 message, not {size}")
    return lambda messages: len(messages) >= size


def correlation_of(message: Message) -> str:
    """The Correlation Identifier. Raises `NoCorrelation`."""
    if not message.correlation_id:
        raise NoCorrelation(f"message {message.id} says nothing about what it belongs to")
    return message.correlation_id


def sequence_of(message: Message) -> int:
    """The number in the header "sequence". Raises `NoSequence`."""
    number = message.headers.get(SEQUENCE)
    if not isinstance(number, int) or isinstance(number, bool):
        raise NoSequence(f"message {message.id} has no number in its header {SEQUENCE!r}, but {number!r}")
    return number

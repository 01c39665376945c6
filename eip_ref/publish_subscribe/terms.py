"""The words of the contract: what happens when a buffer is full, what publishing led to, how it ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["ChannelClosed", "Disconnected", "Published", "Start", "SubscriptionEnded", "WhenFull"]


class WhenFull(StrEnum):
    """What happens to a message for which a subscriber has no room. There is no default."""

    BLOCK = "block"  #: the publisher waits, and every later message of it with it
    DROP_NEWEST = "drop newest"  #: this subscriber misses the message
    DROP_OLDEST = "drop oldest"  #: this subscriber misses the oldest that it has not taken
    DISCONNECT = "disconnect"  #: this subscriber misses the message, and its subscription ends


class Start(StrEnum):
    """Where a subscription that reads a log begins, if not at an offset."""

    LATEST = "latest"  #: with what is published from now on
    EARLIEST = "earliest"  #: with the oldest message that is still retained


class ChannelClosed(Exception):
    """The channel takes no more messages: it certainly did not publish this one."""


class SubscriptionEnded(Exception):
    """Nothing more will come: the channel is closed and all is received, or this end has left."""


class Disconnected(Exception):
    """The subscription was ended from the other side: too slow, or taken over by somebody else."""


@dataclass(frozen=True, slots=True)
class Published:
    """What publishing one message led to. It is true when somebody was there to hear of it.

    A group counts as one. A receiver *has* the message in its buffer; that says nothing of its work.
    """

    receivers: int  #: subscriptions and groups that took the message
    dropped: int = 0  #: those for which there was no room, so that they missed it
    partition: int | None = None  #: where it was put, in a partitioned topic
    offset: int | None = None  #: its place in the log, where there is one

    @property
    def nobody_subscribed(self) -> bool:
        """Whether there was nobody that the message was meant for."""
        return self.receivers + self.dropped == 0

    def __bool__(self) -> bool:
        return not self.nobody_subscribed

"""The words of the contract: what happens when a buffer is full, and what cannot be."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AboveBurst", "BufferClosed", "BufferFull", "WhenFull"]


class WhenFull(StrEnum):
    """What happens to messages for which a buffer has no room. There is no default.

    Where publish–subscribe has the same policy for a subscriber's buffer, it has the same name.
    """

    BLOCK = "block"  #: nothing is dropped: the sender waits until there is room
    DROP_NEWEST = "drop newest"  #: the arriving message: what waits is the beginning of a burst
    DROP_OLDEST = "drop oldest"  #: the one that has waited longest: what waits is the end of a burst
    LATEST_PER_KEY = "latest per key"  #: whatever has a newer one of its key: what waits is news
    SAMPLE = "sample"  #: one chosen by lot: what waits is a fair sample of the burst


class BufferFull(Exception):
    """There is no room, and the sender did not want to wait: the buffer does not have the message."""


class BufferClosed(Exception):
    """For a sender: the buffer does not have the message. For a reader: nothing more will come."""


class AboveBurst(ValueError):
    """More tokens at once than the bucket can ever hold: waiting would not help."""

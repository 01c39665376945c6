"""The states of a token and the marks on a box: the words that Python and the browser share."""

from __future__ import annotations

from enum import IntEnum

from ..trace import Kind

__all__ = ["MARKS", "Mark", "State"]


class State(IntEnum):
    """What a token says about its message. The browser has the same list."""

    SENT = 0  #: on its way to the channel, which has not accepted it
    BLOCKED = 1  #: its sender waits
    READY = 2
    RESTING = 3  #: in the channel, but not to be handed out yet
    IN_FLIGHT = 4  #: at a receiver, under a lease
    RECEIVED = 5  #: at a receiver that works on it, without a lease
    GHOST = 6  #: a receiver still works on it, although its lease is over
    LATE = 7  #: a receiver works on it after it was acknowledged
    ACKED = 8
    DONE = 9  #: received without a lease, and done
    DEAD = 10
    DROPPED = 11
    LOST = 12
    REFUSED = 13
    GONE = 14  #: not to be seen any more


class Mark(IntEnum):
    """What happens to a box itself."""

    CRASHED = 0
    RESTARTED = 1
    EFFECT = 2
    FAILED = 3
    DUPLICATE = 4
    STALE = 5
    CLOSED = 6


MARKS = {str(Kind[mark.name]): mark for mark in Mark}  #: by kind of event

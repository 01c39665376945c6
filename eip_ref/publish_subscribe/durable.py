"""Durable subscriber: it may be away or crash, and goes on where it had acked.

*Left out:* telling a slow subscriber from a dead one. Here one connects at a time, and whoever
connects last has the subscription; several that share one are a group, in `partitions.py`.
"""

from __future__ import annotations

from collections import Counter
from typing import Self

import anyio

from ..signal import Disconnected, ReceivingEnd, Signal
from .cursor import TOO_SLOW, Cursor, Delivery
from .topics import SubscriptionEnded

__all__ = ["DurableSubscriber"]


class DurableSubscriber(ReceivingEnd[Delivery]):
    """The receiving end of a durable subscription, which stays when this end leaves.

    `with channel.durable(…) as subscriber: async for delivery in subscriber: …; await delivery.ack()`
    """

    def __init__(self, cursor: Cursor, name: str) -> None:
        self.name = name
        self.cursor = cursor
        self.signal = Signal()
        self._connected = self._left = False

    @property
    def where(self) -> str:
        """The name of the subscription, such as 'orders.* → billing'."""
        return self.cursor.name

    @property
    def committed(self) -> int:
        """The offset from which everything would be handed out again. To ask takes nothing over."""
        return self.cursor.committed

    @property
    def dropped(self) -> Counter[str]:
        """The number of messages that this subscription has missed, by reason."""
        return self.cursor.dropped

    def receive_nowait(self) -> Delivery:
        """Take the next message, and before the first one connect. Raises `anyio.WouldBlock`.

        Raises `SubscriptionEnded`, and `Disconnected` when somebody else has connected or when the
        subscription fell behind, also if that was while its subscriber was away: once, and then it can
        be made anew.
        """
        cursor = self.cursor
        if self._left:
            raise SubscriptionEnded(f"{cursor.name} was left")
        self._connect()
        if cursor.ended == TOO_SLOW:
            cursor.told = True
            raise Disconnected(
                f"{cursor.name} fell behind by more than the log retains: it missed "
                f"{cursor.dropped[TOO_SLOW]} messages and all that came after them; subscribe again"
            )
        if cursor.ended:
            raise SubscriptionEnded(f"{cursor.name} has ended: {cursor.ended}")
        if cursor.holder is not self:
            raise Disconnected(f"{cursor.name} was taken over by somebody else")
        delivery = cursor.take(self.name)
        if delivery is not None:
            return delivery
        if cursor.log.closed and cursor.at_end:
            raise SubscriptionEnded(f"{cursor.log.name} is closed and everything was received")
        raise anyio.WouldBlock

    def leave(self) -> None:
        """Be away. The subscription stays, and so does its committed position. Idempotent."""
        self._left = True
        if self.cursor.holder is self:
            self.cursor.assign(None, "left")

    def _connect(self) -> None:
        if not self._connected:
            self._connected = True
            self.cursor.assign(self, "connected")

    def __enter__(self) -> Self:
        self._connect()
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

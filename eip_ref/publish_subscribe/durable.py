"""Durable subscriber: it may be away or crash, and goes on where it had acked.

*Left out:* telling a slow subscriber from a dead one. Here one connects at a time, and whoever
connects last has the subscription; several that share one are a group, in `partitions.py`.
"""

from __future__ import annotations

from collections import Counter

import anyio

from .cursor import Cursor
from .delivery import Delivery
from .inbox import Inbox
from .terms import Disconnected, SubscriptionEnded

__all__ = ["DurableSubscriber"]


class DurableSubscriber(Inbox[Delivery]):
    """The receiving end of a durable subscription, which stays when this end leaves.

    `async for delivery in subscriber: …; await delivery.ack()`
    """

    def __init__(self, cursor: Cursor, name: str) -> None:
        self.name = name
        self.cursor = cursor
        cursor.assign(self, "connected")

    @property
    def where(self) -> str:
        """The subscription's own name."""
        return self.cursor.name

    @property
    def committed(self) -> int:
        """The offset from which everything would be handed out again."""
        return self.cursor.committed

    @property
    def dropped(self) -> Counter[str]:
        """How many messages this subscription has missed, by reason."""
        return self.cursor.dropped

    def receive_nowait(self) -> Delivery:
        """Take the next message. Raises `anyio.WouldBlock`, `SubscriptionEnded`, `Disconnected`."""
        cursor = self.cursor
        if cursor.ended == "too slow":
            raise Disconnected(f"{cursor.name} fell behind by more than the log retains")
        if cursor.ended:
            raise SubscriptionEnded(f"{cursor.name} has ended: {cursor.ended}")
        if cursor.holder is not self:
            taken = cursor.holder is not None
            error = Disconnected if taken else SubscriptionEnded
            raise error(f"{cursor.name} was {'taken over by somebody else' if taken else 'left'}")
        delivery = cursor.take(self.name)
        if delivery is not None:
            return delivery
        if cursor.log.closed and cursor.at_end:
            raise SubscriptionEnded(f"{cursor.log.name} is closed and everything was received")
        raise anyio.WouldBlock

    def leave(self) -> None:
        """Be away. The subscription stays, and so does its committed position."""
        if self.cursor.holder is self and not self.cursor.ended:
            self.cursor.assign(None, "left")

    async def _news(self) -> None:
        await self.cursor.bell.wait()

"""Between a point-to-point channel and an end that takes messages."""

from __future__ import annotations

from ..point_to_point import PointToPointChannel
from .requestor import Send

__all__ = ["forward"]


async def forward(channel: PointToPointChannel, deliver: Send) -> None:
    """Receive from the channel, as its one receiver, and hand each message on until the sender closes it."""
    with channel.receiver() as inbox:
        async for message in inbox:
            await deliver(message)

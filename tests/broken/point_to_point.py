"""Point-to-point that is not: each makes one mistake that is made in earnest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import fields

from eip_ref.message import Message
from eip_ref.point_to_point import NotSent, PointToPointChannel

__all__ = ["AsksForAnAnswer", "FiresAndForgets", "SharingChannel", "SwallowsErrors"]


class _Shared(Message):
    """A message whose copies have the same body."""

    def copy(self, **changes: object) -> Message:
        return self


class SharingChannel(PointToPointChannel):
    """Hands the sender's own body to the receiver."""

    async def send(self, message: Message) -> None:
        await super().send(_Shared(**{part.name: getattr(message, part.name) for part in fields(message)}))


class AsksForAnAnswer:
    """E8: an HTTP GET called one-way. The sender waits for the handler, and hears its errors."""

    def __init__(self, handle: Callable[[Message], Awaitable[object]]) -> None:
        self._handle = handle

    async def send(self, message: Message) -> None:
        await self._handle(message.copy())


class SwallowsErrors(PointToPointChannel):
    """Takes every refusal for a small thing: its sender believes that the message was accepted."""

    async def send(self, message: Message) -> None:
        with suppress(NotSent):
            await super().send(message)


class FiresAndForgets(PointToPointChannel):
    """Sends in a task outside any task group: nobody waits for it, and nobody hears how it ended."""

    async def send(self, message: Message) -> None:
        self._task = asyncio.create_task(super().send(message))

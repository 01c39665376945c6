"""Inbox: what every receiving end has in common. Take the next one, wait for it, iterate, leave."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, Self, TypeVar

import anyio
import anyio.lowlevel

from .terms import SubscriptionEnded

__all__ = ["Bell", "Inbox"]

T = TypeVar("T")


class Bell:
    """Wakes everybody who waits for a change; costs nothing while nobody does."""

    def __init__(self) -> None:
        self._rings: anyio.Event | None = None

    def ring(self) -> None:
        if self._rings is not None:
            self._rings.set()
            self._rings = None

    async def wait(self) -> None:
        if self._rings is None:
            self._rings = anyio.Event()
        await self._rings.wait()


class Inbox(ABC, Generic[T]):
    """A receiving end: `with channel.subscribe(…) as inbox: async for … in inbox: …`.

    The iteration ends when nothing more will come. Leaving the block is the same as `leave`.
    """

    name: str  #: of whoever receives

    @property
    @abstractmethod
    def where(self) -> str:
        """The name of the subscription, such as 'orders.* → billing'."""

    @abstractmethod
    def receive_nowait(self) -> T:
        """Take what is next. Raises `anyio.WouldBlock` when nothing is there now.

        Raises `SubscriptionEnded` when nothing will be, and `Disconnected`.
        """

    @abstractmethod
    def leave(self) -> None:
        """Receive no more. Safe at any time, also while a message is being published. Idempotent."""

    @abstractmethod
    async def _news(self) -> None:
        """Return when `receive_nowait` may have something else to say."""

    async def receive(self) -> T:
        """Wait for what is next and take it; cancelling the wait takes nothing.

        Raises `SubscriptionEnded` and `Disconnected`.
        """
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                await self._news()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except SubscriptionEnded:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()

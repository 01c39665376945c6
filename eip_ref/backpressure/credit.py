"""Credit: the receiver says how many it is ready for, and the sender never sends more.

The receiver grants, the sender takes; what was granted adds up. Granting one for each message that
is done makes a window: never more than the first grant under way at a time.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel

from ..publish_subscribe.inbox import Bell
from ..trace import Kind, record, whoami

__all__ = ["Credit"]


class Credit:
    """How many messages may still be sent to one receiver."""

    def __init__(self, name: str, granted: int = 0) -> None:
        """`granted` is the first grant; 0 means that nothing may be sent yet."""
        self.name = name
        self.available = 0
        self._bell = Bell()
        if granted:
            self.grant(granted)

    def grant(self, number: int = 1) -> None:
        """Allow that many more. Raises ValueError for less than 1."""
        if number < 1:
            raise ValueError(f"grant or request at least 1, not {number}")
        self._change(number, requested=number)
        self._bell.ring()

    async def take(self, message: str = "") -> None:
        """Wait for the right to send one message, and use it; cancelling the wait uses nothing."""
        await anyio.lowlevel.checkpoint()
        if not self.available:
            record(Kind.BLOCKED, self.name, message)
            await self.wait()
        self.take_nowait(message)

    def take_nowait(self, message: str = "") -> None:
        """Use the right to send one message. Raises `anyio.WouldBlock` when there is none."""
        if not self.available:
            raise anyio.WouldBlock
        record(Kind.DELIVERED, self.name, message, who=whoami(), lease=None)
        self._change(-1)

    async def wait(self) -> None:
        """Until something may be sent. It uses nothing."""
        while not self.available:
            await self._bell.wait()

    def _change(self, number: int, **facts: Any) -> None:
        was, self.available = self.available, self.available + number
        if facts or not self.available:
            record(Kind.STATE, self.name, was=_word(was), now=_word(self.available), **facts)


def _word(available: int) -> str:
    return "credit" if available else "no credit"

"""Credit: the receiver says how many it is ready for, and the sender never sends more.

The receiver grants, the sender takes; what was granted adds up. Granting one for each message that
is done makes a window: never more than the first grant under way at a time.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from .. import values
from ..signal import Signal
from ..trace import Kind, record, whoami

__all__ = ["Credit"]


class Credit:
    """The number of messages that may still be sent to one receiver."""

    def __init__(self, name: str, granted: int = 0) -> None:
        """`granted` is the first grant; 0 means that nothing may be sent yet."""
        self.name = values.name("name", name)
        self.available = 0
        self._signal = Signal()
        if values.count("granted", granted, minimum=0):
            self.grant(granted)

    def grant(self, number: int = 1) -> None:
        """Allow that many more. Raises ValueError for less than 1."""
        values.count("number", number)
        self._change(number, requested=number)
        if self._signal:
            for _ in range(min(number, len(self._signal))):
                self._signal.notify()

    async def take(self, message: str = "") -> None:
        """Wait for the right to send one message, and use it; cancelling the wait uses nothing.

        Those who wait are served in the order in which they came.
        """
        await anyio.lowlevel.checkpoint()
        if self.available and not self._signal:
            self.take_nowait(message)
            return
        record(Kind.BLOCKED, self.name, message)
        await self._signal.first(partial(self.take_nowait, message), anyio.WouldBlock)

    def take_nowait(self, message: str = "") -> None:
        """Use the right to send one message. Raises `anyio.WouldBlock` when there is none."""
        if not self.available:
            raise anyio.WouldBlock
        record(Kind.DELIVERED, self.name, message, who=whoami(), lease=None)
        self._change(-1)

    async def wait(self) -> None:
        """Wait until something may be sent. It uses nothing."""
        await self._signal.first(self._must_have, anyio.WouldBlock)
        self._signal.notify()  # nothing was used: whoever stands behind may have it

    def _must_have(self) -> None:
        if not self.available:
            raise anyio.WouldBlock

    def _change(self, number: int, **facts: Any) -> None:
        was, self.available = self.available, self.available + number
        if facts or not self.available:
            record(Kind.STATE, self.name, was=_word(was), now=_word(self.available), **facts)


def _word(available: int) -> str:
    return "credit" if available else "no credit"

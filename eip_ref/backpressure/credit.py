"""Credit and demand: the receiver says how many it is ready for, and the sender never sends more.

*Credit* is for a sender that sends: the receiver grants, the sender takes; what was granted adds up.
Granting one for each message that is done makes a window: never more than the first grant under way
at a time. *Demand* is for a source that can be asked: nothing is taken out of it before it is
requested. Its rules are those of Reactive Streams, said with anyio's words: the run returns where
that calls `onComplete`, and raises where it calls `onError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from .. import values
from ..message import Handler, Message
from ..signal import Signal
from ..trace import Kind, record

_WORDS = "no credit", "credit"


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
        record(Kind.DELIVERED, self.name, message, lease=None)
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
            record(Kind.STATE, self.name, was=_WORDS[was > 0], now=_WORDS[self.available > 0], **facts)


class Demand:
    """The subscription of one receiver to one source, such as a `Buffer`.

    What nobody requests stays in the source, whose own bound holds it back.
    """

    def __init__(self, name: str, source: AsyncIterable[Message], receive: Handler) -> None:
        self.name = values.name("name", name)
        self.ended = ""  #: the reason why nothing more will come: "complete", "cancelled" or "failed"
        self._source = aiter(source)
        self._receive = receive
        self._credit = Credit(name)
        self._pulling = anyio.CancelScope()
        self._running = False

    @property
    def outstanding(self) -> int:
        """The number of messages that were requested and have not come yet."""
        return self._credit.available

    def request(self, number: int = 1) -> None:
        """Be ready for that many more; requests add up. After the end it changes nothing.

        Raises ValueError for less than 1.
        """
        values.count("number", number)
        if not self.ended:
            self._credit.grant(number)

    def cancel(self) -> None:
        """Get nothing more; a message in hand is finished. Idempotent."""
        self._end("cancelled")
        self._pulling.cancel()

    async def run(self) -> None:
        """Deliver what is requested until the source ends or somebody cancels; once.

        What the source or the receiver raises ends it, and comes out as itself.
        """
        if self._running:
            raise RuntimeError(f"{self.name} runs already, or has run: make a new subscription")
        self._running = True
        try:
            while (message := await self._next()) is not None:
                self._credit.take_nowait(message.id)
                await values.finished(self._receive(message))
        except anyio.get_cancelled_exc_class():
            self._end("cancelled")
            raise
        except BaseException:
            self._end("failed")
            raise
        finally:
            await self._close_source()
        self._end("complete")

    async def _next(self) -> Message | None:
        """The next message as soon as it is requested and there, or None after the end."""
        message: Message | None = None
        if not self.ended:
            with anyio.CancelScope() as self._pulling:
                await self._credit.wait()
                message = await anext(self._source, None)
        if message is not None:
            record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key)
            if self.ended:  # cancelled in the moment in which the source gave it away
                record(Kind.DROPPED, self.name, message.id, who="", reason=self.ended)
                return None
        return message

    async def _close_source(self) -> None:
        """A generator must not wait for more questions; other sources may go on without us."""
        if isinstance(self._source, AsyncGenerator):
            with anyio.CancelScope(shield=True):
                await self._source.aclose()

    def _end(self, why: str) -> None:
        if not self.ended:
            self.ended = why
            record(Kind.CLOSED, self.name, reason=why)

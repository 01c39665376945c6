"""Demand: a receiver is given messages one after the other, and never more than it requested.

The rules are those of Reactive Streams, said with anyio's words: the run returns where that calls
`onComplete`, and raises where it calls `onError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

import anyio

from .. import values
from ..message import Handler, Message
from ..trace import Kind, record
from .credit import Credit

__all__ = ["Demand"]


class Demand:
    """The subscription of one receiver to one source, such as a `Buffer`.

    Nothing is taken out of the source before it is requested, so that what nobody asks for stays
    there, and the source's own bound holds it back.
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

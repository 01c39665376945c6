"""Post: sends the commands of the outbox, and gives each answer to the saga that waits for it.

A command is in the outbox from the transaction that holds its intent. It is sent, and then
forgotten: a crash between the two sends it again, and its participant knows the key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio

from ..message import Message
from ..message_queue import Backoff
from ..trace import Kind, record
from .log import SagaLog
from .outcomes import Refused

__all__ = ["Post"]


_BACKOFF = Backoff(first=0.1)


class Post:
    """Relays an outbox through `send`; gives `receive`d answers to who waits in `carry`.

    `every` is how often, in seconds, it looks for commands that nobody in this process waits for.
    """

    def __init__(
        self,
        log: SagaLog,
        send: Callable[[Message], Awaitable[object]],
        *,
        name: str = "post",
        every: float = 1.0,
        backoff: Backoff = _BACKOFF,
    ) -> None:
        if not every > 0:
            raise ValueError(f"every must be above 0 seconds, not {every:g}")
        self.name = name
        self.late = 0  #: answers for which nobody waited any more
        self._log = log
        self._send = send
        self._every = every
        self._backoff = backoff
        self._waiting: dict[str, _Waiter] = {}
        self._news = anyio.Event()

    async def run(self) -> None:
        """Send what is in the outbox, in order, until cancelled. While sending fails it backs off."""
        failures = 0
        while True:
            try:
                await self._send_all()
                failures = 0
            except Exception:  # whatever it is: the command stays in the outbox
                failures += 1
                await anyio.sleep(self._backoff.seconds(failures))
                continue
            with anyio.move_on_after(self._every):
                await self._news.wait()
            self._news = anyio.Event()

    async def _send_all(self) -> None:
        while letters := await self._log.unsent():
            for place, command in letters:
                await self._send(command)
                await self._log.sent(place)

    def expect(self, command: Message) -> None:
        """From now on somebody waits for the answer; to be called before the command can leave."""
        self._waiting.setdefault(command.id, _Waiter())

    def forget(self, commands: Iterable[str]) -> None:
        """Nobody waits for the answers to these any more: what comes is late."""
        for identity in commands:
            self._waiting.pop(identity, None)

    async def carry(self, command: Message) -> Any:
        """Wait for the answer to an expected command, which the outbox holds. Raises `Refused`."""
        waiter = self._waiting[command.id]
        self._news.set()
        await waiter.answered.wait()
        return _open(waiter.answer)

    async def receive(self, answer: Message) -> None:
        """Give the answer to whoever waits for it; one that comes late is dropped and counted."""
        await anyio.lowlevel.checkpoint()
        waiter = self._waiting.get(answer.causation_id or "")
        if waiter is None or waiter.answered.is_set():
            self.late += 1
            record(Kind.DROPPED, self.name, answer.id, who=self.name, reason="nobody waits for it")
            return
        waiter.answer = answer.body
        waiter.answered.set()


class _Waiter:
    """Those who wait for the answer to one command, in any of its attempts."""

    def __init__(self) -> None:
        self.answered = anyio.Event()
        self.answer: Any = None


def _open(answer: Any) -> Any:
    match answer:
        case {"refused": reason}:
            raise Refused(reason)
        case {"done": value}:
            return value
    raise ValueError(f"this is no answer of a participant: {answer!r}")

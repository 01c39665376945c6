"""Idempotent receiver: however often a message comes, its effect happens once.

The rule that makes it true: the record "I have seen this id" commits in the same transaction as the
effect. A first attempt that fails leaves neither, so the retry is no duplicate. A duplicate that
runs beside the first attempt finds at its commit that it lost, and its writes are gone.

*Left out:* effects outside the ledger, such as an e-mail. They cannot join the transaction: write
"e-mail to send" into it, and let another idempotent step send it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from .. import values
from ..bounded import LastN
from ..message import Message
from ..trace import Kind, record, whoami


class Duplicate(Exception):
    """The effect of this message is committed already; nothing was changed."""


class Conflict(Exception):
    """Something that this attempt has read was changed meanwhile; nothing was changed. Try again."""


class Attempt:
    """One attempt to handle a message: its reads and writes. Others see nothing of it before the commit."""

    def __init__(self, ledger: Ledger, message_id: str) -> None:
        self._ledger = ledger
        self._message_id = message_id
        self._read: dict[str, int] = {}
        self._writes: dict[str, Any] = {}
        self._effects: list[tuple[str, dict[str, Any]]] = []

    def get(self, name: str, default: Any = None) -> Any:
        """A copy of the value as this attempt sees it: its own write, or what is committed."""
        if name in self._writes:
            return values.copied(self._writes[name])
        self._read.setdefault(name, self._ledger._versions.get(name, 0))
        return values.copied(self._ledger.values.get(name, default))

    def set(self, name: str, value: Any) -> None:
        """Write a copy of a value, to be seen by others after the commit."""
        self._writes[name] = values.copied(value)

    def effect(self, effect: str, **data: Any) -> None:
        """Note what this does in the world, for the trace; recorded at the commit."""
        self._effects.append((effect, data))


class Ledger:
    """A small store in memory whose values and seen message ids commit together.

    It remembers the last `remember` ids. A duplicate that comes later than that is not recognised,
    so the window must be longer than a message can live in the queue.
    """

    def __init__(self, *, remember: int = 10_000) -> None:
        values.count("remember", remember)
        self.values: dict[str, Any] = {}
        self._versions: dict[str, int] = {}
        self._seen = LastN[str, None](remember)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._seen

    def __len__(self) -> int:
        """The number of message ids that are remembered."""
        return len(self._seen)

    @asynccontextmanager
    async def transaction(self, message_id: str) -> AsyncIterator[Attempt]:
        """Commit at the end of the block; an exception or a crash inside it leaves nothing behind.

        Raises `Duplicate`, at the start or at the commit, when the id is committed already, and
        `Conflict` at the commit when a value that was read has changed.
        """
        self._refuse_duplicate(message_id)
        attempt = Attempt(self, message_id)
        yield attempt
        self._refuse_duplicate(message_id)
        self._commit(attempt)

    def _refuse_duplicate(self, message_id: str) -> None:
        if message_id in self._seen:
            raise Duplicate(f"the effect of {message_id} is committed already")

    def _commit(self, attempt: Attempt) -> None:
        for name, version in attempt._read.items():
            if self._versions.get(name, 0) != version:
                raise Conflict(f"{name} was changed by another transaction")
        for name, value in attempt._writes.items():
            self.values[name] = value
            self._versions[name] = self._versions.get(name, 0) + 1
        self._seen[attempt._message_id] = None
        for effect, data in attempt._effects:
            record(Kind.EFFECT, whoami(), attempt._message_id, effect=effect, **data)


class IdempotentReceiver:
    """A handler for a worker: calls `handle(message, attempt)`, plain or `async`; one effect at most."""

    def __init__(
        self, ledger: Ledger, handle: Callable[[Message, Attempt], Awaitable[object] | object]
    ) -> None:
        self._ledger = ledger
        self._handle = handle

    async def __call__(self, message: Message) -> None:
        """Handle the message, or return at once when its effect is committed.

        What `handle` raises comes out, and then nothing is committed: the message may come again.
        """
        try:
            async with self._ledger.transaction(message.id) as attempt:
                await values.finished(self._handle(message, attempt))
        except Duplicate:
            record(Kind.DUPLICATE, whoami(), message.id)

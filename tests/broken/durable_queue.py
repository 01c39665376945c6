"""Durable queues that are not: each makes one mistake that is made in earnest."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue


class WritesOnExit(MessageQueue):
    """Keeps the messages in memory and saves them when it is left in good order."""

    def __init__(self, path: Path, name: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._path = path

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        if self._path.exists():
            for body, identity in json.loads(self._path.read_text()):
                await self.put(Message(body, id=identity))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        kept = self._messages.unsettled_messages.values()
        rows = [(stored.content.body, stored.id) for stored in kept]
        self._path.write_text(json.dumps(rows))
        return await super().__aexit__(kind, error, trace)


class ConfirmsBeforeWriting(SQLiteQueue):
    """Tells the producer that all is well, and writes a little later."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._later: list[Message] = []
        self._writers = await anyio.create_task_group().__aenter__()
        self._writers.start_soon(self._write_behind)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._writers.cancel_scope.cancel()
        await self._writers.__aexit__(None, None, None)
        return await super().__aexit__(kind, error, trace)

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        await anyio.lowlevel.checkpoint()
        self._later.append(message)

    async def _write_behind(self) -> None:
        while True:
            await anyio.sleep(1)
            while self._later:
                await super().put(self._later.pop(0))


class TransientMessages(SQLiteQueue):
    """The queue is declared durable and its messages are not: after a restart it is there, and empty (E7)."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.database.execute("DELETE FROM messages WHERE queue = ?", self.name)
        return self


class ForgetsCounts(SQLiteQueue):
    """Keeps the messages and not how often they were delivered and failed: poison never dies."""

    async def __aenter__(self) -> Self:
        with self.database as file:
            if file.one("SELECT count(*) FROM sqlite_master WHERE name = 'messages'") == (1,):
                file.execute("UPDATE messages SET deliveries = 0, failures = 0")
        return await super().__aenter__()


class RewritesTheWholeFile:
    """Writes all messages anew for each one: slower with every message, and all are lost in one crash."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.messages: list[str] = []
        self.written = 0  #: bytes so far

    def put(self, body: str) -> None:
        self.messages.append(body)
        self.written += self._path.write_text(json.dumps(self.messages))

    @staticmethod
    def read(path: Path) -> list[str]:
        """The messages in a file. Raises ValueError for a torn one."""
        messages: list[str] = json.loads(path.read_text())
        return messages


class WithoutConfirms:
    """A producer that hands its messages to a durable queue and does not wait for the answer."""

    def __init__(
        self, put: Callable[[Message], Coroutine[Any, Any, None]], group: anyio.abc.TaskGroup
    ) -> None:
        self._put = put
        self._group = group

    async def put(self, message: Message) -> None:
        await anyio.lowlevel.checkpoint()
        self._group.start_soon(self._put, message)

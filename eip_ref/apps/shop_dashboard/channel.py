"""The log between the outboxes and the views, with its one reader, the projector: a file, or Kafka.

Each folder has a log of its own. It is the history of what is in the folder, so a topic gets a new name,
which the folder keeps. Nobody else writes into it, so how far it is and how far the projector is are known
here, and the page is answered also while a broker is away.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
    nullcontext,
    suppress,
)
from functools import partial
from pathlib import Path
from typing import Any, Never, Protocol
from uuid import uuid4

import anyio

from ... import values
from ...durable_queue import ConsumerGroup, SQLiteLog
from ...field.doctor import INSTALL
from ...message import Handler, Message
from ...storage import Log, Record, SQLiteStore, despite_faults
from .. import CannotStart

__all__ = ["ANSWER", "Channel", "opened"]

GROUP = "dashboard"
ANSWER = 5.0  #: seconds in which Kafka answers, or is away
RETRY = 0.2  #: seconds until the projector asks again a log that was away


class Reader(Protocol):
    """A group as far as a channel needs it; it is opened at the place that it has committed."""

    position: int

    async def read(self, *, limit: int) -> list[Record]: ...

    async def commit(self, offset: int) -> int: ...

    async def seek(self, offset: int) -> None: ...


class Channel:
    """An open log, and its group of readers. `end` and `committed` are offsets, and so counts of events.

    `says` is what the page says of it.
    """

    def __init__(self, log: Log, group: Callable[[], AbstractAsyncContextManager[Reader]], says: str) -> None:
        self._log, self._group, self.says = log, group, says
        self.lost = ""  #: why the last call did not reach the log; empty when it did
        self.end = log.end
        self.committed = 0  #: before this, everything is on the views
        self._created: dict[int, float] = {}  # from `committed` on, as far as they were seen here

    @property
    def age(self) -> float:
        """The seconds for which the oldest event that is not on the views has been there; 0 for none."""
        now = anyio.current_time()
        return now - self._created.get(self.committed, now)

    async def publish(self, message: Message) -> None:
        """Return when the log has it. Raises ConnectionError."""
        with self._noticing():
            offset = await self._log.append(message)
        self._has(offset, message)

    async def follow(self, handler: Handler) -> Never:
        """Hand on each event, and commit after each. After a fault it begins again at the last commit."""
        while True:
            with suppress(ConnectionError), self._noticing():
                await despite_faults(partial(self._follow, handler), "projector")
            await anyio.sleep(RETRY)

    async def _follow(self, handler: Handler) -> None:
        async with self._group() as group:
            self.committed, self.lost = group.position, ""
            while True:
                for offset, message, _ in await group.read(limit=20):
                    self._has(offset, message)
                    await values.finished(handler(message))
                    await group.commit(offset + 1)
                    self._created.pop(offset)
                    self.committed = offset + 1

    @contextmanager
    def _noticing(self) -> Iterator[None]:
        try:
            yield
            self.lost = ""
        except ConnectionError as error:
            self.lost = str(error)
            raise

    def _has(self, offset: int, message: Message) -> None:
        self.end = max(self.end, offset + 1)
        if offset >= self.committed:
            self._created[offset] = message.created

    async def go_back(self, events: int) -> int:
        """Let a reader that does not read now lose its place; returns how many events come again.

        Raises ConnectionError.
        """
        async with self._group() as group:
            again = min(events, group.position)
            await group.seek(group.position - again)
            self.committed = group.position
        return again

    async def history(self) -> AsyncIterator[Message]:
        """All events, from the first on. Raises ConnectionError."""
        offset = 0
        while records := await self._log.read(offset):
            for record in records:
                yield record.message
            offset = records[-1].offset + 1


@asynccontextmanager
async def opened(
    folder: Path, store: SQLiteStore, kafka: str | None, settings: dict[str, Any]
) -> AsyncIterator[Channel]:
    """The channel of this folder, on the Kafka at `kafka`, HOST:PORT, if there is one.

    The `store` keeps the name of its topic. Raises ValueError for a folder whose events are elsewhere,
    ConnectionError when no Kafka answers, and CannotStart when its client is not installed.
    """
    file = folder / "log.db"
    with store.reading() as transaction:
        topic = transaction.get("channel", "topic", "")
    if topic and not kafka:
        raise ValueError(f"the events of {folder} are in topic {topic} of Kafka; name it with --kafka")
    if kafka and file.exists():
        raise ValueError(f"the events of {folder} are in {file}; leave --kafka out, or name another --folder")
    name = topic or f"eip-dashboard-{uuid4().hex[:12]}"
    async with _on_kafka(kafka, name) if kafka else _in_a_file(file, settings) as channel:
        if kafka:
            with store.transaction() as transaction:
                transaction.put("channel", "topic", name)
        yield channel


@asynccontextmanager
async def _in_a_file(file: Path, settings: dict[str, Any]) -> AsyncIterator[Channel]:
    async with SQLiteLog(file, "events", dedup=100_000, **settings) as log:
        says = "The log is a file. It knows by its id what a relay publishes twice, and keeps it once."
        channel = Channel(log, lambda: nullcontext(ConsumerGroup(log, GROUP)), says)
        await channel.go_back(0)  # to see where it is
        yield channel


@asynccontextmanager
async def _on_kafka(address: str, topic: str) -> AsyncIterator[Channel]:
    try:
        from ...field.kafka_log import KafkaLog
    except ModuleNotFoundError as error:
        raise CannotStart(f"{error.name} is missing; install it with: {INSTALL}") from error
    says = (
        f"The log is topic {topic} of Kafka at {address}, and stays there. It has one partition, so all "
        "events have one order. What a relay publishes twice is there twice, and the view knows it by its "
        "version."
    )
    async with AsyncExitStack() as stack:
        try:
            log = await stack.enter_async_context(KafkaLog(address, topic, timeout=ANSWER))
            channel = Channel(log, partial(log.group, GROUP), says)
            await channel.go_back(0)
        except ConnectionError as error:
            what = f"no Kafka answers at {address}; start it, or name another one with --kafka"
            raise ConnectionError(f"{what} ({error})") from error
        yield channel

"""A member of a share group, which belongs to one thread: the client's own object knows no second one.

Whoever asks it waits for a bounded time. To close a member that has a record, the client waits until the
broker has heard of it, or for the timeout of a request, a minute by default: that minute is shortened here,
the members of a queue leave together, and nobody has to stay until their threads are done.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import anyio
import anyio.lowlevel
from confluent_kafka import AcknowledgeType, IllegalStateException, KafkaException, ShareConsumer

from .kafka import ANSWER, RETRY, TICK

__all__ = ["Member"]

T = TypeVar("T")

ROUND = 0.25  #: seconds in which a member hears whether there is a record
GOODBYE = 5.0  #: seconds for a request that nobody answers, and so for a goodbye
IDLE = 10.0  #: seconds after which a member that is asked nothing calls its client
DAY = 24 * 60 * 60  #: seconds that a member may be idle before its group forgets it


class Member:
    """Takes records of the topic `name` for the share group of the same name, one at a time.

    What the client raises comes out; TimeoutError when it does not come back to us.
    """

    def __init__(self, url: str, name: str) -> None:
        self._settings = {
            "bootstrap.servers": url,
            "group.id": name,
            "share.acknowledgement.mode": "explicit",
            "max.poll.records": 1,
            "max.poll.interval.ms": DAY * 1000,
            "socket.timeout.ms": int(GOODBYE * 1000),
            "stats_cb": self._hear,
            "statistics.interval.ms": 200,
            **RETRY,
        }
        self._topic = name
        self._calls: SimpleQueue[Callable[[ShareConsumer], object] | None] = SimpleQueue()
        self._held: Any = None  # the record that is not settled; only the thread looks at it
        self._is_member = False  # as its thread knows: it has heard of its partitions
        self._joined, self._gone = anyio.Event(), anyio.Event()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._work, name=f"member of {name}", daemon=True).start()

    async def joined(self) -> None:
        """Return when the group has it as a member, so that it gets a share of the records."""
        if not self._joined.is_set():
            with anyio.fail_after(ANSWER):
                await self._joined.wait()

    async def take(self) -> Any:
        """The next record, or None when there is none in a `ROUND`."""
        try:
            return await self._answer(self._take)
        except asyncio.CancelledError:
            self.release()  # what has come nevertheless
            raise

    async def settle(self, how: AcknowledgeType) -> bool:
        """Settle the record; False when the broker says that its lock is over."""
        return await self._answer(lambda consumer: self._settle(consumer, how))

    def release(self) -> None:
        """Let go of the record, if there is one, and wait for nothing."""
        self._calls.put(self._release)

    def leave(self) -> None:
        """Begin to leave the group. Idempotent."""
        self._calls.put(None)

    async def gone(self) -> None:
        """Return when the member has left, or after `GOODBYE` seconds: then its thread goes on alone."""
        with anyio.move_on_after(GOODBYE):
            await self._gone.wait()

    async def _answer(self, ask: Callable[[ShareConsumer], T]) -> T:
        """The answer of the thread. Whoever is cancelled meanwhile still gets it."""
        await anyio.lowlevel.checkpoint_if_cancelled()
        told: asyncio.Future[T] = self._loop.create_future()

        def call(consumer: ShareConsumer) -> None:
            try:
                answer = ask(consumer)
            except Exception as error:
                self._tell(_unless_done, told, told.set_exception, error)
            else:
                self._tell(_unless_done, told, told.set_result, answer)

        self._calls.put(call)
        with anyio.CancelScope(deadline=self._loop.time() + 2 * ANSWER, shield=True):
            return await told
        raise TimeoutError

    def _tell(self, *call: Any) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(*call)

    # In the thread

    def _work(self) -> None:
        consumer = ShareConsumer(self._settings)
        try:
            consumer.subscribe([self._topic])
            while self._calls.empty() and not self._is_member:
                consumer.commit_async()  # for the news alone: a poll would take a record
                time.sleep(TICK)
            self._tell(self._joined.set)
            while (call := self._next(consumer)) is not None:
                call(consumer)
        finally:
            with suppress(KafkaException):
                consumer.close()
            self._tell(self._gone.set)

    def _next(self, consumer: ShareConsumer) -> Callable[[ShareConsumer], object] | None:
        """The next call. The client keeps its statistics until it is called: so it is, now and then."""
        while True:
            with suppress(Empty):
                return self._calls.get(timeout=IDLE)
            with suppress(KafkaException):
                consumer.commit_async()

    def _hear(self, statistics: str) -> None:
        if not self._is_member:
            self._is_member = json.loads(statistics).get("cgrp", {}).get("assignment_size", 0) > 0

    def _take(self, consumer: ShareConsumer) -> Any:
        arrived = [each for each in consumer.poll(ROUND) if each.error() is None]
        for each in arrived[1:]:  # of a batch of another producer
            consumer.acknowledge(each, AcknowledgeType.RELEASE)
        self._held = arrived[0] if arrived else None
        return self._held

    def _settle(self, consumer: ShareConsumer, how: AcknowledgeType) -> bool:
        try:
            consumer.acknowledge(self._held, how)
        except IllegalStateException:  # the client knows already that its lock is over
            return False
        return not any(consumer.commit_sync(ANSWER).values())

    def _release(self, consumer: ShareConsumer) -> None:
        if self._held is not None:
            with suppress(KafkaException, IllegalStateException):
                consumer.acknowledge(self._held, AcknowledgeType.RELEASE)
                consumer.commit_async()
            self._held = None


def _unless_done(told: asyncio.Future[Any], tell: Callable[[Any], None], answer: Any) -> None:
    if not told.done():  # by the cancellation of whoever asked
        tell(answer)

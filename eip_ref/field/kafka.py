"""The parts that all adapters of Kafka need: topics made, messages written, and calls that wait in a thread.

The client is confluent-kafka: it alone has share groups, and what it does not know of asyncio is little.
Its own asyncio producer holds messages back to send many at once, so the plain one is used: it sends at
once, and a thread of its own hears the confirms.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from .. import values
from .connections import Adapter
from .wire import clock_shift

__all__ = [
    "ANSWER",
    "KafkaAdapter",
    "Writer",
    "connection",
    "consumer",
    "in_thread",
    "make_topic",
    "on_anyio",
    "once_it_leads",
]

T = TypeVar("T")

ANSWER = 30.0  #: seconds in which the broker answers, or has gone
TICK = 0.1  #: seconds that one call of the client waits, so that whoever is cancelled goes soon
NOT_YET = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)
RETRY = {"reconnect.backoff.ms": 20, "reconnect.backoff.max.ms": 200, "log_level": 0}


class connection:
    """Turn what the client raises into a ConnectionError; a message that is too large is a ValueError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, place: object) -> None:
        _explain(self._name, error)


def _explain(name: str, error: BaseException | None) -> None:
    if not isinstance(error, KafkaException):
        return
    if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
        raise ValueError(f"{name} takes no message of this size: {error.args[0].str()}") from error
    raise ConnectionError(f"{name}: {error.args[0].str()}") from error


class KafkaAdapter(Adapter):
    """An adapter whose client says in one way what has gone and what is too large."""

    _lost = (KafkaException, OSError)

    def _explain(self, error: BaseException) -> None:
        _explain(self.name, error)
        super()._explain(error)


async def in_thread(call: Callable[..., T], *args: Any, **keywords: Any) -> T:
    """Let a call that waits do so in a thread. Whoever is cancelled meanwhile still gets its answer."""
    return await anyio.to_thread.run_sync(partial(call, *args, **keywords))


def once_it_leads(ask: Callable[[], T]) -> T:
    """Ask again while the broker does not know the topic, or lead the partition or the group, yet."""
    end = time.monotonic() + ANSWER
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in NOT_YET or time.monotonic() > end:
                raise
        time.sleep(TICK / 10)


def consumer(url: str, group: str, **settings: Any) -> Consumer:
    """A consumer that commits only what it is told to commit."""
    careful = {"enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 100}
    return Consumer({"bootstrap.servers": url, "group.id": group, **RETRY, **careful, **settings})


def _answer_time(seconds: float | None) -> float:
    """The time that the broker has to answer: so many seconds, or `ANSWER`."""
    return ANSWER if seconds is None else values.duration("timeout", seconds, zero=False)


async def make_topic(
    url: str, name: str, *, partitions: int = 1, config: Mapping[str, str], timeout: float | None = None
) -> None:
    """Make a topic with one replica, unless it is there. Raises ValueError for a name that it cannot have.

    Returns when the broker knows it: one node decides that a topic is made, and each hears of it later.
    """
    timeout = _answer_time(timeout)
    admin = AdminClient({"bootstrap.servers": url, **RETRY})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(config))
    made = admin.create_topics([topic], operation_timeout=timeout, request_timeout=timeout)[name]
    try:
        await in_thread(made.result)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_EXCEPTION:
            raise ValueError(error.args[0].str()) from error
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise

    def known() -> None:
        topic = admin.list_topics(name, timeout).topics[name]
        for part in (topic, *topic.partitions.values()):
            if part.error is not None:
                raise KafkaException(part.error)

    await in_thread(once_it_leads, known)


def on_anyio(milliseconds: int) -> float:
    """A time of the broker on anyio's clock."""
    return milliseconds / 1000 - clock_shift()


class Writer:
    """Writes messages and hears their confirms. Use it with `async with`.

    `acks` is the number of replicas that have a message before it is confirmed, or "all"; with 0 it is
    confirmed when it is sent. At most `max_batch` messages are one batch, which a share group takes whole.
    """

    def __init__(
        self,
        url: str,
        *,
        acks: int | str = "all",
        max_bytes: int,
        max_batch: int = 10_000,
        timeout: float | None = None,
    ) -> None:
        self.timeout = _answer_time(timeout)  #: seconds
        self._settings = {
            "bootstrap.servers": url,
            "acks": acks,
            "enable.idempotence": acks == "all",
            "linger.ms": 0,
            "message.max.bytes": max_bytes,
            "batch.num.messages": max_batch,
            "message.timeout.ms": int(self.timeout * 1000),
            **RETRY,
        }
        self._open = False
        self._confirms: deque[tuple[asyncio.Future[Any], Any, Any]] = deque()
        self._is_waking = False

    async def __aenter__(self) -> Writer:
        self._loop = asyncio.get_running_loop()
        self._producer = Producer(self._settings)
        self._open = True
        self._thread = threading.Thread(target=self._hear, name="kafka-confirms", daemon=True)
        self._thread.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        with anyio.CancelScope(shield=True):
            self._producer.purge()
            await in_thread(self._producer.flush, ANSWER)
            self._open = False
            await in_thread(self._thread.join)

    def _hear(self) -> None:
        while self._open:
            self._producer.poll(TICK)

    async def write(
        self, topic: str, content: bytes, key: str | None = None, headers: Mapping[str, bytes] | None = None
    ) -> Any:
        """Return the message of the client after the broker has confirmed it. Raises KafkaException."""
        told: asyncio.Future[Any] = self._loop.create_future()
        place = None if key is None else key.encode()
        tell = partial(self._tell, told)
        self._producer.produce(topic, content, place, headers=dict(headers or {}), on_delivery=tell)
        return await told

    def _tell(self, told: asyncio.Future[Any], error: Any, message: Any) -> None:
        """Called by the thread. The loop is woken once for all that were confirmed together."""
        self._confirms.append((told, error, message))
        if not self._is_waking:
            self._is_waking = True
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_waking = False  # first: what is confirmed from now on may need another call
        while self._confirms:
            told, error, message = self._confirms.popleft()
            if told.done():
                continue  # whoever waited was cancelled
            if error is None:
                told.set_result(message)
            else:
                told.set_exception(KafkaException(error))

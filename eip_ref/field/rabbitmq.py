"""RabbitMQ: its queues behind the queue protocol, by aio-pika.

A channel hands a message out until it is settled or the channel ends: there is no lease. So a timer of
this process returns the message when its lease is over, and another one while a nacked message rests;
when the process dies, both end at once, and the broker hands the message out again.

From version 4 on a quorum queue gives a message up after 20 failures where it is not told otherwise, and -1,
which stands for no limit there, is 0 to version 3. So it is told a number that nobody reaches. From 4.3 on a
*nack* is no failure to it any more, and a *reject* that returns the message is one; to those before it both
are. What is said of version 4 is from its documentation, and *not run*.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import datetime
from typing import Any, Literal

import aio_pika
import anyio
from aio_pika.exceptions import (
    AMQPError,
    ChannelInvalidStateError,
    ChannelPreconditionFailed,
    DeliveryError,
    PublishError,
)

from .. import values
from ..message import Message
from ..message_queue import Backoff, QueueFull
from .connections import unbroken
from .queue import BrokerQueue, Delivery, Unsupported
from .wire import clock_shift, printable

__all__ = ["RabbitQueue", "declaring"]

Kind = Literal["classic", "quorum"]
NO_LIMIT = 2**31 - 1  #: failures, where nobody counts them


@contextmanager
def declaring(name: str) -> Iterator[None]:
    """Raise a ValueError for what is there already with other settings: it keeps its own as long as it is."""
    try:
        yield
    except ChannelPreconditionFailed as error:
        raise ValueError(f"{name} is there with other settings, and cannot be changed: {error}") from error


class RabbitQueue(BrokerQueue):
    """A durable queue of RabbitMQ, classic or quorum, with its dead letters in "<name>.dead".

    `persistent` messages are written to the disk, and `confirms` makes put wait until they are. A quorum
    queue counts failed deliveries, and moves a message away after `max_failures`. A connection that is
    silent for two intervals of the `heartbeat`, in seconds, is ended.
    """

    _lost = (AMQPError, ChannelInvalidStateError, ConnectionError)
    _settles_to_the_end = True

    def __init__(
        self,
        url: str,
        name: str,
        *,
        kind: Kind = "quorum",
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = None,
        persistent: bool = True,
        confirms: bool = True,
        durable: bool = True,
        heartbeat: int = 60,
        dead_letters: bool = True,
    ) -> None:
        super().__init__(
            name,
            lease=lease,
            backoff=backoff,
            capacity=capacity,
            max_failures=max_failures,
            dead_letters=dead_letters,
        )
        if max_failures is not None and kind == "classic":
            raise Unsupported("a classic queue counts no failures")
        if capacity is not None and not confirms:
            raise ValueError("a full queue refuses by a confirm: a capacity takes confirms=True")
        if dead_letters:
            self.dead_letters = RabbitQueue(
                url, f"{name}.dead", kind=kind, lease=lease, heartbeat=heartbeat, dead_letters=False
            )
        self._url, self._heartbeat = url, values.count("heartbeat", heartbeat, minimum=0)
        self._kind, self._confirms, self._durable = kind, confirms, durable
        self._delivery_mode = aio_pika.DeliveryMode(2 if persistent else 1)
        self._arguments = self._arguments_of()
        self._after = f"{name}.after."  # the milliseconds are the rest of the name of a queue that delays
        self._arrivals: set[asyncio.Future[Any]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def _arguments_of(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"x-queue-type": self._kind}
        if self.dead_letters is not None:
            to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.dead_letters.name}
            arguments.update(to)
        if self.capacity is not None:
            arguments.update({"x-max-length": self.capacity, "x-overflow": "reject-publish"})
        if self._kind == "quorum":  # which counts what failed before
            arguments["x-delivery-limit"] = NO_LIMIT if self.max_failures is None else self.max_failures - 1
        return arguments

    async def _connect(self, parts: AsyncExitStack) -> None:
        connection = await aio_pika.connect(self._url, heartbeat=self._heartbeat)
        await parts.enter_async_context(connection)
        self._channel = await connection.channel(
            publisher_confirms=self._confirms, on_return_raises=self._confirms
        )
        await self._channel.set_qos(1)  # for each consumer, and `_wait` makes one for each message
        self._channel.close_callbacks.add(self._closed)
        with declaring(self.name):
            self._queue = await self._channel.declare_queue(
                self.name, durable=self._durable, arguments=self._arguments
            )
        parts.callback(self._cancel_tasks)

    def _closed(self, channel: object, error: BaseException | None) -> None:
        """Tell those who wait that nothing will come, and end the leases, which the broker has ended."""
        for future in self._arrivals:
            if not future.done():
                future.set_exception(ConnectionError(f"the connection was lost: {error}"))
        self._end_all()

    def _cancel_tasks(self) -> None:
        for task in self._tasks:
            task.cancel()

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        if delay and self.capacity is not None and self._kind == "classic":
            raise Unsupported("a classic queue that is full when a delay ends drops what comes then")
        to = self.name if not delay else await self._delaying(math.ceil(delay * 1000))
        id = printable(message.id)  # for others who read it; AMQP takes 255 bytes
        sent = aio_pika.Message(content, message_id=id, delivery_mode=self._delivery_mode)
        try:
            await self._channel.default_exchange.publish(sent, to)
        except PublishError as error:
            raise LookupError(f"there is no queue {to}") from error
        except DeliveryError as error:
            raise QueueFull(f"{self.name} holds as many messages as it may") from error

    async def _delaying(self, milliseconds: int) -> str:
        """A queue that nobody reads, and whose messages die into this one after the delay."""
        name = f"{self._after}{milliseconds}"
        to = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": self.name}
        times = {"x-message-ttl": milliseconds, "x-expires": milliseconds + 60_000}
        await self._channel.declare_queue(name, durable=True, arguments={**to, **times})
        return name

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        message = await unbroken(self._queue.get(fail=False), self._return)
        if message is None and timeout > 0:
            message = await self._wait(timeout)
        return None if message is None else self._delivery(message)

    async def _wait(self, timeout: float) -> Any:
        """Be a consumer of one message: whoever waited longest gets it, and nobody asks in vain."""
        arrived: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def arrives(message: Any) -> None:
            if arrived.done():
                await self._return(message)
            else:
                arrived.set_result(message)

        tag = await unbroken(self._queue.consume(arrives), self._queue.cancel)
        self._arrivals.add(arrived)
        try:
            await asyncio.wait([arrived], timeout=None if timeout == math.inf else timeout)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await self._stop(tag)
                await self._give_back(arrived)
            raise
        finally:
            self._arrivals.discard(arrived)
        await unbroken(self._stop(tag), lambda _: self._give_back(arrived))
        return None if arrived.cancel() else arrived.result()

    async def _stop(self, tag: str) -> None:
        if not self._channel.is_closed:
            await self._queue.cancel(tag)

    async def _give_back(self, arrived: asyncio.Future[Any]) -> None:
        """Return what has come for somebody who has gone; nothing can come any more."""
        if not arrived.cancel() and arrived.exception() is None:
            await self._return(arrived.result())

    async def _return(self, message: Any) -> None:
        if message is not None:
            await message.nack(requeue=True)

    def _delivery(self, message: Any) -> Delivery:
        failures = self._failures(message)
        return Delivery(
            content=message.body,
            handle=message,
            token=message.delivery_tag,
            sequence=message.delivery_tag,
            deliveries=failures + 1,
            failures=failures,
            headers=self._facts_of_death(message.headers),
        )

    def _failures(self, message: Any) -> int:
        """As far as the broker tells; a classic queue lets the header of a producer through."""
        counted = message.headers.get("x-delivery-count") if self._kind == "quorum" else None
        return counted if isinstance(counted, int) else int(message.redelivered)

    def _facts_of_death(self, headers: Any) -> dict[str, Any]:
        """The facts of a dead letter that the broker tells, in the words of `message_queue`.

        To the broker the end of a delay is a death too. Producers write into this header what they like.
        """
        match headers.get("x-death"):
            case [{"reason": str(reason), "queue": str(queue), "time": datetime() as time}, *_]:
                if queue.startswith(self._after):
                    return {}
                last = time.timestamp() + 1 - clock_shift()  # AMQP has whole seconds, and this one has ended
                facts = {"reason": reason, "source": queue, "last": last}
                return {f"dead-letter-{name}": fact for name, fact in facts.items()}
        return {}

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        await delivery.handle.ack()
        return True

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        if delay:
            self._start(self._fail_later(delivery, delay))
        elif failed:
            await delivery.handle.reject(requeue=True)
        else:
            await self._return(delivery.handle)
        return True

    async def _fail_later(self, delivery: Delivery, delay: float) -> None:
        await asyncio.sleep(delay)
        await delivery.handle.reject(requeue=True)

    def _has_failed(self, failures: int) -> bool:
        return False  # the broker counts, and moves

    async def _reject(self, delivery: Delivery, reason: str) -> bool:
        await delivery.handle.reject(requeue=False)
        return True

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        return True  # the timer of this process is all there is

    def _expired(self, delivery: Delivery) -> None:
        self._start(self._fail_later(delivery, 0))

    def _start(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A message that could not be returned was returned by the end of its channel."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

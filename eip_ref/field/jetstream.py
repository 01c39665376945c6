"""NATS JetStream: a work queue behind the queue protocol, by nats-py.

The stream keeps a message until it is acked; one consumer of the stream, shared by all who have the queue
open, hands it out. Its `ack_wait` is the lease: one for all, chosen by whoever opened the queue last. A
pull asks for one message and is answered by one, so a message that nobody waits for is handed to nobody.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from typing import Any

from nats.errors import Error, NoRespondersError, TimeoutError
from nats.js.api import ConsumerConfig, DiscardPolicy, RetentionPolicy, StreamConfig
from nats.js.errors import APIError, BadRequestError

from .. import values
from ..message import Message
from ..message_queue import Backoff, QueueFull
from .connections import unbroken
from .nats_core import LOST, connected
from .pulls import Pulls
from .queue import BrokerQueue, Delivery, Unsupported
from .wire import hashed

__all__ = ["JetStreamQueue"]

PULL = 2.0  #: seconds that one pull waits at the server
ANSWER = 5.0  #: seconds in which the server answers
HEADERS = 1_024  #: bytes of a message for its headers: the client does not count them, and the server does
NO_RESPONDERS = "503"
FULL = 10077  #: the server's number for a stream that holds as much as it may


class JetStreamQueue(BrokerQueue):
    """A work queue of JetStream on the disk. Dead letters are put into a second one, "<name>-dead".

    A message with an id that was put within the last `dedup` seconds is confirmed, and not stored again.
    """

    _lost = LOST
    _may_lease_for_ever = False

    def __init__(
        self,
        url: str,
        name: str,
        *,
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = 5,
        dedup: float = 120.0,
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
        if dead_letters:
            self.dead_letters = JetStreamQueue(
                url, f"{name}-dead", lease=lease, max_failures=None, dead_letters=False
            )
        self._url = url
        self._dedup = values.duration("dedup", dedup)
        self._pulls = Pulls(_return)
        self._inboxes: list[Inbox] = []  # those that wait for no answer

    async def _connect(self, parts: AsyncExitStack) -> None:
        parts.callback(self._inboxes.clear)  # they end with the connection
        self._nats = await parts.enter_async_context(connected(self._url, self.name))
        self._stream = self._nats.jetstream()
        workers = ConsumerConfig(durable_name="workers", ack_wait=self.lease, filter_subject=self.name)
        try:
            await self._make_stream()
            await self._stream.add_consumer(self.name, workers)
        except BadRequestError as error:
            raise ValueError(f"{self.name} cannot have this name, or is there otherwise: {error}") from error
        parts.push_async_callback(self._pulls.close)

    async def _make_stream(self) -> None:
        config = StreamConfig(
            name=self.name,
            subjects=[self.name, f"{self.name}.later.*"],
            retention=RetentionPolicy.WORK_QUEUE,
            duplicate_window=self._dedup,
        )
        if self.capacity is None:
            config.allow_msg_schedules = True
        else:
            config.max_msgs, config.discard = self.capacity, DiscardPolicy.NEW
        await self._stream.add_stream(config)

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        if delay and self.capacity is not None:
            raise Unsupported("a stream that refuses what is too many schedules nothing")
        self._must_fit(content, self._nats.max_payload - HEADERS)
        headers = {"Nats-Msg-Id": self._deduplication_id(message)}
        subject = self.name
        if delay:
            due = datetime.now(UTC) + timedelta(seconds=delay)
            headers.update({"Nats-Schedule": f"@at {due.isoformat()}", "Nats-Schedule-Target": self.name})
            subject = f"{self.name}.later.{hashed(message.id)}"
        try:
            await self._stream.publish(subject, content, headers=headers, timeout=ANSWER)
        except APIError as error:
            if error.err_code == FULL:
                raise QueueFull(f"{self.name} holds as many messages as it may") from error
            raise

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        if seconds != self.lease:
            raise Unsupported("a consumer of JetStream has one lease for all: open the queue with it")
        pull = partial(self._pull, min(timeout, PULL))
        message = await self._pulls.answer(pull, asked=timeout > 0)
        return None if message is None else _delivery(message)

    async def _pull(self, timeout: float) -> asyncio.Future[Any]:
        inbox = self._inboxes.pop() if self._inboxes else await Inbox.subscribed(self._nats, self._inboxes)
        answer = inbox.answer_within(timeout + ANSWER)
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self.name}.workers"
        await self._nats.publish(subject, _wish(timeout), reply=inbox.subject)
        return answer

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        await self._nats.request(delivery.handle.reply, b"+ACK", timeout=ANSWER)
        return True

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        rest = b" " + json.dumps({"delay": math.ceil(delay * 1e9)}).encode() if delay else b""
        return await self._say(delivery, b"-NAK" + rest)

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        if seconds != self.lease:
            raise Unsupported("a lease of JetStream can only be begun again")
        return await self._say(delivery, b"+WPI")

    async def _say(self, delivery: Delivery, word: bytes) -> bool:
        """Settle in the words of JetStream, and return when the server has done it, not only heard it."""
        await unbroken(self._nats.request(delivery.handle.reply, word, timeout=ANSWER))
        return True


class Inbox:
    """A subject of one's own, on which the server answers one pull at a time.

    The client's own requests share one subject, and an answer is known there by its subject; but a message
    that answers a pull has the subject of its stream.
    """

    def __init__(self, subject: str, free: list[Inbox]) -> None:
        self.subject, self._free = subject, free
        self._subscription: Any = None
        self._answer: asyncio.Future[Any]
        self._until = 0.0
        self._alarm: asyncio.TimerHandle | None = None  # one for many pulls: each would pay for a timer

    @classmethod
    async def subscribed(cls, client: Any, free: list[Inbox]) -> Inbox:
        inbox = cls(client.new_inbox(), free)
        inbox._subscription = await client.subscribe(inbox.subject, cb=inbox._hear)
        return inbox

    def answer_within(self, seconds: float) -> asyncio.Future[Any]:
        """The message that will come, or None when the server says that there is none."""
        loop = asyncio.get_running_loop()
        self._answer, self._until = loop.create_future(), loop.time() + seconds
        if self._alarm is None:
            self._alarm = loop.call_at(self._until, self._is_late, loop)
        return self._answer

    def _is_late(self, loop: asyncio.AbstractEventLoop) -> None:
        self._alarm = None
        if self._answer.done():
            return
        if loop.time() < self._until:
            self._alarm = loop.call_at(self._until, self._is_late, loop)
            return
        self._settle(TimeoutError())
        self._leaving = asyncio.ensure_future(self._leave())

    async def _leave(self) -> None:
        with suppress(*LOST):  # what is lost has ended
            await self._subscription.unsubscribe()

    async def _hear(self, message: Any) -> None:
        if self._answer.done():  # it was given up; or nothing is asked, and the server says that it leaves
            return
        status = (message.headers or {}).get("Status")
        if status is None:
            self._free.append(self)
            self._settle(message)
            return
        self._settle(NoRespondersError() if status == NO_RESPONDERS else None)
        await self._leave()

    def _settle(self, answer: Any) -> None:
        if isinstance(answer, Error):
            self._answer.set_exception(answer)
        else:
            self._answer.set_result(answer)


@lru_cache(16)
def _wish(timeout: float) -> bytes:
    """The wish of a pull: one message, within this time or at once."""
    wait = {"expires": math.ceil(timeout * 1e9)} if timeout else {"no_wait": True}
    return json.dumps({"batch": 1, **wait}).encode()


def _delivery(message: Any) -> Delivery:
    facts = message.metadata
    return Delivery(
        content=message.data,
        handle=message,
        token=facts.sequence.consumer,
        sequence=facts.sequence.stream,
        deliveries=facts.num_delivered,
        failures=facts.num_delivered - 1,
    )


async def _return(message: Any) -> None:
    await message.nak()

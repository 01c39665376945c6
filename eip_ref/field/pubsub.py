"""Google Pub/Sub: a topic with one subscription behind the queue protocol, by google-cloud-pubsub.

The lease is the ack deadline, in whole seconds: a time between two of them counts as the later one. The
subscription delivers exactly once, so an ack id of an old lease settles nothing, and it keeps the order of
a key. It counts deliveries only for a dead-letter policy, of at most a hundred; so the policy has a hundred,
and the adapter moves a message before, after `max_failures`.

It was run with Google's emulator alone, which differs from the service's documents. It heeds no filter and
no retry policy. A message of more than ten megabytes is not refused: nothing answers. A pull that was
cancelled is given a message, which nobody has until its deadline. Of messages without an ordering key only
the first may be acked, so each has one. When the dead-letter policy has to move a message, nobody gets that
one, nor any that follows. The last two hold of a subscription that keeps an order.

*Left out:* the service itself, with its credentials and regions.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio.lowlevel
import grpc.aio
from google.api_core.exceptions import (
    AlreadyExists,
    DeadlineExceeded,
    GoogleAPICallError,
    InvalidArgument,
    ServiceUnavailable,
)
from google.pubsub_v1 import PublisherAsyncClient, PullResponse, SubscriberAsyncClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from ..message import Message
from ..message_queue import Backoff
from .pulls import Pulls
from .queue import BrokerQueue, Delivery, Unsupported

__all__ = ["LOST", "PROJECT", "PubSubQueue", "asked", "clients", "made", "publish"]

PROJECT = "projects/eip"
POLL = 2.0  #: seconds that one pull waits at the service
EARLY = 1.0  #: seconds before the deadline of a call, when a pull without a message is answered
ANSWER = 10.0  #: seconds in which the service answers everything else
SHORTEST, LONGEST = 10, 600  #: seconds of the ack deadline that a subscription has; one message's may be 0
LARGEST = 10_000_000  #: bytes of a message
MOST_DELIVERIES = 100  #: that a dead-letter policy may allow
MOST_FAILURES = MOST_DELIVERIES - 1  #: after which the adapter is before it

LOST = (ServiceUnavailable, DeadlineExceeded)  #: what the client raises when the service is gone
OVER = "PERMANENT_FAILURE_INVALID_ACK_ID"  #: what the service says of the ack id of an old lease

SIZES = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


@asynccontextmanager
async def clients(url: str) -> AsyncIterator[tuple[PublisherAsyncClient, SubscriberAsyncClient]]:
    """The two clients of an emulator at "host:port", over one connection."""
    async with grpc.aio.insecure_channel(url, options=SIZES) as channel:
        publisher, subscriber = PublisherGrpcAsyncIOTransport, SubscriberGrpcAsyncIOTransport
        yield (
            PublisherAsyncClient(transport=publisher(channel=channel)),
            SubscriberAsyncClient(transport=subscriber(channel=channel)),
        )


async def asked(call: Callable[..., Any], timeout: float = ANSWER, **request: Any) -> Any:
    """The answer to a call, which is not sent twice: whoever heard none decides."""
    try:
        return await call(request=request, retry=None, timeout=timeout)
    except asyncio.CancelledError as error:
        await anyio.lowlevel.checkpoint_if_cancelled()  # gRPC's own error says of no scope that it was it
        task = asyncio.current_task()
        if task is not None and not task.cancelling():  # gRPC says so too of a connection that was closed
            raise ConnectionError("the connection was closed") from error
        raise


async def made(create: Callable[..., Any], **request: Any) -> None:
    """Create what is not there yet. Raises ValueError for a name that it cannot have."""
    try:
        with suppress(AlreadyExists):
            await asked(create, **request)
    except InvalidArgument as error:
        raise ValueError(str(error)) from error


async def publish(
    publisher: PublisherAsyncClient, to: str, content: bytes, message: Message, **attributes: str
) -> None:
    """Return when the service has it; one without a key has an ordering key of its own.

    Raises ValueError for one too large.
    """
    if len(content) > LARGEST:
        raise ValueError(f"Pub/Sub takes messages of at most {LARGEST} bytes; this one has {len(content)}")
    facts = {"data": content, "attributes": attributes, "ordering_key": message.key or message.id}
    await asked(publisher.publish, topic=to, messages=[facts])


class PubSubQueue(BrokerQueue):
    """A subscription of the topic of its name, or of a given one, with dead letters in "<name>-dead".

    The next message of a key is handed out when the one before is acked. After 99 failures each message is
    a dead letter.
    """

    _lost = LOST
    _may_lease_for_ever = False

    def __init__(
        self,
        url: str,
        name: str,
        *,
        topic: str = "",
        exactly_once: bool = True,
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = None,
        dead_letters: bool = True,
    ) -> None:
        super().__init__(
            name, lease=lease, backoff=backoff, max_failures=max_failures, dead_letters=dead_letters
        )
        if capacity is not None:
            raise Unsupported("a subscription of Pub/Sub has no bound")
        if (max_failures or 0) > MOST_FAILURES:
            raise Unsupported(f"Pub/Sub counts at most {MOST_DELIVERIES} deliveries of a message")
        if dead_letters:
            self.max_failures = max_failures or MOST_FAILURES
            self.dead_letters = PubSubQueue(url, f"{name}-dead", lease=lease, dead_letters=False)
        self._url, self._exactly_once = url, exactly_once
        self._topic = f"{PROJECT}/topics/{topic or name}"
        self._subscription = f"{PROJECT}/subscriptions/{name}"
        self._pulls = Pulls(self._return)
        self._granted = 0  # leases: an ack id is no number

    async def _connect(self, parts: AsyncExitStack) -> None:
        self._publisher, self._subscriber = await parts.enter_async_context(clients(self._url))
        parts.push_async_callback(self._pulls.close)
        await made(self._publisher.create_topic, name=self._topic)
        await made(
            self._subscriber.create_subscription,
            name=self._subscription,
            topic=self._topic,
            ack_deadline_seconds=math.ceil(min(max(self.lease, SHORTEST), LONGEST)),
            enable_message_ordering=True,
            enable_exactly_once_delivery=self._exactly_once,
            dead_letter_policy=self._policy(),
        )
        known = await asked(self._subscriber.get_subscription, subscription=self._subscription)
        self._deadline = known.ack_deadline_seconds  # whoever has made it

    def _policy(self) -> dict[str, Any] | None:
        if self.dead_letters is None:
            return None
        topic = f"{PROJECT}/topics/{self.dead_letters.name}"
        return {"dead_letter_topic": topic, "max_delivery_attempts": MOST_DELIVERIES}

    async def remove(self) -> None:
        """Remove the subscription and all that waits in it."""
        with self._reaching():
            await asked(self._subscriber.delete_subscription, subscription=self._subscription)

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        if delay:
            raise Unsupported("Pub/Sub delivers at once")
        self._must_fit(content, LARGEST)
        await publish(self._publisher, self._topic, content, message)

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        within_bounds(seconds)
        what = math.ceil(seconds), min(POLL, timeout)
        found = await self._pulls.answer(partial(self._pull, *what), asked=what)
        return None if found is None else self._delivery(found)

    async def _pull(self, seconds: int, wait: float) -> asyncio.Task[Any]:
        return asyncio.create_task(self._receive(seconds, wait))

    async def _receive(self, seconds: int, wait: float) -> Any:
        pull = partial(asked, self._subscriber.pull, subscription=self._subscription, max_messages=1)
        try:
            answer = await pull(timeout=wait + EARLY)
        except DeadlineExceeded:  # how the service may say that there is no message
            return None
        for found in PullResponse.pb(answer).received_messages:  # as it came: the library's view costs more
            if seconds != self._deadline:
                await self._modify(found.ack_id, seconds)
            return found
        return None

    async def _modify(self, ack_id: str, seconds: int) -> None:
        await asked(
            self._subscriber.modify_ack_deadline,
            subscription=self._subscription,
            ack_ids=[ack_id],
            ack_deadline_seconds=seconds,
        )

    async def _return(self, found: Any) -> None:
        await self._modify(found.ack_id, 0)

    def _delivery(self, found: Any) -> Delivery:
        deliveries = found.delivery_attempt or 1  # without a policy it counts none
        self._granted += 1
        return Delivery(
            content=found.message.data,
            handle=found.ack_id,
            token=self._granted,
            sequence=found.message.publish_time.ToMicroseconds(),
            deliveries=deliveries,
            failures=deliveries - 1,
            headers=dict(found.message.attributes),
        )

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        call = partial(asked, self._subscriber.acknowledge, subscription=self._subscription)
        return await settles(call(ack_ids=[delivery.handle]))

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        return await self._extend(delivery, delay)

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        within_bounds(seconds)
        return await settles(self._modify(delivery.handle, math.ceil(seconds)))


def within_bounds(seconds: float) -> None:
    if seconds > LONGEST:
        raise Unsupported(f"an ack deadline has at most {LONGEST} seconds")


async def settles(call: Awaitable[object]) -> bool:
    """False when the service says that the lease is over."""
    try:
        await call
    except GoogleAPICallError as error:
        if OVER not in (error.metadata or {}).values():
            raise
        return False
    return True

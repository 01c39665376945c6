"""SQS: standard and FIFO queues behind the queue protocol, by aiobotocore.

The lease is the visibility timeout, in whole seconds: a time between two of them counts as the later one.
A receipt handle settles it. A message that was handed out `max_failures` times is moved to the dead
letters by the redrive policy, when somebody asks for a message the next time.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from ..message import Message
from ..message_queue import Backoff
from .pulls import Pulls
from .queue import BrokerQueue, Delivery, Unsupported
from .wire import printable

__all__ = ["SqsQueue", "client", "refusing"]

POLL = 2  #: seconds that one question waits at the service
INTERVAL = 0.1  #: seconds between two questions that do not wait
LONGEST = 43_200  #: seconds of a visibility timeout
LONGEST_DELAY = 900  #: seconds of a delay
LARGEST = 1_048_576  #: bytes of a message
OVER = ("ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue")  #: for an old handle

LOST = (HTTPClientError, NoConnection)  #: what the client raises when the service is gone

SESSION = cache(get_session)


@contextmanager
def refusing(name: str, *codes: str) -> Iterator[None]:
    """Raise a ValueError for what the service refuses with one of these codes."""
    try:
        yield
    except ClientError as error:
        if _code(error) not in codes:
            raise
        raise ValueError(f"{name}: {error}") from error


def _code(error: ClientError) -> str:
    return str(error.response["Error"]["Code"].rpartition(".")[2])


def client(service: str, url: str, region: str) -> AbstractAsyncContextManager[Any]:
    """A client of a service at this address.

    Its keys are in the address, as in "http://key:secret@host:port"; without them botocore looks for some.
    Nothing is sent twice: whoever heard no answer decides.
    """
    parts = urlsplit(url)
    client: AbstractAsyncContextManager[Any] = SESSION().create_client(
        service,
        region_name=region,
        endpoint_url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        aws_access_key_id=parts.username,
        aws_secret_access_key=parts.password,
        config=AioConfig(retries={"total_max_attempts": 1}, max_pool_connections=50),
    )
    return client


class SqsQueue(BrokerQueue):
    """A queue of SQS, with its dead letters in "<name>-dead"; the service adds ".fifo" to a FIFO one.

    In a FIFO queue the key of a message is its group; one without a key is a group of its own.
    """

    _lost = LOST
    _may_lease_for_ever = False

    def __init__(
        self,
        url: str,
        name: str,
        *,
        fifo: bool = False,
        region: str = "us-east-1",
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
            raise Unsupported("a queue of SQS has no bound")
        self.dead_letters: SqsQueue | None = None
        if dead_letters:
            self.dead_letters = SqsQueue(
                url, f"{name}-dead", fifo=fifo, region=region, lease=lease, dead_letters=False
            )
        self._endpoint, self._region = url, region
        self._fifo = fifo
        self._polls = Pulls(self._return)
        self._granted = 0  # leases: a receipt handle is no number

    async def _connect(self, parts: AsyncExitStack) -> None:
        self._sqs = await parts.enter_async_context(client("sqs", self._endpoint, self._region))
        parts.push_async_callback(self._polls.close)
        attributes = await self._attributes()
        with refusing(self.name, "InvalidParameterValue", "QueueAlreadyExists", "QueueNameExists"):
            made = await self._sqs.create_queue(
                QueueName=self.name + ".fifo" * self._fifo, Attributes=attributes
            )
        self.url = made["QueueUrl"]

    async def _attributes(self) -> dict[str, str]:
        attributes = {"FifoQueue": "true"} if self._fifo else {}
        if self.dead_letters is not None and self.max_failures is not None:
            policy = {
                "deadLetterTargetArn": await self.dead_letters.arn(),
                "maxReceiveCount": self.max_failures,
            }
            attributes["RedrivePolicy"] = json.dumps(policy)
        return attributes

    async def arn(self) -> str:
        """The name by which other services call this queue."""
        with self._reaching():
            answer = await self._sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    async def allow(self, topic: str) -> None:
        """Let a topic of SNS put messages into this queue."""
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "sqs:SendMessage",
            "Resource": await self.arn(),
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        with self._reaching():
            await self._sqs.set_queue_attributes(QueueUrl=self.url, Attributes={"Policy": policy})

    async def remove(self) -> None:
        """Remove the queue and all that is in it."""
        with self._reaching():
            await self._sqs.delete_queue(QueueUrl=self.url)

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        self._must_fit(content, LARGEST)
        if delay > LONGEST_DELAY:
            raise ValueError(f"SQS delays a message by at most {LONGEST_DELAY} seconds, and not by {delay}")
        facts: dict[str, Any] = {"DelaySeconds": math.ceil(delay)}
        if self._fifo and delay:
            raise Unsupported("a FIFO queue has one delay for all messages")
        if self._fifo:
            group = printable(message.key or message.id)
            facts = {"MessageGroupId": group, "MessageDeduplicationId": self._deduplication_id(message)}
        await self._sqs.send_message(QueueUrl=self.url, MessageBody=content.decode(), **facts)

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        within_bounds(seconds)
        asked = math.ceil(seconds), int(min(POLL, timeout))
        message = await self._polls.answer(partial(self._poll, *asked), asked=asked)
        if message is not None:
            return self._delivery(message)
        if timeout < 1:  # a question that waits does so for whole seconds
            await asyncio.sleep(min(INTERVAL, timeout))
        return await self._take(seconds, 0.0) if 0 < timeout <= INTERVAL else None

    async def _poll(self, seconds: int, wait: int) -> asyncio.Task[Any]:
        return asyncio.create_task(self._receive(seconds, wait))

    async def _receive(self, seconds: int, wait: int) -> Any:
        answer = await self._sqs.receive_message(
            QueueUrl=self.url,
            VisibilityTimeout=seconds,
            WaitTimeSeconds=wait,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["topic"],
        )
        return next(iter(answer.get("Messages", ())), None)

    async def _return(self, message: Any) -> None:
        await self._sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
        )

    def _delivery(self, message: Any) -> Delivery:
        facts = message["Attributes"]
        deliveries = int(facts["ApproximateReceiveCount"])
        self._granted += 1
        return Delivery(
            content=message["Body"].encode(),
            handle=message["ReceiptHandle"],
            token=self._granted,
            sequence=int(facts.get("SequenceNumber", facts["SentTimestamp"])),
            deliveries=deliveries,
            failures=deliveries - 1,
            headers=_headers(message),
        )

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        return await self._settles(self._sqs.delete_message, delivery)

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        return await self._extend(delivery, delay)

    def _has_failed(self, failures: int) -> bool:
        return False  # the service counts, and moves

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        within_bounds(seconds)
        change = partial(self._sqs.change_message_visibility, VisibilityTimeout=math.ceil(seconds))
        return await self._settles(change, delivery)

    async def _settles(self, act: Callable[..., Any], delivery: Delivery) -> bool:
        try:
            await act(QueueUrl=self.url, ReceiptHandle=delivery.handle)
        except ClientError as error:
            if _code(error) not in OVER:
                raise
            return False
        return True


def _headers(message: Any) -> dict[str, str]:
    """The topic to which it was published, and the queue that the service has moved it from."""
    named = message.get("MessageAttributes", {}).items()
    headers = {name: text for name, each in named if (text := each.get("StringValue")) is not None}
    if source := message["Attributes"].get("DeadLetterQueueSourceArn"):
        headers["dead-letter-source"] = source.rpartition(":")[2]
    return headers


def within_bounds(seconds: float) -> None:
    """Refuse what the service would, with a code that it has for old handles too."""
    if seconds > LONGEST:
        raise Unsupported(f"a visibility timeout has at most {LONGEST} seconds")

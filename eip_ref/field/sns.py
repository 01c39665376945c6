"""SNS: publish–subscribe, each subscription a queue of SQS of its own, by aiobotocore.

A channel is one topic of SNS. The words of our topic are attributes of the message, and a pattern is a
filter policy over them. A message is deleted from its queue when it is received: at most once from there.
"""

from __future__ import annotations

import json
import math
from typing import Any
from uuid import uuid4

import anyio

from .. import values
from ..message import Message
from ..publish_subscribe import Published, TopicMessage, check_pattern, check_topic
from ..trace import Kind, record
from .connections import opening, reaching
from .queue import heard_once
from .sqs import LOST, SqsQueue, client, refusing
from .wire import encoded

__all__ = ["SnsChannel", "SnsSubscription"]

INVALID = "InvalidParameter"  #: the code for what the service cannot take


class SnsSubscription:
    """A receiving end. What waits in its queue is bounded by nothing; after four days it is lost."""

    def __init__(self, sns: Any, arn: str, queue: SqsQueue, *, is_shared: bool) -> None:
        self._sns, self._arn, self._queue, self._is_shared = sns, arn, queue, is_shared
        self._left = False

    async def receive(self, *, timeout: float = math.inf) -> TopicMessage:
        """The next message. Raises TimeoutError, and ValueError for one that is none: it is passed over."""
        end = anyio.current_time() + timeout
        while True:
            message = await heard_once(self._queue, max(0.0, end - anyio.current_time()))
            if message is not None:
                return message

    async def leave(self) -> None:
        """End it, and remove its queue, unless a group has it. Idempotent."""
        if not self._left and not self._is_shared:
            with reaching(self._queue.name, LOST):
                await self._sns.unsubscribe(SubscriptionArn=self._arn)
                await self._queue.remove()
        self._left = True


class SnsChannel:
    """Topics with the wildcards of the reference: `async with SnsChannel(url, "shop") as channel: …`.

    Raises ConnectionError when the service is gone. `dropped` counts nothing: a queue has room for all.
    """

    def __init__(self, url: str, name: str, *, region: str = "us-east-1") -> None:
        self.name = values.name("name", name)
        self.dropped = 0
        self._url, self._region = url, region

    async def __aenter__(self) -> SnsChannel:
        async with opening(self.name, LOST) as stack:
            self._sns = await stack.enter_async_context(client("sns", self._url, self._region))
            with refusing(self.name, INVALID):
                self._topic = (await self._sns.create_topic(Name=self.name))["TopicArn"]
            self._stack = stack.pop_all()
        record(Kind.OPENED, self.name, who="", role="channel")
        return self

    async def __aexit__(self, *error: Any) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    async def publish(self, topic: str, message: Message) -> Published | None:
        """Return when the service has confirmed. None is the answer: it does not say who was there.

        Raises ValueError for a message that it refuses, as it does one of more than 256 KiB.
        """
        check_topic(topic)
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key, topic=topic)
        facts = {"topic": topic, **_words(topic)}
        attributes = {name: {"DataType": "String", "StringValue": fact} for name, fact in facts.items()}
        with reaching(self.name, LOST), refusing(self.name, INVALID):
            await self._sns.publish(
                TopicArn=self._topic, Message=encoded(message).decode(), MessageAttributes=attributes
            )
        return None

    async def flush(self) -> None:
        """Nothing to wait for: what was published is confirmed."""

    async def subscribe(self, pattern: str, *, group: str = "", capacity: int = 1_000) -> SnsSubscription:
        """Hear everything from the instant at which this returns; the members of a group share one queue.

        `capacity` is what the reference has, and a queue of SQS has not.
        """
        check_pattern(pattern)
        values.count("capacity", capacity)
        name = f"{self.name}-{group or uuid4().hex}"
        queue = SqsQueue(self._url, name, region=self._region, dead_letters=False)
        await self._stack.enter_async_context(queue)
        with reaching(self.name, LOST):
            await queue.allow(self._topic)
            made = await self._sns.subscribe(
                TopicArn=self._topic,
                Protocol="sqs",
                Endpoint=await queue.arn(),
                Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(_filter(pattern))},
                ReturnSubscriptionArn=True,
            )
        end = SnsSubscription(self._sns, made["SubscriptionArn"], queue, is_shared=bool(group))
        self._stack.push_async_callback(end.leave)
        return end


def _words(topic: str) -> dict[str, str]:
    words = topic.split(".")
    return {"words": str(len(words)), **{f"word{place}": word for place, word in enumerate(words)}}


def _filter(pattern: str) -> dict[str, list[Any]]:
    """The policy that lets through what the pattern means. A policy has at most five attributes."""
    words = pattern.split(".")
    asked: dict[str, list[Any]] = {
        f"word{place}": [word] for place, word in enumerate(words) if word not in ("*", ">")
    }
    if words[-1] == ">":
        asked[f"word{len(words) - 1}"] = [{"exists": True}]
    else:
        asked["words"] = [str(len(words))]
    return asked

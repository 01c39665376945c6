"""SNS: publish–subscribe, each subscription a queue of SQS of its own, by aiobotocore.

A channel is one topic of SNS. The words of our topic are attributes of the message, and a pattern is a
filter policy over them. A message is deleted from its queue when it is received: at most once from there.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

from ..message import Message
from ..publish_subscribe import Published
from .channel import BrokerChannel, QueueSubscription
from .sqs import LOST, SqsQueue, client, refusing

__all__ = ["SnsChannel", "SnsSubscription"]

INVALID = "InvalidParameter"  #: the code for what the service cannot take


class SnsSubscription(QueueSubscription):
    """A receiving end. What waits in its queue is bounded by nothing; after four days it is lost."""

    _channel: SnsChannel
    _queue: SqsQueue
    arn: str

    async def _remove(self) -> None:
        await self._channel.sns.unsubscribe(SubscriptionArn=self.arn)
        await self._queue.remove()


class SnsChannel(BrokerChannel):
    """Topics with the wildcards of the reference: `async with SnsChannel(url, "shop") as channel: …`.

    `dropped` counts nothing: a queue has room for all. The service does not say who was there, and takes
    messages of at most 256 KiB.
    """

    _lost = LOST

    def __init__(self, url: str, name: str, *, region: str = "us-east-1") -> None:
        super().__init__(url, name)
        self._region = region

    async def _open(self, parts: AsyncExitStack) -> None:
        self.sns = await parts.enter_async_context(client("sns", self._url, self._region))
        with refusing(self.name, INVALID):
            self._topic = (await self.sns.create_topic(Name=self.name))["TopicArn"]

    async def _publish(self, topic: str, message: Message, content: bytes) -> Published | None:
        facts = {"topic": topic, **_words(topic)}
        attributes = {name: {"DataType": "String", "StringValue": fact} for name, fact in facts.items()}
        with refusing(self.name, INVALID):
            await self.sns.publish(
                TopicArn=self._topic, Message=content.decode(), MessageAttributes=attributes
            )
        return None

    async def _subscribe(self, pattern: str, group: str, capacity: int) -> SnsSubscription:
        name, parts = f"{self.name}-{group or uuid4().hex}", self._must_be_open()
        queue = SqsQueue(self._url, name, region=self._region, dead_letters=False)
        await parts.enter_async_context(queue)
        await queue.allow(self._topic)
        made = await self.sns.subscribe(
            TopicArn=self._topic,
            Protocol="sqs",
            Endpoint=await queue.arn(),
            Attributes={"RawMessageDelivery": "true", "FilterPolicy": json.dumps(_filter(pattern))},
            ReturnSubscriptionArn=True,
        )
        end = SnsSubscription(self, queue, pattern, is_shared=bool(group))
        end.arn = made["SubscriptionArn"]
        parts.push_async_callback(end.leave)
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

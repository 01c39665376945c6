"""What publish–subscribe costs beside the bare primitive beneath it, as ratios within one run.

The primitive is an anyio memory stream for each subscriber, with a loop that puts every message into
each: no topics, no policies, no counts, no trace, and the message is shared.
"""

from __future__ import annotations

import anyio

from eip_ref.message import Message
from eip_ref.publish_subscribe import PartitionedTopic, PublishSubscribeChannel

from .core import best, line


async def through_streams(count: int, subscribers: int) -> None:
    ends = [anyio.create_memory_object_stream[Message](1) for _ in range(subscribers)]
    for number in range(count):
        message = Message(number, id="m")
        for send, _ in ends:
            await send.send(message)
        for _, receive in ends:
            await receive.receive()
    for send, receive in ends:
        send.close()
        receive.close()


async def through_a_channel(count: int, subscribers: int, retain: int = 0) -> None:
    channel = PublishSubscribeChannel("shop", retain=retain)
    inboxes = [channel.subscribe("orders.*", name=f"s{n}", when_full="block") for n in range(subscribers)]
    for number in range(count):
        await channel.publish("orders.paid", Message(number, id="m"))
        for inbox in inboxes:
            await inbox.receive()


async def through_a_durable_subscription(count: int) -> None:
    channel = PublishSubscribeChannel("shop", retain=100)
    with channel.durable("billing", "orders.*", when_full="block") as subscriber:
        for number in range(count):
            await channel.publish("orders.paid", Message(number, id="m"))
            await (await subscriber.receive()).ack()


async def through_a_group(count: int) -> None:
    topic = PartitionedTopic("orders", partitions=4, retain=100)
    with topic.join("billing", name="b", when_full="block") as member:
        for number in range(count):
            await topic.publish(Message(number, id="m"))
            await (await member.receive()).ack()


def main() -> None:
    for subscribers in (1, 10, 100):
        count = 20_000 // subscribers
        bare = best(lambda n=count, s=subscribers: anyio.run(through_streams, n, s))  # type: ignore[misc]
        ours = best(lambda n=count, s=subscribers: anyio.run(through_a_channel, n, s))  # type: ignore[misc]
        line(f"one message to each of {subscribers}", ours, count * subscribers, "bare anyio streams", bare)
    count = 20_000
    bare = best(lambda: anyio.run(through_streams, count, 1))
    durable = best(lambda: anyio.run(through_a_durable_subscription, count))
    line("publish, receive and ack, durable", durable, count, "a bare anyio stream", bare)
    line(
        "the same through a group",
        best(lambda: anyio.run(through_a_group, count)),
        count,
        "a bare anyio stream",
        bare,
    )
    ten = best(lambda: anyio.run(through_a_durable_subscription, 10 * count))
    line("durable, ten times as many messages", ten, 10 * count, "the durable line, for one", 10 * durable)


if __name__ == "__main__":
    main()

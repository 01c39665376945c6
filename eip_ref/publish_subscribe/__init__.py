"""Publish–subscribe: what is published to a topic reaches everybody who is subscribed to it.

The promise: every subscription gets every message that is published from the instant at which
`subscribe` returned, or from a position in the log; every group shares one copy. Each subscriber has
a bounded buffer and a policy of its own, so a slow or failing one delays nobody, unless its policy is
to block; what it misses is counted, with the reason. Order is that of each publisher, within a
partition. A live subscription is *at most once*; only a durable one, which reads a retained log and
acks, is *at least once*. That nobody was subscribed is an answer of `publish`.

    async def an_order_is_paid() -> None:
        channel = PublishSubscribeChannel("shop")

        async def read(end: Subscription) -> None:
            async for message in end:
                await anyio.sleep(1.0 if end.name == "invoices" else 0.0)
                print(f"{anyio.current_time() - start:.0f} s  {end.name:<8} {message.topic}: {message.body}")
            print(f"     {end.name} missed {end.dropped.total()}")

        start = anyio.current_time()
        lonely = await channel.publish("orders.paid", Message("order 0"))
        print("order 0: nobody subscribed" if lonely.nobody_subscribed else "somebody heard")
        async with anyio.create_task_group() as group:
            stock = channel.subscribe("orders.*", name="stock", when_full="block")
            invoices = channel.subscribe("orders.paid", name="invoices", when_full="drop oldest", capacity=2)
            for end in (stock, invoices):
                group.start_soon(read, end)
            for number in range(1, 5):
                published = await channel.publish("orders.paid", Message(f"order {number}"))
                print(f"order {number}: {published.receivers} receivers")
            channel.close()

Read `channel.py` first, which has live subscriptions too: each buffer is one of `backpressure`; then
`topics.py` for wildcards; `cursor.py` for durable subscriptions; `partitions.py` for groups that share a
topic by key; `subscriber.py` for handlers.

*Left out:* surviving the death of the channel's own process (that is a durable queue), access rights,
and brokers that forward to one another.
"""

from ..backpressure import WhenFull
from ..signal import Disconnected
from .channel import PublishSubscribeChannel, Subscription
from .cursor import Delivery, DurableSubscriber
from .partitions import Member, PartitionedTopic, PartitionGroup
from .subscriber import listen
from .topics import (
    ChannelClosed,
    Published,
    Start,
    SubscriptionEnded,
    TopicMessage,
    check_pattern,
    check_topic,
    matches,
)

__all__ = [
    "ChannelClosed",
    "Delivery",
    "Disconnected",
    "DurableSubscriber",
    "Member",
    "PartitionGroup",
    "PartitionedTopic",
    "PublishSubscribeChannel",
    "Published",
    "Start",
    "Subscription",
    "SubscriptionEnded",
    "TopicMessage",
    "WhenFull",
    "check_pattern",
    "check_topic",
    "listen",
    "matches",
]

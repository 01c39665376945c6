"""Publish–subscribe: what is published to a topic reaches everybody who is subscribed to it.

The promise: every subscription gets every message that is published from the instant at which
`subscribe` returned, or from a position in the log; every group shares one copy. Each subscriber has
a bounded buffer and a policy of its own, so a slow or failing one delays nobody, unless its policy is
to block; what it misses is counted, with the reason. Order is that of each publisher, within a
partition. A live subscription is *at most once*; only a durable one, which reads a retained log and
acks, is *at least once*. That nobody was subscribed is an answer of `publish`.

    async def an_order_is_paid() -> None:
        channel = PublishSubscribeChannel("shop")

        async def read(inbox: Subscription) -> None:
            async for topic, message in inbox:
                await anyio.sleep(1.0 if inbox.name == "invoices" else 0.0)
                print(f"{anyio.current_time() - start:.0f} s  {inbox.name:<8} {topic}: {message.body}")
            print(f"     {inbox.name} missed {sum(inbox.dropped.values())}")

        start = anyio.current_time()
        lonely = await channel.publish("orders.paid", Message("order 0"))
        print("order 0: nobody subscribed" if lonely.nobody_subscribed else "somebody heard")
        async with anyio.create_task_group() as group:
            stock = channel.subscribe("orders.*", name="stock", when_full="block")
            invoices = channel.subscribe("orders.paid", name="invoices", when_full="drop oldest", capacity=2)
            for inbox in (stock, invoices):
                group.start_soon(read, inbox)
            for number in range(1, 5):
                published = await channel.publish("orders.paid", Message(f"order {number}"))
                print(f"order {number}: {published.receivers} receivers")
            channel.close()

Read `channel.py` first, then `mailbox.py` for live subscriptions; `log.py`, `cursor.py` and
`durable.py` for durable ones; `partitions.py` for groups that share a topic by key; `listening.py`.

*Left out:* surviving the death of the channel's own process (that is a durable queue), access rights,
and brokers that forward to one another.
"""

from .channel import PublishSubscribeChannel
from .delivery import Delivery
from .durable import DurableSubscriber
from .listening import listen
from .log import Log
from .mailbox import Subscription, TopicMessage
from .partitions import ConsumerGroup, Member, PartitionedTopic
from .terms import ChannelClosed, Disconnected, Published, Start, SubscriptionEnded, WhenFull
from .wildcards import Interest, check_pattern, check_topic, matches

__all__ = [
    "ChannelClosed",
    "ConsumerGroup",
    "Delivery",
    "Disconnected",
    "DurableSubscriber",
    "Interest",
    "Log",
    "Member",
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

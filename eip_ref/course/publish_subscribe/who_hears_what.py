"""Who hears what

Choose · easy · 2 points · 6 minutes

Answer: def interests(who)
Called: Your `interests(who)` for 'billing', 'dashboard', 'europe' and 'audit'. Each subscribes to your
    patterns, and then one message is published to each of eight topics.
Promised: Each subscriber hears the topics that its line in the table asks for, each message once, and no
    others.
Hint: How many words has each topic that somebody wants? `*` is one word, never two and never none.
Hint: Every pattern is a subscription of its own. When two patterns of one subscriber match a topic, it gets
    two copies.
Hint: Billing needs two patterns, since the paid orders have topics of two and of three words. One pattern
    with `>` is enough for the dashboard and for the audit.
Why: `*` stands for one word and `>` for one or more. `orders.paid` and `orders.*.paid` have no topic in
    common, so billing gets each message once.

no-such-pattern (ValueError): A pattern that no subscription has. Words are parted by dots, `*` is a whole
    word, and `>` stands at the end.
misses-a-topic: Does not hear all that it needs. A subscriber that does not match is not told, and nobody
    sees an error.
hears-twice: Hears a message twice. Two patterns that match one topic are two subscriptions, and each has
    its copy.
hears-too-much: Hears what it does not need. Somebody must throw it away, and one day somebody does not.
"""

from __future__ import annotations

import anyio

from ...autograder import kit
from ...message import Message
from ...publish_subscribe import PublishSubscribeChannel, Subscription
from ...trace import Trace

__all__ = ["EXERCISE", "eight_topics"]

TOPICS = (
    "orders.paid",
    "orders.eu.paid",
    "orders.us.paid",
    "orders.cancelled",
    "orders.eu.cancelled",
    "prices.tea",
    "prices.eu.tea",
    "stock.low",
)
NEEDS = {
    "billing": {"orders.paid", "orders.eu.paid", "orders.us.paid"},
    "dashboard": {topic for topic in TOPICS if topic.startswith("orders")},
    "europe": {topic for topic in TOPICS if ".eu." in topic},
    "audit": set(TOPICS),
}


async def eight_topics(interests: kit.Answer, seed: int) -> None:
    """Publish one message to each topic, for four subscribers with the chosen patterns."""
    channel = PublishSubscribeChannel("shop")

    async def read(end: Subscription) -> None:
        async for message in end:
            kit.happens(message, f"{end.name} heard {message.topic}")

    async with kit.participants(wait=True) as start:
        for who in NEEDS:
            patterns = interests(who)
            listed = isinstance(patterns, list | tuple | set)
            if not listed or not all(isinstance(pattern, str) for pattern in patterns):
                raise ValueError(f"for {who!r} you return {patterns!r}, and not a list of patterns")
            for pattern in patterns:
                end = channel.subscribe(pattern, name=who, when_full="block")
                start(who, read, end)
        await anyio.sleep(1)
        for topic in TOPICS:
            await channel.publish(topic, Message(topic, id=topic))
        channel.close()


def judge(trace: Trace) -> kit.Symptoms:
    copies = [str(event.data["effect"]) for event in kit.effects(trace)]
    for who, needs in NEEDS.items():
        for topic in TOPICS:
            number = copies.count(f"{who} heard {topic}")
            story = [
                event for event in kit.effects(trace, topic) if str(event.data["effect"]).startswith(who)
            ]
            if topic in needs and not number:
                yield kit.seen(
                    "misses-a-topic",
                    f"{who} needs `{topic}` and did not hear it.",
                    trace.filter(message=topic),
                )
            elif topic not in needs and number:
                yield kit.seen("hears-too-much", f"{who} heard `{topic}` and does not need it.", story)
            elif number > 1:
                yield kit.seen("hears-twice", f"{who} heard `{topic}` {number} times.", story)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(eight_topics), judge, seeds=(1,))

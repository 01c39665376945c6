"""Catch the deaf channel

Write the test · hard · 4 points · 12 minutes

Answer: async def test_channel(make)
Called: Your `test_channel(make)` on a correct channel and on five broken ones. `make()` gives a new
    channel.
Promised: The test passes for the correct channel and raises AssertionError for each broken one.
Hint: Write down what you may expect of a subscription: from when on, until when, what it gets, and who else
    gets it.
Hint: You need two subscribers at least, one that comes late and one that leaves early. And a body that
    somebody changes.
Hint: Subscribe two, publish, and compare what both receive. Change the body that one received, and look at
    the other's. Subscribe a third, publish again: it gets the second message only. Let one leave, publish,
    and count receivers.
Why: One story proves all of it. Everybody who is there gets an own copy, whoever comes later gets nothing
    of before, and whoever has left gets nothing more.

accuses-a-correct-channel: Fails a channel that keeps the promise. Each receives a copy that knows its topic,
    so compare bodies. What was not received yet waits; after `leave` nothing can be received, and
    `receive_nowait` raises `SubscriptionEnded`.
misses-the-competition: Does not see that subscribers compete. With one subscriber, a queue and this channel
    look alike.
misses-the-shared-copy: Does not see that subscribers share one body. What one of them changes, the others
    have, too.
misses-the-old-messages: Does not see that a late subscriber hears the past. A live subscription begins when
    it begins.
misses-the-ghost: Does not see that somebody who has left still hears. Its buffer fills up and nobody
    empties it.
misses-the-wrong-topic: Does not see that a subscriber hears other topics. It asked for some, and what it did
    not ask for is not its business.
"""

from __future__ import annotations

from typing import Any

from ...autograder import kit
from ...message import Message
from ...publish_subscribe import Published, PublishSubscribeChannel, Subscription

__all__ = ["EXERCISE"]


class Competing(PublishSubscribeChannel):
    """Gives each message to one of the subscribers, in turn."""

    async def publish(self, topic: str, message: Message) -> Published:
        matching, self._turn = self._interest.matching, getattr(self, "_turn", 0) + 1

        def one_of(topic: str) -> list[Any]:
            found = matching(topic)
            return found[self._turn % len(found) :][:1] if found else []

        self._interest.matching = one_of  # type: ignore[method-assign]
        try:
            return await super().publish(topic, message)
        finally:
            self._interest.matching = matching  # type: ignore[method-assign]


class Sharing(PublishSubscribeChannel):
    """Gives everybody the same body."""

    def subscribe(self, pattern: str, **options: Any) -> Subscription:
        end = super().subscribe(pattern, **options)
        take, bodies = end.receive_nowait, self.__dict__.setdefault("bodies", {})

        def shared() -> Any:
            message = take()
            object.__setattr__(message, "body", bodies.setdefault(message.id, message.body))
            return message

        end.receive_nowait = shared  # type: ignore[method-assign]
        return end


class Remembering(PublishSubscribeChannel):
    """Tells whoever subscribes what was published before."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._past: list[tuple[str, Message]] = []

    async def publish(self, topic: str, message: Message) -> Published:
        self._past.append((topic, message.copy()))
        return await super().publish(topic, message)

    def subscribe(self, pattern: str, **options: Any) -> Subscription:
        end = super().subscribe(pattern, **options)
        for _, message in self._past:
            end._buffer.offer(message)
        return end


class Haunted(PublishSubscribeChannel):
    """Goes on publishing to those who have left."""

    def subscribe(self, pattern: str, **options: Any) -> Subscription:
        end = super().subscribe(pattern, **options)
        end.leave = lambda: None  # type: ignore[method-assign]
        return end


class Careless(PublishSubscribeChannel):
    """Tells everybody everything."""

    def subscribe(self, pattern: str, **options: Any) -> Subscription:
        return super().subscribe(">", **{"name": f"{pattern} {len(self)}", **options})


def make_of(channel: type[PublishSubscribeChannel]) -> kit.Make:
    return lambda: channel("shop")


CORRECT: dict[str, kit.Make] = {"a correct channel": make_of(PublishSubscribeChannel)}
BROKEN = {
    "a channel whose subscribers compete": (make_of(Competing), "misses-the-competition"),
    "a channel whose subscribers share one body": (make_of(Sharing), "misses-the-shared-copy"),
    "a channel that tells late subscribers the past": (make_of(Remembering), "misses-the-old-messages"),
    "a channel that still tells those who have left": (make_of(Haunted), "misses-the-ghost"),
    "a channel that tells everybody everything": (make_of(Careless), "misses-the-wrong-topic"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-channel", BROKEN),
    seeds=(1,),
)

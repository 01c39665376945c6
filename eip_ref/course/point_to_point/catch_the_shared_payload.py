"""Catch the shared payload

Write the test · hard · 4 points · 7 minutes

Answer: async def test_channel(make)
Called: Your `test_channel(make)` on three correct channels (block, fail, buffer) and on four broken ones.
    `make()` gives a new channel, with room for 20 messages where it buffers.
Promised: The test passes for each correct channel and raises AssertionError for each broken one.
Hint: Look at the four sentences that the test has to prove, and ask for each what must lie in the channel at
    the same time, and what must be different in it, so that a broken one shows.
Hint: Connect the receiver first, and let the sender run in a task of its own, since `send` may wait. Send
    invoices of which no two have the same number or the same lines. Let several wait before you take the
    first.
Hint: In the sender's task: send five invoices, each with another price, then `close()` the channel. In the
    receiver: sleep a second, then collect `[message.body async for message in inbox]`. Assert that it equals
    the list of invoices that you sent.
Why: One comparison proves all of it: what came out equals what went in, in that order, each once. It proves
    it only because several invoices wait at once, and differ outside and inside.

accuses-a-correct-channel: Fails a channel that keeps the promise. A correct channel may make the sender wait
    until the message is taken, or refuse while nobody receives. A test must get along with each of the three.
misses-the-shared-body: Does not see that invoices share one body. This channel has one record for all that
    wait, and each comes out as the newest. With one message at a time there is nobody to share with, and
    between equal messages it does not show.
misses-what-is-inside: Sees only the surface of the body. In this channel the invoices that wait share the
    lists and records inside them, and nothing else. It shows only when these differ too, and somebody looks.
misses-the-order: Does not see that the order changes. This channel hands out the newest first. With one
    message at a time there is no order to get wrong.
misses-the-double: Does not see a message that comes twice. One of the first five messages comes out twice. It
    is seen only by a test that sends that many and looks at everything that comes out, as often as it comes.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ...autograder import kit
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import OfferedMessage, PointToPointChannel

__all__ = ["EXERCISE"]

ROOM = 20  #: messages that a channel with a buffer keeps


class OneRecordChannel(PointToPointChannel):
    """Has one record for all that wait: each of them comes out as the newest."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        for place, offer in enumerate(self._waiting):
            body = self._body(offer.message.body, message.body)
            self._waiting[place] = OfferedMessage(offer.message.copy(body=body))

    def _body(self, old: Any, new: Any) -> Any:
        return new


class SharedInsideChannel(OneRecordChannel):
    """Keeps each body, and has one record for what is inside all that wait."""

    def _body(self, old: Any, new: Any) -> Any:
        match old, new:
            case dict(), dict():
                return {name: _shared(value, new.get(name, value)) for name, value in old.items()}
            case list(), list():
                return [*map(_shared, old, new), *old[len(new) :]]
        return old


def _shared(old: Any, new: Any) -> Any:
    return new if isinstance(old, dict | list) else old


class StackChannel(PointToPointChannel):
    """Hands out the newest message first."""

    async def send(self, message: Message) -> None:
        await super().send(message)
        self._waiting.rotate(1)


class DoublingChannel(PointToPointChannel):
    """Hands out one of its first five messages twice, the second time behind all that wait."""

    def __init__(self, name: str, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._until_double = Faults().random("double").randint(3, 5)

    async def send(self, message: Message) -> None:
        await super().send(message)
        self._until_double -= 1
        if self._until_double == 0:
            self._waiting.append(OfferedMessage(message.copy(headers={"again": True})))
        self._waiting = deque(sorted(self._waiting, key=lambda offer: "again" in offer.message.headers))


def buffers(channel: type[PointToPointChannel]) -> kit.Make:
    return lambda: channel("invoices", when_away="buffer", capacity=ROOM)


CORRECT: dict[str, kit.Make] = {
    "a channel that blocks": lambda: PointToPointChannel("invoices"),
    "a channel that fails": lambda: PointToPointChannel("invoices", when_away="fail"),
    "a channel that buffers": buffers(PointToPointChannel),
}
BROKEN = {
    "a channel that has one body for all": (buffers(OneRecordChannel), "misses-the-shared-body"),
    "a channel that has one inside for all bodies": (buffers(SharedInsideChannel), "misses-what-is-inside"),
    "a channel that hands out the newest first": (buffers(StackChannel), "misses-the-order"),
    "a channel that hands out a message twice": (buffers(DoublingChannel), "misses-the-double"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-channel", BROKEN),
    seeds=(1,),
)

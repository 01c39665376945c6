"""Catch the shared payload

Write the test · hard · 4 points · 7 minutes

Answer: async def test_channel(make)
Called: Your `test_channel(make)` on three correct channels (block, fail, buffer) and on four broken ones.
    `make()` gives a new channel, with room for 20 messages where it buffers.
Promised: The test passes for each correct channel and raises AssertionError for each broken one.
Hint: Look at the four sentences that the test has to prove, and ask for each what you must do to the channel
    so that a broken one shows.
Hint: Connect the receiver first, and let the sender run in a task of its own, since `send` may wait. Change
    an invoice after `send` returned. Let several invoices wait before you take the first.
Hint: In the sender's task: send five invoices, change `invoice['lines'][0]['price']` after each `send`, then
    `close()` the channel. In the receiver: sleep a second, then collect `[message.body async for message in
    inbox]`. Assert that it equals a `deepcopy` of the invoices that you made before you sent any.
Why: One comparison proves all of it: what came out equals what went in at the time of sending, in that order,
    each once. It proves it only because the test changes an inner part after sending, and lets several
    messages wait at once.

accuses-a-correct-channel: Fails a channel that keeps the promise. A correct channel may make the sender wait
    until the message is taken, or refuse while nobody receives. A test must get along with each of the three.
misses-the-shared-body: Does not see that sender and receiver share the body. In this channel the sender can
    change an invoice that billing already has. It shows only when somebody changes something and somebody
    else looks.
misses-what-is-inside: Sees only the surface of the body. This channel copies the invoice, and both sides
    still share the lists and records inside it. A price in there can change after it was sent.
misses-the-order: Does not see that the order changes. This channel hands out the newest first. With one
    message at a time there is no order to get wrong.
misses-the-double: Does not see a message that comes twice. One of the first five messages comes out twice. It
    is seen only by a test that sends that many and looks at everything that comes out, as often as it comes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import fields
from typing import Any

from ...autograder import kit
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import OfferedMessage, PointToPointChannel

__all__ = ["EXERCISE", "SharingChannel"]

ROOM = 20  #: messages that a channel with a buffer keeps


class _Shared(Message):
    """A message whose copies have the same body."""

    def copy(self, **changes: object) -> Message:
        return self


class SharingChannel(PointToPointChannel):
    """Hands the sender's own body to the receiver."""

    async def send(self, message: Message) -> None:
        await super().send(_Shared(**{part.name: getattr(message, part.name) for part in fields(message)}))


class HalfCopyingChannel(SharingChannel):
    """Copies the body, and shares what is inside it."""

    async def send(self, message: Message) -> None:
        body = message.body
        await super().send(message.copy(body=body.copy() if isinstance(body, dict | list | set) else body))


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
    "a channel that shares the body": (buffers(SharingChannel), "misses-the-shared-body"),
    "a channel that shares what is inside the body": (buffers(HalfCopyingChannel), "misses-what-is-inside"),
    "a channel that hands out the newest first": (buffers(StackChannel), "misses-the-order"),
    "a channel that hands out a message twice": (buffers(DoublingChannel), "misses-the-double"),
}

EXERCISE = kit.exercise(
    __name__, __doc__, kit.try_test(CORRECT, BROKEN), kit.judge_test("accuses-a-correct-channel", BROKEN)
)

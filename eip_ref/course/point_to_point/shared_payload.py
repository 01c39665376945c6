"""Write the test: catch the channels that share, reorder or double what they carry."""

from __future__ import annotations

from collections import deque
from dataclasses import fields

from ...autograder.exercise import Exercise
from ...autograder.forms import async_function
from ...autograder.trying import Make, judge_test, try_test
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import PointToPointChannel
from . import mistakes

__all__ = ["BROKEN", "CATCH_THE_SHARED_PAYLOAD", "CORRECT"]

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

    def __init__(self, name: str, *, capacity: int) -> None:
        super().__init__(name, when_away="buffer", capacity=capacity)
        self._until_double = Faults().random("double").randint(3, 5)

    async def send(self, message: Message) -> None:
        await super().send(message)
        self._until_double -= 1
        if self._until_double == 0:
            self._waiting.append(message.copy(headers={"again": True}))
        self._waiting = deque(sorted(self._waiting, key=lambda waiting: "again" in waiting.headers))


CORRECT: dict[str, Make] = {
    "a channel that blocks": lambda: PointToPointChannel("invoices"),
    "a channel that fails": lambda: PointToPointChannel("invoices", when_away="fail"),
    "a channel that buffers": lambda: PointToPointChannel("invoices", when_away="buffer", capacity=ROOM),
}
BROKEN: dict[str, Make] = {
    "a channel that shares the body": lambda: SharingChannel("invoices", when_away="buffer", capacity=ROOM),
    "a channel that shares what is inside the body": lambda: HalfCopyingChannel(
        "invoices", when_away="buffer", capacity=ROOM
    ),
    "a channel that hands out the newest first": lambda: StackChannel(
        "invoices", when_away="buffer", capacity=ROOM
    ),
    "a channel that hands out a message twice": lambda: DoublingChannel("invoices", capacity=ROOM),
}

CATCH_THE_SHARED_PAYLOAD = Exercise(
    name="point_to_point/catch_the_shared_payload",
    title="Catch the shared payload",
    points=4,
    minutes=7,
    difficulty=3,
    kind="write the test",
    answer="test_channel",
    form=async_function("make"),
    called="Your `test_channel(make)` on three correct channels (block, fail, buffer) and on four broken "
    "ones. `make()` gives a new channel, with room for 20 messages where it buffers.",
    promised="The test passes for each correct channel and raises AssertionError for each broken one.",
    hints=(
        "Look at the four sentences that the test has to prove, and ask for each what you must do to the "
        "channel so that a broken one shows.",
        "Connect the receiver first, and let the sender run in a task of its own, since `send` may wait. "
        "Change an invoice after `send` returned. Let several invoices wait before you take the first.",
        "In the sender's task: send five invoices, change `invoice['lines'][0]['price']` after each `send`, "
        "then `close()` the channel. In the receiver: sleep a second, then collect "
        "`[message.body async for message in inbox]`. Assert that it equals a `deepcopy` of the invoices "
        "that you made before you sent any.",
    ),
    explanation="One comparison proves all of it: what came out equals what went in at the time of sending, "
    "in that order, each once. It proves it only because the test changes an inner part after sending, and "
    "lets several messages wait at once.",
    run=try_test(CORRECT, BROKEN),
    judge=judge_test(
        mistakes.ACCUSES_A_CORRECT_CHANNEL,
        {
            "a channel that shares the body": mistakes.MISSES_THE_SHARED_BODY,
            "a channel that shares what is inside the body": mistakes.MISSES_WHAT_IS_INSIDE,
            "a channel that hands out the newest first": mistakes.MISSES_THE_ORDER,
            "a channel that hands out a message twice": mistakes.MISSES_THE_DOUBLE,
        },
    ),
)

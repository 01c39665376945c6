"""Catch the lying buffer

Write the test · hard · 4 points · 10 minutes

Answer: async def test_buffer(make)
Called: Your `test_buffer(make)` on two correct buffers, of which one drops the newest and one the oldest,
    and on five broken ones. `make()` gives a new buffer with room for 3.
Promised: The test passes for each correct buffer and raises AssertionError for each broken one.
Hint: Write down what a bounded buffer promises: how many wait, what was counted, in which order they come
    out, what is left after `close()`. One of them after the other must be able to fail in your test.
Hint: Put more than it has room for, and look at `len(buffer)` and `buffer.counts` after each. Take some
    out, and fill it again. Some lies begin only then.
Hint: Put m1 … m5. Assert that 3 wait, and that `counts.dropped` is 2. Take one with `receive_nowait()`, put
    one more, `close()`, and read the rest. The numbers in what you read must grow, and be 3 after the one.
Why: The test never asks which message was dropped, since both policies are right. It asks what both
    promise: the bound is kept and used, every drop is counted, the order stays, and closing loses nothing.

accuses-a-correct-buffer: Fails a buffer that keeps the promise. One correct buffer drops the newest
    message, the other the oldest. A test must get along with both. An error of the test itself counts, too.
misses-the-overflow: Does not see that more wait than there is room for. A bound that is not kept is none.
misses-the-wasted-room: Does not see that room is wasted. This buffer drops a message although there is a
    place for it.
misses-the-uncounted: Does not see a drop that nobody counts. A drop that is not counted is a lost message.
misses-the-order: Does not see that the order changes. It keeps the order until it was full for the first
    time.
misses-the-forgotten: Does not see that closing loses what waits. A reader gets what is left, and only then
    the end.
"""

from __future__ import annotations

from typing import Any

from ...autograder import kit
from ...backpressure import Buffer, BufferCounts
from ...message import Message

__all__ = ["EXERCISE"]

ROOM = 3


class Overflowing(Buffer):
    """Takes one more than it has room for, once it was full."""

    def _drop(self, *args: Any, **facts: Any) -> None:
        self._waiting.capacity = ROOM + 1
        super()._drop(*args, **facts)


class Wasting(Buffer):
    """Has room for one less, once it was full."""

    def take(self, who: str) -> Message:
        self._waiting.capacity = ROOM - 1 if self.counts.dropped else ROOM
        return super().take(who)


class Uncounting(Buffer):
    """Counts the first drop of an episode, and no other."""

    @property
    def counts(self) -> BufferCounts:
        counts = super().counts
        dropped = min(counts.dropped, self.episodes)
        return counts._replace(dropped=dropped, accepted=counts.accepted - counts.dropped + dropped)


class Reordering(Buffer):
    """Hands out the newest first, once it was full."""

    def take(self, who: str) -> Message:
        if self.dropping:
            self._waiting.waiting.rotate(1)
        return super().take(who)


class Forgetting(Buffer):
    """Drops what waits when it is closed."""

    def close(self) -> None:
        self.discard("closed")


def drops_newest(buffer: type[Buffer]) -> kit.Make:
    return lambda: buffer("orders", ROOM, when_full="drop newest")


CORRECT: dict[str, kit.Make] = {
    "a buffer that drops the newest": drops_newest(Buffer),
    "a buffer that drops the oldest": lambda: Buffer("orders", ROOM, when_full="drop oldest"),
}
BROKEN = {
    "a buffer that holds one more than it may": (drops_newest(Overflowing), "misses-the-overflow"),
    "a buffer that wastes a place": (drops_newest(Wasting), "misses-the-wasted-room"),
    "a buffer that counts one drop of several": (drops_newest(Uncounting), "misses-the-uncounted"),
    "a buffer that changes the order when it was full": (drops_newest(Reordering), "misses-the-order"),
    "a buffer that forgets what waits when it is closed": (drops_newest(Forgetting), "misses-the-forgotten"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-buffer", BROKEN),
    seeds=(1,),
)

"""Catch the loose store

Write the test · medium · 4 points · 12 minutes

Answer: async def test_store(make)
Called: Your `test_store(make)` on two correct stores, of which one leaves gaps between positions, and on
    six broken ones. `make()` gives a new store.
Promised: The test passes for each correct store and raises AssertionError for each broken one.
Hint: Four promises. For each of them: what would you do, and then read, to see it broken?
Hint: After every refusal read the stream: is it as it was before? Refuse a batch of two as well. And whose
    object is it that a reader gets?
Hint: Append two with `expected=0`. Append the same two again, and read 2. Append two others with
    `expected=0` inside `try`; without a `WrongExpectedVersion` the test fails; read 2 again. Change
    `read(…)[0].message.body`, and read once more. Let the second event have an earlier `created` than the
    first.
Why: A store is judged by what can be read from it. A test that looks only at errors and confirms does not
    see the half batch, nor what a reader changes, nor another order.

accuses-a-correct-store: Fails a store that keeps the promises. Look at what you assert beyond them, such as
    positions without gaps. An error of the test itself counts, too.
misses-the-version: Does not see that a store appends at any version. Two who decided on the same state both
    win.
misses-the-refusal: Does not see that a store refuses without a word. It appends nothing and raises nothing,
    so the till hands out a tea that nobody has sold.
misses-the-repetition: Does not see that a repeated append is written twice. Every lost confirm is then a
    second sale.
misses-the-half-batch: Does not see that a part of a refused batch is kept. An order is paid and not placed.
misses-the-changed-past: Does not see that a reader can change what is stored. Then the past is whatever the
    last reader made of it.
misses-the-clock: Does not see that a stream is read in the order of clocks. The clocks of two tills are
    never the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio.lowlevel

from ...autograder import kit
from ...event_sourcing import Appended, Expected, MemoryEventStore, Recorded, WrongExpectedVersion
from ...message import Message

__all__ = ["EXERCISE"]


class Store(MemoryEventStore):
    """A store in memory."""

    def __init__(self) -> None:
        super().__init__("events")


class WithGaps(Store):
    """Gives away more positions than it needs."""

    def reserve(self, count: int) -> range:
        super().reserve(2)
        return super().reserve(count)


class AnyVersion(Store):
    """Appends whatever was expected."""

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        return super().append_nowait(stream, events)


class Silent(Store):
    """Refuses without an error."""

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        try:
            return await super().append(stream, events, expected=expected)
        except WrongExpectedVersion:
            return Appended(len(self._streams[stream]), self.committed_up_to)


class Repeating(Store):
    """Knows no ids: it appends the same events again, where the stream is now."""

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        there = [event.message.id for event in self._streams.get(stream, ())]
        if there[-len(events) :] == [event.id for event in events]:
            events = [event.copy(id=f"{event.id}, try {len(there)}") for event in events]
            expected = Expected.ANY
        return super().append_nowait(stream, events, expected=expected)


class Halving(Store):
    """Keeps the first event of a batch that it refuses."""

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        try:
            return await super().append(stream, events, expected=expected)
        except WrongExpectedVersion:
            if len(events) > 1:
                await super().append(stream, events[:1])
            raise


class HandingOut(Store):
    """Hands out the stored events themselves."""

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        await anyio.lowlevel.checkpoint()
        return self._streams.get(stream, [])[after:]


class ByClock(Store):
    """Reads a stream in the order in which its events were created."""

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        return sorted(await super().read(stream), key=lambda event: event.message.created)[after:]


CORRECT: dict[str, kit.Make] = {"a store": Store, "a store with gaps between positions": WithGaps}
BROKEN = {
    "a store that appends at any version": (AnyVersion, "misses-the-version"),
    "a store that refuses without an error": (Silent, "misses-the-refusal"),
    "a store that appends a repetition again": (Repeating, "misses-the-repetition"),
    "a store that keeps half of a refused batch": (Halving, "misses-the-half-batch"),
    "a store that hands out its own events": (HandingOut, "misses-the-changed-past"),
    "a store that sorts by the clock": (ByClock, "misses-the-clock"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-store", BROKEN),
    seeds=(1,),
)

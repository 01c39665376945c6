"""Follow the log, and pass nothing over

Repair · hard · 3 points · 12 minutes

Answer: async def follow(group, book)
Called: Your `follow(group, book)` on a log of six orders. One of them has no address for six seconds, and
    `book` fails for it as often as it is tried before. The process dies at one of its awaits, a different
    one in each of 40 runs, and starts again a second later.
Promised: Each order is booked, and in the end all of them are committed. Only after a crash may an order be
    booked again.
Hint: What does a commit say about the orders before it, also about the one that failed?
Hint: Do not commit past an order that is not booked. `await group.seek(offset)` goes back to it. And an
    order that was booked at `offset` is done when `offset + 1` is committed.
Hint: In `except ValueError`: `await group.seek(offset)`, and `break` out of the list that you had read. Else,
    after the work: `await group.commit(offset + 1)`.
Why: A commit covers everything before it, so a reader that has a failure behind it must not commit. It
    goes back and tries again. The commit comes after the work: a crash between the two repeats, and
    nothing is passed over.

passed-over: A commit covered an order that had failed. “Everything before this offset is done” includes
    the one that failed, and it does not come again.
committed-first: Committed before it was booked, and then the process died. Whoever starts again begins
    behind it.
books-again: An order was booked again, and nobody had died. Whoever goes back further than to the order
    that failed does again what was done, at each try. So does whoever goes back and reads on in the old list.
not-committed: All is booked, and not all is committed. The next start begins in front of what was done,
    and books it again, each time.
stops-at-a-failure (ValueError): One failure ended the reader. The orders behind it wait for ever.
still-waiting: An order was not booked within a minute. The reader never came to it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import anyio
import anyio.lowlevel

from ...autograder import kit
from ...lab import Crash, Participant
from ...message import Message
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE", "Group", "a_log_and_a_crash"]

STEPS = range(1, 41)
SIZE = 6
NO_ADDRESS = 6  #: seconds, since the order without an address was tried first


class Group:
    """A group of one log. `committed` is on the disk; `position` is what is read next, and begins there."""

    def __init__(
        self, messages: list[Message], disk: dict[str, int], covers: Callable[[range], None]
    ) -> None:
        self._messages, self._disk, self._covers = messages, disk, covers
        self._position = disk["committed"]

    @property
    def committed(self) -> int:
        """The offset before which everything is done."""
        return self._disk["committed"]

    async def read(self, limit: int = 3) -> list[tuple[int, Message]]:
        """The next messages with their offsets; waits while there are none."""
        await anyio.lowlevel.checkpoint()
        while self._position >= len(self._messages):
            await anyio.sleep(1)
        start, self._position = self._position, min(self._position + limit, len(self._messages))
        return list(enumerate(self._messages))[start : self._position]

    async def commit(self, offset: int) -> None:
        """Say that everything before `offset` is done. A commit never moves back."""
        if not 0 <= offset <= len(self._messages):
            raise IndexError(f"the log has offsets from 0 to {len(self._messages)}, and not {offset}")
        await anyio.lowlevel.checkpoint()
        was, self._disk["committed"] = self.committed, max(self.committed, offset)
        self._covers(range(was, self.committed))
        record(Kind.STATE, "orders", was=was, now=self.committed, reason="committed", group="billing")
        await anyio.lowlevel.checkpoint()

    async def seek(self, offset: int) -> None:
        """Read from this offset next."""
        self._position = offset
        await anyio.lowlevel.checkpoint()


async def a_log_and_a_crash(follow: kit.Answer, step: int, seed: int) -> None:
    """Play a reader that dies at this step of its life; one order has no address for a while."""
    messages = [Message(f"order {number}", id=f"o{number}") for number in range(SIZE)]
    failing, disk = f"o{Random(seed).choice((1, 2))}", {"committed": 0}
    tried, again = list[float](), list[str]()
    covered: dict[str, tuple[str, int]] = {}
    before, booked = set[str](), set[str]()  # the process died, and in its life now

    async def book(message: Message) -> None:
        await anyio.sleep(1)
        if message.id == failing:
            tried.append(anyio.current_time())
            if tried[-1] < tried[0] + NO_ADDRESS:
                record(Kind.FAILED, "billing", message.id, error="no address")
                raise ValueError("no address")
        if message.id in booked:
            again.append(message.id)
        booked.add(message.id)
        kit.happens(message, "booked")
        await anyio.lowlevel.checkpoint()

    def covers(offsets: range) -> None:
        for name in (f"o{offset}" for offset in offsets):
            if name not in before | booked:
                mistake = "passed-over" if tried and name == failing else "committed-first"
                covered[name] = (mistake, offsets.stop)

    async def life() -> None:
        before.update(booked)
        booked.clear()
        await follow(Group(messages, disk, covers), book)

    for message in messages:
        record(Kind.SENT, "orders", message.id, label=message.label)
        record(Kind.ACCEPTED, "orders", message.id)
    with anyio.move_on_after(60):
        await Participant("billing", life, crashes=(Crash(step=step, restart_after=1),)).run()
    missing = [message.id for message in messages if message.id not in before.union(booked)]
    kit.write_down(missing=missing, again=again, covered=covered, committed=disk["committed"])


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    for name in day["missing"]:
        order = kit.Journey(trace, name)
        yield order.seen("still-waiting", f"{order} was not booked by {trace.end:.0f} s.", trace)
    for name, (mistake, committed) in day["covered"].items():
        order = kit.Journey(trace, name)
        words = f"{order} was not booked when {committed} was committed, which covers it."
        yield order.seen(mistake, words, trace)
    for name in day["again"][:1]:
        order = kit.Journey(trace, name)
        yield order.seen("books-again", f"{order} was booked again in the same life of the process.", trace)
    if not day["missing"] and day["committed"] < SIZE:
        words = f"{SIZE} orders are booked by billing, and committed is {day['committed']}."
        yield kit.seen("not-committed", words, trace.filter(Kind.STATE))


EXERCISE = kit.exercise(
    __name__, __doc__, kit.cases(a_log_and_a_crash, lambda seed: STEPS, judge), judge, seeds=(1, 5)
)

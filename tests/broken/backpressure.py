"""Backpressure with one mistake each, as close to the right one as a mistake usually is."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from random import Random
from typing import Any

import anyio

from eip_ref.backpressure import (
    Buffer,
    BufferFull,
    ConsumerPool,
    Credit,
    Demand,
    Load,
    Reservation,
    Scaling,
    TokenBucket,
)
from eip_ref.message import Message
from eip_ref.trace import Kind, record, whoami

# Buffers


class UnboundedBuffer(Buffer):
    """Has a capacity, and takes more all the same: under overload it grows without end."""

    def _is_full(self) -> bool:
        return False

    def _accept(self, message: Message) -> bool:
        self._waiting.capacity = math.inf  # type: ignore[assignment]
        return super()._accept(message)


class DropsInSilence(Buffer):
    """A full buffer gives up messages, and nobody can say which, or how many."""

    def _drop(self, message: Message, reason: str, *, by: str = "") -> None:
        pass


class DropsBeforeItCounts(Buffer):
    """Turns away who comes to a full buffer before anything is written down."""

    def _accept(self, message: Message) -> bool:
        return len(self) < self.capacity and super()._accept(message)


class SignalsEveryDrop(Buffer):
    """A signal for each drop is noise: in an overload there are thousands."""

    def _drop(self, message: Message, reason: str, *, by: str = "") -> None:
        self.dropping = False
        super()._drop(message, reason, by=by)


class NeverSignals(Buffer):
    """Counts its drops, and waits to be asked."""

    def _begin_episode(self, reason: str) -> None:
        self.dropping = True


class EpisodesMiscounted(Buffer):
    """Says how many it has dropped since it was opened, and not in this episode."""

    def _begin_episode(self, reason: str) -> None:
        super()._begin_episode(reason)
        self._dropped_before = 0


class LetsSendersOvertake(Buffer):
    """Wakes whoever waits for room and lets them race: who came last may come first."""

    def _make_room(self) -> None:
        self._offers = OrderedDict(reversed(self._offers.items()))
        super()._make_room()


async def never_closes(buffer: Buffer, messages: Iterable[Message]) -> None:
    """E6: sends all, and goes away without a word. The reader's endless loop waits for ever."""
    for message in messages:
        await buffer.put(message)


async def spins_on_put_nowait(buffer: Buffer, messages: Iterable[Message]) -> None:
    """Tries again at once, and so never lets the reader have its turn."""
    for message in messages:
        while True:
            try:
                buffer.put_nowait(message)
                break
            except BufferFull:
                continue


async def forgets_what_was_refused(buffer: Buffer, messages: Iterable[Message]) -> None:
    """Puts as fast as it can and takes a full buffer for a reason to go on with the next message."""
    with buffer:
        for message in messages:
            try:
                buffer.put_nowait(message)
            except BufferFull:
                continue


async def sends_to_its_own_full_buffer(buffer: Buffer, work: Callable[[Message], Iterable[Message]]) -> None:
    """Reads orders and puts what follows from them at the end of the same line, waiting for room."""
    async for message in buffer:
        for follower in work(message):
            await buffer.put(follower)


# Throttles


class SleepsBetween:
    """A sleep called throttling: each caller rests by itself, so n callers go n times too fast."""

    def __init__(self, name: str, rate: float) -> None:
        self.name = name
        self.rate = rate

    async def take(self, tokens: float = 1) -> None:
        await anyio.sleep(tokens / self.rate)
        record(Kind.DELIVERED, self.name, who=whoami(), tokens=tokens)


class CountsPerSecond(TokenBucket):
    """Starts anew each second: twice the burst fits around the end of one."""

    async def take(self, tokens: float = 1, *, timeout: float = math.inf) -> None:
        second = math.floor(anyio.current_time())
        if getattr(self, "_second", None) != second:
            self._second, self._left = second, self.burst
        if self._left < tokens:
            await anyio.sleep_until(second + 1)
            await self.take(tokens)
            return
        self._left -= tokens
        record(Kind.DELIVERED, self.name, who=whoami(), tokens=tokens)


class KeepsTheTokens(TokenBucket):
    """A caller that gives up has paid: tokens that nobody uses hold up everybody else."""

    def _give_back(self, gone: Reservation) -> None:
        pass


class GivesBackTooMuch(TokenBucket):
    """Gives back all tokens, however late, on top of those that have fallen since."""

    def _give_back(self, gone: Reservation) -> None:
        gone._due = max(gone._due, self._look())
        super()._give_back(gone)


class WaitsForTheImpossible(TokenBucket):
    """Lets a request above the burst wait for a bucket that never holds so much."""

    def _must_fit(self, tokens: float) -> None:
        pass

    async def take(self, tokens: float = 1, *, timeout: float = math.inf) -> None:
        while self.tokens < tokens:
            await anyio.sleep(1 / self.rate)
        self.take_nowait(tokens)


# Demand


class KeepsOnlyTheLastRequest(Demand):
    """A new request replaces what was left of the one before."""

    def request(self, number: int = 1) -> None:
        self._credit.available = 0
        super().request(number)


class _Ahead(Credit):
    async def wait(self) -> None:
        self.available = max(1, self.available)


class DeliversAhead(Demand):
    """Has the next message ready before it is asked for, and gives it away too."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._credit = _Ahead(self.name)


class GoesOnAfterCancel(Demand):
    """Cancelling says that it has ended, and what was requested comes all the same."""

    def cancel(self) -> None:
        self._end("cancelled")

    async def _next(self) -> Message | None:
        await self._credit.wait()
        message = await anext(self._source, None)
        if message is not None:
            record(Kind.ACCEPTED, self.name, message.id, who="", key=message.key)
        return message


# Scaling


class Flaps(Scaling):
    """Follows every measurement: as many as are needed now, neither more nor fewer."""

    def target(self, load: Load, consumers: int) -> int:
        return min(self.max_consumers, max(self.min_consumers, math.ceil(self.need(load))))


class CancelsToShrink(ConsumerPool):
    """Lets a worker go by stopping it at once: what it had in hand is begun again by somebody else."""

    def _scale(self, group: Any) -> None:
        self._drain = 0.0
        super()._scale(group)


Handle = Callable[[Message], Awaitable[object]]


class SplitsByNumberOfWorkers:
    """Gives each key to worker hash % n. When n changes, a key moves, and leaves messages behind."""

    def __init__(self, handle: Handle, *, max_consumers: int) -> None:
        self.size = 1
        self._handle = handle
        self._boxes = [Buffer(f"worker-{n}", 100, when_full="block") for n in range(max_consumers)]

    async def put(self, message: Message) -> None:
        assert message.key is not None
        await self._boxes[sum(map(ord, message.key)) % self.size].put(message)

    async def run(self) -> None:
        async def work(box: Buffer) -> None:
            async for message in box:
                await self._handle(message)

        async with anyio.create_task_group() as group:
            for box in self._boxes:
                group.start_soon(work, box)

    def close(self) -> None:
        for box in self._boxes:
            box.close()


# Drop policies


class BurstSample(Buffer):
    """A sample that gives each newcomer the same chance: who came early is long gone."""

    def __init__(self, name: str, capacity: int, *, random: Random) -> None:
        super().__init__(name, capacity, when_full="sample", random=random)
        self._waiting.evict = self._evict  # type: ignore[method-assign]
        self._random = random

    def _evict(self, message: Message) -> Message:
        waiting = self._waiting.waiting
        place = self._random.randrange(self.capacity)
        unlucky = waiting[place]
        del waiting[place]
        waiting.append(message)
        return unlucky

"""Faults on purpose: links that delay, lose, double and reorder, and participants that crash.

Every source of chance has a `random.Random` of its own, made from the seed and its name. So one
more message on one link does not change what happens on another, and a seed reproduces a run
anywhere.

*Left out:* faults of disks and clocks, and links that carry answers back.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel

from .. import values
from ..message import Handler, Message
from ..tasks import background
from ..trace import Kind, acting, record, whoami
from .clock import current_seed, in_simulation
from .crash import Life

__all__ = ["Constant", "Crash", "Exponential", "Faults", "Latency", "Link", "Participant", "Uniform"]


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same number of seconds."""

    seconds: float

    def __post_init__(self) -> None:
        values.duration("seconds", self.seconds)

    def draw(self, random: Random) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True)
class Uniform:
    """Anything between `low` and `high` seconds, all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if values.duration("low", self.low) > values.duration("high", self.high):
            raise ValueError(f"low must not be above high, and {self.low!r} is above {self.high!r}")

    def draw(self, random: Random) -> float:
        return random.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True)
class Exponential:
    """Mostly short, sometimes long: `mean` seconds on average, without a memory."""

    mean: float

    def __post_init__(self) -> None:
        values.duration("mean", self.mean)

    def draw(self, random: Random) -> float:
        return -self.mean * math.log(1.0 - random.random())


Latency = float | Constant | Uniform | Exponential


def _latency(parameter: str, latency: Latency) -> Constant | Uniform | Exponential:
    if isinstance(latency, Constant | Uniform | Exponential):
        return latency
    return Constant(float(values.duration(parameter, latency)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """The death of a participant, `at` a time in seconds or at a `step`: the n-th time that one of
    its tasks runs on from an await. It starts again `restart_after` seconds later; None means never."""

    at: float | None = None
    step: int | None = None
    restart_after: float | None = None

    def __post_init__(self) -> None:
        if (self.at is None) == (self.step is None):
            raise ValueError("a crash happens either at a time or at a step: give one of the two")
        if self.at is not None:
            values.duration("at", self.at)
        if self.step is not None:
            values.count("step", self.step)
        if self.restart_after is not None:
            values.duration("restart_after", self.restart_after)


class Faults:
    """The chance in a scenario. Without a seed it takes that of the simulation it is made in."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed if seed is not None else current_seed() or 0
        self._randoms: dict[str, Random] = {}

    def random(self, name: str) -> Random:
        """The generator with that name: always the same one, independent of all others."""
        if name not in self._randoms:
            self._randoms[name] = Random(f"{self.seed}/{name}")  # text is hashed alike everywhere
        return self._randoms[name]

    async def sleep(self, name: str, latency: Latency) -> None:
        """Sleep for a time drawn from the generator with that name."""
        await anyio.sleep(_latency("latency", latency).draw(self.random(name)))

    def link(self, name: str, deliver: Handler, **faults: Any) -> Link:
        """A link that carries messages to `deliver`; see `Link` for its faults."""
        return Link(name, deliver, self.random(f"link {name}"), self.random(f"latency {name}"), **faults)

    def participant(
        self,
        name: str,
        main: Callable[..., Awaitable[object] | object],
        *args: Any,
        crashes: tuple[Crash, ...] = (),
    ) -> Participant:
        """A participant that runs `main(*args)` and crashes as told."""
        return Participant(name, main, args, crashes)


class Link:
    """A one-way link, used as `async with faults.link("net", queue.put, loss=0.1) as link`.

    `latency` is in seconds; `loss`, `duplication` and `reordering` are probabilities per message. A
    reordered message is held back by `hold` seconds more, so that later ones overtake it; all
    others keep their order. `deliver` may be plain or `async`; what it raises ends the block, in a
    group. Leaving the block waits until everything has arrived; what the block raises comes out as
    itself, at once. Raises ValueError for a setting that is none.
    """

    def __init__(
        self,
        name: str,
        deliver: Handler,
        random: Random,
        delays: Random,
        *,
        latency: Latency = 0.0,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        hold: Latency = 1.0,
    ) -> None:
        self.name = values.name("name", name)
        self._deliver = deliver
        self._random = random
        self._delays = delays
        self._latency = _latency("latency", latency)
        self._loss = values.share("loss", loss)
        self._duplication = values.share("duplication", duplication)
        self._reordering = values.share("reordering", reordering)
        self._hold = _latency("hold", hold)
        self._under_way: list[tuple[float, int, Message, str]] = []  # heap by time of arrival
        self._number = itertools.count()
        self._last = 0.0
        self._sent = anyio.Event()
        self._closed = self._entered = False
        self._block = background(grace=math.inf)
        self._group: anyio.abc.TaskGroup

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"{self.name} runs already, or has run: make a new link")
        self._entered = True
        record(Kind.OPENED, self.name, who="", role="link")
        self._group = await self._block.__aenter__()
        self._group.start_soon(self._carry, name=f"link {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._closed = True
        self._sent.set()
        if error is not None:
            self._group.cancel_scope.cancel()  # what is under way is of no use any more
        return await self._block.__aexit__(kind, error, trace)

    async def send(self, message: Message) -> None:
        """Hand a message over to the link. It returns at once and says nothing of what will happen."""
        await anyio.lowlevel.checkpoint()
        # Each message takes the same draws whatever the settings: changing one shifts no other.
        lost, doubled, overtaken = (self._random.random() for _ in range(3))
        seconds, again, hold = (d.draw(self._delays) for d in (self._latency, self._latency, self._hold))
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        if lost < self._loss:
            record(Kind.LOST, self.name, message.id, who="")
            return
        self._schedule(message, seconds, hold if overtaken < self._reordering else 0.0)
        if doubled < self._duplication:
            record(Kind.DUPLICATED, self.name, message.id, who="")
            self._schedule(message, seconds + again, 0.0)
        self._sent.set()

    def _schedule(self, message: Message, seconds: float, hold: float) -> None:
        arrival = max(anyio.current_time() + seconds, self._last)
        if not hold:
            self._last = arrival
        heapq.heappush(self._under_way, (arrival + hold, next(self._number), message.copy(), whoami()))

    async def _carry(self) -> None:
        while self._under_way or not self._closed:
            due = self._under_way[0][0] if self._under_way else math.inf
            if due > anyio.current_time():
                self._sent = anyio.Event()
                with anyio.CancelScope(deadline=due):
                    await self._sent.wait()
                continue
            _, _, message, sender = heapq.heappop(self._under_way)
            record(Kind.ARRIVED, self.name, message.id, who="")
            with acting(sender):
                await values.finished(self._deliver(message))


class Participant:
    """Somebody with a name who runs `main(*args)`: from its start until it returns or crashes.

    After a crash no line of it runs on, and after `restart_after` seconds `main` starts anew.
    """

    def __init__(
        self,
        name: str,
        main: Callable[..., Awaitable[object] | object],
        args: tuple[Any, ...] = (),
        crashes: tuple[Crash, ...] = (),
    ) -> None:
        self.name = values.name("name", name)
        self.steps = 0  #: steps of all its lives so far: a crash at each of them covers every await
        self._main = main
        self._args = args
        self._crashes = crashes

    async def run(self) -> None:
        """Live and die as told. Raises what `main` raises; RuntimeError for crashes outside `simulate`."""
        if self._crashes and not in_simulation():
            raise RuntimeError("crashes happen only in virtual time: run this scenario with simulate()")
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        for crash in (*self._crashes, None):
            if await self._live(crash) or crash is None or crash.restart_after is None:
                return
            await anyio.sleep(crash.restart_after)
            record(Kind.RESTARTED, self.name, who=self.name)

    async def _live(self, crash: Crash | None) -> bool:
        """Run one life; say whether it came to its natural end."""
        failure: Exception | None = None

        async def doom(life: Life, at: float) -> None:
            await anyio.sleep_until(at)
            life.end()

        async def main() -> None:
            nonlocal failure
            try:
                await values.finished(self._main(*self._args))
            except Exception as error:
                failure = error  # it is the caller's own, and so comes out as itself and not in a group
            group.cancel_scope.cancel()

        def last_words() -> None:
            record(Kind.CRASHED, self.name, who=self.name)
            group.cancel_scope.cancel()

        life = Life(dies_at_step=crash.step if crash else None, last_words=last_words)
        async with anyio.create_task_group() as group:
            if crash is not None and crash.at is not None:
                group.start_soon(doom, life, crash.at, name=f"doom of {self.name}")
            with acting(self.name), life.begins():
                group.start_soon(main, name=self.name)
        self.steps += life.steps
        if failure is not None:
            raise failure
        return not life.over

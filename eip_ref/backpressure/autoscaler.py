"""Autoscaler: as many competing consumers of one queue as their work needs.

How many follows from the lag and the rates, between two bounds. Two things keep the number steady.
*Hysteresis*: the pool grows when the work needs more consumers than there are, but shrinks only so
far that a share of what is left stays free; between the two nothing changes. *Cooldown*: after a
change the next one waits until the first can be seen.

Growing adds a worker. Shrinking drains one: it takes no more, finishes what it has in hand, and
returns what it had fetched ahead. Order per key survives both, since it is the queue that has at most
one message of a key out, whoever asks.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import anyio
import anyio.abc

from .. import values
from ..message import Handler, Message
from ..message_queue import Counts, Queue, Worker
from ..trace import Kind, acting, record

Work = Callable[[], Awaitable[None]]
Launch = Callable[[str, Work], Awaitable[None]]


# The rule


class Load(NamedTuple):
    """A measurement. Rates are in messages a second."""

    lag: int  #: messages that wait
    arrivals: float
    service: float  #: of one consumer, when it always has work


@dataclass(frozen=True, slots=True)
class Scaling:
    """The rule. It has no memory, so one can be shared.

    `catch_up` is in how many seconds a lag must be worked off, `spare` the share of its capacity
    that must be free after the pool has shrunk, `cooldown` the seconds from one change to the next.
    """

    min_consumers: int = 1
    max_consumers: int = 10
    catch_up: float = 30.0
    spare: float = 0.2
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        values.count("min_consumers", self.min_consumers)
        values.count("max_consumers", self.max_consumers, minimum=self.min_consumers)
        values.duration("catch_up", self.catch_up, zero=False)
        values.duration("cooldown", self.cooldown)
        if values.share("spare", self.spare) == 1:
            raise ValueError("spare must be below 1: a pool that is all spare does nothing")

    def need(self, load: Load) -> float:
        """The number of consumers, not rounded, that keep up with the arrivals and catch up in time."""
        arrivals = values.number("arrivals", load.arrivals)
        return (arrivals + load.lag / self.catch_up) / values.rate("service", load.service)

    def target(self, load: Load, consumers: int) -> int:
        """The number of consumers that there should be, where there are `consumers` now."""
        need = self.need(load)
        if need > consumers:
            consumers = math.ceil(min(need, self.max_consumers))
        else:
            consumers = min(consumers, math.ceil(need / (1 - self.spare)))
        return min(self.max_consumers, max(self.min_consumers, consumers))


class Scaler:
    """Applies the rule over time."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self._changed_at = -math.inf

    def decide(self, load: Load, consumers: int, now: float) -> int:
        """The number of consumers from `now` on, in seconds; the same as before during a cooldown."""
        if 0 <= now - self._changed_at < self.scaling.cooldown:  # below 0: on another loop's clock
            return consumers
        target = self.scaling.target(load, consumers)
        if target != consumers:
            self._changed_at = now
        return target


# The consumers


class CountedQueue(Queue, Protocol):
    """A queue that can say how many messages it holds; `MessageQueue` and `SQLiteQueue` do."""

    @property
    def counts(self) -> Counts: ...


class ConsumerPool:
    """Workers on a queue, `scaling.min_consumers` at first, and counted anew every `interval` seconds.

    `expected_rate` is how many messages a second one worker is thought to handle, until that is
    measured. A worker that is drained has `drain` seconds for the message in hand; then that is
    returned too.
    """

    def __init__(
        self,
        name: str,
        queue: CountedQueue,
        handle: Handler,
        *,
        scaling: Scaling,
        expected_rate: float,
        interval: float = 5.0,
        drain: float = 30.0,
        launch: Launch | None = None,
    ) -> None:
        """`launch(name, work)` runs the work of one worker, by default in a task; it may die there."""
        self.name = values.name("name", name)
        self.wanted = scaling.min_consumers  #: the number of workers that there should be
        self._queue = queue
        self._handle = handle
        self._scaler = Scaler(scaling)
        self._service = values.rate("expected_rate", expected_rate)
        self._interval = values.duration("interval", interval, zero=False)
        self._drain = values.duration("drain", drain, infinite=True)
        self._launch = launch
        self._workers: dict[str, Worker] = {}  # that take messages, by name
        self._numbers = itertools.count(1)
        self._done, self._busy = 0, 0.0  # messages and seconds of work, since the last look
        self._accepted = 0
        self._over = anyio.Event()
        self._running = False

    def __len__(self) -> int:
        """The number of workers that take messages."""
        return len(self._workers)

    async def run(self) -> None:
        """Work until the queue is closed and settled, once. What the queue raises comes out as itself."""
        if self._running:
            raise RuntimeError(f"{self.name} runs already, or has run: make a new pool")
        self._running = True
        try:
            async with anyio.create_task_group() as group:
                await self._keep_the_number(group)
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _keep_the_number(self, group: anyio.abc.TaskGroup) -> None:
        self._accepted = self._queue.counts.accepted
        self._tell(0, f"{self.wanted} at first")
        while not self._over.is_set():
            self._scale(group)
            with anyio.move_on_after(self._interval):
                await self._over.wait()
                break
            self._look()

    def _look(self) -> None:
        """Measure, and decide how many workers there should be."""
        counts, was = self._queue.counts, self.wanted
        arrivals, self._accepted = (counts.accepted - self._accepted) / self._interval, counts.accepted
        if self._busy > 0 and self._done:
            self._service = self._done / self._busy
        self._done, self._busy = 0, 0.0
        load = Load(counts.ready, arrivals, self._service)
        self.wanted = self._scaler.decide(load, was, anyio.current_time())
        if self.wanted != was:
            self._tell(was, f"{load.lag} wait, {arrivals:.3g}/s come, one handles {load.service:.3g}/s")

    def _tell(self, was: int, reason: str) -> None:
        facts: dict[str, Any] = {"consumers": self.wanted, "queue": self._queue.name, "reason": reason}
        record(Kind.STATE, self.name, who="", was=_words(was), now=_words(self.wanted), **facts)

    def _scale(self, group: anyio.abc.TaskGroup) -> None:
        """Add or drain workers until there are as many as wanted."""
        while len(self._workers) < self.wanted:  # also in place of one that died
            name = f"{self.name}-{next(self._numbers)}"
            worker = self._workers[name] = Worker(self._queue, self._timed)
            group.start_soon(self._work_as, name, worker, name=name)
        while len(self._workers) > self.wanted:
            self._workers.popitem()[1].stop(within=self._drain)

    async def _work_as(self, name: str, worker: Worker) -> None:
        with acting(name):
            record(Kind.OPENED, name, role="participant")
            try:
                work = functools.partial(self._work, worker)
                await (work() if self._launch is None else self._launch(name, work))
            finally:
                self._workers.pop(name, None)
                record(Kind.CLOSED, name)

    async def _work(self, worker: Worker) -> None:
        await worker.run()
        if worker in self._workers.values():  # nobody stopped it: there is nothing more to do
            self._over.set()

    async def _timed(self, message: Message) -> None:
        began = anyio.current_time()
        try:
            await values.finished(self._handle(message))
            self._done += 1
        finally:
            self._busy += anyio.current_time() - began


def _words(consumers: int) -> str:
    return f"{consumers} consumer{'' if consumers == 1 else 's'}"

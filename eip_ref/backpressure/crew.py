"""Crew: competing consumers of one queue, as many as their work needs.

Growing starts another worker. Shrinking drains one: it takes no more, finishes what it has in hand,
and returns what it had fetched ahead. Order per key survives both, since it is the queue that has
at most one message of a key out, whoever asks.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import anyio.abc

from ..message import Message
from ..message_queue import Counts, Queue, Worker
from ..message_queue.consumer import Handler
from ..trace import Kind, acting, record
from .scaling import Load, Scaler, Scaling

__all__ = ["CountedQueue", "Crew"]

Work = Callable[[], Awaitable[None]]
Employ = Callable[[str, Work], Awaitable[None]]


class CountedQueue(Queue, Protocol):
    """A queue that can say how many messages it holds; `MessageQueue` and `SQLiteQueue` do."""

    @property
    def counts(self) -> Counts: ...


class Crew:
    """Workers on a queue, `scaling.least` at first, and looked at every `every` seconds.

    `expects` is how many messages a second one worker is thought to handle, until that is measured.
    A worker that is let go has `drain` seconds for the message in hand; then that is returned too.
    """

    def __init__(
        self,
        name: str,
        queue: CountedQueue,
        handle: Handler,
        *,
        scaling: Scaling,
        expects: float,
        every: float = 5.0,
        drain: float = 30.0,
        employ: Employ | None = None,
    ) -> None:
        """`employ(name, work)` runs the work of one worker, by default in a task; it may die there."""
        if expects <= 0 or every <= 0 or drain < 0:
            raise ValueError("expects and every must be more than 0, and drain not less than 0")
        self.name = name
        self.wanted = scaling.least  #: how many workers there should be
        self._queue = queue
        self._handle = handle
        self._scaler = Scaler(scaling)
        self._service = expects
        self._every = every
        self._drain = drain
        self._employ = employ or _run
        self._workers: dict[str, Worker] = {}  # that take messages, by name
        self._numbers = itertools.count(1)
        self._done, self._busy = 0, 0.0  # messages and seconds of work, since the last look
        self._accepted = 0
        self._over = anyio.Event()

    def __len__(self) -> int:
        """How many workers take messages."""
        return len(self._workers)

    async def run(self) -> None:
        """Work until the queue is closed and settled."""
        self._accepted = self._queue.counts.accepted
        async with anyio.create_task_group() as group:
            self._tell(0, f"{self.wanted} at first")
            while not self._over.is_set():
                self._hire_or_let_go(group)
                with anyio.move_on_after(self._every):
                    await self._over.wait()
                    break
                self._look()

    def _look(self) -> None:
        """Measure, and decide how many workers there should be."""
        load, was = self._measure(), self.wanted
        self.wanted = self._scaler.decide(load, was, anyio.current_time())
        if self.wanted != was:
            why = f"{load.lag} wait, {load.arrivals:.3g}/s come, one handles {load.service:.3g}/s"
            self._tell(was, why)

    def _tell(self, was: int, reason: str) -> None:
        facts: dict[str, Any] = {"consumers": self.wanted, "queue": self._queue.name, "reason": reason}
        record(Kind.STATE, self.name, who="", was=_words(was), now=_words(self.wanted), **facts)

    def _measure(self) -> Load:
        counts = self._queue.counts
        arrivals, self._accepted = (counts.accepted - self._accepted) / self._every, counts.accepted
        if self._busy > 0 and self._done:
            self._service = self._done / self._busy
        self._done, self._busy = 0, 0.0
        return Load(counts.ready, arrivals, self._service)

    def _hire_or_let_go(self, group: anyio.abc.TaskGroup) -> None:
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
                await self._employ(name, functools.partial(self._work, worker))
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
            await self._handle(message)
            self._done += 1
        finally:
            self._busy += anyio.current_time() - began


async def _run(name: str, work: Work) -> None:
    await work()


def _words(consumers: int) -> str:
    return f"{consumers} consumer{'' if consumers == 1 else 's'}"

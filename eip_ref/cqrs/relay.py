"""The relay: carries events from the outbox to the broker, and only then marks them.

Publish, then mark: a crash between the two publishes the event again, with the same id, and loses
nothing. The other order would lose it. Within a stream the order is that of the outbox, and the
next event is published only after the one before is marked; a stream belongs to one relay at a
time, and a relay starts nothing that it cannot finish before its claim ends.

When the broker is down the relay rests, longer after each failure, and tries the same event again:
to go on with the next would break the order.

*Left out:* moving an event aside that the broker will never take; it holds up its outbox, visibly,
in `age`. A publish that was given up may still reach a real broker later than its successors; the
readers of a stream know its versions and put that right.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from random import Random

import anyio
import anyio.lowlevel

from ..message import Message
from ..message_queue import Backoff
from ..trace import Kind, acting, record
from .outbox import Entry, Outbox

__all__ = ["Publish", "Relay"]

Publish = Callable[[Message], Awaitable[object]]
"""Returns after the broker has confirmed the event. Raises any Exception when it has not."""


class Relay:
    """Publishes what is in the outbox, until it is stopped.

    `claim` is for how many seconds it owns a stream, and so the longest that publishing one event
    may take; `poll` is how often it looks for what other processes have put into the store. With
    `random`, a rest is anything between a half and the whole of what `backoff` says.
    """

    def __init__(
        self,
        outbox: Outbox,
        publish: Publish,
        name: str = "relay",
        *,
        claim: float = 30.0,
        batch: int = 20,
        poll: float = 1.0,
        backoff: Backoff | None = None,
        random: Random | None = None,
    ) -> None:
        if claim <= 0 or poll <= 0:
            raise ValueError(f"claim and poll must be more than 0 seconds, not {claim:g} and {poll:g}")
        if batch < 1:
            raise ValueError(f"a batch must hold at least 1 event, not {batch}")
        self.outbox = outbox
        self.name = name
        self.failures = 0  #: attempts that failed since the last one that did not
        self._publish = publish
        self._claim = claim
        self._batch = batch
        self._poll = poll
        self._backoff = backoff or Backoff(first=0.5, most=30.0)
        self._random = random
        self._stopping = anyio.Event()

    def stop(self) -> None:
        """Publish no more than what is in hand: within a batch, the event that is on its way. Idempotent."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. On cancellation the claims are given back, and it is raised again."""
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        with acting(self.name):
            while not self._stopping.is_set():
                if await self.work():
                    continue
                await self._rest() if self.failures else await self._news()

    async def work(self) -> int:
        """Publish one batch; returns how many events of it were published and marked."""
        await anyio.lowlevel.checkpoint()
        entries = self.outbox.claim(self.name, seconds=self._claim, limit=self._batch)
        done = 0
        try:
            for entry in entries:
                if self._stopping.is_set() or not await self._carry(entry):
                    break
                done += 1
        finally:  # also when it is cancelled, so that nobody has to wait for the claims to end
            if entries:
                self.outbox.release(entries)
        return done

    async def _carry(self, entry: Entry) -> bool:
        """Publish the event and mark it; false when one of the two was not possible."""
        left = self.outbox.left(entry.claim)
        if left <= 0:
            return False
        try:
            with anyio.fail_after(left):
                await self._publish(entry.event)
        except Exception as error:
            self.failures += 1
            record(Kind.FAILED, self.name, entry.event.id, error=repr(error), failures=self.failures)
            return False
        self.failures = 0
        return self.outbox.mark(entry)

    async def _rest(self) -> None:
        seconds = self._backoff.seconds(self.failures)
        if self._random is not None:
            seconds *= self._random.uniform(0.5, 1.0)
        with anyio.move_on_after(seconds):
            await self._stopping.wait()

    async def _news(self) -> None:
        """Until something was committed, a claim of another relay has run out, or it is time to look."""
        wait = self._poll
        if len(self.outbox):
            wait = min(wait, max(0.001, self.outbox.free_at - anyio.current_time()))
        with anyio.move_on_after(wait if wait < math.inf else None):
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_stopped, group.cancel_scope)
                await self.outbox.store.changed.wait()
                group.cancel_scope.cancel()

    async def _until_stopped(self, scope: anyio.CancelScope) -> None:
        await self._stopping.wait()
        scope.cancel()

"""The relay: publishes what is in the outbox, and only then marks it.

Publish, then mark: a crash between the two publishes the message again, with the same id, and loses
nothing. The other order would lose it. Within a key the order is that of the outbox, and the next
message is published only after the one before is marked; a key belongs to one relay at a time, and a
relay starts nothing that it cannot finish before its claim ends.

When the broker is down the relay backs off, longer after each failure, and tries the same message
again: to go on with the next would break the order. A relay with nothing to do is asleep until
something is committed.

*Left out:* moving a message aside that the broker will never take; it holds up its outbox, visibly,
in `age`. A publish that was given up may still reach a real broker later than its successors; the
readers of a stream know its versions and put that right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel

from .. import values
from ..message import Handler
from ..message_queue import Backoff
from ..storage import despite_faults
from ..trace import Kind, acting, record
from .outbox import ClaimedMessage, Outbox

__all__ = ["Relay"]

T = TypeVar("T")
Given = TypeVarTuple("Given")


class Relay:
    """Publishes what is in the outbox, until it is stopped.

    `publish(message)`, plain or `async`, returns after the broker has confirmed the message, and raises
    any Exception when it has not. `claim` is for how many seconds the relay owns a key, and so the
    longest that publishing one message may take, and that a relay which died holds up its keys; every
    `poll` seconds it looks for what other processes have put into the store. With `random`, a delay is
    anything between a half and the whole of what `backoff` says.
    """

    def __init__(
        self,
        outbox: Outbox,
        publish: Handler,
        name: str = "relay",
        *,
        claim: float = 30.0,
        batch: int = 20,
        poll: float = 1.0,
        backoff: Backoff | None = None,
        random: Random | None = None,
    ) -> None:
        self.outbox = outbox
        self.name = values.name("name", name)
        self.failures = 0  #: attempts that failed since the last one that did not
        self._publish = publish
        self._claim = values.duration("claim", claim, zero=False)
        self._batch = values.count("batch", batch)
        self._poll = values.duration("poll", poll, zero=False, infinite=True)
        self._backoff = backoff or Backoff(initial=0.5, max_delay=30.0)
        self._random = random
        self._stopping = anyio.Event()

    def stop(self) -> None:
        """Publish no more than what is on its way: one message, also within a batch. Idempotent."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. On cancellation the claims are given back, and it is raised again.

        A fault of the disk on which the outbox is gets noted, and the relay goes on later.
        """
        record(Kind.OPENED, self.name, who=self.name, role="participant")
        with acting(self.name):
            while not self._stopping.is_set():
                if await despite_faults(self.run_once, self.name):
                    continue
                await self._back_off() if self.failures else await self._news()

    async def run_once(self) -> int:
        """Publish one batch; returns how many messages of it were published and marked."""
        await anyio.lowlevel.checkpoint()
        claim = partial(self.outbox.claim, self.name, seconds=self._claim, limit=self._batch)
        claimed = await self._in_store(claim)
        done = 0
        try:
            for each in claimed:
                if self._stopping.is_set() or not await self._publish_and_mark(each):
                    break
                done += 1
        finally:  # also when it is cancelled, so that nobody has to wait for the claims to end
            if claimed:
                with anyio.CancelScope(shield=True):
                    await self._in_store(self.outbox.release, claimed)
        return done

    async def _in_store(self, step: Callable[[*Given], T], *given: *Given) -> T:
        """Return what the step returns, after its commit; the loop goes on meanwhile."""
        return await self.outbox.store.run(lambda _: step(*given))

    async def _publish_and_mark(self, claimed: ClaimedMessage) -> bool:
        """False when one of the two was not possible."""
        left = self.outbox.left(claimed.claim)
        if left <= 0:
            return False
        if claimed.message.has_expired(anyio.current_time()):
            return await self._in_store(self.outbox.drop, claimed)
        try:
            with anyio.fail_after(left):
                await values.finished(self._publish(claimed.message))
        except Exception as error:
            self.failures += 1
            record(Kind.FAILED, self.name, claimed.message.id, error=repr(error), failures=self.failures)
            return False
        self.failures = 0
        return await self._in_store(self.outbox.mark, claimed)

    async def _back_off(self) -> None:
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

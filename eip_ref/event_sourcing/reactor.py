"""A reactor does something in the world when an event happens, such as sending an e-mail.

It is kept apart from folds and projections, because those are replayed and it must not be: it has a
place of its own in the log, begins at the present unless told otherwise, and has no rebuild.

The world cannot join a transaction, so a crash between the effect and the note of it repeats the
effect: give `event.message.id` to whoever performs it as the idempotency key.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from ..trace import Kind, acting, record
from .protocol import EventStore, Recorded
from .reader import Reader
from .views import Views

__all__ = ["Reactor"]


class Reactor:
    """Calls `handlers[type](event)` for each event that comes after its first start, at least once.

    With `history=True` it begins at the oldest event instead. Its position is kept in `views`.
    """

    def __init__(
        self,
        store: EventStore,
        views: Views,
        name: str,
        handlers: Mapping[str, Callable[[Recorded], Awaitable[object]]],
        *,
        history: bool = False,
        poll: float = math.inf,
    ) -> None:
        self.name = name
        self._store = store
        self._views = views
        self._handlers = handlers
        self._history = history
        self._poll = poll

    async def run(self) -> None:
        """React to all that comes. What a handler raises comes out; the next run begins at its event."""
        async for batch in Reader(self._store, self.name, after=self._start(), limit=1, poll=self._poll):
            for event in batch:
                await self._react(event)
                self._note(event.position)

    def _start(self) -> int:
        with self._views.transaction(self.name) as view:
            if view.get("begun") is None:
                view.set("begun", True)
                view.track(0 if self._history else self._store.settled)
            return view.position

    def _note(self, position: int) -> None:
        with self._views.transaction(self.name) as view:
            was = view.position
            view.track(max(was, position))
        facts: dict[str, Any] = {
            "was": was,
            "now": position,
            "reason": "checkpoint",
            "store": self._store.name,
        }
        record(Kind.STATE, self.name, who=self.name, **facts)

    async def _react(self, event: Recorded) -> None:
        handler, identity = self._handlers.get(event.message.type), event.message.id
        if handler is None:
            return
        with acting(self.name):
            record(Kind.STARTED, self.name, identity, position=event.position)
            try:
                await handler(event)
            except anyio.get_cancelled_exc_class():
                record(Kind.CANCELLED, self.name, identity, position=event.position)
                raise
            except Exception as error:
                record(Kind.FAILED, self.name, identity, position=event.position, error=repr(error))
                raise
            record(Kind.FINISHED, self.name, identity, position=event.position)

"""A reactor does something in the world when an event happens, such as sending an e-mail.

It is kept apart from folds and projections, because those are replayed and it must not be: it has a
place of its own in the log, begins at the present unless told otherwise, and has no rebuild.

The world cannot join a transaction, so a crash between the effect and the note of it repeats the
effect: give `event.message.id` to whoever performs it as the idempotency key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .. import values
from ..storage import Store, Transaction, despite_faults
from ..trace import Kind, acting, record, working
from .store import EventStore, Reader, Recorded
from .view import POSITIONS

__all__ = ["Reactor"]


class Reactor:
    """Calls `handlers[type](event)` for each event that comes after its first start, at least once.

    With `history=True` it begins at the oldest event instead. Its position is kept in the store
    `positions`, under its name. A handler may be `async` or a plain function.
    """

    def __init__(
        self,
        positions: Store,
        name: str,
        handlers: Mapping[str, Callable[[Recorded], object]],
        *,
        history: bool = False,
    ) -> None:
        self.name = values.name("the name of a reactor", name)
        self._positions = positions
        self._handlers = handlers
        self._history = history

    async def run(self, events: EventStore) -> None:
        """React to all that comes. What a handler raises comes out; the next run begins at its event.

        A fault of the disk on which the positions are is noted, and the same event is not reacted to again.
        """
        start = await self._positions.run(partial(self._start, events))
        async for batch in Reader(events, self.name, after=start, limit=1):
            for event in batch:
                await self._react(event)
                note = partial(self._note, event.position, events.name)
                await despite_faults(partial(self._positions.run, note), self.name)

    def _start(self, events: EventStore, transaction: Transaction) -> int:
        position: int | None = transaction.get(POSITIONS, self.name)
        if position is None:
            position = 0 if self._history else events.committed_up_to
            transaction.put(POSITIONS, self.name, position)
        return position

    def _note(self, position: int, source: str, transaction: Transaction) -> None:
        was = transaction.get(POSITIONS, self.name, 0)
        transaction.put(POSITIONS, self.name, max(was, position))
        facts: dict[str, Any] = {"was": was, "now": position, "reason": "checkpoint", "store": source}
        transaction.after_commit(partial(record, Kind.STATE, self.name, who=self.name, **facts))

    async def _react(self, event: Recorded) -> None:
        handler = self._handlers.get(event.message.type)
        if handler is not None:
            with acting(self.name), working(self.name, event.message.id, position=event.position):
                await values.finished(handler(event))

"""A projection: turns events into the rows of a view, whatever the order in which they come.

For each stream it keeps, beside the rows and in the same transaction, the last version it has seen.
An event that is not newer is a duplicate and changes nothing. An event that is too new is held back
until the ones before it have come. So events are applied once each, in the order of their stream,
and streams of several services can be joined: a handler makes of a row what it can, and whichever
stream comes first finds the row absent and begins it.

The handlers are pure: they see rows and the event, and no clock. That is what makes it possible to
build the view again from the history: `rebuild` fills a new generation beside the live one, which
goes on; both take the events that come meanwhile; then one transaction swaps them.

*Left out:* partitions. One projection is one writer; a large one is split by stream.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from ..message import Message
from ..publish_subscribe.inbox import Bell
from ..storage import Store, Transaction, key_of
from ..trace import Kind, record
from .errors import OutOfOrder
from .events import stream_version
from .view import Change, View

__all__ = ["Lag", "Project", "Projection"]

Project = Callable[[View, Message], object]
"""Changes rows of the view as the event says, without an await, a clock or any other effect."""


class Lag(NamedTuple):
    """How far the view is behind the write side, in seconds from an event's making to its commit here."""

    last: float  #: of the event that came last
    most: float  #: the largest so far
    held: int  #: how many events are held back, because an earlier one is missing


class Projection:
    """The view `name` in a store, and the handlers that make it. An event type without one is passed over.

    `hold` is how many events may be held back in all before `OutOfOrder` says that one is missing.
    """

    def __init__(
        self, store: Store, name: str, handlers: Mapping[str, Project], *, hold: int = 1_000
    ) -> None:
        self.store = store
        self.name = name
        self.changed = Bell()  #: rings after each commit that changed the view, or what it has seen
        self.listeners: set[Callable[[list[Change]], None]] = set()  #: are told of changes after their commit
        self._handlers = dict(handlers)
        self._hold = hold
        self._lags: tuple[float, float] = (0.0, 0.0)
        self._rebuilding: int | None = None
        self._failure: Exception | None = None
        self._next_handlers = self._handlers

    # Events

    async def __call__(self, message: Message) -> bool:
        """Take the event and return after the commit; false when it was known. See `handle`."""
        await anyio.lowlevel.checkpoint()
        new = self.handle(message)
        # Between the commit and the ack something can always happen to the consumer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return new

    def handle(self, message: Message) -> bool:
        """Apply the event, hold it back, or know it as a duplicate: in one transaction.

        What a handler raises comes out, and nothing is committed. Raises ValueError for a message
        that does not say its stream and version, and `OutOfOrder`.
        """
        version = stream_version(message)
        with self.store.transaction() as transaction:
            if self._rebuilding is not None:
                self._take_beside(transaction, self._rebuilding, message, version)
            return self._take(transaction, self._generation(transaction), message, version)

    def _take_beside(self, transaction: Transaction, generation: int, message: Message, version: int) -> None:
        try:
            self._take(transaction, generation, message, version)
        except Exception as error:  # what is wrong with the new generation must not stop the live one
            self._rebuilding, self._failure = None, error

    def _take(self, transaction: Transaction, generation: int, message: Message, version: int) -> bool:
        table, stream = self._table(generation), str(message.key)
        seen = int(transaction.get(f"{table}.seen", stream, 0))
        held = f"{stream} {key_of(version)}"
        if version <= seen or transaction.get(f"{table}.held", held) is not None:
            self._after(transaction, Kind.DUPLICATE, table, message, version=version)
            return False
        if version > seen + 1:
            if generation != self._rebuilding and transaction.size(f"{table}.held") >= self._hold:
                missing = f"{table} waits for version {seen + 1} of {stream}"
                raise OutOfOrder(f"{missing} and holds back {self._hold} events already")
            transaction.put(f"{table}.held", held, message.to_json(shift=self.store.shift))
            facts = {"text": "held back", "version": version, "missing": seen + 1}
            self._after(transaction, Kind.NOTE, table, message, **facts)
            return True
        view = View(transaction, table)
        self._apply(transaction, view, table, message, version)
        self._apply_held(transaction, view, table, stream, version)
        if generation == self._generation(transaction):
            transaction.after_commit(lambda: self._tell(view.changes))
        return True

    def _apply_held(
        self, transaction: Transaction, view: View, table: str, stream: str, version: int
    ) -> None:
        """The events that waited for this one, for as long as each is the next."""
        held = f"{table}.held"
        while (kept := transaction.get(held, next_ := f"{stream} {key_of(version + 1)}")) is not None:
            version += 1
            transaction.delete(held, next_)
            self._apply(transaction, view, table, Message.from_json(kept, shift=self.store.shift), version)

    def _apply(
        self, transaction: Transaction, view: View, table: str, message: Message, version: int
    ) -> None:
        live = table == self._live(transaction)
        handlers = self._handlers if live else self._next_handlers
        if (project := handlers.get(message.type)) is not None:
            project(view, message)
        transaction.put(f"{table}.seen", str(message.key), version)
        lag = anyio.current_time() - message.created
        facts = {"effect": "projected", "version": version, "lag": lag, "at_position": view.position}
        self._after(transaction, Kind.EFFECT, table, message, **facts)
        if live:
            transaction.after_commit(lambda: self._measure(lag))

    def _after(self, transaction: Transaction, kind: str, table: str, event: Message, **facts: Any) -> None:
        facts |= {"view": self.name, "stream": event.key}
        transaction.after_commit(lambda: record(kind, table, event.id, who=table, **facts))

    def _measure(self, lag: float) -> None:
        self._lags = lag, max(lag, self._lags[1])

    def _tell(self, changes: list[Change]) -> None:
        for listener in tuple(self.listeners):
            listener(changes)
        self.changed.ring()

    # Reading

    def get(self, key: str) -> Any:
        """The row, or None, as it is now. To ask for a version, use `read`."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The rows that exist, by key, in one transaction."""
        with self.store.transaction() as transaction:
            view = View(transaction, self._live(transaction))
            return {key: row for key in keys if (row := view.get(key)) is not None}

    def rows(self) -> dict[str, Any]:
        """All rows by key, as they are now."""
        with self.store.transaction() as transaction:
            return View(transaction, self._live(transaction)).rows()

    def since(self, position: int, limit: int = -1) -> tuple[int, list[Change]]:
        """The position of the view, and the last change of each row that was changed after `position`."""
        with self.store.transaction() as transaction:
            view = View(transaction, self._live(transaction))
            return view.position, view.since(position, limit)

    def seen(self, stream: str) -> int:
        """The last version of the stream that is in the view; 0 when there is none."""
        with self.store.transaction() as transaction:
            return int(transaction.get(f"{self._live(transaction)}.seen", stream, 0))

    @property
    def lag(self) -> Lag:
        """How far the view is behind, as measured by this process."""
        with self.store.transaction() as transaction:
            return Lag(*self._lags, transaction.size(f"{self._live(transaction)}.held"))

    # Rebuilding

    async def rebuild(
        self, history: AsyncIterable[Message], handlers: Mapping[str, Project] | None = None
    ) -> None:
        """Build the view anew from all events since the beginning, and put it in the place of the live one.

        `history` ends where it had grown to at the beginning, or later. Events that come meanwhile go
        to both. With `handlers` the new view is made by those. A rebuild that fails, is cancelled or
        crashes leaves the live view as it was. Raises RuntimeError when one is running, and when the
        history lacks what the live view has seen.
        """
        if self._rebuilding is not None:
            raise RuntimeError(f"{self.name} is being rebuilt already; wait for that")
        self._next_handlers = self._handlers if handlers is None else dict(handlers)
        self._failure = None
        with self.store.transaction() as transaction:
            self._rebuilding = new = self._generation(transaction) + 1
            self._clear(transaction, new)  # what a rebuild that crashed has left
        try:
            async for message in history:
                self._must_go_well()
                with self.store.transaction() as transaction:
                    self._take(transaction, new, message, stream_version(message))
                await anyio.lowlevel.checkpoint()
            self._must_go_well()
            with self.store.transaction() as transaction:
                self._swap(transaction, new)
            self._handlers = self._next_handlers
        finally:
            self._rebuilding = None

    def _must_go_well(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _swap(self, transaction: Transaction, new: int) -> None:
        was, now = self._table(new - 1), self._table(new)
        for stream, version in transaction.scan(f"{was}.seen"):
            if transaction.get(f"{now}.seen", stream, 0) < version:
                raise RuntimeError(
                    f"the history ends before version {version} of {stream}, which the view has"
                )
        view = View(transaction, now)
        view.succeed(View(transaction, was))
        self._clear(transaction, new - 1)
        transaction.put("generations", self.name, new)
        swapped = {"was": was, "now": now, "reason": "swapped"}
        transaction.after_commit(lambda: record(Kind.STATE, self.name, who=self.name, **swapped))
        transaction.after_commit(lambda: self._tell(view.changes))

    def _clear(self, transaction: Transaction, generation: int) -> None:
        table = self._table(generation)
        for part in ("", ".changes", ".seen", ".held"):
            transaction.clear(f"{table}{part}")
        transaction.delete("counters", table)

    def _generation(self, transaction: Transaction) -> int:
        return int(transaction.get("generations", self.name, 1))

    def _live(self, transaction: Transaction) -> str:
        return self._table(self._generation(transaction))

    def _table(self, generation: int) -> str:
        return f"{self.name}.{generation}"

"""The read model: rows made for queries, which events keep up to date; and reads that name a version.

The events come from a channel, in any order and perhaps twice, and from several services at once. A
`Resequencer` puts them in the order of their streams, a `Projector` takes them into the view: what is
held back, what was seen and the rows change in one transaction. A handler makes of a row what it can,
so whichever stream comes first finds the row absent and begins it.

Each change of a row takes the next *position* of the view. A row knows the position of its last
change, and a deleted row leaves a tombstone, so "what has changed since 17?" can be answered from the
rows alone, for any 17: nothing is kept for a reader that is away.

The handlers are pure: they see rows and the event, and no clock. So the view can be built again from
the history: `rebuild` fills a new generation beside the live one, which goes on; both take the events
that come meanwhile; then one transaction swaps them.

A `read` that names a version, which a command has answered, waits for it, up to a timeout. Then it says
that the view is not there yet: by a mark that it is stale, or by `NotYet`, which HTTP calls 503.

*Left out:* forgetting tombstones when no reader is that far behind; partitions: one read model is one
writer, and a large one is split by stream; sessions, which remember the versions for the client.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

import anyio
import anyio.lowlevel

from .. import values
from ..event_sourcing import (
    EventHandler,
    Projection,
    Projector,
    Recorded,
    Resequencer,
    View,
    generation_name,
    live_generation,
    swap,
)
from ..message import Message
from ..storage import Store, Transaction, key_of
from ..trace import Kind, new_id, record, working

# Rows, and the positions of their changes


class RowChange(NamedTuple):
    """A row as it is after the change at `position`; None when it was deleted."""

    position: int
    key: str
    row: Any


class NumberedView(View):
    """A view whose rows have the positions of their last changes. `tell` hears of each after its commit."""

    def __init__(
        self, transaction: Transaction, name: str, *, tell: Callable[[RowChange], object] | None = None
    ) -> None:
        super().__init__(transaction, name)
        self._tell = tell
        self._by_change = f"{name}.changes"

    @property
    def last_change(self) -> int:
        """The position of the last change; 0 before the first."""
        return int(self.transaction.get("counters", self._by_change, 0))

    def get(self, key: str, default: Any = None) -> Any:
        """The row under this key, or `default`."""
        _, row = self.transaction.get(self.name, key, (0, None))
        return default if row is None else row

    def put(self, key: str, document: Any) -> None:
        """Write a row, which is any JSON value but None. One that is already so is no change."""
        if document is None:
            raise ValueError(f"a row cannot be None; use delete({key!r})")
        if self.get(key) != document:
            self._change(key, document)

    def delete(self, key: str) -> None:
        """Remove the row, if it is there."""
        if self.get(key) is not None:
            self._change(key, None)

    def items(self) -> list[tuple[str, Any]]:
        """All keys with their rows, in the order of the keys."""
        return [(key, row) for key, (_, row) in self.transaction.scan(self.name) if row is not None]

    def since(self, position: int, limit: int = -1) -> list[RowChange]:
        """The last change of each row that was changed after `position`, in order."""
        changed = self.transaction.scan(self._by_change, after=key_of(position), limit=limit)
        return [RowChange(int(at), key, self.transaction.get(self.name, key)[1]) for at, key in changed]

    def succeed(self, old: NumberedView) -> None:
        """Take the place of an older view: every row changes once more, later than all that was before.

        So whoever resumes from a position of the old one sees all rows of the new one, and learns
        which are gone.
        """
        rows = dict(self.items())
        gone = [key for key, _ in self.transaction.scan(old.name) if key not in rows]
        self.transaction.put("counters", self._by_change, max(old.last_change, self.last_change))
        for key, row in [*((key, None) for key in gone), *rows.items()]:
            self._change(key, row)

    def clear(self) -> None:
        """Forget the view, with all that it holds and its positions."""
        super().clear()
        self.transaction.clear(self._by_change)
        self.transaction.delete("counters", self._by_change)

    def _change(self, key: str, row: Any) -> None:
        was, _ = self.transaction.get(self.name, key, (0, None))
        change = RowChange(self.transaction.count(self._by_change), key, row)
        self.transaction.delete(self._by_change, key_of(was))
        self.transaction.put(self._by_change, key_of(change.position), key)
        self.transaction.put(self.name, key, [change.position, row])
        if self._tell is not None:
            self.transaction.after_commit(partial(self._tell, change))


# The read model


class Lag(NamedTuple):
    """The delay of the view behind the write side, in seconds from an event's making to its commit here."""

    last: float  #: of the event that came last
    largest: float  #: so far
    held_back: int  #: the number of events that wait for an earlier one


class ReadModel:
    """The view `name` in a store, and the handlers that make it. An event type without one is passed over.

    At most `capacity` events are held back, before `ResequencerFull` says that an earlier one is missing.
    """

    def __init__(
        self, store: Store, name: str, handlers: Mapping[str, EventHandler], *, capacity: int = 1_000
    ) -> None:
        self.store = store
        self.name = name
        #: hear of each change after its commit, in the order in which they came
        self.listeners: dict[Callable[[RowChange], object], None] = {}
        self._capacity = values.count("capacity", capacity)
        self._projection = Projection(name, handlers, view_type=partial(NumberedView, tell=self._tell))
        self._lag = 0.0, 0.0
        self._intake: Resequencer | None = None  # of the live generation
        self._beside: Resequencer | None = None  # of the one that is being built
        self._failure: Exception | None = None

    # Events

    async def __call__(self, message: Message) -> bool:
        """Take the event and return after the commit; false when it was known. See `handle`."""
        return await self.store.commit(lambda _: self.handle(message))

    def handle(self, message: Message) -> bool:
        """Apply the event, hold it back, or know it as a duplicate: in one transaction.

        When a handler raises, nothing is committed, and `PoisonEvent` comes out. Raises ValueError for a
        message that does not say its stream and version, and `ResequencerFull`.
        """
        with self.store.transaction() as transaction:
            if self._beside is not None and self._failure is None:
                try:
                    self._beside.handle(message)
                except Exception as error:  # what is wrong with the new view must not stop the live one
                    self._failure = error
            return self._live(transaction).handle(message)

    def _live(self, transaction: Transaction) -> Resequencer:
        """The way of events into the live view, of whichever generation that is now."""
        generation = live_generation(transaction, self.name)
        if self._intake is None or self._intake.name != generation_name(self.name, generation):
            projector = Projector(self.store, replace(self._projection, generation=generation))
            take = partial(self._take, projector)
            self._intake = Resequencer(self.store, projector.name, take, capacity=self._capacity)
        return self._intake

    def _take(self, projector: Projector, events: list[Recorded]) -> None:
        with self.store.transaction() as transaction:
            projector.take(events)
            transaction.after_commit(partial(self._measure, events))

    def _measure(self, events: list[Recorded]) -> None:
        for event in events:
            lag = anyio.current_time() - event.message.created
            self._lag = lag, max(lag, self._lag[1])

    def _tell(self, change: RowChange) -> None:
        for listener in tuple(self.listeners):
            try:
                listener(change)
            except Exception as error:  # the change is committed, and the other listeners hear of it
                record(Kind.NOTE, self.name, who="", text=f"a listener failed: {error!r}")

    # Queries

    def get(self, key: str) -> Any:
        """The row, or None, as it is now. To ask for a version, use `read`."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """The rows that exist, by key, all of one moment."""
        with self._query() as view:
            asked = filter(values.is_name, keys)  # what is no key has no row
            return {key: row for key in asked if (row := view.get(key)) is not None}

    def rows(self) -> dict[str, Any]:
        """All rows by key, as they are now."""
        with self._query() as view:
            return dict(view.items())

    def since(self, position: int, limit: int = -1) -> tuple[int, list[RowChange]]:
        """The position of the view, and the last change of each row that was changed after `position`."""
        values.count("position", position, minimum=0)
        with self._query() as view:
            return view.last_change, view.since(position, limit)

    def seen(self, stream: str) -> int:
        """The last version of the stream that is in the view; 0 when there is none."""
        with self.store.reading() as transaction:
            return self._live(transaction).version(stream)

    @property
    def lag(self) -> Lag:
        """The delay of the view, as measured by this process."""
        with self.store.reading() as transaction:
            return Lag(*self._lag, self._live(transaction).held_back)

    @property
    def epoch(self) -> str:
        """The name of this history of positions: the same as long as the store lives, and no other has it."""
        with self.store.reading() as documents:
            epoch: str | None = documents.get("epochs", self.name)
        if epoch is None:
            with self.store.transaction() as transaction:
                epoch = str(transaction.get("epochs", self.name, uuid4().hex))
                transaction.put("epochs", self.name, epoch)
        return epoch

    @contextmanager
    def _query(self) -> Iterator[NumberedView]:
        with self.store.reading() as transaction:
            yield NumberedView(transaction, self._live(transaction).name)

    # Rebuilding

    async def rebuild(
        self, history: AsyncIterable[Message], handlers: Mapping[str, EventHandler] | None = None
    ) -> None:
        """Build the view anew from all events since the beginning, and put it in the place of the live one.

        `history` ends where it had grown to at the beginning, or later. Events that come meanwhile go
        to both. With `handlers` the new view is made by those. A rebuild that fails, is cancelled or
        crashes leaves the live view as it was; one that ends leaves nothing of the old view. Raises what
        `handle` does; RuntimeError when one is running, or another process was quicker, and when the history
        lacks what the live view has seen; and, after the swap, what `erase` of the store does.
        """
        if self._beside is not None:
            raise RuntimeError(f"{self.name} is being rebuilt already; wait for that")
        self._failure = None
        handlers = self._projection.handlers if handlers is None else handlers
        self._beside = beside = await self.store.run(partial(self._begin_beside, handlers))
        try:
            async for message in history:
                self._must_go_well()
                await beside(message)
            self._must_go_well()
            await self.store.run(partial(self._swap, beside))
            self._projection = replace(self._projection, handlers=handlers)
            self._intake = None  # a listener may have asked at the swap, which made one of the old handlers
        finally:
            self._beside = None
        await self.store.erase()

    def _begin_beside(self, handlers: Mapping[str, EventHandler], transaction: Transaction) -> Resequencer:
        """The way into a new and empty generation. No history is too jumbled for it."""
        generation = live_generation(transaction, self.name) + 1
        projection = Projection(self.name, handlers, generation, view_type=NumberedView)
        take = Projector(self.store, projection).take
        beside = Resequencer(self.store, projection.view, take, capacity=sys.maxsize)
        self._clear(transaction, beside)  # what a rebuild that crashed has left
        return beside

    def _must_go_well(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _swap(self, beside: Resequencer, transaction: Transaction) -> None:
        live, generation = self._live(transaction), live_generation(transaction, self.name) + 1
        if beside.name != generation_name(self.name, generation):
            raise RuntimeError(f"somebody else has rebuilt {self.name} meanwhile; rebuild it again")
        for stream, version in live.versions().items():
            if beside.version(stream) < version:
                lacks = f"version {version} of {stream}, which the view has"
                raise RuntimeError(f"the history ends before {lacks}")
        new = NumberedView(transaction, beside.name, tell=self._tell)
        new.succeed(NumberedView(transaction, live.name))
        swap(transaction, self.name, generation)
        self._clear(transaction, live)

    def _clear(self, transaction: Transaction, intake: Resequencer) -> None:
        NumberedView(transaction, intake.name).clear()
        intake.clear()


# Read your writes


class Late(StrEnum):
    """The answer when the version has not come by the timeout."""

    STALE = "stale"  #: what there is, marked
    REFUSE = "refuse"  #: `NotYet`


class NotYet(Exception):
    """The view does not have the version that the reader asked for, and the time to wait is over."""

    def __init__(self, stream: str, wanted: int, version: int) -> None:
        super().__init__(f"the view has version {version} of {stream}, and not yet {wanted}")
        self.stream, self.wanted, self.version = stream, wanted, version


class Reading(NamedTuple):
    """A row, and how far the view was when it was read."""

    row: Any  #: None when there is none
    versions: dict[str, int]  #: of the streams that were asked for
    stale: bool  #: one of them is older than was asked for


async def read(
    model: ReadModel,
    key: str,
    *,
    at_least: Mapping[str, int] | None = None,
    timeout: float = 2.0,
    late: Late | str = Late.STALE,
) -> Reading:
    """The row, as soon as the view has seen these versions of these streams, or after `timeout` seconds.

    Raises `NotYet` by policy, and ValueError for what is no version, no timeout and no policy.
    """
    late = Late(late)
    wanted = dict(at_least or {})
    for stream, version in wanted.items():
        values.count(f"the version of {stream}", version, minimum=0)
    values.duration("timeout", timeout, infinite=True)
    await anyio.lowlevel.checkpoint()
    with working(model.name, new_id("read "), key=key, wanted=wanted) as work:
        with anyio.move_on_after(timeout):
            while _missing(model, wanted):
                await model.store.news()
        if missing := _missing(model, wanted):
            record(Kind.TIMED_OUT, model.name, work.message, after=timeout, **missing.__dict__)
            if late is Late.REFUSE:
                raise missing
        versions = {stream: model.seen(stream) for stream in wanted}
        work.facts |= {"versions": versions, "stale": missing is not None}
        return Reading(model.get(key), versions, missing is not None)


def _missing(model: ReadModel, wanted: Mapping[str, int]) -> NotYet | None:
    """The first of these versions that the view has not seen."""
    for stream, version in wanted.items():
        if (seen := model.seen(stream)) < version:
            return NotYet(stream, version, seen)
    return None

"""The event store in memory, with what makes real ones hard to read: concurrent transactions.

As in PostgreSQL and its kin, an event gets its position when it is inserted and is seen when its
transaction commits. So a position may appear below one that was read already, or never, after a
rollback. The way out is a horizon: below the lowest position of any open transaction nothing can
appear any more, and `read_all` stops there.

Within a stream the positions grow with the versions: of two transactions that append to one stream at
the same time, the first to commit wins, and the other has expected a wrong version, as with a unique
index.

A transaction whose owner has died would hold the horizon for ever. After `patience` seconds it is
rolled back, and its owner, if alive after all, is refused at the commit.

*Left out:* the disk: `SQLiteEventStore` has it, and gives positions in the order of the commits.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from operator import attrgetter
from typing import Any, NamedTuple, Self

import anyio
import anyio.lowlevel

from .. import values
from ..message import Message
from ..signal import Signal
from ..trace import Kind, record
from .append_rules import check_batch, check_reading, decide, say_accepted, say_repeated
from .store import Appended, Expected, Recorded, WrongExpectedVersion


class RolledBack(Exception):
    """The transaction was open for too long and is no more: nothing of it was appended."""


class _Insert(NamedTuple):
    stream: str
    events: tuple[Message, ...]
    expected: int | Expected
    positions: range


class UnitOfWork:
    """Appends that are committed together or not at all. Made by `MemoryEventStore.transaction`."""

    def __init__(self, store: MemoryEventStore, until: float) -> None:
        self.until = until  #: when the patience of the store is over
        self.inserts: list[_Insert] = []
        self.appended: list[Appended] = []  #: the confirm of each append, after the commit
        self._store = store
        self._over = False

    @property
    def first(self) -> int | None:
        """The lowest position that it holds."""
        return self.inserts[0].positions[0] if self.inserts else None

    def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> None:
        """Insert the events: they have positions from now on, and versions from the commit on.

        Raises ValueError and TypeError for what no stream can take, RuntimeError after the block.
        """
        if self._over:
            raise RuntimeError("this transaction is over: append in a new one")
        check_batch(stream, events, expected)
        positions = self._store.reserve(len(events))
        copies = tuple(event.copy(key=stream) for event in events)
        self.inserts.append(_Insert(stream, copies, expected, positions))
        for event, position in zip(copies, positions, strict=True):
            record(Kind.SENT, self._store.name, event.id, label=event.type, key=stream, position=position)


class MemoryEventStore:
    """An event store that lives as long as its process. `strict` makes a repeated append an error."""

    def __init__(self, name: str = "events", *, strict: bool = False, patience: float = 60.0) -> None:
        self.name = values.name("the name of a store", name)
        self._strict = strict
        self._patience = values.duration("patience", patience, zero=False, infinite=True)
        self._streams: dict[str, list[Recorded]] = {}
        self._all: list[Recorded] = []  # what is committed, by position
        self._by_id: dict[str, Recorded] = {}
        self._open: list[UnitOfWork] = []
        self._last = 0  # the highest position that was given to anybody
        self._changed = Signal()
        record(Kind.OPENED, name, who="", role="channel", capacity=None)

    async def __aenter__(self) -> Self:
        """There is nothing to open: this is for whoever uses any store."""
        await anyio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_: object) -> None:
        """There is nothing to close."""

    # Appending

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """Append all the events, or none, if the stream is as `expected`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        appended = self.append_nowait(stream, events, expected=expected)
        # Between the commit and the confirm something can always happen to the writer.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return appended

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        """The same, in one step."""
        unit = UnitOfWork(self, math.inf)
        unit.append(stream, events, expected=expected)
        self._commit(unit)
        return unit.appended[0]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[UnitOfWork]:
        """Appends inside the block are committed at its end; an exception rolls them back.

        The expectations are judged at the commit, all of them before anything is written. Raises what
        `append` raises, and `RolledBack` when the block took longer than the patience of the store.
        """
        unit = UnitOfWork(self, anyio.current_time() + self._patience)
        self._open.append(unit)
        try:
            yield unit
        except BaseException:
            self._roll_back(unit)
            raise
        finally:
            unit._over = True
        self._lose_patience()
        if unit not in self._open:
            raise RolledBack(
                f"the transaction on {self.name} was open for {self._patience:g} s; nothing is kept"
            )
        self._open.remove(unit)
        self._commit(unit)

    def reserve(self, count: int) -> range:
        """Give the next positions away, for good."""
        self._last += count
        return range(self._last - count + 1, self._last + 1)

    def _commit(self, unit: UnitOfWork) -> None:
        """Judge every append of the transaction, then keep all of them."""
        staged: dict[str, Recorded] = {}  # by event id
        try:
            appended = [self._judge(insert, staged) for insert in unit.inserts]
        except WrongExpectedVersion as error:
            self._refuse(unit, str(error), expected=error.expected, actual=error.actual, stream=error.stream)
            raise
        for event in staged.values():
            self._streams.setdefault(event.stream, []).append(event)
            insort(self._all, event, key=_position)  # a late committer goes below others
            self._by_id[event.message.id] = event
            say_accepted(self.name, event.stream, event.message.id, event.version, event.position)
        for insert, answer in zip(unit.inserts, appended, strict=True):
            if answer.repeated:
                say_repeated(self.name, insert.events, insert.stream, answer)
        unit.appended = appended
        self._changed.notify_all()

    def _judge(self, insert: _Insert, staged: dict[str, Recorded]) -> Appended:
        stream, events, expected, positions = insert
        before = [event for event in staged.values() if event.stream == stream]
        actual = len(self._streams.get(stream, ())) + len(before)
        ids = [event.id for event in events]
        known = {i: kept for i in ids if (kept := staged.get(i) or self._by_id.get(i))}
        there = decide(stream, ids, expected, actual=actual, known=known, strict=self._strict)
        if there is not None:
            return there
        last = before[-1] if before else self._streams[stream][-1] if actual else None
        if last is not None and last.position > positions[0]:
            reason = "another transaction has appended to it meanwhile"
            raise WrongExpectedVersion(stream, expected, actual, reason)
        now = anyio.current_time()
        for version, (event, position) in enumerate(zip(events, positions, strict=True), actual + 1):
            staged[event.id] = Recorded(position, stream, version, event, now)
        return Appended(actual + len(events), positions[-1])

    def _refuse(self, unit: UnitOfWork, reason: str, **facts: Any) -> None:
        for insert in unit.inserts:
            for event, position in zip(insert.events, insert.positions, strict=True):
                record(Kind.REFUSED, self.name, event.id, reason=reason, position=position, **facts)

    # Reading

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        """The events of a stream whose versions are above `after`. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, 1 if limit is None else limit, stream)
        return [_copied(event) for event in self._streams.get(stream, [])[after:][:limit]]

    async def read_all(self, *, after: int = 0, limit: int = 100) -> list[Recorded]:
        """The events above the position `after`, up to the horizon. See `EventStore`."""
        await anyio.lowlevel.checkpoint()
        check_reading(after, limit)
        return [_copied(event) for event in self._above(after, self.committed_up_to)[:limit]]

    @property
    def committed_up_to(self) -> int:
        """The horizon: one below the lowest position of an open transaction, or the last position."""
        self._lose_patience()
        held = [unit.first for unit in self._open if unit.first is not None]
        return min(held) - 1 if held else self._last

    async def wait(self, *, after: int) -> None:
        """Wait until `read_all(after=after)` finds something."""
        await anyio.lowlevel.checkpoint()
        while not self._above(after, self.committed_up_to):
            with anyio.CancelScope(deadline=min([math.inf, *(unit.until for unit in self._open)])):
                await self._changed.wait()

    def _above(self, after: int, last: int) -> list[Recorded]:
        first = bisect_right(self._all, after, key=_position)
        return self._all[first : bisect_right(self._all, last, key=_position)]

    # Ending transactions

    def _roll_back(self, unit: UnitOfWork) -> None:
        if unit in self._open:
            self._open.remove(unit)
            self._refuse(unit, "rolled back")
            self._changed.notify_all()

    def _lose_patience(self) -> None:
        """Roll back what is open for too long; at that very instant too."""
        for unit in [unit for unit in self._open if unit.until <= anyio.current_time()]:
            self._roll_back(unit)


_position = attrgetter("position")


def _copied(event: Recorded) -> Recorded:
    return event._replace(message=event.message.copy())

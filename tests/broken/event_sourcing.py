"""Event sourcing gone wrong: each makes one mistake that is made in earnest. The tests catch all of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from eip_ref.event_sourcing import (
    Appended,
    EventStore,
    EventTypes,
    Expected,
    Loaded,
    MemoryEventStore,
    Projection,
    Projector,
    Recorded,
    Repository,
    Resequencer,
    View,
)
from eip_ref.message import Message
from eip_ref.storage import Store, Transaction

# Stores


class ChecksNoVersion(MemoryEventStore):
    """Appends whatever the writer expected: two who decided on the same state both win."""

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        return super().append_nowait(stream, events)


class AppendsOneByOne(MemoryEventStore):
    """Writes the events of a batch one after the other: what is refused or crashes is half there."""

    async def append(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        for event in events:
            appended = await super().append(stream, [event], expected=expected)
            expected = Expected.ANY
        return appended


class AppendsAgain(MemoryEventStore):
    """Knows no event ids: a retry after a lost confirm appends everything twice."""

    def append_nowait(
        self, stream: str, events: Sequence[Message], *, expected: int | Expected = Expected.ANY
    ) -> Appended:
        number = self.committed_up_to
        renamed = [event.copy(id=f"{event.id}#{number + n}") for n, event in enumerate(events)]
        return super().append_nowait(stream, renamed, expected=expected)


class HandsOutItsEvents(MemoryEventStore):
    """Mutable events: readers get the stored objects themselves, and change history with them."""

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        await anyio.lowlevel.checkpoint()
        return self._streams.get(stream, [])[after:]


class SortsByWallClock(MemoryEventStore):
    """Orders a stream by when its writers say that the events were created, and their clocks differ."""

    async def read(self, stream: str, *, after: int = 0, limit: int | None = None) -> list[Recorded]:
        found = sorted(await super().read(stream), key=lambda event: event.message.created)
        return found[after:]


class ReadsPastOpenTransactions(MemoryEventStore):
    """Takes the highest position that it can see for the horizon: late committers are skipped (E12)."""

    @property
    def committed_up_to(self) -> int:
        self._lose_patience()
        return max((event.position for event in self._all), default=0)


# States


class TrustsSnapshots(Repository[Any]):
    """Takes the fields of any snapshot, whatever the version of its schema."""

    async def load(self, stream: str) -> Loaded[Any]:
        snapshot = self._snapshots.get(stream) if self._snapshots else None
        if snapshot is None:
            return await super().load(stream)
        known = {name: snapshot.state.body.get(name) for name in vars(self._fold.initial)}
        tail = await self._store.read(stream, after=snapshot.version)
        events = [self._types.decode(event.message) for event in tail]
        state = self._fold(events, type(self._fold.initial)(**known))
        return Loaded(state, snapshot.version + len(tail))


class StoresClassNames(EventTypes):
    """Writes the name of the class into the event: after a renaming, history cannot be read."""

    def register(self, name: str, version: int = 1, **more: Any) -> Any:
        def decorate(cls: type) -> type:
            decorated: type = super(StoresClassNames, self).register(cls.__name__, version, **more)(cls)
            return decorated

        return decorate


class MigratesHistory(EventTypes):
    """Upcasts stored events in place: what was once true cannot be seen any more."""

    def upcast(self, message: Message) -> Message:
        upcast = super().upcast(message)
        message.body.clear()
        message.body.update(upcast.body)
        return upcast


# Projections


class CommitsPositionFirst(Projector):
    """Notes the position, and then changes the view: a crash between the two loses the event."""

    async def catch_up(self, events: EventStore) -> int:
        for event in await self._reader(events).read():
            with self.views.transaction() as transaction:
                View(transaction, self.name).track(event.position)
            await anyio.lowlevel.checkpoint()
            with self.views.transaction() as transaction:
                self.projection.project(View(transaction, self.name), event)
        return self.position


class CommitsPositionLast(Projector):
    """Changes the view, and then notes the position: a crash between the two repeats the event."""

    async def catch_up(self, events: EventStore) -> int:
        for event in await self._reader(events).read():
            with self.views.transaction() as transaction:
                self.projection.project(View(transaction, self.name), event)
            await anyio.lowlevel.checkpoint()
            with self.views.transaction() as transaction:
                View(transaction, self.name).track(event.position)
        return self.position


class TrustsWhatItRead(Projector):
    """Does not look at the position in the view's transaction: two projectors double each other's work."""

    def _take(self, transaction: Transaction, events: Sequence[Recorded], source: str) -> None:
        view = View(transaction, self.name)
        for event in events:
            self.projection.project(view, event)
        view.track(max(view.position, events[-1].position))


class ParksOnlyThePoison(Projector):
    """Goes on with the stream of a parked event, as if that had not been."""

    def _take_one(self, transaction: Transaction, view: View, event: Recorded, held: set[str]) -> Any:
        return super()._take_one(transaction, view, event, set())


class HandsOnWhatComes(Resequencer):
    """Looks for duplicates and not for gaps: what comes too early goes on too early."""

    def _hold_back(self, transaction: Transaction, message: Message, version: int, missing: int) -> None:
        self._release(transaction, message, version)


class HoldsBackInMemory(Resequencer):
    """Acks what it holds back and keeps it in a dictionary: a crash loses what nobody will send again."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.early: dict[str, Message] = {}

    def handle(self, message: Message) -> bool:
        new = super().handle(message)
        while ready := self.early.pop(f"{message.key} {self.version(str(message.key)) + 1}", None):
            super().handle(ready)
        return new

    def _hold_back(self, transaction: Transaction, message: Message, version: int, missing: int) -> None:
        self.early[f"{message.key} {version}"] = message


def mails_from_the_projection(send: Callable[[str], object]) -> Projection:
    """A projection whose handler sends an e-mail: each rebuild sends all of them again."""

    def mail(view: View, event: Recorded) -> None:
        send(event.message.id)
        view.put(event.stream, "mailed")

    return Projection("mails", {"OrderPaid": mail})


async def rebuilds_in_place(projector: Projector, events: EventStore) -> None:
    """Empties the live view and fills it again: meanwhile readers find it empty, or half full."""
    with projector.views.transaction() as transaction:
        View(transaction, projector.name).clear()
    await projector.catch_up(events)


async def swaps_too_early(projector: Projector, events: EventStore) -> None:
    """Makes the new view live before it shows what the old one did."""
    with projector.views.transaction() as transaction:
        transaction.put("generations", projector.projection.name, projector.projection.generation)
    await projector.catch_up(events)


Rebuild = Callable[[Projector, EventStore], Awaitable[None]]
Make = Callable[[Store, Projection], Projector]

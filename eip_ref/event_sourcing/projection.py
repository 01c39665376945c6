"""The projection: a read model that can be thrown away, since the events make it again.

A projection's position commits in the transaction of its view, so each event is in the view exactly
once, wherever the process stops: what was read and not committed is read again, and what was
committed is known by the position. Positions only grow, also when two processes run one projection.

A handler is a plain function of the view and an event: it has nothing to wait for, and no effect but
in the view. When one raises, the event is poison for this projection, and a policy says what to do.

A projector reads an event store, where the events are in order. From a channel they come in any
order, and perhaps twice: put a `Resequencer` before it, and let that hand them to `take`. Whoever acts
in the world on events is a `Reactor`: it is not replayed.

*Left out:* retrying a handler (a plain function fails again), and several workers per projection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from .. import values
from ..storage import Store, Transaction, despite_faults
from ..trace import Kind, acting, record, working
from .event_types import EventTypes
from .store import EventStore, Reader, Recorded
from .view import POSITIONS, View, generation_name, live_generation, swap

EventHandler = Callable[[Any, Recorded], object]  #: of the view and the event


class Poison(StrEnum):
    """The policy for an event at which the handler raises."""

    STOP = "stop"  #: raise `PoisonEvent`: the view stays at the event before
    PARK = "park"  #: set it aside, and the later ones of its stream; go on with the others
    SKIP = "skip"  #: pass over it for good


class PoisonEvent(Exception):
    """The projection stopped before this event; it goes on there when its handler is fixed."""

    def __init__(self, projector: str, event: Recorded, error: Exception) -> None:
        super().__init__(f"{projector} stopped before {event.message.id} at {event.position}: {error!r}")
        self.event = event
        self.error = error


class Retired(Exception):
    """A newer generation of the projection is live; this one has nothing more to do."""


@dataclass(frozen=True)
class Projection:
    """A read model: a plain function per event type, which brings the event into the view.

    Other types are passed over. Give it a new `generation` when a handler changes, and rebuild it. With
    `types`, handlers get the events in today's schema and under today's name; a handler under a former
    name raises ValueError. A `view_type` is a `View` that can do more.
    """

    name: str
    handlers: Mapping[str, EventHandler]
    generation: int = 1
    types: EventTypes | None = None
    view_type: Callable[[Transaction, str], View] = View

    def __post_init__(self) -> None:
        values.name("the name of a projection", self.name)
        values.count("generation", self.generation)
        values.must_not_be_async("view_type", self.view_type)
        for type_, handler in self.handlers.items():
            values.must_not_be_async(f"the handler of {type_}", handler)
            if self.types is not None and (today := self.types.today(type_)) != type_:
                raise ValueError(f"{type_!r} is called {today!r} today: name the handler so, it gets both")

    @property
    def view(self) -> str:
        """The name of its view, and of its reader in the trace."""
        return generation_name(self.name, self.generation)

    def project(self, view: View, event: Recorded) -> None:
        """Take the event into the view, or pass over its type. Raises what the handler does."""
        if self.types is not None:
            event = self.types.read(event)
        if (handler := self.handlers.get(event.message.type)) is not None:
            handler(view, event)


class Projector:
    """Keeps the view of a projection up to date, in the store `views`.

    It reads at most `batch` events at a time, and each batch is one transaction.
    """

    def __init__(
        self, views: Store, projection: Projection, *, poison: Poison | str = Poison.STOP, batch: int = 100
    ) -> None:
        self.views = views
        self.projection = projection
        self.name = projection.view
        self._poison = Poison(poison)
        self._batch = values.count("batch", batch)
        self._committed = 0  # what this projector has seen in the view

    @property
    def position(self) -> int:
        """All events up to here are in the view, or passed over on purpose."""
        with self.views.reading() as transaction:
            return View(transaction, self.name).position

    def lag(self, events: EventStore) -> int:
        """The number of positions that the view is behind what can be read."""
        return events.committed_up_to - self.position

    # From an event store

    async def catch_up(self, events: EventStore) -> int:
        """Take in all that is committed now; returns the position. Raises `PoisonEvent` and `Retired`."""
        reader, target = self._reader(events), events.committed_up_to
        while reader.position < target and (batch := await reader.read()):
            await self._take_in(batch, events.name)
        return self.position

    async def run(self, events: EventStore) -> None:
        """Take in all that comes, until a newer generation is live. Raises `PoisonEvent`.

        A fault of the disk on which the views are is noted, and it goes on later.
        """
        try:
            async for batch in await despite_faults(partial(self._begin, events), self.name):
                await despite_faults(partial(self._take_in, batch, events.name), self.name)
        except Retired:
            return

    async def _begin(self, events: EventStore) -> Reader:
        with self.views.reading() as transaction:
            self._must_not_be_retired(transaction)
            return self._reader(events)

    def _reader(self, events: EventStore) -> Reader:
        self._committed = self.position
        return Reader(events, self.name, after=self._committed, limit=self._batch)

    async def _take_in(self, batch: Sequence[Recorded], source: str) -> None:
        self._stop_if_poisoned(await self.views.run(partial(self._take, events=batch, source=source)))

    # From anywhere, in order of position

    def take(self, events: Sequence[Recorded], *, source: str = "") -> None:
        """Take these events into the view, in a transaction, or as a part of one of the caller's.

        Those up to the position of the view are known, and change nothing. Raises `PoisonEvent`, after
        the events before it are in the view; `Retired`; RuntimeError when the view has been dropped.
        """
        with self.views.transaction() as transaction:
            poison = self._take(transaction, events, source)
        self._stop_if_poisoned(poison)

    def _take(self, transaction: Transaction, events: Sequence[Recorded], source: str) -> PoisonEvent | None:
        """Put events and position into the view together; and the poison before which it stopped."""
        self._must_not_be_retired(transaction)
        view = self.projection.view_type(transaction, self.name)
        was = now = view.position
        if was < self._committed:
            raise RuntimeError(f"the view {self.name} was dropped while its projector ran: run it again")
        held = {parked.event.stream for parked in view.parked}
        stopped = None
        for event in events:
            if event.position <= was:
                transaction.after_commit(partial(self._say, Kind.DUPLICATE, event))
                continue
            stopped = self._take_one(transaction, view, event, held)
            if stopped is not None:
                break
            now = event.position
        view.track(now)
        transaction.after_commit(partial(self._has_committed, was, now, source))
        return stopped

    def _take_one(
        self, transaction: Transaction, view: View, event: Recorded, held: set[str]
    ) -> PoisonEvent | None:
        """Project the event, or set it aside; the poison at which the projection has to stop."""
        if event.stream in held:
            view.park(event, "an earlier event of its stream is parked")
            return None
        try:
            self._project(transaction, view, event)
        except PoisonEvent as poison:
            if self._poison is Poison.STOP:
                return poison
            reason = values.shown(poison.error)
            transaction.after_commit(partial(self._say, Kind.FAILED, event, error=reason))
            told = partial(self._say, Kind.DROPPED, event, reason=reason)
            if self._poison is Poison.PARK:
                view.park(event, reason)
                held.add(event.stream)
                told = partial(self._say, Kind.DEAD, event, reason=reason, to=f"{self.name}.parked")
            transaction.after_commit(told)
        return None

    def _project(self, transaction: Transaction, view: View, event: Recorded) -> None:
        """Project the event, all of it or nothing. Raises `PoisonEvent`."""
        try:
            with self.views.transaction():
                self.projection.project(view, event)
                transaction.after_commit(partial(self._say_effect, event))
        except Exception as error:  # whatever it is, this event is poison here
            raise PoisonEvent(self.name, event, error) from error

    def _stop_if_poisoned(self, poison: PoisonEvent | None) -> None:
        if poison is not None:
            reason = values.shown(poison.error)
            self._say(Kind.FAILED, poison.event, error=reason)
            record(Kind.STATE, self.name, who=self.name, was="running", now="stopped", reason=reason)
            raise poison

    # What was parked

    async def retry_parked(self) -> int:
        """Try parked events again, those of a stream in their order; returns how many are in the view now.

        The first that fails again stays, and with it the later ones of its stream.
        """
        with self.views.reading() as transaction:
            parked = View(transaction, self.name).parked
        done, failed = 0, set[str]()
        for event, _ in parked:
            await anyio.lowlevel.checkpoint()
            if event.stream not in failed:
                try:
                    done += await self.views.run(partial(self._retry, event))
                except PoisonEvent as poison:
                    self._say(Kind.FAILED, event, error=repr(poison.error))
                    failed.add(event.stream)
        return done

    def _retry(self, event: Recorded, transaction: Transaction) -> bool:
        """True when the event is in the view now; false when somebody else was quicker."""
        view = self.projection.view_type(transaction, self.name)
        if not view.unpark(event.position):
            return False
        replayed = partial(record, Kind.REPLAYED, f"{self.name}.parked", event.message.id)
        transaction.after_commit(partial(replayed, who=self.name, to=self.name))
        self._project(transaction, view, event)
        return True

    # Generations, and what is told

    def _must_not_be_retired(self, transaction: Transaction) -> None:
        live = live_generation(transaction, self.projection.name)
        if live > self.projection.generation:
            raise Retired(f"{self.name} was replaced by generation {live}")

    def _say(self, kind: Kind, event: Recorded, **facts: Any) -> None:
        record(kind, self.name, event.message.id, who=self.name, position=event.position, **facts)

    def _say_effect(self, event: Recorded) -> None:
        lag = anyio.current_time() - event.message.created
        facts = {"view": self.projection.name, "stream": event.stream, "version": event.version, "lag": lag}
        self._say(Kind.EFFECT, event, effect="projected", **facts)

    def _has_committed(self, was: int, now: int, source: str) -> None:
        self._committed = now
        if now > was:
            facts: dict[str, Any] = {"was": was, "now": now, "reason": "checkpoint", "store": source}
            record(Kind.STATE, self.name, who=self.name, **facts)


async def rebuild(projector: Projector, events: EventStore) -> None:
    """Make the view of a new generation beside the live one, catch up, and swap: then it is live.

    The live view stays up to date and readable meanwhile, and no reader is sent back in time: the swap
    happens only where the new view shows all that the old one does. Then all older views are dropped. After
    a crash, call it again: it goes on where it was. What `catch_up` raises comes out, and RuntimeError for
    a live view that shows more than there is; then the old view is still live.
    """
    name, generation = projector.projection.name, projector.projection.generation
    position = await projector.catch_up(events)
    while not await projector.views.run(lambda transaction: swap(transaction, name, generation)):
        was, position = position, await projector.catch_up(events)
        if position == was:
            words = f"the live view of {name} shows later events than position {position}, where"
            raise RuntimeError(f"{words} {events.name} ends: it was made of another history")
    # Also when nothing was swapped: a crash after the swap may have left the old view, with all it says.
    await projector.views.run(partial(_drop_older, name, generation))
    await projector.views.erase()


def _drop_older(name: str, generation: int, transaction: Transaction) -> None:
    for older in range(1, generation):
        View(transaction, generation_name(name, older)).clear()


# Effects in the world


class Reactor:
    """Acts in the world, such as by an e-mail: `handlers[type](event)` for each event, at least once.

    It is no projection, because those are replayed and it must not be: it begins at the present of its
    first start, and has no rebuild. The world cannot join a transaction, so a crash between the effect
    and the note of it repeats the effect: give `event.message.id` to whoever performs it as the
    idempotency key.

    With `history=True` it begins at the oldest event. Its position is kept in the store `positions`, under
    its name. A handler may be `async` or a plain function.
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
        begin = partial(self._positions.run, partial(self._start, events))
        start = await despite_faults(begin, self.name)
        async for batch in Reader(events, self.name, after=start, limit=1):
            for event in batch:
                if (handler := self._handlers.get(event.message.type)) is not None:
                    with acting(self.name), working(self.name, event.message.id, position=event.position):
                        await values.finished(handler(event))
                note = partial(self._note, event.position, events.name)
                await despite_faults(partial(self._positions.run, note), self.name)

    def _start(self, events: EventStore, transaction: Transaction) -> int:
        position: int | None = transaction.get(POSITIONS, self.name)
        if position is None:
            position = 0 if self._history else events.committed_up_to
            transaction.put(POSITIONS, self.name, position)
        return position

    def _note(self, position: int, source: str, transaction: Transaction) -> None:
        view = View(transaction, self.name)
        if position <= (was := view.position):
            return  # another process of this name was quicker
        view.track(position)
        facts: dict[str, Any] = {"was": was, "now": position, "reason": "checkpoint", "store": source}
        transaction.after_commit(partial(record, Kind.STATE, self.name, who=self.name, **facts))

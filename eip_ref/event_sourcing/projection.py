"""Projections: read models that can be thrown away, since the events make them again.

A projection's position commits in the transaction of its view, so each event is in the view exactly
once, wherever the process stops: what was read and not committed is read again, and what was
committed is known by the position. Positions only grow, also when two processes run one projection.

A handler is a plain function of the view and an event: it has nothing to wait for, and no effect but
in the view. When one raises, the event is poison for this projection, and a policy says what to do.
A parked event holds back the later ones of its stream and no other.

*Left out:* retrying a handler (a plain function fails again), and several workers per projection.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NoReturn

from ..trace import Kind, record
from .event_types import EventTypes
from .protocol import EventStore, Recorded
from .reader import Reader
from .views import Parked, View, Views, generation_name

__all__ = ["Handler", "Poison", "PoisonEvent", "Projection", "Projector", "Retired", "rebuild"]

Handler = Callable[[View, Recorded], object]


class Poison(StrEnum):
    """What a projector does with an event at which the handler raises."""

    STOP = "stop"  #: raise `PoisonEvent`: the view stays at the event before
    PARK = "park"  #: set it aside, and the later ones of its stream; go on with the others
    SKIP = "skip"  #: pass over it for good


class PoisonEvent(Exception):
    """The projection stopped before this event; it goes on there when its handler is mended."""

    def __init__(self, projector: str, event: Recorded, error: Exception) -> None:
        super().__init__(f"{projector} stopped before {event.message.id} at {event.position}: {error!r}")
        self.event = event
        self.error = error


class Retired(Exception):
    """A newer generation of the projection is live; this one has nothing more to do."""


@dataclass(frozen=True)
class Projection:
    """What a read model is made of: a handler per event type; all others are passed over.

    Give it a new `generation` when a handler changes, and rebuild it. With `types`, handlers get the
    events in today's schema.
    """

    name: str
    handlers: Mapping[str, Handler]
    generation: int = 1
    types: EventTypes | None = None

    def __post_init__(self) -> None:
        if self.generation < 1:
            raise ValueError(f"generations count from 1; {self.generation} is none")

    @property
    def view(self) -> str:
        """The name of its view, and of its reader in the trace."""
        return generation_name(self.name, self.generation)

    def project(self, view: View, event: Recorded) -> bool:
        """Take the event into the view; False when it is none of its types. Raises what the handler does."""
        types = self.types
        event = types.read(event) if types and types.knows(event.message.type) else event
        handler = self.handlers.get(event.message.type)
        if handler is not None:
            handler(view, event)
        return handler is not None


class Projector:
    """Keeps the view of a projection up to date, at most `batch` events per transaction.

    `poll` is that of `Reader`.
    """

    def __init__(
        self,
        store: EventStore,
        views: Views,
        projection: Projection,
        *,
        poison: Poison | str = Poison.STOP,
        batch: int = 100,
        poll: float = math.inf,
    ) -> None:
        self.store = store
        self.views = views
        self.projection = projection
        self.name = projection.view
        self._poison = Poison(poison)
        self._batch = batch
        self._poll = poll
        self._committed = 0  # what this projector has seen in the view

    @property
    def position(self) -> int:
        """Everything up to here is in the view, or passed over on purpose."""
        return self.views.view(self.name).position

    @property
    def lag(self) -> int:
        """How many positions the view is behind what can be read."""
        return self.store.settled - self.position

    async def catch_up(self) -> int:
        """Take in all that is settled now; returns the position. Raises `PoisonEvent` and `Retired`."""
        reader, target = self._reader(), self.store.settled
        while reader.position < target and (batch := await reader.read()):
            self._take_in(batch)
        return self.position

    async def run(self) -> None:
        """Take in all that comes, until a newer generation is live. Raises `PoisonEvent`."""
        try:
            self._must_not_be_retired()
            async for batch in self._reader():
                self._take_in(batch)
        except Retired:
            return

    def _reader(self) -> Reader:
        self._committed = self.position
        return Reader(self.store, self.name, after=self._committed, limit=self._batch, poll=self._poll)

    def _take_in(self, batch: Sequence[Recorded]) -> None:
        while batch:
            try:
                self._commit(batch)
                return
            except PoisonEvent as poison:
                place = batch.index(poison.event)
                if place:
                    self._commit(batch[:place])
                self._set_aside(poison)
                batch = batch[place + 1 :]

    def _commit(self, batch: Sequence[Recorded]) -> None:
        """Put events and position into the view together, and only then say so."""
        taken: list[Recorded] = []
        with self.views.transaction(self.name) as view:
            self._must_not_be_retired()
            was = self._must_not_have_moved_back(view)
            held = {event.stream for event in view.parked}
            for event in batch:
                if event.position > was and self._project(view, event, held):
                    taken.append(event)
            view.track(max(was, batch[-1].position))
        self._committed = batch[-1].position
        for event in taken:
            self._say(Kind.EFFECT, event, effect="projected", stream=event.stream)
        for event in batch:
            if event.position <= was:
                self._say(Kind.DUPLICATE, event)
        self._say_checkpoint(was, batch[-1].position)

    def _project(self, view: View, event: Recorded, held: set[str]) -> bool:
        if event.stream in held:
            view.park(Parked(event.position, event.stream, "an earlier event of its stream is parked"))
            return False
        try:
            return self.projection.project(view, event)
        except Exception as error:  # whatever it is, this event is poison here
            raise PoisonEvent(self.name, event, error) from error

    # Poison

    def _set_aside(self, poison: PoisonEvent) -> None:
        event, reason = poison.event, repr(poison.error)
        self._say(Kind.FAILED, event, error=reason)
        if self._poison is Poison.STOP:
            self._stop(poison)
        with self.views.transaction(self.name) as view:
            was = view.position
            if self._poison is Poison.PARK:
                view.park(Parked(event.position, event.stream, reason))
            view.track(max(was, event.position))
        if self._poison is Poison.PARK:
            self._say(Kind.DEAD, event, reason=reason, to=f"{self.name}.parked")
        else:
            self._say(Kind.DROPPED, event, reason=reason)
        self._say_checkpoint(was, event.position)

    def _stop(self, poison: PoisonEvent) -> NoReturn:
        record(Kind.STATE, self.name, who=self.name, was="running", now="stopped", reason=repr(poison.error))
        raise poison

    async def retry_parked(self) -> int:
        """Try parked events again, those of a stream in their order; returns how many are in the view now.

        The first that fails again stays, and with it the later ones of its stream.
        """
        done, failed = 0, set[str]()
        while waiting := [event for event in self.views.view(self.name).parked if event.stream not in failed]:
            (event,) = await self.store.read_all(after=waiting[0].position - 1, limit=1)
            if self._retry(event):
                done += 1
            else:
                failed.add(event.stream)
        return done

    def _retry(self, event: Recorded) -> bool:
        try:
            with self.views.transaction(self.name) as view:
                if all(other.position != event.position for other in view.parked):
                    return False  # somebody else was quicker
                self._project(view, event, set())
                view.unpark(event.position)
        except PoisonEvent as poison:
            self._say(Kind.FAILED, event, error=repr(poison.error))
            return False
        record(Kind.REPLAYED, f"{self.name}.parked", event.message.id, who=self.name, to=self.name)
        self._say(Kind.EFFECT, event, effect="projected", stream=event.stream)
        return True

    # Generations, and what is said

    def _must_not_be_retired(self) -> None:
        live = self.views.live(self.projection.name)
        if live > self.projection.generation:
            raise Retired(f"{self.name} was replaced by generation {live}")

    def _must_not_have_moved_back(self, view: View) -> int:
        if view.position < self._committed:
            raise RuntimeError(f"the view {self.name} was dropped while its projector ran: run it again")
        return view.position

    def _say(self, kind: Kind, event: Recorded, **facts: Any) -> None:
        record(kind, self.name, event.message.id, who=self.name, position=event.position, **facts)

    def _say_checkpoint(self, was: int, now: int) -> None:
        if now > was:
            facts: dict[str, Any] = {"was": was, "now": now, "reason": "checkpoint", "store": self.store.name}
            record(Kind.STATE, self.name, who=self.name, **facts)


async def rebuild(projector: Projector, *, keep: bool = False) -> None:
    """Make the view of a new generation beside the live one, catch up, and swap: then it is live.

    The live view stays up to date and readable meanwhile, and no reader is sent back in time: the swap
    happens only where the new view shows all that the old one does. All older views are dropped, unless
    `keep`. After a crash, call it again: it goes on where it was. What `catch_up` raises comes out, and
    then the old view is still live.
    """
    name, generation = projector.projection.name, projector.projection.generation
    await projector.catch_up()
    was = projector.views.live(name)
    while not projector.views.swap(name, generation):
        await projector.catch_up()
    if was != generation:
        old = generation_name(name, was)
        record(Kind.STATE, name, who=projector.name, was=old, now=projector.name, reason="swapped")
    # Also when nothing was swapped: a crash after the swap may have left the old view, with all it says.
    for older in () if keep else range(1, generation):
        projector.views.drop(generation_name(name, older))

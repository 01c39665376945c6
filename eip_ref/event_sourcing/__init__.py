"""Event sourcing: what has happened is kept, in order, for ever; every state is made from it again.

The promise: a batch of events is appended whole or not at all, only where the stream is as its writer
expected, and once however often it is repeated. What is stored never changes. A state is a pure fold
of its stream, a view is a fold of all of them, and both can be thrown away. Who reads all streams
skips nothing, and each event is in a view exactly once, wherever a process stops.

    async def told_and_kept() -> None:
        channel, store, views = PublishSubscribeChannel("news"), MemoryEventStore(), MemoryStore()
        placed = Message({"order": 17, "euros": 40}, "OrderPlaced")
        paid = Message({"order": 17}, "OrderPaid")
        for expected, fact in enumerate([placed, paid]):
            await channel.publish("orders", fact)
            await store.append("order-17", [fact], expected=expected)

        late = channel.subscribe("orders", name="late", when_full="drop oldest")
        print("told:", len(late), "of 2 facts reach a late subscriber")

        def count(view: View, event: Recorded) -> None:
            view.put(event.message.type, view.get(event.message.type, 0) + 1)

        dashboard = Projection("dashboard", {"OrderPlaced": count, "OrderPaid": count})
        await Projector(views, dashboard).catch_up(store)
        with query(views, "dashboard") as view:
            print("kept:", view.position, "of 2 facts reach a late view,", view.items())

        print("repeated:", await store.append("order-17", [paid], expected=1))
        try:
            await store.append("order-17", [Message(None, "OrderCancelled")], expected=1)
        except WrongExpectedVersion as error:
            print("refused:", error)

Read `store.py` and `append_rules.py` first, then `memory.py` and `sqlite.py`, the two stores. States:
`repository.py`, `event_types.py`. Views, and effects in the world: `view.py`, `projection.py`, and
`resequencer.py` for events that come from a channel. Forgetting a person: `shredding.py`.

Views, snapshots, keys and the positions of reactors are documents in a `storage.Store`.

In the trace, `where` is the store for *sent*, *accepted* (data: stream, version, position), *refused*
(expected, actual) and *duplicate*, and for *delivered* to a reader (`who`; position, reader). A reader
is *opened* with the position that it begins after. At a projection's commit there is one *effect* per
event (position, stream, version, lag) and one *state* (was, now, reason "checkpoint"); poison is
*failed*, then *dead*, *dropped* or *state* "stopped". A swap is a *state* of the projection's name,
reason "swapped".

*Left out:* deleting and archiving streams, events over several streams under one expectation, and
stores that run on several machines.
"""

from .append_rules import check_batch, check_reading, decide
from .event_types import EventTypes, FutureVersion, Newer, NoUpcaster, UnknownType
from .memory import MemoryEventStore, RolledBack, UnitOfWork
from .projection import EventHandler, Poison, PoisonEvent, Projection, Projector, Reactor, Retired, rebuild
from .repository import Fold, Loaded, Repository, Snapshots
from .resequencer import STREAM_VERSION, Resequencer, ResequencerFull, stream_version
from .shredding import FORGOTTEN, Forgotten, Shredder, Tampered
from .sqlite import SQLiteEventStore
from .store import Appended, EventStore, Expected, IdTaken, Reader, Recorded, WrongExpectedVersion
from .view import Parked, View, generation_name, live_generation, query, swap

__all__ = [
    "FORGOTTEN",
    "STREAM_VERSION",
    "Appended",
    "EventHandler",
    "EventStore",
    "EventTypes",
    "Expected",
    "Fold",
    "Forgotten",
    "FutureVersion",
    "IdTaken",
    "Loaded",
    "MemoryEventStore",
    "Newer",
    "NoUpcaster",
    "Parked",
    "Poison",
    "PoisonEvent",
    "Projection",
    "Projector",
    "Reactor",
    "Reader",
    "Recorded",
    "Repository",
    "Resequencer",
    "ResequencerFull",
    "Retired",
    "RolledBack",
    "SQLiteEventStore",
    "Shredder",
    "Snapshots",
    "Tampered",
    "UnitOfWork",
    "UnknownType",
    "View",
    "WrongExpectedVersion",
    "check_batch",
    "check_reading",
    "decide",
    "generation_name",
    "live_generation",
    "query",
    "rebuild",
    "stream_version",
    "swap",
]

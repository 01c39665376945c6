"""Tills that write in transactions, and a view that is rebuilt while they sell, of lesson 07b."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio

from ...event_sourcing import (
    EventStore,
    MemoryEventStore,
    Projection,
    Projector,
    Recorded,
    RolledBack,
    View,
    query,
    rebuild,
)
from ...lab import Crash, Faults, Participant, Uniform, simulate
from ...lab.figures import Figure, lines
from ...message import Message
from ...storage import MemoryStore, Store
from ...trace import Kind, Trace, acting, record

__all__ = [
    "ReadsWhatItSees",
    "delays",
    "four_tills",
    "looks",
    "looks_in_words",
    "one_death_each",
    "picture_of_looks",
    "rebuilt_while_open",
]


class ReadsWhatItSees(MemoryEventStore):
    """Gives a reader all that it can see. The reference gives only what is below every open transaction."""

    @property
    def committed_up_to(self) -> int:
        self._lose_patience()
        return max((event.position for event in self._all), default=0)


async def four_tills(store: MemoryEventStore, open_for: float = 0.5, forgetful: float = 0.0) -> None:
    """Let four tills sell 25 times each, in transactions that stay open `open_for` seconds on average.

    With `forgetful` seconds, one sale of till 4 keeps its transaction open for so long.
    """
    chance = Faults()

    async def till(name: str) -> None:
        for number in range(1, 26):
            await chance.sleep(name, Uniform(0.1, 0.5))
            seconds = chance.random(f"{name} open").expovariate(1 / open_for)
            if forgetful and (name, number) == ("till 4", 5):
                seconds = forgetful
            with suppress(RolledBack):
                async with store.transaction() as sale:
                    tea = Message({"euros": 10}, "TeaSold", id=f"{name}, {number}")
                    sale.append(f"card {name[-1]}", [tea])
                    await anyio.sleep(seconds)

    async with anyio.create_task_group() as group:
        for number in range(1, 5):
            with acting(f"till {number}"):
                group.start_soon(till, f"till {number}")


def delays(trace: Trace) -> float:
    """The mean seconds from the commit of a sale until the reader got it."""
    kept = {event.message: event.at for event in trace.filter(Kind.ACCEPTED)}
    waits = [event.at - kept[event.message] for event in trace.filter(Kind.DELIVERED)]
    return sum(waits) / len(waits)


# One death, anywhere


def one_death_each(follow: Callable[[EventStore, Store], Awaitable[object]]) -> list[int]:
    """The sum in a view of five sales for 10, for a process that dies once, at each of its steps."""
    return [simulate(_a_death, follow, step).result for step in range(1, _steps(follow) + 1)]


def _steps(follow: Callable[[EventStore, Store], Awaitable[object]]) -> int:
    return int(simulate(_a_death, follow, 10_000, True).result)


async def _a_death(
    follow: Callable[[EventStore, Store], Awaitable[object]], step: int, count: bool = False
) -> int:
    store, views = MemoryEventStore("cards"), MemoryStore()
    for number in range(5):
        await store.append("card 7", [Message({"euros": 10}, "TeaSold", id=f"sale {number}")])
    process = Participant("dashboard", follow, (store, views), (Crash(step=step, restart_after=1),))
    await process.run()
    with views.reading() as transaction:
        return process.steps if count else int(View(transaction, "sold.1").get("euros", 0))


# A rebuild beside the live view


def sold(view: View, event: Recorded) -> None:
    view.put("euros", view.get("euros", 0) + event.message.body["euros"])


async def in_place(projector: Projector, store: EventStore) -> None:
    """Empty the live view and fill it again."""
    old = Projector(projector.views, Projection("sold", {"TeaSold": sold}), batch=1)
    with projector.views.transaction() as transaction:
        View(transaction, old.name).clear()
    await _slowly(old, store)


async def swapped_early(projector: Projector, store: EventStore) -> None:
    """Make the new view live first, and fill it then."""
    with projector.views.transaction() as transaction:
        transaction.put("generations", "sold", 2)
    await _slowly(projector, store)


async def beside(projector: Projector, store: EventStore) -> None:
    """Fill the new view beside the live one, and swap when it shows as much."""
    await _slowly(projector, store)
    await rebuild(projector, store)


async def _slowly(projector: Projector, store: EventStore) -> None:
    """Catch up, a twentieth of a second for each event."""
    position = projector.position
    while batch := await store.read_all(after=position, limit=1):
        projector.take(batch)
        position = batch[-1].position
        await anyio.sleep(0.05)


WAYS = {"in place": in_place, "swapped early": swapped_early, "beside": beside}


async def rebuilt_while_open(way: str) -> None:
    """Rebuild a view of 20 sales while the tills go on, and look at it every 0.1 s.

    Each look writes down what the view shows and what was sold until then.
    """
    store, views, sales = MemoryEventStore("cards"), MemoryStore(), 0
    projection = partial(Projection, "sold", {"TeaSold": sold})
    live, new = Projector(views, projection()), Projector(views, projection(generation=2))

    async def sell() -> None:
        nonlocal sales
        sales += 1
        await store.append("card 7", [Message({"euros": 10}, "TeaSold")])

    async def run(projector: Projector) -> None:
        async with anyio.create_task_group() as running:
            running.start_soon(projector.run, store)
            await over.wait()
            running.cancel_scope.cancel()

    async def rebuilding() -> None:
        await anyio.sleep(1)
        await WAYS[way](new, store)
        await run(live if way == "in place" else new)

    for _ in range(20):
        await sell()
    await live.catch_up(store)
    over = anyio.Event()
    async with anyio.create_task_group() as group:
        if way != "in place":
            group.start_soon(run, live)
        group.start_soon(rebuilding)
        for number in range(40):
            with query(views, "sold") as view:
                shown = view.get("euros", 0)
            facts = {"shown": shown, "sold": 10 * sales}
            record(Kind.NOTE, "dashboard", who="", text=f"{shown} of {10 * sales}", **facts)
            await anyio.sleep(0.1)
            if number % 5 == 4:
                await sell()
        over.set()


def looks(trace: Trace) -> list[tuple[float, int, int]]:
    """Each look: when, what the view showed, and what was sold."""
    notes = trace.filter(Kind.NOTE, where="dashboard")
    return [(note.at, note.data["shown"], note.data["sold"]) for note in notes]


def looks_in_words(trace: Trace) -> str:
    """The looks that saw less than the 200 euros which had been sold long ago."""
    shown = [euros for _, euros, _ in looks(trace)]
    few = sum(euros < 200 for euros in shown)
    return f"{few} of {len(shown)} looks saw less than 200, the lowest {min(shown)}, the last {shown[-1]}"


def picture_of_looks(traces: dict[str, Trace]) -> Figure:
    """Draw the sums that each way of rebuilding showed, over time."""
    series = {name: [(at, float(shown)) for at, shown, _ in looks(trace)] for name, trace in traces.items()}
    return lines(series, x="seconds", y="euros", title="What the dashboard shows during a rebuild")

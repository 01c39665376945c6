"""A minute of charges, and the dashboard that should show them, of lesson 08b.

Ann is charged 100 cents again and again. Billing has it in its books at once. A relay publishes, a line
carries, a projector brings it onto the dashboard. Each of them can be slow, away or wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from itertools import pairwise
from typing import Any

import anyio

from ...apps.shop_dashboard.services import DASHBOARD, billing
from ...cqrs import Command, ReadModel, Relay, stream_version
from ...lab import Exponential, Faults, simulate
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, lines
from ...lab.wording import plural
from ...message import Message
from ...message_queue import MessageQueue
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = [
    "BY_VERSION",
    "a_minute_of_charges",
    "at_the_end",
    "gauges",
    "on_the_wall",
    "the_dashboard_demo",
    "the_minute",
]

ADDS, NEWEST, BY_VERSION = "adds what comes", "skips what is late", "by version"
NO, IN_PLACE, BESIDE = "no", "in place", "beside"
CENTS, MINUTE, DRAINED = 100, 60.0, 110.0
REBUILD_AT, REPLAY = 30.0, 0.2  #: seconds; and for each event of the history
STREAM = "billing/ann"
SEED = 7


class Adds:
    """Adds whatever comes; with `newest` it passes over what is not newer than all before."""

    def __init__(self, newest: bool) -> None:
        self._newest = newest
        self._total = self._last = 0

    async def __call__(self, message: Message) -> None:
        version = stream_version(message)
        if not self._newest or version > self._last:
            self._total += message.body["cents"]
        self._last = max(self._last, version)

    def add(self, cents: int) -> None:
        self._total += cents

    @property
    def total(self) -> int:
        return self._total


class ByVersion:
    """The reference."""

    def __init__(self) -> None:
        self.model = ReadModel(MemoryStore(), "dashboard", DASHBOARD)

    async def __call__(self, message: Message) -> None:
        await self.model(message)

    @property
    def total(self) -> int:
        row = self.model.get("ann")
        return int(row["charged"]) if row else 0


async def a_minute_of_charges(
    every: float = 1.3,
    slow: float = 0.3,
    stopped_for: float = 0.0,
    duplicates: float = 0.0,
    reordering: float = 0.0,
    view: str = BY_VERSION,
    rebuild: str = NO,
    lost: int = 0,
    handler_writes: bool = False,
) -> None:
    """Charge Ann every so many seconds, on average, for a minute.

    The projector needs `slow` seconds for an event. The relay is stopped at 10 s for so long. Shares of the
    events come twice, or late. The charge number `lost` never comes. A rebuild begins at 30 s. With
    `handler_writes` the command handler adds the charge to the dashboard too.
    """
    chance, service = Faults(), billing(MemoryStore())
    shown: Adds | ByVersion = ByVersion() if view == BY_VERSION else Adds(view == NEWEST)
    log, made = list[Message](), list[float]()

    async def project() -> None:
        while True:
            lease = await events.receive()
            await anyio.sleep(slow)
            await shown(lease.message)
            await lease.ack()
            tell()

    def tell() -> None:
        record(Kind.STATE, "screen", was="", now="", cents=shown.total)

    async def publish(event: Message) -> None:
        log.append(event)
        if stream_version(event) != lost:
            await line.send(event)

    async def relay() -> None:
        relay = Relay(service.outbox, publish)
        async with anyio.create_task_group() as group:
            group.start_soon(relay.run)
            if stopped_for:
                await anyio.sleep(10)
                relay.stop()
                await anyio.sleep(stopped_for)
                group.start_soon(Relay(service.outbox, publish).run)

    async def history() -> AsyncIterator[Message]:
        for event in log:
            await anyio.sleep(REPLAY)
            yield event

    async def again() -> None:
        nonlocal shown
        await anyio.sleep_until(REBUILD_AT)
        if rebuild == BESIDE and isinstance(shown, ByVersion):
            await shown.model.rebuild(history())
        else:
            fresh: Any = ByVersion() if view == BY_VERSION else Adds(view == NEWEST)
            shown = fresh
            async for event in history():
                await fresh(event)
                tell()
        tell()

    async def wall() -> None:
        """Write down once a second what two gauges say."""
        while True:
            seen = shown.model.seen(STREAM) if isinstance(shown, ByVersion) else shown.total // CENTS
            gauge = shown.model.lag.last if isinstance(shown, ByVersion) else 0.0
            oldest = anyio.current_time() - made[seen] if seen < len(made) else 0.0
            record(Kind.NOTE, "wall", text="", lag=gauge, oldest=oldest, missing=max(0, len(made) - seen))
            await anyio.sleep(1)

    with anyio.move_on_after(DRAINED):
        async with MessageQueue("events", lease=600) as events, anyio.create_task_group() as group:
            line = chance.link(
                "line", events.put, duplication=duplicates, reordering=reordering, hold=3.0, latency=0.1
            )
            async with line:
                for task in (project, relay, wall, *((again,) if rebuild != NO else ())):
                    group.start_soon(task)
                while anyio.current_time() < MINUTE:
                    await service.handle(Command("Charge", "ann", {"cents": CENTS}))
                    made.append(anyio.current_time())
                    if handler_writes and isinstance(shown, Adds):
                        shown.add(CENTS)
                        tell()
                    record(Kind.STATE, "books", was="", now="", cents=CENTS * len(made))
                    await chance.sleep("street", Exponential(every))
                await anyio.sleep_forever()


def the_minute(**trouble: Any) -> Trace:
    """Play the minute with this trouble; always the same charges."""
    return simulate(partial(a_minute_of_charges, **trouble), seed=SEED)


# Reading


def _cents(trace: Trace, where: str) -> list[tuple[float, float]]:
    return [(event.at, event.data["cents"]) for event in trace.filter(Kind.STATE, where=where)]


def at_the_end(trace: Trace) -> tuple[int, int]:
    """The cents that the dashboard shows, and those in the books."""
    shown, books = _cents(trace, "screen"), _cents(trace, "books")
    return int(shown[-1][1]) if shown else 0, int(books[-1][1])


def on_the_wall(trace: Trace, at: float) -> dict[str, float]:
    """The gauges as they were at this second."""
    note = next(event for event in trace.filter(Kind.NOTE, where="wall") if event.at >= at)
    return {name: round(note.data[name], 1) for name in ("lag", "oldest", "missing")}


def gauges(trace: Trace) -> Figure:
    """Both gauges over time."""
    notes = trace.filter(Kind.NOTE, where="wall")
    names = {"lag of the last event": "lag", "age of the oldest missing": "oldest"}
    series = {name: [(note.at, note.data[fact]) for note in notes] for name, fact in names.items()}
    return lines(series, x="s", y="seconds", title="Two gauges for one dashboard")


def _in_words(trace: Trace) -> str:
    shown, books = at_the_end(trace)
    notes = trace.filter(Kind.NOTE, where="wall")
    most, oldest = (max(note.data[name] for note in notes) for name in ("missing", "oldest"))
    after = [cents for _, cents in _cents(trace, "screen")]
    back = sum(second < first for first, second in pairwise(after))
    return (
        f"At the end the dashboard shows {shown:,} of {books:,} cents. At worst "
        f"{plural(most, 'charge was', 'charges were')} missing, the oldest for {oldest:.1f} s. "
        f"Steps back in time: {back}."
    )


def _figure(trace: Trace) -> Figure:
    places = {"in the books": "books", "on the dashboard": "screen"}
    steps = {name: _stairs(_cents(trace, where), trace.end) for name, where in places.items()}
    return lines(steps, x="s", y="cents", title="What Ann owes")


def _stairs(points: list[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """Corners of a line that stays as it is until it changes, for as long as something happens."""
    stairs, value = [(0.0, 0.0)], 0.0
    for at, cents in points:
        stairs += [(at, value), (at, cents)]
        value = cents
    return [*stairs, (min(end, DRAINED - 20), value)]


def the_dashboard_demo() -> Demo:
    """The minute with its controls."""
    return demo(
        a_minute_of_charges,
        {
            "every": slider(0.3, 3.0, 0.1, value=1.3, label="A charge every (s, mean)"),
            "slow": slider(0.0, 3.0, 0.1, value=0.3, label="Seconds for an event"),
            "stopped_for": slider(0.0, 50.0, 5.0, value=0.0, label="Relay away from 10 s for"),
            "duplicates": slider(0.0, 0.5, 0.1, value=0.0, label="Share that comes twice"),
            "reordering": slider(0.0, 0.5, 0.1, value=0.0, label="Share that comes late"),
            "view": choice(BY_VERSION, ADDS, NEWEST, label="The view"),
            "rebuild": choice(NO, IN_PLACE, BESIDE, label="Rebuilt at 30 s"),
        },
        presets={
            "Quiet": {},
            "Slow projector": {"slow": 1.6},
            "Relay away": {"stopped_for": 30.0},
            "Duplicates": {"duplicates": 0.3, "view": ADDS},
            "Reordered": {"reordering": 0.3, "view": NEWEST},
            "Rebuilt in place": {"rebuild": IN_PLACE},
            "Rebuilt beside": {"rebuild": BESIDE, "duplicates": 0.3, "reordering": 0.3},
        },
        summary=_in_words,
        figures=[_figure],
        player=False,
        seed=SEED,
        title="The dashboard",
    )

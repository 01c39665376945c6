"""A sign-up that writes to two systems, and a death at each of its steps, of lesson 08a.

The users service has a database and a broker. Each write takes 0.1 s there and 0.1 s back, and happens
between the two; what is read is there at once. Database and broker outlive the service. Mail gets each event
and sends a welcome.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio

from ...lab import Crash, Participant, simulate
from ...lab.figures import Figure, outcomes
from ...trace import Kind, Trace, new_id, record

__all__ = [
    "Broker",
    "Database",
    "Deaths",
    "Design",
    "a_sign_up",
    "at_every_step",
    "ending",
    "every_death",
    "picture_of_deaths",
]

WAY = 0.1  #: seconds
QUIET = 12.0  #: seconds after which nothing happens any more
RIGHT, LOST, PHANTOM, DOUBLED = "right", "lost", "phantom", "doubled"
SIGNS = {RIGHT: "·", LOST: "✗", PHANTOM: "?", DOUBLED: "2"}

Row = Mapping[str, Any]
Write = tuple[str, str, Row | None]  #: the table, the key and the row; None removes it
Handler = Callable[["Database", "Broker", str], Coroutine[Any, Any, object]]
Relay = Callable[["Database", "Broker"], Coroutine[Any, Any, object]]


class Database:
    """The database of one service. All writes of one commit happen, or none of them."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}

    async def get(self, table: str, key: str) -> Row | None:
        """The row, or None."""
        return self._rows.get((table, key))

    async def scan(self, table: str) -> list[tuple[str, Row]]:
        """The keys and rows of a table, the oldest first."""
        return [(key, row) for (name, key), row in self._rows.items() if name == table]

    async def commit(self, writes: Iterable[Write]) -> None:
        """Write all of it at once."""
        writes = list(writes)
        id = new_id("w")
        record(Kind.SENT, "database", id, label=" + ".join(dict.fromkeys(table for table, _, _ in writes)))
        await anyio.sleep(WAY)
        for table, key, row in writes:
            if row is None:
                self._rows.pop((table, key), None)
            else:
                self._rows[table, key] = dict(row)
        record(Kind.ACCEPTED, "database", id)
        await anyio.sleep(WAY)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[list[Write]]:
        """A list of writes, to be committed when the block ends."""
        writes: list[Write] = []
        yield writes
        await self.commit(writes)


class Broker:
    """The broker, which may be down. Mail gets each event at once; with `knows_ids` it knows a repetition."""

    def __init__(self, knows_ids: bool = False, down: bool = False) -> None:
        self._knows_ids = knows_ids
        self._down = down
        self._seen: set[str] = set()
        self.mails = 0

    async def publish(self, event: Row) -> None:
        """Return when the broker has the event. Raises ConnectionError when it is down."""
        id = new_id("e")
        record(Kind.SENT, "broker", id, label=str(event.get("type") or event.get("id")))
        await anyio.sleep(WAY)
        if self._down:
            record(Kind.REFUSED, "broker", id, reason="down")
            raise ConnectionError("the broker is down")
        record(Kind.ACCEPTED, "broker", id, event=event.get("id"))
        self._mail(id, event)
        await anyio.sleep(WAY)

    def _mail(self, id: str, event: Row) -> None:
        record(Kind.DELIVERED, "broker", id, who="mail")
        if self._knows_ids and event.get("id") in self._seen:
            record(Kind.DUPLICATE, "mail", id, who="mail")
            return
        self._seen.add(event.get("id", id))
        self.mails += 1
        record(Kind.EFFECT, "mail", id, who="mail", effect="welcome")


class Design(NamedTuple):
    """A handler, and what stands beside it."""

    handle: Handler
    asks_again: bool = False  #: the browser repeats its question when it got no answer
    relay: Relay | None = None
    knows_ids: bool = False  #: mail does
    broker_down: bool = False


async def a_sign_up(design: Design, dies_at: int | None = None) -> dict[str, int]:
    """Sign Ann up once. The service dies at this step, and is back a second later.

    Returns how often Ann is in the database, how many mails she got, and the steps until all was done.
    """
    database, broker = Database(), Broker(design.knows_ids, design.broker_down)
    answered, lives = False, 0

    async def service() -> None:
        nonlocal lives
        lives += 1
        if design.relay is None:
            await ask(again=lives > 1)
            return
        async with anyio.create_task_group() as group:
            group.start_soon(design.relay, database, broker)
            await ask(again=lives > 1)
            while await database.scan("outbox"):
                await anyio.sleep(WAY)
            group.cancel_scope.cancel()

    async def ask(again: bool) -> None:
        nonlocal answered
        if not again or (design.asks_again and not answered):
            await design.handle(database, broker, "ann")
            answered = True
            record(Kind.NOTE, "users", text="201")

    crashes = () if dies_at is None else (Crash(step=dies_at, restart_after=1),)
    users = Participant("users", service, (), crashes)
    with anyio.move_on_after(QUIET):
        await users.run()
    rows = int(await database.get("users", "ann") is not None)
    return {"rows": rows, "mails": broker.mails, "steps": users.steps}


def ending(trace: Trace) -> str:
    """The outcome of a sign-up: right, lost, phantom or doubled."""
    rows, mails = trace.result["rows"], trace.result["mails"]
    if rows == mails:
        return RIGHT
    return LOST if not mails else PHANTOM if not rows else DOUBLED


class Deaths(NamedTuple):
    """The outcome for a death at each step."""

    endings: tuple[str, ...]

    def __str__(self) -> str:
        counts = Counter(self.endings)
        told = ", ".join(f"{name} {counts[name]}" for name in SIGNS)
        return f"{' '.join(SIGNS[each] for each in self.endings)}   {told}"

    def count(self, name: str) -> int:
        return self.endings.count(name)


def at_every_step(design: Design) -> Deaths:
    """Let the service die at each step of a sign-up, one run for each."""
    steps = simulate(a_sign_up, design).result["steps"]
    return Deaths(tuple(ending(simulate(a_sign_up, design, step)) for step in range(1, steps + 1)))


def every_death(handle: Handler, **beside: Any) -> Deaths:
    """The same for a handler; `asks_again`, `relay` and `knows_ids` say what stands beside it."""
    return at_every_step(Design(handle, **beside))


def picture_of_deaths(deaths: Mapping[str, Deaths]) -> Figure:
    """All designs in one picture."""
    runs = {name: each.endings for name, each in deaths.items()}
    return outcomes(runs, SIGNS, across="died at step", title="A death at each step")

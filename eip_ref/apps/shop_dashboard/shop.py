"""The shop: two services, the log between, and the dashboard, each with a file of its own.

    users.db    ─ Commands ─ outbox ─ relay ─┐                     ┌─ rows of the dashboard
                                             ├─▶ log.db ─ project ─┤
    billing.db  ─ Commands ─ outbox ─ relay ─┘                     └─ rows of the ledger

The log keeps all events, so the views can be built again at any time. It may be a topic of Kafka instead.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc

from ... import values
from ...cqrs import CommandQueue, Commands, ReadModel, Relay
from ...event_sourcing import EventHandler, PoisonEvent, Recorded, View
from ...message import Message
from ...message_queue import Backoff
from ...storage import SQLiteStore
from ...tasks import background
from .channel import ANSWER, opened
from .services import DASHBOARD, billing, users

__all__ = ["LEDGER", "PARTS", "ShopSystem"]

LINES = 20  #: how many entries the ledger of one customer keeps
SOON = Backoff(initial=0.5, max_delay=2.0)  #: of the relays: somebody looks on
PARTS = ("relay", "projector")  #: what can be stopped and started by itself


def _line(view: View, event: Recorded) -> None:
    """The ledger has a line for each charge and each payment, the newest first."""
    key, message = event.stream.partition("/")[2], event.message
    sign = 1 if message.type == "Charged" else -1
    line = {"cents": sign * message.body["cents"], "what": message.type}
    view.put(key, [line, *view.get(key, [])][:LINES])


LEDGER = {"Charged": _line, "Paid": _line}


class ShopSystem:
    """The running system. Use it with `async with`; what is in `folder` goes on where it stopped.

    `slow` is a number of seconds for which the projector waits before each event: the lag, on purpose.
    `kafka`, HOST:PORT, is where the events of this folder go, from its first start on; without it they are
    in a file. Entering raises what `channel.opened` does, and ValueError when Kafka has lost some of them.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        slow: float = 0.0,
        kafka: str | None = None,
        synchronous: str = "NORMAL",
        clock: Callable[[], float] | None = time.time,
    ) -> None:
        self.slow = values.duration("slow", slow)
        self._kafka = kafka
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, Any] = {"synchronous": synchronous, "clock": clock}
        self._write = {name: SQLiteStore(folder / f"{name}.db", **settings) for name in ("users", "billing")}
        self._read = SQLiteStore(folder / "dashboard.db", **settings)
        self._opening = partial(opened, folder, self._read, kafka, settings)
        self.dashboard = ReadModel(self._read, "dashboard", DASHBOARD)
        self.ledger = ReadModel(self._read, "ledger", LEDGER)
        self.services: dict[str, Commands] = {}
        self.later: dict[str, CommandQueue] = {}
        self.known = 0  #: events that came to the view again
        self._parts: dict[str, anyio.CancelScope] = {}
        self._places = {part: anyio.Lock() for part in PARTS}  # of each part one runs at a time
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            for store in (*self._write.values(), self._read):
                stack.enter_context(store)
            self.channel = await stack.enter_async_context(self._opening())
            self.services = {"users": users(self._write["users"]), "billing": billing(self._write["billing"])}
            if self._kafka:
                self._must_have_all_events()
            self.later = {name: CommandQueue(service) for name, service in self.services.items()}
            self._group = await stack.enter_async_context(background())
            for later in self.later.values():
                self._group.start_soon(later.run, name=later.name)
            for part in PARTS:
                self.start(part)
            self._open = stack.pop_all()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._open.__aexit__(*error)

    def _must_have_all_events(self) -> None:
        """A broker may be another one than before, or have begun anew."""
        waiting = sum(len(service.outbox) for service in self.services.values())
        published = sum(self._versions()) - waiting
        if self.channel.end < published:
            raise ValueError(
                f"{published} events were published, and the log has {self.channel.end} of them. "
                f"{self.channel.says} Name the Kafka that has them all, or another --folder"
            )

    def _versions(self) -> Iterator[int]:
        for name, store in self._write.items():
            with store.reading() as transaction:
                yield from (version for _, (version, _) in transaction.scan(name))

    # The parts that can stop by themselves

    @property
    def at_work(self) -> dict[str, bool]:
        """The parts, and whether each is running."""
        return {part: part in self._parts for part in PARTS}

    def start(self, part: str) -> None:
        """Start the relays or the projector, as a new process would. Idempotent. Raises KeyError."""
        run = {"relay": self._relay, "projector": self._project}[part]
        if part not in self._parts:
            self._parts[part] = scope = anyio.CancelScope()
            self._group.start_soon(_within, scope, self._places[part], run, name=part)

    def kill(self, part: str) -> None:
        """Stop the relays or the projector wherever they are, also within an event. Idempotent."""
        if scope := self._parts.pop(part, None):
            scope.cancel()

    async def go_back(self, events: int) -> int:
        """Let the projector lose its place; returns how many of the last `events` come again."""
        self.kill("projector")
        try:
            async with self._places["projector"]:
                return await self.channel.go_back(events)
        finally:
            self.start("projector")

    async def _relay(self) -> None:
        """Publish what is in the outboxes into the log."""
        async with anyio.create_task_group() as group:
            for name, service in self.services.items():
                relay = Relay(
                    service.outbox, self.channel.publish, f"relay of {name}", claim=2 * ANSWER, backoff=SOON
                )
                group.start_soon(relay.run, name=relay.name)

    async def _project(self) -> None:
        """Bring what is in the log onto the views, and commit the position afterwards."""
        await self.channel.follow(self._bring)

    async def _bring(self, message: Message) -> None:
        if self.slow:
            await anyio.sleep(self.slow)
        try:
            self.known += not await self.dashboard(message)
            await self.ledger(message)
        except PoisonEvent as poison:
            self._set_aside(message, poison)

    # Poison

    def _set_aside(self, message: Message, poison: PoisonEvent) -> None:
        """Go on without the event. The later ones of its stream are held back, and all others go on."""
        with self._read.transaction() as transaction:
            transaction.put("set aside", message.id, repr(poison.error))

    @property
    def set_aside(self) -> dict[str, str]:
        """The events that no handler could take, by their ids, with the errors."""
        with self._read.reading() as transaction:
            return dict(transaction.scan("set aside"))

    async def rebuild(self, mend: Callable[[EventHandler], EventHandler] | None = None) -> None:
        """Build both views again from the log, beside the live ones, and swap them in.

        With `mend`, each handler is what it makes of it, from now on. Raises what `ReadModel.rebuild` does.
        """
        for view, handlers in ((self.dashboard, DASHBOARD), (self.ledger, LEDGER)):
            mended = mend and {type: mend(handler) for type, handler in handlers.items()}
            await view.rebuild(self.channel.history(), mended)
        with self._read.transaction() as transaction:
            transaction.clear("set aside")

    def standing(self) -> dict[str, Any]:
        """The places where everything is just now, which the page draws. Ages and lags are in seconds."""
        lag = self.dashboard.lag
        outboxes = [service.outbox for service in self.services.values()]
        position, _ = self.dashboard.since(0, limit=0)
        return {
            "outbox": sum(len(outbox) for outbox in outboxes),
            "oldest": (oldest := max(outbox.age for outbox in outboxes)),
            "log": self.channel.end,
            "lost": self.channel.lost,
            "projected": self.channel.committed,
            "behind": self.channel.end - self.channel.committed,
            "waiting": max(oldest, self.channel.age),
            "position": position,
            "lag": lag.last,
            "largest": lag.largest,
            "held_back": lag.held_back,
            "slow": self.slow,
            "followers": len(self.dashboard.listeners),
            "known": self.known,
            "set_aside": self.set_aside,
            "at_work": self.at_work,
            "books": self._owed_in_the_books(),
            "shown": sum(row["charged"] - row["paid"] for row in self.dashboard.rows().values()),
        }

    def _owed_in_the_books(self) -> int:
        """The cents that all customers owe as billing itself has it, whoever has heard of it."""
        with self._write["billing"].reading() as transaction:
            return sum(state["owed"] for _, (_, state) in transaction.scan("billing"))


async def _within(scope: anyio.CancelScope, place: anyio.Lock, run: Callable[[], Awaitable[None]]) -> None:
    with scope:
        async with place:  # a killed one may still wait for an answer
            await run()

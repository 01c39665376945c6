"""The scenario of the exercise about dead letters: a day with two poison orders and two deaths."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Protocol

import anyio
import anyio.lowlevel

from ...message import Message
from ...message_queue import NEVER, Lease, MessageQueue, Queue, Settled
from ...trace import Kind, acting, record, whoami
from .shop import PATIENT, Handler, die_soon, happens, mortal

__all__ = ["ERROR", "LETTERS", "MENDED", "RETURNED", "a_day_with_poison"]

MENDED = 60.0  #: seconds: when the address book is mended
LETTERS = "letters"  #: the `where` of a note for each message that is put aside: what it holds
RETURNED = "replay"  #: the `where` of the note that `replay` has returned
ERROR = "no address for "


class NoAddress(Exception):
    """The order cannot be packed now."""


class Desk(Protocol):
    """What the learner writes."""

    async def work(self, pack: Handler) -> None: ...
    async def replay(self) -> None: ...


Make = Callable[[Queue, Queue, int], Desk]


class _Watched(MessageQueue):
    """A queue that tells the scenario what it has just taken, and what was just acknowledged."""

    def __init__(self, name: str, heard: Callable[[str, Message], None], **settings: Any) -> None:
        super().__init__(name, lease=10, **settings)
        self._heard = heard

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        await super().put(message, delay=delay)
        self._heard(self.name, message)
        await anyio.lowlevel.checkpoint()

    async def ack(self, lease: Lease) -> Settled:
        settled = await super().ack(lease)
        self._heard(self.name, lease.message)
        await anyio.lowlevel.checkpoint()
        return settled


class _Day:
    """Four orders, two of them poison; worker and operator each die once between the two queues."""

    def __init__(self, make: Make, seed: int) -> None:
        chance = Random(seed)
        self.make, self.limit = make, chance.choice((2, 3))
        self.names = chance.sample(("Ada", "Ben", "Cem", "Dina", "Emil", "Fay"), 4)
        self.poison = [self.names[place] for place in sorted(chance.sample(range(3), 2))]
        self.unlucky = self.poison[-1]
        self.gift = {name: chance.choice(("yes", "no")) for name in self.names}
        self.to_die = {"worker", "operator"}

    async def run(self) -> None:
        dead = _Watched("orders.dead", self._heard, policy=NEVER)
        orders = _Watched("orders", self._heard, policy=PATIENT, dead_letters=dead)
        async with dead, orders, anyio.create_task_group() as group:
            with acting("shop"):
                for name in self.names:
                    headers = {"customer": name, "gift": self.gift[name]}
                    await orders.put(Message(f"tea for {name}", headers=headers))
            group.start_soon(mortal("worker", self._work, orders, dead).run)
            await anyio.sleep_until(MENDED)
            record(Kind.NOTE, "address book", text="the address book is mended", limit=self.limit)
            for _ in range(2):  # a letter that was in the operator's hands comes with the second call
                with anyio.move_on_after(15):
                    await mortal("operator", self._replay, orders, dead).run()
                    record(Kind.NOTE, RETURNED, text="replay has returned")
                await anyio.sleep(15)
            group.cancel_scope.cancel()

    async def _work(self, orders: Queue, dead: Queue) -> None:
        await self.make(orders, dead, self.limit).work(self._pack)
        await anyio.sleep_forever()

    async def _replay(self, orders: Queue, dead: Queue) -> None:
        await self.make(orders, dead, self.limit).replay()

    async def _pack(self, message: Message) -> None:
        record(Kind.STARTED, whoami(), message.id)
        await anyio.sleep(1)
        name = message.headers.get("customer", "nobody")
        if name in self.poison and anyio.current_time() < MENDED:
            record(Kind.FAILED, whoami(), message.id, error=f"{ERROR}{name}")
            raise NoAddress(f"{ERROR}{name}")
        happens(message, "packed")

    def _heard(self, queue: str, message: Message) -> None:
        """Note what a dead letter holds; let the process die that has just moved the unlucky order."""
        if queue == "orders.dead" and whoami() == "worker":
            headers = {name: str(value) for name, value in message.headers.items()}
            body = str(message.body)
            record(Kind.NOTE, LETTERS, message.id, text="a dead letter", body=body, headers=headers)
        as_planned = (whoami() == "operator") == (anyio.current_time() >= MENDED)
        unlucky = message.headers.get("customer") == self.unlucky
        if unlucky and as_planned and whoami() in self.to_die:
            self.to_die.remove(whoami())
            die_soon()


async def a_day_with_poison(make: Make, seed: int) -> None:
    """Four orders, two of them poison; worker and operator each die once between two queues."""
    await _Day(make, seed).run()

"""The Tea House of lessons 09a and 09b: one order through five services, and a coordinator that may die.

Each command is half a second on its way, and so is its answer. Ann has 100 on her card and 100 of credit, and
her order costs 30.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from ...lab import Crash, Participant, simulate
from ...message import Message
from ...saga import NotDone, Refused, SagaLog, action, compensation
from ...storage import MemoryStore
from ...trace import Kind, Trace, record
from .order_story import OrderServices, order_saga

__all__ = [
    "ORDER",
    "TRAVEL",
    "Books",
    "Coordinator",
    "Shop",
    "as_before",
    "deaths",
    "first",
    "one_order",
    "told",
]

ORDER = {"customer": "ann", "item": "tea", "quantity": 1, "price": 30}
TRAVEL = 0.5  #: seconds, each way
RESTART = 1.0  #: seconds after a death
PATIENCE = 600.0  #: seconds after which somebody looks at the books, come what may

Books = Mapping[str, Mapping[str, Any]]


def first(tea: int, *, stolen: bool = False) -> dict[str, dict[str, Any]]:
    """The books of the services before the order."""
    payments = {"card ann": 100} | ({"stolen ann": True} if stolen else {})
    return {"customers": {"credit ann": 100}, "payments": payments, "inventory": {"stock tea": tea}}


class Shop:
    """The five services at the end of a network.

    `trouble` says for which commands the network is broken: `{"payment/undo": "down"}`. A service that is
    "down" does not get the command; for "answer lost" it does, and nobody hears the answer. `log` is on a
    disk, so it is there after a restart.
    """

    def __init__(self, tea: int = 0, trouble: Mapping[str, str] | None = None) -> None:
        self.log = SagaLog(MemoryStore())
        self.trouble = dict(trouble or {})
        self._services = OrderServices(first(tea))
        self._saga = order_saga()

    async def do(self, step: str, order: str) -> None:
        """Have a step of this order done. Raises `Refused`."""
        await self.execute(action(order, step, self._saga.step(step).command, ORDER))

    async def undo(self, step: str, order: str) -> None:
        """Have a step of this order taken back."""
        await self.execute(compensation(order, step, self._saga.step(step).undo or "", ORDER))

    async def execute(self, command: Message) -> Any:
        """Bring a command to its service, and the answer back. Raises `Refused` or `NotDone`."""
        trouble = self.trouble.get(command.id.partition("/")[2])
        await anyio.sleep(TRAVEL)
        if trouble == "down":
            raise NotDone(f"{self._services.who(command)} is down")
        try:
            answer = await self._services.execute(command)
        except Refused:
            await anyio.sleep(TRAVEL)
            raise
        await anyio.sleep(TRAVEL if trouble is None else float("inf"))
        return answer

    def books(self) -> dict[str, Any]:
        """All accounts that are not empty, and the orders."""
        books = {key: value for each in self._services.business().values() for key, value in each.items()}
        return {key: value for key, value in books.items() if value != 0}


Coordinator = Callable[[Shop, str | None], Awaitable[object]]
"""Runs an order from its first step to its end; after a restart it is called without one."""


async def one_order(
    coordinate: Coordinator,
    death: float | None = None,
    tea: int = 0,
    trouble: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Play an order and return the books. A coordinator that dies starts again a second later."""
    shop, orders = Shop(tea, trouble), iter(["order 1"])

    async def life() -> None:
        await coordinate(shop, next(orders, None))

    crashes = () if death is None else (Crash(at=death, restart_after=RESTART),)
    with anyio.move_on_after(PATIENCE):
        await Participant("coordinator", life, crashes=crashes).run()
    books = shop.books()
    record(Kind.NOTE, "books", who="", text=told(books), books=books)
    return books


def deaths(coordinate: Coordinator, tea: int = 0) -> dict[float, Trace]:
    """Play the order once for each moment at which the coordinator may die, a quarter of a second apart."""
    end = simulate(one_order, coordinate, None, tea).end
    moments = [0.125 + number / 4 for number in range(int(end * 4))]
    return {moment: simulate(one_order, coordinate, moment, tea) for moment in moments}


def as_before(books: Mapping[str, Any]) -> bool:
    """True when Ann has all that she had, and no order waits."""
    return told(books) == "all taken back"


def told(books: Mapping[str, Any]) -> str:
    """All that is left of an order for which there was no tea, in words."""
    left = [
        words
        for words, true in {
            "money aside": any(key.startswith("aside") for key in books),
            "credit used": "used ann" in books,
            "order pending": "pending" in books.values(),
        }.items()
        if true
    ]
    return ", ".join(left) or "all taken back"

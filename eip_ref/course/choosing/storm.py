"""The whole shop in a storm, of lesson 12b: its world, its faults, and the lamps of a board that watches it.

A shop is `async def shop(door, payments, stock, mail, paper)`: one process, which takes orders at its door
and has each paid, reserved and mailed. The world is 120 s long, with an order each second.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from ...lab import Crash, Faults
from ...message import Message
from ...message_queue import DeadLetterPolicy, IdempotentReceiver, Ledger, MessageQueue, Worker
from ...request_reply import KeyReused, Replier, Requestor
from ...storage import MemoryStore
from ...trace import Kind, record

__all__ = ["FAULTS", "Door", "Mail", "Order", "Paper", "Service", "Shop", "Weather", "a_storm"]

FAULTS = ("network", "death", "slow payments", "mail away", "poison", "sold out", "spike")
POISON = "o12"


class Weather(NamedTuple):
    """The seconds at which each fault strikes."""

    end: float = 120.0
    death: float = 30.6  #: of the shop's process, for 2 s
    slow: tuple[float, float] = (40.0, 60.0)
    away: tuple[float, float] = (65.0, 75.0)
    spike: tuple[float, float] = (85.0, 93.0)
    milk: int = 4  #: what there is of it
    loss: float = 0.03  #: share of the messages
    name: str = ""  #: before the ids of its orders
    every: int = 10  #: which customers want milk
    dies_at_step: int | None = None  #: of the shop's process, in place of a time, for 1 s; see `Crash`
    deaf: int = 0  #: so many messages of each question about each order are lost


Order = dict[str, str]
Shop = Callable[..., Awaitable[object]]
Work = Callable[[], Awaitable[object]]


class Door:
    """The door of the shop: customers wait at it, and hear what is said to them."""

    def __init__(self) -> None:
        self._waiting: deque[Order] = deque()
        self._without_a_word: dict[str, Order] = {}
        self._news = anyio.Event()

    async def order(self) -> Order:
        """The next order, once there is one. One without a word comes again when the shop has died."""
        await anyio.lowlevel.checkpoint()
        while not self._waiting:
            await self._news.wait()
        order = self._waiting.popleft()
        self._without_a_word[order["id"]] = order
        record(Kind.STARTED, "door", order["id"], who="shop")
        return order

    def say(self, order: str, words: str) -> None:
        """Tell the customer "yes" or "no", or before that "accepted". Raises ValueError for other words."""
        if words not in ("yes", "no", "accepted"):
            raise ValueError(f'a customer understands "yes", "no" and "accepted", and not {words!r}')
        self._without_a_word.pop(order, None)
        kind = Kind.NOTE if words == "accepted" else Kind.FINISHED
        record(kind, "customer", order, who="shop", text=words, said=words)

    def _begin(self) -> None:
        """The shop's process begins, for the first time or again."""
        self._waiting.extendleft(reversed(self._without_a_word.values()))
        self._without_a_word.clear()

    def _come(self, order: Order) -> None:
        record(Kind.STARTED, "customer", order["id"], who="customer", tea=order["tea"])
        self._waiting.append(order)
        self._news.set()
        self._news = anyio.Event()


class Service:
    """Payments or stock, over the network.

    Raises RequestError: no answer, or certainly not done; ValueError for a key of another question.
    """

    def __init__(self, requestor: Requestor, does: str, undoes: str) -> None:
        self._requestor, self._does, self._undoes = requestor, does, undoes

    async def do(self, order: Order, key: str | None = None) -> str:
        """Charge or reserve. The answer is "done", or "no" when there is nothing left."""
        return await self._ask(self._does, order, key)

    async def undo(self, order: Order, key: str | None = None) -> str:
        """Take it back, whether it has happened or not: afterwards it will not."""
        return await self._ask(self._undoes, order, key)

    async def _ask(self, what: str, order: Order, key: str | None) -> str:
        try:
            reply = await self._requestor.request(order, type=what, timeout=1.0, idempotency_key=key)
        except KeyReused as error:
            raise ValueError(
                f"the key {key!r} has come before, with another question, another order, or this order "
                "changed: give each question about each order a key of its own"
            ) from error
        return str(reply.body)


class Mail:
    """The two ways to mail: to call it, or to put an order into its queue."""

    def __init__(self, call: Callable[[Message], Awaitable[None]], queue: MessageQueue) -> None:
        self._call, self._queue = call, queue

    async def send(self, order: Order) -> None:
        """Call mail, which may be away. Nobody answers."""
        await self._call(Message(order, id=order["id"]))

    async def put(self, order: Order) -> None:
        """Put it into mail's queue. It is kept when this returns."""
        await self._queue.put(Message(order, id=order["id"]))


class Paper:
    """The rows that the shop has written. They outlive its process."""

    def __init__(self, tells_later: bool = False) -> None:
        self._tells_later = tells_later  # than a row stands there: the writer may die before she knows
        self._rows: dict[str, Any] = {}
        self._store = MemoryStore()  # for whoever keeps a log there

    async def write(self, key: str, row: Any) -> None:
        """Write a row, in place of an older one under this key."""
        await anyio.sleep(0.01)
        self._rows[key] = row
        if self._tells_later:
            await anyio.lowlevel.checkpoint()

    def read(self) -> dict[str, Any]:
        """All rows, by key."""
        return dict(self._rows)


# The world


class _Books:
    """The work of a service, done and taken back. Taking back what has not come leaves a tombstone."""

    def __init__(self, name: str, seconds: Callable[[], float], most: dict[str, int]) -> None:
        self._name, self._seconds, self._left = name, seconds, most
        self._done: dict[str, int] = {}
        self._revoked: set[str] = set()

    async def __call__(self, request: Message) -> str:
        await anyio.sleep(self._seconds())
        order, tea = request.body["id"], request.body["tea"]
        if request.type in ("refund", "release"):
            self._revoked.add(order)
            if self._done.get(order):
                self._change(order, tea, -1, request.type)
            return "done"
        if order in self._revoked or self._left.get(tea, 1) < 1:
            record(Kind.NOTE, self._name, order, who=self._name, text="no", said="no")
            return "no"
        self._change(order, tea, 1, request.type)
        return "done"

    def _change(self, order: str, tea: str, by: int, effect: str) -> None:
        self._done[order] = self._done.get(order, 0) + by
        if tea in self._left:
            self._left[tea] -= by
        record(Kind.EFFECT, self._name, order, who=self._name, effect=effect, by=by)


class _World:
    def __init__(self, faults: Collection[str], weather: Weather) -> None:
        self.faults, self.weather, self.chance = set(faults), weather, Faults()
        self.loss = weather.loss if "network" in faults else 0.0
        self._asked = Counter[tuple[str, str]]()

    def during(self, fault: str, span: tuple[float, float]) -> bool:
        return fault in self.faults and span[0] <= anyio.current_time() < span[1]

    @asynccontextmanager
    async def service(self, name: str, does: str, undoes: str) -> AsyncIterator[Service]:
        def seconds() -> float:
            if name == "stock":
                return 0.1
            return 6.0 if self.during("slow payments", self.weather.slow) else 0.4

        async def serve(request: Message) -> None:
            if not self._lost(request):
                await replier.receive(request)

        async def hear(reply: Message) -> None:
            await requestor.receive(reply)

        milk = {"milk": self.weather.milk} if name == "stock" and "sold out" in self.faults else {}
        back = self.chance.link(f"back from {name}", hear, latency=0.05, loss=self.loss)
        there = self.chance.link(f"to {name}", serve, latency=0.05, loss=self.loss)
        books = _Books(name, seconds, milk)
        replier = Replier(books, back.send, name=name, concurrency=4, backlog=1000, grace=60)
        with Requestor(there.send, name="shop") as requestor:
            async with back, replier, there:
                yield Service(requestor, does, undoes)

    def _lost(self, request: Message) -> bool:
        question = (request.type, request.body["id"])
        self._asked[question] += 1
        return self._asked[question] <= self.weather.deaf

    async def mail_once(self, message: Message, _: object = None) -> None:
        """The work of mail. One order has an address that nobody can read."""
        await anyio.sleep(0.1)
        if message.id.endswith(POISON) and "poison" in self.faults:
            raise ValueError("this address cannot be read")
        record(Kind.EFFECT, "mail", message.id, who="mail", effect="mailed")

    async def call_mail(self, message: Message) -> None:
        """The same without a queue: nobody hears of what goes wrong."""
        if not self.during("mail away", self.weather.away):
            with suppress(ValueError):
                await self.mail_once(message)

    async def customers(self, door: Door) -> None:
        number = 0
        while anyio.current_time() < self.weather.end:
            number += 1
            tea = "green" if number % self.weather.every else "milk"
            door._come({"id": f"{self.weather.name}o{number}", "tea": tea})
            await anyio.sleep(0.07 if self.during("spike", self.weather.spike) else 1.0)


async def a_storm(shop: Shop, faults: Collection[str] = FAULTS, weather: Weather | None = None) -> None:
    """Play the storm. What is not done 60 s after its end stays undone."""
    weather = weather or Weather()
    world, door, paper = _World(faults, weather), Door(), Paper(weather.dies_at_step is not None)
    async with AsyncExitStack() as stack:
        payments = await stack.enter_async_context(world.service("payments", "charge", "refund"))
        stock = await stack.enter_async_context(world.service("stock", "reserve", "release"))
        policy = DeadLetterPolicy(max_failures=3)
        queue = await stack.enter_async_context(MessageQueue("mail queue", policy=policy))
        group = await stack.enter_async_context(anyio.create_task_group())

        async def main() -> None:
            door._begin()
            await shop(door, payments, stock, Mail(world.call_mail, queue), paper)

        def start(name: str, work: Work, fault: str, crash: Crash) -> None:
            crashes = (crash,) if fault in faults else ()
            group.start_soon(world.chance.participant(name, work, crashes=crashes).run)

        worker = Worker(queue, IdempotentReceiver(Ledger(), world.mail_once))
        away, back = weather.away
        start("mail", worker.run, "mail away", Crash(at=away, restart_after=back - away))
        step = weather.dies_at_step
        death = Crash(at=None if step else weather.death, step=step, restart_after=1 if step else 2)
        start("shop", main, "death", death)
        await world.customers(door)
        await anyio.sleep(60)
        group.cancel_scope.cancel()

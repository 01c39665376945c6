"""The same evening, read instead of written, of lesson 12a: each customer opens the page of her order.

A page has three parts, those of billing, stock and mail. A page a second, right after the order was taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import NamedTuple

import anyio

from ...api_gateway import AllFailed, Branch, BranchInput, FanOut
from ...cqrs import DomainEvent, NumberedView, Outbox, ReadModel, Relay, event, read
from ...event_sourcing import Recorded
from ...lab.wording import quantile
from ...message import Message
from ...message_queue import Backoff
from ...request_reply import RequestError, Requestor, request_again
from ...storage import MemoryStore
from ...trace import Kind, Trace, acting, record
from .evening import AWAY, EVENING, PATIENCE, Evening
from .ways import CONFIRM, TIMEOUT, asking_all

__all__ = ["PAGES", "PageReading", "an_evening_of_pages", "measure_pages"]

ENOUGH = 0.5  #: seconds that a page waits for a part

Open = Callable[[str], Awaitable[int]]
"""Opens the page of an order; returns the number of its parts that are there."""

Pages = Callable[[Evening], AbstractAsyncContextManager[Open]]


async def an_evening_of_pages(pages: Pages) -> None:
    """Play the evening with pages of this kind."""

    async def customer(order: str) -> None:
        came = anyio.current_time()
        parts = await open_page(order)
        record(Kind.EFFECT, "page", order, effect="shown", parts=parts, came=came)

    world = Evening()
    async with pages(world) as open_page, anyio.create_task_group() as group:
        with acting("client"):
            for number in range(1, round(EVENING) + 1):
                group.start_soon(customer, f"order {number}")
                await anyio.sleep(1)


class PageReading(NamedTuple):
    """The properties of a kind of page, measured. Times in seconds."""

    places: int  #: that the client must know
    answer: float  #: until a page is shown: the median
    partial: int  #: pages without one of their parts
    nothing: int  #: pages without any
    hurt: int  #: of the customers who came while mail was away: no page, or one after too long


def measure_pages(trace: Trace) -> PageReading:
    """Read an evening of pages."""
    shown = trace.filter(Kind.EFFECT, where="page")
    waits = {page.message: page.at - page.data["came"] for page in shown}
    away = [page for page in shown if AWAY[0] <= page.data["came"] < AWAY[1]]
    asked = {event.where for event in trace.filter(Kind.SENT, Kind.STARTED, who="client")}
    return PageReading(
        places=len({where for where in asked if where.startswith("to ") or where == "view"}),
        answer=round(quantile(sorted(waits.values()), 0.5), 2),
        partial=sum(0 < page.data["parts"] < 3 for page in shown),
        nothing=sum(not page.data["parts"] for page in shown),
        hurt=sum(not page.data["parts"] or waits[page.message] > PATIENCE for page in away),
    )


# Kinds of pages


@asynccontextmanager
async def one_by_one(world: Evening) -> AsyncIterator[Open]:
    """The client asks each service in turn, and shows what it has when it has all."""
    async with asking_all(world, "client") as services:

        async def open_page(order: str) -> int:
            parts = [await _asked(service, order) for service in services.values()]
            return 0 if None in parts else 3

        yield open_page


@asynccontextmanager
async def gateway(world: Evening) -> AsyncIterator[Open]:
    """The client asks the gateway, and that asks all three at once. A part that is silent is left out."""
    async with asking_all(world, "gateway") as services:

        def branch(name: str) -> Branch:
            async def part(given: BranchInput) -> object:
                return (await services[name].request(given.request, timeout=ENOUGH)).body

            return Branch(name, part)

        fan_out = FanOut(*map(branch, services), timeout=ENOUGH + 0.1)

        async def answer(request: Message) -> int:
            try:
                return len((await fan_out(request.body)).data)
            except AllFailed:
                return 0

        async with world.asking("gateway", answer, "client") as door:

            async def open_page(order: str) -> int:
                answered = await _asked(door, order)
                return answered if isinstance(answered, int) else 0

            yield open_page


async def _asked(end: Requestor, order: str) -> object:
    """The answer, after two attempts at most: to read twice harms nobody. None when there is none."""
    try:
        return (await request_again(end, order, timeout=TIMEOUT, reads_only=True, pauses=(0.1,))).body
    except RequestError:
        return None


@asynccontextmanager
async def view(world: Evening, wait: bool = False) -> AsyncIterator[Open]:
    """A view that is fed by events; with `wait` the client tells the version of its own order."""
    shop = MemoryStore()
    outbox = Outbox(shop)
    model = ReadModel(MemoryStore(), "view", {"OrderPlaced": _placed})

    async def take(request: Message) -> str:
        await model(Message.from_json(str(request.body)))
        return "confirmed"

    async def open_page(order: str) -> int:
        placed = DomainEvent("OrderPlaced", {})
        with shop.transaction() as transaction:
            outbox.add(transaction, event(placed, order, 1, id=order, causation_id=order))
        wanted = {order: 1} if wait else {}
        return (await read(model, order, at_least=wanted, timeout=PATIENCE)).row or 0

    async with world.asking("the view", take) as door, anyio.create_task_group() as group:

        async def publish(message: Message) -> None:
            await door.request(message.to_json(), timeout=CONFIRM)

        relay = Relay(outbox, publish, backoff=Backoff(initial=0.1, max_delay=5))
        group.start_soon(relay.run)
        yield open_page
        await anyio.sleep(10)
        relay.stop()


def _placed(view: NumberedView, fact: Recorded) -> None:
    view.put(fact.stream, 3)


PAGES: dict[str, Pages] = {
    "one by one": one_by_one,
    "gateway": gateway,
    "view": view,
    "view with version": partial(view, wait=True),
}

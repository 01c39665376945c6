"""One evening at the Tea House, of lesson 12a: the same 120 orders on every way of the course.

An order comes each second. Billing, stock and mail must hear of it, and each works 0.2 s on it. The network
takes 0.05 s and loses 4 of 100 messages. From 40 to 60 s mail is away. At 100 s a newcomer, rewards, would
like to hear of all orders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Any, NamedTuple

import anyio

from ... import values
from ...circuit_breaker import CallRejected
from ...lab import Crash, Faults
from ...lab.wording import quantile
from ...message import Handler, Message
from ...request_reply import Replier, RequestError, Requestor
from ...trace import Event, Kind, Trace, acting, record, working

__all__ = ["AWAY", "JOINS", "SERVICES", "Evening", "Place", "Reading", "Way", "an_evening", "measure"]

EVENING = 120.0  #: seconds in which orders come
SERVICES = ("billing", "stock", "mail")
AWAY = (40.0, 60.0)
JOINS = 100.0
PATIENCE = 2.0  #: seconds after which a customer has waited too long
WORK, LATENCY, LOSS = 0.2, 0.05, 0.04

Place = Callable[[Message], Awaitable[object]]


class Evening:
    """The world of one run: its chance, its network and its services."""

    def __init__(self, loss: float = LOSS, seed: int | None = None) -> None:
        self.chance = Faults(seed)
        self.loss = loss

    async def work(self, service: str, order: Message) -> str:
        """Do the work of this service on an order. That it was done is the effect."""
        await anyio.sleep(WORK)
        record(Kind.EFFECT, service, str(order.body), who=service, effect="done")
        return "done"

    def link(self, name: str, deliver: Handler) -> Any:
        """A way over the network to `name`, who hears nothing while it is away."""

        async def arrive(message: Message) -> None:
            if name == "mail" and AWAY[0] <= anyio.current_time() < AWAY[1]:
                record(Kind.LOST, name, message.id, who="", reason="nobody is there")
            else:
                await values.finished(deliver(message))

        return self.chance.link(f"to {name}", arrive, latency=LATENCY, loss=self.loss)

    @asynccontextmanager
    async def asking(self, name: str, handle: Handler, asker: str = "shop") -> AsyncIterator[Requestor]:
        """A way to `name` that brings answers back."""

        async def serve(request: Message) -> None:
            await replier.receive(request)

        async def hear(reply: Message) -> None:
            await requestor.receive(reply)

        back = self.chance.link(f"back from {name}", hear, latency=LATENCY, loss=self.loss)
        there = self.link(name, serve)
        replier = Replier(handle, back.send, name=name, concurrency=1000, grace=60)
        with Requestor(there.send, name=asker) as requestor:
            async with back, replier, there:
                yield requestor

    @asynccontextmanager
    async def at_work(self, **tasks: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Let each work under its name, mail with its absence, until the block ends."""
        async with anyio.create_task_group() as group:
            for name, main in tasks.items():
                crashes = (Crash(at=AWAY[0], restart_after=AWAY[1] - AWAY[0]),) if name == "mail" else ()
                group.start_soon(self.chance.participant(name, main, crashes=crashes).run)
            yield
            await anyio.sleep(60)  # until what waits is done
            group.cancel_scope.cancel()


Way = Callable[[Evening], AbstractAsyncContextManager[Place]]


async def an_evening(way: Way, every: float = 1.0) -> None:
    """Play the evening on this way. A customer whose order cannot be placed hears "no"."""

    async def customer(order: Message) -> None:
        with suppress(RequestError, CallRejected), working("customer", order.id):
            await place(order)

    world = Evening()
    async with way(world) as place, anyio.create_task_group() as group:
        with acting("shop"):
            for number in range(1, round(EVENING / every) + 1):
                group.start_soon(customer, Message(f"order {number}", id=f"order {number}"))
                await anyio.sleep(every)


# Reading


class Reading(NamedTuple):
    """The properties of a way, measured. Times in seconds."""

    places: int  #: that the shop must know
    answer: float  #: until 99 of 100 customers have their answer
    lost: int  #: "yes" to the customer, and one of the three never heard of it
    twice: int  #: done more than once
    lag: float  #: the longest time from "yes" until all three had done their work
    no: int  #: customers who heard "no"
    half: int  #: "no", and something was done all the same
    hurt: int  #: of the customers who came while mail was away: "no", or too long a wait
    in_vain: int  #: messages that came to mail while it was away
    missed: int  #: orders of which the newcomer has not heard


def measure(trace: Trace) -> Reading:
    """Read an evening's trace."""
    came = {event.message: event.at for event in trace.filter(Kind.STARTED, where="customer")}
    yes = {event.message: event.at for event in trace.filter(Kind.FINISHED, where="customer")}
    ended = {event.message: event.at for event in trace.filter(Kind.FINISHED, Kind.FAILED, where="customer")}
    done = [event for event in trace.filter(Kind.EFFECT) if event.where in SERVICES]
    times = Counter((event.message, event.where) for event in done)
    waits = sorted(ended[order] - came[order] for order in ended)
    no = ended.keys() - yes.keys()
    away = [order for order in ended if AWAY[0] <= came[order] < AWAY[1]]
    return Reading(
        places=len({sent.where for sent in trace.filter(Kind.SENT, who="shop") if "to " in sent.where}),
        answer=round(quantile(waits, 0.99), 1),
        lost=sum((order, service) not in times for order in yes for service in SERVICES),
        twice=sum(count > 1 for count in times.values()),
        lag=round(max(_lags(done, yes)), 1),
        no=len(no),
        half=len({order for order, _ in times} & no),
        hurt=sum(order in no or ended[order] - came[order] > PATIENCE for order in away),
        in_vain=trace.count(Kind.LOST, where="mail"),
        missed=len(came) - len(trace.messages(Kind.EFFECT, where="rewards")),
    )


def _lags(done: list[Event], yes: dict[str, float]) -> list[float]:
    return [0.0, *(event.at - yes[event.message] for event in done if event.message in yes)]
